/*
 * test_items_time.c - the storage engine over time: expiry, flushes, ages,
 * tombstones and settling, walks, sweeps; and that each piece is bounded.
 *
 * Covers: items.c, items_sweep.c, items_tombs.c, items_walk.c.
 */
#include "compat.h"
#include "items_world.h"

/* One items_tick() may reclaim this many at most. */
#define TICK_DEATHS_MAX 500

static void open_world(struct world *w, bool replicated)
{
	world_init(w, 4 * WORLD_MIB, replicated, 21);
	world_open(w);
}

static enum items_miss why_missed(struct world *w, uint32_t n)
{
	struct key key = world_key(w, n);
	enum items_miss miss = ITEMS_MISS_ABSENT;
	ck_assert_ptr_null(items_find(w->it, &key, ITEMS_READ, &miss));
	return miss;
}

static const struct item *state(struct world *w, uint32_t n)
{
	struct key key = world_key(w, n);
	return items_state(w->it, &key);
}

static void touch(struct world *w, uint32_t n, uint32_t exptime)
{
	struct amendment a = {.what = AMEND_EXPIRY, .exptime = exptime};
	items_amend(w->it, world_find(w, n, ITEMS_PEEK), &a, CAUSE_CLIENT);
}

static struct item *put_from_peer(struct world *w, uint32_t n, struct state_order order)
{
	struct key key = world_key(w, n);
	enum items_status status;
	struct item *i = items_reserve(w->it, &key, 10, 0, 0, &status);
	items_install(w->it, i, CAUSE_PEER, &order, 0);
	return i;
}

static void shed(struct world *w, uint32_t n)
{
	struct key key = world_key(w, n);
	items_shed(w->it, world_find(w, n, ITEMS_PEEK), key.hash, CAUSE_EVICT);
}

/* ---- expiry ------------------------------------------------------------------------- */

START_TEST(expires_on_the_second)
{
	struct world w;
	open_world(&w, false);
	uint32_t now = world_wall_s(&w);
	world_put(&w, 1, 10, now + 2);
	world_put(&w, 2, 10, now); /* dead on arrival */
	world_put(&w, 3, 10, 1);
	world_put(&w, 4, 10, 0);
	ck_assert_ptr_nonnull(world_find(&w, 1, ITEMS_READ));
	ck_assert_int_eq(why_missed(&w, 2), ITEMS_MISS_EXPIRED);
	ck_assert_int_eq(why_missed(&w, 3), ITEMS_MISS_EXPIRED);
	ck_assert_int_eq(why_missed(&w, 5), ITEMS_MISS_ABSENT);
	world_advance(&w, 1999);
	ck_assert_ptr_nonnull(world_find(&w, 1, ITEMS_READ));
	world_advance(&w, 1);
	ck_assert_int_eq(why_missed(&w, 1), ITEMS_MISS_EXPIRED);
	ck_assert_ptr_nonnull(state(&w, 1)); /* held, though not visible */
	ck_assert(!world_remove(&w, 1));     /* so not found, but gone now */
	ck_assert_ptr_null(state(&w, 1));
	world_settle_down(&w);
	ck_assert_ptr_null(state(&w, 2));
	ck_assert_ptr_nonnull(world_find(&w, 4, ITEMS_READ));
	world_close(&w);
}
END_TEST

START_TEST(swept_within_two_seconds)
{
	struct world w;
	struct items_gauges g;
	open_world(&w, false);
	for (uint32_t n = 0; n < 2000; n++)
		world_put(&w, n, 50, world_wall_s(&w) + 1 + n % 20);
	world_settle_down(&w);
	for (uint32_t second = 1; second <= 21; second++) {
		world_advance(&w, 1000);
		world_settle_down(&w);
		items_gauges(w.it, &g);
		uint32_t gone = second < 20 ? second * 100 : 2000;
		ck_assert_uint_le(g.item_count, 2000 - gone + 100);
	}
	ck_assert_uint_eq(g.item_count, 0);
	ck_assert_uint_eq(items_counters(w.it)->crawler_reclaimed, 2000);
	ck_assert_uint_eq(g.page_bytes, 0);
	ck_assert_int_eq(items_next_due_ms(w.it), INT64_MAX);
	world_close(&w);
}
END_TEST

