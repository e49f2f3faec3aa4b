package FakeRepcached;

# The link side of a repcached 2.x, played by the test: its bytes in both roles,
# a hash for its cache, method calls for its clients. It does something only when
# it is told to (pump), so a test knows what it has read and what not.
#
# Like the real one it never says who it is, answers nothing, obeys its five
# lines, and dies of whatever it would have to answer: then `dead` says of what.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR EWOULDBLOCK);
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);

# new(addr => ..., port => link port)
sub new
{
	my ($class, %o) = @_;
	return bless { %o, cache => {}, cas => 0, in => '', out => '', copied => 0, obeyed => 0, dead => undef }, $class;
}

# ---- roles -----------------------------------------------------------------------

# As without -x, and as after every loss of the link.
sub listen
{
	my ($self) = @_;
	$self->{listener} = IO::Socket::INET->new(LocalAddr => $self->{addr}, LocalPort => $self->{port}, Listen => 1, ReuseAddr => 1, Proto => 'tcp')
		or die "$self->{addr}:$self->{port}: $!";
	$self->{listener}->blocking(0);
	return $self;
}

# As with -x: says nothing, waits for the copy. False when it is refused.
sub connect
{
	my ($self, $to) = @_;
	my $s = IO::Socket::INET->new(LocalAddr => $self->{addr}, PeerAddr => $to, PeerPort => $self->{port}, Proto => 'tcp') or return 0;
	$self->linked($s);
	return 1;
}

sub linked
{
	my ($self, $s) = @_;
	$s->blocking(0);
	setsockopt $s, IPPROTO_TCP, TCP_NODELAY, 1;
	$self->{link} = $s;
	$self->{in} = $self->{out} = '';
	return;
}

sub try_accept
{
	my ($self) = @_;
	my $s = $self->{listener}->accept or return;
	delete $self->{listener};    # the next one is refused
	$self->linked($s);
	$self->put_rep($_) for sort keys %{ $self->{cache} };
	$self->{out} .= "marugoto_end\r\n";
	return;
}

# The process ends.
sub stop
{
	my ($self) = @_;
	1 while $self->{link} && length $self->{out} && $self->push_out;
	close delete $self->{$_} for grep { $self->{$_} } qw(link listener);
	return;
}

sub is_linked { return defined $_[0]{link} }

# ---- bytes -----------------------------------------------------------------------

# Accept, read, obey, write, as much as there is.
sub pump
{
	my ($self) = @_;
	return if $self->{dead};
	$self->try_accept if $self->{listener};
	return if !$self->{link};
	while ($self->{link}) {
		my $n = sysread $self->{link}, $self->{in}, 65536, length $self->{in};
		if (!$n) {
			last if !defined $n && ($! == EAGAIN || $! == EINTR || $! == EWOULDBLOCK);
			close delete $self->{link};
			$self->obey;
			$self->listen;
			return;
		}
		$self->obey;
	}
	$self->push_out;
	return;
}

sub push_out
{
	my ($self) = @_;
	return 0 if !$self->{link} || !length $self->{out};
	my $n = syswrite $self->{link}, $self->{out};
	return $! == EAGAIN ? 0 : ($self->{out} = '') if !defined $n;
	substr $self->{out}, 0, $n, '';
	return 1;
}

sub obey
{
	my ($self) = @_;
	while (!$self->{dead} && (my $end = index $self->{in}, "\r\n") >= 0) {
		my $line = substr $self->{in}, 0, $end;
		my $used = $end + 2;
		if ($line =~ /^rep (\S{1,250}) (\d+) (\d+) (\d+) (\d+)$/) {
			my ($key, $flags, $exp, $bytes, $cas) = ($1, $2, $3, $4, $5);
			return if length($self->{in}) < $used + $bytes + 2;
			my $value = substr $self->{in}, $used, $bytes;
			$used += $bytes + 2;
			$self->{dead} = "$key: no end of line behind a value" if substr($self->{in}, $used - 2, 2) ne "\r\n";
			$self->{dead} = "$key: numbers that do not fit" if $exp > 0x7fffffff || $flags > 0xffffffff || $cas > 0xffffffff;
			$self->{cache}{$key} = { value => $value, flags => $flags, exp => $exp, cas => $cas };
		} elsif ($line =~ /^delete (\S{1,250})$/) {
			delete $self->{cache}{$1};
		} elsif ($line =~ /^flush_all (\d*)$/) {
			$self->{flush_at} = $1;
			$self->{cache} = {} if $1 eq '';
		} elsif ($line eq 'marugoto_end') {
			$self->{copied}++;
		} else {
			$self->{dead} = 'obeyed "' . substr($line, 0, 60) . '"';
		}
		$self->{obeyed}++;
		substr $self->{in}, 0, $used, '';
	}
	return;
}

# Bytes as they are.
sub say
{
	my ($self, $bytes) = @_;
	$self->{out} .= $bytes;
	$self->push_out;
	return;
}

sub put_rep
{
	my ($self, $key) = @_;
	my $i = $self->{cache}{$key};
	my $bytes = length $i->{value};
	$self->{out} .= "rep $key $i->{flags} $i->{exp} $bytes $i->{cas}\r\n$i->{value}\r\n";
	return;
}

# ---- what its clients do -----------------------------------------------------------

sub set
{
	my ($self, $key, $value, $flags, $exp) = @_;
	$self->{cache}{$key} = { value => $value, flags => $flags || 0, exp => $exp || 0, cas => ++$self->{cas} };
	return if !$self->{link};
	$self->put_rep($key);
	$self->push_out;
	return;
}

sub delete
{
	my ($self, $key) = @_;
	delete $self->{cache}{$key};
	$self->say("delete $key\r\n") if $self->{link};
	return;
}

sub flush_all
{
	my ($self) = @_;
	$self->{cache} = {};
	$self->say("flush_all \r\n") if $self->{link};
	return;
}

sub get
{
	my ($self, $key) = @_;
	my $i = $self->{cache}{$key};
	return $i && (!$i->{exp} || $i->{exp} > time) ? $i->{value} : undef;
}

1;
