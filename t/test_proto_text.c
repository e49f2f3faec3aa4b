/*
 * test_proto_text.c - the text parser: one table of lines and what becomes of
 * them. Every line is parsed whole, at every split point, and byte by byte, in
 * memory of exactly its size; the result must be the same.
 */
#include "compat.h"
#include <check.h>
#include "proto_text.h"

#define KEY_250                                                                                  \
	"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"                                     \
	"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"                                     \
	"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"                                     \
	"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"                                     \
	"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_251 KEY_250 "k"

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
	const char *line;
	const char *expected; /* what render() makes of it */
};

static const struct parse_case cases[] = {
        /* framing, reference 1.1 */
        {"\n", "BAD BAD_FORMAT"},
        {"\r\n", "BAD BAD_FORMAT"},
        {" \n", "BAD BAD_FORMAT"},
        {"a\r\n", "BAD BAD_FORMAT"},
        {"mn\n", "BAD BAD_FORMAT"},
        {"mn\r\n", "NOOP"},
        {"mn \n", "NOOP"},
        {"  \r\n", "BAD UNKNOWN"},
        {"bogus\r\n", "BAD UNKNOWN"},
        {"bogus noreply\r\n", "BAD UNKNOWN quiet"},
        {"noreply\r\n", "BAD UNKNOWN quiet"},
        {"bogus noreply x\r\n", "BAD UNKNOWN"},
        {"GET a\r\n", "BAD UNKNOWN"},
        {"getx a\r\n", "BAD UNKNOWN"},
        {"ge a\r\n", "BAD UNKNOWN"},
        {"get\ta\r\n", "BAD UNKNOWN"},
        {"GET / HTTP/1.1\r\n", "FATAL"},
        {"foo HTTP/\r\n", "FATAL"},
        {"HTTP/1.1 200\r\n", "BAD UNKNOWN"},
        {"HTTP/1.1\r\n", "BAD UNKNOWN"},
        {" get a\r\n", "BAD UNKNOWN"},
        {" set k 0 0 1\r\n", "BAD UNKNOWN"},
        {" version\r\n", "BAD UNKNOWN"},
        {"  flush_all\r\n", "FLUSH_ALL"},
        {" verbosity 1\r\n", "VERBOSITY words=1 number=1"},
        {" shutdown\r\n", "SHUTDOWN"},
        /* retrieval, 1.4 */
        {"get a\r\n", "GET key=a"},
        {"get a\n", "GET key=a"},
        {"get a\r\r\n", "GET key=a\\r"},
        {"get a\rb\r\n", "GET key=a\\rb"},
        {"get  a  b \r\n", "GET key=a words=b"},
        {"gets a b c\r\n", "GETS key=a words=b,c with_cas"},
        {"get noreply\r\n", "GET key=noreply"},
        {"get a noreply\r\n", "GET key=a words=noreply"},
        {"get\r\n", "BAD BAD_FORMAT"},
        {"get\n", "BAD BAD_FORMAT"},
        {"get \r\n", "BAD BAD_FORMAT"},
        {"gets     \r\n", "BAD BAD_FORMAT"},
        {"get " KEY_250 "\r\n", "GET key=" KEY_250},
        {"get " KEY_251 "\r\n", "BAD BAD_FORMAT"},
        {"get a " KEY_250 " b\r\n", "GET key=a words=" KEY_250 ",b"},
        {"get a " KEY_251 " b\r\n", "BAD BAD_FORMAT"},
        {"get " KEY_250 " " KEY_250 " " KEY_251 "\r\n", "BAD BAD_FORMAT"},
        {"get " KEY_250 " " KEY_250 "   " KEY_250 "\r\n", "GET key=" KEY_250 " words=" KEY_250 "," KEY_250},
        {"gat 10 a b\r\n", "GAT key=a words=b exptime=10"},
        {"gats -1 a\r\n", "GATS key=a exptime=-1 with_cas"},
        {"gat\r\n", "BAD BAD_FORMAT"},
        {"gat 10\r\n", "BAD BAD_FORMAT"},
        {"gat x a\r\n", "BAD BAD_EXPTIME"},
        {"gat +1 a\r\n", "BAD BAD_EXPTIME"},
        {"gat 2147483648 a\r\n", "BAD BAD_EXPTIME"},
        {"gat 10 " KEY_251 "\r\n", "BAD BAD_FORMAT"},
        {"gat x " KEY_251 "\r\n", "BAD BAD_EXPTIME"},
        /* storage, 1.5 */
        {"set k 1 2 3\r\n", "SET key=k flags=1 exptime=2 len=3"},
        {"set k 1 2 3\n", "SET key=k flags=1 exptime=2 len=3"},
        {"set  k  1  2  3 \r\n", "SET key=k flags=1 exptime=2 len=3"},
        {"set k 1 2 3 noreply\r\n", "SET key=k flags=1 exptime=2 len=3 quiet"},
        {"set k 1 2 3 noreply junk\r\n", "SET key=k flags=1 exptime=2 len=3"},
        {"set k 1 2 3 junk\r\n", "SET key=k flags=1 exptime=2 len=3"},
        {"add k 0 0 0\r\n", "ADD key=k exptime=0 len=0"},
        {"replace k 0 0 -0\r\n", "REPLACE key=k exptime=0 len=0"},
        {"append k 0 0 007\r\n", "APPEND key=k exptime=0 len=7"},
        {"prepend k 0 0 2147483645\r\n", "PREPEND key=k exptime=0 len=2147483645"},
        {"set k 4294967296 0 1\r\n", "SET key=k exptime=0 len=1"},
        {"set k 4294967295 0 1\r\n", "SET key=k flags=4294967295 exptime=0 len=1"},
        {"set k +5 +6 1\r\n", "SET key=k flags=5 exptime=6 len=1"},
        {"set k 0 -1 1\r\n", "SET key=k exptime=-1 len=1"},
        {"set k 0 4294967296 1\r\n", "SET key=k exptime=0 len=1"},
        {"set k 0 2147483648 1\r\n", "SET key=k exptime=-2147483648 len=1"},
        {"cas k 0 0 1 18446744073709551615\r\n", "CAS key=k exptime=0 number=18446744073709551615 len=1"},
        {"cas k 0 0 1 007 noreply\r\n", "CAS key=k exptime=0 number=7 len=1 quiet"},
        {"set\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0\r\n", "BAD BAD_FORMAT"},
        {"set k 0 noreply\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 noreply\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 -1\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 -1 noreply\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 +1\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 1x\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 2147483646\r\n", "BAD BAD_FORMAT"},
        {"set k 0 0 4294967297\r\n", "BAD BAD_FORMAT"},
        {"set " KEY_251 " 0 0 5\r\n", "BAD BAD_FORMAT swallow=7"},
        {"set " KEY_251 " 0 0 5 noreply\r\n", "BAD BAD_FORMAT swallow=7 quiet"},
        {"set k -1 0 5\r\n", "BAD BAD_FORMAT swallow=7"},
        {"set k x 0 5\r\n", "BAD BAD_FORMAT swallow=7"},
        {"set k 18446744073709551616 0 5\r\n", "BAD BAD_FORMAT swallow=7"},
        {"set k 0 x 5 noreply\r\n", "BAD BAD_FORMAT swallow=7 quiet"},
        {"set k 0 9223372036854775808 0\r\n", "BAD BAD_FORMAT swallow=2"},
        {"cas k 0 0 1\r\n", "BAD BAD_FORMAT swallow=3"},
        {"cas k 0 0 1 noreply\r\n", "BAD BAD_FORMAT swallow=3 quiet"},
        {"cas k 0 0 1 -1\r\n", "BAD BAD_FORMAT swallow=3"},
        {"cas k 0 0 1 18446744073709551616\r\n", "BAD BAD_FORMAT swallow=3"},
        {"cas k 0 0\r\n", "BAD BAD_FORMAT"},
        /* delete, touch, incr, decr: 1.6 */
        {"delete k\r\n", "DELETE key=k"},
        {"delete k noreply\r\n", "DELETE key=k quiet"},
        {"delete k 0\r\n", "DELETE key=k"},
        {"delete k 0 noreply\r\n", "DELETE key=k quiet"},
        {"delete noreply\r\n", "DELETE key=noreply"},
        {"delete k 1\r\n", "BAD BAD_DELETE"},
        {"delete k 0 0\r\n", "BAD BAD_DELETE"},
        {"delete k noreply 0\r\n", "BAD BAD_DELETE"},
        {"delete k x noreply\r\n", "BAD BAD_DELETE quiet"},
        {"delete\r\n", "BAD BAD_FORMAT"},
        {"delete " KEY_251 "\r\n", "BAD BAD_FORMAT"},
        {"delete " KEY_251 " noreply\r\n", "BAD BAD_FORMAT quiet"},
        {"touch k 10\r\n", "TOUCH key=k exptime=10"},
        {"touch k -5 noreply\r\n", "TOUCH key=k exptime=-5 quiet"},
        {"touch k 10 junk\r\n", "TOUCH key=k exptime=10"},
        {"touch k\r\n", "BAD BAD_FORMAT"},
        {"touch k 2147483648\r\n", "BAD BAD_EXPTIME"},
        {"touch k -2147483649\r\n", "BAD BAD_EXPTIME"},
        {"touch k -2147483648\r\n", "TOUCH key=k exptime=-2147483648"},
        {"touch k noreply\r\n", "BAD BAD_EXPTIME quiet"},
        {"touch " KEY_251 " x\r\n", "BAD BAD_FORMAT"},
        {"incr k 1\r\n", "INCR key=k number=1"},
        {"decr k 18446744073709551615 noreply\r\n", "DECR key=k number=18446744073709551615 quiet"},
        {"incr k 0000000000000000000001\r\n", "INCR key=k number=1"},
        {"incr k\r\n", "BAD BAD_FORMAT"},
        {"incr k -1\r\n", "BAD BAD_DELTA"},
        {"incr k +1\r\n", "BAD BAD_DELTA"},
        {"incr k 18446744073709551616\r\n", "BAD BAD_DELTA"},
        {"incr k x noreply\r\n", "BAD BAD_DELTA quiet"},
        {"decr " KEY_251 " x\r\n", "BAD BAD_FORMAT"},
        /* the server, 1.7 */
        {"flush_all\r\n", "FLUSH_ALL"},
        {"flush_all noreply\r\n", "FLUSH_ALL words=noreply quiet"},
        {"flush_all 10\r\n", "FLUSH_ALL words=10 exptime=10"},
        {"flush_all -1 noreply\r\n", "FLUSH_ALL words=-1,noreply exptime=-1 quiet"},
        {"flush_all 0 junk\r\n", "FLUSH_ALL words=0,junk exptime=0"},
        {"flush_all x\r\n", "BAD BAD_EXPTIME"},
        {"flush_all noreply 1\r\n", "BAD BAD_EXPTIME"},
        {"flush_all 2147483648\r\n", "BAD BAD_EXPTIME"},
        {"flush_all x noreply\r\n", "BAD BAD_EXPTIME quiet"},
        {"version\r\n", "VERSION"},
        {"version noreply\r\n", "VERSION words=noreply"},
        {"verbosity 4294967295\r\n", "VERBOSITY words=4294967295 number=4294967295"},
        {"verbosity 1 noreply\r\n", "VERBOSITY words=1,noreply number=1 quiet"},
        {"verbosity\r\n", "BAD BAD_FORMAT"},
        {"verbosity -1\r\n", "BAD BAD_FORMAT"},
        {"verbosity noreply\r\n", "BAD BAD_FORMAT quiet"},
        {"quit\r\n", "QUIT"},
        {"quit now\r\n", "QUIT words=now"},
        {"shutdown graceful\r\n", "SHUTDOWN words=graceful"},
        {"shutdown noreply\r\n", "SHUTDOWN words=noreply quiet"},
        {"stats\r\n", "STATS"},
        {"stats items  x\r\n", "STATS words=items,x"},
        {"mn foo\r\n", "NOOP words=foo"},
        {"cache_memlimit 8\r\n", "CACHE_MEMLIMIT words=8"},
        {"  slabs automove 0\r\n", "SLABS words=automove,0"},
        /* 23 words are kept: the last of these is not seen */
        {"touch k 1 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 noreply\r\n",
         "TOUCH key=k exptime=1 quiet"},
        {"touch k 1 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 noreply\r\n",
         "TOUCH key=k exptime=1"},
};

