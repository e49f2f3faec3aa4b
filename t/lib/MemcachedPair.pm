package MemcachedPair;

# Start real daemons, talk to them, wait for conditions, compare the two sides.
# Core modules only. How to write a test with it: t/README.
#
# Everything started here is killed at the end, however the test ends. Ports are
# chosen at random below the range of ephemeral ports, so that no outgoing
# connection of anybody takes one while its daemon is down, and are tried before
# use; a clash at start is retried with others.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use Exporter qw(import);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h);
use Socket qw(SOL_SOCKET SO_REUSEADDR SOCK_STREAM);
use Test::More ();
use Time::HiRes qw(time sleep);

our @EXPORT;
BEGIN {
	@EXPORT = qw(
  binary stock_binary tmp_dir free_port slow_factor now
  wait_for wait_ok
  node pair wait_pair proxy
  run_daemon_to_end spawn reap slurp
  same_on_both values_on_both expiry_of lines_like
  have_proc listens established cpu_ticks rss_kib memory_counts process_alive
  all_ok random_bytes listens_ok one_link_ok roles_ok
	);
}

$SIG{PIPE} = 'IGNORE';

# Deadlines are multiplied by this (T_SLOW=10 under valgrind or a sanitizer).
sub slow_factor { return $ENV{T_SLOW} || 1 }

sub now { return time() }

# ---- clean-up ----------------------------------------------------------------

my $owner = $$;
my %to_kill;    # pid => 1: daemons and children of this test

sub END_kill_everything
{
	return if $$ != $owner;
	for my $pid (keys %to_kill) {
		kill 'CONT', $pid;
		kill 'KILL', $pid;
	}
	1 while waitpid(-1, WNOHANG) > 0;
	return;
}

END {
	my $status = $?;
	END_kill_everything();
	$? = $status;
}
$SIG{$_} = sub { exit 1 }
	for qw(INT TERM HUP);

my $tmp;

sub tmp_dir
{
	return $tmp ||= tempdir('memcached-t-XXXXXX', TMPDIR => 1, CLEANUP => 1);
}

# ---- small things ------------------------------------------------------------

sub slurp
{
	my ($path) = @_;
	open my $fh, '<:raw', $path or return '';
	local $/;
	my $text = <$fh>;
	return defined $text ? $text : '';
}

# Reproducible bytes: a test that fails on random input must fail again.
my $random_state = $ENV{T_SEED} || 20240229;

sub random_u32
{
	$random_state = ($random_state * 1103515245 + 12345) & 0x7fffffff;
	return ($random_state >> 8) & 0xffff;
}

sub random_bytes
{
	my ($count) = @_;
	return pack 'C*', map { random_u32() & 0xff } 1 .. $count;
}

# Lines of a text that match.
sub lines_like
{
	my ($text, $re) = @_;
	return grep { /$re/ } split /\n/, $text;
}

