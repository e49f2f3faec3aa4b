/*
 * test_session_bin.c - conversations in the binary protocol: scripts of packets
 * and what is answered, each whole, at every split point, byte by byte, with
 * sends of one byte and by a client that does not read until it must. Then what
 * scripts cannot say: values of all sizes, statistics, which protocol it is, and
 * conversations in both protocols side by side, in pieces: no reply may belong
 * to another command, or to another connection.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"
#include "packets.h"

#define K50 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_250 K50 K50 K50 K50 K50
#define SET "x=0000000700000000 "
#define COUNT(exptime) "x=" "0000000000000003" "0000000000000064" exptime " "
#define NEVER COUNT("ffffffff")
#define LINES_MAX 24

struct script {
	const char *name;
	const char *packets[LINES_MAX];
	const char *replies[LINES_MAX];
	bool closes;
};

#define MISS "v=Not found"
#define EXISTS "v=Data exists for key."
#define INVALID "v=Invalid arguments"

static const struct script scripts[] = {
        {"set and get", {"01 " SET "k=a v=one o=5", "00 k=a o=6", "0c k=a", "00 k=b", "0c k=b o=9"},
         {"01 00 o=5 c", "00 00 o=6 x=00000007 v=one c", "0c 00 x=00000007 k=a v=one c", "00 01 " MISS, "0c 01 o=9 k=b"},
         false},
        {"empty value", {"01 " SET "k=a", "00 k=a", "11 " SET "k=b", "0d k=b", "0a"},
         {"01 00 c", "00 00 x=00000007 c", "0d 00 x=00000007 k=b c", "0a 00"}, false},
        {"any bytes", {"01 " SET "k=\r\n\t\x01 v=\r\nget\ta\r\n", "00 k=\r\n\t\x01", "01 " SET "k=" KEY_250 " v=1", "00 k=" KEY_250},
         {"01 00 c", "00 00 x=00000007 v=\r\nget\ta\r\n c", "01 00 c", "00 00 x=00000007 v=1 c"}, false},
        {"quiet gets", {"11 " SET "k=a v=1", "09 k=x", "09 k=a", "0d k=y", "0d k=a", "1e x=00000000 k=z",
                        "1e x=00000000 k=a", "24 x=00000000 k=z", "24 x=00000000 k=a", "0a o=3"},
         {"09 00 x=00000007 v=1 c", "0d 00 x=00000007 k=a v=1 c", "1e 00 x=00000007 v=1 c",
          "24 00 x=00000007 k=a v=1 c", "0a 00 o=3"}, false},
        {"quiet changes, good", {"11 " SET "k=a v=5", "12 " SET "k=b v=1", "13 " SET "k=b v=22", "19 k=b v=3", "1a k=b v=4",
                                 "15 " NEVER "k=a", "16 " NEVER "k=a", "14 k=a", "00 k=a", "00 k=b", "18", "0a"},
         {"00 01 " MISS, "00 00 x=00000007 v=4223 c", "0a 00"}, false},
        {"quiet changes, bad", {"11 " SET "k=a v=x", "12 " SET "k=a v=1", "13 " SET "k=n v=1", "19 k=n v=1", "1a k=n v=1",
                                "15 " NEVER "k=a", "16 " NEVER "k=n", "14 k=n", "11 " SET "k=a c=99999 v=1", "0a"},
         {"12 02 " EXISTS, "13 01 " MISS, "19 05 v=Not stored.", "1a 05 v=Not stored.",
          "15 06 v=Non-numeric server-side value for incr or decr", "16 01 " MISS, "14 01 " MISS, "11 02 " EXISTS,
          "0a 00"}, false},
        {"add, replace", {"03 " SET "k=a v=1", "02 " SET "k=a v=2", "02 " SET "k=a v=3", "03 " SET "k=a v=4", "00 k=a"},
         {"03 01 " MISS, "02 00 c", "02 02 " EXISTS, "03 00 c", "00 00 x=00000007 v=4 c"}, false},
        {"append, prepend", {"0e k=a v=1", "0f k=a v=1", "01 " SET "k=a v=m", "0e k=a v=z", "0f k=a v=a", "00 k=a"},
         {"0e 05 v=Not stored.", "0f 05 v=Not stored.", "01 00 c", "0e 00 c", "0f 00 c", "00 00 x=00000007 v=amz c"}, false},
        {"CAS uniques", {"01 " SET "k=a v=1", "01 " SET "k=a v=2 c=1", "01 " SET "k=a v=3 c=1", "02 " SET "k=a v=4 c=2",
                         "03 " SET "k=a v=5 c=2", "0e k=a v=6 c=3", "0e k=a v=7 c=3", "0f k=a v=7 c=9", "04 k=a c=3",
                         "01 " SET "k=n v=1 c=1", "02 " SET "k=n v=1 c=1", "03 " SET "k=n v=1 c=1", "0e k=n v=1 c=1",
                         "04 k=n c=1", "00 k=a", "04 k=a c=4", "00 k=a"},
         {"01 00 c", "01 00 c", "01 02 " EXISTS, "02 00 c", "03 02 " EXISTS, "0e 00 c", "0e 02 " EXISTS, "0f 02 " EXISTS,
          "04 02 " EXISTS, "01 01 " MISS, "02 01 " MISS, "03 01 " MISS, "0e 05 v=Not stored.", "04 01 " MISS,
          "00 00 x=00000007 v=46 c", "04 00", "00 01 " MISS}, false},
        {"incr and decr", {"05 " NEVER "k=a", "05 " COUNT("00000000") "k=a", "05 " COUNT("00000000") "k=a", "06 " NEVER "k=a",
                           "00 k=a", "06 " COUNT("00000000") "k=b", "05 " NEVER "k=a c=77", "05 " COUNT("00000000") "k=n c=77",
                           "01 " SET "k=d v=2", "06 " NEVER "k=d", "01 " SET "k=w v=18446744073709551614", "05 " NEVER "k=w",
                           "01 " SET "k=t v=x", "05 " COUNT("00000000") "k=t"},
         {"05 01 " MISS, "05 00 v=100 c", "05 00 v=103 c", "06 00 v=100 c", "00 00 x=00000000 v=100 c", "06 00 v=100 c",
          "05 02 " EXISTS, "05 01 " MISS, "01 00 c", "06 00 v=0 c", "01 00 c", "05 00 v=1 c", "01 00 c",
          "05 06 v=Non-numeric server-side value for incr or decr"}, false},
        {"touch", {"1c x=00000064 k=a", "01 " SET "k=a v=1", "1c x=00000064 k=a", "1d x=00000000 k=a", "23 x=00000000 k=a",
                   "23 x=00000000 k=b", "1d x=00000001 k=b", "1c x=68000000 k=a", "00 k=a"},
         {"1c 01 " MISS, "01 00 c", "1c 00 x=00000007 c", "1d 00 x=00000007 v=1 c", "23 00 x=00000007 k=a v=1 c",
          "23 01 k=b", "1d 01 " MISS, "1c 00 x=00000007 c", "00 01 " MISS}, false},
        {"delete", {"04 k=a", "01 " SET "k=a v=1", "04 k=a", "00 k=a"}, {"04 01 " MISS, "01 00 c", "04 00", "00 01 " MISS}, false},
        {"flush", {"01 " SET "k=a v=1", "08 x=00000064", "00 k=a", "08 x=00000000", "00 k=a", "01 " SET "k=a v=2", "08", "00 k=a"},
         {"01 00 c", "08 00", "00 00 x=00000007 v=1 c", "08 00", "00 01 " MISS, "01 00 c", "08 00", "00 01 " MISS}, false},
        {"stat lists", {"10 k=nonsense o=1", "10 k=sizes o=2", "10 k=reset", "0a"},
         {"10 01 o=1 " MISS, "10 00 o=2 k=sizes_status v=disabled", "10 00 o=2", "10 00", "0a 00"}, false},
        {"noop and version", {"0a o=1", "0b o=2", "0a o=4294967295"},
         {"0a 00 o=1", "0b 00 o=2 v=" PACKAGE_VERSION, "0a 00 o=4294967295"}, false},
        {"SASL that is not there", {"20", "21 k=PLAIN v=abc", "22 k=PLAIN v=abc", "0a"},
         {"20 81 v=Unknown command", "21 81 v=Unknown command", "22 81 v=Unknown command", "0a 00"}, false},
        {"unknown", {"1b x=00000001", "30 k=key v=value", "ff", "7f x=00 k=00 v=0a", "0a"},
         {"1b 81 v=Unknown command", "30 81 v=Unknown command", "ff 81 v=Unknown command", "7f 81 v=Unknown command",
          "0a 00"}, false},
        {"quit", {"0a", "07 o=3", "0a"}, {"0a 00", "07 00 o=3"}, true},
        {"quiet quit", {"0a", "17", "0a"}, {"0a 00"}, true},
        {"no key", {"0a", "00", "0a"}, {"0a 00", "00 04 " INVALID}, true},
        {"a long key", {"00 o=1 k=" KEY_250 "k", "0a"}, {"00 04 o=1 " INVALID}, true},
        {"a value too many", {"04 k=a v=b", "0a"}, {"04 04 " INVALID}, true},
        {"wrong extras", {"11 k=a v=b", "0a"}, {"11 04 " INVALID}, true},
        {"lengths that contradict", {"01 " SET "k=a v=b K=300", "0a"}, {"01 81 v=Unknown command"}, true},
        {"a gigabyte and more", {"01 " SET "k=a L=1073741825", "0a"}, {"01 04 " INVALID}, true},
};

/* ---- playing ---------------------------------------------------------------- */

