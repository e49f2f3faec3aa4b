/*
 * replication.c - life and role of this node's half of the pair. See
 * replication.h.
 *
 * Owns: when to connect, when to listen, when the client ports open, silence,
 * the heartbeat's timer, draining, reaping; the order of things in a turn. The
 * other files are listed in repl_internal.h.
 *
 *   -X only      MASTER: listens, serves
 *   -x           SLAVE, waiting: client ports closed, does not listen
 *                  link and first copy complete -> SLAVE, serving
 *                  anything else                -> MASTER, serving, tries on
 *   link is up   MASTER on the side that was connected to, SLAVE on the other
 *   link lost    MASTER on both; who has -x tries on
 *
 * A SLAVE does not listen. Deadlines use the monotonic clock only, so a step of
 * the wall clock costs nothing but what section 2 says about versions.
 *
 * Must not know: sockets, frames.
 *
 * Invariants
 *  [M1] at most one connection is the link; r->link is it
 *  [M2] a node without a link is MASTER or waits for its first connection
 *  [M3] client_ports never goes back to false
 *  [M4] repl_next_due_ms() is now only if repl_tick() has something to do: an
 *       idle pair sleeps until the next heartbeat
 *
 * Covered by: t/test_replication.c, the simulator.
 */
#include "compat.h"
#include "repl_internal.h"
#include "watch.h"

