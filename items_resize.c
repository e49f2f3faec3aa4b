/*
 * items_resize.c - another limit of memory while serving.
 *
 * Owns: the way from one limit to another. Raising it is a matter of saying so:
 * addresses were reserved at the start. Lowering it takes three steps, a piece of
 * each per items_tick():
 *
 *   1. pages that nobody uses are beyond the limit at once: slabs.pages_limit falls
 *      to the pages in use, so that no class grows meanwhile
 *   2. a page of the class that can best do without is emptied, what is oldest in
 *      the class being evicted to make room; then slabs.pages_limit falls by one
 *   3. the memory of pages that were given up goes back to the system
 *
 *      pages   0 ........ limit.pages .... pages_used <= pages_limit ..... pages_max
 *                              <---- 2 ----     <---- 1 ----
 *
 * When nothing may be evicted (-M), or all pages hold something that is pinned, step
 * 2 waits until items are removed; classes do not grow until then.
 *
 * The index does not become smaller, nor does the budget of tombstones: neither is
 * part of the limit.
 *
 * Must not know: who asked, which class gives (items_move.c).
 *
 * Covered by: t/test_items_resize.c, t/admin.t.
 */
#include "compat.h"
#include "items_internal.h"

#define TRIM_PAGES 8 /* given to the system per tick */

bool items_set_memory_limit(struct items *it, size_t bytes)
{
	uint32_t pages = slabs_limit_of(bytes);
	uint32_t used = it->slabs.pages_used;
	if (pages > it->slabs.pages_max)
		return false;
	it->limit = (struct memory_limit){bytes, pages, 0};
	slabs_set_limit(&it->slabs, pages > used ? pages : used);
	ghost_limit(&it->ghost, bytes);
	return true;
}

static bool is_too_large(const struct items *it)
{
	return it->slabs.pages_limit > it->limit.pages;
}

static bool ghost_trim_due(const struct items *it)
{
	return it->ghost.sets_touched > it->ghost.sets_limit;
}

void items_shrink_some(struct items *it)
{
	uint32_t used = it->slabs.pages_used;
	if (is_too_large(it))
		slabs_set_limit(&it->slabs, used > it->limit.pages ? used : it->limit.pages);
	slabs_trim(&it->slabs, TRIM_PAGES);
	if (ghost_trim_due(it))
		ghost_trim(&it->ghost);
	if (!is_too_large(it) || it->mover.page || it->now->mono_ms < it->limit.retry_ms)
		return;
	if (!items_give_up_page(it))
		it->limit.retry_ms = it->now->mono_ms + PAGE_RETRY_MS;
}

int64_t items_shrink_due_ms(const struct items *it)
{
	if (slabs_trim_due(&it->slabs) || ghost_trim_due(it))
		return it->now->mono_ms;
	if (!is_too_large(it))
		return INT64_MAX;
	return it->limit.retry_ms > it->now->mono_ms ? it->limit.retry_ms : it->now->mono_ms;
}
