/*
 * net_link.c - the link: its port, its connections, its bytes.
 *
 * Owns: the sockets of the link port and of the (few) connections made on it;
 * what is sent and received on them, a bounded piece per turn.
 *
 * Must not know: frames, roles, when to connect or to listen: replication.c
 * says what it wants, this file brings it about.
 *
 * Output is sent at the end of a turn, in one piece with everything that the
 * turn's clients changed. When the socket is full, a one-shot write event says
 * when to go on; until then nothing is tried. Buffer sizes are the kernel's: it
 * grows them as the path needs, further than setsockopt may.
 *
 * Invariants
 *  [L1] at most READ_BYTES_PER_TURN and SEND_BYTES_PER_TURN per connection
 *  [L2] a connection that replication does not want to read has no read event
 *
 * Covered by: t/pair.t, t/sigstop.t, t/third.t, t/security.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define READS_PER_TURN 1
#define SEND_BYTES_PER_TURN (256 << 10)
#define SEND_IOV_MAX 64
/* A burst of strangers must not make the kernel drop the connect of a peer. */
#define LINK_BACKLOG 128
#define LINK_ADDRS_MAX 64
/* A peer whose host is gone is noticed after these many seconds even if nothing
 * is to be sent. Our own link has heartbeats; a repcached's has only this. */
#define KEEPALIVE_IDLE_S 10
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT 4
/* A port that could not be listened on is left alone for so long. */
#define LISTEN_RETRY_MS 1000

struct link_conn {
	struct net_list all; /* net_link.conns */
	struct net *net;
	struct repl_conn *repl;
	struct event read_event, write_event;
	int fd;
	bool reading;
	bool stuck; /* the socket is full: write_event is armed */
};

struct net_link {
	struct net *net;
	struct net_list conns;
	struct net_dial *dial;
	struct net_guard *guard; /* NULL: whoever connects is let in */
	struct net_listeners listeners;
	struct net_addr addrs[LINK_ADDRS_MAX]; /* to listen on, resolved at start */
	int addr_count;
	int port; /* to listen on; a free one is kept once found */
	int64_t listen_retry_ms;
	uint64_t connect_seq;
};

static struct repl *repl_of(const struct net_link *link)
{
	return node_repl(link->net->node);
}

/* --- connections --------------------------------------------------------------------- */

