/*
 * sim_shrink.c - runs in a child process, and shorter runs that fail alike.
 *
 * Owns: isolation (a run that hits an assertion, crashes or hangs is reported
 * like one that breaks a property) and the search for a smaller plan: operations
 * are left out in ever smaller pieces, then waits, flags and numbers are made
 * plain, then the configuration, as long as the same property fails.
 *
 * Must not know: what the operations mean.
 *
 * Invariants
 *  [H1] leaving out an operation keeps the instants of those after it
 *
 * Covered by: nothing; a shrunk plan is run again before it is printed.
 */
#include "compat.h"
#include "sim.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_SECONDS_MAX 20 /* of the processor: another program may have it for as long as it likes */

void run_here(const struct plan *plan, bool verbose, struct sim_result *out)
{
	struct sim *s = sim_new(plan, verbose, out);

	sim_run(s);
	sim_free(s);
}

static void describe_death(struct sim_result *out, int status)
{
	int sig = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

	snprintf(out->failure.property, sizeof(out->failure.property), "%s", sig == SIGPROF ? "HANG" : "DIED");
	if (sig)
		snprintf(out->failure.message, sizeof(out->failure.message), "signal %d", sig);
	else
		snprintf(out->failure.message, sizeof(out->failure.message), "exit status %d", WEXITSTATUS(status));
	out->failure.event = out->events;
	out->failure.op = out->op;
}

void run_isolated(const struct plan *plan, bool verbose, bool silent, struct sim_result *out)
{
	struct sim_result *shared =
	        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;

	fflush(NULL);
	pid_t pid = shared == MAP_FAILED ? -1 : fork();
	if (pid < 0) {
		perror("sim: no child process");
		exit(2);
	}
	if (pid == 0) {
		setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = RUN_SECONDS_MAX}, NULL);
		int null = silent ? open("/dev/null", O_WRONLY) : -1;
		if (null >= 0)
			dup2(null, STDERR_FILENO);
		run_here(plan, verbose, shared);
		fflush(NULL);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0)
		;
	*out = *shared;
	munmap(shared, sizeof(*shared));
	if (status != 0)
		describe_death(out, status);
}

/* ---- smaller plans ------------------------------------------------------------------ */

struct search {
	struct plan *best;
	struct plan trial;
	char property[16];
	int runs_left;
	bool progress;
};

/* Keep the trial when it fails like the original. */
static bool try_plan(struct search *f)
{
	struct sim_result r;

	if (f->runs_left <= 0)
		return false;
	f->runs_left--;
	run_isolated(&f->trial, false, true, &r);
	if (strcmp(r.failure.property, f->property) != 0)
		return false;
	*f->best = f->trial;
	f->progress = true;
	return true;
}

static void leave_out(struct plan *p, int first, int count)
{
	uint32_t waits = 0;

	for (int i = first; i < first + count; i++)
		waits += p->ops[i].wait_us;
	memmove(p->ops + first, p->ops + first + count,
	        (size_t)(p->op_count - first - count) * sizeof(p->ops[0]));
	p->op_count -= count;
	if (first < p->op_count)
		p->ops[first].wait_us += waits; /* [H1] */
}

static void drop_pieces(struct search *f)
{
	for (int size = f->best->op_count / 2 + 1; size >= 1; size /= 2)
		for (int i = 0; i + size <= f->best->op_count && f->runs_left > 0;) {
			f->trial = *f->best;
			leave_out(&f->trial, i, size);
			if (!try_plan(f))
				i += size > 1 ? size / 2 : 1;
		}
}

static void plain_numbers(struct search *f)
{
	for (int i = 0; i < f->best->op_count; i++) {
		struct op *op = &f->best->ops[i];
		if (op->flags) {
			f->trial = *f->best;
			f->trial.ops[i].flags = 0;
			try_plan(f);
		}
		if (op->wait_us) {
			f->trial = *f->best;
			f->trial.ops[i].wait_us = 0;
			try_plan(f);
		}
		if (op->a > 1) {
			f->trial = *f->best;
			f->trial.ops[i].a = 1;
			try_plan(f);
		}
		if (op->b) {
			f->trial = *f->best;
			f->trial.ops[i].b = 0;
			try_plan(f);
		}
	}
}

static void plain_config(struct search *f)
{
	struct sim_config *c = &f->trial.config;

#define TRY(change)                                                                         \
	do {                                                                                \
		f->trial = *f->best;                                                        \
		change;                                                                     \
		if (memcmp(c, &f->best->config, sizeof(*c)) != 0)                           \
			try_plan(f);                                                        \
	} while (0)
	TRY(c->pester = false);
	TRY(c->same_origin = false);
	TRY(c->exact = true);
	TRY(c->chunk_max = 65536);
	TRY(c->pipe_bytes = 1 << 20);
	TRY(c->delay_us_max = 30);
	TRY(c->repl_ack_ms = 0);
	TRY(c->secret = 0);
	TRY(c->connect_us_max = 0);
	TRY(c->turn_us_max = 0);
	TRY(c->value_len_max = 12);
	TRY(c->repl_buffer_bytes = 1 << 20);
	TRY(c->repl_tombstones_bytes = 1 << 20);
	for (int i = 0; i < SIM_HOSTS; i++) {
		TRY(c->offset_ms[i] = 0);
		TRY(c->drift_ppm[i] = 0);
		TRY(c->start_us[i] = 0);
		TRY(c->memory_bytes[i] = 64u << 20);
		TRY(c->item_bytes_max[i] = 192u << 10);
	}
#undef TRY
}

void shrink(struct plan *plan, const struct sim_result *failed, int runs_max)
{
	struct search *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->best = plan;
	f->runs_left = runs_max;
	memcpy(f->property, failed->failure.property, sizeof(f->property));
	f->trial = *plan;
	if (failed->failure.op > 0 && failed->failure.op < plan->op_count) {
		f->trial.op_count = failed->failure.op; /* what came after did not matter */
		try_plan(f);
	}
	do {
		f->progress = false;
		drop_pieces(f);
		plain_config(f);
		plain_numbers(f);
	} while (f->progress && f->runs_left > 0);
	free(f);
}
