#!/usr/bin/perl
# The classic text protocol over a real socket: every command and every error
# reply, first through one daemon alone, then through either side of a pair, where
# after each case the other side must show the same values, flags and CAS unique.
# T_STOCK=1 plays the first part to an installed memcached, to check this file.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use TextCases;
use Test::More;

# Keys that a case mentions.
sub keys_of
{
	my ($bytes) = @_;
	my %key;
	while ($bytes =~ /^(?:set|add|replace|append|prepend|cas|incr|decr|delete|touch) +(\S+)/mg) {
		$key{$1} = 1 if length $1 <= 250;
	}
	while ($bytes =~ /^gats? -?\d+ (\S+)/mg) {
		$key{$1} = 1;
	}
	$key{f} = 1 if $bytes =~ /^flush_all/m;
	return sort keys %key;
}

sub shown
{
	my ($text) = @_;
	return 'closed' if !defined $text;
	$text = length($text) > 160 ? substr($text, 0, 100) . ' ... ' . length($text) . ' bytes' : $text;
	$text =~ s/\r/\\r/g;
	$text =~ s/\n/\\n/g;
	$text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
	return $text;
}

# Play all cases on a node; compare with the other after each, when there is one.
sub play
{
	my ($n, $other, $name) = @_;
	my $c = $n->client;
	my (@differ);
	for my $case (@text_cases) {
		my ($what, $send, $want) = @$case;
		my $got = eval { $c->talk($send) };
		my $good = defined $got && (ref $want ? $got =~ $want : $got eq $want);
		ok($good, "$name: $what") or diag '  got:  ' . shown($got), "\n  want: " . shown($want);
		$c = $n->client if !defined $got;
		next if !$other;
		my @keys = keys_of($send) or next;
		my ($mine, $its);
		my $same = wait_for {
			($mine, $its) = map { join '', $_->put("gets @keys\r\n") && $_->read_values } $n->c, $other->c;
			$mine eq $its
		} 5;
		push @differ, "$what: " . shown($mine) . ' | ' . shown($its) if !$same;
	}
	all_ok(\@differ, "$name: after every case the other side shows the same") if $other;
	return;
}

# ---- what a table cannot say -----------------------------------------------------

