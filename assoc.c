/*
 * assoc.c - the hash index.
 *
 * Owns: buckets, overflow chains, splitting.
 *
 * Deleting moves the last handle of the chain into the gap, so chains never
 * have holes and are never longer than they must be. The reserved ranges are
 * sized for the worst case (every handle in one chain), hence inserting cannot
 * fail.
 *
 * Must not know: what a handle stands for.
 *
 * Invariants: [A1]..[A3] of assoc.h.
 *
 * Covered by: t/test_assoc.c.
 */
#include "compat.h"
#include "assoc.h"
#include "vmem.h"

#define BUCKETS_MIN 2 /* so small a table grows soon: tests */

bool assoc_init(struct assoc *a, uint64_t entries_expected, uint64_t entries_max,
                assoc_hashes *hashes, const void *ctx)
{
	uint64_t start = BUCKETS_MIN;
	while (start * ASSOC_LOAD_MAX < entries_expected && start < UINT64_C(1) << 32)
		start *= 2;
	uint64_t buckets_max = start + entries_max / ASSOC_LOAD_MAX + 1;
	uint64_t overflows_max = buckets_max + entries_max / ASSOC_SLOTS + 2;
	*a = (struct assoc){.mask = start - 1, .buckets_max = buckets_max, .overflow_fresh = 1,
	                    .hashes = hashes, .ctx = ctx};
	if (overflows_max > UINT32_MAX)
		return false;
	a->overflows_max = (uint32_t)overflows_max;
	a->buckets = vmem_reserve(buckets_max * sizeof(struct assoc_bucket));
	a->overflows = vmem_reserve(overflows_max * sizeof(struct assoc_bucket));
	if (!a->buckets || !a->overflows) {
		assoc_release(a);
		return false;
	}
	return true;
}

void assoc_release(struct assoc *a)
{
	vmem_release(a->buckets, a->buckets_max * sizeof(struct assoc_bucket));
	vmem_release(a->overflows, a->overflows_max * sizeof(struct assoc_bucket));
	a->buckets = a->overflows = NULL;
}

uint64_t assoc_bucket_count(const struct assoc *a)
{
	return a->mask + 1 + a->split;
}

uint64_t assoc_bytes(const struct assoc *a)
{
	return (assoc_bucket_count(a) + a->overflow_used) * sizeof(struct assoc_bucket);
}

#define HARDWARE_PAGE_BYTES 4096

uint64_t assoc_resident_bytes(const struct assoc *a)
{
	uint64_t bytes = (assoc_bucket_count(a) + a->overflow_fresh) * sizeof(struct assoc_bucket);
	return a->count_high < bytes / HARDWARE_PAGE_BYTES ? a->count_high * HARDWARE_PAGE_BYTES : bytes;
}

/* ---- overflow buckets -------------------------------------------------------- */

static uint32_t overflow_take(struct assoc *a)
{
	uint32_t n = a->overflow_pool;
	if (n) {
		a->overflow_pool = a->overflows[n].overflow;
		a->overflows[n].overflow = 0;
	} else {
		n = a->overflow_fresh++;
	}
	assert(n < a->overflows_max);
	a->overflow_used++;
	return n;
}

static void overflow_give(struct assoc *a, uint32_t n)
{
	struct assoc_bucket *b = &a->overflows[n];
	memset(b, 0, sizeof(*b));
	b->overflow = a->overflow_pool;
	a->overflow_pool = n;
	a->overflow_used--;
}

/* ---- slots ------------------------------------------------------------------- */

static int slots_used(const struct assoc_bucket *b)
{
	unsigned empty = assoc_match(b, 0);
	return empty ? __builtin_ctz(empty) : ASSOC_SLOTS;
}

/* Put a handle at the end of the chain that starts at b. */
static void chain_put(struct assoc *a, struct assoc_bucket *b, uint8_t tag, uint32_t handle)
{
	int slot;
	while ((slot = slots_used(b)) == ASSOC_SLOTS) {
		if (!b->overflow)
			b->overflow = overflow_take(a);
		b = &a->overflows[b->overflow];
	}
	b->tags[slot] = tag;
	b->handles[slot] = handle;
}

/* Where a handle is: the bucket, and its slot in *slot. */
static struct assoc_bucket *chain_find(const struct assoc *a, uint64_t hash, uint32_t handle,
                                       int *slot)
{
	uint8_t tag = assoc_tag(hash);
	for (struct assoc_bucket *b = assoc_bucket(a, hash); b; b = assoc_overflow(a, b)) {
		for (unsigned m = assoc_match(b, tag); m; m &= m - 1) {
			*slot = __builtin_ctz(m);
			if (b->handles[*slot] == handle)
				return b;
		}
	}
	return NULL;
}

/* Move the last handle of the chain into the gap; true when that emptied a bucket. */
static bool chain_close_gap(const struct assoc *a, struct assoc_bucket *gap, int slot)
{
	struct assoc_bucket *last = gap;
	while (last->overflow)
		last = &a->overflows[last->overflow];
	int end = slots_used(last) - 1;
	assert(end >= 0);
	gap->tags[slot] = last->tags[end];
	gap->handles[slot] = last->handles[end];
	last->tags[end] = 0;
	last->handles[end] = 0;
	return end == 0;
}

/* Give an empty overflow bucket at the end of a chain back. */
static void chain_trim(struct assoc *a, struct assoc_bucket *head)
{
	for (struct assoc_bucket *b = head; b->overflow; b = &a->overflows[b->overflow]) {
		if (slots_used(&a->overflows[b->overflow]) > 0)
			continue;
		overflow_give(a, b->overflow);
		b->overflow = 0;
		return;
	}
}

/* ---- growth ------------------------------------------------------------------ */

