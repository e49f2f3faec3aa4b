/*
 * proto_bin.c - the binary protocol. See proto_bin.h.
 *
 * Owns: one row per opcode, one decode function per kind of extras, the table
 * from the answers of message.h to status codes.
 *
 * Must not know: what a command does, the clock, where bytes come from.
 *
 * Quiet opcodes: a retrieval is silent about a miss, everything else about
 * success. All that remains is said, so a client that pipelines quiet commands
 * and ends with a NOOP learns of every failure.
 *
 * Invariants: [B1] [B2] of proto_bin.h. Covered by: t/test_proto_bin.c.
 */
#include "compat.h"
#include "proto_bin.h"
#include "util.h"

#define FLAGS_BYTES 4 /* the extras of a hit */

/* What an opcode's packet may and must have, and how it is answered. */
#define OP_KNOWN (1u << 0)
#define OP_KEY (1u << 1)         /* must have a key */
#define OP_KEY_MAY (1u << 2)     /* may have one */
#define OP_VALUE (1u << 3)       /* may have a value */
#define OP_EXTRAS_MAY (1u << 4)  /* may do without its extras */
#define OP_QUIET_MISS (1u << 5)
#define OP_QUIET_DONE (1u << 6)
#define OP_SHOW_KEY (1u << 7)
#define OP_HIDE_VALUE (1u << 8)
#define OP_AUTH (1u << 9) /* a message of a login; its `command` is which */

struct op {
	uint8_t command;
	uint8_t extras_len;
	uint16_t flags;
};

#define OP(command, extras, flags) {CMD_##command, extras, OP_KNOWN | (flags)}
#define OP_STORE (OP_KEY | OP_VALUE)

static const struct op ops[UINT8_MAX + 1] = {
	[BIN_GET] = OP(GETS, 0, OP_KEY),
	[BIN_GETQ] = OP(GETS, 0, OP_KEY | OP_QUIET_MISS),
	[BIN_GETK] = OP(GETS, 0, OP_KEY | OP_SHOW_KEY),
	[BIN_GETKQ] = OP(GETS, 0, OP_KEY | OP_SHOW_KEY | OP_QUIET_MISS),
	[BIN_TOUCH] = OP(GATS, 4, OP_KEY | OP_HIDE_VALUE),
	[BIN_GAT] = OP(GATS, 4, OP_KEY),
	[BIN_GATQ] = OP(GATS, 4, OP_KEY | OP_QUIET_MISS),
	[BIN_GATK] = OP(GATS, 4, OP_KEY | OP_SHOW_KEY),
	[BIN_GATKQ] = OP(GATS, 4, OP_KEY | OP_SHOW_KEY | OP_QUIET_MISS),
	[BIN_SET] = OP(SET, 8, OP_STORE),
	[BIN_SETQ] = OP(SET, 8, OP_STORE | OP_QUIET_DONE),
	[BIN_ADD] = OP(ADD, 8, OP_STORE),
	[BIN_ADDQ] = OP(ADD, 8, OP_STORE | OP_QUIET_DONE),
	[BIN_REPLACE] = OP(REPLACE, 8, OP_STORE),
	[BIN_REPLACEQ] = OP(REPLACE, 8, OP_STORE | OP_QUIET_DONE),
	[BIN_APPEND] = OP(APPEND, 0, OP_STORE),
	[BIN_APPENDQ] = OP(APPEND, 0, OP_STORE | OP_QUIET_DONE),
	[BIN_PREPEND] = OP(PREPEND, 0, OP_STORE),
	[BIN_PREPENDQ] = OP(PREPEND, 0, OP_STORE | OP_QUIET_DONE),
	[BIN_DELETE] = OP(DELETE, 0, OP_KEY),
	[BIN_DELETEQ] = OP(DELETE, 0, OP_KEY | OP_QUIET_DONE),
	[BIN_INCR] = OP(INCR, 20, OP_KEY),
	[BIN_INCRQ] = OP(INCR, 20, OP_KEY | OP_QUIET_DONE),
	[BIN_DECR] = OP(DECR, 20, OP_KEY),
	[BIN_DECRQ] = OP(DECR, 20, OP_KEY | OP_QUIET_DONE),
	[BIN_FLUSH] = OP(FLUSH_ALL, 4, OP_EXTRAS_MAY),
	[BIN_FLUSHQ] = OP(FLUSH_ALL, 4, OP_EXTRAS_MAY | OP_QUIET_DONE),
	[BIN_STAT] = OP(STATS, 0, OP_KEY_MAY),
	[BIN_NOOP] = OP(NOOP, 0, 0),
	[BIN_VERSION] = OP(VERSION, 0, 0),
	[BIN_QUIT] = OP(QUIT, 0, 0),
	[BIN_QUITQ] = OP(QUIT, 0, OP_QUIET_DONE),
	[BIN_SASL_LIST] = {AUTH_SASL_LIST, 0, OP_KNOWN | OP_AUTH},
	[BIN_SASL_AUTH] = {AUTH_SASL_BEGIN, 0, OP_KNOWN | OP_AUTH | OP_STORE},
	[BIN_SASL_STEP] = {AUTH_SASL_STEP, 0, OP_KNOWN | OP_AUTH | OP_STORE},
};

