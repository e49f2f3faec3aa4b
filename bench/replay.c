/*
 * replay.c - plays an access trace through a real server.
 *
 * Owns: reading a trace (key numbers, 32 or 64 bits, little-endian), turning
 * its numbers into dense ones, playing it: get, and on a miss set. Prints the
 * hit ratio. Sizes of keys and values come from the key's number, so that
 * every server is asked for the same bytes; values are checked.
 *
 * Must not know: how a server evicts.
 *
 * Order counts in an eviction test. There is one connection; gets are sent in
 * groups of up to --depth different keys, then the sets for those that missed.
 * A group ends where a key comes again, so an access never overtakes the set
 * that an earlier one caused. Two runs send the same bytes in the same order.
 *
 *     xz -dc accesses.trace.xz | replay --port 11211 --bits 32
 */
#include "compat.h"
#include "load_conn.h"
#include "load_proto.h"
#include "load_server.h"

#include <poll.h>
#include <unistd.h>

#define READ_BYTES 65536
#define STALL_MS 30000

struct options {
	const char *file, *host, *port, *label;
	const char *key_size, *value_size;
	unsigned bits, depth;
	uint64_t max; /* accesses to play; 0: all */
	pid_t server_pid;
};

/* A trace in memory: accesses by dense key number. */
struct trace {
	uint32_t *access;
	size_t count, capacity;
	uint64_t *slot_key;  /* hash table: key number of the trace + 1 */
	uint32_t *slot_id;
	size_t slots;        /* a power of two */
	uint32_t keys;
};

struct player {
	struct options options;
	struct trace trace;
	struct keyspace space;
	struct checker checker;
	struct conn conn;
	uint32_t *last_group; /* by key: the group that it was last in */
	uint32_t *missed;     /* keys of this group */
	unsigned missed_count;
	uint32_t group;
	uint64_t hits, refused;
};

static void *must(void *p)
{
	if (!p)
		die("out of memory");
	return p;
}

static void trace_rehash(struct trace *t)
{
	size_t old_slots = t->slots;
	uint64_t *old_key = t->slot_key;
	uint32_t *old_id = t->slot_id;

	t->slots = old_slots ? 2 * old_slots : 1u << 16;
	t->slot_key = must(calloc(t->slots, sizeof(*t->slot_key)));
	t->slot_id = must(calloc(t->slots, sizeof(*t->slot_id)));
	for (size_t i = 0; i < old_slots; i++) {
		if (!old_key[i])
			continue;
		size_t at = mix64(old_key[i]) & (t->slots - 1);
		while (t->slot_key[at])
			at = (at + 1) & (t->slots - 1);
		t->slot_key[at] = old_key[i];
		t->slot_id[at] = old_id[i];
	}
	free(old_key);
	free(old_id);
}

static uint32_t trace_id(struct trace *t, uint64_t key)
{
	if (2 * (size_t)t->keys >= t->slots)
		trace_rehash(t);
	size_t at = mix64(key + 1) & (t->slots - 1);
	while (t->slot_key[at] && t->slot_key[at] != key + 1)
		at = (at + 1) & (t->slots - 1);
	if (!t->slot_key[at]) {
		t->slot_key[at] = key + 1;
		t->slot_id[at] = t->keys++;
	}
	return t->slot_id[at];
}

static void trace_add(struct trace *t, uint64_t key)
{
	if (t->count == t->capacity) {
		t->capacity = t->capacity ? 2 * t->capacity : 1u << 20;
		t->access = must(realloc(t->access, t->capacity * sizeof(*t->access)));
	}
	t->access[t->count++] = trace_id(t, key);
}

static void trace_read(struct trace *t, FILE *f, unsigned bits, uint64_t max)
{
	unsigned char data[READ_BYTES];
	unsigned width = bits / 8;
	size_t n = 0;

	while ((n = fread(data, 1, sizeof(data), f)) > 0) {
		for (size_t at = 0; at + width <= n; at += width) {
			uint64_t key = 0;
			for (unsigned i = width; i > 0; i--)
				key = key << 8 | data[at + i - 1];
			if (max == 0 || t->count < max)
				trace_add(t, key);
		}
	}
	if (t->count == 0)
		die("the trace is empty");
}

static void flush_out(struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};

	while (!conn_flush(c))
		if (poll(&p, 1, STALL_MS) == 0)
			die("the server does not read");
}

static void queue(struct player *p, enum op_kind kind, uint32_t key)
{
	struct request *r = conn_slot(&p->conn);

	r->kind = kind;
	r->space = &p->space;
	r->keys[r->key_count++] = (struct request_key){.key = key};
	if (kind == OP_SET)
		r->version = 1;
	conn_queue(&p->conn, &proto_text);
}

static void note(struct player *p, const struct request *r)
{
	if (r->kind == OP_SET)
		p->refused += r->outcome != OUT_OK;
	else if (r->hits)
		p->hits++;
	else
		p->missed[p->missed_count++] = r->keys[0].key;
}

