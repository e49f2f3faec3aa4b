#!/usr/bin/perl
# A network that really fails, between two daemons on hosts of their own: packets
# lost both ways and one way, 200 ms of delay with 2 % loss, a link that flaps,
# interfaces that go down. Both sides are written meanwhile; when the network is
# well again the two hold the same, the newest of everything, and what was deleted
# or flushed stays away. Neither memory nor CPU runs away.
# Contract: doc/replication.txt section 1 (U9, U10), section 4.
#
# Needs root and Linux; see t/lib/NetNamespace.pm. T_VERBOSE=1 tells more.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use NetNamespace;
use POSIX ();
use Test::More;

my $each = 20;    # keys per kind
my $buffer_mib = 4;
my $memory_mib = 32;
my $hz = POSIX::sysconf(POSIX::_SC_CLK_TCK()) || 100;

plan skip_all => NetNamespace::why_not() if NetNamespace::why_not();
my $net = eval { NetNamespace->new };
plan skip_all => "the system refuses: $@" if !$net;

# Nothing else listens in the namespaces: any port is free there.
my @options = ('-m', $memory_mib, '-o', "repl_timeout=600,repl_buffer=$buffer_mib");
my %place = (link_port => 10000, args => \@options);
my ($one, $two);
my %rss;

sub start_pair
{
	my (%o) = @_;
	$_ && $_->kill9 for $one, $two;
	$net->heal;
	$one = $net->node_on('a', %place, $o{mutual} ? (peer => $net->addr('b')) : ());
	$two = $net->node_on('b', %place, peer => $net->addr('a'));
	$_->start for $one, $two;
	my $good = ok(eval { MemcachedPair::wait_pair($one, $two) }, $o{name}) or diag $@;
	%rss = map { $_->name => $_->rss } $one, $two;
	return $good;
}

# ---- writing -------------------------------------------------------------------

sub named { my ($kind) = @_; return map { "$kind$_" } 1 .. $each }

# Let the millisecond pass: "newest" is by the clock, and the point is not what
# becomes of writes of the same instant.
sub tick { my $until = now() + 0.005; wait_for { now() > $until } 1; return }

sub seconds { my ($n) = @_; my $until = now() + $n; wait_for { now() > $until } 2 * $n; return }

# Pipelined commands with one-line answers; true if every answer matches.
sub all_say
{
	my ($n, $re, @commands) = @_;
	my $c = $n->c;
	$c->put(join '', map { "$_\r\n" } @commands);
	my @wrong = grep { $_ !~ $re } map { $c->line } @commands;
	diag($n->name . " said '$wrong[0]'") if @wrong;
	return !@wrong;
}

sub store
{
	my ($n, $value, $keys, $flags, $ttl) = @_;
	my $tail = sprintf "%d %d %d\r\n%s", $flags || 0, $ttl || 0, length $value, $value;
	return all_say($n, qr/^STORED$/, map { "set $_ $tail" } @$keys);
}

sub remove { my ($n, @keys) = @_; return all_say($n, qr/^(?:DELETED|NOT_FOUND)$/, map { "delete $_" } @keys) }

sub linked { return grep { $_->stats('replication')->{link} eq 'up' } $one, $two }

# What is written to which side, in this order. Where both write, the later counts.
sub write_while_apart
{
	my ($name) = @_;
	my $good = remove($one, named('del_a'));
	$good &&= remove($two, named('del_b'));
	$good &&= remove($_, named('del_both')) for $one, $two;
	$good &&= store($one, "new $name", [named('over_a')], 3);
	$good &&= store($two, "new $name", [named('over_b')], 4);
	$good &&= store($one, "first $name", [named('a_then_b')], 5);
	$good &&= store($two, "first $name", [named('b_then_a')], 6);
	$good &&= store($one, "gone $name", [named('set_del')]);
	$good &&= remove($two, named('del_set'));
	$good &&= all_say($one, qr/^\d+$/, map { "incr $_ 5" } named('count'));
	$good &&= all_say($one, qr/^TOUCHED$/, map { "touch $_ 1000" } named('prolonged'));
	$good &&= all_say($two, qr/^TOUCHED$/, map { "touch $_ 1" } named('shortened'));
	tick();
	$good &&= store($two, "second $name", [named('a_then_b')], 7);
	$good &&= store($one, "second $name", [named('b_then_a')], 8);
	$good &&= remove($two, named('set_del'));
	$good &&= store($one, "back $name", [named('del_set')], 9);
	$good &&= all_say($two, qr/^\d+$/, map { "incr $_ 700" } named('count'));
	$good &&= store($one, "a $name", [named('only_a')], 10);
	$good &&= store($two, "b $name", [named('only_b')], 11);
	$good &&= all_say($one, qr/^STORED$/, map { "append $_ 0 0 1\r\n+" } named('only_a'));
	$good &&= store($one, "brief $name", [named('brief_a')], 0, 1);
	$good &&= store($two, "brief $name", [named('brief_b')], 0, 1);
	$good &&= store($one, "long $name", [named('long_a')], 0, 1000);
	return $good;
}

