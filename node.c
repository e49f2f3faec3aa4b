/*
 * node.c - a whole server minus I/O. See node.h.
 *
 * Owns: the wiring. Every pointer that one module borrows from another is set
 * here and nowhere else, so this file is the place to see how they hang
 * together:
 *
 *     session -> command -> store -> items --items_emit()--> on_change()
 *                                                               |
 *                      repl_conn <- link <- repl_on_change() <--+
 *                                  watchers <- watch_change() <--+
 *
 * Must not know: how bytes travel, what a command means, what a frame is.
 *
 * Invariants
 *  [N1] no mutable state outside struct node: two nodes share nothing
 *  [N2] client_ports, once wanted, stays wanted until node_stop()
 *
 * Covered by: t/test_node.c, the simulator, every black-box test.
 */
#include "compat.h"
#include "command.h"
#include "items_report.h"
#include "command_trace.h"
#include "node.h"
#include "util.h"

/* The limit of memory can be raised so many times, or to this at least. */
#define RESERVE_TIMES 4
#define RESERVE_BYTES_MIN ((size_t)(SIZE_MAX > UINT32_MAX ? UINT64_C(4) << 30 : UINT64_C(1) << 30))
#define TOMB_BYTES_MIN (1u << 20) /* contract section 4: at least 1 MiB */

/* Where the parts of the entropy go. */
enum {
	ENTROPY_HASH_SEED = 0,
	ENTROPY_ORIGIN = 8,
	ENTROPY_REPL = 16
};

struct node {
	struct settings settings;
	struct now now;
	struct now link_now; /* the same, but for the debug commands: debug.h */
	struct debug debug;
	struct hlc hlc;
	struct items *items;
	struct repl *repl; /* NULL: standalone */
	struct session_shared *shared;
	struct hold_queue holds;
	struct stats stats;
	struct stats_class class_stats[SIZE_CLASSES_MAX];
	struct watch watch;
	struct stats_prefixes prefixes;
	struct engine engine;
	struct auth_table logins;
	enum stop_mode stopping;
	int64_t stop_deadline_ms;
	change_observer *observer; /* the second one; tests */
	void *observer_ctx;
};

/* A graceful stop gives clients this long to finish what they began. */
#define STOP_GRACE_MS 1000

static void on_change(void *ctx, const struct change *change)
{
	struct node *n = ctx;

	if (n->repl)
		repl_on_change(n->repl, change);
	if (watch_wants(&n->watch, WATCH_EVICTIONS))
		watch_change(&n->watch, n->items, change);
	if (n->observer)
		n->observer(n->observer_ctx, change);
}

static void on_page_moved(void *ctx, int from_class, int to_class, bool done)
{
	struct node *n = ctx;

	if (watch_wants(&n->watch, WATCH_SYSEVENTS))
		watch_page_moved(&n->watch, from_class, to_class, done);
}

static size_t tomb_budget(const struct settings *s)
{
	if (s->repl_tombstones_bytes)
		return s->repl_tombstones_bytes;
	size_t percent = s->memory_bytes_max / 100;
	return percent > TOMB_BYTES_MIN ? percent : TOMB_BYTES_MIN;
}

/* Addresses for raising the limit later. Locked memory is counted by the system as
 * soon as it is reserved. */
static size_t reserve_bytes(const struct settings *s)
{
	size_t bytes = s->memory_bytes_max;

	if (s->lock_memory)
		return bytes;
	if (bytes < RESERVE_BYTES_MIN / RESERVE_TIMES)
		return RESERVE_BYTES_MIN;
	return bytes < SIZE_MAX / RESERVE_TIMES ? bytes * RESERVE_TIMES : bytes;
}

static bool open_items(struct node *n, const uint8_t *entropy)
{
	const struct settings *s = &n->settings;
	struct items_config config = {
	        .memory_bytes_max = s->memory_bytes_max,
	        .memory_bytes_reserved = reserve_bytes(s),
	        .item_bytes_max = s->item_bytes_max,
	        .chunk_bytes_min = s->chunk_bytes_min,
	        .growth_factor = s->growth_factor,
	        .evict = s->evict,
	        .replicated = s->replicated,
	        .tomb_bytes_max = tomb_budget(s),
	        .track_sizes = s->track_sizes,
	        .hash_power = s->hash_power,
	        .hash_seed = load_be64(entropy + ENTROPY_HASH_SEED),
	};
	n->items = items_new(&config, &n->now, &n->hlc);
	if (!n->items) {
		config.memory_bytes_reserved = 0; /* fewer addresses than one would like */
		n->items = items_new(&config, &n->now, &n->hlc);
	}
	if (!n->items)
		return false;
	items_observe(n->items, on_change, n);
	items_on_page_moved(n->items, on_page_moved, n);
	return true;
}

