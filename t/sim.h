/*
 * sim.h - two daemons, their network, their clients and their clocks in one
 * process, driven by one seed.
 *
 * Owns: the types that the parts of the simulator share. How it works, what it
 * checks and how a failing seed is replayed stands in doc/simulator.txt.
 *
 *   sim_plan.c     seed -> configuration and an explicit list of operations
 *   sim_world.c    the event heap; hosts: the shell's duties towards a node
 *   sim_ops.c      executes one operation (faults here, client commands there)
 *   sim_net.c      connections between hosts, as byte streams
 *   sim_sniff.c    frames in those streams
 *   sim_clients.c  sessions: commands in, replies out
 *   sim_speech.c   a command said in another protocol
 *   sim_reply.c    replies read back and judged
 *   sim_check.c    the oracle: ghosts, and the properties P1..P9
 *   sim_drops.c    the oracle of what goes away: reasons, tombstones, SWEEP
 *   sim_shrink.c   runs in a child process; removes operations while it fails
 *   sim_main.c     options, seeds, the coverage table
 *
 * Invariants
 *  [M1] everything that happens is a function of (config, ops): no wall time,
 *       no addresses, no rand()
 *  [M2] the production code sees two nodes through node.h, session.h and
 *       replication.h; checks read them with items.h inspection functions only
 */
#ifndef SIM_H
#define SIM_H

#include "compat.h"
#include "node.h"
#include "repl_wire.h"
#include "util.h"

#define SIM_HOSTS 3     /* A, B and C, a third daemon that takes A's place or pesters B */
#define SIM_KEYS 80     /* hot ones first, then those that only make pressure */
#define SIM_HOT 6
#define SIM_CLIENTS 3   /* sessions per host ... */
#define SIM_SESSIONS 4  /* ... and one that speaks binary */
#define SIM_WIRES 24
#define SIM_EVENTS 8192 /* waiting ones */
#define SIM_OPS 2000

/* ---- the plan ------------------------------------------------------------- */

#define SIM_OPS_TABLE(X)                                                                    \
	X(SET, "set") X(SETEXP, "set-expiring") X(SETDEAD, "set-expired") X(ADD, "add")     \
	X(REPLACE, "replace") X(APPEND, "append") X(PREPEND, "prepend") X(CAS, "cas")       \
	X(DELETE, "delete") X(INCR, "incr") X(DECR, "decr") X(TOUCH, "touch") X(GAT, "gat") \
	X(GATS, "gats") X(GET, "get") X(GETS, "gets") X(FLUSH, "flush_all")                 \
	X(FLUSHLATER, "flush_all-later") X(SETHUGE, "set-too-large") X(FILL, "fill")        \
	X(PIPELINE, "pipeline") X(TOUCHES, "touch-often") X(PURGE, "purge") X(STALE, "md-invalidate") \
	X(WAIT, "wait") X(STEP, "clock-step") X(DRIFT, "clock-drift") X(DROP, "DROP")       \
	X(RESET, "RESET") X(STALL, "stall") X(UNSTALL, "unstall") X(CUT, "PARTITION")       \
	X(HEAL, "heal") X(CRASH, "CRASH") X(TERM, "TERM") X(NOMEM, "alloc-failure")         \
	X(SWAP, "SWAP-third-daemon") X(YOUNG, "DROP-young-link") X(TWIN, "set-on-both")         \
	X(NOLISTEN, "listen-fails") X(QUIESCE, "QUIESCE")                                   \
	X(MEMLIMIT, "cache_memlimit") X(REASSIGN, "slabs-reassign") X(CRAWL, "crawl")           \
	X(VIVIFY, "mg-N") X(RECACHE, "mg-R") X(AUTOVIV, "ma-N")

enum op_type {
#define X(id, name) OP_##id,
	SIM_OPS_TABLE(X)
#undef X
	OP_COUNT
};
#define OP_LAST_CLIENT OP_STALE
#define OP_FIRST_EXTRA OP_MEMLIMIT /* these are a client's, too ... */
#define OP_FIRST_LEASE OP_VIVIFY   /* ... and these are judged alone, or not done */

