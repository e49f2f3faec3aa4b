/*
 * sim_check.c - the oracle.
 *
 * Owns: per host and key a ghost: what this daemon has held or applied (`app`),
 * what it has shown (`vis`), and why something may be missing (`gone_*`). It is
 * fed by the observer of changes and by the frames that arrive, and compared
 * with what items_state() says after every event. The properties are those of
 * the replication contract, section 10; the oracle is that of its executable
 * model.
 *
 *   P2, P3  a state is shown that is older than one applied or shown here
 *   P4      quiet: older than the newest, or a miss without a reason
 *   P1      quiet: the two hold different states
 *   P6      a frame carries what came from that very daemon
 *   P8      a daemon that no client wrote to removes something from its peer
 *   P9      an ACK says more than is true
 *   R3      the observer's account and the store differ
 *   OWN     a state is marked own that the peer made or touched last, or is not
 *   U2      client ports open before the first copy is complete
 *
 * What goes away, and for which reasons, is looked at in sim_drops.c.
 *
 * Must not know: bytes, the network, how a frame is encoded.
 *
 * Invariants
 *  [O1] ghosts are reset when a daemon starts: it has seen nothing
 *  [O2] no check changes what it looks at (items_state, never items_find), but
 *       for a delayed flush that is due: any look at the items makes it happen
 *
 * Covered by: nothing checks the checker but the model, whose rules can be
 * switched off; breaking one in replication.c must show here within minutes.
 */
#include "compat.h"
#include "sim.h"

#define FULL_CHECK_EVERY 16

/* ---- values --------------------------------------------------------------------------- */

uint64_t check_value_hash(const struct host *h, const struct item *i)
{
	size_t len = item_value_len(i), off = 0;
	uint8_t *copy = malloc(len + 1);
	struct iovec iov[16];

	if (!copy)
		abort();
	while (off < len) {
		int n = items_value_iov(node_items(h->node), i, off, iov, ARRAY_LEN(iov));
		assert(n > 0);
		for (int j = 0; j < n; j++) {
			memcpy(copy + off, iov[j].iov_base, iov[j].iov_len);
			off += iov[j].iov_len;
		}
	}
	uint64_t hash = hash_key(copy, len, item_flags(i));
	free(copy);
	return hash;
}

static struct value_seen *value_slot(struct sim *s, uint32_t key, uint64_t version)
{
	uint64_t at = (version * UINT64_C(0x9e3779b97f4a7c15)) ^ key;

	for (at %= s->values_capacity;; at = (at + 1) % s->values_capacity) {
		struct value_seen *v = &s->values[at];
		if (!v->used || (v->key == key && v->version == version))
			return v;
	}
}

static void values_grow(struct sim *s)
{
	struct value_seen *old = s->values;
	size_t old_capacity = s->values_capacity;

	s->values_capacity = old_capacity ? old_capacity * 2 : 1024;
	s->values = calloc(s->values_capacity, sizeof(*s->values));
	if (!s->values)
		abort();
	for (size_t i = 0; i < old_capacity; i++)
		if (old[i].used)
			*value_slot(s, old[i].key, old[i].version) = old[i];
	free(old);
}

/* One version of a key has one value, wherever it is seen. */
static void value_note(struct host *h, int key, uint64_t version, uint64_t hash)
{
	struct sim *s = h->sim;

	if (s->values_count * 2 >= s->values_capacity)
		values_grow(s);
	struct value_seen *v = value_slot(s, (uint32_t)key, version);
	if (v->used && v->hash != hash && !s->plan.config.same_origin)
		sim_fail(s, "VALUE", "%c: version %" PRIu64 " of k%d has two values", 'A' + h->id,
		         version, key);
	s->values_count += !v->used;
	*v = (struct value_seen){version, hash, (uint32_t)key, 1};
}

bool check_value_known(struct sim *s, int key, uint64_t version, uint64_t hash)
{
	if (s->plan.config.same_origin)
		return true; /* a version may have two until the daemons have met */
	if (version) {
		if (!s->values_capacity)
			return false;
		struct value_seen *v = value_slot(s, (uint32_t)key, version);
		return v->used && v->hash == hash;
	}
	for (size_t i = 0; i < s->values_capacity; i++)
		if (s->values[i].used && s->values[i].key == (uint32_t)key && s->values[i].hash == hash)
			return true;
	return false;
}

/* ---- ghosts ------------------------------------------------------------------------------ */

/* What is known of one link says nothing of the next one. */
static void forget_link(struct host *h)
{
	h->link_wire = 0;
	h->mark_seen = h->refused_due = h->refused_event = 0;
	drops_link_gone(h);
}

