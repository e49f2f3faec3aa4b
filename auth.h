/*
 * auth.h - who may log in: a table of users, and what SASL is asked.
 *
 * Owns: the form of a file of users (-Y: lines "user:password"), and the
 * comparison with it, which takes the same time whatever is compared and
 * whoever matches.
 *
 * The conversations of SASL are spoken by a library that reads files of its
 * own. The shell has it; a session sees only the functions of struct sasl_env.
 *
 * Must not know: files, protocols, sessions, that library.
 *
 * Layer 3. Covered by: t/test_auth.c, t/test_session.c, t/auth.t.
 */
#ifndef AUTH_H
#define AUTH_H

#include "compat.h"

#define AUTH_USERS_MAX 8
#define AUTH_LINE_BYTES_MAX 255
/* Of a whole file. */
#define AUTH_TEXT_BYTES_MAX (AUTH_USERS_MAX * (AUTH_LINE_BYTES_MAX + 1))

/* One part of a line, padded with zeros: compared as a whole. */
struct auth_part {
	uint8_t data[AUTH_LINE_BYTES_MAX + 1];
	size_t len;
};

struct auth_table {
	size_t count;
	struct auth_part users[AUTH_USERS_MAX];
	struct auth_part passwords[AUTH_USERS_MAX];
};

/* Read a file's text: lines of a user, a colon and a password, which may hold
 * colons; the last newline may be missing. False, *error (static) and *line when
 * it is empty or malformed; *out is then not to be used. */
bool auth_table_parse(struct auth_table *out, const uint8_t *text, size_t len, const char **error,
		      size_t *line);
void auth_table_wipe(struct auth_table *t);

/* Whether the table has this user with this password. An empty table has none. */
bool auth_table_has(const struct auth_table *t, const uint8_t *user, size_t user_len, const uint8_t *password,
		    size_t password_len);

enum sasl_result {
	SASL_STEP_DONE,     /* the client is who it says */
	SASL_STEP_CONTINUE, /* *out is for the client, which answers with a step */
	SASL_STEP_FAILED    /* refused; the conversation is over */
};

/* What a session asks of SASL. *out lies in the conversation and is valid until
 * its next call. */
struct sasl_env {
	void *(*open)(void *ctx); /* a conversation with one client; NULL: not possible */
	void (*close)(void *conversation);
	/* The names of the mechanisms, with blanks between them. */
	bool (*list)(void *conversation, const uint8_t **out, size_t *len);
	/* mechanism: with the first message of a conversation; NULL later. */
	enum sasl_result (*step)(void *conversation, const char *mechanism, const uint8_t *in, size_t in_len,
				 const uint8_t **out, size_t *out_len);
	void *ctx;
};

#endif
