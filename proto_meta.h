/*
 * proto_meta.h - the meta protocol: lines of mg ms md ma me to commands, replies
 * to bytes.
 *
 * Owns: the flags of meta commands and their errors, in the order in which they
 * are noticed; keys in base64; the two-letter answers, which flags an answer
 * shows, and when q makes it silent (doc/protocol.txt section 2).
 *
 * Must not know: where a line ends (proto_text.c finds it and passes it on),
 * what a command does, the clock, the link.
 *
 *     mg <key> <flag>*              letters[] keep the order of the flags, in
 *     ms <key> <length> <flag>*     which the answer shows them; opaque and a key
 *     md, ma, me <key> <flag>*      from base64 are copied into the command, as
 *                                   the body of an ms outlives its line
 *
 * Invariants
 *  [M1] like [X1] to [X3] of the other protocols; nothing is allocated
 *  [M2] an answer's head has at most META_HEAD_BYTES_MAX bytes
 *  [M3] an error is said whatever q says
 *
 * Layer 2. Covered by: t/test_proto_meta.c, t/test_command_meta.c, t/meta.t.
 */
#ifndef PROTO_META_H
#define PROTO_META_H

#include "compat.h"
#include "message.h"
#include "proto.h"

/* Decode what follows the command's word on its line, [at, end); out->id is set.
 * `consumed` is left to the caller. */
struct parse_result proto_meta_parse(struct command *out, const uint8_t *at, const uint8_t *end);

/* What is printed as this protocol. */
extern const struct reply_format proto_meta_format;

#endif
