/*
 * test_store.c - the verbs: conditions, expiry, joined values of all sizes,
 * arithmetic, and what is left after memory ran out at every possible point.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"

static struct fixture f;

static void setup(void)
{
	fixture_init(&f);
	fixture_open(&f);
}

static void setup_replicated(void)
{
	fixture_init(&f);
	f.settings.replicated = true;
	fixture_open(&f);
}

static void teardown(void)
{
	fixture_close(&f);
}

/* ---- helpers ---------------------------------------------------------------- */

static uint8_t pattern(size_t i, unsigned seed)
{
	return (uint8_t)(i * 31 + i / 251 + seed);
}

static void fill(struct item *item, unsigned seed)
{
	struct iovec iov[4];
	size_t at = 0, len = item_value_len(item);

	while (at < len) {
		if (at == items_reserved_len(f.items, item))
			MUST(items_reserve_more(f.items, item));
		int count = items_value_iov(f.items, item, at, iov, 4);
		MUST(count > 0);
		for (int i = 0; i < count; i++) {
			for (size_t j = 0; j < iov[i].iov_len; j++)
				((uint8_t *)iov[i].iov_base)[j] = pattern(at + j, seed);
			at += iov[i].iov_len;
		}
	}
}

struct write_args {
	enum store_verb verb;
	const char *key;
	const char *value; /* NULL: len bytes of the pattern */
	size_t len;
	unsigned seed;
	uint32_t flags;
	int64_t exptime;
	uint64_t cas;
};

static enum store_result write_value(const struct write_args *a)
{
	struct store_write w = {
	        .verb = a->verb,
	        .key = fixture_key(&f, a->key),
	        .flags = a->flags,
	        .exptime = store_exptime(&f.store, a->exptime),
	        .cas = a->cas,
	        .value_len = a->value ? strlen(a->value) : a->len,
	        .remove_on_failure = a->verb == STORE_SET,
	};
	enum store_result result = store_begin(&f.store, &w);

	if (result != STORE_OK) {
		MUST(w.item == NULL);
		return result;
	}
	if (a->value && w.value_len > 0) {
		struct iovec iov;
		MUST(items_value_iov(f.items, w.item, 0, &iov, 1) == 1);
		memcpy(iov.iov_base, a->value, w.value_len);
	} else {
		fill(w.item, a->seed);
	}
	result = store_commit(&f.store, &w);
	MUST(w.item == NULL);
	return result;
}

#define WRITE(...) write_value(&(struct write_args){__VA_ARGS__})

static struct item *peek(const char *text)
{
	struct key key = fixture_key(&f, text);

	return items_find(f.items, &key, ITEMS_PEEK, NULL);
}

static bool holds(const char *key, const char *value)
{
	struct item *item = peek(key);

	return item && item_value_len(item) == strlen(value) && memcmp(item_value(item), value, strlen(value)) == 0;
}

static void check_bytes(const struct item *item, size_t at, size_t len, unsigned seed)
{
	size_t done = 0;

	while (done < len) {
		struct iovec iov;
		MUST(items_value_iov(f.items, item, at + done, &iov, 1) == 1);
		for (size_t j = 0; j < iov.iov_len && done < len; j++, done++)
			MUST(((uint8_t *)iov.iov_base)[j] == pattern(done, seed));
	}
}

static enum store_result delta(const char *text, enum store_direction direction, uint64_t by, uint64_t *value)
{
	struct store_delta d = {.key = fixture_key(&f, text), .direction = direction, .delta = by};
	enum store_result result = store_delta(&f.store, &d);

	if (result == STORE_OK)
		*value = d.value;
	return result;
}

/* ---- expiry ----------------------------------------------------------------- */

