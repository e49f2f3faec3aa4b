#!/usr/bin/perl
# PHP's memcached and memcache extensions against a pair, and their session
# handlers: a session that was written through one node is read through the other
# after the first was killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my $php = find_program('php');
plan skip_all => 'php-cli is not installed' if !defined $php;
my %has = map { lc($_) => 1 } split /\n/, (run_program(20, $php, '-m'))[1];
plan skip_all => 'neither php-memcached nor php-memcache is installed' if !$has{memcached} && !$has{memcache};

my ($one, $two) = pair(args => ['-m', '64']);
my @where = map { ($_->addr, $_->port) } $one, $two;

my $common = <<'PHP';
<?php
function check($good, $name) { echo $good ? "ok " : "not ok ", $name, "\n"; }
function soon($f) { for ($i = 0; $i < 1000; $i++) { if ($f()) return true; usleep(10000); } return false; }
$a = [$argv[1], (int)$argv[2]];
$b = [$argv[3], (int)$argv[4]];
$large = str_repeat("0123456789", 100000);
PHP

my $memcached = $common . <<'PHP';
function client($where, $binary) {
	$m = new Memcached();
	$m->setOption(Memcached::OPT_BINARY_PROTOCOL, $binary);
	$m->setOption(Memcached::OPT_TCP_NODELAY, true);
	$m->setOption(Memcached::OPT_COMPRESSION, false);
	$m->addServer($where[0], $where[1]);
	return $m;
}
$binary = $argv[5] == "binary";
foreach ([["a to b", $a, $b], ["b to a", $b, $a]] as list($name, $x, $y)) {
	$x = client($x, $binary);
	$y = client($y, $binary);
	$value = ["list" => range(1, 50), "text" => str_repeat("x", 5000)];
	check($x->set("php", $value, 1000), "$name: set of an array");
	check(soon(fn() => $y->get("php") === $value), "$name: get on the other");
	check($x->set("large", $large) && soon(fn() => $y->get("large") === $large), "$name: a megabyte");
	$many = [];
	for ($i = 0; $i < 100; $i++) $many["p$i"] = $i;
	check($x->setMulti($many), "$name: setMulti");
	check(soon(fn() => $y->getMulti(array_keys($many)) == $many), "$name: getMulti on the other");
	$seen = $y->get("p1", null, Memcached::GET_EXTENDED);
	check($y->cas($seen["cas"], "p1", 99), "$name: cas with the unique seen there");
	check(!$y->cas($seen["cas"], "p1", 100) && $y->getResultCode() == Memcached::RES_DATA_EXISTS, "$name: cas with the old one");
	check(soon(fn() => $x->get("p1") === 99), "$name: and back");
	check(!$x->add("p1", 1) && !$x->replace("none", 1), "$name: add, replace refused");
	$x->set("n", 10);
	check($x->increment("n", 5) === 15 && $x->decrement("n", 1) === 14, "$name: increment, decrement");
	check(soon(fn() => $y->get("n") == 14), "$name: on the other");
	if ($binary) {
		check($x->increment("fresh", 1, 7, 1000) === 7 && $x->increment("fresh", 1, 7) === 8, "$name: increment that creates");
		check(soon(fn() => $y->get("fresh") == 8) && $x->delete("fresh"), "$name: on the other");
	}
	$x->set("s", "b");
	check($x->append("s", "c") && $x->prepend("s", "a") && soon(fn() => $y->get("s") === "abc"), "$name: append, prepend");
	check($x->touch("s", 1) && soon(fn() => $y->get("s") === false && $x->get("s") === false), "$name: touch");
	check($x->delete("php") && soon(fn() => $y->get("php") === false), "$name: delete");
	check($x->deleteMulti(["p2", "p3"]) == ["p2" => true, "p3" => true] && soon(fn() => !$y->getMulti(["p2", "p3"])), "$name: deleteMulti");
	$stats = $x->getStats();
	check(current($stats)["curr_items"] > 0 && $x->getVersion(), "$name: getStats, getVersion");
	check($x->flush() && soon(fn() => $y->get("p1") === false), "$name: flush");
}
PHP

