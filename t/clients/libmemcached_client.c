/*
 * libmemcached's C interface against the two sides of a pair: what goes in through
 * one comes out of the other, both ways. Prints "ok NAME" and "not ok NAME".
 *
 *   libmemcached_client text|binary|udp|sasl HOST PORT HOST PORT [USER PASSWORD]
 *
 * Its UDP has no replies, so there the other side is asked by TCP.
 */
#include <libmemcached/memcached.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE_BYTES 1000000
#define MANY 200

static const char *mode, *user, *password, *way;

static void check(bool good, const char *name)
{
	printf("%s %s, %s: %s\n", good ? "ok" : "not ok", mode, way, name);
	fflush(stdout);
}

static memcached_st *client(const char *host, const char *port, const char *how)
{
	memcached_st *m = memcached_create(NULL);

	memcached_behavior_set(m, MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1);
	memcached_behavior_set(m, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
	if (strcmp(how, "binary") == 0 || strcmp(how, "sasl") == 0)
		memcached_behavior_set(m, MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 1);
	if (strcmp(how, "udp") == 0)
		memcached_behavior_set(m, MEMCACHED_BEHAVIOR_USE_UDP, 1);
	if (strcmp(how, "sasl") == 0)
		memcached_set_sasl_auth_data(m, user, password);
	memcached_server_add(m, host, (in_port_t)atoi(port));
	return m;
}

static bool ok(memcached_return_t rc)
{
	return rc == MEMCACHED_SUCCESS || rc == MEMCACHED_STORED || rc == MEMCACHED_DELETED || rc == MEMCACHED_BUFFERED;
}

/* Whether a key has this value (NULL: none) and, if flags is not UINT32_MAX, these flags, within ten seconds. */
static bool soon(memcached_st *m, const char *key, const char *want, size_t want_len, uint32_t flags)
{
	for (int i = 0; i < 1000; i++) {
		size_t len;
		uint32_t has;
		memcached_return_t rc;
		char *value = memcached_get(m, key, strlen(key), &len, &has, &rc);
		bool same = want == NULL ? rc == MEMCACHED_NOTFOUND
		                         : rc == MEMCACHED_SUCCESS && len == want_len &&
		                               (len == 0 || memcmp(value, want, len) == 0) &&
		                               (flags == UINT32_MAX || flags == has);

		free(value);
		if (same)
			return true;
		usleep(10 * 1000);
	}
	return false;
}

static memcached_return_t set(memcached_st *m, const char *key, const char *value, size_t len, time_t exptime)
{
	return memcached_set(m, key, strlen(key), value, len, exptime, 77);
}

/* How many of many0.. come back at once from one request, with their values and uniques. */
static int fetch_many(memcached_st *m, uint64_t *cas)
{
	static char keys[MANY][16];
	const char *names[MANY];
	size_t lens[MANY];
	memcached_return_t rc;
	int found = 0;

	for (int i = 0; i < MANY; i++) {
		lens[i] = (size_t)snprintf(keys[i], sizeof(keys[i]), "many%d", i);
		names[i] = keys[i];
	}
	if (memcached_mget(m, names, lens, MANY) != MEMCACHED_SUCCESS)
		return -1;
	for (memcached_result_st *r; (r = memcached_fetch_result(m, NULL, &rc)) != NULL; memcached_result_free(r)) {
		if (memcached_result_length(r) == memcached_result_key_length(r) &&
		    memcmp(memcached_result_value(r), memcached_result_key_value(r), memcached_result_length(r)) == 0)
			found++;
		if (memcached_result_key_length(r) == 5 && memcmp(memcached_result_key_value(r), "many7", 5) == 0)
			*cas = memcached_result_cas(r);
	}
	return found;
}

static void storing(memcached_st *x, memcached_st *y)
{
	static char large[LARGE_BYTES];
	bool all = true;
	uint64_t cas = 0;
	int found = 0;

	check(ok(set(x, "c", "value", 5, 0)), "set");
	check(soon(y, "c", "value", 5, 77), "value and flags on the other");
	check(ok(set(x, "empty", "", 0, 0)) && soon(y, "empty", "", 0, 77), "an empty value");
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)(i * 7919 >> 3);
	check(ok(set(x, "large", large, sizeof(large), 1000)), "set of a megabyte");
	check(soon(y, "large", large, sizeof(large), 77), "the same bytes on the other");
	for (int i = 0; i < MANY; i++) {
		char key[16];

		snprintf(key, sizeof(key), "many%d", i);
		all &= ok(set(x, key, key, strlen(key), 0));
	}
	check(all, "set of many");
	for (int i = 0; i < 1000 && found != MANY; i++, usleep(10 * 1000))
		found = fetch_many(y, &cas);
	check(found == MANY, "mget on the other");
	check(cas != 0 && ok(memcached_cas(y, "many7", 5, "new", 3, 0, 0, cas)), "cas with the unique seen there");
	check(memcached_cas(y, "many7", 5, "newer", 5, 0, 0, cas) == MEMCACHED_DATA_EXISTS, "cas with the old one");
	check(soon(x, "many7", "new", 3, 0), "and back");
}

