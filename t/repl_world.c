/*
 * repl_world.c - a few daemons' replication in one process. See repl_world.h.
 */
#include "compat.h"
#include <check.h>
#include "repl_world.h"

#define WORLD_START_WALL_MS INT64_C(1700000000000)

/* ---- hosts ------------------------------------------------------------------------ */

static void sink(void *ctx, const char *line)
{
	struct host *h = ctx;
	size_t len = strlen(line);

	h->said = realloc(h->said, h->said_len + len + 2);
	memcpy(h->said + h->said_len, line, len);
	h->said_len += len;
	h->said[h->said_len++] = '\n';
	h->said[h->said_len] = '\0';
	h->lines++;
	if (getenv("VERBOSE"))
		fprintf(stderr, "%8" PRId64 " %p %s\n", h->now.mono_ms, (void *)h, line);
}

static void on_change(void *ctx, const struct change *change)
{
	struct host *h = ctx;

	h->changes++;
	if (h->repl)
		repl_on_change(h->repl, change);
}

void world_init(struct world *w, uint64_t seed)
{
	*w = (struct world){.prng = {seed}, .chunk_max = 3000};
	for (int i = 0; i < HOSTS; i++) {
		struct host *h = &w->hosts[i];
		h->now = (struct now){1000, WORLD_START_WALL_MS};
		h->settings.memory_bytes_max = 16 << 20;
		h->settings.item_bytes_max = 1 << 20;
		h->settings.evict = true;
		h->settings.replicated = true;
		h->settings.repl_port = REPL_PORT_DEFAULT;
		h->settings.repl_buffer_bytes = 4 << 20;
		h->settings.repl_timeout_ms = 5000;
		h->settings.repl_drain_ms = 5000;
		h->settings.repl_max_skew_ms = 24 * 3600 * 1000;
	}
}

static void host_release(struct host *h)
{
	if (h->items)
		items_observe(h->items, NULL, NULL);
	repl_free(h->repl);
	items_free(h->items);
	h->repl = NULL;
	h->items = NULL;
}

static void wire_free(struct wire *x)
{
	free(x->pipe[0].data);
	free(x->pipe[1].data);
	*x = (struct wire){0};
}

void world_free(struct world *w)
{
	for (int i = 0; i < HOSTS; i++) {
		if (w->hosts[i].items)
			host_release(&w->hosts[i]);
		free(w->hosts[i].said);
	}
	for (int i = 0; i < WIRES; i++)
		wire_free(&w->wires[i]);
}

struct host *host_start(struct world *w, int i, int peer)
{
	struct host *h = &w->hosts[i];
	uint8_t random[REPL_ENTROPY_BYTES];

	ck_assert(!h->repl);
	size_t tombs = h->settings.repl_tombstones_bytes;
	struct items_config config = {
		.memory_bytes_max = h->settings.memory_bytes_max,
		.item_bytes_max = h->settings.item_bytes_max,
		.evict = h->settings.evict,
		.replicated = true,
		.tomb_bytes_max = tombs ? tombs : 1 << 20,
		.hash_seed = prng_next(&w->prng),
	};
	for (size_t n = 0; n < 24; n++)
		random[n] = (uint8_t)prng_next(&w->prng);
	for (size_t n = 24; n < sizeof(random); n++)
		random[n] = (uint8_t)(random[n - 24] ^ n); /* nonces need to differ, no more */
	snprintf(h->settings.repl_peer, sizeof(h->settings.repl_peer), "%s", peer < 0 ? "" : "A");
	if (peer >= 0)
		h->settings.repl_peer[0] = (char)('A' + peer);
	h->log = (struct log){sink, h, 0};
	hlc_init(&h->hlc, false, 1);
	h->items = items_new(&config, &h->now, &h->hlc);
	ck_assert_ptr_nonnull(h->items);
	items_observe(h->items, on_change, h);
	h->connect_seq = 0;
	h->state_known[0] = '\0';
	h->lines_known = h->lines;
	h->repl = repl_new(&h->settings, h->items, &h->hlc, &h->now, &h->log, random);
	ck_assert_ptr_nonnull(h->repl);
	return h;
}

void host_step_clock(struct world *w, int i, int64_t ms)
{
	w->hosts[i].now.wall_ms += ms;
}

/* ---- wires -------------------------------------------------------------------------- */

static struct wire *wire_new(struct world *w, int a, int b)
{
	for (int i = 0; i < WIRES; i++)
		if (!w->wires[i].used) {
			w->wires[i] = (struct wire){.used = true, .host = {a, b}};
			return &w->wires[i];
		}
	ck_abort_msg("too many wires");
	return NULL;
}

