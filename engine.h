/*
 * engine.h - what a command handler may touch, in one struct.
 *
 * Owns: nothing; it gathers borrowed pointers. node.c fills it. Handlers get a
 * struct engine, never a session, never the link.
 *
 * Layer 3. Covered by: every test of command.c.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include "compat.h"
#include "auth.h"
#include "clock.h"
#include "debug.h"
#include "hold.h"
#include "items.h"
#include "log.h"
#include "settings.h"
#include "stats.h"
#include "stats_latency.h"
#include "stats_prefix.h"
#include "watch.h"

#define SIZE_CLASSES_MAX 256

/* What only the operating system knows; asked for when `stats` is. */
struct process_info {
	int64_t pid;
	int64_t rusage_user_us, rusage_system_us;
	const char *event_library; /* libevent's version */
};

/* One row of `stats conns`. */
struct conn_info {
	int64_t id; /* descriptor */
	const char *addr, *listen_addr; /* listen_addr NULL for listeners */
	const char *state;
	int64_t idle_s;
	bool udp;
};

/* What the storage does not know of memory, in bytes; asked for by `stats memory`. */
struct memory_info {
	uint64_t resident_bytes; /* of the process; 0 = the system does not say */
	uint64_t program_bytes;  /* that were resident when serving began */
	uint64_t conn_bytes;     /* of connections with their buffers */
	uint64_t buffer_bytes;   /* that all connections share */
};

/* Calls up to the shell, or to a test double. */
struct node_env {
	void (*process_info)(void *ctx, struct process_info *out);
	void (*each_conn)(void *ctx, void (*fn)(void *fn_ctx, const struct conn_info *), void *fn_ctx);
	void (*memory)(void *ctx, struct memory_info *out);
	void *ctx;
};

/* What a `shutdown` command, or a signal, asks for. */
enum stop_mode {
	STOP_NONE,
	STOP_NOW,     /* as SIGINT */
	STOP_GRACEFUL /* as SIGUSR1: let clients finish what they sent */
};

/* What an operator may change while serving. The settings say how it began. */
struct tuning {
	bool crawler;               /* expired items are looked for unasked */
	uint32_t crawler_sleep_us;  /* between pieces of that */
	uint32_t crawler_items_max; /* of one class per `lru_crawler crawl`; 0 = all */
	int automove;               /* 0 never, 1 sparingly, 2 eagerly */
};

/* In engine.traced, beside the WATCH_ bits. */
#define TRACE_PREFIXES (1u << 31)

struct engine {
	const struct settings *settings;
	struct items *items;
	struct hlc *hlc;
	const struct now *now;
	struct stats *stats;
	struct stats_class *class_stats; /* [SIZE_CLASSES_MAX] */
	struct log *log;
	const struct node_env *env;
	const struct auth_table *logins; /* who may log in by -Y; NULL: nobody */
	const struct sasl_env *sasl;     /* NULL: no SASL */
	/* more pairs for `stats` (flat fields) and `stats replication`; NULL when off */
	void (*repl_stats_flat)(void *ctx, const struct stats_sink *sink);
	void (*repl_stats)(void *ctx, const struct stats_sink *sink);
	uint64_t (*link_bytes)(void *ctx);  /* bytes that the link holds */
	void *repl; /* their ctx */
	struct hold_queue *holds; /* NULL: replies never wait for the peer */
	struct debug *debug; /* NULL: no debug commands */
	struct watch *watch;
	struct stats_prefixes *prefixes;
	unsigned traced; /* who wants to hear of single commands: command_trace.c; usually 0 */
	int64_t conn_id; /* of the session that runs: its descriptor */
	int64_t started_mono_ms, started_wall_ms;
	struct tuning tuning;
	struct latency latency;
	enum stop_mode stop_requested; /* set by the shutdown command, read by node */
};

#endif
