/*
 * items_sweep.c - time: expiry, flush reclaim, ages, and the other housekeeping.
 *
 * Owns: passes over the page table. A page's least expiry time is known, so a
 * pass looks only into pages in which something is dead; a flush makes one
 * pass look into all. Inside a page everything is done in one go over its
 * chunks: reclaim the dead, find the new least expiry, clear touched bits that
 * are settled, and pull last-access times up so that ages saturate at six days
 * instead of wrapping at twelve.
 *
 *   pass: page 1 -> page 2 -> ... -> last    one piece per items_tick()
 *   next pass: a second later, or later still if the pass was much work
 *
 * A pass may be overtaken: pages come and go and items move behind it. That is
 * harmless, because an item that enters a page lowers the page's least expiry
 * time, and one below the barrier is never moved.
 *
 * Must not know: keys, queues.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"
#include "items_report.h"

#define PASS_MS 1000           /* between the starts of passes */
#define PASS_LOOKS_PER_MS 2000 /* and so many chunks looked at cost 1 ms of waiting */
#define CLAMP_MS (INT64_C(24) * 3600 * 1000) /* every page is looked into once a day */
/* One items_tick(). */
#define TICK_LOOKS 4096
#define TICK_DEATHS 256
#define TICK_PAGES_SKIPPED 16 /* page table entries for the price of one chunk */
#define TICK_TRASH 512
#define TICK_TOMBS 256

/* What one call may still do. */
struct budget {
	int64_t looks, deaths;
};

/* ---- one item, one page ------------------------------------------------------------- */

static void reclaim(struct items *it, struct item *i)
{
	enum cause cause = item_cause_of_death(it, i);
	it->counters.crawler_reclaimed++;
	it->classes[item_class(it, i)].info.crawler_reclaimed++;
	items_shed(it, i, item_as_key(it, i).hash, cause);
}

/* Keep an age from wrapping. */
static void clamp_age(const struct items *it, struct item *i)
{
	uint32_t idle = (access_now(it) - (i->bits >> ITEM_LA_SHIFT)) & ITEM_LA_MASK;
	if (idle > ITEM_IDLE_S_MAX)
		item_set_access(i, (access_now(it) - ITEM_IDLE_S_MAX) & ITEM_LA_MASK);
}

/* Whether the running pass is to find what is expired in a class. */
static bool seeks_in(const struct items *it, int id)
{
	return it->sweep.crawling && it->sweep.crawl_left[id] > 0;
}

static bool touches_settled(const struct items *it, uint32_t page)
{
	uint64_t touched = it->notes[page].touched;
	return touched != 0 && touched <= it->policy.settled;
}

static void look_at(struct items *it, struct item *i, bool clear_touched, struct budget *b)
{
	b->looks--;
	if (!item_is_linked(i))
		return;
	int id = item_class(it, i);
	it->counters.crawler_items_checked++;
	it->classes[id].info.crawler_items_checked++;
	if (seeks_in(it, id) && it->sweep.crawl_left[id] < UINT32_MAX)
		it->sweep.crawl_left[id]--;
	if (item_dead(it, i)) {
		b->deaths--;
		reclaim(it, i);
		return;
	}
	note_exptime(it, i);
	clamp_age(it, i);
	if (clear_touched)
		i->bits &= ~ITEM_TOUCHED;
}

static void prefetch_dead(const struct items *it, const struct item *i)
{
	if (item_is_linked(i) && item_dead(it, i))
		items_prefetch_shed(it, i);
}

/* Go on in the pass's page; true when it is done. The page may become empty and
 * leave its class on the way: then it has no carved chunks. */
static bool sweep_page(struct items *it, struct budget *b)
{
	struct sweep *s = &it->sweep;
	uint32_t page = s->page;
	bool clear_touched = touches_settled(it, page);
	if (s->index == 0)
		it->min_exptime[page] = EXPTIME_NONE;
	while (s->index < it->slabs.pages[page].carved) {
		if (b->looks <= 0 || b->deaths <= 0)
			return false;
		if (s->index + PREFETCH_AHEAD < it->slabs.pages[page].carved)
			prefetch_dead(it, slabs_chunk(&it->slabs, page, s->index + PREFETCH_AHEAD));
		look_at(it, slabs_chunk(&it->slabs, page, s->index++), clear_touched, b);
		s->looked++;
	}
	if (clear_touched)
		it->notes[page].touched = 0;
	return true;
}

