/*
 * test_hold.c - replies that wait for the peer: order, ends, deadlines.
 */
#include "compat.h"
#include <check.h>
#include "hold.h"

#define WAIT_MS 50

static struct hold_queue queue;
static struct now now;

static void setup(void)
{
	now = (struct now){1000, 0};
	hold_queue_init(&queue, WAIT_MS);
	hold_on_link(&queue, true);
}

START_TEST(without_a_link_nobody_waits)
{
	struct hold h = {0};

	hold_on_link(&queue, false);
	ck_assert(!hold_begin(&queue, &h, 0, 1, &now));
	ck_assert(!hold_is_waiting(&h));
	ck_assert_int_eq(hold_next_due_ms(&queue), INT64_MAX);
}
END_TEST

START_TEST(switched_off_nobody_waits)
{
	struct hold h = {0};

	hold_queue_init(&queue, 0);
	hold_on_link(&queue, true);
	ck_assert(!hold_begin(&queue, &h, 0, 1, &now));
}
END_TEST

START_TEST(an_ack_releases_all_up_to_its_version)
{
	struct hold h[3] = {{0}};

	for (int i = 0; i < 3; i++)
		ck_assert(hold_begin(&queue, &h[i], (uint64_t)(9 + 10 * i), (uint64_t)(10 + 10 * i), &now));
	hold_on_ack(&queue, 9, false);
	ck_assert(hold_is_waiting(&h[0]));
	hold_on_ack(&queue, 20, false);
	ck_assert(!hold_is_waiting(&h[0]) && !hold_is_waiting(&h[1]) && hold_is_waiting(&h[2]));
	ck_assert_int_eq(h[1].result, HOLD_ACKED);
	ck_assert_uint_eq(queue.counts[HOLD_ACKED], 2);
	ck_assert_uint_eq(queue.waiting, 1);
	hold_cancel(&queue, &h[2]);
	ck_assert_uint_eq(queue.waiting, 0);
}
END_TEST

START_TEST(what_is_acknowledged_already_is_not_waited_for)
{
	struct hold h = {0};

	hold_on_ack(&queue, 20, false);
	ck_assert(!hold_begin(&queue, &h, 19, 20, &now));
	ck_assert(hold_begin(&queue, &h, 20, 21, &now));
	hold_cancel(&queue, &h);
}
END_TEST

START_TEST(a_refusal_is_no_acknowledgement)
{
	struct hold a = {0}, b = {0};

	hold_begin(&queue, &a, 9, 10, &now);
	hold_begin(&queue, &b, 19, 20, &now);
	hold_on_ack(&queue, 15, true);
	ck_assert_int_eq(a.result, HOLD_REFUSED);
	hold_on_ack(&queue, 20, false);
	ck_assert_int_eq(b.result, HOLD_ACKED);
	ck_assert_uint_eq(queue.counts[HOLD_REFUSED], 1);
}
END_TEST

START_TEST(a_refusal_of_the_first_of_several_changes_counts)
{
	struct hold before = {0}, several = {0}, after = {0};

	hold_begin(&queue, &before, 9, 10, &now);
	hold_begin(&queue, &several, 10, 30, &now);
	hold_begin(&queue, &after, 30, 40, &now);
	hold_on_ack(&queue, 10, false);
	hold_on_ack(&queue, 20, true); /* of 11 to 20 */
	ck_assert(hold_is_waiting(&several));
	hold_on_ack(&queue, 40, false);
	ck_assert_int_eq(before.result, HOLD_ACKED);
	ck_assert_int_eq(several.result, HOLD_REFUSED);
	ck_assert_int_eq(after.result, HOLD_ACKED);
}
END_TEST

START_TEST(the_deadline_ends_it)
{
	struct hold a = {0}, b = {0};

	hold_begin(&queue, &a, 9, 10, &now);
	now.mono_ms += WAIT_MS / 2;
	hold_begin(&queue, &b, 19, 20, &now);
	ck_assert_int_eq(hold_next_due_ms(&queue), 1000 + WAIT_MS);
	now.mono_ms = 1000 + WAIT_MS - 1;
	hold_expire(&queue, &now);
	ck_assert(hold_is_waiting(&a));
	now.mono_ms++;
	hold_expire(&queue, &now);
	ck_assert_int_eq(a.result, HOLD_TIMEOUT);
	ck_assert(hold_is_waiting(&b));
	ck_assert_int_eq(hold_next_due_ms(&queue), 1000 + WAIT_MS + WAIT_MS / 2);
	hold_cancel(&queue, &b);
}
END_TEST

START_TEST(the_loss_of_the_link_ends_it)
{
	struct hold h = {0};

	hold_begin(&queue, &h, 9, 10, &now);
	hold_on_link(&queue, false);
	ck_assert_int_eq(h.result, HOLD_UNLINKED);
	ck_assert_uint_eq(queue.waiting, 0);
}
END_TEST

START_TEST(what_another_peer_acknowledged_counts_for_nothing)
{
	struct hold h = {0};

	hold_on_ack(&queue, 100, false);
	hold_on_link(&queue, false);
	hold_on_link(&queue, true);
	ck_assert(hold_begin(&queue, &h, 49, 50, &now));
	hold_cancel(&queue, &h);
	hold_cancel(&queue, &h); /* harmless */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hold");
	TCase *tc = tcase_create("hold");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, without_a_link_nobody_waits);
	tcase_add_test(tc, switched_off_nobody_waits);
	tcase_add_test(tc, an_ack_releases_all_up_to_its_version);
	tcase_add_test(tc, what_is_acknowledged_already_is_not_waited_for);
	tcase_add_test(tc, a_refusal_is_no_acknowledgement);
	tcase_add_test(tc, a_refusal_of_the_first_of_several_changes_counts);
	tcase_add_test(tc, the_deadline_ends_it);
	tcase_add_test(tc, the_loss_of_the_link_ends_it);
	tcase_add_test(tc, what_another_peer_acknowledged_counts_for_nothing);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
