/*
 * proto_meta.c - the meta protocol. See proto_meta.h.
 *
 * Owns: one row per letter for what its argument is; the checks, each over the
 * whole line before the next begins; one function per kind of answer.
 *
 * Must not know: where a line ends, what a command does, the clock.
 *
 * Letters that mean something to one command are let pass with all of them.
 *
 * Invariants: [M1] [M2] [M3] of proto_meta.h. Covered by: t/test_proto_meta.c.
 */
#include "compat.h"
#include "proto_meta.h"
#include "proto_text.h"
#include "util.h"

#define VALUE_LEN_MAX (INT32_MAX - 2)
#define CRLF_LEN 2
/* "VA " length, then of each flag a blank, its letter and the most it shows: a
 * key, an opaque, numbers; a space for all 20 words. */
#define META_HEAD_BYTES_MAX                                                                                  \
	(3 + META_WORDS_MAX * (2 + DECIMAL_BYTES_MAX) + BASE64_BYTES(KEY_BYTES_MAX) + META_OPAQUE_BYTES_MAX + 16)
/* "ME " key and what command_meta_debug() tells. */
#define DEBUG_BYTES_MAX (BASE64_BYTES(KEY_BYTES_MAX) + 160)

/* ---- flags ------------------------------------------------------------------ */

enum argument {
	ARG_UNKNOWN, /* a letter without a meaning */
	ARG_NONE,    /* what follows is passed over */
	ARG_COMPARE,
	ARG_CAS,
	ARG_DELTA,
	ARG_FLAGS,
	ARG_INITIAL,
	ARG_MODE,
	ARG_OPAQUE,
	ARG_EXPTIME,
	ARG_VIVIFY,
	ARG_RECACHE
};

static const uint8_t arguments[128] = {
	['b'] = ARG_NONE,    ['c'] = ARG_NONE,    ['f'] = ARG_NONE,    ['h'] = ARG_NONE,
	['k'] = ARG_NONE,    ['l'] = ARG_NONE,    ['q'] = ARG_NONE,    ['s'] = ARG_NONE,
	['t'] = ARG_NONE,    ['u'] = ARG_NONE,    ['v'] = ARG_NONE,    ['x'] = ARG_NONE,
	['I'] = ARG_NONE,    ['L'] = ARG_NONE,    ['P'] = ARG_NONE,    ['C'] = ARG_COMPARE,
	['E'] = ARG_CAS,     ['D'] = ARG_DELTA,   ['F'] = ARG_FLAGS,   ['J'] = ARG_INITIAL,
	['M'] = ARG_MODE,    ['N'] = ARG_VIVIFY,  ['O'] = ARG_OPAQUE,  ['R'] = ARG_RECACHE,
	['T'] = ARG_EXPTIME,
};

/* The flags of one command. */
struct flags {
	struct word at[META_WORDS_MAX];
	size_t count;
};

static bool has_duplicate(const struct flags *flags)
{
	uint64_t seen[2] = {0, 0};

	for (size_t i = 0; i < flags->count; i++) {
		uint8_t letter = flags->at[i].data[0];
		uint64_t bit = META_FLAG(letter);
		if (seen[letter >> 6] & bit)
			return true;
		seen[letter >> 6] |= bit;
	}
	return false;
}

static bool has_unknown(const struct flags *flags)
{
	for (size_t i = 0; i < flags->count; i++) {
		if (arguments[flags->at[i].data[0]] == ARG_UNKNOWN)
			return true;
	}
	return false;
}

static enum reply_status take_opaque(struct command *out, const char *text, size_t len)
{
	out->meta.opaque_len = (uint8_t)(len < META_OPAQUE_BYTES_MAX ? len : META_OPAQUE_BYTES_MAX);
	memcpy(out->meta.opaque, text, out->meta.opaque_len);
	return REPLY_NONE;
}

static enum reply_status take_exptime(struct command *out, const char *text, size_t len)
{
	int32_t exptime;

