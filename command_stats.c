/*
 * command_stats.c - the stats command.
 *
 * Owns: which numbers there are, under which names, in which order (memcached's:
 * doc/protocol.txt section 5, which also says what is left out because it has
 * no meaning here).
 *
 * Must not know: how pairs are printed, sockets, the link (its pairs come
 * through engine->repl_stats*).
 *
 * Invariants
 *  [G1] the general list without replication stays below 4096 bytes: a
 *       widespread collector reads no more
 *  [G2] every value is true; a field without a meaning is absent
 *
 * Covered by: t/test_command.c, t/test_session.c.
 */
#include "compat.h"
#include "command.h"
#include "command_stats.h"

#define NAME_BYTES_MAX 64
#define USEC_PER_SEC INT64_C(1000000)

/* ---- the sink that prints into the reply ------------------------------------ */

struct printer {
	struct reply *reply;
	bool failed; /* no memory: what follows is not printed */
};

static void print_pair(void *ctx, const char *name, const char *value)
{
	struct printer *p = ctx;

	if (!p->failed)
		p->failed = !p->reply->command->format->pair(p->reply, name, value);
}

/* A sink that puts "<prefix>:" before the names. */
struct prefixed {
	const struct stats_sink *sink;
	char prefix[NAME_BYTES_MAX];
};

static void prefix_pair(void *ctx, const char *name, const char *value)
{
	const struct prefixed *p = ctx;
	char full[2 * NAME_BYTES_MAX];
	int n = snprintf(full, sizeof(full), "%s:%s", p->prefix, name);

	assert(n > 0 && (size_t)n < sizeof(full));
	(void)n;
	stats_str(p->sink, full, value);
}

static const char *yes_no(bool v)
{
	return v ? "yes" : "no";
}

/* ---- stats ------------------------------------------------------------------ */

static void rusage(const struct stats_sink *sink, const char *name, int64_t us)
{
	stats_fmt(sink, name, "%" PRId64 ".%06" PRId64, us / USEC_PER_SEC, us % USEC_PER_SEC);
}

static void stats_process(const struct engine *e, const struct stats_sink *sink)
{
	struct process_info info = {.event_library = "none"};
	int64_t uptime_s = (e->now->mono_ms - e->started_mono_ms) / 1000;

	if (e->env && e->env->process_info)
		e->env->process_info(e->env->ctx, &info);
	stats_i64(sink, "pid", info.pid);
	stats_i64(sink, "uptime", uptime_s > 0 ? uptime_s : 1); /* tools divide by it */
	stats_u64(sink, "time", now_wall_s(e->now));
	stats_str(sink, "version", PACKAGE_VERSION);
	stats_str(sink, "libevent", info.event_library);
	stats_u64(sink, "pointer_size", 8 * sizeof(void *));
	rusage(sink, "rusage_user", info.rusage_user_us);
	rusage(sink, "rusage_system", info.rusage_system_us);
}

#define COUNTER(name) stats_u64(sink, #name, s->name)

static void stats_connections(const struct engine *e, const struct stats_sink *sink)
{
	const struct stats *s = e->stats;

	stats_i64(sink, "max_connections", e->settings->conns_max);
	COUNTER(curr_connections);
	COUNTER(total_connections);
	if (e->settings->maxconns_fast)
		COUNTER(rejected_connections);
	stats_u64(sink, "connection_structures", s->curr_connections);
	stats_u64(sink, "response_obj_oom", s->response_oom);
}

static void stats_commands(const struct engine *e, const struct stats_sink *sink)
{
	const struct stats *s = e->stats;

	COUNTER(cmd_get);
	COUNTER(cmd_set);
	COUNTER(cmd_flush);
	COUNTER(cmd_touch);
	COUNTER(cmd_meta);
	COUNTER(get_hits);
	COUNTER(get_misses);
	COUNTER(get_expired);
	COUNTER(get_flushed);
	COUNTER(delete_misses);
	COUNTER(delete_hits);
	COUNTER(incr_misses);
	COUNTER(incr_hits);
	COUNTER(decr_misses);
	COUNTER(decr_hits);
	COUNTER(cas_misses);
	COUNTER(cas_hits);
	COUNTER(cas_badval);
	COUNTER(touch_hits);
	COUNTER(touch_misses);
	COUNTER(store_too_large);
	COUNTER(store_no_memory);
	COUNTER(auth_cmds);
	COUNTER(auth_errors);
	if (e->settings->idle_timeout_s > 0)
		COUNTER(idle_kicks);
}

/* As set last. */
static uint64_t memory_limit(const struct engine *e)
{
	struct items_gauges g;

	items_gauges(e->items, &g);
	return g.limit_bytes;
}