# One ok() for a list of comparisons: names what was wrong.
sub all_ok
{
	my ($wrong, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $good = Test::More::ok(!@$wrong, $name);
	Test::More::diag("  $_") for @$wrong > 10 ? (@$wrong[0 .. 9], '... ' . (@$wrong - 10) . ' more') : @$wrong;
	return $good;
}

# Run the block every 10 ms until it is true or the deadline passes; its value.
sub wait_for(&;$)
{
	my ($condition, $seconds) = @_;
	my $deadline = time() + ($seconds || 10) * slow_factor();
	my $pause = 0.01;
	while (1) {
		my $value = $condition->();
		return $value if $value;
		return $value if time() > $deadline;
		sleep $pause;
		$pause = 0.02;
	}
}

sub wait_ok(&$;$)
{
	my ($condition, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $began = time();
	my $good = Test::More::ok(&wait_for($condition, $seconds), $name);
	Test::More::diag(sprintf '  not so after %.1f s', time() - $began) unless $good;
	return $good;
}

# ---- binaries ----------------------------------------------------------------

sub binary
{
	my $here = dirname(abs_path(__FILE__));
	for my $path ($ENV{MEMCACHED} || (), './memcached', "$here/../../memcached") {
		return abs_path($path) if -x $path && !-d _;
	}
	croak 'no memcached to test: build it, or set MEMCACHED to its path';
}

# Somebody else's memcached, for comparison; undef when not installed.
sub stock_binary
{
	for my $path ($ENV{STOCK_MEMCACHED} || (), '/usr/bin/memcached', '/usr/local/bin/memcached') {
		return $path if -x $path;
	}
	return;
}

# ---- ports -------------------------------------------------------------------

my %port_used;

sub can_listen
{
	my ($addr, $port) = @_;
	return IO::Socket::INET->new(LocalAddr => $addr, LocalPort => $port, Listen => 1, ReuseAddr => 1, Proto => 'tcp');
}

# A port that nobody listens on at any of the addresses (default: two of loopback).
sub free_port
{
	my @addrs = @_ ? @_ : qw(127.0.0.1 127.0.0.2 127.0.0.3 0.0.0.0);
	for (1 .. 500) {
		my $port = 10240 + int rand 22000;
		next if $port_used{$port};
		next if grep { !can_listen($_, $port) } @addrs;
		$port_used{$port} = 1;
		return $port;
	}
	croak "no free port on @addrs";
}

# ---- processes ---------------------------------------------------------------

# Run a block in a child; its pid. It is killed at the end if it still runs. The
# child's value is its exit status.
sub spawn(&)
{
	my ($code) = @_;
	my $pid = fork;
	croak "fork: $!" unless defined $pid;
	if (!$pid) {
		$SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
		my $status = eval { $code->() };
		if ($@) {
			print STDERR "# child $$: $@";
			$status = 99;
		}
		POSIX::_exit($status || 0);
	}
	$to_kill{$pid} = 1;
	return $pid;
}

# Wait for a child; its status as in $?, or undef when it did not end in time.
sub reap
{
	my ($pid, $seconds) = @_;
	my $got;
	wait_for { ($got = waitpid $pid, WNOHANG) != 0 } $seconds || 10;
	return if !$got;
	my $status = $?;
	delete $to_kill{$pid};
	return $status;
}

sub process_alive
{
	my ($pid) = @_;
	return 0 unless kill 0, $pid;
	my $stat = slurp("/proc/$pid/stat");
	return $stat =~ /\) Z / ? 0 : 1;
}

# Run the daemon with these arguments until it exits by itself (start-up errors,
# -h, -V): (exit code, stdout, stderr). Exit code undef: it had to be killed.
sub run_daemon_to_end
{
	my (@args) = @_;
	my ($out, $err) = map { tmp_dir() . "/run.$$.$_" } qw(out err);
	my $pid = fork;
	croak "fork: $!" unless defined $pid;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $out;
		open STDERR, '>', $err;
		exec { $args[0] } @args or POSIX::_exit(127);
	}
	$to_kill{$pid} = 1;
	my $status = reap($pid, 10);
	if (!defined $status) {
		kill 'KILL', $pid;
		waitpid $pid, 0;
		delete $to_kill{$pid};
	}
	my $code = defined $status ? ($status & 127 ? "signal " . ($status & 127) : $status >> 8) : undef;
	return ($code, slurp($out), slurp($err));
}

sub have_proc { return -r "/proc/$$/stat" && -r '/proc/net/tcp' }

# utime + stime of a process, in clock ticks.
sub cpu_ticks
{
	my ($pid) = @_;
	my $stat = slurp("/proc/$pid/stat");
	$stat =~ s/^.*\) //s;
	my @field = split ' ', $stat;
	return $field[11] + $field[12];
}

# Milliseconds on a processor. Ticks are samples: who wakes up just then is charged
# a whole one, so what hardly runs at all needs the exact count, where there is one.
sub cpu_ms
{
	my ($pid) = @_;
	return slurp("/proc/$pid/schedstat") =~ /^(\d+) / ? $1 / 1e6 : 10 * cpu_ticks($pid);
}

sub rss_kib
{
	my ($pid) = @_;
	return slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
}

# Whether the resident memory of a process says anything: a sanitizer keeps what
# is freed.
sub memory_counts
{
	my ($pid) = @_;
	return have_proc() && slurp("/proc/$pid/maps") !~ /lib[a-z]+san\.so/ && slurp("/proc/$pid/status") !~ /^VmSize:\s+\d{10}/m;
}

sub socket_rows
{
	my ($pid, $wanted_state) = @_;
	my %mine;
	for my $fd (glob "/proc/$pid/fd/*") {
		my $target = readlink $fd or next;
		$mine{$1} = 1 if $target =~ /^socket:\[(\d+)\]/;
	}
	my (@rows, %seen);
	for my $table ('tcp', 'tcp6') {
		for my $line (split /\n/, slurp("/proc/net/$table")) {
			my @f = split ' ', $line;
			next unless @f > 9 && $f[3] eq $wanted_state && $mine{$f[9]};
			# The kernel lists a socket twice now and then, if the table changes
			# while it is read.
			next if $seen{$f[9]}++;
			push @rows, [map { /^([0-9A-F]+):([0-9A-F]+)$/ ? [$1, hex $2] : () } @f[1, 2]];
		}
	}
	return @rows;
}

# TCP ports that a process listens on, sorted.
sub listens
{
	my ($pid) = @_;
	my %port = map { $_->[0][1] => 1 } socket_rows($pid, '0A');
	return sort { $a <=> $b } keys %port;
}

