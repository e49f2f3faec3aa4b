/*
 * sim_reply.c - replies of the text protocol, read back and judged.
 *
 * Owns: the grammar of replies (whole ones cut off the front of a buffer), and
 * a small model of what memcached means by each command: given what a node
 * showed of a key before a command and what it shows after it, is the reply
 * legal? The model looks at one command executed alone; what was pipelined or
 * dribbled is held to the grammar only.
 *
 * Must not know: sessions, replication.
 *
 * Invariants
 *  [R1] a judgement is `relaxed` only where memory may fail or evict under the
 *       command's hands: then a store may fail, but what it says must be so
 *
 * Covered by: every run.
 */
#include "compat.h"
#include "sim_reply.h"

/* ---- grammar -------------------------------------------------------------------- */

static const struct {
	const char *line;
	enum reply_kind kind;
} lines[] = {
        {"STORED", REPLY_STORED},       {"NOT_STORED", REPLY_NOT_STORED}, {"EXISTS", REPLY_EXISTS},
        {"NOT_FOUND", REPLY_NOT_FOUND}, {"DELETED", REPLY_DELETED},       {"TOUCHED", REPLY_TOUCHED},
        {"OK", REPLY_OK},               {"END", REPLY_MISS},              {"HD", REPLY_META_DONE},
        {"NF", REPLY_META_NONE},        {"EN", REPLY_MISS},
};

/* "VALUE key flags bytes [cas]": false when malformed. */
static bool read_value_line(const char *line, struct reply *r, size_t *len)
{
	char key[KEY_BYTES_MAX + 1];
	unsigned long flags, bytes;
	unsigned long long cas = 0;
	int n = sscanf(line, "VALUE %250s %lu %lu %llu", key, &flags, &bytes, &cas);

	if (n < 3)
		return false;
	r->key = key_index((const uint8_t *)key, strlen(key));
	r->flags = (uint32_t)flags;
	r->has_cas = n == 4;
	r->cas = cas;
	*len = bytes;
	return r->key >= 0;
}

static size_t read_hit(const char *p, size_t len, size_t line_len, const char *line, struct reply *r)
{
	size_t value_len, head = line_len + 2;

	r->kind = REPLY_BAD;
	if (!read_value_line(line, r, &value_len))
		return head;
	if (len < head + value_len + 7)
		return 0;
	r->value = (const uint8_t *)p + head;
	r->value_len = value_len;
	if (memcmp(p + head + value_len, "\r\nEND\r\n", 7) == 0)
		r->kind = REPLY_HIT;
	return head + value_len + 7;
}

/* "VA length flags", where the flags are f, c, W, X and Z. */
static size_t read_meta_value(const char *p, size_t len, size_t line_len, char *line, struct reply *r)
{
	size_t head = line_len + 2;
	uint64_t value_len, flags = 0;
	char copy[sizeof(r->line)], *rest = copy;
	bool good = true;

	r->kind = REPLY_BAD;
	snprintf(copy, sizeof(copy), "%s", line + 3);
	const char *word = strsep(&rest, " ");
	if (!parse_u64(word, strlen(word), &value_len))
		return head;
	if (len < head + value_len + 2)
		return 0;
	while (good && (word = strsep(&rest, " ")) != NULL) {
		switch (word[0]) {
		case 'f': good = parse_u64(word + 1, strlen(word + 1), &flags); break;
		case 'c': good = r->has_cas = parse_u64(word + 1, strlen(word + 1), &r->cas); break;
		case 'W': r->won = true; break;
		case 'X': r->stale = true; break;
		case 'Z': r->sent = true; break;
		default: good = false; break;
		}
	}
	r->flags = (uint32_t)flags;
	r->value = (const uint8_t *)p + head;
	r->value_len = value_len;
	if (good && memcmp(p + head + value_len, "\r\n", 2) == 0)
		r->kind = REPLY_META_VALUE;
	return head + value_len + 2;
}

static bool is_refusal(const char *line)
{
	return strncmp(line, "BUSY ", 5) == 0 || strncmp(line, "NOSPARE ", 8) == 0 ||
	       strncmp(line, "SAME ", 5) == 0 || strncmp(line, "BADCLASS ", 9) == 0;
}

