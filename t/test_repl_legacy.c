/*
 * test_repl_legacy.c - a daemon and a scripted repcached: section 11 of
 * doc/replication.txt, on the small world of repl_world.h.
 *
 * The script is a stranger on the wire: it says bytes, and all that it hears is
 * read as a repcached would. Anything but its five lines fails the test.
 */
#include "compat.h"
#include <check.h>
#include "repl_text.h"
#include "repl_world.h"

#define KNOCK "delete memcached:repl_compat:1\r\n"
#define MODEL_KEYS 700
#define HELLO                                                                                     \
	"REPL/1 0123456789abcdef origin=7 seen=0000000000000000:0 clock=0 wall=1700000000000 items=0 " \
	"maxitem=1048576 auth=none nonce=00112233445566778899aabbccddeeff\n"

/* What a repcached makes of what it hears. */
struct model {
	struct {
		char key[TEXT_KEY_BYTES_MAX + 1];
		char value[64]; /* the beginning */
		struct text_message m;
	} at[MODEL_KEYS];
	int count, reps, deletes, flushes, ends;
	uint32_t flush_at;
};

static struct world w;
static struct model model;

static void setup(void)
{
	world_init(&w, 7);
	for (int i = 0; i < HOSTS; i++)
		w.hosts[i].settings.repl_compat = true;
	model = (struct model){0};
}

static void teardown(void)
{
	world_free(&w);
}

/* ---- the script ---------------------------------------------------------------------- */

static void say(struct wire *s, const char *text)
{
	if (*text)
		stranger_says(&w, s, text, strlen(text));
}

static int index_of(const char *key, size_t len)
{
	for (int i = 0; i < model.count; i++)
		if (strlen(model.at[i].key) == len && memcmp(model.at[i].key, key, len) == 0)
			return i;
	return -1;
}

static void obey_rep(const struct text_message *m, const uint8_t *value)
{
	int i = index_of((const char *)m->key, m->key_len);

	model.reps++;
	if (i < 0)
		i = model.count++;
	ck_assert_int_lt(i, MODEL_KEYS);
	memcpy(model.at[i].key, m->key, m->key_len);
	model.at[i].key[m->key_len] = '\0';
	size_t n = m->value_len < sizeof(model.at[i].value) ? m->value_len : sizeof(model.at[i].value) - 1;
	memcpy(model.at[i].value, value, n);
	model.at[i].value[n] = '\0';
	model.at[i].m = *m;
}

static void obey(const struct text_message *m, const uint8_t *value)
{
	switch (m->kind) {
	case TEXT_REP:
		obey_rep(m, value);
		break;
	case TEXT_DELETE: {
		int i = index_of((const char *)m->key, m->key_len);
		model.deletes++;
		if (i >= 0)
			model.at[i] = model.at[--model.count];
		break;
	}
	case TEXT_FLUSH:
		model.flushes++;
		model.flush_at = m->exptime;
		if (!m->exptime)
			model.count = 0;
		break;
	case TEXT_END:
		model.ends++;
		break;
	}
}

/* Read all that was sent, so far as it is whole. */
static void hear(struct wire *s)
{
	struct pipe *p = &s->pipe[1];
	size_t done = 0, used;
	struct text_message m;
	const char *error = "";

	while (done < p->len) {
		enum text_status status = text_decode(p->data + done, p->len - done, 1 << 30, &m, &used, &error);
		ck_assert_msg(status != TEXT_BAD, "%s: %.40s", error, (char *)p->data + done);
		size_t value = m.kind == TEXT_REP ? m.value_len + 2 : 0;
		if (status == TEXT_MORE || p->len - done < used + value)
			break;
		if (value)
			ck_assert_mem_eq(p->data + done + used + m.value_len, "\r\n", 2);
		obey(&m, p->data + done + used);
		done += used + value;
	}
	if (done == 0)
		return;
	p->len -= done;
	memmove(p->data, p->data + done, p->len);
}

static const char *has(const char *key)
{
	int i = index_of(key, strlen(key));
	return i < 0 ? NULL : model.at[i].value;
}

static struct text_message *seen_as(const char *key)
{
	int i = index_of(key, strlen(key));
	ck_assert_msg(i >= 0, "%s is not there", key);
	return &model.at[i].m;
}

static void wait_ms(struct wire *s, int64_t ms)
{
	run(&w, ms);
	hear(s);
}

/* A repcached that was started with -x this host. */
static struct wire *it_connects(int host)
{
	struct wire *s = stranger(&w, host);
	ck_assert_ptr_nonnull(s);
	run(&w, 450);
	ck_assert_uint_eq(s->pipe[1].len, strlen(KNOCK));
	ck_assert_mem_eq(s->pipe[1].data, KNOCK, strlen(KNOCK));
	wait_ms(s, 100);
	model.deletes--; /* the knock */
	return s;
}

/* The one that host i was given with -x; it has been connected to. */
static struct wire *it_accepts(int as, int64_t ms)
{
	while (ms-- > 0 && !w.dialled[as])
		run(&w, 1);
	struct wire *s = w.dialled[as];
	ck_assert_ptr_nonnull(s);
	w.dialled[as] = NULL;
	return s;
}

/* Host 0, with -x of a script that sends `copy`. */
static struct host *start_slave(struct wire **s, const char *copy)
{
	w.scripted[1] = true;
	struct host *h = host_start(&w, 0, 1);
	*s = it_accepts(1, 10);
	say(*s, copy);
	run(&w, 5);
	return h;
}

static void put_many(struct host *h, int count, const char *value)
{
	char key[16];

	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		ck_assert(put(h, key, value));
	}
}

static int count_of(const char *value)
{
	int count = 0;
	for (int i = 0; i < model.count; i++)
		count += strcmp(model.at[i].value, value) == 0;
	return count;
}

/* ---- it connects to us ---------------------------------------------------------------- */

