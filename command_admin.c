/*
 * command_admin.c - what an operator may change while the server serves.
 *
 * Owns: slabs, lru, lru_crawler and cache_memlimit: their words, which of them
 * mean something here, and struct tuning (engine.h), which remembers what was set.
 * memcached's LRU has segments with shares and ages; the queues here have none, so
 * that lru is checked and otherwise without effect (doc/protocol.txt 1.9).
 *
 * Must not know: how pages move or dead items are found (items.h), sockets.
 *
 * Invariants
 *  [A1] nothing is done here but starting it: the work is done in pieces by
 *       items_tick()
 *  [A2] nothing is remembered that has no effect
 *
 * Covered by: t/test_command_admin.c, t/admin.t.
 */
#include "compat.h"
#include "command.h"
#include "util.h"

#define ARGUMENTS_MAX 8
#define NUMBER_BYTES_MAX 32
#define CRAWLER_SLEEP_US_MAX 1000000
#define AUTOMOVE_MAX 2
#define WINDOW_MIN 3
#define WINDOW_MAX 1800
#define LRU_PERCENT_MAX 80
#define MEMLIMIT_MB_MIN 8
#define MEMLIMIT_MB_MAX 1000000000
#define MIB (UINT64_C(1) << 20)

_Static_assert(SIZE_CLASSES_MAX <= UINT16_MAX, "a class is a small number");

/* ---- arguments -------------------------------------------------------------- */

/* The words after the command, without noreply. */
struct arguments {
	struct word at[ARGUMENTS_MAX];
	size_t count;
};

static struct arguments arguments_of(const struct command *cmd)
{
	struct arguments a = {.count = 0};
	struct word_list list = cmd->words;

	while (a.count < ARGUMENTS_MAX && word_list_next(&list, &a.at[a.count]))
		a.count++;
	if (cmd->quiet && a.count > 0)
		a.count--;
	return a;
}

static bool argument_is(const struct arguments *a, size_t n, const char *text)
{
	return n < a->count && word_is(&a->at[n], text);
}

static bool argument_i32(const struct arguments *a, size_t n, int32_t *out)
{
	return n < a->count && parse_i32((const char *)a->at[n].data, a->at[n].len, out);
}

static bool argument_u32(const struct arguments *a, size_t n, uint32_t *out)
{
	return n < a->count && parse_u32((const char *)a->at[n].data, a->at[n].len, out);
}

static bool argument_double(const struct arguments *a, size_t n, double *out)
{
	char text[NUMBER_BYTES_MAX], *end;

	if (n >= a->count || a->at[n].len >= sizeof(text))
		return false;
	memcpy(text, a->at[n].data, a->at[n].len);
	text[a->at[n].len] = '\0';
	*out = strtod(text, &end);
	return end != text && *end == '\0';
}

/* ---- putting into force ------------------------------------------------------ */

static void tune_crawler(struct engine *e)
{
	items_set_sweep(e->items, e->tuning.crawler, e->tuning.crawler_sleep_us);
}

static void tune_automove(struct engine *e)
{
	static const enum items_automove modes[] = {ITEMS_AUTOMOVE_OFF, ITEMS_AUTOMOVE_SPARING,
	                                            ITEMS_AUTOMOVE_EAGER};

	assert(e->tuning.automove >= 0 && e->tuning.automove <= AUTOMOVE_MAX);
	items_set_automove(e->items, modes[e->tuning.automove]);
}

void command_tune(struct engine *e)
{
	const struct settings *s = e->settings;

	e->tuning = (struct tuning){
	        .crawler = s->lru_crawler,
	        .crawler_sleep_us = (uint32_t)s->lru_crawler_sleep_us,
	        .crawler_items_max = (uint32_t)s->lru_crawler_tocrawl,
	        .automove = s->slab_automove,
	};
	tune_crawler(e);
	tune_automove(e);
}

/* ---- slabs ------------------------------------------------------------------- */

static enum reply_status reassign(struct engine *e, const struct arguments *a)
{
	static const enum reply_status answers[] = {
	        [ITEMS_REASSIGN_OK] = REPLY_OK,
	        [ITEMS_REASSIGN_BUSY] = REPLY_REASSIGN_BUSY,
	        [ITEMS_REASSIGN_BAD_CLASS] = REPLY_REASSIGN_CLASS,
	        [ITEMS_REASSIGN_NO_SPARE] = REPLY_REASSIGN_NO_SPARE,
	        [ITEMS_REASSIGN_SAME] = REPLY_REASSIGN_SAME,
	};
	int32_t src, dst;

