/*
 * fuzz_pair.c - valid commands to both of a pair, compared with a model.
 *
 * Owns: LLVMFuzzerTestOneInput(), the model, and for each protocol how an
 * operation is said and its answer understood. The input is a script of
 * operations: which node, which protocol, which command, key, value, expiry, or
 * that time passes.
 *
 * What must hold
 *  - every answer is the model's, in every protocol, on either node
 *  - after every operation both nodes show the model's value, flags and remaining
 *    life for the key, and the same CAS unique
 *  - at the end both hold exactly the model's keys; items_check(), repl_check()
 *
 * What was said on one node travels before something is said on the other: what
 * happens when it does not is the simulator's business (t/sim), which has faults;
 * this has every command and every spelling.
 *
 * The model knows the reference, not the code: an expiry in seconds, a padded
 * decrement, what append keeps.
 *
 * Corpus: t/corpus/pair.
 */
#include "fuzz_nodes.h"
#include "repl_internal.h"
#include "util.h"

#include <stdarg.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMORY (8 << 20)
#define ITEM_MAX (64 << 10)
#define KEYS 9
#define VALUE_MAX 20000  /* of one command */
#define JOINED_MAX 60000 /* after appending: fits into an item */
#define OPS_MAX 200
#define SETTLE_MS_MAX 20000

/* ---- the model --------------------------------------------------------------------- */

enum verb {
	OP_SET, OP_ADD, OP_REPLACE, OP_APPEND, OP_PREPEND, OP_CAS, OP_CAS_OLD,
	OP_INCR, OP_DECR, OP_DELETE, OP_TOUCH, OP_GET, OP_GAT, OP_FLUSH, OP_FLUSH_LATER, OP_STALE, OP_COUNT
};

enum outcome { DONE, NOT_STORED, EXISTS, NOT_FOUND, NON_NUMERIC, OTHER };

struct entry {
	bool there;
	uint32_t flags;
	uint32_t expires_s; /* 0: never */
	bool stale;
	bool token[2]; /* somebody fetches it anew; each node has its own idea */
	size_t len;
	uint8_t value[JOINED_MAX];
};

enum tongue { TEXT, BINARY, META, TONGUES };

struct op {
	enum verb verb;
	enum tongue tongue;
	bool quiet;  /* not in text; a no-op is behind it */
	bool create; /* not in text; incr, decr: a missing value begins at 3 * delta */
	bool base64; /* meta: the key */
	int key;
	uint32_t flags;
	int32_t ttl;
	uint64_t delta;
	uint64_t unique; /* of a cas */
	size_t len;
	uint8_t value[VALUE_MAX];
};

/* What was answered, or is expected to be. */
struct answer {
	enum outcome outcome;
	bool has_number;
	uint64_t number;
	const struct entry *hit; /* expected value */
};

struct pair {
	struct script script;
	struct now now;
	struct server nodes[2];
	struct cable cables[2];
	struct entry keys[KEYS];
	int64_t flush_ms; /* a delayed flush, 0: none */
	int spoke;        /* the node that was spoken to last */
	uint32_t expired_before; /* what the key's expiry was before the operation */
	struct op op;
};

static uint32_t now_s(const struct pair *z)
{
	return (uint32_t)(z->now.wall_ms / 1000);
}

static void key_name(int key, char out[256])
{
	static const char *const names[KEYS] = {"a", "key", "prefix:1", "prefix:2", "\x01\x7f\xff", "caf\xc3\xa9"};

	if (names[key])
		snprintf(out, 256, "%s", names[key]);
	else
		snprintf(out, 256, "%0*d", key == KEYS - 1 ? 250 : 40 + key, key);
}

/* What time does. */
static void model_age(struct pair *z)
{
	bool flushed = z->flush_ms && z->flush_ms <= z->now.wall_ms;

	for (int i = 0; i < KEYS; i++) {
		struct entry *e = &z->keys[i];
		if (flushed || (e->expires_s && e->expires_s <= now_s(z)))
			e->there = false;
	}
	if (flushed)
		z->flush_ms = 0;
}

static uint32_t model_expiry(const struct pair *z, int32_t ttl)
{
	return ttl == 0 ? 0 : ttl < 0 ? 1 : now_s(z) + (uint32_t)ttl;
}

