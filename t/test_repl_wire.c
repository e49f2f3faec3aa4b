/*
 * test_repl_wire.c - the codec of the link: opening lines and frames.
 *
 * Tables of frames and lines, each decoded whole, cut at every point, and byte
 * by byte; malformed variants; encode(decode(x)) is x; a seeded run of random
 * and damaged bytes, which must never be asked for more than a head.
 */
#include "compat.h"
#include <check.h>
#include "repl_wire.h"
#include "util.h"

#define BODY_MAX 4096

/* ---- frames --------------------------------------------------------------------- */

static const uint8_t key250[WIRE_KEY_BYTES_MAX] = {'k', 0, '\n', 255};

static const struct wire_frame frames[] = {
        {.type = WIRE_ITEM,
         .bits = WIRE_STATE_STALE | WIRE_STATE_BINKEY,
         .key_len = 3,
         .key = (const uint8_t *)"abc",
         .order = {0x0123456789abcdef, 7, 1700000000},
         .flags = 0xdeadbeef,
         .value_len = 100},
        {.type = WIRE_ITEM, .key_len = 1, .key = (const uint8_t *)"x", .order = {1, 0, 0}},
        {.type = WIRE_ITEM, .bits = WIRE_STATE_BINKEY, .key_len = 250, .key = key250, .order = {VERSION_MAX, 255, UINT32_MAX}, .value_len = 3000},
        {.type = WIRE_TOMB, .key_len = 5, .key = (const uint8_t *)"tomb!", .order = {99, 1, 1}},
        {.type = WIRE_TOMB, .key_len = 250, .key = key250, .order = {99, 1, 1}},
        {.type = WIRE_TOUCH, .key_len = 2, .key = (const uint8_t *)"tt", .order = {12345, 3, 4}},
        {.type = WIRE_FLUSH, .flush = {11, 22, 1700000000000}},
        {.type = WIRE_BEGIN, .order.version = 5, .bits = WIRE_BEGIN_SWEEPS},
        {.type = WIRE_BEGIN, .order.version = 0},
        {.type = WIRE_HAVE, .key_len = 1, .key = (const uint8_t *)"h", .order = {77, 9, 0}},
        {.type = WIRE_SWEEP, .order.version = 4711},
        {.type = WIRE_MARK, .order.version = 8, .bits = WIRE_MARK_SYNCED},
        {.type = WIRE_MARK, .order.version = 0},
        {.type = WIRE_ACK, .order.version = 8, .bits = WIRE_ACK_REFUSED},
};

static void same_frame(const struct wire_frame *a, const struct wire_frame *b)
{
	ck_assert_int_eq(a->type, b->type);
	ck_assert_uint_eq(a->bits, b->bits);
	ck_assert_uint_eq(a->key_len, b->key_len);
	if (a->key_len)
		ck_assert_mem_eq(a->key, b->key, a->key_len);
	ck_assert_uint_eq(a->order.version, b->order.version);
	ck_assert_uint_eq(a->order.touches, b->order.touches);
	ck_assert_uint_eq(a->order.exptime, b->order.exptime);
	ck_assert_uint_eq(a->flags, b->flags);
	ck_assert_uint_eq(a->value_len, b->value_len);
	ck_assert_mem_eq(&a->flush, &b->flush, sizeof(a->flush));
}

static enum wire_status decode(const uint8_t *data, size_t len, struct wire_frame *f, size_t *consumed)
{
	const char *error = NULL;
	/* An exact copy on the heap, so that reading past len is seen. */
	uint8_t *copy = malloc(len ? len : 1);
	static uint8_t keys[4][WIRE_KEY_BYTES_MAX];
	static int turn;

	memcpy(copy, data, len);
	enum wire_status status = wire_frame_decode(copy, len, BODY_MAX, f, consumed, &error);
	ck_assert(status != WIRE_BAD || error);
	if (status == WIRE_OK && f->key) {
		uint8_t *kept = keys[turn++ & 3];
		memcpy(kept, f->key, f->key_len);
		f->key = kept;
	}
	free(copy);
	return status;
}

