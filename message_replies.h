/*
 * message_replies.h - every answer that a command can have.
 *
 * Owns: the list, from which come enum reply_status (message.h) and the lines of
 * the text protocol (proto_text.c). Other protocols say some of them otherwise.
 *
 * Layer 2. Covered by: t/test_session.c.
 */
#ifndef MESSAGE_REPLIES_H
#define MESSAGE_REPLIES_H

/* X(name, text line); an empty line is printed by other means or not at all. */
#define REPLIES(X)                                                                                           \
	X(NONE, "")                                                                                          \
	X(STORED, "STORED")                                                                                  \
	X(NOT_STORED, "NOT_STORED")                                                                          \
	X(EXISTS, "EXISTS")                                                                                  \
	X(NOT_FOUND, "NOT_FOUND")                                                                            \
	X(DELETED, "DELETED")                                                                                \
	X(TOUCHED, "TOUCHED")                                                                                \
	X(OK, "OK")                                                                                          \
	X(END, "END")                                                                                        \
	X(RESET, "RESET")                                                                                    \
	X(NOOP, "MN")                                                                                        \
	X(NUMBER, "")                                                                                        \
	X(VERSION, "VERSION ")                                                                               \
	X(UNKNOWN, "ERROR")                                                                                  \
	X(BAD_FORMAT, "CLIENT_ERROR bad command line format")                                                \
	X(BAD_DELETE, "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]")                \
	X(BAD_EXPTIME, "CLIENT_ERROR invalid exptime argument")                                              \
	X(BAD_DELTA, "CLIENT_ERROR invalid numeric delta argument")                                          \
	X(BAD_CHUNK, "CLIENT_ERROR bad data chunk")                                                          \
	X(NON_NUMERIC, "CLIENT_ERROR cannot increment or decrement non-numeric value")                       \
	X(FLUSH_REFUSED, "CLIENT_ERROR flush_all not allowed")                                               \
	X(WATCH_REFUSED, "CLIENT_ERROR watch commands not allowed")                                          \
	X(WATCH_PIPELINED, "ERROR cannot pipeline other commands before watch")                              \
	X(WATCH_TOO_MANY, "WATCHER_TOO_MANY log watcher limit reached")                                      \
	X(WATCH_FAILED, "WATCHER_FAILED failed to add log watcher")                                          \
	X(BAD_SHUTDOWN, "CLIENT_ERROR invalid shutdown mode")                                                \
	X(SHUTDOWN_REFUSED, "SERVER_ERROR: shutdown not enabled")                                            \
	X(TOO_LARGE, "SERVER_ERROR object too large for cache")                                              \
	X(NO_MEMORY_STORING, "SERVER_ERROR out of memory storing object")                                    \
	X(NO_MEMORY, "SERVER_ERROR out of memory")                                                           \
	X(NO_MEMORY_WRITING, "SERVER_ERROR out of memory writing get response")                              \
	REPLIES_AUTH(X)                                                                                      \
	REPLIES_META(X)                                                                                      \
	REPLIES_ADMIN(X)                                                                                     \
	REPLIES_STATS(X)                                                                                     \
	X(MISS, "MISS")

/* Of logins. */
#define REPLIES_AUTH(X)                                                                                      \
	X(UNAUTHENTICATED, "CLIENT_ERROR unauthenticated")                                                   \
	X(LOGIN_TOO_LONG, "CLIENT_ERROR auth token too long")                                                \
	X(LOGIN_BAD_END, "CLIENT_ERROR bad command line termination")                                        \
	X(LOGIN_BAD_FORM, "CLIENT_ERROR bad authentication token format")                                    \
	X(AUTH_FAILURE, "CLIENT_ERROR authentication failure")                                               \
	X(AUTH_LIST, "")                                                                                     \
	X(AUTH_CONTINUE, "")                                                                                 \
	X(AUTHENTICATED, "")

