/*
 * session.c - one client conversation, without I/O. See session.h.
 *
 * Owns: the loop that turns input into commands, the body being received, what
 * is to be swallowed, and when to stop: for output that does not drain, for
 * fairness, for good.
 *
 *            +-> swallow --- all thrown away: the error's answer --+
 *            |                                                     |
 *   input ---+-> upload ---- body complete: commit and answer -----+--> input
 *            |                                                     |
 *            +-> batch ----- parse some commands, run them --------+
 *                  |
 *                  +- pause: FULL (output) or TURN (fairness); the rest waits
 *                     in `in`, session_resume() goes on
 *
 * Must not know: sockets, what a command does, how a reply is spelled.
 *
 * Several reads in one piece of input are parsed ahead, so that the memory
 * they lead to is fetched while the one before runs; they run in order. A read
 * of many keys may be left in the middle (reply.more): its line then stays in
 * `in`, and resume_at says from where in the line to go on; or `cursor`, for a list
 * that is made of all there is.
 *
 * Invariants: [S1] [S2] [S3] of session.h, and
 *  [S4] the shared output belongs to at most one session, from its input to
 *       session_settle()
 *  [S5] while a body is being received, `in` is empty
 *
 * Covered by: t/test_session.c.
 */
#include "compat.h"
#include "buf.h"
#include "command.h"
#include "message.h"
#include "output.h"
#include "proto.h"
#include "proto_bin.h"
#include "proto_login.h"
#include "session_internal.h"

_Static_assert(SESSION_COPY_BYTES_MAX == OUTPUT_COPY_BYTES_MAX, "one limit, two layers");
_Static_assert(SESSION_LINE_BYTES_MAX == PROTO_TEXT_LINE_BYTES_MAX, "one limit, two layers");
_Static_assert(SESSION_OUTPUT_BYTES_MAX == COMMAND_OUTPUT_BYTES_MAX, "one limit, two layers");

/* A body with at least this much missing is received straight into its item;
 * less comes with whatever follows it, through the shared buffer. */
#define BODY_DIRECT_BYTES_MIN 4096
#define BODY_IOV_MAX 8
#define BODY_END "\r\n"

/* ---- waiting ---------------------------------------------------------------- */

static void claim_shared(struct session *s)
{
	assert(s->shared->owner == s || s->shared->out.waiting == 0); /* [S4] */
	s->shared->owner = s;
	s->engine->conn_id = s->id;
}

/* What ran since the clock stood at `before` may have to be acknowledged by the
 * peer before anything is said about it. What is silent has nothing to wait: the
 * next reply to a change waits for it, and the next NOOP, which says of quiet
 * commands what their replies would have said. */
static void hold_changes(struct session *s, uint64_t before)
{
	struct engine *e = s->engine;

	if (!e->holds)
		return;
	if (e->hlc->last != before) {
		s->silent_from = s->silent_upto ? s->silent_from : before;
		s->silent_upto = e->hlc->last;
	} else if (!s->fenced) {
		return;
	}
	s->fenced = false;
	if (session_output_waiting(s) == 0)
		return;
	if (s->silent_upto > e->holds->acked)
		hold_begin(e->holds, &s->hold, s->silent_from, e->hlc->last, e->now);
	s->silent_upto = 0;
}

/* ---- answering -------------------------------------------------------------- */

static struct reply reply_to(struct session *s, const struct command *cmd)
{
	struct reply reply;

	memset(&reply, 0, offsetof(struct reply, hit));
	reply.command = cmd;
	reply.out = &s->shared->out;
	return reply;
}

/* A packet by its opcode, and never what a login says. */
static void log_command(const struct session *s, const struct parsed *parsed, const uint8_t *line)
{
	if (s->spoken == SPOKEN_BINARY && parsed->result.status != PARSE_FATAL)
		log_printf(s->engine->log, LOG_DEBUG, "< binary 0x%02x", parsed->cmd.opcode);
	else if (parsed->result.status != PARSE_FATAL) /* of no protocol */
		log_bytes(s->engine->log, LOG_DEBUG, '<', line, parsed->result.consumed);
}

static bool is_logged(const struct session *s)
{
	return unlikely(s->engine->log->verbosity >= LOG_DEBUG);
}

static void log_answer(const struct session *s, const uint8_t *bytes, size_t len)
{
	if (s->spoken == SPOKEN_BINARY)
		log_printf(s->engine->log, LOG_DEBUG, "> binary, %zu bytes", len);
	else
		log_bytes(s->engine->log, LOG_DEBUG, '>', bytes, len);
}

