/*
 * proto_udp.c - the frames of UDP. See proto_udp.h.
 *
 * Owns: the same.
 *
 * Must not know: sockets, sessions.
 *
 * Covered by: t/test_proto_udp.c, t/udp.t.
 */
#include "compat.h"
#include "proto_udp.h"
#include "util.h"

_Static_assert(UDP_REPLY_BYTES_MAX / UDP_PAYLOAD_BYTES_MAX < UINT16_MAX, "the number has 16 bits");

enum {
	AT_ID = 0,
	AT_NUMBER = 2,
	AT_COUNT = 4,
	AT_RESERVED = 6
};

/* ---- frames ------------------------------------------------------------------- */

bool udp_request_decode(const uint8_t *datagram, size_t len, struct udp_request *out)
{
	if (len <= UDP_HEADER_BYTES || load_be16(datagram + AT_COUNT) != 1)
		return false; /* requests of several datagrams never were supported by anyone */
	out->id = load_be16(datagram + AT_ID);
	out->payload = datagram + UDP_HEADER_BYTES;
	out->payload_len = len - UDP_HEADER_BYTES;
	return true;
}

void udp_reply_header(uint8_t out[UDP_HEADER_BYTES], uint16_t id, unsigned number, unsigned count)
{
	assert(number < count && count <= UINT16_MAX);
	store_be16(out + AT_ID, id);
	store_be16(out + AT_NUMBER, (uint16_t)number);
	store_be16(out + AT_COUNT, (uint16_t)count);
	store_be16(out + AT_RESERVED, 0);
}

int udp_reply_cut(struct iovec *iov, int count, size_t *len)
{
	size_t room = UDP_PAYLOAD_BYTES_MAX;
	int used = 0;

	while (used < count && room > 0) {
		if (iov[used].iov_len > room)
			iov[used].iov_len = room;
		room -= iov[used].iov_len;
		used++;
	}
	*len = UDP_PAYLOAD_BYTES_MAX - room;
	return used;
}

/* ---- budgets ------------------------------------------------------------------ */

void udp_budget_init(struct udp_budget *b, uint32_t rate)
{
	*b = (struct udp_budget){.rate = rate};
}

bool udp_budget_allows(struct udp_budget *b, uint64_t source, int64_t now_ms)
{
	size_t i = source % UDP_SOURCES;
	int64_t passed_ms = now_ms - b->at[i].ms;

	if (b->rate == 0)
		return true;
	/* Whoever was sent nothing for that long has paid, whatever it was. */
	int64_t grown = passed_ms < 1000000 ? passed_ms * b->rate / 1000 : b->at[i].missing;
	b->at[i].missing = grown < b->at[i].missing ? b->at[i].missing - grown : 0;
	b->at[i].ms = now_ms;
	return b->at[i].missing < b->rate;
}

void udp_budget_charge(struct udp_budget *b, uint64_t source, size_t bytes)
{
	assert(bytes <= INT32_MAX);
	b->at[source % UDP_SOURCES].missing += (int64_t)bytes;
}
