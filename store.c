/*
 * store.c - what memcached means by its verbs. See store.h.
 *
 * Owns: conditions (is there an old value, is it the one compared with), the
 * joining of values for append and prepend, the arithmetic on decimal values.
 *
 * Must not know: protocols, sessions, statistics, replication.
 *
 * Anything that reserves memory may evict, so an item found before is pinned
 * around it, or its fields are copied first.
 *
 * Invariants: [T1] [T2] [T3] of store.h. Covered by: t/test_store.c.
 */
#include "compat.h"
#include "store.h"
#include "util.h"

/* Values up to this length are counted in place; longer ones, which are almost
 * all padding, take a new item. */
#define NUMBER_INPLACE_BYTES_MAX 64
/* Pieces looked at at once when a value that is not in one piece is copied. */
#define COPY_IOV_MAX 16

/* ---- expiry ----------------------------------------------------------------- */

uint32_t store_exptime(const struct store *st, int64_t sent)
{
	uint32_t now_s = now_wall_s(st->now);

	if (sent == 0)
		return 0;
	if (sent < 0)
		return STORE_EXPTIME_PAST;
	if (sent <= STORE_RELATIVE_S_MAX)
		return now_s + (uint32_t)sent;
	if (sent <= now_s)
		return STORE_EXPTIME_PAST;
	return sent < UINT32_MAX ? (uint32_t)sent : UINT32_MAX;
}

static bool has_passed(const struct store *st, uint32_t exptime)
{
	return exptime != 0 && (exptime <= now_wall_s(st->now) || exptime == STORE_EXPTIME_PAST);
}

/* ---- storing ---------------------------------------------------------------- */

static enum store_result result_of(enum items_status status)
{
	assert(status != ITEMS_OK);
	return status == ITEMS_TOO_LARGE ? STORE_TOO_LARGE : STORE_NO_MEMORY;
}

enum store_result store_begin(const struct store *st, struct store_write *write)
{
	enum items_status status = ITEMS_OK;

	assert(write->key.len > 0 && write->key.len <= KEY_BYTES_MAX);
	write->item = items_reserve_part(st->items, &write->key, write->value_len, write->flags,
					 write->exptime, &status);
	if (write->item)
		return STORE_OK;
	if (write->remove_on_failure)
		items_remove(st->items, &write->key, CAUSE_CLIENT, NULL); /* [T1] */
	return result_of(status);
}

bool store_more(const struct store *st, struct store_write *write)
{
	return items_reserve_more(st->items, write->item);
}

void store_refuse(const struct store *st, struct store_write *write)
{
	if (write->remove_on_failure)
		items_remove(st->items, &write->key, CAUSE_CLIENT, NULL); /* [T1] */
	store_abort(st, write);
}

void store_abort(const struct store *st, struct store_write *write)
{
	assert(write->item);
	items_release(st->items, write->item);
	write->item = NULL;
}

/* Copy the whole value of `from` into `to`, from offset on. */
static void copy_value(const struct store *st, struct item *to, size_t offset, const struct item *from)
{
	struct iovec src[COPY_IOV_MAX], dst[COPY_IOV_MAX];
	size_t len = item_value_len(from), done = 0;

	assert(offset + len <= item_value_len(to));
	while (done < len) {
		int src_count = items_value_iov(st->items, from, done, src, COPY_IOV_MAX);
		int dst_count = items_value_iov(st->items, to, offset + done, dst, COPY_IOV_MAX);
		int s = 0, d = 0;
		assert(src_count > 0 && dst_count > 0);
		while (s < src_count && d < dst_count) {
			size_t n = src[s].iov_len < dst[d].iov_len ? src[s].iov_len : dst[d].iov_len;
			memcpy(dst[d].iov_base, src[s].iov_base, n);
			done += n;
			src[s].iov_base = (uint8_t *)src[s].iov_base + n;
			dst[d].iov_base = (uint8_t *)dst[d].iov_base + n;
			src[s].iov_len -= n;
			dst[d].iov_len -= n;
			s += src[s].iov_len == 0;
			d += dst[d].iov_len == 0;
		}
	}
}

