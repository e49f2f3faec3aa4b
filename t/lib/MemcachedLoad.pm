package MemcachedLoad;

# Load for the tests of the pair: bulk loading, and writers and readers in child
# processes that remember what they were told, so that afterwards each key can be
# judged: lost, stale, or right. Core modules only.

use strict;
use warnings;

use Carp qw(croak);
use Exporter qw(import);
use Time::HiRes qw(time sleep);

use MemcachedPair;

our @EXPORT = qw(writer reader load_items item_value count_good);

# ---- bulk --------------------------------------------------------------------

# The value that load_items gives to key number n: the number, with zeros in front.
sub item_value
{
	my ($n, $len) = @_;
	return sprintf "%0${len}d", $n;
}

# Store keys prefix0 .. prefix(count-1), noreply, in large pipelined batches. A
# batch is one sprintf: Perl does nothing per key.
sub load_items
{
	my ($n, $prefix, $count, $len) = @_;
	my $c = $n->client(60);
	for (my $i = 0; $i < $count; $i += 2000) {
		my $last = $i + 1999 < $count ? $i + 1999 : $count - 1;
		$c->put(sprintf "set $prefix%d 0 0 $len noreply\r\n%0${len}d\r\n" x ($last - $i + 1), map { ($_, $_) } $i .. $last)
			or croak 'connection lost while loading';
	}
	$c->cmd('version') =~ /^VERSION/ or croak 'no answer after loading';
	return;
}

# How many of those keys a node holds with the right value.
sub count_good
{
	my ($n, $prefix, $count, $len) = @_;
	my $c = $n->client(60);
	my $good = 0;
	my $batch = 100;
	for (my $i = 0; $i < $count; $i += $batch * 20) {
		my @starts = grep { $_ < $count } map { $i + $_ * $batch } 0 .. 19;
		my ($ask, $want) = ('', '');
		for my $from (@starts) {
			my @numbers = $from .. ($from + $batch < $count ? $from + $batch : $count) - 1;
			$ask .= sprintf 'get' . " $prefix%d" x @numbers . "\r\n", @numbers;
			$want .= sprintf "VALUE $prefix%d 0 $len\r\n%0${len}d\r\n" x @numbers . "END\r\n", map { ($_, $_) } @numbers;
		}
		$c->put($ask);
		my $got = $c->until_ends(scalar @starts);
		# The usual case is one comparison; the other is counted key by key.
		if ($got eq $want) {
			$good += $starts[-1] + $batch < $count ? @starts * $batch : $count - $i;
			next;
		}
		while ($got =~ /^VALUE \Q$prefix\E(\d+) 0 $len\r\n(\d+)\r$/mg) {
			$good++ if $2 eq item_value($1, $len);
		}
	}
	return $good;
}

# ---- a writer that remembers ---------------------------------------------------

# Starts a child that writes keys prefix0 .. prefix(keys-1) in turn through
# nodes->[0], each time with a greater number as value; every eighth write of a
# key is a delete (deletes => 0: none). When the connection breaks or an answer
# takes longer than `patience` seconds it goes on with the next of the nodes and
# stays there. len: length of a value. pause: seconds between writes.
sub writer
{
	my (%o) = @_;
	$o{report} = tmp_dir() . "/writer.$o{prefix}.$$." . int(rand 1e9);
	$o{pid} = spawn { write_on(\%o); return 0 };
	return bless \%o, 'MemcachedLoad';
}

sub write_on
{
	my ($o) = @_;
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	my @nodes = @{ $o->{nodes} };
	my $pad = 'x' x ($o->{len} || 50);
	my $patience = ($o->{patience} || 20);
	my $now = 0;
	my %key;    # key => [number acknowledged, it was a delete, numbers in doubt, moved since]
	my ($number, $writes, $moves, $slowest) = (0, 0, 0, 0);
	my $connect = sub {
		my $until = time() + 20 * slow_factor();
		while (time() < $until && !$stop) {
			my $c = eval { $nodes[$now]->client($patience) };
			return $c if $c;
			$now = ($now + 1) % @nodes;
			sleep 0.01;
		}
		return;
	};
	my $c = $connect->();
	while (!$stop && $c) {
		$number++;
		my $name = $o->{prefix} . $number % $o->{keys};
		my $k = $key{$name} ||= { number => 0, deleted => 1, doubt => [], moves => 0 };
		my $delete = (!defined $o->{deletes} || $o->{deletes}) && int($number / $o->{keys}) % 8 == 7;
		my $began = time();
		my $reply = eval { $delete ? $c->cmd("delete $name") : $c->set($name, "$number $pad") };
		my $took = time() - $began;
		if (!defined $reply || $reply !~ /^(?:STORED|DELETED|NOT_FOUND)$/) {
			push @{ $k->{doubt} }, $delete ? "d$number" : $number;
			last if $stop;
			# A client takes a moment to notice and to go elsewhere.
			sleep 0.02;
			$now = ($now + 1) % @nodes;
			$moves++;
			$c = $connect->();
			next;
		}
		$slowest = $took if $took > $slowest;
		$writes++;
		@$k{qw(number deleted doubt moves)} = ($number, $delete ? 1 : 0, [], $moves);
		sleep $o->{pause} if $o->{pause};
	}
	open my $fh, '>', "$o->{report}.new" or die "$o->{report}: $!";
	print $fh "writes $writes moves $moves slowest $slowest\n";
	for my $name (sort keys %key) {
		my $k = $key{$name};
		print $fh join(' ', $name, @$k{qw(number deleted moves)}, @{ $k->{doubt} }), "\n";
	}
	close $fh or die "$o->{report}: $!";
	rename "$o->{report}.new", $o->{report} or die "rename: $!";
	return;
}

