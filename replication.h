/*
 * replication.h - the link: handshake, roles, LIVE/WALK, applying.
 *
 * Owns: who the peer is, what it has acknowledged, the two directions of the
 * link, the walk, lost_below, the role, retry and heartbeat deadlines, and the
 * numbers of `stats replication`. The contract is doc/replication.txt
 * (sections are cited in the code).
 *
 * Must not know: sockets and libevent (the shell moves the bytes and reconciles
 * repl_wants()), clients and their protocols, any command.
 *
 * It sees changes only as the observer of items (change.h) and changes data
 * only through the four mutators with CAUSE_PEER (and items_sweep).
 *
 * A connection on the link port is a struct repl_conn: bytes in, bytes out,
 * pulled by the shell as with a session:
 *
 *   repl_conn_input(c, data, len)       any chunking
 *   n = repl_conn_output(c, iov, max); send; repl_conn_sent(c, len)
 *   repl_conn_wants_read(c)             false while applying is held up
 *   repl_conn_closing(c)                shell sends what repl_conn_output still
 *                                       gives, then closes and calls repl_conn_closed
 *   repl_conn_closed(c)                 the socket is gone; c is freed later by
 *                                       repl_tick, never inside the call
 *
 * Layer 4. Covered by: t/test_repl_wire.c, t/test_replication.c, t/sim.
 */
#ifndef REPLICATION_H
#define REPLICATION_H

#include "compat.h"
#include "change.h"
#include "clock.h"
#include "items.h"
#include "log.h"
#include "settings.h"
#include "stats.h"

#define REPL_ENTROPY_BYTES 56
#define REPL_CONNS_MAX 8 /* the link, a successor, and strangers being refused */

struct repl;
struct repl_conn;

enum repl_role {
	REPL_OFF,
	REPL_MASTER, /* listens on the link port, or holds the accepted end */
	REPL_SLAVE   /* holds the connected end of the link */
};

/* What the shell is to bring about; it compares with what is, after every turn. */
struct repl_wants {
	bool client_ports;    /* open once true; never closed again */
	bool link_listen;     /* listen on the link port */
	uint64_t connect_seq; /* resolve and connect to settings.repl_peer, once per new value */
	bool drained;         /* after repl_stop(): nothing left to wait for */
};

/* Create. All pointers are borrowed. random: entropy from the shell (node-id,
 * origin, jitter, and 32 bytes that nobody can guess: the nonces come from them);
 * deterministic in the simulator. Sets hlc's origin.
 * Does not attach itself to items: node.c wires the observer. */
struct repl *repl_new(const struct settings *settings, struct items *items, struct hlc *hlc,
                      const struct now *now, struct log *log,
                      const uint8_t random[REPL_ENTROPY_BYTES]);
void repl_free(struct repl *r);

const struct repl_wants *repl_wants(const struct repl *r);
enum repl_role repl_role(const struct repl *r);

/* What waiting replies want to know: the link came up, was lost, or the peer
 * acknowledged all of ours up to version (refused: it did not take all of it). */
enum repl_news {
	REPL_NEWS_UP,
	REPL_NEWS_DOWN,
	REPL_NEWS_ACKED,
	REPL_NEWS_REFUSED
};
void repl_on_news(struct repl *r, void (*fn)(void *ctx, enum repl_news news, uint64_t version), void *ctx);

/* State changes as "event=<name> field=value ...": those of the log, and the
 * beginning and end of walks. fields is valid during the call only. */
void repl_on_event(struct repl *r, void (*fn)(void *ctx, const char *fields), void *ctx);

/* The observer (change.h). */
void repl_on_change(struct repl *r, const struct change *change);

/* A connection was accepted on the link port (outgoing false) or made. peer is
 * a printable address, copied. NULL: refused, close it at once. */
struct repl_conn *repl_conn_open(struct repl *r, bool outgoing, const char *peer);
/* The connect attempt failed (also: name not resolved); reason is printable. */
void repl_connect_failed(struct repl *r, const char *reason);
/* The link port could not be listened on; it is tried again after a while. */
void repl_listen_failed(struct repl *r, const char *reason);

void repl_conn_input(struct repl_conn *c, const uint8_t *data, size_t len);
int repl_conn_output(struct repl_conn *c, struct iovec *iov, int iov_max);
void repl_conn_sent(struct repl_conn *c, size_t len);
bool repl_conn_wants_read(const struct repl_conn *c);
bool repl_conn_closing(const struct repl_conn *c);
void repl_conn_closed(struct repl_conn *c, const char *reason);

/* End of a turn: put the MARK of this batch behind what was appended, advance
 * walks by a bounded amount. Cheap when there is nothing to do. */
void repl_turn_end(struct repl *r);
/* Timers: heartbeat, silence, retry, drain, reaping. */
void repl_tick(struct repl *r);
int64_t repl_next_due_ms(const struct repl *r); /* mono ms, INT64_MAX none */

/* SIGTERM: no new connections; drain the link until everything is acknowledged
 * or repl_drain_ms passed, then wants.drained. */
void repl_stop(struct repl *r);

/* Flat fields of `stats` (replication, repcached_version, repcached_qi_free,
 * repl_*) and the whole list of `stats replication`. */
void repl_stats_flat(const struct repl *r, const struct stats_sink *sink);
void repl_stats(const struct repl *r, const struct stats_sink *sink);

/* Memory that connections of the link hold, without the items that wait pinned. */
uint64_t repl_memory_bytes(const struct repl *r);
/* Whether this node is sending all it has, or what was missed. */
bool repl_is_walking(const struct repl *r);

/* For tests and the simulator: static description of the first broken
 * invariant, or NULL. */
const char *repl_check(const struct repl *r);
uint64_t repl_lost_below(const struct repl *r);
bool repl_is_linked(const struct repl *r);
/* True when both directions are LIVE, nothing unsent or unacknowledged, no
 * tombstones held: quiet. */
bool repl_is_quiet(const struct repl *r);

#endif