struct rendering {
	char text[2048];
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

static void add_bytes(struct rendering *r, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		add(r, data[i] == '\r' ? "\\r" : "%c", data[i]);
}

static void add_words(struct rendering *r, struct word_list list)
{
	struct word word;
	bool first = true;

	while (word_list_next(&list, &word)) {
		add(r, "%s", first ? " words=" : ",");
		add_bytes(r, word.data, word.len);
		first = false;
	}
}

static void render_command(struct rendering *r, const struct command *cmd)
{
	add(r, "%s", command_names[cmd->id]);
	if (cmd->key.len > 0) {
		add(r, " key=");
		add_bytes(r, cmd->key.data, cmd->key.len);
	}
	bool listed = cmd->id == CMD_GET || cmd->id == CMD_GETS || cmd->id == CMD_GAT || cmd->id == CMD_GATS;
	if (cmd->key.len == 0 || listed)
		add_words(r, cmd->words);
	if (cmd->flags)
		add(r, " flags=%" PRIu32, cmd->flags);
	if (cmd->has_exptime)
		add(r, " exptime=%" PRId64, cmd->exptime);
	if (cmd->number)
		add(r, " number=%" PRIu64, cmd->number);
}

static void render(struct rendering *r, const struct parse_result *result, const struct command *cmd)
{
	r->len = 0;
	switch (result->status) {
	case PARSE_OK:
		render_command(r, cmd);
		if (cmd->id >= CMD_SET && cmd->id <= CMD_CAS)
			add(r, " len=%zu", cmd->value_len);
		if (cmd->with_cas)
			add(r, " with_cas");
		break;
	case PARSE_AUTH:
		add(r, "AUTH");
		return;
	case PARSE_BAD:
		add(r, "BAD %s", reply_names[result->error]);
		if (result->swallow)
			add(r, " swallow=%zu", result->swallow);
		break;
	case PARSE_FATAL:
		add(r, "FATAL");
		return;
	case PARSE_MORE:
		add(r, "MORE");
		return;
	}
	if (cmd->quiet)
		add(r, " quiet");
}

/* Parse a copy of line that lies in memory of exactly `visible` bytes. */
static struct parse_result parse_copy(struct proto_text *state, const char *line, size_t visible, struct rendering *r)
{
	uint8_t *copy = malloc(visible);
	struct command cmd;

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, line, visible);
	struct parse_result result = proto_text_parse(state, copy, visible, &cmd);
	render(r, &result, &cmd);
	free(copy);
	return result;
}

