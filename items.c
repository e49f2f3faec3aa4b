/*
 * items.c - cached data: lookup, the four mutators, the one emitter.
 *
 * Owns: the rule that every visible change goes through items_install,
 * items_remove, items_amend or items_flush and is reported by items_emit() once
 * it is visible. Eviction, expiry and reclaiming remove through items_remove
 * like everybody else.
 *
 * The order inside a mutator is always the same: index, queues, report, and
 * only then the old memory is freed, because the report shows it.
 *
 * Must not know: where memory comes from (items_chunk.c), who goes next
 * (items_queue.c), what a peer is.
 *
 * Invariants: [I1]..[I6] of items.h.
 *
 * Covered by: t/test_items.c, t/test_shadow.c.
 */
#include "compat.h"
#include "items_internal.h"

#define HASH_POWER_DEFAULT 16
/* An index that is made for items to come takes at most this part of the memory. */
#define EXPECT_SHARE 64
/* The expiry of a client's removal, as the model has it. */
#define REMOVAL_EXPTIME 1

/* ---- init ------------------------------------------------------------------------------ */

static void hashes_of(const void *ctx, const uint32_t *handles, int count, uint64_t *hashes)
{
	const struct items *it = ctx;
	for (int n = 0; n < count; n++)
		prefetch(item_at(it, handles[n]));
	for (int n = 0; n < count; n++)
		hashes[n] = item_as_key(it, item_at(it, handles[n])).hash;
}

static bool init_index(struct items *it)
{
	uint64_t chunks = (uint64_t)it->slabs.pages_max * (SLAB_PAGE_BYTES / SLAB_CHUNK_MIN);
	if (chunks > HANDLE_TOMB)
		chunks = HANDLE_TOMB;
	int power = it->config.hash_power > 0 ? it->config.hash_power : HASH_POWER_DEFAULT;
	return assoc_init(&it->assoc, UINT64_C(1) << power, chunks + it->tombs.slots_max, hashes_of,
	                  it);
}

static size_t page_table_bytes(const struct items *it, size_t entry)
{
	return ((size_t)it->slabs.pages_max + 1) * entry;
}

static size_t sizes_bytes(const struct items *it)
{
	return (it->config.item_bytes_max / ITEMS_SIZE_STEP + 2) * sizeof(*it->misc.sizes);
}

static bool init_parts(struct items *it)
{
	const struct items_config *config = &it->config;
	size_t least = config->chunk_bytes_min;
	struct slabs_config slabs = {.memory_bytes_max = config->memory_bytes_max,
	                             .memory_bytes_reserved = config->memory_bytes_reserved,
	                             .chunk_bytes_min = least ? sizeof(struct item) + least : 0,
	                             .growth_factor = config->growth_factor,
	                             .large_chunk_bytes = LARGE_CHUNK_BYTES};
	if (!slabs_init(&it->slabs, &slabs))
		return false;
	it->min_exptime = vmem_reserve(page_table_bytes(it, sizeof(*it->min_exptime)));
	it->notes = vmem_reserve(page_table_bytes(it, sizeof(*it->notes)));
	it->places = calloc(1, sizeof(*it->places));
	if (config->track_sizes && !(it->misc.sizes = vmem_reserve(sizes_bytes(it))))
		return false;
	return it->min_exptime && it->notes && it->places &&
	       tombs_init(&it->tombs, config->tomb_bytes_max) && init_index(it) &&
	       ghost_init(&it->ghost, (size_t)it->slabs.pages_max << SLAB_PAGE_SHIFT) &&
	       pins_init(&it->pins);
}

struct items *items_new(const struct items_config *config, const struct now *now, struct hlc *hlc)
{
	struct items *it = calloc(1, sizeof(*it));
	if (!it)
		return NULL;
	it->config = *config;
	it->now = now;
	it->hlc = hlc;
	it->misc.confirm_epoch = 1;
	if (!init_parts(it)) {
		items_free(it);
		return NULL;
	}
	it->sweep.clamp_start_ms = now->mono_ms;
	it->limit = (struct memory_limit){config->memory_bytes_max, it->slabs.pages_limit, 0};
	ghost_limit(&it->ghost, config->memory_bytes_max);
	return it;
}

void items_free(struct items *it)
{
	if (!it)
		return;
	pins_release(&it->pins);
	ghost_release(&it->ghost);
	assoc_release(&it->assoc);
	tombs_release(&it->tombs);
	free(it->places);
	vmem_release(it->misc.sizes, sizes_bytes(it));
	vmem_release(it->notes, page_table_bytes(it, sizeof(*it->notes)));
	vmem_release(it->min_exptime, page_table_bytes(it, sizeof(*it->min_exptime)));
	slabs_release(&it->slabs);
	free(it);
}

