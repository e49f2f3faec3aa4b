/*
 * sim_plan.c - a seed becomes a configuration and a list of operations.
 *
 * Owns: the choice. Everything that is done to the pair from outside is in the
 * list (struct op), so that a failing run can be shortened by leaving operations
 * out; what remains random (sizes of chunks, delays) hangs on config.seed. Each
 * run draws which kinds of trouble it has at all ("swarm"): a run with everything
 * at once rarely gets far in anything.
 *
 * What a and b of an operation mean:
 *   set add replace cas append prepend   a value bytes, b expiry in s (0 never)
 *   set-too-large                        a bytes above the limit
 *   incr decr                            a delta
 *   touch gat gats                       b expiry in s, negative: at once
 *   flush_all-later                      a seconds
 *   fill                                 a commands, b value bytes
 *   pipeline                             a commands
 *   touch-often                          a commands, b expiry in s
 *   clock-step a ms   clock-drift a ppm  stall a ms (host: who is not heard)
 *   DROP                                 a, b: ms until host 0 and 1 notice, -1 never
 *   PARTITION                            a: connects are refused (else they time out)
 *   CRASH TERM                           a: ms until restart, b: 1 with -x, 2 silently
 *   alloc-failure                        a: the nth request from now fails
 *   SWAP                                 a: ms until B notices, -1 never
 *   DROP-young-link                      a: frames that the next link carries
 *   purge                                a commands
 *   set-on-both                          a value bytes, at one instant
 *   cache_memlimit                       a MiB
 *   mg-N mg-R ma-N                       a delta (ma), b seconds of N or R
 *
 * Must not know: how any of it is done.
 *
 * Covered by: t/sim -v prints the plan of a seed.
 */
#include "compat.h"
#include "sim.h"

struct gen {
	struct prng random;
	struct plan *plan;
	int weights[OP_COUNT], base[OP_COUNT];
	int total;
	bool expiring, big_times, after_step;
	int one_sided; /* host that gets nearly all writes, -1 none */
};

static uint64_t below(struct gen *g, uint64_t n)
{
	return prng_below(&g->random, n);
}

static bool chance(struct gen *g, int percent)
{
	return below(g, 100) < (uint64_t)percent;
}

static int64_t range(struct gen *g, int64_t low, int64_t high)
{
	return low + (int64_t)below(g, (uint64_t)(high - low + 1));
}

static const char *const op_names[OP_COUNT] = {
#define X(id, name) [OP_##id] = name,
        SIM_OPS_TABLE(X)
#undef X
};

static const char *const coverage_names[COV_COUNT] = {
#define X(id) [COV_##id] = #id,
        SIM_COVERAGE_TABLE(X)
#undef X
};

const char *op_name(int type)
{
	return op_names[type];
}

const char *coverage_name(int id)
{
	return coverage_names[id];
}

/* ---- configuration --------------------------------------------------------------- */

static void choose_memory(struct gen *g, struct sim_config *c, int profile)
{
	static const uint32_t values[] = {12, 60, 300, 3000, 20000, 90000};
	bool tight = profile == 2 || chance(g, 30);

	c->value_len_max = values[below(g, chance(g, 60) ? 3 : 6)];
	for (int i = 0; i < SIM_HOSTS; i++) {
		c->memory_bytes[i] = 64u << 20;
		c->item_bytes_max[i] = 192u << 10;
	}
	if (tight) {
		c->value_len_max = chance(g, 70) ? 60000 : 90000;
		size_t tiny = (size_t)range(g, 8, 20) << 17;
		int which = (int)below(g, 3);
		for (int i = 0; i < SIM_HOSTS; i++)
			if (which == 2 || (i & 1) == which)
				c->memory_bytes[i] = tiny;
	}
	if (chance(g, 15))
		c->item_bytes_max[below(g, 2)] = c->value_len_max / 2 + 1024;
}

