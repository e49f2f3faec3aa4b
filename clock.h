/*
 * clock.h - the current instant, and versions.
 *
 * Owns: struct now (one instant, read by the shell once per turn of the event
 * loop and handed down; nothing below the shell reads a clock) and the hybrid
 * logical clock that draws versions (= CAS uniques).
 *
 * Must not know: where time comes from, items, the link.
 *
 * A version is 63 bits: milliseconds since 2020-01-01 UTC (41) | counter (10)
 * | origin (12). Standalone, versions are 1, 2, 3, ... (struct hlc.standalone).
 *
 * Invariants
 *  [C1] hlc_next() returns a value greater than every version drawn or taken
 *       before, whatever the wall clock does.
 *  [C2] a replicated version's origin is never 0.
 *
 * Layer 0. Covered by: t/test_clock.c; replication contract section 2.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include "compat.h"

#define VERSION_ORIGIN_BITS 12
#define VERSION_COUNTER_BITS 10
#define VERSION_ORIGIN_MAX ((1u << VERSION_ORIGIN_BITS) - 1)
#define VERSION_MAX ((UINT64_C(1) << 63) - 1)
/* 2020-01-01T00:00:00Z in Unix milliseconds. */
#define VERSION_EPOCH_MS INT64_C(1577836800000)

/* One instant. mono_ms never goes back and drives deadlines; wall_ms is Unix
 * time, may step either way, and drives expiry and versions. */
struct now {
	int64_t mono_ms;
	int64_t wall_ms;
};

/* Unix seconds of the instant, 0 if before 1970. */
static inline uint32_t now_wall_s(const struct now *now)
{
	return now->wall_ms > 0 ? (uint32_t)(now->wall_ms / 1000) : 0;
}

/* Hybrid logical clock. */
struct hlc {
	uint64_t last;   /* greatest version drawn or taken */
	uint16_t origin; /* 1..VERSION_ORIGIN_MAX; unused standalone */
	bool standalone; /* versions are 1, 2, 3, ... */
};

/* Start a clock. origin is taken modulo its width; 0 becomes 1. */
void hlc_init(struct hlc *c, bool standalone, uint16_t origin);

/* Draw the next version: max(wall clock, last + 1), origin appended; a full
 * counter carries into the milliseconds. [C1] */
uint64_t hlc_next(struct hlc *c, int64_t wall_ms);

/* Move the clock so that what follows is newer than v. */
void hlc_take(struct hlc *c, uint64_t v);

/* The version field for an instant, counter and origin 0 (a lower bound of all
 * versions drawn at that millisecond); 0 for instants before the epoch. */
uint64_t version_of_wall_ms(int64_t wall_ms);

/* Unix milliseconds in a replicated version. */
int64_t version_wall_ms(uint64_t v);

#endif
