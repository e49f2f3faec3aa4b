/*
 * load_request.h - one request under way, and where requests come from.
 *
 * Owns: the kinds of operation; a request with its keys; the source that hands
 * out requests and hears of their ends.
 *
 * Must not know: protocols, sockets.
 */
#ifndef LOAD_REQUEST_H
#define LOAD_REQUEST_H

#include "compat.h"
#include "load_keys.h"

enum op_kind {
	OP_GET,
	OP_GETS,
	OP_GAT,
	OP_SET,
	OP_ADD,
	OP_REPLACE,
	OP_CAS, /* in a mix: a gets, then a cas with what it brought */
	OP_DELETE,
	OP_TOUCH,
	OP_INCR,
	OP_KINDS
};
extern const char *const op_names[OP_KINDS];

static inline bool op_is_read(enum op_kind kind)
{
	return kind <= OP_GAT;
}
static inline bool op_has_value(enum op_kind kind)
{
	return kind >= OP_SET && kind <= OP_CAS;
}
/* Operations that take a version of their key. */
static inline bool op_is_write(enum op_kind kind)
{
	return op_has_value(kind) || kind == OP_DELETE;
}

enum outcome {
	OUT_OK,
	OUT_MISS,       /* NOT_FOUND */
	OUT_NOT_STORED, /* add or replace: condition not met */
	OUT_EXISTS,     /* cas: somebody was faster */
	OUT_REFUSED,    /* SERVER_ERROR: no memory, too large */
	OUT_LOST,       /* UDP: no reply in time; nobody knows whether it took effect */
	OUTCOMES
};

#define WIDTH_MAX 1024 /* keys of one multi-get */

struct request_key {
	uint32_t key;
	uint32_t floor; /* of the key when the request was made */
	bool hit;
};

struct request {
	enum op_kind kind;
	enum outcome outcome;
	struct keyspace *space;
	struct request_key *keys; /* room for the run's width, given by the connection */
	unsigned key_count;
	unsigned key_next;  /* while a reply is read: the next that may come */
	unsigned hits;
	unsigned stage;     /* for the codec */
	uint32_t version;   /* of a write; the number of a counter */
	int32_t expiry;
	uint64_t cas;       /* to send, or as received by gets */
	uint64_t start_ns;  /* when it was sent, or was to be sent */
};

struct source {
	/* Make a request; false: there are no more. Keys, cursors and outcome are
	 * zero on entry; keys points to room for `width` of them. */
	bool (*next)(struct source *s, struct request *r);
	/* It was answered correctly, or lost. */
	void (*done)(struct source *s, const struct request *r);
};

/* Set up a request for one key, or add a key to it. */
static inline void request_add_key(struct request *r, uint32_t key)
{
	r->keys[r->key_count++] = (struct request_key){
	        .key = key,
	        .floor = r->space->state[key].floor,
	};
}

#endif
