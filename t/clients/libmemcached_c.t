#!/usr/bin/perl
# libmemcached's C interface against a pair; what it does is in libmemcached_client.c.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my ($cc) = grep { defined } map { find_program($_) } qw(cc gcc clang);
plan skip_all => 'no C compiler' if !defined $cc;
my $program = tmp_dir() . '/libmemcached_client';
plan skip_all => 'libmemcached-dev is not installed' if !-e '/usr/include/libmemcached/memcached.h';
my ($code, $said) = run_program(60, $cc, '-std=gnu11', '-Wall', '-o', $program, "$FindBin::Bin/libmemcached_client.c", '-lmemcached');
is($code, 0, 'it compiles') or die $said;

# Its UDP goes to the port of TCP.
my ($one, $two) = pair(args => ['-m', '64'], udp => 1);
my @where = map { ($_->addr, $_->port) } $one, $two;
run_checks('libmemcached', undef, $program, $_, @where) for qw(text binary udp);

done_testing();
