/*
 * repl_walk.c - the sending direction of the link (sections 4 to 6).
 *
 * Owns: what is appended to the link's output and when: own changes as they
 * happen, walks over all states, MARK, ACK; what the peer's ACK settles;
 * lost_below.
 *
 *     NONE --link up--> WALK(cut) --end of pass, MARK synced--> LIVE
 *                        ^   | a tombstone above the cut was lost:
 *                        |   +--> WALK(cut) again, with SWEEP
 *                        |
 *     LIVE --no room for a change--> LIVE, overload, gap --drained--> WALK(gap)
 *     WALK --no room for a change--> WALK, overload --end of pass--> LIVE, overload
 *     any  --link lost--> NONE
 *
 * Must not know: how bytes leave, what the peer does with them.
 *
 * Invariants
 *  [R1] while mode is WALK, live changes are appended too (unless overload), so
 *       at its end the peer has everything up to the clock, or up to the gap
 *  [R2] MARK never says more than that: the cut in a walk, the gap in overload
 *  [R3] one MARK and one ACK at most wait unsent; FLUSH is updated in place while
 *       unsent (P5)
 *  [R4] what came from the peer is not sent back (P6); the table below says what
 *       is sent at all
 *  [R5] lost.unsent <= lost.below, unless both are 0
 *
 * A repcached (repl_legacy.c) gets the same by the same rules, in lines of text
 * instead of frames, and without what it has no words for: BEGIN, MARK, ACK,
 * HAVE and SWEEP. Then a MARK is a note of ours and has no bytes; what the socket
 * has taken counts as sent, and as no more than that.
 *
 * Covered by: t/test_replication.c, the simulator.
 */
#include "compat.h"
#include "repl_internal.h"

/* Which changes travel, by cause. */
static const struct {
	bool states;
	bool flush;
	const char *why;
} ships[CAUSE_COUNT] = {
	[CAUSE_CLIENT] = {true, true, "an own change"},
	[CAUSE_PEER] = {false, false, "the peer has it"},
	[CAUSE_SWEEP] = {false, false, "the peer asked for it"},
	[CAUSE_EVICT] = {false, false, "local; the peer may keep it"},
	[CAUSE_EXPIRE] = {false, true, "expiry travels as an instant; a flush that fires has a version"},
	[CAUSE_FLUSHED] = {false, false, "the barrier travelled"},
	[CAUSE_ADMIN] = {true, true, "an own change"},
};

static struct repl_out *link_out(struct repl *r)
{
	assert(r->link);
	return &r->link->out;
}

size_t repl_low_water(const struct repl *r)
{
	size_t quarter = r->settings->repl_buffer_bytes / 4;
	return quarter < REPL_LOW_WATER_BYTES_MAX ? quarter : REPL_LOW_WATER_BYTES_MAX;
}

/* Pinned items keep their memory even when they were replaced: not more of the
 * cache than this may be held that way. */
static size_t pinned_bytes_max(const struct repl *r)
{
	size_t part = r->settings->memory_bytes_max / 8;
	return part < r->settings->repl_buffer_bytes ? part : r->settings->repl_buffer_bytes;
}

/* ---- frames ------------------------------------------------------------------ */

/* Append a frame without a value. NULL: no memory, nothing appended. */
static uint8_t *put_frame(struct repl *r, const struct wire_frame *f)
{
	struct repl_out *out = link_out(r);

	assert(f->value_len == 0 || f->type == WIRE_ITEM);
	if (!repl_out_prepare(out, 2 * WIRE_HEAD_BYTES_MAX))
		return NULL;
	uint8_t *head = repl_out_room(out, WIRE_HEAD_BYTES_MAX);
	repl_out_commit(out, wire_frame_encode(head, f));
	return head;
}

/* A control frame: bounded in number, so outside the bound of bytes. Without
 * memory the link cannot go on; that is seen at the end of the turn. */
static uint8_t *put_control(struct repl *r, const struct wire_frame *f)
{
	uint8_t *head = r->send.failed ? NULL : put_frame(r, f);
	if (!head)
		r->send.failed = true;
	return head;
}

static struct item *pinnable(const struct item *i)
{
	return (struct item *)(uintptr_t)i;
}

