/*
 * daemon_sasl.c - SASL by the Cyrus library. See daemon_sasl.h.
 *
 * Owns: the calls of the library, its callbacks, and the password file that
 * stands in for its own ways to keep users. That file is read at every attempt:
 * it is small, and a change counts at once.
 *
 * Must not know: protocols, sessions.
 *
 * Covered by: t/auth.t.
 */
#include "compat.h"
#include "daemon_sasl.h"

#if WITH_SASL

#include "hmac.h"

#include <sasl/sasl.h>

#define SERVICE "memcached"
#define FILE_VARIABLE "MEMCACHED_SASL_PWDB"
/* A line of the file, with its end. */
#define FILE_LINE_BYTES_MAX (AUTH_LINE_BYTES_MAX + 3)
#define FILE_LINES_MAX 65536
#define CALLBACKS_MAX 4

struct daemon_sasl {
	struct log *log;
	char file[SETTINGS_PATH_MAX]; /* of passwords; "": the library keeps the users */
	sasl_callback_t callbacks[CALLBACKS_MAX];
	struct sasl_env env;
};

/* ---- the password file ---------------------------------------------------------- */

/* All lines are compared, so that an attempt takes the same time wherever the
 * user is. */
static bool file_has(FILE *file, const char *user, const char *password, size_t password_len)
{
	char text[FILE_LINE_BYTES_MAX];
	struct auth_table line;
	const char *wrong;
	size_t number;
	bool found = false;

	for (int n = 0; n < FILE_LINES_MAX && fgets(text, sizeof(text), file); n++) {
		size_t len = strcspn(text, "\r\n");
		if (auth_table_parse(&line, (const uint8_t *)text, len, &wrong, &number))
			found |= auth_table_has(&line, (const uint8_t *)user, strlen(user),
			                        (const uint8_t *)password, password_len);
		auth_table_wipe(&line);
	}
	hmac_wipe(text, sizeof(text));
	return found;
}

static int check_password(sasl_conn_t *conn, void *ctx, const char *user, const char *password,
                          unsigned password_len, struct propctx *properties)
{
	const struct daemon_sasl *d = ctx;
	FILE *file = fopen(d->file, "re");

	(void)conn, (void)properties;
	if (!file) {
		log_printf(d->log, LOG_ERROR, FILE_VARIABLE " %s cannot be read", d->file);
		return SASL_FAIL;
	}
	bool good = file_has(file, user, password, password_len);
	fclose(file);
	return good ? SASL_OK : SASL_BADAUTH;
}

/* ---- what the library asks ------------------------------------------------------ */

/* With the file: PLAIN alone, since no other mechanism shows us the password, and
 * nobody else to ask for it: a wrong one is not looked for elsewhere. */
static int get_option(void *ctx, const char *plugin, const char *option, const char **result, unsigned *len)
{
	const struct daemon_sasl *d = ctx;

	(void)plugin;
	if (d->file[0] && strcmp(option, "mech_list") == 0)
		*result = "plain";
	else if (d->file[0] && strcmp(option, "pwcheck_method") == 0)
		*result = "none";
	else
		return SASL_FAIL;
	if (len)
		*len = (unsigned)strlen(*result);
	return SASL_OK;
}

static int take_log(void *ctx, int level, const char *message)
{
	const struct daemon_sasl *d = ctx;

	if (message && level != SASL_LOG_PASS && level != SASL_LOG_NONE)
		log_printf(d->log, level <= SASL_LOG_ERR ? LOG_INFO : LOG_DEBUG, "sasl: %s", message);
	return SASL_OK;
}

/* ---- conversations -------------------------------------------------------------- */

static void close_conversation(void *arg)
{
	sasl_conn_t *conn = arg;

	sasl_dispose(&conn);
}

static void *open_conversation(void *ctx)
{
	sasl_conn_t *conn = NULL;

	(void)ctx;
	return sasl_server_new(SERVICE, NULL, NULL, NULL, NULL, NULL, 0, &conn) == SASL_OK ? conn : NULL;
}

