/*
 * test_repl_text.c - the codec of repcached's link.
 *
 * A table of lines, each decoded whole, cut at every point, with bytes behind
 * it, and encoded again; a table of malformed ones, which are also cut: what is
 * wrong early is known early; every single damaged byte; random bytes.
 */
#include "compat.h"
#include <check.h>
#include "repl_text.h"
#include "util.h"

#define VALUE_MAX 1000000

/* "k" 250 times. */
#define K10 "kkkkkkkkkk"
#define K50 K10 K10 K10 K10 K10
#define K250 K50 K50 K50 K50 K50

static const struct {
	const char *line;
	struct text_message m; /* but for key */
	const char *key;
	const char *again; /* what encoding gives, if not the line */
} lines[] = {
        {"rep k 5 0 3 77\r\n", {.kind = TEXT_REP, .flags = 5, .value_len = 3, .cas = 77}, "k", NULL},
        {"rep a:b 4294967295 1900000000 0 4294967295\r\n",
         {.kind = TEXT_REP, .flags = UINT32_MAX, .exptime = 1900000000, .cas = UINT32_MAX}, "a:b", NULL},
        {"rep " K250 " 1 2147483647 1000000 1\r\n",
         {.kind = TEXT_REP, .flags = 1, .exptime = INT32_MAX, .value_len = VALUE_MAX, .cas = 1}, K250, NULL},
        {"rep \xc3\xa4\xff 0 0 1 1\r\n", {.kind = TEXT_REP, .value_len = 1, .cas = 1}, "\xc3\xa4\xff", NULL},
        {"rep 0 0 0 0 0\r\n", {.kind = TEXT_REP}, "0", NULL},
        /* A negative time over there: long past. */
        {"rep k 0 4294967295 1 1\r\n", {.kind = TEXT_REP, .exptime = 1, .value_len = 1, .cas = 1}, "k",
         "rep k 0 1 1 1\r\n"},
        {"rep k 0 18446744073709551615 1 1\r\n", {.kind = TEXT_REP, .exptime = 1, .value_len = 1, .cas = 1}, "k",
         "rep k 0 1 1 1\r\n"},
        /* 64 bits of a CAS unique are cut. */
        {"rep k 0 0 1 18446744073709551615\r\n", {.kind = TEXT_REP, .value_len = 1, .cas = UINT32_MAX}, "k",
         "rep k 0 0 1 4294967295\r\n"},
        {"delete k\r\n", {.kind = TEXT_DELETE}, "k", NULL},
        {"delete " K250 "\r\n", {.kind = TEXT_DELETE}, K250, NULL},
        {"delete rep\r\n", {.kind = TEXT_DELETE}, "rep", NULL},
        {"flush_all \r\n", {.kind = TEXT_FLUSH}, NULL, NULL},
        {"flush_all\r\n", {.kind = TEXT_FLUSH}, NULL, "flush_all \r\n"},
        {"flush_all 0\r\n", {.kind = TEXT_FLUSH}, NULL, "flush_all \r\n"},
        {"flush_all 1700000000\r\n", {.kind = TEXT_FLUSH, .exptime = 1700000000}, NULL, NULL},
        {"marugoto_end\r\n", {.kind = TEXT_END}, NULL, NULL},
};

