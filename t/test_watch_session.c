/*
 * test_watch_session.c - the watch command, and what commands tell watchers.
 */
#include "compat.h"
#include "fixture.h"

static struct fixture f;
static struct session *watcher;

static void setup(void)
{
	fixture_init(&f);
	fixture_open(&f);
	watcher = session_new(&f.engine, f.shared);
	session_set_id(watcher, 5);
}

static void teardown(void)
{
	session_free(watcher);
	ck_assert_uint_eq(f.engine.traced, 0);
	fixture_close(&f);
}

/* Give input, take all output; static text. */
static const char *say(struct session *s, const char *input)
{
	static char text[64 << 10];
	struct iovec iov[4];
	size_t len = 0;
	int count;

	if (*input)
		session_input(s, (const uint8_t *)input, strlen(input));
	while ((count = session_output(s, iov, ARRAY_LEN(iov))) > 0) {
		for (int i = 0; i < count; i++) {
			MUST(len + iov[i].iov_len < sizeof(text));
			memcpy(text + len, iov[i].iov_base, iov[i].iov_len);
			len += iov[i].iov_len;
			session_sent(s, iov[i].iov_len);
		}
	}
	MUST(session_settle(s));
	text[len] = '\0';
	return text;
}

/* What another client does; and what the watcher then reads, without the time, the
 * number and the class. */
static const char *told(const char *input)
{
	static char lines[64 << 10];
	struct client c;
	struct pace pace = {0};
	char *to = lines;

	client_open(&c, &f, &pace);
	session_set_id(c.session, 9);
	client_send(&c, input, strlen(input));
	client_close(&c);
	for (const char *p = say(watcher, ""); *p;) {
		if (strncmp(p, "ts=", 3) == 0)
			p = strstr(p, "type=");
		if (strncmp(p, " clsid=", 7) == 0)
			p += 7 + strspn(p + 7, "0123456789");
		*to++ = *p++;
	}
	*to = '\0';
	return lines;
}

static void watch(const char *line)
{
	ck_assert_str_eq(say(watcher, line), "OK\r\n");
	ck_assert_int_eq(session_state(watcher), SESSION_WATCH);
	ck_assert_str_eq(session_state_name(watcher), "conn_watch");
}

START_TEST(reads)
{
	watch("watch\r\n");
	ck_assert_str_eq(told("get a\r\n"), "type=item_get key=a status=not_found cfd=9 size=0\n");
	ck_assert_str_eq(told("set a 0 0 3\r\nabc\r\n"), "type=item_get key=a status=not_found cfd=9 size=0\n");
	ck_assert_str_eq(told("gets a b\r\n"), "type=item_get key=a status=found cfd=9 size=3\n"
					       "type=item_get key=b status=not_found cfd=9 size=0\n");
	ck_assert_str_eq(told("gat 10 a\r\n"), "type=item_get key=a status=found cfd=9 size=3\n");
	f.now.wall_ms += 10000;
	ck_assert_str_eq(told("get a\r\n"), "type=item_get key=a status=expired cfd=9 size=0\n");
	ck_assert_str_eq(told("set b 0 0 1 noreply\r\nx\r\nflush_all\r\nget b\r\n"),
			 "type=item_get key=b status=not_found cfd=9 size=0\n"
			 "type=item_get key=b status=flushed cfd=9 size=0\n");
}
END_TEST

START_TEST(writes)
{
	watch("watch mutations\r\n");
	ck_assert_str_eq(told("set a 0 100 3\r\nabc\r\n"),
			 "type=item_store key=a status=stored cmd=set ttl=100 cfd=9 size=3\n");
	ck_assert_str_eq(told("add a 0 0 1\r\nx\r\n"),
			 "type=item_store key=a status=not_stored cmd=add ttl=0 cfd=9 size=1\n");
	ck_assert_str_eq(told("append a 0 0 1\r\nx\r\n"),
			 "type=item_store key=a status=stored cmd=append ttl=0 cfd=9 size=1\n");
	ck_assert_str_eq(told("cas a 0 0 1 77777\r\nx\r\n"),
			 "type=item_store key=a status=exists cmd=cas ttl=0 cfd=9 size=1\n");
	ck_assert_str_eq(told("cas b 0 -1 1 1\r\nx\r\n"),
			 "type=item_store key=b status=not_found cmd=cas ttl=-1 cfd=9 size=1\n");
	ck_assert_str_eq(told("set b 0 0 2000000\r\n"),
			 "type=item_store key=b status=too_large cmd=set ttl=0 cfd=9 size=2000000\n");
	ck_assert_str_eq(told("get a\r\ndelete a\r\nincr a 1\r\n"), "");
}
END_TEST

START_TEST(no_room_to_write)
{
	f.settings.memory_bytes_max = 2 << 20;
	f.settings.evict = false;
	session_free(watcher);
	fixture_close(&f);
	fixture_open(&f);
	watcher = session_new(&f.engine, f.shared);
	watch("watch mutations\r\n");
	for (int i = 0; i < 64; i++) {
		char line[64];
		snprintf(line, sizeof(line), "set k%d 0 0 100000\r\n", i);
		if (strstr(told(line), "status=no_memory cmd=set"))
			return;
		struct key key = fixture_key(&f, line);
		struct store_write write = {.verb = STORE_SET, .key = key, .value_len = 100000};
		if (store_begin(&f.store, &write) == STORE_OK)
			store_commit(&f.store, &write);
	}
	ck_abort_msg("memory never ends");
}
END_TEST

