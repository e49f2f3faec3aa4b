/*
 * load_meta.c - memcached's meta protocol, seen from the client.
 *
 * Owns: formatting of requests, strict reading of replies: exact words, exact
 * line ends, flags in the order in which they were asked for. A get of several
 * keys is as many mg lines; each is answered, in order.
 *
 * Must not know: sockets, time, what is being measured.
 */
#include "compat.h"
#include "load_proto.h"

#define LINE_BYTES_MAX 128 /* of anything but the key and the value */

static size_t meta_bytes_max(const struct request *r)
{
	size_t value = op_has_value(r->kind)
	                       ? keyspace_value_len(r->space, r->keys[0].key, r->version)
	                       : 0;
	return (size_t)r->key_count * (KEY_LEN_MAX + LINE_BYTES_MAX) + value;
}

/* Append "<word> <key>". */
static size_t put_head(const struct request *r, unsigned i, const char *word, char *out)
{
	size_t n = strlen(word);

	memcpy(out, word, n);
	out[n++] = ' ';
	return n + keyspace_key(r->space, r->keys[i].key, out + n);
}

static size_t put_format(char *out, const char *format, ...) PRINTF_LIKE(2, 3);
static size_t put_format(char *out, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	int n = vsnprintf(out, LINE_BYTES_MAX, format, ap);
	va_end(ap);
	assert(n >= 0 && n < LINE_BYTES_MAX);
	return (size_t)n;
}

static size_t encode_store(const struct request *r, char *out)
{
	static const char *const modes[OP_KINDS] = {[OP_SET] = "", [OP_ADD] = " ME",
	                                            [OP_REPLACE] = " MR", [OP_CAS] = ""};
	uint32_t key = r->keys[0].key;
	uint32_t len = keyspace_value_len(r->space, key, r->version);
	size_t n = put_head(r, 0, "ms", out);

	n += put_format(out + n, " %" PRIu32 " F%" PRIu32 " T%" PRId32 "%s", len,
	                keyspace_flags(r->space, key), r->expiry, modes[r->kind]);
	if (r->kind == OP_CAS)
		n += put_format(out + n, " C%" PRIu64, r->cas);
	n += put_format(out + n, "\r\n");
	keyspace_value(r->space, key, r->version, out + n);
	n += len;
	return n + put_format(out + n, "\r\n");
}

static size_t encode_get(const struct request *r, char *out)
{
	size_t n = 0;

	for (unsigned i = 0; i < r->key_count; i++) {
		n += put_head(r, i, "mg", out + n);
		n += put_format(out + n, " k f v%s", r->kind == OP_GETS ? " c" : "");
		if (r->kind == OP_GAT)
			n += put_format(out + n, " T%" PRId32, r->expiry);
		n += put_format(out + n, "\r\n");
	}
	return n;
}

static size_t meta_encode(const struct request *r, char *out)
{
	if (op_has_value(r->kind))
		return encode_store(r, out);
	if (op_is_read(r->kind))
		return encode_get(r, out);
	const char *word = r->kind == OP_DELETE ? "md" : r->kind == OP_INCR ? "ma" : "mg";
	size_t n = put_head(r, 0, word, out);
	if (r->kind == OP_TOUCH)
		n += put_format(out + n, " T%" PRId32, r->expiry);
	if (r->kind == OP_INCR)
		n += put_format(out + n, " v");
	return n + put_format(out + n, "\r\n");
}

static bool is(const char *line, size_t len, const char *text)
{
	return len == strlen(text) && memcmp(line, text, len) == 0;
}

static bool begins(const char *line, size_t len, const char *text)
{
	return len >= strlen(text) && memcmp(line, text, strlen(text)) == 0;
}

/* The last line of a reply that brings no value. */
static enum reply_status check_line(struct checker *c, struct request *r, const char *line,
                                    size_t len)
{
	bool stores = op_has_value(r->kind);

	if (is(line, len, "HD\r\n") && r->kind != OP_INCR)
		r->outcome = OUT_OK;
	else if (is(line, len, "NS\r\n") && (r->kind == OP_ADD || r->kind == OP_REPLACE))
		r->outcome = OUT_NOT_STORED;
	else if (is(line, len, "EX\r\n") && r->kind == OP_CAS)
		r->outcome = OUT_EXISTS;
	else if (is(line, len, "NF\r\n") && (r->kind == OP_CAS || !stores))
		r->outcome = OUT_MISS;
	else if (is(line, len, "EN\r\n") && r->kind == OP_TOUCH)
		r->outcome = OUT_MISS;
	else if ((stores || r->kind == OP_INCR) && (begins(line, len, "SERVER_ERROR out of memory") ||
	                                            begins(line, len, "SERVER_ERROR object too large")))
		r->outcome = OUT_REFUSED;
	else
		return checker_wrong(c, r, "unexpected reply", line, len);
	r->hits = r->outcome == OUT_OK;
	return REPLY_DONE;
}

