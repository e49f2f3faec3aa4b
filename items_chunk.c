/*
 * items_chunk.c - memory for items: reserve, release, free.
 *
 * Owns: the way to a chunk when its class has none left (a free page, what is
 * left of freed chains, an eviction in the class, a page of another class, in
 * this order), building the chain of a large item, and freeing it in pieces.
 *
 * A chain of a hundred thousand chunks is not freed in one go: what does not
 * fit into one piece is put on the trash list, which is worked off by the
 * housekeeping and by whoever needs a chunk. Trash counts as used memory until
 * then.
 *
 *   trash -> chunk -next-> chunk -next-> chunk
 *              | prev
 *            chunk -next-> chunk
 *
 * Must not know: the index, who goes next (items_queue.c), which class gives a
 * page (items_move.c).
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"

#define RESERVE_PIECE 64 /* chunks that a part of a large value gets */
#define FREE_PIECE 64    /* chunks of a chain freed at once */
#define TRASH_PIECE 256  /* chunks of trash freed by one who needs a chunk */
/* Evictions tried for one chunk. One is enough, unless what is evicted lies in
 * a page that is being given up: then that page's worth at worst. */
#define CHUNK_ROUNDS 4096
#define BORROW_SHARE 16 /* a free chunk that is borrowed is larger by so small a part */
#define GUEST_SHARE 2   /* guests stay guests until they would fill this part of a page */
#define GUEST_TIMES 4   /* a guest's chunk is at most so many times too large */

bool items_alloc_refused(struct items *it)
{
	return it->misc.fail_after > 0 && --it->misc.fail_after == 0;
}

void items_fail_alloc_after(struct items *it, uint64_t n)
{
	it->misc.fail_after = n;
}

/* ---- a chunk ------------------------------------------------------------------- */

bool items_grow_class(struct items *it, int id)
{
	if (!slabs_grow(&it->slabs, id))
		return false;
	uint32_t page = it->slabs.classes[id].partial;
	it->min_exptime[page] = EXPTIME_NONE;
	it->notes[page] = (struct page_note){.confirm_epoch = it->misc.confirm_epoch};
	return true;
}

/* An item's class is that of the page it lies in, so any larger chunk will do.
 * borrow_free: a free chunk of a class that is but a little larger, so that
 * rarely used sizes share pages. borrow_used: of the next classes, up to `times`
 * as large, that have pages; by evicting there if none is free. */
static void *borrow_free(struct items *it, int id)
{
	const struct slab_class *c = it->slabs.classes;
	if (id == it->slabs.large)
		return NULL;
	uint64_t most = c[id].chunk_bytes + c[id].chunk_bytes / BORROW_SHARE;
	for (int near = id + 1; near < it->slabs.large && c[near].chunk_bytes <= most; near++)
		if (c[near].partial)
			return slabs_alloc(&it->slabs, near);
	return NULL;
}

static void *borrow_used(struct items *it, int id, uint64_t times)
{
	const struct slab_class *c = it->slabs.classes;
	if (id == it->slabs.large)
		return NULL;
	uint64_t most = c[id].chunk_bytes * times;
	for (int far = id + 1; far < it->slabs.large && c[far].chunk_bytes <= most; far++)
		if (c[far].partial || (c[far].pages > 0 && items_evict_one(it, far))) {
			void *chunk = slabs_alloc(&it->slabs, far);
			if (chunk)
				return chunk;
		}
	return NULL;
}

/* A class without a page does not take one from others for each item that comes
 * along: until it could have filled a good part of one, its items are guests. */
static void *be_a_guest(struct items *it, int id)
{
	struct class_state *c = &it->classes[id];
	if (++c->guests >= it->slabs.classes[id].per_page / GUEST_SHARE) {
		c->guests = 0;
		return NULL;
	}
	return borrow_used(it, id, GUEST_TIMES);
}

static void *get_chunk_hard(struct items *it, int id)
{
	bool full = slabs_free_pages(&it->slabs) == 0;
	bool homeless = it->slabs.classes[id].pages == 0;
	void *chunk = full || homeless ? borrow_free(it, id) : NULL;
	if (!chunk && full && homeless)
		chunk = be_a_guest(it, id);
	for (int round = 0; !chunk && round < CHUNK_ROUNDS; round++) {
		bool more = items_grow_class(it, id) || items_empty_trash(it, TRASH_PIECE) > 0 ||
		            items_evict_one(it, id) || items_steal_page(it, id);
		chunk = slabs_alloc(&it->slabs, id);
		if (!more)
			break;
	}
	/* All pages are held: anything that is large enough will do. */
	return chunk ? chunk : borrow_used(it, id, SLAB_CHUNK_MAX);
}

