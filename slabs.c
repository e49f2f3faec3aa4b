/*
 * slabs.c - pages, size classes, chunks.
 *
 * Owns: the table of size classes, the lists of pages, and the free chunks in
 * them.
 *
 * Size classes. The default ones are dense: one unit apart at first, then a
 * per cent or two, so that rounding up to a chunk wastes next to nothing. Each
 * chunk is then widened until the chunks fill the page, so that no page has an
 * unused tail. A small cache has few pages to share out among classes, so its
 * steps are wider.
 *
 * A chunk that was never used is not in a free list: `carved` says how far a
 * page has been cut, so that handing a page to a class costs nothing and
 * touches no memory.
 *
 * Must not know: what lies in a chunk.
 *
 * Invariants: [S1]..[S3] of slabs.h.
 *
 * Covered by: t/test_slabs.c.
 */
#include "compat.h"
#include "slabs.h"
#include "vmem.h"

/* Default steps between classes: FINE_STEP in a cache of FINE_PAGES pages or
 * more, proportionally wider below, COARSE_STEP at most; and from WIDE_BYTES on
 * (few items are that large) WIDE times as wide. */
#define FINE_STEP 0.012
#define FINE_PAGES 1024
#define COARSE_STEP 0.4
#define WIDE_BYTES 2048
#define WIDE 3

/* A class that has so many pages gets the memory of a further one in one piece. */
#define POPULATE_PAGES_MIN 16
#define SLAB_PAGE_PIECES (SLAB_PAGE_BYTES / SLAB_PIECE_BYTES)

/* A free chunk. */
struct free_chunk {
	uint32_t zero;
	uint32_t next; /* handle */
};

/* ---- size classes ---------------------------------------------------------- */

/* The smallest chunk of at least `bytes` that leaves no larger one possible
 * with the same number of chunks in a page. */
static uint32_t fill_page(const struct slabs *s, uint32_t bytes)
{
	uint32_t unit = UINT32_C(1) << s->shift;
	uint32_t rounded = (bytes + unit - 1) & ~(unit - 1);
	uint32_t count = SLAB_PAGE_BYTES / rounded;
	return (SLAB_PAGE_BYTES / count) & ~(unit - 1);
}

static double default_step(const struct slabs *s, uint32_t chunk_bytes)
{
	double step = FINE_STEP * FINE_PAGES / s->pages_limit;
	if (step < FINE_STEP)
		step = FINE_STEP;
	if (chunk_bytes >= WIDE_BYTES)
		step *= WIDE;
	return step < COARSE_STEP ? step : COARSE_STEP;
}

static void add_class(struct slabs *s, uint32_t chunk_bytes)
{
	assert(s->class_count < SLAB_CLASSES_MAX);
	struct slab_class *c = &s->classes[++s->class_count];
	c->chunk_bytes = chunk_bytes;
	c->per_page = SLAB_PAGE_BYTES / chunk_bytes;
}

static void index_sizes(struct slabs *s)
{
	int id = 1;
	for (size_t words = 0; words < ARRAY_LEN(s->class_of_size); words++) {
		while (s->classes[id].chunk_bytes < words * 4)
			id++;
		assert(id <= s->class_count);
		s->class_of_size[words] = (uint8_t)id;
	}
}

static void make_classes(struct slabs *s, const struct slabs_config *config)
{
	size_t least = config->chunk_bytes_min ? config->chunk_bytes_min : SLAB_CHUNK_MIN;
	uint32_t want = least < SLAB_CHUNK_MAX ? (uint32_t)least : SLAB_CHUNK_MAX;
	if (want < SLAB_CHUNK_MIN)
		want = SLAB_CHUNK_MIN;
	/* Keep one id for the last size, one for the large class. */
	while (want < SLAB_CHUNK_MAX && s->class_count < SLAB_CLASSES_MAX - 2) {
		uint32_t chunk = fill_page(s, want);
		if (chunk >= SLAB_CHUNK_MAX)
			break;
		add_class(s, chunk);
		bool geometric = config->growth_factor > 1;
		double step = geometric ? config->growth_factor - 1 : default_step(s, chunk);
		double next = chunk * (1 + step);
		want = next >= SLAB_CHUNK_MAX ? SLAB_CHUNK_MAX : (uint32_t)next;
		if (want <= chunk)
			want = chunk + 1;
	}
	add_class(s, SLAB_CHUNK_MAX);
	index_sizes(s);
	add_class(s, config->large_chunk_bytes);
	s->large = s->class_count;
}

