/*
 * fuzz_link.c - a hostile peer on the link of a whole node, then a good one.
 *
 * Owns: LLVMFuzzerTestOneInput(). The input is a script: the first byte says what
 * the node is like (a shared secret, -x, small buffers, repl_compat; whether a good peer comes
 * afterwards), every other begins a step - connect, answer when it connects, say the opening line or not, prove the
 * secret or not, send a frame with true or false lengths and versions, send any
 * bytes, let time pass, stop reading, be a client for a moment. So the fuzzer
 * reaches the far side of the hand-shake without having to invent it.
 *
 * What must hold
 *  - after every step repl_check(), and now and then items_check()
 *  - there is no link without a proof where there is a secret
 *  - the clock is never further ahead than repl_max_skew allows
 *  - memory: as many connections as there may be, input and output in bounds
 *  - no chunk is lost for what did not arrive to its end
 *  - input that is held up is taken again after a bounded number of turns
 *  - when it has gone a good peer is in sync with the node in bounded time, and
 *    what is written on either is on the other
 * A failure aborts.
 *
 * t/fuzz_main.c runs it on files (make check); `make fuzz SECONDS=60` with clang's
 * libFuzzer. Corpus: t/corpus/link.
 */
#include "compat.h"
#include "fuzz_nodes.h"
#include "repl_internal.h"
#include "repl_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SKEW_MS (3600 * 1000)
#define CLOCK_SLACK_MS 1000 /* own writes behind a clock that is as far ahead as it may be */
#define STEPS_MAX 400
#define SLOTS 6
#define ITEM_MAX (16 << 10)
#define MEMORY (2 << 20)
#define SECRET "the secret of this test"
#define TURNS_MAX 20000
#define SYNC_MS_MAX 60000

/* ---- a node --------------------------------------------------------------------------- */

static void victim_start(struct server *s, const struct now *now, uint8_t kind, uint8_t seed, bool dials)
{
	server_init(s, MEMORY, ITEM_MAX);
	s->settings.replicated = true;
	s->settings.repl_max_skew_ms = SKEW_MS;
	s->settings.repl_buffer_bytes = kind & 4 ? 64 << 10 : 1 << 20;
	s->settings.repl_tombstones_bytes = kind & 8 ? 1 << 10 : 0;
	s->settings.repl_has_secret = kind & 1;
	s->settings.repl_compat = (kind & 33) == 32;
	CHECK(repl_auth_link_key(SECRET, strlen(SECRET), s->settings.repl_link_key), "memory");
	snprintf(s->settings.repl_peer, sizeof(s->settings.repl_peer), "%s", dials ? "peer" : "");
	server_start(s, now, seed);
}

static void check_repl(const struct server *s, const struct now *now)
{
	const struct repl *r = repl_of(s);
	const char *broken = repl_check(r);
	int open = 0;

	CHECK(!broken, "%s", broken);
	for (const struct repl_conn *c = r->conns; c; c = c->next) {
		open += c->state < CONN_CLOSING;
		CHECK(buf_len(&c->in.held) <= REPL_HELD_BYTES_MAX, "held input");
		size_t value_max = c->in.body_max ? c->in.body_max : ITEM_BYTES_LIMIT;
		CHECK(c->in.fate == VALUE_NONE || c->in.frame.value_len <= value_max, "a value without end");
		CHECK(c->in.body_max <= ITEM_BYTES_LIMIT + WIRE_ITEM_BYTES + WIRE_KEY_BYTES_MAX, "body_max");
	}
	CHECK(open <= REPL_CONNS_MAX, "%d connections", open);
	uint64_t last = node_engine(s->node)->hlc->last;
	CHECK(r->peer.acked <= last && repl_lost_below(r) <= last, "a version that was never made");
	CHECK(last == 0 || version_wall_ms(last) <= now->wall_ms + SKEW_MS + CLOCK_SLACK_MS, "the clock is ahead");
}

static void check_items(const struct server *s)
{
	const char *broken = items_check(node_items(s->node));
	struct items_gauges g;

	CHECK(!broken, "%s", broken);
	items_gauges(node_items(s->node), &g);
	CHECK(g.page_bytes <= MEMORY, "more pages than -m");
}