static inline bool op_is_client(int type)
{
	return type <= OP_LAST_CLIENT || type >= OP_FIRST_EXTRA;
}

enum op_flags {
	OPF_NOREPLY = 1 << 0,
	OPF_DRIBBLE = 1 << 1, /* bytes reach the session bit by bit, among other events */
	OPF_NUMBER = 1 << 2,  /* the value is a decimal number */
	OPF_ABSOLUTE = 1 << 3, /* expiry as an absolute time */
	OPF_BLIND = 1 << 4     /* nobody looks before it: it is the first to notice what is due */
};

struct op {
	uint8_t type, host, key, flags;
	int32_t a, b;     /* meaning depends on type; see sim_plan.c */
	uint32_t wait_us; /* from the operation before */
	uint32_t seed;    /* whatever else is random about it */
};

struct sim_config {
	uint64_t seed; /* of the nodes' entropy and of the network's moods */
	int keys;      /* hot keys in use */
	bool dial[SIM_HOSTS];
	int64_t offset_ms[SIM_HOSTS];
	int drift_ppm[SIM_HOSTS];
	size_t memory_bytes[SIM_HOSTS], item_bytes_max[SIM_HOSTS];
	size_t repl_buffer_bytes, repl_tombstones_bytes;
	int repl_timeout_ms, repl_ack_ms, hash_power;
	uint32_t start_us[SIM_HOSTS];
	uint32_t value_len_max, chunk_max, delay_us_max, connect_us_max, turn_us_max;
	size_t pipe_bytes;
	int secret;  /* 0 none, 1 all the same, 2 C has another one */
	bool same_origin; /* all daemons draw the same one */
	bool exact;  /* never more than one frame per input call */
	bool pester; /* C keeps connecting to B */
};

struct plan {
	struct sim_config config;
	int op_count;
	struct op ops[SIM_OPS];
};

/* profile 0: drawn from the seed. ops_max 0: drawn from the seed. */
void plan_make(struct plan *p, uint64_t seed, int profile, int ops_max);
void plan_print_config(const struct sim_config *c);
void plan_print_op(const struct op *op, int number);
const char *op_name(int type);

/* ---- coverage -------------------------------------------------------------- */

