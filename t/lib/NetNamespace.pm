package NetNamespace;

# Two hosts and the network between them, for tests that need a real network that
# really fails: packets that are lost or late, in one direction or both, and
# interfaces that go down. Nobody gets a reset or an end of stream, as it would
# from a relay that closes sockets.
#
#     namespace a                    a process                    namespace b
#     10.77.0.1 on w0  == packets == the wire   == packets ==  w0 on 10.77.0.2
#
# The wire is a child that copies IP packets from one TUN device to the other, by
# orders of the test: so no packet scheduler of the kernel is needed, and what
# happens to a packet is known to the test. The namespaces have no names: each
# lives as long as the child that holds it, which ends when the test does, however
# it ends; the devices go with them. Nothing of the machine's own network is
# touched.
#
# Daemons are run inside by a wrapper (->binary) and talked to by Unix sockets,
# which do not care for namespaces. Needs root, Linux, ip, unshare, nsenter and
# /dev/net/tun; why_not() says what is missing.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Fcntl qw(O_RDWR O_NONBLOCK);
use IO::Handle;
use Time::HiRes qw(time);

use MemcachedPair;

my %addr = (a => '10.77.0.1', b => '10.77.0.2');

# What the kernel calls them: TUNSETIFF differs among the architectures.
my @tunsetiff = (0x400454ca, 0x800454ca);
my $tun_flags = 0x1001;    # IFF_TUN | IFF_NO_PI

# Most packets on their way at a time; a router that has more drops them, too.
my $queue_max = 20_000;

# ---- the two hosts -------------------------------------------------------------

my @system_dirs = qw(/sbin /usr/sbin /bin /usr/bin);

sub has_tool { my ($tool) = @_; return grep { -x "$_/$tool" } split(/:/, $ENV{PATH} || ''), @system_dirs }

# What is missing, in words, or undef.
sub why_not
{
	return 'needs root' if $> != 0;
	return 'needs Linux' if $^O ne 'linux';
	for my $tool (qw(ip unshare nsenter)) {
		return "needs $tool" if !has_tool($tool);
	}
	return 'needs /dev/net/tun' if !-c '/dev/net/tun';
	return;
}

# The hosts a and b, connected. Dies, with the reason, where the system refuses.
sub new
{
	my ($class) = @_;
	my $self = bless { hold => {}, seconds => 10 * slow_factor() }, $class;
	$ENV{PATH} = join ':', $ENV{PATH} || (), @system_dirs;
	$self->{hold}{$_} = $self->hold_namespace for qw(a b);
	$self->start_wire;
	for my $host (qw(a b)) {
		$self->ip($host, 'link', 'set', 'lo', 'up');
		$self->ip($host, 'link', 'set', "w$host", 'name', 'w0');
		$self->address($host, 'add');
		$self->ip($host, 'link', 'set', 'w0', 'up');
	}
	return $self;
}

sub addr { return $addr{ $_[1] } }

# A child in a new namespace of its own; it ends when the pipe to it is closed.
sub hold_namespace
{
	my ($self) = @_;
	pipe my $end, my $mine or croak "pipe: $!";
	my $pid = spawn {
		close $mine;
		open STDIN, '<&', $end or die "dup: $!";
		exec 'unshare', '-n', 'cat';
	};
	close $end;
	my $own = readlink "/proc/$$/ns/net";
	my $there = wait_for {
		my $its = readlink "/proc/$pid/ns/net";
		return -1 if !process_alive($pid);
		defined $its && $its ne $own;
	};
	croak 'no network namespaces' if !$there || $there < 0;
	return { pid => $pid, pipe => $mine };
}

sub ip
{
	my ($self, $host, @args) = @_;
	my @command = ('nsenter', '-t', $self->{hold}{$host}{pid}, '-n', 'ip', @args);
	my ($code, $out, $err) = run_daemon_to_end(@command);
	croak "ip @args: $err" if !defined $code || $code ne '0';
	return $out;
}

# A program that is the daemon, run on that host.
sub binary_on
{
	my ($self, $host) = @_;
	my $path = tmp_dir() . "/memcached-$host";
	if (!-e $path) {
		open my $fh, '>', $path or croak "$path: $!";
		# A test that is killed takes its daemons with it, or they would hold the namespace.
		my $mortal = has_tool('setpriv') ? 'setpriv --pdeathsig KILL ' : '';
		printf $fh "#!/bin/sh\nexec %snsenter -t %d -n '%s' \"\$@\"\n", $mortal, $self->{hold}{$host}{pid}, binary();
		close $fh or croak "$path: $!";
		chmod 0755, $path or croak "$path: $!";
	}
	return $path;
}

# A daemon for that host, not started. Options as for node().
sub node_on
{
	my ($self, $host, %o) = @_;
	my @args = @{ delete $o{args} || [] };
	return node(
		name => uc $host, binary => $self->binary_on($host), unix => tmp_dir() . "/$host.$$.sock",
		%o, args => [@args, '-o', "repl_listen=$addr{$host}"],
	);
}

# The interface of a host goes down or up: its routes go and come with it.
sub interface
{
	my ($self, $host, $state) = @_;
	$self->ip($host, 'link', 'set', 'w0', $state);
	return;
}

# The address of a host is taken away (del) or given back (add).
sub address
{
	my ($self, $host, $how) = @_;
	$self->ip($host, 'addr', $how, "$addr{$host}/24", 'dev', 'w0');
	return;
}

# ---- what becomes of packets ---------------------------------------------------

