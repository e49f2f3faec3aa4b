/*
 * items_report.h - where memory is, and what housekeeping was at.
 *
 * Owns: numbers for an operator who asks what the storage costs: `stats memory` and
 * `stats latency`. Everything here is counted as things happen or summed over size
 * classes; nothing walks over items.
 *
 * Must not know: how it is printed.
 *
 * Layer 1. Covered by: t/test_items_resize.c, t/test_command_admin.c, t/admin.t.
 */
#ifndef ITEMS_REPORT_H
#define ITEMS_REPORT_H

#include "compat.h"
#include "items.h"

/* Bytes that are resident. The first four add up to the pages of item memory. */
struct items_memory {
	uint64_t data;        /* keys, values, client flags */
	uint64_t headers;     /* of items */
	uint64_t chunk_waste; /* rest of chunks in use: rounding, links of large items */
	uint64_t free;        /* touched, but no chunk in use: free chunks and pages, ends of pages */
	uint64_t index, ghosts;
	uint64_t page_tables;
	uint64_t tombstones;
};
void items_memory(const struct items *it, struct items_memory *out);

/* What the last items_tick() did most. */
enum items_work {
	ITEMS_WORK_NONE,
	ITEMS_WORK_FREE,  /* chunks of large items that were removed */
	ITEMS_WORK_TOMBS, /* tombstones that the peer has seen */
	ITEMS_WORK_MOVE,  /* pages, to another class or to the system */
	ITEMS_WORK_SWEEP  /* expired and flushed items */
};
enum items_work items_last_work(const struct items *it);

#endif