/* `at`: as soon as so many bytes are here it is known; 0: with the last one. */
static const struct {
	const char *line;
	size_t at;
} bad_lines[] = {
        {"get k\r\n", 1},
        {"set k 0 0 1\r\n", 1},
        {"REPL/1 0123456789abcdef origin=1\n", 1},
        {"\r\n", 1},
        {" rep k 0 0 1 1\r\n", 1},
        {"repl k 0 0 1 1\r\n", 0},
        {"rex", 3},
        {"replace k 0 0 1\r\n", 0},
        {"rep k 0 0 1 1\n", 0},
        {"rep k 0 0 1 1\r\r\n", 0},
        {"rep k 0 0 1\r\n", 0},
        {"rep k 0 0 1 1 1\r\n", 0},
        {"rep k 0 0 1 1 \r\n", 0},
        {"rep  k 0 0 1 1\r\n", 0},
        {"rep k  0 0 1 1\r\n", 0},
        {"rep  0 0 1 1\r\n", 0},
        {"rep\r\n", 0},
        {"rep k a 0 1 1\r\n", 0},
        {"rep k -1 0 1 1\r\n", 0},
        {"rep k 4294967296 0 1 1\r\n", 0},
        {"rep k 0 -1 1 1\r\n", 0},
        {"rep k 0 0 -1 1\r\n", 0},
        {"rep k 0 0 1000001 1\r\n", 0},
        {"rep k 0 0 4294967296 1\r\n", 0},
        {"rep k 0 0 1 -1\r\n", 0},
        {"rep k 0 0 1 x\r\n", 0},
        {"rep k\rl 0 0 1 1\r\n", 0},
        {"rep k" K250 " 0 0 1 1\r\n", 0},
        {"delete\r\n", 0},
        {"delete \r\n", 0},
        {"delete k \r\n", 0},
        {"delete k 0\r\n", 0},
        {"delete k" K250 "\r\n", 0},
        {"deletek\r\n", 0},
        {"flush_all x\r\n", 0},
        {"flush_all -1\r\n", 0},
        {"flush_all 1 noreply\r\n", 0},
        {"flush_al\r\n", 9},
        {"marugoto_end \r\nx", 0},
        {"marugoto_end k\r\n", 0},
        {"rep " K250 K50 K50, TEXT_LINE_BYTES_MAX},
};

static enum text_status decode(const char *data, size_t len, struct text_message *m, size_t *consumed)
{
	static char keys[2][TEXT_KEY_BYTES_MAX];
	static int turn;
	const char *error = NULL;
	/* An exact copy on the heap, so that reading past len is seen. */
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, data, len);
	enum text_status status = text_decode(copy, len, VALUE_MAX, m, consumed, &error);
	ck_assert(status != TEXT_BAD || error);
	if (status == TEXT_OK && m->key) {
		char *kept = keys[turn++ & 1];
		memcpy(kept, m->key, m->key_len);
		m->key = (uint8_t *)kept;
	}
	free(copy);
	return status;
}

START_TEST(good_lines)
{
	const char *line = lines[_i].line, *key = lines[_i].key;
	const struct text_message *want = &lines[_i].m;
	const char *again = lines[_i].again ? lines[_i].again : line;
	struct text_message m;
	char more[TEXT_LINE_BYTES_MAX + 8];
	uint8_t out[TEXT_LINE_BYTES_MAX];
	size_t len = strlen(line), consumed = 0;

	for (size_t cut = 0; cut < len; cut++)
		ck_assert_int_eq(decode(line, cut, &m, &consumed), TEXT_MORE);
	ck_assert_int_eq(decode(line, len, &m, &consumed), TEXT_OK);
	ck_assert_uint_eq(consumed, len);
	/* What follows is not looked at. */
	snprintf(more, sizeof(more), "%s\n\n\nget", line);
	ck_assert_int_eq(decode(more, strlen(more), &m, &consumed), TEXT_OK);
	ck_assert_uint_eq(consumed, len);
	ck_assert_int_eq(m.kind, want->kind);
	ck_assert_uint_eq(m.key_len, key ? strlen(key) : 0);
	if (key)
		ck_assert_mem_eq(m.key, key, m.key_len);
	ck_assert_uint_eq(m.flags, want->flags);
	ck_assert_uint_eq(m.exptime, want->exptime);
	ck_assert_uint_eq(m.value_len, want->value_len);
	ck_assert_uint_eq(m.cas, want->cas);
	ck_assert_uint_eq(text_encode(out, &m), strlen(again));
	ck_assert_mem_eq(out, again, strlen(again));
}
END_TEST

START_TEST(malformed_lines)
{
	const char *line = bad_lines[_i].line;
	struct text_message m;
	size_t consumed, len = strlen(line);
	size_t at = bad_lines[_i].at ? bad_lines[_i].at : (size_t)(strchr(line, '\n') - line) + 1;

	for (size_t cut = 0; cut <= len; cut++)
		ck_assert_msg((decode(line, cut, &m, &consumed) == TEXT_BAD) == (cut >= at), "%s, %zu bytes", line,
			      cut);
}
END_TEST