size_t reply_read(const uint8_t *data, size_t len, struct reply *r)
{
	const char *p = (const char *)data;
	const char *end = len ? memmem(p, len, "\r\n", 2) : NULL;
	size_t line_len = end ? (size_t)(end - p) : 0;

	memset(r, 0, sizeof(*r));
	if (!end)
		return 0;
	r->kind = REPLY_BAD;
	snprintf(r->line, sizeof(r->line), "%.*s", (int)line_len, p);
	if (strncmp(r->line, "VALUE ", 6) == 0)
		return read_hit(p, len, line_len, r->line, r);
	if (strncmp(r->line, "VA ", 3) == 0)
		return read_meta_value(p, len, line_len, r->line, r);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (strcmp(r->line, lines[i].line) == 0)
			r->kind = lines[i].kind;
	if (strncmp(r->line, "SERVER_ERROR ", 13) == 0)
		r->kind = REPLY_SERVER_ERROR;
	else if (strncmp(r->line, "CLIENT_ERROR ", 13) == 0)
		r->kind = REPLY_CLIENT_ERROR;
	else if (is_refusal(r->line))
		r->kind = REPLY_REFUSED;
	else if (parse_u64(r->line, line_len, &r->number))
		r->kind = REPLY_NUMBER;
	return line_len + 2;
}

#define KIND(k) (1u << REPLY_##k)

bool reply_allowed(int op_type, enum reply_kind kind)
{
	static const unsigned allowed[OP_COUNT] = {
	        [OP_SET] = KIND(STORED) | KIND(SERVER_ERROR),
	        [OP_SETEXP] = KIND(STORED) | KIND(SERVER_ERROR),
	        [OP_SETDEAD] = KIND(STORED) | KIND(SERVER_ERROR),
	        [OP_FILL] = KIND(STORED) | KIND(SERVER_ERROR),
	        [OP_SETHUGE] = KIND(SERVER_ERROR),
	        [OP_ADD] = KIND(STORED) | KIND(NOT_STORED) | KIND(SERVER_ERROR),
	        [OP_REPLACE] = KIND(STORED) | KIND(NOT_STORED) | KIND(SERVER_ERROR),
	        [OP_APPEND] = KIND(STORED) | KIND(NOT_STORED) | KIND(SERVER_ERROR),
	        [OP_PREPEND] = KIND(STORED) | KIND(NOT_STORED) | KIND(SERVER_ERROR),
	        [OP_CAS] = KIND(STORED) | KIND(EXISTS) | KIND(NOT_FOUND) | KIND(SERVER_ERROR),
	        [OP_DELETE] = KIND(DELETED) | KIND(NOT_FOUND),
	        [OP_INCR] = KIND(NUMBER) | KIND(NOT_FOUND) | KIND(CLIENT_ERROR) | KIND(SERVER_ERROR),
	        [OP_DECR] = KIND(NUMBER) | KIND(NOT_FOUND) | KIND(CLIENT_ERROR) | KIND(SERVER_ERROR),
	        [OP_TOUCH] = KIND(TOUCHED) | KIND(NOT_FOUND),
	        [OP_TOUCHES] = KIND(TOUCHED) | KIND(NOT_FOUND),
	        [OP_GAT] = KIND(HIT) | KIND(MISS),
	        [OP_GATS] = KIND(HIT) | KIND(MISS),
	        [OP_GET] = KIND(HIT) | KIND(MISS),
	        [OP_GETS] = KIND(HIT) | KIND(MISS),
	        [OP_STALE] = KIND(META_DONE) | KIND(META_NONE),
	        [OP_FLUSH] = KIND(OK),
	        [OP_FLUSHLATER] = KIND(OK),
	        [OP_MEMLIMIT] = KIND(OK),
	        [OP_REASSIGN] = KIND(OK) | KIND(REFUSED),
	        [OP_CRAWL] = KIND(OK) | KIND(REFUSED),
	        [OP_VIVIFY] = KIND(META_VALUE) | KIND(SERVER_ERROR),
	        [OP_RECACHE] = KIND(META_VALUE) | KIND(MISS),
	        [OP_AUTOVIV] = KIND(META_VALUE) | KIND(CLIENT_ERROR) | KIND(SERVER_ERROR),
	};

	return allowed[op_type] & (1u << kind);
}

