/*
 * test_shadow.c - a map that hears only what the observer of changes says must
 * equal what items holds, whatever is done to it.
 *
 * Random operations of all kinds (all four mutators, every cause, pins, moves,
 * expiry, flushes, settling, sweeping, refused allocations) on caches of many
 * shapes. After each operation on a key, a lookup must agree with the map;
 * after each batch a full walk must, and items_check() must find nothing.
 *
 * The rules of tombstones (contract section 4) are checked inside the observer:
 * whoever removes, a tombstone is left exactly when the contract says so.
 *
 * Covers: items*.c, change.h.
 */
#include "compat.h"
#include "items_world.h"

#define KEYS 3000
#define PINS_MAX 20
#define STEPS 6000

struct shadow {
	bool held;
	struct state_order order;
	uint32_t flags, salt, len, bits;
};

struct pinned {
	struct item *i;
	uint32_t salt;
};

struct soak {
	struct world w;
	struct shadow shadow[KEYS];
	uint64_t barrier, seq;
	struct pinned pins[PINS_MAX];
	int pin_count;
	uint64_t lost;      /* tombstones that were lost */
	uint64_t removals[CAUSE_COUNT];
	size_t value_max;
};

static uint32_t pick_key(struct soak *s)
{
	uint64_t hot = prng_below(&s->w.p, 3);
	return (uint32_t)prng_below(&s->w.p, hot ? 200 : KEYS);
}

/* ---- the observer --------------------------------------------------------------------- */

static void hear_state(struct soak *s, const struct change *c, struct shadow *sh)
{
	ck_assert_ptr_nonnull(c->after);
	if (c->own_version && s->w.config.replicated)
		ck_assert_uint_eq(c->own_version, c->order.version);
	*sh = (struct shadow){.held = true, .order = c->order, .flags = item_flags(c->after),
	                      .salt = sh->salt, /* set by who made the change */
	                      .len = (uint32_t)item_value_len(c->after),
	                      .bits = c->after->bits & ITEM_SHIPPED_BITS};
}

/* A tombstone must be in the place of what was removed, or must not. */
static void hear_tombstone(struct soak *s, const struct change *c, bool want)
{
	const struct item *left = items_state(s->w.it, &c->key);
	if (!want || !s->w.config.replicated || c->order.version <= s->barrier) {
		ck_assert_ptr_null(left);
		return;
	}
	if (!left) /* no memory for it: reported as lost when this returns */
		return;
	struct state_order order = item_order(left);
	ck_assert(item_is_tomb(left) && state_order_cmp(&order, &c->order) == 0);
	ck_assert_uint_ge(item_tomb_stamp(left), c->order.version);
	ck_assert(!item_tomb_sent(left));
}

static void hear_remove(struct soak *s, const struct change *c, struct shadow *sh)
{
	bool own = c->cause == CAUSE_CLIENT || c->cause == CAUSE_ADMIN;
	bool flushed = sh->held && sh->order.version <= s->barrier;
	ck_assert_ptr_null(c->after);
	ck_assert(own || c->cause == CAUSE_PEER || c->before);
	ck_assert((c->before != NULL) == sh->held || flushed);
	if (c->before && !own && c->cause != CAUSE_PEER)
		ck_assert(state_order_cmp(&c->order, &sh->order) == 0);
	ck_assert_uint_eq(c->own_version, own ? c->order.version : 0);
	if (c->cause == CAUSE_FLUSHED)
		ck_assert(flushed);
	if (c->cause == CAUSE_EXPIRE)
		ck_assert(sh->order.exptime && sh->order.exptime <= world_wall_s(&s->w));
	bool shed = !own && c->cause != CAUSE_PEER;
	hear_tombstone(s, c, own || (shed && items_is_unsettled(s->w.it, c->before)));
	s->removals[c->cause]++;
	sh->held = false;
}