#define SIM_COVERAGE_TABLE(X)                                                               \
	X(client_ops) X(set_stored) X(set_expired) X(set_too_large) X(set_no_memory) X(add)  \
	X(cas_stored) X(cas_exists) X(append) X(del_found) X(del_notfound) X(incr) X(touch)  \
	X(touch_new_version) X(touch_in_walk) X(get_hit) X(get_miss)        \
	X(large_value) X(noreply) X(pipelined) X(dribbled) X(slave_waits)                    \
	X(flush_now) X(flush_delayed) X(flush_fired) X(flush_fired_apart)                    \
	X(evict_own_unacked) X(evict_own_acked) X(evict_received) X(evict_touched)           \
	X(evict_in_walk) X(expire_reclaim) X(expire_unacked) X(expire_touched) X(alloc_failed)                 \
	X(connect_refused) X(connect_timeout) X(links_opened) X(both_connected)              \
	X(drop_inflight) X(drop_idle) X(drop_both_lose) X(halfopen_replaced) X(reset)        \
	X(drop_young) X(same_origin) X(twin) X(tie) X(invalidated) X(stale_compared) \
	X(crash) X(crash_in_walk) X(crash_with_unacked) X(term) X(term_drained) X(term_checked)              \
	X(reconnect_same) X(reconnect_newid) X(third_daemon) X(third_refused)                \
	X(apart_both_written) X(clock_back) X(pipe_full) X(read_held)                        \
	X(frame_ITEM) X(frame_TOMB) X(frame_TOUCH) X(frame_FLUSH) X(frame_BEGIN)             \
	X(frame_HAVE) X(frame_SWEEP) X(frame_MARK) X(frame_ACK) X(mark_synced)               \
	X(ack_refused) X(walk_first) X(walk_reconnect) X(walk_overload) X(walk_aborted)      \
	X(walk_sweeping) X(write_in_walk) X(lost_raised) X(lost_raised_in_walk)              \
	X(lost_cleared) X(tomb_lost) X(sweep_dropped) X(sweep_dropped_unacked)               \
	X(touch_by_walk) X(conflict_lost) X(conflict_won) X(stale_ignored)                   \
	X(rule3_drop) X(not_storable) X(barrier_ignored) X(tomb_hides) X(touch_ignored)      \
	X(echo_exempt) X(acked_writes_checked) X(quiet) X(held) X(held_acked) X(held_refused)       \
	X(held_timeout) X(held_unlinked) X(sweep_judged) X(tomb_kept_checked) X(echo_waited)  \
	X(meta_set) X(meta_add) X(meta_replace) X(meta_append) X(meta_prepend) X(meta_cas)    \
	X(meta_delete) X(meta_stale) X(meta_incr) X(meta_decr) X(meta_touch) X(meta_gat)      \
	X(meta_get) X(meta_quiet) X(meta_base64) X(meta_outdated)                             \
	X(binary_set) X(binary_add) X(binary_replace) X(binary_append) X(binary_prepend)      \
	X(binary_cas) X(binary_delete) X(binary_incr) X(binary_decr) X(binary_touch)          \
	X(binary_gat) X(binary_get) X(binary_flush) X(binary_quiet)                          \
	X(memory_lowered) X(reassigned) X(reassign_refused) X(pages_moved) X(crawled)         \
	X(vivified) X(recache_won) X(recache_sent) X(counted_from_nothing)
enum coverage {
#define X(id) COV_##id,
	SIM_COVERAGE_TABLE(X)
#undef X
	COV_COUNT
};
const char *coverage_name(int id);

/* ---- network ---------------------------------------------------------------- */

/* What is in a byte stream: a line, then frames. */
struct sniff {
	uint8_t *data;
	size_t len, capacity;
	int lines; /* handshake lines seen */
};

/* A decoded frame, as far as the oracle cares. */
struct frame {
	enum wire_type type;
	int key; /* index, -1 none of ours */
	struct state_order order;
	uint64_t version; /* FLUSH: barrier; BEGIN, SWEEP, MARK, ACK: theirs */
	uint8_t bits;
	size_t bytes;   /* whole frame */
	uint64_t start; /* its offset in the stream (what leaves) */
	uint64_t event; /* in which it was seen */
};

enum end_state {
	END_PENDING, /* connecting, or not accepted yet */
	END_OPEN,
	END_CLOSED
};

struct pipe {
	uint8_t *data; /* sent and not yet delivered */
	size_t off, len;
	bool scheduled, fin;
	int64_t stalled_until_us, deliver_at_us;
	uint64_t taken; /* bytes that were ever put into it */
	struct sniff out, in;
};

/* A walk of the sender, as the oracle knows it. */
struct walk_begun {
	uint64_t clock; /* of BEGIN */
	uint64_t event; /* it began after this one; 0: not known */
};
#define SIM_BEGUN 64 /* walks of one direction whose SWEEP may be under way */

struct wire {
	bool used, lost; /* lost: nothing arrives any more, nobody knows */
	bool was_stalled;
	uint32_t generation;
	int host[2]; /* [0] connected, [1] accepted */
	uint32_t incarnation[2];
	enum end_state state[2];
	struct repl_conn *conn[2];
	struct pipe pipe[2]; /* [i]: bytes from side i */
	/* what the sniffer knows of the direction from side i */
	bool walking[2], synced[2];
	uint32_t walks[2];
	uint64_t hello_clock[2], hello_seen[2]; /* said by side i; seen: if it counts */
	uint16_t hello_origin[2];
	struct walk_begun begun[2][SIM_BEGUN];
	unsigned begun_out[2], begun_in[2];
	uint64_t empty_event[2]; /* when nothing waited to be sent */
};

