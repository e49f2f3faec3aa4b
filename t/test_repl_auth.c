/*
 * test_repl_auth.c - the shared secret (doc/replication.txt section 5): the hash,
 * the proof, the hand-shake of a pair that has one, and what others try.
 */
#include "compat.h"
#include <check.h>
#include "repl_auth.h"
#include "repl_world.h"

static struct world w;

static void setup(void)
{
	world_init(&w, 77);
}

static void teardown(void)
{
	world_free(&w);
}

static void give_secret(struct host *h, const char *secret)
{
	h->settings.repl_has_secret = true;
	ck_assert(repl_auth_link_key(secret, strlen(secret), h->settings.repl_link_key));
}

#define SECRET "correct horse battery"

/* ---- the hash -------------------------------------------------------------------------- */

/* RFC 4231, test cases 1, 2 and 7. */
START_TEST(hmac_vectors)
{
	static const struct {
		uint8_t key_byte;
		size_t key_len;
		const char *key, *data, *hex;
	} cases[] = {
		{0x0b, 20, NULL, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{0, 4, "Jefe", "what do ya want for nothing?",
		 "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{0xaa, 131, NULL,
		 "This is a test using a larger than block-size key and a larger than block-size data. The key "
		 "needs to be hashed before being used by the HMAC algorithm.",
		 "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t key[131], out[HMAC_BYTES], right[HMAC_BYTES];
		memset(key, cases[i].key_byte, sizeof(key));
		if (cases[i].key)
			memcpy(key, cases[i].key, cases[i].key_len);
		ck_assert(hmac_sha256(out, key, cases[i].key_len, cases[i].data, strlen(cases[i].data)));
		ck_assert(parse_hex(cases[i].hex, 64, right, sizeof(right)));
		ck_assert_mem_eq(out, right, sizeof(out));
		ck_assert(hmac_equal(out, right));
		right[31] ^= 1;
		ck_assert(!hmac_equal(out, right));
	}
}
END_TEST

START_TEST(proof_covers_everything)
{
	struct repl_auth a = {0}, other;
	uint8_t key[HMAC_BYTES], proof[HMAC_BYTES], theirs[HMAC_BYTES];

	ck_assert(repl_auth_link_key(SECRET, strlen(SECRET), key));
	repl_auth_said(&a, AUTH_CONNECTING, (const uint8_t *)"line of one\n", 12);
	repl_auth_said(&a, AUTH_LISTENING, (const uint8_t *)"line of two\n", 12);
	ck_assert(repl_auth_prove(&a, key, AUTH_CONNECTING, proof));
	ck_assert(repl_auth_prove(&a, key, AUTH_LISTENING, theirs));
	ck_assert_mem_ne(proof, theirs, sizeof(proof));
	ck_assert(repl_auth_holds(&a, key, AUTH_CONNECTING, proof));
	ck_assert(!repl_auth_holds(&a, key, AUTH_LISTENING, proof));
	for (int side = 0; side < AUTH_SIDES; side++)
		for (size_t i = 0; i < a.len[side]; i++) {
			other = a;
			other.line[side][i] ^= 1;
			ck_assert(!repl_auth_holds(&other, key, AUTH_CONNECTING, proof));
		}
	/* the lines swapped */
	repl_auth_said(&other, AUTH_CONNECTING, (const uint8_t *)"line of two\n", 12);
	repl_auth_said(&other, AUTH_LISTENING, (const uint8_t *)"line of one\n", 12);
	ck_assert(!repl_auth_holds(&other, key, AUTH_CONNECTING, proof));
	ck_assert(!repl_auth_holds(&other, key, AUTH_LISTENING, proof));
	key[0] ^= 1;
	ck_assert(!repl_auth_holds(&a, key, AUTH_CONNECTING, proof));
}
END_TEST

START_TEST(nonces_differ)
{
	struct nonce_source n = {.key = {1}}, m = {.key = {2}};
	uint8_t seen[64][WIRE_NONCE_BYTES], other[WIRE_NONCE_BYTES];

	for (int i = 0; i < 64; i++) {
		ck_assert(nonce_next(&n, seen[i]));
		for (int k = 0; k < i; k++)
			ck_assert_mem_ne(seen[i], seen[k], WIRE_NONCE_BYTES);
	}
	ck_assert(nonce_next(&m, other));
	ck_assert_mem_ne(other, seen[0], WIRE_NONCE_BYTES);
}
END_TEST

/* ---- pairs ----------------------------------------------------------------------------- */

static bool linked(void)
{
	return !strcmp(text(&w.hosts[0], "link"), "up") && !strcmp(text(&w.hosts[1], "link"), "up");
}

START_TEST(same_secret)
{
	world_free(&w);
	world_init(&w, 500 + (uint64_t)_i);
	w.chunk_max = 1 + prng_below(&w.prng, 200);
	give_secret(&w.hosts[0], SECRET);
	give_secret(&w.hosts[1], SECRET);
	bool mutual = _i & 1;
	struct host *a = host_start(&w, 0, mutual ? 1 : -1);
	put(a, "before", "1");
	run(&w, (int64_t)prng_below(&w.prng, 200));
	struct host *b = host_start(&w, 1, 0);
	run(&w, 1500);
	ck_assert(linked());
	ck_assert_int_eq(wire_count(&w), 1);
	ck_assert_str_eq(get(b, "before"), "1");
	put(b, "back", "2");
	settle(&w, 0, 1);
	ck_assert_str_eq(get(a, "back"), "2");
	ck_assert(repl_wants(a->repl)->client_ports && repl_wants(b->repl)->client_ports);
	int made = w.links_made;
	run(&w, 5000);
	ck_assert_int_eq(w.links_made, made);
	/* lost in silence, found again: the old link is replaced by who proves it */
	drop_all(&w, false);
	run(&w, 9000);
	ck_assert(linked());
	put(a, "after", "3");
	settle(&w, 0, 1);
	ck_assert_str_eq(get(b, "after"), "3");
	ck_assert_uint_eq(number(a, "links_refused") + number(b, "links_refused"), 0);
}
END_TEST

/* No data moves and both sides say so, once. */
static void stays_apart(const char *on_a, const char *on_b)
{
	struct host *a = host_start(&w, 0, -1), *b = &w.hosts[1];

	put(a, "of-a", "1");
	host_start(&w, 1, 0);
	run(&w, 20000);
	put(b, "of-b", "2");
	run(&w, 20000);
	ck_assert(!linked());
	ck_assert(!find(b, "of-a"));
	ck_assert(!find(a, "of-b"));
	ck_assert_uint_eq(number(a, "items_sent") + number(b, "items_sent"), 0);
	ck_assert_uint_eq(number(a, "items_received") + number(b, "items_received"), 0);
	ck_assert(repl_wants(b->repl)->client_ports);
	ck_assert_msg(said(a, on_a), "%s", a->said);
	ck_assert_msg(said(b, on_b), "%s", b->said);
	ck_assert_int_le(a->lines, 3);
	ck_assert_int_le(b->lines, 4);
}

START_TEST(wrong_secret)
{
	give_secret(&w.hosts[0], SECRET);
	give_secret(&w.hosts[1], "something else entirely");
	stays_apart("the shared secret was not proved", "the shared secret was not proved");
}
END_TEST

START_TEST(secret_of_the_connecting_side_only)
{
	give_secret(&w.hosts[1], SECRET);
	stays_apart("the other side wants a shared secret and this node has none",
		    "the other side wants a shared secret and this node has none");
}
END_TEST

START_TEST(secret_of_the_listening_side_only)
{
	give_secret(&w.hosts[0], SECRET);
	stays_apart("this node wants a shared secret and the other side has none",
		    "this node wants a shared secret and the other side has none");
}
END_TEST

/* ---- strangers -------------------------------------------------------------------------- */

static void says(struct wire *s, const char *text)
{
	stranger_says(&w, s, text, strlen(text));
}

/* What it has heard so far, as a string. */
static const char *heard(const struct wire *s)
{
	static char text[8][4096];
	static int turn;
	char *out = text[turn++ & 7];
	size_t len;
	const uint8_t *data = stranger_heard(s, &len);

	if (len >= sizeof(text[0]))
		len = sizeof(text[0]) - 1;
	memcpy(out, data ? data : (const uint8_t *)"", len);
	out[len] = '\0';
	return out;
}

static int count_lines(const char *text)
{
	int count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

/* An opening line of node `id`. */
static const char *hello_of(uint64_t id, const char *auth)
{
	static char line[WIRE_LINE_BYTES_MAX];

	snprintf(line, sizeof(line),
		 "REPL/1 %016" PRIx64 " origin=9 seen=0000000000000000:0 clock=0 wall=1700000000000 items=0 "
		 "maxitem=1048576 auth=%s nonce=000102030405060708090a0b0c0d0e0f\n", id, auth);
	return line;
}

#define SOME_PROOF "PROOF 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"

static void make_pair(struct host **a, struct host **b)
{
	give_secret(&w.hosts[0], SECRET);
	give_secret(&w.hosts[1], SECRET);
	*a = host_start(&w, 0, -1);
	*b = host_start(&w, 1, 0);
	settle(&w, 0, 1);
}

/* Whatever comes instead of the proof: one answer, and nothing else was said. */
START_TEST(no_proof)
{
	static const char *const instead[] = {
		SOME_PROOF,
		"PROOF \n",
		"PROOF 00\n",
		"PROOF zz112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
		"\x05\0\0\0\x09", /* the front of BEGIN */
		"GET / HTTP/1.0\r\n\r\n",
		"REPL/1\n",
	};
	give_secret(&w.hosts[0], SECRET);
	struct host *a = host_start(&w, 0, -1);
	put(a, "k", "v");
	for (size_t i = 0; i < ARRAY_LEN(instead); i++) {
		struct wire *s = stranger(&w, 0);
		says(s, hello_of(4711, "hmac"));
		run(&w, 20);
		ck_assert(strstr(heard(s), "auth=hmac") && count_lines(heard(s)) == 1);
		stranger_says(&w, s, instead[i], strlen(instead[i]) + 1);
		run(&w, 20);
		ck_assert(stranger_is_closed(s));
		ck_assert_ptr_nonnull(strstr(heard(s), "\nREFUSED the shared secret was not proved\n"));
		ck_assert_int_eq(count_lines(heard(s)), 2);
		stranger_forget(s);
	}
	/* silence is closed in time */
	struct wire *s = stranger(&w, 0);
	says(s, hello_of(4711, "hmac"));
	run(&w, 3000);
	ck_assert(stranger_is_closed(s));
	ck_assert_int_eq(count_lines(heard(s)), 1);
	stranger_forget(s);
	ck_assert_str_eq(text(a, "link"), "down");
	ck_assert_uint_eq(number(a, "items_sent"), 0);
	ck_assert_int_le(a->lines, 3);
}
END_TEST

/* Our own lines sent back, also with the name changed. */
START_TEST(reflection)
{
	give_secret(&w.hosts[0], SECRET);
	struct host *a = host_start(&w, 0, 2);
	run(&w, 20);
	struct wire *s = stranger_called(&w, 0);
	ck_assert_ptr_nonnull(s);
	run(&w, 20);
	says(s, heard(s)); /* its hello */
	run(&w, 20);
	ck_assert_msg(stranger_is_closed(s) && strstr(heard(s), "itself"), "%s", heard(s));
	stranger_forget(s);
	run(&w, 200);
	s = stranger_called(&w, 0);
	run(&w, 20);
	char line[WIRE_LINE_BYTES_MAX];
	snprintf(line, sizeof(line), "%s", heard(s));
	memcpy(line + 7, "00000000000000ab", 16);
	says(s, line);
	run(&w, 20);
	const char *proof = strstr(heard(s), "\nPROOF ");
	ck_assert_ptr_nonnull(proof);
	says(s, proof + 1);
	run(&w, 20);
	ck_assert(stranger_is_closed(s));
	ck_assert_ptr_nonnull(strstr(heard(s), "REFUSED the shared secret was not proved"));
	stranger_forget(s);
	/* Two connections at once: what it proves on one is of no use on the other. */
	run(&w, 200);
	s = stranger_called(&w, 0);
	struct wire *t = stranger(&w, 0);
	run(&w, 20);
	snprintf(line, sizeof(line), "%s", heard(s));
	memcpy(line + 7, "00000000000000ab", 16);
	says(t, line);
	run(&w, 20);
	says(s, hello_of(0xab, "hmac"));
	run(&w, 20);
	proof = strstr(heard(s), "\nPROOF ");
	ck_assert_ptr_nonnull(proof);
	says(t, proof + 1);
	run(&w, 20);
	ck_assert(stranger_is_closed(t));
	ck_assert_ptr_nonnull(strstr(heard(t), "REFUSED the shared secret was not proved"));
	run(&w, 3000);
	ck_assert(stranger_is_closed(s));
	ck_assert_str_eq(text(a, "link"), "down");
	stranger_forget(s);
	stranger_forget(t);
}
END_TEST

/* An impostor that was connected to and offers no proof, or wants none. */
START_TEST(impostor)
{
	give_secret(&w.hosts[0], SECRET);
	struct host *a = host_start(&w, 0, 2);
	static const char begin[] = "\x05\0\0\0\x09\0\0\0\0\0\0\0\0\0";
	put(a, "k", "v");
	for (int round = 0; round < 3; round++) {
		run(&w, 300);
		struct wire *s = stranger_called(&w, 0);
		ck_assert_ptr_nonnull(s);
		says(s, hello_of(0xab, round == 0 ? "none" : "hmac"));
		if (round == 2)
			says(s, SOME_PROOF);
		stranger_says(&w, s, begin, sizeof(begin) - 1);
		run(&w, 50);
		ck_assert(stranger_is_closed(s));
		ck_assert_ptr_nonnull(strstr(heard(s), "REFUSED "));
		ck_assert_uint_eq(number(a, "items_sent"), 0);
		ck_assert_uint_eq(number(a, "links"), 0);
		stranger_forget(s);
	}
}
END_TEST

/* A recorded hand-shake is worth nothing: the nonce of the other side is new. */
START_TEST(replay)
{
	give_secret(&w.hosts[0], SECRET);
	give_secret(&w.hosts[1], SECRET);
	struct host *a = host_start(&w, 0, -1);
	struct wire *s = stranger(&w, 0);
	struct repl_auth auth = {0};
	uint8_t proof[WIRE_PROOF_BYTES], line[WIRE_LINE_BYTES_MAX];
	const char *hello = hello_of(0xab, "hmac");

	/* somebody who knows it */
	says(s, hello);
	run(&w, 20);
	repl_auth_said(&auth, AUTH_CONNECTING, (const uint8_t *)hello, strlen(hello));
	repl_auth_said(&auth, AUTH_LISTENING, (const uint8_t *)heard(s), strlen(heard(s)));
	ck_assert(repl_auth_prove(&auth, a->settings.repl_link_key, AUTH_CONNECTING, proof));
	size_t len = wire_proof_encode(line, proof);
	stranger_says(&w, s, line, len);
	run(&w, 20);
	const char *theirs = strstr(heard(s), "\nPROOF ");
	ck_assert_ptr_nonnull(theirs);
	ck_assert(wire_proof_decode((const uint8_t *)theirs + 1, strlen(theirs + 1), proof));
	ck_assert(repl_auth_holds(&auth, a->settings.repl_link_key, AUTH_LISTENING, proof));
	ck_assert(!stranger_is_closed(s));
	run(&w, 3000); /* it does not begin: the promise is over */
	ck_assert(stranger_is_closed(s));
	stranger_forget(s);
	/* and somebody who listened in */
	s = stranger(&w, 0);
	says(s, hello);
	stranger_says(&w, s, line, len);
	run(&w, 20);
	ck_assert(stranger_is_closed(s));
	ck_assert_ptr_nonnull(strstr(heard(s), "REFUSED the shared secret was not proved"));
	stranger_forget(s);
	/* or is the listener now: the same line and the proof that went with it */
	struct host *b = host_start(&w, 1, 2);
	run(&w, 200);
	s = stranger_called(&w, 1);
	char answer[WIRE_LINE_BYTES_MAX];
	snprintf(answer, sizeof(answer), "%.*s", (int)auth.len[AUTH_LISTENING], auth.line[AUTH_LISTENING]);
	says(s, answer);
	says(s, theirs + 1);
	run(&w, 20);
	ck_assert(stranger_is_closed(s));
	ck_assert_uint_eq(number(b, "links"), 0);
	stranger_forget(s);
}
END_TEST

/* Who has no proof replaces no link, whatever name it gives, and holds up nobody. */
START_TEST(link_is_not_replaced)
{
	struct host *a, *b;

	make_pair(&a, &b);
	uint64_t links = number(a, "links");
	uint64_t peer = strtoull(text(b, "node_id"), NULL, 16);
	for (int i = 0; i < 20; i++) {
		struct wire *s = stranger(&w, 0);
		says(s, hello_of(peer, i & 1 ? "none" : "hmac"));
		run(&w, 30);
		says(s, SOME_PROOF);
		run(&w, 30);
		ck_assert(stranger_is_closed(s));
		ck_assert(linked());
		stranger_forget(s);
	}
	ck_assert_uint_eq(number(a, "links"), links);
	put(a, "k", "v");
	settle(&w, 0, 1);
	ck_assert_str_eq(get(b, "k"), "v");
	ck_assert_int_le(a->lines, 8);
}
END_TEST

START_TEST(nobody_is_kept_waiting)
{
	struct wire *crowd[12] = {0};

	give_secret(&w.hosts[0], SECRET);
	give_secret(&w.hosts[1], SECRET);
	struct host *a = host_start(&w, 0, -1);
	for (size_t i = 0; i < ARRAY_LEN(crowd); i++) {
		crowd[i] = stranger(&w, 0);
		ck_assert_ptr_nonnull(crowd[i]);
		says(crowd[i], hello_of(100 + i, "hmac"));
		run(&w, 2);
	}
	host_start(&w, 1, 0);
	run(&w, 100);
	ck_assert(linked());
	for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
		stranger_forget(crowd[i]);
	ck_assert_uint_eq(number(a, "links"), 1);
}
END_TEST

/* The clock of an unproven line is not taken over. */
START_TEST(clock_is_not_moved)
{
	give_secret(&w.hosts[0], SECRET);
	struct host *a = host_start(&w, 0, -1);
	uint64_t before = a->hlc.last;
	struct wire *s = stranger(&w, 0);
	char line[WIRE_LINE_BYTES_MAX];

	snprintf(line, sizeof(line),
		 "REPL/1 00000000000000ab origin=9 seen=0000000000000000:0 clock=%" PRIu64 " wall=1700000000000 "
		 "items=0 maxitem=1048576 auth=hmac nonce=000102030405060708090a0b0c0d0e0f\n",
		 version_of_wall_ms(a->now.wall_ms + 3600 * 1000));
	says(s, line);
	says(s, SOME_PROOF);
	run(&w, 50);
	ck_assert(stranger_is_closed(s));
	stranger_forget(s);
	ck_assert_uint_eq(a->hlc.last, before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("repl_auth");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, hmac_vectors);
	tcase_add_test(tc, proof_covers_everything);
	tcase_add_test(tc, nonces_differ);
	tcase_add_loop_test(tc, same_secret, 0, 24);
	tcase_add_test(tc, wrong_secret);
	tcase_add_test(tc, secret_of_the_connecting_side_only);
	tcase_add_test(tc, secret_of_the_listening_side_only);
	tcase_add_test(tc, no_proof);
	tcase_add_test(tc, reflection);
	tcase_add_test(tc, impostor);
	tcase_add_test(tc, replay);
	tcase_add_test(tc, link_is_not_replaced);
	tcase_add_test(tc, nobody_is_kept_waiting);
	tcase_add_test(tc, clock_is_not_moved);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
