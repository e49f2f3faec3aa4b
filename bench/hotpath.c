/*
 * hotpath.c - the daemon's way of a request, without sockets and kernel.
 *
 * Owns: a node in this process, one session, requests made beforehand; times
 * how long the node takes from bytes in to bytes out. On a busy machine this
 * is the figure to go by when code is changed: it repeats within a per cent or
 * two, and perf and callgrind see nothing else.
 *
 * Must not know: how the node does it.
 *
 * Batches of requests are timed one by one. Printed are the fastest batch, the
 * median and the mean, in ns per request. --cold walks a buffer between two
 * batches, as the kernel does between two requests of a real server, so that
 * the first-level caches are not warm.
 *
 * Instructions repeat exactly, on any machine, however busy: callgrind counts
 * those of one case when it is told to collect in timed() alone (bench/README).
 *
 * usage: hotpath [--keys N] [--value BYTES] [--batches N] [--cold KIB]
 *                [--case NAME]
 */
#include "compat.h"
#include "load_dist.h"
#include "node.h"

#include <unistd.h>

#define PREPARED 4096          /* different batches, played round and round */
#define KEY_BYTES 14
#define BATCH_BYTES_MAX 65536
#define MEMORY_BYTES (1u << 30)
#define IOV_COUNT 64
#define CACHE_LINE 64

struct bench {
	struct node *node;
	struct session *session;
	struct settings settings;
	struct log log;
	struct node_env env;
	struct now now;
	uint32_t keys, value_bytes;
	unsigned batches;
	const char *only; /* the one case to run; NULL: all */
	size_t cold_bytes;
	volatile uint8_t *cold;
	uint8_t *in;         /* PREPARED * BATCH_BYTES_MAX at most */
	size_t offset[PREPARED + 1];
	struct rng rng;
	uint64_t out_bytes;
};

static void no_info(void *ctx, struct process_info *out)
{
	(void)ctx;
	memset(out, 0, sizeof(*out));
}

static void no_conns(void *ctx, void (*fn)(void *, const struct conn_info *), void *fn_ctx)
{
	(void)ctx;
	(void)fn;
	(void)fn_ctx;
}

static void no_memory(void *ctx, struct memory_info *out)
{
	(void)ctx;
	memset(out, 0, sizeof(*out));
}

static void print_line(void *ctx, const char *line)
{
	(void)ctx;
	fprintf(stderr, "%s\n", line);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* All that one receive brought; then take the output, as one send would. */
static void turn(struct bench *b, const uint8_t *data, size_t len)
{
	struct iovec iov[IOV_COUNT];
	int count;

	session_input(b->session, data, len);
	for (;;) {
		while ((count = session_output(b->session, iov, IOV_COUNT)) > 0) {
			size_t sum = 0;
			for (int i = 0; i < count; i++)
				sum += iov[i].iov_len;
			b->out_bytes += sum;
			if (!session_sent(b->session, sum))
				break;
		}
		if (!session_settle(b->session) || session_state(b->session) == SESSION_READ)
			return;
		session_resume(b->session);
	}
}

static size_t put_set(const struct bench *b, uint8_t *out, uint32_t key)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "set key:%010u 0 0 %u\r\n", key, b->value_bytes);
	size_t len = (size_t)n;

	memcpy(out, line, len);
	memset(out + len, 'v', b->value_bytes);
	memcpy(out + len + b->value_bytes, "\r\n", 2);
	return len + b->value_bytes + 2;
}

static size_t put_get(struct bench *b, uint8_t *out, unsigned width)
{
	char key[KEY_BYTES + 2];
	size_t len = 3;

	memcpy(out, "get", 3);
	for (unsigned i = 0; i < width; i++) {
		snprintf(key, sizeof(key), " key:%010u", rng_below(&b->rng, b->keys));
		memcpy(out + len, key, KEY_BYTES + 1);
		len += KEY_BYTES + 1;
	}
	memcpy(out + len, "\r\n", 2);
	return len + 2;
}

