#!/usr/bin/perl
# Who may be the peer: the shared secret (good, wrong, on one side, its file), what
# a stranger can try against it, repl_accept, where the link listens and connects
# from, the warning. Contract: doc/replication.txt, sections 5 and 9.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw(hmac_sha256 hmac_sha256_hex);
use MemcachedLoad;
use MemcachedPair;
use Test::More;

my @root = $> == 0 ? qw(-u root) : ();
my $secret = 'a secret of the two';
my $files = 0;

# A file with this content; its path.
sub file_with
{
	my ($content, $mode) = @_;
	my $path = tmp_dir() . '/secret.' . ++$files;
	open my $fh, '>:raw', $path or die "$path: $!";
	print $fh $content;
	close $fh;
	chmod defined $mode ? $mode : 0600, $path;
	return $path;
}

sub with_secret { return ('-o', 'repl_secret_file=' . file_with(@_ ? $_[0] : "$secret\n")) }

# ---- the file ------------------------------------------------------------------------

{
	mkdir tmp_dir() . '/directory', 0700;
	system 'mkfifo', '-m', '600', tmp_dir() . '/fifo';
	my $foreign = file_with("$secret\n");
	my @bad = (
		['no file', tmp_dir() . '/none', qr/No such file/],
		['a directory', tmp_dir() . '/directory', qr/not a regular file/],
		['a pipe', tmp_dir() . '/fifo', qr/not a regular file/],
		['a device', '/dev/zero', qr/not a regular file/],
		['for the group to read', file_with("$secret\n", 0640), qr/chmod 600/],
		['for all to read', file_with("$secret\n", 0604), qr/chmod 600/],
		['for all to write', file_with("$secret\n", 0602), qr/chmod 600/],
		['empty', file_with(''), qr/16 to 1024 bytes/],
		['15 bytes', file_with('x' x 15 . "\n"), qr/16 to 1024 bytes/],
		['1025 bytes', file_with('x' x 1025), qr/16 to 1024 bytes/],
		['far too long', file_with('x' x 100_000), qr/16 to 1024 bytes/],
	);
	push @bad, ['of another user', $foreign, qr/another user/] if $> == 0 && chown 54321, 54321, $foreign;
	for my $case (@bad) {
		my ($what, $path, $message) = @$case;
		my ($code, $out, $err) = run_daemon_to_end(binary(), @root, '-l', '127.0.0.1', '-p', free_port(), '-X', free_port(), '-o', "repl_secret_file=$path");
		is($code, 64, "$what: exit 64");
		like($err, qr/\Arepl_secret_file \S+: .*$message.*\n\z/, "$what: one line") or diag $err;
	}
	for my $content ('x' x 16, 'x' x 16 . "\n", 'x' x 16 . "\r\n", 'x' x 1024 . "\n", join('', map { chr } 0 .. 255)) {
		my $n = node(link_port => free_port(), args => [with_secret($content)]);
		ok(eval { $n->start }, length($content) . ' bytes are taken') or diag $@;
		$n->kill9;
	}
}

# ---- pairs -----------------------------------------------------------------------------

my ($one, $two) = pair(args => [with_secret()]);
my @probe = map { "probe$_" } 1 .. 20;
$one->set($_, "value of $_") for @probe;
same_on_both($one, $two, \@probe, 'with the same secret: a pair');
like($one->stats('replication')->{peer}, qr/^127\.0\.0\.2:/, 'the slave connects from the address that it listens on');
unlike($one->log . $two->log, qr/\Q$secret\E/, 'the secret is not in the log');
unlike(join('', %{ $one->stats('settings') }), qr/\Q$secret\E/, 'nor in the settings');
is($one->stats('settings')->{repl_secret} . $two->stats('settings')->{repl_accept}, 'yesany', 'which say that there is one');

