/*
 * test_assoc.c - the hash index: [A1]..[A3] under random use, chains, growth,
 * and the walk that growth cannot disturb.
 *
 * Handles here are numbers; the hash of a handle is a function of it, which can
 * be made bad on purpose.
 *
 * Covers: assoc.c.
 */
#include "compat.h"
#include <check.h>
#include "assoc.h"
#include "util.h"

enum badness { GOOD, SAME_LOW_BITS, ALL_EQUAL };

static uint64_t hash_of(enum badness how, uint32_t handle)
{
	struct prng p = {handle};
	uint64_t h = prng_next(&p);
	return how == GOOD ? h : how == SAME_LOW_BITS ? h << 12 : 42;
}

static void hashes(const void *ctx, const uint32_t *handles, int count, uint64_t *out)
{
	for (int n = 0; n < count; n++)
		out[n] = hash_of(*(const enum badness *)ctx, handles[n]);
}

static bool holds(const struct assoc *a, enum badness how, uint32_t handle)
{
	uint64_t hash = hash_of(how, handle);
	for (const struct assoc_bucket *b = assoc_bucket(a, hash); b; b = assoc_overflow(a, b))
		for (unsigned m = assoc_match(b, assoc_tag(hash)); m; m &= m - 1)
			if (b->handles[__builtin_ctz(m)] == handle)
				return true;
	return false;
}

static void consistent(const struct assoc *a)
{
	const char *wrong = assoc_check(a);
	ck_assert_msg(!wrong, "%s", wrong);
}

START_TEST(matching_tags)
{
	struct prng p = {1};
	for (int round = 0; round < 20000; round++) {
		struct assoc_bucket b;
		unsigned want = 0;
		uint8_t tag = (uint8_t)prng_below(&p, 256);
		memset(&b, 0xff, sizeof(b));
		for (int slot = 0; slot < ASSOC_SLOTS; slot++) {
			/* Near misses are what tricks with bits get wrong. */
			const uint8_t some[] = {tag, (uint8_t)(tag ^ 1), (uint8_t)(tag ^ 0x80),
			                        (uint8_t)(tag + 1), 0, 0xff};
			b.tags[slot] = some[prng_below(&p, ARRAY_LEN(some))];
			want |= (unsigned)(b.tags[slot] == tag) << slot;
		}
		ck_assert_uint_eq(assoc_match(&b, tag), want);
	}
}
END_TEST

/* Insert, delete and replace against a set, while the table grows. */
START_TEST(soak)
{
	enum badness how = (enum badness)_i;
	uint32_t top = how == ALL_EQUAL ? 600 : how == SAME_LOW_BITS ? 8000 : 60000;
	static bool in[70000];
	struct prng p = {(uint64_t)_i + 7};
	struct assoc a;
	uint64_t count = 0;
	memset(in, 0, sizeof(in));
	ck_assert(assoc_init(&a, 0, top, hashes, &how));
	for (uint32_t step = 0; step < 6 * top; step++) {
		uint32_t handle = 1 + (uint32_t)prng_below(&p, top - 1);
		bool filling = step < 3 * top ? prng_below(&p, 4) > 0 : prng_below(&p, 4) == 0;
		if (!in[handle] && filling) {
			assoc_insert(&a, hash_of(how, handle), handle);
			in[handle] = true;
			count++;
		} else if (in[handle] && !filling) {
			assoc_delete(&a, hash_of(how, handle), handle);
			in[handle] = false;
			count--;
		}
		if (step % (top / 2) == 0)
			consistent(&a);
	}
	ck_assert_uint_eq(a.count, count);
	uint32_t wrong = 0;
	for (uint32_t handle = 1; handle < top; handle++)
		wrong += holds(&a, how, handle) != in[handle];
	ck_assert_uint_eq(wrong, 0);
	for (uint32_t handle = 1; handle < top; handle++)
		if (in[handle])
			assoc_delete(&a, hash_of(how, handle), handle);
	consistent(&a);
	ck_assert_uint_eq(a.count, 0);
	ck_assert_uint_eq(a.overflow_used, 0);
	assoc_release(&a);
}
END_TEST

