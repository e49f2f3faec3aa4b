/*
 * test_session.c - conversations: scripts of input and expected output, every
 * command, reply and error of doc/protocol.txt section 1. Each script is played
 * whole, at every split point, byte by byte, with sends that take one byte, and
 * by a client that does not read until it must. Then what scripts cannot say:
 * large values, unbounded key lists, back-pressure, fairness, memory.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"
#include "util.h"

#define K50 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_250 K50 K50 K50 K50 K50
#define KEY_251 KEY_250 "k"
#define BADFMT "CLIENT_ERROR bad command line format\r\n"
#define NON_NUMERIC "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"

struct script {
	const char *name;
	const char *input;
	const char *reply;
	bool closes;
};

static const struct script scripts[] = {
        {"framing", "\r\na\r\nmn\nmn\r\n  \r\n", BADFMT BADFMT BADFMT "MN\r\nERROR\r\n", false},
        {"unknown", "bogus\r\nGET a\r\nbogus noreply\r\nnoreply\r\nmn\r\n", "ERROR\r\nERROR\r\nMN\r\n", false},
        {"administration", "slabs automove 0\r\nlru mode flat\r\n lru_crawler disable\r\ncache_memlimit 8\r\n",
         "OK\r\nOK\r\nOK\r\nOK\r\n", false},
        {"lists of keys", "set a 0 0 1 noreply\r\nx\r\nlru_crawler mgdump all\r\nmn\r\n",
         "OK\r\nmg a\r\nEN\r\nMN\r\n", false},
        {"http", "mn\r\nGET / HTTP/1.0\r\nmn\r\n", "MN\r\n", true},
        {"set get", "set a 5 0 3\r\nabc\r\nget a\r\nget b\r\n", "STORED\r\nVALUE a 5 3\r\nabc\r\nEND\r\nEND\r\n",
         false},
        {"line feed alone", "set a 0 0 1\nx\r\nget a\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n", false},
        {"empty value", "set a 0 0 0\r\n\r\nget a\r\n", "STORED\r\nVALUE a 0 0\r\n\r\nEND\r\n", false},
        {"flags", "set a 4294967295 0 1\r\nx\r\nget a\r\nset a 4294967296 0 1\r\nx\r\nget a\r\n",
         "STORED\r\nVALUE a 4294967295 1\r\nx\r\nEND\r\nSTORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n", false},
        {"value of line ends", "set a 0 0 4\r\n\r\n\r\n\r\nget a\r\n",
         "STORED\r\nVALUE a 0 4\r\n\r\n\r\n\r\nEND\r\n", false},
        {"value like commands", "set a 0 0 7\r\nget a\r\n\r\nget a\r\n",
         "STORED\r\nVALUE a 0 7\r\nget a\r\n\r\nEND\r\n", false},
        {"long keys", "set " KEY_250 " 0 0 1\r\nx\r\nget " KEY_250 "\r\nget " KEY_251 "\r\nget a " KEY_251 "\r\n",
         "STORED\r\nVALUE " KEY_250 " 0 1\r\nx\r\nEND\r\n" BADFMT BADFMT, false},
        {"many keys", "set a 0 0 1\r\n1\r\nset b 0 0 1\r\n2\r\nget b x a  b \r\n",
         "STORED\r\nSTORED\r\nVALUE b 0 1\r\n2\r\nVALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n", false},
        {"get errors", "get\r\nget \r\ngets\r\ngat\r\ngat 1\r\ngat x a\r\nmn\r\n",
         BADFMT BADFMT BADFMT BADFMT BADFMT "CLIENT_ERROR invalid exptime argument\r\nMN\r\n", false},
        {"gets", "set a 0 0 1\r\nx\r\nset b 0 0 1\r\ny\r\ngets a b\r\nset a 0 0 1\r\nz\r\ngets a\r\n",
         "STORED\r\nSTORED\r\nVALUE a 0 1 1\r\nx\r\nVALUE b 0 1 2\r\ny\r\nEND\r\n"
         "STORED\r\nVALUE a 0 1 3\r\nz\r\nEND\r\n",
         false},
        {"gat", "set a 7 0 1\r\nx\r\ngat 100 a b\r\ngats 0 a\r\nget a\r\ngat -1 a\r\nget a\r\n",
         "STORED\r\nVALUE a 7 1\r\nx\r\nEND\r\nVALUE a 7 1 1\r\nx\r\nEND\r\nVALUE a 7 1\r\nx\r\nEND\r\n"
         "VALUE a 7 1\r\nx\r\nEND\r\nEND\r\n",
         false},
        {"add", "add a 0 0 1\r\nx\r\nadd a 0 0 1\r\ny\r\nget a\r\n",
         "STORED\r\nNOT_STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n", false},
        {"replace", "replace a 0 0 1\r\nx\r\nset a 0 0 1\r\ny\r\nreplace a 3 0 2\r\nzz\r\nget a\r\n",
         "NOT_STORED\r\nSTORED\r\nSTORED\r\nVALUE a 3 2\r\nzz\r\nEND\r\n", false},
        {"append", "append a 0 0 1\r\nx\r\nset a 9 0 2\r\nab\r\nappend a 1 0 2\r\ncd\r\nprepend a 2 0 1\r\n_\r\nget a\r\n",
         "NOT_STORED\r\nSTORED\r\nSTORED\r\nSTORED\r\nVALUE a 9 5\r\n_abcd\r\nEND\r\n", false},
        {"prepend missing", "prepend a 0 0 1\r\nx\r\nget a\r\n", "NOT_STORED\r\nEND\r\n", false},
        {"cas", "cas a 0 0 1 1\r\nx\r\nset a 0 0 1\r\ny\r\ncas a 0 0 1 9\r\nz\r\ncas a 0 0 1 0\r\nz\r\n"
                "cas a 4 0 1 1\r\nw\r\nget a\r\n",
         "NOT_FOUND\r\nSTORED\r\nEXISTS\r\nEXISTS\r\nSTORED\r\nVALUE a 4 1\r\nw\r\nEND\r\n", false},
        {"storage errors without swallowing", "set\r\nset a 0 0\r\nset a 0 0 -1\r\nabc\r\nset a 0 0 x\r\nmn\r\n",
         BADFMT BADFMT BADFMT "ERROR\r\n" BADFMT "MN\r\n", false},
        {"storage errors with swallowing",
         "set " KEY_251 " 0 0 3\r\nabc\r\nset a -1 0 4\r\nmn\r\n\r\nset a 0 x 2\r\nmn\r\n"
         "cas a 0 0 2\r\nmn\r\nmn\r\n",
         BADFMT BADFMT BADFMT BADFMT "MN\r\n", false},
        {"too large", "set a 0 0 1\r\nx\r\nset a 0 0 40\r\n0123456789012345678901234567890123456789\r\nget a\r\nmn\r\n",
         "STORED\r\nSTORED\r\nVALUE a 0 40\r\n0123456789012345678901234567890123456789\r\nEND\r\nMN\r\n", false},
        {"bad chunk, long", "set a 0 0 2\r\nabcd\r\nmn\r\nget a\r\n",
         "CLIENT_ERROR bad data chunk\r\n" BADFMT "MN\r\nEND\r\n", false},
        {"bad chunk, line feed", "set a 0 0 2\r\nab\nXget a\r\n", "CLIENT_ERROR bad data chunk\r\nEND\r\n", false},
        {"bad chunk keeps the old", "set a 0 0 1\r\nx\r\nset a 0 0 1\r\nyzzget a\r\n",
         "STORED\r\nCLIENT_ERROR bad data chunk\r\nVALUE a 0 1\r\nx\r\nEND\r\n", false},
        {"noreply",
         "set a 0 0 1 noreply\r\nx\r\nadd a 0 0 1 noreply\r\ny\r\nreplace a 0 0 1 noreply\r\n5\r\n"
         "append a 0 0 1 noreply\r\n6\r\nprepend a 0 0 1 noreply\r\n4\r\ncas a 0 0 1 99 noreply\r\nz\r\n"
         "incr a 1 noreply\r\ndecr a 2 noreply\r\ntouch a 0 noreply\r\ndelete b noreply\r\n"
         "verbosity 0 noreply\r\nget a\r\nflush_all noreply\r\nget a\r\n",
         "VALUE a 0 3\r\n455\r\nEND\r\nEND\r\n", false},
        {"noreply hides errors",
         "set " KEY_251 " 0 0 1 noreply\r\nx\r\nset a x 0 1 noreply\r\nx\r\nset a 0 0 1 noreply\r\nxyz"
         "incr a x noreply\r\nincr a 1 noreply\r\ntouch a x noreply\r\ncas k 0 0 1 noreply\r\nx\r\n"
         "delete k x noreply\r\nflush_all x noreply\r\nmn\r\n",
         "MN\r\n", false},
        {"noreply comes too late", "set a 0 0 noreply\r\nset a 0 0 -1 noreply\r\nget noreply\r\nversion noreply\r\n",
         BADFMT BADFMT "END\r\nVERSION " PACKAGE_VERSION "\r\n", false},
        {"delete", "delete a\r\nset a 0 0 1\r\nx\r\ndelete a\r\nget a\r\ndelete a 0\r\ndelete a 5\r\ndelete\r\n",
         "NOT_FOUND\r\nSTORED\r\nDELETED\r\nEND\r\nNOT_FOUND\r\n"
         "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n" BADFMT,
         false},
        {"touch", "touch a 10\r\nset a 0 0 1\r\nx\r\ntouch a 10\r\ntouch a x\r\ntouch a\r\ntouch a -1\r\nget a\r\n",
         "NOT_FOUND\r\nSTORED\r\nTOUCHED\r\nCLIENT_ERROR invalid exptime argument\r\n" BADFMT "TOUCHED\r\nEND\r\n",
         false},
        {"incr", "incr a 1\r\nset a 3 0 1\r\n9\r\nincr a 1\r\nget a\r\ndecr a 1\r\nget a\r\ndecr a 100\r\nget a\r\n",
         "NOT_FOUND\r\nSTORED\r\n10\r\nVALUE a 3 2\r\n10\r\nEND\r\n9\r\nVALUE a 3 2\r\n9 \r\nEND\r\n"
         "0\r\nVALUE a 3 2\r\n0 \r\nEND\r\n",
         false},
        {"incr wraps", "set a 0 0 20\r\n18446744073709551615\r\nincr a 2\r\nget a\r\n",
         "STORED\r\n1\r\nVALUE a 0 20\r\n1                   \r\nEND\r\n", false},
        {"incr grammar",
         "set a 0 0 3\r\n5 x\r\nincr a 1\r\nset a 0 0 2\r\n 5\r\nincr a 1\r\nset a 0 0 2\r\n+5\r\nincr a 1\r\n"
         "set a 0 0 2\r\n5x\r\nincr a 1\r\nset a 0 0 2\r\n-5\r\nincr a 1\r\nset a 0 0 0\r\n\r\nincr a 1\r\n"
         "set a 0 0 1\r\n \r\nincr a 1\r\nset a 0 0 20\r\n18446744073709551616\r\nincr a 1\r\n",
         "STORED\r\n6\r\nSTORED\r\n6\r\nSTORED\r\n6\r\nSTORED\r\n" NON_NUMERIC "STORED\r\n" NON_NUMERIC
         "STORED\r\n" NON_NUMERIC "STORED\r\n" NON_NUMERIC "STORED\r\n" NON_NUMERIC,
         false},
        {"incr errors", "incr a\r\nincr a x\r\nincr a -1\r\ndecr " KEY_251 " 1\r\n",
         BADFMT "CLIENT_ERROR invalid numeric delta argument\r\n"
                "CLIENT_ERROR invalid numeric delta argument\r\n" BADFMT,
         false},
        {"expiry", "set a 0 -1 1\r\nx\r\nget a\r\nset b 0 100 1\r\ny\r\nset b 0 -1 1\r\nz\r\nget b\r\n"
                   "set c 0 2592001 1\r\nx\r\nget c\r\nset d 0 1750000001 1\r\nx\r\nget d\r\n"
                   "set e 0 4294967296 1\r\nx\r\nget e\r\nset f 0 2147483648 1\r\nx\r\nget f\r\n",
         "STORED\r\nEND\r\nSTORED\r\nSTORED\r\nEND\r\nSTORED\r\nEND\r\nSTORED\r\nVALUE d 0 1\r\nx\r\nEND\r\n"
         "STORED\r\nVALUE e 0 1\r\nx\r\nEND\r\nSTORED\r\nEND\r\n",
         false},
        {"flush_all", "set a 0 0 1\r\nx\r\nflush_all\r\nget a\r\nset a 0 0 1\r\ny\r\nflush_all 10\r\nget a\r\n"
                      "flush_all x\r\nflush_all -1\r\nget a\r\nset a 0 0 1\r\nz\r\nget a\r\n",
         "STORED\r\nOK\r\nEND\r\nSTORED\r\nOK\r\nVALUE a 0 1\r\ny\r\nEND\r\n"
         "CLIENT_ERROR invalid exptime argument\r\nOK\r\nEND\r\nSTORED\r\nVALUE a 0 1\r\nz\r\nEND\r\n",
         false},
        {"version", "version\r\nversion foo\r\n", "VERSION " PACKAGE_VERSION "\r\nVERSION " PACKAGE_VERSION "\r\n",
         false},
        {"verbosity", "verbosity 1\r\nverbosity\r\nverbosity x\r\nverbosity 1 noreply\r\n", "OK\r\n" BADFMT BADFMT,
         false},
        {"quit", "set a 0 0 1\r\nx\r\nget a\r\nquit\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n", true},
        {"shutdown refused", "shutdown\r\nshutdown noreply\r\nmn\r\n", "SERVER_ERROR: shutdown not enabled\r\nMN\r\n",
         false},
        {"stats", "stats sizes\r\nstats foo\r\nstats noreply\r\nstats reset\r\nstats replication\r\nstats conns\r\n",
         "STAT sizes_status disabled\r\nEND\r\nERROR\r\nERROR\r\nRESET\r\nERROR\r\n"
         "STAT 7:addr tcp:0.0.0.0:11211\r\nSTAT 7:state conn_listening\r\nSTAT 7:secs_since_last_cmd 3\r\n"
         "STAT 9:addr tcp:127.0.0.1:4000\r\nSTAT 9:listen_addr tcp:127.0.0.1:11211\r\n"
         "STAT 9:state conn_parse_cmd\r\nSTAT 9:secs_since_last_cmd 0\r\nEND\r\n",
         false},
        {"pipeline of reads",
         "set a 0 0 1\r\n1\r\nget a\r\nget a\r\nget x\r\ngets a\r\nget a a a\r\nget\r\nget a\r\nset a 0 0 1\r\n2\r\n"
         "get a\r\nget a\r\n",
         "STORED\r\nVALUE a 0 1\r\n1\r\nEND\r\nVALUE a 0 1\r\n1\r\nEND\r\nEND\r\nVALUE a 0 1 1\r\n1\r\nEND\r\n"
         "VALUE a 0 1\r\n1\r\nVALUE a 0 1\r\n1\r\nVALUE a 0 1\r\n1\r\nEND\r\n" BADFMT "VALUE a 0 1\r\n1\r\nEND\r\n"
         "STORED\r\nVALUE a 0 1\r\n2\r\nEND\r\nVALUE a 0 1\r\n2\r\nEND\r\n",
         false},
};

/* Play a script on a fresh server. */
static void play(const struct script *script, const struct pace *pace, int requests_per_event)
{
	struct fixture f;
	struct client c;

	fixture_init(&f);
	f.settings.requests_per_event = requests_per_event;
	fixture_open(&f);
	client_open(&c, &f, pace);
	client_send(&c, script->input, strlen(script->input));
	if (c.out.len != strlen(script->reply) || memcmp(c.out.data, script->reply, c.out.len) != 0)
		ck_abort_msg("\n%s (in %zu, split %zu, out %zu)\n  got      %s\n  expected %s\n", script->name,
		             pace->in_max, pace->split, pace->out_max, text_show(c.out.data, c.out.len),
		             text_show(script->reply, strlen(script->reply)));
	MUST(c.closed == script->closes);
	MUST(script->closes || session_is_idle(c.session));
	client_close(&c);
	fixture_close(&f);
}

