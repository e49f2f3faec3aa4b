/*
 * test_watch.c - lines for watchers: who gets which, what a full queue does.
 */
#include "compat.h"
#include <check.h>
#include "watch.h"

#define QUEUE_BYTES ((size_t)8192)

static struct watch watch;
static struct stats stats;
static struct now now;
static struct key key;
static struct watch_item item;

static void setup(void)
{
	now = (struct now){1000, INT64_C(1750000000005)};
	stats = (struct stats){0};
	key = (struct key){.data = (const uint8_t *)"a key\xff", .len = 6};
	item = (struct watch_item){&key, 3, 5, 9};
	watch_init(&watch, &now, &stats, QUEUE_BYTES);
}

static void teardown(void)
{
	while (watch.watchers)
		watch_remove(&watch, watch.watchers);
	ck_assert_int_eq(watch.count, 0);
	ck_assert_uint_eq(watch.kinds, 0);
}

/* Take all that a watcher has. */
static const char *take(struct watcher *r)
{
	static char text[QUEUE_BYTES + 1];
	size_t len = buf_len(&r->lines);

	ck_assert_uint_le(len, QUEUE_BYTES);
	if (len > 0)
		memcpy(text, buf_head(&r->lines), len);
	text[len] = '\0';
	watch_sent(&watch, r, len);
	return text;
}

START_TEST(kinds_have_names)
{
	ck_assert_uint_eq(watch_kind("fetchers", 8), WATCH_FETCHERS);
	ck_assert_uint_eq(watch_kind("replication", 11), WATCH_REPLICATION);
	ck_assert_uint_eq(watch_kind("fetcher", 7), 0);
	ck_assert_uint_eq(watch_kind("fetchersx", 9), 0);
	ck_assert_uint_eq(watch_kind("", 0), 0);
}
END_TEST

START_TEST(lines_are_spelled_as_documented)
{
	struct watcher *r = watch_add(&watch, ~0u);
	struct watch_conn conn = {"127.0.0.1", 4000, "tcp", 9};

	watch_item_get(&watch, &item, "found");
	ck_assert_str_eq(take(r), "ts=1750000000.5000 gid=1 type=item_get key=a%20key%FF status=found clsid=3 "
				  "cfd=9 size=5\n");
	watch_item_store(&watch, &item, "stored", "set", 100);
	ck_assert_str_eq(take(r), "ts=1750000000.5000 gid=2 type=item_store key=a%20key%FF status=stored "
				  "cmd=set ttl=100 clsid=3 cfd=9 size=5\n");
	watch_deleted(&watch, &item, "delete");
	ck_assert_str_eq(take(r), "ts=1750000000.5000 gid=3 type=deleted key=a%20key%FF cmd=delete clsid=3 "
				  "size=5\n");
	now.wall_ms += 995;
	watch_conn_new(&watch, &conn);
	ck_assert_str_eq(take(r), "ts=1750000001.0 gid=4 type=conn_new rip=127.0.0.1 rport=4000 transport=tcp "
				  "cfd=9\n");
	watch_conn_close(&watch, &conn, "normal");
	ck_assert_str_eq(take(r), "ts=1750000001.0 gid=5 type=conn_close rip=127.0.0.1 rport=4000 "
				  "transport=tcp reason=normal cfd=9\n");
	watch_page_moved(&watch, 2, 0, true);
	ck_assert_str_eq(take(r), "ts=1750000001.0 gid=6 type=slab_move src=2 dst=0 state=ok\n");
	watch_replication(&watch, "event=role role=MASTER");
	ck_assert_str_eq(take(r), "ts=1750000001.0 gid=7 type=replication event=role role=MASTER\n");
}
END_TEST

