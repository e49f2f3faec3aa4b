/*
 * sim_speech.c - one command in another protocol, and its answer in text again.
 *
 * Owns: for each verb of the text protocol how the meta and the binary protocol
 * say the same, and what their answers mean in text. The judge (sim_reply.c) so
 * knows one protocol only, and one model holds for all.
 *
 * Must not know: sessions, what the right answer is, replication.
 *
 * A quiet command has a no-op behind it; what it does not say is what its
 * protocol leaves out (success, or the miss of a read). A text that wants no
 * reply is said quietly, and so has one. Where a protocol has no such command, or
 * another meaning, the text stays as it is:
 *
 *   binary  a CAS unique of 0 compares nothing; INCRQ does not say the number;
 *           an expiry below 0 is a late one, so an instant long past is sent
 *   meta    no flush_all; ma with q does not say the number
 *
 * Invariants
 *  [L1] an answer is understood to the last byte, or not at all
 *  [L2] the choice is a function of (text, choice): it takes nothing from the plan
 *
 * Covered by: every run; the coverage table has a class for each verb.
 */
#include "compat.h"
#include "proto_bin.h"
#include "sim_speech.h"

#define WORDS_MAX 16
#define LINE_BYTES_MAX (KEY_BYTES_MAX + 128)
#define EXTRAS_BYTES_MAX 20
#define PAST_S 1000000000 /* an instant before any clock of a run */

/* ---- verbs ------------------------------------------------------------------------- */

enum form {
	FORM_STORE, /* verb key flags exptime bytes [cas] */
	FORM_JOIN,  /* the same; flags and expiry mean nothing */
	FORM_CAS,
	FORM_KEY,   /* verb key */
	FORM_STALE, /* md key I */
	FORM_DELTA, /* verb key number */
	FORM_TOUCH, /* verb key exptime */
	FORM_GAT,   /* verb exptime key */
	FORM_READ,  /* verb key */
	FORM_FLUSH  /* verb [delay] */
};

#define NO_OPCODE 0xff
#define NO_COVER COV_COUNT

struct speech_verb {
	const char *word;
	enum form form;
	const char *meta; /* NULL: there is none */
	char mode;
	uint8_t opcode, quiet_opcode;
	const char *done; /* NULL: more than a line */
	enum coverage meta_cover, binary_cover;
};

static const struct speech_verb verbs[] = {
        {"set", FORM_STORE, "ms", 'S', BIN_SET, BIN_SETQ, "STORED", COV_meta_set, COV_binary_set},
        {"add", FORM_STORE, "ms", 'E', BIN_ADD, BIN_ADDQ, "STORED", COV_meta_add, COV_binary_add},
        {"replace", FORM_STORE, "ms", 'R', BIN_REPLACE, BIN_REPLACEQ, "STORED", COV_meta_replace,
         COV_binary_replace},
        {"append", FORM_JOIN, "ms", 'A', BIN_APPEND, BIN_APPENDQ, "STORED", COV_meta_append,
         COV_binary_append},
        {"prepend", FORM_JOIN, "ms", 'P', BIN_PREPEND, BIN_PREPENDQ, "STORED", COV_meta_prepend,
         COV_binary_prepend},
        {"cas", FORM_CAS, "ms", 0, BIN_SET, BIN_SETQ, "STORED", COV_meta_cas, COV_binary_cas},
        {"delete", FORM_KEY, "md", 0, BIN_DELETE, BIN_DELETEQ, "DELETED", COV_meta_delete, COV_binary_delete},
        {"md", FORM_STALE, "md", 0, NO_OPCODE, NO_OPCODE, "HD", COV_meta_stale, NO_COVER},
        {"incr", FORM_DELTA, "ma", 'I', BIN_INCR, NO_OPCODE, NULL, COV_meta_incr, COV_binary_incr},
        {"decr", FORM_DELTA, "ma", 'D', BIN_DECR, NO_OPCODE, NULL, COV_meta_decr, COV_binary_decr},
        {"touch", FORM_TOUCH, "mg", 0, BIN_TOUCH, NO_OPCODE, "TOUCHED", COV_meta_touch, COV_binary_touch},
        {"gat", FORM_GAT, "mg", 0, BIN_GAT, BIN_GATQ, NULL, COV_meta_gat, COV_binary_gat},
        {"gats", FORM_GAT, "mg", 0, BIN_GAT, BIN_GATQ, NULL, COV_meta_gat, COV_binary_gat},
        {"get", FORM_READ, "mg", 0, BIN_GET, BIN_GETQ, NULL, COV_meta_get, COV_binary_get},
        {"gets", FORM_READ, "mg", 0, BIN_GET, BIN_GETQ, NULL, COV_meta_get, COV_binary_get},
        {"flush_all", FORM_FLUSH, NULL, 0, BIN_FLUSH, BIN_FLUSHQ, "OK", NO_COVER, COV_binary_flush},
};

