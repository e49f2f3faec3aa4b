/*
 * test_proto_bin.c - the binary parser: a table of packets and what becomes of
 * them, each whole, at every split point and byte by byte, in memory of exactly
 * its size; and every header there can be, as far as lengths go, against the
 * shapes that the reference gives.
 */
#include "compat.h"
#include <check.h>
#include "packets.h"
#include "proto_bin.h"

#define KEY_50 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_250 KEY_50 KEY_50 KEY_50 KEY_50 KEY_50
#define EXTRAS_8 "0000000500000007" /* flags 5, exptime 7 */
#define EXTRAS_20 "0000000000000003" "0000000000000009" "00000007"
#define EXTRAS_20_NO "0000000000000003" "0000000000000009" "ffffffff"

static const char *const reply_names[REPLY_STATUS_COUNT] = {
#define X(name, line) [REPLY_##name] = #name,
	REPLIES(X)
#undef X
};
static const char *const command_names[CMD_COUNT + 1] = {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help) [CMD_##id] = #id,
#include "commands.def"
#undef COMMAND
        [CMD_NONE] = "NONE",
};

struct parse_case {
	const char *packet;
	const char *expected;
};

static const struct parse_case cases[] = {
        {"00 k=a", "GETS key=a"},
        {"00 k=a c=5 o=77", "GETS key=a o=77"},
        {"00 k=" KEY_250, "GETS key=" KEY_250},
        {"09 k=a", "GETS key=a quiet"},
        {"0c k=a", "GETS key=a"},
        {"0d k=a", "GETS key=a quiet"},
        {"1c x=00000007 k=a", "GATS key=a exptime=7"},
        {"1d x=ffffffff k=a", "GATS key=a exptime=4294967295"},
        {"1e x=00000007 k=a", "GATS key=a exptime=7 quiet"},
        {"23 x=00000007 k=a", "GATS key=a exptime=7"},
        {"24 x=00000007 k=a", "GATS key=a exptime=7 quiet"},
        {"01 x=" EXTRAS_8 " k=a v=xyz", "SET key=a flags=5 exptime=7 len=3"},
        {"01 x=" EXTRAS_8 " k=a", "SET key=a flags=5 exptime=7 len=0"},
        {"01 x=" EXTRAS_8 " k=a v=xyz c=9", "CAS key=a flags=5 exptime=7 number=9 len=3"},
        {"02 x=" EXTRAS_8 " k=a v=xyz", "ADD key=a flags=5 exptime=7 len=3"},
        {"02 x=" EXTRAS_8 " k=a v=xyz c=9", "CAS key=a flags=5 exptime=7 number=9 len=3"},
        {"03 x=" EXTRAS_8 " k=a v=xyz", "REPLACE key=a flags=5 exptime=7 len=3"},
        {"11 x=" EXTRAS_8 " k=a v=xyz", "SET key=a flags=5 exptime=7 len=3 quiet"},
        {"12 x=" EXTRAS_8 " k=a v=xyz", "ADD key=a flags=5 exptime=7 len=3 quiet"},
        {"13 x=" EXTRAS_8 " k=a v=xyz c=1", "CAS key=a flags=5 exptime=7 number=1 len=3 quiet"},
        {"0e k=a v=x", "APPEND key=a len=1"},
        {"0e k=a v=x c=4", "APPEND key=a compare=4 len=1"},
        {"0f k=a v=x", "PREPEND key=a len=1"},
        {"19 k=a v=x", "APPEND key=a len=1 quiet"},
        {"1a k=a v=x", "PREPEND key=a len=1 quiet"},
        {"04 k=a", "DELETE key=a"},
        {"04 k=a c=3", "DELETE key=a compare=3"},
        {"14 k=a", "DELETE key=a quiet"},
        {"05 x=" EXTRAS_20 " k=a", "INCR key=a number=3 initial=9 exptime=7"},
        {"05 x=" EXTRAS_20 " k=a c=2", "INCR key=a number=3 initial=9 exptime=7 compare=2"},
        {"06 x=" EXTRAS_20_NO " k=a", "DECR key=a number=3"},
        {"15 x=" EXTRAS_20_NO " k=a", "INCR key=a number=3 quiet"},
        {"16 x=" EXTRAS_20 " k=a", "DECR key=a number=3 initial=9 exptime=7 quiet"},
        {"07", "QUIT"},
        {"17", "QUIT quiet"},
        {"08", "FLUSH_ALL"},
        {"08 x=00000000", "FLUSH_ALL exptime=0"},
        {"18 x=0000000a", "FLUSH_ALL exptime=10 quiet"},
        {"0a", "NOOP"},
        {"0b", "VERSION"},
        {"10", "STATS"},
        {"10 k=settings", "STATS words=settings"},
        {"10 k=replication", "STATS words=replication"},
        {"10 k=nonsense", "BAD NOT_FOUND"},
        {"10 k=set", "BAD NOT_FOUND"},
        {"10 k=cachedump", "BAD NOT_FOUND"},
        {"10 k=detail", "BAD NOT_FOUND"},
        {"20", "AUTH 2 mechanism= said="},
        {"21 k=PLAIN v=abc o=3", "AUTH 3 mechanism=PLAIN said=abc o=3"},
        {"21 k=PLAIN", "AUTH 3 mechanism=PLAIN said="},
        {"22 k=PLAIN v=abc", "AUTH 4 mechanism=PLAIN said=abc"},
        {"21 v=abc", "BAD BAD_FORMAT close"},
        {"21 k=PLAIN L=16390", "BAD BAD_FORMAT close"},
        /* unknown: exactly the body is skipped */
        {"1b x=00000001", "BAD UNKNOWN swallow=4"},
        {"30 k=abc v=de", "BAD UNKNOWN swallow=5"},
        {"ff", "BAD UNKNOWN"},
        {"ff L=1073741824", "BAD UNKNOWN swallow=1073741824"},
        /* wrong ones end the conversation */
        {"ff L=1073741825", "BAD BAD_FORMAT close"},
        {"01 x=" EXTRAS_8 " k=a L=1073741825", "BAD BAD_FORMAT close"},
        {"00 k=a K=2", "BAD UNKNOWN close"},
        {"ff k=a K=2", "BAD UNKNOWN close"},
        {"00", "BAD BAD_FORMAT close"},
        {"00 k=a v=b", "BAD BAD_FORMAT close"},
        {"00 x=00000000 k=a", "BAD BAD_FORMAT close"},
        {"00 k=" KEY_250 "k", "BAD BAD_FORMAT close"},
        {"01 k=a v=x", "BAD BAD_FORMAT close"},
        {"01 x=" EXTRAS_8 " v=x", "BAD BAD_FORMAT close"},
        {"05 x=" EXTRAS_8 " k=a", "BAD BAD_FORMAT close"},
        {"0a k=a", "BAD BAD_FORMAT close"},
        {"08 x=00", "BAD BAD_FORMAT close"},
        {"10 v=settings", "BAD BAD_FORMAT close"},
};

