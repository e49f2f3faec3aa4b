/* load_run.c - the loop: keeps connections busy, times every request. */
#include "compat.h"
#include "load_run.h"

#include <errno.h>
#include <math.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EVENTS_MAX 256
#define NS_PER_S 1000000000ull
#define STALL_MS 30000 /* no event for so long: the server is given up */
#define LOST_CHECKS 8  /* so often in the time after which a reply is lost */

struct run {
	struct run_config config;
	struct conn *conns;
	int epoll_fd;
	int timer_fd;
	unsigned next_conn; /* open loop: where the search for room begins */
	struct rng rng;
	/* of the phase */
	struct source *source;
	struct checker *checker;
	const struct run_limits *limits;
	struct run_result *result;
	uint64_t now_ns, start_ns;
	double due_ns;      /* open loop: when the next request is due */
	uint64_t issued;
	bool stopping;      /* no more requests; waiting for replies */
	uint64_t lost_check_ns; /* UDP: when to look for lost replies again */
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void watch(struct run *run, unsigned i, bool write, int op)
{
	struct epoll_event ev = {.events = EPOLLIN | (write ? EPOLLOUT : 0u), .data.u32 = i};

	if (epoll_ctl(run->epoll_fd, op, run->conns[i].fd, &ev) != 0)
		die("epoll_ctl: %s", strerror(errno));
	run->conns[i].wants_write = write;
}

struct run *run_new(const struct run_config *config)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		die("out of memory");
	run->config = *config;
	run->epoll_fd = epoll_create1(0);
	run->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	run->conns = calloc(config->conns, sizeof(*run->conns));
	if (!run->conns || run->epoll_fd < 0 || run->timer_fd < 0)
		die("cannot set up: %s", strerror(errno));
	for (unsigned i = 0; i < config->conns; i++) {
		conn_open(&run->conns[i], &config->address, config->depth, config->width);
		watch(run, i, false, EPOLL_CTL_ADD);
	}
	struct epoll_event ev = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
	if (epoll_ctl(run->epoll_fd, EPOLL_CTL_ADD, run->timer_fd, &ev) != 0)
		die("epoll_ctl: %s", strerror(errno));
	return run;
}

void run_free(struct run *run)
{
	for (unsigned i = 0; i < run->config.conns; i++)
		conn_close(&run->conns[i]);
	free(run->conns);
	close(run->timer_fd);
	close(run->epoll_fd);
	free(run);
}

/* Put one request on a connection with room; false: there are no more. */
static bool issue(struct run *run, struct conn *c, uint64_t start_ns)
{
	struct request *r = conn_slot(c);

	if (run->stopping || (run->limits->ops && run->issued >= run->limits->ops) ||
	    !run->source->next(run->source, r)) {
		run->stopping = true;
		return false;
	}
	r->start_ns = start_ns;
	c->sent_ns = run->now_ns;
	conn_queue(c, run->config.proto);
	run->issued++;
	return true;
}

static void flush(struct run *run, unsigned i)
{
	struct conn *c = &run->conns[i];
	bool blocked = c->out.off < c->out.end && !conn_flush(c);

	if (blocked != c->wants_write)
		watch(run, i, blocked, EPOLL_CTL_MOD);
}

static void fill_closed(struct run *run, unsigned i)
{
	struct conn *c = &run->conns[i];

	while (conn_has_room(c) && issue(run, c, run->now_ns))
		;
	flush(run, i);
}

static struct conn *find_room(struct run *run, unsigned *index)
{
	for (unsigned n = 0; n < run->config.conns; n++) {
		*index = run->next_conn;
		run->next_conn = (run->next_conn + 1) % run->config.conns;
		if (conn_has_room(&run->conns[*index]))
			return &run->conns[*index];
	}
	return NULL;
}

/* Send all that is due, as far as connections have room. */
static void pump_open(struct run *run)
{
	double gap_ns = (double)NS_PER_S / run->limits->rate;
	unsigned i = 0;

	while (!run->stopping && run->due_ns <= (double)run->now_ns) {
		struct conn *c = find_room(run, &i);
		if (!c || !issue(run, c, (uint64_t)run->due_ns))
			break;
		flush(run, i);
		run->due_ns += run->config.poisson ? -log(1 - rng_unit(&run->rng)) * gap_ns
		                                   : gap_ns;
	}
}

static void account(struct run *run, const struct request *r)
{
	struct run_result *res = run->result;

	if (!res->hist[r->kind]) {
		res->hist[r->kind] = calloc(1, sizeof(struct hist));
		if (!res->hist[r->kind])
			die("out of memory");
	}
	hist_add(res->hist[r->kind], run->now_ns - r->start_ns);
	res->requests++;
	res->keys += r->key_count;
	res->outcome[r->kind][r->outcome]++;
	if (op_is_read(r->kind)) {
		res->reads += r->key_count;
		res->hits += r->hits;
	}
}

static bool take_replies(struct run *run, struct conn *c)
{
	for (;;) {
		enum reply_status s = conn_check(c, run->config.proto, run->checker);
		if (s == REPLY_MORE)
			return true;
		if (s == REPLY_WRONG)
			return false;
		struct request *r = conn_oldest(c);
		account(run, r);
		run->source->done(run->source, r);
		conn_pop(c);
	}
}

