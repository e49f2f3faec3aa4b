/*
 * sim_net.c - connections between hosts, as byte streams.
 *
 * Owns: the wires. A wire is one TCP connection: two pipes of limited capacity,
 * each delivered in chunks of random size after random delays. What can happen
 * to it: a refused, timed out or late connect; both hosts connecting to each
 * other at once; a stall (the reader stops, bytes wait); a loss (bytes vanish,
 * each side notices at its own time or never: half-open); a reset; an orderly
 * close, after which the other side still reads what was sent.
 *
 * Must not know: what the bytes mean (it shows them to sim_sniff.c).
 *
 *   connect ---> EV_CONNECT --+--> EV_ACCEPT    (side 1: repl_conn_open)
 *                             +--> EV_CONNECTED (side 0: repl_conn_open)
 *   net_pump: repl_conn_output -> pipe -> EV_DELIVER -> repl_conn_input
 *
 * Invariants
 *  [X1] bytes arrive in order, once, or not at all
 *  [X2] a repl_conn is not used after repl_conn_closed()
 *  [X3] what waits for the wire stays within repl_buffer and a bit (P5)
 *
 * Covered by: every run.
 */
#include "compat.h"
#include "sim.h"

#define CONNECT_TIMEOUT_US 3000000
#define READ_HELD_RETRY_US 500
#define OUTPUT_PIECES 64
#define WAITING_PIECES 1024 /* all that waits */
/* What may exceed repl_buffer: control frames, and in a walk the states of one
 * bucket of the index, large values by reference. */
#define OUTPUT_SLACK_BYTES 1024
#define BUCKET_STATES 13
#define CONTROL_FRAMES_MAX 2
#define COUNTED_BYTES_MAX 65536

static int64_t delay(struct sim *s)
{
	uint32_t max = s->quiescing ? 100 : s->plan.config.delay_us_max;

	return s->now_us + 1 + (int64_t)prng_below(&s->net, max + 1);
}

static struct host *end_host(struct sim *s, const struct wire *w, int side)
{
	struct host *h = &s->hosts[w->host[side]];

	return h->up && h->incarnation == w->incarnation[side] ? h : NULL;
}

bool net_reachable(struct sim *s, int a, int b)
{
	if (a != 1 && b != 1)
		return false;
	int other = a == 1 ? b : a;
	if (other == s->side_a)
		return !s->apart;
	/* while healing nobody else may take the place that the pair is to fill */
	return s->plan.config.pester && (!s->quiescing || net_link(s));
}

/* ---- ends --------------------------------------------------------------------------- */

static void wire_maybe_free(struct wire *w)
{
	if (w->state[0] != END_CLOSED || w->state[1] != END_CLOSED)
		return;
	for (int side = 0; side < 2; side++) {
		free(w->pipe[side].data);
		sniff_release(&w->pipe[side].out);
		sniff_release(&w->pipe[side].in);
	}
	memset(w, 0, sizeof(*w));
}

static void push_wire(struct sim *s, int64_t at, const struct wire *w, int type, int side)
{
	sim_push(s, at, (struct event){.type = (uint8_t)type, .side = (uint8_t)side,
	                               .index = (int)(w - s->wires), .generation = w->generation});
}

/* The next delivery of what `side` sent; an earlier plan is void. */
static void push_delivery(struct sim *s, int64_t at, struct wire *w, int side)
{
	struct pipe *p = &w->pipe[side];

	p->scheduled = true;
	p->deliver_at_us = at > s->now_us ? at : s->now_us;
	push_wire(s, at, w, EV_DELIVER, side);
}

/* This end hears that the connection is over. */
static void end_hears(struct sim *s, struct wire *w, int side, const char *reason)
{
	struct host *h = end_host(s, w, side);
	enum end_state was = w->state[side];

	w->state[side] = END_CLOSED;
	if (h && was == END_OPEN) {
		struct repl_conn *c = w->conn[side];
		host_turn(h);
		w->conn[side] = NULL;
		sim_say(s, "%c: wire %d is over: %s", 'A' + h->id, (int)(w - s->wires), reason);
		if (w->walking[side])
			sim_cover(s, COV_walk_aborted);
		repl_conn_closed(c, reason);
		check_link_gone(h, (int)(w - s->wires));
	} else if (h && was == END_PENDING && side == 0) {
		host_turn(h);
		sim_cover(s, COV_connect_refused);
		repl_connect_failed(node_repl(h->node), reason);
	}
	wire_maybe_free(w);
}

