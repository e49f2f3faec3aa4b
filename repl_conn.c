/*
 * repl_conn.c - the bytes of one connection on the link port.
 *
 * Owns: cutting chunks of input into lines and frames, whatever the chunking;
 * the pieces of a value on their way into an item; input that is held while
 * applying is held up; closing.
 *
 *     chunk -> held? -> [part] -> line  -> repl_shake.c (text: repl_legacy.c)
 *                         |----> frame -> repl_apply.c
 *                         +----> value bytes, straight from the chunk
 *
 * Must not know: what a line or a frame means.
 *
 * Invariants
 *  [K1] `part` holds an unfinished line or head, never more than one
 *  [K2] nothing is applied of input that came after an error
 *  [K3] a connection is freed by repl_tick only
 *
 * Covered by: t/test_replication.c.
 */
#include "compat.h"
#include "repl_internal.h"

/* ---- opening and closing ---------------------------------------------------------- */

static bool is_open(const struct repl_conn *c)
{
	return c->state < CONN_CLOSING;
}

void repl_conn_free(struct repl_conn *c)
{
	assert(c->in.fate == VALUE_NONE && !c->in.reserved);
	repl_out_release(&c->out);
	buf_release(&c->in.held);
	free(c);
}

void repl_conn_close(struct repl_conn *c, bool keep_output)
{
	if (!is_open(c))
		return;
	assert(c != c->repl->link); /* repl_link_lost() comes first */
	repl_apply_drop_value(c);
	buf_release(&c->in.held);
	c->in.part_len = 0;
	if (!keep_output)
		repl_out_release(&c->out);
	if (c->state == CONN_PROMISED)
		repl_shake_broken(c->repl);
	c->state = CONN_CLOSING;
	c->deadline_ms = c->repl->now->mono_ms + REPL_CLOSE_MS;
}

void repl_conn_junk(struct repl_conn *c, const char *error)
{
	struct repl *r = c->repl;
	uint64_t held_back;
	bool outgoing = c->outgoing, is_link = c == r->link;

	r->counts.links_malformed++;
	if (is_link) {
		char reason[WIRE_REASON_BYTES_MAX];
		snprintf(reason, sizeof(reason), "malformed: %s", error);
		repl_link_lost(r, reason);
		return;
	}
	repl_conn_close(c, false);
	if (outgoing) {
		repl_dial_failed(r, error);
	} else if (log_limit_pass(&r->logs.junk, r->now, &held_back)) {
		repl_notice(r, "closed %s: %s (%" PRIu64 " more since the last message)", c->addr, error,
			    held_back);
		repl_event(r, error, "event=malformed peer=%s", c->addr);
	}
}

/* Whether two connections come from one host: their addresses up to the port. */
static bool same_host(const struct repl_conn *a, const struct repl_conn *b)
{
	const char *end_a = strrchr(a->addr, ':'), *end_b = strrchr(b->addr, ':');
	size_t len_a = end_a ? (size_t)(end_a - a->addr) : strlen(a->addr);
	size_t len_b = end_b ? (size_t)(end_b - b->addr) : strlen(b->addr);

	return len_a == len_b && memcmp(a->addr, b->addr, len_a) == 0;
}

/* How gladly a connection is given up for a new one; 0: it is not. Of one host
 * with many those go first, then those that have said least. */
static int expendable(const struct repl *r, const struct repl_conn *c)
{
	int of_host = 0;

	if (c->state != CONN_HEARING && c->state != CONN_PROVING && c->state != CONN_DEFERRED)
		return 0;
	for (const struct repl_conn *other = r->conns; other; other = other->next)
		of_host += is_open(other) && same_host(c, other);
	return 3 * of_host + (c->state == CONN_HEARING ? 2 : c->state == CONN_PROVING ? 1 : 0);
}

/* The port is for one peer. Many connections that say nothing, or nothing true,
 * must not keep it out: the oldest of them goes, and that of the host with the
 * most before others. */
static bool make_place(struct repl *r)
{
	struct repl_conn *victim = NULL;
	int open = 0, most = 1;

	for (struct repl_conn *c = r->conns; c; c = c->next) {
		int value = expendable(r, c);
		open += is_open(c);
		if (value >= most) { /* the last of equals is the oldest */
			victim = c;
			most = value;
		}
	}
	if (open < REPL_CONNS_MAX)
		return true;
	if (victim)
		repl_conn_close(victim, false);
	return victim != NULL;
}

