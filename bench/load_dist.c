/* load_dist.c - random numbers, sizes and popularity. See load_dist.h. */
#include "compat.h"
#include "load_dist.h"

#include <math.h>

/* x such that a standard normal variable is below it with probability p.
 * Bisection: it runs QUANTILES times per program and needs no constants. */
static double normal_quantile(double p)
{
	double lo = -8.0;
	double hi = 8.0;

	for (int i = 0; i < 60; i++) {
		double mid = (lo + hi) / 2;
		if (0.5 * erfc(-mid / sqrt(2.0)) < p)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

static void fill_quantiles(struct size_dist *d, const double size[QUANTILES], uint32_t lo,
                           uint32_t hi)
{
	d->max = 0;
	for (int i = 0; i < QUANTILES; i++) {
		double v = size[i] < lo ? lo : size[i] > hi ? hi : size[i];
		d->quantile[i] = (uint32_t)(v + 0.5);
		if (d->quantile[i] > d->max)
			d->max = d->quantile[i];
	}
	d->fixed = d->quantile[0] == d->max;
}

bool size_dist_parse(struct size_dist *d, const char *text, uint32_t lo, uint32_t hi)
{
	double size[QUANTILES];
	double a = 0, b = 0;
	char kind = 0;
	int end = 0;

	if (sscanf(text, "uniform:%lf-%lf%n", &a, &b, &end) == 2 && !text[end] && a <= b)
		kind = 'u';
	else if (sscanf(text, "lognormal:%lf,%lf%n", &a, &b, &end) == 2 && !text[end] && b >= 0)
		kind = 'l';
	else if (sscanf(text, "%lf%n", &a, &end) == 1 && !text[end])
		kind = 'f';
	if (!kind || a < 0 || a > UINT32_MAX)
		return false;
	for (int i = 0; i < QUANTILES; i++) {
		double p = (i + 0.5) / QUANTILES;
		size[i] = a;
		if (kind == 'u')
			size[i] = a + p * (b - a);
		else if (kind == 'l')
			size[i] = a * exp(b * normal_quantile(p));
	}
	fill_quantiles(d, size, lo, hi);
	return true;
}

double size_dist_mean(const struct size_dist *d)
{
	double sum = 0;

	for (int i = 0; i < QUANTILES; i++)
		sum += d->quantile[i];
	return sum / QUANTILES;
}

/* Integral of 1/t^exponent from 1 to x; the logarithm when exponent is 1. */
static double zipf_integral(const struct zipf *z, double x)
{
	double q = 1 - z->exponent;
	double log_x = log(x);

	return fabs(q * log_x) < 1e-8 ? log_x : expm1(q * log_x) / q;
}

static double zipf_integral_inverse(const struct zipf *z, double y)
{
	double q = 1 - z->exponent;

	if (fabs(q * y) < 1e-8)
		return exp(y);
	/* Rounding may push the argument of log1p just below its pole. */
	double t = q * y < -1 ? -1 : q * y;
	return exp(log1p(t) / q);
}

void zipf_init(struct zipf *z, uint32_t n, double exponent)
{
	assert(n > 0 && exponent > 0);
	z->n = n;
	z->exponent = exponent;
	z->h_first = zipf_integral(z, 1.5) - 1;
	z->h_last = zipf_integral(z, n + 0.5);
	z->accept = 2 - zipf_integral_inverse(z, zipf_integral(z, 2.5) - pow(2, -exponent));
}

uint32_t zipf_next(const struct zipf *z, struct rng *r)
{
	for (;;) {
		double u = z->h_last + rng_unit(r) * (z->h_first - z->h_last);
		double x = zipf_integral_inverse(z, u);
		double k = floor(x + 0.5);
		if (k < 1)
			k = 1;
		else if (k > z->n)
			k = z->n;
		if (k - x <= z->accept ||
		    u >= zipf_integral(z, k + 0.5) - exp(-z->exponent * log(k)))
			return (uint32_t)k;
	}
}
