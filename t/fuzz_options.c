/*
 * fuzz_options.c - any command line.
 *
 * Owns: LLVMFuzzerTestOneInput(). The input is the arguments, each ended by a
 * zero or a line feed.
 *
 * What must hold: the result is one of the three there are; a failure has one
 * line of text and a code for it; success leaves settings that a server can run
 * with: numbers within their ranges, strings that end.
 *
 * Corpus: t/corpus/options.
 */
#include "fuzz_nodes.h"

#include <getopt.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARGS_MAX 40
#define INPUT_MAX 4000

static void check_line(const char *text, size_t size, bool one)
{
	CHECK(memchr(text, '\0', size), "a text without end");
	for (const char *p = text; *p; p++)
		CHECK((unsigned char)*p != '\r' && (!one || *p != '\n'), "more than one line: %s", text);
}

static void check_run(const struct settings *s)
{
	CHECK(s->tcp_port >= -1 && s->tcp_port <= 65535, "port %d", s->tcp_port);
	CHECK(s->repl_port >= 0 && s->repl_port <= 65535, "link port %d", s->repl_port);
	CHECK(s->listen_count >= 0 && s->listen_count <= LISTEN_ADDRS_MAX, "%d addresses", s->listen_count);
	for (int i = 0; i < s->listen_count; i++) {
		CHECK(memchr(s->listen[i].host, '\0', sizeof(s->listen[i].host)), "a host without end");
		CHECK(s->listen[i].port >= -1 && s->listen[i].port <= 65535, "port %d", s->listen[i].port);
	}
	CHECK(s->item_bytes_max >= 1024 && s->item_bytes_max <= (size_t)1 << 30, "-I %zu", s->item_bytes_max);
	CHECK(s->memory_bytes_max / 2 >= s->item_bytes_max, "-m %zu", s->memory_bytes_max);
	CHECK(s->conns_max > 0 && s->requests_per_event > 0 && s->listen_backlog >= 0, "a zero");
	CHECK(s->growth_factor == 0 || s->growth_factor > 1, "-f %f", s->growth_factor);
	CHECK(s->idle_timeout_s >= 0 && s->repl_timeout_ms > 0 && s->repl_drain_ms >= 0, "a time");
	CHECK(memchr(s->repl_peer, '\0', sizeof(s->repl_peer)), "a host without end");
	CHECK(memchr(s->repl_secret_file, '\0', sizeof(s->repl_secret_file)), "a path without end");
	CHECK(s->replicated || !s->repl_peer[0], "a peer without replication");
	CHECK(s->repl_accept != REPL_ACCEPT_DEFAULT, "repl_accept");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[INPUT_MAX + 1];
	char name[] = "memcached";
	char *argv[ARGS_MAX + 2] = {name};
	static struct settings s;
	size_t len = size < INPUT_MAX ? size : INPUT_MAX;
	int argc = 1;

	memcpy(text, data, len);
	text[len] = '\0';
	for (size_t i = 0, start = 0; i <= len && argc < ARGS_MAX; i++) {
		if (i < len && text[i] != '\0' && text[i] != '\n')
			continue;
		text[i] = '\0';
		argv[argc++] = text + start;
		start = i + 1;
	}
	settings_init(&s);
	struct settings_result r = settings_parse(&s, argc, argv);
	check_line(r.error, sizeof(r.error), true);
	check_line(r.notice, sizeof(r.notice), false);
	switch (r.status) {
	case SETTINGS_RUN:
		check_run(&s);
		break;
	case SETTINGS_EXIT:
		CHECK(r.exit_code == 0, "%d", r.exit_code);
		break;
	case SETTINGS_FAIL:
		CHECK(r.exit_code > 0 && r.error[0], "%d %s", r.exit_code, r.error);
		break;
	default:
		CHECK(false, "%d", (int)r.status);
	}
	return 0;
}
