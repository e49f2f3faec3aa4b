#!/usr/bin/perl
# kill -9 of either side under load, and back again: what the survivor has
# acknowledged is never lost, no value goes back, both sides end up equal.
# Contract: section 1 (U5-U7), section 10 (P3, P4).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my $keys = $ENV{T_KEYS} || 1000;
my $rounds = 0;

# Number of writes seen by the node so far.
sub writes { return $_[0]->stat('cmd_set') }

sub under_load
{
	my ($lost, $left, $name, %o) = @_;
	# Keys that only the survivor is asked to write, keys that only the lost one
	# is (until it is gone), and keys that both write.
	my $round = $rounds++;
	my ($calm_keys, $move_keys, $both_keys) = map { "$_$round." } qw(calm move both);
	my $calm = writer(nodes => [$left], prefix => $calm_keys, keys => $keys);
	my $move = writer(nodes => [$lost, $left], prefix => $move_keys, keys => $keys);
	my @both = map { writer(nodes => [$_, $left], prefix => $both_keys, keys => $keys / 2) } $lost, $left;
	my @readers = map { reader(node => $left, prefix => $_, keys => $keys) } $calm_keys, $move_keys;

	my ($at_left, $at_lost) = (writes($left), writes($lost));
	wait_ok { writes($left) > $at_left + 5 * $keys && writes($lost) > $at_lost + 5 * $keys } "$name: under load", 60;
	ok(defined $lost->kill9, "$name: killed");
	my $mark = writes($left);
	wait_ok { writes($left) > $mark + 3 * $keys } "$name: the survivor goes on", 60;
	if ($o{rejoin_under_load}) {
		ok($lost->start(%{ $o{restart} || {} }), "$name: started again under load");
		my $more = writes($left);
		wait_ok { writes($left) > $more + 3 * $keys } "$name: clients go on", 60;
	}
	my ($calm_report, $move_report) = map { $_->finish } $calm, $move;
	$_->finish for @both;
	my @went_back;
	my $seen = 0;
	for my $r (@readers) {
		my ($values, @wrong) = $r->finish_reader;
		$seen += $values;
		push @went_back, @wrong;
	}
	cmp_ok($seen, '>', $keys, "$name: readers saw values");
	all_ok(\@went_back, "$name: no value went back on the survivor");
	if (!$o{rejoin_under_load}) {
		ok($lost->start(%{ $o{restart} || {} }), "$name: started again");
	}
	MemcachedPair::wait_pair($lost, $left, 20);

	my @names = map { my $p = $_; map { "$p$_" } 0 .. $keys - 1 } qw(calm move both);
	same_on_both($lost, $left, \@names, "$name: every key is the same on both");
	for my $n ($left, $lost) {
		all_ok([$calm_report->judge($n, 0)], "$name: " . $n->name . ' shows what the survivor acknowledged');
		all_ok([$move_report->judge($n, 1)], "$name: " . $n->name . ' shows what was acknowledged after the loss');
	}
	is($move_report->{moves}, 1, "$name: the writer moved once");
	is($calm_report->{moves}, 0, "$name: the survivor's clients noticed nothing");
	return;
}

my ($one, $two) = pair();
is($one->role, 'MASTER', 'a pair');
under_load($one, $two, 'master lost, rejoins as it was');
under_load($two, $one, 'the other lost, rejoins', rejoin_under_load => 1);
under_load($one, $two, 'the first lost, rejoins with -x', rejoin_under_load => 1, restart => { peer => $two->addr });
under_load($two, $one, 'mutual now, the other lost');

# T_SECONDS=300: either of the two in a loop, under mixed load on both.
my ($lost, $left) = ($one, $two);
my $until = time() + ($ENV{T_SECONDS} || 0);
for (my $n = 1; time() < $until; $n++) {
	under_load($lost, $left, "loop $n", rejoin_under_load => $n % 3);
	($lost, $left) = ($left, $lost);
}

done_testing();
