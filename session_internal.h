/*
 * session_internal.h - what session.c and session_state.c share: the conversation
 * itself. Nobody else includes it.
 *
 *   session.c        input: commands, bodies, what is answered
 *   session_state.c  output, life, and what is to be known about a conversation
 *
 * A body that comes whole with its command needs no memory of its own: there is one
 * struct upload in what is shared. It is kept for the session only if the turn ends
 * before the body does, so that an idle session does not pay for it.
 *
 * Layer 4. Covered by: t/test_session.c.
 */
#ifndef SESSION_INTERNAL_H
#define SESSION_INTERNAL_H

#include "compat.h"
#include "buf.h"
#include "message.h"
#include "output.h"
#include "proto.h"
#include "proto_text.h"
#include "session.h"
#include "session_auth.h"
#include "session_limits.h"

/* Commands parsed before the first of them runs. */
#define COMMANDS_AHEAD 16
#define BODY_END_LEN 2

struct parsed {
	struct command cmd;
	struct parse_result result;
};

/* Why input waits although it may be complete. */
enum pause {
	PAUSE_NONE,
	PAUSE_FULL, /* [S2] */
	PAUSE_TURN  /* [S3] */
};

struct upload {
	struct command cmd;
	size_t got;  /* of value and end */
	size_t room; /* so much of the value there is memory for; the rest comes in parts */
	uint8_t end[BODY_END_LEN];
	bool active;
};

struct session_shared {
	struct output out;
	struct session *owner; /* [S4] */
	struct session_limits limits;
	struct upload upload; /* of the owner, unless it has one of its own */
	struct parsed batch[COMMANDS_AHEAD];
};

/* The error is said of upload->cmd, whose spans are not to be used: nothing is
 * received and thrown away at once. */
struct swallow {
	size_t left;
	enum reply_status error; /* said when nothing is left */
	bool close;              /* and then the conversation ends */
};

/* What the other side speaks; decided by its first byte, and by -B. */
enum spoken {
	SPOKEN_UNKNOWN,
	SPOKEN_TEXT,
	SPOKEN_BINARY
};

struct session {
	struct engine *engine;
	struct session_shared *shared;
	struct buf in;          /* not a whole command yet, or waiting its turn */
	struct proto_text text; /* about the front of `in` */
	size_t resume_at;
	uint64_t cursor; /* or where in a list the command at the front of `in` stands */
	struct upload *upload; /* while a body is received, or thrown away; else NULL */
	struct swallow swallow;
	struct output out; /* what could not be sent at once */
	struct hold hold;  /* output waits for the peer [S6] */
	uint64_t silent_from, silent_upto; /* changes that no reply has waited for yet; 0: none */
	bool fenced;          /* a NOOP was answered */
	struct watcher *watcher; /* NULL unless it watches: then its lines are the output */
	int64_t id;
	enum pause pause;
	enum spoken spoken;
	struct session_auth auth;
	struct limits_entry limited; /* what it has of the limits of all */
	bool closing;
	bool failed;  /* and that is why it is closing */
	bool running; /* inside session_input() or the like */
};

static inline size_t session_output_waiting(const struct session *s)
{
	return s->out.waiting + (s->shared->owner == s ? s->shared->out.waiting : 0);
}

/* Lines of the watcher that were not sent. */
static inline size_t session_lines_waiting(const struct session *s)
{
	return s->watcher ? buf_len(&s->watcher->lines) : 0;
}

static inline void session_fail(struct session *s)
{
	s->closing = s->failed = true;
}

static inline bool session_is_receiving(const struct session *s)
{
	return s->upload && s->upload->active;
}

/* No more of the value is taken; what is left may have to be thrown away. */
static inline void session_end_upload(struct session *s)
{
	if (s->upload)
		s->upload->active = false;
	limits_upload_end(&s->shared->limits, &s->limited);
}

/* The body is gone, and what was said of it. */
static inline void session_forget_upload(struct session *s)
{
	if (s->upload != &s->shared->upload)
		free(s->upload);
	s->upload = NULL;
}

#endif
