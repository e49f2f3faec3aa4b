/*
 * test_node.c - a whole server without I/O: creation, wishes, stopping, and
 * two nodes in one process that share nothing (rule R1).
 */
#include "compat.h"
#include <check.h>
#include "node.h"

struct server {
	struct settings settings;
	struct log log;
	struct node_env env;
	struct now now;
	struct node *node;
};

static void drop_line(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
}

static void no_process(void *ctx, struct process_info *out)
{
	(void)ctx;
	*out = (struct process_info){.pid = 1, .event_library = "none"};
}

static void no_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	(void)ctx;
	(void)fn;
	(void)fn_ctx;
}

static void server_start(struct server *s, bool replicated, const char *peer, uint8_t seed)
{
	uint8_t entropy[NODE_ENTROPY_BYTES];
	const char *error = "unset";

	memset(entropy, seed, sizeof(entropy));
	memset(s, 0, sizeof(*s));
	settings_init(&s->settings);
	s->settings.memory_bytes_max = 8 << 20;
	s->settings.replicated = replicated;
	snprintf(s->settings.repl_peer, sizeof(s->settings.repl_peer), "%s", peer);
	s->log.sink = drop_line;
	s->env = (struct node_env){.process_info = no_process, .each_conn = no_conns};
	s->now = (struct now){1000, 1750000000000};
	s->node = node_new(&s->settings, &s->env, &s->log, &s->now, entropy, &error);
	ck_assert_ptr_nonnull(s->node);
	ck_assert_ptr_null(error);
}

static void server_advance(struct server *s, int64_t ms)
{
	s->now.mono_ms += ms;
	s->now.wall_ms += ms;
	node_set_now(s->node, &s->now);
	while (node_next_due_ms(s->node) <= s->now.mono_ms) {
		int64_t before = node_next_due_ms(s->node);
		node_tick(s->node);
		node_turn_end(s->node);
		if (node_next_due_ms(s->node) == before)
			break;
	}
	node_turn_end(s->node);
}

/* Give input to a fresh session and collect what it answers. */
static void ask(struct server *s, const char *input, char *reply, size_t size)
{
	struct session *session = node_session_open(s->node);
	struct iovec iov[8];
	size_t used = 0;
	int count;

	ck_assert_ptr_nonnull(session);
	session_input(session, (const uint8_t *)input, strlen(input));
	while ((count = session_output(session, iov, ARRAY_LEN(iov))) > 0) {
		ck_assert_uint_lt(used + iov[0].iov_len, size);
		memcpy(reply + used, iov[0].iov_base, iov[0].iov_len);
		used += iov[0].iov_len;
		session_sent(session, iov[0].iov_len);
	}
	reply[used] = '\0';
	ck_assert(session_settle(session));
	node_turn_end(s->node);
	node_session_close(s->node, session);
}

START_TEST(standalone_opens_at_once)
{
	struct server s;
	char reply[256];

	server_start(&s, false, "", 1);
	struct node_wants w = node_wants(s.node);
	ck_assert(w.client_ports);
	ck_assert(!w.link_listen && !w.stop_accepting && !w.stopped);
	ck_assert_uint_eq(w.connect_seq, 0);
	ck_assert_ptr_null(node_repl(s.node));
	ask(&s, "set k 5 0 1\r\nv\r\ngets k\r\n", reply, sizeof(reply));
	ck_assert_str_eq(reply, "STORED\r\nVALUE k 5 1 1\r\nv\r\nEND\r\n");
	node_free(s.node);
}
END_TEST

START_TEST(master_opens_at_once_and_listens)
{
	struct server s;

	server_start(&s, true, "", 2);
	struct node_wants w = node_wants(s.node);
	ck_assert(w.client_ports && w.link_listen);
	ck_assert_uint_eq(w.connect_seq, 0);
	node_free(s.node);
}
END_TEST

