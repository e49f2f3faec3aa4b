/*
 * test_session_limits.c - what all sessions may hold together: the sums against a
 * model, whose upload is given up and whose is not.
 */
#include "compat.h"
#include <check.h>
#include "session_limits.h"
#include "util.h"

#define ENTRIES 20
#define MEMORY ((size_t)64 << 20)
#define SHARE (MEMORY / LIMITS_UPLOAD_SHARE)

static struct session_limits l;
static struct limits_entry entries[ENTRIES];
static struct limits_entry *dropped[ENTRIES];
static int drops;

static void setup(void)
{
	limits_init(&l, MEMORY);
	memset(entries, 0, sizeof(entries));
	drops = 0;
}

static void on_drop(struct limits_entry *e)
{
	dropped[drops++] = e;
	limits_upload_end(&l, e);
}

START_TEST(a_little_input_is_always_allowed)
{
	limits_set_input(&l, &entries[0], LIMITS_INPUT_BYTES_MAX);
	ck_assert(limits_allow_input(&l, 0, LIMITS_INPUT_FREE_BYTES));
	ck_assert(!limits_allow_input(&l, 1, LIMITS_INPUT_FREE_BYTES));
	limits_set_input(&l, &entries[0], LIMITS_INPUT_BYTES_MAX - 1);
	ck_assert(limits_allow_input(&l, LIMITS_INPUT_FREE_BYTES, 1));
	ck_assert(!limits_allow_input(&l, LIMITS_INPUT_FREE_BYTES, 2));
	limits_set_input(&l, &entries[0], 0);
	ck_assert_uint_eq(l.input_bytes, 0);
}
END_TEST

START_TEST(the_longest_halt_goes_first)
{
	for (int i = 0; i < 4; i++)
		limits_upload_at(&l, &entries[i], SHARE / 3, 1, i);
	limits_upload_at(&l, &entries[0], SHARE / 3, 1 + LIMITS_PROGRESS_BYTES, 4); /* goes on */
	limits_make_room(&l, on_drop, LIMITS_HALT_MS); /* nobody has halted for long enough */
	ck_assert_int_eq(drops, 0);
	limits_make_room(&l, on_drop, LIMITS_HALT_MS + 1);
	ck_assert_int_eq(drops, 1); /* that was enough */
	ck_assert_ptr_eq(dropped[0], &entries[1]);
	limits_make_room(&l, on_drop, LIMITS_HALT_MS + 100);
	ck_assert_int_eq(drops, 1);
}
END_TEST

START_TEST(a_trickle_is_no_progress)
{
	for (int ms = 0; ms < LIMITS_HALT_MS; ms += 100)
		limits_upload_at(&l, &entries[0], SHARE + 1, (size_t)(ms / 100), ms);
	limits_make_room(&l, on_drop, LIMITS_HALT_MS);
	ck_assert_int_eq(drops, 1);
	ck_assert_uint_eq(l.upload_bytes, 0);
	limits_upload_end(&l, &entries[0]); /* harmless */
}
END_TEST

START_TEST(the_sums_are_right)
{
	struct prng prng = {(uint64_t)_i};
	size_t input[ENTRIES] = {0}, upload[ENTRIES] = {0};

	for (int64_t ms = 0; ms < 3000; ms++) {
		size_t n = prng_below(&prng, ENTRIES), input_sum = 0, upload_sum = 0;
		switch (prng_below(&prng, 4)) {
		case 0:
			limits_set_input(&l, &entries[n], input[n] = prng_below(&prng, 1 << 20));
			break;
		case 1:
			limits_upload_end(&l, &entries[n]);
			upload[n] = 0;
			break;
		default:
			upload[n] += prng_below(&prng, 1 << 20);
			limits_upload_at(&l, &entries[n], upload[n], upload[n], ms * 50);
		}
		drops = 0;
		limits_make_room(&l, on_drop, ms * 50);
		for (int i = 0; i < drops; i++)
			upload[dropped[i] - entries] = 0;
		for (int i = 0; i < ENTRIES; i++) {
			input_sum += input[i];
			upload_sum += upload[i];
		}
		ck_assert_uint_eq(l.input_bytes, input_sum);
		ck_assert_uint_eq(l.upload_bytes, upload_sum);
		const struct limits_entry *e = l.uploads.next;
		for (; e->next != &l.uploads && e != &l.uploads; e = e->next)
			ck_assert_int_le(e->progress_ms, e->next->progress_ms); /* [LI2] */
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_limits");
	TCase *t = tcase_create("all");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, a_little_input_is_always_allowed);
	tcase_add_test(t, the_longest_halt_goes_first);
	tcase_add_test(t, a_trickle_is_no_progress);
	tcase_add_loop_test(t, the_sums_are_right, 0, 10);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