/* ---- init ------------------------------------------------------------------ */

static size_t range_bytes(const struct slabs *s)
{
	return ((size_t)s->pages_max + 1) << SLAB_PAGE_SHIFT;
}

static size_t table_bytes(const struct slabs *s)
{
	return ((size_t)s->pages_max + 1) * sizeof(struct slab_page);
}

uint32_t slabs_limit_of(size_t memory_bytes)
{
	size_t pages = memory_bytes >> SLAB_PAGE_SHIFT;
	if (pages >= UINT32_MAX)
		return UINT32_MAX;
	return pages < SLAB_PAGES_MIN ? SLAB_PAGES_MIN : (uint32_t)pages;
}

/* Take more addresses, as far as handles reach without becoming coarser. */
static void widen(struct slabs *s, size_t memory_bytes_reserved)
{
	size_t reach = (((size_t)HANDLE_TOMB - 1) << s->shift) >> SLAB_PAGE_SHIFT;
	size_t pages = slabs_limit_of(memory_bytes_reserved);
	if (pages > reach - 1)
		pages = reach - 1;
	if (pages > s->pages_max)
		s->pages_max = (uint32_t)pages;
}

bool slabs_init(struct slabs *s, const struct slabs_config *config)
{
	memset(s, 0, sizeof(*s));
	s->pages_max = s->pages_limit = slabs_limit_of(config->memory_bytes_max);
	if (s->pages_max == UINT32_MAX)
		return false;
	s->fresh = 1;
	for (s->shift = 2; range_bytes(s) >> s->shift >= HANDLE_TOMB; s->shift++)
		;
	if (config->large_chunk_bytes % (UINT32_C(1) << s->shift) != 0)
		return false; /* handles of 32 bits do not reach so far */
	widen(s, config->memory_bytes_reserved);
	make_classes(s, config);
	s->base = vmem_reserve(range_bytes(s));
	s->pages = vmem_reserve(table_bytes(s));
	if (!s->base || !s->pages) {
		slabs_release(s);
		return false;
	}
	return true;
}

void slabs_release(struct slabs *s)
{
	vmem_release(s->base, range_bytes(s));
	vmem_release(s->pages, table_bytes(s));
	s->base = NULL;
	s->pages = NULL;
}

/* ---- lists of pages --------------------------------------------------------- */

static void list_add(struct slabs *s, uint32_t *head, uint32_t page)
{
	struct slab_page *p = &s->pages[page];
	p->prev = 0;
	p->next = *head;
	if (*head)
		s->pages[*head].prev = page;
	*head = page;
}

static void list_remove(struct slabs *s, uint32_t *head, uint32_t page)
{
	struct slab_page *p = &s->pages[page];
	if (p->next)
		s->pages[p->next].prev = p->prev;
	if (p->prev)
		s->pages[p->prev].next = p->next;
	else
		*head = p->next;
	p->next = p->prev = 0;
}

static bool page_is_full(const struct slabs *s, const struct slab_page *p)
{
	return p->used == s->classes[p->class_id].per_page;
}

/* The list that a page of a class belongs in; it is in none while draining. */
static uint32_t *home(struct slabs *s, const struct slab_page *p)
{
	struct slab_class *c = &s->classes[p->class_id];
	return page_is_full(s, p) ? &c->full : &c->partial;
}

/* ---- chunks ----------------------------------------------------------------- */

/* A page that no class has, best one that is resident. */
static uint32_t take_page(struct slabs *s)
{
	uint32_t page = s->pool;
	if (page) {
		s->pool = s->pages[page].next;
	} else if (s->bare) {
		page = s->bare;
		s->bare = s->pages[page].next;
		s->bare_count--;
	} else {
		page = s->fresh++;
	}
	assert(page <= s->pages_max);
	return page;
}

/* Make what is not resident of a page so, all at once, if its class has so many
 * that a part of one more, resident before it is used, does not count. A refusal is
 * taken for an answer. */