static void choose_link(struct gen *g, struct sim_config *c, int profile)
{
	static const uint32_t chunks[] = {3, 40, 400, 4000, 65536};
	static const uint32_t delays[] = {0, 30, 300, 3000};
	static const size_t pipes[] = {64, 600, 8192, 65536, 1 << 20};

	c->chunk_max = chunks[below(g, ARRAY_LEN(chunks))];
	c->delay_us_max = delays[below(g, ARRAY_LEN(delays))];
	c->connect_us_max = chance(g, profile == 6 ? 70 : 30) ? (uint32_t)below(g, 400000) : 0;
	c->turn_us_max = chance(g, 50) ? 0 : (uint32_t)below(g, 300);
	c->pipe_bytes = pipes[below(g, ARRAY_LEN(pipes))];
	c->exact = chance(g, 50);
	c->repl_buffer_bytes = 1u << 20;
	if (profile == 4 || chance(g, 50)) {
		c->repl_buffer_bytes = (size_t)range(g, 100, 3000);
		if (chance(g, 60))
			c->pipe_bytes = pipes[below(g, 3)];
	}
	c->repl_tombstones_bytes = 1u << 20;
	if (profile == 4 || chance(g, 60))
		c->repl_tombstones_bytes = (size_t)range(g, 1, 300);
	if (profile == 6) /* enough for a time apart, not for what follows */
		c->repl_tombstones_bytes = (size_t)range(g, 300, 2000);
	c->secret = chance(g, 30) ? 1 + (c->pester && chance(g, 50)) : 0;
	c->hash_power = (int)range(g, 1, 6); /* the index grows, also under a walk */
	c->repl_ack_ms = chance(g, 25) ? (int)range(g, 1, chance(g, 50) ? 20 : 1000) : 0;
	if (profile == 5 || (profile == 6 && chance(g, 50))) { /* long walks */
		c->repl_buffer_bytes = (size_t)range(g, 100, 600);
		c->pipe_bytes = pipes[below(g, 2)];
		c->chunk_max = 40;
		c->delay_us_max = delays[1 + below(g, 3)];
		c->value_len_max = 60;
	}
	/* Large values through a needle's eye make long runs and find nothing. */
	if (c->pipe_bytes < c->value_len_max / 8)
		c->pipe_bytes = c->value_len_max / 8;
	if (c->chunk_max < c->value_len_max / 32)
		c->chunk_max = c->value_len_max / 32;
	c->repl_timeout_ms = chance(g, 50) ? 5000 : (int)range(g, 1200, 3000);
}

static void choose_config(struct gen *g, struct sim_config *c, int profile)
{
	static const int keys[] = {1, 2, 2, 3, 4, 6};

	c->seed = prng_next(&g->random);
	c->keys = keys[below(g, ARRAY_LEN(keys))];
	int who = profile == 6 && chance(g, 60) ? 2 : (int)below(g, 4);
	c->dial[0] = who == 0 || who == 2;
	c->dial[1] = !c->dial[0] || who == 2;
	c->dial[2] = true;
	for (int i = 0; i < SIM_HOSTS; i++) {
		c->offset_ms[i] = chance(g, 50) ? 0 : chance(g, 50) ? range(g, -3000, 3000) : range(g, -3600000, 3600000);
		c->drift_ppm[i] = chance(g, 70) ? 0 : (int)range(g, -500, 500);
		c->start_us[i] = chance(g, 50) ? 0 : (uint32_t)below(g, chance(g, 50) ? 5000 : 1500000);
	}
	c->same_origin = chance(g, 6);
	if (c->same_origin)
		for (int i = 0; i < SIM_HOSTS; i++)
			c->offset_ms[i] = c->drift_ppm[i] = 0;
	c->pester = profile == 3 ? chance(g, 50) : chance(g, 8);
	if (c->pester)
		c->start_us[2] += 500000;
	choose_memory(g, c, profile);
	choose_link(g, c, profile);
}

/* ---- weights ------------------------------------------------------------------------ */

static void maybe(struct gen *g, int type, int percent, int weight)
{
	if (chance(g, percent))
		g->base[type] = weight;
}