/* Whether a walk sends a value from where it lies: it is large; there is no more
 * room to copy it (the states of a bucket go in one piece); or it is not small, for
 * then copying costs more than pinning, as long as little of the cache is pinned. */
static bool walk_goes_by_reference(const struct repl *r, size_t len)
{
	const struct repl_out *out = &r->link->out;
	if (len > REPL_COPY_BYTES_MAX)
		return true;
	if (len > REPL_PIN_BYTES_MIN && out->copied_bytes + len > r->settings->repl_buffer_bytes)
		return true;
	return len >= REPL_WALK_PIN_BYTES_MIN && !repl_is_text(r) &&
	       out->pinned_bytes + len <= pinned_bytes_max(r);
}

static bool put_item(struct repl *r, const struct item *i, bool by_reference)
{
	struct repl_out *out = link_out(r);
	size_t len = item_value_len(i);

	if (repl_is_text(r))
		return repl_legacy_put_item(r, i, by_reference);
	struct wire_frame f = {
		.type = WIRE_ITEM,
		.bits = (uint8_t)((i->bits & ITEM_STALE ? WIRE_STATE_STALE : 0) |
				  (i->bits & ITEM_BINKEY ? WIRE_STATE_BINKEY : 0)),
		.key_len = i->key_len,
		.key = item_key(i),
		.order = item_order(i),
		.flags = item_flags(i),
		.value_len = (uint32_t)len,
	};

	if (by_reference) {
		struct repl_block *pinned = repl_out_pin(out, pinnable(i), WIRE_HEAD_BYTES_MAX);
		if (!pinned)
			return false;
		repl_out_append_pinned(out, pinned, wire_frame_encode(pinned->data, &f));
	} else {
		if (!repl_out_prepare(out, 2 * WIRE_HEAD_BYTES_MAX + len))
			return false;
		uint8_t *head = repl_out_room(out, WIRE_HEAD_BYTES_MAX);
		repl_out_commit(out, wire_frame_encode(head, &f));
		repl_out_copy_value(out, i);
	}
	r->counts.items_sent++;
	return true;
}

static bool put_keyed(struct repl *r, enum wire_type type, const void *key, size_t key_len,
		      const struct state_order *order)
{
	struct wire_frame f = {.type = type, .key = key, .key_len = (uint8_t)key_len, .order = *order};

	assert(type == WIRE_TOMB || type == WIRE_TOUCH || type == WIRE_HAVE);
	if (repl_is_text(r)) {
		assert(type == WIRE_TOMB);
		return repl_legacy_put_delete(r, key, key_len);
	}
	if (!put_frame(r, &f))
		return false;
	*(type == WIRE_TOMB    ? &r->counts.tombs_sent
	  : type == WIRE_TOUCH ? &r->counts.touches_sent
			       : &r->counts.haves_sent) += 1;
	return true;
}

/* Outside the bound, in every mode; one that was not sent yet is updated where
 * it stands: the newest flush state is never late. */
static void put_flush(struct repl *r)
{
	struct repl_send *s = &r->send;
	struct wire_frame f = {.type = WIRE_FLUSH, .flush = *items_flush_state(r->items)};

	if (s->mode == SEND_NONE)
		return;
	if (repl_is_text(r)) {
		repl_legacy_put_flush(r);
	} else if (s->flush_at && s->flush_pos >= link_out(r)->sent) {
		wire_frame_encode(s->flush_at, &f);
	} else {
		s->flush_pos = link_out(r)->appended;
		s->flush_at = put_control(r, &f);
	}
	r->marks.due = true;
}

/* ---- lost_below ---------------------------------------------------------------- */

static void lost_clear_upto(struct repl *r, uint64_t version)
{
	if (r->lost.unsent <= version)
		r->lost.unsent = 0;
	if (r->lost.below <= version)
		r->lost.below = 0;
}

void repl_lost_tomb(void *ctx, const struct item *tomb)
{
	struct repl *r = ctx;
	const struct repl_send *s = &r->send;
	uint64_t stamp = item_tomb_stamp(tomb);

	assert(item_is_tomb(tomb));
	r->counts.tombs_lost++;
	/* A node that never had a peer has nobody to mislead (P8). */
	if (!r->lost.contact || stamp <= r->peer.acked)
		return;
	if (stamp > r->lost.below)
		r->lost.below = stamp;
	/* Bits of before this link are stale until its first pass has set them. */
	bool is_current = s->tombs_visited || stamp > s->link_begin;
	bool sent = s->mode != SEND_NONE && is_current && item_tomb_sent(tomb);
	if (!sent && stamp > r->lost.unsent)
		r->lost.unsent = stamp;
}

