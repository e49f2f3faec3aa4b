/*
 * fixture.c - an engine without a node, and a client. See fixture.h.
 */
#include "fixture.h"

#define IOV_COUNT 5 /* few, so that lists of pieces are cut */
#define TURNS_MAX 10000000

static void drop_line(void *ctx, const char *line)
{
	(void)ctx;
	(void)line;
}

static void some_process(void *ctx, struct process_info *out)
{
	(void)ctx;
	*out = (struct process_info){.pid = 4711, .rusage_user_us = 1000002, .event_library = "test"};
}

static void some_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	struct conn_info listener = {7, "tcp:0.0.0.0:11211", NULL, "conn_listening", 3, false};
	struct conn_info client = {9, "tcp:127.0.0.1:4000", "tcp:127.0.0.1:11211", "conn_parse_cmd", 0, false};

	(void)ctx;
	fn(fn_ctx, &listener);
	fn(fn_ctx, &client);
}

void fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->settings.memory_bytes_max = 8 << 20;
	f->settings.item_bytes_max = 1 << 20;
	f->settings.evict = true;
	f->settings.cas = true;
	f->settings.flush_enabled = true;
	f->settings.requests_per_event = 20;
	f->settings.conns_max = 1024;
	f->settings.dump_enabled = true;
	f->settings.slab_reassign = true;
	f->settings.slab_automove = 1;
	f->settings.lru_crawler = true;
	f->settings.tcp_port = 11211;
	f->settings.watch_enabled = true;
	f->settings.watch_queue_bytes = 16 << 10;
	f->settings.stat_prefix_delimiter = ':';
	f->settings.socket_mask = 0700;
	f->now = (struct now){5000, FIXTURE_WALL_MS};
	f->log.sink = drop_line;
	f->env = (struct node_env){.process_info = some_process, .each_conn = some_conns};
}

void fixture_open(struct fixture *f)
{
	struct items_config config = {
	        .memory_bytes_max = f->settings.memory_bytes_max,
	        .memory_bytes_reserved = 8 * f->settings.memory_bytes_max,
	        .item_bytes_max = f->settings.item_bytes_max,
	        .evict = f->settings.evict,
	        .replicated = f->settings.replicated,
	        .tomb_bytes_max = 1 << 20,
	        .track_sizes = f->settings.track_sizes,
	        .hash_seed = 12345,
	};
	hlc_init(&f->hlc, !f->settings.replicated, 17);
	f->items = items_new(&config, &f->now, &f->hlc);
	MUST(f->items != NULL);
	f->shared = session_shared_new(f->settings.memory_bytes_max);
	MUST(f->shared != NULL);
	f->stats.accepting_conns = true;
	f->store = (struct store){.items = f->items, .now = &f->now, .cas = f->settings.cas};
	watch_init(&f->watch, &f->now, &f->stats, f->settings.watch_queue_bytes);
	stats_prefixes_init(&f->prefixes, f->settings.stat_prefix_delimiter, 1);
	f->engine = (struct engine){
	        .settings = &f->settings,
	        .items = f->items,
	        .hlc = &f->hlc,
	        .now = &f->now,
	        .stats = &f->stats,
	        .class_stats = f->class_stats,
	        .log = &f->log,
	        .env = &f->env,
	        .watch = &f->watch,
	        .prefixes = &f->prefixes,
	        .started_mono_ms = f->now.mono_ms,
	        .started_wall_ms = f->now.wall_ms,
	};
	command_tune(&f->engine);
}

void fixture_close(struct fixture *f)
{
	const char *wrong = items_check(f->items);

	if (wrong)
		ck_abort_msg("items_check: %s", wrong);
	session_shared_free(f->shared);
	items_free(f->items);
	stats_prefixes_clear(&f->prefixes);
}

void fixture_advance(struct fixture *f, int64_t ms)
{
	f->now.mono_ms += ms;
	f->now.wall_ms += ms;
	for (int i = 0; i < 1000 && items_next_due_ms(f->items) <= f->now.mono_ms; i++)
		items_tick(f->items);
}

struct key fixture_key(struct fixture *f, const char *text)
{
	return items_key(f->items, text, strlen(text));
}

/* ---- text ------------------------------------------------------------------- */

void text_add(struct text *t, const void *data, size_t len)
{
	if (t->len + len + 1 > t->size) {
		t->size = 2 * (t->len + len + 1);
		t->data = realloc(t->data, t->size);
		MUST(t->data != NULL);
	}
	memcpy(t->data + t->len, data, len);
	t->len += len;
	t->data[t->len] = '\0';
}

void text_str(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}