# The end of the line does not belong to the secret.
{
	my ($x, $y) = pair(a_args => [with_secret($secret)], b_args => [with_secret("$secret\r\n")], mutual => 1);
	ok($x->in_sync && $y->in_sync, 'also mutual, and without the end of the line');
	$x->kill9;
	wait_ok { $y->role eq 'MASTER' } 'one is lost';
	$x->start;
	ok(eval { MemcachedPair::wait_pair($x, $y) }, 'and comes back');
	$_->kill9 for $x, $y;
}

# Two that must not become a pair: both serve, nothing travels, one clear line each.
sub strangers_ok
{
	my ($name, $a_args, $b_args, $on_a, $on_b) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($x, $y) = pair(no_wait => 1, a_args => $a_args, b_args => $b_args);
	wait_ok { lines_like($x->log, $on_a) && lines_like($y->log, $on_b) } "$name: both say so" or diag $x->log, $y->log;
	ok($y->set('k', 'y') eq 'STORED' && $x->set('k', 'x') eq 'STORED', "$name: both serve");
	my $tries = sub { $x->stats('replication')->{links_refused} + $y->stats('replication')->{links_refused} };
	my $before = $tries->();
	wait_ok { $tries->() > $before + 2 } "$name: it is tried on";
	is($x->get('k') . $y->get('k'), 'xy', "$name: nothing travels");
	is($x->stats('replication')->{links} + $y->stats('replication')->{links}, 0, "$name: there never was a link");
	is(scalar(lines_like($x->log, $on_a)), 1, "$name: one line here");
	is(scalar(lines_like($y->log, $on_b)), 1, "$name: and one there");
	$_->kill9 for $x, $y;
	return;
}
strangers_ok('another secret', [with_secret()], [with_secret('some other secret')],
	qr/refused 127\.0\.0\.2:\d+ \(node [0-9a-f]{16}\): the shared secret was not proved/,
	qr/no link with .*: refused by .*: the shared secret was not proved/);
strangers_ok('a secret on the slave only', [], [with_secret()],
	qr/refused 127.*the other side wants a shared secret and this node has none/,
	qr/no link with .*the other side wants a shared secret and this node has none/);
strangers_ok('a secret on the master only', [with_secret()], [],
	qr/refused 127.*this node wants a shared secret and the other side has none/,
	qr/no link with .*this node wants a shared secret and the other side has none/);

# ---- by hand -----------------------------------------------------------------------------

my $hex = sub { unpack 'H*', random_bytes($_[0]) };

sub hello
{
	my (%with) = (id => $hex->(8), origin => 77, seen => '0' x 16 . ':0', clock => 0, wall => int(now() * 1000),
		items => 0, maxitem => 1048576, auth => 'hmac', nonce => $hex->(16), @_);
	my $id = delete $with{id};
	return "REPL/1 $id " . join(' ', map { "$_=$with{$_}" } qw(origin seen clock wall items maxitem auth nonce)) . "\n";
}

my $link_key = hmac_sha256('memcached link key 1', $secret);

sub proof
{
	my ($who, @lines) = @_;
	return 'PROOF ' . hmac_sha256_hex(join('', "$who\n", @lines), $link_key) . "\n";
}

sub to_link
{
	my ($n) = @_;
	return MemcachedPair::Client->new(addr => $n->addr, port => $n->link_port);
}

# What it says up to the end of the connection.
sub answers
{
	my ($n, @parts) = @_;
	my $c = to_link($n);
	my @lines;
	for my $part (@parts) {
		$c->put(ref $part ? $part->(@lines) : $part);
		my $line = $c->line;
		last if !defined $line;
		push @lines, "$line\n";
	}
	my $rest = $c->until_closed;
	return (@lines, defined $rest ? $rest : 'not closed');
}