static void hear(void *ctx, const struct change *c)
{
	struct soak *s = ctx;
	ck_assert_uint_eq(c->seq, ++s->seq);
	if (c->kind == CHANGE_FLUSH) {
		ck_assert(c->flush->barrier >= s->barrier || !s->w.config.replicated);
		s->barrier = c->flush->barrier;
		return;
	}
	struct shadow *sh = &s->shadow[world_key_number(c->key.data, c->key.len)];
	switch (c->kind) {
	case CHANGE_STATE:
		hear_state(s, c, sh);
		break;
	case CHANGE_TOUCH:
		ck_assert(sh->held && sh->order.version == c->order.version);
		ck_assert(c->cause == CAUSE_PEER || !s->w.config.replicated ||
		          c->own_version > c->order.version);
		sh->order = c->order;
		break;
	case CHANGE_REMOVE:
		hear_remove(s, c, sh);
		break;
	case CHANGE_FLUSH:
		break;
	}
}

static void hear_lost(void *ctx, const struct item *tomb)
{
	struct soak *s = ctx;
	ck_assert(item_is_tomb(tomb) && item_tomb_stamp(tomb) > items_settled(s->w.it));
	s->lost++;
}

/* ---- comparing ---------------------------------------------------------------------------- */

static bool shadow_visible(const struct soak *s, const struct shadow *sh)
{
	return sh->held && sh->order.version > s->barrier &&
	       (sh->order.exptime == 0 || sh->order.exptime > world_wall_s(&s->w));
}

static void same(const struct soak *s, const struct item *i, const struct shadow *sh)
{
	struct state_order order = item_order(i);
	ck_assert(sh->held && state_order_cmp(&order, &sh->order) == 0);
	ck_assert(item_flags(i) == sh->flags && item_value_len(i) == sh->len);
	ck_assert_uint_eq(i->bits & ITEM_SHIPPED_BITS, sh->bits);
	ck_assert(sh->len > 30000 || world_is_filled(&s->w, i, sh->salt));
}

static void compare_one(struct soak *s, uint32_t n)
{
	struct item *i = world_find(&s->w, n, ITEMS_PEEK);
	ck_assert((i != NULL) == shadow_visible(s, &s->shadow[n]));
	if (i)
		same(s, i, &s->shadow[n]);
}

struct dump {
	struct soak *s;
	bool met[KEYS];
	size_t tombs;
};

static bool dump_state(void *ctx, const struct item *i)
{
	struct dump *d = ctx;
	uint32_t n = world_key_number(item_key(i), i->key_len);
	ck_assert(!d->met[n]); /* [I2] */
	d->met[n] = true;
	ck_assert_uint_gt(i->version, d->s->barrier); /* [I4] */
	if (item_is_tomb(i)) {
		d->tombs++;
		ck_assert(!d->s->shadow[n].held || d->s->shadow[n].order.version <= d->s->barrier);
		d->met[n] = false;
	} else {
		same(d->s, i, &d->s->shadow[n]);
	}
	return true;
}

static void compare_all(struct soak *s)
{
	static struct dump d;
	struct items_cursor cursor = {0};
	memset(&d, 0, sizeof(d));
	d.s = s;
	while (!cursor.done)
		items_walk(s->w.it, &cursor, 1 + prng_below(&s->w.p, 100), dump_state, &d);
	for (uint32_t n = 0; n < KEYS; n++) {
		const struct shadow *sh = &s->shadow[n];
		ck_assert(d.met[n] == (sh->held && sh->order.version > s->barrier));
	}
	ck_assert_uint_le(d.tombs, items_tomb_count(s->w.it));
	world_check(&s->w);
}

/* ---- operations ------------------------------------------------------------------------------ */

static uint32_t pick_exptime(struct soak *s)
{
	uint32_t now = world_wall_s(&s->w);
	switch (prng_below(&s->w.p, 8)) {
	case 0:
		return now + 1 + (uint32_t)prng_below(&s->w.p, 5);
	case 1:
		return now + 1000;
	case 2:
		return now - (uint32_t)prng_below(&s->w.p, 3); /* dead on arrival */
	default:
		return 0;
	}
}

