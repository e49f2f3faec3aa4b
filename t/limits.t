#!/usr/bin/perl
# What clients cannot do to each other: hold memory by commands that never end or
# by uploads that halt, take all the turns, fill a buffer by not reading; and what
# becomes of them when the daemon stops. doc/protocol.txt section 1.1, memcached(1).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

# Write as much as is taken; false when the connection is closed.
sub push_bytes
{
	my ($c, $bytes) = @_;
	local $SIG{PIPE} = 'IGNORE';
	return eval { $c->put($bytes) } && !$c->is_closed;
}

# ---- commands that never end -----------------------------------------------------------

{
	my $n = node(args => ['-m', '64']);
	$n->start;
	my $rss = $n->rss;
	my $keys = 'get ' . 'k ' x (8 << 20 >> 1);    # 8 MiB, and no end
	my (@c, $closed);
	for (1 .. 14) {
		my $c = $n->client(20);
		push_bytes($c, $keys);
		push @c, $c;
	}
	wait_ok { $n->stat('input_dropped') > 0 } 'unfinished lines: beyond a bound for all, connections are closed', 20;
	$closed = () = grep { $_->is_closed } @c;
	cmp_ok($closed, '<', 14, 'but not all');
	cmp_ok($n->rss - $rss, '<', (64 + 32) << 10, 'and the memory is bounded (KiB)') if memory_counts($n->pid);
	is($n->set('k', 'v'), 'STORED', 'others are served');
	my $small = $n->client;
	$small->put('get k');
	is($n->get('k'), 'v', 'a short line');
	$small->put("\r\n");
	is($small->read_values, "VALUE k 0 1\r\nv\r\n", 'may still come in pieces');
	$_->close for @c;
	my $again = $n->client(20);
	wait_ok { $n->stat('curr_connections') <= 4 } 'when they are gone';
	ok(push_bytes($again, 'get ' . 'none ' x 200_000 . "k\r\n"), 'there is room for a long line again');
	is($again->read_values, "VALUE k 0 1\r\nv\r\n", 'which is answered');
	$n->kill9;
}

# ---- many at once ------------------------------------------------------------------------

# The peer, timers and new connections do not wait until all of them are answered.
{
	my ($count, $per_turn) = (600, 64);
	my $n = node(args => ['-m', '32']);
	$n->start;
	$n->set('k', 'v');
	my @c = map { $n->client(20) } 1 .. $count;
	$_->cmd('mn') for @c;    # it has been accepted, too
	my $before = $n->stats('latency')->{turns};
	$n->freeze;
	$_->put("get k\r\n") for @c;
	$n->thaw;
	my @wrong = grep { $_ ne "VALUE k 0 1\r\nv\r\n" } map { $_->read_values } @c;
	all_ok(\@wrong, "$count clients ask at the same time: all are answered");
	cmp_ok($n->stats('latency')->{turns} - $before, '>=', int($count / $per_turn), 'a turn has a bounded number of them');
	$n->kill9;
}

# ---- a server that does not sleep at once ----------------------------------------------

{
	my $n = node(args => ['-m', '32', '-o', 'busy_poll=100000']);
	$n->start;
	$n->set('k', 'v');
	my $turns = sub { return $n->stats('latency')->{turns} };
	my $before = $turns->();
	my ($cpu, $since) = (-1, now());
	wait_ok { my $ms = $n->cpu_ms; ($cpu, $since) = ($ms, now()) if $ms != $cpu; now() - $since > 0.3 } 'busy_poll: it sleeps after a while';
	cmp_ok($turns->() - $before, '>', 100, 'and was awake until then');
	$n->kill9;
}

# ---- uploads that halt -------------------------------------------------------------------

{
	my $n = node(args => ['-m', '32', '-I', '4m']);
	$n->start;
	my @c = map { my $c = $n->client; $c->put("set up$_ 0 0 4000000\r\n" . 'u' x 3_000_000); $c } 1 .. 6;
	wait_ok { my $conns = $n->c->stats('conns'); 6 == grep { $_ eq 'conn_nread' } values %$conns } 'six uploads of 3 MB, unfinished';
	my $live = $n->client(30);
	$live->put("set live 0 0 4000000\r\n");
	my $sent = 0;
	wait_ok {
		if ($sent < 3_900_000) {
			$live->put('l' x 20_000);
			$sent += 20_000;
		}
		$n->set('tick', 'v' x 100); # whoever stores looks for those who have halted
		$n->stat('uploads_dropped') >= 2;
	} 'what has come to a halt and takes more than its share is given up', 30;
	$live->put('l' x (4_000_000 - $sent) . "\r\n");
	is($live->line, 'STORED', 'one that goes on is not');
	is($n->set('other', 'v'), 'STORED', 'others store meanwhile');
	cmp_ok(scalar(grep { push_bytes($_, 'u') && push_bytes($_, 'u') } @c), '<=', 6, 'who was given up is closed');
	$n->kill9;
}