/* ---- packets to commands ---------------------------------------------------- */

struct packet {
	uint8_t opcode;
	size_t extras_len, key_len, body_len;
	uint32_t opaque;
	uint64_t cas;
};

static struct packet read_header(const uint8_t *p)
{
	return (struct packet){
		.opcode = p[1],
		.key_len = load_be16(p + 2),
		.extras_len = p[4],
		.body_len = load_be32(p + 8),
		.opaque = load_be32(p + 12),
		.cas = load_be64(p + 16),
	};
}

static size_t value_len_of(const struct packet *packet)
{
	return packet->body_len - packet->extras_len - packet->key_len;
}

/* After this nobody can tell where the next packet begins, or whether the other
 * side means what it says. */
static struct parse_result bad_and_close(enum reply_status error)
{
	return (struct parse_result){PARSE_BAD, error, PROTO_BIN_HEADER_BYTES, 0, true};
}

static bool shape_is_right(const struct op *op, const struct packet *packet)
{
	bool extras = packet->extras_len == op->extras_len ||
		      (packet->extras_len == 0 && (op->flags & OP_EXTRAS_MAY));
	bool key = packet->key_len > 0 ? (op->flags & (OP_KEY | OP_KEY_MAY)) && packet->key_len <= KEY_BYTES_MAX
				       : !(op->flags & OP_KEY);
	bool value = value_len_of(packet) == 0 || (op->flags & OP_VALUE);

	if ((op->flags & OP_AUTH) && value_len_of(packet) > PROTO_BIN_AUTH_BYTES_MAX)
		return false;
	return extras && key && value;
}

/* flags and expiry; a CAS unique turns all three verbs into compare and store. */
static void decode_store(struct command *out, const struct packet *packet, const uint8_t *extras)
{
	out->flags = load_be32(extras);
	out->exptime = load_be32(extras + 4);
	out->has_exptime = true;
	if (packet->cas == 0)
		return;
	out->id = CMD_CAS;
	out->number = packet->cas;
}

static void decode_delta(struct command *out, const struct packet *packet, const uint8_t *extras)
{
	uint32_t exptime = load_be32(extras + 16);

	out->number = load_be64(extras);
	out->initial = load_be64(extras + 8);
	out->exptime = exptime;
	out->creates = exptime != PROTO_BIN_NOT_CREATED;
	out->compare = packet->cas;
}

/* The lists of statistics there are; of those with arguments only these. */
static bool is_known_list(const uint8_t *name, size_t len)
{
	static const char *const names[] = {
		"reset", "settings", "items", "slabs", "sizes", "conns", "replication",
		"detail on", "detail off", "detail dump",
	};
	const struct word word = {name, len};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (word_is(&word, names[i]))
			return true;
	}
	return len == 0;
}

static void decode_extras(struct command *out, const struct packet *packet, const uint8_t *extras)
{
	switch (out->id) {
	case CMD_SET:
	case CMD_ADD:
	case CMD_REPLACE:
		decode_store(out, packet, extras);
		break;
	case CMD_INCR:
	case CMD_DECR:
		decode_delta(out, packet, extras);
		break;
	case CMD_GATS:
	case CMD_FLUSH_ALL:
		out->has_exptime = packet->extras_len > 0;
		out->exptime = out->has_exptime ? load_be32(extras) : 0;
		break;
	case CMD_DELETE:
	case CMD_APPEND:
	case CMD_PREPEND:
		out->compare = packet->cas;
		break;
	default: /* no extras, and a CAS unique means nothing */
		break;
	}
}