static struct fixture f;
static struct client c;

static void open_server(const struct pace *pace)
{
	fixture_init(&f);
	fixture_open(&f);
	client_open(&c, &f, pace);
}

static void close_server(void)
{
	client_close(&c);
	fixture_close(&f);
}

static void make_all(struct packet_bytes *p, const char *const lines[LINES_MAX])
{
	p->len = 0;
	for (int i = 0; i < LINES_MAX && lines[i]; i++)
		packet_make(p, lines[i]);
}

static void compare(const char *name, const struct text *out, const char *const replies[LINES_MAX])
{
	char shown[600];
	size_t at = 0;

	for (int i = 0; i < LINES_MAX && replies[i]; i++) {
		size_t n = packet_show((const uint8_t *)out->data + at, out->len - at, shown, sizeof(shown));
		if (n == 0)
			ck_abort_msg("%s: no reply %d, expected %s", name, i, replies[i]);
		if (strcmp(shown, replies[i]) != 0)
			ck_abort_msg("%s: reply %d is %s, expected %s", name, i, shown, replies[i]);
		at += n;
	}
	if (at != out->len)
		ck_abort_msg("%s: %zu bytes more than expected", name, out->len - at);
}

static void play(const struct script *s, const struct pace *pace)
{
	struct packet_bytes p;

	open_server(pace);
	make_all(&p, s->packets);
	client_send(&c, p.data, p.len);
	client_drain(&c);
	if (pace->lazy)
		for (c.pace.lazy = false; session_state(c.session) != SESSION_CLOSE && c.out.len == 0;)
			client_drain(&c);
	client_drain(&c);
	compare(s->name, &c.out, s->replies);
	if (c.closed != s->closes)
		ck_abort_msg("%s: %s", s->name, c.closed ? "closed" : "not closed");
	close_server();
}

