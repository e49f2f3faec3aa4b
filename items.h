/*
 * items.h - cached data: layout, lookup, the four mutators, eviction.
 *
 * Owns: the 28-byte item header; the slabs and the index underneath; per class
 * the S3-FIFO queues (small, main, ghost); expiry sweep and flush barrier in
 * bounded pieces; pinning; tombstones (states that say "deleted"), which live
 * in the index beside the items; items_emit(), the one place that reports a
 * change.
 *
 * Must not know: protocols, sessions, the link. It knows that some states are
 * not settled with a peer (struct items.settled) because what it drops of
 * those must leave a tombstone; it does not know what a peer is.
 *
 * Item layout (4-byte aligned, packed; see struct item), then in this order:
 *   client flags (4 bytes)   only if ITEM_FLAGS
 *   value length (4 bytes)   only if kind is ITEM_KIND_LARGE
 *   key, value               no terminators, no CRLF
 * A large item (above ITEM_CONTIGUOUS_MAX) is a chain of LARGE_CHUNK_BYTES
 * chunks of one class; the first holds header and key and the start of the
 * value, the others start with their links. All else is one chunk.
 * The size class is the page's, so the item does not store it.
 *
 * Pointers: a struct item * is valid until the next call that may evict or
 * move (items_reserve, items_install, items_remove, items_flush, items_tick).
 * To hold one longer, pin it. A pinned item's bytes never change or move.
 *
 * Invariants (checked by items_check(), used all over the tests)
 *  [I1] every linked item is in the index exactly once, and in exactly one queue
 *  [I2] a key is in the index at most once, as an item or as a tombstone
 *  [I3] bytes and counts per class equal what a walk over the pages finds
 *  [I4] no state at or below the flush barrier is ever returned
 *  [I5] memory of pages in use never exceeds the limit; after the limit was
 *       lowered, never what it was at any time since, and soon not the limit
 *  [I6] assoc_insert/assoc_delete are called here only; items_emit() by the
 *       four mutators only
 *
 * Layer 1. Covered by: t/test_items.c, t/test_slabs.c, t/test_assoc.c,
 * t/test_shadow.c, the simulator (items_check after every event).
 */
#ifndef ITEMS_H
#define ITEMS_H

#include "compat.h"
#include "change.h"
#include "clock.h"
#include "items_stats.h"

#define KEY_BYTES_MAX 250
#define ITEM_BYTES_LIMIT (UINT32_C(1) << 30) /* -I goes up to this */

enum item_kind {
	ITEM_KIND_FREE = 0, /* a free chunk: word 0 is zero */
	ITEM_KIND_RESERVED, /* being filled, or unlinked and still pinned */
	ITEM_KIND_RESERVED_LARGE,
	ITEM_KIND_SMALL, /* linked, one chunk */
	ITEM_KIND_LARGE, /* linked, a chain */
	ITEM_KIND_CHAIN, /* continuation chunk of a chain */
	ITEM_KIND_TOMB   /* tombstone: same header, key, no value */
};

/* bits: kind (3) | state bits | last access (20, seconds of process time) */
#define ITEM_KIND_MASK 0x7u
#define ITEM_MAIN (1u << 3)      /* in the main queue, else in small */
#define ITEM_FETCHED (1u << 4)   /* read since it was stored */
#define ITEM_OWN (1u << 5)       /* made or last touched by this node */
#define ITEM_TOUCHED (1u << 6)   /* own touch that the peer may not have */
#define ITEM_FLAGS (1u << 7)     /* client flags present */
#define ITEM_STALE (1u << 8)     /* invalidated by a meta command */
#define ITEM_TOKEN (1u << 9)     /* a recache token is out (local, not replicated) */
#define ITEM_BINKEY (1u << 10)   /* key was given in base64 */
#define ITEM_CONFIRMED (1u << 11) /* confirmed by the running sweeping walk */
#define ITEM_LA_SHIFT 12
#define ITEM_LA_BITS 20
/* State bits that travel to the peer. */
#define ITEM_SHIPPED_BITS (ITEM_STALE | ITEM_BINKEY)

struct item {
	uint32_t bits;
	uint32_t q_next, q_prev; /* queue links (handles) */
	uint64_t version;        /* = CAS unique */
	uint32_t exptime;        /* Unix seconds, 0 = never */
	uint16_t len_freq;       /* value length (14) | frequency (2) << 14 */
	uint8_t key_len;
	uint8_t touches;
} __attribute__((packed, aligned(4)));

_Static_assert(sizeof(struct item) == 28, "item header");

enum items_status {
	ITEMS_OK,
	ITEMS_TOO_LARGE,
	ITEMS_NO_MEMORY
};