START_TEST(every_line_in_every_way)
{
	const struct parse_case *c = &cases[_i];
	size_t len = strlen(c->line);
	struct rendering r;

	struct proto_text whole = {0};
	struct parse_result result = parse_copy(&whole, c->line, len, &r);
	ck_assert_str_eq(r.text, c->expected);
	ck_assert_uint_eq(result.consumed, len);
	ck_assert_uint_eq(whole.scanned, 0);
	for (size_t split = 1; split < len; split++) {
		struct proto_text state = {0};
		parse_copy(&state, c->line, split, &r);
		ck_assert_str_eq(r.text, "MORE");
		parse_copy(&state, c->line, len, &r);
		ck_assert_str_eq(r.text, c->expected);
	}
	struct proto_text drip = {0};
	for (size_t n = 1; n < len; n++) {
		parse_copy(&drip, c->line, n, &r);
		ck_assert_str_eq(r.text, "MORE");
		ck_assert_uint_eq(drip.scanned, n); /* never scanned again */
	}
	parse_copy(&drip, c->line, len, &r);
	ck_assert_str_eq(r.text, c->expected);
}
END_TEST

START_TEST(what_follows_is_left_alone)
{
	const struct parse_case *c = &cases[_i];
	char both[2048];
	struct rendering r;
	struct proto_text state = {0};

	snprintf(both, sizeof(both), "%sget x\r\n", c->line);
	struct parse_result result = parse_copy(&state, both, strlen(both), &r);
	ck_assert_str_eq(r.text, c->expected);
	ck_assert_uint_eq(result.consumed, strlen(c->line));
}
END_TEST

