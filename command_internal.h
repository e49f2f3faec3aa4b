/*
 * command_internal.h - what the command*.c files share.
 *
 * Owns: the counting and the translations that several families of commands
 * need.
 *
 * Must not know: what command.h must not know. Included by command*.c only.
 *
 * Layer 3. Covered by: t/test_command.c, t/test_command_meta.c.
 */
#ifndef COMMAND_INTERNAL_H
#define COMMAND_INTERNAL_H

#include "compat.h"
#include "engine.h"
#include "message.h"
#include "store.h"

static inline struct store store_of(const struct engine *e)
{
	return (struct store){.items = e->items, .now = e->now, .cas = e->settings->cas};
}

static inline struct stats_class *class_of(struct engine *e, const struct item *item)
{
	int class_id = items_class_of(e->items, item);

	assert(class_id >= 0 && class_id < SIZE_CLASSES_MAX);
	return &e->class_stats[class_id];
}

void command_count_miss(struct stats *stats, enum items_miss miss);
void command_count_cas(struct stats *stats, struct stats_class *of_class, enum store_result result);
void command_count_delta(struct stats *stats, struct stats_class *of_class, bool incr);
enum reply_status command_reply_of(enum store_result result, enum reply_status success);

/* command_meta.c: how ms stores, but for what depends on the clock. */
void command_meta_write(const struct command *cmd, struct store_write *write);
/* The command asks for what this server does not do; reply->status says so. */
bool command_meta_refused(const struct engine *e, const struct command *cmd, struct reply *reply);

#endif