# fault(ab => {...}, ba => {...}): what becomes, from now on, of packets from a to b
# and from b to a; a direction that is not named works. loss: the share that is
# lost (1: all); delay: milliseconds; flap: works and fails by turns of so many
# milliseconds.
sub fault
{
	my ($self, %o) = @_;
	for my $way (qw(ab ba)) {
		my $f = $o{$way} || {};
		$self->order(join ' ', $way, map { $f->{$_} || 0 } qw(loss delay flap));
	}
	return;
}

sub heal { my ($self) = @_; return $self->fault }

# How many packets were { passed, dropped } since the last fault() or heal(), per way.
sub packets
{
	my ($self) = @_;
	my @n = split ' ', $self->order('count');
	return { ab => { passed => $n[0], dropped => $n[1] }, ba => { passed => $n[2], dropped => $n[3] } };
}

sub order
{
	my ($self, $order) = @_;
	print { $self->{wire}{order} } "$order\n";
	my $answer = readline $self->{wire}{done};
	croak 'the wire is gone' if !defined $answer;
	chomp $answer;
	return $answer;
}

# ---- the wire -------------------------------------------------------------------

sub start_wire
{
	my ($self) = @_;
	pipe my $order_r, my $order_w or croak "pipe: $!";
	pipe my $done_r, my $done_w or croak "pipe: $!";
	$order_w->autoflush(1);
	my @pids = map { $self->{hold}{$_}{pid} } qw(a b);
	my $lib = abs_path(__FILE__) =~ s{/[^/]+\z}{}r;
	my $pid = spawn {
		close $_ for $order_w, $done_r;
		open STDIN, '<&', $order_r or die "dup: $!";
		open STDOUT, '>&', $done_w or die "dup: $!";
		exec 'unshare', '-n', $^X, "-I$lib", '-MNetNamespace', '-e', 'NetNamespace::wire(@ARGV)', @pids;
	};
	close $_ for $order_r, $done_w;
	$self->{wire} = { pid => $pid, order => $order_w, done => $done_r };
	my $said = readline $done_r;
	croak 'no wire: ' . ($said || 'it did not start') if !defined $said || $said ne "ready\n";
	return;
}

# A TUN device in a namespace; its file.
sub tun
{
	my ($name, $pid) = @_;
	sysopen my $fh, '/dev/net/tun', O_RDWR | O_NONBLOCK or die "/dev/net/tun: $!\n";
	grep { my $request = pack 'a16 s x22', $name, $tun_flags; ioctl $fh, $_, $request } @tunsetiff
		or die "TUNSETIFF: $!\n";
	system('ip', 'link', 'set', $name, 'netns', $pid) == 0 or die "ip link set netns failed\n";
	return $fh;
}

# The life of the wire: packets from tun to tun, orders from stdin, answers to stdout.
sub wire
{
	my (@pids) = @_;
	STDOUT->autoflush(1);
	srand($ENV{T_SEED} || 20240229);
	my @tun = eval { (tun('wa', $pids[0]), tun('wb', $pids[1])) };
	print $@ eq '' ? "ready\n" : $@;
	return if $@ ne '';
	my @way = map { { loss => 0, delay => 0, flap => 0, passed => 0, dropped => 0 } } 0, 1;
	my @queue = ([], []);    # per way, [when due, packet], in order
	while (1) {
		my $wait = 1;
		for my $from (0, 1) {
			my $due = deliver($queue[$from], $tun[1 - $from]);
			$wait = $due if defined $due && $due < $wait;
		}
		my $r = '';
		vec($r, fileno $_, 1) = 1 for @tun, *STDIN;
		next if select($r, undef, undef, $wait) < 0;
		for my $from (grep { vec $r, fileno $tun[$_], 1 } 0, 1) {
			carry($way[$from], $queue[$from], $tun[$from], $tun[1 - $from]);
		}
		next if !vec $r, fileno STDIN, 1;
		sysread STDIN, my $orders, 4096 or return;
		print obey($_, \@way), "\n" for split /\n/, $orders;
	}
}

sub obey
{
	my ($order, $way) = @_;
	return join ' ', map { @$_{qw(passed dropped)} } @$way if $order eq 'count';
	my ($name, $loss, $delay, $flap) = split ' ', $order;
	$way->[$name eq 'ab' ? 0 : 1] = { loss => $loss, delay => $delay / 1000, flap => $flap / 1000, passed => 0, dropped => 0 };
	return 'done';
}

# Packets that came in: lost, passed on, or queued. A few at a time, so that both
# directions have their turn.
sub carry
{
	my ($way, $queue, $from, $to) = @_;
	for (1 .. 64) {
		sysread $from, my $packet, 65536 or last;
		next if unpack('C', $packet) >> 4 != 4;
		my $now = time();
		my $lost = $way->{loss} && rand() < $way->{loss};
		$lost ||= $way->{flap} && int($now / $way->{flap}) % 2;
		$lost ||= @$queue >= $queue_max;
		$way->{ $lost ? 'dropped' : 'passed' }++;
		next if $lost;
		if ($way->{delay} || @$queue) {
			push @$queue, [$now + $way->{delay}, $packet];
		} else {
			syswrite $to, $packet;
		}
	}
	return;
}

# Send what is due; seconds until the next one is, or undef.
sub deliver
{
	my ($queue, $to) = @_;
	while (@$queue) {
		my $left = $queue->[0][0] - time();
		return $left if $left > 0;
		syswrite $to, (shift @$queue)->[1];
	}
	return;
}

1;