static void changing(memcached_st *x, memcached_st *y)
{
	uint64_t number = 0;

	check(memcached_add(x, "c", 1, "v", 1, 0, 0) != MEMCACHED_SUCCESS, "add of an old key");
	check(memcached_replace(x, "none", 4, "v", 1, 0, 0) != MEMCACHED_SUCCESS, "replace of no key");
	check(ok(memcached_append(x, "c", 1, "-b", 2, 0, 0)) && ok(memcached_prepend(x, "c", 1, "a-", 2, 0, 0)), "append, prepend");
	check(soon(y, "c", "a-value-b", 9, 77), "the same on the other, flags kept");
	check(ok(memcached_replace(x, "c", 1, "r", 1, 0, 78)) && soon(y, "c", "r", 1, 78), "replace");
	check(ok(set(x, "n", "10", 2, 0)) && ok(memcached_increment(x, "n", 1, 15, &number)) && number == 25, "increment");
	check(soon(y, "n", "25", 2, 77) && ok(memcached_decrement(y, "n", 1, 20, &number)) && number == 5, "decrement on the other");
	check(memcached_increment(x, "none", 4, 1, &number) == MEMCACHED_NOTFOUND, "increment of no key");
	if (strcmp(mode, "text") != 0) {
		check(ok(memcached_increment_with_initial(x, "counter", 7, 1, 100, 1000, &number)) && number == 100, "increment that creates");
		check(soon(y, "counter", "100", 3, UINT32_MAX), "what it created, on the other");
		check(ok(memcached_increment_with_initial(y, "counter", 7, 3, 100, 1000, &number)) && number == 103, "and increments");
		check(soon(x, "counter", "103", 3, UINT32_MAX) && ok(memcached_delete(x, "counter", 7, 0)) &&
			soon(y, "counter", NULL, 0, 0), "and back");
	}
	check(ok(memcached_touch(x, "c", 1, 1)) && memcached_touch(x, "none", 4, 1) == MEMCACHED_NOTFOUND, "touch");
	check(soon(y, "c", NULL, 0, 0) && soon(x, "c", NULL, 0, 0), "gone on both when the time has come");
	check(memcached_exist(y, "n", 1) == MEMCACHED_SUCCESS && memcached_exist(y, "c", 1) == MEMCACHED_NOTFOUND, "exist");
	check(ok(memcached_delete(y, "n", 1, 0)) && memcached_delete(y, "n", 1, 0) == MEMCACHED_NOTFOUND, "delete");
	check(soon(x, "n", NULL, 0, 0), "gone on the other");
}

static void managing(memcached_st *x, memcached_st *y)
{
	memcached_return_t rc;
	memcached_stat_st *stats = memcached_stat(x, NULL, &rc);

	check(rc == MEMCACHED_SUCCESS && stats != NULL && stats->curr_items > 0, "stat");
	memcached_stat_free(x, stats);
	check(memcached_version(x) == MEMCACHED_SUCCESS, "version");
	memcached_behavior_set(x, MEMCACHED_BEHAVIOR_NOREPLY, 1);
	set(x, "quiet", "q", 1, 0);
	memcached_behavior_set(x, MEMCACHED_BEHAVIOR_NOREPLY, 0);
	check(soon(x, "quiet", "q", 1, 77) && soon(y, "quiet", "q", 1, 77), "a set without reply");
	check(ok(memcached_flush(x, 0)) && soon(y, "many1", NULL, 0, 0) && soon(y, "large", NULL, 0, 0), "flush");
}

/* Writes by UDP, reads by TCP. */
static void datagrams(const char *host_x, const char *port_x, const char *host_y, const char *port_y)
{
	memcached_st *u = client(host_x, port_x, "udp"), *y = client(host_y, port_y, "text");

	check(ok(set(u, "u", "value", 5, 0)) && soon(y, "u", "value", 5, 77), "set");
	check(ok(memcached_append(u, "u", 1, "-b", 2, 0, 0)) && soon(y, "u", "value-b", 7, 77), "append");
	check(ok(memcached_replace(u, "u", 1, "r", 1, 0, 5)) && soon(y, "u", "r", 1, 5), "replace");
	check(ok(memcached_delete(u, "u", 1, 0)) && soon(y, "u", NULL, 0, 0), "delete");
	check(ok(memcached_add(u, "u", 1, "9", 1, 0, 5)) && soon(y, "u", "9", 1, 5), "add");
	memcached_free(u);
	memcached_free(y);
}

int main(int argc, char **argv)
{
	if (argc < 6)
		return 2;
	mode = argv[1];
	user = argc > 7 ? argv[6] : "";
	password = argc > 7 ? argv[7] : "";
	for (int back = 0; back < 2; back++) {
		char **a = back ? argv + 4 : argv + 2, **b = back ? argv + 2 : argv + 4;

		way = back ? "b to a" : "a to b";
		if (strcmp(mode, "udp") == 0) {
			datagrams(a[0], a[1], b[0], b[1]);
			continue;
		}
		memcached_st *x = client(a[0], a[1], mode), *y = client(b[0], b[1], mode);

		storing(x, y);
		changing(x, y);
		managing(x, y);
		memcached_free(x);
		memcached_free(y);
	}
	return 0;
}