static void answer(struct session *s, struct reply *reply)
{
	const struct buf *bytes = &reply->out->bytes;
	size_t before = buf_len(bytes);

	if (!reply->command->format->status(reply))
		session_fail(s);
	if (reply->close)
		s->closing = true;
	if (reply->watcher)
		s->watcher = reply->watcher;
	if (is_logged(s) && buf_len(bytes) > before)
		log_answer(s, buf_head(bytes) + before, buf_len(bytes) - before);
}

static void answer_error(struct session *s, enum reply_status error, const struct command *cmd, bool close)
{
	struct reply reply = reply_to(s, cmd);

	reply.status = error;
	reply.close = close;
	answer(s, &reply);
}

/* ---- swallowing ------------------------------------------------------------- */

static void finish_swallow(struct session *s)
{
	answer_error(s, s->swallow.error, &s->upload->cmd, s->swallow.close);
	session_forget_upload(s);
}

static size_t swallow_some(struct session *s, size_t len)
{
	struct swallow *w = &s->swallow;
	size_t n = len < w->left ? len : w->left;

	w->left -= n;
	if (w->left == 0)
		finish_swallow(s);
	return n;
}

/* Answer an error once the bytes that belong to the command are gone. */
static void swallow_then_answer(struct session *s, const struct swallow *w, const struct command *cmd)
{
	assert(s->swallow.left == 0 && !s->upload);
	if (w->left > 0) {
		s->swallow = *w;
		s->upload = &s->shared->upload;
		s->upload->active = false;
		command_keep(&s->upload->cmd, cmd);
	} else {
		answer_error(s, w->error, cmd, w->close);
	}
}

/* ---- bodies ----------------------------------------------------------------- */

/* Bytes of the body of a command: the value, and what ends it. */
static size_t body_len(const struct command *cmd)
{
	return cmd->value_len + (cmd->body_bare ? 0 : BODY_END_LEN);
}

static size_t upload_missing(const struct upload *u)
{
	return body_len(&u->cmd) - u->got;
}

/* It has come to a halt. Its connection closes when something is heard of it. */
static void drop_upload(struct limits_entry *e)
{
	struct session *s = (struct session *)(void *)((char *)e - offsetof(struct session, limited));

	command_body_drop(s->engine, &s->upload->cmd);
	session_end_upload(s);
	session_fail(s);
	s->engine->stats->uploads_dropped++;
}

/* An upload that goes on in a later turn is one of those that are limited. */
static void note_upload(struct session *s)
{
	if (likely(!session_is_receiving(s)))
		return;
	int64_t now_ms = s->engine->now->mono_ms;
	limits_upload_at(&s->shared->limits, &s->limited, s->upload->room, s->upload->got, now_ms);
}

static void finish_upload(struct session *s)
{
	struct upload *u = s->upload;
	struct reply reply = reply_to(s, &u->cmd);

	assert(u->active && upload_missing(u) == 0);
	session_end_upload(s);
	if (u->cmd.body_bare || memcmp(u->end, BODY_END, BODY_END_LEN) == 0)
		command_dispatch(s->engine, &u->cmd, &reply);
	else
		command_body_abort(s->engine, &u->cmd, &reply);
	answer(s, &reply);
	session_forget_upload(s);
}

/* Memory for the next part of a large value. False: there is none, what is left of it
 * is thrown away. */
static bool make_room(struct session *s)
{
	struct upload *u = s->upload;
	struct reply reply = reply_to(s, &u->cmd);

	if (command_body_more(s->engine, &u->cmd, &reply)) {
		u->room = items_reserved_len(s->engine->items, u->cmd.item);
		return true;
	}
	session_end_upload(s);
	s->swallow = (struct swallow){.left = upload_missing(u), .error = reply.status};
	return false;
}

/* Copy len bytes of the value into the item being filled; how many could be. */
static size_t fill_value(struct session *s, const uint8_t *p, size_t len)
{
	struct upload *u = s->upload;
	size_t before = u->got;

	while (len > 0) {
		if (u->got == u->room && !make_room(s))
			break;
		struct iovec iov[BODY_IOV_MAX];
		int count = items_value_iov(s->engine->items, u->cmd.item, u->got, iov, BODY_IOV_MAX);
		assert(count > 0);
		for (int i = 0; i < count && len > 0; i++) {
			size_t n = iov[i].iov_len < len ? iov[i].iov_len : len;
			memcpy(iov[i].iov_base, p, n);
			p += n;
			len -= n;
			u->got += n;
		}
	}
	return u->got - before;
}

