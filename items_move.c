/*
 * items_move.c - taking pages from one class for another.
 *
 * Owns: emptying (draining) a page: its items are copied to free chunks of
 * their class and their links mended, so readers notice nothing; where there is
 * no free chunk something is evicted. And the choice of who gives:
 *
 *   at once       a class needs a chunk and can neither grow nor evict: some
 *                 other class gives a page now (items_steal_page). What does
 *                 not fit elsewhere is evicted right in the page: one go over
 *                 the page, no more.
 *   by and by     a class that has evicted a page's worth of items is given a
 *                 page of a class that nobody has written to while the cache
 *                 turned over, or, now and then, of one whose next victim is
 *                 many times older; a piece per items_tick. Room is made at
 *                 that class's queue ends, so the order of eviction is kept.
 *   asked for     an operator's slabs reassign, or a lower limit of memory: like by
 *                 and by, but without asking who deserves it.
 *   surplus       when no page is free, a class with pages' worth of free
 *                 chunks gives one to the pool; nothing is evicted.
 *
 * Age is counted in versions: how much was written since the next victim was. A
 * victim that was read keeps its count as long as nothing is evicted in its class;
 * it is one all the same when the read lies further back than the cache's turnover.
 *
 * Moving is done sparingly on purpose. The pages were shared out by demand when
 * the cache filled up, ages of small classes are noisy, and a class with three
 * pages loses a third of what it remembers with one of them: replaying traces,
 * a mover that evened ages out at a ratio of 1.5 made a quarter more misses.
 *
 * Pages with pinned or reserved items are left alone.
 *
 * Must not know: what an item means; time.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"

#define MOVE_PIECE 256     /* chunks handled by one items_move_some() */
#define PAGE_TRIES 16      /* pages of a class considered at once */
#define TRASH_PIECE 64     /* freed chunks for which a page is looked for again */
#define FORGOTTEN_STEPS 16 /* items looked at for one that nobody reads any longer */
#define CHAIN_STEPS 300    /* links followed to find who owns a chunk */
#define GIVER_PAGES_MIN 4  /* classes with fewer give only when nobody writes to them */
#define OLDER_TIMES 8      /* a giver's victims are so many times older */
#define MOVE_PRICE 16      /* pages' worth of evictions between such moves */
#define REASSIGN_TRIES 16  /* pages tried for an operator */
#define SURPLUS_PERCENT 250 /* free chunks, of those in a page, that are a surplus */

/* ---- moving one chunk --------------------------------------------------------------- */

enum drained {
	DRAIN_GONE,  /* the chunk is free now */
	DRAIN_STUCK, /* no free chunk elsewhere */
	DRAIN_HELD   /* pinned or reserved */
};

static void *copy_chunk(struct items *it, const void *old)
{
	int id = slabs_class_of(&it->slabs, old);
	void *chunk = slabs_alloc(&it->slabs, id);
	if (chunk) {
		memcpy(chunk, old, it->slabs.classes[id].chunk_bytes);
		it->counters.rescues++;
	}
	return chunk;
}

/* What the old page's note says about an item goes with it. */
static void move_note(struct items *it, struct item *i, const struct item *old)
{
	struct page_note *to = item_note(it, i), *from = item_note(it, old);
	note_exptime(it, i);
	if ((i->bits & ITEM_TOUCHED) && from->touched > to->touched)
		to->touched = from->touched;
	i->bits &= ~ITEM_CONFIRMED;
	if (items_is_confirmed(it, old))
		items_confirm(it, i);
}

static enum drained move_item(struct items *it, struct item *old)
{
	struct item *i = copy_chunk(it, old);
	if (!i)
		return DRAIN_STUCK;
	uint32_t old_handle = item_handle(it, old), handle = item_handle(it, i);
	assoc_replace(&it->assoc, item_as_key(it, i).hash, old_handle, handle);
	items_requeue_moved(it, i, old_handle);
	if (item_is_large(i)) {
		items_forget_places(it, old_handle);
		struct chain *first = slabs_ptr(&it->slabs, item_large_head(i)->next);
		first->prev = handle;
	}
	move_note(it, i, old);
	slabs_free(&it->slabs, old);
	return DRAIN_GONE;
}

/* Whether the item that a chain belongs to is held; true if it is too far. */
static bool chain_is_held(const struct items *it, const struct chain *c)
{
	if (it->misc.held_large == 0)
		return false;
	for (int step = 0; step < CHAIN_STEPS; step++) {
		const struct item *i = slabs_ptr(&it->slabs, c->prev);
		if (item_kind(i) != ITEM_KIND_CHAIN)
			return !item_is_linked(i) || items_is_pinned(it, i);
		c = (const struct chain *)(const void *)i;
	}
	return true;
}