static void end_closed(struct world *w, struct wire *x, int end, const char *reason)
{
	struct repl_conn *c = x->conn[end];

	(void)w;
	x->conn[end] = NULL;
	if (c)
		repl_conn_closed(c, reason);
}

static void wire_cut(struct world *w, struct wire *x, const char *reason)
{
	end_closed(w, x, 0, reason);
	end_closed(w, x, 1, reason);
	wire_free(x);
}

void host_kill(struct world *w, int i, bool told)
{
	for (int n = 0; n < WIRES; n++) {
		struct wire *x = &w->wires[n];
		if (!x->used || (x->host[0] != i && x->host[1] != i))
			continue;
		for (int end = 0; end < 2; end++)
			if (x->host[end] == i)
				x->conn[end] = NULL; /* repl_free() frees it */
		x->lost = true;
		if (told)
			wire_cut(w, x, "closed by the peer");
	}
	host_release(&w->hosts[i]);
}

void drop_all(struct world *w, bool told)
{
	for (int n = 0; n < WIRES; n++) {
		if (!w->wires[n].used)
			continue;
		w->wires[n].lost = true;
		if (told)
			wire_cut(w, &w->wires[n], "connection reset");
	}
}

int wire_count(const struct world *w)
{
	int count = 0;
	for (int n = 0; n < WIRES; n++)
		count += w->wires[n].used && w->wires[n].conn[0] && w->wires[n].conn[1] && !w->wires[n].lost;
	return count;
}

struct wire *wire_between(struct world *w, int a, int b)
{
	for (int n = 0; n < WIRES; n++) {
		struct wire *x = &w->wires[n];
		if (x->used && !x->lost && x->conn[0] && x->conn[1] &&
		    ((x->host[0] == a && x->host[1] == b) || (x->host[0] == b && x->host[1] == a)))
			return x;
	}
	return NULL;
}

static void try_connect(struct world *w, int i)
{
	struct host *h = &w->hosts[i];
	int to = h->settings.repl_peer[0] - 'A';
	struct host *other = &w->hosts[to];

	if (w->blackhole)
		return;
	if (w->scripted[to] && !w->refuse) {
		struct wire *s = w->dialled[to] = wire_new(w, -1, i);
		s->conn[1] = repl_conn_open(h->repl, true, "a script");
		w->links_made++;
		return;
	}
	if (w->refuse || !other->repl || !repl_wants(other->repl)->link_listen) {
		repl_connect_failed(h->repl, "Connection refused");
		return;
	}
	struct wire *x = wire_new(w, i, to);
	x->conn[1] = repl_conn_open(other->repl, false, "the connector");
	x->conn[0] = repl_conn_open(h->repl, true, "the listener");
	w->links_made++;
	if (!x->conn[0] || !x->conn[1]) {
		wire_cut(w, x, "closed by the peer");
	}
}

/* ---- bytes ---------------------------------------------------------------------------- */

static void pipe_add(struct pipe *p, const void *data, size_t len)
{
	if (p->len + len > p->size) {
		p->size = 2 * (p->len + len);
		p->data = realloc(p->data, p->size);
	}
	memcpy(p->data + p->len, data, len);
	p->len += len;
}

/* Move what one end has to send into its pipe; true if anything moved. */
static bool pump_out(struct world *w, struct wire *x, int end)
{
	struct iovec iov[8];
	struct repl_conn *c = x->conn[end];
	struct pipe *p = &x->pipe[end];

	if (!c || p->len >= WIRE_PIPE_BYTES)
		return false;
	int count = repl_conn_output(c, iov, 1 + (int)prng_below(&w->prng, 8));
	size_t total = 0, most = 1 + prng_below(&w->prng, w->chunk_max);
	for (int i = 0; i < count && total < most; i++) {
		size_t n = iov[i].iov_len < most - total ? iov[i].iov_len : most - total;
		if (!x->lost)
			pipe_add(p, iov[i].iov_base, n);
		total += n;
	}
	if (total)
		repl_conn_sent(c, total);
	return total > 0;
}

static bool pump_in(struct world *w, struct wire *x, int end)
{
	struct pipe *p = &x->pipe[1 - end];
	struct repl_conn *c = x->conn[end];

	if (!c || p->len == 0 || p->stalled || x->lost || !repl_conn_wants_read(c))
		return false;
	if (w->bytes_per_ms && w->bytes_now >= w->bytes_per_ms)
		return false;
	size_t n = 1 + prng_below(&w->prng, w->chunk_max);
	if (n > p->len)
		n = p->len;
	uint8_t *copy = malloc(n); /* exact, so that reading past it is seen */
	memcpy(copy, p->data, n);
	p->len -= n;
	memmove(p->data, p->data + n, p->len);
	w->bytes_now += n;
	repl_conn_input(c, copy, n);
	free(copy);
	return true;
}

