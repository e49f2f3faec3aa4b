/*
 * items_internal.h - what the items*.c files share.
 *
 * Owns: struct items and the parts it is made of, one part per file:
 *
 *   items.c        lookup, the four mutators, items_emit
 *   items_chunk.c  reserve, release, chains of large items, getting a chunk
 *   items_layout.c where in an item its key, flags and value lie
 *   items_queue.c  S3-FIFO: small, main, who goes next
 *   items_ghost.c  fingerprints of what left small unread
 *   items_pins.c   what must stay where it is
 *   items_tombs.c  which removals leave a tombstone, settling
 *   items_sweep.c  time: expiry, flush reclaim, clearing of marks
 *   items_move.c   taking pages from one class for another
 *   items_resize.c another limit of memory while serving
 *   items_walk.c   visiting all states, confirmation marks
 *   items_stats.c  gauges and counters, lists for operators
 *   items_check.c  the consistency checker
 *
 * Must not know: what items.h must not know. For items*.c and tests of them only.
 *
 * The way of a chunk:
 *
 *   slabs_alloc -> RESERVED -> SMALL/LARGE (linked: index + queue) -> freed
 *                     |                |
 *                     +-- released     +-- unlinked while pinned: RESERVED
 *                                          again (an orphan) until unpinned
 *
 * Layer 1. Covered by: t/test_items.c, t/test_shadow.c.
 */
#ifndef ITEMS_INTERNAL_H
#define ITEMS_INTERNAL_H

#include "compat.h"
#include "assoc.h"
#include "items.h"
#include "slabs.h"
#include "tombs.h"
#include "util.h"
#include "vmem.h"

#define ITEM_CONTIGUOUS_MAX SLAB_CHUNK_MAX
#define LARGE_CHUNK_BYTES 4096
#define ITEM_FREQ_SHIFT 14
#define ITEM_FREQ_MAX 3
#define ITEM_LEN_MASK ((1u << ITEM_FREQ_SHIFT) - 1)
#define ITEM_LA_MASK ((1u << ITEM_LA_BITS) - 1)
/* Ages saturate here; the sweep sees to it that none wraps. */
#define ITEM_IDLE_S_MAX (6u * 24 * 3600)
#define EXPTIME_NONE UINT32_MAX
#define PAGE_RETRY_MS 100 /* after no page could be emptied for a lower limit */

/* ---- layout (items_layout.c) -------------------------------------------------- */

/* A continuation chunk of a large item. */
struct chain {
	uint32_t bits;       /* ITEM_KIND_CHAIN, perhaps CHAIN_TRASH */
	uint32_t next, prev; /* handles; the first one's prev is the item */
	uint8_t data[];
};
#define CHAIN_DATA_BYTES (LARGE_CHUNK_BYTES - sizeof(struct chain))
/* First chunk of what is left of a freed chain; prev links such chains. */
#define CHAIN_TRASH (1u << 3)

/* Behind the flags of a large item. */
struct large_head {
	uint32_t value_len;
	uint32_t next; /* handle of the first continuation chunk */
};

static inline size_t item_flags_bytes(const struct item *i)
{
	return (i->bits & ITEM_FLAGS) >> 5; /* 4 or 0 */
}
static inline struct large_head *item_large_head(const struct item *i)
{
	return (struct large_head *)((uintptr_t)(i + 1) + item_flags_bytes(i));
}
static inline size_t item_key_offset(const struct item *i)
{
	return sizeof(struct item) + item_flags_bytes(i) +
	       (item_is_large(i) ? sizeof(struct large_head) : 0);
}
static inline unsigned item_freq(const struct item *i)
{
	return i->len_freq >> ITEM_FREQ_SHIFT;
}
static inline void item_set_freq(struct item *i, unsigned freq)
{
	i->len_freq = (uint16_t)((i->len_freq & ITEM_LEN_MASK) | freq << ITEM_FREQ_SHIFT);
}
static inline void item_set_kind(struct item *i, enum item_kind kind)
{
	i->bits = (i->bits & ~ITEM_KIND_MASK) | (uint32_t)kind;
}
static inline void item_set_access(struct item *i, uint32_t now_s)
{
	i->bits = (i->bits & ((1u << ITEM_LA_SHIFT) - 1)) | now_s << ITEM_LA_SHIFT;
}
/* Chunks that a large item of this key and value takes. */
size_t large_chunks(size_t head_bytes, size_t value_len);
size_t large_head_bytes(const struct item *i); /* of the value, in the first chunk */
/* The chain pointer of a chunk of a large item, head or continuation. */
uint32_t *chunk_next(void *chunk);

