#!/usr/bin/perl
# A peer that was away for a while gets what changed, not a copy: what is sent is
# in proportion to the changes, and `stats replication` shows it.
# Contract: section 6 (WALK(cut)), section 9.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my ($items, $len) = (50_000, 100);

my ($port, $link) = (free_port(), free_port());
my $args = ['-m', '64', '-o', 'repl_timeout=700'];
my $one = node(name => 'A', addr => '127.0.0.1', port => $port, link_port => $link, args => $args);
my $two = node(name => 'B', addr => '127.0.0.2', port => $port, link_port => $link, peer => '127.0.0.3', args => $args);
$one->start;
my $net = proxy(addr => '127.0.0.3', port => $link, to_addr => '127.0.0.1', to_port => $link);
$two->start;
MemcachedPair::wait_pair($one, $two);

sub repl { my ($node) = @_; return $node->c->stats('replication') }
sub walk_bytes { my ($s) = @_; my $sum = 0; $sum += $s->{$_} for grep { /^walks_\w+_bytes$/ } keys %$s; return $sum }

load_items($one, 'base', $items, $len);
wait_ok { count_good($two, 'base', 100, $len) == 100 && $two->stat('curr_items') >= $items } 'both have the same', 30;
wait_ok { repl($one)->{lag_bytes} == 0 } 'and it is acknowledged', 20;

# Away: $changes keys written, some deleted, on the side that stays.
for my $changes (10, 1000) {
	$net->mode('refuse');
	wait_ok { repl($one)->{link} ne 'up' && repl($two)->{link} ne 'up' } "$changes: apart";
	my $before = repl($one);
	load_items($one, "new$changes.", $changes, $len);
	my $c = $one->client;
	is($c->cmd("delete base$_"), 'DELETED', "$changes: deleted") for $changes;
	$net->mode('pass');
	wait_ok { $one->in_sync && $two->in_sync } "$changes: together again", 20;
	wait_ok { count_good($two, "new$changes.", $changes, $len) == $changes } "$changes: the new ones are there", 20;
	ok(!defined $two->get("base$changes"), "$changes: the deleted one is not");
	my $after = repl($one);
	is($after->{walks_catchup} - $before->{walks_catchup}, 1, "$changes: a catch-up, not a copy");
	is($after->{walks_first}, $before->{walks_first}, "$changes: no first copy");
	my $sent = walk_bytes($after) - walk_bytes($before);
	cmp_ok($sent, '>=', $changes * $len, "$changes: what changed was sent");
	cmp_ok($sent, '<', ($changes + 10) * ($len + 100), "$changes: and not much more ($sent bytes)");
}
same_on_both($one, $two, [map { "base$_" } 1 .. 2000], 'both are equal');
$_->stop for $one, $two;

done_testing();
