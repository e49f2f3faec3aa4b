/*
 * watch.h - lines about what happens, for clients that watch.
 *
 * Owns: who watches what; per watcher a bounded queue of lines that it has not
 * read yet; how an event is spelled (reference section 1.12).
 *
 *     handlers, node, shell --> watch_*() --> one line --> queue of each watcher
 *                                                              |
 *                 the watcher's session sends it from there <--+
 *
 * A watcher that does not keep up loses lines and nobody waits for it: what finds
 * its queue full is dropped, and so is all that follows until half of the queue
 * was sent; then a line says how many it missed.
 *
 * Must not know: sessions (one holds a struct watcher), sockets, commands.
 *
 * Whoever reports an event asks watch_wants() first, so that it costs one branch
 * when nobody watches.
 *
 * Invariants
 *  [W1] kinds is the union of what the watchers watch
 *  [W2] a queue never exceeds the size given to watch_init()
 *  [W3] an event that anybody watches has a number, one more than the one before
 *
 * Layer 3. Covered by: t/test_watch.c, t/test_session.c, t/watch.t.
 */
#ifndef WATCH_H
#define WATCH_H

#include "compat.h"
#include "buf.h"
#include "clock.h"
#include "items.h"
#include "stats.h"

#define WATCHERS_MAX 20
/* A longer line ends with this many bytes. */
#define WATCH_LINE_BYTES_MAX 2048
#define WATCH_QUEUE_BYTES_MIN (2 * WATCH_LINE_BYTES_MAX)

/* What can be watched. */
#define WATCH_FETCHERS (1u << 0)
#define WATCH_MUTATIONS (1u << 1)
#define WATCH_EVICTIONS (1u << 2)
#define WATCH_CONNEVENTS (1u << 3)
#define WATCH_DELETIONS (1u << 4)
#define WATCH_SYSEVENTS (1u << 5)
#define WATCH_REPLICATION (1u << 6)

/* The kind called so, 0 if none is. */
unsigned watch_kind(const void *name, size_t len);

struct watcher {
	struct watcher *next;
	unsigned kinds;
	struct buf lines; /* not sent yet */
	uint64_t skipped; /* events that found no room since the last line that said so */
};

struct watch {
	unsigned kinds; /* [W1] */
	bool news;      /* a line was queued since this was last cleared, by node.c */
	int count;
	size_t queue_bytes_max;
	uint64_t events; /* [W3] */
	const struct now *now;
	struct stats *stats; /* counts lines: log_watcher_sent, log_watcher_skipped */
	struct watcher *watchers;
};

/* now and stats are borrowed. */
void watch_init(struct watch *w, const struct now *now, struct stats *stats, size_t queue_bytes_max);

/* count is below WATCHERS_MAX. NULL: no memory. */
struct watcher *watch_add(struct watch *w, unsigned kinds);
void watch_remove(struct watch *w, struct watcher *watcher);
/* The first len bytes of watcher->lines were sent. */
void watch_sent(struct watch *w, struct watcher *watcher, size_t len);

static inline bool watch_wants(const struct watch *w, unsigned kinds)
{
	return unlikely((w->kinds & kinds) != 0);
}

/* Fields that events about items share. */
struct watch_item {
	const struct key *key;
	int class_id;  /* 0: none */
	size_t size;   /* of the value */
	int64_t conn;  /* descriptor of the client */
};
void watch_item_get(struct watch *w, const struct watch_item *item, const char *status);
/* ttl_s 0: never expires. */
void watch_item_store(struct watch *w, const struct watch_item *item, const char *status, const char *verb,
                      int64_t ttl_s);
void watch_deleted(struct watch *w, const struct watch_item *item, const char *verb);
/* An observed change: if it is an eviction, it is reported. */
void watch_change(struct watch *w, const struct items *items, const struct change *change);

struct watch_conn {
	const char *host; /* address, or "unix" */
	int port;
	const char *transport;
	int64_t fd;
};
void watch_conn_new(struct watch *w, const struct watch_conn *conn);
void watch_conn_close(struct watch *w, const struct watch_conn *conn, const char *reason);

void watch_page_moved(struct watch *w, int from_class, int to_class, bool done);
/* fields: "event=<name> ...", text as format_url() makes it. */
void watch_replication(struct watch *w, const char *fields);

#endif
