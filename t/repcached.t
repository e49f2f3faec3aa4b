#!/usr/bin/perl
# A pair is moved from repcached to this daemon and back, a host at a time, and
# loses nothing: -o repl_compat=repcached, doc/replication.txt section 11. The
# repcached is played by the test (lib/FakeRepcached.pm): it dies of any line that
# the real one would have to answer. What strangers get that only look like one.
# T_KEYS: how many keys are moved, default 3000.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use FakeRepcached;
use MemcachedPair;
use Test::More;

my $keys = $ENV{T_KEYS} || 3000;
my @addr = ('127.0.0.1', '127.0.0.2');
my ($port, $link) = (free_port(), free_port());

sub fake { return FakeRepcached->new(addr => $addr[$_[0]], port => $link) }

# One of ours on a host; the other host is its peer.
sub ours
{
	my ($host, %o) = @_;
	my $compat = exists $o{compat} ? $o{compat} : 'repcached';
	return node(
		name => 'AB' =~ /^.{$host}(.)/ ? $1 : '', addr => $addr[$host], port => $port, link_port => $link,
		peer => $o{alone} ? undef : $addr[1 - $host],
		args => ['-m', '64', $compat ? ('-o', "repl_compat=$compat") : (), @{ $o{args} || [] }],
	);
}

# Wait for something while the fakes do their part.
sub with
{
	my ($fakes, $condition, $name, $seconds) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $met = wait_for { $_->pump for @$fakes; $condition->() } $seconds;
	my @dead = grep { defined } map { $_->{dead} } @$fakes;
	diag "  a repcached has died: $_" for @dead;
	return ok($met && !@dead, $name);
}