static void model_store(struct pair *z, struct entry *e, const struct op *op)
{
	e->there = op->ttl >= 0;
	e->stale = e->token[0] = e->token[1] = false;
	e->flags = op->flags;
	e->expires_s = model_expiry(z, op->ttl);
	e->len = op->len;
	memcpy(e->value, op->value, op->len);
}

static struct answer model_join(struct entry *e, const struct op *op)
{
	if (!e->there)
		return (struct answer){.outcome = NOT_STORED};
	if (op->verb == OP_PREPEND) {
		memmove(e->value + op->len, e->value, e->len);
		memcpy(e->value, op->value, op->len);
	} else {
		memcpy(e->value + e->len, op->value, op->len);
	}
	e->len += op->len;
	return (struct answer){.outcome = DONE};
}

static bool model_number(const struct entry *e, uint64_t *out)
{
	size_t i = 0, digits = 0;

	*out = 0;
	for (; i < e->len && e->value[i] >= '0' && e->value[i] <= '9'; i++, digits++)
		if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, e->value[i] - '0', out))
			return false;
	return digits > 0 && (i == e->len || e->value[i] == ' ');
}

static struct answer model_create(const struct pair *z, struct entry *e, const struct op *op)
{
	e->there = true;
	e->stale = e->token[0] = e->token[1] = false;
	e->flags = 0;
	e->expires_s = model_expiry(z, op->ttl);
	e->len = (size_t)snprintf((char *)e->value, sizeof(e->value), "%" PRIu64, 3 * op->delta);
	return (struct answer){.outcome = DONE, .has_number = true, .number = 3 * op->delta};
}

static struct answer model_delta(const struct pair *z, struct entry *e, const struct op *op)
{
	char text[24];
	uint64_t v;

	if (!e->there && op->create)
		return model_create(z, e, op);
	if (!e->there)
		return (struct answer){.outcome = NOT_FOUND};
	if (e->len > 16000 || !model_number(e, &v)) /* a value in several pieces is no number */
		return (struct answer){.outcome = NON_NUMERIC};
	v = op->verb == OP_INCR ? v + op->delta : v > op->delta ? v - op->delta : 0;
	size_t len = (size_t)snprintf(text, sizeof(text), "%" PRIu64, v);
	if (len > e->len)
		e->len = len;
	memset(e->value, ' ', e->len);
	memcpy(e->value, text, len);
	return (struct answer){.outcome = DONE, .has_number = true, .number = v};
}

/* What the operation does, and what is answered. */
static struct answer model_run(struct pair *z, const struct op *op)
{
	struct entry *e = &z->keys[op->key];
	struct answer miss = {.outcome = NOT_FOUND};

	switch (op->verb) {
	case OP_APPEND:
	case OP_PREPEND:
		return model_join(e, op);
	case OP_INCR:
	case OP_DECR:
		return model_delta(z, e, op);
	case OP_ADD:
	case OP_REPLACE:
		if (e->there != (op->verb == OP_REPLACE))
			return (struct answer){.outcome = NOT_STORED};
		break;
	case OP_CAS:
	case OP_CAS_OLD:
		if (!e->there)
			return miss;
		if (op->verb == OP_CAS_OLD)
			return (struct answer){.outcome = EXISTS};
		break;
	case OP_DELETE:
		miss.outcome = e->there ? DONE : NOT_FOUND;
		e->there = false;
		return miss;
	case OP_TOUCH:
	case OP_GAT:
	case OP_GET:
		if (!e->there)
			return miss;
		if (op->verb != OP_GET) {
			e->expires_s = model_expiry(z, op->ttl);
			e->there = op->ttl >= 0;
		}
		return (struct answer){.outcome = DONE, .hit = op->verb == OP_TOUCH ? NULL : e};
	case OP_STALE:
		if (!e->there)
			return miss;
		e->stale = true;
		e->token[0] = e->token[1] = false;
		return (struct answer){.outcome = DONE};
	case OP_FLUSH:
		for (int i = 0; i < KEYS; i++)
			z->keys[i].there = false;
		z->flush_ms = 0;
		return (struct answer){.outcome = DONE};
	case OP_FLUSH_LATER:
		z->flush_ms = z->now.wall_ms + op->ttl * INT64_C(1000);
		return (struct answer){.outcome = DONE};
	case OP_SET:
	case OP_COUNT:
		break;
	}
	model_store(z, e, op);
	return (struct answer){.outcome = DONE};
}

