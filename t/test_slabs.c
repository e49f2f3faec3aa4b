/*
 * test_slabs.c - pages, classes, chunks: [S1]..[S3] under random use, the
 * shape of the class tables, draining.
 *
 * Covers: slabs.c.
 */
#include "compat.h"
#include <check.h>
#include "slabs.h"
#include "util.h"

#define MIB ((size_t)1 << 20)

static void open_slabs(struct slabs *s, size_t memory, size_t least, double factor)
{
	struct slabs_config config = {.memory_bytes_max = memory, .chunk_bytes_min = least,
	                              .growth_factor = factor, .large_chunk_bytes = 4096};
	ck_assert(slabs_init(s, &config));
}

static void consistent(const struct slabs *s)
{
	const char *wrong = slabs_check(s);
	ck_assert_msg(!wrong, "%s", wrong);
}

static void check_table(const struct slabs *s)
{
	uint32_t unit = UINT32_C(1) << s->shift;
	ck_assert_int_le(s->class_count, SLAB_CLASSES_MAX);
	ck_assert_int_eq(s->large, s->class_count);
	for (int id = 1; id < s->large; id++) {
		const struct slab_class *c = &s->classes[id];
		ck_assert_uint_eq(c->chunk_bytes % unit, 0);
		ck_assert_uint_eq(c->per_page, SLAB_PAGE_BYTES / c->chunk_bytes);
		if (id > 1)
			ck_assert_uint_gt(c->chunk_bytes, s->classes[id - 1].chunk_bytes);
		/* No tail that would have given each chunk one more unit. */
		ck_assert_uint_lt(SLAB_PAGE_BYTES - c->per_page * c->chunk_bytes, c->per_page * unit);
	}
	int wrong = 0;
	for (size_t bytes = 1; bytes <= SLAB_CHUNK_MAX; bytes++) {
		int id = slabs_class_for(s, bytes);
		wrong += id < 1 || id >= s->large || s->classes[id].chunk_bytes < bytes;
		wrong += id > 1 && s->classes[id - 1].chunk_bytes >= (bytes + 3) / 4 * 4;
	}
	ck_assert_int_eq(wrong, 0);
	ck_assert_int_eq(slabs_class_for(s, SLAB_CHUNK_MAX + 1), 0);
}

START_TEST(class_tables)
{
	static struct slabs s;
	const size_t memories[] = {0, MIB, 5 * MIB, 64 * MIB, 128 * MIB, 1024 * MIB, 100000 * MIB};
	const size_t least[] = {0, 1, 48, 76, 128, 500, 16384, 100000};
	const double factors[] = {0, 1.01, 1.08, 1.25, 2, 100};
	for (size_t m = 0; m < ARRAY_LEN(memories); m++) {
		for (size_t l = 0; l < ARRAY_LEN(least); l++) {
			double factor = factors[(m + l) % ARRAY_LEN(factors)];
			open_slabs(&s, memories[m], least[l], factor);
			check_table(&s);
			if (least[l] >= SLAB_CHUNK_MIN && least[l] < SLAB_CHUNK_MAX)
				ck_assert_uint_ge(s.classes[1].chunk_bytes, least[l]);
			slabs_release(&s);
		}
	}
}
END_TEST

START_TEST(default_classes_waste_little)
{
	static struct slabs s;
	double worst = 0;
	open_slabs(&s, 128 * MIB, 0, 0);
	check_table(&s);
	for (size_t bytes = 100; bytes <= 2048; bytes++) {
		const struct slab_class *c = &s.classes[slabs_class_for(&s, bytes)];
		double waste = 1 - (double)(bytes * c->per_page) / SLAB_PAGE_BYTES;
		worst = waste > worst ? waste : worst;
	}
	ck_assert_msg(worst < 0.04, "worst waste %.3f", worst);
	slabs_release(&s);
}
END_TEST

START_TEST(handles_of_huge_ranges)
{
	static struct slabs s;
	for (unsigned power = 20; power < 42; power++) {
		open_slabs(&s, (size_t)1 << power, 0, 0);
		uint8_t *end = s.base + ((size_t)(s.pages_max + 1) << SLAB_PAGE_SHIFT);
		ck_assert_uint_lt(slabs_handle(&s, end - (1u << s.shift)), HANDLE_TOMB);
		ck_assert_uint_eq(s.classes[1].chunk_bytes % (1u << s.shift), 0);
		ck_assert(s.shift == 2 || power > 33);
		slabs_release(&s);
	}
}
END_TEST

/* Beyond what 32-bit handles of large chunks reach: refused, not crashed. */
START_TEST(a_range_that_is_too_large)
{
	struct slabs s;
	for (int tib = 16; tib <= 1024; tib *= 2) {
		struct slabs_config config = {.memory_bytes_max = (size_t)tib << 40,
		                              .large_chunk_bytes = 4096};
		ck_assert(!slabs_init(&s, &config));
	}
}
END_TEST

/* Fill all memory with one class: every chunk is different, then no more. */
START_TEST(fill_one_class)
{
	static struct slabs s;
	open_slabs(&s, 2 * MIB, 0, 0);
	int id = slabs_class_for(&s, 1000);
	uint64_t want = (uint64_t)s.pages_max * s.classes[id].per_page, count = 0;
	ck_assert_ptr_null(slabs_alloc(&s, id));
	for (;;) {
		uint32_t *chunk = slabs_alloc(&s, id);
		if (!chunk && !slabs_grow(&s, id))
			break;
		if (!chunk)
			continue;
		ck_assert(chunk[0] == 0 && slabs_class_of(&s, chunk) == id &&
		          slabs_ptr(&s, slabs_handle(&s, chunk)) == chunk);
		memset(chunk, 0xff, s.classes[id].chunk_bytes);
		count++;
	}
	ck_assert_uint_eq(count, want);
	ck_assert_uint_eq(slabs_free_pages(&s), 0);
	consistent(&s);
	for (uint32_t page = 1; page < s.fresh; page++)
		for (uint32_t n = 0; n < s.classes[id].per_page; n++)
			slabs_free(&s, slabs_chunk(&s, page, n));
	ck_assert_uint_eq(slabs_free_pages(&s), s.pages_max);
	consistent(&s);
	slabs_release(&s);
}
END_TEST