static void choose_client_weights(struct gen *g)
{
	int *w = g->base;

	w[OP_SET] = 22;
	w[OP_DELETE] = 14;
	w[OP_GETS] = 4;
	w[OP_GET] = 2;
	maybe(g, OP_SETDEAD, 40, 3);
	maybe(g, OP_ADD, 50, 4);
	maybe(g, OP_REPLACE, 40, 3);
	maybe(g, OP_APPEND, 40, 4);
	maybe(g, OP_PREPEND, 40, 3);
	maybe(g, OP_CAS, 50, 6);
	maybe(g, OP_INCR, 40, 6);
	maybe(g, OP_DECR, 40, 3);
	maybe(g, OP_TOUCH, 60, 12);
	maybe(g, OP_GAT, 40, 4);
	maybe(g, OP_GATS, 40, 4);
	maybe(g, OP_TOUCHES, 6, 2);
	maybe(g, OP_FLUSH, 30, 3);
	maybe(g, OP_FLUSHLATER, 30, 3);
	maybe(g, OP_SETHUGE, 30, 4);
	maybe(g, OP_PIPELINE, 50, 6);
	maybe(g, OP_PURGE, 20, 3);
	maybe(g, OP_STALE, 25, 4);
	g->expiring = chance(g, 45);
	if (g->expiring)
		w[OP_SETEXP] = 10;
}

static void choose_fault_weights(struct gen *g, int profile)
{
	int *w = g->base;
	bool tight = g->plan->config.memory_bytes[0] < 16u << 20 || g->plan->config.memory_bytes[1] < 16u << 20;

	w[OP_WAIT] = 4;
	maybe(g, OP_TWIN, 30, 3);
	maybe(g, OP_FILL, tight ? 95 : 15, tight ? 25 : 4);
	if (tight && chance(g, 50))
		w[OP_TOUCH] = 25;
	maybe(g, OP_STEP, 30, 3);
	maybe(g, OP_DRIFT, 15, 2);
	maybe(g, OP_STALL, 45, 6);
	if (w[OP_STALL])
		w[OP_UNSTALL] = 5;
	if (profile != 1) {
		maybe(g, OP_DROP, 50, 4);
		maybe(g, OP_RESET, 60, 5);
		maybe(g, OP_CUT, 45, 2);
		if (w[OP_CUT])
			w[OP_HEAL] = 5;
		maybe(g, OP_CRASH, 45, 2);
		maybe(g, OP_TERM, 15, 1);
		maybe(g, OP_NOLISTEN, 10, 1);
	}
	maybe(g, OP_NOMEM, 20, 2);
	maybe(g, OP_QUIESCE, 20, 1);
	maybe(g, OP_YOUNG, profile == 1 ? 0 : 25, 2);
	if ((profile == 3 || (profile == 6 && chance(g, 30))) && g->plan->config.secret != 2)
		w[OP_SWAP] = 3;
	if (profile == 5) {
		w[OP_FILL] = 12;
		w[OP_RESET] = 5;
		w[OP_CRASH] = w[OP_CRASH] ? 1 : 0;
	}
	if (profile == 6) { /* apart, and what is found after it */
		w[OP_CUT] = w[OP_HEAL] = 4;
		w[OP_YOUNG] = 6;
		w[OP_RESET] = 4;
		w[OP_CRASH] = chance(g, 60) ? 3 : 0;
		w[OP_PURGE] = chance(g, 70) ? 8 : 0;
		w[OP_FILL] = 6;
	}
	if (profile == 4) {
		w[OP_DELETE] = 30;
		w[OP_STALL] = 10;
		w[OP_CRASH] = 2;
	}
}

/* Times of peace, of partition and of slowness alternate in half of the runs. */
static void choose_phase(struct gen *g)
{
	int *w = g->weights;
	int phase = (int)below(g, 4);

	memcpy(w, g->base, sizeof(g->base));
	if (phase == 0) {
		w[OP_WAIT] = 12;
		w[OP_DROP] = w[OP_RESET] = w[OP_CRASH] = w[OP_CUT] = w[OP_STALL] = 0;
	} else if (phase == 1) {
		w[OP_CUT] *= 3;
		w[OP_HEAL] = 0;
		w[OP_WAIT] = 1;
	} else if (phase == 2) {
		w[OP_STALL] *= 2;
		w[OP_SET] *= 2;
		w[OP_WAIT] = 1;
	}
	g->total = 0;
	for (int i = 0; i < OP_COUNT; i++)
		g->total += w[i];
}

