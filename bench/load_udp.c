/* load_udp.c - memcached's frames of UDP, seen from the client. See load_udp.h. */
#include "compat.h"
#include "load_udp.h"

#define PARTS_INITIAL 4

struct header {
	uint16_t id, number, count, reserved;
};

static uint16_t get_u16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static void put_u16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

struct udp_frames *udp_new(uint16_t id)
{
	struct udp_frames *u = calloc(1, sizeof(*u));

	if (u)
		u->id = id;
	return u;
}

void udp_free(struct udp_frames *u)
{
	if (!u)
		return;
	free(u->parts);
	free(u->bytes);
	free(u);
}

static unsigned lost_remembered(const struct udp_frames *u)
{
	return u->lost_count < UDP_LOST_REMEMBERED ? u->lost_count : UDP_LOST_REMEMBERED;
}

static bool is_lost(const struct udp_frames *u, uint16_t id)
{
	for (unsigned i = 0; i < lost_remembered(u); i++)
		if (u->lost[i] == id)
			return true;
	return false;
}

static void forget_reply(struct udp_frames *u)
{
	u->count = u->have = 0;
	u->bytes_len = 0;
}

void udp_request_begin(struct udp_frames *u, uint8_t out[UDP_HEADER_BYTES])
{
	assert(!u->waiting);
	u->id++;
	u->waiting = true;
	forget_reply(u);
	put_u16(out, u->id);
	put_u16(out + 2, 0);
	put_u16(out + 4, 1);
	put_u16(out + 6, 0);
}

void udp_request_give_up(struct udp_frames *u)
{
	assert(u->waiting);
	u->waiting = false;
	u->lost[u->lost_count++ % UDP_LOST_REMEMBERED] = u->id;
	forget_reply(u);
}

/* The first datagram says how many there are. */
static bool begin_reply(struct udp_frames *u, unsigned count)
{
	if (count > u->parts_capacity) {
		unsigned wanted = count < PARTS_INITIAL ? PARTS_INITIAL : count;
		struct udp_part *parts = realloc(u->parts, wanted * sizeof(*parts));
		if (!parts)
			return false;
		u->parts = parts;
		u->parts_capacity = wanted;
	}
	memset(u->parts, 0, count * sizeof(*u->parts));
	u->count = count;
	return true;
}

static bool keep(struct udp_frames *u, unsigned number, const uint8_t *payload, size_t len)
{
	if (u->bytes_capacity - u->bytes_len < len) {
		size_t wanted = u->bytes_capacity ? u->bytes_capacity : UDP_DATAGRAM_BYTES_MAX;
		while (wanted - u->bytes_len < len)
			wanted *= 2;
		uint8_t *bytes = realloc(u->bytes, wanted);
		if (!bytes)
			return false;
		u->bytes = bytes;
		u->bytes_capacity = wanted;
	}
	memcpy(u->bytes + u->bytes_len, payload, len);
	u->parts[number] = (struct udp_part){u->bytes_len, len};
	u->bytes_len += len;
	u->have++;
	assert(u->have <= u->count && u->bytes_len <= UDP_REPLY_BYTES_MAX);
	return true;
}

/* What is wrong with a datagram that carries the id of the request under way. */
static const char *find_fault(const struct udp_frames *u, const struct header *h, size_t len)
{
	if (len > UDP_DATAGRAM_BYTES_MAX)
		return "a datagram of more than 1400 bytes";
	if (h->reserved)
		return "the reserved field of a datagram is not 0";
	if (h->count == 0 || h->number >= h->count)
		return "the number of a datagram is beyond their count";
	if (u->count && h->count != u->count)
		return "the datagrams of a reply differ in their count";
	if (u->count && u->parts[h->number].len)
		return "a datagram has come twice";
	return NULL;
}

enum udp_status udp_take(struct udp_frames *u, const uint8_t *datagram, size_t len,
                         const char **why)
{
	*why = len > UDP_HEADER_BYTES ? NULL : "a datagram without payload";
	if (*why)
		return UDP_WRONG;
	struct header h = {get_u16(datagram), get_u16(datagram + 2), get_u16(datagram + 4),
	                   get_u16(datagram + 6)};
	if (!u->waiting || h.id != u->id) {
		bool late = is_lost(u, h.id);
		u->late += late;
		*why = late ? NULL : "a datagram with another request id";
		return late ? UDP_PARTIAL : UDP_WRONG;
	}
	*why = find_fault(u, &h, len);
	if (!*why && ((u->count == 0 && !begin_reply(u, h.count)) ||
	              !keep(u, h.number, datagram + UDP_HEADER_BYTES, len - UDP_HEADER_BYTES)))
		*why = "out of memory";
	if (*why)
		return UDP_WRONG;
	if (u->have < u->count)
		return UDP_PARTIAL;
	u->waiting = false;
	return UDP_COMPLETE;
}

void udp_reply_copy(const struct udp_frames *u, char *out)
{
	assert(!u->waiting && u->count > 0 && u->have == u->count);
	for (unsigned i = 0; i < u->count; i++) {
		memcpy(out, u->bytes + u->parts[i].off, u->parts[i].len);
		out += u->parts[i].len;
	}
}
