/*
 * net_listen.c - addresses resolved, bound, listened on; clients taken in.
 *
 * Owns: listening sockets of both kinds, the limit of -c and the pause when it
 * or the descriptors are used up, the Unix socket's file, the port file.
 *
 * Must not know: what happens to a connection after net_conn_open() or
 * net_link_accepted().
 *
 * Addresses are bound when the process starts, so that a wrong one is an error
 * with an exit code; listen(2) comes when the node wants clients. Until then a
 * connect is refused, which is what a slave without its first copy should say.
 *
 * Invariants
 *  [A1] at most ACCEPTS_PER_TURN connections are taken per listener and turn
 *  [A2] while paused no listener has its event armed, so nothing spins
 *
 * Covered by: t/options.t, t/maxconns.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define RETRY_US 100000 /* after descriptors ran out */
#define RESOLVED_MAX 32 /* addresses of one name */

static const char too_many[] = "ERROR Too many open connections\r\n";

/* --- resolving and binding ------------------------------------------------------- */

int net_resolve(const char *host, int port, struct net_addr *out, int max, char error[NET_ERROR_BYTES])
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *list;
	char service[12];
	int count = 0;

	snprintf(service, sizeof(service), "%d", port);
	int failure = getaddrinfo(*host ? host : NULL, service, &hints, &list);
	if (failure) {
		snprintf(error, NET_ERROR_BYTES, "failed to listen on one of interface(s) %s: getaddrinfo(): %s",
		         host, gai_strerror(failure));
		return -1;
	}
	for (struct addrinfo *a = list; a && count < max; a = a->ai_next) {
		struct net_addr addr = {.len = a->ai_addrlen};
		bool known = false;
		memcpy(&addr.u.storage, a->ai_addr, a->ai_addrlen);
		for (int i = 0; i < count; i++)
			known = known || net_addr_equal(&out[i], &addr);
		if (!known)
			out[count++] = addr;
	}
	freeaddrinfo(list);
	return count;
}

