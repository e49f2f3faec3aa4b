/*
 * auth.c - who may log in. See auth.h.
 *
 * Owns: parsing and comparing. What may be seen from outside is how many users
 * there are, which is the same for every attempt.
 *
 * Must not know: files, protocols, sessions.
 *
 * Covered by: t/test_auth.c.
 */
#include "compat.h"
#include "auth.h"
#include "hmac.h"

static bool set_part(struct auth_part *part, const uint8_t *data, size_t len)
{
	if (len > AUTH_LINE_BYTES_MAX)
		return false;
	memset(part->data, 0, sizeof(part->data));
	if (len > 0)
		memcpy(part->data, data, len);
	part->len = len;
	return true;
}

/* NULL, or what is wrong with a line. */
static const char *add_line(struct auth_table *t, const uint8_t *line, size_t len)
{
	const uint8_t *colon = len > 0 ? memchr(line, ':', len) : NULL;

	if (len > AUTH_LINE_BYTES_MAX)
		return "longer than 255 characters";
	if (!colon || colon == line || colon + 1 == line + len)
		return "not of the form user:password";
	if (t->count == AUTH_USERS_MAX)
		return "more than 8 users";
	size_t user_len = (size_t)(colon - line);
	set_part(&t->users[t->count], line, user_len);
	set_part(&t->passwords[t->count], colon + 1, len - user_len - 1);
	t->count++;
	return NULL;
}

bool auth_table_parse(struct auth_table *out, const uint8_t *text, size_t len, const char **error,
		      size_t *line)
{
	const uint8_t *end = text + len;

	memset(out, 0, sizeof(*out));
	*error = len == 0 ? "it is empty" : NULL;
	*line = 0;
	while (text < end && !*error) {
		const uint8_t *lf = memchr(text, '\n', (size_t)(end - text));
		const uint8_t *stop = lf ? lf : end;
		++*line;
		*error = add_line(out, text, (size_t)(stop - text));
		text = lf ? lf + 1 : end;
	}
	if (*error)
		auth_table_wipe(out);
	return !*error;
}

void auth_table_wipe(struct auth_table *t)
{
	hmac_wipe(t, sizeof(*t));
}

static bool same_part(const struct auth_part *a, const struct auth_part *b)
{
	bool same_bytes = bytes_equal(a->data, b->data, sizeof(a->data));

	return same_bytes & (a->len == b->len);
}

bool auth_table_has(const struct auth_table *t, const uint8_t *user, size_t user_len, const uint8_t *password,
		    size_t password_len)
{
	struct auth_part asked_user, asked_password;
	bool found = false;

	if (!set_part(&asked_user, user, user_len) || !set_part(&asked_password, password, password_len))
		return false; /* longer than any */
	for (size_t i = 0; i < t->count; i++) {
		bool user_fits = same_part(&asked_user, &t->users[i]);
		bool password_fits = same_part(&asked_password, &t->passwords[i]);
		found |= user_fits & password_fits;
	}
	hmac_wipe(&asked_password, sizeof(asked_password));
	return found;
}
