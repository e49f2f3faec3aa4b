/*
 * repl_apply.c - the receiving direction of the link (sections 6 and 7).
 *
 * Owns: what becomes of each frame: which state of two is kept, values that
 * arrive in pieces, confirmations and SWEEP, what the next ACK says.
 *
 * The way of an ITEM:
 *
 *     head --not newer--------------------------> VALUE_SKIP --> nothing
 *       |---newer, cannot be stored-------------> VALUE_LOST --> older state removed
 *       +---newer, value not all here: reserved > VALUE_FILL --> decided again, installed
 *       +---newer, value all here ------------------------------> installed
 *
 * Must not know: how bytes arrive; when an ACK goes out.
 *
 * Invariants
 *  [A1] the clock takes a version in before anything is decided by it
 *  [A2] a state is applied when its last byte is here, or not at all
 *  [A3] no reservation outlives the frame or the link it was made for
 *  [A4] while a SWEEP runs, or old confirmations are being cleared, no frame is
 *       applied: the input is held
 *
 * Covered by: t/test_replication.c, the simulator.
 */
#include "compat.h"
#include "repl_internal.h"

/* The value of a state: all in one place, or an item's. */
struct value_view {
	const uint8_t *whole;
	const struct item *item;
	size_t len;
};

enum verdict {
	TAKE,
	TIE,     /* same order as what is held: the bytes decide */
	OLD,     /* not newer than what is held */
	FLUSHED, /* below the barrier */
	UNPROVEN /* nothing is held and it may have been removed here: lost_below */
};

/* ---- deciding ------------------------------------------------------------------ */

static enum verdict judge(struct repl *r, const struct wire_frame *f, const struct key *key,
			  const struct item **held)
{
	*held = items_state(r->items, key); /* first: it makes a flush happen that is due */
	if (f->order.version <= items_flush_state(r->items)->barrier) {
		*held = NULL;
		return FLUSHED;
	}
	if (!*held)
		return f->order.version <= r->lost.below ? UNPROVEN : TAKE;
	struct state_order order = item_order(*held);
	int cmp = state_order_cmp(&f->order, &order);
	return cmp > 0 ? TAKE : cmp < 0 || item_is_tomb(*held) ? OLD : TIE;
}

static uint32_t bits_of_wire(uint8_t bits)
{
	return (bits & WIRE_STATE_STALE ? ITEM_STALE : 0) | (bits & WIRE_STATE_BINKEY ? ITEM_BINKEY : 0);
}

/* The bytes of v from offset on, as far as they lie together. */
static struct iovec value_piece(const struct repl *r, const struct value_view *v, size_t offset)
{
	struct iovec piece = {0};

	if (v->whole)
		return (struct iovec){(void *)(uintptr_t)(v->whole + offset), v->len - offset};
	items_value_iov(r->items, v->item, offset, &piece, 1);
	assert(piece.iov_len > 0);
	return piece;
}

static int value_cmp(const struct repl *r, const struct value_view *a, const struct value_view *b)
{
	size_t common = a->len < b->len ? a->len : b->len;

	for (size_t done = 0; done < common;) {
		struct iovec pa = value_piece(r, a, done), pb = value_piece(r, b, done);
		size_t n = pa.iov_len < pb.iov_len ? pa.iov_len : pb.iov_len;
		if (n > common - done)
			n = common - done;
		int cmp = memcmp(pa.iov_base, pb.iov_base, n);
		if (cmp != 0)
			return cmp;
		done += n;
	}
	return a->len == b->len ? 0 : a->len < b->len ? -1 : 1;
}

/* Equal order: the larger bytes win on both nodes - value, flags, state bits. */
static bool wins_tie(const struct repl *r, const struct wire_frame *f, const struct value_view *arrived,
		     const struct item *held)
{
	struct value_view mine = {item_value(held), held, item_value_len(held)};
	uint32_t bits = bits_of_wire(f->bits), mine_bits = held->bits & ITEM_SHIPPED_BITS;
	int cmp = value_cmp(r, arrived, &mine);

	if (cmp != 0)
		return cmp > 0;
	if (f->flags != item_flags(held))
		return f->flags > item_flags(held);
	return bits > mine_bits;
}

