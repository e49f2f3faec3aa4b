/*
 * sim_clients.c - sessions: commands in, replies out.
 *
 * Owns: the clients of each host. An operation becomes the text of a command;
 * mostly it is executed alone, whole, and judged (sim_reply.c) by what the node
 * showed before and after it; a part of those is said in the meta or the binary
 * protocol (sim_speech.c), the latter on a session of its own. Leases are meta
 * commands as they stand; what an operator does is held to the grammar. Dribbled ones are
 * queued, and reach the session bit by bit in events of their own, their replies
 * being taken slowly or late; pipelines reach it in one piece. Those are held to the grammar, to the
 * registry of values ever written, and to P3: a reply shows nothing older than
 * what its node had shown when the command was queued.
 *
 * Must not know: replication, the network of the link.
 *
 * Invariants
 *  [K1] replies come in the order of the commands, one each unless noreply
 *  [K2] session_settle() is called before another session gets input
 *
 * Covered by: every run.
 */
#include "compat.h"
#include "items_stats.h"
#include "sim.h"
#include "sim_reply.h"
#include "sim_speech.h"

#define OUT_BYTES_MAX (8u << 20)
#define TIGHT_MEMORY_BYTES (16u << 20)
#define HOLD_SLACK_MS 200
#define MEMLIMIT_MB_MIN 8 /* of the command */
#define CLASSES_MAX 64

/* A command being made. */
struct command_text {
	const struct op *op;
	uint8_t *text, *value;
	size_t len, value_len;
	struct judged judged; /* what its judge must know */
	struct speech speech; /* how it is said if it is executed alone */
	bool noreply;
};

/* ---- keys and values ------------------------------------------------------------- */

static size_t key_text(int key, char out[KEY_BYTES_MAX + 1])
{
	int n = snprintf(out, KEY_BYTES_MAX + 1, "k%d:", key);

	if (key % 5 == 4) { /* some are long */
		memset(out + n, 'x', (size_t)(200 - n));
		n = 200;
		out[n] = 0;
	}
	return (size_t)n;
}

void keys_make(struct host *h)
{
	for (int k = 0; k < SIM_KEYS; k++) {
		size_t len = key_text(k, h->key_texts[k]);
		h->keys[k] = items_key(node_items(h->node), h->key_texts[k], len);
	}
}

int key_index(const uint8_t *key, size_t len)
{
	int n = 0;

	if (len < 3 || key[0] != 'k')
		return -1;
	for (size_t i = 1; i < len && key[i] >= '0' && key[i] <= '9' && n < SIM_KEYS; i++)
		n = n * 10 + (key[i] - '0');
	return n < SIM_KEYS ? n : -1;
}

static bool is_number(const struct op *op)
{
	return (op->flags & OPF_NUMBER) && op->type != OP_SETHUGE;
}

static uint8_t *make_value(const struct op *op, size_t *len)
{
	struct prng random = {op->seed};
	char number[32];

	if (is_number(op))
		*len = (size_t)snprintf(number, sizeof(number), "%u", op->seed % 100000);
	uint8_t *v = malloc(*len + 1);
	if (!v)
		abort();
	if (is_number(op)) {
		memcpy(v, number, *len);
		return v;
	}
	for (size_t i = 0; i < *len; i += 7) {
		uint64_t r = prng_next(&random);
		for (size_t j = i; j < *len && j < i + 7; j++, r >>= 8)
			v[j] = (uint8_t)('a' + (r & 255) % 26);
	}
	return v;
}

/* ---- what is shown ----------------------------------------------------------------- */

static const struct item *held(struct host *h, int key)
{
	return items_state(node_items(h->node), &h->keys[key]);
}

static void look(struct host *h, int key, struct shown *out)
{
	const struct item *i = held(h, key);
	struct iovec iov[16];

	memset(out, 0, sizeof(*out));
	if (!check_visible(h, i))
		return;
	out->visible = true;
	out->order = item_order(i);
	out->stale = i->bits & ITEM_STALE;
	out->token = i->bits & ITEM_TOKEN;
	out->flags = item_flags(i);
	out->len = item_value_len(i);
	out->value = malloc(out->len + 1);
	if (!out->value)
		abort();
	for (size_t off = 0; off < out->len;) {
		int n = items_value_iov(node_items(h->node), i, off, iov, ARRAY_LEN(iov));
		assert(n > 0);
		for (int j = 0; j < n; off += iov[j++].iov_len)
			memcpy(out->value + off, iov[j].iov_base, iov[j].iov_len);
	}
}