START_TEST(script_whole)
{
	const struct script *script = &scripts[_i];

	play(script, &(struct pace){0}, 20);
	play(script, &(struct pace){.straight = true}, 20);
	play(script, &(struct pace){.lazy = true}, 20);
	play(script, &(struct pace){0}, 1);
}
END_TEST

START_TEST(script_in_single_bytes)
{
	const struct script *script = &scripts[_i];

	play(script, &(struct pace){.in_max = 1}, 20);
	play(script, &(struct pace){.out_max = 1}, 20);
	play(script, &(struct pace){.in_max = 1, .out_max = 1}, 20);
	play(script, &(struct pace){.in_max = 7, .out_max = 3, .lazy = true}, 2);
}
END_TEST

START_TEST(script_at_every_split)
{
	const struct script *script = &scripts[_i];

	for (size_t split = 1; split < strlen(script->input); split++)
		play(script, &(struct pace){.split = split}, 20);
}
END_TEST

/* ---- what scripts cannot say ------------------------------------------------ */

static struct fixture f;
static struct client c;

static void open_both(void)
{
	fixture_init(&f);
	fixture_open(&f);
	client_open(&c, &f, &(struct pace){0});
}

static void close_both(void)
{
	client_close(&c);
	fixture_close(&f);
}

static uint8_t pattern(size_t i, unsigned seed)
{
	return (uint8_t)(i * 31 + i / 251 + seed);
}

