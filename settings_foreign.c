/*
 * settings_foreign.c - sub-options of -o that memcached has and this server does not
 * need.
 *
 * Owns: their names and what values they may have. A value that memcached refuses is
 * refused, so that a mistake is not noticed only after going back; a good one is
 * accepted with one line that says that it changes nothing. What belongs to a
 * feature that is missing here (storage on disk, TLS, the proxy) is refused.
 *
 * Must not know: the options that have an effect (settings_sub.c asks here last).
 *
 * Covered by: t/test_settings.c, t/admin.t.
 */
#include "compat.h"
#include "settings_internal.h"

#define LRU_PERCENT_MAX 80
#define CHUNK_KIB_MAX 1024
#define SLAB_SIZE_STEP_MIN 8 /* between two class sizes */
#define NUMBER_MAX 4294967295.0

enum foreign_kind {
	FOREIGN_PLAIN, /* no value, or any */
	FOREIGN_WHOLE, /* a whole number, min..max */
	FOREIGN_REAL,  /* a number above min, up to max */
	FOREIGN_HASH,  /* the name of a hash function */
	FOREIGN_CHUNK, /* KiB */
	FOREIGN_SIZES  /* a-b-c */
};

struct foreign {
	const char *name;
	enum foreign_kind kind;
	double min, max;
	const char *error; /* for a bad value; NULL: "could not parse argument to <name>" */
};

static const struct foreign foreigners[] = {
        {"threads", FOREIGN_PLAIN, 0, 0, NULL},
        {"no_hashexpand", FOREIGN_PLAIN, 0, 0, NULL},
        {"hash_algorithm", FOREIGN_HASH, 0, 0, "Unknown hash_algorithm option (jenkins, murmur3, xxh3)"},
        {"slab_automove_ratio", FOREIGN_REAL, 0, 1, "slab_automove_ratio must be > 0 and < 1"},
        {"slab_automove_window", FOREIGN_WHOLE, 3, 1800, "slab_automove_window must be > 2 and < 1800"},
        {"slab_automove_freeratio", FOREIGN_REAL, -NUMBER_MAX, NUMBER_MAX, NULL},
        {"slab_sizes", FOREIGN_SIZES, 0, 0, NULL},
        {"slab_chunk_max", FOREIGN_CHUNK, 1, CHUNK_KIB_MAX, NULL},
        {"no_chunked_items", FOREIGN_PLAIN, 0, 0, NULL},
        {"tail_repair_time", FOREIGN_WHOLE, 10, NUMBER_MAX,
         "Cannot set tail_repair_time to less than 10 seconds"},
        {"lru_maintainer", FOREIGN_PLAIN, 0, 0, NULL},
        {"no_lru_maintainer", FOREIGN_PLAIN, 0, 0, NULL},
        {"hot_lru_pct", FOREIGN_WHOLE, 1, LRU_PERCENT_MAX - 1, "hot_lru_pct must be > 1 and < 80"},
        {"warm_lru_pct", FOREIGN_WHOLE, 1, LRU_PERCENT_MAX - 1, "warm_lru_pct must be > 1 and < 80"},
        {"hot_max_factor", FOREIGN_REAL, 0, NUMBER_MAX, "hot_max_factor must be > 0"},
        {"warm_max_factor", FOREIGN_REAL, 0, NUMBER_MAX, "warm_max_factor must be > 0"},
        {"temporary_ttl", FOREIGN_WHOLE, -NUMBER_MAX, NUMBER_MAX, NULL},
        {"worker_logbuf_size", FOREIGN_WHOLE, 0, NUMBER_MAX, NULL},
        {"read_buf_mem_limit", FOREIGN_WHOLE, 0, NUMBER_MAX, NULL},
        {"resp_obj_mem_limit", FOREIGN_PLAIN, 0, 0, NULL},
        {"inline_ascii_resp", FOREIGN_PLAIN, 0, 0, NULL},
        {"no_inline_ascii_resp", FOREIGN_PLAIN, 0, 0, NULL},
        {"modern", FOREIGN_PLAIN, 0, 0, NULL},
        {"drop_privileges", FOREIGN_PLAIN, 0, 0, NULL},
        {"no_drop_privileges", FOREIGN_PLAIN, 0, 0, NULL},
        {"relaxed_privileges", FOREIGN_PLAIN, 0, 0, NULL},
        {"sock_cookie_id", FOREIGN_WHOLE, 0, NUMBER_MAX, NULL},
};

/* Features that are missing, by the beginnings of their names. */
static const struct {
	const char *prefix, *why;
} missing[] = {
        {"ext_", "this server keeps no items on disk"},
        {"ssl_", "this server is not built with TLS support"},
        {"proxy_", "this server is no proxy"},
};

/* ---- values ----------------------------------------------------------------- */

static bool bad_value(struct settings_parse *p, const struct foreign *f)
{
	if (f->error)
		return settings_fail(p, EXIT_BAD_VALUE, "%s", f->error);
	return settings_fail(p, EXIT_BAD_VALUE, "could not parse argument to %s", f->name);
}

