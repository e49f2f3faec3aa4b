#!/usr/bin/perl
# The binary protocol over sockets and on a pair: which connections speak it (-B),
# pipelines in pieces, large values, keys that no line can hold: on the peer, in
# lists of keys, and beside a repcached. doc/protocol.txt section 3; what every
# opcode does to the peer is in matrix.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use BinaryClient;
use FakeRepcached;
use MemcachedPair;
use Test::More;

sub binary_client { my ($n) = @_; return BinaryClient->new($n->client) }

# ---- which protocol ---------------------------------------------------------------

my $noop = packet(NOOP, opaque => 7);
for my $case (['auto', 1, 1], ['ascii', 1, 0], ['binary', 0, 1]) {
	my ($choice, $text, $binary) = @$case;
	my $n = node(unix => tmp_dir() . "/$choice.sock", args => ['-B', $choice]);
	$n->start(wait => 0);
	wait_for { !$n->alive || $n->serves };
	my $c = $n->client;
	$c->put("version\r\n");
	my $said = $text ? $c->line : $c->until_closed;
	like($said, $text ? qr/^VERSION/ : qr/^$/, "-B $choice: " . ($text ? 'text' : 'no text'));
	my $b = binary_client($n);
	$b->client->put(packet(GET, key => "x\r\n"));
	my $r = $binary ? $b->reply : $b->client->line;
	is($binary ? $r->{status} : $r, $binary ? 1 : 'ERROR', "-B $choice: " . ($binary ? 'binary' : 'a packet is a line'));
	my $settings = $text ? $n->stats('settings') : binary_client($n)->stats('settings');
	like($settings->{binding_protocol}, qr/^$choice/, 'stats settings says so');
	$n->stop;
}

# ---- a pair -----------------------------------------------------------------------

my ($one, $two) = pair(args => ['-m', '64']);
my ($b1, $b2) = map { binary_client($_) } $one, $two;

# Quiet commands and a fence, sent in pieces of every size up to a packet's.
my $pipeline = join '',
	packet(SETQ, key => 'q', value => '5', extras => storing(3)),
	packet(ADDQ, key => 'q', value => 'x', extras => storing(), opaque => 1),
	packet(INCRQ, key => 'q', extras => counting(2)),
	packet(GETKQ, key => 'q', opaque => 2),
	packet(GETQ, key => 'none'),
	packet(DELETEQ, key => 'none', opaque => 3),
	packet(APPENDQ, key => 'q', value => '0'),
	packet(PREPENDQ, key => 'none', value => '0', opaque => 4),
	packet(GET, key => 'q', opaque => 5),
	packet(DELETEQ, key => 'q'),
	packet(NOOP, opaque => 6);
my @wrong;
for my $size (1 .. 40, 100, length $pipeline) {
	my $b = binary_client($one);
	$b->client->put($_) for unpack "(a$size)*", $pipeline;
	my $said = join ' ', map { my $r = $b->reply; "$r->{opaque}:$r->{status}:$r->{key}$r->{value}" } 1 .. 6;
	$said =~ s/Not found|Not stored\.|Data exists for key\.//g;
	push @wrong, "$size: $said" if $said ne '1:2: 2:0:q7 3:1: 4:5: 5:0:70 6:0:';
}
all_ok(\@wrong, 'a quiet pipeline in pieces of any size');

# What one says is what the other has, with the same CAS unique; text sees it, too.
my $r = $b1->ask(SET, key => 'k', value => 'v', extras => storing(0xdeadbeef, 1000));
ok($r->{status} == 0 && $r->{cas} > 0, 'SET');
my $seen;
wait_ok { $seen = $b2->ask(GET, key => 'k'); $seen->{value} eq 'v' } 'GET on the other';
is($seen->{cas}, $r->{cas}, 'the same CAS unique');
is(unpack('N', $seen->{extras}), 0xdeadbeef, 'the same flags');
is($two->c->gets('k')->{flags}, 0xdeadbeef, 'text shows the same');
is($b2->ask(SET, key => 'k', value => 'w', extras => storing(), cas => $r->{cas})->{status}, 0, 'compared and stored there');
wait_ok { $one->get('k') eq 'w' } 'and back';
is($b1->ask(SET, key => 'k', value => 'x', extras => storing(), cas => $r->{cas})->{status}, 2, 'where the old one no longer compares');

