/*
 * test_replication.c - one test for each rule of doc/replication.txt, sections 1
 * to 7 and 9, on the small world of repl_world.h. Every test says its section.
 */
#include "compat.h"
#include <check.h>
#include "repl_world.h"

static struct world w;

static void setup(void)
{
	world_init(&w, 42);
}

static void teardown(void)
{
	world_free(&w);
}

/* A pair in sync: 0 is master, 1 is slave. */
static void make_pair(struct host **a, struct host **b)
{
	*a = host_start(&w, 0, -1);
	*b = host_start(&w, 1, 0);
	settle(&w, 0, 1);
}

static void both_have(struct host *a, struct host *b, const char *key, const char *value)
{
	struct item *ia = find(a, key), *ib = find(b, key);

	ck_assert_msg(ia && ib, "%s: %s%s", key, ia ? "" : "not on the first ", ib ? "" : "not on the second");
	ck_assert_str_eq(get(a, key), value);
	ck_assert_str_eq(get(b, key), value);
	ia = find(a, key);
	ib = find(b, key);
	ck_assert_uint_eq(ia->version, ib->version);
	ck_assert_uint_eq(ia->exptime, ib->exptime);
	ck_assert_uint_eq(ia->touches, ib->touches);
	ck_assert_uint_eq(item_flags(ia), item_flags(ib));
}

static void none_has(struct host *a, struct host *b, const char *key)
{
	ck_assert_msg(!find(a, key), "%s is on the first", key);
	ck_assert_msg(!find(b, key), "%s is on the second", key);
}

static void put_many(struct host *h, const char *prefix, int count)
{
	char key[32], value[32];

	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%d", prefix, i);
		snprintf(value, sizeof(value), "value %d", i);
		put(h, key, value);
	}
}

static int count_many(struct host *h, const char *prefix, int count)
{
	char key[32];
	int found = 0;

	for (int i = 0; i < count; i++) {
		snprintf(key, sizeof(key), "%s%d", prefix, i);
		found += find(h, key) != NULL;
	}
	return found;
}

/* ---- section 1 ------------------------------------------------------------------------ */

START_TEST(u1_master_serves_at_once)
{
	struct host *a = host_start(&w, 0, -1);

	ck_assert(repl_wants(a->repl)->client_ports);
	ck_assert(repl_wants(a->repl)->link_listen);
	ck_assert_int_eq(repl_role(a->repl), REPL_MASTER);
	run(&w, 10000);
	ck_assert_int_eq(a->lines, 1);
	ck_assert_int_eq((int)repl_next_due_ms(a->repl), INT64_MAX > INT32_MAX ? (int)INT64_MAX : 0);
}
END_TEST

START_TEST(u2_slave_serves_after_the_first_copy)
{
	struct host *a = host_start(&w, 0, -1);

	put_many(a, "k", 5000);
	struct host *b = host_start(&w, 1, 0);
	ck_assert(!repl_wants(b->repl)->client_ports);
	ck_assert(!repl_wants(b->repl)->link_listen);
	while (!repl_wants(b->repl)->client_ports)
		run(&w, 1);
	ck_assert_int_eq(count_many(b, "k", 5000), 5000);
	ck_assert_int_eq(repl_role(b->repl), REPL_SLAVE);
	ck_assert(!repl_wants(b->repl)->link_listen);
	ck_assert_int_eq(repl_role(a->repl), REPL_MASTER);
	settle(&w, 0, 1);
	both_have(a, b, "k77", "value 77");
	ck_assert_uint_eq(number(a, "items_sent"), 5000);
	ck_assert_uint_eq(number(b, "items_sent"), 0);
	ck_assert_str_eq(text(b, "link"), "up");
	ck_assert_str_eq(text(b, "mode"), "live");
	ck_assert_str_eq(text(b, "replication"), "SLAVE");
}
END_TEST

START_TEST(u3_master_when_nobody_is_there)
{
	struct host *b = host_start(&w, 1, 0);

	run(&w, 20);
	ck_assert(repl_wants(b->repl)->client_ports);
	ck_assert(repl_wants(b->repl)->link_listen);
	ck_assert_int_eq(repl_role(b->repl), REPL_MASTER);
	put(b, "k", "v");
	run(&w, 10000);
	ck_assert_int_le(b->lines, 4);
	/* it keeps trying */
	struct host *a = host_start(&w, 0, -1);
	run(&w, 1000);
	ck_assert_int_eq(repl_role(b->repl), REPL_SLAVE);
	settle(&w, 0, 1);
	both_have(a, b, "k", "v");
}
END_TEST

START_TEST(u3_connecting_takes_forever)
{
	w.blackhole = true;
	struct host *b = host_start(&w, 1, 0);
	run(&w, 2000);
	ck_assert(!repl_wants(b->repl)->client_ports);
	run(&w, 1000);
	ck_assert(repl_wants(b->repl)->client_ports);
	ck_assert(said(b, "connecting took too long"));
	/* the late one is of use all the same */
	host_start(&w, 0, -1);
	w.blackhole = false;
	run(&w, 4000);
	settle(&w, 0, 1);
}
END_TEST

START_TEST(u4_writes_travel_both_ways)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put_bytes(a, "k", (const uint8_t *)"v1", 2, 4711, 1900000000);
	run(&w, 2);
	ck_assert_str_eq(get(b, "k"), "v1");
	ck_assert_uint_eq(item_flags(find(b, "k")), 4711);
	ck_assert_uint_eq(find(b, "k")->exptime, 1900000000);
	put(b, "k", "v2");
	put(b, "other", "w");
	run(&w, 2);
	both_have(a, b, "k", "v2");
	both_have(a, b, "other", "w");
	ck_assert(del(a, "k"));
	run(&w, 2);
	none_has(a, b, "k");
	settle(&w, 0, 1);
}
END_TEST

START_TEST(u5_u7_the_master_dies_and_comes_back_empty)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put_many(a, "a", 50);
	put_many(b, "b", 50);
	settle(&w, 0, 1);
	host_kill(&w, 0, true);
	run(&w, 2);
	ck_assert_int_eq(repl_role(b->repl), REPL_MASTER);
	ck_assert(repl_wants(b->repl)->link_listen);
	del(b, "a7");
	put(b, "a8", "newer");
	a = host_start(&w, 0, -1);
	run(&w, 1000);
	settle(&w, 0, 1);
	ck_assert_int_eq(repl_role(a->repl), REPL_MASTER);
	ck_assert_int_eq(count_many(a, "a", 50), 49);
	ck_assert_int_eq(count_many(a, "b", 50), 50);
	ck_assert_int_eq(count_many(b, "a", 50), 49);
	ck_assert_int_eq(count_many(b, "b", 50), 50);
	both_have(a, b, "a8", "newer");
}
END_TEST

START_TEST(u6_u7_the_slave_dies_and_comes_back_empty)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put_many(a, "a", 50);
	put_many(b, "b", 50);
	settle(&w, 0, 1);
	host_kill(&w, 1, true);
	run(&w, 2);
	ck_assert_int_eq(repl_role(a->repl), REPL_MASTER);
	del(a, "b3");
	b = host_start(&w, 1, 0);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(a, "a", 50), 50);
	ck_assert_int_eq(count_many(a, "b", 50), 49);
	ck_assert_int_eq(count_many(b, "a", 50), 50);
	ck_assert_int_eq(count_many(b, "b", 50), 49);
}
END_TEST

START_TEST(u5_silence)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	settle(&w, 0, 1);
	drop_all(&w, false);
	run(&w, 4900);
	ck_assert_int_eq(repl_role(b->repl), REPL_SLAVE);
	w.refuse = true;
	run(&w, 1200);
	ck_assert_int_eq(repl_role(b->repl), REPL_MASTER);
	ck_assert(said(b, "nothing was heard"));
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	ck_assert_int_eq(wire_count(&w), 1);
	both_have(a, b, "k", "v");
}
END_TEST

