/*
 * repl_wire.c - pure codec of the link. See repl_wire.h.
 *
 * Owns: one row per kind of frame (name, length of what comes before the key,
 * whether a key follows, which bits are known), from which decoder and encoder
 * take their lengths; and a strict reader of the opening line: fixed order of
 * fields, no signs, no white space but single blanks. What a later version of
 * this program may append to the line are more " name=value" fields; they are
 * skipped.
 *
 * Must not know: items, connections, what a frame is for.
 *
 * Invariants: [W1] to [W3] of repl_wire.h.
 *
 * Covered by: t/test_repl_wire.c.
 */
#include "compat.h"
#include "repl_wire.h"
#include "util.h"

#define PROOF_WORD "PROOF "

_Static_assert(WIRE_HEAD_BYTES_MAX <= WIRE_LINE_BYTES_MAX, "one buffer serves both");

struct frame_row {
	const char *name;
	uint8_t fixed_len;  /* body bytes before the key */
	bool keyed;         /* a key follows */
	uint8_t known_bits; /* others are malformed */
};

/* By type; row 0 is no frame. */
static const struct frame_row rows[WIRE_TYPE_COUNT] = {
        [WIRE_ITEM] = {"ITEM", WIRE_ITEM_BYTES, true, WIRE_STATE_STALE | WIRE_STATE_BINKEY},
        [WIRE_TOMB] = {"TOMB", 13, true, 0},
        [WIRE_TOUCH] = {"TOUCH", 13, true, 0},
        [WIRE_FLUSH] = {"FLUSH", 24, false, 0},
        [WIRE_BEGIN] = {"BEGIN", 9, false, WIRE_BEGIN_SWEEPS},
        [WIRE_HAVE] = {"HAVE", 9, true, 0},
        [WIRE_SWEEP] = {"SWEEP", 8, false, 0},
        [WIRE_MARK] = {"MARK", 9, false, WIRE_MARK_SYNCED},
        [WIRE_ACK] = {"ACK", 9, false, WIRE_ACK_REFUSED},
};

const char *wire_type_name(enum wire_type type)
{
	return type > 0 && type < WIRE_TYPE_COUNT ? rows[type].name : "?";
}

/* ---- frames ---------------------------------------------------------------- */

/* The length of a body is checked before a byte of it is waited for. */
static const char *check_length(enum wire_type type, uint32_t body_len, size_t body_max)
{
	const struct frame_row *row = &rows[type];

	if (type == WIRE_ITEM)
		return body_len <= row->fixed_len ? "frame too short"
		       : body_len > body_max      ? "frame too long"
		                                  : NULL;
	if (!row->keyed)
		return body_len != row->fixed_len ? "frame of wrong length" : NULL;
	if (body_len <= row->fixed_len || body_len > row->fixed_len + (uint32_t)WIRE_KEY_BYTES_MAX)
		return "frame of wrong length";
	return NULL;
}

static void read_order(const uint8_t *p, struct state_order *out)
{
	out->version = load_be64(p);
	out->touches = p[8];
	out->exptime = load_be32(p + 9);
}

static void read_body(const uint8_t *p, struct wire_frame *f)
{
	switch (f->type) {
	case WIRE_ITEM:
		read_order(p, &f->order);
		f->flags = load_be32(p + 13);
		f->bits = p[17];
		break;
	case WIRE_TOMB:
	case WIRE_TOUCH:
		read_order(p, &f->order);
		break;
	case WIRE_HAVE:
		f->order.version = load_be64(p);
		f->order.touches = p[8];
		break;
	case WIRE_FLUSH:
		f->flush.barrier = load_be64(p);
		f->flush.command = load_be64(p + 8);
		f->flush.when_ms = (int64_t)load_be64(p + 16);
		break;
	case WIRE_SWEEP:
		f->order.version = load_be64(p);
		break;
	case WIRE_BEGIN:
	case WIRE_MARK:
	case WIRE_ACK:
		f->order.version = load_be64(p);
		f->bits = p[8];
		break;
	case WIRE_TYPE_COUNT:
		assert(false);
	}
}

static const char *check_fields(const struct wire_frame *f)
{
	if (f->bits & ~rows[f->type].known_bits)
		return "unknown bits in a frame";
	if (f->order.version > VERSION_MAX || f->flush.barrier > VERSION_MAX || f->flush.command > VERSION_MAX)
		return "version out of range";
	if (rows[f->type].keyed && f->order.version == 0)
		return "state without a version";
	if (f->flush.when_ms < 0)
		return "flush time out of range";
	return NULL;
}