/* The state is here, all of it: to another peer it may be news (section 4). */
static void note_received(struct repl *r, const struct wire_frame *f)
{
	if (f->order.version > r->peer.received_max)
		r->peer.received_max = f->order.version;
}

/* ---- what follows from a decision ------------------------------------------------ */

/* The peer has this version or a newer one: whatever is here and not older
 * stays when the SWEEP comes. */
static void confirm(struct repl *r, const struct item *held, uint64_t version)
{
	if (r->recv.confirms && held && !item_is_tomb(held) && held->version >= version)
		items_confirm(r->items, held);
}

static void confirm_key(struct repl *r, const struct key *key, uint64_t version)
{
	if (r->recv.confirms)
		confirm(r, items_state(r->items, key), version);
}

/* The next ACK, and all until one covers this version, says `refused`. A touch
 * is younger than the version that it carries: hence the next MARK at least. */
static void refuse(struct repl *r, uint64_t version)
{
	struct repl_recv *v = &r->recv;
	uint64_t upto = version > r->peer.seen ? version : r->peer.seen + 1;

	v->refused = true;
	if (upto > v->refused_upto)
		v->refused_upto = upto;
}

static void not_taken(struct repl *r, const struct wire_frame *f, enum verdict verdict,
		      const struct item *held)
{
	assert(verdict != TAKE);
	if (verdict == UNPROVEN) {
		r->counts.refused++;
		refuse(r, f->order.version);
		return;
	}
	r->counts.ignored++;
	if (verdict == OLD && items_is_unsettled(r->items, held))
		r->counts.conflicts_won++;
	confirm(r, held, f->order.version);
}

static void count_conflict(struct repl *r, const struct item *held)
{
	if (held && items_is_unsettled(r->items, held))
		r->counts.conflicts_lost++;
}

void repl_apply_not_stored(struct repl *r, uint32_t value_len)
{
	uint64_t held_back;

	r->counts.not_stored++;
	if (log_limit_pass(&r->logs.not_stored, r->now, &held_back))
		repl_notice(r,
			    "an item of %" PRIu32 " bytes from the peer cannot be stored here (%" PRIu64
			    " more since the last message)",
			    value_len, held_back);
}

/* It is newer and there is no room for it: the older state must not be served
 * on (section 7, rule 4). */
static void not_stored(struct repl *r, const struct wire_frame *f, const struct key *key)
{
	const struct item *held;
	enum verdict verdict = judge(r, f, key, &held);

	refuse(r, f->order.version);
	if (verdict == TAKE && held)
		items_remove(r->items, key, CAUSE_PEER, &f->order);
	else /* of the same version, and the values could not be compared: it stays */
		confirm(r, held, f->order.version);
	repl_apply_not_stored(r, f->value_len);
}

static void install(struct repl *r, const struct wire_frame *f, struct item *reserved)
{
	items_install(r->items, reserved, CAUSE_PEER, &f->order, bits_of_wire(f->bits));
	if (r->recv.confirms)
		items_confirm(r->items, reserved);
}

/* ---- ITEM -------------------------------------------------------------------------- */

struct item *repl_apply_reserve(struct repl *r, const struct wire_frame *f, const struct key *key)
{
	enum items_status status;

	if (!items_fits(r->items, key->len, f->value_len, f->flags))
		return NULL;
	return items_reserve(r->items, key, f->value_len, f->flags, f->order.exptime, &status);
}

void repl_apply_fill(struct repl *r, struct item *reserved, size_t offset, const uint8_t *data, size_t len)
{
	while (len > 0) {
		struct iovec iov[16];
		int count = items_value_iov(r->items, reserved, offset, iov, ARRAY_LEN(iov));
		assert(count > 0);
		for (int p = 0; p < count && len > 0; p++) {
			size_t n = iov[p].iov_len < len ? iov[p].iov_len : len;
			memcpy(iov[p].iov_base, data, n);
			data += n;
			offset += n;
			len -= n;
		}
	}
}

