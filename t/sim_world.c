/*
 * sim_world.c - the event heap, and hosts.
 *
 * Owns: virtual time (microseconds), the heap ordered by (time, sequence), and
 * for each host what a shell owes to its node (node.h): node_set_now() before
 * the first callback of a turn, node_turn_end() after the last, node_tick()
 * when it is due, and the reconciliation of node_wants(). A turn may gather
 * several callbacks: the first begins it, an EV_TURN_END a moment later ends it.
 *
 * Must not know: frames, properties of keys, what a command is.
 *
 * Invariants
 *  [W1] the instant a node sees does not move inside a turn
 *  [W2] a daemon's client ports stay open once they are (node.c [N2])
 *  [W3] after node_stop() the node says `stopped` within repl_drain_ms + 2 s
 *
 * Covered by: every run; the same seed twice must give the same trace hash.
 */
#include "compat.h"
#include "sim.h"

#define TURN_COST_US 20      /* a loop is not infinitely fast */
#define QUIET_LIMIT_S 90     /* from healing to quiet */
#define IDLE_WINDOW_US 3200000
#define IDLE_TURNS_MAX 400   /* turns of one host in that window: more is spinning */
#define STOP_SLACK_MS 2000
#define SAME_ORIGIN 77

/* ---- trace and failure ------------------------------------------------------ */

void sim_trace(struct sim *s, const void *data, size_t len)
{
	s->trace = hash_key(data, len, s->trace);
}

void sim_trace_u64(struct sim *s, uint64_t v)
{
	uint8_t bytes[8];

	store_be64(bytes, v);
	sim_trace(s, bytes, sizeof(bytes));
}