static bool check_number(struct settings_parse *p, const struct foreign *f, const char *value)
{
	char *end;
	double number = strtod(value, &end);
	int64_t whole;
	bool good = end != value && *end == '\0' && number <= f->max;

	if (f->kind == FOREIGN_WHOLE)
		good = good && settings_number(value, INT64_MIN, INT64_MAX, &whole) && number >= f->min;
	else
		good = good && number > f->min;
	if (!good)
		return bad_value(p, f);
	if (!strcmp(f->name, "hot_lru_pct"))
		p->hot_percent = (int)number;
	if (!strcmp(f->name, "warm_lru_pct"))
		p->warm_percent = (int)number;
	return true;
}

static bool check_hash(struct settings_parse *p, const struct foreign *f, const char *value)
{
	if (!strcmp(value, "jenkins") || !strcmp(value, "murmur3") || !strcmp(value, "xxh3"))
		return true;
	return bad_value(p, f);
}

static bool check_chunk(struct settings_parse *p, const struct foreign *f, const char *value)
{
	int64_t kib;

	if (!settings_number(value, INT64_MIN, INT64_MAX, &kib))
		return bad_value(p, f);
	if (kib < (int64_t)f->min)
		return settings_fail(p, EXIT_BAD_VALUE, "slab_chunk_max must be > 0");
	if (kib > (int64_t)f->max)
		return settings_fail(p, EXIT_BAD_VALUE, "slab_chunk_max must be specified in kilobytes.");
	return true;
}

/* One size after the other, each larger than the last. */
static bool check_sizes(struct settings_parse *p, const struct foreign *f, const char *value)
{
	char digits[16];
	int64_t size, last = 0;

	for (; *value; value += *value == '-') {
		size_t len = strcspn(value, "-");
		if (len >= sizeof(digits))
			return settings_fail(p, EXIT_BAD_USAGE, "%s: a size is out of valid range", f->name);
		memcpy(digits, value, len);
		digits[len] = '\0';
		value += len;
		if (!settings_number(digits, 1, CHUNK_KIB_MAX * 1024, &size))
			return settings_fail(p, EXIT_BAD_USAGE, "%s: size %s is out of valid range", f->name, digits);
		if (size <= last)
			return settings_fail(p, EXIT_BAD_USAGE, "%s: size %" PRId64 " cannot be lower than or equal to "
			                     "a previous class size", f->name, size);
		if (last && size < last + SLAB_SIZE_STEP_MIN)
			return settings_fail(p, EXIT_BAD_USAGE, "%s: size %" PRId64 " must be at least %d bytes larger "
			                     "than previous class", f->name, size, SLAB_SIZE_STEP_MIN);
		last = size;
	}
	return last > 0 || bad_value(p, f);
}

static bool check_value(struct settings_parse *p, const struct foreign *f, const char *value)
{
	if (f->kind == FOREIGN_PLAIN)
		return true;
	if (!value || !*value)
		return settings_fail(p, EXIT_BAD_VALUE,
		                     f->kind == FOREIGN_WHOLE ? "Missing numeric argument for %s"
		                                              : "Missing %s argument", f->name);
	switch (f->kind) {
	case FOREIGN_WHOLE:
	case FOREIGN_REAL:
		return check_number(p, f, value);
	case FOREIGN_HASH:
		return check_hash(p, f, value);
	case FOREIGN_CHUNK:
		return check_chunk(p, f, value);
	case FOREIGN_SIZES:
		return check_sizes(p, f, value);
	case FOREIGN_PLAIN:
		break;
	}
	return true;
}

/* ---- names ------------------------------------------------------------------ */

static const struct foreign *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(foreigners); i++)
		if (!strcmp(name, foreigners[i].name))
			return &foreigners[i];
	return NULL;
}

static bool refuse(struct settings_parse *p, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(missing); i++)
		if (!strncmp(name, missing[i].prefix, strlen(missing[i].prefix)))
			return settings_fail(p, EXIT_BAD_VALUE, "Illegal suboption \"%s\": %s", name, missing[i].why);
	return false;
}

bool settings_foreign(struct settings_parse *p, const char *name, const char *value)
{
	const struct foreign *f = find(name);

	if (!f)
		return refuse(p, name);
	if (!check_value(p, f, value))
		return false;
	p->no_maintainer = p->no_maintainer || !strcmp(name, "no_lru_maintainer");
	p->temporary_ttl = p->temporary_ttl || !strcmp(name, "temporary_ttl");
	if (f->kind != FOREIGN_HASH || strcmp(value, "xxh3") != 0) /* that one is used */
		settings_notice(p, "-o %s is accepted and has no effect in this server", name);
	return true;
}

bool settings_foreign_together(struct settings_parse *p)
{
	if (p->hot_percent + p->warm_percent > LRU_PERCENT_MAX)
		return settings_fail(p, EXIT_BAD_USAGE, "hot_lru_pct + warm_lru_pct cannot be more than %d%% "
		                     "combined", LRU_PERCENT_MAX);
	if (p->temporary_ttl && p->no_maintainer)
		return settings_fail(p, EXIT_BAD_USAGE, "temporary_ttl requires lru_maintainer to be enabled");
	return true;
}
