/*
 * test_util.c - number grammars (reference section 1.3), printing, hex, the
 * hash, the generator.
 *
 * Covers: util.c.
 */
#include "compat.h"
#include <check.h>
#include "util.h"

/* One token against all five grammars; a column that is refused says NO. */
#define NO INT64_MIN
static const struct {
	const char *text;
	uint64_t u64;
	bool u64_ok;
	int64_t u32, i32, exptime, flags;
} numbers[] = {
	{"0", 0, true, 0, 0, 0, 0},
	{"1", 1, true, 1, 1, 1, 1},
	{"00000000001", 1, true, 1, 1, 1, 1},
	{"000000000001", 1, true, 1, NO, 1, 1}, /* 12 characters */
	{"", 0, false, NO, NO, NO, NO},
	{"-", 0, false, NO, NO, NO, NO},
	{"+", 0, false, NO, NO, NO, NO},
	{"+5", 0, false, NO, NO, 5, 5},
	{"-5", 0, false, NO, -5, -5, NO},
	{"-0", 0, false, NO, 0, 0, NO},
	{"--5", 0, false, NO, NO, NO, NO},
	{"+-5", 0, false, NO, NO, NO, NO},
	{" 5", 0, false, NO, NO, NO, NO},
	{"5 ", 0, false, NO, NO, NO, NO},
	{"5a", 0, false, NO, NO, NO, NO},
	{"0x5", 0, false, NO, NO, NO, NO},
	{"2147483647", 2147483647, true, 2147483647, 2147483647, 2147483647, 2147483647},
	{"2147483648", 2147483648u, true, 2147483648, NO, INT32_MIN, 2147483648},
	{"-2147483648", 0, false, NO, INT32_MIN, INT32_MIN, NO},
	{"-2147483649", 0, false, NO, NO, 2147483647, NO},
	{"4294967295", 4294967295u, true, 4294967295, NO, -1, 4294967295},
	{"4294967296", 4294967296, true, NO, NO, 0, 0},
	{"9223372036854775807", INT64_MAX, true, NO, NO, -1, 4294967295},
	{"9223372036854775808", UINT64_C(1) << 63, true, NO, NO, NO, 0},
	{"-9223372036854775808", 0, false, NO, NO, 0, NO},
	{"-9223372036854775809", 0, false, NO, NO, NO, NO},
	{"18446744073709551615", UINT64_MAX, true, NO, NO, NO, 4294967295},
	{"18446744073709551616", 0, false, NO, NO, NO, NO},
	{"0000000000000000000001", 1, true, 1, NO, 1, 1},
	{"00000000000000000000001", 0, false, NO, NO, 1, 1}, /* 23 characters */
	{"99999999999999999999999", 0, false, NO, NO, NO, NO},
};

START_TEST(grammars)
{
	const char *s = numbers[_i].text;
	size_t len = strlen(s);
	uint64_t u64;
	uint32_t u32;
	int32_t i32;
	ck_assert_msg(parse_u64(s, len, &u64) == numbers[_i].u64_ok, "u64 '%s'", s);
	if (numbers[_i].u64_ok)
		ck_assert_uint_eq(u64, numbers[_i].u64);
	ck_assert_msg(parse_u32(s, len, &u32) == (numbers[_i].u32 != NO), "u32 '%s'", s);
	if (numbers[_i].u32 != NO)
		ck_assert_int_eq((int64_t)u32, numbers[_i].u32);
	ck_assert_msg(parse_i32(s, len, &i32) == (numbers[_i].i32 != NO), "i32 '%s'", s);
	if (numbers[_i].i32 != NO)
		ck_assert_int_eq(i32, numbers[_i].i32);
	ck_assert_msg(parse_exptime_lenient(s, len, &i32) == (numbers[_i].exptime != NO), "exptime '%s'",
	              s);
	if (numbers[_i].exptime != NO)
		ck_assert_int_eq(i32, numbers[_i].exptime);
	ck_assert_msg(parse_flags_lenient(s, len, &u32) == (numbers[_i].flags != NO), "flags '%s'", s);
	if (numbers[_i].flags != NO)
		ck_assert_int_eq((int64_t)u32, numbers[_i].flags);
}
END_TEST