START_TEST(frame_round_trip)
{
	const struct wire_frame *f = &frames[_i];
	uint8_t out[WIRE_HEAD_BYTES_MAX + 16], again[WIRE_HEAD_BYTES_MAX];
	struct wire_frame got;
	size_t consumed = 0, len = wire_frame_encode(out, f);

	ck_assert_uint_le(len, WIRE_HEAD_BYTES_MAX);
	ck_assert_int_eq(decode(out, len, &got, &consumed), WIRE_OK);
	ck_assert_uint_eq(consumed, len);
	same_frame(f, &got);
	ck_assert_uint_eq(wire_frame_encode(again, &got), len);
	ck_assert_mem_eq(out, again, len);
	/* What follows is not looked at. */
	memset(out + len, 0xff, 16);
	ck_assert_int_eq(decode(out, len + 16, &got, &consumed), WIRE_OK);
	ck_assert_uint_eq(consumed, len);
}
END_TEST

/* A look ahead sees the key of a frame that is all there, and of no other. */
START_TEST(frame_peek)
{
	const struct wire_frame *f = &frames[_i];
	size_t whole = WIRE_HEAD_BYTES_MAX + f->value_len, key_len = 0;
	uint8_t *out = calloc(1, whole);
	const uint8_t *key = NULL;
	size_t len = wire_frame_encode(out, f) + f->value_len;

	ck_assert_uint_eq(wire_frame_peek(out, whole, &key, &key_len), f->key ? len : 0);
	if (f->key) {
		ck_assert_uint_eq(key_len, f->key_len);
		ck_assert_mem_eq(key, f->key, key_len);
	}
	for (size_t cut = 0; cut < len; cut += 1 + cut / 64)
		ck_assert_uint_eq(wire_frame_peek(out, cut, &key, &key_len), 0);
	free(out);
}
END_TEST

START_TEST(frame_cut_anywhere)
{
	uint8_t out[WIRE_HEAD_BYTES_MAX];
	struct wire_frame got;
	size_t consumed, len = wire_frame_encode(out, &frames[_i]);

	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(decode(out, cut, &got, &consumed), WIRE_MORE);
}
END_TEST

/* Every single damaged byte: never a crash, never more than a head, and what is
 * accepted is well formed. */
START_TEST(frame_damaged)
{
	uint8_t out[WIRE_HEAD_BYTES_MAX];
	struct wire_frame got;
	size_t consumed, len = wire_frame_encode(out, &frames[_i]);

	for (size_t at = 0; at < len; at++)
		for (int v = 0; v < 256; v++) {
			uint8_t saved = out[at];
			out[at] = (uint8_t)v;
			if (decode(out, len, &got, &consumed) == WIRE_OK) {
				uint8_t again[WIRE_HEAD_BYTES_MAX];
				ck_assert_uint_eq(wire_frame_encode(again, &got), consumed);
				ck_assert_mem_eq(again, out, consumed);
				ck_assert_uint_le(got.order.version, VERSION_MAX);
			}
			out[at] = saved;
		}
}
END_TEST

/* A frame by type and body length, zero bytes in the body. */
static enum wire_status sized(int type, uint32_t body_len, const char **error)
{
	static uint8_t data[WIRE_HEAD_BYTES_MAX];
	struct wire_frame got;
	size_t consumed;

	memset(data, 1, sizeof(data));
	data[0] = (uint8_t)type;
	store_be32(data + 1, body_len);
	return wire_frame_decode(data, sizeof(data), BODY_MAX, &got, &consumed, error);
}