static bool stores(const struct speech *sp)
{
	return sp->verb->form <= FORM_CAS;
}

static bool reads(const struct speech *sp)
{
	return sp->verb->form == FORM_GAT || sp->verb->form == FORM_READ;
}

const char *speech_name(const struct speech *sp)
{
	static const char *const names[] = {"text", "meta", "binary"};

	return names[sp->tongue];
}

void speech_cover(struct sim *s, const struct speech *sp)
{
	if (sp->tongue == TONGUE_TEXT)
		return;
	bool meta = sp->tongue == TONGUE_META;
	sim_cover(s, meta ? sp->verb->meta_cover : sp->verb->binary_cover);
	if (sp->quiet)
		sim_cover(s, meta ? COV_meta_quiet : COV_binary_quiet);
	if (sp->base64)
		sim_cover(s, COV_meta_base64);
}

/* ---- the text of a command --------------------------------------------------------------- */

struct words {
	char line[LINE_BYTES_MAX];
	const char *at[WORDS_MAX];
	int count;
};

/* The words of the first line; its length with the line end. */
static size_t split(struct words *w, const uint8_t *text, size_t len)
{
	const uint8_t *end = memmem(text, len, "\r\n", 2);
	char *rest = w->line;

	assert(end && (size_t)(end - text) < sizeof(w->line));
	memcpy(w->line, text, (size_t)(end - text));
	w->line[end - text] = 0;
	for (w->count = 0; rest && w->count < WORDS_MAX;)
		w->at[w->count++] = strsep(&rest, " ");
	return (size_t)(end - text) + 2;
}

static uint64_t word_u64(const struct words *w, int i)
{
	uint64_t v = 0;

	if (i >= w->count || !parse_u64(w->at[i], strlen(w->at[i]), &v))
		assert(!"a number in the text of a command");
	return v;
}

static int64_t word_i64(const struct words *w, int i)
{
	assert(i < w->count);
	return strtoll(w->at[i], NULL, 10);
}

static void read_words(struct speech *sp, const struct words *w)
{
	int key = sp->verb->form == FORM_GAT ? 2 : 1, exptime = 0;

	switch (sp->verb->form) {
	case FORM_STORE:
	case FORM_JOIN:
	case FORM_CAS:
		sp->flags = (uint32_t)word_u64(w, 2);
		sp->value_len = word_u64(w, 4);
		exptime = 3;
		if (sp->verb->form == FORM_CAS)
			sp->number = word_u64(w, 5);
		break;
	case FORM_DELTA: sp->number = word_u64(w, 2); break;
	case FORM_TOUCH: exptime = 2; break;
	case FORM_GAT: exptime = 1; break;
	case FORM_FLUSH:
		exptime = w->count > 1 && strcmp(w->at[1], "noreply") != 0 ? 1 : 0;
		key = 0;
		break;
	case FORM_KEY:
	case FORM_STALE:
	case FORM_READ: break;
	}
	sp->has_exptime = exptime > 0;
	if (exptime)
		sp->exptime = word_i64(w, exptime);
	if (key)
		snprintf(sp->key, sizeof(sp->key), "%s", w->at[key]);
}

/* ---- which way ------------------------------------------------------------------------------ */

static bool can_meta(const struct speech *sp)
{
	return sp->verb->meta != NULL;
}

static bool can_binary(const struct speech *sp)
{
	return sp->verb->opcode != NO_OPCODE && (sp->verb->form != FORM_CAS || sp->number != 0);
}

