/*
 * items_queue.c - S3-FIFO: who goes next.
 *
 * Owns: two queues per size class and the choice of what is evicted.
 *
 *   new -> [ small, a tenth ] -- read since? -> [ main ] -- read since? --+
 *                |                                 ^  |                   |
 *                no: evicted, its fingerprint      |  no: evicted         |
 *                goes to the ghost table           +----- round again ----+
 *
 *   new and in the ghost table -> main at once
 *
 * A read changes two bits in the item (frequency, at most 3) and no list. What
 * is dead (expired, flushed) goes as soon as it is met. Pinned items are sent
 * round. A search that met nothing but read items for EVICT_SPARE steps takes
 * the next one all the same, so that making room is bounded work.
 *
 * Must not know: pages, other classes.
 *
 * Invariants: [I1] of items.h.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"

#define SMALL_SHARE 10   /* small holds one part in this many of the class's items */
#define EVICT_STEPS 512  /* items looked at for one eviction */
#define EVICT_SPARE 256  /* of these, how many are spared for having been read */
#define DEAD_STEPS 32    /* items looked at per queue when evicting is forbidden */
#define VICTIM_STEPS 8

/* ---- links ------------------------------------------------------------------------ */

static struct item_queue *queue_of(struct items *it, const struct item *i)
{
	struct class_state *c = &it->classes[item_class(it, i)];
	return i->bits & ITEM_MAIN ? &c->main : &c->small;
}

static void link_head(struct items *it, struct item_queue *q, struct item *i)
{
	uint32_t handle = item_handle(it, i);
	i->q_prev = 0;
	i->q_next = q->head;
	if (q->head)
		item_at(it, q->head)->q_prev = handle;
	else
		q->tail = handle;
	q->head = handle;
	q->count++;
}

static void unlink_from(struct items *it, struct item_queue *q, struct item *i)
{
	if (i->q_prev)
		item_at(it, i->q_prev)->q_next = i->q_next;
	else
		q->head = i->q_next;
	if (i->q_next)
		item_at(it, i->q_next)->q_prev = i->q_prev;
	else
		q->tail = i->q_prev;
	assert(q->count > 0);
	q->count--;
}

static void count_size(struct items *it, size_t bytes, int by)
{
	if (unlikely(it->misc.sizes != NULL))
		it->misc.sizes[(bytes + ITEMS_SIZE_STEP - 1) / ITEMS_SIZE_STEP] += (uint32_t)by;
}

void items_enqueue(struct items *it, struct item *i, bool in_main)
{
	assert(item_is_linked(i));
	i->bits = in_main ? i->bits | ITEM_MAIN : i->bits & ~ITEM_MAIN;
	link_head(it, queue_of(it, i), i);
	size_t bytes = item_total_bytes(i);
	it->classes[item_class(it, i)].info.item_bytes += bytes;
	it->gauges.item_bytes += bytes;
	count_size(it, bytes, 1);
	it->gauges.item_count++;
}

void items_dequeue(struct items *it, struct item *i)
{
	size_t bytes = item_total_bytes(i);
	unlink_from(it, queue_of(it, i), i);
	it->classes[item_class(it, i)].info.item_bytes -= bytes;
	it->gauges.item_bytes -= bytes;
	count_size(it, bytes, -1);
	it->gauges.item_count--;
}

void items_requeue_moved(struct items *it, struct item *i, uint32_t old)
{
	struct item_queue *q = queue_of(it, i);
	uint32_t handle = item_handle(it, i);
	assert(old != handle);
	if (i->q_prev)
		item_at(it, i->q_prev)->q_next = handle;
	else
		q->head = handle;
	if (i->q_next)
		item_at(it, i->q_next)->q_prev = handle;
	else
		q->tail = handle;
}

/* ---- eviction ------------------------------------------------------------------------ */

static struct item *next_candidate(const struct items *it, const struct class_state *c)
{
	uint64_t total = c->small.count + c->main.count;
	bool from_small = c->small.count * SMALL_SHARE > total || c->main.count == 0;
	uint32_t tail = from_small ? c->small.tail : c->main.tail;
	return tail ? item_at(it, tail) : NULL;
}

