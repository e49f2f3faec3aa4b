/*
 * settings_internal.h - shared by settings.c (options) and settings_sub.c
 * (lists inside one option: -o and -l). Nobody else includes it.
 *
 * Layer 3. Covered by: t/test_settings.c.
 */
#ifndef SETTINGS_INTERNAL_H
#define SETTINGS_INTERNAL_H

#include "compat.h"
#include "settings.h"

/* Exit codes of reference section 6. */
#define EXIT_BAD_VALUE 1
#define EXIT_BAD_USAGE 64
#define EXIT_BAD_ADDRESS 71

/* One run of settings_parse(). */
struct settings_parse {
	struct settings *s;
	struct settings_result *r;
	bool protocol_given; /* by -B, not by default */
	/* of -o, for settings_foreign_together() */
	int hot_percent, warm_percent;
	bool no_maintainer, temporary_ttl;
	bool tcp_port_given; /* by -p */
};

/* Record a failure (the first one counts); always returns false. */
bool settings_fail(struct settings_parse *p, int exit_code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Add a line to what is printed before serving. */
void settings_notice(struct settings_parse *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A whole decimal number with an optional sign, within min..max. */
bool settings_number(const char *text, int64_t min, int64_t max, int64_t *out);
/* Copy a text value; false when it does not fit. */
bool settings_text(char *out, size_t size, const char *text);

/* A sub-option of memcached that has no effect; false if it is none, or after
 * settings_fail(). Then what several of them say together. */
bool settings_foreign(struct settings_parse *p, const char *name, const char *value);
bool settings_foreign_together(struct settings_parse *p);
/* -o list, -l list: false after settings_fail(). */
bool settings_suboptions(struct settings_parse *p, const char *list);
bool settings_listen(struct settings_parse *p, const char *list);
/* The lines of --help about -o. */
void settings_suboptions_help(void (*fn)(void *ctx, const char *line), void *ctx);

#endif
