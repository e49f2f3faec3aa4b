#!/usr/bin/perl
# Command x protocol x direction x outcome: everything that may write (the rows of
# commands.def with CMD_WRITE, the binary opcodes that are such rows) is played to
# keys in every state, by TCP and by UDP, through either side of a pair. Afterwards
# both sides show the same value, flags, CAS unique, expiry and marks, and the same
# as a daemon without a peer that was asked the same.
#
# The list of what must have cases is read from the sources, so a new command or
# opcode fails here until it has some, and until each of its outcomes was seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use BinaryPackets;
use IO::Socket::INET;
use MemcachedPair;
use MIME::Base64;
use Test::More;

my $item_max = 100 * 1024;
my $hello = 'hello';
my $longer = 'y' x 45_000;
my $too_large = 'z' x 150_000;
my $past = '-1';

# ---- what there is ---------------------------------------------------------------

# Row => protocol, for the rows that may write.
my %row_protocol;
for (slurp("$FindBin::Bin/../commands.def") =~ /^COMMAND\((.*?)\)$/msg) {
	my ($id, undef, undef, undef, $syntax, undef, $flags) = split /,\s*/;
	$row_protocol{$id} = $syntax eq 'META' ? 'meta' : 'text' if $flags =~ /\bCMD_WRITE\b/;
}
my $meta = grep { $_ eq 'meta' } values %row_protocol;
my $number_of = opcodes();
my $row_of = opcode_table();
my @write_opcodes = grep { $row_protocol{ $row_of->{$_} } } sort keys %$row_of;
cmp_ok(scalar keys %row_protocol, '>=', 13, 'commands.def was understood');
cmp_ok(scalar @write_opcodes, '>=', 23, 'and so was the table of opcodes');

# ---- what is asked ---------------------------------------------------------------

# Name of a row or an opcode => { outcome that must be seen }, and the requests, as
# [what, sub { key, CAS unique of the key } -> bytes].
my (%must, %requests);

sub text_case
{
	my ($row, $what, $code) = @_;
	push @{ $requests{$row} }, ["$row $what", $code];
	return;
}

sub words_after_key
{
	my ($verb, $words) = @_;
	return sub { "$verb $_[0]$words\r\n" };
}

my @store_errors = ('CLIENT_ERROR bad data chunk', 'SERVER_ERROR object too large for cache', 'silence');
my %store_says = (
	SET => ['STORED'], ADD => ['STORED', 'NOT_STORED'], REPLACE => ['STORED', 'NOT_STORED'],
	APPEND => ['STORED', 'NOT_STORED'], PREPEND => ['STORED', 'NOT_STORED'], CAS => ['STORED', 'EXISTS', 'NOT_FOUND'],
);
for my $row (sort keys %store_says) {
	$must{$row} = [@{ $store_says{$row} }, @store_errors];
	my $line = sub {
		my ($exptime, $value, $tail, $off) = @_;
		return sub {
			my ($key, $cas) = @_;
			my $unique = $row eq 'CAS' ? ' ' . ($cas + ($off || 0)) : '';
			return lc($row) . " $key 7 $exptime " . length($value) . $unique . ($tail || '') . "\r\n$value\r\n";
		};
	};
	text_case($row, 'as usual', $line->(100, $hello));
	text_case($row, 'for ever', $line->(0, $hello));
	text_case($row, 'of nothing', $line->(0, ''));
	text_case($row, 'of a number', $line->(0, '12'));
	text_case($row, 'in the past', $line->($past, $hello));
	text_case($row, 'of much', $line->(100, $longer));
	text_case($row, 'noreply', $line->(100, $hello, ' noreply'));
	text_case($row, 'too large', $line->(100, $too_large));
	text_case($row, 'with bad data', sub { my $bytes = $line->(100, $hello)->(@_); substr $bytes, -2, 2, "XX\r\n"; return $bytes });
	text_case($row, 'with another unique', $line->(100, $hello, '', 1)) if $row eq 'CAS';
}
$must{DELETE} = ['DELETED', 'NOT_FOUND', 'silence'];
text_case('DELETE', "with '$_'", words_after_key('delete', $_)) for '', ' noreply', ' 0';
for my $row (qw(INCR DECR)) {
	$must{$row} = ['number', 'NOT_FOUND', 'CLIENT_ERROR cannot increment or decrement non-numeric value', 'CLIENT_ERROR invalid numeric delta argument', 'silence'];
	text_case($row, "by $_", words_after_key(lc $row, " $_")) for 1, '5 noreply', '18446744073709551615', 100, 'x';
}
$must{TOUCH} = ['TOUCHED', 'NOT_FOUND', 'CLIENT_ERROR invalid exptime argument', 'silence'];
text_case('TOUCH', "to $_", words_after_key('touch', " $_")) for 500, 0, $past, '500 noreply', 'x';
for my $row (qw(GAT GATS)) {
	$must{$row} = ['VALUE', 'END', 'CLIENT_ERROR invalid exptime argument'];
	for my $exptime (500, 0, $past, 'x') {
		text_case($row, "to $exptime", sub { lc($row) . " $exptime $_[0] none\r\n" });
	}
}