void check_reset(struct host *h)
{
	memset(h->ghosts, 0, sizeof(h->ghosts));
	h->change_seq = h->client_changes = h->lost_below = h->lost_below_max = h->tombs_lost = 0;
	h->peer_incarnation = 0;
	h->peer_max = h->former_max = 0;
	h->acked = h->marked = h->since = h->heard = h->written = h->tombs_missing = 0;
	forget_link(h);
	h->greeted = h->had_peer = h->written_apart = false;
	h->pending_count = 0;
}

static void applied(struct ghost *g, struct state_order order, bool removed)
{
	if (state_order_cmp(order.version ? &order : &(struct state_order){0}, &g->app) <= 0)
		return;
	g->app = order;
	g->app_removed = removed;
}

static void raise(uint64_t *v, uint64_t to)
{
	if (to > *v)
		*v = to;
}

static uint64_t barrier_of(const struct host *h)
{
	return items_flush_state(node_items(h->node))->barrier;
}

bool check_visible(const struct host *h, const struct item *i)
{
	return i && !item_is_tomb(i) && i->version > barrier_of(h) &&
	       (!i->exptime || i->exptime > now_wall_s(&h->now));
}

static const struct item *state_of(const struct host *h, int key)
{
	return items_state(node_items(h->node), &h->keys[key]);
}

static struct host *host_by_incarnation(struct sim *s, uint32_t incarnation)
{
	for (int i = 0; i < SIM_HOSTS; i++)
		if (s->hosts[i].up && s->hosts[i].incarnation == incarnation)
			return &s->hosts[i];
	return NULL;
}

/* ---- the observer ------------------------------------------------------------------------- */

static void check_p8(struct host *h, int key, const char *how)
{
	struct host *p = host_by_incarnation(h->sim, h->in_peer_input ? h->input_from
	                                                              : h->peer_incarnation);

	if (p && p->client_changes == 0 && p->former_max == 0)
		sim_fail(h->sim, "P8", "%c removes k%d by %s of %c, which no client ever wrote to",
		         'A' + h->id, key, how, 'A' + p->id);
}

static bool link_walking(struct sim *s, const struct host *h)
{
	struct wire *w = net_link(s);

	return w && w->walking[w->host[0] == h->id ? 0 : 1];
}

static void cover_drop(struct host *h, const struct change *c, const struct item *before)
{
	struct sim *s = h->sim;
	bool own = before->bits & ITEM_OWN;
	bool unsettled = own && before->version > items_settled(node_items(h->node));

	if (c->cause == CAUSE_EVICT) {
		sim_cover(s, unsettled ? COV_evict_own_unacked : own ? COV_evict_own_acked
		                                                     : COV_evict_received);
		if (before->bits & ITEM_TOUCHED)
			sim_cover(s, COV_evict_touched);
		if (link_walking(s, h))
			sim_cover(s, COV_evict_in_walk);
	} else if (c->cause == CAUSE_SWEEP) {
		sim_cover(s, COV_sweep_dropped);
		if (unsettled)
			sim_cover(s, COV_sweep_dropped_unacked);
	} else {
		sim_cover(s, COV_expire_reclaim);
		if (unsettled)
			sim_cover(s, COV_expire_unacked);
		if (before->bits & ITEM_TOUCHED)
			sim_cover(s, COV_expire_touched);
	}
}

/* The peer's state replaces an own one that it had not acknowledged. */
static void cover_conflict(struct host *h, const struct ghost *g)
{
	if (g->shadow && g->source == 0 && g->own_stamp > items_settled(node_items(h->node)))
		sim_cover(h->sim, COV_conflict_lost);
}

static void note_write(struct host *h, int key, const struct change *c)
{
	struct client *client = h->running;

	if (!client || c->cause != CAUSE_CLIENT)
		return;
	if (client->write_count == SIM_WRITES) /* the newest ones matter most */
		client->write_count--;
	client->writes[client->write_count].key = (uint8_t)key;
	client->writes[client->write_count++].order = c->order;
}

static void on_remove(struct host *h, int key, const struct change *c)
{
	struct ghost *g = &h->ghosts[key];
	uint64_t before = c->before ? c->before->version : c->order.version;

	drops_removed(h, key, c);
	if (c->cause == CAUSE_CLIENT || c->cause == CAUSE_ADMIN) {
		applied(g, c->order, true);
		drops_own_change(h, key, c->own_version);
		h->client_changes++;
		g->own_stamp = c->own_version;
		g->source = 0;
	} else if (c->cause == CAUSE_PEER) {
		cover_conflict(h, g);
		applied(g, c->order, true);
		if (c->before)
			check_p8(h, key, "TOMB");
	} else {
		raise(c->cause == CAUSE_SWEEP ? &g->gone_bound : &g->gone_evicted, before);
		if (c->cause == CAUSE_SWEEP)
			check_p8(h, key, "SWEEP");
		if (c->before)
			cover_drop(h, c, c->before);
	}
	g->shadow = g->own = g->present = false;
	g->tomb_stamp = 0;
}

