#!/usr/bin/perl
# Clients that log in by SASL (-S, mechanism PLAIN), at both nodes of a pair: with the
# password they write through one and read through the other, without it nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use BinaryClient;
use ClientScript;
use MemcachedPair;
use Test::More;

my @root = $> == 0 ? qw(-u root) : ();
my (undef, undef, $not_built) = run_daemon_to_end(binary(), @root, '-S', '-B', 'ascii', '-s', tmp_dir() . '/never.sock');
plan skip_all => 'the daemon is not built with SASL' if $not_built =~ /not built with SASL/;

my ($user, $password) = ('somebody', 'a pass:word');
my $passwords = tmp_dir() . '/passwords';
open my $fh, '>', $passwords or die $!;
print $fh "$user:$password\n";
close $fh;

my ($one, $two) = pair(args => ['-m', '64', '-S'], no_start => 1);
for my $n ($one, $two) {
	$n->{env} = { MEMCACHED_SASL_PWDB => $passwords };
	$n->start(wait => 0);
	wait_for { $n->serves };
}

# The pair must be one before clients ask both.
sub value_at
{
	my ($n, $key) = @_;
	my $b = BinaryClient->new($n->client);
	return if $b->ask(SASL_AUTH, key => 'PLAIN', value => "\0$user\0$password")->{status};
	my $r = $b->ask(GET, key => $key);
	return $r->{status} ? undef : $r->{value};
}
my $writer = BinaryClient->new($one->client);
is($writer->ask(SASL_AUTH, key => 'PLAIN', value => "\0$user\0$password")->{status}, 0, 'a login');
is($writer->ask(SET, key => 'k', value => 'v', extras => storing())->{status}, 0, 'a write on one');
wait_ok { (value_at($two, 'k') || '') eq 'v' } 'seen on two';

my @where = map { ($_->addr, $_->port) } $one, $two;

