/*
 * session.h - one client conversation, without I/O.
 *
 * Owns: the protocol state of one connection; what was received but is not a
 * whole command yet; the item that a storage command is filling; what was
 * answered but not sent yet. An idle session costs under 1 KiB.
 *
 * Must not know: sockets, libevent, who is on the other side, replication.
 *
 * The way of the bytes (one turn of one connection, driven by the shell or the
 * simulator):
 *
 *   n = session_body_iov(s, iov, max)      > 0: receive straight into the item,
 *                                               then session_body_received(s, len)
 *                                          = 0: receive into the shared buffer,
 *                                               then session_input(s, data, len)
 *   while ((n = session_output(s, iov, max)) > 0) send, then session_sent(s, len),
 *                                               which says whether there is more
 *   session_settle(s)    copies what could not be sent out of the node's shared
 *                        output buffer into the session's own memory; must be
 *                        called before another session is given input
 *   session_state(s)     says what to do with the connection
 *
 * Small replies are formatted into one output buffer of the node; values above
 * SESSION_COPY_BYTES_MAX are sent from where they lie, pinned.
 *
 * Invariants
 *  [S1] replies leave in the order of the commands
 *  [S2] input is not parsed while more than SESSION_OUTPUT_BYTES_MAX of output
 *       waits (back-pressure); session_state() says SESSION_FLUSH then
 *  [S3] after settings.requests_per_event commands the session yields: it keeps
 *       the rest and says SESSION_YIELD; session_resume() goes on
 *
 *  [S6] a reply to a change leaves after the wait for the peer's acknowledgement
 *       (engine.holds, contract section 8), and so does everything after it
 *
 * A client that watches (watch.h) is answered OK and from then on gets lines when
 * something happens, whatever it sends. session_output() has them; engine.watch
 * says that there are new ones (node_next_due_ms() is now).
 *
 * Layer 4. Covered by: t/test_session.c, t/test_proto_text.c, the simulator.
 */
#ifndef SESSION_H
#define SESSION_H

#include "compat.h"
#include "engine.h"

#define SESSION_COPY_BYTES_MAX 4096
#define SESSION_OUTPUT_BYTES_MAX (256 * 1024)
/* A command line without its end is given up beyond this (reference 1.1). */
#define SESSION_LINE_BYTES_MAX 2048

struct session;

/* What all sessions of a node share: the output buffer, limits. One per node. */
struct session_shared;
struct session_shared *session_shared_new(size_t memory_bytes_max); /* of the items */
void session_shared_free(struct session_shared *shared);
/* What of it is resident. */
size_t session_shared_bytes(const struct session_shared *shared);

enum session_state {
	SESSION_READ,  /* wants input */
	SESSION_FLUSH, /* wants to send before it takes more input */
	SESSION_YIELD, /* has unparsed input left: call session_resume() in a later turn */
	SESSION_HOLD,  /* waits for something of the node; do not read */
	SESSION_WATCH, /* throws its input away; gets output from the node at any time */
	SESSION_CLOSE  /* close once session_output() is empty */
};

/* NULL: no memory. engine and shared are borrowed. */
struct session *session_new(struct engine *engine, struct session_shared *shared);
void session_free(struct session *s);
/* What watchers know the client by: its descriptor. */
void session_set_id(struct session *s, int64_t id);

int session_body_iov(struct session *s, struct iovec *iov, int iov_max);
void session_body_received(struct session *s, size_t len);
void session_input(struct session *s, const uint8_t *data, size_t len);
void session_resume(struct session *s);
int session_output(struct session *s, struct iovec *iov, int iov_max);
size_t session_output_len(const struct session *s); /* bytes that wait to be sent */
/* The first len bytes of it are gone. False: there is nothing left to send. */
bool session_sent(struct session *s, size_t len);
bool session_settle(struct session *s); /* false: no memory, close it */
/* How the last wait for the peer ended (SESSION_HOLD); tests, the simulator. */
enum hold_result session_hold_result(const struct session *s);
enum session_state session_state(const struct session *s);

/* Whether something that it was given is not used up: not complete, or not run. */
bool session_has_input(const struct session *s);
/* Whether it closes because of what the client sent, or for want of memory. */
bool session_has_failed(const struct session *s);
/* Whether it is between two commands with nothing to send: may be closed
 * gracefully or for idleness without loss. */
bool session_is_idle(const struct session *s);
/* Name of its state as `stats conns` shows it. */
const char *session_state_name(const struct session *s);
/* Own memory in bytes, for tests and statistics. */
size_t session_memory_bytes(const struct session *s);

#endif
