#!/usr/bin/perl
# A slave that is smaller than its master, in memory or in the size of an item:
# it works, holds what it can, counts what it cannot and says so once.
# Contract: section 7 (what cannot be stored), section 1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

# ---- a smaller -m --------------------------------------------------------------

my $count = 100_000;
my $len = 200;
my ($one, $two) = pair(a_args => ['-m', '64'], b_args => ['-m', '8'], no_start => 1);
$one->start;
load_items($one, 'item', $count, $len);
is($one->stat('curr_items'), $count, 'the master holds everything');
ok($two->start, 'a slave with an eighth of the memory');
MemcachedPair::wait_pair($one, $two, 20);
my $held = $two->stat('curr_items');
cmp_ok($held, '>', $count / 20, "it holds what it can: $held of $count");
cmp_ok($held, '<', $count / 2, 'and no more');
cmp_ok($two->stat('evictions'), '>', 0, 'evictions say how many not');
is($one->stat('curr_items'), $count, 'the master lost nothing by it');
is(count_good($one, 'item', $count, $len), $count, 'and shows every item');
cmp_ok(count_good($two, 'item', $count, $len), '>=', $held * 0.95, 'what the slave shows is right');
cmp_ok($two->rss, '<', 8 * 1024 + 40 * 1024, 'its memory stays within what it was given') if memory_counts($two->pid);

# More than it holds goes through it: writes on either side.
load_items($two, 'mine', 40_000, $len);
MemcachedPair::wait_pair($one, $two, 20);
wait_ok { count_good($one, 'mine', 40_000, $len) == 40_000 } 'the master holds what was written to the slave', 10;
my $log = () = $two->log =~ /\n/g;
cmp_ok($log, '<', 12, 'no flood in its log');
is($two->set('fresh', 'value'), 'STORED', 'the slave goes on storing');
wait_ok { ($one->get('fresh') || '') eq 'value' } 'and sending';

# An eviction on the small side is no delete on the big one, but a delete is.
is($one->c->cmd('delete item5'), 'DELETED', 'a delete');
my $there = defined $two->get('item6');
is($two->c->cmd('delete item6'), $there ? 'DELETED' : 'NOT_FOUND', 'a delete on the slave, held or not');
values_on_both($one, $two, { item5 => undef, item6 => undef }, 'are deletes on both');
is($one->stat('curr_items'), $count + 40_000 + 1 - 2, 'and nothing else went');
$_->kill9 for $one, $two;

# ---- a smaller -I --------------------------------------------------------------

($one, $two) = pair(a_args => ['-m', '64', '-I', '1m'], b_args => ['-m', '64', '-I', '100k'], no_start => 1);
$one->start;
my $big = 'b' x 500_000;
my $small = 's' x 50_000;
is($one->set('grown', $small), 'STORED', 'a value that fits both');
is($one->set('large', $big), 'STORED', 'a value that is too large for the slave');
ok($two->start, 'the slave starts');
MemcachedPair::wait_pair($one, $two);
is($one->get('large'), $big, 'the master has the large one');
is($two->get('large'), undef, 'the slave has not');
values_on_both($one, $two, { grown => $small }, 'both have the other');
is($one->set('grown', $big), 'STORED', 'it grows');
wait_ok { !defined $two->get('grown') } 'the slave no longer shows the old value';
is($one->get('grown'), $big, 'the master shows the new');
is($one->set("many$_", $big), 'STORED', "large value $_") for 1 .. 20;
MemcachedPair::wait_pair($one, $two);
my $s = $two->stats('replication');
my ($counted) = grep { /(?:too_large|unstorable|not_stored|refused|dropped)/ && $s->{$_} } sort keys %$s;
ok($counted, 'a counter says what the slave could not hold') or diag join ' ', map { "$_=$s->{$_}" } sort keys %$s;
cmp_ok($s->{ $counted || '' } || 0, '>=', 20, 'all of it');
my @said = lines_like($two->log, qr/cannot be stored|too large|larger|does not fit|cannot (?:hold|store)|could not/i);
cmp_ok(scalar @said, '>=', 1, 'and its log says so');
cmp_ok(scalar @said, '<=', 5, 'without a flood') or diag @said;
is($two->set('toolarge', $big), 'SERVER_ERROR object too large for cache', 'its own clients are told');
is($two->set('grown', 'small again'), 'STORED', 'a small value for the same key on the slave');
values_on_both($one, $two, { grown => 'small again' }, 'is the value on both');

# The other way round: the small one is the master.
$_->kill9 for $one, $two;
ok($two->start(peer => undef), 'the small one starts as master');
$two->set('mine', 'value');
ok($one->start(peer => $two->addr), 'the big one joins');
MemcachedPair::wait_pair($one, $two);
values_on_both($one, $two, { mine => 'value' }, 'and is filled');
is($one->set('large', $big), 'STORED', 'a large value on the big slave');
MemcachedPair::wait_pair($one, $two);
is($two->get('large'), undef, 'does not come to the small master');
is($one->get('large'), $big, 'and stays on the slave');

done_testing();
