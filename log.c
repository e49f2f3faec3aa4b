/*
 * log.c - the log as an instance.
 *
 * Owns: formatting into one bounded line. Control characters that come with
 * what is logged (keys, addresses, a peer's text) are shown as '?', so that a
 * line stays one line whatever a client sends.
 *
 * Must not know: files, time sources.
 *
 * Covered by: t/test_log.c.
 */
#include "compat.h"
#include "log.h"

#define LOG_LIMIT_MS 1000

void log_printf(struct log *log, int level, const char *fmt, ...)
{
	assert(level >= LOG_ERROR && level <= LOG_TRACE);
	if (!log || !log->sink || level > log->verbosity)
		return;
	char line[LOG_LINE_BYTES_MAX];
	va_list args;
	va_start(args, fmt);
	int len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len < 0)
		return;
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	log->sink(log->ctx, line);
}

void log_bytes(struct log *log, int level, char way, const uint8_t *data, size_t len)
{
	char text[LOG_BYTES_MAX];
	size_t n = 0;

	for (; n < len && n < sizeof(text) && data[n] != '\r' && data[n] != '\n'; n++)
		text[n] = data[n] >= ' ' && data[n] <= '~' ? (char)data[n] : '?';
	log_printf(log, level, "%c %.*s", way, (int)n, text);
}

bool log_limit_pass(struct log_limit *l, const struct now *now, uint64_t *held_back)
{
	if (now->mono_ms < l->next_ms) {
		l->held_back++;
		return false;
	}
	if (held_back)
		*held_back = l->held_back;
	l->held_back = 0;
	l->next_ms = now->mono_ms + LOG_LIMIT_MS;
	return true;
}
