/*
 * message.h - what a command and a reply are, whatever the protocol.
 *
 * Owns: the enum of operations (one per row of commands.def), a decoded
 * command, the answers a command can have, and the small interface through
 * which a handler answers. The codecs (proto_text.c, and those to come) make
 * commands and print replies; the handlers (command.c) do the rest; session.c
 * brings the two together. Nothing else sees more than one of the three.
 *
 *     bytes -> codec -> struct command -> handler -> struct reply -> codec -> bytes
 *
 * Must not know: any protocol's spelling, sessions, sockets, the engine.
 *
 * Spans in a command point into the input and are valid until the caller
 * consumes it; expiry is kept as sent (store.c resolves it).
 *
 * Layer 2. Covered by: t/test_proto_text.c, t/test_command.c.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "compat.h"
#include "items.h"
#include "output.h"

/* What a row of commands.def says about its operation. */
#define CMD_READ (1u << 0)      /* looks at cached data */
#define CMD_WRITE (1u << 1)     /* may change cached data */
#define CMD_BODY (1u << 2)      /* a value of value_len bytes follows the command */
#define CMD_QUIETABLE (1u << 3) /* its one-line answer can be suppressed */
#define CMD_ADMIN (1u << 4)     /* about the server, not about data */
#define CMD_INDENT (1u << 5)    /* text: spaces may stand before the word */

enum command_id {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help) CMD_##id,
#include "commands.def"
#undef COMMAND
	CMD_COUNT,
	CMD_NONE = CMD_COUNT
};

/* Words separated by spaces: the keys of a get, the arguments of stats. */
struct word_list {
	const uint8_t *at;
	const uint8_t *end;
};
struct word {
	const uint8_t *data;
	size_t len;
};

static inline bool word_is(const struct word *w, const char *text)
{
	size_t len = strlen(text);

	return w->len == len && memcmp(w->data, text, len) == 0;
}

/* Take the next word off the list; false at its end. */
static inline bool word_list_next(struct word_list *list, struct word *out)
{
	const uint8_t *p = list->at;

	while (p < list->end && *p == ' ')
		p++;
	if (p == list->end) {
		list->at = p;
		return false;
	}
	const uint8_t *space = memchr(p, ' ', (size_t)(list->end - p));
	out->data = p;
	list->at = space ? space : list->end;
	out->len = (size_t)(list->at - p);
	return true;
}

struct reply_format;

/* Messages of a login: not operations on data, and the session's alone. */
enum auth_message {
	AUTH_NONE,
	AUTH_LOGIN,      /* words: user, a blank, password */
	AUTH_SASL_LIST,  /* of the mechanisms */
	AUTH_SASL_BEGIN, /* key: the mechanism; words: what the client says first */
	AUTH_SASL_STEP   /* words: what it says next */
};

struct command {
	enum command_id id;
	const struct reply_format *format; /* how its answer is printed: set by the codec */
	bool quiet;    /* the client wants no one-line answer */
	bool with_cas; /* hits show the CAS unique */
	bool has_exptime;
	uint32_t flags;
	int64_t exptime;        /* as sent */
	uint64_t number;        /* CAS unique to compare, delta, verbosity */
	size_t value_len;       /* CMD_BODY */
	bool body_bare;         /* CMD_BODY: no CRLF follows the value */
	uint64_t compare;       /* CAS unique that the item must have, 0 any; `cas` has it in number */
	bool creates;           /* incr, decr: make a key that is missing, with exptime */
	uint64_t initial;       /* ... of this value */
	enum auth_message auth; /* PARSE_AUTH */
	uint8_t opcode;         /* binary: echoed in the answer, like opaque */
	uint32_t opaque;
	struct key key;         /* the first or only key; hash filled by command_prepare() */
	struct word_list words; /* get: the keys after the first; else what follows the command */
	struct item *item;      /* CMD_BODY: reserved by command_body_begin() */
};