START_TEST(everyone_gets_what_he_asked_for)
{
	struct watcher *gets = watch_add(&watch, WATCH_FETCHERS);
	struct watcher *both = watch_add(&watch, WATCH_FETCHERS | WATCH_DELETIONS);

	ck_assert(watch_wants(&watch, WATCH_FETCHERS) && watch_wants(&watch, WATCH_DELETIONS));
	ck_assert(!watch_wants(&watch, WATCH_MUTATIONS | WATCH_EVICTIONS));
	ck_assert(!watch.news);
	watch_item_get(&watch, &item, "found");
	ck_assert(watch.news);
	watch_deleted(&watch, &item, "delete");
	ck_assert_ptr_eq(strstr(take(gets), "deleted"), NULL);
	ck_assert_ptr_ne(strstr(take(both), "gid=2 type=deleted"), NULL);
	ck_assert_uint_eq(stats.log_watcher_sent, 3);
	watch_remove(&watch, both);
	ck_assert(watch_wants(&watch, WATCH_FETCHERS) && !watch_wants(&watch, WATCH_DELETIONS));
}
END_TEST

START_TEST(a_full_queue_loses_lines_and_says_how_many)
{
	struct watcher *slow = watch_add(&watch, WATCH_FETCHERS);
	struct watcher *quick = watch_add(&watch, WATCH_FETCHERS);
	uint64_t missed;

	for (int i = 0; i < 100000; i++) {
		watch_item_get(&watch, &item, "found");
		take(quick);
		ck_assert_uint_le(slow->lines.capacity, QUEUE_BYTES); /* [W2] */
	}
	ck_assert_uint_eq(quick->skipped, 0);
	missed = slow->skipped;
	ck_assert_uint_eq(missed, stats.log_watcher_skipped);
	ck_assert_uint_gt(missed, 99000);
	/* A little room does not end it: what was missed comes in one piece. */
	watch_sent(&watch, slow, 1000);
	watch_item_get(&watch, &item, "found");
	ck_assert_uint_eq(slow->skipped, missed + 1);
	/* Half the queue does, and the line comes without another event. */
	watch_sent(&watch, slow, QUEUE_BYTES / 2);
	ck_assert_uint_eq(slow->skipped, 0);
	char expected[64];
	snprintf(expected, sizeof(expected), "\nskipped=%" PRIu64 "\n", missed + 1);
	const char *text = take(slow);
	ck_assert_ptr_ne(strstr(text, expected), NULL);
	ck_assert_str_eq(strstr(text, expected) + strlen(expected), "");
	watch_item_get(&watch, &item, "found");
	ck_assert_ptr_ne(strstr(take(slow), "gid=100002 "), NULL);
}
END_TEST

START_TEST(an_empty_queue_gives_its_memory_back)
{
	struct watcher *r = watch_add(&watch, WATCH_FETCHERS);

	watch.queue_bytes_max = r->lines.cap_max = 1 << 20;
	for (int i = 0; i < 5000; i++)
		watch_item_get(&watch, &item, "found");
	ck_assert_uint_gt(r->lines.capacity, 400000);
	watch_sent(&watch, r, buf_len(&r->lines));
	ck_assert_uint_eq(r->lines.capacity, 0);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
	struct watcher *r = watch_add(&watch, WATCH_REPLICATION);
	char fields[3 * WATCH_LINE_BYTES_MAX];

	memset(fields, 'x', sizeof(fields));
	fields[sizeof(fields) - 1] = '\0';
	watch_replication(&watch, fields);
	const char *text = take(r);
	ck_assert_uint_eq(strlen(text), WATCH_LINE_BYTES_MAX);
	ck_assert_int_eq(text[WATCH_LINE_BYTES_MAX - 1], '\n');
	ck_assert_int_eq(text[WATCH_LINE_BYTES_MAX - 2], 'x');
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("watch");
	TCase *tc = tcase_create("watch");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, kinds_have_names);
	tcase_add_test(tc, lines_are_spelled_as_documented);
	tcase_add_test(tc, everyone_gets_what_he_asked_for);
	tcase_add_test(tc, a_full_queue_loses_lines_and_says_how_many);
	tcase_add_test(tc, an_empty_queue_gives_its_memory_back);
	tcase_add_test(tc, a_long_line_is_cut);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
