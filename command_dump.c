/*
 * command_dump.c - lists of all keys: lru_crawler metadump and mgdump.
 *
 * Owns: one line per item, and the pieces that a dump is made in. A piece is what
 * one call adds to the output; the session gives the others their turn and sends
 * what there is before it asks for the next (reply->more, [S2] [S3] of session.h),
 * so that a slow reader holds up nobody and costs one piece of memory.
 *
 * Between two pieces a dump is one number, the position of items_walk(). In the
 * order of that walk no item that is there from begin to end is left out or met
 * twice, however much the index grows, and whatever pages move, meanwhile.
 *
 * Must not know: who reads it, sockets.
 *
 * Covered by: t/test_command_admin.c, t/admin.t.
 */
#include "compat.h"
#include "command.h"
#include "util.h"

/* Items per piece: some 50 microseconds of work. */
#define DUMP_ITEMS_PER_PIECE 256
/* A key written as %XX, and what is said about it. */
#define LINE_BYTES_MAX (3 * KEY_BYTES_MAX + 320)

struct dump {
	struct engine *engine;
	struct output *out;
	const bool *classes;
	bool meta;
	bool failed;
};

/* "key=k exp=-1 la=1700000000 cas=1 fetch=no cls=1 size=64 flags=0 " LF */
static size_t meta_line(const struct dump *d, const struct item *i, char *out)
{
	const struct engine *e = d->engine;
	int64_t last_access_s = (int64_t)now_wall_s(e->now) - items_idle_s(e->items, i);
	size_t n = 4;

	memcpy(out, "key=", n);
	n += format_url(out + n, item_key(i), i->key_len);
	int rest = snprintf(out + n, LINE_BYTES_MAX - n,
	                    " exp=%" PRId64 " la=%" PRId64 " cas=%" PRIu64
	                    " fetch=%s cls=%d size=%zu flags=%" PRIu32 " \n",
	                    i->exptime ? (int64_t)i->exptime : -1, last_access_s,
	                    e->settings->cas ? i->version : 0, i->bits & ITEM_FETCHED ? "yes" : "no",
	                    items_class_of(e->items, i), item_total_bytes(i), item_flags(i));
	assert(rest > 0 && (size_t)rest < LINE_BYTES_MAX - n);
	return n + (size_t)rest;
}

/* Whether a key would break the line it is written in. */
static bool needs_base64(const struct item *i)
{
	const uint8_t *key = item_key(i);
	bool breaks = i->bits & ITEM_BINKEY;

	for (size_t n = 0; n < i->key_len && !breaks; n++)
		breaks = key[n] <= ' ' || key[n] == 0x7f;
	return breaks;
}

/* "mg <key>" CRLF, a line that can be sent back as it is. */
static size_t mg_line(const struct item *i, char *out)
{
	size_t n = 3;

	memcpy(out, "mg ", n);
	if (needs_base64(i)) {
		n += format_base64(out + n, item_key(i), i->key_len);
		memcpy(out + n, " b", 2);
		n += 2;
	} else {
		memcpy(out + n, item_key(i), i->key_len);
		n += i->key_len;
	}
	memcpy(out + n, "\r\n", 2);
	return n + 2;
}

static bool is_wanted(const struct dump *d, const struct item *i)
{
	if (item_is_tomb(i) || (i->exptime != 0 && i->exptime <= now_wall_s(d->engine->now)))
		return false;
	return d->classes[items_class_of(d->engine->items, i)];
}

static bool visit(void *ctx, const struct item *i)
{
	struct dump *d = ctx;

	if (d->failed || !is_wanted(d, i))
		return !d->failed;
	uint8_t *line = output_room(d->out, LINE_BYTES_MAX);
	if (!line) {
		d->failed = true;
		return false;
	}
	output_commit(d->out, d->meta ? meta_line(d, i, (char *)line) : mg_line(i, (char *)line));
	return d->out->waiting <= COMMAND_OUTPUT_BYTES_MAX;
}

void command_dump(struct engine *e, const bool *classes, bool meta, struct reply *reply)
{
	struct output_mark mark = output_mark(reply->out);
	struct dump d = {.engine = e, .out = reply->out, .classes = classes, .meta = meta};
	struct items_cursor cursor = {.position = reply->cursor};

	if (reply->cursor == 0)
		d.failed = !output_put(d.out, "OK\r\n", 4);
	if (!d.failed)
		items_walk(e->items, &cursor, DUMP_ITEMS_PER_PIECE, visit, &d);
	if (d.failed) { /* the list has a hole: it must not look complete */
		e->stats->response_oom++;
		output_rollback(reply->out, &mark);
		reply->status = REPLY_NO_MEMORY;
		reply->close = true;
	} else if (!cursor.done) {
		reply->cursor = cursor.position;
		reply->more = true;
	} else {
		reply->status = meta ? REPLY_END : REPLY_MGDUMP_END;
	}
}
