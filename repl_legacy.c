/*
 * repl_legacy.c - the conversation with a repcached (doc/replication.txt,
 * section 11): -o repl_compat=repcached.
 *
 * Owns: finding out who is at the other end; what the lines of repl_text.h mean
 * for our states; which lines say what ours says with frames. When a state is
 * sent at all, walks and overload are repl_walk.c's, as with our own frames.
 *
 * Who is it? Neither side of repcached says who it is, and the one that has
 * connected says nothing at all: it waits for the copy. So with repl_compat
 *
 *   accepted here   we knock: a line that removes a key nobody has. A daemon of
 *                   our own takes it for what it is and says its opening line; a
 *                   repcached obeys it and stays silent. Silence for
 *                   REPL_SILENCE_MS is a repcached: it gets the copy.
 *   made by us      we listen before we speak, for our line is none that a
 *                   repcached should read. A knock: our own kind, our line
 *                   follows at once. Any other line of text: a repcached that
 *                   sends its copy. Nothing within REPL_LISTEN_MS: our own kind
 *                   without repl_compat, and our line follows. Text after that
 *                   comes from a repcached that was slow to begin: the connection
 *                   is closed, and the next one listens for REPL_PATIENT_MS.
 *
 * So a connection on which either side has said an opening line never becomes a
 * link of text, and a link of text never carries one [Y1].
 *
 * Versions. The CAS unique on this link has 32 bits and orders nothing: what
 * arrives is the newest, and gets a fresh version of this node, but not the mark
 * `own`: that keeps it from being sent back. Nothing is acknowledged, so nothing
 * is settled: for tombstones and lost_below such a link is no link. When it
 * ends, all that is held counts as received from a former peer (lost.former):
 * the next peer, of either kind, gets it in a full copy.
 *
 * A node that serves already, and connects, has states of its own. What was
 * changed here since all was sent to such a peer (`written`; 0: never) stays
 * while the copy arrives, and is sent, so that both end with it [Y2].
 *
 * Must not know: sockets, sessions.
 *
 * Invariants
 *  [Y1] only lines of repl_text.h leave on such a link, from the first byte of its
 *       connection on
 *  [Y2] a line of the copy that gives way to a state held here is answered with
 *       that state: both sides end with the same
 *  [Y3] a value is installed when the end of its line is here, or not at all
 *
 * Covered by: t/test_repl_legacy.c, t/repcached.t.
 */
#include "compat.h"
#include "repl_internal.h"
#include "repl_text.h"

/* Part of the protocol between our own daemons: never change it. */
static const char knock_key[] = "memcached:repl_compat:1";

static bool is_enabled(const struct repl *r)
{
	return r->settings->repl_compat;
}

/* ---- lines out ------------------------------------------------------------------ */

static bool put_line(struct repl_conn *c, const struct text_message *m)
{
	struct repl_out *out = &c->out;

	if (!repl_out_prepare(out, 2 * TEXT_LINE_BYTES_MAX))
		return false;
	uint8_t *room = repl_out_room(out, TEXT_LINE_BYTES_MAX);
	repl_out_commit(out, text_encode(room, m));
	return true;
}

/* Lines that are not counted against the bound. Without memory the link cannot
 * go on; that is seen at the end of the turn. */
static void put_control(struct repl *r, const struct text_message *m)
{
	if (!r->send.failed && !put_line(r->link, m))
		r->send.failed = true;
}

bool repl_legacy_put_delete(struct repl *r, const uint8_t *key, size_t key_len)
{
	struct text_message m = {.kind = TEXT_DELETE, .key = key, .key_len = (uint8_t)key_len};

	if (!text_key_fits(key, key_len)) {
		r->counts.not_carried++;
		return true;
	}
	r->counts.tombs_sent++;
	return put_line(r->link, &m);
}

/* It takes no notice of marks, and keeps what has expired until it is read. */
static bool is_gone_for_them(const struct repl *r, const struct item *i)
{
	return (i->bits & ITEM_STALE) || (i->exptime && i->exptime <= now_wall_s(r->now));
}