START_TEST(frame_lengths)
{
	static const struct {
		int type;
		uint32_t least, most;
	} rows[] = {
	        {WIRE_TOMB, 14, 263}, {WIRE_TOUCH, 14, 263}, {WIRE_HAVE, 10, 259}, {WIRE_SWEEP, 8, 8},
	        {WIRE_BEGIN, 9, 9},   {WIRE_MARK, 9, 9},     {WIRE_ACK, 9, 9},     {WIRE_FLUSH, 24, 24},
	};
	const char *error;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		ck_assert_int_eq(sized(rows[i].type, rows[i].least - 1, &error), WIRE_BAD);
		ck_assert_int_ne(sized(rows[i].type, rows[i].least, &error), WIRE_BAD);
		ck_assert_int_ne(sized(rows[i].type, rows[i].most, &error), WIRE_BAD);
		ck_assert_int_eq(sized(rows[i].type, rows[i].most + 1, &error), WIRE_BAD);
		ck_assert_int_eq(sized(rows[i].type, UINT32_MAX, &error), WIRE_BAD);
		ck_assert_int_eq(sized(rows[i].type, 0, &error), WIRE_BAD);
	}
	ck_assert_int_eq(sized(WIRE_ITEM, WIRE_ITEM_BYTES, &error), WIRE_BAD);
	ck_assert_int_eq(sized(WIRE_ITEM, BODY_MAX, &error), WIRE_OK);
	ck_assert_int_eq(sized(WIRE_ITEM, BODY_MAX + 1, &error), WIRE_BAD);
	ck_assert_str_eq(error, "frame too long");
	ck_assert_int_eq(sized(0, 8, &error), WIRE_BAD);
	ck_assert_int_eq(sized(WIRE_TYPE_COUNT, 8, &error), WIRE_BAD);
	ck_assert_int_eq(sized(255, 8, &error), WIRE_BAD);
}
END_TEST

/* A length above the cap is refused by the five bytes that say it. */
START_TEST(frame_cap_is_early)
{
	const uint8_t head[] = {WIRE_ITEM, 0x40, 0, 0, 0};
	struct wire_frame got;
	size_t consumed;
	const char *error;

	ck_assert_int_eq(wire_frame_decode(head, 5, BODY_MAX, &got, &consumed, &error), WIRE_BAD);
	ck_assert_int_eq(wire_frame_decode(head, 5, 1u << 30, &got, &consumed, &error), WIRE_MORE);
}
END_TEST

START_TEST(frame_random)
{
	struct prng p = {0x1234 + (uint64_t)_i};
	uint8_t data[600];

	for (int round = 0; round < 20000; round++) {
		size_t len = prng_below(&p, sizeof(data)), consumed = 0;
		struct wire_frame got;
		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)prng_next(&p);
		if (len > 4 && prng_below(&p, 4)) { /* mostly plausible */
			data[0] = (uint8_t)(1 + prng_below(&p, WIRE_TYPE_COUNT - 1));
			store_be32(data + 1, (uint32_t)prng_below(&p, 300));
		}
		enum wire_status status = decode(data, len, &got, &consumed);
		if (status == WIRE_OK)
			ck_assert_uint_le(consumed, len);
		if (status == WIRE_MORE)
			ck_assert_uint_lt(len, WIRE_HEAD_BYTES_MAX);
	}
}
END_TEST

START_TEST(frame_names)
{
	ck_assert_str_eq(wire_type_name(WIRE_ITEM), "ITEM");
	ck_assert_str_eq(wire_type_name(WIRE_ACK), "ACK");
	ck_assert_str_eq(wire_type_name((enum wire_type)0), "?");
	ck_assert_str_eq(wire_type_name(WIRE_TYPE_COUNT), "?");
}
END_TEST

/* ---- lines ------------------------------------------------------------------------ */

#define GOOD_LINE                                                                                      \
	"REPL/1 00112233445566ff origin=7 seen=0000000000000001:99 clock=1234 wall=1700000000000 "     \
	"items=3 maxitem=1048576 auth=none nonce=000102030405060708090a0b0c0d0e0f"

static enum wire_line line_of(const char *text, size_t len, struct wire_hello *h, char *reason, size_t *consumed)
{
	const char *error = NULL;
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, text, len);
	enum wire_line line = wire_line_decode(copy, len, h, reason, consumed, &error);
	ck_assert(line != WIRE_LINE_BAD || error);
	free(copy);
	return line;
}