/* ---- hosts ------------------------------------------------------------------- */

/* What the oracle remembers of one key on one host (since that daemon began). */
struct ghost {
	struct state_order app;  /* newest state held or applied here */
	bool app_removed;        /* ... and it was a removal */
	struct state_order vis;  /* newest state shown here */
	uint64_t gone_evicted;   /* newest version that was evicted, expired, or not storable */
	uint64_t refused;        /* version of an ITEM that was not taken, and did not come again */
	uint64_t gone_bound;     /* newest version dropped by lost_below or SWEEP */
	uint64_t own_stamp;      /* version drawn for the newest own change */
	bool own;                /* that is what is held */
	bool present;            /* an item or a tombstone is held ... */
	uint64_t present_since;  /* ... all the time since this event */
	struct state_order removed; /* newest removal or drop here */
	uint64_t tomb_stamp, tomb_version; /* of the tombstone that is held */
	uint32_t came_wire;      /* generation of the connection that brought what is held ... */
	uint64_t came_taken;     /* ... and what had been put, or waited, to be sent on it then */
	uint32_t source;         /* incarnation its value came from; 0: made here */
	uint32_t touch_source;   /* ... its newest touch */
	bool shadow;             /* by the observer's account something is held */
	struct state_order shadow_order;
	uint64_t shadow_hash;
};

/* A reply that is to come. */
struct awaited {
	uint8_t op_type, key;
	uint64_t floor; /* it may not show an older version */
};
#define SIM_AWAITED 1024
#define SIM_WRITES 64

struct client {
	struct session *session;
	uint8_t *in; /* bytes still to be sent to the session */
	size_t in_off, in_len;
	uint8_t *out; /* reply bytes not understood yet */
	size_t out_len;
	struct awaited awaited[SIM_AWAITED]; /* a ring */
	unsigned awaited_head, awaited_tail;
	bool scheduled;
	/* repl_ack: changes whose reply is held back until the peer has them */
	struct {
		uint8_t key;
		struct state_order order;
	} writes[SIM_WRITES];
	int write_count;
	bool held;
	int64_t held_since_us;
};

/* A frame that was delivered and whose effect is not accounted for yet. */
struct pending_frame {
	struct frame frame;
	int wire;
};
#define SIM_PENDING 4096

struct sim;

struct host {
	struct sim *sim;
	int id;
	bool up, in_turn, stopping, listening, ports_open, may_fail, listen_fails;
	uint32_t incarnation;
	struct node *node;
	struct settings settings;
	struct log log;
	struct node_env env;
	struct now now;
	int64_t offset_ms, drift_since_us;
	int drift_ppm;
	uint64_t connect_seq;
	uint32_t connect_attempt, tick_generation;
	int64_t tick_at_us, down_until_us, stop_at_us;
	size_t memory_low; /* the lowest limit so far */
	bool reassigned;   /* an operator had a page moved: something may be evicted for it */
	uint64_t pages_moved;
	bool dial_next;
	struct client clients[SIM_SESSIONS];
	struct client *running; /* whose commands are being executed */
	char key_texts[SIM_KEYS][KEY_BYTES_MAX + 1];
	struct key keys[SIM_KEYS]; /* with this node's hashes */
	/* oracle */
	struct ghost ghosts[SIM_KEYS];
	uint64_t change_seq, client_changes, lost_below, lost_below_max, tombs_lost;
	uint32_t peer_incarnation;
	uint32_t link_wire; /* generation of the connection whose frames it reads; 0: none */
	uint64_t node_id;
	uint64_t acked;  /* by the present peer, at most */
	uint64_t since;  /* what there was when it became the peer */
	uint64_t seen_from; /* it can have seen no less: its first BEGIN; UINT64_MAX: not sent yet */
	uint64_t marked; /* the highest MARK that was read from the present peer */
	uint64_t heard, written; /* the highest version that was read; made here */
	uint64_t tombs_missing, tombs_lost_now; /* in this event */
	int sweeps_pending; /* read, and not accounted for; the last of them: */
	uint64_t sweep_upto;
	struct walk_begun walk, sweep_walk;
	uint32_t sweep_from;
	uint64_t mark_seen;   /* version of the last MARK that was read */
	uint64_t refused_due;   /* the ACK at or above this must say `refused` */
	uint64_t refused_event; /* in which one did */
	uint64_t peer_max, former_max; /* highest version of the present, of former peers */
	bool greeted, had_peer, written_apart; /* a line was read; frames went either way */
	struct pending_frame *pending;
	int pending_count;
	uint64_t turns, checks;
	bool in_peer_input;
	uint32_t input_from;
};