START_TEST(off_by_default)
{
	w.hosts[0].settings.repl_compat = false;
	struct host *h = host_start(&w, 0, -1);
	put(h, "k", "v");
	struct wire *s = stranger(&w, 0), *silent = stranger(&w, 0);
	say(s, "rep k 0 0 3 1\r\nbad\r\nmarugoto_end\r\n");
	run(&w, 10);
	ck_assert(stranger_is_closed(s));
	ck_assert(!stranger_is_closed(silent));
	run(&w, 2600);
	ck_assert(stranger_is_closed(silent));
	ck_assert_uint_eq(s->pipe[1].len + silent->pipe[1].len, 0);
	ck_assert_str_eq(get(h, "k"), "v");
	ck_assert_str_eq(text(h, "link"), "down");
}
END_TEST

START_TEST(silence_gets_a_full_copy)
{
	struct host *h = host_start(&w, 0, -1);

	put_many(h, 500, "v");
	put_bytes(h, "all", (const uint8_t *)"abc", 3, 4711, 1900000000);
	put_bytes(h, "far", (const uint8_t *)"x", 1, 0, 4000000000u);
	put_bytes(h, "empty", (const uint8_t *)"", 0, 0, 0);
	put_bytes(h, "expires", (const uint8_t *)"x", 1, 0, 1700000001);
	put(h, "gone", "x");
	del(h, "gone");
	put(h, "with blank", "x");
	put(h, "with\ttab", "x");
	put(h, "high\xc3\xa4", "x");
	run(&w, 2000);
	struct wire *s = it_connects(0);
	ck_assert_int_eq(model.ends, 1);
	ck_assert_int_eq(count_of("v"), 500);
	ck_assert_int_eq(model.reps, 504);
	ck_assert_str_eq(has("all"), "abc");
	ck_assert_uint_eq(seen_as("all")->flags, 4711);
	ck_assert_uint_eq(seen_as("all")->exptime, 1900000000);
	ck_assert_uint_eq(seen_as("all")->cas, (uint32_t)(version_of(h, "all") >> 12));
	ck_assert_uint_eq(seen_as("far")->exptime, INT32_MAX);
	ck_assert_str_eq(has("empty"), "");
	ck_assert_ptr_null(has("expires"));
	ck_assert_ptr_null(has("gone"));
	ck_assert_str_eq(has("high\xc3\xa4"), "x");
	ck_assert_uint_eq(number(h, "not_carried"), 2);
	ck_assert_int_eq(repl_role(h->repl), REPL_MASTER);
	ck_assert_str_eq(text(h, "link_protocol"), "repcached");
	ck_assert_str_eq(text(h, "peer"), "a stranger");
	ck_assert_str_eq(text(h, "mode"), "live");
	ck_assert_str_eq(text(h, "peer_mode"), "live");
	ck_assert(said(h, "(repcached) is up, this node is MASTER; the peer gets a full copy"));
	ck_assert(said(h, "2 keys have blanks"));
	/* It is silent for good, and that is all right: it has no heartbeat. */
	wait_ms(s, 30000);
	ck_assert_int_eq(model.reps, 504);
	ck_assert(!stranger_is_closed(s));
	ck_assert_int_eq((int)(repl_next_due_ms(h->repl) > 1000000000), 1);
}
END_TEST

START_TEST(an_empty_cache_is_copied_at_once)
{
	host_start(&w, 0, -1);
	it_connects(0);
	ck_assert_int_eq(model.ends, 1);
	ck_assert_int_eq(model.reps + model.deletes + model.flushes, 0);
}
END_TEST

START_TEST(what_clients_do_is_sent)
{
	struct host *h = host_start(&w, 0, -1);
	put(h, "old", "x");
	struct wire *s = it_connects(0);

	put_bytes(h, "k", (const uint8_t *)"v1", 2, 9, 1900000000);
	put(h, "k2", "v2");
	wait_ms(s, 2);
	ck_assert_str_eq(has("k"), "v1");
	ck_assert_uint_eq(seen_as("k")->flags, 9);
	ck_assert_str_eq(has("k2"), "v2");
	touch(h, "k", 1900000001);
	wait_ms(s, 2);
	ck_assert_uint_eq(seen_as("k")->exptime, 1900000001);
	ck_assert_uint_eq(seen_as("k")->flags, 9);
	del(h, "k");
	del(h, "with blank");
	wait_ms(s, 2);
	ck_assert_ptr_null(has("k"));
	ck_assert_int_eq(model.deletes, 1);
	/* A value that is marked stale here must not be taken for a fresh one there. */
	items_amend(h->items, find(h, "k2"), &(struct amendment){.what = AMEND_MARKS, .set_bits = ITEM_STALE},
		    CAUSE_CLIENT);
	wait_ms(s, 2);
	ck_assert_ptr_null(has("k2"));
	ck_assert_str_eq(has("old"), "x");
	items_flush_command(h->items, 0);
	put(h, "after", "y");
	wait_ms(s, 2);
	ck_assert_int_eq(model.flushes, 1);
	ck_assert_ptr_null(has("old"));
	ck_assert_str_eq(has("after"), "y");
}
END_TEST

START_TEST(a_delayed_flush_is_sent_once)
{
	struct host *h = host_start(&w, 0, -1);
	int64_t when = h->now.wall_ms + 3000;

	put(h, "k", "v");
	items_flush_command(h->items, when); /* before the link: told with the copy */
	struct wire *s = it_connects(0);
	ck_assert_int_eq(model.flushes, 1);
	ck_assert_uint_eq(model.flush_at, when / 1000);
	ck_assert_str_eq(has("k"), "v");
	wait_ms(s, 4000);
	ck_assert_ptr_null(find(h, "k"));
	ck_assert_int_eq(model.flushes, 1);
	items_flush_command(h->items, h->now.wall_ms + 2500);
	put(h, "k", "w");
	wait_ms(s, 10);
	ck_assert_int_eq(model.flushes, 2);
	wait_ms(s, 4000);
	ck_assert_ptr_null(find(h, "k"));
	ck_assert_int_eq(model.flushes, 2);
	items_flush_command(h->items, 0);
	wait_ms(s, 2);
	ck_assert_int_eq(model.flushes, 3);
	ck_assert_uint_eq(model.flush_at, 0);
}
END_TEST