START_TEST(hello_round_trip)
{
	struct wire_hello h, got;
	char reason[WIRE_REASON_BYTES_MAX];
	uint8_t out[WIRE_LINE_BYTES_MAX];
	size_t consumed = 0, len = strlen(GOOD_LINE "\n");

	ck_assert_int_eq(line_of(GOOD_LINE "\n", len, &h, reason, &consumed), WIRE_LINE_HELLO);
	ck_assert_uint_eq(consumed, len);
	ck_assert_uint_eq(h.node_id, 0x00112233445566ff);
	ck_assert_uint_eq(h.origin, 7);
	ck_assert_uint_eq(h.seen_id, 1);
	ck_assert_uint_eq(h.seen, 99);
	ck_assert_uint_eq(h.clock, 1234);
	ck_assert_int_eq(h.wall_ms, 1700000000000);
	ck_assert_uint_eq(h.items, 3);
	ck_assert_uint_eq(h.maxitem, 1048576);
	ck_assert_int_eq(h.auth, WIRE_AUTH_NONE);
	ck_assert_uint_eq(h.nonce[15], 15);
	ck_assert_uint_eq(wire_hello_encode(out, &h), len);
	ck_assert_mem_eq(out, GOOD_LINE "\n", len);
	ck_assert_int_eq(line_of((char *)out, len, &got, reason, &consumed), WIRE_LINE_HELLO);
	ck_assert_mem_eq(&h, &got, sizeof(h));
	/* the longest one fits */
	h.seen = h.clock = VERSION_MAX;
	h.wall_ms = INT64_MAX / 2;
	h.items = h.maxitem = UINT64_MAX;
	h.origin = VERSION_ORIGIN_MAX;
	h.auth = WIRE_AUTH_HMAC;
	len = wire_hello_encode(out, &h);
	ck_assert_int_eq(line_of((char *)out, len, &got, reason, &consumed), WIRE_LINE_HELLO);
	ck_assert_mem_eq(&h, &got, sizeof(h));
}
END_TEST

START_TEST(hello_cut_anywhere)
{
	struct wire_hello h;
	char reason[WIRE_REASON_BYTES_MAX];
	size_t consumed;

	for (size_t cut = 0; cut <= strlen(GOOD_LINE); cut++)
		ck_assert_int_eq(line_of(GOOD_LINE, cut, &h, reason, &consumed), WIRE_LINE_MORE);
	/* bytes behind the line are not part of it */
	ck_assert_int_eq(line_of(GOOD_LINE "\nrest", strlen(GOOD_LINE) + 5, &h, reason, &consumed), WIRE_LINE_HELLO);
	ck_assert_uint_eq(consumed, strlen(GOOD_LINE) + 1);
	/* fields of later versions are skipped */
	ck_assert_int_eq(line_of(GOOD_LINE " more=1\n", strlen(GOOD_LINE) + 8, &h, reason, &consumed), WIRE_LINE_HELLO);
}
END_TEST

/* Any byte may be in a key, but one that can end a word only where it is said. */
START_TEST(frame_keys)
{
	static const char *const keys[] = {"a b", "a\nb", " ", "\n", "a\r", "\t", "a\001b", "\377"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct wire_frame f = {.type = WIRE_ITEM, .order.version = 1}, got;
		uint8_t out[WIRE_HEAD_BYTES_MAX];
		size_t consumed;
		f.key = (const uint8_t *)keys[i];
		f.key_len = (uint8_t)strlen(keys[i]);
		bool ends_word = strpbrk(keys[i], " \n");
		size_t len = wire_frame_encode(out, &f);
		ck_assert_int_eq(decode(out, len, &got, &consumed), ends_word ? WIRE_BAD : WIRE_OK);
		f.bits = WIRE_STATE_BINKEY;
		len = wire_frame_encode(out, &f);
		ck_assert_int_eq(decode(out, len, &got, &consumed), WIRE_OK);
		f.bits = 0;
		f.type = WIRE_TOMB;
		len = wire_frame_encode(out, &f);
		ck_assert_int_eq(decode(out, len, &got, &consumed), WIRE_OK);
	}
}
END_TEST