/* The key is a mechanism; the value is what it is told. */
static struct parse_result decode_auth(struct command *out, const struct op *op, const struct packet *packet,
				       const uint8_t *body)
{
	const uint8_t *value = body + packet->key_len;

	out->auth = (enum auth_message)op->command;
	out->key = (struct key){.data = body, .len = (uint32_t)packet->key_len};
	out->words = (struct word_list){value, body + packet->body_len};
	return (struct parse_result){.status = PARSE_AUTH, .consumed = PROTO_BIN_HEADER_BYTES + packet->body_len};
}

/* Whether the text protocols can say this key as it is. */
static bool is_text_key(const uint8_t *key, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (key[i] <= ' ' || key[i] == 0x7f)
			return false;
	}
	return true;
}

static struct parse_result decode_body(struct command *out, const struct op *op, const struct packet *packet,
				       const uint8_t *body)
{
	const uint8_t *key = body + packet->extras_len;
	struct parse_result result = {.status = PARSE_OK};

	decode_extras(out, packet, body);
	result.consumed = PROTO_BIN_HEADER_BYTES + packet->extras_len + packet->key_len;
	out->words = (struct word_list){key + packet->key_len, key + packet->key_len};
	if (out->id == CMD_STATS) {
		out->words.at = key;
		if (!is_known_list(key, packet->key_len)) {
			result.status = PARSE_BAD;
			result.error = REPLY_NOT_FOUND;
		}
		return result;
	}
	out->key = (struct key){.data = key, .len = (uint32_t)packet->key_len};
	out->marks = is_text_key(key, packet->key_len) ? 0 : ITEM_BINKEY;
	if (op->flags & OP_VALUE) {
		out->value_len = value_len_of(packet);
		out->body_bare = true;
	}
	return result;
}

struct parse_result proto_bin_parse(const uint8_t *in, size_t len, struct command *out)
{
	if (len > 0 && in[0] != PROTO_BIN_REQUEST)
		return (struct parse_result){.status = PARSE_FATAL};
	if (len < PROTO_BIN_HEADER_BYTES)
		return (struct parse_result){.status = PARSE_MORE};
	struct packet packet = read_header(in);
	const struct op *op = &ops[packet.opcode];
	bool known = (op->flags & (OP_KNOWN | OP_AUTH)) == OP_KNOWN;
	command_init(out, known ? (enum command_id)op->command : CMD_NONE, &proto_bin_format);
	out->quiet = op->flags & (OP_QUIET_MISS | OP_QUIET_DONE);
	out->with_cas = true;
	out->opcode = packet.opcode;
	out->opaque = packet.opaque;
	if (packet.extras_len + packet.key_len > packet.body_len)
		return bad_and_close(REPLY_UNKNOWN);
	if (packet.body_len > PROTO_BIN_BODY_BYTES_MAX)
		return bad_and_close(REPLY_BAD_FORMAT);
	if (!(op->flags & OP_KNOWN))
		return (struct parse_result){PARSE_BAD, REPLY_UNKNOWN, PROTO_BIN_HEADER_BYTES,
					     packet.body_len, false};
	if (!shape_is_right(op, &packet))
		return bad_and_close(REPLY_BAD_FORMAT);
	bool auth = op->flags & OP_AUTH;
	size_t head_len = PROTO_BIN_HEADER_BYTES + packet.body_len - (auth ? 0 : value_len_of(&packet));
	if (len < head_len) /* [B2] */
		return (struct parse_result){.status = PARSE_MORE};
	return auth ? decode_auth(out, op, &packet, in + PROTO_BIN_HEADER_BYTES)
		    : decode_body(out, op, &packet, in + PROTO_BIN_HEADER_BYTES);
}

/* ---- replies to packets ----------------------------------------------------- */

static uint8_t *put(uint8_t *p, const void *data, size_t len)
{
	if (len > 0)
		memcpy(p, data, len);
	return p + len;
}

struct head {
	enum bin_status status;
	size_t extras_len, key_len, value_len;
	uint64_t cas;
};

