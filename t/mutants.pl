#!/usr/bin/perl
# Is the simulator awake? Breaks one rule of the contract after the other in a
# copy of the source (t/mutants.list) and expects one of the seeds of an ordinary
# run to fail, those of t/seeds among them. A rule whose breaking nobody notices
# needs a better workload.
#
#   make mutants                      all of them
#   make mutants MUTANTS="NACK RULE3" some
#
# Called in the build directory: mutants.pl SRCDIR SEEDS [NAME ...]. Seeds are
# counted, not seconds, so that a slow machine finds the same. CC, CFLAGS and
# CPPFLAGS come from the environment. Exit status: 0 all were found.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Temp qw(tempdir);

my ($top, $seeds, @only) = @ARGV;
die "usage: mutants.pl SRCDIR SEEDS [NAME ...]\n" if !defined $seeds;
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

# One mutant is one change of a source, or several ("== +" goes on with the same).
sub read_list
{
	my @list;
	for (split /^/, slurp("$top/t/mutants.list")) {
		if (/^== \+ (\S+)/) {
			push @{ $list[-1]{edits} }, { file => $1, old => '', new => '' };
		} elsif (/^== (\S+) (\S+) (.*)/) {
			push @list, { name => $1, rule => $3, edits => [{ file => $2, old => '', new => '' }] };
		} elsif (/^([-+])(.*\n)/) {
			my $e = $list[-1]{edits}[-1];
			if ($1 eq '-' && length $e->{new}) { # the next place in the same file
				$e = { file => $e->{file}, old => '', new => '' };
				push @{ $list[-1]{edits} }, $e;
			}
			$e->{ $1 eq '-' ? 'old' : 'new' } .= $2;
		}
	}
	return @list;
}

# The text without the line end after it: a change may end within a line.
sub chopped { my ($text) = @_; $text =~ s/\n\z//; return $text }

# The changed sources of a mutant, or what is wrong with its text.
sub changed
{
	my ($m) = @_;
	my %source;
	for my $e (@{ $m->{edits} }) {
		$source{ $e->{file} } //= slurp("$top/$e->{file}");
		my ($old, $new) = (chopped($e->{old}), chopped($e->{new}));
		my $count = () = $source{ $e->{file} } =~ /\Q$old\E/g;
		return "its text occurs $count times in $e->{file}" if $count != 1;
		$source{ $e->{file} } =~ s/\Q$old\E/$new/;
	}
	return (undef, %source);
}

# Build the simulator with the changed sources in the place of the archive's.
sub build
{
	my ($m) = @_;
	my ($error, %source) = changed($m);
	return $error if $error;
	my @objects;
	for my $file (sort keys %source) {
		my $object = "$tmp/" . $file =~ s/\.c$/.o/r;
		open(my $f, '>', "$tmp/$file") or die "$tmp/$file: $!\n";
		print $f $source{$file};
		close($f) or die "$tmp/$file: $!\n";
		my $compile = "$cc -DHAVE_CONFIG_H -I. -I$top $flags -w -c $tmp/$file -o $object";
		return 'it does not compile' if system($compile) != 0;
		push @objects, $object;
	}
	my $libs = $ENV{LIBS} || '';
	return 'it does not link'
		if system("$cc $flags -o $tmp/sim @sim_objects @objects libnode.a -lm $libs") != 0;
	return;
}

# The first seed that fails, and the property, or nothing.
sub first_failure
{
	my ($options) = @_;
	my $out = `$tmp/sim $options -S 0 2>&1`;
	return $out =~ /^seed (\d+) FAILS (\w+)/m;
}

$| = 1;
my (@missed, @broken);
my $found = 0;
for my $m (read_list()) {
	next if @only && !grep { $_ eq $m->{name} } @only;
	my $error = build($m);
	if ($error) {
		printf "%-16s BROKEN: %s\n", $m->{name}, $error;
		push @broken, $m->{name};
		next;
	}
	my ($seed, $property) = first_failure("-s 1 -n $seeds -k 1");
	($seed, $property) = first_failure("-f $top/t/seeds -n 0") if !defined $seed;
	if (defined $seed) {
		printf "%-16s %-7s seed %5d  %s\n", $m->{name}, $property, $seed, $m->{rule};
		$found++;
	} else {
		printf "%-16s NOT FOUND           %s\n", $m->{name}, $m->{rule};
		push @missed, $m->{name};
	}
}
die "mutants: no such mutant\n" if !$found && !@missed && !@broken;
print "not found: @missed\n" if @missed;
print "cannot be tried, mend t/mutants.list: @broken\n" if @broken;
printf "mutants: %d passed, %d failed, by the seeds 1 to %d\n", $found, @missed + @broken, $seeds;
exit(@missed + @broken ? 1 : 0);