/* The first pages of a class become resident as they are used, further ones whole. */
START_TEST(resident_pages)
{
	static struct slabs s;
	for (int refused = 0; refused < 2; refused++) {
		open_slabs(&s, 8 * MIB, 0, 0);
		s.no_populate = refused;
		int id = slabs_class_for(&s, 100);
		uint32_t first = 0, pieces = SLAB_PAGE_BYTES / SLAB_PIECE_BYTES;
		while (s.classes[id].pages < 40) {
			uint64_t before = s.touched;
			ck_assert(slabs_grow(&s, id));
			ck_assert(s.touched == before || s.touched == before + pieces);
			first += s.touched == before;
			for (uint32_t n = 0; n < s.classes[id].per_page; n++)
				*(uint32_t *)slabs_alloc(&s, id) = 1;
			ck_assert_uint_eq(s.touched, (uint64_t)s.classes[id].pages * pieces);
		}
		ck_assert(s.no_populate ? first > 16 : first == 16);
		ck_assert(s.no_populate || !refused);
		consistent(&s);
		slabs_release(&s);
	}
}
END_TEST

struct held {
	uint32_t *chunk;
	uint32_t mark, words;
};
#define HELD_MAX 20000
static struct held held[HELD_MAX];

static bool intact(const struct held *h)
{
	uint32_t wrong = 0;
	for (uint32_t n = 0; n < h->words; n++)
		wrong |= h->chunk[n] ^ h->mark;
	return wrong == 0;
}

static void give_back(struct slabs *s, size_t *count, size_t n)
{
	ck_assert(intact(&held[n]));
	slabs_free(s, held[n].chunk);
	held[n] = held[--*count];
}

/* Random sizes in and out; each chunk carries a mark over its whole length. */
START_TEST(soak)
{
	static struct slabs s;
	struct prng p = {(uint64_t)_i + 1};
	size_t count = 0;
	open_slabs(&s, MIB * (1 + (size_t)_i), 0, _i % 2 ? 1.25 : 0);
	for (int step = 0; step < 40000; step++) {
		size_t bytes = 1 + prng_below(&p, prng_below(&p, 10) ? 500 : SLAB_CHUNK_MAX);
		int id = prng_below(&p, 20) ? slabs_class_for(&s, bytes) : s.large;
		uint32_t *chunk = count < HELD_MAX ? slabs_alloc(&s, id) : NULL;
		if (!chunk && count < HELD_MAX && slabs_grow(&s, id))
			chunk = slabs_alloc(&s, id);
		if (chunk) {
			struct held *h = &held[count++];
			*h = (struct held){chunk, (uint32_t)step + 1, s.classes[id].chunk_bytes / 4};
			for (uint32_t n = 0; n < h->words; n++)
				chunk[n] = h->mark;
		}
		for (int n = chunk ? 0 : 30; n > 0 && count > 0; n--)
			give_back(&s, &count, prng_below(&p, count));
		if (step % 2000 == 0)
			consistent(&s);
	}
	while (count > 0)
		give_back(&s, &count, count - 1);
	consistent(&s);
	ck_assert_uint_eq(s.pages_used, 0);
	slabs_release(&s);
}
END_TEST

START_TEST(draining)
{
	static struct slabs s;
	open_slabs(&s, MIB, 0, 0);
	int id = slabs_class_for(&s, 8000);
	uint32_t per_page = s.classes[id].per_page;
	uint32_t *chunks[16];
	ck_assert_uint_le(per_page, ARRAY_LEN(chunks));
	ck_assert(slabs_grow(&s, id));
	for (uint32_t n = 0; n < per_page; n++) {
		chunks[n] = slabs_alloc(&s, id);
		chunks[n][0] = 1;
	}
	uint32_t page = slabs_page_of(&s, chunks[0]);
	slabs_drain_begin(&s, page);
	slabs_free(&s, chunks[0]);
	ck_assert_ptr_null(slabs_alloc(&s, id)); /* free, but not to be had */
	consistent(&s);
	slabs_drain_end(&s, page);
	chunks[0] = slabs_alloc(&s, id);
	ck_assert_ptr_nonnull(chunks[0]);
	chunks[0][0] = 1;
	slabs_drain_begin(&s, page);
	for (uint32_t n = 0; n < per_page; n++)
		slabs_free(&s, chunks[n]);
	ck_assert_uint_eq(s.pages_used, 0);
	consistent(&s);
	/* The page serves another class now. */
	int other = slabs_class_for(&s, 50);
	ck_assert(slabs_grow(&s, other));
	uint32_t *chunk = slabs_alloc(&s, other);
	ck_assert_uint_eq(slabs_page_of(&s, chunk), page);
	chunk[0] = 1;
	consistent(&s);
	slabs_release(&s);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("slabs");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, class_tables);
	tcase_add_test(tc, default_classes_waste_little);
	tcase_add_test(tc, handles_of_huge_ranges);
	tcase_add_test(tc, a_range_that_is_too_large);
	tcase_add_test(tc, fill_one_class);
	tcase_add_test(tc, resident_pages);
	tcase_add_loop_test(tc, soak, 0, 6);
	tcase_add_test(tc, draining);
	Suite *s = suite_create("slabs");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