START_TEST(script_in_every_way)
{
	const struct script *s = &scripts[_i];
	struct packet_bytes p;

	make_all(&p, s->packets);
	play(s, &(struct pace){0});
	play(s, &(struct pace){.in_max = 1});
	play(s, &(struct pace){.in_max = 1, .straight = true});
	play(s, &(struct pace){.out_max = 1});
	play(s, &(struct pace){.in_max = 1, .out_max = 1});
	play(s, &(struct pace){.lazy = true});
	for (size_t split = 1; split < p.len; split++)
		play(s, &(struct pace){.split = split});
	for (size_t step = 2; step < 60; step++)
		play(s, &(struct pace){.in_max = step});
}
END_TEST

/* ---- which protocol --------------------------------------------------------- */

START_TEST(the_first_byte_decides)
{
	static const struct {
		enum protocol_choice choice;
		bool text, binary;
	} rows[] = {
	        {PROTOCOL_AUTO, true, true},
	        {PROTOCOL_ASCII, true, false},
	        {PROTOCOL_BINARY, false, true},
	};
	struct packet_bytes packet = {.len = 0};

	packet_make(&packet, "0c k=a"); /* no newline in it */
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		fixture_init(&f);
		f.settings.protocol = rows[i].choice;
		fixture_open(&f);
		client_open(&c, &f, &(struct pace){.in_max = 1});
		client_send(&c, "mn\r\n", 4);
		ck_assert(c.closed != rows[i].text);
		ck_assert(rows[i].text == (c.out.len == 4 && memcmp(c.out.data, "MN\r\n", 4) == 0));
		client_close(&c);
		client_open(&c, &f, &(struct pace){0});
		client_send(&c, packet.data, packet.len);
		ck_assert_uint_eq(c.out.len, rows[i].binary ? PROTO_BIN_HEADER_BYTES + 1 : 0);
		if (!rows[i].binary) { /* so many bytes that may become a line */
			client_send(&c, "\r\n", 2);
			ck_assert(c.out.len == 7 && memcmp(c.out.data, "ERROR\r\n", 7) == 0);
		}
		close_server();
	}
}
END_TEST