/* Any start order, any chunking, also both at the same instant. */
START_TEST(u8_mutual)
{
	world_free(&w);
	world_init(&w, 1000 + (uint64_t)_i);
	w.chunk_max = 1 + prng_below(&w.prng, 400);
	int first = (int)prng_below(&w.prng, 2), delay = (int)prng_below(&w.prng, 3);
	struct host *x = host_start(&w, first, 1 - first);
	run(&w, delay * delay * 60);
	struct host *y = host_start(&w, 1 - first, first);
	run(&w, 1000);
	ck_assert_ptr_nonnull(wire_between(&w, 0, 1));
	ck_assert_int_eq(wire_count(&w), 1);
	ck_assert_int_ne(repl_role(x->repl), repl_role(y->repl));
	ck_assert(repl_wants(x->repl)->client_ports && repl_wants(y->repl)->client_ports);
	put(x, "x", "1");
	put(y, "y", "2");
	settle(&w, 0, 1);
	both_have(x, y, "x", "1");
	both_have(x, y, "y", "2");
	int made = w.links_made;
	run(&w, 5000);
	ck_assert_int_eq(w.links_made, made); /* no flapping */
}
END_TEST

/* Two masters that know each other, cut and healed again and again. */
START_TEST(u9_partition)
{
	struct host *a, *b;

	world_free(&w);
	world_init(&w, 2000 + (uint64_t)_i);
	a = host_start(&w, 0, 1);
	b = host_start(&w, 1, 0);
	run(&w, 1000);
	put(a, "both", "0");
	put(a, "gone", "0");
	put_many(a, "k", 20);
	settle(&w, 0, 1);
	w.refuse = true;
	drop_all(&w, prng_below(&w.prng, 2));
	run(&w, 6000);
	ck_assert_int_eq(repl_role(a->repl), REPL_MASTER);
	ck_assert_int_eq(repl_role(b->repl), REPL_MASTER);
	put(a, "both", "older");
	run(&w, 5);
	put(b, "both", "newer");
	put(a, "gone", "1");
	run(&w, 1);
	del(b, "gone");
	put(a, "only-a", "a");
	put(b, "only-b", "b");
	del(a, "k3");
	w.refuse = false;
	run(&w, 1500);
	settle(&w, 0, 1);
	ck_assert_int_eq(wire_count(&w), 1);
	both_have(a, b, "both", "newer");
	both_have(a, b, "only-a", "a");
	both_have(a, b, "only-b", "b");
	none_has(a, b, "gone");
	none_has(a, b, "k3");
	/* what was settled did not travel again */
	ck_assert_uint_le(number(a, "items_sent"), 22 + 3);
}
END_TEST

START_TEST(u10_the_peer_does_not_read)
{
	struct host *a, *b;

	w.hosts[0].settings.repl_buffer_bytes = 20000;
	w.hosts[0].settings.repl_timeout_ms = w.hosts[1].settings.repl_timeout_ms = 60000;
	make_pair(&a, &b);
	struct wire *x = wire_between(&w, 0, 1);
	x->pipe[0].stalled = x->pipe[1].stalled = true;
	uint8_t value[1000] = {1};
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 100; i++) {
			char key[16];
			snprintf(key, sizeof(key), "k%d", i);
			value[0] = (uint8_t)round;
			put_bytes(a, key, value, sizeof(value), 0, 0);
			ck_assert_uint_le(number(a, "unsent_bytes"), 20000 + 100);
		}
		run(&w, 1);
	}
	ck_assert_uint_ge(number(a, "overloads"), 1);
	uint64_t sent = number(a, "items_sent");
	x->pipe[0].stalled = x->pipe[1].stalled = false;
	settle(&w, 0, 1);
	for (int i = 0; i < 100; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		ck_assert_ptr_nonnull(find(b, key));
		ck_assert_uint_eq(*item_value(find(b, key)), 49);
	}
	/* each key once, and a few that the walk overtook */
	ck_assert_uint_le(number(a, "items_sent") - sent, 200);
	ck_assert_str_eq(text(a, "mode"), "live");
}
END_TEST

START_TEST(u11_drain)
{
	struct host *a, *b;

	make_pair(&a, &b);
	wire_between(&w, 0, 1)->pipe[0].stalled = true;
	wire_between(&w, 0, 1)->pipe[1].stalled = true;
	put_many(a, "k", 300);
	repl_stop(a->repl);
	run(&w, 100);
	ck_assert(!repl_wants(a->repl)->drained);
	ck_assert(!repl_wants(a->repl)->link_listen);
	wire_between(&w, 0, 1)->pipe[0].stalled = false;
	wire_between(&w, 0, 1)->pipe[1].stalled = false;
	run(&w, 100);
	ck_assert(repl_wants(a->repl)->drained);
	ck_assert_int_eq(count_many(b, "k", 300), 300);
}
END_TEST

START_TEST(u11_drain_ends)
{
	struct host *a, *b;

	make_pair(&a, &b);
	wire_between(&w, 0, 1)->pipe[1].stalled = true;
	wire_between(&w, 0, 1)->pipe[0].stalled = true;
	put(a, "k", "v");
	a->settings.repl_drain_ms = 700;
	repl_stop(a->repl);
	run(&w, 650);
	ck_assert(!repl_wants(a->repl)->drained);
	run(&w, 100);
	ck_assert(repl_wants(a->repl)->drained);
	/* alone, or never linked: nothing to wait for */
	host_kill(&w, 0, true);
	run(&w, 5);
	repl_stop(b->repl);
	ck_assert(repl_wants(b->repl)->drained);
	ck_assert_int_eq((int)repl_wants(b->repl)->link_listen, 0);
}
END_TEST

START_TEST(u12_a_third_daemon)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	settle(&w, 0, 1);
	int lines_a = a->lines, lines_b = b->lines;
	struct host *c = host_start(&w, 2, 0);
	put(c, "mine", "1");
	run(&w, 20000);
	ck_assert(said(c, "refused by the listener: this node is paired with"));
	ck_assert(said(a, "refused the connector"));
	ck_assert_int_eq(a->lines, lines_a + 1);
	ck_assert_int_eq(b->lines, lines_b);
	ck_assert_int_le(c->lines, 5);
	ck_assert_int_eq(repl_role(c->repl), REPL_MASTER);
	ck_assert(repl_wants(c->repl)->client_ports);
	ck_assert_ptr_nonnull(wire_between(&w, 0, 1));
	ck_assert_ptr_null(find(c, "k"));
	ck_assert_uint_eq(repl_lost_below(c->repl), 0);
	put(b, "k2", "v2");
	settle(&w, 0, 1);
	both_have(a, b, "k2", "v2");
	/* when the slave goes, the third takes its place */
	host_kill(&w, 1, true);
	run(&w, 1500);
	settle(&w, 0, 2);
	both_have(a, c, "k", "v");
	/* what c had is older than what was settled with b, and may have been removed
	 * there: it goes, on both (section 4) */
	none_has(a, c, "mine");
}
END_TEST

/* ---- section 2 ------------------------------------------------------------------------- */

START_TEST(versions_follow_the_faster_clock)
{
	host_step_clock(&w, 0, 3600 * 1000);
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "ahead");
	settle(&w, 0, 1);
	put(b, "k", "after");
	settle(&w, 0, 1);
	both_have(a, b, "k", "after");
	host_step_clock(&w, 0, -7200 * 1000);
	put(a, "k", "last");
	settle(&w, 0, 1);
	both_have(a, b, "k", "last");
	ck_assert_int_ge(strtoll(text(b, "clock_offset_ms"), NULL, 10), 3599 * 1000);
}
END_TEST

START_TEST(a_clock_too_far_ahead_is_refused)
{
	host_step_clock(&w, _i ? 1 : 0, INT64_C(2) * 24 * 3600 * 1000);
	struct host *a = host_start(&w, 0, -1);
	put(a, "k", "v");
	struct host *b = host_start(&w, 1, 0);
	run(&w, 500);
	put(b, "k", "w"); /* draws from its clock */
	run(&w, 2000);
	if (_i == 0) {
		ck_assert_ptr_null(wire_between(&w, 0, 1));
		ck_assert(said(a, "clocks are too far apart"));
		ck_assert(said(b, "clocks are too far apart"));
		ck_assert_int_le(a->lines, 4);
		ck_assert_int_le(b->lines, 6);
	} else {
		ck_assert(said(b, "clocks are too far apart") || said(a, "clocks are too far apart"));
		ck_assert_str_eq(get(a, "k"), "v");
	}
}
END_TEST

