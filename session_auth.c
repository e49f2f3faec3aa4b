/*
 * session_auth.c - the login of a conversation. See session_auth.h.
 *
 * Must not know: protocols, where users are kept.
 *
 * Invariants: [U1] of session_auth.h. Covered by: t/test_session.c.
 */
#include "compat.h"
#include "session_auth.h"

void session_auth_init(struct session_auth *a, const struct engine *e)
{
	*a = (struct session_auth){.locked = e->settings->sasl || e->settings->auth_file[0]};
}

static void forget_sasl(struct session_auth *a, const struct engine *e)
{
	if (a->sasl)
		e->sasl->close(a->sasl);
	a->sasl = NULL;
}

void session_auth_release(struct session_auth *a, const struct engine *e)
{
	forget_sasl(a, e);
}

bool session_auth_exempts(enum command_id id)
{
	return id == CMD_VERSION;
}

static void count(struct engine *e, bool good)
{
	e->stats->auth_cmds++;
	e->stats->auth_errors += !good;
}

static void log_in(struct session_auth *a, struct engine *e, const struct command *cmd, struct reply *reply)
{
	const uint8_t *user = cmd->words.at, *end = cmd->words.end;
	const uint8_t *blank = memchr(user, ' ', (size_t)(end - user));

	assert(blank);
	const uint8_t *password = blank + 1;
	bool good = e->logins && auth_table_has(e->logins, user, (size_t)(blank - user), password,
						(size_t)(end - password));
	count(e, good);
	if (good)
		a->locked = false;
	reply->status = good ? REPLY_STORED : REPLY_AUTH_FAILURE;
}

/* ---- SASL ------------------------------------------------------------------- */

static bool open_sasl(struct session_auth *a, const struct engine *e)
{
	if (!a->sasl)
		a->sasl = e->sasl->open(e->sasl->ctx);
	return a->sasl != NULL;
}

static void list_mechanisms(struct session_auth *a, struct engine *e, struct reply *reply)
{
	bool good = open_sasl(a, e) && e->sasl->list(a->sasl, &reply->data, &reply->data_len);

	reply->status = good ? REPLY_AUTH_LIST : REPLY_AUTH_FAILURE;
}

static void take_step(struct session_auth *a, struct engine *e, const char *mechanism,
		      const struct command *cmd, struct reply *reply)
{
	const struct word_list *in = &cmd->words;
	enum sasl_result result = SASL_STEP_FAILED;

	if (a->sasl)
		result = e->sasl->step(a->sasl, mechanism, in->at, (size_t)(in->end - in->at), &reply->data,
				       &reply->data_len);
	if (result == SASL_STEP_CONTINUE) {
		reply->status = REPLY_AUTH_CONTINUE;
		return;
	}
	count(e, result == SASL_STEP_DONE);
	if (result == SASL_STEP_DONE)
		a->locked = false;
	forget_sasl(a, e); /* nothing more to be said in it */
	reply->status = result == SASL_STEP_DONE ? REPLY_AUTHENTICATED : REPLY_AUTH_FAILURE;
}

/* The beginning, whatever was before: who says it anew must prove it anew. */
static void begin_sasl(struct session_auth *a, struct engine *e, const struct command *cmd,
		       struct reply *reply)
{
	char mechanism[KEY_BYTES_MAX + 1];

	assert(cmd->key.len <= KEY_BYTES_MAX);
	memcpy(mechanism, cmd->key.data, cmd->key.len);
	mechanism[cmd->key.len] = '\0';
	a->locked = true;
	forget_sasl(a, e);
	open_sasl(a, e);
	take_step(a, e, mechanism, cmd, reply);
}

void session_auth_run(struct session_auth *a, struct engine *e, const struct command *cmd,
		      struct reply *reply)
{
	if (cmd->auth == AUTH_LOGIN) {
		log_in(a, e, cmd, reply);
		return;
	}
	if (!e->settings->sasl || !e->sasl) {
		reply->status = REPLY_UNKNOWN;
		return;
	}
	switch (cmd->auth) {
	case AUTH_SASL_LIST:
		list_mechanisms(a, e, reply);
		return;
	case AUTH_SASL_BEGIN:
		begin_sasl(a, e, cmd, reply);
		return;
	case AUTH_SASL_STEP:
		take_step(a, e, NULL, cmd, reply);
		return;
	case AUTH_NONE:
	case AUTH_LOGIN:
		break;
	}
	assert(false);
}
