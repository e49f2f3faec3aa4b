/*
 * repl_out.h - what waits to be sent on one connection of the link.
 *
 * Owns: a queue of bytes in fixed blocks, in which the value of an item can
 * stand by reference (pinned, so that its bytes stay as they are), behind the
 * few bytes that go before it. Blocks are taken as needed and given back as they
 * are sent; nothing is ever moved or reallocated, so no append pauses the loop
 * however much waits.
 *
 *     head                                              tail      spare
 *     [....bytes####] -> [head, item 7, from 81920] -> [bytes]   -> [] -> []
 *          ^sent                                            ^appended
 *
 * Must not know: frames, what may be dropped, when too much waits.
 *
 * Invariants
 *  [O1] appended - sent = copied_bytes + pinned_bytes = what waits
 *  [O2] after repl_out_prepare(n) appends of n bytes in all cannot fail
 *  [O3] a span that repl_out_room() gave lies in one block until it is sent
 *
 * Layer 4. Covered by: t/test_replication.c.
 */
#ifndef REPL_OUT_H
#define REPL_OUT_H

#include "compat.h"
#include "items.h"

#define REPL_BLOCK_BYTES (64 * 1024)

struct repl_block {
	struct repl_block *next;
	struct item *item; /* not NULL: a pinned item, whose value follows the head */
	size_t head;       /* bytes of data that go before it; 0 without an item */
	size_t start, end; /* what of the block, head and value together, waits */
	uint8_t data[];
};

struct repl_out {
	struct items *items;
	struct repl_block *head, *tail;
	struct repl_block *spare; /* empty ones, prepared */
	size_t spare_count;
	uint64_t appended, sent; /* offsets in the stream */
	size_t copied_bytes, pinned_bytes;
};

void repl_out_init(struct repl_out *o, struct items *items);
/* Drop what waits and give everything back. */
void repl_out_release(struct repl_out *o);
static inline size_t repl_out_len(const struct repl_out *o)
{
	return o->copied_bytes + o->pinned_bytes;
}

/* Make sure that len bytes can be appended. False: no memory. */
bool repl_out_prepare(struct repl_out *o, size_t len);
/* A contiguous piece of len bytes (prepared, at most REPL_BLOCK_BYTES) at the end. */
uint8_t *repl_out_room(struct repl_out *o, size_t len);
void repl_out_commit(struct repl_out *o, size_t len);
/* Append an item's value, prepared. */
void repl_out_copy_value(struct repl_out *o, const struct item *i);
/* Or by reference, in two steps, so that a frame's head goes out only if its
 * value can follow: the caller writes the head, at most head_size bytes, to the
 * data of the block, then appends both. NULL: no memory, nothing done. Needs no
 * preparing. */
struct repl_block *repl_out_pin(struct repl_out *o, struct item *i, size_t head_size);
void repl_out_append_pinned(struct repl_out *o, struct repl_block *pinned, size_t head_len);

int repl_out_iov(const struct repl_out *o, struct iovec *iov, int iov_max);
void repl_out_sent(struct repl_out *o, size_t len);

/* NULL, or the invariant that does not hold. */
const char *repl_out_check(const struct repl_out *o);

#endif