/* Of slabs, lru, lru_crawler and cache_memlimit. */
#define REPLIES_ADMIN(X)                                                                                     \
	X(REASSIGN_OFF, "CLIENT_ERROR slab reassignment disabled")                                           \
	X(REASSIGN_BUSY, "BUSY currently processing reassign request")                                       \
	X(REASSIGN_CLASS, "BADCLASS invalid src or dst class id")                                            \
	X(REASSIGN_NO_SPARE, "NOSPARE source class has no spare pages")                                      \
	X(REASSIGN_SAME, "SAME src and dst class are identical")                                             \
	X(BAD_WINDOW, "CLIENT_ERROR automove window too low or too high")                                    \
	X(LRU_SHARES, "ERROR hot and warm pcts must not exceed 80")                                          \
	X(LRU_AGES, "ERROR hot/warm age factors must be greater than 0")                                     \
	X(CRAWLER_RUNS, "ERROR failed to start lru crawler thread")                                          \
	X(CRAWLER_OFF, "CLIENT_ERROR lru crawler disabled")                                                  \
	X(CRAWLER_SLEEP, "CLIENT_ERROR sleep must be one second or less")                                    \
	X(CRAWL_BUSY, "BUSY currently processing crawler request")                                           \
	X(CRAWL_CLASS, "BADCLASS invalid class id")                                                          \
	X(CRAWL_HASH, "ERROR an unknown error happened")                                                     \
	X(METADUMP_REFUSED, "ERROR metadump not allowed")                                                    \
	X(METADUMP_LATE, "ERROR cannot pipeline other commands before metadump")                             \
	X(MGDUMP_REFUSED, "ERROR key dump not allowed")                                                      \
	X(MGDUMP_LATE, "ERROR cannot pipeline other commands before mgdump")                                 \
	X(MGDUMP_END, "EN")                                                                                  \
	X(MEMLIMIT_SMALL, "MEMLIMIT_TOO_SMALL cannot set maxbytes to less than 8m")                          \
	X(MEMLIMIT_BYTES, "MEMLIMIT_ADJUST_FAILED input value is megabytes not bytes")                       \
	X(MEMLIMIT_FAILED, "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")

/* Of mg, ms, md, ma. */
#define REPLIES_META(X)                                                                               \
	X(HIT, "HD")                                                                                         \
	X(META_WORDS, "CLIENT_ERROR options flags are too long")                                             \
	X(META_DUPLICATE, "CLIENT_ERROR duplicate flag")                                                     \
	X(META_INVALID, "CLIENT_ERROR invalid flag")                                                         \
	X(META_TOKEN, "CLIENT_ERROR bad token in command line format")                                       \
	X(META_INITIAL, "CLIENT_ERROR invalid numeric initial value")                                        \
	X(META_DELTA, "CLIENT_ERROR invalid numeric delta value")                                            \
	X(META_KEY, "CLIENT_ERROR error decoding key")                                                       \
	X(META_OPAQUE, "CLIENT_ERROR opaque token too long")                                                 \
	X(META_ANY, "CLIENT_ERROR invalid or duplicate flag")                                                \
	X(META_SET_MODE, "CLIENT_ERROR invalid mode for ms M token")                                         \
	X(META_COUNT_MODE, "CLIENT_ERROR invalid mode for ma M token")                                       \
	X(CAS_REFUSED, "CLIENT_ERROR CAS uniques cannot be chosen with replication on")                      \
	X(NO_MEMORY_NEW, "SERVER_ERROR Out of memory allocating new item")

/* Of stats. */
#define REPLIES_STATS(X)                                                                                     \
	X(DETAIL_REFUSED, "CLIENT_ERROR stats detail not allowed")                                           \
	X(DETAIL_USAGE, "CLIENT_ERROR usage: stats detail on|off|dump")                                      \
	X(CACHEDUMP_REFUSED, "CLIENT_ERROR stats cachedump not allowed")                                     \
	X(CACHEDUMP_SHORT, "CLIENT_ERROR bad command line")                                                  \
	X(CACHEDUMP_CLASS, "CLIENT_ERROR Illegal slab id")

#endif