/* This end closes of its own will: the other reads what was sent, then the end. */
static void end_closes(struct sim *s, struct wire *w, int side, bool announced)
{
	int index = (int)(w - s->wires);
	struct pipe *p = &w->pipe[side];

	if (announced && w->state[1 - side] != END_CLOSED) {
		p->fin = true;
		if (!p->scheduled)
			push_delivery(s, delay(s), w, side);
	} else if (w->state[1 - side] != END_CLOSED && !w->lost) {
		w->lost = true;
	}
	struct host *h = end_host(s, w, side);
	struct repl_conn *c = w->conn[side];
	w->conn[side] = NULL;
	w->state[side] = END_CLOSED;
	if (h && c) {
		repl_conn_closed(c, "closed");
		check_link_gone(h, index);
	}
	wire_maybe_free(w);
}

static void cover_loss(struct sim *s, const struct wire *w)
{
	bool a = w->pipe[0].len > w->pipe[0].off, b = w->pipe[1].len > w->pipe[1].off;

	sim_cover(s, a || b ? COV_drop_inflight : COV_drop_idle);
	if (a && b)
		sim_cover(s, COV_drop_both_lose);
}

void net_drop(struct sim *s, struct wire *w, const int notice_ms[2])
{
	if (!w->used || w->lost)
		return;
	cover_loss(s, w);
	w->lost = true;
	for (int side = 0; side < 2; side++)
		if (notice_ms[side] >= 0)
			push_wire(s, s->now_us + notice_ms[side] * INT64_C(1000), w, EV_NOTICE, side);
}

void net_reset(struct sim *s, struct wire *w)
{
	const int at_once[2] = {(int)prng_below(&s->net, 3), (int)prng_below(&s->net, 3)};

	sim_cover(s, COV_reset);
	net_drop(s, w, at_once);
}

void net_stall(struct sim *s, int from_host, int64_t until_us)
{
	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		for (int side = 0; side < 2; side++) {
			if (!w->used || w->host[side] != from_host)
				continue;
			w->pipe[side].stalled_until_us = until_us;
			w->was_stalled |= until_us != 0;
			if (!until_us && w->pipe[side].scheduled)
				push_delivery(s, s->now_us, w, side);
		}
	}
}

void net_host_gone(struct host *h, bool silent)
{
	struct sim *s = h->sim;

	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		for (int side = 0; side < 2; side++) {
			if (!w->used || w->host[side] != h->id || w->state[side] == END_CLOSED)
				continue;
			w->conn[side] = NULL; /* dies with its node */
			end_closes(s, w, side, !silent);
			if (w->used && !silent && prng_below(&s->net, 2)) {
				int at[2] = {-1, -1};
				at[1 - side] = (int)prng_below(&s->net, 5);
				net_drop(s, w, at);
			}
		}
	}
}

void net_stop_listening(struct host *h)
{
	struct sim *s = h->sim;

	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		if (w->used && w->host[1] == h->id && w->state[1] == END_PENDING) {
			const int notice[2] = {0, 0};
			net_drop(s, w, notice);
		}
	}
}

/* ---- connecting ------------------------------------------------------------------------ */

void net_connect(struct host *h)
{
	struct sim *s = h->sim;

	int64_t slow = (int64_t)prng_below(&s->net, s->plan.config.connect_us_max + 1);
	sim_push(s, delay(s) + slow,
	         (struct event){.type = EV_CONNECT, .host = (uint8_t)h->id, .index = h->incarnation,
	                        .generation = ++h->connect_attempt});
}

static struct wire *wire_new(struct sim *s, struct host *from, struct host *to)
{
	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		if (w->used)
			continue;
		memset(w, 0, sizeof(*w));
		w->used = true;
		w->generation = ++s->generations;
		w->host[0] = from->id;
		w->host[1] = to->id;
		w->incarnation[0] = from->incarnation;
		w->incarnation[1] = to->incarnation;
		return w;
	}
	return NULL;
}

