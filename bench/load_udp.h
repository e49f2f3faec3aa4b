/*
 * load_udp.h - memcached's frames of UDP, seen from the client.
 *
 * Owns: the 8 bytes in front of every datagram, the request id of a socket, putting
 * a reply of several datagrams together whatever their order.
 *
 *      0  2  request id, chosen here, echoed
 *      2  2  number of this datagram, from 0
 *      4  2  how many there are
 *      6  2  0
 *      8  .  payload
 *
 * Must not know: sockets, time, what the payload means.
 *
 * One request is under way on a socket at a time, and its reply is one message. An id
 * is the last one plus 1. A datagram with the id of a request that was given up is
 * late and thrown away; any other id but that of the request under way is wrong, and
 * so is a datagram that comes twice.
 *
 * Invariants
 *  [D1] waiting: parts[] holds what has come of the reply, `have` of `count`
 *  [D2] parts of all numbers lie in `bytes` in the order in which they came
 *
 * Covered by: bench/selftest.
 */
#ifndef LOAD_UDP_H
#define LOAD_UDP_H

#include "compat.h"

#define UDP_HEADER_BYTES 8
#define UDP_DATAGRAM_BYTES_MAX 1400   /* of a reply, with its header */
#define UDP_REQUEST_BYTES_MAX 65507   /* what IPv4 takes, with the header */
#define UDP_REPLY_BYTES_MAX (UDP_DATAGRAM_BYTES_MAX * 65535u)
#define UDP_LOST_REMEMBERED 64        /* ids of requests that were given up */

struct udp_part {
	size_t off, len; /* in bytes[]; len 0: has not come */
};

struct udp_frames {
	uint16_t id;
	bool waiting;         /* for the reply to the request with this id */
	unsigned count, have; /* datagrams of the reply; count 0: none has come */
	struct udp_part *parts;
	unsigned parts_capacity;
	uint8_t *bytes;
	size_t bytes_len, bytes_capacity;
	uint16_t lost[UDP_LOST_REMEMBERED]; /* a ring */
	unsigned lost_count;  /* ever put into it */
	uint64_t late;
};

enum udp_status {
	UDP_COMPLETE, /* the reply is whole: udp_reply_copy() */
	UDP_PARTIAL,  /* more is to come, or the datagram was late */
	UDP_WRONG     /* see *why */
};

/* Ids follow `id`. NULL when memory is short. */
struct udp_frames *udp_new(uint16_t id);
void udp_free(struct udp_frames *u);

/* A request with a new id: write its header. */
void udp_request_begin(struct udp_frames *u, uint8_t out[UDP_HEADER_BYTES]);
/* No reply has come to it: its id is remembered. */
void udp_request_give_up(struct udp_frames *u);
/* A datagram has come. *why: a text that lasts when it is wrong, else NULL. */
enum udp_status udp_take(struct udp_frames *u, const uint8_t *datagram, size_t len,
                         const char **why);
/* After UDP_COMPLETE: bytes_len bytes, in order. */
void udp_reply_copy(const struct udp_frames *u, char *out);

#endif
