#!/usr/bin/perl
# watch: a client that is shown what happens. Each kind with its lines, a watcher that
# does not read, a pair that breaks and mends. doc/protocol.txt section 1.12.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my $STAMP = qr/ts=\d+\.\d+ gid=\d+/;

sub watcher
{
	my ($node, $kinds) = @_;
	my $w = $node->client;
	is($w->cmd("watch $kinds"), 'OK', "watch $kinds");
	return $w;
}

# Lines are read until one matches; it is what happened next of what matters.
sub next_is
{
	my ($w, $re, $name) = @_;
	my @seen;
	while (defined(my $line = $w->line)) {
		push @seen, $line;
		if ($line =~ /^$STAMP $re$/) {
			pass($name);
			return $line;
		}
	}
	fail($name);
	diag "not among: @seen[-5 .. -1]" if @seen > 4;
	diag "not among: @seen" if @seen < 5;
	return '';
}

# ---- one server ---------------------------------------------------------------------

my $n = node(args => ['-m', '2', '-o', 'watcher_logbuf_size=64']);
$n->start;
{
	my $w = watcher($n, '');
	my $c = $n->client;
	$c->get('none');
	next_is($w, qr/type=item_get key=none status=not_found clsid=0 cfd=\d+ size=0/, 'a miss');
	$c->set("a%\x{e4}", 'abc');
	next_is($w, qr/type=item_get key=a%25%E4 status=not_found clsid=0 cfd=\d+ size=0/, 'a write looks the key up');
	$c->get("a%\x{e4}");
	my $line = next_is($w, qr/type=item_get key=a%25%E4 status=found clsid=\d+ cfd=\d+ size=3/, 'a hit');
	my ($fd) = $line =~ /cfd=(\d+)/;
	my $conns = $c->stats('conns');
	is($conns->{"$fd:state"}, 'conn_parse_cmd', 'cfd is the number in stats conns');
	ok(scalar(grep { $_ eq 'conn_watch' } values %$conns), 'which knows the watcher, too');
}
{
	my $w = watcher($n, 'mutations deletions');
	my $c = $n->client;
	$c->set('k', 'value', 0, 50);
	next_is($w, qr/type=item_store key=k status=stored cmd=set ttl=50 clsid=\d+ cfd=\d+ size=5/, 'a write');
	$c->cmd('delete k');
	next_is($w, qr/type=deleted key=k cmd=delete clsid=\d+ size=5/, 'a deletion');
	is($n->client->stats->{log_watchers}, 1, 'one watcher: the other is closed');
	$w->put("get k\r\nquit\r\n");
	$c->set('k', 'value');
	next_is($w, qr/type=item_store key=k .*/, 'what a watcher sends is thrown away');
}
{
	my $w = watcher($n, 'connevents');
	my $c = $n->client;
	my $line = next_is($w, qr/type=conn_new rip=127\.\d+\.\d+\.\d+ rport=\d+ transport=tcp cfd=\d+/, 'a connection');
	my ($who) = $line =~ /(rip=\S+ rport=\d+ transport=tcp)/;
	$c->put("quit\r\n");
	next_is($w, qr/type=conn_close $who reason=normal cfd=\d+/, 'and its end');
	my $bad = $n->client;
	$bad->put("GET / HTTP/1.0\r\n");
	next_is($w, qr/type=conn_close .* reason=error cfd=\d+/, 'a browser');
}
{
	my $w = watcher($n, 'evictions');
	my $c = $n->client;
	my $filler = 'x' x 5000;
	$c->put("set unread 0 1000 5000 noreply\r\n$filler\r\n");
	$c->put("set fill_$_ 0 0 5000 noreply\r\n$filler\r\n") for 1 .. 800;
	next_is($w, qr/type=eviction key=unread fetch=no ttl=\d+ la=\d+ clsid=\d+ size=5000/, 'an eviction');
	is($c->cmd('mn'), 'MN', 'and the client goes on');
}
{
	my $w = watcher($n, 'sysevents');
	my $c = $n->client;
	for my $round (1 .. 40) {
		my $value = 'y' x (40 * $round);
		$c->put("set other_${round}_$_ 0 0 " . length($value) . " noreply\r\n$value\r\n") for 1 .. 400;
		last if $c->stats->{slabs_moved};
	}
	next_is($w, qr/type=slab_move src=\d+ dst=\d+ state=ok/, 'a page that moves');
}

# ---- who does not read -----------------------------------------------------------------

{
	my $w = watcher($n, 'fetchers');
	my $c = $n->client;
	my $misses = 0;
	my $key = 'k' x 200;
	# Its socket takes some; then lines wait, then they are dropped.
	wait_ok {
		$c->put("get $key\r\n" x 1000);
		$c->bytes(5 * 1000);
		$misses += 1000;
		$c->stats->{log_watcher_skipped} > 10000
	} 'a watcher that does not read loses lines';
	my $before = $n->rss;
	for (1 .. 10) {
		$c->put("get $key\r\n" x 1000);
		$c->bytes(5 * 1000);
		$misses += 1000;
	}
	cmp_ok($n->rss - $before, '<', 1024, 'memory does not grow with 2 MB of lines') if memory_counts($n->pid);
	my $skipped = $c->stats->{log_watcher_skipped};
	my ($lines, $said) = (0, 0);
	while ($lines + $said < $misses) {
		my $line = $w->line;
		last if !defined $line;
		if ($line =~ /^skipped=(\d+)$/) {
			$said += $1;
		} else {
			$lines++;
		}
	}
	is($lines + $said, $misses, 'then it reads: each line, or that it was skipped');
	is($said, $skipped, 'the number is that of the statistics');
	$c->get('after');
	next_is($w, qr/type=item_get key=after .*/, 'and it goes on');
}

# ---- limits -----------------------------------------------------------------------------

{
	my @w = map { watcher($n, 'evictions') } 1 .. 20;
	is($n->client->cmd('watch'), 'WATCHER_TOO_MANY log watcher limit reached', 'the 21st');
	undef @w;
	wait_ok { $n->client->cmd('watch') eq 'OK' } 'and again, when they are gone';
	is($n->client->cmd('watch bogus'), 'ERROR', 'an unknown kind');
}
$n->stop;
{
	my $off = node(args => ['-m', '8', '-W']);
	$off->start;
	is($off->client->cmd('watch'), 'CLIENT_ERROR watch commands not allowed', '-W');
	$off->stop;
}

# ---- a pair -------------------------------------------------------------------------------

{
	my ($one, $two) = pair(args => ['-m', '16']);
	my $w = watcher($one, 'replication');
	$two->kill9;
	next_is($w, qr/type=replication event=link_down peer=\S+ node=\w+ reason=\S+/, 'the peer is killed');
	$two->start;
	next_is($w, qr/type=replication event=link_up role=MASTER peer=\S+ node=\w+/, 'it comes back');
	next_is($w, qr/type=replication event=walk_begin way=out cause=(?:first|lost)/, 'and is sent a copy');
	next_is($w, qr/type=replication event=walk_end way=out cause=(?:first|lost) result=complete bytes=\d+ ms=\d+/, 'all of it');
	wait_pair($one, $two);
	my $w2 = watcher($two, 'replication mutations');
	$one->set('travels', 1);
	wait_ok { defined $two->get('travels') } 'a write travels';
	$one->kill9;
	my $line = next_is($w2, qr/type=\S+ event=link_down .*/, 'the other one is killed');
	next_is($w2, qr/type=replication event=role role=MASTER reason=the%20link%20is%20lost/, 'and the slave is master');
	$two->stop;
}

done_testing();
