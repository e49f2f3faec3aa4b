/*
 * sim_ops.c - executes one operation of the plan.
 *
 * Owns: what each kind of trouble means in terms of hosts and wires. Commands
 * of clients go on to sim_clients.c. Host 0 of an operation is whichever daemon
 * is B's partner at the time (A, or C after a SWAP).
 *
 * Must not know: frames, what an oracle expects.
 *
 * Covered by: the coverage table (t/sim -v) shows which ones happened.
 */
#include "compat.h"
#include "sim.h"

static struct host *op_host(struct sim *s, const struct op *op)
{
	return &s->hosts[op->host ? 1 : s->side_a];
}

/* At least one of the pair must look for the other. */
static void choose_dial(struct sim *s, struct host *h, bool dial)
{
	const struct host *other = &s->hosts[h->id == 1 ? 0 : 1]; /* C always does */

	h->dial_next = dial || h->id == 2 || !other->dial_next;
}

static bool has_unacked(const struct host *h)
{
	return h->up && !repl_is_quiet(node_repl(h->node));
}

static bool in_walk(struct sim *s)
{
	struct wire *w = net_link(s);

	return w && (w->walking[0] || w->walking[1]);
}

static void go_down(struct sim *s, struct host *h, const struct op *op)
{
	h->down_until_us = s->now_us + op->a * INT64_C(1000);
	choose_dial(s, h, op->b & 1);
}

static void crash(struct sim *s, struct host *h, const struct op *op)
{
	if (!h->up)
		return;
	sim_cover(s, COV_crash);
	if (in_walk(s))
		sim_cover(s, COV_crash_in_walk);
	if (has_unacked(h))
		sim_cover(s, COV_crash_with_unacked);
	go_down(s, h, op);
	host_crash(h, op->b & 2);
}

static void term(struct sim *s, struct host *h, const struct op *op)
{
	if (!h->up || h->stopping)
		return;
	sim_cover(s, COV_term);
	go_down(s, h, op);
	host_turn(h);
	h->stopping = true;
	h->stop_at_us = s->now_us;
	clients_close(h);
	node_stop(h->node, STOP_NOW);
}

static void drop_wires(struct sim *s, int a, int b, const int notice_ms[2])
{
	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		if (!w->used)
			continue;
		bool forth = w->host[0] == a && w->host[1] == b, back = w->host[0] == b && w->host[1] == a;
		const int turned[2] = {notice_ms[1], notice_ms[0]};
		if (forth)
			net_drop(s, w, notice_ms);
		else if (back)
			net_drop(s, w, turned);
	}
}

static void reset_wires(struct sim *s)
{
	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		if (w->used && (w->host[0] == s->side_a || w->host[1] == s->side_a))
			net_reset(s, w);
	}
}

/* Established connections do not survive a partition; who notices, and when, is
 * a matter of luck. */
static void partition(struct sim *s, const struct op *op)
{
	struct prng random = {op->seed};
	int notice[2];

	for (int i = 0; i < 2; i++)
		notice[i] = prng_below(&random, 3) == 0 ? -1 : (int)prng_below(&random, 400);
	s->apart = true;
	s->apart_refuses = op->a;
	for (int i = 0; i < SIM_HOSTS; i++)
		s->hosts[i].written_apart = false;
	drop_wires(s, s->side_a, 1, notice);
}

static void heal_partition(struct sim *s)
{
	if (s->apart && s->hosts[s->side_a].written_apart && s->hosts[1].written_apart)
		sim_cover(s, COV_apart_both_written);
	s->apart = false;
}

/* A and C take turns as B's partner; the other one is off the network, running. */
static void swap(struct sim *s, const struct op *op)
{
	const int notice[2] = {0, op->a};
	int leaves = s->side_a, comes = leaves == 0 ? 2 : 0;

	sim_cover(s, COV_third_daemon);
	drop_wires(s, leaves, 1, notice);
	s->side_a = comes;
	struct host *h = &s->hosts[comes];
	if (!h->up && !h->incarnation) {
		h->down_until_us = s->now_us;
		sim_push(s, s->now_us, (struct event){.type = EV_START, .host = (uint8_t)comes});
	}
	drop_wires(s, comes, 1, notice); /* it may have been pestering */
}

static void step_clock(struct sim *s, struct host *h, const struct op *op)
{
	if (op->a < 0)
		sim_cover(s, COV_clock_back);
	h->offset_ms += op->a;
}

static void change_drift(struct sim *s, struct host *h, const struct op *op)
{
	h->offset_ms = host_wall_ms(h) - SIM_WALL_BASE_MS - s->now_us / 1000;
	h->drift_since_us = s->now_us;
	h->drift_ppm = op->a;
}

static void fail_alloc(struct sim *s, struct host *h, const struct op *op)
{
	if (!h->up)
		return;
	sim_cover(s, COV_alloc_failed);
	h->may_fail = true;
	items_fail_alloc_after(node_items(h->node), (uint64_t)op->a);
}

/* Two clients write one key, one on each side, at the same instant. */
static void set_on_both(struct sim *s, const struct op *op)
{
	sim_cover(s, COV_twin);
	for (int i = 0; i < 2; i++) {
		struct op one = *op;
		one.type = OP_SET;
		one.host = (uint8_t)i;
		one.seed = op->seed * 2 + (uint32_t)i * SIM_CLIENTS;
		op_run(s, &one);
	}
}

static void drop_young(struct sim *s, const struct op *op)
{
	s->young_frames = op->a;
	s->young_after = s->generations;
}

static void fault(struct sim *s, struct host *h, const struct op *op)
{
	const int notice[2] = {op->a, op->b};

	switch (op->type) {
	case OP_WAIT: break;
	case OP_STEP: step_clock(s, h, op); break;
	case OP_DRIFT: change_drift(s, h, op); break;
	case OP_DROP: drop_wires(s, s->side_a, 1, notice); break;
	case OP_RESET: reset_wires(s); break;
	case OP_STALL: net_stall(s, h->id, s->now_us + op->a * INT64_C(1000)); break;
	case OP_UNSTALL: net_stall(s, h->id, 0); break;
	case OP_CUT: partition(s, op); break;
	case OP_HEAL: heal_partition(s); break;
	case OP_CRASH: crash(s, h, op); break;
	case OP_TERM: term(s, h, op); break;
	case OP_NOMEM: fail_alloc(s, h, op); break;
	case OP_SWAP: swap(s, op); break;
	case OP_TWIN: set_on_both(s, op); break;
	case OP_YOUNG: drop_young(s, op); break;
	case OP_NOLISTEN: h->listen_fails = true; break;
	case OP_QUIESCE: sim_quiesce(s); break;
	default: assert(!"no such operation");
	}
}

void op_run(struct sim *s, const struct op *op)
{
	struct host *h = op_host(s, op);

	sim_trace(s, op, sizeof(*op));
	if (!op_is_client(op->type)) {
		fault(s, h, op);
		return;
	}
	if (!h->up || h->stopping)
		return;
	if (!h->ports_open) {
		sim_cover(s, COV_slave_waits);
		return;
	}
	sim_cover(s, COV_client_ops);
	host_turn(h);
	client_op(h, op);
}
