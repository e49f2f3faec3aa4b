/*
 * test_command_admin.c - slabs, lru, lru_crawler and cache_memlimit: every answer,
 * and lists of all keys while the data changes.
 *
 * Covers: command_admin.c, command_dump.c; sections 1.7 to 1.10 of the protocol.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"
#include "util.h"

#define BADFMT "CLIENT_ERROR bad command line format\r\n"

static struct fixture f;
static struct client c;

static void setup(void)
{
	fixture_init(&f);
	fixture_open(&f);
	client_open(&c, &f, &(struct pace){0});
}

static void teardown(void)
{
	client_close(&c);
	fixture_close(&f);
}

static const char *ask(const char *input)
{
	c.out.len = 0;
	client_send(&c, input, strlen(input));
	return c.out.data ? c.out.data : "";
}

static const char *value_of(const char *list, const char *name)
{
	static char value[256];
	char line[300];

	snprintf(line, sizeof(line), "stats %s\r\n", list);
	ask(line);
	snprintf(line, sizeof(line), "STAT %s ", name);
	const char *at = strstr(c.out.data, line);
	if (!at)
		return "absent";
	at += strlen(line);
	snprintf(value, sizeof(value), "%.*s", (int)(strchr(at, '\r') - at), at);
	return value;
}

static void store(const char *key, int exptime_s)
{
	char line[400];

	snprintf(line, sizeof(line), "set %s 0 %d 1 noreply\r\nx\r\n", key, exptime_s);
	ask(line);
}

/* ---- every answer ---------------------------------------------------------------- */

struct answer {
	const char *input, *reply;
};