START_TEST(touching_moves_the_end)
{
	struct world w;
	open_world(&w, false);
	for (uint32_t n = 0; n < 100; n++)
		world_put(&w, n, 10, world_wall_s(&w) + 10);
	for (uint32_t n = 0; n < 100; n++)
		touch(&w, n, n % 2 ? world_wall_s(&w) + 3 : 0);
	world_advance(&w, 4000);
	world_settle_down(&w);
	for (uint32_t n = 0; n < 100; n++)
		ck_assert((state(&w, n) != NULL) == (n % 2 == 0));
	world_close(&w);
}
END_TEST

/* Very many that expire at once go in small pieces. */
START_TEST(mass_expiry_is_bounded)
{
	struct world w;
	world_init(&w, 64 * WORLD_MIB, false, 22);
	world_open(&w);
	for (uint32_t n = 0; n < 300000; n++)
		world_put(&w, n, 20, world_wall_s(&w) + 5);
	world_settle_down(&w);
	world_advance(&w, 6000);
	uint64_t before = items_counters(w.it)->crawler_reclaimed, largest = 0;
	while (items_next_due_ms(w.it) <= w.now.mono_ms) {
		items_tick(w.it);
		uint64_t gone = items_counters(w.it)->crawler_reclaimed - before;
		largest = gone > largest ? gone : largest;
		before += gone;
	}
	ck_assert_uint_eq(before, 300000);
	ck_assert_uint_le(largest, TICK_DEATHS_MAX);
	world_close(&w);
}
END_TEST

START_TEST(idle_costs_nothing)
{
	struct world w;
	open_world(&w, true);
	ck_assert_int_eq(items_next_due_ms(w.it), INT64_MAX);
	for (uint32_t n = 0; n < 1000; n++)
		world_put(&w, n, 100, n % 2 ? 0 : world_wall_s(&w) + 100000);
	world_settle_down(&w);
	uint64_t looked = items_counters(w.it)->crawler_items_checked;
	for (int second = 0; second < 1000; second++) {
		ck_assert_int_ge(items_next_due_ms(w.it), w.now.mono_ms + 900);
		world_advance(&w, 1000);
		world_settle_down(&w);
	}
	/* Only the daily round looks into pages. */
	ck_assert_uint_lt(items_counters(w.it)->crawler_items_checked - looked, 200);
	world_close(&w);
}
END_TEST

START_TEST(ages_saturate)
{
	struct world w;
	open_world(&w, false);
	world_put(&w, 1, 10, 0);
	world_put(&w, 2, 10, 0);
	struct item *i = world_find(&w, 1, ITEMS_READ);
	world_advance(&w, 90 * 1000);
	world_find(&w, 2, ITEMS_READ);
	ck_assert_uint_eq(items_idle_s(w.it, i), 90);
	for (int hour = 0; hour < 24 * 40; hour++) {
		world_advance(&w, 3600 * 1000);
		world_settle_down(&w);
		uint32_t want = (uint32_t)(hour + 1) * 3600 + 90;
		if (want > ITEM_IDLE_S_MAX)
			want = ITEM_IDLE_S_MAX;
		uint32_t idle = items_idle_s(w.it, i);
		/* Between the daily rounds a saturated age goes on. */
		ck_assert(idle >= want && idle <= want + 1);
	}
	world_find(&w, 1, ITEMS_READ);
	ck_assert_uint_eq(items_idle_s(w.it, i), 0);
	world_close(&w);
}
END_TEST

/* ---- flush ---------------------------------------------------------------------------- */

START_TEST(flush_now)
{
	struct world w;
	struct items_gauges g;
	open_world(&w, _i);
	for (uint32_t n = 0; n < 5000; n++)
		world_put(&w, n, n % 500 ? 50 : 20000, 0);
	items_flush_command(w.it, 0);
	for (uint32_t n = 0; n < 5000; n++) {
		ck_assert_int_eq(why_missed(&w, n), ITEMS_MISS_FLUSHED);
		ck_assert_ptr_null(state(&w, n));
	}
	world_put(&w, 7, 10, 0); /* new ones live, also before the old are reclaimed */
	ck_assert_ptr_nonnull(world_find(&w, 7, ITEMS_READ));
	ck_assert_int_eq(items_next_due_ms(w.it), w.now.mono_ms);
	world_settle_down(&w);
	items_gauges(w.it, &g);
	ck_assert_uint_eq(g.item_count, 1);
	ck_assert_uint_eq(items_counters(w.it)->flushed_reclaimed, 4999);
	ck_assert_uint_eq(items_tomb_count(w.it), 0);
	world_close(&w);
}
END_TEST

