/*
 * items_check.c - the consistency checker.
 *
 * Owns: proving the invariants of items.h, slabs.h, assoc.h and tombs.h by
 * looking at everything, in three directions: from the pages to queues and
 * index, from the queues to the pages, from the index to both.
 *
 * Must not know: how things came to be so.
 *
 * Used by: all tests of items, the simulator after every event.
 */
#include "compat.h"
#include "items_internal.h"

/* What a walk over the pages finds. */
struct census {
	uint64_t linked, linked_bytes;      /* of all classes */
	uint64_t chains, heads;             /* large class: continuation chunks, items */
	uint64_t chained;                   /* continuation chunks that items lead to */
	uint64_t held;                      /* sum of the notes */
	uint64_t reserved;                  /* reserved items and orphans */
};

/* ---- chains ---------------------------------------------------------------------------- */

static const char *check_chain(const struct items *it, const struct item *i, struct census *n)
{
	size_t head = item_key_offset(i) + i->key_len;
	size_t want = large_chunks(head, item_value_len(i)) - 1;
	uint32_t prev = item_handle(it, i);
	size_t count = 0;
	for (uint32_t h = item_large_head(i)->next; h; count++) {
		const struct chain *c = slabs_ptr(&it->slabs, h);
		if (c->bits != ITEM_KIND_CHAIN || c->prev != prev || count > want)
			return "items: broken chain of a large item";
		prev = h;
		h = c->next;
	}
	n->chained += count;
	bool whole = item_kind(i) != ITEM_KIND_RESERVED_LARGE; /* may be filled in parts */
	return count == want || (!whole && count < want) ? NULL : "items: a chain of the wrong length";
}

static uint64_t count_trash(const struct items *it)
{
	uint64_t count = 0;
	for (uint32_t t = it->misc.trash; t;) {
		const struct chain *c = slabs_ptr(&it->slabs, t);
		t = c->prev;
		count++;
		for (uint32_t h = c->next; h; count++)
			h = ((const struct chain *)slabs_ptr(&it->slabs, h))->next;
	}
	return count;
}

/* ---- from the pages ------------------------------------------------------------------------ */

static bool in_index(const struct items *it, const struct item *i)
{
	uint64_t hash = item_as_key(it, i).hash;
	uint32_t handle = item_handle(it, i);
	const struct assoc_bucket *b = assoc_bucket(&it->assoc, hash);
	for (; b; b = assoc_overflow(&it->assoc, b))
		for (unsigned m = assoc_match(b, assoc_tag(hash)); m; m &= m - 1)
			if (b->handles[__builtin_ctz(m)] == handle)
				return true;
	return false;
}

static const char *check_linked(const struct items *it, uint32_t page, const struct item *i,
                                struct census *n)
{
	const struct items_config *config = &it->config;
	size_t need = item_key_offset(i) + i->key_len + (item_is_large(i) ? 0 : item_value_len(i));
	n->linked++;
	n->linked_bytes += item_total_bytes(i);
	if (need > it->slabs.classes[it->slabs.pages[page].class_id].chunk_bytes)
		return "items: an item larger than its chunk";
	if (item_total_bytes(i) > config->item_bytes_max)
		return "items: an item larger than allowed";
	if (!in_index(it, i))
		return "items: [I1] a linked item is not in the index";
	if (i->exptime && i->exptime < it->min_exptime[page] && it->sweep.page != page)
		return "items: a page's least expiry time is too late";
	if ((i->bits & ITEM_TOUCHED) && config->replicated && !(i->bits & ITEM_OWN))
		return "items: touched but not own";
	return item_is_large(i) ? check_chain(it, i, n) : NULL;
}

static const char *check_chunk(const struct items *it, uint32_t page, const struct item *i,
                               struct census *n)
{
	bool is_large_class = it->slabs.pages[page].class_id == it->slabs.large;
	switch (item_kind(i)) {
	case ITEM_KIND_FREE:
		return NULL;
	case ITEM_KIND_SMALL:
	case ITEM_KIND_LARGE:
		n->heads += is_large_class;
		if (item_is_large(i) != is_large_class)
			return "items: a large item in a small class or the reverse";
		return check_linked(it, page, i, n);
	case ITEM_KIND_RESERVED:
	case ITEM_KIND_RESERVED_LARGE:
		n->heads += is_large_class;
		n->reserved++;
		if (item_is_large(i) != is_large_class)
			return "items: a large item in a small class or the reverse";
		return is_large_class ? check_chain(it, i, n) : NULL;
	case ITEM_KIND_CHAIN:
		n->chains++;
		return is_large_class ? NULL : "items: a chain chunk in a small class";
	case ITEM_KIND_TOMB:
		break;
	}
	return "items: a chunk of an unknown kind";
}

static const char *check_pages(const struct items *it, struct census *n)
{
	for (uint32_t page = 1; page < it->slabs.fresh; page++) {
		if (it->slabs.pages[page].class_id == 0)
			continue;
		n->held += it->notes[page].held;
		for (uint32_t at = 0; at < it->slabs.pages[page].carved; at++) {
			const char *wrong = check_chunk(it, page, slabs_chunk(&it->slabs, page, at), n);
			if (wrong)
				return wrong;
		}
	}
	if (n->chains != n->chained + count_trash(it))
		return "items: continuation chunks that nobody owns";
	return NULL;
}

