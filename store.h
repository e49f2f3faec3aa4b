/*
 * store.h - what memcached means by set, add, replace, append, prepend, cas,
 * incr, decr, touch, delete and flush_all.
 *
 * Owns: the meaning of the verbs, composed from the four mutators of items.h;
 * the resolution of an expiry as sent into Unix seconds; the number grammar of
 * incr and decr. Storing has two phases, because a value may take many turns
 * to arrive:
 *
 *     store_begin()  reserve      -> the caller fills write.item's value
 *     store_more()   memory for the next part of a large value, or store_refuse()
 *     store_commit() or store_abort()   end it, either way
 *
 * Must not know: protocols, sessions, statistics, replication. All its changes
 * are the client's (CAUSE_CLIENT).
 *
 * Invariants
 *  [T1] a write that fails changes nothing, except that what the key held is
 *       removed when `remove_on_failure` says so: a client that was told its
 *       set failed must not read the value before it
 *  [T2] a write that is already expired when it is committed is a removal
 *  [T3] an item's expiry is absolute; 0 is never, and STORE_EXPTIME_PAST is
 *       what "negative" becomes
 *
 * Layer 1. Covered by: t/test_store.c, t/test_shadow_cmd.c.
 */
#ifndef STORE_H
#define STORE_H

#include "compat.h"
#include "clock.h"
#include "items.h"

/* Above this an expiry as sent is an instant, not a duration (30 days). */
#define STORE_RELATIVE_S_MAX 2592000
/* An instant that has passed, whatever the clock says. */
#define STORE_EXPTIME_PAST 1

/* Borrowed pointers: made on the spot from whoever owns the parts. */
struct store {
	struct items *items;
	const struct now *now;
	bool cas; /* false: clients cannot compare (-C) */
};

enum store_result {
	STORE_OK,
	STORE_NOT_STORED, /* the verb's condition is not met */
	STORE_EXISTS,     /* changed since the CAS unique was read */
	STORE_NOT_FOUND,
	STORE_TOO_LARGE,
	STORE_NO_MEMORY,
	STORE_NON_NUMERIC
};

enum store_verb { STORE_SET, STORE_ADD, STORE_REPLACE, STORE_APPEND, STORE_PREPEND, STORE_CAS };

struct store_write {
	enum store_verb verb;
	struct key key;
	uint32_t flags;
	uint32_t exptime; /* resolved */
	uint64_t cas;     /* STORE_CAS; append and prepend: 0 is any */
	size_t value_len;
	bool remove_on_failure; /* [T1] */
	struct item *item;      /* out of store_begin(): reserved, to be filled */
	uint64_t version;       /* out of store_commit(): of what was stored, 0 if it was dead by then */
};

/* An expiry as sent, in Unix seconds: 0 never, negative and passed instants
 * STORE_EXPTIME_PAST. */
uint32_t store_exptime(const struct store *st, int64_t sent);

/* Reserve room for the value. STORE_OK, STORE_TOO_LARGE or STORE_NO_MEMORY
 * (then write->item is NULL and nothing is to be ended). */
enum store_result store_begin(const struct store *st, struct store_write *write);
/* Memory for more of the value than items_reserved_len() says there is for. False: there
 * is none, store_refuse() ends it. */
bool store_more(const struct store *st, struct store_write *write);
/* As if store_begin() had found no memory. */
void store_refuse(const struct store *st, struct store_write *write);
/* The value is complete. Consumes write->item whatever the result; only verb,
 * key, cas, remove_on_failure and item are looked at. */
enum store_result store_commit(const struct store *st, struct store_write *write);
/* The value will not come, or came broken. */
void store_abort(const struct store *st, struct store_write *write);

/* Whether the key's item has this CAS unique: STORE_OK, STORE_EXISTS (another
 * one) or STORE_NOT_FOUND. */
enum store_result store_compare(const struct store *st, const struct key *key, uint64_t cas);

enum store_result store_delete(const struct store *st, const struct key *key);

/* Set a new expiry. *out (may be NULL) is the item on STORE_OK; it is already
 * invisible if exptime has passed, but valid as items.h says. */
enum store_result store_touch(const struct store *st, const struct key *key, uint32_t exptime,
			      struct item **out, enum items_miss *miss);

enum store_direction { STORE_INCR, STORE_DECR };
/* *value is the new number on STORE_OK. Shorter numbers keep the old length,
 * padded with spaces, unless a reader still holds the old bytes. */
enum store_result store_delta(const struct store *st, const struct key *key, enum store_direction direction,
			      uint64_t delta, uint64_t *value);

/* Give a key that has no value this number, without client flags. */
enum store_result store_number(const struct store *st, const struct key *key, uint64_t value,
			       uint32_t exptime);

/* Make everything stored so far invisible at the instant `sent` (grammar of an
 * expiry as sent; 0 and negative: now). */
void store_flush(const struct store *st, int64_t sent);

#endif