static void connect_arrives(struct sim *s, const struct event *e)
{
	struct host *h = &s->hosts[e->host];
	struct host *to = sim_peer(s, h);

	if (!h->up || h->incarnation != (uint32_t)e->index || h->connect_attempt != e->generation)
		return;
	if (!net_reachable(s, h->id, to->id) && !s->apart_refuses && e->side == 0) {
		struct event again = *e;
		again.side = 1; /* the answer that never comes */
		sim_push(s, s->now_us + CONNECT_TIMEOUT_US, again);
		return;
	}
	struct wire *w = NULL;
	if (e->side == 0 && net_reachable(s, h->id, to->id) && to->up && to->listening)
		w = wire_new(s, h, to);
	if (!w) {
		host_turn(h);
		sim_cover(s, e->side ? COV_connect_timeout : COV_connect_refused);
		sim_say(s, "%c: connect to %c fails", 'A' + h->id, 'A' + to->id);
		repl_connect_failed(node_repl(h->node),
		                    e->side ? "Connection timed out" : "Connection refused");
		return;
	}
	int64_t slow = (int64_t)prng_below(&s->net, s->plan.config.connect_us_max + 1);
	push_wire(s, delay(s), w, EV_CONNECTED, 0);
	push_wire(s, delay(s) + slow / 4, w, EV_ACCEPT, 1);
}

static bool other_way_exists(struct sim *s, const struct wire *w)
{
	for (int i = 0; i < SIM_WIRES; i++)
		if (s->wires[i].used && s->wires[i].host[0] == w->host[1] &&
		    s->wires[i].host[1] == w->host[0])
			return true;
	return false;
}

/* EV_CONNECTED (side 0) and EV_ACCEPT (side 1): the node gets its end. */
static void end_opens(struct sim *s, struct wire *w, int side)
{
	struct host *h = end_host(s, w, side);
	char name[32];

	if (!h || w->state[side] != END_PENDING)
		return;
	if (w->lost) {
		if (side == 0)
			push_wire(s, s->now_us + CONNECT_TIMEOUT_US, w, EV_NOTICE, 0);
		else
			w->state[1] = END_CLOSED;
		wire_maybe_free(w);
		return;
	}
	if (side == 1 && !h->listening) {
		const int notice[2] = {0, 0};
		net_drop(s, w, notice);
		return;
	}
	host_turn(h);
	snprintf(name, sizeof(name), "%c:%d", 'a' + w->host[1 - side], (int)(w - s->wires));
	w->conn[side] = repl_conn_open(node_repl(h->node), side == 0, name);
	sim_say(s, "%c: wire %d %s %s%s", 'A' + h->id, (int)(w - s->wires),
	        side ? "accepted from" : "connected to", name, w->conn[side] ? "" : " (refused)");
	if (!w->conn[side]) {
		end_closes(s, w, side, true);
		return;
	}
	w->state[side] = END_OPEN;
	w->empty_event[side] = s->event_count;
	sim_cover(s, COV_links_opened);
	if (other_way_exists(s, w))
		sim_cover(s, COV_both_connected);
	struct pipe *in = &w->pipe[1 - side];
	if (in->len > in->off || in->fin)
		push_delivery(s, delay(s), w, 1 - side);
}

/* ---- sending ------------------------------------------------------------------------------ */

static void pipe_append(struct pipe *p, const struct iovec *iov, int n, size_t take)
{
	if (p->off) {
		memmove(p->data, p->data + p->off, p->len - p->off);
		p->len -= p->off;
		p->off = 0;
	}
	p->data = realloc(p->data, p->len + take);
	if (!p->data)
		abort();
	for (int i = 0; i < n && take; i++) {
		size_t len = iov[i].iov_len < take ? iov[i].iov_len : take;
		memcpy(p->data + p->len, iov[i].iov_base, len);
		p->len += len;
		take -= len;
	}
}

