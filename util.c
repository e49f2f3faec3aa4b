/*
 * util.c - numbers in text, hashing, a seeded generator.
 *
 * Owns: one digit loop on which all number grammars of util.h stand; decimal
 * printing two digits at a time; the key hash (XXH3, compiled in from its
 * header so that short keys are hashed without a call).
 *
 * Must not know: anything of this program.
 *
 * Covered by: t/test_util.c.
 */
#include "compat.h"
#include "util.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define U64_CHARS_MAX 22 /* the longest token taken for a 64-bit number */
#define I32_CHARS_MAX 11
#define U64_DIGITS_SAFE 19 /* so many fit whatever they are */

/* All of s is digits, at least one, and the value fits 64 bits. */
static bool digits_u64(const char *s, size_t len, uint64_t *out)
{
	uint64_t v = 0;
	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned d = (unsigned)(unsigned char)s[i] - '0';
		if (d > 9 || (i >= U64_DIGITS_SAFE && v > (UINT64_MAX - d) / 10))
			return false;
		v = v * 10 + d;
	}
	*out = v;
	return true;
}

bool parse_u64(const char *s, size_t len, uint64_t *out)
{
	return len <= U64_CHARS_MAX && digits_u64(s, len, out);
}

bool parse_u32(const char *s, size_t len, uint32_t *out)
{
	uint64_t v;
	if (!parse_u64(s, len, &v) || v > UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

bool parse_i32(const char *s, size_t len, int32_t *out)
{
	bool negative = len > 0 && s[0] == '-';
	uint64_t v;
	if (len > I32_CHARS_MAX || !digits_u64(s + negative, len - negative, &v))
		return false;
	if (v > (uint64_t)INT32_MAX + negative)
		return false;
	*out = (int32_t)(negative ? -(int64_t)v : (int64_t)v);
	return true;
}

bool parse_exptime_lenient(const char *s, size_t len, int32_t *out)
{
	bool sign = len > 0 && (s[0] == '-' || s[0] == '+');
	bool negative = sign && s[0] == '-';
	uint64_t v;
	if (!digits_u64(s + sign, len - sign, &v) || v > (uint64_t)INT64_MAX + negative)
		return false;
	uint32_t low = (uint32_t)(negative ? 0 - v : v);
	memcpy(out, &low, sizeof(*out)); /* the low 32 bits as two's complement */
	return true;
}

bool parse_flags_lenient(const char *s, size_t len, uint32_t *out)
{
	bool sign = len > 0 && s[0] == '+';
	uint64_t v;
	if (!digits_u64(s + sign, len - sign, &v))
		return false;
	*out = (uint32_t)v;
	return true;
}

static const char digit_pairs[201] =
	"00010203040506070809101112131415161718192021222324"
	"25262728293031323334353637383940414243444546474849"
	"50515253545556575859606162636465666768697071727374"
	"75767778798081828384858687888990919293949596979899";

size_t format_u64(char *out, uint64_t v)
{
	if (v < 10) { /* client flags, most of the time */
		out[0] = (char)('0' + v);
		return 1;
	}
	char tmp[DECIMAL_BYTES_MAX];
	size_t at = sizeof(tmp);
	while (v >= 100) {
		at -= 2;
		memcpy(tmp + at, digit_pairs + 2 * (v % 100), 2);
		v /= 100;
	}
	if (v >= 10) {
		at -= 2;
		memcpy(tmp + at, digit_pairs + 2 * v, 2);
	} else {
		tmp[--at] = (char)('0' + v);
	}
	memcpy(out, tmp + at, sizeof(tmp) - at);
	return sizeof(tmp) - at;
}

void format_hex(char *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < len; i++) {
		out[2 * i] = digits[data[i] >> 4];
		out[2 * i + 1] = digits[data[i] & 15];
	}
}

/* 0..15, or -1 when c is no hex digit. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool parse_hex(const char *s, size_t slen, uint8_t *out, size_t len)
{
	if (slen / 2 != len || slen % 2 != 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(s[2 * i]), low = hex_digit(s[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool is_plain(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '.' || c == '_' || c == '~';
}

size_t format_url(char *out, const uint8_t *data, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	char *p = out;

	for (size_t i = 0; i < len; i++) {
		if (is_plain(data[i])) {
			*p++ = (char)data[i];
			continue;
		}
		*p++ = '%';
		*p++ = hex[data[i] >> 4];
		*p++ = hex[data[i] & 15];
	}
	return (size_t)(p - out);
}

size_t format_base64(char *out, const uint8_t *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *p = out;

	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t three = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
		                 (left > 2 ? data[i + 2] : 0);
		*p++ = digits[three >> 18];
		*p++ = digits[three >> 12 & 63];
		*p++ = left > 1 ? digits[three >> 6 & 63] : '=';
		*p++ = left > 2 ? digits[three & 63] : '=';
	}
	return (size_t)(p - out);
}

/* 0..63, or -1 when c is no digit of base64. */
static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool parse_base64(const char *s, size_t slen, uint8_t *out, size_t *len)
{
	uint32_t group = 0;
	size_t digits = 0, padding = 0, n = 0;

	for (size_t i = 0; i < slen; i++) {
		int digit = base64_digit(s[i]);
		if (digit < 0 && s[i] != '=')
			continue;
		if (digit >= 0 && padding > 0)
			return false;
		padding += digit < 0;
		group = group << 6 | (uint32_t)(digit < 0 ? 0 : digit);
		if (++digits % 4 != 0)
			continue;
		if (padding > 2)
			return false;
		out[n++] = (uint8_t)(group >> 16);
		if (padding < 2)
			out[n++] = (uint8_t)(group >> 8);
		if (padding < 1)
			out[n++] = (uint8_t)group;
	}
	*len = n;
	return digits > 0 && digits % 4 == 0 && padding <= 2;
}

uint64_t hash_key(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

uint64_t prng_next(struct prng *p)
{
	uint64_t z = p->state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t prng_below(struct prng *p, uint64_t bound)
{
	assert(bound > 0);
	/* Draw again in the last, incomplete run of bound values. */
	uint64_t reject = (0 - bound) % bound; /* 2^64 mod bound */
	uint64_t v;
	do
		v = prng_next(p);
	while (v < reject);
	return v % bound;
}