static void stats_traffic(const struct engine *e, const struct stats_sink *sink)
{
	const struct stats *s = e->stats;

	COUNTER(bytes_read);
	COUNTER(bytes_written);
	stats_u64(sink, "limit_maxbytes", memory_limit(e));
	stats_u64(sink, "accepting_conns", s->accepting_conns);
	COUNTER(listen_disabled_num);
	COUNTER(time_in_listen_disabled_us);
	stats_u64(sink, "threads", 1);
	COUNTER(conn_yields);
}

/* Names that memcached does not have. */
static void stats_limits(const struct engine *e, const struct stats_sink *sink)
{
	const struct stats *s = e->stats;

	COUNTER(input_dropped);
	COUNTER(uploads_dropped);
	if (!e->settings->udp_port)
		return;
	COUNTER(udp_datagrams);
	COUNTER(udp_malformed);
	COUNTER(udp_limited);
	COUNTER(udp_dropped);
	COUNTER(udp_too_large);
	COUNTER(udp_send_errors);
}

static void stats_memory(const struct engine *e, const struct stats_sink *sink)
{
	const struct items_counters *s = items_counters(e->items);
	struct items_gauges g;

	items_gauges(e->items, &g);
	stats_i64(sink, "hash_power_level", g.hash_power);
	stats_u64(sink, "hash_bytes", g.hash_bytes);
	stats_u64(sink, "hash_is_expanding", g.hash_growing);
	stats_u64(sink, "slab_reassign_rescues", s->rescues);
	stats_u64(sink, "slab_reassign_running", g.move_running);
	stats_u64(sink, "slabs_moved", s->pages_moved);
	if (e->tuning.crawler) {
		stats_u64(sink, "lru_crawler_running", g.sweep_running);
		stats_u64(sink, "lru_crawler_starts", s->sweeps);
	}
	stats_u64(sink, "log_watcher_skipped", e->stats->log_watcher_skipped);
	stats_u64(sink, "log_watcher_sent", e->stats->log_watcher_sent);
	stats_i64(sink, "log_watchers", e->watch->count);
	stats_u64(sink, "bytes", g.item_bytes);
	stats_u64(sink, "curr_items", g.item_count);
	COUNTER(total_items);
	stats_u64(sink, "slab_global_page_pool", g.free_pages);
	COUNTER(expired_unfetched);
	COUNTER(evicted_unfetched);
	COUNTER(evicted_active);
	COUNTER(evictions);
	COUNTER(reclaimed);
	COUNTER(crawler_reclaimed);
	COUNTER(crawler_items_checked);
}

static void stats_general(struct engine *e, const struct stats_sink *sink)
{
	stats_process(e, sink);
	stats_connections(e, sink);
	stats_commands(e, sink);
	stats_traffic(e, sink);
	stats_memory(e, sink);
	stats_limits(e, sink);
	if (e->repl_stats_flat)
		e->repl_stats_flat(e->repl, sink);
	else
		stats_str(sink, "replication", "OFF");
}

/* ---- stats settings --------------------------------------------------------- */

static void settings_shell(const struct engine *e, const struct stats_sink *sink)
{
	const struct settings *s = e->settings;

	stats_u64(sink, "maxbytes", memory_limit(e));
	stats_i64(sink, "maxconns", s->conns_max);
	stats_i64(sink, "tcpport", s->tcp_port);
	stats_i64(sink, "udpport", s->udp_port);
	stats_str(sink, "inter", s->listen_text[0] ? s->listen_text : "NULL");
	stats_i64(sink, "verbosity", e->log->verbosity);
	stats_str(sink, "evictions", s->evict ? "on" : "off");
	stats_str(sink, "domain_socket", s->socket_path[0] ? s->socket_path : "NULL");
	stats_fmt(sink, "umask", "%o", s->socket_mask);
	stats_str(sink, "shutdown_command", yes_no(s->shutdown_command));
}

static const char *protocol_name(enum protocol_choice protocol)
{
	switch (protocol) {
	case PROTOCOL_AUTO:
		return "auto-negotiate";
	case PROTOCOL_ASCII:
		return "ascii";
	case PROTOCOL_BINARY:
		return "binary";
	}
	assert(false);
	return "auto-negotiate";
}