static void choose_meta(struct speech *sp, struct prng *random, bool silent)
{
	sp->tongue = TONGUE_META;
	sp->quiet = sp->verb->form != FORM_DELTA && (silent || prng_below(random, 4) == 0);
	sp->base64 = BASE64_BYTES(strlen(sp->key)) <= KEY_BYTES_MAX && prng_below(random, 6) == 0;
	sp->wants_key = prng_below(random, 4) == 0;
	sp->wants_opaque = prng_below(random, 4) == 0;
	sp->stale_if_older = sp->verb->form <= FORM_CAS && prng_below(random, 3) == 0;
}

static void choose_binary(struct speech *sp, struct prng *random, bool silent)
{
	static const uint8_t comparing[][2] = {
	        {BIN_SET, BIN_SETQ}, {BIN_ADD, BIN_ADDQ}, {BIN_REPLACE, BIN_REPLACEQ}};
	uint64_t which = prng_below(random, ARRAY_LEN(comparing));

	sp->tongue = TONGUE_BINARY;
	sp->quiet = sp->verb->quiet_opcode != NO_OPCODE && (silent || prng_below(random, 4) == 0);
	sp->opcode = sp->quiet ? sp->verb->quiet_opcode : sp->verb->opcode;
	if (sp->verb->form == FORM_CAS)
		sp->opcode = comparing[which][sp->quiet];
}

void speech_choose(struct speech *sp, const uint8_t *text, size_t len, uint64_t choice)
{
	struct prng random = {choice};
	struct words words;

	memset(sp, 0, sizeof(*sp));
	size_t line_len = split(&words, text, len);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strcmp(words.at[0], verbs[i].word) == 0)
			sp->verb = &verbs[i];
	assert(sp->verb);
	read_words(sp, &words);
	if (stores(sp)) {
		sp->value = text + line_len;
		assert(len == line_len + sp->value_len + 2);
	}
	bool silent = strcmp(words.at[words.count - 1], "noreply") == 0;
	sp->opaque = (uint32_t)prng_next(&random);
	uint64_t way = prng_below(&random, 8); /* text three, meta two, binary three of eight */
	if (way < 2 && can_meta(sp))
		choose_meta(sp, &random, silent);
	else if (way >= 2 && way < 5 && can_binary(sp))
		choose_binary(sp, &random, silent);
}

/* ---- meta: said ----------------------------------------------------------------------------- */

static void write_base64(FILE *out, const char *key)
{
	char text[BASE64_BYTES(KEY_BYTES_MAX)];
	size_t len = format_base64(text, (const uint8_t *)key, strlen(key));

	fprintf(out, "%.*s", (int)len, text);
}

static void say_meta_flags(FILE *out, const struct speech *sp)
{
	if (sp->base64)
		fputs(" b", out);
	if (sp->verb->mode)
		fprintf(out, " M%c", sp->verb->mode);
	if (stores(sp))
		fprintf(out, " F%" PRIu32 " c", sp->flags);
	if (sp->verb->form == FORM_CAS)
		fprintf(out, " C%" PRIu64, sp->number);
	if (sp->verb->form == FORM_STALE || sp->stale_if_older)
		fputs(" I", out);
	if (sp->verb->form == FORM_DELTA)
		fprintf(out, " D%" PRIu64 " v c", sp->number);
	if (sp->wants_key)
		fputs(" k", out);
	if (reads(sp))
		fputs(" v f s c", out);
	if (sp->has_exptime)
		fprintf(out, " T%" PRId64, sp->exptime);
	if (sp->wants_opaque)
		fprintf(out, " O%" PRIu32, sp->opaque);
	if (sp->quiet)
		fputs(" q", out);
}

static void say_meta(FILE *out, const struct speech *sp)
{
	fprintf(out, "%s ", sp->verb->meta);
	if (sp->base64)
		write_base64(out, sp->key);
	else
		fputs(sp->key, out);
	if (stores(sp))
		fprintf(out, " %zu", sp->value_len);
	say_meta_flags(out, sp);
	fputs("\r\n", out);
	if (stores(sp)) {
		fwrite(sp->value, 1, sp->value_len, out);
		fputs("\r\n", out);
	}
	if (sp->quiet)
		fputs("mn\r\n", out);
}