struct flushes {
	int count;
	enum cause cause;
	struct flush_state last;
	uint64_t own_version;
};

static void hear_flush(void *ctx, const struct change *c)
{
	struct flushes *f = ctx;
	if (c->kind != CHANGE_FLUSH)
		return;
	f->count++;
	f->cause = c->cause;
	f->last = *c->flush;
	f->own_version = c->own_version;
}

START_TEST(flush_later)
{
	struct world w;
	struct flushes f = {0};
	open_world(&w, true);
	items_observe(w.it, hear_flush, &f);
	world_put(&w, 1, 10, 0);
	items_flush_command(w.it, w.now.wall_ms + 2000);
	ck_assert(f.count == 1 && f.cause == CAUSE_CLIENT && f.own_version == f.last.command);
	world_put(&w, 2, 10, 0);
	world_advance(&w, 1999);
	ck_assert_ptr_nonnull(world_find(&w, 1, ITEMS_READ));
	world_settle_down(&w);
	ck_assert_int_eq(items_next_due_ms(w.it), w.now.mono_ms + 1);
	world_advance(&w, 1);
	ck_assert_int_eq(why_missed(&w, 1), ITEMS_MISS_FLUSHED); /* without a tick */
	ck_assert_int_eq(why_missed(&w, 2), ITEMS_MISS_FLUSHED);
	ck_assert(f.count == 2 && f.cause == CAUSE_EXPIRE && f.own_version == f.last.barrier);
	ck_assert(f.last.when_ms == 0 && f.last.barrier > f.last.command);
	ck_assert_ptr_nonnull(world_put(&w, 2, 10, 0));
	ck_assert_ptr_nonnull(world_find(&w, 2, ITEMS_READ));
	/* A newer command takes the place of a pending one; "now" cancels it. */
	items_flush_command(w.it, w.now.wall_ms + 1000);
	items_flush_command(w.it, w.now.wall_ms + 5000);
	world_advance(&w, 2000);
	ck_assert_ptr_nonnull(world_find(&w, 2, ITEMS_READ));
	items_flush_command(w.it, 0);
	world_put(&w, 2, 10, 0);
	world_advance(&w, 5000);
	ck_assert_ptr_nonnull(world_find(&w, 2, ITEMS_READ));
	items_flush_command(w.it, w.now.wall_ms - 5); /* in the past: now */
	ck_assert_int_eq(why_missed(&w, 2), ITEMS_MISS_FLUSHED);
	world_settle_down(&w);
	world_close(&w);
}
END_TEST

/* Merging by component, in any order and with repeats, ends in the same. */
START_TEST(flush_merge)
{
	struct world a, b;
	struct prng p = {(uint64_t)_i};
	struct flush_state states[6];
	open_world(&a, true);
	open_world(&b, true);
	for (size_t n = 0; n < ARRAY_LEN(states); n++) {
		uint64_t command = 1 + prng_below(&p, 5);
		states[n] = (struct flush_state){prng_below(&p, 8), command,
		                                 prng_below(&p, 2) ? WORLD_WALL_MS + (int64_t)command : 0};
	}
	world_advance(&a, -100000); /* nothing fires */
	world_advance(&b, -100000);
	uint64_t newest = 0, barrier = 0;
	for (size_t n = 0; n < ARRAY_LEN(states); n++) {
		items_flush(a.it, &states[n], CAUSE_PEER);
		newest = states[n].command > newest ? states[n].command : newest;
		barrier = states[n].barrier > barrier ? states[n].barrier : barrier;
	}
	for (int n = 0; n < 60; n++)
		items_flush(b.it, &states[prng_below(&p, ARRAY_LEN(states))], CAUSE_PEER);
	for (size_t n = ARRAY_LEN(states); n > 0; n--)
		items_flush(b.it, &states[n - 1], CAUSE_PEER);
	const struct flush_state *fa = items_flush_state(a.it), *fb = items_flush_state(b.it);
	ck_assert(fa->barrier == fb->barrier && fa->command == fb->command);
	ck_assert_int_eq(fa->when_ms, fb->when_ms);
	ck_assert(fa->command == newest && fa->barrier == barrier);
	ck_assert_uint_ge(a.hlc.last, newest > barrier ? newest : barrier);
	world_close(&a);
	world_close(&b);
}
END_TEST