static void wire_engine(struct node *n, const struct node_env *env, struct log *log, const uint8_t *entropy)
{
	watch_init(&n->watch, &n->now, &n->stats, n->settings.watch_queue_bytes);
	stats_prefixes_init(&n->prefixes, n->settings.stat_prefix_delimiter,
	                    load_be64(entropy + ENTROPY_HASH_SEED));
	n->prefixes.on = n->settings.stat_prefixes;
	n->engine = (struct engine){
	        .settings = &n->settings,
	        .items = n->items,
	        .hlc = &n->hlc,
	        .now = &n->now,
	        .stats = &n->stats,
	        .class_stats = n->class_stats,
	        .log = log,
	        .env = env,
	        .watch = &n->watch,
	        .prefixes = &n->prefixes,
	        .started_mono_ms = n->now.mono_ms,
	        .started_wall_ms = n->now.wall_ms,
	};
	command_tune(&n->engine);
	command_trace_set(&n->engine);
	if (n->settings.debug_commands) {
		debug_init(&n->debug, &n->now, &n->link_now, &n->now);
		n->engine.debug = &n->debug;
	}
}

static void flat_stats(void *ctx, const struct stats_sink *sink)
{
	const struct node *n = ctx;

	repl_stats_flat(n->repl, sink);
	hold_stats(&n->holds, sink, "repl_");
}

static void all_stats(void *ctx, const struct stats_sink *sink)
{
	const struct node *n = ctx;

	repl_stats(n->repl, sink);
	hold_stats(&n->holds, sink, "");
}

static uint64_t link_bytes(void *ctx)
{
	const struct node *n = ctx;

	return repl_memory_bytes(n->repl);
}

/* What replication hears of the peer decides how long replies wait. */
static void on_news(void *ctx, enum repl_news news, uint64_t version)
{
	struct node *n = ctx;

	switch (news) {
	case REPL_NEWS_UP:
	case REPL_NEWS_DOWN:
		hold_on_link(&n->holds, news == REPL_NEWS_UP);
		break;
	case REPL_NEWS_ACKED:
	case REPL_NEWS_REFUSED:
		hold_on_ack(&n->holds, version, news == REPL_NEWS_REFUSED);
		break;
	}
}

static void on_event(void *ctx, const char *fields)
{
	struct node *n = ctx;

	if (watch_wants(&n->watch, WATCH_REPLICATION))
		watch_replication(&n->watch, fields);
}

static bool open_repl(struct node *n, struct log *log, const uint8_t *entropy)
{
	if (!n->settings.replicated)
		return true;
	n->repl = repl_new(&n->settings, n->items, &n->hlc, &n->link_now, log, entropy + ENTROPY_REPL);
	if (!n->repl)
		return false;
	hold_queue_init(&n->holds, n->settings.repl_ack_ms);
	repl_on_news(n->repl, on_news, n);
	repl_on_event(n->repl, on_event, n);
	n->engine.repl = n;
	n->engine.holds = n->settings.repl_ack_ms ? &n->holds : NULL;
	n->engine.repl_stats_flat = flat_stats;
	n->engine.repl_stats = all_stats;
	n->engine.link_bytes = link_bytes;
	return true;
}

struct node *node_new(const struct settings *settings, const struct node_env *env, struct log *log,
                      const struct now *now, const uint8_t entropy[NODE_ENTROPY_BYTES], const char **error)
{
	struct node *n = calloc(1, sizeof(*n));

	*error = "out of memory";
	if (!n)
		return NULL;
	n->settings = *settings;
	n->now = n->link_now = *now;
	n->stats.accepting_conns = true;
	uint16_t origin = (uint16_t)load_be64(entropy + ENTROPY_ORIGIN);
	hlc_init(&n->hlc, !settings->replicated, origin);
	if (!open_items(n, entropy)) {
		*error = "cannot reserve item memory";
		goto fail;
	}
	wire_engine(n, env, log, entropy);
	n->shared = session_shared_new(settings->memory_bytes_max);
	if (!n->shared || !open_repl(n, log, entropy))
		goto fail;
	*error = NULL;
	return n;
fail:
	node_free(n);
	return NULL;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	if (n->items)
		items_observe(n->items, NULL, NULL);
	if (n->repl)
		repl_free(n->repl);
	if (n->shared)
		session_shared_free(n->shared);
	if (n->engine.debug)
		debug_release(n->engine.debug, n->items);
	if (n->items)
		items_free(n->items);
	stats_prefixes_clear(&n->prefixes);
	auth_table_wipe(&n->logins);
	free(n);
}