/* Where the connection to the daemon stands that brought a state just now: what
 * leaves from here on was put there knowing of it. */
static void note_coming(struct host *h, struct ghost *g, uint32_t from)
{
	g->came_wire = 0;
	for (int i = 0; i < SIM_WIRES; i++) {
		const struct wire *w = &h->sim->wires[i];
		int side = w->host[0] == h->id ? 0 : 1;
		if (!w->used || !w->conn[side] || w->host[side] != h->id || w->incarnation[1 - side] != from)
			continue;
		if (w->generation < g->came_wire)
			continue;
		g->came_wire = w->generation;
		g->came_taken = net_taken(w, side);
	}
}

static void on_state(struct host *h, int key, const struct change *c)
{
	struct sim *s = h->sim;
	struct ghost *g = &h->ghosts[key];
	bool own = c->cause != CAUSE_PEER;

	if (!c->after || state_order_cmp(&c->order, &(struct state_order){c->after->version,
	                                                                 c->after->touches,
	                                                                 c->after->exptime}) != 0) {
		sim_fail(s, "R3", "%c: a change of k%d does not say what is stored", 'A' + h->id, key);
		return;
	}
	if (own && g->shadow && g->shadow_order.touches == 255 && c->kind == CHANGE_STATE &&
	    c->order.touches == 0)
		sim_cover(s, COV_touch_new_version); /* or any other new one: rare enough */
	applied(g, c->order, false);
	if (c->order.version <= barrier_of(h))
		sim_fail(s, "FLUSH", "%c installs k%d v=%" PRIu64 " below its barrier", 'A' + h->id, key,
		         c->order.version);
	if (!own)
		cover_conflict(h, g);
	uint32_t from = own ? 0 : h->in_peer_input ? h->input_from : h->peer_incarnation;
	g->touch_source = from;
	if (own || c->kind == CHANGE_STATE)
		g->source = from; /* whose value it is does not change by the peer's touch */
	g->shadow = true;
	g->shadow_order = c->order;
	g->shadow_hash = check_value_hash(h, c->after);
	value_note(h, key, c->order.version, g->shadow_hash);
	g->own = own;
	g->tomb_stamp = g->refused = 0;
	if (!own) {
		note_coming(h, g, from);
		return;
	}
	drops_own_change(h, key, c->own_version);
	h->client_changes++;
	g->own_stamp = c->own_version;
	if (c->kind == CHANGE_TOUCH) {
		sim_cover(s, COV_touch);
		if (link_walking(s, h))
			sim_cover(s, COV_touch_in_walk);
	} else if (link_walking(s, h)) {
		sim_cover(s, COV_write_in_walk);
	}
	if (s->apart)
		h->written_apart = true;
}

void check_change(void *ctx, const struct change *c)
{
	struct host *h = ctx;
	struct sim *s = h->sim;
	int key = c->kind == CHANGE_FLUSH ? -1 : key_index(c->key.data, c->key.len);

	sim_trace_u64(s, c->order.version);
	sim_trace_u64(s, (uint64_t)c->kind << 32 | (uint64_t)c->cause << 16 | (uint64_t)(key + 1));
	if (c->seq != h->change_seq + 1)
		sim_fail(s, "R3", "%c: change %" PRIu64 " follows %" PRIu64, 'A' + h->id, c->seq,
		         h->change_seq);
	h->change_seq = c->seq;
	if (s->verbose && key >= 0)
		sim_say(s, "      %c: k%d %s cause %d v=%" PRIu64 " t=%d e=%u", 'A' + h->id, key,
		        c->kind == CHANGE_REMOVE ? "removed" : c->kind == CHANGE_TOUCH ? "touched" : "is",
		        c->cause, c->order.version, c->order.touches, c->order.exptime);
	if (c->kind == CHANGE_FLUSH) {
		drops_flush(h, c);
		if (c->cause == CAUSE_CLIENT)
			h->client_changes++;
		if (c->cause == CAUSE_EXPIRE) {
			sim_cover(s, COV_flush_fired);
			if (!net_link(s))
				sim_cover(s, COV_flush_fired_apart);
		}
	} else if (key >= 0) {
		note_write(h, key, c);
		if (c->kind == CHANGE_REMOVE)
			on_remove(h, key, c);
		else
			on_state(h, key, c);
	}
}

/* ---- frames --------------------------------------------------------------------------------- */