/* On its own a node lets a client choose versions, low and high ones. */
START_TEST(chosen_versions_and_flush)
{
	struct world w;
	open_world(&w, false);
	const uint64_t versions[] = {5, UINT64_MAX, 1, UINT64_C(1) << 62};
	for (uint32_t n = 0; n < 1000; n++)
		world_put(&w, n, 10, 0);
	for (size_t n = 0; n < ARRAY_LEN(versions); n++) {
		struct key key = world_key(&w, 1);
		enum items_status status;
		struct state_order order = {.version = versions[n]};
		items_flush_command(w.it, 0);
		ck_assert_ptr_null(world_find(&w, 1, ITEMS_READ));
		struct item *i = items_reserve(w.it, &key, 10, 0, 0, &status);
		items_install(w.it, i, CAUSE_CLIENT, &order, 0);
		ck_assert_ptr_eq(world_find(&w, 1, ITEMS_READ), i);
		ck_assert_uint_eq(i->version, versions[n]);
		world_put(&w, 2, 10, 0);
		ck_assert_ptr_nonnull(world_find(&w, 2, ITEMS_READ));
		ck_assert_ptr_nonnull(world_find(&w, 1, ITEMS_READ));
		world_check(&w);
	}
	items_flush_command(w.it, 0);
	ck_assert_ptr_null(world_find(&w, 1, ITEMS_READ));
	struct item *i = world_put(&w, 3, 10, 0);
	uint64_t version = i->version;
	ck_assert_uint_eq(world_put(&w, 3, 10, 0)->version, version + 1);
	world_close(&w);
}
END_TEST

/* ---- amending --------------------------------------------------------------------------- */

START_TEST(touches)
{
	struct world w;
	open_world(&w, true);
	struct item *i = world_put(&w, 1, 10, 0);
	uint64_t version = i->version;
	for (int n = 1; n <= 255; n++) {
		touch(&w, 1, world_wall_s(&w) + 100 + (uint32_t)n);
		ck_assert_uint_eq(i->version, version);
		ck_assert_uint_eq(i->touches, n);
		ck_assert(i->bits & ITEM_TOUCHED);
	}
	touch(&w, 1, world_wall_s(&w) + 500); /* one too many: a new version */
	ck_assert_uint_gt(i->version, version);
	ck_assert_uint_eq(i->touches, 0);
	ck_assert_uint_eq(i->exptime, world_wall_s(&w) + 500);
	ck_assert(!(i->bits & ITEM_TOUCHED));
	world_close(&w);
	open_world(&w, false);
	i = world_put(&w, 1, 10, 0);
	for (int n = 1; n <= 300; n++)
		touch(&w, 1, 0);
	ck_assert_uint_eq(i->version, 1); /* a touch is no new version */
	ck_assert_uint_eq(world_put(&w, 2, 10, 0)->version, 2);
	world_close(&w);
}
END_TEST

START_TEST(marks)
{
	struct world w;
	open_world(&w, true);
	struct item *i = world_put(&w, 1, 10, 0);
	uint64_t version = i->version, seq = items_change_seq(w.it);
	struct amendment a = {.what = AMEND_MARKS, .set_bits = ITEM_TOKEN};
	items_amend(w.it, i, &a, CAUSE_CLIENT);
	ck_assert(i->version == version && (i->bits & ITEM_TOKEN));
	ck_assert_uint_eq(items_change_seq(w.it), seq); /* silent */
	a = (struct amendment){.what = AMEND_MARKS, .set_bits = ITEM_STALE, .clear_bits = ITEM_TOKEN};
	items_amend(w.it, i, &a, CAUSE_CLIENT);
	ck_assert(i->version > version && (i->bits & ITEM_STALE) && !(i->bits & ITEM_TOKEN));
	ck_assert_uint_eq(items_change_seq(w.it), seq + 1);
	a = (struct amendment){.what = AMEND_VALUE, .value = (const uint8_t *)"0123456789"};
	version = i->version;
	items_amend(w.it, i, &a, CAUSE_CLIENT);
	ck_assert(i->version > version && memcmp(item_value(i), "0123456789", 10) == 0);
	world_close(&w);
}
END_TEST

