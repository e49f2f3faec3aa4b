/*
 * sim_main.c - options, seeds, the coverage table.
 *
 *   t/sim -s FIRST -n COUNT        seeds FIRST .. FIRST+COUNT-1 (default 1, 200)
 *         -t SECONDS               stop after that much time
 *         -f FILE                  run the seeds of FILE first (t/seeds)
 *         -p PROFILE               1 no partitions or crashes, 2 little memory,
 *                                  3 a third daemon, 4 tiny buffers, 5 long walks,
 *                                  6 apart and together, 7 as it comes (default:
 *                                  drawn from the seed)
 *         -e OPS                   operations per run
 *         -v                       the trace of every run, and the coverage table
 *         -c                       the coverage table
 *         -k COUNT                 go on until COUNT seeds failed (default 1)
 *         -i                       in this process (for a debugger)
 *         -S RUNS                  how many runs to spend on shrinking (0: none)
 *         -V                       the trace of the shrunk run
 *
 * Exit status: 0 all held, 1 something failed, 2 usage.
 *
 * Must not know: how a run works.
 *
 * Covered by: make check.
 */
#include "compat.h"
#include "sim.h"

#include <unistd.h>

#define FAILURE_KINDS_MAX 32

struct options {
	uint64_t first, count;
	int seconds, profile, ops_max, failures_max, shrink_runs;
	bool verbose, coverage, here, verbose_shrunk;
	const char *file;
};

struct tally {
	uint64_t runs, failures, events, trace;
	uint64_t covered_runs[COV_COUNT], covered_events[COV_COUNT];
	char kinds[FAILURE_KINDS_MAX][16];
	uint64_t kind_count[FAILURE_KINDS_MAX];
	struct timespec started;
};

static double elapsed_s(const struct tally *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->started.tv_sec) + (double)(now.tv_nsec - t->started.tv_nsec) / 1e9;
}

static void usage(void)
{
	fprintf(stderr, "usage: sim [-s first] [-n count] [-t seconds] [-f file] [-p profile] [-e ops]\n"
	                "           [-v] [-c] [-k failures] [-i] [-S shrink runs] [-V]\n");
	exit(2);
}

static int64_t number(const char *text)
{
	uint64_t v;

	if (!parse_u64(text, strlen(text), &v) || v > INT64_MAX)
		usage();
	return (int64_t)v;
}

static void read_options(struct options *o, int argc, char **argv)
{
	int c;

	*o = (struct options){.first = 1, .count = 200, .failures_max = 1, .shrink_runs = 1500};
	while ((c = getopt(argc, argv, "s:n:t:f:p:e:vck:iS:V")) != -1) {
		switch (c) {
		case 's': o->first = (uint64_t)number(optarg); break;
		case 'n': o->count = (uint64_t)number(optarg); break;
		case 't': o->seconds = (int)number(optarg); break;
		case 'f': o->file = optarg; break;
		case 'p': o->profile = (int)number(optarg); break;
		case 'e': o->ops_max = (int)number(optarg); break;
		case 'v': o->verbose = o->coverage = true; break;
		case 'c': o->coverage = true; break;
		case 'k': o->failures_max = (int)number(optarg); break;
		case 'i': o->here = true; break;
		case 'S': o->shrink_runs = (int)number(optarg); break;
		case 'V': o->verbose_shrunk = true; break;
		default: usage();
		}
	}
	if (optind != argc)
		usage();
}

/* First of its kind? */
static bool count_kind(struct tally *t, const char *property)
{
	for (int i = 0; i < FAILURE_KINDS_MAX; i++) {
		if (!t->kinds[i][0]) {
			snprintf(t->kinds[i], sizeof(t->kinds[i]), "%s", property);
			t->kind_count[i] = 1;
			return true;
		}
		if (strcmp(t->kinds[i], property) == 0) {
			t->kind_count[i]++;
			return false;
		}
	}
	return false;
}

static void report(struct tally *t, const struct options *o, uint64_t seed, int profile, struct plan *plan,
                   const struct sim_result *r)
{
	bool first = count_kind(t, r->failure.property);

	printf("seed %" PRIu64 " FAILS %s: %s\n", seed, r->failure.property, r->failure.message);
	printf("  event %" PRIu64 ", operation %d; replay: t/sim -s %" PRIu64 " -n 1", r->failure.event,
	       r->failure.op, seed);
	if (profile)
		printf(" -p %d", profile);
	if (o->ops_max)
		printf(" -e %d", o->ops_max);
	printf(" -v\n");
	if (!first || o->shrink_runs == 0)
		return;
	int before = plan->op_count;
	shrink(plan, r, o->shrink_runs);
	printf("  shrunk from %d to %d operations:\n", before, plan->op_count);
	plan_print_config(&plan->config);
	for (int i = 0; i < plan->op_count; i++)
		plan_print_op(&plan->ops[i], i + 1);
	struct sim_result again;
	run_isolated(plan, o->verbose_shrunk, false, &again);
	printf("  %s: %s\n", again.failure.property, again.failure.message);
}