/* ---- the text of a command ------------------------------------------------------------ */

static bool is_storage(int type)
{
	return type <= OP_CAS || type == OP_SETHUGE || type == OP_FILL;
}

static const char *verb(int type)
{
	switch (type) {
	case OP_SETEXP:
	case OP_SETDEAD:
	case OP_SETHUGE:
	case OP_FILL: return "set";
	case OP_FLUSHLATER: return "flush_all";
	case OP_TOUCHES: return "touch";
	default: return op_name(type);
	}
}

/* Expiry as sent, and the instant it means. */
static int64_t expiry(struct host *h, const struct op *op, struct judged *j)
{
	int64_t now_s = now_wall_s(&h->now);

	j->exptime = 0;
	if (op->type == OP_SETDEAD || op->b < 0) {
		j->dead = true;
		return op->flags & OPF_ABSOLUTE && op->type == OP_SETDEAD ? now_s - 5000000 : -1;
	}
	if (op->b == 0 || op->type == OP_FILL)
		return 0;
	j->exptime = (uint32_t)(now_s + op->b);
	return op->flags & OPF_ABSOLUTE ? now_s + op->b : op->b;
}

static void make_storage(struct host *h, struct command_text *c, const char *key, const char *tail)
{
	const struct op *op = c->op;
	struct judged *j = &c->judged;
	int64_t exptime = expiry(h, op, j);
	char line[KEY_BYTES_MAX + 128], cas[32] = "";

	c->value_len = op->type == OP_FILL ? (size_t)op->b : (size_t)op->a;
	if (op->type == OP_SETHUGE)
		c->value_len = h->settings.item_bytes_max + (size_t)op->a;
	c->value = make_value(op, &c->value_len);
	j->flags = op->seed & 1 ? op->seed >> 16 : 0;
	if (op->type == OP_CAS) {
		j->cas = op->seed & 6 ? j->before.order.version : 1 + op->seed % 100000;
		snprintf(cas, sizeof(cas), " %" PRIu64, j->cas);
	}
	int n = snprintf(line, sizeof(line), "%s %s %u %" PRId64 " %zu%s%s\r\n", verb(op->type), key, j->flags,
	                 exptime, c->value_len, cas, tail);
	c->text = malloc((size_t)n + c->value_len + 2);
	if (!c->text)
		abort();
	memcpy(c->text, line, (size_t)n);
	memcpy(c->text + n, c->value, c->value_len);
	memcpy(c->text + n + c->value_len, "\r\n", 2);
	c->len = (size_t)n + c->value_len + 2;
	j->value = c->value;
	j->value_len = c->value_len;
}

/* For an operator who moves pages: a class that has some, now and then any. */
static int choose_class(struct host *h, struct prng *random)
{
	struct items *items = node_items(h->node);
	struct items_class_info info;
	struct items_gauges g;
	int with_pages[CLASSES_MAX], count = 0;

	items_gauges(items, &g);
	for (int id = 1; id <= g.class_count && count < CLASSES_MAX; id++)
		if (items_class_info(items, id, &info) && info.pages > 0)
			with_pages[count++] = id;
	if (count == 0 || prng_below(random, 8) == 0)
		return 1 + (int)prng_below(random, (uint64_t)g.class_count);
	return with_pages[prng_below(random, (uint64_t)count)];
}

static int make_operators(struct host *h, const struct op *op, char *out, size_t size)
{
	struct prng random = {op->seed};

	if (op->type == OP_MEMLIMIT) {
		int mb = op->a > MEMLIMIT_MB_MIN ? op->a : MEMLIMIT_MB_MIN; /* also in a shrunk plan */
		size_t bytes = (size_t)mb << 20;
		if (bytes < h->memory_low)
			sim_cover(h->sim, COV_memory_lowered);
		h->memory_low = bytes < h->memory_low ? bytes : h->memory_low;
		return snprintf(out, size, "cache_memlimit %d\r\n", mb);
	}
	if (op->type == OP_CRAWL) {
		sim_cover(h->sim, COV_crawled);
		return snprintf(out, size, "lru_crawler crawl all\r\n");
	}
	h->reassigned = true;
	int src = prng_below(&random, 3) ? choose_class(h, &random) : -1;
	return snprintf(out, size, "slabs reassign %d %d\r\n", src, choose_class(h, &random));
}

