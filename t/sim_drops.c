/*
 * sim_drops.c - the oracle of what goes away, and of what may not.
 *
 * Owns: the reasons for which a state may leave a node, each looked at when it
 * is given, so that a state which no rule drops survives: what stands in the
 * ghosts as "evicted" or "dropped by the bound" is no blanket excuse.
 *
 *   EVICT   memory is small or was for a time, a page is moved by an operator, or an
 *           allocation was made to fail
 *   EXPIRE  its time has passed
 *   FLUSH   it is below the barrier
 *   SWEEP   the peer's SWEEP said a number at or above it, that is not above the
 *           clock at BEGIN, and the peer did not hold the key all the time since
 *   TOMB    its sender removed or dropped that very state, an own one; and it is
 *           newer than what it removes
 *   LOST    lost_below is above the barrier and above what the present peer has
 *           acknowledged, or it is 0
 *   SEEN    what an opening line says was seen was said by the very peer it names
 *   KEPT    a removal by a client, and the drop of an own state that the present
 *           peer has not acknowledged, leave a tombstone with the right order and
 *           an age that is not below the change it stands for; it stays until it
 *           is acknowledged, or counted as lost
 *   CLOCK   what is written is newer than anything that was read before, and so is
 *           the barrier of a flush_all that happens
 *   ORIGIN  the two of a pair make different versions
 *
 * Must not know: why a node thought so.
 *
 * Invariants
 *  [D1] what is known of the peer's acknowledgements is never less than what the
 *       node knows: the check of KEPT errs on the side of silence
 *
 * Covered by: t/mutants.list.
 */
#include "compat.h"
#include "sim.h"

#define AMPLE_MEMORY_BYTES (16u << 20)

static uint64_t barrier_of(const struct host *h)
{
	return items_flush_state(node_items(h->node))->barrier;
}

/* ---- acknowledgements and clocks ------------------------------------------------------ */

void drops_hello_out(struct host *h, const struct wire_hello *hello)
{
	const struct host *peer = NULL;

	h->node_id = hello->node_id;
	for (int i = 0; i < SIM_HOSTS; i++)
		if (h->peer_incarnation && h->sim->hosts[i].incarnation == h->peer_incarnation)
			peer = &h->sim->hosts[i];
	if (peer && hello->seen_id == peer->node_id && hello->seen > h->marked)
		sim_fail(h->sim, "SEEN", "%c says it has seen %" PRIu64 " of %c, which said %" PRIu64, 'A' + h->id,
		         hello->seen, 'A' + peer->id, h->marked);
}

/* What a line says counts if its sender is the peer already: a new one has seen
 * nothing of ours, and one that has come back nothing since. */
void drops_hello_in(struct host *h, struct wire *w, int side, const struct wire_hello *hello)
{
	w->hello_clock[side] = hello->clock;
	w->hello_origin[side] = hello->origin;
	if (h->peer_incarnation != w->incarnation[side] || hello->seen_id != h->node_id ||
	    hello->seen < h->seen_from)
		return;
	w->hello_seen[side] = hello->seen;
	if (hello->seen > h->acked)
		h->acked = hello->seen;
}

/* Whatever it acknowledges is above all that there was before. */
void drops_new_peer(struct host *h)
{
	h->acked = h->marked = 0;
	h->since = h->heard > h->written ? h->heard : h->written;
	h->seen_from = UINT64_MAX;
}

static void hear(struct host *h, uint64_t version)
{
	if (version > h->heard)
		h->heard = version;
}

/* ---- walks ----------------------------------------------------------------------------- */

/* The first frame on a connection that became the link. */
static void link_used(struct host *h, const struct wire *w, int side)
{
	uint64_t lost = repl_lost_below(node_repl(h->node)), seen = w->hello_seen[1 - side];

	hear(h, w->hello_clock[1 - side]);
	if (lost && lost <= seen)
		sim_fail(h->sim, "LOST", "%c was told that %" PRIu64 " was seen and has lost_below %" PRIu64,
		         'A' + h->id, seen, lost);
}

void drops_frame_out(struct host *h, struct wire *w, int side, const struct frame *f)
{
	struct sim *s = h->sim;

	link_used(h, w, side);
	if (f->type == WIRE_BEGIN) {
		if (h->seen_from == UINT64_MAX)
			h->seen_from = f->version;
		struct walk_begun *b = &w->begun[side][w->begun_out[side]++ % SIM_BEGUN];
		*b = (struct walk_begun){f->version, w->empty_event[side]};
	} else if (f->type == WIRE_SWEEP) {
		const struct walk_begun *b = &w->begun[side][(w->begun_out[side] + SIM_BEGUN - 1) % SIM_BEGUN];
		if (f->version > b->clock)
			sim_fail(s, "SWEEP", "%c sends SWEEP %" PRIu64 " of a walk that began at %" PRIu64,
			         'A' + h->id, f->version, b->clock);
	} else if (f->type == WIRE_TOMB && f->key >= 0) {
		if (state_order_cmp(&f->order, &h->ghosts[f->key].removed) > 0)
			sim_fail(s, "TOMB", "%c sends a tombstone of k%d v=%" PRIu64 " t%d and removed nothing like it",
			         'A' + h->id, f->key, f->order.version, f->order.touches);
	}
}

