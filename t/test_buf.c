/*
 * test_buf.c - a byte queue with a ceiling: [B1], [B2], contents kept over
 * growing, sliding and trimming.
 *
 * Covers: buf.c.
 */
#include "compat.h"
#include <check.h>
#include "buf.h"
#include "util.h"

static void holds(const struct buf *b)
{
	ck_assert(b->off <= b->end && b->end <= b->capacity && b->capacity <= b->cap_max);
}

START_TEST(append_and_consume)
{
	struct buf b;
	buf_init(&b, 1000);
	ck_assert_uint_eq(buf_len(&b), 0);
	ck_assert(buf_append(&b, "hello ", 6));
	ck_assert(buf_append(&b, "world", 5));
	ck_assert_uint_eq(buf_len(&b), 11);
	ck_assert_mem_eq(buf_head(&b), "hello world", 11);
	buf_consume(&b, 6);
	ck_assert_mem_eq(buf_head(&b), "world", 5);
	buf_consume(&b, 5);
	ck_assert_uint_eq(buf_len(&b), 0);
	buf_trim(&b);
	ck_assert_ptr_null(b.data);
	ck_assert(buf_append(&b, NULL, 0));
	ck_assert(buf_append(&b, "x", 1));
	buf_clear(&b);
	ck_assert_uint_eq(buf_len(&b), 0);
	buf_release(&b);
}
END_TEST

START_TEST(ceiling)
{
	static const uint8_t zeros[100001];
	const size_t caps[] = {1, 2, 255, 256, 257, 300, 4096, 100000};
	for (size_t n = 0; n < ARRAY_LEN(caps); n++) {
		struct buf b;
		buf_init(&b, caps[n]);
		ck_assert(!buf_append(&b, zeros, caps[n] + 1));
		ck_assert_uint_eq(buf_len(&b), 0);
		ck_assert_ptr_null(buf_reserve(&b, SIZE_MAX));
		ck_assert(buf_append(&b, zeros, caps[n]));
		ck_assert(!buf_append(&b, "x", 1)); /* [B2] */
		ck_assert_uint_eq(buf_len(&b), caps[n]);
		holds(&b);
		buf_consume(&b, 1);
		ck_assert(buf_append(&b, "x", 1)); /* room again, though only in front */
		ck_assert_uint_eq(buf_head(&b)[caps[n] - 1], 'x');
		holds(&b);
		buf_release(&b);
	}
	struct buf none;
	buf_init(&none, 0);
	ck_assert(!buf_append(&none, "x", 1));
	buf_release(&none);
}
END_TEST

START_TEST(reserve_and_commit)
{
	struct buf b;
	buf_init(&b, 10000);
	uint8_t *p = buf_reserve(&b, 100);
	ck_assert_ptr_nonnull(p);
	memset(p, 'a', 100);
	buf_commit(&b, 40); /* fewer than asked for */
	ck_assert_uint_eq(buf_len(&b), 40);
	p = buf_reserve(&b, 9960);
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_null(buf_reserve(&b, 9961));
	ck_assert_uint_eq(buf_head(&b)[39], 'a');
	buf_release(&b);
}
END_TEST

/* Against a model: bytes are a running number, so what comes out must count. */
START_TEST(soak)
{
	struct prng p = {(uint64_t)_i + 1};
	struct buf b;
	size_t cap = 1 + prng_below(&p, 5000);
	uint8_t in = 0, out = 0;
	int wrong = 0;
	buf_init(&b, cap);
	for (int step = 0; step < 20000; step++) {
		size_t len = prng_below(&p, prng_below(&p, 10) ? 200 : cap + 10);
		size_t before = buf_len(&b);
		uint8_t *room;
		switch (prng_below(&p, 4)) {
		case 0:
		case 1:
			room = buf_reserve(&b, len);
			ck_assert((room != NULL) == (before + len <= cap));
			for (size_t n = 0; room && n < len; n++)
				room[n] = in++;
			if (room)
				buf_commit(&b, len);
			break;
		case 2:
			len = len < before ? len : before;
			for (size_t n = 0; n < len; n++)
				wrong += buf_head(&b)[n] != out++;
			ck_assert_int_eq(wrong, 0);
			buf_consume(&b, len);
			break;
		case 3:
			buf_trim(&b);
			ck_assert_uint_eq(buf_len(&b), before);
			break;
		}
		holds(&b);
	}
	buf_release(&b);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("buf");
	tcase_add_test(tc, append_and_consume);
	tcase_add_test(tc, ceiling);
	tcase_add_test(tc, reserve_and_commit);
	tcase_add_loop_test(tc, soak, 0, 10);
	Suite *s = suite_create("buf");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