/* The oldest MARKs are done with. */
static void drop_marks(struct repl_marks *m, int gone)
{
	if (gone == 0)
		return;
	m->acked_ms = m->sent[gone - 1].ms;
	m->acked_pos = m->sent[gone - 1].pos;
	m->count -= gone;
	memmove(m->sent, m->sent + gone, (size_t)m->count * sizeof(m->sent[0]));
}

void repl_acked(struct repl *r, uint64_t version)
{
	struct repl_marks *m = &r->marks;
	int gone = 0;

	if (version > r->peer.acked) {
		r->peer.acked = version;
		items_settle(r->items, version);
	}
	lost_clear_upto(r, r->peer.acked);
	while (gone < m->count && m->sent[gone].version <= version)
		gone++;
	drop_marks(m, gone);
}

/* The same for a peer that acknowledges nothing. */
static void note_written(struct repl *r)
{
	const struct repl_send *s = &r->send;
	struct repl_marks *m = &r->marks;
	int gone = 0;

	while (gone < m->count && m->sent[gone].pos <= link_out(r)->sent)
		gone++;
	if (gone > 0 && s->mode == SEND_LIVE && !s->overload && !r->legacy.merging)
		r->legacy.written = m->sent[gone - 1].version;
	drop_marks(m, gone);
}

/* ---- live changes ---------------------------------------------------------------- */

static bool is_appending(const struct repl *r)
{
	return r->send.mode != SEND_NONE && !r->send.overload && !r->send.failed;
}

bool repl_send_has_room(const struct repl *r, size_t copied, size_t pinned)
{
	const struct repl_out *out = &r->link->out;

	if (out->copied_bytes + copied > r->settings->repl_buffer_bytes)
		return false;
	/* One large item always goes, or it never would. */
	return pinned == 0 || out->pinned_bytes == 0 || out->pinned_bytes + pinned <= pinned_bytes_max(r);
}

void repl_send_overload(struct repl *r, uint64_t version)
{
	uint64_t held_back;

	assert(version > 0 && !r->send.overload);
	r->send.overload = true;
	r->send.gap = version - 1;
	r->counts.overloads++;
	if (log_limit_pass(&r->logs.overload, r->now, &held_back)) {
		repl_notice(r, "the peer does not keep up: %zu bytes wait, changes are collected",
			    repl_out_len(link_out(r)));
		repl_event(r, NULL, "event=overload bytes=%zu", repl_out_len(link_out(r)));
	}
}

static bool put_if_room(struct repl *r, const struct item *i)
{
	size_t len = item_value_len(i);
	bool by_reference = len > REPL_COPY_BYTES_MAX;

	return repl_send_has_room(r, WIRE_HEAD_BYTES_MAX + (by_reference ? 0 : len), by_reference ? len : 0) &&
	       put_item(r, i, by_reference);
}

static bool put_live(struct repl *r, const struct change *change)
{
	const struct key *key = &change->key;

	if (change->kind == CHANGE_STATE || (change->kind == CHANGE_TOUCH && repl_is_text(r)))
		return put_if_room(r, change->after);
	enum wire_type type = change->kind == CHANGE_TOUCH ? WIRE_TOUCH : WIRE_TOMB;
	struct state_order order = change->kind == CHANGE_TOUCH ? item_order(change->after) : change->order;
	return repl_send_has_room(r, WIRE_HEAD_BYTES_MAX, 0) && put_keyed(r, type, key->data, key->len, &order);
}

/* The tombstone that a removal left stands for something that is in the stream. */
static void note_tomb_sent(struct repl *r, const struct change *change)
{
	const struct item *left = items_state(r->items, &change->key);
	if (left && item_is_tomb(left))
		items_tomb_set_sent(r->items, left, true);
}

/* A state was dropped here. If it had been put on this link and was not settled,
 * so had what its tombstone says. */