/* Store a value of len bytes of the pattern under key. */
static void send_set(const char *key, size_t len, unsigned seed)
{
	char head[320];
	struct text t = {0};

	text_add(&t, head, (size_t)snprintf(head, sizeof(head), "set %s 0 0 %zu\r\n", key, len));
	for (size_t i = 0; i < len; i++) {
		uint8_t byte = pattern(i, seed);
		text_add(&t, &byte, 1);
	}
	text_str(&t, "\r\n");
	client_send(&c, t.data, t.len);
	text_free(&t);
}

/* Check that the output at *at is the hit of send_set(), and step over it. */
static void take_hit(size_t *at, const char *key, size_t len, unsigned seed)
{
	char head[320];
	size_t n = (size_t)snprintf(head, sizeof(head), "VALUE %s 0 %zu\r\n", key, len);

	MUST(c.out.len >= *at + n + len + 2);
	MUST(memcmp(c.out.data + *at, head, n) == 0);
	*at += n;
	for (size_t i = 0; i < len; i++)
		MUST((uint8_t)c.out.data[*at + i] == pattern(i, seed));
	*at += len;
	MUST(memcmp(c.out.data + *at, "\r\n", 2) == 0);
	*at += 2;
}

static void send_raw(char byte, size_t len)
{
	char *data = malloc(len);

	memset(data, byte, len);
	client_send(&c, data, len);
	free(data);
}

