/*
 * command_meta.c - what the meta commands do. See command.h.
 *
 * Owns: the handlers of mg ms md ma me: which flags mean what, who is told to
 * recache a value, what an answer says of an item. The storing itself is the
 * classic commands' (store.c).
 *
 * Leases, by three marks:
 *
 *   made by a miss with N, about     +-> W to one reader, who is to store anew
 *   to expire with R, or stale ------+-> Z to the readers after it, until
 *   (X: by md I, by ms I)                somebody stores or invalidates
 *
 * That W was given (ITEM_TOKEN) is known on this node only.
 *
 * Must not know: sessions, how flags are spelled on the line, replication.
 *
 * Invariants: [D1] [D2] [D3] of command.h. Covered by: t/test_command_meta.c.
 */
#include "compat.h"
#include "command.h"
#include "command_internal.h"
#include "command_trace.h"

/* ---- what all share --------------------------------------------------------- */

bool command_meta_refused(const struct engine *e, const struct command *cmd, struct reply *reply)
{
	if (!meta_given(cmd, 'E') || !e->settings->replicated)
		return false;
	reply->status = REPLY_CAS_REFUSED;
	return true;
}

static const struct reply_hit nothing = {0};

static uint64_t chosen_version(const struct command *cmd)
{
	return meta_given(cmd, 'E') ? cmd->meta.cas : 0;
}

static int64_t ttl_of(const struct engine *e, uint32_t exptime)
{
	uint32_t now_s = now_wall_s(e->now);

	if (exptime == 0)
		return -1;
	return exptime > now_s ? exptime - now_s : 0;
}

static uint64_t cas_of(const struct engine *e, const struct item *item)
{
	return item && e->settings->cas ? item->version : 0;
}

/* What an answer may say of an item, before it is read or changed. */
static struct reply_hit look_at(const struct engine *e, const struct item *item)
{
	return (struct reply_hit){
		.item = item,
		.cas = cas_of(e, item),
		.ttl_s = ttl_of(e, item->exptime),
		.idle_s = items_idle_s(e->items, item),
		.marks = item->bits & ITEM_FETCHED ? HIT_FETCHED : 0,
		.class_id = (uint16_t)items_class_of(e->items, item),
	};
}

/* STORE_OK unless C names another CAS unique than the item's. */
static enum store_result compare(const struct store *st, const struct command *cmd)
{
	return meta_given(cmd, 'C') ? store_compare(st, &cmd->key, cmd->compare) : STORE_OK;
}

/* ---- mg --------------------------------------------------------------------- */

/* A read in progress. */
struct meta_read {
	struct item *item;
	uint32_t exptime; /* as far as the flags have been gone through */
	bool made;        /* by this read: N */
	bool won;
	struct reply_hit hit;
};

/* The expiry that N and T give to an item made by a miss: the last one counts. */
static uint32_t made_exptime(const struct store *st, const struct command *cmd)
{
	const struct meta *meta = &cmd->meta;
	uint32_t exptime = 0;

	for (size_t i = 0; i < meta->letter_count; i++) {
		if (meta->letters[i] == 'N')
			exptime = store_exptime(st, meta->vivify_ttl);
		else if (meta->letters[i] == 'T')
			exptime = store_exptime(st, cmd->exptime);
	}
	return exptime;
}

/* Make an empty item, which the reader is to fill. One that would be dead at
 * once is not made: that is a miss. */
static enum store_result make_item(const struct store *st, const struct command *cmd, struct meta_read *read)
{
	struct store_fresh fresh = {
		.key = cmd->key,
		.exptime = made_exptime(st, cmd),
		.marks = cmd->marks | ITEM_TOKEN,
		.new_version = chosen_version(cmd),
	};
	enum store_result result = store_empty(st, &fresh, &read->item);

	if (result == STORE_OK && !read->item)
		return STORE_NOT_FOUND;
	read->made = result == STORE_OK;
	read->won = read->made;
	return result;
}