static size_t pick_len(struct soak *s)
{
	uint64_t kind = prng_below(&s->w.p, 40);
	size_t max = kind == 0 ? s->value_max : kind < 3 ? 20000 : kind < 8 ? 3000 : 300;
	return prng_below(&s->w.p, max + 1);
}

/* An order newer than what is held and than the barrier, as a peer may send. */
static struct state_order peer_order(struct soak *s, const struct item *held)
{
	uint64_t least = s->barrier + 1;
	if (held && held->version >= least)
		least = held->version + 1;
	struct state_order order = {.version = least + prng_below(&s->w.p, 3)};
	order.touches = (uint8_t)prng_below(&s->w.p, 3);
	order.exptime = pick_exptime(s);
	return order;
}

static void do_install(struct soak *s, uint32_t n, bool from_peer)
{
	struct key key = world_key(&s->w, n);
	enum items_status status;
	uint32_t flags = prng_below(&s->w.p, 3) ? 0 : (uint32_t)prng_next(&s->w.p);
	uint32_t exptime = pick_exptime(s);
	struct item *i = items_reserve(s->w.it, &key, pick_len(s), flags, exptime, &status);
	if (!i) {
		ck_assert(status == ITEMS_NO_MEMORY || status == ITEMS_TOO_LARGE);
		return;
	}
	uint32_t salt = (uint32_t)prng_next(&s->w.p);
	if (item_value_len(i) <= 30000)
		world_fill(&s->w, i, salt);
	if (prng_below(&s->w.p, 20) == 0) {
		items_release(s->w.it, i);
		return;
	}
	s->shadow[n].salt = salt;
	if (from_peer) {
		key = world_key(&s->w, n);
		struct state_order order = peer_order(s, items_state(s->w.it, &key));
		uint32_t bits = prng_below(&s->w.p, 2) ? ITEM_STALE : ITEM_BINKEY;
		items_install(s->w.it, i, CAUSE_PEER, &order, bits);
	} else {
		items_install(s->w.it, i, CAUSE_CLIENT, NULL, 0);
	}
}

static void do_remove(struct soak *s, uint32_t n)
{
	struct key key = world_key(&s->w, n);
	bool visible = shadow_visible(s, &s->shadow[n]);
	if (s->w.config.replicated && prng_below(&s->w.p, 3) == 0) {
		struct state_order order = peer_order(s, items_state(s->w.it, &key));
		ck_assert(items_remove(s->w.it, &key, CAUSE_PEER, &order) == visible);
		ck_assert_ptr_null(items_state(s->w.it, &key));
		return;
	}
	enum cause cause = prng_below(&s->w.p, 10) ? CAUSE_CLIENT : CAUSE_ADMIN;
	ck_assert(items_remove(s->w.it, &key, cause, NULL) == visible);
}

static void do_amend_value(struct soak *s, uint32_t n, struct item *i)
{
	static uint8_t value[ITEM_CONTIGUOUS_MAX];
	struct amendment a = {.what = AMEND_VALUE, .value = value};
	if (item_is_large(i) || items_is_pinned(s->w.it, i))
		return;
	uint32_t salt = (uint32_t)prng_next(&s->w.p);
	for (size_t at = 0; at < item_value_len(i); at++)
		value[at] = (uint8_t)(at * 31 + salt);
	s->shadow[n].salt = salt;
	items_amend(s->w.it, i, &a, CAUSE_CLIENT);
}