/* Make a reserved item the value of its key; its version. */
static uint64_t install(const struct store *st, const struct key *key, struct item *item)
{
	if (has_passed(st, item->exptime)) { /* [T2] */
		items_remove(st->items, key, CAUSE_CLIENT, NULL);
		items_release(st->items, item);
		return 0;
	}
	items_install(st->items, item, CAUSE_CLIENT, NULL, 0);
	return item->version;
}

/* Install old and new value joined, in the order of the verb; flags and expiry
 * stay the old ones. `old` is pinned by the caller. */
static enum store_result install_joined(const struct store *st, struct store_write *write, struct item *old)
{
	size_t old_len = item_value_len(old), new_len = item_value_len(write->item);
	enum items_status status = ITEMS_OK;
	struct item *joined = items_reserve(st->items, &write->key, old_len + new_len, item_flags(old),
					    old->exptime, &status);

	if (!joined)
		return STORE_NOT_STORED;
	bool append = write->verb == STORE_APPEND;
	copy_value(st, joined, append ? 0 : new_len, old);
	copy_value(st, joined, append ? old_len : 0, write->item);
	items_install(st->items, joined, CAUSE_CLIENT, NULL, 0);
	write->version = joined->version;
	return STORE_OK;
}

static enum store_result commit_joined(const struct store *st, struct store_write *write, struct item *old)
{
	if (!items_pin(st->items, old)) /* reserving may evict */
		return STORE_NOT_STORED;
	enum store_result result = install_joined(st, write, old);
	items_unpin(st->items, old);
	return result;
}

static enum store_result compare(const struct store *st, const struct item *old, uint64_t cas)
{
	if (!old)
		return STORE_NOT_FOUND;
	return st->cas && cas != 0 && cas == old->version ? STORE_OK : STORE_EXISTS;
}

/* Whether the verb may go on, given what the key holds now. */
static enum store_result check_condition(const struct store *st, const struct store_write *write,
					 const struct item *old)
{
	switch (write->verb) {
	case STORE_SET:
		return STORE_OK;
	case STORE_ADD:
		return old ? STORE_NOT_STORED : STORE_OK;
	case STORE_REPLACE:
		return old ? STORE_OK : STORE_NOT_STORED;
	case STORE_APPEND:
	case STORE_PREPEND:
		if (!old)
			return STORE_NOT_STORED;
		return write->cas == 0 ? STORE_OK : compare(st, old, write->cas);
	case STORE_CAS:
		return compare(st, old, write->cas);
	}
	assert(false);
	return STORE_NOT_STORED;
}

static struct item *find_old(const struct store *st, const struct store_write *write)
{
	switch (write->verb) {
	case STORE_SET:
		return NULL; /* of no interest */
	case STORE_ADD:      /* a failed add counts as an access */
		return items_find(st->items, &write->key, ITEMS_READ, NULL);
	default:
		return items_find(st->items, &write->key, ITEMS_PEEK, NULL);
	}
}

enum store_result store_commit(const struct store *st, struct store_write *write)
{
	assert(write->item);
	write->version = 0;
	struct item *old = find_old(st, write);
	enum store_result result = check_condition(st, write, old);
	bool join = write->verb == STORE_APPEND || write->verb == STORE_PREPEND;

	if (result == STORE_OK && !join) {
		write->version = install(st, &write->key, write->item);
		write->item = NULL;
		return STORE_OK;
	}
	if (result == STORE_OK)
		result = commit_joined(st, write, old);
	store_abort(st, write);
	return result;
}

/* ---- the other verbs -------------------------------------------------------- */

enum store_result store_compare(const struct store *st, const struct key *key, uint64_t cas)
{
	return compare(st, items_find(st->items, key, ITEMS_PEEK, NULL), cas);
}

enum store_result store_delete(const struct store *st, const struct key *key)
{
	return items_remove(st->items, key, CAUSE_CLIENT, NULL) ? STORE_OK : STORE_NOT_FOUND;
}

enum store_result store_touch(const struct store *st, const struct key *key, uint32_t exptime,
			      struct item **out, enum items_miss *miss)
{
	struct item *item = items_find(st->items, key, ITEMS_READ, miss);
	struct amendment amendment = {.what = AMEND_EXPIRY, .exptime = exptime};