static void take_line(size_t *at, const char *line)
{
	if (c.out.len < *at + strlen(line) || memcmp(c.out.data + *at, line, strlen(line)) != 0)
		ck_abort_msg("expected %s, got %s", line, text_show(c.out.data + *at, c.out.len - *at));
	*at += strlen(line);
}

static const size_t sizes[] = {1, 100, 4094, 4095, 4096, 4097, 5000, 16000, 16384, 20000, 70000, 300000, 1000000};
static const struct pace paces[] = {
        {0},
        {.in_max = 1000},
        {.in_max = 16384, .straight = true},
        {.in_max = 5000, .straight = true, .out_max = 777},
        {.in_max = 70000, .straight = true, .lazy = true},
};

START_TEST(values_of_all_sizes)
{
	size_t len = sizes[_i];

	for (size_t p = 0; p < ARRAY_LEN(paces); p++) {
		size_t at = 0;
		c.pace = paces[p];
		c.out.len = 0;
		send_set("big", len, (unsigned)p);
		client_send(&c, "get big miss big\r\nmn\r\n", 22);
		take_line(&at, "STORED\r\n");
		take_hit(&at, "big", len, (unsigned)p);
		take_hit(&at, "big", len, (unsigned)p);
		take_line(&at, "END\r\nMN\r\n");
		ck_assert_uint_eq(at, c.out.len);
		ck_assert(session_is_idle(c.session));
	}
}
END_TEST

START_TEST(too_large_is_swallowed_and_removes_the_old)
{
	size_t at = 0;

	client_expect(&c, "set a 0 0 1\r\nx\r\n", "STORED\r\n");
	c.pace = paces[_i];
	c.out.len = 0;
	send_set("a", (1 << 20) + 1, 0);
	client_send(&c, "get a\r\n", 7);
	take_line(&at, "SERVER_ERROR object too large for cache\r\nEND\r\n");
	ck_assert_uint_eq(f.stats.store_too_large, 1);
	ck_assert_uint_eq(f.stats.cmd_set, 1);
	/* other verbs keep it */
	c.pace = (struct pace){0};
	client_expect(&c, "set a 0 0 1\r\nx\r\nadd a 0 0 2000000 noreply\r\n", "STORED\r\n");
	struct text t = {0};
	for (int i = 0; i < 2000000; i++)
		text_str(&t, "v");
	text_str(&t, "\r\nget a\r\n");
	client_expect(&c, t.data, "VALUE a 0 1\r\nx\r\nEND\r\n");
	text_free(&t);
}
END_TEST

/* A large value gets its memory as it comes. Its first parts found some. */
START_TEST(memory_runs_out_in_the_middle_of_a_value)
{
	static const uint64_t chunks[] = {1, 2, 66, 67, 100, 200};

	for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
		size_t at = 0;
		c.pace = (struct pace){0};
		client_expect(&c, "set a 0 0 1\r\nx\r\n", "STORED\r\n");
		c.pace = paces[_i];
		c.out.len = 0;
		items_fail_alloc_after(f.items, chunks[i]);
		send_set("a", 1000000, 0);
		client_send(&c, "get a\r\nmn\r\n", 11);
		take_line(&at, "SERVER_ERROR out of memory storing object\r\nEND\r\nMN\r\n");
		ck_assert_uint_eq(at, c.out.len);
		ck_assert_uint_eq(f.stats.store_no_memory, i + 1);
		ck_assert_ptr_null(items_check(f.items));
		ck_assert(session_is_idle(c.session));
	}
	client_expect(&c, "set a 0 0 1\r\nx\r\n", "STORED\r\n");
	items_fail_alloc_after(f.items, 100);
	c.pace = (struct pace){0};
	c.out.len = 0;
	client_send(&c, "add b 0 0 900000 noreply\r\n", 26);
	for (int i = 0; i < 9; i++)
		send_raw('v', 100000);
	client_expect(&c, "\r\nget a b\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
	items_fail_alloc_after(f.items, 0);
}
END_TEST

START_TEST(a_value_being_sent_survives_its_replacement)
{
	struct client writer;
	size_t at = 0;

	send_set("a", 100000, 1);
	c.out.len = 0;
	c.pace = (struct pace){.lazy = true};
	client_open(&writer, &f, &(struct pace){0});
	session_input(c.session, (const uint8_t *)"get a\r\n", 7); /* and does not read */
	ck_assert(session_settle(c.session));
	client_expect(&writer, "set a 0 0 3\r\nnew\r\nget a\r\n", "STORED\r\nVALUE a 0 3\r\nnew\r\nEND\r\n");
	client_expect(&writer, "flush_all\r\n", "OK\r\n");
	for (int i = 0; i < 300; i++) { /* memory is asked for meanwhile */
		c.pace.lazy = false;
		char line[64];
		int n = snprintf(line, sizeof(line), "set k%d 0 0 1 noreply\r\nx\r\n", i);
		client_send(&writer, line, (size_t)n);
	}
	client_send(&c, "mn\r\n", 4);
	take_hit(&at, "a", 100000, 1);
	take_line(&at, "END\r\nMN\r\n");
	client_close(&writer);
}
END_TEST

