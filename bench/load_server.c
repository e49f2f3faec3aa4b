/* load_server.c - what the kernel says about the server process. */
#include "compat.h"
#include "load_server.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#define PATH_BYTES 320

/* "<ns running> <ns waiting> <times>" */
static bool add_thread(struct server_times *sum, const char *path)
{
	double run_ns = 0, wait_ns = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		return false;
	bool ok = fscanf(f, "%lf %lf", &run_ns, &wait_ns) == 2;
	fclose(f);
	sum->cpu_s += run_ns / 1e9;
	sum->wait_s += wait_ns / 1e9;
	return ok;
}

struct server_times server_times(pid_t pid)
{
	struct server_times sum = {0}, unknown = {-1, -1};
	char path[PATH_BYTES];
	struct dirent *entry;
	bool some = false;

	snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
	DIR *dir = pid > 0 ? opendir(path) : NULL;
	if (!dir)
		return unknown;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", (long)pid,
		         entry->d_name);
		some |= add_thread(&sum, path);
	}
	closedir(dir);
	return some ? sum : unknown;
}

uint64_t server_rss_bytes(pid_t pid)
{
	char path[PATH_BYTES];
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
