#!/usr/bin/perl
# Node's memcached (text) and memjs (binary) against a pair. The versions are in
# node/package.json; runtests installs them and says in NODE_PATH where.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my ($node) = grep { defined } map { find_program($_) } qw(node nodejs);
plan skip_all => 'node is not installed' if !defined $node;
my %has = map { $_ => (run_program(20, $node, '-e', "require('$_')"))[0] eq '0' } qw(memcached memjs);
plan skip_all => 'neither memcached nor memjs is installed (npm, see runtests)' if !grep { $_ } values %has;

my ($one, $two) = pair(args => ['-m', '64']);
my @where = map { $_->addr . ':' . $_->port } $one, $two;

my $common = <<'JS';
const [a, b] = process.argv.slice(2, 4);
const check = (good, name) => console.log((good ? 'ok ' : 'not ok ') + name);
async function soon(f) {
	for (let i = 0; i < 1000; i++) {
		if (await f()) return true;
		await new Promise(r => setTimeout(r, 10));
	}
	return false;
}
const numbers = [...Array(100).keys()];
const large = '0123456789'.repeat(100000);
const play = async body => {
	for (const [name, x, y] of [['a to b', a, b], ['b to a', b, a]])
		await body(name, x, y);
	process.exit(0);
};
const wrong = e => { console.log(e); process.exit(1); };
JS

SKIP: {
	skip 'memcached is not installed', 1 if !$has{memcached};
	run_checks('memcached', $common . <<'JS', $node, 'SCRIPT', @where);
const Memcached = require('memcached');
// Every method as a promise; a refusal is false, as its callbacks have it.
const client = where => {
	const m = new Memcached(where, { timeout: 20000 });
	return new Proxy(m, { get: (_, verb) => (...args) => new Promise(done => m[verb](...args, (e, value) => done(e ? false : value))) });
};
play(async (name, ax, ay) => {
	const x = client(ax), y = client(ay);
	const value = { list: numbers, text: '\u00e4'.repeat(500) };
	check(await x.set('js', value, 1000), name + ': set of an object');
	check(await soon(async () => JSON.stringify(await y.get('js')) === JSON.stringify(value)), name + ': get on the other');
	for (const i of numbers) await x.set('js' + i, 'v' + i, 0);
	check(await soon(async () => Object.keys(await y.getMulti(numbers.map(i => 'js' + i))).length === 100), name + ': getMulti on the other');
	const seen = await y.gets('js1');
	check(await y.cas('js1', 'new', seen.cas, 0), name + ': cas with the unique seen there');
	check(!await y.cas('js1', 'newer', seen.cas, 0), name + ': cas with the old one');
	check(await soon(async () => await x.get('js1') === 'new'), name + ': and back');
	check(!await x.add('js1', 1, 0) && !await x.replace('none', 1, 0), name + ': add, replace refused');
	await x.set('n', 10, 0);
	check(await x.incr('n', 5) === 15 && await x.decr('n', 1) === 14, name + ': incr, decr');
	check(await soon(async () => await y.get('n') == 14), name + ': on the other');
	check(await x.append('js2', '-b') && await x.prepend('js2', 'a-'), name + ': append, prepend');
	check(await soon(async () => await y.get('js2') === 'a-v2-b'), name + ': on the other');
	check(await x.touch('js2', 1) && await soon(async () => !await y.get('js2')), name + ': touch');
	check(await x.set('large', large, 0) && await soon(async () => await y.get('large') === large), name + ': a megabyte');
	check(await x.del('js') && await soon(async () => !await y.get('js')), name + ': del');
	check((await x.stats())[0].curr_items > 0 && (await x.settings())[0].maxconns > 0, name + ': stats, settings');
	check(await x.flush() && await soon(async () => !await y.get('js1')), name + ': flush');
}).catch(wrong);
JS
}

SKIP: {
	skip 'memjs is not installed', 1 if !$has{memjs};
	run_checks('memjs', $common . <<'JS', $node, 'SCRIPT', @where);
const { Client } = require('memjs');
play(async (name, ax, ay) => {
	const [x, y] = [ax, ay].map(w => Client.create(w, { timeout: 20, conntimeout: 20, retries: 1 }));
	const text = async (m, key) => { const { value } = await m.get(key); return value === null ? null : value.toString(); };
	check(await x.set('mj', 'value', { expires: 1000 }), name + ': set');
	check(await soon(async () => await text(y, 'mj') === 'value'), name + ': get on the other');
	check(await x.set('large', large, {}) && await soon(async () => await text(y, 'large') === large), name + ': a megabyte');
	check(!await x.add('mj', 'v', {}) && !await x.replace('none', 'v', {}), name + ': add, replace refused');
	check(await y.replace('mj', 'new', {}) && await soon(async () => await text(x, 'mj') === 'new'), name + ': replace, and back');
	check((await x.increment('n', 5, { initial: 10, expires: 1000 })).value === 10, name + ': increment that creates');
	check((await x.increment('n', 5, { initial: 10 })).value === 15 && (await x.decrement('n', 1, { initial: 10 })).value === 14, name + ': increment, decrement');
	check(await soon(async () => await text(y, 'n') === '14') && await x.delete('n'), name + ': on the other');
	// Its prepend sends the opcode of append, as of 1.3.2.
	check(await x.append('mj', '-b'), name + ': append');
	check(await soon(async () => await text(y, 'mj') === 'new-b'), name + ': on the other');
	check(await x.touch('mj', 1) && await soon(async () => await text(y, 'mj') === null), name + ': touch');
	for (const i of numbers) await x.set('mj' + i, 'v' + i, {});
	check(await x.delete('large') && await soon(async () => await text(y, 'large') === null), name + ': delete');
	const stats = await new Promise(done => x.stats((e, server, s) => done(s)));
	check(stats && stats.curr_items > 0, name + ': stats');
	check(await x.flush() && await soon(async () => await text(y, 'mj1') === null), name + ': flush');
}).catch(wrong);
JS
}

done_testing();