static void link_close(struct link_conn *c, const char *reason)
{
	event_del(&c->read_event);
	event_del(&c->write_event);
	net_list_remove(&c->all);
	close(c->fd);
	repl_conn_closed(c->repl, reason);
	free(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct link_conn *c = arg;
	uint8_t *buf = c->net->recv_buf;

	(void)what;
	net_turn(c->net);
	net_meter_cause(&c->net->meter, TURN_PEER);
	for (int i = 0; i < READS_PER_TURN; i++) { /* [L1] */
		if (!repl_conn_wants_read(c->repl) || repl_conn_closing(c->repl))
			return; /* the end of the turn takes the event away */
		ssize_t got = recv(fd, buf, NET_RECV_BYTES, 0);
		if (got < 0 && (errno == EINTR || net_would_block(errno)))
			return;
		if (got <= 0) {
			link_close(c, got < 0 ? strerror(errno) : "closed by the peer");
			return;
		}
		repl_conn_input(c->repl, buf, (size_t)got);
		if (got < NET_RECV_BYTES)
			return;
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct link_conn *c = arg;

	(void)fd, (void)what;
	net_turn(c->net);
	net_meter_cause(&c->net->meter, TURN_PEER);
	c->stuck = false; /* the end of the turn sends */
}

static void set_option(int fd, int level, int name, int value)
{
	setsockopt(fd, level, name, &value, sizeof(value)); /* it goes without */
}

static void set_options(int fd)
{
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void link_open(struct net_link *link, int fd, bool outgoing)
{
	struct link_conn *c = calloc(1, sizeof(*c));
	char text[NET_ADDR_TEXT_BYTES] = "?";
	struct net_addr peer;

	if (net_addr_peer(fd, &peer))
		net_addr_text(&peer, text);
	set_options(fd);
	struct repl_conn *repl = c ? repl_conn_open(repl_of(link), outgoing, text) : NULL;
	if (!repl) {
		free(c);
		close(fd);
		return;
	}
	*c = (struct link_conn){.net = link->net, .repl = repl, .fd = fd};
	event_assign(&c->read_event, link->net->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	event_assign(&c->write_event, link->net->base, fd, EV_WRITE, on_writable, c);
	net_list_append(&link->conns, &c->all);
}

static void on_admitted(void *ctx, int fd)
{
	link_open(ctx, fd, false);
}

void net_link_accepted(struct net *net, int fd)
{
	if (!net->link)
		close(fd);
	else if (net->link->guard)
		net_guard_offer(net->link->guard, fd);
	else
		link_open(net->link, fd, false);
}

static void link_stuck(struct link_conn *c)
{
	c->stuck = true;
	event_add(&c->write_event, NULL);
}

/* False: the connection broke and is closed. */
static bool link_send(struct link_conn *c)
{
	struct iovec iov[SEND_IOV_MAX];
	size_t total = 0;
	int count;

	while (!c->stuck && (count = repl_conn_output(c->repl, iov, SEND_IOV_MAX)) > 0) {
		struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
		ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && !net_would_block(errno)) {
			link_close(c, strerror(errno));
			return false;
		}
		if (sent > 0) {
			repl_conn_sent(c->repl, (size_t)sent);
			total += (size_t)sent;
		}
		if (sent < 0 || total >= SEND_BYTES_PER_TURN) /* [L1] */
			link_stuck(c);
	}
	return true;
}

/* Replication is through with it and has got rid of its last words, or cannot.
 * What the other side said meanwhile is read, for else the kernel answers it
 * with a reset that can overtake those words. */
static void link_finish(struct link_conn *c)
{
	shutdown(c->fd, SHUT_WR);
	ssize_t got = recv(c->fd, c->net->recv_buf, NET_RECV_BYTES, MSG_DONTWAIT);
	(void)got;
	link_close(c, "closed by this side");
}

static void link_turn_end(struct link_conn *c)
{
	if (!link_send(c))
		return;
	if (repl_conn_closing(c->repl)) {
		link_finish(c);
		return;
	}
	bool want = repl_conn_wants_read(c->repl);
	if (want == c->reading) /* [L2] */
		return;
	if (want)
		event_add(&c->read_event, NULL);
	else
		event_del(&c->read_event);
	c->reading = want;
}

void net_link_turn_end(struct net_link *link)
{
	struct net_list *l = link->conns.next;

	while (l != &link->conns) {
		struct link_conn *c = NET_LIST_ENTRY(l, struct link_conn, all);
		l = l->next;
		link_turn_end(c);
	}
	net_dial_reap(link->dial);
	if (link->guard)
		net_guard_reap(link->guard);
}

void net_link_close_all(struct net_link *link)
{
	net_dial_stop(link->dial);
	if (link->guard)
		net_guard_stop(link->guard);
	while (!net_list_empty(&link->conns)) {
		struct link_conn *c = NET_LIST_ENTRY(link->conns.next, struct link_conn, all);
		if (link_send(c))
			link_finish(c);
	}
	net_listeners_close(&link->listeners);
}

/* --- the port --------------------------------------------------------------------------- */

/* False with errno; *bad is the address it failed on. */
static bool bind_all(struct net_link *link, const struct net_addr **bad)
{
	struct net_addr local;

	for (int i = 0; i < link->addr_count; i++) {
		struct net_addr addr = link->addrs[i];
		net_addr_set_port(&addr, link->port);
		*bad = &link->addrs[i];
		int fd = net_bind(&addr, SOCK_STREAM);
		if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) && link->addr_count > 1)
			continue;
		if (fd < 0)
			return false;
		if (!link->port && net_addr_local(fd, &local))
			link->port = net_addr_port(&local);
		if (!net_listener_add(link->net, &link->listeners, fd, true))
			return false;
	}
	errno = EADDRNOTAVAIL;
	return link->listeners.count > 0;
}

static void link_listen(struct net_link *link)
{
	const struct net_addr *bad = &link->addrs[0];
	char text[NET_ADDR_TEXT_BYTES], reason[NET_ADDR_TEXT_BYTES + 80];
	struct net_addr shown;

	if (link->net->now.mono_ms < link->listen_retry_ms)
		return;
	if (bind_all(link, &bad) && net_listeners_open(link->net, &link->listeners, LINK_BACKLOG)) {
		net_port_file_write(link->net);
		return;
	}
	int failure = errno;
	net_listeners_close(&link->listeners);
	shown = *bad;
	net_addr_set_port(&shown, link->port);
	net_addr_text(&shown, text);
	snprintf(reason, sizeof(reason), "%s: %s", text, strerror(failure));
	link->listen_retry_ms = link->net->now.mono_ms + LISTEN_RETRY_MS;
	repl_listen_failed(repl_of(link), reason);
}

void net_link_accept(struct net_link *link, bool take)
{
	for (int i = 0; i < link->listeners.count; i++) {
		if (take)
			event_add(&link->listeners.at[i]->event, NULL);
		else
			event_del(&link->listeners.at[i]->event);
	}
}

const struct net_listeners *net_link_listeners(const struct net_link *link)
{
	return &link->listeners;
}

/* --- what replication wants ----------------------------------------------------------------- */

static void on_dialled(void *ctx, int fd, const char *reason)
{
	struct net_link *link = ctx;

	if (fd < 0)
		repl_connect_failed(repl_of(link), reason);
	else
		link_open(link, fd, true);
}

void net_link_reconcile(struct net_link *link, const struct node_wants *wants)
{
	const struct settings *s = link->net->settings;

	if (wants->link_listen && !link->listeners.count) {
		link_listen(link);
	} else if (!wants->link_listen && link->listeners.count) {
		net_listeners_close(&link->listeners);
		net_port_file_write(link->net);
	}
	if (wants->stop_accepting) {
		net_dial_stop(link->dial);
	} else if (wants->connect_seq != link->connect_seq) {
		link->connect_seq = wants->connect_seq;
		assert(s->repl_peer[0]);
		net_dial_start(link->dial, s->repl_peer, s->repl_port);
	}
}

/* One host may be named twice, with different client ports. */
static bool knows_addr(const struct net_link *link, const struct net_addr *addr)
{
	for (int i = 0; i < link->addr_count; i++)
		if (net_addr_equal(&link->addrs[i], addr))
			return true;
	return false;
}

static bool add_addrs(struct net_link *link, const char *host, char error[NET_ERROR_BYTES])
{
	struct net_addr found[LINK_ADDRS_MAX];
	int count = net_resolve(host, link->port, found, LINK_ADDRS_MAX, error);

	for (int i = 0; i < count && link->addr_count < LINK_ADDRS_MAX; i++)
		if (!knows_addr(link, &found[i]))
			link->addrs[link->addr_count++] = found[i];
	return count >= 0;
}

static bool resolve_all(struct net_link *link, char error[NET_ERROR_BYTES])
{
	const struct settings *s = link->net->settings;

	if (s->repl_listen[0])
		return add_addrs(link, strcmp(s->repl_listen, "*") ? s->repl_listen : "", error);
	for (int i = 0; i < s->listen_count; i++)
		if (!add_addrs(link, s->listen[i].host, error))
			return false;
	return s->listen_count || add_addrs(link, "", error);
}

/* Nobody is asked who he is: say so, unless only this host can come. */
static void warn_if_open(const struct net_link *link)
{
	bool loopback = true;

	for (int i = 0; i < link->addr_count; i++)
		loopback = loopback && net_addr_is_loopback(&link->addrs[i]);
	if (!loopback && !link->net->settings->repl_has_secret)
		log_printf(link->net->log, LOG_NOTICE,
			   "replication: warning: the link has no shared secret (repl_secret_file), and its port "
			   "is not on loopback only");
}

static bool open_guard(struct net_link *link)
{
	const struct settings *s = link->net->settings;

	if (s->repl_accept != REPL_ACCEPT_PEER)
		return true;
	link->guard = net_guard_new(link->net, s->repl_peer, on_admitted, link);
	return link->guard != NULL;
}

struct net_link *net_link_new(struct net *net, char error[NET_ERROR_BYTES])
{
	struct net_link *link = calloc(1, sizeof(*link));

	if (!link)
		return NULL;
	*link = (struct net_link){.net = net, .port = net->settings->repl_port};
	net_list_init(&link->conns);
	link->dial = net_dial_new(net, on_dialled, link);
	if (!link->dial || !open_guard(link) || !resolve_all(link, error)) {
		net_link_free(link);
		return NULL;
	}
	net_dial_from(link->dial, link->addrs, link->addr_count);
	warn_if_open(link);
	return link;
}

void net_link_free(struct net_link *link)
{
	assert(net_list_empty(&link->conns));
	net_listeners_close(&link->listeners);
	net_dial_free(link->dial);
	net_guard_free(link->guard);
	free(link);
}