/* Why a lookup found nothing. */
enum items_miss {
	ITEMS_MISS_ABSENT,
	ITEMS_MISS_EXPIRED,
	ITEMS_MISS_FLUSHED
};

enum items_lookup {
	ITEMS_PEEK, /* no side effect on eviction order */
	ITEMS_READ  /* counts as an access: frequency, fetched, last access */
};

struct items_config {
	size_t memory_bytes_max;  /* -m */
	size_t memory_bytes_reserved; /* what that may be raised to later; 0 = nothing more */
	size_t item_bytes_max;    /* -I: header + key + value */
	size_t chunk_bytes_min;   /* -n, 0 = default */
	double growth_factor;     /* -f, 0 = fine-grained default classes */
	bool evict;               /* false: -M */
	bool replicated;          /* tombstones are kept, touches are tracked */
	size_t tomb_bytes_max;    /* budget of all tombstones */
	bool track_sizes;         /* for items_each_size() */
	int hash_power;           /* log2 of initial expected items; 0 = default */
	uint64_t hash_seed;
};

struct items; /* opaque; items_internal.h is for items*.c and tests of them */

/* Create. `now` and `hlc` are borrowed, must outlive it, and are read at every
 * call (the caller moves now; items draws versions from hlc). NULL when memory
 * cannot be reserved. */
struct items *items_new(const struct items_config *config, const struct now *now, struct hlc *hlc);
void items_free(struct items *it);

/* The one observer of changes (change.h); NULL = none. */
void items_observe(struct items *it, change_observer *fn, void *ctx);

struct key items_key(const struct items *it, const void *data, size_t len);

/* ---- reading -------------------------------------------------------------- */

/* The visible item of a key, or NULL and *miss (may be NULL) says why. Expired
 * and flushed items are not visible. Any kind of item; never a tombstone. */
struct item *items_find(struct items *it, const struct key *key, enum items_lookup how,
                        enum items_miss *miss);

/* What ITEMS_READ does to what it finds, for who looked without it first. */
void items_note_read(const struct items *it, struct item *i);
static inline enum item_kind item_kind(const struct item *i)
{
	return (enum item_kind)(i->bits & ITEM_KIND_MASK);
}
static inline bool item_is_large(const struct item *i)
{
	return item_kind(i) == ITEM_KIND_LARGE || item_kind(i) == ITEM_KIND_RESERVED_LARGE;
}
static inline bool item_is_tomb(const struct item *i)
{
	return item_kind(i) == ITEM_KIND_TOMB;
}
static inline struct state_order item_order(const struct item *i)
{
	return (struct state_order){i->version, i->touches, i->exptime};
}
const uint8_t *item_key(const struct item *i);
size_t item_value_len(const struct item *i);
uint32_t item_flags(const struct item *i);
/* Pointer to the whole value if it lies in one piece, else NULL (large). */
const uint8_t *item_value(const struct item *i);
/* The value's bytes from offset on, as at most iov_max pieces; returns the
 * number of pieces. Writable for reserved items only. */
int items_value_iov(const struct items *it, const struct item *i, size_t offset, struct iovec *iov,
                    int iov_max);
/* Total bytes: header, flags, key, value. What stats call its size. */
size_t item_total_bytes(const struct item *i);
/* Size class, 1-based as `stats slabs` prints it. */
int items_class_of(const struct items *it, const struct item *i);
/* Seconds since the last access; saturates at six days. */
uint32_t items_idle_s(const struct items *it, const struct item *i);

/* ---- writing: reserve -> fill -> install or release ------------------------ */

/* A private, unlinked item for key with room for value_len bytes; may evict. NULL and
 * *status on failure (ITEMS_TOO_LARGE when it can never fit). The caller fills the value
 * (items_value_iov), then installs or releases. It is pinned by being reserved. */
struct item *items_reserve(struct items *it, const struct key *key, size_t value_len, uint32_t flags,
                           uint32_t exptime, enum items_status *status);
void items_release(struct items *it, struct item *reserved);
/* The same, but a large value gets memory for its first part only, which takes no time.
 * _more() adds a part (false: no memory, release it), _len() says how much there is. */
struct item *items_reserve_part(struct items *it, const struct key *key, size_t value_len, uint32_t flags,
                                uint32_t exptime, enum items_status *status);
size_t items_reserved_len(const struct items *it, const struct item *reserved);
bool items_reserve_more(struct items *it, struct item *reserved);
/* Whether an item of this size can be held at all under the configuration. */
bool items_fits(const struct items *it, size_t key_len, size_t value_len, uint32_t flags);

/* The expiry of a reserved item, if it is known only once the value is there. */
void items_set_exptime(struct item *reserved, uint32_t exptime);

