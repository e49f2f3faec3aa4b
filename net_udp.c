/*
 * net_udp.c - clients by UDP: each datagram is a conversation of its own.
 *
 * Owns: the UDP sockets, the requests under way, who is answered and how much.
 *
 * Must not know: what the bytes mean; it gives them to a session and cuts what
 * comes back into datagrams (proto_udp.h).
 *
 *   datagram --> session --> all answered ----> reply, cut in datagrams --> gone
 *                   |                               |
 *                   +-- waits for the peer          +-- the socket is full
 *                       (repl_ack)                      (goes on when it is not)
 *
 * A request that has to wait stays in the list of its socket; up to
 * REQUESTS_WAITING_MAX others are served meanwhile. A session ends with its
 * datagram: what is not a whole command in it is never completed by another.
 *
 * Whoever can write a wrong sender on a datagram can have the reply sent to
 * somebody else. So
 *  - sources that are not on this host or a private network get bytes beyond what
 *    they sent at a limited rate (udp_rate), and are not served while they are in
 *    debt; sources are told apart by their network, for a victim may be one
 *  - a reply is never longer than UDP_REPLY_BYTES_MAX
 *  - a request that begins with no known command is not answered: replies never
 *    begin with one, so two servers cannot be made to talk to each other for ever
 *
 * Invariants
 *  [D1] a datagram gets one reply, or none; a reply is sent whole, or up to where
 *       the network refused it, and in order
 *  [D2] per socket and turn: at most REQUEST_BYTES_PER_TURN of requests, and
 *       SENDS_PER_TURN datagrams of a reply
 *  [D3] at most REQUESTS_WAITING_MAX requests wait per socket; it is not read then
 *
 * Covered by: t/udp.t; t/test_proto_udp.c.
 */
#include "compat.h"
#include "net_internal.h"
#include "proto_bin.h"
#include "proto_udp.h"
#include "util.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#define REQUESTS_PER_TURN 32
#define REQUEST_BYTES_PER_TURN NET_RECV_BYTES
#define REQUESTS_WAITING_MAX 64
#define SENDS_PER_TURN 256
#define SEND_IOV_MAX 64
/* Room in the kernel, where it grants it. */
#define SOCKET_BYTES (4 << 20)
/* Requests that came while this node did not serve are thrown away. */
#define STALE_MAX 100000

static const char no_command[] = "ERROR\r\n";
static const char too_large[] = "SERVER_ERROR UDP response too large\r\n";

/* A request that waits. */
struct request {
	struct net_list all; /* socket.requests */
	struct session *session;
	struct net_addr from;
	size_t len; /* of the datagram */
	uint16_t id;
	bool binary;
	unsigned sent, count; /* datagrams of the reply; 0: not begun */
};

struct udp_socket {
	struct net *net;
	struct net_listener *listener;
	struct event write_event;
	struct net_list requests;
	int waiting;
	bool reading, stuck;
	int64_t active_ms;
};

struct net_udp {
	struct net *net;
	struct net_listeners bound;
	struct udp_socket *sockets; /* [bound.count] */
	struct udp_budget budget;
	uint64_t seed;
	bool stopped;
};

static struct stats *stats_of(const struct net *net)
{
	return node_engine(net->node)->stats;
}

/* --- requests ------------------------------------------------------------------- */

static void request_end(struct net *net, struct request *r)
{
	node_datagram_close(net->node, r->session);
	r->session = NULL;
}

static uint64_t source_of(const struct net_udp *udp, const struct net_addr *from)
{
	uint8_t network[NET_ADDR_NETWORK_BYTES];

	net_addr_network(from, network);
	return hash_key(network, sizeof(network), udp->seed);
}

static enum udp_next {
	NEXT_SEND, /* the reply is complete */
	NEXT_WAIT, /* for the node */
	NEXT_DROP
} request_run(struct request *r)
{
	while (session_state(r->session) == SESSION_YIELD)
		session_resume(r->session);
	enum session_state state = session_state(r->session);
	if (state == SESSION_WATCH)
		return NEXT_DROP; /* there is nobody to tell later */
	return state == SESSION_HOLD ? NEXT_WAIT : NEXT_SEND;
}

