/*
 * load_proto.h - what the load generator needs of a protocol.
 *
 * Owns: the seam between requests and bytes. encode() appends a request;
 * check() reads the next piece of a reply (a value, or the line that ends it)
 * and says whether it is what the request must get.
 *
 * Must not know: sockets, time.
 */
#ifndef LOAD_PROTO_H
#define LOAD_PROTO_H

#include "compat.h"
#include "load_request.h"

enum reply_status {
	REPLY_DONE,  /* the reply is complete */
	REPLY_PIECE, /* used some, there is more to come */
	REPLY_MORE,  /* cannot tell yet: more bytes are needed */
	REPLY_WRONG  /* not a possible reply; see checker.why */
};

struct value_seen {
	uint32_t key;
	uint32_t flags;
	uint64_t cas; /* 0 when not asked for */
	const char *data;
	size_t len;
};

struct checker {
	bool values;  /* compare the bytes of values, not only their lengths */
	bool order;   /* and their versions with what was written */
	void (*on_value)(void *ctx, const struct value_seen *v); /* may be NULL */
	void *ctx;
	char why[400];
};

struct proto {
	const char *name;
	bool ops[OP_KINDS]; /* what it can say */
	/* Room that encode() may need for a request of `keys` keys. */
	size_t (*bytes_max)(const struct request *r);
	/* Returns how many bytes it wrote. */
	size_t (*encode)(const struct request *r, char *out);
	/* *used is set for DONE and PIECE; *need (bytes in all, at least) for MORE. */
	enum reply_status (*check)(struct checker *c, struct request *r, const char *data,
	                           size_t len, size_t *used);
};

extern const struct proto proto_text;
extern const struct proto proto_meta;
extern const struct proto proto_resp;

/* A value has come for r->keys[i]: check it, note the hit, move the cursor. */
bool checker_take_value(struct checker *c, struct request *r, unsigned i,
                        const struct value_seen *v);
/* A counter has answered `value`. */
bool checker_take_number(struct checker *c, struct request *r, uint64_t value);
/* Explain and return REPLY_WRONG; data is what was found instead. */
enum reply_status checker_wrong(struct checker *c, const struct request *r, const char *what,
                                const char *data, size_t len);

#endif
