/*
 * repl_text.h - pure codec of repcached's link: lines of text.
 *
 * Owns: which bytes a message has (doc/replication.txt, section 11), which keys
 * can stand in it, and what is well formed. Both directions are the same, and
 * nothing is ever answered:
 *
 *   rep <key> <flags> <exp> <bytes> <cas>\r\n<bytes octets>\r\n
 *   delete <key>\r\n
 *   flush_all \r\n            (yes, with the blank; it is read without, too)
 *   flush_all <exp>\r\n
 *   marugoto_end\r\n          the full copy is complete
 *
 * exp is in Unix seconds, 0 = never; the other side counts in 31 bits.
 *
 * Must not know: items, connections, what a message is for.
 *
 * Invariants
 *  [T1] no allocation, no state, no pointer kept; the result does not depend
 *       on how the bytes were cut into pieces
 *  [T2] a line has at most TEXT_LINE_BYTES_MAX bytes; the octets of a rep are
 *       no part of what is decoded, they follow, and their number is capped
 *  [T3] what is encoded is a line that the other side's parser obeys, never
 *       one that it would answer (that ends it): no key, and no number, that
 *       it might reject
 *
 * Layer 2. Covered by: t/test_repl_text.c.
 */
#ifndef REPL_TEXT_H
#define REPL_TEXT_H

#include "compat.h"

#define TEXT_LINE_BYTES_MAX 320
#define TEXT_KEY_BYTES_MAX 250
#define TEXT_EXPTIME_MAX INT32_MAX

enum text_kind {
	TEXT_REP,
	TEXT_DELETE,
	TEXT_FLUSH,
	TEXT_END /* of the full copy */
};

struct text_message {
	enum text_kind kind;
	const uint8_t *key; /* REP, DELETE; into the decoder's input */
	uint8_t key_len;
	uint32_t flags;     /* REP: the client's */
	uint32_t exptime;   /* REP: 0 = never; FLUSH: when, 0 = at once */
	uint32_t value_len; /* REP: octets that follow the line, and then \r\n */
	uint32_t cas;       /* REP */
};

enum text_status {
	TEXT_OK,   /* one line; *consumed bytes */
	TEXT_MORE, /* not all of it is here */
	TEXT_BAD   /* malformed: *error says how */
};

/* One line from the front of data. value_max caps the octets of a rep. */
enum text_status text_decode(const uint8_t *data, size_t len, size_t value_max, struct text_message *out,
                             size_t *consumed, const char **error);
/* The line of m at out (TEXT_LINE_BYTES_MAX bytes of room); returns its length.
 * The key must be text_key_fits(); times beyond TEXT_EXPTIME_MAX are cut to it. */
size_t text_encode(uint8_t *out, const struct text_message *m);
/* Whether a line can carry this key: no blanks, no control characters. */
bool text_key_fits(const uint8_t *key, size_t len);

#endif