START_TEST(it_stays_so)
{
	struct packet_bytes p = {.len = 0};

	packet_make(&p, "0c k=a");
	packet_add(&p, "mn\r\n", 4);
	packet_make(&p, "0c k=a");
	open_server(&(struct pace){0});
	client_send(&c, p.data, p.len);
	ck_assert(c.closed); /* not a packet: nothing is said to it */
	ck_assert_uint_eq(c.out.len, PROTO_BIN_HEADER_BYTES + 1);
	close_server();
	open_server(&(struct pace){0});
	client_send(&c, "mn\r\n", 4);
	client_send(&c, p.data, PROTO_BIN_HEADER_BYTES + 1);
	client_send(&c, "\r\nmn\r\n", 6);
	ck_assert_msg(c.out.len == 15 && memcmp(c.out.data, "MN\r\nERROR\r\nMN\r\n", 15) == 0, "%s",
		      text_show(c.out.data, c.out.len));
	close_server();
}
END_TEST

/* ---- values ----------------------------------------------------------------- */

static void make_value(struct text *t, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text_add(t, &(char){(char)('a' + (i * 7 + i / 251) % 26)}, 1);
}

static void set_and_get(size_t len, const struct pace *pace)
{
	struct packet_bytes head = {.len = 0};
	struct text value = {0};
	char line[100];

	open_server(pace);
	make_value(&value, len);
	snprintf(line, sizeof(line), "01 " SET "k=big o=8 L=%zu", 8 + 3 + len);
	packet_make(&head, line);
	client_send(&c, head.data, head.len);
	if (len > 0)
		client_send(&c, value.data, len);
	head.len = 0;
	packet_make(&head, "00 k=big o=9");
	packet_make(&head, "0a o=10");
	client_send(&c, head.data, head.len);
	const uint8_t *out = (const uint8_t *)c.out.data;
	ck_assert_uint_eq(c.out.len, 3 * PROTO_BIN_HEADER_BYTES + 4 + len);
	ck_assert_uint_eq(load_be32(out + 12), 8);
	out += PROTO_BIN_HEADER_BYTES;
	ck_assert_uint_eq(load_be32(out + 12), 9);
	ck_assert_uint_eq(load_be32(out + 8), 4 + len);
	if (len > 0)
		ck_assert(memcmp(out + PROTO_BIN_HEADER_BYTES + 4, value.data, len) == 0);
	ck_assert_uint_eq(load_be32(out + PROTO_BIN_HEADER_BYTES + 4 + len + 12), 10);
	text_free(&value);
	close_server();
}

START_TEST(values_of_all_sizes)
{
	static const size_t sizes[] = {0, 1, 2, 100, 4095, 4096, 4097, 8192, 16383, 16384, 65536, 100000, 1000000};
	static const struct pace paces[] = {
	        {0}, {.straight = true}, {.in_max = 1000}, {.in_max = 5000, .straight = true},
	        {.in_max = 60000, .out_max = 777}, {.lazy = false, .out_max = 4096, .straight = true},
	};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		set_and_get(sizes[i], &paces[_i]);
}
END_TEST