struct repl_conn *repl_conn_open(struct repl *r, bool outgoing, const char *peer)
{
	if (outgoing) {
		r->dial.connecting = false;
		r->dial.retry_ms = r->now->mono_ms + r->dial.backoff_ms;
	}
	if (r->self.stopping || (outgoing ? repl_link_is_near(r) : !repl_listens(r)) || !make_place(r))
		return NULL;
	struct repl_conn *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->repl = r;
	c->outgoing = outgoing;
	c->state = outgoing ? CONN_ASKING : CONN_HEARING;
	snprintf(c->addr, sizeof(c->addr), "%s", peer ? peer : "?");
	c->rx_ms = r->now->mono_ms;
	c->deadline_ms = r->now->mono_ms + REPL_CONNECT_MS;
	repl_out_init(&c->out, r->items);
	buf_init(&c->in.held, REPL_HELD_BYTES_MAX);
	c->next = r->conns;
	r->conns = c;
	if (!repl_legacy_await(c) && outgoing)
		repl_shake_ask(c);
	return c;
}

void repl_conn_closed(struct repl_conn *c, const char *reason)
{
	struct repl *r = c->repl;
	bool asking = c->state == CONN_ASKING;

	assert(c->state != CONN_GONE);
	if (c == r->link)
		repl_link_lost(r, reason);
	else
		repl_conn_close(c, false);
	repl_out_release(&c->out);
	c->state = CONN_GONE; /* [K3] */
	if (asking)
		repl_dial_failed(r, reason);
}

bool repl_conn_closing(const struct repl_conn *c)
{
	return !is_open(c);
}

/* ---- output ---------------------------------------------------------------------------- */

int repl_conn_output(struct repl_conn *c, struct iovec *iov, int iov_max)
{
	return repl_out_iov(&c->out, iov, iov_max);
}

void repl_conn_sent(struct repl_conn *c, size_t len)
{
	repl_out_sent(&c->out, len);
	c->repl->counts.bytes_sent += len;
}

/* ---- input ------------------------------------------------------------------------------ */

size_t repl_conn_part_add(struct repl_in *in, size_t size, const uint8_t *data, size_t len)
{
	size_t n = size - in->part_len < len ? size - in->part_len : len;

	assert(in->part_len < size && size <= sizeof(in->part));
	memcpy(in->part + in->part_len, data, n);
	in->part_len += n;
	return n;
}

/* The opening line. Returns how much of data was used. */
static size_t feed_line(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct repl_in *in = &c->in;
	char reason[WIRE_REASON_BYTES_MAX];
	const char *error;
	struct wire_hello hello;
	size_t before = in->part_len, consumed = 0;
	size_t added = repl_conn_part_add(in, WIRE_LINE_BYTES_MAX, data, len);
	enum wire_line line = wire_line_decode(in->part, in->part_len, &hello, reason, &consumed, &error);

	if (line == WIRE_LINE_MORE)
		return added;
	in->part_len = 0;
	if (line == WIRE_LINE_PROOF) {
		repl_shake_proof(c, in->part, consumed);
		return consumed - before;
	}
	if (line == WIRE_LINE_HELLO) {
		c->hello = hello;
		repl_auth_said(&c->auth, c->outgoing ? AUTH_LISTENING : AUTH_CONNECTING, in->part, consumed);
	}
	repl_shake_line(c, line, line == WIRE_LINE_BAD ? error : reason);
	return consumed > before ? consumed - before : added;
}

/* A promised connection proves itself by its first frame. */
static bool is_link_now(struct repl_conn *c, const struct wire_frame *f)
{
	if (c->state == CONN_LINK)
		return true;
	assert(c->state == CONN_PROMISED);
	if (f->type != WIRE_BEGIN) {
		repl_conn_junk(c, "the first frame is not BEGIN");
		return false;
	}
	repl_link_up(c);
	return true;
}

/* One head, perhaps put together in `part`, and the value bytes at hand. */
static size_t feed_head(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct repl_in *in = &c->in;
	struct wire_frame f;
	const char *error;
	size_t before = in->part_len, consumed = 0, added = len;
	const uint8_t *head = data;
	size_t head_len = len;

	if (before > 0) {
		added = repl_conn_part_add(in, WIRE_HEAD_BYTES_MAX, data, len);
		head = in->part;
		head_len = in->part_len;
	}
	size_t body_max = c->state == CONN_LINK ? in->body_max : WIRE_HEAD_BYTES_MAX;
	switch (wire_frame_decode(head, head_len, body_max, &f, &consumed, &error)) {
	case WIRE_MORE:
		return before > 0 ? added : repl_conn_part_add(in, WIRE_HEAD_BYTES_MAX, data, len);
	case WIRE_BAD:
		repl_conn_junk(c, error);
		return len;
	case WIRE_OK:
		break;
	}
	assert(consumed > before);
	size_t used = consumed - before;
	if (is_link_now(c, &f))
		used += repl_apply_frame(c, &f, data + used, len - used);
	in->part_len = 0;
	return used;
}

