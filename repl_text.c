/*
 * repl_text.c - pure codec of repcached's link. See repl_text.h.
 *
 * Owns: a table of the words, and a strict reader: single blanks, CRLF, digits
 * only. It is stricter than the other side's, because whatever is not one of
 * the five lines comes from somebody else.
 *
 * A time that is larger than 31 bits was a negative one there: long past.
 *
 * Must not know: items, connections, what a message is for.
 *
 * Invariants: [T1] to [T3] of repl_text.h.
 *
 * Covered by: t/test_repl_text.c.
 */
#include "compat.h"
#include "repl_text.h"
#include "util.h"

static const struct {
	const char *word;
	int args_min, args_max;
} words[] = {
        [TEXT_REP] = {"rep", 5, 5},
        [TEXT_DELETE] = {"delete", 1, 1},
        [TEXT_FLUSH] = {"flush_all", 0, 1},
        [TEXT_END] = {"marugoto_end", 0, 0},
};

#define ARGS_MAX 5

struct span {
	const char *p;
	size_t len;
};

bool text_key_fits(const uint8_t *key, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (key[i] <= ' ' || key[i] == 0x7f)
			return false;
	return len > 0 && len <= TEXT_KEY_BYTES_MAX;
}

/* ---- decoding -------------------------------------------------------------- */

/* Whether the bytes so far can begin one of the lines; so strangers are known
 * by their first bytes. */
static bool starts_like_one(const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t n = strlen(words[i].word);
		if (memcmp(data, words[i].word, len < n ? len : n) == 0)
			return true;
	}
	return false;
}

/* The words of a line between single blanks; a blank at its end begins an empty
 * one. -1: too many. */
static int split(const char *p, size_t len, struct span *out, int max)
{
	int count = 0;

	for (const char *end = p + len;; p++) {
		const char *blank = memchr(p, ' ', (size_t)(end - p));
		const char *stop = blank ? blank : end;
		if (count == max)
			return -1;
		out[count++] = (struct span){p, (size_t)(stop - p)};
		if (!blank)
			return count;
		p = stop;
	}
}

static bool take_u32(const struct span *s, uint32_t *out)
{
	return parse_u32(s->p, s->len, out);
}

static bool take_exptime(const struct span *s, uint32_t *out)
{
	uint64_t exptime;

	if (!parse_u64(s->p, s->len, &exptime))
		return false;
	*out = exptime > TEXT_EXPTIME_MAX ? 1 : (uint32_t)exptime;
	return true;
}

static bool take_key(const struct span *s, struct text_message *out)
{
	if (s->len == 0 || s->len > TEXT_KEY_BYTES_MAX)
		return false;
	out->key = (const uint8_t *)s->p;
	out->key_len = (uint8_t)s->len;
	return true;
}

static const char *read_rep(const struct span *args, size_t value_max, struct text_message *out)
{
	uint64_t cas;

	if (!take_key(&args[0], out))
		return "bad key in a line";
	if (!take_u32(&args[1], &out->flags) || !take_exptime(&args[2], &out->exptime) ||
	    !take_u32(&args[3], &out->value_len) || !parse_u64(args[4].p, args[4].len, &cas))
		return "bad number in a line";
	out->cas = (uint32_t)cas;
	return out->value_len > value_max ? "value too long" : NULL;
}

/* A whole line without its end. NULL, or what is wrong with it. */
static const char *read_line(const char *line, size_t len, size_t value_max, struct text_message *out)
{
	struct span parts[1 + ARGS_MAX];
	int count = split(line, len, parts, ARRAY_LEN(parts));
	size_t kind = 0;

	while (kind < ARRAY_LEN(words) && (strlen(words[kind].word) != parts[0].len ||
	                                   memcmp(words[kind].word, parts[0].p, parts[0].len) != 0))
		kind++;
	if (kind == TEXT_FLUSH && count == 2 && parts[1].len == 0)
		count = 1;
	if (kind == ARRAY_LEN(words) || count < 1 + words[kind].args_min || count > 1 + words[kind].args_max)
		return "not a line of repcached's";
	*out = (struct text_message){.kind = (enum text_kind)kind};
	switch (out->kind) {
	case TEXT_REP:
		return read_rep(parts + 1, value_max, out);
	case TEXT_DELETE:
		return take_key(&parts[1], out) ? NULL : "bad key in a line";
	case TEXT_FLUSH:
		return count == 1 || take_exptime(&parts[1], &out->exptime) ? NULL : "bad number in a line";
	case TEXT_END:
		break;
	}
	return NULL;
}

enum text_status text_decode(const uint8_t *data, size_t len, size_t value_max, struct text_message *out,
                             size_t *consumed, const char **error)
{
	if (len == 0)
		return TEXT_MORE;
	*error = "not a line of repcached's";
	if (!starts_like_one(data, len))
		return TEXT_BAD;
	size_t within = len < TEXT_LINE_BYTES_MAX ? len : TEXT_LINE_BYTES_MAX;
	const uint8_t *end = memchr(data, '\n', within);
	if (!end) {
		*error = "line too long";
		return len < TEXT_LINE_BYTES_MAX ? TEXT_MORE : TEXT_BAD; /* [T2] */
	}
	size_t line_len = (size_t)(end - data);
	if (line_len == 0 || data[line_len - 1] != '\r' || memchr(data, '\r', line_len - 1) ||
	    memchr(data, '\0', line_len))
		return TEXT_BAD;
	*error = read_line((const char *)data, line_len - 1, value_max, out);
	*consumed = line_len + 1;
	return *error ? TEXT_BAD : TEXT_OK;
}

/* ---- encoding -------------------------------------------------------------- */

static uint32_t exptime_for_them(uint32_t exptime)
{
	return exptime > TEXT_EXPTIME_MAX ? TEXT_EXPTIME_MAX : exptime;
}

size_t text_encode(uint8_t *out, const struct text_message *m)
{
	char *text = (char *)out;
	const char *key = (const char *)m->key;
	int key_len = m->key_len, len = 0;

	assert((m->kind != TEXT_REP && m->kind != TEXT_DELETE) || text_key_fits(m->key, m->key_len)); /* [T3] */
	assert(m->value_len <= INT32_MAX);
	switch (m->kind) {
	case TEXT_REP:
		len = snprintf(text, TEXT_LINE_BYTES_MAX,
		               "rep %.*s %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\r\n", key_len, key,
		               m->flags, exptime_for_them(m->exptime), m->value_len, m->cas);
		break;
	case TEXT_DELETE:
		len = snprintf(text, TEXT_LINE_BYTES_MAX, "delete %.*s\r\n", key_len, key);
		break;
	case TEXT_FLUSH:
		len = m->exptime ? snprintf(text, TEXT_LINE_BYTES_MAX, "flush_all %" PRIu32 "\r\n",
		                            exptime_for_them(m->exptime))
		                 : snprintf(text, TEXT_LINE_BYTES_MAX, "flush_all \r\n");
		break;
	case TEXT_END:
		len = snprintf(text, TEXT_LINE_BYTES_MAX, "marugoto_end\r\n");
		break;
	}
	assert(len > 0 && len < TEXT_LINE_BYTES_MAX);
	return (size_t)len;
}