void check_hello(struct sim *s, struct wire *w, int side, const struct wire_hello *hello)
{
	struct host *h = &s->hosts[w->host[1 - side]];

	if (!h->up || h->incarnation != w->incarnation[1 - side])
		return;
	struct host *from = &s->hosts[w->host[side]];
	if (h->peer_incarnation)
		sim_cover(s, h->peer_incarnation == from->incarnation ? COV_reconnect_same : COV_reconnect_newid);
	if (net_open_wires(s, h->id, from->id) > 1)
		sim_cover(s, COV_halfopen_replaced);
	h->greeted = true;
	drops_hello_in(h, w, side, hello);
}

static void know_peer(struct host *h, uint32_t incarnation)
{
	h->had_peer = true; /* lost tombstones count from here on */
	if (h->peer_incarnation == incarnation)
		return;
	if (h->peer_incarnation)
		raise(&h->former_max, h->peer_max);
	h->peer_max = 0;
	drops_new_peer(h);
	h->peer_incarnation = incarnation;
}

void check_frame_in(struct sim *s, struct wire *w, int side, const struct frame *f)
{
	struct host *h = &s->hosts[w->host[1 - side]];

	know_peer(h, w->incarnation[side]);
	if (h->link_wire != w->generation)
		forget_link(h);
	h->link_wire = w->generation;
	if (f->type == WIRE_ITEM || f->type == WIRE_TOMB || f->type == WIRE_TOUCH)
		raise(&h->peer_max, f->order.version);
	if (f->type == WIRE_ACK)
		raise(&h->peer_max, f->version);
	drops_frame_in(h, w, side, f);
	if (h->pending_count == SIM_PENDING) {
		sim_fail(s, "SIM", "too many frames wait for their effect");
		return;
	}
	h->pending[h->pending_count++] = (struct pending_frame){*f, (int)(w - s->wires)};
}

/* U12: strangers are refused; the peer may always come again. */
void check_refusal(struct sim *s, struct wire *w, int side, const char *reason)
{
	const struct host *h = &s->hosts[w->host[side]];

	const char *other = strstr(reason, "paired with ");

	sim_cover(s, COV_third_refused);
	if (other)
		other += strlen("paired with ");
	if (other && *other >= 'a' && *other < 'a' + SIM_HOSTS && *other != 'a' + w->host[1 - side])
		return; /* it has just become another one's */
	if (h->peer_incarnation == w->incarnation[1 - side])
		sim_fail(s, "ROLE", "%c refuses its own peer: %s", 'A' + h->id, reason);
}

/* U2: a daemon that copies from its peer serves clients when it has everything. */
void check_ports(struct host *h)
{
	if (repl_role(node_repl(h->node)) != REPL_SLAVE)
		return;
	for (int i = 0; i < SIM_WIRES; i++) {
		const struct wire *w = &h->sim->wires[i];
		if (w->used && w->host[0] == h->id && w->conn[0] && w->synced[1])
			return;
	}
	sim_fail(h->sim, "U2", "%c opens its client ports before the first copy is complete", 'A' + h->id);
}

/* A connection is over: the link, or one that was not it. */
void check_link_gone(struct host *h, int wire)
{
	int kept = 0;

	for (int i = 0; i < h->pending_count; i++)
		if (h->pending[i].wire != wire)
			h->pending[kept++] = h->pending[i];
	h->pending_count = kept;
	if (h->sim->wires[wire].generation == h->link_wire)
		forget_link(h);
}

/* What is not taken is said with the first ACK that may cover it. */
static void refused(struct host *h, const struct frame *f)
{
	if (h->refused_event >= f->event)
		return; /* it is accounted for late, and was said */
	raise(&h->refused_due, f->order.version);
	raise(&h->refused_due, h->mark_seen + 1);
}

static void check_ack_out(struct sim *s, struct host *h, const struct frame *f)
{
	if (f->bits & WIRE_ACK_REFUSED)
		h->refused_event = f->event;
	if (!h->refused_due || f->version < h->refused_due)
		return;
	if (!(f->bits & WIRE_ACK_REFUSED))
		sim_fail(s, "NACK", "%c acknowledges %" PRIu64 " and does not say what it refused", 'A' + h->id,
		         f->version);
	h->refused_due = 0;
}

