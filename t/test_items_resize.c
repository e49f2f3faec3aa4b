/*
 * test_items_resize.c - what an operator may ask of the storage while it serves:
 * another limit of memory, a page of one class for another, a look for dead items.
 *
 * Covers: items_resize.c, items_move.c (asked for), items_sweep.c (asked for),
 * slabs.c (limit and trim).
 */
#include "compat.h"
#include "items_report.h"
#include "items_world.h"

#define MIB WORLD_MIB
#define PAGES_PER_MIB (MIB / SLAB_PAGE_BYTES)

static struct items_gauges gauges(const struct world *w)
{
	struct items_gauges g;
	items_gauges(w->it, &g);
	return g;
}

static uint64_t resident_pages(const struct world *w)
{
	return w->it->slabs.fresh - 1 - w->it->slabs.bare_count;
}

static void open_world(struct world *w, size_t memory, size_t reserved, bool replicated)
{
	world_init(w, memory, replicated, 77);
	w->config.memory_bytes_reserved = reserved;
	w->config.item_bytes_max = 4 * MIB;
	world_open(w);
}

/* Items of many sizes until memory is full. */
static void fill(struct world *w, uint32_t from, uint32_t count)
{
	for (uint32_t n = from; n < from + count; n++)
		ck_assert_ptr_nonnull(world_put(w, n, n % 100 == 0 ? 40000 : n * 37 % 3000, 0));
}

/* The parts of item memory are all of what was touched of its pages. */
static void check_parts(const struct world *w)
{
	struct items_memory m;
	items_memory(w->it, &m);
	ck_assert_uint_eq(m.data + m.headers + m.chunk_waste + m.free, w->it->slabs.touched * SLAB_PIECE_BYTES);
	ck_assert_uint_eq(m.data + m.headers, gauges(w).item_bytes);
	ck_assert_uint_le(m.free + m.data, resident_pages(w) * SLAB_PAGE_BYTES);
}

/* Housekeeping until the limit is reached; what is promised on the way. */
static void shrink(struct world *w, size_t bytes)
{
	uint64_t pages = bytes / SLAB_PAGE_BYTES, before = w->it->slabs.pages_used;
	ck_assert(items_set_memory_limit(w->it, bytes));
	for (int n = 0; w->it->slabs.pages_limit > pages || resident_pages(w) > pages; n++) {
		ck_assert_int_lt(n, 1000000);
		ck_assert_int_eq(items_next_due_ms(w->it), w->now.mono_ms);
		items_tick(w->it);
		if (n % 3 == 0)
			ck_assert_ptr_nonnull(world_put(w, 1000000 + (uint32_t)n, (size_t)n * 13 % 5000, 0));
		ck_assert_uint_le(w->it->slabs.pages_used, before);
		before = w->it->slabs.pages_used;
		if (n % 64 == 0)
			world_check(w);
	}
	world_check(w);
	check_parts(w);
	ck_assert_uint_le(gauges(w).page_bytes, bytes);
	ck_assert_uint_eq(gauges(w).limit_bytes, bytes);
}

START_TEST(a_lower_limit_is_kept)
{
	struct world w;
	open_world(&w, 32 * MIB, 0, _i);
	fill(&w, 0, 40000);
	ck_assert_uint_eq(gauges(&w).free_pages, 0);
	shrink(&w, 8 * MIB);
	ck_assert_uint_gt(gauges(&w).item_bytes, 6 * MIB); /* it is not emptied either */
	fill(&w, 2000000, 20000);
	ck_assert_uint_le(gauges(&w).page_bytes, 8 * MIB);
	ck_assert_uint_le(resident_pages(&w), 8 * PAGES_PER_MIB);
	world_settle_down(&w);
	world_close(&w);
}
END_TEST

