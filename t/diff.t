#!/usr/bin/perl
# The same bytes to somebody else's memcached and to ours give the same bytes
# back. What differs on purpose is in t/diff.allow, each with its reason.
# T_SEED and T_SCRIPTS choose other random conversations, and more of them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use TextCases;
use Test::More;

my $stock_path = stock_binary();
plan skip_all => 'no other memcached is installed to compare with' if !defined $stock_path;

# name => reason
my %allowed;
for my $line (split /\n/, slurp("$FindBin::Bin/diff.allow")) {
	next if $line =~ /^\s*(?:#|$)/;
	my ($name, $reason) = $line =~ /^(.+?)\s+::\s+(\S.*)$/ or die "diff.allow: $line";
	$allowed{$name} = $reason;
}

my ($stock, $ours) = (node(name => 'stock', binary => $stock_path, args => ['-m', '128', '-U', '0']), node(name => 'ours', args => ['-m', '128']));
$_->start for $stock, $ours;
my ($version) = $stock->c->cmd('version') =~ /^VERSION (\S+)/;
diag "compared with $version";

sub shown
{
	my ($text) = @_;
	return 'closed' if !defined $text;
	$text = length($text) > 200 ? substr($text, 0, 150) . ' ... ' . length($text) . ' bytes' : $text;
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

my %used;
my ($same, $different) = (0, 0);
my ($cs, $co) = map { $_->client } $stock, $ours;
for my $case (@text_cases) {
	my ($name, $send) = @$case;
	my ($a, $b) = map { my $c = $_; scalar eval { $c->talk($send) } } $cs, $co;
	if (comparable($a) eq comparable($b)) {
		$same++;
	} elsif ($allowed{$name}) {
		$different++;
		$used{$name} = 1;
	} else {
		fail("$name: the same");
		diag '  sent:  ', shown($send), "\n  theirs: ", shown($a), "\n  ours:   ", shown($b);
	}
	$cs = $stock->client if !defined $a;
	$co = $ours->client if !defined $b;
}
ok($same > 100, "$same conversations are the same, $different differ on purpose");
# A reason that explains nothing any more is to go. (Another version of theirs
# may of course differ less.)
if ($version eq '1.6.18') {
	all_ok([grep { !$used{$_} } sort keys %allowed], 'every line of diff.allow is needed');
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
	my ($a, $b) = map { my $c = $_; join "", map { my $part = $_; comparable(scalar eval { $c->talk($part) }) } @parts } $cs, $co;
	next if $a eq $b;
	# Which command was it? Play it again, one at a time.
	$_->talk($clean) for $cs, $co;
	my $found;
	for my $command (@script) {
		my ($x, $y) = map { my $c = $_; scalar eval { $c->talk($command) } } $cs, $co;
		next if comparable($x) eq comparable($y);
		my ($key) = $command =~ /^\w+ (\w+)/;
		$found = shown($command) . " after " . shown(scalar $cs->talk("get $key\r\n")) . "\n    theirs: " . shown($x) . "\n    ours:   " . shown($y);
		last;
	}
	push @wrong, "script $n: " . ($found || 'differs only when pipelined: ' . shown($a) . ' | ' . shown($b));
	($cs, $co) = map { $_->client } $stock, $ours;
}
all_ok(\@wrong, "$scripts random conversations of 200 commands are the same");

done_testing();