START_TEST(expiry_as_sent)
{
	static const struct {
		int64_t sent;
		uint32_t resolved;
	} cases[] = {
	        {0, 0},
	        {1, FIXTURE_WALL_S + 1},
	        {2592000, FIXTURE_WALL_S + 2592000},
	        {2592001, STORE_EXPTIME_PAST},
	        {FIXTURE_WALL_S - 1, STORE_EXPTIME_PAST},
	        {FIXTURE_WALL_S, STORE_EXPTIME_PAST},
	        {FIXTURE_WALL_S + 1, FIXTURE_WALL_S + 1},
	        {INT32_MAX, INT32_MAX},
	        {UINT32_MAX, UINT32_MAX},
	        {INT64_MAX, UINT32_MAX},
	        {-1, STORE_EXPTIME_PAST},
	        {INT64_MIN, STORE_EXPTIME_PAST},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_uint_eq(store_exptime(&f.store, cases[i].sent), cases[i].resolved);
}
END_TEST

START_TEST(items_expire)
{
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x", .exptime = 2), STORE_OK);
	fixture_advance(&f, 1999);
	ck_assert(holds("a", "x"));
	fixture_advance(&f, 1);
	ck_assert_ptr_null(peek("a"));
	ck_assert_int_eq(WRITE(.verb = STORE_REPLACE, .key = "a", .value = "y"), STORE_NOT_STORED);
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "z"), STORE_OK);
	ck_assert(holds("a", "z"));
}
END_TEST

/* [T2] */
START_TEST(written_dead_is_removed)
{
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "y", .exptime = -1), STORE_OK);
	ck_assert_ptr_null(peek("a"));
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "y", .exptime = 2592001), STORE_OK);
	ck_assert_ptr_null(peek("a"));
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "y", .exptime = -1), STORE_NOT_STORED);
	ck_assert(holds("a", "x"));
	struct items_gauges g;
	ck_assert_int_eq(WRITE(.verb = STORE_REPLACE, .key = "a", .value = "y", .exptime = -1), STORE_OK);
	items_gauges(f.items, &g);
	ck_assert_uint_eq(g.item_count, 0);
}
END_TEST

START_TEST(a_body_that_outlives_its_expiry_is_dead)
{
	struct store_write w = {.verb = STORE_SET, .key = fixture_key(&f, "a"), .value_len = 1};

	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	w.exptime = store_exptime(&f.store, 5);
	ck_assert_int_eq(store_begin(&f.store, &w), STORE_OK);
	fill(w.item, 0);
	fixture_advance(&f, 6000);
	ck_assert_int_eq(store_commit(&f.store, &w), STORE_OK);
	ck_assert_ptr_null(peek("a"));
}
END_TEST

START_TEST(removals_leave_tombstones_when_replicated)
{
	struct key never = fixture_key(&f, "never"), dead = fixture_key(&f, "dead"), big = fixture_key(&f, "big");

	ck_assert_int_eq(store_delete(&f.store, &never), STORE_NOT_FOUND);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "dead", .value = "x", .exptime = -1), STORE_OK);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "big", .len = 2 << 20), STORE_TOO_LARGE);
	ck_assert(item_is_tomb(items_state(f.items, &never)));
	ck_assert(item_is_tomb(items_state(f.items, &dead)));
	ck_assert(item_is_tomb(items_state(f.items, &big)));
	ck_assert_uint_eq(items_tomb_count(f.items), 3);
}
END_TEST

/* ---- conditions ------------------------------------------------------------- */

START_TEST(conditions)
{
	ck_assert_int_eq(WRITE(.verb = STORE_REPLACE, .key = "a", .value = "1"), STORE_NOT_STORED);
	ck_assert_int_eq(WRITE(.verb = STORE_APPEND, .key = "a", .value = "1"), STORE_NOT_STORED);
	ck_assert_int_eq(WRITE(.verb = STORE_PREPEND, .key = "a", .value = "1"), STORE_NOT_STORED);
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "1", .cas = 1), STORE_NOT_FOUND);
	ck_assert_ptr_null(peek("a"));
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "2"), STORE_OK);
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "3"), STORE_NOT_STORED);
	ck_assert(holds("a", "2"));
	ck_assert_int_eq(WRITE(.verb = STORE_REPLACE, .key = "a", .value = "4"), STORE_OK);
	ck_assert(holds("a", "4"));
	uint64_t version = peek("a")->version;
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "5", .cas = version + 1), STORE_EXISTS);
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "5", .cas = 0), STORE_EXISTS);
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "5", .cas = version), STORE_OK);
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "6", .cas = version), STORE_EXISTS);
	ck_assert(holds("a", "5"));
	ck_assert_uint_gt(peek("a")->version, version);
}
END_TEST

