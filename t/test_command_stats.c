/*
 * test_command_stats.c - stats detail, sizes and cachedump; the table of prefixes.
 */
#include "compat.h"
#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
	f.settings.dump_enabled = true;
	f.settings.track_sizes = true;
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

static void expect(const char *input, const char *reply)
{
	struct pace pace = {0};
	struct client c;

	client_open(&c, &f, &pace);
	client_expect(&c, input, reply);
	client_close(&c);
}

/* ---- prefixes --------------------------------------------------------------- */

START_TEST(keys_are_counted_by_prefix)
{
	struct stats_prefixes p;
	struct stats_prefix *a;

	stats_prefixes_init(&p, ':', 7);
	p.on = true;
	ck_assert_ptr_null(stats_prefix_of(&p, "none", 4));
	ck_assert_ptr_null(stats_prefix_of(&p, "", 0));
	a = stats_prefix_of(&p, "a:1", 3);
	ck_assert_ptr_nonnull(a);
	ck_assert_ptr_eq(stats_prefix_of(&p, "a:2:3", 5), a);
	ck_assert_ptr_ne(stats_prefix_of(&p, "b:1", 3), a);
	ck_assert_ptr_ne(stats_prefix_of(&p, ":", 1), a);
	ck_assert_uint_eq(p.count, 3);
	stats_prefixes_clear(&p);
	ck_assert_uint_eq(p.count, 0);
	ck_assert_ptr_null(p.slots);
}
END_TEST

START_TEST(there_is_room_for_so_many)
{
	struct stats_prefixes p;
	char key[32];

	stats_prefixes_init(&p, ':', 7);
	p.on = true;
	for (int i = 0; i < STATS_PREFIXES_MAX; i++) {
		int len = snprintf(key, sizeof(key), "prefix%d:x", i);
		MUST(stats_prefix_of(&p, key, (size_t)len) != NULL);
	}
	ck_assert_ptr_null(stats_prefix_of(&p, "one:more", 8));
	ck_assert_ptr_nonnull(stats_prefix_of(&p, "prefix17:more", 13));
	ck_assert_uint_eq(p.count, STATS_PREFIXES_MAX);
	ck_assert_uint_le(p.slot_count, STATS_PREFIXES_MAX);
	stats_prefixes_clear(&p);
}
END_TEST

START_TEST(detail)
{
	expect("get a:1\r\nstats detail dump\r\n", "END\r\nEND\r\n");
	expect("stats detail on\r\n", "OK\r\n");
	ck_assert_uint_eq(f.engine.traced, TRACE_PREFIXES);
	expect("set a:1 0 0 1 noreply\r\nx\r\nset a:2 0 0 1 noreply\r\nx\r\nadd a:2 0 0 1 noreply\r\nx\r\n"
	       "get a:1 a:3 none\r\ngat 0 a:2\r\ndelete a:2 noreply\r\ndelete a:9 noreply\r\n"
	       "set big:1 0 0 3000000 noreply\r\nstats detail dump\r\n",
	       "VALUE a:1 0 1\r\nx\r\nEND\r\nVALUE a:2 0 1\r\nx\r\nEND\r\n");
	expect("stats detail dump\r\n", "PREFIX a get 3 hit 2 set 3 del 2\r\nEND\r\n");
	expect("mg a:1 v\r\nms a:5 1\r\nx\r\nmd a:5\r\n", "VA 1\r\nx\r\nHD\r\nHD\r\n"); /* do not count */
	expect("stats detail off\r\nget a:1\r\nstats detail dump\r\n",
	       "OK\r\nVALUE a:1 0 1\r\nx\r\nEND\r\nPREFIX a get 3 hit 2 set 3 del 2\r\nEND\r\n");
	ck_assert_uint_eq(f.engine.traced, 0);
	expect("stats reset\r\nstats detail dump\r\n", "RESET\r\nEND\r\n");
}
END_TEST

START_TEST(detail_refused)
{
	static const char usage[] = "CLIENT_ERROR usage: stats detail on|off|dump\r\n";

	expect("stats detail\r\n", usage);
	expect("stats detail bogus\r\n", usage);
	f.settings.dump_enabled = false;
	expect("stats detail on\r\n", "CLIENT_ERROR stats detail not allowed\r\n");
	ck_assert(!f.prefixes.on);
}
END_TEST

/* ---- sizes ------------------------------------------------------------------ */

START_TEST(sizes)
{
	/* header 28, key 1 */
	expect("stats sizes\r\n", "END\r\n");
	expect("set a 0 0 3 noreply\r\nxyz\r\nset b 0 0 3 noreply\r\nxyz\r\nset c 0 0 4 noreply\r\nwxyz\r\n"
	       "stats sizes\r\n",
	       "STAT 32 2\r\nSTAT 64 1\r\nEND\r\n");
	expect("append a 0 0 1 noreply\r\nx\r\nstats sizes\r\n", "STAT 32 1\r\nSTAT 64 2\r\nEND\r\n");
	expect("delete a noreply\r\nstats sizes\r\n", "STAT 32 1\r\nSTAT 64 1\r\nEND\r\n");
	expect("delete b noreply\r\ndelete c noreply\r\nstats sizes\r\n", "END\r\n");
}
END_TEST

