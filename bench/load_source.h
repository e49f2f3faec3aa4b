/*
 * load_source.h - the requests of a phase.
 *
 * Owns: walking all keys in order (store, read), and the random mix with its
 * follow-ups: the cas after a gets, the set after a miss, the add of a counter
 * that was lost.
 *
 * Must not know: protocols, connections, time.
 */
#ifndef LOAD_SOURCE_H
#define LOAD_SOURCE_H

#include "compat.h"
#include "load_request.h"

#define EXPIRIES_MAX 16
#define MIX_SCALE 65536 /* weights are kept as parts of this */

struct weighted {
	int32_t value;
	uint32_t upto; /* cumulative weight */
};

struct workload {
	struct keyspace items;
	struct keyspace counters;
	struct weighted mix[OP_KINDS]; /* value: enum op_kind */
	unsigned mix_count;
	struct weighted expiry[EXPIRIES_MAX]; /* seconds */
	unsigned expiry_count;
	uint32_t expiry_divisor; /* at least 1 */
	struct zipf zipf;
	bool skewed;      /* use zipf; else all keys alike */
	bool fill_misses; /* set what a get did not find */
	unsigned width;
	struct rng rng;
};

/* "get:90,set:10": false when not understood. */
bool workload_parse_mix(struct workload *w, const char *text);
/* "60:0.9,3600:0.1" or "60". */
bool workload_parse_expiry(struct workload *w, const char *text);
bool workload_uses(const struct workload *w, enum op_kind kind);

/* Keys 0..count-1 in order. */
struct walk_source {
	struct source source;
	struct workload *workload;
	struct keyspace *space;
	enum op_kind kind;
	uint32_t next, count;
};
/* Store every key once (OP_SET), or read every key (OP_GET, OP_GETS). */
void walk_source_init(struct walk_source *s, struct workload *w, struct keyspace *space,
                      enum op_kind kind);

struct follow_up {
	enum op_kind kind;
	bool counter;
	uint32_t key;
	uint64_t cas;
};

struct mix_source {
	struct source source;
	struct workload *workload;
	struct follow_up *follow; /* a ring */
	unsigned follow_head, follow_count, follow_capacity;
};
void mix_source_init(struct mix_source *s, struct workload *w);
void mix_source_release(struct mix_source *s);

#endif
