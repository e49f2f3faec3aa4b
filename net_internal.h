/*
 * net_internal.h - what the files of the shell share. Nobody else includes it.
 *
 *   net.c        the loop, signals, timers, what the node is told about us
 *   net_meter.c  the time of a turn, the memory of the process
 *   net_listen.c resolving, binding, listening, accepting, the port file
 *   net_conn.c   client connections
 *   net_udp.c    clients by UDP
 *   net_link.c   the link: its port and its bytes
 *   net_dial.c   the link: an attempt to connect to the peer
 *   net_guard.c  the link: who may connect to its port
 *   net_lookup.c the addresses of a host
 *   net_addr.c   socket addresses as text
 *
 * One turn of the loop: callbacks (each moves a bounded number of bytes), then
 * end_of_turn() in net.c, which does everything that needs no event.
 *
 * Layer 6. Covered by: the black-box tests in t.
 */
#ifndef NET_INTERNAL_H
#define NET_INTERNAL_H

#include "compat.h"
#include "net.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/util.h>
#include <sys/socket.h>
#include <sys/types.h>

#define NET_RECV_BYTES (64 * 1024)
#define NET_LISTENERS_MAX 256
#define NET_ADDR_TEXT_BYTES 160
#define NET_LOOKUP_ADDRS_MAX 16
#define NET_EXIT_OS_ERROR 71

/* A circular list; an element that is on no list points to itself. */
struct net_list {
	struct net_list *next, *prev;
};

static inline void net_list_init(struct net_list *l)
{
	l->next = l->prev = l;
}
static inline bool net_list_empty(const struct net_list *l)
{
	return l->next == l;
}
static inline void net_list_remove(struct net_list *l)
{
	l->next->prev = l->prev;
	l->prev->next = l->next;
	net_list_init(l);
}
static inline void net_list_append(struct net_list *head, struct net_list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}
/* The struct that holds a list element as its member `all` or `queue`. */
#define NET_LIST_ENTRY(l, type, member) ((type *)(void *)((char *)(l)-offsetof(type, member)))

struct net_addr {
	union {
		struct sockaddr sa;
		struct sockaddr_storage storage;
	} u;
	socklen_t len;
};

/* The address of a client, kept small: there are many clients. */
struct net_client {
	uint8_t ip[16]; /* an IPv4 address takes 4 */
	uint16_t port;
	sa_family_t family;
};

/* A bound socket; it listens from net_listener_open() on. */
struct net_listener {
	struct net *net;
	struct event event;
	int fd;
	bool link; /* the link port, not clients */
};

/* Sockets for one purpose. */
struct net_listeners {
	struct net_listener *at[NET_LISTENERS_MAX];
	int count;
};

/* Why nothing is accepted at the moment. */
struct net_accept_pause {
	bool paused;
	bool no_descriptors;    /* else: the limit of -c */
	int64_t since_us;       /* mono */
	struct event retry;
	struct log_limit log_limit;
};

/* What the running turn has spent on what. */
struct net_meter {
	int64_t begin_us, since_us; /* mono */
	enum turn_cause cause;      /* since since_us */
	bool fresh;                 /* nothing was done yet */
	uint64_t spent_us[TURN_CAUSE_COUNT];
	bool with_cpu; /* -o turn_cpu: a system call each at begin and end */
	int64_t cpu_begin_us;
};

struct net_link; /* net_link.c */
struct net_udp;  /* net_udp.c */

struct net {
	const struct settings *settings;
	struct log *log;
	struct node *node;
	const struct net_hooks *hooks; /* of net_run() */
	struct node_env env;
	struct event_base *base;
	uint8_t *recv_buf; /* NET_RECV_BYTES, shared by everything that receives */

	struct now now;
	int64_t started_ms; /* mono */
	bool now_is_read; /* in this turn */
	unsigned callbacks; /* of this turn, and its end */
	int64_t mono_us, served_us; /* when this turn began, and the last with an event */
	struct net_meter meter;
	size_t program_bytes; /* resident when serving began */