START_TEST(incr_while_a_reader_holds_the_bytes)
{
	/* A reader that holds the old bytes must see them; the counter goes on in
	 * a new item, without padding. Needs a value that is pinned: over 4 KiB. */
	struct text t = {0};
	struct client reader;

	text_str(&t, "set n 0 0 5000\r\n99");
	for (int i = 0; i < 4998; i++)
		text_str(&t, " ");
	text_str(&t, "\r\n");
	client_expect(&c, t.data, "STORED\r\n");
	client_open(&reader, &f, &(struct pace){.lazy = true});
	session_input(reader.session, (const uint8_t *)"get n\r\n", 7);
	ck_assert(session_settle(reader.session));
	client_expect(&c, "decr n 90\r\nget n\r\n", "9\r\nVALUE n 0 1\r\n9\r\nEND\r\n");
	reader.pace.lazy = false;
	client_drain(&reader);
	ck_assert_uint_eq(reader.out.len, strlen("VALUE n 0 5000\r\n") + 5000 + strlen("\r\nEND\r\n"));
	ck_assert_int_eq(memcmp(reader.out.data + strlen("VALUE n 0 5000\r\n"), "99 ", 3), 0);
	client_close(&reader);
	text_free(&t);
}
END_TEST

START_TEST(a_long_number_keeps_its_length)
{
	struct text t = {0}, expected = {0};

	text_str(&t, "set n 6 0 300\r\n7");
	text_str(&expected, "STORED\r\n8\r\nVALUE n 6 300\r\n8");
	for (int i = 0; i < 299; i++) {
		text_str(&t, " ");
		text_str(&expected, " ");
	}
	text_str(&t, "\r\nincr n 1\r\nget n\r\n");
	text_str(&expected, "\r\nEND\r\n");
	client_expect(&c, t.data, expected.data);
	text_free(&t);
	text_free(&expected);
}
END_TEST

/* A get with far more keys than fit anything: `count` keys, hits every 10th. */
static void ask_for_many(size_t count)
{
	struct text t = {0};
	size_t at = 0;
	char key[32];

	for (size_t i = 0; i < count; i += 10) {
		snprintf(key, sizeof(key), "key%zu", i);
		send_set(key, 10 + i % 100, (unsigned)i);
	}
	text_str(&t, "get");
	for (size_t i = 0; i < count; i++)
		text_add(&t, key, (size_t)snprintf(key, sizeof(key), " key%zu", i));
	text_str(&t, "\r\nmn\r\n");
	c.out.len = 0;
	client_send(&c, t.data, t.len);
	for (size_t i = 0; i < count; i += 10) {
		snprintf(key, sizeof(key), "key%zu", i);
		take_hit(&at, key, 10 + i % 100, (unsigned)i);
	}
	take_line(&at, "END\r\nMN\r\n");
	ck_assert_uint_eq(at, c.out.len);
	text_free(&t);
}

START_TEST(unbounded_key_lists)
{
	static const struct pace ways[] = {{0}, {.in_max = 16384}, {.in_max = 1000, .out_max = 5000}, {.lazy = true}};

	c.pace = ways[_i];
	ask_for_many(20000);
	ck_assert_uint_eq(f.stats.cmd_get, 20000);
	ck_assert_uint_eq(f.stats.get_hits, 2000);
	/* nothing is kept of it */
	ck_assert_uint_lt(session_memory_bytes(c.session), 1024);
}
END_TEST

START_TEST(many_large_values_in_one_get)
{
	struct text t = {0};
	size_t at = 0;

	for (unsigned i = 0; i < 10; i++) {
		char key[16];
		snprintf(key, sizeof(key), "b%u", i);
		send_set(key, 50000 + i, i);
	}
	text_str(&t, "get");
	for (unsigned i = 0; i < 500; i++) {
		char key[16];
		snprintf(key, sizeof(key), " b%u", i % 10);
		text_str(&t, key);
	}
	text_str(&t, "\r\n");
	c.out.len = 0;
	c.pace = (struct pace){.lazy = true};
	client_send(&c, t.data, t.len);
	for (unsigned i = 0; i < 500; i++) {
		char key[16];
		snprintf(key, sizeof(key), "b%u", i % 10);
		take_hit(&at, key, 50000 + i % 10, i % 10);
	}
	take_line(&at, "END\r\n");
	ck_assert_uint_eq(at, c.out.len);
	/* bounded: the limit, and what one look ahead may add */
	ck_assert_uint_lt(c.waiting_max, SESSION_OUTPUT_BYTES_MAX + 17 * 51000);
	text_free(&t);
}
END_TEST

START_TEST(back_pressure)
{
	struct text t = {0}, expected = {0};

	f.settings.requests_per_event = 1000000; /* only the output stops it */
	send_set("v", 4000, 0);
	c.out.len = 0;
	for (int i = 0; i < 1000; i++)
		text_str(&t, "get v\r\n");
	c.pace = (struct pace){.lazy = true};
	session_input(c.session, (const uint8_t *)t.data, t.len);
	ck_assert_int_eq(session_state(c.session), SESSION_FLUSH);
	ck_assert(session_settle(c.session));
	ck_assert_int_eq(session_state(c.session), SESSION_FLUSH);
	ck_assert_uint_gt(session_memory_bytes(c.session), SESSION_OUTPUT_BYTES_MAX);
	ck_assert_uint_lt(session_memory_bytes(c.session), 3 * SESSION_OUTPUT_BYTES_MAX);
	ck_assert(!session_is_idle(c.session));
	ck_assert_str_eq(session_state_name(c.session), "conn_mwrite");
	client_drain(&c);
	c.pace.lazy = false;
	client_drain(&c);
	size_t at = 0;
	for (int i = 0; i < 1000; i++) {
		take_hit(&at, "v", 4000, 0);
		take_line(&at, "END\r\n");
	}
	ck_assert_uint_eq(at, c.out.len);
	ck_assert_uint_lt(session_memory_bytes(c.session), 1024);
	text_free(&t);
	text_free(&expected);
}
END_TEST