START_TEST(replacing)
{
	enum badness how = ALL_EQUAL;
	struct assoc a;
	ck_assert(assoc_init(&a, 0, 100, hashes, &how));
	for (uint32_t handle = 1; handle <= 50; handle++)
		assoc_insert(&a, 42, handle);
	for (uint32_t handle = 1; handle <= 50; handle++)
		assoc_replace(&a, 42, handle, handle + 1000);
	consistent(&a);
	for (uint32_t handle = 1; handle <= 50; handle++)
		ck_assert(!holds(&a, how, handle) && holds(&a, how, handle + 1000));
	assoc_release(&a);
}
END_TEST

START_TEST(stays_small)
{
	enum badness how = GOOD;
	struct assoc a;
	ck_assert(assoc_init(&a, 0, 1 << 20, hashes, &how));
	for (uint32_t handle = 1; handle <= 200000; handle++) {
		assoc_insert(&a, hash_of(how, handle), handle);
		if (handle % 50000 == 0)
			ck_assert_uint_lt(assoc_bytes(&a), handle * 12);
	}
	assoc_release(&a);
}
END_TEST

/* An empty table gets the buckets for what will come, and then grows no more. */
START_TEST(expecting)
{
	static const uint32_t numbers[] = {1, 15, 16, 17, 1000, 4095, 4096, 100000};
	uint32_t entries = numbers[_i];
	enum badness how = GOOD;
	struct assoc a;
	ck_assert(assoc_init(&a, 0, 1 << 20, hashes, &how));
	assoc_expect(&a, entries);
	uint64_t buckets = assoc_bucket_count(&a);
	ck_assert_uint_eq(buckets, entries / ASSOC_LOAD_MAX + 1 > 2 ? entries / ASSOC_LOAD_MAX + 1 : 2);
	for (uint32_t handle = 1; handle <= entries; handle++)
		assoc_insert(&a, hash_of(how, handle), handle);
	ck_assert_uint_eq(assoc_bucket_count(&a), buckets);
	consistent(&a);
	assoc_expect(&a, 2 * entries); /* it is not empty */
	ck_assert_uint_eq(assoc_bucket_count(&a), buckets);
	for (uint32_t handle = entries + 1; handle <= 3 * entries; handle++)
		assoc_insert(&a, hash_of(how, handle), handle);
	consistent(&a);
	for (uint32_t handle = 1; handle <= 3 * entries; handle++)
		ck_assert(holds(&a, how, handle));
	assoc_release(&a);
}
END_TEST

/* Some handles stay, others come and go, between the steps of a walk; those
 * that stay are met exactly once. */
START_TEST(walk_while_growing)
{
	enum badness how = _i % 2 ? SAME_LOW_BITS : GOOD;
	struct prng p = {(uint64_t)_i + 99};
	uint32_t stay = 500 + (uint32_t)prng_below(&p, 3000);
	uint32_t next = stay + 1, oldest = stay + 1;
	static uint8_t met[4000];
	struct assoc a;
	uint64_t position = 0;
	bool more = true;
	memset(met, 0, sizeof(met));
	ck_assert(assoc_init(&a, 0, 1 << 20, hashes, &how));
	for (uint32_t handle = 1; handle <= stay; handle++)
		assoc_insert(&a, hash_of(how, handle), handle);
	while (more) {
		for (const struct assoc_bucket *b = assoc_walk_bucket(&a, position); b;
		     b = assoc_overflow(&a, b))
			for (int slot = 0; slot < ASSOC_SLOTS && b->tags[slot]; slot++)
				if (b->handles[slot] <= stay)
					met[b->handles[slot]]++;
		more = assoc_walk_next(&a, &position);
		for (uint64_t n = prng_below(&p, 40); n > 0; n--, next++)
			assoc_insert(&a, hash_of(how, next), next);
		for (uint64_t n = prng_below(&p, 20); n > 0 && oldest < next; n--, oldest++)
			assoc_delete(&a, hash_of(how, oldest), oldest);
	}
	for (uint32_t handle = 1; handle <= stay; handle++)
		ck_assert_uint_eq(met[handle], 1);
	consistent(&a);
	assoc_release(&a);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("assoc");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, matching_tags);
	tcase_add_loop_test(tc, soak, GOOD, ALL_EQUAL + 1);
	tcase_add_test(tc, replacing);
	tcase_add_test(tc, stays_small);
	tcase_add_loop_test(tc, expecting, 0, 8);
	tcase_add_loop_test(tc, walk_while_growing, 0, 12);
	Suite *s = suite_create("assoc");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