static int make_lease(struct host *h, struct command_text *c, const char *key, char *out, size_t size)
{
	const struct op *op = c->op;
	int64_t ttl_s = expiry(h, op, &c->judged);

	c->judged.delta = (uint64_t)op->a;
	c->judged.initial = op->seed % 1000;
	if (op->type == OP_AUTOVIV)
		return snprintf(out, size, "ma %s N%" PRId64 " J%" PRIu64 " D%d v c\r\n", key, ttl_s,
		                c->judged.initial, op->a);
	return snprintf(out, size, "mg %s f c v %c%" PRId64 "\r\n", key, op->type == OP_VIVIFY ? 'N' : 'R', ttl_s);
}

static void make_other(struct host *h, struct command_text *c, const char *key, const char *tail)
{
	const struct op *op = c->op;
	const char *name = verb(op->type);
	size_t size = KEY_BYTES_MAX + 128;
	int n = 0;

	c->text = malloc(size);
	if (!c->text)
		abort();
	char *out = (char *)c->text;
	switch (op->type) {
	case OP_INCR:
	case OP_DECR:
		c->judged.delta = (uint64_t)op->a;
		n = snprintf(out, size, "%s %s %d%s\r\n", name, key, op->a, tail);
		break;
	case OP_TOUCH:
	case OP_TOUCHES:
		n = snprintf(out, size, "touch %s %" PRId64 "%s\r\n", key, expiry(h, op, &c->judged), tail);
		break;
	case OP_GAT:
	case OP_GATS:
		n = snprintf(out, size, "%s %" PRId64 " %s\r\n", name, expiry(h, op, &c->judged), key);
		break;
	case OP_FLUSH: n = snprintf(out, size, "flush_all%s\r\n", tail); break;
	case OP_FLUSHLATER: n = snprintf(out, size, "flush_all %d%s\r\n", op->a, tail); break;
	case OP_STALE: n = snprintf(out, size, "md %s I\r\n", key); break;
	case OP_MEMLIMIT:
	case OP_REASSIGN:
	case OP_CRAWL: n = make_operators(h, op, out, size); break;
	case OP_VIVIFY:
	case OP_RECACHE:
	case OP_AUTOVIV: n = make_lease(h, c, key, out, size); break;
	case OP_DELETE: n = snprintf(out, size, "delete %s%s\r\n", key, tail); break;
	default: n = snprintf(out, size, "%s %s\r\n", name, key); break;
	}
	c->len = (size_t)n;
}

/* judged: what is shown before matters. Looking is not without effect: it makes a
 * delayed flush happen that is due. */
static void make_command(struct host *h, const struct op *op, bool judged, struct command_text *c)
{
	const char *key = h->key_texts[op->key];
	bool reads = op->type == OP_GET || op->type == OP_GETS || op->type == OP_GAT || op->type == OP_GATS;

	memset(c, 0, sizeof(*c));
	c->op = op;
	c->noreply = (op->flags & OPF_NOREPLY) && !reads && op->type != OP_STALE;
	c->judged.op_type = op->type;
	c->judged.relaxed = h->may_fail || h->memory_low < TIGHT_MEMORY_BYTES ||
	                    h->settings.item_bytes_max < h->sim->plan.config.value_len_max * 2;
	if (judged || op->type == OP_CAS)
		look(h, op->key, &c->judged.before);
	c->judged.relaxed |= c->judged.before.len + (size_t)op->a + 1024 > h->settings.item_bytes_max;
	const char *tail = c->noreply ? " noreply" : "";
	if (is_storage(op->type))
		make_storage(h, c, key, tail);
	else
		make_other(h, c, key, tail);
}

static void release_command(struct command_text *c)
{
	free(c->text);
	free(c->value);
	free(c->judged.before.value);
	free(c->judged.after.value);
}

/* ---- bytes in and out ------------------------------------------------------------------- */

/* Take up to `limit` sends of output. */
static void take_output(struct sim *s, struct client *c, int limit)
{
	struct iovec iov[8];
	int n;

	while (limit-- > 0 && (n = session_output(c->session, iov, 1 + (int)prng_below(&s->net, 8))) > 0) {
		size_t total = 0;
		for (int i = 0; i < n; i++)
			total += iov[i].iov_len;
		size_t take = prng_below(&s->net, 3) ? total : 1 + (size_t)prng_below(&s->net, total);
		c->out = realloc(c->out, c->out_len + take);
		if (!c->out)
			abort();
		for (size_t left = take, i = 0; left; i++) {
			size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;
			memcpy(c->out + c->out_len, iov[i].iov_base, len);
			c->out_len += len;
			left -= len;
		}
		session_sent(c->session, take);
	}
	if (c->out_len > OUT_BYTES_MAX)
		sim_fail(s, "CLIENT", "%zu reply bytes that nobody understands", c->out_len);
}