static void run_seed(struct tally *t, const struct options *o, uint64_t seed, int profile)
{
	struct plan *plan = malloc(sizeof(*plan));
	struct sim_result r = {0};

	if (!plan)
		abort();
	plan_make(plan, seed, profile, o->ops_max);
	if (o->verbose)
		plan_print_config(&plan->config);
	if (o->here)
		run_here(plan, o->verbose, &r);
	else
		run_isolated(plan, o->verbose, false, &r);
	t->runs++;
	t->events += r.events;
	t->trace = hash_key(&r.trace, sizeof(r.trace), t->trace);
	for (int i = 0; i < COV_COUNT; i++) {
		t->covered_runs[i] += r.coverage[i] != 0;
		t->covered_events[i] += r.coverage[i];
	}
	if (o->verbose)
		printf("seed %" PRIu64 ": %" PRIu64 " events, trace %016" PRIx64 "\n", seed, r.events, r.trace);
	if (r.failure.property[0]) {
		t->failures++;
		report(t, o, seed, profile, plan, &r);
	}
	free(plan);
}

/* The same seed must give the same trace. */
static void check_determinism(struct tally *t, const struct options *o)
{
	struct sim_result r[2];

	for (int i = 0; i < 2; i++) {
		struct plan *plan = malloc(sizeof(*plan));
		if (!plan)
			abort();
		plan_make(plan, o->first, o->profile, o->ops_max);
		run_isolated(plan, false, true, &r[i]);
		free(plan);
	}
	if (r[0].trace == r[1].trace && r[0].events == r[1].events)
		return;
	printf("seed %" PRIu64 " FAILS: not deterministic, traces %016" PRIx64 " and %016" PRIx64 "\n", o->first,
	       r[0].trace, r[1].trace);
	t->failures++;
}

/* Lines of a seeds file: SEED [PROFILE] then anything. # begins a comment. */
static void run_file(struct tally *t, const struct options *o)
{
	char line[512];
	FILE *f = fopen(o->file, "r");

	if (!f) {
		fprintf(stderr, "sim: cannot read %s\n", o->file);
		exit(2);
	}
	while (fgets(line, sizeof(line), f)) {
		unsigned long long seed;
		int profile = 0;
		if (line[0] != '#' && sscanf(line, "%llu %d", &seed, &profile) >= 1)
			run_seed(t, o, seed, profile);
	}
	fclose(f);
}

static void print_coverage(const struct tally *t)
{
	printf("%-26s %10s %12s\n", "what happened", "in runs", "times");
	for (int i = 0; i < COV_COUNT; i++)
		printf("%-26s %10" PRIu64 " %12" PRIu64 "%s\n", coverage_name(i), t->covered_runs[i],
		       t->covered_events[i], t->covered_events[i] ? "" : "   NEVER");
}

static bool enough(const struct tally *t, const struct options *o)
{
	return t->failures >= (uint64_t)o->failures_max || (o->seconds && elapsed_s(t) >= o->seconds);
}

int main(int argc, char **argv)
{
	struct options o;
	struct tally t = {0};

	read_options(&o, argc, argv);
	clock_gettime(CLOCK_MONOTONIC, &t.started);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (o.file)
		run_file(&t, &o);
	if (!o.verbose && o.count)
		check_determinism(&t, &o);
	for (uint64_t i = 0; i < o.count && !enough(&t, &o); i++)
		run_seed(&t, &o, o.first + i, o.profile);
	if (o.coverage)
		print_coverage(&t);
	printf("sim: %" PRIu64 " runs, %" PRIu64 " events, %" PRIu64 " failed, trace %016" PRIx64 ", %.1f s\n",
	       t.runs, t.events, t.failures, t.trace, elapsed_s(&t));
	for (int i = 0; i < FAILURE_KINDS_MAX && t.kinds[i][0]; i++)
		printf("  %s: %" PRIu64 "\n", t.kinds[i], t.kind_count[i]);
	return t.failures ? 1 : 0;
}
