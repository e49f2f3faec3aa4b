/*
 * buf.h - a byte queue with a ceiling.
 *
 * Owns: append at the end, consume at the front, growth by doubling up to a
 * cap that is fixed at init. Empty buffers hold no memory once buf_trim() was
 * called, so that an idle connection costs nothing.
 *
 * Must not know: what the bytes mean.
 *
 * Invariants
 *  [B1] off <= end <= capacity <= cap_max
 *  [B2] a failed append changes nothing
 *
 * Layer 0. Covered by: t/test_buf.c.
 */
#ifndef BUF_H
#define BUF_H

#include "compat.h"

struct buf {
	uint8_t *data;
	size_t off;      /* first unread byte */
	size_t end;      /* one past the last byte */
	size_t capacity; /* bytes allocated */
	size_t cap_max;  /* never allocate more than this */
};

void buf_init(struct buf *b, size_t cap_max);
void buf_release(struct buf *b);
static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->off;
}
static inline uint8_t *buf_head(const struct buf *b)
{
	return b->data + b->off;
}
/* Room for len more bytes at the end: a pointer to them, or NULL when over the
 * cap or out of memory (nothing changed). May move what is unread. Follow with
 * buf_commit(). */
uint8_t *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);
/* Copy len bytes to the end; false when over the cap or out of memory. */
bool buf_append(struct buf *b, const void *data, size_t len);
/* Drop len bytes from the front; len <= buf_len(). */
void buf_consume(struct buf *b, size_t len);
/* Drop everything, keep the memory. */
void buf_clear(struct buf *b);
/* Give memory back when empty, or when less than a quarter is in use. */
void buf_trim(struct buf *b);

#endif