# Flags of a meta command: C= is the right unique, C+ a greater one. A command that
# chooses a unique is refused by a pair.
sub meta_case
{
	my ($row, $letters, $flags, $value) = @_;
	my $shown = $flags . (defined $value ? ' ' . length $value : '');
	push @{ $requests{$row} }, ["$letters $shown", sub {
		my ($key, $cas) = @_;
		my $f = $flags =~ s/C=/"C$cas"/er =~ s/C\+/'C' . ($cas + 1)/er =~ s/^(?=\S)/ /r;
		$key = encode_base64($key, '') if $f =~ / b\b/;
		return "$letters $key" . (defined $value ? ' ' . length $value : '') . "$f\r\n" . (defined $value ? "$value\r\n" : '');
	}, $flags =~ /\bE/ ? 'refused' : ''];
	return;
}

my $no_choice = 'CLIENT_ERROR CAS uniques cannot be chosen with replication on';
if ($meta) {
	$must{META_GET} = ['HD', 'VA', 'EN', 'silence', $no_choice];
	meta_case('META_GET', 'mg', $_) for '', 'v', 'T500', 'v T-1', 'v N100', 'N100 c', 'v R2000', 'k s f O7', 'q', 'T500 q v', 'b k v', 'C= v', 'N100 E5', 'b N100 k';
	$must{META_SET} = ['HD', 'NS', 'EX', 'NF', 'silence', 'CLIENT_ERROR bad data chunk', 'SERVER_ERROR object too large for cache',
		'CLIENT_ERROR invalid mode for ms M token', $no_choice];
	meta_case('META_SET', 'ms', $_, $hello) for '', 'c s', 'T100 F9', 'b T100 k', 'ME', 'MA', 'MP', 'MR', 'MS', 'MA N100', 'MP N100', 'C=', 'C+', 'C= MR', 'C= MA', 'C+ MA',
		'C1 I', 'C1 I T300', 'C+ I', 'q', 'q ME', 'T-1', 'Mx', 'E5', 'MA s c';
	meta_case('META_SET', 'ms', $_->[0], $_->[1]) for ['', ''], ['', $longer], ['MA', $longer], ['', $too_large], ['MA', $too_large], ['ME', $too_large], ['q', $too_large];
	push @{ $requests{META_SET} }, ['ms with bad data', sub { "ms $_[0] 5 T100\r\nhelloXX\r\n" }, ''];
	$must{META_DELETE} = ['HD', 'NF', 'EX', 'silence', $no_choice];
	meta_case('META_DELETE', 'md', $_) for '', 'q', 'k O9', 'b', 'I', 'I T300', 'x', 'x F9 T100', 'x I', 'C=', 'C+', 'I C=', 'I C+', 'x C+', 'T300', 'q I', 'I E5';
	$must{META_COUNT} = ['HD', 'VA', 'NF', 'EX', 'silence', 'CLIENT_ERROR cannot increment or decrement non-numeric value', 'CLIENT_ERROR invalid or duplicate flag',
		'CLIENT_ERROR invalid mode for ma M token', $no_choice];
	meta_case('META_COUNT', 'ma', $_) for '', 'v', 'D5 v c', 'MD', 'MD D100 v', 'N100 J7 v', 'N100', 'N100 q', 'T500 v', 'T-1', 'C= v', 'C+ v', 'q', 'b v k', 'Dx', 'Mz', 'E5';
}

