/*
 * net.c - the loop: one node, one thread, one event base.
 *
 * Owns: turns, the instant, the one timer of the node, signals, and what the
 * node asks of the process (node_env).
 *
 * Must not know: what the bytes mean; how connections are kept (net_conn.c,
 * net_link.c).
 *
 *   loop:  wait for events, run their callbacks        (a bounded piece each, and
 *                                                      CALLBACKS_PER_TURN at most)
 *          resume who yielded, tick the node if due, end the node's turn
 *          compare node_wants() with what is: ports, link, connect, stop
 *          send what the link has got, arm the timer
 *
 * The wait is skipped while somebody has yielded or the node is due already, and with
 * -o busy_poll for that long after something has happened.
 *
 * Invariants
 *  [T1] the clock is read once per turn, and node_set_now() gets every reading
 *  [T2] an idle server wakes up for the node's deadlines and nothing else
 *  [T3] however many are ready, the peer, timers and new connections have their turn
 *       after CALLBACKS_PER_TURN of them; the others stay queued and come first then
 *
 * Covered by: the black-box tests in t.
 */
#include "compat.h"
#include "net_internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A command takes less than 10 us, most of them the kernel's: half a millisecond. Fewer
 * would mean more, and smaller, messages to the peer, one for each turn. */
#define CALLBACKS_PER_TURN 64
#define PORT_FILE_VARIABLE "MEMCACHED_PORT_FILENAME"

bool net_would_block(int err)
{
	return err == EAGAIN || err == EWOULDBLOCK;
}

/* --- time ------------------------------------------------------------------------ */

static int64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t net_mono_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

int64_t net_cpu_us(void)
{
	return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

void net_turn(struct net *net)
{
	if (++net->callbacks >= CALLBACKS_PER_TURN)
		event_base_loopbreak(net->base); /* [T3] */
	if (net->now_is_read)
		return;
	int64_t mono_us = clock_us(CLOCK_MONOTONIC);
	net_meter_begin(&net->meter, mono_us);
	net->mono_us = mono_us;
	net->now.mono_ms = mono_us / 1000;
	net->now.wall_ms = clock_us(CLOCK_REALTIME) / 1000;
	net->now_is_read = true;
	if (net->node)
		node_set_now(net->node, &net->now); /* [T1] */
}

const struct now *net_now(struct net *net)
{
	net->now_is_read = false;
	net_turn(net);
	return &net->now;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct net *net = arg;

	(void)fd, (void)what;
	net->timer_due_ms = INT64_MAX; /* it has fired: arm it anew */
	net_turn(net);
}

static void arm_timer(struct net *net)
{
	int64_t due_ms = node_next_due_ms(net->node);

	if (due_ms == net->timer_due_ms)
		return;
	net->timer_due_ms = due_ms;
	if (due_ms == INT64_MAX) {
		event_del(&net->timer);
		return;
	}
	int64_t wait_ms = due_ms > net->now.mono_ms ? due_ms - net->now.mono_ms : 0;
	struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000};
	event_add(&net->timer, &wait);
}

/* --- what the node asks of the process ---------------------------------------------- */

static int64_t timeval_us(const struct timeval *tv)
{
	return (int64_t)tv->tv_sec * 1000000 + tv->tv_usec;
}

static void process_info(void *ctx, struct process_info *out)
{
	struct rusage usage;

	(void)ctx;
	getrusage(RUSAGE_SELF, &usage);
	*out = (struct process_info){
	        .pid = getpid(),
	        .rusage_user_us = timeval_us(&usage.ru_utime),
	        .rusage_system_us = timeval_us(&usage.ru_stime),
	        .event_library = event_get_version(),
	};
}

static void each_conn(void *ctx, void (*fn)(void *fn_ctx, const struct conn_info *), void *fn_ctx)
{
	struct net *net = ctx;
	char text[NET_ADDR_TEXT_BYTES];
	struct net_addr addr;

	for (int i = 0; i < net->clients.count; i++) {
		if (!net_addr_local(net->clients.at[i]->fd, &addr))
			continue;
		net_addr_stat(&addr, net->settings->socket_path, text);
		struct conn_info info = {.id = net->clients.at[i]->fd,
		                         .addr = text,
		                         .state = "conn_listening",
		                         .idle_s = (net->now.mono_ms - net->started_ms) / 1000};
		fn(fn_ctx, &info);
	}
	if (net->udp)
		net_udp_each(net->udp, fn, fn_ctx);
	net_conns_each(net, fn, fn_ctx);
}

static void memory_info(void *ctx, struct memory_info *out)
{
	const struct net *net = ctx;

	*out = (struct memory_info){
	        .resident_bytes = net_resident_bytes(),
	        .program_bytes = net->program_bytes,
	        .conn_bytes = net_conns_bytes(net),
	        .buffer_bytes = NET_RECV_BYTES + node_buffer_bytes(net->node),
	};
}

