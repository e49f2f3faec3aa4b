/*
 * repl_internal.h - what the files of replication share. Not for others.
 *
 *   replication.c  life, role, timers, what the shell is to bring about
 *   repl_auth.c    the proof of the shared secret
 *   repl_shake.c   opening lines, which connection becomes the link
 *   repl_conn.c    bytes of a connection: frames out of chunks, output
 *   repl_walk.c    sending: LIVE, WALK, overload, MARK, what ACK means
 *   repl_apply.c   receiving: states, SWEEP, what is to be ACKed
 *   repl_legacy.c  the conversation with a repcached, in lines of text
 *   repl_stats.c   numbers
 *
 * Section numbers are those of doc/replication.txt.
 *
 * Layer 4. Covered by: t/test_replication.c.
 */
#ifndef REPL_INTERNAL_H
#define REPL_INTERNAL_H

#include "compat.h"
#include "buf.h"
#include "repl_auth.h"
#include "repl_legacy.h"
#include "repl_out.h"
#include "repl_wire.h"
#include "replication.h"
#include "util.h"

#define REPL_ADDR_BYTES_MAX 96
#define REPL_HELD_BYTES_MAX (16u << 20)  /* input kept while applying is held up: one chunk of the shell */
#define REPL_COPY_BYTES_MAX (64u << 10)  /* larger values wait by reference */
#define REPL_PIN_BYTES_MIN 512           /* smaller ones never do */
#define REPL_WALK_PIN_BYTES_MIN 4096     /* but those of a walk from here on */
/* What a bucket of small states and control frames may add to repl_buffer (P5). */
#define REPL_OVERRUN_BYTES (64u << 10)
#define REPL_WALK_STATES_PER_TURN 256
#define REPL_SWEEP_STATES_PER_TURN 1024
#define REPL_LOW_WATER_BYTES_MAX (256u << 10)
#define REPL_HEARTBEAT_MS 1000
#define REPL_CONNECT_MS 2500       /* a connect or hand-shake of ours takes no longer */
#define REPL_PROMISE_MS 1000       /* an answer is followed by BEGIN within this */
#define REPL_PROBE_MS 1500         /* a link that may be dead has this long to show life */
#define REPL_SILENCE_MS 500        /* repl_compat: who connects and says nothing is a repcached */
#define REPL_LISTEN_MS 1000        /* repl_compat: so long we wait to be spoken to, ... */
#define REPL_PATIENT_MS 30000      /* ... and so long by a repcached that was too slow for that */
#define REPL_RETRY_FIRST_MS 100
#define REPL_RETRY_MAX_MS 800
#define REPL_LISTEN_RETRY_MS 1000
#define REPL_CLOSE_MS 1000         /* a last line that nobody reads is dropped */
#define REPL_REFUSAL_QUIET_MS 60000 /* the same refusal is logged again after this */
#define REPL_MARKS_KEPT 64

/* ---- one connection ---------------------------------------------------------- */

/*  HEARING --line--> PROMISED --BEGIN--> LINK      accepted by this node
 *     |\--line--> DEFERRED --+ (the answer waits for another connection)
 *     +--line--> PROVING --proof--> as from HEARING (there is a shared secret)
 *  ASKING --line--> LINK                            made by this node
 *  any --> CLOSING --> GONE */
enum conn_state {
	CONN_HEARING,
	CONN_PROVING,
	CONN_ASKING,
	CONN_DEFERRED,
	CONN_PROMISED,
	CONN_LINK,
	CONN_CLOSING, /* no input is taken; closed once its output is sent */
	CONN_GONE     /* the socket is gone; freed by repl_tick */
};

/* Whose language the other side speaks. */
enum conn_speech {
	SPEECH_UNKNOWN,
	SPEECH_OWN, /* it has knocked, or said its opening line */
	SPEECH_TEXT /* it is a repcached: this is the link */
};

/* What becomes of the value that is arriving. */
enum value_fate {
	VALUE_NONE, /* none is: a head comes next */
	VALUE_FILL, /* into the reserved item */
	VALUE_SKIP, /* the state is not newer */
	VALUE_LOST  /* it cannot be stored: the older state goes when it is read */
};

