/*
 * net_dial.c - an attempt to connect to the peer.
 *
 * Owns: looking the host up (anew each time, for addresses move), trying each
 * address in turn, the address to connect from, and the time limits.
 *
 * Must not know: what the connection is for, when to try again.
 *
 *     idle --start--> LOOKUP --addresses--> CONNECT(first) ... CONNECT(last)
 *       ^                |                      |                  |
 *       +--- done(-1) ---+      done(fd) <------+----> done(-1) ---+
 *
 * The other side may know this host by the address that it listens on, and take
 * no other (repl_accept). So a connection is made from there, if there is just
 * one such address of the family in question; loopback and the rest are kept
 * apart. If that leads nowhere the same address is tried once more from wherever
 * the kernel likes.
 *
 * Invariants
 *  [D1] done is called exactly once per start, unless stopped
 *  [D2] done is never called from within net_dial_start()
 *
 * Covered by: t/pair.t, t/mutual.t, t/security.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

/* Replication gives an attempt 2.5 s in all. Several addresses share the time,
 * so that a dead first one does not hide a living second one for ever. */
#define CONNECT_MS_MAX 2400
#define ADDRESS_MS_MIN 300
#define REASON_BYTES 400

struct net_dial {
	struct net *net;
	net_dial_done *done;
	void *ctx;
	struct net_lookup *lookup;
	const struct net_addr *sources; /* what this node listens on */
	int source_count;
	struct net_addr addrs[NET_LOOKUP_ADDRS_MAX];
	int addr_count;
	int addr_at;  /* the one that is tried */
	bool unbound; /* and now from anywhere */
	int fd; /* being connected, else -1 */
	struct event event; /* of fd */
	bool running;
	char reason[REASON_BYTES];
};

static void try_next(struct net_dial *d);

static void finish(struct net_dial *d, int fd)
{
	assert(d->running); /* [D1] */
	d->running = false;
	d->done(d->ctx, fd, fd < 0 ? d->reason : NULL);
}

static void set_event(struct net_dial *d, int fd, short what, event_callback_fn fn, int wait_ms)
{
	struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};

	event_del(&d->event);
	event_assign(&d->event, d->net->base, fd, what, fn, d);
	event_add(&d->event, &wait);
}

/* --- where from -------------------------------------------------------------------- */

/* NULL: the kernel is to choose. */
static const struct net_addr *source_for(const struct net_dial *d, const struct net_addr *to)
{
	const struct net_addr *found = NULL;

	for (int i = 0; i < d->source_count; i++) {
		const struct net_addr *a = &d->sources[i];
		if (a->u.sa.sa_family != to->u.sa.sa_family)
			continue;
		if (net_addr_is_any(a))
			return NULL;
		if (net_addr_is_loopback(a) != net_addr_is_loopback(to))
			continue;
		if (found)
			return NULL;
		found = a;
	}
	return found;
}

/* Whatever comes of it: not to be bound is no reason not to connect. */
static void bind_source(int fd, const struct net_addr *source)
{
	struct net_addr from = *source;
	int on = 1;

	net_addr_set_port(&from, 0);
#ifdef IP_BIND_ADDRESS_NO_PORT
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
#endif
	(void)on;
	(void)bind(fd, &from.u.sa, from.len);
}

/* --- connecting ------------------------------------------------------------------ */

/* Between two free ports of one host TCP can connect a socket to itself. */
static bool is_self(int fd)
{
	struct net_addr local, peer;

	return net_addr_local(fd, &local) && net_addr_peer(fd, &peer) && net_addr_equal(&local, &peer);
}

/* This attempt has failed: what is to be tried next? The host itself has said no
 * with ECONNREFUSED, so asking from elsewhere is of no use then. */
static void give_up_attempt(struct net_dial *d, int failure, const char *why)
{
	const struct net_addr *addr = &d->addrs[d->addr_at];
	char text[NET_ADDR_TEXT_BYTES];

	assert(d->addr_at < d->addr_count);
	net_addr_text(addr, text);
	snprintf(d->reason, sizeof(d->reason), "%s: %s", text, why);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	d->unbound = !d->unbound && failure != ECONNREFUSED && source_for(d, addr);
	d->addr_at += !d->unbound;
}