START_TEST(a_nul_is_malformed)
{
	struct text_message m;
	size_t consumed;

	ck_assert_int_eq(decode("delete a\0b\r\n", 12, &m, &consumed), TEXT_BAD);
}
END_TEST

/* Every single damaged byte: what is accepted is well formed, and what comes of
 * it is a line again. */
START_TEST(damaged_lines)
{
	char line[TEXT_LINE_BYTES_MAX];
	uint8_t out[TEXT_LINE_BYTES_MAX];
	size_t consumed, len = strlen(lines[_i].line);
	struct text_message m, again;

	memcpy(line, lines[_i].line, len);
	for (size_t at = 0; at < len; at++)
		for (int v = 0; v < 256; v++) {
			char saved = line[at];
			line[at] = (char)v;
			if (decode(line, len, &m, &consumed) == TEXT_OK &&
			    (!m.key || text_key_fits(m.key, m.key_len))) {
				ck_assert_uint_le(m.value_len, VALUE_MAX);
				size_t n = text_encode(out, &m);
				ck_assert_int_eq(decode((char *)out, n, &again, &consumed), TEXT_OK);
				ck_assert_uint_eq(consumed, n);
			}
			line[at] = saved;
		}
}
END_TEST

START_TEST(random_bytes)
{
	struct prng p = {77};
	struct text_message m;
	size_t consumed;
	char data[400];

	for (int round = 0; round < 5000; round++) {
		const char *line = lines[prng_below(&p, ARRAY_LEN(lines))].line;
		size_t len = prng_below(&p, sizeof(data)), good = prng_below(&p, strlen(line));
		for (size_t i = 0; i < len; i++)
			data[i] = i < good ? line[i] : (char)prng_next(&p);
		if (decode(data, len, &m, &consumed) == TEXT_MORE)
			ck_assert_uint_lt(len, TEXT_LINE_BYTES_MAX);
	}
}
END_TEST

START_TEST(which_keys_fit)
{
	ck_assert(text_key_fits((const uint8_t *)"k", 1));
	ck_assert(text_key_fits((const uint8_t *)"\xff\x80!~", 4));
	ck_assert(text_key_fits((const uint8_t *)K250, 250));
	ck_assert(!text_key_fits((const uint8_t *)K250 "k", 251));
	ck_assert(!text_key_fits((const uint8_t *)"", 0));
	for (int c = 0; c <= ' '; c++) {
		uint8_t key[3] = {'a', (uint8_t)c, 'b'};
		ck_assert(!text_key_fits(key, 3));
	}
	ck_assert(!text_key_fits((const uint8_t *)"a\x7f", 2));
}
END_TEST

/* The other side counts in 31 bits and would not take more. */
START_TEST(far_times_are_cut)
{
	uint8_t out[TEXT_LINE_BYTES_MAX + 1];
	struct text_message m = {.kind = TEXT_REP, .key = (const uint8_t *)"k", .key_len = 1, .exptime = 4000000000u};

	out[text_encode(out, &m)] = '\0';
	ck_assert_str_eq((char *)out, "rep k 0 2147483647 0 0\r\n");
	m = (struct text_message){.kind = TEXT_FLUSH, .exptime = UINT32_MAX};
	out[text_encode(out, &m)] = '\0';
	ck_assert_str_eq((char *)out, "flush_all 2147483647\r\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("repl_text");
	TCase *t = tcase_create("lines");

	tcase_add_loop_test(t, good_lines, 0, (int)ARRAY_LEN(lines));
	tcase_add_loop_test(t, malformed_lines, 0, (int)ARRAY_LEN(bad_lines));
	tcase_add_test(t, a_nul_is_malformed);
	tcase_add_loop_test(t, damaged_lines, 0, (int)ARRAY_LEN(lines));
	tcase_add_test(t, random_bytes);
	tcase_add_test(t, which_keys_fit);
	tcase_add_test(t, far_times_are_cut);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