struct repl_in {
	uint8_t part[WIRE_LINE_BYTES_MAX]; /* an unfinished line or head */
	size_t part_len;
	size_t body_max; /* cap of an ITEM's body */
	enum value_fate fate;
	struct wire_frame frame; /* the ITEM whose value is arriving */
	uint8_t key[WIRE_KEY_BYTES_MAX];
	struct item *reserved;
	size_t value_got;
	struct buf held; /* read, but applying is held up */
};

struct repl_conn {
	struct repl *repl;
	struct repl_conn *next;
	enum conn_state state;
	bool outgoing;
	bool awaits; /* repl_compat: for the other side to speak first; deadline_ms is its end */
	enum conn_speech speech;
	char addr[REPL_ADDR_BYTES_MAX];
	struct wire_hello hello; /* the other side's */
	struct repl_auth auth;
	int64_t deadline_ms;     /* of the state it is in; the link has none */
	int64_t hello_ms;
	uint64_t link_rx_at_hello; /* what the link had received then */
	uint64_t rx_bytes;
	int64_t rx_ms;
	struct repl_out out;
	struct repl_in in;
};

/* ---- the sending direction ---------------------------------------------------- */

enum walk_cause {
	WALK_FIRST,    /* the peer has nothing of this node */
	WALK_CATCHUP,  /* it has all up to a cut */
	WALK_OVERLOAD, /* changes were not appended: from the gap */
	WALK_LOST,     /* tombstones were lost: ends in SWEEP */
	WALK_CAUSE_COUNT
};

enum send_mode {
	SEND_NONE, /* no link */
	SEND_WALK,
	SEND_LIVE
};

struct repl_send {
	enum send_mode mode;
	bool overload; /* nothing is appended; gap is set */
	bool sweeps;   /* the walk confirms and ends in SWEEP */
	bool failed;   /* no memory in the middle of a bucket */
	bool tombs_visited; /* a pass of this link is complete: their sent bits count */
	uint64_t gap, cut;
	uint64_t begin;      /* clock at BEGIN */
	uint64_t link_begin; /* clock at the first BEGIN of this link */
	uint8_t *flush_at;   /* the FLUSH frame last appended */
	uint64_t flush_pos;  /* and its offset in the stream */
	struct items_cursor cursor;
	enum walk_cause cause;
	int64_t walk_ms;     /* when it began */
	uint64_t walk_pos;   /* offset in the stream then */
};

/* MARKs under way, oldest first: for lag. */
struct repl_marks {
	struct {
		uint64_t version, pos;
		int64_t ms;
	} sent[REPL_MARKS_KEPT];
	int count;
	bool due;             /* something was appended since the last one */
	uint64_t version;     /* of the last one */
	uint64_t end;         /* offset in the stream behind it */
	uint64_t must_ack;    /* quiet once this is acknowledged */
	int64_t ms;           /* when it was appended */
	int64_t acked_ms;     /* when the last acknowledged one was */
	uint64_t acked_pos;
};

/* ---- the receiving direction --------------------------------------------------- */

struct repl_recv {
	bool ack_due;
	uint64_t ack_version;
	uint64_t ack_end;      /* offset in our stream behind the last ACK */
	bool refused;          /* say so in the next ACK ... */
	uint64_t refused_upto; /* ... until one that covers this goes out */
	bool walking;          /* between BEGIN and the MARK with `synced` */
	bool confirms;         /* that walk ends in SWEEP */
	bool confirm_wait;     /* old confirmations are still being cleared */
	bool sweeping;
	uint64_t sweep_upto;
	struct items_cursor sweep_cursor;
	uint64_t walk_items, walk_bytes;
	int64_t walk_ms;
};

/* ---- the pair -------------------------------------------------------------------- */

struct repl_peer {
	bool known; /* there was one */
	uint64_t node_id;
	uint64_t acked;        /* all of ours up to this is there */
	uint64_t received_max; /* the highest version it sent */
	uint64_t seen;         /* version of its last MARK */
	uint64_t since;        /* our clock when it took a former peer's place, else 0 */
	int64_t clock_offset_ms;
	char addr[REPL_ADDR_BYTES_MAX];
};

/* Section 4. */
struct repl_lost {
	bool contact;    /* another node was answered: removals may concern a peer */
	uint64_t below;  /* lost_below: what arriving states are held against */
	uint64_t unsent; /* the part of it that the present link has not been told: SWEEP */
	uint64_t former; /* the highest version settled with former peers */
};

