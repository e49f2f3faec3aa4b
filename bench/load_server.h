/*
 * load_server.h - what the kernel says about the server process.
 *
 * Owns: processor time and resident memory from /proc (Linux).
 *
 * Must not know: what the process is.
 */
#ifndef LOAD_SERVER_H
#define LOAD_SERVER_H

#include "compat.h"

#include <sys/types.h>

/* Seconds of user and system time of all threads; -1 when not known. */
double server_cpu_s(pid_t pid);
/* Resident memory in bytes; 0 when not known. */
uint64_t server_rss_bytes(pid_t pid);
/* The same for this process. */
double own_cpu_s(void);

#endif