static void set_expiry(struct engine *e, struct meta_read *read, uint32_t exptime)
{
	struct amendment amendment = {.what = AMEND_EXPIRY, .exptime = exptime};

	if (!read->made)
		items_amend(e->items, read->item, &amendment, CAUSE_CLIENT);
	read->exptime = exptime;
}

/* The flags that look at the expiry or set it, in their order. */
static void read_expiry(struct engine *e, const struct command *cmd, struct meta_read *read)
{
	const struct meta *meta = &cmd->meta;
	struct store st = store_of(e);
	bool sent = read->item->bits & ITEM_TOKEN;

	read->exptime = read->made ? 0 : read->item->exptime;
	for (size_t i = 0; i < meta->letter_count; i++) {
		switch (meta->letters[i]) {
		case 't':
			read->hit.ttl_s = ttl_of(e, read->exptime);
			break;
		case 'T':
			set_expiry(e, read, store_exptime(&st, cmd->exptime));
			break;
		case 'N':
			if (read->made)
				set_expiry(e, read, store_exptime(&st, meta->vivify_ttl));
			break;
		case 'R':
			if (!sent && read->exptime != 0 && read->exptime < store_exptime(&st, meta->recache_ttl))
				read->won = true;
			break;
		default:
			break;
		}
	}
}

/* Who recaches: see above. */
static void read_marks(struct engine *e, struct meta_read *read)
{
	struct amendment amendment = {.what = AMEND_MARKS, .set_bits = ITEM_TOKEN};
	bool sent = !read->made && (read->item->bits & ITEM_TOKEN);

	if (read->item->bits & ITEM_STALE) {
		read->hit.marks |= HIT_STALE;
		read->won = read->won || !sent;
	}
	if (sent)
		read->hit.marks |= HIT_SENT;
	if (!read->won)
		return;
	read->hit.marks |= HIT_WON;
	items_amend(e->items, read->item, &amendment, CAUSE_CLIENT);
}

/* A hit counts as a touch if it sets the expiry, as get otherwise. */
static void count_read(struct engine *e, const struct command *cmd, const struct meta_read *read,
		       enum items_miss miss)
{
	struct stats *stats = e->stats;

	if (!read->item) {
		stats->cmd_get++;
		stats->get_misses++;
		command_count_miss(stats, miss);
	} else if (meta_given(cmd, 'T')) {
		stats->cmd_touch++;
		stats->touch_hits++;
		class_of(e, read->item)->touch_hits++;
	} else {
		stats->cmd_get++;
		stats->get_hits++;
		class_of(e, read->item)->get_hits++;
	}
}

void command_meta_get(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	enum items_miss miss = ITEMS_MISS_ABSENT;
	enum store_result result = STORE_NOT_FOUND;

	if (command_meta_refused(e, cmd, reply))
		return;
	struct meta_read read = {.item = items_find(e->items, &cmd->key, ITEMS_PEEK, &miss)};
	if (command_is_traced(e))
		command_trace_get(e, &cmd->key, read.item, miss);
	if (!read.item && meta_given(cmd, 'N'))
		result = make_item(&st, cmd, &read);
	count_read(e, cmd, &read, miss);
	if (!read.item) {
		reply->hit = nothing;
		reply->status = command_reply_of(result, REPLY_HIT);
		return;
	}
	read.hit = look_at(e, read.item);
	read_expiry(e, cmd, &read);
	read_marks(e, &read);
	read.hit.cas = cas_of(e, read.item); /* the 256th touch takes a new version */
	if (!read.made && !meta_given(cmd, 'u'))
		items_note_read(e->items, read.item);
	reply->hit = read.hit;
	reply->status = REPLY_HIT;
}

/* ---- ms --------------------------------------------------------------------- */

static enum store_verb set_verb(const struct command *cmd)
{
	bool compares = meta_given(cmd, 'C');