/* ---- the run ------------------------------------------------------------------ */

enum event_type {
	EV_OP,
	EV_START,
	EV_TICK,
	EV_TURN_END,
	EV_CONNECT,
	EV_CONNECTED,
	EV_ACCEPT,
	EV_DELIVER,
	EV_WRITABLE,
	EV_NOTICE,
	EV_CLIENT
};

struct event {
	int64_t at_us;
	uint64_t sequence;
	uint8_t type, host, side;
	int32_t index;
	uint32_t generation;
};

struct failure {
	char property[16]; /* "" none */
	char message[400];
	uint64_t event;
	int op;
};

struct sim_result {
	struct failure failure;
	uint64_t trace, events, coverage[COV_COUNT];
	int op; /* how far it came, if it died */
};

struct value_seen {
	uint64_t version, hash;
	uint32_t key, used;
};

struct sim {
	struct plan plan;
	int op_next;
	int64_t now_us;
	uint64_t sequence, event_count;
	struct event heap[SIM_EVENTS];
	int heap_len;
	struct prng net;
	struct host hosts[SIM_HOSTS];
	struct wire wires[SIM_WIRES];
	uint32_t incarnations, generations;
	int side_a; /* which host is the partner of B: 0, or 2 after SWAP */
	bool apart, apart_refuses, quiescing, calm;
	int young_frames;     /* 0, or: after so many the next link is lost ... */
	uint32_t young_after; /* ... of those younger than this connection */
	bool touched_hosts[SIM_HOSTS];
	uint64_t frames[2]; /* put on wires: [0] heartbeats, [1] all others */
	uint64_t trace;
	bool verbose;
	struct failure failure;
	uint64_t coverage[COV_COUNT];
	struct value_seen *values;
	size_t values_capacity, values_count;
	struct sim_result *result; /* shared with the parent process */
};

#define SIM_WALL_BASE_MS INT64_C(1790000000000)