	if (!parse_i32(text, len, &exptime))
		return REPLY_META_TOKEN;
	out->exptime = exptime;
	out->has_exptime = true;
	return REPLY_NONE;
}

/* Decode one flag; REPLY_NONE or the error. */
static enum reply_status take_flag(struct command *out, const struct word *word)
{
	struct meta *meta = &out->meta;
	const char *text = (const char *)word->data + 1;
	size_t len = word->len - 1;
	uint8_t letter = word->data[0];

	meta->given |= META_FLAG(letter);
	meta->letters[meta->letter_count++] = letter;
	switch ((enum argument)arguments[letter]) {
	case ARG_COMPARE:
		return parse_u64(text, len, &out->compare) ? REPLY_NONE : REPLY_META_TOKEN;
	case ARG_CAS:
		return parse_u64(text, len, &meta->cas) ? REPLY_NONE : REPLY_META_TOKEN;
	case ARG_DELTA:
		return parse_u64(text, len, &out->number) ? REPLY_NONE : REPLY_META_DELTA;
	case ARG_FLAGS:
		return parse_u32(text, len, &out->flags) ? REPLY_NONE : REPLY_BAD_FORMAT;
	case ARG_INITIAL:
		return parse_u64(text, len, &out->initial) ? REPLY_NONE : REPLY_META_INITIAL;
	case ARG_MODE:
		meta->mode = len > 0 ? (uint8_t)text[0] : ' ';
		return REPLY_NONE;
	case ARG_OPAQUE:
		return take_opaque(out, text, len);
	case ARG_EXPTIME:
		return take_exptime(out, text, len);
	case ARG_VIVIFY:
		return parse_i32(text, len, &meta->vivify_ttl) ? REPLY_NONE : REPLY_META_TOKEN;
	case ARG_RECACHE:
		return parse_i32(text, len, &meta->recache_ttl) ? REPLY_NONE : REPLY_META_TOKEN;
	case ARG_NONE:
		return REPLY_NONE;
	case ARG_UNKNOWN:
		break; /* refused before */
	}
	assert(false);
	return REPLY_META_INVALID;
}

/* The key, out of base64 if b says so. */
static bool decode_key(struct command *out, const struct word *word)
{
	size_t len;

	out->key = (struct key){.data = word->data, .len = (uint32_t)word->len};
	if (!meta_given(out, 'b'))
		return true;
	if (!parse_base64((const char *)word->data, word->len, out->key_room, &len))
		return false;
	out->key = (struct key){.data = out->key_room, .len = (uint32_t)len};
	out->marks = ITEM_BINKEY;
	return true;
}

static enum reply_status take_flags(struct command *out, const struct word *key, const struct flags *flags)
{
	if (has_duplicate(flags))
		return REPLY_META_DUPLICATE;
	if (has_unknown(flags))
		return REPLY_META_INVALID;
	for (size_t i = 0; i < flags->count; i++) {
		enum reply_status error = take_flag(out, &flags->at[i]);
		if (error != REPLY_NONE)
			return error;
	}
	out->quiet = meta_given(out, 'q');
	out->with_cas = meta_given(out, 'c');
	return decode_key(out, key) ? REPLY_NONE : REPLY_META_KEY;
}

/* What is looked at once all flags are known to be good. */
static enum reply_status check_rest(const struct command *out, const struct flags *flags)
{
	uint8_t mode = out->meta.mode;

	for (size_t i = 0; i < flags->count; i++) {
		if (flags->at[i].data[0] == 'O' && flags->at[i].len > 1 + META_OPAQUE_BYTES_MAX)
			return REPLY_META_OPAQUE;
	}
	if (out->id == CMD_META_SET && mode != 0 && !strchr("EAPRS", mode))
		return REPLY_META_SET_MODE;
	if (out->id == CMD_META_COUNT && mode != 0 && !strchr("I+D-", mode))
		return REPLY_META_COUNT_MODE;
	return REPLY_NONE;
}