struct rendering {
	char text[1024];
	size_t len;
};

static void add(struct rendering *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void add(struct rendering *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(r->text + r->len, sizeof(r->text) - r->len, fmt, args);
	va_end(args);
	r->len += (size_t)n;
	ck_assert_uint_lt(r->len, sizeof(r->text));
}

static void render_command(struct rendering *r, const struct command *cmd)
{
	add(r, "%s", command_names[cmd->id]);
	if (cmd->key.len > 0)
		add(r, " key=%.*s", (int)cmd->key.len, (const char *)cmd->key.data);
	if (cmd->words.at < cmd->words.end)
		add(r, " words=%.*s", (int)(cmd->words.end - cmd->words.at), (const char *)cmd->words.at);
	if (cmd->flags)
		add(r, " flags=%" PRIu32, cmd->flags);
	if (cmd->number && cmd->id != CMD_CAS)
		add(r, " number=%" PRIu64, cmd->number);
	if (cmd->creates)
		add(r, " initial=%" PRIu64, cmd->initial);
	if (cmd->has_exptime || cmd->creates)
		add(r, " exptime=%" PRId64, cmd->exptime);
	if (cmd->number && cmd->id == CMD_CAS)
		add(r, " number=%" PRIu64, cmd->number);
	if (cmd->compare)
		add(r, " compare=%" PRIu64, cmd->compare);
	if (cmd->body_bare)
		add(r, " len=%zu", cmd->value_len);
	ck_assert(cmd->with_cas);
}

static void render(struct rendering *r, const struct parse_result *result, const struct command *cmd)
{
	r->len = 0;
	switch (result->status) {
	case PARSE_OK:
		render_command(r, cmd);
		break;
	case PARSE_AUTH:
		add(r, "AUTH %d mechanism=%.*s said=%.*s", (int)cmd->auth, (int)cmd->key.len, (const char *)cmd->key.data,
		    (int)(cmd->words.end - cmd->words.at), (const char *)cmd->words.at);
		break;
	case PARSE_BAD:
		add(r, "BAD %s", reply_names[result->error]);
		if (result->swallow)
			add(r, " swallow=%zu", result->swallow);
		if (result->close)
			add(r, " close");
		break;
	case PARSE_FATAL:
		add(r, "FATAL");
		return;
	case PARSE_MORE:
		add(r, "MORE");
		return;
	}
	ck_assert_ptr_eq(cmd->format, &proto_bin_format);
	if (result->status == PARSE_OK && cmd->quiet)
		add(r, " quiet");
	if (cmd->opaque)
		add(r, " o=%" PRIu32, cmd->opaque);
}

/* Parse a copy that lies in memory of exactly len bytes. */
static struct parse_result parse_copy(const uint8_t *data, size_t len, struct rendering *r)
{
	uint8_t *copy = malloc(len + !len);
	struct command cmd;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	struct parse_result result = proto_bin_parse(copy, len, &cmd);
	render(r, &result, &cmd);
	ck_assert_uint_le(result.consumed, len);
	free(copy);
	return result;
}

START_TEST(every_packet_in_every_way)
{
	const struct parse_case *c = &cases[_i];
	struct packet_bytes p = {.len = 0};
	struct rendering r;

	packet_make(&p, c->packet);
	struct parse_result result = parse_copy(p.data, p.len, &r);
	ck_assert_str_eq(r.text, c->expected);
	ck_assert_uint_ge(result.consumed, PROTO_BIN_HEADER_BYTES);
	for (size_t n = 0; n < p.len; n++) {
		struct parse_result part = parse_copy(p.data, n, &r);
		if (n < result.consumed) {
			ck_assert_str_eq(r.text, "MORE");
			ck_assert_uint_eq(part.consumed, 0);
			ck_assert_uint_lt(n, PROTO_BIN_HEAD_BYTES_MAX); /* [B2] */
		} else {
			ck_assert_str_eq(r.text, c->expected); /* the value is not waited for */
			ck_assert_uint_eq(part.consumed, result.consumed);
		}
	}
}
END_TEST

START_TEST(only_the_magic_byte_begins_a_packet)
{
	struct rendering r;
	uint8_t header[PROTO_BIN_HEADER_BYTES] = {0};

	for (int magic = 0; magic < 256; magic++) {
		header[0] = (uint8_t)magic;
		header[1] = BIN_NOOP;
		for (size_t len = 1; len <= sizeof(header); len++) {
			parse_copy(header, len, &r);
			ck_assert_str_eq(r.text, magic != PROTO_BIN_REQUEST ? "FATAL" : len < sizeof(header) ? "MORE" : "NOOP");
		}
	}
}
END_TEST

/* Reference 3.2: extras (two may be right), key and value (n no, y must, m may). */
struct shape {
	uint8_t first, last;
	int extras, extras_too;
	char key, value;
};
static const struct shape shapes[] = {
        {0x00, 0x00, 0, 0, 'y', 'n'},  {0x01, 0x03, 8, 8, 'y', 'm'},  {0x04, 0x04, 0, 0, 'y', 'n'},
        {0x05, 0x06, 20, 20, 'y', 'n'}, {0x07, 0x07, 0, 0, 'n', 'n'}, {0x08, 0x08, 0, 4, 'n', 'n'},
        {0x09, 0x09, 0, 0, 'y', 'n'},  {0x0a, 0x0b, 0, 0, 'n', 'n'},  {0x0c, 0x0d, 0, 0, 'y', 'n'},
        {0x0e, 0x0f, 0, 0, 'y', 'm'},  {0x10, 0x10, 0, 0, 'm', 'n'},  {0x11, 0x13, 8, 8, 'y', 'm'},
        {0x14, 0x14, 0, 0, 'y', 'n'},  {0x15, 0x16, 20, 20, 'y', 'n'}, {0x17, 0x17, 0, 0, 'n', 'n'},
        {0x18, 0x18, 0, 4, 'n', 'n'},  {0x19, 0x1a, 0, 0, 'y', 'm'},  {0x1c, 0x1e, 4, 4, 'y', 'n'},
        {0x23, 0x24, 4, 4, 'y', 'n'},
        {0x20, 0x20, 0, 0, 'n', 'n'},  {0x21, 0x22, 0, 0, 'y', 'm'},
};

static const struct shape *shape_of(unsigned opcode)
{
	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		if (opcode >= shapes[i].first && opcode <= shapes[i].last)
			return &shapes[i];
	return NULL;
}

static bool fits(const struct shape *s, size_t extras, size_t key, size_t value)
{
	if ((int)extras != s->extras && (int)extras != s->extras_too)
		return false;
	if (key > 250 || (key > 0 && s->key == 'n') || (key == 0 && s->key == 'y'))
		return false;
	if (s->first == 0x21 && value > PROTO_BIN_AUTH_BYTES_MAX)
		return false;
	return value == 0 || s->value == 'm';
}

static void check_header(unsigned opcode, size_t extras, size_t key, size_t body)
{
	uint8_t header[PROTO_BIN_HEADER_BYTES] = {PROTO_BIN_REQUEST, (uint8_t)opcode};
	const struct shape *shape = shape_of(opcode);
	struct command cmd;

	store_be16(header + 2, (uint16_t)key);
	header[4] = (uint8_t)extras;
	store_be32(header + 8, (uint32_t)body);
	struct parse_result r = proto_bin_parse(header, sizeof(header), &cmd);
	const char *wrong = NULL;
	if (extras + key > body)
		wrong = r.status == PARSE_BAD && r.error == REPLY_UNKNOWN && r.close ? NULL : "body shorter than its parts";
	else if (body > 1u << 30)
		wrong = r.status == PARSE_BAD && r.error == REPLY_BAD_FORMAT && r.close ? NULL : "body too long";
	else if (!shape)
		wrong = r.status == PARSE_BAD && r.error == REPLY_UNKNOWN && !r.close && r.swallow == body ? NULL : "unknown";
	else if (!fits(shape, extras, key, body - extras - key))
		wrong = r.status == PARSE_BAD && r.error == REPLY_BAD_FORMAT && r.close ? NULL : "wrong shape";
	else if (extras + key > 0 || (opcode == BIN_SASL_AUTH && body > 0))
		wrong = r.status == PARSE_MORE ? NULL : "right, but not complete";
	else
		wrong = r.status == (opcode == BIN_SASL_LIST ? PARSE_AUTH : PARSE_OK) ? NULL : "right";
	if (wrong)
		ck_abort_msg("opcode %02x extras %zu key %zu body %zu: %s", opcode, extras, key, body, wrong);
}

START_TEST(every_length_of_every_part)
{
	static const size_t keys[] = {0, 1, 2, 249, 250, 251, 255, 256, 4096, 65535};
	static const size_t more[] = {0, 1, 2, 8, 100, 65536, (1u << 30) - 70000, 1u << 30, UINT32_MAX};

	for (size_t extras = 0; extras < 256; extras++) {
		for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
			size_t parts = extras + keys[k];
			for (size_t m = 0; m < ARRAY_LEN(more); m++)
				check_header((unsigned)_i, extras, keys[k],
				             more[m] < UINT32_MAX - parts ? parts + more[m] : UINT32_MAX);
			if (parts > 0) {
				check_header((unsigned)_i, extras, keys[k], parts - 1);
				check_header((unsigned)_i, extras, keys[k], 0);
			}
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto_bin");
	TCase *tc = tcase_create("parser");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_packet_in_every_way, 0, (int)ARRAY_LEN(cases));
	tcase_add_test(tc, only_the_magic_byte_begins_a_packet);
	tcase_add_loop_test(tc, every_length_of_every_part, 0, 256);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
