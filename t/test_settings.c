/*
 * test_settings.c - command lines in, settings or one clear line out.
 *
 * Each row of the failure table is a command line, the exit code and the start
 * of the message (reference section 6). The help text is checked to name every
 * option that a row of it can parse.
 */
#include "compat.h"
#include "settings.h"

#include <check.h>

#define ARGS_MAX 40
#define WORD_BYTES_MAX 400

static struct settings s;

/* Parse a command line given as one string, split at spaces; '^' stands for a
 * space inside a word, '~' for an empty word. */
static struct settings_result parse(const char *line)
{
	static char words[ARGS_MAX][WORD_BYTES_MAX];
	char *argv[ARGS_MAX + 1];
	int argc = 1;

	memcpy(words[0], "memcached", 10);
	argv[0] = words[0];
	while (*line) {
		size_t len = strcspn(line, " ");
		ck_assert(argc < ARGS_MAX && len < WORD_BYTES_MAX);
		if (len) {
			memcpy(words[argc], line, len);
			words[argc][len] = '\0';
			for (char *c = words[argc]; *c; c++)
				*c = *c == '^' ? ' ' : *c;
			if (!strcmp(words[argc], "~"))
				words[argc][0] = '\0';
			argv[argc] = words[argc];
			argc++;
		}
		line += len;
		line += *line == ' ';
	}
	argv[argc] = NULL;
	return settings_parse(&s, argc, argv);
}

static void parse_ok(const char *line)
{
	struct settings_result r = parse(line);

	ck_assert_msg(r.status == SETTINGS_RUN, "%s: %s", line, r.error);
}

START_TEST(defaults)
{
	parse_ok("");
	ck_assert_int_eq(s.tcp_port, 11211);
	ck_assert_int_eq(s.listen_count, 0);
	ck_assert_uint_eq(s.memory_bytes_max, 64u << 20);
	ck_assert_uint_eq(s.item_bytes_max, 1u << 20);
	ck_assert_int_eq(s.conns_max, 1024);
	ck_assert_int_eq(s.requests_per_event, 20);
	ck_assert(s.evict && s.cas && s.flush_enabled && s.dump_enabled && s.maxconns_fast);
	ck_assert(!s.replicated && !s.daemonize && !s.shutdown_command);
	ck_assert_int_eq(s.repl_port, REPL_PORT_DEFAULT);
	ck_assert_uint_eq(s.repl_buffer_bytes, 64u << 20);
	ck_assert_int_eq(s.repl_max_skew_ms, INT64_C(86400000));
}
END_TEST

START_TEST(letters_and_long_forms_agree)
{
	parse_ok("-p 1234 -m 128 -c 99 -M -C -F -A -k -r -d -R 7 -b 5 -P /tmp/x -u nobody");
	struct settings letters = s;
	parse_ok("--port=1234 --memory-limit=128 --conn-limit 99 --disable-evictions --disable-cas "
	         "--disable-flush-all");
	ck_assert_int_eq(s.tcp_port, letters.tcp_port);
	ck_assert_uint_eq(s.memory_bytes_max, letters.memory_bytes_max);
	ck_assert_int_eq(s.conns_max, 99);
	ck_assert(!s.evict && !s.cas && !s.flush_enabled);
	ck_assert(letters.shutdown_command && letters.lock_memory && letters.core_dumps && letters.daemonize);
	ck_assert_int_eq(letters.requests_per_event, 7);
	ck_assert_str_eq(letters.pid_file, "/tmp/x");
	ck_assert_str_eq(letters.user, "nobody");
}
END_TEST

START_TEST(getopt_style)
{
	parse_ok("-vvvm64 stray -p1 word -p2");
	ck_assert_int_eq(s.verbosity, 3);
	ck_assert_int_eq(s.tcp_port, 2); /* later options win */
	parse_ok("--memory-l=32 -p -1");
	ck_assert_uint_eq(s.memory_bytes_max, 32u << 20);
	ck_assert_int_eq(s.tcp_port, -1);
	parse_ok("-l ^127.0.0.1 -s ^/tmp/s -a 755");
	ck_assert_str_eq(s.listen[0].host, "127.0.0.1");
	ck_assert_str_eq(s.socket_path, "/tmp/s");
	ck_assert_uint_eq(s.socket_mask, 0755);
}
END_TEST