static void *get_chunk(struct items *it, int id)
{
	if (unlikely(it->misc.fail_after > 0) && items_alloc_refused(it))
		return NULL;
	void *chunk = slabs_alloc(&it->slabs, id);
	return likely(chunk != NULL) ? chunk : get_chunk_hard(it, id);
}

/* ---- free ------------------------------------------------------------------------ */

static void throw_away(struct items *it, uint32_t chain)
{
	struct chain *c = slabs_ptr(&it->slabs, chain);
	c->bits = ITEM_KIND_CHAIN | CHAIN_TRASH;
	c->prev = it->misc.trash;
	it->misc.trash = chain;
}

/* Free up to max chunks of a chain; what is left of it. */
static uint32_t free_some(struct items *it, uint32_t chain, size_t max)
{
	while (chain && max-- > 0) {
		struct chain *c = slabs_ptr(&it->slabs, chain);
		chain = c->next;
		slabs_free(&it->slabs, c);
	}
	return chain;
}

size_t items_empty_trash(struct items *it, size_t max)
{
	size_t done = 0;
	while (it->misc.trash && done < max) {
		struct chain *c = slabs_ptr(&it->slabs, it->misc.trash);
		uint32_t next = c->next;
		assert(c->bits == (ITEM_KIND_CHAIN | CHAIN_TRASH));
		it->misc.trash = c->prev;
		slabs_free(&it->slabs, c);
		done++;
		if (next)
			throw_away(it, next);
	}
	return done;
}

static void free_item(struct items *it, struct item *i)
{
	if (item_is_large(i)) {
		items_forget_places(it, item_handle(it, i));
		uint32_t rest = free_some(it, item_large_head(i)->next, FREE_PIECE);
		if (rest)
			throw_away(it, rest);
	}
	slabs_free(&it->slabs, i);
}

void items_dispose(struct items *it, struct item *i)
{
	struct pin *pin = it->pins.count ? pins_find(&it->pins, item_handle(it, i)) : NULL;
	if (!pin) {
		free_item(it, i);
		return;
	}
	item_set_kind(i, item_is_large(i) ? ITEM_KIND_RESERVED_LARGE : ITEM_KIND_RESERVED);
	pin->orphan = true;
}

/* ---- reserve and release ------------------------------------------------------------ */

static size_t head_bytes(size_t key_len, uint32_t flags)
{
	return sizeof(struct item) + (flags ? sizeof(flags) : 0) + key_len;
}

static bool is_contiguous(const struct items *it, size_t bytes)
{
	return slabs_class_for(&it->slabs, bytes) != 0;
}

bool items_fits(const struct items *it, size_t key_len, size_t value_len, uint32_t flags)
{
	size_t head = head_bytes(key_len, flags);
	if (value_len > ITEM_BYTES_LIMIT || key_len > KEY_BYTES_MAX)
		return false;
	if (head + value_len > it->config.item_bytes_max)
		return false;
	if (is_contiguous(it, head + value_len))
		return true;
	uint64_t per_page = it->slabs.classes[it->slabs.large].per_page;
	size_t chunks = large_chunks(head + sizeof(struct large_head), value_len);
	return chunks <= per_page * it->limit.pages;
}

/* Fill in a chunk's header; value_len is 0 for a large item. */
static void write_head(struct item *i, const struct key *key, enum item_kind kind,
                       size_t value_len, uint32_t flags)
{
	assert(value_len <= ITEM_LEN_MASK);
	*i = (struct item){.bits = (uint32_t)kind | (flags ? ITEM_FLAGS : 0),
	                   .len_freq = (uint16_t)value_len,
	                   .key_len = (uint8_t)key->len};
	/* The hash is needed again at installing; the queue links are idle. */
	i->q_next = (uint32_t)key->hash;
	i->q_prev = (uint32_t)(key->hash >> 32);
	if (flags)
		memcpy(i + 1, &flags, sizeof(flags));
}

static struct item *reserve_small(struct items *it, const struct key *key, size_t value_len,
                                  uint32_t flags)
{
	int id = slabs_class_for(&it->slabs, head_bytes(key->len, flags) + value_len);
	struct item *i = get_chunk(it, id);
	if (i)
		write_head(i, key, ITEM_KIND_RESERVED, value_len, flags);
	return i;
}

/* Until it is installed a large item's version says how far its chain goes. */
static uint64_t chain_state(uint64_t chunks, uint32_t last)
{
	return chunks << 32 | last;
}
static uint32_t chain_last(const struct item *i)
{
	return (uint32_t)i->version;
}
static size_t chain_chunks(const struct item *i)
{
	return i->version >> 32;
}

