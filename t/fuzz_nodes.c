/*
 * fuzz_nodes.c - what the fuzz targets share. See fuzz_nodes.h.
 */
#include "fuzz_nodes.h"

#define MOVES_PER_MS_MAX 64

/* ---- the script ---------------------------------------------------------------------- */

uint8_t take8(struct script *s)
{
	return s->at < s->len ? s->data[s->at++] : 0;
}

uint32_t take16(struct script *s)
{
	uint32_t high = take8(s);
	return high << 8 | take8(s);
}

uint64_t take64(struct script *s)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | take8(s);
	return v;
}

/* ---- a node --------------------------------------------------------------------------- */

static void take_line(void *ctx, const char *line)
{
	(void)ctx;
	for (const char *p = line; *p; p++)
		CHECK((unsigned char)*p >= ' ' && *p != 0x7f, "a control character in the log");
	if (getenv("FUZZ_VERBOSE"))
		fprintf(stderr, "  %s\n", line);
}

static void no_process(void *ctx, struct process_info *out)
{
	(void)ctx;
	*out = (struct process_info){.pid = 1, .event_library = "none"};
}

static void no_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	(void)ctx, (void)fn, (void)fn_ctx;
}

void server_init(struct server *s, size_t memory_bytes, size_t item_bytes_max)
{
	*s = (struct server){.log = {take_line, NULL, 0}, .env = {.process_info = no_process, .each_conn = no_conns}};
	settings_init(&s->settings);
	s->settings.memory_bytes_max = memory_bytes;
	s->settings.item_bytes_max = item_bytes_max;
	s->settings.hash_power = 6; /* few buckets to check */
}

void server_start(struct server *s, const struct now *now, uint8_t seed)
{
	uint8_t entropy[NODE_ENTROPY_BYTES];
	const char *error = "unset";

	for (size_t i = 0; i < sizeof(entropy); i++)
		entropy[i] = (uint8_t)(seed * 37 + i * 11);
	s->node = node_new(&s->settings, &s->env, &s->log, now, entropy, &error);
	CHECK(s->node, "%s", error);
}

struct repl *repl_of(const struct server *s)
{
	return node_repl(s->node);
}

void server_client(struct server *s, const char *text, char *reply, size_t size)
{
	struct session *session = node_session_open(s->node);
	struct iovec iov[4];
	size_t used = 0;

	CHECK(session, "memory");
	session_input(session, (const uint8_t *)text, strlen(text));
	while (session_output(session, iov, 4) > 0) {
		size_t n = iov[0].iov_len < size - 1 - used ? iov[0].iov_len : size - 1 - used;
		memcpy(reply + used, iov[0].iov_base, n);
		used += n;
		session_sent(session, iov[0].iov_len);
	}
	reply[used] = '\0';
	CHECK(session_settle(session), "memory");
	node_session_close(s->node, session);
}

void server_turn(struct server *s, const struct now *now)
{
	node_set_now(s->node, now);
	if (node_next_due_ms(s->node) <= now->mono_ms)
		node_tick(s->node);
	node_turn_end(s->node);
}

/* ---- cables ------------------------------------------------------------------------------ */

static bool carry(struct repl_conn *from, struct repl_conn *to)
{
	struct iovec iov[4];

	if (!from || !to || !repl_conn_wants_read(to))
		return false;
	int count = repl_conn_output(from, iov, 4);
	size_t total = 0;
	for (int i = 0; i < count; i++)
		total += iov[i].iov_len;
	if (total == 0)
		return false;
	uint8_t *copy = malloc(total);
	CHECK(copy, "memory");
	for (int i = 0, at = 0; i < count; at += (int)iov[i++].iov_len)
		memcpy(copy + at, iov[i].iov_base, iov[i].iov_len);
	repl_conn_sent(from, total);
	repl_conn_input(to, copy, total);
	free(copy);
	return true;
}

void cable_cut(struct cable *w, const char *reason)
{
	for (int i = 0; i < 2; i++)
		if (w->end[i]) {
			struct repl_conn *c = w->end[i];
			w->end[i] = NULL;
			repl_conn_closed(c, reason);
		}
}

static void dial(struct server *from, struct server *to, struct cable *w)
{
	uint64_t wanted = node_wants(from->node).connect_seq;

	if (wanted == from->connect_seq)
		return;
	from->connect_seq = wanted;
	if (!node_wants(to->node).link_listen) {
		repl_connect_failed(repl_of(from), "nobody listens");
		return;
	}
	cable_cut(w, "a new one");
	w->end[1] = repl_conn_open(repl_of(to), false, "192.0.2.200:1");
	w->end[0] = repl_conn_open(repl_of(from), true, "192.0.2.201:2");
	if (!w->end[0] || !w->end[1])
		cable_cut(w, "closed by the peer");
}

void between(struct server *a, struct server *b, struct cable cables[2], struct now *now, int64_t ms,
	     void (*each)(const struct server *s, const struct now *now))
{
	struct iovec iov;

	for (; ms > 0; ms--) {
		for (int n = 0; n < MOVES_PER_MS_MAX; n++) {
			bool moved = false;
			server_turn(a, now);
			server_turn(b, now);
			dial(a, b, &cables[0]);
			dial(b, a, &cables[1]);
			for (int i = 0; i < 2; i++) {
				struct cable *w = &cables[i];
				moved |= carry(w->end[0], w->end[1]);
				moved |= carry(w->end[1], w->end[0]);
				for (int end = 0; end < 2; end++)
					if (w->end[end] && repl_conn_closing(w->end[end]) &&
					    repl_conn_output(w->end[end], &iov, 1) == 0)
						cable_cut(w, "closed");
			}
			if (each) {
				each(a, now);
				each(b, now);
			}
			if (!moved)
				break;
		}
		now->mono_ms++;
		now->wall_ms++;
	}
}
