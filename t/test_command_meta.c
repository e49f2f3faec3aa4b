/*
 * test_command_meta.c - the meta commands as clients see them: scripts of input
 * and expected output (doc/protocol.txt section 2), each played whole, at every
 * split point, byte by byte, and by a client that does not read until it must.
 * Then what scripts cannot say: leases of two clients, chosen CAS uniques, marks
 * and versions with replication on, large values, storms, what is counted.
 */
#include "compat.h"
#include <check.h>
#include "fixture.h"

#define K50 "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
#define KEY_250 K50 K50 K50 K50 K50
#define O31 "O1234567890123456789012345678901"
#define BADFMT "CLIENT_ERROR bad command line format\r\n"
#define CHUNK "CLIENT_ERROR bad data chunk\r\n"
#define NON_NUMERIC "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
#define CAS_REFUSED "CLIENT_ERROR CAS uniques cannot be chosen with replication on\r\n"

struct script {
	const char *name;
	const char *input;
	const char *reply;
};

static const struct script scripts[] = {
        {"mg", "mg a\r\nmg a k " O31 " v\r\nms a 2 F5 T100\r\nhi\r\nmg a\r\nmg a v\r\n"
               "mg a s v t f c k h l " O31 "\r\nmg a h l\r\n",
         "EN\r\nEN ka " O31 "\r\nHD\r\nHD\r\nVA 2\r\nhi\r\n"
         "VA 2 s2 t100 f5 c1 ka h1 l0 " O31 "\r\nhi\r\nHD h1 l0\r\n"},
        {"mg without bumping", "ms a 1\r\nx\r\nmg a u h\r\nmg a h u\r\nmg a h\r\nmg a h\r\n",
         "HD\r\nHD h0\r\nHD h0\r\nHD h0\r\nHD h1\r\n"},
        {"mg knows it already", "ms a 1\r\nx\r\nmg a v C1 c\r\nmg a v C2 c\r\n", "HD\r\nHD c1\r\nVA 1 c1\r\nx\r\n"},
        {"mg touches in the order of its flags",
         "ms a 1 T30\r\nx\r\nmg a t T60\r\nmg a t\r\nmg a T90 t\r\nmg a T0 t\r\nmg a T-1 t v\r\nmg a\r\n",
         "HD\r\nHD t30\r\nHD t60\r\nHD t90\r\nHD t-1\r\nVA 1 t0\r\nx\r\nEN\r\n"},
        {"q", "mg a q v k\r\nms a 1 q\r\nx\r\nmg a q v\r\nms a 1 q ME\r\ny\r\nmd b q\r\nmd a C9 q\r\nma b q\r\n"
              "ms a 1 q\r\n5\r\nma a q v\r\nma a q C9\r\nmd a q\r\nmn\r\n",
         "VA 1\r\nx\r\nNS\r\nNF\r\nEX\r\nNF\r\nEX\r\nMN\r\n"},
        {"errors are said aloud", "mg a q z\r\nms a 1 q z\r\nx\r\nms a 1 q\r\nxyz" "ma a q DX\r\nms a 1 q\r\nx\r\nma a q\r\n",
         "CLIENT_ERROR invalid flag\r\nCLIENT_ERROR invalid flag\r\n" CHUNK
         "CLIENT_ERROR invalid or duplicate flag\r\n" NON_NUMERIC},
        {"ms", "ms a 2 c s k O7\r\nab\r\nms a 0 s\r\n\r\nmg a v\r\nms a 2 T-1 c\r\nab\r\nmg a\r\n",
         "HD c1 s2 ka O7\r\nHD s0\r\nVA 0\r\n\r\nHD c0\r\nEN\r\n"},
        {"ms add", "ms a 1 ME c\r\nx\r\nms a 1 ME c k\r\ny\r\nms a 1 ME C1\r\ny\r\nmg a v\r\n",
         "HD c1\r\nNS c0 ka\r\nNS\r\nVA 1\r\nx\r\n"},
        {"ms replace", "ms a 1 MR k O1\r\nx\r\nms a 1\r\nx\r\nms a 1 MR\r\ny\r\nmg a v\r\n",
         "NS ka O1\r\nHD\r\nHD\r\nVA 1\r\ny\r\n"},
        {"ms append, prepend",
         "ms a 1 MA s\r\nx\r\nms a 1 F3 T50\r\nx\r\nms a 2 MA s c\r\nyz\r\nms a 1 MP s F9 T0\r\nw\r\nmg a v f t\r\n",
         "NS s1\r\nHD\r\nHD s3 c2\r\nHD s4\r\nVA 4 f3 t50\r\nwxyz\r\n"},
        {"ms append makes it", "ms a 1 MA N30 T60 F4\r\nx\r\nms b 1 MP N0\r\ny\r\nms a 1 MA N90\r\nz\r\nmg a v t f\r\nmg b v t\r\n",
         "HD\r\nHD\r\nHD\r\nVA 2 t30 f4\r\nxz\r\nVA 1 t-1\r\ny\r\n"},
        {"ms compares",
         "ms a 1 C5 k\r\nx\r\nms a 1\r\nx\r\nms a 1 C1 c\r\ny\r\nms a 1 C1 c k\r\nz\r\nms a 1 C0\r\nz\r\nms a 1 MR C9\r\nz\r\n"
         "ms a 1 MA C9\r\nz\r\nms a 1 MA C2 c\r\nz\r\nms b 1 MA C2\r\nz\r\nms b 1 MR C2\r\nz\r\nms a 1 MA C0\r\nz\r\nmg a v\r\n",
         "NF ka\r\nHD\r\nHD c2\r\nEX c0 ka\r\nEX\r\nEX\r\nEX\r\nHD c3\r\nNS\r\nNF\r\nEX\r\nVA 2\r\nyz\r\n"},
        {"ms stores a stale value",
         "ms a 1 T500\r\nx\r\nms a 1 T500\r\ny\r\nms a 1 C1 I T9 c\r\nz\r\nmg a v t\r\nmg a v\r\nms a 1 C2 I\r\nw\r\nmg a v\r\n"
         "ms a 1 C99 I\r\nv\r\nms a 1 C4 I\r\nn\r\nmg a v t\r\nms a 1 C0 I\r\nz\r\nms a 1 MA C1 I\r\nz\r\n",
         "HD\r\nHD\r\nHD c3\r\nVA 1 t500 X W\r\nz\r\nVA 1 Z X\r\nz\r\nHD\r\nVA 1 Z X\r\nw\r\nEX\r\nHD\r\nVA 1 t-1\r\nn\r\nEX\r\nEX\r\n"},
        {"ms modes", "ms a 1 MS\r\nx\r\nms a 1 Mset\r\nx\r\nms a 1 MZ q\r\nx\r\nms a 1 M\r\nx\r\nms a 1 Ms\r\nx\r\nms a 1 MSet\r\ny\r\nmg a v\r\n",
         "HD\r\nCLIENT_ERROR invalid mode for ms M token\r\nCLIENT_ERROR invalid mode for ms M token\r\n"
         "CLIENT_ERROR invalid mode for ms M token\r\nCLIENT_ERROR invalid mode for ms M token\r\nHD\r\nVA 1\r\ny\r\n"},
        {"values like commands", "ms a 6\r\nmg a v\r\nmg a v\r\nms a 2\r\n\r\n\r\nmg a v\r\nmn\r\n",
         "HD\r\nVA 6\r\nmg a v\r\nHD\r\nVA 2\r\n\r\n\r\nMN\r\n"},
        {"bad bodies", "ms a 2 k\r\nabcd\r\nmn\r\nms a x\r\nms a S2\r\nms a\r\nms a 1 ?x z\r\nx\r\nmg a\r\n",
         CHUNK BADFMT "MN\r\n" BADFMT BADFMT BADFMT "CLIENT_ERROR invalid flag\r\nEN\r\n"},
        {"base64",
         "ms Zm9v 3 b k c O1\r\nabc\r\nmg foo k v\r\nmg Zm9v b k v O2\r\nget foo\r\nma foo k\r\nmg Zm9v k\r\nmg YmFy k b O3\r\n"
         "set bar 0 0 1\r\n1\r\nmg YmFy b k\r\nma YmFy b k v\r\nmd YmFy b k\r\nmd YmFy k b\r\nms YmFy 1 b MR k\r\nx\r\n",
         "HD kZm9v b c1 O1\r\nVA 3 kZm9v b\r\nabc\r\nVA 3 kZm9v b O2\r\nabc\r\nVALUE foo 0 3\r\nabc\r\nEND\r\n" NON_NUMERIC
         "EN kZm9v\r\nEN kYmFy b O3\r\nSTORED\r\nHD kbar\r\nVA 1 kYmFy b\r\n2\r\nHD kYmFy b\r\nNF kYmFy b\r\nNS kYmFy b\r\n"},
        {"a key that no line can hold", "ms YSBiCg== 1 b k\r\nx\r\nmg YSBiCg== b k v\r\nms YSBiCg== 1 b MA k s\r\ny\r\nme YSBiCg== b\r\nmd YSBiCg== b k\r\n",
         "HD kYSBiCg== b\r\nVA 1 kYSBiCg== b\r\nx\r\nHD kYSBiCg== b s2\r\n"
         "ME YSBiCg== exp=-1 la=0 cas=2 fetch=no cls=2 size=34\r\nHD kYSBiCg== b\r\n"},
        {"base64 that is none", "mg !!! b\r\nmg Zm9 b\r\nmg Zm=v b\r\nms Zm9vZ 1 b\r\nx\r\nmg Z!m9v b k\r\nma !!! b\r\nme !!! b\r\nmd ==== b\r\n",
         "CLIENT_ERROR error decoding key\r\nCLIENT_ERROR error decoding key\r\nCLIENT_ERROR error decoding key\r\n"
         "CLIENT_ERROR error decoding key\r\nEN kZm9v b\r\nCLIENT_ERROR invalid or duplicate flag\r\n"
         "CLIENT_ERROR error decoding key\r\nCLIENT_ERROR error decoding key\r\n"},
        {"long keys", "ms " KEY_250 " 1 k\r\nx\r\nmg " KEY_250 " k\r\nms " KEY_250 " 1 ME k\r\nx\r\nms k" KEY_250 " 1\r\nx\r\nmg k" KEY_250 "\r\n"
                      "md k" KEY_250 "\r\nma k" KEY_250 "\r\nme k" KEY_250 "\r\n",
         "HD k" KEY_250 "\r\nHD k" KEY_250 "\r\nNS k" KEY_250 "\r\n" BADFMT BADFMT BADFMT
         "CLIENT_ERROR invalid or duplicate flag\r\n" BADFMT},
        {"made by a miss",
         "mg a N30 v t s c f h\r\nmg a t v\r\nmg a N30 R60\r\nms a 1\r\nx\r\nmg a v\r\nmg b t N30\r\nmg c N30 T60 t\r\nmg d T60 N30 t\r\nmg e N-1\r\n",
         "VA 0 t30 s0 c1 f0 h0 W\r\n\r\nVA 0 t30 Z\r\n\r\nHD Z\r\nHD\r\nVA 1\r\nx\r\nHD t-1 W\r\nHD t60 W\r\nHD t30 W\r\nEN\r\n"},
        {"recached before it ends",
         "ms a 1 T30\r\nx\r\nmg a R20 v\r\nmg a R60 v\r\nmg a R60 v\r\nmg a v\r\nms a 1 T30\r\ny\r\nmg a R60 u\r\nmg a\r\n"
         "ms a 1\r\nz\r\nmg a R60\r\nms a 1 T30\r\nx\r\nmg a T100 R60\r\nmg a R160 T30\r\nms a 1 T30\r\nx\r\nmg a R-1\r\nmg a R0\r\n",
         "HD\r\nVA 1\r\nx\r\nVA 1 W\r\nx\r\nVA 1 Z\r\nx\r\nVA 1 Z\r\nx\r\nHD\r\nHD W\r\nHD Z\r\n"
         "HD\r\nHD\r\nHD\r\nHD\r\nHD W\r\nHD\r\nHD\r\nHD\r\n"},
        {"md", "md a k O1\r\nms a 1\r\nx\r\nmd a C7 k O1\r\nmd a C1 k O1\r\nmg a\r\nms a 1\r\nx\r\nmd a T30 F3\r\nmg a\r\nmd a C1\r\n",
         "NF ka O1\r\nHD\r\nEX ka O1\r\nHD ka O1\r\nEN\r\nHD\r\nHD\r\nEN\r\nNF\r\n"},
        {"md makes it stale",
         "md a I\r\nms a 1 T500 F2\r\nx\r\nmd a I\r\nmg a v c t f\r\nmg a v c\r\nmd a I T30\r\nmg a v c t\r\nmg a c t\r\n"
         "get a\r\nms a 1 C1\r\ny\r\nms a 1 C3\r\ny\r\nmg a v c\r\nmd a I C4\r\nmd a I C4\r\nmd a I T-1\r\nmg a\r\n",
         "NF\r\nHD\r\nHD\r\nVA 1 c2 t500 f2 X W\r\nx\r\nVA 1 c2 Z X\r\nx\r\nHD\r\nVA 1 c3 t30 X W\r\nx\r\nHD c3 t30 Z X\r\n"
         "VALUE a 2 1\r\nx\r\nEND\r\nEX\r\nHD\r\nVA 1 c4\r\ny\r\nHD\r\nEX\r\nHD\r\nEN\r\n"},
        {"md empties it",
         "md a x\r\nms a 3 T500 F2\r\nabc\r\nmd a x\r\nmg a v c t f\r\nmd a x F7 T60\r\nmg a v c t f\r\nmd a x I\r\nmg a v c\r\nmd a x T-1\r\nmg a\r\n",
         "NF\r\nHD\r\nHD\r\nVA 0 c1 t-1 f0\r\n\r\nHD\r\nVA 0 c1 t60 f7\r\n\r\nHD\r\nVA 0 c2 X W\r\n\r\nHD\r\nEN\r\n"},
        {"what clears stale",
         "ms a 1\r\nx\r\nmd a I\r\nappend a 0 0 1\r\ny\r\nmg a v\r\nmd a I\r\nms a 1 MP\r\nw\r\nmg a v\r\nmd a I\r\nset a 0 0 1\r\nz\r\nmg a v\r\n"
         "md a I\r\ntouch a 50\r\nmg a v t\r\n",
         "HD\r\nHD\r\nSTORED\r\nVA 2\r\nxy\r\nHD\r\nHD\r\nVA 3\r\nwxy\r\nHD\r\nSTORED\r\nVA 1\r\nz\r\nHD\r\nTOUCHED\r\nVA 1 t50 X W\r\nz\r\n"},
        {"a stale number stays stale", "ms a 1\r\n5\r\nmd a I\r\nma a v\r\nmg a v\r\nma a D100 v\r\nmg a v\r\n",
         "HD\r\nHD\r\nVA 1\r\n6\r\nVA 1 X W\r\n6\r\nVA 3\r\n106\r\nVA 3 Z X\r\n106\r\n"},
        {"ma", "ma a k O1\r\nms a 2 F9 T50\r\n10\r\nma a\r\nma a v t c k O1\r\nma a D5 v\r\nma a MD v\r\nma a M- D100 v\r\nma a M+ D7 v\r\nma a MI v\r\n"
               "mg a f t v\r\nma a Mi\r\nma a MX\r\nma a M\r\nma a MIncr v\r\n",
         "NF ka O1\r\nHD\r\nHD\r\nVA 2 t50 c3 ka O1\r\n12\r\nVA 2\r\n17\r\nVA 2\r\n16\r\nVA 1\r\n0\r\nVA 1\r\n7\r\nVA 1\r\n8\r\n"
         "VA 2 f9 t50\r\n8 \r\nCLIENT_ERROR invalid mode for ma M token\r\nCLIENT_ERROR invalid mode for ma M token\r\n"
         "CLIENT_ERROR invalid mode for ma M token\r\nVA 1\r\n9\r\n"},
        {"ma makes it", "ma a N0 v t\r\nma b N30 J13 D5 v t c\r\nma b v t\r\nma c N30 T60 t\r\nma d N30 t T60\r\nmg d t\r\nma e N-1 J4 v t\r\nma e\r\n",
         "VA 1 t-1\r\n0\r\nVA 2 t30 c2\r\n13\r\nVA 2 t30\r\n14\r\nHD t60\r\nHD t30\r\nHD t60\r\nVA 1 t0\r\n4\r\nNF\r\n"},
        {"ma touches, compares", "ms a 1 T30\r\n5\r\nma a T60 t\r\nma a t T90\r\nma a t\r\nma a C9 k\r\nma a C4 v\r\nma a T-1 t\r\nma a\r\nma a C1 N0\r\n",
         "HD\r\nHD t60\r\nHD t60\r\nHD t90\r\nEX ka\r\nVA 1\r\n9\r\nHD t0\r\nNF\r\nNF\r\n"},
        {"ma wraps", "ms a 20\r\n18446744073709551615\r\nma a v\r\nma a MD D18446744073709551615 v\r\nms a 1\r\nx\r\nma a\r\n",
         "HD\r\nVA 1\r\n0\r\nVA 1\r\n0\r\nHD\r\n" NON_NUMERIC},
        {"me", "me a\r\nms a 3 T50 F1\r\nabc\r\nme a\r\nme a v z\r\nmg a\r\nme a\r\nme\r\nme a ~\r\n",
         "EN\r\nHD\r\nME a exp=50 la=0 cas=1 fetch=no cls=2 size=36\r\nME a exp=50 la=0 cas=1 fetch=no cls=2 size=36\r\nHD\r\n"
         "ME a exp=50 la=0 cas=1 fetch=yes cls=2 size=36\r\n" BADFMT BADFMT},
        {"chosen CAS uniques",
         "ms a 1 E900 c\r\nx\r\nmg a c\r\nms b 1 c\r\ny\r\nms a 1 C900 E901 c\r\nz\r\nma n N0 E77 c\r\nma n E78 c\r\nma n D1000 E80 c\r\nmd a I E5\r\nmg a c v\r\n"
         "mg v N30 E44 c\r\nmd v x E45\r\nmg v c\r\nms b 1 MA E3 c\r\n.\r\nms c 1 E0 c\r\nx\r\nms d 1 E18446744073709551615 c\r\nx\r\nmg d c\r\n",
         "HD c900\r\nHD c900\r\nHD c1\r\nHD c901\r\nHD c77\r\nHD c78\r\nHD c80\r\nHD\r\nVA 1 c5 X W\r\nz\r\n"
         "HD c44 W\r\nHD\r\nHD c45\r\nHD c3\r\nHD c4\r\nHD c18446744073709551615\r\nHD c18446744073709551615\r\n"},
        {"a flush and chosen CAS uniques",
         "ms a 1 E900\r\nx\r\nms b 1\r\ny\r\nflush_all\r\nmg a\r\nmg b\r\nms b 1 c\r\nz\r\nmg b v\r\nmg a\r\nms a 1 E2 c\r\nw\r\nmg a v\r\nflush_all\r\nmg a\r\nms a 1 E2\r\nw\r\nmg a v\r\n",
         "HD\r\nHD\r\nOK\r\nEN\r\nEN\r\nHD c3\r\nVA 1\r\nz\r\nEN\r\nHD c2\r\nVA 1\r\nw\r\nOK\r\nEN\r\nHD\r\nVA 1\r\nw\r\n"},
        {"pipeline of reads",
         "ms a 1\r\n1\r\nmg a v q O1\r\nmg b v q O2\r\nmg a v q O3\r\nget a\r\nmg a T50 t\r\nmg a v k\r\nmg x q\r\nmn\r\nmg a s\r\n",
         "HD\r\nVA 1 O1\r\n1\r\nVA 1 O3\r\n1\r\nVALUE a 0 1\r\n1\r\nEND\r\nHD t50\r\nVA 1 ka\r\n1\r\nMN\r\nHD s1\r\n"},
};