/* Append chunks to a large item's chain, at most `most`. */
static bool extend_chain(struct items *it, struct item *i, size_t most)
{
	size_t wanted = large_chunks(item_key_offset(i) + i->key_len, item_value_len(i)) - 1;
	size_t count = wanted - chain_chunks(i);
	for (count = count < most ? count : most; count > 0; count--) {
		struct chain *c = get_chunk(it, it->slabs.large);
		if (!c)
			return false;
		uint32_t handle = slabs_handle(&it->slabs, c), last = chain_last(i);
		*c = (struct chain){.bits = ITEM_KIND_CHAIN, .prev = last};
		*chunk_next(slabs_ptr(&it->slabs, last)) = handle;
		i->version = chain_state(chain_chunks(i) + 1, handle);
	}
	return true;
}

size_t items_reserved_len(const struct items *it, const struct item *reserved)
{
	size_t value_len = item_value_len(reserved);
	(void)it;
	if (!item_is_large(reserved))
		return value_len;
	size_t len = large_head_bytes(reserved) + chain_chunks(reserved) * CHAIN_DATA_BYTES;
	return len < value_len ? len : value_len;
}

bool items_reserve_more(struct items *it, struct item *reserved)
{
	assert(item_kind(reserved) == ITEM_KIND_RESERVED_LARGE && !it->observer.in_emit);
	return extend_chain(it, reserved, RESERVE_PIECE);
}

/* With memory for at most `most` chunks behind the first. */
static struct item *reserve_large(struct items *it, const struct key *key, size_t value_len,
                                  uint32_t flags, size_t most)
{
	struct item *i = get_chunk(it, it->slabs.large);
	if (!i)
		return NULL;
	write_head(i, key, ITEM_KIND_RESERVED_LARGE, 0, flags);
	*item_large_head(i) = (struct large_head){.value_len = (uint32_t)value_len};
	/* Held from now on: making room for the chain must not touch it. */
	item_note(it, i)->held++;
	it->misc.held_large++;
	i->version = chain_state(0, item_handle(it, i));
	bool enough = extend_chain(it, i, most);
	item_note(it, i)->held--;
	it->misc.held_large--;
	if (!enough) {
		free_item(it, i);
		return NULL;
	}
	return i;
}

static struct item *reserve(struct items *it, const struct key *key, size_t value_len, uint32_t flags,
                            uint32_t exptime, size_t most, enum items_status *status)
{
	assert(!it->observer.in_emit && key->len > 0);
	if (!items_fits(it, key->len, value_len, flags)) {
		*status = ITEMS_TOO_LARGE;
		return NULL;
	}
	/* What installing will look at arrives while a chunk is found. */
	items_prefetch(it, key->hash);
	ghost_prefetch(&it->ghost, key->hash);
	bool small = is_contiguous(it, head_bytes(key->len, flags) + value_len);
	struct item *i = small ? reserve_small(it, key, value_len, flags)
	                       : reserve_large(it, key, value_len, flags, most);
	if (!i) {
		int id = slabs_class_for(&it->slabs, head_bytes(key->len, flags) + value_len);
		it->counters.out_of_memory++;
		it->classes[id ? id : it->slabs.large].info.out_of_memory++;
		*status = ITEMS_NO_MEMORY;
		return NULL;
	}
	i->exptime = exptime;
	memcpy((uint8_t *)i + item_key_offset(i), key->data, key->len);
	item_note(it, i)->held++;
	it->misc.held_large += item_is_large(i);
	*status = ITEMS_OK;
	return i;
}

struct item *items_reserve(struct items *it, const struct key *key, size_t value_len,
                           uint32_t flags, uint32_t exptime, enum items_status *status)
{
	return reserve(it, key, value_len, flags, exptime, SIZE_MAX, status);
}

struct item *items_reserve_part(struct items *it, const struct key *key, size_t value_len,
                                uint32_t flags, uint32_t exptime, enum items_status *status)
{
	return reserve(it, key, value_len, flags, exptime, RESERVE_PIECE, status);
}

void items_release(struct items *it, struct item *reserved)
{
	assert(item_kind(reserved) == ITEM_KIND_RESERVED ||
	       item_kind(reserved) == ITEM_KIND_RESERVED_LARGE);
	assert(item_note(it, reserved)->held > 0);
	item_note(it, reserved)->held--;
	it->misc.held_large -= item_is_large(reserved);
	items_dispose(it, reserved);
}
