/*
 * proto_text.h - the classic text protocol: bytes to commands, replies to bytes.
 *
 * Owns: line framing and its limits, the word lookup, the tokens and number
 * grammars of every classic command, the rules of noreply, and the spelling of
 * replies (doc/protocol.txt section 1).
 *
 * The lines of meta commands are found here and decoded by proto_meta.c.
 *
 * Must not know: what a command does, settings, sessions, the clock, where
 * bytes come from or go to.
 *
 * The parser is pure: its state is two integers (how much of the line in
 * progress is known to hold no end, and how much to hold no word that is too
 * long, so that single bytes dripping in cost O(n) together), it allocates
 * nothing and keeps no pointer. The body of a storage command never passes
 * through it.
 *
 * Invariants
 *  [X1] consumed <= len, and 0 for PARSE_MORE
 *  [X2] a line gives the same result in whatever pieces it arrives, as long as
 *       it is not longer than PROTO_TEXT_LINE_BYTES_MAX (an unfinished line
 *       above that is given up, a finished one is not)
 *
 * Layer 2. Covered by: t/test_proto_text.c.
 */
#ifndef PROTO_TEXT_H
#define PROTO_TEXT_H

#include "compat.h"
#include "message.h"
#include "proto.h"

#define PROTO_TEXT_LINE_BYTES_MAX 2048
#define PROTO_TEXT_WORDS_MAX 23 /* of one line; the rest is ignored */

struct proto_text {
	size_t scanned;
	size_t checked; /* no word up to here is too long: the line was parsed before */
};

struct parse_result proto_text_parse(struct proto_text *state, const uint8_t *in, size_t len,
				     struct command *out);

/* What is printed as this protocol. */
extern const struct reply_format proto_text_format;

/* The line of an error, whether the command is quiet or not. For the meta
 * protocol, whose errors are these. */
bool proto_text_print_error(struct reply *reply);

/* The operation a word stands for, or CMD_NONE. For tests. */
enum command_id proto_text_lookup(const uint8_t *word, size_t len);

#endif
