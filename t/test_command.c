/*
 * test_command.c - what commands count, what the settings forbid, and the lists
 * of statistics.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"

#define END "END\r\n"

static struct fixture f;
static struct client c;

static void setup(void)
{
	fixture_init(&f);
	fixture_open(&f);
	client_open(&c, &f, &(struct pace){0});
}

static void teardown(void)
{
	client_close(&c);
	fixture_close(&f);
}

/* The answer to a command, as a string. */
static const char *ask(const char *input)
{
	c.out.len = 0;
	client_send(&c, input, strlen(input));
	return c.out.data;
}

/* The value of a statistic in the last answer, or NULL; valid until the next. */
static const char *value_of(const char *name)
{
	static char value[256];
	char line[300];

	snprintf(line, sizeof(line), "STAT %s ", name);
	const char *at = strstr(c.out.data, line);
	if (!at)
		return NULL;
	at += strlen(line);
	size_t len = (size_t)(strchr(at, '\r') - at);
	ck_assert_uint_lt(len, sizeof(value));
	memcpy(value, at, len);
	value[len] = '\0';
	return value;
}

/* ---- the table -------------------------------------------------------------- */

START_TEST(rows_make_sense)
{
	for (int id = 0; id < CMD_COUNT; id++) {
		const struct command_row *row = command_row((enum command_id)id);
		ck_assert_ptr_nonnull(row->handler);
		ck_assert_uint_gt(strlen(row->help), 0);
		ck_assert(!(row->flags & CMD_BODY) || (row->flags & CMD_WRITE));
		ck_assert(!(row->flags & CMD_ADMIN) || !(row->flags & (CMD_READ | CMD_WRITE)));
		ck_assert(row->flags & (CMD_ADMIN | CMD_READ | CMD_WRITE));
	}
}
END_TEST

/* ---- counters --------------------------------------------------------------- */

START_TEST(counters)
{
	static const struct {
		const char *input;
		const char *counted; /* name+n, separated by spaces */
	} cases[] = {
	        {"get x y\r\n", "cmd_get+2 get_misses+2"},
	        {"set a 0 0 1\r\n5\r\n", "cmd_set+1"},
	        {"get a x a\r\n", "cmd_get+3 get_hits+2 get_misses+1"},
	        {"gat 0 a x\r\n", "cmd_touch+2 touch_hits+1 touch_misses+1"},
	        {"touch a 0\r\ntouch x 0\r\n", "cmd_touch+2 touch_hits+1 touch_misses+1"},
	        {"add a 0 0 1\r\n5\r\n", "cmd_set+1"},
	        {"set a 0 0 1\r\nxyz", "cmd_set+1"},
	        {"set a x 0 1\r\n5\r\n", ""},
	        {"cas x 0 0 1 1\r\n5\r\n", "cmd_set+1 cas_misses+1"},
	        {"cas a 0 0 1 999\r\n5\r\n", "cmd_set+1 cas_badval+1"},
	        {"cas a 0 0 1 1\r\n5\r\n", "cmd_set+1 cas_hits+1"},
	        {"incr a 1\r\nincr x 1\r\n", "incr_misses+1 incr_hits+1"},
	        {"decr a 1\r\ndecr x 1\r\n", "decr_misses+1 decr_hits+1"},
	        {"incr a x\r\n", ""},
	        {"delete x\r\ndelete a\r\n", "delete_misses+1 delete_hits+1"},
	        {"flush_all\r\n", "cmd_flush+1"},
	        {"version\r\nmn\r\nstats\r\nverbosity 0\r\n", ""},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct stats before = f.stats;
		char counted[512] = "";
		size_t n = 0;
		ask(cases[i].input);
		before.bytes_read = f.stats.bytes_read;
		before.bytes_written = f.stats.bytes_written;
#define X(name)                                                                             \
	if (f.stats.name != before.name)                                                    \
		n += (size_t)snprintf(counted + n, sizeof(counted) - n, "%s" #name "+%" PRIu64, n ? " " : "", \
		                      f.stats.name - before.name);
		STATS_COUNTERS(X)
#undef X
		ck_assert_str_eq(counted, cases[i].counted);
	}
}
END_TEST

