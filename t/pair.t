#!/usr/bin/perl
# The user's scenario, word for word: two command lines, a key each way, who
# listens where, and every way of losing and getting back one of the two.
# Contract: doc/replication.txt section 1 (U1-U7).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my ($port, $link) = (free_port(), free_port());

sub command_line
{
	my ($addr, @more) = @_;
	my @user = $> == 0 ? qw(-u root) : ();
	return [qw(-d -m 100 -l), $addr, '-p', $port, @user, qw(-c 1024), @more, '-X', $link, '-P', 'PIDFILE'];
}

sub daemon_at
{
	my ($name, $addr, @more) = @_;
	return node(
		name => $name, addr => $addr, port => $port, link_port => $link, detach => 1,
		argv => command_line($addr, @more),
	);
}

sub travels
{
	my ($from, $to, $key, $value, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($from->set($key, $value, 5), 'STORED', "$name: stored");
	return wait_ok { ($to->get($key) || '') eq $value } "$name: seen on the other", 5;
}

my $one = daemon_at('a', '127.0.0.1');
my $two = daemon_at('b', '127.0.0.2', '-x', '127.0.0.1');

ok($one->start, 'the master starts');
listens_ok($one, [$port, $link], 'the master alone listens for clients and for a peer');
is($one->role, 'MASTER', 'and calls itself so');
is($one->set('before', 'x' x 50), 'STORED', 'a key set before the slave exists');

ok($two->start, 'the slave starts');
is($two->get('before'), 'x' x 50, 'the slave has everything before it opens its port');
travels($one, $two, 'dd', 'ddd', 'dd, master to slave');
travels($two, $one, 'ee', 'eee', 'ee, slave to master');
listens_ok($one, [$port, $link], 'the master still listens on both');
listens_ok($two, [$port], 'the slave listens for clients only');
is($two->role, 'SLAVE', 'and calls itself slave');

# The master dies.
ok(defined $one->kill9, 'the master is killed');
wait_ok { $two->role eq 'MASTER' } 'the slave becomes master';
listens_ok($two, [$port, $link], 'and listens on the link port');
is($two->get('dd'), 'ddd', 'what the dead one stored is there');
is($two->set('ff', 'fff'), 'STORED', 'and it goes on serving');

# The dead one comes back without -x: both have no -x to each other but b has.
ok($one->start, 'the old master starts again without -x');
MemcachedPair::wait_pair($one, $two);
values_on_both($one, $two, { before => 'x' x 50, dd => 'ddd', ee => 'eee', ff => 'fff' }, 'it got everything back');
same_on_both($one, $two, [qw(before dd ee ff)], 'with the same flags and CAS unique');
travels($one, $two, 'gg', 'ggg', 'gg, old master to new');
travels($two, $one, 'hh', 'hhh', 'hh, new master to old');

# Once more, this time it comes back with -x.
ok(defined $one->kill9, 'it is killed again');
wait_ok { $two->role eq 'MASTER' } 'the other is master again';
ok($one->start(argv => command_line('127.0.0.1', '-x', '127.0.0.2')), 'it starts with -x');
MemcachedPair::wait_pair($one, $two);
values_on_both($one, $two, { before => 'x' x 50, dd => 'ddd', ff => 'fff', gg => 'ggg', hh => 'hhh' }, 'everything is back again');
roles_ok($one, $two, "one master, one slave");
{
	my ($slave) = grep { $_->role eq 'SLAVE' } $one, $two;
	listens_ok($slave, [$port], 'the slave listens for clients only');
}

# The slave dies, the master goes on and takes the next.
for my $round (1, 2) {
	my ($master) = grep { $_->role eq 'MASTER' } $one, $two;
	my ($slave) = grep { $_ != $master } $one, $two;
	ok(defined $slave->kill9, "round $round: the slave is killed");
	is($master->set("alone$round", 'still here'), 'STORED', 'the master goes on');
	listens_ok($master, [$port, $link], 'and waits for a new peer');
	ok($slave->start(argv => command_line($slave->addr, '-x', $master->addr)), 'the next one comes');
	is($slave->get("alone$round"), 'still here', 'and is filled before it opens its port');
	travels($master, $slave, "to$round", 'there', 'master to slave');
	travels($slave, $master, "back$round", 'back', 'slave to master');
}

# A slave whose master is not there serves and is found later.
ok($_->stop, $_->name . ' ends on SIGTERM') for $one, $two;
ok($two->start(argv => command_line('127.0.0.2', '-x', '127.0.0.1')), 'a slave starts without its master');
is($two->role, 'MASTER', 'it is master');
listens_ok($two, [$port, $link], 'and listens on both');
is($two->set('first', '1'), 'STORED', 'it serves');
ok($one->start(argv => command_line('127.0.0.1')), 'the other starts, without -x');
MemcachedPair::wait_pair($one, $two);
values_on_both($one, $two, { first => '1' }, 'and the survivor lost nothing');

ok($_->stop && !-e $_->pid_file, $_->name . ' removes its pid file') for $one, $two;

done_testing();
