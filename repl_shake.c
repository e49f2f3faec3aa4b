/*
 * repl_shake.c - opening lines, and which connection becomes the link (section 5).
 *
 * Owns: our line, the judgement of the other side's, refusals, the choice when
 * there are several connections, what changes when a link comes or goes.
 *
 * The side that connected speaks first; the other answers only if it is willing,
 * so an answer is a promise, and nothing of a node's state changes for a
 * connection that is refused. The answered side begins with BEGIN, which makes
 * the connection the link for the other one too.
 *
 * With a shared secret there is one more line each way, and the promise is the
 * last of them:
 *
 *     connecting side                     listening side
 *     REPL/1 ... auth=hmac  ---------->   HEARING
 *     ASKING                <----------   REPL/1 ... auth=hmac    PROVING
 *     PROOF <hex>           ---------->   right: judged as below
 *     LINK                  <----------   PROOF <hex>             PROMISED
 *     BEGIN                 ---------->   LINK
 *
 * Before the proof of the other side nothing is judged by what its line says but
 * whether it is this very node and whether it has a secret at all; a connection
 * without proof replaces nothing, keeps nobody waiting, and moves no clock. A
 * wrong proof, a malformed one and anything else in its place get one and the
 * same answer. The side that connected proves first: who only tries the port is
 * given no proof to test guesses on.
 *
 * A line that this node judges, by what else there is:
 *
 *   own node-id, clock                 refused
 *   a secret on one side only          refused
 *   a link to another node             refused
 *   a promise to another node          deferred: it is kept or not within REPL_PROMISE_MS
 *   a link to the same node-id:
 *     this node made it, and the other
 *     node-id is the larger            both may have connected at once, and the
 *                                      link of the smaller stays; or the old link
 *                                      is dead: it has REPL_PROBE_MS to show life
 *     else                             the other side has lost the old link (it
 *                                      does not connect while it has one): replaced
 *   a connection of ours is asking,
 *     and our node-id is the smaller   deferred: ours may lead to the same node
 *   else                               answered
 *
 * So of two connections made at once the one made by the smaller node-id stays,
 * and exactly one of the two sides waits for it.
 *
 * Must not know: how bytes travel.
 *
 * Covered by: t/test_replication.c, the simulator.
 */
#include "compat.h"
#include "repl_internal.h"

/* ---- our line ------------------------------------------------------------------ */

static void put_line(struct repl_conn *c, const uint8_t *line, size_t len)
{
	struct repl_out *out = &c->out;

	assert(len <= WIRE_LINE_BYTES_MAX);
	if (!repl_out_prepare(out, 2 * WIRE_LINE_BYTES_MAX)) {
		repl_conn_close(c, false);
		return;
	}
	memcpy(repl_out_room(out, WIRE_LINE_BYTES_MAX), line, len);
	repl_out_commit(out, len);
}

static bool has_secret(const struct repl *r)
{
	return r->settings->repl_has_secret;
}

/* This node's part in the connection, and the other one's. */
static enum auth_side our_side(const struct repl_conn *c)
{
	return c->outgoing ? AUTH_CONNECTING : AUTH_LISTENING;
}

static enum auth_side their_side(const struct repl_conn *c)
{
	return c->outgoing ? AUTH_LISTENING : AUTH_CONNECTING;
}

static void send_hello(struct repl_conn *c)
{
	struct repl *r = c->repl;
	struct items_gauges gauges;
	uint8_t line[WIRE_LINE_BYTES_MAX];

	items_gauges(r->items, &gauges);
	struct wire_hello h = {
		.node_id = r->self.node_id,
		.seen_id = r->peer.known ? r->peer.node_id : 0,
		.seen = r->peer.known ? r->peer.seen : 0,
		.clock = r->hlc->last,
		.wall_ms = r->now->wall_ms > 0 ? r->now->wall_ms : 0,
		.items = gauges.item_count,
		.maxitem = r->settings->item_bytes_max,
		.origin = r->hlc->origin,
		.auth = has_secret(r) ? WIRE_AUTH_HMAC : WIRE_AUTH_NONE,
	};
	if (!nonce_next(&r->self.nonces, h.nonce)) {
		repl_conn_close(c, false);
		return;
	}
	size_t len = wire_hello_encode(line, &h);
	repl_auth_said(&c->auth, our_side(c), line, len);
	c->auth.links = r->counts.links;
	put_line(c, line, len);
}