/* The oldest go first: what is read again and again stays. */
START_TEST(what_is_used_stays)
{
	struct world w;
	uint32_t kept = 0;
	open_world(&w, 16 * MIB, 0, false);
	for (uint32_t n = 0; n < 14000; n++)
		ck_assert_ptr_nonnull(world_put(&w, n, 1000, 0));
	for (int round = 0; round < 3; round++)
		for (uint32_t n = 0; n < 2000; n++)
			world_find(&w, n, ITEMS_READ);
	ck_assert(items_set_memory_limit(w.it, 8 * MIB));
	world_settle_down(&w);
	for (uint32_t n = 0; n < 2000; n++)
		kept += world_find(&w, n, ITEMS_PEEK) != NULL;
	ck_assert_uint_gt(kept, 1600); /* of those not read about half would be */
	ck_assert_uint_eq(w.it->slabs.pages_limit, 8 * PAGES_PER_MIB);
	world_close(&w);
}
END_TEST

START_TEST(a_higher_limit)
{
	struct world w;
	open_world(&w, 8 * MIB, 64 * MIB, false);
	int classes = gauges(&w).class_count;
	fill(&w, 0, 20000);
	ck_assert_uint_gt(items_counters(w.it)->evictions, 0);
	ck_assert(!items_set_memory_limit(w.it, 65 * MIB));
	ck_assert_uint_eq(gauges(&w).limit_bytes, 8 * MIB);
	ck_assert(items_set_memory_limit(w.it, 64 * MIB));
	items_counters_reset(w.it);
	fill(&w, 0, 20000);
	ck_assert_uint_eq(items_counters(w.it)->evictions, 0);
	ck_assert_uint_eq(gauges(&w).item_count, 20000);
	ck_assert_int_eq(gauges(&w).class_count, classes);
	shrink(&w, 16 * MIB);
	ck_assert(items_set_memory_limit(w.it, 48 * MIB));
	fill(&w, 0, 20000);
	world_check(&w);
	shrink(&w, 8 * MIB);
	world_close(&w);
}
END_TEST

/* -M: nothing is evicted; the limit is reached when items were removed. */
START_TEST(without_leave_to_evict)
{
	struct world w;
	uint32_t n = 0;
	world_init(&w, 16 * MIB, false, 5);
	w.config.evict = false;
	world_open(&w);
	while (world_put(&w, n, 1000, 0))
		n++;
	ck_assert(items_set_memory_limit(w.it, 8 * MIB));
	for (int turn = 0; turn < 100; turn++)
		items_tick(w.it);
	ck_assert_uint_eq(gauges(&w).item_count, n);
	ck_assert_int_gt(items_next_due_ms(w.it), w.now.mono_ms); /* it does not spin */
	for (uint32_t i = 0; i < n; i += 2)
		world_remove(&w, i);
	world_advance(&w, 1000);
	for (int turn = 0; turn < 2000; turn++) {
		world_advance(&w, 50);
		items_tick(w.it);
	}
	ck_assert_uint_le(gauges(&w).page_bytes, 9 * MIB);
	ck_assert_uint_eq(gauges(&w).item_count, n / 2);
	world_close(&w);
}
END_TEST

/* What is pinned stays where it is, and the rest makes room. */
START_TEST(pinned_items_are_left_alone)
{
	struct world w;
	struct item *pinned[40];
	open_world(&w, 16 * MIB, 0, false);
	fill(&w, 0, 20000);
	for (uint32_t n = 0; n < ARRAY_LEN(pinned); n++) {
		pinned[n] = world_put(&w, 5000000 + n, n * 2000, 0);
		ck_assert(items_pin(w.it, pinned[n]));
	}
	ck_assert(items_set_memory_limit(w.it, 8 * MIB));
	for (int turn = 0; turn < 20000; turn++) {
		items_tick(w.it);
		world_advance(&w, 1);
	}
	for (uint32_t n = 0; n < ARRAY_LEN(pinned); n++)
		ck_assert(world_is_filled(&w, pinned[n], 5000000 + n + n * 2000));
	for (uint32_t n = 0; n < ARRAY_LEN(pinned); n++)
		items_unpin(w.it, pinned[n]);
	world_advance(&w, 1000);
	for (int turn = 0; turn < 5000; turn++)
		items_tick(w.it);
	ck_assert_uint_le(gauges(&w).page_bytes, 8 * MIB);
	world_close(&w);
}
END_TEST

/* ---- reassign -------------------------------------------------------------------- */

static uint64_t pages_of(const struct world *w, int id)
{
	return w->it->slabs.classes[id].pages;
}

