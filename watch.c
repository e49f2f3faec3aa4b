/*
 * watch.c - lines about what happens, for clients that watch. See watch.h.
 *
 * Owns: the list of watchers, the queue of each, the spelling of lines. A line is
 * made once and copied to the queue of everyone who watches its kind.
 *
 * Must not know: sessions, sockets, commands, where events come from.
 *
 * Invariants: [W1] [W2] [W3] of watch.h. Covered by: t/test_watch.c.
 */
#include "compat.h"
#include "util.h"
#include "watch.h"

#define TYPE_BYTES_MAX 160 /* the part of a line that is the same for all events */
#define QUEUE_BYTES_KEPT_MAX 16384 /* memory that an empty queue keeps */
#define KEY_TEXT_BYTES (3 * KEY_BYTES_MAX + 1)

unsigned watch_kind(const void *name, size_t len)
{
	static const struct {
		const char *name;
		unsigned kind;
	} kinds[] = {
		{"fetchers", WATCH_FETCHERS},     {"mutations", WATCH_MUTATIONS},
		{"evictions", WATCH_EVICTIONS},   {"connevents", WATCH_CONNEVENTS},
		{"deletions", WATCH_DELETIONS},   {"sysevents", WATCH_SYSEVENTS},
		{"replication", WATCH_REPLICATION},
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strlen(kinds[i].name) == len && memcmp(kinds[i].name, name, len) == 0)
			return kinds[i].kind;
	return 0;
}

/* ---- watchers --------------------------------------------------------------- */

void watch_init(struct watch *w, const struct now *now, struct stats *stats, size_t queue_bytes_max)
{
	assert(queue_bytes_max >= WATCH_QUEUE_BYTES_MIN);
	*w = (struct watch){.now = now, .stats = stats, .queue_bytes_max = queue_bytes_max};
}

static void count_kinds(struct watch *w)
{
	w->kinds = 0;
	for (const struct watcher *r = w->watchers; r; r = r->next)
		w->kinds |= r->kinds;
}

struct watcher *watch_add(struct watch *w, unsigned kinds)
{
	struct watcher *r = calloc(1, sizeof(*r));

	assert(w->count < WATCHERS_MAX && kinds != 0);
	if (!r)
		return NULL;
	r->kinds = kinds;
	buf_init(&r->lines, w->queue_bytes_max);
	r->next = w->watchers;
	w->watchers = r;
	w->count++;
	count_kinds(w);
	return r;
}

void watch_remove(struct watch *w, struct watcher *watcher)
{
	struct watcher **at = &w->watchers;

	while (*at != watcher) {
		assert(*at);
		at = &(*at)->next;
	}
	*at = watcher->next;
	w->count--;
	count_kinds(w);
	buf_release(&watcher->lines);
	free(watcher);
}

/* Say what was missed, once there is room again; false: there is none yet. */
static bool catch_up(struct watch *w, struct watcher *r)
{
	char line[64];

	if (likely(r->skipped == 0))
		return true;
	if (buf_len(&r->lines) > w->queue_bytes_max / 2)
		return false;
	int len = snprintf(line, sizeof(line), "skipped=%" PRIu64 "\n", r->skipped);
	if (!buf_append(&r->lines, line, (size_t)len))
		return false;
	r->skipped = 0;
	w->news = true;
	return true;
}

static void queue_line(struct watch *w, struct watcher *r, const char *line, size_t len)
{
	if (!catch_up(w, r) || !buf_append(&r->lines, line, len)) { /* [W2] */
		r->skipped++;
		w->stats->log_watcher_skipped++;
		return;
	}
	w->stats->log_watcher_sent++;
	w->news = true;
}

void watch_sent(struct watch *w, struct watcher *watcher, size_t len)
{
	buf_consume(&watcher->lines, len);
	catch_up(w, watcher);
	if (buf_len(&watcher->lines) == 0 && watcher->lines.capacity > QUEUE_BYTES_KEPT_MAX)
		buf_trim(&watcher->lines);
}

/* ---- lines ------------------------------------------------------------------ */

/* A key as the value of a field. */
static const char *key_text(char out[KEY_TEXT_BYTES], const struct key *key)
{
	out[format_url(out, key->data, key->len)] = '\0';
	return out;
}

