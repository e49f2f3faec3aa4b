/*
 * daemon_sasl.h - SASL by the Cyrus library (-S).
 *
 * Which mechanisms there are and where users are kept is that library's matter:
 * it reads memcached.conf in its own directories or in SASL_CONF_PATH. With
 * MEMCACHED_SASL_PWDB in the environment the users are in that file instead,
 * lines "user:password", and the only mechanism is PLAIN.
 *
 * Must not know: protocols, sessions.
 *
 * Layer 6. Covered by: t/auth.t.
 */
#ifndef DAEMON_SASL_H
#define DAEMON_SASL_H

#include "compat.h"
#include "auth.h"
#include "daemon.h"
#include "log.h"

struct daemon_sasl;

/* Start the library: one per process. NULL: error says why. log is borrowed. */
struct daemon_sasl *daemon_sasl_new(struct log *log, char error[DAEMON_ERROR_BYTES]);
/* After the last conversation. */
void daemon_sasl_free(struct daemon_sasl *d);
/* What sessions ask. */
const struct sasl_env *daemon_sasl_env(const struct daemon_sasl *d);

#endif