static const struct answer answers[] = {
        {"slabs", "ERROR"},
        {"slabs bogus", "ERROR"},
        {"slabs reassign", "ERROR"},
        {"slabs reassign 1", "ERROR"},
        {"slabs reassign 1 2 3", "ERROR"},
        {"slabs reassign a 2", "CLIENT_ERROR bad command line format"},
        {"slabs reassign 1 b", "CLIENT_ERROR bad command line format"},
        {"slabs reassign 1 255", "BADCLASS invalid src or dst class id"},
        {"slabs reassign -2 1", "BADCLASS invalid src or dst class id"},
        {"slabs reassign 1 -1", "BADCLASS invalid src or dst class id"},
        {"slabs reassign -1 1", "BADCLASS invalid src or dst class id"}, /* nobody has a page */
        {"slabs reassign 1 1", "SAME src and dst class are identical"},
        {"slabs reassign 1 2", "NOSPARE source class has no spare pages"},
        {"slabs reassign 0 1", "OK"},
        {"slabs reassign 1 0", "NOSPARE source class has no spare pages"},
        {"slabs automove", "ERROR"},
        {"slabs automove x", "CLIENT_ERROR bad command line format"},
        {"slabs automove 3", "ERROR"},
        {"slabs automove -1", "ERROR"},
        {"slabs automove 0", "OK"},
        {"slabs automove 1", "OK"},
        {"slabs automove 2", "OK"},
        {"slabs automove ratio 0.5", "OK"},
        {"slabs automove ratio", "ERROR"},
        {"slabs automove ratio 0.5x", "ERROR"},
        {"slabs automove freeratio 0.01", "OK"},
        {"slabs automove freeratio abc", "ERROR"},
        {"slabs automove window 3", "OK"},
        {"slabs automove window 1800", "OK"},
        {"slabs automove window 2", "CLIENT_ERROR automove window too low or too high"},
        {"slabs automove window 1801", "CLIENT_ERROR automove window too low or too high"},
        {"slabs automove window x", "CLIENT_ERROR bad command line format"},
        {"lru", "ERROR"},
        {"lru bogus", "ERROR"},
        {"lru tune 10 25 0.1 2.0", "OK"},
        {"lru tune 10 25 0.1", "ERROR"},
        {"lru tune 40 40 0.1 2.0", "OK"},
        {"lru tune 40 41 0.1 2.0", "ERROR hot and warm pcts must not exceed 80"},
        {"lru tune 4294967295 1 0.1 2.0", "ERROR hot and warm pcts must not exceed 80"},
        {"lru tune 10 25 0 2.0", "ERROR hot/warm age factors must be greater than 0"},
        {"lru tune 10 25 0.1 -1", "ERROR hot/warm age factors must be greater than 0"},
        {"lru tune 10 25 nan 1", "ERROR hot/warm age factors must be greater than 0"},
        {"lru tune a 25 0.1 1", "ERROR"},
        {"lru mode", "ERROR"},
        {"lru mode flat", "OK"},
        {"lru mode segmented", "OK"},
        {"lru mode round", "ERROR"},
        {"lru temp_ttl", "ERROR"},
        {"lru temp_ttl 61", "OK"},
        {"lru temp_ttl -1", "OK"},
        {"lru temp_ttl x", "ERROR"},
        {"lru_crawler", "ERROR"},
        {"lru_crawler bogus", "ERROR"},
        {"lru_crawler enable", "ERROR failed to start lru crawler thread"},
        {"lru_crawler sleep 0", "OK"},
        {"lru_crawler sleep 1000000", "OK"},
        {"lru_crawler sleep 1000001", "CLIENT_ERROR sleep must be one second or less"},
        {"lru_crawler sleep x", "CLIENT_ERROR bad command line format"},
        {"lru_crawler sleep -1", "CLIENT_ERROR bad command line format"},
        {"lru_crawler sleep", "ERROR"},
        {"lru_crawler sleep 100", "OK"},
        {"lru_crawler tocrawl 0", "OK"},
        {"lru_crawler tocrawl 4294967295", "OK"},
        {"lru_crawler tocrawl 4294967296", "CLIENT_ERROR bad command line format"},
        {"lru_crawler tocrawl", "ERROR"},
        {"lru_crawler crawl", "ERROR"},
        {"lru_crawler crawl 1 2", "ERROR"},
        {"lru_crawler crawl hash", "ERROR an unknown error happened"},
        {"lru_crawler crawl 0", "BADCLASS invalid class id"},
        {"lru_crawler crawl 1,0", "BADCLASS invalid class id"},
        {"lru_crawler crawl 1,", "BADCLASS invalid class id"},
        {"lru_crawler crawl ,1", "BADCLASS invalid class id"},
        {"lru_crawler crawl 255", "BADCLASS invalid class id"},
        {"lru_crawler crawl x", "BADCLASS invalid class id"},
        {"lru_crawler crawl 1,2,3", "OK"},
        {"lru_crawler crawl all", "BUSY currently processing crawler request"},
        {"lru_crawler metadump", "ERROR"},
        {"lru_crawler metadump 0", "BADCLASS invalid class id"},
        {"lru_crawler metadump all all", "ERROR"},
        {"lru_crawler metadump all", "OK\r\nEND"},
        {"lru_crawler metadump hash", "OK\r\nEND"},
        {"lru_crawler metadump 1,2,3", "OK\r\nEND"},
        {"lru_crawler mgdump", "ERROR"},
        {"lru_crawler mgdump 255", "BADCLASS invalid class id"},
        {"lru_crawler mgdump all", "OK\r\nEN"},
        {"lru_crawler disable", "OK"},
        {"lru_crawler disable", "OK"},
        {"lru_crawler crawl all", "CLIENT_ERROR lru crawler disabled"},
        {"lru_crawler metadump all", "CLIENT_ERROR lru crawler disabled"},
        {"lru_crawler mgdump hash", "CLIENT_ERROR lru crawler disabled"},
        {"lru_crawler enable", "OK"},
        {"lru_crawler crawl all", "OK"},
        {"cache_memlimit", "ERROR"},
        {"cache_memlimit x", "ERROR"},
        {"cache_memlimit -1", "ERROR"},
        {"cache_memlimit 7", "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m"},
        {"cache_memlimit 8", "OK"},
        {"cache_memlimit 64", "OK"},
        {"cache_memlimit 65", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"},
        {"cache_memlimit 1000000000", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"},
        {"cache_memlimit 1000000001", "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes"},
        {"  cache_memlimit 8", "OK"},
};

START_TEST(every_answer)
{
	char line[200], expected[200];

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		snprintf(line, sizeof(line), "%s\r\n", answers[i].input);
		snprintf(expected, sizeof(expected), "%s\r\n", answers[i].reply);
		ck_assert_msg(!strcmp(ask(line), expected), "%s: %s", answers[i].input, c.out.data);
	}
}
END_TEST

START_TEST(quiet_answers)
{
	char line[200];

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		snprintf(line, sizeof(line), "%s noreply\r\nmn\r\n", answers[i].input);
		ck_assert_msg(!strcmp(ask(line), "MN\r\n"), "%s noreply: %s", answers[i].input, c.out.data);
	}
}
END_TEST