static void apply_whole(struct repl *r, const struct wire_frame *f, const uint8_t *value)
{
	struct key key = items_key(r->items, f->key, f->key_len);
	const struct item *held;
	enum verdict verdict = judge(r, f, &key, &held);
	struct value_view arrived = {value, NULL, f->value_len};

	note_received(r, f);
	if (verdict == TIE && wins_tie(r, f, &arrived, held))
		verdict = TAKE;
	if (verdict != TAKE) {
		not_taken(r, f, verdict, held);
		return;
	}
	count_conflict(r, held);
	struct item *reserved = repl_apply_reserve(r, f, &key); /* held may be gone now */
	if (!reserved) {
		not_stored(r, f, &key);
		return;
	}
	repl_apply_fill(r, reserved, 0, value, f->value_len);
	install(r, f, reserved);
}

/* The value is not all here: decide what to do with its bytes. */
static void begin_value(struct repl_conn *c, const struct wire_frame *f)
{
	struct repl *r = c->repl;
	struct repl_in *in = &c->in;
	const struct item *held;

	assert(in->fate == VALUE_NONE && !in->reserved);
	in->frame = *f;
	memcpy(in->key, f->key, f->key_len);
	in->frame.key = in->key;
	in->value_got = 0;
	struct key key = items_key(r->items, in->key, f->key_len);
	enum verdict verdict = judge(r, f, &key, &held);
	in->fate = VALUE_SKIP;
	if (verdict != TAKE && verdict != TIE)
		return; /* a decision for good: what is held only gets newer */
	in->reserved = repl_apply_reserve(r, f, &key);
	in->fate = in->reserved ? VALUE_FILL : VALUE_LOST;
}

static void install_filled(struct repl *r, struct repl_in *in, const struct key *key)
{
	const struct wire_frame *f = &in->frame;
	struct item *reserved = in->reserved;
	const struct item *held;
	/* Clients wrote meanwhile. */
	enum verdict verdict = judge(r, f, key, &held);
	struct value_view arrived = {item_value(reserved), reserved, f->value_len};

	in->reserved = NULL; /* [A3] */
	if (verdict == TIE && wins_tie(r, f, &arrived, held))
		verdict = TAKE;
	if (verdict == TAKE) {
		count_conflict(r, held);
		install(r, f, reserved);
	} else {
		not_taken(r, f, verdict, held);
		items_release(r->items, reserved);
	}
}

static void end_value(struct repl_conn *c)
{
	struct repl *r = c->repl;
	struct repl_in *in = &c->in;
	struct key key = items_key(r->items, in->frame.key, in->frame.key_len);
	const struct item *held;
	enum value_fate fate = in->fate;

	note_received(r, &in->frame);
	in->fate = VALUE_NONE;
	if (fate == VALUE_FILL) {
		install_filled(r, in, &key);
		return;
	}
	enum verdict verdict = judge(r, &in->frame, &key, &held);
	if (fate == VALUE_LOST && (verdict == TAKE || verdict == TIE)) {
		count_conflict(r, verdict == TAKE ? held : NULL);
		not_stored(r, &in->frame, &key);
	} else if (verdict != TAKE) {
		not_taken(r, &in->frame, verdict, held);
	} else {
		/* It was skipped for a state that has gone since: a miss, as if it
		 * had come first and then been evicted too. */
		r->counts.refused++;
		refuse(r, in->frame.order.version);
	}
}

void repl_apply_value(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct repl_in *in = &c->in;

	assert(in->fate != VALUE_NONE && len <= in->frame.value_len - in->value_got);
	if (in->fate == VALUE_FILL)
		repl_apply_fill(c->repl, in->reserved, in->value_got, data, len);
	in->value_got += len;
	if (in->value_got == in->frame.value_len)
		end_value(c);
}

void repl_apply_drop_value(struct repl_conn *c)
{
	if (c->in.reserved)
		items_release(c->repl->items, c->in.reserved);
	c->in.reserved = NULL;
	c->in.fate = VALUE_NONE;
}

