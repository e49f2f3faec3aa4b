/*
 * command.c - what each operation does. See command.h.
 *
 * Owns: the dispatch table and the handlers, except for statistics
 * (command_stats.c) and the meta commands (command_meta.c). A handler asks
 * store.c or items.c, counts, and answers.
 *
 * Must not know: sockets, sessions, the protocol in use, replication.
 *
 * Invariants: [D1] [D2] [D3] of command.h. Covered by: t/test_command.c.
 */
#include "compat.h"
#include "command.h"
#include "command_internal.h"
#include "command_trace.h"

#define VERBOSITY_MAX 2 /* what a client may ask for */

static const struct command_row rows[CMD_COUNT] = {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help)                                   \
	[CMD_##id] = {word, help, handler, flags},
#include "commands.def"
#undef COMMAND
};

const struct command_row *command_row(enum command_id id)
{
	assert(id < CMD_COUNT);
	return &rows[id];
}

void command_prepare(struct engine *e, struct command *cmd)
{
	if (cmd->key.len == 0)
		return;
	cmd->key = items_key(e->items, cmd->key.data, cmd->key.len);
	items_prefetch(e->items, cmd->key.hash);
}

void command_dispatch(struct engine *e, const struct command *cmd, struct reply *reply)
{
	const struct command_row *row = command_row(cmd->id);

	/* A delayed flush that is due would be noticed, and reported, by the first
	 * read: that is no change of this command's. */
	items_fire_due(e->items);
	uint64_t seq = items_change_seq(e->items);
	assert(!(row->flags & CMD_BODY) || cmd->item);
	row->handler(e, cmd, reply);
	assert((row->flags & CMD_WRITE) || items_change_seq(e->items) == seq); /* [D1] */
	(void)seq;
}

/* ---- reading ---------------------------------------------------------------- */

void command_count_miss(struct stats *stats, enum items_miss miss)
{
	stats->get_expired += miss == ITEMS_MISS_EXPIRED;
	stats->get_flushed += miss == ITEMS_MISS_FLUSHED;
}

static void trace_read(struct engine *e, const struct key *key, const struct item *item, enum items_miss miss)
{
	command_trace_prefix(e, key, item ? PREFIX_HIT : PREFIX_GET);
	command_trace_get(e, key, item, miss);
}

static struct item *read_item(struct engine *e, const struct key *key)
{
	enum items_miss miss = ITEMS_MISS_ABSENT;
	struct item *item = items_find(e->items, key, ITEMS_READ, &miss);

	e->stats->cmd_get++;
	if (item) {
		e->stats->get_hits++;
		class_of(e, item)->get_hits++;
	} else {
		e->stats->get_misses++;
		command_count_miss(e->stats, miss);
	}
	if (command_is_traced(e))
		trace_read(e, key, item, miss);
	return item;
}

static struct item *touch_item(struct engine *e, const struct command *cmd, const struct key *key)
{
	struct store st = store_of(e);
	enum items_miss miss = ITEMS_MISS_ABSENT;
	struct item *item = NULL;

	e->stats->cmd_touch++;
	if (store_touch(&st, key, store_exptime(&st, cmd->exptime), &item, &miss) == STORE_OK) {
		e->stats->touch_hits++;
		class_of(e, item)->touch_hits++;
	} else {
		e->stats->touch_misses++;
		command_count_miss(e->stats, miss);
	}
	if (command_is_traced(e))
		trace_read(e, key, item, miss);
	return item;
}

/* Look up one key and print the hit; false: no memory to print it. */
static bool answer_key(struct engine *e, const struct key *key, struct reply *reply)
{
	const struct command *cmd = reply->command;
	bool touches = command_row(cmd->id)->flags & CMD_WRITE;
	struct item *item = touches ? touch_item(e, cmd, key) : read_item(e, key);
	struct reply_value value = {.key = key, .item = item};

	if (!item)
		return true;
	reply->hits++;
	value.cas = e->settings->cas ? item->version : 0;
	return reply->command->format->value(reply, &value);
}

