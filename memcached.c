/*
 * memcached.c - main(): from a command line to a running node, and out again.
 *
 * Owns: the order of things at start and end, standard output and error, the
 * exit code.
 *
 * Must not know: how any of it is done.
 *
 * Covered by: t/options.t.
 */
#include "compat.h"
#include "daemon.h"
#include "hmac.h"
#include "net.h"
#include "node.h"
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#ifdef HAVE_SYS_RANDOM_H
#include <sys/random.h>
#endif

#define EXIT_OS_ERROR 71

static void print_line(void *ctx, const char *line)
{
	fprintf(ctx, "%s\n", line);
}

static void on_serving(void *ctx)
{
	daemon_write_pid(ctx);
}

static void on_started(void *ctx)
{
	daemon_started(ctx);
}

static bool read_entropy(uint8_t entropy[NODE_ENTROPY_BYTES])
{
#ifdef HAVE_GETRANDOM
	if (getrandom(entropy, NODE_ENTROPY_BYTES, 0) == NODE_ENTROPY_BYTES)
		return true;
#endif
	FILE *file = fopen("/dev/urandom", "r");
	bool good = file && fread(entropy, 1, NODE_ENTROPY_BYTES, file) == NODE_ENTROPY_BYTES;
	if (file)
		fclose(file);
	return good;
}

/* One node and its shell, from here to its end. */
static int serve(const struct settings *settings, struct daemon *daemon)
{
	struct log log = {print_line, stderr, settings->verbosity};
	struct net_hooks hooks = {on_serving, on_started, daemon};
	uint8_t entropy[NODE_ENTROPY_BYTES];
	char net_error[NET_ERROR_BYTES];
	const char *node_error;
	int exit_code = EXIT_OS_ERROR;

	if (!read_entropy(entropy)) {
		fprintf(stderr, "the system has no random numbers\n");
		return exit_code;
	}
	struct net *net = net_new(settings, &log, net_error);
	if (!net) {
		fprintf(stderr, "%s\n", net_error);
		return exit_code;
	}
	struct node *node = node_new(settings, net_env(net), &log, net_now(net), entropy, &node_error);
	hmac_wipe(entropy, sizeof(entropy));
	if (node)
		exit_code = net_run(net, node, &hooks);
	else
		fprintf(stderr, "%s\n", node_error);
	net_free(net);
	node_free(node);
	daemon_remove_pid(daemon);
	return exit_code;
}

static int start(struct settings *settings)
{
	struct daemon daemon;
	char error[DAEMON_ERROR_BYTES];
	int exit_code;

	exit_code = daemon_read_secret(settings, error);
	if (exit_code) {
		fprintf(stderr, "%s\n", error);
		return exit_code;
	}
	daemon_init(&daemon, settings);
	switch (daemon_detach(&daemon, &exit_code)) {
	case DAEMON_PARENT:
		return exit_code;
	case DAEMON_FAILED:
		fprintf(stderr, "failed to go into the background: %s\n", strerror(errno));
		return exit_code;
	case DAEMON_CONTINUE:
		break;
	}
	exit_code = daemon_prepare(&daemon, error);
	if (exit_code) {
		fprintf(stderr, "%s\n", error);
		return exit_code;
	}
	return serve(settings, &daemon);
}

int main(int argc, char **argv)
{
	struct settings settings;
	struct settings_result result = settings_parse(&settings, argc, argv);

	if (result.notice[0])
		fprintf(stderr, "%s\n", result.notice);
	switch (result.status) {
	case SETTINGS_EXIT:
		settings_show(result.show, print_line, stdout);
		return EXIT_SUCCESS;
	case SETTINGS_FAIL:
		fprintf(stderr, "%s\n", result.error);
		return result.exit_code;
	case SETTINGS_RUN:
		break;
	}
	return start(&settings);
}