START_TEST(dead_items_are_counted_as_such)
{
	ask("set a 0 5 1\r\nx\r\nset b 0 0 1\r\nx\r\n");
	f.now.wall_ms += 6000;
	f.now.mono_ms += 6000;
	ck_assert_str_eq(ask("get a\r\n"), END);
	ck_assert_uint_eq(f.stats.get_expired, 1);
	ck_assert_uint_eq(f.stats.get_flushed, 0);
	ck_assert_str_eq(ask("flush_all\r\nget b\r\n"), "OK\r\n" END);
	ck_assert_uint_eq(f.stats.get_flushed, 1);
	ck_assert_uint_eq(f.stats.get_misses, 2);
}
END_TEST

START_TEST(counters_of_classes)
{
	ask("set a 0 0 1\r\n1\r\nget a\r\ngat 0 a\r\nincr a 1\r\ndecr a 1\r\ncas a 0 0 1 9999\r\nx\r\ndelete a\r\n");
	struct stats_class sum = {0};
	for (int i = 0; i < SIZE_CLASSES_MAX; i++) {
		sum.get_hits += f.class_stats[i].get_hits;
		sum.cmd_set += f.class_stats[i].cmd_set;
		sum.touch_hits += f.class_stats[i].touch_hits;
		sum.incr_hits += f.class_stats[i].incr_hits;
		sum.decr_hits += f.class_stats[i].decr_hits;
		sum.cas_badval += f.class_stats[i].cas_badval;
		sum.delete_hits += f.class_stats[i].delete_hits;
	}
	ck_assert_uint_eq(sum.get_hits, 1);
	ck_assert_uint_eq(sum.cmd_set, 2);
	ck_assert_uint_eq(sum.touch_hits, 1);
	ck_assert_uint_eq(sum.incr_hits, 1);
	ck_assert_uint_eq(sum.decr_hits, 1);
	ck_assert_uint_eq(sum.cas_badval, 1);
	ck_assert_uint_eq(sum.delete_hits, 1);
}
END_TEST

START_TEST(no_memory_for_an_item)
{
	ask("set a 0 0 1\r\nx\r\n");
	items_fail_alloc_after(f.items, 1);
	ck_assert_str_eq(ask("set a 0 0 1\r\ny\r\nget a\r\n"), "SERVER_ERROR out of memory storing object\r\n" END);
	ck_assert_uint_eq(f.stats.store_no_memory, 1);
	ask("set a 0 0 1\r\n9\r\n");
	items_fail_alloc_after(f.items, 1);
	ck_assert_str_eq(ask("incr a 1\r\nget a\r\n"), "SERVER_ERROR out of memory\r\nVALUE a 0 1\r\n9\r\n" END);
	items_fail_alloc_after(f.items, 2); /* the body comes in, the joining fails */
	ck_assert_str_eq(ask("append a 0 0 1\r\nx\r\nget a\r\n"), "NOT_STORED\r\nVALUE a 0 1\r\n9\r\n" END);
	items_fail_alloc_after(f.items, 1);
	ck_assert_str_eq(ask("add b 0 0 1 noreply\r\nx\r\nmn\r\n"), "MN\r\n");
	items_fail_alloc_after(f.items, 0);
}
END_TEST

/* ---- settings --------------------------------------------------------------- */

START_TEST(flush_all_can_be_forbidden)
{
	f.settings.flush_enabled = false;
	ask("set a 0 0 1\r\nx\r\n");
	ck_assert_str_eq(ask("flush_all\r\nflush_all noreply\r\nget a\r\n"),
	                 "CLIENT_ERROR flush_all not allowed\r\nVALUE a 0 1\r\nx\r\n" END);
	ck_assert_uint_eq(f.stats.cmd_flush, 2);
}
END_TEST

START_TEST(without_cas)
{
	f.settings.cas = false;
	ck_assert_str_eq(ask("set a 0 0 1\r\nx\r\ngets a\r\ncas a 0 0 1 1\r\ny\r\n"),
	                 "STORED\r\nVALUE a 0 1 0\r\nx\r\n" END "EXISTS\r\n");
}
END_TEST