static void send_proof(struct repl_conn *c)
{
	uint8_t line[WIRE_LINE_BYTES_MAX], proof[WIRE_PROOF_BYTES];

	if (!repl_auth_prove(&c->auth, c->repl->settings->repl_link_key, our_side(c), proof)) {
		repl_conn_close(c, false);
		return;
	}
	put_line(c, line, wire_proof_encode(line, proof));
}

static void set_deadline(struct repl_conn *c, int64_t ms)
{
	c->deadline_ms = c->repl->now->mono_ms + ms;
}

void repl_shake_ask(struct repl_conn *c)
{
	assert(c->state == CONN_ASKING);
	send_hello(c);
}

/* ---- refusing -------------------------------------------------------------------- */

/* A refused daemon comes back every second: one line in the log is enough.
 * So many different ones come from somebody who makes them up: a line a second. */
static bool refusal_is_news(struct repl *r, uint64_t node_id)
{
	struct repl_refusal *last = &r->logs.refusal;

	if (last->node_id == node_id && r->now->mono_ms < last->quiet_ms)
		return false;
	if (!log_limit_pass(&r->logs.refused, r->now, NULL))
		return false;
	*last = (struct repl_refusal){node_id, r->now->mono_ms + REPL_REFUSAL_QUIET_MS};
	return true;
}