START_TEST(what_the_settings_forbid)
{
	f.settings.slab_reassign = false;
	f.settings.dump_enabled = false;
	ck_assert_str_eq(ask("slabs reassign 0 1\r\n"), "CLIENT_ERROR slab reassignment disabled\r\n");
	ck_assert_str_eq(ask("lru_crawler metadump all\r\n"), "ERROR metadump not allowed\r\n");
	ck_assert_str_eq(ask("lru_crawler mgdump all\r\n"), "ERROR key dump not allowed\r\n");
	f.settings.lock_memory = true;
	ck_assert_str_eq(ask("cache_memlimit 16\r\n"),
	                 "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust\r\n");
}
END_TEST

/* What was set is shown, and where nothing was set nothing is. */
START_TEST(shown_in_the_settings)
{
	ck_assert_str_eq(value_of("settings", "slab_reassign"), "yes");
	ck_assert_str_eq(value_of("settings", "slab_automove"), "1");
	ask("slabs automove 2\r\nlru_crawler sleep 5000\r\nlru_crawler tocrawl 17\r\nlru_crawler disable\r\n"
	    "cache_memlimit 32\r\nslabs automove ratio 0.3\r\nlru tune 1 2 3 4\r\nlru mode flat\r\n");
	ck_assert_str_eq(value_of("settings", "slab_automove"), "2");
	ck_assert_str_eq(value_of("settings", "lru_crawler"), "no");
	ck_assert_str_eq(value_of("settings", "lru_crawler_sleep"), "5000");
	ck_assert_str_eq(value_of("settings", "lru_crawler_tocrawl"), "17");
	ck_assert_str_eq(value_of("settings", "maxbytes"), "33554432");
	ck_assert_str_eq(value_of("", "limit_maxbytes"), "33554432");
	ck_assert_str_eq(value_of("", "lru_crawler_running"), "absent");
	ck_assert_str_eq(value_of("settings", "slab_automove_ratio"), "absent");
	ck_assert_str_eq(value_of("settings", "hot_lru_pct"), "absent");
	ask("lru_crawler enable\r\n");
	ck_assert_str_eq(value_of("settings", "lru_crawler"), "yes");
	ck_assert_str_eq(value_of("", "lru_crawler_running"), "0");
}
END_TEST

START_TEST(the_crawler_can_be_stopped)
{
	store("brief", 2);
	store("long", 0);
	ask("lru_crawler disable\r\n");
	for (int second = 0; second < 5; second++)
		fixture_advance(&f, 1000);
	ck_assert_str_eq(value_of("", "curr_items"), "2");
	ck_assert_str_eq(ask("get brief\r\n"), "END\r\n");
	ask("lru_crawler enable\r\nlru_crawler crawl all\r\n");
	fixture_advance(&f, 0);
	ck_assert_str_eq(value_of("", "curr_items"), "1");
	ck_assert_str_eq(value_of("", "crawler_reclaimed"), "1");
}
END_TEST

static void some_memory(void *ctx, struct memory_info *out)
{
	(void)ctx;
	*out = (struct memory_info){5000000, 1000000, 20000, 3000};
}

START_TEST(memory_adds_up)
{
	static const char *const parts[] = {"item_data", "item_headers", "chunk_waste", "chunks_free", "index",
	                                    "ghosts", "page_tables", "tombstones", "connections", "buffers",
	                                    "replication", "program"};
	uint64_t sum = 0;
	f.env.memory = some_memory;
	for (int n = 0; n < 1000; n++)
		store("many", n);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const char *value = value_of("memory", parts[i]);
		ck_assert_msg(strcmp(value, "absent"), "%s", parts[i]);
		sum += strtoull(value, NULL, 10);
	}
	ck_assert_uint_eq(strtoull(value_of("memory", "sum"), NULL, 10), sum);
	ck_assert_int_eq(strtoll(value_of("memory", "remainder"), NULL, 10), 5000000 - (int64_t)sum);
	ck_assert_str_eq(value_of("memory", "connections"), "20000");
	ck_assert_str_eq(value_of("memory", "2:items"), "1");
	ck_assert_str_eq(value_of("memory", "2:item_bytes"), "33");
	ck_assert_str_eq(value_of("memory", "pages_used"), "1");
	f.env.memory = NULL;
	ck_assert_str_eq(value_of("memory", "remainder"), "absent");
}
END_TEST

