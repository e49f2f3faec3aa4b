#!/usr/bin/perl
# Python's clients against a pair: pymemcache, pylibmc, python-memcached and
# bmemcached, written through one side and read through the other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

# The system's Python: the packages of the distribution are for that one.
my ($python) = grep { defined && -x } $ENV{PYTHON}, '/usr/bin/python3';
plan skip_all => 'no python3' if !defined $python;

my ($one, $two) = pair(args => ['-m', '64']);
my @where = ($one->addr, $one->port, $two->addr, $two->port);

sub has_module
{
	my ($module) = @_;
	return system("'$python' -c 'import $module' >/dev/null 2>&1") == 0;
}

my $common = <<'PY';
import sys, time
a = (sys.argv[1], int(sys.argv[2]))
b = (sys.argv[3], int(sys.argv[4]))
def check(good, name):
    print(("ok " if good else "not ok ") + name)
def soon(f, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if f():
            return True
        time.sleep(0.01)
    return False
PY

SKIP: {
	skip 'pymemcache is not installed', 1 if !has_module('pymemcache');
	run_checks('pymemcache', $common . <<'PY', $python, 'SCRIPT', @where);
from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
from pymemcache import serde
for name, x, y in (("a to b", a, b), ("b to a", b, a)):
    x, y = Client(x, timeout=10, serde=serde.pickle_serde), Client(y, timeout=10, serde=serde.pickle_serde)
    value = {"a": [1, 2, 3], "b": "text" * 1000}
    check(x.set("py", value, noreply=False), name + ": set of an object")
    check(soon(lambda: y.get("py") == value), name + ": get on the other")
    check(x.set_many({"py%d" % i: i for i in range(200)}, noreply=False) == [], name + ": set_many")
    keys = ["py%d" % i for i in range(200)]
    check(soon(lambda: y.get_many(keys) == {k: i for i, k in enumerate(keys)}), name + ": get_many on the other")
    value, cas = y.gets("py1")
    check(y.cas("py1", "new", cas, noreply=False) is True, name + ": cas on the other")
    check(y.cas("py1", "newer", cas, noreply=False) is False, name + ": cas with the old unique")
    check(soon(lambda: x.get("py1") == "new"), name + ": and back")
    check(x.add("py1", 1, noreply=False) is False, name + ": add")
    check(x.replace("py-none", 1, noreply=False) is False, name + ": replace")
    plain = Client(a, timeout=10)
    plain.set("n", "10", noreply=False)
    check(plain.incr("n", 5) == 15 and plain.decr("n", 20) == 0, name + ": incr, decr")
    check(plain.append("n", "x", noreply=False) and plain.prepend("n", "y", noreply=False), name + ": append, prepend")
    check(plain.touch("n", 100, noreply=False), name + ": touch")
    check(x.gat("py2", expire=100) == 2, name + ": gat") if hasattr(x, "gat") else None
    check(x.delete("py", noreply=False), name + ": delete")
    check(soon(lambda: y.get("py") is None), name + ": gone on the other")
    check(b"curr_items" in plain.stats(), name + ": stats")
    check(plain.version()[0:1].isdigit(), name + ": version")
    check(x.flush_all(noreply=False), name + ": flush_all")
    check(soon(lambda: y.get("py1") is None), name + ": flushed on the other")
h = HashClient([a, b], timeout=10)
h.set_many({"h%d" % i: b"%d" % i for i in range(100)})
check(soon(lambda: len(h.get_many(["h%d" % i for i in range(100)])) == 100), "HashClient over both")
PY
}

SKIP: {
	skip 'pylibmc is not installed', 1 if !has_module('pylibmc');
	my $script = $common . <<'PY';
import pylibmc
binary = sys.argv[5] == "binary"
def client(where, **behaviors):
    return pylibmc.Client(["%s:%d" % where], binary=binary, behaviors=behaviors)
for name, x, y in (("a to b", a, b), ("b to a", b, a)):
    x, y = client(x, cas=True, tcp_nodelay=True), client(y, cas=True, tcp_nodelay=True)
    value = {"list": list(range(100)), "text": u"\u00e4" * 500}
    check(x.set("lib", value, time=1000), name + ": set")
    check(soon(lambda: y.get("lib") == value), name + ": get on the other")
    check(x.set_multi({"lib%d" % i: i for i in range(300)}) == [], name + ": set_multi")
    check(soon(lambda: len(y.get_multi(["lib%d" % i for i in range(300)])) == 300), name + ": get_multi on the other")
    value, cas = y.gets("lib1")
    check(y.cas("lib1", 99, cas) is True, name + ": cas on the other")
    check(soon(lambda: x.get("lib1") == 99), name + ": and back")
    check(x.add("lib1", 1) is False, name + ": add")
    x.set("num", 10)
    check(x.incr("num", 7) == 17 and x.decr("num", 3) == 14, name + ": incr, decr")
    check(soon(lambda: y.get("num") == 14), name + ": on the other")
    check(x.touch("lib2", 100), name + ": touch")
    check(x.delete("lib") and soon(lambda: y.get("lib") is None), name + ": delete")
    check(len(x.get_stats()) == 1, name + ": stats")
    large = bytes(bytearray(i * 37 % 251 for i in range(1000000)))
    check(x.set("large", large) and soon(lambda: y.get("large") == large), name + ": a megabyte")
    check(x.flush_all() is not False and soon(lambda: y.get("lib1") is None), name + ": flush_all")
PY
	run_checks('pylibmc, text', $script, $python, 'SCRIPT', @where, 'text');
	run_checks('pylibmc, binary', $script, $python, 'SCRIPT', @where, 'binary');
}

SKIP: {
	skip 'python-memcached is not installed', 1 if !has_module('memcache');
	run_checks('python-memcached', $common . <<'PY', $python, 'SCRIPT', @where);
import memcache
for name, x, y in (("a to b", a, b), ("b to a", b, a)):
    x, y = [memcache.Client(["%s:%d" % w], cache_cas=True, server_max_value_length=1024 * 1024) for w in (x, y)]
    value = {"list": list(range(100)), "text": u"\u00e4" * 500}
    check(x.set("mem", value, time=1000), name + ": set")
    check(soon(lambda: y.get("mem") == value), name + ": get on the other")
    check(x.set_multi({"mem%d" % i: i for i in range(200)}) == [], name + ": set_multi")
    check(soon(lambda: len(y.get_multi(["mem%d" % i for i in range(200)])) == 200), name + ": get_multi on the other")
    check(y.gets("mem1") == 1 and y.cas("mem1", 99), name + ": cas on the other")
    check(soon(lambda: x.get("mem1") == 99), name + ": and back")
    check(not y.cas("mem1", 100), name + ": cas with the old unique")
    check(not x.add("mem1", 1) and not x.replace("none", 1), name + ": add, replace refused")
    x.set("num", 10)
    check(x.incr("num", 7) == 17 and x.decr("num", 3) == 14, name + ": incr, decr")
    check(x.append("num", "5") and x.prepend("num", "3"), name + ": append, prepend")
    check(soon(lambda: y.get("num") == 3145), name + ": on the other")
    check(x.touch("mem2", 100), name + ": touch")
    large = b"0123456789" * 100000
    check(x.set("large", large) and soon(lambda: y.get("large") == large), name + ": a megabyte")
    check(x.delete("mem") and soon(lambda: y.get("mem") is None), name + ": delete")
    check(x.delete_multi(["mem3", "mem4"]) and soon(lambda: not y.get_multi(["mem3", "mem4"])), name + ": delete_multi")
    check(x.get_stats()[0][1]["curr_items"] != "0" and x.get_stats("settings")[0][1]["cas_enabled"] == "yes", name + ": stats, stats settings")
    x.flush_all()
    check(soon(lambda: y.get("mem1") is None), name + ": flush_all")
PY
}

SKIP: {
	skip 'bmemcached is not installed', 1 if !has_module('bmemcached');
	run_checks('bmemcached', $common . <<'PY', $python, 'SCRIPT', @where);
import bmemcached
for name, x, y in (("a to b", a, b), ("b to a", b, a)):
    x, y = [bmemcached.Client(["%s:%d" % w]) for w in (x, y)]
    value = {"list": list(range(100)), "text": u"\u00e4" * 500}
    check(x.set("bm", value, time=1000), name + ": set")
    check(soon(lambda: y.get("bm") == value), name + ": get on the other")
    check(x.set_multi({"bm%d" % i: "v%d" % i for i in range(200)}) == [], name + ": set_multi (quiet packets)")
    check(soon(lambda: len(y.get_multi(["bm%d" % i for i in range(200)])) == 200), name + ": get_multi on the other")
    value, cas = y.gets("bm1")
    check(y.cas("bm1", 99, cas) and not y.cas("bm1", 100, cas), name + ": cas on the other")
    check(soon(lambda: x.get("bm1") == 99), name + ": and back")
    check(not x.add("bm1", 1) and not x.replace("none", 1), name + ": add, replace refused")
    check(x.incr("num", 7, default=5) == 5 and x.incr("num", 7) == 12 and x.decr("num", 2) == 10, name + ": incr, decr")
    check(soon(lambda: y.get("num") == "10"), name + ": on the other")
    check(x.delete("num") and x.delete("bm") and soon(lambda: y.get("bm") is None), name + ": delete")
    large = "0123456789" * 100000
    check(x.set("large", large, compress_level=0) and soon(lambda: y.get("large") == large), name + ": a megabyte")
    check("curr_items" in list(x.stats().values())[0], name + ": stats")
    check(x.flush_all() and soon(lambda: y.get("bm1") is None), name + ": flush_all")
PY
}

done_testing();