/* Nothing is left of what began to arrive: values lie in one chunk each here. */
static void check_no_leak(const struct server *s)
{
	struct items *it = node_items(s->node);
	struct items_gauges g;
	struct items_class_info info;
	uint64_t used = 0;

	items_gauges(it, &g);
	for (int i = 1; i <= g.class_count; i++)
		if (items_class_info(it, i, &info))
			used += info.used_chunks;
	CHECK(used == g.item_count, "%" PRIu64 " chunks, %" PRIu64 " items", used, g.item_count);
}

/* ---- the hostile side -------------------------------------------------------------------- */

struct slot {
	struct repl_conn *conn; /* NULL: none */
	bool outgoing;          /* the node has connected */
	bool deaf;              /* nothing is read of what the node sends */
	bool proved;            /* the right proof was sent */
	struct repl_auth auth;
	uint8_t in[1024];       /* what the node sends, until it is understood */
	size_t in_len;
	bool lines;             /* the node may take this side for a repcached */
	uint64_t skip;          /* bytes of a value that is passing */
	uint64_t mark;          /* the last MARK */
};

struct fuzz {
	struct script script;
	struct server victim;
	struct now now;
	struct slot slots[SLOTS];
	int current;
	uint64_t serial;
};

static void slot_closed(struct slot *t, const char *reason)
{
	struct repl_conn *c = t->conn;

	*t = (struct slot){0};
	repl_conn_closed(c, reason);
}

static void understand_line(struct slot *t)
{
	uint8_t *end = memchr(t->in, '\n', t->in_len);

	if (!end && t->lines && t->in_len == sizeof(t->in))
		t->in_len = 0; /* in the middle of a value */
	if (!end)
		return;
	size_t len = (size_t)(end - t->in) + 1;
	if (len > 5 && memcmp(t->in, "REPL/", 5) == 0 && len <= WIRE_LINE_BYTES_MAX)
		repl_auth_said(&t->auth, t->outgoing ? AUTH_CONNECTING : AUTH_LISTENING, t->in, len);
	t->in_len -= len;
	memmove(t->in, end + 1, t->in_len);
}

/* The node's frames: they must be good ones. */
static bool understand_frame(struct slot *t)
{
	struct wire_frame f;
	size_t used = 0;
	const char *error = "";

	enum wire_status status = wire_frame_decode(t->in, t->in_len, UINT32_MAX, &f, &used, &error);
	CHECK(status != WIRE_BAD, "the node sends a bad frame: %s", error);
	if (status == WIRE_MORE)
		return false;
	if (f.type == WIRE_MARK && f.order.version)
		t->mark = f.order.version;
	t->skip = f.value_len;
	t->in_len -= used;
	memmove(t->in, t->in + used, t->in_len);
	return true;
}

/* To a repcached it says lines, and nothing else. */
static bool is_line(const struct slot *t)
{
	bool spoke = t->auth.len[t->outgoing ? AUTH_CONNECTING : AUTH_LISTENING] > 0;
	bool text = t->lines && (!spoke || (t->conn && t->conn->speech == SPEECH_TEXT));

	return text || t->in[0] == 'R' || t->in[0] == 'P';
}

static void hear(struct slot *t, const uint8_t *data, size_t len)
{
	while (len > 0) {
		if (t->skip > 0) {
			size_t n = t->skip < len ? (size_t)t->skip : len;
			t->skip -= n;
			data += n;
			len -= n;
			continue;
		}
		size_t room = sizeof(t->in) - t->in_len, n = len < room ? len : room;
		memcpy(t->in + t->in_len, data, n);
		t->in_len += n;
		data += n;
		len -= n;
		bool more = true;
		while (more && t->in_len > 0 && t->skip == 0) {
			size_t before = t->in_len;
			if (is_line(t))
				understand_line(t);
			else
				understand_frame(t);
			more = t->in_len < before;
		}
		if (t->skip > 0 && t->in_len > 0) { /* what is behind a head is its value */
			size_t of_value = t->skip < t->in_len ? (size_t)t->skip : t->in_len;
			t->skip -= of_value;
			t->in_len -= of_value;
			memmove(t->in, t->in + of_value, t->in_len);
		}
		CHECK(t->in_len < sizeof(t->in), "a head of the node that does not end");
	}
}

static void drain(struct slot *t)
{
	struct iovec iov[4];
	int count;

	while (t->conn && !t->deaf && (count = repl_conn_output(t->conn, iov, 4)) > 0) {
		size_t total = 0;
		for (int i = 0; i < count; i++) {
			hear(t, iov[i].iov_base, iov[i].iov_len);
			total += iov[i].iov_len;
		}
		repl_conn_sent(t->conn, total);
	}
}

