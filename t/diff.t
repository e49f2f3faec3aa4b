#!/usr/bin/perl
# The same bytes to somebody else's memcached and to ours give the same bytes back:
# text, meta, binary, what operators say, and the names of statistics. What differs
# on purpose is in t/diff.expected, each with its reason. T_SEED and T_SCRIPTS choose
# other random conversations, and more of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use BinaryPackets;
use DiffCases;
use IO::Socket::INET;
use MemcachedPair;
use MIME::Base64;
use TextCases;
use Test::More;

my $stock_path = stock_binary();
plan skip_all => 'no other memcached is installed to compare with' if !defined $stock_path;

# name => reason
my %allowed;
for my $line (split /\n/, slurp("$FindBin::Bin/diff.expected")) {
	next if $line =~ /^\s*(?:#|$)/;
	my ($name, $reason) = $line =~ /^(.+?)\s+::\s+(\S.*)$/ or die "diff.expected: $line";
	# One reason for several statistics.
	my @names = $name =~ /^(stats.*? has(?: no)?) (.+)$/ ? map { "$1 $_" } split / +/, $2 : $name;
	for my $one (@names) {
		die "diff.expected has this twice: $one" if exists $allowed{$one};
		$allowed{$one} = $reason;
	}
}

# Several threads answer datagrams in any order.
my %own = (stock => ['-t', '1'], ours => []);
my %udp_port = map { $_ => free_port() } qw(stock ours);
my ($stock, $ours) = map {
	node(name => $_, binary => $_ eq 'stock' ? $stock_path : undef, args => ['-m', '128', '-U', $udp_port{$_}, @{ $own{$_} }])
} qw(stock ours);
$_->start for $stock, $ours;
my ($version) = $stock->c->cmd('version') =~ /^VERSION (\S+)/;
diag "compared with $version";

sub shown
{
	my ($text) = @_;
	return 'closed' if !defined $text;
	$text = length($text) > 400 ? substr($text, 0, 300) . ' ... ' . length($text) . ' bytes' : $text;
	$text =~ s/\r/\\r/g;
	$text =~ s/\n/\\n/g;
	$text =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
	return $text;
}

# What differs by nature: the number of a version, CAS uniques.
sub comparable
{
	my ($text) = @_;
	return 'closed' if !defined $text;
	$text =~ s/^VERSION \S+/VERSION/mg;
	$text =~ s{^(VALUE \S+ \d+) \d+\r\n(\d+) *\r$}{$1 LEN\r\n$2\r}mg;
	$text =~ s/^(VALUE \S+ \d+ \d+) \d+\r$/$1 CAS\r/mg;
	return $text;
}

# And in meta answers: how many seconds are left (a second may end between two
# questions) or ago, and where and how large an item lies.
sub comparable_meta
{
	my ($text) = @_;
	$text = comparable($text);
	$text =~ s/^((?:HD|VA)\b.*?) c[1-9]\d*/$1 cCAS/mg;
	$text =~ s/^((?:HD|VA)\b.*?) t(\d\d+)/sprintf '%s t%d', $1, 10 * int(($2 + 5) \/ 10)/emg;
	$text =~ s/^((?:HD|VA)\b.*?) l[012]\b/$1 l0/mg;
	$text =~ s/^(ME \S+) exp=(-?\d+) la=[012] cas=\d+ (fetch=\w+) cls=\d+ size=\d+\r$/sprintf "%s exp=%s la= cas= %s cls= size=\r", $1, abs $2 == 1 ? $2 : $2 < 0 ? 'less' : 'some', $3/emg;
	return $text;
}

my (%used, %played);
my ($same, $different) = (0, 0);

# Take down what one case gave; true if they agreed.
sub compare
{
	my ($name, $sent, $theirs, $ours, $show) = @_;
	$played{$name}++;
	if ($theirs eq $ours) {
		$same++;
		return 1;
	}
	if ($allowed{$name}) {
		$different++;
		$used{$name} = 1;
		return 0;
	}
	fail("$name: the same");
	diag '  sent:  ', shown($sent), "\n  theirs: ", shown($theirs), "\n  ours:   ", shown($ours);
	return 0;
}

# ---- statistics ------------------------------------------------------------------

# Names of a list in their order, without numbers of classes and connections.
sub names_of
{
	my ($text) = @_;
	my %had;
	return grep { !$had{$_}++ } map { s/^items:\d+:/items:N:/r =~ s/^\d+:/N:/r } $text =~ /^STAT (\S+)/mg;
}

for my $n ($stock, $ours) {
	$n->set("stat$_", 'x' x $_) for 10, 1000;
	$n->get('stat10');
}
for my $which ('', 'settings', 'items', 'slabs', 'conns') {
	my ($theirs, $mine) = map { [names_of($_->client->talk($which eq '' ? "stats\r\n" : "stats $which\r\n"))] } $stock, $ours;
	my ($name) = $which eq '' ? 'stats' : "stats $which";
	cmp_ok(scalar @$mine, '>', 2, "$name: there are some");
	my (%theirs, %mine);
	@theirs{@$theirs} = @mine{@$mine} = ();
	compare("$name has no $_", $name, "$_", '') for grep { !exists $mine{$_} } @$theirs;
	compare("$name has $_", $name, '', "$_") for grep { !exists $theirs{$_} } @$mine;
	compare("$name, the order of what both have", $name, join(' ', grep { exists $mine{$_} } @$theirs), join(' ', grep { exists $theirs{$_} } @$mine));
}
# The same names by the binary protocol as by text, as plug-ins expect.
for my $which ('', 'settings', 'items', 'slabs') {
	my @text = names_of($ours->client->talk($which eq '' ? "stats\r\n" : "stats $which\r\n"));
	my @packets = binary_talk($ours->client, packet(0x10, key => $which));
	is(pop(@packets)->{key}, '', "stat '$which' by packets ends in an empty one");
	is_deeply([names_of(join '', map { "STAT $_->{key} $_->{value}\n" } @packets)], \@text, "stat '$which' by packets has the names of the text");
}

# ---- the tables ------------------------------------------------------------------

my ($cs, $co) = map { $_->client } $stock, $ours;
for my $case (@text_cases) {
	my ($name, $send) = @$case;
	my ($x, $y) = map { my $c = $_; scalar eval { $c->talk($send) } } $cs, $co;
	compare($name, $send, comparable($x), comparable($y));
	$cs = $stock->client if !defined $x;
	$co = $ours->client if !defined $y;
}

# A conversation that did not come to its end.
sub ended { return $_[0] =~ /timed out/ ? 'hangs' : 'closed' }

# One case of DiffCases.pm on one side.
my $serial = 0;

sub play_lines
{
	my ($n, $c, $lines) = @_;
	my $key = "d$serial";
	my %word = (k => $key, j => "e$serial", b => encode_base64($key, ''));
	my $all = '';
	for my $part (split / >> /, $lines) {
		my $seen = $n->c->gets($key);
		@word{qw(c C l)} = ($seen->{cas}, $seen->{cas} + 1, $seen->{cas} - 1) if $seen;
		my $bytes = $part =~ s/%([a-zA-Z])/defined $word{$1} ? $word{$1} : '?'/ger =~ s/\|/\r\n/gr;
		my $answer = eval { $c->talk("$bytes\r\n") };
		return ($all . ended($@), 1) if !defined $answer;
		$all .= $answer;
	}
	return ($all, 0);
}

for my $list ([\@meta_cases, \&comparable_meta], [\@admin_cases, \&comparable]) {
	my ($cases, $comparable) = @$list;
	for my $case (@$cases) {
		my ($name, $lines) = @$case;
		$serial++;
		my ($x, $gone_x) = play_lines($stock, $cs, $lines);
		my ($y, $gone_y) = play_lines($ours, $co, $lines);
		compare($name, $lines, $comparable->($x), $comparable->($y));
		$cs = $stock->client if $gone_x;
		$co = $ours->client if $gone_y;
	}
}

# Packets: of the uniques it counts whether there is one.
sub play_packets
{
	my ($c, @elements) = @_;
	my @all;
	my $cas = 1;
	for my $element (@elements) {
		my @packets = eval { binary_talk($c, DiffCases::binary_bytes($element, $cas)) };
		push @all, $@ ? { closed => ended($@) } : @packets;
		last if @all && $all[-1]{closed};
		($cas) = grep { $_ } map({ $_->{cas} } @packets), $cas;
	}
	for my $p (grep { !$_->{closed} } @all) {
		$p->{cas} = $p->{cas} ? 'some' : 0;
		$p->{value} = 'version' if $p->{opcode} == 0x0b && !$p->{status};
	}
	return (shown_packets(@all), @all && $all[-1]{closed});
}

my ($bs, $bo) = map { $_->client } $stock, $ours;
for my $case (@binary_cases) {
	my ($name, @elements) = @$case;
	my ($x, $gone_x) = play_packets($bs, @elements);
	my ($y, $gone_y) = play_packets($bo, @elements);
	compare("binary: $name", join(' ', map { unpack 'H60', DiffCases::binary_bytes($_, 1) } @elements), $x, $y);
	$bs = $stock->client if $gone_x;
	$bo = $ours->client if $gone_y;
}

# ---- UDP -------------------------------------------------------------------------

# What comes back for one datagram, with its frames: everything before the answer to
# the next one.
my $request_id = 100;

sub ask_udp
{
	my ($socket, $bytes) = @_;
	my ($id, $fence_id) = ($request_id + 1, $request_id + 2);
	send $socket, pack('n4', $id, 0, 1, 0) . $bytes, 0;
	send $socket, pack('n4', $fence_id, 0, 1, 0) . "mn\r\n", 0;
	my $all = '';
	while (1) {
		my $ready = '';
		vec($ready, fileno $socket, 1) = 1;
		select($ready, undef, undef, 10 * slow_factor()) or return "$all, then nothing";
		recv $socket, my $datagram, 65536, 0;
		my ($its_id, $number, $count, $reserved) = unpack 'n4', $datagram;
		return $all if $its_id == $fence_id;
		my $payload = substr $datagram, 8;
		# A binary answer's CAS unique.
		substr $payload, 16, 8, "some...." if $payload =~ /^\x81/ && $number == 0 && substr($payload, 16, 8) ne "\0" x 8;
		$all .= sprintf "%d: %d of %d, %d: %s\n", $its_id - $id, $number, $count, $reserved, comparable_meta($payload);
	}
}

my ($us, $uo) = map {
	IO::Socket::INET->new(Proto => 'udp', PeerAddr => $_->addr, PeerPort => $udp_port{ $_->name }) or die "udp: $!"
} $stock, $ours;
for my $case (@udp_cases) {
	my ($name, $bytes) = @$case;
	my ($x, $y) = map { ask_udp($_, $bytes) } $us, $uo;
	$request_id += 2;
	compare("UDP: $name", $bytes, $x, $y);
}

ok($same > 300, "$same conversations are the same, $different differ on purpose");
all_ok([grep { $played{$_} > 1 } sort keys %played], 'no two conversations have one name');
# A reason that explains nothing any more is to go. (Another version of theirs
# may of course differ less.)
if ($version eq '1.6.18') {
	all_ok([grep { !$used{$_} } sort keys %allowed], 'every line of diff.expected is needed');
}

# ---- random conversations --------------------------------------------------------

sub pick { return $_[MemcachedPair::random_u32() % @_] }

# Two kinds of keys: numbers, which are counted, and texts, which are appended to.
# When a number becomes shorter theirs pads it with blanks or not, depending on
# who still holds the item; comparable() takes the blanks away, but what is
# appended to them would stay different.
sub random_command
{
	my $number = pick(0, 1);
	my $key = $number ? pick(qw(a b c)) : pick(qw(d e f));
	my $value = $number ? pick('', '0', '1', '9', '10', '99', '100', '18446744073709551615', '18446744073709551616', '-3', 'text', ' 7', '7 x')
		: pick('', '1', 'text', 'x' x 100, 'y' x 5000, "a\r\nb");
	my $noreply = pick('', '', '', ' noreply');
	my $exptime = pick(0, 0, 0, 100, -1, 1_000_000_000, 4_000_000_000);
	my $verb = $number ? pick(qw(set set add replace incr incr decr decr touch gat delete get get))
		: pick(qw(set set add replace append append prepend touch gat delete get get));
	return sprintf "%s %s %d %d %d%s\r\n%s\r\n", $verb, $key, pick(0, 1, 65535), $exptime, length $value, $noreply, $value
		if $verb =~ /^(?:set|add|replace|append|prepend)$/;
	return "$verb $key " . pick(0, 1, 2, 10, 1000, 18446744073709551615, 'x') . "$noreply\r\n" if $verb =~ /^(?:incr|decr)$/;
	return "touch $key " . pick(0, 100, -1) . "$noreply\r\n" if $verb eq 'touch';
	return 'gat ' . pick(0, 100, -1) . " $key " . pick('', 'a b') . "\r\n" if $verb eq 'gat';
	return "delete $key$noreply\r\n" if $verb eq 'delete';
	return "get $key " . pick('', 'a', 'b c', 'd e f') . "\r\n" if $verb eq 'get';
	die "no such verb: $verb";
}

my $scripts = $ENV{T_SCRIPTS} || 60;
my @wrong;
for my $n (1 .. $scripts) {
	my $pipelined = $n % 2;
	my @script = map { random_command() } 1 .. 200;
	my $clean = join '', map { "delete $_ noreply\r\n" } 'a' .. 'f';
	my @parts = $pipelined ? join("", $clean, @script) : ($clean, @script);
	my ($x, $y) = map { my $c = $_; join "", map { my $part = $_; comparable(scalar eval { $c->talk($part) }) } @parts } $cs, $co;
	next if $x eq $y;
	# Which command was it? Play it again, one at a time.
	$_->talk($clean) for $cs, $co;
	my $found;
	for my $command (@script) {
		my ($theirs, $mine) = map { my $c = $_; scalar eval { $c->talk($command) } } $cs, $co;
		next if comparable($theirs) eq comparable($mine);
		my ($key) = $command =~ /^\w+ (\w+)/;
		$found = shown($command) . " after " . shown(scalar $cs->talk("get $key\r\n")) . "\n    theirs: " . shown($theirs) . "\n    ours:   " . shown($mine);
		last;
	}
	push @wrong, "script $n: " . ($found || 'differs only when pipelined: ' . shown($x) . ' | ' . shown($y));
	($cs, $co) = map { $_->client } $stock, $ours;
}
all_ok(\@wrong, "$scripts random conversations of 200 commands are the same");

done_testing();