/* ---- tombstones --------------------------------------------------------------------------- */

static size_t lost_count;
static uint64_t lost_stamp;
static bool lost_sent;

static void hear_lost(void *ctx, const struct item *tomb)
{
	(void)ctx;
	lost_count++;
	lost_stamp = item_tomb_stamp(tomb);
	lost_sent = item_tomb_sent(tomb);
}

START_TEST(removals_leave_tombstones)
{
	struct world w;
	open_world(&w, true);
	world_put(&w, 1, 10, 0);
	ck_assert(world_remove(&w, 1));
	ck_assert(item_is_tomb(state(&w, 1)));
	ck_assert_ptr_null(world_find(&w, 1, ITEMS_READ));
	ck_assert_int_eq(why_missed(&w, 1), ITEMS_MISS_ABSENT);
	uint64_t stamp = item_tomb_stamp(state(&w, 1));
	ck_assert(!world_remove(&w, 1)); /* again: a newer one */
	ck_assert_uint_gt(item_tomb_stamp(state(&w, 1)), stamp);
	ck_assert(!world_remove(&w, 2)); /* not held: one all the same */
	ck_assert(item_is_tomb(state(&w, 2)));
	ck_assert_uint_eq(items_tomb_count(w.it), 2);
	struct key key = world_key(&w, 2);
	struct state_order order = {w.hlc.last + 1, 0, 0};
	ck_assert(!items_remove(w.it, &key, CAUSE_PEER, &order)); /* the peer's: none */
	ck_assert_ptr_null(state(&w, 2));
	world_put(&w, 1, 10, 0);
	ck_assert_uint_eq(items_tomb_count(w.it), 0);
	world_close(&w);
	open_world(&w, false); /* on its own: none */
	world_put(&w, 1, 10, 0);
	ck_assert(world_remove(&w, 1));
	ck_assert(!world_remove(&w, 1));
	ck_assert_ptr_null(state(&w, 1));
	world_close(&w);
}
END_TEST

START_TEST(unsettled_states_leave_tombstones)
{
	struct world w;
	open_world(&w, true);
	struct item *i = world_put(&w, 1, 10, 77);
	struct state_order order = item_order(i);
	ck_assert(items_is_unsettled(w.it, i));
	i->exptime = order.exptime = world_wall_s(&w) + 100;
	shed(&w, 1); /* own, unsettled: its own triple */
	struct state_order left = item_order(state(&w, 1));
	ck_assert(item_is_tomb(state(&w, 1)) && state_order_cmp(&left, &order) == 0);
	ck_assert_uint_eq(item_tomb_stamp(state(&w, 1)), order.version);
	i = world_put(&w, 2, 10, 0);
	items_settle(w.it, i->version); /* own, settled: none; and the first one goes */
	ck_assert(!items_is_unsettled(w.it, i));
	shed(&w, 2);
	ck_assert(!state(&w, 2) && !state(&w, 1));
	order = (struct state_order){w.hlc.last + 10, 3, 0};
	i = put_from_peer(&w, 3, order);
	ck_assert(!items_is_unsettled(w.it, i));
	shed(&w, 3); /* the peer's: none */
	ck_assert_ptr_null(state(&w, 3));
	order.version += 10;
	i = put_from_peer(&w, 4, order);
	items_settle(w.it, w.hlc.last);
	touch(&w, 4, world_wall_s(&w) + 50); /* the peer's, touched here */
	ck_assert(items_is_unsettled(w.it, i) && items_touched_above(w.it, i, order.version));
	ck_assert(!items_touched_above(w.it, i, w.hlc.last));
	order = item_order(i);
	shed(&w, 4);
	left = item_order(state(&w, 4));
	ck_assert(state_order_cmp(&left, &order) == 0);
	ck_assert_uint_eq(item_tomb_stamp(state(&w, 4)), w.hlc.last); /* of the touch, not the item */
	ck_assert_uint_gt(w.hlc.last, order.version);
	items_settle(w.it, w.hlc.last);
	ck_assert_ptr_null(state(&w, 4));
	world_close(&w);
}
END_TEST