# Stop it. The report: { writes, moves, slowest, keys => { name => {number, deleted, moves, doubt} } }.
sub finish
{
	my ($w) = @_;
	kill 'TERM', $w->{pid};
	my $status = reap($w->{pid}, 60);
	croak 'a writer did not end' . (defined $status ? " well: $status" : '') if !defined $status || $status;
	my ($head, @lines) = split /\n/, slurp($w->{report});
	my %report = (split(' ', $head), keys => {});
	for my $line (@lines) {
		my ($name, $number, $deleted, $moves, @doubt) = split ' ', $line;
		$report{keys}{$name} = { number => $number, deleted => $deleted, moves => $moves, doubt => \@doubt };
	}
	return bless \%report, "MemcachedLoad::Report";
}

# Judge what a node shows against a report; a list of complaints. Keys whose last
# acknowledged write went to the node that was lost (moves < since) may show
# anything that was ever sent; all others must show the last acknowledged write,
# or one that was sent after it and not answered.
sub judge
{
	my ($report, $n, $since) = @_;
	my @wrong;
	my @names = sort keys %{ $report->{keys} };
	while (my @some = splice @names, 0, 200) {
		my $got = $n->c->mget(@some);
		for my $name (@some) {
			my $k = $report->{keys}{$name};
			my ($is) = $got->{$name} ? $got->{$name}{value} =~ /^(\d+)/ : ('miss');
			my @may = ($k->{deleted} ? 'miss' : $k->{number}, map { /^d/ ? 'miss' : $_ } @{ $k->{doubt} });
			next if grep { $_ eq $is } @may;
			if ($k->{moves} < ($since || 0)) {
				my ($most) = sort { $b <=> $a } $k->{number}, map { /(\d+)/ } @{ $k->{doubt} };
				next if $is eq 'miss' || $is <= $most;
			}
			push @wrong, $n->name . " $name: shows $is, not " . join(' or ', @may) . " (moves $k->{moves})";
		}
	}
	return @wrong;
}

sub MemcachedLoad::Report::judge { return judge(@_) }

# ---- a reader that never wants to see a value go back ---------------------------

# Starts a child that reads the keys of a writer on one node, over and over.
# finish_reader gives its complaints and how many values it saw.
sub reader
{
	my (%o) = @_;
	$o{report} = tmp_dir() . "/reader.$o{prefix}.$$." . int(rand 1e9);
	$o{pid} = spawn { read_on(\%o); return 0 };
	return bless \%o, 'MemcachedLoad';
}

sub read_on
{
	my ($o) = @_;
	my $stop = 0;
	local $SIG{TERM} = sub { $stop = 1 };
	my %seen;
	my ($c, $values, @wrong);
	while (!$stop) {
		$c ||= eval { $o->{node}->client(20) };
		if (!$c) {
			sleep 0.02;
			next;
		}
		for (my $i = 0; $i < $o->{keys} && !$stop; $i += 50) {
			my @names = map { "$o->{prefix}$_" } $i .. ($i + 49 < $o->{keys} ? $i + 49 : $o->{keys} - 1);
			my $got = eval { $c->mget(@names) };
			undef $c, last if !$got || $c->is_closed;
			for my $name (keys %$got) {
				my ($number) = $got->{$name}{value} =~ /^(\d+)/;
				$values++;
				push @wrong, "$name: $number after $seen{$name}" if $number < ($seen{$name} || 0);
				$seen{$name} = $number;
			}
		}
		sleep 0.002;
	}
	open my $fh, '>', $o->{report} or die "$o->{report}: $!";
	print $fh $values || 0, "\n", map { "$_\n" } @wrong > 20 ? @wrong[0 .. 19] : @wrong;
	close $fh or die "$o->{report}: $!";
	return;
}

sub finish_reader
{
	my ($r) = @_;
	kill 'TERM', $r->{pid};
	my $status = reap($r->{pid}, 60);
	croak 'a reader did not end well' if !defined $status || $status;
	my ($values, @wrong) = split /\n/, slurp($r->{report});
	return ($values, @wrong);
}

1;