/* Take up to max keys off the list; hash them and start to fetch what they
 * lead to. */
static size_t keys_ahead(struct engine *e, struct word_list *list, struct key *out, size_t max)
{
	struct word word;
	size_t n = 0;

	while (n < max && word_list_next(list, &word)) {
		out[n] = items_key(e->items, word.data, word.len);
		items_prefetch(e->items, out[n].hash);
		n++;
	}
	for (size_t i = 0; i < n; i++)
		items_prefetch_item(e->items, out[i].hash);
	return n;
}

/* get and gat: the keys in their order, some looked ahead at. */
void command_get(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct output_mark mark = output_mark(reply->out);
	struct key ahead[COMMAND_KEYS_AHEAD];
	struct word_list list = cmd->words, before;
	size_t n = 1, done = 0;

	assert(cmd->key.len > 0);
	ahead[0] = cmd->key;
	do {
		for (size_t i = 0; i < n; i++) {
			if (!answer_key(e, &ahead[i], reply)) {
				e->stats->response_oom++;
				output_rollback(reply->out, &mark);
				reply->status = REPLY_NO_MEMORY_WRITING;
				return;
			}
		}
		done += n;
		before = list;
		n = keys_ahead(e, &list, ahead, COMMAND_KEYS_AHEAD);
	} while (n > 0 && done < COMMAND_KEYS_MAX && reply->out->waiting <= COMMAND_OUTPUT_BYTES_MAX);
	if (n > 0) { /* [D3] */
		reply->more = true;
		reply->rest = before;
		return;
	}
	reply->status = REPLY_END;
}

/* ---- storing ---------------------------------------------------------------- */

static enum store_verb verb_of(enum command_id id)
{
	static const uint8_t verbs[CMD_COUNT] = {
		[CMD_SET] = STORE_SET,       [CMD_ADD] = STORE_ADD,         [CMD_REPLACE] = STORE_REPLACE,
		[CMD_APPEND] = STORE_APPEND, [CMD_PREPEND] = STORE_PREPEND, [CMD_CAS] = STORE_CAS,
	};
	return (enum store_verb)verbs[id];
}

static struct store_write write_of(const struct command *cmd)
{
	struct store_write write = {
		.verb = verb_of(cmd->id),
		.key = cmd->key,
		.flags = cmd->flags,
		.cas = cmd->id == CMD_CAS ? cmd->number : cmd->compare,
		.value_len = cmd->value_len,
		.remove_on_failure = cmd->id == CMD_SET,
		.marks = cmd->marks,
		.item = cmd->item,
	};

	if (cmd->id == CMD_META_SET)
		command_meta_write(cmd, &write);
	return write;
}

static void refuse_body(struct engine *e, const struct command *cmd, enum store_result result,
			struct reply *reply)
{
	bool too_large = result == STORE_TOO_LARGE;

	if (command_is_traced(e))
		command_trace_refused(e, &cmd->key, cmd->value_len, result, write_of(cmd).verb);
	e->stats->store_too_large += too_large;
	e->stats->store_no_memory += !too_large;
	reply->status = too_large ? REPLY_TOO_LARGE : REPLY_NO_MEMORY_STORING;
}

bool command_body_begin(struct engine *e, struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	struct store_write write = write_of(cmd);

	assert(command_row(cmd->id)->flags & CMD_BODY);
	if (command_is_meta(cmd) && command_meta_refused(e, cmd, reply))
		return false;
	write.exptime = store_exptime(&st, cmd->exptime);
	enum store_result result = store_begin(&st, &write);
	if (result == STORE_OK) {
		cmd->item = write.item;
		cmd->key.data = item_key(write.item);
		return true;
	}
	refuse_body(e, cmd, result, reply);
	return false;
}

bool command_body_more(struct engine *e, struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	struct store_write write = write_of(cmd);

	if (store_more(&st, &write))
		return true;
	refuse_body(e, cmd, STORE_NO_MEMORY, reply);
	store_refuse(&st, &write);
	cmd->item = NULL;
	return false;
}