static size_t upload_some(struct session *s, const uint8_t *p, size_t len)
{
	struct upload *u = s->upload;
	size_t value_len = u->cmd.value_len;
	size_t total = len < upload_missing(u) ? len : upload_missing(u);
	size_t of_value = u->got < value_len ? value_len - u->got : 0;

	if (of_value > total)
		of_value = total;
	size_t filled = fill_value(s, p, of_value);
	if (filled < of_value) /* no memory: what is left of it is swallowed */
		return filled + swallow_some(s, len - filled);
	for (size_t i = of_value; i < total; i++)
		u->end[u->got++ - value_len] = p[i];
	if (upload_missing(u) == 0)
		finish_upload(s);
	return total;
}

static void begin_upload(struct session *s, struct parsed *parsed)
{
	struct command *cmd = &parsed->cmd;
	struct reply reply = reply_to(s, cmd);

	assert(!s->upload);
	limits_make_room(&s->shared->limits, drop_upload, s->engine->now->mono_ms);
	if (!command_body_begin(s->engine, cmd, &reply)) {
		struct swallow rest = {.left = body_len(cmd), .error = reply.status};
		swallow_then_answer(s, &rest, cmd);
		return;
	}
	s->upload = &s->shared->upload;
	command_keep(&s->upload->cmd, cmd);
	s->upload->got = 0;
	s->upload->room = items_reserved_len(s->engine->items, cmd->item);
	s->upload->active = true;
	if (upload_missing(s->upload) == 0) /* an empty value that nothing ends */
		finish_upload(s);
}

/* ---- commands --------------------------------------------------------------- */

/* False: it is not one that this server was told to speak. */
static bool choose_protocol(struct session *s, uint8_t first)
{
	enum protocol_choice choice = s->engine->settings->protocol;
	bool binary = first == PROTO_BIN_REQUEST && choice != PROTOCOL_ASCII;

	if (choice == PROTOCOL_BINARY && !binary)
		return false;
	s->spoken = binary ? SPOKEN_BINARY : SPOKEN_TEXT;
	return true;
}

static struct parse_result parse_one(const struct session *s, struct proto_text *text, const uint8_t *in,
				     size_t len, struct command *out)
{
	switch (s->spoken) {
	case SPOKEN_TEXT:
		if (unlikely(s->auth.locked))
			return proto_login_parse(in, len, out);
		return proto_text_parse(text, in, len, out);
	case SPOKEN_BINARY:
		return proto_bin_parse(in, len, out);
	case SPOKEN_UNKNOWN:
		break; /* never asked */
	}
	assert(false);
	return (struct parse_result){.status = PARSE_FATAL};
}

static bool may_look_past(const struct parsed *parsed)
{
	if (parsed->result.status != PARSE_OK)
		return false;
	unsigned flags = command_row(parsed->cmd.id)->flags;
	if (parsed->cmd.id == CMD_META_GET)
		return !(parsed->cmd.meta.given & (META_FLAG('T') | META_FLAG('N')));
	return (flags & CMD_READ) && !(flags & CMD_WRITE);
}

/* Parse commands into the batch: as long as they only read, up to max. */
static int parse_ahead(struct session *s, const uint8_t *in, size_t len, int max)
{
	struct proto_text text = s->text;
	int count = 0;

	assert(max > 0 && max <= COMMANDS_AHEAD);
	while (count < max && len > 0) {
		struct parsed *b = &s->shared->batch[count];
		b->result = parse_one(s, &text, in, len, &b->cmd);
		if (b->result.status == PARSE_MORE)
			break;
		count++;
		if (!may_look_past(b))
			break;
		in += b->result.consumed;
		len -= b->result.consumed;
	}
	s->text = count == 0 ? text : (struct proto_text){0};
	return count;
}

/* Go on with the keys of a line that was left in the middle. */
static void skip_answered(struct session *s, struct command *cmd, const uint8_t *line)
{
	struct word first;

	cmd->words.at = line + s->resume_at;
	bool more = word_list_next(&cmd->words, &first);
	assert(more);
	(void)more;
	cmd->key = (struct key){.data = first.data, .len = (uint32_t)first.len};
	s->resume_at = 0;
}

