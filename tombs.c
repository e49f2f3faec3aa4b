/*
 * tombs.c - the store of tombstones.
 *
 * Owns: one malloc'ed record per tombstone, and the slot table. The table is a
 * reserved range with room for as many of the smallest records as the budget
 * pays for, plus the one that may be over it, so it never grows by copying.
 *
 * Must not know: the index, when a tombstone is needed.
 *
 * Invariants: [T1], [T2] of tombs.h.
 *
 * Covered by: t/test_tombs.c.
 */
#include "compat.h"
#include "tombs.h"
#include "vmem.h"

/* malloc's: a word of its own, and sizes are multiples of two words. */
#define MALLOC_ALIGN (2 * sizeof(size_t))

static size_t slot_table_bytes(const struct tombs *t)
{
	return (size_t)t->slots_max * sizeof(struct tomb *);
}

size_t tombs_cost(size_t key_len)
{
	size_t bytes = offsetof(struct tomb, item) + sizeof(struct item) + key_len + sizeof(size_t);
	bytes = (bytes + MALLOC_ALIGN - 1) / MALLOC_ALIGN * MALLOC_ALIGN;
	return bytes + sizeof(struct tomb *); /* and its slot */
}

bool tombs_init(struct tombs *t, size_t bytes_max)
{
	uint64_t most = bytes_max / tombs_cost(0) + 3;
	if (most > UINT32_MAX - HANDLE_TOMB)
		most = UINT32_MAX - HANDLE_TOMB;
	*t = (struct tombs){.slots_max = (uint32_t)most, .slot_fresh = 1, .bytes_max = bytes_max};
	t->slots = vmem_reserve(slot_table_bytes(t));
	return t->slots != NULL;
}

void tombs_release(struct tombs *t)
{
	while (t->slots && t->oldest)
		tombs_remove(t, tombs_oldest(t));
	vmem_release(t->slots, slot_table_bytes(t));
	t->slots = NULL;
}

/* A free slot, 0 when there is none. An empty slot in the pool holds the number
 * of the next one in place of a pointer. */
static uint32_t slot_take(struct tombs *t)
{
	uint32_t slot = t->slot_pool;
	if (slot) {
		t->slot_pool = (uint32_t)(uintptr_t)t->slots[slot];
		return slot;
	}
	return t->slot_fresh < t->slots_max ? t->slot_fresh++ : 0;
}

static void slot_give(struct tombs *t, uint32_t slot)
{
	t->slots[slot] = (struct tomb *)(uintptr_t)t->slot_pool;
	t->slot_pool = slot;
}

void tombs_fill(struct tomb *tomb, const struct key *key, const struct state_order *order,
                uint64_t stamp)
{
	assert(key->len <= KEY_BYTES_MAX && stamp >= order->version);
	memset(tomb, 0, sizeof(*tomb));
	tomb->stamp = stamp;
	tomb->item.bits = ITEM_KIND_TOMB;
	tomb->item.version = order->version;
	tomb->item.touches = order->touches;
	tomb->item.exptime = order->exptime;
	tomb->item.key_len = (uint8_t)key->len;
	memcpy((uint8_t *)&tomb->item + sizeof(struct item), key->data, key->len);
}

struct tomb *tombs_add(struct tombs *t, const struct key *key, const struct state_order *order,
                       uint64_t stamp)
{
	uint32_t slot = slot_take(t);
	if (!slot)
		return NULL;
	/* At least the whole struct: its tail padding may lie behind the key. */
	size_t bytes = offsetof(struct tomb, item) + sizeof(struct item) + key->len;
	struct tomb *tomb = malloc(bytes > sizeof(*tomb) ? bytes : sizeof(*tomb));
	if (!tomb) {
		slot_give(t, slot);
		return NULL;
	}
	tombs_fill(tomb, key, order, stamp);
	tomb->slot = slot;
	tomb->item.q_prev = t->newest; /* q_prev = older, q_next = newer */
	if (t->newest)
		t->slots[t->newest]->item.q_next = slot;
	else
		t->oldest = slot;
	t->newest = slot;
	t->slots[slot] = tomb;
	t->bytes += tombs_cost(key->len);
	t->count++;
	return tomb;
}

void tombs_remove(struct tombs *t, struct tomb *tomb)
{
	uint32_t older = tomb->item.q_prev, newer = tomb->item.q_next;
	assert(t->slots[tomb->slot] == tomb); /* [T1] */
	if (older)
		t->slots[older]->item.q_next = newer;
	else
		t->oldest = newer;
	if (newer)
		t->slots[newer]->item.q_prev = older;
	else
		t->newest = older;
	t->bytes -= tombs_cost(tomb->item.key_len);
	t->count--;
	slot_give(t, tomb->slot);
	free(tomb);
}

const char *tombs_check(const struct tombs *t)
{
	size_t bytes = 0, count = 0;
	uint32_t older = 0;
	for (uint32_t slot = t->oldest; slot; slot = t->slots[slot]->item.q_next) {
		const struct tomb *tomb = t->slots[slot];
		if (tomb->slot != slot || tomb->item.q_prev != older || ++count > t->count)
			return "tombs: [T1] broken queue";
		if (item_kind(&tomb->item) != ITEM_KIND_TOMB || tomb->stamp < tomb->item.version)
			return "tombs: a record that is no tombstone";
		bytes += tombs_cost(tomb->item.key_len);
		older = slot;
	}
	if (older != t->newest || count != t->count || bytes != t->bytes)
		return "tombs: [T2] count or bytes";
	return NULL;
}
