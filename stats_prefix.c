/*
 * stats_prefix.c - how often keys of each prefix are asked for. See
 * stats_prefix.h.
 *
 * Owns: a hash table with chains, which doubles when it holds as many prefixes as
 * slots.
 *
 * Must not know: commands, protocols, items.
 *
 * Invariants: [X1] [X2] of stats_prefix.h. Covered by: t/test_stats.c.
 */
#include "compat.h"
#include "stats_prefix.h"
#include "util.h"

#define SLOTS_FIRST 64

void stats_prefixes_init(struct stats_prefixes *p, char delimiter, uint64_t hash_seed)
{
	*p = (struct stats_prefixes){.delimiter = delimiter, .hash_seed = hash_seed};
}

void stats_prefixes_clear(struct stats_prefixes *p)
{
	for (size_t i = 0; i < p->slot_count; i++) {
		while (p->slots[i]) {
			struct stats_prefix *gone = p->slots[i];
			p->slots[i] = gone->next;
			free(gone);
		}
	}
	free(p->slots);
	p->slots = NULL;
	p->slot_count = p->count = 0;
}

static struct stats_prefix **slot_of(const struct stats_prefixes *p, uint64_t hash)
{
	return &p->slots[hash & (p->slot_count - 1)];
}

/* Without memory the table stays as it is. */
static void grow(struct stats_prefixes *p)
{
	struct stats_prefixes old = *p;
	size_t slot_count = old.slot_count ? 2 * old.slot_count : SLOTS_FIRST;
	struct stats_prefix **slots = calloc(slot_count, sizeof(*slots));

	if (!slots)
		return;
	p->slots = slots;
	p->slot_count = slot_count;
	for (size_t i = 0; i < old.slot_count; i++) {
		while (old.slots[i]) {
			struct stats_prefix *moved = old.slots[i];
			struct stats_prefix **slot = slot_of(p, moved->hash);
			old.slots[i] = moved->next;
			moved->next = *slot;
			*slot = moved;
		}
	}
	free(old.slots);
}

static struct stats_prefix *add(struct stats_prefixes *p, const void *text, size_t len, uint64_t hash)
{
	if (p->count == STATS_PREFIXES_MAX) /* [X1] */
		return NULL;
	if (p->count >= p->slot_count)
		grow(p);
	struct stats_prefix *added = p->slots ? malloc(sizeof(*added) + len) : NULL;
	if (!added)
		return NULL;
	struct stats_prefix **slot = slot_of(p, hash);
	*added = (struct stats_prefix){.next = *slot, .hash = hash, .len = (uint32_t)len};
	memcpy(added->text, text, len);
	*slot = added;
	p->count++;
	return added;
}

struct stats_prefix *stats_prefix_of(struct stats_prefixes *p, const void *key, size_t len)
{
	const uint8_t *end = len ? memchr(key, p->delimiter, len) : NULL;

	assert(p->on); /* [X2] */
	if (!end)
		return NULL;
	len = (size_t)(end - (const uint8_t *)key);
	uint64_t hash = hash_key(key, len, p->hash_seed);
	for (struct stats_prefix *x = p->slots ? *slot_of(p, hash) : NULL; x; x = x->next)
		if (x->hash == hash && x->len == len && memcmp(x->text, key, len) == 0)
			return x;
	return add(p, key, len, hash);
}

void stats_prefixes_each(const struct stats_prefixes *p,
			 bool (*fn)(void *ctx, const struct stats_prefix *prefix), void *ctx)
{
	for (size_t i = 0; i < p->slot_count; i++)
		for (const struct stats_prefix *x = p->slots[i]; x; x = x->next)
			if (!fn(ctx, x))
				return;
}
