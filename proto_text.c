/*
 * proto_text.c - the classic text protocol. See proto_text.h.
 *
 * Owns: one parse function per syntax of commands.def, the table that finds a
 * word in one step, the printing of the three kinds of answers.
 *
 * Must not know: what a command does, the clock, where bytes come from.
 *
 * The way of a line: find its end; find the word; then either the straight road
 * (get, gets: the rest of the line is the list of keys) or cut the line into
 * words and decode them by the syntax of the row.
 *
 * Invariants: [X1] [X2] of proto_text.h. Covered by: t/test_proto_text.c.
 */
#include "compat.h"
#include "proto_meta.h"
#include "proto_text.h"
#include "util.h"

#define LINE_BYTES_MIN 4     /* shorter ones, with their end, are refused */
#define INDENT_BYTES_MAX 100 /* spaces looked past in an overlong line */
#define VALUE_LEN_MAX (INT32_MAX - 2)
#define CRLF_LEN 2
/* "VALUE " key " " flags " " length " " cas CRLF */
#define VALUE_HEAD_BYTES_MAX (6 + KEY_BYTES_MAX + 4 * (DECIMAL_BYTES_MAX + 1) + CRLF_LEN)

/* How the words of a line are decoded. */
enum syntax {
	SYNTAX_KEYS,       /* key+ */
	SYNTAX_TOUCH_KEYS, /* expiry key+ */
	SYNTAX_STORE,      /* key flags expiry bytes [noreply] */
	SYNTAX_CAS,        /* key flags expiry bytes cas [noreply] */
	SYNTAX_DELETE,     /* key [0] [noreply] */
	SYNTAX_DELTA,      /* key delta [noreply] */
	SYNTAX_TOUCH,      /* key expiry [noreply] */
	SYNTAX_FLUSH,      /* [expiry] [noreply] */
	SYNTAX_VERBOSITY,  /* level [noreply] */
	SYNTAX_META,       /* left to proto_meta.c */
	SYNTAX_WORDS       /* left to the handler */
};

struct row {
	const char *word;
	uint8_t len;
	uint8_t words_min;
	uint8_t syntax;
	uint8_t flags;
};

static const struct row rows[CMD_COUNT] = {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help)                                   \
	[CMD_##id] = {word, sizeof(word) - 1, words_min, SYNTAX_##syntax, flags},
#include "commands.def"
#undef COMMAND
};

#define SLOT_COUNT 128
#define SLOT(len, c0, c1) (((len) + 16u * (c0) + 2u * (c1)) % SLOT_COUNT)

/* Operation + 1 by slot; 0 is none. Two words in one slot are two initializers
 * of one element, which the compiler refuses. */
static const uint8_t slots[SLOT_COUNT] = {
#define COMMAND(id, word, c0, c1, syntax, words_min, flags, handler, help)                                   \
	[SLOT(sizeof(word) - 1, c0, c1)] = CMD_##id + 1,
#include "commands.def"
#undef COMMAND
};

/* The only word so far that is as long as another one and begins like it. */
static enum command_id lookup_twin(const uint8_t *word, size_t len)
{
	const struct row *twin = &rows[CMD_DEBUGITEM];

	return len == twin->len && memcmp(word, twin->word, len) == 0 ? CMD_DEBUGITEM : CMD_NONE;
}

enum command_id proto_text_lookup(const uint8_t *word, size_t len)
{
	if (len < 2)
		return CMD_NONE;
	unsigned n = slots[SLOT(len, word[0], word[1])];
	if (n == 0)
		return CMD_NONE;
	const struct row *row = &rows[n - 1];
	if (row->len != len)
		return CMD_NONE;
	for (size_t i = 0; i < len; i++) /* few: a call would take longer */
		if (word[i] != (uint8_t)row->word[i])
			return lookup_twin(word, len);
	return (enum command_id)(n - 1);
}

/* ---- results ---------------------------------------------------------------- */