START_TEST(too_large_is_swallowed_and_removes_the_old)
{
	struct packet_bytes p = {.len = 0};
	struct text value = {0};
	size_t len = 2000000;
	char line[100];

	for (int with_cas = 0; with_cas < 2; with_cas++) {
		open_server(&(struct pace){.in_max = 50000});
		p.len = 0;
		packet_make(&p, "11 " SET "k=a v=old");
		snprintf(line, sizeof(line), "01 " SET "k=a %s L=%zu", with_cas ? "c=1" : "", 8 + 1 + len);
		packet_make(&p, line);
		client_send(&c, p.data, p.len);
		ck_assert_uint_eq(c.out.len, 0);
		value.len = 0;
		make_value(&value, len);
		client_send(&c, value.data, len);
		p.len = 0;
		packet_make(&p, "00 k=a");
		client_send(&c, p.data, p.len);
		static const char *const gone[LINES_MAX] = {"01 03 v=Too large.", "00 01 " MISS};
		static const char *const kept[LINES_MAX] = {"01 03 v=Too large.", "00 00 x=00000007 v=old c"};
		compare("too large", &c.out, with_cas ? kept : gone);
		close_server();
	}
	text_free(&value);
}
END_TEST

START_TEST(without_memory)
{
	static const char *const replies[LINES_MAX] = {"01 82 v=Out of memory", "01 82 v=Out of memory",
						       "05 82 v=Out of memory", "0a 00"};
	struct packet_bytes p = {.len = 0};

	open_server(&(struct pace){.in_max = 7});
	items_fail_alloc_after(f.items, 1);
	packet_make(&p, "01 " SET "k=a v=value");
	client_send(&c, p.data, p.len);
	p.len = 0;
	packet_make(&p, "01 " SET "k=a"); /* nothing to swallow */
	items_fail_alloc_after(f.items, 1);
	client_send(&c, p.data, p.len);
	p.len = 0;
	packet_make(&p, "05 " COUNT("00000000") "k=a");
	packet_make(&p, "0a");
	items_fail_alloc_after(f.items, 1);
	client_send(&c, p.data, p.len);
	compare("no memory", &c.out, replies);
	close_server();
}
END_TEST

/* The first part of a large value fills its memory exactly, there is no more, and
 * all that is left of it comes in one piece. */
START_TEST(memory_runs_out_between_two_pieces)
{
	static const char *const replies[LINES_MAX] = {"01 82 o=3 v=Out of memory"};
	struct packet_bytes p = {.len = 0};
	enum items_status status;
	struct text value = {0};
	size_t len = 1000000;
	char line[80];

	open_server(&(struct pace){0});
	struct key key = fixture_key(&f, "a");
	struct item *item = items_reserve_part(f.items, &key, len, 7, 0, &status);
	ck_assert_ptr_nonnull(item);
	size_t room = items_reserved_len(f.items, item);
	items_release(f.items, item);
	ck_assert(room > 0 && room < len);
	make_value(&value, len);
	snprintf(line, sizeof(line), "01 " SET "k=a o=3 L=%zu", 8 + 1 + len);
	packet_make(&p, line);
	client_send(&c, p.data, p.len);
	client_send(&c, value.data, room);
	items_fail_alloc_after(f.items, 1);
	client_send(&c, value.data + room, len - room);
	compare("no memory", &c.out, replies);
	ck_assert(session_is_idle(c.session));
	text_free(&value);
	close_server();
}
END_TEST

/* ---- settings --------------------------------------------------------------- */

START_TEST(without_uniques_and_without_flush)
{
	static const char *const packets[LINES_MAX] = {"01 " SET "k=a v=1", "00 k=a", "05 " NEVER "k=a", "01 " SET "k=a v=1 c=1",
						       "08", "18", "0a"};
	static const char *const replies[LINES_MAX] = {"01 00", "00 00 x=00000007 v=1", "05 00 v=4", ("01 02 " EXISTS),
						       "08 20 v=Auth failure.", "18 20 v=Auth failure.", "0a 00"};
	struct packet_bytes p;

	fixture_init(&f);
	f.settings.cas = false;
	f.settings.flush_enabled = false;
	fixture_open(&f);
	client_open(&c, &f, &(struct pace){0});
	make_all(&p, packets);
	client_send(&c, p.data, p.len);
	compare("-C -F", &c.out, replies);
	close_server();
}
END_TEST

