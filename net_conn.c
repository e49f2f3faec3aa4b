/*
 * net_conn.c - client connections: a socket, an event, a session.
 *
 * Owns: when a client is read from, written to, resumed and closed.
 *
 * Must not know: listening sockets, the link, what the bytes mean.
 *
 *            +--------- all sent, session wants input ----------+
 *            v                                                  |
 *        READING --- bytes ---> session ---> send ---> advance -+-> closed
 *                                              |          |
 *                          socket full         |          +--> yielded (input left)
 *        WRITING <-----------------------------+          +--> held (waits for the node)
 *
 * One event per connection, persistent; it is switched between reading and
 * writing only when the socket was full. A yielded connection keeps its read
 * event armed and ignores it: the loop does not sleep while anyone has yielded.
 * A held one keeps it too until there is input, which it must not take yet. One that
 * watches is among the held, but reads: what it sends is thrown away, its end seen.
 *
 * Invariants
 *  [P1] a connection whose output is stuck is not read from
 *  [P2] per connection and turn: one receive, at most SEND_BYTES_PER_TURN sent
 *  [P3] what the shared output buffer could not get rid of is settled before
 *       another session runs
 *
 * Covered by: the black-box tests in t.
 */
#include "compat.h"
#include "net_internal.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEND_IOV_MAX 64
#define SEND_BYTES_PER_TURN (1 << 20)
#define BODY_IOV_MAX 128
/* Closing a socket takes the kernel as long as so many requests (net.c, [T3]). */
#define CLOSE_COST 3
/* Looked at per tick of the idle timer, of which there is one a second. */
#define IDLE_CHECKS_PER_TICK 4096

struct conn {
	struct net_list all;   /* net.conns */
	struct net_list queue; /* net.yielded, net.held or none */
	struct net *net;
	struct session *session;
	struct event event;
	int64_t active_ms; /* mono, when bytes last came or went */
	struct net_client client;
	int fd;
	short waits_for; /* EV_READ, EV_WRITE or 0 */
};

enum send_result {
	SEND_ALL,
	SEND_STUCK, /* wait until the socket takes more */
	SEND_DEAD
};

static void on_event(evutil_socket_t fd, short what, void *arg);

/* ---- what watchers are told ----------------------------------------------------- */

/* Why a connection is closed, in the words of the watchers. */
static const char reason_normal[] = "normal", reason_error[] = "error", reason_idle[] = "idle_timeout",
		  reason_shutdown[] = "shutdown";

static struct watch *watch_of(const struct net *net)
{
	return node_engine(net->node)->watch;
}

static struct watch_conn watched(const struct conn *c, char host[NET_ADDR_TEXT_BYTES])
{
	bool ip = c->client.family == AF_INET || c->client.family == AF_INET6;

	net_client_text(&c->client, host);
	return (struct watch_conn){host, c->client.port, ip ? "tcp" : "local", c->fd};
}

static void tell_opened(const struct conn *c)
{
	char host[NET_ADDR_TEXT_BYTES];

	if (!watch_wants(watch_of(c->net), WATCH_CONNEVENTS))
		return;
	struct watch_conn told = watched(c, host);
	watch_conn_new(watch_of(c->net), &told);
}

static void tell_closed(const struct conn *c, const char *reason)
{
	char host[NET_ADDR_TEXT_BYTES];

	if (!watch_wants(watch_of(c->net), WATCH_CONNEVENTS))
		return;
	struct watch_conn told = watched(c, host);
	watch_conn_close(watch_of(c->net), &told, reason);
}

/* ---- a connection --------------------------------------------------------------- */

static void conn_close(struct conn *c, const char *reason)
{
	struct net *net = c->net;

	log_printf(net->log, LOG_DEBUG, "<%d connection closed.", c->fd);
	if (c->waits_for)
		event_del(&c->event);
	net_list_remove(&c->all);
	net_list_remove(&c->queue);
	node_session_close(net->node, c->session);
	tell_closed(c, reason);
	close(c->fd);
	net->callbacks += CLOSE_COST;
	free(c);
	assert(net->conn_count > 0);
	net->conn_count--;
}

