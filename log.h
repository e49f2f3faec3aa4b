/*
 * log.h - the log as an instance.
 *
 * Owns: levels, formatting into one bounded line, and a limiter that lets one
 * line per key and second through (floods of bad input must not become floods
 * of log). Where lines go is the sink's business (stderr in the daemon, a
 * trace in the simulator).
 *
 * Must not know: files, time sources.
 *
 * Layer 0. Covered by: t/test_log.c.
 */
#ifndef LOG_H
#define LOG_H

#include "compat.h"
#include "clock.h"

enum log_level {
	LOG_ERROR = 0,   /* always */
	LOG_NOTICE = 0,  /* always: state changes of the pair */
	LOG_INFO = 1,    /* -v */
	LOG_DEBUG = 2,   /* -vv: commands and replies */
	LOG_TRACE = 3    /* -vvv */
};

#define LOG_LINE_BYTES_MAX 1024

struct log {
	void (*sink)(void *ctx, const char *line); /* line has no newline */
	void *ctx;
	int verbosity;
};

void log_printf(struct log *log, int level, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The first line of some bytes, as far as LOG_BYTES_MAX, printable: "way bytes". */
#define LOG_BYTES_MAX 200
void log_bytes(struct log *log, int level, char way, const uint8_t *data, size_t len);

/* At most one pass per second; counts what it held back. */
struct log_limit {
	int64_t next_ms;
	uint64_t held_back;
};
/* True when a line may be written now; *held_back receives how many were
 * swallowed since the last one (NULL if of no interest). */
bool log_limit_pass(struct log_limit *l, const struct now *now, uint64_t *held_back);

#endif
