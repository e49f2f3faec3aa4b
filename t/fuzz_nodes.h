/*
 * fuzz_nodes.h - what the fuzz targets share: a script of bytes, whole nodes
 * without I/O, a client of one, and the cables between two.
 *
 * A failure aborts; the fuzzer keeps the input. Time is data, nothing sleeps.
 */
#ifndef FUZZ_NODES_H
#define FUZZ_NODES_H

#include "compat.h"
#include "node.h"

#define CHECK(condition, ...)                                                                                \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: " #condition ": ", __FILE__, __LINE__);                      \
			fprintf(stderr, __VA_ARGS__);                                                        \
			fputc('\n', stderr);                                                                 \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#define FUZZ_WALL_MS INT64_C(1750000000000)

/* ---- the input, taken byte by byte; zeroes after its end ------------------- */

struct script {
	const uint8_t *data;
	size_t len, at;
};
uint8_t take8(struct script *s);
uint32_t take16(struct script *s);
uint64_t take64(struct script *s);

/* ---- a node ------------------------------------------------------------------ */

struct server {
	struct settings settings;
	struct node_env env;
	struct log log;
	struct node *node;
	uint64_t connect_seq;
};

/* Settings of a small node, to be changed before server_start(). */
void server_init(struct server *s, size_t memory_bytes, size_t item_bytes_max);
void server_start(struct server *s, const struct now *now, uint8_t seed);
struct repl *repl_of(const struct server *s);
/* What the shell does once per turn of its loop. */
void server_turn(struct server *s, const struct now *now);
/* What a fresh client of it says, and the answer, cut to size. */
void server_client(struct server *s, const char *text, char *reply, size_t size);

/* ---- one connection between two of them; [0] has made it ------------------------ */

struct cable {
	struct repl_conn *end[2];
};
void cable_cut(struct cable *w, const char *reason);
/* Let ms pass, with all that can travel; cables[0] is a's connection to b. each
 * is called once per turn and node, NULL: not. */
void between(struct server *a, struct server *b, struct cable cables[2], struct now *now, int64_t ms,
	     void (*each)(const struct server *s, const struct now *now));

#endif