START_TEST(touched_bits_are_cleared_by_the_sweep)
{
	struct world w;
	open_world(&w, true);
	for (uint32_t n = 0; n < 3000; n++)
		world_put(&w, n, 10, 0);
	for (uint32_t n = 0; n < 3000; n += 3)
		touch(&w, n, 0);
	items_settle(w.it, w.hlc.last);
	struct item *i = world_find(&w, 3, ITEMS_PEEK);
	ck_assert(!items_is_unsettled(w.it, i)); /* at once, though the bit is there */
	ck_assert(i->bits & ITEM_TOUCHED);
	world_advance(&w, 1000);
	world_settle_down(&w);
	for (uint32_t n = 0; n < 3000; n++)
		ck_assert(!(world_find(&w, n, ITEMS_PEEK)->bits & ITEM_TOUCHED));
	touch(&w, 3, 0);
	items_unsettle(w.it); /* a new peer knows nothing */
	ck_assert(items_is_unsettled(w.it, world_find(&w, 3, ITEMS_PEEK)));
	ck_assert(items_is_unsettled(w.it, world_find(&w, 4, ITEMS_PEEK)));
	ck_assert_uint_eq(items_settled(w.it), 0);
	world_close(&w);
}
END_TEST

START_TEST(tombstones_have_a_budget)
{
	struct world w;
	world_init(&w, WORLD_MIB, true, 23);
	w.plain_keys = true;
	w.config.tomb_bytes_max = 10 * tombs_cost(14);
	world_open(&w);
	items_on_tomb_lost(w.it, hear_lost, NULL);
	lost_count = 0;
	for (uint32_t n = 0; n < 10; n++)
		world_remove(&w, n);
	ck_assert_uint_eq(items_tomb_bytes(w.it), w.config.tomb_bytes_max);
	ck_assert_uint_eq(lost_count, 0);
	uint64_t first = item_tomb_stamp(state(&w, 0));
	items_tomb_set_sent(w.it, state(&w, 0), true);
	world_remove(&w, 10);
	ck_assert(lost_count == 1 && lost_stamp == first && lost_sent);
	ck_assert_ptr_null(state(&w, 0));
	world_remove(&w, 11);
	ck_assert(lost_count == 2 && !lost_sent);
	/* What is settled or below the barrier is no loss. */
	items_settle(w.it, item_tomb_stamp(state(&w, 5)));
	ck_assert_uint_eq(items_tomb_count(w.it), 6);
	items_flush_command(w.it, 0);
	for (uint32_t n = 20; n < 30; n++)
		world_remove(&w, n);
	ck_assert_uint_eq(lost_count, 2);
	ck_assert_uint_eq(items_counters(w.it)->tombs_lost, 2);
	world_close(&w);
	/* No budget at all: each is lost as it is made. */
	w.config.tomb_bytes_max = 0;
	world_open(&w);
	items_on_tomb_lost(w.it, hear_lost, NULL);
	world_remove(&w, 1);
	ck_assert(lost_count == 3 && !state(&w, 1));
	/* No memory for it: the same. */
	items_fail_alloc_after(w.it, 1);
	world_remove(&w, 2);
	ck_assert(lost_count == 4 && lost_stamp == w.hlc.last);
	world_close(&w);
}
END_TEST

START_TEST(settling_many_is_bounded)
{
	struct world w;
	world_init(&w, WORLD_MIB, true, 24);
	w.config.tomb_bytes_max = 100 * WORLD_MIB;
	world_open(&w);
	for (uint32_t n = 0; n < 20000; n++)
		world_remove(&w, n);
	items_settle(w.it, w.hlc.last);
	size_t left = items_tomb_count(w.it);
	ck_assert_uint_ge(left, 19000);
	while (items_next_due_ms(w.it) <= w.now.mono_ms) {
		items_tick(w.it);
		ck_assert_uint_le(left - items_tomb_count(w.it), TICK_DEATHS_MAX);
		left = items_tomb_count(w.it);
	}
	ck_assert_uint_eq(left, 0);
	world_close(&w);
}
END_TEST

