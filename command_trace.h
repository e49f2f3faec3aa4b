/*
 * command_trace.h - how handlers tell watchers, and the statistics of prefixes,
 * what single commands do.
 *
 * A handler asks command_is_traced() first: that is the one branch that all this
 * costs when nobody wants to know.
 *
 * Must not know: how lines are kept and sent.
 *
 * Layer 3. Covered by: t/test_session.c, t/watch.t, t/stats-sub.t.
 */
#ifndef COMMAND_TRACE_H
#define COMMAND_TRACE_H

#include "compat.h"
#include "engine.h"
#include "store.h"

static inline bool command_is_traced(const struct engine *e)
{
	return unlikely(e->traced != 0);
}

/* Who listens has changed. */
void command_trace_set(struct engine *e);

/* Statistics of prefixes: what a classic or binary command does with a key. */
enum prefix_use {
	PREFIX_GET,
	PREFIX_HIT, /* a get that found something */
	PREFIX_SET,
	PREFIX_DEL
};
void command_trace_prefix(struct engine *e, const struct key *key, enum prefix_use use);

/* To watchers. A key was read: item, or NULL and why. */
void command_trace_get(struct engine *e, const struct key *key, const struct item *item,
                       enum items_miss miss);
/* An item is about to be deleted. */
void command_trace_delete(struct engine *e, const struct key *key, const struct item *item,
                          const char *command);

/* Around a store; item is the reserved one. */
struct command_trace {
	uint8_t key_text[KEY_BYTES_MAX];
	struct key key;
	struct watch_item item;
	int64_t ttl_s;
};
void command_trace_store_begin(struct command_trace *t, struct engine *e, const struct key *key,
                               const struct item *item);
void command_trace_store_end(struct command_trace *t, struct engine *e, enum store_result result,
                             enum store_verb verb);
/* There was no room to receive the value. */
void command_trace_refused(struct engine *e, const struct key *key, size_t size, enum store_result result,
                           enum store_verb verb);

#endif
