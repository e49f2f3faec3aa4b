#!/usr/bin/perl
# Is the simulator awake? Breaks one rule of the contract after the other in a
# copy of the source (t/mutants.list) and expects seeds of an ordinary run to
# fail. A rule whose breaking nobody notices needs a better workload.
#
#   make mutants                      all of them
#   make mutants MUTANTS="NACK RULE3" some
#
# Called in the build directory: mutants.pl SRCDIR SECONDS [NAME ...]; CC, CFLAGS
# and CPPFLAGS come from the environment.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Temp qw(tempdir);

my ($top, $seconds, @only) = @ARGV;
die "usage: mutants.pl SRCDIR SECONDS [NAME ...]\n" if !defined $seconds;
$top = abs_path($top);
my $cc = $ENV{CC} || 'cc';
my $flags = join ' ', map { $ENV{$_} || '' } qw(CPPFLAGS CFLAGS);
my $tmp = tempdir(CLEANUP => 1);
my @sim_objects = glob 't/sim*.o';
die "build t/sim first\n" if !@sim_objects || !-e 'libnode.a';

sub slurp
{
	my ($path) = @_;
	open my $f, '<', $path or die "$path: $!\n";
	local $/;
	return scalar <$f>;
}

sub read_list
{
	my @list;
	for (split /^/, slurp("$top/t/mutants.list")) {
		if (/^== (\S+) (\S+) (.*)/) {
			push @list, { name => $1, file => $2, rule => $3, old => '', new => '' };
		} elsif (/^([-+])(.*\n)/) {
			$list[-1]{ $1 eq '-' ? 'old' : 'new' } .= $2;
		}
	}
	return @list;
}

# The text without the line end after it: a change may end within a line.
sub chopped { my ($text) = @_; $text =~ s/\n\z//; return $text }

# Build the simulator with one changed source in the place of the archive's.
sub build
{
	my ($m) = @_;
	my $source = slurp("$top/$m->{file}");
	my ($old, $new) = (chopped($m->{old}), chopped($m->{new}));
	my $count = () = $source =~ /\Q$old\E/g;
	return "its text occurs $count times in $m->{file}" if $count != 1;
	$source =~ s/\Q$old\E/$new/;
	open my $f, '>', "$tmp/$m->{file}" or die $!;
	print $f $source;
	close $f or die $!;
	my $compile = "$cc -DHAVE_CONFIG_H -I. -I$top $flags -w -c $tmp/$m->{file} -o $tmp/m.o";
	return 'it does not compile' if system($compile) != 0;
	my $libs = $ENV{LIBS} || '';
	return 'it does not link' if system("$cc $flags -o $tmp/sim @sim_objects $tmp/m.o libnode.a -lm $libs") != 0;
	return;
}

my @missed;
my $found = 0;
for my $m (read_list()) {
	next if @only && !grep { $_ eq $m->{name} } @only;
	my $error = build($m);
	if ($error) {
		printf "%-18s %s\n", $m->{name}, $error;
		push @missed, $m->{name};
		next;
	}
	my $out = `$tmp/sim -s 1 -n 1000000 -t $seconds -k 1 -S 0 2>&1`;
	my ($seed, $property) = $out =~ /^seed (\d+) FAILS (\w+)/m;
	if (defined $seed) {
		printf "%-18s %-9s seed %-6d %s\n", $m->{name}, $property, $seed, $m->{rule};
		$found++;
	} else {
		printf "%-18s NOT FOUND in %d s   %s\n", $m->{name}, $seconds, $m->{rule};
		push @missed, $m->{name};
	}
}
printf "%d passed, %d failed\n", $found, scalar @missed;
exit @missed ? 1 : 0;