struct repl_dial {
	bool connecting; /* connect_seq was raised and nothing came of it yet */
	int64_t deadline_ms;
	int64_t retry_ms;
	int backoff_ms;
	char said[WIRE_REASON_BYTES_MAX]; /* the failure logged last */
	bool patient; /* repl_compat: the last attempt met a repcached that is slow to speak */
};

struct repl_refusal {
	uint64_t node_id;
	int64_t quiet_ms; /* until then the same one is not logged again */
};

/* Cumulative numbers. X(name) */
#define REPL_COUNTS(X)                                                                            \
	X(items_sent)                                                                             \
	X(tombs_sent)                                                                             \
	X(touches_sent)                                                                           \
	X(haves_sent)                                                                             \
	X(bytes_sent)                                                                             \
	X(items_received)                                                                         \
	X(tombs_received)                                                                         \
	X(touches_received)                                                                       \
	X(haves_received)                                                                         \
	X(bytes_received)                                                                         \
	X(ignored)        /* not newer than what was held, or below the barrier */                \
	X(refused)        /* dropped by lost_below, or a touch of what is not held */             \
	X(not_carried)    /* to a repcached: the key has blanks or control characters */          \
	X(not_stored)     /* too large for this node, or no memory */                             \
	X(conflicts_lost) /* an own unacknowledged state gave way to the peer's */                \
	X(conflicts_won)  /* or did not */                                                        \
	X(tombs_lost)                                                                             \
	X(swept)                                                                                  \
	X(overloads)                                                                              \
	X(links)                                                                                  \
	X(links_refused)                                                                          \
	X(links_malformed)

struct repl_counts {
#define X(name) uint64_t name;
	REPL_COUNTS(X)
#undef X
	struct {
		uint64_t walks, items, bytes, ms;
	} walks[WALK_CAUSE_COUNT];
};

struct repl_logs {
	struct log *log;
	struct log_limit junk, refused, dial, not_stored, overload;
	struct repl_refusal refusal;
};

struct repl_self {
	uint64_t node_id;
	struct prng prng;  /* jitter, another origin */
	struct nonce_source nonces;
	enum repl_role role;
	bool waiting;      /* slave before its first copy: client ports are closed */
	bool stopping;
	int64_t drain_ms;  /* end of draining */
	int64_t listen_retry_ms; /* 0: none is waited for */
};

struct repl {
	const struct settings *settings;
	struct items *items;
	struct hlc *hlc;
	const struct now *now;
	struct repl_wants wants;
	struct repl_self self;
	struct repl_dial dial;
	struct repl_conn *conns; /* all, newest first */
	struct repl_conn *link;  /* the one in CONN_LINK, or NULL */
	struct repl_peer peer;
	struct repl_lost lost;
	struct repl_legacy legacy;
	struct repl_send send;
	struct repl_marks marks;
	struct repl_recv recv;
	struct repl_counts counts;
	struct repl_logs logs;
	struct {
		void (*fn)(void *ctx, enum repl_news news, uint64_t version); /* NULL: nobody asks */
		void *ctx;
	} news;
	struct {
		void (*fn)(void *ctx, const char *fields);
		void *ctx;
	} events;
};

/* ---- replication.c ---------------------------------------------------------------- */