/* ---- talking -------------------------------------------------------------------------- */

struct message {
	uint8_t data[JOINED_MAX + 1000];
	size_t len;
};

static void add(struct message *m, const void *data, size_t len)
{
	CHECK(m->len + len <= sizeof(m->data), "room");
	if (len > 0)
		memcpy(m->data + m->len, data, len);
	m->len += len;
}

static void add_text(struct message *m, const char *fmt, ...)
{
	char line[600];
	va_list args;

	va_start(args, fmt);
	int len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	CHECK(len >= 0 && (size_t)len < sizeof(line), "room");
	add(m, line, (size_t)len);
}

/* A fresh connection says it; the whole answer. */
static void exchange(struct server *s, const struct message *out, struct message *in)
{
	struct session *session = node_session_open(s->node);
	struct iovec iov[8];
	int count;

	CHECK(session, "memory");
	in->len = 0;
	session_input(session, out->data, out->len);
	do {
		while ((count = session_output(session, iov, 8)) > 0) {
			size_t sent = 0;
			for (int i = 0; i < count; sent += iov[i++].iov_len)
				add(in, iov[i].iov_base, iov[i].iov_len);
			session_sent(session, sent);
		}
		CHECK(session_settle(session), "memory");
		if (session_state(session) == SESSION_YIELD)
			session_resume(session);
	} while (session_output(session, iov, 1) > 0);
	node_session_close(s->node, session);
}

/* ---- the text protocol ------------------------------------------------------------------ */

static void text_say(struct message *m, const struct op *op)
{
	static const char *const words[OP_COUNT] = {
		"set", "add", "replace", "append", "prepend", "cas", "cas", "incr", "decr", "delete", "touch", "gets",
		"gats",
	};
	char key[256];

	m->len = 0;
	key_name(op->key, key);
	switch (op->verb) {
	case OP_FLUSH:
		add_text(m, "flush_all\r\n");
		return;
	case OP_FLUSH_LATER:
		add_text(m, "flush_all %d\r\n", op->ttl);
		return;
	case OP_INCR:
	case OP_DECR:
		add_text(m, "%s %s %" PRIu64 "\r\n", words[op->verb], key, op->delta);
		return;
	case OP_DELETE:
	case OP_GET:
		add_text(m, "%s %s\r\n", words[op->verb], key);
		return;
	case OP_TOUCH:
		add_text(m, "touch %s %d\r\n", key, op->ttl);
		return;
	case OP_GAT:
		add_text(m, "gats %d %s\r\n", op->ttl, key);
		return;
	default:
		break;
	}
	add_text(m, "%s %s %u %d %zu", words[op->verb], key, op->flags, op->ttl, op->len);
	if (op->verb == OP_CAS || op->verb == OP_CAS_OLD)
		add_text(m, " %" PRIu64, op->unique);
	add_text(m, "\r\n");
	add(m, op->value, op->len);
	add_text(m, "\r\n");
}

static bool begins(const struct message *m, const char *text)
{
	return m->len >= strlen(text) && memcmp(m->data, text, strlen(text)) == 0;
}

static bool is(const struct message *m, const char *text)
{
	return m->len == strlen(text) && begins(m, text);
}

/* "VALUE key flags len unique CRLF value CRLF END CRLF", byte for byte; the unique. */
static uint64_t text_hit(const struct message *m, const char *key, const struct entry *e)
{
	struct message want = {.len = 0};
	const uint8_t *lf = memchr(m->data, '\n', m->len);
	uint64_t unique = 0;

	CHECK(begins(m, "VALUE ") && lf, "a value for %s: %.*s", key, (int)m->len, m->data);
	const uint8_t *p = lf - 1;
	while (p > m->data && p[-1] != ' ')
		p--;
	CHECK(parse_u64((const char *)p, (size_t)(lf - 1 - p), &unique), "%.*s", (int)m->len, m->data);
	add_text(&want, "VALUE %s %u %zu %" PRIu64 "\r\n", key, e->flags, e->len, unique);
	add(&want, e->value, e->len);
	add_text(&want, "\r\nEND\r\n");
	CHECK(want.len == m->len && memcmp(want.data, m->data, m->len) == 0, "\n got %.*s\nwant %.*s", (int)m->len,
	      m->data, (int)want.len, want.data);
	return unique;
}

