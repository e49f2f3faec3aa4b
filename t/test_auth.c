/*
 * test_auth.c - the table of users, the login of the text protocol in pieces of
 * any size, and sessions that are locked: by text, and by a SASL that is played
 * here.
 */
#include "compat.h"
#include <check.h>
#include "auth.h"
#include "fixture.h"
#include "packets.h"
#include "proto_login.h"

/* ---- the table -------------------------------------------------------------- */

static bool has(const struct auth_table *t, const char *user, const char *password)
{
	return auth_table_has(t, (const uint8_t *)user, strlen(user), (const uint8_t *)password, strlen(password));
}

static bool parse(struct auth_table *t, const char *text, size_t *line)
{
	const char *error;
	bool good = auth_table_parse(t, (const uint8_t *)text, strlen(text), &error, line);

	ck_assert(good == !error);
	return good;
}

START_TEST(users_are_found_by_both_parts)
{
	struct auth_table t;
	size_t line;

	ck_assert(parse(&t, "alice:one\nbob:t:w:o\nalice:three", &line));
	ck_assert_uint_eq(t.count, 3);
	ck_assert(has(&t, "alice", "one") && has(&t, "alice", "three") && has(&t, "bob", "t:w:o"));
	ck_assert(!has(&t, "alice", "t:w:o") && !has(&t, "bob", "one") && !has(&t, "bob:t", "w:o"));
	ck_assert(!has(&t, "alice", "on") && !has(&t, "alice", "onee") && !has(&t, "alic", "one"));
	ck_assert(!has(&t, "", "") && !has(&t, "alice", "") && !has(&t, "", "one"));
	/* zeros are bytes, not padding */
	ck_assert(!auth_table_has(&t, (const uint8_t *)"alice\0", 6, (const uint8_t *)"one", 3));
	ck_assert(!auth_table_has(&t, (const uint8_t *)"alice", 5, (const uint8_t *)"one\0", 4));
	memset(&t, 0, sizeof(t));
	ck_assert(!has(&t, "", "") && !has(&t, "alice", "one"));
}
END_TEST

START_TEST(longest_parts)
{
	char text[400], password[300];
	struct auth_table t;
	size_t line;

	memset(password, 'p', sizeof(password));
	password[253] = '\0';
	snprintf(text, sizeof(text), "u:%s\n", password);
	ck_assert(parse(&t, text, &line));
	ck_assert(has(&t, "u", password));
	password[253] = 'p';
	password[256] = '\0';
	ck_assert(!has(&t, "u", password)); /* longer than any line */
	ck_assert(!has(&t, password, "u"));
	password[254] = '\0';
	snprintf(text, sizeof(text), "u:%s\n", password);
	ck_assert(!parse(&t, text, &line));
}
END_TEST

START_TEST(malformed_files)
{
	static const struct {
		const char *text;
		size_t line;
	} bad[] = {
	        {"", 0},           {"\n", 1},         {"alice\n", 1}, {"a:b\nalice", 2}, {":x\n", 1},
	        {"a:\n", 1},       {"a:b\n\nc:d", 2}, {":", 1},       {"a:b\n:\n", 2},
	        {"1:1\n2:2\n3:3\n4:4\n5:5\n6:6\n7:7\n8:8\n9:9\n", 9},
	};
	struct auth_table t;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t line;
		ck_assert_msg(!parse(&t, bad[i].text, &line), "%s", bad[i].text);
		ck_assert_uint_eq(line, bad[i].line);
		ck_assert_uint_eq(t.count, 0);
	}
}
END_TEST

/* ---- the login -------------------------------------------------------------- */

struct login_case {
	const char *input;
	enum parse_status status;
	enum reply_status error;
	size_t consumed, swallow; /* consumed 0: all */
};

