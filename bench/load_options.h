/*
 * load_options.h - the command line of the load generator.
 *
 * Owns: one table of options, from which the parser and --help are made.
 *
 * Must not know: what the options lead to.
 */
#ifndef LOAD_OPTIONS_H
#define LOAD_OPTIONS_H

#include "compat.h"

struct options {
	const char *host, *port, *socket_path;
	const char *udp_port; /* NULL: measure by TCP, too */
	const char *protocol;
	const char *key_size, *value_size, *mix, *expiry, *prefix;
	const char *compare; /* port of, or host:port of, a second server */
	const char *label;
	double conns, depth, width;
	double keys, zipf, seed;
	double expiry_divisor;
	double duration_s, warmup_s, ops, rate, udp_timeout_s;
	double server_pid;
	bool flags_derived, size_varies;
	bool spin, poisson, preload, fill, fill_misses, must_hit;
	bool unchecked, unordered, quiet;
};

/* Defaults, then the command line; exits with a message on --help or errors. */
void options_parse(struct options *o, int argc, char **argv);

#endif