static struct answer text_understand(struct pair *z, const struct message *m, const struct op *op, const struct answer *want)
{
	static const struct {
		const char *line;
		enum outcome outcome;
	} lines[] = {
		{"STORED\r\n", DONE}, {"DELETED\r\n", DONE}, {"TOUCHED\r\n", DONE}, {"OK\r\n", DONE},
		{"NOT_STORED\r\n", NOT_STORED}, {"EXISTS\r\n", EXISTS}, {"NOT_FOUND\r\n", NOT_FOUND},
		{"END\r\n", NOT_FOUND},
		{"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", NON_NUMERIC},
	};
	struct answer a = {.outcome = OTHER};
	char key[256];

	(void)z;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (is(m, lines[i].line))
			return (struct answer){.outcome = lines[i].outcome};
	if (op->verb == OP_INCR || op->verb == OP_DECR) {
		a.has_number = m->len > 2 && parse_u64((const char *)m->data, m->len - 2, &a.number);
		a.outcome = a.has_number ? DONE : OTHER;
	} else if (begins(m, "VALUE ") && want->hit) {
		key_name(op->key, key);
		text_hit(m, key, want->hit);
		a = (struct answer){.outcome = DONE, .hit = want->hit};
	}
	return a;
}

/* ---- the binary protocol -------------------------------------------------------------------- */

#define PACKET_HEADER 24
#define PACKET_NOOP 0x0a

struct packet {
	uint8_t opcode, extras_len;
	uint16_t status;
	uint32_t body_len, opaque;
	uint64_t cas;
	const uint8_t *value;
	size_t value_len;
};

static void put_packet(struct message *m, uint8_t opcode, const char *key, const void *extras, size_t extras_len,
		       const struct op *op)
{
	uint8_t header[PACKET_HEADER] = {0x80, opcode, 0, (uint8_t)strlen(key), (uint8_t)extras_len};

	store_be32(header + 8, (uint32_t)(strlen(key) + extras_len + op->len));
	store_be32(header + 12, (uint32_t)m->len + 77);
	store_be64(header + 16, op->unique);
	add(m, header, sizeof(header));
	add(m, extras, extras_len);
	add(m, key, strlen(key));
	add(m, op->value, op->len);
}

static void bin_say(struct message *m, const struct op *op)
{
	static const uint8_t codes[OP_COUNT][2] = {
		{0x01, 0x11}, {0x02, 0x12}, {0x03, 0x13}, {0x0e, 0x19}, {0x0f, 0x1a}, {0x01, 0x11}, {0x01, 0x11},
		{0x05, 0x15}, {0x06, 0x16}, {0x04, 0x14}, {0x1c, 0x1c}, {0x00, 0x09}, {0x1d, 0x1e}, {0x08, 0x18},
		{0x08, 0x18},
	};
	static const struct op nothing;
	uint8_t extras[20];
	size_t extras_len = 0;
	char key[256] = "";

	m->len = 0;
	if (op->verb != OP_FLUSH && op->verb != OP_FLUSH_LATER)
		key_name(op->key, key);
	if (op->verb == OP_INCR || op->verb == OP_DECR) {
		store_be64(extras, op->delta);
		store_be64(extras + 8, 3 * op->delta);
		store_be32(extras + 16, op->create ? (uint32_t)op->ttl : UINT32_MAX);
		extras_len = 20;
	} else if (op->verb <= OP_CAS_OLD && op->verb != OP_APPEND && op->verb != OP_PREPEND) {
		store_be32(extras, op->flags);
		store_be32(extras + 4, (uint32_t)op->ttl);
		extras_len = 8;
	} else if (op->verb == OP_TOUCH || op->verb == OP_GAT || op->verb == OP_FLUSH_LATER) {
		store_be32(extras, (uint32_t)op->ttl);
		extras_len = 4;
	}
	put_packet(m, codes[op->verb][op->quiet], key, extras, extras_len, op);
	if (op->quiet)
		put_packet(m, PACKET_NOOP, "", NULL, 0, &nothing);
}

/* The packet at *at, which must be whole and echo the opaque of a request. */
static struct packet take_packet(const struct message *m, size_t *at)
{
	const uint8_t *p = m->data + *at;