/* What it sends, in pieces of any size. */
START_TEST(what_it_sends_is_obeyed)
{
	char big[5000];

	w.chunk_max = _i ? (size_t)_i : 100000;
	struct host *h = host_start(&w, 0, -1);
	put(h, "mine", "x");
	put(h, "other", "y");
	struct wire *s = it_connects(0);
	int reps = model.reps;
	uint64_t before = version_of(h, "mine");

	say(s, "rep a 4711 1900000000 3 4294967295\r\nabc\r\nrep empty 0 0 0 1\r\n\r\n");
	say(s, "rep mine 0 0 6 1\r\n\r\nend\n\r\ndelete other\r\ndelete nobody\r\n");
	say(s, "rep past 0 1600000000 1 1\r\nx\r\nrep neg 0 4294967295 1 1\r\nx\r\n");
	snprintf(big, sizeof(big), "rep big 0 0 4096 7\r\n%04096d\r\n", 5);
	say(s, big);
	wait_ms(s, 5);
	ck_assert_str_eq(get(h, "a"), "abc");
	ck_assert_uint_eq(item_flags(find(h, "a")), 4711);
	ck_assert_uint_eq(find(h, "a")->exptime, 1900000000);
	ck_assert_str_eq(get(h, "empty"), "");
	ck_assert_str_eq(get(h, "mine"), "\r\nend\n");
	ck_assert_uint_gt(version_of(h, "mine"), before);
	ck_assert_uint_gt(version_of(h, "mine"), version_of(h, "a"));
	ck_assert_ptr_null(find(h, "other"));
	ck_assert_ptr_null(find(h, "past"));
	ck_assert_ptr_null(find(h, "neg"));
	ck_assert_uint_eq(item_value_len(find(h, "big")), 4096);
	/* nothing of it is sent back, and what a client makes of it is */
	ck_assert_int_eq(model.reps, reps);
	ck_assert_int_eq(model.deletes, 0);
	touch(h, "a", 1900000005);
	wait_ms(s, 2);
	ck_assert_int_eq(model.reps, reps + 1);
	ck_assert_uint_eq(seen_as("a")->exptime, 1900000005);
	say(s, _i & 1 ? "flush_all \r\n" : "flush_all 1600000000\r\n");
	say(s, "rep new 0 0 1 1\r\nn\r\n");
	wait_ms(s, 2);
	ck_assert_ptr_null(find(h, "a"));
	ck_assert_str_eq(get(h, "new"), "n");
	char later[64];
	snprintf(later, sizeof(later), "flush_all %" PRId64 "\r\n", h->now.wall_ms / 1000 + 2);
	say(s, later);
	wait_ms(s, 500);
	ck_assert_str_eq(get(h, "new"), "n");
	wait_ms(s, 2500);
	ck_assert_ptr_null(find(h, "new"));
	ck_assert_int_eq(model.flushes, 0);
	ck_assert_uint_eq(number(h, "items_received"), 6 + 1);
}
END_TEST

START_TEST(large_values_both_ways)
{
	static uint8_t value[200000];
	static char rep[300100];
	struct host *h = host_start(&w, 0, -1);

	memset(value, 'x', sizeof(value));
	put_bytes(h, "large", value, sizeof(value), 1, 0);
	struct wire *s = it_connects(0);
	wait_ms(s, 50);
	ck_assert_uint_eq(seen_as("large")->value_len, sizeof(value));
	ck_assert_int_eq(model.ends, 1);
	value[0] = 'y';
	put_bytes(h, "large", value, sizeof(value), 2, 0);
	put_bytes(h, "large2", value, 150000, 2, 0);
	for (int i = 0; i < 50; i++)
		wait_ms(s, 1);
	ck_assert_int_eq(has("large")[0], 'y');
	ck_assert_uint_eq(seen_as("large2")->value_len, 150000);
	int head = snprintf(rep, sizeof(rep), "rep theirs 3 0 300000 9\r\n");
	memset(rep + head, 'z', 300000);
	memcpy(rep + head + 300000, "\r\n", 3);
	say(s, rep);
	wait_ms(s, 50);
	ck_assert_uint_eq(item_value_len(find(h, "theirs")), 300000);
	/* Too large to be kept here: the older state goes, the link goes on. */
	put(h, "huge", "small");
	say(s, "rep huge 0 0 2000000 9\r\n");
	static uint8_t zeros[2000000];
	stranger_says(&w, s, zeros, sizeof(zeros));
	say(s, "\r\nrep next 0 0 1 1\r\nn\r\n");
	wait_ms(s, 50);
	ck_assert_ptr_null(find(h, "huge"));
	ck_assert_str_eq(get(h, "next"), "n");
	ck_assert_uint_eq(number(h, "not_stored"), 1);
}
END_TEST

START_TEST(evictions_stay_here)
{
	static uint8_t value[1000];

	w.hosts[0].settings.memory_bytes_max = 4 << 20;
	struct host *h = host_start(&w, 0, -1);
	struct wire *s = it_connects(0);
	for (int i = 0; i < 8000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%d", i % 600 + i / 600 * 1000);
		put_bytes(h, key, value, sizeof(value), 0, 0);
		if (i % 50 == 0) {
			wait_ms(s, 1);
			model.count = 0;
		}
	}
	wait_ms(s, 10);
	ck_assert_uint_gt(items_counters(h->items)->evictions, 1000);
	ck_assert_int_eq(model.reps, 8000);
	ck_assert_int_eq(model.deletes, 0);
	ck_assert_uint_eq(repl_lost_below(h->repl), 0);
}
END_TEST

static const char *const junk[] = {
	"get k\r\n",
	"set k 0 0 1\r\nx\r\n",
	"REPL/1 0123456789abcdef origin=1\n",
	"REFUSED go away\n",
	"rep k 0 0 1\r\nx\r\n",
	"rep k 0 0 1 1\r\nxyz\r\n",
	"rep k 0 0 1 1\r\nx\rz",
	"rep k 0 0 1 1\nx\n",
	"rep k 0 0 2000000000 1\r\n",
	"delete \r\n",
	"flush_all soon\r\n",
	"\x01\x02\x03",
};

