/*
 * load_conn.h - one connection: bytes out, bytes in, requests in flight.
 *
 * Owns: the socket, the two buffers, the ring of requests that wait for their
 * replies, in order. By UDP a connection is a socket with one request in flight,
 * and `in` gets only whole replies.
 *
 * Must not know: why a request was made, when the next is due.
 *
 * Invariants
 *  [C1] in_flight <= depth; the oldest request is ring[head]
 *  [C2] in.off <= in.end <= in.capacity, and the same for out
 *  [C3] udp: depth is 1, and out is empty or one datagram
 */
#ifndef LOAD_CONN_H
#define LOAD_CONN_H

#include "compat.h"
#include "load_proto.h"
#include "load_udp.h"

struct bytes {
	char *data;
	size_t off, end, capacity;
};

struct conn {
	int fd;
	bool wants_write; /* registered for it */
	struct bytes in;
	struct bytes out;
	struct request *ring;
	struct request_key *keys; /* depth * width */
	unsigned depth, width;
	unsigned head, in_flight;
	struct udp_frames *udp; /* NULL: a stream */
	const char *udp_fault;  /* what is wrong with the last datagram, or NULL */
	uint64_t sent_ns;       /* kept by the caller: when the last request was */
};

/* Where a server is. */
struct address {
	const char *host;
	const char *port;
	const char *socket_path; /* NULL: by port */
	bool datagrams;          /* the port is one of UDP */
};

/* A connected socket; exits with a message on failure. */
int address_connect(const struct address *a);

void conn_open(struct conn *c, const struct address *a, unsigned depth, unsigned width);
void conn_close(struct conn *c);

static inline bool conn_has_room(const struct conn *c)
{
	return c->in_flight < c->depth;
}
/* The slot that the next request is made in; conn_has_room(). */
struct request *conn_slot(struct conn *c);
/* The request in the slot is complete: append it to the output. */
void conn_queue(struct conn *c, const struct proto *p);
/* Write what is queued; false when the socket takes no more for now. */
bool conn_flush(struct conn *c);
/* Read once; false when there was nothing. Exits when the server hangs up.
 * UDP: true when a reply is whole, or wrong. */
bool conn_receive(struct conn *c);
/* The oldest request is answered when this is DONE: use it, then conn_pop(). */
enum reply_status conn_check(struct conn *c, const struct proto *p, struct checker *checker);
static inline struct request *conn_oldest(struct conn *c)
{
	return &c->ring[c->head];
}
void conn_pop(struct conn *c);
/* UDP: what waits for its reply, and is still the oldest, will not get it. */
void conn_give_up(struct conn *c);

/* Print a message and exit(1). */
void die(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

#endif
