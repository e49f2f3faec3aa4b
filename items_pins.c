/*
 * items_pins.c - what must stay where it is.
 *
 * Owns: a small open-addressed table of pinned items (few are pinned at any
 * time: replies that did not fit the socket), so that items need no reference
 * count. A page that holds a pinned or reserved item is known by its note's
 * `held` count and is left alone by the mover.
 *
 * An item that is unlinked while pinned becomes an orphan: kind RESERVED, in
 * no queue, not in the index; its last unpin frees it.
 *
 * Must not know: who pins, or why.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"

#define PINS_START 64 /* a power of two */

bool pins_init(struct pins *p)
{
	*p = (struct pins){.mask = PINS_START - 1};
	p->table = calloc(PINS_START, sizeof(*p->table));
	return p->table != NULL;
}

void pins_release(struct pins *p)
{
	free(p->table);
	p->table = NULL;
}

static uint32_t first_place(const struct pins *p, uint32_t handle)
{
	return (handle * UINT32_C(0x9e3779b1) >> 8) & p->mask;
}

/* Where handle is or would be put. */
static struct pin *place(const struct pins *p, uint32_t handle)
{
	uint32_t at = first_place(p, handle);
	while (p->table[at].handle && p->table[at].handle != handle)
		at = (at + 1) & p->mask;
	return &p->table[at];
}

struct pin *pins_find(const struct pins *p, uint32_t handle)
{
	struct pin *pin = place(p, handle);
	return pin->handle ? pin : NULL;
}

static bool pins_grow(struct pins *p)
{
	struct pins bigger = {.mask = p->mask << 1 | 1, .count = p->count};
	bigger.table = calloc((size_t)bigger.mask + 1, sizeof(*bigger.table));
	if (!bigger.table)
		return false;
	for (uint32_t at = 0; at <= p->mask; at++)
		if (p->table[at].handle)
			*place(&bigger, p->table[at].handle) = p->table[at];
	free(p->table);
	*p = bigger;
	return true;
}

/* Close the gap that removing leaves: whatever follows and may not be found
 * past an empty place moves up. */
static void pins_remove(struct pins *p, struct pin *pin)
{
	uint32_t gap = (uint32_t)(pin - p->table);
	for (uint32_t at = (gap + 1) & p->mask; p->table[at].handle; at = (at + 1) & p->mask) {
		uint32_t first = first_place(p, p->table[at].handle);
		if (((at - first) & p->mask) < ((at - gap) & p->mask))
			continue;
		p->table[gap] = p->table[at];
		gap = at;
	}
	p->table[gap] = (struct pin){0};
	p->count--;
}

bool items_pin(struct items *it, struct item *i)
{
	uint32_t handle = item_handle(it, i);
	struct pin *pin = pins_find(&it->pins, handle);
	if (pin) {
		pin->count++;
		return true;
	}
	if (items_alloc_refused(it))
		return false;
	if (it->pins.count * 2 > it->pins.mask && !pins_grow(&it->pins))
		return false;
	*place(&it->pins, handle) = (struct pin){.handle = handle, .count = 1};
	it->pins.count++;
	item_note(it, i)->held++;
	it->misc.held_large += item_is_large(i);
	return true;
}

void items_unpin(struct items *it, struct item *i)
{
	struct pin *pin = pins_find(&it->pins, item_handle(it, i));
	assert(pin && pin->count > 0);
	if (--pin->count > 0)
		return;
	bool orphan = pin->orphan;
	assert(item_note(it, i)->held > 0);
	pins_remove(&it->pins, pin);
	item_note(it, i)->held--;
	it->misc.held_large -= item_is_large(i);
	if (orphan)
		items_dispose(it, i);
}

bool items_is_pinned(const struct items *it, const struct item *i)
{
	return it->pins.count > 0 && item_note(it, i)->held > 0 &&
	       pins_find(&it->pins, item_handle(it, i)) != NULL;
}
