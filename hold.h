/*
 * hold.h - replies that wait until the peer has what they speak of.
 *
 * Owns: the queue of holds (-o repl_ack, contract section 8): which version
 * each waits for, until when, and how its wait ended.
 *
 * A session whose commands changed something puts its reply on hold. The peer's
 * ACK of that version ends the wait, and so do an ACK that says `refused`, the
 * deadline, and the loss of the link. Whatever ends it, the reply then goes
 * out; only the counters tell which it was. Without a link there is no waiting.
 *
 * Must not know: sessions (they embed a struct hold), the link (node.c passes
 * on what replication reports), sockets.
 *
 * Invariants
 *  [H1] versions and deadlines do not fall along the queue: whoever came first
 *       is released first, and a release costs O(1)
 *  [H2] nothing is in the queue while there is no link
 *
 * Layer 3. Covered by: t/test_hold.c, t/test_session.c, t/ack.t, the simulator.
 */
#ifndef HOLD_H
#define HOLD_H

#include "compat.h"
#include "clock.h"
#include "stats.h"

enum hold_result {
	HOLD_NONE,    /* never waited, or still waits */
	HOLD_ACKED,   /* the peer has it */
	HOLD_REFUSED, /* the peer read it and did not take everything */
	HOLD_TIMEOUT, /* no answer within repl_ack */
	HOLD_UNLINKED, /* the link was lost meanwhile */
	HOLD_RESULT_COUNT
};

struct hold {
	struct hold *next, *prev; /* NULL while it does not wait */
	uint64_t from, version;   /* its changes are above `from`, up to version */
	int64_t deadline_ms;
	enum hold_result result;
};

struct hold_queue {
	struct hold head; /* oldest first */
	int wait_ms;      /* 0: acknowledgements are not waited for */
	bool linked;
	uint64_t acked;
	uint64_t refused_upto;    /* the newest ACK that said so */
	uint64_t counts[HOLD_RESULT_COUNT]; /* how waits ended */
	uint64_t waiting;
};

void hold_queue_init(struct hold_queue *q, int wait_ms);

static inline bool hold_is_waiting(const struct hold *h)
{
	return h->next != NULL;
}

/* Wait for the changes above `from` up to version; true if there is anything to wait
 * for. h is not waiting. */
bool hold_begin(struct hold_queue *q, struct hold *h, uint64_t from, uint64_t version, const struct now *now);
/* The session goes away. Harmless if it does not wait. */
void hold_cancel(struct hold_queue *q, struct hold *h);

/* The peer acknowledged everything up to version; refused: not all was taken. */
void hold_on_ack(struct hold_queue *q, uint64_t version, bool refused);
/* The link is up, or lost: then everything is released. */
void hold_on_link(struct hold_queue *q, bool up);
/* Release what has waited long enough. */
void hold_expire(struct hold_queue *q, const struct now *now);
int64_t hold_next_due_ms(const struct hold_queue *q); /* INT64_MAX: nothing waits */

/* Pairs prefix_ack_acked and so on. */
void hold_stats(const struct hold_queue *q, const struct stats_sink *sink, const char *prefix);

#endif
