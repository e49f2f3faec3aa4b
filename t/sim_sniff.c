/*
 * sim_sniff.c - frames in the byte streams of the link.
 *
 * Owns: four readers per wire (each direction, where it leaves and where it
 * arrives), which cut the stream into the opening line and frames with the
 * codec of the production code (repl_wire.h), and tell the oracle. What leaves
 * tells what walks are running; what arrives has an effect that the oracle
 * expects.
 *
 * Must not know: what a frame does to a node.
 *
 * Invariants
 *  [F1] a stream that does not decode is a failure: nobody here sends rubbish
 *  [F2] one MARK, one ACK and one FLUSH at most wait to be sent (P5)
 *
 * Covered by: every run.
 */
#include "compat.h"
#include "sim.h"

#define BODY_BYTES_MAX (64u << 20)

void sniff_release(struct sniff *n)
{
	free(n->data);
	memset(n, 0, sizeof(*n));
}

/* Lines are printable, types of frames are not. */
static bool is_line(const uint8_t *data)
{
	return data[0] >= ' ';
}

/* Bytes of the line or frame at the front of data, 0 if that is not known yet. */
static size_t unit_len(const uint8_t *data, size_t len)
{
	if (len == 0)
		return 0;
	if (is_line(data)) {
		const uint8_t *end = memchr(data, '\n', len);
		return end ? (size_t)(end - data) + 1 : 0;
	}
	if (len < WIRE_FRAME_BYTES)
		return 0;
	return WIRE_FRAME_BYTES + (size_t)load_be32(data + 1);
}

size_t sniff_until_frame_end(const struct sniff *n, const uint8_t *next, size_t len)
{
	uint8_t head[WIRE_LINE_BYTES_MAX];
	size_t have = n->len < sizeof(head) ? n->len : sizeof(head);
	size_t more = len < sizeof(head) - have ? len : sizeof(head) - have;

	if (n->len) /* may be nothing at all, and memcpy wants a pointer */
		memcpy(head, n->data, have);
	memcpy(head + have, next, more);
	size_t unit = unit_len(head, have + more);
	if (unit == 0 || unit <= n->len)
		return len;
	return unit - n->len < len ? unit - n->len : len;
}

void sniff_count_control(const struct sniff *n, const uint8_t *data, size_t len, int counts[WIRE_TYPE_COUNT])
{
	uint8_t head[WIRE_FRAME_BYTES];
	size_t have = n->len < sizeof(head) ? n->len : sizeof(head);
	size_t at = 0;

	if (n->lines == 0 || (have && is_line(n->data)))
		return;
	if (have) { /* a frame that was begun: where does it end? */
		memcpy(head, n->data, have);
		if (len < sizeof(head) - have)
			return;
		memcpy(head + have, data, sizeof(head) - have);
		at = WIRE_FRAME_BYTES + (size_t)load_be32(head + 1) - n->len;
	}
	while (at < len && !is_line(data + at)) {
		if (data[at] < WIRE_TYPE_COUNT)
			counts[data[at]]++;
		if (len - at < WIRE_FRAME_BYTES)
			break;
		at += WIRE_FRAME_BYTES + (size_t)load_be32(data + at + 1);
	}
}

static void cover_walk(struct sim *s, struct wire *w, int side, const struct frame *f)
{
	if (f->type == WIRE_BEGIN) {
		sim_cover(s, f->bits & WIRE_BEGIN_SWEEPS ? COV_walk_sweeping
		             : w->walks[side]            ? COV_walk_overload
		             : f->version                ? COV_walk_reconnect
		                                         : COV_walk_first);
		w->walks[side]++;
		w->walking[side] = true;
	} else if (f->type == WIRE_MARK && (f->bits & WIRE_MARK_SYNCED)) {
		sim_cover(s, COV_mark_synced);
		w->walking[side] = false;
	} else if (f->type == WIRE_TOUCH && w->walking[side]) {
		sim_cover(s, COV_touch_by_walk);
	} else if (f->type == WIRE_ACK && (f->bits & WIRE_ACK_REFUSED)) {
		sim_cover(s, COV_ack_refused);
	}
}

static void say_frame(struct sim *s, const struct wire *w, int side, bool arriving, const struct frame *f)
{
	char key[16] = "";

	if (f->key >= 0)
		snprintf(key, sizeof(key), " k%d", f->key);
	sim_say(s, "     %c%s %s%s v=%" PRIu64 " t=%d e=%u bits=%d%s", 'A' + w->host[arriving ? 1 - side : side],
	        arriving ? "<" : ">", wire_type_name(f->type), key,
	        f->type == WIRE_FLUSH ? f->version : f->order.version, f->order.touches, f->order.exptime,
	        f->bits, w->lost ? " (lost)" : "");
}