/* A key may hold any byte, but one that is not printed in base64 must not end a
 * word or a line: no client could have given it, and none could read an answer
 * that holds it. */
static const char *check_key(const uint8_t *key, size_t len, uint8_t bits)
{
	if (bits & WIRE_STATE_BINKEY)
		return NULL;
	return memchr(key, ' ', len) || memchr(key, '\n', len) ? "key with a blank that is not marked so" : NULL;
}

enum wire_status wire_frame_decode(const uint8_t *data, size_t len, size_t body_max, struct wire_frame *out,
                                   size_t *consumed, const char **error)
{
	assert(body_max <= UINT32_MAX);
	if (len == 0)
		return WIRE_MORE;
	if (data[0] == 0 || data[0] >= WIRE_TYPE_COUNT) {
		*error = "unknown type of frame";
		return WIRE_BAD;
	}
	if (len < WIRE_FRAME_BYTES)
		return WIRE_MORE;
	enum wire_type type = (enum wire_type)data[0];
	uint32_t body_len = load_be32(data + 1);
	*error = check_length(type, body_len, body_max);
	if (*error)
		return WIRE_BAD;
	const uint8_t *body = data + WIRE_FRAME_BYTES;
	size_t fixed = WIRE_FRAME_BYTES + (size_t)rows[type].fixed_len;
	if (len < fixed)
		return WIRE_MORE;
	*out = (struct wire_frame){.type = type};
	read_body(body, out);
	size_t key_len = body_len - rows[type].fixed_len;
	if (type == WIRE_ITEM) {
		size_t after = key_len; /* key and value */
		key_len = body[WIRE_ITEM_BYTES - 1];
		*error = key_len == 0 || key_len > WIRE_KEY_BYTES_MAX || key_len > after ? "bad key length" : NULL;
		out->value_len = (uint32_t)(after - key_len);
	}
	if (!*error)
		*error = check_fields(out);
	if (*error)
		return WIRE_BAD;
	if (len < fixed + key_len)
		return WIRE_MORE;
	*error = type == WIRE_ITEM ? check_key(data + fixed, key_len, out->bits) : NULL;
	if (*error)
		return WIRE_BAD;
	out->key = key_len ? data + fixed : NULL;
	out->key_len = (uint8_t)key_len;
	*consumed = fixed + key_len;
	assert(*consumed <= WIRE_HEAD_BYTES_MAX); /* [W2] */
	return WIRE_OK;
}

size_t wire_frame_peek(const uint8_t *data, size_t len, const uint8_t **key, size_t *key_len)
{
	if (len < WIRE_FRAME_BYTES + WIRE_ITEM_BYTES || data[0] == 0 || data[0] >= WIRE_TYPE_COUNT)
		return 0;
	const struct frame_row *row = &rows[data[0]];
	size_t body_len = load_be32(data + 1);
	const uint8_t *body = data + WIRE_FRAME_BYTES;
	if (!row->keyed || body_len <= row->fixed_len || body_len > len - WIRE_FRAME_BYTES)
		return 0;
	size_t rest = body_len - row->fixed_len;
	*key_len = data[0] == WIRE_ITEM ? body[WIRE_ITEM_BYTES - 1] : rest;
	*key = body + row->fixed_len;
	return *key_len <= rest && *key_len <= WIRE_KEY_BYTES_MAX ? WIRE_FRAME_BYTES + body_len : 0;
}

static void write_order(uint8_t *p, const struct state_order *o)
{
	store_be64(p, o->version);
	p[8] = o->touches;
	store_be32(p + 9, o->exptime);
}

static void write_body(uint8_t *p, const struct wire_frame *f)
{
	switch (f->type) {
	case WIRE_ITEM:
		write_order(p, &f->order);
		store_be32(p + 13, f->flags);
		p[17] = f->bits;
		p[18] = f->key_len;
		break;
	case WIRE_TOMB:
	case WIRE_TOUCH:
		write_order(p, &f->order);
		break;
	case WIRE_HAVE:
		store_be64(p, f->order.version);
		p[8] = f->order.touches;
		break;
	case WIRE_FLUSH:
		store_be64(p, f->flush.barrier);
		store_be64(p + 8, f->flush.command);
		store_be64(p + 16, (uint64_t)f->flush.when_ms);
		break;
	case WIRE_SWEEP:
		store_be64(p, f->order.version);
		break;
	case WIRE_BEGIN:
	case WIRE_MARK:
	case WIRE_ACK:
		store_be64(p, f->order.version);
		p[8] = f->bits;
		break;
	case WIRE_TYPE_COUNT:
		assert(false);
	}
}

