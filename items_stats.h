/*
 * items_stats.h - what items counts and measures.
 *
 * Owns: the structs of its numbers, and the functions that fill them in
 * (items_stats.c). Part of items.h, which includes it.
 *
 * Layer 1. Covered by: t/test_items.c, t/test_command.c.
 */
#ifndef ITEMS_STATS_H
#define ITEMS_STATS_H

#include "compat.h"

struct items;

struct items_counters {
	uint64_t total_items, evictions, evicted_unfetched, evicted_nonzero, expired_unfetched, reclaimed;
	uint64_t crawler_reclaimed, crawler_items_checked; /* the expiry sweep */
	uint64_t pages_moved, rescues, out_of_memory, tombs_lost;
	uint64_t evicted_active, flushed_reclaimed;
	uint64_t sweeps; /* passes begun */
};
struct items_gauges {
	uint64_t item_count, item_bytes;   /* linked items, item_total_bytes() summed */
	uint64_t limit_bytes;              /* of item memory, as asked for */
	uint64_t page_bytes;               /* pages in use by classes */
	uint64_t free_pages, page_size;
	uint64_t hash_bytes, ghost_bytes, tomb_bytes;
	int hash_power;
	bool hash_growing, sweep_running, move_running;
	int class_count;                   /* classes are 1..class_count */
};
struct items_class_info {
	size_t chunk_bytes, chunks_per_page;
	uint64_t pages, used_chunks, free_chunks;
	uint64_t items, items_main, item_bytes;
	uint64_t evicted, evicted_nonzero, evicted_unfetched, expired_unfetched, reclaimed, out_of_memory;
	uint64_t crawler_reclaimed, crawler_items_checked;
	uint32_t evicted_idle_s; /* of the last victim */
	uint32_t tail_idle_s;    /* of the next victim: age */
};
const struct items_counters *items_counters(const struct items *it);
void items_gauges(const struct items *it, struct items_gauges *out);
/* False when class has no pages and no history. */
bool items_class_info(const struct items *it, int class_id, struct items_class_info *out);
void items_counters_reset(struct items *it);
/* How many linked items there are of each size, rounded up to steps. False: sizes are
 * not tracked. */
#define ITEMS_SIZE_STEP 32
bool items_each_size(const struct items *it, void (*fn)(void *ctx, size_t bytes, uint32_t count), void *ctx);

#endif
