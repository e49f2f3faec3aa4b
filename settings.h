/*
 * settings.h - what the operator asked for: one immutable struct.
 *
 * Owns: the option table (short and long names, defaults, ranges, help text;
 * --help, the parser and `stats settings` are all made from it), the -o
 * sub-options, -l parsing. After start only the admin path of command.c
 * changes the few values that may change (verbosity, memory limit), and those
 * live in the node, not here.
 *
 * Must not know: sockets, the node, state of any kind.
 *
 * Layer 3. Source of names and messages: protocol reference section 6.
 * Covered by: t/test_settings.c, t/options.t.
 */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "compat.h"
#include "hmac.h"

#define LISTEN_ADDRS_MAX 64
#define SETTINGS_PATH_MAX 1024

#define REPL_PORT_DEFAULT 11212

enum protocol_choice {
	PROTOCOL_AUTO,
	PROTOCOL_ASCII,
	PROTOCOL_BINARY
};

/* One element of -l; the host is resolved by the shell. */
struct listen_addr {
	char host[256]; /* "" = any address */
	int port;       /* -1 = use -p, -U */
};

/* Who may connect to the link port. */
enum repl_accept {
	REPL_ACCEPT_DEFAULT, /* gone after settings_parse() */
	REPL_ACCEPT_ANY,
	REPL_ACCEPT_PEER /* the addresses of repl_peer */
};

struct settings {
	/* shell */
	int tcp_port;                     /* -p; 0 none, -1 ephemeral */
	int udp_port;                     /* -U; 0 none, -1 ephemeral */
	int udp_rate_bytes;               /* -o udp_rate=KiB, bytes a second; 0 no limit */
	struct listen_addr listen[LISTEN_ADDRS_MAX];
	int listen_count;                 /* 0 = all addresses */
	char listen_text[SETTINGS_PATH_MAX]; /* -l as given, for `stats settings` */
	char socket_path[SETTINGS_PATH_MAX]; /* -s, "" none */
	unsigned socket_mask;             /* -a, octal */
	bool daemonize;                   /* -d */
	bool core_dumps;                  /* -r */
	bool lock_memory;                 /* -k */
	char user[64];                    /* -u */
	char pid_file[SETTINGS_PATH_MAX]; /* -P */
	int conns_max;                    /* -c */
	int listen_backlog;               /* -b */
	bool maxconns_fast;               /* -o maxconns_fast (default on) */
	int verbosity;                    /* -v count */
	int threads;                      /* -t as given; one is used */

	/* storage */
	size_t memory_bytes_max;          /* -m, bytes */
	size_t item_bytes_max;            /* -I */
	bool evict;                       /* !-M */
	bool track_sizes;                 /* -o track_sizes */
	bool turn_cpu;                    /* -o turn_cpu */
	int busy_poll_us;                 /* -o busy_poll, 0 off */
	double growth_factor;             /* -f; 0 = fine-grained classes */
	size_t chunk_bytes_min;           /* -n; 0 = default */
	int hash_power;                   /* -o hashpower, 0 = default */
	bool slab_reassign;               /* -o slab_reassign (default on) */
	int slab_automove;                /* -o slab_automove, 0..2, default 1 */
	bool lru_crawler;                 /* -o lru_crawler (default on) */
	int lru_crawler_sleep_us;         /* -o lru_crawler_sleep, default 100 */
	int64_t lru_crawler_tocrawl;      /* -o lru_crawler_tocrawl, 0 = all */

	/* protocols */
	bool cas;                         /* !-C */
	bool flush_enabled;               /* !-F */
	bool shutdown_command;            /* -A */
	bool debug_commands;              /* memcached-debug: debugtime and debugitem */
	bool watch_enabled;               /* !-W */
	bool dump_enabled;                /* !-X without number (--disable-dumping) */
	enum protocol_choice protocol;    /* -B */
	bool sasl;                        /* -S: SASL before anything else, by the binary protocol */
	char auth_file[SETTINGS_PATH_MAX]; /* -Y: a login before anything else, by text; "" none */
	int requests_per_event;           /* -R */
	int idle_timeout_s;               /* -o idle_timeout, 0 off */
	size_t watch_queue_bytes;         /* -o watcher_logbuf_size */
	char stat_prefix_delimiter;       /* -D */
	bool stat_prefixes;               /* -D was given: they are counted from the start */

	/* replication: on when repl_peer or repl_port was given */
	bool replicated;
	char repl_peer[256];              /* -x host, "" none */
	int repl_port;                    /* -X, default 11212; 0 = ephemeral when listening */
	char repl_listen[256];            /* -o repl_listen=ADDR; "" = the addresses of -l */
	enum repl_accept repl_accept;     /* -o repl_accept=any|peer */
	char repl_secret_file[SETTINGS_PATH_MAX]; /* -o repl_secret_file=PATH, "" none */
	bool repl_has_secret;             /* the shell has read it, ... */
	uint8_t repl_link_key[HMAC_BYTES]; /* ... and this was made of it: repl_auth.h */
	int repl_queue;                   /* -q, accepted for repcached's sake: shown as repcached_qi_free */
	size_t repl_buffer_bytes;         /* -o repl_buffer=MiB, default 64 */
	size_t repl_tombstones_bytes;     /* -o repl_tombstones=KiB; 0 = 1 % of -m, at least 1 MiB */
	int repl_timeout_ms;              /* -o repl_timeout=MS, silence that means dead; default 5000 */
	int repl_ack_ms;                  /* -o repl_ack=MS, longest wait for the peer's ACK; 0 off */
	int repl_drain_ms;                /* -o repl_drain=MS at SIGTERM, default 5000 */
	bool repl_compat;                 /* -o repl_compat=repcached: its link is spoken, too */
	int64_t repl_max_skew_ms;         /* -o repl_max_skew=SECONDS, default 1 day */
};

enum settings_status {
	SETTINGS_RUN,  /* go on and serve */
	SETTINGS_EXIT, /* -h, -V, -i: text was asked for; exit 0 */
	SETTINGS_FAIL  /* message in `error`, exit with `exit_code` */
};

struct settings_result {
	enum settings_status status;
	int exit_code;      /* 0, 1, 64 (usage), see reference 6 */
	char error[512];    /* one line, no newline */
	char notice[4096];   /* lines to print and go on (-t above 1, ...), "" none */
	char show;          /* SETTINGS_EXIT: 'h', 'V' or 'i' */
};

/* Defaults, as with an empty command line. */
void settings_init(struct settings *s);
/* Parse a command line (argv[0] ignored). argv may be permuted. */
struct settings_result settings_parse(struct settings *s, int argc, char **argv);
/* The --help ('h'), --version ('V') or --license ('i') text, through fn line by line. */
void settings_show(char show, void (*fn)(void *ctx, const char *line), void *ctx);

#endif