/* Whether replies still wait for the peer; what ended a wait must be true. */
static bool is_held(struct host *h, struct client *c)
{
	static const enum coverage ends[HOLD_RESULT_COUNT] = {
	        [HOLD_ACKED] = COV_held_acked,
	        [HOLD_REFUSED] = COV_held_refused,
	        [HOLD_TIMEOUT] = COV_held_timeout,
	        [HOLD_UNLINKED] = COV_held_unlinked,
	};
	struct sim *s = h->sim;
	bool held = session_state(c->session) == SESSION_HOLD;

	if (held && !c->held) {
		c->held_since_us = s->now_us;
		sim_cover(s, COV_held);
	} else if (held && s->now_us > c->held_since_us + (h->settings.repl_ack_ms + HOLD_SLACK_MS) * INT64_C(1000)) {
		sim_fail(s, "HOLD", "%c holds a reply back for longer than repl_ack", 'A' + h->id);
	} else if (!held && c->held) {
		enum hold_result result = session_hold_result(c->session);
		sim_cover(s, ends[result]);
		if (result == HOLD_ACKED)
			check_acked_writes(h, c);
	}
	if (!held)
		c->write_count = 0;
	c->held = held;
	return held;
}

/* One receive; how much it took. */
static size_t give_bytes(struct client *c, const uint8_t *data, size_t len)
{
	struct iovec iov[4];
	int n = session_body_iov(c->session, iov, ARRAY_LEN(iov));

	if (n <= 0) {
		uint8_t *copy = malloc(len); /* exactly: reading past it shows */
		if (!copy)
			abort();
		memcpy(copy, data, len);
		session_input(c->session, copy, len);
		free(copy);
		return len;
	}
	size_t done = 0;
	for (int i = 0; i < n && done < len; i++) {
		size_t piece = iov[i].iov_len < len - done ? iov[i].iov_len : len - done;
		memcpy(iov[i].iov_base, data + done, piece);
		done += piece;
	}
	session_body_received(c->session, done);
	return done;
}

static void resume(struct sim *s, struct client *c)
{
	for (int i = 0; i < 10000 && !sim_failed(s); i++) {
		enum session_state st = session_state(c->session);
		if (st != SESSION_YIELD && st != SESSION_FLUSH)
			return;
		take_output(s, c, INT_MAX);
		session_resume(c->session);
	}
	if (!sim_failed(s))
		sim_fail(s, "CLIENT", "a session that never gets on (%s)", session_state_name(c->session));
}

/* Give it bytes until it holds a reply back; how many it took. */
static size_t feed(struct host *h, struct client *c, const uint8_t *data, size_t len, bool whole)
{
	struct sim *s = h->sim;
	size_t done = 0;

	h->running = c;
	while (done < len && !sim_failed(s) && !is_held(h, c)) {
		size_t left = len - done;
		size_t n = whole || prng_below(&s->net, 2) ? left : 1 + (size_t)prng_below(&s->net, left);
		done += give_bytes(c, data + done, n);
		resume(s, c);
		if (session_state(c->session) == SESSION_CLOSE)
			sim_fail(s, "CLIENT", "%c closes a session that did nothing wrong", 'A' + h->id);
	}
	h->running = NULL;
	return done;
}

/* ---- replies of what was not executed alone ------------------------------------------------ */

static void await(struct sim *s, struct client *c, const struct op *op, uint64_t floor)
{
	if (c->awaited_head - c->awaited_tail == SIM_AWAITED) {
		sim_fail(s, "SIM", "too many replies awaited");
		return;
	}
	c->awaited[c->awaited_head++ % SIM_AWAITED] = (struct awaited){op->type, op->key, floor};
}

