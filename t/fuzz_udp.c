/*
 * fuzz_udp.c - any datagram; replies of any length and shape; any pace.
 *
 * Owns: LLVMFuzzerTestOneInput(). The input is a script: a datagram, the lengths
 * of the pieces of a reply, and what sources ask when.
 *
 * What must hold
 *  - a datagram is a request exactly if it is longer than a header and says that
 *    it is one of one; its payload is the rest of it
 *  - a reply is cut into full datagrams and a last one, their number is what
 *    udp_reply_count() says, and put together they are the reply
 *  - over any time a source is sent at most what grows in that time, one budget
 *    and one reply; one that is sent nothing for long enough is served again
 *
 * Corpus: t/corpus/udp.
 */
#include "fuzz_nodes.h"
#include "proto_udp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIECES_MAX 24
#define PIECE_BYTES_MAX 6000
#define STEPS_MAX 500
#define RATE 100000
#define SETTLED_MS 2000000

static void check_datagram(const uint8_t *datagram, size_t len)
{
	struct udp_request r;
	bool is_request = len > 8 && datagram[4] == 0 && datagram[5] == 1;

	CHECK(udp_request_decode(datagram, len, &r) == is_request, "%zu bytes", len);
	if (!is_request)
		return;
	CHECK(r.id == (datagram[0] << 8 | datagram[1]), "id");
	CHECK(r.payload == datagram + 8 && r.payload_len == len - 8, "payload");
}

/* As the shell does: what waits, a datagram at a time. */
static void check_reply(struct script *s)
{
	static uint8_t reply[PIECES_MAX * PIECE_BYTES_MAX], got[PIECES_MAX * PIECE_BYTES_MAX];
	size_t lens[PIECES_MAX], total = 0, done = 0;
	int pieces = 1 + take8(s) % PIECES_MAX;
	unsigned number = 0;

	for (int i = 0; i < pieces; i++)
		total += lens[i] = 1 + take16(s) % PIECE_BYTES_MAX;
	for (size_t i = 0; i < total; i++)
		reply[i] = (uint8_t)(i * 31 + i / 251);
	while (done < total) {
		struct iovec iov[PIECES_MAX];
		uint8_t header[UDP_HEADER_BYTES];
		size_t at = 0, len = 0;
		int count = 0;
		for (int i = 0; i < pieces; at += lens[i++]) { /* what is left of each */
			if (at + lens[i] <= done)
				continue;
			size_t from = done > at ? done : at;
			iov[count++] = (struct iovec){reply + from, at + lens[i] - from};
		}
		count = udp_reply_cut(iov, count, &len);
		CHECK(len > 0 && len <= UDP_PAYLOAD_BYTES_MAX, "%zu bytes", len);
		CHECK(len == UDP_PAYLOAD_BYTES_MAX || done + len == total, "not full");
		udp_reply_header(header, 77, number, udp_reply_count(total));
		CHECK(header[1] == 77 && (header[2] << 8 | header[3]) == (int)number, "header");
		for (int i = 0; i < count; done += iov[i++].iov_len)
			memcpy(got + done, iov[i].iov_base, iov[i].iov_len);
		number++;
	}
	CHECK(done == total && memcmp(got, reply, total) == 0, "another reply");
	CHECK(number == udp_reply_count(total), "%u datagrams", number);
}

static void check_budget(struct script *s)
{
	static struct udp_budget b;
	static int64_t sent[4];
	int64_t began_ms = 12345, now_ms = began_ms, largest = 0;

	udp_budget_init(&b, RATE);
	memset(sent, 0, sizeof(sent));
	for (int n = 0; n < STEPS_MAX && s->at < s->len; n++) {
		uint64_t source = take8(s) % 4;
		int64_t bytes = (int64_t)take16(s) * 16;
		now_ms += take8(s) % 4 ? 0 : take16(s);
		if (udp_budget_allows(&b, source, now_ms)) {
			udp_budget_charge(&b, source, (size_t)bytes);
			sent[source] += bytes;
			largest = bytes > largest ? bytes : largest;
		}
		int64_t allowed = RATE + largest + (now_ms - began_ms) * RATE / 1000;
		CHECK(sent[source] <= allowed, "%" PRId64 " bytes in %" PRId64 " ms", sent[source], now_ms - began_ms);
	}
	for (uint64_t source = 0; source < 4; source++)
		CHECK(udp_budget_allows(&b, source, now_ms + SETTLED_MS), "in debt for ever");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, size, 0};

	check_datagram(data, size);
	check_reply(&s);
	check_budget(&s);
	return 0;
}