START_TEST(a_clock_that_steps_while_linked)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(b, "k", "v");
	settle(&w, 0, 1);
	host_step_clock(&w, 1, INT64_C(3) * 24 * 3600 * 1000);
	put(b, "k", "far");
	run(&w, 20);
	ck_assert_str_eq(get(a, "k"), "v");
	ck_assert(said(a, "clocks are too far apart"));
	host_step_clock(&w, 0, INT64_C(3) * 24 * 3600 * 1000);
	run(&w, 2000);
	settle(&w, 0, 1);
	both_have(a, b, "k", "far");
}
END_TEST

START_TEST(equal_origins)
{
	struct host *a = host_start(&w, 0, -1);
	struct host *b = host_start(&w, 1, 0);

	b->hlc.origin = a->hlc.origin;
	settle(&w, 0, 1);
	ck_assert_uint_ne(a->hlc.origin, b->hlc.origin);
	ck_assert_uint_ne(b->hlc.origin, 0);
}
END_TEST

/* ---- section 3 ---------------------------------------------------------------------------- */

START_TEST(touches_travel)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	settle(&w, 0, 1);
	uint64_t version = version_of(a, "k");
	ck_assert(touch(b, "k", 1800000000));
	settle(&w, 0, 1);
	both_have(a, b, "k", "v");
	ck_assert_uint_eq(version_of(a, "k"), version);
	ck_assert_uint_eq(find(a, "k")->exptime, 1800000000);
	ck_assert_uint_eq(find(a, "k")->touches, 1);
	/* concurrently: the larger number of touches */
	w.refuse = true;
	drop_all(&w, true);
	touch(a, "k", 1800000001);
	touch(a, "k", 1800000002);
	touch(b, "k", 1900000000);
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	both_have(a, b, "k", "v");
	ck_assert_uint_eq(find(b, "k")->exptime, 1800000002);
	/* only the touch travelled while they were linked; what was touched while
	 * they were not came whole */
	ck_assert_uint_eq(number(a, "touches_sent") + number(b, "touches_sent"), 1);
	ck_assert_uint_eq(number(a, "items_sent") + number(b, "items_sent"), 3);
}
END_TEST

START_TEST(touch_number_overflows)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	for (int i = 0; i < 300; i++)
		touch(a, "k", 1800000000 + (uint32_t)i);
	settle(&w, 0, 1);
	both_have(a, b, "k", "v");
	ck_assert_uint_eq(find(b, "k")->exptime, 1800000299);
	ck_assert_uint_lt(find(b, "k")->touches, 100);
}
END_TEST

/* The peer may not have a touch that was made just before the link broke. */
START_TEST(a_touch_before_the_drop)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	put(a, "other", "v");
	settle(&w, 0, 1);
	touch(a, "k", 1800000000);
	drop_all(&w, true);
	run(&w, 1500);
	settle(&w, 0, 1);
	both_have(a, b, "k", "v");
	ck_assert_uint_eq(find(b, "k")->exptime, 1800000000);
	ck_assert_uint_ge(number(a, "touches_sent"), 1);
	ck_assert_uint_eq(number(a, "items_sent"), 3);
}
END_TEST

/* Bytes that a peer of ours sends, for what two nodes of this code cannot do. */
struct script {
	uint8_t bytes[8192];
	size_t len;
};

static void add_hello(struct script *s, uint64_t id, const struct host *to, uint64_t maxitem)
{
	struct wire_hello h = {.node_id = id, .origin = 9, .wall_ms = to->now.wall_ms, .maxitem = maxitem,
	                       .clock = to->hlc.last};
	s->len += wire_hello_encode(s->bytes + s->len, &h);
}

static void add_frame(struct script *s, const struct wire_frame *f, const char *value)
{
	s->len += wire_frame_encode(s->bytes + s->len, f);
	memcpy(s->bytes + s->len, value, strlen(value));
	s->len += strlen(value);
}

static void add_item(struct script *s, const char *key, const char *value, uint64_t version, uint32_t flags)
{
	struct wire_frame f = {.type = WIRE_ITEM, .key = (const uint8_t *)key, .key_len = (uint8_t)strlen(key),
	                       .order = {version, 0, 0}, .flags = flags, .value_len = (uint32_t)strlen(value)};
	add_frame(s, &f, value);
}

static void add_control(struct script *s, enum wire_type type, uint64_t version, uint8_t bits)
{
	add_frame(s, &(struct wire_frame){.type = type, .order.version = version, .bits = bits}, "");
}

static void tell(struct wire *x, const struct script *s)
{
	stranger_says(&w, x, s->bytes, s->len);
	run(&w, 2);
}

/* A hand-made peer of host a, linked. */
static struct wire *handmade_peer(struct host *a, uint64_t id)
{
	struct script s = {.len = 0};
	struct wire *x = stranger(&w, 0);

	ck_assert_ptr_nonnull(x);
	add_hello(&s, id, a, 1 << 20);
	add_control(&s, WIRE_BEGIN, 1, 0);
	tell(x, &s);
	ck_assert_str_eq(text(a, "link"), "up");
	return x;
}

START_TEST(equal_order_larger_bytes_win)
{
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = handmade_peer(a, 77);
	struct script s = {.len = 0};
	uint64_t v = a->hlc.last + 5000;

	add_item(&s, "k", "mmm", v, 5);
	tell(x, &s);
	s.len = 0;
	add_item(&s, "k", "mma", v, 5);
	tell(x, &s);
	ck_assert_str_eq(get(a, "k"), "mmm");
	s.len = 0;
	add_item(&s, "k", "mmmm", v, 5);
	tell(x, &s);
	ck_assert_str_eq(get(a, "k"), "mmmm");
	s.len = 0;
	add_item(&s, "k", "mmmm", v, 6);
	tell(x, &s);
	ck_assert_uint_eq(item_flags(find(a, "k")), 6);
	s.len = 0;
	add_item(&s, "k", "mmmm", v, 4);
	tell(x, &s);
	ck_assert_uint_eq(item_flags(find(a, "k")), 6);
	ck_assert_uint_eq(number(a, "ignored"), 2);
}
END_TEST

/* A clock steps over the instant of a delayed flush, and a state is the first thing
 * after it: the flush happens, then the state is judged. */
START_TEST(a_flush_is_due_when_a_state_arrives)
{
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = handmade_peer(a, 77);
	struct script s = {.len = 0};
	uint64_t v = a->hlc.last + 5000;

	put(a, "mine", "1");
	items_flush_command(a->items, a->now.wall_ms + 500);
	add_item(&s, "k", "v", v, 0);
	host_step_clock(&w, 0, 1000);
	uint64_t changes = a->changes, ignored = number(a, "ignored");
	repl_conn_input(x->conn[1], s.bytes, s.len);
	ck_assert_uint_gt(items_flush_state(a->items)->barrier, v);
	ck_assert_uint_eq(a->changes, changes + 1); /* the flush, and nothing else */
	ck_assert_uint_eq(number(a, "ignored"), ignored + 1);
	run(&w, 2);
	ck_assert_ptr_null(find(a, "k"));
	ck_assert_ptr_null(find(a, "mine"));
}
END_TEST

START_TEST(flush_now)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	settle(&w, 0, 1);
	items_flush_command(b->items, 0);
	run(&w, 3);
	none_has(a, b, "k");
	put(a, "k", "new");
	settle(&w, 0, 1);
	both_have(a, b, "k", "new");
	/* during a partition: what is older does not come back */
	w.refuse = true;
	drop_all(&w, true);
	put(a, "old", "1");
	run(&w, 5);
	items_flush_command(b->items, 0);
	run(&w, 5);
	put(a, "young", "2");
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	none_has(a, b, "old");
	none_has(a, b, "k");
	both_have(a, b, "young", "2");
}
END_TEST