START_TEST(malformed_text_closes_the_link)
{
	struct host *h = host_start(&w, 0, -1);

	put(h, "k", "v");
	struct wire *s = it_connects(0);
	int lines = h->lines;
	say(s, "rep before 0 0 1 1\r\nx\r\n");
	say(s, junk[_i]);
	say(s, "rep after 0 0 1 1\r\nx\r\n");
	wait_ms(s, 10);
	ck_assert(stranger_is_closed(s));
	ck_assert_int_eq(h->lines, lines + 1);
	ck_assert(said(h, "is lost: malformed:"));
	ck_assert_uint_eq(number(h, "links_malformed"), 1);
	ck_assert_str_eq(get(h, "k"), "v");
	ck_assert_str_eq(get(h, "before"), "x");
	ck_assert_ptr_null(find(h, "after"));
	ck_assert(repl_wants(h->repl)->link_listen);
	const char *broken = items_check(h->items);
	ck_assert_msg(!broken, "%s", broken ? broken : "");
}
END_TEST

START_TEST(one_peer_only)
{
	struct host *h = host_start(&w, 0, -1);
	struct wire *early = stranger(&w, 0), *odd = stranger(&w, 0);
	struct wire *s = it_connects(0);

	/* two that are silent: the first in time has become the link, the other is closed */
	int open = !stranger_is_closed(s) + !stranger_is_closed(early) + !stranger_is_closed(odd);
	ck_assert_int_eq(open, 1);
	ck_assert_uint_ge(number(h, "links_refused"), 1);
	ck_assert_uint_eq(number(h, "links"), 1);
}
END_TEST

/* The port is closed to others while there is a link, but who was in the queue
 * may say anything. */
START_TEST(text_while_there_is_a_link)
{
	struct host *h = host_start(&w, 0, -1);
	struct wire *s = stranger(&w, 0), *late;

	run(&w, 100);
	late = stranger(&w, 0);
	run(&w, 450);
	ck_assert_str_eq(text(h, "link"), "up");
	say(late, "rep k 0 0 1 1\r\nx\r\n");
	run(&w, 5);
	ck_assert(stranger_is_closed(late));
	ck_assert(!stranger_is_closed(s));
	ck_assert_ptr_null(find(h, "k"));
}
END_TEST

START_TEST(who_speaks_first_is_believed)
{
	struct host *h = host_start(&w, 0, -1);
	struct wire *s = stranger(&w, 0);

	say(s, "flush_all 1600000000\r\nrep k 0 0 1 1\r\nx\r\n");
	wait_ms(s, 10);
	ck_assert_str_eq(text(h, "link_protocol"), "repcached");
	ck_assert_str_eq(get(h, "k"), "x");
	ck_assert_int_eq(model.ends, 1);
}
END_TEST

/* ---- we connect to it ------------------------------------------------------------------ */

START_TEST(a_slave_waits_for_the_end_of_the_copy)
{
	struct wire *s;
	w.chunk_max = 7;
	struct host *h = start_slave(&s, "rep a 1 0 1 5\r\nx\r\nrep b 2 1900000000 2 6\r\nyz\r\n");

	ck_assert(!repl_wants(h->repl)->client_ports);
	ck_assert_str_eq(text(h, "peer_mode"), "walk");
	run(&w, 5000); /* it may be slow */
	ck_assert(!repl_wants(h->repl)->client_ports);
	say(s, "delete a\r\nrep c 0 0 1 7\r\nc\r\nmarugoto_end\r\n");
	wait_ms(s, 5);
	ck_assert(repl_wants(h->repl)->client_ports);
	ck_assert_int_eq(repl_role(h->repl), REPL_SLAVE);
	ck_assert(said(h, "first copy is complete: 3 items"));
	ck_assert_ptr_null(find(h, "a"));
	ck_assert_str_eq(get(h, "b"), "yz");
	ck_assert_str_eq(get(h, "c"), "c");
	/* not a word, and nothing comes back */
	ck_assert_int_eq(model.reps + model.deletes + model.flushes + model.ends, 0);
	ck_assert_uint_eq(s->pipe[1].len, 0);
	put(h, "b", "mine");
	wait_ms(s, 5);
	ck_assert_str_eq(has("b"), "mine");
	ck_assert_int_eq(model.reps, 1);
	say(s, "rep b 0 0 5 9\r\nyours\r\n");
	wait_ms(s, 5);
	ck_assert_str_eq(get(h, "b"), "yours");
	/* it goes away */
	stranger_closes(&w, s);
	w.scripted[1] = false;
	run(&w, 5);
	ck_assert_int_eq(repl_role(h->repl), REPL_MASTER);
	ck_assert(repl_wants(h->repl)->link_listen);
	ck_assert(said(h, "(repcached) is lost: closed by the peer"));
	ck_assert_str_eq(get(h, "c"), "c");
}
END_TEST

START_TEST(the_copy_breaks_off)
{
	struct wire *s;
	struct host *h = start_slave(&s, "rep a 1 0 1 5\r\nx\r\nrep b 2 0 10 6\r\nyz");

	stranger_closes(&w, s);
	w.scripted[1] = false;
	run(&w, 5);
	ck_assert(repl_wants(h->repl)->client_ports);
	ck_assert_int_eq(repl_role(h->repl), REPL_MASTER);
	ck_assert_str_eq(get(h, "a"), "x");
	ck_assert_ptr_null(find(h, "b"));
}
END_TEST

/* It has so many keys that it needs long to begin. Our line is lost on it, and what
 * began with that becomes no link: the next connection is one of text from its
 * first byte on. Clients are kept waiting for the copy all the while. */
