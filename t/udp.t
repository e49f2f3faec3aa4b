#!/usr/bin/perl
# Clients by UDP: the frames, every protocol, replies in many datagrams, the pair,
# and what must not be answered. doc/protocol.txt section 4.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::IP;
use MemcachedPair;
use NetNamespace;
use Socket qw(SOCK_DGRAM);
use Test::More;

my $payload_max = 1392;

sub udp_socket
{
	my ($host, $port) = @_;
	my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port, Type => SOCK_DGRAM) or die "udp: $@";
	setsockopt $s, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), pack 'i', 4 << 20;
	return $s;
}

sub request { my ($id, $payload) = @_; return pack('n4', $id, 0, 1, 0) . $payload }

# One datagram, or undef when none comes in time.
sub datagram
{
	my ($s, $seconds) = @_;
	my $r = '';
	vec($r, fileno $s, 1) = 1;
	return if !select $r, undef, undef, $seconds || 10 * slow_factor();
	my $got;
	return defined recv($s, $got, 65536, 0) ? $got : undef;
}

# The datagrams of one reply, checked and put together; a hash ref.
sub reply
{
	my ($s) = @_;
	my (@parts, $id, $count);
	while (!defined $count || @parts < $count) {
		my $d = datagram($s) // return { error => 'no answer' };
		my ($its_id, $number, $its_count, $reserved) = unpack 'n4', $d;
		($id, $count) = ($its_id, $its_count) if !defined $count;
		return { error => "id $its_id, number $number of $its_count, reserved $reserved" }
			if $its_id != $id || $its_count != $count || $number != @parts || $reserved;
		my $part = substr $d, 8;
		return { error => 'length ' . length $part }
			if length $part > $payload_max || ($number < $count - 1 && length $part != $payload_max);
		push @parts, $part;
	}
	return { id => $id, count => $count, text => join '', @parts };
}

my $next_id = 1;

sub ask
{
	my ($s, $payload, $id) = @_;
	$id = $next_id++ if !defined $id;
	$s->send(request($id, $payload));
	my $r = reply($s);
	return "error: $r->{error}" if defined $r->{error};
	return $r->{id} == $id ? $r->{text} : "id $r->{id}, not $id";
}