START_TEST(sizes)
{
	parse_ok("-I 2m -m 64");
	ck_assert_uint_eq(s.item_bytes_max, 2u << 20);
	parse_ok("-I 512k");
	ck_assert_uint_eq(s.item_bytes_max, 512u << 10);
	parse_ok("-I 5000");
	ck_assert_uint_eq(s.item_bytes_max, 5000);
	parse_ok("-m 2g -I 1g");
	ck_assert_uint_eq(s.memory_bytes_max, (size_t)2 << 30);
	parse_ok("-f 1.07 -n 96");
	ck_assert(s.growth_factor > 1.06 && s.growth_factor < 1.08);
	ck_assert_uint_eq(s.chunk_bytes_min, 96);
}
END_TEST

START_TEST(listen_lists)
{
	parse_ok("-l 127.0.0.1:1,*;[::1]:2 -l ::1,[fe80::2],host.example:0 -l 127.0.0.1:1");
	ck_assert_int_eq(s.listen_count, 6);
	ck_assert_str_eq(s.listen[0].host, "127.0.0.1");
	ck_assert_int_eq(s.listen[0].port, 1);
	ck_assert_str_eq(s.listen[1].host, "");
	ck_assert_int_eq(s.listen[1].port, -1);
	ck_assert_str_eq(s.listen[2].host, "::1");
	ck_assert_int_eq(s.listen[2].port, 2);
	ck_assert_str_eq(s.listen[3].host, "::1");
	ck_assert_int_eq(s.listen[3].port, -1);
	ck_assert_str_eq(s.listen[4].host, "fe80::2");
	ck_assert_str_eq(s.listen[5].host, "host.example");
	ck_assert_int_eq(s.listen[5].port, 0);
	ck_assert_str_eq(s.listen_text, "127.0.0.1:1,*;[::1]:2,::1,[fe80::2],host.example:0");
}
END_TEST

START_TEST(replication_options)
{
	if (!WITH_REPLICATION)
		return;
	parse_ok("-X 11300");
	ck_assert(s.replicated);
	ck_assert_int_eq(s.repl_port, 11300);
	ck_assert_str_eq(s.repl_peer, "");
	parse_ok("-x db2 -q 100");
	ck_assert(s.replicated);
	ck_assert_str_eq(s.repl_peer, "db2");
	ck_assert_int_eq(s.repl_port, REPL_PORT_DEFAULT);
	ck_assert_int_eq(s.repl_queue, 100);
	parse_ok("--replication-peer=db2 --replication-port=5");
	ck_assert_int_eq(s.repl_port, 5);
	parse_ok("-X 0");
	ck_assert(s.replicated && s.repl_port == 0);
	parse_ok("--disable-dumping");
	ck_assert(!s.dump_enabled && !s.replicated);
}
END_TEST

START_TEST(who_may_log_in)
{
	parse_ok("-B binary");
	ck_assert_int_eq(s.protocol, PROTOCOL_BINARY);
	parse_ok("-Y /etc/users");
	ck_assert_str_eq(s.auth_file, "/etc/users");
	ck_assert_int_eq(s.protocol, PROTOCOL_ASCII);
	parse_ok("-B binary --auth-file=/etc/users --protocol=ascii");
	ck_assert_int_eq(s.protocol, PROTOCOL_ASCII);
	if (!WITH_SASL)
		return;
	parse_ok("--enable-sasl");
	ck_assert(s.sasl);
	ck_assert_int_eq(s.protocol, PROTOCOL_BINARY);
	parse_ok("-B binary -S");
	ck_assert_int_eq(s.protocol, PROTOCOL_BINARY);
}
END_TEST