# Binary: outcomes are status codes. cas: none, that of the key, another.
my %cas_kinds = ('' => sub { 0 }, ' with its unique' => sub { $_[0] }, ' with another unique' => sub { $_[0] + 1 });

sub binary_case
{
	my ($opcode, $what, %o) = @_;
	for my $kind ($o{no_cas} ? '' : sort keys %cas_kinds) {
		push @{ $requests{"BIN_$opcode"} }, ["$opcode $what$kind", sub {
			my ($key, $cas) = @_;
			return packet($number_of->{$opcode}, key => $key, extras => $o{extras}, value => $o{value}, cas => $cas_kinds{$kind}->($cas), opaque => 77);
		}];
	}
	return;
}

my %binary_says = (
	SET => ['0000', '0001', '0002', '0003'], ADD => ['0000', '0001', '0002', '0003'], REPLACE => ['0000', '0001', '0002', '0003'],
	APPEND => ['0000', '0002', '0003', '0005'], PREPEND => ['0000', '0002', '0003', '0005'],
	DELETE => ['0000', '0001', '0002'], INCR => ['0000', '0001', '0002', '0006'], DECR => ['0000', '0001', '0002', '0006'],
	TOUCH => ['0000', '0001'], GAT => ['0000', '0001'], GATK => ['0000', '0001'],
);
for my $opcode (@write_opcodes) {
	my $verb = $opcode =~ s/Q$//r;
	my $quiet = $verb ne $opcode;
	my $says = $binary_says{$verb} or next;
	# A quiet retrieval keeps quiet about a miss, everything else about success.
	my $hushed = $verb =~ /^GAT/ ? '0001' : '0000';
	$must{"BIN_$opcode"} = [map { $quiet && $_ eq $hushed ? 'silence' : $_ } @$says];
	if ($verb =~ /^(?:SET|ADD|REPLACE)$/) {
		binary_case($opcode, 'as usual', extras => pack('NN', 9, 100), value => $hello);
		binary_case($opcode, 'of nothing', extras => pack('NN', 0, 0), value => '');
		binary_case($opcode, 'of much', extras => pack('NN', 4294967295, 500), value => $longer);
		binary_case($opcode, 'too large', extras => pack('NN', 9, 100), value => $too_large);
	} elsif ($verb =~ /PEND$/) {
		binary_case($opcode, $_->[0], value => $_->[1]) for ['as usual', $hello], ['of nothing', ''], ['of much', $longer], ['too large', $too_large];
	} elsif ($verb eq 'DELETE') {
		binary_case($opcode, 'as usual');
	} elsif ($verb =~ /^(?:INCR|DECR)$/) {
		binary_case($opcode, $_->[0], extras => pack 'Q>Q>N', @$_[1 .. 3])
			for ['by 1', 1, 7, 100], ['by much', 18446744073709551615, 0, 0], ['without creating', 5, 7, 0xffffffff];
	} else {
		binary_case($opcode, "to $_", extras => pack('N', $_), no_cas => 1) for 500, 0;
	}
}

# flush_all has no key and is played at the end.
$must{$_} = ['flush'] for 'FLUSH_ALL', grep { /^BIN_FLUSH/ } map { "BIN_$_" } @write_opcodes;
my %flush = (
	'FLUSH_ALL' => ["flush_all\r\n", "flush_all 0\r\n", "flush_all $past\r\n", "flush_all noreply\r\n"],
	map { /^FLUSH/ ? ("BIN_$_" => [packet($number_of->{$_}), packet($number_of->{$_}, extras => pack 'N', 0)]) : () } @write_opcodes,
);

my @wanted = ((sort keys %row_protocol), map { "BIN_$_" } @write_opcodes);
all_ok([grep { !$must{$_} || !@{ $requests{$_} || $flush{$_} || [] } } @wanted], 'everything that may write has cases here');
my %is_wanted = map { $_ => 1 } @wanted;
all_ok([grep { !$is_wanted{$_} } sort keys %must], 'and nothing else has');

# ---- what they are played to -----------------------------------------------------