START_TEST(shutdown_modes)
{
	static const struct {
		const char *input;
		enum stop_mode mode;
		const char *reply;
	} cases[] = {
	        {"shutdown\r\n", STOP_NOW, ""},
	        {"shutdown noreply\r\n", STOP_NOW, ""},
	        {"shutdown graceful\r\n", STOP_GRACEFUL, ""},
	        {"shutdown g\r\n", STOP_GRACEFUL, ""},
	        {"shutdown graceful noreply\r\n", STOP_GRACEFUL, ""},
	        {"shutdown gracefully\r\n", STOP_NONE, "CLIENT_ERROR invalid shutdown mode\r\n"},
	        {"shutdown now\r\n", STOP_NONE, "CLIENT_ERROR invalid shutdown mode\r\n"},
	        {"shutdown now noreply\r\n", STOP_NONE, ""},
	};

	f.settings.shutdown_command = true;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct client other;
		f.engine.stop_requested = STOP_NONE;
		client_open(&other, &f, &(struct pace){0});
		client_expect(&other, cases[i].input, cases[i].reply);
		ck_assert_int_eq(f.engine.stop_requested, cases[i].mode);
		ck_assert_int_eq(other.closed, cases[i].mode != STOP_NONE);
		client_close(&other);
	}
}
END_TEST

START_TEST(verbosity_is_clamped)
{
	ask("verbosity 1\r\n");
	ck_assert_int_eq(f.log.verbosity, 1);
	ask("verbosity 4294967295\r\n");
	ck_assert_int_eq(f.log.verbosity, 2);
	ask("verbosity 0 noreply\r\n");
	ck_assert_int_eq(f.log.verbosity, 0);
}
END_TEST

/* ---- lists ------------------------------------------------------------------ */

START_TEST(the_general_list)
{
	/* memcached's names, in its order, as far as they mean something here */
	static const char *const order[] = {
	        "pid", "uptime", "time", "version", "libevent", "pointer_size", "rusage_user", "rusage_system",
	        "max_connections", "curr_connections", "total_connections", "connection_structures",
	        "response_obj_oom", "cmd_get", "cmd_set", "cmd_flush",
	        "cmd_touch", "cmd_meta", "get_hits", "get_misses", "get_expired", "get_flushed", "delete_misses",
	        "delete_hits", "incr_misses", "incr_hits", "decr_misses", "decr_hits", "cas_misses", "cas_hits",
	        "cas_badval", "touch_hits", "touch_misses", "store_too_large", "store_no_memory", "auth_cmds",
	        "auth_errors", "bytes_read", "bytes_written", "limit_maxbytes", "accepting_conns",
	        "listen_disabled_num", "time_in_listen_disabled_us", "threads", "conn_yields", "hash_power_level",
	        "hash_bytes", "hash_is_expanding", "slab_reassign_rescues", "slab_reassign_running",
	        "slabs_moved", "lru_crawler_running", "lru_crawler_starts",
	        "log_watcher_skipped", "log_watcher_sent", "log_watchers", "bytes", "curr_items",
	        "total_items", "slab_global_page_pool", "expired_unfetched", "evicted_unfetched", "evicted_active",
	        "evictions", "reclaimed", "crawler_reclaimed", "crawler_items_checked",
	        "input_dropped", "uploads_dropped", "replication",
	};
	char expected[64];

	const char *at = ask("stats\r\n");
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		snprintf(expected, sizeof(expected), "STAT %s ", order[i]);
		ck_assert_msg(strncmp(at, expected, strlen(expected)) == 0, "expected %s at %.40s", order[i], at);
		at = strchr(at, '\n') + 1;
	}
	ck_assert_str_eq(at, END);
	ck_assert_uint_lt(c.out.len, 3000); /* [G1]: with all numbers grown, below 4096 */
	f.settings.maxconns_fast = true;
	f.settings.idle_timeout_s = 10;
	ask("stats\r\n");
	ck_assert_ptr_nonnull(value_of("rejected_connections"));
	ck_assert_ptr_nonnull(value_of("idle_kicks"));
}
END_TEST