/* Play a script on a fresh server. */
static void play(const struct script *script, const struct pace *pace, int requests_per_event)
{
	struct fixture f;
	struct client c;

	fixture_init(&f);
	f.settings.requests_per_event = requests_per_event;
	fixture_open(&f);
	client_open(&c, &f, pace);
	client_send(&c, script->input, strlen(script->input));
	if (c.out.len != strlen(script->reply) || memcmp(c.out.data, script->reply, c.out.len) != 0)
		ck_abort_msg("\n%s (in %zu, split %zu, out %zu)\n  got      %s\n  expected %s\n", script->name,
		             pace->in_max, pace->split, pace->out_max, text_show(c.out.data, c.out.len),
		             text_show(script->reply, strlen(script->reply)));
	MUST(session_is_idle(c.session));
	client_close(&c);
	fixture_close(&f);
}

START_TEST(script_whole)
{
	const struct script *script = &scripts[_i];

	play(script, &(struct pace){0}, 20);
	play(script, &(struct pace){.straight = true}, 20);
	play(script, &(struct pace){.lazy = true}, 20);
	play(script, &(struct pace){0}, 1);
}
END_TEST

START_TEST(script_in_single_bytes)
{
	const struct script *script = &scripts[_i];

	play(script, &(struct pace){.in_max = 1}, 20);
	play(script, &(struct pace){.in_max = 1, .out_max = 1}, 20);
	play(script, &(struct pace){.in_max = 7, .out_max = 3, .lazy = true}, 2);
}
END_TEST