void sim_say(struct sim *s, const char *fmt, ...)
{
	if (!s->verbose)
		return;
	va_list ap;
	va_start(ap, fmt);
	printf("%11.6f ", (double)s->now_us / 1e6);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

void sim_fail(struct sim *s, const char *property, const char *fmt, ...)
{
	if (sim_failed(s))
		return;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(s->failure.message, sizeof(s->failure.message), fmt, ap);
	va_end(ap);
	snprintf(s->failure.property, sizeof(s->failure.property), "%s", property);
	s->failure.event = s->event_count;
	s->failure.op = s->op_next;
	sim_say(s, "*** %s: %s", property, s->failure.message);
}

/* ---- the heap ----------------------------------------------------------------- */

static bool event_before(const struct event *a, const struct event *b)
{
	if (a->at_us != b->at_us)
		return a->at_us < b->at_us;
	return a->sequence < b->sequence;
}

void sim_push(struct sim *s, int64_t at_us, struct event e)
{
	if (s->heap_len == SIM_EVENTS) {
		sim_fail(s, "SIM", "event heap is full");
		return;
	}
	e.at_us = at_us > s->now_us ? at_us : s->now_us;
	e.sequence = ++s->sequence;
	int i = s->heap_len++;
	while (i > 0 && event_before(&e, &s->heap[(i - 1) / 2])) {
		s->heap[i] = s->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	s->heap[i] = e;
}

static struct event heap_pop(struct sim *s)
{
	struct event top = s->heap[0];
	struct event last = s->heap[--s->heap_len];
	int i = 0;

	while (2 * i + 1 < s->heap_len) {
		int child = 2 * i + 1;
		if (child + 1 < s->heap_len && event_before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!event_before(&s->heap[child], &last))
			break;
		s->heap[i] = s->heap[child];
		i = child;
	}
	s->heap[i] = last;
	return top;
}

/* ---- hosts -------------------------------------------------------------------- */

int64_t host_wall_ms(const struct host *h)
{
	int64_t since_us = h->sim->now_us - h->drift_since_us;

	return SIM_WALL_BASE_MS + h->sim->now_us / 1000 + h->offset_ms +
	       since_us * h->drift_ppm / 1000000000;
}

struct host *sim_peer(struct sim *s, const struct host *h)
{
	return h->id == 1 ? &s->hosts[s->side_a] : &s->hosts[1];
}

static void host_set_now(struct host *h)
{
	h->now.mono_ms = h->sim->now_us / 1000 + 1000;
	h->now.wall_ms = host_wall_ms(h);
	node_set_now(h->node, &h->now);
}

void host_turn(struct host *h)
{
	struct sim *s = h->sim;

	s->touched_hosts[h->id] = true;
	if (h->in_turn)
		return;
	h->in_turn = true;
	h->turns++;
	host_set_now(h);
	int64_t length = (int64_t)prng_below(&s->net, s->plan.config.turn_us_max + 1);
	sim_push(s, s->now_us + length,
	         (struct event){.type = EV_TURN_END, .host = (uint8_t)h->id,
	                        .generation = h->incarnation});
}

static void host_log(void *ctx, const char *line)
{
	struct host *h = ctx;

	sim_trace(h->sim, line, strlen(line));
	sim_say(h->sim, "      %c| %s", 'A' + h->id, line);
}

static void no_process_info(void *ctx, struct process_info *out)
{
	(void)ctx;
	memset(out, 0, sizeof(*out));
	out->event_library = "simulated";
}

static void no_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	(void)ctx, (void)fn, (void)fn_ctx;
}

static void host_settings(struct host *h)
{
	const struct sim_config *c = &h->sim->plan.config;
	struct settings *set = &h->settings;

	settings_init(set);
	set->memory_bytes_max = c->memory_bytes[h->id];
	set->item_bytes_max = c->item_bytes_max[h->id];
	set->hash_power = c->hash_power;
	set->replicated = true;
	set->repl_port = REPL_PORT_DEFAULT;
	if (h->dial_next)
		snprintf(set->repl_peer, sizeof(set->repl_peer), "%s", h->id == 1 ? "A" : "B");
	set->repl_buffer_bytes = c->repl_buffer_bytes;
	set->repl_tombstones_bytes = c->repl_tombstones_bytes;
	set->repl_timeout_ms = c->repl_timeout_ms;
	set->repl_ack_ms = c->repl_ack_ms;
	set->repl_has_secret = c->secret != 0;
	memset(set->repl_link_key, c->secret == 2 && h->id == 2 ? 2 : 1, sizeof(set->repl_link_key));
}

void host_start(struct host *h)
{
	struct sim *s = h->sim;
	struct prng random = {s->plan.config.seed * 31 + ++s->incarnations};
	uint8_t entropy[NODE_ENTROPY_BYTES];
	const char *error = NULL;

	assert(!h->up);
	for (size_t i = 0; i < sizeof(entropy); i += 8)
		store_be64(entropy + i, prng_next(&random));
	if (s->plan.config.same_origin) { /* bytes 8 to 15 of what node.c and replication.c are given */
		sim_cover(s, COV_same_origin);
		store_be64(entropy + 8, SAME_ORIGIN);
		store_be64(entropy + 24, SAME_ORIGIN);
	}
	host_settings(h);
	h->incarnation = s->incarnations;
	h->log = (struct log){.sink = host_log, .ctx = h, .verbosity = LOG_INFO};
	h->env = (struct node_env){.process_info = no_process_info, .each_conn = no_conns};
	h->now.mono_ms = s->now_us / 1000 + 1000;
	h->now.wall_ms = host_wall_ms(h);
	h->node = node_new(&h->settings, &h->env, &h->log, &h->now, entropy, &error);
	if (!h->node) {
		sim_fail(s, "SIM", "node_new: %s", error ? error : "no reason given");
		return;
	}
	sim_say(s, "%c starts as daemon %u%s", 'A' + h->id, h->incarnation,
	        h->dial_next ? " with -x" : "");
	h->up = true;
	h->in_turn = h->stopping = h->listening = h->ports_open = h->may_fail = false;
	h->connect_seq = h->pages_moved = 0;
	h->memory_low = h->settings.memory_bytes_max;
	h->reassigned = false;
	h->tick_at_us = INT64_MAX;
	keys_make(h);
	check_reset(h);
	node_observe(h->node, check_change, h);
	host_turn(h);
}

/* The process is gone; nothing of it is asked to say good-bye. */
static void host_down(struct host *h, bool silent)
{
	struct sim *s = h->sim;
	int64_t back = h->down_until_us;

	net_host_gone(h, silent);
	clients_close(h);
	node_observe(h->node, NULL, NULL);
	node_free(h->node);
	h->node = NULL;
	h->up = h->in_turn = h->listening = h->stopping = false;
	h->tick_generation++;
	h->pending_count = 0;
	if (back < s->now_us)
		back = s->now_us;
	sim_push(s, back, (struct event){.type = EV_START, .host = (uint8_t)h->id});
}

void host_crash(struct host *h, bool silent)
{
	sim_say(h->sim, "%c crashes%s", 'A' + h->id, silent ? ", and nobody hears of it" : "");
	host_down(h, silent);
}

static void host_arm(struct host *h)
{
	struct sim *s = h->sim;
	int64_t due_ms = node_next_due_ms(h->node);

	if (due_ms == INT64_MAX) {
		h->tick_at_us = INT64_MAX;
		h->tick_generation++;
		return;
	}
	int64_t at = (due_ms - 1000) * 1000;
	if (at < s->now_us + TURN_COST_US)
		at = s->now_us + TURN_COST_US;
	if (at == h->tick_at_us)
		return;
	h->tick_at_us = at;
	sim_push(s, at, (struct event){.type = EV_TICK, .host = (uint8_t)h->id,
	                               .generation = ++h->tick_generation});
}

/* The shell's part of node_wants(): compare with what is. */
static void host_reconcile(struct host *h)
{
	struct sim *s = h->sim;
	struct node_wants w = node_wants(h->node);

	if (h->ports_open && !w.client_ports)
		sim_fail(s, "N2", "%c: client ports wanted no more", 'A' + h->id);
	if (w.client_ports && !h->ports_open) {
		h->ports_open = true;
		check_ports(h);
		clients_open(h);
	}
	if (w.link_listen && !h->listening && h->listen_fails) {
		h->listen_fails = false;
		repl_listen_failed(node_repl(h->node), "Address already in use");
		w = node_wants(h->node);
	}
	if (h->listening && !w.link_listen)
		net_stop_listening(h);
	h->listening = w.link_listen;
	if (w.connect_seq != h->connect_seq) {
		h->connect_seq = w.connect_seq;
		if (!h->stopping)
			net_connect(h);
	}
}

static void host_turn_end(struct host *h)
{
	struct sim *s = h->sim;

	s->touched_hosts[h->id] = true;
	node_turn_end(h->node);
	net_pump(h);
	host_reconcile(h);
	h->in_turn = false;
	if (h->stopping && node_wants(h->node).stopped) {
		sim_say(s, "%c exits", 'A' + h->id);
		sim_cover(s, COV_term_drained);
		if (s->now_us < h->stop_at_us + h->settings.repl_drain_ms * INT64_C(1000))
			check_stopped(h);
		host_down(h, false);
		return;
	}
	if (h->stopping &&
	    s->now_us > h->stop_at_us + (h->settings.repl_drain_ms + STOP_SLACK_MS) * INT64_C(1000))
		sim_fail(s, "W3", "%c was told to stop and has not", 'A' + h->id);
	host_arm(h);
}

/* ---- events --------------------------------------------------------------------- */

static void host_event(struct sim *s, const struct event *e)
{
	struct host *h = &s->hosts[e->host];

	switch (e->type) {
	case EV_START:
		if (!h->up && s->now_us >= h->down_until_us)
			host_start(h);
		break;
	case EV_TICK:
		if (!h->up || e->generation != h->tick_generation)
			break;
		h->tick_at_us = INT64_MAX;
		host_turn(h);
		node_tick(h->node);
		break;
	case EV_TURN_END:
		if (h->up && h->in_turn && e->generation == h->incarnation)
			host_turn_end(h);
		break;
	case EV_CLIENT:
		if (h->up && e->generation == h->incarnation)
			client_event(h, e->index);
		break;
	default:
		assert(!"no such event of a host");
	}
}

static void next_op(struct sim *s)
{
	if (s->op_next >= s->plan.op_count)
		return;
	const struct op *op = &s->plan.ops[s->op_next++];
	if (s->verbose) {
		printf("%11.6f ", (double)s->now_us / 1e6);
		plan_print_op(op, s->op_next);
	}
	op_run(s, op);
	if (s->op_next < s->plan.op_count)
		sim_push(s, s->now_us + s->plan.ops[s->op_next].wait_us, (struct event){.type = EV_OP});
}

static void check_touched(struct sim *s)
{
	for (int i = 0; i < SIM_HOSTS; i++) {
		struct host *h = &s->hosts[i];
		if (!s->touched_hosts[i] || !h->up || sim_failed(s))
			continue;
		clients_poll(h);
		check_host(h);
	}
}

static void sim_step(struct sim *s)
{
	struct event e = heap_pop(s);

	s->now_us = e.at_us;
	s->event_count++;
	s->result->events = s->event_count;
	s->result->op = s->op_next;
	sim_trace_u64(s, (uint64_t)e.at_us);
	sim_trace_u64(s, (uint64_t)e.type << 32 | (uint64_t)e.host << 16 | (uint64_t)e.side << 8);
	memset(s->touched_hosts, 0, sizeof(s->touched_hosts));
	if (e.type == EV_OP)
		next_op(s);
	else if (e.type == EV_START || e.type == EV_TICK || e.type == EV_TURN_END || e.type == EV_CLIENT)
		host_event(s, &e);
	else
		net_event(s, &e);
	check_touched(s);
}

/* ---- healing ---------------------------------------------------------------------- */

static bool pair_is_quiet(struct sim *s)
{
	struct wire *link = net_link(s);

	if (!link || !net_wire_whole(s, link) || net_open_wires(s, s->side_a, 1) != 1)
		return false;
	for (int i = 0; i < 2; i++) {
		struct host *h = &s->hosts[i ? 1 : s->side_a];
		if (!h->up || h->stopping || !h->ports_open || !clients_idle(h) || h->in_turn)
			return false;
		if (items_flush_state(node_items(h->node))->when_ms)
			return false;
		if (!repl_is_quiet(node_repl(h->node)) || repl_lost_below(node_repl(h->node)))
			return false;
	}
	return true;
}

static void heal(struct sim *s)
{
	s->apart = false;
	s->quiescing = true;
	s->young_frames = 0;
	if (!net_link(s))
		net_expel(s);
	for (int i = 0; i < SIM_HOSTS; i++) {
		struct host *h = &s->hosts[i];
		net_stall(s, i, 0);
		if (!h->up)
			continue;
		items_fail_alloc_after(node_items(h->node), 0);
		h->listen_fails = false;
		clients_flush(h);
	}
	check_touched(s); /* before other events follow inside this one */
}

/* A flush_all that is still to fire keeps the pair from being quiet. */
static int64_t flush_wait_us(struct sim *s)
{
	int64_t wait_ms = 0;

	for (int i = 0; i < SIM_HOSTS; i++) {
		struct host *h = &s->hosts[i];
		if (!h->up)
			continue;
		int64_t when = items_flush_state(node_items(h->node))->when_ms;
		if (when && when - host_wall_ms(h) > wait_ms)
			wait_ms = when - host_wall_ms(h);
	}
	return wait_ms * 1000;
}

static void explain_unquiet(struct sim *s)
{
	struct wire *link = net_link(s);
	struct host *a = &s->hosts[s->side_a], *b = &s->hosts[1];

	sim_fail(s, "LIVE", "not quiet %d s after healing: link %s, open wires %d, quiet %d/%d, "
	         "lost_below %" PRIu64 "/%" PRIu64 ", tombstones %zu/%zu, flush pending %d/%d, "
	         "ports %d/%d, clients idle %d/%d",
	         QUIET_LIMIT_S, link ? "up" : "down", net_open_wires(s, s->side_a, 1),
	         repl_is_quiet(node_repl(a->node)), repl_is_quiet(node_repl(b->node)),
	         repl_lost_below(node_repl(a->node)), repl_lost_below(node_repl(b->node)),
	         items_tomb_count(node_items(a->node)), items_tomb_count(node_items(b->node)),
	         items_flush_state(node_items(a->node))->when_ms != 0,
	         items_flush_state(node_items(b->node))->when_ms != 0, a->ports_open, b->ports_open,
	         clients_idle(a), clients_idle(b));
}

/* P7 and "never spins": a quiet pair exchanges heartbeats and sleeps. */
static void watch_idle(struct sim *s)
{
	struct host *pair[2] = {&s->hosts[s->side_a], &s->hosts[1]};
	int64_t end = s->now_us + IDLE_WINDOW_US;
	uint64_t data = s->frames[1], beats = s->frames[0];
	uint64_t turns[2] = {pair[0]->turns, pair[1]->turns};

	while (s->now_us < end && s->heap_len && !sim_failed(s)) {
		sim_step(s);
		if (s->frames[1] != data)
			sim_fail(s, "P7", "a quiet pair sends something else than heartbeats");
	}
	if (s->frames[0] - beats > 64)
		sim_fail(s, "P7", "%" PRIu64 " heartbeats in 3 s", s->frames[0] - beats);
	for (int i = 0; i < 2; i++)
		if (pair[i]->turns - turns[i] > IDLE_TURNS_MAX && !s->plan.config.pester)
			sim_fail(s, "SPIN", "%c: %" PRIu64 " turns in 3 s of silence", 'A' + pair[i]->id,
			         pair[i]->turns - turns[i]);
}

void sim_quiesce(struct sim *s)
{
	struct host *a = &s->hosts[s->side_a], *b = &s->hosts[1];
	int64_t limit = s->now_us + QUIET_LIMIT_S * INT64_C(1000000) + flush_wait_us(s);

	sim_say(s, "-- heal and wait for quiet");
	heal(s);
	while (!sim_failed(s) && s->heap_len && !pair_is_quiet(s)) {
		int64_t later = s->now_us + flush_wait_us(s) + 10000000;
		if (flush_wait_us(s) && later > limit)
			limit = later;
		if (s->now_us > limit) {
			if (a->up && b->up)
				explain_unquiet(s);
			else
				sim_fail(s, "LIVE", "a daemon is down");
		}
		sim_step(s);
	}
	if (!sim_failed(s))
		watch_idle(s);
	limit = s->now_us + 1000000; /* between two heartbeats */
	while (!sim_failed(s) && !pair_is_quiet(s) && s->now_us < limit)
		sim_step(s);
	if (!sim_failed(s) && !pair_is_quiet(s))
		sim_fail(s, "P7", "a quiet pair does not stay quiet");
	if (!sim_failed(s)) {
		sim_cover(s, COV_quiet);
		sim_say(s, "-- quiet");
		check_quiet(s, a, b);
	}
	for (int i = 0; i < SIM_HOSTS; i++)
		s->hosts[i].may_fail = false; /* what failed has failed */
	s->quiescing = false;
}

/* ---- the run ---------------------------------------------------------------------- */

struct sim *sim_new(const struct plan *plan, bool verbose, struct sim_result *result)
{
	struct sim *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->plan = *plan;
	s->verbose = verbose;
	s->result = result;
	s->trace = UINT64_C(14695981039346656037);
	s->net.state = plan->config.seed ^ UINT64_C(0x5eed);
	for (int i = 0; i < SIM_HOSTS; i++) {
		struct host *h = &s->hosts[i];
		h->sim = s;
		h->id = i;
		h->offset_ms = plan->config.offset_ms[i];
		h->drift_ppm = plan->config.drift_ppm[i];
		h->dial_next = plan->config.dial[i];
		h->down_until_us = plan->config.start_us[i];
		h->pending = calloc(SIM_PENDING, sizeof(*h->pending));
		if (!h->pending)
			abort();
	}
	return s;
}

void sim_run(struct sim *s)
{
	int hosts = s->plan.config.pester ? 3 : 2;

	for (int i = 0; i < hosts; i++)
		sim_push(s, s->plan.config.start_us[i], (struct event){.type = EV_START, .host = (uint8_t)i});
	if (s->plan.op_count)
		sim_push(s, s->plan.ops[0].wait_us, (struct event){.type = EV_OP});
	while (s->op_next < s->plan.op_count && !sim_failed(s))
		sim_step(s);
	if (!sim_failed(s))
		sim_quiesce(s);
	s->result->trace = s->trace;
	s->result->failure = s->failure;
	memcpy(s->result->coverage, s->coverage, sizeof(s->coverage));
}

void sim_free(struct sim *s)
{
	for (int i = 0; i < SIM_HOSTS; i++) {
		struct host *h = &s->hosts[i];
		if (h->up) {
			h->down_until_us = s->now_us;
			host_down(h, false);
		}
		free(h->pending);
	}
	for (int i = 0; i < SIM_WIRES; i++)
		for (int side = 0; side < 2; side++) {
			struct pipe *p = &s->wires[i].pipe[side];
			free(p->data);
			sniff_release(&p->out);
			sniff_release(&p->in);
		}
	free(s->values);
	free(s);
}