	CHECK(*at + PACKET_HEADER <= m->len && p[0] == 0x81, "no packet at %zu of %zu", *at, m->len);
	struct packet out = {.opcode = p[1], .extras_len = p[4], .status = (uint16_t)(p[6] << 8 | p[7]),
			     .body_len = load_be32(p + 8), .opaque = load_be32(p + 12), .cas = load_be64(p + 16)};
	size_t key_len = (size_t)(p[2] << 8 | p[3]);
	CHECK(*at + PACKET_HEADER + out.body_len <= m->len, "half a packet");
	CHECK(key_len + out.extras_len <= out.body_len, "a body of %u", out.body_len);
	out.value = p + PACKET_HEADER + out.extras_len + key_len;
	out.value_len = out.body_len - out.extras_len - key_len;
	*at += PACKET_HEADER + out.body_len;
	return out;
}

static void bin_hit(const struct packet *p, const struct entry *e)
{
	CHECK(p->extras_len == 4 && load_be32(p->value - 4) == e->flags, "flags");
	CHECK(p->value_len == e->len && memcmp(p->value, e->value, e->len) == 0, "got %.*s, want %.*s",
	      (int)p->value_len, p->value, (int)e->len, e->value);
	CHECK(p->cas != 0, "a hit without its unique");
}

static enum outcome bin_outcome(uint16_t status, enum verb verb)
{
	switch (status) {
	case 0x0000:
		return DONE;
	case 0x0001:
		return verb == OP_REPLACE ? NOT_STORED : NOT_FOUND;
	case 0x0002:
		return verb == OP_ADD ? NOT_STORED : EXISTS;
	case 0x0005:
		return NOT_STORED;
	case 0x0006:
		return NON_NUMERIC;
	default:
		return OTHER;
	}
}

/* A quiet command says nothing of success, a quiet get nothing of a miss. */
static struct answer bin_silence(const struct op *op, const struct answer *want)
{
	bool get = op->verb == OP_GET || op->verb == OP_GAT;

	CHECK(want->outcome == (get ? NOT_FOUND : DONE), "silence");
	return *want;
}

static struct answer bin_understand(struct pair *z, const struct message *m, const struct op *op, const struct answer *want)
{
	size_t at = 0;
	struct packet p = take_packet(m, &at);

	(void)z;
	if (op->quiet && p.opcode == PACKET_NOOP) {
		CHECK(at == m->len, "more than the no-op");
		return bin_silence(op, want);
	}
	struct answer a = {.outcome = bin_outcome(p.status, op->verb)};
	CHECK(p.opaque == 77, "the opaque of another command");
	if (a.outcome == DONE && (op->verb == OP_INCR || op->verb == OP_DECR)) {
		CHECK(p.value_len == 8, "a number of %zu bytes", p.value_len);
		a.has_number = true;
		a.number = load_be64(p.value);
	} else if (a.outcome == DONE && want->hit) {
		bin_hit(&p, want->hit);
	}
	if (op->quiet)
		CHECK(take_packet(m, &at).opcode == PACKET_NOOP, "no no-op");
	CHECK(at == m->len, "more than the answer");
	return a;
}

/* ---- the meta protocol ------------------------------------------------------------------------ */

static void put_base64(struct message *m, const char *key)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = (const uint8_t *)key;

	for (size_t left = strlen(key); left > 0; left -= left < 3 ? left : 3, p += 3) {
		uint32_t v = (uint32_t)p[0] << 16 | (left > 1 ? (uint32_t)p[1] << 8 : 0) | (left > 2 ? p[2] : 0);
		add_text(m, "%c%c%c%c", digits[v >> 18], digits[v >> 12 & 63], left > 1 ? digits[v >> 6 & 63] : '=',
			 left > 2 ? digits[v & 63] : '=');
	}
}

