/*
 * hmac.c - keyed hashing by OpenSSL's libcrypto. See hmac.h.
 *
 * Owns: the calls of the library, nothing else.
 *
 * Must not know: what is proved with it.
 *
 * Covered by: t/test_repl_auth.c.
 */
#include "compat.h"
#include "hmac.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool hmac_sha256(uint8_t out[HMAC_BYTES], const uint8_t *key, size_t key_len, const void *data, size_t len)
{
	uint8_t result[EVP_MAX_MD_SIZE];
	unsigned result_len = 0;

	assert(key_len <= INT_MAX);
	if (!HMAC(EVP_sha256(), key, (int)key_len, data, len, result, &result_len))
		return false;
	assert(result_len == HMAC_BYTES);
	memcpy(out, result, HMAC_BYTES);
	hmac_wipe(result, sizeof(result));
	return true;
}

bool hmac_equal(const uint8_t a[HMAC_BYTES], const uint8_t b[HMAC_BYTES])
{
	return bytes_equal(a, b, HMAC_BYTES);
}

bool bytes_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void hmac_wipe(void *data, size_t len)
{
	OPENSSL_cleanse(data, len);
}