const struct node_env *net_env(const struct net *net)
{
	return &net->env;
}

/* --- signals --------------------------------------------------------------------------- */

static void stop(struct net *net, enum stop_mode mode)
{
	assert(mode != STOP_NONE);
	net->stop_mode = mode;
	node_stop(net->node, mode);
}

static void reload(struct net *net, int number)
{
	if (net->hooks->reload)
		net->hooks->reload(net->hooks->ctx);
	else
		log_printf(net->log, LOG_NOTICE, "got signal %d: there is nothing to reload", number);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct net *net = arg;

	(void)what;
	net_turn(net);
	if (number == SIGHUP) {
		reload(net, (int)number);
	} else if (number == SIGUSR1) {
		log_printf(net->log, LOG_NOTICE, "Gracefully stopping");
		if (net->stop_mode == STOP_NONE)
			stop(net, STOP_GRACEFUL);
	} else if (net->stop_mode == STOP_NOW) {
		log_printf(net->log, LOG_NOTICE, "got signal %d again: not waiting any longer", (int)number);
		net->exit_code = EXIT_FAILURE;
		net->done = true;
	} else {
		log_printf(net->log, LOG_INFO, "got signal %d: stopping", (int)number);
		stop(net, STOP_NOW);
	}
}

static bool catch_signals(struct net *net)
{
	static const int numbers[ARRAY_LEN(net->signals)] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP};

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		event_assign(&net->signals[i], net->base, numbers[i], EV_SIGNAL | EV_PERSIST, on_signal, net);
		if (event_add(&net->signals[i], NULL) < 0)
			return false;
	}
	return signal(SIGPIPE, SIG_IGN) != SIG_ERR;
}

/* --- a turn ------------------------------------------------------------------------------ */

static void open_client_ports(struct net *net, const struct net_hooks *hooks)
{
	net->serving = true;
	if (!net_listeners_open(net, &net->clients, net->settings->listen_backlog) ||
	    (net->udp && !net_udp_open(net->udp))) {
		log_printf(net->log, LOG_ERROR, "failed to listen on the client ports: %s", strerror(errno));
		net->exit_code = NET_EXIT_OS_ERROR;
		net->done = true;
		return;
	}
	if (hooks->serving)
		hooks->serving(hooks->ctx);
}

static void stop_accepting(struct net *net)
{
	enum stop_mode mode = net->stop_mode != STOP_NONE ? net->stop_mode
	                                                  : node_engine(net->node)->stop_requested;

	if (!net->stop_accepting) {
		net->stop_accepting = true;
		net_listeners_close(&net->clients);
		net_unix_socket_remove(net);
		if (net->udp)
			net_udp_stop(net->udp);
	}
	if (mode == STOP_GRACEFUL)
		net_conns_close_finished(net);
	else
		net_conns_close_answered(net); /* the others when drained, if not before */
}

static void reconcile(struct net *net, const struct net_hooks *hooks)
{
	struct node_wants wants = node_wants(net->node);

	if (wants.stop_accepting) {
		stop_accepting(net);
		wants = node_wants(net->node); /* the last client may be gone now */
	} else if (wants.client_ports && !net->serving) {
		open_client_ports(net, hooks);
	}
	if (net->link)
		net_link_reconcile(net->link, &wants);
	if (wants.stopped)
		net->done = true;
}

static void end_of_turn(struct net *net, const struct net_hooks *hooks, size_t yielded_before)
{
	bool served = net->callbacks > 0;

	net_turn(net);
	if (served)
		net->served_us = net->mono_us;
	if (yielded_before) {
		net_meter_cause(&net->meter, TURN_REST);
		net_conns_resume(net, yielded_before);
	}
	if (node_next_due_ms(net->node) <= net->now.mono_ms) {
		net_meter_cause(&net->meter, TURN_OTHER);
		net->meter.cause = node_tick(net->node); /* it is known afterwards */
	}
	if (net->link)
		net_meter_cause(&net->meter, repl_is_walking(node_repl(net->node)) ? TURN_WALK : TURN_PEER);
	node_turn_end(net->node);
	net_conns_unhold(net);
	if (net->udp)
		net_udp_turn_end(net->udp);
	net_accept_resume(net);
	reconcile(net, hooks);
	if (net->link)
		net_link_turn_end(net->link);
	arm_timer(net);
	net_meter_end(&net->meter, &node_engine(net->node)->latency, net->now.wall_ms);
}