/* ---- judgement -------------------------------------------------------------------- */

static bool same_bytes(const struct shown *s, const uint8_t *data, size_t len)
{
	return s->len == len && (len == 0 || memcmp(s->value, data, len) == 0);
}

static bool unchanged(const struct shown *a, const struct shown *b)
{
	return a->visible == b->visible &&
	       (!a->visible || (state_order_cmp(&a->order, &b->order) == 0 && same_bytes(a, b->value, b->len)));
}

/* What is shown now is the new value that the command carried. */
static const char *judge_new(const struct judged *j, const uint8_t *value, size_t len, uint32_t flags,
                             uint32_t exptime)
{
	const struct shown *a = &j->after;

	if (j->dead)
		return a->visible ? "stored as expired, but shown" : NULL;
	if (!a->visible)
		return "stored, but not shown";
	if (!same_bytes(a, value, len))
		return "stored, but other bytes are shown";
	if (a->flags != flags)
		return "stored with other flags";
	if (a->order.exptime != exptime)
		return "stored with another expiry";
	if (j->before.visible && a->order.version <= j->before.order.version)
		return "stored, but the CAS unique did not grow";
	if (j->told_cas && j->told_cas != a->order.version)
		return "stored, and told another CAS unique";
	return NULL;
}

static const char *judge_set(const struct judged *j)
{
	if (j->reply == REPLY_STORED)
		return judge_new(j, j->value, j->value_len, j->flags, j->exptime);
	if (!j->relaxed)
		return "could not be stored";
	return j->after.visible ? "failed, but an older value is still shown" : NULL;
}

static const char *judge_conditional(const struct judged *j, bool wants_present)
{
	if (j->reply == REPLY_STORED)
		return j->before.visible == wants_present || j->relaxed
		               ? judge_new(j, j->value, j->value_len, j->flags, j->exptime)
		               : "stored against its condition";
	if (j->relaxed)
		return NULL;
	if (j->reply != REPLY_NOT_STORED || j->before.visible == wants_present)
		return "not stored";
	return unchanged(&j->before, &j->after) ? NULL : "not stored, but changed";
}

static const char *judge_concat(const struct judged *j, bool append)
{
	const struct shown *b = &j->before;

	if (j->reply != REPLY_STORED) {
		if (j->relaxed)
			return NULL;
		if (b->visible)
			return "not stored";
		return unchanged(b, &j->after) ? NULL : "not stored, but changed";
	}
	if (!b->visible)
		return "stored to nothing";
	uint8_t *whole = malloc(b->len + j->value_len + 1);
	if (!whole)
		abort();
	memcpy(whole + (append ? 0 : j->value_len), b->value, b->len);
	memcpy(whole + (append ? b->len : 0), j->value, j->value_len);
	const char *wrong = judge_new(j, whole, b->len + j->value_len, b->flags, b->order.exptime);
	free(whole);
	return wrong;
}

/* Made from an older value: it is stored, as a stale one that lives as long as the
 * newer one would have. */
static const char *judge_outdated(const struct judged *j)
{
	const struct shown *b = &j->before;

	if (j->reply != REPLY_STORED)
		return j->relaxed ? NULL : "an outdated value is not stored";
	const char *wrong = judge_new(j, j->value, j->value_len, j->flags, b->order.exptime);
	return wrong ? wrong : j->after.stale ? NULL : "an outdated value is stored, and not stale";
}

static const char *judge_cas(const struct judged *j)
{
	const struct shown *b = &j->before;
	bool right = b->visible && j->cas == b->order.version;

	if (j->stale_if_older && b->visible && j->cas > 0 && j->cas < b->order.version)
		return judge_outdated(j);
	if (j->reply == REPLY_STORED)
		return right ? judge_new(j, j->value, j->value_len, j->flags, j->exptime)
		             : "stored with the wrong CAS unique";
	if (j->relaxed)
		return NULL;
	if (j->reply != (b->visible ? right ? REPLY_STORED : REPLY_EXISTS : REPLY_NOT_FOUND))
		return "wrong reply to cas";
	return unchanged(b, &j->after) ? NULL : "not stored, but changed";
}

