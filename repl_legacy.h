/*
 * repl_legacy.h - the conversation with a repcached (-o repl_compat=repcached).
 *
 * Owns: what repl_legacy.c keeps, and what the other files of replication ask of
 * it. Included by repl_internal.h; not for others.
 *
 * Must not know: sockets, sessions.
 *
 * Layer 4. Covered by: t/test_repl_legacy.c, t/repcached.t.
 */
#ifndef REPL_LEGACY_H
#define REPL_LEGACY_H

#include "compat.h"

struct item;
struct repl;
struct repl_conn;

/* What is known of a repcached; see repl_legacy.c. */
struct repl_legacy {
	uint64_t written;    /* all of ours up to this was handed to its socket; 0: to none */
	uint64_t cut;        /* what that was when this link came up */
	bool merging;        /* its copy arrives, and this node has states of its own */
	bool flushed;        /* and was flushed since it was apart from it */
	bool owes_copy;      /* its copy from here is not complete */
	uint64_t flush_command, flush_barrier; /* the flush state it was told */
	uint64_t not_carried_before;
};

/* A connection is new. True: it is waited for the other side to speak first. */
bool repl_legacy_await(struct repl_conn *c);
/* Its deadline has passed. False: that is nothing of this file. */
bool repl_legacy_timeout(struct repl_conn *c);
/* Whether input that begins with this byte is for repl_legacy_feed(), which
 * returns how much it used. */
bool repl_legacy_takes(const struct repl_conn *c, uint8_t first);
size_t repl_legacy_feed(struct repl_conn *c, const uint8_t *data, size_t len);
void repl_legacy_lost(struct repl *r); /* the link is no more, and it was one of text */
/* Append. False: no memory, nothing appended. */
bool repl_legacy_put_item(struct repl *r, const struct item *i, bool by_reference);
bool repl_legacy_put_delete(struct repl *r, const uint8_t *key, size_t key_len);
void repl_legacy_put_flush(struct repl *r);
void repl_legacy_walk_done(struct repl *r);

#endif
