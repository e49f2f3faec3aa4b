/*
 * hmac.h - keyed hashing: HMAC-SHA-256, comparison, wiping.
 *
 * Owns: the one place that calls the cryptographic library.
 *
 * Must not know: what is proved with it.
 *
 * Layer 0. Covered by: t/test_repl_auth.c.
 */
#ifndef HMAC_H
#define HMAC_H

#include "compat.h"

#define HMAC_BYTES 32 /* of a result, and of a key made by hmac_sha256() */

/* False when the library has no memory. out may be key or data. */
bool hmac_sha256(uint8_t out[HMAC_BYTES], const uint8_t *key, size_t key_len, const void *data, size_t len);
/* Takes the same time whatever the bytes are. */
bool hmac_equal(const uint8_t a[HMAC_BYTES], const uint8_t b[HMAC_BYTES]);
bool bytes_equal(const void *a, const void *b, size_t len);
/* Overwrite what must not stay in memory; not optimised away. */
void hmac_wipe(void *data, size_t len);

#endif