/* Deal the handles of one detached bucket out to the two halves. */
static void deal_out(struct assoc *a, const struct assoc_bucket *from, struct assoc_bucket *low,
                     struct assoc_bucket *high)
{
	uint64_t hashes[ASSOC_SLOTS];
	int used = slots_used(from);
	a->hashes(a->ctx, from->handles, used, hashes);
	for (int i = 0; i < used; i++) {
		bool up = hashes[i] & (a->mask + 1);
		chain_put(a, up ? high : low, from->tags[i], from->handles[i]);
	}
}

static void split_one(struct assoc *a)
{
	struct assoc_bucket *low = &a->buckets[a->split];
	struct assoc_bucket *high = &a->buckets[a->mask + 1 + a->split];
	struct assoc_bucket old = *low;
	memset(low, 0, sizeof(*low));
	deal_out(a, &old, low, high);
	for (uint32_t n = old.overflow; n;) {
		uint32_t next = a->overflows[n].overflow;
		deal_out(a, &a->overflows[n], low, high);
		overflow_give(a, n);
		n = next;
	}
	if (a->split++ == a->mask) {
		a->mask = a->mask << 1 | 1;
		a->split = 0;
	}
}

void assoc_expect(struct assoc *a, uint64_t entries)
{
	uint64_t wanted = entries / ASSOC_LOAD_MAX + 1;

	if (wanted > a->buckets_max)
		wanted = a->buckets_max;
	if (a->count > 0 || wanted <= assoc_bucket_count(a))
		return;
	while (a->mask + 1 <= wanted / 2)
		a->mask = a->mask << 1 | 1;
	a->split = wanted - (a->mask + 1);
}

/* ---- insert, delete, replace -------------------------------------------------- */

void assoc_insert(struct assoc *a, uint64_t hash, uint32_t handle)
{
	assert(handle != 0);
	chain_put(a, assoc_bucket(a, hash), assoc_tag(hash), handle);
	if (++a->count > a->count_high)
		a->count_high = a->count;
	if (a->count > assoc_bucket_count(a) * ASSOC_LOAD_MAX &&
	    assoc_bucket_count(a) < a->buckets_max)
		split_one(a);
}

void assoc_delete(struct assoc *a, uint64_t hash, uint32_t handle)
{
	int slot = 0;
	struct assoc_bucket *b = chain_find(a, hash, handle, &slot);
	assert(b);
	if (chain_close_gap(a, b, slot))
		chain_trim(a, assoc_bucket(a, hash));
	a->count--;
}

void assoc_replace(struct assoc *a, uint64_t hash, uint32_t handle, uint32_t by)
{
	int slot = 0;
	struct assoc_bucket *b = chain_find(a, hash, handle, &slot);
	assert(b && by != 0);
	b->handles[slot] = by;
}

/* ---- walking ----------------------------------------------------------------- */

static uint64_t reverse_bits(uint64_t v)
{
	v = (v >> 1 & UINT64_C(0x5555555555555555)) | (v & UINT64_C(0x5555555555555555)) << 1;
	v = (v >> 2 & UINT64_C(0x3333333333333333)) | (v & UINT64_C(0x3333333333333333)) << 2;
	v = (v >> 4 & UINT64_C(0x0f0f0f0f0f0f0f0f)) | (v & UINT64_C(0x0f0f0f0f0f0f0f0f)) << 4;
	return __builtin_bswap64(v);
}

struct assoc_bucket *assoc_walk_bucket(const struct assoc *a, uint64_t position)
{
	return assoc_bucket(a, reverse_bits(position));
}

bool assoc_walk_next(const struct assoc *a, uint64_t *position)
{
	uint64_t low = reverse_bits(*position) & a->mask;
	int depth = __builtin_popcountll(a->mask) + (low < a->split);
	assert(depth > 0 && depth < 64);
	uint64_t width = UINT64_C(1) << (64 - depth);
	*position = (*position & ~(width - 1)) + width;
	return *position != 0;
}

/* ---- checking ---------------------------------------------------------------- */

/* One bucket of the chain of primary bucket `index`; adds to *count. */
static const char *check_bucket(const struct assoc *a, const struct assoc_bucket *b,
                                uint64_t index, uint64_t *count)
{
	uint64_t hashes[ASSOC_SLOTS];
	int used = slots_used(b);
	for (int i = used; i < ASSOC_SLOTS; i++)
		if (b->tags[i] || b->handles[i])
			return "assoc: [A2] a hole in a bucket";
	if (used < ASSOC_SLOTS && b->overflow)
		return "assoc: [A2] room before the end of a chain";
	a->hashes(a->ctx, b->handles, used, hashes);
	for (int i = 0; i < used; i++) {
		if (assoc_bucket(a, hashes[i]) != &a->buckets[index])
			return "assoc: [A1] a handle in the wrong chain";
		if (b->handles[i] == 0 || b->tags[i] != assoc_tag(hashes[i]))
			return "assoc: [A1] a wrong tag";
	}
	*count += (uint64_t)used;
	return NULL;
}

const char *assoc_check(const struct assoc *a)
{
	uint64_t count = 0, overflows = 0;
	for (uint64_t i = 0; i < assoc_bucket_count(a); i++) {
		for (struct assoc_bucket *b = &a->buckets[i]; b; b = assoc_overflow(a, b)) {
			const char *wrong = check_bucket(a, b, i, &count);
			if (wrong)
				return wrong;
			if (b != &a->buckets[i] && (overflows++, slots_used(b) == 0))
				return "assoc: an empty overflow bucket in a chain";
		}
	}
	if (count != a->count)
		return "assoc: [A3] count";
	if (overflows != a->overflow_used)
		return "assoc: overflow buckets lost";
	return NULL;
}