int net_bind(const struct net_addr *addr, int type)
{
	int fd = socket(addr->u.sa.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -1;
	if (type == SOCK_STREAM) /* of UDP it would let two servers share a port */
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (addr->u.sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (addr->u.sa.sa_family != AF_UNIX && type == SOCK_STREAM) { /* what is accepted inherits these */
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	if (bind(fd, &addr->u.sa, addr->len) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

bool net_listener_add(struct net *net, struct net_listeners *set, int fd, bool link)
{
	struct net_listener *l = calloc(1, sizeof(*l));

	if (!l || set->count == NET_LISTENERS_MAX) {
		free(l);
		close(fd);
		return false;
	}
	*l = (struct net_listener){.net = net, .fd = fd, .link = link};
	set->at[set->count++] = l;
	return true;
}

void net_listeners_close(struct net_listeners *set)
{
	for (int i = 0; i < set->count; i++) {
		if (event_initialized(&set->at[i]->event))
			event_del(&set->at[i]->event);
		close(set->at[i]->fd);
		free(set->at[i]);
	}
	set->count = 0;
}

/* A family that this host does not have is no reason to fail. */
static bool family_is_missing(int err)
{
	return err == EAFNOSUPPORT || err == EPROTONOSUPPORT;
}

/* What is bound to all elements of -l, one after the other. */
struct binding {
	struct net *net;
	struct net_listeners *set;
	int type;      /* SOCK_STREAM or SOCK_DGRAM */
	int port;      /* where an element has none: 0 skip it, -1 a free one */
	int free_port; /* once found it is taken for the addresses that follow as well */
	char *error;   /* [NET_ERROR_BYTES] */
};

static int bind_addr(struct binding *b, struct net_addr *addr, int port)
{
	if (port == 0 && b->free_port)
		net_addr_set_port(addr, b->free_port);
	int fd = net_bind(addr, b->type);
	if (fd < 0 && port == 0 && b->free_port) { /* not free on this address */
		net_addr_set_port(addr, 0);
		fd = net_bind(addr, b->type);
	}
	return fd;
}

/* All addresses of one element of -l. */
static bool bind_element(struct binding *b, const char *host, int port)
{
	struct net_addr addrs[RESOLVED_MAX], local;
	int bound = 0, count = net_resolve(host, port, addrs, RESOLVED_MAX, b->error);

	for (int i = 0; i < count; i++) {
		int fd = bind_addr(b, &addrs[i], port);
		bool wildcard = !*host && addrs[i].u.sa.sa_family == AF_INET6;
		if (fd < 0 && (family_is_missing(errno) || (wildcard && errno == EADDRNOTAVAIL)))
			continue;
		if (fd < 0) {
			snprintf(b->error, NET_ERROR_BYTES, "failed to listen on %s port %d: %s%s%s%s",
			         b->type == SOCK_STREAM ? "TCP" : "UDP", port, strerror(errno),
			         *host ? " (" : "", host, *host ? ")" : "");
			return false;
		}
		if (port == 0 && net_addr_local(fd, &local))
			b->free_port = net_addr_port(&local);
		if (!net_listener_add(b->net, b->set, fd, false)) {
			snprintf(b->error, NET_ERROR_BYTES, "too many addresses to listen on");
			return false;
		}
		bound++;
	}
	if (count >= 0 && !bound)
		snprintf(b->error, NET_ERROR_BYTES, "failed to listen on one of interface(s) %s: no usable address",
		         host);
	return bound > 0;
}

static bool bind_all(struct binding *b)
{
	static const struct listen_addr any = {.host = "", .port = -1};
	const struct settings *s = b->net->settings;
	int count = s->listen_count ? s->listen_count : 1;

	for (int i = 0; i < count; i++) {
		const struct listen_addr *l = s->listen_count ? &s->listen[i] : &any;
		if (l->port < 0 && b->port == 0)
			continue;
		int port = l->port >= 0 ? l->port : b->port > 0 ? b->port : 0;
		if (!bind_element(b, l->host, port))
			return false;
	}
	return true;
}

bool net_listen_bind_udp(struct net *net, struct net_listeners *set, char error[NET_ERROR_BYTES])
{
	struct binding udp = {net, set, SOCK_DGRAM, net->settings->udp_port, 0, error};

	return bind_all(&udp);
}

/* --- the Unix socket --------------------------------------------------------------- */

static bool bind_unix(struct net *net, char error[NET_ERROR_BYTES])
{
	const struct settings *s = net->settings;
	struct net_addr addr = {.len = sizeof(struct sockaddr_un)};
	struct sockaddr_un *un = (void *)&addr.u.storage;
	struct stat st;

	if (strlen(s->socket_path) >= sizeof(un->sun_path)) {
		snprintf(error, NET_ERROR_BYTES, "failed to listen on UNIX socket: the path is too long");
		return false;
	}
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, s->socket_path, strlen(s->socket_path) + 1);
	if (lstat(s->socket_path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(s->socket_path); /* left behind by a process that was killed */
	mode_t mask = umask((mode_t)(~s->socket_mask & 0777));
	int fd = net_bind(&addr, SOCK_STREAM);
	int bind_errno = errno;
	umask(mask);
	if (fd < 0 || !net_listener_add(net, &net->clients, fd, false)) {
		snprintf(error, NET_ERROR_BYTES, "failed to listen on UNIX socket %.200s: %s", s->socket_path,
		         strerror(bind_errno));
		return false;
	}
	if (stat(s->socket_path, &st) == 0) {
		net->unix_dev = st.st_dev;
		net->unix_ino = st.st_ino;
	}
	return true;
}

void net_unix_socket_remove(struct net *net)
{
	struct stat st;

	if (net->unix_ino && lstat(net->settings->socket_path, &st) == 0 && st.st_dev == net->unix_dev &&
	    st.st_ino == net->unix_ino)
		unlink(net->settings->socket_path);
	net->unix_ino = 0;
}

bool net_listen_bind_clients(struct net *net, char error[NET_ERROR_BYTES])
{
	if (net->settings->socket_path[0])
		return bind_unix(net, error);
	struct binding tcp = {net, &net->clients, SOCK_STREAM, net->settings->tcp_port, 0, error};
	return bind_all(&tcp);
}

/* --- accepting --------------------------------------------------------------------- */

static int accept_one(int fd, struct net_addr *peer)
{
	*peer = (struct net_addr){.len = sizeof(peer->u.storage)};
#ifdef HAVE_ACCEPT4
	return accept4(fd, &peer->u.sa, &peer->len, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
	int taken = accept(fd, &peer->u.sa, &peer->len);
	if (taken >= 0) {
		evutil_make_socket_nonblocking(taken);
		evutil_make_socket_closeonexec(taken);
	}
	return taken;
#endif
}

static void listeners_arm(struct net_listeners *set, bool armed)
{
	for (int i = 0; i < set->count; i++) {
		if (!event_initialized(&set->at[i]->event))
			continue;
		if (armed)
			event_add(&set->at[i]->event, NULL);
		else
			event_del(&set->at[i]->event);
	}
}

/* [A2] */
static void accept_pause(struct net *net, bool no_descriptors, int err)
{
	struct stats *stats = node_engine(net->node)->stats;
	struct timeval retry = {0, RETRY_US};

	if (no_descriptors) {
		if (log_limit_pass(&net->pause.log_limit, &net->now, NULL))
			log_printf(net->log, LOG_ERROR, "no connection taken for a while: %s", strerror(err));
		event_add(&net->pause.retry, &retry);
		if (net->link)
			net_link_accept(net->link, false);
	}
	net->pause.no_descriptors = no_descriptors;
	if (net->pause.paused)
		return;
	net->pause.paused = true;
	net->pause.since_us = net_mono_us();
	stats->accepting_conns = false;
	stats->listen_disabled_num++;
	listeners_arm(&net->clients, false);
}

void net_accept_resume(struct net *net)
{
	struct stats *stats = node_engine(net->node)->stats;

	if (!net->pause.paused || net->pause.no_descriptors ||
	    net->conn_count >= (size_t)net->settings->conns_max)
		return;
	net->pause.paused = false;
	stats->accepting_conns = true;
	stats->time_in_listen_disabled_us += (uint64_t)(net_mono_us() - net->pause.since_us);
	if (net->serving)
		listeners_arm(&net->clients, true);
}

void net_accept_retry(evutil_socket_t fd, short what, void *arg)
{
	struct net *net = arg;

	(void)fd, (void)what;
	net_turn(net);
	net->pause.no_descriptors = false;
	if (net->link)
		net_link_accept(net->link, true);
	net_accept_resume(net);
}

/* One line, and the connection is gone. What it may have sent already is read,
 * for else the kernel answers it with a reset that can overtake the line. */
static void refuse(struct net *net, int fd)
{
	node_engine(net->node)->stats->rejected_connections++;
	ssize_t sent = send(fd, too_many, sizeof(too_many) - 1, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	ssize_t got = recv(fd, net->recv_buf, NET_RECV_BYTES, MSG_DONTWAIT);
	(void)sent, (void)got;
	close(fd);
}

static void on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct net_listener *l = arg;
	struct net *net = l->net;
	struct net_addr peer;

	(void)what;
	net_turn(net);
	net_meter_cause(&net->meter, l->link ? TURN_PEER : TURN_ACCEPT);
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) { /* [A1] */
		bool full = !l->link && net->conn_count >= (size_t)net->settings->conns_max;
		if (full && !net->settings->maxconns_fast) {
			accept_pause(net, false, 0);
			return;
		}
		int fd = accept_one(listen_fd, &peer);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				accept_pause(net, true, errno);
			return; /* nobody waits, or one gave up meanwhile: come back */
		}
		if (full)
			refuse(net, fd);
		else if (l->link)
			net_link_accepted(net, fd);
		else
			net_conn_open(net, fd, &peer);
	}
}

bool net_listeners_open(struct net *net, struct net_listeners *set, int backlog)
{
	for (int i = 0; i < set->count; i++) {
		struct net_listener *l = set->at[i];
		if (listen(l->fd, backlog) < 0)
			return false;
		event_assign(&l->event, net->base, l->fd, EV_READ | EV_PERSIST, on_accept, l);
		if (event_add(&l->event, NULL) < 0)
			return false;
		log_printf(net->log, LOG_DEBUG, "<%d server listening (%s)", l->fd,
		           l->link ? "replication" : "auto-negotiate");
	}
	return true;
}

/* --- the port file ------------------------------------------------------------------- */

static void write_ports(FILE *file, const struct net_listeners *set, const char *what)
{
	struct net_addr addr;

	for (int i = 0; i < set->count; i++) {
		if (!net_addr_local(set->at[i]->fd, &addr) || addr.u.sa.sa_family == AF_UNIX)
			continue;
		fprintf(file, "%s %s: %d\n", what, addr.u.sa.sa_family == AF_INET ? "INET" : "INET6",
		        net_addr_port(&addr));
	}
}

void net_port_file_write(const struct net *net)
{
	char temporary[SETTINGS_PATH_MAX + 8];

	if (!net->port_file[0])
		return;
	snprintf(temporary, sizeof(temporary), "%s.lck", net->port_file);
	FILE *file = fopen(temporary, "w");
	if (!file) {
		log_printf(net->log, LOG_ERROR, "cannot write %s: %s", temporary, strerror(errno));
		return;
	}
	write_ports(file, &net->clients, "TCP");
	if (net->udp)
		write_ports(file, net_udp_listeners(net->udp), "UDP");
	if (net->link)
		write_ports(file, net_link_listeners(net->link), "REPL");
	if (fclose(file) != 0 || rename(temporary, net->port_file) != 0)
		log_printf(net->log, LOG_ERROR, "cannot write %s: %s", net->port_file, strerror(errno));
}
