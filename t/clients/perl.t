#!/usr/bin/perl
# Perl's Cache::Memcached against a pair.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use MemcachedPair;
use Test::More;

plan skip_all => 'Cache::Memcached is not installed' if !eval { require Cache::Memcached; 1 };

my ($one, $two) = pair(args => ['-m', '64']);
my @clients = map { Cache::Memcached->new({ servers => [$_->addr . ':' . $_->port] }) } $one, $two;

for my $way ([@clients, 'master to slave'], [reverse(@clients), 'slave to master']) {
	my ($x, $y, $name) = @$way;
	my $object = { list => [1 .. 50], text => 'x' x 5000 };
	ok($x->set('object', $object), "$name: set of an object");
	wait_ok { my $got = $y->get('object'); $got && @{ $got->{list} } == 50 && $got->{text} eq $object->{text} } "$name: get on the other";
	ok($x->set("k$_", $_), "$name: set k$_") for 1 .. 5;
	wait_ok { keys %{ $y->get_multi(map { "k$_" } 1 .. 5) } == 5 } "$name: get_multi on the other";
	ok(!$y->add('k1', 'x'), "$name: add of an old key");
	ok($y->replace('k1', 'y'), "$name: replace");
	wait_ok { ($x->get('k1') || '') eq 'y' } "$name: and back";
	$x->set('n', 5);
	is($x->incr('n', 6), 11, "$name: incr");
	is($x->decr('n', 1), 10, "$name: decr");
	wait_ok { ($y->get('n') || '') =~ /^10/ } "$name: on the other";
	ok($x->delete('object'), "$name: delete");
	wait_ok { !defined $y->get('object') } "$name: gone on the other";
	ok($x->set('brief', 'v', 1), "$name: a second to live");
	wait_ok { !defined $x->get('brief') && !defined $y->get('brief') } "$name: gone on both";
	my $stats = $x->stats(['misc']);
	ok($stats->{total}{cmd_get} || (values %{ $stats->{hosts} })[0]{misc}{cmd_get}, "$name: stats");
	ok($x->flush_all, "$name: flush_all");
	wait_ok { !defined $y->get('k2') } "$name: flushed on the other";
	# Let it not hide what the other direction stores.
	wait_ok { $x->set('again', 1) && $y->get('again') } "$name: and it goes on";
}

done_testing();
