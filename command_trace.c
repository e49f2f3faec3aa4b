/*
 * command_trace.c - what single commands tell watchers and the statistics of
 * prefixes. See command_trace.h.
 *
 * Owns: engine.traced, which says whether anybody wants to hear of single commands
 * at all; what of a command is told.
 *
 * Must not know: how lines are kept and sent.
 *
 * Invariants
 *  [V1] engine.traced has the bits of watch->kinds, and TRACE_PREFIXES if prefixes
 *       are counted; handlers look at nothing else before they tell
 *
 * Covered by: t/test_session.c, t/test_command.c, t/watch.t.
 */
#include "compat.h"
#include "command_trace.h"

void command_trace_set(struct engine *e) /* [V1] */
{
	e->traced = e->watch->kinds | (e->prefixes->on ? TRACE_PREFIXES : 0);
}

static struct watch_item told_item(const struct engine *e, const struct key *key, const struct item *item)
{
	return (struct watch_item){
		.key = key,
		.class_id = item ? items_class_of(e->items, item) : 0,
		.size = item ? item_value_len(item) : 0,
		.conn = e->conn_id,
	};
}

void command_trace_get(struct engine *e, const struct key *key, const struct item *item, enum items_miss miss)
{
	static const char *const misses[] = {
		[ITEMS_MISS_ABSENT] = "not_found",
		[ITEMS_MISS_EXPIRED] = "expired",
		[ITEMS_MISS_FLUSHED] = "flushed",
	};
	struct watch_item told = told_item(e, key, item);

	if (watch_wants(e->watch, WATCH_FETCHERS))
		watch_item_get(e->watch, &told, item ? "found" : misses[miss]);
}

void command_trace_delete(struct engine *e, const struct key *key, const struct item *item,
			  const char *command)
{
	struct watch_item told = told_item(e, key, item);

	if (watch_wants(e->watch, WATCH_DELETIONS))
		watch_deleted(e->watch, &told, command);
}

void command_trace_prefix(struct engine *e, const struct key *key, enum prefix_use use)
{
	struct stats_prefix *prefix =
		e->traced & TRACE_PREFIXES ? stats_prefix_of(e->prefixes, key->data, key->len) : NULL;

	if (!prefix)
		return;
	prefix->get += use == PREFIX_GET || use == PREFIX_HIT;
	prefix->hit += use == PREFIX_HIT;
	prefix->set += use == PREFIX_SET;
	prefix->del += use == PREFIX_DEL;
}

static const char *status_name(enum store_result result)
{
	switch (result) {
	case STORE_OK:
		return "stored";
	case STORE_EXISTS:
		return "exists";
	case STORE_NOT_FOUND:
		return "not_found";
	case STORE_TOO_LARGE:
		return "too_large";
	case STORE_NO_MEMORY:
		return "no_memory";
	case STORE_NOT_STORED:
	case STORE_NON_NUMERIC:
		break;
	}
	return "not_stored";
}

static const char *verb_name(enum store_verb verb)
{
	static const char *const names[] = {
		[STORE_SET] = "set",       [STORE_ADD] = "add",         [STORE_REPLACE] = "replace",
		[STORE_APPEND] = "append", [STORE_PREPEND] = "prepend", [STORE_CAS] = "cas",
	};

	return names[verb];
}

/* 0: never expires; -1: has expired. */
static int64_t ttl_of(const struct engine *e, const struct item *item)
{
	int64_t now_s = now_wall_s(e->now);

	if (item->exptime == 0)
		return 0;
	return item->exptime > now_s ? item->exptime - now_s : -1;
}

/* Before a value is stored; what is stored may be gone afterwards. */
void command_trace_store_begin(struct command_trace *t, struct engine *e, const struct key *key,
			       const struct item *item)
{
	enum items_miss miss = ITEMS_MISS_ABSENT;

	memcpy(t->key_text, key->data, key->len);
	t->key = (struct key){t->key_text, key->len, key->hash};
	t->item = told_item(e, &t->key, item);
	t->ttl_s = ttl_of(e, item);
	if (watch_wants(e->watch, WATCH_FETCHERS)) /* storing looks the key up */
		command_trace_get(e, key, items_find(e->items, key, ITEMS_PEEK, &miss), miss);
}

void command_trace_store_end(struct command_trace *t, struct engine *e, enum store_result result,
			     enum store_verb verb)
{
	if (watch_wants(e->watch, WATCH_MUTATIONS))
		watch_item_store(e->watch, &t->item, status_name(result), verb_name(verb), t->ttl_s);
}

void command_trace_refused(struct engine *e, const struct key *key, size_t size, enum store_result result,
			   enum store_verb verb)
{
	struct watch_item told = {.key = key, .size = size, .conn = e->conn_id};

	if (watch_wants(e->watch, WATCH_MUTATIONS))
		watch_item_store(e->watch, &told, status_name(result), verb_name(verb), 0);
}