/* Before the node reads it. */
void drops_frame_in(struct host *h, struct wire *w, int side, const struct frame *f)
{
	if (f->type == WIRE_ACK && f->version > h->acked)
		h->acked = f->version; /* [D1] */
	if (f->type == WIRE_MARK && f->version > h->marked)
		h->marked = f->version;
	if (f->type == WIRE_BEGIN) {
		bool known = w->begun_out[side] - w->begun_in[side] <= SIM_BEGUN;
		h->walk = w->begun[side][w->begun_in[side]++ % SIM_BEGUN];
		h->walk.clock = f->version;
		if (!known)
			h->walk.event = 0;
	} else if (f->type == WIRE_SWEEP) {
		h->sweeps_pending++;
		h->sweep_upto = f->version;
		h->sweep_walk = h->walk;
		h->sweep_from = w->incarnation[side];
	}
}

/* After the node has applied it. */
void drops_frame_settled(struct host *h, const struct wire *w, int side, const struct frame *f)
{
	uint64_t lost = repl_lost_below(node_repl(h->node));

	link_used(h, w, side);
	if (f->type != WIRE_ACK)
		hear(h, f->order.version > f->version ? f->order.version : f->version);
	if (f->type == WIRE_SWEEP && h->sweeps_pending > 0)
		h->sweeps_pending--;
	if (f->type == WIRE_ACK && lost && lost <= f->version)
		sim_fail(h->sim, "LOST", "%c read an acknowledgement of %" PRIu64 " and has lost_below %" PRIu64,
		         'A' + h->id, f->version, lost);
}

void drops_link_gone(struct host *h)
{
	h->sweeps_pending = 0;
}

void drops_barrier(struct host *h)
{
	uint64_t lost = repl_lost_below(node_repl(h->node));

	if (lost && lost <= barrier_of(h))
		sim_fail(h->sim, "LOST", "%c has lost_below %" PRIu64 " at or below its barrier %" PRIu64,
		         'A' + h->id, lost, barrier_of(h));
}

void drops_own_change(struct host *h, int key, uint64_t version)
{
	const struct wire *w = net_link(h->sim);

	h->written = version;
	if (w && w->host[0] == h->id && (version & VERSION_ORIGIN_MAX) == w->hello_origin[1])
		sim_fail(h->sim, "ORIGIN", "%c makes k%d v=%" PRIu64 " with the origin of its peer", 'A' + h->id, key,
		         version);
	if (version <= h->heard)
		sim_fail(h->sim, "CLOCK", "%c makes k%d v=%" PRIu64 " and has read v=%" PRIu64, 'A' + h->id, key,
		         version, h->heard);
}

/* What a flush_all clears is all that there is when it happens. */
void drops_flush(struct host *h, const struct change *c)
{
	uint64_t barrier = c->flush->barrier;

	if (c->cause == CAUSE_PEER || c->flush->when_ms)
		return;
	if (barrier <= h->written || barrier <= h->heard)
		sim_fail(h->sim, "FLUSH", "%c: flush_all makes the barrier %" PRIu64 " and there is %" PRIu64 " and %" PRIu64,
		         'A' + h->id, barrier, h->written, h->heard);
}

/* ---- reasons --------------------------------------------------------------------------- */

/* The state of key that the sender of the SWEEP holds since before its walk began. */
static const struct item *held_all_the_time(struct host *h, int key)
{
	for (int i = 0; i < SIM_HOSTS; i++) {
		struct host *p = &h->sim->hosts[i];
		if (!p->up || p->incarnation != h->sweep_from)
			continue;
		const struct ghost *g = &p->ghosts[key];
		if (g->present && g->present_since <= h->sweep_walk.event)
			return items_state(node_items(p->node), &p->keys[key]);
	}
	return NULL;
}

static void check_sweep(struct host *h, int key, const struct item *before)
{
	struct sim *s = h->sim;

	if (h->sweeps_pending == 0) {
		sim_fail(s, "SWEEP", "%c drops k%d and was not asked to", 'A' + h->id, key);
		return;
	}
	if (h->sweeps_pending > 1)
		return; /* which of them it was is not known here */
	sim_cover(s, COV_sweep_judged);
	if (before->version > h->sweep_upto)
		sim_fail(s, "SWEEP", "%c drops k%d v=%" PRIu64 " above SWEEP %" PRIu64, 'A' + h->id, key,
		         before->version, h->sweep_upto);
	else if (before->version > h->sweep_walk.clock)
		sim_fail(s, "SWEEP", "%c drops k%d v=%" PRIu64 ", written after the walk began at %" PRIu64,
		         'A' + h->id, key, before->version, h->sweep_walk.clock);
	const struct item *theirs = held_all_the_time(h, key);
	if (theirs)
		sim_fail(s, "SWEEP", "%c drops k%d v=%" PRIu64 " by a SWEEP whose sender has v=%" PRIu64 " all the time",
		         'A' + h->id, key, before->version, theirs->version);
}