/* ---- a line ----------------------------------------------------------------- */

/* The words of a line after the command. */
struct line {
	struct word key;
	struct word len; /* ms */
	struct flags flags;
	bool too_many;
};

/* The first byte of a flag: digits, letters and what lies between them. */
static bool may_be_flag(const struct word *word)
{
	return word->data[0] >= '0' && word->data[0] <= 'z';
}

/* False: it has not the shape of a meta command. */
static bool split(struct line *line, bool has_len, const uint8_t *at, const uint8_t *end)
{
	struct word_list list = {at, end};
	struct word word;
	size_t words = has_len ? 3 : 2;

	line->too_many = false;
	line->flags.count = 0;
	if (!word_list_next(&list, &line->key) || (has_len && !word_list_next(&list, &line->len)))
		return false;
	while (words < PROTO_TEXT_WORDS_MAX && word_list_next(&list, &word)) {
		if (!may_be_flag(&word))
			return false;
		if (++words > META_WORDS_MAX)
			line->too_many = true;
		else
			line->flags.at[line->flags.count++] = word;
	}
	return true;
}

/* me looks for b and lets everything else pass. */
static enum reply_status parse_debug(struct command *out, const struct line *line)
{
	for (size_t i = 0; i < line->flags.count; i++) {
		if (word_is(&line->flags.at[i], "b"))
			out->meta.given = META_FLAG('b');
	}
	if (line->key.len > KEY_BYTES_MAX)
		return REPLY_BAD_FORMAT;
	return decode_key(out, &line->key) ? REPLY_NONE : REPLY_META_KEY;
}

static enum reply_status parse_flags(struct command *out, const struct line *line)
{
	enum reply_status error;

	if (out->id == CMD_META_DEBUG)
		return parse_debug(out, line);
	if (line->key.len > KEY_BYTES_MAX)
		error = REPLY_BAD_FORMAT;
	else if (line->too_many)
		error = REPLY_META_WORDS;
	else
		error = take_flags(out, &line->key, &line->flags);
	if (error == REPLY_NONE)
		return check_rest(out, &line->flags);
	return out->id == CMD_META_COUNT ? REPLY_META_ANY : error;
}

static bool parse_len(struct command *out, const struct word *word)
{
	int32_t len;

	if (!parse_i32((const char *)word->data, word->len, &len) || len < 0 || len > VALUE_LEN_MAX)
		return false;
	out->value_len = (size_t)len;
	return true;
}

struct parse_result proto_meta_parse(struct command *out, const uint8_t *at, const uint8_t *end)
{
	bool has_len = out->id == CMD_META_SET;
	struct parse_result result = {.status = PARSE_BAD, .error = REPLY_BAD_FORMAT};
	struct line line;

	assert(command_is_meta(out));
	out->format = &proto_meta_format;
	out->meta = (struct meta){0};
	out->number = 1; /* what ma adds */
	if (!split(&line, has_len, at, end) || (has_len && !parse_len(out, &line.len)))
		return result;
	result.error = parse_flags(out, &line);
	if (result.error == REPLY_NONE)
		result.status = PARSE_OK;
	else if (has_len)
		result.swallow = out->value_len + CRLF_LEN;
	return result;
}

/* ---- printing --------------------------------------------------------------- */

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	memcpy(p, data, len);
	return p + len;
}

static uint8_t *put_text(uint8_t *p, const char *text)
{
	return put(p, text, strlen(text));
}

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
	return p + format_u64((char *)p, v);
}

static uint8_t *put_i64(uint8_t *p, int64_t v)
{
	if (v >= 0)
		return put_u64(p, (uint64_t)v);
	*p++ = '-';
	return put_u64(p, (uint64_t)-v);
}

static bool shows_base64(const struct reply *reply)
{
	const struct item *item = reply->hit.item;

	return item ? item->bits & ITEM_BINKEY : reply->command->marks & ITEM_BINKEY;
}

