/*
 * net_dial.c - an attempt to connect to the peer.
 *
 * Owns: looking the host up (anew each time, for addresses move), trying each
 * address in turn, and the time limits of both.
 *
 * Must not know: what the connection is for, when to try again.
 *
 *     idle --start--> LOOKUP --addresses--> CONNECT(first) ... CONNECT(last)
 *       ^                |                      |                  |
 *       +--- done(-1) ---+      done(fd) <------+----> done(-1) ---+
 *
 * The name is looked up by evdns, which reads the hosts file and resolv.conf
 * and does not block. Each lookup has an evdns base of its own, made when it
 * starts, so that changes of those files count at once, and freed at the end of
 * the turn in which its callback has run; a lookup that was given up is left on
 * the list until then. Addresses need no lookup.
 *
 * Invariants
 *  [D1] done is called exactly once per start, unless stopped
 *  [D2] done is never called from within net_dial_start()
 *
 * Covered by: t/pair.t, t/mutual.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <errno.h>
#include <event2/dns.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define ADDRS_MAX 16
/* Replication gives an attempt 2.5 s in all. Several addresses share the time,
 * so that a dead first one does not hide a living second one for ever; several
 * name servers share theirs for the same reason. */
#define LOOKUP_MS_MAX 2200
#define NAME_SERVER_SECONDS "0.6"
#define CONNECT_MS_MAX 2400
#define ADDRESS_MS_MIN 300
#define REASON_BYTES 400

/* One question to evdns. */
struct lookup {
	struct lookup *next;
	struct net_dial *dial; /* NULL: given up */
	struct evdns_base *dns;
	struct evdns_getaddrinfo_request *request;
	bool answered;
};

struct net_dial {
	struct net *net;
	net_dial_done *done;
	void *ctx;
	struct lookup *lookups; /* the newest first */
	struct net_addr addrs[ADDRS_MAX];
	int addr_count, addr_next;
	int port;
	int fd; /* being connected, else -1 */
	struct event event; /* of fd, or the time limit of the lookup */
	bool running;
	char host[256];
	char reason[REASON_BYTES];
};

static void try_next(struct net_dial *d);

static void finish(struct net_dial *d, int fd)
{
	assert(d->running); /* [D1] */
	d->running = false;
	d->done(d->ctx, fd, fd < 0 ? d->reason : NULL);
}

/* Their callbacks still come, with the next events. */
static void give_up_lookups(struct net_dial *d)
{
	for (struct lookup *l = d->lookups; l; l = l->next) {
		l->dial = NULL;
		if (l->request)
			evdns_getaddrinfo_cancel(l->request);
		l->request = NULL;
	}
}

static void on_lookup_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct net_dial *d = arg;

	(void)fd, (void)what;
	net_turn(d->net);
	give_up_lookups(d);
	snprintf(d->reason, sizeof(d->reason), "%s: no answer from the name servers", d->host);
	finish(d, -1);
}

static void set_event(struct net_dial *d, int fd, short what, event_callback_fn fn, int wait_ms)
{
	struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};

	event_del(&d->event);
	event_assign(&d->event, d->net->base, fd, what, fn, d);
	event_add(&d->event, &wait);
}

/* --- connecting ------------------------------------------------------------------ */

/* Between two free ports of one host TCP can connect a socket to itself. */
static bool is_self(int fd)
{
	struct net_addr local, peer;

	return net_addr_local(fd, &local) && net_addr_peer(fd, &peer) && net_addr_equal(&local, &peer);
}

static void give_up_address(struct net_dial *d, const char *why)
{
	char text[NET_ADDR_TEXT_BYTES];

	assert(d->addr_next > 0);
	net_addr_text(&d->addrs[d->addr_next - 1], text);
	snprintf(d->reason, sizeof(d->reason), "%s: %s", text, why);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	try_next(d);
}

static void on_connect(evutil_socket_t fd, short what, void *arg)
{
	struct net_dial *d = arg;
	int failure = 0;
	socklen_t len = sizeof(failure);

	net_turn(d->net);
	if (what & EV_TIMEOUT) {
		give_up_address(d, "no answer");
	} else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0 || failure) {
		give_up_address(d, strerror(failure ? failure : errno));
	} else if (is_self(fd)) {
		give_up_address(d, "nobody listens");
	} else {
		d->fd = -1;
		finish(d, fd);
	}
}

/* Not in place: done must not be called from within net_dial_start(). [D2] */
static void on_failed_start(evutil_socket_t fd, short what, void *arg)
{
	struct net_dial *d = arg;

	(void)fd, (void)what;
	net_turn(d->net);
	finish(d, -1);
}

static int address_ms(const struct net_dial *d)
{
	int share = CONNECT_MS_MAX / d->addr_count;

	return share > ADDRESS_MS_MIN ? share : ADDRESS_MS_MIN;
}