START_TEST(nothing_below_the_barrier_leaves_a_tombstone)
{
	struct world w;
	open_world(&w, true);
	world_put(&w, 1, 10, 0);
	world_remove(&w, 2);
	items_flush_command(w.it, 0);
	ck_assert(!state(&w, 1) && !state(&w, 2));
	world_settle_down(&w);
	ck_assert_uint_eq(items_tomb_count(w.it), 0);
	world_put(&w, 1, 10, 0);
	struct flush_state ahead = {.barrier = w.hlc.last + 100};
	items_flush(w.it, &ahead, CAUSE_PEER);
	ck_assert_uint_ge(w.hlc.last, ahead.barrier);
	ck_assert(!state(&w, 1));
	world_put(&w, 1, 10, 0);
	ck_assert_ptr_nonnull(world_find(&w, 1, ITEMS_READ));
	world_close(&w);
}
END_TEST

/* ---- walks ----------------------------------------------------------------------------------- */

#define STABLE 4000
struct visits {
	uint8_t met[STABLE];
	size_t most;
	bool stop;
};

static bool visit(void *ctx, const struct item *i)
{
	struct visits *v = ctx;
	uint32_t n = world_key_number(item_key(i), i->key_len);
	if (n < STABLE)
		v->met[n]++;
	return !v->stop;
}

START_TEST(walk_meets_all_once)
{
	static struct visits v;
	struct world w;
	struct items_cursor cursor = {0};
	uint32_t next = STABLE;
	memset(&v, 0, sizeof(v));
	open_world(&w, true);
	for (uint32_t n = 0; n < STABLE; n++) {
		if (n % 5 == 0)
			world_remove(&w, n); /* tombstones are states */
		else
			world_put(&w, n, 10, n % 7 ? 0 : world_wall_s(&w)); /* expired ones too */
	}
	while (!cursor.done) {
		size_t visited = items_walk(w.it, &cursor, 20, visit, &v);
		ck_assert_uint_le(visited, 20 + 60);
		for (uint64_t k = prng_below(&w.p, 60); k > 0; k--)
			world_put(&w, next++, 10, 0);
	}
	for (uint32_t n = 0; n < STABLE; n++)
		ck_assert_uint_eq(v.met[n], 1);
	ck_assert_uint_eq(items_walk(w.it, &cursor, 20, visit, &v), 0); /* stays done */
	cursor = (struct items_cursor){0};
	v.stop = true; /* stops after the bucket in progress */
	ck_assert_uint_lt(items_walk(w.it, &cursor, SIZE_MAX / 2, visit, &v), 60);
	world_close(&w);
}
END_TEST

START_TEST(walking_an_emptied_table_is_bounded)
{
	static struct visits v;
	struct world w;
	struct items_cursor cursor = {0};
	int calls = 0;
	open_world(&w, false);
	for (uint32_t n = 0; n < 30000; n++)
		world_put(&w, n, 10, 0);
	for (uint32_t n = 0; n < 30000; n++)
		world_remove(&w, n);
	for (; !cursor.done; calls++)
		ck_assert_uint_eq(items_walk(w.it, &cursor, 10, visit, &v), 0);
	ck_assert_int_gt(calls, 10);
	world_close(&w);
}
END_TEST

START_TEST(unconfirmed_states_are_swept)
{
	struct world w;
	open_world(&w, true);
	for (int round = 0; round < 3; round++) {
		struct items_cursor cursor = {0};
		for (uint32_t n = 0; n < 3000; n++)
			world_put(&w, n, 10, 0);
		uint64_t upto = w.hlc.last;
		items_confirm_begin(w.it);
		for (uint32_t n = 0; n < 3000; n += 3)
			items_confirm(w.it, world_find(&w, n, ITEMS_PEEK));
		for (uint32_t n = 1; n < 3000; n += 3)
			world_put(&w, n, 10, 0); /* newer than the sweep */
		ck_assert(items_confirm_ready(w.it));
		size_t looked = 0, calls = 0;
		for (; !cursor.done; calls++)
			looked += items_sweep(w.it, &cursor, upto, 50);
		ck_assert(looked >= 3000 && calls > 20);
		for (uint32_t n = 0; n < 3000; n++)
			ck_assert((world_find(&w, n, ITEMS_PEEK) != NULL) == (n % 3 != 2));
		ck_assert(item_is_tomb(state(&w, 2))); /* own and unsettled */
		world_check(&w);
	}
	/* Marks of an earlier walk are void. */
	struct items_cursor cursor = {0};
	items_confirm_begin(w.it);
	while (!cursor.done)
		items_sweep(w.it, &cursor, w.hlc.last, 50);
	struct items_gauges g;
	items_gauges(w.it, &g);
	ck_assert_uint_eq(g.item_count, 0);
	world_close(&w);
}
END_TEST