size_t wire_frame_encode(uint8_t *out, const struct wire_frame *f)
{
	const struct frame_row *row = &rows[f->type];

	assert(f->type > 0 && f->type < WIRE_TYPE_COUNT);
	assert(row->keyed ? f->key_len > 0 && f->key_len <= WIRE_KEY_BYTES_MAX : f->key_len == 0);
	out[0] = (uint8_t)f->type;
	store_be32(out + 1, row->fixed_len + (uint32_t)f->key_len + f->value_len);
	write_body(out + WIRE_FRAME_BYTES, f);
	size_t fixed = WIRE_FRAME_BYTES + (size_t)row->fixed_len;
	if (f->key_len)
		memcpy(out + fixed, f->key, f->key_len);
	return fixed + f->key_len;
}

/* ---- the opening line -------------------------------------------------------- */

/* What is left of the line; fields are taken off its front. */
struct fields {
	const char *p;
	size_t len;
};

/* Take off name (with its blank and '=') and the value up to the next blank. */
static bool take_field(struct fields *f, const char *name, struct fields *value)
{
	size_t name_len = strlen(name);

	if (f->len < name_len || memcmp(f->p, name, name_len) != 0)
		return false;
	const char *start = f->p + name_len;
	size_t rest = f->len - name_len;
	const char *blank = memchr(start, ' ', rest);
	value->p = start;
	value->len = blank ? (size_t)(blank - start) : rest;
	f->p = start + value->len;
	f->len = rest - value->len;
	return value->len > 0;
}

static bool take_u64(struct fields *f, const char *name, uint64_t max, uint64_t *out)
{
	struct fields v;
	return take_field(f, name, &v) && parse_u64(v.p, v.len, out) && *out <= max;
}

static bool read_id(const char *p, size_t len, uint64_t *out)
{
	uint8_t raw[8];
	if (!parse_hex(p, len, raw, sizeof(raw)))
		return false;
	*out = load_be64(raw);
	return true;
}

/* seen=<id>:<version> */
static bool take_seen(struct fields *f, struct wire_hello *h)
{
	struct fields v;
	return take_field(f, " seen=", &v) && v.len > 17 && v.p[16] == ':' && read_id(v.p, 16, &h->seen_id) &&
	       parse_u64(v.p + 17, v.len - 17, &h->seen) && h->seen <= VERSION_MAX;
}

static bool take_auth(struct fields *f, struct wire_hello *h)
{
	struct fields v;
	if (!take_field(f, " auth=", &v) || v.len != 4)
		return false;
	h->auth = memcmp(v.p, "hmac", 4) == 0 ? WIRE_AUTH_HMAC : WIRE_AUTH_NONE;
	return h->auth == WIRE_AUTH_HMAC || memcmp(v.p, "none", 4) == 0;
}

static bool read_hello(struct fields f, struct wire_hello *h)
{
	struct fields id, nonce;
	uint64_t origin, wall;

	*h = (struct wire_hello){0};
	if (!take_field(&f, "REPL/1 ", &id) || !read_id(id.p, id.len, &h->node_id) || h->node_id == 0)
		return false;
	if (!take_u64(&f, " origin=", VERSION_ORIGIN_MAX, &origin) || origin == 0 || !take_seen(&f, h))
		return false;
	if (!take_u64(&f, " clock=", VERSION_MAX, &h->clock) || !take_u64(&f, " wall=", INT64_MAX / 2, &wall))
		return false;
	if (!take_u64(&f, " items=", UINT64_MAX, &h->items) ||
	    !take_u64(&f, " maxitem=", UINT64_MAX, &h->maxitem))
		return false;
	h->origin = (uint16_t)origin;
	h->wall_ms = (int64_t)wall;
	return take_auth(&f, h) && take_field(&f, " nonce=", &nonce) &&
	       parse_hex(nonce.p, nonce.len, h->nonce, sizeof(h->nonce)) && (f.len == 0 || f.p[0] == ' ');
}

/* Whether the bytes so far can begin a line of ours. */
static bool starts_like(const uint8_t *data, size_t len, const char *word)
{
	size_t n = strlen(word);
	return memcmp(data, word, len < n ? len : n) == 0;
}

static bool is_printable(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] < ' ' || data[i] > '~')
			return false;
	return true;
}