START_TEST(suboptions)
{
	parse_ok("-o repl_buffer=8,repl_tombstones=2048,repl_timeout=250 -o "
	         "repl_drain=0,repl_max_skew=60,repl_listen=127.0.0.2,,no_maxconns_fast");
	ck_assert_uint_eq(s.repl_buffer_bytes, 8u << 20);
	ck_assert_uint_eq(s.repl_tombstones_bytes, 2u << 20);
	ck_assert_int_eq(s.repl_timeout_ms, 250);
	ck_assert_int_eq(s.repl_drain_ms, 0);
	ck_assert_int_eq(s.repl_max_skew_ms, 60000);
	ck_assert_str_eq(s.repl_listen, "127.0.0.2");
	ck_assert(!s.maxconns_fast);
	ck_assert(!s.repl_compat);
	parse_ok("-o idle_timeout=5,hashpower=20,maxconns_fast");
	ck_assert_int_eq(s.idle_timeout_s, 5);
	ck_assert_int_eq(s.hash_power, 20);
	ck_assert(s.maxconns_fast);
	parse_ok("-o ~");
	/* addresses to listen on for the link */
	parse_ok("-o repl_listen=::1");
	ck_assert_str_eq(s.repl_listen, "::1");
	parse_ok("-o repl_listen=[fe80::1%eth0]");
	ck_assert_str_eq(s.repl_listen, "fe80::1%eth0");
	parse_ok("-o repl_listen=db1.example");
	ck_assert_str_eq(s.repl_listen, "db1.example");
}
END_TEST

START_TEST(suboptions_of_the_link)
{
	if (!WITH_REPLICATION)
		return;
	parse_ok("-X 11212 -o repl_compat=repcached");
	ck_assert(s.repl_compat);
	parse_ok("-X 11212 -o repl_compat=repcached,repl_compat=none");
	ck_assert(!s.repl_compat);
	/* who may connect to the link port */
	parse_ok("-X 11212");
	ck_assert_int_eq(s.repl_accept, REPL_ACCEPT_ANY);
	parse_ok("-x db2");
	ck_assert_int_eq(s.repl_accept, REPL_ACCEPT_PEER);
	parse_ok("-x db2 -o repl_accept=any");
	ck_assert_int_eq(s.repl_accept, REPL_ACCEPT_ANY);
	parse_ok("-x db2 -o repl_secret_file=/etc/link-secret");
	ck_assert_int_eq(s.repl_accept, REPL_ACCEPT_ANY);
	ck_assert_str_eq(s.repl_secret_file, "/etc/link-secret");
	ck_assert(!s.repl_has_secret);
	parse_ok("-x db2 -o repl_secret_file=/etc/link-secret,repl_accept=peer");
	ck_assert_int_eq(s.repl_accept, REPL_ACCEPT_PEER);
}
END_TEST

START_TEST(notices)
{
	struct settings_result r = parse("-t 4 -o slab_chunk_max=512,modern -L");

	ck_assert_int_eq(r.status, SETTINGS_RUN);
	ck_assert(strstr(r.notice, "-t 4: this server uses one thread"));
	ck_assert(strstr(r.notice, "-o slab_chunk_max is accepted"));
	ck_assert(strstr(r.notice, "-o modern is accepted"));
	ck_assert(strstr(r.notice, "-L:"));
	ck_assert_str_eq(parse("-t 1").notice, "");
	r = parse("-o modern,modern,modern,modern,modern,modern,modern,modern,modern,modern,modern,modern");
	ck_assert(strlen(r.notice) < sizeof(r.notice));
}
END_TEST

/* Every sub-option of the reference's section 6: in force, accepted with one line, or
 * refused. */
