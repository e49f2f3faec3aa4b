/* load_options.c - the command line of the load generator. */
#include "compat.h"
#include "load_options.h"

enum option_type {
	TYPE_TEXT,
	TYPE_NUMBER,
	TYPE_SWITCH
};

static const struct option_row {
	const char *name;
	enum option_type type;
	size_t offset;
	const char *fallback;
	const char *help;
} rows[] = {
#define ROW(name, type, field, fallback, help) \
	{name, type, offsetof(struct options, field), fallback, help}
        ROW("host", TYPE_TEXT, host, "127.0.0.1", "server"),
        ROW("port", TYPE_TEXT, port, "11211", ""),
        ROW("socket", TYPE_TEXT, socket_path, NULL, "path of a Unix socket, instead"),
        ROW("udp", TYPE_TEXT, udp_port, NULL,
            "UDP port: what is measured goes there, what is stored before to --port"),
        ROW("udp-timeout", TYPE_NUMBER, udp_timeout_s, "1",
            "seconds; what is not answered until then counts as lost"),
        ROW("protocol", TYPE_TEXT, protocol, "text", "text, meta (memcached), resp (Redis)"),
        ROW("conns", TYPE_NUMBER, conns, "50", "connections"),
        ROW("depth", TYPE_NUMBER, depth, "1", "requests in flight on each"),
        ROW("width", TYPE_NUMBER, width, "1", "keys of one get"),
        ROW("keys", TYPE_NUMBER, keys, "100000", "how many different keys"),
        ROW("prefix", TYPE_TEXT, prefix, "key:", "of every key"),
        ROW("key-size", TYPE_TEXT, key_size, "14", "N, uniform:A-B, lognormal:MEDIAN,SIGMA"),
        ROW("value-size", TYPE_TEXT, value_size, "100", "the same"),
        ROW("size-varies", TYPE_SWITCH, size_varies, NULL, "each new value has a new size"),
        ROW("flags", TYPE_SWITCH, flags_derived, NULL, "client flags that are not 0"),
        ROW("zipf", TYPE_NUMBER, zipf, "0", "exponent of popularity; 0: all keys alike"),
        ROW("mix", TYPE_TEXT, mix, "get",
            "OP[:WEIGHT],... of get gets gat set add replace cas delete touch incr"),
        ROW("expiry", TYPE_TEXT, expiry, NULL, "SECONDS[:WEIGHT],... of what is stored"),
        ROW("expiry-divisor", TYPE_NUMBER, expiry_divisor, "1",
            "divide all of them by it; at least a second is left"),
        ROW("duration", TYPE_NUMBER, duration_s, "5", "seconds to measure"),
        ROW("warmup", TYPE_NUMBER, warmup_s, "0", "seconds before that, not counted"),
        ROW("ops", TYPE_NUMBER, ops, "0", "stop after so many requests; replaces --duration"),
        ROW("rate", TYPE_NUMBER, rate, "0", "open loop: requests a second"),
        ROW("poisson", TYPE_SWITCH, poisson, NULL, "open loop: random gaps"),
        ROW("spin", TYPE_SWITCH, spin, NULL, "never sleep while waiting"),
        ROW("preload", TYPE_SWITCH, preload, NULL, "store all keys first"),
        ROW("fill-misses", TYPE_SWITCH, fill_misses, NULL, "set what a get did not find"),
        ROW("must-hit", TYPE_SWITCH, must_hit, NULL, "a miss is an error"),
        ROW("fill", TYPE_SWITCH, fill, NULL, "only store all keys, then count those still held"),
        ROW("compare", TYPE_TEXT, compare, NULL, "[HOST:]PORT: only compare all keys with it"),
        ROW("unchecked", TYPE_SWITCH, unchecked, NULL, "do not look into values (echo server)"),
        ROW("unordered", TYPE_SWITCH, unordered, NULL, "older versions are fine (others write)"),
        ROW("server-pid", TYPE_NUMBER, server_pid, "0", "whose processor time is measured"),
        ROW("seed", TYPE_NUMBER, seed, "1", "of all random choices"),
        ROW("label", TYPE_TEXT, label, "", "copied to the result line"),
        ROW("quiet", TYPE_SWITCH, quiet, NULL, "print the result line only"),
#undef ROW
};

static void *field(struct options *o, const struct option_row *row)
{
	return (char *)o + row->offset;
}

static bool set_option(struct options *o, const struct option_row *row, const char *text)
{
	char *end = NULL;
	double number = 0;

	switch (row->type) {
	case TYPE_SWITCH:
		*(bool *)field(o, row) = true;
		return true;
	case TYPE_NUMBER:
		number = strtod(text, &end);
		*(double *)field(o, row) = number;
		return *text && !*end && number >= 0;
	case TYPE_TEXT:
		*(const char **)field(o, row) = text;
		return true;
	}
	return false;
}

static void help(const char *program)
{
	static const char *const what[] = {"TEXT", "N", ""};

	printf("usage: %s [options]\n"
	       "Loads a memcached (or Redis) server and checks every byte that comes back.\n"
	       "Exit status: 0, 1 when a reply was wrong or the server failed, 2 usage.\n\n",
	       program);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		printf("  --%-14s %-5s %s", rows[i].name, what[rows[i].type], rows[i].help);
		if (rows[i].fallback && *rows[i].fallback)
			printf("  [%s]", rows[i].fallback);
		printf("\n");
	}
}

static const struct option_row *find_row(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strlen(rows[i].name) == len && memcmp(rows[i].name, name, len) == 0)
			return &rows[i];
	return NULL;
}

static void usage_error(const char *argument)
{
	fprintf(stderr, "not understood: %s (see --help)\n", argument);
	exit(2);
}

void options_parse(struct options *o, int argc, char **argv)
{
	memset(o, 0, sizeof(*o));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].fallback)
			set_option(o, &rows[i], rows[i].fallback);
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		if (strcmp(arg, "--help") == 0) {
			help(argv[0]);
			exit(0);
		}
		size_t len = strcspn(arg, "=");
		const struct option_row *row =
		        strncmp(arg, "--", 2) == 0 ? find_row(arg + 2, len - 2) : NULL;
		if (!row || (row->type == TYPE_SWITCH && arg[len]))
			usage_error(arg);
		const char *value = arg[len] ? arg + len + 1 : NULL;
		if (row->type != TYPE_SWITCH && !value)
			value = ++i < argc ? argv[i] : NULL;
		if (row->type != TYPE_SWITCH && !value)
			usage_error(arg);
		if (!set_option(o, row, value))
			usage_error(arg);
	}
}
