#!/usr/bin/perl
# Scripts of operators against a pair: memcached-tool as Debian ships it, and what
# monitoring plug-ins and admin pages ask for and compute with.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my ($one, $two) = pair(args => ['-m', '64']);
my %size = (small => 10, middle => 1000, large => 100_000);
for my $kind (sort keys %size) {
	$one->set("$kind$_", 'x' x $size{$kind}) for 1 .. 20;
}
wait_ok { $two->stat('curr_items') == 60 } 'sixty items on both';
$two->get("small$_") for 1 .. 15;
$two->get("none$_") for 1 .. 5;

my $tool = '/usr/share/memcached/scripts/memcached-tool';
SKIP: {
	skip 'memcached-tool is not installed', 1 if !-x $tool;
	for my $n ($one, $two) {
		my $name = 'memcached-tool on the ' . lc $n->role;
		my $run = sub { my ($code, $said) = run_program(30, $^X, $tool, $n->addr . ':' . $n->port, @_); is($code, 0, "$name @_") or diag $said; return $said };
		my @rows = map { [split] } grep { /^\s*\d+\s/ } split /\n/, $run->('display');
		# Class, item size, age, pages, count, full, evicted, time, out of memory.
		cmp_ok(scalar @rows, '>=', 3, "$name: a line for each class in use") or next;
		my $count = 0;
		$count += $_->[4] for @rows;
		cmp_ok($count, '>=', 40, "$name: the items are counted by class");
		all_ok([grep { /[^\d]/ } map { @$_[0, 3, 4, 6 .. 8] } @rows], "$name: every column is a number");
		my %stats = $run->('stats') =~ /^\s*(\w+)\s+(\S+)\s*$/mg;
		is($stats{curr_items}, 60, "$name: the statistics are read");
		cmp_ok($stats{bytes}, '>', 20 * 101_010, "$name: bytes");
		my %settings = $run->('settings') =~ /^\s*(\w+)\s+(\S+)\s*$/mg;
		is($settings{maxbytes}, 64 * 1024 * 1024, "$name: the settings are read");
		$run->('sizes');
		my @keys = $run->('keys') =~ /^key=(\w+) /mg;
		is_deeply([sort @keys], [sort map { my $k = $_; map { "$k$_" } 1 .. 20 } keys %size], "$name: the keys are listed");
		my $dump = $run->('dump');
		is(scalar(() = $dump =~ /^add (?:small|middle|large)\d+ 0 \d+ (?:10|1000|100000)\r?$/mg), 60, "$name: every item is dumped");
		# What it dumped can be played back.
		my $other = node();
		$other->start;
		$dump =~ s/\A.*?(?=^add )//ms;
		$dump =~ s/\r?\n/\r\n/g;
		$other->c->talk($dump);
		is($other->stat('curr_items'), 60, "$name: and can be loaded elsewhere");
		is($other->get('large7'), 'x' x $size{large}, "$name: with its values");
		$other->stop;
	}
}

# ---- what others compute ---------------------------------------------------------

for my $n ($one, $two) {
	my $name = 'the ' . lc $n->role;
	my $s = $n->stats;
	# Ratios and totals as admin pages show them.
	is($s->{get_hits} + $s->{get_misses}, $s->{cmd_get}, "$name: hits and misses are the gets");
	all_ok([grep { $s->{$_} !~ /^\d+$/ } qw(pid uptime time pointer_size curr_connections total_connections cmd_set cmd_flush
		cmd_touch delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits bytes_read bytes_written limit_maxbytes
		threads bytes curr_items total_items evictions reclaimed expired_unfetched evicted_unfetched
		listen_disabled_num accepting_conns hash_power_level)], "$name: what plug-ins graph is there, in numbers");
	like($s->{$_}, qr/^\d+\.\d{6}$/, "$name: $_ as scripts split it") for qw(rusage_user rusage_system);
	cmp_ok($s->{bytes}, '<=', $s->{limit_maxbytes}, "$name: no more used than allowed");
	my $items = $n->stats('items');
	my $slabs = $n->stats('slabs');
	my %class = map { /^items:(\d+):number$/ ? ($1 => $items->{$_}) : () } keys %$items;
	my $sum = 0;
	$sum += $_ for values %class;
	is($sum, $s->{curr_items}, "$name: the classes hold all items");
	all_ok([grep { !defined $slabs->{"$_:chunk_size"} } keys %class], "$name: every class with items is in stats slabs");
	all_ok([grep { $slabs->{"$_:used_chunks"} + $slabs->{"$_:free_chunks"} != $slabs->{"$_:total_chunks"} } map { /^(\d+):chunk_size/ ? $1 : () } keys %$slabs],
		"$name: used and free chunks are all chunks");
	my $pages = 0;
	$pages += $slabs->{$_} for grep { /^\d+:total_pages$/ } keys %$slabs;
	cmp_ok($pages, '>', 0, "$name: pages are counted");
	cmp_ok($slabs->{total_malloced}, '<=', $s->{limit_maxbytes}, "$name: pages stay within the limit");
	is($slabs->{active_slabs}, scalar(grep { /^\d+:chunk_size$/ } keys %$slabs), "$name: active_slabs is the number of classes listed");
	# An exporter reads these of every class with items.
	my @missing = map {
		my $c = $_;
		grep { !defined $items->{$_} } map { "items:$c:$_" } qw(number age evicted evicted_nonzero evicted_time outofmemory reclaimed evicted_unfetched)
	} keys %class;
	all_ok(\@missing, "$name: every class says what is asked for");
	# Several questions in one packet, as a script on a shell's pipe sends them.
	my $c = $n->client;
	$c->put("stats\r\nstats items\r\nstats slabs\r\nstats settings\r\nquit\r\n");
	is(scalar(() = $c->until_closed =~ /^END\r\n/mg), 4, "$name: four lists from one packet");
}

done_testing();
