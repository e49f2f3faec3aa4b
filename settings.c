/*
 * settings.c - the option table and what is made from it.
 *
 * Owns: one row per option (names, argument, help, and how it is applied);
 * getopt's arrays and --help are made from the rows, so an option cannot be
 * parsed without being documented. The rules that join several options are in
 * check_together().
 *
 * Must not know: sockets, the node, state of any kind.
 *
 * How a row is applied is its kind: ON and OFF set a bool, NUMBER and TEXT fill
 * a field, NEED refuses an option whose feature is not in this server, and
 * CALL runs a function for whatever needs one.
 *
 * Covered by: t/test_settings.c.
 */
#include "compat.h"
#include "settings_internal.h"

#include <getopt.h>

#define LONG_ONLY 256 /* values of options without a letter start here */
#define ITEM_BYTES_MIN 1024
#define UDP_RATE_DEFAULT (64 << 10)
#define ITEM_BYTES_MAX (INT64_C(1) << 30)
#define MIB (INT64_C(1) << 20)

enum row_kind {
	ROW_ON,
	ROW_OFF,
	ROW_NUMBER,
	ROW_TEXT,
	ROW_NEED,
	ROW_NOTICE,
	ROW_SHOW,
	ROW_CALL
};

struct row {
	int id; /* the letter, or LONG_ONLY + n */
	const char *name;
	const char *arg; /* NULL: takes none */
	const char *help;
	enum row_kind kind;
	size_t offset, size; /* field of struct settings */
	int64_t min, max;    /* ROW_NUMBER */
	int exit_code;
	const char *error; /* message; for numbers it may hold one %s */
	bool (*call)(struct settings_parse *p, const char *arg);
};

/* What the operator typed is shown, but as one line of plain text. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

bool settings_fail(struct settings_parse *p, int exit_code, const char *fmt, ...)
{
	assert(exit_code > 0);
	if (p->r->status == SETTINGS_FAIL)
		return false;
	va_list args;
	va_start(args, fmt);
	vsnprintf(p->r->error, sizeof(p->r->error), fmt, args);
	va_end(args);
	make_printable(p->r->error);
	p->r->status = SETTINGS_FAIL;
	p->r->exit_code = exit_code;
	return false;
}

void settings_notice(struct settings_parse *p, const char *fmt, ...)
{
	size_t used = strlen(p->r->notice);
	size_t room = sizeof(p->r->notice) - used;
	va_list args;

	if (room < 3)
		return;
	if (used) {
		p->r->notice[used++] = '\n';
		room--;
	}
	va_start(args, fmt);
	vsnprintf(p->r->notice + used, room, fmt, args);
	va_end(args);
	make_printable(p->r->notice + used);
}

bool settings_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
	bool negative = *text == '-';
	uint64_t magnitude = 0;

	assert(min <= max);
	text += *text == '-' || *text == '+';
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || magnitude > (uint64_t)INT64_MAX / 10 - 9)
			return false;
		magnitude = magnitude * 10 + (uint64_t)(*text - '0');
	}
	*out = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	return *out >= min && *out <= max;
}

bool settings_text(char *out, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		return false;
	memcpy(out, text, len + 1);
	return true;
}

/* --- options that need a function ------------------------------------------------ */

/* A number with an optional k, m or g; the suffix multiplies `unit` bytes. */
static bool bytes_of(const char *text, int64_t unit, int64_t *out)
{
	char digits[24];
	size_t len = strlen(text);
	int64_t scale = unit;

	if (!len || len >= sizeof(digits))
		return false;
	memcpy(digits, text, len + 1);
	switch (digits[len - 1]) {
	case 'k': case 'K': scale = INT64_C(1) << 10; break;
	case 'm': case 'M': scale = MIB; break;
	case 'g': case 'G': scale = INT64_C(1) << 30; break;
	default: len++; break;
	}
	digits[len - 1] = '\0';
	if (!settings_number(digits, 0, INT64_MAX / scale, out))
		return false;
	*out *= scale;
	return true;
}

static bool take_memory(struct settings_parse *p, const char *arg)
{
	int64_t bytes;

	if (!bytes_of(arg, MIB, &bytes))
		return settings_fail(p, EXIT_BAD_USAGE, "Invalid memory limit \"%s\": -m takes megabytes", arg);
	p->s->memory_bytes_max = (size_t)bytes;
	return true;
}

