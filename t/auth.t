#!/usr/bin/perl
# Who may log in. -Y: a file of users, by the text protocol, read again at
# SIGHUP; -S: SASL, by the binary protocol. Nothing else is answered before
# (doc/protocol.txt sections 1 and 3).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use BinaryClient;
use MemcachedPair;
use Test::More;

my @root = $> == 0 ? qw(-u root) : ();
my $n_files = 0;

sub file_with
{
	my ($text) = @_;
	my $path = tmp_dir() . '/users.' . ++$n_files;
	rewrite($path, $text);
	return $path;
}

# As an editor does: written beside and renamed.
sub rewrite
{
	my ($path, $text) = @_;
	open my $fh, '>', "$path.new" or die "$path: $!";
	print $fh $text;
	close $fh;
	rename "$path.new", $path or die "$path: $!";
	return;
}

# A node on a Unix socket, which answers nothing until somebody logs in.
sub locked_node
{
	my (%o) = @_;
	my $n = node(unix => tmp_dir() . "/$o{name}.sock", %o);
	$n->start(wait => 0);
	wait_for { !$n->alive || $n->serves };
	ok($n->alive, "$o{name} runs") or diag $n->log;
	return $n;
}

# ---- refused at start -----------------------------------------------------------

sub refused
{
	my ($name, $code, $message, @args) = @_;
	my ($is, $out, $err) = run_daemon_to_end(binary(), @root, '-s', tmp_dir() . '/never.sock', @args);
	ok(defined $is && $is eq $code && $err =~ $message, $name) or diag 'exit ', defined $is ? $is : '-', ": $err";
	return;
}

my $users = file_with("alice:wonder land\nbob:b:o:b\n");
refused('no such file', 1, qr/^-Y \S+: No such file/, '-Y', tmp_dir() . '/none');
for my $case (
	['an empty file', '', qr/it is empty/],
	['no colon', "alice:x\nbob\n", qr/line 2: not of the form user:password/],
	['no user', ":x\n", qr/line 1: not of the form/],
	['no password', "x:\n", qr/line 1: not of the form/],
	['an empty line', "a:b\n\n", qr/line 2: not of the form/],
	['a long line', 'a:' . 'b' x 254, qr/line 1: longer than 255/],
	['nine users', join('', map { "u$_:p\n" } 1 .. 9), qr/line 9: more than 8 users/],
	['a large file', "a:b\n" x 10_000, qr/longer than 8 lines/],
) {
	refused($case->[0], 1, $case->[2], '-Y', file_with($case->[1]));
}
refused("-Y and -B $_", 64, qr/-Y works with the text protocol only/, '-Y', $users, '-B', $_) for qw(binary auto);
refused('the other order', 64, qr/-Y works with the text protocol only/, '-B', 'binary', '-Y', $users);

# ---- logging in -----------------------------------------------------------------

my $n = locked_node(name => 'ascii', args => ['-Y', $users, '-B', 'ascii', '-v']);

# What is said to each line of a conversation of its own; undef: closed.
sub said_to
{
	my (@parts) = @_;
	my $c = $n->client;
	my @said = map { $c->put($_); $c->line } @parts;
	return wantarray ? @said : $said[0];
}