START_TEST(script_at_every_split)
{
	const struct script *script = &scripts[_i];

	for (size_t split = 1; split < strlen(script->input); split++)
		play(script, &(struct pace){.split = split}, 20);
}
END_TEST

/* ---- more ------------------------------------------------------------------- */

static struct fixture f;
static struct client c;

static void open_server(bool replicated)
{
	fixture_init(&f);
	f.settings.replicated = replicated;
	fixture_open(&f);
	client_open(&c, &f, &(struct pace){0});
}

static void close_server(void)
{
	client_close(&c);
	fixture_close(&f);
}

static struct item *item_of(const char *key)
{
	struct key k = fixture_key(&f, key);

	return items_find(f.items, &k, ITEMS_PEEK, NULL);
}

/* One client is told to recache, the others that somebody does. */
START_TEST(leases_of_two_clients)
{
	struct client other;

	open_server(false);
	client_open(&other, &f, &(struct pace){0});
	client_expect(&c, "mg a N30 v\r\n", "VA 0 W\r\n\r\n");
	client_expect(&other, "mg a N30 v\r\n", "VA 0 Z\r\n\r\n");
	client_expect(&c, "ms a 3 T30\r\nnew\r\n", "HD\r\n");
	client_expect(&other, "mg a N30 v\r\n", "VA 3\r\nnew\r\n");
	fixture_advance(&f, 25000);
	client_expect(&other, "mg a N30 R10 v t\r\n", "VA 3 t5 W\r\nnew\r\n");
	client_expect(&c, "mg a N30 R10 v t\r\n", "VA 3 t5 Z\r\nnew\r\n");
	client_expect(&other, "md a I\r\n", "HD\r\n");
	client_expect(&c, "mg a v\r\n", "VA 3 X W\r\nnew\r\n");
	client_expect(&other, "mg a v\r\n", "VA 3 Z X\r\nnew\r\n");
	fixture_advance(&f, 6000);
	client_expect(&other, "mg a N30 v\r\n", "VA 0 W\r\n\r\n");
	client_close(&other);
	close_server();
}
END_TEST

