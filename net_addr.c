/*
 * net_addr.c - socket addresses as text, and back to numbers.
 *
 * Owns: the formats of reference section 5.5 and of the log.
 *
 * Must not know: what a socket is used for.
 *
 * Covered by: t/stats.t, t/pair.t.
 */
#include "compat.h"
#include "net_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

static const struct sockaddr_in *in4(const struct net_addr *addr)
{
	assert(addr->u.sa.sa_family == AF_INET);
	return (const struct sockaddr_in *)(const void *)&addr->u.storage;
}

static const struct sockaddr_in6 *in6(const struct net_addr *addr)
{
	assert(addr->u.sa.sa_family == AF_INET6);
	return (const struct sockaddr_in6 *)(const void *)&addr->u.storage;
}

void net_addr_text(const struct net_addr *addr, char out[NET_ADDR_TEXT_BYTES])
{
	char host[INET6_ADDRSTRLEN];

	if (addr->u.sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &in4(addr)->sin_addr, host, sizeof(host));
		snprintf(out, NET_ADDR_TEXT_BYTES, "%s:%d", host, net_addr_port(addr));
	} else if (addr->u.sa.sa_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6(addr)->sin6_addr, host, sizeof(host));
		snprintf(out, NET_ADDR_TEXT_BYTES, "[%s]:%d", host, net_addr_port(addr));
	} else {
		snprintf(out, NET_ADDR_TEXT_BYTES, "unix");
	}
}

void net_addr_stat(const struct net_addr *addr, const char *unix_path, char out[NET_ADDR_TEXT_BYTES])
{
	char text[NET_ADDR_TEXT_BYTES];
	int family = addr->u.sa.sa_family;

	if (family != AF_INET && family != AF_INET6) {
		snprintf(out, NET_ADDR_TEXT_BYTES, "unix:%s", unix_path);
		return;
	}
	net_addr_text(addr, text);
	snprintf(out, NET_ADDR_TEXT_BYTES, "%s:%.*s", family == AF_INET ? "tcp" : "tcp6",
	         NET_ADDR_TEXT_BYTES - 6, text);
}

int net_addr_port(const struct net_addr *addr)
{
	if (addr->u.sa.sa_family == AF_INET)
		return ntohs(in4(addr)->sin_port);
	if (addr->u.sa.sa_family == AF_INET6)
		return ntohs(in6(addr)->sin6_port);
	return 0;
}

void net_addr_client(const struct net_addr *addr, struct net_client *out)
{
	*out = (struct net_client){.port = (uint16_t)net_addr_port(addr), .family = addr->u.sa.sa_family};
	if (out->family == AF_INET)
		memcpy(out->ip, &in4(addr)->sin_addr, sizeof(in4(addr)->sin_addr));
	else if (out->family == AF_INET6)
		memcpy(out->ip, &in6(addr)->sin6_addr, sizeof(out->ip));
}

void net_client_text(const struct net_client *client, char out[NET_ADDR_TEXT_BYTES])
{
	bool ip = client->family == AF_INET || client->family == AF_INET6;

	if (!ip || !inet_ntop(client->family, client->ip, out, NET_ADDR_TEXT_BYTES))
		snprintf(out, NET_ADDR_TEXT_BYTES, "unix");
}

void net_addr_set_port(struct net_addr *addr, int port)
{
	void *storage = &addr->u.storage;

	assert(port >= 0 && port <= 65535);
	if (addr->u.sa.sa_family == AF_INET)
		((struct sockaddr_in *)storage)->sin_port = htons((uint16_t)port);
	else if (addr->u.sa.sa_family == AF_INET6)
		((struct sockaddr_in6 *)storage)->sin6_port = htons((uint16_t)port);
}

