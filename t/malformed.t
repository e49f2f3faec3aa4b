#!/usr/bin/perl
# What strangers send: garbage, truncated and oversized frames, HTTP and memcached
# commands to the link port; garbage to the client port. Closed or answered, a
# line of log a second at most, no growth, and the pair is undisturbed.
# T_SEED picks other random bytes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my ($one, $two) = pair(args => ['-m', '64']);
my @probe = map { "probe$_" } 1 .. 50;
$one->set($_, "value of $_") for @probe;
same_on_both($one, $two, \@probe, 'a pair');

sub connection
{
	my ($n, $port) = @_;
	return eval { MemcachedPair::Client->new(addr => $n->addr, port => $port) };
}

# ---- the link port -------------------------------------------------------------

my $hex = sub { unpack 'H*', random_bytes($_[0]) };
my $hello = sub {
	my (%with) = (id => $hex->(8), origin => 77, seen => $hex->(8) . ':0', clock => 0, wall => int(now() * 1000),
		items => 0, maxitem => 1048576, auth => 'none', nonce => $hex->(16), @_);
	my $id = delete $with{id};
	return "REPL/1 $id " . join(' ', map { "$_=$with{$_}" } qw(origin seen clock wall items maxitem auth nonce)) . "\n";
};
my @to_link = (
	['nothing at all', ''],
	['one byte', 'R'],
	['half a greeting', 'REPL/1 00112233'],
	['a greeting that never ends', 'REPL/1 ' . 'x' x 100_000],
	['another version', "REPL/9 0011223344556677 origin=1\n"],
	['no fields', "REPL/1\n"],
	['wrong fields', "REPL/1 zzzz origin=-1 seen=1 clock=x wall=99999999999999999999999\n"],
	['a good greeting', $hello->()],
	['a good greeting and random frames', $hello->() . random_bytes(4000)],
	['a good greeting and an endless frame', $hello->() . "\x01\xff\xff\xff\xff" . 'x' x 10_000],
	['a good greeting, then a zero frame', $hello->() . "\0" x 64],
	['a greeting from the year 2089', $hello->(clock => '9223372036854775807', wall => 3755289600000)],
	['a memcached client', "set k 0 0 1\r\n1\r\nget k\r\nversion\r\n"],
	['a replicated item of another make', "rep probe1 0 0 5 1\r\nwrong\r\nmarugoto_end\r\n"],
	['flush_all', "flush_all\r\n"],
	['HTTP', "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\n\r\n"],
	['HTTP POST', "POST /x HTTP/1.0\r\nContent-Length: 26\r\n\r\nset probe1 0 0 5\r\nwrong\r\n"],
	['TLS', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . random_bytes(500)],
	['binary protocol', "\x80\x01\0\6\x08\0\0\0\0\0\0\x13" . "\0" x 12 . "\0" x 8 . 'probe1wrong'],
	map({ ["random bytes, $_", random_bytes($_)] } 1, 10, 100, 1000, 10_000, 100_000),
);

# Sent to the master, which listens while it has a peer, and to a lone node too:
# there a stranger with a good greeting could become the peer.
my $lone = node(name => 'lone', addr => '127.0.0.3', port => $one->port, link_port => $one->link_port, args => ['-m', '64', '-o', 'repl_timeout=1000']);
$lone->start;
$lone->set($_, "value of $_") for @probe;

sub lines { my ($n) = @_; my $count = () = $n->log =~ /\n/g; return $count }

sub strangers
{
	my ($n, $quiet_name) = @_;
	my $name = $n->name;
	my $lines = lines($n);
	my $began = now();
	my (@open, @refused);
	for my $case (@to_link) {
		my ($what, $bytes) = @$case;
		my $c = connection($n, $n->link_port);
		if (!$c) {
			push @refused, $what;
			next;
		}
		eval { $c->put($bytes) };
		push @open, [$what, $c];
	}
	# A lone node may stop listening while a greeting is being looked at; never a
	# node that listens for the sake of refusing.
	is(scalar @refused, 0, "$name takes every connection") or diag "refused: @refused" if $name ne 'lone';
	my @still;
	wait_for { @still = grep { !$_->[1]->is_closed } @open; !@still } 15;
	all_ok([map { $_->[0] } @still], "$name closes every one of them, in time");
	my $seconds = now() - $began;
	# A line a second, and a line for each greeting that looked like a peer's.
	my $said = lines($n) - $lines;
	cmp_ok($said, '<=', 2 * ($seconds + 1) + 8, sprintf '%s: %d lines of log in %.1f s', $name, $said, $seconds);
	ok($n->alive, "$name lives");
	is(scalar(grep { ($n->get($_) || '') eq "value of $_" } @probe), scalar @probe, "$name still holds its keys");
	return;
}

