/*
 * net.h - the shell: sockets, timers and signals around one node.
 *
 * Owns (with net_*.c): the event loop, every socket, the instant of a turn.
 *
 * Must not know: what the bytes mean. It moves them between sockets and
 * session.h or replication.h, and brings about what node_wants() says.
 *
 * Layer 6. Covered by: the black-box tests in t.
 */
#ifndef NET_H
#define NET_H

#include "compat.h"
#include "log.h"
#include "node.h"
#include "settings.h"

#define NET_ERROR_BYTES 600

struct net;

/* Resolve and bind every address that is to be listened on; nothing listens
 * yet. NULL: error says why. settings and log are borrowed. */
struct net *net_new(const struct settings *settings, struct log *log, char error[NET_ERROR_BYTES]);
void net_free(struct net *net);

/* What node_new() needs from the shell. */
const struct node_env *net_env(const struct net *net);
const struct now *net_now(struct net *net);

struct net_hooks {
	void (*serving)(void *ctx); /* the client ports are open now */
	void (*reload)(void *ctx);  /* SIGHUP; NULL: there is nothing to reload */
	void (*started)(void *ctx); /* once: whatever opens at start is open */
	void *ctx;
};

/* Serve until the node says it is stopped; an exit code. */
int net_run(struct net *net, struct node *node, const struct net_hooks *hooks);

#endif