static enum drained move_chain(struct items *it, struct chain *old)
{
	if (it->misc.trash)
		return DRAIN_STUCK; /* perhaps it is trash; that goes first */
	if (chain_is_held(it, old))
		return DRAIN_HELD;
	struct chain *c = copy_chunk(it, old);
	if (!c)
		return DRAIN_STUCK;
	uint32_t handle = slabs_handle(&it->slabs, c);
	*chunk_next(slabs_ptr(&it->slabs, c->prev)) = handle;
	if (c->next)
		((struct chain *)slabs_ptr(&it->slabs, c->next))->prev = handle;
	items_forget_places(it, 0);
	slabs_free(&it->slabs, old);
	return DRAIN_GONE;
}

static enum drained drain_chunk(struct items *it, struct item *i)
{
	switch (item_kind(i)) {
	case ITEM_KIND_FREE:
		return DRAIN_GONE;
	case ITEM_KIND_SMALL:
	case ITEM_KIND_LARGE:
		if (items_is_pinned(it, i))
			return DRAIN_HELD;
		if (!item_dead(it, i))
			return move_item(it, i);
		items_shed(it, i, item_as_key(it, i).hash, item_cause_of_death(it, i));
		return DRAIN_GONE;
	case ITEM_KIND_CHAIN:
		return move_chain(it, (struct chain *)(void *)i);
	case ITEM_KIND_RESERVED:
	case ITEM_KIND_RESERVED_LARGE:
	case ITEM_KIND_TOMB:
		break;
	}
	return DRAIN_HELD;
}

static bool page_left(const struct items *it, uint32_t page)
{
	return !it->slabs.pages[page].draining;
}

void items_on_page_moved(struct items *it, items_page_moved *fn, void *ctx)
{
	it->observer.page_fn = fn;
	it->observer.page_ctx = ctx;
}

static void report_move(struct items *it, int from, int to, bool done)
{
	it->counters.pages_moved += done;
	if (it->observer.page_fn)
		it->observer.page_fn(it->observer.page_ctx, from, to, done);
}

/* ---- who gives ------------------------------------------------------------------------ */

/* One near the end of a class that was read before, but not while the cache turned
 * over: where nothing is stored, nobody goes round and forgets that he was read. */
static const struct item *forgotten(const struct items *it, int id)
{
	const struct class_state *c = &it->classes[id];
	uint32_t age = (access_now(it) - it->turnover.before_s) & ITEM_LA_MASK;
	uint32_t handle = c->main.tail ? c->main.tail : c->small.tail;
	for (int step = 0; handle && step < FORGOTTEN_STEPS; step++) {
		const struct item *i = item_at(it, handle);
		if (items_idle_s(it, i) > age)
			return i;
		handle = i->q_prev;
	}
	return NULL;
}

/* How old the next victim of a class is; 0 when there is none that is not read. */
static uint64_t class_age(const struct items *it, int id)
{
	const struct item *i = items_next_victim(it, id);
	if (!i)
		i = forgotten(it, id);
	return i && i->version < it->hlc->last ? it->hlc->last - i->version : 0;
}

static bool has_surplus(const struct items *it, int id, unsigned percent)
{
	uint64_t page = it->slabs.classes[id].per_page;
	return slabs_free_chunks(&it->slabs, id) * 100 >= page * percent;
}

static bool page_may_go(const struct items *it, uint32_t page)
{
	const struct slab_page *p = &it->slabs.pages[page];
	return p->class_id != 0 && !p->draining && it->notes[page].held == 0;
}

/* Up to PAGE_TRIES pages of a class, the emptiest first, then the one with the
 * next victim. */
static int candidate_pages(const struct items *it, int id, uint32_t *pages)
{
	const struct slabs *s = &it->slabs;
	const struct item *victim = items_next_victim(it, id);
	int count = 0;
	for (uint32_t p = s->classes[id].partial; p && count < PAGE_TRIES / 2; p = s->pages[p].next) {
		if (!page_may_go(it, p))
			continue;
		pages[count++] = p;
		if (s->pages[p].used < s->pages[pages[0]].used) {
			pages[count - 1] = pages[0];
			pages[0] = p;
		}
	}
	if (victim && page_may_go(it, slabs_page_of(s, victim)))
		pages[count++] = slabs_page_of(s, victim);
	for (uint32_t p = s->classes[id].full; p && count < PAGE_TRIES; p = s->pages[p].next)
		if (page_may_go(it, p))
			pages[count++] = p;
	return count;
}

/* ---- at once ---------------------------------------------------------------------------- */

/* Make room for a chunk that has no place to go: evict it, or another item if
 * it is but a part of one. Trash is all that is in the way of some parts. */
static bool evict_for(struct items *it, struct item *i)
{
	if (!it->config.evict)
		return false;
	if (item_is_linked(i)) {
		items_evict(it, i);
		return true;
	}
	return items_empty_trash(it, TRASH_PIECE) > 0 || items_evict_one(it, it->slabs.large);
}