START_TEST(sizes_of_large_items)
{
	static char input[64 + 100000];
	int len = snprintf(input, sizeof(input), "set a 0 0 100000\r\n");
	struct pace pace = {0};
	struct client c;

	memset(input + len, 'x', 100000);
	snprintf(input + len + 100000, sizeof(input) - (size_t)len - 100000, "\r\nstats sizes\r\n");
	client_open(&c, &f, &pace);
	client_send(&c, input, strlen(input));
	ck_assert_str_eq(c.out.data, "STORED\r\nSTAT 100032 1\r\nEND\r\n"); /* 100000 + 1 + 28 */
	client_close(&c);
}
END_TEST

START_TEST(sizes_survive_eviction)
{
	struct client c;
	struct pace pace = {0};
	char input[4200];

	client_open(&c, &f, &pace);
	for (int i = 0; i < 6000; i++) {
		int value_len = 100 + i % 50 * 70;
		int len = snprintf(input, sizeof(input), "set key_%d 0 0 %d noreply\r\n", i, value_len);
		memset(input + len, 'x', (size_t)value_len);
		memcpy(input + len + value_len, "\r\n", 2);
		client_send(&c, input, (size_t)(len + value_len + 2));
	}
	ck_assert_uint_gt(items_counters(f.items)->evictions, 0);
	client_send(&c, "stats sizes\r\n", 13);
	uint64_t count = 0;
	for (const char *p = strstr(c.out.data, "STAT"); p; p = strstr(p + 1, "STAT")) {
		unsigned long long bytes, n;
		ck_assert_int_eq(sscanf(p, "STAT %llu %llu", &bytes, &n), 2);
		ck_assert_uint_eq(bytes % 32, 0);
		count += n;
	}
	struct items_gauges g;
	items_gauges(f.items, &g);
	ck_assert_uint_eq(count, g.item_count);
	client_close(&c);
}
END_TEST

START_TEST(sizes_switched_off)
{
	fixture_close(&f);
	f.settings.track_sizes = false;
	fixture_open(&f);
	expect("set a 0 0 3 noreply\r\nxyz\r\nstats sizes\r\n", "STAT sizes_status disabled\r\nEND\r\n");
}
END_TEST

/* ---- cachedump -------------------------------------------------------------- */

static int class_of_key(const char *text)
{
	struct key key = fixture_key(&f, text);

	return items_class_of(f.items, items_find(f.items, &key, ITEMS_PEEK, NULL));
}

START_TEST(cachedump)
{
	char input[64];

	expect("set a 0 0 3 noreply\r\nxyz\r\nset b 0 100 2 noreply\r\nxy\r\nset c 0 0 3 noreply\r\nxyz\r\n"
	       "set d 0 1 3 noreply\r\nxyz\r\n", "");
	f.now.wall_ms += 2000; /* d is dead and not reclaimed yet */
	snprintf(input, sizeof(input), "stats cachedump %d 0\r\n", class_of_key("a"));
	ck_assert_int_eq(class_of_key("a"), class_of_key("b"));
	expect(input, "ITEM c [3 b; 0 s]\r\nITEM b [2 b; 1750000100 s]\r\nITEM a [3 b; 0 s]\r\nEND\r\n");
	snprintf(input, sizeof(input), "stats cachedump %d 2\r\n", class_of_key("a"));
	expect(input, "ITEM c [3 b; 0 s]\r\nITEM b [2 b; 1750000100 s]\r\nEND\r\n");
	expect("stats cachedump 200 0\r\nstats cachedump 0 0\r\nstats cachedump 255 0\r\n", "END\r\nEND\r\nEND\r\n");
}
END_TEST

START_TEST(cachedump_refused)
{
	expect("stats cachedump\r\n", "CLIENT_ERROR bad command line\r\n");
	expect("stats cachedump 1\r\n", "CLIENT_ERROR bad command line\r\n");
	expect("stats cachedump a 0\r\n", "CLIENT_ERROR bad command line format\r\n");
	expect("stats cachedump 1 -1\r\n", "CLIENT_ERROR bad command line format\r\n");
	expect("stats cachedump 256 0\r\n", "CLIENT_ERROR Illegal slab id\r\n");
	f.settings.dump_enabled = false;
	expect("stats cachedump 1 0\r\n", "CLIENT_ERROR stats cachedump not allowed\r\n");
}
END_TEST

START_TEST(cachedump_is_bounded)
{
	struct client c;
	struct pace pace = {0};
	char input[600];

	client_open(&c, &f, &pace);
	for (int i = 0; i < 20000; i++) {
		int len = snprintf(input, sizeof(input), "set %0200d 0 0 1 noreply\r\nx\r\n", i);
		client_send(&c, input, (size_t)len);
	}
	snprintf(input, sizeof(input), "%0200d", 19999);
	snprintf(input, sizeof(input), "stats cachedump %d 0\r\n", class_of_key(input));
	client_send(&c, input, strlen(input));
	ck_assert_uint_gt(c.out.len, 2u << 20);
	ck_assert_uint_lt(c.out.len, (2u << 20) + 600);
	ck_assert_str_eq(c.out.data + c.out.len - 5, "END\r\n");
	client_close(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command_stats");
	TCase *tc = tcase_create("prefixes");

	tcase_add_test(tc, keys_are_counted_by_prefix);
	tcase_add_test(tc, there_is_room_for_so_many);
	suite_add_tcase(suite, tc);
	tc = tcase_create("lists");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, detail);
	tcase_add_test(tc, detail_refused);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, sizes_of_large_items);
	tcase_add_test(tc, sizes_survive_eviction);
	tcase_add_test(tc, sizes_switched_off);
	tcase_add_test(tc, cachedump);
	tcase_add_test(tc, cachedump_refused);
	tcase_add_test(tc, cachedump_is_bounded);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