# ---- turns ---------------------------------------------------------------------------------

{
	my $n = node(args => ['-R', '5']);
	$n->start;
	$n->set('k', 'v' x 100);
	my $greedy = $n->client(60);
	my $quick = $n->client;
	my $count = 100_000;
	my $child = spawn { $greedy->put("get k\r\n" x $count . "mn\r\n"); return 0 };
	my ($rounds, $done) = (0, 0);
	my $reader = spawn { 1 while ($greedy->line // 'MN') ne 'MN'; return 0 };
	wait_for { $quick->cmd('version'); $rounds++; $n->stat('cmd_get') >= $count } 60;
	cmp_ok($rounds, '>', 5, '-R: a client with one request at a time gets its turn while another has thousands');
	cmp_ok($n->stat('conn_yields'), '>', 100, 'who has many yields');
	kill 'KILL', $child, $reader;
	$n->kill9;
}

# ---- who does not read -----------------------------------------------------------------------

{
	my $n = node(args => ['-m', '64']);
	$n->start;
	$n->set('large', 'v' x 100_000);
	my $rss = $n->rss;
	my @c = map { my $c = $n->client; $c->put("get large\r\n" x 200); $c } 1 .. 10;
	is($n->get('large'), 'v' x 100_000, 'ten that do not read 20 MB each: others are served');
	my $cpu = $n->cpu;
	my $until = now() + 1;
	wait_for { now() > $until } 3;
	cmp_ok($n->cpu - $cpu, '<=', 20, 'no spinning');
	cmp_ok($n->rss - $rss, '<', 10 * 512, 'and little memory for each (KiB)') if memory_counts($n->pid);
	is(length $c[0]->read_values, length("VALUE large 0 100000\r\n") + 100_002, 'who reads later gets all') for 1 .. 3;
	$n->kill9;
}

# ---- the end -----------------------------------------------------------------------------------

for my $way ('USR1', 'shutdown graceful') {
	my $n = node(args => ['-A']);
	$n->start;
	my ($idle, $busy) = map { my $c = $n->client; $c->cmd('version'); $c } 1 .. 2;
	$busy->put("set half 0 0 10\r\n12345");
	wait_ok { grep { $_ eq 'conn_nread' } values %{ $n->c->stats('conns') } } "$way: an upload has begun";
	if ($way eq 'USR1') { $n->signal('USR1') } else { $n->client->put("shutdown graceful\r\n") }
	wait_ok { $idle->is_closed } "$way: who is idle is closed";
	ok(!eval { $n->client(1); 1 }, "$way: nobody new is taken");
	$busy->put("67890\r\n");
	is($busy->line, 'STORED', "$way: what was begun is finished");
	my $began = now();
	is($n->wait_end(10 * slow_factor()), 0, "$way: exit 0");
	cmp_ok(now() - $began, '<', 0.8 * slow_factor(), "$way: as soon as the last client is served");
}
{
	my $n = node();
	$n->start;
	my $c = $n->client;
	$c->put("set never 0 0 10\r\n12345");
	wait_ok { grep { $_ eq 'conn_nread' } values %{ $n->c->stats('conns') } } 'an upload that never ends';
	$n->signal('USR1');
	is($n->wait_end(10 * slow_factor()), 0, 'does not keep the daemon from its end');
}
{
	my ($one, $two) = pair(args => ['-o', 'repl_ack=60000,repl_timeout=600000,repl_drain=60000']);
	$two->freeze;
	my ($c, $idle) = map { $one->client(60) } 1 .. 2;
	$idle->cmd('version');
	$c->put("set k 0 0 1\r\nv\r\n");
	wait_ok { $one->stats('replication')->{ack_waiting} } 'repl_ack: a reply waits for the peer';
	$one->signal('TERM');
	wait_ok { $idle->is_closed } 'SIGTERM: others are closed';
	ok(!$c->is_closed, 'who waits for the peer is not');
	$two->thaw;
	is($c->line, 'STORED', 'and gets the answer when the peer has it');
	is($one->wait_end(20 * slow_factor()), 0, 'exit 0');
	is($two->get('k'), 'v', 'it was true');
	$two->kill9;
}
{
	my ($one, $two) = pair(args => ['-o', 'repl_ack=60000,repl_timeout=600000,repl_drain=300']);
	$two->freeze;
	my $c = $one->client(60);
	$c->put("set k 0 0 1\r\nv\r\n");
	wait_ok { $one->stats('replication')->{ack_waiting} } 'a reply waits for a peer that does not come back';
	$one->signal('TERM');
	is($one->wait_end(20 * slow_factor()), 0, 'SIGTERM: not longer than repl_drain');
	is($c->until_closed, '', 'there is no answer');
	like($one->log, qr/may lack what it has not acknowledged/, 'the log says what is not sure');
	$two->thaw;
	$two->kill9;
}

done_testing();
