#!/usr/bin/perl
# The lists of stats about keys: detail, sizes, cachedump, and the options that belong
# to them. doc/protocol.txt section 5.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

# All lines of an answer that ends with END.
sub list
{
	my ($c, $line) = @_;
	$c->put("$line\r\n");
	my @lines;
	while (defined(my $l = $c->line)) {
		return @lines if $l eq 'END';
		push @lines, $l;
	}
	return ('no END');
}

# ---- as it starts --------------------------------------------------------------------

my $n = node(args => ['-m', '16']);
$n->start;
my $c = $n->client;
is($c->stats('settings')->{detail_enabled}, 'no', 'prefixes are not counted at first');
is_deeply([list($c, 'stats sizes')], ['STAT sizes_status disabled'], 'nor sizes');
$c->get('a:1');
is_deeply([list($c, 'stats detail dump')], [], 'so there are none');
is($c->cmd('stats detail on'), 'OK', 'stats detail on');
is($c->stats('settings')->{detail_enabled}, 'yes', 'which stats settings shows');
$c->set('a:1', 'x');
$c->set('b:1', 'x');
$c->get($_) for qw(a:1 a:2 plain);
$c->cmd('delete b:1');
is_deeply([sort(list($c, 'stats detail dump'))],
	['PREFIX a get 2 hit 1 set 1 del 0', 'PREFIX b get 0 hit 0 set 1 del 1'], 'what was done to which prefix');
is($c->cmd('stats detail off'), 'OK', 'stats detail off');
$c->get('a:1');
is(scalar(grep { /^PREFIX a get 2 / } list($c, 'stats detail dump')), 1, 'it no longer counts');
is($c->cmd('stats detail'), 'CLIENT_ERROR usage: stats detail on|off|dump', 'a word is missing');

$c->cmd('flush_all');
$c->set("k$_", 'v' x $_) for 1 .. 3;
my @items = map { my $id = $_; list($c, "stats cachedump $id 0") } 1 .. 30;
is_deeply([sort @items], ['ITEM k1 [1 b; 0 s]', 'ITEM k2 [2 b; 0 s]', 'ITEM k3 [3 b; 0 s]'], 'cachedump has all items of all classes');
is($c->cmd('stats cachedump 1'), 'CLIENT_ERROR bad command line', 'cachedump without a limit');
is($c->cmd('stats cachedump 1 x'), 'CLIENT_ERROR bad command line format', 'and with a bad one');
is($c->cmd('stats cachedump 1000 0'), 'CLIENT_ERROR Illegal slab id', 'a class that cannot be');
is($c->cmd('stats sizes_enable'), 'ERROR', 'sizes_enable is no more');
$n->stop;

# ---- switched on, and refused ----------------------------------------------------------

$n = node(args => ['-m', '16', '-D', '/', '-o', 'track_sizes']);
$n->start;
$c = $n->client;
is_deeply([@{ $c->stats('settings') }{qw(detail_enabled stat_key_prefix track_sizes)}], ['yes', '/', 'yes'], '-D / -o track_sizes');
$c->set('dir/file:1', 'x' x 1000);
is_deeply([list($c, 'stats detail dump')], ['PREFIX dir get 0 hit 0 set 1 del 0'], '-D: another delimiter, and it counts');
my %size = map { /^STAT (\d+) (\d+)$/ ? ($1, $2) : ('bad', $_) } list($c, 'stats sizes');
is_deeply([values %size], [1], 'sizes: one item');
cmp_ok((keys %size)[0], '>=', 1010, 'of its size');
$c->cmd('delete dir/file:1');
is_deeply([list($c, 'stats sizes')], [], 'and none when it is gone');
$c->cmd('stats reset');
is_deeply([list($c, 'stats detail dump')], [], 'reset forgets prefixes');
$n->stop;

$n = node(args => ['-m', '16', '--disable-dumping']);
$n->start;
$c = $n->client;
is($c->cmd('stats detail dump'), 'CLIENT_ERROR stats detail not allowed', '--disable-dumping: detail');
is($c->cmd('stats cachedump 1 0'), 'CLIENT_ERROR stats cachedump not allowed', '--disable-dumping: cachedump');
$n->stop;

done_testing();
