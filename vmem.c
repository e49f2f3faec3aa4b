/*
 * vmem.c - address space, by mmap.
 *
 * Owns: the one use of mmap for memory. MAP_NORESERVE lets a range be larger
 * than what the system would promise; a limit like -m is kept by those who
 * use the range, not here.
 *
 * No large hardware pages are asked for. They make lookups in a large cache a
 * quarter faster, but clearing one at its first touch, or the system's putting
 * one together behind our back, stops the only thread for milliseconds.
 *
 * Must not know: what lies in a range.
 *
 * Covered by: every test of slabs, assoc and items.
 */
#include "compat.h"
#include <sys/mman.h>
#include "vmem.h"

void *vmem_reserve(size_t len)
{
	assert(len > 0);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, flags, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

bool vmem_populate(void *p, size_t len)
{
	assert(p && len > 0);
	return madvise(p, len, COMPAT_MADV_POPULATE) == 0;
}

void vmem_discard(void *p, size_t len)
{
	assert(p && len > 0);
	int failed = madvise(p, len, MADV_DONTNEED);
	assert(!failed);
	(void)failed;
}

void vmem_release(void *p, size_t len)
{
	if (!p)
		return;
	int failed = munmap(p, len);
	assert(!failed);
	(void)failed;
}