static void prepare(struct bench *b, bool sets, unsigned depth, unsigned width)
{
	size_t at = 0;

	for (unsigned i = 0; i < PREPARED; i++) {
		b->offset[i] = at;
		for (unsigned n = 0; n < depth; n++) {
			if (sets)
				at += put_set(b, b->in + at, rng_below(&b->rng, b->keys));
			else
				at += put_get(b, b->in + at, width);
		}
	}
	b->offset[PREPARED] = at;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* A function of its own, so that a profiler can be told to look at nothing else. */
__attribute__((noinline)) static void timed(struct bench *b, unsigned batch)
{
	turn(b, b->in + b->offset[batch], b->offset[batch + 1] - b->offset[batch]);
}

static void run_case(struct bench *b, const char *name, bool sets, unsigned depth, unsigned width)
{
	uint32_t *ns = calloc(b->batches, sizeof(*ns));
	double sum = 0;

	if (!ns)
		exit(1);
	if (b->only && strcmp(b->only, name) != 0) {
		free(ns);
		return;
	}
	prepare(b, sets, depth, width);
	for (unsigned i = 0; i < b->batches; i++) {
		for (size_t j = 0; j < b->cold_bytes; j += CACHE_LINE)
			b->cold[j]++;
		uint64_t start = now_ns();
		timed(b, i % PREPARED);
		ns[i] = (uint32_t)(now_ns() - start);
		sum += ns[i];
	}
	qsort(ns, b->batches, sizeof(*ns), compare_u32);
	double per = depth;
	printf("%-14s fastest %8.1f  p10 %8.1f  median %8.1f  mean %8.1f  ns/request\n", name,
	       ns[0] / per, ns[b->batches / 10] / per, ns[b->batches / 2] / per,
	       sum / b->batches / per);
	free(ns);
}

static void start_node(struct bench *b)
{
	static const uint8_t entropy[NODE_ENTROPY_BYTES] = {1, 2, 3};
	const char *error = NULL;

	settings_init(&b->settings);
	b->settings.memory_bytes_max = MEMORY_BYTES;
	b->settings.requests_per_event = 1000000;
	b->env = (struct node_env){.process_info = no_info, .each_conn = no_conns, .memory = no_memory};
	b->log.sink = print_line;
	b->now = (struct now){.mono_ms = 1000, .wall_ms = (int64_t)time(NULL) * 1000};
	b->node = node_new(&b->settings, &b->env, &b->log, &b->now, entropy, &error);
	if (!b->node || !(b->session = node_session_open(b->node))) {
		fprintf(stderr, "no node: %s\n", error ? error : "?");
		exit(1);
	}
	for (uint32_t k = 0; k < b->keys; k++)
		turn(b, b->in, put_set(b, b->in, k));
}

static void parse(struct bench *b, int argc, char **argv)
{
	for (int i = 1; i + 1 < argc; i += 2) {
		unsigned long v = strtoul(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "--keys") == 0)
			b->keys = (uint32_t)v;
		else if (strcmp(argv[i], "--value") == 0)
			b->value_bytes = (uint32_t)v;
		else if (strcmp(argv[i], "--batches") == 0)
			b->batches = (unsigned)v;
		else if (strcmp(argv[i], "--cold") == 0)
			b->cold_bytes = v * 1024;
		else if (strcmp(argv[i], "--case") == 0)
			b->only = argv[i + 1];
		else
			argc = 0;
	}
	if (argc % 2 == 0 || b->keys < 1 || b->batches < 10 || b->value_bytes > 2000) {
		fprintf(stderr, "usage: hotpath [--keys N] [--value BYTES up to 2000] "
		                "[--batches N] [--cold KIB] [--case NAME]\n");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));

	if (!b)
		return 1;
	b->keys = 100000;
	b->value_bytes = 100;
	b->batches = 200000;
	parse(b, argc, argv);
	b->in = malloc((size_t)PREPARED * BATCH_BYTES_MAX);
	b->cold = malloc(b->cold_bytes + 1);
	if (!b->in || !b->cold)
		return 1;
	start_node(b);
	run_case(b, "get", false, 1, 1);
	run_case(b, "get x 16", false, 16, 1);
	run_case(b, "get of 50", false, 1, 50);
	run_case(b, "set", true, 1, 1);
	run_case(b, "set x 16", true, 16, 1);
	node_session_close(b->node, b->session);
	node_free(b->node);
	free(b->in);
	free((void *)b->cold);
	free(b);
	return 0;
}