my $refusal = 'CLIENT_ERROR unauthenticated';
my $right = "set x 0 0 17\r\nalice wonder land\r\n";
for my $case (
	['get', "get a\r\n", $refusal],
	['version', "version\r\n", $refusal],
	['stats', "stats\r\n", $refusal],
	['flush_all', "flush_all\r\n", $refusal],
	['a meta command', "mg abcd v\r\n", $refusal],
	['shutdown', "shutdown\r\n", $refusal],
	['add', "add x 0 0 17\r\n", $refusal],
	['an indented set', " set x 0 0 17\r\n", $refusal],
	['four words', "set x 0 0\r\n", $refusal],
	['no length', "set x 0 0 abc\r\n", $refusal],
	['a negative length', "set x 0 0 -1\r\n", $refusal],
	['too long', "set x 0 0 16385\r\n" . 'x' x 16385 . "\r\n", 'CLIENT_ERROR auth token too long'],
	['no CRLF', "set x 0 0 16\r\nalice wonder land\r\n", 'CLIENT_ERROR bad command line termination'],
	['no blank', "set x 0 0 5\r\nalice\r\n", 'CLIENT_ERROR bad authentication token format'],
	['nothing', "set x 0 0 0\r\n\r\n", 'CLIENT_ERROR bad authentication token format'],
	['a wrong password', "set x 0 0 17\r\nalice wonder l4nd\r\n", 'CLIENT_ERROR authentication failure'],
	['the beginning of it', "set x 0 0 12\r\nalice wonder\r\n", 'CLIENT_ERROR authentication failure'],
	['more than it', "set x 0 0 18\r\nalice wonder landx\r\n", 'CLIENT_ERROR authentication failure'],
	["another's password", "set x 0 0 11\r\nalice b:o:b\r\n", 'CLIENT_ERROR authentication failure'],
	['no such user', "set x 0 0 11\r\ncarol b:o:b\r\n", 'CLIENT_ERROR authentication failure'],
	['the longest token', "set x 0 0 16384\r\na " . 'x' x 16382 . "\r\n", 'CLIENT_ERROR authentication failure'],
	['noreply is not heeded', "set x 0 0 17 noreply\r\nalice wonder l4nd\r\n", 'CLIENT_ERROR authentication failure'],
	['a short line', "quit\r\n", undef],
	['an empty line', "\r\n", undef],
	['a line without an end', 'set ' . 'x' x 3000, undef],
	['right', $right, 'STORED'],
	['whatever key, flags and expiry', "set " . 'k' x 300 . " abc -7 9 more words\r\nbob b:o:b\r\n", 'STORED'],
) {
	my ($name, $bytes, $expected) = @$case;
	is(said_to($bytes), $expected, $name);
}
is((said_to("get a\r\n", "set x 0 0 17\r\nalice wonder l4nd\r\n", $right))[2], 'STORED', 'after two refusals, still');
is_deeply([said_to($right, "get alice\r\n", "set x 0 0 1\r\n1\r\n", "get x\r\n")], ['STORED', 'END', 'STORED', 'VALUE x 0 1'],
	'what was said was no item, and set is set afterwards');

my $c = $n->client;
$c->put("get a\r\nset x 0 0 17\r\nalice wonder l4nd\r\n${right}get nothing\r\nversion\r\n");
like(join('|', map { $c->line } 1 .. 5), qr/^\Q$refusal\E\|CLIENT_ERROR authentication failure\|STORED\|END\|VERSION/, 'all of it in one piece');
my $drip = $n->client;
$drip->put($_) for split //, $right . "version\r\n";
like(join('|', map { $drip->line } 1 .. 2), qr/^STORED\|VERSION/, 'byte by byte');
is($n->client->put("\x80\x0a" . "\0" x 22) && 1, 1, 'a binary packet is only bytes without a line');

my %before = %{ $c->stats };
said_to("set x 0 0 17\r\nalice wonder l4nd\r\n", $right);
my $after = $c->stats;
is($after->{auth_cmds} - $before{auth_cmds}, 2, 'attempts are counted');
is($after->{auth_errors} - $before{auth_errors}, 1, 'and those that failed');
is($c->stats('settings')->{auth_enabled_ascii}, $users, 'stats settings shows the file');
is($c->stats('settings')->{auth_enabled_sasl}, 'no', 'and no SASL');
is($c->stats('settings')->{binding_protocol}, 'ascii', 'and the protocol');
unlike($n->log, qr/wonder|b:o:b/, 'no password is logged');

# ---- read again -----------------------------------------------------------------

rewrite($users, "carol:new\n");
$n->signal('HUP');
wait_ok { $n->log =~ /-Y: 1 users were read/ } 'SIGHUP: read again';
is(said_to($right), 'CLIENT_ERROR authentication failure', 'the old user may no more');
is(said_to("set x 0 0 9\r\ncarol new\r\n"), 'STORED', 'the new one may');
like($c->cmd('version'), qr/^VERSION/, 'who was in stays in');
rewrite($users, "bad\n");
$n->signal('HUP');
wait_ok { $n->log =~ /not of the form user:password: the users stay as they were/ } 'a bad file is said';
is(said_to("set x 0 0 9\r\ncarol new\r\n"), 'STORED', 'and changes nothing');
$n->stop;

# ---- SASL -----------------------------------------------------------------------

my $passwords = file_with("alice:wonder land\nbob:b:o:b\n" . join '', map { "user$_:password$_\n" } 1 .. 100);
my (undef, undef, $not_built) = run_daemon_to_end(binary(), @root, '-S', '-B', 'ascii', '-s', tmp_dir() . '/never.sock');
if ($not_built =~ /^This server is not built with SASL support\.$/) {
	pass('a server without SASL says so');
	done_testing();
	exit;
}
refused("-S and -B $_", 64, qr/-S works with the binary protocol only/, '-S', '-B', $_) for qw(ascii auto);
refused('-S and -Y', 64, qr/-S and -Y exclude each other/, '-S', '-Y', file_with("a:b\n"));

