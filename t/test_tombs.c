/*
 * test_tombs.c - the store of tombstones: [T1], [T2], slots used again, cost.
 *
 * Covers: tombs.c.
 */
#include "compat.h"
#include <check.h>
#include "tombs.h"
#include "util.h"

static struct tomb *add(struct tombs *t, const char *key, uint64_t version, uint64_t stamp)
{
	struct key k = {(const uint8_t *)key, (uint32_t)strlen(key), 0};
	struct state_order order = {version, 3, 77};
	return tombs_add(t, &k, &order, stamp);
}

static void consistent(const struct tombs *t)
{
	const char *wrong = tombs_check(t);
	ck_assert_msg(!wrong, "%s", wrong);
}

START_TEST(record)
{
	struct tombs t;
	ck_assert(tombs_init(&t, 1000));
	struct tomb *tomb = add(&t, "some key", 12, 15);
	ck_assert(item_is_tomb(&tomb->item));
	ck_assert_mem_eq(item_key(&tomb->item), "some key", 8);
	ck_assert_uint_eq(item_value_len(&tomb->item), 0);
	struct state_order order = item_order(&tomb->item);
	ck_assert(order.version == 12 && order.touches == 3 && order.exptime == 77);
	ck_assert_uint_eq(item_tomb_stamp(&tomb->item), 15);
	ck_assert(tombs_is_handle(tombs_handle(tomb)));
	ck_assert(!tombs_is_handle(HANDLE_TOMB - 1));
	ck_assert_ptr_eq(tombs_get(&t, tombs_handle(tomb)), tomb);
	ck_assert_ptr_eq(tombs_of_item(&tomb->item), tomb);
	consistent(&t);
	tombs_release(&t);
}
END_TEST

START_TEST(first_in_first_out)
{
	struct tombs t;
	ck_assert(tombs_init(&t, 100000));
	for (uint64_t n = 1; n <= 100; n++)
		add(&t, "k", n, n);
	for (uint64_t n = 1; n <= 100; n++) {
		ck_assert_uint_eq(tombs_oldest(&t)->stamp, n);
		tombs_remove(&t, tombs_oldest(&t));
	}
	ck_assert_ptr_null(tombs_oldest(&t));
	ck_assert_uint_eq(t.bytes, 0);
	consistent(&t);
	tombs_release(&t);
}
END_TEST

START_TEST(cost_covers_what_malloc_takes)
{
	ck_assert_uint_ge(tombs_cost(1), sizeof(struct tomb) + sizeof(size_t));
	for (size_t len = 1; len < KEY_BYTES_MAX; len++) {
		ck_assert_uint_ge(tombs_cost(len), sizeof(struct item) + len + 16 + 8);
		ck_assert_uint_ge(tombs_cost(len + 1), tombs_cost(len));
		ck_assert_uint_le(tombs_cost(len), len + 100);
	}
}
END_TEST

/* As many as the budget pays for, and one more: there is a slot for each. */
START_TEST(slots_suffice_for_the_budget)
{
	const size_t budgets[] = {0, 1, 100, 1000, 100000};
	for (size_t n = 0; n < ARRAY_LEN(budgets); n++) {
		struct tombs t;
		ck_assert(tombs_init(&t, budgets[n]));
		for (int round = 0; round < 5000; round++) {
			ck_assert_ptr_nonnull(add(&t, "k", 1, 1));
			while (t.bytes > t.bytes_max)
				tombs_remove(&t, tombs_oldest(&t));
		}
		consistent(&t);
		tombs_release(&t);
	}
}
END_TEST

START_TEST(soak)
{
	struct prng p = {5};
	struct tombs t;
	static struct tomb *held[1000];
	size_t count = 0;
	ck_assert(tombs_init(&t, 1 << 20));
	for (int step = 0; step < 50000; step++) {
		char key[KEY_BYTES_MAX + 1];
		if (count < ARRAY_LEN(held) && prng_below(&p, 2)) {
			size_t len = 1 + prng_below(&p, KEY_BYTES_MAX);
			memset(key, 'a' + step % 26, len);
			key[len] = 0;
			held[count] = add(&t, key, (uint64_t)step, (uint64_t)step);
			ck_assert_ptr_nonnull(held[count]);
			count++;
		} else if (count > 0) {
			size_t n = prng_below(&p, count);
			const uint8_t *k = item_key(&held[n]->item);
			ck_assert_uint_eq(k[0], k[held[n]->item.key_len - 1]);
			tombs_remove(&t, held[n]);
			held[n] = held[--count];
		}
		if (step % 1000 == 0)
			consistent(&t);
	}
	ck_assert_uint_eq(t.count, count);
	tombs_release(&t);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("tombs");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, record);
	tcase_add_test(tc, first_in_first_out);
	tcase_add_test(tc, cost_covers_what_malloc_takes);
	tcase_add_test(tc, slots_suffice_for_the_budget);
	tcase_add_test(tc, soak);
	Suite *s = suite_create("tombs");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
