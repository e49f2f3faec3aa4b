#!/usr/bin/perl
# Ruby's Dalli against a pair: by the binary protocol, and from 3.2 on by the meta
# commands, too.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my $ruby = find_program('ruby');
plan skip_all => 'ruby is not installed' if !defined $ruby;
my $version = `'$ruby' -e 'require "dalli"; puts Dalli::VERSION' 2>/dev/null`;
plan skip_all => 'Dalli is not installed' if $? || $version !~ /^(\d+)\.(\d+)/;
my $speaks_meta = $1 > 3 || $1 == 3 && $2 >= 2;

my ($one, $two) = pair(args => ['-m', '64']);
my @protocols = ('binary', $speaks_meta ? 'meta' : ());

run_checks("dalli, $_", <<'RB', $ruby, 'SCRIPT', $one->addr . ':' . $one->port, $two->addr . ':' . $two->port, $_) for @protocols;
require 'dalli'
def check(good, name)
  puts((good ? 'ok ' : 'not ok ') + name)
end
def soon
  500.times { return true if yield; sleep 0.01 }
  false
end
options = ARGV[2] == 'meta' ? { protocol: :meta } : {}
a, b = ARGV[0, 2].map { |s| Dalli::Client.new(s, options) }
[['a to b', a, b], ['b to a', b, a]].each do |name, x, y|
  value = { 'list' => (1..50).to_a, 'text' => 'x' * 5000 }
  check(x.set('rb', value), name + ': set')
  check(soon { y.get('rb') == value }, name + ': get on the other')
  (1..100).each { |i| x.set("rb#{i}", i) }
  check(soon { y.get_multi((1..100).map { |i| "rb#{i}" }).size == 100 }, name + ': get_multi')
  check(y.cas('rb1') { |v| v + 100 }, name + ': cas')
  check(soon { x.get('rb1') == 101 }, name + ': and back')
  check(!x.add('rb1', 1), name + ': add')
  x.set('n', 10, 0, raw: true)
  check(x.incr('n', 5) == 15, name + ': incr')
  check(x.touch('rb2', 100), name + ': touch')
  large = Random.new(1).bytes(1_000_000)
  check(x.set('large', large, 0, raw: true), name + ': set of a megabyte')
  check(soon { y.get('large', raw: true) == large }, name + ': the same on the other')
  check(x.decr('n', 3) == 12 && soon { y.get('n', raw: true).to_i == 12 }, name + ': decr, on the other')
  check(x.incr('fresh', 1, 100, 7) == 7 && x.incr('fresh', 1, 100, 7) == 8, name + ': incr that creates')
  check(x.touch('rb3', 1) && soon { y.get('rb3').nil? }, name + ': touch to a second')
  check(x.gat('rb4', 1) == 4 && soon { y.get('rb4').nil? }, name + ': gat to a second')
  check(x.delete('rb'), name + ': delete')
  check(soon { y.get('rb').nil? }, name + ': gone')
  check(x.flush, name + ': flush')
  check(soon { y.get('rb2').nil? }, name + ': flushed')
end
RB

done_testing();