static size_t apply_item(struct repl_conn *c, const struct wire_frame *f, const uint8_t *rest,
			 size_t rest_len)
{
	struct repl *r = c->repl;

	r->counts.items_received++;
	r->recv.walk_items++;
	if (rest_len >= f->value_len) {
		apply_whole(r, f, rest);
		return f->value_len;
	}
	begin_value(c, f);
	return 0;
}

/* ---- the other states ----------------------------------------------------------------- */

static void apply_tomb(struct repl *r, const struct wire_frame *f)
{
	struct key key = items_key(r->items, f->key, f->key_len);
	const struct item *held;
	enum verdict verdict = judge(r, f, &key, &held);

	r->counts.tombs_received++;
	note_received(r, f);
	if (verdict == UNPROVEN || (verdict == TAKE && !held))
		return; /* nothing to remove, and it is not kept */
	if (verdict == TAKE) {
		count_conflict(r, held);
		items_remove(r->items, &key, CAUSE_PEER, &f->order);
	} else {
		/* A removal of the very state held is an eviction over there. */
		not_taken(r, f, verdict == TIE ? OLD : verdict, held);
	}
}

static void apply_touch(struct repl *r, const struct wire_frame *f)
{
	struct key key = items_key(r->items, f->key, f->key_len);
	const struct item *held = items_state(r->items, &key);

	r->counts.touches_received++;
	note_received(r, f); /* the peer has it, and made it what it is now */
	if (held && !item_is_tomb(held) && held->version == f->order.version) {
		struct state_order order = item_order(held);
		struct amendment a = {.what = AMEND_EXPIRY, .exptime = f->order.exptime, .order = &f->order};
		/* An expired item is not visible, but a state that can be touched. */
		if (state_order_cmp(&f->order, &order) > 0)
			items_amend(r->items, (struct item *)(uintptr_t)held, &a, CAUSE_PEER);
		else
			r->counts.ignored++;
	} else if (!held || held->version < f->order.version) {
		r->counts.refused++;
		refuse(r, f->order.version);
	} else {
		r->counts.ignored++;
	}
	confirm_key(r, &key, f->order.version);
}

static void apply_have(struct repl *r, const struct wire_frame *f)
{
	struct key key = items_key(r->items, f->key, f->key_len);

	r->counts.haves_received++;
	confirm_key(r, &key, f->order.version);
}

/* ---- walks of the peer, MARK, ACK ----------------------------------------------------- */

static void apply_begin(struct repl *r, const struct wire_frame *f)
{
	struct repl_recv *v = &r->recv;

	v->walking = true;
	v->walk_items = 0;
	v->walk_ms = r->now->mono_ms;
	v->walk_bytes = r->link->rx_bytes;
	repl_event(r, NULL, "event=walk_begin way=in");
	v->confirms = f->bits & WIRE_BEGIN_SWEEPS;
	if (v->confirms) {
		items_confirm_begin(r->items);
		v->confirm_wait = !items_confirm_ready(r->items);
	}
}

void repl_apply_synced(struct repl *r)
{
	struct repl_recv *v = &r->recv;
	uint64_t bytes = r->link->rx_bytes - v->walk_bytes;
	int64_t ms = r->now->mono_ms - v->walk_ms;

	v->walking = v->confirms = false;
	repl_event(r, NULL,
		   "event=walk_end way=in result=complete items=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRId64,
		   v->walk_items, bytes, ms);
	if (!r->self.waiting)
		return;
	r->self.waiting = false;
	repl_notice(r,
		    "first copy is complete: %" PRIu64 " items, %" PRIu64 " bytes in %" PRId64
		    " ms; serving clients as SLAVE",
		    v->walk_items, bytes, ms);
	repl_reconcile(r);
}

static void apply_mark(struct repl *r, const struct wire_frame *f)
{
	struct repl_recv *v = &r->recv;
	uint64_t version = f->order.version;

	if (version != 0) { /* 0 is a heartbeat, no more */
		r->peer.seen = version;
		if (!v->ack_due || version > v->ack_version)
			v->ack_version = version;
		v->ack_due = true;
	}
	if (f->bits & WIRE_MARK_SYNCED)
		repl_apply_synced(r);
}

