#!/usr/bin/perl
# The shape of the code, checked by a program: layers (rule R4), no mutable data
# and no system calls below the shell (R1, R2), one door to the index and one to
# the observer (R3), sizes, and the ban list. doc/architecture.txt has the rules,
# doc/hacking.txt the words. The limits are here and are not raised in the commit
# that breaks them.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $top = abs_path("$FindBin::Bin/..");
my $build = $ENV{BUILDDIR} || $top;

my %limit = (
	function_lines => 70,
	file_lines => 900,
	header_lines => 300,
	test_file_lines => 1500,
	columns => 110,    # a tab is four
);

# The layer of a file by its name; the first that matches counts.
my @layers = (
	[0, qr/^(?:compat|util|buf|log|clock|hmac|vmem|config)$/],
	[1, qr/^(?:change|slabs|assoc|tombs|items\w*|store)$/],
	[2, qr/^(?:proto\w*|repl_wire|repl_text|message\w*|output|commands)$/],
	[3, qr/^(?:settings\w*|stats\w*|hold|watch|debug|engine|auth|command\w*)$/],
	[4, qr/^(?:session\w*|replication\w*|repl_\w+)$/],
	[5, qr/^(?:node\w*)$/],
	[6, qr/^(?:net\w*|daemon\w*|memcached)$/],
);
# Headers that are longer for a reason, and may not grow beyond this: the contract
# of the storage, which is read as one, and what the parts of a split module share.
my %grown = (
	"items.h" => 400,
	"items_internal.h" => 400,
	"repl_internal.h" => 400,
);
# Files whose layer is not in their name.
my %layer_of = ();

# Per rule, files that may: each with its reason.
my %may = (
	system_headers => { vmem => 'reserves address space: memory, not I/O' },
	system_calls => { vmem => 'the same' },
);

my @sources = sort map { s{.*/}{}r } glob("$top/*.c"), glob("$top/*.h"), glob("$top/*.def");
plan skip_all => 'no sources here' if !@sources;

sub layer
{
	my ($file) = @_;
	my $base = $file =~ s/\.\w+$//r;
	return $layer_of{$base} if exists $layer_of{$base};
	for my $row (@layers) {
		return $row->[0] if $base =~ $row->[1];
	}
	return;
}

sub text_of
{
	my ($path) = @_;
	open my $fh, '<:raw', $path or die "$path: $!";
	local $/;
	return scalar <$fh>;
}