	if (!e->settings->slab_reassign)
		return REPLY_REASSIGN_OFF;
	if (a->count != 3)
		return REPLY_UNKNOWN;
	if (!argument_i32(a, 1, &src) || !argument_i32(a, 2, &dst))
		return REPLY_BAD_FORMAT;
	return answers[items_reassign(e->items, src, dst)];
}

static enum reply_status automove(struct engine *e, const struct arguments *a)
{
	double number;
	int32_t n;

	if (a->count < 2)
		return REPLY_UNKNOWN;
	if (argument_is(a, 1, "ratio") || argument_is(a, 1, "freeratio"))
		return argument_double(a, 2, &number) ? REPLY_OK : REPLY_UNKNOWN;
	if (argument_is(a, 1, "window")) {
		if (!argument_i32(a, 2, &n))
			return REPLY_BAD_FORMAT;
		return n < WINDOW_MIN || n > WINDOW_MAX ? REPLY_BAD_WINDOW : REPLY_OK;
	}
	if (!argument_i32(a, 1, &n))
		return REPLY_BAD_FORMAT;
	if (n < 0 || n > AUTOMOVE_MAX)
		return REPLY_UNKNOWN;
	e->tuning.automove = n;
	tune_automove(e);
	return REPLY_OK;
}

void command_slabs(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct arguments a = arguments_of(cmd);

	if (argument_is(&a, 0, "reassign"))
		reply->status = reassign(e, &a);
	else if (argument_is(&a, 0, "automove"))
		reply->status = automove(e, &a);
	else
		reply->status = REPLY_UNKNOWN;
}

/* ---- lru --------------------------------------------------------------------- */

static enum reply_status lru_tune(const struct arguments *a)
{
	uint32_t hot, warm;
	double hot_factor, warm_factor;

	if (!argument_u32(a, 1, &hot) || !argument_u32(a, 2, &warm) || !argument_double(a, 3, &hot_factor) ||
	    !argument_double(a, 4, &warm_factor))
		return REPLY_UNKNOWN;
	if ((uint64_t)hot + warm > LRU_PERCENT_MAX)
		return REPLY_LRU_SHARES;
	return hot_factor > 0 && warm_factor > 0 ? REPLY_OK : REPLY_LRU_AGES;
}

void command_lru(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct arguments a = arguments_of(cmd);
	int32_t ttl;

	(void)e;
	reply->status = REPLY_UNKNOWN;
	if (argument_is(&a, 0, "tune"))
		reply->status = lru_tune(&a);
	else if (argument_is(&a, 0, "mode") && (argument_is(&a, 1, "flat") || argument_is(&a, 1, "segmented")))
		reply->status = REPLY_OK;
	else if (argument_is(&a, 0, "temp_ttl") && argument_i32(&a, 1, &ttl))
		reply->status = REPLY_OK;
}

/* ---- lru_crawler ------------------------------------------------------------- */

static int class_count(const struct engine *e)
{
	struct items_gauges g;

	items_gauges(e->items, &g);
	assert(g.class_count < SIZE_CLASSES_MAX);
	return g.class_count;
}

/* "all", or ids with commas between them. */
static bool parse_classes(const struct engine *e, const struct word *word, bool classes[SIZE_CLASSES_MAX])
{
	const uint8_t *p = word->data, *end = word->data + word->len;
	uint32_t last = (uint32_t)class_count(e), id;

	memset(classes, word_is(word, "all"), SIZE_CLASSES_MAX);
	if (classes[0])
		return true;
	for (;;) {
		const uint8_t *comma = memchr(p, ',', (size_t)(end - p));
		const uint8_t *stop = comma ? comma : end;
		if (!parse_u32((const char *)p, (size_t)(stop - p), &id) || id < 1 || id > last)
			return false;
		classes[id] = true;
		if (!comma)
			return true;
		p = comma + 1;
	}
}

static enum reply_status crawl(struct engine *e, const struct arguments *a)
{
	bool classes[SIZE_CLASSES_MAX];
	uint32_t max = e->tuning.crawler_items_max;

