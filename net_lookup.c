/*
 * net_lookup.c - the addresses of a host, without waiting for them.
 *
 * Owns: asking evdns, which reads the hosts file and resolv.conf; the time limit.
 *
 * Must not know: what the addresses are for.
 *
 *     idle --start--> running --answer, failure or time limit--> done() --> idle
 *
 * Each question has an evdns base of its own, made when it is asked, so that
 * changes of those files count at once, and freed at the end of the turn in which
 * its callback has run; a question that was given up is left on the list until
 * then. What is an address already is answered at once.
 *
 * Invariants
 *  [U1] done is called exactly once per start, unless stopped; perhaps within it
 *
 * Covered by: t/pair.t, t/netns.t, t/security.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <event2/dns.h>
#include <netinet/in.h>

/* Several name servers share the time, so that a dead first one does not hide a
 * living second one for ever. */
#define LOOKUP_MS_MAX 2200
#define NAME_SERVER_SECONDS "0.6"
#define REASON_BYTES 400

/* One question to evdns. */
struct question {
	struct question *next;
	struct net_lookup *lookup; /* NULL: given up */
	struct evdns_base *dns;
	struct evdns_getaddrinfo_request *request;
	bool answered;
};

struct net_lookup {
	struct net *net;
	net_lookup_done *done;
	void *ctx;
	struct question *questions; /* the newest first */
	struct net_addr addrs[NET_LOOKUP_ADDRS_MAX];
	int count, port;
	bool running;
	struct event timer;
	char host[256];
	char reason[REASON_BYTES];
};

static void finish(struct net_lookup *l)
{
	assert(l->running); /* [U1] */
	l->running = false;
	event_del(&l->timer);
	l->done(l->ctx, l->addrs, l->count, l->count ? NULL : l->reason);
}

/* Their callbacks still come, with the next events. */
static void give_up(struct net_lookup *l)
{
	for (struct question *q = l->questions; q; q = q->next) {
		q->lookup = NULL;
		if (q->request)
			evdns_getaddrinfo_cancel(q->request);
		q->request = NULL;
	}
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct net_lookup *l = arg;

	(void)fd, (void)what;
	net_turn(l->net);
	give_up(l);
	snprintf(l->reason, sizeof(l->reason), "%s: no answer from the name servers", l->host);
	finish(l);
}

static void take_addresses(struct net_lookup *l, const struct evutil_addrinfo *list)
{
	for (; list && l->count < NET_LOOKUP_ADDRS_MAX; list = list->ai_next) {
		struct net_addr *addr = &l->addrs[l->count];
		if (list->ai_addrlen > sizeof(addr->u.storage))
			continue;
		*addr = (struct net_addr){.len = (socklen_t)list->ai_addrlen};
		memcpy(&addr->u.storage, list->ai_addr, list->ai_addrlen);
		net_addr_set_port(addr, l->port);
		l->count++;
	}
}

static void on_answer(int result, struct evutil_addrinfo *list, void *arg)
{
	struct question *q = arg;
	struct net_lookup *l = q->lookup;

	q->answered = true;
	q->request = NULL;
	if (l) {
		net_turn(l->net);
		snprintf(l->reason, sizeof(l->reason), "%s: %s", l->host,
			 result ? evutil_gai_strerror(result) : "no address");
		if (!result)
			take_addresses(l, list);
		finish(l);
	}
	if (list)
		evutil_freeaddrinfo(list);
}

static const struct evutil_addrinfo any_tcp = {
	.ai_family = AF_UNSPEC,
	.ai_socktype = SOCK_STREAM,
	.ai_protocol = IPPROTO_TCP,
};

static bool ask(struct net_lookup *l)
{
	struct timeval wait = {LOOKUP_MS_MAX / 1000, LOOKUP_MS_MAX % 1000 * 1000};
	struct question *q = calloc(1, sizeof(*q));

	if (!q)
		return false;
	q->dns = evdns_base_new(l->net->base, 0);
	if (!q->dns) {
		free(q);
		return false;
	}
	q->lookup = l;
	q->next = l->questions;
	l->questions = q;
	/* Without a resolv.conf the hosts file is still good, so this may fail. */
	(void)evdns_base_resolv_conf_parse(q->dns, DNS_OPTIONS_ALL, "/etc/resolv.conf");
	(void)evdns_base_set_option(q->dns, "timeout:", NAME_SERVER_SECONDS);
	event_add(&l->timer, &wait);
	struct evdns_getaddrinfo_request *request =
		evdns_getaddrinfo(q->dns, l->host, NULL, &any_tcp, on_answer, q);
	if (!q->answered) /* else it is gone already */
		q->request = request;
	return true;
}

/* An address needs no question: true when host is one. */
static bool is_address(struct net_lookup *l)
{
	struct evutil_addrinfo hints = any_tcp;
	struct evutil_addrinfo *list = NULL;

	hints.ai_flags = EVUTIL_AI_NUMERICHOST;
	if (evutil_getaddrinfo(l->host, NULL, &hints, &list))
		return false;
	take_addresses(l, list);
	evutil_freeaddrinfo(list);
	return l->count > 0;
}

/* --- outside ------------------------------------------------------------------------ */

struct net_lookup *net_lookup_new(struct net *net, net_lookup_done *done, void *ctx)
{
	struct net_lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->net = net;
	l->done = done;
	l->ctx = ctx;
	evtimer_assign(&l->timer, net->base, on_timeout, l);
	return l;
}

void net_lookup_stop(struct net_lookup *l)
{
	event_del(&l->timer);
	l->running = false;
	give_up(l);
}

void net_lookup_start(struct net_lookup *l, const char *host, int port)
{
	assert(strlen(host) < sizeof(l->host));
	net_lookup_stop(l);
	l->running = true;
	l->count = 0;
	l->port = port;
	snprintf(l->host, sizeof(l->host), "%s", host);
	snprintf(l->reason, sizeof(l->reason), "%s: out of memory", host);
	if (is_address(l) || !ask(l))
		finish(l);
}

bool net_lookup_running(const struct net_lookup *l)
{
	return l->running;
}

void net_lookup_reap(struct net_lookup *l)
{
	struct question **at = &l->questions;

	while (*at) {
		struct question *q = *at;
		if (!q->answered) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		evdns_base_free(q->dns, 0);
		free(q);
	}
}

void net_lookup_free(struct net_lookup *l)
{
	if (!l)
		return;
	net_lookup_stop(l);
	/* The answers to what was cancelled come with the next events. */
	for (int i = 0; i < 4 && l->questions; i++) {
		event_base_loop(l->net->base, EVLOOP_NONBLOCK);
		net_lookup_reap(l);
	}
	free(l);
}