/* ---- from the queues ------------------------------------------------------------------------- */

static const char *check_queue(const struct items *it, const struct item_queue *q, int id, bool main,
                               uint64_t *bytes)
{
	uint32_t prev = 0;
	uint64_t count = 0;
	for (uint32_t h = q->head; h; count++) {
		const struct item *i = slabs_ptr(&it->slabs, h);
		if (count >= q->count || i->q_prev != prev)
			return "items: [I1] broken queue";
		if (!item_is_linked(i) || item_class(it, i) != id || !!(i->bits & ITEM_MAIN) != main)
			return "items: [I1] an item in the wrong queue";
		*bytes += item_total_bytes(i);
		prev = h;
		h = i->q_next;
	}
	return q->tail == prev && count == q->count ? NULL : "items: [I1] a queue's tail or count";
}

static const char *check_queues(const struct items *it, const struct census *n)
{
	uint64_t count = 0, total = 0;
	for (int id = 1; id <= it->slabs.class_count; id++) {
		const struct class_state *c = &it->classes[id];
		uint64_t bytes = 0;
		const char *wrong = check_queue(it, &c->small, id, false, &bytes);
		if (!wrong)
			wrong = check_queue(it, &c->main, id, true, &bytes);
		if (wrong)
			return wrong;
		if (bytes != c->info.item_bytes)
			return "items: [I3] bytes of a class";
		uint64_t items = c->small.count + c->main.count;
		if (id != it->slabs.large && items > it->slabs.classes[id].used)
			return "items: [I3] more items than chunks";
		count += items;
		total += bytes;
	}
	if (count != n->linked || total != n->linked_bytes || count != it->gauges.item_count ||
	    total != it->gauges.item_bytes)
		return "items: [I3] counts";
	return NULL;
}

/* ---- from the index ---------------------------------------------------------------------------- */

static bool same_key(const struct item *a, const struct item *b)
{
	return a->key_len == b->key_len && memcmp(item_key(a), item_key(b), a->key_len) == 0;
}

/* Whether the chain has the key of slot `slot` of bucket b again, further on. */
static bool key_again(const struct items *it, const struct assoc_bucket *b, int slot)
{
	const struct item *i = item_at(it, b->handles[slot]);
	uint8_t tag = b->tags[slot];
	for (slot++; b; b = assoc_overflow(&it->assoc, b), slot = 0)
		for (; slot < ASSOC_SLOTS && b->tags[slot]; slot++)
			if (b->tags[slot] == tag && same_key(i, item_at(it, b->handles[slot])))
				return true;
	return false;
}

static const char *check_index(const struct items *it, const struct census *n)
{
	uint64_t items = 0, tombs = 0, position = 0;
	do {
		const struct assoc_bucket *b = assoc_walk_bucket(&it->assoc, position);
		for (; b; b = assoc_overflow(&it->assoc, b)) {
			for (int slot = 0; slot < ASSOC_SLOTS && b->tags[slot]; slot++) {
				const struct item *i = item_at(it, b->handles[slot]);
				if (!item_is_tomb(i) && !item_is_linked(i))
					return "items: [I1] something in the index that is not linked";
				if (key_again(it, b, slot))
					return "items: [I2] a key twice in the index";
				tombs += item_is_tomb(i);
				items += !item_is_tomb(i);
			}
		}
	} while (assoc_walk_next(&it->assoc, &position));
	if (items != n->linked || tombs != it->tombs.count)
		return "items: [I1] the index has more or less than pages and tombstones";
	return NULL;
}

/* ---- pins ---------------------------------------------------------------------------------------- */

static const char *check_pins(const struct items *it, const struct census *n)
{
	uint32_t count = 0;
	uint64_t orphans = 0;
	for (uint32_t at = 0; at <= it->pins.mask; at++) {
		const struct pin *pin = &it->pins.table[at];
		if (!pin->handle)
			continue;
		const struct item *i = item_at(it, pin->handle);
		count++;
		orphans += pin->orphan;
		if (pins_find(&it->pins, pin->handle) != pin || pin->count == 0)
			return "items: a pin that cannot be found";
		if (pin->orphan && item_is_linked(i))
			return "items: a linked orphan";
		if (item_kind(i) == ITEM_KIND_FREE || item_kind(i) == ITEM_KIND_CHAIN)
			return "items: a pinned item was freed";
	}
	/* Each pinned item counts once, each reserved one once; an orphan is both. */
	if (count != it->pins.count || n->held + orphans != count + n->reserved)
		return "items: held counts of pages";
	return NULL;
}

const char *items_check(struct items *it)
{
	struct census n = {0};
	const char *wrong = slabs_check(&it->slabs);
	if (!wrong)
		wrong = tombs_check(&it->tombs);
	if (!wrong)
		wrong = assoc_check(&it->assoc);
	if (!wrong)
		wrong = check_pages(it, &n);
	if (!wrong)
		wrong = check_queues(it, &n);
	if (!wrong)
		wrong = check_index(it, &n);
	if (!wrong)
		wrong = check_pins(it, &n);
	if (!wrong && it->tombs.bytes > it->tombs.bytes_max)
		wrong = "items: tombstones over their budget";
	return wrong;
}
