/*
 * buf.c - a byte queue with a ceiling.
 *
 * Owns: the block of memory behind a queue. Unread bytes always lie in one
 * piece. Room at the end is made by sliding the unread part down when at least
 * as much was already read (so that every byte is slid once on average), else
 * by doubling; only at the ceiling it slides whatever the cost.
 *
 * Must not know: what the bytes mean.
 *
 * Invariants: [B1] and [B2] of buf.h.
 *
 * Covered by: t/test_buf.c.
 */
#include "compat.h"
#include "buf.h"

#define BUF_BYTES_MIN 256 /* the first allocation */

static void buf_assert(const struct buf *b)
{
	assert(b->off <= b->end && b->end <= b->capacity && b->capacity <= b->cap_max); /* [B1] */
	(void)b;
}

void buf_init(struct buf *b, size_t cap_max)
{
	*b = (struct buf){.cap_max = cap_max};
}

void buf_release(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.cap_max = b->cap_max};
}

static void slide_down(struct buf *b)
{
	size_t len = buf_len(b);
	if (b->off > 0 && len > 0)
		memmove(b->data, b->data + b->off, len);
	b->off = 0;
	b->end = len;
}

/* A capacity of at least need, at most cap_max, found by doubling. */
static size_t grown_capacity(const struct buf *b, size_t need)
{
	size_t cap = b->capacity > BUF_BYTES_MIN ? b->capacity : BUF_BYTES_MIN;
	while (cap < need && cap <= b->cap_max / 2)
		cap *= 2;
	if (cap < need || cap > b->cap_max)
		cap = b->cap_max;
	return cap;
}

uint8_t *buf_reserve(struct buf *b, size_t len)
{
	size_t unread = buf_len(b);
	buf_assert(b);
	if (len > b->cap_max - unread)
		return NULL;
	if (b->data && b->capacity - b->end >= len)
		return b->data + b->end;
	bool fits = b->data && b->capacity - unread >= len;
	if (fits && (b->off >= unread || b->capacity == b->cap_max)) {
		slide_down(b);
		return b->data + b->end;
	}
	size_t cap = grown_capacity(b, unread + len);
	uint8_t *data = malloc(cap ? cap : 1);
	if (!data)
		return NULL;
	if (unread > 0)
		memcpy(data, buf_head(b), unread);
	free(b->data);
	*b = (struct buf){.data = data, .end = unread, .capacity = cap, .cap_max = b->cap_max};
	buf_assert(b);
	return data + unread;
}

void buf_commit(struct buf *b, size_t len)
{
	assert(len <= b->capacity - b->end);
	b->end += len;
}

bool buf_append(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return true;
	uint8_t *to = buf_reserve(b, len);
	if (!to)
		return false;
	memcpy(to, data, len);
	b->end += len;
	return true;
}

void buf_consume(struct buf *b, size_t len)
{
	assert(len <= buf_len(b));
	b->off += len;
	if (b->off == b->end)
		b->off = b->end = 0;
}

void buf_clear(struct buf *b)
{
	b->off = b->end = 0;
}

void buf_trim(struct buf *b)
{
	size_t unread = buf_len(b);
	if (unread == 0) {
		buf_release(b);
		return;
	}
	if (b->capacity <= BUF_BYTES_MIN || unread >= b->capacity / 4)
		return;
	size_t cap = unread > BUF_BYTES_MIN ? unread : BUF_BYTES_MIN;
	slide_down(b);
	uint8_t *data = realloc(b->data, cap);
	if (!data)
		return;
	b->data = data;
	b->capacity = cap;
	buf_assert(b);
}
