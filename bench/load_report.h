/*
 * load_report.h - results for people and for programs.
 *
 * Owns: the table, and the one line of key=value pairs that begins with
 * "result".
 *
 * Must not know: how the numbers came about.
 */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "compat.h"
#include "load_run.h"

void report_run(const char *label, const struct run_result *r, pid_t server_pid, bool quiet);
/* What --fill found: how many of `keys` are held, and their bytes. */
void report_fill(const char *label, const struct run_result *stores,
                 const struct run_result *reads, double mean_bytes, pid_t server_pid);

struct compare_counts {
	uint64_t keys;
	uint64_t both;         /* held by both, equal */
	uint64_t differ;       /* value or flags */
	uint64_t cas_differ;   /* equal but for the CAS unique */
	uint64_t only_first, only_second, neither;
};
void report_compare(const char *label, const struct compare_counts *c);

#endif