/* X(name, text line); an empty line is printed by other means or not at all. */
#define REPLIES(X)                                                                                           \
	X(NONE, "")                                                                                          \
	X(STORED, "STORED")                                                                                  \
	X(NOT_STORED, "NOT_STORED")                                                                          \
	X(EXISTS, "EXISTS")                                                                                  \
	X(NOT_FOUND, "NOT_FOUND")                                                                            \
	X(DELETED, "DELETED")                                                                                \
	X(TOUCHED, "TOUCHED")                                                                                \
	X(OK, "OK")                                                                                          \
	X(END, "END")                                                                                        \
	X(RESET, "RESET")                                                                                    \
	X(NOOP, "MN")                                                                                        \
	X(NUMBER, "")                                                                                        \
	X(VERSION, "VERSION ")                                                                               \
	X(UNKNOWN, "ERROR")                                                                                  \
	X(BAD_FORMAT, "CLIENT_ERROR bad command line format")                                                \
	X(BAD_DELETE, "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]")                \
	X(BAD_EXPTIME, "CLIENT_ERROR invalid exptime argument")                                              \
	X(BAD_DELTA, "CLIENT_ERROR invalid numeric delta argument")                                          \
	X(BAD_CHUNK, "CLIENT_ERROR bad data chunk")                                                          \
	X(NON_NUMERIC, "CLIENT_ERROR cannot increment or decrement non-numeric value")                       \
	X(FLUSH_REFUSED, "CLIENT_ERROR flush_all not allowed")                                               \
	X(WATCH_REFUSED, "CLIENT_ERROR watch commands not allowed")                                          \
	X(WATCH_PIPELINED, "ERROR cannot pipeline other commands before watch")                              \
	X(WATCH_TOO_MANY, "WATCHER_TOO_MANY log watcher limit reached")                                      \
	X(WATCH_FAILED, "WATCHER_FAILED failed to add log watcher")                                          \
	X(BAD_SHUTDOWN, "CLIENT_ERROR invalid shutdown mode")                                                \
	X(SHUTDOWN_REFUSED, "SERVER_ERROR: shutdown not enabled")                                            \
	X(TOO_LARGE, "SERVER_ERROR object too large for cache")                                              \
	X(NO_MEMORY_STORING, "SERVER_ERROR out of memory storing object")                                    \
	X(NO_MEMORY, "SERVER_ERROR out of memory")                                                           \
	X(NO_MEMORY_WRITING, "SERVER_ERROR out of memory writing get response")                              \
	REPLIES_AUTH(X)                                                                                      \
	REPLIES_ADMIN(X)                                                                                     \
	REPLIES_STATS(X)                                                                                     \
	X(MISS, "MISS")

/* Of stats. */
#define REPLIES_STATS(X)                                                                                     \
	X(DETAIL_REFUSED, "CLIENT_ERROR stats detail not allowed")                                           \
	X(DETAIL_USAGE, "CLIENT_ERROR usage: stats detail on|off|dump")                                      \
	X(CACHEDUMP_REFUSED, "CLIENT_ERROR stats cachedump not allowed")                                     \
	X(CACHEDUMP_SHORT, "CLIENT_ERROR bad command line")                                                  \
	X(CACHEDUMP_CLASS, "CLIENT_ERROR Illegal slab id")

/* Of logins. */
#define REPLIES_AUTH(X)                                                                                      \
	X(UNAUTHENTICATED, "CLIENT_ERROR unauthenticated")                                                   \
	X(LOGIN_TOO_LONG, "CLIENT_ERROR auth token too long")                                                \
	X(LOGIN_BAD_END, "CLIENT_ERROR bad command line termination")                                        \
	X(LOGIN_BAD_FORM, "CLIENT_ERROR bad authentication token format")                                    \
	X(AUTH_FAILURE, "CLIENT_ERROR authentication failure")                                               \
	X(AUTH_LIST, "")                                                                                     \
	X(AUTH_CONTINUE, "")                                                                                 \
	X(AUTHENTICATED, "")

