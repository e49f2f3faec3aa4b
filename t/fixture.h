/*
 * fixture.h - an engine without a node, and a client that talks to sessions in
 * pieces of any size. Everything is deterministic: the clock stands still
 * unless a test moves it.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "compat.h"
#include <check.h>
#include "command.h"
#include "session.h"
#include "store.h"

/* Like ck_assert, which notes its place in a file at every call: too slow for
 * inner loops. */
#define MUST(cond)                                                                          \
	do {                                                                                \
		if (!(cond))                                                                \
			ck_abort_msg("%s", #cond);                                          \
	} while (0)

/* Where the test clock starts: 2025-06-15 and some. */
#define FIXTURE_WALL_MS INT64_C(1750000000000)
#define FIXTURE_WALL_S 1750000000

struct fixture {
	struct settings settings;
	struct now now;
	struct hlc hlc;
	struct items *items;
	struct stats stats;
	struct stats_class class_stats[SIZE_CLASSES_MAX];
	struct log log;
	struct node_env env;
	struct watch watch;
	struct stats_prefixes prefixes;
	struct engine engine;
	struct session_shared *shared;
	struct store store;
};

/* Settings only, to be changed before fixture_open(). */
void fixture_init(struct fixture *f);
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
void fixture_advance(struct fixture *f, int64_t ms);
struct key fixture_key(struct fixture *f, const char *text);

/* A growing string. */
struct text {
	char *data;
	size_t len, size;
};
void text_add(struct text *t, const void *data, size_t len);
void text_str(struct text *t, const char *s);
void text_free(struct text *t);
/* Bytes made printable, for messages; the result is static. */
const char *text_show(const char *data, size_t len);

/* How bytes travel between a client and its session. */
struct pace {
	size_t in_max;   /* bytes of one receive, 0 = all */
	size_t split;    /* a first receive of this many, 0 = none */
	size_t out_max;  /* bytes one send takes, 0 = all */
	bool lazy;       /* do not read replies before the session stops for them */
	bool straight;   /* receive bodies through session_body_iov() when offered */
};

struct client {
	struct session *session;
	struct pace pace;
	struct text out;
	bool closed;
	size_t waiting_max; /* the most output that waited after an input */
};

void client_open(struct client *c, struct fixture *f, const struct pace *pace);
void client_close(struct client *c);
/* Send, and take what is answered. */
void client_send(struct client *c, const void *data, size_t len);
/* Give the session turns and take its output until it wants input. */
void client_drain(struct client *c);
/* One fresh conversation: input in, replies compared. */
void client_expect(struct client *c, const char *input, const char *reply);

#endif