static bool take_item_size(struct settings_parse *p, const char *arg)
{
	int64_t bytes;

	if (!bytes_of(arg, 1, &bytes) || bytes < ITEM_BYTES_MIN)
		return settings_fail(p, EXIT_BAD_USAGE, "Item max size cannot be less than %d bytes.",
		                     ITEM_BYTES_MIN);
	if (bytes > ITEM_BYTES_MAX)
		return settings_fail(p, EXIT_BAD_USAGE, "Cannot set item size limit higher than a gigabyte.");
	p->s->item_bytes_max = (size_t)bytes;
	return true;
}

static bool take_mask(struct settings_parse *p, const char *arg)
{
	char *end;
	unsigned long mask = strtoul(arg, &end, 8);

	if (end == arg || *end || mask > 0777)
		return settings_fail(p, EXIT_BAD_VALUE, "Invalid socket mask \"%s\": -a takes octal permissions",
		                     arg);
	p->s->socket_mask = (unsigned)mask;
	return true;
}

static bool take_factor(struct settings_parse *p, const char *arg)
{
	char *end;
	double factor = strtod(arg, &end);

	if (end == arg || *end || !(factor > 1.0) || factor > 1e6)
		return settings_fail(p, EXIT_BAD_VALUE, "Factor must be greater than 1");
	p->s->growth_factor = factor;
	return true;
}

static bool take_chunk(struct settings_parse *p, const char *arg)
{
	int64_t bytes;

	if (!settings_number(arg, 1, ITEM_BYTES_MAX, &bytes))
		return settings_fail(p, EXIT_BAD_VALUE, "Chunk size must be greater than 0");
	p->s->chunk_bytes_min = (size_t)bytes;
	return true;
}

static bool take_threads(struct settings_parse *p, const char *arg)
{
	int64_t threads;

	if (!settings_number(arg, 1, INT_MAX, &threads))
		return settings_fail(p, EXIT_BAD_VALUE, "Number of threads must be greater than 0");
	p->s->threads = (int)threads;
	if (threads > 1)
		settings_notice(p, "-t %s: this server uses one thread, so that no command ever waits for a lock",
		                arg);
	return true;
}

static bool take_verbose(struct settings_parse *p, const char *arg)
{
	(void)arg;
	p->s->verbosity++;
	return true;
}

static bool take_delimiter(struct settings_parse *p, const char *arg)
{
	if (!*arg)
		return settings_fail(p, EXIT_BAD_VALUE, "No delimiter specified");
	p->s->stat_prefix_delimiter = *arg;
	p->s->stat_prefixes = true;
	return true;
}

static bool take_sasl(struct settings_parse *p, const char *arg)
{
	(void)arg;
	if (!WITH_SASL)
		return settings_fail(p, EXIT_BAD_USAGE, "This server is not built with SASL support.");
	p->s->sasl = true;
	return true;
}

static bool take_auth_file(struct settings_parse *p, const char *arg)
{
	if (!*arg)
		return settings_fail(p, EXIT_BAD_USAGE, "-Y takes the file of those who may log in");
	if (!settings_text(p->s->auth_file, sizeof(p->s->auth_file), arg))
		return settings_fail(p, EXIT_BAD_VALUE, "-Y: the path is too long");
	return true;
}

static bool take_protocol(struct settings_parse *p, const char *arg)
{
	p->protocol_given = true;
	if (!strcmp(arg, "auto"))
		p->s->protocol = PROTOCOL_AUTO;
	else if (!strcmp(arg, "ascii"))
		p->s->protocol = PROTOCOL_ASCII;
	else if (!strcmp(arg, "binary"))
		p->s->protocol = PROTOCOL_BINARY;
	else
		return settings_fail(p, EXIT_BAD_USAGE,
		                     "Invalid value for binding protocol: %s -- should be one of auto, "
		                     "binary, or ascii", arg);
	return true;
}

/* Both options that switch replication on. */
static bool replicated(struct settings_parse *p)
{
	if (!WITH_REPLICATION)
		return settings_fail(p, EXIT_BAD_USAGE, "This server is built without replication: no -x, no -X");
	p->s->replicated = true;
	return true;
}

static bool take_port(struct settings_parse *p, const char *arg)
{
	int64_t port;

	if (!settings_number(arg, -1, 65535, &port))
		return settings_fail(p, EXIT_BAD_USAGE, "ERROR: Invalid port number %s.", arg);
	p->s->tcp_port = (int)port;
	p->tcp_port_given = true;
	return true;
}