/* Tell the other side why, and close. */
static void PRINTF_LIKE(2, 3) refuse(struct repl_conn *c, const char *fmt, ...)
{
	struct repl *r = c->repl;
	char reason[WIRE_REASON_BYTES_MAX];
	uint8_t line[WIRE_LINE_BYTES_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	r->counts.links_refused++;
	bool outgoing = c->outgoing;
	put_line(c, line, wire_refusal_encode(line, reason));
	repl_conn_close(c, true);
	if (outgoing) {
		repl_dial_failed(r, reason);
	} else if (refusal_is_news(r, c->hello.node_id)) {
		repl_notice(r, "refused %s (node %016" PRIx64 "): %s", c->addr, c->hello.node_id, reason);
		repl_event(r, reason, "event=refused by=here peer=%s node=%016" PRIx64, c->addr,
			   c->hello.node_id);
	}
}

bool repl_clock_ahead(const struct repl *r, uint64_t version, char *text, size_t size)
{
	int64_t theirs = version_wall_ms(version), ours = r->now->wall_ms;

	if (version == 0 || theirs - ours <= r->settings->repl_max_skew_ms)
		return false;
	snprintf(text, size,
		 "the clocks are too far apart: the peer's says %" PRId64 ", this node's %" PRId64
		 " (Unix seconds), %" PRId64 " s are allowed",
		 theirs / 1000, ours / 1000, r->settings->repl_max_skew_ms / 1000);
	return true;
}

/* The other side would refuse us for the same reason: both look both ways. */
static bool we_are_ahead(const struct repl *r, const struct wire_hello *h, char *text, size_t size)
{
	int64_t ours = version_wall_ms(r->hlc->last);

	if (r->hlc->last == 0 || ours - h->wall_ms <= r->settings->repl_max_skew_ms)
		return false;
	snprintf(text, size,
		 "the clocks are too far apart: this node's says %" PRId64 ", the peer's %" PRId64
		 " (Unix seconds), %" PRId64 " s are allowed",
		 ours / 1000, h->wall_ms / 1000, r->settings->repl_max_skew_ms / 1000);
	return true;
}

/* Before any proof. False: refused. */
static bool may_be_peer(struct repl_conn *c)
{
	struct repl *r = c->repl;
	bool theirs = c->hello.auth == WIRE_AUTH_HMAC;

	if (c->hello.node_id == r->self.node_id)
		refuse(c, "connected to itself: -x names this very daemon");
	else if (theirs && !has_secret(r))
		refuse(c, "the other side wants a shared secret and this node has none");
	else if (!theirs && has_secret(r))
		refuse(c, "this node wants a shared secret and the other side has none");
	else
		return true;
	return false;
}

/* What no other connection has a part in. False: refused. */
static bool is_acceptable(struct repl_conn *c)
{
	struct repl *r = c->repl;
	const struct wire_hello *h = &c->hello;
	char text[WIRE_REASON_BYTES_MAX];

	if (repl_clock_ahead(r, h->clock, text, sizeof(text)) || we_are_ahead(r, h, text, sizeof(text))) {
		refuse(c, "%s", text);
		return false;
	}
	return true;
}

/* ---- choosing --------------------------------------------------------------------- */

static struct repl_conn *conn_in(const struct repl *r, enum conn_state state, const struct repl_conn *except)
{
	for (struct repl_conn *c = r->conns; c; c = c->next)
		if (c->state == state && c != except)
			return c;
	return NULL;
}

/* From the answer on, what is removed here concerns the other side. */
static void promise(struct repl_conn *c)
{
	c->state = CONN_PROMISED;
	c->repl->lost.contact = true;
	set_deadline(c, REPL_PROMISE_MS);
	if (has_secret(c->repl))
		send_proof(c);
	else
		send_hello(c);
}

/* With a secret our line went out before the judgement. If there was a new link
 * since, it may not be true any more: the other side has to come again. */
static bool line_is_stale(const struct repl_conn *c)
{
	return has_secret(c->repl) && c->auth.links != c->repl->counts.links;
}

/* The other side has a second connection to us while there is a link to it. */
static void meet_link(struct repl_conn *c)
{
	struct repl *r = c->repl;
	struct repl_conn *link = r->link;

	if (link->speech == SPEECH_TEXT) {
		refuse(c, "this node is paired with %s (repcached)", link->addr);
		return;
	}
	if (link->hello.node_id != c->hello.node_id) {
		refuse(c, "this node is paired with %s (node %016" PRIx64 ")", link->addr,
		       link->hello.node_id);
		return;
	}
	bool ambiguous = link->outgoing && r->self.node_id < c->hello.node_id;
	if (ambiguous && link->rx_bytes > c->link_rx_at_hello) {
		repl_conn_close(c, false); /* the link lives: this one was made at the same time */
		return;
	}
	if (ambiguous && r->now->mono_ms < c->hello_ms + REPL_PROBE_MS) {
		c->state = CONN_DEFERRED;
		c->deadline_ms = c->hello_ms + REPL_PROBE_MS;
		return;
	}
	if (line_is_stale(c)) {
		repl_conn_close(c, false);
		return;
	}
	repl_link_lost(r, "replaced by a new connection of the same node");
	promise(c);
}

/* Decide about an accepted connection whose line is known. */
static void answer(struct repl_conn *c)
{
	struct repl *r = c->repl;
	struct repl_conn *promised = conn_in(r, CONN_PROMISED, c);
	const struct repl_conn *asking = conn_in(r, CONN_ASKING, NULL);

	assert(!c->outgoing);
	assert(c->state == CONN_DEFERRED || c->state == (has_secret(r) ? CONN_PROVING : CONN_HEARING));
	if (!is_acceptable(c))
		return;
	if (r->link) {
		meet_link(c);
	} else if (promised && promised->hello.node_id != c->hello.node_id) {
		c->state = CONN_DEFERRED;
		c->deadline_ms = promised->deadline_ms + 1;
	} else if (asking && r->self.node_id < c->hello.node_id) {
		c->state = CONN_DEFERRED;
		c->deadline_ms = asking->deadline_ms + 1;
	} else if (line_is_stale(c)) {
		repl_conn_close(c, false);
	} else {
		if (promised)
			repl_conn_close(promised, false);
		promise(c);
	}
}

void repl_shake_broken(struct repl *r)
{
	if (!r->peer.known && r->lost.former == 0)
		r->lost = (struct repl_lost){.contact = false};
}

void repl_shake_deferred(struct repl *r)
{
	for (struct repl_conn *c = r->conns; c; c = c->next)
		if (c->state == CONN_DEFERRED)
			answer(c);
}

/* Our own connection was answered. If another node has our promise by now, that
 * is kept. */
static void answered(struct repl_conn *c)
{
	struct repl *r = c->repl;
	const struct repl_conn *promised = conn_in(r, CONN_PROMISED, c);

	assert(!r->link); /* a link ends all that is asking */
	if (!is_acceptable(c))
		return;
	if (promised && promised->hello.node_id != c->hello.node_id)
		repl_conn_close(c, false);
	else
		repl_link_up(c);
}

/* The other side has said all that it has to say. */
static void judge(struct repl_conn *c)
{
	if (c->outgoing)
		answered(c);
	else
		answer(c);
}

static void heard_hello(struct repl_conn *c)
{
	struct repl *r = c->repl;

	if ((c->state != CONN_ASKING && c->state != CONN_HEARING) || c->auth.asked) {
		repl_conn_junk(c, "a second opening line");
		return;
	}
	c->speech = SPEECH_OWN;
	c->hello_ms = r->now->mono_ms;
	c->link_rx_at_hello = r->link ? r->link->rx_bytes : 0;
	if (!may_be_peer(c))
		return;
	if (!has_secret(r)) {
		judge(c);
		return;
	}
	c->auth.asked = true;
	if (c->outgoing) {
		send_proof(c);
	} else {
		c->state = CONN_PROVING;
		send_hello(c);
	}
}

/* The proof of the other side is what comes next. */
static bool proof_is_due(const struct repl_conn *c)
{
	return c->auth.asked && (c->state == CONN_ASKING || c->state == CONN_PROVING);
}

/* Why is nobody's business. */
static void refuse_unproven(struct repl_conn *c)
{
	refuse(c, "the shared secret was not proved");
}

void repl_shake_proof(struct repl_conn *c, const uint8_t *line, size_t len)
{
	uint8_t proof[WIRE_PROOF_BYTES];

	if (!proof_is_due(c))
		repl_conn_junk(c, "a proof that nobody asked for");
	else if (wire_proof_decode(line, len, proof) &&
		 repl_auth_holds(&c->auth, c->repl->settings->repl_link_key, their_side(c), proof))
		judge(c);
	else
		refuse_unproven(c);
}

static void heard_refusal(struct repl_conn *c, const char *text)
{
	struct repl *r = c->repl;
	char reason[2 * WIRE_REASON_BYTES_MAX];

	snprintf(reason, sizeof(reason), "refused by %s: %s", c->addr, text);
	bool outgoing = c->outgoing;
	repl_conn_close(c, false);
	if (outgoing) {
		repl_dial_failed(r, reason);
	} else if (refusal_is_news(r, c->hello.node_id)) {
		repl_notice(r, "%s", reason);
		repl_event(r, text, "event=refused by=peer peer=%s node=%016" PRIx64, c->addr,
			   c->hello.node_id);
	}
}

void repl_shake_line(struct repl_conn *c, enum wire_line line, const char *text)
{
	assert(line != WIRE_LINE_MORE);
	if (line == WIRE_LINE_HELLO) {
		heard_hello(c);
	} else if (line == WIRE_LINE_REFUSED && c->state != CONN_HEARING) {
		heard_refusal(c, text);
	} else if (proof_is_due(c)) {
		refuse_unproven(c);
	} else {
		repl_conn_junk(c, line == WIRE_LINE_BAD ? text : "a refusal that nobody asked for");
	}
}

void repl_shake_timeout(struct repl_conn *c)
{
	bool outgoing = c->outgoing;

	assert(c->state != CONN_LINK);
	if (repl_legacy_timeout(c))
		return;
	if (c->state == CONN_DEFERRED) {
		answer(c);
		return;
	}
	repl_conn_close(c, false);
	if (outgoing)
		repl_dial_failed(c->repl, "no answer in time");
}

/* ---- a link comes --------------------------------------------------------------------- */

/* Another origin than the peer's; the side that connected takes it. */
static void change_origin(struct repl *r, uint16_t theirs)
{
	uint16_t other = (uint16_t)(1 + prng_below(&r->self.prng, VERSION_ORIGIN_MAX - 1));

	r->hlc->origin = other < theirs ? other : (uint16_t)(other + 1);
	assert(r->hlc->origin != theirs && r->hlc->origin <= VERSION_ORIGIN_MAX);
}

void repl_leave_peer(struct repl *r)
{
	struct repl_peer *p = &r->peer;
	struct repl_lost *lost = &r->lost;
	uint64_t since = p->since;

	if (p->known) {
		uint64_t settled = p->acked > p->received_max ? p->acked : p->received_max;
		if (settled > lost->former)
			lost->former = settled;
		/* Below the barrier nothing exists that could be doubted. */
		bool matters = lost->former > items_flush_state(r->items)->barrier;
		if (matters && lost->former > lost->below)
			lost->below = lost->former;
		if (matters && lost->former > lost->unsent)
			lost->unsent = lost->former;
		/* A version of its own: what any peer has seen so far is below it. */
		since = hlc_next(r->hlc, r->now->wall_ms);
	}
	*p = (struct repl_peer){.since = since};
	items_unsettle(r->items);
}

/* Take in the other side's line; returns the cut of the first walk. */
static uint64_t adopt_peer(struct repl *r, const struct repl_conn *c)
{
	const struct wire_hello *h = &c->hello;
	struct repl_peer *p = &r->peer;

	hlc_take(r->hlc, h->clock);
	if (!p->known || p->node_id != h->node_id)
		repl_leave_peer(r);
	p->known = true;
	p->node_id = h->node_id;
	r->lost.contact = true;
	r->legacy.written = 0; /* what comes from this peer was sent to nobody else */
	p->clock_offset_ms = h->wall_ms - r->now->wall_ms;
	memcpy(p->addr, c->addr, sizeof(p->addr));
	if (c->outgoing && h->origin == r->hlc->origin)
		change_origin(r, h->origin);
	uint64_t cut = h->seen_id == r->self.node_id ? h->seen : 0;
	if (cut < p->since || cut > r->hlc->last)
		cut = 0;
	if (cut)
		repl_acked(r, cut);
	return cut;
}

static void close_others(struct repl *r, const struct repl_conn *link)
{
	for (struct repl_conn *c = r->conns; c; c = c->next)
		if (c != link && (c->state == CONN_ASKING || c->state == CONN_PROMISED ||
				  (c->state == CONN_DEFERRED && c->hello.node_id == link->hello.node_id)))
			repl_conn_close(c, false);
}

static size_t body_bytes_max(const struct repl *r, const struct wire_hello *h)
{
	uint64_t theirs = h->maxitem < ITEM_BYTES_LIMIT ? h->maxitem : ITEM_BYTES_LIMIT;
	uint64_t most = theirs > r->settings->item_bytes_max ? theirs : r->settings->item_bytes_max;
	return (size_t)most + WIRE_ITEM_BYTES + WIRE_KEY_BYTES_MAX;
}

void repl_link_take(struct repl_conn *c)
{
	struct repl *r = c->repl;
	enum repl_role role = c->outgoing ? REPL_SLAVE : REPL_MASTER;
	const char *name = role == REPL_SLAVE ? "SLAVE" : "MASTER";

	assert(!r->link && c->state < CONN_LINK);
	close_others(r, c);
	c->state = CONN_LINK;
	r->link = c;
	repl_event(r, NULL, "event=link_up role=%s peer=%s node=%016" PRIx64, name, c->addr, c->hello.node_id);
	if (role != r->self.role)
		repl_event(r, "the link is up", "event=role role=%s", name);
	r->self.role = role;
	r->dial = (struct repl_dial){.backoff_ms = REPL_RETRY_FIRST_MS};
	r->counts.links++;
}

void repl_link_up(struct repl_conn *c)
{
	struct repl *r = c->repl;

	assert(c->state == CONN_ASKING || c->state == CONN_PROMISED);
	repl_link_take(c);
	c->in.body_max = body_bytes_max(r, &c->hello);
	uint64_t cut = adopt_peer(r, c);
	repl_notice(r, "link with %s (node %016" PRIx64 ", %" PRIu64 " items) is up, this node is %s%s",
		    c->addr, c->hello.node_id, c->hello.items, c->outgoing ? "SLAVE" : "MASTER",
		    cut ? "; the peer gets what it missed" : "; the peer gets a full copy");
	items_expect(r->items, c->hello.items);
	repl_recv_start(r);
	repl_send_start(r, cut);
	repl_tell(r, REPL_NEWS_UP, 0);
	repl_reconcile(r);
}

/* ---- a link goes ------------------------------------------------------------------------ */

/* What an operator wants to know of a node that stops. */
static const char *at_the_end(const struct repl *r)
{
	if (!r->self.stopping)
		return "";
	return repl_send_is_quiet(r) ? "; the peer has everything"
				     : "; the peer may lack what it has not acknowledged";
}

void repl_link_lost(struct repl *r, const char *reason)
{
	struct repl_conn *c = r->link;
	const char *end = at_the_end(r);

	assert(c && c->state == CONN_LINK);
	repl_apply_drop_value(c);
	if (repl_is_text(r))
		repl_legacy_lost(r);
	repl_send_broken(r);
	if (r->recv.walking)
		repl_event(r, NULL, "event=walk_end way=in result=broken");
	r->link = NULL;
	repl_send_stop(r);
	repl_tell(r, REPL_NEWS_DOWN, 0);
	r->recv = (struct repl_recv){0};
	r->dial.retry_ms = r->now->mono_ms + (int64_t)prng_below(&r->self.prng, REPL_RETRY_FIRST_MS);
	repl_conn_close(c, false);
	repl_event(r, reason, "event=link_down peer=%s node=%016" PRIx64, c->addr, c->hello.node_id);
	if (c->speech == SPEECH_TEXT)
		repl_notice(r, "link with %s (repcached) is lost: %s%s", c->addr, reason, end);
	else
		repl_notice(r, "link with %s (node %016" PRIx64 ") is lost: %s%s", c->addr, c->hello.node_id,
			    reason, end);
	if (r->self.role == REPL_SLAVE)
		repl_lead(r, r->self.waiting ? "the first copy is not complete" : "the link is lost");
	repl_reconcile(r);
}