my $begin = "\5" . pack('NNNC', 9, 0, 0, 0);
{
	my $lone = node(name => 'lone', addr => '127.0.0.3', port => $one->port, link_port => $one->link_port, args => [with_secret()]);
	$lone->start;
	$lone->set('k', 'a value that nobody sees');
	my $hello = hello();
	my $refused = "REFUSED the shared secret was not proved\n";
	my ($first, @rest) = answers($lone, $hello, 'PROOF ' . '0' x 64 . "\n");
	like($first, qr/^REPL\/1 [0-9a-f]{16} .* auth=hmac nonce=[0-9a-f]{32}\n\z/, 'a node with a secret answers with a nonce');
	is(join('', @rest), $refused, 'and refuses a wrong proof');
	for my $case (
		['nothing of a proof', "PROOF \n"], ['a second opening', "REPL/1\n"], ['a frame', $begin],
		['a proof of the wrong side', sub { proof('listening', $hello, $_[0]) }],
		['a proof of the lines in the wrong order', sub { proof('connecting', $_[0], $hello) }],
		['a proof of the first line only', sub { proof('connecting', $hello) }],
		['a proof by another secret', sub { 'PROOF ' . hmac_sha256_hex("connecting\n$hello$_[0]", 'x') . "\n" }],
	) {
		my ($what, $part) = @$case;
		(undef, @rest) = answers($lone, $hello, $part);
		is(join('', @rest), $refused, "$what: the same answer");
	}
	# The right one, by an implementation from the document.
	my $c = to_link($lone);
	$c->put($hello);
	$first = $c->line . "\n";
	my $right = proof('connecting', $hello, $first);
	$c->put($right);
	is($c->line . "\n", proof('listening', $hello, $first), 'the right proof is answered with theirs');
	is($c->pending, '', 'and nothing was sent so far');
	$c->put($begin);
	ok(eval { $c->input_until(sub { $_[0]{in} =~ /a value that nobody sees/ ? 1 : undef }) }, 'now there is a copy');
	$c->close;
	wait_ok { $lone->stats('replication')->{link} eq 'down' } 'it goes';
	# Recorded, and played again.
	(my $again, @rest) = answers($lone, $hello, $right);
	isnt($again, $first, 'the next nonce is another one');
	is(join('', @rest), $refused, 'a recorded proof is refused');
	# Its own lines sent back.
	($first) = answers($lone, hello());
	(my $mirrored = $first) =~ s/^REPL\/1 \w{16}/REPL\/1 @{[$hex->(8)]}/;
	(undef, @rest) = answers($lone, $mirrored, sub { proof('listening', $mirrored, $_[0]) });
	is(join('', @rest), $refused, 'its own line under another name is of no use');
	@rest = answers($lone, $first);
	like(join('', @rest), qr/^REFUSED connected to itself/, 'nor under its own');
	ok($lone->alive, 'it lives');
	cmp_ok(scalar(lines_like($lone->log, qr/not proved/)), '<=', 8, 'and has not said much');
	$lone->kill9;
}

# Somebody who listens where the peer is expected, and says its lines back.
{
	my ($port, $link) = (free_port(), free_port());
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.4', LocalPort => $link, Listen => 5, ReuseAddr => 1) or die "listen: $!";
	my $victim = node(addr => '127.0.0.5', port => $port, link_port => $link, peer => '127.0.0.4', args => [with_secret()]);
	$victim->start(wait => 0);
	my @heard;
	for my $round (1 .. 3) {
		my $s = $listener->accept;
		my $line = readline $s;
		(my $named = $line) =~ s/^REPL\/1 \w{16}/REPL\/1 00000000000000ab/;
		print {$s} $round == 1 ? $line : $round == 2 ? $named . $begin : $named;
		$s->flush;
		if ($round == 3) {
			my $proof = readline $s;
			print {$s} $proof, $begin;
			$s->flush;
			push @heard, $proof;
		}
		local $/;
		push @heard, scalar readline $s;
		close $s;
	}
	close $listener;
	like($heard[0], qr/^REFUSED connected to itself/, 'a mirror is seen through');
	like($heard[1], qr/^PROOF \w{64}\nREFUSED the shared secret was not proved\n\z/, 'a mirror with a name of its own, and BEGIN instead of a proof: refused');
	like($heard[2], qr/^PROOF \w{64}\n\z/, 'it proves itself first');
	is($heard[3], "REFUSED the shared secret was not proved\n", 'and takes its own proof from nobody');
	ok($victim->wait_ready && $victim->stats('replication')->{links} == 0, 'there was no link');
	$victim->kill9;
}