static void on_connect(evutil_socket_t fd, short what, void *arg)
{
	struct net_dial *d = arg;
	int failure = 0;
	socklen_t len = sizeof(failure);

	net_turn(d->net);
	if (what & EV_TIMEOUT) {
		give_up_attempt(d, ETIMEDOUT, "no answer");
	} else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0 || failure) {
		failure = failure ? failure : errno;
		give_up_attempt(d, failure, strerror(failure));
	} else if (is_self(fd)) {
		give_up_attempt(d, ECONNREFUSED, "nobody listens");
	} else {
		d->fd = -1;
		finish(d, fd);
		return;
	}
	try_next(d);
}

/* Not in place: done must not be called from within net_dial_start(). [D2] */
static void on_failed_start(evutil_socket_t fd, short what, void *arg)
{
	struct net_dial *d = arg;

	(void)fd, (void)what;
	net_turn(d->net);
	finish(d, -1);
}

static int attempt_ms(const struct net_dial *d)
{
	int attempts = 0;

	for (int i = 0; i < d->addr_count; i++)
		attempts += source_for(d, &d->addrs[i]) ? 2 : 1;
	int share = CONNECT_MS_MAX / attempts;
	return share > ADDRESS_MS_MIN ? share : ADDRESS_MS_MIN;
}

static void try_next(struct net_dial *d)
{
	int on = 1;

	while (d->addr_at < d->addr_count) {
		const struct net_addr *addr = &d->addrs[d->addr_at];
		const struct net_addr *source = d->unbound ? NULL : source_for(d, addr);
		d->fd = socket(addr->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (d->fd >= 0) {
			setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
			if (source)
				bind_source(d->fd, source);
			if (connect(d->fd, &addr->u.sa, addr->len) == 0 || errno == EINPROGRESS) {
				set_event(d, d->fd, EV_WRITE, on_connect, attempt_ms(d));
				return;
			}
		}
		give_up_attempt(d, errno, strerror(errno));
	}
	set_event(d, -1, 0, on_failed_start, 0);
}

static void on_addresses(void *ctx, const struct net_addr *addrs, int count, const char *reason)
{
	struct net_dial *d = ctx;

	assert(d->running && count <= NET_LOOKUP_ADDRS_MAX);
	memcpy(d->addrs, addrs, (size_t)count * sizeof(*addrs));
	d->addr_count = count;
	if (!count)
		snprintf(d->reason, sizeof(d->reason), "%s", reason);
	try_next(d);
}

/* --- outside ------------------------------------------------------------------------ */

struct net_dial *net_dial_new(struct net *net, net_dial_done *done, void *ctx)
{
	struct net_dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct net_dial){.net = net, .done = done, .ctx = ctx, .fd = -1};
	evtimer_assign(&d->event, net->base, on_failed_start, d);
	d->lookup = net_lookup_new(net, on_addresses, d);
	if (d->lookup)
		return d;
	free(d);
	return NULL;
}

void net_dial_from(struct net_dial *d, const struct net_addr *sources, int count)
{
	d->sources = sources;
	d->source_count = count;
}

void net_dial_stop(struct net_dial *d)
{
	net_lookup_stop(d->lookup);
	event_del(&d->event);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	d->running = false;
}

void net_dial_start(struct net_dial *d, const char *host, int port)
{
	assert(port > 0);
	net_dial_stop(d);
	d->running = true;
	d->addr_count = d->addr_at = 0;
	d->unbound = false;
	net_lookup_start(d->lookup, host, port);
}

void net_dial_reap(struct net_dial *d)
{
	net_lookup_reap(d->lookup);
}

void net_dial_free(struct net_dial *d)
{
	if (!d)
		return;
	net_dial_stop(d);
	net_lookup_free(d->lookup);
	free(d);
}