void node_set_now(struct node *n, const struct now *now)
{
	assert(now->mono_ms >= n->link_now.mono_ms);
	if (n->engine.debug) {
		debug_set_now(n->engine.debug, now);
		return;
	}
	n->now = n->link_now = *now;
}

void node_turn_end(struct node *n)
{
	n->watch.news = false; /* the shell looks after watchers now */
	if (n->repl)
		repl_turn_end(n->repl);
	if (n->engine.stop_requested != STOP_NONE && n->stopping == STOP_NONE)
		node_stop(n, n->engine.stop_requested);
}

/* What housekeeping was at, as `stats latency` names it. */
static enum turn_cause cause_of(enum items_work work)
{
	static const enum turn_cause causes[] = {
	        [ITEMS_WORK_NONE] = TURN_OTHER, [ITEMS_WORK_FREE] = TURN_FREE,
	        [ITEMS_WORK_TOMBS] = TURN_TOMBS, [ITEMS_WORK_MOVE] = TURN_MOVE,
	        [ITEMS_WORK_SWEEP] = TURN_SWEEP,
	};

	return causes[work];
}

enum turn_cause node_tick(struct node *n)
{
	enum turn_cause cause = TURN_OTHER;

	if (items_next_due_ms(n->items) <= n->now.mono_ms) {
		items_tick(n->items);
		cause = cause_of(items_last_work(n->items));
	}
	if (n->repl && repl_next_due_ms(n->repl) <= n->link_now.mono_ms) {
		repl_tick(n->repl);
		cause = cause == TURN_OTHER ? TURN_PEER : cause;
	}
	if (n->engine.holds)
		hold_expire(n->engine.holds, &n->now);
	return cause;
}

static bool clients_done(const struct node *n)
{
	return n->stopping == STOP_NOW || n->stats.curr_connections == 0 ||
	       n->link_now.mono_ms >= n->stop_deadline_ms;
}

int64_t node_next_due_ms(const struct node *n)
{
	int64_t due = items_next_due_ms(n->items);

	if (n->watch.news)
		return n->link_now.mono_ms;
	if (n->engine.holds && hold_next_due_ms(n->engine.holds) < due)
		due = hold_next_due_ms(n->engine.holds);
	if (n->engine.debug)
		due = debug_real_ms(n->engine.debug, due);
	if (n->repl && repl_next_due_ms(n->repl) < due)
		due = repl_next_due_ms(n->repl);
	if (n->stopping == STOP_GRACEFUL && !clients_done(n) && n->stop_deadline_ms < due)
		due = n->stop_deadline_ms;
	return due;
}

struct node_wants node_wants(const struct node *n)
{
	struct node_wants w = {.client_ports = true};

	if (n->repl) {
		const struct repl_wants *r = repl_wants(n->repl);
		w.client_ports = r->client_ports;
		w.link_listen = r->link_listen;
		w.connect_seq = r->connect_seq;
	}
	if (n->stopping != STOP_NONE) {
		w.stop_accepting = true;
		w.link_listen = false;
		w.stopped = clients_done(n) && (!n->repl || repl_wants(n->repl)->drained);
	}
	return w;
}

struct session *node_session_open(struct node *n)
{
	struct session *s = session_new(&n->engine, n->shared);

	if (!s)
		return NULL;
	n->stats.curr_connections++;
	n->stats.total_connections++;
	return s;
}

void node_session_close(struct node *n, struct session *s)
{
	assert(n->stats.curr_connections > 0);
	n->stats.curr_connections--;
	session_free(s);
}

void node_set_logins(struct node *n, const struct auth_table *table)
{
	n->logins = *table;
	n->engine.logins = &n->logins;
}

void node_set_sasl(struct node *n, const struct sasl_env *sasl)
{
	n->engine.sasl = sasl;
}

struct session *node_datagram_open(struct node *n)
{
	return session_new(&n->engine, n->shared);
}

void node_datagram_close(struct node *n, struct session *s)
{
	(void)n;
	session_free(s);
}

void node_stop(struct node *n, enum stop_mode mode)
{
	assert(mode != STOP_NONE);
	if (n->stopping == STOP_NONE && n->repl)
		repl_stop(n->repl);
	n->stopping = mode;
	n->stop_deadline_ms = n->link_now.mono_ms + STOP_GRACE_MS;
}

void node_observe(struct node *n, change_observer *fn, void *ctx)
{
	n->observer = fn;
	n->observer_ctx = ctx;
}

size_t node_buffer_bytes(const struct node *n)
{
	return session_shared_bytes(n->shared);
}

struct repl *node_repl(struct node *n)
{
	return n->repl;
}

struct engine *node_engine(struct node *n)
{
	return &n->engine;
}

struct items *node_items(struct node *n)
{
	return n->items;
}

const struct settings *node_settings(const struct node *n)
{
	return &n->settings;
}