/* The shell's part of a turn. */
static void settle(struct fuzz *z)
{
	struct iovec iov;

	server_turn(&z->victim, &z->now);
	for (int i = 0; i < SLOTS; i++) {
		struct slot *t = &z->slots[i];
		drain(t);
		if (t->conn && repl_conn_closing(t->conn) && repl_conn_output(t->conn, &iov, 1) == 0)
			slot_closed(t, "closed by this side");
	}
	check_repl(&z->victim, &z->now);
	for (int i = 0; i < SLOTS; i++) {
		const struct slot *t = &z->slots[i];
		bool is_link = t->conn && t->conn == repl_of(&z->victim)->link;
		CHECK(!is_link || !z->victim.settings.repl_has_secret || t->proved, "a link without a proof");
	}
}

static void let_pass(struct fuzz *z, int64_t ms)
{
	int64_t until = z->now.mono_ms + ms;

	for (int n = 0; z->now.mono_ms < until; n++) {
		CHECK(n < TURNS_MAX, "it spins");
		int64_t due = node_next_due_ms(z->victim.node);
		int64_t step = due <= z->now.mono_ms ? 0 : due < until ? due - z->now.mono_ms : until - z->now.mono_ms;
		if (step == 0 && n % 16 == 15)
			step = 1; /* work takes time */
		z->now.mono_ms += step;
		z->now.wall_ms += step;
		settle(z);
	}
}

/* Bytes for the node: as the shell does it, when they are wanted. */
static void say(struct fuzz *z, struct slot *t, const void *data, size_t len)
{
	for (int n = 0; t->conn && !repl_conn_closing(t->conn) && !repl_conn_wants_read(t->conn); n++) {
		CHECK(n < TURNS_MAX, "input is held up for ever");
		settle(z);
		z->now.mono_ms++;
		z->now.wall_ms++;
	}
	if (!t->conn || repl_conn_closing(t->conn) || len == 0)
		return;
	uint8_t *copy = malloc(len); /* exact, so that reading past it is seen */
	CHECK(copy, "memory");
	memcpy(copy, data, len);
	repl_conn_input(t->conn, copy, len);
	free(copy);
}

static void open_slot(struct fuzz *z, struct slot *t, bool outgoing)
{
	if (t->conn)
		slot_closed(t, "closed by the peer");
	t->outgoing = outgoing;
	t->lines = z->victim.settings.repl_compat;
	char addr[32];
	snprintf(addr, sizeof(addr), "192.0.2.%d:%d", z->current, (int)(z->serial++ % 60000));
	t->conn = repl_conn_open(repl_of(&z->victim), outgoing, addr);
}

/* ---- what it says ---------------------------------------------------------------------------- */

static uint64_t pick_version(struct fuzz *z)
{
	uint64_t last = node_engine(z->victim.node)->hlc->last;
	uint64_t now = version_of_wall_ms(z->now.wall_ms);

	switch (take8(&z->script) % 16) {
	case 0: return 0;
	case 1: return 1;
	case 2: return now;
	case 3: return now + take16(&z->script);
	case 4: return now - take16(&z->script);
	case 5: return version_of_wall_ms(z->now.wall_ms + SKEW_MS - 1000);
	case 6: return version_of_wall_ms(z->now.wall_ms + SKEW_MS) | 0x3fffff;
	case 7: return version_of_wall_ms(z->now.wall_ms + SKEW_MS + 1);
	case 8: return VERSION_MAX;
	case 9: return UINT64_C(1) << 63 | take16(&z->script);
	case 10: return last;
	case 11: return last + 1;
	case 12: return z->slots[z->current].mark;
	case 13: return items_flush_state(node_items(z->victim.node))->barrier;
	case 14: return last - take16(&z->script);
	default: return take64(&z->script);
	}
}

/* A key; its length as it is and as it is said. */
static size_t pick_key(struct fuzz *z, uint8_t out[256], uint8_t *said)
{
	static const char *const keys[] = {"k0", "k1", "k2", "k3", "k4", "k5", "a b", "a\nb", " ", "\r\n", "\x01\x7f", "END"};
	uint8_t which = take8(&z->script);
	size_t len;

	if (which < 128) {
		const char *key = keys[which % ARRAY_LEN(keys)];
		len = strlen(key);
		memcpy(out, key, len);
	} else if (which < 192) {
		len = which == 128 ? 0 : which == 129 ? 250 : which == 130 ? 251 : which % 32;
		memset(out, 'x', len);
	} else {
		len = 4;
		store_be32(out, (uint32_t)which << 24 | take16(&z->script));
	}
	*said = (uint8_t)len;
	return len;
}