START_TEST(slave_waits_for_its_first_copy_or_a_refusal)
{
	struct server s;

	server_start(&s, true, "peer", 3);
	server_advance(&s, 10);
	struct node_wants w = node_wants(s.node);
	ck_assert(!w.client_ports);
	ck_assert_uint_gt(w.connect_seq, 0);
	repl_connect_failed(node_repl(s.node), "refused");
	server_advance(&s, 10);
	w = node_wants(s.node);
	ck_assert(w.client_ports && w.link_listen);
	node_free(s.node);
}
END_TEST

START_TEST(two_nodes_share_nothing)
{
	struct server a, b;
	char reply[256];

	server_start(&a, false, "", 4);
	server_start(&b, false, "", 5);
	ask(&a, "set k 0 0 1\r\na\r\n", reply, sizeof(reply));
	ask(&b, "get k\r\n", reply, sizeof(reply));
	ck_assert_str_eq(reply, "END\r\n");
	ask(&a, "get k\r\n", reply, sizeof(reply));
	ck_assert_str_eq(reply, "VALUE k 0 1\r\na\r\nEND\r\n");
	node_free(a.node);
	node_free(b.node);
}
END_TEST

START_TEST(stop_now_stops_when_drained)
{
	struct server s;

	server_start(&s, true, "", 6);
	node_stop(s.node, STOP_NOW);
	server_advance(&s, 1);
	struct node_wants w = node_wants(s.node);
	ck_assert(w.stop_accepting && w.stopped && !w.link_listen);
	node_free(s.node);
}
END_TEST

START_TEST(graceful_stop_waits_for_clients_but_not_for_ever)
{
	struct server s;

	server_start(&s, false, "", 7);
	struct session *client = node_session_open(s.node);
	node_stop(s.node, STOP_GRACEFUL);
	ck_assert(node_wants(s.node).stop_accepting);
	ck_assert(!node_wants(s.node).stopped);
	ck_assert_int_lt(node_next_due_ms(s.node), INT64_MAX);
	server_advance(&s, 60 * 1000);
	ck_assert(node_wants(s.node).stopped);
	/* The peer may still have to be waited for: what is over does not keep awake. */
	ck_assert_int_gt(node_next_due_ms(s.node), s.now.mono_ms);
	node_session_close(s.node, client);
	node_free(s.node);
}
END_TEST

static void count_change(void *ctx, const struct change *change)
{
	(void)change;
	++*(int *)ctx;
}

START_TEST(second_observer_sees_every_change)
{
	struct server s;
	char reply[256];
	int changes = 0;

	server_start(&s, true, "", 8);
	node_observe(s.node, count_change, &changes);
	ask(&s, "set k 0 0 1\r\nv\r\ntouch k 100\r\ndelete k\r\nget k\r\n", reply, sizeof(reply));
	ck_assert_str_eq(reply, "STORED\r\nTOUCHED\r\nDELETED\r\nEND\r\n");
	ck_assert_int_eq(changes, 3);
	node_observe(s.node, NULL, NULL);
	node_free(s.node);
}
END_TEST

START_TEST(memory_that_cannot_be_had_is_said)
{
	struct server s;
	uint8_t entropy[NODE_ENTROPY_BYTES] = {1};
	const char *error = NULL;

	server_start(&s, false, "", 9);
	s.settings.memory_bytes_max = (size_t)1 << 60;
	ck_assert_ptr_null(node_new(&s.settings, &s.env, &s.log, &s.now, entropy, &error));
	ck_assert_ptr_nonnull(error);
	node_free(s.node);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node");
	TCase *tc = tcase_create("node");

	tcase_add_test(tc, standalone_opens_at_once);
	tcase_add_test(tc, master_opens_at_once_and_listens);
	tcase_add_test(tc, slave_waits_for_its_first_copy_or_a_refusal);
	tcase_add_test(tc, two_nodes_share_nothing);
	tcase_add_test(tc, stop_now_stops_when_drained);
	tcase_add_test(tc, graceful_stop_waits_for_clients_but_not_for_ever);
	tcase_add_test(tc, second_observer_sees_every_change);
	tcase_add_test(tc, memory_that_cannot_be_had_is_said);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
