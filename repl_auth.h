/*
 * repl_auth.h - the proof of the shared secret, and nonces (section 5).
 *
 * Owns: what is proved: both opening lines as they were sent, so that a proof is
 * good for this connection only (each side has put a fresh nonce in its line),
 * and who proves it, so that a proof sent back is worth nothing.
 *
 *     link key = HMAC-SHA-256(secret, "memcached link key 1")
 *     proof    = HMAC-SHA-256(link key, "connecting\n" or "listening\n"
 *                             | line of the connecting side
 *                             | line of the listening side)
 *
 * (Each line with its line feed, and there is no other in it: no two
 * conversations have the same bytes.)
 *
 * Must not know: connections, when a proof is due, files.
 *
 * Layer 4. Covered by: t/test_repl_auth.c.
 */
#ifndef REPL_AUTH_H
#define REPL_AUTH_H

#include "compat.h"
#include "hmac.h"
#include "repl_wire.h"

enum auth_side {
	AUTH_CONNECTING,
	AUTH_LISTENING,
	AUTH_SIDES
};

/* The opening lines of one connection. */
struct repl_auth {
	uint8_t line[AUTH_SIDES][WIRE_LINE_BYTES_MAX];
	size_t len[AUTH_SIDES]; /* 0: not said yet */
	bool asked;             /* our proof is under way and the other one is due */
	uint64_t links;         /* how many links this node had had when it said its line */
};

void repl_auth_said(struct repl_auth *a, enum auth_side side, const uint8_t *line, size_t len);
/* The proof of one side; false without memory. */
bool repl_auth_prove(const struct repl_auth *a, const uint8_t link_key[HMAC_BYTES], enum auth_side side,
                     uint8_t proof[WIRE_PROOF_BYTES]);
/* Whether proof is that of side. */
bool repl_auth_holds(const struct repl_auth *a, const uint8_t link_key[HMAC_BYTES], enum auth_side side,
                     const uint8_t proof[WIRE_PROOF_BYTES]);

/* The secret as it is kept; false without memory. */
bool repl_auth_link_key(const void *secret, size_t len, uint8_t link_key[HMAC_BYTES]);

/* Numbers used once: unpredictable as long as the key is. */
struct nonce_source {
	uint8_t key[HMAC_BYTES];
	uint64_t count;
};

bool nonce_next(struct nonce_source *n, uint8_t out[WIRE_NONCE_BYTES]);

#endif