START_TEST(without_cas_nothing_compares)
{
	f.store.cas = false;
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "1", .cas = 1), STORE_NOT_FOUND);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "1"), STORE_OK);
	uint64_t version = peek("a")->version;
	ck_assert_int_eq(WRITE(.verb = STORE_CAS, .key = "a", .value = "2", .cas = version), STORE_EXISTS);
}
END_TEST

START_TEST(a_failed_add_is_an_access)
{
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "1"), STORE_OK);
	ck_assert(!(peek("a")->bits & ITEM_FETCHED));
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .value = "1"), STORE_NOT_STORED);
	ck_assert(peek("a")->bits & ITEM_FETCHED);
}
END_TEST

START_TEST(an_aborted_write_changes_nothing)
{
	struct store_write w = {.verb = STORE_SET, .key = fixture_key(&f, "a"), .value_len = 500000};
	struct items_gauges before, after;

	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "old"), STORE_OK);
	uint64_t seq = items_change_seq(f.items);
	items_gauges(f.items, &before);
	ck_assert_int_eq(store_begin(&f.store, &w), STORE_OK);
	store_abort(&f.store, &w);
	ck_assert_ptr_null(w.item);
	items_gauges(f.items, &after);
	ck_assert_uint_eq(before.item_bytes, after.item_bytes);
	ck_assert_uint_eq(seq, items_change_seq(f.items));
	ck_assert(holds("a", "old"));
}
END_TEST

/* ---- append and prepend ----------------------------------------------------- */

static const size_t join_sizes[] = {0, 1, 100, 5000, 16000, 17000, 70000, 200001};

START_TEST(joined_values)
{
	size_t old_len = join_sizes[_i];

	for (size_t n = 0; n < ARRAY_LEN(join_sizes); n++) {
		size_t len = join_sizes[n];
		ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .len = old_len, .seed = 1, .flags = 7, .exptime = 90),
		                 STORE_OK);
		ck_assert_int_eq(WRITE(.verb = STORE_APPEND, .key = "a", .len = len, .seed = 2, .flags = 8, .exptime = -1),
		                 STORE_OK);
		struct item *item = peek("a");
		ck_assert_uint_eq(item_value_len(item), old_len + len);
		check_bytes(item, 0, old_len, 1);
		check_bytes(item, old_len, len, 2);
		ck_assert_uint_eq(item_flags(item), 7);
		ck_assert_uint_eq(item->exptime, FIXTURE_WALL_S + 90);
		ck_assert_int_eq(WRITE(.verb = STORE_PREPEND, .key = "a", .len = len, .seed = 3), STORE_OK);
		item = peek("a");
		ck_assert_uint_eq(item_value_len(item), old_len + 2 * len);
		check_bytes(item, 0, len, 3);
		check_bytes(item, len, old_len, 1);
		check_bytes(item, len + old_len, len, 2);
	}
}
END_TEST

START_TEST(joined_too_large_is_not_stored)
{
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .len = 600000, .seed = 1), STORE_OK);
	uint64_t version = peek("a")->version;
	ck_assert_int_eq(WRITE(.verb = STORE_APPEND, .key = "a", .len = 600000), STORE_NOT_STORED);
	ck_assert_int_eq(WRITE(.verb = STORE_PREPEND, .key = "a", .len = 600000), STORE_NOT_STORED);
	ck_assert_uint_eq(peek("a")->version, version);
	check_bytes(peek("a"), 0, 600000, 1);
}
END_TEST

