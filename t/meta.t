#!/usr/bin/perl
# The meta commands on a pair: what one side makes of a key is seen with mg on the
# other, stale marks and keys in base64 too; who recaches is known to one node
# only; quiet pipelines, acknowledged ones, values of 1 MB.
# doc/protocol.txt section 2, doc/replication.txt sections 2 and 8.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my ($one, $two) = pair(args => ['-m', '64', '-o', 'repl_ack=' . 5000 * MemcachedPair::slow_factor()]);
my ($a, $b) = ($one->c, $two->c);

# What is said on one side (the reply comes when the other side has the change),
# and what mg then says on the other.
sub both
{
	my ($from, $to, $send, $reply, $read, $seen, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($from->talk($send), $reply, $name);
	return is(on_time($to->talk($read), $seen), $seen, "$name: seen on the other side");
}

# A second or more may have begun since the expiry was set: seconds left that are a
# little less than expected are as good.
sub on_time
{
	my ($got, $expected) = @_;
	my ($left) = $expected =~ / t(\d+)/;
	return $got if !defined $left || !defined $got;
	my $slack = 10 * MemcachedPair::slow_factor();
	$got =~ s/ t(\d+)/' t' . ($1 <= $left && $1 >= $left - $slack ? $left : $1)/e;
	return $got;
}

for my $way ([$a, $b, 'from one'], [$b, $a, 'from the other']) {
	my ($x, $y, $name) = @$way;
	both($x, $y, "ms k 5 T500 F77\r\nhello\r\n", "HD\r\n", "mg k v f t s\r\n", "VA 5 f77 t500 s5\r\nhello\r\n", "ms $name");
	both($x, $y, "ms k 1 MA\r\n!\r\n", "HD\r\n", "mg k v f t\r\n", "VA 6 f77 t500\r\nhello!\r\n", "append $name");
	both($x, $y, "mg k T1000 t\r\n", "HD t1000\r\n", "mg k t\r\n", "HD t1000\r\n", "mg that touches $name");
	both($x, $y, "md k x F5 T60\r\n", "HD\r\n", "mg k v f t\r\n", "VA 0 f5 t60\r\n\r\n", "md x $name");
	both($x, $y, "md k\r\n", "HD\r\n", "mg k\r\n", "EN\r\n", "md $name");
	both($x, $y, "ma n N0 J41\r\nma n v\r\n", "HD\r\nVA 2\r\n42\r\n", "mg n v t\r\n", "VA 2 t-1\r\n42\r\n", "ma $name");
	both($x, $y, "ma n MD D40 T90\r\n", "HD\r\n", "mg n v t\r\n", "VA 2 t90\r\n2 \r\n", "ma down $name");
	both($x, $y, "ms YSBiCg== 2 b\r\nab\r\n", "HD\r\n", "mg YSBiCg== b k v\r\n", "VA 2 kYSBiCg== b\r\nab\r\n", "a key that no line can hold $name");
	both($x, $y, "md YSBiCg== b\r\n", "HD\r\n", "mg YSBiCg== b\r\n", "EN\r\n", "its end $name");
	both($x, $y, "ms k 1\r\nx\r\n", "HD\r\n", "get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n", "ms, read as ever, $name");
	my ($cas) = $x->talk("mg k c\r\n") =~ /^HD c(\d+)/;
	is($y->talk("mg k c\r\n"), "HD c$cas\r\n", "the CAS unique is the same $name");
	both($y, $x, "ms k 1 C$cas\r\ny\r\n", "HD\r\n", "ms k 1 C$cas\r\nz\r\n", "EX\r\n", "and is compared $name");
	is($x->talk("ms k 1 E5\r\nx\r\nmg k v\r\n"), "CLIENT_ERROR CAS uniques cannot be chosen with replication on\r\nVA 1\r\ny\r\n",
		"nobody chooses one $name");
	$x->talk("md k\r\nmd n\r\n");
}

# Stale values: the mark travels, the winner does not.
both($a, $b, "ms s 3 T500\r\nold\r\nmd s I T100\r\n", "HD\r\nHD\r\n", "mg s v t\r\n", "VA 3 t100 X W\r\nold\r\n", 'a stale value');
is($a->talk("mg s v\r\nmg s v\r\n"), "VA 3 X W\r\nold\r\nVA 3 Z X\r\nold\r\n", 'each node tells one client to recache');
is($b->talk("mg s v\r\n"), "VA 3 Z X\r\nold\r\n", 'and the others that it is being done');
both($b, $a, "ms s 3\r\nnew\r\n", "HD\r\n", "mg s v\r\n", "VA 3\r\nnew\r\n", 'a new value is good on both');
my ($before) = $a->talk("mg s c\r\n") =~ /c(\d+)/;
both($a, $b, "ms s 3 T100\r\nmid\r\nms s 5 C$before I\r\nolder\r\n", "HD\r\nHD\r\n", "mg s v t\r\n", "VA 5 t100 X W\r\nolder\r\n", 'a value that was made from an old one');
both($a, $b, "mg made N100 v t\r\n", "VA 0 t100 W\r\n\r\n", "mg made v t\r\n", "VA 0 t100\r\n\r\n", 'a key made by a miss');
is($a->talk("mg made v\r\n"), "VA 0 Z\r\n\r\n", 'the node that made it knows that somebody fills it');
both($b, $a, "ms made 1\r\n1\r\n", "HD\r\n", "mg made v\r\n", "VA 1\r\n1\r\n", 'and it is filled from the other side');

# Large values, and quiet pipelines: what is said, and that all of it is there.
my $big = join '', map { sprintf '%07d ', $_ } 1 .. 125_000;
both($a, $b, "ms big " . length($big) . " k O1\r\n$big\r\n", "HD kbig O1\r\n", "mg big v s k O2\r\n", 'VA ' . length($big) . ' s' . length($big) . " kbig O2\r\n$big\r\n", 'a value of 1 MB');
is($b->talk("mg big v q\r\nmg big v q\r\nmg none v q\r\nmg big s\r\n"), ('VA ' . length($big) . "\r\n$big\r\n") x 2 . 'HD s' . length($big) . "\r\n",
	'several of them in one go');
my $count = 3000;
my $pipeline = join '', map { my $v = "value $_"; "ms p$_ " . length($v) . " q\r\n$v\r\n" } 1 .. $count;
is($a->talk($pipeline . "ms p1 1 ME q O9\r\nx\r\nmn\r\n"), "NS O9\r\nMN\r\n", 'quiet commands say what failed, and MN');
is($b->talk(join('', map { "mg p$_ v q\r\nmg q$_ v q\r\n" } 1 .. $count) . "mn\r\n"), join('', map { my $v = "value $_"; 'VA ' . length($v) . "\r\n$v\r\n" } 1 .. $count) . "MN\r\n",
	'after MN all of them are on the other side');

# What one node says of a key that the other made stale survives the other's death.
$a->talk("ms left 1 T500\r\nx\r\nmd left I\r\n");
ok(defined $one->kill9, 'one is killed');
is($b->talk("mg left v\r\nmg left v\r\n"), "VA 1 X W\r\nx\r\nVA 1 Z X\r\nx\r\n", 'the mark is still there');
ok($one->start, 'it starts again');
MemcachedPair::wait_pair($one, $two);
is($one->c->talk("mg left v\r\n"), "VA 1 X W\r\nx\r\n", 'and has the mark back');

done_testing();