bool net_addr_equal(const struct net_addr *a, const struct net_addr *b)
{
	if (a->u.sa.sa_family != b->u.sa.sa_family || net_addr_port(a) != net_addr_port(b))
		return false;
	if (a->u.sa.sa_family == AF_INET)
		return in4(a)->sin_addr.s_addr == in4(b)->sin_addr.s_addr;
	return a->u.sa.sa_family == AF_INET6 &&
	       !memcmp(&in6(a)->sin6_addr, &in6(b)->sin6_addr, sizeof(in6(a)->sin6_addr)) &&
	       in6(a)->sin6_scope_id == in6(b)->sin6_scope_id;
}

/* The address without what IPv6 may have put around one of IPv4. */
static bool as_in4(const struct net_addr *addr, uint32_t *out)
{
	if (addr->u.sa.sa_family == AF_INET) {
		*out = ntohl(in4(addr)->sin_addr.s_addr);
		return true;
	}
	if (addr->u.sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6(addr)->sin6_addr))
		return false;
	memcpy(out, in6(addr)->sin6_addr.s6_addr + 12, sizeof(*out));
	*out = ntohl(*out);
	return true;
}

bool net_addr_is_any(const struct net_addr *addr)
{
	uint32_t v4;

	if (as_in4(addr, &v4))
		return v4 == 0;
	return addr->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&in6(addr)->sin6_addr);
}

bool net_addr_is_loopback(const struct net_addr *addr)
{
	uint32_t v4;

	if (as_in4(addr, &v4))
		return v4 >> 24 == 127;
	return addr->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6(addr)->sin6_addr);
}

bool net_addr_is_private(const struct net_addr *addr)
{
	uint32_t v4;

	if (net_addr_is_loopback(addr))
		return true;
	if (as_in4(addr, &v4)) /* RFC 1918, 3927 */
		return v4 >> 24 == 10 || v4 >> 20 == (172 << 4 | 1) || v4 >> 16 == (192 << 8 | 168) ||
		       v4 >> 16 == (169 << 8 | 254);
	if (addr->u.sa.sa_family != AF_INET6)
		return true;
	const struct in6_addr *v6 = &in6(addr)->sin6_addr;
	return IN6_IS_ADDR_LINKLOCAL(v6) || (v6->s6_addr[0] & 0xfe) == 0xfc; /* RFC 4193 */
}

void net_addr_network(const struct net_addr *addr, uint8_t out[NET_ADDR_NETWORK_BYTES])
{
	uint32_t v4;

	memset(out, 0, NET_ADDR_NETWORK_BYTES);
	if (as_in4(addr, &v4)) {
		out[0] = 4;
		out[1] = (uint8_t)(v4 >> 24);
		out[2] = (uint8_t)(v4 >> 16);
		out[3] = (uint8_t)(v4 >> 8);
	} else if (addr->u.sa.sa_family == AF_INET6) {
		out[0] = 6;
		memcpy(out + 1, in6(addr)->sin6_addr.s6_addr, 6);
	}
}

bool net_addr_same_host(const struct net_addr *a, const struct net_addr *b)
{
	uint32_t v4_a, v4_b;

	if (net_addr_is_loopback(a) || net_addr_is_loopback(b))
		return net_addr_is_loopback(a) && net_addr_is_loopback(b);
	if (as_in4(a, &v4_a) || as_in4(b, &v4_b))
		return as_in4(a, &v4_a) && as_in4(b, &v4_b) && v4_a == v4_b;
	if (a->u.sa.sa_family != AF_INET6 || b->u.sa.sa_family != AF_INET6)
		return false;
	uint32_t scope_a = in6(a)->sin6_scope_id, scope_b = in6(b)->sin6_scope_id;
	return !memcmp(&in6(a)->sin6_addr, &in6(b)->sin6_addr, sizeof(in6(a)->sin6_addr)) &&
	       (scope_a == scope_b || !scope_a || !scope_b);
}

bool net_addr_local(int fd, struct net_addr *out)
{
	*out = (struct net_addr){.len = sizeof(out->u.storage)};
	return getsockname(fd, &out->u.sa, &out->len) == 0;
}

bool net_addr_peer(int fd, struct net_addr *out)
{
	*out = (struct net_addr){.len = sizeof(out->u.storage)};
	return getpeername(fd, &out->u.sa, &out->len) == 0;
}