static enum parse_status long_line(const char *start, size_t len)
{
	struct proto_text state = {0};
	struct rendering r;
	char *line = malloc(len);

	ck_assert_ptr_nonnull(line);
	memset(line, 'x', len);
	memcpy(line, start, strlen(start));
	enum parse_status status = parse_copy(&state, line, len, &r).status;
	free(line);
	return status;
}

START_TEST(overlong_lines)
{
	char indent[128];

	ck_assert_int_eq(long_line("set ", PROTO_TEXT_LINE_BYTES_MAX), PARSE_MORE);
	ck_assert_int_eq(long_line("set ", PROTO_TEXT_LINE_BYTES_MAX + 1), PARSE_FATAL);
	ck_assert_int_eq(long_line("gat 1 ", PROTO_TEXT_LINE_BYTES_MAX + 1), PARSE_FATAL);
	ck_assert_int_eq(long_line("get", PROTO_TEXT_LINE_BYTES_MAX + 1), PARSE_FATAL);
	ck_assert_int_eq(long_line("get ", 100000), PARSE_MORE);
	ck_assert_int_eq(long_line("gets ", 100000), PARSE_MORE);
	snprintf(indent, sizeof(indent), "%100sget ", "");
	ck_assert_int_eq(long_line(indent, 3000), PARSE_MORE);
	snprintf(indent, sizeof(indent), "%101sget ", "");
	ck_assert_int_eq(long_line(indent, 3000), PARSE_FATAL);
}
END_TEST