static void check_reply(struct host *h, const struct awaited *a, const struct reply *r)
{
	struct sim *s = h->sim;

	if (r->kind == REPLY_SERVER_ERROR && h->may_fail)
		return;
	if (!reply_allowed(a->op_type, r->kind)) {
		sim_fail(s, "CLIENT", "%c answers %s k%d with \"%.60s\"", 'A' + h->id, op_name(a->op_type), a->key,
		         r->line);
		return;
	}
	if (a->op_type == OP_REASSIGN)
		sim_cover(s, r->kind == REPLY_OK ? COV_reassigned : COV_reassign_refused);
	if (r->kind != REPLY_HIT)
		return;
	uint64_t hash = hash_key(r->value, r->value_len, r->flags);
	if (r->key != a->key || !check_value_known(s, r->key, r->has_cas ? r->cas : 0, hash))
		sim_fail(s, "VALUE", "%c answers %s k%d with a value that nobody wrote", 'A' + h->id,
		         op_name(a->op_type), a->key);
	if (r->has_cas && r->cas < a->floor)
		sim_fail(s, "P3", "%c answers %s k%d with v=%" PRIu64 " after it showed v=%" PRIu64, 'A' + h->id,
		         op_name(a->op_type), a->key, r->cas, a->floor);
}

static void read_replies(struct host *h, struct client *c)
{
	size_t off = 0;
	struct reply r;

	while (!sim_failed(h->sim)) {
		size_t n = reply_read(c->out + off, c->out_len - off, &r);
		if (n == 0)
			break;
		if (c->awaited_tail == c->awaited_head)
			sim_fail(h->sim, "CLIENT", "%c says \"%.60s\" unasked", 'A' + h->id, r.line);
		else
			check_reply(h, &c->awaited[c->awaited_tail++ % SIM_AWAITED], &r);
		off += n;
	}
	if (off)
		memmove(c->out, c->out + off, c->out_len - off);
	c->out_len -= off;
}

/* ---- one command, executed alone -------------------------------------------------------------- */

static enum reply_kind silent_reply(const struct command_text *c)
{
	const struct judged *j = &c->judged;
	bool was = j->before.visible, grew = j->after.order.version > j->before.order.version;

	switch (j->op_type) {
	case OP_ADD: return was ? REPLY_NOT_STORED : REPLY_STORED;
	case OP_REPLACE:
	case OP_APPEND:
	case OP_PREPEND: return was ? REPLY_STORED : REPLY_NOT_STORED;
	case OP_CAS: return !was ? REPLY_NOT_FOUND : j->cas == j->before.order.version ? REPLY_STORED : REPLY_EXISTS;
	case OP_DELETE: return was ? REPLY_DELETED : REPLY_NOT_FOUND;
	case OP_TOUCH: return was ? REPLY_TOUCHED : REPLY_NOT_FOUND;
	case OP_INCR:
	case OP_DECR: return !was ? REPLY_NOT_FOUND : grew ? REPLY_OK : REPLY_CLIENT_ERROR;
	default: return REPLY_STORED;
	}
}

static void cover_lease(struct sim *s, const struct judged *j)
{
	if (!j->before.visible)
		sim_cover(s, j->op_type == OP_AUTOVIV ? COV_counted_from_nothing : COV_vivified);
	else if (j->hit_won || j->hit_sent)
		sim_cover(s, j->hit_won ? COV_recache_won : COV_recache_sent);
}

static void cover_judged(struct sim *s, const struct judged *j)
{
	switch (j->reply) {
	case REPLY_STORED:
		if (j->stale_if_older && j->cas != j->before.order.version)
			sim_cover(s, COV_meta_outdated);
		sim_cover(s, j->dead ? COV_set_expired : j->op_type == OP_ADD ? COV_add : j->op_type == OP_CAS
		                ? COV_cas_stored : j->op_type == OP_APPEND ? COV_append : COV_set_stored);
		if (j->value_len > 65536)
			sim_cover(s, COV_large_value);
		break;
	case REPLY_EXISTS: sim_cover(s, COV_cas_exists); break;
	case REPLY_NUMBER: sim_cover(s, COV_incr); break;
	case REPLY_HIT: sim_cover(s, COV_get_hit); break;
	case REPLY_MISS: sim_cover(s, COV_get_miss); break;
	case REPLY_META_DONE: sim_cover(s, COV_invalidated); break;
	case REPLY_META_VALUE: cover_lease(s, j); break;
	case REPLY_DELETED: sim_cover(s, COV_del_found); break;
	case REPLY_NOT_FOUND: sim_cover(s, COV_del_notfound); break;
	case REPLY_OK: sim_cover(s, j->op_type == OP_FLUSH ? COV_flush_now : COV_flush_delayed); break;
	case REPLY_SERVER_ERROR:
		sim_cover(s, j->op_type == OP_SETHUGE ? COV_set_too_large : COV_set_no_memory);
		break;
	default: break;
	}
}