START_TEST(flush_later)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	items_flush_command(a->items, a->now.wall_ms + 500);
	settle(&w, 0, 1);
	ck_assert_int_eq(items_flush_state(b->items)->when_ms, items_flush_state(a->items)->when_ms);
	both_have(a, b, "k", "v");
	run(&w, 600);
	none_has(a, b, "k");
	settle(&w, 0, 1);
	ck_assert_uint_eq(items_flush_state(b->items)->barrier, items_flush_state(a->items)->barrier);
	ck_assert_int_eq(items_flush_state(b->items)->when_ms, 0);
	/* a newer command replaces a pending one, on both */
	put(a, "k", "w");
	items_flush_command(a->items, a->now.wall_ms + 500);
	settle(&w, 0, 1);
	items_flush_command(b->items, b->now.wall_ms + 5000);
	run(&w, 1000);
	both_have(a, b, "k", "w");
	run(&w, 5000);
	none_has(a, b, "k");
}
END_TEST

/* ---- section 4 ------------------------------------------------------------------------------- */

START_TEST(deleting_what_is_not_held)
{
	struct host *a, *b;

	make_pair(&a, &b);
	w.refuse = true;
	drop_all(&w, true);
	put(a, "k", "v");
	run(&w, 5);
	ck_assert(!del(b, "k"));
	ck_assert_uint_eq(number(b, "tombstones"), 1);
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	none_has(a, b, "k");
	/* acknowledged: freed */
	ck_assert_uint_eq(number(b, "tombstones"), 0);
}
END_TEST

START_TEST(a_failed_write_is_a_removal)
{
	struct host *a, *b;
	uint8_t *big = calloc(1, 2 << 20);

	make_pair(&a, &b);
	put(a, "k", "v");
	settle(&w, 0, 1);
	ck_assert(!put_bytes(a, "k", big, 2 << 20, 0, 0));
	settle(&w, 0, 1);
	none_has(a, b, "k");
	free(big);
}
END_TEST

/* So many removals while apart that tombstones are lost: the peer's older states
 * are not taken, and what was removed is swept away there. */
START_TEST(lost_tombstones_sweep)
{
	struct host *a, *b;

	w.hosts[0].settings.repl_tombstones_bytes = 2000;
	make_pair(&a, &b);
	put_many(a, "k", 400);
	settle(&w, 0, 1);
	w.refuse = true;
	drop_all(&w, true);
	for (int i = 0; i < 300; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		del(a, key);
	}
	put(b, "b-only", "1"); /* newer than nothing that was lost: must go or stay on both */
	run(&w, 5);
	put(b, "young", "1");
	ck_assert_uint_gt(repl_lost_below(a->repl), 0);
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	ck_assert_uint_eq(repl_lost_below(a->repl), 0);
	ck_assert_int_eq(count_many(a, "k", 300), 0);
	ck_assert_int_eq(count_many(b, "k", 300), 0);
	ck_assert_int_eq(count_many(a, "k", 400), 100);
	ck_assert_int_eq(count_many(b, "k", 400), 100);
	both_have(a, b, "young", "1");
	ck_assert_int_eq(find(a, "b-only") != NULL, find(b, "b-only") != NULL);
	ck_assert_uint_ge(number(b, "swept"), 250);
	ck_assert_uint_ge(number(a, "haves_sent"), 100);
	ck_assert_uint_eq(number(a, "walks_lost"), 1);
	/* the hundred that are settled did not travel again */
	ck_assert_uint_le(number(a, "items_sent"), 410);
}
END_TEST

/* P8: a node that never had a peer removes nothing from the one it meets. */
START_TEST(a_node_without_a_past_harms_nobody)
{
	w.hosts[1].settings.repl_tombstones_bytes = 1000;
	struct host *a = host_start(&w, 0, -1);
	put_many(a, "k", 100);
	run(&w, 5);
	w.refuse = true;
	struct host *b = host_start(&w, 1, 0);
	run(&w, 50);
	for (int i = 100; i < 400; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		del(b, key);
	}
	ck_assert_uint_gt(number(b, "tombs_lost"), 0);
	ck_assert_uint_eq(repl_lost_below(b->repl), 0);
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(a, "k", 100), 100);
	ck_assert_int_eq(count_many(b, "k", 100), 100);
}
END_TEST

/* What was settled with one daemon is not settled with another. */
START_TEST(three_daemons_taking_turns)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "old");
	settle(&w, 0, 1);
	host_kill(&w, 1, true);
	/* c pairs with a, k is removed, all is settled with c */
	struct host *c = host_start(&w, 2, 0);
	settle(&w, 0, 2);
	both_have(a, c, "k", "old");
	del(c, "k");
	put(c, "from-c", "1");
	settle(&w, 0, 2);
	ck_assert_uint_eq(number(a, "tombstones"), 0);
	host_kill(&w, 2, true);
	/* a hand-made peer that still has the old state of k */
	run(&w, 5);
	struct wire *x = handmade_peer(a, 4242);
	ck_assert_uint_gt(repl_lost_below(a->repl), 0);
	struct script s = {.len = 0};
	add_item(&s, "k", "old", 1 + (version_of_wall_ms(1700000000000) | 5), 0);
	add_control(&s, WIRE_MARK, a->hlc.last, WIRE_MARK_SYNCED);
	tell(x, &s);
	ck_assert_ptr_null(find(a, "k"));
	ck_assert_uint_eq(number(a, "refused"), 1);
	ck_assert_str_eq(get(a, "from-c"), "1");
}
END_TEST

/* The old peer comes back after another took its place: what it has seen does not
 * cover what came from the other meanwhile. */
START_TEST(a_former_peer_comes_back)
{
	struct host *a, *b;

	w.hosts[1].settings.repl_timeout_ms = 60000;
	make_pair(&a, &b);
	put_many(a, "a", 20);
	settle(&w, 0, 1);
	/* b is cut off and does not notice; a pairs with c, whose clock is behind */
	wire_between(&w, 0, 1)->lost = true;
	host_step_clock(&w, 2, -60000);
	run(&w, 6000);
	struct host *c = host_start(&w, 2, 0);
	settle(&w, 0, 2);
	put_many(c, "late", 5);
	settle(&w, 0, 2);
	host_kill(&w, 2, true);
	drop_all(&w, true);
	run(&w, 1500);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(b, "a", 20), 20);
	ck_assert_int_eq(count_many(b, "late", 5), 5);
	ck_assert_int_eq(count_many(a, "late", 5), 5);
	both_have(a, b, "late3", "value 3");
}
END_TEST

/* The same, and no version was made since: b has read the last MARK, but its ACK
 * is lost, and what c brings is older than that MARK. */
START_TEST(a_former_peer_has_seen_the_clock)
{
	struct host *a, *b;

	w.hosts[1].settings.repl_timeout_ms = 60000;
	make_pair(&a, &b);
	run(&w, 20000);
	struct wire *x = wire_between(&w, 0, 1);
	x->pipe[x->host[1] == 1].stalled = true;
	put(a, "k", "v");
	run(&w, 50);
	ck_assert_str_eq(get(b, "k"), "v");
	x->lost = true;
	run(&w, 6000);
	host_step_clock(&w, 2, -17000);
	w.refuse = true;
	struct host *c = host_start(&w, 2, 0);
	run(&w, 3000);
	put_many(c, "late", 5);
	w.refuse = false;
	settle(&w, 0, 2);
	ck_assert_uint_lt(version_of(c, "late4"), version_of(a, "k"));
	ck_assert_int_eq(count_many(a, "late", 5), 5);
	host_kill(&w, 2, true);
	drop_all(&w, true);
	run(&w, 1500);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(a, "late", 5), 5);
	both_have(a, b, "late3", "value 3");
}
END_TEST

/* An unsettled own state that is evicted leaves a tombstone. */
START_TEST(evicted_before_it_was_settled)
{
	struct host *a, *b;
	static uint8_t value[8000];

	w.hosts[0].settings.memory_bytes_max = 4 << 20;
	w.hosts[0].settings.repl_tombstones_bytes = 1 << 20;
	make_pair(&a, &b);
	put(a, "k", "old");
	settle(&w, 0, 1);
	w.refuse = true;
	drop_all(&w, true);
	run(&w, 2);
	put(a, "k", "new");
	for (int i = 0; i < 2000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "fill%d", i);
		put_bytes(a, key, value, sizeof(value), 0, 0);
	}
	ck_assert_uint_gt(items_counters(a->items)->evictions, 500);
	ck_assert_uint_gt(number(a, "tombstones"), 500);
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	if (find(a, "k"))
		both_have(a, b, "k", "new");
	else
		ck_assert_ptr_null(find(b, "k"));
	ck_assert_uint_eq(number(a, "tombstones"), 0);
}
END_TEST