/* Instead of a reply that is too long. A binary one is for a length of its own:
 * nothing can stand in for it. */
static void refuse_reply(struct udp_socket *s, const struct request *r)
{
	uint8_t datagram[UDP_HEADER_BYTES + sizeof(too_large)];

	stats_of(s->net)->udp_too_large++;
	if (r->binary)
		return;
	udp_reply_header(datagram, r->id, 0, 1);
	memcpy(datagram + UDP_HEADER_BYTES, too_large, sizeof(too_large) - 1);
	if (sendto(s->listener->fd, datagram, sizeof(datagram) - 1, MSG_DONTWAIT | MSG_NOSIGNAL, &r->from.u.sa,
	           r->from.len) < 0)
		stats_of(s->net)->udp_send_errors++;
}

/* Whether the first command was none. */
static bool begins_with_nothing(struct session *s)
{
	struct iovec iov;
	size_t len = sizeof(no_command) - 1;

	return session_output(s, &iov, 1) > 0 && iov.iov_len >= len &&
	       memcmp(iov.iov_base, no_command, len) == 0;
}

/* The reply is complete: how many datagrams it takes; 0: none is sent. */
static unsigned reply_begin(struct net_udp *udp, struct udp_socket *s, const struct request *r)
{
	size_t len = session_output_len(r->session);
	struct stats *stats = stats_of(udp->net);

	if (session_state(r->session) == SESSION_FLUSH && session_has_input(r->session))
		len = UDP_REPLY_BYTES_MAX + 1; /* and there would be more */
	else if (session_has_input(r->session) || begins_with_nothing(r->session))
		stats->udp_malformed++;
	if (len > UDP_REPLY_BYTES_MAX) {
		refuse_reply(s, r);
		return 0;
	}
	if (len == 0 || begins_with_nothing(r->session))
		return 0;
	if (len > r->len && !net_addr_is_private(&r->from))
		udp_budget_charge(&udp->budget, source_of(udp, &r->from), len - r->len);
	return udp_reply_count(len);
}

