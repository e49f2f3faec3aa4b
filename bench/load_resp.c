/*
 * load_resp.c - as much of the Redis protocol as a comparison needs.
 *
 * Owns: GET, MGET, SET (EX), DEL, INCR and their replies. There are no client
 * flags and no CAS uniques in it.
 *
 * Must not know: sockets, time, what is being measured.
 */
#include "compat.h"
#include "load_proto.h"

#define WORD_BYTES_MAX 32

static size_t put_word(char *out, const char *data, size_t len)
{
	int head = snprintf(out, WORD_BYTES_MAX, "$%zu\r\n", len);
	size_t n = (size_t)head;

	memcpy(out + n, data, len);
	n += len;
	memcpy(out + n, "\r\n", 2);
	return n + 2;
}

static size_t put_count(char *out, unsigned words)
{
	return (size_t)snprintf(out, WORD_BYTES_MAX, "*%u\r\n", words);
}

static size_t put_key(char *out, const struct request *r, unsigned i)
{
	char key[KEY_LEN_MAX];
	unsigned len = keyspace_key(r->space, r->keys[i].key, key);

	return put_word(out, key, len);
}

static size_t resp_bytes_max(const struct request *r)
{
	size_t value = op_has_value(r->kind)
	                       ? keyspace_value_len(r->space, r->keys[0].key, r->version)
	                       : 0;
	return 8 * WORD_BYTES_MAX + (size_t)r->key_count * (KEY_LEN_MAX + WORD_BYTES_MAX) + value;
}

static size_t encode_set(const struct request *r, char *out)
{
	uint32_t key = r->keys[0].key;
	uint32_t len = keyspace_value_len(r->space, key, r->version);
	size_t n = put_count(out, r->expiry ? 5 : 3);

	n += put_word(out + n, "SET", 3);
	n += put_key(out + n, r, 0);
	n += (size_t)snprintf(out + n, WORD_BYTES_MAX, "$%u\r\n", len);
	keyspace_value(r->space, key, r->version, out + n);
	n += len;
	memcpy(out + n, "\r\n", 2);
	n += 2;
	if (r->expiry) {
		char seconds[16];
		int digits = snprintf(seconds, sizeof(seconds), "%d", r->expiry);
		n += put_word(out + n, "EX", 2);
		n += put_word(out + n, seconds, (size_t)digits);
	}
	return n;
}

static size_t resp_encode(const struct request *r, char *out)
{
	const char *word = r->kind == OP_DELETE ? "DEL"
	                   : r->kind == OP_INCR ? "INCR"
	                   : r->key_count > 1   ? "MGET"
	                                        : "GET";
	if (r->kind == OP_SET)
		return encode_set(r, out);
	size_t n = put_count(out, 1 + r->key_count);
	n += put_word(out + n, word, strlen(word));
	for (unsigned i = 0; i < r->key_count; i++)
		n += put_key(out + n, r, i);
	return n;
}

static bool line_number(const char *line, size_t len, int64_t *out)
{
	char text[WORD_BYTES_MAX];
	char *end = NULL;

	if (len < 4 || len > sizeof(text) || line[len - 2] != '\r')
		return false;
	memcpy(text, line + 1, len - 3);
	text[len - 3] = '\0';
	*out = strtoll(text, &end, 10);
	return *end == '\0';
}

/* "$<len>\r\n<bytes>\r\n", or "$-1\r\n" for a key that is not there. */
static enum reply_status check_bulk(struct checker *c, struct request *r, const char *data,
                                    size_t len, size_t *used)
{
	int64_t bytes = 0;
	size_t head = *used;

	if (data[0] != '$' || !line_number(data, head, &bytes) || bytes < -1)
		return checker_wrong(c, r, "unexpected reply", data, head);
	if (bytes == -1) {
		r->key_next++;
	} else {
		*used = head + (size_t)bytes + 2;
		if (len < *used)
			return REPLY_MORE;
		struct value_seen seen = {.key = r->keys[r->key_next].key,
		                          .data = data + head,
		                          .len = (size_t)bytes};
		if (memcmp(data + *used - 2, "\r\n", 2) != 0)
			return checker_wrong(c, r, "value without line end", data, *used);
		if (!checker_take_value(c, r, r->key_next, &seen))
			return REPLY_WRONG;
	}
	r->outcome = r->hits ? OUT_OK : OUT_MISS;
	return r->key_next == r->key_count ? REPLY_DONE : REPLY_PIECE;
}

static enum reply_status check_number(struct checker *c, struct request *r, const char *data,
                                      size_t len)
{
	int64_t v = 0;

	if (data[0] != ':' || !line_number(data, len, &v) || v < 0)
		return checker_wrong(c, r, "unexpected reply", data, len);
	if (r->kind == OP_INCR)
		return checker_take_number(c, r, (uint64_t)v) ? REPLY_DONE : REPLY_WRONG;
	r->outcome = v ? OUT_OK : OUT_MISS;
	r->hits = v > 0;
	return REPLY_DONE;
}

static enum reply_status resp_check(struct checker *c, struct request *r, const char *data,
                                    size_t len, size_t *used)
{
	const char *nl = memchr(data, '\n', len);
	int64_t count = 0;

	if (!nl)
		return REPLY_MORE;
	*used = (size_t)(nl - data) + 1;
	if (r->kind == OP_SET) {
		bool ok = *used == 5 && memcmp(data, "+OK\r\n", 5) == 0;
		r->outcome = ok ? OUT_OK : OUT_REFUSED;
		if (ok || memcmp(data, "-OOM", 4) == 0)
			return REPLY_DONE;
		return checker_wrong(c, r, "unexpected reply", data, *used);
	}
	if (r->kind == OP_DELETE || r->kind == OP_INCR)
		return check_number(c, r, data, *used);
	if (r->key_count == 1 || r->stage == 1)
		return check_bulk(c, r, data, len, used);
	if (data[0] != '*' || !line_number(data, *used, &count) || count != r->key_count)
		return checker_wrong(c, r, "unexpected reply", data, *used);
	r->stage = 1;
	return REPLY_PIECE;
}

const struct proto proto_resp = {
        .name = "resp",
        .ops = {[OP_GET] = true, [OP_SET] = true, [OP_DELETE] = true, [OP_INCR] = true},
        .bytes_max = resp_bytes_max,
        .encode = resp_encode,
        .check = resp_check,
};