/* The pairs of a list of statistics as the lines of the text protocol. */
static void lines_of(struct text *lines, const struct text *out)
{
	char name[200], value[1100];
	size_t at = 0;

	lines->len = 0;
	text_add(lines, "", 0);
	for (;;) {
		const uint8_t *p = (const uint8_t *)out->data + at;
		ck_assert_uint_le(at + PROTO_BIN_HEADER_BYTES, out->len);
		size_t key_len = load_be16(p + 2), body_len = load_be32(p + 8);
		ck_assert_uint_eq(load_be16(p + 6), 0);
		ck_assert_uint_eq(load_be32(p + 12), 4711);
		at += PROTO_BIN_HEADER_BYTES + body_len;
		if (body_len == 0)
			break;
		ck_assert(key_len > 0 && key_len < sizeof(name) && body_len - key_len < sizeof(value));
		snprintf(name, sizeof(name), "STAT %.*s ", (int)key_len, (const char *)p + PROTO_BIN_HEADER_BYTES);
		text_str(lines, name);
		snprintf(value, sizeof(value), "%.*s\r\n", (int)(body_len - key_len),
			 (const char *)p + PROTO_BIN_HEADER_BYTES + key_len);
		text_str(lines, value);
	}
	text_str(lines, "END\r\n");
	ck_assert_uint_eq(at, out->len);
}

START_TEST(statistics_are_those_of_the_text_protocol)
{
	static const char *const lists[] = {"", "settings", "items", "slabs", "sizes", "conns"};
	struct text lines = {0};

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		struct packet_bytes p = {.len = 0};
		struct client text;
		char line[80];
		open_server(&(struct pace){0});
		client_open(&text, &f, &(struct pace){0});
		client_expect(&text, "set a 0 0 1\r\nx\r\nget a\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\n");
		struct stats before = f.stats;
		snprintf(line, sizeof(line), "10 o=4711 %s%s", lists[i][0] ? "k=" : "", lists[i]);
		packet_make(&p, line);
		client_send(&c, p.data, p.len);
		lines_of(&lines, &c.out);
		f.stats = before;
		/* both requests have been counted by now: of one length */
		snprintf(line, sizeof(line), "stats%s%s%*s\r\n", lists[i][0] ? " " : "", lists[i], (int)(p.len - 7 - strlen(lists[i]) - (lists[i][0] != 0)), "");
		text.out.len = 0;
		client_send(&text, line, strlen(line));
		ck_assert_uint_eq(text.out.len, lines.len);
		ck_assert(memcmp(text.out.data, lines.data, lines.len) == 0);
		client_close(&text);
		close_server();
	}
	text_free(&lines);
}
END_TEST

/* ---- back-pressure and fairness ---------------------------------------------- */

START_TEST(a_client_that_does_not_read_is_not_read)
{
	struct packet_bytes p = {.len = 0};
	struct text value = {0}, pipeline = {0};
	size_t len = 4000, count = 1000;
	char line[80];

	open_server(&(struct pace){.lazy = true, .in_max = 4096});
	make_value(&value, len);
	snprintf(line, sizeof(line), "11 " SET "k=a L=%zu", 8 + 1 + len);
	packet_make(&p, line);
	client_send(&c, p.data, p.len);
	client_send(&c, value.data, len);
	for (size_t i = 0; i < count; i++) {
		p.len = 0;
		snprintf(line, sizeof(line), "09 k=a o=%zu", i + 1);
		packet_make(&p, line);
		text_add(&pipeline, p.data, p.len);
	}
	client_send(&c, pipeline.data, pipeline.len);
	c.pace.lazy = false;
	client_drain(&c);
	size_t each = PROTO_BIN_HEADER_BYTES + 4 + len;
	ck_assert_uint_eq(c.out.len, count * each);
	for (size_t i = 0; i < count; i++)
		ck_assert_uint_eq(load_be32((const uint8_t *)c.out.data + i * each + 12), i + 1);
	ck_assert_uint_le(c.waiting_max, SESSION_OUTPUT_BYTES_MAX + 20 * each);
	ck_assert_uint_gt(f.stats.conn_yields, 0);
	text_free(&value);
	text_free(&pipeline);
	close_server();
}
END_TEST