/* Closing, and the closing seen by the other end once all was read. */
static bool pump_close(struct world *w, struct wire *x, int end)
{
	struct repl_conn *c = x->conn[end];
	struct iovec iov;

	if (c && repl_conn_closing(c) && repl_conn_output(c, &iov, 1) == 0) {
		end_closed(w, x, end, "closed by this side");
		return true;
	}
	if (c && !x->conn[1 - end] && x->host[1 - end] >= 0 && !x->lost && x->pipe[1 - end].len == 0) {
		end_closed(w, x, end, "closed by the peer");
		return true;
	}
	if (!x->conn[0] && !x->conn[1] && x->host[0] >= 0) {
		wire_free(x);
		return true;
	}
	return false;
}

static bool pump_wires(struct world *w)
{
	bool moved = false;

	for (int n = 0; n < WIRES; n++)
		for (int end = 0; end < 2; end++) {
			struct wire *x = &w->wires[n];
			moved |= x->used && pump_out(w, x, end);
			moved |= x->used && pump_in(w, x, end);
			moved |= x->used && pump_close(w, x, end);
		}
	return moved;
}

static bool pump_host(struct world *w, int i)
{
	struct host *h = &w->hosts[i];
	bool moved = false;

	if (!h->repl)
		return false;
	if (items_next_due_ms(h->items) <= h->now.mono_ms) {
		items_tick(h->items);
		moved |= items_next_due_ms(h->items) <= h->now.mono_ms;
	}
	if (repl_next_due_ms(h->repl) <= h->now.mono_ms) {
		repl_tick(h->repl);
		moved = true;
	}
	repl_turn_end(h->repl);
	const char *broken = repl_check(h->repl);
	ck_assert_msg(!broken, "%s", broken ? broken : "");
	if (repl_wants(h->repl)->connect_seq != h->connect_seq) {
		h->connect_seq = repl_wants(h->repl)->connect_seq;
		try_connect(w, i);
		moved = true;
	}
	return moved;
}

/* Every change of role, link or client ports is a line in the log. */
static void check_log(struct world *w, int i)
{
	struct host *h = &w->hosts[i];
	char state[sizeof(h->state_known)];

	if (!h->repl)
		return;
	snprintf(state, sizeof(state), "%s, %s, %s", repl_role(h->repl) == REPL_MASTER ? "MASTER" : "SLAVE",
		 repl_is_linked(h->repl) ? "link" : "no link",
		 repl_wants(h->repl)->client_ports ? "serves" : "waits");
	bool same = !strcmp(state, h->state_known);
	ck_assert_msg(same || h->lines > h->lines_known, "host %d is \"%s\", was \"%s\", and said nothing:\n%s", i,
		      state, h->state_known, h->said);
	memcpy(h->state_known, state, sizeof(state));
	h->lines_known = h->lines;
}

void run(struct world *w, int64_t ms)
{
	for (; ms > 0; ms--) {
		int rounds = 0;
		w->bytes_now = 0;
		for (bool moved = true; moved; rounds++) {
			moved = pump_wires(w);
			for (int i = 0; i < HOSTS; i++)
				moved |= pump_host(w, i);
			ck_assert_msg(rounds < 200000, "it spins");
		}
		for (int i = 0; i < HOSTS; i++) {
			check_log(w, i);
			w->hosts[i].now.mono_ms++;
			w->hosts[i].now.wall_ms++;
		}
	}
}

void settle(struct world *w, int a, int b)
{
	for (int ms = 0; ms < 60000; ms++) {
		if (repl_is_quiet(w->hosts[a].repl) && repl_is_quiet(w->hosts[b].repl)) {
			const char *broken = items_check(w->hosts[a].items);
			ck_assert_msg(!broken, "%s", broken ? broken : "");
			broken = items_check(w->hosts[b].items);
			ck_assert_msg(!broken, "%s", broken ? broken : "");
			return;
		}
		run(w, 1);
	}
	ck_abort_msg("the pair does not become quiet");
}

/* ---- strangers --------------------------------------------------------------------------- */