# State of a key => the lines that bring it about.
my %states = (
	'no key' => sub { '' },
	'a text' => sub { "set $_[0] 5 1000 9\r\nsome text\r\n" },
	'a number' => sub { "set $_[0] 6 0 2\r\n41\r\n" },
	'the greatest number' => sub { "set $_[0] 0 500 20\r\n18446744073709551615\r\n" },
	'an empty value' => sub { "set $_[0] 7 0 0\r\n\r\n" },
	'a large value' => sub { "set $_[0] 8 1000 70000\r\n" . 'L' x 70_000 . "\r\n" },
	'an expired value' => sub { "set $_[0] 5 $past 2\r\n42\r\n" },
	'a deleted key' => sub { "set $_[0] 5 0 2\r\n42\r\ndelete $_[0]\r\n" },
	$meta ? (
		'a stale value' => sub { "set $_[0] 6 1000 2\r\n41\r\nmd $_[0] I\r\n" },
		'a stale value, being fetched anew' => sub { "set $_[0] 6 1000 2\r\n41\r\nmd $_[0] I\r\nmg $_[0]\r\n" },
		'a key from base64' => sub { 'ms ' . encode_base64($_[0], '') . " 2 b F6 T1000\r\n41\r\n" },
	) : (),
);

my @common = ('-m', '256', '-I', $item_max);
my ($one, $two) = pair(args => \@common, udp => 1);
my $port = free_port();
my $alone = node(addr => '127.0.0.3', port => $port, args => [@common, '-U', $port]);
$alone->start;

# One request by TCP: what was answered, comparable between nodes.
sub ask_tcp
{
	my ($n, $protocol, $bytes) = @_;
	my $c = $n->{"matrix_$protocol"} ||= $n->client(30);
	if ($protocol eq 'binary') {
		my @packets = binary_talk($c, $bytes);
		delete $n->{"matrix_$protocol"} if @packets && $packets[-1]{closed};
		return \@packets;
	}
	my $text = $c->talk($bytes);
	delete $n->{"matrix_$protocol"} if !defined $text;
	return $text;
}

# By UDP: datagrams until the one that answers the next request.
my $request_id = 0;

sub ask_udp
{
	my ($n, $protocol, $bytes) = @_;
	my $s = $n->{matrix_udp} ||= IO::Socket::INET->new(Proto => 'udp', PeerAddr => $n->addr, PeerPort => $n->port) or die "udp: $!";
	my ($id, $fence_id) = map { $request_id = $request_id % 65535 + 1 } 1 .. 2;
	$s->send(pack('n4', $id, 0, 1, 0) . $bytes) or die "udp: $!";
	$s->send(pack('n4', $fence_id, 0, 1, 0) . ($protocol eq 'binary' ? packet(0x0a) : "mn\r\n")) or die "udp: $!";
	my $all = '';
	while (1) {
		my $ready = '';
		vec($ready, fileno $s, 1) = 1;
		select $ready, undef, undef, 10 * slow_factor() or die "no answer by UDP to " . substr $bytes, 0, 60;
		$s->recv(my $datagram, 65536);
		my ($from) = unpack 'n', $datagram;
		last if $from == $fence_id;
		$all .= substr $datagram, 8 if $from == $id;
	}
	return $all if $protocol ne 'binary';
	my ($packets) = packets_of($all);
	return $packets;
}

# What kind of answer it was, and the whole of it without what differs by nature.
sub outcome_of
{
	my ($protocol, $answer) = @_;
	if ($protocol eq 'binary') {
		return ('silence', '') if !@$answer;
		my $first = $answer->[0];
		return (($first->{closed} ? 'closed' : sprintf '%04x', $first->{status}), shown_packets(map { {%$_, cas => $_->{cas} ? 'some' : 0} } @$answer));
	}
	return ('closed', '') if !defined $answer;
	return ('silence', '') if $answer eq '';
	my ($line) = $answer =~ /^([^\r\n]*)/;
	my $kind = $line =~ /^\d+$/ ? 'number' : $line =~ /^(?:VALUE|HD|VA|EN|NF|NS|EX)\b/ ? $& : $line;
	$answer =~ s/^(VALUE \S+ \d+ \d+) \d+\r$/$1 CAS\r/mg;
	$answer =~ s/^((?:HD|VA)\b.*?) c[1-9]\d*/$1 cCAS/mg;
	return ($kind, $answer);
}