bool repl_legacy_put_item(struct repl *r, const struct item *i, bool by_reference)
{
	struct repl_out *out = &r->link->out;
	struct repl_block *pinned = NULL;
	struct text_message m = {
		.kind = TEXT_REP,
		.key = item_key(i),
		.key_len = i->key_len,
		.flags = item_flags(i),
		.exptime = i->exptime,
		.value_len = (uint32_t)item_value_len(i),
		.cas = (uint32_t)(i->version >> VERSION_ORIGIN_BITS), /* what differs most */
	};

	if (is_gone_for_them(r, i) || !text_key_fits(m.key, m.key_len))
		return repl_legacy_put_delete(r, m.key, m.key_len);
	/* The end of the line behind a pinned value lies in a block of its own. */
	size_t copied = by_reference ? REPL_BLOCK_BYTES : m.value_len + 4;
	if (!repl_out_prepare(out, 2 * TEXT_LINE_BYTES_MAX + copied))
		return false;
	if (by_reference && !(pinned = repl_out_pin(out, (struct item *)(uintptr_t)i, TEXT_LINE_BYTES_MAX)))
		return false;
	if (pinned) {
		repl_out_append_pinned(out, pinned, text_encode(pinned->data, &m));
	} else {
		repl_out_commit(out, text_encode(repl_out_room(out, TEXT_LINE_BYTES_MAX), &m));
		repl_out_copy_value(out, i);
	}
	memcpy(repl_out_room(out, 2), "\r\n", 2);
	repl_out_commit(out, 2);
	r->counts.items_sent++;
	return true;
}

/* The flush state, as far as the other side has not been told. A delayed flush
 * that fires has been: each side fires by itself. */
void repl_legacy_put_flush(struct repl *r)
{
	struct repl_legacy *l = &r->legacy;
	const struct flush_state *f = items_flush_state(r->items);

	if (r->send.overload)
		return; /* the walk to come begins with it */
	if (f->command > l->flush_command) {
		if (!repl_send_has_room(r, 2 * TEXT_LINE_BYTES_MAX, 0)) {
			repl_send_overload(r, f->command);
			return;
		}
		if (f->barrier > l->flush_barrier)
			put_control(r, &(struct text_message){.kind = TEXT_FLUSH});
		if (f->when_ms) /* not before it is due here */
			put_control(r, &(struct text_message){.kind = TEXT_FLUSH,
							      .exptime = (uint32_t)((f->when_ms + 999) / 1000)});
	}
	l->flush_command = f->command;
	l->flush_barrier = f->barrier;
}

void repl_legacy_walk_done(struct repl *r)
{
	struct repl_legacy *l = &r->legacy;
	uint64_t lacking = r->counts.not_carried - l->not_carried_before;

	if (!l->owes_copy)
		return;
	l->owes_copy = false;
	put_control(r, &(struct text_message){.kind = TEXT_END});
	if (lacking)
		repl_notice(r,
			    "%" PRIu64 " keys have blanks or control characters: "
			    "a link with a repcached cannot carry them",
			    lacking);
}

/* ---- who is it? ------------------------------------------------------------------- */

/* How long we wait to be spoken to. */
static int listen_ms(const struct repl *r)
{
	return r->dial.patient ? REPL_PATIENT_MS : REPL_LISTEN_MS;
}

bool repl_legacy_await(struct repl_conn *c)
{
	struct text_message knock = {.kind = TEXT_DELETE,
				     .key = (const uint8_t *)knock_key,
				     .key_len = sizeof(knock_key) - 1};

	assert(c->state == CONN_ASKING || c->state == CONN_HEARING);
	if (!is_enabled(c->repl))
		return false;
	c->awaits = true;
	c->deadline_ms = c->repl->now->mono_ms + (c->outgoing ? listen_ms(c->repl) : REPL_SILENCE_MS);
	if (!c->outgoing && !put_line(c, &knock))
		repl_conn_close(c, false);
	return true;
}

static void stop_waiting(struct repl_conn *c)
{
	c->awaits = false;
	c->deadline_ms = c->repl->now->mono_ms + REPL_CONNECT_MS;
	if (c->state == CONN_ASKING)
		repl_shake_ask(c);
}

static void log_up(struct repl *r, const struct repl_conn *c)
{
	repl_notice(r, "link with %s (repcached) is up, this node is %s; the peer %s a full copy%s", c->addr,
		    c->outgoing ? "SLAVE" : "MASTER", c->outgoing ? "sends" : "gets",
		    r->legacy.merging ? ", and gets what was written here meanwhile" : "");
}

static void link_up(struct repl_conn *c)
{
	struct repl *r = c->repl;
	struct repl_legacy *l = &r->legacy;
	const struct flush_state *f = items_flush_state(r->items);
	uint64_t cut = c->outgoing ? l->written : 0; /* who connects has nothing */

	c->awaits = false;
	c->speech = SPEECH_TEXT;
	*l = (struct repl_legacy){
		.merging = c->outgoing && !r->self.waiting,
		.owes_copy = !c->outgoing,
		.flushed = cut && f->barrier > cut,
		.written = cut,
		.cut = cut,
		.flush_barrier = cut ? cut : f->barrier,
		.flush_command = cut,
		.not_carried_before = r->counts.not_carried,
	};
	repl_link_take(c);
	repl_leave_peer(r);
	memcpy(r->peer.addr, c->addr, sizeof(r->peer.addr));
	r->lost.former = r->hlc->last;
	log_up(r, c);
	repl_recv_start(r);
	r->recv.walking = c->outgoing;
	repl_send_start(r, cut);
	repl_reconcile(r);
}