my @all = qw(kept del_a del_b del_both over_a over_b a_then_b b_then_a set_del del_set count prolonged shortened
	only_a only_b brief_a brief_b long_a);

sub write_before
{
	my ($name) = @_;
	my $old = "old $name";
	my @plain = map { named($_) } qw(kept del_a del_b del_both over_a over_b a_then_b b_then_a set_del del_set);
	my $good = remove($one, map { named($_) } @all) && store($one, $old, \@plain, 2);
	$good &&= store($two, 100, [named('count')]);
	$good &&= store($two, $old, [named('prolonged')], 0, 30) && store($one, $old, [named('shortened')], 0, 1000);
	$good &&= values_on_both($one, $two, { map { $_ => $old } @plain, named('prolonged'), named('shortened') }, "$name: keys on both");
	return $good && settled($name, 'shortened1');
}

# Wait until both know that the other has everything up to this key: then a change
# of its expiry has to travel by itself.
sub settled
{
	my ($name, $key) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $version = $one->c->gets($key)->{cas};
	return wait_ok { !grep { $_->stats('replication')->{peer_acked} < $version } $one, $two } "$name: and settled";
}

sub expected
{
	my ($name) = @_;
	# Which depends on whether the other's sum had come across before.
	my %count = map { $_ => $two->get($_) } named('count');
	my %of = (
		kept => "old $name", del_a => undef, del_b => undef, del_both => undef,
		over_a => "new $name", over_b => "new $name", a_then_b => "second $name", b_then_a => "second $name",
		set_del => undef, del_set => "back $name", prolonged => "old $name", only_a => "a $name+", only_b => "b $name", long_a => "long $name",
		# One second is over by the time the network heals, or soon after.
		shortened => undef, brief_a => undef, brief_b => undef,
	);
	return { %count, map { my $k = $_; map { $_ => $of{$k} } named($k) } keys %of };
}

# ---- looking -------------------------------------------------------------------

my @names = map { named($_) } @all;

# Everything that has to be true once the network is well again.
sub well_again
{
	my ($name, $want) = @_;
	my $began = now();
	ok(eval { MemcachedPair::wait_pair($one, $two, 20) }, "$name: a pair again, by itself") or diag $@;
	note(sprintf "%s: a pair after %.2f s", $name, now() - $began);
	values_on_both($one, $two, $want, "$name: the newest of everything, on both") if $want;
	same_on_both($one, $two, \@names, "$name: flags and CAS uniques, too");
	wait_ok { !grep { $_->stat('repl_lag_ms') >= 100 } $one, $two } "$name: lag below 100 ms", 10;
	all_ok([map { memory_complaint($_) } $one, $two], "$name: memory is bounded");
	return;
}

sub memory_complaint
{
	my ($n) = @_;
	my $grown = $n->rss - $rss{ $n->name };
	my $most = ($memory_mib + 2 * $buffer_mib + 12) * 1024;
	return $grown > $most ? $n->name . " has grown by $grown KiB, at most $most" : ();
}

# Neither side does more than to try, now and then, while nothing gets through.
sub calm_ok
{
	my ($name) = @_;
	my %cpu = map { $_->name => $_->cpu } $one, $two;
	seconds(0.5);
	my @wrong = grep { $_->cpu - $cpu{ $_->name } > 0.1 * $hz } $one, $two;
	return all_ok([map { $_->name . ' used ' . ($_->cpu - $cpu{ $_->name }) . ' ticks' } @wrong], "$name: no CPU is burnt");
}