/* Where readers of large values stand: reading on does not start from the first chunk. */
struct read_places {
	struct read_place {
		uint32_t item, chunk; /* handles, 0 = empty */
		size_t offset;        /* of the chunk's first byte in the value */
	} at[64];
	uint32_t next; /* given to the next reader */
};

/* ---- parts ---------------------------------------------------------------------- */

struct item_queue {
	uint32_t head, tail; /* new ones enter at the head, the tail goes next */
	uint64_t count;
};

struct class_state {
	struct item_queue small, main;
	uint32_t churn;  /* evictions since the mover looked at the class */
	uint32_t guests; /* items put up by other classes while it had no page */
	struct items_class_info info; /* only the counters in it are kept current */
};

/* What items knows about a page. */
struct page_note {
	uint64_t touched;       /* version of the last own touch in it, 0 = no touched bits */
	uint32_t confirm_epoch; /* confirmation marks count if this is the current one */
	uint16_t held;          /* reserved and pinned items in it: it cannot be moved */
};

struct ghost {
	struct ghost_set *sets;
	uint64_t sets_max, set_count; /* set_count is 0 or a power of two */
	uint64_t sets_limit;          /* what the cache's memory allows, at most sets_max */
	uint64_t sets_touched;        /* at least set_count: resident */
	unsigned ways;                /* places used of each set */
};

struct pin {
	uint32_t handle; /* 0 = empty place */
	uint32_t count;
	bool orphan; /* unlinked: goes with its last pin */
};
struct pins {
	struct pin *table;
	uint32_t mask, count;
};

struct sweep {
	int64_t next_pass_ms;    /* a pass starts at this monotonic time */
	uint32_t page, index;    /* where the running pass is; page 0 = none runs */
	bool every_page;         /* the running pass sweeps all pages */
	bool flush_pending;      /* the next one must */
	uint64_t looked;         /* chunks the running pass has looked at */
	bool manual;             /* passes do not look for expired items unasked */
	int64_t pause_ms;        /* between pieces of a pass that is in no hurry */
	int64_t resume_ms;       /* a pause ends at this monotonic time */
	bool crawl_waits;        /* a crawl begins with the next pass */
	bool crawling;           /* the running pass is one */
	uint32_t crawl_left[SLAB_CLASSES_MAX + 1]; /* items to look at by class, UINT32_MAX = all */
	int64_t clamp_start_ms;  /* the daily round that keeps ages from wrapping */
	uint32_t clamp_done, clamp_to;
};

struct mover {
	uint32_t page, index; /* being drained in the background; page 0 = none */
	int from, to;         /* class that gives it, and that receives it; 0 = the pool */
	bool evict;           /* may evict to make room */
	int tries;            /* other pages to try when this one cannot be emptied */
};

/* How fast the cache turns over, to tell which classes are no longer used. */
struct turnover {
	uint32_t pages;      /* pages' worth of evictions in the running one */
	uint32_t since_move; /* and since the last page was moved */
	uint64_t version, before;   /* when the running one began, and the one before it */
	uint32_t began_s, before_s; /* the same as times of access */
};

/* The limit of item memory; slabs.pages_limit follows it down page by page. */
struct memory_limit {
	size_t bytes;     /* as asked for */
	uint32_t pages;
	int64_t retry_ms; /* no page could be taken: not again before this time */
};

struct observer {
	change_observer *fn;
	items_page_moved *page_fn;
	void *ctx, *page_ctx;
	uint64_t seq;
	bool in_emit;
};