/* ---- replies belong to their commands ---------------------------------------- */

#define TALKERS 4
#define COMMANDS 300

/* A conversation of commands with a number each, and what must come of it. */
struct talker {
	struct text input, alone; /* alone: what is answered when nobody else is there */
	struct client client;
	size_t sent;
	bool binary;
};

static void add_binary(struct prng *p, struct text *out, unsigned who, unsigned number)
{
	static const char *const forms[] = {
	        "00 k=%u-%u", "09 k=%u-%u", "0c k=%u-%u", "0d k=%u-%u", "01 " SET "k=%u-%u v=12", "11 " SET "k=%u-%u v=34",
	        "02 " SET "k=%u-%u v=56", "12 " SET "k=%u-%u", "03 " SET "k=%u-%u v=78", "0e k=%u-%u v=9", "19 k=%u-%u v=0",
	        "04 k=%u-%u", "14 k=%u-%u", "05 " COUNT("00000000") "k=%u-%u", "15 " NEVER "k=%u-%u",
	        "1d x=00000000 k=%u-%u", "24 x=00000064 k=%u-%u", "1c x=00000000 k=%u-%u", "33 k=%u-%u v=unknown",
	        "10 k=nonsense%u%u", "0a k=%u-%u K=0 L=0",
	};
	struct packet_bytes packet = {.len = 0};
	char line[120];
	unsigned form = (unsigned)prng_below(p, ARRAY_LEN(forms));

	snprintf(line, sizeof(line), forms[form], who, (unsigned)prng_below(p, 5));
	if (form == ARRAY_LEN(forms) - 1)
		snprintf(line, sizeof(line), "0a");
	snprintf(line + strlen(line), sizeof(line) - strlen(line), " o=%u", number);
	packet_make(&packet, line);
	text_add(out, packet.data, packet.len);
	if (prng_below(p, 10) > 0)
		return;
	/* a value that comes in many pieces, good or too large */
	size_t len = prng_below(p, 3) ? prng_below(p, 30000) : 1100000;
	packet.len = 0;
	snprintf(line, sizeof(line), "01 " SET "k=%u-%u o=%u L=%zu", who, number % 5, number, 8 + 3 + len);
	packet_make(&packet, line);
	text_add(out, packet.data, packet.len);
	for (size_t i = 0; i < len; i += 10)
		text_add(out, "\r\nget a\r\n\x80", len - i < 10 ? len - i : 10);
}

static void add_text(struct prng *p, struct text *out, unsigned who, unsigned number)
{
	static const char *const words[] = {"set", "add", "replace", "append", "prepend"};
	unsigned key = (unsigned)prng_below(p, 5);
	size_t len = prng_below(p, 12) ? prng_below(p, 20) : prng_below(p, 30000);
	char line[160];

	switch (prng_below(p, 6)) {
	case 0:
		snprintf(line, sizeof(line), "get %u-%u %u-%u\r\n", who, key, who, (key + 1) % 5);
		break;
	case 1:
		snprintf(line, sizeof(line), "delete %u-%u%s\r\n", who, key, number % 3 ? "" : " noreply");
		break;
	case 2:
		snprintf(line, sizeof(line), "bogus %u\r\nincr %u-%u %u\r\n", number, who, key, number);
		break;
	case 3:
		snprintf(line, sizeof(line), "touch %u-%u 0\r\n", who, key);
		break;
	default:
		snprintf(line, sizeof(line), "%s %u-%u %u 0 %zu\r\n", words[prng_below(p, ARRAY_LEN(words))], who, key, number,
			 len);
		text_str(out, line);
		for (size_t i = 0; i < len; i++)
			text_add(out, i % 3 ? "0" : "\x80", 1);
		snprintf(line, sizeof(line), "\r\n");
		break;
	}
	text_str(out, line);
}

