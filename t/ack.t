#!/usr/bin/perl
# Acknowledged writes (-o repl_ack): a reply says that the peer has it, so the
# master can be killed at any moment and the survivor has everything that was
# answered. Contract: section 8; property P9.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use List::Util qw(max);
use MemcachedPair;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{T_ROUNDS} || 100;
my $writers = 3;
my $ack_ms = 20_000; # longer than any round: no reply goes out for want of patience

# ---- what a reply waits for ----------------------------------------------------

{
	my $p = proxy_pair();
	my ($one, $two, $proxy) = @$p;
	my $before = $one->stat('repl_ack_acked');
	is($one->set('k', 'v'), 'STORED', 'a write with a peer');
	is($two->get('k'), 'v', 'is on the peer when it is answered');
	cmp_ok($one->stat('repl_ack_acked'), '>', $before, 'and counted as acknowledged');

	$proxy->mode('stall');
	my $began = time();
	is($one->set('k', 'w'), 'STORED', 'a write that the peer does not see is answered');
	cmp_ok(time() - $began, '>=', 0.29, 'after repl_ack, not before');
	is($one->stat('repl_ack_timeouts'), 1, 'and counted');
	my $c = $one->client;
	is($c->get('k'), 'w', 'reads do not wait');
	$c->put("set quiet 0 0 1 noreply\r\nx\r\n");
	wait_ok { ($one->get('quiet') || '') eq 'x' } 'nor do writes without a reply';
	is($c->get('quiet'), 'x', 'which were done');
	is($one->stat('repl_ack_timeouts'), 1, 'which have nothing to wait with');
	$proxy->mode('refuse');
	wait_ok { $one->stat('repl_link') ne 'up' } 'link cut';
	$began = time();
	my @replies = map { $one->set("alone$_", 'v') } 1 .. 20;
	is_deeply(\@replies, [('STORED') x 20], 'writes without a peer');
	cmp_ok(time() - $began, '<', 20 * 0.3, 'do not wait for one');
	$_->stop for $one, $two;
}

# Two daemons whose link goes through a relay; the first waits 300 ms for ACKs.
sub proxy_pair
{
	my ($port, $link) = (free_port(), free_port());
	my $args = ['-o', 'repl_ack=300,repl_timeout=30000'];
	my $one = node(name => 'A', addr => '127.0.0.1', port => $port, link_port => $link, args => $args);
	my $two = node(name => 'B', addr => '127.0.0.2', port => $port, link_port => $link, peer => '127.0.0.3',
		args => $args);
	$one->start;
	my $proxy = proxy(addr => '127.0.0.3', port => $link, to_addr => '127.0.0.1', to_port => $link);
	$two->start;
	MemcachedPair::wait_pair($one, $two);
	return [$one, $two, $proxy];
}

# ---- commands that wait ----------------------------------------------------------

{
	my ($one, $two) = pair(args => ['-o', "repl_ack=$ack_ms"]);
	my $c = $one->client;
	my @cases = (
		["set a 0 0 1\r\n5\r\n", 'STORED', 'a', '5'],
		["add b 0 0 1\r\n1\r\n", 'STORED', 'b', '1'],
		["replace b 0 0 1\r\n2\r\n", 'STORED', 'b', '2'],
		["append b 0 0 1\r\n3\r\n", 'STORED', 'b', '23'],
		["prepend b 0 0 1\r\n1\r\n", 'STORED', 'b', '123'],
		["incr a 2\r\n", '7', 'a', '7'],
		["decr a 3\r\n", '4', 'a', '4'],
		["touch a 1000\r\n", 'TOUCHED', 'a', '4'],
		["delete a\r\n", 'DELETED', 'a', undef],
		["set c 0 -1 1\r\nx\r\n", 'STORED', 'c', undef],
		["set large 0 0 100000\r\n" . 'y' x 100_000 . "\r\n", 'STORED', 'large', 'y' x 100_000],
		["set n 0 0 1 noreply\r\nz\r\nset m 0 0 1\r\nz\r\n", 'STORED', 'n', 'z'],
		["flush_all\r\n", 'OK', 'b', undef],
	);
	for my $case (@cases) {
		my ($bytes, $reply, $key, $value) = @$case;
		my ($name) = $bytes =~ /^(\S+ \S+)/ ? $1 : 'flush_all';
		my $other = $two->client;
		$c->put($bytes);
		is($c->line, $reply, "$name is answered");
		my $seen = $other->get($key);
		ok(defined $value ? defined $seen && $seen eq $value : !defined $seen, "$name is on the peer by then");
	}
	my @many = map { "set p$_ 0 0 1\r\nv\r\nget p$_\r\nincr q 1\r\n" } 1 .. 200;
	is($c->set('q', '0'), 'STORED', 'a counter');
	$c->put(join '', @many);
	my @lines = map { $c->line } 1 .. 200 * 5;
	my @want = map { ('STORED', "VALUE p$_ 0 1", 'v', 'END', $_) } 1 .. 200;
	is_deeply(\@lines, \@want, 'a long pipeline is answered in order');
	is($two->get('q'), 200, 'and the peer has all of it');
	is($one->stat('repl_ack_timeouts'), 0, 'no wait ran out');
	$_->stop for $one, $two;
}

