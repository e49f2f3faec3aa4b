/*
 * test_shadow_cmd.c - nothing changes behind the observer's back (rule R3). A
 * map that is fed only with the changes that items reports must equal a full
 * dump of the items after every command, whatever its outcome.
 *
 * The matrix is checked against commands.def: a command that may write and has
 * no row here fails the test.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"
#include "packets.h"
#include "util.h"

#define STATES_MAX 512

struct state {
	char key[64];
	struct state_order order;
	uint32_t flags;
	uint32_t marks; /* those that travel */
	uint64_t value_hash;
	size_t value_len;
};

struct shadow {
	struct state states[STATES_MAX];
	size_t count;
	struct flush_state flush;
	uint64_t seq;
};

static struct fixture f;
static struct client c;
static struct shadow shadow;

/* ---- the map ---------------------------------------------------------------- */

static uint64_t hash_value(const struct item *item)
{
	size_t at = 0, len = item_value_len(item);
	uint64_t hash = len;

	while (at < len) {
		struct iovec iov;
		MUST(items_value_iov(f.items, item, at, &iov, 1) == 1);
		for (size_t i = 0; i < iov.iov_len; i++)
			hash = (hash ^ ((uint8_t *)iov.iov_base)[i]) * UINT64_C(1099511628211);
		at += iov.iov_len;
	}
	return hash;
}

static struct state state_of(const struct item *item)
{
	struct state s = {
	        .order = item_order(item),
	        .flags = item_flags(item),
	        .marks = item->bits & ITEM_SHIPPED_BITS,
	        .value_hash = hash_value(item),
	        .value_len = item_value_len(item),
	};

	MUST(item->key_len < sizeof(s.key));
	memcpy(s.key, item_key(item), item->key_len);
	return s;
}

static struct state *find_state(struct shadow *sh, const char *key)
{
	for (size_t i = 0; i < sh->count; i++) {
		if (strcmp(sh->states[i].key, key) == 0)
			return &sh->states[i];
	}
	return NULL;
}

static void put_state(struct shadow *sh, const struct state *s)
{
	struct state *at = find_state(sh, s->key);

	if (!at) {
		MUST(sh->count < STATES_MAX);
		at = &sh->states[sh->count++];
	}
	*at = *s;
}

static void drop_state(struct shadow *sh, struct state *s)
{
	if (s)
		*s = sh->states[--sh->count];
}

static void drop_flushed(struct shadow *sh)
{
	for (size_t i = 0; i < sh->count;) {
		if (sh->states[i].order.version <= sh->flush.barrier)
			drop_state(sh, &sh->states[i]);
		else
			i++;
	}
}

static void observe(void *ctx, const struct change *change)
{
	struct shadow *sh = ctx;
	char key[64] = "";

	MUST(change->seq == ++sh->seq);
	MUST(change->key.len < sizeof(key));
	if (change->key.len > 0)
		memcpy(key, change->key.data, change->key.len);
	switch (change->kind) {
	case CHANGE_STATE:
	case CHANGE_TOUCH: {
		struct state s = state_of(change->after);
		MUST(strcmp(s.key, key) == 0);
		MUST(state_order_cmp(&s.order, &change->order) == 0);
		MUST(change->kind == CHANGE_STATE || find_state(sh, key));
		put_state(sh, &s);
		break;
	}
	case CHANGE_REMOVE:
		drop_state(sh, find_state(sh, key));
		break;
	case CHANGE_FLUSH:
		sh->flush = *change->flush;
		drop_flushed(sh);
		break;
	}
}

/* ---- the comparison --------------------------------------------------------- */

struct dump {
	size_t count;
	const char *wrong;
	char key[64];
};

static bool compare(void *ctx, const struct item *item)
{
	struct dump *dump = ctx;

	if (item_is_tomb(item))
		return true;
	struct state s = state_of(item);
	const struct state *seen = find_state(&shadow, s.key);
	dump->count++;
	if (!seen)
		dump->wrong = "held, but never reported";
	else if (state_order_cmp(&seen->order, &s.order) != 0)
		dump->wrong = "another version";
	else if (seen->marks != s.marks)
		dump->wrong = "other marks";
	else if (seen->flags != s.flags || seen->value_len != s.value_len || seen->value_hash != s.value_hash)
		dump->wrong = "other contents";
	if (dump->wrong)
		snprintf(dump->key, sizeof(dump->key), "%s", s.key);
	return dump->wrong == NULL;
}

