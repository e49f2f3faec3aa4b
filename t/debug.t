#!/usr/bin/perl
# memcached-debug: a clock that tests can move, items that they can hold. Expiry, a
# flush that waits and a pair, without waiting. doc/protocol.txt section 1.13.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my $debug = binary() . '-debug';
plan skip_all => "$debug is not built" if !-x $debug;

# ---- not in the other one ---------------------------------------------------------------

my $n = node(args => ['-m', '16']);
$n->start;
is($n->client->cmd($_), 'ERROR', "memcached: $_") for 'debugtime p', 'debugtime 5', 'debugitem ref a', 'debugitem lock a';
$n->stop;

# ---- one server --------------------------------------------------------------------------

$n = node(args => ['-m', '16'], binary => $debug);
$n->start;
my $c = $n->client;
is($c->cmd('debugtime p'), 'OK', 'the clock stops');
my $time = $c->stats->{time};
$c->set('brief', 'x', 0, 100);
$c->set('long', 'x', 0, 10000);
is($c->cmd('debugtime 99'), 'OK', '99 seconds later');
is($c->get('brief'), 'x', 'what expires after 100 is there');
is($c->cmd('debugtime 1'), 'OK', 'one more');
is($c->get('brief'), undef, 'and it is not');
is($c->get('long'), 'x', 'another one is');
is($c->stats->{time} - $time, 100, 'time in the statistics');
cmp_ok($c->stats->{uptime}, '>=', 100, 'and uptime');
is($c->cmd('flush_all 50'), 'OK', 'a flush in 50 seconds');
$c->cmd('debugtime 49');
is($c->get('long'), 'x', 'not yet');
$c->cmd('debugtime 1');
is($c->get('long'), undef, 'now');
is($c->cmd('debugtime r'), 'OK', 'the clock goes on');
$time = $c->stats->{time};
wait_ok { $c->stats->{time} > $time } 'it does';
$c->set("expires$_", 'x', 0, 1000) for 1 .. 50;
$c->cmd('debugtime 1000');
wait_ok { $c->stats->{curr_items} == 0 } 'what expired is reclaimed, unasked';

$c->set('k', 'old');
is($c->cmd('debugitem ref k'), 'OK', 'an item is held');
is($c->cmd('debugitem ref none'), 'MISS', 'one that is not there is not');
$c->set('k', 'new');
is($c->get('k'), 'new', 'writing goes on');
is($c->cmd('debugitem unref reffed'), 'OK', 'let go');
is($c->cmd('debugitem lock k'), 'OK', 'locked');
is($c->get('k'), 'new', 'reading goes on, too');
is($c->cmd('debugitem unlock k'), 'OK', 'unlocked');
is($c->cmd('debugitem lock k'), 'OK', 'locked when it ends');
ok($n->stop, 'which is a good end') or diag $n->log;

# ---- a pair -----------------------------------------------------------------------------------

my ($one, $two) = pair(args => ['-m', '16'], binary => $debug);
my $links = $one->client->stats('replication')->{links};
$one->set('brief', 'x', 0, 500);
$one->set('long', 'x', 0, 100000);
wait_ok { defined $two->get('brief') && defined $two->get('long') } 'on both';
is($one->client->cmd('debugtime 500'), 'OK', '500 seconds on one');
is($one->get('brief'), undef, 'where it has expired');
is($two->get('brief'), 'x', 'the other goes by its own clock');
is($two->client->cmd('debugtime 500'), 'OK', '500 seconds on the other');
is($two->get('brief'), undef, 'where it has expired, too');
wait_pair($one, $two);
is($one->client->stats('replication')->{links}, $links, 'the link has not noticed');

is($two->client->cmd('flush_all 300'), 'OK', 'a flush in 300 seconds');
wait_pair($one, $two);
is($one->get('long'), 'x', 'not yet');
$_->client->cmd('debugtime 301') for $one, $two;
is($_->get('long'), undef, 'now, on ' . $_->{name}) for $one, $two;
wait_pair($one, $two);
is($one->client->stats('replication')->{links}, $links, 'it is still the same link');
$_->stop for $one, $two;

done_testing();