static size_t iov_total(const struct iovec *iov, int n)
{
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

/* What waits whole: at most a MARK and an ACK, and those of the end of a walk. */
static void check_control(struct sim *s, struct host *h, const struct sniff *n, const struct iovec *iov,
                          int pieces)
{
	size_t total = iov_total(iov, pieces), len = 0;
	uint8_t *all = malloc(total + 1);

	if (!all)
		abort();
	for (int i = 0; i < pieces; i++) {
		memcpy(all + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	int counts[WIRE_TYPE_COUNT] = {0};
	sniff_count_control(n, all, len, counts);
	int count = counts[WIRE_MARK] + counts[WIRE_ACK];
	if (counts[WIRE_FLUSH] > 1)
		sim_fail(s, "P5", "%c: %d flush states wait to be sent", 'A' + h->id, counts[WIRE_FLUSH]);
	if (count > CONTROL_FRAMES_MAX)
		sim_fail(s, "P5", "%c: %d MARKs and ACKs wait to be sent", 'A' + h->id, count);
	free(all);
}

/* [X3] */
static void check_output_bound(struct sim *s, struct host *h, struct repl_conn *c, const struct sniff *n)
{
	struct iovec iov[OUTPUT_PIECES];
	int pieces = repl_conn_output(c, iov, OUTPUT_PIECES);
	size_t total = iov_total(iov, pieces);

	if (s->event_count % 4 == 0 && total < COUNTED_BYTES_MAX)
		check_control(s, h, n, iov, pieces);
	size_t bucket = BUCKET_STATES * (s->plan.config.value_len_max + KEY_BYTES_MAX);
	if (total > h->settings.repl_buffer_bytes + bucket + OUTPUT_SLACK_BYTES)
		sim_fail(s, "P5", "%c: %zu bytes wait for the link, repl_buffer is %zu", 'A' + h->id,
		         total, h->settings.repl_buffer_bytes);
}

/* One send: false when nothing was taken. */
static bool send_once(struct sim *s, struct wire *w, int side)
{
	struct pipe *p = &w->pipe[side];
	struct iovec iov[OUTPUT_PIECES];
	int n = repl_conn_output(w->conn[side], iov, 1 + (int)prng_below(&s->net, 8));
	size_t total = iov_total(iov, n), capacity = s->plan.config.pipe_bytes;

	if (s->quiescing && capacity < 65536)
		capacity = 65536;
	if (!total) {
		w->empty_event[side] = s->event_count;
		return false;
	}
	if (p->len - p->off >= capacity) {
		sim_cover(s, COV_pipe_full);
		return false;
	}
	size_t room = capacity - (p->len - p->off);
	size_t take = total < room ? total : room;
	if (prng_below(&s->net, 4) == 0)
		take = 1 + (size_t)prng_below(&s->net, take);
	pipe_append(p, iov, n, take);
	sniff_bytes(s, w, side, false, p->data + p->len - take, take);
	repl_conn_sent(w->conn[side], take);
	return true;
}

/* U8: nobody gives up a link that works: a new connection replaces one only if
 * its other end has lost it, and of two made at once exactly one becomes a link. */
static void check_flap(struct sim *s, const struct host *h, const struct wire *w)
{
	if (w->walks[0] + w->walks[1] > 0 && net_wire_whole(s, w) && !w->was_stalled && !h->stopping && !h->may_fail)
		sim_fail(s, "FLAP", "%c closes a link that works", 'A' + h->id);
}

static void pump_wire(struct host *h, struct wire *w, int side)
{
	struct sim *s = h->sim;
	struct pipe *p = &w->pipe[side];

	check_output_bound(s, h, w->conn[side], &p->out);
	bool more = true;
	for (int i = 0; i < 64 && more && !sim_failed(s); i++)
		more = send_once(s, w, side);
	if (more)
		push_wire(s, delay(s), w, EV_WRITABLE, side);
	if (p->len > p->off && !p->scheduled && !w->lost)
		push_delivery(s, delay(s), w, side);
	struct iovec iov[1];
	if (repl_conn_closing(w->conn[side]) &&
	    (repl_conn_output(w->conn[side], iov, 1) == 0 || w->lost)) {
		sim_say(s, "%c: closes wire %d", 'A' + h->id, (int)(w - s->wires));
		check_flap(s, h, w);
		end_closes(s, w, side, true);
	}
}

void net_pump(struct host *h)
{
	struct sim *s = h->sim;

	for (int i = 0; i < SIM_WIRES && !sim_failed(s); i++) {
		struct wire *w = &s->wires[i];
		for (int side = 0; side < 2; side++)
			if (w->used && w->host[side] == h->id && w->state[side] == END_OPEN &&
			    w->incarnation[side] == h->incarnation)
				pump_wire(h, w, side);
	}
}

/* ---- delivering ------------------------------------------------------------------------------ */

static size_t chunk_size(struct sim *s, const struct pipe *p)
{
	size_t waiting = p->len - p->off, max = s->plan.config.chunk_max;

	if (max < waiting / 32)
		max = waiting / 32; /* or a large value would take for ever */
	if (s->quiescing && max < 16384)
		max = 16384;
	size_t n = 1 + (size_t)prng_below(&s->net, max);
	if (n > waiting)
		n = waiting;
	if (s->plan.config.exact)
		n = sniff_until_frame_end(&p->in, p->data + p->off, n);
	return n;
}

static void input_chunk(struct sim *s, struct wire *w, int side)
{
	int to = 1 - side;
	struct host *h = end_host(s, w, to);
	struct pipe *p = &w->pipe[side];
	size_t n = chunk_size(s, p);
	uint8_t *copy = malloc(n); /* exactly, so that reading past it shows */

	if (!copy)
		abort();
	memcpy(copy, p->data + p->off, n);
	bool was_full = p->len - p->off >= s->plan.config.pipe_bytes;
	p->off += n;
	host_turn(h);
	sim_trace(s, copy, n);
	h->in_peer_input = true;
	h->input_from = w->incarnation[side];
	sniff_bytes(s, w, side, true, copy, n);
	repl_conn_input(w->conn[to], copy, n);
	h->in_peer_input = false;
	free(copy);
	if (was_full)
		push_wire(s, delay(s), w, EV_WRITABLE, side);
}

/* EV_DELIVER: bytes from `side` reach the other end. */
static void deliver(struct sim *s, struct wire *w, int side)
{
	struct pipe *p = &w->pipe[side];
	int to = 1 - side;

	if (!p->scheduled || p->deliver_at_us != s->now_us)
		return;
	p->scheduled = false;
	if (w->lost || w->state[to] != END_OPEN)
		return;
	if (p->stalled_until_us > s->now_us) {
		push_delivery(s, p->stalled_until_us, w, side);
		return;
	}
	if (p->len == p->off) {
		if (p->fin)
			end_hears(s, w, to, "closed by the peer");
		return;
	}
	if (!repl_conn_wants_read(w->conn[to])) {
		sim_cover(s, COV_read_held);
		push_delivery(s, s->now_us + READ_HELD_RETRY_US, w, side);
		return;
	}
	input_chunk(s, w, side);
	if (p->len > p->off || p->fin)
		push_delivery(s, delay(s), w, side);
}

void net_event(struct sim *s, const struct event *e)
{
	if (e->type == EV_CONNECT) {
		connect_arrives(s, e);
		return;
	}
	struct wire *w = &s->wires[e->index];
	if (!w->used || w->generation != e->generation)
		return;
	switch (e->type) {
	case EV_CONNECTED:
	case EV_ACCEPT:
		end_opens(s, w, e->side);
		break;
	case EV_DELIVER:
		deliver(s, w, e->side);
		break;
	case EV_WRITABLE:
		if (w->state[e->side] == END_OPEN && end_host(s, w, e->side))
			host_turn(end_host(s, w, e->side));
		break;
	case EV_NOTICE:
		if (w->state[e->side] != END_CLOSED)
			end_hears(s, w, e->side, "Connection reset by peer");
		break;
	default:
		assert(!"no such event of a wire");
	}
}

/* Connections of B with anyone but its partner are over. */
void net_expel(struct sim *s)
{
	const int at_once[2] = {0, 0};

	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		if (w->used && w->host[0] != s->side_a && w->host[1] != s->side_a)
			net_drop(s, w, at_once);
	}
}

/* ---- questions -------------------------------------------------------------------------------- */

uint64_t net_taken(const struct wire *w, int side)
{
	struct iovec iov[WAITING_PIECES];

	return w->pipe[side].taken + iov_total(iov, repl_conn_output(w->conn[side], iov, WAITING_PIECES));
}

bool net_wire_whole(struct sim *s, const struct wire *w)
{
	return w->used && !w->lost && w->state[0] == END_OPEN && w->state[1] == END_OPEN &&
	       end_host(s, w, 0) && end_host(s, w, 1) && !w->pipe[0].fin && !w->pipe[1].fin;
}

int net_open_wires(struct sim *s, int a, int b)
{
	int n = 0;

	for (int i = 0; i < SIM_WIRES; i++) {
		const struct wire *w = &s->wires[i];
		if (!w->used || (w->state[0] == END_CLOSED && w->state[1] == END_CLOSED))
			continue;
		n += (w->host[0] == a && w->host[1] == b) || (w->host[0] == b && w->host[1] == a);
	}
	return n;
}

struct wire *net_link(struct sim *s)
{
	for (int i = 0; i < SIM_WIRES; i++) {
		struct wire *w = &s->wires[i];
		bool pair = (w->host[0] == 1 && w->host[1] == s->side_a) ||
		            (w->host[1] == 1 && w->host[0] == s->side_a);
		if (pair && net_wire_whole(s, w) && w->synced[0] && w->synced[1])
			return w;
	}
	return NULL;
}
