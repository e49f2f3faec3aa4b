/*
 * test_log.c - levels, bounded lines, the limiter.
 *
 * Covers: log.c.
 */
#include "compat.h"
#include <check.h>
#include "log.h"

struct seen {
	int count;
	char last[2 * LOG_LINE_BYTES_MAX];
};

static void sink(void *ctx, const char *line)
{
	struct seen *seen = ctx;
	seen->count++;
	snprintf(seen->last, sizeof(seen->last), "%s", line);
}

START_TEST(levels)
{
	struct seen seen = {0};
	struct log log = {sink, &seen, 1};
	log_printf(&log, LOG_ERROR, "a %d", 1);
	ck_assert_str_eq(seen.last, "a 1");
	log_printf(&log, LOG_INFO, "b");
	ck_assert_str_eq(seen.last, "b");
	log_printf(&log, LOG_DEBUG, "c");
	log_printf(&log, LOG_TRACE, "d");
	ck_assert_int_eq(seen.count, 2);
	log.sink = NULL;
	log_printf(&log, LOG_ERROR, "nobody listens");
	log_printf(NULL, LOG_ERROR, "no log");
}
END_TEST

START_TEST(one_line_whatever_comes)
{
	struct seen seen = {0};
	struct log log = {sink, &seen, 0};
	char text[3 * LOG_LINE_BYTES_MAX];
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	log_printf(&log, LOG_ERROR, "%s", text);
	ck_assert_uint_eq(strlen(seen.last), LOG_LINE_BYTES_MAX - 1);
	log_printf(&log, LOG_ERROR, "key %s", "a\r\nb\tc\x7f\x1b[0m\xc3\xa4");
	ck_assert_str_eq(seen.last, "key a??b?c??[0m\xc3\xa4");
	log_printf(&log, LOG_ERROR, "%s", "");
	ck_assert_str_eq(seen.last, "");
	ck_assert_int_eq(seen.count, 3);
}
END_TEST

START_TEST(limiter)
{
	struct log_limit limit = {0};
	struct now now = {5000, 0};
	uint64_t held = 99;
	ck_assert(log_limit_pass(&limit, &now, &held));
	ck_assert_uint_eq(held, 0);
	for (int n = 0; n < 10; n++)
		ck_assert(!log_limit_pass(&limit, &now, &held));
	now.mono_ms = 5999;
	ck_assert(!log_limit_pass(&limit, &now, NULL));
	now.mono_ms = 6000;
	ck_assert(log_limit_pass(&limit, &now, &held));
	ck_assert_uint_eq(held, 11);
	now.mono_ms = 60000;
	ck_assert(log_limit_pass(&limit, &now, NULL));
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("log");
	tcase_add_test(tc, levels);
	tcase_add_test(tc, one_line_whatever_comes);
	tcase_add_test(tc, limiter);
	Suite *s = suite_create("log");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
