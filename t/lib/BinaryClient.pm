package BinaryClient;

# The binary protocol for tests, over a connection of MemcachedPair.
#
#   my $b = BinaryClient->new($node->client);
#   my $r = $b->ask(SET, key => 'k', value => 'v', extras => pack 'N N', 0, 0);
#   $r->{status}    $r->{op} {key} {extras} {value} {cas} {opaque}
#
# put() sends without reading, reply() reads one packet (undef: closed), and
# packet() is the bytes of a request.

use strict;
use warnings;

use Exporter qw(import);

my %op;

BEGIN {
	%op = (
		GET => 0x00, SET => 0x01, ADD => 0x02, REPLACE => 0x03, DELETE => 0x04, INCR => 0x05, DECR => 0x06,
		QUIT => 0x07, FLUSH => 0x08, GETQ => 0x09, NOOP => 0x0a, VERSION => 0x0b, GETK => 0x0c, GETKQ => 0x0d,
		APPEND => 0x0e, PREPEND => 0x0f, STAT => 0x10, SETQ => 0x11, ADDQ => 0x12, REPLACEQ => 0x13,
		DELETEQ => 0x14, INCRQ => 0x15, DECRQ => 0x16, QUITQ => 0x17, FLUSHQ => 0x18, APPENDQ => 0x19,
		PREPENDQ => 0x1a, TOUCH => 0x1c, GAT => 0x1d, GATQ => 0x1e, SASL_LIST => 0x20, SASL_AUTH => 0x21,
		SASL_STEP => 0x22, GATK => 0x23, GATKQ => 0x24,
	);
}
use constant \%op;
our @EXPORT = (keys %op, qw(packet storing counting));

# The bytes of a request. Fields: key, value, extras, cas, opaque.
sub packet
{
	my ($op, %f) = @_;
	my ($key, $value, $extras) = map { defined $f{$_} ? $f{$_} : '' } qw(key value extras);
	return pack('C C n C C n N N Q>', 0x80, $op, length $key, length $extras, 0, 0, length($extras . $key . $value), $f{opaque} || 0, $f{cas} || 0) . $extras . $key . $value;
}

# Extras of the storing commands, and of incr and decr.
sub storing { my ($flags, $exptime) = @_; return pack 'N N', $flags || 0, $exptime || 0 }
sub counting { my ($delta, $initial, $exptime) = @_; return pack 'Q> Q> N', $delta, $initial || 0, defined $exptime ? $exptime : 0xffffffff }

sub new
{
	my ($class, $client) = @_;
	return bless { client => $client }, $class;
}

sub client { return $_[0]{client} }
sub put { my ($self, @packet) = @_; return $self->{client}->put(packet(@packet)) }

sub reply
{
	my ($self) = @_;
	my $head = $self->{client}->bytes(24);
	return if !defined $head;
	my ($magic, $op, $key_len, $extras_len, $type, $status, $body_len, $opaque, $cas) = unpack 'C C n C C n N N Q>', $head;
	die sprintf 'no reply packet: magic %02x', $magic if $magic != 0x81 || $type != 0 || $key_len + $extras_len > $body_len;
	my $body = $body_len ? $self->{client}->bytes($body_len) : '';
	return if !defined $body;
	return {
		op => $op, status => $status, opaque => $opaque, cas => $cas,
		extras => substr($body, 0, $extras_len),
		key => substr($body, $extras_len, $key_len),
		value => substr($body, $extras_len + $key_len),
	};
}

sub ask
{
	my ($self, @packet) = @_;
	$self->put(@packet) or return;
	return $self->reply;
}

# The pairs of a list of statistics, in a hash; undef when it was refused.
sub stats
{
	my ($self, $which) = @_;
	my %pair;
	$self->put(STAT(), key => $which);
	while (1) {
		my $r = $self->reply or return;
		return if $r->{status};
		return \%pair if $r->{key} eq '';
		$pair{ $r->{key} } = $r->{value};
	}
}

1;
