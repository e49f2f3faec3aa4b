/*
 * slabs.h - pages, size classes, chunks, 32-bit handles.
 *
 * Owns: one reserved range of addresses, cut into pages of SLAB_PAGE_BYTES;
 * each page in use belongs to one size class and is cut into equal chunks.
 *
 *   range   | page 0 | page 1          | page 2          | ...
 *            (never   | chunk chunk ... | chunk chunk ... |
 *             touched)
 *
 * A handle is an offset from the start of the range in units of 1 << shift
 * bytes (4 bytes unless the range is huge), so it fits 32 bits. Because page 0
 * is never used, 0 is no chunk's handle and means "none". Handles from
 * HANDLE_TOMB on are never given out here: the index above uses them for
 * records of another kind.
 *
 * The range may be larger than the limit of pages in use, which can change while
 * serving (slabs_set_limit). Pages that are beyond a lower limit are first given
 * back by their classes, then their memory goes to the system (slabs_trim).
 *
 * A page whose last chunk is freed goes back to the pool at once and may serve
 * any class next. Free chunks are kept per page, not per class, so that a page
 * can be emptied (drained) without searching a list.
 *
 * Must not know: items. It writes to free chunks only: word 0 is zero in a
 * free chunk and non-zero in one that is in use (the owner sees to that), the
 * link of the free list is in word 1.
 *
 * Invariants (slabs_check)
 *  [S1] pages in use <= pages_limit <= pages_max
 *  [S2] a page is in exactly one list: its class's full or partial list, the
 *       pool, or it is being drained and in none
 *  [S3] a page's used chunks + its free list = its carved chunks
 *
 * Layer 1. Covered by: t/test_slabs.c.
 */
#ifndef SLABS_H
#define SLABS_H

#include "compat.h"

#define SLAB_PAGE_SHIFT 17
#define SLAB_PAGE_BYTES (UINT32_C(1) << SLAB_PAGE_SHIFT)
#define SLAB_PAGES_MIN 8      /* a cache is never smaller than this */
#define SLAB_PIECE_BYTES 4096
#define SLAB_CLASSES_MAX 254  /* ids 1..254 */
#define SLAB_CHUNK_MIN 32
#define SLAB_CHUNK_MAX (SLAB_PAGE_BYTES / 8)
#define HANDLE_TOMB UINT32_C(0xf0000000)

struct slab_page {
	uint32_t next, prev; /* page numbers; 0 = none */
	uint32_t free_head;  /* handle of the first free chunk; 0 = none */
	uint16_t used;       /* chunks in use */
	uint16_t carved;     /* chunks handed out at least once */
	uint8_t class_id;    /* 0 = no class */
	uint8_t touched;     /* pieces of SLAB_PIECE_BYTES, from the front, that are resident */
	bool draining;       /* no chunk of it is handed out */
};

struct slab_class {
	uint32_t chunk_bytes;
	uint32_t per_page; /* chunks in a page */
	uint32_t partial;  /* first page with a free chunk */
	uint32_t full;     /* first page without */
	uint32_t pages;
	uint64_t used; /* chunks in use */
};

struct slabs {
	uint8_t *base;
	unsigned shift;      /* a handle's unit is 1 << shift bytes */
	uint32_t pages_max;  /* pages are 1..pages_max */
	uint32_t pages_limit; /* most of them in use */
	uint32_t fresh;      /* the first page never used */
	uint32_t pool;       /* first page given back */
	uint32_t bare;       /* first page whose memory went to the system */
	uint32_t bare_count;
	uint32_t pages_used; /* pages that belong to a class */
	uint64_t touched;    /* sum over all pages */
	bool no_populate;    /* the system refused it: memory comes by being touched */
	int class_count;     /* ids 1..class_count; the last one is `large` */
	int large;           /* the class of chunks of the size asked for */
	struct slab_page *pages;
	struct slab_class classes[SLAB_CLASSES_MAX + 1];
	uint8_t class_of_size[SLAB_CHUNK_MAX / 4 + 1]; /* by size in words */
};

struct slabs_config {
	size_t memory_bytes_max;
	size_t memory_bytes_reserved; /* what the limit may be raised to; less than the max: to that */
	size_t chunk_bytes_min;   /* 0 = SLAB_CHUNK_MIN */
	double growth_factor;     /* > 1, or 0 = fine-grained */
	uint32_t large_chunk_bytes; /* chunk size of the extra class */
};

/* False when address space cannot be reserved (nothing to release then). */
bool slabs_init(struct slabs *s, const struct slabs_config *config);
void slabs_release(struct slabs *s);

static inline void *slabs_ptr(const struct slabs *s, uint32_t handle)
{
	return s->base + ((size_t)handle << s->shift);
}
static inline uint32_t slabs_handle(const struct slabs *s, const void *p)
{
	return (uint32_t)((size_t)((const uint8_t *)p - s->base) >> s->shift);
}
static inline uint32_t slabs_page_of(const struct slabs *s, const void *p)
{
	return (uint32_t)((size_t)((const uint8_t *)p - s->base) >> SLAB_PAGE_SHIFT);
}
static inline int slabs_class_of(const struct slabs *s, const void *p)
{
	return s->pages[slabs_page_of(s, p)].class_id;
}
/* The class whose chunks hold that many bytes in one piece; 0 = none. */
static inline int slabs_class_for(const struct slabs *s, size_t bytes)
{
	return bytes <= SLAB_CHUNK_MAX ? s->class_of_size[(bytes + 3) / 4] : 0;
}

/* A free chunk of the class's own pages, NULL when there is none. The caller
 * makes word 0 non-zero before any other call. */
void *slabs_alloc(struct slabs *s, int class_id);
/* Give a chunk back; an empty page goes to the pool. */
void slabs_free(struct slabs *s, void *chunk);
/* Give the class one more page; false when all are in use. */
bool slabs_grow(struct slabs *s, int class_id);

uint64_t slabs_free_chunks(const struct slabs *s, int class_id);
/* Pages that no class has. */
static inline uint32_t slabs_free_pages(const struct slabs *s)
{
	return s->pages_limit - s->pages_used;
}

/* The least number of pages that hold so many bytes, as a limit. */
uint32_t slabs_limit_of(size_t memory_bytes);
/* Pages in use must not be more. */
void slabs_set_limit(struct slabs *s, uint32_t pages);
/* Give the memory of up to max pages to the system while more than the limit are
 * resident; true when there may be more to give. */
bool slabs_trim(struct slabs *s, uint32_t max);
static inline bool slabs_trim_due(const struct slabs *s)
{
	return s->pool != 0 && s->fresh - 1 - s->bare_count > s->pages_limit;
}

/* Stop handing out chunks of a page, so that its owner can empty it; the page
 * goes to the pool with its last chunk, at once if none is in use. drain_end:
 * changed one's mind. */
void slabs_drain_begin(struct slabs *s, uint32_t page);
void slabs_drain_end(struct slabs *s, uint32_t page);

/* Walking a page: chunks 0..carved-1; free ones have a zero word 0. */
static inline void *slabs_chunk(const struct slabs *s, uint32_t page, uint32_t index)
{
	return s->base + ((size_t)page << SLAB_PAGE_SHIFT) +
	       (size_t)index * s->classes[s->pages[page].class_id].chunk_bytes;
}

/* NULL when consistent, else what is violated. Slow: tests. */
const char *slabs_check(const struct slabs *s);

#endif