static uint8_t *put_key(uint8_t *p, const struct reply *reply)
{
	const struct key *key = &reply->command->key;

	if (shows_base64(reply))
		return p + format_base64((char *)p, key->data, key->len);
	return put(p, key->data, key->len);
}

static uint8_t *put_key_flag(uint8_t *p, const struct reply *reply)
{
	p = put_key(put_text(p, " k"), reply);
	return shows_base64(reply) ? put_text(p, " b") : p;
}

static uint8_t *put_opaque(uint8_t *p, const struct meta *meta)
{
	return put(put_text(p, " O"), meta->opaque, meta->opaque_len);
}

/* A flag that shows something of what was found, or nothing. */
static uint8_t *put_fact(uint8_t *p, const struct reply_hit *hit, uint8_t letter)
{
	uint8_t *at = p;

	*p++ = ' ';
	*p++ = letter;
	switch (letter) {
	case 'c':
		return put_u64(p, hit->cas);
	case 'f':
		return put_u64(p, item_flags(hit->item));
	case 'h':
		return put_u64(p, hit->marks & HIT_FETCHED);
	case 'l':
		return put_u64(p, hit->idle_s);
	case 's':
		return put_u64(p, item_value_len(hit->item));
	case 't':
		return put_i64(p, hit->ttl_s);
	default:
		return at;
	}
}

/* ms: what it made, or that it made nothing. */
static uint8_t *put_stored(uint8_t *p, const struct reply *reply, uint8_t letter)
{
	const struct item *item = reply->hit.item;

	if (letter == 'c')
		return put_u64(put_text(p, " c"), reply->hit.cas);
	if (letter == 's')
		return put_u64(put_text(p, " s"), item ? item_value_len(item) : reply->command->value_len);
	return p;
}

static uint8_t *put_counted(uint8_t *p, const struct reply *reply, uint8_t letter)
{
	return letter == 'c' || letter == 't' ? put_fact(p, &reply->hit, letter) : p;
}

static uint8_t *put_flags(uint8_t *p, const struct reply *reply)
{
	const struct command *cmd = reply->command;
	const struct meta *meta = &cmd->meta;

	for (size_t i = 0; i < meta->letter_count; i++) {
		uint8_t letter = meta->letters[i];
		if (letter == 'k')
			p = put_key_flag(p, reply);
		else if (letter == 'O')
			p = put_opaque(p, meta);
		else if (cmd->id == CMD_META_SET)
			p = put_stored(p, reply, letter);
		else if (reply->status == REPLY_HIT)
			p = put_fact(p, &reply->hit, letter);
		else if (reply->status == REPLY_NUMBER)
			p = put_counted(p, reply, letter);
	}
	return p;
}

static uint8_t *put_marks(uint8_t *p, const struct reply_hit *hit)
{
	if (hit->marks & HIT_SENT)
		p = put_text(p, " Z");
	if (hit->marks & HIT_STALE)
		p = put_text(p, " X");
	if (hit->marks & HIT_WON)
		p = put_text(p, " W");
	return put_text(p, "\r\n");
}

/* One line: the code, flags and marks. */
static bool print_line(struct reply *reply, const char *code)
{
	uint8_t *start = output_room(reply->out, META_HEAD_BYTES_MAX);

	if (!start)
		return false;
	uint8_t *p = put_marks(put_flags(put_text(start, code), reply), &reply->hit);
	assert(p - start <= META_HEAD_BYTES_MAX); /* [M2] */
	output_commit(reply->out, (size_t)(p - start));
	return true;
}

static uint8_t *put_value_head(uint8_t *p, const struct reply *reply, size_t len)
{
	p = put_u64(put_text(p, "VA "), len);
	return put_marks(put_flags(p, reply), &reply->hit);
}