static uint8_t *put_head(uint8_t *p, const struct command *cmd, const struct head *head)
{
	size_t body_len = head->extras_len + head->key_len + head->value_len;

	assert(head->key_len <= UINT16_MAX && body_len <= UINT32_MAX);
	p[0] = PROTO_BIN_RESPONSE;
	p[1] = cmd->opcode;
	store_be16(p + 2, (uint16_t)head->key_len);
	p[4] = (uint8_t)head->extras_len;
	p[5] = 0;
	store_be16(p + 6, (uint16_t)head->status);
	store_be32(p + 8, (uint32_t)body_len);
	store_be32(p + 12, cmd->opaque);
	store_be64(p + 16, head->cas);
	return p + PROTO_BIN_HEADER_BYTES;
}

/* A whole packet without extras; either part may be empty. */
static bool print_packet(struct reply *reply, struct head head, const void *key, const void *value)
{
	uint8_t *start = output_room(reply->out, PROTO_BIN_HEADER_BYTES + head.key_len + head.value_len);

	if (!start)
		return false;
	uint8_t *p = put_head(start, reply->command, &head);
	p = put(put(p, key, head.key_len), value, head.value_len);
	output_commit(reply->out, (size_t)(p - start));
	return true;
}

/* Everything of a hit before its value. */
static uint8_t *put_value_head(uint8_t *p, const struct reply *reply, const struct reply_value *value,
			       const struct head *head)
{
	p = put_head(p, reply->command, head);
	store_be32(p, item_flags(value->item));
	return put(p + FLAGS_BYTES, value->key->data, head->key_len);
}

static bool print_value(struct reply *reply, const struct reply_value *value)
{
	unsigned flags = ops[reply->command->opcode].flags;
	const uint8_t *data = item_value(value->item);
	struct output_mark mark = output_mark(reply->out);
	struct head head = {
		.extras_len = FLAGS_BYTES,
		.key_len = flags & OP_SHOW_KEY ? value->key->len : 0,
		.value_len = flags & OP_HIDE_VALUE ? 0 : item_value_len(value->item),
		.cas = value->cas,
	};
	bool copied = head.value_len == 0 || (data && head.value_len <= OUTPUT_COPY_BYTES_MAX);
	size_t room = PROTO_BIN_HEADER_BYTES + FLAGS_BYTES + head.key_len + (copied ? head.value_len : 0);
	uint8_t *start = output_room(reply->out, room);

	if (!start)
		return false;
	uint8_t *p = put_value_head(start, reply, value, &head);
	if (copied)
		p = put(p, data, head.value_len);
	output_commit(reply->out, (size_t)(p - start));
	if (copied || output_put_value(reply->out, value->item))
		return true;
	output_rollback(reply->out, &mark);
	return false;
}

static bool print_pair(struct reply *reply, const char *name, const char *value)
{
	struct head head = {.key_len = strlen(name), .value_len = strlen(value)};

	return print_packet(reply, head, name, value);
}

static bool print_row(struct reply *reply, const char *what, const struct word *key, const char *value)
{
	struct head head = {.key_len = key->len, .value_len = strlen(value)};

	(void)what; /* a client knows what it asked for */
	return print_packet(reply, head, key->data, value);
}

static enum bin_status status_of_not_stored(enum command_id id)
{
	if (id == CMD_ADD)
		return BIN_EXISTS;
	return id == CMD_REPLACE ? BIN_NOT_FOUND : BIN_NOT_STORED;
}

/* What is not listed is a refusal that this protocol has no code for. */
static enum bin_status status_of(const struct reply *reply)
{
	static const struct {
		bool listed;
		uint8_t status;
	} known[REPLY_STATUS_COUNT] = {
		[REPLY_NONE] = {true, BIN_OK},
		[REPLY_STORED] = {true, BIN_OK},
		[REPLY_DELETED] = {true, BIN_OK},
		[REPLY_OK] = {true, BIN_OK},
		[REPLY_END] = {true, BIN_OK},
		[REPLY_RESET] = {true, BIN_OK},
		[REPLY_NOOP] = {true, BIN_OK},
		[REPLY_NUMBER] = {true, BIN_OK},
		[REPLY_VERSION] = {true, BIN_OK},
		[REPLY_EXISTS] = {true, BIN_EXISTS},
		[REPLY_NOT_FOUND] = {true, BIN_NOT_FOUND},
		[REPLY_UNKNOWN] = {true, BIN_UNKNOWN},
		[REPLY_NON_NUMERIC] = {true, BIN_NON_NUMERIC},
		[REPLY_FLUSH_REFUSED] = {true, BIN_AUTH_FAILURE},
		[REPLY_TOO_LARGE] = {true, BIN_TOO_LARGE},
		[REPLY_NO_MEMORY_STORING] = {true, BIN_NO_MEMORY},
		[REPLY_NO_MEMORY] = {true, BIN_NO_MEMORY},
		[REPLY_NO_MEMORY_WRITING] = {true, BIN_NO_MEMORY},
		[REPLY_AUTH_LIST] = {true, BIN_OK},
		[REPLY_AUTHENTICATED] = {true, BIN_OK},
		[REPLY_AUTH_CONTINUE] = {true, BIN_AUTH_CONTINUE},
		[REPLY_AUTH_FAILURE] = {true, BIN_AUTH_FAILURE},
	};

