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

/* What an item is made with besides its bytes. */
struct seal {
	uint32_t marks;
	uint64_t version; /* 0: a new one is drawn */
};

/* Make a reserved item the value of its key; NULL if it is dead already. */
static struct item *install(const struct store *st, const struct key *key, struct item *item,
			    struct seal seal)
{
	struct state_order chosen = {.version = seal.version, .exptime = item->exptime};

	if (has_passed(st, item->exptime)) { /* [T2] */
		items_remove(st->items, key, CAUSE_CLIENT, NULL);
		items_release(st->items, item);
		return NULL;
	}
	items_install(st->items, item, CAUSE_CLIENT, seal.version ? &chosen : NULL, seal.marks);
	return item;
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
	struct seal seal = {write->marks | (old->bits & ITEM_BINKEY), write->new_version};
	write->stored = install(st, &write->key, joined, seal);
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

/* A value made from an older one, which may be stored as a stale one. */
static bool is_outdated(const struct store *st, const struct store_write *write, const struct item *old)
{
	return write->stale_if_older && st->cas && old && write->cas != 0 && write->cas < old->version;
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
			return write->vivify && !write->compares ? STORE_OK : STORE_NOT_STORED;
		return write->cas == 0 && !write->compares ? STORE_OK : compare(st, old, write->cas);
	case STORE_CAS:
		return is_outdated(st, write, old) ? STORE_OK : compare(st, old, write->cas);
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

static void install_alone(const struct store *st, struct store_write *write, const struct item *old)
{
	struct seal seal = {write->marks, write->new_version};

	if (write->verb == STORE_CAS && is_outdated(st, write, old)) {
		seal.marks |= ITEM_STALE | (old->bits & ITEM_TOKEN);
		items_set_exptime(write->item, old->exptime);
	} else if (write->verb == STORE_APPEND || write->verb == STORE_PREPEND) {
		items_set_exptime(write->item, write->vivify_exptime);
	}
	write->stored = install(st, &write->key, write->item, seal);
	write->item = NULL;
}

enum store_result store_commit(const struct store *st, struct store_write *write)
{
	assert(write->item);
	write->version = 0;
	write->stored = NULL;
	struct item *old = find_old(st, write);
	enum store_result result = check_condition(st, write, old);
	bool join = (write->verb == STORE_APPEND || write->verb == STORE_PREPEND) && old;

	if (result == STORE_OK && !join) {
		install_alone(st, write, old);
	} else {
		if (result == STORE_OK)
			result = commit_joined(st, write, old);
		store_abort(st, write);
	}
	if (write->stored)
		write->version = write->stored->version;
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

void store_invalidate(const struct store *st, struct item *item, const uint32_t *exptime,
		      uint64_t new_version)
{
	struct amendment amendment = {
		.what = AMEND_STALE,
		.set_exptime = exptime != NULL,
		.exptime = exptime ? *exptime : 0,
		.version = new_version,
	};

	items_amend(st->items, item, &amendment, CAUSE_CLIENT);
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

/* Install a value of len bytes: the digits, and spaces behind them. */
static enum store_result install_digits(const struct store *st, const struct store_fresh *fresh,
					const char *digits, size_t digits_len, size_t len, struct item **out)
{
	enum items_status status = ITEMS_OK;
	struct seal seal = {fresh->marks, fresh->new_version};
	struct iovec iov;

	assert(digits_len <= len);
	struct item *item =
		items_reserve(st->items, &fresh->key, len, fresh->flags, fresh->exptime, &status);
	if (!item)
		return result_of(status);
	if (len > 0) {
		int count = items_value_iov(st->items, item, 0, &iov, 1);
		assert(count == 1 && iov.iov_len == len);
		(void)count;
		memset(iov.iov_base, ' ', len);
		memcpy(iov.iov_base, digits, digits_len);
	}
	item = install(st, &fresh->key, item, seal);
	if (out)
		*out = item;
	return STORE_OK;
}

enum store_result store_number(const struct store *st, const struct store_fresh *fresh, uint64_t value,
			       struct item **out)
{
	char digits[DECIMAL_BYTES_MAX];
	size_t len = format_u64(digits, value);

	return install_digits(st, fresh, digits, len, len, out);
}

enum store_result store_empty(const struct store *st, const struct store_fresh *fresh, struct item **out)
{
	return install_digits(st, fresh, "", 0, 0, out);
}

/* The number takes the place of an item that cannot hold it. Its marks stay:
 * what was counted from a stale number is stale. */
static enum store_result replace_number(const struct store *st, struct store_delta *d, const struct item *old,
					const char *digits, size_t digits_len, size_t len)
{
	struct store_fresh fresh = {
		.key = d->key,
		.flags = item_flags(old),
		.exptime = d->set_exptime ? d->exptime : old->exptime,
		.marks = old->bits & (ITEM_BINKEY | ITEM_STALE | ITEM_TOKEN),
		.new_version = d->new_version,
	};
	enum store_result result = install_digits(st, &fresh, digits, digits_len, len, &d->item);

	return result == STORE_OK ? STORE_OK : STORE_NO_MEMORY;
}

static enum store_result write_number(const struct store *st, struct store_delta *d, struct item *old)
{
	char text[NUMBER_INPLACE_BYTES_MAX];
	size_t len = format_u64(text, d->value), old_len = item_value_len(old);

	if (items_is_pinned(st->items, old) || len > old_len)
		return replace_number(st, d, old, text, len, len);
	if (old_len > sizeof(text))
		return replace_number(st, d, old, text, len, old_len);
	memset(text + len, ' ', old_len - len);
	struct amendment amendment = {
		.what = AMEND_VALUE,
		.value = (const uint8_t *)text,
		.set_exptime = d->set_exptime,
		.exptime = d->exptime,
		.version = d->new_version,
	};
	items_amend(st->items, old, &amendment, CAUSE_CLIENT);
	d->item = old;
	return STORE_OK;
}

enum store_result store_delta(const struct store *st, struct store_delta *d)
{
	struct item *old = items_find(st->items, &d->key, ITEMS_READ, NULL);
	uint64_t v;

	if (!old)
		return STORE_NOT_FOUND;
	const uint8_t *text = item_value(old);
	if (!text || !read_number(text, item_value_len(old), &v))
		return STORE_NON_NUMERIC;
	d->value = moved_by(v, d->direction, d->delta);
	return write_number(st, d, old);
}
