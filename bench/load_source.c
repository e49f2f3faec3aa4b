/* load_source.c - the requests of a phase. See load_source.h. */
#include "compat.h"
#include "load_source.h"

static bool parse_op(const char *name, size_t len, int32_t *kind)
{
	for (int k = 0; k < OP_KINDS; k++) {
		if (strlen(op_names[k]) == len && memcmp(op_names[k], name, len) == 0) {
			*kind = k;
			return true;
		}
	}
	return false;
}

static bool parse_seconds(const char *text, size_t len, int32_t *seconds)
{
	char *end = NULL;
	long v = strtol(text, &end, 10);

	*seconds = (int32_t)v;
	return len > 0 && end == text + len && v >= 0 && v <= INT32_MAX;
}

/* name[:weight],... into cumulative weights that end at MIX_SCALE. */
static bool parse_weights(const char *text, struct weighted *out, unsigned capacity,
                          unsigned *count, bool (*parse)(const char *, size_t, int32_t *))
{
	double weight[64];
	double sum = 0, upto = 0;
	unsigned n = 0;

	assert(capacity <= ARRAY_LEN(weight));
	while (*text) {
		size_t len = strcspn(text, ":,");
		if (n == capacity || !parse(text, len, &out[n].value))
			return false;
		text += len;
		char *end = NULL;
		weight[n] = *text == ':' ? strtod(text + 1, &end) : 1;
		text = end ? end : text;
		sum += weight[n++];
		if (*text && *text++ != ',')
			return false;
	}
	for (unsigned i = 0; i < n; i++) {
		upto += weight[i];
		out[i].upto = (uint32_t)(upto / sum * MIX_SCALE + 0.5);
	}
	*count = n;
	return n > 0 && sum > 0;
}

bool workload_parse_mix(struct workload *w, const char *text)
{
	return parse_weights(text, w->mix, OP_KINDS, &w->mix_count, parse_op);
}

bool workload_parse_expiry(struct workload *w, const char *text)
{
	return parse_weights(text, w->expiry, EXPIRIES_MAX, &w->expiry_count, parse_seconds);
}

bool workload_uses(const struct workload *w, enum op_kind kind)
{
	for (unsigned i = 0; i < w->mix_count; i++)
		if (w->mix[i].value == (int32_t)kind)
			return true;
	return false;
}

static int32_t pick(const struct weighted *table, unsigned count, struct rng *rng)
{
	unsigned i = 0;

	if (count == 1)
		return table[0].value;
	for (uint32_t at = rng_below(rng, MIX_SCALE); i + 1 < count && at >= table[i].upto;)
		i++;
	return table[i].value;
}

static int32_t pick_expiry(struct workload *w)
{
	if (w->expiry_count == 0)
		return 0;
	int32_t seconds = pick(w->expiry, w->expiry_count, &w->rng);
	int32_t hasty = seconds / (int32_t)w->expiry_divisor;
	return seconds > 0 && hasty == 0 ? 1 : hasty;
}

static uint32_t pick_key(struct workload *w, const struct keyspace *space)
{
	if (w->skewed)
		return zipf_next(&w->zipf, &w->rng) - 1;
	return rng_below(&w->rng, space->count);
}

/* The version of a store or delete; counters count by incr alone. */
static void begin_write(struct request *r)
{
	uint32_t key = r->keys[0].key;

	if (r->space->numbers)
		r->version = r->kind == OP_ADD ? r->space->state[key].floor : 0;
	else
		r->version = keyspace_write_begin(r->space, key);
}

static void end_write(const struct request *r)
{
	struct key_state *state = &r->space->state[r->keys[0].key];

	if (r->space->numbers) {
		state->restoring = 0;
		return;
	}
	/* A delete that found nothing has the effect of one that did. */
	bool gone = r->kind == OP_DELETE && r->outcome == OUT_MISS;
	keyspace_write_end(r->space, r->keys[0].key, r->outcome == OUT_OK || gone);
}