# ---- a flood --------------------------------------------------------------------------------

{
	my $peer_id = $two->stats('replication')->{node_id};
	my $links = $one->stats('replication')->{links};
	my $load = writer(nodes => [$one], prefix => 'calm', keys => 100);
	my $lines = () = $one->log =~ /\n/g;
	my $began = now();
	my $flood = spawn {
		my $n = 0;
		while (now() < $began + 2) {
			my @open;
			for (1 .. 20) {
				my $c = eval { to_link($one) } or next;
				my @what = (hello(), hello(id => $peer_id), hello(auth => 'none', id => $peer_id), hello() . proof('connecting', 'x'), random_bytes(300), '');
				eval { $c->put($what[$n++ % @what]) };
				push @open, $c;
			}
			select undef, undef, undef, 0.02;
			$_->close for @open;
		}
		return 0;
	};
	is(reap($flood, 20), 0, 'a flood of greetings');
	my $report = $load->finish;
	is($report->{moves}, 0, 'clients noticed nothing');
	same_on_both($one, $two, [map { "calm$_" } 0 .. 99], 'and what they wrote is on both');
	ok(eval { MemcachedPair::wait_pair($one, $two, 5) }, 'the pair is a pair') or diag $@;
	is($one->stats('replication')->{links}, $links, 'on the same link');
	my $more = () = $one->log =~ /\n/g;
	cmp_ok($more - $lines, '<=', 3 * (now() - $began + 2), 'a few lines of log');
	# A new peer finds its way through it, although it comes from the same host.
	$two->kill9;
	$flood = spawn {
		my $until = now() + 4;
		while (now() < $until) {
			my @open = map { my $c = eval { to_link($one) }; eval { $c->put(hello()) } if $c; $c || () } 1 .. 4;
			select undef, undef, undef, 0.05;
			$_->close for @open;
		}
		return 0;
	};
	ok($two->start, 'the slave starts again, in a flood');
	ok(eval { MemcachedPair::wait_pair($one, $two, 10) }, 'and is the peer again') or diag $@;
	reap($flood, 20);
}
$_->kill9 for $one, $two;

# ---- repl_accept ------------------------------------------------------------------------------

# Whether the link port of a node that -x keeps apart answers somebody from loopback.
sub lets_in
{
	my ($n) = @_;
	my $c = to_link($n);
	$c->put(hello(auth => 'none'));
	my $line = $c->line;
	$c->close;
	return defined $line ? $line =~ /^REPL\/1 / : 0;
}

sub lone_with
{
	my ($peer, @args) = @_;
	my $n = node(link_port => free_port(), peer => $peer, args => ['-o', 'repl_timeout=500', @args]);
	$n->start;
	wait_for { lines_like($n->log, qr/is MASTER/) } 10;
	return $n;
}