void repl_legacy_lost(struct repl *r)
{
	r->legacy.merging = r->legacy.owes_copy = false;
	r->peer.since = hlc_next(r->hlc, r->now->wall_ms); /* no partial walk reaches back beyond it */
	r->lost.former = r->peer.since;
}

bool repl_legacy_timeout(struct repl_conn *c)
{
	struct repl *r = c->repl;

	if (!c->awaits)
		return false;
	if (c->state == CONN_ASKING || c->rx_bytes > 0) {
		stop_waiting(c);
	} else if (r->link) {
		r->counts.links_refused++;
		repl_conn_close(c, false);
	} else if (repl_link_is_near(r)) {
		c->deadline_ms = r->now->mono_ms + REPL_SILENCE_MS; /* wait for what becomes of it */
	} else {
		link_up(c);
	}
	return true;
}

bool repl_legacy_takes(const struct repl_conn *c, uint8_t first)
{
	if (c->speech == SPEECH_TEXT)
		return true;
	/* A knock may come to those who did not ask for it, too. */
	bool may = c->state == CONN_ASKING || (c->state == CONN_HEARING && is_enabled(c->repl));
	return may && c->speech == SPEECH_UNKNOWN && first >= 'a' && first <= 'z';
}

/* ---- what arrives ------------------------------------------------------------------- */

static struct state_order newest(struct repl *r, uint32_t exptime)
{
	return (struct state_order){hlc_next(r->hlc, r->now->wall_ms), 0, exptime};
}

/* [Y2]: the same states as the walk that was begun with this link sends, and
 * what clients do meanwhile. */
static bool held_stays(const struct repl *r, const struct item *held)
{
	const struct repl_legacy *l = &r->legacy;

	if (item_is_tomb(held))
		return held->version > (l->cut ? l->cut : r->send.link_begin);
	return l->cut ? (held->bits & ITEM_OWN) && held->version > l->cut
		      : (held->bits & ITEM_OWN) || held->version <= r->lost.former;
}

static bool gives_way(struct repl *r, const struct key *key)
{
	const struct repl_legacy *l = &r->legacy;

	if (!l->merging)
		return false;
	const struct item *held = items_state(r->items, key);
	if (held ? !held_stays(r, held) : !l->flushed)
		return false;
	r->counts.ignored++;
	if (held)
		repl_send_again(r, held, l->cut ? held->version : 1);
	return true;
}

static void begin_value(struct repl_conn *c, const struct text_message *m)
{
	struct repl *r = c->repl;
	struct repl_in *in = &c->in;

	assert(in->fate == VALUE_NONE && !in->reserved);
	r->counts.items_received++;
	r->recv.walk_items++;
	memcpy(in->key, m->key, m->key_len);
	in->frame = (struct wire_frame){.type = WIRE_ITEM,
					.key = in->key,
					.key_len = m->key_len,
					.order.exptime = m->exptime,
					.flags = m->flags,
					.value_len = m->value_len};
	in->value_got = 0;
	struct key key = items_key(r->items, in->key, m->key_len);
	in->reserved = repl_apply_reserve(r, &in->frame, &key);
	in->fate = in->reserved ? VALUE_FILL : VALUE_LOST;
}

/* [Y3] */
static void end_value(struct repl_conn *c)
{
	struct repl *r = c->repl;
	struct repl_in *in = &c->in;
	struct key key = items_key(r->items, in->key, in->frame.key_len);
	struct item *reserved = in->reserved;

	in->fate = VALUE_NONE;
	in->reserved = NULL;
	if (gives_way(r, &key)) {
		if (reserved)
			items_release(r->items, reserved);
		return;
	}
	struct state_order order = newest(r, in->frame.order.exptime);
	if (reserved) {
		items_install(r->items, reserved, CAUSE_PEER, &order, 0);
		return;
	}
	repl_apply_not_stored(r, in->frame.value_len);
	items_remove(r->items, &key, CAUSE_PEER, &order);
}

