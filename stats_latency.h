/*
 * stats_latency.h - how long turns of the event loop take.
 *
 * Owns: a histogram of turns in powers of two of a microsecond, what the turns spent
 * their time on, and the longest of them. One thread serves everybody, so a long turn
 * is a wait for all.
 *
 * Must not know: the loop, clocks: it is told durations.
 *
 * Layer 3. Covered by: t/test_stats.c.
 */
#ifndef STATS_LATENCY_H
#define STATS_LATENCY_H

#include "compat.h"
#include "stats.h"

/* What a turn is at: X(ID, name) */
#define TURN_CAUSES(X)                                                              \
	X(OTHER, "other")   /* timers, signals, name lookups */                     \
	X(ACCEPT, "accept") /* new connections */                                   \
	X(CLIENT, "client") /* commands of clients, growth of the index with them */ \
	X(REST, "rest")     /* what clients had sent or asked for in earlier turns */ \
	X(SWEEP, "sweep")   /* expired and flushed items */                         \
	X(MOVE, "move")     /* pages */                                             \
	X(FREE, "free")     /* chunks of large items that were removed */           \
	X(TOMBS, "tombstones")                                                      \
	X(PEER, "peer")     /* the link: what comes and goes */                     \
	X(WALK, "walk")     /* a copy or catch-up for the peer */

enum turn_cause {
#define X(id, name) TURN_##id,
	TURN_CAUSES(X)
#undef X
		TURN_CAUSE_COUNT
};

/* Bucket 0 is less than a microsecond, bucket n from 2^(n-1) to 2^n - 1; the last
 * has everything above, too. */
#define LATENCY_BUCKETS 26

struct latency {
	uint64_t turns[LATENCY_BUCKETS];
	uint64_t spent_us[TURN_CAUSE_COUNT];
	uint64_t worst_us, worst_cause_us;
	enum turn_cause worst_cause; /* what it did longest */
	int64_t worst_wall_ms;       /* when it ended; 0 = no turn yet */
	uint64_t worst_cpu_us; /* of one turn, where that is counted (-o turn_cpu) */
	enum turn_cause worst_cpu_cause;
};

/* A turn has ended that took total_us, and of these spent_us[] for each cause. */
void latency_record(struct latency *l, uint64_t total_us, const uint64_t spent_us[TURN_CAUSE_COUNT],
                    int64_t wall_ms);
/* The same turn took cpu_us of the processor: what it waited for one is not in it. */
void latency_record_cpu(struct latency *l, uint64_t cpu_us, const uint64_t spent_us[TURN_CAUSE_COUNT]);
void latency_reset(struct latency *l);
void latency_stats(const struct latency *l, const struct stats_sink *sink);

#endif
