/*
 * node.h - a whole server minus I/O.
 *
 * Owns: every struct of one server (settings copy, items, clock, statistics,
 * replication, shared session memory) and their wiring: the observer of items,
 * the engine that handlers see, the deadlines. Two nodes live in one process
 * (rule R1): the simulator does just that.
 *
 * Must not know: sockets, libevent, time(), signals.
 *
 * The shell's duties, each turn of its loop: node_set_now() once before the
 * first callback; bytes through session.h and replication.h; node_turn_end()
 * after the last, and then a look at the sessions that wait (SESSION_HOLD,
 * SESSION_WATCH); node_tick() when node_next_due_ms() has passed; reconcile
 * node_wants().
 *
 * Layer 5. Covered by: t/test_node.c, t/sim.
 */
#ifndef NODE_H
#define NODE_H

#include "compat.h"
#include "engine.h"
#include "replication.h"
#include "session.h"

struct node;

/* entropy: random bytes (hash seed, replication). log and env are borrowed,
 * settings is copied. NULL and *error (static) when memory cannot be had. */
#define NODE_ENTROPY_BYTES (16 + REPL_ENTROPY_BYTES)
struct node *node_new(const struct settings *settings, const struct node_env *env, struct log *log,
                      const struct now *now, const uint8_t entropy[NODE_ENTROPY_BYTES], const char **error);
void node_free(struct node *n);

void node_set_now(struct node *n, const struct now *now);
void node_turn_end(struct node *n);
enum turn_cause node_tick(struct node *n); /* what took it longest, probably */
int64_t node_next_due_ms(const struct node *n); /* mono ms; INT64_MAX: nothing to wait for */

struct node_wants {
	bool client_ports;
	bool link_listen;
	uint64_t connect_seq; /* see repl_wants */
	bool stop_accepting;  /* close listeners */
	bool stopped;         /* drained: the shell may exit */
};
struct node_wants node_wants(const struct node *n);

/* Sessions: counted here (curr_connections, total_connections). */
struct session *node_session_open(struct node *n);
void node_session_close(struct node *n, struct session *s);

/* Who may log in by -Y; until then nobody may. Copied. */
void node_set_logins(struct node *n, const struct auth_table *table);
/* What -S asks; until then nobody may log in. Borrowed. */
void node_set_sasl(struct node *n, const struct sasl_env *sasl);

/* The same for one datagram: it is no connection, and is not counted. */
struct session *node_datagram_open(struct node *n);
void node_datagram_close(struct node *n, struct session *s);

/* Begin to stop: client ports closed, link drained (contract U11). */
void node_stop(struct node *n, enum stop_mode mode);

/* A second observer of every change, called after replication's (tests and the
 * simulator; NULL = none). */
void node_observe(struct node *n, change_observer *fn, void *ctx);

/* Resident memory that all sessions share. */
size_t node_buffer_bytes(const struct node *n);

struct repl *node_repl(struct node *n); /* NULL when replication is off */
struct engine *node_engine(struct node *n);
struct items *node_items(struct node *n);
const struct settings *node_settings(const struct node *n);

#endif
