/*
 * settings_sub.c - lists inside one option: -o name=value,... and -l.
 *
 * Owns: the table of -o sub-options and the grammar of listen addresses. Names of
 * memcached that mean nothing here are in settings_foreign.c.
 *
 * Must not know: getopt, sockets, name resolution.
 *
 * A listen list is elements separated by ',' or ';':
 *
 *     *   *:port   host   host:port   1.2.3.4:port   [v6]   [v6]:port   v6
 *
 * Covered by: t/test_settings.c.
 */
#include "compat.h"
#include "settings_internal.h"

/* What a sub-option sets. Sizes are multiplied by `unit`. */
enum sub_kind {
	SUB_TRUE,
	SUB_FALSE,
	SUB_INT,   /* int */
	SUB_INT64, /* int64_t */
	SUB_SIZE,  /* size_t */
	SUB_COMPAT, /* bool: repcached or none */
	SUB_ADDR,   /* char[256] */
	SUB_PATH,   /* char[SETTINGS_PATH_MAX] */
	SUB_ACCEPT, /* enum repl_accept */
	SUB_AUTOMOVE, /* int, 1 without a value */
	SUB_NO_AUTOMOVE,
	SUB_NO_MODERN /* several fields */
};

struct suboption {
	const char *name;
	enum sub_kind kind;
	size_t offset;
	int64_t min, max, unit;
	const char *help; /* NULL: not in --help */
};

#define FIELD(name) offsetof(struct settings, name)

static const struct suboption suboptions[] = {
        {"maxconns_fast", SUB_TRUE, FIELD(maxconns_fast), 0, 0, 0,
         "refuse connections beyond -c at once (default)"},
        {"no_maxconns_fast", SUB_FALSE, FIELD(maxconns_fast), 0, 0, 0,
         "let connections beyond -c wait instead"},
        {"hashpower", SUB_INT, FIELD(hash_power), 12, 32, 1,
         "N: first size of the hash index is 2^N items (12..32)"},
        {"idle_timeout", SUB_INT, FIELD(idle_timeout_s), 0, 31536000, 1,
         "SECONDS: close clients idle for longer (default: never)"},
        {"track_sizes", SUB_TRUE, FIELD(track_sizes), 0, 0, 0,
         "count items by size, for \"stats sizes\""},
        {"busy_poll", SUB_INT, FIELD(busy_poll_us), 0, 1000000, 1,
         "US: look for more that long before sleeping (default 0)"},
        {"turn_cpu", SUB_TRUE, FIELD(turn_cpu), 0, 0, 0,
         "processor time, too, in \"stats latency\""},
        {"watcher_logbuf_size", SUB_SIZE, FIELD(watch_queue_bytes), 4, 1 << 20, 1 << 10,
         "KiB: most lines kept for a slow \"watch\" (256)"},
        {"slab_automove", SUB_AUTOMOVE, FIELD(slab_automove), 0, 2, 1,
         "0..2: never move memory between sizes of items, move it\n"
         "sparingly (default), eagerly"},
        {"no_slab_automove", SUB_NO_AUTOMOVE, FIELD(slab_automove), 0, 0, 1, NULL},
        {"slab_reassign", SUB_TRUE, FIELD(slab_reassign), 0, 0, 0, NULL},
        {"no_slab_reassign", SUB_FALSE, FIELD(slab_reassign), 0, 0, 0,
         "refuse the \"slabs reassign\" command"},
        {"lru_crawler", SUB_TRUE, FIELD(lru_crawler), 0, 0, 0, NULL},
        {"no_lru_crawler", SUB_FALSE, FIELD(lru_crawler), 0, 0, 0,
         "do not look for expired items unasked"},
        {"lru_crawler_sleep", SUB_INT, FIELD(lru_crawler_sleep_us), 0, 1000000, 1,
         "MICROSECONDS: rest between pieces of that (100)"},
        {"lru_crawler_tocrawl", SUB_INT64, FIELD(lru_crawler_tocrawl), 0, UINT32_MAX, 1,
         "N: most items per size and \"lru_crawler crawl\" (all)"},
        {"no_modern", SUB_NO_MODERN, 0, 0, 0, 0, NULL},
        {"udp_rate", SUB_INT, FIELD(udp_rate_bytes), 0, 1 << 20, 1 << 10,
         "KiB: a second, by UDP to a public network (64; 0: any)"},
        {"repl_buffer", SUB_SIZE, FIELD(repl_buffer_bytes), 1, 65536, 1 << 20,
         "MiB: most output waiting for a slow peer (default 64)"},
        {"repl_tombstones", SUB_SIZE, FIELD(repl_tombstones_bytes), 1, 1 << 30, 1 << 10,
         "KiB: most memory for deletions not yet seen by the peer"},
        {"repl_timeout", SUB_INT, FIELD(repl_timeout_ms), 100, 3600000, 1,
         "MS: a peer silent for longer is dead (default 5000)"},
        {"repl_ack", SUB_INT, FIELD(repl_ack_ms), 0, 3600000, 1,
         "MS: reply to writes once the peer has them (0: off)"},
        {"repl_drain", SUB_INT, FIELD(repl_drain_ms), 0, 3600000, 1,
         "MS: wait for the peer at SIGTERM (default 5000)"},
        {"repl_max_skew", SUB_INT64, FIELD(repl_max_skew_ms), 1, 3153600000, 1000,
         "SECONDS: refuse a peer with a clock ahead of it (86400)"},
        {"repl_compat", SUB_COMPAT, FIELD(repl_compat), 0, 0, 0,
         "repcached: be a peer of one, too (default: none)"},
        {"repl_listen", SUB_ADDR, FIELD(repl_listen), 0, 0, 0,
         "ADDR: listen for the peer here (default: as -l)"},
        {"repl_accept", SUB_ACCEPT, FIELD(repl_accept), 0, 0, 0,
         "any|peer: who may connect to it (peer: the host of -x)"},
        {"repl_secret_file", SUB_PATH, FIELD(repl_secret_file), 0, 0, 0,
         "PATH: the link is for those who know its content"},
};