/* Number an event, make its line, and give it to all who watch such. */
static void PRINTF_LIKE(4, 5) report(struct watch *w, unsigned kind, const char *type, const char *fmt, ...)
{
	char line[WATCH_LINE_BYTES_MAX];
	int64_t ms = w->now->wall_ms;
	va_list args;

	w->events++; /* [W3] */
	int head = snprintf(line, TYPE_BYTES_MAX, "ts=%" PRId64 ".%" PRId64 " gid=%" PRIu64 " type=%s ",
			    ms / 1000, ms % 1000 * 1000, w->events, type);
	assert(head > 0 && head < TYPE_BYTES_MAX);
	va_start(args, fmt);
	int rest = vsnprintf(line + head, sizeof(line) - (size_t)head, fmt, args);
	va_end(args);
	assert(rest >= 0);
	size_t len = (size_t)head + (size_t)rest;
	if (len > sizeof(line) - 1)
		len = sizeof(line) - 1;
	line[len++] = '\n';
	for (struct watcher *r = w->watchers; r; r = r->next)
		if (r->kinds & kind)
			queue_line(w, r, line, len);
}

/* ---- events ----------------------------------------------------------------- */

void watch_item_get(struct watch *w, const struct watch_item *item, const char *status)
{
	char key[KEY_TEXT_BYTES];

	report(w, WATCH_FETCHERS, "item_get", "key=%s status=%s clsid=%d cfd=%" PRId64 " size=%zu",
	       key_text(key, item->key), status, item->class_id, item->conn, item->size);
}

void watch_item_store(struct watch *w, const struct watch_item *item, const char *status, const char *verb,
		      int64_t ttl_s)
{
	char key[KEY_TEXT_BYTES];

	report(w, WATCH_MUTATIONS, "item_store",
	       "key=%s status=%s cmd=%s ttl=%" PRId64 " clsid=%d cfd=%" PRId64 " size=%zu",
	       key_text(key, item->key), status, verb, ttl_s, item->class_id, item->conn, item->size);
}

void watch_deleted(struct watch *w, const struct watch_item *item, const char *verb)
{
	char key[KEY_TEXT_BYTES];

	report(w, WATCH_DELETIONS, "deleted", "key=%s cmd=%s clsid=%d size=%zu", key_text(key, item->key), verb,
	       item->class_id, item->size);
}

void watch_change(struct watch *w, const struct items *items, const struct change *change)
{
	const struct item *i = change->before;
	char key[KEY_TEXT_BYTES];

	if (change->cause != CAUSE_EVICT || change->kind != CHANGE_REMOVE || !i)
		return;
	int64_t ttl_s = i->exptime ? (int64_t)i->exptime - now_wall_s(w->now) : -1;
	if (i->exptime && ttl_s < 0)
		ttl_s = 0;
	report(w, WATCH_EVICTIONS, "eviction", "key=%s fetch=%s ttl=%" PRId64 " la=%" PRIu32 " clsid=%d size=%zu",
	       key_text(key, &change->key), i->bits & ITEM_FETCHED ? "yes" : "no", ttl_s, items_idle_s(items, i),
	       items_class_of(items, i), item_value_len(i));
}

void watch_conn_new(struct watch *w, const struct watch_conn *conn)
{
	report(w, WATCH_CONNEVENTS, "conn_new", "rip=%s rport=%d transport=%s cfd=%" PRId64, conn->host,
	       conn->port, conn->transport, conn->fd);
}

void watch_conn_close(struct watch *w, const struct watch_conn *conn, const char *reason)
{
	report(w, WATCH_CONNEVENTS, "conn_close", "rip=%s rport=%d transport=%s reason=%s cfd=%" PRId64,
	       conn->host, conn->port, conn->transport, reason, conn->fd);
}

void watch_page_moved(struct watch *w, int from_class, int to_class, bool done)
{
	report(w, WATCH_SYSEVENTS, "slab_move", "src=%d dst=%d state=%s", from_class, to_class,
	       done ? "ok" : "fail");
}

void watch_replication(struct watch *w, const char *fields)
{
	report(w, WATCH_REPLICATION, "replication", "%s", fields);
}