START_TEST(the_general_list_stays_short)
{
	memset(&f.stats, 0xff, sizeof(f.stats));
	f.stats.accepting_conns = true;
	f.settings.maxconns_fast = true;
	ask("stats\r\n");
	ck_assert_uint_lt(c.out.len, 4096);
}
END_TEST

START_TEST(general_values)
{
	ask("set a 0 0 10\r\n0123456789\r\nget a\r\n");
	fixture_advance(&f, 7000);
	ask("stats\r\n");
	ck_assert_str_eq(value_of("pid"), "4711");
	ck_assert_str_eq(value_of("uptime"), "7");
	ck_assert_str_eq(value_of("time"), "1750000007");
	ck_assert_str_eq(value_of("version"), PACKAGE_VERSION);
	ck_assert_str_eq(value_of("rusage_user"), "1.000002");
	ck_assert_str_eq(value_of("limit_maxbytes"), "8388608");
	ck_assert_str_eq(value_of("threads"), "1");
	ck_assert_str_eq(value_of("curr_items"), "1");
	ck_assert_str_eq(value_of("total_items"), "1");
	ck_assert_str_eq(value_of("bytes"), "39"); /* header 28, key 1, value 10 */
	ck_assert_str_eq(value_of("get_hits"), "1");
	ck_assert_str_eq(value_of("replication"), "OFF");
}
END_TEST

START_TEST(uptime_is_never_zero)
{
	ask("stats\r\n");
	ck_assert_str_eq(value_of("uptime"), "1");
}
END_TEST

static void flat(void *repl, const struct stats_sink *sink)
{
	stats_str(sink, "replication", repl);
}

static void full(void *repl, const struct stats_sink *sink)
{
	stats_str(sink, "role", repl);
	stats_i64(sink, "lag", -1);
}

START_TEST(replication_adds_its_pairs)
{
	static char role[] = "MASTER";

	f.engine.repl_stats_flat = flat;
	f.engine.repl_stats = full;
	f.engine.repl = role;
	ask("stats\r\n");
	ck_assert_str_eq(value_of("replication"), "MASTER");
	ck_assert_str_eq(ask("stats replication\r\n"), "STAT role MASTER\r\nSTAT lag -1\r\n" END);
}
END_TEST

START_TEST(settings_list)
{
	snprintf(f.settings.socket_path, sizeof(f.settings.socket_path), "/run/a b");
	ask("stats settings\r\n");
	ck_assert_str_eq(value_of("maxbytes"), "8388608");
	ck_assert_str_eq(value_of("maxconns"), "1024");
	ck_assert_str_eq(value_of("inter"), "NULL");
	ck_assert_str_eq(value_of("domain_socket"), "/run/a b");
	ck_assert_str_eq(value_of("umask"), "700");
	ck_assert_str_eq(value_of("evictions"), "on");
	ck_assert_str_eq(value_of("cas_enabled"), "yes");
	ck_assert_str_eq(value_of("binding_protocol"), "auto-negotiate");
	ck_assert_str_eq(value_of("item_size_max"), "1048576");
	ck_assert_str_eq(value_of("client_flags_size"), "4");
	ck_assert_str_eq(value_of("flush_enabled"), "yes");
	ck_assert_str_eq(value_of("shutdown_command"), "no");
	ck_assert_str_eq(value_of("reqs_per_event"), "20");
	ck_assert_ptr_null(value_of("repl_port"));
	f.settings.replicated = true;
	f.settings.repl_port = 11212;
	ask("stats settings\r\n");
	ck_assert_str_eq(value_of("repl_port"), "11212");
}
END_TEST