#define SUBOPTION_BYTES_MAX (SETTINGS_PATH_MAX + 64)

/* What memcached says of a bad number, if that is not made from name and range. */
static const char *number_error(const struct suboption *o)
{
	if (o->offset == FIELD(lru_crawler_sleep_us))
		return "LRU crawler sleep must be between 0 and 1 second";
	if (o->offset == FIELD(lru_crawler_tocrawl))
		return "lru_crawler_tocrawl takes a numeric 32bit value";
	return NULL;
}

static bool set_number(struct settings_parse *p, const struct suboption *o, const char *value)
{
	void *field = (char *)p->s + o->offset;
	int64_t n;

	if (!value || !*value)
		return settings_fail(p, EXIT_BAD_VALUE, "Missing numeric argument for %s", o->name);
	bool is_number = settings_number(value, INT64_MIN, INT64_MAX, &n);
	const char *error = number_error(o);
	if (error && (!is_number || n < o->min || n > o->max))
		return settings_fail(p, EXIT_BAD_VALUE, "%s", error);
	if (!is_number)
		return settings_fail(p, EXIT_BAD_VALUE, "%s needs a number, not \"%s\"", o->name, value);
	if (o->offset == FIELD(hash_power) && (n < o->min || n > o->max))
		return settings_fail(p, EXIT_BAD_VALUE, "Initial hashtable multiplier of %" PRId64 " is too %s",
		                     n, n < o->min ? "low" : "high");
	if (n < o->min || n > o->max)
		return settings_fail(p, EXIT_BAD_VALUE, "%s must be between %" PRId64 " and %" PRId64, o->name,
		                     o->min, o->max);
	n *= o->unit;
	if (o->kind == SUB_SIZE)
		*(size_t *)field = (size_t)n;
	else if (o->kind == SUB_INT64)
		*(int64_t *)field = n;
	else
		*(int *)field = (int)n;
	return true;
}

static bool set_address(struct settings_parse *p, const struct suboption *o, const char *value)
{
	if (!value || !*value)
		return settings_fail(p, EXIT_BAD_VALUE, "Missing address for %s", o->name);
	char *out = (char *)p->s + o->offset;
	bool bracket = *value == '[';
	if (!settings_text(out, sizeof(p->s->repl_listen), value + bracket))
		return settings_fail(p, EXIT_BAD_VALUE, "%s: the address is too long", o->name);
	char *end = bracket ? strchr(out, ']') : NULL;
	const char *colon = strchr(end ? end : out, ':');
	if (colon && (bracket || !strchr(colon + 1, ':')))
		return settings_fail(p, EXIT_BAD_VALUE, "%s takes an address without a port, -X has it", o->name);
	if (bracket && (!end || end[1]))
		return settings_fail(p, EXIT_BAD_VALUE, "%s: not an address: \"%s\"", o->name, value);
	if (end)
		*end = '\0';
	return true;
}