static bool on_event(struct run *run, const struct epoll_event *ev)
{
	uint64_t ticks = 0;
	unsigned i = ev->data.u32;

	if (i == UINT32_MAX) {
		if (read(run->timer_fd, &ticks, sizeof(ticks)) < 0 && errno != EAGAIN)
			die("timer: %s", strerror(errno));
		run->now_ns = clock_ns();
		return true;
	}
	struct conn *c = &run->conns[i];
	if (ev->events & ~(uint32_t)EPOLLOUT) {
		if (!conn_receive(c))
			return true;
		run->now_ns = clock_ns();
		if (!take_replies(run, c))
			return false;
	}
	if (run->limits->rate > 0)
		flush(run, i);
	else
		fill_closed(run, i);
	return true;
}

/* UDP: give up what was not answered in time. */
static void expire(struct run *run)
{
	if (run->now_ns < run->lost_check_ns)
		return;
	run->lost_check_ns = run->now_ns + run->config.udp_timeout_ns / LOST_CHECKS;
	for (unsigned i = 0; i < run->config.conns; i++) {
		struct conn *c = &run->conns[i];
		if (!c->in_flight || run->now_ns < c->sent_ns + run->config.udp_timeout_ns)
			continue;
		conn_give_up(c);
		struct request *r = conn_oldest(c);
		run->result->outcome[r->kind][OUT_LOST]++;
		run->source->done(run->source, r);
		conn_pop(c);
		if (run->limits->rate > 0)
			flush(run, i);
		else
			fill_closed(run, i);
	}
}

/* How long epoll may sleep. In an open loop a timer ends the sleep exactly. */
static int sleep_ms(struct run *run)
{
	if (run->config.spin)
		return 0;
	if (run->limits->rate > 0 && !run->stopping) {
		uint64_t at = (uint64_t)run->due_ns + 1;
		struct itimerspec ts = {.it_value = {(time_t)(at / NS_PER_S),
		                                     (long)(at % NS_PER_S)}};
		timerfd_settime(run->timer_fd, TFD_TIMER_ABSTIME, &ts, NULL);
	}
	if (run->config.address.datagrams)
		return (int)(run->config.udp_timeout_ns / LOST_CHECKS / 1000000) + 1;
	return STALL_MS;
}

static unsigned in_flight(const struct run *run)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < run->config.conns; i++)
		sum += run->conns[i].in_flight;
	return sum;
}

static void check_time(struct run *run, uint64_t *last_event_ns, int events)
{
	run->now_ns = clock_ns();
	if (events > 0)
		*last_event_ns = run->now_ns;
	else if (run->now_ns - *last_event_ns > STALL_MS * 1000000ull && in_flight(run))
		die("no reply for %d s, %u requests in flight", STALL_MS / 1000, in_flight(run));
	/* In an open loop all that was due in that time is sent, however late. */
	uint64_t reached = run->limits->rate > 0 ? (uint64_t)run->due_ns : run->now_ns;
	if (run->limits->duration_ns && reached - run->start_ns >= run->limits->duration_ns)
		run->stopping = true;
}

static bool loop(struct run *run)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t last_event_ns = run->now_ns;

	if (!(run->limits->rate > 0))
		for (unsigned i = 0; i < run->config.conns; i++)
			fill_closed(run, i);
	while (!run->stopping || in_flight(run) > 0) {
		if (run->limits->rate > 0)
			pump_open(run);
		if (run->stopping && in_flight(run) == 0)
			break; /* no event would end the sleep */
		int n = epoll_wait(run->epoll_fd, events, EVENTS_MAX, sleep_ms(run));
		if (n < 0 && errno != EINTR)
			die("epoll_wait: %s", strerror(errno));
		for (int i = 0; i < n; i++)
			if (!on_event(run, &events[i]))
				return false;
		check_time(run, &last_event_ns, n);
		if (run->config.address.datagrams)
			expire(run);
	}
	return true;
}

static uint64_t late_datagrams(const struct run *run)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < run->config.conns && run->config.address.datagrams; i++)
		sum += run->conns[i].udp->late;
	return sum;
}

bool run_phase(struct run *run, struct source *source, struct checker *checker,
               const struct run_limits *limits, struct run_result *result)
{
	struct server_times before = server_times(run->config.server_pid);
	uint64_t late = late_datagrams(run);
	double own = own_cpu_s();

	memset(result, 0, sizeof(*result));
	run->source = source;
	run->checker = checker;
	run->limits = limits;
	run->result = result;
	run->issued = 0;
	run->stopping = false;
	run->start_ns = run->now_ns = clock_ns();
	run->due_ns = (double)run->start_ns;
	if (!loop(run))
		return false;
	result->seconds = (double)(clock_ns() - run->start_ns) / 1e9;
	result->own_cpu_s = own_cpu_s() - own;
	struct server_times after = server_times(run->config.server_pid);
	result->server = after;
	if (before.cpu_s >= 0 && after.cpu_s >= 0)
		result->server = (struct server_times){after.cpu_s - before.cpu_s,
		                                       after.wait_s - before.wait_s};
	for (int k = 0; k < OP_KINDS; k++)
		if (result->hist[k])
			hist_merge(&result->all, result->hist[k]);
	result->late = late_datagrams(run) - late;
	return true;
}

void run_result_release(struct run_result *result)
{
	for (int k = 0; k < OP_KINDS; k++) {
		free(result->hist[k]);
		result->hist[k] = NULL;
	}
}
