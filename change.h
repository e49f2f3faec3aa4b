/*
 * change.h - what happened to cached data: the one seam (rule R3).
 *
 * Every visible change to a key ends in items_emit(), which builds one struct
 * change and calls the observer that the node wired in. Replication is such an
 * observer; command code has never heard of it.
 *
 * The observer's contract
 *  - called once per change, after it is visible, before the reply is queued;
 *  - returns nothing: it cannot veto or fail a client's write;
 *  - must not call a mutator of items (asserted by items' in_emit flag);
 *  - O(1) work plus at most one copy of the value;
 *  - pointers in the change are valid during the call only.
 *
 * Layer 1. Covered by: t/test_shadow.c, the simulator.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include "compat.h"

struct item;

/* Who wanted it. Replication decides by a table what it ships. */
enum cause {
	CAUSE_CLIENT,  /* a client's command: an own change */
	CAUSE_PEER,    /* applied from the link */
	CAUSE_SWEEP,   /* dropped because the peer's SWEEP did not confirm it */
	CAUSE_EVICT,   /* memory */
	CAUSE_EXPIRE,  /* reclaimed after its time, or a delayed flush that fires */
	CAUSE_FLUSHED, /* reclaimed below the flush barrier */
	CAUSE_ADMIN,   /* operator */
	CAUSE_COUNT
};

enum change_kind {
	CHANGE_STATE,  /* a new version of a key is visible: `after` */
	CHANGE_TOUCH,  /* same version, other expiry: `after` */
	CHANGE_REMOVE, /* the key is gone: order is the removal's, `before` the old item or NULL */
	CHANGE_FLUSH   /* flush state changed */
};

/* The order of two states of one key (replication contract section 3). */
struct state_order {
	uint64_t version;
	uint8_t touches;
	uint32_t exptime; /* Unix seconds; 0 = never, which counts as the largest */
};

/* <0, 0, >0 as a is older than, equal to, newer than b. */
static inline int state_order_cmp(const struct state_order *a, const struct state_order *b)
{
	if (a->version != b->version)
		return a->version < b->version ? -1 : 1;
	if (a->touches != b->touches)
		return a->touches < b->touches ? -1 : 1;
	uint32_t ea = a->exptime ? a->exptime : UINT32_MAX;
	uint32_t eb = b->exptime ? b->exptime : UINT32_MAX;
	return ea == eb ? 0 : ea < eb ? -1 : 1;
}

/* The flush state of a node, merged component by component (section 3). */
struct flush_state {
	uint64_t barrier; /* a state whose version is not above it does not exist */
	uint64_t command; /* version of the newest flush command */
	int64_t when_ms;  /* Unix ms at which that command fires; 0 = nothing pending */
};

/* A key with its hash, made once per command by items_key(). */
struct key {
	const uint8_t *data;
	uint32_t len;
	uint64_t hash;
};

struct change {
	uint64_t seq; /* 1, 2, 3, ... per node */
	enum change_kind kind;
	enum cause cause;
	struct key key;              /* empty for CHANGE_FLUSH */
	struct state_order order;    /* of the new state or of the removal */
	const struct item *after;    /* NULL for REMOVE and FLUSH */
	const struct item *before;   /* REMOVE: what was removed, or NULL */
	uint64_t own_version;        /* version drawn for this change by this node, 0 if none
	                              * (for an own TOUCH: the instant of the touch, which
	                              * is above `order.version`) */
	const struct flush_state *flush; /* FLUSH only */
};

typedef void change_observer(void *ctx, const struct change *change);

#endif