static bool set_compat(struct settings_parse *p, const struct suboption *o, const char *value)
{
	bool repcached = value && strcmp(value, "repcached") == 0;

	if (!repcached && (!value || strcmp(value, "none") != 0))
		return settings_fail(p, EXIT_BAD_VALUE, "%s must be repcached or none", o->name);
	*(bool *)((char *)p->s + o->offset) = repcached;
	return true;
}

static bool set_path(struct settings_parse *p, const struct suboption *o, const char *value)
{
	if (!value || !*value)
		return settings_fail(p, EXIT_BAD_VALUE, "Missing file for %s", o->name);
	if (!settings_text((char *)p->s + o->offset, SETTINGS_PATH_MAX, value))
		return settings_fail(p, EXIT_BAD_VALUE, "%s: the path is too long", o->name);
	return true;
}

static bool set_accept(struct settings_parse *p, const struct suboption *o, const char *value)
{
	assert(o->offset == FIELD(repl_accept));
	if (value && !strcmp(value, "any"))
		p->s->repl_accept = REPL_ACCEPT_ANY;
	else if (value && !strcmp(value, "peer"))
		p->s->repl_accept = REPL_ACCEPT_PEER;
	else
		return settings_fail(p, EXIT_BAD_VALUE, "%s is any or peer, not \"%s\"", o->name,
		                     value ? value : "");
	return true;
}

/* What of the time before 1.5 has a meaning here. */
static bool set_old_ways(struct settings_parse *p)
{
	p->s->maxconns_fast = false;
	p->s->slab_reassign = false;
	p->s->slab_automove = 0;
	p->s->lru_crawler = false;
	settings_notice(p, "-o no_modern: without crawler and page mover, connections beyond -c wait; the rest "
	                "of it has no effect in this server");
	return true;
}

static bool apply_suboption(struct settings_parse *p, const struct suboption *o, const char *value)
{
	assert(o->kind <= SUB_NO_MODERN);
	switch (o->kind) {
	case SUB_TRUE:
		*(bool *)((char *)p->s + o->offset) = true;
		return true;
	case SUB_FALSE:
		*(bool *)((char *)p->s + o->offset) = false;
		return true;
	case SUB_COMPAT:
		return set_compat(p, o, value);
	case SUB_ADDR:
		return set_address(p, o, value);
	case SUB_PATH:
		return set_path(p, o, value);
	case SUB_ACCEPT:
		return set_accept(p, o, value);
	case SUB_AUTOMOVE:
		return set_number(p, o, value ? value : "1");
	case SUB_NO_AUTOMOVE:
		return set_number(p, o, "0");
	case SUB_NO_MODERN:
		return set_old_ways(p);
	case SUB_INT:
	case SUB_INT64:
	case SUB_SIZE:
		return set_number(p, o, value);
	}
	return false;
}

static bool one_suboption(struct settings_parse *p, char *text)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_LEN(suboptions); i++)
		if (!strcmp(text, suboptions[i].name))
			return apply_suboption(p, &suboptions[i], value);
	if (settings_foreign(p, text, value))
		return true;
	if (value)
		value[-1] = '=';
	return settings_fail(p, EXIT_BAD_VALUE, "Illegal suboption \"%s\"", text);
}

bool settings_suboptions(struct settings_parse *p, const char *list)
{
	char text[SUBOPTION_BYTES_MAX];

	while (*list) {
		size_t len = strcspn(list, ",");
		if (len >= sizeof(text))
			return settings_fail(p, EXIT_BAD_VALUE, "Illegal suboption \"%.40s...\"", list);
		memcpy(text, list, len);
		text[len] = '\0';
		if (len && !one_suboption(p, text))
			return false;
		list += len;
		list += *list == ',';
	}
	return true;
}

static void show_suboption(const struct suboption *o, void (*fn)(void *ctx, const char *line), void *ctx)
{
	const char *name = o->name, *help = o->help;
	char line[160];

	while (help) {
		const char *end = strchr(help, '\n');
		int len = end ? (int)(end - help) : (int)strlen(help);
		snprintf(line, sizeof(line), "                            %-16s %.*s", name, len, help);
		fn(ctx, line);
		name = "";
		help = end ? end + 1 : NULL;
	}
}