static bool send_datagram(struct udp_socket *s, struct request *r)
{
	uint8_t header[UDP_HEADER_BYTES];
	struct iovec iov[SEND_IOV_MAX];
	size_t len;

	int count = session_output(r->session, iov + 1, SEND_IOV_MAX - 1);
	count = udp_reply_cut(iov + 1, count, &len);
	assert(len == UDP_PAYLOAD_BYTES_MAX || r->sent + 1 == r->count);
	udp_reply_header(header, r->id, r->sent, r->count);
	iov[0] = (struct iovec){header, sizeof(header)};
	struct msghdr message = {.msg_name = &r->from.u.sa, .msg_namelen = r->from.len, .msg_iov = iov,
	                         .msg_iovlen = (size_t)count + 1};
	if (sendmsg(s->listener->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return false;
	session_sent(r->session, len);
	r->sent++;
	return true;
}

/* Do what can be done for a request. False: it has to wait. */
static bool request_advance(struct net_udp *udp, struct udp_socket *s, struct request *r)
{
	if (r->count == 0) {
		enum udp_next next = request_run(r);
		if (next == NEXT_WAIT)
			return false;
		r->count = next == NEXT_SEND ? reply_begin(udp, s, r) : 0;
	}
	for (int i = 0; r->sent < r->count; i++) {
		if (i == SENDS_PER_TURN) { /* [D2] */
			s->stuck = true;
			return false;
		}
		if (send_datagram(s, r) || errno == EINTR)
			continue;
		if (net_would_block(errno)) {
			s->stuck = true;
			return false;
		}
		stats_of(udp->net)->udp_send_errors++; /* [D1]: the client asks again */
		break;
	}
	return true;
}

/* It waits: what it has so far must not lie in the buffer that all share. */
static void request_keep(struct udp_socket *s, const struct request *r)
{
	struct request *kept = malloc(sizeof(*kept));

	if (!kept || !session_settle(r->session)) {
		free(kept);
		node_datagram_close(s->net->node, r->session);
		return;
	}
	*kept = *r;
	net_list_append(&s->requests, &kept->all);
	s->waiting++;
}

static void serve(struct net_udp *udp, struct udp_socket *s, struct request *r,
                  const struct udp_request *asked)
{
	r->session = node_datagram_open(udp->net->node);
	if (!r->session) {
		stats_of(udp->net)->udp_dropped++;
		return;
	}
	r->id = asked->id;
	r->binary = asked->payload[0] == PROTO_BIN_REQUEST;
	session_set_id(r->session, s->listener->fd);
	session_input(r->session, asked->payload, asked->payload_len);
	if (request_advance(udp, s, r))
		request_end(udp->net, r);
	else
		request_keep(s, r);
}

static void received(struct net_udp *udp, struct udp_socket *s, struct request *r)
{
	struct stats *stats = stats_of(udp->net);
	struct udp_request asked;

	stats->udp_datagrams++;
	if (!udp_request_decode(udp->net->recv_buf, r->len, &asked) || net_addr_port(&r->from) == 0) {
		stats->udp_malformed++;
	} else if (!net_addr_is_private(&r->from) &&
	           !udp_budget_allows(&udp->budget, source_of(udp, &r->from), udp->net->now.mono_ms)) {
		stats->udp_limited++;
	} else {
		serve(udp, s, r, &asked);
	}
}

/* --- sockets -------------------------------------------------------------------- */

static void socket_arm(struct udp_socket *s)
{
	bool read = !s->net->udp->stopped && !s->stuck && s->waiting < REQUESTS_WAITING_MAX; /* [D3] */

	if (read && !s->reading)
		event_add(&s->listener->event, NULL);
	else if (!read && s->reading)
		event_del(&s->listener->event);
	s->reading = read;
	if (s->stuck)
		event_add(&s->write_event, NULL);
}

static ssize_t receive(struct udp_socket *s, struct net_addr *from)
{
	*from = (struct net_addr){.len = sizeof(from->u.storage)};
	return recvfrom(s->listener->fd, s->net->recv_buf, NET_RECV_BYTES, MSG_DONTWAIT, &from->u.sa, &from->len);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct udp_socket *s = arg;
	size_t bytes = 0;

	(void)fd, (void)what;
	net_turn(s->net);
	net_meter_cause(&s->net->meter, TURN_CLIENT);
	for (int i = 0; i < REQUESTS_PER_TURN && bytes < REQUEST_BYTES_PER_TURN; i++) { /* [D2] */
		struct request r = {.session = NULL};
		if (s->stuck || s->waiting >= REQUESTS_WAITING_MAX)
			break;
		ssize_t got = receive(s, &r.from);
		if (got < 0)
			break; /* nothing more, or news of a client that is gone */
		r.len = (size_t)got;
		bytes += r.len;
		s->active_ms = s->net->now.mono_ms;
		received(s->net->udp, s, &r);
	}
	socket_arm(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct udp_socket *s = arg;

	(void)fd, (void)what;
	net_turn(s->net);
	net_meter_cause(&s->net->meter, TURN_CLIENT);
	s->stuck = false; /* the end of the turn goes on */
}

static void socket_turn_end(struct net_udp *udp, struct udp_socket *s)
{
	struct net_list *l = s->requests.next;

	while (l != &s->requests && !s->stuck) {
		struct request *r = NET_LIST_ENTRY(l, struct request, all);
		l = l->next;
		if (session_state(r->session) == SESSION_HOLD)
			continue;
		bool done = request_advance(udp, s, r);
		if (!done && session_settle(r->session))
			continue;
		net_list_remove(&r->all);
		s->waiting--;
		request_end(udp->net, r);
		free(r);
	}
	socket_arm(s);
}

void net_udp_turn_end(struct net_udp *udp)
{
	for (int i = 0; i < udp->bound.count; i++)
		if (udp->sockets && !net_list_empty(&udp->sockets[i].requests))
			socket_turn_end(udp, &udp->sockets[i]);
}

/* --- life ----------------------------------------------------------------------- */

struct net_udp *net_udp_new(struct net *net, char error[NET_ERROR_BYTES])
{
	struct net_udp *udp = calloc(1, sizeof(*udp));

	if (!udp)
		return NULL;
	udp->net = net;
	udp_budget_init(&udp->budget, (uint32_t)net->settings->udp_rate_bytes);
	evutil_secure_rng_get_bytes(&udp->seed, sizeof(udp->seed));
	if (!net_listen_bind_udp(net, &udp->bound, error)) {
		net_udp_free(udp);
		return NULL;
	}
	return udp;
}

void net_udp_free(struct net_udp *udp)
{
	if (!udp)
		return;
	assert(!udp->sockets);
	net_listeners_close(&udp->bound);
	free(udp);
}

static void set_buffers(int fd)
{
	int bytes = SOCKET_BYTES;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)); /* as much as the system grants */
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
}

/* Whoever asked before this node served has given up by now. */
static void throw_away(struct udp_socket *s)
{
	struct net_addr from;

	for (int i = 0; i < STALE_MAX && receive(s, &from) >= 0; i++)
		continue;
}

bool net_udp_open(struct net_udp *udp)
{
	struct net *net = udp->net;

	udp->sockets = calloc((size_t)udp->bound.count, sizeof(*udp->sockets));
	if (!udp->sockets)
		return false;
	for (int i = 0; i < udp->bound.count; i++) {
		struct udp_socket *s = &udp->sockets[i];
		struct net_listener *l = udp->bound.at[i];
		*s = (struct udp_socket){.net = net, .listener = l, .active_ms = net->now.mono_ms};
		net_list_init(&s->requests);
		set_buffers(l->fd);
		throw_away(s);
		event_assign(&l->event, net->base, l->fd, EV_READ | EV_PERSIST, on_readable, s);
		event_assign(&s->write_event, net->base, l->fd, EV_WRITE, on_writable, s);
		socket_arm(s);
		log_printf(net->log, LOG_DEBUG, "<%d server listening (udp)", l->fd);
	}
	return true;
}

void net_udp_stop(struct net_udp *udp)
{
	udp->stopped = true;
	for (int i = 0; i < udp->bound.count && udp->sockets; i++)
		socket_arm(&udp->sockets[i]);
}

void net_udp_close(struct net_udp *udp)
{
	for (int i = 0; i < udp->bound.count && udp->sockets; i++) {
		struct udp_socket *s = &udp->sockets[i];
		event_del(&s->write_event);
		while (!net_list_empty(&s->requests)) {
			struct request *r = NET_LIST_ENTRY(s->requests.next, struct request, all);
			net_list_remove(&r->all);
			request_end(udp->net, r);
			free(r);
		}
	}
	net_listeners_close(&udp->bound);
	free(udp->sockets);
	udp->sockets = NULL;
}

const struct net_listeners *net_udp_listeners(const struct net_udp *udp)
{
	return &udp->bound;
}

void net_udp_each(const struct net_udp *udp, void (*fn)(void *fn_ctx, const struct conn_info *), void *fn_ctx)
{
	char text[NET_ADDR_TEXT_BYTES];
	struct net_addr addr;

	for (int i = 0; i < udp->bound.count && udp->sockets; i++) {
		const struct udp_socket *s = &udp->sockets[i];
		if (!net_addr_local(s->listener->fd, &addr))
			continue;
		net_addr_stat(&addr, "", text);
		memcpy(text, "udp", 3); /* instead of tcp */
		struct conn_info info = {.id = s->listener->fd,
		                         .addr = text,
		                         .udp = true,
		                         .state = s->waiting ? "conn_mwrite" : "conn_read",
		                         .idle_s = (udp->net->now.mono_ms - s->active_ms) / 1000};
		fn(fn_ctx, &info);
	}
}
