#!/usr/bin/perl
# What an idle pair and idle connections cost: no measurable CPU, and less than a
# KiB of memory for each connection. T_CONNS=1000 for fewer connections.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

plan skip_all => 'no /proc: neither CPU nor memory can be looked at' unless have_proc();

my $conns = $ENV{T_CONNS} || 10_000;
my $seconds = $ENV{T_SECONDS} || 10;

# Both ends of each connection need a descriptor: try to get enough.
if (!$ENV{T_IDLE_RAISED}) {
	$ENV{T_IDLE_RAISED} = 1;
	exec 'sh', '-c', "ulimit -n " . ($conns + 200) . ' 2>/dev/null; exec "$@"', 'sh', $^X, $0 or die "exec: $!";
}
chomp(my $files_max = `sh -c 'ulimit -n'`);
if ($files_max =~ /^\d+$/ && $files_max < $conns + 100) {
	$conns = $files_max - 100;
	note "only $conns connections: no more descriptors";
}

my ($one, $two) = pair(args => ['-c', $conns + 200]);

# ---- CPU -----------------------------------------------------------------------

$one->set("k$_", 'v' x 100) for 1 .. 1000;
MemcachedPair::wait_pair($one, $two);
{
	# Whatever came with the last writes is over when a second brings nothing more.
	my ($ticks, $since) = (-1, now());
	wait_for {
		my $sum = $one->cpu + $two->cpu;
		($ticks, $since) = ($sum, now()) if $sum != $ticks;
		now() - $since > 1
	} 10;
}
my ($before_one, $before_two) = ($one->cpu_ms, $two->cpu_ms);
my $until = now() + $seconds;
# Nothing to look at meanwhile: looking costs them nothing, but asking would.
select undef, undef, undef, $until - now() while now() < $until;
for my $case ([$one, $before_one], [$two, $before_two]) {
	my ($n, $before) = @$case;
	cmp_ok($n->cpu_ms - $before, '<=', $seconds * slow_factor(), $n->name . ": no measurable CPU in $seconds s of idleness (ms: a thousandth)");
}
ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'a pair still');

# ---- connections ---------------------------------------------------------------

sub open_idle
{
	my ($count) = @_;
	my @c;
	for (1 .. $count) {
		my $c = eval { $one->client } or last;
		push @c, $c;
		# Each has been served, so that whatever a session needs it has had.
		next if @c % 100;
		$_->put("get k1\r\n") for @c[-100 .. -1];
		$_->read_values for @c[-100 .. -1];
	}
	return @c;
}

my $curr = $one->stat('curr_connections');
my @first = open_idle(200);
my $rss = $one->rss;
my $more = $conns - 200;
my @rest = open_idle($more);
is(scalar @rest, $more, "$more more connections") or diag "only " . scalar @rest;
my $bytes = ($one->rss - $rss) * 1024 / (@rest || 1);
cmp_ok($bytes, '<', 1024, sprintf 'each costs %.0f bytes', $bytes) if memory_counts($one->pid);
cmp_ok($one->stat('curr_connections'), '>=', $curr + $conns - 1, 'and is counted');

my $cpu = $one->cpu;
$until = now() + 2;
select undef, undef, undef, $until - now() while now() < $until;
cmp_ok($one->cpu - $cpu, '<=', 2, 'idle connections cost no CPU (ticks in 2 s)');
$rest[$_]->put("get k2\r\n") for 0, -1;
like($rest[$_]->read_values, qr/^VALUE k2 /, 'they still work') for 0, -1;

$_->close for @first, @rest;
wait_ok { $one->stat('curr_connections') <= $curr + 1 } 'they are forgotten when they go';
cmp_ok($one->rss - $rss, '<', $more, 'and their memory can be used again (KiB)') if memory_counts($one->pid);
is($one->get('k3'), 'v' x 100, 'the daemon serves');

done_testing();