bool wire_proof_decode(const uint8_t *line, size_t len, uint8_t proof[WIRE_PROOF_BYTES])
{
	size_t word_len = sizeof(PROOF_WORD) - 1;

	return len == word_len + 2 * WIRE_PROOF_BYTES + 1 && line[len - 1] == '\n' &&
	       memcmp(line, PROOF_WORD, word_len) == 0 &&
	       parse_hex((const char *)line + word_len, 2 * WIRE_PROOF_BYTES, proof, WIRE_PROOF_BYTES);
}

enum wire_line wire_line_decode(const uint8_t *data, size_t len, struct wire_hello *hello,
                                char reason[WIRE_REASON_BYTES_MAX], size_t *consumed, const char **error)
{
	if (len == 0)
		return WIRE_LINE_MORE;
	bool refused = starts_like(data, len, "REFUSED "), proof = starts_like(data, len, PROOF_WORD);
	*error = "not a line of this protocol";
	if (!refused && !proof && !starts_like(data, len, "REPL/"))
		return WIRE_LINE_BAD;
	size_t within = len < WIRE_LINE_BYTES_MAX ? len : WIRE_LINE_BYTES_MAX;
	const uint8_t *end = memchr(data, '\n', within);
	size_t line_len = end ? (size_t)(end - data) : within;
	if (!is_printable(data, line_len))
		return WIRE_LINE_BAD;
	*error = "line too long";
	if (!end)
		return len < WIRE_LINE_BYTES_MAX ? WIRE_LINE_MORE : WIRE_LINE_BAD;
	*consumed = line_len + 1;
	if (refused) {
		int text_len = line_len > 8 ? (int)(line_len - 8) : 0;
		snprintf(reason, WIRE_REASON_BYTES_MAX, "%.*s", text_len, (const char *)data + 8);
		return WIRE_LINE_REFUSED;
	}
	*error = "malformed proof";
	if (proof) {
		uint8_t bytes[WIRE_PROOF_BYTES];
		return wire_proof_decode(data, line_len + 1, bytes) ? WIRE_LINE_PROOF : WIRE_LINE_BAD;
	}
	*error = "another version of the link's protocol";
	if (!starts_like(data, line_len, "REPL/1 "))
		return WIRE_LINE_BAD;
	*error = "malformed opening line";
	return read_hello((struct fields){(const char *)data, line_len}, hello) ? WIRE_LINE_HELLO : WIRE_LINE_BAD;
}

size_t wire_hello_encode(uint8_t *out, const struct wire_hello *h)
{
	char nonce[2 * WIRE_NONCE_BYTES];

	assert(h->node_id != 0 && h->origin != 0 && h->origin <= VERSION_ORIGIN_MAX);
	format_hex(nonce, h->nonce, sizeof(h->nonce));
	int len = snprintf((char *)out, WIRE_LINE_BYTES_MAX,
	                   "REPL/1 %016" PRIx64 " origin=%u seen=%016" PRIx64 ":%" PRIu64 " clock=%" PRIu64
	                   " wall=%" PRId64 " items=%" PRIu64 " maxitem=%" PRIu64 " auth=%s nonce=%.*s\n",
	                   h->node_id, h->origin, h->seen_id, h->seen, h->clock, h->wall_ms, h->items, h->maxitem,
	                   h->auth == WIRE_AUTH_HMAC ? "hmac" : "none", (int)sizeof(nonce), nonce);
	assert(len > 0 && len < WIRE_LINE_BYTES_MAX);
	return (size_t)len;
}

size_t wire_refusal_encode(uint8_t *out, const char *reason)
{
	assert(*reason && !strchr(reason, '\n'));
	int len = snprintf((char *)out, WIRE_LINE_BYTES_MAX, "REFUSED %.*s\n", WIRE_REASON_BYTES_MAX - 1, reason);
	assert(len > 0 && len < WIRE_LINE_BYTES_MAX);
	return (size_t)len;
}

size_t wire_proof_encode(uint8_t *out, const uint8_t proof[WIRE_PROOF_BYTES])
{
	char hex[2 * WIRE_PROOF_BYTES];

	format_hex(hex, proof, WIRE_PROOF_BYTES);
	int len = snprintf((char *)out, WIRE_LINE_BYTES_MAX, PROOF_WORD "%.*s\n", (int)sizeof(hex), hex);
	assert(len > 0 && len < WIRE_LINE_BYTES_MAX);
	return (size_t)len;
}
