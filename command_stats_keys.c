/*
 * command_stats_keys.c - lists about keys: stats detail, sizes and cachedump.
 *
 * Owns: the arguments of these and what their lines say. All three are made in one
 * go and bounded: by STATS_PREFIXES_MAX, by how many sizes there can be, and by
 * CACHEDUMP_BYTES_MAX and CACHEDUMP_ITEMS_MAX.
 *
 * Must not know: how rows are printed, how prefixes and sizes are counted.
 *
 * Covered by: t/test_command_stats.c, t/stats-sub.t.
 */
#include "compat.h"
#include "command_stats.h"
#include "command_trace.h"
#include "util.h"

/* A cachedump ends at whichever comes first; memcached has the first one, too. */
#define CACHEDUMP_BYTES_MAX ((size_t)2 << 20)
#define CACHEDUMP_ITEMS_MAX 65536
#define ROW_BYTES_MAX 160

struct rows {
	struct engine *engine;
	struct reply *reply;
	struct output_mark mark;
	size_t left; /* cachedump: rows that are still wanted */
	bool failed;
};

static struct rows rows_begin(struct engine *e, struct reply *reply)
{
	return (struct rows){.engine = e, .reply = reply, .mark = output_mark(reply->out)};
}

static void rows_end(struct rows *r)
{
	r->reply->status = REPLY_END;
	if (r->failed) {
		output_rollback(r->reply->out, &r->mark);
		r->engine->stats->response_oom++;
		r->reply->status = REPLY_NO_MEMORY;
	}
}

static bool put_row(struct rows *r, const char *what, const struct word *key, const char *value)
{
	r->failed = !r->reply->command->format->row(r->reply, what, key, value);
	return !r->failed;
}

/* ---- detail ----------------------------------------------------------------- */

static bool put_prefix(void *ctx, const struct stats_prefix *prefix)
{
	struct word key = {prefix->text, prefix->len};
	char value[ROW_BYTES_MAX];

	snprintf(value, sizeof(value), "get %" PRIu64 " hit %" PRIu64 " set %" PRIu64 " del %" PRIu64,
		 prefix->get, prefix->hit, prefix->set, prefix->del);
	return put_row(ctx, "PREFIX", &key, value);
}

static void switch_detail(struct engine *e, bool on, struct reply *reply)
{
	e->prefixes->on = on;
	command_trace_set(e);
	reply->status = REPLY_OK;
}

void command_stats_detail(struct engine *e, struct word_list words, struct reply *reply)
{
	struct rows rows = rows_begin(e, reply);
	struct word word = {NULL, 0};

	if (!e->settings->dump_enabled) {
		reply->status = REPLY_DETAIL_REFUSED;
		return;
	}
	word_list_next(&words, &word);
	if (word_is(&word, "on")) {
		switch_detail(e, true, reply);
	} else if (word_is(&word, "off")) {
		switch_detail(e, false, reply);
	} else if (word_is(&word, "dump")) {
		stats_prefixes_each(e->prefixes, put_prefix, &rows);
		rows_end(&rows);
	} else {
		reply->status = REPLY_DETAIL_USAGE;
	}
}

/* ---- cachedump -------------------------------------------------------------- */

static bool put_item(void *ctx, const struct item *item)
{
	struct rows *r = ctx;
	struct word key = {item_key(item), item->key_len};
	char value[ROW_BYTES_MAX];

	if (item->bits & ITEM_BINKEY)
		return true;
	snprintf(value, sizeof(value), "[%zu b; %" PRIu32 " s]", item_value_len(item), item->exptime);
	if (!put_row(r, "ITEM", &key, value))
		return false;
	r->left--;
	return r->left > 0 && r->reply->out->waiting - r->mark.waiting < CACHEDUMP_BYTES_MAX;
}

static void dump_class(struct engine *e, uint32_t class_id, uint32_t limit, struct reply *reply)
{
	struct rows rows = rows_begin(e, reply);
	struct items_gauges g;

	items_gauges(e->items, &g);
	rows.left = limit ? limit : CACHEDUMP_ITEMS_MAX;
	if (class_id > 0 && class_id <= (uint32_t)g.class_count)
		items_newest(e->items, (int)class_id, CACHEDUMP_ITEMS_MAX, put_item, &rows);
	rows_end(&rows);
}

static bool next_u32(struct word_list *words, uint32_t *out, bool *missing)
{
	struct word word;

	*missing = !word_list_next(words, &word);
	return !*missing && parse_u32((const char *)word.data, word.len, out);
}

void command_stats_cachedump(struct engine *e, struct word_list words, struct reply *reply)
{
	uint32_t class_id = 0, limit = 0;
	bool no_class, no_limit;
	bool good = next_u32(&words, &class_id, &no_class);

	good = next_u32(&words, &limit, &no_limit) && good;
	if (!e->settings->dump_enabled)
		reply->status = REPLY_CACHEDUMP_REFUSED;
	else if (no_class || no_limit)
		reply->status = REPLY_CACHEDUMP_SHORT;
	else if (!good)
		reply->status = REPLY_BAD_FORMAT;
	else if (class_id >= SIZE_CLASSES_MAX)
		reply->status = REPLY_CACHEDUMP_CLASS;
	else
		dump_class(e, class_id, limit, reply);
}

/* ---- sizes ------------------------------------------------------------------ */

static void put_size(void *ctx, size_t bytes, uint32_t count)
{
	char name[DECIMAL_BYTES_MAX + 1];

	name[format_u64(name, bytes)] = '\0';
	stats_u64(ctx, name, count);
}

void command_stats_sizes(struct engine *e, const struct stats_sink *sink)
{
	struct stats_sink copy = *sink;

	if (!items_each_size(e->items, put_size, &copy))
		stats_str(sink, "sizes_status", "disabled");
}