static struct parse_result ok(void)
{
	return (struct parse_result){.status = PARSE_OK};
}

static struct parse_result bad(enum reply_status error)
{
	return (struct parse_result){.status = PARSE_BAD, .error = error};
}

/* Refused before noreply is looked at. */
static struct parse_result bad_aloud(struct command *out, enum reply_status error)
{
	out->quiet = false;
	return bad(error);
}

static struct parse_result fatal(void)
{
	return (struct parse_result){.status = PARSE_FATAL};
}

/* ---- words ------------------------------------------------------------------ */

struct words {
	struct word at[PROTO_TEXT_WORDS_MAX]; /* [0] is the command */
	size_t count;
};

/* Append the words from `at` on, as many as there is room for. */
static void split(struct words *words, const uint8_t *at, const uint8_t *end)
{
	struct word_list list = {at, end};

	while (words->count < PROTO_TEXT_WORDS_MAX && word_list_next(&list, &words->at[words->count]))
		words->count++;
}

static bool last_is(const struct words *words, const char *text)
{
	return words->count > 0 && word_is(&words->at[words->count - 1], text);
}

static const char *chars(const struct word *word)
{
	return (const char *)word->data;
}

static bool set_key(struct command *out, const struct word *word)
{
	if (word->len > KEY_BYTES_MAX)
		return false;
	out->key = (struct key){.data = word->data, .len = (uint32_t)word->len};
	return true;
}

static bool set_exptime(struct command *out, const struct word *word)
{
	int32_t v;

	if (!parse_i32(chars(word), word->len, &v))
		return false;
	out->exptime = v;
	out->has_exptime = true;
	return true;
}

/* ---- one function per syntax ------------------------------------------------ */

/* Whether a word of the list is too long for a key. Steps from space to space
 * in strides of the longest key. */
static bool has_long_word(const uint8_t *p, const uint8_t *end)
{
	while (end - p > KEY_BYTES_MAX) {
		const uint8_t *q = p + KEY_BYTES_MAX;
		while (q >= p && *q != ' ')
			q--;
		if (q < p)
			return true;
		p = q + 1;
	}
	return false;
}

/* list is what follows the command (and its expiry); no word before good is too long. */
static struct parse_result parse_key_list(struct command *out, struct word_list list, const uint8_t *good)
{
	struct word first;

	if (!word_list_next(&list, &first))
		return bad(REPLY_BAD_FORMAT);
	if (has_long_word(first.data > good ? first.data : good, list.end))
		return bad(REPLY_BAD_FORMAT);
	out->words = list;
	set_key(out, &first);
	return ok();
}

static struct parse_result parse_keys(struct command *out, const uint8_t *at, const uint8_t *end,
				      const uint8_t *good)
{
	out->with_cas = out->id == CMD_GETS;
	return parse_key_list(out, (struct word_list){at, end}, good);
}

static struct parse_result parse_touch_keys(struct command *out, const uint8_t *at, const uint8_t *end,
					    const uint8_t *good)
{
	struct word_list list = {at, end};
	struct word exptime, ahead;

	out->with_cas = out->id == CMD_GATS;
	if (!word_list_next(&list, &exptime))
		return bad(REPLY_BAD_FORMAT);
	struct word_list keys = list;
	if (!word_list_next(&list, &ahead))
		return bad(REPLY_BAD_FORMAT);
	if (!set_exptime(out, &exptime))
		return bad(REPLY_BAD_EXPTIME);
	return parse_key_list(out, keys, good);
}

static struct parse_result parse_store(struct command *out, const struct words *words)
{
	const struct word *at = words->at;
	int32_t value_len, exptime;

