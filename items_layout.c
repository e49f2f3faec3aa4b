/*
 * items_layout.c - where in an item its key, flags and value lie.
 *
 * Owns: the accessors of items.h, and finding a byte range of a large value in
 * its chain.
 *
 *   small:  header | flags? | key | value
 *   large:  header | flags? | value length, next | key | value ...
 *             next -> links | value ...
 *                     next -> links | value
 *
 * A large value is usually read from its beginning to its end in pieces as a
 * socket takes them. The last places of some readers are remembered, so that the
 * next piece is found without following the chain from its start. They are
 * forgotten when their item is freed or a chunk moves; they are only hints.
 *
 * Must not know: the index, the queues.
 *
 * Covered by: t/test_items.c.
 */
#include "compat.h"
#include "items_internal.h"

const uint8_t *item_key(const struct item *i)
{
	return (const uint8_t *)i + item_key_offset(i);
}

size_t item_value_len(const struct item *i)
{
	return item_is_large(i) ? item_large_head(i)->value_len : i->len_freq & ITEM_LEN_MASK;
}

uint32_t item_flags(const struct item *i)
{
	uint32_t flags = 0;
	if (i->bits & ITEM_FLAGS)
		memcpy(&flags, i + 1, sizeof(flags));
	return flags;
}

const uint8_t *item_value(const struct item *i)
{
	return item_is_large(i) ? NULL : item_key(i) + i->key_len;
}

size_t item_total_bytes(const struct item *i)
{
	return sizeof(*i) + item_flags_bytes(i) + i->key_len + item_value_len(i);
}

int items_class_of(const struct items *it, const struct item *i)
{
	return item_class(it, i);
}

uint32_t items_idle_s(const struct items *it, const struct item *i)
{
	uint32_t idle = (access_now(it) - (i->bits >> ITEM_LA_SHIFT)) & ITEM_LA_MASK;
	return idle < ITEM_IDLE_S_MAX ? idle : ITEM_IDLE_S_MAX;
}

/* ---- large values ------------------------------------------------------------- */

size_t large_head_bytes(const struct item *i)
{
	return LARGE_CHUNK_BYTES - item_key_offset(i) - i->key_len;
}

size_t large_chunks(size_t head_bytes, size_t value_len)
{
	assert(head_bytes < LARGE_CHUNK_BYTES);
	size_t first = LARGE_CHUNK_BYTES - head_bytes;
	size_t rest = value_len > first ? value_len - first : 0;
	return 1 + (rest + CHAIN_DATA_BYTES - 1) / CHAIN_DATA_BYTES;
}

uint32_t *chunk_next(void *chunk)
{
	struct chain *c = chunk;
	if ((c->bits & ITEM_KIND_MASK) == ITEM_KIND_CHAIN)
		return &c->next;
	return &item_large_head(chunk)->next;
}

/* The place nearest before offset, NULL if there is none. */
static struct read_place *find_place(const struct items *it, uint32_t item, size_t offset)
{
	struct read_place *best = NULL;
	for (size_t n = 0; n < ARRAY_LEN(it->places->at); n++) {
		struct read_place *p = &it->places->at[n];
		if (p->item == item && p->offset <= offset && (!best || p->offset > best->offset))
			best = p;
	}
	return best;
}

void items_forget_places(struct items *it, uint32_t item)
{
	for (size_t n = 0; n < ARRAY_LEN(it->places->at); n++)
		if (item == 0 || it->places->at[n].item == item)
			it->places->at[n] = (struct read_place){0};
}

/* The continuation chunk that holds the value's byte at offset, which lies
 * behind the first chunk; *start becomes the offset of the chunk's first byte. 0
 * when it has no memory yet. */
static uint32_t find_chunk(const struct items *it, const struct item *i, const struct read_place *p,
                           size_t offset, size_t *start)
{
	uint32_t chunk = p ? p->chunk : item_large_head(i)->next;
	*start = p ? p->offset : large_head_bytes(i);
	while (chunk && offset - *start >= CHAIN_DATA_BYTES) {
		chunk = ((struct chain *)slabs_ptr(&it->slabs, chunk))->next;
		*start += CHAIN_DATA_BYTES;
	}
	return chunk;
}

/* Pieces of a large value from offset on, which lies behind the first chunk. */
static int chain_iov(const struct items *it, const struct item *i, size_t offset,
                     struct iovec *iov, int iov_max)
{
	size_t value_len = item_value_len(i), start;
	uint32_t item = item_handle(it, i);
	struct read_place *place = find_place(it, item, offset);
	uint32_t chunk = find_chunk(it, i, place, offset, &start);
	struct read_place here = {item, chunk, start};
	int count = 0;
	assert(chunk || item_kind(i) == ITEM_KIND_RESERVED_LARGE);
	while (chunk && count < iov_max && offset < value_len) {
		struct chain *c = slabs_ptr(&it->slabs, chunk);
		size_t skip = offset - start, len = CHAIN_DATA_BYTES - skip;
		if (len > value_len - offset)
			len = value_len - offset;
		iov[count++] = (struct iovec){c->data + skip, len};
		offset += len;
		start += CHAIN_DATA_BYTES;
		chunk = c->next;
	}
	if (!place && offset < value_len) /* who gets all of it does not come back */
		place = &it->places->at[it->places->next++ % ARRAY_LEN(it->places->at)];
	if (place && here.chunk)
		*place = here;
	return count;
}

int items_value_iov(const struct items *it, const struct item *i, size_t offset, struct iovec *iov,
                    int iov_max)
{
	size_t value_len = item_value_len(i);
	uint8_t *value = (uint8_t *)(uintptr_t)item_key(i) + i->key_len;
	int count = 0;
	assert(offset <= value_len && !item_is_tomb(i));
	if (offset == value_len || iov_max <= 0)
		return 0;
	size_t first = item_is_large(i) ? large_head_bytes(i) : value_len;
	if (first > value_len)
		first = value_len;
	if (offset < first) {
		iov[count++] = (struct iovec){value + offset, first - offset};
		offset = first;
	}
	if (offset < value_len && count < iov_max)
		count += chain_iov(it, i, offset, iov + count, iov_max - count);
	return count;
}
