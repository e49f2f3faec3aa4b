/*
 * command_stats.h - what the files of the stats command share.
 *
 *   command_stats.c       lists of name and value
 *   command_stats_keys.c  lists about keys: detail, sizes, cachedump
 *
 * Layer 3. Covered by: t/test_command_stats.c, t/stats-sub.t.
 */
#ifndef COMMAND_STATS_H
#define COMMAND_STATS_H

#include "compat.h"
#include "engine.h"
#include "message.h"

/* words: what follows "stats detail" and "stats cachedump". */
void command_stats_detail(struct engine *e, struct word_list words, struct reply *reply);
void command_stats_cachedump(struct engine *e, struct word_list words, struct reply *reply);
void command_stats_sizes(struct engine *e, const struct stats_sink *sink);

#endif