static void print_and_parse(uint64_t v)
{
	char mine[DECIMAL_BYTES_MAX + 1], libc[32];
	size_t len = format_u64(mine, v);
	uint64_t back;
	mine[len] = 0;
	snprintf(libc, sizeof(libc), "%" PRIu64, v);
	ck_assert_str_eq(mine, libc);
	ck_assert(parse_u64(mine, len, &back));
	ck_assert_uint_eq(back, v);
}

START_TEST(printing)
{
	struct prng p = {1};
	uint64_t power = 1;
	for (int n = 0; n < 20; n++, power *= 10) {
		print_and_parse(power);
		print_and_parse(power - 1);
	}
	print_and_parse(UINT64_MAX);
	for (int n = 0; n < 10000; n++)
		print_and_parse(prng_next(&p) >> prng_below(&p, 64));
}
END_TEST

START_TEST(hex)
{
	uint8_t data[5] = {0x00, 0x1f, 0xa0, 0xff, 0x7b}, back[5];
	char text[11] = {0};
	format_hex(text, data, 5);
	ck_assert_str_eq(text, "001fa0ff7b");
	ck_assert(parse_hex(text, 10, back, 5));
	ck_assert_mem_eq(back, data, 5);
	ck_assert(parse_hex("001FA0FF7B", 10, back, 5));
	ck_assert_mem_eq(back, data, 5);
	ck_assert(!parse_hex(text, 9, back, 5));
	ck_assert(!parse_hex(text, 10, back, 4));
	ck_assert(!parse_hex("001fa0ff7g", 10, back, 5));
	ck_assert(!parse_hex("0x1fa0ff7b", 10, back, 5));
	ck_assert(parse_hex("", 0, back, 0));
}
END_TEST

START_TEST(big_endian)
{
	uint8_t b[8];
	store_be64(b, UINT64_C(0x0102030405060708));
	ck_assert_mem_eq(b, "\1\2\3\4\5\6\7\10", 8);
	ck_assert_uint_eq(load_be64(b), UINT64_C(0x0102030405060708));
	ck_assert_uint_eq(load_be32(b), 0x01020304);
	store_be32(b + 4, 0xfffefdfc);
	ck_assert_uint_eq(load_be32(b + 4), 0xfffefdfc);
}
END_TEST

START_TEST(hash)
{
	char key[250];
	memset(key, 'k', sizeof(key));
	for (size_t len = 0; len <= sizeof(key); len++) {
		ck_assert_uint_eq(hash_key(key, len, 1), hash_key(key, len, 1));
		ck_assert_uint_ne(hash_key(key, len, 1), hash_key(key, len, 2));
		if (len > 0)
			ck_assert_uint_ne(hash_key(key, len, 1), hash_key(key, len - 1, 1));
	}
	/* Bits are even: 10000 keys, each bit set in about half of them. */
	int ones[64] = {0};
	for (uint64_t n = 0; n < 10000; n++)
		for (int bit = 0; bit < 64; bit++)
			ones[bit] += hash_key(&n, sizeof(n), 5) >> bit & 1;
	for (int bit = 0; bit < 64; bit++)
		ck_assert(ones[bit] > 4700 && ones[bit] < 5300);
}
END_TEST

START_TEST(generator)
{
	struct prng a = {42}, b = {42};
	int counts[7] = {0};
	for (int n = 0; n < 70000; n++) {
		uint64_t v = prng_below(&a, 7);
		ck_assert_uint_lt(v, 7);
		counts[v]++;
		ck_assert_uint_eq(v, prng_below(&b, 7));
	}
	for (int n = 0; n < 7; n++)
		ck_assert(counts[n] > 9500 && counts[n] < 10500);
	ck_assert_uint_eq(prng_below(&a, 1), 0);
	prng_below(&a, UINT64_MAX);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("util");
	tcase_add_loop_test(tc, grammars, 0, (int)ARRAY_LEN(numbers));
	tcase_add_test(tc, printing);
	tcase_add_test(tc, hex);
	tcase_add_test(tc, big_endian);
	tcase_add_test(tc, hash);
	tcase_add_test(tc, generator);
	Suite *s = suite_create("util");
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
