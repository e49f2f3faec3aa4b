/*
 * test_clock.c - versions: [C1], [C2], and their place in time.
 *
 * Covers: clock.c.
 */
#include "compat.h"
#include <check.h>
#include "clock.h"
#include "util.h"

#define WALL INT64_C(1700000000000)

START_TEST(standalone_counts_from_one)
{
	struct hlc c;
	hlc_init(&c, true, 7);
	for (uint64_t want = 1; want < 100; want++)
		ck_assert_uint_eq(hlc_next(&c, WALL), want);
	hlc_take(&c, 1000);
	ck_assert_uint_eq(hlc_next(&c, WALL), 1001);
	hlc_take(&c, 5);
	ck_assert_uint_eq(hlc_next(&c, 0), 1002);
}
END_TEST

START_TEST(replicated_has_time_counter_origin)
{
	struct hlc c;
	hlc_init(&c, false, 0x123);
	uint64_t v = hlc_next(&c, WALL);
	ck_assert_uint_eq(v & VERSION_ORIGIN_MAX, 0x123);
	ck_assert_uint_eq(v & ~(uint64_t)VERSION_ORIGIN_MAX, version_of_wall_ms(WALL));
	ck_assert_int_eq(version_wall_ms(v), WALL);
	uint64_t w = hlc_next(&c, WALL);
	ck_assert_uint_eq(w, v + (1u << VERSION_ORIGIN_BITS));
}
END_TEST

START_TEST(origin_is_never_zero)
{
	const uint16_t origins[] = {0, 4096, 8192, 1, 4095, 5000};
	for (size_t n = 0; n < ARRAY_LEN(origins); n++) {
		struct hlc c;
		hlc_init(&c, false, origins[n]);
		ck_assert_uint_ne(c.origin, 0);
		ck_assert_uint_le(c.origin, VERSION_ORIGIN_MAX);
		ck_assert_uint_ne(hlc_next(&c, WALL) & VERSION_ORIGIN_MAX, 0);
	}
}
END_TEST

START_TEST(counter_carries_into_milliseconds)
{
	struct hlc c;
	hlc_init(&c, false, 1);
	uint64_t last = 0;
	for (int n = 0; n < 5 * (1 << VERSION_COUNTER_BITS); n++) {
		uint64_t v = hlc_next(&c, WALL);
		ck_assert_uint_gt(v, last);
		last = v;
	}
	ck_assert_int_eq(version_wall_ms(last), WALL + 4);
}
END_TEST

START_TEST(never_goes_back)
{
	struct prng p = {1};
	struct hlc c;
	hlc_init(&c, false, 99);
	uint64_t last = 0;
	int64_t wall = WALL;
	for (int n = 0; n < 100000; n++) {
		wall += (int64_t)prng_below(&p, 2000) - 1000; /* the clock steps about */
		if (prng_below(&p, 50) == 0) {
			uint64_t far = version_of_wall_ms(wall + (int64_t)prng_below(&p, 100000));
			hlc_take(&c, far);
			last = far > last ? far : last;
		}
		uint64_t v = hlc_next(&c, wall);
		ck_assert_uint_gt(v, last);
		ck_assert_uint_eq(v & VERSION_ORIGIN_MAX, 99);
		last = v;
	}
}
END_TEST

START_TEST(instants_before_the_epoch)
{
	ck_assert_uint_eq(version_of_wall_ms(0), 0);
	ck_assert_uint_eq(version_of_wall_ms(-5), 0);
	ck_assert_uint_eq(version_of_wall_ms(VERSION_EPOCH_MS), 0);
	ck_assert_uint_eq(version_of_wall_ms(VERSION_EPOCH_MS + 1), UINT64_C(1) << 22);
	ck_assert_uint_le(version_of_wall_ms(INT64_MAX), VERSION_MAX);
	struct hlc c;
	hlc_init(&c, false, 3);
	ck_assert_uint_gt(hlc_next(&c, 0), 0);
	struct now now = {0, -1};
	ck_assert_uint_eq(now_wall_s(&now), 0);
	now.wall_ms = 1999;
	ck_assert_uint_eq(now_wall_s(&now), 1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("clock");
	tcase_add_test(tc, standalone_counts_from_one);
	tcase_add_test(tc, replicated_has_time_counter_origin);
	tcase_add_test(tc, origin_is_never_zero);
	tcase_add_test(tc, counter_carries_into_milliseconds);
	tcase_add_test(tc, never_goes_back);
	tcase_add_test(tc, instants_before_the_epoch);
	Suite *s = suite_create("clock");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