/* Fetch what the batch will read while there is time. */
static void prepare_batch(struct session *s, const uint8_t *line, int count)
{
	struct engine *e = s->engine;
	struct parsed *batch = s->shared->batch;

	if (s->resume_at > 0)
		skip_answered(s, &batch[0].cmd, line);
	for (int i = 0; i < count; i++) {
		if (batch[i].result.status == PARSE_OK)
			command_prepare(e, &batch[i].cmd);
	}
	for (int i = 0; i < count && count > 1; i++) {
		if (batch[i].result.status == PARSE_OK && batch[i].cmd.key.len > 0)
			items_prefetch_item(e->items, batch[i].cmd.key.hash);
	}
}

/* Run a command that is complete; false: it was left in the middle. */
static bool run_command(struct session *s, const struct command *cmd, const uint8_t *line)
{
	struct reply reply = reply_to(s, cmd);

	reply.cursor = s->cursor;
	s->cursor = 0;
	s->fenced |= cmd->id == CMD_NOOP;
	command_dispatch(s->engine, cmd, &reply);
	if (reply.more) {
		assert(reply.cursor > 0 || reply.rest.at > line);
		s->cursor = reply.cursor;
		s->resume_at = s->cursor ? 0 : (size_t)(reply.rest.at - line);
		s->pause = session_output_waiting(s) > SESSION_OUTPUT_BYTES_MAX ? PAUSE_FULL : PAUSE_TURN;
		return false;
	}
	answer(s, &reply);
	return true;
}

static void run_auth(struct session *s, const struct command *cmd)
{
	struct reply reply = reply_to(s, cmd);

	session_auth_run(&s->auth, s->engine, cmd, &reply);
	answer(s, &reply);
}

/* Binary commands are parsed before their login is asked for. */
static bool is_refused(const struct session *s, const struct parsed *parsed)
{
	if (likely(!s->auth.locked) || s->spoken != SPOKEN_BINARY)
		return false;
	switch (parsed->result.status) {
	case PARSE_OK:
		return !session_auth_exempts(parsed->cmd.id);
	case PARSE_BAD:
		return !parsed->result.close; /* else the answer to it is the end, too */
	case PARSE_AUTH:
	case PARSE_FATAL:
	case PARSE_MORE:
		break;
	}
	return false;
}

static bool run_parsed(struct session *s, struct parsed *parsed, const uint8_t *line)
{
	const struct parse_result *result = &parsed->result;

	if (is_logged(s) && s->cursor == 0)
		log_command(s, parsed, line);
	if (is_refused(s, parsed)) {
		answer_error(s, REPLY_AUTH_FAILURE, &parsed->cmd, true);
		return true;
	}
	switch (result->status) {
	case PARSE_OK:
		if (command_row(parsed->cmd.id)->flags & CMD_BODY) {
			begin_upload(s, parsed);
			return true;
		}
		if (run_command(s, &parsed->cmd, line))
			return true;
		assert(s->spoken == SPOKEN_TEXT); /* the only one with lists of keys */
		/* Neither its end nor what is wrong with it need be looked for again. */
		s->text = (struct proto_text){result->consumed - 1, result->consumed - 1};
		return false;
	case PARSE_BAD: {
		struct swallow rest = {result->swallow, result->error, result->close};
		swallow_then_answer(s, &rest, &parsed->cmd);
		return true;
	}
	case PARSE_AUTH:
		run_auth(s, &parsed->cmd);
		return true;
	case PARSE_FATAL:
		session_fail(s);
		return true;
	case PARSE_MORE:
		break; /* never in a batch */
	}
	assert(false);
	return false;
}

/* Whether another command may run in this turn; says why not. */
static bool may_run(struct session *s, int budget)
{
	if (s->closing)
		return false;
	if (session_output_waiting(s) > SESSION_OUTPUT_BYTES_MAX) {
		s->pause = PAUSE_FULL;
		return false;
	}
	if (budget <= 0) {
		s->pause = PAUSE_TURN;
		s->engine->stats->conn_yields++;
		return false;
	}
	return true;
}

/* Run one batch; returns the bytes used up: 0 when there is nothing complete,
 * or nothing may run. */