# key => value with flags, CAS unique, and the second when it expires (-1: never)
sub states_of
{
	my ($n, @keys) = @_;
	my %found;
	while (my @some = splice @keys, 0, 100) {
		my $values = $n->c->mget(@some);
		$n->c->put(join '', map { "me $_\r\n" } @some) if $meta;
		for my $key (@some) {
			my $v = $values->{$key};
			my $expiry = $meta && $n->c->line =~ /^ME .* exp=(-?\d+) / ? $1 < 0 ? -1 : int(now()) + $1 : '';
			$found{$key} = { value => $v ? "$v->{flags} $v->{value}" : 'miss', cas => $v ? $v->{cas} : 0, expiry => $expiry };
		}
	}
	return \%found;
}

# Marks of keys, as mg shows them, but for who won.
sub marks_of
{
	my ($n, @keys) = @_;
	my %found;
	while (my @some = splice @keys, 0, 100) {
		$n->c->put(join '', map { "mg $_ k f s\r\n" } @some);
		$found{$_} = $n->c->line =~ s/ [WZ]\b//gr for @some;
	}
	return \%found;
}

my %seen;
my $run = 0;

sub brief { my ($s) = @_; return length $s > 90 ? substr($s, 0, 60) . '... ' . length($s) . ' bytes' : $s =~ s/[\r\n]+/|/gr }

# Keys and requests of one way through the pair.
sub play
{
	my ($writer, $other, $transport, $ask) = @_;
	my $way = "$transport, on the " . lc $writer->role;
	$run++;
	my @cases;
	for my $name (grep { $requests{$_} } @wanted) {
		my $protocol = $name =~ /^BIN_/ ? 'binary' : $row_protocol{$name};
		for my $request (@{ $requests{$name} }) {
			next if $transport eq 'UDP' && length $request->[1]->('k', 1) > 60_000;
			push @cases, map { { name => $name, protocol => $protocol, request => $request, state => $_, key => "r${run}k" } } sort keys %states;
		}
	}
	$cases[$_]{key} .= $_ for 0 .. $#cases;
	my @keys = map { $_->{key} } @cases;

	# Every other key is first written on the other side; who fetches it anew is known
	# only where that was asked.
	for my $i (0 .. $#cases) {
		my $lines = $states{ $cases[$i]{state} }->($cases[$i]{key});
		my $first = $i % 2 && $cases[$i]{state} !~ /anew/ ? $other : $writer;
		$_->c->talk($lines) for $first, $alone;
	}
	wait_pair($one, $two, 30);
	my ($mine, $its) = map { states_of($_, @keys) } $writer, $alone;
	my (@answers, @expiry);
	for my $case (@cases) {
		my ($key, $request) = @$case{qw(key request)};
		my $at_writer = $ask->($writer, $case->{protocol}, $request->[1]->($key, $mine->{$key}{cas}));
		my ($kind, $answer) = outcome_of($case->{protocol}, $at_writer);
		$seen{ $case->{name} }{$way}{$kind} = 1;
		$case->{shown} = "$request->[0] to $case->{state} ($key)";
		# What a pair refuses the one without a peer would do.
		if ($request->[2]) {
			push @answers, "$case->{shown}: " . brief($answer) if $answer !~ /^(?:CLIENT_ERROR|EN|NF|NS)\b/;
			next;
		}
		my ($kind_alone, $answer_alone) = outcome_of($case->{protocol}, $ask->($alone, $case->{protocol}, $request->[1]->($key, $its->{$key}{cas})));
		push @answers, "$case->{shown}: " . brief($answer) . ', alone ' . brief($answer_alone) if $answer ne $answer_alone;
	}
	all_ok(\@answers, "$way: " . @cases . ' requests are answered as they are without a peer');
	wait_pair($one, $two, 30);

	# What differs is asked again; a second may end between question and answer.
	my $unlike = sub {
		my ($x, $y, $what) = @_;
		return $x->{$what} ne $y->{$what} if $what ne 'expiry' || $x->{$what} !~ /^\d/ || $y->{$what} !~ /^\d/;
		return abs($x->{$what} - $y->{$what}) > 2;
	};
	my @differ = @keys;
	my ($w, $o);
	wait_for {
		($w, $o) = map { states_of($_, @differ) } $writer, $other;
		@differ = grep { my $k = $_; grep { $unlike->($w->{$k}, $o->{$k}, $_) } qw(value cas expiry) } @differ;
		!@differ;
	}
	60;
	my %case_of = map { $_->{key} => $_ } @cases;
	all_ok([map { my $k = $_; "$case_of{$k}{shown}: " . join '; ', map { brief("$_ $w->{$k}{$_} | $o->{$k}{$_}") } grep { $unlike->($w->{$k}, $o->{$k}, $_) } qw(value cas expiry) } @differ],
		"$way: both sides have the same value, flags, unique and expiry");
	($w, $its) = map { states_of($_, @keys) } $writer, $alone;
	all_ok([map { $w->{$_}{value} ne $its->{$_}{value} ? "$case_of{$_}{shown}: " . brief($w->{$_}{value}) . ', alone ' . brief($its->{$_}{value}) : () } @keys],
		"$way: the value and flags are what they are without a peer");
	# Expiry times in use are hundreds of seconds apart.
	all_ok([map { my ($x, $y) = map { $_ eq '' ? -2 : $_ } $w->{$_}{expiry}, $its->{$_}{expiry}; ($x < 0 || $y < 0 ? $x != $y : abs($x - $y) > 60) ? "$case_of{$_}{shown}: $x, alone $y" : () } @keys],
		"$way: so is the expiry");
	compare_marks($way, $writer, $other, \%case_of, @keys) if $meta;
	return;
}