/* ---- meta: understood -------------------------------------------------------------------------- */

/* What the flags of an answer tell. */
struct facts {
	bool has_flags, has_cas;
	uint64_t flags, cas, size;
};

static bool is_key(const struct speech *sp, const char *text)
{
	char base64[BASE64_BYTES(KEY_BYTES_MAX)];
	size_t len = format_base64(base64, (const uint8_t *)sp->key, strlen(sp->key));

	return strcmp(text, sp->key) == 0 || (strlen(text) == len && memcmp(text, base64, len) == 0);
}

static bool take_fact(const struct speech *sp, const char *word, struct facts *facts)
{
	const char *text = word + 1;
	size_t len = strlen(text);
	uint64_t opaque;

	switch (word[0]) {
	case 'f': return facts->has_flags = parse_u64(text, len, &facts->flags);
	case 'c': return facts->has_cas = parse_u64(text, len, &facts->cas);
	case 's': return parse_u64(text, len, &facts->size);
	case 'k': return sp->wants_key && is_key(sp, text);
	case 'O': return sp->wants_opaque && parse_u64(text, len, &opaque) && opaque == sp->opaque;
	case 'b': return sp->wants_key && len == 0;
	case 'W':
	case 'X':
	case 'Z': return len == 0;
	default: return false;
	}
}

static bool take_facts(const struct speech *sp, const struct words *w, int first, struct facts *facts)
{
	bool key = false, opaque = false;

	memset(facts, 0, sizeof(*facts));
	for (int i = first; i < w->count; i++) {
		if (!take_fact(sp, w->at[i], facts))
			return false;
		key |= w->at[i][0] == 'k';
		opaque |= w->at[i][0] == 'O';
	}
	return key == sp->wants_key && opaque == sp->wants_opaque;
}

static void write_hit(FILE *out, const struct speech *sp, uint64_t flags, uint64_t cas, const uint8_t *value,
                      size_t len)
{
	fprintf(out, "VALUE %s %" PRIu64 " %zu %" PRIu64 "\r\n", sp->key, flags, len, cas);
	fwrite(value, 1, len, out);
	fputs("\r\nEND\r\n", out);
}

/* "VA length flags", the value. */
static bool meta_value(FILE *out, struct speech *sp, const struct words *w, const uint8_t *value, size_t len)
{
	struct facts facts;
	uint64_t value_len;

	if (w->count < 2 || !parse_u64(w->at[1], strlen(w->at[1]), &value_len) || len != value_len + 2 ||
	    memcmp(value + value_len, "\r\n", 2) != 0 || !take_facts(sp, w, 2, &facts) || !facts.has_cas)
		return false;
	if (sp->verb->form == FORM_DELTA) {
		fwrite(value, 1, len, out);
		sp->told_cas = facts.cas;
		return true;
	}
	if (!reads(sp) || !facts.has_flags || facts.size != value_len)
		return false;
	write_hit(out, sp, facts.flags, facts.cas, value, value_len);
	return true;
}

/* The text of a status, NULL if this command has none such. */
static const char *meta_status(const struct speech *sp, const char *code)
{
	if (strcmp(code, "HD") == 0)
		return sp->verb->done;
	if (strcmp(code, "NS") == 0 && stores(sp))
		return "NOT_STORED";
	if (strcmp(code, "EX") == 0 && stores(sp))
		return "EXISTS";
	if (strcmp(code, "EN") == 0 && strcmp(sp->verb->meta, "mg") == 0)
		return reads(sp) ? "END" : "NOT_FOUND";
	if (strcmp(code, "NF") == 0 && strcmp(sp->verb->meta, "mg") != 0)
		return sp->verb->form == FORM_STALE ? "NF" : "NOT_FOUND";
	return NULL;
}

static bool is_error(const uint8_t *data, size_t len)
{
	return (len > 13 && memcmp(data, "SERVER_ERROR ", 13) == 0) ||
	       (len > 13 && memcmp(data, "CLIENT_ERROR ", 13) == 0);
}

