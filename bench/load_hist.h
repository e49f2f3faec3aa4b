/*
 * load_hist.h - a histogram of times with three significant digits.
 *
 * Owns: log-linear buckets: exact below 2048 ns, above that 1024 buckets for
 * every doubling, so that a bucket is never wider than 0.1 % of what it holds.
 * The largest value is kept exactly. Values above 2^40 ns (18 minutes) are
 * counted in the last bucket.
 *
 * Must not know: what is being timed.
 */
#ifndef LOAD_HIST_H
#define LOAD_HIST_H

#include "compat.h"

#define HIST_SUB_BITS 10
#define HIST_EXPONENT_MAX 40
#define HIST_BUCKETS ((HIST_EXPONENT_MAX - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct hist {
	uint64_t count;
	uint64_t sum_ns;
	uint64_t max_ns;
	uint64_t bucket[HIST_BUCKETS];
};

static inline size_t hist_bucket(uint64_t ns)
{
	if (ns < 2u << HIST_SUB_BITS)
		return ns;
	if (ns >> HIST_EXPONENT_MAX)
		return HIST_BUCKETS - 1;
	unsigned shift = 63u - HIST_SUB_BITS - (unsigned)__builtin_clzll(ns);
	return ((size_t)shift << HIST_SUB_BITS) + (ns >> shift);
}
static inline void hist_add(struct hist *h, uint64_t ns)
{
	h->count++;
	h->sum_ns += ns;
	if (ns > h->max_ns)
		h->max_ns = ns;
	h->bucket[hist_bucket(ns)]++;
}
void hist_merge(struct hist *into, const struct hist *from);
/* The smallest value that at least this fraction of all values do not exceed;
 * the upper end of its bucket, but never more than the maximum. 0 if empty. */
uint64_t hist_quantile(const struct hist *h, double fraction);

#endif