static size_t feed_value(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct repl_in *in = &c->in;
	size_t left = in->frame.value_len - in->value_got;
	size_t n = left < len ? left : len;

	if (left > 0) {
		if (in->fate == VALUE_FILL)
			repl_apply_fill(c->repl, in->reserved, in->value_got, data, n);
		in->value_got += n;
		return n;
	}
	n = repl_conn_part_add(in, 2, data, len);
	if (memcmp(in->part, "\r\n", in->part_len) != 0) {
		repl_conn_junk(c, "a value does not end where its line says");
	} else if (in->part_len == 2) {
		in->part_len = 0;
		end_value(c);
	}
	return n;
}

static void apply_delete(struct repl *r, const struct text_message *m)
{
	struct key key = items_key(r->items, m->key, m->key_len);

	r->counts.tombs_received++;
	if (gives_way(r, &key))
		return;
	const struct item *held = items_state(r->items, &key);
	struct state_order order = newest(r, 0);
	if (held && !item_is_tomb(held))
		items_remove(r->items, &key, CAUSE_PEER, &order);
}

static void apply_flush(struct repl *r, const struct text_message *m)
{
	struct flush_state f = {.command = hlc_next(r->hlc, r->now->wall_ms)};

	if (m->exptime > now_wall_s(r->now))
		f.when_ms = (int64_t)m->exptime * 1000;
	else
		f.barrier = f.command;
	items_flush(r->items, &f, CAUSE_PEER);
	r->legacy.flush_command = items_flush_state(r->items)->command; /* it is not sent back */
	r->legacy.flush_barrier = items_flush_state(r->items)->barrier;
}

static void apply(struct repl_conn *c, const struct text_message *m)
{
	struct repl *r = c->repl;

	assert(c == r->link);
	switch (m->kind) {
	case TEXT_REP:
		begin_value(c, m);
		break;
	case TEXT_DELETE:
		apply_delete(r, m);
		break;
	case TEXT_FLUSH:
		apply_flush(r, m);
		break;
	case TEXT_END:
		r->legacy.merging = false;
		repl_apply_synced(r);
		break;
	}
}

static bool is_knock(const struct text_message *m)
{
	return m->kind == TEXT_DELETE && m->key_len == sizeof(knock_key) - 1 &&
	       memcmp(m->key, knock_key, m->key_len) == 0;
}

/* It begins to send its copy, and has got our opening line by now: once more,
 * from the beginning, and with more patience. Nothing has failed: who waits for
 * the first copy goes on waiting. */
static void come_again(struct repl_conn *c)
{
	struct repl *r = c->repl;

	repl_notice(r, "%s is a repcached that was slow to speak: connecting again, to listen for %d ms",
		    c->addr, REPL_PATIENT_MS);
	repl_conn_close(c, false);
	r->dial.patient = true;
	r->dial.retry_ms = r->now->mono_ms;
}

/* The first line on a connection that is not the link yet. False: not the link
 * now. */
static bool meet(struct repl_conn *c, const struct text_message *m)
{
	struct repl *r = c->repl;

	if (c->state == CONN_ASKING && is_knock(m)) {
		c->speech = SPEECH_OWN;
		if (c->awaits)
			stop_waiting(c);
		return false;
	}
	if (!is_enabled(r)) {
		repl_conn_junk(c, "not a line of this protocol");
		return false;
	}
	if (c->state == CONN_ASKING && !c->awaits) { /* [Y1] */
		come_again(c);
		return false;
	}
	for (const struct repl_conn *other = r->conns; other; other = other->next)
		if (other->state == CONN_LINK || other->state == CONN_PROMISED) {
			r->counts.links_refused++;
			repl_conn_close(c, false);
			return false;
		}
	link_up(c);
	return true;
}

static size_t feed_line(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct repl_in *in = &c->in;
	struct text_message m;
	const char *error;
	size_t before = in->part_len, consumed = 0, added = len, line_len = len;
	const uint8_t *line = data;

	if (before > 0) {
		added = repl_conn_part_add(in, TEXT_LINE_BYTES_MAX, data, len);
		line = in->part;
		line_len = in->part_len;
	}
	switch (text_decode(line, line_len, ITEM_BYTES_LIMIT, &m, &consumed, &error)) {
	case TEXT_MORE:
		return before > 0 ? added : repl_conn_part_add(in, TEXT_LINE_BYTES_MAX, data, len);
	case TEXT_BAD:
		repl_conn_junk(c, error);
		return len;
	case TEXT_OK:
		break;
	}
	assert(consumed > before);
	if (c->speech == SPEECH_TEXT || meet(c, &m))
		apply(c, &m);
	in->part_len = 0;
	return consumed - before;
}

size_t repl_legacy_feed(struct repl_conn *c, const uint8_t *data, size_t len)
{
	return c->in.fate != VALUE_NONE ? feed_value(c, data, len) : feed_line(c, data, len);
}