static const struct {
	const char *option;
	int notices; /* lines; -1 = refused */
	const char *error;
} every_suboption[] = {
        {"maxconns_fast", 0, NULL}, {"no_maxconns_fast", 0, NULL}, {"hashpower=20", 0, NULL},
        {"no_hashexpand", 1, NULL}, {"slab_reassign", 0, NULL}, {"no_slab_reassign", 0, NULL},
        {"slab_automove", 0, NULL}, {"slab_automove=0", 0, NULL}, {"slab_automove=2", 0, NULL},
        {"slab_automove=3", -1, "slab_automove must be between 0 and 2"}, {"no_slab_automove", 0, NULL},
        {"slab_automove_ratio=0.5", 1, NULL}, {"slab_automove_ratio=1", 1, NULL},
        {"slab_automove_ratio=0", -1, "slab_automove_ratio must be > 0 and < 1"},
        {"slab_automove_ratio", -1, "Missing slab_automove_ratio argument"},
        {"slab_automove_window=3", 1, NULL},
        {"slab_automove_window=2", -1, "slab_automove_window must be > 2 and < 1800"},
        {"slab_automove_freeratio=0.01", 1, NULL},
        {"slab_automove_freeratio=x", -1, "could not parse argument to slab_automove_freeratio"},
        {"tail_repair_time=10", 1, NULL},
        {"tail_repair_time=9", -1, "Cannot set tail_repair_time to less than 10 seconds"},
        {"tail_repair_time", -1, "Missing numeric argument for tail_repair_time"},
        {"hash_algorithm=jenkins", 1, NULL}, {"hash_algorithm=murmur3", 1, NULL},
        {"hash_algorithm=xxh3", 0, NULL}, {"hash_algorithm", -1, "Missing hash_algorithm argument"},
        {"hash_algorithm=md5", -1, "Unknown hash_algorithm option (jenkins, murmur3, xxh3)"},
        {"lru_crawler", 0, NULL}, {"no_lru_crawler", 0, NULL}, {"lru_crawler_sleep=1000000", 0, NULL},
        {"lru_crawler_sleep=1000001", -1, "LRU crawler sleep must be between 0 and 1 second"},
        {"lru_crawler_tocrawl=4294967295", 0, NULL},
        {"lru_crawler_tocrawl=4294967296", -1, "lru_crawler_tocrawl takes a numeric 32bit value"},
        {"lru_crawler_tocrawl=x", -1, "lru_crawler_tocrawl takes a numeric 32bit value"},
        {"lru_maintainer", 1, NULL}, {"no_lru_maintainer", 1, NULL},
        {"hot_lru_pct=79", 1, NULL}, {"hot_lru_pct=80", -1, "hot_lru_pct must be > 1 and < 80"},
        {"warm_lru_pct=1", 1, NULL}, {"warm_lru_pct=0", -1, "warm_lru_pct must be > 1 and < 80"},
        {"hot_lru_pct=40,warm_lru_pct=40", 2, NULL},
        {"hot_lru_pct=40,warm_lru_pct=41", -1, "hot_lru_pct + warm_lru_pct cannot be more than 80%"},
        {"hot_max_factor=0.2", 1, NULL}, {"hot_max_factor=0", -1, "hot_max_factor must be > 0"},
        {"warm_max_factor=2", 1, NULL}, {"warm_max_factor=nan", -1, "warm_max_factor must be > 0"},
        {"temporary_ttl=61", 1, NULL}, {"temporary_ttl", -1, "Missing numeric argument for temporary_ttl"},
        {"no_lru_maintainer,temporary_ttl=61", -1, "temporary_ttl requires lru_maintainer to be enabled"},
        {"idle_timeout=10", 0, NULL}, {"worker_logbuf_size=64", 1, NULL}, {"watcher_logbuf_size=64", 0, NULL},
        {"watcher_logbuf_size=3", -1, "watcher_logbuf_size must be between 4 and"},
        {"track_sizes", 0, NULL}, {"turn_cpu", 0, NULL}, {"busy_poll=50", 0, NULL},
        {"busy_poll=1000001", -1, "busy_poll must be between 0 and"},
        {"worker_logbuf_size=x", -1, "could not parse argument to worker_logbuf_size"},
        {"slab_sizes=100-200-300", 1, NULL}, {"slab_sizes=100-100", -1, "cannot be lower than or equal to"},
        {"slab_sizes=100-104", -1, "must be at least 8 bytes larger than previous class"},
        {"slab_sizes=0-9", -1, "is out of valid range"}, {"slab_sizes=x", -1, "is out of valid range"},
        {"slab_chunk_max=1", 1, NULL}, {"slab_chunk_max=0", -1, "slab_chunk_max must be > 0"},
        {"slab_chunk_max=1025", -1, "slab_chunk_max must be specified in kilobytes."},
        {"no_chunked_items", 1, NULL}, {"no_inline_ascii_resp", 1, NULL}, {"inline_ascii_resp", 1, NULL},
        {"read_buf_mem_limit=10", 1, NULL},
        {"read_buf_mem_limit=x", -1, "could not parse argument to read_buf_mem_limit"},
        {"resp_obj_mem_limit=5", 1, NULL}, {"modern", 1, NULL}, {"no_modern", 1, NULL},
        {"drop_privileges", 1, NULL}, {"no_drop_privileges", 1, NULL}, {"relaxed_privileges", 1, NULL},
        {"sock_cookie_id=7", 1, NULL},
        {"ext_path=/var/x:1m", -1, "Illegal suboption \"ext_path\": this server keeps no items on disk"},
        {"proxy_config=x", -1, "Illegal suboption \"proxy_config\": this server is no proxy"},
        {"slab_automoves", -1, "Illegal suboption \"slab_automoves\""},
};

