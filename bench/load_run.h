/*
 * load_run.h - the loop: keeps connections busy, times every request.
 *
 * Owns: the connections, epoll, the two ways of pacing, the results.
 *
 * Must not know: which operations there are, what the results mean.
 *
 * Closed loop: every connection has `depth` requests in flight all the time,
 * so that the server's speed sets the rate; a request's time runs from when it
 * was handed to the connection.
 * Open loop: requests become due at a fixed rate whatever the server does, and
 * a request's time runs from when it was due, not from when a connection was
 * free for it. A server that stalls for a second is charged for all requests
 * of that second (no coordinated omission).
 *
 * By UDP a request that is not answered in time is lost: it is given up, has no
 * place among the times, and the next one takes its socket.
 */
#ifndef LOAD_RUN_H
#define LOAD_RUN_H

#include "compat.h"
#include "load_conn.h"
#include "load_hist.h"
#include "load_server.h"

struct run_config {
	struct address address;
	const struct proto *proto;
	unsigned conns, depth, width;
	bool spin;        /* poll without sleeping: no wake-ups for the server to pay */
	bool poisson;     /* open loop: random gaps instead of equal ones */
	uint64_t udp_timeout_ns; /* address.datagrams: a reply is lost after that */
	pid_t server_pid; /* 0: unknown */
};

/* When a phase ends; 0 means without limit, and rate 0 means closed loop. */
struct run_limits {
	uint64_t duration_ns;
	uint64_t ops;
	double rate; /* requests a second */
};

struct run_result {
	double seconds;
	struct server_times server; /* during the phase; < 0: unknown */
	double own_cpu_s;
	uint64_t requests;   /* answered; what was lost is an outcome only */
	uint64_t late;       /* UDP: datagrams of replies that had been given up */
	uint64_t keys;       /* asked, of all requests */
	uint64_t reads;      /* keys asked by reads */
	uint64_t hits;       /* found by reads */
	uint64_t outcome[OP_KINDS][OUTCOMES];
	struct hist *hist[OP_KINDS]; /* NULL: kind not seen */
	struct hist all;
};

struct run;
struct run *run_new(const struct run_config *config);
void run_free(struct run *run);
/* Play requests from the source until it is dry or a limit is reached, and
 * wait for all replies. False: a reply was wrong, checker->why says how. */
bool run_phase(struct run *run, struct source *source, struct checker *checker,
               const struct run_limits *limits, struct run_result *result);
void run_result_release(struct run_result *result);

#endif