void settings_suboptions_help(void (*fn)(void *ctx, const char *line), void *ctx)
{
	for (size_t i = 0; i < ARRAY_LEN(suboptions); i++)
		if (suboptions[i].help)
			show_suboption(&suboptions[i], fn, ctx);
}

/* --- listen addresses ---------------------------------------------------------- */

static bool listen_port(struct settings_parse *p, const char *text, int *port)
{
	int64_t n;

	if (!settings_number(text, 0, 65535, &n))
		return settings_fail(p, EXIT_BAD_ADDRESS, "Invalid port number: \"%s\"", text);
	*port = (int)n;
	return true;
}

/* "[v6]" or "[v6]:port", in place. */
static bool listen_bracket(struct settings_parse *p, char *text, struct listen_addr *out)
{
	char *end = strchr(text, ']');

	if (!end || end == text + 1 || (end[1] && end[1] != ':'))
		return settings_fail(p, EXIT_BAD_ADDRESS, "Invalid IPV6 address: \"%s\"", text);
	if (end[1] == ':' && !listen_port(p, end + 2, &out->port))
		return false;
	*end = '\0';
	settings_text(out->host, sizeof(out->host), text + 1);
	return true;
}

/* Prefixes of memcached that belong to features this server does not have. */
static bool has_foreign_prefix(struct settings_parse *p, const char *text)
{
	static const char *const prefixes[] = {"notls:", "btls:", "mtls:"};

	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t len = strlen(prefixes[i]);
		if (strncmp(text, prefixes[i], len) != 0)
			continue;
		settings_fail(p, EXIT_BAD_ADDRESS, "'%.*s' option is valid only when SSL is enabled",
		              (int)len - 1, text);
		return true;
	}
	if (!strncmp(text, "proto[", 6) || !strncmp(text, "tag[", 4) || !strncmp(text, "tag_", 4)) {
		settings_fail(p, EXIT_BAD_ADDRESS, "-l: this server has no listener prefixes: \"%s\"", text);
		return true;
	}
	return false;
}

static bool one_listen(struct settings_parse *p, char *text)
{
	struct settings *s = p->s;

	if (has_foreign_prefix(p, text))
		return false;
	if (s->listen_count == LISTEN_ADDRS_MAX)
		return settings_fail(p, EXIT_BAD_ADDRESS, "-l: more than %d addresses", LISTEN_ADDRS_MAX);
	struct listen_addr *out = &s->listen[s->listen_count];
	*out = (struct listen_addr){.port = -1};
	if (*text == '[') {
		if (!listen_bracket(p, text, out))
			return false;
	} else {
		char *colon = strchr(text, ':');
		bool bare_v6 = colon && strchr(colon + 1, ':');
		if (colon && !bare_v6) {
			*colon = '\0';
			if (!listen_port(p, colon + 1, &out->port))
				return false;
		}
		settings_text(out->host, sizeof(out->host), strcmp(text, "*") ? text : "");
	}
	for (int i = 0; i < s->listen_count; i++)
		if (!strcmp(s->listen[i].host, out->host) && s->listen[i].port == out->port)
			return true; /* said twice */
	s->listen_count++;
	return true;
}

/* The lists as given, for `stats settings`. */
static bool join_listen_text(struct settings_parse *p, const char *list)
{
	char *all = p->s->listen_text;
	size_t used = strlen(all), len = strlen(list);

	if (used + len + 2 > sizeof(p->s->listen_text))
		return settings_fail(p, EXIT_BAD_ADDRESS, "-l: the addresses are too long");
	if (used)
		all[used++] = ',';
	memcpy(all + used, list, len + 1);
	return true;
}

bool settings_listen(struct settings_parse *p, const char *list)
{
	char text[sizeof(p->s->listen[0].host)];

	int count_before = p->s->listen_count;
	const char *whole = list;

	while (*list) {
		list += strspn(list, " ,;");
		size_t len = strcspn(list, ",;");
		if (len >= sizeof(text))
			return settings_fail(p, EXIT_BAD_ADDRESS, "-l: address too long: \"%.40s...\"", list);
		memcpy(text, list, len);
		text[len] = '\0';
		if (len && !one_listen(p, text))
			return false;
		list += len;
	}
	return p->s->listen_count == count_before || join_listen_text(p, whole);
}