static void populate(struct slabs *s, const struct slab_class *c, uint32_t page)
{
	struct slab_page *p = &s->pages[page];
	if (s->no_populate || c->pages < POPULATE_PAGES_MIN || p->touched == SLAB_PAGE_PIECES)
		return;
	if (!vmem_populate(s->base + ((size_t)page << SLAB_PAGE_SHIFT), SLAB_PAGE_BYTES)) {
		s->no_populate = true;
		return;
	}
	s->touched += SLAB_PAGE_PIECES - p->touched;
	p->touched = SLAB_PAGE_PIECES;
}

bool slabs_grow(struct slabs *s, int class_id)
{
	assert(class_id > 0 && class_id <= s->class_count);
	if (s->pages_used >= s->pages_limit)
		return false;
	uint32_t page = take_page(s);
	s->pages[page] = (struct slab_page){.class_id = (uint8_t)class_id, .touched = s->pages[page].touched};
	populate(s, &s->classes[class_id], page);
	list_add(s, &s->classes[class_id].partial, page);
	s->classes[class_id].pages++;
	s->pages_used++;
	assert(s->pages_used <= s->pages_limit); /* [S1] */
	return true;
}

/* An empty page, already in no list, goes to the pool. */
static void to_pool(struct slabs *s, uint32_t page)
{
	struct slab_page *p = &s->pages[page];
	assert(p->used == 0 && p->class_id != 0);
	s->classes[p->class_id].pages--;
	s->pages_used--;
	*p = (struct slab_page){.next = s->pool, .touched = p->touched};
	s->pool = page;
}

void slabs_set_limit(struct slabs *s, uint32_t pages)
{
	assert(pages >= s->pages_used && pages <= s->pages_max); /* [S1] */
	s->pages_limit = pages;
}

bool slabs_trim(struct slabs *s, uint32_t max)
{
	while (slabs_trim_due(s) && max-- > 0) {
		uint32_t page = s->pool;
		struct slab_page *p = &s->pages[page];
		s->pool = p->next;
		vmem_discard(s->base + ((size_t)page << SLAB_PAGE_SHIFT), SLAB_PAGE_BYTES);
		s->touched -= p->touched;
		*p = (struct slab_page){.next = s->bare};
		s->bare = page;
		s->bare_count++;
	}
	return slabs_trim_due(s);
}

/* A chunk is cut off a page: so much of it will be resident. */
static void touch(struct slabs *s, struct slab_page *p)
{
	uint32_t bytes = p->carved * s->classes[p->class_id].chunk_bytes;
	uint8_t pieces = (uint8_t)((bytes + SLAB_PIECE_BYTES - 1) / SLAB_PIECE_BYTES);
	if (pieces <= p->touched)
		return;
	s->touched += (uint8_t)(pieces - p->touched);
	p->touched = pieces;
}

void *slabs_alloc(struct slabs *s, int class_id)
{
	struct slab_class *c = &s->classes[class_id];
	uint32_t page = c->partial;
	if (!page)
		return NULL;
	struct slab_page *p = &s->pages[page];
	void *chunk;
	assert(p->class_id == class_id && p->used < c->per_page);
	if (p->free_head) {
		chunk = slabs_ptr(s, p->free_head);
		p->free_head = ((struct free_chunk *)chunk)->next;
		assert(((struct free_chunk *)chunk)->zero == 0);
	} else {
		chunk = slabs_chunk(s, page, p->carved++);
		touch(s, p);
	}
	p->used++;
	c->used++;
	if (p->used == c->per_page) {
		list_remove(s, &c->partial, page);
		list_add(s, &c->full, page);
	}
	return chunk;
}

void slabs_free(struct slabs *s, void *chunk)
{
	uint32_t page = slabs_page_of(s, chunk);
	struct slab_page *p = &s->pages[page];
	struct slab_class *c = &s->classes[p->class_id];
	struct free_chunk *f = chunk;
	assert(page > 0 && page < s->fresh && p->class_id != 0);
	assert(f->zero != 0 && p->used > 0); /* not free already */
	if (p->used == c->per_page && !p->draining) {
		list_remove(s, &c->full, page);
		list_add(s, &c->partial, page);
	}
	f->zero = 0;
	f->next = p->free_head;
	p->free_head = slabs_handle(s, chunk);
	p->used--;
	c->used--;
	if (p->used == 0) {
		if (!p->draining)
			list_remove(s, &c->partial, page);
		to_pool(s, page);
	}
}