/* P6: an exact state that came from the daemon it is now sent to. */
void check_frame_out(struct sim *s, struct wire *w, int side, const struct frame *f)
{
	struct host *h = &s->hosts[w->host[side]];

	know_peer(h, w->incarnation[1 - side]);
	if (w == net_link(s))
		s->frames[f->type != WIRE_MARK && f->type != WIRE_ACK]++;
	drops_frame_out(h, w, side, f);
	if (s->plan.config.secret == 2 && (w->host[0] == 2 || w->host[1] == 2))
		sim_fail(s, "AUTH", "%c talks to C, which has another secret", 'A' + h->id);
	if (f->type == WIRE_ACK)
		check_ack_out(s, h, f);
	sim_trace_u64(s, (uint64_t)f->type << 56 ^ f->order.version ^ f->version);
	if (f->key < 0 || (f->type != WIRE_ITEM && f->type != WIRE_TOUCH))
		return;
	struct ghost *g = &h->ghosts[f->key];
	uint32_t source = g->touch_source; /* who made it what it is */
	if (!g->shadow || source != w->incarnation[1 - side] || source == 0 ||
	    state_order_cmp(&g->shadow_order, &f->order) != 0)
		return;
	if (w->generation == g->came_wire && f->start < g->came_taken) {
		/* An own state that waited to be sent while it was evicted and came back. */
		sim_cover(s, COV_echo_waited);
		return;
	}
	uint64_t former = h->peer_incarnation == source ? h->former_max : UINT64_MAX;
	if (f->order.version <= former)
		sim_cover(s, COV_echo_exempt);
	else
		sim_fail(s, "P6", "%c sends k%d v=%" PRIu64 " back to %c, where it came from",
		         'A' + h->id, f->key, f->order.version, 'A' + w->host[1 - side]);
}

/* The state that an ITEM brought is not there: why? */
static void item_missing(struct host *h, const struct frame *f, const struct item *held)
{
	struct sim *s = h->sim;
	struct ghost *g = &h->ghosts[f->key];
	uint64_t lost = repl_lost_below(node_repl(h->node));

	if (h->lost_below_max > lost)
		lost = h->lost_below_max;
	if (held) {
		sim_fail(s, "P3", "%c was sent k%d v=%" PRIu64 " and keeps an older state v=%" PRIu64,
		         'A' + h->id, f->key, f->order.version, held->version);
	} else if (f->order.version <= lost) {
		sim_cover(s, COV_rule3_drop);
		refused(h, f);
		g->refused = f->order.version;
		raise(&g->gone_bound, f->order.version);
	} else if (!h->may_fail && f->bytes < h->settings.item_bytes_max / 2 &&
	           h->memory_low > 16u << 20) {
		sim_fail(s, "P4", "%c was sent k%d v=%" PRIu64 " and dropped it without a reason",
		         'A' + h->id, f->key, f->order.version);
	} else {
		sim_cover(s, COV_not_storable);
		refused(h, f);
		g->refused = f->order.version;
		applied(g, f->order, false);
		raise(&g->gone_evicted, f->order.version);
	}
}

static void settle_item(struct host *h, const struct frame *f)
{
	struct sim *s = h->sim;
	struct ghost *g = &h->ghosts[f->key];
	const struct item *held = state_of(h, f->key);
	struct state_order order = held ? item_order(held) : (struct state_order){0};

	if (f->order.version <= barrier_of(h)) {
		sim_cover(s, COV_barrier_ignored);
	} else if (held && state_order_cmp(&order, &f->order) >= 0) {
		if (h->sim->plan.config.same_origin && (held->bits & ITEM_OWN) && !state_order_cmp(&order, &f->order))
			sim_cover(s, COV_tie);
		if (item_is_tomb(held))
			sim_cover(s, COV_tomb_hides);
		else if (state_order_cmp(&order, &f->order) > 0)
			sim_cover(s, (held->bits & ITEM_OWN) ? COV_conflict_won : COV_stale_ignored);
	} else if (state_order_cmp(&g->app, &f->order) < 0) {
		item_missing(h, f, held);
	} else if (state_order_cmp(&g->app, &f->order) == 0 && g->app_removed) {
		sim_cover(s, COV_not_storable); /* it removed the older state all the same */
		refused(h, f);
		g->refused = f->order.version;
		g->app_removed = false;
		raise(&g->gone_evicted, f->order.version);
	}
}

static void settle_tomb(struct host *h, const struct frame *f)
{
	struct ghost *g = &h->ghosts[f->key];
	const struct item *held = state_of(h, f->key);

	if (f->order.version <= barrier_of(h))
		return;
	applied(g, f->order, true);
	if (!held)
		return;
	struct state_order order = item_order(held);
	if (state_order_cmp(&order, &f->order) < 0)
		sim_fail(h->sim, "P2", "%c was sent a tombstone of k%d v=%" PRIu64 " and keeps v=%" PRIu64,
		         'A' + h->id, f->key, f->order.version, order.version);
}

static void settle_touch(struct host *h, const struct frame *f)
{
	const struct item *held = state_of(h, f->key);

	if (!held || item_is_tomb(held) || held->version != f->order.version) {
		sim_cover(h->sim, COV_touch_ignored);
		if ((!held || held->version < f->order.version) &&
		    h->ghosts[f->key].gone_evicted < f->order.version && /* its tombstone may be gone */
		    state_order_cmp(&h->ghosts[f->key].app, &f->order) < 0)
			refused(h, f);
		return;
	}
	struct state_order order = item_order(held);
	if (state_order_cmp(&order, &f->order) < 0)
		sim_fail(h->sim, "P1", "%c was sent a touch of k%d v=%" PRIu64 " and ignored it",
		         'A' + h->id, f->key, order.version);
}