static bool list_mechanisms(void *arg, const uint8_t **out, size_t *len)
{
	const char *names = NULL;
	unsigned names_len = 0;

	if (sasl_listmech(arg, NULL, "", " ", "", &names, &names_len, NULL) != SASL_OK)
		return false;
	*out = (const uint8_t *)names;
	*len = names_len;
	return true;
}

static enum sasl_result take_step(void *arg, const char *mechanism, const uint8_t *in, size_t in_len,
                                  const uint8_t **out, size_t *out_len)
{
	const char *text = (const char *)in;
	const char *said = NULL;
	unsigned said_len = 0;
	int result;

	assert(in_len <= INT_MAX);
	if (mechanism)
		result = sasl_server_start(arg, mechanism, in_len ? text : NULL, (unsigned)in_len, &said, &said_len);
	else
		result = sasl_server_step(arg, in_len ? text : "", (unsigned)in_len, &said, &said_len);
	*out = (const uint8_t *)said;
	*out_len = said ? said_len : 0;
	if (result == SASL_OK)
		return SASL_STEP_DONE;
	return result == SASL_CONTINUE ? SASL_STEP_CONTINUE : SASL_STEP_FAILED;
}

/* ---- the process ---------------------------------------------------------------- */

/* The library has one type for all callbacks. */
static sasl_callback_t callback(unsigned long id, void (*fn)(void), void *ctx)
{
	return (sasl_callback_t){id, (int (*)(void))fn, ctx};
}

static void set_callbacks(struct daemon_sasl *d)
{
	sasl_callback_t *c = d->callbacks;

	*c++ = callback(SASL_CB_LOG, (void (*)(void))take_log, d);
	*c++ = callback(SASL_CB_GETOPT, (void (*)(void))get_option, d);
	if (d->file[0])
		*c++ = callback(SASL_CB_SERVER_USERDB_CHECKPASS, (void (*)(void))check_password, d);
	*c++ = callback(SASL_CB_LIST_END, NULL, NULL);
	assert(c <= d->callbacks + CALLBACKS_MAX);
}

struct daemon_sasl *daemon_sasl_new(struct log *log, char error[DAEMON_ERROR_BYTES])
{
	struct daemon_sasl *d = calloc(1, sizeof(*d));
	const char *file = getenv(FILE_VARIABLE);

	if (!d) {
		snprintf(error, DAEMON_ERROR_BYTES, "SASL does not start: out of memory");
		return NULL;
	}
	d->log = log;
	daemon_absolute_path(d->file, sizeof(d->file), file ? file : "");
	if (file && *file && !d->file[0]) {
		snprintf(error, DAEMON_ERROR_BYTES, FILE_VARIABLE ": the path is too long");
		free(d);
		return NULL;
	}
	d->env = (struct sasl_env){open_conversation, close_conversation, list_mechanisms, take_step, d};
	set_callbacks(d);
	int result = sasl_server_init(d->callbacks, SERVICE);
	if (result == SASL_OK)
		return d;
	snprintf(error, DAEMON_ERROR_BYTES, "SASL does not start: %s", sasl_errstring(result, NULL, NULL));
	free(d);
	return NULL;
}

void daemon_sasl_free(struct daemon_sasl *d)
{
	if (!d)
		return;
	sasl_server_done();
	free(d);
}

const struct sasl_env *daemon_sasl_env(const struct daemon_sasl *d)
{
	return &d->env;
}

#else /* settings.c refuses -S */

struct daemon_sasl *daemon_sasl_new(struct log *log, char error[DAEMON_ERROR_BYTES])
{
	(void)log;
	snprintf(error, DAEMON_ERROR_BYTES, "This server is not built with SASL support.");
	return NULL;
}

void daemon_sasl_free(struct daemon_sasl *d)
{
	assert(!d);
}

const struct sasl_env *daemon_sasl_env(const struct daemon_sasl *d)
{
	(void)d;
	return NULL;
}

#endif
