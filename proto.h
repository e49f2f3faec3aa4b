/*
 * proto.h - what the parse functions of all protocols give back.
 *
 * A protocol is two things: a parse function, which turns the front of some
 * bytes into a command, and a struct reply_format (message.h), which prints
 * the answers to it. Parsing is pure: nothing is allocated, kept or asked for,
 * and the body of a storage command never passes through it.
 *
 * Invariants, of every parse function
 *  [X1] consumed <= len, and 0 for PARSE_MORE
 *  [X3] out->format is set whenever the result is not PARSE_MORE or PARSE_FATAL
 *
 * Layer 2. Covered by: t/test_proto_*.c.
 */
#ifndef PROTO_H
#define PROTO_H

#include "compat.h"
#include "message.h"

enum parse_status {
	PARSE_OK,   /* *out is a command */
	PARSE_AUTH, /* *out is a message of a login: out->auth says which */
	PARSE_MORE, /* not a whole command yet */
	PARSE_BAD,  /* answer `error` (unless out->quiet), after `swallow` more bytes */
	PARSE_FATAL /* close without a word */
};

struct parse_result {
	enum parse_status status;
	enum reply_status error;
	size_t consumed;
	size_t swallow; /* bytes after `consumed` to throw away */
	bool close;     /* PARSE_BAD: end the conversation after the answer */
};

#endif
