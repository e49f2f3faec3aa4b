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
#include "daemon_sasl.h"
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

/* One process: what its parts are told of each other. */
struct server {
	const struct settings *settings;
	struct daemon *daemon;
	struct log log;
	struct node *node;
	struct daemon_sasl *sasl; /* NULL: no -S */
	struct auth_table logins; /* of -Y */
	char logins_path[SETTINGS_PATH_MAX]; /* absolute; "": no -Y */
};

static void on_serving(void *ctx)
{
	struct server *server = ctx;

	daemon_write_pid(server->daemon);
}

static void on_started(void *ctx)
{
	struct server *server = ctx;

	daemon_started(server->daemon);
}

/* A bad file leaves things as they are. */
static void on_reload(void *ctx)
{
	struct server *server = ctx;
	char error[DAEMON_ERROR_BYTES];

	if (daemon_read_logins(server->logins_path, &server->logins, error)) {
		node_set_logins(server->node, &server->logins);
		log_printf(&server->log, LOG_NOTICE, "-Y: %zu users were read", server->logins.count);
	} else {
		log_printf(&server->log, LOG_ERROR, "%s: the users stay as they were", error);
	}
	auth_table_wipe(&server->logins);
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

static struct node *make_node(struct server *server, struct net *net, const char **error)
{
	const struct settings *settings = server->settings;
	uint8_t entropy[NODE_ENTROPY_BYTES];

	*error = "the system has no random numbers";
	if (!read_entropy(entropy))
		return NULL;
	struct node *node = node_new(settings, net_env(net), &server->log, net_now(net), entropy, error);
	hmac_wipe(entropy, sizeof(entropy));
	if (node && settings->auth_file[0])
		node_set_logins(node, &server->logins);
	if (node && server->sasl)
		node_set_sasl(node, daemon_sasl_env(server->sasl));
	auth_table_wipe(&server->logins);
	return node;
}

/* One node and its shell, from here to its end. */
static int serve(struct server *server)
{
	struct net_hooks hooks = {
		.serving = on_serving,
		.reload = server->logins_path[0] ? on_reload : NULL,
		.started = on_started,
		.ctx = server,
	};
	char net_error[NET_ERROR_BYTES];
	const char *node_error;
	int exit_code = EXIT_OS_ERROR;

	struct net *net = net_new(server->settings, &server->log, net_error);
	if (!net) {
		fprintf(stderr, "%s\n", net_error);
		return exit_code;
	}
	server->node = make_node(server, net, &node_error);
	if (server->node)
		exit_code = net_run(net, server->node, &hooks);
	else
		fprintf(stderr, "%s\n", node_error);
	net_free(net);
	node_free(server->node);
	daemon_remove_pid(server->daemon);
	return exit_code;
}

static int serve_with_sasl(struct server *server)
{
	char error[DAEMON_ERROR_BYTES];

	if (server->settings->sasl && !(server->sasl = daemon_sasl_new(&server->log, error))) {
		fprintf(stderr, "%s\n", error);
		return EXIT_OS_ERROR;
	}
	int exit_code = serve(server);
	daemon_sasl_free(server->sasl);
	return exit_code;
}

/* What is secret is read first of all, as whoever started the process. */
static int read_secrets(struct settings *settings, struct server *server, char error[DAEMON_ERROR_BYTES])
{
	int exit_code = daemon_read_secret(settings, error);

	if (exit_code || !settings->auth_file[0])
		return exit_code;
	daemon_absolute_path(server->logins_path, sizeof(server->logins_path), settings->auth_file);
	return daemon_read_logins(server->logins_path, &server->logins, error) ? 0 : EXIT_FAILURE;
}

static int start(struct settings *settings)
{
	struct daemon daemon;
	struct server server = {
		.settings = settings,
		.daemon = &daemon,
		.log = {print_line, stderr, settings->verbosity},
	};
	char error[DAEMON_ERROR_BYTES];
	int exit_code;

	exit_code = read_secrets(settings, &server, error);
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
	return serve_with_sasl(&server);
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
	settings.debug_commands = DEBUG_COMMANDS;
	return start(&settings);
}
