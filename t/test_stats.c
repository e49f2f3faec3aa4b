/*
 * test_stats.c - counters and the printing of pairs.
 */
#include "compat.h"
#include <check.h>
#include "stats.h"
#include "stats_latency.h"

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

/* ---- turns -------------------------------------------------------------------- */

static const char *latencies(const struct latency *l)
{
	static struct seen seen;
	struct stats_sink sink = {record, &seen};
	seen.len = 0;
	latency_stats(l, &sink);
	return seen.text;
}

START_TEST(turns_are_sorted_by_length)
{
	static const uint64_t lengths[] = {0, 1, 2, 3, 4, 7, 8, 1000, 1023, 1024, UINT64_C(1) << 40};
	struct latency l = {0};
	uint64_t spent[TURN_CAUSE_COUNT] = {0};
	ck_assert_ptr_nonnull(strstr(latencies(&l), "turns=0;busy_us=0;turn_us:0-0=0;cause_us:other=0;"));
	ck_assert_ptr_nonnull(strstr(latencies(&l), "worst_us=0;worst_cause=none;worst_cause_us=0;worst_time=0"));
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		latency_record(&l, lengths[i], spent, 1);
	const char *text = latencies(&l);
	ck_assert_ptr_nonnull(strstr(text, "turns=11;"));
	ck_assert_ptr_nonnull(strstr(text, "turn_us:0-0=1;turn_us:1-1=1;turn_us:2-3=2;turn_us:4-7=2;turn_us:8-15=1;"));
	ck_assert_ptr_nonnull(strstr(text, "turn_us:512-1023=2;turn_us:1024-2047=1;turn_us:2048-4095=0;"));
	ck_assert_ptr_nonnull(strstr(text, "turn_us:16777216-=1;"));
}
END_TEST

START_TEST(the_worst_turn)
{
	struct latency l = {0};
	uint64_t first[TURN_CAUSE_COUNT] = {[TURN_CLIENT] = 30, [TURN_PEER] = 10};
	uint64_t second[TURN_CAUSE_COUNT] = {[TURN_CLIENT] = 20, [TURN_SWEEP] = 70};
	uint64_t third[TURN_CAUSE_COUNT] = {[TURN_ACCEPT] = 5};
	latency_record(&l, 40, first, 1000);
	ck_assert_ptr_nonnull(strstr(latencies(&l), "worst_us=40;worst_cause=client;worst_cause_us=30;worst_time=1"));
	latency_record(&l, 90, second, 2000);
	latency_record(&l, 5, third, 3000);
	const char *text = latencies(&l);
	ck_assert_ptr_nonnull(strstr(text, "worst_us=90;worst_cause=sweep;worst_cause_us=70;worst_time=2"));
	ck_assert_ptr_nonnull(strstr(text, "busy_us=135;"));
	ck_assert_ptr_nonnull(strstr(text, "cause_us:accept=5;cause_us:client=50;"));
	latency_reset(&l);
	ck_assert_ptr_nonnull(strstr(latencies(&l), "turns=0;"));
}
END_TEST

START_TEST(the_turn_that_took_most_of_the_processor)
{
	struct latency l = {0};
	uint64_t first[TURN_CAUSE_COUNT] = {[TURN_CLIENT] = 3000};
	uint64_t second[TURN_CAUSE_COUNT] = {[TURN_CLIENT] = 20, [TURN_SWEEP] = 70};
	latency_record(&l, 3000, first, 1000);
	ck_assert_ptr_null(strstr(latencies(&l), "cpu"));
	latency_record_cpu(&l, 30, first);
	latency_record(&l, 90, second, 2000);
	latency_record_cpu(&l, 85, second);
	latency_record_cpu(&l, 84, first);
	ck_assert_ptr_nonnull(strstr(latencies(&l), "worst_us=3000;"));
	ck_assert_ptr_nonnull(strstr(latencies(&l), "worst_cpu_us=85;worst_cpu_cause=sweep"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("stats");
	TCase *tc = tcase_create("stats");

	tcase_add_test(tc, values_become_text);
	tcase_add_test(tc, turns_are_sorted_by_length);
	tcase_add_test(tc, the_worst_turn);
	tcase_add_test(tc, the_turn_that_took_most_of_the_processor);
	tcase_add_test(tc, an_overlong_value_is_cut);
	tcase_add_test(tc, reset_zeroes_counters_and_keeps_gauges);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
