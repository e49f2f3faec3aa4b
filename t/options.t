#!/usr/bin/perl
# The command line: every option and what it does, exit codes and messages, pid
# file, sockets, the connection limit, signals, and a stop that loses nothing.
# Reference: doc/protocol.txt and --help; contract of the pair section 1 (U11).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Socket;
use Test::More;

my @root = $> == 0 ? qw(-u root) : ();

sub daemon_says { return run_daemon_to_end(binary(), @_) }

# It must end by itself with this code and say something like that on stderr.
sub refuses
{
	my ($args, $code, $message, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$name ||= "@$args";
	# On a free port, so that one that is wrongly accepted disturbs nobody.
	my @args = (@root, (grep { /^(?:-p|--port)/ } @$args) ? () : ('-l', '127.0.0.1', '-p', free_port()), @$args);
	my ($is, $out, $err) = daemon_says(@args);
	my $good = defined $is && $is eq $code && $err =~ $message && $out eq '';
	ok($good, "$name: exit $code, $message") or diag '  exit ', defined $is ? $is : 'not', "; stdout: $out; stderr: $err";
	cmp_ok(scalar(split /\n/, $err), '<=', 2, "$name: in a line or two") or diag $err;
	return;
}

# ---- texts ---------------------------------------------------------------------

for my $flag (qw(-V --version)) {
	my ($code, $out, $err) = daemon_says($flag);
	is($code, 0, "$flag: exit 0");
	like($out, qr/\A\S*memcached\S* \d+\.\d+\S*\n\z/, "$flag: one line with the version");
	is($err, '', "$flag: nothing on stderr");
}
for my $flag (qw(-h --help)) {
	my ($code, $out, $err) = daemon_says($flag);
	is($code, 0, "$flag: exit 0");
	like($out, qr/\A\S*memcached\S* \d+\.\d+/, "$flag: begins with the version");
	for my $option (qw(p s a A l d r u m M c k v h i V P f n t R C b B I F o x X)) {
		like($out, qr/^-$option\b/m, "$flag: explains -$option");
	}
	like($out, qr/--disable-dumping/, "$flag: and --disable-dumping");
	is(scalar(grep { length > 100 } split /\n/, $out), 0, "$flag: fits a terminal");
}
for my $flag (qw(-i --license)) {
	my ($code, $out) = daemon_says($flag);
	is($code, 0, "$flag: exit 0");
	like($out, qr/licen[cs]e|copyright/i, "$flag: the licence");
}

# ---- refusals --------------------------------------------------------------------

refuses(['-p', '65536'], 64, qr/Invalid port number 65536/);
refuses(['-c', '0'], 1, qr/Maximum connections must be greater than 0/);
refuses(['-c', '-5'], 1, qr/Maximum connections must be greater than 0/);
refuses(['-f', '1'], 1, qr/Factor must be greater than 1/);
refuses(['-f', '0.5'], 1, qr/Factor must be greater than 1/);
refuses(['-n', '0'], 1, qr/Chunk size must be greater than 0/);
refuses(['-t', '0'], 1, qr/Number of threads must be greater than 0/);
refuses(['-R', '0'], 1, qr/Number of requests per event must be greater than 0/);
refuses(['-I', '1000'], 64, qr/Item max size cannot be less than 1024 bytes/);
refuses(['-I', '2000m', '-m', '8000'], 64, qr/Cannot set item size limit higher than a gigabyte/);
refuses(['-I', '40m', '-m', '64'], 64, qr/Cannot set item size limit higher than 1\/2 of memory max/);
refuses(['-m', '0'], 64, qr/memory/i);
refuses(['-m', 'abc'], 64, qr/memory/i);
refuses(['-B', 'morse'], 64, qr/Invalid value for binding protocol: morse/);
refuses(['-S', '-B', 'ascii'], 64, qr/SASL|-S works with the binary protocol only/);
refuses(['-Z'], 64, qr/TLS/);
refuses(['-o', 'nonsense'], 1, qr/Illegal suboption "nonsense"/);
refuses(['-o', 'idle_timeout'], 1, qr/Missing numeric argument for idle_timeout/);
refuses(['-o', 'hashpower=5'], 1, qr/Initial hashtable multiplier of 5 is too low/);
refuses(['-o', 'hashpower=50'], 1, qr/Initial hashtable multiplier of 50 is too high/);
refuses(['-G'], 1, qr/Illegal argument|invalid option/, 'an unknown letter');
refuses(['--no-such-option'], 1, qr/Illegal argument|unrecognized option/, 'an unknown word');
refuses(['-p'], 1, qr/Illegal argument|requires an argument/, 'an option without its value');
refuses(['-X'], 64, qr/--disable-dumping/, '-X without a number');
refuses(['-X', 'abc'], 64, qr/--disable-dumping/);
refuses(['-X', '-v'], 64, qr/--disable-dumping/);
refuses(['-X', '65536'], 64, qr/port/);
refuses(['-X', '-1'], 64, qr/port/);
refuses(['-x', '127.0.0.1', '-X', '0'], 64, qr/-X 0/);
refuses(['-q', '0'], 1, qr/must be greater than 0/);
refuses(['-u', 'no-such-user-here'], 67, qr/can't find the user no-such-user-here to switch to/) if $> == 0;
if ($> == 0) {
	my ($code, undef, $err) = daemon_says('-l', '127.0.0.1', '-p', free_port());
	is($code, 64, 'root without -u: exit 64') or diag $err;
	like($err, qr/-u root/, 'and says how');
}
refuses(['-l', 'no.such.host.invalid'], 71, qr/no\.such\.host\.invalid|getaddrinfo/);
refuses(['-l', '[::1'], 71, qr/Invalid IPV6 address|\[::1/);
refuses(['-l', '127.0.0.1:99999'], 71, qr/Invalid port number/);

{
	my $n = node();
	$n->start;
	my ($code, undef, $err) = daemon_says(@root, '-l', $n->addr, '-p', $n->port);
	is($code, 71, 'a port that is taken: exit 71') or diag $err;
	like($err, qr/failed to listen on TCP port \d+: Address already in use/, 'and says so');
	is($n->set('k', 'v'), 'STORED', 'the other daemon is not disturbed');
	# The link port that is taken: it serves all the same, says so, and tries again.
	my $m = node(addr => '127.0.0.1', link_port => $n->port);
	my $started = $m->start(may_clash => 1);
	my $said = $m->log;
	ok($started ? lines_like($said, qr/in use/) : $said =~ /in use/, 'a link port that is taken: one clear line') or diag $said;
	$n->stop;
	wait_ok { grep { $_ == $m->link_port } $m->listens } 'and is taken over when it becomes free', 15 if $started && have_proc();
}

# ---- what options do ---------------------------------------------------------------

# [arguments, statistic of "stats settings", value]
my @effects = (
	[[], 'maxbytes', 64 << 20], [[], 'maxconns', 1024], [[], 'evictions', 'on'], [[], 'cas_enabled', 'yes'],
	[[], 'item_size_max', 1 << 20], [[], 'flush_enabled', 'yes'], [[], 'shutdown_command', 'no'],
	[['-m', '100'], 'maxbytes', 100 << 20], [['--memory-limit=32'], 'maxbytes', 32 << 20], [['-m64', '-m48'], 'maxbytes', 48 << 20],
	[['-c', '100'], 'maxconns', 100], [['--conn-limit=200'], 'maxconns', 200],
	[['-M'], 'evictions', 'off'], [['-C'], 'cas_enabled', 'no'], [['-F'], 'flush_enabled', 'no'], [['-A'], 'shutdown_command', 'yes'],
	[['-I', '2m', '-m', '64'], 'item_size_max', 2 << 20], [['-I', '2048'], 'item_size_max', 2048], [['-I', '16k'], 'item_size_max', 16 << 10],
	[['-b', '77'], 'tcp_backlog', 77], [['-R', '9'], 'reqs_per_event', 9], [['-f', '1.5'], 'growth_factor', '1.50'],
	[['-n', '100'], 'chunk_size', 100], [['-v'], 'verbosity', 1], [['-vv'], 'verbosity', 2], [['-v', '-v'], 'verbosity', 2],
	[['-B', 'ascii'], 'binding_protocol', 'ascii'], [['-B', 'auto'], 'binding_protocol', 'auto-negotiate'],
	[['-o', 'no_maxconns_fast'], 'maxconns_fast', 'no'], [['-o', 'idle_timeout=30'], 'idle_timeout', 30],
	[['-o', 'hashpower=18,idle_timeout=31', '-o', 'maxconns_fast'], 'idle_timeout', 31],
	[['--disable-dumping'], 'dump_enabled', 'no'], [['-t', '4'], 'num_threads', 1],
	[['-Mv', '-C'], 'evictions', 'off'], [['--disable-evict'], 'evictions', 'off'],
);
my @wrong;
for my $effect (@effects) {
	my ($args, $name, $want) = @$effect;
	my $n = node(args => $args);
	if (!eval { $n->start }) {
		push @wrong, "@$args: $@";
		next;
	}
	my $is = $n->stats('settings')->{$name};
	push @wrong, "@$args: $name is " . (defined $is ? $is : 'not there') . ", not $want" if !defined $is || $is ne $want;
	$n->kill9;
}
all_ok(\@wrong, scalar(@effects) . ' settings are what the options say');

SKIP: {
	skip 'no /proc', 1 if !have_proc();
	my $n = node(args => ['-r']);
	$n->start;
	my ($soft, $hard) = slurp('/proc/' . $n->pid . '/limits') =~ /^Max core file size\s+(\S+)\s+(\S+)/m;
	is($soft, $hard, '-r: the limit for core files is raised');
	$n->kill9;
}
SKIP: {
	skip 'only root can become somebody else', 2 if $> != 0 || !defined getpwnam 'nobody';
	my $n = node(args => ['-u', 'nobody']);
	$n->start;
	my ($uid, $euid) = slurp('/proc/' . $n->pid . '/status') =~ /^Uid:\s+(\d+)\s+(\d+)/m;
	is("$uid $euid", join(' ', (scalar getpwnam 'nobody') x 2), '-u nobody: it is nobody');
	is($n->set('k', 'v'), 'STORED', 'and serves');
	$n->kill9;
}
{
	my $n = node(args => ['-k', '-m', '16']);
	ok(eval { $n->start }, '-k: it starts, whether memory may be locked or not') or diag $n->log;
	$n->kill9;
}

# -M: errors instead of evictions.
{
	my $n = node(args => ['-M', '-m', '4']);
	$n->start;
	my $big = 'x' x 100_000;
	my $reply = 'STORED';
	my $count = 0;
	$reply = $n->set('k' . $count++, $big) while $reply eq 'STORED' && $count < 100;
	is($reply, 'SERVER_ERROR out of memory storing object', '-M: an error when memory is full');
	is($n->get('k0'), $big, 'and nothing was evicted');
	is($n->stat('evictions'), 0, 'not one');
	# Memory that deletes set free serves values of any other size.
	$n->c->cmd("delete k$_") for 1 .. 9;
	wait_ok { $n->set("small", "x") eq "STORED" } "after deletes a small value finds room";
	$n->kill9;
}

# -I: the largest item.
{
	my $n = node(args => ['-I', '4m', '-m', '64']);
	$n->start;
	is($n->set('k', 'x' x (4 * 1048576 - 1024)), 'STORED', '-I 4m: almost 4 MiB');
	is(length $n->get('k'), 4 * 1048576 - 1024, 'come back');
	is($n->set('k', 'x' x (4 * 1048576)), 'SERVER_ERROR object too large for cache', '4 MiB and a key do not');
	is($n->get('k'), undef, 'and the old value is gone');
	$n->kill9;
}

# -v and -vv.
{
	my $n = node(args => ['-vv']);
	$n->start;
	$n->set('loud', 'v');
	wait_ok { $n->log =~ /set loud 0 0 1/ } '-vv: prints commands';
	wait_ok { $n->log =~ /STORED/ } 'and replies';
	ok($n->stop, 'and ends');
	my $quiet = node();
	$quiet->start;
	$quiet->set('loud', 'v');
	ok($quiet->stop, 'without -v');
	is($quiet->log . $quiet->out, '', 'it says nothing');
}

# ---- sockets -----------------------------------------------------------------------

{
	my $path = tmp_dir() . '/sock';
	my $n = node(unix => $path, args => ['-a', '0770']);
	$n->start;
	is($n->set('k', 'v'), 'STORED', '-s: a Unix socket');
	is($n->get('k'), 'v', 'it serves');
	is(sprintf('%o', (stat $path)[2] & 07777), '770', '-a: with the permissions asked for');
	is_deeply([$n->listens], [], 'and no TCP port') if have_proc();
	is($n->stats('settings')->{domain_socket}, $path, 'stats settings says which');
	$n->kill9;
	ok(eval { $n->start }, 'a socket file left behind is no obstacle');
	$n->kill9;
	unlink $path;
	open my $fh, '>', $path;
	print $fh "somebody's file\n";
	close $fh;
	my ($code, undef, $err) = daemon_says(@root, '-s', $path);
	is($code, 71, 'any other file is: exit 71') or diag $err;
	is(slurp($path), "somebody's file\n", 'and it is left alone');
	unlink $path;
}
{
	my ($p1, $p2) = (free_port(), free_port());
	my $file = tmp_dir() . '/ports';
	for my $case (
		[['-l', "127.0.0.1:$p1,127.0.0.2:$p2"], 'a list'],
		[['-l', "127.0.0.1:$p1", '-l', "127.0.0.2:$p2"], 'several -l'],
		[['-l', "127.0.0.1;127.0.0.2:$p2", '-p', $p1], 'a port of its own and that of -p'],
	) {
		my ($args, $name) = @$case;
		my $n = node(argv => [@root, @$args], addr => '127.0.0.1', port => $p1);
		ok($n->start, "-l, $name: starts");
		is($n->set('k', $name), 'STORED', "-l, $name: first address");
		my $c = eval { MemcachedPair::Client->new(addr => '127.0.0.2', port => $p2) };
		is($c ? $c->get('k') : 'refused', $name, "-l, $name: second address");
		is_deeply([$n->listens], [sort { $a <=> $b } $p1, $p2], "-l, $name: these and no others") if have_proc();
		$n->kill9;
	}
	my $n = node(argv => [@root, '-l', '127.0.0.1', '-p', '-1'], env => { MEMCACHED_PORT_FILENAME => $file }, port => 1);
	$n->start(wait => 0);
	wait_ok { slurp($file) =~ /^TCP INET: (\d+)$/m } '-p -1: MEMCACHED_PORT_FILENAME gets the port';
	my ($port) = slurp($file) =~ /^TCP INET: (\d+)$/m;
	is(eval { MemcachedPair::Client->new(addr => '127.0.0.1', port => $port || 1)->set('k', 'v') } || 'refused', 'STORED', 'and it is the one');
	$n->kill9;
}
{
	my $n = node(addr => '127.0.0.1', args => ['-l', ' 127.0.0.1']);
	ok(eval { $n->start }, 'spaces before a value are skipped') or diag $n->log;
	$n->kill9;
}
SKIP: {
	skip 'no IPv6 here', 4 if slurp('/proc/net/if_inet6') !~ /^0{31}1 /m;
	my $n = node(addr => '::1', port => free_port('127.0.0.1'));
	ok(eval { $n->start }, '-l ::1: starts') or diag $n->log;
	is(eval { $n->set('k', 'v') } || $@, 'STORED', 'serves over IPv6');
	$n->kill9;
	my $port = free_port();
	$n = node(argv => [@root, '-l', "[::1]:$port,127.0.0.1:$port"], port => $port, addr => '127.0.0.1');
	ok(eval { $n->start }, '-l [::1]:port,127.0.0.1:port: starts') or diag $n->log;
	$n->set('k', 'v');
	is(eval { MemcachedPair::Client->new(addr => '::1', port => $port)->get('k') } || $@, 'v', 'both lead to the same data');
	$n->kill9;
	# A pair over IPv6.
	my $link = free_port();
	my ($p1, $p2) = (free_port(), free_port());
	my $x = node(name => 'x6', addr => '127.0.0.1', port => $p1, link_port => $link, args => ['-o', 'repl_listen=::1']);
	my $y = node(name => 'y6', addr => '127.0.0.2', port => $p2, link_port => $link, peer => '::1');
	$x->start;
	$y->start;
	ok(eval { MemcachedPair::wait_pair($x, $y) }, 'a pair whose link is IPv6') or diag $@;
	$_->kill9 for $x, $y;
}
{
	my $port = free_port();
	my $n = node(argv => [@root, '-p', $port], port => $port);
	ok(eval { $n->start }, 'without -l') or diag $n->log;
	my $c = eval { MemcachedPair::Client->new(addr => '127.0.0.5', port => $port) };
	ok($c && $c->set('k', 'v') eq 'STORED', 'every address leads to it');
	is_deeply([$n->listens], [$port], 'and no link port that nobody asked for') if have_proc();
	is($n->role, 'OFF', 'replication is off') if defined $n->stat('replication');
	$n->kill9;
}

# ---- the connection limit ------------------------------------------------------------

{
	my $n = node(args => ['-c', '50']);
	$n->start;
	my $c = $n->client;
	my (@in, $said);
	for (1 .. 60) {
		my $more = eval { $n->client(5) } or last;
		my $answer = eval { $more->cmd('version') };
		push @in, $more if defined $answer && $answer =~ /^VERSION/;
		$said ||= $answer if defined $answer && $answer !~ /^VERSION/ && $answer ne '';
	}
	cmp_ok(scalar @in, '<', 51, '-c 50: not more than 50');
	cmp_ok(scalar @in, '>', 30, 'but about as many');
	like($said || '', qr/^ERROR Too many open connections/, 'the others are told');
	cmp_ok($c->stats->{rejected_connections}, '>', 0, 'and counted');
	$_->close for @in;
	wait_ok { my $r = eval { $n->client(2)->cmd('version') }; ($r || '') =~ /^VERSION/ } 'when some go, others are served';
	$n->kill9;

	$n = node(args => ['-c', '50', '-o', 'no_maxconns_fast']);
	$n->start;
	$c = $n->client;
	my @conn = map { $n->client(20) } 1 .. 60;
	$_->put("version\r\n") for @conn;
	my $served = 0;
	wait_for { $served = grep { $_->pending =~ /^VERSION/ } @conn; $served >= 40 } 5;
	cmp_ok($served, '<', 60, 'no_maxconns_fast: some wait');
	is($c->stats->{accepting_conns}, 0, 'accepting_conns says so');
	cmp_ok($c->stats->{listen_disabled_num}, '>', 0, 'listen_disabled_num, too');
	$conn[$_]->close for grep { $conn[$_]->pending =~ /^VERSION/ } 0 .. $#conn;
	wait_ok { !grep { !$_->is_closed && $_->pending !~ /^VERSION/ } @conn } 'and are served when others go', 10;
	$n->kill9;
}
{
	my $n = node(args => ['-o', 'idle_timeout=1', '-I', '32m', '-m', '128']);
	my $len = 24 << 20; # more than the kernel takes for a client that does not read
	$n->start;
	my $slow = $n->client;
	is($slow->set('large', 'v' x $len), 'STORED', 'a large value');
	$slow->put("get large\r\n");
	my $c = $n->client;
	is($c->cmd('version') =~ /^VERSION/, 1, 'idle_timeout=1: a client');
	wait_ok { $c->is_closed } 'is closed when idle', 5;
	cmp_ok($n->stat('idle_kicks'), '>=', 1, 'and counted');
	is($slow->line, "VALUE large 0 $len", 'a reply that is not read yet is not cut off');
	is(length($slow->bytes($len + 2) || ''), $len + 2, 'it comes whole');
	$n->kill9;
}

# ---- pid file, daemon, signals ---------------------------------------------------------

for my $detach (0, 1) {
	my $pid_file = tmp_dir() . "/pid.$detach";
	my $how = $detach ? '-d -P' : '-P';
	my $port = free_port();
	my $n = node(argv => [@root, '-l', '127.0.0.1', '-p', $port, $detach ? '-d' : (), '-P', $detach ? 'PIDFILE' : $pid_file], detach => $detach, port => $port);
	$n->start(wait => 0);
	$pid_file = $n->pid_file if $detach;
	wait_for { slurp($pid_file) =~ /^\d+\n\z/ } 5;
	# Written after the sockets are open: whoever sees it can connect at once.
	ok(eval { MemcachedPair::Client->new(addr => '127.0.0.1', port => $port) }, "$how: who sees the pid file can connect");
	is(slurp($pid_file), $n->pid . "\n", "$how: it holds the pid");
	ok(!-e "$pid_file.tmp", "$how: and no other file is left");
	if ($detach && have_proc()) {
		my $pid = $n->pid;
		is(readlink "/proc/$pid/cwd", '/', '-d: its directory is the root');
		is(join(' ', map { readlink "/proc/$pid/fd/$_" } 0 .. 2), '/dev/null /dev/null /dev/null', '-d: it has let go of its terminal');
		my @f = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\) //sr;
		is($f[3], $pid, '-d: it leads a session of its own');
	}
	ok($n->stop, "$how: SIGTERM ends it");
	ok(!-e $pid_file, "$how: and removes the pid file");
}
{
	my $n = node(args => ['-P', '/no/such/directory/pid']);
	ok(eval { $n->start }, 'a pid file that cannot be written: it serves');
	like($n->log, qr{/no/such/directory/pid}, 'and says so');
	$n->kill9;
}
for my $signal (qw(TERM INT)) {
	my $n = node();
	$n->start;
	my $c = $n->client;
	$c->set('k', 'v');
	my $began = now();
	my $status = $n->end_by($signal);
	is($status, 0, "SIG$signal: exit 0");
	cmp_ok(now() - $began, '<', 2 * slow_factor(), 'at once');
	wait_ok { $c->is_closed } 'clients see a closed connection', 2;
}
{
	my $n = node();
	$n->start;
	$n->set('k', 'v');
	$n->signal($_) for qw(HUP PIPE HUP PIPE);
	is($n->get('k'), 'v', 'SIGHUP and SIGPIPE are survived');
	$n->kill9;
	$n->start;
	is($n->end_by('USR1'), 0, 'SIGUSR1: exit 0');
}

# ---- a stop that loses nothing -----------------------------------------------------------

for my $signal (qw(TERM INT)) {
	my ($one, $two) = pair();
	my $keys = 2000;
	for my $case ([$one, $two], [$two, $one]) {
		my ($gone, $left) = @$case;
		my $name = "SIG$signal to the " . lc $gone->role;
		my $round = "$signal$gone->{name}";
		my @load = map { writer(nodes => [$gone], prefix => "$round.$_.", keys => $keys, len => 1000) } 1 .. 2;
		my $before = $gone->stat("cmd_set");
		wait_for { $gone->stat("cmd_set") > $before + 2 * $keys } 20;
		my $began = now();
		is($gone->end_by($signal, 15), 0, "$name: exit 0");
		cmp_ok(now() - $began, '<', 5 * slow_factor(), "$name: soon");
		my @reports = map { $_->finish } @load;
		cmp_ok($reports[0]{writes} + $reports[1]{writes}, ">", 1000, "$name: under load");
		all_ok([map { $_->judge($left, 0) } @reports], "$name: every acknowledged write is on the other side");
		wait_ok { $left->role eq 'MASTER' } "$name: which goes on as master";
		$gone->start;
		MemcachedPair::wait_pair($one, $two, 20);
	}
	# A peer that does not read cannot hold it up for ever.
	if ($signal eq 'TERM') {
		my $slow = node(name => 'slow', addr => '127.0.0.3', port => free_port(), link_port => free_port(), args => ['-o', 'repl_drain=700,repl_timeout=60000']);
		my $peer = node(name => 'peer', addr => '127.0.0.4', port => free_port(), link_port => $slow->link_port, peer => '127.0.0.3');
		$slow->start;
		$peer->start;
		MemcachedPair::wait_pair($slow, $peer);
		$peer->freeze;
		load_items($slow, 'item', 50_000, 1000);
		my $began = now();
		is($slow->end_by('TERM', 15), 0, 'a stopped peer: SIGTERM still ends it');
		cmp_ok(now() - $began, '<', 4 * slow_factor(), 'after repl_drain');
	}
}

done_testing();