START_TEST(a_slow_one)
{
	struct wire *s;
	struct host *h = start_slave(&s, "");

	run(&w, 950);
	ck_assert_uint_eq(s->pipe[1].len, 0);
	run(&w, 100);
	ck_assert_uint_gt(s->pipe[1].len, 100);
	ck_assert_mem_eq(s->pipe[1].data, "REPL/1 ", 7);
	ck_assert_ptr_eq(memchr(s->pipe[1].data, '\n', s->pipe[1].len), s->pipe[1].data + s->pipe[1].len - 1);
	s->pipe[1].len = 0;
	w.dialled[1] = NULL;
	say(s, "rep a 1 0 1 5\r\nx\r\nmarugoto_end\r\n");
	s = it_accepts(1, 100);
	ck_assert(said(h, "slow to speak"));
	ck_assert_str_eq(text(h, "link_protocol"), "none");
	ck_assert(!repl_wants(h->repl)->client_ports);
	run(&w, 9000);
	ck_assert_uint_eq(s->pipe[1].len, 0); /* it has learnt to wait */
	say(s, "rep a 1 0 1 5\r\nx\r\nmarugoto_end\r\n");
	wait_ms(s, 10);
	ck_assert(repl_wants(h->repl)->client_ports);
	ck_assert_str_eq(text(h, "link_protocol"), "repcached");
	ck_assert_str_eq(get(h, "a"), "x");
}
END_TEST

/* Patience ends when it was for nothing: one of ours is there now. */
START_TEST(a_slow_one_that_is_replaced)
{
	struct wire *s;
	struct host *h = start_slave(&s, "");

	run(&w, 1100);
	w.dialled[1] = NULL;
	say(s, "rep a 1 0 1 5\r\nx\r\n");
	s = it_accepts(1, 100);
	run(&w, 2500);
	w.dialled[1] = NULL;
	stranger_closes(&w, s);
	s = it_accepts(1, 1000);
	ck_assert_int_eq(repl_role(h->repl), REPL_MASTER);
	s->pipe[1].len = 0;
	run(&w, 1100);
	ck_assert_uint_gt(s->pipe[1].len, 100);
	ck_assert_mem_eq(s->pipe[1].data, "REPL/1 ", 7);
}
END_TEST

/* Who has said an opening line is one of ours for good, whatever follows. */
START_TEST(no_text_after_an_opening_line)
{
	struct host *h = host_start(&w, 0, -1);
	struct wire *s;

	put(h, "k", "v");
	for (int pieces = 1; pieces <= 2; pieces++) {
		s = stranger(&w, 0);
		say(s, HELLO);
		if (pieces == 2)
			run(&w, 5);
		say(s, "rep k 0 0 1 1\r\nx\r\n");
		run(&w, 5);
		ck_assert(stranger_is_closed(s));
		stranger_forget(s);
	}
	ck_assert_uint_eq(number(h, "links"), 0);
	ck_assert_uint_eq(number(h, "links_malformed"), 2);
	ck_assert_str_eq(get(h, "k"), "v");
}
END_TEST

START_TEST(a_knock_is_answered_at_once)
{
	struct wire *s;

	w.hosts[0].settings.repl_compat = _i;
	start_slave(&s, KNOCK);
	ck_assert_uint_gt(s->pipe[1].len, 100);
	ck_assert_mem_eq(s->pipe[1].data, "REPL/1 ", 7);
	ck_assert_ptr_eq(memchr(s->pipe[1].data, '\n', s->pipe[1].len), s->pipe[1].data + s->pipe[1].len - 1);
	/* and now it is one of ours */
	say(s, "rep a 1 0 1 5\r\nx\r\nmarugoto_end\r\n");
	run(&w, 10);
	ck_assert(stranger_is_closed(s));
}
END_TEST

START_TEST(text_is_refused_without_the_option)
{
	struct wire *s;

	w.hosts[0].settings.repl_compat = false;
	struct host *h = start_slave(&s, "delete a\r\nrep a 1 0 1 5\r\nx\r\nmarugoto_end\r\n");
	ck_assert(stranger_is_closed(s));
	ck_assert_ptr_null(find(h, "a"));
	ck_assert_int_eq(repl_role(h->repl), REPL_MASTER);
	ck_assert(said(h, "not a line of this protocol"));
}
END_TEST

/* ---- apart, and together again ------------------------------------------------------------ */

/* Host 0 was a slave of it, has lost it, and has found it again. */
static struct host *reunited(struct wire **s, const char *copy)
{
	struct host *h = start_slave(s, "rep both 0 0 3 1\r\nold\r\nrep here 0 0 3 2\r\nold\r\n"
					"rep there 0 0 3 3\r\nold\r\nrep gone 0 0 3 4\r\nold\r\nmarugoto_end\r\n");
	put(h, "same", "same");
	wait_ms(*s, 10);
	stranger_closes(&w, *s);
	model = (struct model){0};
	w.refuse = true;
	run(&w, 5);
	put(h, "both", "ours");
	put(h, "here", "ours");
	put(h, "new", "ours");
	del(h, "gone");
	w.refuse = false;
	w.dialled[1] = NULL;
	*s = it_accepts(1, 2000);
	say(*s, copy);
	wait_ms(*s, 10);
	return h;
}

START_TEST(what_was_changed_meanwhile_is_merged)
{
	struct wire *s;
	struct host *h = reunited(&s, "rep both 0 0 6 1\r\ntheirs\r\nrep there 0 0 6 2\r\ntheirs\r\n"
				      "rep gone 0 0 3 4\r\nold\r\nrep here 0 0 3 4\r\nold\r\n"
				      "rep more 0 0 6 5\r\ntheirs\r\nrep same 0 0 4 6\r\nsame\r\n");

	put(h, "during", "ours");
	del(h, "more");
	say(s, "rep during 0 0 6 5\r\ntheirs\r\nrep more 0 0 6 5\r\ntheirs\r\nmarugoto_end\r\n");
	wait_ms(s, 10);
	ck_assert_str_eq(get(h, "both"), "ours");
	ck_assert_str_eq(get(h, "here"), "ours");
	ck_assert_str_eq(get(h, "there"), "theirs");
	ck_assert_ptr_null(find(h, "gone"));
	ck_assert_str_eq(get(h, "during"), "ours");
	ck_assert_ptr_null(find(h, "more"));
	ck_assert_str_eq(get(h, "same"), "same");
	ck_assert_str_eq(has("both"), "ours");
	ck_assert_str_eq(has("here"), "ours");
	ck_assert_str_eq(has("new"), "ours");
	ck_assert_str_eq(has("during"), "ours");
	ck_assert_ptr_null(has("there")); /* it has its own */
	ck_assert_ptr_null(has("same"));
	ck_assert_int_ge(model.deletes, 2);
	ck_assert_int_eq(model.ends, 0);
	/* from here on the last to arrive wins again */
	say(s, "rep both 0 0 6 1\r\ntheirs\r\n");
	wait_ms(s, 5);
	ck_assert_str_eq(get(h, "both"), "theirs");
}
END_TEST