/* ---- section 5 ----------------------------------------------------------------------------------- */

START_TEST(junk_on_the_port)
{
	static const char *const junk[] = {
	        "get k\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x80\x0b\0\0\0\0\0\0\0\0\0\0", "REPL/9 hello\n",
	        "REFUSED because\n", "\n", "REPL/1 nonsense\n", "\x16\x03\x01",
	};
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "v");
	settle(&w, 0, 1);
	int lines = a->lines;
	for (int round = 0; round < 20; round++) {
		struct wire *x = stranger(&w, 0);
		const char *what = junk[round % (int)ARRAY_LEN(junk)];
		stranger_says(&w, x, what, what[0] == '\x80' ? 12 : strlen(what));
		run(&w, 3);
		ck_assert(stranger_is_closed(x));
		size_t len;
		stranger_heard(x, &len);
		ck_assert_uint_eq(len, 0);
		stranger_forget(x);
	}
	ck_assert_int_eq(a->lines, lines + 1);
	ck_assert_uint_eq(number(a, "links_malformed"), 20);
	ck_assert_ptr_nonnull(wire_between(&w, 0, 1));
	/* says nothing: dropped in time, and the others are not kept out */
	struct wire *silent[12];
	for (int i = 0; i < 12; i++)
		silent[i] = stranger(&w, 0);
	run(&w, 3000);
	for (int i = 0; i < 12; i++)
		ck_assert(!silent[i] || stranger_is_closed(silent[i]));
	settle(&w, 0, 1);
}
END_TEST

START_TEST(random_bytes_on_the_port)
{
	struct host *a, *b;

	make_pair(&a, &b);
	for (int round = 0; round < 200; round++) {
		uint8_t bytes[600];
		struct wire *x = stranger(&w, 0);
		if (!x) {
			run(&w, 3);
			continue;
		}
		size_t len = 1 + prng_below(&w.prng, sizeof(bytes));
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)prng_next(&w.prng);
		stranger_says(&w, x, bytes, len);
		run(&w, 2);
		ck_assert(stranger_is_closed(x));
		stranger_forget(x);
	}
	ck_assert_ptr_nonnull(wire_between(&w, 0, 1));
	settle(&w, 0, 1);
}
END_TEST

/* Malformed frames on an established link: closed with a message, nothing of
 * that frame applied. */
START_TEST(malformed_frames_on_the_link)
{
	struct host *a = host_start(&w, 0, -1);
	static const uint8_t bad[][16] = {
	        {0},
	        {99, 0, 0, 0, 1},
	        {WIRE_ITEM, 0xff, 0xff, 0xff, 0xff},
	        {WIRE_MARK, 0, 0, 0, 8},
	        {WIRE_SWEEP, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9}, /* no walk that confirms */
	        {WIRE_ACK, 0, 0, 0, 9, 0x7f, 0xff},               /* of a version never made */
	};
	for (int i = 0; i < (int)ARRAY_LEN(bad); i++) {
		struct wire *x = handmade_peer(a, 100 + (uint64_t)i);
		stranger_says(&w, x, bad[i], sizeof(bad[i]));
		run(&w, 2);
		ck_assert_msg(stranger_is_closed(x), "case %d", i);
		ck_assert_str_eq(text(a, "link"), "down");
		stranger_forget(x);
	}
	ck_assert(said(a, "malformed"));
	/* a truncated ITEM: nothing of it */
	struct wire *x = handmade_peer(a, 200);
	struct script s = {.len = 0};
	add_item(&s, "k", "a value that is cut", a->hlc.last + 5000, 0);
	stranger_says(&w, x, s.bytes, s.len - 4);
	run(&w, 2);
	repl_conn_closed(x->conn[1], "reset");
	x->conn[1] = NULL;
	run(&w, 2);
	ck_assert_ptr_null(find(a, "k"));
	const char *broken = items_check(a->items);
	ck_assert_msg(!broken, "%s", broken ? broken : "");
}
END_TEST

START_TEST(the_first_frame_is_begin)
{
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = stranger(&w, 0);
	struct script s = {.len = 0};

	add_hello(&s, 5, a, 1);
	tell(x, &s);
	for (int i = 0; i < 20000; i++) {
		char key[32];
		snprintf(key, sizeof(key), "a key to be removed %d", i);
		del(a, key);
	}
	ck_assert_uint_gt(number(a, "tombs_lost"), 0);
	ck_assert_uint_gt(repl_lost_below(a->repl), 0);
	s.len = 0;
	add_control(&s, WIRE_MARK, 1, 0);
	tell(x, &s);
	ck_assert(stranger_is_closed(x));
	ck_assert_uint_eq(number(a, "links"), 0);
	/* nothing is left of what a stranger made this node believe */
	ck_assert_uint_eq(repl_lost_below(a->repl), 0);
}
END_TEST

START_TEST(connected_to_itself)
{
	struct host *a = host_start(&w, 0, 0);

	/* it cannot be its own peer at start: not listening yet, refused */
	run(&w, 5000);
	ck_assert(said(a, "itself"));
	ck_assert_int_le(a->lines, 8);
	ck_assert_int_eq(repl_role(a->repl), REPL_MASTER);
	ck_assert_uint_eq(number(a, "links"), 0);
}
END_TEST

START_TEST(a_secret_is_not_known_here)
{
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = stranger(&w, 0);
	uint8_t line[WIRE_LINE_BYTES_MAX];
	struct wire_hello h = {.node_id = 5, .origin = 9, .wall_ms = a->now.wall_ms, .auth = WIRE_AUTH_HMAC};

	stranger_says(&w, x, line, wire_hello_encode(line, &h));
	run(&w, 3);
	size_t len;
	const uint8_t *heard = stranger_heard(x, &len);
	ck_assert_uint_gt(len, 8);
	ck_assert_mem_eq(heard, "REFUSED ", 8);
	ck_assert(stranger_is_closed(x));
	ck_assert(said(a, "shared secret"));
}
END_TEST

/* The old link is dead for one side only: a new one from the same node replaces
 * it, whichever side made the old one. */
START_TEST(same_node_replaces_the_link)
{
	struct host *a, *b;

	w.hosts[0].settings.repl_timeout_ms = 60000; /* a does not notice by itself */
	w.hosts[1].settings.repl_timeout_ms = 1500;
	a = host_start(&w, 0, _i ? 1 : -1);
	b = host_start(&w, 1, 0);
	run(&w, 1000);
	settle(&w, 0, 1);
	put(a, "k", "v");
	settle(&w, 0, 1);
	/* half-open */
	struct wire *x = wire_between(&w, 0, 1);
	x->lost = true;
	run(&w, 6000);
	ck_assert_ptr_nonnull(wire_between(&w, 0, 1));
	ck_assert_int_eq(wire_count(&w), 1);
	put(b, "k", "w");
	settle(&w, 0, 1);
	both_have(a, b, "k", "w");
	/* by then a has closed its end of the old one */
	for (int end = 0; end < 2; end++)
		ck_assert(!x->used || !x->lost || !x->conn[end]);
}
END_TEST

START_TEST(an_idle_pair_exchanges_heartbeats_only)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put_many(a, "k", 10);
	settle(&w, 0, 1);
	run(&w, 3000);
	uint64_t bytes = number(a, "bytes_sent") + number(b, "bytes_sent");
	uint64_t items = number(a, "items_sent") + number(b, "items_sent");
	run(&w, 60000);
	ck_assert_uint_eq(number(a, "items_sent") + number(b, "items_sent"), items);
	ck_assert_uint_eq(number(a, "tombs_sent") + number(a, "touches_sent") + number(b, "tombs_sent"), 0);
	/* MARK and ACK, 14 bytes each, a second, each way */
	uint64_t sent = number(a, "bytes_sent") + number(b, "bytes_sent") - bytes;
	ck_assert_uint_le(sent, 2 * 62 * 28);
	ck_assert_uint_ge(sent, 2 * 55 * 28);
	ck_assert_uint_eq(number(a, "lag_ms"), 0);
}
END_TEST

