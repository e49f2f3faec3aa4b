#!/usr/bin/perl
# libmemcached's programs against a pair: its conformance test, and files written
# through one side and read through the other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my %path = map { $_ => find_program($_) } qw(memccapable memccp memccat memcrm memcexist memctouch memcstat memcslap memcaslap memcping memcflush);
plan skip_all => 'libmemcached-tools is not installed' if !grep { defined } values %path;

# Its UDP goes to the port of TCP.
my ($one, $two) = pair(args => ['-m', '128'], udp => 1);
my @both = map { $_->addr . ':' . $_->port } $one, $two;

sub with
{
	my ($program, $checks, $code) = @_;
	SKIP: {
		Test::More::skip("$program is not installed", $checks) if !$path{$program};
		$code->();
	}
	return;
}

for my $case (map { ([$_, '-a'], [$_, '-b']) } $one, $two) {
	my ($n, $protocol) = @$case;
	with('memccapable', 2, sub {
		my ($code, $said) = run_program(60, $path{memccapable}, '-h', $n->addr, '-p', $n->port, $protocol, '-t', '10');
		is($code, 0, "memccapable $protocol on the " . lc $n->role) or diag $said;
		my @passed = $said =~ /^((?:ascii|binary) .*?)\s+\[pass\]/mg;
		my @failed = $said =~ /^(.*?)\s+\[(?:FAIL|fail)[^\]]*\]/mg;
		all_ok(\@failed, 'all ' . @passed . ' of its tests pass');
	});
}

for my $way ([$both[0], $both[1], $two], [$both[1], $both[0], $one]) {
	my ($write, $read, $reader) = @$way;
	my $name = "$write to $read";
	my ($small, $large) = map { tmp_dir() . "/$_" } qw(small.txt large.bin);
	for my $file ([$small, "a line\nanother\n"], [$large, 'large ' x 100_000]) {
		open my $fh, '>', $file->[0] or die $!;
		print $fh $file->[1];
		close $fh;
	}
	with('memccp', 2, sub {
		my ($code, $said) = run_program(20, $path{memccp}, "--servers=$write", $small, $large);
		is($code, 0, "memccp, $name") or diag $said;
		wait_ok { defined $reader->get('small.txt') && defined $reader->get('large.bin') } "$name: both files arrived";
	});
	with('memccat', 3, sub {
		my ($code, $said) = run_program(20, $path{memccat}, "--servers=$read", 'small.txt');
		is($code, 0, "memccat, $name");
		is($said, "a line\nanother\n\n", 'the same text') if $said =~ /\n\n\z/;
		is($said, "a line\nanother\n", 'the same text') if $said !~ /\n\n\z/;
		my $out = tmp_dir() . '/out.bin';
		run_program(20, $path{memccat}, "--servers=$read", "--file=$out", 'large.bin');
		is(slurp($out), slurp($large), 'the same large file');
	});
	with('memcexist', 1, sub { is((run_program(20, $path{memcexist}, "--servers=$read", 'small.txt'))[0], 0, "memcexist, $name") });
	with('memctouch', 1, sub { is((run_program(20, $path{memctouch}, "--servers=$read", '--expire=1000', 'small.txt'))[0], 0, "memctouch, $name") });
	with('memcrm', 2, sub {
		is((run_program(20, $path{memcrm}, "--servers=$write", 'small.txt', 'large.bin'))[0], 0, "memcrm, $name");
		wait_ok { !defined $reader->get('small.txt') && !defined $reader->get('large.bin') } "$name: gone on both";
	});
}

with('memcping', 1, sub { is((run_program(20, $path{memcping}, "--servers=$both[0]"))[0], 0, 'memcping') });
with('memcstat', 3, sub {
	my ($code, $said) = run_program(20, $path{memcstat}, "--servers=$both[0],$both[1]");
	is($code, 0, 'memcstat') or diag $said;
	like($said, qr/curr_items: \d+/, 'prints the items');
	like($said, qr/replication: (?:MASTER|SLAVE)/, 'and the role');
});
with('memcslap', 4, sub {
	for my $test (qw(set get mget)) {
		my ($code, $said) = run_program(60, $path{memcslap}, "--servers=$both[0]", "--test=$test", '--concurrency=5', '--execute-number=500', '--initial-load=500');
		is($code, 0, "memcslap --test=$test") or diag $said;
	}
	wait_ok { $two->stat('curr_items') == $one->stat('curr_items') } 'both sides hold as many items', 20;
});
for my $variant ('text', 'binary', 'udp') {
	my @option = $variant eq 'text' ? () : "--$variant";
	with('memcaslap', 3, sub {
		my @command = ($path{memcaslap}, "--servers=$both[0]", '--threads=1', '--concurrency=16', '--execute_number=20000', '--verify=1.0', '--fixed_size=200', @option);
		my ($code, $said);
		# By UDP it gives a reply up after a while, and falls over it when it comes
		# late, as it may where the processor is busy.
		for (1 .. 5) {
			($code, $said) = run_program(60, @command);
			last if $variant ne 'udp' || $said !~ /ms_sort_udp_packet: Assertion/;
		}
		is($code, 0, "memcaslap, $variant") or diag $said;
		like($said, qr/cmd_get: [1-9]\d+.*verify_misses: 0\nverify_failed: 0/s, 'every value was there and right') or diag $said;
		wait_ok { $two->stat('curr_items') == $one->stat('curr_items') } 'both sides hold as many items', 20;
	});
}
with('memcflush', 2, sub {
	is((run_program(20, $path{memcflush}, "--servers=$both[1]"))[0], 0, 'memcflush on the slave');
	wait_ok { $one->set('k', 'v') eq 'STORED' && ($two->get('k') || '') eq 'v' } 'both go on';
});

done_testing();