/* ---- passes ----------------------------------------------------------------------------- */

static bool page_is_due(const struct items *it, uint32_t page)
{
	const struct sweep *s = &it->sweep;
	if (it->slabs.pages[page].class_id == 0)
		return false;
	if (s->every_page || seeks_in(it, it->slabs.pages[page].class_id))
		return true;
	return (!s->manual && it->min_exptime[page] <= now_wall_s(it->now)) ||
	       (page >= s->clamp_done && page < s->clamp_to) || touches_settled(it, page);
}

static void begin_pass(struct items *it)
{
	struct sweep *s = &it->sweep;
	int64_t day = it->now->mono_ms - s->clamp_start_ms;
	s->page = 1;
	s->index = 0;
	s->looked = 0;
	s->every_page = s->flush_pending;
	s->flush_pending = false;
	s->crawling = s->crawl_waits;
	s->crawl_waits = false;
	s->resume_ms = 0;
	it->counters.sweeps++;
	s->clamp_to = UINT32_MAX;
	if (day < CLAMP_MS)
		s->clamp_to = (uint32_t)((uint64_t)it->slabs.fresh * (uint64_t)day / CLAMP_MS);
	items_move_surplus(it);
}

static void end_pass(struct items *it)
{
	struct sweep *s = &it->sweep;
	int64_t wait = (int64_t)(s->looked / PASS_LOOKS_PER_MS);
	s->page = 0;
	s->crawling = false;
	s->next_pass_ms = it->now->mono_ms + (wait > PASS_MS ? wait : PASS_MS);
	s->clamp_done = s->clamp_to;
	if (s->clamp_to == UINT32_MAX) {
		s->clamp_done = 0;
		s->clamp_start_ms = it->now->mono_ms;
	}
	/* Nothing is below the barrier any more. On its own a node needs it no
	 * longer, and a client may choose low versions. */
	if (s->every_page && !s->flush_pending && !it->config.replicated) {
		if (it->misc.version_high <= it->flush.barrier)
			it->misc.version_high = 0; /* what had it is gone */
		it->flush.barrier = 0;
	}
}

static void sweep_some(struct items *it, struct budget *b)
{
	struct sweep *s = &it->sweep;
	int skipped = 0;
	while (b->looks > 0 && b->deaths > 0) {
		if (s->page >= it->slabs.fresh) {
			end_pass(it);
			return;
		}
		if (s->index == 0 && !page_is_due(it, s->page)) {
			b->looks -= ++skipped % TICK_PAGES_SKIPPED == 0;
			s->page++;
		} else if (sweep_page(it, b)) {
			s->page++;
			s->index = 0;
		}
	}
}

static bool pass_is_due(const struct items *it)
{
	if (it->sweep.flush_pending || it->sweep.crawl_waits)
		return true;
	return it->gauges.item_count > 0 && it->now->mono_ms >= it->sweep.next_pass_ms;
}

void items_finish_flush(struct items *it)
{
	struct budget all = {INT64_MAX, INT64_MAX};
	while (it->sweep.flush_pending || (it->sweep.page && it->sweep.every_page)) {
		if (it->sweep.page == 0)
			begin_pass(it);
		sweep_some(it, &all);
	}
}

/* ---- asked for ---------------------------------------------------------------------------- */

void items_set_sweep(struct items *it, bool automatic, uint32_t pause_us)
{
	it->sweep.manual = !automatic;
	it->sweep.pause_ms = pause_us / 1000;
	it->sweep.resume_ms = 0;
	if (!automatic)
		it->sweep.crawl_waits = it->sweep.crawling = false;
}

