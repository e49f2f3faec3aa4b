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
#include "message_replies.h"
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

/* Words of a meta command: the command, its key, a length, flags. */
#define META_WORDS_MAX 20
#define META_OPAQUE_BYTES_MAX 31
/* The flags of a meta command are letters, each with what directly follows it. */
#define META_FLAG(letter) (UINT64_C(1) << ((letter) & 63))

/* What a meta command says beyond what struct command has a place for: there
 * are C (compare), D (number), F (flags), J (initial), T (exptime), b (marks),
 * and q (quiet). */
struct meta {
	uint64_t given;      /* META_FLAG() of each letter */
	uint64_t cas;        /* E: the CAS unique to give */
	int32_t vivify_ttl;  /* N, as sent */
	int32_t recache_ttl; /* R, as sent */
	uint8_t mode;        /* M, 0 = the usual one */
	uint8_t opaque_len;
	uint8_t letter_count;
	uint8_t letters[META_WORDS_MAX - 2]; /* in the order they came: answers are in it, too */
	uint8_t opaque[META_OPAQUE_BYTES_MAX];
};

struct command {
	enum command_id id;
	const struct reply_format *format; /* how its answer is printed: set by the codec */
	bool quiet;    /* the client wants no one-line answer */
	bool with_cas; /* hits show the CAS unique */
	bool has_exptime;
	bool body_bare; /* CMD_BODY: no CRLF follows the value */
	bool creates;   /* incr, decr: make a key that is missing, with exptime */
	uint8_t opcode; /* binary: echoed in the answer, like opaque */
	uint32_t opaque;
	uint32_t flags;
	uint32_t marks;         /* ITEM_BINKEY: the key is to be shown in base64 */
	enum auth_message auth; /* PARSE_AUTH */
	int64_t exptime;        /* as sent */
	uint64_t number;        /* CAS unique to compare, delta, verbosity */
	size_t value_len;       /* CMD_BODY */
	uint64_t compare;       /* CAS unique that the item must have, 0 any; `cas` has it in number */
	uint64_t initial;       /* of what `creates` makes */
	struct key key;         /* the first or only key; hash filled by command_prepare() */
	struct word_list words; /* get: the keys after the first; else what follows the command */
	struct item *item;      /* CMD_BODY: reserved by command_body_begin() */

	/* From here on it is for few commands: neither cleared nor kept for others. */
	struct meta meta;                /* valid if command_is_meta() */
	uint8_t key_room[KEY_BYTES_MAX]; /* where a key lies that does not lie in the input as it is */
};

/* Clear all but the end. For codecs: the end has several cache lines. */
static inline void command_init(struct command *cmd, enum command_id id, const struct reply_format *format)
{
	memset(cmd, 0, offsetof(struct command, meta));
	cmd->id = id;
	cmd->format = format;
}

_Static_assert(CMD_META_DEBUG - CMD_META_GET == 4, "meta commands stand together in commands.def");

static inline bool command_is_meta(const struct command *cmd)
{
	return cmd->id >= CMD_META_GET && cmd->id <= CMD_META_DEBUG;
}

static inline bool meta_given(const struct command *cmd, char letter)
{
	return cmd->meta.given & META_FLAG(letter);
}

/* Keep a command beyond the input that it came in. Its words stay behind; its
 * key must lie elsewhere by then (in its item) or is taken along if it will be
 * shown. */
static inline void command_keep(struct command *to, const struct command *from)
{
	memcpy(to, from, offsetof(struct command, meta));
	to->words = (struct word_list){NULL, NULL};
	if (!command_is_meta(from))
		return;
	to->meta = from->meta;
	if (meta_given(from, 'k') && from->key.len > 0) {
		memcpy(to->key_room, from->key.data, from->key.len);
		to->key.data = to->key_room;
	}
}

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

/* What a meta command found, or made. */
#define HIT_FETCHED (1u << 0) /* read before */
#define HIT_STALE (1u << 1)   /* invalidated (X) */
#define HIT_SENT (1u << 2)    /* another client is recaching it (Z) */
#define HIT_WON (1u << 3)     /* this client is to recache it (W) */
struct reply_hit {
	const struct item *item; /* NULL: there is none */
	uint64_t cas;
	int64_t ttl_s;   /* -1 = never ends */
	uint32_t idle_s; /* since the access before */
	uint16_t marks;  /* HIT_ */
	uint16_t class_id;
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
	struct reply_hit hit;  /* set by the handlers of meta commands, unset for others */
};

#endif