/* Send an item back to the head of main, or of its own queue. */
static void another_round(struct items *it, struct class_state *c, struct item *i, bool to_main)
{
	unlink_from(it, queue_of(it, i), i);
	if (to_main)
		i->bits |= ITEM_MAIN;
	link_head(it, to_main ? &c->main : queue_of(it, i), i);
}

/* A read item moves up from small with its count cleared, or goes round in main
 * with one less. */
static void spare(struct items *it, struct class_state *c, struct item *i)
{
	unsigned freq = item_freq(i);
	assert(freq > 0);
	item_set_freq(i, i->bits & ITEM_MAIN ? freq - 1 : 0);
	another_round(it, c, i, true);
}

static void count_eviction(struct items *it, struct class_state *c, const struct item *i)
{
	it->counters.evictions++;
	it->counters.evicted_nonzero += i->exptime != 0;
	it->counters.evicted_unfetched += !(i->bits & ITEM_FETCHED);
	it->counters.evicted_active += item_freq(i) > 0;
	c->info.evicted++;
	c->info.evicted_nonzero += i->exptime != 0;
	c->info.evicted_unfetched += !(i->bits & ITEM_FETCHED);
	c->info.evicted_idle_s = items_idle_s(it, i);
	c->churn++;
}

void items_evict(struct items *it, struct item *i)
{
	struct class_state *c = &it->classes[item_class(it, i)];
	struct key key = item_as_key(it, i);
	count_eviction(it, c, i);
	if (!(i->bits & ITEM_MAIN) && item_freq(i) == 0)
		ghost_add(&it->ghost, key.hash, it->gauges.item_count);
	items_shed(it, i, key.hash, CAUSE_EVICT);
}

static void reclaim(struct items *it, struct class_state *c, struct item *i)
{
	struct key key = item_as_key(it, i);
	enum cause cause = item_cause_of_death(it, i);
	it->counters.reclaimed++;
	c->info.reclaimed++;
	items_shed(it, i, key.hash, cause);
}

/* Without leave to evict: reclaim what is dead near a queue's end. */
static bool reclaim_near(struct items *it, struct class_state *c, uint32_t tail)
{
	for (int step = 0; tail && step < DEAD_STEPS; step++) {
		struct item *i = item_at(it, tail);
		tail = i->q_prev;
		if (item_dead(it, i) && !items_is_pinned(it, i)) {
			reclaim(it, c, i);
			return true;
		}
	}
	return false;
}

/* Who goes next is far away in memory, and so is all that evicting it looks at:
 * fetch that meanwhile, and the item after it for the next time. */
static void prefetch_next(const struct items *it, const struct class_state *c)
{
	const struct item *i = next_candidate(it, c);
	if (!i)
		return;
	items_prefetch_shed(it, i);
	if (i->q_prev)
		prefetch(item_at(it, i->q_prev));
}

/* Deal with the item at a tail: true when it was freed, else it went round. */
static bool free_or_pass(struct items *it, struct class_state *c, struct item *i, bool may_spare)
{
	if (items_is_pinned(it, i)) {
		another_round(it, c, i, false);
		return false;
	}
	if (item_dead(it, i)) {
		reclaim(it, c, i);
		return true;
	}
	if (item_freq(i) > 0 && may_spare) {
		spare(it, c, i);
		return false;
	}
	items_evict(it, i);
	return true;
}

bool items_evict_one(struct items *it, int id)
{
	struct class_state *c = &it->classes[id];
	bool freed = false;
	if (!it->config.evict)
		return reclaim_near(it, c, c->small.tail) || reclaim_near(it, c, c->main.tail);
	for (int step = 0; step < EVICT_STEPS && !freed; step++) {
		struct item *i = next_candidate(it, c);
		if (!i)
			return false;
		freed = free_or_pass(it, c, i, step < EVICT_SPARE);
	}
	prefetch_next(it, c);
	if (c->churn >= it->slabs.classes[id].per_page)
		items_consider_move(it, id);
	return freed;
}

const struct item *items_next_victim(const struct items *it, int id)
{
	const struct class_state *c = &it->classes[id];
	const struct item *i = next_candidate(it, c);
	for (int step = 0; i && step < VICTIM_STEPS; step++) {
		if (item_freq(i) == 0)
			return i;
		i = i->q_prev ? item_at(it, i->q_prev) : NULL;
	}
	return NULL;
}