void command_body_drop(struct engine *e, struct command *cmd)
{
	struct store st = store_of(e);
	struct store_write write = write_of(cmd);

	store_abort(&st, &write);
	cmd->item = NULL;
}

void command_body_abort(struct engine *e, struct command *cmd, struct reply *reply)
{
	e->stats->cmd_set++;
	class_of(e, cmd->item)->cmd_set++;
	command_body_drop(e, cmd);
	reply->status = REPLY_BAD_CHUNK;
}

void command_count_cas(struct stats *stats, struct stats_class *of_class, enum store_result result)
{
	stats->cas_misses += result == STORE_NOT_FOUND;
	stats->cas_hits += result == STORE_OK;
	stats->cas_badval += result == STORE_EXISTS;
	of_class->cas_hits += result == STORE_OK;
	of_class->cas_badval += result == STORE_EXISTS;
}

enum reply_status command_reply_of(enum store_result result, enum reply_status success)
{
	switch (result) {
	case STORE_OK:
		return success;
	case STORE_NOT_STORED:
		return REPLY_NOT_STORED;
	case STORE_EXISTS:
		return REPLY_EXISTS;
	case STORE_NOT_FOUND:
		return REPLY_NOT_FOUND;
	case STORE_TOO_LARGE:
		return REPLY_TOO_LARGE;
	case STORE_NO_MEMORY:
		return REPLY_NO_MEMORY;
	case STORE_NON_NUMERIC:
		return REPLY_NON_NUMERIC;
	}
	assert(false);
	return REPLY_UNKNOWN;
}

static enum store_result commit(struct engine *e, const struct command *cmd, struct store_write *write)
{
	struct store st = store_of(e);
	struct command_trace trace;

	if (!command_is_traced(e))
		return store_commit(&st, write);
	command_trace_prefix(e, &cmd->key, PREFIX_SET);
	command_trace_store_begin(&trace, e, &cmd->key, cmd->item);
	enum store_result result = store_commit(&st, write);
	command_trace_store_end(&trace, e, result, write->verb);
	return result;
}

void command_store(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct stats_class *of_class = class_of(e, cmd->item);
	struct store_write write = write_of(cmd);
	enum store_result result = commit(e, cmd, &write);

	e->stats->cmd_set++;
	of_class->cmd_set++;
	if (cmd->id == CMD_CAS)
		command_count_cas(e->stats, of_class, result);
	reply->cas = e->settings->cas ? write.version : 0;
	reply->status = command_reply_of(result, REPLY_STORED);
}

/* ---- changing --------------------------------------------------------------- */

/* A command may be meant for one version of its item only. */
static enum store_result compare_first(const struct store *st, const struct command *cmd)
{
	return cmd->compare == 0 ? STORE_OK : store_compare(st, &cmd->key, cmd->compare);
}

void command_delete(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	const struct item *item = items_find(e->items, &cmd->key, ITEMS_PEEK, NULL);
	struct stats_class *of_class = item ? class_of(e, item) : NULL;
	enum store_result result = compare_first(&st, cmd);

	if (command_is_traced(e))
		command_trace_prefix(e, &cmd->key, PREFIX_DEL);
	if (command_is_traced(e) && item && result == STORE_OK)
		command_trace_delete(e, &cmd->key, item, "delete");
	if (result == STORE_OK)
		result = store_delete(&st, &cmd->key);

	if (result == STORE_OK && of_class) {
		e->stats->delete_hits++;
		of_class->delete_hits++;
	} else if (result == STORE_NOT_FOUND) {
		e->stats->delete_misses++;
	}
	reply->status = command_reply_of(result, REPLY_DELETED);
}