/* Joining reserves memory, which evicts: perhaps the old value while the new
 * one is still on its way, but never once they are being joined. */
START_TEST(joining_under_pressure)
{
	char key[32];
	int joined = 0;

	for (int i = 0; i < 400; i++) {
		snprintf(key, sizeof(key), "k%d", i % 40);
		enum store_result result = WRITE(.verb = STORE_APPEND, .key = key, .len = 40000, .seed = 5);
		joined += result == STORE_OK;
		if (result != STORE_OK) {
			ck_assert_int_eq(result, STORE_NOT_STORED);
			ck_assert_ptr_null(peek(key));
			ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = key, .len = 200000, .seed = 4), STORE_OK);
		}
		struct item *item = peek(key);
		ck_assert_ptr_nonnull(item);
		check_bytes(item, 0, 200000, 4);
		for (size_t at = 200000; at < item_value_len(item); at += 40000)
			check_bytes(item, at, 40000, 5);
		if (item_value_len(item) > 700000) {
			struct key k = fixture_key(&f, key);
			store_delete(&f.store, &k);
		}
	}
	ck_assert_uint_gt(items_counters(f.items)->evictions, 0);
	ck_assert_int_gt(joined, 100);
}
END_TEST

/* ---- the other verbs -------------------------------------------------------- */

START_TEST(deletes)
{
	struct key key = fixture_key(&f, "a");

	ck_assert_int_eq(store_delete(&f.store, &key), STORE_NOT_FOUND);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	ck_assert_int_eq(store_delete(&f.store, &key), STORE_OK);
	ck_assert_int_eq(store_delete(&f.store, &key), STORE_NOT_FOUND);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x", .exptime = 1), STORE_OK);
	f.now.wall_ms += 2000; /* dead, not reclaimed */
	f.now.mono_ms += 2000;
	ck_assert_int_eq(store_delete(&f.store, &key), STORE_NOT_FOUND);
}
END_TEST

START_TEST(touches)
{
	struct key key = fixture_key(&f, "a");
	enum items_miss miss = ITEMS_MISS_ABSENT;
	struct item *item = NULL;

	ck_assert_int_eq(store_touch(&f.store, &key, 0, &item, &miss), STORE_NOT_FOUND);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x", .exptime = 5), STORE_OK);
	uint64_t version = peek("a")->version;
	ck_assert_int_eq(store_touch(&f.store, &key, store_exptime(&f.store, 100), &item, NULL), STORE_OK);
	ck_assert_ptr_eq(item, peek("a"));
	ck_assert_uint_eq(item->version, version);
	fixture_advance(&f, 50000);
	ck_assert(holds("a", "x"));
	ck_assert_int_eq(store_touch(&f.store, &key, STORE_EXPTIME_PAST, NULL, NULL), STORE_OK);
	ck_assert_ptr_null(peek("a"));
	ck_assert_int_eq(store_touch(&f.store, &key, 0, NULL, &miss), STORE_NOT_FOUND);
}
END_TEST

START_TEST(flushes)
{
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	store_flush(&f.store, 3);
	ck_assert(holds("a", "x"));
	fixture_advance(&f, 2000);
	ck_assert(holds("a", "x"));
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "b", .value = "y"), STORE_OK);
	fixture_advance(&f, 1000);
	ck_assert_ptr_null(peek("a"));
	ck_assert_ptr_null(peek("b"));
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	store_flush(&f.store, FIXTURE_WALL_S + 10); /* absolute */
	fixture_advance(&f, 6000);
	ck_assert(holds("a", "x"));
	fixture_advance(&f, 1000);
	ck_assert_ptr_null(peek("a"));
	static const int64_t at_once[] = {0, -1, FIXTURE_WALL_S - 100};
	for (size_t i = 0; i < ARRAY_LEN(at_once); i++) {
		ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
		store_flush(&f.store, at_once[i]);
		ck_assert_ptr_null(peek("a"));
	}
}
END_TEST

