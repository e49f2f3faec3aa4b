/*
 * fuzz_auth.c - any file of users, any login.
 *
 * Owns: LLVMFuzzerTestOneInput(). The input is the text of a file of users, a
 * zero, and what a client says.
 *
 * What must hold
 *  - a file is taken exactly if every line is user:password within the limits, as
 *    a second reading of it says that knows nothing of the first; then each of
 *    its pairs may log in, and none of those with a byte changed
 *  - a login gives the same result whole and in pieces: PARSE_MORE for every
 *    beginning, and never for more than a login may have
 *
 * Corpus: t/corpus/auth.
 */
#include "fuzz_nodes.h"
#include "auth.h"
#include "proto_login.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct pair {
	const uint8_t *user, *password;
	size_t user_len, password_len;
};

/* The pairs of a file, or -1 if it may not be taken. */
static int read_pairs(const uint8_t *text, size_t len, struct pair out[AUTH_USERS_MAX])
{
	int count = 0;

	for (size_t at = 0; at < len;) {
		size_t end = at, colon;
		while (end < len && text[end] != '\n')
			end++;
		for (colon = at; colon < end && text[colon] != ':'; colon++)
			;
		if (end - at > AUTH_LINE_BYTES_MAX || colon == at || colon + 1 >= end || count == AUTH_USERS_MAX)
			return -1;
		out[count++] = (struct pair){text + at, text + colon + 1, colon - at, end - colon - 1};
		at = end + 1;
	}
	return count > 0 ? count : -1;
}

static bool is_one_of(const struct pair *p, const struct pair *pairs, int count)
{
	for (int i = 0; i < count; i++)
		if (pairs[i].user_len == p->user_len && memcmp(pairs[i].user, p->user, p->user_len) == 0 &&
		    pairs[i].password_len == p->password_len &&
		    memcmp(pairs[i].password, p->password, p->password_len) == 0)
			return true;
	return false;
}

static void check_file(const uint8_t *text, size_t len)
{
	static struct auth_table table;
	struct pair pairs[AUTH_USERS_MAX];
	const char *error = NULL;
	size_t line = 0;
	int count = read_pairs(text, len, pairs);
	bool taken = auth_table_parse(&table, text, len, &error, &line);

	CHECK(taken == (count > 0), "taken %d, %d pairs, line %zu: %s", taken, count, line, error ? error : "");
	CHECK(taken || (error && error[0]), "refused without a reason");
	for (int i = 0; i < count; i++) {
		const struct pair *p = &pairs[i];
		uint8_t other[AUTH_LINE_BYTES_MAX];
		CHECK(auth_table_has(&table, p->user, p->user_len, p->password, p->password_len), "pair %d", i);
		memcpy(other, p->password, p->password_len);
		other[p->password_len - 1] ^= 0x80;
		for (size_t n = p->password_len - 1; n <= p->password_len; n++) {
			struct pair wrong = {p->user, other, p->user_len, n};
			CHECK(is_one_of(&wrong, pairs, count) ==
			              auth_table_has(&table, p->user, p->user_len, other, n),
			      "pair %d, %zu bytes", i, n);
		}
	}
}

static struct parse_result parse(const uint8_t *in, size_t len, struct command *out)
{
	uint8_t *copy = malloc(len ? len : 1); /* of its size, so that reading past it is seen */

	CHECK(copy, "memory");
	if (len)
		memcpy(copy, in, len);
	struct parse_result r = proto_login_parse(copy, len, out);
	CHECK(r.consumed <= len, "more than there is");
	free(copy);
	return r;
}

static void check_login(const uint8_t *in, size_t len)
{
	struct command cmd = {.id = CMD_NONE}, part;
	struct parse_result whole = parse(in, len, &cmd);

	CHECK(whole.status != PARSE_MORE || len < PROTO_LOGIN_BYTES_MAX, "it waits for ever");
	CHECK(whole.status == PARSE_MORE || whole.status == PARSE_BAD || whole.status == PARSE_FATAL ||
	              whole.status == PARSE_AUTH,
	      "%d", (int)whole.status);
	for (size_t n = 0; n < len; n++) {
		struct parse_result r = parse(in, n, &part);
		if (r.status == PARSE_MORE)
			continue;
		CHECK(r.status == whole.status && r.consumed == whole.consumed && r.error == whole.error &&
		              r.swallow == whole.swallow,
		      "after %zu of %zu bytes it is something else", n, len);
		break; /* decided */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
	size_t len = zero ? (size_t)(zero - data) : size;

	check_file(data, len);
	if (zero)
		check_login(zero + 1, size - len - 1);
	return 0;
}
