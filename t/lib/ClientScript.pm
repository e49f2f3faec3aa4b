package ClientScript;

# Run somebody else's client and take over what it found.

use strict;
use warnings;

use Exporter qw(import);
use File::Temp qw(tempfile);
use Test::More ();

use MemcachedPair;

our @EXPORT = qw(find_program run_program run_checks);

# Path of an installed program, or undef.
sub find_program
{
	my ($name) = @_;
	for my $dir (split /:/, $ENV{PATH} || '/usr/bin:/bin') {
		return "$dir/$name" if -x "$dir/$name" && !-d _;
	}
	return;
}

# Run a program; (exit code, what it printed). It is killed after the time.
sub run_program
{
	my ($seconds, @command) = @_;
	my (undef, $file) = tempfile('client-XXXXXX', DIR => tmp_dir());
	my $pid = spawn {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $file;
		open STDERR, '>&', \*STDOUT;
		exec { $command[0] } @command or return 127;
	};
	my $status = reap($pid, $seconds);
	kill 'KILL', $pid if !defined $status;
	return (defined $status ? $status >> 8 || $status & 127 : 'killed after too long', slurp($file));
}

# Run a script (undef: a program) whose lines "ok NAME" and "not ok NAME" become
# tests of ours. SCRIPT in the command line stands for the file it is put in.
sub run_checks
{
	my ($name, $script, @interpreter_and_args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @command = @interpreter_and_args;
	if (defined $script) {
		my ($fh, $file) = tempfile('script-XXXXXX', DIR => tmp_dir());
		print $fh $script;
		close $fh;
		@command = map { $_ eq 'SCRIPT' ? $file : $_ } @command;
	}
	my ($code, $said) = run_program(60, @command);
	my $checks = 0;
	for my $line (split /\n/, $said) {
		next if $line !~ /^(not )?ok (.*)$/;
		$checks++;
		Test::More::ok(!$1, "$name: $2");
	}
	Test::More::is($code, 0, "$name: ran to its end ($checks checks)") or Test::More::diag($said);
	return;
}

1;
