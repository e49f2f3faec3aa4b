/*
 * clock.c - hybrid logical versions.
 *
 * Owns: the arithmetic of versions. A replicated version is drawn from the
 * wall clock as long as that moves on, and from "last + 1" when it stands
 * still, steps back, or a peer's clock is ahead; a counter that is full
 * carries into the milliseconds by itself because both are one number, to
 * which the origin is appended.
 *
 * Must not know: where time comes from.
 *
 * Invariants: [C1] and [C2] of clock.h.
 *
 * Covered by: t/test_clock.c.
 */
#include "compat.h"
#include "clock.h"

/* Bits below the milliseconds. */
#define MS_SHIFT (VERSION_COUNTER_BITS + VERSION_ORIGIN_BITS)
/* The last millisecond that a version can carry. */
#define MS_MAX ((INT64_C(1) << (63 - MS_SHIFT)) - 1)

void hlc_init(struct hlc *c, bool standalone, uint16_t origin)
{
	origin &= VERSION_ORIGIN_MAX;
	c->last = 0;
	c->origin = origin ? origin : 1;
	c->standalone = standalone;
}

uint64_t hlc_next(struct hlc *c, int64_t wall_ms)
{
	assert(c->standalone || (c->origin > 0 && c->origin <= VERSION_ORIGIN_MAX));
	uint64_t v = c->last + 1;
	if (!c->standalone) {
		uint64_t wall = version_of_wall_ms(wall_ms) >> VERSION_ORIGIN_BITS;
		uint64_t after = (c->last >> VERSION_ORIGIN_BITS) + 1;
		v = (wall > after ? wall : after) << VERSION_ORIGIN_BITS | c->origin;
	}
	assert(v > c->last && v <= VERSION_MAX); /* [C1] */
	c->last = v;
	return v;
}

void hlc_take(struct hlc *c, uint64_t v)
{
	assert(v <= VERSION_MAX);
	if (v > c->last)
		c->last = v;
}

uint64_t version_of_wall_ms(int64_t wall_ms)
{
	if (wall_ms <= VERSION_EPOCH_MS)
		return 0;
	int64_t ms = wall_ms - VERSION_EPOCH_MS;
	if (ms > MS_MAX)
		ms = MS_MAX;
	return (uint64_t)ms << MS_SHIFT;
}

int64_t version_wall_ms(uint64_t v)
{
	return (int64_t)(v >> MS_SHIFT) + VERSION_EPOCH_MS;
}
