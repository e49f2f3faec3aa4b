/*
 * repl_stats.c - what a user can look at (section 9).
 *
 * Owns: names of the numbers. Flat ones carry the prefix repl_, but for the
 * three that tools made for repcached look for.
 *
 * Must not know: who asks.
 *
 * Covered by: t/test_replication.c.
 */
#include "compat.h"
#include "repl_internal.h"

/* The release of repcached whose fields `stats` carries. */
#define REPCACHED_VERSION "2.3.1"

static const char *role_name(const struct repl *r)
{
	return r->self.role == REPL_MASTER ? "MASTER" : r->self.role == REPL_SLAVE ? "SLAVE" : "OFF";
}

static const char *link_name(const struct repl *r)
{
	if (r->link)
		return "up";
	for (const struct repl_conn *c = r->conns; c; c = c->next)
		if (c->state == CONN_ASKING || c->state == CONN_PROMISED)
			return "handshake";
	return r->dial.connecting ? "connecting" : "down";
}

static const char *mode_name(const struct repl *r)
{
	switch (r->send.mode) {
	case SEND_NONE:
		return "none";
	case SEND_WALK:
		return r->send.overload ? "walk, overload" : "walk";
	case SEND_LIVE:
		return r->send.overload ? "overload" : "live";
	}
	return "none";
}

/* The other direction, as far as it can be seen from here. */
static const char *peer_mode_name(const struct repl *r)
{
	return !r->link ? "none" : r->recv.walking ? "walk" : "live";
}

/* Now minus the time of the last acknowledged MARK; 0 if it covers everything. */
static int64_t lag_ms(const struct repl *r)
{
	if (!r->link || repl_send_is_quiet(r))
		return 0;
	return r->now->mono_ms - r->marks.acked_ms;
}

static uint64_t lag_bytes(const struct repl *r)
{
	if (!r->link || repl_send_is_quiet(r))
		return 0;
	return r->link->out.appended - r->marks.acked_pos;
}

static const char *protocol_name(const struct repl *r)
{
	return !r->link ? "none" : repl_is_text(r) ? "repcached" : "REPL/1";
}

static void state_pairs(const struct repl *r, const struct stats_sink *sink, const char *prefix)
{
	char name[64];
	struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"lag_bytes", lag_bytes(r)},
		{"unsent_bytes", r->link ? repl_out_len(&r->link->out) : 0},
		{"tombstones", items_tomb_count(r->items)},
		{"tombstone_bytes", items_tomb_bytes(r->items)},
		{"lost_below", r->lost.below},
	};
	snprintf(name, sizeof(name), "%slink", prefix);
	stats_str(sink, name, link_name(r));
	snprintf(name, sizeof(name), "%slink_protocol", prefix);
	stats_str(sink, name, protocol_name(r));
	snprintf(name, sizeof(name), "%smode", prefix);
	stats_str(sink, name, mode_name(r));
	snprintf(name, sizeof(name), "%speer_mode", prefix);
	stats_str(sink, name, peer_mode_name(r));
	snprintf(name, sizeof(name), "%slag_ms", prefix);
	stats_i64(sink, name, lag_ms(r));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(name, sizeof(name), "%s%s", prefix, rows[i].name);
		stats_u64(sink, name, rows[i].value);
	}
}

static void count_pairs(const struct repl *r, const struct stats_sink *sink, const char *prefix)
{
	static const struct {
		const char *name;
		size_t offset;
	} rows[] = {
#define X(name) {#name, offsetof(struct repl_counts, name)},
		REPL_COUNTS(X)
#undef X
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char name[64];
		uint64_t value;
		memcpy(&value, (const char *)&r->counts + rows[i].offset, sizeof(value));
		snprintf(name, sizeof(name), "%s%s", prefix, rows[i].name);
		stats_u64(sink, name, value);
	}
}

static void walk_pairs(const struct repl *r, const struct stats_sink *sink)
{
	for (int i = 0; i < WALK_CAUSE_COUNT; i++) {
		char name[64];
		snprintf(name, sizeof(name), "walks_%s", repl_walk_name((enum walk_cause)i));
		stats_u64(sink, name, r->counts.walks[i].walks);
		snprintf(name, sizeof(name), "walks_%s_items", repl_walk_name((enum walk_cause)i));
		stats_u64(sink, name, r->counts.walks[i].items);
		snprintf(name, sizeof(name), "walks_%s_bytes", repl_walk_name((enum walk_cause)i));
		stats_u64(sink, name, r->counts.walks[i].bytes);
		snprintf(name, sizeof(name), "walks_%s_ms", repl_walk_name((enum walk_cause)i));
		stats_u64(sink, name, r->counts.walks[i].ms);
	}
}

static void peer_pairs(const struct repl *r, const struct stats_sink *sink)
{
	stats_str(sink, "peer", r->peer.addr[0] ? r->peer.addr : "none");
	stats_fmt(sink, "peer_node_id", "%016" PRIx64, r->peer.known ? r->peer.node_id : 0);
	stats_u64(sink, "peer_acked", r->peer.acked);
	stats_u64(sink, "peer_seen", r->peer.seen);
	stats_i64(sink, "clock_offset_ms", r->peer.clock_offset_ms);
}

void repl_stats_flat(const struct repl *r, const struct stats_sink *sink)
{
	stats_str(sink, "replication", role_name(r));
	stats_str(sink, "repcached_version", REPCACHED_VERSION);
	stats_u64(sink, "repcached_qi_free", (uint64_t)r->settings->repl_queue);
	stats_str(sink, "repl_peer", r->link ? r->peer.addr : "none");
	state_pairs(r, sink, "repl_");
	count_pairs(r, sink, "repl_");
}

void repl_stats(const struct repl *r, const struct stats_sink *sink)
{
	stats_str(sink, "role", role_name(r));
	stats_fmt(sink, "node_id", "%016" PRIx64, r->self.node_id);
	stats_u64(sink, "origin", r->hlc->origin);
	stats_u64(sink, "clock", r->hlc->last);
	peer_pairs(r, sink);
	state_pairs(r, sink, "");
	stats_u64(sink, "reconnects", r->counts.links > 0 ? r->counts.links - 1 : 0);
	count_pairs(r, sink, "");
	walk_pairs(r, sink);
}

/* ---- costs --------------------------------------------------------------------- */

static size_t out_bytes(const struct repl_out *o)
{
	size_t bytes = o->spare_count * (sizeof(struct repl_block) + REPL_BLOCK_BYTES);

	for (const struct repl_block *b = o->head; b; b = b->next)
		bytes += sizeof(*b) + (b->item ? 0 : REPL_BLOCK_BYTES);
	return bytes;
}

uint64_t repl_memory_bytes(const struct repl *r)
{
	uint64_t bytes = sizeof(*r);

	for (const struct repl_conn *c = r->conns; c; c = c->next)
		bytes += sizeof(*c) + out_bytes(&c->out) + c->in.held.capacity;
	return bytes;
}

bool repl_is_walking(const struct repl *r)
{
	return r->link && r->send.mode == SEND_WALK;
}