START_TEST(all_suboptions)
{
	char line[200];

	for (size_t i = 0; i < ARRAY_LEN(every_suboption); i++) {
		snprintf(line, sizeof(line), "-o %s", every_suboption[i].option);
		struct settings_result r = parse(line);
		if (every_suboption[i].notices < 0) {
			ck_assert_msg(r.status == SETTINGS_FAIL && strstr(r.error, every_suboption[i].error),
			              "%s: %s", line, r.error);
			continue;
		}
		int lines = r.notice[0] != '\0';
		for (const char *at = r.notice; (at = strchr(at, '\n')); at++)
			lines++;
		ck_assert_msg(r.status == SETTINGS_RUN, "%s: %s", line, r.error);
		ck_assert_msg(lines == every_suboption[i].notices, "%s: %s", line, r.notice);
	}
	parse_ok("-o slab_automove=0,no_slab_reassign,no_lru_crawler,lru_crawler_sleep=5000,lru_crawler_tocrawl=9");
	ck_assert(s.slab_automove == 0 && !s.slab_reassign && !s.lru_crawler);
	ck_assert(s.lru_crawler_sleep_us == 5000 && s.lru_crawler_tocrawl == 9);
	parse_ok("-o slab_automove=0,slab_automove,no_lru_crawler,lru_crawler,no_slab_reassign,slab_reassign");
	ck_assert(s.slab_automove == 1 && s.slab_reassign && s.lru_crawler);
	parse_ok("-o no_modern");
	ck_assert(s.slab_automove == 0 && !s.slab_reassign && !s.lru_crawler && !s.maxconns_fast);
}
END_TEST

#define NO_SASL "This server is not built with SASL support."
#define NO_LINK "This server is built without replication: no -x, no -X"