	switch (cmd->meta.mode) {
	case 'E':
		return STORE_ADD;
	case 'A':
		return STORE_APPEND;
	case 'P':
		return STORE_PREPEND;
	case 'R':
		return compares ? STORE_CAS : STORE_REPLACE;
	default:
		return compares ? STORE_CAS : STORE_SET;
	}
}

void command_meta_write(const struct command *cmd, struct store_write *write)
{
	write->verb = set_verb(cmd);
	write->cas = cmd->compare;
	write->compares = meta_given(cmd, 'C');
	write->stale_if_older = meta_given(cmd, 'I');
	write->vivify = meta_given(cmd, 'N');
	write->new_version = chosen_version(cmd);
	write->remove_on_failure = true;
}

static enum store_result commit(struct engine *e, const struct store *st, struct store_write *write)
{
	struct command_trace trace;

	if (!command_is_traced(e))
		return store_commit(st, write);
	command_trace_store_begin(&trace, e, &write->key, write->item);
	enum store_result result = store_commit(st, write);
	command_trace_store_end(&trace, e, result, write->verb);
	return result;
}

void command_meta_set(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	struct stats_class *of_class = class_of(e, cmd->item);
	struct store_write write = {
		.key = cmd->key,
		.marks = cmd->marks,
		.vivify_exptime = store_exptime(&st, cmd->meta.vivify_ttl),
		.item = cmd->item,
	};

	command_meta_write(cmd, &write);
	enum store_result result = commit(e, &st, &write);
	e->stats->cmd_set++;
	of_class->cmd_set++;
	if (write.verb == STORE_CAS)
		command_count_cas(e->stats, of_class, result);
	reply->hit = (struct reply_hit){.item = write.stored, .cas = cas_of(e, write.stored)};
	reply->status = command_reply_of(result, REPLY_STORED);
}

/* ---- md --------------------------------------------------------------------- */

/* An empty value in the place of the item's. Its CAS unique stays if nothing
 * speaks against it: with replication it is a version, and a changed state has
 * another one. */
static enum store_result empty_item(const struct engine *e, const struct store *st, const struct command *cmd,
				    const struct item *item)
{
	bool stale = meta_given(cmd, 'I');
	struct store_fresh fresh = {
		.key = cmd->key,
		.flags = cmd->flags,
		.exptime = store_exptime(st, cmd->exptime),
		.marks = (item->bits & ITEM_BINKEY) | cmd->marks | (stale ? ITEM_STALE : 0),
		.new_version = chosen_version(cmd),
	};

	if (fresh.new_version == 0 && !stale && !e->settings->replicated)
		fresh.new_version = item->version;
	enum store_result result = store_empty(st, &fresh, NULL);
	return result == STORE_TOO_LARGE ? STORE_NO_MEMORY : result;
}

static void invalidate(const struct store *st, const struct command *cmd, struct item *item)
{
	uint32_t exptime = store_exptime(st, cmd->exptime);

	store_invalidate(st, item, cmd->has_exptime ? &exptime : NULL, chosen_version(cmd));
}

static enum store_result delete_item(struct engine *e, const struct store *st, const struct command *cmd,
				     const struct item *item)
{
	struct stats_class *of_class = item ? class_of(e, item) : NULL;

	if (item && command_is_traced(e))
		command_trace_delete(e, &cmd->key, item, "md");
	enum store_result result = store_delete(st, &cmd->key);

	if (result == STORE_OK && of_class) {
		e->stats->delete_hits++;
		of_class->delete_hits++;
	}
	return result;
}

void command_meta_delete(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	bool keeps = meta_given(cmd, 'I') || meta_given(cmd, 'x');

	if (command_meta_refused(e, cmd, reply))
		return;
	struct item *item = items_find(e->items, &cmd->key, ITEMS_PEEK, NULL);
	enum store_result result = compare(&st, cmd);
	if (!item && keeps)
		result = STORE_NOT_FOUND;
	if (result == STORE_OK && !keeps)
		result = delete_item(e, &st, cmd, item);
	else if (result == STORE_OK && meta_given(cmd, 'x'))
		result = empty_item(e, &st, cmd, item);
	else if (result == STORE_OK)
		invalidate(&st, cmd, item);
	if (result == STORE_NOT_FOUND)
		e->stats->delete_misses++;
	reply->hit = nothing;
	reply->status = command_reply_of(result, REPLY_DELETED);
}