START_TEST(proof_round_trip)
{
	uint8_t proof[WIRE_PROOF_BYTES], got[WIRE_PROOF_BYTES], line[WIRE_LINE_BYTES_MAX];
	struct wire_hello h;
	char reason[WIRE_REASON_BYTES_MAX];
	size_t consumed = 0;

	for (size_t i = 0; i < sizeof(proof); i++)
		proof[i] = (uint8_t)(7 * i);
	size_t len = wire_proof_encode(line, proof);
	ck_assert_uint_eq(len, 6 + 64 + 1);
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(line_of((char *)line, cut, &h, reason, &consumed), WIRE_LINE_MORE);
	ck_assert_int_eq(line_of((char *)line, len, &h, reason, &consumed), WIRE_LINE_PROOF);
	ck_assert_uint_eq(consumed, len);
	ck_assert(wire_proof_decode(line, len, got));
	ck_assert_mem_eq(got, proof, sizeof(proof));
	line[len - 1] = '0'; /* one digit more, one less, none, no digit */
	line[len] = '\n';
	ck_assert_int_eq(line_of((char *)line, len + 1, &h, reason, &consumed), WIRE_LINE_BAD);
	line[len - 2] = '\n';
	ck_assert_int_eq(line_of((char *)line, len - 1, &h, reason, &consumed), WIRE_LINE_BAD);
	ck_assert_int_eq(line_of("PROOF \n", 7, &h, reason, &consumed), WIRE_LINE_BAD);
	wire_proof_encode(line, proof);
	line[10] = 'g';
	ck_assert_int_eq(line_of((char *)line, len, &h, reason, &consumed), WIRE_LINE_BAD);
	ck_assert(!wire_proof_decode(line, len, got));
}
END_TEST

static const char *const bad_lines[] = {
        "\n",
        "REPL\n",
        "REPL/\n",
        "REPL/1\n",
        "REPL/1 \n",
        "REPL/2 00112233445566ff origin=7\n",
        "GET / HTTP/1.1\r\n",
        "get key\r\n",
        "version\r\n",
        "set k 0 0 1\r\n",
        "stats replication\n",
        "REFUSEDx\n",
        "PROOFx\n",
        "PROVE\n",
        "REPL/1 0000000000000000 origin=7 seen=0000000000000001:99 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=0 seen=0000000000000001:99 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=4096 seen=0000000000000001:99 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566f origin=7 seen=0000000000000001:99 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=7 seen=0000000000000001 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=7 seen=0000000000000001:9223372036854775808 clock=1 wall=1 items=3 maxitem=1 "
        "auth=none nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=7 seen=0000000000000001:9 clock=-1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=7 seen=0000000000000001:9 clock=1 wall=1 items=3 maxitem=1 auth=some "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=7 seen=0000000000000001:9 clock=1 wall=1 items=3 maxitem=1 auth=none nonce=00\n",
        "REPL/1 00112233445566ff origin=7 seen=0000000000000001:9 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f,\n",
        "REPL/1 00112233445566ff  origin=7 seen=0000000000000001:9 clock=1 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
        "REPL/1 00112233445566ff origin=7 clock=1 seen=0000000000000001:9 wall=1 items=3 maxitem=1 auth=none "
        "nonce=000102030405060708090a0b0c0d0e0f\n",
};

START_TEST(line_bad)
{
	struct wire_hello h;
	char reason[WIRE_REASON_BYTES_MAX];
	const char *text = bad_lines[_i];
	size_t consumed, len = strlen(text);
	bool bad = false;

	ck_assert_int_eq(line_of(text, len, &h, reason, &consumed), WIRE_LINE_BAD);
	/* byte by byte: bad sooner or later, and bad for good */
	for (size_t cut = 0; cut <= len; cut++) {
		enum wire_line line = line_of(text, cut, &h, reason, &consumed);
		ck_assert(line == WIRE_LINE_BAD || (!bad && line == WIRE_LINE_MORE));
		bad = line == WIRE_LINE_BAD;
	}
}
END_TEST

