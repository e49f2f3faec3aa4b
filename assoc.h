/*
 * assoc.h - the hash index: from a key's hash to 32-bit handles.
 *
 * Owns: buckets of one cache line each: 12 handles, a byte of hash (tag) for
 * each, and a link to an overflow bucket. Most lookups read one line here and
 * then the item.
 *
 * It grows by linear hashing: one bucket is split per few insertions, so there
 * is never a second table and never a pause. Buckets lie in a reserved range,
 * so growth copies nothing. With 2^L + split buckets, a hash's bucket is its
 * low L bits, or its low L + 1 bits when those low L bits are below split:
 *
 *      0 ... split-1 | split ... 2^L-1 | 2^L ... 2^L+split-1
 *      L+1 bits        L bits            L+1 bits
 *
 * Walking is in the order of the bit-reversed hash: a bucket that is known by
 * its low d bits covers one interval of length 2^(64-d) of that order, and
 * splitting it halves the interval. So a position between two buckets stays
 * one, however the table grows meanwhile, and a walk meets every key that
 * stays exactly once.
 *
 * Must not know: what a handle stands for. Splitting asks its owner for the
 * hashes of handles.
 *
 * Invariants (assoc_check)
 *  [A1] a handle is in the chain of its hash's bucket, with its hash's tag
 *  [A2] slots are filled from the front: only a chain's last bucket has room
 *  [A3] count = handles in all chains
 *
 * Layer 1. Covered by: t/test_assoc.c.
 */
#ifndef ASSOC_H
#define ASSOC_H

#include "compat.h"

#define ASSOC_SLOTS 12
/* A bucket is split when there are more handles than this per bucket. */
#define ASSOC_LOAD_MAX 8

struct assoc_bucket {
	uint8_t tags[ASSOC_SLOTS]; /* 0 = empty slot */
	uint32_t overflow;         /* number of an overflow bucket, 0 = none */
	uint32_t handles[ASSOC_SLOTS];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct assoc_bucket) == 64, "one cache line");

/* Fill hashes[i] with the hash of handles[i]. */
typedef void assoc_hashes(const void *ctx, const uint32_t *handles, int count, uint64_t *hashes);

struct assoc {
	struct assoc_bucket *buckets;
	struct assoc_bucket *overflows; /* number 0 is not used */
	uint64_t mask;                  /* 2^L - 1 */
	uint64_t split;                 /* the next bucket to split */
	uint64_t count, count_high;     /* handles held, and the most there ever were */
	uint64_t buckets_max;
	uint32_t overflows_max, overflow_fresh, overflow_pool, overflow_used;
	assoc_hashes *hashes;
	const void *ctx;
};

/* Room for entries_max handles whatever their hashes; starts with buckets for
 * entries_expected. False when address space cannot be reserved. */
bool assoc_init(struct assoc *a, uint64_t entries_expected, uint64_t entries_max,
                assoc_hashes *hashes, const void *ctx);
void assoc_release(struct assoc *a);

/* So many entries are about to come: an empty table gets the buckets for them at
 * once, which costs nothing, instead of by splitting. Otherwise nothing happens. */
void assoc_expect(struct assoc *a, uint64_t entries);

static inline uint8_t assoc_tag(uint64_t hash)
{
	uint8_t tag = (uint8_t)(hash >> 56);
	return tag ? tag : 1;
}

static inline struct assoc_bucket *assoc_bucket(const struct assoc *a, uint64_t hash)
{
	uint64_t index = hash & a->mask;
	if (index < a->split)
		index = hash & (a->mask << 1 | 1);
	return &a->buckets[index];
}

static inline struct assoc_bucket *assoc_overflow(const struct assoc *a,
                                                  const struct assoc_bucket *b)
{
	return b->overflow ? &a->overflows[b->overflow] : NULL;
}

/* The 0x80 bit of each byte of x that is zero, exactly. */
static inline uint64_t assoc_zero_bytes(uint64_t x)
{
	const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f);
	return ~(((x & low7) + low7) | x | low7);
}

/* Which slots of a bucket have the tag: bit i stands for slot i. */
static inline unsigned assoc_match(const struct assoc_bucket *b, uint8_t tag)
{
	const uint8_t *t = b->tags;
	uint64_t low = (uint64_t)t[0] | (uint64_t)t[1] << 8 | (uint64_t)t[2] << 16 |
	               (uint64_t)t[3] << 24 | (uint64_t)t[4] << 32 | (uint64_t)t[5] << 40 |
	               (uint64_t)t[6] << 48 | (uint64_t)t[7] << 56;
	uint64_t high = (uint32_t)t[8] | (uint32_t)t[9] << 8 | (uint32_t)t[10] << 16 |
	                (uint32_t)t[11] << 24;
	uint64_t want = tag * UINT64_C(0x0101010101010101);
	/* Gather bit 7 of each byte: byte i's lands in bit i of the top byte. */
	const uint64_t gather = UINT64_C(0x0002040810204081);
	uint64_t m0 = assoc_zero_bytes(low ^ want) * gather >> 56;
	uint64_t m1 = (assoc_zero_bytes(high ^ want) & 0x80808080) * gather >> 56;
	return (unsigned)(m0 | (m1 & 0x0f) << 8);
}

void assoc_insert(struct assoc *a, uint64_t hash, uint32_t handle);
/* handle must be there. */
void assoc_delete(struct assoc *a, uint64_t hash, uint32_t handle);
void assoc_replace(struct assoc *a, uint64_t hash, uint32_t handle, uint32_t by);

/* A walk: the bucket (head of a chain) at a position, and the next position;
 * false when that was the last bucket. Positions start at 0. */
struct assoc_bucket *assoc_walk_bucket(const struct assoc *a, uint64_t position);
bool assoc_walk_next(const struct assoc *a, uint64_t *position);

uint64_t assoc_bucket_count(const struct assoc *a);
/* Bytes of all buckets, and of those that can be resident. */
uint64_t assoc_bytes(const struct assoc *a);
uint64_t assoc_resident_bytes(const struct assoc *a);

/* NULL when consistent, else what is violated. Slow: tests. */
const char *assoc_check(const struct assoc *a);

#endif