START_TEST(latency_is_reset)
{
	uint64_t spent[TURN_CAUSE_COUNT] = {[TURN_CLIENT] = 7};
	latency_record(&f.engine.latency, 9, spent, FIXTURE_WALL_MS);
	ck_assert_str_eq(value_of("latency", "turns"), "1");
	ck_assert_str_eq(value_of("latency", "worst_cause"), "client");
	ask("stats reset\r\n");
	ck_assert_str_eq(value_of("latency", "turns"), "0");
	ck_assert_str_eq(value_of("latency", "worst_us"), "0");
}
END_TEST

/* ---- lists of keys ------------------------------------------------------------------ */

START_TEST(lines_of_a_metadump)
{
	ask("set plain 7 0 5\r\nhello\r\nset a%b/c~d 0 100 1\r\nx\r\nget plain\r\n");
	fixture_advance(&f, 3000);
	ask("lru_crawler metadump all\r\n");
	ck_assert_ptr_nonnull(strstr(c.out.data, "key=plain exp=-1 la=1750000000 cas=1 fetch=yes cls="));
	ck_assert_ptr_nonnull(strstr(c.out.data, " size=42 flags=7 \n"));
	ck_assert_ptr_nonnull(strstr(c.out.data,
	                             "key=a%25b%2Fc~d exp=1750000100 la=1750000000 cas=2 fetch=no cls="));
	f.settings.cas = false;
	ask("lru_crawler metadump hash\r\n");
	ck_assert_ptr_nonnull(strstr(c.out.data, "cas=0 fetch=yes"));
}
END_TEST

START_TEST(keys_that_need_base64)
{
	struct key key = fixture_key(&f, "a b\n");
	enum items_status status;
	struct item *i = items_reserve(f.items, &key, 0, 0, 0, &status);

	items_install(f.items, i, CAUSE_CLIENT, NULL, 0);
	ck_assert_str_eq(ask("lru_crawler mgdump all\r\n"), "OK\r\nmg YSBiCg== b\r\nEN\r\n");
	ask("lru_crawler metadump all\r\n");
	ck_assert_ptr_nonnull(strstr(c.out.data, "key=a%20b%0A exp="));
	ask("flush_all\r\n");
	key = fixture_key(&f, "printable");
	i = items_reserve(f.items, &key, 0, 0, 0, &status);
	items_install(f.items, i, CAUSE_CLIENT, NULL, ITEM_BINKEY);
	ck_assert_str_eq(ask("lru_crawler mgdump all\r\n"), "OK\r\nmg cHJpbnRhYmxl b\r\nEN\r\n");
}
END_TEST

START_TEST(dead_items_are_not_listed)
{
	ask("lru_crawler disable\r\n");
	store("flushed", 0);
	ask("flush_all\r\n");
	store("expired", 2);
	store("alive", 1000);
	f.now.wall_ms += 3000;
	f.now.mono_ms += 3000;
	ask("lru_crawler enable\r\n");
	ck_assert_str_eq(ask("lru_crawler mgdump all\r\n"), "OK\r\nmg alive\r\nEN\r\n");
}
END_TEST

START_TEST(classes_of_a_list)
{
	char value[5000], line[5100];
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	store("a", 0);
	snprintf(line, sizeof(line), "set large 0 0 %zu noreply\r\n%s\r\n", sizeof(value) - 1, value);
	ask(line);
	struct key key = fixture_key(&f, "large");
	int id = items_class_of(f.items, items_find(f.items, &key, ITEMS_PEEK, NULL));
	ck_assert_str_eq(ask("lru_crawler mgdump 1\r\n"), "OK\r\nmg a\r\nEN\r\n");
	snprintf(line, sizeof(line), "lru_crawler mgdump %d,2\r\n", id);
	ck_assert_str_eq(ask(line), "OK\r\nmg large\r\nEN\r\n");
	snprintf(line, sizeof(line), "lru_crawler mgdump 1,%d\r\n", id);
	ask(line);
	ck_assert(strstr(c.out.data, "mg a\r\n") && strstr(c.out.data, "mg large\r\n"));
}
END_TEST

START_TEST(nothing_may_wait_before_a_list)
{
	ck_assert_str_eq(ask("mn\r\nlru_crawler metadump all\r\nmn\r\n"),
	                 "MN\r\nERROR cannot pipeline other commands before metadump\r\nMN\r\n");
	ck_assert_str_eq(ask("mn\r\nlru_crawler mgdump all\r\n"),
	                 "MN\r\nERROR cannot pipeline other commands before mgdump\r\n");
	ck_assert_str_eq(ask("verbosity 0 noreply\r\nlru_crawler mgdump all\r\nmn\r\n"), "OK\r\nEN\r\nMN\r\n");
}
END_TEST

