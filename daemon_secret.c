/*
 * daemon_secret.c - the file of the link's shared secret.
 *
 * Owns: what makes a file fit to hold a secret, and reading it: before the
 * process changes its user and its directory. What is kept is the key made of
 * it; its own bytes are wiped.
 *
 * Must not know: what the secret is good for.
 *
 * Covered by: t/security.t.
 */
#include "compat.h"
#include "daemon.h"
#include "repl_auth.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_BYTES_MIN 16
#define SECRET_BYTES_MAX 1024
#define LINE_END_BYTES 2
#define EXIT_BAD_SECRET 64

/* root, this user, or the one that this process is about to become. */
static bool owner_is_trusted(uid_t owner, const char *user)
{
	const struct passwd *pw;

	if (owner == 0 || owner == geteuid())
		return true;
	return geteuid() == 0 && *user && (pw = getpwnam(user)) && pw->pw_uid == owner;
}

/* NULL, or what is wrong with it. */
static const char *check_file(int fd, const char *user)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "it is not a regular file";
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return "others than its owner have access to it (chmod 600)";
	if (!owner_is_trusted(st.st_uid, user))
		return "it belongs to another user";
	return NULL;
}

ssize_t daemon_read_all(int fd, uint8_t *out, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t got = read(fd, out + len, size - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	return (ssize_t)len;
}

/* Without the end of the line that an editor puts there. */
static size_t secret_len(const uint8_t *bytes, size_t len)
{
	if (len > 0 && bytes[len - 1] == '\n')
		len--;
	if (len > 0 && bytes[len - 1] == '\r')
		len--;
	return len;
}

static const char *make_key(int fd, uint8_t link_key[HMAC_BYTES])
{
	uint8_t bytes[SECRET_BYTES_MAX + LINE_END_BYTES + 1];
	const char *wrong = NULL;
	ssize_t got = daemon_read_all(fd, bytes, sizeof(bytes));
	size_t len = got > 0 ? secret_len(bytes, (size_t)got) : 0;

	if (got < 0)
		wrong = strerror(errno);
	else if (len < SECRET_BYTES_MIN || len > SECRET_BYTES_MAX)
		wrong = "it must hold 16 to 1024 bytes";
	else if (!repl_auth_link_key(bytes, len, link_key))
		wrong = "out of memory";
	hmac_wipe(bytes, sizeof(bytes));
	return wrong;
}

int daemon_read_secret(struct settings *s, char error[DAEMON_ERROR_BYTES])
{
	const char *path = s->repl_secret_file;

	if (!*path)
		return 0;
	/* Not to wait for a writer when it is a pipe. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	const char *wrong = fd < 0 ? strerror(errno) : check_file(fd, s->user);
	if (!wrong)
		wrong = make_key(fd, s->repl_link_key);
	if (fd >= 0)
		close(fd);
	if (!wrong) {
		s->repl_has_secret = true;
		return 0;
	}
	snprintf(error, DAEMON_ERROR_BYTES, "repl_secret_file %.120s: %s", path, wrong);
	return EXIT_BAD_SECRET;
}