static bool walk_next(struct source *source, struct request *r)
{
	struct walk_source *s = (struct walk_source *)source;
	unsigned width = op_is_read(s->kind) ? s->workload->width : 1;

	if (s->next == s->count)
		return false;
	r->kind = s->kind;
	r->space = s->space;
	while (r->key_count < width && s->next < s->count)
		request_add_key(r, s->next++);
	if (op_is_write(r->kind)) {
		r->expiry = pick_expiry(s->workload);
		begin_write(r);
	}
	return true;
}

static void walk_done(struct source *source, const struct request *r)
{
	(void)source;
	if (op_is_write(r->kind))
		end_write(r);
}

void walk_source_init(struct walk_source *s, struct workload *w, struct keyspace *space,
                      enum op_kind kind)
{
	*s = (struct walk_source){
	        .source = {walk_next, walk_done},
	        .workload = w,
	        .space = space,
	        .kind = kind,
	        .count = space->count,
	};
}

static void follow_up(struct mix_source *s, struct follow_up f)
{
	if (s->follow_count == s->follow_capacity) {
		unsigned wanted = s->follow_capacity ? 2 * s->follow_capacity : 256;
		struct follow_up *ring = calloc(wanted, sizeof(*ring));
		if (!ring)
			abort();
		for (unsigned i = 0; i < s->follow_count; i++)
			ring[i] = s->follow[(s->follow_head + i) % s->follow_capacity];
		free(s->follow);
		s->follow = ring;
		s->follow_head = 0;
		s->follow_capacity = wanted;
	}
	s->follow[(s->follow_head + s->follow_count++) % s->follow_capacity] = f;
}

static bool take_follow_up(struct mix_source *s, struct request *r)
{
	if (s->follow_count == 0)
		return false;
	struct follow_up f = s->follow[s->follow_head];
	s->follow_head = (s->follow_head + 1) % s->follow_capacity;
	s->follow_count--;
	r->kind = f.kind;
	r->space = f.counter ? &s->workload->counters : &s->workload->items;
	r->cas = f.cas;
	request_add_key(r, f.key);
	return true;
}

static void make_random(struct workload *w, struct request *r)
{
	r->kind = (enum op_kind)pick(w->mix, w->mix_count, &w->rng);
	r->space = r->kind == OP_INCR ? &w->counters : &w->items;
	if (r->kind == OP_CAS)
		r->kind = OP_GETS;
	unsigned width = r->kind == OP_GET || r->kind == OP_GAT ? w->width : 1;
	while (r->key_count < width)
		request_add_key(r, pick_key(w, r->space));
	if (r->kind == OP_INCR)
		r->space->state[r->keys[0].key].issued++;
}

static bool mix_next(struct source *source, struct request *r)
{
	struct mix_source *s = (struct mix_source *)source;

	if (!take_follow_up(s, r))
		make_random(s->workload, r);
	if (op_has_value(r->kind) || r->kind == OP_TOUCH || r->kind == OP_GAT)
		r->expiry = pick_expiry(s->workload);
	if (op_is_write(r->kind))
		begin_write(r);
	return true;
}

static void fill_misses(struct mix_source *s, const struct request *r)
{
	for (unsigned i = 0; i < r->key_count && r->hits < r->key_count; i++)
		if (!r->keys[i].hit)
			follow_up(s, (struct follow_up){.kind = OP_SET, .key = r->keys[i].key});
}

static void mix_done(struct source *source, const struct request *r)
{
	struct mix_source *s = (struct mix_source *)source;
	uint32_t key = r->keys[0].key;
	struct key_state *state = &r->space->state[key];

	if (op_is_write(r->kind))
		end_write(r);
	else if (r->kind == OP_INCR && r->outcome == OUT_MISS && !state->restoring) {
		state->restoring = 1;
		follow_up(s, (struct follow_up){.kind = OP_ADD, .counter = true, .key = key});
	} else if (r->kind == OP_GETS && r->hits) {
		follow_up(s, (struct follow_up){.kind = OP_CAS, .key = key, .cas = r->cas});
	} else if (op_is_read(r->kind) && s->workload->fill_misses && r->outcome != OUT_LOST) {
		fill_misses(s, r);
	}
}

void mix_source_init(struct mix_source *s, struct workload *w)
{
	*s = (struct mix_source){.source = {mix_next, mix_done}, .workload = w};
}

void mix_source_release(struct mix_source *s)
{
	free(s->follow);
}