START_TEST(a_page_changes_its_class)
{
	struct world w;
	open_world(&w, 8 * MIB, 0, false);
	for (uint32_t n = 0; n < 20000; n++)
		ck_assert_ptr_nonnull(world_put(&w, n, 500 - n % 12, 0));
	int src = slabs_class_for(&w.it->slabs, 600), dst = slabs_class_for(&w.it->slabs, 5000);
	for (int id = 1; id <= w.it->slabs.class_count; id++)
		src = pages_of(&w, id) > pages_of(&w, src) ? id : src;
	uint64_t from = pages_of(&w, src), to = pages_of(&w, dst);
	int last = w.it->slabs.class_count;
	ck_assert_int_eq(items_reassign(w.it, last + 1, 1), ITEMS_REASSIGN_BAD_CLASS);
	ck_assert_int_eq(items_reassign(w.it, 1, last + 1), ITEMS_REASSIGN_BAD_CLASS);
	ck_assert_int_eq(items_reassign(w.it, -2, 1), ITEMS_REASSIGN_BAD_CLASS);
	ck_assert_int_eq(items_reassign(w.it, 1, -1), ITEMS_REASSIGN_BAD_CLASS);
	ck_assert_int_eq(items_reassign(w.it, src, src), ITEMS_REASSIGN_SAME);
	ck_assert_int_eq(items_reassign(w.it, dst, src), ITEMS_REASSIGN_NO_SPARE);
	ck_assert_int_eq(items_reassign(w.it, 0, src), ITEMS_REASSIGN_NO_SPARE); /* all are in use */
	ck_assert_int_eq(items_reassign(w.it, src, dst), ITEMS_REASSIGN_OK);
	ck_assert(gauges(&w).move_running);
	ck_assert_int_eq(items_reassign(w.it, src, dst), ITEMS_REASSIGN_BUSY);
	items_tick(w.it);
	ck_assert_int_eq(items_last_work(w.it), ITEMS_WORK_MOVE);
	world_settle_down(&w);
	ck_assert(!gauges(&w).move_running);
	ck_assert_uint_eq(pages_of(&w, src), from - 1);
	ck_assert_uint_eq(pages_of(&w, dst), to + 1);
	world_check(&w);
	ck_assert_int_eq(items_reassign(w.it, -1, 0), ITEMS_REASSIGN_OK);
	world_settle_down(&w);
	ck_assert_uint_eq(gauges(&w).free_pages, 1);
	ck_assert_int_eq(items_reassign(w.it, 0, dst), ITEMS_REASSIGN_OK);
	ck_assert_uint_eq(pages_of(&w, dst), to + 2);
	world_close(&w);
}
END_TEST

/* A page whose item gets pinned on the way is given up for another one. */
START_TEST(reassigning_goes_round_what_is_held)
{
	struct world w;
	open_world(&w, 8 * MIB, 0, false);
	for (uint32_t n = 0; n < 9000; n++)
		ck_assert_ptr_nonnull(world_put(&w, n, 1000, 0));
	int src = 1;
	for (int id = 1; id <= w.it->slabs.class_count; id++)
		src = pages_of(&w, id) > pages_of(&w, src) ? id : src;
	uint64_t from = pages_of(&w, src);
	ck_assert_int_eq(items_reassign(w.it, src, 0), ITEMS_REASSIGN_OK);
	struct slab_page *p = &w.it->slabs.pages[w.it->mover.page];
	struct item *last = slabs_chunk(&w.it->slabs, w.it->mover.page, p->carved - 1u);
	ck_assert(item_is_linked(last) && items_pin(w.it, last));
	world_settle_down(&w);
	ck_assert_uint_eq(pages_of(&w, src), from - 1);
	items_unpin(w.it, last);
	world_close(&w);
}
END_TEST

/* Evictions in a class that cannot grow move no page when that is switched off. */
START_TEST(automove_modes)
{
	static const enum items_automove modes[] = {ITEMS_AUTOMOVE_OFF, ITEMS_AUTOMOVE_SPARING,
	                                            ITEMS_AUTOMOVE_EAGER};
	uint64_t moved[ARRAY_LEN(modes)];
	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		struct world w;
		open_world(&w, 8 * MIB, 0, false);
		items_set_automove(w.it, modes[m]);
		for (uint32_t n = 0; n < 6000; n++)
			ck_assert_ptr_nonnull(world_put(&w, n, 1000, 0));
		for (uint32_t n = 0; n < 30000; n++) {
			ck_assert_ptr_nonnull(world_put(&w, 100000 + n, 3000, 0));
			items_tick(w.it);
		}
		moved[m] = items_counters(w.it)->pages_moved;
		world_close(&w);
	}
	ck_assert_uint_eq(moved[0], 0);
	ck_assert_uint_gt(moved[1], 0);
	ck_assert_uint_ge(moved[2], moved[1]);
}
END_TEST