	struct net_listeners clients;
	bool serving;       /* the client ports are open */
	bool stop_accepting; /* and closed again, for good */
	dev_t unix_dev;     /* the socket file that we made; 0 none */
	ino_t unix_ino;
	struct net_accept_pause pause;

	struct net_list conns;   /* every client connection */
	struct net_list yielded; /* those with input left from an earlier turn */
	struct net_list held;    /* those that wait for the node, or watch */
	size_t conn_count;

	struct net_udp *udp;   /* NULL: no -U */
	struct net_link *link; /* NULL: no replication */

	struct event timer, idle_timer;
	int64_t timer_due_ms;
	struct event signals[4];
	enum stop_mode stop_mode;
	bool done;
	int exit_code;
	char port_file[SETTINGS_PATH_MAX]; /* "" none */
};

/* net.c: read the clock if this turn has not done so; the first line of every
 * callback. */
void net_turn(struct net *net);
int64_t net_mono_us(void);
int64_t net_cpu_us(void); /* what this thread has run */
bool net_would_block(int err);

/* net_meter.c */
void net_meter_begin(struct net_meter *m, int64_t now_us);
/* From now on the turn is at this. */
void net_meter_cause(struct net_meter *m, enum turn_cause cause);
void net_meter_end(struct net_meter *m, struct latency *latency, int64_t wall_ms);
size_t net_resident_bytes(void);

/* net_addr.c */
/* "1.2.3.4:port", "[v6]:port" */
void net_addr_text(const struct net_addr *addr, char out[NET_ADDR_TEXT_BYTES]);
/* "tcp:1.2.3.4:port", "tcp6:[v6]:port", "unix:path" as `stats conns` shows it */
void net_addr_stat(const struct net_addr *addr, const char *unix_path, char out[NET_ADDR_TEXT_BYTES]);
int net_addr_port(const struct net_addr *addr);
void net_addr_set_port(struct net_addr *addr, int port);
bool net_addr_equal(const struct net_addr *a, const struct net_addr *b);
bool net_addr_is_any(const struct net_addr *addr);
bool net_addr_is_loopback(const struct net_addr *addr);
/* Whatever the ports; all of loopback is one host. */
bool net_addr_same_host(const struct net_addr *a, const struct net_addr *b);
void net_addr_client(const struct net_addr *addr, struct net_client *out);
/* The IP address alone, or "unix". */
void net_client_text(const struct net_client *client, char out[NET_ADDR_TEXT_BYTES]);
/* Of this host, or of a network that no packet of the internet comes from. */
bool net_addr_is_private(const struct net_addr *addr);
/* What is taken for one network: 24 bits of IPv4, 48 of IPv6. */
#define NET_ADDR_NETWORK_BYTES 8
void net_addr_network(const struct net_addr *addr, uint8_t out[NET_ADDR_NETWORK_BYTES]);
bool net_addr_local(int fd, struct net_addr *out);
bool net_addr_peer(int fd, struct net_addr *out);

/* net_listen.c */
/* All addresses of a host ("" = any) for listening; the count, or -1 and error. */
int net_resolve(const char *host, int port, struct net_addr *out, int max, char error[NET_ERROR_BYTES]);
/* A bound socket, -1 with errno. */
int net_bind(const struct net_addr *addr, int type);
bool net_listen_bind_clients(struct net *net, char error[NET_ERROR_BYTES]);
bool net_listen_bind_udp(struct net *net, struct net_listeners *set, char error[NET_ERROR_BYTES]);
bool net_listener_add(struct net *net, struct net_listeners *set, int fd, bool link);
/* listen(2) on all and take connections; false with errno. */
bool net_listeners_open(struct net *net, struct net_listeners *set, int backlog);
void net_listeners_close(struct net_listeners *set);
/* Take connections again if there is room. */
void net_accept_resume(struct net *net);
void net_accept_retry(evutil_socket_t fd, short what, void *arg);
void net_unix_socket_remove(struct net *net);
/* Tell MEMCACHED_PORT_FILENAME which ports are ours. */
void net_port_file_write(const struct net *net);

