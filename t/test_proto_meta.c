/*
 * test_proto_meta.c - lines of the meta protocol and what becomes of them: flags,
 * their errors in the order in which they are noticed, keys in base64. Every
 * line is parsed whole, at every split point and byte by byte, in memory of
 * exactly its size; the result must be the same. The answers are in
 * t/test_command_meta.c.
 */
#include "compat.h"
#include <check.h>
#include "proto_meta.h"
#include "proto_text.h"
#include "util.h"

#define K50 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_250 K50 K50 K50 K50 K50
#define KEY_251 KEY_250 "k"
#define O31 "O1234567890123456789012345678901"

static const char *const reply_names[REPLY_STATUS_COUNT] = {
#define X(name, line) [REPLY_##name] = #name,
	REPLIES(X)
#undef X
};

struct parse_case {
	const char *line;
	const char *expected; /* what render() makes of it */
};

static const struct parse_case cases[] = {
        /* shape */
        {"mg a\r\n", "mg a"},
        {"mg a\n", "mg a"},
        {"mg  a  v   k \r\n", "mg a vk"},
        {"mg\r\n", "BAD BAD_FORMAT"},
        {"mg \r\n", "BAD BAD_FORMAT"},
        {"ms a\r\n", "BAD BAD_FORMAT"},
        {"ms a \r\n", "BAD BAD_FORMAT"},
        {"md\r\n", "BAD BAD_FORMAT"},
        {"ma\r\n", "BAD BAD_FORMAT"},
        {"me\r\n", "BAD BAD_FORMAT"},
        {" mg a\r\n", "BAD UNKNOWN"},
        {"mgx a\r\n", "BAD UNKNOWN"},
        {"MG a\r\n", "BAD UNKNOWN"},
        {"mg\ta\r\n", "BAD UNKNOWN"},
        {"ms a 5 T10 F7 c\r\n", "ms a TFc len=5 exptime=10 flags=7"},
        {"ms a 0\r\n", "ms a len=0"},
        {"ms a 007\r\n", "ms a len=7"},
        {"ms a -0\r\n", "ms a len=0"},
        {"ms a 2147483645\r\n", "ms a len=2147483645"},
        {"ms a 2147483646\r\n", "BAD BAD_FORMAT"},
        {"ms a -1\r\n", "BAD BAD_FORMAT"},
        {"ms a +1\r\n", "BAD BAD_FORMAT"},
        {"ms a S5\r\n", "BAD BAD_FORMAT"},
        {"ms a c 5\r\n", "BAD BAD_FORMAT"},
        {"mg a -v\r\n", "BAD BAD_FORMAT"},
        {"mg a v {\r\n", "BAD BAD_FORMAT"},
        {"mg a v \xc3\xa9\r\n", "BAD BAD_FORMAT"},
        {"mg a \tv\r\n", "BAD BAD_FORMAT"},
        {"ms a 5 /\r\n", "BAD BAD_FORMAT"},
        {"ma a -\r\n", "BAD BAD_FORMAT"},
        {"me a ~\r\n", "BAD BAD_FORMAT"},
        {"mg " KEY_250 "\r\n", "mg " KEY_250},
        {"mg " KEY_251 "\r\n", "BAD BAD_FORMAT"},
        {"mg " KEY_251 " z z\r\n", "BAD BAD_FORMAT"},
        {"ms " KEY_251 " 5 z\r\n", "BAD BAD_FORMAT swallow=7"},
        {"ma " KEY_251 "\r\n", "BAD META_ANY"},
        {"me " KEY_251 "\r\n", "BAD BAD_FORMAT"},
        /* too many, twice, unknown: in this order */
        {"mg a b c f h k l q s t u v x P L C1 E1 F1 I\r\n", "BAD META_KEY"},
        {"mg aaaa b c f h k l q s t u v x P L C1 E1 F1 I\r\n",
         "mg i\\xa6\\x9a bcfhklqstuvxPLCEFI quiet base64 flags=1 compare=1 cas=1"},
        {"mg aaaa b c f h k l q s t u v x P L C1 E1 F1 I I\r\n", "BAD META_WORDS"},
        {"ms aaaa 5 c f h k l q s t u v x P L C1 E1 F1 T1\r\n",
         "ms aaaa cfhklqstuvxPLCEFT quiet len=5 exptime=1 flags=1 compare=1 cas=1"},
        {"ms aaaa 5 b c f h k l q s t u v x P L C1 E1 F1 I\r\n", "BAD META_WORDS swallow=7"},
        {"mg a z z z z z z z z z z z z z z z z z z z\r\n", "BAD META_WORDS"},
        {"mg a z z z z z z z z z z z z z z z z z z z -\r\n", "BAD BAD_FORMAT"},
        {"mg a z z z z z z z z z z z z z z z z z z z z z z -\r\n", "BAD META_WORDS"},
        {"mg a Tx z v v\r\n", "BAD META_DUPLICATE"},
        {"mg a 5 5\r\n", "BAD META_DUPLICATE"},
        {"mg a T1 T2\r\n", "BAD META_DUPLICATE"},
        {"mg a Tx z\r\n", "BAD META_INVALID"},
        {"mg a 5\r\n", "BAD META_INVALID"},
        {"mg a S\r\n", "BAD META_INVALID"},
        {"mg a noreply\r\n", "BAD META_INVALID"},
        {"mg a [\r\n", "BAD META_INVALID"},
        {"mg a ?\r\n", "BAD META_INVALID"},
        {"ms a 5 z\r\n", "BAD META_INVALID swallow=7"},
        {"ms a 5 q z\r\n", "BAD META_INVALID swallow=7"},
        {"ma a v v\r\n", "BAD META_ANY"},
        {"ma a z\r\n", "BAD META_ANY"},
        {"ma a z z z z z z z z z z z z z z z z z z z\r\n", "BAD META_ANY"},
        /* arguments */
        {"mg a T-2147483648\r\n", "mg a T exptime=-2147483648"},
        {"mg a T2147483648\r\n", "BAD META_TOKEN"},
        {"mg a T\r\n", "BAD META_TOKEN"},
        {"mg a T+1\r\n", "BAD META_TOKEN"},
        {"mg a T1x\r\n", "BAD META_TOKEN"},
        {"mg a N30 R-1\r\n", "mg a NR vivify=30 recache=-1"},
        {"mg a N\r\n", "BAD META_TOKEN"},
        {"mg a Rx\r\n", "BAD META_TOKEN"},
        {"mg a C18446744073709551615 E0\r\n", "mg a CE compare=18446744073709551615"},
        {"mg a C18446744073709551616\r\n", "BAD META_TOKEN"},
        {"mg a C\r\n", "BAD META_TOKEN"},
        {"mg a E-1\r\n", "BAD META_TOKEN"},
        {"ms a 1 F4294967295\r\n", "ms a F len=1 flags=4294967295"},
        {"ms a 1 F4294967296\r\n", "BAD BAD_FORMAT swallow=3"},
        {"ms a 1 F-1\r\n", "BAD BAD_FORMAT swallow=3"},
        {"ms a 1 F\r\n", "BAD BAD_FORMAT swallow=3"},
        {"ma a D5 J18446744073709551615\r\n", "ma a DJ number=5 initial=18446744073709551615"},
        {"ma a\r\n", "ma a"},
        {"ma a D0\r\n", "ma a D number=0"},
        {"mg a Dx\r\n", "BAD META_DELTA"},
        {"mg a J\r\n", "BAD META_INITIAL"},
        {"mg a Dx Jx\r\n", "BAD META_DELTA"},
        {"mg a Jx Dx\r\n", "BAD META_INITIAL"},
        {"ma a Dx\r\n", "BAD META_ANY"},
        {"mg a vjunk Pany Lthing\r\n", "mg a vPL"},
        {"mg a " O31 "\r\n", "mg a O opaque=31"},
        {"mg a O\r\n", "mg a O"},
        {"mg a " O31 "x\r\n", "BAD META_OPAQUE"},
        {"ma a " O31 "x\r\n", "BAD META_OPAQUE"},
        {"ms a 1 " O31 "x\r\n", "BAD META_OPAQUE swallow=3"},
        {"mg !!! b " O31 "x\r\n", "BAD META_KEY"},
        {"mg !!! b Tx\r\n", "BAD META_TOKEN"},
        {"ms a 1 ME\r\n", "ms a M len=1 mode=E"},
        {"ms a 1 Mxyz\r\n", "BAD META_SET_MODE swallow=3"},
        {"ms a 1 M\r\n", "BAD META_SET_MODE swallow=3"},
        {"ms a 1 Me\r\n", "BAD META_SET_MODE swallow=3"},
        {"ms a 1 MZ " O31 "x\r\n", "BAD META_OPAQUE swallow=3"},
        {"ma a M+\r\n", "ma a M mode=+"},
        {"ma a M-\r\n", "ma a M mode=-"},
        {"ma a Md\r\n", "BAD META_COUNT_MODE"},
        {"ma a ME\r\n", "BAD META_COUNT_MODE"},
        {"mg a MZ\r\n", "mg a M mode=Z"},
        {"mg a q\r\n", "mg a q quiet"},
        /* base64 */
        {"mg Zm9v b\r\n", "mg foo b base64"},
        {"mg Zm9v k b v\r\n", "mg foo kbv base64"},
        {"mg Zm8= b\r\n", "mg fo b base64"},
        {"mg Zg== b\r\n", "mg f b base64"},
        {"mg AP8g b\r\n", "mg \\x00\\xff\\x20 b base64"},
        {"mg Zm!9v!! b\r\n", "mg foo b base64"},
        {"mg Zm9 b\r\n", "BAD META_KEY"},
        {"mg ==== b\r\n", "BAD META_KEY"},
        {"mg Z=== b\r\n", "BAD META_KEY"},
        {"mg Zm=v b\r\n", "BAD META_KEY"},
        {"mg Zg==Zg== b\r\n", "BAD META_KEY"},
        {"mg ! b\r\n", "BAD META_KEY"},
        {"ms Zm9 1 b\r\n", "BAD META_KEY swallow=3"},
        {"ma Zm9 b\r\n", "BAD META_ANY"},
        {"me Zm9v b\r\n", "me foo base64"},
        {"me Zm9v v b z z\r\n", "me foo base64"},
        {"me Zm9v v\r\n", "me Zm9v"},
        {"me Zm9 b\r\n", "BAD META_KEY"},
};