/* What it was not told of, for the link broke while its copy arrived. */
START_TEST(a_merge_that_breaks_off_is_done_again)
{
	struct wire *s;
	struct host *h = reunited(&s, "rep both 0 0 6 1\r\ntheirs\r\n");

	stranger_closes(&w, s);
	model = (struct model){0};
	w.dialled[1] = NULL;
	s = it_accepts(1, 2000);
	say(s, "rep here 0 0 6 1\r\ntheirs\r\nmarugoto_end\r\n");
	wait_ms(s, 10);
	ck_assert_str_eq(get(h, "here"), "ours");
	ck_assert_str_eq(has("here"), "ours");
	ck_assert_str_eq(has("both"), "ours");
	ck_assert_str_eq(has("new"), "ours");
}
END_TEST

START_TEST(a_flush_meanwhile)
{
	struct wire *s;
	struct host *h = start_slave(&s, "rep a 0 0 3 1\r\nold\r\nmarugoto_end\r\n");

	stranger_closes(&w, s);
	run(&w, 5);
	put(h, "before", "x");
	items_flush_command(h->items, 0);
	put(h, "after", "x");
	w.dialled[1] = NULL;
	s = it_accepts(1, 2000);
	say(s, "rep a 0 0 3 1\r\nold\r\n");
	wait_ms(s, 10);
	ck_assert_int_eq(model.flushes, 1);
	ck_assert_uint_eq(model.flush_at, 0);
	ck_assert_ptr_null(find(h, "a")); /* it was on its way when the flush arrived there */
	ck_assert_str_eq(has("after"), "x");
	say(s, "marugoto_end\r\nrep a 0 0 3 1\r\nnew\r\n");
	wait_ms(s, 10);
	ck_assert_str_eq(get(h, "a"), "new");
}
END_TEST

/* One that is met for the first time, by a node that has been serving. */
START_TEST(a_new_one_gets_everything)
{
	w.scripted[1] = true;
	w.refuse = true;
	struct host *h = host_start(&w, 0, 1);
	run(&w, 5);
	put(h, "both", "ours");
	put_many(h, 100, "v");
	w.refuse = false;
	struct wire *s = it_accepts(1, 2000);
	say(s, "rep both 0 0 6 1\r\ntheirs\r\nrep only 0 0 6 2\r\ntheirs\r\nmarugoto_end\r\n");
	wait_ms(s, 10);
	ck_assert_str_eq(get(h, "both"), "ours");
	ck_assert_str_eq(has("both"), "ours");
	ck_assert_str_eq(get(h, "only"), "theirs");
	ck_assert_ptr_null(has("only"));
	ck_assert_int_eq(count_of("v"), 100);
}
END_TEST

/* ---- overload, the end ---------------------------------------------------------------------- */

START_TEST(it_does_not_read)
{
	static uint8_t value[1000];

	w.hosts[0].settings.repl_buffer_bytes = 20000;
	struct host *h = host_start(&w, 0, -1);
	put(h, "theirs", "x");
	struct wire *s = it_connects(0);
	for (int round = 0; round < 100; round++) {
		memset(value, 'a' + round % 26, sizeof(value));
		for (int i = 0; i < 100; i++) {
			char key[16];
			snprintf(key, sizeof(key), "k%d", i);
			put_bytes(h, key, value, sizeof(value), 0, 0);
			ck_assert_uint_le(number(h, "unsent_bytes"), 20000 + 100);
		}
		if (round == 50) { /* what arrives goes on being obeyed, and is not sent back */
			items_flush_command(h->items, 0);
			say(s, "rep theirs 0 0 1 1\r\ny\r\n");
		}
		if (round == 80)
			del(h, "k7");
		run(&w, round < 60 ? 1 : 0);
	}
	del(h, "k8");
	ck_assert_uint_ge(number(h, "overloads"), 1);
	for (int i = 0; i < 100; i++)
		wait_ms(s, 1);
	ck_assert_str_eq(text(h, "mode"), "live");
	ck_assert_int_eq(model.flushes, 1);
	memset(value, 'a' + 99 % 26, sizeof(value));
	for (int i = 0; i < 100; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		if (i == 8)
			ck_assert_ptr_null(has(key));
		else
			ck_assert_mem_eq(has(key), value, 63);
	}
	ck_assert_ptr_null(has("theirs"));
	ck_assert_str_eq(get(h, "theirs"), "y");
}
END_TEST

START_TEST(overload_during_the_copy)
{
	static uint8_t value[1000];

	w.hosts[0].settings.repl_buffer_bytes = 20000;
	w.bytes_per_ms = 4000;
	w.chunk_max = 3000;
	struct host *h = host_start(&w, 0, -1);
	put_many(h, 600, "v");
	struct wire *s = stranger(&w, 0);
	run(&w, 510);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 50; i++) {
			char key[16];
			snprintf(key, sizeof(key), "k%d", i);
			value[0] = (uint8_t)('A' + round);
			put_bytes(h, key, value, sizeof(value), 0, 0);
		}
		wait_ms(s, 1);
	}
	wait_ms(s, 500);
	ck_assert_int_eq(model.ends, 1);
	ck_assert_int_eq(count_of("v"), 550);
	for (int i = 0; i < 50; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		ck_assert_int_eq(has(key)[0], 'A' + 19);
	}
	ck_assert_uint_ge(number(h, "overloads"), 1);
}
END_TEST

