/*
 * load.c - a load generator that believes nothing.
 *
 * Stores and reads keys of which it can say, from the bytes that come back
 * alone, whether they are right; measures how many requests a second a server
 * answers and how long each took. One thread; see load_run.h for the two ways
 * of pacing, load_keys.h for what is checked, --help for the options.
 *
 *     load_options   command line          load_source   which requests
 *     load_dist      random numbers        load_proto    requests <-> bytes
 *     load_keys      keys and values       load_conn     sockets
 *     load_hist      times                 load_run      the loop
 *     load_report    output                load_server   /proc
 *     load_udp       datagrams
 *
 * Modes: measure (the default, --preload first if wanted), --fill, --compare.
 */
#include "compat.h"
#include "load_options.h"
#include "load_report.h"
#include "load_run.h"
#include "load_source.h"

#define NS_PER_S 1e9
#define PRELOAD_DEPTH 32 /* at least, so that storing all keys takes no time */
#define COMPARE_WIDTH 32
#define UDP_VALUE_BYTES_MAX 65000 /* the datagram of a request has its command and key, too */

struct program {
	struct options options;
	struct workload workload;
	struct checker checker;
	struct run_config config;
	struct run_result result;
	struct run_result stores; /* of --fill */
};

static uint32_t whole(const char *name, double v, double lo, double hi)
{
	if (!(v >= lo && v <= hi) || v != (double)(uint64_t)v) {
		fprintf(stderr, "--%s: a whole number from %.0f to %.0f\n", name, lo, hi);
		exit(2);
	}
	return (uint32_t)v;
}

static void require(bool ok, const char *name, const char *text)
{
	if (ok)
		return;
	fprintf(stderr, "--%s: cannot use \"%s\"\n", name, text);
	exit(2);
}

static void set_up_keys(struct program *p)
{
	const struct options *o = &p->options;
	struct workload *w = &p->workload;
	struct keyspace *items = &w->items;
	uint32_t count = whole("keys", o->keys, 1, 2e9);

	require(size_dist_parse(&items->key_len, o->key_size, 1, KEY_LEN_MAX), "key-size",
	        o->key_size);
	require(size_dist_parse(&items->value_len, o->value_size, 0, 1u << 30), "value-size",
	        o->value_size);
	items->flags_derived = o->flags_derived;
	items->size_varies = o->size_varies;
	require(keyspace_init(items, count, o->prefix), "prefix", o->prefix);
	if (workload_uses(w, OP_INCR)) {
		w->counters.key_len = items->key_len;
		w->counters.numbers = true;
		require(keyspace_init(&w->counters, count, "cnt:"), "mix", "incr");
	}
	w->skewed = o->zipf > 0;
	if (w->skewed)
		zipf_init(&w->zipf, count, o->zipf);
}

static const struct proto *find_protocol(const char *name)
{
	static const struct proto *const all[] = {&proto_text, &proto_meta, &proto_resp};

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (strcmp(name, all[i]->name) == 0)
			return all[i];
	require(false, "protocol", name);
	return NULL;
}

static void refuse_udp(bool wrong, const char *why)
{
	if (!wrong)
		return;
	fprintf(stderr, "--udp: %s\n", why);
	exit(2);
}

static void check_udp(const struct program *p)
{
	const struct options *o = &p->options;
	bool stores = o->fill_misses;

	for (int k = 0; k < OP_KINDS; k++)
		stores = stores || (op_has_value(k) && workload_uses(&p->workload, k));
	refuse_udp(o->depth > 1, "one request at a time on a socket: no --depth, but more --conns");
	refuse_udp(o->width > 1, "memcached answers a get of several keys by several messages, and "
	                         "does not say how many: no --width");
	refuse_udp(o->socket_path || o->fill || o->compare, "not with --socket, --fill, --compare");
	refuse_udp(p->config.proto == &proto_resp, "Redis has none");
	refuse_udp(!(o->udp_timeout_s >= 0.001 && o->udp_timeout_s <= 3600),
	           "--udp-timeout is from 0.001 to 3600");
	refuse_udp(stores && p->workload.items.value_len.max > UDP_VALUE_BYTES_MAX,
	           "a value of --value-size does not fit a datagram");
}

static void set_up(struct program *p)
{
	const struct options *o = &p->options;
	struct workload *w = &p->workload;

	p->config = (struct run_config){
	        .address = {.host = o->host, .port = o->port, .socket_path = o->socket_path},
	        .conns = whole("conns", o->conns, 1, 60000),
	        .depth = whole("depth", o->depth, 1, 65536),
	        .width = whole("width", o->width, 1, WIDTH_MAX),
	        .spin = o->spin,
	        .poisson = o->poisson,
	        .server_pid = (pid_t)o->server_pid,
	        .udp_timeout_ns = (uint64_t)(o->udp_timeout_s * NS_PER_S),
	};
	p->config.proto = find_protocol(o->protocol);
	w->width = p->config.width;
	w->fill_misses = o->fill_misses;
	w->rng.counter = (uint64_t)o->seed << 32;
	require(workload_parse_mix(w, o->mix), "mix", o->mix);
	require(!o->expiry || workload_parse_expiry(w, o->expiry), "expiry", o->expiry);
	w->expiry_divisor = whole("expiry-divisor", o->expiry_divisor, 1, 1e9);
	for (int k = 0; k < OP_KINDS; k++)
		require(!workload_uses(w, k) || p->config.proto->ops[k], "mix", op_names[k]);
	set_up_keys(p);
	if (o->udp_port)
		check_udp(p);
	p->checker.values = !o->unchecked;
	p->checker.order = !o->unchecked && !o->unordered;
}