bool items_crawl(struct items *it, const bool *classes, uint32_t max)
{
	if (it->sweep.crawl_waits || it->sweep.crawling)
		return false;
	for (int id = 1; id <= it->slabs.class_count; id++)
		it->sweep.crawl_left[id] = classes[id] ? max : 0;
	it->sweep.crawl_waits = true;
	return true;
}

/* A pass that is in no hurry rests between its pieces. */
static bool pass_rests(const struct items *it)
{
	const struct sweep *s = &it->sweep;
	return !s->every_page && !s->flush_pending && it->now->mono_ms < s->resume_ms;
}

/* ---- the tick ------------------------------------------------------------------------------ */

/* Rough costs of what a tick does, in nanoseconds, to tell what it did most. */
#define COST_FREE 20
#define COST_TOMB 200
#define COST_MOVE 300
#define COST_TRIM 20000
#define COST_LOOK 10
#define COST_DEATH 300

enum items_work items_last_work(const struct items *it)
{
	return (enum items_work)it->misc.worked;
}

static void note_work(struct items *it, enum items_work work, uint64_t cost, uint64_t *most)
{
	if (cost <= *most)
		return;
	*most = cost;
	it->misc.worked = work;
}

/* Freeing and moving; the cost of what was done most. */
static uint64_t tidy_up(struct items *it)
{
	uint64_t most = 0, tombs = it->tombs.count, bare = it->slabs.bare_count;
	uint64_t moved = it->counters.rescues + it->counters.evictions;
	it->misc.worked = ITEMS_WORK_NONE;
	note_work(it, ITEMS_WORK_FREE, items_empty_trash(it, TICK_TRASH) * COST_FREE, &most);
	items_tombs_settle_some(it, TICK_TOMBS);
	note_work(it, ITEMS_WORK_TOMBS, (tombs - it->tombs.count) * COST_TOMB, &most);
	if (it->mover.page)
		items_move_some(it);
	if (items_shrink_due_ms(it) <= it->now->mono_ms)
		items_shrink_some(it);
	moved = it->counters.rescues + it->counters.evictions - moved;
	bare = it->slabs.bare_count > bare ? it->slabs.bare_count - bare : 0;
	note_work(it, ITEMS_WORK_MOVE, moved * COST_MOVE + bare * COST_TRIM, &most);
	return most;
}

void items_tick(struct items *it)
{
	struct budget b = {TICK_LOOKS, TICK_DEATHS};
	assert(!it->observer.in_emit);
	items_catch_up(it);
	uint64_t most = tidy_up(it);
	if (it->sweep.page == 0 && pass_is_due(it))
		begin_pass(it);
	if (it->sweep.page && !pass_rests(it)) {
		sweep_some(it, &b);
		it->sweep.resume_ms = it->now->mono_ms + it->sweep.pause_ms;
		uint64_t looks = (uint64_t)(TICK_LOOKS - b.looks), deaths = (uint64_t)(TICK_DEATHS - b.deaths);
		note_work(it, ITEMS_WORK_SWEEP, looks * COST_LOOK + deaths * COST_DEATH, &most);
	}
}

/* When the next pass is due, or the next piece of the running one. */
static int64_t sweep_due_ms(const struct items *it)
{
	const struct sweep *s = &it->sweep;
	if (s->page)
		return pass_rests(it) ? s->resume_ms : it->now->mono_ms;
	if (pass_is_due(it))
		return it->now->mono_ms;
	return it->gauges.item_count > 0 ? s->next_pass_ms : INT64_MAX;
}

int64_t items_next_due_ms(const struct items *it)
{
	int64_t due = sweep_due_ms(it), now = it->now->mono_ms;
	int64_t shrink = items_shrink_due_ms(it);
	if (it->misc.trash || it->mover.page || items_tombs_settle_due(it))
		return now;
	due = shrink < due ? shrink : due;
	if (it->flush.when_ms) {
		int64_t wait = it->flush.when_ms - it->now->wall_ms;
		int64_t fire = now + (wait > 0 ? wait : 0);
		due = fire < due ? fire : due;
	}
	return due;
}