START_TEST(drained_before_the_end)
{
	struct host *h = host_start(&w, 0, -1);
	struct wire *s = it_connects(0);

	put_many(h, 300, "v");
	repl_stop(h->repl);
	ck_assert(!repl_wants(h->repl)->drained);
	wait_ms(s, 20);
	ck_assert(repl_wants(h->repl)->drained);
	ck_assert_int_eq(count_of("v"), 300);
}
END_TEST

START_TEST(no_memory_for_lines)
{
	struct host *h = host_start(&w, 0, -1);

	put_many(h, 50, "v");
	struct wire *s = it_connects(0);
	items_fail_alloc_after(h->items, 1);
	say(s, "rep k1 0 0 5 1\r\nabcde\r\nrep k2 0 0 1 1\r\nw\r\n");
	wait_ms(s, 5);
	items_fail_alloc_after(h->items, 0);
	ck_assert_ptr_null(find(h, "k1")); /* an older state must not be served on */
	ck_assert_str_eq(get(h, "k2"), "w");
	ck_assert_uint_eq(number(h, "not_stored"), 1);
}
END_TEST

static int ups, downs;

static void on_news(void *ctx, enum repl_news news, uint64_t version)
{
	(void)ctx, (void)version;
	ups += news == REPL_NEWS_UP;
	downs += news == REPL_NEWS_DOWN;
	ck_assert(news == REPL_NEWS_UP || news == REPL_NEWS_DOWN);
}

/* Nobody acknowledges: replies do not wait. */
START_TEST(nothing_waits_for_it)
{
	struct host *h = host_start(&w, 0, -1);

	ups = downs = 0;
	repl_on_news(h->repl, on_news, NULL);
	struct wire *s = it_connects(0);
	put(h, "k", "v");
	wait_ms(s, 10);
	ck_assert_int_eq(ups, 0);
	ck_assert_uint_eq(number(h, "lag_ms"), 0);
	ck_assert_uint_eq(number(h, "lag_bytes"), 0);
	stranger_closes(&w, s);
	run(&w, 5);
	ck_assert_int_eq(ups, 0);
}
END_TEST

/* ---- with our own kind ------------------------------------------------------------------------ */

static void is_own_pair(struct host *a, struct host *b)
{
	settle(&w, 0, 1);
	ck_assert_str_eq(text(a, "link_protocol"), "REPL/1");
	ck_assert_str_eq(text(b, "link_protocol"), "REPL/1");
	put(a, "x", "1");
	put(b, "y", "2");
	settle(&w, 0, 1);
	ck_assert_str_eq(get(b, "x"), "1");
	ck_assert_str_eq(get(a, "y"), "2");
	ck_assert_uint_eq(version_of(a, "x"), version_of(b, "x"));
}

/* Bit 0: the listening one has the option, bit 1: the other. */
START_TEST(two_of_us)
{
	w.hosts[0].settings.repl_compat = _i & 1;
	w.hosts[1].settings.repl_compat = _i & 2;
	struct host *a = host_start(&w, 0, -1);
	put(a, "k", "v");
	struct host *b = host_start(&w, 1, 0);
	run(&w, _i == 2 ? 1100 : 50);
	ck_assert(repl_wants(b->repl)->client_ports);
	ck_assert_int_eq(repl_role(b->repl), REPL_SLAVE);
	ck_assert_str_eq(get(b, "k"), "v");
	is_own_pair(a, b);
}
END_TEST

START_TEST(two_of_us_mutually)
{
	world_free(&w);
	world_init(&w, 100 + (uint64_t)_i);
	w.hosts[0].settings.repl_compat = _i & 1;
	w.hosts[1].settings.repl_compat = _i & 2;
	w.chunk_max = 1 + prng_below(&w.prng, 200);
	struct host *a = host_start(&w, 0, 1);
	run(&w, (int64_t)prng_below(&w.prng, 3) * 60);
	struct host *b = host_start(&w, 1, 0);
	run(&w, 4000);
	ck_assert_int_eq(wire_count(&w), 1);
	is_own_pair(a, b);
	int made = w.links_made;
	run(&w, 5000);
	ck_assert_int_eq(w.links_made, made);
}
END_TEST

/* One was stopped before it could say its line, and the other takes it for a
 * repcached: that does not last. */
START_TEST(taken_for_a_repcached)
{
	struct host *a = host_start(&w, 0, -1);
	put_many(a, 100, "v");
	struct wire *s = stranger(&w, 0);
	run(&w, 600);
	ck_assert_str_eq(text(a, "link_protocol"), "repcached");
	say(s, HELLO);
	run(&w, 5);
	ck_assert(stranger_is_closed(s));
	ck_assert(repl_wants(a->repl)->link_listen);
	struct host *b = host_start(&w, 1, 0);
	is_own_pair(a, b);
}
END_TEST

/* The move of a pair: what came from a repcached goes on to one of ours. */
START_TEST(from_repcached_to_ours)
{
	struct wire *s;
	struct host *b = start_slave(&s, "rep a 5 0 1 1\r\nx\r\nrep b 0 0 1 2\r\ny\r\nmarugoto_end\r\n");

	put(b, "own", "z");
	del(b, "b");
	wait_ms(s, 10);
	stranger_closes(&w, s);
	w.scripted[1] = false;
	run(&w, 10);
	ck_assert_uint_eq(repl_lost_below(b->repl), 0);
	struct host *a = host_start(&w, 1, 0);
	settle(&w, 0, 1);
	ck_assert_str_eq(get(a, "a"), "x");
	ck_assert_uint_eq(item_flags(find(a, "a")), 5);
	ck_assert_str_eq(get(a, "own"), "z");
	ck_assert_ptr_null(find(a, "b"));
	ck_assert_uint_eq(version_of(a, "a"), version_of(b, "a"));
	ck_assert_uint_eq(number(b, "walks_first"), 2);
	ck_assert_uint_eq(number(b, "walks_lost"), 0);
	ck_assert_uint_eq(repl_lost_below(a->repl) + repl_lost_below(b->repl), 0);
	is_own_pair(a, b);
}
END_TEST

