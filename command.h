/*
 * command.h - what each operation does.
 *
 * Owns: the dispatch table made from commands.def, the handlers, and the
 * checks that hold for all of them: a command that changed data must have said
 * that it writes.
 *
 * Must not know: sockets, sessions, the protocol in use, replication.
 *
 * A command goes through
 *
 *     command_prepare()     hash its key, prefetch what the handler will read
 *     command_body_begin()  only CMD_BODY: reserve the item to be filled
 *     command_dispatch()    run the handler
 *  or command_body_abort()  only CMD_BODY: the value came broken or not at all
 *
 * Arity is a matter of spelling and was checked by the codec.
 *
 * Invariants
 *  [D1] the change sequence of items moves only during commands with CMD_WRITE
 *  [D2] a handler sees one instant (engine->now) from its start to its end
 *  [D3] one call does a bounded amount of work: a list of keys is left with
 *       reply->more after COMMAND_KEYS_MAX keys, or when the output is full; a list
 *       that is made piece by piece with reply->cursor
 *
 * Layer 3. Covered by: t/test_command.c, t/test_shadow_cmd.c, t/test_session.c.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include "compat.h"
#include "engine.h"
#include "message.h"

/* Keys answered in one go. */
#define COMMAND_KEYS_MAX 1024
/* Keys looked ahead at while memory is fetched. */
#define COMMAND_KEYS_AHEAD 16
/* A list of keys stops when this much output waits. */
#define COMMAND_OUTPUT_BYTES_MAX ((size_t)256 * 1024)

typedef void command_handler(struct engine *e, const struct command *cmd, struct reply *reply);

struct command_row {
	const char *word;
	const char *help;
	command_handler *handler;
	unsigned flags;
};

const struct command_row *command_row(enum command_id id);

/* Hash the key of a command and start to fetch its index bucket; nothing to do
 * for commands without a key. */
void command_prepare(struct engine *e, struct command *cmd);

void command_dispatch(struct engine *e, const struct command *cmd, struct reply *reply);

/* Reserve cmd->item for the value that follows. False: reply->status says why,
 * and the value must be swallowed. On success cmd->key points into the item,
 * so that the command outlives the line it came in. */
bool command_body_begin(struct engine *e, struct command *cmd, struct reply *reply);
/* A large value gets its memory in parts: this is for when items_reserved_len() of it
 * have come. False: as above. */
bool command_body_more(struct engine *e, struct command *cmd, struct reply *reply);
/* The value's end is not where the command said: give the item back. */
void command_body_abort(struct engine *e, struct command *cmd, struct reply *reply);
/* The client is gone: the same, without counting an attempt. */
void command_body_drop(struct engine *e, struct command *cmd);

/* The client that watched is gone. */
void command_watch_end(struct engine *e, struct watcher *watcher);

/* Handlers, one per row or family of rows. */
command_handler command_get, command_store, command_delete, command_delta, command_touch, command_flush_all,
	command_meta_get, command_meta_set, command_meta_delete, command_meta_count, command_meta_debug,
	command_stats, command_watch, command_debugtime, command_debugitem,
	command_version, command_verbosity, command_noop, command_quit,
	command_shutdown, command_slabs, command_lru, command_lru_crawler, command_memlimit;

/* The list `stats memory`. */
void command_stats_memory(struct engine *e, const struct stats_sink *sink);

/* What the settings say about what may be changed while serving is put into force. */
void command_tune(struct engine *e);

/* lru_crawler metadump and mgdump: list keys, a piece per call (reply->cursor).
 * classes by id; `meta`: with what is known about them. */
void command_dump(struct engine *e, const bool *classes, bool meta, struct reply *reply);

#endif
