/*
 * tombs.h - the store of tombstones.
 *
 * Owns: the records of removals (states that say "deleted"), a table of slots
 * so that the hash index can hold them by a 32-bit handle beside items, the
 * order in which they were made, and their bytes against a budget.
 *
 * Must not know: the index, when a tombstone is needed, who is told when one
 * is lost. items_tombs.c decides all that.
 *
 * Invariants
 *  [T1] a record is in its slot and once in the queue
 *  [T2] bytes = the sum over all records, count = their number
 *
 * Layer 1. Covered by: t/test_tombs.c.
 */
#ifndef TOMBS_H
#define TOMBS_H

#include "compat.h"
#include "items.h"
#include "slabs.h"

struct tomb {
	uint64_t stamp;   /* the version at which it was left; >= item.version */
	uint32_t slot;
	bool sent;        /* was put on the present link */
	struct item item; /* kind ITEM_KIND_TOMB; queue links are slots; key follows */
};

struct tombs {
	struct tomb **slots; /* slot 0 is not used; an empty one holds the next free */
	uint32_t slots_max;
	uint32_t slot_fresh, slot_pool;
	uint32_t oldest, newest; /* the queue, by slot */
	size_t bytes_max, bytes, count;
};

/* False when address space cannot be reserved. */
bool tombs_init(struct tombs *t, size_t bytes_max);
void tombs_release(struct tombs *t);

/* What a record of this key length costs, malloc's overhead included. */
size_t tombs_cost(size_t key_len);

/* A new record, newest of all; NULL without memory. May pass the budget: the
 * caller then removes the oldest. */
struct tomb *tombs_add(struct tombs *t, const struct key *key, const struct state_order *order,
                       uint64_t stamp);
void tombs_remove(struct tombs *t, struct tomb *tomb);

/* Fill in a record that is in no table (one that could not be kept). tomb has
 * room for the key. */
void tombs_fill(struct tomb *tomb, const struct key *key, const struct state_order *order,
                uint64_t stamp);

static inline bool tombs_is_handle(uint32_t handle)
{
	return handle >= HANDLE_TOMB;
}
static inline uint32_t tombs_handle(const struct tomb *tomb)
{
	return HANDLE_TOMB + tomb->slot;
}
static inline struct tomb *tombs_get(const struct tombs *t, uint32_t handle)
{
	return t->slots[handle - HANDLE_TOMB];
}
static inline struct tomb *tombs_oldest(const struct tombs *t)
{
	return t->oldest ? t->slots[t->oldest] : NULL;
}
/* The record around an item of kind ITEM_KIND_TOMB. */
static inline const struct tomb *tombs_of_item(const struct item *i)
{
	return (const struct tomb *)(const void *)((const char *)i - offsetof(struct tomb, item));
}

const char *tombs_check(const struct tombs *t);

#endif