static void judge(struct host *h, struct client *c, struct command_text *t)
{
	struct sim *s = h->sim;
	struct judged *j = &t->judged;
	struct reply r = {0};
	size_t n = reply_read(c->out, c->out_len, &r);

	if (n != c->out_len || (n == 0) != t->noreply) {
		sim_fail(s, "CLIENT", "%c answers %s k%d with %zu bytes \"%.60s\"", 'A' + h->id,
		         op_name(t->op->type), t->op->key, c->out_len, r.line);
		return;
	}
	look(h, t->op->key, &j->after);
	if (t->noreply) {
		j->reply = silent_reply(t);
		if (j->relaxed || j->op_type == OP_INCR || j->op_type == OP_DECR)
			return;
	} else if (r.kind == REPLY_SERVER_ERROR && h->may_fail) {
		return;
	} else if (!reply_allowed(t->op->type, r.kind)) {
		sim_fail(s, "CLIENT", "%c answers %s k%d with \"%.60s\"", 'A' + h->id, op_name(t->op->type),
		         t->op->key, r.line);
		return;
	} else {
		j->reply = r.kind;
		j->number = r.number;
		j->hit_value = r.value;
		j->hit_len = r.value_len;
		j->hit_flags = r.flags;
		j->hit_has_cas = r.has_cas;
		j->hit_cas = r.cas;
		j->hit_won = r.won;
		j->hit_sent = r.sent;
		j->hit_stale = r.stale;
		if (r.kind == REPLY_META_VALUE)
			parse_u64((const char *)r.value, r.value_len, &j->number);
	}
	cover_judged(s, j);
	const char *wrong = reply_judge(j);
	if (wrong)
		sim_fail(s, "CLIENT", "%c, %s k%d, \"%.60s\": %s", 'A' + h->id, op_name(t->op->type), t->op->key,
		         r.line, wrong);
}

/* The protocol that it is said in. The choice goes with the operation, whatever its
 * number is: shrinking does not change it, nor what the plan draws. */
static struct client *choose_speech(struct host *h, struct client *c, struct command_text *t)
{
	struct prng random = {h->sim->plan.config.seed ^ (uint64_t)t->op->seed << 16 ^ t->op->type};

	if (t->op->type >= OP_FIRST_LEASE)
		return c;
	speech_choose(&t->speech, t->text, t->len, prng_next(&random));
	/* No memory to send a large value: text and binary say so, mg closes the session. */
	if (h->may_fail && (t->op->type == OP_GET || t->op->type == OP_GETS || t->op->type == OP_GAT ||
	                    t->op->type == OP_GATS) && t->speech.tongue == TONGUE_META)
		t->speech.tongue = TONGUE_TEXT;
	speech_cover(h->sim, &t->speech);
	t->judged.stale_if_older = t->op->type == OP_CAS && t->speech.stale_if_older;
	if (t->speech.tongue != TONGUE_TEXT)
		t->noreply = false;
	return t->speech.tongue == TONGUE_BINARY ? &h->clients[SIM_CLIENTS] : c;
}

static void say(struct host *h, struct client *c, const struct command_text *t)
{
	if (t->speech.tongue == TONGUE_TEXT) {
		feed(h, c, t->text, t->len, false);
		return;
	}
	size_t len;
	uint8_t *said = speech_say(&t->speech, &len);
	feed(h, c, said, len, false);
	free(said);
}

/* Put the text of an answer into the place of the answer. */
static void understand(struct host *h, struct client *c, struct command_text *t)
{
	size_t len;

	if (t->speech.tongue == TONGUE_TEXT)
		return;
	uint8_t *text = speech_understand(&t->speech, c->out, c->out_len, &len);
	if (!text) {
		char shown[61];
		size_t n = c->out_len < 60 ? c->out_len : 60;
		for (size_t i = 0; i < n; i++)
			shown[i] = c->out[i] >= ' ' && c->out[i] < 0x7f ? (char)c->out[i] : '.';
		shown[n] = 0;
		sim_fail(h->sim, "CLIENT", "%c answers %s k%d in %s with %zu bytes \"%s\"", 'A' + h->id,
		         op_name(t->op->type), t->op->key, speech_name(&t->speech), c->out_len, shown);
		return;
	}
	free(c->out);
	c->out = text;
	c->out_len = len;
	t->judged.told_cas = t->speech.told_cas;
}