/* ---- operations ------------------------------------------------------------------------ */

static int32_t value_len(struct gen *g)
{
	uint32_t max = g->plan->config.value_len_max;

	if (chance(g, 10))
		return 0;
	if (max >= 20000 && chance(g, 60))
		return (int32_t)range(g, max / 2, max);
	return (int32_t)below(g, max + 1);
}

static void fill_client_op(struct gen *g, struct op *op)
{
	if (g->one_sided >= 0 && chance(g, 85))
		op->host = (uint8_t)g->one_sided;
	op->flags = (uint8_t)((chance(g, 12) ? OPF_NOREPLY : 0) | (chance(g, 12) ? OPF_DRIBBLE : 0) |
	                      (chance(g, 30) ? OPF_NUMBER : 0) | (chance(g, 20) ? OPF_ABSOLUTE : 0) |
	                      (chance(g, 25) ? OPF_BLIND : 0));
	op->a = value_len(g);
	op->b = g->expiring && chance(g, 40) ? (int32_t)range(g, 1, 12) : 0;
	switch (op->type) {
	case OP_SETEXP:
		op->b = (int32_t)range(g, 1, 12);
		break;
	case OP_TOUCH:
	case OP_GAT:
	case OP_GATS:
		op->b = chance(g, 25) ? 0 : chance(g, 20) ? -1 : (int32_t)range(g, 1, chance(g, 50) ? 2 : 15);
		break;
	case OP_INCR:
	case OP_DECR:
		op->a = (int32_t)below(g, 2000);
		break;
	case OP_FLUSHLATER:
		op->a = (int32_t)range(g, 1, 12);
		break;
	case OP_FILL:
		op->a = (int32_t)range(g, 2, 20);
		op->b = value_len(g);
		break;
	case OP_PURGE:
		op->a = (int32_t)range(g, 2, 20);
		break;
	case OP_TOUCHES:
		op->a = (int32_t)range(g, 100, 300);
		op->b = (int32_t)range(g, 20, 60);
		break;
	case OP_PIPELINE:
		op->a = (int32_t)range(g, 2, 30);
		break;
	default:
		break;
	}
}

static int32_t notice_ms(struct gen *g)
{
	return chance(g, 30) ? -1 : (int32_t)below(g, chance(g, 50) ? 5 : 1500);
}

static int32_t downtime_ms(struct gen *g)
{
	return (int32_t)below(g, chance(g, 50) ? 3 : chance(g, 50) ? 300 : 8000);
}

static void fill_fault_op(struct gen *g, struct op *op)
{
	switch (op->type) {
	case OP_STEP:
		g->after_step = chance(g, 40);
		op->a = (int32_t)(chance(g, 60) ? range(g, -5000, 5000) : range(g, -3600000, 3600000));
		break;
	case OP_DRIFT:
		op->a = (int32_t)range(g, -1000, 1000);
		break;
	case OP_STALL:
		op->a = (int32_t)below(g, chance(g, 60) ? 30 : 4000);
		break;
	case OP_DROP:
		op->a = notice_ms(g);
		op->b = notice_ms(g);
		break;
	case OP_CUT:
		op->a = chance(g, 50);
		break;
	case OP_CRASH:
	case OP_TERM:
		op->a = downtime_ms(g);
		op->b = (int32_t)below(g, 4);
		break;
	case OP_NOMEM:
		op->a = (int32_t)range(g, 1, 4);
		break;
	case OP_SWAP:
		op->a = notice_ms(g);
		break;
	case OP_TWIN:
		op->a = value_len(g);
		break;
	case OP_YOUNG:
		op->a = (int32_t)range(g, 1, chance(g, 60) ? 6 : 60);
		break;
	default:
		break;
	}
}