static size_t run_batch(struct session *s, const uint8_t *in, size_t len, int *budget)
{
	size_t done = 0;

	if (!may_run(s, *budget))
		return 0;
	if (s->spoken == SPOKEN_UNKNOWN && !choose_protocol(s, in[0])) {
		s->closing = true;
		return 0;
	}
	int count = parse_ahead(s, in, len, *budget < COMMANDS_AHEAD ? *budget : COMMANDS_AHEAD);
	prepare_batch(s, in, count);
	for (int i = 0; i < count && may_run(s, *budget); i++) {
		struct parsed *parsed = &s->shared->batch[i];
		if (!run_parsed(s, parsed, in + done))
			break;
		done += parsed->result.consumed;
		--*budget;
	}
	return done;
}

/* The loop over a piece of input; returns how much of it was used up. */
static size_t process(struct session *s, const uint8_t *in, size_t len)
{
	int budget = s->engine->settings->requests_per_event;
	uint64_t clock = s->engine->hlc->last;
	size_t done = 0, n;

	assert(!hold_is_waiting(&s->hold));
	s->pause = PAUSE_NONE;
	s->running = true;
	while (done < len && !s->closing && !s->watcher && s->pause == PAUSE_NONE) {
		if (s->swallow.left > 0)
			n = swallow_some(s, len - done);
		else if (session_is_receiving(s))
			n = upload_some(s, in + done, len - done);
		else
			n = run_batch(s, in + done, len - done, &budget);
		if (n == 0)
			break;
		done += n;
	}
	s->running = false;
	note_upload(s);
	hold_changes(s, clock);
	return s->closing || s->watcher ? len : done;
}

/* ---- input ------------------------------------------------------------------ */

static void keep_input(struct session *s, const uint8_t *data, size_t len)
{
	struct session_limits *limits = &s->shared->limits;

	if (!limits_allow_input(limits, buf_len(&s->in), len)) {
		s->engine->stats->input_dropped++;
		session_fail(s);
		return;
	}
	if (!buf_append(&s->in, data, len))
		session_fail(s);
	limits_set_input(limits, &s->limited, s->in.capacity);
}

static void process_own(struct session *s)
{
	size_t len = buf_len(&s->in);

	if (len > 0)
		buf_consume(&s->in, process(s, buf_head(&s->in), len));
	else
		s->pause = PAUSE_NONE;
	buf_trim(&s->in);
	limits_set_input(&s->shared->limits, &s->limited, s->in.capacity);
	assert(!session_is_receiving(s) || s->closing || buf_len(&s->in) == 0); /* [S5] */
}

void session_input(struct session *s, const uint8_t *data, size_t len)
{
	claim_shared(s);
	s->engine->stats->bytes_read += len;
	if (s->closing || s->watcher || len == 0)
		return;
	if (hold_is_waiting(&s->hold)) { /* of a body that came in the same receive */
		s->pause = PAUSE_TURN;
		keep_input(s, data, len);
		return;
	}
	if (buf_len(&s->in) > 0) {
		keep_input(s, data, len);
		if (!s->closing && s->pause == PAUSE_NONE)
			process_own(s);
		return;
	}
	size_t done = process(s, data, len);
	if (done < len)
		keep_input(s, data + done, len - done);
}

void session_resume(struct session *s)
{
	claim_shared(s);
	if (!s->closing)
		process_own(s);
}

int session_body_iov(struct session *s, struct iovec *iov, int iov_max)
{
	struct upload *u = s->upload;
	size_t covered = 0;

	assert(iov_max > 0);
	if (!session_is_receiving(s) || s->closing || u->got + BODY_DIRECT_BYTES_MIN > u->cmd.value_len)
		return 0;
	int count = items_value_iov(s->engine->items, u->cmd.item, u->got, iov, iov_max);
	for (int i = 0; i < count; i++)
		covered += iov[i].iov_len;
	if (u->got + covered == u->cmd.value_len && !u->cmd.body_bare && count < iov_max)
		iov[count++] = (struct iovec){u->end, BODY_END_LEN};
	return count;
}

void session_body_received(struct session *s, size_t len)
{
	struct upload *u = s->upload;
	uint64_t clock = s->engine->hlc->last;

	assert(session_is_receiving(s) && len <= upload_missing(u) && !hold_is_waiting(&s->hold));
	claim_shared(s);
	s->engine->stats->bytes_read += len;
	u->got += len;
	s->running = true;
	if (upload_missing(u) == 0)
		finish_upload(s);
	else if (u->got == u->room && u->room < u->cmd.value_len)
		make_room(s);
	s->running = false;
	note_upload(s);
	hold_changes(s, clock);
}