/* ---- rendering -------------------------------------------------------------- */

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

static void add_number(struct rendering *r, const struct command *cmd, char letter, const char *name, int64_t v)
{
	if (meta_given(cmd, letter))
		add(r, " %s=%" PRId64, name, v);
}

static void render_command(struct rendering *r, const struct command *cmd)
{
	static const char *const words[] = {"mg", "ms", "md", "ma", "me"};
	const struct meta *meta = &cmd->meta;

	ck_assert(command_is_meta(cmd));
	add(r, "%s ", words[cmd->id - CMD_META_GET]);
	for (uint32_t i = 0; i < cmd->key.len; i++)
		add(r, cmd->key.data[i] > ' ' && cmd->key.data[i] <= '~' ? "%c" : "\\x%02x", cmd->key.data[i]);
	for (size_t i = 0; i < meta->letter_count; i++)
		add(r, i ? "%c" : " %c", meta->letters[i]);
	add(r, "%s%s", cmd->quiet ? " quiet" : "", cmd->marks & ITEM_BINKEY ? " base64" : "");
	if (cmd->id == CMD_META_SET)
		add(r, " len=%zu", cmd->value_len);
	add_number(r, cmd, 'T', "exptime", cmd->exptime);
	add_number(r, cmd, 'F', "flags", cmd->flags);
	add_number(r, cmd, 'N', "vivify", meta->vivify_ttl);
	add_number(r, cmd, 'R', "recache", meta->recache_ttl);
	add_number(r, cmd, 'D', "number", (int64_t)cmd->number);
	if (cmd->initial)
		add(r, " initial=%" PRIu64, cmd->initial);
	if (cmd->compare)
		add(r, " compare=%" PRIu64, cmd->compare);
	if (meta->cas)
		add(r, " cas=%" PRIu64, meta->cas);
	if (meta->mode)
		add(r, " mode=%c", meta->mode);
	if (meta->opaque_len)
		add(r, " opaque=%d", meta->opaque_len);
}