my $s = locked_node(name => 'sasl', args => ['-S', '-vv'], env => { MEMCACHED_SASL_PWDB => $passwords });
sub binary_client { return BinaryClient->new($s->client) }
sub plain { my ($user, $password) = @_; return (SASL_AUTH, key => 'PLAIN', value => "\0$user\0$password") }

for my $case (
	['GET', GET, key => 'k'],
	['SET', SET, key => 'k', value => 'v', extras => storing()],
	['a quiet one', GETQ, key => 'k'],
	['NOOP', NOOP],
	['STAT', STAT],
	['FLUSH', FLUSH],
	['QUIT', QUIT],
	['what is unknown', 0x77],
) {
	my ($name, @packet) = @$case;
	my $b = binary_client();
	my $r = $b->ask(@packet);
	is($r && sprintf('%02x %s', @$r{qw(status value)}), '20 Auth failure.', "$name before the login");
	ok(defined $b->client->until_closed, 'and that is the end');
}
my $text = $s->client;
$text->put("version\r\n");
is($text->until_closed, '', 'text is not spoken');

my $b = binary_client();
like($b->ask(VERSION)->{value}, qr/^\d+\.\d+/, 'VERSION is allowed');
is($b->ask(SASL_LIST)->{value}, 'PLAIN', 'the mechanisms');
is($b->ask(plain('alice', 'wonder l4nd'))->{status}, 0x20, 'a wrong password');
is($b->ask(plain('carol', 'x'))->{status}, 0x20, 'no such user');
is($b->ask(plain('alice', ''))->{status}, 0x20, 'no password');
is($b->ask(SASL_AUTH, key => 'CRAM-MD5', value => '')->{status}, 0x20, 'another mechanism');
is($b->ask(SASL_AUTH, key => 'PLAIN', value => 'nonsense')->{status}, 0x20, 'nonsense');
is($b->ask(SASL_STEP, key => 'PLAIN', value => "\0alice\0wonder land")->{status}, 0x20, 'a step of nothing');
my $r = $b->ask(plain('alice', 'wonder land'));
is(sprintf('%02x %s', @$r{qw(status value)}), '00 Authenticated', 'the right one, after all these');
is($b->ask(SET, key => 'k', value => 'v', extras => storing())->{status}, 0, 'SET');
is($b->ask(GET, key => 'k')->{value}, 'v', 'GET');
is($b->ask(plain('bob', 'wrong'))->{status}, 0x20, 'another login that fails');
is($b->ask(GET, key => 'k')->{status}, 0x20, 'and who was in is out');

$b = binary_client();
$b->client->put(packet(plain('user100', 'password100')) . packet(GETQ, key => 'nothing') . packet(GET, key => 'k') . packet(NOOP));
is(join(' ', map { my $p = $b->reply; "$p->{op}:$p->{status}" } 1 .. 3), '33:0 0:0 10:0', 'login and commands in one piece');
my $stats = $b->stats;
is("$stats->{auth_cmds} $stats->{auth_errors}", '9 7', 'counted');
is($b->stats('settings')->{auth_enabled_sasl}, 'yes', 'stats settings');
is($b->stats('settings')->{binding_protocol}, 'binary', 'the protocol');
$b = binary_client();
is($b->ask(SASL_AUTH, key => 'x' x 251, value => '')->{status}, 4, 'a long name of a mechanism');
is(binary_client()->ask(SASL_AUTH, key => 'PLAIN', value => 'x' x 20000)->{status}, 4, 'a long message');

rewrite($passwords, "dave:new\n");
is(binary_client()->ask(plain('alice', 'wonder land'))->{status}, 0x20, 'the file is read at every attempt');
is(binary_client()->ask(plain('dave', 'new'))->{status}, 0, 'at once');
unlink $passwords;
is(binary_client()->ask(plain('dave', 'new'))->{status}, 0x20, 'without the file nobody may');
unlike($s->log, qr/wonder|password1|b:o:b/, 'no password is logged');
$s->stop;

# Without -S these commands do not exist.
my $plain = locked_node(name => 'plain', args => []);
$b = BinaryClient->new($plain->client);
is(join(' ', map { $b->ask(@$_)->{status} } [SASL_LIST], [plain('a', 'b')], [SASL_STEP, key => 'PLAIN', value => 'x'], [NOOP]), '129 129 129 0', 'SASL without -S');

done_testing();