my $memcache = $common . <<'PHP';
function client($where) {
	$m = new Memcache();
	$m->connect($where[0], $where[1], 10);
	return $m;
}
foreach ([["a to b", $a, $b], ["b to a", $b, $a]] as list($name, $x, $y)) {
	$x = client($x);
	$y = client($y);
	$value = ["list" => range(1, 50), "text" => str_repeat("x", 5000)];
	check($x->set("php", $value, 0, 1000), "$name: set of an array");
	check(soon(fn() => $y->get("php") === $value), "$name: get on the other");
	check($x->set("zip", $value, MEMCACHE_COMPRESSED) && soon(fn() => $y->get("zip") === $value), "$name: compressed");
	check($x->set("large", $large) && soon(fn() => $y->get("large") === $large), "$name: a megabyte");
	for ($i = 0; $i < 100; $i++) $x->set("p$i", "v$i");
	$keys = array_map(fn($i) => "p$i", range(0, 99));
	check(soon(fn() => count($y->get($keys)) == 100), "$name: get of many on the other");
	check(!@$x->add("p1", 1) && !@$x->replace("none", 1), "$name: add, replace refused");
	$x->set("n", "10");
	check($x->increment("n", 5) == 15 && $x->decrement("n", 1) == 14, "$name: increment, decrement");
	check(soon(fn() => trim($y->get("n")) == "14"), "$name: on the other");
	check($x->set("brief", "v", 0, 1) && soon(fn() => $y->get("brief") === false && $x->get("brief") === false), "$name: a second to live");
	check($x->delete("php") && soon(fn() => $y->get("php") === false), "$name: delete");
	check($x->getStats()["curr_items"] > 0 && $x->getVersion(), "$name: getStats, getVersion");
	check($x->flush() && soon(fn() => $y->get("p1") === false), "$name: flush");
}
PHP

# A request that begins a session, one that goes on with it, one that ends it.
my $session = <<'PHP';
<?php
function check($good, $name) { echo $good ? "ok " : "not ok ", $name, "\n"; }
list(, $handler, $path, $id, $what) = $argv;
ini_set("session.save_handler", $handler);
ini_set("session.save_path", $path);
ini_set("session.use_cookies", "0");
ini_set("session.use_strict_mode", "0");
session_id($id);
check(session_start(), "session_start, $what");
if ($what == "begin") {
	$_SESSION["name"] = "somebody";
	$_SESSION["cart"] = range(1, 500);
	$_SESSION["hits"] = 1;
} elseif ($what == "go on") {
	check(($_SESSION["name"] ?? null) === "somebody" && count($_SESSION["cart"] ?? []) == 500, "what was in it");
	check(($_SESSION["hits"] ?? null) === 1, "all of it");
	$_SESSION["hits"] = 2;
} else {
	check(($_SESSION["hits"] ?? null) === 2, "what was added after the failure");
	session_destroy();
	exit;
}
session_write_close();
PHP

SKIP: {
	skip 'php-memcached is not installed', 1 if !$has{memcached};
	run_checks('php-memcached, text', $memcached, $php, 'SCRIPT', @where, 'text');
	run_checks('php-memcached, binary', $memcached, $php, 'SCRIPT', @where, 'binary');
}
SKIP: {
	skip 'php-memcache is not installed', 1 if !$has{memcache};
	run_checks('php-memcache', $memcache, $php, 'SCRIPT', @where);
}

# Begun through the one, and the one is killed; what an application then asks is the
# other. The node that went away comes back and has it, too. As it is configured by
# default php-memcached's handler speaks binary.
my @handlers = (
	['memcached', 'memcached, text', '-d', 'memcached.sess_binary_protocol=0'],
	['memcached', 'memcached, binary', '-d', 'memcached.sess_binary_protocol=1'],
	['memcache', 'memcache'],
);
for my $variant (grep { $has{ $_->[0] } } @handlers) {
	my ($handler, $name, @settings) = @$variant;
	my $tcp = $handler eq 'memcache' ? 'tcp://' : '';
	my ($path_one, $path_two) = map { $tcp . $_->addr . ':' . $_->port } $one, $two;
	my $id = "session$handler" . 'a' x 10;
	my $held = sub { scalar grep { defined } map { $two->get($_) } $id, "memc.sess.key.$id", "memc.sess.$id" };
	my $request = sub { run_checks("session, $name", $session, $php, @settings, 'SCRIPT', $handler, $_[0], $id, $_[1]) };
	$request->($path_one, 'begin');
	wait_ok { $held->() } "$name: the session is on the other";
	$one->kill9;
	$request->($path_two, 'go on');
	$one->start(peer => $two->addr);
	wait_pair($one, $two);
	$request->($path_one, 'end');
	wait_ok { !$held->() } "$name: a destroyed session is gone on the other";
}

done_testing();
