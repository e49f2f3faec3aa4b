/* load_keys.c - the keys of a run, and values that prove where they belong. */
#include "compat.h"
#include "load_keys.h"

#define VERSION_CHARS 6
#define TAG_CHARS 4
#define TABLE_SEED 42 /* fixed: every run and every program has the same table */

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

bool keyspace_init(struct keyspace *ks, uint32_t count, const char *prefix)
{
	struct rng rng = {TABLE_SEED};

	assert(count > 0);
	ks->count = count;
	ks->prefix_len = (unsigned)snprintf(ks->prefix, sizeof(ks->prefix), "%s", prefix);
	if (ks->prefix_len >= sizeof(ks->prefix))
		return false;
	ks->digits_min = 1;
	for (uint32_t n = count - 1; n >= 10; n /= 10)
		ks->digits_min++;
	ks->state = calloc(count, sizeof(*ks->state));
	ks->table = malloc(TABLE_BYTES);
	if (!ks->state || !ks->table)
		return false;
	for (size_t i = 0; i < TABLE_BYTES; i++)
		ks->table[i] = alphabet[rng_below(&rng, 64)];
	return true;
}

void keyspace_release(struct keyspace *ks)
{
	free(ks->state);
	free(ks->table);
	ks->state = NULL;
	ks->table = NULL;
}

static uint64_t key_hash(uint32_t key)
{
	return mix64(key ^ 0x5bd1e995u);
}

static void put_number(char *out, uint32_t v, unsigned len)
{
	static const char pairs[201] =
	        "00010203040506070809101112131415161718192021222324"
	        "25262728293031323334353637383940414243444546474849"
	        "50515253545556575859606162636465666768697071727374"
	        "75767778798081828384858687888990919293949596979899";

	for (; len >= 2; len -= 2, v /= 100)
		memcpy(out + len - 2, pairs + (size_t)(v % 100 * 2), 2);
	if (len)
		out[0] = (char)('0' + v % 10);
}

/* Prefix and zero-padded number; a key too short for both loses the prefix,
 * and one too short for its number is made longer. */
unsigned keyspace_key(const struct keyspace *ks, uint32_t key, char *out)
{
	unsigned len = size_dist_pick(&ks->key_len, key_hash(key));
	unsigned prefix = ks->prefix_len;

	if (len < prefix + ks->digits_min)
		prefix = 0;
	if (len < ks->digits_min)
		len = ks->digits_min;
	assert(len <= KEY_LEN_MAX);
	memcpy(out, ks->prefix, prefix);
	put_number(out + prefix, key, len - prefix);
	return len;
}

uint32_t keyspace_flags(const struct keyspace *ks, uint32_t key)
{
	return ks->flags_derived ? (uint32_t)(key_hash(key) >> 40 & 0xffff) : 0;
}

static unsigned decimal_len(uint32_t v)
{
	unsigned len = 1;

	for (; v >= 10; v /= 10)
		len++;
	return len;
}

uint32_t keyspace_value_len(const struct keyspace *ks, uint32_t key, uint32_t version)
{
	uint64_t hash = key_hash(key) >> 13;

	if (ks->numbers)
		return decimal_len(version);
	if (ks->size_varies)
		hash = mix64(hash + version);
	return size_dist_pick(&ks->value_len, hash);
}

static unsigned version_chars(size_t len)
{
	return len >= VERSION_CHARS + TAG_CHARS ? VERSION_CHARS : ((unsigned)len + 1) / 2;
}

static void put_chars(char *out, uint64_t v, unsigned count)
{
	for (unsigned i = 0; i < count; i++, v >>= 6)
		out[i] = alphabet[v & 63];
}

/* Version and tag of a value of this length; returns how many characters. */
static unsigned make_head(char *out, uint32_t key, uint32_t version, size_t len)
{
	unsigned vchars = version_chars(len);
	unsigned tchars = len - vchars < TAG_CHARS ? (unsigned)len - vchars : TAG_CHARS;

	put_chars(out, version, vchars);
	put_chars(out + vchars, key_hash(key) >> 20, tchars);
	return vchars + tchars;
}

/* Where in the table the n-th slice of a value's text begins. */
static const char *slice(const struct keyspace *ks, uint32_t key, uint32_t version, uint32_t n)
{
	uint64_t place = mix64((uint64_t)key << 32 | (version + (n << 20)));
	return ks->table + place % TABLE_SLICES;
}

void keyspace_value(const struct keyspace *ks, uint32_t key, uint32_t version, char *out)
{
	size_t len = keyspace_value_len(ks, key, version);

	if (ks->numbers) {
		put_number(out, version, (unsigned)len);
		return;
	}
	size_t at = make_head(out, key, version, len);
	for (uint32_t n = 0; at < len; n++) {
		size_t part = len - at < TABLE_SLICES ? len - at : TABLE_SLICES;
		memcpy(out + at, slice(ks, key, version, n), part);
		at += part;
	}
}

static int char_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool read_version(const char *data, unsigned count, uint32_t *version)
{
	uint64_t v = 0;

	for (unsigned i = count; i > 0; i--) {
		int c = char_value(data[i - 1]);
		if (c < 0)
			return false;
		v = v << 6 | (uint64_t)c;
	}
	*version = (uint32_t)v;
	return v <= UINT32_MAX;
}

/* A counter may carry spaces on its right (decr in place leaves them). */
static bool check_number(const char *data, size_t len, uint32_t *version)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < len && i < 10 && data[i] >= '0' && data[i] <= '9'; i++)
		v = v * 10 + (uint64_t)(data[i] - '0');
	bool some = i > 0;
	while (i < len && data[i] == ' ')
		i++;
	*version = (uint32_t)v;
	return some && i == len && v <= UINT32_MAX;
}

bool keyspace_check(const struct keyspace *ks, uint32_t key, const char *data, size_t len,
                    uint32_t *version)
{
	char head[VERSION_CHARS + TAG_CHARS];
	unsigned vchars = version_chars(len);
	uint32_t v = 0;

	*version = 0;
	if (ks->numbers)
		return check_number(data, len, version);
	if (!read_version(data, vchars, &v))
		return false;
	bool whole = vchars == VERSION_CHARS;
	if ((whole || !ks->size_varies) && len != keyspace_value_len(ks, key, v))
		return false;
	size_t at = make_head(head, key, v, len);
	if (memcmp(head, data, at) != 0)
		return false;
	for (uint32_t n = 0; at < len; n++) {
		size_t part = len - at < TABLE_SLICES ? len - at : TABLE_SLICES;
		if (memcmp(data + at, slice(ks, key, v, n), part) != 0)
			return false;
		at += part;
	}
	*version = whole ? v : 0;
	return true;
}

bool keyspace_check_order(const struct keyspace *ks, uint32_t key, uint32_t floor,
                          uint32_t version)
{
	if (floor == 0 || version == 0)
		return true;
	return version >= floor && version <= ks->state[key].issued;
}

uint32_t keyspace_write_begin(struct keyspace *ks, uint32_t key)
{
	struct key_state *s = &ks->state[key];

	s->issued++;
	if (s->in_flight == 0) {
		s->group_first = s->issued;
		s->group_ok = 0;
	}
	assert(s->in_flight < UINT16_MAX);
	s->in_flight++;
	return s->issued;
}

void keyspace_write_end(struct keyspace *ks, uint32_t key, bool ok)
{
	struct key_state *s = &ks->state[key];

	assert(s->in_flight > 0);
	s->in_flight--;
	if (ok)
		s->group_ok = 1;
	if (s->in_flight == 0 && s->group_ok)
		s->floor = s->group_first;
}