/* ---- numbers ------------------------------------------------------------------------------------ */

START_TEST(counters_and_gauges)
{
	struct world w;
	struct items_class_info info;
	struct items_gauges g;
	open_world(&w, false);
	w.plain_keys = true;
	for (uint32_t n = 0; n < 100; n++)
		world_put(&w, n, 10, 0);
	world_advance(&w, 5000);
	struct item *i = world_find(&w, 99, ITEMS_READ);
	items_gauges(w.it, &g);
	ck_assert_uint_eq(g.item_count, 100);
	ck_assert_uint_eq(g.item_bytes, 100 * 52);
	ck_assert_uint_eq(g.page_size, SLAB_PAGE_BYTES);
	ck_assert_uint_eq(items_counters(w.it)->total_items, 100);
	int id = items_class_of(w.it, i);
	ck_assert(items_class_info(w.it, id, &info));
	ck_assert(info.items == 100 && info.used_chunks == 100 && info.pages == 1);
	ck_assert(info.items_main == 0 && info.item_bytes == 5200 && info.chunk_bytes >= 52);
	ck_assert_uint_eq(info.free_chunks, info.chunks_per_page - 100);
	ck_assert_uint_eq(info.tail_idle_s, 5);
	ck_assert(!items_class_info(w.it, id + 1, &info));
	ck_assert(!items_class_info(w.it, 0, &info));
	ck_assert(!items_class_info(w.it, g.class_count + 1, &info));
	items_counters_reset(w.it);
	ck_assert_uint_eq(items_counters(w.it)->total_items, 0);
	ck_assert(items_class_info(w.it, id, &info) && info.item_bytes == 5200);
	world_close(&w);
}
END_TEST

START_TEST(prefetching_is_harmless)
{
	struct world w;
	open_world(&w, true);
	for (uint32_t n = 0; n < 1000; n++) {
		if (n % 3)
			world_put(&w, n, 10, 0);
		else
			world_remove(&w, n);
	}
	for (uint32_t n = 0; n < 2000; n++) {
		struct key key = world_key(&w, n);
		items_prefetch(w.it, key.hash);
		items_prefetch_item(w.it, key.hash);
	}
	world_close(&w);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("items_time");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, expires_on_the_second);
	tcase_add_test(tc, swept_within_two_seconds);
	tcase_add_test(tc, touching_moves_the_end);
	tcase_add_test(tc, mass_expiry_is_bounded);
	tcase_add_test(tc, idle_costs_nothing);
	tcase_add_test(tc, ages_saturate);
	tcase_add_loop_test(tc, flush_now, 0, 2);
	tcase_add_test(tc, flush_later);
	tcase_add_loop_test(tc, flush_merge, 1, 40);
	tcase_add_test(tc, chosen_versions_and_flush);
	tcase_add_test(tc, touches);
	tcase_add_test(tc, marks);
	tcase_add_test(tc, removals_leave_tombstones);
	tcase_add_test(tc, unsettled_states_leave_tombstones);
	tcase_add_test(tc, touched_bits_are_cleared_by_the_sweep);
	tcase_add_test(tc, tombstones_have_a_budget);
	tcase_add_test(tc, settling_many_is_bounded);
	tcase_add_test(tc, nothing_below_the_barrier_leaves_a_tombstone);
	tcase_add_test(tc, walk_meets_all_once);
	tcase_add_test(tc, walking_an_emptied_table_is_bounded);
	tcase_add_test(tc, unconfirmed_states_are_swept);
	tcase_add_test(tc, counters_and_gauges);
	tcase_add_test(tc, prefetching_is_harmless);
	Suite *s = suite_create("items_time");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
