/*
 * proto_login.c - the login of the text protocol. See proto_login.h.
 *
 * Must not know: who may log in.
 *
 * Invariants: [L1] of proto_login.h. Covered by: t/test_auth.c.
 */
#include "compat.h"
#include "proto_login.h"
#include "proto_text.h"
#include "util.h"

#define LINE_BYTES_MIN 6 /* before its newline; shorter ones are not worth an answer */
#define END_LEN 2

static struct parse_result refuse(enum reply_status error, size_t consumed, size_t swallow)
{
	return (struct parse_result){PARSE_BAD, error, consumed, swallow, false};
}

/* Words that are the command, key, flags and expiry: only their number counts. */
#define WORDS_BEFORE_LENGTH 4

/* The length of the message that a line announces; false if it is no login. */
static bool read_line(const uint8_t *line, const uint8_t *end, size_t *token_len)
{
	struct word_list list = {line, end};
	struct word word;
	int32_t bytes;

	for (int i = 0; i < WORDS_BEFORE_LENGTH; i++) {
		if (!word_list_next(&list, &word))
			return false;
		if (i == 0 && (word.data != line || !word_is(&word, "set")))
			return false;
	}
	if (!word_list_next(&list, &word))
		return false;
	if (!parse_i32((const char *)word.data, word.len, &bytes) || bytes < 0 || bytes > INT32_MAX - END_LEN)
		return false;
	*token_len = (size_t)bytes;
	return true;
}

struct parse_result proto_login_parse(const uint8_t *in, size_t len, struct command *out)
{
	size_t within = len <= PROTO_LOGIN_LINE_BYTES_MAX ? len : PROTO_LOGIN_LINE_BYTES_MAX + 1;
	const uint8_t *lf = len > 0 ? memchr(in, '\n', within) : NULL;
	size_t token_len;

	if (!lf && len <= PROTO_LOGIN_LINE_BYTES_MAX)
		return (struct parse_result){.status = PARSE_MORE};
	if (!lf || lf - in < LINE_BYTES_MIN)
		return (struct parse_result){.status = PARSE_FATAL};
	const uint8_t *end = lf[-1] == '\r' ? lf - 1 : lf;
	const uint8_t *token = lf + 1;
	size_t line_len = (size_t)(token - in);
	*out = (struct command){.id = CMD_NONE, .format = &proto_text_format, .auth = AUTH_LOGIN};
	if (!read_line(in, end, &token_len))
		return refuse(REPLY_UNAUTHENTICATED, line_len, 0);
	if (token_len > PROTO_LOGIN_TOKEN_BYTES_MAX)
		return refuse(REPLY_LOGIN_TOO_LONG, line_len, token_len + END_LEN);
	size_t consumed = line_len + token_len + END_LEN;
	if (len < consumed)
		return (struct parse_result){.status = PARSE_MORE};
	if (memcmp(token + token_len, "\r\n", END_LEN) != 0)
		return refuse(REPLY_LOGIN_BAD_END, consumed, 0);
	if (token_len == 0 || !memchr(token, ' ', token_len))
		return refuse(REPLY_LOGIN_BAD_FORM, consumed, 0);
	out->words = (struct word_list){token, token + token_len};
	return (struct parse_result){.status = PARSE_AUTH, .consumed = consumed};
}