START_TEST(fairness)
{
	struct iovec iov[4];
	struct text t = {0};

	f.settings.requests_per_event = 5;
	for (int i = 0; i < 12; i++)
		text_str(&t, "mn\r\n");
	session_input(c.session, (const uint8_t *)t.data, t.len);
	ck_assert_int_eq(session_state(c.session), SESSION_YIELD);
	ck_assert_int_eq(session_output(c.session, iov, 4), 1);
	ck_assert_uint_eq(iov[0].iov_len, 5 * 4);
	ck_assert_uint_eq(f.stats.conn_yields, 1);
	ck_assert(session_settle(c.session));
	session_resume(c.session);
	ck_assert_int_eq(session_state(c.session), SESSION_YIELD);
	ck_assert(session_settle(c.session));
	session_resume(c.session);
	ck_assert_int_eq(session_state(c.session), SESSION_READ);
	ck_assert_uint_eq(f.stats.conn_yields, 2);
	client_drain(&c);
	ck_assert_uint_eq(c.out.len, 12 * 4);
	/* exactly the limit is no reason to yield */
	session_input(c.session, (const uint8_t *)t.data, 5 * 4);
	ck_assert_int_eq(session_state(c.session), SESSION_READ);
	ck_assert_uint_eq(f.stats.conn_yields, 2);
	client_drain(&c);
	text_free(&t);
}
END_TEST

START_TEST(overlong_lines_close)
{
	char line[SESSION_LINE_BYTES_MAX + 1];

	memset(line, 'x', sizeof(line));
	client_expect(&c, "mn\r\n", "MN\r\n");
	client_send(&c, line, SESSION_LINE_BYTES_MAX);
	ck_assert(!c.closed);
	ck_assert_str_eq(session_state_name(c.session), "conn_read");
	client_send(&c, "x", 1);
	ck_assert(c.closed);
	ck_assert_uint_eq(c.out.len, 4);
}
END_TEST

START_TEST(a_line_in_one_piece_may_be_long)
{
	struct text t = {0};

	text_str(&t, "touch k 1");
	for (int i = 0; i < 10000; i++)
		text_str(&t, " ");
	text_str(&t, "\r\n");
	client_expect(&c, t.data, "NOT_FOUND\r\n");
	text_free(&t);
}
END_TEST

START_TEST(an_idle_session_is_small)
{
	ck_assert_uint_lt(session_memory_bytes(c.session), 1024);
	ck_assert(session_is_idle(c.session));
	c.pace = (struct pace){.in_max = 3, .out_max = 2};
	client_expect(&c, "set a 0 0 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
	ck_assert_uint_lt(session_memory_bytes(c.session), 1024);
	ck_assert_str_eq(session_state_name(c.session), "conn_new_cmd");
}
END_TEST

START_TEST(gone_in_the_middle)
{
	static const char *const parts[] = {
	        "set a 0 0 1", "set a 0 0 10\r\n", "set a 0 0 10\r\nabc", "set a 0 0 100000\r\nabc",
	        "set a -1 0 10\r\nabc", "get v v v v\r\nget ", "get v v v v v v",
	};

	send_set("v", 200000, 0);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		struct client gone;
		client_open(&gone, &f, &(struct pace){.lazy = true});
		session_input(gone.session, (const uint8_t *)parts[i], strlen(parts[i]));
		ck_assert(!session_is_idle(gone.session));
		if (i % 2)
			ck_assert(session_settle(gone.session));
		client_close(&gone);
	}
	client_expect(&c, "get a\r\n", "END\r\n");
	ck_assert_uint_eq(f.stats.cmd_set, 1);
}
END_TEST

START_TEST(state_names)
{
	session_input(c.session, (const uint8_t *)"set a 0 0 10\r\nabc", 17);
	ck_assert_str_eq(session_state_name(c.session), "conn_nread");
	client_drain(&c);
	client_expect(&c, "defghij\r\n", "STORED\r\n");
	session_input(c.session, (const uint8_t *)"set a x 0 10\r\nabc", 17);
	ck_assert_str_eq(session_state_name(c.session), "conn_swallow");
	client_drain(&c);
	client_expect(&c, "defghij\r\n", BADFMT);
	client_expect(&c, "quit\r\n", "");
	ck_assert_str_eq(session_state_name(c.session), "conn_closing");
}
END_TEST

START_TEST(bytes_are_counted)
{
	client_expect(&c, "set a 0 0 1\r\nx\r\n", "STORED\r\n");
	ck_assert_uint_eq(f.stats.bytes_read, 16);
	ck_assert_uint_eq(f.stats.bytes_written, 8);
	c.pace.straight = true;
	c.pace.in_max = 10000;
	send_set("b", 100000, 0);
	ck_assert_uint_eq(f.stats.bytes_read, 16 + strlen("set b 0 0 100000\r\n") + 100002);
}
END_TEST

/* Two sessions take turns; whatever is left of one is settled before the other
 * writes, so no reply reaches the wrong client. */
START_TEST(replies_do_not_cross)
{
	struct client other;
	size_t at = 0;

	client_open(&other, &f, &(struct pace){.out_max = 1});
	c.pace.out_max = 2;
	client_expect(&c, "set a 0 0 5\r\nfirst\r\n", "STORED\r\n");
	client_expect(&other, "set b 0 0 6\r\nsecond\r\n", "STORED\r\n");
	c.out.len = other.out.len = 0;
	for (int i = 0; i < 50; i++) {
		session_input(c.session, (const uint8_t *)"get a\r\n", 7);
		ck_assert(session_settle(c.session));
		session_input(other.session, (const uint8_t *)"get b\r\n", 7);
		ck_assert(session_settle(other.session));
	}
	client_drain(&other);
	client_drain(&c);
	for (int i = 0; i < 50; i++)
		take_line(&at, "VALUE a 0 5\r\nfirst\r\nEND\r\n");
	ck_assert_uint_eq(at, c.out.len);
	ck_assert_uint_eq(other.out.len, 50 * strlen("VALUE b 0 6\r\nsecond\r\nEND\r\n"));
	client_close(&other);
}
END_TEST