static bool take_peer(struct settings_parse *p, const char *arg)
{
	if (!*arg || !settings_text(p->s->repl_peer, sizeof(p->s->repl_peer), arg))
		return settings_fail(p, EXIT_BAD_VALUE, "Illegal address: %s", arg);
	return replicated(p);
}

static bool take_peer_port(struct settings_parse *p, const char *arg)
{
	int64_t port;

	if (!settings_number(arg, INT64_MIN, INT64_MAX, &port))
		return settings_fail(p, EXIT_BAD_USAGE,
		                     "-X takes the replication port, \"%s\" is no number (to refuse dumps "
		                     "of keys say --disable-dumping)", arg);
	if (port < 0 || port > 65535)
		return settings_fail(p, EXIT_BAD_USAGE, "ERROR: Invalid replication port number %s.", arg);
	p->s->repl_port = (int)port;
	return replicated(p);
}

/* --- the table --------------------------------------------------------------------- */

enum {
	OPT_DISABLE_DUMPING = LONG_ONLY
};

#define FIELD(name) .offset = offsetof(struct settings, name), .size = sizeof(((struct settings *)0)->name)
#define ON(name) .kind = ROW_ON, FIELD(name)
#define OFF(name) .kind = ROW_OFF, FIELD(name)
#define TEXT(name) .kind = ROW_TEXT, FIELD(name)
#define NUMBER(name, low, high, code, text) \
	.kind = ROW_NUMBER, FIELD(name), .min = low, .max = high, .exit_code = code, .error = text
#define CALL(function) .kind = ROW_CALL, .call = function
#define SHOW .kind = ROW_SHOW
#define NOTICE(text) .kind = ROW_NOTICE, .error = text
/* Not in this server: an error, because ignoring it would break a promise. */
#define NEED(text) .kind = ROW_NEED, .exit_code = EXIT_BAD_USAGE, .error = text

static const struct row rows[] = {
        {'p', "port", "NUM", "TCP port (default 11211; 0 none, -1 any free one)", CALL(take_port)},
        {'U', "udp-port", "NUM", "UDP port (default 0: none; -1 any free one). Without -p TCP\n"
                                 "takes the same number",
         NUMBER(udp_port, -1, 65535, EXIT_BAD_USAGE, "ERROR: Invalid UDP port number %s.")},
        {'s', "unix-socket", "FILE", "listen on this Unix socket, and on no TCP port", TEXT(socket_path)},
        {'a', "unix-mask", "MASK", "permissions of the Unix socket, octal (default 0700)", CALL(take_mask)},
        {'A', "enable-shutdown", NULL, "allow the \"shutdown\" command", ON(shutdown_command)},
        {'l', "listen", "ADDR", "address to listen on (default: all); ADDR or ADDR:PORT,\n"
                                "several with commas or several -l", CALL(settings_listen)},
        {'d', "daemon", NULL, "run in the background", ON(daemonize)},
        {'r', "enable-coredumps", NULL, "raise the limit for core files", ON(core_dumps)},
        {'u', "user", "NAME", "run as this user (only when started as root)", TEXT(user)},
        {'m', "memory-limit", "MB", "memory for items (default 64)", CALL(take_memory)},
        {'M', "disable-evictions", NULL, "answer with an error instead of evicting items", OFF(evict)},
        {'c', "conn-limit", "NUM", "most client connections at a time (default 1024)",
         NUMBER(conns_max, 1, 10000000, EXIT_BAD_VALUE, "Maximum connections must be greater than 0")},
        {'k', "lock-memory", NULL, "keep all memory in RAM", ON(lock_memory)},
        {'v', "verbose", NULL, "log more (-vv: commands and replies, -vvv: all)", CALL(take_verbose)},
        {'h', "help", NULL, "print this text and exit", SHOW},
        {'i', "license", NULL, "print the licence and exit", SHOW},
        {'V', "version", NULL, "print the version and exit", SHOW},
        {'P', "pidfile", "FILE", "write the process id here", TEXT(pid_file)},
        {'f', "slab-growth-factor", "NUM", "ratio of chunk sizes (default: fine-grained classes)",
         CALL(take_factor)},
        {'n', "slab-min-size", "BYTES", "smallest room for key, value and flags",
         CALL(take_chunk)},
        {'t', "threads", "NUM", "accepted; this server uses one thread", CALL(take_threads)},
        {'R', "max-reqs-per-event", "NUM", "requests of a client before others get their turn (20)",
         NUMBER(requests_per_event, 1, INT_MAX, EXIT_BAD_VALUE,
                "Number of requests per event must be greater than 0")},
        {'C', "disable-cas", NULL, "show no CAS uniques", OFF(cas)},
        {'b', "listen-backlog", "NUM", "queue of new connections (default 1024)",
         NUMBER(listen_backlog, 0, INT_MAX, EXIT_BAD_VALUE, "Invalid listen backlog %s")},
        {'B', "protocol", "NAME", "auto, ascii or binary (default auto: by a client's\n"
                                 "first byte)", CALL(take_protocol)},
        {'S', "enable-sasl", NULL, "clients must log in with SASL (binary protocol only)", CALL(take_sasl)},
        {'Y', "auth-file", "FILE", "clients must log in as one of this file's user:password\n"
                                   "(text protocol only); read again at SIGHUP", CALL(take_auth_file)},
        {'I', "max-item-size", "SIZE", "largest item, in bytes or with k or m (default 1m)",
         CALL(take_item_size)},
        {'F', "disable-flush-all", NULL, "refuse the \"flush_all\" command", OFF(flush_enabled)},
        {OPT_DISABLE_DUMPING, "disable-dumping", NULL, "refuse commands that list keys",
         OFF(dump_enabled)},
        {'W', "disable-watch", NULL, "refuse the \"watch\" command", OFF(watch_enabled)},
        {'D', NULL, "CHAR", "count keys by what stands before this (default \":\", off)",
         CALL(take_delimiter)},
        {'x', "replication-peer", "HOST", "replicate with the daemon on this host", CALL(take_peer)},
        {'X', "replication-port", "PORT", "port of the link, here and at the peer (default 11212)",
         CALL(take_peer_port)},
        {'q', "replication-queue", "NUM", "accepted for repcached's sake; see repl_buffer",
         NUMBER(repl_queue, 1, INT_MAX, EXIT_BAD_VALUE, "Queue length must be greater than 0")},
        {'o', "extended", "LIST", "name or name=value, several with commas:", CALL(settings_suboptions)},
        {'L', "enable-largepages", NULL, NULL,
         NOTICE("-L: large pages are left to the kernel (transparent huge pages)")},
        {'e', "memory-file", "FILE", NULL, NEED("-e: this server cannot keep items across a restart")},
        {'Z', "enable-ssl", NULL, NULL, NEED("This server is not built with TLS support.")},
        {'N', "napi-ids", "NUM", NULL, NEED("-N: this server uses one thread, NAPI ids choose none")},
};