static const struct login_case logins[] = {
        {"set a b c 3\r\nu p\r\n", PARSE_AUTH, REPLY_NONE, 0, 0},
        {"set a b c 3\nu p\r\n", PARSE_AUTH, REPLY_NONE, 0, 0},
        {"set  a  b  c  3  x  noreply \r\nu p\r\n", PARSE_AUTH, REPLY_NONE, 0, 0},
        {"set a b c 1\r\n \r\n", PARSE_AUTH, REPLY_NONE, 0, 0},
        {"set a b c 3\r\nu\np\r\n", PARSE_BAD, REPLY_LOGIN_BAD_FORM, 0, 0},
        {"set a b c 0\r\n\r\n", PARSE_BAD, REPLY_LOGIN_BAD_FORM, 0, 0},
        {"set a b c 3\r\nu p\n\n", PARSE_BAD, REPLY_LOGIN_BAD_END, 0, 0},
        {"set a b c 16384\r\n", PARSE_MORE, REPLY_NONE, 0, 0},
        {"set a b c 16385\r\n", PARSE_BAD, REPLY_LOGIN_TOO_LONG, 0, 16387},
        {"set a b c 2147483645\r\n", PARSE_BAD, REPLY_LOGIN_TOO_LONG, 0, 2147483647u},
        {"set a b c 2147483646\r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"set a b c -1\r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"set a b c 3x\r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"set a b c\r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"sets a b c 3\r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"get abc\r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"      \r\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"setabc\n", PARSE_BAD, REPLY_UNAUTHENTICATED, 0, 0},
        {"\n", PARSE_FATAL, REPLY_NONE, 0, 0},
        {"quit\r\n", PARSE_FATAL, REPLY_NONE, 0, 0},
        {"12345\n", PARSE_FATAL, REPLY_NONE, 0, 0},
};

/* In memory of exactly len bytes. */
static struct parse_result parse_login(const char *data, size_t len)
{
	uint8_t *copy = malloc(len + !len);
	struct command cmd = {.id = CMD_NONE};

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, data, len);
	struct parse_result r = proto_login_parse(copy, len, &cmd);
	ck_assert_uint_le(r.consumed, len);
	if (r.status == PARSE_AUTH) {
		ck_assert_int_eq(cmd.auth, AUTH_LOGIN);
		ck_assert_ptr_eq(cmd.words.end, copy + r.consumed - 2);
	}
	free(copy);
	return r;
}

START_TEST(logins_in_pieces)
{
	const struct login_case *c = &logins[_i];
	size_t len = strlen(c->input);
	struct parse_result whole = parse_login(c->input, len);

	ck_assert_int_eq(whole.status, c->status);
	ck_assert_int_eq(whole.error, c->error);
	ck_assert_uint_eq(whole.swallow, c->swallow);
	if (c->status == PARSE_MORE || c->status == PARSE_FATAL)
		return;
	ck_assert_uint_eq(whole.consumed, c->consumed ? c->consumed : len);
	for (size_t n = 0; n < len; n++)
		ck_assert_int_eq(parse_login(c->input, n).status, PARSE_MORE);
}
END_TEST

START_TEST(a_line_without_an_end)
{
	char line[PROTO_LOGIN_LINE_BYTES_MAX + 2];

	memset(line, 'x', sizeof(line));
	ck_assert_int_eq(parse_login(line, PROTO_LOGIN_LINE_BYTES_MAX).status, PARSE_MORE);
	ck_assert_int_eq(parse_login(line, PROTO_LOGIN_LINE_BYTES_MAX + 1).status, PARSE_FATAL);
	line[PROTO_LOGIN_LINE_BYTES_MAX + 1] = '\n';
	ck_assert_int_eq(parse_login(line, sizeof(line)).status, PARSE_FATAL);
}
END_TEST

/* ---- sessions by text ------------------------------------------------------- */

static struct fixture f;
static struct client c;
static struct auth_table table;

static void open_text(const struct pace *pace)
{
	size_t line;

	fixture_init(&f);
	snprintf(f.settings.auth_file, sizeof(f.settings.auth_file), "users");
	f.settings.protocol = PROTOCOL_ASCII;
	fixture_open(&f);
	parse(&table, "u:p\n", &line);
	f.engine.logins = &table;
	client_open(&c, &f, pace);
}

static void close_all(void)
{
	client_close(&c);
	fixture_close(&f);
}