/* False: closed, for want of memory. */
static bool conn_wait(struct conn *c, short what)
{
	if (c->waits_for == what)
		return true;
	if (c->waits_for)
		event_del(&c->event);
	c->waits_for = 0;
	if (what) {
		event_assign(&c->event, c->net->base, c->fd, (short)(what | EV_PERSIST), on_event, c);
		if (event_add(&c->event, NULL) < 0) {
			conn_close(c, reason_error);
			return false;
		}
	}
	c->waits_for = what;
	return true;
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
	size_t bytes = 0;

	for (int i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

static enum send_result conn_send(struct conn *c)
{
	struct iovec iov[SEND_IOV_MAX];
	size_t total = 0;
	int count;

	while ((count = session_output(c->session, iov, SEND_IOV_MAX)) > 0) {
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
		ssize_t sent = count == 1 ? send(c->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
		                          : sendmsg(c->fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return net_would_block(errno) ? SEND_STUCK : SEND_DEAD;
		bool partial = (size_t)sent < iov_bytes(iov, count);
		c->active_ms = c->net->now.mono_ms;
		total += (size_t)sent;
		if (!session_sent(c->session, (size_t)sent))
			return SEND_ALL;
		if (partial || total >= SEND_BYTES_PER_TURN)
			return SEND_STUCK;
	}
	return SEND_ALL;
}

static void conn_queue(struct conn *c, struct net_list *queue)
{
	net_list_remove(&c->queue);
	if (queue)
		net_list_append(queue, &c->queue);
}

/* After input, room in the socket or an answer of the node: send, then do what
 * the session says. May close c. */
static void conn_advance(struct conn *c)
{
	enum send_result result = conn_send(c);

	conn_queue(c, NULL);
	if (result == SEND_DEAD || !session_settle(c->session)) { /* [P3] */
		conn_close(c, reason_error);
		return;
	}
	if (result == SEND_STUCK) { /* [P1] */
		conn_wait(c, EV_WRITE);
		return;
	}
	switch (session_state(c->session)) {
	case SESSION_READ:
		conn_wait(c, EV_READ);
		break;
	case SESSION_FLUSH: /* nothing left to flush: it may go on */
	case SESSION_YIELD:
		if (conn_wait(c, EV_READ))
			conn_queue(c, &c->net->yielded);
		break;
	case SESSION_HOLD: /* still armed: most holds end before anything comes */
	case SESSION_WATCH: /* to see its end */
		if (conn_wait(c, EV_READ))
			conn_queue(c, &c->net->held);
		break;
	case SESSION_CLOSE:
		conn_close(c, session_has_failed(c->session) ? reason_error : reason_normal);
		break;
	}
}

/* One receive: the rest of a value straight into its item, everything else into
 * the shared buffer. */
static void conn_receive(struct conn *c)
{
	struct iovec iov[BODY_IOV_MAX + 1];
	int count = session_body_iov(c->session, iov, BODY_IOV_MAX);
	size_t body = iov_bytes(iov, count);

	iov[count] = (struct iovec){c->net->recv_buf, NET_RECV_BYTES};
	ssize_t got = count ? readv(c->fd, iov, count + 1) : recv(c->fd, c->net->recv_buf, NET_RECV_BYTES, 0);
	if (got < 0 && (errno == EINTR || net_would_block(errno)))
		return;
	if (got <= 0) {
		conn_close(c, got == 0 ? reason_normal : reason_error);
		return;
	}
	c->active_ms = c->net->now.mono_ms;
	size_t len = (size_t)got;
	if (count) {
		size_t into_body = len < body ? len : body;
		session_body_received(c->session, into_body);
		len -= into_body;
	}
	if (len)
		session_input(c->session, c->net->recv_buf, len);
	conn_advance(c);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	net_turn(c->net);
	net_meter_cause(&c->net->meter, TURN_CLIENT);
	if (what & EV_WRITE)
		conn_advance(c);
	else if (net_list_empty(&c->queue) || session_state(c->session) == SESSION_WATCH)
		conn_receive(c);
	else if (session_state(c->session) == SESSION_HOLD)
		conn_wait(c, 0); /* not now: conn_advance() listens again */
}

void net_conn_open(struct net *net, int fd, const struct net_addr *peer)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct session *session = c ? node_session_open(net->node) : NULL;

	if (!session) {
		log_printf(net->log, LOG_ERROR, "no memory for a connection");
		free(c);
		close(fd);
		return;
	}
	*c = (struct conn){.net = net, .session = session, .fd = fd, .active_ms = net->now.mono_ms};
	net_addr_client(peer, &c->client);
	session_set_id(session, fd);
	net_list_init(&c->queue);
	net_list_append(&net->conns, &c->all);
	net->conn_count++;
	tell_opened(c);
	log_printf(net->log, LOG_DEBUG, "<%d new auto-negotiating client connection", fd);
	conn_wait(c, EV_READ);
}

size_t net_conns_yielded(const struct net *net)
{
	size_t count = 0;

	for (const struct net_list *l = net->yielded.next; l != &net->yielded; l = l->next)
		count++;
	return count;
}

void net_conns_resume(struct net *net, size_t count)
{
	while (count-- && !net_list_empty(&net->yielded)) {
		struct conn *c = NET_LIST_ENTRY(net->yielded.next, struct conn, queue);
		session_resume(c->session);
		conn_advance(c);
	}
}

/* Whether the node has given it something to do or to send. */
static bool conn_has_news(const struct conn *c)
{
	enum session_state state = session_state(c->session);
	struct iovec iov;

	return state == SESSION_WATCH ? session_output(c->session, &iov, 1) > 0 : state != SESSION_HOLD;
}

void net_conns_unhold(struct net *net)
{
	struct net_list *l = net->held.next;

	while (l != &net->held) {
		struct conn *c = NET_LIST_ENTRY(l, struct conn, queue);
		l = l->next;
		if (conn_has_news(c))
			conn_advance(c);
	}
}

void net_conns_close_all(struct net *net)
{
	while (!net_list_empty(&net->conns)) {
		struct conn *c = NET_LIST_ENTRY(net->conns.next, struct conn, all);
		conn_send(c); /* what it was answered should arrive */
		conn_close(c, reason_shutdown);
	}
}

void net_conns_close_answered(struct net *net)
{
	struct net_list *l = net->conns.next;

	while (l != &net->conns) {
		struct conn *c = NET_LIST_ENTRY(l, struct conn, all);
		l = l->next;
		if (session_state(c->session) == SESSION_HOLD)
			continue;
		conn_send(c);
		conn_close(c, reason_shutdown);
	}
}

/* Whether a request of it lies in the kernel. */
static bool conn_has_input(const struct conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void net_conns_close_finished(struct net *net)
{
	struct net_list *l = net->conns.next;

	while (l != &net->conns) {
		struct conn *c = NET_LIST_ENTRY(l, struct conn, all);
		l = l->next;
		if (session_is_idle(c->session) && !conn_has_input(c))
			conn_close(c, reason_shutdown);
	}
}

/* Whether it is the client's turn: nobody is idle who waits for this side, or
 * reads slowly what is sent to him. */
static bool conn_is_idle(const struct conn *c)
{
	return c->waits_for == EV_READ && net_list_empty(&c->queue) &&
	       c->net->now.mono_ms - c->active_ms > c->net->settings->idle_timeout_s * INT64_C(1000);
}

/* The list is gone through in turns: who was looked at goes to its end. */
void net_conns_close_idle(evutil_socket_t fd, short what, void *arg)
{
	struct net *net = arg;
	size_t checks = net->conn_count < IDLE_CHECKS_PER_TICK ? net->conn_count : IDLE_CHECKS_PER_TICK;

	(void)fd, (void)what;
	net_turn(net);
	while (checks--) {
		struct conn *c = NET_LIST_ENTRY(net->conns.next, struct conn, all);
		net_list_remove(&c->all);
		net_list_append(&net->conns, &c->all);
		if (!conn_is_idle(c))
			continue;
		node_engine(net->node)->stats->idle_kicks++;
		conn_close(c, reason_idle);
	}
}

size_t net_conns_bytes(const struct net *net)
{
	size_t bytes = 0;

	for (const struct net_list *l = net->conns.next; l != &net->conns; l = l->next) {
		const struct conn *c = NET_LIST_ENTRY(l, struct conn, all);
		bytes += sizeof(*c) + session_memory_bytes(c->session);
	}
	return bytes;
}

void net_conns_each(struct net *net, void (*fn)(void *fn_ctx, const struct conn_info *), void *fn_ctx)
{
	char peer_text[NET_ADDR_TEXT_BYTES], local_text[NET_ADDR_TEXT_BYTES];
	struct net_addr peer, local;

	for (struct net_list *l = net->conns.next; l != &net->conns; l = l->next) {
		const struct conn *c = NET_LIST_ENTRY(l, struct conn, all);
		if (!net_addr_peer(c->fd, &peer) || !net_addr_local(c->fd, &local))
			continue;
		net_addr_stat(&peer, net->settings->socket_path, peer_text);
		net_addr_stat(&local, net->settings->socket_path, local_text);
		struct conn_info info = {
		        .id = c->fd,
		        .addr = peer_text,
		        .listen_addr = local_text,
		        .state = session_state_name(c->session),
		        .idle_s = (net->now.mono_ms - c->active_ms) / 1000,
		};
		fn(fn_ctx, &info);
	}
}