const char *text_show(const char *data, size_t len)
{
	static char shown[4][1200];
	static int turn;
	char *out = shown[turn++ % 4];
	size_t n = 0;

	for (size_t i = 0; i < len && n + 8 < sizeof(shown[0]); i++) {
		unsigned char c = (unsigned char)data[i];
		if (c == '\r')
			n += (size_t)snprintf(out + n, 3, "\\r");
		else if (c == '\n')
			n += (size_t)snprintf(out + n, 3, "\\n");
		else if (c < ' ' || c > '~')
			n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
	return out;
}

/* ---- client ----------------------------------------------------------------- */

void client_open(struct client *c, struct fixture *f, const struct pace *pace)
{
	*c = (struct client){.pace = *pace, .session = session_new(&f->engine, f->shared)};
	MUST(c->session != NULL);
	text_add(&c->out, "", 0);
}

void client_close(struct client *c)
{
	session_free(c->session);
	text_free(&c->out);
}

/* One send: take up to out_max bytes of what is offered. */
static size_t take_output(struct client *c)
{
	struct iovec iov[IOV_COUNT];
	int count = session_output(c->session, iov, IOV_COUNT);
	size_t room = c->pace.out_max ? c->pace.out_max : SIZE_MAX, taken = 0;

	MUST(count <= IOV_COUNT);
	for (int i = 0; i < count && taken < room; i++) {
		size_t n = iov[i].iov_len < room - taken ? iov[i].iov_len : room - taken;
		MUST(iov[i].iov_len > 0);
		text_add(&c->out, iov[i].iov_base, n);
		taken += n;
	}
	if (taken > 0)
		session_sent(c->session, taken);
	return taken;
}

static void take_all(struct client *c)
{
	while (take_output(c) > 0)
		;
	MUST(session_settle(c->session));
}

/* After a call that may have produced output. */
static void after_input(struct client *c)
{
	struct iovec iov[256];
	size_t waiting = 0;
	int count = session_output(c->session, iov, ARRAY_LEN(iov));

	for (int i = 0; i < count; i++)
		waiting += iov[i].iov_len;
	if (waiting > c->waiting_max)
		c->waiting_max = waiting;
	if (c->pace.out_max)
		take_output(c); /* one send only, the rest is settled */
	else if (!c->pace.lazy)
		while (take_output(c) > 0)
			;
	MUST(session_settle(c->session));
}

void client_drain(struct client *c)
{
	for (int turn = 0; turn < TURNS_MAX; turn++) {
		switch (session_state(c->session)) {
		case SESSION_READ:
		case SESSION_WATCH:
			if (c->pace.lazy)
				return;
			take_all(c);
			return;
		case SESSION_FLUSH:
			MUST(take_output(c) > 0);
			MUST(session_settle(c->session));
			break;
		case SESSION_YIELD:
			session_resume(c->session);
			after_input(c);
			break;
		case SESSION_CLOSE:
			take_all(c);
			c->closed = true;
			return;
		case SESSION_HOLD:
			ck_abort_msg("nothing holds a session here");
		}
	}
	ck_abort_msg("the session never comes to rest");
}

/* Hand over at most len bytes straight into a body; returns how many went. */
static size_t send_straight(struct client *c, const uint8_t *data, size_t len)
{
	struct iovec iov[3];
	int count = session_body_iov(c->session, iov, ARRAY_LEN(iov));
	size_t given = 0;

	for (int i = 0; i < count && given < len; i++) {
		size_t n = iov[i].iov_len < len - given ? iov[i].iov_len : len - given;
		memcpy(iov[i].iov_base, data + given, n);
		given += n;
	}
	if (given > 0)
		session_body_received(c->session, given);
	return given;
}

void client_send(struct client *c, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t left = len;

	while (left > 0 && !c->closed) {
		size_t n = c->pace.in_max && c->pace.in_max < left ? c->pace.in_max : left;
		if (c->pace.split && left == len && c->pace.split < n)
			n = c->pace.split;
		size_t straight = c->pace.straight ? send_straight(c, p, n) : 0;
		if (straight > 0) {
			n = straight;
		} else {
			/* of exactly its size, so that reading past it is seen */
			uint8_t *copy = malloc(n);
			MUST(copy != NULL);
			memcpy(copy, p, n);
			session_input(c->session, copy, n);
			free(copy);
		}
		after_input(c);
		p += n;
		left -= n;
		client_drain(c);
	}
	if (c->pace.lazy)
		take_all(c);
}

void client_expect(struct client *c, const char *input, const char *reply)
{
	c->out.len = 0;
	client_send(c, input, strlen(input));
	if (c->out.len != strlen(reply) || memcmp(c->out.data, reply, c->out.len) != 0)
		ck_abort_msg("\n  sent     %s\n  got      %s\n  expected %s\n", text_show(input, strlen(input)),
		             text_show(c->out.data, c->out.len), text_show(reply, strlen(reply)));
}