static enum store_result apply_delta(struct engine *e, const struct store *st, const struct command *cmd,
				     uint64_t *number)
{
	enum store_direction direction = cmd->id == CMD_INCR ? STORE_INCR : STORE_DECR;
	struct store_delta d = {.key = cmd->key, .direction = direction, .delta = cmd->number};
	enum store_result result = compare_first(st, cmd);

	if (result == STORE_OK)
		result = store_delta(st, &d);
	*number = d.value;
	if (result == STORE_NOT_FOUND)
		*(direction == STORE_INCR ? &e->stats->incr_misses : &e->stats->decr_misses) += 1;
	if (result != STORE_NOT_FOUND || !cmd->creates || cmd->compare != 0)
		return result;
	struct store_fresh fresh = {
		.key = cmd->key,
		.exptime = store_exptime(st, cmd->exptime),
		.marks = cmd->marks,
	};
	*number = cmd->initial;
	return store_number(st, &fresh, cmd->initial, NULL);
}

/* For a key whose command has just changed it. */
static uint64_t version_of(struct engine *e, const struct key *key)
{
	const struct item *item = e->settings->cas ? items_find(e->items, key, ITEMS_PEEK, NULL) : NULL;

	return item ? item->version : 0;
}

void command_count_delta(struct stats *stats, struct stats_class *of_class, bool incr)
{
	*(incr ? &stats->incr_hits : &stats->decr_hits) += 1;
	*(incr ? &of_class->incr_hits : &of_class->decr_hits) += 1;
}

void command_delta(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	const struct item *item = items_find(e->items, &cmd->key, ITEMS_PEEK, NULL);
	struct stats_class *of_class = item ? class_of(e, item) : NULL;
	enum store_result result = apply_delta(e, &st, cmd, &reply->number);

	if (result == STORE_OK && of_class)
		command_count_delta(e->stats, of_class, cmd->id == CMD_INCR);
	if (result == STORE_OK && cmd->with_cas)
		reply->cas = version_of(e, &cmd->key);
	reply->status = command_reply_of(result, REPLY_NUMBER);
}

void command_touch(struct engine *e, const struct command *cmd, struct reply *reply)
{
	reply->status = touch_item(e, cmd, &cmd->key) ? REPLY_TOUCHED : REPLY_NOT_FOUND;
}

void command_flush_all(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);

	e->stats->cmd_flush++;
	if (!e->settings->flush_enabled) {
		reply->status = REPLY_FLUSH_REFUSED;
		return;
	}
	store_flush(&st, cmd->has_exptime ? cmd->exptime : 0);
	reply->status = REPLY_OK;
}

/* ---- the server ------------------------------------------------------------- */

void command_version(struct engine *e, const struct command *cmd, struct reply *reply)
{
	(void)e, (void)cmd;
	reply->text = PACKAGE_VERSION;
	reply->status = REPLY_VERSION;
}

void command_verbosity(struct engine *e, const struct command *cmd, struct reply *reply)
{
	e->log->verbosity = cmd->number < VERBOSITY_MAX ? (int)cmd->number : VERBOSITY_MAX;
	reply->status = REPLY_OK;
}

void command_noop(struct engine *e, const struct command *cmd, struct reply *reply)
{
	(void)e, (void)cmd;
	reply->status = REPLY_NOOP;
}

void command_quit(struct engine *e, const struct command *cmd, struct reply *reply)
{
	(void)e, (void)cmd;
	reply->close = true;
}

/* Any beginning of "graceful" will do. */
static bool means_graceful(const struct word *word)
{
	static const char graceful[] = "graceful";

	return word->len < sizeof(graceful) && memcmp(word->data, graceful, word->len) == 0;
}

void command_shutdown(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct word_list list = cmd->words;
	struct word word;

	if (!e->settings->shutdown_command) {
		reply->status = REPLY_SHUTDOWN_REFUSED;
		return;
	}
	bool has_mode = word_list_next(&list, &word) && !(cmd->quiet && word_is(&word, "noreply"));
	if (has_mode && !means_graceful(&word)) {
		reply->status = REPLY_BAD_SHUTDOWN;
		return;
	}
	e->stop_requested = has_mode ? STOP_GRACEFUL : STOP_NOW;
	reply->close = true;
}