static void check_shadow(const char *after)
{
	struct items_cursor cursor = {0};
	struct dump dump = {0};

	while (!cursor.done && !dump.wrong)
		items_walk(f.items, &cursor, SIZE_MAX, compare, &dump);
	if (dump.wrong)
		ck_abort_msg("after %s: %s: %s", after, dump.key, dump.wrong);
	if (dump.count != shadow.count)
		ck_abort_msg("after %s: %zu held, %zu reported", after, dump.count, shadow.count);
	MUST(shadow.seq == items_change_seq(f.items));
	const struct flush_state *flush = items_flush_state(f.items);
	/* a node of its own forgets the barrier once nothing is below it */
	bool forgotten = !f.settings.replicated && flush->barrier == 0;
	MUST(forgotten || flush->barrier == shadow.flush.barrier);
}

static void open_server(bool replicated)
{
	memset(&shadow, 0, sizeof(shadow));
	fixture_init(&f);
	f.settings.replicated = replicated;
	f.settings.memory_bytes_max = 4 << 20;
	fixture_open(&f);
	items_observe(f.items, observe, &shadow);
	client_open(&c, &f, &(struct pace){0});
}

static void close_server(void)
{
	client_close(&c);
	fixture_close(&f);
}

/* ---- the matrix ------------------------------------------------------------- */

struct row {
	enum command_id id;
	const char *before; /* played first; its replies are of no interest */
	const char *input;
	const char *reply;
};

#define NUMBER "set a 3 500 2\r\n10\r\n"
#define BADFMT "CLIENT_ERROR bad command line format\r\n"
#define CHUNK "CLIENT_ERROR bad data chunk\r\n"
#define TOO_LARGE "SERVER_ERROR object too large for cache\r\n"

