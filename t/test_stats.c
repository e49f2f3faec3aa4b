/*
 * test_stats.c - counters and the printing of pairs.
 */
#include "compat.h"
#include <check.h>
#include "stats.h"

struct seen {
	char text[4096];
	size_t len;
};

static void record(void *ctx, const char *name, const char *value)
{
	struct seen *seen = ctx;
	seen->len += (size_t)snprintf(seen->text + seen->len, sizeof(seen->text) - seen->len, "%s=%s;", name, value);
}

START_TEST(values_become_text)
{
	struct seen seen = {.len = 0};
	struct stats_sink sink = {record, &seen};

	stats_str(&sink, "s", "text");
	stats_u64(&sink, "zero", 0);
	stats_u64(&sink, "most", UINT64_MAX);
	stats_i64(&sink, "small", -42);
	stats_i64(&sink, "least", INT64_MIN);
	stats_i64(&sink, "largest", INT64_MAX);
	stats_fmt(&sink, "f", "%d.%02d", 3, 7);
	ck_assert_str_eq(seen.text, "s=text;zero=0;most=18446744073709551615;small=-42;"
	                            "least=-9223372036854775808;largest=9223372036854775807;f=3.07;");
}
END_TEST

START_TEST(an_overlong_value_is_cut)
{
	struct seen seen = {.len = 0};
	struct stats_sink sink = {record, &seen};

	stats_fmt(&sink, "n", "%5000s", "x");
	ck_assert_uint_eq(strlen(seen.text), 2047 + strlen("n=;"));
}
END_TEST

START_TEST(reset_zeroes_counters_and_keeps_gauges)
{
	struct stats s;

	memset(&s, 0xff, sizeof(s));
	s.accepting_conns = true;
	stats_reset(&s);
#define X(name) ck_assert_uint_eq(s.name, 0);
	STATS_COUNTERS(X)
#undef X
	ck_assert_uint_eq(s.curr_connections, UINT64_MAX);
	ck_assert(s.accepting_conns);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *tc = tcase_create("stats");

	tcase_add_test(tc, values_become_text);
	tcase_add_test(tc, an_overlong_value_is_cut);
	tcase_add_test(tc, reset_zeroes_counters_and_keeps_gauges);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