/* How long it says it is: the truth, most of the time. */
static uint32_t said_length(struct fuzz *z, size_t truth)
{
	switch (take8(&z->script)) {
	case 255: return (uint32_t)truth + 1;
	case 254: return truth ? (uint32_t)truth - 1 : 0;
	case 253: return UINT32_MAX;
	case 252: return 0;
	case 251: return (uint32_t)take16(&z->script) << 8;
	default: return (uint32_t)truth;
	}
}

static size_t put_value(struct fuzz *z, uint8_t *at, size_t room)
{
	uint8_t how = take8(&z->script);
	size_t len = how < 200 ? how % 40 : take16(&z->script) % (ITEM_MAX + 100);

	if (len > room)
		len = room;
	memset(at, 'a' + how % 26, len);
	return len;
}

static void send_frame(struct fuzz *z, struct slot *t)
{
	static uint8_t frame[WIRE_HEAD_BYTES_MAX + ITEM_MAX + 512];
	uint8_t *body = frame + WIRE_FRAME_BYTES, key[256], key_said = 0;
	uint8_t type = take8(&z->script) % 12, bits = take8(&z->script);
	size_t len = 0, cut;

	if (type >= 10)
		type = take8(&z->script);
	store_be64(body, pick_version(z));
	len = 8;
	if (type == WIRE_FLUSH) {
		store_be64(body + 8, pick_version(z));
		store_be64(body + 16, bits & 1 ? 0 : (uint64_t)z->now.wall_ms + take16(&z->script) - 5000);
		len = 24;
	} else if (type == WIRE_ITEM || type == WIRE_TOMB || type == WIRE_TOUCH) {
		body[8] = take8(&z->script);
		store_be32(body + 9, bits & 4 ? (uint32_t)(z->now.wall_ms / 1000) + take16(&z->script) - 1000 : 0);
		len = 13;
	} else if (type != WIRE_SWEEP) {
		body[8] = bits < 200 ? bits & 1 : bits;
		len = 9;
	}
	if (type == WIRE_ITEM) {
		store_be32(body + 13, bits);
		body[17] = bits < 200 ? (bits >> 3) & 3 : bits;
		len = WIRE_ITEM_BYTES;
	}
	if (type == WIRE_ITEM || type == WIRE_TOMB || type == WIRE_TOUCH || type == WIRE_HAVE) {
		size_t key_len = pick_key(z, key, &key_said);
		memcpy(body + len, key, key_len);
		if (type == WIRE_ITEM)
			body[WIRE_ITEM_BYTES - 1] = key_said;
		len += key_len;
	}
	if (type == WIRE_ITEM)
		len += put_value(z, body + len, sizeof(frame) - WIRE_FRAME_BYTES - len);
	frame[0] = type;
	store_be32(frame + 1, said_length(z, len));
	cut = WIRE_FRAME_BYTES + len;
	if ((bits & 0xe0) == 0xa0)
		cut = take16(&z->script) % cut; /* it stops in the middle */
	say(z, t, frame, cut);
}

static void send_hello(struct fuzz *z, struct slot *t)
{
	uint8_t how = take8(&z->script), line[WIRE_LINE_BYTES_MAX];
	struct repl *r = repl_of(&z->victim);
	struct wire_hello h = {
		.node_id = how & 1 ? 0xabc : how & 2 ? r->peer.node_id : how & 4 ? r->self.node_id : how + 1u,
		.wall_ms = z->now.wall_ms,
		.maxitem = how & 8 ? UINT64_MAX : ITEM_MAX,
		.origin = (uint16_t)(1 + how % 5),
		.auth = (how & 16 ? !r->settings->repl_has_secret : r->settings->repl_has_secret) ? WIRE_AUTH_HMAC
												: WIRE_AUTH_NONE,
	};
	if (h.node_id == 0)
		h.node_id = 0xabc;
	if (how & 32) {
		h.seen_id = how & 1 ? r->self.node_id : 7;
		h.seen = pick_version(z) & VERSION_MAX;
	}
	if (how & 64)
		h.clock = pick_version(z) & VERSION_MAX;
	if (how & 128)
		h.wall_ms += (int64_t)take16(&z->script) * 1000 * (how & 64 ? -1 : 1);
	store_be64(h.nonce, ++z->serial);
	size_t len = wire_hello_encode(line, &h);
	if (t->conn)
		repl_auth_said(&t->auth, t->outgoing ? AUTH_LISTENING : AUTH_CONNECTING, line, len);
	say(z, t, line, len);
}