START_TEST(lists_of_classes)
{
	char name[64];

	ck_assert_str_eq(ask("stats items\r\n"), END);
	ask("set a 0 0 1\r\nx\r\nget a\r\n");
	fixture_advance(&f, 3000);
	ask("stats items\r\n");
	ck_assert_str_eq(value_of("items:1:number"), "1");
	ck_assert_str_eq(value_of("items:1:age"), "3");
	ck_assert_str_eq(value_of("items:1:mem_requested"), "30");
	ck_assert_str_eq(value_of("items:1:evicted"), "0");
	ask("stats slabs\r\n");
	ck_assert_str_eq(value_of("1:used_chunks"), "1");
	ck_assert_str_eq(value_of("1:total_pages"), "1");
	ck_assert_str_eq(value_of("1:get_hits"), "1");
	ck_assert_str_eq(value_of("1:cmd_set"), "1");
	ck_assert_str_eq(value_of("1:cas_badval"), "0");
	ck_assert_str_eq(value_of("active_slabs"), "1");
	ck_assert_ptr_nonnull(value_of("total_malloced"));
	for (int id = 2; id < 10; id++) {
		snprintf(name, sizeof(name), "%d:chunk_size", id);
		ck_assert_ptr_null(value_of(name));
	}
}
END_TEST

START_TEST(reset)
{
	ask("set a 0 0 1\r\nx\r\nget a b\r\n");
	f.stats.curr_connections = 3;
	ck_assert_str_eq(ask("stats reset\r\n"), "RESET\r\n");
	ask("stats\r\n");
	ck_assert_str_eq(value_of("cmd_get"), "0");
	ck_assert_str_eq(value_of("cmd_set"), "0");
	ck_assert_str_eq(value_of("total_items"), "0");
	ck_assert_str_eq(value_of("curr_items"), "1");
	ck_assert_str_eq(value_of("curr_connections"), "3");
	ask("stats slabs\r\n");
	ck_assert_str_eq(value_of("1:get_hits"), "0");
}
END_TEST

static void many_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	(void)ctx;
	for (int i = 0; i < 20000; i++) {
		struct conn_info info = {i, "tcp:127.0.0.1:12345", "tcp:127.0.0.1:11211", "conn_new_cmd", i, false};
		fn(fn_ctx, &info);
	}
}

/* A list may be longer than what sessions stop at; the memory is given back. */
START_TEST(a_very_long_list)
{
	f.env.each_conn = many_conns;
	ask("stats conns\r\n");
	ck_assert_uint_gt(c.out.len, 20000 * 100);
	ck_assert_str_eq(value_of("19999:secs_since_last_cmd"), "19999");
	ck_assert_str_eq(c.out.data + c.out.len - strlen(END), END);
	ck_assert_uint_lt(session_memory_bytes(c.session), 1024);
	ck_assert_str_eq(ask("mn\r\n"), "MN\r\n");
}
END_TEST

static void too_many_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	for (int i = 0; i < 10; i++)
		many_conns(ctx, fn, fn_ctx);
}

START_TEST(a_list_beyond_all_bounds)
{
	f.env.each_conn = too_many_conns;
	ck_assert_str_eq(ask("mn\r\nstats conns\r\nmn\r\n"), "MN\r\nSERVER_ERROR out of memory\r\nMN\r\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command");
	TCase *tc = tcase_create("command");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, rows_make_sense);
	tcase_add_test(tc, counters);
	tcase_add_test(tc, dead_items_are_counted_as_such);
	tcase_add_test(tc, counters_of_classes);
	tcase_add_test(tc, no_memory_for_an_item);
	tcase_add_test(tc, flush_all_can_be_forbidden);
	tcase_add_test(tc, without_cas);
	tcase_add_test(tc, shutdown_modes);
	tcase_add_test(tc, verbosity_is_clamped);
	tcase_add_test(tc, the_general_list);
	tcase_add_test(tc, the_general_list_stays_short);
	tcase_add_test(tc, general_values);
	tcase_add_test(tc, uptime_is_never_zero);
	tcase_add_test(tc, replication_adds_its_pairs);
	tcase_add_test(tc, settings_list);
	tcase_add_test(tc, lists_of_classes);
	tcase_add_test(tc, reset);
	tcase_add_test(tc, a_very_long_list);
	tcase_add_test(tc, a_list_beyond_all_bounds);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
