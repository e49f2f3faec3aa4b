/*
 * output.c - reply bytes that wait to be sent. See output.h.
 *
 * Owns: the order of copied bytes and pinned values, the pins, and the growth
 * of both lists. A queue without pieces is just its buffer, which is all that
 * most turns ever see.
 *
 * Must not know: protocols, sessions, sockets.
 *
 * Invariants: [O1] [O2] [O3] of output.h. Covered by: t/test_session.c.
 */
#include "compat.h"
#include "output.h"

#define PIECES_MIN 8 /* the first allocation */

void output_init(struct output *o, struct items *items)
{
	*o = (struct output){.items = items};
	buf_init(&o->bytes, OUTPUT_COPIED_BYTES_MAX);
}

void output_clear(struct output *o)
{
	for (uint32_t i = o->piece_first; i < o->piece_end; i++)
		items_unpin(o->items, o->pieces[i].item);
	o->piece_first = o->piece_end = 0;
	o->tail = 0;
	o->waiting = 0;
	buf_clear(&o->bytes);
}

void output_release(struct output *o)
{
	output_clear(o);
	buf_release(&o->bytes);
	free(o->pieces);
	output_init(o, o->items);
}

uint8_t *output_grow(struct output *o, size_t len)
{
	assert(len > 0);
	return buf_reserve(&o->bytes, len);
}

bool output_put(struct output *o, const void *data, size_t len)
{
	uint8_t *at = output_room(o, len);

	if (!at)
		return false;
	memcpy(at, data, len);
	output_commit(o, len);
	return true;
}

static uint32_t pieces_waiting(const struct output *o)
{
	return o->piece_end - o->piece_first;
}

/* Make room for count more pieces behind the last. */
static bool pieces_reserve(struct output *o, uint32_t count)
{
	uint32_t used = pieces_waiting(o);
	uint32_t size = o->piece_size ? o->piece_size : PIECES_MIN;

	if (used + count > OUTPUT_PIECES_MAX)
		return false;
	if (o->piece_first > 0) {
		memmove(o->pieces, o->pieces + o->piece_first, used * sizeof(*o->pieces));
		o->piece_first = 0;
		o->piece_end = used;
	}
	while (size < used + count)
		size *= 2;
	if (size == o->piece_size)
		return true;
	struct output_piece *pieces = realloc(o->pieces, size * sizeof(*pieces));
	if (!pieces)
		return false;
	o->pieces = pieces;
	o->piece_size = size;
	return true;
}

bool output_put_value(struct output *o, struct item *item)
{
	size_t len = item_value_len(item);

	assert(len > 0 && len <= ITEM_BYTES_LIMIT);
	if (o->piece_end == o->piece_size && !pieces_reserve(o, 1))
		return false;
	if (!items_pin(o->items, item))
		return false;
	o->pieces[o->piece_end++] = (struct output_piece){
		.item = item,
		.bytes_before = o->tail,
		.end = (uint32_t)len,
	};
	o->tail = 0;
	o->waiting += len;
	return true;
}

struct output_mark output_mark(const struct output *o)
{
	return (struct output_mark){
		.bytes = buf_len(&o->bytes),
		.pieces = pieces_waiting(o),
		.tail = o->tail,
		.waiting = o->waiting,
	};
}

void output_rollback(struct output *o, const struct output_mark *mark)
{
	assert(mark->pieces <= pieces_waiting(o) && mark->bytes <= buf_len(&o->bytes));
	while (pieces_waiting(o) > mark->pieces)
		items_unpin(o->items, o->pieces[--o->piece_end].item);
	o->bytes.end = o->bytes.off + mark->bytes;
	o->tail = mark->tail;
	o->waiting = mark->waiting;
}

/* Describe len copied bytes from *at on; returns how many iov were used. */
static int copied_iov(uint8_t **at, size_t len, struct iovec *iov)
{
	if (len == 0)
		return 0;
	*iov = (struct iovec){*at, len};
	*at += len;
	return 1;
}

int output_iov(const struct output *o, struct iovec *iov, int iov_max)
{
	int n = 0;

	assert(iov_max > 0);
	if (o->waiting == 0)
		return 0;
	uint8_t *at = buf_len(&o->bytes) ? buf_head(&o->bytes) : NULL;
	if (likely(o->piece_first == o->piece_end)) {
		*iov = (struct iovec){at, o->tail};
		return 1;
	}
	for (uint32_t i = o->piece_first; i < o->piece_end; i++) {
		const struct output_piece *p = &o->pieces[i];
		n += copied_iov(&at, p->bytes_before, iov + n);
		if (n == iov_max)
			return n;
		n += items_value_iov(o->items, p->item, p->offset, iov + n, iov_max - n);
		if (n == iov_max)
			return n;
	}
	return n + copied_iov(&at, o->tail, iov + n);
}

/* Take up to len sent bytes off one counter of unsent ones. */
static size_t take(size_t *left, size_t len)
{
	size_t n = len < *left ? len : *left;

	*left -= n;
	return n;
}

/* Account len sent bytes to the front piece; returns how many were its. */
static size_t piece_sent(struct output *o, size_t len)
{
	struct output_piece *p = &o->pieces[o->piece_first];
	size_t copied = take(&p->bytes_before, len);
	size_t left = p->end - p->offset;
	size_t of_value = p->bytes_before ? 0 : take(&left, len - copied);

	if (copied > 0)
		buf_consume(&o->bytes, copied);
	p->offset += (uint32_t)of_value;
	if (p->offset == p->end && p->bytes_before == 0) {
		items_unpin(o->items, p->item);
		o->piece_first++;
	}
	return copied + of_value;
}

void output_sent(struct output *o, size_t len)
{
	assert(len <= o->waiting);
	if (o->touched < o->bytes.end)
		o->touched = o->bytes.end;
	o->waiting -= len;
	while (len > 0 && pieces_waiting(o) > 0)
		len -= piece_sent(o, len);
	if (len > 0)
		buf_consume(&o->bytes, len);
	o->tail -= len;
	if (pieces_waiting(o) == 0)
		o->piece_first = o->piece_end = 0;
	assert(o->waiting > 0 || buf_len(&o->bytes) == 0); /* [O1] */
}

bool output_move(struct output *to, struct output *from)
{
	uint32_t count = pieces_waiting(from);

	if (from->waiting == 0)
		return true;
	if (count > 0 && !pieces_reserve(to, count))
		return false;
	size_t len = buf_len(&from->bytes);
	if (len > 0 && !buf_append(&to->bytes, buf_head(&from->bytes), len))
		return false;
	if (count > 0) {
		memcpy(to->pieces + to->piece_end, from->pieces + from->piece_first,
		       count * sizeof(*to->pieces));
		to->pieces[to->piece_end].bytes_before += to->tail;
		to->piece_end += count;
		to->tail = 0;
	}
	to->tail += from->tail;
	to->waiting += from->waiting;
	from->piece_first = from->piece_end = 0;
	output_clear(from);
	return true;
}

size_t output_memory_bytes(const struct output *o)
{
	return o->bytes.capacity + o->piece_size * sizeof(*o->pieces);
}
