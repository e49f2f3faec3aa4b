#!/usr/bin/perl
# SIGSTOP of either side under load: the other goes on, at no more than its usual
# price, within its bound of memory; after SIGCONT both are equal.
# Contract: section 1 (U10), section 6 (overload).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my $keys = $ENV{T_KEYS} || 500;
my $writes = $ENV{T_WRITES} || 60_000;
my $buffer_mib = 4;
my $hz = eval { POSIX::sysconf(POSIX::_SC_CLK_TCK()) } || 100;

# Store the same keys over and over: far more bytes than the link may hold.
sub burst
{
	my ($n, $prefix) = @_;
	my $c = $n->client(60);
	my $number = 0;
	my $cpu = $n->cpu;
	my $pad = 'y' x 1000;
	while ($number < $writes) {
		my $batch = '';
		for (1 .. 500) {
			$number++;
			my $value = "$number $pad";
			$batch .= sprintf "set %s%d 7 0 %d noreply\r\n%s\r\n", $prefix, $number % $keys, length $value, $value;
		}
		$c->put($batch);
	}
	like($c->cmd('version'), qr/^VERSION/, $n->name . " takes $writes writes");
	return ($n->cpu - $cpu) / $hz;
}

sub stopped
{
	my ($still, $left, $name) = @_;
	my $usual = burst($left, 'warm');
	same_on_both($left, $still, [map { "warm$_" } 0 .. $keys - 1], "$name: equal before", 20);
	is($still->set('mine', $name), 'STORED', "$name: a write of the other side");
	wait_ok { ($left->get('mine') || '') eq $name } "$name: arrived";
	my $rss = $left->rss;

	$still->freeze;
	my $load = writer(nodes => [$left], prefix => 'calm', keys => $keys);
	my $price = burst($left, 'warm');
	is($left->c->cmd('delete mine'), 'DELETED', "$name: a delete while the peer is stopped");
	my $report = $load->finish;
	cmp_ok($report->{writes}, '>', 100, "$name: clients were served");
	cmp_ok($report->{slowest}, '<', 2 * slow_factor(), "$name: and never blocked");
	diag(sprintf "%s: slowest answer %.1f ms; CPU %.2f s, usually %.2f s", $name, 1000 * $report->{slowest}, $price, $usual)
		if $ENV{T_VERBOSE};
	cmp_ok($price, '<', 3 * $usual + 1.5, "$name: CPU seconds stay in bounds");
	cmp_ok($left->rss - $rss, '<', ($buffer_mib * 2 + 12) * 1024, "$name: memory stays in bounds (KiB)")
		if memory_counts($left->pid);

	# With nothing to do it does nothing: it does not spin on a full pipe.
	my $cpu = $left->cpu;
	my $until = now() + 1;
	wait_for { now() > $until } 2;
	cmp_ok($left->cpu - $cpu, '<=', 0.1 * $hz, "$name: no spinning on the stuck link");

	$still->thaw;
	my @names = ((map { ("warm$_", "calm$_") } 0 .. $keys - 1), 'mine');
	same_on_both($left, $still, \@names, "$name: equal after SIGCONT", 30);
	values_on_both($left, $still, { mine => undef }, "$name: what was deleted stays deleted");
	all_ok([$report->judge($_, 0)], "$name: " . $_->name . ' shows what was acknowledged') for $left, $still;
	return;
}

SKIP: {
	skip 'no /proc: neither CPU nor memory can be looked at', 1 unless have_proc();
	# The link survives the stop: silence is tolerated for a minute.
	my ($one, $two) = pair(args => ['-m', '64', '-o', "repl_buffer=$buffer_mib,repl_timeout=60000"]);
	stopped($two, $one, 'slave stopped');
	stopped($one, $two, 'master stopped');
	is($one->links, 1, 'the link is the same one') if have_proc();
	$_->kill9 for $one, $two;

	# Silence means dead after half a second: the other side is master meanwhile.
	($one, $two) = pair(args => ['-m', '64', '-o', "repl_buffer=$buffer_mib,repl_timeout=500"]);
	for my $case ([$one, $two], [$two, $one]) {
		my ($still, $left) = @$case;
		my $name = $still->name . ' silent for too long';
		is($still->set('old', 'value'), 'STORED', "$name: a key");
		wait_ok { ($left->get('old') || '') eq 'value' } "$name: on both";
		$still->freeze;
		wait_ok { $left->role eq 'MASTER' && $left->links == 0 } "$name: noticed", 10;
		is($left->set('new', 'value'), 'STORED', "$name: the other serves");
		is($left->c->cmd('delete old'), 'DELETED', "$name: deletes, too");
		$still->thaw;
		ok(eval { MemcachedPair::wait_pair($left, $still, 20) }, "$name: a pair again") or diag $@;
		one_link_ok($left, $still, "$name: one link");
		values_on_both($left, $still, { old => undef, new => 'value' }, "$name: the newer writes won");
	}
}

done_testing();
