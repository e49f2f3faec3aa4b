/*
 * load_dist.h - random numbers, sizes and popularity.
 *
 * Owns: a seeded generator; size distributions given as text (100,
 * uniform:10-1000, lognormal:100,1.0); Zipf-distributed ranks.
 *
 * Must not know: keys, servers, time.
 *
 * A size distribution is cut into QUANTILES equal parts once, at parse time,
 * so that drawing from it is one table access and, given the same hash, always
 * the same number: a key's value has the size that its number says, in every
 * run and against every server.
 */
#ifndef LOAD_DIST_H
#define LOAD_DIST_H

#include "compat.h"

/* splitmix64's output function: a bijection on 64 bits that mixes well. */
static inline uint64_t mix64(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

struct rng {
	uint64_t counter;
};
static inline uint64_t rng_next(struct rng *r)
{
	return mix64(r->counter++ * 0xd1342543de82ef95u);
}
/* Uniform in 0..bound-1; the bias is below bound / 2^32. */
static inline uint32_t rng_below(struct rng *r, uint32_t bound)
{
	return (uint32_t)((rng_next(r) >> 32) * bound >> 32);
}
/* Uniform in [0, 1). */
static inline double rng_unit(struct rng *r)
{
	return (double)(rng_next(r) >> 11) * 0x1p-53;
}

#define QUANTILES 4096

struct size_dist {
	uint32_t quantile[QUANTILES];
	uint32_t max;
	bool fixed; /* all are max: spare the table */
};
/* False when the text is not understood; sizes are clamped to lo..hi. */
bool size_dist_parse(struct size_dist *d, const char *text, uint32_t lo, uint32_t hi);
double size_dist_mean(const struct size_dist *d);
static inline uint32_t size_dist_pick(const struct size_dist *d, uint64_t hash)
{
	return d->fixed ? d->max : d->quantile[hash % QUANTILES];
}

/* Ranks 1..n with probability proportional to 1/rank^exponent, by rejection
 * inversion (Hoermann and Derflinger, 1996): exact, no tables, any n. */
struct zipf {
	double exponent;
	double h_first; /* integral up to 1.5, less the weight of rank 1 */
	double h_last;  /* integral up to n + 0.5 */
	double accept;
	uint32_t n;
};
/* exponent > 0, n > 0. */
void zipf_init(struct zipf *z, uint32_t n, double exponent);
uint32_t zipf_next(const struct zipf *z, struct rng *r);

#endif
