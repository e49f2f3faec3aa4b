/*
 * util.h - numbers in text, hashing, a seeded generator.
 *
 * Owns: the strict number grammars of the protocols (reference section 1.3),
 * fast decimal printing, hex, base64, the 64-bit key hash (XXH3 with a seed), and a small
 * deterministic generator for jitter and simulation.
 *
 * Must not know: anything of this program.
 *
 * Layer 0. Covered by: t/test_util.c.
 */
#ifndef UTIL_H
#define UTIL_H

#include "compat.h"

/* Strict decimal: digits only, at least one, leading zeros fine. False on any
 * other byte, on overflow, and on more than 22 characters. */
bool parse_u64(const char *s, size_t len, uint64_t *out);
bool parse_u32(const char *s, size_t len, uint32_t *out);
/* Optional '-', digits, at most 11 characters in all, no '+'. */
bool parse_i32(const char *s, size_t len, int32_t *out);
/* strtol grammar for a whole token: optional sign, digits, 64-bit range, then
 * truncated to int32 as memcached does for the expiry of storage commands. */
bool parse_exptime_lenient(const char *s, size_t len, int32_t *out);
/* strtoul grammar for a whole token: optional '+', digits, no '-', 64-bit
 * range, then truncated to 32 bits (client flags). */
bool parse_flags_lenient(const char *s, size_t len, uint32_t *out);

#define DECIMAL_BYTES_MAX 20 /* digits of UINT64_MAX */
/* Print v in decimal at out (no terminator); returns the length, 1..20. */
size_t format_u64(char *out, uint64_t v);

/* Lower-case hex of len bytes into out (2*len characters, no terminator). */
void format_hex(char *out, const uint8_t *data, size_t len);
/* The reverse; false unless exactly 2*len hex digits. */
bool parse_hex(const char *s, size_t slen, uint8_t *out, size_t len);

/* Keys as lists of keys show them: letters, digits and - . _ ~ as they are, other
 * bytes as %XX; the length, at most 3 * len. */
size_t format_url(char *out, const uint8_t *data, size_t len);
#define BASE64_BYTES(len) (((len) + 2) / 3 * 4)
/* Standard alphabet with padding; the length, BASE64_BYTES(len). */
size_t format_base64(char *out, const uint8_t *data, size_t len);
/* The reverse: characters of other alphabets are passed over; false if what is
 * left is not one or more groups of four, padded at the end only. out has room
 * for 3 bytes of every 4 of slen. */
bool parse_base64(const char *s, size_t slen, uint8_t *out, size_t *len);

/* 64-bit hash of a key. Every bit is good; seed makes it unpredictable. */
uint64_t hash_key(const void *data, size_t len, uint64_t seed);

/* splitmix64: deterministic, seeded; for jitter and simulation, not secrets. */
struct prng {
	uint64_t state;
};
uint64_t prng_next(struct prng *p);
/* Uniform in 0..bound-1; bound > 0. */
uint64_t prng_below(struct prng *p, uint64_t bound);

static inline uint64_t load_be64(const uint8_t *p)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}
static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline void store_be64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}
static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void store_be32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

#endif
