#!/usr/bin/perl
# Go's gomemcache (github.com/bradfitz/gomemcache, as Debian packages it) against a
# pair.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my $go = find_program('go');
plan skip_all => 'go is not installed' if !defined $go;
my $gopath = '/usr/share/gocode';
plan skip_all => 'golang-github-bradfitz-gomemcache-dev is not installed' if !-d "$gopath/src/github.com/bradfitz/gomemcache";

my $source = tmp_dir() . '/client.go';
open my $fh, '>', $source or die $!;
print $fh <<'GO';
package main

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func check(good bool, name string) {
	if !good {
		name = "not ok " + name
	} else {
		name = "ok " + name
	}
	fmt.Println(name)
}

// Whether a client sees the value (nil: a miss) within ten seconds.
func soon(m *memcache.Client, key string, want []byte) bool {
	for i := 0; i < 1000; i++ {
		item, err := m.Get(key)
		if want == nil && err == memcache.ErrCacheMiss || want != nil && err == nil && bytes.Equal(item.Value, want) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func play(name string, x, y *memcache.Client) {
	check(x.Set(&memcache.Item{Key: "go", Value: []byte("value"), Flags: 77, Expiration: 1000}) == nil, name+": set")
	check(soon(y, "go", []byte("value")), name+": get on the other")
	item, err := y.Get("go")
	check(err == nil && item.Flags == 77, name+": its flags")
	item.Value = []byte("new")
	check(y.CompareAndSwap(item) == nil, name+": cas with the unique seen there")
	check(y.CompareAndSwap(item) == memcache.ErrCASConflict, name+": cas with the old one")
	check(soon(x, "go", []byte("new")), name+": and back")
	large := bytes.Repeat([]byte("0123456789"), 100000)
	check(x.Set(&memcache.Item{Key: "large", Value: large}) == nil && soon(y, "large", large), name+": a megabyte")
	keys := []string{}
	for i := 0; i < 100; i++ {
		keys = append(keys, fmt.Sprintf("go%d", i))
		if x.Set(&memcache.Item{Key: keys[i], Value: []byte(keys[i])}) != nil {
			check(false, name+": set of "+keys[i])
		}
	}
	check(soon(y, "go99", []byte("go99")), name+": the last of many")
	many, err := y.GetMulti(keys)
	check(err == nil && len(many) == 100, name+": GetMulti on the other")
	check(x.Add(&memcache.Item{Key: "go", Value: large}) == memcache.ErrNotStored, name+": add of an old key")
	check(x.Replace(&memcache.Item{Key: "none", Value: large}) == memcache.ErrNotStored, name+": replace of no key")
	check(x.Replace(&memcache.Item{Key: "go1", Value: []byte("r")}) == nil && soon(y, "go1", []byte("r")), name+": replace")
	x.Set(&memcache.Item{Key: "n", Value: []byte("10")})
	up, err := x.Increment("n", 15)
	check(err == nil && up == 25, name+": increment")
	check(soon(y, "n", []byte("25")), name+": on the other")
	down, err := y.Decrement("n", 15)
	check(err == nil && down == 10, name+": decrement there")
	_, err = x.Increment("none", 1)
	check(err == memcache.ErrCacheMiss, name+": increment of no key")
	check(x.Touch("go", 1) == nil && soon(y, "go", nil), name+": touch")
	check(x.Delete("large") == nil && soon(y, "large", nil), name+": delete")
	check(x.Delete("large") == memcache.ErrCacheMiss, name+": and once more")
	check(x.FlushAll() == nil && soon(y, "go2", nil), name+": flush_all")
}

func main() {
	a, b := memcache.New(os.Args[1]), memcache.New(os.Args[2])
	a.Timeout, b.Timeout = 20*time.Second, 20*time.Second
	play("a to b", a, b)
	play("b to a", b, a)
}
GO
close $fh;
my $program = tmp_dir() . '/client';
{
	local @ENV{qw(GOPATH GO111MODULE GOCACHE HOME GOFLAGS)} = ($gopath, 'off', tmp_dir() . '/go-cache', tmp_dir(), '');
	my ($code, $said) = run_program(120, $go, 'build', '-o', $program, $source);
	is($code, 0, 'it compiles') or die $said;
}

my ($one, $two) = pair(args => ['-m', '64']);
run_checks('gomemcache', undef, $program, map { $_->addr . ':' . $_->port } $one, $two);

done_testing();