/* P9: p has every own state of h up to a version, or a reason not to have it. */
static void check_has_all(struct host *h, struct host *p, uint64_t version, const char *says)
{
	struct sim *s = h->sim;

	for (int k = 0; k < SIM_KEYS; k++) {
		const struct ghost *mine = &h->ghosts[k], *g = &p->ghosts[k];
		const struct item *i = mine->source == 0 && mine->shadow ? state_of(h, k) : NULL;
		if (!i || item_is_tomb(i) || !(i->bits & ITEM_OWN) || mine->own_stamp > version)
			continue;
		struct state_order order = item_order(i);
		sim_cover(s, COV_acked_writes_checked);
		if (state_order_cmp(&g->app, &order) >= 0 || barrier_of(p) >= order.version ||
		    g->gone_evicted >= order.version || g->gone_bound >= order.version)
			continue;
		sim_fail(s, "P9", "%c %s %" PRIu64 " but never had k%d v=%" PRIu64 " t%d of %c", 'A' + p->id, says,
		         version, k, order.version, order.touches, 'A' + h->id);
	}
}

static void settle_ack(struct host *h, const struct frame *f, uint32_t from)
{
	struct host *p = host_by_incarnation(h->sim, from);

	if (p)
		check_has_all(h, p, f->version, "acknowledged");
}

void check_stopped(struct host *h)
{
	struct wire *w = net_link(h->sim);
	struct host *p = host_by_incarnation(h->sim, h->peer_incarnation);

	/* A stranger that knocks, or a half-open link, is another story. */
	if (!w || !p || (w->host[0] != h->id && w->host[1] != h->id) ||
	    net_open_wires(h->sim, h->id, p->id) != 1 || h->may_fail || p->may_fail)
		return;
	sim_cover(h->sim, COV_term_checked);
	check_has_all(h, p, UINT64_MAX, "let the other stop at");
}

void check_acked_writes(struct host *h, const struct client *c)
{
	struct sim *s = h->sim;
	struct host *p = host_by_incarnation(s, h->peer_incarnation);

	for (int i = 0; p && i < c->write_count; i++) {
		int k = c->writes[i].key;
		const struct ghost *g = &p->ghosts[k];
		uint64_t version = c->writes[i].order.version;
		if (g->refused == version && g->app.version <= version) /* else something newer is there */
			sim_fail(s, "P9", "%c tells a client that %c has k%d v=%" PRIu64 ", which refused it", 'A' + h->id,
			         'A' + p->id, k, version);
		if (state_order_cmp(&g->app, &c->writes[i].order) >= 0 || barrier_of(p) >= version ||
		    g->gone_evicted >= version || g->gone_bound >= version)
			continue;
		/* or its own node has removed it again meanwhile */
		const struct item *held = state_of(h, k);
		if (!held || item_is_tomb(held) || held->version != version)
			continue;
		sim_fail(s, "P9", "%c tells a client that %c has k%d v=%" PRIu64 ", which it has not", 'A' + h->id,
		         'A' + p->id, k, version);
	}
}

static void settle_frame(struct host *h, const struct wire *w, int side, const struct frame *f)
{
	uint32_t from = w->incarnation[1 - side];

	drops_frame_settled(h, w, side, f);
	if (f->type == WIRE_MARK)
		h->mark_seen = f->version ? f->version : h->mark_seen;
	else if (f->type == WIRE_ACK)
		settle_ack(h, f, from);
	else if (f->type == WIRE_FLUSH && barrier_of(h) < f->version)
		sim_fail(h->sim, "P2", "%c was sent barrier %" PRIu64 " and has %" PRIu64, 'A' + h->id,
		         f->version, barrier_of(h));
	if (f->key < 0)
		return;
	if (f->type == WIRE_ITEM)
		settle_item(h, f);
	else if (f->type == WIRE_TOMB)
		settle_tomb(h, f);
	else if (f->type == WIRE_TOUCH)
		settle_touch(h, f);
}

/* Account for the frames that arrived, unless the node still holds them up. */
static void settle_pending(struct host *h)
{
	int kept = 0;

	for (int i = 0; i < h->pending_count; i++) {
		struct pending_frame *p = &h->pending[i];
		struct wire *w = &h->sim->wires[p->wire];
		int side = w->host[0] == h->id ? 0 : 1;
		if (!w->used || !w->conn[side] || repl_conn_closing(w->conn[side]))
			continue;
		if (!repl_conn_wants_read(w->conn[side]))
			h->pending[kept++] = *p;
		else
			settle_frame(h, w, side, &p->frame);
	}
	h->pending_count = kept;
}

