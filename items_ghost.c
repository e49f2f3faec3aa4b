/*
 * items_ghost.c - fingerprints of what left the small queues unread.
 *
 * Owns: a table of sets of 32 fingerprints, one cache line each. A set is a
 * queue by itself: a new fingerprint enters in front and pushes the oldest
 * out, so ages need no bookkeeping. Together the sets remember as many as there
 * are items in the cache, which is what S3-FIFO asks for: the number of sets is
 * a power of two that doubles in place when items grow (what sits in the wrong
 * half then just ages out), and of each set only so many places are used as
 * make up the number. It stays within GHOST_SHARE of the cache's memory.
 *
 * 2 bytes for a fingerprint: one lookup in two thousand finds a stranger's,
 * which then starts in main instead of small. No harm is done.
 *
 * Must not know: items.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"
#include "vmem.h"

#define GHOST_WAYS 32
#define GHOST_SETS_MIN 64
#define TRIM_BYTES (64 * 1024) /* given back at once */
#define GHOST_SHARE 32 /* at most one part in this many of the cache's memory */

struct ghost_set {
	uint16_t prints[GHOST_WAYS]; /* newest first; 0 = empty */
} __attribute__((aligned(64)));

static uint64_t sets_for(size_t memory_bytes)
{
	uint64_t sets = GHOST_SETS_MIN;
	while (sets * 2 * sizeof(struct ghost_set) <= memory_bytes / GHOST_SHARE)
		sets *= 2;
	return sets;
}

bool ghost_init(struct ghost *g, size_t memory_bytes_reserved)
{
	uint64_t max = sets_for(memory_bytes_reserved);
	*g = (struct ghost){.sets_max = max, .sets_limit = max};
	g->sets = vmem_reserve(max * sizeof(struct ghost_set));
	return g->sets != NULL;
}

void ghost_limit(struct ghost *g, size_t memory_bytes)
{
	uint64_t limit = sets_for(memory_bytes);
	g->sets_limit = limit < g->sets_max ? limit : g->sets_max;
	if (g->set_count > g->sets_limit)
		g->set_count = g->sets_limit;
}

/* Sets are a power of two, TRIM_BYTES a multiple of any hardware page's size. */
bool ghost_trim(struct ghost *g)
{
	uint64_t piece = TRIM_BYTES / sizeof(struct ghost_set);
	uint64_t keep = g->set_count > piece ? g->set_count : piece;
	if (g->sets_touched <= keep)
		return false;
	uint64_t gone = g->sets_touched - keep < piece ? g->sets_touched - keep : piece;
	g->sets_touched -= gone;
	vmem_discard(g->sets + g->sets_touched, gone * sizeof(struct ghost_set));
	return g->sets_touched > keep;
}

void ghost_release(struct ghost *g)
{
	vmem_release(g->sets, g->sets_max * sizeof(struct ghost_set));
	g->sets = NULL;
}

uint64_t ghost_bytes(const struct ghost *g)
{
	return g->sets_touched * sizeof(struct ghost_set);
}

/* The index takes other bits of the hash; stir, so that these are independent. */
static struct ghost_set *set_of(const struct ghost *g, uint64_t hash, uint16_t *print)
{
	uint64_t h = hash * UINT64_C(0x9fb21c651e98df25);
	*print = (uint16_t)(h >> 48);
	if (*print == 0)
		*print = 1;
	return &g->sets[(h >> 8) & (g->set_count - 1)];
}

void ghost_prefetch(const struct ghost *g, uint64_t hash)
{
	uint16_t print;
	if (g->set_count > 0)
		prefetch(set_of(g, hash, &print));
}

/* Where a print is, g->ways if nowhere. */
static unsigned place_in(const struct ghost *g, const struct ghost_set *set, uint16_t print)
{
	unsigned i = 0;
	while (i < g->ways && set->prints[i] != print)
		i++;
	return i;
}

/* Adapt the table to the number that is to be remembered. */
static void resize(struct ghost *g, uint64_t wanted)
{
	if (g->set_count == 0)
		g->set_count = GHOST_SETS_MIN;
	while (g->set_count * GHOST_WAYS < wanted && g->set_count * 2 <= g->sets_limit)
		g->set_count *= 2;
	if (g->sets_touched < g->set_count)
		g->sets_touched = g->set_count;
	uint64_t ways = (wanted + g->set_count - 1) / g->set_count;
	g->ways = ways < GHOST_WAYS ? (unsigned)ways : GHOST_WAYS;
	if (g->ways == 0)
		g->ways = 1;
}

void ghost_add(struct ghost *g, uint64_t hash, uint64_t wanted)
{
	uint16_t print;
	resize(g, wanted);
	struct ghost_set *set = set_of(g, hash, &print);
	memmove(&set->prints[1], &set->prints[0], (g->ways - 1) * sizeof(set->prints[0]));
	set->prints[0] = print;
}

bool ghost_take(struct ghost *g, uint64_t hash)
{
	uint16_t print;
	if (g->set_count == 0)
		return false;
	struct ghost_set *set = set_of(g, hash, &print);
	unsigned at = place_in(g, set, print);
	if (at == g->ways)
		return false;
	unsigned behind = g->ways - 1 - at;
	memmove(&set->prints[at], &set->prints[at + 1], behind * sizeof(set->prints[0]));
	set->prints[g->ways - 1] = 0;
	return true;
}
