/*
 * command_memory.c - stats memory: where the memory of the process is.
 *
 * Owns: the list, and what is left when everything that is known was taken off the
 * resident memory.
 *
 * Some sizes are not exact: of an index that -o hashpower made larger than needed more
 * counts than is resident, and what the allocator keeps for itself is nowhere. The
 * remainder shows by how much that is wrong; it may be negative.
 *
 * Must not know: how pairs are printed, the system (engine.env has its numbers).
 *
 * Covered by: t/test_command_admin.c, t/admin.t.
 */
#include "compat.h"
#include "command.h"
#include "items_report.h"

#define NAME_BYTES_MAX 64

/* Prints a part and adds it up. */
struct parts {
	const struct stats_sink *sink;
	uint64_t sum;
};

static void part(struct parts *p, const char *name, uint64_t bytes)
{
	stats_u64(p->sink, name, bytes);
	p->sum += bytes;
}

static void storage(const struct engine *e, struct parts *p)
{
	struct items_memory m;

	items_memory(e->items, &m);
	part(p, "item_data", m.data);
	part(p, "item_headers", m.headers);
	part(p, "chunk_waste", m.chunk_waste);
	part(p, "chunks_free", m.free);
	part(p, "index", m.index);
	part(p, "ghosts", m.ghosts);
	part(p, "page_tables", m.page_tables);
	part(p, "tombstones", m.tombstones);
}

static void of_class(int id, const struct items_class_info *info, const struct stats_sink *sink)
{
	char name[NAME_BYTES_MAX];
	uint64_t used = info->used_chunks * info->chunk_bytes;
	const struct {
		const char *name;
		uint64_t value;
	} pairs[] = {
	        {"chunk_size", info->chunk_bytes},
	        {"pages", info->pages},
	        {"items", info->items},
	        {"item_bytes", info->item_bytes},
	        {"chunk_waste", used > info->item_bytes ? used - info->item_bytes : 0},
	        {"chunks_free", info->free_chunks * info->chunk_bytes},
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		snprintf(name, sizeof(name), "%d:%s", id, pairs[i].name);
		stats_u64(sink, name, pairs[i].value);
	}
}

static void classes(const struct engine *e, const struct stats_sink *sink)
{
	struct items_class_info info;
	struct items_gauges g;

	items_gauges(e->items, &g);
	for (int id = 1; id <= g.class_count; id++)
		if (items_class_info(e->items, id, &info) && info.pages > 0)
			of_class(id, &info, sink);
}

void command_stats_memory(struct engine *e, const struct stats_sink *sink)
{
	struct parts parts = {.sink = sink};
	struct memory_info info = {0};
	struct items_gauges g;

	items_gauges(e->items, &g);
	if (e->env && e->env->memory)
		e->env->memory(e->env->ctx, &info);
	stats_u64(sink, "limit", g.limit_bytes);
	stats_u64(sink, "pages_used", g.page_bytes / g.page_size);
	stats_u64(sink, "pages_free", g.free_pages);
	stats_u64(sink, "page_size", g.page_size);
	if (info.resident_bytes)
		stats_u64(sink, "resident", info.resident_bytes);
	storage(e, &parts);
	part(&parts, "connections", info.conn_bytes);
	part(&parts, "buffers", info.buffer_bytes);
	part(&parts, "replication", e->link_bytes ? e->link_bytes(e->repl) : 0);
	part(&parts, "program", info.program_bytes);
	stats_u64(sink, "sum", parts.sum);
	if (info.resident_bytes)
		stats_i64(sink, "remainder", (int64_t)info.resident_bytes - (int64_t)parts.sum);
	classes(e, sink);
}
