/*
 * repl_out.c - what waits to be sent on one connection of the link. See
 * repl_out.h.
 *
 * Owns: the blocks. One emptied block is kept for the next batch while the
 * connection lives; all others go back to the system at once.
 *
 * Must not know: frames.
 *
 * Invariants: [O1] to [O3] of repl_out.h.
 *
 * Covered by: t/test_replication.c.
 */
#include "compat.h"
#include "repl_out.h"

#define VALUE_PIECES 16 /* iovecs asked for at a time */

void repl_out_init(struct repl_out *o, struct items *items)
{
	*o = (struct repl_out){.items = items};
}

static void free_block(struct repl_out *o, struct repl_block *b)
{
	if (b->item)
		items_unpin(o->items, b->item);
	free(b);
}

void repl_out_release(struct repl_out *o)
{
	struct repl_block *lists[] = {o->head, o->spare};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (struct repl_block *b = lists[i], *next; b; b = next) {
			next = b->next;
			free_block(o, b);
		}
	repl_out_init(o, o->items);
}

static size_t room_in_tail(const struct repl_out *o)
{
	return o->tail && !o->tail->item ? REPL_BLOCK_BYTES - o->tail->end : 0;
}

bool repl_out_prepare(struct repl_out *o, size_t len)
{
	size_t room = room_in_tail(o) + o->spare_count * REPL_BLOCK_BYTES;

	for (; room < len; room += REPL_BLOCK_BYTES) {
		struct repl_block *b = malloc(sizeof(*b) + REPL_BLOCK_BYTES);
		if (!b)
			return false;
		*b = (struct repl_block){.next = o->spare};
		o->spare = b;
		o->spare_count++;
	}
	return true;
}

static void link_block(struct repl_out *o, struct repl_block *b)
{
	b->next = NULL;
	if (o->tail)
		o->tail->next = b;
	else
		o->head = b;
	o->tail = b;
}

static void next_block(struct repl_out *o)
{
	struct repl_block *b = o->spare;

	assert(b); /* [O2] */
	o->spare = b->next;
	o->spare_count--;
	link_block(o, b);
}

uint8_t *repl_out_room(struct repl_out *o, size_t len)
{
	assert(len <= REPL_BLOCK_BYTES);
	if (room_in_tail(o) < len)
		next_block(o); /* the rest of the old one stays unused: [O3] */
	return o->tail->data + o->tail->end;
}

void repl_out_commit(struct repl_out *o, size_t len)
{
	assert(room_in_tail(o) >= len);
	o->tail->end += len;
	o->appended += len;
	o->copied_bytes += len;
}

static void append_bytes(struct repl_out *o, const uint8_t *data, size_t len)
{
	while (len > 0) {
		size_t room = room_in_tail(o);
		if (room == 0) {
			next_block(o);
			continue;
		}
		size_t n = len < room ? len : room;
		memcpy(o->tail->data + o->tail->end, data, n);
		repl_out_commit(o, n);
		data += n;
		len -= n;
	}
}

void repl_out_copy_value(struct repl_out *o, const struct item *i)
{
	const uint8_t *whole = item_value(i);
	size_t len = item_value_len(i);

	if (whole) {
		append_bytes(o, whole, len);
		return;
	}
	for (size_t done = 0; done < len;) {
		struct iovec iov[VALUE_PIECES];
		int count = items_value_iov(o->items, i, done, iov, VALUE_PIECES);
		assert(count > 0);
		for (int p = 0; p < count; p++) {
			append_bytes(o, iov[p].iov_base, iov[p].iov_len);
			done += iov[p].iov_len;
		}
	}
}

struct repl_block *repl_out_pin(struct repl_out *o, struct item *i, size_t head_size)
{
	struct repl_block *b = malloc(sizeof(*b) + head_size);

	if (!b || !items_pin(o->items, i)) {
		free(b);
		return NULL;
	}
	*b = (struct repl_block){.item = i, .end = item_value_len(i)};
	assert(b->end > 0);
	return b;
}

void repl_out_append_pinned(struct repl_out *o, struct repl_block *pinned, size_t head_len)
{
	assert(pinned->item && pinned->start == 0 && pinned->head == 0);
	pinned->head = head_len;
	pinned->end += head_len;
	link_block(o, pinned);
	o->appended += pinned->end;
	o->pinned_bytes += pinned->end;
}

/* What waits of the bytes in the block itself. */
static struct iovec own_bytes(const struct repl_block *b)
{
	size_t end = b->item ? b->head : b->end;
	size_t len = end > b->start ? end - b->start : 0;

	return (struct iovec){(void *)(uintptr_t)(b->data + b->start), len};
}

int repl_out_iov(const struct repl_out *o, struct iovec *iov, int iov_max)
{
	int count = 0;

	for (const struct repl_block *b = o->head; b && count < iov_max; b = b->next) {
		size_t covered = own_bytes(b).iov_len;
		if (covered > 0)
			iov[count++] = own_bytes(b);
		if (b->item && count < iov_max) {
			size_t from = b->start + covered - b->head;
			int n = items_value_iov(o->items, b->item, from, iov + count, iov_max - count);
			for (int p = 0; p < n; p++)
				covered += iov[count + p].iov_len;
			count += n;
		}
		if (covered < b->end - b->start)
			break; /* what follows must not overtake the rest */
	}
	return count;
}

/* The head block was sent whole. */
static void drop_head(struct repl_out *o)
{
	struct repl_block *b = o->head;

	o->head = b->next;
	if (!o->head)
		o->tail = NULL;
	if (b->item || o->spare) {
		free_block(o, b);
		return;
	}
	*b = (struct repl_block){0};
	o->spare = b;
	o->spare_count = 1;
}

void repl_out_sent(struct repl_out *o, size_t len)
{
	assert(len <= repl_out_len(o));
	o->sent += len;
	while (o->head) {
		struct repl_block *b = o->head;
		size_t n = b->end - b->start < len ? b->end - b->start : len;
		b->start += n;
		len -= n;
		if (b->item)
			o->pinned_bytes -= n;
		else
			o->copied_bytes -= n;
		if (b->start < b->end)
			break;
		drop_head(o);
	}
	while (o->spare_count > 1) {
		struct repl_block *b = o->spare;
		o->spare = b->next;
		o->spare_count--;
		free_block(o, b);
	}
	assert(len == 0);
}

const char *repl_out_check(const struct repl_out *o)
{
	size_t copied = 0, pinned = 0;

	for (const struct repl_block *b = o->head; b; b = b->next) {
		if (b->start > b->end || (!b->item && b->end > REPL_BLOCK_BYTES))
			return "repl_out: a block ends before it starts";
		if (b->item ? b->end != b->head + item_value_len(b->item) : b->head != 0)
			return "repl_out: a value of another length behind a head";
		*(b->item ? &pinned : &copied) += b->end - b->start;
		if (!b->next && b != o->tail)
			return "repl_out: tail is not the last block";
	}
	if (copied != o->copied_bytes || pinned != o->pinned_bytes)
		return "repl_out: [O1] bytes that wait";
	return o->appended - o->sent == copied + pinned ? NULL : "repl_out: [O1] offsets";
}