/* ---- incr and decr ---------------------------------------------------------- */

START_TEST(arithmetic)
{
	static const struct {
		const char *old;
		enum store_direction direction;
		uint64_t by;
		uint64_t value;
		const char *stored;
	} cases[] = {
	        {"0", STORE_INCR, 0, 0, "0"},
	        {"9", STORE_INCR, 1, 10, "10"},
	        {"99", STORE_INCR, 1, 100, "100"},
	        {"10", STORE_DECR, 1, 9, "9 "},
	        {"5", STORE_DECR, 6, 0, "0"},
	        {"100", STORE_DECR, UINT64_MAX, 0, "0  "},
	        {"18446744073709551615", STORE_INCR, 1, 0, "0                   "},
	        {"18446744073709551615", STORE_DECR, 0, UINT64_MAX, "18446744073709551615"},
	        {"1", STORE_INCR, UINT64_MAX, 0, "0"},
	        {"007", STORE_INCR, 1, 8, "8  "},
	        {"5 tail", STORE_INCR, 1, 6, "6     "},
	        {"\t\n +5\r", STORE_INCR, 1, 6, "6     "},
	        {"0000000000000000000000000000000000000000000000000000000000000000000000000000000005", STORE_INCR, 1, 6,
	         "6                                                                                 "},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t value = 12345;
		ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "n", .value = cases[i].old, .flags = 4, .exptime = 60),
		                 STORE_OK);
		uint64_t version = peek("n")->version;
		ck_assert_int_eq(delta("n", cases[i].direction, cases[i].by, &value), STORE_OK);
		ck_assert_uint_eq(value, cases[i].value);
		ck_assert_msg(holds("n", cases[i].stored), "case %zu", i);
		ck_assert_uint_gt(peek("n")->version, version);
		ck_assert_uint_eq(item_flags(peek("n")), 4);
		ck_assert_uint_eq(peek("n")->exptime, FIXTURE_WALL_S + 60);
	}
}
END_TEST

START_TEST(what_is_no_number)
{
	static const char *const cases[] = {"", " ", "-1", "+", "x", "5x", "18446744073709551616", "1e3", "++1", "+ 1"};
	uint64_t value;

	ck_assert_int_eq(delta("n", STORE_INCR, 1, &value), STORE_NOT_FOUND);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "n", .value = cases[i]), STORE_OK);
		ck_assert_int_eq(delta("n", STORE_INCR, 1, &value), STORE_NON_NUMERIC);
		ck_assert(holds("n", cases[i]));
	}
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "n", .len = 100000), STORE_OK);
	ck_assert_int_eq(delta("n", STORE_INCR, 1, &value), STORE_NON_NUMERIC);
}
END_TEST

START_TEST(a_pinned_number_is_not_overwritten)
{
	uint64_t value;

	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "n", .value = "10"), STORE_OK);
	struct item *held = peek("n");
	ck_assert(items_pin(f.items, held));
	ck_assert_int_eq(delta("n", STORE_DECR, 1, &value), STORE_OK);
	ck_assert(holds("n", "9")); /* not padded */
	ck_assert_int_eq(memcmp(item_value(held), "10", 2), 0);
	items_unpin(f.items, held);
	ck_assert_int_eq(delta("n", STORE_INCR, 1, &value), STORE_OK);
	ck_assert(holds("n", "10"));
}
END_TEST

/* ---- memory that cannot be had ---------------------------------------------- */

START_TEST(too_large)
{
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "x"), STORE_OK);
	ck_assert_int_eq(WRITE(.verb = STORE_ADD, .key = "a", .len = 2 << 20), STORE_TOO_LARGE);
	ck_assert_int_eq(WRITE(.verb = STORE_APPEND, .key = "a", .len = 2 << 20), STORE_TOO_LARGE);
	ck_assert(holds("a", "x"));
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .len = 2 << 20), STORE_TOO_LARGE); /* [T1] */
	ck_assert_ptr_null(peek("a"));
}
END_TEST

