package BinaryPackets;

# Binary packets for tests that compare them: several at once, by any transport. Names
# and rows of opcodes are read from the sources, so that none is forgotten.
# BinaryClient.pm is for conversations.

use strict;
use warnings;

use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);

use BinaryClient ();
use MemcachedPair;

*packet = \&BinaryClient::packet;

our @EXPORT = qw(packet packets_of binary_talk opcodes opcode_table shown_packets);

my $FENCE = 0xfe4ce;

# Whole packets at the beginning of bytes, and what is left behind them.
sub packets_of
{
	my ($bytes) = @_;
	my @found;
	while (length $bytes >= 24) {
		my ($magic, $opcode, $key_len, $extras_len, $type, $status, $body_len, $opaque, $cas) = unpack 'CCnCCnNNQ>', $bytes;
		last if length $bytes < 24 + $body_len;
		my $body = substr $bytes, 24, $body_len;
		substr $bytes, 0, 24 + $body_len, '';
		push @found, {
			magic => $magic, opcode => $opcode, type => $type, status => $status, opaque => $opaque, cas => $cas,
			extras => substr($body, 0, $extras_len),
			key => substr($body, $extras_len, $key_len),
			value => substr($body, $extras_len + $key_len),
		};
	}
	return (\@found, $bytes);
}

# Send packets, and a NOOP behind them: what is answered before the NOOP. A
# connection that was closed instead gives a last packet { closed => 1 }.
sub binary_talk
{
	my ($client, $bytes) = @_;
	my @found;
	my $gone = { closed => 'closed' };
	$client->put($bytes . packet(0x0a, opaque => $FENCE)) or return ($gone);
	while (1) {
		my $head = $client->bytes(24);
		return (@found, $gone) if !defined $head;
		my $body = $client->bytes(unpack 'x8N', $head);
		return (@found, $gone) if !defined $body;
		my ($packets) = packets_of($head . $body);
		return @found if $packets->[0]{opcode} == 0x0a && $packets->[0]{opaque} == $FENCE;
		push @found, @$packets;
	}
}

sub source
{
	my ($name) = @_;
	my $text = slurp(dirname(abs_path(__FILE__)) . "/../../$name");
	die "$name is not there" if $text eq '';
	return $text;
}

# Name of an opcode => its number, from the enum in proto_bin.h.
sub opcodes
{
	my %number = source('proto_bin.h') =~ /^\tBIN_(\w+) = (0x[0-9a-f]{2}),?$/mg;
	return { map { $_ => hex $number{$_} } keys %number };
}

# Name of an opcode => name of the row of commands.def that it is, from proto_bin.c.
sub opcode_table
{
	return { source('proto_bin.c') =~ /^\t\[BIN_(\w+)\] = OP\((\w+),/mg };
}

sub shown_packets
{
	my (@packets) = @_;
	return join ' + ', map {
		my $p = $_;
		$p->{closed} ? $p->{closed} : sprintf('op %02x status %04x opaque %x cas %s', @$p{qw(opcode status opaque)}, $p->{cas})
			. join '', map { length $p->{$_} ? " $_=" . (length $p->{$_} > 60 ? length($p->{$_}) . ' bytes' : $p->{$_} =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger) : '' } qw(extras key value)
	} @packets;
}

1;