/* ---- ma --------------------------------------------------------------------- */

static bool goes_up(const struct command *cmd)
{
	return cmd->meta.mode != 'D' && cmd->meta.mode != '-';
}

/* The expiry that t shows: the one before if T stands behind it. */
static bool shows_before(const struct meta *meta)
{
	for (size_t i = 0; i < meta->letter_count && meta->letters[i] != 'T'; i++) {
		if (meta->letters[i] == 't')
			return true;
	}
	return false;
}

/* The key has no number: make it, if N says so. */
static enum store_result make_number(const struct store *st, const struct command *cmd, struct store_delta *d)
{
	struct store_fresh fresh = {
		.key = cmd->key,
		.exptime = store_exptime(st, cmd->has_exptime ? cmd->exptime : cmd->meta.vivify_ttl),
		.marks = cmd->marks,
		.new_version = chosen_version(cmd),
	};

	if (!meta_given(cmd, 'N') || meta_given(cmd, 'C'))
		return STORE_NOT_FOUND;
	d->value = cmd->initial;
	return store_number(st, &fresh, d->value, &d->item);
}

static enum reply_status count_status(enum store_result result, bool made)
{
	if (made && (result == STORE_NO_MEMORY || result == STORE_TOO_LARGE))
		return REPLY_NO_MEMORY_NEW;
	return command_reply_of(result, REPLY_NUMBER);
}

static void count_delta(struct engine *e, const struct command *cmd, enum store_result result,
			const struct item *item)
{
	struct stats *stats = e->stats;

	if (result == STORE_NOT_FOUND)
		*(goes_up(cmd) ? &stats->incr_misses : &stats->decr_misses) += 1;
	else if (result == STORE_OK && item)
		command_count_delta(stats, class_of(e, item), goes_up(cmd));
}

void command_meta_count(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct store st = store_of(e);
	struct store_delta d = {
		.key = cmd->key,
		.direction = goes_up(cmd) ? STORE_INCR : STORE_DECR,
		.delta = cmd->number,
		.set_exptime = cmd->has_exptime,
		.exptime = store_exptime(&st, cmd->exptime),
		.new_version = chosen_version(cmd),
	};

	if (command_meta_refused(e, cmd, reply))
		return;
	const struct item *old = items_find(e->items, &cmd->key, ITEMS_PEEK, NULL);
	uint32_t exptime = old ? old->exptime : store_exptime(&st, cmd->meta.vivify_ttl);
	enum store_result result = compare(&st, cmd);
	if (result == STORE_OK)
		result = store_delta(&st, &d);
	if (result != STORE_NOT_FOUND || !meta_given(cmd, 'N'))
		count_delta(e, cmd, result, d.item);
	bool missed = result == STORE_NOT_FOUND;
	if (missed)
		result = make_number(&st, cmd, &d);
	if (cmd->has_exptime && !shows_before(&cmd->meta))
		exptime = d.exptime;
	reply->number = d.value;
	reply->hit = nothing;
	reply->hit.cas = cas_of(e, d.item);
	reply->hit.ttl_s = ttl_of(e, exptime);
	reply->status = count_status(result, missed);
}

/* ---- me --------------------------------------------------------------------- */

void command_meta_debug(struct engine *e, const struct command *cmd, struct reply *reply)
{
	const struct item *item = items_find(e->items, &cmd->key, ITEMS_PEEK, NULL);

	e->stats->cmd_meta++;
	reply->status = item ? REPLY_HIT : REPLY_NOT_FOUND;
	reply->hit = item ? look_at(e, item) : nothing;
}