/* ---- lookup ------------------------------------------------------------------------------ */

struct key items_key(const struct items *it, const void *data, size_t len)
{
	assert(len <= KEY_BYTES_MAX);
	return (struct key){data, (uint32_t)len, hash_key(data, len, it->config.hash_seed)};
}

/* What the index has for a key, dead or alive, item or tombstone. */
static struct item *find_state(const struct items *it, const struct key *key, uint32_t *handle)
{
	uint8_t tag = assoc_tag(key->hash);
	const struct assoc_bucket *b = assoc_bucket(&it->assoc, key->hash);
	do {
		for (unsigned m = assoc_match(b, tag); m; m &= m - 1) {
			*handle = b->handles[__builtin_ctz(m)];
			struct item *i = item_at(it, *handle);
			if (likely(i->key_len == key->len) &&
			    likely(memcmp(item_key(i), key->data, key->len) == 0))
				return i;
		}
		b = assoc_overflow(&it->assoc, b);
	} while (unlikely(b != NULL));
	return NULL;
}

static inline void note_read(const struct items *it, struct item *i)
{
	uint32_t bits = i->bits & ((1u << ITEM_LA_SHIFT) - 1);
	bits |= ITEM_FETCHED | access_now(it) << ITEM_LA_SHIFT;
	if (i->bits != bits)
		i->bits = bits;
	if (item_freq(i) < ITEM_FREQ_MAX)
		i->len_freq = (uint16_t)(i->len_freq + (1u << ITEM_FREQ_SHIFT));
}

static struct item *missed(enum items_miss *miss, enum items_miss why)
{
	if (miss)
		*miss = why;
	return NULL;
}

struct item *items_find(struct items *it, const struct key *key, enum items_lookup how,
                        enum items_miss *miss)
{
	uint32_t handle;
	items_catch_up(it);
	struct item *i = find_state(it, key, &handle);
	if (!i || unlikely(item_is_tomb(i)))
		return missed(miss, ITEMS_MISS_ABSENT);
	if (unlikely(item_flushed(it, i)))
		return missed(miss, ITEMS_MISS_FLUSHED);
	if (unlikely(item_expired(it, i)))
		return missed(miss, ITEMS_MISS_EXPIRED);
	if (how == ITEMS_READ)
		note_read(it, i);
	return i;
}

void items_note_read(const struct items *it, struct item *i)
{
	note_read(it, i);
}

const struct item *items_state(struct items *it, const struct key *key)
{
	uint32_t handle;
	items_catch_up(it);
	const struct item *i = find_state(it, key, &handle);
	return i && !item_flushed(it, i) ? i : NULL;
}

void items_expect(struct items *it, uint64_t count)
{
	uint64_t bytes = it->limit.bytes / EXPECT_SHARE;
	uint64_t most = bytes / sizeof(struct assoc_bucket) * ASSOC_LOAD_MAX;
	assoc_expect(&it->assoc, count < most ? count : most);
}

void items_prefetch(const struct items *it, uint64_t hash)
{
	prefetch(assoc_bucket(&it->assoc, hash));
}

void items_prefetch_item(const struct items *it, uint64_t hash)
{
	const struct assoc_bucket *b = assoc_bucket(&it->assoc, hash);
	unsigned m = assoc_match(b, assoc_tag(hash));
	if (m == 0)
		return;
	const uint8_t *i = (const uint8_t *)item_at(it, b->handles[__builtin_ctz(m)]);
	prefetch(i);
	prefetch(i + 64);
}

/* ---- reporting ----------------------------------------------------------------------------- */

void items_observe(struct items *it, change_observer *fn, void *ctx)
{
	it->observer.fn = fn;
	it->observer.ctx = ctx;
}

uint64_t items_change_seq(const struct items *it)
{
	return it->observer.seq;
}

static void items_emit(struct items *it, struct change *change)
{
	assert(!it->observer.in_emit);
	change->seq = ++it->observer.seq;
	if (!it->observer.fn)
		return;
	it->observer.in_emit = true;
	it->observer.fn(it->observer.ctx, change);
	it->observer.in_emit = false;
}

/* ---- versions ------------------------------------------------------------------------------- */

/* A fresh version. On its own a node may have had a client choose a version
 * above its clock, and a flush has raised the barrier above that: what is below
 * must be gone before anything new is made. */
static uint64_t draw_version(struct items *it)
{
	uint64_t v = hlc_next(it->hlc, it->now->wall_ms);
	if (unlikely(v <= it->flush.barrier))
		items_finish_flush(it);
	assert(v > it->flush.barrier);
	return v;
}