static bool take_text(struct settings_parse *p, const struct row *row, const char *arg)
{
	if (settings_text((char *)p->s + row->offset, row->size, arg))
		return true;
	return settings_fail(p, EXIT_BAD_VALUE, "--%s: the value is longer than %zu bytes", row->name,
	                     row->size - 1);
}

static bool take_number(struct settings_parse *p, const struct row *row, const char *arg)
{
	int64_t n;

	assert(row->size == sizeof(int));
	if (settings_number(arg, row->min, row->max, &n)) {
		*(int *)((char *)p->s + row->offset) = (int)n;
		return true;
	}
	const char *hole = strstr(row->error, "%s");
	if (!hole)
		return settings_fail(p, row->exit_code, "%s", row->error);
	return settings_fail(p, row->exit_code, "%.*s%s%s", (int)(hole - row->error), row->error, arg, hole + 2);
}

static bool apply_row(struct settings_parse *p, const struct row *row, const char *arg)
{
	assert(!row->arg == !arg);
	while (arg && *arg == ' ')
		arg++;
	switch (row->kind) {
	case ROW_ON:
	case ROW_OFF:
		*(bool *)((char *)p->s + row->offset) = row->kind == ROW_ON;
		return true;
	case ROW_NUMBER:
		return take_number(p, row, arg);
	case ROW_TEXT:
		return take_text(p, row, arg);
	case ROW_NEED:
		return settings_fail(p, row->exit_code, "%s", row->error);
	case ROW_NOTICE:
		settings_notice(p, "%s", row->error);
		return true;
	case ROW_SHOW:
		p->r->status = SETTINGS_EXIT;
		p->r->show = (char)row->id;
		return true;
	case ROW_CALL:
		return row->call(p, arg);
	}
	return false;
}

static const struct row *find_row(int id)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].id == id)
			return &rows[i];
	return NULL;
}

/* --- parsing ------------------------------------------------------------------------- */

#define LETTERS_BYTES_MAX (2 * ARRAY_LEN(rows) + 2)

