#!/usr/bin/perl
# The first copy: a million items to a slave that joins, while clients go on.
# Counted by the statistics and by reading every key from both.
# T_ITEMS=20000 for a quick run. Contract: section 1 (U2), section 6.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my $count = $ENV{T_ITEMS} || 1_000_000;
my $len = 100;
my $megabytes = int($count * 220 / 1048576) + 64;
my $busy = 2000;

my ($one, $two) = pair(args => ['-m', $megabytes], no_start => 1);
ok($one->start, 'the master starts');
my $began = now();
load_items($one, 'item', $count, $len);
is($one->stat('curr_items'), $count, "$count items stored");
my $load_s = now() - $began;

my $writer = writer(nodes => [$one], prefix => 'busy', keys => $busy);
my $reader = reader(node => $one, prefix => 'busy', keys => $busy);
wait_ok { $one->stat('curr_items') > $count + $busy / 2 } 'clients write meanwhile', 30;

$began = now();
$two->start(wait => 0);
ok($two->wait_ready(120), 'the slave opens its port');
my $copy_s = now() - $began;
# It promised to have everything that was there when it joined before it serves.
cmp_ok($two->stat('curr_items'), '>=', $count, 'and holds every item by then');

my $report = $writer->finish;
my ($values, @went_back) = $reader->finish_reader;
cmp_ok($report->{writes}, '>', 1000, 'clients were served during the copy');
all_ok(\@went_back, 'and never saw a value go back');
cmp_ok($report->{slowest}, '<', 1 * slow_factor(), 'no answer took a second');
MemcachedPair::wait_pair($one, $two, 30);

same_on_both($one, $two, [map { "busy$_" } 0 .. $busy - 1], 'what was written meanwhile is the same on both');
all_ok([$report->judge($_, 0)], 'and right on ' . $_->name) for $one, $two;
my $deleted = grep { $_->{deleted} } values %{ $report->{keys} };
wait_ok { $_->stat('curr_items') == $one->stat('curr_items') } $_->name . ' counts as many', 5 for $two;
is($one->stat('evictions') + $two->stat('evictions'), 0, 'nothing was evicted');

$began = now();
for my $n ($one, $two) {
	is(count_good($n, 'item', $count, $len), $count, $n->name . ' holds every item with the right value');
}
my $read_s = (now() - $began) / 2;

# Flags and CAS unique of a sample, and of everything in a quick run.
my $step = $count > 100_000 ? 37 : 1;
same_on_both($one, $two, [map { 'item' . $_ * $step } 0 .. $count / $step - 1], 'flags and CAS unique are the same');
note(sprintf 'stored in %.1f s, slave ready after %.1f s, read from each in %.1f s, slowest answer meanwhile %.1f ms',
	$load_s, $copy_s, $read_s, 1000 * $report->{slowest});

done_testing();
