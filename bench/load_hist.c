/* load_hist.c - a histogram of times with three significant digits. */
#include "compat.h"
#include "load_hist.h"

void hist_merge(struct hist *into, const struct hist *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	if (from->max_ns > into->max_ns)
		into->max_ns = from->max_ns;
	for (size_t i = 0; i < HIST_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
}

/* The largest value that falls into bucket i; the reverse of hist_bucket(). */
static uint64_t bucket_end(size_t i)
{
	if (i < 2u << HIST_SUB_BITS)
		return i;
	uint64_t shift = (i >> HIST_SUB_BITS) - 1;
	uint64_t sub = i - (shift << HIST_SUB_BITS);
	return ((sub + 1) << shift) - 1;
}

uint64_t hist_quantile(const struct hist *h, double fraction)
{
	uint64_t wanted = (uint64_t)(fraction * (double)h->count);
	uint64_t seen = 0;

	if ((double)wanted < fraction * (double)h->count)
		wanted++;
	for (size_t i = 0; i < HIST_BUCKETS && h->count; i++) {
		seen += h->bucket[i];
		if (seen >= wanted && seen > 0)
			return bucket_end(i) < h->max_ns ? bucket_end(i) : h->max_ns;
	}
	return h->max_ns;
}
