/*
 * vmem.h - address space.
 *
 * Owns: reserving a range of addresses that costs nothing until it is written
 * to. All large tables (item memory, hash index, page tables) are such ranges:
 * they grow by being touched, so growth never copies and never moves anything.
 *
 * This is memory, not I/O: the calls to the system here are the same in kind
 * as those that malloc makes.
 *
 * Must not know: what lies in a range.
 *
 * Layer 0. Covered by: every test of slabs, assoc and items.
 */
#ifndef VMEM_H
#define VMEM_H

#include "compat.h"

/* A zeroed range of at least len bytes (len > 0), aligned to 4 KiB or better;
 * NULL when the system has no such address space. */
void *vmem_reserve(size_t len);
/* Make a part of a range resident that will be written to soon: one call to the
 * system instead of a fault for each 4 KiB. False: the system cannot do that, or
 * has no memory; the range is as usable as before. p and len: see vmem_discard(). */
bool vmem_populate(void *p, size_t len);
/* Give the memory of a part of a range back to the system, not the addresses: it
 * reads as zeros then. p and len are multiples of 4 KiB, or of the size of a
 * page where that is larger; the range is not locked. */
void vmem_discard(void *p, size_t len);
/* Give a range back. p may be NULL. */
void vmem_release(void *p, size_t len);

#endif