START_TEST(ages)
{
	open_server(false);
	client_expect(&c, "ms a 1 T100\r\nx\r\n", "HD\r\n");
	fixture_advance(&f, 7000);
	client_expect(&c, "mg a l t u\r\n", "HD l7 t93\r\n");
	client_expect(&c, "mg a l h\r\n", "HD l7 h0\r\n");
	client_expect(&c, "mg a l h\r\n", "HD l0 h1\r\n");
	fixture_advance(&f, 3000);
	client_expect(&c, "me a\r\n", "ME a exp=90 la=3 cas=1 fetch=yes cls=1 size=30\r\n");
	fixture_advance(&f, 90000);
	client_expect(&c, "mg a\r\nme a\r\n", "EN\r\nEN\r\n");
	close_server();
}
END_TEST

/* With replication on CAS uniques are versions: nobody chooses one, and whatever
 * changes data has another one. */
START_TEST(versions_are_not_chosen)
{
	open_server(true);
	client_expect(&c, "ms a 1\r\nx\r\n", "HD\r\n");
	uint64_t first = item_of("a")->version;
	client_expect(&c, "ms a 1 E9 k\r\ny\r\nmg a E9\r\nmd a E9 q\r\nma a E9\r\nmg b N5 E9\r\nmn\r\n",
	              CAS_REFUSED CAS_REFUSED CAS_REFUSED CAS_REFUSED CAS_REFUSED "MN\r\n");
	client_expect(&c, "mg a v\r\nmg b\r\n", "VA 1\r\nx\r\nEN\r\n");
	ck_assert(item_of("a")->version == first);
	client_expect(&c, "md a I\r\n", "HD\r\n");
	uint64_t second = item_of("a")->version;
	ck_assert(second > first && (item_of("a")->bits & ITEM_STALE) && item_of("a")->touches == 0);
	client_expect(&c, "md a I\r\n", "HD\r\n");
	uint64_t third = item_of("a")->version;
	ck_assert(third > second);
	client_expect(&c, "mg a\r\n", "HD X W\r\n");
	ck_assert(item_of("a")->version == third && (item_of("a")->bits & ITEM_TOKEN));
	client_expect(&c, "md a x\r\n", "HD\r\n");
	ck_assert(item_of("a")->version > third && !(item_of("a")->bits & (ITEM_STALE | ITEM_TOKEN)));
	close_server();
}
END_TEST