/* One verb against "a" = "10", with the nth request for memory failing. */
static enum store_result failing(int verb, uint64_t nth)
{
	enum store_result result;
	uint64_t value;

	items_fail_alloc_after(f.items, nth);
	if (verb <= STORE_CAS)
		result = WRITE(.verb = (enum store_verb)verb, .key = "a", .value = "123456", .cas = peek("a")->version);
	else
		result = delta("a", STORE_INCR, 1000, &value);
	items_fail_alloc_after(f.items, 0);
	return result;
}

START_TEST(failed_allocations)
{
	int failures = 0;

	for (uint64_t nth = 1; nth <= 4; nth++) {
		struct key key = fixture_key(&f, "a");
		store_delete(&f.store, &key);
		ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "a", .value = "10"), STORE_OK);
		enum store_result result = failing(_i, nth);
		bool kept = result != STORE_OK && _i != STORE_SET;
		if (kept)
			ck_assert(holds("a", "10"));
		else if (result != STORE_OK)
			ck_assert_ptr_null(peek("a"));
		failures += result == STORE_NO_MEMORY || (_i >= STORE_APPEND && result == STORE_NOT_STORED);
		ck_assert_ptr_null(items_check(f.items));
	}
	if (_i != STORE_ADD) /* refused for its own reason when memory is there */
		ck_assert_int_gt(failures, 0);
}
END_TEST

START_TEST(full_without_eviction)
{
	char key[32];
	int stored = 0;
	enum store_result result;

	fixture_close(&f);
	fixture_init(&f);
	f.settings.evict = false;
	fixture_open(&f);
	for (;;) {
		snprintf(key, sizeof(key), "k%d", stored);
		result = WRITE(.verb = STORE_ADD, .key = key, .len = 3000);
		if (result != STORE_OK)
			break;
		stored++;
	}
	ck_assert_int_eq(result, STORE_NO_MEMORY);
	ck_assert_int_gt(stored, 1000);
	ck_assert_int_eq(WRITE(.verb = STORE_APPEND, .key = "k0", .len = 500), STORE_NO_MEMORY);
	ck_assert_uint_eq(item_value_len(peek("k0")), 3000);
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "k0", .len = 3000), STORE_NO_MEMORY);
	ck_assert_ptr_null(peek("k0"));
	ck_assert_int_eq(WRITE(.verb = STORE_SET, .key = "k0", .len = 3000), STORE_OK); /* the room it left */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("verbs");
	TCase *pair = tcase_create("replicated");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, expiry_as_sent);
	tcase_add_test(tc, items_expire);
	tcase_add_test(tc, written_dead_is_removed);
	tcase_add_test(tc, a_body_that_outlives_its_expiry_is_dead);
	tcase_add_test(tc, conditions);
	tcase_add_test(tc, without_cas_nothing_compares);
	tcase_add_test(tc, a_failed_add_is_an_access);
	tcase_add_test(tc, an_aborted_write_changes_nothing);
	tcase_add_loop_test(tc, joined_values, 0, (int)ARRAY_LEN(join_sizes));
	tcase_add_test(tc, joined_too_large_is_not_stored);
	tcase_add_test(tc, joining_under_pressure);
	tcase_add_test(tc, deletes);
	tcase_add_test(tc, touches);
	tcase_add_test(tc, flushes);
	tcase_add_test(tc, arithmetic);
	tcase_add_test(tc, what_is_no_number);
	tcase_add_test(tc, a_pinned_number_is_not_overwritten);
	tcase_add_test(tc, too_large);
	tcase_add_loop_test(tc, failed_allocations, STORE_SET, STORE_CAS + 2);
	tcase_add_test(tc, full_without_eviction);
	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(pair, setup_replicated, teardown);
	tcase_add_test(pair, removals_leave_tombstones_when_replicated);
	suite_add_tcase(suite, pair);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
