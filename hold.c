/*
 * hold.c - replies that wait until the peer has what they speak of. See hold.h.
 *
 * Owns: the queue. Versions are drawn in the order in which commands run and
 * every hold waits equally long, so the queue is in order by itself [H1].
 *
 * Must not know: sessions, the link, sockets.
 *
 * Invariants: [H1] [H2] of hold.h. Covered by: t/test_hold.c.
 */
#include "compat.h"
#include "hold.h"

void hold_queue_init(struct hold_queue *q, int wait_ms)
{
	assert(wait_ms >= 0);
	*q = (struct hold_queue){.wait_ms = wait_ms};
	q->head.next = q->head.prev = &q->head;
}

static bool is_empty(const struct hold_queue *q)
{
	return q->head.next == &q->head;
}

bool hold_begin(struct hold_queue *q, struct hold *h, uint64_t from, uint64_t version, const struct now *now)
{
	assert(!hold_is_waiting(h) && from <= version);
	h->result = HOLD_NONE;
	if (q->wait_ms == 0 || !q->linked || version <= q->acked)
		return false;
	h->from = from;
	h->version = version;
	h->deadline_ms = now->mono_ms + q->wait_ms;
	assert(is_empty(q) || (q->head.prev->version <= version && q->head.prev->deadline_ms <= h->deadline_ms));
	h->prev = q->head.prev;
	h->next = &q->head;
	q->head.prev->next = h;
	q->head.prev = h;
	q->waiting++;
	return true;
}

static void take_out(struct hold_queue *q, struct hold *h)
{
	assert(q->waiting > 0);
	h->prev->next = h->next;
	h->next->prev = h->prev;
	h->next = h->prev = NULL;
	q->waiting--;
}

void hold_cancel(struct hold_queue *q, struct hold *h)
{
	if (hold_is_waiting(h))
		take_out(q, h);
}

static void release(struct hold_queue *q, struct hold *h, enum hold_result result)
{
	take_out(q, h);
	h->result = result;
	q->counts[result]++;
}

void hold_on_ack(struct hold_queue *q, uint64_t version, bool refused)
{
	if (version > q->acked)
		q->acked = version;
	if (refused && version > q->refused_upto)
		q->refused_upto = version;
	while (!is_empty(q) && q->head.next->version <= version) {
		/* An ACK before the last one may have spoken of its first changes. */
		bool of_this = q->refused_upto > q->head.next->from;
		release(q, q->head.next, of_this ? HOLD_REFUSED : HOLD_ACKED);
	}
}

void hold_on_link(struct hold_queue *q, bool up)
{
	q->linked = up;
	q->acked = q->refused_upto = 0; /* what another peer acknowledged says nothing of this one */
	while (!is_empty(q))
		release(q, q->head.next, HOLD_UNLINKED); /* [H2] */
}

void hold_expire(struct hold_queue *q, const struct now *now)
{
	while (!is_empty(q) && q->head.next->deadline_ms <= now->mono_ms)
		release(q, q->head.next, HOLD_TIMEOUT);
}

int64_t hold_next_due_ms(const struct hold_queue *q)
{
	return is_empty(q) ? INT64_MAX : q->head.next->deadline_ms;
}

void hold_stats(const struct hold_queue *q, const struct stats_sink *sink, const char *prefix)
{
	static const char *const names[HOLD_RESULT_COUNT] = {
	        [HOLD_ACKED] = "acked",
	        [HOLD_REFUSED] = "refused",
	        [HOLD_TIMEOUT] = "timeouts",
	        [HOLD_UNLINKED] = "unlinked",
	};
	char name[64];

	for (int i = HOLD_ACKED; i < HOLD_RESULT_COUNT; i++) {
		snprintf(name, sizeof(name), "%sack_%s", prefix, names[i]);
		stats_u64(sink, name, q->counts[i]);
	}
	snprintf(name, sizeof(name), "%sack_waiting", prefix);
	stats_u64(sink, name, q->waiting);
}