# The same text with comments and the insides of literals blanked, lines kept.
sub code_of
{
	my ($text) = @_;
	my $blank = sub { my ($s) = @_; $s =~ s/[^\n]/ /g; return $s };
	$text =~ s{(/\*.*?\*/)|(//[^\n]*)|"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'}
	          {defined $1 ? $blank->($1) : defined $2 ? $blank->($2)
	           : defined $3 ? '"' . $blank->($3) . '"' : "'" . $blank->($4) . "'"}gse;
	return $text;
}

my (%text, %code);
for my $file (@sources) {
	$text{$file} = text_of("$top/$file");
	$code{$file} = code_of($text{$file});
}

# Functions of a file: [name, first line, number of lines, body]. A definition
# begins in column 0 and its body is between braces in column 0.
sub functions_of
{
	my ($code) = @_;
	my @lines = split /\n/, $code;
	my (@found, $name, $start);
	for my $i (0 .. $#lines) {
		if (!defined $start && $lines[$i] eq '{') {
			my $head = join ' ', @lines[($i > 6 ? $i - 6 : 0) .. $i - 1];
			$head =~ s/.*[;}]//s;
			($name) = $head =~ /(\w+)\s*\(/ ? $1 : undef;
			$start = $i if defined $name;
		} elsif (defined $start && $lines[$i] =~ /^\}/) {
			push @found, [$name, $start + 1, $i - $start + 1, join "\n", @lines[$start .. $i]];
			undef $start;
		}
	}
	return @found;
}

# Complaints of one rule over all files: a block gets (file, code, text).
sub rule
{
	my ($name, $check) = @_;
	my @wrong = map { $check->($_, $code{$_}, $text{$_}) } @sources;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(!@wrong, $name) or diag map { "  $_\n" } @wrong;
	return;
}

# Where in a file a pattern of code is: "file:line: what".
sub places
{
	my ($file, $code, $re, $what) = @_;
	my @found;
	while ($code =~ /$re/g) {
		my $line = 1 + (substr($code, 0, $-[0]) =~ tr/\n//);
		push @found, "$file:$line: " . ($what || $&);
	}
	return @found;
}

# ---- layers ------------------------------------------------------------------

rule 'every file has a layer', sub {
	my ($file) = @_;
	return defined layer($file) ? () : "$file: which layer? (table in t/tidy.t)";
};

rule 'a file includes only headers of its own or lower layers', sub {
	my ($file, undef, $text) = @_;
	my @wrong;
	my $mine = layer($file);
	while ($text =~ /^#include "([^"]+)"/mg) {
		my ($included, $its) = ($1, layer($1));
		next if !defined $mine;
		push @wrong, "$file: \"$included\" is not here" if !exists $code{$included} && $included ne 'config.h';
		push @wrong, "$file (layer $mine) includes $included (layer $its)" if defined $its && $its > $mine;
	}
	return @wrong;
};

rule 'compat.h is the first include', sub {
	my ($file, undef, $text) = @_;
	return if $file eq 'compat.h' || $file =~ /\.def$/;
	my ($first) = $text =~ /^#include ([<"][^>"]+[>"])/m or return;
	return $first eq '"compat.h"' ? () : "$file: first include is $first";
};

rule 'headers have a guard named after them', sub {
	my ($file, undef, $text) = @_;
	return if $file !~ /\.h$/;
	my $guard = uc $file =~ s/\W/_/gr;
	return $text =~ /^#ifndef $guard\n#define $guard$/m ? () : "$file: no $guard";
};

rule 'no libevent, sockets, errno or system headers below the shell', sub {
	my ($file, undef, $text) = @_;
	return if !defined layer($file) || layer($file) >= 6 || $file eq 'compat.h';
	return if $may{system_headers}{ $file =~ s/\.\w+$//r };
	return map { "$file: <$_>" } grep { m{^(?:event|errno|unistd|fcntl|signal|netdb|poll|pwd|grp|ifaddrs)|^(?:sys|net|netinet|arpa|linux)/} }
		$text =~ /^#include <([^>]+)>/mg;
};

rule 'no clock, chance, environment or output below the shell', sub {
	my ($file, $code) = @_;
	return if !defined layer($file) || layer($file) >= 6 || $file eq 'compat.h';
	return if $may{system_calls}{ $file =~ s/\.\w+$//r };
	return places($file, $code, qr/(?<![\w.>])(?:time|clock|gettimeofday|clock_gettime|rand|random|srand|drand48|getenv|secure_getenv|printf|puts|putchar|fprintf|vfprintf|vprintf|fputs|perror|exit|_exit|getrandom|socket|recv|send|read|write|open|close|fopen|sleep|usleep|errno)\s*\(|\berrno\b/);
};

# ---- one door ----------------------------------------------------------------

rule 'the index is changed in items*.c only', sub {
	my ($file, $code) = @_;
	return if $file =~ /^(?:assoc\.[ch]|items\w*\.[ch])$/;
	return places($file, $code, qr/\bassoc_(?:insert|delete)\s*\(/);
};

rule 'items_emit() is called by the four mutators only', sub {
	my ($file, $code) = @_;
	return if $file !~ /\.c$/;
	my %allowed = map { $_ => 1 } qw(items_install items_remove items_amend items_flush items_emit);
	my @wrong;
	for my $f (functions_of($code)) {
		my ($name, $line, undef, $body) = @$f;
		push @wrong, "$file:$line: $name() calls items_emit()" if $body =~ /\bitems_emit\s*\(/ && !$allowed{$name};
	}
	return @wrong;
};

rule 'handlers know nothing of replication', sub {
	my ($file, $code) = @_;
	return if $file !~ /^(?:command\w*|proto_\w+|store)\.[ch]$/;
	return (places($file, $code, qr/#\s*include "repl\w*\.h"/), places($file, $code, qr/\brepl_(?!stats\b|stats_flat\b)\w+\s*\(/));
};

rule 'no #if outside compat.h and the shell', sub {
	my ($file, $code) = @_;
	return if $file eq 'compat.h' || (defined layer($file) && layer($file) >= 6);
	my $guard = uc $file =~ s/\W/_/gr;
	return grep { $_ !~ /#ifndef $guard$/ } places($file, $code, qr/^[ \t]*#[ \t]*(?:if|ifdef|ifndef|elif)\b[^\n]*/m);
};

# ---- sizes -------------------------------------------------------------------

my @lengths;
rule "functions have at most $limit{function_lines} lines", sub {
	my ($file, $code) = @_;
	return if $file !~ /\.[ch]$/;
	my @functions = functions_of($code);
	push @lengths, map { $_->[2] } @functions;
	return map { "$file:$_->[1]: $_->[0]() has $_->[2] lines" } grep { $_->[2] > $limit{function_lines} } @functions;
};
if (my @sorted = sort { $a <=> $b } @lengths) {
	note(sprintf '%d functions: median %d, 90 %% %d, longest %d lines', scalar @sorted, $sorted[@sorted / 2], $sorted[@sorted * 0.9], $sorted[-1]);
}

rule "files have at most $limit{file_lines} lines, headers $limit{header_lines}", sub {
	my ($file, undef, $text) = @_;
	my $lines = $text =~ tr/\n//;
	my $max = $file =~ /\.h$/ ? $limit{header_lines} : $limit{file_lines};
	$max = $grown{$file} if $grown{$file};
	return $lines > $max ? "$file has $lines lines, at most $max" : ();
};

rule "lines have at most $limit{columns} columns", sub {
	my ($file, undef, $text) = @_;
	my ($n, @wrong) = (0);
	for my $line (split /\n/, $text) {
		$n++;
		my $wide = $line;
		utf8::decode($wide);
		1 while $wide =~ s/\t/' ' x (4 - $-[0] % 4)/e;
		push @wrong, "$file:$n: " . length($wide) . ' columns' if length $wide > $limit{columns};
	}
	return @wrong;
};

rule 'no blanks at the end of a line, a newline at the end of a file', sub {
	my ($file, undef, $text) = @_;
	return (places($file, $text, qr/[ \t\r]+$/m, 'blanks'), $text =~ /\n\z/ ? () : "$file: no newline at the end");
};

# ---- the ban list ------------------------------------------------------------

rule 'nothing left to do', sub {
	my ($file, undef, $text) = @_;
	return places($file, $text, qr/\b(?:TODO|FIXME|XXX|HACK)\b/);
};

rule 'no banned calls', sub {
	my ($file, $code) = @_;
	return if $file eq 'compat.h';
	return places($file, $code, qr/(?<!\w)(?:strcpy|strcat|strncpy|strncat|sprintf|vsprintf|strtok|strtok_r|gets|alloca|gmtime|localtime|ctime|asctime|atoi|atol|atof|setjmp|longjmp|system|popen|tmpnam|mktemp)\s*\(/);
};

rule 'no C++ comments, no typedef of structs', sub {
	my ($file, $code, $text) = @_;
	my @wrong = places($file, $code, qr/\btypedef\s+(?:struct|union|enum)\b/);
	# Blank what is in block comments and literals, then look for //.
	my $rest = $text;
	$rest =~ s{(/\*.*?\*/)|"((?:[^"\\\n]|\\.)*)"}{my $s = $&; $s =~ s/[^\n]/ /g; $s}gse;
	return (@wrong, places($file, $rest, qr{//[^\n]*}, 'C++ comment'));
};

rule 'every file says at the top what it is', sub {
	my ($file, undef, $text) = @_;
	return $text =~ m{\A/\*[\s\S]{60,}?\*/} ? () : "$file: no comment at the top";
};

# ---- the tests themselves ----------------------------------------------------

my @tests = map { s{^\Q$top\E/}{}r } glob("$top/t/*.t"), glob("$top/t/clients/*.t"), glob("$top/t/lib/*.pm");
{
	my @wrong;
	for my $file (@tests) {
		my $text = text_of("$top/$file");
		push @wrong, "$file: over $limit{test_file_lines} lines" if ($text =~ tr/\n//) > $limit{test_file_lines};
		push @wrong, places($file, $text, qr/^\s*sleep\s*\(?\s*[1-9]/m, 'a bare sleep: wait for a condition') if $file !~ m{/lib/};
		push @wrong, places($file, $text, qr/\b(?:11211|11212)\b/, 'a fixed port') if $file !~ m{/(?:lib/|tidy\.t|options\.t|stats\.t)};
		push @wrong, "$file: no \"use strict\"" if $text !~ /^use strict;$/m;
	}
	ok(!@wrong, 'tests: no fixed ports, no bare sleeps') or diag map { "  $_\n" } @wrong;
}

# ---- the benchmark -------------------------------------------------------------

{
	my $explained = text_of("$top/doc/performance.txt");
	my @words = map { text_of($_) =~ /\((?:LIMIT|"[\w-]+"), [\d.e]+, "([^"]+)"\)/g }
		glob("$top/bench/run_*.py");
	my @missing = grep { index($explained, qq{ - "$_": }) < 0 } @words;
	ok(@words && !@missing, 'what a page says of a missed bar is in doc/performance.txt')
		or diag map { "  $_\n" } @missing;
}

# ---- the archive of layers 0 to 5 ----------------------------------------------

SKIP: {
	my $archive = "$build/libnode.a";
	skip 'libnode.a is not built', 3 if !-f $archive;
	my $nm = `nm -A -f sysv '$archive' 2>/dev/null`;
	skip 'no nm', 3 if $? || $nm !~ /\|/;

	my (@data, @undefined);
	my %system = map { $_ => 1 } qw(
		time clock gettimeofday clock_gettime rand random srand drand48 getenv secure_getenv
		printf puts putchar perror exit _exit getrandom getpid
		socket bind listen accept connect send sendmsg recv recvmsg sendto recvfrom read write readv writev
		open close fopen fclose fwrite fread poll select epoll_wait sleep usleep nanosleep fork
		__errno_location signal sigaction getaddrinfo
	);
	for my $row (split /\n/, $nm) {
		my @f = map { s/^\s+|\s+$//gr } split /\|/, $row;
		next if @f < 6;
		my ($member, $name) = $f[0] =~ /^(?:.*?:)?(\S+?\.o):\s*(\S+)$/ or next;
		# What sanitizers and coverage put in is not ours.
		next if $name =~ /^(?:__|\.L|_GLOBAL_|gcov)/ && $name ne '__errno_location';
		my ($class, $section) = ($f[2], $f[6] || '');
		push @data, "$member: $name in $section" if $class =~ /^[dDbBC]$/ && $section !~ /^\.data\.rel\.ro|\.rodata/;
		my $plain = $name =~ s/@.*//r;
		push @undefined, "$member: $plain" if $class eq 'U' && ($system{$plain} || $plain =~ /^(?:event_|evbuffer|bufferevent|evdns|evutil)/)
			&& !$may{system_calls}{ $member =~ s/.*?(?:libnode_a-)?(\w+)\.o/$1/r };
	}
	ok(!@data, 'libnode.a has no mutable data') or diag map { "  $_\n" } @data;
	ok(!@undefined, 'libnode.a calls neither the system nor libevent') or diag map { "  $_\n" } @undefined;

	my $dir = tempdir(CLEANUP => 1);
	open my $fh, '>', "$dir/main.c" or die "main.c: $!";
	print $fh "int main(void)\n{\n\treturn 0;\n}\n";
	close $fh;
	my $cc = $ENV{CC} || 'cc';
	my $flags = $nm =~ /__asan_init/ ? '-fsanitize=address,undefined' : $nm =~ /__gcov/ ? '--coverage' : '';
	my $said = `$cc $flags -o '$dir/main' '$dir/main.c' -Wl,--whole-archive '$archive' -Wl,--no-whole-archive -lcrypto -lxxhash -lm 2>&1`;
	is($? >> 8, 0, 'libnode.a links without libevent') or diag substr $said, 0, 2000;
}

done_testing();