/* Empty a page, or stop when another one became free on the way. */
static void drain_now(struct items *it, uint32_t page, int taker)
{
	const struct slab_page *p = &it->slabs.pages[page];
	int giver = p->class_id;
	slabs_drain_begin(&it->slabs, page);
	for (uint32_t n = 0; n < p->carved && slabs_free_pages(&it->slabs) == 0;) {
		struct item *i = slabs_chunk(&it->slabs, page, n);
		if (n + PREFETCH_AHEAD < p->carved)
			items_prefetch_shed(it, slabs_chunk(&it->slabs, page, n + PREFETCH_AHEAD));
		enum drained d = drain_chunk(it, i);
		if (d == DRAIN_HELD || (d == DRAIN_STUCK && !evict_for(it, i)))
			break;
		n += d == DRAIN_GONE || item_kind(i) == ITEM_KIND_FREE;
	}
	bool left = page_left(it, page);
	if (!left)
		slabs_drain_end(&it->slabs, page);
	report_move(it, giver, taker, left);
}

static bool steal_from(struct items *it, int id, int taker)
{
	uint32_t pages[PAGE_TRIES];
	while (id == it->slabs.large && it->misc.trash && slabs_free_pages(&it->slabs) == 0)
		items_empty_trash(it, TRASH_PIECE);
	int count = candidate_pages(it, id, pages);
	for (int n = 0; n < count && slabs_free_pages(&it->slabs) == 0; n++)
		if (page_may_go(it, pages[n]))
			drain_now(it, pages[n], taker);
	return slabs_free_pages(&it->slabs) > 0;
}

/* The class that had best give a page, 0 = none; those in `tried` do not count. */
static int best_giver(const struct items *it, int taker, const bool *tried)
{
	int best = 0;
	uint64_t best_score = 0;
	for (int id = 1; id <= it->slabs.class_count; id++) {
		if (id == taker || (tried && tried[id]) || it->slabs.classes[id].pages == 0)
			continue;
		bool surplus = has_surplus(it, id, 100);
		if (!surplus && !it->config.evict)
			continue;
		uint64_t score = surplus ? UINT64_MAX : 1 + class_age(it, id) / 2;
		if (score > best_score) {
			best = id;
			best_score = score;
		}
	}
	return best;
}

bool items_steal_page(struct items *it, int id)
{
	bool tried[SLAB_CLASSES_MAX + 1] = {false};
	int giver;
	while ((giver = best_giver(it, id, tried)) != 0) {
		if (steal_from(it, giver, id))
			return true;
		tried[giver] = true;
	}
	return false;
}

/* ---- by and by ------------------------------------------------------------------------------ */

/* False: the class has no page that may go. */
static bool begin_move(struct items *it, int from, int to, bool evict)
{
	uint32_t pages[PAGE_TRIES];
	assert(it->mover.page == 0);
	if (candidate_pages(it, from, pages) == 0)
		return false;
	slabs_drain_begin(&it->slabs, pages[0]);
	it->mover = (struct mover){.page = pages[0], .from = from, .to = to, .evict = evict};
	return true;
}

/* Whether nothing was stored in a class while the cache turned over. */
static bool is_dead(const struct items *it, int id)
{
	const struct class_state *c = &it->classes[id];
	uint32_t head = c->small.head ? c->small.head : c->main.head;
	return head && item_at(it, head)->version < it->turnover.before;
}

static uint64_t average_bytes(const struct items *it, int id)
{
	const struct class_state *c = &it->classes[id];
	uint64_t count = c->small.count + c->main.count;
	return count ? c->info.item_bytes / count : it->slabs.classes[id].chunk_bytes;
}

/* Whether a class should give a page to another one. Where items are larger the
 * same page holds fewer, so the difference must be so much greater. */
static bool should_give(const struct items *it, int id, int taker)
{
	uint64_t given = class_age(it, id), age = class_age(it, taker) + 1;
	uint64_t bytes = average_bytes(it, id), taker_bytes = average_bytes(it, taker);
	if (given <= age)
		return false;
	if (is_dead(it, id) || it->misc.automove == ITEMS_AUTOMOVE_EAGER)
		return true;
	if (taker_bytes > bytes)
		age *= taker_bytes / bytes + 1;
	return it->slabs.classes[id].pages >= GIVER_PAGES_MIN && given / OLDER_TIMES > age &&
	       it->turnover.since_move >= MOVE_PRICE;
}

/* A page's worth of evictions has happened. */
static void count_turnover(struct items *it)
{
	struct turnover *t = &it->turnover;
	t->since_move++;
	if (++t->pages < it->slabs.pages_limit)
		return;
	t->pages = 0;
	t->before = t->version;
	t->version = it->hlc->last;
	t->before_s = t->began_s;
	t->began_s = access_now(it);
}

