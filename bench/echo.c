/*
 * echo.c - the limit: a server that moves the same bytes and has no cache.
 *
 * Owns: one epoll loop; finds the ends of requests of the text protocol and
 * answers get and gets with one value of fixed size for every key asked, and
 * set with STORED. What a cache costs is the difference between a real server
 * and this one under the same load; nothing single-threaded that talks through
 * sockets can be much faster.
 *
 * Must not know: what was stored. The load generator must run with
 * --unchecked.
 *
 * As a good server would: one receive, all complete requests answered into one
 * buffer shared by all connections, one send. Only a partial request is kept
 * with its connection. A client that does not read its replies blocks all
 * others: this is a yardstick, not a server.
 *
 * usage: echo [PORT [VALUE-SIZE]]
 */
#include "compat.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_DEFAULT 11211
#define VALUE_BYTES_DEFAULT 100
#define VALUE_BYTES_MAX 65536
#define FDS_MAX 65536
#define EVENTS_MAX 256
#define IN_BYTES (1u << 21) /* longest request */
#define OUT_BYTES (1u << 20)
#define KEY_BYTES_MAX 250

struct partial {
	char *data;
	size_t len;
};

struct echo {
	int epoll_fd;
	int listen_fd;
	struct partial *partial; /* by fd: the beginning of a request */
	char *in;
	char *out;
	size_t out_len;
	char tail[32 + VALUE_BYTES_MAX]; /* " 0 <n>\r\n<value>\r\n" */
	size_t tail_len;
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void send_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};
			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return;
		} else if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void put(struct echo *e, int fd, const char *data, size_t len)
{
	if (e->out_len + len > OUT_BYTES) {
		send_all(fd, e->out, e->out_len);
		e->out_len = 0;
	}
	memcpy(e->out + e->out_len, data, len);
	e->out_len += len;
}

static void answer_get(struct echo *e, int fd, const char *at, const char *end)
{
	while (at < end) {
		const char *space = memchr(at, ' ', (size_t)(end - at));
		const char *key_end = space ? space : end;
		if (key_end > at && key_end - at <= KEY_BYTES_MAX) {
			put(e, fd, "VALUE ", 6);
			put(e, fd, at, (size_t)(key_end - at));
			put(e, fd, e->tail, e->tail_len);
		}
		at = key_end + 1;
	}
	put(e, fd, "END\r\n", 5);
}

/* The length of the data block, from "set <key> <flags> <exptime> <bytes>". */
static size_t set_length(const char *line, const char *end)
{
	unsigned spaces = 0;
	size_t len = 0;

	for (; line < end && spaces < 4; line++)
		spaces += *line == ' ';
	for (; line < end && *line >= '0' && *line <= '9'; line++)
		len = len * 10 + (size_t)(*line - '0');
	return len;
}

/* Answer one request; returns its length, 0 when it is not complete. */
static size_t answer(struct echo *e, int fd, const char *data, size_t len)
{
	const char *nl = memchr(data, '\n', len);

	if (!nl)
		return 0;
	size_t line = (size_t)(nl - data) + 1;
	const char *end = nl > data && nl[-1] == '\r' ? nl - 1 : nl;
	if (line > 6 && memcmp(data, "get ", 4) == 0) {
		answer_get(e, fd, data + 4, end);
	} else if (line > 6 && memcmp(data, "gets ", 5) == 0) {
		answer_get(e, fd, data + 5, end);
	} else if (line > 6 && memcmp(data, "set ", 4) == 0) {
		size_t body = set_length(data, end) + 2;
		if (len - line < body)
			return 0;
		put(e, fd, "STORED\r\n", 8);
		return line + body;
	} else {
		put(e, fd, "ERROR\r\n", 7);
	}
	return line;
}

static void keep(struct partial *p, const char *data, size_t len)
{
	p->data = len ? malloc(len) : NULL;
	p->len = len;
	if (len && !p->data)
		die("malloc");
	if (len)
		memcpy(p->data, data, len);
}

static void close_conn(struct echo *e, int fd)
{
	free(e->partial[fd].data);
	e->partial[fd] = (struct partial){0};
	close(fd);
}

static void serve(struct echo *e, int fd)
{
	struct partial *p = &e->partial[fd];
	size_t len = p->len;
	size_t at = 0;

	if (len == IN_BYTES) {
		close_conn(e, fd);
		return;
	}
	if (len)
		memcpy(e->in, p->data, len);
	ssize_t n = recv(fd, e->in + len, IN_BYTES - len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_conn(e, fd);
		return;
	}
	len += (size_t)n;
	for (size_t used = 1; used > 0 && at < len; at += used)
		used = answer(e, fd, e->in + at, len - at);
	send_all(fd, e->out, e->out_len);
	e->out_len = 0;
	if (p->data || at < len) {
		free(p->data);
		keep(p, e->in + at, len - at);
	}
}

static void add(struct echo *e, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		die("epoll_ctl");
}

static void accept_one(struct echo *e)
{
	int one = 1;
	int fd = accept4(e->listen_fd, NULL, NULL, SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (fd >= FDS_MAX) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	add(e, fd);
}

static void set_up(struct echo *e, long port, long value_len)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int one = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	e->tail_len = (size_t)snprintf(e->tail, sizeof(e->tail), " 0 %ld\r\n", value_len);
	memset(e->tail + e->tail_len, 'v', (size_t)value_len);
	e->tail_len += (size_t)value_len;
	memcpy(e->tail + e->tail_len, "\r\n", 2);
	e->tail_len += 2;
	e->in = malloc(IN_BYTES);
	e->out = malloc(OUT_BYTES);
	e->partial = calloc(FDS_MAX, sizeof(*e->partial));
	if (!e->in || !e->out || !e->partial)
		die("malloc");
	e->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(e->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(e->listen_fd, (struct sockaddr *)&sin, sizeof(sin)) != 0)
		die("bind");
	if (listen(e->listen_fd, 1024) != 0)
		die("listen");
	e->epoll_fd = epoll_create1(0);
	add(e, e->listen_fd);
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS_MAX];
	long port = argc > 1 ? strtol(argv[1], NULL, 10) : PORT_DEFAULT;
	long value_len = argc > 2 ? strtol(argv[2], NULL, 10) : VALUE_BYTES_DEFAULT;
	struct echo *e = calloc(1, sizeof(*e));

	if (!e || port < 1 || port > 65535 || value_len < 0 || value_len > VALUE_BYTES_MAX) {
		fprintf(stderr, "usage: echo [PORT [VALUE-SIZE up to %d]]\n", VALUE_BYTES_MAX);
		return 2;
	}
	set_up(e, port, value_len);
	for (;;) {
		int n = epoll_wait(e->epoll_fd, events, EVENTS_MAX, -1);
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == e->listen_fd)
				accept_one(e);
			else
				serve(e, events[i].data.fd);
		}
	}
}
