#!/usr/bin/perl
# memcached-repl-status says what is wrong with a pair, and only then: against real
# pairs in the states that real pairs get into, and against children that say of
# themselves what is hard to bring about.
# Manual: doc/memcached-repl-status.1.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use MemcachedPair;
use Test::More;

my $tool = abs_path("$FindBin::Bin/../memcached-repl-status");
plan skip_all => 'memcached-repl-status is not here' if !-x $tool;

my @name = qw(OK WARNING CRITICAL UNKNOWN);
my ($out, $err);

# ---- running it ------------------------------------------------------------------

sub place { my ($n) = @_; return ref $n ? $n->addr . ':' . $n->port : $n }

# says(level, qr/what its first line says/, name, arguments; nodes stand for their places)
sub says
{
	my ($level, $re, $name, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	(my $code, $out, $err) = run_daemon_to_end($^X, $tool, map { place($_) } @args);
	my ($first) = split /\n/, $out;
	$first = '' if !defined $first;
	my $good = defined $code && $code eq $level && $first =~ /^REPLICATION $name[$level]: / && $first =~ $re && $err eq '';
	ok($good, $name) or diag 'exit ' . (defined $code ? $code : 'none') . ", wanted $level and $re\n$out$err";
	return $good;
}

# A row of the table: its cells.
sub row
{
	my ($name) = @_;
	my ($line) = $out =~ /^\Q$name\E  +(.*)$/m or return '';
	return join '|', split /  +/, $line;
}

# ---- a well pair -----------------------------------------------------------------

my ($one, $two) = pair(args => ['-m', '32']);
is($one->set("k$_", 'v'), 'STORED', "key $_") for 1 .. 3;
wait_ok { $two->get('k3') } 'on both';

says(0, qr/MASTER and .* SLAVE, lag 0\/0 ms, 3\/3 items \| 'lag /, 'a well pair', $one, $two);
is(row('role'), 'MASTER|SLAVE', 'the table: roles');
is(row('link'), 'up|up', 'the table: link');
is(row('items'), '3|3', 'the table: items');
is(row('node'), join('|', reverse split /\|/, row('peer')), 'the table: each is the other\'s peer');
is(row('lost below'), 'nothing|nothing', 'the table: nothing is lost');
unlike($out, qr/!/, 'the table: no marks');
says(0, qr/SLAVE and .* MASTER/, 'the other way round', $two, $one);
says(0, qr/lag 0\/0 ms/, 'in one line', '-q', $one, $two);
is($out =~ tr/\n//, 1, 'it is one');
says(0, qr/SLAVE and .* MASTER/, 'the other is found by itself', $two);
says(0, qr/MASTER and .* SLAVE/, 'from either side', $one);
{
	my ($x, $y) = pair(b_args => ['-o', 'repl_listen=127.0.0.9']);
	says(0, qr/only this side was asked/, 'or it is not, when its clients go elsewhere', $x);
	says(3, qr/nothing was probed/, 'no probe with one side', '-p', $x);
	$_->kill9 for $x, $y;
}

# ---- probing ---------------------------------------------------------------------

my @before = map { $_->stat('curr_items') } $one, $two;
says(0, qr/probe [\d.]+\/[\d.]+ ms .*'probe .* to .*'=[\d.]+ms;1000;5000;0/, 'probes', '-p', $one, $two);
is(scalar(() = $out =~ /^probe from \S+ to \S+ [\d.]+ ms$/mg), 2, 'one each way');
is_deeply([map { $_->stat('curr_items') } $one, $two], \@before, 'nothing is left behind');
says(2, qr/probe from \S+ to \S+ took \d+ ms/, 'probes have thresholds', '-p', '-w', '0', '-c', '0', $one, $two);

# ---- what is no pair -------------------------------------------------------------

says(3, qr/are the same daemon/, 'the same daemon twice', $one, $one);
my $off = node(name => 'off', addr => '127.0.0.3', port => $one->port);
$off->start;
says(2, qr/127\.0\.0\.3:\d+ has no replication/, 'replication is off', $off);
says(2, qr/127\.0\.0\.3:\d+ has no replication/, 'on one of two', $one, $off);
is(row('role'), 'MASTER|-', 'the table has a place for it');
$off->kill9;
{
	my ($x, $y) = pair();
	says(2, qr/is paired with another than/, 'two of different pairs', $one, $x);
	like(row('peer'), qr/ !!\|.* !!/, 'marked');
	$y->kill9;
	wait_ok { $x->stat('repl_link') ne 'up' } 'one of the other pair is gone';
	says(2, qr/has no link.*is paired with another/, 'one of a pair, and one alone', $one, $x);
	is(row('link'), 'up|down !!', 'marked, too');
	$x->kill9;
}

# ---- one side is gone ------------------------------------------------------------

$two->freeze;
says(2, qr/no answer within 0\.3 s/, 'one is stopped', '-t', '0.3', $one, $two);
is(row('items'), '3|?', 'what is known is shown');
$two->thaw;
$two->kill9;
wait_ok { $one->stat('repl_link') ne 'up' } 'one is killed';
says(2, qr/Connection refused.*has no link/, 'so it says', $one, $two);
says(2, qr/has no link/, 'the same, asking one', $one);
says(2, qr/Connection refused/, 'the same, asking the other', $two);
says(2, qr/no link/, 'nothing is probed then', '-p', $one, $two);
$one->kill9;
says(2, qr/refused.*refused/, 'both are gone', $one, $two);

# ---- what one of them cannot take; counters of the last run ------------------------

($one, $two) = pair(b_args => ['-I', '100k']);
my $state = tmp_dir() . '/state';
is($one->set('big', 'x' x 200_000), 'STORED', 'an item that is too large for the other');
is($one->set('small', 'x'), 'STORED', 'and one that is not');
wait_ok { $two->get('small') } 'which is there';
says(1, qr/: 1 not stored/, 'not stored', $one, $two);
is(row('not stored'), '0|1 !', 'marked');
says(1, qr/numbers of items differ: 2 and 1/, 'numbers of items differ', '-i', '0', $one, $two);
is(row('items'), '2 !|1 !', 'marked');
says(1, qr/: 1 not stored/, 'with a file: the first time', '-S', $state, $one, $two);
says(0, qr/items/, 'with a file: the second time', '-S', $state, $one, $two);
$one->freeze;
says(2, qr/no answer/, 'with a file: one is stopped', '-t', '0.3', '-S', $state, $one, $two);
$one->thaw;
wait_ok { $one->stat('repl_link') eq 'up' && $two->stat('repl_link') eq 'up' } 'it goes on';
says(0, qr/items/, 'with a file: nothing was forgotten', '-S', $state, $one, $two);
is($one->set('big2', 'x' x 200_000), 'STORED', 'once more');
wait_ok { $two->stat('repl_not_stored') == 2 } 'not stored';
says(1, qr/: 1 not stored since the last run/, 'with a file: what is new', '-S', $state, $one, $two);
says(3, qr/no such file or directory/i, 'with a file: that cannot be', '-S', tmp_dir() . '/no/state', $one, $two);
$_->kill9 for $one, $two;

# ---- the network between them --------------------------------------------------------

{
	my ($port, $link) = (free_port(), free_port());
	my %common = (port => $port, link_port => $link, args => ['-o', 'repl_timeout=60000,repl_tombstones=16']);
	($one, $two) = (node(name => 'A', addr => '127.0.0.1', %common), node(name => 'B', addr => '127.0.0.2', peer => '127.0.0.3', %common));
	$one->start;
	my $net = proxy(addr => '127.0.0.3', port => $link, to_addr => '127.0.0.1', to_port => $link);
	$two->start;
	MemcachedPair::wait_pair($one, $two);

	$net->mode('stall');
	is($one->set('k', 'v'), 'STORED', 'a write that does not travel');
	wait_ok { $one->stat('repl_lag_ms') > 100 } 'lag';
	says(1, qr/lag of 127\.0\.0\.1:\d+ is \d+ ms/, 'lag, WARNING', '-w', '50', '-c', '600000', $one, $two);
	like(row('lag'), qr/^\d+ ms !\|\d+ ms/, 'marked');
	says(2, qr/lag of 127\.0\.0\.1:\d+ is \d+ ms/, 'lag, CRITICAL', '-w', '20', '-c', '50', $one, $two);
	like(row('lag'), qr/^\d+ ms !!\|/, 'marked twice');
	says(2, qr/probe from \S+ to \S+ not there after 0\.3 s/, 'a probe that does not arrive', '-p', '-t', '0.3', $one, $two);
	like($out, qr/^probe from \S+ to \S+ lost$/m, 'so it says below, too');
	is($one->stat('curr_items'), 1, 'it is gone where it was written');

	$net->mode('refuse');
	wait_ok { $_->stat('repl_link') ne 'up' } $_->name . ' is alone' for $one, $two;
	says(2, qr/both are MASTER, apart from each other/, 'both are MASTER', $one, $two);
	is(row('role'), 'MASTER !!|MASTER !!', 'marked');
	my $c = $one->client;
	$c->talk(join '', map { "delete nothing_like_it_$_\r\n" } 1 .. 2000);
	cmp_ok($one->stat('repl_lost_below'), '>', 0, 'deletes are forgotten');
	says(2, qr/no link.*has lost tombstones.*\d+ tombstones lost/, 'so it says', $one, $two);
	like(row('tombstones lost'), qr/^\d+ !\|0$/, 'marked');
	like(row('lost below'), qr/^\d+ !\|nothing$/, 'marked');
	$net->mode('pass');
	wait_ok { $one->in_sync && $two->in_sync && !$one->stat('repl_lost_below') } 'a pair again';
	says(1, qr/^REPLICATION WARNING: 127\.0\.0\.1:\d+: \d+ tombstones lost/, 'that is all that is left to say', $one, $two);
	$_->kill9 for $one, $two;
}

# ---- other ways to a daemon ------------------------------------------------------------

{
	my $path = tmp_dir() . '/a.sock';
	my $n = node(name => 'u', unix => $path, link_port => free_port());
	$n->start;
	says(2, qr/\Q$path\E has no link/, 'a Unix socket', $path);
	$n->kill9;
	says(2, qr/\Q$path\E: /, 'that nobody listens on', $path);
}
SKIP: {
	my $port = free_port();
	my $n = node(name => 'six', addr => '::1', port => $port, link_port => free_port());
	skip 'no IPv6', 1 if !eval { $n->start(may_clash => 1) };
	says(2, qr/\Q[::1]:$port\E has no link/, 'IPv6', "[::1]:$port");
	$n->kill9;
}

# ---- what is hard to bring about --------------------------------------------------------

my ($id_a, $id_b) = ('a' x 16, 'b' x 16);
my %stats = (version => '2.0.0', uptime => 100, curr_items => 1000, evictions => 0, replication => 'MASTER');
my %repl = (
	role => 'MASTER', node_id => $id_a, peer_node_id => $id_b, peer => '127.0.0.1:9', link => 'up', mode => 'live', peer_mode => 'live',
	lag_ms => 0, lag_bytes => 0, tombstones => 0, clock_offset_ms => 0, conflicts_won => 0, conflicts_lost => 0, refused => 0,
	not_stored => 0, tombs_lost => 0, lost_below => 0, reconnects => 0,
);

# A child that answers each line by what the code returns of it; where it listens.
sub server
{
	my ($answer) = @_;
	my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 8, Proto => 'tcp') or die "listen: $!";
	spawn {
		while (my $c = $l->accept) {
			$c->autoflush(1);
			while (defined(my $line = <$c>)) {
				my $text = $answer->($line =~ s/\r?\n//r);
				last if !defined $text;
				print $c $text;
			}
		}
		return 0;
	};
	return '127.0.0.1:' . $l->sockport;
}

sub claims
{
	my (%different) = @_;
	my %of = (stats => {%stats}, 'stats replication' => {%repl});
	my $ahead = delete $different{ahead} || 0;
	for my $key (keys %different) {
		my $which = exists $repl{$key} ? 'stats replication' : 'stats';
		$of{$which}{$key} = $different{$key};
	}
	return server(
		sub {
			my $these = $of{ $_[0] } or return "ERROR\r\n";
			$of{stats}{time} = int now() + $ahead;
			return join '', (map { "STAT $_ $these->{$_}\r\n" } sort keys %$these), "END\r\n";
		});
}

my %slave = (role => 'SLAVE', replication => 'SLAVE', node_id => $id_b, peer_node_id => $id_a);
my $master = claims();

sub slave_says
{
	my ($level, $re, $name, %different) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return says($level, $re, $name, $master, claims(%slave, %different));
}

slave_says(0, qr/1000\/1000 items/, 'two that say all is well');
slave_says(1, qr/versions differ: 2\.0\.0 and 2\.1\.0/, 'versions differ', version => '2.1.0');
is(row('version'), '2.0.0 !|2.1.0 !', 'marked');
slave_says(0, qr/lag/, 'a small clock offset', clock_offset_ms => -300);
slave_says(1, qr/clock differs from \S+ by -1500 ms/, 'clock offset, WARNING', clock_offset_ms => -1500);
is(row('clock offset'), '0 ms|-1500 ms !', 'marked');
slave_says(2, qr/by 70000 ms/, 'clock offset, CRITICAL', clock_offset_ms => 70_000);
slave_says(1, qr/the clocks of \S+ and \S+ differ by \d+ s/, 'a clock that was set meanwhile', ahead => 60);
slave_says(1, qr/is behind with sending: walk, overload/, 'overload', mode => 'walk, overload');
like(row('sends'), qr/^live\|walk, overload !$/, 'marked');
slave_says(1, qr/has not got everything yet: walk/, 'a copy under way', peer_mode => 'walk');
slave_says(2, qr/both say that they are MASTER/, 'two masters on one link', role => 'MASTER', replication => 'MASTER');
slave_says(2, qr/is paired with another than/, 'not each other\'s peer', peer_node_id => 'c' x 16);
slave_says(2, qr/has no link: handshake/, 'one says that there is no link', link => 'handshake');
slave_says(1, qr/: 7 refused/, 'refused', refused => 7);
slave_says(1, qr/numbers of items differ: 1000 and 800/, 'numbers of items', curr_items => 800);
slave_says(0, qr/1000\/950/, 'numbers of items, nearly the same', curr_items => 950);
slave_says(1, qr/^REPLICATION WARNING: \S+ has not got everything yet/, 'items are not counted while they are copied', curr_items => 0, peer_mode => 'walk');
slave_says(1, qr/lag of \S+ is 1000 ms/, 'lag at the threshold', lag_ms => 1000);
slave_says(0, qr/lag 0\/999 ms/, 'lag below it', lag_ms => 999);
says(1, qr/lag of .*; .* 1 refused/, 'all in one line', '-q', $master, claims(%slave, lag_ms => 2000, refused => 1));
slave_says(2, qr/CRITICAL: \S+ has no link; .*versions differ/, 'the worst comes first', link => 'down', refused => 1, version => '1');

# During a move the other side is a repcached, which says next to nothing.
my $old = server(sub { return $_[0] eq 'stats' ? "STAT version 1.4.13\r\nSTAT uptime 9\r\nSTAT curr_items 1000\r\nSTAT evictions 0\r\n"
	. "STAT replication MASTER\r\nSTAT repcached_version 2.3.1\r\nEND\r\n" : "ERROR\r\n" });
my %beside = (link_protocol => 'repcached', peer_node_id => '0' x 16, clock_offset_ms => 70_000);
$repl{link_protocol} = 'REPL/1';
says(0, qr/SLAVE and \S+ a repcached, lag 0 ms, 1000\/1000 items/, 'beside a repcached', claims(%slave, %beside), $old);
is(row('role'), 'SLAVE|a repcached', 'the table says so');
is(row('peer'), 'a repcached|-', 'and who is the peer');
is(row('link speaks'), 'repcached|-', 'and what is spoken');
is(row('clock offset'), 'not told|-', 'nobody knows its clock');
is(row('items'), '1000|1000', 'how many items it has is known');
says(0, qr/SLAVE of a repcached at 127\.0\.0\.1:9 \(only this side was asked\)/, 'only ours was asked', claims(%slave, %beside));
says(3, qr/is a repcached, which says nothing of its link/, 'only the repcached was asked', $old);
says(2, qr/is a repcached, and \S+ is paired with another/, 'ours has another peer', $master, $old);
says(2, qr/has no link/, 'ours has no link to it', claims(%slave, link => 'down', link_protocol => 'none'), $old);
slave_says(2, qr/is paired with a repcached, not/, 'two of ours, and one has a repcached', %beside);

says(2, qr/has no replication/, 'another memcached', server(sub { return $_[0] eq 'stats' ? "STAT version 1.6\r\nEND\r\n" : "ERROR\r\n" }));
says(2, qr/does not speak/, 'something else', server(sub { return "HTTP/1.1 400 Bad Request\r\n\r\n" }));
says(2, qr/closed the connection/, 'one that closes', server(sub { return }));
says(2, qr/no answer within 0\.2 s/, 'one that says nothing', '-t', '0.2', server(sub { return '' }));
says(2, qr/no answer within 0\.2 s/, 'one that stops in the middle', '-t', '0.2', server(sub { return "STAT version 1\r\nSTAT" }));
says(2, qr/does not speak/, 'one that goes on and on', server(sub { return 'x' x 5_000_000 }));
says(2, qr/probe from \S+ to \S+: \S+: it said 'ERROR'/, 'a probe that is not taken', '-p', $master, claims(%slave));

# ---- options ---------------------------------------------------------------------------

sub bad_usage
{
	my ($re, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($code, $said, $help) = run_daemon_to_end($^X, $tool, @args);
	my $good = defined $code && $code eq '3' && $said =~ /^REPLICATION UNKNOWN: / && $said =~ $re && $help =~ /^usage: /;
	return ok($good, "wrong: '@args'") || diag "$code\n$said$help";
}

bad_usage(qr/one or two hosts/);
bad_usage(qr/one or two hosts/, qw(a b c));
bad_usage(qr/Unknown option/, '-z', 'a');
bad_usage(qr/thresholds/, qw(-w 10 -c 5 a));
bad_usage(qr/thresholds/, qw(-w -1 a));
bad_usage(qr/invalid/, qw(-w x a));
bad_usage(qr/-t must be/, qw(-t 0 a));
bad_usage(qr/percentage/, qw(-i 101 a));
bad_usage(qr/is not HOST/, 'a:0');
bad_usage(qr/is not HOST/, 'a:70000');
bad_usage(qr/is not HOST/, '');

my ($code, $help) = run_daemon_to_end($^X, $tool, '-h');
is($code, 0, '-h');
my @long = $help =~ /^  -\w, (--\w+)/mg;
my $manual = slurp("$FindBin::Bin/../doc/memcached-repl-status.1") =~ s/\\//gr;
all_ok([grep { $manual !~ /\Q$_\E/ } @long, row_names()], 'the manual has every option, and every row of the table');

sub row_names
{
	my $fake = claims(link => 'down');
	my (undef, $table) = run_daemon_to_end($^X, $tool, $fake);
	return $table =~ /^([a-z]+(?: [a-z]+)*)  +\S/mg;
}

done_testing();
