/*
 * session_state.c - one client conversation, without I/O: its output, its life, and
 * what is to be known about it. See session.h; session.c has its input.
 *
 * Owns: the shared output buffer and when a session leaves it, what is sent next,
 * creation and end, the state that the shell looks at.
 *
 * Must not know: sockets, commands, protocols.
 *
 * Invariants: [S1] [S6] of session.h, [S4] of session.c.
 *
 * Covered by: t/test_session.c.
 */
#include "compat.h"
#include "command.h"
#include "session_internal.h"

/* A list of keys that has not ended yet may grow to this. */
#define INPUT_BYTES_MAX ((size_t)16 << 20)
/* The shared output when nothing unusual happens, and when it is given back. */
#define SHARED_BYTES ((size_t)512 * 1024)
#define SHARED_BYTES_KEPT_MAX ((size_t)1024 * 1024)

/* ---- shared output ---------------------------------------------------------- */

struct session_shared *session_shared_new(size_t memory_bytes_max)
{
	struct session_shared *shared = calloc(1, sizeof(*shared));

	if (!shared)
		return NULL;
	output_init(&shared->out, NULL);
	limits_init(&shared->limits, memory_bytes_max);
	if (!output_grow(&shared->out, SHARED_BYTES)) {
		session_shared_free(shared);
		return NULL;
	}
	return shared;
}

void session_shared_free(struct session_shared *shared)
{
	if (!shared)
		return;
	assert(!shared->owner);
	output_release(&shared->out);
	free(shared);
}

size_t session_shared_bytes(const struct session_shared *shared)
{
	return shared->out.touched + sizeof(*shared);
}

static void leave_shared(struct session *s)
{
	struct session_shared *shared = s->shared;

	if (shared->owner != s)
		return;
	shared->owner = NULL;
	if (shared->out.bytes.capacity > SHARED_BYTES_KEPT_MAX)
		output_release(&shared->out);
	else
		output_clear(&shared->out);
}

/* The turn ends: a body that is not complete goes on with memory of its own. False: there
 * is none. */
static bool keep_upload(struct session *s)
{
	if (s->upload != &s->shared->upload)
		return true;
	struct upload *kept = malloc(sizeof(*kept));
	if (kept) {
		*kept = *s->upload;
		command_keep(&kept->cmd, &s->upload->cmd); /* its key may lie in it */
	} else if (s->upload->active) {
		command_body_drop(s->engine, &s->upload->cmd);
		session_end_upload(s);
	}
	s->upload = kept;
	return kept != NULL;
}

/* ---- output ----------------------------------------------------------------- */

int session_output(struct session *s, struct iovec *iov, int iov_max)
{
	if (hold_is_waiting(&s->hold))
		return 0;
	int count = s->out.waiting > 0 ? output_iov(&s->out, iov, iov_max) : 0;
	if (s->shared->owner == s && count < iov_max)
		count += output_iov(&s->shared->out, iov + count, iov_max - count);
	if (unlikely(session_lines_waiting(s) > 0) && count < iov_max)
		iov[count++] = (struct iovec){buf_head(&s->watcher->lines), session_lines_waiting(s)};
	return count;
}

size_t session_output_len(const struct session *s)
{
	return session_output_waiting(s) + session_lines_waiting(s);
}

bool session_sent(struct session *s, size_t len)
{
	size_t replies = session_output_waiting(s), all = replies + session_lines_waiting(s);
	size_t own = len < s->out.waiting ? len : s->out.waiting;
	bool left = len < all;

	assert(len <= all);
	s->engine->stats->bytes_written += len;
	if (unlikely(len > replies)) {
		watch_sent(s->engine->watch, s->watcher, len - replies);
		left = session_lines_waiting(s) > 0; /* a line about skipped ones may be new */
		len = replies;
	}
	if (own > 0) {
		output_sent(&s->out, own);
		if (s->out.waiting == 0)
			output_release(&s->out);
	}
	if (len > own)
		output_sent(&s->shared->out, len - own);
	return left;
}

bool session_settle(struct session *s)
{
	bool moved = true;

	if (s->shared->owner != s)
		return true;
	if (s->shared->out.waiting > 0)
		moved = output_move(&s->out, &s->shared->out);
	moved = keep_upload(s) && moved;
	leave_shared(s);
	if (!moved)
		session_fail(s);
	return moved;
}

/* ---- life and state --------------------------------------------------------- */

struct session *session_new(struct engine *engine, struct session_shared *shared)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->engine = engine;
	s->shared = shared;
	shared->out.items = engine->items;
	buf_init(&s->in, INPUT_BYTES_MAX);
	output_init(&s->out, engine->items);
	session_auth_init(&s->auth, engine);
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	assert(!s->running);
	if (session_is_receiving(s))
		command_body_drop(s->engine, &s->upload->cmd);
	session_end_upload(s);
	session_forget_upload(s);
	limits_set_input(&s->shared->limits, &s->limited, 0);
	if (s->engine->holds)
		hold_cancel(s->engine->holds, &s->hold);
	if (s->watcher)
		command_watch_end(s->engine, s->watcher);
	leave_shared(s);
	session_auth_release(&s->auth, s->engine);
	output_release(&s->out);
	buf_release(&s->in);
	free(s);
}

void session_set_id(struct session *s, int64_t id)
{
	s->id = id;
}

bool session_has_failed(const struct session *s)
{
	return s->failed;
}

enum session_state session_state(const struct session *s)
{
	size_t waiting = session_output_waiting(s);

	if (hold_is_waiting(&s->hold))
		return SESSION_HOLD;
	if (s->closing)
		return SESSION_CLOSE;
	if (s->watcher)
		return SESSION_WATCH;
	if (waiting > SESSION_OUTPUT_BYTES_MAX || (s->pause == PAUSE_FULL && waiting > 0))
		return SESSION_FLUSH;
	return s->pause == PAUSE_NONE ? SESSION_READ : SESSION_YIELD;
}

bool session_has_input(const struct session *s)
{
	return session_is_receiving(s) || s->swallow.left > 0 || buf_len(&s->in) > 0;
}

bool session_is_idle(const struct session *s)
{
	return !session_has_input(s) && session_output_len(s) == 0 && s->pause == PAUSE_NONE;
}

enum hold_result session_hold_result(const struct session *s)
{
	return s->hold.result;
}

const char *session_state_name(const struct session *s)
{
	if (s->running)
		return "conn_parse_cmd";
	if (hold_is_waiting(&s->hold))
		return "conn_waiting";
	if (s->closing)
		return "conn_closing";
	if (s->watcher)
		return "conn_watch";
	if (session_is_receiving(s))
		return "conn_nread";
	if (s->swallow.left > 0)
		return "conn_swallow";
	if (session_output_waiting(s) > 0)
		return "conn_mwrite";
	return buf_len(&s->in) > 0 ? "conn_read" : "conn_new_cmd";
}

size_t session_memory_bytes(const struct session *s)
{
	size_t lines = s->watcher ? sizeof(*s->watcher) + s->watcher->lines.capacity : 0;
	size_t upload = s->upload ? sizeof(*s->upload) : 0;

	return sizeof(*s) + upload + s->in.capacity + output_memory_bytes(&s->out) + lines;
}