static void render(struct rendering *r, const struct parse_result *result, const struct command *cmd)
{
	r->len = 0;
	if (result->status == PARSE_OK) {
		render_command(r, cmd);
	} else {
		ck_assert_int_eq(result->status, PARSE_BAD);
		add(r, "BAD %s", reply_names[result->error]);
		if (result->swallow)
			add(r, " swallow=%zu", result->swallow);
	}
	bool unknown = result->status == PARSE_BAD && result->error == REPLY_UNKNOWN;
	ck_assert_ptr_eq(cmd->format, unknown ? &proto_text_format : &proto_meta_format);
}

/* Parse a line that arrives in pieces: `first` bytes, then `step` each. */
static void parse_pieces(const char *line, size_t first, size_t step, struct rendering *out)
{
	size_t len = strlen(line);
	struct proto_text state = {0};
	struct command cmd;
	struct parse_result result = {.status = PARSE_MORE};

	memset(&cmd, 0xa5, sizeof(cmd));
	for (size_t n = first; result.status == PARSE_MORE; n += step) {
		n = n < len ? n : len;
		uint8_t *copy = malloc(n);
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, line, n);
		result = proto_text_parse(&state, copy, n, &cmd);
		ck_assert(result.status == PARSE_MORE ? n < len : result.consumed == len);
		if (result.status != PARSE_MORE)
			render(out, &result, &cmd);
		free(copy);
	}
}