START_TEST(a_long_line_that_is_complete_is_served)
{
	struct proto_text state = {0};
	struct rendering r;
	char line[8001];

	memset(line, ' ', sizeof(line));
	memcpy(line, "touch k 1", 9);
	line[sizeof(line) - 1] = '\n';
	parse_copy(&state, line, sizeof(line), &r);
	ck_assert_str_eq(r.text, "TOUCH key=k exptime=1");
}
END_TEST

START_TEST(every_word_is_found)
{
	static const struct {
		const char *word;
		char c0, c1;
		enum command_id id;
	} words[] = {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help) {word, c0, c1, CMD_##id},
#include "commands.def"
#undef COMMAND
	};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		const uint8_t *word = (const uint8_t *)words[i].word;
		size_t len = strlen(words[i].word);
		if (words[i].c0 != 0) { /* not the twin of another word */
			ck_assert_int_eq(words[i].word[0], words[i].c0);
			ck_assert_int_eq(words[i].word[1], words[i].c1);
		}
		ck_assert_int_eq(proto_text_lookup(word, len), words[i].id);
		ck_assert_int_eq(proto_text_lookup(word, len - 1), len == 4 && words[i].id == CMD_GETS ? CMD_GET
		                                                   : words[i].id == CMD_GATS        ? CMD_GAT
		                                                                                    : CMD_NONE);
	}
	ck_assert_int_eq(proto_text_lookup((const uint8_t *)"", 0), CMD_NONE);
	ck_assert_int_eq(proto_text_lookup((const uint8_t *)"g", 1), CMD_NONE);
}
END_TEST

/* Words of other layers of the protocol that will be added: no two in a slot,
 * by the formula that the table is made with. */
START_TEST(room_for_the_other_words)
{
	static const char *const words[] = {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help) word,
#include "commands.def"
#undef COMMAND
	        "refresh_certs", "misbehave", "extstore",
	};
	const char *taken[128] = {NULL};

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		const char *w = words[i];
		if (strcmp(w, "debugitem") == 0)
			continue; /* the twin of debugtime */
		size_t slot = (strlen(w) + 2 * (size_t)w[1] + 16 * (size_t)w[0]) % ARRAY_LEN(taken);
		ck_assert_msg(!taken[slot], "%s and %s", taken[slot], w);
		taken[slot] = w;
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto_text");
	TCase *tc = tcase_create("parser");

	tcase_add_loop_test(tc, every_line_in_every_way, 0, (int)ARRAY_LEN(cases));
	tcase_add_loop_test(tc, what_follows_is_left_alone, 0, (int)ARRAY_LEN(cases));
	tcase_add_test(tc, overlong_lines);
	tcase_add_test(tc, a_long_line_that_is_complete_is_served);
	tcase_add_test(tc, every_word_is_found);
	tcase_add_test(tc, room_for_the_other_words);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