/* ---- after every event ------------------------------------------------------------------------ */

/* R3: what the observer was told is what is held. */
static void check_shadow(struct host *h, int key, const struct item *i)
{
	struct ghost *g = &h->ghosts[key];
	bool item = i && !item_is_tomb(i);

	if (g->shadow && g->shadow_order.version <= barrier_of(h))
		return;
	if (item != g->shadow) {
		sim_fail(h->sim, "R3", "%c: k%d is %s, the observer was told %s", 'A' + h->id, key,
		         item ? "held" : "not held", g->shadow ? "it is" : "it is not");
		return;
	}
	if (!item)
		return;
	if (((i->bits & ITEM_OWN) != 0) != g->own)
		sim_fail(h->sim, "OWN", "%c: k%d v=%" PRIu64 " was last changed %s and is marked otherwise", 'A' + h->id,
		         key, i->version, g->own ? "here" : "by the peer");
	struct state_order order = item_order(i);
	if (state_order_cmp(&order, &g->shadow_order) != 0)
		sim_fail(h->sim, "R3", "%c: k%d is v=%" PRIu64 " t%d, the observer was told v=%" PRIu64 " t%d",
		         'A' + h->id, key, i->version, i->touches, g->shadow_order.version,
		         g->shadow_order.touches);
}

static void check_shown(struct host *h, int key, const struct item *i)
{
	struct sim *s = h->sim;
	struct ghost *g = &h->ghosts[key];
	struct host *peer = sim_peer(s, h);
	struct state_order order = item_order(i);

	if (state_order_cmp(&order, &g->app) < 0) {
		const struct ghost *o = &peer->ghosts[key];
		const char *property = state_order_cmp(&order, &o->app) < 0 ? "P2" : "P3";
		sim_fail(s, property,
		         "%c shows k%d v=%" PRIu64 " t%d e%u after it %s v=%" PRIu64 " t%d e%u%s", 'A' + h->id,
		         key, order.version, order.touches, order.exptime,
		         order.version < g->vis.version ? "showed" : "applied", g->app.version,
		         g->app.touches, g->app.exptime, g->app_removed ? " (removal)" : "");
	}
	if (state_order_cmp(&order, &g->vis) > 0)
		g->vis = order;
}

/* A tombstone lost before the first contact misleads nobody: forget it too. */
static void forget_lost(struct host *h)
{
	const struct items_counters *c = items_counters(node_items(h->node));

	h->tombs_lost_now = c->tombs_lost - h->tombs_lost;
	if (c->tombs_lost == h->tombs_lost)
		return;
	h->tombs_lost = c->tombs_lost;
	sim_cover(h->sim, COV_tomb_lost);
	if (h->had_peer)
		return;
	for (int k = 0; k < SIM_KEYS; k++) {
		struct ghost *g = &h->ghosts[k];
		if (g->shadow || state_of(h, k))
			continue;
		g->app = g->vis = (struct state_order){0};
		g->app_removed = false;
	}
}

static void check_lost_below(struct host *h)
{
	uint64_t lost = repl_lost_below(node_repl(h->node));

	if (lost && !h->greeted)
		sim_fail(h->sim, "P8", "%c never had a peer and has lost_below %" PRIu64, 'A' + h->id, lost);
	if (lost > h->lost_below) {
		sim_cover(h->sim, COV_lost_raised);
		if (link_walking(h->sim, h))
			sim_cover(h->sim, COV_lost_raised_in_walk);
		sim_say(h->sim, "      %c: lost_below=%" PRIu64, 'A' + h->id, lost);
	} else if (lost < h->lost_below) {
		sim_cover(h->sim, COV_lost_cleared);
		sim_say(h->sim, "      %c: lost_below=%" PRIu64, 'A' + h->id, lost);
	}
	h->lost_below = lost;
	drops_barrier(h);
	/* What is still to be accounted for was judged by any value since. */
	if (h->pending_count == 0 || lost > h->lost_below_max)
		h->lost_below_max = lost;
}

void check_host(struct host *h)
{
	struct sim *s = h->sim;
	const char *broken = repl_check(node_repl(h->node));

	if (broken)
		sim_fail(s, "REPL", "%c: %s", 'A' + h->id, broken);
	if (h->checks++ % FULL_CHECK_EVERY == 0) {
		broken = items_check(node_items(h->node));
		if (broken)
			sim_fail(s, "ITEMS", "%c: %s", 'A' + h->id, broken);
	}
	settle_pending(h);
	forget_lost(h);
	check_lost_below(h);
	for (int k = 0; k < SIM_KEYS && !sim_failed(s); k++) {
		const struct item *i = state_of(h, k);
		drops_look(h, k, i);
		check_shadow(h, k, i);
		if (check_visible(h, i))
			check_shown(h, k, i);
	}
	drops_check(h);
}

