/*
 * session_auth.h - whether a conversation may go on: its login.
 *
 * Owns: one conversation's state of authentication. It begins locked if the
 * server asks for a login of either kind, and is unlocked by a good one:
 *
 *     locked --- login, or last step of SASL: good ---> unlocked
 *        ^                                                 |
 *        +------------ SASL begun anew --------------------+
 *
 * Must not know: protocols, where users are kept, what other commands do.
 *
 * Invariants
 *  [U1] without a table of users, or without SASL to ask, a locked
 *       conversation stays locked
 *
 * Layer 4. Covered by: t/test_session.c, t/auth.t.
 */
#ifndef SESSION_AUTH_H
#define SESSION_AUTH_H

#include "compat.h"
#include "engine.h"
#include "message.h"

struct session_auth {
	bool locked;
	void *sasl; /* engine.sasl's conversation; NULL none yet */
};

void session_auth_init(struct session_auth *a, const struct engine *e);
void session_auth_release(struct session_auth *a, const struct engine *e);

/* Whether a locked conversation may run this all the same. */
bool session_auth_exempts(enum command_id id);

/* One message of a login (cmd->auth). */
void session_auth_run(struct session_auth *a, struct engine *e, const struct command *cmd,
		      struct reply *reply);

#endif