static void close_all(struct net *net)
{
	net_conns_close_all(net);
	if (net->udp)
		net_udp_close(net->udp);
	if (net->link)
		net_link_close_all(net->link);
	net_listeners_close(&net->clients);
	net_unix_socket_remove(net);
	if (net->exit_code == 0)
		log_printf(net->log, LOG_INFO, "Exiting normally");
}

/* Whether something happened so recently that more is worth looking for awake. */
static bool is_polling(const struct net *net)
{
	return net->mono_us - net->served_us < net->settings->busy_poll_us;
}

int net_run(struct net *net, struct node *node, const struct net_hooks *hooks)
{
	net->node = node;
	net->hooks = hooks;
	net->now_is_read = false;
	end_of_turn(net, hooks, 0);
	net_port_file_write(net);
	if (hooks->started && !net->done)
		hooks->started(hooks->ctx);
	latency_reset(&node_engine(node)->latency); /* what starting took does not count */
	net->program_bytes = net_resident_bytes();
	while (!net->done) {
		size_t yielded = net_conns_yielded(net);
		bool due = net->timer_due_ms <= net->now.mono_ms; /* armed just now */
		int wait = yielded || due || is_polling(net) ? EVLOOP_NONBLOCK : 0;
		net->now_is_read = false;
		net->callbacks = 0;
		if (event_base_loop(net->base, EVLOOP_ONCE | wait) < 0) {
			log_printf(net->log, LOG_ERROR, "the event loop failed: %s", strerror(errno));
			net->exit_code = NET_EXIT_OS_ERROR;
			break;
		}
		end_of_turn(net, hooks, yielded);
	}
	close_all(net);
	return net->exit_code;
}

/* --- creation ------------------------------------------------------------------------------ */

/* The variable may hold a relative path, and a daemon changes its directory. */
static void find_port_file(struct net *net)
{
	const char *path = getenv(PORT_FILE_VARIABLE);
	char directory[SETTINGS_PATH_MAX / 2] = "";

	if (!path || !*path)
		return;
	if (*path != '/' && !getcwd(directory, sizeof(directory)))
		return;
	int len = snprintf(net->port_file, sizeof(net->port_file), "%s%s%s", directory,
	                   *directory ? "/" : "", path);
	if (len < 0 || (size_t)len >= sizeof(net->port_file))
		net->port_file[0] = '\0';
}

/* libevent's chatter about name servers is said better by replication's log. */
static void on_event_log(int severity, const char *message)
{
	if (severity >= EVENT_LOG_WARN)
		fprintf(stderr, "libevent: %s\n", message);
}

static bool create_events(struct net *net)
{
	struct event_config *config = event_config_new();

	event_set_log_callback(on_event_log);
	if (!config)
		return false;
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	net->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!net->base)
		return false;
	evtimer_assign(&net->timer, net->base, on_timer, net);
	evtimer_assign(&net->pause.retry, net->base, net_accept_retry, net);
	event_assign(&net->idle_timer, net->base, -1, EV_PERSIST, net_conns_close_idle, net);
	struct timeval second = {1, 0};
	if (net->settings->idle_timeout_s > 0 && event_add(&net->idle_timer, &second) < 0)
		return false;
	return catch_signals(net);
}

struct net *net_new(const struct settings *settings, struct log *log, char error[NET_ERROR_BYTES])
{
	struct net *net = calloc(1, sizeof(*net));

	snprintf(error, NET_ERROR_BYTES, "cannot start the event loop");
	if (!net)
		return NULL;
	net->settings = settings;
	net->log = log;
	net->meter.with_cpu = settings->turn_cpu;
	net->env = (struct node_env){process_info, each_conn, memory_info, net};
	net->timer_due_ms = INT64_MAX;
	net_list_init(&net->conns);
	net_list_init(&net->yielded);
	net_list_init(&net->held);
	find_port_file(net);
	net->recv_buf = malloc(NET_RECV_BYTES);
	if (!net->recv_buf || !create_events(net))
		goto fail;
	net_turn(net);
	net->started_ms = net->now.mono_ms;
	if (!net_listen_bind_clients(net, error))
		goto fail;
	if (settings->udp_port && !(net->udp = net_udp_new(net, error)))
		goto fail;
	if (settings->replicated && !(net->link = net_link_new(net, error)))
		goto fail;
	return net;
fail:
	net_free(net);
	return NULL;
}

void net_free(struct net *net)
{
	if (!net)
		return;
	assert(net_list_empty(&net->conns));
	net_listeners_close(&net->clients);
	net_unix_socket_remove(net);
	net_udp_free(net->udp);
	if (net->link)
		net_link_free(net->link);
	if (net->base) {
		for (size_t i = 0; i < ARRAY_LEN(net->signals); i++)
			if (event_initialized(&net->signals[i]))
				event_del(&net->signals[i]);
		event_base_free(net->base);
	}
	free(net->recv_buf);
	free(net);
}
