/*
 * test_proto_udp.c - frames of UDP: what is a request, how replies of every length
 * and of every shape of pieces are cut, and budgets by a model of a bucket.
 */
#include "compat.h"
#include <check.h>
#include "proto_udp.h"
#include "util.h"

#define TOTAL_MAX (5 * UDP_PAYLOAD_BYTES_MAX + 3)

START_TEST(what_is_a_request)
{
	uint8_t d[16] = {0xab, 0xcd, 9, 9, 0, 1, 8, 8, 'x', 'y'};
	struct udp_request r;

	ck_assert(udp_request_decode(d, 10, &r));
	ck_assert_uint_eq(r.id, 0xabcd);
	ck_assert_ptr_eq(r.payload, d + 8);
	ck_assert_uint_eq(r.payload_len, 2);
	for (size_t len = 0; len <= 8; len++)
		ck_assert(!udp_request_decode(d, len, &r));
	for (unsigned count = 0; count <= UINT16_MAX; count++) {
		store_be16(d + 4, (uint16_t)count);
		ck_assert(udp_request_decode(d, 9, &r) == (count == 1));
	}
}
END_TEST

START_TEST(a_header_is_what_the_table_says)
{
	static const uint8_t expected[] = {0x12, 0x34, 0x01, 0x02, 0x03, 0x04, 0, 0};
	uint8_t h[UDP_HEADER_BYTES];

	udp_reply_header(h, 0x1234, 0x0102, 0x0304);
	ck_assert_mem_eq(h, expected, sizeof(h));
}
END_TEST

/* Cut `total` bytes that lie in pieces of `piece` bytes, and put them together
 * again as a client does. */
static void cut_and_join(size_t total, size_t piece)
{
	static uint8_t reply[TOTAL_MAX], joined[TOTAL_MAX];
	unsigned count = udp_reply_count(total), number = 0;
	size_t done = 0;

	for (size_t i = 0; i < total; i++)
		reply[i] = (uint8_t)(i * 7 + i / 251);
	while (done < total) {
		struct iovec iov[64];
		size_t len, at = done;
		int pieces = 0;
		for (; pieces < 64 && at < total; pieces++) {
			size_t n = piece - at % piece;
			if (n > total - at)
				n = total - at;
			iov[pieces] = (struct iovec){reply + at, n};
			at += n;
		}
		int used = udp_reply_cut(iov, pieces, &len);
		ck_assert_int_le(used, pieces);
		ck_assert(len == UDP_PAYLOAD_BYTES_MAX || done + len == total || used == 64); /* [U1] */
		for (int i = 0; i < used; i++) {
			memcpy(joined + done, iov[i].iov_base, iov[i].iov_len);
			done += iov[i].iov_len;
			len -= iov[i].iov_len;
		}
		ck_assert_uint_eq(len, 0);
		number++;
	}
	ck_assert_uint_eq(number, count);
	ck_assert_mem_eq(joined, reply, total);
}

START_TEST(a_reply_of_any_length)
{
	for (size_t total = 0; total <= TOTAL_MAX; total++)
		cut_and_join(total, 4097);
}
END_TEST

START_TEST(in_pieces_of_any_length)
{
	for (size_t piece = 22; piece <= 3 * UDP_PAYLOAD_BYTES_MAX; piece++)
		cut_and_join(TOTAL_MAX, piece);
}
END_TEST

START_TEST(the_largest_fits_the_header)
{
	unsigned count = udp_reply_count(UDP_REPLY_BYTES_MAX);
	uint8_t h[UDP_HEADER_BYTES];

	udp_reply_header(h, 1, count - 1, count);
	ck_assert_uint_eq(load_be16(h + 4), count);
}
END_TEST

#define RATE 1000

static struct udp_budget b;

START_TEST(a_source_may_spend_a_second_at_once)
{
	udp_budget_init(&b, RATE);
	for (int i = 0; i < 10; i++) {
		ck_assert(udp_budget_allows(&b, 5, 1));
		udp_budget_charge(&b, 5, RATE / 10);
	}
	ck_assert(!udp_budget_allows(&b, 5, 1));
	ck_assert(udp_budget_allows(&b, 6, 1)); /* another source */
	ck_assert(udp_budget_allows(&b, 5, 2));
}
END_TEST

START_TEST(debt_is_paid_before_anything_else)
{
	udp_budget_init(&b, RATE);
	ck_assert(udp_budget_allows(&b, 5, 0));
	udp_budget_charge(&b, 5, 5 * RATE);
	ck_assert(!udp_budget_allows(&b, 5, 4000));
	ck_assert(udp_budget_allows(&b, 5, 4001));
	udp_budget_charge(&b, 5, RATE);
	ck_assert(!udp_budget_allows(&b, 5, 4500));
	ck_assert(udp_budget_allows(&b, 5, INT64_C(4000000000000))); /* and is forgotten */
}
END_TEST

/* Whatever is asked, and when: never more than the rate allows, and one reply. */
START_TEST(over_time_the_rate_holds)
{
	struct prng prng = {(uint64_t)_i + 1};
	int64_t now_ms = 0, sent = 0;
	size_t most = 1 + prng_below(&prng, 3000);

	udp_budget_init(&b, RATE);
	for (int i = 0; i < 20000; i++) {
		now_ms += (int64_t)prng_below(&prng, _i % 2 ? 3 : 300);
		if (!udp_budget_allows(&b, 7, now_ms))
			continue;
		size_t bytes = prng_below(&prng, most + 1);
		udp_budget_charge(&b, 7, bytes);
		sent += (int64_t)bytes;
		ck_assert_int_le(sent, RATE + now_ms * RATE / 1000 + (int64_t)most);
	}
	ck_assert_int_gt(sent, now_ms * RATE / 2000 < 100000 ? 100 : 100000);
}
END_TEST

START_TEST(no_rate_is_no_limit)
{
	udp_budget_init(&b, 0);
	for (int i = 0; i < 100; i++) {
		ck_assert(udp_budget_allows(&b, 5, 0));
		udp_budget_charge(&b, 5, 1 << 20);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto_udp");
	TCase *t = tcase_create("all");

	tcase_add_test(t, what_is_a_request);
	tcase_add_test(t, a_header_is_what_the_table_says);
	tcase_add_test(t, a_reply_of_any_length);
	tcase_add_test(t, in_pieces_of_any_length);
	tcase_add_test(t, the_largest_fits_the_header);
	tcase_add_test(t, a_source_may_spend_a_second_at_once);
	tcase_add_test(t, debt_is_paid_before_anything_else);
	tcase_add_loop_test(t, over_time_the_rate_holds, 0, 10);
	tcase_add_test(t, no_rate_is_no_limit);
	tcase_set_timeout(t, 60);
	suite_add_tcase(suite, t);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
