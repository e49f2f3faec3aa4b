/*
 * output.h - reply bytes that wait to be sent.
 *
 * Owns: one queue of bytes, made of copied bytes and of values that lie in
 * their items and are pinned until they were sent. The node has one such queue
 * that all sessions write to in turn; a session has its own for what could not
 * be sent at once. An empty queue of a session holds no memory.
 *
 *     bytes:  [ VALUE a ... VALUE big 0 9999 | \r\n END ]      (copied)
 *     pieces:                                ^ big's value     (pinned)
 *
 * Must not know: protocols, what a reply is, sessions, sockets.
 *
 * Invariants
 *  [O1] waiting = buf_len(bytes) + what is left of all pieces
 *  [O2] the sum of the pieces' bytes_before <= buf_len(bytes)
 *  [O3] a piece's item is pinned as long as the piece exists
 *
 * Layer 2. Covered by: t/test_session.c.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "compat.h"
#include "buf.h"
#include "items.h"

/* Longer values are sent from where they lie. */
#define OUTPUT_COPY_BYTES_MAX 4096
/* No queue may hold more copied bytes than this. What fills it is bounded
 * well below (session.h), except for lists of statistics. */
#define OUTPUT_COPIED_BYTES_MAX ((size_t)16 << 20)
/* Values that wait pinned in one queue. */
#define OUTPUT_PIECES_MAX 512

struct output_piece {
	struct item *item;   /* pinned */
	size_t bytes_before; /* copied bytes between the piece before and this one */
	uint32_t offset;     /* what was sent of the value */
	uint32_t end;        /* its length */
};

struct output {
	struct items *items;
	struct buf bytes;
	struct output_piece *pieces;
	uint32_t piece_first, piece_end, piece_size;
	size_t tail; /* copied bytes after the last piece */
	size_t waiting;
	size_t touched; /* bytes of the buffer that were ever written to */
};

/* A point to go back to, as long as nothing was sent since. */
struct output_mark {
	size_t bytes;
	uint32_t pieces;
	size_t tail;
	size_t waiting;
};

void output_init(struct output *o, struct items *items);
/* Unpin everything and give the memory back. */
void output_release(struct output *o);
/* Forget what waits (unpinning it), keep the memory. */
void output_clear(struct output *o);

/* The slow half of output_room(). */
uint8_t *output_grow(struct output *o, size_t len);

/* Room for len bytes, or NULL. Follow with output_commit(). */
static inline uint8_t *output_room(struct output *o, size_t len)
{
	if (likely(o->bytes.capacity - o->bytes.end >= len))
		return o->bytes.data + o->bytes.end;
	return output_grow(o, len);
}
static inline void output_commit(struct output *o, size_t len)
{
	assert(o->bytes.capacity - o->bytes.end >= len);
	o->bytes.end += len;
	o->tail += len;
	o->waiting += len;
}
bool output_put(struct output *o, const void *data, size_t len);
/* Send an item's value from where it lies. False: no memory, nothing added. */
bool output_put_value(struct output *o, struct item *item);

struct output_mark output_mark(const struct output *o);
void output_rollback(struct output *o, const struct output_mark *mark);

/* What waits, from the front, as at most iov_max pieces; returns their number. */
int output_iov(const struct output *o, struct iovec *iov, int iov_max);
/* The first len bytes of it are gone. */
void output_sent(struct output *o, size_t len);
/* Move all that waits in `from` to the end of `to`; false: no memory, nothing
 * moved. */
bool output_move(struct output *to, struct output *from);
/* Bytes of memory held, without the values. */
size_t output_memory_bytes(const struct output *o);

#endif