START_TEST(text_is_locked_whatever_the_pieces)
{
	static const char good[] = "get aa\r\nset x 0 0 3\r\nu q\r\nversion\r\nset x 0 0 3\r\nu p\r\nget x\r\n"
				   "set k 0 0 1\r\n1\r\nget k\r\n";
	static const char replies[] = "CLIENT_ERROR unauthenticated\r\nCLIENT_ERROR authentication failure\r\n"
				      "CLIENT_ERROR unauthenticated\r\nSTORED\r\nEND\r\nSTORED\r\n"
				      "VALUE k 0 1\r\n1\r\nEND\r\n";

	for (size_t step = 1; step < sizeof(good); step++) {
		open_text(&(struct pace){.in_max = step});
		client_expect(&c, good, replies);
		ck_assert(!c.closed);
		ck_assert_uint_eq(f.stats.auth_cmds, 2);
		ck_assert_uint_eq(f.stats.auth_errors, 1);
		close_all();
	}
}
END_TEST

START_TEST(without_a_table_nobody_gets_in)
{
	open_text(&(struct pace){0});
	f.engine.logins = NULL;
	client_expect(&c, "set x 0 0 3\r\nu p\r\nset x 0 0 1\r\n \r\n",
		      "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR authentication failure\r\n");
	struct auth_table empty = {.count = 0};
	f.engine.logins = &empty;
	client_expect(&c, "set x 0 0 3\r\nu p\r\nset x 0 0 1\r\n \r\n",
		      "CLIENT_ERROR authentication failure\r\nCLIENT_ERROR authentication failure\r\n");
	close_all();
}
END_TEST

/* ---- a SASL with two steps -------------------------------------------------- */

struct played {
	int opened, closed;
	bool refuses_to_open;
};

struct talk {
	struct played *played;
	int steps;
};

static void *played_open(void *ctx)
{
	struct played *p = ctx;
	struct talk *t = p->refuses_to_open ? NULL : calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->played = p;
	p->opened++;
	return t;
}

static void played_close(void *arg)
{
	struct talk *t = arg;

	t->played->closed++;
	free(t);
}

static bool played_list(void *arg, const uint8_t **out, size_t *len)
{
	(void)arg;
	*out = (const uint8_t *)"TWO ONE";
	*len = 7;
	return true;
}

/* ONE: "yes" is right. TWO: "hello", then "yes". */
static enum sasl_result played_step(void *arg, const char *mechanism, const uint8_t *in, size_t in_len,
				    const uint8_t **out, size_t *out_len)
{
	struct talk *t = arg;
	bool yes = in_len == 3 && memcmp(in, "yes", 3) == 0;

	*out = (const uint8_t *)"what?\0";
	*out_len = 6;
	if (mechanism && strcmp(mechanism, "ONE") == 0)
		return yes ? SASL_STEP_DONE : SASL_STEP_FAILED;
	if (mechanism && strcmp(mechanism, "TWO") == 0) {
		t->steps = 1;
		return SASL_STEP_CONTINUE;
	}
	return !mechanism && t->steps == 1 && yes ? SASL_STEP_DONE : SASL_STEP_FAILED;
}

static struct played played;
static const struct sasl_env sasl = {played_open, played_close, played_list, played_step, &played};

static void open_sasl(const struct pace *pace)
{
	played = (struct played){0};
	fixture_init(&f);
	f.settings.sasl = true;
	f.settings.protocol = PROTOCOL_BINARY;
	fixture_open(&f);
	f.engine.sasl = &sasl;
	client_open(&c, &f, pace);
}

/* Send packets, NULL-ended, and compare with replies, one after the other. */
static void talk_binary(const char *const *packets, const char *const *replies)
{
	struct packet_bytes p = {.len = 0};
	char shown[300];
	size_t at = 0;

	for (; *packets; packets++)
		packet_make(&p, *packets);
	c.out.len = 0;
	client_send(&c, p.data, p.len);
	for (; *replies; replies++) {
		size_t n = packet_show((const uint8_t *)c.out.data + at, c.out.len - at, shown, sizeof(shown));
		ck_assert_msg(n > 0, "no reply, expected %s", *replies);
		ck_assert_str_eq(shown, *replies);
		at += n;
	}
	ck_assert_uint_eq(at, c.out.len);
}

