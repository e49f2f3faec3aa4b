#!/usr/bin/perl
# A third daemon on the link port of a pair: refused with one clear line on both
# sides, the pair is undisturbed; when there is room it is taken.
# Contract: section 1 (U12, U6).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedLoad;
use MemcachedPair;
use Test::More;

my ($one, $two) = pair();
my $load = writer(nodes => [$one], prefix => 'calm', keys => 200);
my @log_before = split /\n/, $one->log;
my $links_before = have_proc() ? join ',', map { "@$_" } grep { $_->[0] == $one->link_port } established($one->pid) : '';

my $third = node(name => 'third', addr => '127.0.0.3', port => $one->port, link_port => $one->link_port, peer => $one->addr);
$third->start(wait => 0);
my $refusal = qr/refus|another peer|already (?:has|have|connected|linked)|third/i;
wait_ok { lines_like($third->log, $refusal) } 'the third is told', 10;
wait_ok { lines_like($one->log, $refusal) } 'and the master says so', 10;
diag "third: $_" for grep { $ENV{T_VERBOSE} } lines_like($third->log, $refusal);
diag "master: $_" for grep { $ENV{T_VERBOSE} } lines_like($one->log, $refusal);

# It keeps trying; that must not become a flood on either side.
my $began = now();
wait_for { now() > $began + 3 } 5;
my $seconds = now() - $began + 2;
my @on_master = split /\n/, $one->log;
cmp_ok(scalar(@on_master) - @log_before, '<=', 1 + $seconds, 'at most a line a second on the master');
cmp_ok(scalar(split /\n/, $third->log), '<=', 6 + $seconds, 'and on the third');
is(scalar(split /\n/, $two->log) - scalar(lines_like($two->log, qr/./)), 0, 'the slave\'s log has no empty lines');
unlike($two->log, $refusal, 'the slave has nothing to say about it');

ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'the pair is a pair');
is(join(',', map { "@$_" } grep { $_->[0] == $one->link_port } established($one->pid)), $links_before, 'on the same connection') if have_proc();
is($one->role, 'MASTER', 'with the same master');
is($two->role, 'SLAVE', 'and the same slave');
ok($third->alive, 'the third one lives');
is($third->get('calm1'), undef, 'and got nothing') if $third->serves;

my $report = $load->finish;
is($report->{moves}, 0, 'clients noticed nothing');
cmp_ok($report->{slowest}, '<', 2 * slow_factor(), 'nobody waited');
same_on_both($one, $two, [map { "calm$_" } 0 .. 199], 'both equal');

# When the slave goes, the third takes its place.
ok(defined $two->kill9, 'the slave is killed');
ok(eval { MemcachedPair::wait_pair($one, $third, 20) }, 'the third becomes the peer') or diag $@;
same_on_both($one, $third, [map { "calm$_" } 0 .. 199], 'and is filled');

# And now the old slave is the third.
ok($two->start(wait => 0), 'the old slave starts again');
wait_ok { lines_like($two->log, $refusal) } 'and is told', 10;
ok(eval { MemcachedPair::wait_pair($one, $third, 5) }, 'the pair is undisturbed');

# A daemon that is told to connect to itself says so and goes on alone.
my ($port, $link) = (free_port(), free_port());
my $narcissus = node(name => 'self', addr => '127.0.0.1', port => $port, link_port => $link, peer => '127.0.0.1');
ok($narcissus->start, 'connected to itself: it serves');
wait_ok { lines_like($narcissus->log, qr/itself|own|self/i) } 'and says so', 10;
is($narcissus->set('k', 'v'), 'STORED', 'and stores');

done_testing();