/* A value that cannot be pinned: what was answered of that command is taken
 * back, what was answered before it is not. */
START_TEST(no_memory_to_answer)
{
	send_set("a", 10000, 0);
	send_set("b", 1, 0);
	items_fail_alloc_after(f.items, 1);
	client_expect(&c, "mn\r\nget b a b\r\nget x\r\n",
	              "MN\r\nSERVER_ERROR out of memory writing get response\r\nEND\r\n");
	ck_assert_uint_eq(f.stats.response_oom, 1);
	items_fail_alloc_after(f.items, 0);
}
END_TEST

/* ---- noise ------------------------------------------------------------------ */

/* A conversation at random: words that mean something in places where they may
 * not, broken bodies, values of all sizes. Lines stay short, and so do those of a
 * body that is taken for commands, because the limit on unfinished lines is the
 * one thing that depends on how bytes arrive. */
static void make_noise(struct prng *p, struct text *out)
{
	static const char *const words[] = {
	        "get", "gets", "gat", "gats", "set", "add", "replace", "append", "prepend", "cas", "delete", "incr",
	        "decr", "touch", "flush_all", "version", "verbosity", "mn", "stats sizes", "a", "b", "c", "a", "b",
	        "0", "1", "2", "5", "-1", "10", "5000", "noreply", "x", "18446744073709551615", KEY_250, KEY_251,
	};
	static const char *const ends[] = {"\r\n", "\r\n", "\r\n", "\n", " ", "", "\r"};
	static const char *const verbs[] = {"set", "append", "prepend", "add"};
	char line[64];

	for (int i = 0; i < 40; i++) {
		size_t len = prng_below(p, 8) ? prng_below(p, 30) : prng_below(p, 9000);
		int n = snprintf(line, sizeof(line), "%s %c 0 0 %zu\r\n", verbs[prng_below(p, 4)],
		                 "abc"[prng_below(p, 3)], len);
		if (prng_below(p, 3) == 0) {
			text_add(out, line, (size_t)n);
			for (size_t j = 0; j < len; j++)
				text_add(out, j % 100 == 99 ? "\n" : "1", 1);
			text_str(out, prng_below(p, 10) ? "\r\n" : "\rx");
		}
		text_str(out, "get a b c\r\n");
		for (uint64_t count = prng_below(p, 6); count > 0; count--) {
			text_str(out, words[prng_below(p, ARRAY_LEN(words))]);
			text_str(out, " ");
		}
		text_str(out, ends[prng_below(p, ARRAY_LEN(ends))]);
	}
	text_str(out, "\r\nmn\r\n");
}

/* What a fresh server answers to it at this pace. */
static struct text answers(const struct text *input, const struct pace *pace, int requests_per_event)
{
	static struct fixture server;
	struct client noisy;

	fixture_init(&server);
	server.settings.requests_per_event = requests_per_event;
	fixture_open(&server);
	client_open(&noisy, &server, pace);
	client_send(&noisy, input->data, input->len);
	struct text out = noisy.out;
	noisy.out = (struct text){0};
	client_close(&noisy);
	fixture_close(&server);
	return out;
}

/* Input, as the shell gives it; what may be sent now, up to `size`. */
static size_t say(struct session *session, const char *input, char *out, size_t size)
{
	struct iovec iov[4];
	size_t used = 0;

	if (*input)
		session_input(session, (const uint8_t *)input, strlen(input));
	for (int n; (n = session_output(session, iov, ARRAY_LEN(iov))) > 0;) {
		MUST(used + iov[0].iov_len < size);
		memcpy(out + used, iov[0].iov_base, iov[0].iov_len);
		used += iov[0].iov_len;
		session_sent(session, iov[0].iov_len);
	}
	MUST(session_settle(session));
	out[used] = '\0';
	return used;
}

START_TEST(replies_to_changes_wait_for_the_peer)
{
	static struct fixture server;
	struct hold_queue holds;
	char out[512];

	fixture_init(&server);
	fixture_open(&server);
	hold_queue_init(&holds, 100);
	hold_on_link(&holds, true);
	server.engine.holds = &holds;
	struct session *one = session_new(&server.engine, server.shared);
	struct session *two = session_new(&server.engine, server.shared);

	ck_assert_uint_eq(say(one, "get k\r\n", out, sizeof(out)), 5); /* a read does not wait */
	ck_assert_uint_eq(say(one, "set k 0 0 1\r\na\r\nget k\r\n", out, sizeof(out)), 0);
	ck_assert_int_eq(session_state(one), SESSION_HOLD);
	ck_assert(!session_is_idle(one));
	ck_assert_str_eq(session_state_name(one), "conn_waiting");
	say(two, "get k\r\n", out, sizeof(out)); /* others see it and do not wait */
	ck_assert_str_eq(out, "VALUE k 0 1\r\na\r\nEND\r\n");
	say(two, "set q 0 0 1 noreply\r\nb\r\n", out, sizeof(out));
	ck_assert_int_eq(session_state(two), SESSION_READ); /* nothing to wait with */
	ck_assert_uint_eq(say(two, "mn\r\n", out, sizeof(out)), 0); /* until there is */
	ck_assert_int_eq(session_state(two), SESSION_HOLD);
	hold_on_ack(&holds, server.hlc.last - 1, false);
	ck_assert_int_eq(session_state(one), SESSION_READ);
	ck_assert_int_eq(session_hold_result(one), HOLD_ACKED);
	say(one, "", out, sizeof(out));
	ck_assert_str_eq(out, "STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n");
	hold_on_ack(&holds, server.hlc.last, false);
	say(two, "", out, sizeof(out));
	ck_assert_str_eq(out, "MN\r\n");
	say(two, "set q 0 0 1 noreply\r\nc\r\n", out, sizeof(out));
	hold_on_ack(&holds, server.hlc.last, false);
	ck_assert_uint_eq(say(two, "mn\r\n", out, sizeof(out)), 4); /* acknowledged by then */

	ck_assert_uint_eq(say(two, "delete k\r\nquit\r\n", out, sizeof(out)), 0);
	ck_assert_int_eq(session_state(two), SESSION_HOLD); /* even at the end */
	hold_on_link(&holds, false);
	ck_assert_int_eq(session_state(two), SESSION_CLOSE);
	say(two, "", out, sizeof(out));
	ck_assert_str_eq(out, "DELETED\r\n");
	session_free(two);

	hold_on_link(&holds, true);
	say(one, "incr none 1\r\nadd k 0 0 1\r\nc\r\n", out, sizeof(out));
	ck_assert_int_eq(session_state(one), SESSION_HOLD);
	session_free(one); /* in the middle of it */
	ck_assert_uint_eq(holds.waiting, 0);
	fixture_close(&server);
}
END_TEST

