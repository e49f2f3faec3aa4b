/*
 * session_limits.c - what all sessions of a node may hold together. See
 * session_limits.h.
 *
 * Owns, must not know: the same.
 *
 * Covered by: t/test_session_limits.c, t/limits.t.
 */
#include "compat.h"
#include "session_limits.h"

void limits_init(struct session_limits *l, size_t memory_bytes_max)
{
	*l = (struct session_limits){.upload_bytes_max = memory_bytes_max / LIMITS_UPLOAD_SHARE};
	l->uploads.next = l->uploads.prev = &l->uploads;
}

bool limits_allow_input(const struct session_limits *l, size_t len, size_t more)
{
	return len + more <= LIMITS_INPUT_FREE_BYTES || l->input_bytes + more <= LIMITS_INPUT_BYTES_MAX;
}

void limits_set_input(struct session_limits *l, struct limits_entry *e, size_t bytes)
{
	assert(l->input_bytes >= e->input_bytes);
	l->input_bytes = l->input_bytes - e->input_bytes + bytes;
	e->input_bytes = bytes;
}

static void take_out(struct limits_entry *e)
{
	e->next->prev = e->prev;
	e->prev->next = e->next;
	e->next = e->prev = NULL;
}

static void append(struct session_limits *l, struct limits_entry *e)
{
	e->prev = l->uploads.prev;
	e->next = &l->uploads;
	e->prev->next = e;
	l->uploads.prev = e;
}

void limits_upload_at(struct session_limits *l, struct limits_entry *e, size_t bytes, size_t got,
                      int64_t now_ms)
{
	bool is_new = !e->next;

	assert(l->upload_bytes >= e->upload_bytes);
	l->upload_bytes = l->upload_bytes - e->upload_bytes + bytes;
	e->upload_bytes = bytes;
	if (!is_new && got - e->got < LIMITS_PROGRESS_BYTES)
		return;
	if (!is_new)
		take_out(e);
	append(l, e);
	e->got = got;
	e->progress_ms = now_ms;
}

void limits_upload_end(struct session_limits *l, struct limits_entry *e)
{
	if (!e->next)
		return;
	assert(l->upload_bytes >= e->upload_bytes);
	l->upload_bytes -= e->upload_bytes;
	e->upload_bytes = 0;
	take_out(e);
}

void limits_drop_stalled(struct session_limits *l, void (*drop)(struct limits_entry *e), int64_t now_ms)
{
	while (l->upload_bytes > l->upload_bytes_max) {
		struct limits_entry *oldest = l->uploads.next;
		if (oldest == &l->uploads || now_ms - oldest->progress_ms < LIMITS_HALT_MS)
			return;
		drop(oldest);
		assert(oldest != l->uploads.next);
	}
}