/* Take in a version that comes with an order. */
static void take_version(struct items *it, uint64_t v)
{
	if (it->config.replicated) {
		hlc_take(it->hlc, v);
		return;
	}
	if (v <= it->flush.barrier)
		items_finish_flush(it);
	if (v > it->misc.version_high)
		it->misc.version_high = v;
}

/* The version below which a flush clears everything. */
static uint64_t flush_version(const struct items *it, uint64_t drawn)
{
	return drawn > it->misc.version_high ? drawn : it->misc.version_high;
}

/* ---- mutator 1: install ----------------------------------------------------------------------- */

/* Give a reserved item its version and marks and make it a linked one. */
static void make_state(struct items *it, struct item *i, enum cause cause,
                       const struct state_order *order, uint32_t extra_bits)
{
	assert((extra_bits & ~(uint32_t)(ITEM_SHIPPED_BITS | ITEM_TOKEN)) == 0);
	if (order) {
		assert(cause == CAUSE_PEER || !it->config.replicated);
		take_version(it, order->version);
		i->version = order->version;
		i->touches = order->touches;
		i->exptime = order->exptime;
	} else {
		i->version = draw_version(it);
	}
	i->bits = (i->bits & ITEM_FLAGS) | extra_bits | (cause == CAUSE_PEER ? 0 : ITEM_OWN) |
	          (item_is_large(i) ? ITEM_KIND_LARGE : ITEM_KIND_SMALL);
	item_set_access(i, access_now(it));
}

/* Put a new item in the place of what its key holds. A rewritten item keeps its
 * queue and what is known about its being read. */
static void link_over(struct items *it, struct item *i, const struct key *key)
{
	uint32_t handle = item_handle(it, i), old_handle = 0;
	struct item *old = find_state(it, key, &old_handle);
	bool in_main = false;
	if (!old) {
		in_main = ghost_take(&it->ghost, key->hash);
		assoc_insert(&it->assoc, key->hash, handle);
	} else {
		assoc_replace(&it->assoc, key->hash, old_handle, handle);
	}
	if (old && item_is_tomb(old)) {
		tombs_remove(&it->tombs, tombs_get(&it->tombs, old_handle));
	} else if (old) {
		in_main = old->bits & ITEM_MAIN;
		item_set_freq(i, item_freq(old));
		items_dequeue(it, old);
		items_dispose(it, old);
	}
	items_enqueue(it, i, in_main);
}

void items_set_exptime(struct item *reserved, uint32_t exptime)
{
	assert(item_kind(reserved) == ITEM_KIND_RESERVED || item_kind(reserved) == ITEM_KIND_RESERVED_LARGE);
	reserved->exptime = exptime;
}

void items_install(struct items *it, struct item *reserved, enum cause cause,
                   const struct state_order *order, uint32_t extra_bits)
{
	struct item *i = reserved;
	assert(item_kind(i) == ITEM_KIND_RESERVED || item_kind(i) == ITEM_KIND_RESERVED_LARGE);
	assert(items_reserved_len(it, i) == item_value_len(i));
	items_catch_up(it);
	struct key key = {item_key(i), i->key_len, (uint64_t)i->q_prev << 32 | i->q_next};
	item_note(it, i)->held--;
	it->misc.held_large -= item_is_large(i);
	make_state(it, i, cause, order, extra_bits);
	link_over(it, i, &key);
	note_exptime(it, i);
	it->counters.total_items++;
	struct change change = {.kind = CHANGE_STATE, .cause = cause, .key = key,
	                        .order = item_order(i), .after = i,
	                        .own_version = cause == CAUSE_PEER ? 0 : i->version};
	items_emit(it, &change);
}

/* ---- mutator 2: remove --------------------------------------------------------------------------- */

/* How a removal is ordered and whether it leaves a tombstone. */
struct removal {
	struct state_order order;
	uint64_t own_version;
	uint64_t stamp; /* of the tombstone; 0 = leaves none */
};

/* The operator's removals are like a client's. */
static bool is_own_removal(enum cause cause)
{
	return cause == CAUSE_CLIENT || cause == CAUSE_ADMIN;
}

