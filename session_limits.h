/*
 * session_limits.h - what all sessions of a node may hold together.
 *
 * Owns: the sums of two kinds of memory that clients fill and nobody can evict,
 * and who holds what of it:
 *   input     commands that are not complete, mainly long lists of keys
 *   uploads   values that are arriving
 *
 * A session may always hold a little input; more only while all together are below
 * a limit, and who would pass it is closed. Uploads are not limited as long as they
 * go on. When together they take more than their share of the memory for items,
 * those that have come to a halt are given up, the one that stands longest first.
 *
 * Must not know: sessions (they embed an entry), what is uploaded.
 *
 * Invariants
 *  [LI1] input_bytes and upload_bytes are the sums over all entries
 *  [LI2] the uploads are in the order of their last progress
 *
 * Layer 4. Covered by: t/test_session_limits.c, t/limits.t.
 */
#ifndef SESSION_LIMITS_H
#define SESSION_LIMITS_H

#include "compat.h"

/* Of one session, whatever the others hold: what a receive may leave behind. */
#define LIMITS_INPUT_FREE_BYTES ((size_t)64 << 10)
#define LIMITS_INPUT_BYTES_MAX ((size_t)64 << 20) /* of all with more than that */
/* An upload makes progress when so many bytes have arrived; it has come to a halt
 * when it made none for so long. */
#define LIMITS_PROGRESS_BYTES ((size_t)16 << 10)
#define LIMITS_HALT_MS 5000
#define LIMITS_UPLOAD_SHARE 4 /* of the memory for items: one part in so many */

struct limits_entry {
	struct limits_entry *next, *prev; /* NULL: no upload */
	size_t input_bytes;
	size_t upload_bytes;
	size_t got;          /* of the upload, at its last progress */
	int64_t progress_ms;
};

struct session_limits {
	struct limits_entry uploads; /* longest without progress first */
	size_t input_bytes;
	size_t upload_bytes;
	size_t upload_bytes_max;
};

void limits_init(struct session_limits *l, size_t memory_bytes_max);

/* Whether a session that holds len bytes of input may hold `more` besides. */
bool limits_allow_input(const struct session_limits *l, size_t len, size_t more);
/* Its buffer takes so much now. */
void limits_set_input(struct session_limits *l, struct limits_entry *e, size_t bytes);

/* An upload, new or known, for which `bytes` are held, and of which `got` have
 * arrived. */
void limits_upload_at(struct session_limits *l, struct limits_entry *e, size_t bytes, size_t got,
                      int64_t now_ms);
void limits_upload_end(struct session_limits *l, struct limits_entry *e); /* harmless without one */
/* When uploads take more than their share: drop those that have come to a halt,
 * which calls limits_upload_end() for each. */
void limits_drop_stalled(struct session_limits *l, void (*drop)(struct limits_entry *e), int64_t now_ms);
static inline void limits_make_room(struct session_limits *l, void (*drop)(struct limits_entry *e),
                                    int64_t now_ms)
{
	if (unlikely(l->upload_bytes > l->upload_bytes_max))
		limits_drop_stalled(l, drop, now_ms);
}

#endif
