/*
 * command_watch.c - the watch command.
 *
 * Owns: who may watch, and what the words after it ask for.
 *
 * Must not know: how lines are made, kept and sent (watch.c, session.c).
 *
 * Covered by: t/test_session.c, t/watch.t.
 */
#include "compat.h"
#include "command.h"
#include "command_trace.h"

void command_watch_end(struct engine *e, struct watcher *watcher)
{
	watch_remove(e->watch, watcher);
	command_trace_set(e);
}

/* What the words of the command ask for; 0: one of them is unknown. */
static unsigned wanted_kinds(struct word_list list)
{
	unsigned kinds = 0;
	struct word word;

	while (word_list_next(&list, &word)) {
		unsigned kind = watch_kind(word.data, word.len);
		if (kind == 0)
			return 0;
		kinds |= kind;
	}
	return kinds ? kinds : WATCH_FETCHERS;
}

void command_watch(struct engine *e, const struct command *cmd, struct reply *reply)
{
	unsigned kinds = wanted_kinds(cmd->words);

	if (!e->settings->watch_enabled)
		reply->status = REPLY_WATCH_REFUSED;
	else if (reply->out->waiting > 0)
		reply->status = REPLY_WATCH_PIPELINED;
	else if (kinds == 0)
		reply->status = REPLY_UNKNOWN;
	else if (e->watch->count == WATCHERS_MAX)
		reply->status = REPLY_WATCH_TOO_MANY;
	else if (!(reply->watcher = watch_add(e->watch, kinds)))
		reply->status = REPLY_WATCH_FAILED;
	else
		reply->status = REPLY_OK;
	command_trace_set(e);
}