static void meta_flags(struct message *m, const struct op *op)
{
	static const char modes[OP_COUNT] = {[OP_ADD] = 'E', [OP_REPLACE] = 'R', [OP_APPEND] = 'A', [OP_PREPEND] = 'P',
					     [OP_SET] = 'S', [OP_DECR] = 'D', [OP_INCR] = 'I'};

	add_text(m, op->base64 ? " b O%d" : " O%d", op->key);
	if (modes[op->verb])
		add_text(m, " M%c", modes[op->verb]);
	if (op->verb <= OP_CAS_OLD)
		add_text(m, " F%u T%d", op->flags, op->ttl);
	if (op->verb == OP_CAS || op->verb == OP_CAS_OLD)
		add_text(m, " C%" PRIu64, op->unique);
	if (op->verb == OP_INCR || op->verb == OP_DECR)
		add_text(m, " D%" PRIu64 " v", op->delta);
	if (op->create)
		add_text(m, " N%d J%" PRIu64, op->ttl, 3 * op->delta);
	if (op->verb == OP_GET || op->verb == OP_GAT)
		add_text(m, " f v t");
	if (op->verb == OP_TOUCH || op->verb == OP_GAT)
		add_text(m, " T%d", op->ttl);
	if (op->verb == OP_STALE)
		add_text(m, " I");
	add_text(m, op->quiet ? " q\r\n" : "\r\n");
}

static void meta_say(struct message *m, const struct op *op)
{
	static const char *const words[OP_COUNT] = {"ms", "ms", "ms", "ms", "ms", "ms", "ms", "ma", "ma", "md",
						    "mg", "mg", "mg", NULL, NULL, "md"};
	char key[256];

	m->len = 0;
	key_name(op->key, key);
	add_text(m, "%s ", words[op->verb]);
	if (op->base64 && op->key != KEYS - 1) /* the longest would be too long */
		put_base64(m, key);
	else
		add_text(m, "%s", key);
	if (op->verb <= OP_CAS_OLD)
		add_text(m, " %zu", op->len);
	struct op plain = *op;
	plain.base64 = op->base64 && op->key != KEYS - 1;
	meta_flags(m, &plain);
	if (op->verb <= OP_CAS_OLD) {
		add(m, op->value, op->len);
		add_text(m, "\r\n");
	}
	if (op->quiet)
		add_text(m, "mn\r\n");
}

/* The whole answer to a hit of mg, byte for byte. */
static void meta_hit(struct pair *z, const struct message *m, const struct op *op, struct entry *e, uint32_t before_s)
{
	struct message want = {.len = 0};
	bool *token = &e->token[z->spoke];

	add_text(&want, "VA %zu O%d f%u t%d", e->len, op->key, e->flags,
		 before_s ? (int)(before_s - now_s(z)) : -1);
	if (e->stale)
		add_text(&want, *token ? " Z X" : " X W");
	add_text(&want, "\r\n");
	*token = *token || e->stale;
	add(&want, e->value, e->len);
	add_text(&want, op->quiet ? "\r\nMN\r\n" : "\r\n");
	CHECK(want.len == m->len && memcmp(want.data, m->data, m->len) == 0, "\n got %.*s\nwant %.*s", (int)m->len,
	      m->data, (int)want.len, want.data);
}

static struct answer meta_number(const struct message *m)
{
	struct answer a = {.outcome = OTHER};
	const uint8_t *lf = memchr(m->data, '\n', m->len), *end = lf ? memchr(lf, '\r', m->len - (size_t)(lf - m->data)) : NULL;

	a.has_number = end && parse_u64((const char *)lf + 1, (size_t)(end - lf - 1), &a.number);
	if (a.has_number)
		a.outcome = DONE;
	return a;
}