# ---- kill -9 ----------------------------------------------------------------------

# A child that writes through a node until it breaks and notes what was answered:
# per key the number acknowledged, and the highest one sent.
sub start_writer
{
	my ($node, $prefix) = @_;
	my $report = tmp_dir() . "/ack.$prefix";
	my $pid = MemcachedPair::spawn { write_until_it_breaks($node, $prefix, $report); return 0 };
	return { pid => $pid, report => $report };
}

sub write_until_it_breaks
{
	my ($node, $prefix, $report) = @_;
	my (%acked, %sent);
	my $number = 0;
	my $c = eval { $node->client(60) };
	while ($c) {
		my @batch = map { [$prefix . ($number + $_) % 50, $number + $_] } 1 .. 8;
		$number += 8;
		my $bytes = '';
		for my $i (0 .. $#batch) {
			my ($key, $n) = @{ $batch[$i] };
			$sent{$key} = $n;
			my $quiet = $i % 3 == 1 ? ' noreply' : '';
			$bytes .= "set $key 0 0 " . length($n) . "$quiet\r\n$n\r\n";
		}
		last if !eval { $c->put($bytes) };
		my $broken = 0;
		for my $i (grep { $_ % 3 != 1 } 0 .. $#batch) {
			my $line = eval { $c->line };
			$broken = 1, last if !defined $line || $line ne 'STORED';
			$acked{ $batch[$_][0] } = $batch[$_][1] for 0 .. $i; # the quiet ones before it too
		}
		last if $broken;
	}
	open my $f, '>', "$report.tmp" or die $!;
	print $f "$_ " . ($acked{$_} || 0) . " $sent{$_}\n" for keys %sent;
	close $f or die $!;
	rename "$report.tmp", $report or die $!;
	return;
}

# What the survivor lacks of what a writer was told.
sub judge
{
	my ($survivor, $w) = @_;
	my @wrong;
	my $answered = 0;
	MemcachedPair::reap($w->{pid}, 30);
	open my $f, '<', $w->{report} or return (0, "no report of a writer: $!");
	my @rows = map { [split] } <$f>;
	return (0) if !@rows; # killed before its first write
	my $has = $survivor->client->mget(map { $_->[0] } @rows);
	for my $row (@rows) {
		my ($key, $acked, $sent) = @$row;
		$answered = max($answered, $acked);
		my $value = $has->{$key} ? $has->{$key}{value} : undef;
		next if !$acked;
		push @wrong, "$key: $acked was acknowledged, " . ($value // 'nothing') . ' is there'
			if !defined $value || $value < $acked || $value > $sent;
	}
	return ($answered, @wrong);
}

{
	my ($master, $other) = pair(args => ['-o', "repl_ack=$ack_ms"]);
	my (@wrong, @idle);
	my $answered = 0;
	for my $round (1 .. $rounds) {
		my @w = map { start_writer($master, "r$round.$_.") } 1 .. $writers;
		my $start = $master->stat('repl_ack_acked');
		my $enough = 5 + MemcachedPair::random_u32() % 60;
		my $busy = wait_for { $master->stat('repl_ack_acked') - $start >= $enough } 30;
		push @idle, "round $round: no acknowledgements" if !$busy;
		$master->kill9;
		for my $w (@w) {
			my ($n, @lost) = judge($other, $w);
			$answered += $n;
			push @wrong, map { "round $round: $_" } @lost;
		}
		last if @wrong;
		$master->start(peer => $other->addr);
		MemcachedPair::wait_pair($master, $other, 20);
		($master, $other) = ($other, $master);
	}
	all_ok(\@idle, "$rounds times under load");
	all_ok(\@wrong, "$rounds times the master was killed: every acknowledged write is on the survivor");
	cmp_ok($answered, '>', 20 * $rounds, 'and there were many');
	$_->stop for $master, $other;
}

done_testing();
