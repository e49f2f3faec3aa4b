/*
 * load_keys.h - the keys of a run, and values that prove where they belong.
 *
 * Owns: key number -> key bytes, length, client flags; (key number, version)
 * -> value bytes; the check of a value that came back; for each key the range
 * of versions that a reader may see.
 *
 * Must not know: protocols, connections, time.
 *
 * A value is made of three parts, cut short when it is small:
 *
 *     version, 6 characters | tag of the key, 4 characters | text
 *
 * The text is a slice of a fixed random table whose place depends on key and
 * version, so making and checking a value costs one copy or one compare, and
 * any mix of two values, a shift by a byte or a value under the wrong key is
 * found. No state is needed: a second run, or another server, can check what
 * the first one stored.
 *
 * Order of writes, as far as one client can judge it: every write takes the
 * key's next version. Writes that overlap in time (several connections) may be
 * applied in any order and are one group. Once all of a group are answered and
 * one of them succeeded, nothing older than the group's first version may be
 * seen by a read that starts later. A delete takes a version, too, so a value
 * that comes back after its deletion is found.
 *
 * Invariants
 *  [K1] floor <= group_first <= issued + 1
 *  [K2] in_flight counts writes sent and not answered
 */
#ifndef LOAD_KEYS_H
#define LOAD_KEYS_H

#include "compat.h"
#include "load_dist.h"

#define KEY_LEN_MAX 250
#define KEY_PREFIX_MAX 32
#define TABLE_SLICES 65536
#define TABLE_BYTES (2 * TABLE_SLICES)

struct key_state {
	uint32_t issued;      /* the last version given to a write */
	uint32_t floor;       /* no reader may see less; 0: nothing is known */
	uint32_t group_first; /* first version of the writes under way */
	uint16_t in_flight;
	uint8_t group_ok;     /* one write of the group has succeeded */
	uint8_t restoring;    /* a lost counter is being put back */
};

struct keyspace {
	uint32_t count;
	char prefix[KEY_PREFIX_MAX];
	unsigned prefix_len;
	unsigned digits_min;  /* so many that every number fits */
	bool flags_derived;   /* client flags from the key's number; else 0 */
	bool size_varies;     /* each version of a value has its own size */
	bool numbers;         /* values are decimal counters */
	struct size_dist key_len;
	struct size_dist value_len;
	struct key_state *state;
	char *table;
};

/* The distributions and flags are set by the caller beforehand. */
bool keyspace_init(struct keyspace *ks, uint32_t count, const char *prefix);
void keyspace_release(struct keyspace *ks);

/* Both return the length; out has room for KEY_LEN_MAX. */
unsigned keyspace_key(const struct keyspace *ks, uint32_t key, char *out);
uint32_t keyspace_value_len(const struct keyspace *ks, uint32_t key, uint32_t version);
/* Write exactly keyspace_value_len() bytes. */
void keyspace_value(const struct keyspace *ks, uint32_t key, uint32_t version, char *out);
uint32_t keyspace_flags(const struct keyspace *ks, uint32_t key);

/* Is this a value of this key, and of which version? A version that was cut
 * short for want of room comes back as 0. */
bool keyspace_check(const struct keyspace *ks, uint32_t key, const char *data, size_t len,
                    uint32_t *version);
/* May a read that was sent when the key's floor was `floor` see `version`? */
bool keyspace_check_order(const struct keyspace *ks, uint32_t key, uint32_t floor,
                          uint32_t version);

/* A write is about to be sent: its version. */
uint32_t keyspace_write_begin(struct keyspace *ks, uint32_t key);
/* It was answered; ok: it took effect. */
void keyspace_write_end(struct keyspace *ks, uint32_t key, bool ok);

#endif