static void on_dropped(struct repl *r, const struct change *change)
{
	const struct repl_send *s = &r->send;
	const struct item *old = change->before;

	if (change->cause == CAUSE_SWEEP)
		r->counts.swept++;
	if (change->kind != CHANGE_REMOVE || change->cause == CAUSE_PEER || !old || !is_appending(r))
		return;
	if (!items_is_unsettled(r->items, old))
		return;
	bool in_stream = s->mode == SEND_LIVE ||
			 (old->version > s->begin && !items_touched_above(r->items, old, r->peer.acked));
	if (in_stream)
		note_tomb_sent(r, change);
}

void repl_on_change(struct repl *r, const struct change *change)
{
	assert(change->cause < CAUSE_COUNT);
	if (change->kind == CHANGE_FLUSH) {
		lost_clear_upto(r, change->flush->barrier); /* section 4 */
		if (ships[change->cause].flush)
			put_flush(r);
		return;
	}
	if (!ships[change->cause].states) {
		on_dropped(r, change);
		return;
	}
	if (r->send.mode == SEND_NONE)
		return; /* the walk will find it */
	r->marks.due = true;
	if (!is_appending(r))
		return;
	if (!put_live(r, change))
		repl_send_overload(r, change->own_version);
	else if (change->kind == CHANGE_REMOVE)
		note_tomb_sent(r, change);
}

void repl_send_again(struct repl *r, const struct item *held, uint64_t version)
{
	struct repl_send *s = &r->send;
	struct state_order order = item_order(held);

	assert(repl_is_text(r));
	r->marks.due = true;
	if (s->overload && s->gap >= version)
		s->gap = version - 1;
	if (!is_appending(r))
		return;
	if (item_is_tomb(held) ? !put_keyed(r, WIRE_TOMB, item_key(held), held->key_len, &order)
			       : !put_if_room(r, held))
		repl_send_overload(r, version);
}

/* ---- walks ----------------------------------------------------------------------- */

const char *repl_walk_name(enum walk_cause cause)
{
	static const char *const names[WALK_CAUSE_COUNT] = {
		[WALK_FIRST] = "first",
		[WALK_CATCHUP] = "catchup",
		[WALK_OVERLOAD] = "overload",
		[WALK_LOST] = "lost",
	};
	return names[cause];
}

static void tell_walk_end(struct repl *r, const char *result)
{
	const struct repl_send *s = &r->send;

	repl_event(r, NULL, "event=walk_end way=out cause=%s result=%s bytes=%" PRIu64 " ms=%" PRId64,
		   repl_walk_name(s->cause), result, link_out(r)->appended - s->walk_pos,
		   r->now->mono_ms - s->walk_ms);
}

static void begin_walk(struct repl *r, uint64_t cut, enum walk_cause cause)
{
	struct repl_send *s = &r->send;
	const struct flush_state *flush = items_flush_state(r->items);

	s->mode = SEND_WALK;
	s->overload = false;
	s->cut = cut;
	s->begin = r->hlc->last;
	s->sweeps = r->lost.unsent > cut && !repl_is_text(r);
	s->cause = s->sweeps ? WALK_LOST : cause;
	s->cursor = (struct items_cursor){0};
	s->walk_ms = r->now->mono_ms;
	s->walk_pos = link_out(r)->appended;
	r->counts.walks[s->cause].walks++;
	repl_event(r, NULL, "event=walk_begin way=out cause=%s", repl_walk_name(s->cause));
	if (repl_is_text(r)) {
		r->marks.count = 0; /* it may begin below them */
		put_flush(r);
		return;
	}
	put_control(r, &(struct wire_frame){.type = WIRE_BEGIN,
					    .order.version = s->begin,
					    .bits = s->sweeps ? WIRE_BEGIN_SWEEPS : 0});
	if (flush->barrier || flush->command)
		put_flush(r);
}

/* An item of the walk: the value if the peer may lack it. A touched state is sent
 * whole: its former expiry may have passed over there meanwhile, and a TOUCH of
 * what is gone could not bring it back. */
static bool walk_item(struct repl *r, const struct item *i)
{
	const struct repl_send *s = &r->send;
	bool own = i->bits & ITEM_OWN;
	bool lacks = s->cut == 0 ? own || i->version <= r->lost.former : own && i->version > s->cut;
	struct state_order order = item_order(i);

	if (lacks || items_touched_above(r->items, i, s->cut)) {
		r->counts.walks[s->cause].items++;
		return put_item(r, i, walk_goes_by_reference(r, item_value_len(i)));
	}
	if (s->sweeps)
		return put_keyed(r, WIRE_HAVE, item_key(i), i->key_len, &order);
	return true;
}