struct tomb_policy {
	uint64_t settled;
	void (*lost)(void *ctx, const struct item *tomb);
	void *ctx;
};

struct items {
	const struct now *now;
	struct hlc *hlc;
	struct flush_state flush;
	struct assoc assoc;
	struct slabs slabs;
	struct items_config config;
	struct tombs tombs;
	struct tomb_policy policy;
	struct observer observer;
	uint32_t *min_exptime; /* per page: no item in it expires before; EXPTIME_NONE */
	struct page_note *notes;
	struct ghost ghost;
	struct pins pins;
	struct read_places *places;
	struct sweep sweep;
	struct mover mover;
	struct memory_limit limit;
	struct turnover turnover;
	struct {
		uint32_t trash;         /* first freed chain whose chunks are still to be freed */
		uint32_t held_large;    /* reserved and pinned large items */
		uint32_t confirm_epoch, *sizes; /* sizes: linked items by size, if tracked */
		uint64_t version_high;  /* no item has a version above it that a client chose */
		uint64_t fail_after;    /* test hook */
		enum items_automove automove;
		unsigned worked; /* enum items_work of the last tick */
	} misc;
	struct items_gauges gauges; /* item_count and item_bytes are kept current */
	struct items_counters counters;
	struct class_state classes[SLAB_CLASSES_MAX + 1];
};

/* A hint to the processor. To the compiler a function that gives only hints has
 * no effect, and calls of it are dropped; the empty asm is an effect. */
static inline void prefetch(const void *p)
{
	__builtin_prefetch(p);
	__asm__ volatile("");
}

/* ---- shared by all -------------------------------------------------------------- */

static inline struct item *item_at(const struct items *it, uint32_t handle)
{
	if (unlikely(tombs_is_handle(handle)))
		return &tombs_get(&it->tombs, handle)->item;
	return slabs_ptr(&it->slabs, handle);
}
/* Not for tombstones. */
static inline uint32_t item_handle(const struct items *it, const struct item *i)
{
	return slabs_handle(&it->slabs, i);
}
static inline int item_class(const struct items *it, const struct item *i)
{
	return slabs_class_of(&it->slabs, i);
}
static inline struct page_note *item_note(const struct items *it, const struct item *i)
{
	return &it->notes[slabs_page_of(&it->slabs, i)];
}
static inline struct key item_as_key(const struct items *it, const struct item *i)
{
	return items_key(it, item_key(i), i->key_len);
}
static inline uint32_t access_now(const struct items *it)
{
	return (uint32_t)((uint64_t)it->now->mono_ms / 1000) & ITEM_LA_MASK;
}
static inline bool item_expired(const struct items *it, const struct item *i)
{
	return i->exptime != 0 && i->exptime <= now_wall_s(it->now);
}
static inline bool item_flushed(const struct items *it, const struct item *i)
{
	return i->version <= it->flush.barrier;
}
static inline bool item_dead(const struct items *it, const struct item *i)
{
	return item_flushed(it, i) || item_expired(it, i);
}
static inline bool item_is_linked(const struct item *i)
{
	return item_kind(i) == ITEM_KIND_SMALL || item_kind(i) == ITEM_KIND_LARGE;
}
/* The page must be swept once this time has come. */
static inline void note_exptime(struct items *it, const struct item *i)
{
	uint32_t *least = &it->min_exptime[slabs_page_of(&it->slabs, i)];
	uint32_t exptime = item_flushed(it, i) ? 0 : i->exptime ? i->exptime : EXPTIME_NONE;
	if (exptime < *least)
		*least = exptime;
}

/* items.c */
void items_fire_flush(struct items *it);
/* A delayed flush whose time has come is executed before anything is looked at. */
static inline void items_catch_up(struct items *it)
{
	if (unlikely(it->flush.when_ms != 0) && it->now->wall_ms >= it->flush.when_ms)
		items_fire_flush(it);
}
/* Remove a linked item that nobody asked to remove: eviction, expiry, flush
 * reclaim, sweep. Leaves a tombstone if it was not settled. hash is its key's. */