	if (!parse_i32(chars(&at[4]), at[4].len, &value_len) || value_len < 0 || value_len > VALUE_LEN_MAX)
		return bad_aloud(out, REPLY_BAD_FORMAT);
	out->value_len = (size_t)value_len;
	bool good = set_key(out, &at[1]) && parse_flags_lenient(chars(&at[2]), at[2].len, &out->flags) &&
		    parse_exptime_lenient(chars(&at[3]), at[3].len, &exptime);
	if (good && out->id == CMD_CAS)
		good = words->count > 5 && parse_u64(chars(&at[5]), at[5].len, &out->number);
	if (good) {
		out->exptime = exptime;
		out->has_exptime = true;
		return ok();
	}
	struct parse_result result = bad(REPLY_BAD_FORMAT);
	result.swallow = out->value_len + CRLF_LEN;
	return result;
}

/* An old client may say when ("0": at once); anything else but noreply after
 * the key is refused. */
static bool delete_words_good(const struct command *out, const struct words *words)
{
	size_t extra = words->count - 2;

	if (out->quiet)
		extra--;
	return extra == 0 || (extra == 1 && word_is(&words->at[2], "0"));
}

static struct parse_result parse_delete(struct command *out, const struct words *words)
{
	if (words->count == 2)
		out->quiet = false; /* a key that is called noreply */
	if (!delete_words_good(out, words))
		return bad(REPLY_BAD_DELETE);
	return set_key(out, &words->at[1]) ? ok() : bad(REPLY_BAD_FORMAT);
}

static struct parse_result parse_delta(struct command *out, const struct words *words)
{
	if (!set_key(out, &words->at[1]))
		return bad(REPLY_BAD_FORMAT);
	if (!parse_u64(chars(&words->at[2]), words->at[2].len, &out->number))
		return bad(REPLY_BAD_DELTA);
	return ok();
}

static struct parse_result parse_touch(struct command *out, const struct words *words)
{
	if (!set_key(out, &words->at[1]))
		return bad(REPLY_BAD_FORMAT);
	return set_exptime(out, &words->at[2]) ? ok() : bad(REPLY_BAD_EXPTIME);
}

static struct parse_result parse_flush(struct command *out, const struct words *words)
{
	size_t arguments = words->count - 1 - (out->quiet ? 1 : 0);

	if (arguments == 0)
		return ok();
	return set_exptime(out, &words->at[1]) ? ok() : bad(REPLY_BAD_EXPTIME);
}

static struct parse_result parse_verbosity(struct command *out, const struct words *words)
{
	uint32_t level;

	if (!parse_u32(chars(&words->at[1]), words->at[1].len, &level))
		return bad(REPLY_BAD_FORMAT);
	out->number = level;
	return ok();
}

/* ---- a line ----------------------------------------------------------------- */

static struct parse_result parse_words(struct command *out, const struct row *row, const struct words *words)
{
	switch ((enum syntax)row->syntax) {
	case SYNTAX_STORE:
	case SYNTAX_CAS:
		return parse_store(out, words);
	case SYNTAX_DELETE:
		return parse_delete(out, words);
	case SYNTAX_DELTA:
		return parse_delta(out, words);
	case SYNTAX_TOUCH:
		return parse_touch(out, words);
	case SYNTAX_FLUSH:
		return parse_flush(out, words);
	case SYNTAX_VERBOSITY:
		return parse_verbosity(out, words);
	case SYNTAX_WORDS:
		return ok();
	case SYNTAX_KEYS:
	case SYNTAX_TOUCH_KEYS:
	case SYNTAX_META:
		break; /* the straight road */
	}
	assert(false);
	return fatal();
}

static struct parse_result parse_unknown(struct command *out, const struct words *words)
{
	static const char trap[] = "HTTP/"; /* a browser, or an attack through one */
	const struct word *last = &words->at[words->count - 1];
	size_t len = sizeof(trap) - 1;

	if (words->count > 1 && last->len >= len && memcmp(last->data, trap, len) == 0)
		return fatal();
	out->quiet = last_is(words, "noreply");
	return bad(REPLY_UNKNOWN);
}

/* A line whose first word is an operation that takes words. */
static struct parse_result parse_known(struct command *out, const struct words *words, const uint8_t *end)
{
	const struct row *row = &rows[out->id];