	if (!item)
		return STORE_NOT_FOUND;
	items_amend(st->items, item, &amendment, CAUSE_CLIENT);
	if (out)
		*out = item;
	return STORE_OK;
}

void store_flush(const struct store *st, int64_t sent)
{
	uint32_t when_s = sent > 0 ? store_exptime(st, sent) : 0;

	if (sent > 0 && sent <= STORE_RELATIVE_S_MAX)
		items_flush_command(st->items, st->now->wall_ms + sent * 1000);
	else if (has_passed(st, when_s) || when_s == 0)
		items_flush_command(st->items, 0);
	else
		items_flush_command(st->items, (int64_t)when_s * 1000);
}

/* ---- incr and decr ---------------------------------------------------------- */

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The number a value stands for: white space and '+' may stand before it, and
 * anything after it that begins with white space. */
static bool read_number(const uint8_t *p, size_t len, uint64_t *out)
{
	const uint8_t *end = p + len;
	const uint8_t *digits;
	uint64_t v = 0;

	while (p < end && is_space(*p))
		p++;
	if (p < end && *p == '+')
		p++;
	for (digits = p; p < end && *p >= '0' && *p <= '9'; p++) {
		uint64_t digit = *p - (uint64_t)'0';
		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return p > digits && (p == end || is_space(*p));
}

static uint64_t moved_by(uint64_t v, enum store_direction direction, uint64_t delta)
{
	if (direction == STORE_INCR)
		return v + delta; /* modulo 2^64 */
	return v > delta ? v - delta : 0;
}

/* Install a value that is `digits`, padded with spaces to len. */
static enum store_result install_number(const struct store *st, const struct key *key, const struct item *old,
					const char *digits, size_t digits_len, size_t len)
{
	enum items_status status = ITEMS_OK;
	struct iovec iov;

	assert(digits_len <= len);
	struct item *item = items_reserve(st->items, key, len, item_flags(old), old->exptime, &status);
	if (!item)
		return STORE_NO_MEMORY;
	int count = items_value_iov(st->items, item, 0, &iov, 1);
	assert(count == 1 && iov.iov_len == len);
	(void)count;
	memset(iov.iov_base, ' ', len);
	memcpy(iov.iov_base, digits, digits_len);
	items_install(st->items, item, CAUSE_CLIENT, NULL, 0);
	return STORE_OK;
}

static enum store_result write_number(const struct store *st, const struct key *key, struct item *old,
				      uint64_t v)
{
	char text[NUMBER_INPLACE_BYTES_MAX];
	size_t len = format_u64(text, v), old_len = item_value_len(old);

	if (items_is_pinned(st->items, old) || len > old_len)
		return install_number(st, key, old, text, len, len);
	if (old_len > sizeof(text))
		return install_number(st, key, old, text, len, old_len);
	memset(text + len, ' ', old_len - len);
	struct amendment amendment = {.what = AMEND_VALUE, .value = (const uint8_t *)text};
	items_amend(st->items, old, &amendment, CAUSE_CLIENT);
	return STORE_OK;
}

enum store_result store_number(const struct store *st, const struct key *key, uint64_t value,
			       uint32_t exptime)
{
	char digits[DECIMAL_BYTES_MAX];
	size_t len = format_u64(digits, value);
	struct store_write write = {.verb = STORE_ADD, .key = *key, .exptime = exptime, .value_len = len};
	enum store_result result = store_begin(st, &write);
	struct iovec iov;

	if (result != STORE_OK)
		return result;
	int count = items_value_iov(st->items, write.item, 0, &iov, 1);
	assert(count == 1 && iov.iov_len == len);
	(void)count;
	memcpy(iov.iov_base, digits, len);
	return store_commit(st, &write);
}

enum store_result store_delta(const struct store *st, const struct key *key, enum store_direction direction,
			      uint64_t delta, uint64_t *value)
{
	struct item *old = items_find(st->items, key, ITEMS_READ, NULL);
	uint64_t v;

	if (!old)
		return STORE_NOT_FOUND;
	const uint8_t *text = item_value(old);
	if (!text || !read_number(text, item_value_len(old), &v))
		return STORE_NON_NUMERIC;
	*value = moved_by(v, direction, delta);
	return write_number(st, key, old, *value);
}