/* -C: nobody can compare. */
START_TEST(without_cas)
{
	fixture_init(&f);
	f.settings.cas = false;
	fixture_open(&f);
	client_open(&c, &f, &(struct pace){0});
	client_expect(&c, "ms a 1 c\r\n5\r\nmg a c\r\nms a 1 C1\r\nx\r\nms a 1 C1 I\r\nx\r\nmd a C1\r\nma a C1\r\nma a c\r\n",
	              "HD c0\r\nHD c0\r\nEX\r\nEX\r\nEX\r\nEX\r\nHD c0\r\n");
	close_server();
}
END_TEST

START_TEST(large_values)
{
	static const struct pace paces[] = {{0}, {.straight = true, .in_max = 50000}, {.in_max = 4000, .out_max = 999}};
	struct text in = {0}, out = {0};

	text_str(&in, "ms big 600000 k O1 c s\r\n");
	text_str(&out, "HD kbig O1 c1 s600000\r\nVA 600000 s600000 kbig\r\n");
	for (int i = 0; i < 600000; i++) {
		text_add(&in, "abcdefghij" + i % 10, 1);
		text_add(&out, "abcdefghij" + i % 10, 1);
	}
	text_str(&in, "\r\nmg big v s k\r\nma big\r\nms big 3 MA s\r\nend\r\nmg big s\r\nmd big x\r\nmg big v\r\n");
	text_str(&out, "\r\n" NON_NUMERIC "HD s600003\r\nHD s600003\r\nHD\r\nVA 0\r\n\r\n");
	for (size_t i = 0; i < ARRAY_LEN(paces); i++) {
		open_server(false);
		c.pace = paces[i];
		client_expect(&c, in.data, out.data);
		close_server();
	}
	text_free(&in);
	text_free(&out);
}
END_TEST

