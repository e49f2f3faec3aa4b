/*
 * daemon.h - what a process does to become a server: background, identity,
 * limits, pid file; the files of the shared secret (daemon_secret.c) and of those
 * who may log in (daemon_auth.c).
 *
 * Must not know: sockets, libevent, the node.
 *
 * Layer 6. Covered by: t/options.t, t/security.t, t/auth.t.
 */
#ifndef DAEMON_H
#define DAEMON_H

#include "compat.h"
#include "auth.h"
#include "settings.h"

#define DAEMON_ERROR_BYTES 256

struct daemon {
	const struct settings *settings;
	int parent_fd; /* the parent waits at the other end; -1 none */
	char pid_path[SETTINGS_PATH_MAX]; /* absolute; "" none */
	bool pid_written;
};

enum daemon_side {
	DAEMON_CONTINUE, /* this process is to serve */
	DAEMON_PARENT,   /* this one is to exit with *exit_code */
	DAEMON_FAILED
};

/* Read repl_secret_file, if there is one, into repl_link_key: 0, or an exit code
 * and error. First of all, as whoever started the process. */
int daemon_read_secret(struct settings *s, char error[DAEMON_ERROR_BYTES]);

/* Read the file of -Y; false: error. */
bool daemon_read_logins(const char *path, struct auth_table *out, char error[DAEMON_ERROR_BYTES]);

/* The same path, from the root: it stays right after chdir. "" when it is empty
 * or too long. */
void daemon_absolute_path(char *out, size_t size, const char *path);
void daemon_init(struct daemon *d, const struct settings *settings);
/* With -d: fork. The parent waits here until the child called daemon_started()
 * or ended, so that whatever goes wrong at start is seen in its exit code. */
enum daemon_side daemon_detach(struct daemon *d, int *exit_code);
/* Limits, locked memory, user: 0, or an exit code and error. */
int daemon_prepare(struct daemon *d, char error[DAEMON_ERROR_BYTES]);
/* Let the parent go and let go of the terminal. */
void daemon_started(struct daemon *d);
/* Both print a warning when they cannot. */
void daemon_write_pid(struct daemon *d);
void daemon_remove_pid(struct daemon *d);

/* Read what there is, at most size bytes; -1 with errno. */
ssize_t daemon_read_all(int fd, uint8_t *out, size_t size);

#endif