# Start one of ours that needs the fake for its first copy.
sub start_beside
{
	my ($node, $fake, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->start(wait => 0);
	return with([$fake], sub { $node->serves }, $name);
}

my %all;    # what everybody is to have

sub value_of { return "value of $_[0] " . 'x' x ($_[0] =~ /(\d+)$/ ? $1 % 97 : 0) }

sub fake_has_all
{
	my ($fake, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @wrong;
	wait_for {
		$fake->pump;
		@wrong = grep { ($fake->get($_) // 'a miss') ne $all{$_} } sort keys %all;
		!@wrong || $fake->{dead};
	};
	my @more = grep { !exists $all{$_} } keys %{ $fake->{cache} };
	return all_ok([@wrong, map({ "$_ is too many" } @more), $fake->{dead} || ()], $name);
}

sub ours_have_all
{
	my ($nodes, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return values_on_both($nodes->[0], $nodes->[-1], \%all, $name);
}

# ---- from repcached to ours --------------------------------------------------------

my $old_a = fake(0)->listen;
for my $n (1 .. $keys) {
	$all{"old$n"} = value_of("old$n");
	$old_a->set("old$n", $all{"old$n"}, $n, $n % 3 ? 0 : 2000000000);
}
my $large = $all{large} = 'L' x 700_000;
$old_a->set('large', $large);
$all{empty} = '';
$old_a->set('empty', '');

my $right = ours(1);
start_beside($right, $old_a, 'one of ours starts as the slave of a repcached');
is($right->role, 'SLAVE', 'and says so');
ours_have_all([$right], 'it had everything when it opened its port');
is($right->c->gets('old7')->{flags}, 7, 'with flags');
is($right->stats('replication')->{link_protocol}, 'repcached', 'stats tell with whom it speaks');
is($old_a->{obeyed}, 0, 'the repcached was not sent a word');

$all{b1} = 'from b';
is($right->set('b1', 'from b', 5), 'STORED', 'a write of ours');
with([$old_a], sub { ($old_a->get('b1') || '') eq 'from b' }, 'is seen there');
$all{a1} = 'from a';
$old_a->set('a1', 'from a', 6);
with([$old_a], sub { ($right->get('a1') || '') eq 'from a' }, 'one of theirs is seen here');
$right->c->cmd('delete old1');
$old_a->delete('old2');
delete @all{qw(old1 old2)};
with([$old_a], sub { !defined $old_a->get('old1') && !defined $right->get('old2') }, 'deletes travel both ways');
$right->c->cmd('touch old5 2000000000');
with([$old_a], sub { $old_a->{cache}{old5}{exp} == 2000000000 }, 'a touch travels');
$all{n} = 42;
$right->set('n', 41);
is($right->c->cmd('incr n 1'), '42', 'incr, append');
$right->c->cmd("append old4 0 0 1\r\n!");
$all{old4} .= '!';
fake_has_all($old_a, 'both have the same');

$old_a->stop;
wait_ok { $right->role eq 'MASTER' } 'the repcached is stopped: ours is master';
my $left = ours(0);
ok($left->start, 'one of ours takes its place');
wait_pair($left, $right);
is($left->stats('replication')->{link_protocol}, 'REPL/1', 'the two know each other');
ours_have_all([$left, $right], 'and have everything');
same_on_both($left, $right, [sort keys %all], 'the same, byte for byte');
is($right->stats('replication')->{lost_below}, 0, 'nothing is in doubt');

# ---- and back ----------------------------------------------------------------------

$all{pair} = 'p';
$left->set('pair', 'p');
wait_ok { ($right->get('pair') || '') eq 'p' } 'a write to the pair';
ok($left->stop, 'one of ours is stopped');
wait_ok { $right->role eq 'MASTER' } 'the other is master';
my $new_a = fake(0);
wait_ok { $new_a->connect($addr[1]) } 'a repcached takes its place: it connects and says nothing';
with([$new_a], sub { $new_a->{copied} == 1 }, 'it gets its full copy');
fake_has_all($new_a, 'which is complete');
is($new_a->{cache}{old7}{flags}, 7, 'with flags');
is($new_a->{cache}{old6}{exp}, 2000000000, 'and expiry');
$all{a2} = 'again';
$new_a->set('a2', 'again');
with([$new_a], sub { ($right->get('a2') || '') eq 'again' }, 'its writes are seen here');

# The stop of ours waits until everything is written, however late it is read.
for my $n (1 .. 500) {
	$all{"late$n"} = 'l' x 1000;
	$right->c->set("late$n", $all{"late$n"});
}
$right->signal('TERM');
with([$new_a], sub { !$right->alive }, 'the last of ours is stopped', 15);
with([$new_a], sub { $new_a->{listener} }, 'the repcached is alone');
fake_has_all($new_a, 'and has everything');
my $new_b = fake(1);
$new_b->connect($addr[0]);
with([$new_a, $new_b], sub { $new_b->{copied} }, 'a pair of repcached again');
fake_has_all($new_b, 'nothing was lost');
$new_b->stop;

# ---- apart and together --------------------------------------------------------------

$right = ours(1);
$new_a->pump;
start_beside($right, $new_a, 'ours again beside a repcached');
$new_a->stop;
wait_ok { $right->role eq 'MASTER' } 'they are parted';
$all{meanwhile} = 'b';
$all{old8} = 'newer';
$right->set('meanwhile', 'b');
$right->set('old8', 'newer');
$all{there} = 'a';
$new_a->set('there', 'a');
$new_a->listen;
with([$new_a], sub { $new_a->is_linked && ($right->get('there') || '') eq 'a' }, 'ours connects again by itself');
fake_has_all($new_a, 'the repcached has got what was written here meanwhile');
ours_have_all([$right], 'and ours what was written there');

# It does not read for a while; much is written.
for my $round (1 .. 30) {
	$right->c->set("over$_", "$round" . 'o' x 20_000) for 1 .. 100;
}
$all{"over$_"} = '30' . 'o' x 20_000 for 1 .. 100;
fake_has_all($new_a, 'a repcached that did not read for a while');
$right->c->cmd('flush_all');
%all = (after => 'f');
$right->set('after', 'f');
fake_has_all($new_a, 'flush_all');
$new_a->flush_all;
$all{after} = 'g';
$new_a->set('after', 'g');
with([$new_a], sub { ($right->get('after') || '') eq 'g' }, 'flush_all of theirs');

# ---- what is none ----------------------------------------------------------------------

my $lines = () = lines_like($right->log, qr/malformed/);
$new_a->say("rep after 0 0 1\r\nget after\r\n");
wait_ok { $right->role eq 'MASTER' } 'malformed text: the link is closed';
is(scalar(() = lines_like($right->log, qr/malformed/)), $lines + 1, 'with one line in the log');
is($right->get('after'), 'g', 'and nothing of it is done');
$new_a->stop;
ok($right->stop, 'the end');

$right = ours(1, compat => undef, alone => 1);
ok($right->start, 'without the option');
$right->set('k', 'v');
my $silent = fake(1);
my $talks = fake(1);
ok($_->connect($addr[1]), 'it can connect') for $silent, $talks;
$talks->say("rep k 0 0 5 1\r\nwrong\r\n");
my $closed = sub { my $n = sysread $_[0]{link}, my $bytes, 100; return defined $n && $n == 0 };
wait_ok { $closed->($talks) } 'text is not understood: closed';
wait_ok { $closed->($silent) } 'silence is not an opening line: closed';
is($right->get('k'), 'v', 'and nothing was done');
ok($right->stop, 'the end');

my ($code, undef, $err) = run_daemon_to_end(binary(), '-X', $link, '-o', 'repl_compat=memcachedb');
is($code, 1, 'another make is not known');
like($err, qr/repl_compat must be repcached or none/, 'and it says so');
my $secret = tmp_dir() . '/secret';
open my $fh, '>', $secret or die;
print {$fh} "x" x 32;
close $fh;
chmod 0600, $secret;
($code, undef, $err) = run_daemon_to_end(binary(), '-X', $link, '-o', "repl_compat=repcached,repl_secret_file=$secret");
like($err, qr/exclude each other/, 'a repcached proves nothing: not with a secret');

done_testing();