static bool understand_meta(FILE *out, struct speech *sp, const uint8_t *data, size_t len)
{
	struct words words;
	struct facts facts;

	if (sp->quiet) {
		if (len < 4 || memcmp(data + len - 4, "MN\r\n", 4) != 0)
			return false;
		len -= 4;
	}
	if (sp->quiet && len == 0) {
		fprintf(out, "%s\r\n", meta_status(sp, strcmp(sp->verb->meta, "mg") == 0 ? "EN" : "HD"));
		return true;
	}
	const uint8_t *end = memmem(data, len, "\r\n", 2);
	if (!end || (size_t)(end - data) >= LINE_BYTES_MAX)
		return false;
	if (is_error(data, len)) {
		fwrite(data, 1, len, out);
		return end + 2 == data + len;
	}
	size_t line_len = split(&words, data, len);
	if (strcmp(words.at[0], "VA") == 0)
		return meta_value(out, sp, &words, data + line_len, len - line_len);
	const char *status = meta_status(sp, words.at[0]);
	if (!status || line_len != len || !take_facts(sp, &words, 1, &facts))
		return false;
	if (strcmp(words.at[0], "HD") == 0)
		sp->told_cas = facts.cas;
	fprintf(out, "%s\r\n", status);
	return true;
}

/* ---- binary: said --------------------------------------------------------------------------------- */

static void write_packet(FILE *out, uint8_t opcode, uint32_t opaque, uint64_t cas, const uint8_t *extras,
                         size_t extras_len, const struct speech *sp)
{
	uint8_t header[PROTO_BIN_HEADER_BYTES] = {PROTO_BIN_REQUEST, opcode};
	size_t key_len = sp ? strlen(sp->key) : 0, value_len = sp ? sp->value_len : 0;

	store_be16(header + 2, (uint16_t)key_len);
	header[4] = (uint8_t)extras_len;
	store_be32(header + 8, (uint32_t)(extras_len + key_len + value_len));
	store_be32(header + 12, opaque);
	store_be64(header + 16, cas);
	fwrite(header, 1, sizeof(header), out);
	fwrite(extras, 1, extras_len, out);
	if (key_len)
		fwrite(sp->key, 1, key_len, out);
	if (value_len)
		fwrite(sp->value, 1, value_len, out);
}

static void say_binary(FILE *out, const struct speech *sp)
{
	uint8_t extras[EXTRAS_BYTES_MAX] = {0};
	uint32_t exptime = (uint32_t)(sp->exptime < 0 ? PAST_S : sp->exptime);
	uint64_t cas = sp->verb->form == FORM_CAS ? sp->number : 0;
	size_t extras_len = 0;

	if (sp->verb->form == FORM_STORE || sp->verb->form == FORM_CAS) {
		store_be32(extras, sp->flags);
		store_be32(extras + 4, exptime);
		extras_len = 8;
	} else if (sp->verb->form == FORM_DELTA) {
		store_be64(extras, sp->number);
		store_be32(extras + 16, PROTO_BIN_NOT_CREATED);
		extras_len = 20;
	} else if (sp->has_exptime && sp->verb->form != FORM_JOIN) {
		store_be32(extras, exptime);
		extras_len = 4;
	}
	write_packet(out, sp->opcode, sp->opaque, cas, extras, extras_len, sp);
	if (sp->quiet)
		write_packet(out, BIN_NOOP, sp->opaque + 1, 0, extras, 0, NULL);
}

/* ---- binary: understood -------------------------------------------------------------- */

struct answer {
	uint16_t status;
	uint64_t cas;
	const uint8_t *extras, *value;
	size_t extras_len, value_len, whole_len;
};

/* The packet at data, which must answer this opcode and opaque. */
static bool read_packet(const uint8_t *data, size_t len, uint8_t opcode, uint32_t opaque, struct answer *a)
{
	if (len < PROTO_BIN_HEADER_BYTES || data[0] != PROTO_BIN_RESPONSE || data[1] != opcode || data[5] != 0 ||
	    load_be32(data + 12) != opaque)
		return false;
	size_t key_len = load_be16(data + 2), body_len = load_be32(data + 8);
	a->extras_len = data[4];
	if (key_len != 0 || a->extras_len > body_len || len - PROTO_BIN_HEADER_BYTES < body_len)
		return false;
	a->status = load_be16(data + 6);
	a->cas = load_be64(data + 16);
	a->extras = data + PROTO_BIN_HEADER_BYTES;
	a->value = a->extras + a->extras_len;
	a->value_len = body_len - a->extras_len;
	a->whole_len = PROTO_BIN_HEADER_BYTES + body_len;
	return true;
}