# Established TCP connections of a process: [local port, remote port] pairs.
sub established
{
	my ($pid) = @_;
	return map { [$_->[0][1], $_->[1][1]] } socket_rows($pid, '01');
}

# ---- nodes -------------------------------------------------------------------

sub node { return MemcachedPair::Node->new(@_) }
sub proxy { return MemcachedPair::Proxy->new(@_) }

# Two daemons that have found each other: the first on 127.0.0.1 with -X, the
# second on 127.0.0.2 with -x 127.0.0.1 -X. Options: mutual (-x on both), args
# (for both), a_args, b_args, udp (at the port of TCP), and no_wait.
sub pair
{
	my (%o) = @_;
	for my $try (1 .. 5) {
		my $port = free_port();
		my $link = free_port();
		my @both = (@{ $o{args} || [] }, $o{udp} ? ('-U', $port) : ());
		my $first = node(
			binary => $o{binary}, name => 'A', addr => '127.0.0.1', port => $port, link_port => $link,
			peer => $o{mutual} ? '127.0.0.2' : undef,
			args => [@both, @{ $o{a_args} || [] }],
		);
		my $second = node(
			binary => $o{binary}, name => 'B', addr => '127.0.0.2', port => $port, link_port => $link, peer => '127.0.0.1',
			args => [@both, @{ $o{b_args} || [] }],
		);
		return ($first, $second) if $o{no_start};
		if (!$first->start(may_clash => 1)) {
			next;
		}
		$second->start;
		wait_pair($first, $second) unless $o{no_wait};
		return ($first, $second);
	}
	croak 'every port was taken';
}

my $marker = 0;

# Wait until a write on either side is seen on the other and both say that the
# copy is complete. Dies when that does not happen.
sub wait_pair
{
	my ($x, $y, $seconds) = @_;
	my $good = wait_for { $x->in_sync && $y->in_sync } $seconds || 10;
	for my $way ([$x, $y], [$y, $x]) {
		my ($from, $to) = @$way;
		my $key = sprintf 'marker_%d_%d', $$, $marker++;
		$good &&= $from->c->set($key, $key) eq 'STORED';
		$good &&= wait_for { ($to->c->get($key) || '') eq $key } $seconds || 10;
		$from->c->cmd("delete $key") if $good;
		$good &&= wait_for { !defined $to->c->get($key) } $seconds || 10;
	}
	return 1 if $good;
	Test::More::diag($_->name . " said:\n" . $_->log) for $x, $y;
	croak 'the two daemons did not become a pair';
}

# ---- comparing ---------------------------------------------------------------

# Names of the keys that differ between two nodes in presence, flags, length,
# CAS unique or bytes; at most 20. Keys are asked in batches on both.
sub differences
{
	my ($x, $y, $keys) = @_;
	my @wrong;
	my ($cx, $cy) = ($x->client, $y->client);
	for (my $i = 0; $i < @$keys; $i += 200) {
		my $last = $i + 199 > $#$keys ? $#$keys : $i + 199;
		my $request = join(' ', 'gets', @$keys[$i .. $last]) . "\r\n";
		$cx->put($request);
		$cy->put($request);
		my ($bx, $by) = ($cx->until_end, $cy->until_end);
		next if $bx eq $by;
		my ($hx, $hy) = map { MemcachedPair::Client::parse_values($_) } $bx, $by;
		for my $key (@$keys[$i .. $last]) {
			my ($vx, $vy) = map { defined $_->{$key} ? join ' ', @{ $_->{$key} }{qw(flags cas value)} : 'miss' } $hx, $hy;
			push @wrong, "$key: " . substr($vx, 0, 60) . ' | ' . substr($vy, 0, 60) if $vx ne $vy;
		}
		last if @wrong > 20;
	}
	return @wrong;
}