/* net_conn.c */
void net_conn_open(struct net *net, int fd, const struct net_addr *peer);
void net_conns_resume(struct net *net, size_t count); /* the first of those that yielded */
size_t net_conns_yielded(const struct net *net);
void net_conns_unhold(struct net *net); /* those that the node has something for */
void net_conns_close_all(struct net *net);
void net_conns_close_answered(struct net *net); /* all but who waits for the peer */
void net_conns_close_finished(struct net *net); /* a graceful stop */
void net_conns_close_idle(evutil_socket_t fd, short what, void *arg);
size_t net_conns_bytes(const struct net *net); /* memory */
void net_conns_each(struct net *net, void (*fn)(void *fn_ctx, const struct conn_info *), void *fn_ctx);

/* net_udp.c: bound by new; served between open and stop; close before free. */
struct net_udp *net_udp_new(struct net *net, char error[NET_ERROR_BYTES]);
void net_udp_free(struct net_udp *udp);
bool net_udp_open(struct net_udp *udp); /* false: no memory */
void net_udp_stop(struct net_udp *udp); /* take no requests, answer those that wait */
void net_udp_close(struct net_udp *udp);
void net_udp_turn_end(struct net_udp *udp);
const struct net_listeners *net_udp_listeners(const struct net_udp *udp);
void net_udp_each(const struct net_udp *udp, void (*fn)(void *fn_ctx, const struct conn_info *),
                  void *fn_ctx);

/* net_link.c */
struct net_link *net_link_new(struct net *net, char error[NET_ERROR_BYTES]);
void net_link_free(struct net_link *link);
void net_link_accepted(struct net *net, int fd);
/* Bring about what the node wants of the link. */
void net_link_reconcile(struct net_link *link, const struct node_wants *wants);
/* End of a turn: send, close, choose what to read from. */
void net_link_turn_end(struct net_link *link);
void net_link_close_all(struct net_link *link);
const struct net_listeners *net_link_listeners(const struct net_link *link);
/* Take connections or, while there are no descriptors, leave them waiting. */
void net_link_accept(struct net_link *link, bool take);

/* net_lookup.c: one at a time; no answer: count 0 and a reason. done may be called
 * within net_lookup_start(). */
struct net_lookup;
typedef void net_lookup_done(void *ctx, const struct net_addr *addrs, int count, const char *reason);
struct net_lookup *net_lookup_new(struct net *net, net_lookup_done *done, void *ctx);
void net_lookup_free(struct net_lookup *l);
void net_lookup_start(struct net_lookup *l, const char *host, int port); /* gives up a running one */
void net_lookup_stop(struct net_lookup *l);
bool net_lookup_running(const struct net_lookup *l);
/* End of a turn: free what could not be freed in a callback. */
void net_lookup_reap(struct net_lookup *l);

/* net_guard.c: a connection is offered, and admitted at once, later or never (then
 * it is closed). host is borrowed. */
struct net_guard;
typedef void net_guard_admit(void *ctx, int fd);
struct net_guard *net_guard_new(struct net *net, const char *host, net_guard_admit *admit, void *ctx);
void net_guard_free(struct net_guard *g);
void net_guard_offer(struct net_guard *g, int fd);
void net_guard_stop(struct net_guard *g); /* who waits is closed */
void net_guard_reap(struct net_guard *g);

/* net_dial.c: one attempt at a time. done is called once per attempt, never
 * inside net_dial_start(): with a connected socket, or with -1 and a reason. */
struct net_dial;
typedef void net_dial_done(void *ctx, int fd, const char *reason);
struct net_dial *net_dial_new(struct net *net, net_dial_done *done, void *ctx);
void net_dial_free(struct net_dial *d);
/* The addresses that this node listens on, borrowed. */
void net_dial_from(struct net_dial *d, const struct net_addr *sources, int count);
void net_dial_start(struct net_dial *d, const char *host, int port); /* gives up a running one */
void net_dial_stop(struct net_dial *d);
/* End of a turn: free what could not be freed in a callback. */
void net_dial_reap(struct net_dial *d);

#endif
