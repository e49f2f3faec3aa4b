/*
 * items_stats.c - gauges and counters.
 *
 * Owns: putting together what `stats`, `stats items` and `stats slabs` show; what
 * `stats sizes` and `stats cachedump` list.
 *
 * Must not know: how it is printed.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"
#include "items_report.h"

const struct items_counters *items_counters(const struct items *it)
{
	return &it->counters;
}

void items_gauges(const struct items *it, struct items_gauges *out)
{
	uint64_t slots = assoc_bucket_count(&it->assoc) * ASSOC_LOAD_MAX;
	*out = it->gauges;
	out->limit_bytes = it->limit.bytes;
	out->page_bytes = (uint64_t)it->slabs.pages_used << SLAB_PAGE_SHIFT;
	out->free_pages = slabs_free_pages(&it->slabs);
	out->page_size = SLAB_PAGE_BYTES;
	out->hash_bytes = assoc_bytes(&it->assoc);
	out->ghost_bytes = ghost_bytes(&it->ghost);
	out->tomb_bytes = it->tombs.bytes;
	out->hash_power = 63 - __builtin_clzll(slots);
	out->hash_growing = it->assoc.count > slots;
	out->sweep_running = it->sweep.page != 0;
	out->move_running = it->mover.page != 0;
	out->class_count = it->slabs.class_count;
}

/* Chunks in use by all classes, in bytes. */
static uint64_t used_bytes(const struct items *it)
{
	uint64_t bytes = 0;
	for (int id = 1; id <= it->slabs.class_count; id++)
		bytes += it->slabs.classes[id].used * it->slabs.classes[id].chunk_bytes;
	return bytes;
}

void items_memory(const struct items *it, struct items_memory *out)
{
	uint64_t used = used_bytes(it), touched = it->slabs.touched * SLAB_PIECE_BYTES;
	uint64_t entry = sizeof(*it->slabs.pages) + sizeof(*it->notes) + sizeof(*it->min_exptime);
	*out = (struct items_memory){
	        .headers = it->gauges.item_count * sizeof(struct item),
	        .index = assoc_resident_bytes(&it->assoc),
	        .ghosts = ghost_bytes(&it->ghost),
	        .page_tables = it->slabs.fresh * entry,
	        .tombstones = it->tombs.bytes + it->tombs.slot_fresh * sizeof(*it->tombs.slots),
	};
	out->data = it->gauges.item_bytes - out->headers;
	out->chunk_waste = used - it->gauges.item_bytes;
	out->free = touched - used;
	assert(used >= it->gauges.item_bytes && touched >= used);
}

/* Age of the item that goes next, 0 if there is none. */
static uint32_t tail_idle_s(const struct items *it, const struct class_state *c)
{
	uint32_t tail = c->small.tail ? c->small.tail : c->main.tail;
	return tail ? items_idle_s(it, item_at(it, tail)) : 0;
}

bool items_class_info(const struct items *it, int class_id, struct items_class_info *out)
{
	if (class_id < 1 || class_id > it->slabs.class_count)
		return false;
	const struct slab_class *s = &it->slabs.classes[class_id];
	const struct class_state *c = &it->classes[class_id];
	*out = c->info;
	out->chunk_bytes = s->chunk_bytes;
	out->chunks_per_page = s->per_page;
	out->pages = s->pages;
	out->used_chunks = s->used;
	out->free_chunks = slabs_free_chunks(&it->slabs, class_id);
	out->items = c->small.count + c->main.count;
	out->items_main = c->main.count;
	out->tail_idle_s = tail_idle_s(it, c);
	uint64_t history = out->evicted + out->expired_unfetched + out->reclaimed + out->out_of_memory +
	                   out->crawler_reclaimed + out->crawler_items_checked;
	return s->pages > 0 || history > 0;
}

void items_counters_reset(struct items *it)
{
	it->counters = (struct items_counters){0};
	for (int id = 1; id <= it->slabs.class_count; id++) {
		uint64_t item_bytes = it->classes[id].info.item_bytes;
		it->classes[id].info = (struct items_class_info){.item_bytes = item_bytes};
	}
}

/* ---- lists ------------------------------------------------------------------- */

bool items_each_size(const struct items *it, void (*fn)(void *ctx, size_t bytes, uint32_t count), void *ctx)
{
	uint64_t left = it->gauges.item_count;
	if (!it->misc.sizes)
		return false;
	for (size_t step = 0; left > 0; step++) {
		uint32_t count = it->misc.sizes[step];
		assert(count <= left && step <= it->config.item_bytes_max / ITEMS_SIZE_STEP + 1);
		left -= count;
		if (count > 0)
			fn(ctx, step * ITEMS_SIZE_STEP, count);
	}
	return true;
}

void items_newest(const struct items *it, int class_id, size_t max, items_visit *visit, void *ctx)
{
	assert(class_id >= 1 && class_id <= it->slabs.class_count);
	const struct class_state *c = &it->classes[class_id];
	const uint32_t heads[] = {c->small.head, c->main.head};
	for (size_t q = 0; q < ARRAY_LEN(heads); q++) {
		for (uint32_t handle = heads[q]; handle; max--) {
			const struct item *i = item_at(it, handle);
			if (max == 0)
				return;
			if (!item_dead(it, i) && !visit(ctx, i))
				return;
			handle = i->q_next;
		}
	}
}