uint64_t slabs_free_chunks(const struct slabs *s, int class_id)
{
	const struct slab_class *c = &s->classes[class_id];
	return (uint64_t)c->pages * c->per_page - c->used;
}

void slabs_drain_begin(struct slabs *s, uint32_t page)
{
	struct slab_page *p = &s->pages[page];
	assert(p->class_id != 0 && !p->draining);
	list_remove(s, home(s, p), page);
	p->draining = true;
	if (p->used == 0)
		to_pool(s, page);
}

void slabs_drain_end(struct slabs *s, uint32_t page)
{
	struct slab_page *p = &s->pages[page];
	assert(p->class_id != 0 && p->draining);
	p->draining = false;
	list_add(s, home(s, p), page);
}

/* ---- checking --------------------------------------------------------------- */

static const char *check_page(const struct slabs *s, uint32_t page)
{
	const struct slab_page *p = &s->pages[page];
	const struct slab_class *c = &s->classes[p->class_id];
	uint32_t free_count = 0, zero_count = 0;
	if ((p->used == 0 && p->carved > 0) || p->carved > c->per_page)
		return "slabs: an emptied page belongs to a class";
	for (uint32_t h = p->free_head; h; h = ((struct free_chunk *)slabs_ptr(s, h))->next) {
		struct free_chunk *f = slabs_ptr(s, h);
		if (slabs_page_of(s, f) != page || f->zero || ++free_count > c->per_page)
			return "slabs: broken free list";
	}
	for (uint32_t i = 0; i < p->carved; i++)
		zero_count += ((struct free_chunk *)slabs_chunk(s, page, i))->zero == 0;
	if (p->used + free_count != p->carved || zero_count != free_count)
		return "slabs: [S3] used + free != carved";
	return NULL;
}

/* Count the pages of a list into *count; an error if one does not belong. */
static const char *check_list(const struct slabs *s, uint32_t head, int id, bool full,
                              uint32_t *count)
{
	uint32_t prev = 0;
	for (uint32_t page = head; page; page = s->pages[page].next) {
		const struct slab_page *p = &s->pages[page];
		if (p->class_id != id || p->prev != prev || p->draining)
			return "slabs: [S2] a page in a list where it does not belong";
		if (page_is_full(s, p) != full || ++*count > s->pages_max)
			return "slabs: [S2] a page in the wrong list of its class";
		prev = page;
	}
	return NULL;
}

static const char *check_class(const struct slabs *s, int id)
{
	const struct slab_class *c = &s->classes[id];
	uint32_t pages = 0, listed = 0;
	uint64_t used = 0;
	for (uint32_t page = 1; page < s->fresh; page++) {
		if (s->pages[page].class_id != id)
			continue;
		pages++;
		listed += s->pages[page].draining;
		used += s->pages[page].used;
	}
	const char *wrong = check_list(s, c->partial, id, false, &listed);
	if (!wrong)
		wrong = check_list(s, c->full, id, true, &listed);
	if (!wrong && (pages != c->pages || listed != pages || used != c->used))
		wrong = "slabs: counts of a class";
	return wrong;
}

/* Pages from one on, along a list that may be broken. */
static uint32_t count_listed(const struct slabs *s, uint32_t page)
{
	uint32_t count = 0;
	for (; page && count <= s->pages_max; page = s->pages[page].next)
		count++;
	return count;
}

const char *slabs_check(const struct slabs *s)
{
	uint32_t in_use = 0;
	uint64_t touched = 0;
	for (uint32_t page = 1; page < s->fresh; page++) {
		const char *wrong = s->pages[page].class_id ? check_page(s, page) : NULL;
		if (wrong)
			return wrong;
		in_use += s->pages[page].class_id != 0;
		touched += s->pages[page].touched;
	}
	for (int id = 1; id <= s->class_count; id++) {
		const char *wrong = check_class(s, id);
		if (wrong)
			return wrong;
	}
	uint32_t bare = count_listed(s, s->bare);
	if (in_use != s->pages_used || in_use > s->pages_limit || s->pages_limit > s->pages_max ||
	    bare != s->bare_count || count_listed(s, s->pool) + bare + in_use != s->fresh - 1)
		return "slabs: [S1] pages in use and in the pool do not add up";
	if (touched != s->touched)
		return "slabs: what is resident does not add up";
	return NULL;
}
