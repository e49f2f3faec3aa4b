/*
 * proto_udp.h - the frames of UDP: a request in one datagram, its reply in as many
 * as it takes (doc/protocol.txt section 4).
 *
 * Owns: which byte stands where, which datagrams are requests, how a reply is cut,
 * and how much a source may be sent for what it asks.
 *
 *      0  2  request id, chosen by the client, echoed
 *      2  2  number of this datagram, from 0
 *      4  2  how many there are; 1 in a request
 *      6  2  reserved, 0
 *      8  .  payload, at most UDP_PAYLOAD_BYTES_MAX in a reply
 *
 * Must not know: sockets, sessions, what the payload means.
 *
 * Invariants
 *  [U1] all datagrams of a reply but the last are full, so that their number
 *       follows from the length of the reply
 *  [U2] a source in debt is not answered until its budget has grown again; it is
 *       never in debt by more than one reply
 *
 * Layer 2. Covered by: t/test_proto_udp.c, t/udp.t.
 */
#ifndef PROTO_UDP_H
#define PROTO_UDP_H

#include "compat.h"

#define UDP_HEADER_BYTES 8
#define UDP_DATAGRAM_BYTES_MAX 1400 /* of a reply: below any path's limit */
#define UDP_PAYLOAD_BYTES_MAX (UDP_DATAGRAM_BYTES_MAX - UDP_HEADER_BYTES)
/* Of one reply. More is refused: it would not get through anyway. */
#define UDP_REPLY_BYTES_MAX ((size_t)4 << 20)

struct udp_request {
	uint16_t id;
	const uint8_t *payload; /* into the datagram */
	size_t payload_len;
};

/* False: not a request. */
bool udp_request_decode(const uint8_t *datagram, size_t len, struct udp_request *out);

/* How many datagrams a reply of so many bytes takes. */
static inline unsigned udp_reply_count(size_t len)
{
	return (unsigned)((len + UDP_PAYLOAD_BYTES_MAX - 1) / UDP_PAYLOAD_BYTES_MAX);
}
void udp_reply_header(uint8_t out[UDP_HEADER_BYTES], uint16_t id, unsigned number, unsigned count);
/* The payload of the next datagram from the front of what waits: cuts iov, of which
 * the number of pieces is returned, and its bytes in *len. */
int udp_reply_cut(struct iovec *iov, int count, size_t *len);

/* ---- how much a source may be sent --------------------------------------------- */

#define UDP_SOURCES 4096 /* sources that are told apart; those of one place share it */

/* What a reply has in bytes more than its request is taken from the budget of the
 * request's source. It grows at a steady rate up to a second's worth. */
struct udp_budget {
	int64_t rate; /* bytes a second; 0: no limit */
	struct {
		int64_t missing; /* of a full budget; above the rate: in debt */
		int64_t ms;      /* when that was true */
	} at[UDP_SOURCES];
};

void udp_budget_init(struct udp_budget *b, uint32_t rate);
/* Whether a request of this source is to be served. source: a hash that nobody can
 * guess. */
bool udp_budget_allows(struct udp_budget *b, uint64_t source, int64_t now_ms);
/* It was sent so much more than it had sent. */
void udp_budget_charge(struct udp_budget *b, uint64_t source, size_t bytes);

#endif
