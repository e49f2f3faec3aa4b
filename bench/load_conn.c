/* load_conn.c - one connection: bytes out, bytes in, requests in flight. */
#include "compat.h"
#include "load_conn.h"
#include "load_dist.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_BYTES_INITIAL 16384
#define OUT_BYTES_INITIAL 16384
#define CONNECT_ATTEMPTS 50
#define UDP_RECEIVE_BUFFER_BYTES (4 << 20) /* a large reply comes at once; if the kernel lets us */

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fflush(stdout);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void bytes_reserve(struct bytes *b, size_t len)
{
	if (b->off == b->end)
		b->off = b->end = 0;
	if (b->capacity - b->end >= len)
		return;
	if (b->off > 0)
		memmove(b->data, b->data + b->off, b->end - b->off);
	b->end -= b->off;
	b->off = 0;
	if (b->capacity - b->end >= len)
		return;
	size_t wanted = b->capacity ? b->capacity : IN_BYTES_INITIAL;
	while (wanted - b->end < len)
		wanted *= 2;
	b->data = realloc(b->data, wanted);
	if (!b->data)
		die("out of memory");
	b->capacity = wanted;
}

static int connect_unix(const char *path)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(path) >= sizeof(sun.sun_path))
		die("socket path is too long: %s", path);
	memcpy(sun.sun_path, path, strlen(path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0)
		die("cannot connect to %s: %s", path, strerror(errno));
	return fd;
}