static uint32_t wait_us(struct gen *g)
{
	int z = (int)below(g, 100);

	if (z < 60)
		return (uint32_t)below(g, 300);
	if (z < 85)
		return (uint32_t)below(g, 5000);
	if (z < 95)
		return (uint32_t)below(g, 200000);
	return (uint32_t)below(g, g->big_times ? 3000000 : 600000);
}

/* The first to notice that a clock went on is a read. */
static void read_after_step(struct gen *g, struct op *op)
{
	*op = (struct op){.type = OP_GETS, .host = op->host, .key = op->key, .flags = OPF_BLIND,
	                  .seed = (uint32_t)prng_next(&g->random)};
	g->after_step = false;
}

static void one_op(struct gen *g, struct op *op)
{
	int z = (int)below(g, (uint64_t)g->total), type = 0;

	while (z >= g->weights[type])
		z -= g->weights[type++];
	*op = (struct op){.type = (uint8_t)type, .host = (uint8_t)below(g, 2),
	                  .key = (uint8_t)below(g, (uint64_t)g->plan->config.keys),
	                  .wait_us = wait_us(g), .seed = (uint32_t)prng_next(&g->random)};
	if (type == OP_WAIT)
		op->wait_us = (uint32_t)below(g, chance(g, 50) ? 20000 : g->big_times ? 7000000 : 1500000);
	if (type <= OP_LAST_CLIENT)
		fill_client_op(g, op);
	else
		fill_fault_op(g, op);
}

/* Before two daemons of one origin meet they make different states with equal
 * versions. */
static void begin_alike(struct gen *g)
{
	static const uint8_t types[] = {OP_CUT, OP_WAIT, OP_TWIN, OP_TWIN, OP_TWIN, OP_HEAL};
	struct plan *p = g->plan;

	for (int i = 0; i < SIM_HOSTS; i++)
		p->config.start_us[i] = 0;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		p->ops[i] = (struct op){.type = types[i], .key = (uint8_t)below(g, (uint64_t)p->config.keys),
		                        .seed = (uint32_t)prng_next(&g->random), .wait_us = 20000 * (uint32_t)i};
		fill_fault_op(g, &p->ops[i]);
	}
	p->ops[0].a = 1;
	p->ops[1].wait_us = 3500000;
}

/* ---- leases and operators ------------------------------------------------------------ */

static void extra_op(struct gen *g, struct op *op, bool leases, bool operators)
{
	static const uint8_t lease_types[] = {OP_VIVIFY, OP_VIVIFY, OP_RECACHE, OP_RECACHE, OP_AUTOVIV};
	static const uint8_t operator_types[] = {OP_REASSIGN, OP_REASSIGN, OP_REASSIGN, OP_MEMLIMIT, OP_CRAWL};
	static const int32_t limits_mb[] = {8, 8, 8, 9, 12, 64};
	bool lease = leases && (!operators || chance(g, 50));

	*op = (struct op){.type = lease ? lease_types[below(g, ARRAY_LEN(lease_types))]
	                                : operator_types[below(g, ARRAY_LEN(operator_types))],
	                  .host = (uint8_t)below(g, 2), .key = (uint8_t)below(g, (uint64_t)g->plan->config.keys),
	                  .wait_us = wait_us(g), .seed = (uint32_t)prng_next(&g->random)};
	op->a = op->type == OP_MEMLIMIT ? limits_mb[below(g, ARRAY_LEN(limits_mb))] : (int32_t)below(g, 2000);
	op->b = chance(g, 20) && op->type != OP_RECACHE ? 0 : (int32_t)range(g, 1, chance(g, 50) ? 2 : 15);
}

/* They are put between the others by a source of their own: what those are does not
 * depend on it. A third of the runs has none. */
static void add_extras(struct plan *p, uint64_t seed)
{
	struct gen g = {.random = {seed * UINT64_C(0x2545f491) + 99}, .plan = p};

	prng_next(&g.random);
	bool leases = chance(&g, 40), operators = chance(&g, 40);
	if (!leases && !operators)
		return;
	for (int n = 1 + p->op_count / 10; n > 0 && p->op_count < SIM_OPS; n--) {
		int at = 1 + (int)below(&g, (uint64_t)p->op_count);
		memmove(&p->ops[at + 1], &p->ops[at], (size_t)(p->op_count - at) * sizeof(p->ops[0]));
		extra_op(&g, &p->ops[at], leases, operators);
		p->op_count++;
	}
}