static struct removal plan_removal(struct items *it, const struct item *old, enum cause cause,
                                   const struct state_order *order)
{
	struct removal r = {.order = {.exptime = REMOVAL_EXPTIME}};
	bool keep = false;
	if (order) {
		r.order = *order;
		take_version(it, order->version);
	} else if (is_own_removal(cause)) {
		r.order.version = hlc_next(it->hlc, it->now->wall_ms);
	} else if (old) {
		r.order = item_order(old);
	}
	r.stamp = r.order.version;
	if (is_own_removal(cause)) {
		r.own_version = r.order.version;
		keep = true;
	} else if (cause != CAUSE_PEER && old && !item_is_tomb(old)) {
		keep = items_is_unsettled(it, old);
		if (items_touched_above(it, old, it->policy.settled) && it->hlc->last > r.stamp)
			r.stamp = it->hlc->last;
	}
	if (!keep || !it->config.replicated || r.order.version <= it->flush.barrier)
		r.stamp = 0;
	return r;
}

/* Put `tomb` (or nothing) where the index has `old` (or nothing). */
static void swap_in_index(struct items *it, uint64_t hash, uint32_t old, const struct tomb *tomb)
{
	if (old && tomb)
		assoc_replace(&it->assoc, hash, old, tombs_handle(tomb));
	else if (old)
		assoc_delete(&it->assoc, hash, old);
	else if (tomb)
		assoc_insert(&it->assoc, hash, tombs_handle(tomb));
}

bool items_remove(struct items *it, const struct key *key, enum cause cause,
                  const struct state_order *order)
{
	uint32_t handle = 0;
	items_catch_up(it);
	struct item *old = find_state(it, key, &handle);
	if (!old && !(it->config.replicated && is_own_removal(cause)))
		return false;
	bool was_item = old && !item_is_tomb(old);
	bool was_visible = was_item && !item_dead(it, old);
	struct removal r = plan_removal(it, old, cause, order);
	struct tomb *tomb = r.stamp ? items_tomb_make(it, key, &r.order, r.stamp) : NULL;
	swap_in_index(it, key->hash, old ? handle : 0, tomb);
	if (was_item)
		items_dequeue(it, old);
	else if (old)
		tombs_remove(&it->tombs, tombs_get(&it->tombs, handle));
	struct change change = {.kind = CHANGE_REMOVE, .cause = cause, .key = *key,
	                        .order = r.order, .before = was_item ? old : NULL,
	                        .own_version = r.own_version};
	items_emit(it, &change);
	if (r.stamp && !tomb)
		items_tomb_unkept(it, key, &r.order, r.stamp);
	items_tombs_trim(it);
	if (was_item)
		items_dispose(it, old);
	return was_visible;
}

void items_shed(struct items *it, struct item *i, uint64_t hash, enum cause cause)
{
	struct key key = {item_key(i), i->key_len, hash};
	bool unread = !(i->bits & ITEM_FETCHED);
	assert(item_is_linked(i) && !is_own_removal(cause) && cause != CAUSE_PEER);
	if (cause == CAUSE_EXPIRE) {
		it->counters.expired_unfetched += unread;
		it->classes[item_class(it, i)].info.expired_unfetched += unread;
	}
	it->counters.flushed_reclaimed += cause == CAUSE_FLUSHED;
	items_remove(it, &key, cause, NULL);
}

void items_prefetch_shed(const struct items *it, const struct item *i)
{
	if (!item_is_linked(i))
		return;
	uint64_t hash = item_as_key(it, i).hash;
	items_prefetch(it, hash);
	ghost_prefetch(&it->ghost, hash);
	if (i->q_next)
		prefetch(item_at(it, i->q_next));
	if (i->q_prev)
		prefetch(item_at(it, i->q_prev));
}

/* ---- mutator 3: amend ------------------------------------------------------------------------------ */

/* Same item, new version: what the peer holds of it is older now. */
static enum change_kind renew(struct items *it, struct item *i)
{
	i->version = draw_version(it);
	i->touches = 0;
	i->bits = (i->bits | ITEM_OWN) & ~ITEM_TOUCHED;
	return CHANGE_STATE;
}

/* A touch of our own: its instant, which is a version, is kept per page. */
static enum change_kind touch_own(struct items *it, struct item *i, uint64_t *own_version)
{
	bool full = i->touches == UINT8_MAX;
	if (!it->config.replicated) {
		i->touches = (uint8_t)(i->touches + !full);
		return CHANGE_TOUCH;
	}
	if (full)
		return renew(it, i);
	i->touches++;
	i->bits |= ITEM_TOUCHED | ITEM_OWN;
	*own_version = hlc_next(it->hlc, it->now->wall_ms);
	item_note(it, i)->touched = *own_version;
	return CHANGE_TOUCH;
}