static void do_amend(struct soak *s, uint32_t n)
{
	struct item *i = world_find(&s->w, n, ITEMS_PEEK);
	struct amendment a = {.what = AMEND_EXPIRY, .exptime = pick_exptime(s)};
	if (!i)
		return;
	struct state_order order = {i->version, i->touches, pick_exptime(s)};
	switch (prng_below(&s->w.p, 4)) {
	case 0:
		items_amend(s->w.it, i, &a, CAUSE_CLIENT);
		break;
	case 1:
		order.touches = (uint8_t)(order.touches + (order.touches < UINT8_MAX));
		a.order = &order;
		items_amend(s->w.it, i, &a, CAUSE_PEER);
		break;
	case 2:
		do_amend_value(s, n, i);
		break;
	case 3:
		a = (struct amendment){.what = AMEND_MARKS};
		*(prng_below(&s->w.p, 2) ? &a.set_bits : &a.clear_bits) = ITEM_STALE;
		*(prng_below(&s->w.p, 2) ? &a.set_bits : &a.clear_bits) |= ITEM_TOKEN;
		items_amend(s->w.it, i, &a, CAUSE_CLIENT);
		break;
	}
}

static void do_pin(struct soak *s, uint32_t n)
{
	struct item *i = world_find(&s->w, n, ITEMS_READ);
	if (i && s->pin_count < PINS_MAX && items_pin(s->w.it, i))
		s->pins[s->pin_count++] = (struct pinned){i, s->shadow[n].salt};
}

static void do_unpin(struct soak *s)
{
	if (s->pin_count == 0)
		return;
	struct pinned *p = &s->pins[prng_below(&s->w.p, (uint64_t)s->pin_count)];
	ck_assert(items_is_pinned(s->w.it, p->i));
	ck_assert(item_value_len(p->i) > 30000 || world_is_filled(&s->w, p->i, p->salt));
	items_unpin(s->w.it, p->i);
	*p = s->pins[--s->pin_count];
}

static void do_flush(struct soak *s)
{
	struct flush_state f = *items_flush_state(s->w.it);
	switch (prng_below(&s->w.p, s->w.config.replicated ? 4 : 2)) {
	case 0:
		items_flush_command(s->w.it, 0);
		break;
	case 1:
		items_flush_command(s->w.it, s->w.now.wall_ms + (int64_t)prng_below(&s->w.p, 3000));
		break;
	case 2:
		f.barrier += prng_below(&s->w.p, 3);
		f.command += prng_below(&s->w.p, 3);
		f.when_ms = prng_below(&s->w.p, 2) ? 0 : s->w.now.wall_ms + 700;
		items_flush(s->w.it, &f, CAUSE_PEER);
		break;
	case 3: /* a peer's, somewhere in our past */
		f.barrier = s->w.hlc.last - prng_below(&s->w.p, 100) * (1 << 12);
		items_flush(s->w.it, &f, CAUSE_PEER);
		break;
	}
	if (items_flush_state(s->w.it)->barrier != s->barrier)
		ck_assert(!s->w.config.replicated);
}

static bool confirm_some(void *ctx, const struct item *i)
{
	struct soak *s = ctx;
	if (prng_below(&s->w.p, 4))
		items_confirm(s->w.it, i);
	return true;
}

static void do_sweep(struct soak *s)
{
	struct items_cursor walk = {0}, sweep = {0};
	items_confirm_begin(s->w.it);
	while (!walk.done)
		items_walk(s->w.it, &walk, 50, confirm_some, s);
	while (!items_confirm_ready(s->w.it))
		items_tick(s->w.it);
	uint64_t upto = prng_below(&s->w.p, 2) ? s->w.hlc.last : s->w.hlc.last - (1 << 22);
	while (!sweep.done)
		items_sweep(s->w.it, &sweep, upto, 100);
}

static void do_settle(struct soak *s)
{
	if (prng_below(&s->w.p, 10) == 0)
		items_unsettle(s->w.it);
	else
		items_settle(s->w.it, s->w.hlc.last - prng_below(&s->w.p, 50) * (1 << 12));
}