static void settings_protocol(const struct engine *e, const struct stats_sink *sink)
{
	const struct settings *s = e->settings;
	char delimiter[2] = {s->stat_prefix_delimiter, '\0'};

	stats_fmt(sink, "growth_factor", "%.2f", s->growth_factor);
	stats_u64(sink, "chunk_size", s->chunk_bytes_min);
	stats_i64(sink, "num_threads", 1);
	stats_str(sink, "stat_key_prefix", delimiter);
	stats_str(sink, "detail_enabled", yes_no(e->prefixes->on));
	stats_i64(sink, "reqs_per_event", s->requests_per_event);
	stats_str(sink, "cas_enabled", yes_no(s->cas));
	stats_i64(sink, "tcp_backlog", s->listen_backlog);
	stats_str(sink, "binding_protocol", protocol_name(s->protocol));
	stats_str(sink, "auth_enabled_sasl", yes_no(s->sasl));
	stats_str(sink, "auth_enabled_ascii", s->auth_file[0] ? s->auth_file : "no");
	stats_u64(sink, "item_size_max", s->item_bytes_max);
	stats_str(sink, "maxconns_fast", yes_no(s->maxconns_fast));
	stats_i64(sink, "hashpower_init", s->hash_power);
	stats_str(sink, "slab_reassign", yes_no(s->slab_reassign));
	stats_i64(sink, "slab_automove", e->tuning.automove);
	stats_str(sink, "lru_crawler", yes_no(e->tuning.crawler));
	stats_u64(sink, "lru_crawler_sleep", e->tuning.crawler_sleep_us);
	stats_u64(sink, "lru_crawler_tocrawl", e->tuning.crawler_items_max);
	stats_str(sink, "flush_enabled", yes_no(s->flush_enabled));
	stats_str(sink, "dump_enabled", yes_no(s->dump_enabled));
	stats_str(sink, "hash_algorithm", "xxh3");
	stats_str(sink, "lru_segmented", "no"); /* S3-FIFO */
	stats_str(sink, "temp_lru", "no");
	stats_i64(sink, "idle_timeout", s->idle_timeout_s);
	stats_u64(sink, "watcher_logbuf_size", s->watch_queue_bytes);
	stats_str(sink, "track_sizes", yes_no(s->track_sizes));
	stats_str(sink, "memory_file", "(null)");
	stats_u64(sink, "client_flags_size", sizeof(uint32_t));
}

static void settings_repl(const struct settings *s, const struct stats_sink *sink)
{
	stats_str(sink, "replication", yes_no(s->replicated));
	if (!s->replicated)
		return;
	stats_str(sink, "repl_peer", s->repl_peer[0] ? s->repl_peer : "NULL");
	stats_i64(sink, "repl_port", s->repl_port);
	stats_str(sink, "repl_listen", s->repl_listen[0] ? s->repl_listen : "NULL");
	stats_str(sink, "repl_accept", s->repl_accept == REPL_ACCEPT_PEER ? "peer" : "any");
	stats_str(sink, "repl_secret", yes_no(s->repl_has_secret));
	stats_u64(sink, "repl_buffer", s->repl_buffer_bytes);
	stats_u64(sink, "repl_tombstones", s->repl_tombstones_bytes);
	stats_i64(sink, "repl_timeout", s->repl_timeout_ms);
	stats_i64(sink, "repl_ack", s->repl_ack_ms);
	stats_i64(sink, "repl_drain", s->repl_drain_ms);
	stats_str(sink, "repl_compat", s->repl_compat ? "repcached" : "none");
	stats_i64(sink, "repl_max_skew", s->repl_max_skew_ms / 1000);
}

static void stats_settings(struct engine *e, const struct stats_sink *sink)
{
	settings_shell(e, sink);
	settings_protocol(e, sink);
	settings_repl(e->settings, sink);
}

/* ---- stats items, stats slabs ----------------------------------------------- */

static void items_of_class(const struct items_class_info *s, const struct stats_sink *sink)
{
	stats_u64(sink, "number", s->items);
	stats_u64(sink, "age", s->tail_idle_s);
	stats_u64(sink, "mem_requested", s->item_bytes);
	COUNTER(evicted);
	COUNTER(evicted_nonzero);
	stats_u64(sink, "evicted_time", s->evicted_idle_s);
	stats_u64(sink, "outofmemory", s->out_of_memory);
	COUNTER(reclaimed);
	COUNTER(expired_unfetched);
	COUNTER(evicted_unfetched);
	COUNTER(crawler_reclaimed);
	COUNTER(crawler_items_checked);
}

static void slabs_of_class(const struct items_class_info *info, const struct stats_class *s,
			   const struct stats_sink *sink)
{
	stats_u64(sink, "chunk_size", info->chunk_bytes);
	stats_u64(sink, "chunks_per_page", info->chunks_per_page);
	stats_u64(sink, "total_pages", info->pages);
	stats_u64(sink, "total_chunks", info->used_chunks + info->free_chunks);
	stats_u64(sink, "used_chunks", info->used_chunks);
	stats_u64(sink, "free_chunks", info->free_chunks);
	stats_u64(sink, "free_chunks_end", 0);
	COUNTER(get_hits);
	COUNTER(cmd_set);
	COUNTER(delete_hits);
	COUNTER(incr_hits);
	COUNTER(decr_hits);
	COUNTER(cas_hits);
	COUNTER(cas_badval);
	COUNTER(touch_hits);
}