static bool binary_done(FILE *out, struct speech *sp, const struct answer *a)
{
	if (sp->verb->form == FORM_DELTA) {
		if (a->value_len != 8 || a->extras_len != 0)
			return false;
		fprintf(out, "%" PRIu64 "\r\n", load_be64(a->value));
		sp->told_cas = a->cas;
		return true;
	}
	if (reads(sp)) {
		if (a->extras_len != 4)
			return false;
		write_hit(out, sp, load_be32(a->extras), a->cas, a->value, a->value_len);
		return true;
	}
	if (a->value_len != 0 || a->extras_len != (sp->verb->form == FORM_TOUCH ? 4u : 0u))
		return false;
	if (stores(sp))
		sp->told_cas = a->cas;
	fprintf(out, "%s\r\n", sp->verb->done);
	return true;
}

static const char *binary_failure(const struct speech *sp, uint16_t status)
{
	bool replace = strcmp(sp->verb->word, "replace") == 0, add = strcmp(sp->verb->word, "add") == 0;

	switch (status) {
	case BIN_NOT_FOUND: return reads(sp) ? "END" : replace ? "NOT_STORED" : "NOT_FOUND";
	case BIN_EXISTS: return add ? "NOT_STORED" : "EXISTS";
	case BIN_NOT_STORED: return "NOT_STORED";
	case BIN_TOO_LARGE: return "SERVER_ERROR object too large for cache";
	case BIN_NO_MEMORY: return "SERVER_ERROR out of memory";
	case BIN_NON_NUMERIC: return "CLIENT_ERROR cannot increment or decrement non-numeric value";
	default: return NULL;
	}
}

static bool understand_binary(FILE *out, struct speech *sp, const uint8_t *data, size_t len)
{
	struct answer a, noop;

	if (sp->quiet && read_packet(data, len, BIN_NOOP, sp->opaque + 1, &noop)) {
		fprintf(out, "%s\r\n", reads(sp) ? "END" : sp->verb->done);
		return noop.status == BIN_OK && noop.whole_len == len;
	}
	if (!read_packet(data, len, sp->opcode, sp->opaque, &a))
		return false;
	data += a.whole_len;
	len -= a.whole_len;
	if (sp->quiet) {
		bool silent = reads(sp) ? a.status == BIN_NOT_FOUND : a.status == BIN_OK;
		if (silent || !read_packet(data, len, BIN_NOOP, sp->opaque + 1, &noop) || noop.status != BIN_OK)
			return false;
		len -= noop.whole_len;
	}
	if (len != 0)
		return false;
	if (a.status == BIN_OK)
		return binary_done(out, sp, &a);
	const char *failure = binary_failure(sp, a.status);
	if (failure)
		fprintf(out, "%s\r\n", failure);
	return failure != NULL;
}

/* ---- both -------------------------------------------------------------------------- */

static FILE *open_text(char **text, size_t *len)
{
	FILE *f = open_memstream(text, len);

	if (!f)
		abort();
	return f;
}

uint8_t *speech_say(const struct speech *sp, size_t *len)
{
	char *text;
	FILE *out = open_text(&text, len);

	assert(sp->tongue != TONGUE_TEXT);
	if (sp->tongue == TONGUE_META)
		say_meta(out, sp);
	else
		say_binary(out, sp);
	if (fclose(out) != 0)
		abort();
	return (uint8_t *)text;
}

uint8_t *speech_understand(struct speech *sp, const uint8_t *data, size_t len, size_t *text_len)
{
	char *text;
	FILE *out = open_text(&text, text_len);
	bool understood = sp->tongue == TONGUE_META ? understand_meta(out, sp, data, len)
	                                            : understand_binary(out, sp, data, len);

	if (fclose(out) != 0)
		abort();
	if (understood)
		return (uint8_t *)text;
	free(text);
	return NULL;
}