static void execute(struct host *h, struct client *c, const struct op *op)
{
	struct sim *s = h->sim;
	struct command_text t;

	make_command(h, op, true, &t);
	c = choose_speech(h, c, &t);
	uint64_t changes = h->change_seq;
	say(h, c, &t);
	take_output(s, c, INT_MAX);
	session_settle(c->session);
	sim_trace(s, c->out, c->out_len);
	if (!sim_failed(s))
		understand(h, c, &t);
	if (s->verbose)
		sim_say(s, "      %c> (%s) %.*s", 'A' + h->id, speech_name(&t.speech),
		        (int)(c->out_len < 60 ? c->out_len : 60), c->out_len ? (char *)c->out : "(no reply)");
	if (!sim_failed(s))
		judge(h, c, &t);
	if (op->type == OP_DELETE && h->change_seq == changes)
		sim_fail(s, "R3", "%c deletes k%d and tells no observer", 'A' + h->id, op->key);
	if (t.noreply)
		sim_cover(s, COV_noreply);
	c->out_len = 0;
	release_command(&t);
}

/* ---- queued commands ------------------------------------------------------------------------------ */

static void queue_command(struct host *h, struct client *c, const struct op *op)
{
	struct command_text t;

	make_command(h, op, false, &t);
	c->in = realloc(c->in, c->in_len + t.len);
	if (!c->in)
		abort();
	memcpy(c->in + c->in_len, t.text, t.len);
	c->in_len += t.len;
	if (!t.noreply)
		await(h->sim, c, op, h->ghosts[op->key].vis.version);
	release_command(&t);
}

static void drop_taken(struct client *c)
{
	if (c->in_off < c->in_len)
		return;
	c->in_off = c->in_len = 0;
}

static void schedule_client(struct host *h, int index)
{
	struct sim *s = h->sim;

	if (h->clients[index].scheduled)
		return;
	h->clients[index].scheduled = true;
	sim_push(s, s->now_us + 1 + (int64_t)prng_below(&s->net, 2000),
	         (struct event){.type = EV_CLIENT, .host = (uint8_t)h->id, .index = index,
	                        .generation = h->incarnation});
}

static void give_all(struct host *h, struct client *c)
{
	bool whole = prng_below(&h->sim->net, 2);

	c->in_off += feed(h, c, c->in + c->in_off, c->in_len - c->in_off, whole);
	drop_taken(c);
	take_output(h->sim, c, INT_MAX);
	session_settle(c->session);
	sim_trace(h->sim, c->out, c->out_len);
	read_replies(h, c);
	if (c->in_len > c->in_off || c->awaited_tail != c->awaited_head || is_held(h, c))
		schedule_client(h, (int)(c - h->clients));
}

void client_event(struct host *h, int index)
{
	struct sim *s = h->sim;
	struct client *c = &h->clients[index];

	c->scheduled = false;
	if (!c->session)
		return;
	host_turn(h);
	size_t left = c->in_len - c->in_off;
	if (!is_held(h, c) && left && session_state(c->session) == SESSION_READ) {
		size_t n = 1 + (size_t)prng_below(&s->net, left < 64 ? 8 : left / 4);
		n = n < left ? n : left;
		h->running = c;
		c->in_off += give_bytes(c, c->in + c->in_off, n);
		h->running = NULL;
		drop_taken(c);
	}
	h->running = c;
	if (session_state(c->session) == SESSION_YIELD)
		session_resume(c->session);
	h->running = NULL;
	is_held(h, c);
	take_output(s, c, (int)prng_below(&s->net, 3)); /* or leave it for later */
	session_settle(c->session);
	read_replies(h, c);
	if (c->in_len > c->in_off || c->awaited_tail != c->awaited_head || !session_is_idle(c->session))
		schedule_client(h, index);
}

static void pipeline(struct host *h, struct client *c, const struct op *op)
{
	static const uint8_t mix[] = {OP_SET, OP_SET, OP_DELETE, OP_GETS, OP_GET, OP_ADD, OP_INCR, OP_TOUCH, OP_GATS,
	                              OP_APPEND};
	struct prng random = {op->seed};
	int keys = h->sim->plan.config.keys;

	for (int i = 0; i < op->a; i++) {
		struct op one = *op;
		one.type = mix[prng_below(&random, ARRAY_LEN(mix))];
		one.key = (uint8_t)prng_below(&random, (uint64_t)keys);
		one.seed = (uint32_t)prng_next(&random);
		one.flags = (uint8_t)((one.seed & 3) == 0 ? OPF_NUMBER : (one.seed & 12) == 0 ? OPF_NOREPLY : 0);
		one.a = one.type == OP_INCR ? 3 : (int32_t)(one.seed % (1 + h->sim->plan.config.value_len_max / 4));
		one.b = one.type == OP_TOUCH || one.type == OP_GATS ? (int32_t)(one.seed % 20) : 0;
		queue_command(h, c, &one);
	}
}

