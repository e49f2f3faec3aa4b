/*
 * items_world.h - an items instance with a clock of its own, for tests of the
 * storage engine: numbered keys, values that can be recognised.
 *
 * Key n is its decimal number, then a filler whose length depends on n, so that
 * keys have all lengths and a test finds n from the text.
 */
#ifndef ITEMS_WORLD_H
#define ITEMS_WORLD_H

#include "compat.h"
#include <check.h>
#include "items.h"
#include "items_internal.h"
#include "util.h"

#define WORLD_MIB ((size_t)1 << 20)
#define WORLD_WALL_MS INT64_C(1700000000000)
#define WORLD_IOV 7 /* few on purpose */

struct world {
	struct now now;
	struct hlc hlc;
	struct items_config config;
	struct items *it;
	struct prng p;
	bool plain_keys; /* all keys have 14 characters */
};

/* Defaults; change w->config before world_open(). */
static inline void world_init(struct world *w, size_t memory, bool replicated, uint64_t seed)
{
	*w = (struct world){.now = {5000, WORLD_WALL_MS}, .p = {seed}};
	w->config = (struct items_config){.memory_bytes_max = memory,
	                                  .item_bytes_max = WORLD_MIB,
	                                  .evict = true,
	                                  .replicated = replicated,
	                                  .tomb_bytes_max = 1 << 20,
	                                  .hash_power = 4,
	                                  .hash_seed = seed};
	hlc_init(&w->hlc, !replicated, 77);
}

static inline void world_open(struct world *w)
{
	w->it = items_new(&w->config, &w->now, &w->hlc);
	ck_assert_ptr_nonnull(w->it);
}

static inline void world_check(const struct world *w)
{
	const char *wrong = items_check(w->it);
	ck_assert_msg(!wrong, "%s", wrong);
}

static inline void world_close(struct world *w)
{
	world_check(w);
	items_free(w->it);
	w->it = NULL;
}

static inline void world_advance(struct world *w, int64_t ms)
{
	w->now.mono_ms += ms;
	w->now.wall_ms += ms;
}

/* Do all housekeeping that is due. */
static inline void world_settle_down(struct world *w)
{
	for (int n = 0; items_next_due_ms(w->it) <= w->now.mono_ms; n++) {
		ck_assert_int_lt(n, 100000);
		items_tick(w->it);
	}
}

static inline struct key world_key(const struct world *w, uint32_t n)
{
	static char text[KEY_BYTES_MAX + 1]; /* one key at a time */
	size_t digits = format_u64(text, n);
	size_t filler = n % 16 == 0 ? n * 7 % (KEY_BYTES_MAX - 10) : n % 12;
	if (w->plain_keys)
		filler = 14 - digits;
	memset(text + digits, 'k', filler);
	return items_key(w->it, text, digits + filler);
}

static inline uint32_t world_key_number(const uint8_t *key, size_t len)
{
	uint32_t n = 0;
	for (size_t at = 0; at < len && key[at] != 'k'; at++)
		n = n * 10 + key[at] - '0';
	return n;
}

/* Write `salt` and a running number through all of a reserved item's value. */
static inline void world_fill(const struct world *w, struct item *i, uint32_t salt)
{
	struct iovec iov[WORLD_IOV];
	size_t offset = 0, len = item_value_len(i);
	while (offset < len) {
		int count = items_value_iov(w->it, i, offset, iov, WORLD_IOV);
		ck_assert_int_gt(count, 0);
		for (int n = 0; n < count; n++) {
			uint8_t *to = iov[n].iov_base;
			for (size_t at = 0; at < iov[n].iov_len; at++)
				to[at] = (uint8_t)((offset + at) * 31 + salt);
			offset += iov[n].iov_len;
		}
	}
}

/* Whether a value is what world_fill() wrote. */
static inline bool world_is_filled(const struct world *w, const struct item *i, uint32_t salt)
{
	struct iovec iov[WORLD_IOV];
	size_t offset = 0, len = item_value_len(i), wrong = 0;
	while (offset < len) {
		int count = items_value_iov(w->it, i, offset, iov, WORLD_IOV);
		ck_assert_int_gt(count, 0);
		for (int n = 0; n < count; n++) {
			const uint8_t *from = iov[n].iov_base;
			for (size_t at = 0; at < iov[n].iov_len; at++)
				wrong += from[at] != (uint8_t)((offset + at) * 31 + salt);
			offset += iov[n].iov_len;
		}
	}
	ck_assert_uint_eq(offset, len);
	return wrong == 0;
}

/* Store key n; NULL when there is no memory. The value is filled with n + len. */
static inline struct item *world_put(struct world *w, uint32_t n, size_t len, uint32_t exptime)
{
	struct key key = world_key(w, n);
	enum items_status status;
	struct item *i = items_reserve(w->it, &key, len, 0, exptime, &status);
	if (!i)
		return NULL;
	world_fill(w, i, n + (uint32_t)len);
	items_install(w->it, i, CAUSE_CLIENT, NULL, 0);
	return i;
}

static inline struct item *world_find(struct world *w, uint32_t n, enum items_lookup how)
{
	struct key key = world_key(w, n);
	return items_find(w->it, &key, how, NULL);
}

static inline bool world_remove(struct world *w, uint32_t n)
{
	struct key key = world_key(w, n);
	return items_remove(w->it, &key, CAUSE_CLIENT, NULL);
}

static inline uint32_t world_wall_s(const struct world *w)
{
	return now_wall_s(&w->now);
}

#endif
