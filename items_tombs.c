/*
 * items_tombs.c - which removals leave a tombstone, and until when.
 *
 * Owns: what "settled" means. A state of our own that the peer has not
 * acknowledged, or whose expiry we changed and that has not been acknowledged,
 * is unsettled: when it is dropped, a tombstone takes its place in the index,
 * else the peer would go on serving something older.
 *
 * Touched bits are not cleared one by one when the peer acknowledges. A page's
 * note has the version of the last touch in it; bits in pages whose last touch
 * is settled do not count, and the sweep clears them.
 *
 * Must not know: the link; what happens to a lost tombstone.
 *
 * Covered by: t/test_items.c, t/test_shadow.c.
 */
#include "compat.h"
#include "items_internal.h"

#define SETTLE_PIECE 256 /* tombstones freed by one acknowledgement at once */

/* ---- unsettled states ---------------------------------------------------------------- */

uint64_t items_settled(const struct items *it)
{
	return it->policy.settled;
}

bool items_touched_above(const struct items *it, const struct item *i, uint64_t cut)
{
	return !item_is_tomb(i) && (i->bits & ITEM_TOUCHED) && item_note(it, i)->touched > cut;
}

bool items_is_unsettled(const struct items *it, const struct item *i)
{
	if (item_is_tomb(i))
		return item_tomb_stamp(i) > it->policy.settled;
	return ((i->bits & ITEM_OWN) && i->version > it->policy.settled) ||
	       items_touched_above(it, i, it->policy.settled);
}

/* ---- making and losing ------------------------------------------------------------------ */

struct tomb *items_tomb_make(struct items *it, const struct key *key,
                             const struct state_order *order, uint64_t stamp)
{
	if (unlikely(it->misc.fail_after > 0) && items_alloc_refused(it))
		return NULL;
	return tombs_add(&it->tombs, key, order, stamp);
}

/* Whether a tombstone still hides anything from anybody. */
static bool tomb_matters(const struct items *it, const struct tomb *tomb)
{
	return tomb->stamp > it->policy.settled && tomb->item.version > it->flush.barrier;
}

static void tell_lost(struct items *it, const struct tomb *tomb)
{
	it->counters.tombs_lost++;
	if (it->policy.lost)
		it->policy.lost(it->policy.ctx, &tomb->item);
}

static void drop_tomb(struct items *it, struct tomb *tomb)
{
	struct key key = item_as_key(it, &tomb->item);
	assoc_delete(&it->assoc, key.hash, tombs_handle(tomb));
	tombs_remove(&it->tombs, tomb);
}

void items_tombs_trim(struct items *it)
{
	while (it->tombs.bytes > it->tombs.bytes_max) {
		struct tomb *oldest = tombs_oldest(&it->tombs);
		if (tomb_matters(it, oldest))
			tell_lost(it, oldest);
		drop_tomb(it, oldest);
	}
}

void items_tomb_unkept(struct items *it, const struct key *key, const struct state_order *order,
                       uint64_t stamp)
{
	union {
		struct tomb tomb;
		uint8_t bytes[sizeof(struct tomb) + KEY_BYTES_MAX];
	} record;
	tombs_fill(&record.tomb, key, order, stamp);
	tell_lost(it, &record.tomb);
}

/* ---- settling ------------------------------------------------------------------------------ */

bool items_tombs_settle_due(const struct items *it)
{
	const struct tomb *oldest = tombs_oldest(&it->tombs);
	return oldest && !tomb_matters(it, oldest);
}

bool items_tombs_settle_some(struct items *it, size_t max)
{
	while (max-- > 0 && items_tombs_settle_due(it))
		drop_tomb(it, tombs_oldest(&it->tombs));
	return items_tombs_settle_due(it);
}

void items_settle(struct items *it, uint64_t acked_version)
{
	if (acked_version <= it->policy.settled)
		return;
	it->policy.settled = acked_version;
	items_tombs_settle_some(it, SETTLE_PIECE);
}

void items_unsettle(struct items *it)
{
	it->policy.settled = 0;
}

/* ---- for replication ------------------------------------------------------------------------ */

uint64_t item_tomb_stamp(const struct item *tomb)
{
	assert(item_is_tomb(tomb));
	return tombs_of_item(tomb)->stamp;
}

bool item_tomb_sent(const struct item *tomb)
{
	assert(item_is_tomb(tomb));
	return tombs_of_item(tomb)->sent;
}

void items_tomb_set_sent(struct items *it, const struct item *tomb, bool sent)
{
	(void)it;
	assert(item_is_tomb(tomb));
	((struct tomb *)(uintptr_t)tombs_of_item(tomb))->sent = sent;
}

void items_on_tomb_lost(struct items *it, void (*fn)(void *ctx, const struct item *tomb), void *ctx)
{
	it->policy.lost = fn;
	it->policy.ctx = ctx;
}

size_t items_tomb_count(const struct items *it)
{
	return it->tombs.count;
}

size_t items_tomb_bytes(const struct items *it)
{
	return it->tombs.bytes;
}
