/*
 * packets.h - binary packets for tests: made, and read as text.
 *
 * A packet is written in one line, "opcode [field]...", fields being
 *
 *   x=HEX extras    k=TEXT key    v=TEXT value    c=N CAS unique    o=N opaque
 *   K=N L=N         other lengths in the header than those of the key, the body
 *
 * and a reply is shown as "opcode status [k=] [v=] [x=] [c]", where v of a
 * number is decimal when it is eight bytes, and c says that there is a CAS
 * unique (not which).
 */
#ifndef PACKETS_H
#define PACKETS_H

#include "compat.h"
#include "proto_bin.h"
#include "util.h"

#define PACKET_BYTES_MAX 2048

struct packet_bytes {
	uint8_t data[PACKET_BYTES_MAX];
	size_t len;
};

static inline void packet_add(struct packet_bytes *p, const void *data, size_t len)
{
	assert(p->len + len <= sizeof(p->data));
	memcpy(p->data + p->len, data, len);
	p->len += len;
}

/* The value of field `name=` of a line, or NULL; up to the next space. */
static inline const char *packet_field(const char *line, char name, size_t *len)
{
	for (const char *p = strchr(line, ' '); p; p = strchr(p, ' ')) {
		p++;
		if (p[0] != name || p[1] != '=')
			continue;
		*len = strcspn(p + 2, " ");
		return p + 2;
	}
	*len = 0;
	return NULL;
}

static inline uint64_t packet_number(const char *line, char name, uint64_t otherwise)
{
	size_t len;
	const char *at = packet_field(line, name, &len);

	return at ? strtoull(at, NULL, 0) : otherwise;
}

/* One packet from a line, appended. */
static inline void packet_make(struct packet_bytes *out, const char *line)
{
	uint8_t header[PROTO_BIN_HEADER_BYTES] = {PROTO_BIN_REQUEST, (uint8_t)strtoul(line, NULL, 16)};
	uint8_t extras[32];
	size_t hex_len, key_len, value_len;
	const char *hex = packet_field(line, 'x', &hex_len);
	const char *key = packet_field(line, 'k', &key_len), *value = packet_field(line, 'v', &value_len);

	assert(hex_len % 2 == 0 && hex_len / 2 <= sizeof(extras));
	if (hex_len > 0 && !parse_hex(hex, hex_len, extras, hex_len / 2))
		assert(false);
	store_be16(header + 2, (uint16_t)packet_number(line, 'K', key_len));
	header[4] = (uint8_t)(hex_len / 2);
	store_be32(header + 8, (uint32_t)packet_number(line, 'L', hex_len / 2 + key_len + value_len));
	store_be32(header + 12, (uint32_t)packet_number(line, 'o', 0));
	store_be64(header + 16, packet_number(line, 'c', 0));
	packet_add(out, header, sizeof(header));
	packet_add(out, extras, hex_len / 2);
	packet_add(out, key ? key : "", key_len);
	packet_add(out, value ? value : "", value_len);
}

/* Show the reply packet at data; its length, or 0 when it is no whole one. */
static inline size_t packet_show(const uint8_t *data, size_t len, char *out, size_t size)
{
	if (len < PROTO_BIN_HEADER_BYTES || data[0] != PROTO_BIN_RESPONSE || data[5] != 0)
		return 0;
	size_t key_len = load_be16(data + 2), extras_len = data[4], body_len = load_be32(data + 8);
	const uint8_t *extras = data + PROTO_BIN_HEADER_BYTES, *key = extras + extras_len, *value = key + key_len;
	if (key_len + extras_len > body_len || len < PROTO_BIN_HEADER_BYTES + body_len)
		return 0;
	size_t value_len = body_len - key_len - extras_len;
	int n = snprintf(out, size, "%02x %02x", data[1], load_be16(data + 6));
	if (load_be32(data + 12))
		n += snprintf(out + n, size - (size_t)n, " o=%" PRIu32, load_be32(data + 12));
	if (extras_len == 4)
		n += snprintf(out + n, size - (size_t)n, " x=%08" PRIx32, load_be32(extras));
	else if (extras_len > 0)
		n += snprintf(out + n, size - (size_t)n, " x:%zu", extras_len);
	if (key_len > 0)
		n += snprintf(out + n, size - (size_t)n, " k=%.*s", (int)key_len, (const char *)key);
	bool number = value_len == 8 && (value[0] == 0 || value[0] == 0xff) && load_be16(data + 6) == 0;
	if (number)
		n += snprintf(out + n, size - (size_t)n, " v=%" PRIu64, load_be64(value));
	else if (value_len > 200)
		n += snprintf(out + n, size - (size_t)n, " v:%zu", value_len);
	else if (value_len > 0)
		n += snprintf(out + n, size - (size_t)n, " v=%.*s", (int)value_len, (const char *)value);
	if (load_be64(data + 16))
		snprintf(out + n, size - (size_t)n, " c");
	return PROTO_BIN_HEADER_BYTES + body_len;
}

#endif