/* What getopt wants to know, made from the rows. */
static void make_getopt_tables(char *letters, struct option *longs)
{
	size_t n = 0;

	*letters++ = ':'; /* tell a missing argument from an unknown option */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].id < LONG_ONLY) {
			*letters++ = (char)rows[i].id;
			if (rows[i].arg)
				*letters++ = ':';
		}
		if (rows[i].name)
			longs[n++] = (struct option){rows[i].name, rows[i].arg ? required_argument : no_argument,
			                             NULL, rows[i].id};
	}
	*letters = '\0';
	longs[n] = (struct option){0};
}

static bool bad_option(struct settings_parse *p, int id, int problem, const char *word)
{
	if (problem == ':' && id == 'X')
		return settings_fail(p, EXIT_BAD_USAGE, "-X takes the replication port, and none follows (to "
		                     "refuse dumps of keys say --disable-dumping)");
	if (problem == ':')
		return settings_fail(p, EXIT_BAD_VALUE, "Illegal argument \"%s\": a value must follow", word);
	if (id > 0 && id < LONG_ONLY && !find_row(id))
		return settings_fail(p, EXIT_BAD_VALUE, "Illegal argument \"-%c\": see --help", id);
	return settings_fail(p, EXIT_BAD_VALUE, "Illegal argument \"%s\": see --help", word);
}

