/*
 * stats.h - counters, and the printing of name/value pairs.
 *
 * Owns: the counter table (an X-macro: struct, reset and `stats` come from it)
 * and the emitter through which every list of statistics goes, whatever the
 * protocol. Names are memcached's (reference section 5); what makes no sense
 * here is left out, not faked.
 *
 * Must not know: protocols (the emitter is a callback), sockets, replication
 * internals (it prints what replication.h's observer hands it as pairs).
 *
 * Layer 3. Covered by: t/test_stats.c, t/stats.t.
 */
#ifndef STATS_H
#define STATS_H

#include "compat.h"

/* Cumulative counters of one node, in `stats` order. X(name) */
#define STATS_COUNTERS(X)                                                                   \
	X(total_connections)                                                                \
	X(rejected_connections)                                                             \
	X(cmd_get)                                                                          \
	X(cmd_set)                                                                          \
	X(cmd_flush)                                                                        \
	X(cmd_touch)                                                                        \
	X(cmd_meta)                                                                         \
	X(get_hits)                                                                         \
	X(get_misses)                                                                       \
	X(get_expired)                                                                      \
	X(get_flushed)                                                                      \
	X(delete_misses)                                                                    \
	X(delete_hits)                                                                      \
	X(incr_misses)                                                                      \
	X(incr_hits)                                                                        \
	X(decr_misses)                                                                      \
	X(decr_hits)                                                                        \
	X(cas_misses)                                                                       \
	X(cas_hits)                                                                         \
	X(cas_badval)                                                                       \
	X(touch_hits)                                                                       \
	X(touch_misses)                                                                     \
	X(store_too_large)                                                                  \
	X(store_no_memory)                                                                  \
	X(auth_cmds)                                                                        \
	X(auth_errors)                                                                      \
	X(idle_kicks)                                                                       \
	X(bytes_read)                                                                       \
	X(bytes_written)                                                                    \
	X(listen_disabled_num)                                                              \
	X(time_in_listen_disabled_us)                                                       \
	X(conn_yields)                                                                      \
	X(response_oom)                                                                     \
	X(input_dropped)   /* connections closed: too much input of all was not complete */  \
	X(uploads_dropped) /* and: their upload had come to a halt */                       \
	X(udp_datagrams)  /* received */                                                    \
	X(udp_malformed)  /* of these, no request, or not wholly one */                     \
	X(udp_limited)    /* the source had used up its rate */                             \
	X(udp_dropped)    /* no memory */                                                   \
	X(udp_too_large)  /* replies */                                                     \
	X(udp_send_errors)                                                                     \
	X(log_watcher_skipped)                                                              \
	X(log_watcher_sent)

struct stats {
#define X(name) uint64_t name;
	STATS_COUNTERS(X)
#undef X
	/* gauges */
	uint64_t curr_connections;
	bool accepting_conns;
};

/* Per size class command counters (stats slabs). */
struct stats_class {
	uint64_t get_hits, cmd_set, delete_hits, incr_hits, decr_hits, cas_hits, cas_badval, touch_hits;
};

void stats_reset(struct stats *s); /* counters to 0, gauges stay */

/* Where pairs go. Both strings are valid during the call only. */
struct stats_sink {
	void (*pair)(void *ctx, const char *name, const char *value);
	void *ctx;
};
void stats_str(const struct stats_sink *sink, const char *name, const char *value);
void stats_u64(const struct stats_sink *sink, const char *name, uint64_t value);
void stats_i64(const struct stats_sink *sink, const char *name, int64_t value);
void stats_fmt(const struct stats_sink *sink, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