#define STABLE 20000

static void count_listed(uint8_t *times, const struct text *out)
{
	for (const char *at = strstr(out->data, "mg s"); at; at = strstr(at + 1, "mg s")) {
		unsigned n = (unsigned)strtoul(at + 4, NULL, 10);
		ck_assert_uint_lt(n, STABLE);
		times[n]++;
	}
}

/* A reader takes a few bytes at a time. Meanwhile another client stores so much
 * that the index grows, pages change their class, and a limit is raised. */
START_TEST(every_stable_key_once)
{
	static uint8_t times[STABLE];
	struct client writer;
	char line[200];
	uint32_t written = 0;
	memset(times, 0, sizeof(times));
	ask("cache_memlimit 32\r\n");
	for (uint32_t n = 0; n < STABLE; n++) {
		snprintf(line, sizeof(line), "s%" PRIu32, n);
		store(line, 0);
	}
	client_open(&writer, &f, &(struct pace){0});
	c.pace.out_max = 5000;
	c.out.len = 0;
	session_input(c.session, (const uint8_t *)"lru_crawler mgdump all\r\n", 24);
	while (!strstr(c.out.data ? c.out.data : "", "\r\nEN\r\n")) {
		struct iovec iov[4];
		int count = session_output(c.session, iov, 4);
		size_t len = count > 0 ? iov[0].iov_len : 0;
		if (len > 5000)
			len = 5000;
		if (len) {
			text_add(&c.out, iov[0].iov_base, len);
			session_sent(c.session, len);
		}
		MUST(session_settle(c.session));
		ck_assert_uint_lt(session_memory_bytes(c.session), 600 * 1024);
		for (int n = 0; n < 200; n++, written++) {
			snprintf(line, sizeof(line), "set w%" PRIu32 " 0 0 %d noreply\r\n%0*d\r\n", written % 60000,
			         (int)(written % 80 + 1), (int)(written % 80 + 1), 0);
			client_send(&writer, line, strlen(line));
		}
		if (written % 4000 == 0)
			client_send(&writer, "slabs reassign -1 0 noreply\r\n", 29);
		fixture_advance(&f, 1);
		if (session_output(c.session, iov, 1) == 0 && session_state(c.session) == SESSION_YIELD)
			session_resume(c.session);
	}
	MUST(session_settle(c.session));
	count_listed(times, &c.out);
	uint32_t stable = 0;
	for (uint32_t n = 0; n < STABLE; n++) {
		snprintf(line, sizeof(line), "s%" PRIu32, n);
		struct key key = fixture_key(&f, line);
		bool there = items_find(f.items, &key, ITEMS_PEEK, NULL) != NULL;
		ck_assert_msg(!there || times[n] == 1, "%s was listed %u times", line, times[n]);
		stable += there;
	}
	ck_assert_uint_gt(items_counters(f.items)->pages_moved, 0);
	ck_assert_uint_gt(stable, STABLE * 8 / 10);
	client_close(&writer);
}
END_TEST

/* It goes away in the middle. */
START_TEST(a_reader_that_is_gone)
{
	char key[16];

	for (int n = 0; n < 5000; n++) {
		snprintf(key, sizeof(key), "k%d", n);
		store(key, 0);
	}
	struct session *s = session_new(&f.engine, f.shared);
	session_input(s, (const uint8_t *)"lru_crawler metadump all\r\n", 26);
	ck_assert_int_eq(session_state(s), SESSION_YIELD);
	MUST(session_settle(s));
	session_free(s);
	ck_assert_str_eq(ask("mn\r\n"), "MN\r\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command_admin");
	TCase *tc = tcase_create("command_admin");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, every_answer);
	tcase_add_test(tc, quiet_answers);
	tcase_add_test(tc, what_the_settings_forbid);
	tcase_add_test(tc, shown_in_the_settings);
	tcase_add_test(tc, the_crawler_can_be_stopped);
	tcase_add_test(tc, memory_adds_up);
	tcase_add_test(tc, latency_is_reset);
	tcase_add_test(tc, lines_of_a_metadump);
	tcase_add_test(tc, keys_that_need_base64);
	tcase_add_test(tc, dead_items_are_not_listed);
	tcase_add_test(tc, classes_of_a_list);
	tcase_add_test(tc, nothing_may_wait_before_a_list);
	tcase_add_test(tc, every_stable_key_once);
	tcase_add_test(tc, a_reader_that_is_gone);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