START_TEST(listening_fails_and_is_tried_again)
{
	struct host *a = host_start(&w, 0, -1);

	repl_listen_failed(a->repl, "Address already in use");
	ck_assert(!repl_wants(a->repl)->link_listen);
	run(&w, 900);
	ck_assert(!repl_wants(a->repl)->link_listen);
	run(&w, 200);
	ck_assert(repl_wants(a->repl)->link_listen);
	ck_assert(said(a, "Address already in use"));
}
END_TEST

/* ---- section 6 ------------------------------------------------------------------------------------ */

START_TEST(a_reconnect_sends_what_was_missed)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put_many(a, "k", 1000);
	settle(&w, 0, 1);
	uint64_t sent = number(a, "items_sent");
	w.refuse = true;
	drop_all(&w, true);
	put_many(a, "new", 7);
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	ck_assert_uint_eq(number(a, "items_sent"), sent + 7);
	ck_assert_uint_eq(number(b, "items_sent"), 0);
	ck_assert_uint_eq(number(a, "walks_catchup"), 1);
	ck_assert_int_eq(count_many(b, "new", 7), 7);
	ck_assert_uint_eq(number(a, "reconnects"), 1);
}
END_TEST

/* A link that breaks in the middle of the first copy, many times. */
START_TEST(walks_that_break_off)
{
	world_free(&w);
	world_init(&w, 3000 + (uint64_t)_i);
	w.chunk_max = 500;
	w.bytes_per_ms = 1 + prng_below(&w.prng, 5000);
	for (int i = 0; i < 2; i++)
		w.hosts[i].settings.repl_buffer_bytes = 4000;
	struct host *a = host_start(&w, 0, -1);
	put_many(a, "k", 2000);
	struct host *b = host_start(&w, 1, 0);
	for (int round = 0; round < 10; round++) {
		run(&w, 1 + (int64_t)prng_below(&w.prng, 40));
		put(a, "hot", "a");
		put(b, "warm", "b");
		del(round & 1 ? a : b, "k5");
		struct wire *x = wire_between(&w, 0, 1);
		if (x && prng_below(&w.prng, 2))
			x->pipe[prng_below(&w.prng, 2)].stalled = true;
		if (prng_below(&w.prng, 3) == 0)
			drop_all(&w, true);
	}
	drop_all(&w, true);
	w.bytes_per_ms = 0;
	run(&w, 1500);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(b, "k", 2000), 1999);
	ck_assert_int_eq(count_many(a, "k", 2000), 1999);
	both_have(a, b, "hot", "a");
	both_have(a, b, "warm", "b");
}
END_TEST

START_TEST(large_values)
{
	struct host *a, *b;
	size_t len = 700000;
	uint8_t *value = malloc(len), *back = malloc(len);

	w.hosts[0].settings.repl_buffer_bytes = w.hosts[1].settings.repl_buffer_bytes = 10000;
	make_pair(&a, &b);
	for (size_t i = 0; i < len; i++)
		value[i] = (uint8_t)prng_next(&w.prng);
	ck_assert(put_bytes(a, "live", value, len, 7, 0));
	value[0]++;
	ck_assert(put_bytes(a, "live", value, len, 8, 0)); /* the first one is pinned and replaced */
	ck_assert(put_bytes(a, "middle", value, 70000, 0, 0));
	ck_assert(put_bytes(a, "small", value, 12000, 0, 0));
	settle(&w, 0, 1);
	static const char *const keys[] = {"live", "middle", "small"};
	for (int k = 0; k < 3; k++) {
		struct item *i = find(b, keys[k]);
		ck_assert_ptr_nonnull(i);
		size_t got = item_value_len(i);
		for (size_t done = 0; done < got;) {
			struct iovec iov;
			items_value_iov(b->items, i, done, &iov, 1);
			memcpy(back + done, iov.iov_base, iov.iov_len);
			done += iov.iov_len;
		}
		ck_assert_mem_eq(back, value, got);
	}
	ck_assert_uint_eq(item_value_len(find(b, "live")), len);
	ck_assert_uint_eq(item_flags(find(b, "live")), 8);
	/* and broken off in the middle */
	ck_assert(put_bytes(a, "cut", value, len, 0, 0));
	w.bytes_per_ms = 5000;
	run(&w, 10);
	drop_all(&w, true);
	w.bytes_per_ms = 0;
	run(&w, 1500);
	settle(&w, 0, 1);
	ck_assert_uint_eq(item_value_len(find(b, "cut")), len);
	free(value);
	free(back);
}
END_TEST

/* A client writes the key while its value is arriving from the peer. */
START_TEST(decided_again_when_the_value_is_here)
{
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = handmade_peer(a, 77);
	struct script s = {.len = 0};

	add_item(&s, "k", "from the peer", a->hlc.last + 5000, 0);
	stranger_says(&w, x, s.bytes, s.len - 3);
	run(&w, 2);
	put(a, "k", "a client's");
	stranger_says(&w, x, s.bytes + s.len - 3, 3);
	run(&w, 2);
	ck_assert_str_eq(get(a, "k"), "a client's");
	ck_assert_uint_eq(number(a, "conflicts_won"), 1);
}
END_TEST

START_TEST(begin_voids_confirmations)
{
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = handmade_peer(a, 77);
	struct script s = {.len = 0};
	uint64_t v = a->hlc.last + 5000;
	struct wire_frame have = {.type = WIRE_HAVE, .key = (const uint8_t *)"k", .key_len = 1, .order = {v, 0, 0}};

	add_item(&s, "k", "1", v, 0);
	add_item(&s, "l", "1", v + 1, 0);
	add_control(&s, WIRE_BEGIN, v + 2, WIRE_BEGIN_SWEEPS);
	add_frame(&s, &have, "");
	have.key = (const uint8_t *)"l";
	have.order.version = v + 1;
	add_frame(&s, &have, "");
	add_control(&s, WIRE_SWEEP, v + 2, 0);
	tell(x, &s);
	ck_assert_str_eq(get(a, "k"), "1");
	ck_assert_str_eq(get(a, "l"), "1");
	s.len = 0;
	add_control(&s, WIRE_BEGIN, v + 3, WIRE_BEGIN_SWEEPS);
	add_frame(&s, &have, "");
	add_control(&s, WIRE_SWEEP, v + 3, 0);
	add_control(&s, WIRE_MARK, v + 3, WIRE_MARK_SYNCED);
	tell(x, &s);
	ck_assert_ptr_null(find(a, "k"));
	ck_assert_str_eq(get(a, "l"), "1");
	ck_assert_uint_eq(number(a, "swept"), 1);
	/* no walk that confirms: no SWEEP */
	s.len = 0;
	add_control(&s, WIRE_BEGIN, v + 4, 0);
	add_control(&s, WIRE_SWEEP, v + 4, 0);
	tell(x, &s);
	ck_assert(stranger_is_closed(x));
	ck_assert_str_eq(get(a, "l"), "1");
}
END_TEST

/* What a stranger was sent since the last BEGIN. */
struct heard_walk {
	uint8_t begin_bits;
	int items, tombs, tombs_of_k;
	uint64_t sweep; /* 0: none */
	bool synced;
};

static void count_frame(struct heard_walk *heard, const struct wire_frame *f)
{
	if (f->type == WIRE_BEGIN)
		*heard = (struct heard_walk){.begin_bits = f->bits};
	heard->items += f->type == WIRE_ITEM;
	heard->tombs += f->type == WIRE_TOMB;
	heard->tombs_of_k += f->type == WIRE_TOMB && f->key_len == 1 && f->key[0] == 'k';
	if (f->type == WIRE_SWEEP)
		heard->sweep = f->order.version;
	heard->synced |= f->type == WIRE_MARK && (f->bits & WIRE_MARK_SYNCED);
}

static struct heard_walk last_walk_heard(const struct wire *x)
{
	struct heard_walk heard = {0};
	size_t len;
	const uint8_t *data = stranger_heard(x, &len);
	const uint8_t *line_end = memchr(data, '\n', len);

