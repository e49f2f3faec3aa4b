/*
 * stats_prefix.h - how often keys of each prefix are asked for (stats detail).
 *
 * Owns: a table of prefixes with their counters. A prefix is what stands before
 * the first delimiter in a key; keys without one are not counted.
 *
 * Must not know: commands, protocols, items.
 *
 * Invariants
 *  [X1] at most STATS_PREFIXES_MAX prefixes are kept; keys of others are not counted
 *  [X2] nothing is counted and nothing allocated while it is switched off
 *
 * Layer 3. Covered by: t/test_stats.c, t/test_command.c, t/stats-sub.t.
 */
#ifndef STATS_PREFIX_H
#define STATS_PREFIX_H

#include "compat.h"

#define STATS_PREFIXES_MAX 65536

struct stats_prefix {
	struct stats_prefix *next; /* in its slot */
	uint64_t hash;
	uint64_t get, hit, set, del;
	uint32_t len;
	uint8_t text[];
};

struct stats_prefixes {
	struct stats_prefix **slots; /* NULL: none yet */
	size_t slot_count;           /* a power of two */
	size_t count;
	uint64_t hash_seed;
	char delimiter;
	bool on;
};

/* hash_seed: so that nobody can make all prefixes fall into one slot. */
void stats_prefixes_init(struct stats_prefixes *p, char delimiter, uint64_t hash_seed);
/* Forget all prefixes. */
void stats_prefixes_clear(struct stats_prefixes *p);

/* The counters of a key's prefix. NULL: it has none, or there is no room [X1]. */
struct stats_prefix *stats_prefix_of(struct stats_prefixes *p, const void *key, size_t len);

/* All prefixes, in no order. fn returns false to stop. */
void stats_prefixes_each(const struct stats_prefixes *p,
                         bool (*fn)(void *ctx, const struct stats_prefix *prefix), void *ctx);

#endif
