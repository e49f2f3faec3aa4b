/*
 * repl_world.h - a few daemons' replication in one process, for
 * test_replication.c: items and repl of each, joined by byte pipes.
 *
 * Owns: the shell's duties in miniature. Bytes move in seeded random chunks,
 * time is data and moves in steps of a millisecond; nothing sleeps. The big
 * simulator (sim.h) is made of whole nodes; this one is small enough to say in
 * ten lines what a rule is about. Whatever a test is about, a change of a host's
 * role, link or client ports that no line of its log tells of fails it.
 *
 * Must not know: what frames mean.
 */
#ifndef REPL_WORLD_H
#define REPL_WORLD_H

#include "compat.h"
#include "replication.h"
#include "repl_wire.h"
#include "util.h"

#define HOSTS 3
#define WIRES 32
#define WIRE_PIPE_BYTES (256 * 1024) /* what a socket takes before it is full */

struct pipe {
	uint8_t *data;
	size_t len, size;
	bool stalled; /* the receiver does not read */
};

struct wire {
	bool used;
	bool lost; /* bytes vanish, nobody is told */
	int host[2];
	struct repl_conn *conn[2]; /* NULL: this end is closed */
	struct pipe pipe[2];       /* [i]: what end i sent */
};

struct host {
	struct settings settings;
	struct now now;
	struct hlc hlc;
	struct items *items;
	struct repl *repl; /* NULL: not running */
	struct log log;
	char *said; /* the whole log */
	size_t said_len;
	int lines;
	int lines_known;      /* when its state was last looked at, ... */
	char state_known[64]; /* ... which was this; "" not yet */
	uint64_t connect_seq;
	uint64_t changes;
};

struct world {
	struct prng prng;
	struct host hosts[HOSTS];
	struct wire wires[WIRES];
	bool refuse;    /* nobody can connect */
	bool blackhole; /* connecting never ends */
	int links_made;
	bool scripted[HOSTS];        /* that is no daemon, but a script that can be connected to */
	struct wire *dialled[HOSTS]; /* what was last connected to it; the script is the stranger there */
	size_t chunk_max;
	size_t bytes_per_ms; /* of all wires together; 0: no limit */
	size_t bytes_now;
};

/* A world of hosts that do not run yet. */
void world_init(struct world *w, uint64_t seed);
void world_free(struct world *w);
/* Start a daemon; peer: index of the host that its -x names, -1 none. Change
 * w->hosts[i].settings before. A host that ran before starts empty. */
struct host *host_start(struct world *w, int i, int peer);
/* The process ends. told: the other ends see a closed socket at once. */
void host_kill(struct world *w, int i, bool told);
void host_step_clock(struct world *w, int i, int64_t ms);

/* Let ms pass: one at a time, everything that can move moves. */
void run(struct world *w, int64_t ms);
/* Until both are quiet; fails the test after a minute. */
void settle(struct world *w, int a, int b);
/* Until the two are linked; the wire. */
struct wire *wire_between(struct world *w, int a, int b);
int wire_count(const struct world *w);
/* The network between all hosts: broken and noticed, or broken in silence. */
void drop_all(struct world *w, bool told);
/* A stranger on the link port of host i; bytes for it. The conn or NULL. */
struct wire *stranger(struct world *w, int i);
/* The same, but it is host i that has connected to the stranger. */
struct wire *stranger_called(struct world *w, int i);
void stranger_says(struct world *w, struct wire *s, const void *data, size_t len);
/* What the stranger received, up to now. */
const uint8_t *stranger_heard(const struct wire *s, size_t *len);
bool stranger_is_closed(const struct wire *s);
void stranger_forget(struct wire *s);
void stranger_closes(struct world *w, struct wire *s);

/* What clients do. */
bool put(struct host *h, const char *key, const char *value);
bool put_bytes(struct host *h, const char *key, const uint8_t *value, size_t len, uint32_t flags,
	       uint32_t exptime);
bool del(struct host *h, const char *key);
bool touch(struct host *h, const char *key, uint32_t exptime);
/* The visible value of a small item, NULL if none. */
const char *get(struct host *h, const char *key);
struct item *find(struct host *h, const char *key);
uint64_t version_of(struct host *h, const char *key);

/* One number of `stats replication`. */
uint64_t number(const struct host *h, const char *name);
const char *text(const struct host *h, const char *name);
bool said(const struct host *h, const char *what);

#endif
