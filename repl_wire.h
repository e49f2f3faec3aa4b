/*
 * repl_wire.h - pure codec of the link: the opening lines and the frames.
 *
 * Owns: which byte stands where (doc/replication.txt has the same tables), and
 * what is well formed. Numbers are big-endian.
 *
 *   line    REPL/1 <id> origin=.. seen=<id>:<v> clock=.. wall=.. items=..
 *           maxitem=.. auth=none|hmac nonce=..\n
 *           REFUSED <reason>\n
 *           PROOF <hex>\n
 *   frame   type (1) | body length (4) | body
 *
 * Must not know: items, connections, what a frame is for.
 *
 * Invariants
 *  [W1] no allocation, no state, no pointer kept; the result does not depend
 *       on how the bytes were cut into pieces
 *  [W2] a decoder never asks for more than WIRE_HEAD_BYTES_MAX bytes of a frame
 *       (WIRE_LINE_BYTES_MAX of a line): the value of an ITEM is not part of
 *       what it decodes, it follows, and its length was capped
 *  [W3] decode(encode(x)) is x
 *
 * Layer 2. Covered by: t/test_repl_wire.c.
 */
#ifndef REPL_WIRE_H
#define REPL_WIRE_H

#include "compat.h"
#include "change.h"
#include "clock.h"

#define WIRE_LINE_BYTES_MAX 512
#define WIRE_REASON_BYTES_MAX 256
#define WIRE_NONCE_BYTES 16
#define WIRE_PROOF_BYTES 32
#define WIRE_KEY_BYTES_MAX 250

enum wire_type {
	WIRE_ITEM = 1,
	WIRE_TOMB,
	WIRE_TOUCH,
	WIRE_FLUSH,
	WIRE_BEGIN,
	WIRE_HAVE,
	WIRE_SWEEP,
	WIRE_MARK,
	WIRE_ACK,
	WIRE_TYPE_COUNT
};

#define WIRE_FRAME_BYTES 5 /* type and length */
#define WIRE_ITEM_BYTES 19 /* an ITEM's body before its key */
/* Type, length and everything of a body but an ITEM's value. */
#define WIRE_HEAD_BYTES_MAX (WIRE_FRAME_BYTES + WIRE_ITEM_BYTES + WIRE_KEY_BYTES_MAX)

/* wire_frame.bits */
#define WIRE_STATE_STALE 0x01  /* ITEM: invalidated by a meta command */
#define WIRE_STATE_BINKEY 0x02 /* ITEM: the key was given in base64 */
#define WIRE_BEGIN_SWEEPS 0x01 /* BEGIN: this walk ends in SWEEP */
#define WIRE_MARK_SYNCED 0x01  /* MARK: a walk is complete */
#define WIRE_ACK_REFUSED 0x01  /* ACK: something was not taken since the last one */

struct wire_frame {
	enum wire_type type;
	uint8_t bits;
	uint8_t key_len;
	const uint8_t *key;       /* ITEM, TOMB, TOUCH, HAVE; into the decoder's input */
	struct state_order order; /* BEGIN, SWEEP, MARK, ACK, HAVE: what they carry of it */
	uint32_t flags;           /* ITEM: the client's */
	uint32_t value_len;       /* ITEM: bytes that follow the head */
	struct flush_state flush; /* FLUSH */
};

enum wire_status {
	WIRE_OK,   /* one frame; *consumed bytes of head */
	WIRE_MORE, /* not all of the head is here */
	WIRE_BAD   /* malformed: *error says how */
};

/* One frame's head from the front of data. body_max caps an ITEM's body. */
enum wire_status wire_frame_decode(const uint8_t *data, size_t len, size_t body_max, struct wire_frame *out,
                                   size_t *consumed, const char **error);
/* The head of f at out (WIRE_HEAD_BYTES_MAX bytes of room); returns its length. */
size_t wire_frame_encode(uint8_t *out, const struct wire_frame *f);
/* A look at a frame that lies whole in data, unchecked, for who wants to know
 * beforehand which key comes: its length, 0 when it does not lie there whole or has
 * no key. */
size_t wire_frame_peek(const uint8_t *data, size_t len, const uint8_t **key, size_t *key_len);
const char *wire_type_name(enum wire_type type);

enum wire_auth {
	WIRE_AUTH_NONE,
	WIRE_AUTH_HMAC
};

struct wire_hello {
	uint64_t node_id;
	uint64_t seen_id, seen; /* both 0: nothing seen */
	uint64_t clock;
	int64_t wall_ms;
	uint64_t items;
	uint64_t maxitem;
	uint16_t origin;
	enum wire_auth auth;
	uint8_t nonce[WIRE_NONCE_BYTES];
};

enum wire_line {
	WIRE_LINE_MORE,
	WIRE_LINE_HELLO,
	WIRE_LINE_REFUSED,
	WIRE_LINE_PROOF,
	WIRE_LINE_BAD
};

/* One line from the front of data. HELLO fills *hello, REFUSED fills reason
 * (printable, terminated), BAD points *error to how; wire_proof_decode() reads
 * the line of PROOF. */
enum wire_line wire_line_decode(const uint8_t *data, size_t len, struct wire_hello *hello,
                                char reason[WIRE_REASON_BYTES_MAX], size_t *consumed, const char **error);
bool wire_proof_decode(const uint8_t *line, size_t len, uint8_t proof[WIRE_PROOF_BYTES]);
/* These write at most WIRE_LINE_BYTES_MAX bytes and return the length. */
size_t wire_hello_encode(uint8_t *out, const struct wire_hello *hello);
size_t wire_refusal_encode(uint8_t *out, const char *reason);
size_t wire_proof_encode(uint8_t *out, const uint8_t proof[WIRE_PROOF_BYTES]);

#endif