# ---- partitions ----------------------------------------------------------------

# fault begins it, heal ends it; seen: wait until both have noticed.
sub partition
{
	my ($name, %o) = @_;
	my $good = ok(write_before($name), "$name: written before");
	$o{fault}->();
	ok(write_while_apart($name), "$name: both sides were written meanwhile");
	is($two->get('over_a1'), "old $name", "$name: nothing of A got through") if $o{a_is_cut};
	is($one->get('over_b1'), "old $name", "$name: nothing of B got through") if $o{b_is_cut};
	if ($o{seen}) {
		wait_ok { !linked() } "$name: both noticed", 10;
		calm_ok($name);
	}
	my $want = expected($name);
	$o{heal}->();
	well_again($name, $want);
	return;
}

# All packets of these ways are lost: nobody is told.
sub silence
{
	my ($name, %o) = @_;
	my %lost = map { $_ => { loss => 1 } } @{ $o{ways} };
	partition(
		$name,
		fault => sub { $net->fault(%lost) },
		heal => sub {
			my $p = $net->packets;
			my @wrong = grep { !$p->{$_}{dropped} || $p->{$_}{passed} } @{ $o{ways} };
			ok(!@wrong, "$name: packets were lost, all of them");
			$net->heal;
		},
		a_is_cut => scalar(grep { $_ eq 'ab' } @{ $o{ways} }),
		b_is_cut => scalar(grep { $_ eq 'ba' } @{ $o{ways} }),
		seen => $o{seen},
	);
	return;
}

start_pair(name => 'a pair on two hosts') or BAIL_OUT('no pair');
silence('both ways', ways => ['ab', 'ba'], seen => 1);
silence('both ways, brief', ways => ['ab', 'ba']);
silence('from the master', ways => ['ab'], seen => 1);
silence('to the master', ways => ['ba'], seen => 1);
for my $host (qw(a b)) {
	partition(
		"interface of $host down",
		fault => sub { $net->interface($host, 'down') },
		heal => sub { $net->interface($host, 'up') },
		a_is_cut => 1, b_is_cut => 1, seen => 1,
	);
}

# The address goes away and comes back: whoever shall listen on it has to wait for it.
for my $host (qw(a b)) {
	partition(
		"address of $host taken away",
		fault => sub { $net->address($host, 'del') },
		heal => sub { $net->address($host, 'add') },
		a_is_cut => 1, b_is_cut => 1, seen => 1,
	);
}

# With -x on both sides either may be the one that connects.
start_pair(name => 'a mutual pair', mutual => 1);
silence('mutual, both ways', ways => ['ab', 'ba'], seen => 1);
silence('mutual, to A', ways => ['ba'], seen => 1);
silence('mutual, to B', ways => ['ab'], seen => 1);

# Items that soon expire, written apart: once together, both show the same ones until
# the last second of each.
{
	my $name = 'expiry';
	my %ends;
	ok(store($one, 'less', [named('less')], 0, 1000), "$name: a long life");
	values_on_both($one, $two, { map { $_ => 'less' } named('less') }, "$name: on both");
	settled($name, 'less1');
	$net->fault(ab => { loss => 1 }, ba => { loss => 1 });
	for my $ttl (2 .. 4) {
		ok(store($one, $ttl, [map { "ttl_a$ttl.$_" } 1 .. $each], 0, $ttl), "$name: written on one side");
		ok(store($two, $ttl, [map { "ttl_b$ttl.$_" } 1 .. $each], 0, $ttl), "$name: and on the other");
		$ends{"ttl_$_"} = now() + $ttl for map { ("a$ttl.$_", "b$ttl.$_") } 1 .. $each;
	}
	ok(all_say($two, qr/^TOUCHED$/, map { "touch $_ 3" } named('less')), "$name: shortened on one side");
	$ends{$_} = now() + 3 for named('less');
	wait_ok { !linked() } "$name: both noticed", 10;
	$net->heal;
	ok(eval { MemcachedPair::wait_pair($one, $two, 20) }, "$name: a pair again, by itself") or diag $@;
	my (%wrong, %seen);
	wait_ok {
		my $before = now();
		my ($a, $b) = map { $_->c->mget(sort keys %ends) } $one, $two;
		for my $key (keys %ends) {
			$seen{$key} = 1 if $a->{$key} && $b->{$key};
			$wrong{$key} = 'is gone too early' if $before < $ends{$key} - 1.5 && now() < $ends{$key} - 1.2 && (!$a->{$key} || !$b->{$key});
			$wrong{$key} = 'is still there' if $before > $ends{$key} + 1.5 && ($a->{$key} || $b->{$key});
		}
		!%$a && !%$b
	}
	"$name: all are gone in the end", 15;
	all_ok([map { "$_ $wrong{$_}" } sort keys %wrong], "$name: and none before its time, or after it, on either side");
	ok(scalar(keys %seen) >= $each, "$name: some were seen on both");
}