struct wire *stranger(struct world *w, int i)
{
	if (!repl_wants(w->hosts[i].repl)->link_listen)
		return NULL;
	struct wire *x = wire_new(w, -1, i);
	x->conn[1] = repl_conn_open(w->hosts[i].repl, false, "a stranger");
	if (!x->conn[1])
		wire_free(x);
	return x->used ? x : NULL;
}

struct wire *stranger_called(struct world *w, int i)
{
	struct wire *x = wire_new(w, -1, i);

	x->conn[1] = repl_conn_open(w->hosts[i].repl, true, "a stranger");
	if (!x->conn[1])
		wire_free(x);
	return x->used ? x : NULL;
}

void stranger_says(struct world *w, struct wire *s, const void *data, size_t len)
{
	(void)w;
	pipe_add(&s->pipe[0], data, len);
}

const uint8_t *stranger_heard(const struct wire *s, size_t *len)
{
	*len = s->pipe[1].len;
	return s->pipe[1].data;
}

bool stranger_is_closed(const struct wire *s)
{
	return !s->conn[1];
}

void stranger_forget(struct wire *s)
{
	wire_free(s);
}

void stranger_closes(struct world *w, struct wire *s)
{
	end_closed(w, s, 1, "closed by the peer");
	wire_free(s);
}

/* ---- clients ------------------------------------------------------------------------------- */

static struct key key_of(struct host *h, const char *key)
{
	return items_key(h->items, key, strlen(key));
}

static void fill(struct host *h, struct item *i, const uint8_t *value, size_t len)
{
	for (size_t done = 0; done < len;) {
		struct iovec iov[4];
		int count = items_value_iov(h->items, i, done, iov, 4);
		for (int n = 0; n < count; n++) {
			memcpy(iov[n].iov_base, value + done, iov[n].iov_len);
			done += iov[n].iov_len;
		}
	}
}

bool put_bytes(struct host *h, const char *key, const uint8_t *value, size_t len, uint32_t flags,
	       uint32_t exptime)
{
	struct key k = key_of(h, key);
	enum items_status status;
	struct item *i = items_reserve(h->items, &k, len, flags, exptime, &status);

	if (!i) {
		items_remove(h->items, &k, CAUSE_CLIENT, NULL);
		return false;
	}
	fill(h, i, value, len);
	items_install(h->items, i, CAUSE_CLIENT, NULL, 0);
	return true;
}

bool put(struct host *h, const char *key, const char *value)
{
	return put_bytes(h, key, (const uint8_t *)value, strlen(value), 0, 0);
}

bool del(struct host *h, const char *key)
{
	struct key k = key_of(h, key);
	return items_remove(h->items, &k, CAUSE_CLIENT, NULL);
}

struct item *find(struct host *h, const char *key)
{
	struct key k = key_of(h, key);
	return items_find(h->items, &k, ITEMS_READ, NULL);
}

bool touch(struct host *h, const char *key, uint32_t exptime)
{
	struct item *i = find(h, key);
	struct amendment a = {.what = AMEND_EXPIRY, .exptime = exptime};

	if (i)
		items_amend(h->items, i, &a, CAUSE_CLIENT);
	return i != NULL;
}

const char *get(struct host *h, const char *key)
{
	static char values[4][256];
	static int turn;
	struct item *i = find(h, key);

	if (!i)
		return NULL;
	char *value = values[turn++ & 3];
	ck_assert_uint_lt(item_value_len(i), 256);
	memcpy(value, item_value(i), item_value_len(i));
	value[item_value_len(i)] = '\0';
	return value;
}

uint64_t version_of(struct host *h, const char *key)
{
	struct item *i = find(h, key);
	return i ? i->version : 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

struct wanted {
	const char *name;
	char value[256];
	bool found;
};

static void on_pair(void *ctx, const char *name, const char *value)
{
	struct wanted *wanted = ctx;
	ck_assert(*name && *value);
	if (strcmp(name, wanted->name) == 0) {
		wanted->found = true;
		snprintf(wanted->value, sizeof(wanted->value), "%s", value);
	}
}

const char *text(const struct host *h, const char *name)
{
	static struct wanted wanted;
	struct stats_sink s = {on_pair, &wanted};

	wanted = (struct wanted){.name = name};
	repl_stats(h->repl, &s);
	if (!wanted.found)
		repl_stats_flat(h->repl, &s);
	ck_assert_msg(wanted.found, "no number %s", name);
	return wanted.value;
}

uint64_t number(const struct host *h, const char *name)
{
	return strtoull(text(h, name), NULL, 10);
}

bool said(const struct host *h, const char *what)
{
	return h->said && strstr(h->said, what);
}