START_TEST(deletions)
{
	watch("watch deletions\r\n");
	ck_assert_str_eq(told("set a%20b 0 0 3\r\nabc\r\ndelete a%20b\r\ndelete a%20b\r\n"),
			 "type=deleted key=a%2520b cmd=delete size=3\n");
}
END_TEST

/* As the classic commands; an item that md keeps is not deleted. */
START_TEST(meta_commands)
{
	watch("watch fetchers mutations deletions\r\n");
	ck_assert_str_eq(told("mg a v\r\n"), "type=item_get key=a status=not_found cfd=9 size=0\n");
	ck_assert_str_eq(told("ms a 3 T100\r\nabc\r\n"),
			 "type=item_get key=a status=not_found cfd=9 size=0\n"
			 "type=item_store key=a status=stored cmd=set ttl=100 cfd=9 size=3\n");
	ck_assert_str_eq(told("mg a v\r\n"), "type=item_get key=a status=found cfd=9 size=3\n");
	ck_assert_str_eq(told("ms a 1 ME\r\nx\r\n"),
			 "type=item_get key=a status=found cfd=9 size=3\n"
			 "type=item_store key=a status=not_stored cmd=add ttl=0 cfd=9 size=1\n");
	ck_assert_str_eq(told("ms a 2000000\r\n"),
			 "type=item_store key=a status=too_large cmd=set ttl=0 cfd=9 size=2000000\n");
	ck_assert_str_eq(told("ms a 1\r\nx\r\nmd a I\r\nmd a\r\nmd a\r\n"),
			 "type=item_get key=a status=not_found cfd=9 size=0\n"
			 "type=item_store key=a status=stored cmd=set ttl=0 cfd=9 size=1\n"
			 "type=deleted key=a cmd=md size=1\n");
}
END_TEST

START_TEST(several_kinds)
{
	watch("watch fetchers mutations deletions\r\n");
	ck_assert_str_eq(told("set a 0 0 1\r\nx\r\ndelete a\r\n"),
			 "type=item_get key=a status=not_found cfd=9 size=0\n"
			 "type=item_store key=a status=stored cmd=set ttl=0 cfd=9 size=1\n"
			 "type=deleted key=a cmd=delete size=1\n");
}
END_TEST

START_TEST(its_input_is_thrown_away)
{
	watch("watch fetchers\r\nget a\r\nquit\r\n");
	ck_assert_str_eq(say(watcher, "get a\r\nset a 0 0 1\r\nx\r\n\r\nquit\r\n"), "");
	ck_assert_int_eq(session_state(watcher), SESSION_WATCH);
	ck_assert_str_eq(told("get a\r\n"), "type=item_get key=a status=not_found cfd=9 size=0\n");
}
END_TEST

START_TEST(what_is_refused)
{
	ck_assert_str_eq(say(watcher, "watch bogus\r\n"), "ERROR\r\n");
	ck_assert_str_eq(say(watcher, "watch fetchers bogus\r\n"), "ERROR\r\n");
	ck_assert_str_eq(say(watcher, "watch fetcher\r\n"), "ERROR\r\n");
	ck_assert_str_eq(say(watcher, "mn\r\nwatch\r\n"),
			 "MN\r\nERROR cannot pipeline other commands before watch\r\n");
	f.settings.watch_enabled = false;
	ck_assert_str_eq(say(watcher, "watch\r\n"), "CLIENT_ERROR watch commands not allowed\r\n");
	f.settings.watch_enabled = true;
	ck_assert_int_eq(session_state(watcher), SESSION_READ);
	watch("watch\r\n");
}
END_TEST

START_TEST(there_is_a_limit)
{
	struct session *more[WATCHERS_MAX];

	for (int i = 0; i < WATCHERS_MAX; i++) {
		more[i] = session_new(&f.engine, f.shared);
		ck_assert_str_eq(say(more[i], "watch evictions\r\n"), "OK\r\n");
	}
	ck_assert_str_eq(say(watcher, "watch\r\n"), "WATCHER_TOO_MANY log watcher limit reached\r\n");
	ck_assert_uint_eq(f.engine.traced, WATCH_EVICTIONS);
	session_free(more[0]);
	watch("watch\r\n");
	for (int i = 1; i < WATCHERS_MAX; i++)
		session_free(more[i]);
	ck_assert_uint_eq(f.engine.traced, WATCH_FETCHERS);
}
END_TEST

START_TEST(who_does_not_read_costs_no_more_than_his_queue)
{
	static const char line[] = "get some_key_that_is_not_there\r\n";
	struct client c;
	struct pace pace = {0};
	size_t before = session_memory_bytes(watcher);

	watch("watch\r\n");
	client_open(&c, &f, &pace);
	for (int i = 0; i < 20000; i++)
		client_send(&c, line, sizeof(line) - 1);
	ck_assert_uint_eq(c.out.len, 20000 * sizeof("END\r"));
	client_close(&c);
	ck_assert_uint_le(session_memory_bytes(watcher), before + f.settings.watch_queue_bytes + 1024);
	ck_assert(!session_is_idle(watcher));
	const char *text = say(watcher, "");
	ck_assert_ptr_nonnull(strstr(text, "\nskipped="));
	ck_assert(session_is_idle(watcher));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch_session");
	TCase *tc = tcase_create("watch_session");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, reads);
	tcase_add_test(tc, writes);
	tcase_add_test(tc, no_room_to_write);
	tcase_add_test(tc, deletions);
	tcase_add_test(tc, several_kinds);
	tcase_add_test(tc, meta_commands);
	tcase_add_test(tc, its_input_is_thrown_away);
	tcase_add_test(tc, what_is_refused);
	tcase_add_test(tc, there_is_a_limit);
	tcase_add_test(tc, who_does_not_read_costs_no_more_than_his_queue);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