	ck_assert_ptr_nonnull(line_end);
	for (size_t at = (size_t)(line_end - data) + 1; at < len;) {
		struct wire_frame f;
		size_t head;
		const char *error = "incomplete";
		ck_assert_msg(wire_frame_decode(data + at, len - at, 1 << 20, &f, &head, &error) == WIRE_OK, "%s",
		              error);
		at += head + f.value_len;
		count_frame(&heard, &f);
	}
	return heard;
}

/* A tombstone at or below the cut of a walk stands for what the peer was sent: it
 * travels where a SWEEP follows, which it spares that state, and nowhere else.
 * _i: tombstones above the cut are lost, hence the SWEEP. */
START_TEST(tombstones_at_or_below_the_cut)
{
	bool sweeps = _i;
	struct items_cursor cursor = {0};

	w.hosts[0].settings.repl_buffer_bytes = 4000;
	w.hosts[0].settings.repl_tombstones_bytes = sweeps ? 2000 : 1 << 20;
	struct host *a = host_start(&w, 0, -1);
	struct wire *x = handmade_peer(a, 77);
	put(a, "k", "sent, and not acknowledged");
	run(&w, 5);
	uint64_t v = version_of(a, "k");
	put_many(a, "fill", 100); /* nothing is read meanwhile: overload, the cut is in these */
	ck_assert_uint_eq(number(a, "overloads"), 1);
	for (int i = 0; i < 300; i++) {
		char key[16];
		snprintf(key, sizeof(key), "gone%d", i);
		del(a, key);
	}
	ck_assert_int_eq(number(a, "tombs_lost") > 0, sweeps);
	/* As the peer may ask for: k leaves a tombstone, the youngest one. */
	items_sweep(a->items, &cursor, v, 100000);
	ck_assert_ptr_null(find(a, "k"));
	run(&w, 50);
	struct heard_walk heard = last_walk_heard(x);
	ck_assert(heard.synced);
	ck_assert_uint_eq(number(a, "walks_overload") + number(a, "walks_lost"), 1);
	ck_assert_uint_eq(heard.begin_bits, sweeps ? WIRE_BEGIN_SWEEPS : 0);
	ck_assert_int_gt(heard.items, 0);
	ck_assert_int_lt(heard.items, 100); /* those above the cut */
	ck_assert_int_gt(heard.tombs, 10);
	ck_assert_int_eq(heard.sweep > v, sweeps);
	ck_assert_int_eq(heard.tombs_of_k, sweeps);
}
END_TEST

START_TEST(the_link_drops_before_the_first_copy_is_complete)
{
	w.hosts[0].settings.repl_buffer_bytes = 4000;
	struct host *a = host_start(&w, 0, -1);
	put_many(a, "k", 5000);
	struct host *b = host_start(&w, 1, 0);
	w.chunk_max = 300;
	w.bytes_per_ms = 1000;
	run(&w, 50);
	ck_assert_int_gt(count_many(b, "k", 5000), 100);
	ck_assert(!repl_wants(b->repl)->client_ports);
	w.refuse = true;
	drop_all(&w, true);
	w.bytes_per_ms = 0;
	run(&w, 2);
	ck_assert(repl_wants(b->repl)->client_ports);
	ck_assert_int_eq(repl_role(b->repl), REPL_MASTER);
	ck_assert(said(b, "first copy is not complete"));
	w.refuse = false;
	run(&w, 1000);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(b, "k", 5000), 5000);
}
END_TEST

/* ---- section 7 -------------------------------------------------------------------------------------- */

START_TEST(too_large_for_the_peer)
{
	struct host *a, *b;
	static uint8_t value[60000];

	w.hosts[1].settings.item_bytes_max = 20000;
	make_pair(&a, &b);
	put(a, "k", "small");
	settle(&w, 0, 1);
	both_have(a, b, "k", "small");
	for (int i = 0; i < 5; i++)
		ck_assert(put_bytes(a, "k", value, sizeof(value), 0, 0));
	settle(&w, 0, 1);
	ck_assert_ptr_nonnull(find(a, "k"));
	ck_assert_ptr_null(find(b, "k"));
	ck_assert_uint_eq(number(b, "not_stored"), 5);
	ck_assert(said(b, "cannot be stored"));
	put(b, "k", "again");
	settle(&w, 0, 1);
	both_have(a, b, "k", "again");
}
END_TEST

START_TEST(no_memory_removes_the_older_state)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put(a, "k", "1");
	settle(&w, 0, 1);
	put(a, "k", "2");
	items_fail_alloc_after(b->items, 1);
	settle(&w, 0, 1);
	items_fail_alloc_after(b->items, 0);
	if (find(b, "k")) {
		ck_assert_str_eq(get(b, "k"), "2"); /* memory was asked for elsewhere first */
	} else {
		ck_assert_uint_eq(number(b, "not_stored"), 1);
	}
}
END_TEST

/* A walk sends values that are not small from where they lie; whoever overwrites
 * them meanwhile, the peer has whole values, and the newest in the end. */
START_TEST(walk_by_reference)
{
	static const size_t lens[] = {100, 4095, 4096, 4097, 12000, 65536, 65537};
	static uint8_t value[65537];
	struct host *a, *b;
	char key[16];

	make_pair(&a, &b);
	drop_all(&w, true);
	w.refuse = true;
	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 70; i++) {
		snprintf(key, sizeof(key), "walk%d", i);
		ck_assert(put_bytes(a, key, value, lens[i % 7], 0, 0));
	}
	w.refuse = false;
	w.bytes_per_ms = 3001;
	memset(value, 'w', sizeof(value));
	for (int i = 0; i < 70; i += 2) {
		run(&w, 30);
		snprintf(key, sizeof(key), "walk%d", i);
		ck_assert(put_bytes(a, key, value, lens[i % 7], 0, 0));
	}
	w.bytes_per_ms = 0;
	settle(&w, 0, 1);
	for (int i = 0; i < 70; i++) {
		snprintf(key, sizeof(key), "walk%d", i);
		const struct item *there = find(b, key);
		ck_assert_ptr_nonnull(there);
		ck_assert_uint_eq(item_value_len(there), lens[i % 7]);
		for (size_t done = 0; done < lens[i % 7];) {
			struct iovec iov;
			items_value_iov(b->items, there, done, &iov, 1);
			for (size_t n = 0; n < iov.iov_len; n++)
				ck_assert_int_eq(((uint8_t *)iov.iov_base)[n], i % 2 ? 'v' : 'w');
			done += iov.iov_len;
		}
	}
}
END_TEST

/* No memory to pin a large value: the link starts again, nothing is left out. */
START_TEST(no_memory_to_pin)
{
	static uint8_t value[200000];
	struct host *a, *b;

	make_pair(&a, &b);
	put_bytes(a, "large", value, sizeof(value), 0, 0);
	settle(&w, 0, 1);
	w.refuse = true;
	drop_all(&w, true);
	for (int i = 0; i < 3; i++) {
		char key[16];
		snprintf(key, sizeof(key), "more%d", i);
		put_bytes(a, key, value, sizeof(value), 0, 0);
	}
	items_fail_alloc_after(a->items, 2);
	w.refuse = false;
	run(&w, 3000);
	items_fail_alloc_after(a->items, 0);
	settle(&w, 0, 1);
	ck_assert_int_eq(count_many(b, "more", 3), 3);
	ck_assert_uint_eq(item_value_len(find(b, "more2")), sizeof(value));
}
END_TEST

START_TEST(older_states_are_ignored)
{
	struct host *a = host_start(&w, 0, -1);
	put(a, "k", "own");
	uint64_t v = version_of(a, "k");
	struct wire *x = handmade_peer(a, 77);
	struct script s = {.len = 0};
	struct wire_frame tomb = {.type = WIRE_TOMB, .key = (const uint8_t *)"k", .key_len = 1, .order = {v - 1, 0, 1}};

	add_item(&s, "k", "older", v - 1, 0);
	add_frame(&s, &tomb, "");
	tell(x, &s);
	ck_assert_str_eq(get(a, "k"), "own");
	ck_assert_uint_eq(number(a, "ignored"), 2);
	/* the removal of an equal state is an eviction over there */
	s.len = 0;
	tomb.order = (struct state_order){v, 0, 0};
	add_frame(&s, &tomb, "");
	tell(x, &s);
	ck_assert_str_eq(get(a, "k"), "own");
	s.len = 0;
	tomb.order = (struct state_order){v + 1, 0, 1};
	add_frame(&s, &tomb, "");
	tell(x, &s);
	ck_assert_ptr_null(find(a, "k"));
	ck_assert_uint_eq(number(a, "tombstones"), 0);
}
END_TEST