/* Digits up to something else; false if there is none. */
static bool take_number(const char **at, uint64_t *out)
{
	const char *p = *at;

	for (*out = 0; *p >= '0' && *p <= '9' && p - *at < 20; p++)
		*out = *out * 10 + (uint64_t)(*p - '0');
	bool some = p > *at;
	*at = p;
	return some;
}

/* "VA <len>[ k<key> f<flags>[ c<cas>]]\r\n", exactly; the line ends with '\n', which
 * stops every number. */
static bool parse_value_line(const struct request *r, const char *line, size_t len,
                             struct value_seen *v)
{
	char key[KEY_LEN_MAX];
	uint64_t value_len = 0, flags = 0;
	const char *at = line + 3;

	if (!begins(line, len, "VA ") || !take_number(&at, &value_len))
		return false;
	v->len = value_len;
	if (op_is_read(r->kind)) {
		unsigned key_len = keyspace_key(r->space, r->keys[r->key_next].key, key);
		if (!begins(at, (size_t)(line + len - at), " k") ||
		    (size_t)(line + len - at) < 2 + key_len || memcmp(at + 2, key, key_len) != 0)
			return false;
		at += 2 + key_len;
		if (!begins(at, (size_t)(line + len - at), " f"))
			return false;
		at += 2;
		if (!take_number(&at, &flags))
			return false;
		v->flags = (uint32_t)flags;
	}
	if (r->kind == OP_GETS) {
		if (!begins(at, (size_t)(line + len - at), " c"))
			return false;
		at += 2;
		if (!take_number(&at, &v->cas))
			return false;
	}
	return is(at, (size_t)(line + len - at), "\r\n");
}

static enum reply_status check_number(struct checker *c, struct request *r, const char *data,
                                      size_t len)
{
	uint64_t value = 0;
	const char *at = data;

	if (!take_number(&at, &value) || at != data + len)
		return checker_wrong(c, r, "not a number", data, len);
	return checker_take_number(c, r, value) ? REPLY_DONE : REPLY_WRONG;
}

/* "EN", alone or, as servers do that show the key of what they miss, with it. */
static bool is_miss(const struct request *r, const char *line, size_t len)
{
	char wanted[KEY_LEN_MAX + 8] = "EN k";
	size_t n = 4;

	n += keyspace_key(r->space, r->keys[r->key_next].key, wanted + n);
	memcpy(wanted + n, "\r\n", 3);
	return is(line, len, "EN\r\n") || is(line, len, wanted);
}

/* The answer to the next key of a read, or to an incr. */
static enum reply_status check_value(struct checker *c, struct request *r, const char *data,
                                     size_t len, size_t *used)
{
	struct value_seen v = {.key = r->keys[r->key_next].key};
	size_t line_len = *used;

	if (op_is_read(r->kind) && is_miss(r, data, line_len)) {
		r->key_next++;
	} else {
		if (!parse_value_line(r, data, line_len, &v))
			return checker_wrong(c, r, "unexpected reply", data, line_len);
		if (len < line_len + v.len + 2)
			return REPLY_MORE;
		*used = line_len + v.len + 2;
		v.data = data + line_len;
		if (memcmp(data + *used - 2, "\r\n", 2) != 0)
			return checker_wrong(c, r, "value without line end", data, *used);
		if (r->kind == OP_INCR)
			return check_number(c, r, v.data, v.len);
		if (!checker_take_value(c, r, r->key_next, &v))
			return REPLY_WRONG;
	}
	r->outcome = r->hits ? OUT_OK : OUT_MISS;
	return r->key_next == r->key_count ? REPLY_DONE : REPLY_PIECE;
}

static enum reply_status meta_check(struct checker *c, struct request *r, const char *data,
                                    size_t len, size_t *used)
{
	const char *nl = memchr(data, '\n', len);

	if (!nl) {
		if (len > LINE_BYTES_MAX + KEY_LEN_MAX)
			return checker_wrong(c, r, "endless line", data, len);
		return REPLY_MORE;
	}
	*used = (size_t)(nl - data) + 1;
	if (op_is_read(r->kind) || (r->kind == OP_INCR && begins(data, len, "VA ")))
		return check_value(c, r, data, len, used);
	return check_line(c, r, data, *used);
}

const struct proto proto_meta = {
        .name = "meta",
        .ops = {true, true, true, true, true, true, true, true, true, true},
        .bytes_max = meta_bytes_max,
        .encode = meta_encode,
        .check = meta_check,
};
