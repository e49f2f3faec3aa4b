/*
 * sim_speech.h - one command in another protocol, and its answer in text again.
 * See sim_speech.c.
 */
#ifndef SIM_SPEECH_H
#define SIM_SPEECH_H

#include "compat.h"
#include "sim.h"

enum tongue {
	TONGUE_TEXT, /* as it stands */
	TONGUE_META,
	TONGUE_BINARY
};

struct speech {
	enum tongue tongue;
	const struct speech_verb *verb;
	bool quiet;  /* a no-op is behind it */
	bool base64; /* meta: the key */
	bool wants_key, wants_opaque; /* meta: k, O */
	bool stale_if_older;          /* meta: I of ms */
	uint8_t opcode;               /* binary; of cas any of three */
	uint32_t opaque;
	/* what the text said */
	char key[KEY_BYTES_MAX + 1];
	int64_t exptime;
	bool has_exptime;
	uint32_t flags;
	uint64_t number; /* CAS unique, delta */
	const uint8_t *value; /* borrowed from the text */
	size_t value_len;
	/* what the answer said besides */
	uint64_t told_cas; /* of what was stored; 0: nothing */
};

/* Choose how the text of one command is said; `choice` is random. The text must
 * live as long as the speech does. */
void speech_choose(struct speech *sp, const uint8_t *text, size_t len, uint64_t choice);
/* The command as it is said: the caller frees it. Not for TONGUE_TEXT. */
uint8_t *speech_say(const struct speech *sp, size_t *len);
/* The whole answer as the text protocol would have given it, which the caller
 * frees; NULL: it is none, or not of this command. */
uint8_t *speech_understand(struct speech *sp, const uint8_t *data, size_t len, size_t *text_len);
const char *speech_name(const struct speech *sp);
/* Coverage: what of the protocols was used. */
void speech_cover(struct sim *s, const struct speech *sp);

#endif