void plan_make(struct plan *p, uint64_t seed, int profile, int ops_max)
{
	struct gen g = {.random = {seed * UINT64_C(0x51ed2701) + 12345}, .plan = p};

	memset(p, 0, sizeof(*p));
	prng_next(&g.random);
	if (profile == 0)
		profile = 1 + (int)below(&g, 9); /* 7 to 9: as it comes */
	choose_config(&g, &p->config, profile);
	choose_client_weights(&g);
	choose_fault_weights(&g, profile);
	g.big_times = chance(&g, 50);
	g.one_sided = chance(&g, 20) ? (int)below(&g, 2) : -1;
	memcpy(g.weights, g.base, sizeof(g.base));
	for (int i = 0; i < OP_COUNT; i++)
		g.total += g.weights[i];
	int count = (int)(chance(&g, 50) ? range(&g, 10, 60) : range(&g, 60, 400));
	if (ops_max > 0)
		count = ops_max < SIM_OPS ? ops_max : SIM_OPS;
	bool phases = chance(&g, 50);
	int left = 0;
	for (int i = 0; i < count; i++) {
		if (phases && left-- <= 0) {
			left = (int)range(&g, 8, 40);
			choose_phase(&g);
		}
		if (g.after_step) {
			p->ops[i] = p->ops[i - 1];
			read_after_step(&g, &p->ops[i]);
		} else {
			one_op(&g, &p->ops[i]);
		}
	}
	p->op_count = count;
	if (p->config.same_origin && chance(&g, 80))
		begin_alike(&g);
	else if (chance(&g, 60)) /* a pair before anything else */
		p->ops[0].wait_us += 2500000;
	if (count > 0)
		add_extras(p, seed);
}

/* ---- printing ------------------------------------------------------------------------------ */

void plan_print_config(const struct sim_config *c)
{
	printf("keys %d, -x on%s%s%s, offsets %" PRId64 "/%" PRId64 " ms, drift %d/%d ppm, start %u/%u us\n",
	       c->keys, c->dial[0] ? " A" : "", c->dial[1] ? " B" : "", c->pester ? " C (pesters)" : "",
	       c->offset_ms[0], c->offset_ms[1], c->drift_ppm[0], c->drift_ppm[1], c->start_us[0], c->start_us[1]);
	printf("memory %zu/%zu KiB, -I %zu/%zu, values to %u, repl_buffer %zu, repl_tombstones %zu, timeout %d ms, ack %d, secret %d%s\n",
	       c->memory_bytes[0] >> 10, c->memory_bytes[1] >> 10, c->item_bytes_max[0], c->item_bytes_max[1],
	       c->value_len_max, c->repl_buffer_bytes, c->repl_tombstones_bytes, c->repl_timeout_ms,
	       c->repl_ack_ms, c->secret, c->same_origin ? ", same origins" : "");
	printf("chunks to %u, delay to %u us, connects %u us, turns %u us, pipe %zu bytes%s\n", c->chunk_max,
	       c->delay_us_max, c->connect_us_max, c->turn_us_max, c->pipe_bytes, c->exact ? ", frame by frame" : "");
}

void plan_print_op(const struct op *op, int number)
{
	printf("%4d  %c: %s", number, 'A' + op->host, op_names[op->type]);
	if (op_is_client(op->type))
		printf(" k%d", op->key);
	printf(" a=%d b=%d%s%s%s%s  (+%u us)\n", op->a, op->b, op->flags & OPF_NOREPLY ? " noreply" : "",
	       op->flags & OPF_DRIBBLE ? " dribbled" : "", op->flags & OPF_NUMBER ? " number" : "",
	       op->flags & OPF_ABSOLUTE ? " absolute" : op->flags & OPF_BLIND ? " blind" : "", op->wait_us);
}
