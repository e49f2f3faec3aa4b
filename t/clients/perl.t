#!/usr/bin/perl
# Perl's Cache::Memcached and Cache::Memcached::Fast against a pair.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use MemcachedPair;
use Test::More;

my ($one, $two);

# Both have the same methods; Fast has more of them. A client for each side.
sub check_class
{
	my ($class) = @_;
	($one, $two) = pair(args => ['-m', '64']) if !$one;
	my @clients = map { $class->new({ servers => [$_->addr . ':' . $_->port] }) } $one, $two;
	play(@clients, "$class, master to slave");
	play(reverse(@clients), "$class, slave to master");
	return @clients;
}

sub play
{
	my ($x, $y, $name) = @_;
	my $object = { list => [1 .. 50], text => 'x' x 5000 };
	ok($x->set('object', $object), "$name: set of an object");
	wait_ok { my $got = $y->get('object'); $got && @{ $got->{list} } == 50 && $got->{text} eq $object->{text} } "$name: get on the other";
	my $large = join ' ', 1 .. 150_000;
	ok($x->set('large', $large), "$name: set of a megabyte");
	wait_ok { ($y->get('large') || '') eq $large } "$name: the same on the other";
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
	ok($x->flush_all, "$name: flush_all");
	wait_ok { !defined $y->get('k2') } "$name: flushed on the other";
	# Let it not hide what the other direction stores.
	wait_ok { $x->set('again', 1) && $y->get('again') } "$name: and it goes on";
	return;
}

SKIP: {
	skip 'Cache::Memcached is not installed', 1 if !eval { require Cache::Memcached; 1 };
	my ($x) = check_class('Cache::Memcached');
	my $stats = $x->stats(['misc']);
	ok($stats->{total}{cmd_get} || (values %{ $stats->{hosts} })[0]{misc}{cmd_get}, 'Cache::Memcached: stats');
}

SKIP: {
	skip 'Cache::Memcached::Fast is not installed', 1 if !eval { require Cache::Memcached::Fast; 1 };
	my ($x, $y) = check_class('Cache::Memcached::Fast');
	for my $way ([$x, $y, 'a to b', 'm'], [$y, $x, 'b to a', 'n']) {
		my ($from, $to, $name, $m) = @$way;
		$name = "Cache::Memcached::Fast, $name";
		is(scalar(grep { $_ } $from->set_multi(map { ["$m$_", "v$_", 1000] } 1 .. 100)), 100, "$name: set_multi");
		wait_ok { keys %{ $to->get_multi(map { "$m$_" } 1 .. 100) } == 100 } "$name: get_multi on the other";
		my $seen = $to->gets("${m}1");
		ok($to->cas("${m}1", $seen->[0], 'new'), "$name: cas with the unique seen there");
		wait_ok { ($from->get("${m}1") || '') eq 'new' } "$name: and back";
		ok(!$from->cas("${m}1", $seen->[0], 'newer'), "$name: and with the old one");
		ok($from->append("${m}2", '-b') && $from->prepend("${m}2", 'a-'), "$name: append, prepend");
		wait_ok { ($to->get("${m}2") || '') eq 'a-v2-b' } "$name: on the other";
		ok($from->touch("${m}2", 1), "$name: touch");
		is(($to->gat(1000, "${m}3") || '')  , 'v3', "$name: gat") if $to->can('gat');
		wait_ok { !defined $to->get("${m}2") } "$name: its second is over on the other, too";
		is(scalar(grep { $_ } $from->delete_multi("${m}3", "${m}4")), 2, "$name: delete_multi");
		wait_ok { !keys %{ $to->get_multi("${m}3", "${m}4") } } "$name: gone on the other";
		like((values %{ $from->server_versions })[0], qr/^\d/, "$name: server_versions");
	}
	$x->flush_all;
	$x->set('quiet', 1);
	$x->nowait_push;
}

plan skip_all => 'neither Cache::Memcached nor Cache::Memcached::Fast is installed' if !$one;
done_testing();