# Nothing is answered: what is asked after it is what is answered next.
sub silent
{
	my ($s, $datagram, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$s->send($datagram);
	return like(ask($s, "version\r\n"), qr/^VERSION \S+\r\n$/, $name);
}

# In a network of its own this test runs itself, with an address that is public.
sub public_source
{
	my $port = free_port();
	my $n = node(addr => '203.0.113.7', port => $port, args => ['-U', $port, '-o', 'udp_rate=20']);
	$n->start;
	$n->set('v', 'v' x 1000);
	my $s = udp_socket($n->addr, $port);
	my $began = now();
	$s->send(request($_, "get v\r\n")) for 1 .. 200;
	my $bytes = 0;
	while (defined(my $d = datagram($s, 0.2))) { $bytes += length($d) - 8 }
	my $most = 20 * 1024 * (1 + now() - $began) + 1100;
	ok($bytes > 10_000 && $bytes <= $most, 'a public network is sent what its rate allows') or diag "$bytes of $most";
	my $stats = $n->stats;
	cmp_ok($stats->{udp_limited}, '>', 100, 'what is beyond that is counted');
	wait_ok { $s->send(request(9, "get v\r\n")); defined datagram($s, 0.05) } 'it is served again later';
	is($n->get('v'), 'v' x 1000, 'TCP is not concerned');
	$n->kill9;
	done_testing();
	exit 0;
}

public_source() if @ARGV && $ARGV[0] eq 'public';

my $port = free_port();
my ($one, $two) = pair(args => ['-m', '64', '-U', $port]);
my $u = udp_socket($one->addr, $port);
my $v = udp_socket($two->addr, $port);

# ---- frames --------------------------------------------------------------------------

is($one->set('foo', 'fooval'), 'STORED', 'a key, by TCP');
my $hit = "VALUE foo 0 6\r\nfooval\r\nEND\r\n";
is(ask($u, "get foo\r\n", $_), $hit, "read by UDP, request id $_") for 1, 1, 2, 0, 65535;
is(ask($u, "get none\r\n"), "END\r\n", 'a miss');
{
	my $odd = pack('n4', 77, 9, 1, 5) . "get foo\r\n";
	$u->send($odd);
	is(reply($u)->{text}, $hit, 'number and reserved field of a request do not matter');
}
silent($u, pack('n4', 5, 0, $_, 0) . "get foo\r\n", "a request of $_ datagrams") for 0, 2, 256, 65535;
silent($u, substr(request(5, ''), 0, $_), "$_ bytes") for 0, 1, 7, 8;
silent($u, request(5, $_), "nothing whole: '$_'") for 'get foo', 'x', "set foo 0 0 3\r\nabc", "set foo 0 0 3\r\n";
is(ask($u, "get foo\r\n"), $hit, 'which changed nothing, and what follows is read as it stands');
is(ask($u, "get foo\r\nget fo"), $hit, 'what is whole is answered');
is(ask($u, "get foo\r\nget none\r\nget foo\r\n"), "${hit}END\r\n$hit", 'several commands, one reply');
is(ask($u, "get none\r\n" x 100), "END\r\n" x 100, 'more than -R of them');

# ---- commands ------------------------------------------------------------------------

for my $row (
	["set u 5 0 3\r\nabc\r\n" => "STORED\r\n"], ["get u\r\n" => "VALUE u 5 3\r\nabc\r\nEND\r\n"],
	["add u 0 0 1\r\nx\r\n" => "NOT_STORED\r\n"], ["append u 0 0 1\r\nd\r\n" => "STORED\r\n"],
	["get u foo\r\n" => "VALUE u 5 4\r\nabcd\r\n$hit"], ["delete u\r\n" => "DELETED\r\n"],
	["delete u\r\n" => "NOT_FOUND\r\n"], ["set n 0 0 1\r\n9\r\n" => "STORED\r\n"], ["incr n 1\r\n" => "10\r\n"],
	["decr n 3\r\n" => "7\r\n"], ["touch n 0\r\n" => "TOUCHED\r\n"], ["mn\r\n" => "MN\r\n"],
	["set n 0 0 1\r\n12345\r\n" => "CLIENT_ERROR bad data chunk\r\n"],
	["incr foo 1\r\n" => "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"],
) {
	my ($said, $answer) = @$row;
	my $got = ask($u, $said);
	$got = substr $got, 0, length $answer if $answer =~ /bad data/; # and what the rest is read as
	is($got, $answer, $said =~ s/\r\n.*//sr);
}
silent($u, request(9, "set q 0 0 1 noreply\r\nx\r\n"), 'noreply');
is($one->get('q'), 'x', 'is done');
silent($u, request(9, "quit\r\n"), 'quit ends nothing');
silent($u, request(9, "watch fetchers\r\n"), 'there is nobody to tell what is watched');
like(ask($u, "stats\r\n"), qr/^STAT pid .*\r\nEND\r\n$/s, 'stats, in several datagrams');
my ($udp_id) = grep { $one->c->stats('conns')->{"$_:UDP"} } map { /^(\d+):UDP/ } keys %{ $one->c->stats('conns') };
is($one->c->stats('conns')->{"$udp_id:addr"}, 'udp:' . $one->addr . ":$port", 'stats conns has it');
is($one->c->stats('settings')->{udpport}, $port, 'and stats settings');

# Binary: set and get; a quiet miss says nothing.
sub packet { my ($op, $key, $extras, $value) = @_; return pack('CCnCCnNNNN', 0x80, $op, length $key, length $extras, 0, 0, length("$extras$key$value"), 0xbeef, 0, 0) . $extras . $key . $value }
my $answer = ask($u, packet(1, 'bin', pack('NN', 3, 0), 'value'));
is(join(',', (unpack 'CCnCCnNN', $answer)[0, 1, 5, 7]), join(',', 0x81, 1, 0, 0xbeef), 'a binary set');
$answer = ask($u, packet(0, 'bin', '', ''));
is(substr($answer, 24), pack('N', 3) . 'value', 'a binary get');
silent($u, request(9, packet(9, 'none', '', '')), 'a quiet get that misses');
silent($u, request(9, substr packet(0, 'bin', '', ''), 0, 20), 'a packet that is cut off');

# ---- the pair ------------------------------------------------------------------------

is(ask($u, "set pair 0 0 2\r\nup\r\n"), "STORED\r\n", 'a write by UDP');
wait_ok { ask($v, "get pair\r\n") eq "VALUE pair 0 2\r\nup\r\nEND\r\n" } 'is seen on the other side';
is(ask($v, "delete pair\r\n"), "DELETED\r\n", 'a delete');
wait_ok { ask($u, "get pair\r\n") eq "END\r\n" } 'too';

# ---- replies in many datagrams ---------------------------------------------------------

for my $len (1, 1300 .. 1420, 2700 .. 2800, 4096, 70_000, 1_000_000) {
	my $value = join '', map { chr(97 + ($_ * 7 + $_ / 26) % 26) } 1 .. ($len < 5000 ? $len : 1000);
	$value = substr $value x ($len / 1000 + 1), 0, $len if $len >= 5000;
	$one->set('large', $value);
	my $wanted = "VALUE large 0 $len\r\n$value\r\nEND\r\n";
	my $got;
	# Of a thousand datagrams the system may drop some: that is UDP.
	for (1 .. 20) {
		$got = ask($u, "get large\r\n");
		last if $got eq $wanted || $len < 70_000;
		1 while defined datagram($u, 0.2);
	}
	next if $got eq $wanted && $len > 1 && $len < 4096;
	ok($got eq $wanted, "a value of $len bytes") or diag substr $got, 0, 100;
}
$one->set("m$_", 'm' x 500) for 1 .. 100;
is(ask($u, 'get ' . join(' ', map { "m$_" } 1 .. 100) . "\r\n"), join('', map { "VALUE m$_ 0 500\r\n" . 'm' x 500 . "\r\n" } 1 .. 100) . "END\r\n", 'a get of 100 keys');
my $values = "get large large large\r\n";
is(ask($u, $values), "SERVER_ERROR UDP response too large\r\n", 'more than fits');

# ---- what must not be answered ------------------------------------------------------------

silent($u, request(9, $_), "no command: " . substr $_, 0, 12)
	for "ERROR\r\n", "VALUE foo 0 7\r\nget foo\r\nEND\r\n", "STORED\r\n", "HD\r\n", "STAT pid 1\r\nget foo\r\n";
my $stats = $one->stats;
cmp_ok($stats->{udp_malformed}, '>=', 15, 'what was no request is counted');
is($stats->{udp_too_large}, 1, 'and what was too large');
is($stats->{udp_limited}, 0, 'nobody on this host is limited');
cmp_ok($stats->{udp_datagrams}, '>', $stats->{udp_malformed}, 'and all together');

# A request that waits for the peer does not keep others waiting.
{
	my $p = free_port();
	my ($x, $y) = pair(args => ['-U', $p, '-o', 'repl_ack=60000,repl_timeout=600000']);
	my ($slow, $fast) = map { udp_socket($x->addr, $p) } 1 .. 2;
	is(ask($fast, "set a 0 0 1\r\n1\r\n"), "STORED\r\n", 'repl_ack: a write waits for the peer, and is answered');
	$y->freeze;
	$slow->send(request(4, "set a 0 0 1\r\n2\r\n"));
	wait_ok { $x->stats('replication')->{ack_waiting} } 'a write waits for a peer that is stopped';
	is(ask($fast, "get a\r\n"), "VALUE a 0 1\r\n2\r\nEND\r\n", 'reads go on');
	ok(!defined datagram($slow, 0.05), 'not answered yet');
	$y->thaw;
	is(reply($slow)->{text}, "STORED\r\n", 'then it is');
	$_->kill9 for $x, $y;
}

SKIP: {
	my $refused = NetNamespace::why_not();
	skip $refused, 1 if $refused;
	my $host = 'ip link set lo up && ip addr add 203.0.113.7/24 dev lo && exec "$@"';
	open my $tap, '-|', 'unshare', '-n', 'sh', '-c', $host, 'sh', $^X, $0, 'public' or die "unshare: $!";
	my @lines = <$tap>;
	my $good = close $tap;
	ok($good && grep({ /^1\.\.\d/ } @lines), 'a public network is limited') or diag @lines;
}

# ---- options -------------------------------------------------------------------------------

for my $case (
	[['-U', '70000'], qr/Invalid UDP port number 70000/], [['-U', '-2'], qr/Invalid UDP port/],
	[['-U', $port, '-s', tmp_dir() . '/s'], qr/-U and -s/], [['-U', $port, '-Y', '/etc/hostname'], qr/-U cannot be used with/],
	[['-U', '1', '-o', 'udp_rate=x'], qr/udp_rate needs a number/], [['-U', $port, '-l', $one->addr, '-p', '0'], qr/failed to listen on UDP port/],
) {
	my ($args, $re) = @$case;
	my ($code, undef, $err) = run_daemon_to_end(binary(), $> == 0 ? qw(-u root) : (), @$args);
	ok($code && $err =~ $re, "@$args") or diag "exit $code\n$err";
}
{
	my $n = node(port => 0, args => ['-p', '-1', '-U', '-1', '-l', '127.0.0.1,127.0.0.3'], env => { MEMCACHED_PORT_FILENAME => tmp_dir() . '/ports' });
	$n->start(wait => 0);
	wait_ok { (slurp(tmp_dir() . '/ports') // '') =~ /UDP INET/ } 'free ports are told';
	my @ports = slurp(tmp_dir() . '/ports') =~ /^UDP INET: (\d+)$/mg;
	is(scalar @ports, 2, 'one for each address');
	is(ask(udp_socket('127.0.0.1', $ports[0]), "mn\r\n"), "MN\r\n", 'the first');
	is(ask(udp_socket('127.0.0.3', $ports[1]), "mn\r\n"), "MN\r\n", 'the second');
	$n->kill9;
}
{
	my $n = node(args => ['-B', 'binary', '-U', $port = free_port()]);
	ok($n->start(wait => 0), '-B binary');
	my $s = udp_socket($n->addr, $port);
	my $got;
	wait_ok { $s->send(request(3, "version\r\n")); $s->send(request(4, packet(0x0b, '', '', ''))); $got = datagram($s, 1) } 'binary is answered';
	is(substr($got // '', 0, 2), pack('n', 4), 'text is not');
	$n->signal('TERM');
	is($n->wait_end(10), 0, 'and it ends');
}

done_testing();
