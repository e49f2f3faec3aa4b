/*
 * vmem.c - address space, by mmap.
 *
 * Owns: the one use of mmap for memory. MAP_NORESERVE lets a range be larger
 * than what the system would promise; a limit like -m is kept by those who
 * use the range, not here.
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

void vmem_release(void *p, size_t len)
{
	if (!p)
		return;
	int failed = munmap(p, len);
	assert(!failed);
	(void)failed;
}

void vmem_discard(void *p, size_t len)
{
	assert(((uintptr_t)p & 4095) == 0 && (len & 4095) == 0);
	if (len > 0 && madvise(p, len, MADV_DONTNEED) != 0)
		memset(p, 0, len);
}

void vmem_prefer_huge(void *p, size_t len)
{
	if (len > 0)
		(void)!madvise(p, len, MADV_HUGEPAGE);
}