/* A value that is not copied. */
static bool print_pinned(struct reply *reply, size_t len)
{
	struct output_mark mark = output_mark(reply->out);
	struct item *item = (struct item *)(uintptr_t)reply->hit.item;
	uint8_t *start = output_room(reply->out, META_HEAD_BYTES_MAX);

	if (!start)
		return false;
	output_commit(reply->out, (size_t)(put_value_head(start, reply, len) - start));
	if (output_put_value(reply->out, item) && output_put(reply->out, "\r\n", CRLF_LEN))
		return true;
	output_rollback(reply->out, &mark);
	return false;
}

static bool print_bytes(struct reply *reply, const void *data, size_t len)
{
	uint8_t *start = output_room(reply->out, META_HEAD_BYTES_MAX + len + CRLF_LEN);

	if (!start)
		return false;
	uint8_t *p = put_value_head(start, reply, len);
	p = put_text(put(p, data, len), "\r\n");
	output_commit(reply->out, (size_t)(p - start));
	return true;
}

static bool print_value(struct reply *reply)
{
	size_t len = item_value_len(reply->hit.item);
	const uint8_t *data = item_value(reply->hit.item);

	if (len > OUTPUT_COPY_BYTES_MAX || !data)
		return print_pinned(reply, len);
	return print_bytes(reply, data, len);
}

static bool print_hit(struct reply *reply)
{
	const struct command *cmd = reply->command;
	bool known = meta_given(cmd, 'C') && cmd->compare == reply->hit.cas;

	return meta_given(cmd, 'v') && !known ? print_value(reply) : print_line(reply, "HD");
}

static bool print_number(struct reply *reply)
{
	char digits[DECIMAL_BYTES_MAX];

	if (reply->command->quiet)
		return true;
	if (!meta_given(reply->command, 'v'))
		return print_line(reply, "HD");
	return print_bytes(reply, digits, format_u64(digits, reply->number));
}

static bool print_done(struct reply *reply)
{
	return reply->command->quiet || print_line(reply, "HD");
}

static bool print_miss(struct reply *reply)
{
	enum command_id id = reply->command->id;

	if (id == CMD_META_GET)
		return reply->command->quiet || print_line(reply, "EN");
	return print_line(reply, id == CMD_META_DEBUG ? "EN" : "NF");
}

static bool print_debug(struct reply *reply)
{
	const struct reply_hit *hit = &reply->hit;
	uint8_t *start = output_room(reply->out, DEBUG_BYTES_MAX);

	if (!start)
		return false;
	uint8_t *p = put_key(put_text(start, "ME "), reply);
	p = put_i64(put_text(p, " exp="), hit->ttl_s);
	p = put_u64(put_text(p, " la="), hit->idle_s);
	p = put_u64(put_text(p, " cas="), hit->cas);
	p = put_text(p, hit->marks & HIT_FETCHED ? " fetch=yes" : " fetch=no");
	p = put_u64(put_text(p, " cls="), hit->class_id);
	p = put_u64(put_text(p, " size="), item_total_bytes(hit->item));
	p = put_text(p, "\r\n");
	assert(p - start <= (ptrdiff_t)DEBUG_BYTES_MAX);
	output_commit(reply->out, (size_t)(p - start));
	return true;
}

static bool print_status(struct reply *reply)
{
	switch (reply->status) {
	case REPLY_NONE:
		return true;
	case REPLY_HIT:
		return reply->command->id == CMD_META_DEBUG ? print_debug(reply) : print_hit(reply);
	case REPLY_NUMBER:
		return print_number(reply);
	case REPLY_STORED:
	case REPLY_DELETED:
		return print_done(reply);
	case REPLY_NOT_FOUND:
		return print_miss(reply);
	case REPLY_NOT_STORED:
		return print_line(reply, "NS");
	case REPLY_EXISTS:
		return print_line(reply, "EX");
	default: /* an error [M3] */
		return proto_text_print_error(reply);
	}
}

/* Meta commands have no lists: neither values nor pairs. */
const struct reply_format proto_meta_format = {.status = print_status};