START_TEST(every_line_in_every_way)
{
	const struct parse_case *c = &cases[_i];
	struct rendering got = {.len = 0};
	size_t len = strlen(c->line);

	parse_pieces(c->line, len, 1, &got);
	ck_assert_msg(strcmp(got.text, c->expected) == 0, "%sgot      %s\nexpected %s", c->line, got.text, c->expected);
	parse_pieces(c->line, 1, 1, &got);
	ck_assert_str_eq(got.text, c->expected);
	for (size_t split = 1; split < len; split++) {
		parse_pieces(c->line, split, len, &got);
		ck_assert_str_eq(got.text, c->expected);
	}
}
END_TEST

/* A command that is kept brings what its answer shows, and no pointer into the
 * line. */
START_TEST(kept_beyond_its_line)
{
	char line[] = "ms Zm9v 5 b k O123 c\r\n";
	struct proto_text state = {0};
	struct command cmd, kept;

	struct parse_result result = proto_text_parse(&state, (const uint8_t *)line, strlen(line), &cmd);
	ck_assert_int_eq(result.status, PARSE_OK);
	command_keep(&kept, &cmd);
	memset(line, 'x', sizeof(line));
	memset(&cmd, 'x', sizeof(cmd));
	ck_assert_uint_eq(kept.key.len, 3);
	ck_assert_mem_eq(kept.key.data, "foo", 3);
	ck_assert_ptr_eq(kept.key.data, kept.key_room);
	ck_assert_mem_eq(kept.meta.opaque, "123", 3);
	ck_assert_mem_eq(kept.meta.letters, "bkOc", 4);
}
END_TEST

/* Whatever is encoded is decoded to the same. */
START_TEST(base64_there_and_back)
{
	struct prng p = {.state = 7};

	for (size_t len = 1; len <= KEY_BYTES_MAX; len++) {
		uint8_t data[KEY_BYTES_MAX], back[BASE64_BYTES(KEY_BYTES_MAX)];
		char text[BASE64_BYTES(KEY_BYTES_MAX)];
		size_t back_len = 0;
		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)prng_next(&p);
		size_t text_len = format_base64(text, data, len);
		ck_assert_uint_eq(text_len, BASE64_BYTES(len));
		ck_assert(parse_base64(text, text_len, back, &back_len));
		ck_assert_uint_eq(back_len, len);
		ck_assert_mem_eq(back, data, len);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto_meta");
	TCase *tc = tcase_create("parser");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_line_in_every_way, 0, (int)ARRAY_LEN(cases));
	tcase_add_test(tc, kept_beyond_its_line);
	tcase_add_test(tc, base64_there_and_back);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