static size_t feed_value(struct repl_conn *c, const uint8_t *data, size_t len)
{
	size_t left = c->in.frame.value_len - c->in.value_got;
	size_t n = left < len ? left : len;

	repl_apply_value(c, data, n);
	return n;
}

/* An answered connection sends frames, or a line if it refuses our answer. */
static bool expects_line(const struct repl_conn *c, const uint8_t *data)
{
	if (c->state == CONN_PROMISED)
		return (c->in.part_len ? c->in.part[0] : data[0]) == 'R';
	return c->state == CONN_HEARING || c->state == CONN_PROVING || c->state == CONN_ASKING;
}

/* A state that arrives meets a place of the index, and perhaps an item, that
 * nobody has looked at for long. They are fetched while those before it are applied:
 * the index's bucket AHEAD_BUCKETS frames early, the item AHEAD_ITEMS frames early. */
#define AHEAD_BUCKETS 8
#define AHEAD_ITEMS 4

struct ahead {
	const uint8_t *at; /* the next frame to look at; NULL: none was */
	unsigned count;    /* frames between the one applied and that one */
	unsigned next;     /* place in hashes of the next one */
	uint64_t hashes[AHEAD_BUCKETS];
};

/* One frame, the first one at data, will be applied now. */
static void look_ahead(const struct items *it, struct ahead *a, const uint8_t *data, const uint8_t *end)
{
	const uint8_t *key;
	size_t key_len, n;

	if (!a->at || a->count == 0) {
		a->at = data;
		a->count = 0;
	}
	while (a->count < AHEAD_BUCKETS && (n = wire_frame_peek(a->at, (size_t)(end - a->at), &key, &key_len))) {
		uint64_t hash = items_key(it, key, key_len).hash;
		items_prefetch(it, hash);
		if (a->count >= AHEAD_ITEMS)
			items_prefetch_item(it, a->hashes[(a->next - AHEAD_ITEMS) % AHEAD_BUCKETS]);
		a->hashes[a->next++ % AHEAD_BUCKETS] = hash;
		a->count++;
		a->at += n;
	}
	if (a->count > 0)
		a->count--;
}

static void feed(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct ahead ahead = {0};
	const uint8_t *end = data + len;

	while (len > 0 && is_open(c)) { /* [K2] */
		size_t n;
		if (c == c->repl->link && repl_recv_is_held(c->repl)) {
			if (!buf_append(&c->in.held, data, len))
				repl_link_lost(c->repl, "out of memory");
			return;
		}
		if (c->state == CONN_DEFERRED) {
			repl_conn_junk(c, "input before the answer");
			return;
		}
		if (repl_legacy_takes(c, c->in.part_len ? c->in.part[0] : data[0])) {
			n = repl_legacy_feed(c, data, len);
		} else if (expects_line(c, data)) {
			n = feed_line(c, data, len);
		} else if (c->in.fate != VALUE_NONE) {
			n = feed_value(c, data, len);
		} else {
			if (c->in.part_len == 0)
				look_ahead(c->repl->items, &ahead, data, end);
			n = feed_head(c, data, len);
		}
		assert(n > 0 && n <= len);
		data += n;
		len -= n;
	}
}

void repl_conn_input(struct repl_conn *c, const uint8_t *data, size_t len)
{
	struct repl *r = c->repl;

	if (!is_open(c) || len == 0)
		return;
	c->rx_bytes += len;
	c->rx_ms = r->now->mono_ms;
	r->counts.bytes_received += len;
	if (buf_len(&c->in.held) > 0) {
		if (!buf_append(&c->in.held, data, len))
			repl_link_lost(r, "out of memory");
		return;
	}
	feed(c, data, len);
}

void repl_conn_resume(struct repl_conn *c)
{
	struct buf held = c->in.held;

	assert(c == c->repl->link && !repl_recv_is_held(c->repl));
	c->rx_ms = c->repl->now->mono_ms; /* it was this node that was silent */
	buf_init(&c->in.held, REPL_HELD_BYTES_MAX);
	if (buf_len(&held) > 0)
		feed(c, buf_head(&held), buf_len(&held));
	buf_release(&held);
}

bool repl_conn_wants_read(const struct repl_conn *c)
{
	return is_open(c) && !(c == c->repl->link && repl_recv_is_held(c->repl)) && buf_len(&c->in.held) == 0;
}