	if (words->count < row->words_min)
		return bad(REPLY_BAD_FORMAT);
	out->quiet = (row->flags & CMD_QUIETABLE) && words->count > 1 && last_is(words, "noreply");
	const uint8_t *rest = words->at[0].data + words->at[0].len;
	out->words = (struct word_list){rest, end};
	return parse_words(out, row, words);
}

/* A line that does not begin with an operation. */
static struct parse_result parse_strange(struct command *out, const uint8_t *line, const uint8_t *end)
{
	struct words words = {.count = 0};

	split(&words, line, end);
	if (words.count == 0)
		return bad(REPLY_UNKNOWN);
	out->id = proto_text_lookup(words.at[0].data, words.at[0].len);
	if (out->id == CMD_NONE || !(rows[out->id].flags & CMD_INDENT))
		return parse_unknown(out, &words);
	return parse_known(out, &words, end);
}

/* One line without its end. */
static struct parse_result parse_line(struct command *out, const uint8_t *line, const uint8_t *end,
				      size_t checked)
{
	const uint8_t *space = memchr(line, ' ', (size_t)(end - line));
	const uint8_t *word_end = space ? space : end;
	enum command_id id = proto_text_lookup(line, (size_t)(word_end - line));

	command_init(out, id, &proto_text_format);
	if (id == CMD_NONE)
		return parse_strange(out, line, end);
	if (rows[id].syntax == SYNTAX_KEYS)
		return parse_keys(out, word_end, end, line + checked);
	if (rows[id].syntax == SYNTAX_TOUCH_KEYS)
		return parse_touch_keys(out, word_end, end, line + checked);
	if (rows[id].syntax == SYNTAX_META)
		return proto_meta_parse(out, word_end, end);
	struct words words;
	words.at[0] = (struct word){line, (size_t)(word_end - line)};
	words.count = 1;
	split(&words, word_end, end);
	return parse_known(out, &words, end);
}

/* An unfinished line this long goes on only if it is a list of keys. */
static bool may_go_on(const uint8_t *in, size_t len)
{
	size_t spaces = 0;

	if (len <= PROTO_TEXT_LINE_BYTES_MAX)
		return true;
	while (spaces < INDENT_BYTES_MAX && in[spaces] == ' ')
		spaces++;
	return memcmp(in + spaces, "get ", 4) == 0 || memcmp(in + spaces, "gets ", 5) == 0;
}

struct parse_result proto_text_parse(struct proto_text *state, const uint8_t *in, size_t len,
				     struct command *out)
{
	assert(state->scanned <= len);
	const uint8_t *lf =
		len > state->scanned ? memchr(in + state->scanned, '\n', len - state->scanned) : NULL;
	struct parse_result result;

	if (!lf) {
		state->scanned = len;
		return may_go_on(in, len) ? (struct parse_result){.status = PARSE_MORE} : fatal();
	}
	size_t consumed = (size_t)(lf - in) + 1, checked = state->checked;
	*state = (struct proto_text){0};
	const uint8_t *end = lf > in && lf[-1] == '\r' ? lf - 1 : lf;
	if (consumed < LINE_BYTES_MIN) {
		command_init(out, CMD_NONE, &proto_text_format);
		result = bad(REPLY_BAD_FORMAT);
	} else {
		result = parse_line(out, in, end, checked);
	}
	result.consumed = consumed;
	return result;
}

/* ---- printing --------------------------------------------------------------- */

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	memcpy(p, data, len);
	return p + len;
}

static uint8_t *put_number(uint8_t *p, uint64_t v)
{
	return p + format_u64((char *)p, v);
}

static uint8_t *put_crlf(uint8_t *p)
{
	p[0] = '\r';
	p[1] = '\n';
	return p + CRLF_LEN;
}