static const struct {
	const char *line;
	int exit_code;
	const char *error;
} failures[] = {
        {"-p 65536", 64, "ERROR: Invalid port number 65536."},
        {"-p abc", 64, "ERROR: Invalid port number abc."},
        {"-p 99999999999999999999", 64, "ERROR: Invalid port number 9999"},
        {"-c 0", 1, "Maximum connections must be greater than 0"},
        {"-c -5", 1, "Maximum connections must be greater than 0"},
        {"-f 1", 1, "Factor must be greater than 1"},
        {"-f nan", 1, "Factor must be greater than 1"},
        {"-n 0", 1, "Chunk size must be greater than 0"},
        {"-t 0", 1, "Number of threads must be greater than 0"},
        {"-R 0", 1, "Number of requests per event must be greater than 0"},
        {"-D ~", 1, "No delimiter specified"},
        {"-a 9", 1, "Invalid socket mask"},
        {"-B mumble", 64, "Invalid value for binding protocol: mumble -- should be one of auto, binary, or"},
        {"-I 1023", 64, "Item max size cannot be less than 1024 bytes."},
        {"-I x", 64, "Item max size cannot be less than 1024 bytes."},
        {"-I 33m", 64, "Cannot set item size limit higher than 1/2 of memory max."},
        {"-I 2g -m 9000", 64, "Cannot set item size limit higher than a gigabyte."},
        {"-m 0", 64, "Cannot set item size limit higher than 1/2 of memory max."},
        {"-m 1", 64, "Cannot set item size limit higher than 1/2 of memory max."},
        {"-m abc", 64, "Invalid memory limit \"abc\""},
        {"-m -1", 64, "Invalid memory limit \"-1\""},
        {"-Q", 1, "Illegal argument \"-Q\""},
        {"--no-such-thing", 1, "Illegal argument \"--no-such-thing\""},
        {"--daemon=1", 1, "Illegal argument \"--daemon=1\""},
        {"-p", 1, "Illegal argument \"-p\": a value must follow"},
        {"-o nonsense", 1, "Illegal suboption \"nonsense\""},
        {"-o idle_timeout=3,bad=7", 1, "Illegal suboption \"bad=7\""},
        {"-o hashpower", 1, "Missing numeric argument for hashpower"},
        {"-o hashpower=11", 1, "Initial hashtable multiplier of 11 is too low"},
        {"-o hashpower=33", 1, "Initial hashtable multiplier of 33 is too high"},
        {"-o idle_timeout", 1, "Missing numeric argument for idle_timeout"},
        {"-o repl_buffer=0", 1, "repl_buffer must be between 1 and 65536"},
        {"-o repl_timeout=x", 1, "repl_timeout needs a number, not \"x\""},
        {"-o repl_listen=", 1, "Missing address for repl_listen"},
        {"-o repl_listen=1.2.3.4:5", 1, "repl_listen takes an address without a port, -X has it"},
        {"-o repl_listen=[::1]:5", 1, "repl_listen takes an address without a port, -X has it"},
        {"-o repl_listen=[::1", 1, "repl_listen"},
        {"-o repl_secret_file", 1, "Missing file for repl_secret_file"},
        {"-o repl_accept=some", 1, "repl_accept is any or peer, not \"some\""},
        {"-o repl_accept", 1, "repl_accept is any or peer, not \"\""},
        {"-o repl_compat", 1, "repl_compat must be repcached or none"},
        {"-o repl_compat=REPCACHED", 1, "repl_compat must be repcached or none"},
        {"-X 1 -o repl_compat=repcached,repl_secret_file=/x", 64,
         WITH_REPLICATION ? "repl_compat=repcached and repl_secret_file ex" : NO_LINK},
        {"-X 11212 -o repl_accept=peer", 64,
         WITH_REPLICATION ? "repl_accept=peer needs -x: it accepts that host only" : NO_LINK},
        {"-o repl_tombstones=65536", 64, "repl_tombstones cannot be more than 1/2 of memory max."},
        {"-l 1.2.3.4:http", 71, "Invalid port number: \"http\""},
        {"-l 1.2.3.4:70000", 71, "Invalid port number: \"70000\""},
        {"-l [::1", 71, "Invalid IPV6 address: \"[::1\""},
        {"-l []", 71, "Invalid IPV6 address: \"[]\""},
        {"-l notls:1.2.3.4", 71, "'notls' option is valid only when SSL is enabled"},
        {"-l tag[a]:1.2.3.4", 71, "-l: this server has no listener prefixes"},
        {"-X", 64, "-X takes the replication port, and none follows (to refuse dumps of keys say --disable"},
        {"-X -v", 64, "-X takes the replication port, \"-v\" is no number (to refuse dumps of keys say --dis"},
        {"-X 70000", 64, "ERROR: Invalid replication port number 70000."},
        {"-x db2 -X 0", 64, WITH_REPLICATION ? "-X 0 (any free port) cannot be used with -x" : NO_LINK},
        {"-x ~", 1, "Illegal address: "},
        {"-q 0", 1, "Queue length must be greater than 0"},
        {"-S -B ascii", 64, WITH_SASL ? "-S works with the binary protocol only" : NO_SASL},
        {"-B auto -S", 64, WITH_SASL ? "-S works with the binary protocol only" : NO_SASL},
        {"-S -Y /x", 64, WITH_SASL ? "-S and -Y exclude each other" : NO_SASL},
        {"-Z", 64, "This server is not built with TLS support."},
        {"-U 70000", 64, "ERROR: Invalid UDP port number 70000."},
        {"-U x", 64, "ERROR: Invalid UDP port number x."},
        {"-U 11211 -s /x", 64, "-U and -s exclude each other"},
        {"-U 11211 -Y /x", 64, "-U cannot be used with -S or -Y"},
        {"-o udp_rate=-1", 1, "udp_rate must be between 0 and"},
        {"-Y /x -B binary", 64, "-Y works with the text protocol only"},
        {"-B auto -Y /x", 64, "-Y works with the text protocol only"},
        {"-Y ~", 64, "-Y takes the file of those who may log in"},
        {"-e /x", 64, "-e: this server cannot keep items"},
        {"-N 1", 64, "-N: this server uses one thread"},
};