# Flushed on one side: what is older is gone on both, what is newer stays.
{
	my $name = 'flush';
	ok(write_before($name), "$name: written before");
	$net->fault(ab => { loss => 1 }, ba => { loss => 1 });
	ok(store($one, "early $name", [named('only_a'), named('over_a')]), "$name: written on the far side before it");
	tick();
	is($two->c->cmd('flush_all'), 'OK', "$name: on one side");
	tick();
	ok(store($one, "late $name", [named('over_a')]) && store($two, "late $name", [named('only_b')]), "$name: and after it, on both");
	wait_ok { !linked() } "$name: both noticed", 10;
	$net->heal;
	my %want = ((map { $_ => undef } @names), map { $_ => "late $name" } named('over_a'), named('only_b'));
	well_again($name, \%want);

	# What stayed away stays away when the two meet once more.
	$net->fault(ab => { loss => 1 }, ba => { loss => 1 });
	wait_ok { !linked() } "$name: apart once more", 10;
	$net->heal;
	well_again("$name, once more", \%want);
}

# ---- a bad line ------------------------------------------------------------------

# 200 ms there and back, and every fiftieth packet lost: first with what such a line
# can carry, then with more. The timeout is what a user of such a line would choose.
{
	my $name = 'bad line';
	local $place{args} = ['-m', $memory_mib, '-o', "repl_timeout=4000,repl_buffer=$buffer_mib"];
	start_pair(name => "$name: a pair", mutual => 1);
	my ($keys, $wide) = (50, 8000);
	my @keys = map { my $prefix = $_; map { "$prefix$_" } 0 .. $keys - 1 } qw(a b ab);
	my $bad = { loss => 0.02, delay => 100 };
	$net->fault(ab => $bad, ba => $bad);
	my %cpu = map { $_->name => $_->cpu } $one, $two;
	my $began = now();
	my $write_for = sub {
		my ($seconds, $len) = @_;
		my @load = map { writer(%$_, keys => $keys, pause => 0.002) } (
			{ nodes => [$one], prefix => 'a', len => $len },
			{ nodes => [$two], prefix => 'b' },
			(map { { nodes => [$_], prefix => 'ab' } } $one, $two),
		);
		my ($mark, $until) = ($one->stat('cmd_set'), now() + $seconds);
		wait_ok { now() > $until && $one->stat('cmd_set') > $mark + 500 } "$name: written with values of $len bytes", 30;
		my @reports = map { $_->finish } @load;
		cmp_ok($_->{slowest}, '<', 1 * slow_factor(), "$name: clients do not feel it") for @reports;
		return @reports;
	};
	$write_for->(1, 50);
	same_on_both($one, $two, \@keys, "$name: equal, with the line as bad as ever", 30);
	my @reports = $write_for->(1.5, $wide);
	all_ok([map { memory_complaint($_) } $one, $two], "$name: memory is bounded while it lasts");
	my $p = $net->packets;
	ok($p->{ab}{dropped} && $p->{ba}{dropped}, "$name: packets were lost");
	note("$name: lag $_") for map { $_->stat('repl_lag_ms') . ' ms, ' . $_->stat('repl_lag_bytes') } $one, $two;
	$net->heal;
	well_again($name);
	same_on_both($one, $two, \@keys, "$name: still equal", 20);
	for my $n ($one, $two) {
		all_ok([map { $_->judge($n, 0) } @reports[0, 1]], "$name: " . $n->name . ' shows the last acknowledged writes');
	}
	# Stopped in the middle of it: what was acknowledged to clients gets across first.
	# Started again: it has everything before it serves.
	$net->fault(ab => $bad, ba => $bad);
	my %last = map { $_ => 'last' } named('last');
	ok(store($one, 'last', [named('last')]), "$name: the last writes");
	ok($one->stop, "$name: stopped");
	is_deeply([sort keys %{ $two->c->mget(named('last')) }], [sort keys %last], "$name: the other has them at that moment");
	# (Late is enough here: with packets lost a connect may take too long, by chance.
	# And who is refused, because the other has not noticed yet, serves without it.)
	wait_ok { $two->role eq 'MASTER' } "$name: the other noticed";
	$net->fault(map { $_ => { delay => 100 } } qw(ab ba));
	ok($one->start, "$name: started again");
	is_deeply([sort keys %{ $one->c->mget(named('last')) }], [sort keys %last], "$name: it has them when it serves");
	same_on_both($one, $two, [@keys, named('last')], "$name: and the rest");
	delete $cpu{ $one->name };

	my $most = 0.7 * (now() - $began) + 1;
	my @wrong = grep { $_->cpu - ($cpu{ $_->name } || 0) > $most * $hz } $one, $two;
	all_ok([map { $_->name } @wrong], "$name: CPU is bounded");
}