static const char *judge_delete(const struct judged *j)
{
	if (j->reply != (j->before.visible ? REPLY_DELETED : REPLY_NOT_FOUND))
		return "wrong reply to delete";
	return j->after.visible ? "deleted, but shown" : NULL;
}

/* Digits and then blanks (incr pads); -1 not a number, 0 hard to say, 1 a number. */
static int is_number(const struct shown *s, uint64_t *number)
{
	size_t digits = 0, i;

	while (digits < s->len && s->value[digits] >= '0' && s->value[digits] <= '9')
		digits++;
	for (i = digits; i < s->len && s->value[i] == ' '; i++)
		;
	if (digits == 0 && s->len && s->value[0] >= 'a' && s->value[0] <= 'z')
		return -1;
	if (digits == 0 || digits > 18 || i < s->len)
		return 0;
	return parse_u64((const char *)s->value, digits, number) ? 1 : 0;
}

static const char *judge_arithmetic(const struct judged *j, bool incr)
{
	uint64_t old = 0, now = 0;

	if (!j->before.visible)
		return j->reply == REPLY_NOT_FOUND ? NULL : "wrong reply to incr or decr of nothing";
	int number = is_number(&j->before, &old);
	if (j->reply == REPLY_NUMBER) {
		if (number < 0)
			return "letters were taken for a number";
		if (is_number(&j->after, &now) != 1 || now != j->number)
			return number ? "the number shown is not the one replied" : NULL;
		if (j->told_cas && j->told_cas != j->after.order.version)
			return "counted, and told another CAS unique";
		uint64_t want = incr ? old + j->delta : old > j->delta ? old - j->delta : 0;
		if (number > 0 && now != want)
			return "wrong sum";
		return j->after.order.version > j->before.order.version ? NULL : "the CAS unique did not grow";
	}
	if (j->relaxed)
		return NULL;
	if (j->reply != REPLY_CLIENT_ERROR || number > 0)
		return "wrong reply to incr or decr";
	return unchanged(&j->before, &j->after) ? NULL : "refused, but changed";
}

static const char *judge_touch(const struct judged *j, enum reply_kind yes, enum reply_kind no)
{
	const struct shown *b = &j->before, *a = &j->after;

	if (j->reply != (b->visible ? yes : no))
		return "wrong reply to touch or gat";
	if (!b->visible || j->dead)
		return a->visible ? "touched to death, but shown" : NULL;
	if (!a->visible || a->order.exptime != j->exptime)
		return "touched, but the expiry is another one";
	if (!same_bytes(a, b->value, b->len))
		return "touched, but the value changed";
	if (b->order.touches < 255 && a->order.version != b->order.version)
		return "touched, but the CAS unique changed";
	return NULL;
}

static const char *judge_stale(const struct judged *j)
{
	const struct shown *b = &j->before, *a = &j->after;

	if (j->reply != (b->visible ? REPLY_META_DONE : REPLY_META_NONE))
		return "wrong reply to md I";
	if (!b->visible)
		return a->visible ? "nothing was invalidated, but something is shown" : NULL;
	if (!a->visible || !same_bytes(a, b->value, b->len))
		return "invalidated, and another value is shown";
	return a->stale && a->order.version > b->order.version ? NULL : "invalidated, and not stale";
}

static const char *judge_hit(const struct judged *j)
{
	if (!same_bytes(&j->before, j->hit_value, j->hit_len) || j->hit_flags != j->before.flags)
		return "the value read is not the one held";
	if (j->hit_has_cas && j->hit_cas != j->after.order.version && j->hit_cas != j->before.order.version)
		return "the CAS unique read is not the one held";
	return NULL;
}

