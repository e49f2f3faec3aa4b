/*
 * daemon_auth.c - the file of those who may log in (-Y).
 *
 * Owns: reading it, at start and again at SIGHUP. A file that has become bad
 * changes nothing; whoever is logged in stays so.
 *
 * Must not know: what a line means (auth.h), who logs in.
 *
 * Covered by: t/auth.t.
 */
#include "compat.h"
#include "daemon.h"
#include "hmac.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static ssize_t read_file(const char *path, uint8_t *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return -1;
	ssize_t got = daemon_read_all(fd, out, size);
	int saved = errno;
	close(fd);
	errno = saved;
	return got;
}

bool daemon_read_logins(const char *path, struct auth_table *out, char error[DAEMON_ERROR_BYTES])
{
	uint8_t text[AUTH_TEXT_BYTES_MAX + 1];
	const char *wrong = NULL;
	size_t line = 0;
	ssize_t got = read_file(path, text, sizeof(text));
	bool good = false;

	if (got < 0)
		wrong = strerror(errno);
	else if ((size_t)got > AUTH_TEXT_BYTES_MAX)
		wrong = "it is longer than 8 lines of 255 characters";
	else
		good = auth_table_parse(out, text, (size_t)got, &wrong, &line);
	hmac_wipe(text, sizeof(text));
	if (good)
		return true;
	if (line > 0)
		snprintf(error, DAEMON_ERROR_BYTES, "-Y %.120s: line %zu: %s", path, line, wrong);
	else
		snprintf(error, DAEMON_ERROR_BYTES, "-Y %.120s: %s", path, wrong);
	return false;
}