/* A tombstone of the walk. Where a SWEEP follows, those at or below the cut too:
 * what was evicted here is dropped there unless its tombstone confirms it. To a
 * repcached, what it never had from us needs no removal. */
static bool walk_tomb(struct repl *r, const struct item *tomb)
{
	const struct repl_send *s = &r->send;
	struct state_order order = item_order(tomb);
	bool has = s->cut == 0 ? repl_is_text(r) : item_tomb_stamp(tomb) <= s->cut;

	if (has && !s->sweeps)
		return true;
	if (!put_keyed(r, WIRE_TOMB, item_key(tomb), tomb->key_len, &order))
		return false;
	items_tomb_set_sent(r->items, tomb, true);
	return true;
}

/* Items and tombstones of one hash range come in one step (ONEPOS). */
static bool walk_visit(void *ctx, const struct item *state)
{
	struct repl *r = ctx;

	if (!r->send.failed)
		r->send.failed = !(item_is_tomb(state) ? walk_tomb(r, state) : walk_item(r, state));
	return !r->send.failed && repl_out_len(link_out(r)) <= repl_low_water(r);
}

static void put_mark(struct repl *r, uint64_t version, uint8_t bits)
{
	struct repl_marks *m = &r->marks;

	if (!repl_is_text(r) &&
	    !put_control(r, &(struct wire_frame){.type = WIRE_MARK, .order.version = version, .bits = bits}))
		return;
	m->version = version;
	m->end = link_out(r)->appended;
	m->ms = r->now->mono_ms;
	if (version == 0)
		return; /* says nothing: a heartbeat in a walk from the start */
	if (m->count == REPL_MARKS_KEPT)
		m->count--;
	m->sent[m->count].version = version;
	m->sent[m->count].pos = m->end;
	m->sent[m->count].ms = m->ms;
	m->count++;
}

static bool mark_waits(const struct repl *r)
{
	return r->marks.end > r->link->out.sent;
}

static void log_walk(struct repl *r, uint64_t bytes, int64_t ms)
{
	static const char *const what[WALK_CAUSE_COUNT] = {
		[WALK_FIRST] = "first copy",
		[WALK_CATCHUP] = "what was missed",
		[WALK_OVERLOAD] = "collected changes",
		[WALK_LOST] = "comparison after lost removals",
	};
	if (r->send.cause != WALK_OVERLOAD || log_limit_pass(&r->logs.overload, r->now, NULL))
		repl_notice(r, "%s for the peer is complete: %" PRIu64 " bytes in %" PRId64 " ms",
			    what[r->send.cause], bytes, ms);
}

static void end_walk(struct repl *r)
{
	struct repl_send *s = &r->send;
	uint64_t end = s->overload ? s->gap : r->hlc->last;

	s->tombs_visited = true;
	if (!s->sweeps && r->lost.unsent > s->cut && !repl_is_text(r)) {
		/* Removals above the cut were lost while it ran: the peer must not be
		 * told that it has everything beyond the cut. */
		tell_walk_end(r, "again");
		begin_walk(r, s->cut, WALK_LOST);
		return;
	}
	uint64_t upto = r->lost.unsent < end ? r->lost.unsent : end;
	if (s->begin < upto)
		upto = s->begin; /* later states of the peer were not compared */
	if (s->sweeps && upto)
		put_control(r, &(struct wire_frame){.type = WIRE_SWEEP, .order.version = upto});
	if (repl_is_text(r))
		repl_legacy_walk_done(r);
	put_mark(r, end, WIRE_MARK_SYNCED);
	r->marks.must_ack = end;
	r->marks.due = s->overload;
	s->mode = SEND_LIVE;
	s->cut = end;
	uint64_t bytes = link_out(r)->appended - s->walk_pos;
	int64_t ms = r->now->mono_ms - s->walk_ms;
	r->counts.walks[s->cause].bytes += bytes;
	r->counts.walks[s->cause].ms += (uint64_t)ms;
	log_walk(r, bytes, ms);
	tell_walk_end(r, "complete");
}

