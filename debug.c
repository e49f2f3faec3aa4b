/*
 * debug.c - a clock that can be moved, held items. See debug.h.
 *
 * Owns: the arithmetic between the two clocks, the list of pins.
 *
 * Must not know: commands, sockets, what reads the clock.
 *
 * Invariants: [Y1] of debug.h. Covered by: t/test_debug.c.
 */
#include "compat.h"
#include "debug.h"

/* ---- the clock -------------------------------------------------------------- */

static void show(struct debug *d)
{
	int64_t mono_ms = d->real.mono_ms + d->ahead_mono_ms;

	assert(mono_ms >= d->shown->mono_ms); /* [Y1] */
	d->shown->mono_ms = mono_ms;
	d->shown->wall_ms = d->real.wall_ms + d->ahead_wall_ms;
	d->link->mono_ms = d->real_mono_ms;
	d->link->wall_ms = d->shown->wall_ms;
}

void debug_init(struct debug *d, struct now *shown, struct now *link, const struct now *real)
{
	*d = (struct debug){.real = *real, .real_mono_ms = real->mono_ms, .shown = shown, .link = link};
	*shown = *link = *real;
}

void debug_set_now(struct debug *d, const struct now *real)
{
	d->real_mono_ms = real->mono_ms;
	if (!d->paused)
		d->real = *real;
	show(d);
}

void debug_pause(struct debug *d)
{
	d->paused = true;
}

/* What passed meanwhile is caught up with when the shell next reads the clock. */
void debug_resume(struct debug *d)
{
	d->paused = false;
}

void debug_move(struct debug *d, int64_t seconds)
{
	d->ahead_wall_ms += seconds * 1000;
	d->ahead_mono_ms += seconds > 0 ? seconds * 1000 : 0;
	show(d);
}

int64_t debug_real_ms(const struct debug *d, int64_t shown_ms)
{
	if (shown_ms == INT64_MAX)
		return INT64_MAX;
	if (shown_ms <= d->shown->mono_ms)
		return d->real_mono_ms;
	return d->paused ? INT64_MAX : d->real_mono_ms + (shown_ms - d->shown->mono_ms);
}

/* ---- held items ------------------------------------------------------------- */

bool debug_pin(struct debug *d, struct items *items, const struct key *key, struct item *item,
	       enum debug_pin_kind kind, int64_t conn)
{
	if (d->pin_count == DEBUG_PINS_MAX || !items_pin(items, item))
		return false;
	struct debug_pin *pin = &d->pins[d->pin_count++];
	*pin = (struct debug_pin){.kind = kind, .item = item, .conn = conn, .key_len = key->len};
	memcpy(pin->key, key->data, key->len);
	return true;
}

static bool is_meant(const struct debug_pin *pin, enum debug_pin_kind kind, const struct key *key,
		     int64_t conn)
{
	if (pin->kind != kind)
		return false;
	if (!key)
		return pin->conn == conn;
	return pin->key_len == key->len && memcmp(pin->key, key->data, key->len) == 0;
}

bool debug_unpin(struct debug *d, struct items *items, enum debug_pin_kind kind, const struct key *key,
		 int64_t conn)
{
	for (int i = d->pin_count; i-- > 0;) {
		struct debug_pin *pin = &d->pins[i];
		if (!is_meant(pin, kind, key, conn))
			continue;
		items_unpin(items, pin->item);
		d->pin_count--;
		memmove(pin, pin + 1, (size_t)(d->pin_count - i) * sizeof(*pin));
		return true;
	}
	return false;
}

void debug_release(struct debug *d, struct items *items)
{
	while (d->pin_count > 0)
		items_unpin(items, d->pins[--d->pin_count].item);
}
