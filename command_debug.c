/*
 * command_debug.c - debugtime and debugitem, of memcached-debug only.
 *
 * Owns: their arguments and answers. Without engine.debug both are unknown commands.
 *
 * Must not know: what else goes by the clock.
 *
 * Covered by: t/test_debug.c, t/debug.t.
 */
#include "compat.h"
#include "command.h"
#include "util.h"

/* The words after a command, without noreply at the end. */
static int arguments(const struct command *cmd, struct word *out, int max)
{
	struct word_list list = cmd->words;
	int count = 0;

	while (count < max && word_list_next(&list, &out[count]))
		count++;
	if (count > 0 && cmd->quiet && word_is(&out[count - 1], "noreply"))
		count--;
	return count;
}

void command_debugtime(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct word word;
	int32_t seconds;

	reply->status = REPLY_UNKNOWN;
	if (!e->debug || arguments(cmd, &word, 1) == 0)
		return;
	if (word_is(&word, "p"))
		debug_pause(e->debug);
	else if (word_is(&word, "r"))
		debug_resume(e->debug);
	else if (parse_i32((const char *)word.data, word.len, &seconds))
		debug_move(e->debug, seconds);
	else
		return;
	reply->status = REPLY_OK;
}

static enum reply_status hold_item(struct engine *e, const struct key *key, enum debug_pin_kind kind,
				   enum reply_status missing)
{
	struct item *item = items_find(e->items, key, ITEMS_PEEK, NULL);

	if (!item)
		return missing;
	return debug_pin(e->debug, e->items, key, item, kind, e->conn_id) ? REPLY_OK : REPLY_NO_MEMORY;
}

static enum reply_status let_go(struct engine *e, const struct key *key)
{
	bool reffed = key->len == 6 && memcmp(key->data, "reffed", 6) == 0;

	return debug_unpin(e->debug, e->items, DEBUG_PIN_REF, reffed ? NULL : key, e->conn_id) ? REPLY_OK
	                                                                                         : REPLY_MISS;
}

void command_debugitem(struct engine *e, const struct command *cmd, struct reply *reply)
{
	struct word words[2];

	reply->status = REPLY_UNKNOWN;
	if (!e->debug || arguments(cmd, words, 2) < 2 || words[1].len > KEY_BYTES_MAX)
		return;
	struct key key = items_key(e->items, words[1].data, words[1].len);
	if (word_is(&words[0], "lock")) {
		reply->status = hold_item(e, &key, DEBUG_PIN_LOCK, REPLY_OK);
	} else if (word_is(&words[0], "unlock")) {
		debug_unpin(e->debug, e->items, DEBUG_PIN_LOCK, &key, 0);
		reply->status = REPLY_OK;
	} else if (word_is(&words[0], "ref")) {
		reply->status = hold_item(e, &key, DEBUG_PIN_REF, REPLY_MISS);
	} else if (word_is(&words[0], "unref")) {
		reply->status = let_go(e, &key);
	}
}
