/*
 * store.h - what memcached means by set, add, replace, append, prepend, cas,
 * incr, decr, touch, delete and flush_all, and by what the meta commands add:
 * stale values, keys made by a miss, CAS uniques that a client chooses.
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
 *  [T4] a client may choose the CAS unique of what it stores on a node of its
 *       own only, and then answers for its being unique
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
	bool compares;          /* append, prepend: cas counts even if it is 0 */
	bool stale_if_older;    /* STORE_CAS: with a cas below the item's, store a stale value */
	bool vivify;            /* append, prepend: store the value if the key has none, */
	uint32_t vivify_exptime; /* ... with this expiry */
	uint32_t marks;         /* ITEM_BINKEY or 0 */
	uint64_t new_version;   /* the CAS unique to give, 0: the next one [T4] */
	struct item *item;      /* out of store_begin(): reserved, to be filled */
	uint64_t version;       /* out of store_commit(): of what was stored, 0 if it was dead by then */
	struct item *stored;    /* out of store_commit(): the same item, or NULL */
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
/* The value is complete. Consumes write->item whatever the result; flags,
 * exptime and value_len are in it and not looked at again. */
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
struct store_delta {
	struct key key;
	enum store_direction direction;
	uint64_t delta;
	bool set_exptime;
	uint32_t exptime;     /* resolved */
	uint64_t new_version; /* [T4] */
	uint64_t value;       /* out: the new number */
	struct item *item;    /* out: what has it now, NULL if it is dead already */
};
/* The outs are filled in on STORE_OK. Shorter numbers keep the old length,
 * padded with spaces, unless a reader still holds the old bytes. */
enum store_result store_delta(const struct store *st, struct store_delta *d);

/* What a key without a value is to have. */
struct store_fresh {
	struct key key;
	uint32_t flags;
	uint32_t exptime;     /* resolved */
	uint32_t marks;       /* ITEM_BINKEY, ITEM_STALE, ITEM_TOKEN */
	uint64_t new_version; /* [T4] */
};
/* Give it the number, or no bytes at all. *out (may be NULL) is the item, NULL
 * if it is dead already. STORE_TOO_LARGE or STORE_NO_MEMORY if there is no room. */
enum store_result store_number(const struct store *st, const struct store_fresh *fresh, uint64_t value,
			       struct item **out);
enum store_result store_empty(const struct store *st, const struct store_fresh *fresh, struct item **out);

/* The item's value is no longer good: whoever reads it next may replace it.
 * exptime NULL: as it is. */
void store_invalidate(const struct store *st, struct item *item, const uint32_t *exptime,
		      uint64_t new_version);

/* Make everything stored so far invisible at the instant `sent` (grammar of an
 * expiry as sent; 0 and negative: now). */
void store_flush(const struct store *st, int64_t sent);

#endif