static void try_next(struct net_dial *d)
{
	int on = 1;

	while (d->addr_next < d->addr_count) {
		const struct net_addr *addr = &d->addrs[d->addr_next++];
		char text[NET_ADDR_TEXT_BYTES];
		d->fd = socket(addr->u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (d->fd >= 0) {
			setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			setsockopt(d->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
			if (connect(d->fd, &addr->u.sa, addr->len) == 0 || errno == EINPROGRESS) {
				set_event(d, d->fd, EV_WRITE, on_connect, address_ms(d));
				return;
			}
		}
		int failure = errno;
		net_addr_text(addr, text);
		snprintf(d->reason, sizeof(d->reason), "%s: %s", text, strerror(failure));
		if (d->fd >= 0)
			close(d->fd);
		d->fd = -1;
	}
	set_event(d, -1, 0, on_failed_start, 0);
}

/* --- looking up -------------------------------------------------------------------- */

static void take_addresses(struct net_dial *d, const struct evutil_addrinfo *list)
{
	for (; list && d->addr_count < ADDRS_MAX; list = list->ai_next) {
		struct net_addr *addr = &d->addrs[d->addr_count];
		if (list->ai_addrlen > sizeof(addr->u.storage))
			continue;
		*addr = (struct net_addr){.len = (socklen_t)list->ai_addrlen};
		memcpy(&addr->u.storage, list->ai_addr, list->ai_addrlen);
		net_addr_set_port(addr, d->port);
		d->addr_count++;
	}
}

static void on_lookup(int result, struct evutil_addrinfo *list, void *arg)
{
	struct lookup *l = arg;
	struct net_dial *d = l->dial;

	l->answered = true;
	l->request = NULL;
	if (d) {
		net_turn(d->net);
		event_del(&d->event);
		snprintf(d->reason, sizeof(d->reason), "%s: %s", d->host,
		         result ? evutil_gai_strerror(result) : "no address");
		if (!result)
			take_addresses(d, list);
		try_next(d);
	}
	if (list)
		evutil_freeaddrinfo(list);
}

static bool start_lookup(struct net_dial *d)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
	                                .ai_protocol = IPPROTO_TCP};
	struct lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return false;
	l->dns = evdns_base_new(d->net->base, 0);
	if (!l->dns) {
		free(l);
		return false;
	}
	l->dial = d;
	l->next = d->lookups;
	d->lookups = l;
	/* Without a resolv.conf the hosts file is still good, so this may fail. */
	(void)evdns_base_resolv_conf_parse(l->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	(void)evdns_base_set_option(l->dns, "timeout:", NAME_SERVER_SECONDS);
	set_event(d, -1, 0, on_lookup_timeout, LOOKUP_MS_MAX);
	struct evdns_getaddrinfo_request *request =
	        evdns_getaddrinfo(l->dns, d->host, NULL, &hints, on_lookup, l);
	if (!l->answered) /* else it is gone already */
		l->request = request;
	return true;
}

/* An address needs no lookup: true when host is one. */
static bool is_address(struct net_dial *d)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
	                                .ai_protocol = IPPROTO_TCP, .ai_flags = EVUTIL_AI_NUMERICHOST};
	struct evutil_addrinfo *list = NULL;

	if (evutil_getaddrinfo(d->host, NULL, &hints, &list))
		return false;
	take_addresses(d, list);
	evutil_freeaddrinfo(list);
	return d->addr_count > 0;
}

/* --- outside ------------------------------------------------------------------------ */

struct net_dial *net_dial_new(struct net *net, net_dial_done *done, void *ctx)
{
	struct net_dial *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	*d = (struct net_dial){.net = net, .done = done, .ctx = ctx, .fd = -1};
	evtimer_assign(&d->event, net->base, on_failed_start, d);
	return d;
}

void net_dial_stop(struct net_dial *d)
{
	event_del(&d->event);
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	d->running = false;
	give_up_lookups(d);
}

void net_dial_start(struct net_dial *d, const char *host, int port)
{
	assert(port > 0 && strlen(host) < sizeof(d->host));
	net_dial_stop(d);
	d->running = true;
	d->addr_count = d->addr_next = 0;
	d->port = port;
	snprintf(d->host, sizeof(d->host), "%s", host);
	snprintf(d->reason, sizeof(d->reason), "%s: out of memory", host);
	if (is_address(d) || !start_lookup(d))
		try_next(d);
}

void net_dial_reap(struct net_dial *d)
{
	struct lookup **at = &d->lookups;

	while (*at) {
		struct lookup *l = *at;
		if (!l->answered) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		evdns_base_free(l->dns, 0);
		free(l);
	}
}

void net_dial_free(struct net_dial *d)
{
	if (!d)
		return;
	net_dial_stop(d);
	/* The answers to what was cancelled come with the next events. */
	for (int i = 0; i < 4 && d->lookups; i++) {
		event_base_loop(d->net->base, EVLOOP_NONBLOCK);
		net_dial_reap(d);
	}
	free(d);
}