/* CAS uniques depend on what the others do. */
static void blank_uniques(struct text *out)
{
	for (size_t at = 0; at < out->len;) {
		uint8_t *p = (uint8_t *)out->data + at;
		ck_assert(out->len - at >= PROTO_BIN_HEADER_BYTES && p[0] == PROTO_BIN_RESPONSE);
		at += PROTO_BIN_HEADER_BYTES + load_be32(p + 8);
		ck_assert_uint_le(at, out->len);
		if (load_be64(p + 16))
			store_be64(p + 16, 1);
	}
}

static void talk_alone(struct talker *t)
{
	open_server(&(struct pace){0});
	client_send(&c, t->input.data, t->input.len);
	client_drain(&c);
	ck_assert(!c.closed);
	text_add(&t->alone, c.out.data, c.out.len);
	if (t->binary)
		blank_uniques(&t->alone);
	close_server();
}

START_TEST(replies_do_not_cross)
{
	struct prng p = {.state = (uint64_t)_i * 7919 + 1};
	struct talker talkers[TALKERS] = {0};
	size_t left = 0;

	for (unsigned i = 0; i < TALKERS; i++) {
		struct talker *t = &talkers[i];
		t->binary = i % 2 == 0;
		for (unsigned n = 1; n <= COMMANDS; n++)
			(t->binary ? add_binary : add_text)(&p, &t->input, i, n);
		talk_alone(t);
		left += t->input.len;
	}
	fixture_init(&f);
	f.settings.memory_bytes_max = 64 << 20;
	fixture_open(&f);
	for (unsigned i = 0; i < TALKERS; i++)
		client_open(&talkers[i].client, &f, &(struct pace){.straight = i < 2, .out_max = i == 3 ? 100 : 0});
	while (left > 0) {
		struct talker *t = &talkers[prng_below(&p, TALKERS)];
		size_t rest = t->input.len - t->sent;
		size_t n = 1 + prng_below(&p, prng_below(&p, 4) ? 60 : 20000);
		if (n > rest)
			n = rest;
		client_send(&t->client, t->input.data + t->sent, n);
		t->sent += n;
		left -= n;
	}
	for (unsigned i = 0; i < TALKERS; i++) {
		struct talker *t = &talkers[i];
		client_drain(&t->client);
		if (t->binary)
			blank_uniques(&t->client.out);
		ck_assert_uint_eq(t->client.out.len, t->alone.len);
		ck_assert(memcmp(t->client.out.data, t->alone.data, t->alone.len) == 0);
		client_close(&t->client);
		text_free(&t->input);
		text_free(&t->alone);
	}
	fixture_close(&f);
}
END_TEST

/* With one command at a time the number in the reply is that of the command. */
START_TEST(replies_carry_their_numbers)
{
	struct prng p = {.state = (uint64_t)_i + 99};

	open_server(&(struct pace){.in_max = 1 + (size_t)_i});
	for (unsigned n = 1; n <= COMMANDS; n++) {
		struct text input = {0};
		add_binary(&p, &input, 1, n);
		c.out.len = 0;
		client_send(&c, input.data, input.len);
		for (size_t at = 0; at < c.out.len;) {
			const uint8_t *r = (const uint8_t *)c.out.data + at;
			ck_assert_uint_eq(load_be32(r + 12), n);
			at += PROTO_BIN_HEADER_BYTES + load_be32(r + 8);
			ck_assert_uint_le(at, c.out.len);
		}
		text_free(&input);
	}
	close_server();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("session_bin");
	TCase *tc = tcase_create("sessions");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, script_in_every_way, 0, (int)ARRAY_LEN(scripts));
	tcase_add_test(tc, the_first_byte_decides);
	tcase_add_test(tc, it_stays_so);
	tcase_add_loop_test(tc, values_of_all_sizes, 0, 6);
	tcase_add_test(tc, too_large_is_swallowed_and_removes_the_old);
	tcase_add_test(tc, without_memory);
	tcase_add_test(tc, memory_runs_out_between_two_pieces);
	tcase_add_test(tc, without_uniques_and_without_flush);
	tcase_add_test(tc, statistics_are_those_of_the_text_protocol);
	tcase_add_test(tc, a_client_that_does_not_read_is_not_read);
	tcase_add_loop_test(tc, replies_do_not_cross, 0, 10);
	tcase_add_loop_test(tc, replies_carry_their_numbers, 0, 40);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