	if (a->count != 2)
		return REPLY_UNKNOWN;
	if (!e->tuning.crawler)
		return REPLY_CRAWLER_OFF;
	if (argument_is(a, 1, "hash"))
		return REPLY_CRAWL_HASH;
	if (!parse_classes(e, &a->at[1], classes))
		return REPLY_CRAWL_CLASS;
	return items_crawl(e->items, classes, max ? max : UINT32_MAX) ? REPLY_OK : REPLY_CRAWL_BUSY;
}

/* Why a dump cannot be, REPLY_NONE if it can. classes is filled in. */
static enum reply_status dump_refused(struct engine *e, const struct arguments *a, bool meta,
				      const struct reply *reply, bool classes[SIZE_CLASSES_MAX])
{
	static const struct word all = {(const uint8_t *)"all", 3};

	if (!e->settings->dump_enabled)
		return meta ? REPLY_METADUMP_REFUSED : REPLY_MGDUMP_REFUSED;
	if (a->count != 2 || reply->command->quiet)
		return REPLY_UNKNOWN;
	if (reply->cursor == 0 && !e->tuning.crawler)
		return REPLY_CRAWLER_OFF;
	if (reply->cursor == 0 && reply->out->waiting > 0)
		return meta ? REPLY_METADUMP_LATE : REPLY_MGDUMP_LATE;
	return parse_classes(e, argument_is(a, 1, "hash") ? &all : &a->at[1], classes) ? REPLY_NONE
	                                                                               : REPLY_CRAWL_CLASS;
}

static enum reply_status switch_crawler(struct engine *e, bool on)
{
	if (on && e->tuning.crawler)
		return REPLY_CRAWLER_RUNS;
	e->tuning.crawler = on;
	tune_crawler(e);
	return REPLY_OK;
}

static enum reply_status set_sleep(struct engine *e, const struct arguments *a)
{
	uint32_t us;

	if (a->count != 2)
		return REPLY_UNKNOWN;
	if (!argument_u32(a, 1, &us))
		return REPLY_BAD_FORMAT;
	if (us > CRAWLER_SLEEP_US_MAX)
		return REPLY_CRAWLER_SLEEP;
	e->tuning.crawler_sleep_us = us;
	tune_crawler(e);
	return REPLY_OK;
}

static enum reply_status set_tocrawl(struct engine *e, const struct arguments *a)
{
	if (a->count != 2)
		return REPLY_UNKNOWN;
	return argument_u32(a, 1, &e->tuning.crawler_items_max) ? REPLY_OK : REPLY_BAD_FORMAT;
}

void command_lru_crawler(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct arguments a = arguments_of(cmd);
	bool meta = argument_is(&a, 0, "metadump");
	bool classes[SIZE_CLASSES_MAX];

	if (meta || argument_is(&a, 0, "mgdump")) {
		reply->status = dump_refused(e, &a, meta, reply, classes);
		if (reply->status == REPLY_NONE)
			command_dump(e, classes, meta, reply);
	} else if (argument_is(&a, 0, "crawl")) {
		reply->status = crawl(e, &a);
	} else if (argument_is(&a, 0, "enable") || argument_is(&a, 0, "disable")) {
		reply->status = switch_crawler(e, argument_is(&a, 0, "enable"));
	} else if (argument_is(&a, 0, "sleep")) {
		reply->status = set_sleep(e, &a);
	} else if (argument_is(&a, 0, "tocrawl")) {
		reply->status = set_tocrawl(e, &a);
	} else {
		reply->status = REPLY_UNKNOWN;
	}
}

/* ---- cache_memlimit ---------------------------------------------------------- */

/* Locked memory cannot be given back, nor was more reserved. */
static bool set_memory_limit(struct engine *e, uint64_t bytes)
{
	size_t memory_bytes = (size_t)bytes;

	return memory_bytes == bytes && !e->settings->lock_memory &&
	       items_set_memory_limit(e->items, memory_bytes);
}

void command_memlimit(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct arguments a = arguments_of(cmd);
	uint32_t mb;

	if (!argument_u32(&a, 0, &mb))
		reply->status = REPLY_UNKNOWN;
	else if (mb < MEMLIMIT_MB_MIN)
		reply->status = REPLY_MEMLIMIT_SMALL;
	else if (mb > MEMLIMIT_MB_MAX)
		reply->status = REPLY_MEMLIMIT_BYTES;
	else
		reply->status = set_memory_limit(e, mb * MIB) ? REPLY_OK : REPLY_MEMLIMIT_FAILED;
}