void items_shed(struct items *it, struct item *i, uint64_t hash, enum cause cause);
static inline enum cause item_cause_of_death(const struct items *it, const struct item *i)
{
	return item_flushed(it, i) ? CAUSE_FLUSHED : CAUSE_EXPIRE;
}

/* Removing an item looks at its index bucket and at its neighbours in the queue,
 * all of them far away in memory. Who works through a page fetches them for an
 * item a few chunks ahead. */
#define PREFETCH_AHEAD 8
void items_prefetch_shed(const struct items *it, const struct item *i);

/* items_chunk.c */
bool items_alloc_refused(struct items *it); /* test hook */
/* Free an unlinked item's memory, or leave it an orphan if it is pinned. */
void items_dispose(struct items *it, struct item *i);
/* Free up to max chunks of freed chains; the number freed. */
size_t items_empty_trash(struct items *it, size_t max);
bool items_grow_class(struct items *it, int id);
void items_forget_places(struct items *it, uint32_t item); /* 0 = all */

/* items_queue.c */
void items_enqueue(struct items *it, struct item *i, bool in_main);
void items_dequeue(struct items *it, struct item *i);
/* Relink a queue's neighbours after an item was copied from `old` to i. */
void items_requeue_moved(struct items *it, struct item *i, uint32_t old);
/* Free at least one chunk of the class; false when nothing may go. */
bool items_evict_one(struct items *it, int id);
/* Evict this one. */
void items_evict(struct items *it, struct item *i);
/* The item that would go next, not counting what would get another round;
 * NULL when there is none among the next few. */
const struct item *items_next_victim(const struct items *it, int id);

/* items_ghost.c */
bool ghost_init(struct ghost *g, size_t memory_bytes_reserved);
void ghost_limit(struct ghost *g, size_t memory_bytes); /* of the cache */
/* Give back a piece of what a lower limit has left over; true when there is more. */
bool ghost_trim(struct ghost *g);
void ghost_release(struct ghost *g);
/* Remember a hash; wanted = how many should be remembered in all. */
void ghost_add(struct ghost *g, uint64_t hash, uint64_t wanted);
/* Whether it is remembered; it is forgotten by this. */
bool ghost_take(struct ghost *g, uint64_t hash);
void ghost_prefetch(const struct ghost *g, uint64_t hash);
uint64_t ghost_bytes(const struct ghost *g);

/* items_pins.c */
bool pins_init(struct pins *p);
void pins_release(struct pins *p);
struct pin *pins_find(const struct pins *p, uint32_t handle);

/* items_tombs.c */
/* A tombstone for the index, NULL without memory; the caller puts it into the
 * index and calls items_tombs_trim, or items_tomb_unkept if it got none. */
struct tomb *items_tomb_make(struct items *it, const struct key *key,
                             const struct state_order *order, uint64_t stamp);
void items_tombs_trim(struct items *it);
void items_tomb_unkept(struct items *it, const struct key *key, const struct state_order *order,
                       uint64_t stamp);
/* Free up to max settled tombstones; true when there may be more. */
bool items_tombs_settle_some(struct items *it, size_t max);
bool items_tombs_settle_due(const struct items *it);

/* items_sweep.c */
/* Reclaim all that is below the barrier, now: not bounded, for rare needs. */
void items_finish_flush(struct items *it);

/* items_walk.c */
/* Make the confirmation marks of a page count, with none set yet. */
void items_confirm_page(struct items *it, uint32_t page);
/* Whether an item has a mark that counts. */
bool items_is_confirmed(const struct items *it, const struct item *i);

/* items_move.c */
/* Take a page from some other class for this one, at once. */
bool items_steal_page(struct items *it, int id);
/* A class has turned over a page's worth of items: perhaps it should have more. */
void items_consider_move(struct items *it, int id);
void items_move_some(struct items *it);
void items_move_surplus(struct items *it);
/* Begin to empty the page that can best be spared; false: none can be emptied. */
bool items_give_up_page(struct items *it);

/* items_resize.c */
/* A piece of the way to a lower limit; when it is due. */
void items_shrink_some(struct items *it);
int64_t items_shrink_due_ms(const struct items *it);

#endif