/* ---- section 9 ---------------------------------------------------------------------------------------- */

START_TEST(what_a_user_can_look_at)
{
	struct host *a, *b;

	make_pair(&a, &b);
	put_many(a, "k", 10);
	settle(&w, 0, 1);
	ck_assert_str_eq(text(a, "replication"), "MASTER");
	ck_assert_str_eq(text(a, "role"), "MASTER");
	ck_assert_str_eq(text(b, "role"), "SLAVE");
	ck_assert_str_eq(text(a, "peer"), "the connector");
	ck_assert_str_eq(text(a, "node_id"), text(b, "peer_node_id"));
	ck_assert_uint_eq(number(b, "items_received"), 10);
	ck_assert_uint_eq(number(a, "repl_items_sent"), 10);
	ck_assert_uint_ge(number(a, "walks_first"), 1);
	text(a, "repcached_version");
	text(a, "repcached_qi_free");
}
END_TEST

/* All of it at once: writes on both sides, stalls, drops, tiny bounds, a slow
 * clock; at the end the two are the same. */
START_TEST(storm)
{
	world_free(&w);
	world_init(&w, 5000 + (uint64_t)_i);
	for (int i = 0; i < 2; i++) {
		w.hosts[i].settings.repl_buffer_bytes = 300 + prng_below(&w.prng, 3000);
		w.hosts[i].settings.repl_tombstones_bytes = 300 + prng_below(&w.prng, 2000);
		w.hosts[i].settings.repl_timeout_ms = 300;
	}
	host_step_clock(&w, 1, (int64_t)prng_below(&w.prng, 4000) - 2000);
	w.bytes_per_ms = prng_below(&w.prng, 2) ? 0 : 100 + prng_below(&w.prng, 1000);
	struct host *h[2] = {host_start(&w, 0, 1), host_start(&w, 1, 0)};
	run(&w, 500);
	for (int round = 0; round < 300; round++) {
		struct host *x = h[prng_below(&w.prng, 2)];
		char key[16];
		snprintf(key, sizeof(key), "k%d", (int)prng_below(&w.prng, 40));
		switch (prng_below(&w.prng, 12)) {
		case 0: case 1: case 2: case 3:
			put_many(x, "k", 1 + (int)prng_below(&w.prng, 40));
			break;
		case 4: case 5:
			del(x, key);
			break;
		case 6:
			touch(x, key, 1900000000 + (uint32_t)prng_below(&w.prng, 5));
			break;
		case 7:
			if (prng_below(&w.prng, 10) == 0)
				items_flush_command(x->items, prng_below(&w.prng, 2) ? x->now.wall_ms + 50 : 0);
			break;
		case 8:
			if (wire_between(&w, 0, 1))
				wire_between(&w, 0, 1)->pipe[prng_below(&w.prng, 2)].stalled = prng_below(&w.prng, 3);
			break;
		case 9:
			if (prng_below(&w.prng, 6) == 0)
				drop_all(&w, prng_below(&w.prng, 2));
			break;
		default:
			run(&w, (int64_t)prng_below(&w.prng, 30));
		}
	}
	for (int n = 0; n < WIRES; n++)
		w.wires[n].pipe[0].stalled = w.wires[n].pipe[1].stalled = false;
	w.bytes_per_ms = 0;
	run(&w, 3000);
	settle(&w, 0, 1);
	for (int i = 0; i < 40; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%d", i);
		struct item *p = find(h[0], key), *q = find(h[1], key);
		ck_assert_msg((p == NULL) == (q == NULL), "%s is on one side only", key);
		if (p)
			both_have(h[0], h[1], key, get(h[0], key));
	}
	ck_assert_uint_eq(items_flush_state(h[0]->items)->barrier, items_flush_state(h[1]->items)->barrier);
	ck_assert_uint_eq(repl_lost_below(h[0]->repl) + repl_lost_below(h[1]->repl), 0);
}
END_TEST

static void add_section_1_to_4(Suite *suite)
{
	TCase *t = tcase_create("sections 1 to 4");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, u1_master_serves_at_once);
	tcase_add_test(t, u2_slave_serves_after_the_first_copy);
	tcase_add_test(t, u3_master_when_nobody_is_there);
	tcase_add_test(t, u3_connecting_takes_forever);
	tcase_add_test(t, u4_writes_travel_both_ways);
	tcase_add_test(t, u5_u7_the_master_dies_and_comes_back_empty);
	tcase_add_test(t, u6_u7_the_slave_dies_and_comes_back_empty);
	tcase_add_test(t, u5_silence);
	tcase_add_loop_test(t, u8_mutual, 0, 60);
	tcase_add_loop_test(t, u9_partition, 0, 10);
	tcase_add_test(t, u10_the_peer_does_not_read);
	tcase_add_test(t, u11_drain);
	tcase_add_test(t, u11_drain_ends);
	tcase_add_test(t, u12_a_third_daemon);
	tcase_add_test(t, versions_follow_the_faster_clock);
	tcase_add_loop_test(t, a_clock_too_far_ahead_is_refused, 0, 2);
	tcase_add_test(t, a_clock_that_steps_while_linked);
	tcase_add_test(t, equal_origins);
	tcase_add_test(t, touches_travel);
	tcase_add_test(t, touch_number_overflows);
	tcase_add_test(t, a_touch_before_the_drop);
	tcase_add_test(t, equal_order_larger_bytes_win);
	tcase_add_test(t, a_flush_is_due_when_a_state_arrives);
	tcase_add_test(t, flush_now);
	tcase_add_test(t, flush_later);
	tcase_add_test(t, deleting_what_is_not_held);
	tcase_add_test(t, a_failed_write_is_a_removal);
	tcase_add_test(t, lost_tombstones_sweep);
	tcase_add_test(t, a_node_without_a_past_harms_nobody);
	tcase_add_test(t, three_daemons_taking_turns);
	tcase_add_test(t, a_former_peer_comes_back);
	tcase_add_test(t, a_former_peer_has_seen_the_clock);
	tcase_add_test(t, evicted_before_it_was_settled);
	suite_add_tcase(suite, t);
}

static void add_section_5_to_9(Suite *suite)
{
	TCase *t = tcase_create("sections 5 to 9");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, junk_on_the_port);
	tcase_add_test(t, random_bytes_on_the_port);
	tcase_add_test(t, malformed_frames_on_the_link);
	tcase_add_test(t, the_first_frame_is_begin);
	tcase_add_test(t, connected_to_itself);
	tcase_add_test(t, a_secret_is_not_known_here);
	tcase_add_loop_test(t, same_node_replaces_the_link, 0, 2);
	tcase_add_test(t, an_idle_pair_exchanges_heartbeats_only);
	tcase_add_test(t, listening_fails_and_is_tried_again);
	tcase_add_test(t, a_reconnect_sends_what_was_missed);
	tcase_add_loop_test(t, walks_that_break_off, 0, 20);
	tcase_add_test(t, large_values);
	tcase_add_test(t, walk_by_reference);
	tcase_add_test(t, decided_again_when_the_value_is_here);
	tcase_add_test(t, begin_voids_confirmations);
	tcase_add_loop_test(t, tombstones_at_or_below_the_cut, 0, 2);
	tcase_add_test(t, the_link_drops_before_the_first_copy_is_complete);
	tcase_add_test(t, too_large_for_the_peer);
	tcase_add_test(t, no_memory_removes_the_older_state);
	tcase_add_test(t, no_memory_to_pin);
	tcase_add_test(t, older_states_are_ignored);
	tcase_add_test(t, what_a_user_can_look_at);
	tcase_add_loop_test(t, storm, 0, 60);
	suite_add_tcase(suite, t);
}

int main(void)
{
	Suite *suite = suite_create("replication");

	add_section_1_to_4(suite);
	add_section_5_to_9(suite);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