/* Run a phase; a wrong reply ends the program here. */
static void phase(struct program *p, struct run *run, struct source *source,
                  const struct run_limits *limits, struct run_result *result)
{
	run_result_release(result);
	if (!run_phase(run, source, &p->checker, limits, result))
		die("WRONG REPLY: %s", p->checker.why);
}

static void walk(struct program *p, struct run *run, struct keyspace *space, enum op_kind kind,
                 struct run_result *result)
{
	struct walk_source s;
	struct run_limits no_limits = {0};

	walk_source_init(&s, &p->workload, space, kind);
	phase(p, run, &s.source, &no_limits, result);
}

/* Few connections, deep: for walks over all keys. */
static struct run *walk_connections(const struct program *p)
{
	struct run_config config = p->config;

	config.conns = config.conns < 4 ? config.conns : 4;
	if (config.depth < PRELOAD_DEPTH)
		config.depth = PRELOAD_DEPTH;
	return run_new(&config);
}

static void preload(struct program *p)
{
	struct run *run = walk_connections(p);

	if (p->options.preload)
		walk(p, run, &p->workload.items, OP_SET, &p->result);
	if (workload_uses(&p->workload, OP_INCR))
		walk(p, run, &p->workload.counters, OP_SET, &p->result);
	run_free(run);
}

static void measure(struct program *p)
{
	const struct options *o = &p->options;
	struct run_limits warmup = {.duration_ns = (uint64_t)(o->warmup_s * NS_PER_S),
	                            .rate = o->rate};
	struct run_limits limits = warmup;
	struct run_config config = p->config;
	struct mix_source mix;

	limits.ops = (uint64_t)o->ops;
	limits.duration_ns = limits.ops ? 0 : (uint64_t)(o->duration_s * NS_PER_S);
	preload(p);
	if (o->udp_port) {
		config.address.port = o->udp_port;
		config.address.datagrams = true;
	}
	struct run *run = run_new(&config);
	mix_source_init(&mix, &p->workload);
	if (warmup.duration_ns)
		phase(p, run, &mix.source, &warmup, &p->result);
	if (limits.ops || limits.duration_ns)
		phase(p, run, &mix.source, &limits, &p->result);
	mix_source_release(&mix);
	run_free(run);
	report_run(o->label, &p->result, p->config.server_pid, o->quiet);
	if (o->udp_port && !p->result.requests)
		die("no request was answered by UDP");
	if (o->must_hit && p->result.hits < p->result.reads)
		die("%" PRIu64 " keys were not found", p->result.reads - p->result.hits);
}

static void fill(struct program *p)
{
	struct keyspace *items = &p->workload.items;
	struct run *run = walk_connections(p);

	walk(p, run, items, OP_SET, &p->stores);
	walk(p, run, items, OP_GET, &p->result);
	run_free(run);
	report_fill(p->options.label, &p->stores, &p->result,
	            size_dist_mean(&items->key_len) + size_dist_mean(&items->value_len),
	            p->config.server_pid);
}

struct digest {
	uint64_t bytes; /* of value and flags; 0: not held */
	uint64_t cas;
};

static void note_digest(void *ctx, const struct value_seen *v)
{
	struct digest *digests = ctx;
	uint64_t h = mix64(v->flags ^ 0x1234567u) ^ v->len;

	for (size_t i = 0; i < v->len; i++)
		h = (h ^ (uint8_t)v->data[i]) * 0x100000001b3u;
	digests[v->key] = (struct digest){mix64(h) | 1, v->cas};
}

static struct digest *read_all(struct program *p, const struct address *a)
{
	struct digest *digests = calloc(p->workload.items.count, sizeof(*digests));

	if (!digests)
		die("out of memory");
	p->config.address = *a;
	p->config.width = p->workload.width = COMPARE_WIDTH;
	p->checker.on_value = note_digest;
	p->checker.ctx = digests;
	struct run *run = walk_connections(p);
	walk(p, run, &p->workload.items, OP_GETS, &p->result);
	run_free(run);
	return digests;
}

static void compare_key(struct compare_counts *c, const struct digest *a, const struct digest *b)
{
	c->keys++;
	if (!a->bytes && !b->bytes)
		c->neither++;
	else if (!b->bytes)
		c->only_first++;
	else if (!a->bytes)
		c->only_second++;
	else if (a->bytes != b->bytes)
		c->differ++;
	else if (a->cas != b->cas)
		c->cas_differ++;
	else
		c->both++;
}

/* True when both servers hold the same, down to the CAS uniques. */
static bool compare(struct program *p)
{
	char host[256];
	struct address other = {.host = p->options.host, .port = p->options.compare};
	const char *colon = strrchr(p->options.compare, ':');
	struct compare_counts counts = {0};

	if (colon) {
		snprintf(host, sizeof(host), "%.*s", (int)(colon - p->options.compare),
		         p->options.compare);
		other = (struct address){.host = host, .port = colon + 1};
	}
	struct digest *first = read_all(p, &p->config.address);
	struct digest *second = read_all(p, &other);
	for (uint32_t i = 0; i < p->workload.items.count; i++)
		compare_key(&counts, &first[i], &second[i]);
	free(first);
	free(second);
	report_compare(p->options.label, &counts);
	return counts.both + counts.neither == counts.keys;
}

int main(int argc, char **argv)
{
	struct program *p = calloc(1, sizeof(*p));
	bool ok = true;

	if (!p)
		die("out of memory");
	options_parse(&p->options, argc, argv);
	set_up(p);
	if (p->options.compare)
		ok = compare(p);
	else if (p->options.fill)
		fill(p);
	else
		measure(p);
	run_result_release(&p->result);
	run_result_release(&p->stores);
	keyspace_release(&p->workload.items);
	keyspace_release(&p->workload.counters);
	free(p);
	return ok ? 0 : 1;
}