strangers($one);
ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'the pair is undisturbed') or diag $@;
strangers($lone);
ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'still');
is($one->role . $two->role, 'MASTERSLAVE', 'with the same roles');

# The same from many connections at once, and again: no growth.
sub storm
{
	my ($n) = @_;
	for (1 .. 10) {
		my @c = grep { defined } map { connection($n, $n->link_port) } 1 .. 40;
		for my $c (@c) {
			my $case = $to_link[MemcachedPair::random_u32() % @to_link];
			eval { $c->put(substr $case->[1], 0, 20_000) };
		}
		$_->close for @c;
	}
	wait_for { $n->c->cmd('version') =~ /^VERSION/ } 5;
	return;
}
if (have_proc()) {
	storm($_) for $one, $lone;
	my %rss = map { $_->name => $_->rss } $one, $lone;
	my %lines = map { $_->name => lines($_) } $one, $lone;
	my $began = now();
	for (1 .. 5) { storm($_) for $one, $lone }
	my $seconds = now() - $began;
	for my $n ($one, $lone) {
		cmp_ok($n->rss - $rss{ $n->name }, '<', 2048, $n->name . ': 2000 more strangers leave no memory behind (KiB)') if memory_counts($n->pid);
		cmp_ok(lines($n) - $lines{ $n->name }, '<=', 3 * ($seconds + 2), $n->name . ': nor a flood of lines');
	}
}
ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'the pair is undisturbed');

# A stranger who holds a connection open in silence takes nobody's place.
{
	my @silent = map { connection($lone, $lone->link_port) } 1 .. 10;
	my $late = node(name => 'late', addr => '127.0.0.4', port => $one->port, link_port => $one->link_port, peer => '127.0.0.3');
	ok($late->start, 'strangers who say nothing do not keep a peer away') or diag $late->log;
	ok(eval { MemcachedPair::wait_pair($lone, $late, 15) }, 'which becomes the peer') or diag $@;
	$late->kill9;
}

# ---- the client port -----------------------------------------------------------

my @to_client = (
	['HTTP', "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"],
	['HTTP POST', "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"],
	['a line without an end', 'x' x 5000],
	['a long line', 'get ' . 'k ' x 3000 . "\r\n"],
	['NULs', "\0" x 3000 . "\r\n"],
	['half a set', "set half 0 0 100\r\nabc"],
	['a set of two GiB', "set huge 0 0 2147483645\r\nabc"],
	['negative length', "set neg 0 0 -1\r\nabc\r\n"],
	['no length', "set neg 0 0\r\nabc\r\n"],
	['line ends only', "\r\n" x 500],
	['TLS', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" . random_bytes(500)],
	['a link greeting', $hello->()],
	['a bad binary header', "\x80" . random_bytes(23)],
	['a binary set of 4 GiB', "\x80\x01\0\4\x08\0\0\0\xff\xff\xff\xff" . "\0" x 12 . "\0" x 8 . 'kkkk'],
	['a binary key longer than the body', "\x80\0\xff\xff\0\0\0\0\0\0\0\1" . "\0" x 12 . 'k'],
	map({ ["random bytes, $_", random_bytes($_)] } 1, 2, 3, 5, 24, 25, 100, 1000, 3000, 10_000, 100_000),
	map({ ["random lines, $_", join '', map { random_bytes(1 + MemcachedPair::random_u32() % 80) . "\r\n" } 1 .. $_] } 1, 10, 100, 1000),
);

sub babble
{
	my ($n) = @_;
	my @stuck;
	for my $case (@to_client) {
		my ($what, $bytes) = @$case;
		my $c = $n->client(10);
		# An answer, or the end of the connection; or silence when it rightly waits for more.
		eval { $c->put($bytes); 1 } or push @stuck, $what;
		$c->close;
	}
	return @stuck;
}
for my $n ($one, $two) {
	my $lines = lines($n);
	all_ok([babble($n)], $n->name . ' reads garbage without getting stuck');
	ok($n->alive, $n->name . ' lives');
	cmp_ok(lines($n) - $lines, '<=', 3, 'and does not log it');
	is(scalar(grep { ($n->get($_) || '') eq "value of $_" } @probe), scalar @probe, 'and serves');
}
{
	my $c = $one->client;
	$c->put("GET / HTTP/1.1\r\n\r\n");
	is($c->until_closed, '', 'HTTP is closed without an answer');
	$c = $one->client;
	$c->put('y' x 2049);
	is($c->until_closed, '', 'so is a line of more than 2048 bytes');
}
if (have_proc()) {
	babble($one) for 1 .. 2;
	my $rss = $one->rss;
	babble($one) for 1 .. 10;
	cmp_ok($one->rss - $rss, '<', 2048, 'no memory is left behind (KiB)') if memory_counts($one->pid);
}
same_on_both($one, $two, \@probe, 'both equal in the end');
ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'and a pair');

done_testing();
