/* load_proto.c - what all codecs check in the same way. See load_proto.h. */
#include "compat.h"
#include "load_proto.h"

#define SHOWN_BYTES 120

const char *const op_names[OP_KINDS] = {
        [OP_GET] = "get",         [OP_GETS] = "gets",   [OP_GAT] = "gat",
        [OP_SET] = "set",         [OP_ADD] = "add",     [OP_REPLACE] = "replace",
        [OP_CAS] = "cas",         [OP_DELETE] = "delete", [OP_TOUCH] = "touch",
        [OP_INCR] = "incr",
};

enum reply_status checker_wrong(struct checker *c, const struct request *r, const char *what,
                                const char *data, size_t len)
{
	char key[KEY_LEN_MAX];
	unsigned at = r->key_next < r->key_count ? r->key_next : 0;
	unsigned key_len = r->key_count ? keyspace_key(r->space, r->keys[at].key, key) : 0;
	int n = snprintf(c->why, sizeof(c->why), "%s %.*s (key %u of %u): %s: \"",
	                 op_names[r->kind], (int)key_len, key, at + 1, r->key_count, what);
	size_t pos = n < 0 ? 0 : (size_t)n;

	for (size_t i = 0; i < len && i < SHOWN_BYTES && pos + 4 < sizeof(c->why); i++) {
		bool plain = data[i] >= ' ' && data[i] <= '~';
		c->why[pos++] = plain ? data[i] : data[i] == '\n' ? '|' : '.';
	}
	if (pos + 1 < sizeof(c->why))
		snprintf(c->why + pos, sizeof(c->why) - pos, "\"");
	return REPLY_WRONG;
}

bool checker_take_value(struct checker *c, struct request *r, unsigned i,
                        const struct value_seen *v)
{
	const struct request_key *k = &r->keys[i];
	uint32_t version = 0;

	if (v->flags != keyspace_flags(r->space, k->key))
		return checker_wrong(c, r, "wrong client flags", v->data, v->len), false;
	if (c->values && !keyspace_check(r->space, k->key, v->data, v->len, &version))
		return checker_wrong(c, r, "wrong value", v->data, v->len), false;
	if (c->order && !keyspace_check_order(r->space, k->key, k->floor, version)) {
		char what[96];
		snprintf(what, sizeof(what), "version %u, must be %u..%u", version, k->floor,
		         r->space->state[k->key].issued);
		return checker_wrong(c, r, what, v->data, v->len), false;
	}
	r->keys[i].hit = true;
	r->hits++;
	r->key_next = i + 1;
	r->cas = v->cas;
	if (c->on_value)
		c->on_value(c->ctx, v);
	return true;
}

bool checker_take_number(struct checker *c, struct request *r, uint64_t value)
{
	struct key_state *s = &r->space->state[r->keys[0].key];
	char what[96];

	if (c->values && c->order && (value <= r->keys[0].floor || value > s->issued)) {
		snprintf(what, sizeof(what), "counter %" PRIu64 ", must be %u..%u", value,
		         r->keys[0].floor + 1, s->issued);
		return checker_wrong(c, r, what, "", 0), false;
	}
	if (value > s->floor && value <= UINT32_MAX)
		s->floor = (uint32_t)value;
	r->outcome = OUT_OK;
	r->hits = 1;
	return true;
}