my $large = join '', map { chr(33 + $_ % 90) } 1 .. 900_000;
is($b1->ask(SET, key => 'large', value => $large, extras => storing())->{status}, 0, 'a large value');
wait_ok { my $g = $b2->ask(GET, key => 'large'); $g->{status} == 0 && $g->{value} eq $large } 'the same on the other';
is($b1->ask(SET, key => 'large', value => $large x 2, extras => storing())->{status}, 3, 'too large');
wait_ok { $b2->ask(GET, key => 'large')->{status} == 1 } 'the old one is gone on both';

# ---- keys that no line can hold ---------------------------------------------------

my @keys = ("with blank", "two\r\nlines", "set x 0 0 1\r\n1\r\nget x", "\0\1\2", "\xff\x80", ' ' x 250, 'x' x 250);
for my $key (@keys) {
	$b1->ask(SET, key => $key, value => "of $key", extras => storing());
}
wait_ok { $b2->ask(GET, key => $keys[-1])->{status} == 0 } 'seven keys';
@wrong = grep { my $g = $b2->ask(GETK, key => $_); $g->{key} ne $_ || $g->{value} ne "of $_" } @keys;
is(scalar @wrong, 0, 'are on the other, whatever their bytes');
my $c = $one->client;
$c->put("lru_crawler metadump all\r\n");
my $dump = $c->until_end;
like($dump, qr/^key=two%0D%0Alines /m, 'a list of keys encodes them');
is(scalar(() = $dump =~ /\n/g), 2 + 8, 'a line each');
$c->put("lru_crawler mgdump all\r\n");
$dump = $c->until_end('EN');
like($dump, qr/^mg dHdvDQpsaW5lcw== b\r$/m, 'and so does the other list');
$b1->ask(DELETE, key => $_) for @keys;
wait_ok { !grep { $b2->ask(GET, key => $_)->{status} != 1 } @keys } 'and gone from there';

# ---- the peer is waited for -------------------------------------------------------

{
	my ($x, $y) = pair(args => ['-m', '64', '-o', 'repl_ack=5000']);
	my ($bx, $by) = map { binary_client($_) } $x, $y;
	my @late;
	for my $i (1 .. 50) {
		$bx->put(SETQ, key => "a$i", value => 'v', extras => storing());
		$bx->put(DELETEQ, key => 'a' . ($i - 1)) if $i > 1;
		$bx->ask(NOOP);
		push @late, $i if $by->ask(GET, key => "a$i")->{status} || ($i > 1 && !$by->ask(GET, key => 'a' . ($i - 1))->{status});
	}
	all_ok(\@late, 'repl_ack: what is quiet is on the peer when NOOP is answered');
	$_->stop for $x, $y;
}

# ---- beside a repcached -----------------------------------------------------------

{
	my ($port, $link) = (free_port(), free_port());
	my $n = node(addr => '127.0.0.1', port => $port, link_port => $link, args => ['-m', '64', '-o', 'repl_compat=repcached,repl_accept=any']);
	my $old = FakeRepcached->new(addr => '127.0.0.2', port => $link);
	$n->start;
	my $b = binary_client($n);
	$b->ask(SET, key => $_, value => "of $_", extras => storing()) for 'before', $keys[2];
	wait_ok { $old->is_linked || $old->connect('127.0.0.1') } 'a repcached connects';
	wait_ok { $old->pump; $old->{copied} } 'and gets its copy';
	$b->ask(SET, key => $_, value => "of $_", extras => storing()) for @keys, 'after';
	$b->ask(DELETE, key => $_) for @keys;
	$b->ask(SET, key => 'last', value => 'x', extras => storing());
	wait_ok { $old->pump; $old->get('last') } 'it reads on';
	is($old->{dead}, undef, 'and has not been sent what would end it');
	is(join(' ', map { "$_=" . ($old->get($_) || '') } qw(before after x)), 'before=of before after=of after x=', 'nor has it obeyed a key');
	cmp_ok($n->stat('repl_not_carried'), '>=', 4, 'what no line can carry is counted');
	$old->stop;
	$n->stop;
}

$_->stop for $one, $two;
done_testing();