bool repl_send_can_step(const struct repl *r)
{
	const struct repl_send *s = &r->send;

	if (s->mode == SEND_NONE || s->failed || repl_out_len(&r->link->out) > repl_low_water(r))
		return false;
	if (s->mode == SEND_LIVE)
		return s->overload;
	return !s->cursor.done || !mark_waits(r); /* [R3] */
}

void repl_send_step(struct repl *r)
{
	struct repl_send *s = &r->send;

	if (s->mode != SEND_NONE && repl_send_can_step(r)) {
		if (s->mode == SEND_LIVE)
			begin_walk(r, s->gap, WALK_OVERLOAD);
		if (!s->cursor.done)
			items_walk(r->items, &s->cursor, REPL_WALK_STATES_PER_TURN, walk_visit, r);
		if (s->cursor.done && !s->failed && !mark_waits(r))
			end_walk(r);
	}
	if (s->failed)
		repl_link_lost(r, "out of memory");
}

/* ---- MARK and ACK ------------------------------------------------------------------ */

/* [R2] */
static uint64_t mark_version(const struct repl *r)
{
	const struct repl_send *s = &r->send;
	return s->mode == SEND_WALK ? s->cut : s->overload ? s->gap : r->hlc->last;
}

static void put_ack(struct repl *r)
{
	struct repl_recv *v = &r->recv;

	if (!put_control(r, &(struct wire_frame){.type = WIRE_ACK,
						 .order.version = v->ack_version,
						 .bits = v->refused ? WIRE_ACK_REFUSED : 0}))
		return;
	v->ack_due = false;
	v->ack_end = link_out(r)->appended;
	if (v->ack_version >= v->refused_upto) {
		v->refused = false;
		v->refused_upto = 0;
	}
}

void repl_put_marks(struct repl *r)
{
	const struct repl_send *s = &r->send;
	struct repl_marks *m = &r->marks;

	if (s->mode == SEND_NONE || s->failed)
		return;
	if (repl_is_text(r))
		note_written(r);
	if (r->recv.ack_due && r->recv.ack_end <= link_out(r)->sent)
		put_ack(r);
	if (!m->due || mark_waits(r) || s->mode != SEND_LIVE)
		return;
	if (s->overload && s->gap <= m->version)
		return; /* it would say nothing new */
	put_mark(r, mark_version(r), 0);
	m->must_ack = m->version;
	m->due = s->overload;
}

/* The other side's patience may be as short as ours. */
static int64_t heartbeat_ms(const struct repl *r)
{
	int64_t third = r->settings->repl_timeout_ms / 3;
	return third < 1 ? 1 : third < REPL_HEARTBEAT_MS ? third : REPL_HEARTBEAT_MS;
}

int64_t repl_heartbeat_due_ms(const struct repl *r)
{
	if (r->send.mode == SEND_NONE || r->send.failed || mark_waits(r) || repl_is_text(r))
		return INT64_MAX; /* what waits will do */
	return r->marks.ms + heartbeat_ms(r);
}

void repl_put_heartbeat(struct repl *r)
{
	if (repl_heartbeat_due_ms(r) <= r->now->mono_ms)
		put_mark(r, mark_version(r), 0);
}

/* ---- start and stop ------------------------------------------------------------------ */

void repl_send_start(struct repl *r, uint64_t cut)
{
	assert(r->send.mode == SEND_NONE && r->link);
	r->send = (struct repl_send){.link_begin = r->hlc->last};
	r->marks = (struct repl_marks){.ms = r->now->mono_ms, .acked_ms = r->now->mono_ms};
	begin_walk(r, cut, cut ? WALK_CATCHUP : WALK_FIRST);
}

void repl_send_broken(struct repl *r)
{
	if (r->send.mode == SEND_WALK)
		tell_walk_end(r, "broken");
}

void repl_send_stop(struct repl *r)
{
	r->send = (struct repl_send){.mode = SEND_NONE};
	r->marks = (struct repl_marks){0};
	r->lost.unsent = r->lost.below; /* the next link has been told nothing */
}

bool repl_send_is_quiet(const struct repl *r)
{
	const struct repl_send *s = &r->send;
	return s->mode == SEND_LIVE && !s->overload && !r->marks.due && repl_out_len(&r->link->out) == 0 &&
	       (repl_is_text(r) || r->peer.acked >= r->marks.must_ack);
}