START_TEST(failure)
{
	struct settings_result r = parse(failures[_i].line);

	ck_assert_msg(r.status == SETTINGS_FAIL, "%s is accepted", failures[_i].line);
	ck_assert_msg(!strncmp(r.error, failures[_i].error, strlen(failures[_i].error)), "%s: %s",
	              failures[_i].line, r.error);
	ck_assert_int_eq(r.exit_code, failures[_i].exit_code);
	ck_assert_ptr_null(strchr(r.error, '\n'));
}
END_TEST

START_TEST(too_long_values)
{
	char line[2 * WORD_BYTES_MAX] = "-u ";

	memset(line + 3, 'u', 64);
	ck_assert_int_eq(parse(line).status, SETTINGS_FAIL);
	memcpy(line, "-x ", 3);
	memset(line + 3, 'x', 256);
	ck_assert_int_eq(parse(line).status, SETTINGS_FAIL);
	memcpy(line, "-l ", 3);
	ck_assert_int_eq(parse(line).exit_code, 71);
	memcpy(line, "-o ", 3);
	memset(line + 3, 'o', 350);
	ck_assert_int_eq(parse(line).status, SETTINGS_FAIL);
}
END_TEST

static void collect(void *ctx, const char *line)
{
	char *all = ctx;
	size_t used = strlen(all);

	ck_assert_uint_le(strlen(line), 100);
	ck_assert_uint_lt(used + strlen(line) + 2, 16384);
	memcpy(all + used, line, strlen(line) + 1);
	all[used + strlen(line)] = '\n';
	all[used + strlen(line) + 1] = '\0';
}

START_TEST(texts)
{
	static const char *const named[] = {"-p, --port=NUM", "-x, --replication-peer=HOST", "-X, ",
	                                    "--disable-dumping", "-D CHAR", "repl_buffer", "-o, --extended"};
	char *all = calloc(1, 16384);

	ck_assert_int_eq(parse("-h").show, 'h');
	ck_assert_int_eq(parse("-V -p bad").show, 'V');
	ck_assert_int_eq(parse("-i").status, SETTINGS_EXIT);
	settings_show('h', collect, all);
	ck_assert(!strncmp(all, "memcached ", 10));
	for (size_t i = 0; i < ARRAY_LEN(named); i++)
		ck_assert_msg(strstr(all, named[i]) != NULL, "--help lacks %s", named[i]);
	all[0] = '\0';
	settings_show('V', collect, all);
	ck_assert_str_eq(all, "memcached " PACKAGE_VERSION "\n");
	all[0] = '\0';
	settings_show('i', collect, all);
	ck_assert(strstr(all, "memcached pair authors"));
	free(all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("settings");
	TCase *tc = tcase_create("all");

	tcase_add_test(tc, defaults);
	tcase_add_test(tc, letters_and_long_forms_agree);
	tcase_add_test(tc, getopt_style);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, listen_lists);
	tcase_add_test(tc, replication_options);
	tcase_add_test(tc, who_may_log_in);
	tcase_add_test(tc, suboptions);
	tcase_add_test(tc, suboptions_of_the_link);
	tcase_add_test(tc, notices);
	tcase_add_test(tc, all_suboptions);
	tcase_add_loop_test(tc, failure, 0, ARRAY_LEN(failures));
	tcase_add_test(tc, too_long_values);
	tcase_add_test(tc, texts);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
