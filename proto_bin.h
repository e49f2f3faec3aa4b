/*
 * proto_bin.h - the binary protocol: packets to commands, replies to packets.
 *
 * Owns: the packet header, the table of opcodes (which operation each is, what
 * shape its packet must have, when it is silent), and the status codes and
 * texts of the answers (doc/protocol.txt section 3).
 *
 *   offset  0 magic 0x80 (answers 0x81)   1 opcode      2 key length (2)
 *           4 extras length               5 data type   6 vbucket or status (2)
 *           8 body length (4)            12 opaque (4) 16 CAS unique (8)
 *   then the body: extras, key, value
 *
 * Must not know: what a command does, settings, sessions, the clock, where
 * bytes come from or go to.
 *
 * The parser has no state. A packet is judged by its header alone: nothing
 * of a wrong one is waited for. The value of a storage command is not looked
 * at; it follows what was consumed, and nothing follows it.
 *
 * Invariants: those of proto.h, and
 *  [B1] a packet gives the same result in whatever pieces it arrives
 *  [B2] PARSE_MORE never waits for more than PROTO_BIN_HEAD_BYTES_MAX bytes,
 *       and PROTO_BIN_AUTH_BYTES_MAX more of a login
 *
 * Layer 2. Covered by: t/test_proto_bin.c, t/binary.t.
 */
#ifndef PROTO_BIN_H
#define PROTO_BIN_H

#include "compat.h"
#include "message.h"
#include "proto.h"

#define PROTO_BIN_REQUEST 0x80
#define PROTO_BIN_RESPONSE 0x81
#define PROTO_BIN_HEADER_BYTES 24
/* A longer body closes the connection. */
#define PROTO_BIN_BODY_BYTES_MAX (UINT32_C(1) << 30)
/* Header, extras and key: the most that is buffered of a packet. */
#define PROTO_BIN_HEAD_BYTES_MAX (PROTO_BIN_HEADER_BYTES + 20 + KEY_BYTES_MAX)
/* What a message of a login may say: the one kind of packet that is buffered whole. */
#define PROTO_BIN_AUTH_BYTES_MAX 16384
/* exptime of INCR and DECR: do not create the value. */
#define PROTO_BIN_NOT_CREATED UINT32_MAX

enum bin_opcode {
	BIN_GET = 0x00,
	BIN_SET = 0x01,
	BIN_ADD = 0x02,
	BIN_REPLACE = 0x03,
	BIN_DELETE = 0x04,
	BIN_INCR = 0x05,
	BIN_DECR = 0x06,
	BIN_QUIT = 0x07,
	BIN_FLUSH = 0x08,
	BIN_GETQ = 0x09,
	BIN_NOOP = 0x0a,
	BIN_VERSION = 0x0b,
	BIN_GETK = 0x0c,
	BIN_GETKQ = 0x0d,
	BIN_APPEND = 0x0e,
	BIN_PREPEND = 0x0f,
	BIN_STAT = 0x10,
	BIN_SETQ = 0x11,
	BIN_ADDQ = 0x12,
	BIN_REPLACEQ = 0x13,
	BIN_DELETEQ = 0x14,
	BIN_INCRQ = 0x15,
	BIN_DECRQ = 0x16,
	BIN_QUITQ = 0x17,
	BIN_FLUSHQ = 0x18,
	BIN_APPENDQ = 0x19,
	BIN_PREPENDQ = 0x1a,
	BIN_TOUCH = 0x1c,
	BIN_GAT = 0x1d,
	BIN_GATQ = 0x1e,
	BIN_SASL_LIST = 0x20,
	BIN_SASL_AUTH = 0x21,
	BIN_SASL_STEP = 0x22,
	BIN_GATK = 0x23,
	BIN_GATKQ = 0x24
};

enum bin_status {
	BIN_OK = 0x0000,
	BIN_NOT_FOUND = 0x0001,
	BIN_EXISTS = 0x0002,
	BIN_TOO_LARGE = 0x0003,
	BIN_INVALID = 0x0004,
	BIN_NOT_STORED = 0x0005,
	BIN_NON_NUMERIC = 0x0006,
	BIN_AUTH_FAILURE = 0x0020,
	BIN_AUTH_CONTINUE = 0x0021,
	BIN_UNKNOWN = 0x0081,
	BIN_NO_MEMORY = 0x0082
};

struct parse_result proto_bin_parse(const uint8_t *in, size_t len, struct command *out);

/* What is printed as this protocol. */
extern const struct reply_format proto_bin_format;

#endif