/* Mutator 1: make a reserved item the state of its key; whatever the key held
 * (item or tombstone) is replaced. order NULL: a new version is drawn and
 * touches is 0 (CAUSE_CLIENT). Otherwise version, touches, exptime are as given (CAUSE_PEER,
 * own bit off; or a client chose, standalone). extra_bits: ITEM_SHIPPED_BITS, ITEM_TOKEN. */
void items_install(struct items *it, struct item *reserved, enum cause cause, const struct state_order *order,
                   uint32_t extra_bits);

/* Mutator 2: remove whatever item the key has, visible or not. order NULL: a
 * new version is drawn for the removal. With `replicated`, a removal by
 * CAUSE_CLIENT leaves a tombstone even if nothing was held; CAUSE_PEER leaves
 * none; removals inside items (eviction, expiry, sweep) leave one if the state
 * was not settled. Returns whether a visible item was removed. */
bool items_remove(struct items *it, const struct key *key, enum cause cause, const struct state_order *order);

/* Mutator 3: change a linked item in place.
 *  AMEND_EXPIRY: new expiry; same version, touches + 1, touched bit (CAUSE_CLIENT);
 *                when touches would pass 255 on a replicated node, a new version
 *                instead. With order (CAUSE_PEER) touches and exptime as given.
 *  AMEND_VALUE:  overwrite the value, same length; a new version. The item must
 *                not be pinned (items_is_pinned) nor large.
 *  AMEND_MARKS:  set and clear marks (ITEM_STALE, ITEM_TOKEN); a new version if
 *                a shipped mark changes, silent otherwise.
 *  AMEND_STALE:  ITEM_STALE is set and ITEM_TOKEN cleared; always a new version. */
enum amend_what {
	AMEND_EXPIRY,
	AMEND_VALUE,
	AMEND_MARKS,
	AMEND_STALE
};
struct amendment {
	enum amend_what what;
	bool set_exptime;                /* AMEND_VALUE, AMEND_STALE: exptime counts */
	uint32_t exptime;                /* AMEND_EXPIRY */
	uint64_t version;                /* the same two: one that a client chose, 0 draws one */
	const uint8_t *value;            /* AMEND_VALUE, as long as the old one */
	uint32_t set_bits, clear_bits;   /* AMEND_MARKS */
	const struct state_order *order; /* CAUSE_PEER, else NULL */
};
void items_amend(struct items *it, struct item *i, const struct amendment *a, enum cause cause);

/* Mutator 4: merge a flush state into this node's (CAUSE_PEER), or issue a new
 * flush command: items_flush_command() draws a version, when_ms 0 or past = now.
 * States at or below the barrier vanish at once and are reclaimed in pieces. */
void items_flush(struct items *it, const struct flush_state *incoming, enum cause cause);
void items_flush_command(struct items *it, int64_t when_ms);
const struct flush_state *items_flush_state(const struct items *it);
/* Make a delayed flush take effect if its instant has come. Reads do so by
 * themselves; a caller that watches the change sequence does it beforehand. */
void items_fire_due(struct items *it);

/* ---- pins ----------------------------------------------------------------- */

/* A pinned item keeps its bytes where they are even after it was unlinked. Pins
 * nest. items_unpin frees an unlinked item with its last pin. */
bool items_pin(struct items *it, struct item *i); /* false: no memory */
void items_unpin(struct items *it, struct item *i);
bool items_is_pinned(const struct items *it, const struct item *i);

/* ---- states, for replication ---------------------------------------------- */

/* What the key holds, visible or not: item (expired ones too, never one below
 * the barrier) or tombstone; NULL = nothing held. */
const struct item *items_state(struct items *it, const struct key *key);

/* So many states will come from the peer, it says: an empty cache makes its index
 * ready for them, as far as that is no more than a small part of its memory. */
void items_expect(struct items *it, uint64_t count);

/* Own states above this version (and touched ones) are not settled: dropping
 * one leaves a tombstone. Tombstones with a stamp at or below it are freed;
 * touched bits set before it are cleared lazily. Never goes down except by
 * items_unsettle (a new peer). */
void items_settle(struct items *it, uint64_t acked_version);
void items_unsettle(struct items *it); /* settled = 0: nothing is known to be held by the peer */
uint64_t items_settled(const struct items *it);
bool items_is_unsettled(const struct items *it, const struct item *i);
/* Own touch that is (or may be) above version `cut`. */
bool items_touched_above(const struct items *it, const struct item *i, uint64_t cut);

/* A tombstone's stamp: the version at which it was left, which is at or above
 * its own version (an evicted state keeps its version; its stamp is at least
 * that, and the clock of the last own touch if it was touched). */
uint64_t item_tomb_stamp(const struct item *tomb);
/* Whether the removal this tombstone stands for was put on the present link
 * (set and cleared by replication; const_cast is in here, once). */
