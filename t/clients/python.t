#!/usr/bin/perl
# Python's clients against a pair: pymemcache and pylibmc, written through one
# side and read through the other.

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
	skip 'pymemcache is not installed', 1 if system("'$python' -c 'import pymemcache' >/dev/null 2>&1") != 0;
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
	skip 'pylibmc is not installed', 1 if system("'$python' -c 'import pylibmc' >/dev/null 2>&1") != 0;
	run_checks('pylibmc', $common . <<'PY', $python, 'SCRIPT', @where);
import pylibmc
def client(where, **behaviors):
    return pylibmc.Client(["%s:%d" % where], binary=False, behaviors=behaviors)
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
    check(x.flush_all() is not False and soon(lambda: y.get("lib1") is None), name + ": flush_all")
PY
}

done_testing();
