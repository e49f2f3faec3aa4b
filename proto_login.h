/*
 * proto_login.h - what a client of the text protocol says before it may say
 * anything else (-Y):
 *
 *     set <any> <any> <any> <bytes>\r\n<user> <password>\r\n
 *
 * Owns: the form of that message and of what is refused (doc/protocol.txt
 * section 1). It looks like a storage command so that every client library can
 * send it; it never becomes one.
 *
 * Must not know: who may log in, sessions, that there are other commands.
 *
 * The parser has no state and waits for the whole message, which is small.
 *
 * Invariants: those of proto.h, and
 *  [L1] PARSE_MORE never waits for more than PROTO_LOGIN_BYTES_MAX bytes
 *
 * Layer 2. Covered by: t/test_auth.c, t/auth.t.
 */
#ifndef PROTO_LOGIN_H
#define PROTO_LOGIN_H

#include "compat.h"
#include "proto.h"

#define PROTO_LOGIN_LINE_BYTES_MAX 2048
#define PROTO_LOGIN_TOKEN_BYTES_MAX 16384
#define PROTO_LOGIN_BYTES_MAX (PROTO_LOGIN_LINE_BYTES_MAX + PROTO_LOGIN_TOKEN_BYTES_MAX + 2)

/* PARSE_AUTH: out->words is "<user> <password>". */
struct parse_result proto_login_parse(const uint8_t *in, size_t len, struct command *out);

#endif