static void check_reason(struct host *h, int key, const struct change *c)
{
	struct sim *s = h->sim;
	const struct item *before = c->before;
	bool ample = h->memory_low > AMPLE_MEMORY_BYTES && !h->may_fail && !h->reassigned;

	switch (c->cause) {
	case CAUSE_EVICT:
		if (ample)
			sim_fail(s, "EVICT", "%c evicts k%d and has memory enough", 'A' + h->id, key);
		break;
	case CAUSE_EXPIRE:
		if (!before->exptime || before->exptime > now_wall_s(&h->now))
			sim_fail(s, "EXPIRE", "%c reclaims k%d, whose expiry is %u", 'A' + h->id, key,
			         before->exptime);
		break;
	case CAUSE_FLUSHED:
		if (before->version > barrier_of(h))
			sim_fail(s, "FLUSH", "%c flushes k%d v=%" PRIu64 " above its barrier", 'A' + h->id, key,
			         before->version);
		break;
	case CAUSE_SWEEP: check_sweep(h, key, before); break;
	case CAUSE_PEER:
		if (state_order_cmp(&c->order, &(struct state_order){before->version, before->touches,
		                                                      before->exptime}) <= 0)
			sim_fail(s, "TOMB", "%c removes k%d v=%" PRIu64 " by a removal that is not newer", 'A' + h->id, key,
			         before->version);
		break;
	default: break;
	}
}

/* ---- tombstones ------------------------------------------------------------------------- */

/* What was removed is hidden from now on, or said to be lost. */
static void check_kept(struct host *h, int key, const struct change *c)
{
	struct sim *s = h->sim;
	struct ghost *g = &h->ghosts[key];
	bool by_client = c->cause == CAUSE_CLIENT || c->cause == CAUSE_ADMIN;
	struct state_order order = by_client ? c->order : item_order(c->before);
	uint64_t stamp = by_client ? c->own_version : g->own_stamp;

	if (!by_client && (!g->own || g->own_stamp <= h->acked))
		return;
	if (order.version <= barrier_of(h))
		return;
	sim_cover(s, COV_tomb_kept_checked);
	const struct item *left = items_state(node_items(h->node), &h->keys[key]);
	if (!left) {
		h->tombs_missing++; /* no memory for it: it has to be counted as lost */
		return;
	}
	struct state_order kept = item_order(left);
	if (!item_is_tomb(left) || state_order_cmp(&kept, &order) != 0)
		sim_fail(s, "KEPT", "%c removes k%d v=%" PRIu64 " t%d e%u and keeps v=%" PRIu64 " t%d e%u", 'A' + h->id,
		         key, order.version, order.touches, order.exptime, kept.version, kept.touches, kept.exptime);
	else if (item_tomb_stamp(left) < stamp && stamp > h->since)
		sim_fail(s, "KEPT", "%c: the tombstone of k%d is of %" PRIu64 ", what it stands for of %" PRIu64,
		         'A' + h->id, key, item_tomb_stamp(left), stamp);
}

void drops_removed(struct host *h, int key, const struct change *c)
{
	struct ghost *g = &h->ghosts[key];

	if (c->before)
		check_reason(h, key, c);
	if (c->cause == CAUSE_PEER)
		return;
	if (c->before || c->cause == CAUSE_CLIENT || c->cause == CAUSE_ADMIN)
		check_kept(h, key, c);
	bool travels = c->cause == CAUSE_CLIENT || c->cause == CAUSE_ADMIN || g->own;
	if (travels && state_order_cmp(&c->order, &g->removed) > 0)
		g->removed = c->order;
}

/* After every event: tombstones that could not be kept were said to be lost. */
void drops_check(struct host *h)
{
	if (h->tombs_missing > h->tombs_lost_now)
		sim_fail(h->sim, "KEPT", "%c removed what its peer may hold and keeps no tombstone", 'A' + h->id);
	h->tombs_missing = 0;
}

void drops_look(struct host *h, int key, const struct item *state)
{
	struct ghost *g = &h->ghosts[key];

	if (state && !g->present)
		g->present_since = h->sim->event_count;
	g->present = state != NULL;
	if (!state && g->tomb_stamp > h->acked && g->tomb_version > barrier_of(h))
		h->tombs_missing++; /* nobody acknowledged it */
	bool tomb = state && item_is_tomb(state);
	g->tomb_stamp = tomb ? item_tomb_stamp(state) : 0;
	g->tomb_version = tomb ? state->version : 0;
}