sub conversations
{
	my ($n, $other, $name) = @_;
	my $c = $n->client;
	my $also = $other || $n;

	# cas with the right unique.
	$c->set('c', 'one', 2);
	my $was = $c->gets('c');
	is($c->cmd("cas c 4 0 3 $was->{cas}\r\ntwo"), 'STORED', "$name: cas with the right unique");
	my $is = $c->gets('c');
	is($is->{value}, 'two', "$name: the new value");
	is($is->{flags}, 4, "$name: the new flags");
	cmp_ok($is->{cas}, '>', $was->{cas}, "$name: and a greater unique");
	is($c->cmd("cas c 4 0 5 $was->{cas}\r\nthree"), 'EXISTS', "$name: the old unique is no longer right");
	wait_ok { my $v = $also->c->gets('c'); $v && $v->{cas} eq $is->{cas} && $v->{flags} == 4 && $v->{value} eq 'two' }
	"$name: the other side has value, flags and unique", 5;
	is($also->c->cmd("cas c 6 0 5 $is->{cas}\r\nthree"), 'STORED', "$name: and takes a cas with it");
	wait_ok { ($c->get('c') || '') eq 'three' } "$name: which is seen here", 5;
	my %unique = map { $c->set('c', $_); ($c->gets('c')->{cas} => 1) } 1 .. 20;
	is(scalar keys %unique, 20, "$name: each store has a unique of its own");
	my $before = $c->gets('c')->{cas};
	$c->cmd('touch c 1000');
	is($c->gets('c')->{cas}, $before, "$name: touch does not change it");
	$c->set('c', 10);
	$before = $c->gets('c')->{cas};
	$c->cmd('incr c 1');
	isnt($c->gets('c')->{cas}, $before, "$name: incr does");

	# Expiry, in real time, on both sides.
	is($c->set('short', 'v', 0, 1), 'STORED', "$name: a second to live");
	is($c->set('long', 'v', 0, 1000), 'STORED', "$name: a thousand");
	is($c->set('touched', 'v', 0, 1), 'STORED', "$name: a second, touched");
	is($c->cmd('touch touched 1000'), 'TOUCHED', "$name: to a thousand");
	is($c->set('got', 'v', 0, 1), 'STORED', "$name: a second, got and touched");
	like($c->talk("gat 1000 got\r\n"), qr/^VALUE/, "$name: by gat");
	is($c->set('cut', 'v', 0, 1000), 'STORED', "$name: a thousand");
	is($c->cmd('touch cut 1'), 'TOUCHED', "$name: touched to one");
	wait_ok { !defined $c->get('short') && !defined $c->get('cut') } "$name: after a moment they are gone", 5;
	wait_ok { !defined $also->c->get('short') && !defined $also->c->get('cut') } "$name: on the other side, too", 5;
	for my $k (qw(long touched got)) {
		is($c->get($k), 'v', "$name: $k is there");
		is($also->c->get($k), 'v', "$name: $k is there on the other side");
	}

	# A delayed flush, in real time.
	my $far = $other || $n;
	is($c->set('f', 'v'), 'STORED', "$name: a key");
	is($c->cmd('flush_all 2'), 'OK', "$name: flush_all in two seconds");
	is($c->get('f'), 'v', "$name: not yet");
	wait_ok { !defined $c->get('f') } "$name: then it is gone", 6;
	wait_ok { !defined $far->c->get('f') } "$name: on the other side, too", 6;
	is($c->set('f', 'w'), 'STORED', "$name: a write after it");
	is($c->get('f'), 'w', "$name: stays");
	wait_ok { ($far->c->get('f') || '') eq 'w' } "$name: on both sides", 5;

	# Pipelining: everything in one packet, in order; and byte by byte.
	my $pipe = join '', map { "set p$_ 0 0 " . length($_) . "\r\n$_\r\nget p$_\r\nincr p$_ 1\r\n" } 1 .. 500;
	my $answer = join '', map { $S . v("p$_", $_) . $END . ($_ + 1) . "\r\n" } 1 .. 500;
	is($c->talk($pipe), $answer, "$name: 1500 commands in one go");
	my $slow = $n->client;
	for my $byte (split //, "set drip 5 0 4\r\nd\r\np\r\nget drip\r\nbogus\r\n") {
		$slow->put($byte);
	}
	is($slow->talk(''), $S . v('drip', "d\r\np", 5) . $END . "ERROR\r\n", "$name: the same byte by byte");

	# Pipelined gets of more than any buffer holds, read late.
	$c->set('heavy', 'h' x 100_000);
	my $late = $n->client(30);
	$late->put("get heavy\r\n" x 300);
	is(MemcachedPair::Client::parse_values($late->read_values)->{heavy}{value}, 'h' x 100_000, "$name: read late, whole") for 1 .. 1;
	my $whole = grep { length($late->read_values) > 100_000 } 2 .. 300;
	is($whole, 299, "$name: all 30 MB of it");
	# What is replaced while it is being sent arrives as it was.
	$late->put("get heavy\r\n" x 50);
	$c->set('heavy', 'H' x 100_000);
	my $mixed = grep { my $t = $late->read_values; $t ne v("heavy", "h" x 100_000) && $t ne v("heavy", "H" x 100_000) } 1 .. 50;
	is($mixed, 0, "$name: no value is half old, half new");

	# An upload in pieces while others work.
	my $up = $n->client;
	$up->put("set upload 1 0 300000\r\n" . 'u' x 100_000);
	is($c->set('between', 'x'), 'STORED', "$name: others go on during an upload");
	is($c->get('upload'), undef, "$name: which is not visible yet");
	$up->put('u' x 200_000 . "\r\n");
	is($up->line, 'STORED', "$name: until it is complete");
	wait_ok { length($also->c->get('upload') || '') == 300_000 } "$name: and on the other side";
	my $torn = $n->client;
	$torn->put("set between 1 0 300000\r\n" . 'u' x 100_000);
	$torn->close;
	is($c->get('between'), 'x', "$name: an upload that breaks off changes nothing");

	# quit, half-closed connections, limits of a line (1.1).
	my $q = $n->client;
	$q->put("set bye 0 0 1\r\n1\r\nget bye\r\nquit\r\nget bye\r\n");
	is($q->until_closed, $S . v('bye', '1') . $END, "$name: quit answers what came before, then closes");
	$q = $n->client;
	$q->put("get bye\r\nget by");
	shutdown $q->socket_handle, 1;
	is($q->until_closed, v('bye', '1') . $END, "$name: so does the end of the stream");
	$q = $n->client;
	$q->put('x' x 2048);
	is($c->get('bye'), '1', "$name: 2048 bytes without an end");
	ok(!$q->is_closed, "$name: are waited for");
	$q->put("xx");
	is($q->until_closed, '', "$name: 2050 are not");
	$q = $n->client;
	$q->put('get ' . join ' ', map { "verylongkey$_" } 1 .. 3000);
	is($c->get('bye'), '1', "$name: a get may be longer");
	$q->put(" bye\r\n");
	is(join('', $q->read_values), v('bye', '1'), "$name: and is served");
	$q = $n->client;
	$q->put("GET / HTTP/1.1\r\n\r\n");
	is($q->until_closed, '', "$name: HTTP is closed silently");
	return;
}

if ($ENV{T_STOCK}) {
	my $stock = node(binary => stock_binary(), args => ['-m', '128']);
	$stock->start;
	play($stock, undef, 'stock');
	conversations($stock, undef, 'stock');
	done_testing();
	exit 0;
}

my $alone = node(args => ['-m', '128']);
$alone->start;
play($alone, undef, 'alone');
conversations($alone, undef, 'alone');
$alone->kill9;

my ($one, $two) = pair(args => ['-m', '128']);
play($one, $two, 'on the master');
conversations($one, $two, 'on the master');
play($two, $one, 'on the slave');
conversations($two, $one, 'on the slave');

# shutdown, when it is allowed.
my $off = node(args => ['-A']);
$off->start;
is($off->c->cmd('shutdown wrong'), 'CLIENT_ERROR invalid shutdown mode', 'shutdown with a wrong word');
$off->c->put("shutdown\r\n");
is($off->wait_end(5), 0, 'shutdown ends it with status 0');
$off->start;
$off->c->put("shutdown graceful\r\n");
is($off->wait_end(5), 0, 'shutdown graceful, too');

# flush_all and the CAS unique, when they are switched off.
my $without = node(args => ['-F', '-C']);
$without->start;
is($without->c->cmd('flush_all'), 'CLIENT_ERROR flush_all not allowed', 'flush_all with -F');
is($without->c->talk("flush_all noreply\r\n"), '', 'and noreply');
$without->set('k', 'v');
is($without->c->gets('k')->{cas}, 0, 'gets with -C shows 0');
is($without->c->cmd("cas k 0 0 1 0\r\nx"), 'EXISTS', 'and cas never matches');

done_testing();