static void pass_time(struct soak *s)
{
	int64_t ms = (int64_t)prng_below(&s->w.p, prng_below(&s->w.p, 20) ? 30 : 1500);
	s->w.now.mono_ms += ms;
	s->w.now.wall_ms += ms;
	if (prng_below(&s->w.p, 200) == 0)
		s->w.now.wall_ms += (int64_t)prng_below(&s->w.p, 4000) - 2000;
	if (items_next_due_ms(s->w.it) <= s->w.now.mono_ms)
		items_tick(s->w.it);
}

static void step(struct soak *s)
{
	uint32_t n = pick_key(s);
	bool replicated = s->w.config.replicated;
	uint64_t what = prng_below(&s->w.p, 100);
	if (what < 45)
		do_install(s, n, replicated && prng_below(&s->w.p, 3) == 0);
	else if (what < 60)
		world_find(&s->w, n, ITEMS_READ);
	else if (what < 70)
		do_remove(s, n);
	else if (what < 82)
		do_amend(s, n);
	else if (what < 85)
		do_pin(s, n);
	else if (what < 88)
		do_unpin(s);
	else if (what < 95)
		pass_time(s);
	else if (what < 97 && replicated)
		do_settle(s);
	else if (what == 97 && prng_below(&s->w.p, 30) == 0)
		do_flush(s);
	else if (what == 98 && prng_below(&s->w.p, 20) == 0 && replicated)
		do_sweep(s);
	else if (what == 99)
		items_fail_alloc_after(s->w.it, 1 + prng_below(&s->w.p, 60));
	if (items_flush_state(s->w.it)->barrier == 0)
		s->barrier = 0; /* standalone: reclaimed, no longer needed */
	compare_one(s, n);
}

/* ---- shapes of caches --------------------------------------------------------------------------- */

static const struct shape {
	size_t mib;
	bool replicated, no_evict;
	size_t tomb_bytes;
	double factor;
	size_t value_max;
} shapes[] = {
	{1, false, false, 0, 0, 100000},
	{1, true, false, 1 << 20, 0, 200000},
	{1, true, false, 0, 1.25, 900000},
	{2, true, false, 2000, 0, 300000},
	{2, false, false, 0, 2, 900000},
	{1, false, true, 0, 0, 100000},
	{2, true, true, 1 << 16, 1.08, 500000},
	{4, true, false, 1 << 11, 0, 1000000},
	{5, true, false, 1 << 20, 0, 1000000},
	{1, true, false, 300, 1.5, 40000},
};

START_TEST(shadow_equals_store)
{
	static struct soak s;
	const struct shape *shape = &shapes[(size_t)_i % ARRAY_LEN(shapes)];
	memset(&s, 0, sizeof(s));
	world_init(&s.w, shape->mib * WORLD_MIB, shape->replicated, (uint64_t)_i + 1);
	s.w.config.evict = !shape->no_evict;
	s.w.config.tomb_bytes_max = shape->tomb_bytes;
	s.w.config.growth_factor = shape->factor;
	s.value_max = shape->value_max;
	world_open(&s.w);
	items_observe(s.w.it, hear, &s);
	items_on_tomb_lost(s.w.it, hear_lost, &s);
	for (int n = 0; n < STEPS; n++) {
		step(&s);
		if (n % 200 == 0)
			compare_all(&s);
	}
	items_fail_alloc_after(s.w.it, 0);
	while (s.pin_count > 0)
		do_unpin(&s);
	world_settle_down(&s.w);
	compare_all(&s);
	/* Something of everything has happened. */
	ck_assert(s.removals[CAUSE_CLIENT] > 0 && s.removals[CAUSE_EXPIRE] > 0);
	if (!shape->no_evict)
		ck_assert_uint_gt(s.removals[CAUSE_EVICT], 0);
	if (shape->replicated && shape->tomb_bytes < 1 << 16)
		ck_assert_uint_gt(s.lost, 0);
	world_close(&s.w);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("shadow");
	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, shadow_equals_store, 0, 2 * (int)ARRAY_LEN(shapes));
	Suite *s = suite_create("shadow");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