void items_tomb_set_sent(struct items *it, const struct item *tomb, bool sent);
bool item_tomb_sent(const struct item *tomb);
/* Called when a tombstone goes because the budget is full. */
void items_on_tomb_lost(struct items *it, void (*fn)(void *ctx, const struct item *tomb), void *ctx);
size_t items_tomb_count(const struct items *it);
size_t items_tomb_bytes(const struct items *it);

/* Walk: visit all states, items and tombstones of one hash range in one step,
 * in an order that growth of the index cannot make skip a state. Start with a
 * zeroed cursor; each call visits whole buckets until at least max_states were
 * visited or the end is reached (cursor->done). visit returns false to stop
 * after the bucket in progress. visit must not call a mutator. States at or
 * below the barrier and reserved items are not visited; expired ones are. */
struct items_cursor {
	uint64_t position;
	bool done;
};
typedef bool items_visit(void *ctx, const struct item *state);
size_t items_walk(struct items *it, struct items_cursor *cursor, size_t max_states, items_visit *visit,
                  void *ctx);

/* Confirmation marks of a sweeping walk (contract section 6). begin clears all
 * marks; clearing is lazy and bounded, items_sweep_ready() says when it is done
 * (items_tick works on it). */
void items_confirm_begin(struct items *it);
bool items_confirm_ready(const struct items *it);
void items_confirm(struct items *it, const struct item *i);
/* Remove up to max_states unconfirmed items with version <= upto, from cursor
 * on, with CAUSE_SWEEP; returns how many states were looked at. */
size_t items_sweep(struct items *it, struct items_cursor *cursor, uint64_t upto, size_t max_states);

/* ---- time ----------------------------------------------------------------- */

/* A bounded piece of housekeeping: expiry sweep, flush reclaim, delayed flush,
 * page moves, clearing of marks. Call once per turn when items_next_due_ms()
 * has passed. */
void items_tick(struct items *it);
/* Monotonic ms of the next housekeeping, INT64_MAX if none is due. */
int64_t items_next_due_ms(const struct items *it);

/* Passes look for expired items by themselves (the default), or only when
 * items_crawl() asks them to. Turned off, a crawl that runs ends. pause_us: between
 * pieces of a pass; flushed items are reclaimed without pauses. */
void items_set_sweep(struct items *it, bool automatic, uint32_t pause_us);
/* Look at the items of the classes that are set (by id), at most max of each, and
 * remove the dead ones; in pieces. False: such a thing is running already. */
bool items_crawl(struct items *it, const bool *classes, uint32_t max);

/* ---- pages ----------------------------------------------------------------- */

/* How pages move between classes by themselves. A class that has nothing to evict
 * and cannot grow always gets a page. */
enum items_automove {
	ITEMS_AUTOMOVE_SPARING, /* the default: items_move.c says when */
	ITEMS_AUTOMOVE_OFF,
	ITEMS_AUTOMOVE_EAGER    /* a page's worth of evictions is worth a page of an older class */
};
void items_set_automove(struct items *it, enum items_automove how);

enum items_reassign {
	ITEMS_REASSIGN_OK, /* it is being done, in pieces */
	ITEMS_REASSIGN_BUSY,
	ITEMS_REASSIGN_BAD_CLASS,
	ITEMS_REASSIGN_NO_SPARE,
	ITEMS_REASSIGN_SAME
};
/* Move a page from class src (-1 = any that has two or more, 0 = the pool) to
 * class dst (0 = the pool). */
enum items_reassign items_reassign(struct items *it, int src, int dst);

/* Another limit of memory. More takes effect at once; false: more than was
 * reserved. Less is brought about in pieces, by evicting if that is allowed. */
bool items_set_memory_limit(struct items *it, size_t bytes);

/* Called when a page has been taken from a class for another (0: the pool), or could
 * not be emptied. */
typedef void items_page_moved(void *ctx, int from_class, int to_class, bool done);
void items_on_page_moved(struct items *it, items_page_moved *fn, void *ctx);

/* ---- numbers: items_stats.h, and --------------------------------------------- */

/* Look at up to max items of a class, the newest of each queue first; visit returns
 * false to stop. */
void items_newest(const struct items *it, int class_id, size_t max, items_visit *visit, void *ctx);
uint64_t items_change_seq(const struct items *it);

/* Prefetch the index bucket, then the item, of a key that will be looked up. */
void items_prefetch(const struct items *it, uint64_t hash);
void items_prefetch_item(const struct items *it, uint64_t hash);

/* ---- checking ------------------------------------------------------------- */

/* Walk everything: index, queues, pages, counts, tombstones. Returns NULL when
 * consistent, else a static description of the first violation. Slow: tests. */
const char *items_check(struct items *it);

/* Test hook: fail the nth memory request from now on (0 = off). */
void items_fail_alloc_after(struct items *it, uint64_t n);

#endif