static uint8_t *put_value_head(uint8_t *p, const struct reply *reply, const struct reply_value *value,
			       size_t len)
{
	p = put(p, "VALUE ", 6);
	p = put(p, value->key->data, value->key->len);
	*p++ = ' ';
	p = put_number(p, item_flags(value->item));
	*p++ = ' ';
	p = put_number(p, len);
	if (reply->command->with_cas) {
		*p++ = ' ';
		p = put_number(p, value->cas);
	}
	return put_crlf(p);
}

/* A value that is not copied. */
static bool print_pinned(struct reply *reply, const struct reply_value *value, size_t len)
{
	struct output_mark mark = output_mark(reply->out);
	uint8_t *start = output_room(reply->out, VALUE_HEAD_BYTES_MAX);

	if (!start)
		return false;
	output_commit(reply->out, (size_t)(put_value_head(start, reply, value, len) - start));
	if (output_put_value(reply->out, value->item) && output_put(reply->out, "\r\n", CRLF_LEN))
		return true;
	output_rollback(reply->out, &mark);
	return false;
}

static bool print_value(struct reply *reply, const struct reply_value *value)
{
	size_t len = item_value_len(value->item);
	const uint8_t *data = item_value(value->item);

	if (len > OUTPUT_COPY_BYTES_MAX || !data)
		return print_pinned(reply, value, len);
	uint8_t *start = output_room(reply->out, VALUE_HEAD_BYTES_MAX + len + CRLF_LEN);
	if (!start)
		return false;
	uint8_t *p = put_value_head(start, reply, value, len);
	p = put_crlf(put(p, data, len));
	output_commit(reply->out, (size_t)(p - start));
	return true;
}

static bool print_row(struct reply *reply, const char *what, const struct word *key, const char *value)
{
	size_t what_len = strlen(what), value_len = strlen(value);
	uint8_t *start = output_room(reply->out, what_len + key->len + value_len + sizeof("  \r\n"));

	if (!start)
		return false;
	uint8_t *p = put(start, what, what_len);
	*p++ = ' ';
	p = put(p, key->data, key->len);
	*p++ = ' ';
	p = put_crlf(put(p, value, value_len));
	output_commit(reply->out, (size_t)(p - start));
	return true;
}

static bool print_pair(struct reply *reply, const char *name, const char *value)
{
	struct word key = {(const uint8_t *)name, strlen(name)};

	return print_row(reply, "STAT", &key, value);
}

struct line {
	const char *text;
	size_t len;
};

static const struct line lines[REPLY_STATUS_COUNT] = {
#define X(name, line) [REPLY_##name] = {line "\r\n", sizeof(line "\r\n") - 1},
	REPLIES(X)
#undef X
};

static bool print_number(struct reply *reply)
{
	uint8_t *start = output_room(reply->out, DECIMAL_BYTES_MAX + CRLF_LEN);

	if (!start)
		return false;
	output_commit(reply->out, (size_t)(put_crlf(put_number(start, reply->number)) - start));
	return true;
}

static bool print_version(struct reply *reply)
{
	static const char word[] = "VERSION ";
	size_t len = strlen(reply->text);
	uint8_t *start = output_room(reply->out, sizeof(word) + len + CRLF_LEN);

	if (!start)
		return false;
	uint8_t *p = put(put(start, word, sizeof(word) - 1), reply->text, len);
	output_commit(reply->out, (size_t)(put_crlf(p) - start));
	return true;
}

static bool print_line(struct reply *reply)
{
	const struct line *line = &lines[reply->status];

	if (unlikely(reply->status == REPLY_NUMBER))
		return print_number(reply);
	if (unlikely(reply->status == REPLY_VERSION))
		return print_version(reply);
	return output_put(reply->out, line->text, line->len);
}

static bool print_status(struct reply *reply)
{
	if (reply->status == REPLY_NONE || reply->command->quiet)
		return true;
	return print_line(reply);
}

bool proto_text_print_error(struct reply *reply)
{
	assert(reply->status != REPLY_NONE);
	return print_line(reply);
}

const struct reply_format proto_text_format = {
	.value = print_value,
	.pair = print_pair,
	.row = print_row,
	.status = print_status,
};