static struct answer meta_understand(struct pair *z, const struct message *m, const struct op *op,
				     const struct answer *want)
{
	static const struct {
		const char *word;
		enum outcome outcome;
	} words[] = {{"HD ", DONE}, {"NS ", NOT_STORED}, {"EX ", EXISTS}, {"NF ", NOT_FOUND}, {"EN", NOT_FOUND}};
	char opaque[16];

	if (op->quiet && is(m, "MN\r\n")) {
		bool get = op->verb == OP_GET || op->verb == OP_GAT || op->verb == OP_TOUCH;
		CHECK(want->outcome == (get ? NOT_FOUND : DONE), "silence");
		return *want;
	}
	CHECK(!op->quiet || memcmp(m->data + m->len - 4, "MN\r\n", 4) == 0, "no MN");
	if (begins(m, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"))
		return (struct answer){.outcome = NON_NUMERIC};
	snprintf(opaque, sizeof(opaque), " O%d", op->key);
	CHECK(memmem(m->data, m->len, opaque, strlen(opaque)), "no opaque in %.*s", (int)m->len, m->data);
	if (begins(m, "VA ") && want->hit) {
		meta_hit(z, m, op, &z->keys[op->key], z->expired_before);
		return *want;
	}
	if (begins(m, "VA "))
		return meta_number(m);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (begins(m, words[i].word))
			return (struct answer){.outcome = words[i].outcome};
	return (struct answer){.outcome = OTHER};
}

struct speech {
	void (*say)(struct message *m, const struct op *op);
	struct answer (*understand)(struct pair *z, const struct message *m, const struct op *op,
				    const struct answer *want);
};

static const struct speech speeches[TONGUES] = {
	[TEXT] = {text_say, text_understand},
	[BINARY] = {bin_say, bin_understand},
	[META] = {meta_say, meta_understand},
};

/* ---- one operation ------------------------------------------------------------------------- */

static void check_each(const struct server *s, const struct now *now)
{
	const char *broken = repl_check(repl_of(s));

	(void)now;
	CHECK(!broken, "%s", broken);
}

static void settle(struct pair *z)
{
	int64_t ms = 0;

	between(&z->nodes[0], &z->nodes[1], z->cables, &z->now, 1, check_each);
	for (; !repl_is_quiet(repl_of(&z->nodes[0])) || !repl_is_quiet(repl_of(&z->nodes[1])); ms++) {
		CHECK(ms < SETTLE_MS_MAX, "the two do not come to rest");
		between(&z->nodes[0], &z->nodes[1], z->cables, &z->now, 1, check_each);
	}
}

/* Both show what the model has for the key; the unique, 0 if there is none. */
static uint64_t check_key(struct pair *z, int key)
{
	struct op get = {.verb = OP_GET, .key = key};
	struct entry *e = &z->keys[key];
	static struct message out, in;
	uint64_t unique[2] = {0, 0};
	char name[256];

	key_name(key, name);
	text_say(&out, &get);
	model_age(z);
	for (int i = 0; i < 2; i++) {
		server_turn(&z->nodes[i], &z->now);
		exchange(&z->nodes[i], &out, &in);
		if (e->there)
			unique[i] = text_hit(&in, name, e);
		else
			CHECK(is(&in, "END\r\n"), "node %d has %s: %.*s", i, name, (int)in.len, in.data);
	}
	CHECK(unique[0] == unique[1], "the uniques of %s differ", name);
	return unique[0];
}

static void take_value(struct pair *z, struct op *op)
{
	uint8_t how = take8(&z->script);
	char number[24];

	if (how & 1) {
		uint64_t v = how & 2 ? take64(&z->script) : take8(&z->script);
		op->len = (size_t)snprintf(number, sizeof(number), "%" PRIu64, v);
		memcpy(op->value, number, op->len);
		return;
	}
	op->len = how & 2 ? how >> 2 : take16(&z->script) % (VALUE_MAX / 4);
	if (how == 0)
		op->len = VALUE_MAX; /* a chain of chunks */
	for (size_t i = 0; i < op->len; i++)
		op->value[i] = (uint8_t)('a' + (i * 7 + how) % 26);
	if (op->len >= 2 && how & 4)
		memcpy(op->value + op->len - 2, "\r\n", 2);
}

static void take_op(struct pair *z, struct op *op)
{
	uint8_t what = take8(&z->script), life = take8(&z->script);

	op->verb = (enum verb)(what % OP_COUNT);
	op->key = take8(&z->script) % KEYS;
	op->flags = life & 1 ? (uint32_t)take16(&z->script) * 65537u : 0;
	op->ttl = life & 2 ? 0 : life & 4 ? 1 + life % 5 : life & 8 ? 100000 : life & 16 ? -1 : 60;
	op->delta = life & 32 ? take64(&z->script) : take8(&z->script);
	if (op->verb == OP_FLUSH_LATER)
		op->ttl = 1 + life % 4;
	op->len = 0;
	if (op->verb <= OP_CAS_OLD)
		take_value(z, op);
	if (z->keys[op->key].len + op->len > JOINED_MAX && (op->verb == OP_APPEND || op->verb == OP_PREPEND))
		op->verb = OP_SET;
}

static void take_tongue(struct pair *z, uint8_t how)
{
	struct op *op = &z->op;

	/* What else becomes of a stale value is not the model's business. */
	if (z->keys[op->key].stale && op->verb != OP_GET && op->verb != OP_DELETE && op->verb != OP_SET) {
		*op = (struct op){.verb = OP_GET, .key = op->key};
	}
	op->tongue = (enum tongue)(how % TONGUES);
	if (op->verb == OP_STALE)
		op->tongue = META;
	else if (op->tongue == META && (op->verb == OP_FLUSH || op->verb == OP_FLUSH_LATER))
		op->tongue = TEXT;
	op->unique = 0;
	op->quiet = op->tongue != TEXT && how & 4 && (op->verb != OP_TOUCH || op->tongue == META);
	op->create = op->tongue != TEXT && how & 8 && (op->verb == OP_INCR || op->verb == OP_DECR);
	op->base64 = how & 16;
	if ((op->tongue == BINARY || op->create) && op->ttl < 0)
		op->ttl = 0; /* binary has no negative numbers */
}

static void run_op(struct pair *z, uint8_t where)
{
	static struct message out, in;
	struct op *op = &z->op;
	int node = where & 1;

	take_op(z, op);
	take_tongue(z, where >> 1);
	if (node != z->spoke)
		settle(z);
	z->spoke = node;
	if (op->verb == OP_CAS || op->verb == OP_CAS_OLD)
		op->unique = check_key(z, op->key) + (op->verb == OP_CAS_OLD);
	if (op->verb == OP_CAS && op->unique == 0)
		op->unique = 1; /* binary: 0 is a plain set */
	server_turn(&z->nodes[node], &z->now);
	model_age(z);
	const struct speech *speech = &speeches[op->tongue];
	z->expired_before = z->keys[op->key].expires_s;
	speech->say(&out, op);
	struct answer want = model_run(z, op);
	exchange(&z->nodes[node], &out, &in);
	if (getenv("FUZZ_VERBOSE"))
		fprintf(stderr, "%" PRId64 " node %d < %.60s\n%" PRId64 " node %d > %.60s\n", z->now.wall_ms, node,
			(char *)out.data, z->now.wall_ms, node, (char *)in.data);
	struct answer got = speech->understand(z, &in, op, &want);
	CHECK(got.outcome == want.outcome && got.has_number == want.has_number && got.number == want.number,
	      "outcome %d, want %d, for verb %d\nnode %d was told %.*s\nand said %.*s", got.outcome, want.outcome,
	      op->verb, node, (int)out.len, out.data, (int)in.len, in.data);
	settle(z);
	check_key(z, op->key);
}

static void pass(struct pair *z, uint8_t how)
{
	int64_t ms = how & 2 ? 1000 + 250 * (how >> 2) : 100000;

	settle(z); /* a second ends for both at once */
	z->now.mono_ms += ms;
	z->now.wall_ms += ms;
	settle(z);
	model_age(z);
}

static void open_pair(struct pair *z, uint8_t kind)
{
	for (int i = 0; i < 2; i++) {
		struct server *s = &z->nodes[i];
		server_init(s, MEMORY, ITEM_MAX);
		s->settings.replicated = true;
		s->settings.repl_ack_ms = 0;
		s->settings.requests_per_event = kind & 1 ? 1 : 20;
		snprintf(s->settings.repl_peer, sizeof(s->settings.repl_peer), "%s", i ? "peer" : "");
		server_start(s, &z->now, (uint8_t)(i + 1));
	}
	while (!repl_of(&z->nodes[0])->link || !repl_of(&z->nodes[1])->link)
		between(&z->nodes[0], &z->nodes[1], z->cables, &z->now, 1, check_each);
	settle(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pair z;

	memset(&z, 0, sizeof(z));
	z.script = (struct script){data, size, 0};
	z.now = (struct now){1000, FUZZ_WALL_MS};
	open_pair(&z, take8(&z.script));
	for (int n = 0; n < OPS_MAX && z.script.at < z.script.len; n++) {
		uint8_t where = take8(&z.script);
		if (where >= 240)
			pass(&z, where);
		else
			run_op(&z, where);
	}
	settle(&z);
	for (int i = 0; i < KEYS; i++)
		check_key(&z, i);
	for (int i = 0; i < 2; i++) {
		const char *broken = items_check(node_items(z.nodes[i].node));
		CHECK(!broken, "%s", broken);
	}
	for (int i = 0; i < 2; i++)
		cable_cut(&z.cables[i], "the end");
	for (int i = 0; i < 2; i++)
		node_free(z.nodes[i].node);
	return 0;
}
