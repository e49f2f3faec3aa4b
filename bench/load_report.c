/* load_report.c - results for people and for programs. */
#include "compat.h"
#include "load_report.h"

static double us(const struct hist *h, double fraction)
{
	return (double)hist_quantile(h, fraction) / 1000;
}

static uint64_t outcomes(const struct run_result *r, enum outcome what)
{
	uint64_t sum = 0;

	for (int k = 0; k < OP_KINDS; k++)
		sum += r->outcome[k][what];
	return sum;
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void print_row(const char *name, const struct hist *h, double seconds)
{
	printf("%-10s %12.0f %10.1f %10.1f %10.1f %10.1f %10.1f\n", name,
	       ratio((double)h->count, seconds), us(h, 0.5), us(h, 0.9), us(h, 0.99),
	       us(h, 0.999), (double)h->max_ns / 1000);
}

static void print_table(const struct run_result *r)
{
	unsigned kinds = 0;

	printf("%-10s %12s %10s %10s %10s %10s %10s\n", "", "requests/s", "p50 us", "p90 us",
	       "p99 us", "p99.9 us", "max us");
	for (int k = 0; k < OP_KINDS; k++) {
		if (!r->hist[k])
			continue;
		kinds++;
		print_row(op_names[k], r->hist[k], r->seconds);
	}
	if (kinds > 1)
		print_row("all", &r->all, r->seconds);
	if (r->keys > r->requests)
		printf("%.0f keys/s\n", ratio((double)r->keys, r->seconds));
	if (r->reads)
		printf("hit ratio %.4f\n", (double)r->hits / (double)r->reads);
	if (outcomes(r, OUT_LOST) + r->late)
		printf("%" PRIu64 " requests lost, %" PRIu64 " datagrams late\n",
		       outcomes(r, OUT_LOST), r->late);
	if (r->server.cpu_s >= 0)
		printf("server %.3f us/request, busy %.0f %%, kept waiting %.0f %%\n",
		       ratio(1e6 * r->server.cpu_s, (double)r->requests),
		       ratio(100 * r->server.cpu_s, r->seconds),
		       ratio(100 * r->server.wait_s, r->seconds));
	printf("this program %.3f us/request, busy %.0f %%\n",
	       ratio(1e6 * r->own_cpu_s, (double)r->requests),
	       ratio(100 * r->own_cpu_s, r->seconds));
}

void report_run(const char *label, const struct run_result *r, pid_t server_pid, bool quiet)
{
	double requests = (double)r->requests;

	if (!quiet)
		print_table(r);
	printf("result label=%s seconds=%.3f requests=%" PRIu64 " keys=%" PRIu64
	       " rps=%.0f kps=%.0f",
	       label, r->seconds, r->requests, r->keys, ratio(requests, r->seconds),
	       ratio((double)r->keys, r->seconds));
	printf(" p50_us=%.1f p90_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f mean_us=%.2f",
	       us(&r->all, 0.5), us(&r->all, 0.9), us(&r->all, 0.99), us(&r->all, 0.999),
	       (double)r->all.max_ns / 1000, ratio((double)r->all.sum_ns / 1000, requests));
	printf(" reads=%" PRIu64 " hits=%" PRIu64 " hit_ratio=%.5f not_found=%" PRIu64
	       " not_stored=%" PRIu64 " exists=%" PRIu64 " refused=%" PRIu64,
	       r->reads, r->hits, ratio((double)r->hits, (double)r->reads), outcomes(r, OUT_MISS),
	       outcomes(r, OUT_NOT_STORED), outcomes(r, OUT_EXISTS), outcomes(r, OUT_REFUSED));
	printf(" lost=%" PRIu64 " late=%" PRIu64, outcomes(r, OUT_LOST), r->late);
	printf(" server_cpu_s=%.3f server_wait_s=%.3f server_us_per_request=%.4f",
	       r->server.cpu_s, r->server.wait_s,
	       r->server.cpu_s < 0 ? -1 : ratio(1e6 * r->server.cpu_s, requests));
	printf(" own_cpu_s=%.3f server_rss=%" PRIu64 "\n", r->own_cpu_s,
	       server_rss_bytes(server_pid));
}

void report_fill(const char *label, const struct run_result *stores,
                 const struct run_result *reads, double mean_bytes, pid_t server_pid)
{
	printf("result label=%s stored=%" PRIu64 " refused=%" PRIu64 " held=%" PRIu64
	       " mean_bytes=%.1f user_bytes_held=%.0f store_rps=%.0f server_cpu_s=%.3f"
	       " server_rss=%" PRIu64 "\n",
	       label, stores->outcome[OP_SET][OUT_OK], stores->outcome[OP_SET][OUT_REFUSED],
	       reads->hits, mean_bytes, mean_bytes * (double)reads->hits,
	       ratio((double)stores->requests, stores->seconds), stores->server.cpu_s,
	       server_rss_bytes(server_pid));
}

void report_compare(const char *label, const struct compare_counts *c)
{
	printf("result label=%s keys=%" PRIu64 " equal=%" PRIu64 " differ=%" PRIu64
	       " cas_differ=%" PRIu64 " only_first=%" PRIu64 " only_second=%" PRIu64
	       " neither=%" PRIu64 "\n",
	       label, c->keys, c->both, c->differ, c->cas_differ, c->only_first, c->only_second,
	       c->neither);
}