# ---- flapping --------------------------------------------------------------------

# The line works and fails every 200 ms, then an interface goes up and down, and
# both sides are written all the time, one key by both as fast as they can.
{
	my $name = 'flapping';
	start_pair(name => "$name: a pair", mutual => 1);
	my $keys = 200;
	my @load = (
		writer(nodes => [$one], prefix => 'a', keys => $keys), writer(nodes => [$two], prefix => 'b', keys => $keys),
		map { writer(nodes => [$_], prefix => 'ab', keys => 1) } $one, $two
	);
	my $enough = sub {
		my ($seconds) = @_;
		my ($mark, $until) = ($one->stat('cmd_set'), now() + $seconds);
		return sub { $one->stat('cmd_set') > $mark + 1000 && now() > $until };
	};
	$net->fault(map { $_ => { flap => 200 } } qw(ab ba));
	my $done = $enough->(2.5);
	wait_ok { $done->() } "$name: all packets or none, by turns of 200 ms", 20;
	$net->fault(ab => { flap => 200 });
	$done = $enough->(1.2);
	wait_ok { $done->() } "$name: and one way only", 20;
	# Longer than the timeout of the link: it is lost every time.
	$net->fault(map { $_ => { flap => 900 } } qw(ab ba));
	wait_ok { grep { $_->stat('repl_links') >= 3 } $one, $two } "$name: by turns that no link lives through", 30;
	$net->heal;
	$done = $enough->(2);
	my $turns = 0;
	wait_ok {
		$net->interface($turns % 4 < 2 ? 'a' : 'b', $turns % 2 ? 'up' : 'down');
		$turns++;
		seconds(0.2);
		$done->() && $turns % 2 == 0
	}
	"$name: interfaces go down and up", 20;
	my @reports = map { $_->finish } @load;
	note("$name: links: ", join ' ', map { $_->stat('repl_links') } $one, $two);
	well_again($name);
	same_on_both($one, $two, [(map { ("a$_", "b$_") } 0 .. $keys - 1), 'ab0'], "$name: equal in the end");
	for my $n ($one, $two) {
		all_ok([map { $_->judge($n, 0) } @reports[0, 1]], "$name: " . $n->name . ' shows the last acknowledged writes');
	}
	cmp_ok($_->{slowest}, '<', 2 * slow_factor(), "$name: clients do not feel it") for @reports;
}

ok($_->alive, $_->name . ' lived through it') for $one, $two;
if ($ENV{T_VERBOSE}) {
	diag($_->name . " said:\n" . $_->log) for $one, $two;
}

done_testing();