void repl_notice(struct repl *r, const char *fmt, ...)
{
	char text[LOG_LINE_BYTES_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_printf(r->logs.log, LOG_NOTICE, "replication: %s", text);
}

void repl_event(struct repl *r, const char *reason, const char *fmt, ...)
{
	char fields[WATCH_LINE_BYTES_MAX], text[3 * WIRE_REASON_BYTES_MAX + 1];
	va_list args;

	if (!r->events.fn)
		return;
	va_start(args, fmt);
	int len = vsnprintf(fields, sizeof(fields), fmt, args);
	va_end(args);
	assert(len >= 0 && (size_t)len < sizeof(fields));
	if (reason) {
		size_t reason_len = strnlen(reason, WIRE_REASON_BYTES_MAX);
		text[format_url(text, (const uint8_t *)reason, reason_len)] = '\0';
		snprintf(fields + len, sizeof(fields) - (size_t)len, " reason=%s", text);
	}
	r->events.fn(r->events.ctx, fields);
}

/* ---- life ------------------------------------------------------------------------- */

static bool has_address(const struct repl *r)
{
	return r->settings->repl_peer[0] != '\0';
}

struct repl *repl_new(const struct settings *settings, struct items *items, struct hlc *hlc,
		      const struct now *now, struct log *log, const uint8_t random[REPL_ENTROPY_BYTES])
{
	struct repl *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->settings = settings;
	r->items = items;
	r->hlc = hlc;
	r->now = now;
	r->logs.log = log;
	uint64_t id = load_be64(random);
	r->self.node_id = id ? id : 1;
	r->self.prng.state = load_be64(random + 16);
	memcpy(r->self.nonces.key, random + 24, sizeof(r->self.nonces.key));
	uint16_t origin = load_be64(random + 8) & VERSION_ORIGIN_MAX;
	hlc->origin = origin ? origin : 1;
	hlc->standalone = false;
	r->self.waiting = has_address(r);
	r->self.role = has_address(r) ? REPL_SLAVE : REPL_MASTER;
	r->dial.retry_ms = now->mono_ms;
	r->dial.backoff_ms = REPL_RETRY_FIRST_MS;
	items_on_tomb_lost(items, repl_lost_tomb, r);
	repl_notice(r, "node %016" PRIx64 " starts as %s", r->self.node_id,
		    has_address(r) ? "SLAVE: client ports open after the first copy" : "MASTER");
	repl_reconcile(r);
	return r;
}

void repl_free(struct repl *r)
{
	if (!r)
		return;
	items_on_tomb_lost(r->items, NULL, NULL);
	while (r->conns) {
		struct repl_conn *c = r->conns;
		r->conns = c->next;
		repl_apply_drop_value(c);
		repl_conn_free(c);
	}
	free(r);
}

const struct repl_wants *repl_wants(const struct repl *r)
{
	return &r->wants;
}

void repl_on_news(struct repl *r, void (*fn)(void *ctx, enum repl_news news, uint64_t version), void *ctx)
{
	r->news.fn = fn;
	r->news.ctx = ctx;
}

void repl_on_event(struct repl *r, void (*fn)(void *ctx, const char *fields), void *ctx)
{
	r->events.fn = fn;
	r->events.ctx = ctx;
}

void repl_tell(struct repl *r, enum repl_news news, uint64_t version)
{
	if (r->news.fn)
		r->news.fn(r->news.ctx, news, version);
}

enum repl_role repl_role(const struct repl *r)
{
	return r->self.role;
}

bool repl_is_linked(const struct repl *r)
{
	return r->link != NULL;
}

uint64_t repl_lost_below(const struct repl *r)
{
	return r->lost.below;
}

/* ---- role --------------------------------------------------------------------------- */

bool repl_listens(const struct repl *r)
{
	return r->self.role == REPL_MASTER && !r->self.stopping;
}

void repl_reconcile(struct repl *r)
{
	struct repl_wants *w = &r->wants;

	assert(r->link || r->self.role == REPL_MASTER || r->self.waiting); /* [M2] */
	w->client_ports = w->client_ports || !r->self.waiting;             /* [M3] */
	w->link_listen = repl_listens(r) && r->self.listen_retry_ms == 0;
	w->drained = r->self.stopping &&
		     (!r->link || r->now->mono_ms >= r->self.drain_ms || repl_send_is_quiet(r));
}

void repl_lead(struct repl *r, const char *why)
{
	assert(!r->link);
	r->self.role = REPL_MASTER;
	r->self.waiting = false;
	repl_notice(r, "this node is MASTER: %s", why);
	repl_event(r, why, "event=role role=MASTER");
	repl_reconcile(r);
}

/* ---- connecting ------------------------------------------------------------------------ */

bool repl_link_is_near(const struct repl *r)
{
	for (const struct repl_conn *c = r->conns; c; c = c->next)
		if (c->state == CONN_ASKING || c->state == CONN_PROMISED || c->state == CONN_LINK)
			return true;
	return false;
}

void repl_dial_failed(struct repl *r, const char *reason)
{
	struct repl_dial *d = &r->dial;
	int half = d->backoff_ms / 2;

	d->connecting = false;
	d->patient = false;
	d->retry_ms = r->now->mono_ms + half + (int64_t)prng_below(&r->self.prng, (uint64_t)half + 1);
	d->backoff_ms = 2 * d->backoff_ms < REPL_RETRY_MAX_MS ? 2 * d->backoff_ms : REPL_RETRY_MAX_MS;
	if (r->self.stopping)
		return;
	if (!repl_link_is_near(r) && strcmp(d->said, reason) != 0 &&
	    log_limit_pass(&r->logs.dial, r->now, NULL)) {
		snprintf(d->said, sizeof(d->said), "%s", reason);
		repl_notice(r, "no link with %s port %d: %s; trying on", r->settings->repl_peer,
			    r->settings->repl_port, reason);
		repl_event(r, reason, "event=no_link");
	}
	if (r->self.waiting && !r->link)
		repl_lead(r, "no peer to copy from");
}

void repl_connect_failed(struct repl *r, const char *reason)
{
	if (r->dial.connecting)
		repl_dial_failed(r, reason);
}

void repl_listen_failed(struct repl *r, const char *reason)
{
	repl_notice(r, "cannot listen for a peer: %s; trying on", reason);
	repl_event(r, reason, "event=cannot_listen");
	r->self.listen_retry_ms = r->now->mono_ms + REPL_LISTEN_RETRY_MS;
	repl_reconcile(r);
}

/* When the dial has something to do; INT64_MAX while another connection may
 * become the link. */
static int64_t dial_due_ms(const struct repl *r)
{
	if (!has_address(r) || r->self.stopping || repl_link_is_near(r))
		return INT64_MAX;
	return r->dial.connecting ? r->dial.deadline_ms : r->dial.retry_ms;
}

static void tick_dial(struct repl *r)
{
	struct repl_dial *d = &r->dial;

	if (dial_due_ms(r) > r->now->mono_ms)
		return;
	if (d->connecting) {
		repl_dial_failed(r, "connecting took too long");
		return;
	}
	d->connecting = true;
	d->deadline_ms = r->now->mono_ms + REPL_CONNECT_MS;
	r->wants.connect_seq++;
}

/* ---- timers ------------------------------------------------------------------------------ */

/* Silence of the peer, unless it is this node that does not read, or a repcached,
 * which has no heartbeat. */
static int64_t silence_due_ms(const struct repl *r)
{
	if (!r->link || repl_is_text(r) || !repl_conn_wants_read(r->link))
		return INT64_MAX;
	return r->link->rx_ms + r->settings->repl_timeout_ms;
}

static void tick_link(struct repl *r)
{
	if (silence_due_ms(r) <= r->now->mono_ms) {
		char reason[WIRE_REASON_BYTES_MAX];
		snprintf(reason, sizeof(reason), "nothing was heard for %d ms", r->settings->repl_timeout_ms);
		repl_link_lost(r, reason);
	}
	repl_put_heartbeat(r);
}

static void reap(struct repl *r)
{
	for (struct repl_conn **at = &r->conns; *at;) {
		struct repl_conn *c = *at;
		if (c->state != CONN_GONE) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		repl_conn_free(c);
	}
}

static int64_t conn_due_ms(const struct repl_conn *c)
{
	switch (c->state) {
	case CONN_HEARING:
	case CONN_PROVING:
	case CONN_ASKING:
	case CONN_DEFERRED:
	case CONN_PROMISED:
		return c->deadline_ms;
	case CONN_CLOSING: /* until the shell has closed it, only its output matters */
		return repl_out_len(&c->out) > 0 ? c->deadline_ms : INT64_MAX;
	case CONN_LINK:
		return INT64_MAX;
	case CONN_GONE:
		return INT64_MIN;
	}
	return INT64_MAX;
}

static void tick_conns(struct repl *r)
{
	for (struct repl_conn *c = r->conns; c; c = c->next) {
		if (conn_due_ms(c) > r->now->mono_ms || c->state == CONN_GONE)
			continue;
		if (c->state == CONN_CLOSING)
			repl_out_release(&c->out); /* nobody reads its last line */
		else
			repl_shake_timeout(c);
	}
}

static bool has_work(const struct repl *r)
{
	return r->link && (repl_send_can_step(r) || r->send.failed || repl_recv_can_step(r));
}

void repl_turn_end(struct repl *r)
{
	repl_shake_deferred(r);
	if (r->link)
		repl_recv_step(r);
	if (r->link)
		repl_send_step(r);
	if (r->link)
		repl_put_marks(r);
	if (r->self.stopping)
		repl_reconcile(r);
}

void repl_tick(struct repl *r)
{
	if (r->self.listen_retry_ms && r->self.listen_retry_ms <= r->now->mono_ms)
		r->self.listen_retry_ms = 0;
	reap(r);
	tick_conns(r);
	tick_link(r);
	tick_dial(r);
	repl_turn_end(r);
	repl_reconcile(r);
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t repl_next_due_ms(const struct repl *r)
{
	int64_t now = r->now->mono_ms;

	if (has_work(r))
		return now;
	int64_t due = earlier(dial_due_ms(r), silence_due_ms(r));
	due = earlier(due, repl_heartbeat_due_ms(r));
	if (r->self.listen_retry_ms)
		due = earlier(due, r->self.listen_retry_ms);
	if (r->self.stopping && !r->wants.drained)
		due = earlier(due, r->self.drain_ms);
	for (const struct repl_conn *c = r->conns; c; c = c->next)
		due = earlier(due, conn_due_ms(c));
	return due < now ? now : due;
}

/* ---- stopping ------------------------------------------------------------------------------ */

void repl_stop(struct repl *r)
{
	if (r->self.stopping)
		return;
	r->self.stopping = true;
	r->self.drain_ms = r->now->mono_ms + r->settings->repl_drain_ms;
	for (struct repl_conn *c = r->conns; c; c = c->next)
		if (c != r->link)
			repl_conn_close(c, false);
	if (r->link)
		repl_notice(r, "stopping: at most %d ms for what the peer has not acknowledged",
			    r->settings->repl_drain_ms);
	else
		repl_notice(r, "stopping: there is no link");
	repl_turn_end(r);
}

/* ---- checking ------------------------------------------------------------------------------- */

static const char *check_conn(const struct repl *r, const struct repl_conn *c)
{
	if ((c->state == CONN_LINK) != (c == r->link))
		return "repl: [M1] a connection that is the link and is not";
	if (c->in.part_len > sizeof(c->in.part))
		return "repl: [K1] unfinished input";
	if ((c->in.fate == VALUE_FILL) != (c->in.reserved != NULL))
		return "repl: [A3] a reservation without its frame";
	if (c != r->link && c->in.fate != VALUE_NONE)
		return "repl: a value arrives, but not from the peer";
	return repl_out_check(&c->out);
}

const char *repl_check(const struct repl *r)
{
	int open = 0;

	for (const struct repl_conn *c = r->conns; c; c = c->next) {
		const char *error = check_conn(r, c);
		if (error)
			return error;
		open += c->state < CONN_CLOSING;
	}
	if (open > REPL_CONNS_MAX)
		return "repl: too many connections";
	if (!r->link && r->self.role != REPL_MASTER && !r->self.waiting)
		return "repl: [M2] a slave without a link";
	if ((r->link != NULL) != (r->send.mode != SEND_NONE))
		return "repl: sending without a link";
	if (r->lost.unsent > r->lost.below)
		return "repl: [R5] more lost than lost_below says";
	if (r->link && r->link->out.copied_bytes > r->settings->repl_buffer_bytes + REPL_OVERRUN_BYTES)
		return "repl: more waits to be sent than repl_buffer allows (P5)";
	return NULL;
}

bool repl_is_quiet(const struct repl *r)
{
	return r->link && repl_send_is_quiet(r) && repl_recv_is_quiet(r) && items_tomb_count(r->items) == 0;
}