	if (reply->status == REPLY_NOT_STORED)
		return status_of_not_stored(reply->command->id);
	return known[reply->status].listed ? (enum bin_status)known[reply->status].status : BIN_INVALID;
}

static const char *text_of(enum bin_status status)
{
	switch (status) {
	case BIN_OK:
	case BIN_AUTH_CONTINUE:
		return "";
	case BIN_NOT_FOUND:
		return "Not found";
	case BIN_EXISTS:
		return "Data exists for key.";
	case BIN_TOO_LARGE:
		return "Too large.";
	case BIN_INVALID:
		return "Invalid arguments";
	case BIN_NOT_STORED:
		return "Not stored.";
	case BIN_NON_NUMERIC:
		return "Non-numeric server-side value for incr or decr";
	case BIN_AUTH_FAILURE:
		return "Auth failure.";
	case BIN_UNKNOWN:
		return "Unknown command";
	case BIN_NO_MEMORY:
		return "Out of memory";
	}
	assert(false);
	return "";
}

/* A miss that names its key says nothing else. */
static bool print_other(struct reply *reply, enum bin_status status)
{
	const struct command *cmd = reply->command;
	const char *text = text_of(status);
	struct head head = {.status = status};

	if (status == BIN_NOT_FOUND && (ops[cmd->opcode].flags & OP_SHOW_KEY)) {
		head.key_len = cmd->key.len;
		return print_packet(reply, head, cmd->key.data, NULL);
	}
	if (status == BIN_AUTH_CONTINUE) {
		head.value_len = reply->data_len;
		return print_packet(reply, head, NULL, reply->data);
	}
	head.value_len = strlen(text);
	return print_packet(reply, head, NULL, text);
}

static bool print_success(struct reply *reply)
{
	struct head head = {.status = BIN_OK, .cas = reply->cas};
	static const char authenticated[] = "Authenticated";
	uint8_t number[sizeof(uint64_t)];

	switch (reply->status) {
	case REPLY_NUMBER:
		store_be64(number, reply->number);
		head.value_len = sizeof(number);
		return print_packet(reply, head, NULL, number);
	case REPLY_VERSION:
		head.value_len = strlen(reply->text);
		return print_packet(reply, head, NULL, reply->text);
	case REPLY_AUTHENTICATED:
		head.value_len = strlen(authenticated);
		return print_packet(reply, head, NULL, authenticated);
	case REPLY_AUTH_LIST:
		head.value_len = reply->data_len;
		return print_packet(reply, head, NULL, reply->data);
	default:
		return print_packet(reply, head, NULL, NULL);
	}
}

static bool is_retrieval(const struct command *cmd)
{
	return cmd->id == CMD_GETS || cmd->id == CMD_GATS;
}

static bool print_status(struct reply *reply)
{
	const struct command *cmd = reply->command;
	unsigned flags = ops[cmd->opcode].flags;
	enum bin_status status = status_of(reply);

	if (is_retrieval(cmd) && reply->status == REPLY_END) {
		if (reply->hits > 0)
			return true; /* the hit has said it all */
		status = BIN_NOT_FOUND;
	}
	if ((status == BIN_OK && (flags & OP_QUIET_DONE)) || (status == BIN_NOT_FOUND && (flags & OP_QUIET_MISS)))
		return true;
	return status == BIN_OK ? print_success(reply) : print_other(reply, status);
}

const struct reply_format proto_bin_format = {
	.value = print_value,
	.pair = print_pair,
	.row = print_row,
	.status = print_status,
};