static bool parse_words(struct settings_parse *p, int argc, char **argv)
{
	char letters[LETTERS_BYTES_MAX];
	struct option longs[ARRAY_LEN(rows) + 1];
	int id;

	make_getopt_tables(letters, longs);
	opterr = 0;
	optind = 0; /* start over, whatever an earlier run left */
	while ((id = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct row *row = id == '?' || id == ':' ? NULL : find_row(id);
		if (!row)
			return bad_option(p, optopt, id, argv[optind - 1]);
		if (!apply_row(p, row, row->arg ? optarg : NULL))
			return false;
		if (p->r->status == SETTINGS_EXIT)
			return true;
	}
	return true;
}

/* Each way to log in belongs to one protocol. */
static bool check_auth(struct settings_parse *p)
{
	struct settings *s = p->s;

	if (s->sasl && s->auth_file[0])
		return settings_fail(p, EXIT_BAD_USAGE, "-S and -Y exclude each other: one is for the binary, the "
		                     "other for the text protocol");
	if (s->sasl && p->protocol_given && s->protocol != PROTOCOL_BINARY)
		return settings_fail(p, EXIT_BAD_USAGE, "-S works with the binary protocol only: leave out -B");
	if (s->auth_file[0] && p->protocol_given && s->protocol != PROTOCOL_ASCII)
		return settings_fail(p, EXIT_BAD_USAGE, "-Y works with the text protocol only: leave out -B");
	if (s->sasl)
		s->protocol = PROTOCOL_BINARY;
	if (s->auth_file[0])
		s->protocol = PROTOCOL_ASCII;
	return true;
}

static bool check_udp(struct settings_parse *p)
{
	struct settings *s = p->s;

	if (!s->udp_port)
		return true;
	if (s->socket_path[0])
		return settings_fail(p, EXIT_BAD_USAGE, "-U and -s exclude each other: with -s this server has no "
		                     "network");
	if (s->sasl || s->auth_file[0])
		return settings_fail(p, EXIT_BAD_USAGE, "-U cannot be used with -S or -Y: by UDP nobody can log in");
	if (!p->tcp_port_given)
		s->tcp_port = s->udp_port;
	return true;
}

/* Rules about several options at once. */
static bool check_together(struct settings_parse *p)
{
	struct settings *s = p->s;

	if (s->item_bytes_max > s->memory_bytes_max / 2)
		return settings_fail(p, EXIT_BAD_USAGE,
		                     "Cannot set item size limit higher than 1/2 of memory max.");
	if (s->repl_peer[0] && s->repl_port == 0)
		return settings_fail(p, EXIT_BAD_USAGE,
		                     "-X 0 (any free port) cannot be used with -x: the peer's port is not known");
	if (s->repl_accept == REPL_ACCEPT_PEER && !s->repl_peer[0])
		return settings_fail(p, EXIT_BAD_USAGE, "repl_accept=peer needs -x: it accepts that host only");
	if (s->repl_compat && s->repl_secret_file[0])
		return settings_fail(p, EXIT_BAD_USAGE,
		                     "repl_compat=repcached and repl_secret_file exclude each other: a repcached "
		                     "proves nothing");
	if (s->repl_accept == REPL_ACCEPT_DEFAULT)
		s->repl_accept = s->repl_peer[0] && !s->repl_secret_file[0] ? REPL_ACCEPT_PEER : REPL_ACCEPT_ANY;
	if (s->repl_tombstones_bytes > s->memory_bytes_max / 2)
		return settings_fail(p, EXIT_BAD_USAGE, "repl_tombstones cannot be more than 1/2 of memory max.");
	return check_auth(p) && check_udp(p);
}

struct settings_result settings_parse(struct settings *s, int argc, char **argv)
{
	struct settings_result result = {.status = SETTINGS_RUN};
	struct settings_parse p = {.s = s, .r = &result};

	settings_init(s);
	if (parse_words(&p, argc, argv) && result.status == SETTINGS_RUN)
		(void)(check_together(&p) && settings_foreign_together(&p));
	return result;
}

void settings_init(struct settings *s)
{
	*s = (struct settings){
	        .tcp_port = 11211,
	        .udp_rate_bytes = UDP_RATE_DEFAULT,
	        .socket_mask = 0700,
	        .conns_max = 1024,
	        .listen_backlog = 1024,
	        .maxconns_fast = true,
	        .threads = 1,
	        .memory_bytes_max = 64 * MIB,
	        .item_bytes_max = MIB,
	        .evict = true,
	        .cas = true,
	        .flush_enabled = true,
	        .watch_enabled = true,
	        .watch_queue_bytes = 256 << 10,
	        .dump_enabled = true,
	        .slab_reassign = true,
	        .slab_automove = 1,
	        .lru_crawler = true,
	        .lru_crawler_sleep_us = 100,
	        .protocol = PROTOCOL_AUTO,
	        .requests_per_event = 20,
	        .stat_prefix_delimiter = ':',
	        .repl_port = REPL_PORT_DEFAULT,
	        .repl_queue = 8192,
	        .repl_buffer_bytes = 64 * MIB,
	        .repl_timeout_ms = 5000,
	        .repl_drain_ms = 5000,
	        .repl_max_skew_ms = INT64_C(86400000),
	};
}

/* --- texts ------------------------------------------------------------------------------ */

static void show_row(const struct row *row, void (*fn)(void *ctx, const char *line), void *ctx)
{
	char names[64], line[200];
	const char *help = row->help;

	snprintf(names, sizeof(names), "%c%c%s%s%s%s%s", row->id < LONG_ONLY ? '-' : ' ',
	         row->id < LONG_ONLY ? row->id : ' ', row->name && row->id < LONG_ONLY ? ", " : "",
	         row->name ? (row->id < LONG_ONLY ? "--" : "  --") : "", row->name ? row->name : "",
	         row->arg ? (row->name ? "=" : " ") : "", row->arg ? row->arg : "");
	if (strlen(names) > 27) { /* too long for the column: a line of its own */
		fn(ctx, names);
		names[0] = '\0';
	}
	while (help) {
		const char *end = strchr(help, '\n');
		int len = end ? (int)(end - help) : (int)strlen(help);
		snprintf(line, sizeof(line), "%-27s %.*s", names, len, help);
		fn(ctx, line);
		names[0] = '\0';
		help = end ? end + 1 : NULL;
	}
}

static void show_help(void (*fn)(void *ctx, const char *line), void *ctx)
{
	fn(ctx, PACKAGE_NAME " " PACKAGE_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].help)
			show_row(&rows[i], fn, ctx);
		if (rows[i].id == 'o')
			settings_suboptions_help(fn, ctx);
	}
}

static void show_license(void (*fn)(void *ctx, const char *line), void *ctx)
{
	static const char *const lines[] = {
	        PACKAGE_NAME " " PACKAGE_VERSION,
	        "",
	        "Copyright (c) 2026, the memcached pair authors. All rights reserved.",
	        "",
	        "Redistribution and use in source and binary forms, with or without",
	        "modification, are permitted under the terms of the 3-clause BSD licence,",
	        "which is in the file LICENSE of the source. This software is provided by the",
	        "copyright holders \"as is\", without any warranty.",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		fn(ctx, lines[i]);
}

void settings_show(char show, void (*fn)(void *ctx, const char *line), void *ctx)
{
	assert(show == 'h' || show == 'V' || show == 'i');
	if (show == 'h')
		show_help(fn, ctx);
	else if (show == 'i')
		show_license(fn, ctx);
	else
		fn(ctx, PACKAGE_NAME " " PACKAGE_VERSION);
}