static enum change_kind amend_expiry(struct items *it, struct item *i, const struct amendment *a,
                                     uint64_t *own_version)
{
	enum change_kind kind = CHANGE_TOUCH;
	if (a->order) {
		assert(a->order->version == i->version);
		i->touches = a->order->touches;
		i->exptime = a->order->exptime;
		/* The peer has this version, and made the state what it is now. */
		i->bits &= ~(uint32_t)(ITEM_TOUCHED | ITEM_OWN);
	} else {
		i->exptime = a->exptime;
		kind = touch_own(it, i, own_version);
	}
	note_exptime(it, i);
	return kind;
}

/* The same with what else the amendment says. */
static void renew_as(struct items *it, struct item *i, const struct amendment *a)
{
	assert(a->version == 0 || !it->config.replicated);
	renew(it, i);
	if (a->version) {
		take_version(it, a->version);
		i->version = a->version;
	}
	if (a->set_exptime) {
		i->exptime = a->exptime;
		note_exptime(it, i);
	}
}

static void amend_value(struct items *it, struct item *i, const struct amendment *a)
{
	assert(!item_is_large(i) && !items_is_pinned(it, i));
	memcpy((uint8_t *)(uintptr_t)item_value(i), a->value, item_value_len(i));
	item_set_access(i, access_now(it));
}

void items_amend(struct items *it, struct item *i, const struct amendment *a, enum cause cause)
{
	const uint32_t marks = ITEM_STALE | ITEM_TOKEN;
	uint32_t old_bits = i->bits;
	uint64_t own_version = 0;
	enum change_kind kind = CHANGE_STATE;
	assert(item_is_linked(i) && !it->observer.in_emit);
	switch (a->what) {
	case AMEND_EXPIRY:
		kind = amend_expiry(it, i, a, &own_version);
		break;
	case AMEND_VALUE:
		amend_value(it, i, a);
		renew_as(it, i, a);
		break;
	case AMEND_STALE:
		i->bits = (i->bits | ITEM_STALE) & ~ITEM_TOKEN;
		renew_as(it, i, a);
		break;
	case AMEND_MARKS:
		assert(((a->set_bits | a->clear_bits) & ~marks) == 0);
		i->bits = (i->bits | a->set_bits) & ~a->clear_bits;
		if (((i->bits ^ old_bits) & ITEM_SHIPPED_BITS) == 0)
			return;
		renew(it, i);
		break;
	}
	if (kind == CHANGE_STATE)
		own_version = i->version;
	struct change change = {.kind = kind, .cause = cause, .key = item_as_key(it, i),
	                        .order = item_order(i), .after = i, .own_version = own_version};
	items_emit(it, &change);
}

/* ---- mutator 4: flush --------------------------------------------------------------------------------- */

const struct flush_state *items_flush_state(const struct items *it)
{
	return &it->flush;
}

void items_flush(struct items *it, const struct flush_state *incoming, enum cause cause)
{
	struct flush_state *f = &it->flush;
	if (cause != CAUSE_EXPIRE)
		items_catch_up(it);
	struct flush_state before = *f;
	if (incoming->command > f->command) {
		f->command = incoming->command;
		f->when_ms = incoming->when_ms;
	} else if (incoming->command == f->command && incoming->when_ms == 0) {
		f->when_ms = 0;
	}
	if (incoming->barrier > f->barrier) {
		f->barrier = incoming->barrier;
		it->sweep.flush_pending = true;
	}
	uint64_t newest = incoming->barrier > incoming->command ? incoming->barrier
	                                                        : incoming->command;
	if (it->config.replicated)
		hlc_take(it->hlc, newest);
	if (before.barrier == f->barrier && before.command == f->command &&
	    before.when_ms == f->when_ms)
		return;
	struct change change = {.kind = CHANGE_FLUSH, .cause = cause, .order = {.version = newest},
	                        .own_version = cause == CAUSE_PEER ? 0 : newest, .flush = f};
	items_emit(it, &change);
	items_catch_up(it);
}

void items_flush_command(struct items *it, int64_t when_ms)
{
	items_catch_up(it);
	struct flush_state f = {.command = hlc_next(it->hlc, it->now->wall_ms)};
	if (when_ms > it->now->wall_ms)
		f.when_ms = when_ms;
	else
		f.barrier = flush_version(it, f.command);
	items_flush(it, &f, CAUSE_CLIENT);
}

void items_fire_due(struct items *it)
{
	items_catch_up(it);
}

void items_fire_flush(struct items *it)
{
	if (it->observer.in_emit)
		return;
	uint64_t drawn = hlc_next(it->hlc, it->now->wall_ms);
	struct flush_state f = {.barrier = flush_version(it, drawn), .command = it->flush.command};
	items_flush(it, &f, CAUSE_EXPIRE);
}