START_TEST(no_room)
{
	struct text in = {0};

	open_server(false);
	text_str(&in, "ms a 2000000 q ME k O1\r\n");
	for (int i = 0; i < 2000000; i++)
		text_str(&in, "v");
	text_str(&in, "\r\n");
	client_expect(&c, "ms a 1\r\nx\r\n", "HD\r\n");
	client_expect(&c, in.data, "SERVER_ERROR object too large for cache\r\n");
	client_expect(&c, "mg a\r\n", "EN\r\n"); /* the old one is gone, in every mode */
	static const struct {
		const char *input, *reply;
	} lines[] = {
		{"ms a 1 MA\r\nx\r\n", "SERVER_ERROR out of memory storing object\r\n"},
		{"mg b N30\r\n", "SERVER_ERROR out of memory\r\n"},
		{"ma b N30\r\n", "SERVER_ERROR Out of memory allocating new item\r\n"},
		{"ma n D1000\r\n", "SERVER_ERROR out of memory\r\n"},
		{"md n x\r\n", "SERVER_ERROR out of memory\r\n"},
	};
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		client_expect(&c, "ms n 1\r\n5\r\n", "HD\r\n");
		items_fail_alloc_after(f.items, 1);
		client_expect(&c, lines[i].input, lines[i].reply);
		items_fail_alloc_after(f.items, 0);
		client_expect(&c, "mg n v\r\nmg b\r\n", "VA 1\r\n5\r\nEN\r\n");
	}
	text_free(&in);
	close_server();
}
END_TEST