/* A link that is lost in its first moments. */
static void age_link(struct sim *s, struct wire *w)
{
	int notice[2];

	if (!s->young_frames || w->generation <= s->young_after || --s->young_frames)
		return;
	for (int i = 0; i < 2; i++)
		notice[i] = (int)prng_below(&s->net, 300);
	sim_say(s, "-- a young link is lost");
	sim_cover(s, COV_drop_young);
	net_drop(s, w, notice);
}

static void one_frame(struct sim *s, struct wire *w, int side, bool arriving, const struct wire_frame *wf,
                      size_t bytes, uint64_t start)
{
	struct frame f = {.type = wf->type, .key = -1, .order = wf->order, .version = wf->order.version,
	                  .bits = wf->bits, .bytes = bytes, .start = start, .event = s->event_count};

	if (wf->key)
		f.key = key_index(wf->key, wf->key_len);
	if (wf->type == WIRE_FLUSH)
		f.version = wf->flush.barrier;
	say_frame(s, w, side, arriving, &f);
	if (arriving) {
		/* the walk is over for the oracle when its end has been read */
		w->synced[side] |= f.type == WIRE_MARK && (f.bits & WIRE_MARK_SYNCED);
		check_frame_in(s, w, side, &f);
		age_link(s, w);
		return;
	}
	sim_cover(s, COV_frame_ITEM + (f.type - WIRE_ITEM));
	cover_walk(s, w, side, &f);
	check_frame_out(s, w, side, &f);
}

static void one_line(struct sim *s, struct wire *w, int side, bool arriving, const uint8_t *data, size_t len)
{
	struct wire_hello hello;
	char reason[WIRE_REASON_BYTES_MAX] = "";
	const char *error = NULL;
	size_t consumed = 0;
	enum wire_line line = wire_line_decode(data, len, &hello, reason, &consumed, &error);

	if (line == WIRE_LINE_BAD || line == WIRE_LINE_MORE)
		sim_fail(s, "WIRE", "%c sent a bad line: %s", 'A' + w->host[side], error ? error : "?");
	else if (line == WIRE_LINE_REFUSED && !arriving)
		check_refusal(s, w, side, reason);
	else if (line == WIRE_LINE_HELLO && arriving)
		check_hello(s, w, side, &hello);
	else if (line == WIRE_LINE_HELLO)
		drops_hello_out(&s->hosts[w->host[side]], &hello);
	if (line == WIRE_LINE_REFUSED)
		sim_say(s, "     %c%s REFUSED %s", 'A' + w->host[arriving ? 1 - side : side], arriving ? "<" : ">",
		        reason);
}

static void sniff_append(struct sniff *n, const uint8_t *data, size_t len)
{
	if (n->len + len > n->capacity) {
		n->capacity = (n->len + len) * 2;
		n->data = realloc(n->data, n->capacity);
		if (!n->data)
			abort();
	}
	memcpy(n->data + n->len, data, len);
	n->len += len;
}

void sniff_bytes(struct sim *s, struct wire *w, int side, bool arriving, const uint8_t *data, size_t len)
{
	struct sniff *n = arriving ? &w->pipe[side].in : &w->pipe[side].out;
	size_t off = 0;

	sniff_append(n, data, len);
	if (!arriving)
		w->pipe[side].taken += len;
	while (off < n->len && !sim_failed(s)) {
		size_t unit = unit_len(n->data + off, n->len - off);
		if (unit == 0 || n->len - off < unit)
			break;
		if (is_line(n->data + off)) {
			n->lines++;
			one_line(s, w, side, arriving, n->data + off, unit);
		} else {
			struct wire_frame f;
			size_t head = 0;
			const char *error = "incomplete";
			if (wire_frame_decode(n->data + off, unit, BODY_BYTES_MAX, &f, &head, &error) != WIRE_OK ||
			    head + f.value_len != unit)
				sim_fail(s, "WIRE", "%c sent a bad frame: %s", 'A' + w->host[side], error);
			else
				one_frame(s, w, side, arriving, &f, unit, w->pipe[side].taken - (n->len - off));
		}
		off += unit;
	}
	memmove(n->data, n->data + off, n->len - off);
	n->len -= off;
}