/* A promise that came to nothing in between must not make it forget what it has
 * from the repcached. */
START_TEST(a_broken_promise_between)
{
	struct host *b = host_start(&w, 0, -1);
	struct wire *s = it_connects(0);

	say(s, "rep a 5 0 1 1\r\nx\r\n");
	wait_ms(s, 5);
	struct wire *third = stranger(&w, 0);
	say(third, HELLO);
	run(&w, 5);
	ck_assert(stranger_is_closed(third));
	ck_assert(said(b, "this node is paired with a stranger (repcached)"));
	stranger_closes(&w, s);
	run(&w, 5);
	s = stranger(&w, 0);
	say(s, HELLO);
	run(&w, 5);
	ck_assert_uint_gt(s->pipe[1].len, 100); /* answered */
	stranger_closes(&w, s);
	run(&w, 5);
	struct host *a = host_start(&w, 1, 0);
	settle(&w, 0, 1);
	ck_assert_str_eq(get(a, "a"), "x");
	is_own_pair(b, a);
}
END_TEST

START_TEST(from_ours_to_repcached)
{
	struct host *a = host_start(&w, 0, -1), *b = host_start(&w, 1, 0);

	put(a, "a", "1");
	put(b, "b", "2");
	settle(&w, 0, 1);
	host_kill(&w, 0, true);
	run(&w, 10);
	struct wire *s = it_connects(1);
	ck_assert_str_eq(has("a"), "1"); /* which b has from a */
	ck_assert_str_eq(has("b"), "2");
	say(s, "rep a 0 0 1 1\r\n3\r\n");
	wait_ms(s, 5);
	ck_assert_str_eq(get(b, "a"), "3");
	/* and on: the next repcached, and the next of ours, get everything */
	stranger_closes(&w, s);
	model = (struct model){0};
	run(&w, 5);
	s = it_connects(1);
	ck_assert_str_eq(has("a"), "3");
	ck_assert_str_eq(has("b"), "2");
	stranger_closes(&w, s);
	run(&w, 1000);
	a = host_start(&w, 0, 1);
	settle(&w, 0, 1);
	ck_assert_str_eq(get(a, "a"), "3");
	ck_assert_str_eq(get(a, "b"), "2");
	is_own_pair(a, b);
}
END_TEST

/* A former peer that comes back finds what a repcached sent meanwhile. */
START_TEST(a_former_peer_comes_back)
{
	struct host *a = host_start(&w, 0, 1), *b = host_start(&w, 1, -1);

	put(a, "k", "old");
	put(a, "gone", "old");
	settle(&w, 0, 1);
	w.refuse = true;
	drop_all(&w, true);
	run(&w, 10);
	struct wire *s = it_connects(1);
	say(s, "rep k 0 0 3 1\r\nnew\r\ndelete gone\r\nrep more 0 0 1 1\r\nm\r\n");
	wait_ms(s, 10);
	stranger_closes(&w, s);
	w.refuse = false;
	run(&w, 1500);
	settle(&w, 0, 1);
	ck_assert_str_eq(get(a, "k"), "new");
	ck_assert_str_eq(get(b, "k"), "new");
	ck_assert_str_eq(get(a, "more"), "m");
	ck_assert_ptr_null(find(a, "gone"));
	ck_assert_ptr_null(find(b, "gone"));
	is_own_pair(a, b);
}
END_TEST

static void add_sections(Suite *suite)
{
	TCase *t = tcase_create("it connects"), *c = tcase_create("we connect"), *m = tcase_create("together"),
	      *o = tcase_create("our own");
	TCase *all[] = {t, c, m, o};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		tcase_add_checked_fixture(all[i], setup, teardown);
		tcase_set_timeout(all[i], 60);
		suite_add_tcase(suite, all[i]);
	}
	tcase_add_test(t, off_by_default);
	tcase_add_test(t, silence_gets_a_full_copy);
	tcase_add_test(t, an_empty_cache_is_copied_at_once);
	tcase_add_test(t, what_clients_do_is_sent);
	tcase_add_test(t, a_delayed_flush_is_sent_once);
	tcase_add_loop_test(t, what_it_sends_is_obeyed, 0, 12);
	tcase_add_test(t, large_values_both_ways);
	tcase_add_test(t, evictions_stay_here);
	tcase_add_loop_test(t, malformed_text_closes_the_link, 0, (int)ARRAY_LEN(junk));
	tcase_add_test(t, one_peer_only);
	tcase_add_test(t, text_while_there_is_a_link);
	tcase_add_test(t, who_speaks_first_is_believed);
	tcase_add_test(t, no_text_after_an_opening_line);
	tcase_add_test(t, it_does_not_read);
	tcase_add_test(t, overload_during_the_copy);
	tcase_add_test(t, drained_before_the_end);
	tcase_add_test(t, no_memory_for_lines);
	tcase_add_test(t, nothing_waits_for_it);
	tcase_add_test(c, a_slave_waits_for_the_end_of_the_copy);
	tcase_add_test(c, the_copy_breaks_off);
	tcase_add_test(c, a_slow_one);
	tcase_add_test(c, a_slow_one_that_is_replaced);
	tcase_add_loop_test(c, a_knock_is_answered_at_once, 0, 2);
	tcase_add_test(c, text_is_refused_without_the_option);
	tcase_add_test(m, what_was_changed_meanwhile_is_merged);
	tcase_add_test(m, a_merge_that_breaks_off_is_done_again);
	tcase_add_test(m, a_flush_meanwhile);
	tcase_add_test(m, a_new_one_gets_everything);
	tcase_add_loop_test(o, two_of_us, 0, 4);
	tcase_add_loop_test(o, two_of_us_mutually, 0, 24);
	tcase_add_test(o, taken_for_a_repcached);
	tcase_add_test(o, from_repcached_to_ours);
	tcase_add_test(o, a_broken_promise_between);
	tcase_add_test(o, from_ours_to_repcached);
	tcase_add_test(o, a_former_peer_comes_back);
}

int main(void)
{
	Suite *suite = suite_create("repl_legacy");

	add_sections(suite);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