/* Very many quiet reads in one piece, and a client that does not take the
 * answers: memory stays bounded, and none is lost. */
START_TEST(storm_of_quiet_reads)
{
	struct text in = {0};
	char line[64];

	open_server(false);
	client_expect(&c, "ms hit 1000\r\n", "");
	for (int i = 0; i < 1000; i++)
		client_expect(&c, "v", "");
	client_expect(&c, "\r\n", "HD\r\n");
	for (int i = 0; i < 4000; i++) {
		snprintf(line, sizeof(line), "mg %s%d v q O%d\r\n", i % 2 ? "miss" : "hit ", i, i);
		text_str(&in, i % 2 ? line : "mg hit v q O7\r\n");
	}
	text_str(&in, "mn\r\n");
	c.pace = (struct pace){.lazy = true};
	c.out.len = 0;
	c.waiting_max = 0;
	client_send(&c, in.data, in.len);
	ck_assert_uint_eq(c.out.len, 2000 * (strlen("VA 1000 O7\r\n") + 1002) + strlen("MN\r\n"));
	ck_assert_uint_lt(c.waiting_max, SESSION_OUTPUT_BYTES_MAX + 64 * 1024);
	text_free(&in);
	close_server();
}
END_TEST

START_TEST(what_is_counted)
{
	open_server(false);
	client_expect(&c, "mg a\r\nms a 1 T50\r\n5\r\nmg a\r\nmg a T60\r\nmg b T60\r\nmg v N5\r\n",
	              "EN\r\nHD\r\nHD\r\nHD\r\nEN\r\nHD W\r\n");
	ck_assert_uint_eq(f.stats.cmd_get, 4);
	ck_assert_uint_eq(f.stats.get_hits, 2);
	ck_assert_uint_eq(f.stats.get_misses, 2);
	ck_assert_uint_eq(f.stats.cmd_touch, 1);
	ck_assert_uint_eq(f.stats.touch_hits, 1);
	ck_assert_uint_eq(f.stats.touch_misses, 0);
	ck_assert_uint_eq(f.stats.cmd_set, 1);
	client_expect(&c, "ma a\r\nma b\r\nma a MD\r\nma b MD\r\nma n N0\r\n", "HD\r\nNF\r\nHD\r\nNF\r\nHD\r\n");
	ck_assert_uint_eq(f.stats.incr_hits, 1);
	ck_assert_uint_eq(f.stats.incr_misses, 1);
	ck_assert_uint_eq(f.stats.decr_hits, 1);
	ck_assert_uint_eq(f.stats.decr_misses, 1);
	client_expect(&c, "ms a 1 C1\r\nx\r\nms q 1 C1\r\nx\r\nmd q\r\nmd a I\r\nmd a C1\r\nmd a\r\nme a\r\nmn\r\n",
	              "EX\r\nNF\r\nNF\r\nHD\r\nEX\r\nHD\r\nEN\r\nMN\r\n");
	ck_assert_uint_eq(f.stats.cas_badval, 1);
	ck_assert_uint_eq(f.stats.cas_misses, 1);
	ck_assert_uint_eq(f.stats.cmd_set, 3);
	ck_assert_uint_eq(f.stats.delete_hits, 1);
	ck_assert_uint_eq(f.stats.delete_misses, 1);
	ck_assert_uint_eq(f.stats.cmd_meta, 1);
	close_server();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("command_meta");
	TCase *tc = tcase_create("scripts");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, script_whole, 0, (int)ARRAY_LEN(scripts));
	tcase_add_loop_test(tc, script_in_single_bytes, 0, (int)ARRAY_LEN(scripts));
	tcase_add_loop_test(tc, script_at_every_split, 0, (int)ARRAY_LEN(scripts));
	suite_add_tcase(suite, tc);
	tc = tcase_create("more");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, leases_of_two_clients);
	tcase_add_test(tc, ages);
	tcase_add_test(tc, versions_are_not_chosen);
	tcase_add_test(tc, without_cas);
	tcase_add_test(tc, large_values);
	tcase_add_test(tc, no_room);
	tcase_add_test(tc, storm_of_quiet_reads);
	tcase_add_test(tc, what_is_counted);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
