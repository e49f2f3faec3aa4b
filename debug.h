/*
 * debug.h - what the debug commands do: a clock that can be moved, held items.
 *
 * Owns: how far the clock that the node shows is from the one the shell reads;
 * which items are pinned for whom. There is one only in memcached-debug.
 *
 * The node has two instants then: `shown`, which storage, commands and statistics
 * go by, and `link`, which replication goes by. Wall time is the moved one in both:
 * it is what expiry and versions mean. Monotonic time on the link stays what the
 * shell reads, so that a moved or stopped clock is no silence of the peer.
 *
 * Must not know: commands, sockets, what reads the clock.
 *
 * Invariants
 *  [Y1] shown monotonic time never goes back
 *
 * Layer 3. Covered by: t/test_debug.c, t/debug.t.
 */
#ifndef DEBUG_H
#define DEBUG_H

#include "compat.h"
#include "clock.h"
#include "items.h"

#define DEBUG_PINS_MAX 64

enum debug_pin_kind {
	DEBUG_PIN_LOCK, /* one per key, whoever asks */
	DEBUG_PIN_REF
};

struct debug_pin {
	enum debug_pin_kind kind;
	struct item *item;
	int64_t conn; /* whose reference it is */
	uint32_t key_len;
	uint8_t key[KEY_BYTES_MAX];
};

struct debug {
	struct now real;         /* as the shell reads it; stands still while paused */
	struct now *shown, *link;
	int64_t ahead_wall_ms, ahead_mono_ms;
	int64_t real_mono_ms;    /* not standing still */
	bool paused;
	int pin_count;
	struct debug_pin pins[DEBUG_PINS_MAX]; /* oldest first */
};

/* shown and link are borrowed, and written from now on. */
void debug_init(struct debug *d, struct now *shown, struct now *link, const struct now *real);
void debug_release(struct debug *d, struct items *items);

/* The shell has read the clock. */
void debug_set_now(struct debug *d, const struct now *real);
void debug_pause(struct debug *d);
void debug_resume(struct debug *d);
/* Forwards both clocks go; back only wall time can. */
void debug_move(struct debug *d, int64_t seconds);
/* When the shell's clock will be where the shown one is to be; INT64_MAX: never, as
 * long as nobody moves it. */
int64_t debug_real_ms(const struct debug *d, int64_t shown_ms);

/* False: too many, or no memory. */
bool debug_pin(struct debug *d, struct items *items, const struct key *key, struct item *item,
               enum debug_pin_kind kind, int64_t conn);
/* The newest of a kind that is of this key, or, without one, of this connection. */
bool debug_unpin(struct debug *d, struct items *items, enum debug_pin_kind kind, const struct key *key,
                 int64_t conn);

#endif