static const struct row matrix[] = {
        {CMD_GAT, "", "gat 10 a\r\n", "END\r\n"},
        {CMD_GAT, NUMBER, "gat 10 a x a\r\n", "VALUE a 3 2\r\n10\r\nVALUE a 3 2\r\n10\r\nEND\r\n"},
        {CMD_GAT, NUMBER, "gat -1 a\r\n", "VALUE a 3 2\r\n10\r\nEND\r\n"},
        {CMD_GATS, NUMBER, "gats 0 x\r\n", "END\r\n"},
        {CMD_SET, "", "set a 0 0 1\r\nx\r\n", "STORED\r\n"},
        {CMD_SET, NUMBER, "set a 0 7 1\r\nx\r\n", "STORED\r\n"},
        {CMD_SET, NUMBER, "set a 0 -1 1\r\nx\r\n", "STORED\r\n"},
        {CMD_SET, "", "set a 0 -1 1\r\nx\r\n", "STORED\r\n"},
        {CMD_SET, NUMBER, "set a 0 0 1\r\nxyz", CHUNK},
        {CMD_SET, NUMBER, "set a x 0 1\r\nx\r\n", BADFMT},
        {CMD_ADD, "", "add a 5 0 1\r\nx\r\n", "STORED\r\n"},
        {CMD_ADD, "", "add a 5 -1 1\r\nx\r\n", "STORED\r\n"},
        {CMD_ADD, NUMBER, "add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
        {CMD_REPLACE, "", "replace a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
        {CMD_REPLACE, NUMBER, "replace a 0 0 1\r\nx\r\n", "STORED\r\n"},
        {CMD_APPEND, "", "append a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
        {CMD_APPEND, NUMBER, "append a 0 0 1\r\nx\r\n", "STORED\r\n"},
        {CMD_PREPEND, "", "prepend a 0 0 1\r\nx\r\n", "NOT_STORED\r\n"},
        {CMD_PREPEND, NUMBER, "prepend a 0 0 1\r\nx\r\n", "STORED\r\n"},
        {CMD_CAS, "", "cas a 0 0 1 1\r\nx\r\n", "NOT_FOUND\r\n"},
        {CMD_CAS, NUMBER, "cas a 0 0 1 77\r\nx\r\n", "EXISTS\r\n"},
        {CMD_DELETE, "", "delete a\r\n", "NOT_FOUND\r\n"},
        {CMD_DELETE, NUMBER, "delete a\r\n", "DELETED\r\n"},
        {CMD_DELETE, NUMBER, "delete a noreply\r\n", ""},
        {CMD_INCR, "", "incr a 1\r\n", "NOT_FOUND\r\n"},
        {CMD_INCR, NUMBER, "incr a 1\r\n", "11\r\n"},
        {CMD_INCR, NUMBER, "incr a 90\r\n", "100\r\n"},
        {CMD_INCR, "set a 0 0 1\r\nx\r\n", "incr a 1\r\n",
         "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
        {CMD_DECR, "", "decr a 1\r\n", "NOT_FOUND\r\n"},
        {CMD_DECR, NUMBER, "decr a 1\r\n", "9\r\n"},
        {CMD_TOUCH, "", "touch a 10\r\n", "NOT_FOUND\r\n"},
        {CMD_TOUCH, NUMBER, "touch a 10\r\n", "TOUCHED\r\n"},
        {CMD_TOUCH, NUMBER, "touch a -1\r\n", "TOUCHED\r\n"},
        {CMD_META_GET, "", "mg a v k\r\n", "EN ka\r\n"},
        {CMD_META_GET, NUMBER, "mg a v t f\r\n", "VA 2 t500 f3\r\n10\r\n"},
        {CMD_META_GET, NUMBER, "mg a T10 t\r\n", "HD t10\r\n"},
        {CMD_META_GET, NUMBER, "mg a T-1 t\r\n", "HD t0\r\n"},
        {CMD_META_GET, NUMBER, "mg a R600\r\n", "HD W\r\n"},
        {CMD_META_GET, NUMBER "mg a R600\r\n", "mg a R600 T700\r\n", "HD Z\r\n"},
        {CMD_META_GET, "", "mg a N10 t v\r\n", "VA 0 t10 W\r\n\r\n"},
        {CMD_META_GET, "", "mg a N10 T20 t\r\n", "HD t20 W\r\n"},
        {CMD_META_GET, "", "mg a N-1 t\r\n", "EN\r\n"},
        {CMD_META_GET, "", "mg YSBi b N10 k\r\n", "HD kYSBi b W\r\n"},
        {CMD_META_GET, NUMBER "md a I\r\n", "mg a v\r\n", "VA 2 X W\r\n10\r\n"},
        {CMD_META_SET, "", "ms a 1\r\nx\r\n", "HD\r\n"},
        {CMD_META_SET, NUMBER, "ms a 1 T7 F5 I s\r\nx\r\n", "HD s1\r\n"},
        {CMD_META_SET, NUMBER, "ms a 1 T-1\r\nx\r\n", "HD\r\n"},
        {CMD_META_SET, NUMBER "md a I\r\n", "ms a 1\r\nx\r\n", "HD\r\n"},
        {CMD_META_SET, NUMBER, "ms a 1 C0 c\r\nx\r\n", "EX c0\r\n"},
        {CMD_META_SET, NUMBER "set a 3 500 2\r\n11\r\n", "ms a 1 C1 I\r\nx\r\n", "HD\r\n"},
        {CMD_META_SET, NUMBER, "ms a 1 C18446744073709551615 I\r\nx\r\n", "EX\r\n"},
        {CMD_META_SET, "", "ms a 1 C9\r\nx\r\n", "NF\r\n"},
        {CMD_META_SET, NUMBER, "ms a 1 ME\r\nx\r\n", "NS\r\n"},
        {CMD_META_SET, "", "ms a 1 MR\r\nx\r\n", "NS\r\n"},
        {CMD_META_SET, NUMBER "md a I\r\n", "ms a 1 MA s\r\nx\r\n", "HD s3\r\n"},
        {CMD_META_SET, "", "ms a 1 MP N10\r\nx\r\n", "HD\r\n"},
        {CMD_META_SET, "", "ms YSBi 1 b k\r\nx\r\n", "HD kYSBi b\r\n"},
        {CMD_META_SET, "ms YSBi 1 b\r\nx\r\n", "ms YSBi 1 b MA k s\r\ny\r\n", "HD kYSBi b s2\r\n"},
        {CMD_META_SET, NUMBER, "ms a 1 q\r\nxyz", CHUNK},
        {CMD_META_DELETE, "", "md a\r\n", "NF\r\n"},
        {CMD_META_DELETE, NUMBER, "md a k\r\n", "HD ka\r\n"},
        {CMD_META_DELETE, NUMBER, "md a C99\r\n", "EX\r\n"},
        {CMD_META_DELETE, "", "md a I C99\r\n", "NF\r\n"},
        {CMD_META_DELETE, NUMBER, "md a I\r\n", "HD\r\n"},
        {CMD_META_DELETE, NUMBER "md a I\r\n", "md a I T30\r\n", "HD\r\n"},
        {CMD_META_DELETE, NUMBER, "md a I T-1\r\n", "HD\r\n"},
        {CMD_META_DELETE, NUMBER, "md a x\r\n", "HD\r\n"},
        {CMD_META_DELETE, NUMBER, "md a x F7 T9 I\r\n", "HD\r\n"},
        {CMD_META_DELETE, NUMBER, "md a x T-1\r\n", "HD\r\n"},
        {CMD_META_COUNT, "", "ma a\r\n", "NF\r\n"},
        {CMD_META_COUNT, "", "ma a N10 J7 v t\r\n", "VA 1 t10\r\n7\r\n"},
        {CMD_META_COUNT, "", "ma a N-1 J7 v t\r\n", "VA 1 t0\r\n7\r\n"},
        {CMD_META_COUNT, "", "ma YSBi b N10 k\r\n", "HD kYSBi b\r\n"},
        {CMD_META_COUNT, NUMBER, "ma a v\r\n", "VA 2\r\n11\r\n"},
        {CMD_META_COUNT, NUMBER, "ma a MD T30 t v\r\n", "VA 1 t30\r\n9\r\n"},
        {CMD_META_COUNT, NUMBER, "ma a D90 T-1 t v\r\n", "VA 3 t0\r\n100\r\n"},
        {CMD_META_COUNT, NUMBER, "ma a C99\r\n", "EX\r\n"},
        {CMD_META_COUNT, NUMBER "md a I\r\n", "ma a D90 v\r\n", "VA 3\r\n100\r\n"},
        {CMD_META_COUNT, "set a 0 0 1\r\nx\r\n", "ma a\r\n",
         "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"},
        {CMD_FLUSH_ALL, "", "flush_all\r\n", "OK\r\n"},
        {CMD_FLUSH_ALL, NUMBER, "flush_all\r\n", "OK\r\n"},
        {CMD_FLUSH_ALL, NUMBER, "flush_all 10\r\n", "OK\r\n"},
        {CMD_FLUSH_ALL, NUMBER "flush_all 10\r\n", "flush_all -1\r\n", "OK\r\n"},
};

static const bool ways[] = {false, true}; /* standalone, replicated */

START_TEST(every_outcome)
{
	const struct row *row = &matrix[_i];

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		open_server(ways[i]);
		client_send(&c, "set other 0 0 1\r\nx\r\n", 20);
		client_send(&c, row->before, strlen(row->before));
		check_shadow(row->before);
		client_expect(&c, row->input, row->reply);
		check_shadow(row->input);
		/* what time does is reported as well, or changes nothing */
		for (int n = 0; n < 5; n++) {
			fixture_advance(&f, 5000);
			check_shadow("some seconds");
		}
		close_server();
	}
}
END_TEST

START_TEST(every_command_that_writes_is_in_the_matrix)
{
	for (int id = 0; id < CMD_COUNT; id++) {
		size_t rows = 0;
		for (size_t i = 0; i < ARRAY_LEN(matrix); i++)
			rows += matrix[i].id == (enum command_id)id;
		bool writes = command_row((enum command_id)id)->flags & CMD_WRITE;
		ck_assert_msg(writes ? rows > 0 : rows == 0, "%s has %zu rows", command_row((enum command_id)id)->word,
		              rows);
	}
}
END_TEST

/* The same in the binary protocol: every opcode that may write, loud and quiet. */
#define STORING "x=0000000700000000 "
#define COUNTING "x=0000000000000003000000000000006400000000 "
#define NOT_MADE "x=00000000000000030000000000000064ffffffff "

static const struct {
	const char *before, *packet;
	uint8_t quiet; /* opcode */
	int status;
} packets[] = {
        {"", "01 " STORING "k=a v=x", 0x11, BIN_OK},
        {NUMBER, "01 " STORING "k=a v=x", 0x11, BIN_OK},
        {NUMBER, "01 x=0000000768000000 k=a v=x", 0x11, BIN_OK},
        {NUMBER, "01 " STORING "k=a v=x c=77", 0x11, BIN_EXISTS},
        {"", "01 " STORING "k=a v=x c=77", 0x11, BIN_NOT_FOUND},
        {"", "02 " STORING "k=a v=x", 0x12, BIN_OK},
        {NUMBER, "02 " STORING "k=a v=x", 0x12, BIN_EXISTS},
        {"", "03 " STORING "k=a v=x", 0x13, BIN_NOT_FOUND},
        {NUMBER, "03 " STORING "k=a v=x", 0x13, BIN_OK},
        {"", "0e k=a v=x", 0x19, BIN_NOT_STORED},
        {NUMBER, "0e k=a v=x", 0x19, BIN_OK},
        {NUMBER, "0e k=a v=x c=77", 0x19, BIN_EXISTS},
        {"", "0f k=a v=x", 0x1a, BIN_NOT_STORED},
        {NUMBER, "0f k=a", 0x1a, BIN_OK},
        {"", "04 k=a", 0x14, BIN_NOT_FOUND},
        {NUMBER, "04 k=a", 0x14, BIN_OK},
        {NUMBER, "04 k=a c=77", 0x14, BIN_EXISTS},
        {"", "05 " COUNTING "k=a", 0x15, BIN_OK},
        {"", "05 " NOT_MADE "k=a", 0x15, BIN_NOT_FOUND},
        {"", "05 " COUNTING "k=a c=77", 0x15, BIN_NOT_FOUND},
        {NUMBER, "05 " COUNTING "k=a", 0x15, BIN_OK},
        {NUMBER, "05 " COUNTING "k=a c=77", 0x15, BIN_EXISTS},
        {"set a 0 0 1\r\nx\r\n", "05 " COUNTING "k=a", 0x15, BIN_NON_NUMERIC},
        {"", "06 " COUNTING "k=a", 0x16, BIN_OK},
        {NUMBER, "06 " NOT_MADE "k=a", 0x16, BIN_OK},
        {"", "1c x=00000064 k=a", 0, BIN_NOT_FOUND},
        {NUMBER, "1c x=00000064 k=a", 0, BIN_OK},
        {NUMBER, "1c x=68000000 k=a", 0, BIN_OK},
        {"", "1d x=00000064 k=a", 0x1e, BIN_NOT_FOUND},
        {NUMBER, "1d x=00000064 k=a", 0x1e, BIN_OK},
        {NUMBER, "23 x=00000000 k=a", 0x24, BIN_OK},
        {"", "08", 0x18, BIN_OK},
        {NUMBER, "08", 0x18, BIN_OK},
        {NUMBER, "08 x=0000000a", 0x18, BIN_OK},
};

static void play_packet(bool replicated, bool quiet)
{
	struct packet_bytes p = {.len = 0};
	struct client binary;

	for (size_t i = 0; i < ARRAY_LEN(packets); i++) {
		open_server(replicated);
		client_open(&binary, &f, &(struct pace){0});
		client_send(&c, packets[i].before, strlen(packets[i].before));
		check_shadow(packets[i].before);
		p.len = 0;
		packet_make(&p, packets[i].packet);
		if (quiet && packets[i].quiet)
			p.data[1] = packets[i].quiet;
		client_send(&binary, p.data, p.len);
		check_shadow(packets[i].packet);
		bool retrieval = packets[i].quiet == 0x1e || packets[i].quiet == 0x24;
		bool silent = quiet && packets[i].quiet && (packets[i].status == BIN_OK) != retrieval;
		if (silent && binary.out.len > 0)
			ck_abort_msg("%s: not silent", packets[i].packet);
		if (!silent && load_be16((const uint8_t *)binary.out.data + 6) != packets[i].status)
			ck_abort_msg("%s: status %d", packets[i].packet, load_be16((const uint8_t *)binary.out.data + 6));
		fixture_advance(&f, 12000);
		check_shadow("some seconds");
		client_close(&binary);
		close_server();
	}
}

START_TEST(every_outcome_in_binary)
{
	play_packet(_i & 1, _i & 2);
}
END_TEST

/* Outcomes that need more than a line. */
START_TEST(other_outcomes)
{
	struct text big = {0};
	char line[64];

	text_str(&big, "set a 0 0 2000000\r\n");
	for (int i = 0; i < 2000000; i++)
		text_str(&big, "v");
	text_str(&big, "\r\n");
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		open_server(ways[i]);
		client_expect(&c, NUMBER, "STORED\r\n");
		client_expect(&c, big.data, TOO_LARGE);
		check_shadow("a set that is too large");
		client_expect(&c, "get a\r\n", "END\r\n");
		client_expect(&c, NUMBER, "STORED\r\n");
		items_fail_alloc_after(f.items, 1);
		client_expect(&c, NUMBER, "SERVER_ERROR out of memory storing object\r\n");
		check_shadow("a set without memory");
		client_expect(&c, NUMBER, "STORED\r\n");
		struct key key = fixture_key(&f, "a");
		uint64_t version = items_find(f.items, &key, ITEMS_PEEK, NULL)->version;
		snprintf(line, sizeof(line), "cas a 0 0 1 %" PRIu64 "\r\nx\r\n", version);
		client_expect(&c, line, "STORED\r\n");
		check_shadow("a cas that succeeds");
		client_expect(&c, NUMBER, "STORED\r\n");
		struct item *item = items_find(f.items, &key, ITEMS_PEEK, NULL);
		MUST(items_pin(f.items, item));
		client_expect(&c, "incr a 1\r\n", "11\r\n");
		check_shadow("incr of a pinned value");
		items_unpin(f.items, item);
		close_server();
	}
	text_free(&big);
}
END_TEST

/* ---- at random -------------------------------------------------------------- */

/* One random command on a small set of keys; many are refused. */
static void random_command(struct prng *p, struct text *out)
{
	static const char *const store_words[] = {"set", "add", "replace", "append", "prepend"};
	static const char *const exptimes[] = {"0", "0", "0", "3", "60", "-1", "1750000030"};
	const char *exptime = exptimes[prng_below(p, ARRAY_LEN(exptimes))];
	unsigned key = (unsigned)prng_below(p, 40);
	char line[160];
	size_t len = prng_below(p, 20) == 0 ? prng_below(p, 90000) : prng_below(p, 60);
	int n = 0;

	switch (prng_below(p, 12)) {
	case 0:
		n = snprintf(line, sizeof(line), "delete k%u\r\n", key);
		break;
	case 1:
		n = snprintf(line, sizeof(line), "touch k%u %s\r\n", key, exptime);
		break;
	case 2:
		n = snprintf(line, sizeof(line), "gat %s k%u k%u\r\n", exptime, key, key / 2);
		break;
	case 3:
		n = snprintf(line, sizeof(line), "%s k%u 7\r\n", prng_below(p, 2) ? "incr" : "decr", key);
		break;
	case 4:
		n = snprintf(line, sizeof(line), "set k%u 0 %s 2\r\n1%u\r\n", key, exptime, key % 10);
		break;
	case 5:
		n = prng_below(p, 20) ? 0 : snprintf(line, sizeof(line), "flush_all %u\r\n", key / 10);
		break;
	default:
		n = snprintf(line, sizeof(line), "%s k%u %u %s %zu\r\n", store_words[prng_below(p, 5)], key, key % 3,
		             exptime, len);
		text_add(out, line, (size_t)n);
		for (size_t i = 0; i < len; i++)
			text_add(out, "0", 1);
		n = snprintf(line, sizeof(line), "\r\n");
		break;
	}
	text_add(out, line, (size_t)n);
}

START_TEST(at_random)
{
	struct prng p = {.state = (uint64_t)_i + 1};

	open_server(_i % 2);
	for (int round = 0; round < 3000; round++) {
		struct text input = {0};
		text_add(&input, "", 0);
		random_command(&p, &input);
		c.out.len = 0;
		client_send(&c, input.data, input.len);
		if (prng_below(&p, 10) == 0)
			fixture_advance(&f, (int64_t)prng_below(&p, 3000));
		if (round % 10 == 0 || input.len < 100)
			check_shadow(input.len < 100 ? input.data : "a long command");
		text_free(&input);
	}
	close_server();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("shadow_cmd");
	TCase *tc = tcase_create("shadow");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_outcome, 0, (int)ARRAY_LEN(matrix));
	tcase_add_loop_test(tc, every_outcome_in_binary, 0, 4);
	tcase_add_test(tc, every_command_that_writes_is_in_the_matrix);
	tcase_add_test(tc, other_outcomes);
	tcase_add_loop_test(tc, at_random, 0, 8);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
