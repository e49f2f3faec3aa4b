/*
 * stats.c - counters, and the printing of name/value pairs. See stats.h.
 *
 * Owns: the reset of the counters, made from the counter table, and the ways a
 * value becomes text. Every list of statistics passes through here.
 *
 * Must not know: what the numbers mean, protocols, sockets.
 *
 * Covered by: t/test_stats.c.
 */
#include "compat.h"
#include "stats.h"
#include "util.h"

#define VALUE_BYTES_MAX 2048 /* the longest: a path or a list of addresses */

void stats_reset(struct stats *s)
{
	assert(s);
#define X(name) s->name = 0;
	STATS_COUNTERS(X)
#undef X
}

void stats_str(const struct stats_sink *sink, const char *name, const char *value)
{
	assert(sink->pair && name && value);
	sink->pair(sink->ctx, name, value);
}

void stats_u64(const struct stats_sink *sink, const char *name, uint64_t value)
{
	char text[DECIMAL_BYTES_MAX + 1];

	text[format_u64(text, value)] = '\0';
	stats_str(sink, name, text);
}

void stats_i64(const struct stats_sink *sink, const char *name, int64_t value)
{
	char text[DECIMAL_BYTES_MAX + 2] = "-";
	size_t sign = value < 0;
	uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	text[sign + format_u64(text + sign, magnitude)] = '\0';
	stats_str(sink, name, text);
}

void stats_fmt(const struct stats_sink *sink, const char *name, const char *fmt, ...)
{
	char text[VALUE_BYTES_MAX];
	va_list args;

	va_start(args, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	assert(n >= 0);
	(void)n;
	stats_str(sink, name, text);
}