void items_consider_move(struct items *it, int id)
{
	uint64_t oldest = 0;
	int giver = 0;
	it->classes[id].churn = 0;
	count_turnover(it);
	if (it->mover.page || slabs_free_pages(&it->slabs) > 0 || it->misc.automove == ITEMS_AUTOMOVE_OFF)
		return;
	for (int from = 1; from <= it->slabs.class_count; from++) {
		if (from == id || it->slabs.classes[from].pages == 0 || class_age(it, from) <= oldest ||
		    !should_give(it, from, id))
			continue;
		giver = from;
		oldest = class_age(it, from);
	}
	if (!giver)
		return;
	it->turnover.since_move = 0;
	begin_move(it, giver, id, true);
}

void items_move_surplus(struct items *it)
{
	if (it->mover.page || slabs_free_pages(&it->slabs) > 0 || it->misc.automove == ITEMS_AUTOMOVE_OFF)
		return;
	for (int id = 1; id <= it->slabs.class_count; id++) {
		if (!has_surplus(it, id, SURPLUS_PERCENT))
			continue;
		begin_move(it, id, 0, false);
		return;
	}
}

/* The page cannot be emptied: something in it is held. */
static void fail_move(struct items *it)
{
	struct mover m = it->mover;
	it->mover = (struct mover){0};
	slabs_drain_end(&it->slabs, m.page);
	it->limit.retry_ms = it->now->mono_ms + PAGE_RETRY_MS;
	report_move(it, m.from, m.to, false);
	if (m.tries > 0 && begin_move(it, m.from, m.to, m.evict))
		it->mover.tries = m.tries - 1;
}

/* The page was given up, or cannot be. */
static void end_move(struct items *it)
{
	struct mover m = it->mover;
	if (!page_left(it, m.page)) {
		fail_move(it);
		return;
	}
	it->mover = (struct mover){0};
	report_move(it, m.from, m.to, true);
	if (m.to)
		items_grow_class(it, m.to);
}

void items_move_some(struct items *it)
{
	struct mover *m = &it->mover;
	const struct slab_page *p = &it->slabs.pages[m->page];
	for (int step = 0; step < MOVE_PIECE; step++) {
		if (page_left(it, m->page) || m->index >= p->carved) {
			end_move(it);
			return;
		}
		if (m->index + PREFETCH_AHEAD < p->carved)
			items_prefetch_shed(it, slabs_chunk(&it->slabs, m->page, m->index + PREFETCH_AHEAD));
		enum drained d = drain_chunk(it, slabs_chunk(&it->slabs, m->page, m->index));
		m->index += d == DRAIN_GONE;
		if (d == DRAIN_STUCK && it->misc.trash)
			return; /* the trash is emptied first */
		if (d == DRAIN_HELD ||
		    (d == DRAIN_STUCK && !(m->evict && items_evict_one(it, p->class_id)))) {
			end_move(it);
			return;
		}
	}
}

/* ---- asked for ------------------------------------------------------------------------------ */

void items_set_automove(struct items *it, enum items_automove how)
{
	it->misc.automove = how;
}

/* The class with two pages or more that had best give one, 0 = none. */
static int spare_giver(const struct items *it)
{
	bool poor[SLAB_CLASSES_MAX + 1];
	for (int id = 0; id <= it->slabs.class_count; id++)
		poor[id] = it->slabs.classes[id].pages < 2;
	return best_giver(it, 0, poor);
}

enum items_reassign items_reassign(struct items *it, int src, int dst)
{
	int count = it->slabs.class_count;
	if (src < -1 || src > count || dst < 0 || dst > count)
		return ITEMS_REASSIGN_BAD_CLASS;
	if (src == dst)
		return ITEMS_REASSIGN_SAME;
	if (it->mover.page)
		return ITEMS_REASSIGN_BUSY;
	if (src == 0)
		return items_grow_class(it, dst) ? ITEMS_REASSIGN_OK : ITEMS_REASSIGN_NO_SPARE;
	if (src < 0 && (src = spare_giver(it)) == 0)
		return ITEMS_REASSIGN_BAD_CLASS;
	if (src == dst)
		return ITEMS_REASSIGN_SAME;
	if (it->slabs.classes[src].pages < 2 || !begin_move(it, src, dst, it->config.evict))
		return ITEMS_REASSIGN_NO_SPARE;
	it->mover.tries = REASSIGN_TRIES;
	return ITEMS_REASSIGN_OK;
}

bool items_give_up_page(struct items *it)
{
	bool tried[SLAB_CLASSES_MAX + 1] = {false};
	int giver;
	while ((giver = best_giver(it, 0, tried)) != 0) {
		if (begin_move(it, giver, 0, it->config.evict))
			return true;
		tried[giver] = true;
	}
	return false;
}