/* Of slabs, lru, lru_crawler and cache_memlimit. */
#define REPLIES_ADMIN(X)                                                                                     \
	X(REASSIGN_OFF, "CLIENT_ERROR slab reassignment disabled")                                           \
	X(REASSIGN_BUSY, "BUSY currently processing reassign request")                                       \
	X(REASSIGN_CLASS, "BADCLASS invalid src or dst class id")                                            \
	X(REASSIGN_NO_SPARE, "NOSPARE source class has no spare pages")                                      \
	X(REASSIGN_SAME, "SAME src and dst class are identical")                                             \
	X(BAD_WINDOW, "CLIENT_ERROR automove window too low or too high")                                    \
	X(LRU_SHARES, "ERROR hot and warm pcts must not exceed 80")                                          \
	X(LRU_AGES, "ERROR hot/warm age factors must be greater than 0")                                     \
	X(CRAWLER_RUNS, "ERROR failed to start lru crawler thread")                                          \
	X(CRAWLER_OFF, "CLIENT_ERROR lru crawler disabled")                                                  \
	X(CRAWLER_SLEEP, "CLIENT_ERROR sleep must be one second or less")                                    \
	X(CRAWL_BUSY, "BUSY currently processing crawler request")                                           \
	X(CRAWL_CLASS, "BADCLASS invalid class id")                                                          \
	X(CRAWL_HASH, "ERROR an unknown error happened")                                                     \
	X(METADUMP_REFUSED, "ERROR metadump not allowed")                                                    \
	X(METADUMP_LATE, "ERROR cannot pipeline other commands before metadump")                             \
	X(MGDUMP_REFUSED, "ERROR key dump not allowed")                                                      \
	X(MGDUMP_LATE, "ERROR cannot pipeline other commands before mgdump")                                 \
	X(MGDUMP_END, "EN")                                                                                  \
	X(MEMLIMIT_SMALL, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")                          \
	X(MEMLIMIT_BYTES, "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")                       \
	X(MEMLIMIT_FAILED, "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")

enum reply_status {
#define X(name, line) REPLY_##name,
	REPLIES(X)
#undef X
		REPLY_STATUS_COUNT
};

struct reply;

/* One hit. item says flags, length, version and value; with -C cas is 0. */
struct reply_value {
	const struct key *key;
	struct item *item;
	uint64_t cas;
};

/* How a protocol prints. All append to reply->out and return false when
 * there is no memory for it (nothing was appended then). */
struct reply_format {
	bool (*value)(struct reply *reply, const struct reply_value *value);
	bool (*pair)(struct reply *reply, const char *name, const char *value);
	/* a line of another list of stats: a word that says what it is, a key, the rest */
	bool (*row)(struct reply *reply, const char *what, const struct word *key, const char *value);
	bool (*status)(struct reply *reply);
};

/* What a handler fills in. Hits and pairs are printed as they come; the status
 * once, by the session, after the handler returned. */
struct reply {
	const struct command *command;
	struct output *out;
	enum reply_status status;
	uint64_t number;       /* REPLY_NUMBER */
	uint64_t cas;          /* of the item that was stored or changed, if asked for; 0 unknown */
	uint32_t hits;         /* values that were printed */
	const char *text;      /* REPLY_VERSION */
	const uint8_t *data;   /* REPLY_AUTH_LIST, REPLY_AUTH_CONTINUE */
	size_t data_len;
	bool close;            /* end the conversation after this */
	bool more;             /* stopped in the middle: go on later, with `rest` or from `cursor` */
	struct word_list rest; /* keys not answered yet */
	uint64_t cursor;       /* of a list that is made piece by piece: where it stands, 0 = at the start */
	struct watcher *watcher; /* the client gets its lines from now on, and nothing else */
};

#endif