static void send_proof(struct fuzz *z, struct slot *t)
{
	uint8_t how = take8(&z->script), line[WIRE_LINE_BYTES_MAX], proof[WIRE_PROOF_BYTES] = {how};
	const struct settings *s = &z->victim.settings;
	enum auth_side side = t->outgoing == (how != 1) ? AUTH_LISTENING : AUTH_CONNECTING;

	if (how < 200 && t->auth.len[0] && t->auth.len[1])
		CHECK(repl_auth_prove(&t->auth, s->repl_link_key, side, proof), "memory");
	t->proved |= t->auth.len[0] && t->auth.len[1] &&
		     repl_auth_holds(&t->auth, s->repl_link_key, t->outgoing ? AUTH_LISTENING : AUTH_CONNECTING, proof);
	size_t len = wire_proof_encode(line, proof);
	say(z, t, line, how == 201 ? len - 1 : len);
}

static void be_client(struct fuzz *z)
{
	static const char *const forms[] = {
		"set k%u 0 0 5\r\nvalue\r\n", "delete k%u\r\n", "touch k%u 100\r\n", "incr k%u 1\r\n",
		"set k%u 0 1 3\r\nabc\r\n", "get k%u\r\n", "flush_all\r\n", "flush_all 2\r\n",
		"append k%u 0 0 2\r\nxy\r\n", "gat 50 k%u\r\n", "stats replication\r\n", "stats items\r\n",
	};
	uint8_t how = take8(&z->script);
	char text[64], reply[4096];

	/* one of a few constant forms, all with the same argument */
	const char *form = forms[how % ARRAY_LEN(forms)], *hole = strstr(form, "%u");
	if (hole)
		snprintf(text, sizeof(text), "%.*s%u%s", (int)(hole - form), form, (unsigned)how / 12 % 6, hole + 2);
	else
		snprintf(text, sizeof(text), "%s", form);
	server_client(&z->victim, text, reply, sizeof(reply));
}

static void answer_the_dial(struct fuzz *z, struct slot *t)
{
	uint64_t wanted = node_wants(z->victim.node).connect_seq;

	if (wanted == z->victim.connect_seq)
		return;
	z->victim.connect_seq = wanted;
	if (take8(&z->script) & 1)
		open_slot(z, t, true);
	else
		repl_connect_failed(repl_of(&z->victim), "nobody listens");
}

/* Many frames of one kind, as fast as they come. */
static void send_flood(struct fuzz *z, struct slot *t)
{
	uint8_t kind = take8(&z->script);
	int count = take8(&z->script);
	uint8_t frame[64];
	struct wire_frame f = {.type = kind & 1 ? WIRE_MARK : WIRE_BEGIN, .order.version = 0, .bits = (kind >> 1) & 1};
	struct wire_frame sweep = {.type = WIRE_SWEEP, .order.version = version_of_wall_ms(z->now.wall_ms)};

	for (int i = 0; i < count && t->conn; i++) {
		if (f.type == WIRE_MARK)
			f.order.version = version_of_wall_ms(z->now.wall_ms) + (uint64_t)i;
		size_t len = wire_frame_encode(frame, &f);
		if ((kind & 7) == 2)
			len += wire_frame_encode(frame + len, &sweep);
		say(z, t, frame, len);
	}
}

/* A repcached's line, whoever it is for. */
static void send_text(struct fuzz *z, struct slot *t)
{
	static const char *const lines[] = {
		"marugoto_end\r\n", "flush_all \r\n", "flush_all 1750000010\r\n", "flush_all 0\r\n", "delete k1\r\n",
		"delete memcached:repl_compat:1\r\n", "get k1\r\n", "rep k1 0 0 -1 1\r\n", "delete \r\n", "rep\r\n",
	};
	uint8_t how = take8(&z->script), value[256];
	char text[TEXT_LINE_BYTES_MAX];

	if (how < 128) {
		const char *line = lines[how % ARRAY_LEN(lines)];
		say(z, t, line, strlen(line));
		return;
	}
	uint32_t said = how < 224 ? how & 63 : (uint32_t)(take16(&z->script) * 997);
	snprintf(text, sizeof(text), "rep k%d %u %u %" PRIu32 " %u\r\n", how % 6, (unsigned)take16(&z->script),
		 how & 32 ? 1750000000u + take8(&z->script) : 0, said, (unsigned)take16(&z->script));
	say(z, t, text, strlen(text));
	size_t len = said < sizeof(value) ? said : sizeof(value);
	memset(value, how, sizeof(value));
	say(z, t, value, len);
	if (!(how & 16))
		say(z, t, "\r\n", 2);
}

