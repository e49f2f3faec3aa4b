#!/usr/bin/perl
# Administration while serving: lists of all keys, pages reassigned, another limit of
# memory, and the -o names of memcached. doc/protocol.txt, sections 1.7 to 1.10 and 6.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;
use Time::HiRes qw(time);

# A child that stores and reads other keys than the test's, as fast as it can.
sub disturb
{
	my ($n, $len) = @_;
	return spawn {
		for (my $round = 0; ; $round++) {
			load_items($n, 'w' . $round % 10 . 'x', 4000, $len + $round % 7 * 10);
			$n->c->cmd('delete w' . $round % 10 . "x$_") for 0 .. 20;
		}
		return 0;
	};
}

sub end_child
{
	my ($pid) = @_;
	kill 'KILL', $pid;
	reap($pid);
	return;
}

# ---- every stable key exactly once, while others write -----------------------------

my $count = slow_factor() > 1 ? 30_000 : 100_000;    # a sanitizer takes its time
my $n = node(args => ['-m', '128']);
$n->start;
load_items($n, 'stable', $count, 20);
{
	my $noise = disturb($n, 20);
	for my $dump (['metadump', 'END', qr/^key=stable(\d+) exp=-1 la=\d+ cas=\d+ fetch=\w+ cls=\d+ size=\d+ flags=0 \n/m],
		['mgdump', 'EN', qr/^mg stable(\d+)\r\n/m]) {
		my ($word, $last, $line) = @$dump;
		my ($c, $other) = ($n->client(60), $n->client(60));
		my $slowest = 0;
		my $asked = 0;
		$c->put("lru_crawler $word all\r\n");
		my $text = $c->input_until(sub {
			my $began = time;
			$other->cmd('get stable7');
			$slowest = time - $began if time - $began > $slowest;
			$other->line for 1 .. 2;
			$asked++;
			return $_[0]{in} =~ /\n$last\r\n\z/ ? $_[0]{in} : undef;
		});
		like($text, qr/\AOK\r\n/, "$word begins with OK");
		my @seen = (0) x $count;
		$seen[$1]++ while $text =~ /$line/g;
		all_ok([map { "stable$_ $seen[$_] times" } grep { $seen[$_] != 1 } 0 .. $#seen], "$word: each of $count keys once");
		my $lines = () = $text =~ /\n/g;
		my $keys = () = $text =~ /^(?:key=|mg )/mg;
		is($lines, $keys + 2, "$word: nothing else");
		cmp_ok($slowest, '<', 2 * slow_factor(), "$asked requests of another client were answered meanwhile");
	}
	end_child($noise);
}

# ---- readers that do not read -------------------------------------------------------

{
	my $c = $n->client(60);
	setsockopt $c->socket_handle, SOL_SOCKET, SO_RCVBUF, 262144;
	my $before = $n->rss;
	$c->put("lru_crawler metadump all\r\n");
	wait_for { $n->client->cmd('mn') eq 'MN' && $c->ready(0) };
	my $other = $n->client;
	$other->get("stable$_") for 1 .. 1000;
	cmp_ok($n->rss - $before, '<', 8 * 1024, 'a slow reader costs little memory') if memory_counts($n->pid);
	my $text = $c->until_end;
	my $seen = () = $text =~ /^key=stable\d+ /mg;
	is($seen, $count, 'and gets everything in the end');
	is($c->cmd('mn'), 'MN', 'then it is an ordinary connection again');

	my $conns = $n->stat('curr_connections');
	my @gone = map { $n->client } 1 .. 10;
	$_->put("lru_crawler metadump all\r\n") for @gone;
	$_->bytes(100) for @gone;
	$_->close for @gone;
	wait_ok { $n->stat('curr_connections') <= $conns } 'readers that go away are forgotten';
	is($n->c->cmd('lru_crawler disable'), 'OK', 'the crawler can be stopped');
	is($n->c->cmd('lru_crawler metadump all'), 'CLIENT_ERROR lru crawler disabled', 'and then there are no lists');
}

# ---- a page reassigned ----------------------------------------------------------------

{
	my $slabs = $n->stats('slabs');
	my ($from) = sort { $slabs->{"$b:total_pages"} <=> $slabs->{"$a:total_pages"} } map { /^(\d+):total_pages/ } keys %$slabs;
	my $pages = $slabs->{"$from:total_pages"};
	my $moved = $n->stat('slabs_moved');
	my $items = $n->stat('curr_items');
	is($n->c->cmd("slabs reassign $from 0"), 'OK', 'slabs reassign');
	wait_ok { $n->stat('slabs_moved') > $moved && !$n->stat('slab_reassign_running') } 'the page moves';
	is($n->stats('slabs')->{"$from:total_pages"}, $pages - 1, 'the class has a page less');
	is($n->stat('curr_items') + $n->stat('evictions'), $items, 'no item is lost otherwise than by eviction');
	is(count_good($n, 'stable', $count, 20) + $n->stat('evictions'), $count, 'and what is there is right');
	$n->kill9;
}

# ---- where memory and time go -------------------------------------------------------------

{
	my $s = node(args => ['-m', '64', '-o', 'turn_cpu']);
	$s->start;
	load_items($s, 'item', 120_000, 500);
	my $memory = $s->stats('memory');
	cmp_ok($memory->{item_data}, '>', 50 << 20, 'stats memory: most is data');
	if (memory_counts($s->pid) && $memory->{resident}) {
		cmp_ok(abs($memory->{remainder}), '<', 0.02 * $memory->{resident}, "all but 2 % of $memory->{resident} is known: $memory->{remainder} is not");
		cmp_ok(abs($memory->{resident} / 1024 - $s->rss), '<', 2048, 'resident is what the system says');
	}
	my ($waste, $free) = (0, 0);
	$waste += $memory->{$_} for grep { /^\d+:chunk_waste$/ } keys %$memory;
	is($waste, $memory->{chunk_waste}, 'the classes add up');
	my $latency = $s->stats('latency');
	cmp_ok($latency->{turns}, '>', 100, 'stats latency: turns were counted');
	my $turns = 0;
	$turns += $latency->{$_} for grep { /^turn_us:/ } keys %$latency;
	is($turns, $latency->{turns}, 'in buckets');
	cmp_ok($latency->{worst_us}, '>', 0, 'one was the worst');
	cmp_ok(abs($latency->{worst_time} - time), '<', 60 * slow_factor(), 'not long ago');
	like($latency->{worst_cause}, qr/^\w+$/, 'with a cause');
	cmp_ok($latency->{worst_cpu_us}, '>', 0, 'one took most of the processor');
	like($latency->{worst_cpu_cause}, qr/^\w+$/, 'that has a cause, too');
	cmp_ok($latency->{'cause_us:client'} + $latency->{'cause_us:rest'}, '>', $latency->{busy_us} / 2, 'time went to the client');
	is($s->c->cmd('stats reset'), 'RESET', 'stats reset');
	cmp_ok($s->stats('latency')->{turns}, '<', 10, 'begins anew');
	$s->kill9;
}

# ---- another limit of memory -------------------------------------------------------------

{
	my $m = node(args => ['-m', '64']);
	$m->start;
	my $empty = $m->rss;
	load_items($m, 'item', 90_000, 800);
	my $full = $m->rss;
	my $noise = disturb($m, 500);
	is($m->c->cmd('cache_memlimit 16'), 'OK', 'cache_memlimit 16');
	is($m->stat('limit_maxbytes'), 16 << 20, 'is shown at once');
	wait_ok { $m->stats('slabs')->{total_malloced} <= 16 << 20 } 'pages are given up under load', 30;
	wait_ok { $m->rss < $full - 40 * 1024 } 'and their memory is given back', 30 if memory_counts($m->pid);
	end_child($noise);
	my $g = $m->stats;
	cmp_ok($g->{bytes}, '>', 10 << 20, 'what fits is kept');
	cmp_ok($m->rss - $empty, '<', (16 + 12) * 1024, 'resident memory is as if it had been started so') if memory_counts($m->pid);
	# What the killed one had sent already may still be stored meanwhile.
	wait_ok {
		my $text = $m->client(60)->talk("lru_crawler mgdump all\r\n");
		my $keys = () = $text =~ /^mg /mg;
		$keys == $m->stat('curr_items');
	} 'every item can be found', 30;
	load_items($m, 'item', 2000, 800);
	cmp_ok(count_good($m, 'item', 2000, 800), '>', 1500, 'it goes on serving');
	cmp_ok($m->stats('slabs')->{total_malloced}, '<=', 16 << 20, 'within its limit');
	is($m->c->cmd('cache_memlimit 128'), 'OK', 'cache_memlimit 128, more than at the start');
	load_items($m, 'item', 90_000, 800);
	is(count_good($m, 'item', 90_000, 800), 90_000, 'holds more than before');
	is($m->c->cmd('cache_memlimit 1000000'), 'MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust', 'not everything can be had');
	$m->kill9;
}
{
	my ($one, $two) = pair(args => ['-m', '64']);
	load_items($one, 'item', 30_000, 800);
	MemcachedPair::wait_pair($one, $two, 20);
	is($two->c->cmd('cache_memlimit 8'), 'OK', 'the slave gets less memory');
	wait_ok { $two->stats('slabs')->{total_malloced} <= 8 << 20 } 'and gives it up', 30;
	is(count_good($one, 'item', 30_000, 800), 30_000, 'the master keeps everything');
	ok($one->in_sync && $two->in_sync, 'and the pair is in sync');
	$one->set('after', 'v');
	wait_ok { ($two->get('after') || '') eq 'v' } 'and goes on';
	$_->kill9 for $one, $two;
}

# ---- names of memcached ---------------------------------------------------------------------

{
	my @silent = qw(maxconns_fast hashpower=17 slab_reassign slab_automove=2 no_slab_automove lru_crawler
		lru_crawler_sleep=200 lru_crawler_tocrawl=7 hash_algorithm=xxh3 idle_timeout=0);
	my @noted = qw(no_hashexpand hash_algorithm=jenkins slab_automove_ratio=0.5 slab_automove_window=10
		slab_automove_freeratio=0.01 slab_sizes=100-200-400 slab_chunk_max=512 no_chunked_items tail_repair_time=10
		lru_maintainer hot_lru_pct=20 warm_lru_pct=40 hot_max_factor=0.2 warm_max_factor=2 temporary_ttl=61
		worker_logbuf_size=64 read_buf_mem_limit=8 resp_obj_mem_limit=8 inline_ascii_resp no_inline_ascii_resp
		modern drop_privileges no_drop_privileges relaxed_privileges sock_cookie_id=1);
	my $o = node(args => ['-o', join ',', @silent, @noted]);
	$o->start;
	my @lines = grep { /has no effect/ } split /\n/, $o->log;
	my @wrong = map { my $name = s/=.*//r; (grep { /^-o \Q$name\E is accepted/ } @lines) == 1 ? () : $name } @noted;
	all_ok(\@wrong, 'what has no effect is accepted with one line');
	is(scalar @lines, scalar @noted, 'and the rest without');
	my $settings = $o->stats('settings');
	is($settings->{slab_automove}, 0, 'slab_automove is in force');
	is($settings->{lru_crawler_sleep}, 200, 'so is lru_crawler_sleep');
	is($settings->{lru_crawler_tocrawl}, 7, 'and lru_crawler_tocrawl');
	$o->kill9;
	@wrong = ();
	for my $bad ('ext_path=x', 'ssl_chain_cert=x', 'proxy_config=x', 'slab_automove=3', 'tail_repair_time=1', 'bogus=1') {
		my ($status, undef, $said) = run_daemon_to_end(binary(), '-u', 'root', '-o', $bad);
		push @wrong, "$bad: $status $said" if !defined $status || $status == 0 || $said !~ /\S/;
	}
	all_ok(\@wrong, 'what cannot be had is refused');
}

done_testing();
