/*
 * load_text.c - memcached's classic text protocol, seen from the client.
 *
 * Owns: formatting of requests, strict reading of replies: exact words, exact
 * line ends, the keys of a multi-get in the order in which they were asked.
 *
 * Must not know: sockets, time, what is being measured.
 */
#include "compat.h"
#include "load_proto.h"

#define LINE_BYTES_MAX 128 /* of anything but the keys and the value */
#define NUMBER_DIGITS_MAX 20

static size_t put_text(char *out, const char *text)
{
	size_t len = strlen(text);

	memcpy(out, text, len);
	return len;
}

static size_t put_u64(char *out, uint64_t v)
{
	char digits[NUMBER_DIGITS_MAX];
	size_t len = 0;

	do {
		digits[NUMBER_DIGITS_MAX - ++len] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	memcpy(out, digits + NUMBER_DIGITS_MAX - len, len);
	return len;
}

static size_t put_field(char *out, uint64_t v)
{
	out[0] = ' ';
	return 1 + put_u64(out + 1, v);
}

static size_t put_key(char *out, const struct request *r, unsigned i)
{
	out[0] = ' ';
	return 1 + keyspace_key(r->space, r->keys[i].key, out + 1);
}

static size_t text_bytes_max(const struct request *r)
{
	size_t value = op_has_value(r->kind)
	                       ? keyspace_value_len(r->space, r->keys[0].key, r->version)
	                       : 0;
	return LINE_BYTES_MAX + (size_t)r->key_count * (KEY_LEN_MAX + 1) + value;
}

static size_t encode_store(const struct request *r, char *out)
{
	uint32_t key = r->keys[0].key;
	uint32_t len = keyspace_value_len(r->space, key, r->version);
	size_t n = put_text(out, op_names[r->kind]);

	n += put_key(out + n, r, 0);
	n += put_field(out + n, keyspace_flags(r->space, key));
	n += put_field(out + n, (uint64_t)r->expiry);
	n += put_field(out + n, len);
	if (r->kind == OP_CAS)
		n += put_field(out + n, r->cas);
	n += put_text(out + n, "\r\n");
	keyspace_value(r->space, key, r->version, out + n);
	n += len;
	return n + put_text(out + n, "\r\n");
}

static size_t text_encode(const struct request *r, char *out)
{
	if (op_has_value(r->kind))
		return encode_store(r, out);
	size_t n = put_text(out, op_names[r->kind]);
	if (r->kind == OP_GAT)
		n += put_field(out + n, (uint64_t)r->expiry);
	for (unsigned i = 0; i < r->key_count; i++)
		n += put_key(out + n, r, i);
	if (r->kind == OP_TOUCH)
		n += put_field(out + n, (uint64_t)r->expiry);
	if (r->kind == OP_INCR)
		n += put_field(out + n, 1);
	return n + put_text(out + n, "\r\n");
}

/* Which one-line answers belong to which operation. */
#define BIT(kind) (1u << (kind))
#define STORES (BIT(OP_SET) | BIT(OP_ADD) | BIT(OP_REPLACE) | BIT(OP_CAS))

static const struct answer {
	const char *line;
	enum outcome outcome;
	unsigned kinds;
	bool prefix; /* the rest of the line is free */
} answers[] = {
        {"STORED\r\n", OUT_OK, STORES, false},
        {"NOT_STORED\r\n", OUT_NOT_STORED, BIT(OP_ADD) | BIT(OP_REPLACE), false},
        {"EXISTS\r\n", OUT_EXISTS, BIT(OP_CAS), false},
        {"DELETED\r\n", OUT_OK, BIT(OP_DELETE), false},
        {"TOUCHED\r\n", OUT_OK, BIT(OP_TOUCH), false},
        {"NOT_FOUND\r\n", OUT_MISS,
         BIT(OP_CAS) | BIT(OP_DELETE) | BIT(OP_TOUCH) | BIT(OP_INCR), false},
        {"SERVER_ERROR out of memory", OUT_REFUSED, STORES | BIT(OP_INCR), true},
        {"SERVER_ERROR object too large", OUT_REFUSED, STORES, true},
};

static bool answer_matches(const struct answer *a, const char *line, size_t len)
{
	size_t n = strlen(a->line);

	return (a->prefix ? len >= n : len == n) && memcmp(a->line, line, n) == 0;
}

/* Digits up to a space or the end; false if there is none or too many. */
static bool take_number(const char **at, const char *end, uint64_t *out)
{
	const char *p = *at;
	uint64_t v = 0;

	for (; p < end && *p >= '0' && *p <= '9'; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	bool ok = p > *at && p - *at <= NUMBER_DIGITS_MAX;
	*at = p;
	*out = v;
	return ok;
}

static enum reply_status check_line(struct checker *c, struct request *r, const char *line,
                                    size_t len)
{
	uint64_t value = 0;
	const char *at = line;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		if (!(answers[i].kinds & BIT(r->kind)) || !answer_matches(&answers[i], line, len))
			continue;
		r->outcome = answers[i].outcome;
		r->hits = r->outcome == OUT_OK;
		return REPLY_DONE;
	}
	if (r->kind == OP_INCR && take_number(&at, line + len, &value) && line + len - at == 2)
		return checker_take_number(c, r, value) ? REPLY_DONE : REPLY_WRONG;
	return checker_wrong(c, r, "unexpected reply", line, len);
}

struct value_line {
	const char *key;
	size_t key_len;
	uint64_t flags, len, cas;
};

/* "VALUE <key> <flags> <bytes>[ <cas>]\r\n", exactly. */
static bool parse_value_line(const struct request *r, const char *line, size_t len,
                             struct value_line *v)
{
	const char *end = line + len - 2;
	const char *at = line + 6;

	if (len < 8 || memcmp(line, "VALUE ", 6) != 0 || memcmp(end, "\r\n", 2) != 0)
		return false;
	v->key = at;
	at = memchr(at, ' ', (size_t)(end - at));
	if (!at)
		return false;
	v->key_len = (size_t)(at++ - v->key);
	if (!take_number(&at, end, &v->flags) || at == end || *at++ != ' ')
		return false;
	if (!take_number(&at, end, &v->len))
		return false;
	v->cas = 0;
	if (r->kind == OP_GETS && (at == end || *at++ != ' ' || !take_number(&at, end, &v->cas)))
		return false;
	return at == end;
}

/* The asked key that this is; keys before it were not found. */
static bool find_key(const struct request *r, const struct value_line *v, unsigned *index)
{
	char key[KEY_LEN_MAX];

	for (unsigned i = r->key_next; i < r->key_count; i++) {
		unsigned len = keyspace_key(r->space, r->keys[i].key, key);
		if (len == v->key_len && memcmp(key, v->key, len) == 0) {
			*index = i;
			return true;
		}
	}
	return false;
}

static enum reply_status check_retrieval(struct checker *c, struct request *r, const char *data,
                                         size_t len, size_t *used)
{
	struct value_line v;
	unsigned index = 0;

	if (*used == 5 && memcmp(data, "END\r\n", 5) == 0) {
		r->outcome = r->hits ? OUT_OK : OUT_MISS;
		return REPLY_DONE;
	}
	if (!parse_value_line(r, data, *used, &v))
		return checker_wrong(c, r, "unexpected reply", data, *used);
	if (!find_key(r, &v, &index))
		return checker_wrong(c, r, "a value that was not asked for", data, *used);
	size_t line_len = *used;
	if (len < line_len + v.len + 2)
		return REPLY_MORE;
	*used = line_len + v.len + 2;
	if (memcmp(data + *used - 2, "\r\n", 2) != 0)
		return checker_wrong(c, r, "value without line end", data, *used);
	struct value_seen seen = {.key = r->keys[index].key,
	                          .flags = (uint32_t)v.flags,
	                          .cas = v.cas,
	                          .data = data + line_len,
	                          .len = v.len};
	return checker_take_value(c, r, index, &seen) ? REPLY_PIECE : REPLY_WRONG;
}

static enum reply_status text_check(struct checker *c, struct request *r, const char *data,
                                    size_t len, size_t *used)
{
	const char *nl = memchr(data, '\n', len);

	if (!nl) {
		if (len > LINE_BYTES_MAX + KEY_LEN_MAX)
			return checker_wrong(c, r, "endless line", data, len);
		return REPLY_MORE;
	}
	*used = (size_t)(nl - data) + 1;
	if (op_is_read(r->kind))
		return check_retrieval(c, r, data, len, used);
	return check_line(c, r, data, *used);
}

const struct proto proto_text = {
        .name = "text",
        .ops = {true, true, true, true, true, true, true, true, true, true},
        .bytes_max = text_bytes_max,
        .encode = text_encode,
        .check = text_check,
};
