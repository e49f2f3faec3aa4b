/* load_server.c - what the kernel says about the server process. */
#include "compat.h"
#include "load_server.h"

#include <sys/resource.h>
#include <unistd.h>

#define STAT_LINE_MAX 1024

/* The fields after the name, which may itself contain anything. */
static const char *read_stat(pid_t pid, char line[STAT_LINE_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	size_t n = fread(line, 1, STAT_LINE_MAX - 1, f);
	fclose(f);
	line[n] = '\0';
	char *name_end = strrchr(line, ')');
	return name_end ? name_end + 1 : NULL;
}

double server_cpu_s(pid_t pid)
{
	char line[STAT_LINE_MAX];
	unsigned long user = 0, system = 0;
	const char *fields = pid > 0 ? read_stat(pid, line) : NULL;

	/* state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt */
	if (!fields || sscanf(fields, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
	                      &user, &system) != 2)
		return -1;
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

uint64_t server_rss_bytes(pid_t pid)
{
	char path[64];
	unsigned long pages = 0;

	snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
	FILE *f = pid > 0 ? fopen(path, "r") : NULL;
	if (!f)
		return 0;
	if (fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

double own_cpu_s(void)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
	       (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}
