#!/usr/bin/perl
# -x on both sides: every order of starting, and the same instant; a pair within
# about a second, with exactly one link. Contract: section 1 (U8), section 5.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my $rounds = $ENV{T_ROUNDS} || 3;

sub is_pair
{
	my ($x, $y, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $began = now();
	ok(eval { MemcachedPair::wait_pair($x, $y) }, "$name: a pair") or diag $@;
	cmp_ok(now() - $began, "<", 5 * slow_factor(), "$name: within a moment");
	one_link_ok($x, $y, "$name: exactly one link");
	roles_ok($x, $y, "$name: one master, one slave");
	return;
}

for my $round (1 .. $rounds) {
	for my $order ('a first', 'b first', 'at once') {
		my ($one, $two) = pair(mutual => 1, no_start => 1);
		my $name = "round $round, $order";
		if ($order eq 'a first') {
			ok($one->start && $two->start, "$name: started");
		} elsif ($order eq 'b first') {
			ok($two->start && $one->start, "$name: started");
		} else {
			$one->start(wait => 0);
			$two->start(wait => 0);
			ok($one->wait_ready(5) && $two->wait_ready(5), "$name: started") or diag $one->log, $two->log;
		}
		is_pair($one, $two, $name);

		# Either one lost and started again.
		my ($lost, $left) = $round % 2 ? ($one, $two) : ($two, $one);
		$left->set('kept', 'value');
		$lost->kill9;
		is($left->get('kept'), 'value', "$name: the survivor serves");
		ok($lost->start, "$name: the lost one starts again");
		is_pair($one, $two, "$name, again");
		is($lost->get('kept'), 'value', "$name: it was filled");
		is($left->get('kept'), 'value', "$name: the survivor lost nothing");
		# The link stays one for as long as a retry could take to make another.
		my $more = 0;
		wait_for { $more += $one->links > 1 || $two->links > 1; 0 } 1.2 / slow_factor() if have_proc() && $round == 1;
		is($more, 0, "$name: and the link stays one");
		$_->kill9 for $one, $two;
	}
}

done_testing();
