/*
 * load_server.h - what the kernel says about the server process.
 *
 * Owns: processor time, time spent waiting for a processor, resident memory from /proc (Linux).
 *
 * Must not know: what the process is.
 */
#ifndef LOAD_SERVER_H
#define LOAD_SERVER_H

#include "compat.h"

#include <sys/types.h>

/* Of all threads that are alive, in seconds; both -1 when not known. */
struct server_times {
	double cpu_s;  /* ran */
	double wait_s; /* could have run, but the processor was taken */
};
struct server_times server_times(pid_t pid);
/* Resident memory in bytes; 0 when not known. */
uint64_t server_rss_bytes(pid_t pid);
/* The same for this process. */
double own_cpu_s(void);

#endif