/* Bring wants in line with the state. */
void repl_reconcile(struct repl *r);
/* Tell whoever waits for acknowledgements. */
void repl_tell(struct repl *r, enum repl_news news, uint64_t version);
/* An attempt to connect came to nothing; the next one is scheduled. */
void repl_dial_failed(struct repl *r, const char *reason);
/* This node leads from now on; the client ports open. why: for the log. */
void repl_lead(struct repl *r, const char *why);
void repl_notice(struct repl *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* What repl_on_event() has promised; fmt makes "event=... ...". reason: NULL, or text
 * that becomes the last field. */
void repl_event(struct repl *r, const char *reason, const char *fmt, ...) PRINTF_LIKE(3, 4);
bool repl_listens(const struct repl *r);
/* The link speaks repcached's lines. */
static inline bool repl_is_text(const struct repl *r)
{
	return r->link && r->link->speech == SPEECH_TEXT;
}
/* There is a link, or a connection that may become it without our doing. */
bool repl_link_is_near(const struct repl *r);

/* ---- repl_shake.c ------------------------------------------------------------------- */

void repl_shake_ask(struct repl_conn *c); /* send our line */
void repl_shake_line(struct repl_conn *c, enum wire_line line, const char *text);
void repl_shake_proof(struct repl_conn *c, const uint8_t *line, size_t len);
/* Look again at connections whose answer waits for another one. */
void repl_shake_deferred(struct repl *r);
/* A promise came to nothing: a node without a past is one again. */
void repl_shake_broken(struct repl *r);
/* c is the link from now on. */
void repl_link_up(struct repl_conn *c);
/* What that means for the other connections, the role, and dialling. */
void repl_link_take(struct repl_conn *c);
/* Nobody is the peer now: what was settled with it is so with nobody else. */
void repl_leave_peer(struct repl *r);
/* The link is no more; its connection, if still open, closes. */
void repl_link_lost(struct repl *r, const char *reason);
void repl_shake_timeout(struct repl_conn *c);
/* A clock that is too far ahead: writes both clocks into text. */
bool repl_clock_ahead(const struct repl *r, uint64_t version, char *text, size_t size);

/* ---- repl_conn.c -------------------------------------------------------------------- */

void repl_conn_close(struct repl_conn *c, bool keep_output);
void repl_conn_free(struct repl_conn *c);
/* Malformed: close, at most one log line per second, nothing else. */
void repl_conn_junk(struct repl_conn *c, const char *error);
/* Add to in->part as much as makes it size bytes; returns how much that was. */
size_t repl_conn_part_add(struct repl_in *in, size_t size, const uint8_t *data, size_t len);
/* Go on with input that was held, once applying may go on. */
void repl_conn_resume(struct repl_conn *c);

/* ---- repl_walk.c -------------------------------------------------------------------- */

void repl_send_start(struct repl *r, uint64_t cut);
void repl_send_broken(struct repl *r); /* the link will be lost: tell of the walk */
void repl_send_stop(struct repl *r);
const char *repl_walk_name(enum walk_cause cause);
void repl_send_step(struct repl *r); /* a bounded piece of a walk */
bool repl_send_can_step(const struct repl *r);
void repl_put_marks(struct repl *r); /* ACK and MARK that are due */
void repl_put_heartbeat(struct repl *r);
int64_t repl_heartbeat_due_ms(const struct repl *r);
/* The peer has everything of ours up to version. */
void repl_acked(struct repl *r, uint64_t version);
bool repl_send_is_quiet(const struct repl *r);
/* Whether so many bytes, copied and pinned, may wait besides what does (P5). */
bool repl_send_has_room(const struct repl *r, size_t copied, size_t pinned);
/* The change of this version is not appended, nor any after it, until a walk
 * from just below it. */
void repl_send_overload(struct repl *r, uint64_t version);
/* A state held here is to be sent once more; if not now, then with a walk from
 * just below version. */
void repl_send_again(struct repl *r, const struct item *held, uint64_t version);
void repl_lost_tomb(void *ctx, const struct item *tomb);
size_t repl_low_water(const struct repl *r);

/* ---- repl_apply.c ------------------------------------------------------------------- */

/* One frame; value bytes of an ITEM may follow in rest. Returns how many of
 * them were used; closes the link itself on an error. */
size_t repl_apply_frame(struct repl_conn *c, const struct wire_frame *f, const uint8_t *rest,
                        size_t rest_len);
/* More bytes of the value that is arriving; len <= what is missing. */
void repl_apply_value(struct repl_conn *c, const uint8_t *data, size_t len);
void repl_apply_drop_value(struct repl_conn *c); /* give up what is arriving */
void repl_recv_start(struct repl *r);
void repl_recv_step(struct repl *r); /* a bounded piece of SWEEP */
/* No input may be applied now. */
bool repl_recv_is_held(const struct repl *r);
bool repl_recv_can_step(const struct repl *r);
bool repl_recv_is_quiet(const struct repl *r);
/* An item for the value that f announces; NULL: it cannot be stored. */
struct item *repl_apply_reserve(struct repl *r, const struct wire_frame *f, const struct key *key);
/* Copy value bytes in, from offset on. */
void repl_apply_fill(struct repl *r, struct item *reserved, size_t offset, const uint8_t *data, size_t len);
void repl_apply_not_stored(struct repl *r, uint32_t value_len); /* count, log */
void repl_apply_synced(struct repl *r); /* the peer's walk is complete */

#endif