#define PACKETS(...) ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(sasl_whatever_the_pieces)
{
	for (size_t step = 1; step < 200; step++) {
		open_sasl(&(struct pace){.in_max = step});
		talk_binary(PACKETS("0b o=1", "20 o=2", "21 o=3 k=ONE v=no", "22 o=4 k=ONE v=yes", "21 o=5 k=TWO v=hello",
				    "22 o=6 k=TWO v=no", "21 o=7 k=TWO v=hello", "22 o=8 k=TWO v=yes", "00 k=a o=9", "0a"),
			    PACKETS("0b 00 o=1 v=" PACKAGE_VERSION, "20 00 o=2 v=TWO ONE", "21 20 o=3 v=Auth failure.",
				    "22 20 o=4 v=Auth failure.", "21 21 o=5 v=what?", "22 20 o=6 v=Auth failure.",
				    "21 21 o=7 v=what?", "22 00 o=8 v=Authenticated", "00 01 o=9 v=Not found", "0a 00"));
		ck_assert_uint_eq(f.stats.auth_cmds, 4);
		ck_assert_uint_eq(f.stats.auth_errors, 3);
		ck_assert_int_eq(played.opened, played.closed);
		close_all();
	}
}
END_TEST

START_TEST(everything_else_ends_it)
{
	for (unsigned opcode = 0; opcode < 256; opcode++) {
		if (opcode == 0x0b || (opcode >= 0x20 && opcode <= 0x22))
			continue;
		char packet[80];
		/* the right shape: from the table of the reference */
		const char *extras = (opcode >= 1 && opcode <= 3) || (opcode >= 0x11 && opcode <= 0x13)
					     ? "x=0000000000000000"
				     : opcode == 5 || opcode == 6 || opcode == 0x15 || opcode == 0x16
					     ? "x=0000000000000000000000000000000000000000"
				     : (opcode >= 0x1c && opcode <= 0x1e) || opcode == 0x23 || opcode == 0x24
					     ? "x=00000000"
					     : "";
		bool no_key = opcode == 7 || opcode == 8 || opcode == 0x0a || opcode == 0x10 || opcode == 0x17 ||
			      opcode == 0x18;
		snprintf(packet, sizeof(packet), "%02x %s %s", opcode, extras, no_key ? "" : "k=a");
		open_sasl(&(struct pace){0});
		char reply[40];
		snprintf(reply, sizeof(reply), "%02x 20 v=Auth failure.", opcode);
		talk_binary(PACKETS(packet, "0b"), PACKETS(reply));
		ck_assert(c.closed);
		ck_assert_uint_eq(items_change_seq(f.items), 0);
		close_all();
	}
}
END_TEST

START_TEST(a_login_anew_locks_first)
{
	open_sasl(&(struct pace){0});
	talk_binary(PACKETS("21 k=ONE v=yes", "0a", "21 k=TWO v=hello", "0a"),
		    PACKETS("21 00 v=Authenticated", "0a 00", "21 21 v=what?", "0a 20 v=Auth failure."));
	ck_assert(c.closed);
	close_all();
	ck_assert_int_eq(played.opened, played.closed);
}
END_TEST

START_TEST(no_sasl_no_entry)
{
	open_sasl(&(struct pace){0});
	played.refuses_to_open = true;
	talk_binary(PACKETS("20", "21 k=ONE v=yes", "22 k=ONE v=yes"),
		    PACKETS("20 20 v=Auth failure.", "21 20 v=Auth failure.", "22 20 v=Auth failure."));
	f.engine.sasl = NULL;
	talk_binary(PACKETS("20", "21 k=ONE v=yes"), PACKETS("20 81 v=Unknown command", "21 81 v=Unknown command"));
	talk_binary(PACKETS("0a"), PACKETS("0a 20 v=Auth failure."));
	close_all();
	open_sasl(&(struct pace){0});
	c.out.len = 0;
	client_send(&c, "version\r\n", 9);
	ck_assert(c.closed);
	ck_assert_uint_eq(c.out.len, 0);
	close_all();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("auth");
	TCase *tc = tcase_create("auth");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, users_are_found_by_both_parts);
	tcase_add_test(tc, longest_parts);
	tcase_add_test(tc, malformed_files);
	tcase_add_loop_test(tc, logins_in_pieces, 0, (int)ARRAY_LEN(logins));
	tcase_add_test(tc, a_line_without_an_end);
	tcase_add_test(tc, text_is_locked_whatever_the_pieces);
	tcase_add_test(tc, without_a_table_nobody_gets_in);
	tcase_add_test(tc, sasl_whatever_the_pieces);
	tcase_add_test(tc, everything_else_ends_it);
	tcase_add_test(tc, a_login_anew_locks_first);
	tcase_add_test(tc, no_sasl_no_entry);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