static const char *judge_read(const struct judged *j)
{
	if (j->reply != (j->before.visible ? REPLY_HIT : REPLY_MISS))
		return "wrong reply to a read";
	return unchanged(&j->before, &j->after) ? NULL : "a read changed something";
}

/* ---- leases ----------------------------------------------------------------------- */

/* What a read made: an empty item, to be filled by who made it. */
static const char *judge_made(const struct judged *j)
{
	if (j->reply != REPLY_META_VALUE)
		return j->relaxed ? NULL : "mg N of nothing made nothing";
	if (j->hit_len != 0 || !j->hit_won || j->hit_sent || j->hit_stale)
		return "mg N made a key, and did not say that it is empty and its reader's";
	if (!j->after.token || j->hit_cas != j->after.order.version)
		return "mg N made a key, and another one is shown";
	return judge_new(j, NULL, 0, 0, j->exptime);
}

/* Who is told to store anew: the first with R when little time is left, the first
 * of a stale value. */
static const char *judge_lease(const struct judged *j)
{
	const struct shown *b = &j->before;
	bool late = j->op_type == OP_RECACHE && b->order.exptime && b->order.exptime < j->exptime;
	bool wins = (b->stale || late) && !b->token;

	if (!b->visible && j->op_type == OP_VIVIFY)
		return judge_made(j);
	if (j->reply != (b->visible ? REPLY_META_VALUE : REPLY_MISS))
		return "wrong reply to mg";
	if (!unchanged(b, &j->after))
		return "mg changed something";
	if (!b->visible)
		return NULL;
	const char *wrong = judge_hit(j);
	if (wrong)
		return wrong;
	if (j->hit_stale != b->stale || j->hit_sent != b->token)
		return "X or Z is not what is held";
	if (j->hit_won != wins)
		return wins ? "nobody was told to recache" : "was told to recache out of turn";
	return j->after.token == (b->token || wins) ? NULL : "who has W was not remembered";
}

static const char *judge_autoviv(const struct judged *j)
{
	struct judged as_incr = *j;
	char number[24];

	if (!j->before.visible && j->reply == REPLY_META_VALUE) {
		int n = snprintf(number, sizeof(number), "%" PRIu64, j->initial);
		if (j->number != j->initial || j->hit_cas != j->after.order.version)
			return "ma N made another number than it was to";
		return judge_new(j, (const uint8_t *)number, (size_t)n, 0, j->exptime);
	}
	if (!j->before.visible)
		return j->relaxed ? NULL : "ma N of nothing made nothing";
	if (j->reply == REPLY_META_VALUE) {
		as_incr.reply = REPLY_NUMBER;
		as_incr.told_cas = j->hit_cas;
	}
	return judge_arithmetic(&as_incr, true);
}

const char *reply_judge(const struct judged *j)
{
	const char *wrong = j->reply == REPLY_HIT ? judge_hit(j) : NULL;

	if (wrong)
		return wrong;
	switch (j->op_type) {
	case OP_SET:
	case OP_SETEXP:
	case OP_SETDEAD: return judge_set(j);
	case OP_SETHUGE: return j->after.visible ? "too large, but something is shown" : NULL;
	case OP_ADD: return judge_conditional(j, false);
	case OP_REPLACE: return judge_conditional(j, true);
	case OP_APPEND: return judge_concat(j, true);
	case OP_PREPEND: return judge_concat(j, false);
	case OP_CAS: return judge_cas(j);
	case OP_DELETE: return judge_delete(j);
	case OP_STALE: return judge_stale(j);
	case OP_INCR: return judge_arithmetic(j, true);
	case OP_DECR: return judge_arithmetic(j, false);
	case OP_TOUCH: return judge_touch(j, REPLY_TOUCHED, REPLY_NOT_FOUND);
	case OP_GAT:
	case OP_GATS: return judge_touch(j, REPLY_HIT, REPLY_MISS);
	case OP_GET:
	case OP_GETS: return judge_read(j);
	case OP_VIVIFY:
	case OP_RECACHE: return judge_lease(j);
	case OP_AUTOVIV: return judge_autoviv(j);
	case OP_FLUSH: return j->after.visible ? "flushed, but shown" : NULL;
	default: return NULL;
	}
}