static void step(struct fuzz *z)
{
	struct slot *t = &z->slots[z->current];
	uint8_t op = take8(&z->script), bytes[256];

	switch (op % 18) {
	case 0: /* any bytes */
		for (size_t i = 0, len = take8(&z->script); i < 256; i++) {
			bytes[i] = i < len ? take8(&z->script) : 0;
			if (i + 1 == 256)
				say(z, t, bytes, len);
		}
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		send_frame(z, t);
		break;
	case 5:
		let_pass(z, take8(&z->script));
		break;
	case 6:
		let_pass(z, take16(&z->script) % 8000);
		break;
	case 7:
		if (node_wants(z->victim.node).link_listen)
			open_slot(z, t, false);
		break;
	case 8:
		send_hello(z, t);
		break;
	case 9:
		send_proof(z, t);
		break;
	case 10:
		if (t->conn)
			slot_closed(t, "closed by the peer");
		break;
	case 11:
		z->current = take8(&z->script) % SLOTS;
		break;
	case 12:
		be_client(z);
		break;
	case 13:
		t->deaf = t->conn && !t->deaf;
		break;
	case 14:
		answer_the_dial(z, t);
		break;
	case 15:
		send_flood(z, t);
		break;
	default:
		send_text(z, t);
	}
	settle(z);
}

/* ---- afterwards ---------------------------------------------------------------------------------- */

/* A write on one is seen on the other; a flush that fires may take one away. */
static bool travels(struct server *a, struct server *b, struct cable cables[2], struct now *now)
{
	char reply[256], text[128];

	for (int i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "set fresh%d 0 0 2\r\nok\r\n", i);
		server_client(a, text, reply, sizeof(reply));
		between(a, b, cables, now, 50, check_repl);
		snprintf(text, sizeof(text), "get fresh%d\r\n", i);
		server_client(b, text, reply, sizeof(reply));
		if (strstr(reply, "\r\nok\r\n"))
			return true;
	}
	return false;
}

static void good_peer(struct fuzz *z, uint8_t kind)
{
	struct server good;
	struct cable cables[2] = {{{NULL, NULL}}, {{NULL, NULL}}};
	struct server *victim = &z->victim;
	int64_t ms = 0;

	victim_start(&good, &z->now, kind & 1, 99, true);
	for (; !repl_is_quiet(repl_of(victim)) || !repl_is_quiet(repl_of(&good)); ms += 10) {
		CHECK(ms < SYNC_MS_MAX, "no pair with a good peer: %s, %s",
		      repl_of(victim)->link ? "a link" : "no link", repl_of(&good)->link ? "a link" : "no link");
		between(victim, &good, cables, &z->now, 10, check_repl);
	}
	CHECK(node_wants(good.node).client_ports && node_wants(victim->node).client_ports, "the ports are closed");
	CHECK(travels(victim, &good, cables, &z->now), "a write here is not there");
	CHECK(travels(&good, victim, cables, &z->now), "a write there is not here");
	check_items(victim);
	check_items(&good);
	cable_cut(&cables[0], "the end");
	cable_cut(&cables[1], "the end");
	node_free(good.node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz z;

	z = (struct fuzz){.script = {data, size, 0}, .now = {1000, FUZZ_WALL_MS}};
	uint8_t kind = take8(&z.script);
	victim_start(&z.victim, &z.now, kind, 1, kind & 2);
	settle(&z);
	for (int n = 0; n < STEPS_MAX && z.script.at < z.script.len; n++) {
		step(&z);
		if (n % 32 == 31)
			check_items(&z.victim);
	}
	check_items(&z.victim);
	for (int i = 0; i < SLOTS; i++)
		if (z.slots[i].conn)
			slot_closed(&z.slots[i], "closed by the peer");
	let_pass(&z, 3000);
	check_no_leak(&z.victim);
	if (!(kind & 16)) /* the longest part of it */
		good_peer(&z, kind);
	node_free(z.victim.node);
	return 0;
}
