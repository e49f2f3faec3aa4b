/*
 * items_walk.c - visiting all states, and confirmation marks.
 *
 * Owns: the walk over the index, bucket by bucket, in an order that growth
 * cannot disturb (assoc.h), and the SWEEP that drops what a walk of the peer
 * did not confirm.
 *
 * Confirmation marks are never cleared all at once: a page's marks count only
 * if the page has the epoch of the running walk, and are cleared when the
 * first item in it is confirmed.
 *
 * Must not know: the link.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"

/* Empty buckets that count as one state, so that walking a table that was
 * emptied is bounded too. */
#define WALK_BUCKETS_PER_STATE 8
#define SWEEP_BATCH 32 /* items removed from one chain at once */

/* ---- walking ------------------------------------------------------------------------- */

static void prefetch_bucket(const struct items *it, const struct assoc_bucket *b)
{
	for (int slot = 0; slot < ASSOC_SLOTS && b->tags[slot]; slot++)
		prefetch(item_at(it, b->handles[slot]));
}

/* Items of a bucket that will be read whole: a small one is a few lines long. */
#define WALK_LINES 3
static void prefetch_items(const struct items *it, const struct assoc_bucket *b)
{
	for (int slot = 0; slot < ASSOC_SLOTS && b->tags[slot]; slot++) {
		const uint8_t *i = (const uint8_t *)item_at(it, b->handles[slot]);
		for (int line = 0; line < WALK_LINES; line++)
			prefetch(i + 64 * line);
	}
}

/* The next position of a cursor, and its bucket fetched ahead. */
static void advance(const struct items *it, struct items_cursor *cursor)
{
	cursor->done = !assoc_walk_next(&it->assoc, &cursor->position);
	if (!cursor->done)
		prefetch(assoc_walk_bucket(&it->assoc, cursor->position));
}

static size_t walk_bucket(const struct items *it, uint64_t position, items_visit *visit, void *ctx,
                          bool *stop)
{
	size_t visited = 0;
	const struct assoc_bucket *b = assoc_walk_bucket(&it->assoc, position);
	for (; b; b = assoc_overflow(&it->assoc, b)) {
		prefetch_bucket(it, b);
		for (int slot = 0; slot < ASSOC_SLOTS && b->tags[slot]; slot++) {
			const struct item *i = item_at(it, b->handles[slot]);
			if (item_flushed(it, i))
				continue;
			visited++;
			if (!visit(ctx, i))
				*stop = true;
		}
	}
	return visited;
}

size_t items_walk(struct items *it, struct items_cursor *cursor, size_t max_states,
                  items_visit *visit, void *ctx)
{
	size_t visited = 0, buckets = 0;
	bool stop = false;
	struct items_cursor next = *cursor;
	items_catch_up(it);
	if (!cursor->done)
		advance(it, &next);
	while (!cursor->done && !stop && visited + buckets / WALK_BUCKETS_PER_STATE < max_states) {
		uint64_t position = cursor->position;
		*cursor = next;
		if (!next.done) { /* while this bucket is visited, the next one's items arrive */
			prefetch_items(it, assoc_walk_bucket(&it->assoc, next.position));
			advance(it, &next);
		}
		visited += walk_bucket(it, position, visit, ctx, &stop);
		buckets++;
	}
	return visited;
}

/* ---- confirmation marks ---------------------------------------------------------------- */

void items_confirm_begin(struct items *it)
{
	it->misc.confirm_epoch++;
}

bool items_confirm_ready(const struct items *it)
{
	(void)it; /* marks are void at once */
	return true;
}

void items_confirm_page(struct items *it, uint32_t page)
{
	if (it->notes[page].confirm_epoch == it->misc.confirm_epoch)
		return;
	it->notes[page].confirm_epoch = it->misc.confirm_epoch;
	for (uint32_t n = 0; n < it->slabs.pages[page].carved; n++) {
		struct item *i = slabs_chunk(&it->slabs, page, n);
		if (item_is_linked(i))
			i->bits &= ~ITEM_CONFIRMED;
	}
}

bool items_is_confirmed(const struct items *it, const struct item *i)
{
	return (i->bits & ITEM_CONFIRMED) && item_note(it, i)->confirm_epoch == it->misc.confirm_epoch;
}

void items_confirm(struct items *it, const struct item *i)
{
	if (item_is_tomb(i) || !item_is_linked(i))
		return;
	items_confirm_page(it, slabs_page_of(&it->slabs, i));
	((struct item *)(uintptr_t)i)->bits |= ITEM_CONFIRMED;
}

/* ---- sweeping what was not confirmed ------------------------------------------------------ */

/* Up to SWEEP_BATCH handles of a chain that must go; *looked = states in it. */
static int gather_unconfirmed(const struct items *it, uint64_t position, uint64_t upto,
                              uint32_t *handles, size_t *looked)
{
	int count = 0;
	*looked = 0;
	const struct assoc_bucket *b = assoc_walk_bucket(&it->assoc, position);
	for (; b; b = assoc_overflow(&it->assoc, b)) {
		prefetch_bucket(it, b);
		for (int slot = 0; slot < ASSOC_SLOTS && b->tags[slot]; slot++) {
			const struct item *i = item_at(it, b->handles[slot]);
			++*looked;
			if (!item_is_tomb(i) && i->version <= upto && !items_is_confirmed(it, i) &&
			    count < SWEEP_BATCH)
				handles[count++] = b->handles[slot];
		}
	}
	return count;
}

size_t items_sweep(struct items *it, struct items_cursor *cursor, uint64_t upto, size_t max_states)
{
	uint32_t handles[SWEEP_BATCH];
	size_t looked = 0, buckets = 0;
	assert(!it->observer.in_emit);
	items_catch_up(it);
	while (!cursor->done && looked + buckets / WALK_BUCKETS_PER_STATE < max_states) {
		size_t here;
		int count = gather_unconfirmed(it, cursor->position, upto, handles, &here);
		for (int n = 0; n < count; n++) {
			struct item *i = item_at(it, handles[n]);
			enum cause cause = item_flushed(it, i) ? CAUSE_FLUSHED : CAUSE_SWEEP;
			items_shed(it, i, item_as_key(it, i).hash, cause);
		}
		looked += here;
		buckets++;
		if (count < SWEEP_BATCH)
			advance(it, cursor);
	}
	return looked;
}