/* ---- a look for dead items ------------------------------------------------------------- */

START_TEST(the_sweep_waits_to_be_asked)
{
	struct world w;
	bool all[SLAB_CLASSES_MAX + 1], one[SLAB_CLASSES_MAX + 1] = {false};
	memset(all, true, sizeof(all));
	open_world(&w, 8 * MIB, 0, false);
	items_set_sweep(w.it, false, 0);
	for (uint32_t n = 0; n < 3000; n++)
		ck_assert_ptr_nonnull(world_put(&w, n, n % 2 ? 100 : 1000, n < 2000 ? world_wall_s(&w) + 2 : 0));
	for (int second = 0; second < 10; second++) {
		world_advance(&w, 1000);
		world_settle_down(&w);
	}
	ck_assert_uint_eq(gauges(&w).item_count, 3000);
	one[items_class_of(w.it, world_put(&w, 5000, 100, 0))] = true;
	ck_assert(items_crawl(w.it, one, UINT32_MAX));
	ck_assert(!items_crawl(w.it, one, UINT32_MAX));
	world_settle_down(&w);
	uint64_t left = gauges(&w).item_count;
	ck_assert_uint_lt(left, 3001);
	ck_assert_uint_gt(left, 1500);
	ck_assert(items_crawl(w.it, all, 50));
	world_settle_down(&w);
	ck_assert_uint_gt(gauges(&w).item_count, 1001);
	ck_assert(items_crawl(w.it, all, UINT32_MAX));
	world_settle_down(&w);
	ck_assert_uint_eq(gauges(&w).item_count, 1001);
	ck_assert_uint_eq(items_counters(w.it)->crawler_reclaimed, 2000);
	world_close(&w);
}
END_TEST

START_TEST(a_crawl_rests_between_its_pieces)
{
	struct world w;
	bool all[SLAB_CLASSES_MAX + 1];
	memset(all, true, sizeof(all));
	open_world(&w, 8 * MIB, 0, false);
	for (uint32_t n = 0; n < 20000; n++)
		ck_assert_ptr_nonnull(world_put(&w, n, 100, 0));
	world_settle_down(&w);
	items_set_sweep(w.it, true, 500000);
	ck_assert(items_crawl(w.it, all, UINT32_MAX));
	items_tick(w.it);
	ck_assert(gauges(&w).sweep_running);
	ck_assert_int_eq(items_last_work(w.it), ITEMS_WORK_SWEEP);
	ck_assert_int_eq(items_next_due_ms(w.it), w.now.mono_ms + 500);
	for (int turn = 0; turn < 10; turn++)
		items_tick(w.it); /* too early: nothing is done */
	ck_assert_uint_lt(items_counters(w.it)->crawler_items_checked, 10000);
	items_set_sweep(w.it, false, 0); /* that ends it */
	world_settle_down(&w);
	ck_assert(!gauges(&w).sweep_running);
	ck_assert_uint_lt(items_counters(w.it)->crawler_items_checked, 10000);
	world_close(&w);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("items_resize");
	TCase *tc = tcase_create("items_resize");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, a_lower_limit_is_kept, 0, 2);
	tcase_add_test(tc, what_is_used_stays);
	tcase_add_test(tc, a_higher_limit);
	tcase_add_test(tc, without_leave_to_evict);
	tcase_add_test(tc, pinned_items_are_left_alone);
	tcase_add_test(tc, a_page_changes_its_class);
	tcase_add_test(tc, reassigning_goes_round_what_is_held);
	tcase_add_test(tc, automove_modes);
	tcase_add_test(tc, the_sweep_waits_to_be_asked);
	tcase_add_test(tc, a_crawl_rests_between_its_pieces);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