/* sim_world.c */
struct sim *sim_new(const struct plan *plan, bool verbose, struct sim_result *result);
void sim_free(struct sim *s);
void sim_run(struct sim *s);
void sim_fail(struct sim *s, const char *property, const char *fmt, ...) PRINTF_LIKE(3, 4);
void sim_say(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_trace(struct sim *s, const void *data, size_t len);
void sim_trace_u64(struct sim *s, uint64_t v);
static inline bool sim_failed(const struct sim *s)
{
	return s->failure.property[0] != 0;
}
static inline void sim_cover(struct sim *s, enum coverage id)
{
	s->coverage[id]++;
}
void sim_push(struct sim *s, int64_t at_us, struct event e);
void sim_quiesce(struct sim *s);
void host_turn(struct host *h); /* a callback of this host's loop begins */
void host_start(struct host *h);
void host_crash(struct host *h, bool silent);
int64_t host_wall_ms(const struct host *h);
struct host *sim_peer(struct sim *s, const struct host *h);

/* sim_ops.c */
void op_run(struct sim *s, const struct op *op);

/* sim_net.c */
void net_connect(struct host *h);
void net_event(struct sim *s, const struct event *e);
void net_pump(struct host *h);
void net_host_gone(struct host *h, bool silent);
void net_stop_listening(struct host *h);
void net_drop(struct sim *s, struct wire *w, const int notice_ms[2]);
void net_reset(struct sim *s, struct wire *w);
void net_stall(struct sim *s, int from_host, int64_t until_us);
void net_expel(struct sim *s);
bool net_reachable(struct sim *s, int a, int b);
/* The wire on which both ends are open and which both know to be the link. */
struct wire *net_link(struct sim *s);
int net_open_wires(struct sim *s, int a, int b);
/* What was put on a wire from `side`, or waits to be. */
uint64_t net_taken(const struct wire *w, int side);
bool net_wire_whole(struct sim *s, const struct wire *w);

/* sim_sniff.c */
void sniff_bytes(struct sim *s, struct wire *w, int side, bool arriving, const uint8_t *data, size_t len);
void sniff_release(struct sniff *n);
/* Frames of each type in the stream that continues with data. */
void sniff_count_control(const struct sniff *n, const uint8_t *data, size_t len, int counts[WIRE_TYPE_COUNT]);
/* How many of the arriving bytes complete the frame in progress. */
size_t sniff_until_frame_end(const struct sniff *n, const uint8_t *next, size_t len);

/* sim_clients.c */
int key_index(const uint8_t *key, size_t len);
void keys_make(struct host *h);
void clients_open(struct host *h);
void clients_close(struct host *h);
void client_op(struct host *h, const struct op *op);
void client_event(struct host *h, int index);
bool clients_idle(const struct host *h);
void clients_flush(struct host *h);
void clients_poll(struct host *h); /* after every event: has a wait ended? */

/* sim_check.c */
void check_change(void *ctx, const struct change *change);
void check_reset(struct host *h); /* a new daemon: it has seen nothing */
void check_host(struct host *h);  /* after every event that touched it */
/* P9: the peer said that it has what this client changed. */
void check_acked_writes(struct host *h, const struct client *c);
/* A daemon that stopped in peace leaves nothing behind that its peer lacks. */
void check_stopped(struct host *h);
void check_quiet(struct sim *s, struct host *a, struct host *b);
void check_frame_out(struct sim *s, struct wire *w, int side, const struct frame *f);
void check_frame_in(struct sim *s, struct wire *w, int side, const struct frame *f);
void check_refusal(struct sim *s, struct wire *w, int side, const char *reason);
void check_ports(struct host *h); /* client ports open */
void check_link_gone(struct host *h, int wire);
void check_hello(struct sim *s, struct wire *w, int side, const struct wire_hello *hello);
bool check_visible(const struct host *h, const struct item *i);
uint64_t check_value_hash(const struct host *h, const struct item *i);
bool check_value_known(struct sim *s, int key, uint64_t version, uint64_t hash);

/* sim_drops.c */
void drops_hello_out(struct host *h, const struct wire_hello *hello);
void drops_hello_in(struct host *h, struct wire *w, int side, const struct wire_hello *hello);
void drops_frame_out(struct host *h, struct wire *w, int side, const struct frame *f);
void drops_frame_in(struct host *h, struct wire *w, int side, const struct frame *f);
void drops_frame_settled(struct host *h, const struct wire *w, int side, const struct frame *f);
void drops_new_peer(struct host *h);
void drops_link_gone(struct host *h);
void drops_barrier(struct host *h);
void drops_flush(struct host *h, const struct change *c);
void drops_own_change(struct host *h, int key, uint64_t version);
void drops_removed(struct host *h, int key, const struct change *c);
void drops_look(struct host *h, int key, const struct item *state);
void drops_check(struct host *h);

/* sim_shrink.c */
void run_here(const struct plan *plan, bool verbose, struct sim_result *out);
/* In a child process, so that a run that dies is a failure like any other. */
void run_isolated(const struct plan *plan, bool verbose, bool silent, struct sim_result *out);
void shrink(struct plan *plan, const struct sim_result *failed, int runs_max);

#endif