/* The shell hands over the end of a body and what came behind it in one turn. */
START_TEST(what_follows_a_body_waits_with_its_reply)
{
	static struct fixture server;
	struct hold_queue holds;
	struct iovec iov[4];
	char out[512];

	fixture_init(&server);
	fixture_open(&server);
	hold_queue_init(&holds, 100);
	hold_on_link(&holds, true);
	server.engine.holds = &holds;
	struct session *s = session_new(&server.engine, server.shared);

	say(s, "set k 0 0 5000\r\n", out, sizeof(out));
	ck_assert_int_eq(session_body_iov(s, iov, ARRAY_LEN(iov)), 2);
	memset(iov[0].iov_base, 'x', iov[0].iov_len);
	memcpy(iov[1].iov_base, "\r\n", 2);
	session_body_received(s, 5002);
	ck_assert_int_eq(session_state(s), SESSION_HOLD);
	ck_assert_uint_eq(say(s, "set q 0 0 1\r\nb\r\nget q\r\nget q", out, sizeof(out)), 0);
	ck_assert_int_eq(session_state(s), SESSION_HOLD);
	hold_on_ack(&holds, server.hlc.last, false);
	ck_assert_int_eq(session_state(s), SESSION_YIELD);
	say(s, "", out, sizeof(out));
	ck_assert_str_eq(out, "STORED\r\n");
	session_resume(s);
	ck_assert_int_eq(session_state(s), SESSION_HOLD);
	ck_assert_uint_eq(holds.waiting, 1);
	hold_on_ack(&holds, server.hlc.last, false);
	ck_assert_int_eq(session_state(s), SESSION_READ);
	say(s, "", out, sizeof(out));
	ck_assert_str_eq(out, "STORED\r\nVALUE q 0 1\r\nb\r\nEND\r\n");
	say(s, "\r\n", out, sizeof(out));
	ck_assert_str_eq(out, "VALUE q 0 1\r\nb\r\nEND\r\n");
	session_free(s);
	fixture_close(&server);
}
END_TEST

START_TEST(noise_is_answered_alike_in_all_pieces)
{
	struct prng p = {.state = (uint64_t)_i};
	struct text input = {0};

	make_noise(&p, &input);
	struct text whole = answers(&input, &(struct pace){0}, 20);
	for (int i = 0; i < 6; i++) {
		struct pace pace = {
		        .in_max = 1 + prng_below(&p, i < 3 ? 20 : 5000),
		        .out_max = prng_below(&p, 3) * prng_below(&p, 3000),
		        .lazy = prng_below(&p, 2),
		        .straight = prng_below(&p, 2),
		};
		struct text pieces = answers(&input, &pace, 1 + (int)prng_below(&p, 30));
		if (pieces.len != whole.len || memcmp(pieces.data, whole.data, whole.len) != 0)
			ck_abort_msg("seed %d: pieces of %zu", _i, pace.in_max);
		text_free(&pieces);
	}
	text_free(&whole);
	text_free(&input);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session");
	TCase *scripted = tcase_create("scripts");
	TCase *more = tcase_create("more");

	tcase_set_timeout(scripted, 120);
	tcase_add_loop_test(scripted, script_whole, 0, (int)ARRAY_LEN(scripts));
	tcase_add_loop_test(scripted, script_in_single_bytes, 0, (int)ARRAY_LEN(scripts));
	tcase_add_loop_test(scripted, script_at_every_split, 0, (int)ARRAY_LEN(scripts));
	suite_add_tcase(suite, scripted);
	tcase_set_timeout(more, 120);
	tcase_add_checked_fixture(more, open_both, close_both);
	tcase_add_loop_test(more, values_of_all_sizes, 0, (int)ARRAY_LEN(sizes));
	tcase_add_loop_test(more, too_large_is_swallowed_and_removes_the_old, 0, (int)ARRAY_LEN(paces));
	tcase_add_loop_test(more, memory_runs_out_in_the_middle_of_a_value, 0, (int)ARRAY_LEN(paces));
	tcase_add_test(more, a_value_being_sent_survives_its_replacement);
	tcase_add_test(more, incr_while_a_reader_holds_the_bytes);
	tcase_add_test(more, a_long_number_keeps_its_length);
	tcase_add_loop_test(more, unbounded_key_lists, 0, 4);
	tcase_add_test(more, many_large_values_in_one_get);
	tcase_add_test(more, back_pressure);
	tcase_add_test(more, fairness);
	tcase_add_test(more, overlong_lines_close);
	tcase_add_test(more, a_line_in_one_piece_may_be_long);
	tcase_add_test(more, an_idle_session_is_small);
	tcase_add_test(more, gone_in_the_middle);
	tcase_add_test(more, state_names);
	tcase_add_test(more, bytes_are_counted);
	tcase_add_test(more, replies_do_not_cross);
	tcase_add_test(more, no_memory_to_answer);
	tcase_add_test(more, replies_to_changes_wait_for_the_peer);
	tcase_add_test(more, what_follows_a_body_waits_with_its_reply);
	tcase_add_loop_test(more, noise_is_answered_alike_in_all_pieces, 0, 100);
	suite_add_tcase(suite, more);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