START_TEST(line_too_long)
{
	struct wire_hello h;
	char reason[WIRE_REASON_BYTES_MAX], text[2 * WIRE_LINE_BYTES_MAX];
	size_t consumed;

	memset(text, 'x', sizeof(text));
	memcpy(text, "REPL/1 ", 7);
	ck_assert_int_eq(line_of(text, WIRE_LINE_BYTES_MAX - 1, &h, reason, &consumed), WIRE_LINE_MORE);
	ck_assert_int_eq(line_of(text, WIRE_LINE_BYTES_MAX, &h, reason, &consumed), WIRE_LINE_BAD);
	text[WIRE_LINE_BYTES_MAX + 5] = '\n';
	ck_assert_int_eq(line_of(text, sizeof(text), &h, reason, &consumed), WIRE_LINE_BAD);
}
END_TEST

START_TEST(refusal)
{
	struct wire_hello h;
	char reason[WIRE_REASON_BYTES_MAX], long_reason[2 * WIRE_REASON_BYTES_MAX];
	uint8_t out[WIRE_LINE_BYTES_MAX];
	size_t consumed, len = wire_refusal_encode(out, "this node has a peer");

	ck_assert_mem_eq(out, "REFUSED this node has a peer\n", len);
	ck_assert_int_eq(line_of((char *)out, len, &h, reason, &consumed), WIRE_LINE_REFUSED);
	ck_assert_str_eq(reason, "this node has a peer");
	ck_assert_uint_eq(consumed, len);
	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(line_of((char *)out, cut, &h, reason, &consumed), WIRE_LINE_MORE);
	ck_assert_int_eq(line_of("REFUSED a\tb\n", 12, &h, reason, &consumed), WIRE_LINE_BAD);
	memset(long_reason, 'r', sizeof(long_reason) - 1);
	long_reason[sizeof(long_reason) - 1] = '\0';
	len = wire_refusal_encode(out, long_reason);
	ck_assert_int_eq(line_of((char *)out, len, &h, reason, &consumed), WIRE_LINE_REFUSED);
	ck_assert_uint_lt(strlen(reason), WIRE_REASON_BYTES_MAX);
}
END_TEST

START_TEST(line_random)
{
	struct prng p = {0x9876 + (uint64_t)_i};
	struct wire_hello h;
	char reason[WIRE_REASON_BYTES_MAX], text[700];

	for (int round = 0; round < 5000; round++) {
		size_t len = prng_below(&p, sizeof(text)), consumed = 0;
		for (size_t i = 0; i < len; i++)
			text[i] = (char)prng_next(&p);
		size_t good = len < strlen(GOOD_LINE "\n") ? len : strlen(GOOD_LINE "\n");
		if (prng_below(&p, 2)) {
			memcpy(text, GOOD_LINE "\n", good);
			if (good)
				text[prng_below(&p, good)] = (char)prng_next(&p);
		}
		enum wire_line line = line_of(text, len, &h, reason, &consumed);
		if (line == WIRE_LINE_HELLO || line == WIRE_LINE_REFUSED)
			ck_assert_uint_le(consumed, len);
		if (line == WIRE_LINE_MORE)
			ck_assert_uint_lt(len, WIRE_LINE_BYTES_MAX);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("repl_wire");
	TCase *f = tcase_create("frames"), *l = tcase_create("lines");

	tcase_add_loop_test(f, frame_round_trip, 0, (int)ARRAY_LEN(frames));
	tcase_add_loop_test(f, frame_peek, 0, (int)ARRAY_LEN(frames));
	tcase_add_loop_test(f, frame_cut_anywhere, 0, (int)ARRAY_LEN(frames));
	tcase_add_loop_test(f, frame_damaged, 0, (int)ARRAY_LEN(frames));
	tcase_add_test(f, frame_lengths);
	tcase_add_test(f, frame_cap_is_early);
	tcase_add_loop_test(f, frame_random, 0, 4);
	tcase_add_test(f, frame_names);
	tcase_add_test(f, frame_keys);
	tcase_add_test(l, hello_round_trip);
	tcase_add_test(l, proof_round_trip);
	tcase_add_test(l, hello_cut_anywhere);
	tcase_add_loop_test(l, line_bad, 0, (int)ARRAY_LEN(bad_lines));
	tcase_add_test(l, line_too_long);
	tcase_add_test(l, refusal);
	tcase_add_loop_test(l, line_random, 0, 4);
	suite_add_tcase(suite, f);
	suite_add_tcase(suite, l);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
