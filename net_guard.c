/*
 * net_guard.c - who may connect to the link port (repl_accept=peer).
 *
 * Owns: the addresses of the peer's host, looked up when a connection asks for
 * it, and the connections that wait for the answer.
 *
 * Must not know: what happens to a connection that is let in.
 *
 *     offered --from a known address, known for no longer than KNOWN_MS--> in
 *        |----the answer is not older than ASK_MS------------------------> in or out
 *        +----else it waits for a new answer ----------------------------> in or out
 *
 * All of 127.0.0.0/8 and ::1 is one host. When the name servers do not answer,
 * the addresses that the host had last stay good: else their failure would keep
 * a pair apart that was one. Strangers make this node ask once in ASK_MS at most.
 *
 * Invariants
 *  [G1] at most WAITING_MAX connections wait; the oldest gives way
 *
 * Covered by: t/security.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <unistd.h>

#define KNOWN_MS 5000
#define ASK_MS 1000
#define WAITING_MAX 32
#define QUIET_MS 60000 /* the same host is reported again after this */

struct net_guard {
	struct net *net;
	const char *host;
	net_guard_admit *admit;
	void *ctx;
	struct net_lookup *lookup;
	struct net_addr addrs[NET_LOOKUP_ADDRS_MAX]; /* of the last good answer */
	int count;
	int64_t asked_ms; /* when there was an answer last; INT64_MIN never */
	int64_t known_ms; /* when it was a good one */
	int waiting[WAITING_MAX]; /* sockets, the oldest first */
	int waiting_count;
	struct log_limit limit;
	struct net_addr reported;
	int64_t quiet_ms;
};

static bool is_peer(const struct net_guard *g, const struct net_addr *addr)
{
	for (int i = 0; i < g->count; i++)
		if (net_addr_same_host(&g->addrs[i], addr))
			return true;
	return false;
}

/* A host that comes again and again is reported once in a while, and so many
 * different ones once in a second. */
static bool is_news(struct net_guard *g, const struct net_addr *addr)
{
	int64_t now_ms = g->net->now.mono_ms;

	if (g->reported.len && net_addr_same_host(&g->reported, addr) && now_ms < g->quiet_ms)
		return false;
	if (!log_limit_pass(&g->limit, &g->net->now, NULL))
		return false;
	g->reported = *addr;
	g->quiet_ms = now_ms + QUIET_MS;
	return true;
}

static void turn_away(struct net_guard *g, int fd, const struct net_addr *addr)
{
	char text[NET_ADDR_TEXT_BYTES];

	/* Said before it is done: who sees the one can look for the other. */
	if (is_news(g, addr)) {
		net_addr_text(addr, text);
		log_printf(g->net->log, LOG_NOTICE, "replication: closed %s: %s of -x %s (repl_accept=peer)",
			   text, g->count ? "it is no address" : "no address is known", g->host);
	}
	close(fd);
}

/* As the answer has it that we have got. */
static void decide(struct net_guard *g, int fd)
{
	struct net_addr addr;

	if (!net_addr_peer(fd, &addr))
		close(fd); /* it has gone */
	else if (is_peer(g, &addr))
		g->admit(g->ctx, fd);
	else
		turn_away(g, fd, &addr);
}

static void on_answer(void *ctx, const struct net_addr *addrs, int count, const char *reason)
{
	struct net_guard *g = ctx;
	int waiting[WAITING_MAX], waiting_count = g->waiting_count;

	(void)reason; /* dialling says it */
	g->asked_ms = g->net->now.mono_ms;
	if (count > 0) {
		memcpy(g->addrs, addrs, (size_t)count * sizeof(*addrs));
		g->count = count;
		g->known_ms = g->asked_ms;
	}
	memcpy(waiting, g->waiting, sizeof(waiting));
	g->waiting_count = 0;
	for (int i = 0; i < waiting_count; i++)
		decide(g, waiting[i]);
}

static void wait_for_answer(struct net_guard *g, int fd)
{
	if (g->waiting_count == WAITING_MAX) { /* [G1] */
		close(g->waiting[0]);
		memmove(g->waiting, g->waiting + 1, (WAITING_MAX - 1) * sizeof(g->waiting[0]));
		g->waiting_count--;
	}
	g->waiting[g->waiting_count++] = fd;
	if (!net_lookup_running(g->lookup))
		net_lookup_start(g->lookup, g->host, 0);
}

void net_guard_offer(struct net_guard *g, int fd)
{
	struct net_addr addr;
	int64_t now_ms = g->net->now.mono_ms;

	if (!net_addr_peer(fd, &addr))
		close(fd);
	else if (g->count && now_ms < g->known_ms + KNOWN_MS && is_peer(g, &addr))
		g->admit(g->ctx, fd);
	else if (g->asked_ms != INT64_MIN && now_ms < g->asked_ms + ASK_MS)
		decide(g, fd);
	else
		wait_for_answer(g, fd);
}

void net_guard_stop(struct net_guard *g)
{
	net_lookup_stop(g->lookup);
	while (g->waiting_count > 0)
		close(g->waiting[--g->waiting_count]);
}

void net_guard_reap(struct net_guard *g)
{
	net_lookup_reap(g->lookup);
}

struct net_guard *net_guard_new(struct net *net, const char *host, net_guard_admit *admit, void *ctx)
{
	struct net_guard *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	*g = (struct net_guard){.net = net, .host = host, .admit = admit, .ctx = ctx, .asked_ms = INT64_MIN};
	g->lookup = net_lookup_new(net, on_answer, g);
	if (g->lookup)
		return g;
	free(g);
	return NULL;
}

void net_guard_free(struct net_guard *g)
{
	if (!g)
		return;
	net_guard_stop(g);
	net_lookup_free(g->lookup);
	free(g);
}