# Passes as soon as both nodes show the same for every key; fails with a list
# when they do not within the time.
sub same_on_both
{
	my ($x, $y, $keys, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @wrong;
	wait_for { !(@wrong = differences($x, $y, $keys)) } $seconds || 10;
	return all_ok(\@wrong, $name);
}

# Passes as soon as every key of %$expected has its value (undef: a miss) on
# both nodes.
sub values_on_both
{
	my ($x, $y, $expected, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @keys = sort keys %$expected;
	my @wrong;
	wait_for {
		@wrong = ();
		for my $n ($x, $y) {
			for (my $i = 0; $i < @keys; $i += 200) {
				my @some = @keys[$i .. ($i + 199 > $#keys ? $#keys : $i + 199)];
				my $got = $n->c->mget(@some);
				for my $key (@some) {
					my ($is, $want) = map { defined $_ ? $_ : 'miss' } $got->{$key}{value}, $expected->{$key};
					push @wrong, $n->name . " $key: is " . substr($is, 0, 60) . ', not ' . substr($want, 0, 60)
						if $is ne $want;
				}
			}
		}
		!@wrong;
	}
	$seconds || 10;
	return all_ok(\@wrong, $name);
}

# Unix second at which a key expires, 0 for never; undef when it is a miss or
# when the daemon has no meta commands.
sub expiry_of
{
	my ($n, $key) = @_;
	my $reply = $n->c->cmd("mg $key t");
	return $reply =~ /^HD t(-?\d+)/ ? ($1 < 0 ? 0 : int(time()) + $1) : undef;
}

# Which TCP ports a node listens on; waits, since opening and closing them takes
# a turn of its loop.
sub listens_ok
{
	my ($n, $ports, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return Test::More::pass("$name (not checked: no /proc)") if !have_proc();
	my $want = join " ", sort { $a <=> $b } @$ports;
	my $is = "";
	wait_for { ($is = join " ", $n->listens) eq $want } 10;
	return Test::More::is($is, $want, $name);
}

# Exactly one connection between the two on the link port.
sub one_link_ok
{
	my ($x, $y, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return Test::More::pass("$name (not checked: no /proc)") if !have_proc();
	return wait_ok { $x->links == 1 && $y->links == 1 } $name, 5;
}

# One says MASTER, the other SLAVE.
sub roles_ok
{
	my ($x, $y, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $both = "";
	wait_for { ($both = join " ", sort map { $_->role } $x, $y) eq "MASTER SLAVE" } 5;
	return Test::More::is($both, "MASTER SLAVE", $name);
}

# ============================================================================
package MemcachedPair::Node;

use strict;
use warnings;

use Carp qw(croak);
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(time sleep);

BEGIN { MemcachedPair->import(qw(binary tmp_dir free_port slow_factor wait_for reap slurp process_alive)) }

my $serial = 0;

# Options: name, addr, port, link_port, peer, args, binary, env; unix => path
# for a unix socket instead of TCP; detach for -d. argv => [...]: the
# whole command line, in which PIDFILE stands for the path of the pid file.
sub new
{
	my ($class, %o) = @_;
	my $self = bless {
		name => $o{name} || 'node' . ++$serial,
		addr => $o{addr} || '127.0.0.1',
		port => $o{port},
		own_port => !$o{port},
		link_port => $o{link_port},
		peer => $o{peer},
		unix => $o{unix},
		args => $o{args} || [],
		binary => $o{binary},
		env => $o{env} || {},
		detach => $o{detach},
		argv => $o{argv},
		generation => 0,
	}, $class;
	return $self;
}

sub name { return $_[0]{name} }
sub addr { return $_[0]{addr} }
sub port { return $_[0]{port} }
sub link_port { return $_[0]{link_port} }
sub pid { return $_[0]{pid} }
sub pid_file { return $_[0]{pid_file} }

sub command
{
	my ($self) = @_;
	if (my $argv = $self->{argv}) {
		return (binary(), map { $_ eq "PIDFILE" ? $self->{pid_file} : $_ } @$argv);
	}
	my @command = ($self->{binary} || binary());
	push @command, '-u', 'root' if $> == 0;
	if ($self->{unix}) {
		push @command, '-s', $self->{unix};
	} else {
		push @command, '-l', $self->{addr}, '-p', $self->{port};
	}
	push @command, '-x', $self->{peer} if defined $self->{peer};
	push @command, '-X', $self->{link_port} if defined $self->{link_port};
	push @command, '-d', '-P', $self->{pid_file} if $self->{detach};
	return (@command, @{ $self->{args} });
}

# Start it and wait until it answers (wait => 0: do not wait). may_clash: false
# is returned when its port turns out to be taken.
sub start
{
	my ($self, %o) = @_;
	$self->{$_} = $o{$_} for grep { exists $o{$_} } qw(peer args link_port argv);
	for my $try (1 .. 5) {
		$self->{port} = free_port($self->{addr}) if $self->{own_port} && !$self->{unix};
		return $self if $self->start_once(%o);
		last if !$self->{own_port};
	}
	return if $o{may_clash};
	croak "$self->{name} did not start: " . $self->log;
}

sub start_once
{
	my ($self, %o) = @_;
	delete $self->{client};
	my $run = join '.', $self->{name}, $$, ++$self->{generation};
	$self->{log_file} = tmp_dir() . "/$run.log";
	$self->{pid_file} = tmp_dir() . "/$run.pid";
	my @command = $self->command;
	my $pid = fork;
	croak "fork: $!" unless defined $pid;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$self->{log_file}.out";
		open STDERR, '>', $self->{log_file};
		local @ENV{ keys %{ $self->{env} } } = values %{ $self->{env} };
		exec { $command[0] } @command or POSIX::_exit(127);
	}
	$to_kill{$pid} = 1;
	$self->{pid} = $pid;
	$self->{child} = 1;
	delete $self->{status};
	if ($self->{detach}) {
		my $status = reap($pid, 10);
		return 0 if !defined $status || $status;
		my $written = wait_for { slurp($self->{pid_file}) =~ /^(\d+)$/m } 10;
		return 0 if !$written;
		($self->{pid}) = slurp($self->{pid_file}) =~ /^(\d+)$/m;
		$self->{child} = 0;
		$to_kill{ $self->{pid} } = 1;
	}
	return 1 if exists $o{wait} && !$o{wait};
	return $self->wait_ready;
}

# Wait until the client port answers; false when the process ended instead.
sub wait_ready
{
	my ($self, $seconds) = @_;
	my $ready = wait_for {
		return -1 if !$self->alive;
		my $client = eval { MemcachedPair::Client->new($self->where, 5) } or return 0;
		return eval { $client->cmd('version') =~ /^VERSION/ } ? 1 : 0;
	}
	$seconds || 15;
	return $ready && $ready > 0;
}

sub where
{
	my ($self) = @_;
	return $self->{unix} ? (unix => $self->{unix}) : (addr => $self->{addr}, port => $self->{port});
}

# Whether the client port takes connections.
sub serves
{
	my ($self) = @_;
	return eval { MemcachedPair::Client->new($self->where, 1) } ? 1 : 0;
}

sub alive
{
	my ($self) = @_;
	return 0 if !$self->{pid} || defined $self->{status};
	if ($self->{child}) {
		my $got = waitpid $self->{pid}, WNOHANG;
		if ($got == $self->{pid}) {
			$self->{status} = $?;
			delete $to_kill{ $self->{pid} };
			return 0;
		}
		return 1;
	}
	return process_alive($self->{pid});
}

# What it wrote to stderr since its last start.
sub log
{
	my ($self) = @_;
	return slurp($self->{log_file});
}

sub out
{
	my ($self) = @_;
	return slurp("$self->{log_file}.out");
}

# A new connection, and the one that is kept.
sub client
{
	my ($self, $seconds) = @_;
	return MemcachedPair::Client->new($self->where, $seconds);
}

sub c
{
	my ($self) = @_;
	delete $self->{client} if $self->{client} && $self->{client}->is_closed;
	return $self->{client} ||= $self->client;
}

sub set { my $self = shift; return $self->c->set(@_) }
sub get { my $self = shift; return $self->c->get(@_) }
sub stats { my $self = shift; return $self->c->stats(@_) }
sub stat { my ($self, $name) = @_; return $self->c->stats->{$name} }

# MASTER, SLAVE or OFF.
sub role { my ($self) = @_; return $self->stat('replication') || '' }

# What "stats replication" says of a node that has a peer and is past both walks.
sub MemcachedPair::says_in_sync
{
	my ($s) = @_;
	return ($s->{link} || "") eq "up" && ($s->{mode} || "") eq "live" && ($s->{peer_mode} || "") eq "live";
}

# Whether it says that it has a peer and that both directions are past their walk.
sub in_sync
{
	my ($self) = @_;
	my $s = eval { $self->stats('replication') } or return 0;
	return MemcachedPair::says_in_sync($s);
}

sub signal
{
	my ($self, $signal) = @_;
	return kill $signal, $self->{pid};
}

# Send a signal and wait for the end; exit status as in $?, 'gone' for a
# detached one, undef when it does not end.
sub end_by
{
	my ($self, $signal, $seconds) = @_;
	delete $self->{client};
	$self->signal($signal);
	return $self->wait_end($seconds);
}

sub wait_end
{
	my ($self, $seconds) = @_;
	return if !wait_for { !$self->alive } $seconds || 10;
	delete $to_kill{ $self->{pid} };
	return $self->{child} ? $self->{status} : 'gone';
}

sub kill9 { my ($self) = @_; return $self->end_by('KILL') }

# SIGTERM, and it must go without an error.
sub stop
{
	my ($self) = @_;
	return 1 if !$self->alive;
	my $status = $self->end_by('TERM', 15);
	return defined $status && ($status eq 'gone' || $status == 0);
}

sub freeze { my ($self) = @_; return $self->signal('STOP') }
sub thaw { my ($self) = @_; return $self->signal('CONT') }
sub cpu { my ($self) = @_; return MemcachedPair::cpu_ticks($self->{pid}) }
sub cpu_ms { my ($self) = @_; return MemcachedPair::cpu_ms($self->{pid}) }
sub rss { my ($self) = @_; return MemcachedPair::rss_kib($self->{pid}) }
sub listens { my ($self) = @_; return MemcachedPair::listens($self->{pid}) }

# Number of established connections on the link port, this node's end.
sub links
{
	my ($self) = @_;
	my $port = $self->{link_port};
	return scalar grep { $_->[0] == $port || $_->[1] == $port } MemcachedPair::established($self->{pid});
}

# ============================================================================
package MemcachedPair::Client;

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EAGAIN EINTR EWOULDBLOCK EINPROGRESS);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket;
use Time::HiRes qw(time);

# new(addr => ..., port => ... | unix => path, [seconds every call may take])
sub new
{
	my ($class, $kind, $value, @rest) = @_;
	my $socket;
	my $port;
	if ($kind eq 'unix') {
		$socket = IO::Socket::UNIX->new(Peer => $value);
	} else {
		(undef, $port) = splice @rest, 0, 2;
		$socket = tcp($value, $port);
	}
	croak "connect: $!" unless $socket;
	$socket->blocking(0);
	setsockopt $socket, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1 if $kind ne 'unix';
	return bless { socket => $socket, in => '', eof => 0, seconds => ($rest[0] || 10) * MemcachedPair::slow_factor() }, $class;
}

# Connected within five seconds, or not at all.
sub tcp
{
	my ($addr, $port) = @_;
	my $six = $addr =~ /:/;
	socket my $s, $six ? Socket::AF_INET6() : Socket::AF_INET(), SOCK_STREAM, 0 or return;
	my $to = $six ? Socket::pack_sockaddr_in6($port, Socket::inet_pton(Socket::AF_INET6(), $addr)) : pack_sockaddr_in($port, inet_aton($addr));
	bless $s, "IO::Socket";
	$s->blocking(0);
	return $s if connect $s, $to;
	return if $! != EINPROGRESS;
	my $w = "";
	vec($w, fileno $s, 1) = 1;
	if (!select undef, $w, undef, 5 * MemcachedPair::slow_factor()) {
		$! = POSIX::ETIMEDOUT();
		return;
	}
	$! = unpack "i", getsockopt $s, SOL_SOCKET, Socket::SO_ERROR();
	return $! ? undef : $s;
}

sub socket_handle { return $_[0]{socket} }

# Take in what has arrived; false at the end of the stream or on an error.
sub fill
{
	my ($self) = @_;
	my $n = sysread $self->{socket}, $self->{in}, 262144, length $self->{in};
	return 1 if $n;
	return 1 if !defined $n && ($! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR);
	$self->{eof} = 1;
	return 0;
}

sub ready
{
	my ($self, $seconds, $to_write) = @_;
	my ($r, $w) = ('', '');
	vec($r, fileno $self->{socket}, 1) = 1 unless $self->{eof};
	vec($w, fileno $self->{socket}, 1) = 1 if $to_write;
	select $r, $w, undef, $seconds < 0 ? 0 : $seconds;
	return (vec($r, fileno $self->{socket}, 1), vec($w, fileno $self->{socket}, 1));
}

# Send all of it. Replies that arrive meanwhile are kept, so a long pipeline
# cannot block for good. False when the connection is gone.
sub put
{
	my ($self, $bytes) = @_;
	my $off = 0;
	my $deadline = time() + $self->{seconds};
	while ($off < length $bytes) {
		my $n = syswrite $self->{socket}, $bytes, 1 << 20, $off;
		if (defined $n) {
			$off += $n;
			$deadline = time() + $self->{seconds};
			next;
		}
		return 0 unless $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
		croak 'timed out while sending' if time() > $deadline;
		my ($in) = $self->ready(0.1, 1);
		return 0 if $in && !$self->fill;
	}
	return 1;
}

# Wait until the input matches (as a code block on $_[0] = the buffer); its value.
sub input_until
{
	my ($self, $have) = @_;
	my $deadline = time() + $self->{seconds};
	while (1) {
		my $value = $have->($self);
		return $value if defined $value;
		return if $self->{eof};
		my $left = $deadline - time();
		croak "timed out; received so far: '" . substr($self->{in}, 0, 200) . "'" if $left <= 0;
		my ($in) = $self->ready($left, 0);
		$self->fill if $in;
	}
}

# One line without its CRLF; undef at the end of the stream.
sub line
{
	my ($self) = @_;
	return $self->input_until(
		sub {
			my $at = index $self->{in}, "\n";
			return if $at < 0;
			my $line = substr $self->{in}, 0, $at + 1, '';
			$line =~ s/\r?\n$//;
			return $line;
		});
}

sub bytes
{
	my ($self, $count) = @_;
	return $self->input_until(sub { length $self->{in} < $count ? undef : substr $self->{in}, 0, $count, '' });
}

# Everything up to and with the line END (or another last line).
sub until_end
{
	my ($self, $last) = @_;
	$last = 'END' unless defined $last;
	my $from = 0;
	my $re = qr/(?:\A|\n)(?:\Q$last\E|(?:CLIENT_|SERVER_)?ERROR[^\r\n]*)\r\n\z/;
	return $self->input_until(
		sub {
			return if length $self->{in} < 5 || substr($self->{in}, -2) ne "\r\n" || $self->{in} !~ $re;
			return substr $self->{in}, 0, length $self->{in}, '';
		});
}

# The replies to so many pipelined gets whose values contain no END.
sub until_ends
{
	my ($self, $count) = @_;
	my ($seen, $at) = (0, 0);
	return $self->input_until(
		sub {
			while ($seen < $count) {
				my $end = index $self->{in}, "END\r\n", $at;
				if ($end < 0) {
					my $rest = length($self->{in}) - 4;
					$at = $rest if $rest > $at;
					return;
				}
				$at = $end + 5;
				$seen++;
			}
			return substr $self->{in}, 0, $at, "";
		});
}

# What has come in after a request whose replies end in a `version` (which is
# added, and cut off): all bytes, whatever they are. undef: closed meanwhile.
my $fence = qr/VERSION [^\r\n]*\r\n\z/;

sub talk
{
	my ($self, $bytes) = @_;
	$self->put($bytes . "version\r\n");
	my $all = $self->input_until(sub { $self->{in} =~ $fence ? substr $self->{in}, 0, length $self->{in}, '' : undef });
	return if !defined $all;
	$all =~ s/$fence//;
	return $all;
}

# Send, half-close nothing, read until the server closes: everything it said.
# undef when it did not close within the time.
sub until_closed
{
	my ($self, $seconds) = @_;
	my $deadline = time() + ($seconds || 5) * MemcachedPair::slow_factor();
	while (!$self->{eof}) {
		my $left = $deadline - time();
		return if $left <= 0;
		my ($in) = $self->ready($left, 0);
		$self->fill if $in;
	}
	return $self->{in};
}

# Whether the other side has closed (looks, does not wait).
sub is_closed
{
	my ($self) = @_;
	return 1 if $self->{eof};
	my ($in) = $self->ready(0, 0);
	$self->fill if $in;
	return $self->{eof};
}

sub pending { my ($self) = @_; $self->is_closed; return $self->{in} }
sub close { my ($self) = @_; $self->{eof} = 1; return CORE::close $self->{socket} }

# A command with a one-line reply.
sub cmd
{
	my ($self, $line) = @_;
	$self->put("$line\r\n") or return '';
	my $reply = $self->line;
	return defined $reply ? $reply : '';
}

sub set
{
	my ($self, $key, $value, $flags, $exptime) = @_;
	return $self->cmd(sprintf "set %s %s %s %d\r\n%s", $key, $flags || 0, $exptime || 0, length $value, $value);
}

# VALUE blocks to { key => { flags, cas, value } }.
sub parse_values
{
	my ($text) = @_;
	my %found;
	my $at = 0;
	while (1) {
		my $end = index $text, "\r\n", $at;
		last if $end < 0;
		my ($word, $key, $flags, $len, $cas) = split / /, substr $text, $at, $end - $at;
		last if !defined $word || $word ne 'VALUE';
		$found{$key} = { flags => $flags, cas => defined $cas ? $cas : '', value => substr($text, $end + 2, $len) };
		$at = $end + 2 + $len + 2;
	}
	return \%found;
}

# Read the whole reply to a get, whatever its values contain.
sub read_values
{
	my ($self) = @_;
	my $text = '';
	while (1) {
		my $line = $self->line;
		return if !defined $line;
		return $text if $line eq 'END';
		croak "reply to a get: $line" unless $line =~ /^VALUE \S+ \d+ (\d+)/;
		$text .= "$line\r\n" . $self->bytes($1 + 2);
	}
}

sub mget
{
	my ($self, @keys) = @_;
	$self->put("gets @keys\r\n") or return {};
	my $text = $self->read_values;
	return defined $text ? parse_values($text) : {};
}

# Value, or undef for a miss.
sub get
{
	my ($self, $key) = @_;
	my $found = $self->mget($key)->{$key};
	return $found ? $found->{value} : undef;
}

# { flags, cas, value } or undef.
sub gets
{
	my ($self, $key) = @_;
	return $self->mget($key)->{$key};
}

# The pairs of a list of statistics, in a hash; undef when it was refused.
sub stats
{
	my ($self, $which) = @_;
	$self->put(defined $which ? "stats $which\r\n" : "stats\r\n") or croak 'closed';
	my %pair;
	while (1) {
		my $line = $self->line;
		croak 'closed' if !defined $line;
		return \%pair if $line eq 'END' || $line eq 'RESET';
		return if $line !~ /^STAT (\S+) ?(.*)$/;
		$pair{$1} = $2;
	}
}

# ============================================================================
package MemcachedPair::Proxy;

use strict;
use warnings;

use Carp qw(croak);
use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Handle;
use IO::Socket::INET;
use Socket;

# A TCP relay in a child process, from addr:port to to_addr:to_port. Modes:
#   pass     everything through
#   refuse   connections are reset, new ones refused
#   stall    connections stay, nothing moves, new ones wait in the backlog
#   half     only what comes from the connecting side moves
#   deaf     only what goes to the connecting side moves
sub new
{
	my ($class, %o) = @_;
	pipe my $order_r, my $order_w or croak "pipe: $!";
	pipe my $done_r, my $done_w or croak "pipe: $!";
	$_->autoflush(1) for $order_w, $done_w;
	my $pid = &MemcachedPair::spawn(
		sub {
			close $order_w;
			close $done_r;
			relay(\%o, $order_r, $done_w);
			return 0;
		});
	close $order_r;
	close $done_w;
	my $self = bless { order => $order_w, done => $done_r, pid => $pid }, $class;
	$self->mode('pass');
	return $self;
}

# Switch; returns when the proxy has done it. Gives the number of open relays.
sub mode
{
	my ($self, $mode) = @_;
	print { $self->{order} } "$mode\n";
	my $answer = readline $self->{done};
	croak 'the proxy is gone' unless defined $answer;
	return $answer + 0;
}

sub listener
{
	my ($o) = @_;
	my $l = IO::Socket::INET->new(LocalAddr => $o->{addr}, LocalPort => $o->{port}, Listen => 16, ReuseAddr => 1, Proto => 'tcp') or croak "proxy: $o->{addr}:$o->{port}: $!";
	$l->blocking(0);
	return $l;
}

sub reset_socket
{
	my ($s) = @_;
	setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
	close $s;
	return;
}

sub relay
{
	my ($o, $orders, $done) = @_;
	my $mode = 'pass';
	my $listen = listener($o);
	my @pairs;    # [client, server, bytes to server, bytes to client]
	while (1) {
		my ($r, $w) = ('', '');
		vec($r, fileno $orders, 1) = 1;
		vec($r, fileno $listen, 1) = 1 if $listen && $mode ne 'stall';
		for my $p (@pairs) {
			for my $side (0, 1) {
				next if !moves($mode, $side);
				vec($r, fileno $p->[$side], 1) = 1 if length $p->[2 + $side] < 262144;
				vec($w, fileno $p->[1 - $side], 1) = 1 if length $p->[2 + $side];
			}
		}
		next if select($r, $w, undef, undef) < 0;
		if (vec $r, fileno $orders, 1) {
			my $line = readline $orders;
			return if !defined $line;
			chomp($mode = $line);
			if ($mode eq 'refuse') {
				map { reset_socket($_->[0]); reset_socket($_->[1]) } @pairs;
				@pairs = ();
				undef $listen;
			} else {
				$listen ||= listener($o);
			}
			print {$done} scalar(@pairs) . "\n";
			next;
		}
		if ($listen && vec $r, fileno $listen, 1) {
			my $in = $listen->accept;
			my $out = $in && IO::Socket::INET->new(PeerAddr => $o->{to_addr}, PeerPort => $o->{to_port}, Proto => 'tcp');
			if ($in && $out) {
				$_->blocking(0) for $in, $out;
				push @pairs, [$in, $out, '', ''];
			} elsif ($in) {
				reset_socket($in);
			}
		}
		@pairs = grep { relay_once($_, $mode, $r, $w) } @pairs;
	}
}

sub moves
{
	my ($mode, $side) = @_;
	return $mode eq 'pass' || ($mode eq 'half' && $side == 0) || ($mode eq 'deaf' && $side == 1);
}

sub relay_once
{
	my ($p, $mode, $r, $w) = @_;
	for my $side (0, 1) {
		next if !moves($mode, $side);
		my ($from, $to) = ($p->[$side], $p->[1 - $side]);
		if (vec $r, fileno $from, 1) {
			my $n = sysread $from, $p->[2 + $side], 65536, length $p->[2 + $side];
			if (!$n && (defined $n || !($! == EAGAIN || $! == EINTR))) {
				syswrite $to, $p->[2 + $side] if length $p->[2 + $side];
				close $_ for @$p[0, 1];
				return 0;
			}
		}
		if (length $p->[2 + $side]) {
			my $n = syswrite $to, $p->[2 + $side];
			if (defined $n) {
				substr $p->[2 + $side], 0, $n, '';
			} elsif ($! != EAGAIN && $! != EINTR) {
				close $_ for @$p[0, 1];
				return 0;
			}
		}
	}
	return 1;
}

1;
