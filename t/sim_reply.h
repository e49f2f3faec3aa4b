/*
 * sim_reply.h - replies of the text protocol, read back and judged.
 * See sim_reply.c.
 */
#ifndef SIM_REPLY_H
#define SIM_REPLY_H

#include "compat.h"
#include "sim.h"

enum reply_kind {
	REPLY_BAD, /* not a reply of this protocol */
	REPLY_STORED,
	REPLY_NOT_STORED,
	REPLY_EXISTS,
	REPLY_NOT_FOUND,
	REPLY_DELETED,
	REPLY_TOUCHED,
	REPLY_OK,
	REPLY_NUMBER,
	REPLY_HIT,  /* one VALUE and END */
	REPLY_MISS, /* END */
	REPLY_META_DONE, /* HD */
	REPLY_META_NONE, /* NF */
	REPLY_META_VALUE, /* VA */
	REPLY_REFUSED, /* to an operator: BUSY and its like */
	REPLY_SERVER_ERROR,
	REPLY_CLIENT_ERROR
};

struct reply {
	enum reply_kind kind;
	char line[400];
	uint64_t number;
	int key; /* HIT */
	uint32_t flags;
	bool has_cas;
	uint64_t cas;
	bool won, sent, stale; /* VA: W, Z, X */
	const uint8_t *value; /* into the buffer read from */
	size_t value_len;
};

/* One whole reply from the front; 0: not all of it is there yet. */
size_t reply_read(const uint8_t *data, size_t len, struct reply *r);
/* Whether an operation may be answered so at all. */
bool reply_allowed(int op_type, enum reply_kind kind);

/* What a node shows of a key. */
struct shown {
	bool visible, stale, token; /* token: W was given here */
	struct state_order order;
	uint32_t flags;
	uint8_t *value; /* a copy */
	size_t len;
};

/* A command that was executed alone, and what came of it. With noreply, `reply`
 * is what it would have been by the state shown after it. */
struct judged {
	int op_type;
	bool relaxed; /* memory may fail or evict what was there */
	bool dead;    /* its expiry lies in the past */
	uint32_t flags, exptime;
	const uint8_t *value;
	size_t value_len;
	uint64_t cas, delta, initial;
	bool stale_if_older; /* ms I: an older CAS unique stores a stale value */
	uint64_t told_cas;   /* the answer names the CAS unique of what it stored; 0: it does not */
	struct shown before, after;
	enum reply_kind reply;
	uint64_t number;
	const uint8_t *hit_value;
	size_t hit_len;
	uint32_t hit_flags;
	bool hit_has_cas, hit_won, hit_sent, hit_stale;
	uint64_t hit_cas;
};

/* NULL: legal, else what is wrong. */
const char *reply_judge(const struct judged *j);

#endif
