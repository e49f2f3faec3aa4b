/*
 * fuzz_session.c - any bytes from a client, in whatever protocol they turn out
 * to be: text, meta, binary.
 *
 * Owns: LLVMFuzzerTestOneInput(). The first byte says what the server is like,
 * the second seeds how the bytes are cut up; the rest is what the client sends.
 * Two servers are told the same, one in one piece, the other in pieces, with
 * small sends, bodies received in place, and commands held back for fairness.
 *
 * What must hold
 *  - the two answer the same bytes and close at the same byte: no reply depends
 *    on how the commands were cut, and so none belongs to another command
 *  - items_check() afterwards, no more pages than -m
 *  - an item that was begun and never finished leaves nothing behind
 *  - the session comes to rest in a bounded number of turns
 *
 * A line that is too long without its end is where the pieces do show (reference
 * 1.1): inputs are shorter than that, longer ones are cut. Statistics count
 * receives and turns, and what takes the connection over (watch, metadump) is
 * refused behind replies that were not sent yet (1.10, 1.12): such a conversation
 * is not compared.
 *
 * Corpora: t/corpus/session. Dictionary: t/corpus/session.dict.
 */
#include "fuzz_nodes.h"
#include "auth.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY (2 << 20)
#define ITEM_MAX (64 << 10)
#define INPUT_MAX 2000
#define REPLY_MAX (4 << 20)
#define TURNS_MAX 100000

struct answer {
	uint8_t data[REPLY_MAX];
	size_t len;
	bool closed;
};

static void take(struct session *s, struct answer *a, size_t out_max)
{
	struct iovec iov[3];
	int count = session_output(s, iov, 3);
	size_t taken = 0;

	for (int i = 0; i < count && taken < out_max; i++) {
		size_t n = iov[i].iov_len < out_max - taken ? iov[i].iov_len : out_max - taken;
		CHECK(a->len + n <= REPLY_MAX, "an answer without end");
		memcpy(a->data + a->len, iov[i].iov_base, n);
		a->len += n;
		taken += n;
	}
	if (taken)
		session_sent(s, taken);
}

/* Until it wants input, or is closed. */
static void rest(struct session *s, struct answer *a, size_t out_max)
{
	struct iovec iov;

	for (int turn = 0; turn < TURNS_MAX; turn++) {
		take(s, a, out_max);
		CHECK(session_settle(s), "memory");
		enum session_state state = session_state(s);
		bool more = session_output(s, &iov, 1) > 0;
		if (state == SESSION_CLOSE && !more) {
			a->closed = true;
			return;
		}
		if (state == SESSION_YIELD)
			session_resume(s);
		else if (!more)
			return;
	}
	CHECK(false, "the session does not come to rest");
}

/* Straight into a body, as the shell does when it is offered. */
static size_t in_place(struct session *s, const uint8_t *p, size_t len)
{
	struct iovec iov[4];
	int count = session_body_iov(s, iov, 4);
	size_t done = 0;

	for (int i = 0; i < count && done < len; i++) {
		size_t n = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
		memcpy(iov[i].iov_base, p + done, n);
		done += n;
	}
	if (done)
		session_body_received(s, done);
	return done;
}

static void talk(struct server *server, const uint8_t *p, size_t len, struct prng *cuts, struct answer *a)
{
	struct session *s = node_session_open(server->node);

	CHECK(s, "memory");
	a->len = 0;
	a->closed = false;
	while (len > 0 && !a->closed) {
		size_t n = cuts ? 1 + prng_below(cuts, prng_below(cuts, 4) ? 9 : len) : len;
		n = n < len ? n : len;
		size_t done = cuts && prng_below(cuts, 2) ? in_place(s, p, n) : 0;
		if (done == 0) {
			uint8_t *copy = malloc(n); /* of its size, so that reading past it is seen */
			CHECK(copy, "memory");
			memcpy(copy, p, n);
			session_input(s, copy, n);
			free(copy);
			done = n;
		}
		p += done;
		len -= done;
		rest(s, a, cuts && prng_below(cuts, 2) ? 1 + prng_below(cuts, 100) : SIZE_MAX);
	}
	node_session_close(server->node, s);
}

static void check(struct server *s)
{
	const char *broken = items_check(node_items(s->node));
	struct items_gauges g;

	CHECK(!broken, "%s", broken);
	items_gauges(node_items(s->node), &g);
	CHECK(g.page_bytes <= MEMORY, "more pages than -m");
}

static bool contains(const uint8_t *data, size_t len, const char *mark)
{
	return memmem(data, len, mark, strlen(mark)) != NULL;
}

/* Whether the pieces may not show. */
static bool is_compared(const uint8_t *in, size_t len, const struct answer *whole)
{
	return !contains(whole->data, whole->len, "curr_connections") && !contains(in, len, "watch") &&
	       !contains(in, len, "dump");
}

static void open_server(struct server *s, const struct now *now, uint8_t kind)
{
	static const char users[] = "u:p\nuser:pass word";
	static struct auth_table logins;
	const char *error;
	size_t line;

	server_init(s, MEMORY, ITEM_MAX);
	s->settings.cas = !(kind & 1);
	s->settings.flush_enabled = !(kind & 2);
	s->settings.evict = !(kind & 4);
	s->settings.replicated = kind & 8;
	s->settings.shutdown_command = kind & 16;
	s->settings.requests_per_event = kind & 32 ? 1 : 20;
	server_start(s, now, 1);
	if (kind & 64) {
		CHECK(auth_table_parse(&logins, (const uint8_t *)users, strlen(users), &error, &line), "%s", error);
		node_set_logins(s->node, &logins);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script script = {data, size, 0};
	struct now now = {1000, FUZZ_WALL_MS};
	struct server servers[2];
	static struct answer answers[2];
	uint8_t kind = take8(&script);
	struct prng cuts = {take8(&script)};
	size_t len = size - script.at < INPUT_MAX ? size - script.at : INPUT_MAX;

	for (int i = 0; i < 2; i++) {
		open_server(&servers[i], &now, kind);
		server_turn(&servers[i], &now);
		talk(&servers[i], data + script.at, len, i ? &cuts : NULL, &answers[i]);
		server_turn(&servers[i], &now);
		check(&servers[i]);
	}
	if (is_compared(data + script.at, len, &answers[0])) {
		CHECK(answers[0].closed == answers[1].closed, "closed %d, in pieces %d", answers[0].closed,
		      answers[1].closed);
		CHECK(answers[0].len == answers[1].len &&
		              memcmp(answers[0].data, answers[1].data, answers[0].len) == 0,
		      "\n--- whole:\n%.*s\n--- in pieces:\n%.*s", (int)answers[0].len, answers[0].data,
		      (int)answers[1].len, answers[1].data);
	}
	for (int i = 0; i < 2; i++)
		node_free(servers[i].node);
	return 0;
}