# Stale values are so on both sides, and keys are shown as they were given. Who is to
# fetch a value anew is settled on each side for itself.
sub compare_marks
{
	my ($way, $writer, $other, $case_of, @keys) = @_;
	my $want = marks_of($alone, @keys);
	for my $side ([$other, 'the other side'], [$writer, 'this side']) {
		my ($n, $where) = @$side;
		my $is = marks_of($n, @keys);
		all_ok([map { $is->{$_} ne $want->{$_} ? "$case_of->{$_}{shown}: $is->{$_}, alone $want->{$_}" : () } @keys], "$way: marks on $where");
	}
	return;
}

sub play_flushes
{
	my ($writer, $other, $transport, $ask) = @_;
	my $way = "$transport, on the " . lc $writer->role;
	my @wrong;
	for my $name (sort keys %flush) {
		my $protocol = $name =~ /^BIN_/ ? 'binary' : 'text';
		for my $bytes (@{ $flush{$name} }) {
			my @keys = map { "flush$_" } 1 .. 6;
			($_ % 2 ? $writer : $other)->set("flush$_", 'x' x (10**$_ / 20 + 1)) for 1 .. 6;
			wait_for { 6 == keys %{ $writer->c->mget(@keys) } && 6 == keys %{ $other->c->mget(@keys) } };
			my ($kind) = outcome_of($protocol, $ask->($writer, $protocol, $bytes));
			my $silent = $name =~ /Q$/ || $bytes =~ /noreply/;
			push @wrong, "$name: answered $kind" if $kind ne ($silent ? 'silence' : $protocol eq 'text' ? 'OK' : '0000');
			push @wrong, "$name: something is left where it was asked" if %{ $writer->c->mget(@keys) };
			wait_for { !%{ $other->c->mget(@keys) } } or push @wrong, "$name: something is left on the other side";
			# What is written after it stays, on both sides.
			$writer->set("after$name", $run);
			wait_for { ($other->get("after$name") || '') eq $run } or push @wrong, "$name: a write after it is missing";
			$seen{$name}{$way}{flush} = 1;
		}
	}
	all_ok(\@wrong, "$way: flushes");
	return;
}

my @transports = (['TCP', \&ask_tcp], ['UDP', \&ask_udp]);
for my $transport (@transports) {
	for my $way ([$one, $two], [$two, $one]) {
		play(@$way, @$transport);
		play_flushes(@$way, @$transport);
	}
}

# ---- was every outcome seen? -----------------------------------------------------

my @unseen;
for my $name (@wanted) {
	for my $way (map { my $t = $_->[0]; map { "$t, on the $_" } qw(master slave) } @transports) {
		for my $outcome (@{ $must{$name} || [] }) {
			next if $way =~ /^UDP/ && $outcome =~ /too large|^0003$/;    # a datagram cannot be
			push @unseen, "$name, $way: $outcome" if !$seen{$name}{$way}{$outcome};
		}
	}
}
all_ok(\@unseen, 'every outcome of each was seen in both directions');

done_testing();
