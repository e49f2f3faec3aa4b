/*
 * daemon.c - background, identity, limits, pid file. See daemon.h.
 *
 * Owns: fork and the pipe to the waiting parent, resource limits, setuid, the
 * pid file (written beside and renamed, so that no reader finds half of it).
 *
 * Must not know: sockets, libevent, the node.
 *
 * Order: fork first (locked memory is not inherited), then limits and locking
 * (they need root), then the user; everything after that runs as that user.
 *
 * Covered by: t/options.t.
 */
#include "compat.h"
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_USAGE_CODE 64
#define EXIT_NO_USER 67
#define EXIT_OS_ERROR 71
/* Descriptors besides those of clients: listeners, the link, libevent's. */
#define DESCRIPTORS_SPARE 320

/* --- background -------------------------------------------------------------------- */

void daemon_absolute_path(char *out, size_t size, const char *path)
{
	char directory[SETTINGS_PATH_MAX];
	int len = -1;

	if (*path == '/' || !*path)
		len = snprintf(out, size, "%s", path);
	else if (getcwd(directory, sizeof(directory)))
		len = snprintf(out, size, "%s/%s", directory, path);
	if (len < 0 || (size_t)len >= size)
		*out = '\0';
}

void daemon_init(struct daemon *d, const struct settings *settings)
{
	*d = (struct daemon){.settings = settings, .parent_fd = -1};
	daemon_absolute_path(d->pid_path, sizeof(d->pid_path), settings->pid_file);
}

/* The parent: until the child is ready (one byte) or gone (none). */
static int wait_for_child(pid_t child, int fd)
{
	char byte;
	ssize_t got;
	int status;

	do
		got = read(fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		return EXIT_SUCCESS;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_OS_ERROR;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_OS_ERROR;
}

enum daemon_side daemon_detach(struct daemon *d, int *exit_code)
{
	int fds[2];

	*exit_code = EXIT_OS_ERROR;
	if (!d->settings->daemonize)
		return DAEMON_CONTINUE;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return DAEMON_FAILED;
	pid_t child = fork();
	if (child < 0)
		return DAEMON_FAILED;
	if (child > 0) {
		close(fds[1]);
		*exit_code = wait_for_child(child, fds[0]);
		return DAEMON_PARENT;
	}
	close(fds[0]);
	d->parent_fd = fds[1];
	return setsid() < 0 ? DAEMON_FAILED : DAEMON_CONTINUE;
}

void daemon_started(struct daemon *d)
{
	int fd;

	if (d->parent_fd < 0)
		return;
	if (!d->settings->core_dumps && chdir("/") < 0)
		perror("chdir /");
	if (!d->settings->verbosity && (fd = open("/dev/null", O_RDWR)) >= 0) {
		dup2(fd, STDIN_FILENO);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		if (fd > STDERR_FILENO)
			close(fd);
	}
	ssize_t sent = write(d->parent_fd, "", 1); /* if the parent is gone, nobody waits */
	(void)sent;
	close(d->parent_fd);
	d->parent_fd = -1;
}

/* --- limits and identity ------------------------------------------------------------- */

static int raise_core_limit(char error[DAEMON_ERROR_BYTES])
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};

	if (setrlimit(RLIMIT_CORE, &limit) < 0 && getrlimit(RLIMIT_CORE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_CORE, &limit);
	}
	if (getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_cur > 0)
		return 0;
	snprintf(error, DAEMON_ERROR_BYTES, "failed to ensure core file creation");
	return EXIT_OS_ERROR;
}

/* Room for the clients is required; for the rest it is only wished, because when
 * descriptors run out, accepting pauses and nothing else happens. */
static int raise_descriptor_limit(int conns_max, char error[DAEMON_ERROR_BYTES])
{
	rlim_t wish = (rlim_t)conns_max + DESCRIPTORS_SPARE;
	struct rlimit limit, raised;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wish)
		return 0;
	raised = (struct rlimit){wish, limit.rlim_max > wish ? limit.rlim_max : wish};
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0) /* above the maximum: root may */
		return 0;
	raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
	if (limit.rlim_max >= (rlim_t)conns_max && setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return 0;
	snprintf(error, DAEMON_ERROR_BYTES,
	         "failed to set the limit of open files to %d: start as root or lower -c", conns_max);
	return EXIT_OS_ERROR;
}

/* On fault: the reserved but unused part of the item memory is not filled. */
static void lock_memory(void)
{
	struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
	int flags = MCL_CURRENT | MCL_FUTURE;

#ifdef MCL_ONFAULT
	flags |= MCL_ONFAULT;
#endif
	(void)setrlimit(RLIMIT_MEMLOCK, &limit);
	if (mlockall(flags) < 0)
		fprintf(stderr, "warning: -k: memory is not locked: %s\n", strerror(errno));
}

static int become_user(const char *user, char error[DAEMON_ERROR_BYTES])
{
	struct passwd *pw = getpwnam(user);

	if (!pw) {
		snprintf(error, DAEMON_ERROR_BYTES, "can't find the user %s to switch to", user);
		return EXIT_NO_USER;
	}
	if (initgroups(user, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0) {
		snprintf(error, DAEMON_ERROR_BYTES, "failed to assume identity of user %s: %s", user,
		         strerror(errno));
		return EXIT_OS_ERROR;
	}
	return 0;
}

int daemon_prepare(struct daemon *d, char error[DAEMON_ERROR_BYTES])
{
	const struct settings *s = d->settings;
	bool root = geteuid() == 0;
	int code = 0;

	if (root && !s->user[0]) {
		snprintf(error, DAEMON_ERROR_BYTES, "must add '-u root' to start as root");
		return EXIT_USAGE_CODE;
	}
	if (s->core_dumps)
		code = raise_core_limit(error);
	if (!code)
		code = raise_descriptor_limit(s->conns_max, error);
	if (!code && s->lock_memory)
		lock_memory();
	if (!code && root)
		code = become_user(s->user, error);
	if (!code && s->core_dumps)
		(void)prctl(PR_SET_DUMPABLE, 1); /* setuid has forbidden it */
	return code;
}

/* --- the pid file ----------------------------------------------------------------------- */

static void warn_of_running(const char *path)
{
	FILE *file = fopen(path, "r");
	long pid = 0;

	if (!file)
		return;
	if (fscanf(file, "%ld", &pid) == 1 && pid > 0 && pid != getpid() &&
	    (kill((pid_t)pid, 0) == 0 || errno == EPERM))
		fprintf(stderr, "WARNING: The pid file contained the following (running) pid: %ld\n", pid);
	fclose(file);
}

void daemon_write_pid(struct daemon *d)
{
	char temporary[SETTINGS_PATH_MAX + 8];

	if (!d->pid_path[0])
		return;
	warn_of_running(d->pid_path);
	snprintf(temporary, sizeof(temporary), "%s.tmp", d->pid_path);
	FILE *file = fopen(temporary, "w");
	bool good = file && fprintf(file, "%ld\n", (long)getpid()) > 0;
	if (file && fclose(file) != 0)
		good = false;
	if (!good || rename(temporary, d->pid_path) != 0) {
		fprintf(stderr, "Could not write the pid file %s: %s\n", d->pid_path, strerror(errno));
		return;
	}
	d->pid_written = true;
}

void daemon_remove_pid(struct daemon *d)
{
	if (d->pid_written && unlink(d->pid_path) != 0)
		fprintf(stderr, "Could not remove the pid file %s: %s\n", d->pid_path, strerror(errno));
	d->pid_written = false;
}