# An address that is nobody's here (RFC 5737).
my $nobody = '192.0.2.77';
{
	my $n = lone_with($nobody);
	my @in = grep { lets_in($n) } 1 .. 5;
	is(scalar @in, 0, '-x keeps out who is not there');
	my @said = lines_like($n->log, qr/closed 127\.0\.0\.1:\d+: it is no address of -x \Q$nobody\E/);
	is(scalar @said, 1, 'with one line in the log') or diag $n->log;
	$n->kill9;
	$n = lone_with($nobody, '-o', 'repl_accept=any');
	ok(lets_in($n), 'repl_accept=any lets him in');
	$n->kill9;
	$n = lone_with($nobody, with_secret());
	my $c = to_link($n);
	$c->put(hello());
	like($c->line, qr/^REPL\/1 /, 'with a secret everybody may try');
	$n->kill9;
	$n = lone_with($nobody, with_secret(), '-o', 'repl_accept=peer');
	$c = to_link($n);
	$c->put(hello());
	is($c->line, undef, 'unless repl_accept=peer is given, too');
	$n->kill9;
	for my $peer ('127.0.0.9', '::1', 'localhost') {
		$n = lone_with($peer);
		wait_ok { lets_in($n) } "-x $peer: loopback is one host", 3;
		$n->kill9;
	}
	$n = lone_with('no.such.host.invalid');
	ok(!lets_in($n), 'a name that is not known: nobody gets in');
	like($n->log, qr/closed 127\.0\.0\.1:\d+: no address is known of -x no\.such\.host\.invalid/, 'and the log says why');
	$n->kill9;
	my ($code, undef, $err) = run_daemon_to_end(binary(), @root, '-l', '127.0.0.1', '-p', free_port(), '-X', free_port(), '-o', 'repl_accept=peer');
	is($code, 64, 'repl_accept=peer without -x: exit 64') or diag $err;
}

# ---- where it listens ---------------------------------------------------------------------------

my $warning = qr/warning: the link has no shared secret/;

sub listens_at
{
	my ($name, $addr, $listen, @args) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $n = node(link_port => free_port(), args => ['-o', "repl_listen=$listen", @args]);
	if (!eval { $n->start }) {
		fail($name);
		diag $@;
		return $n;
	}
	my $c = eval { MemcachedPair::Client->new(addr => $addr, port => $n->link_port) };
	ok($c, $name);
	return $n;
}
{
	my $has_v6 = eval { IO::Socket->import; 1 } && -e '/proc/net/if_inet6' && MemcachedPair::slurp('/proc/net/if_inet6') =~ /^0{31}1 /m;
	my $n = listens_at('repl_listen: an address', '127.0.0.7', '127.0.0.7');
	ok(!eval { to_link($n) }, 'and not at that of -l');
	unlike($n->log, $warning, 'loopback: no warning');
	$n->kill9;
	listens_at('repl_listen: a name', '127.0.0.1', 'localhost')->kill9;
	if ($has_v6) {
		listens_at('repl_listen: IPv6', '::1', '::1')->kill9;
		listens_at('repl_listen: IPv6 in brackets', '::1', '[::1]')->kill9;
		my ($port, $link) = (free_port(), free_port());
		my $x = node(addr => '::1', port => $port, link_port => $link);
		my $y = node(addr => '127.0.0.1', port => $port, link_port => $link, peer => '::1', args => ['-o', 'repl_listen=127.0.0.2']);
		ok($x->start && $y->start && eval { MemcachedPair::wait_pair($x, $y) }, 'a pair over IPv6') or diag $@;
		$_->kill9 for $x, $y;
	}
	$n = listens_at('repl_listen: everywhere', '127.0.0.8', '*');
	is(scalar(lines_like($n->log, $warning)), 1, 'open to the network without a secret: one warning');
	$n->kill9;
	$n = listens_at('repl_listen: everywhere, with a secret', '127.0.0.8', '*', with_secret());
	unlike($n->log, $warning, 'no warning');
	$n->kill9;
	my ($code, undef, $err) = run_daemon_to_end(binary(), @root, '-l', '127.0.0.1', '-p', free_port(), '-X', free_port(), '-o', "repl_listen=127.0.0.1:" . free_port());
	is($code, 1, 'repl_listen takes no port') or diag $err;
	($code, undef, $err) = run_daemon_to_end(binary(), @root, '-l', '127.0.0.1', '-p', free_port(), '-X', free_port(), '-o', 'repl_listen=no.such.host.invalid');
	is($code, 71, 'repl_listen of an unknown name: exit 71') or diag $err;
	like($err, qr/\A[^\n]*no\.such\.host\.invalid[^\n]*\n\z/, 'and one line');
}

done_testing();
