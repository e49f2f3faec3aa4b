/*
 * stats_latency.c - how long turns of the event loop take. See stats_latency.h.
 *
 * Owns: the buckets and their names.
 *
 * Must not know: the loop, clocks.
 *
 * Covered by: t/test_stats.c.
 */
#include "compat.h"
#include "stats_latency.h"

#define NAME_BYTES_MAX 64
#define MS_PER_S 1000

static const char *const names[TURN_CAUSE_COUNT] = {
#define X(id, name) [TURN_##id] = name,
	TURN_CAUSES(X)
#undef X
};

static unsigned bucket_of(uint64_t us)
{
	unsigned bits = us ? 64 - (unsigned)__builtin_clzll(us) : 0;

	return bits < LATENCY_BUCKETS ? bits : LATENCY_BUCKETS - 1;
}

static enum turn_cause longest(const uint64_t spent_us[TURN_CAUSE_COUNT])
{
	enum turn_cause cause = TURN_OTHER;

	for (int i = 0; i < TURN_CAUSE_COUNT; i++)
		if (spent_us[i] > spent_us[cause])
			cause = (enum turn_cause)i;
	return cause;
}

void latency_record(struct latency *l, uint64_t total_us, const uint64_t spent_us[TURN_CAUSE_COUNT],
                    int64_t wall_ms)
{
	l->turns[bucket_of(total_us)]++;
	for (int i = 0; i < TURN_CAUSE_COUNT; i++)
		l->spent_us[i] += spent_us[i];
	if (l->worst_wall_ms != 0 && total_us <= l->worst_us)
		return;
	l->worst_us = total_us;
	l->worst_wall_ms = wall_ms;
	l->worst_cause = longest(spent_us);
	l->worst_cause_us = spent_us[l->worst_cause];
}

void latency_record_cpu(struct latency *l, uint64_t cpu_us, const uint64_t spent_us[TURN_CAUSE_COUNT])
{
	if (cpu_us <= l->worst_cpu_us)
		return;
	l->worst_cpu_us = cpu_us;
	l->worst_cpu_cause = longest(spent_us);
}

void latency_reset(struct latency *l)
{
	*l = (struct latency){0};
}

static void print_buckets(const struct latency *l, const struct stats_sink *sink)
{
	char name[NAME_BYTES_MAX];
	int last = LATENCY_BUCKETS - 1;

	while (last > 0 && l->turns[last] == 0)
		last--;
	for (int i = 0; i <= last; i++) {
		uint64_t low = i ? UINT64_C(1) << (i - 1) : 0, high = (UINT64_C(1) << i) - 1;
		if (i == LATENCY_BUCKETS - 1)
			snprintf(name, sizeof(name), "turn_us:%" PRIu64 "-", low);
		else
			snprintf(name, sizeof(name), "turn_us:%" PRIu64 "-%" PRIu64, low, high);
		stats_u64(sink, name, l->turns[i]);
	}
}

void latency_stats(const struct latency *l, const struct stats_sink *sink)
{
	char name[NAME_BYTES_MAX];
	uint64_t turns = 0, busy_us = 0;

	for (int i = 0; i < LATENCY_BUCKETS; i++)
		turns += l->turns[i];
	for (int i = 0; i < TURN_CAUSE_COUNT; i++)
		busy_us += l->spent_us[i];
	stats_u64(sink, "turns", turns);
	stats_u64(sink, "busy_us", busy_us);
	print_buckets(l, sink);
	for (int i = 0; i < TURN_CAUSE_COUNT; i++) {
		snprintf(name, sizeof(name), "cause_us:%s", names[i]);
		stats_u64(sink, name, l->spent_us[i]);
	}
	stats_u64(sink, "worst_us", l->worst_us);
	stats_str(sink, "worst_cause", turns ? names[l->worst_cause] : "none");
	stats_u64(sink, "worst_cause_us", l->worst_cause_us);
	stats_i64(sink, "worst_time", l->worst_wall_ms / MS_PER_S);
	if (l->worst_cpu_us) {
		stats_u64(sink, "worst_cpu_us", l->worst_cpu_us);
		stats_str(sink, "worst_cpu_cause", names[l->worst_cpu_cause]);
	}
}