static int connect_once(const struct addrinfo *list)
{
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		int fd = socket(ai->ai_family, ai->ai_socktype, ai->ai_protocol);
		if (fd < 0)
			continue;
		if (connect(fd, ai->ai_addr, ai->ai_addrlen) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

static void set_socket_options(int fd, bool datagrams)
{
	int one = 1;
	int bytes = UDP_RECEIVE_BUFFER_BYTES;

	if (datagrams)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	else
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* A server that was just started may need a moment to listen. */
static int connect_port(const struct address *a)
{
	struct addrinfo hints = {.ai_socktype = a->datagrams ? SOCK_DGRAM : SOCK_STREAM};
	struct addrinfo *list = NULL;
	int fd = -1;
	int error = getaddrinfo(a->host, a->port, &hints, &list);

	if (error)
		die("%s:%s: %s", a->host, a->port, gai_strerror(error));
	for (int i = 0; i < CONNECT_ATTEMPTS && fd < 0; i++) {
		fd = connect_once(list);
		if (fd < 0)
			usleep(100000);
	}
	freeaddrinfo(list);
	if (fd < 0)
		die("cannot connect to %s:%s: %s", a->host, a->port, strerror(errno));
	set_socket_options(fd, a->datagrams);
	return fd;
}

int address_connect(const struct address *a)
{
	return a->socket_path ? connect_unix(a->socket_path) : connect_port(a);
}

void conn_open(struct conn *c, const struct address *a, unsigned depth, unsigned width)
{
	assert(depth > 0 && width > 0 && (depth == 1 || !a->datagrams));
	*c = (struct conn){.depth = depth, .width = width};
	c->fd = address_connect(a);
	if (fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK) < 0)
		die("fcntl: %s", strerror(errno));
	c->ring = calloc(depth, sizeof(*c->ring));
	c->keys = calloc((size_t)depth * width, sizeof(*c->keys));
	/* Each socket begins elsewhere, so that what is another one's is noticed. */
	c->udp = a->datagrams ? udp_new((uint16_t)mix64((uint64_t)c->fd)) : NULL;
	if (!c->ring || !c->keys || (a->datagrams && !c->udp))
		die("out of memory");
	bytes_reserve(&c->in, IN_BYTES_INITIAL);
	bytes_reserve(&c->out, OUT_BYTES_INITIAL);
}

void conn_close(struct conn *c)
{
	close(c->fd);
	free(c->ring);
	free(c->keys);
	free(c->in.data);
	free(c->out.data);
	udp_free(c->udp);
}

struct request *conn_slot(struct conn *c)
{
	assert(conn_has_room(c));
	unsigned i = (c->head + c->in_flight) % c->depth;
	c->ring[i] = (struct request){.keys = c->keys + (size_t)i * c->width};
	return &c->ring[i];
}

void conn_queue(struct conn *c, const struct proto *p)
{
	struct request *r = &c->ring[(c->head + c->in_flight) % c->depth];

	assert(conn_has_room(c) && r->key_count > 0 && r->key_count <= c->width);
	bytes_reserve(&c->out, UDP_HEADER_BYTES + p->bytes_max(r));
	if (c->udp) {
		assert(c->out.off == c->out.end);
		udp_request_begin(c->udp, (uint8_t *)c->out.data + c->out.end);
		c->out.end += UDP_HEADER_BYTES;
	}
	c->out.end += p->encode(r, c->out.data + c->out.end);
	assert(!c->udp || c->out.end - c->out.off <= UDP_REQUEST_BYTES_MAX);
	c->in_flight++;
}

bool conn_flush(struct conn *c)
{
	while (c->out.off < c->out.end) {
		ssize_t n = send(c->fd, c->out.data + c->out.off, c->out.end - c->out.off,
		                 MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return false;
		if (n < 0)
			die("send: %s", strerror(errno));
		c->out.off += (size_t)n;
	}
	c->out.off = c->out.end = 0;
	return true;
}

/* Read datagrams until a reply is whole; false when there are no more. */
static bool receive_datagrams(struct conn *c)
{
	uint8_t datagram[UDP_DATAGRAM_BYTES_MAX + 1]; /* a longer one is seen as such */

	for (;;) {
		ssize_t n = recv(c->fd, datagram, sizeof(datagram), 0);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
			return false;
		if (n < 0)
			die("recv by UDP: %s", strerror(errno));
		enum udp_status s = udp_take(c->udp, datagram, (size_t)n, &c->udp_fault);
		if (s == UDP_PARTIAL)
			continue;
		if (s == UDP_COMPLETE) {
			bytes_reserve(&c->in, c->udp->bytes_len);
			udp_reply_copy(c->udp, c->in.data + c->in.end);
			c->in.end += c->udp->bytes_len;
		}
		return true;
	}
}

bool conn_receive(struct conn *c)
{
	if (c->udp)
		return receive_datagrams(c);
	bytes_reserve(&c->in, 1);
	ssize_t n = recv(c->fd, c->in.data + c->in.end, c->in.capacity - c->in.end, 0);

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
		return false;
	if (n < 0)
		die("recv: %s", strerror(errno));
	if (n == 0)
		die("the server closed a connection with %u requests in flight", c->in_flight);
	c->in.end += (size_t)n;
	return true;
}

/* All bytes are used. By UDP more can come only for a reply that is not whole yet. */
static enum reply_status check_end(struct conn *c, struct checker *checker, size_t len)
{
	if (c->udp && c->in_flight && !c->udp->waiting)
		return checker_wrong(checker, conn_oldest(c), "the reply ends too soon",
		                     c->in.data + c->in.off, len);
	return REPLY_MORE;
}

enum reply_status conn_check(struct conn *c, const struct proto *p, struct checker *checker)
{
	size_t used = 0;

	if (c->udp_fault)
		return checker_wrong(checker, conn_oldest(c), c->udp_fault, "", 0);
	for (;;) {
		size_t len = c->in.end - c->in.off;
		if (len == 0)
			return check_end(c, checker, 0);
		const char *data = c->in.data + c->in.off;
		if (c->in_flight == 0) {
			struct request none = *conn_oldest(c);
			return checker_wrong(checker, &none, "a reply too many", data, len);
		}
		enum reply_status s = p->check(checker, conn_oldest(c), data, len, &used);
		if (s == REPLY_DONE || s == REPLY_PIECE)
			c->in.off += used;
		if (s == REPLY_MORE)
			return check_end(c, checker, len);
		if (s != REPLY_PIECE)
			return s;
	}
}

void conn_pop(struct conn *c)
{
	assert(c->in_flight > 0);
	c->head = (c->head + 1) % c->depth;
	c->in_flight--;
}

void conn_give_up(struct conn *c)
{
	assert(c->udp && c->in_flight == 1);
	udp_request_give_up(c->udp);
	c->out.off = c->out.end = 0;
	conn_oldest(c)->outcome = OUT_LOST;
}
