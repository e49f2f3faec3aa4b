/*
 * test_debug.c - the clock that can be moved, held items, and the commands for it.
 */
#include "compat.h"
#include "fixture.h"
#include "debug.h"

static struct fixture f;
static struct debug debug;
static struct now link_now;

static void setup(void)
{
	fixture_init(&f);
	fixture_open(&f);
	debug_init(&debug, &f.now, &link_now, &f.now);
	f.engine.debug = &debug;
}

static void teardown(void)
{
	debug_release(&debug, f.items);
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

/* The shell's clock goes on. */
static void pass_ms(int64_t ms)
{
	static struct now real;

	if (real.mono_ms < link_now.mono_ms)
		real = (struct now){link_now.mono_ms, FIXTURE_WALL_MS + link_now.mono_ms};
	real.mono_ms += ms;
	real.wall_ms += ms;
	debug_set_now(&debug, &real);
}

START_TEST(the_clock_is_moved)
{
	struct now before = f.now, link_before = link_now;

	expect("debugtime 100\r\n", "OK\r\n");
	ck_assert_int_eq(f.now.mono_ms, before.mono_ms + 100000);
	ck_assert_int_eq(f.now.wall_ms, before.wall_ms + 100000);
	ck_assert_int_eq(link_now.mono_ms, link_before.mono_ms); /* no silence of the peer */
	ck_assert_int_eq(link_now.wall_ms, f.now.wall_ms);
	expect("debugtime -40\r\n", "OK\r\n");
	ck_assert_int_eq(f.now.wall_ms, before.wall_ms + 60000);
	ck_assert_int_eq(f.now.mono_ms, before.mono_ms + 100000);
}
END_TEST

START_TEST(the_clock_stands_still)
{
	pass_ms(10);
	struct now before = f.now;
	int64_t link_ms = link_now.mono_ms;

	expect("debugtime p\r\n", "OK\r\n");
	pass_ms(5000);
	ck_assert_int_eq(f.now.mono_ms, before.mono_ms);
	ck_assert_int_eq(f.now.wall_ms, before.wall_ms);
	ck_assert_int_eq(link_now.mono_ms, link_ms + 5000);
	expect("debugtime 7\r\n", "OK\r\n");
	ck_assert_int_eq(f.now.wall_ms, before.wall_ms + 7000);
	expect("debugtime r\r\n", "OK\r\n");
	pass_ms(1);
	ck_assert_int_eq(f.now.wall_ms, before.wall_ms + 7000 + 5001);
	ck_assert_int_eq(f.now.mono_ms, before.mono_ms + 7000 + 5001);
}
END_TEST

START_TEST(when_something_is_due)
{
	pass_ms(10);
	debug_move(&debug, 10);
	int64_t now = f.now.mono_ms;

	ck_assert_int_eq(debug_real_ms(&debug, INT64_MAX), INT64_MAX);
	ck_assert_int_eq(debug_real_ms(&debug, now + 50), link_now.mono_ms + 50);
	ck_assert_int_eq(debug_real_ms(&debug, now), link_now.mono_ms);
	ck_assert_int_eq(debug_real_ms(&debug, now - 50), link_now.mono_ms);
	debug_pause(&debug);
	ck_assert_int_eq(debug_real_ms(&debug, now + 50), INT64_MAX);
	ck_assert_int_eq(debug_real_ms(&debug, now), link_now.mono_ms);
}
END_TEST

START_TEST(items_expire)
{
	expect("set a 0 100 1\r\nx\r\ndebugtime 99\r\nget a\r\ndebugtime 1\r\nget a\r\n",
	       "STORED\r\nOK\r\nVALUE a 0 1\r\nx\r\nEND\r\nOK\r\nEND\r\n");
}
END_TEST

START_TEST(items_are_held)
{
	struct key key = fixture_key(&f, "a");

	expect("debugitem ref a\r\n", "MISS\r\n");
	expect("set a 0 0 1\r\nx\r\ndebugitem ref a\r\ndebugitem lock a\r\n", "STORED\r\nOK\r\nOK\r\n");
	struct item *item = items_find(f.items, &key, ITEMS_PEEK, NULL);
	ck_assert(items_is_pinned(f.items, item));
	expect("debugitem unlock a\r\n", "OK\r\n");
	ck_assert(items_is_pinned(f.items, item));
	expect("debugitem unref a\r\ndebugitem unref a\r\n", "OK\r\nMISS\r\n");
	ck_assert(!items_is_pinned(f.items, item));
	expect("debugitem lock none\r\ndebugitem unlock none\r\n", "OK\r\nOK\r\n");
}
END_TEST

START_TEST(the_last_one_of_a_connection)
{
	expect("set a 0 0 1\r\nx\r\ndebugitem ref a\r\nset a 0 0 1\r\ny\r\ndebugitem unref reffed\r\n"
	       "debugitem unref reffed\r\n",
	       "STORED\r\nOK\r\nSTORED\r\nOK\r\nMISS\r\n");
}
END_TEST

START_TEST(there_is_a_limit)
{
	expect("set a 0 0 1 noreply\r\nx\r\n", "");
	for (int i = 0; i < DEBUG_PINS_MAX; i++)
		expect("debugitem ref a noreply\r\n", "");
	ck_assert_int_eq(debug.pin_count, DEBUG_PINS_MAX);
	expect("debugitem ref a\r\n", "SERVER_ERROR out of memory\r\n");
}
END_TEST

START_TEST(what_is_refused)
{
	expect("debugtime\r\ndebugtime x\r\ndebugtime 1x\r\ndebugtime 99999999999\r\n", "ERROR\r\nERROR\r\nERROR\r\nERROR\r\n");
	expect("debugitem\r\ndebugitem lock\r\ndebugitem bogus a\r\n", "ERROR\r\nERROR\r\nERROR\r\n");
	f.engine.debug = NULL;
	expect("debugtime 1\r\ndebugtime p\r\ndebugitem ref a\r\n", "ERROR\r\nERROR\r\nERROR\r\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("debug");
	TCase *tc = tcase_create("debug");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_clock_is_moved);
	tcase_add_test(tc, the_clock_stands_still);
	tcase_add_test(tc, when_something_is_due);
	tcase_add_test(tc, items_expire);
	tcase_add_test(tc, items_are_held);
	tcase_add_test(tc, the_last_one_of_a_connection);
	tcase_add_test(tc, there_is_a_limit);
	tcase_add_test(tc, what_is_refused);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