/* ---- at quiet ------------------------------------------------------------------------------------ */

static void compare_shown(struct sim *s, struct host *h, struct host *m, int k, const struct item *i)
{
	struct state_order order = item_order(i);
	const struct ghost *g = &m->ghosts[k];

	if (state_order_cmp(&order, &g->app) < 0)
		sim_fail(s, "P4", "quiet: %c shows k%d v=%" PRIu64 " t%d e%u but %c applied v=%" PRIu64
		         " t%d e%u%s", 'A' + h->id, k, order.version, order.touches, order.exptime, 'A' + m->id,
		         g->app.version, g->app.touches, g->app.exptime, g->app_removed ? " (removal)" : "");
	if (order.version <= barrier_of(m))
		sim_fail(s, "P4", "quiet: %c shows k%d below the barrier of %c", 'A' + h->id, k, 'A' + m->id);
	if (order.exptime && order.exptime <= now_wall_s(&m->now))
		return;
	const struct item *o = state_of(m, k);
	if (!o || item_is_tomb(o)) {
		if (g->gone_evicted < order.version && g->gone_bound < order.version)
			sim_fail(s, "P1", "quiet: %c shows k%d v=%" PRIu64 ", %c lacks it without a reason",
			         'A' + h->id, k, order.version, 'A' + m->id);
		return;
	}
	struct state_order other = item_order(o);
	if (state_order_cmp(&order, &other) != 0)
		sim_fail(s, "P1", "quiet: k%d is v=%" PRIu64 " t%d e%u on %c and v=%" PRIu64 " t%d e%u on %c", k,
		         order.version, order.touches, order.exptime, 'A' + h->id, other.version, other.touches,
		         other.exptime, 'A' + m->id);
	else if (check_value_hash(h, i) != check_value_hash(m, o))
		sim_fail(s, "P1", "quiet: k%d v=%" PRIu64 " has two values", k, order.version);
	if ((i->bits ^ o->bits) & ITEM_SHIPPED_BITS)
		sim_fail(s, "P1", "quiet: k%d v=%" PRIu64 " is stale on one side only", k, order.version);
	if (i->bits & ITEM_STALE)
		sim_cover(s, COV_stale_compared);
}

static void check_quiet_host(struct sim *s, struct host *h, struct host *m)
{
	for (int k = 0; k < SIM_KEYS && !sim_failed(s); k++) {
		const struct ghost *g = &h->ghosts[k];
		const struct item *i = state_of(h, k);
		if (check_visible(h, i)) {
			compare_shown(s, h, m, k, i);
			continue;
		}
		if (g->app.version && !g->app_removed && g->app.version > barrier_of(h) &&
		    !(i && !item_is_tomb(i)) && (!g->app.exptime || g->app.exptime > now_wall_s(&h->now)) &&
		    g->gone_evicted < g->app.version && g->gone_bound < g->app.version)
			sim_fail(s, "P4", "quiet: %c misses k%d v=%" PRIu64 " without a reason", 'A' + h->id, k,
			         g->app.version);
	}
}

static void check_quiet_flush(struct sim *s, struct host *a, struct host *b)
{
	const struct flush_state *fa = items_flush_state(node_items(a->node));
	const struct flush_state *fb = items_flush_state(node_items(b->node));

	if (fa->barrier != fb->barrier || fa->command != fb->command)
		sim_fail(s, "P1", "quiet: barriers %" PRIu64 "/%" PRIu64 ", flush commands %" PRIu64 "/%" PRIu64,
		         fa->barrier, fb->barrier, fa->command, fb->command);
	if (fa->command > fa->barrier)
		sim_fail(s, "P4", "quiet: the newest flush_all was never carried out");
}

void check_quiet(struct sim *s, struct host *a, struct host *b)
{
	struct wire *w = net_link(s);
	const char *broken = items_check(node_items(a->node));

	if (!broken)
		broken = items_check(node_items(b->node));
	if (broken)
		sim_fail(s, "ITEMS", "quiet: %s", broken);
	check_quiet_host(s, a, b);
	check_quiet_host(s, b, a);
	check_quiet_flush(s, a, b);
	struct host *connector = w->host[0] == a->id ? a : b, *acceptor = connector == a ? b : a;
	if (repl_role(node_repl(connector->node)) != REPL_SLAVE ||
	    repl_role(node_repl(acceptor->node)) != REPL_MASTER)
		sim_fail(s, "ROLE", "quiet: the connected end is not the slave, or the accepted not the master");
	if (connector->listening || !acceptor->listening)
		sim_fail(s, "ROLE", "quiet: master %c listens %d, slave %c listens %d", 'A' + acceptor->id,
		         acceptor->listening, 'A' + connector->id, connector->listening);
}
