#!/usr/bin/perl
# The network between two living daemons is cut, both sides are written, the
# network heals: the link comes back by itself, both hold the newest write to
# each key, and nothing deleted, overwritten or flushed comes back.
# The link goes through a relay that can refuse, stall, and pass one way only.
# Contract: section 1 (U9), section 4.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my $each = 200;    # keys per kind

my ($port, $link) = (free_port(), free_port());
my $options = ['-m', '64', '-o', 'repl_timeout=700'];
my $one = node(name => 'A', addr => '127.0.0.1', port => $port, link_port => $link, args => $options);
my $two = node(name => 'B', addr => '127.0.0.2', port => $port, link_port => $link, peer => '127.0.0.3', args => $options);
$one->start;
my $net = proxy(addr => '127.0.0.3', port => $link, to_addr => '127.0.0.1', to_port => $link);
$two->start;
ok(eval { MemcachedPair::wait_pair($one, $two) }, 'a pair, with a network between them') or diag $@;

sub store
{
	my ($n, $value, @keys) = @_;
	my $c = $n->c;
	$c->put(join '', map { sprintf "set %s 9 0 %d\r\n%s\r\n", $_, length $value, $value } @keys);
	my @said = map { $c->line } @keys;
	return scalar(grep { $_ ne 'STORED' } @said) == 0;
}

sub remove
{
	my ($n, @keys) = @_;
	my $c = $n->c;
	$c->put(join '', map { "delete $_\r\n" } @keys);
	my @said = map { $c->line } @keys;
	return scalar(grep { $_ !~ /^(?:DELETED|NOT_FOUND)$/ } @said) == 0;
}

sub named { my ($kind) = @_; return map { "$kind$_" } 1 .. $each }

# Let one millisecond pass: "newest" is by the clock, and the point here is not
# what happens to writes of the same instant.
sub tick { my $until = now() + 0.005; wait_for { now() > $until } 1; return }

sub cut_and_heal
{
	my ($how, $name) = @_;
	my $old = "old $name";
	my @all = qw(kept del_a del_b over_a over_b a_then_b b_then_a set_del del_set only_a only_b);
	my @existing = grep { !/^only/ } @all;
	ok(remove($one, map { named($_) } @all) && store($one, $old, map { named($_) } @existing), "$name: keys on both");
	values_on_both($one, $two, { map { $_ => $old } map { named($_) } @existing }, "$name: and they are");

	$net->mode($how);
	if ($how eq 'refuse') {
		wait_ok { $_->links == 0 } "$name: " . $_->name . ' noticed' for have_proc() ? ($one, $two) : ();
	}
	my $stored = 1;
	$stored &&= remove($one, named('del_a'));
	$stored &&= remove($two, named('del_b'));
	$stored &&= store($one, "new $name", named('over_a'));
	$stored &&= store($two, "new $name", named('over_b'));
	$stored &&= store($one, "first $name", named('a_then_b'));
	$stored &&= store($two, "first $name", named('b_then_a'));
	$stored &&= store($one, "gone $name", named('set_del'));
	$stored &&= remove($two, named('del_set'));
	tick();
	$stored &&= store($two, "second $name", named('a_then_b'));
	$stored &&= store($one, "second $name", named('b_then_a'));
	$stored &&= remove($two, named('set_del'));
	$stored &&= store($one, "back $name", named('del_set'));
	$stored &&= store($one, "a $name", named('only_a'));
	$stored &&= store($two, "b $name", named('only_b'));
	ok($stored, "$name: both sides were written meanwhile");
	# What B sends is let through by half, what A sends by deaf.
	is($two->get("over_a1"), $old, "$name: nothing of A travelled") if $how ne "deaf";
	is($one->get("over_b1"), $old, "$name: nothing of B travelled") if $how ne "half";

	# Silence is noticed after repl_timeout; before that, or after, it must heal.
	if ($how ne 'refuse' && $name !~ /brief/) {
		wait_ok { $one->links == 0 && $two->links <= 1 && $two->role eq 'MASTER' } "$name: silence was noticed", 10 if have_proc();
	}
	$net->mode('pass');
	ok(eval { MemcachedPair::wait_pair($one, $two, 20) }, "$name: a pair again, by itself") or diag $@;
	my %want = (
		kept => $old, del_a => undef, del_b => undef, over_a => "new $name", over_b => "new $name",
		a_then_b => "second $name", b_then_a => "second $name", set_del => undef, del_set => "back $name",
		only_a => "a $name", only_b => "b $name",
	);
	values_on_both($one, $two, { map { my $k = $_; map { $_ => $want{$k} } named($k) } keys %want }, "$name: the newest write of each key, on both");
	same_on_both($one, $two, [map { named($_) } @all], "$name: flags and CAS unique, too");
	return;
}

cut_and_heal('refuse', 'cut');
cut_and_heal('stall', 'silent');
cut_and_heal('stall', 'silent, brief');
cut_and_heal('half', 'one way only');
cut_and_heal('deaf', 'the other way only');
cut_and_heal('refuse', 'cut again');

# flush_all on one side of the cut.
ok(store($one, 'before', named('kept'), named('later')), 'flush: keys on both');
values_on_both($one, $two, { map { $_ => 'before' } named('kept'), named('later') }, 'flush: and they are');
$net->mode('refuse');
wait_for { $one->links == 0 && $two->links == 0 } 10 if have_proc();
ok(store($one, 'old write', named('early')), 'flush: writes on the far side before it');
tick();
is($two->c->cmd('flush_all'), 'OK', 'flush: on one side');
tick();
ok(store($one, 'after', named('later')), 'flush: writes on the far side after it');
ok(store($two, 'own', named('own')), 'flush: and on its own side');
$net->mode('pass');
ok(eval { MemcachedPair::wait_pair($one, $two, 20) }, 'flush: a pair again') or diag $@;
values_on_both(
	$one, $two,
	{ (map { $_ => undef } named('kept'), named('early')), (map { $_ => 'after' } named('later')), (map { $_ => 'own' } named('own')) },
	'flush: what was older is gone on both, what is newer stays'
);

# Under load on both sides the link flaps; in the end both agree.
my @load = (writer(nodes => [$one], prefix => 'a', keys => 300), writer(nodes => [$two], prefix => 'b', keys => 300),
	map { writer(nodes => [$_], prefix => 'both', keys => 300) } $one, $two);
for my $mode (qw(refuse pass stall pass half pass refuse pass)) {
	$net->mode($mode);
	my $mark = $one->stat('cmd_set');
	wait_for { $one->stat('cmd_set') > $mark + 2000 } 20;
}
my @reports = map { $_->finish } @load;
ok(eval { MemcachedPair::wait_pair($one, $two, 20) }, 'flapping: a pair in the end') or diag $@;
same_on_both($one, $two, [map { my $p = $_; map { "$p$_" } 0 .. 299 } qw(a b both)], 'flapping: equal in the end');
for my $n ($one, $two) {
	all_ok([map { $_->judge($n, 0) } @reports[0, 1]], 'flapping: ' . $n->name . ' shows the last acknowledged writes');
}
ok($_->alive, $_->name . ' lived through it') for $one, $two;

done_testing();