/* Send what is queued and read all replies. */
static void exchange(struct player *p)
{
	struct conn *c = &p->conn;
	struct pollfd readable = {.fd = c->fd, .events = POLLIN};

	flush_out(c);
	while (c->in_flight > 0) {
		if (!conn_receive(c) && poll(&readable, 1, STALL_MS) == 0)
			die("the server does not answer");
		enum reply_status s = conn_check(c, &proto_text, &p->checker);
		for (; s == REPLY_DONE; s = conn_check(c, &proto_text, &p->checker)) {
			note(p, conn_oldest(c));
			conn_pop(c);
		}
		if (s == REPLY_WRONG)
			die("WRONG REPLY: %s", p->checker.why);
	}
}

/* Sets travel together with the next group's gets, in front of them. */
static void queue_missed(struct player *p)
{
	for (unsigned i = 0; i < p->missed_count; i++)
		queue(p, OP_SET, p->missed[i]);
	p->missed_count = 0;
}

static void play(struct player *p)
{
	const struct trace *t = &p->trace;
	size_t at = 0;

	while (at < t->count) {
		queue_missed(p);
		p->group++;
		for (unsigned n = 0; n < p->options.depth && at < t->count; n++, at++) {
			uint32_t key = t->access[at];
			if (p->last_group[key] == p->group)
				break;
			p->last_group[key] = p->group;
			queue(p, OP_GET, key);
		}
		exchange(p);
	}
	queue_missed(p);
	exchange(p);
}

static void usage(void)
{
	fprintf(stderr, "usage: replay [--file PATH] [--bits 32|64] [--host H] [--port P]\n"
	                "              [--depth N] [--max ACCESSES] [--key-size DIST]\n"
	                "              [--value-size DIST] [--server-pid PID] [--label TEXT]\n"
	                "Reads standard input without --file. DIST: N, uniform:A-B,\n"
	                "lognormal:MEDIAN,SIGMA.\n");
	exit(2);
}

static void set_option(struct options *o, const char *name, const char *value)
{
	if (strcmp(name, "--file") == 0)
		o->file = value;
	else if (strcmp(name, "--host") == 0)
		o->host = value;
	else if (strcmp(name, "--port") == 0)
		o->port = value;
	else if (strcmp(name, "--label") == 0)
		o->label = value;
	else if (strcmp(name, "--key-size") == 0)
		o->key_size = value;
	else if (strcmp(name, "--value-size") == 0)
		o->value_size = value;
	else if (strcmp(name, "--bits") == 0)
		o->bits = (unsigned)strtoul(value, NULL, 10);
	else if (strcmp(name, "--depth") == 0)
		o->depth = (unsigned)strtoul(value, NULL, 10);
	else if (strcmp(name, "--max") == 0)
		o->max = strtoull(value, NULL, 10);
	else if (strcmp(name, "--server-pid") == 0)
		o->server_pid = (pid_t)strtol(value, NULL, 10);
	else
		usage();
}

static void load_trace(struct player *p)
{
	const struct options *o = &p->options;
	FILE *f = o->file ? fopen(o->file, "rb") : stdin;

	if (!f)
		die("cannot open %s", o->file);
	trace_read(&p->trace, f, o->bits, o->max);
	if (f != stdin)
		fclose(f);
	if (!size_dist_parse(&p->space.key_len, o->key_size, 1, KEY_LEN_MAX) ||
	    !size_dist_parse(&p->space.value_len, o->value_size, 0, 1u << 29) ||
	    !keyspace_init(&p->space, p->trace.keys, "key:"))
		usage();
	p->last_group = must(calloc(p->trace.keys, sizeof(*p->last_group)));
	p->missed = must(calloc(o->depth, sizeof(*p->missed)));
	p->checker.values = true;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct player *p = must(calloc(1, sizeof(*p)));
	struct options *o = &p->options;

	*o = (struct options){.host = "127.0.0.1", .port = "11211", .label = "", .bits = 32,
	                      .key_size = "14", .value_size = "lognormal:1000,1.0", .depth = 32};
	for (int i = 1; i < argc; i += 2) {
		if (i + 1 == argc)
			usage();
		set_option(o, argv[i], argv[i + 1]);
	}
	if ((o->bits != 32 && o->bits != 64) || o->depth < 1 || o->depth > 4096)
		usage();
	load_trace(p);
	conn_open(&p->conn, &(struct address){.host = o->host, .port = o->port}, 2 * o->depth, 1);
	double start = now_s();
	double cpu = server_times(o->server_pid).cpu_s;
	play(p);
	double seconds = now_s() - start;
	double accesses = (double)p->trace.count;
	printf("result label=%s accesses=%zu keys=%u mean_value=%.1f hits=%" PRIu64
	       " miss_ratio=%.5f refused=%" PRIu64
	       " seconds=%.3f aps=%.0f server_cpu_s=%.3f server_rss=%" PRIu64 "\n",
	       o->label, p->trace.count, p->trace.keys, size_dist_mean(&p->space.value_len),
	       p->hits, 1 - (double)p->hits / accesses, p->refused, seconds, accesses / seconds,
	       cpu < 0 ? -1 : server_times(o->server_pid).cpu_s - cpu, server_rss_bytes(o->server_pid));
	return 0;
}