static const char *apply_sweep(struct repl *r, const struct wire_frame *f)
{
	struct repl_recv *v = &r->recv;

	if (!v->confirms)
		return "SWEEP without a walk that confirms";
	v->sweeping = true;
	v->sweep_upto = f->order.version;
	v->sweep_cursor = (struct items_cursor){0};
	return NULL;
}

static const char *apply_ack(struct repl *r, const struct wire_frame *f)
{
	if (f->order.version > r->hlc->last)
		return "ACK of a version that was never made";
	repl_acked(r, f->order.version);
	repl_tell(r, f->bits & WIRE_ACK_REFUSED ? REPL_NEWS_REFUSED : REPL_NEWS_ACKED, f->order.version);
	return NULL;
}

/* [A1]; true when the link was closed for it. */
static bool clock_refused(struct repl *r, const struct wire_frame *f)
{
	char text[WIRE_REASON_BYTES_MAX];
	uint64_t version = f->order.version;

	if (f->type == WIRE_ACK)
		return false; /* one of our own */
	if (f->flush.barrier > version)
		version = f->flush.barrier;
	if (f->flush.command > version)
		version = f->flush.command;
	if (repl_clock_ahead(r, version, text, sizeof(text))) {
		repl_link_lost(r, text);
		return true;
	}
	hlc_take(r->hlc, version);
	return false;
}

size_t repl_apply_frame(struct repl_conn *c, const struct wire_frame *f, const uint8_t *rest, size_t rest_len)
{
	struct repl *r = c->repl;
	const char *error = NULL;

	assert(c == r->link && !repl_recv_is_held(r)); /* [A4] */
	if (clock_refused(r, f))
		return 0;
	switch (f->type) {
	case WIRE_ITEM:
		return apply_item(c, f, rest, rest_len);
	case WIRE_TOMB:
		apply_tomb(r, f);
		break;
	case WIRE_TOUCH:
		apply_touch(r, f);
		break;
	case WIRE_HAVE:
		apply_have(r, f);
		break;
	case WIRE_FLUSH:
		items_flush(r->items, &f->flush, CAUSE_PEER);
		break;
	case WIRE_BEGIN:
		apply_begin(r, f);
		break;
	case WIRE_SWEEP:
		error = apply_sweep(r, f);
		break;
	case WIRE_MARK:
		apply_mark(r, f);
		break;
	case WIRE_ACK:
		error = apply_ack(r, f);
		break;
	case WIRE_TYPE_COUNT:
		assert(false);
	}
	if (error)
		repl_conn_junk(c, error);
	return 0;
}

/* ---- held input, SWEEP in pieces -------------------------------------------------------- */

bool repl_recv_is_held(const struct repl *r)
{
	return r->recv.sweeping || r->recv.confirm_wait;
}

bool repl_recv_can_step(const struct repl *r)
{
	return r->recv.sweeping || (r->recv.confirm_wait && items_confirm_ready(r->items));
}

void repl_recv_step(struct repl *r)
{
	struct repl_recv *v = &r->recv;

	if (!r->link || !repl_recv_is_held(r))
		return;
	if (v->confirm_wait)
		v->confirm_wait = !items_confirm_ready(r->items);
	if (v->sweeping) {
		items_sweep(r->items, &v->sweep_cursor, v->sweep_upto, REPL_SWEEP_STATES_PER_TURN);
		v->sweeping = !v->sweep_cursor.done;
	}
	if (!repl_recv_is_held(r))
		repl_conn_resume(r->link);
}

void repl_recv_start(struct repl *r)
{
	assert(r->link);
	r->recv = (struct repl_recv){.walking = true, .walk_ms = r->now->mono_ms};
}

bool repl_recv_is_quiet(const struct repl *r)
{
	const struct repl_in *in = &r->link->in;
	return !r->recv.walking && !r->recv.ack_due && !repl_recv_is_held(r) && buf_len(&in->held) == 0 &&
	       in->part_len == 0 && in->fate == VALUE_NONE;
}
