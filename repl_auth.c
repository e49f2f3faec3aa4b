/*
 * repl_auth.c - the proof of the shared secret, and nonces. See repl_auth.h.
 *
 * Owns: which bytes go into which hash.
 *
 * Must not know: connections, when a proof is due, files.
 *
 * Covered by: t/test_repl_auth.c.
 */
#include "compat.h"
#include "repl_auth.h"
#include "util.h"

_Static_assert(WIRE_PROOF_BYTES == HMAC_BYTES, "a proof is an HMAC");

static const char *const side_words[AUTH_SIDES] = {"connecting\n", "listening\n"};
static const char link_key_words[] = "memcached link key 1";

#define SIDE_WORD_BYTES_MAX 16

void repl_auth_said(struct repl_auth *a, enum auth_side side, const uint8_t *line, size_t len)
{
	assert(len > 0 && len <= WIRE_LINE_BYTES_MAX && line[len - 1] == '\n');
	memcpy(a->line[side], line, len);
	a->len[side] = len;
}

bool repl_auth_prove(const struct repl_auth *a, const uint8_t link_key[HMAC_BYTES], enum auth_side side,
                     uint8_t proof[WIRE_PROOF_BYTES])
{
	uint8_t said[SIDE_WORD_BYTES_MAX + AUTH_SIDES * WIRE_LINE_BYTES_MAX];
	size_t len = strlen(side_words[side]);

	assert(a->len[AUTH_CONNECTING] > 0 && a->len[AUTH_LISTENING] > 0);
	memcpy(said, side_words[side], len);
	for (int i = 0; i < AUTH_SIDES; i++) {
		memcpy(said + len, a->line[i], a->len[i]);
		len += a->len[i];
	}
	return hmac_sha256(proof, link_key, HMAC_BYTES, said, len);
}

bool repl_auth_holds(const struct repl_auth *a, const uint8_t link_key[HMAC_BYTES], enum auth_side side,
                     const uint8_t proof[WIRE_PROOF_BYTES])
{
	uint8_t right[HMAC_BYTES];
	bool holds = repl_auth_prove(a, link_key, side, right) && hmac_equal(right, proof);

	hmac_wipe(right, sizeof(right));
	return holds;
}

bool repl_auth_link_key(const void *secret, size_t len, uint8_t link_key[HMAC_BYTES])
{
	return hmac_sha256(link_key, secret, len, link_key_words, sizeof(link_key_words) - 1);
}

bool nonce_next(struct nonce_source *n, uint8_t out[WIRE_NONCE_BYTES])
{
	uint8_t count[8], whole[HMAC_BYTES];

	store_be64(count, n->count++);
	if (!hmac_sha256(whole, n->key, sizeof(n->key), count, sizeof(count)))
		return false;
	memcpy(out, whole, WIRE_NONCE_BYTES);
	return true;
}