/* More touches than the counter of an item holds. */
static void touch_often(struct host *h, struct client *c, const struct op *op)
{
	for (int i = 0; i < op->a; i++) {
		struct op one = *op;
		one.b = op->b + i % 3;
		one.flags = 0;
		queue_command(h, c, &one);
	}
}

static void fill(struct host *h, struct client *c, const struct op *op)
{
	struct prng random = {op->seed};

	for (int i = 0; i < op->a; i++) {
		struct op one = *op;
		one.seed = (uint32_t)prng_next(&random);
		one.key = (uint8_t)(SIM_HOT + one.seed % (SIM_KEYS - SIM_HOT));
		one.type = op->type == OP_PURGE ? OP_DELETE : OP_FILL;
		one.flags = 0;
		queue_command(h, c, &one);
	}
}

void client_op(struct host *h, const struct op *op)
{
	struct client *c = &h->clients[op->seed % SIM_CLIENTS];

	if (!c->session)
		return;
	bool busy = c->in_len > c->in_off || c->awaited_tail != c->awaited_head ||
	            !session_is_idle(c->session);
	if (op->type >= OP_FIRST_LEASE && (busy || h->may_fail || h->settings.repl_ack_ms))
		return; /* nobody could judge it */
	if (op->type == OP_PIPELINE) {
		sim_cover(h->sim, COV_pipelined);
		pipeline(h, c, op);
	} else if (op->type == OP_FILL || op->type == OP_PURGE) {
		fill(h, c, op);
	} else if (op->type == OP_TOUCHES) {
		touch_often(h, c, op);
	} else if (busy || (op->flags & (OPF_DRIBBLE | OPF_BLIND)) || h->settings.repl_ack_ms ||
	           (op->type >= OP_FIRST_EXTRA && op->type < OP_FIRST_LEASE)) {
		if (busy || (op->flags & OPF_DRIBBLE))
			sim_cover(h->sim, COV_dribbled);
		queue_command(h, c, op);
	} else {
		execute(h, c, op);
		return;
	}
	if (busy || (op->flags & OPF_DRIBBLE))
		schedule_client(h, (int)(op->seed % SIM_CLIENTS));
	else
		give_all(h, c);
}

/* ---- all clients of a host -------------------------------------------------------------------------- */

void clients_open(struct host *h)
{
	for (int i = 0; i < SIM_SESSIONS; i++) {
		memset(&h->clients[i], 0, sizeof(h->clients[i]));
		h->clients[i].session = node_session_open(h->node);
		if (!h->clients[i].session)
			sim_fail(h->sim, "SIM", "no memory for a session");
	}
}

void clients_close(struct host *h)
{
	for (int i = 0; i < SIM_SESSIONS; i++) {
		struct client *c = &h->clients[i];
		if (c->session)
			node_session_close(h->node, c->session);
		free(c->in);
		free(c->out);
		memset(c, 0, sizeof(*c));
	}
}

bool clients_idle(const struct host *h)
{
	for (int i = 0; i < SIM_SESSIONS; i++) {
		const struct client *c = &h->clients[i];
		if (c->session && (c->in_len > c->in_off || c->awaited_tail != c->awaited_head))
			return false;
	}
	return true;
}

void clients_flush(struct host *h)
{
	for (int i = 0; i < SIM_CLIENTS && !h->stopping; i++) {
		struct client *c = &h->clients[i];
		if (!c->session || clients_idle(h))
			continue;
		host_turn(h);
		give_all(h, c);
	}
}

void clients_poll(struct host *h)
{
	uint64_t moved = items_counters(node_items(h->node))->pages_moved;

	if (moved > h->pages_moved)
		sim_cover(h->sim, COV_pages_moved);
	h->pages_moved = moved;
	for (int i = 0; i < SIM_SESSIONS; i++)
		if (h->clients[i].held)
			is_held(h, &h->clients[i]);
}