# Each takes host, port, host, port, user, password.
my %script = (
	pylibmc => ['/usr/bin/python3', 'import pylibmc', <<'PY'],
import pylibmc, sys, time
a, b = "%s:%s" % tuple(sys.argv[1:3]), "%s:%s" % tuple(sys.argv[3:5])
user, password = sys.argv[5:7]
def check(good, name): print(("ok " if good else "not ok ") + name)
def soon(f): return any(f() or time.sleep(0.01) for _ in range(1000))
for name, x, y in (("a to b", a, b), ("b to a", b, a)):
    x, y = [pylibmc.Client([w], binary=True, username=user, password=password) for w in (x, y)]
    check(x.set("pylibmc", name) and soon(lambda: y.get("pylibmc") == name), name)
    check(x.delete("pylibmc") and soon(lambda: y.get("pylibmc") is None), name + ", delete")
try:
    refused = not pylibmc.Client([a], binary=True, username=user, password="wrong").set("pylibmc", "x")
except pylibmc.Error:
    refused = True
check(refused, "a wrong password")
PY
	bmemcached => ['/usr/bin/python3', 'import bmemcached', <<'PY'],
import bmemcached, sys, time
a, b = "%s:%s" % tuple(sys.argv[1:3]), "%s:%s" % tuple(sys.argv[3:5])
user, password = sys.argv[5:7]
def check(good, name): print(("ok " if good else "not ok ") + name)
def soon(f): return any(f() or time.sleep(0.01) for _ in range(1000))
for name, x, y in (("a to b", a, b), ("b to a", b, a)):
    x, y = [bmemcached.Client([w], user, password) for w in (x, y)]
    check(x.set("bmemcached", name) and soon(lambda: y.get("bmemcached") == name), name)
    check(x.delete("bmemcached") and soon(lambda: y.get("bmemcached") is None), name + ", delete")
try:
    refused = not bmemcached.Client([a], user, "wrong").set("bmemcached", "x")
except bmemcached.exceptions.MemcachedException:
    refused = True
check(refused, "a wrong password")
PY
	php => [find_program('php'), 'extension_loaded("memcached") or exit(1);', <<'PHP'],
<?php
function check($good, $name) { echo $good ? "ok " : "not ok ", $name, "\n"; }
function soon($f) { for ($i = 0; $i < 1000; $i++) { if ($f()) return true; usleep(10000); } return false; }
list(, $ha, $pa, $hb, $pb, $user, $password) = $argv;
function client($host, $port, $user, $password) {
	$m = new Memcached();
	$m->setOption(Memcached::OPT_BINARY_PROTOCOL, true);
	$m->setSaslAuthData($user, $password);
	$m->addServer($host, (int)$port);
	return $m;
}
foreach ([["a to b", $ha, $pa, $hb, $pb], ["b to a", $hb, $pb, $ha, $pa]] as list($name, $hx, $px, $hy, $py)) {
	$x = client($hx, $px, $user, $password);
	$y = client($hy, $py, $user, $password);
	check($x->set("php", $name) && soon(fn() => $y->get("php") === $name), $name);
	check($x->delete("php") && soon(fn() => $y->get("php") === false), "$name, delete");
}
check(!client($ha, $pa, $user, "wrong")->set("php", "x"), "a wrong password");
PHP
	dalli => [find_program('ruby'), 'require "dalli"', <<'RB'],
require 'dalli'
def check(good, name)
  puts((good ? 'ok ' : 'not ok ') + name)
end
def soon
  1000.times { return true if yield; sleep 0.01 }
  false
end
ha, pa, hb, pb, user, password = ARGV
a, b = "#{ha}:#{pa}", "#{hb}:#{pb}"
[['a to b', a, b], ['b to a', b, a]].each do |name, sx, sy|
  x, y = [sx, sy].map { |s| Dalli::Client.new(s, username: user, password: password) }
  check(x.set('dalli', name) && soon { y.get('dalli') == name }, name)
  check(x.delete('dalli') && soon { y.get('dalli').nil? }, name + ', delete')
end
Dalli.logger.level = Logger::FATAL
refused = begin
  !Dalli::Client.new(a, username: user, password: 'wrong').set('dalli', 'x')
rescue Dalli::DalliError
  true
end
check(refused, 'a wrong password')
RB
	memjs => [(grep { defined } map { find_program($_) } qw(node nodejs))[0], 'require("memjs")', <<'JS'],
const { Client } = require('memjs');
const [ha, pa, hb, pb, username, password] = process.argv.slice(2);
const check = (good, name) => console.log((good ? 'ok ' : 'not ok ') + name);
const client = (host, port, password) => Client.create(host + ':' + port, { username, password, timeout: 20, conntimeout: 20, retries: 1, logger: { log() {} } });
const text = async (m, key) => { const { value } = await m.get(key); return value === null ? null : value.toString(); };
async function soon(f) {
	for (let i = 0; i < 1000; i++) {
		if (await f()) return true;
		await new Promise(r => setTimeout(r, 10));
	}
	return false;
}
(async () => {
	for (const [name, hx, px, hy, py] of [['a to b', ha, pa, hb, pb], ['b to a', hb, pb, ha, pa]]) {
		const x = client(hx, px, password), y = client(hy, py, password);
		check(await x.set('memjs', name, {}) && await soon(async () => await text(y, 'memjs') === name), name);
		check(await x.delete('memjs') && await soon(async () => await text(y, 'memjs') === null), name + ', delete');
	}
	let refused;
	try { refused = !await client(ha, pa, 'wrong').set('memjs', 'x', {}); } catch (e) { refused = true; }
	check(refused, 'a wrong password');
	process.exit(0);
})().catch(e => { console.log(e); process.exit(1); });
JS
);
my %evaluate = (php => '-r', dalli => '-e', memjs => '-e', pylibmc => '-c', bmemcached => '-c');
for my $name (sort keys %script) {
	my ($interpreter, $probe, $script) = @{ $script{$name} };
	SKIP: {
		skip "$name is not installed", 1 if !defined $interpreter || !-x $interpreter || (run_program(20, $interpreter, $evaluate{$name}, $probe))[0] ne '0';
		run_checks("$name, SASL", $script, $interpreter, 'SCRIPT', @where, $user, $password);
	}
}

# libmemcached itself, with all its commands.
SKIP: {
	my ($cc) = grep { defined } map { find_program($_) } qw(cc gcc clang);
	skip 'libmemcached-dev or a compiler is not installed', 1 if !defined $cc || !-e '/usr/include/libmemcached/memcached.h';
	my $program = tmp_dir() . '/libmemcached_client';
	my ($code, $said) = run_program(60, $cc, '-std=gnu11', '-Wall', '-o', $program, "$FindBin::Bin/libmemcached_client.c", '-lmemcached');
	is($code, 0, 'libmemcached_client.c compiles') or die $said;
	run_checks('libmemcached', undef, $program, 'sasl', @where, $user, $password);
}
unlike($_->log, qr/pass:word/, $_->name . ' logs no password') for $one, $two;

done_testing();