#undef COUNTER

static int class_count(const struct engine *e)
{
	struct items_gauges g;

	items_gauges(e->items, &g);
	assert(g.class_count < SIZE_CLASSES_MAX);
	return g.class_count;
}

static void stats_items(struct engine *e, const struct stats_sink *sink)
{
	struct prefixed prefixed = {.sink = sink};
	struct stats_sink inner = {prefix_pair, &prefixed};
	struct items_class_info info;

	for (int id = 1, count = class_count(e); id <= count; id++) {
		if (!items_class_info(e->items, id, &info) || info.items == 0)
			continue;
		snprintf(prefixed.prefix, sizeof(prefixed.prefix), "items:%d", id);
		items_of_class(&info, &inner);
	}
}

static void stats_slabs(struct engine *e, const struct stats_sink *sink)
{
	struct prefixed prefixed = {.sink = sink};
	struct stats_sink inner = {prefix_pair, &prefixed};
	struct items_class_info info;
	struct items_gauges g;
	int listed = 0;

	for (int id = 1, count = class_count(e); id <= count; id++) {
		if (!items_class_info(e->items, id, &info))
			continue;
		snprintf(prefixed.prefix, sizeof(prefixed.prefix), "%d", id);
		slabs_of_class(&info, &e->class_stats[id], &inner);
		listed++;
	}
	items_gauges(e->items, &g);
	stats_i64(sink, "active_slabs", listed);
	stats_u64(sink, "total_malloced", g.page_bytes);
}

/* ---- the other lists -------------------------------------------------------- */

static void print_conn(void *ctx, const struct conn_info *conn)
{
	struct prefixed prefixed = {.sink = ctx};
	struct stats_sink sink = {prefix_pair, &prefixed};

	snprintf(prefixed.prefix, sizeof(prefixed.prefix), "%" PRId64, conn->id);
	if (conn->udp)
		stats_str(&sink, "UDP", "UDP");
	stats_str(&sink, "addr", conn->addr);
	if (conn->listen_addr)
		stats_str(&sink, "listen_addr", conn->listen_addr);
	stats_str(&sink, "state", conn->state);
	stats_i64(&sink, "secs_since_last_cmd", conn->idle_s);
}

static void stats_conns(struct engine *e, const struct stats_sink *sink)
{
	struct stats_sink copy = *sink;

	if (e->env && e->env->each_conn)
		e->env->each_conn(e->env->ctx, print_conn, &copy);
}

static void stats_replication(struct engine *e, const struct stats_sink *sink)
{
	e->repl_stats(e->repl, sink);
}

static void stats_latency(struct engine *e, const struct stats_sink *sink)
{
	latency_stats(&e->latency, sink);
}

static void reset_all(struct engine *e)
{
	stats_reset(e->stats);
	items_counters_reset(e->items);
	memset(e->class_stats, 0, SIZE_CLASSES_MAX * sizeof(*e->class_stats));
	stats_prefixes_clear(e->prefixes);
	latency_reset(&e->latency);
}

struct list {
	const char *name;
	void (*print)(struct engine *e, const struct stats_sink *sink);
};

static const struct list lists[] = {
	{"settings", stats_settings}, {"items", stats_items}, {"slabs", stats_slabs},
	{"conns", stats_conns},       {"sizes", command_stats_sizes}, {"replication", stats_replication},
	{"latency", stats_latency},   {"memory", command_stats_memory},
};

static const struct list *find_list(const struct engine *e, const struct word *name)
{
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		if (!word_is(name, lists[i].name))
			continue;
		return lists[i].print == stats_replication && !e->repl_stats ? NULL : &lists[i];
	}
	return NULL;
}

void command_stats(struct engine *e, const struct command *cmd, struct reply *reply)
{
	static const struct list general = {"", stats_general};
	struct output_mark mark = output_mark(reply->out);
	struct printer printer = {.reply = reply};
	struct stats_sink sink = {print_pair, &printer};
	struct word_list words = cmd->words;
	struct word name;
	bool named = word_list_next(&words, &name);

	if (named && word_is(&name, "reset")) {
		reset_all(e);
		reply->status = REPLY_RESET;
		return;
	}
	if (named && word_is(&name, "detail")) {
		command_stats_detail(e, words, reply);
		return;
	}
	if (named && word_is(&name, "cachedump")) {
		command_stats_cachedump(e, words, reply);
		return;
	}
	const struct list *list = named ? find_list(e, &name) : &general;
	if (!list) {
		reply->status = REPLY_UNKNOWN;
		return;
	}
	list->print(e, &sink);
	reply->status = REPLY_END;
	if (printer.failed) {
		output_rollback(reply->out, &mark);
		reply->status = REPLY_NO_MEMORY;
	}
}
