#!/usr/bin/perl
# What other replicated caches got wrong, each by its name: one key written on both
# sides as fast as they can, deletes made while the two were apart, outages that
# cross each other. Afterwards both sides are equal, and hold what section 1 of
# doc/replication.txt says; where memory was lost with a process, the test says
# what can be expected.
# Contract: section 1 (U5, U7, U9, U10), section 3, section 4.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my $each = 100;    # keys per kind
my @options = ('-m', '64', '-o', 'repl_timeout=500');

# ---- small things --------------------------------------------------------------

sub named { my ($kind) = @_; return map { "$kind$_" } 1 .. $each }

# Let the millisecond pass: "newest" is by the clock, and the point is not what
# becomes of writes of the same instant.
sub tick { my $until = now() + 0.005; wait_for { now() > $until } 1; return }

sub all_say
{
	my ($n, $re, @commands) = @_;
	my $c = $n->c;
	$c->put(join '', map { "$_\r\n" } @commands);
	my @wrong = grep { $_ !~ $re } map { $c->line } @commands;
	diag($n->name . " said '$wrong[0]'") if @wrong;
	return !@wrong;
}

# write($node, { kind => value, ... }, name): all keys of each kind; undef deletes.
sub write_ok
{
	my ($n, $values, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	tick();
	my $good = 1;
	for my $kind (sort keys %$values) {
		my $value = $values->{$kind};
		$good &&= defined $value
			? all_say($n, qr/^STORED$/, map { sprintf "set %s 1 0 %d\r\n%s", $_, length $value, $value } named($kind))
			: all_say($n, qr/^(?:DELETED|NOT_FOUND)$/, map { "delete $_" } named($kind));
	}
	return ok($good, $name);
}

sub both_show
{
	my ($x, $y, $values, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	values_on_both($x, $y, { map { my $k = $_; map { $_ => $values->{$k} } named($k) } keys %$values }, "$name: values");
	same_on_both($x, $y, [map { named($_) } sort keys %$values], "$name: flags and CAS uniques");
	return;
}

sub pair_again
{
	my ($x, $y, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(eval { MemcachedPair::wait_pair($x, $y, 20) }, "$name: a pair again") || diag $@;
}

sub alone_ok
{
	my ($n, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_ok { $n->stat('repl_link') ne 'up' } "$name: " . $n->name . ' is alone', 10;
}

# A pair whose link goes through a relay; [A, B, relay].
sub pair_with_network
{
	my (@args) = @_;
	my ($port, $link) = (free_port(), free_port());
	my %common = (port => $port, link_port => $link, args => [@options, @args]);
	my $x = node(name => 'A', addr => '127.0.0.1', %common);
	my $y = node(name => 'B', addr => '127.0.0.2', peer => '127.0.0.3', %common);
	$x->start;
	my $net = proxy(addr => '127.0.0.3', port => $link, to_addr => '127.0.0.1', to_port => $link);
	$y->start;
	MemcachedPair::wait_pair($x, $y);
	return ($x, $y, $net);
}

# ---- one key, both sides, a tight loop -------------------------------------------

# Pipelined rounds of these commands, as fast as they go; N is the number of the
# round, W the name of the side. Ends when the file exists, and leaves what it would
# have set last.
sub hammer
{
	my ($n, $stop, @commands) = @_;
	return spawn {
		my $c = $n->client(30);
		my $w = $n->name;
		my $i = 0;
		while (!-e $stop) {
			$i++;
			my $batch = join '', map { my $s = "$_\r\n"; $s =~ s/N/100000 + $i/ge; $s =~ s/W/$w/g; $s } @commands;
			my $said = $c->talk($batch x 10);
			return 1 if !defined $said || $said =~ /ERROR/;
		}
		open my $fh, '>', "$stop.$w" or return 1;
		printf $fh '%s %d', $w, 100000 + $i;
		return close $fh ? 0 : 1;
	};
}

my %mix = (
	'set' => ["set k 0 0 8\r\nW N"],
	'set and delete' => ["set k 0 0 8\r\nW N", 'delete k'],
	'delete and add' => ['delete k', "add k 0 0 8\r\nW N"],
	'incr and decr' => ['incr k 2', 'decr k 1'],
	'append, and set now and then' => [("append k 0 0 1\r\nW") x 5, "set k 0 0 1\r\n.", "prepend k 0 0 1\r\nW"],
	'touch and set' => ["set k 0 100 8\r\nW N", map { "touch k $_" } 100 .. 105],
	'touch only' => [map { "touch k $_" } 100 .. 140],
	'flush' => ["set k 0 0 8\r\nW N", 'flush_all', "add k 0 0 8\r\nW N"],
);

sub tight_loop
{
	my ($x, $y, $name, %o) = @_;
	is($x->set('k', '1000'), 'STORED', "$name: a key");
	wait_ok { ($y->get('k') || '') eq '1000' } "$name: on both";
	my $stop = tmp_dir() . '/stop';
	unlink $stop;
	my @commands = @{ $mix{ $o{mix} } };
	my @marks = map { my $n = $_; [$n, $n->stat('repl_items_sent') + $n->stat('repl_tombs_sent') + $n->stat('repl_touches_sent')] } $x, $y;
	my @pids = map { hammer($_, $stop, @commands) } $x, $y;
	$o{meanwhile}->() if $o{meanwhile};
	my $until = now() + 0.3;
	wait_ok {
		now() > $until && !grep {
			my ($n, $mark) = @$_;
			$n->stat('repl_items_sent') + $n->stat('repl_tombs_sent') + $n->stat('repl_touches_sent') < $mark + 500;
		} @marks
	}
	"$name: both sides sent many", 20;
	open my $fh, '>', $stop or die "$stop: $!";
	close $fh;
	my @ends = map { reap($_, 30) } @pids;
	ok(!grep({ !defined $_ || $_ } @ends), "$name: all were served");
	pair_again($x, $y, $name);
	same_on_both($x, $y, ['k'], "$name: both show the same");
	return if $o{mix} ne 'set';
	my ($is, @last) = ($x->get('k') || '', map { slurp("$stop." . $_->name) } $x, $y);
	ok(scalar(grep { $_ eq $is } @last), "$name: and that is what one of them set last") or diag "'$is', not one of '@last'";
	return;
}

{
	my ($one, $two) = pair(args => \@options);
	tight_loop($one, $two, "one key, $_", mix => $_) for sort keys %mix;
	note(sprintf '%s: conflicts won %d, lost %d', $_->name, map { $_ } @{ $_->stats }{qw(repl_conflicts_won repl_conflicts_lost)})
		for $one, $two;
	# That it was a fight at all: somebody had to give way.
	my $fights = 0;
	$fights += $_->stat('repl_conflicts_won') + $_->stat('repl_conflicts_lost') for $one, $two;
	cmp_ok($fights, '>', 0, 'one key: there were conflicts');
	$_->kill9 for $one, $two;
}
{
	my ($one, $two, $net) = pair_with_network();
	my $bounce = sub {
		for my $mode (qw(refuse pass stall pass half pass deaf pass refuse pass)) {
			$net->mode($mode);
			my $mark = $one->stat('cmd_set');
			wait_for { $one->stat('cmd_set') > $mark + 300 } 20;
		}
	};
	tight_loop($one, $two, "one key, $_, and the link comes and goes", mix => $_, meanwhile => $bounce)
		for 'set and delete', 'append, and set now and then';
	$_->kill9 for $one, $two;
}

# ---- deletes while apart ----------------------------------------------------------

# Many more deletes than there is room for tombstones, on both sides of a cut: none
# of the deleted comes back, and what both held and nobody deleted is not lost for
# it. New keys of the far side, older than a tombstone that was lost, may be missed;
# then they are on both.
{
	my ($one, $two, $net) = pair_with_network('-o', 'repl_tombstones=32');
	my $name = 'more deletes than tombstones';
	my $many = 3000;
	for my $n ($one, $two) {
		my $c = $n->client(30);
		$c->talk(join '', map { my $i = $_; map { sprintf "set %s_%s%d 0 0 3 noreply\r\nold\r\n", $_, $n->name, $i } qw(gone kept) } 1 .. $many);
	}
	my @gone = map { my $i = $_; map { "gone_$_$i" } qw(A B) } 1 .. $many;
	my @kept = map { my $i = $_; map { "kept_$_$i" } qw(A B) } 1 .. $many;
	values_on_both($one, $two, { map { $_ => 'old' } @gone, @kept }, "$name: keys on both");
	$net->mode('refuse');
	alone_ok($_, $name) for $one, $two;
	write_ok($one, { early_a => 'new' }, "$name: new keys here");
	write_ok($two, { early_b => 'new' }, "$name: and there");
	# Each deletes keys of both makes.
	my @half = ([grep { /[02468]$/ } @gone], [grep { /[13579]$/ } @gone]);
	for my $w ([$one, $half[0]], [$two, $half[1]]) {
		my ($n, $keys) = @$w;
		ok(all_say($n, qr/^DELETED$/, map { "delete $_" } @$keys), "$name: deletes on " . $n->name);
	}
	write_ok($one, { late_a => 'new' }, "$name: newer keys here");
	write_ok($two, { late_b => 'new' }, "$name: and there");
	cmp_ok($_->stat('repl_tombs_lost'), '>', 0, "$name: tombstones were lost on " . $_->name) for $one, $two;
	$net->mode('pass');
	pair_again($one, $two, $name);
	values_on_both($one, $two, { (map { $_ => undef } @gone), map { $_ => 'old' } @kept }, "$name: the deleted are gone, the others are not");
	same_on_both($one, $two, [map { named($_) } qw(early_a early_b)], "$name: older new keys: the same on both");
	both_show($one, $two, { late_a => 'new', late_b => 'new' }, "$name: newer keys");
	wait_ok { !grep { $_->stat('repl_lost_below') } $one, $two } "$name: it is over";

	# What was settled by one meeting is not undone by the next.
	$net->mode('refuse');
	alone_ok($_, "$name, once more") for $one, $two;
	$net->mode('pass');
	pair_again($one, $two, "$name, once more");
	values_on_both($one, $two, { (map { $_ => undef } @gone), map { $_ => 'old' } @kept }, "$name, once more: the same");
	$_->kill9 for $one, $two;
}

# While apart, one side is filled far beyond its memory, so that most of what it
# wrote and deleted is pushed out before the other has heard of it. What was
# overwritten or deleted is a miss then, or the newest, on both; never what it was.
# (All values are of one size, since each size has its own memory; and nobody reads
# them on that side beforehand, since what is read stays.)
for my $tombstones (16, 4096) {
	my ($one, $two, $net) = pair_with_network('-m', '8', '-o', "repl_tombstones=$tombstones");
	my $name = "pushed out while apart, $tombstones KiB of tombstones";
	for my $sides ([$one, $two], [$two, $one]) {
		my ($x, $y) = @$sides;
		my $round = "$name, " . $x->name;
		my ($over, $gone, $twice) = my @kinds = map { $_ . $x->name } qw(over gone twice);
		my %value = map { $_ => sprintf '%-1000s', "$_ $round" } qw(old new first second);
		write_ok($x, { map { $_ => $value{old} } @kinds }, "$round: keys");
		wait_ok { keys %{ $y->c->mget(map { named($_) } @kinds) } == $each * @kinds } "$round: on the other, too";
		$net->mode('refuse');
		alone_ok($_, $round) for $one, $two;
		write_ok($x, { $over => $value{new}, $gone => undef, $twice => $value{first} }, "$round: written");
		my $c = $x->client(30);
		my $evicted = $x->stat('evictions');
		for my $i (1 .. 20) {
			$c->talk(join '', map { sprintf "set fill%d_%d 0 0 1000 noreply\r\n%s\r\n", $i, $_, 'f' x 1000 } 1 .. 1000);
		}
		cmp_ok($x->stat('evictions'), '>', $evicted + 1000, "$round: more than it can hold");
		my $pushed_out = $each - keys %{ $x->c->mget(named($over)) };
		cmp_ok($pushed_out, '>', 0, "$round: some are pushed out");
		write_ok($x, { $twice => $value{second} }, "$round: written again");
		$net->mode('pass');
		pair_again($one, $two, $round);
		my @wrong;
		for my $n ($one, $two) {
			for my $kind (@kinds) {
				my $got = $n->c->mget(named($kind));
				my %may = ($value{new} => $kind eq $over, $value{second} => $kind eq $twice);
				push @wrong, map { $n->name . " $_: $got->{$_}{value}" =~ s/ +$//r } grep { !$may{ $got->{$_}{value} } } sort keys %$got;
			}
		}
		all_ok(\@wrong, "$round: nothing old came back");
		cmp_ok(scalar(keys %{ $y->c->mget(named($twice)) }), '>', 0, "$round: of the newest some came across");
	}
	$_->kill9 for $one, $two;
}

# A node that lost its memory deletes keys that it does not hold: they are deleted
# where they are.
{
	my ($one, $two, $net) = pair_with_network();
	my $name = 'deleted by one that started empty';
	write_ok($two, { kept => 'old', gone => 'old', over => 'old', lost => 'old' }, "$name: keys");
	both_show($one, $two, { kept => 'old', gone => 'old', over => 'old', lost => 'old' }, $name);
	$net->mode('refuse');
	alone_ok($_, $name) for $one, $two;
	write_ok($one, { lost => undef }, "$name: a delete that nobody else has heard of ...");
	$one->kill9;
	ok($one->start, "$name: ... and its node started again, empty");
	is($one->get('kept1'), undef, "$name: it holds nothing");
	write_ok($one, { gone => undef, over => 'new', own => 'new' }, "$name: deletes and writes");
	write_ok($two, { theirs => 'new' }, "$name: and writes there");
	$net->mode('pass');
	pair_again($one, $two, $name);
	# `lost`: that it was deleted was known only to a process that is no more.
	both_show($one, $two, { kept => 'old', gone => undef, over => 'new', own => 'new', theirs => 'new', lost => 'old' }, $name);
	$_->kill9 for $one, $two;
}

# Deletes while the peer is stopped: for less than the timeout, and for more. What it
# would have answered from is gone when it answers again.
for my $case (['for a moment', 60000], ['for too long', 400]) {
	my ($how, $timeout) = @$case;
	my ($one, $two) = pair(args => ['-m', '64', '-o', "repl_timeout=$timeout"]);
	for my $sides ([$one, $two], [$two, $one]) {
		my ($still, $left) = @$sides;
		my $name = $still->name . " stopped $how";
		write_ok($still, { kept => $name, gone => $name, back => $name }, "$name: keys");
		both_show($one, $two, { kept => $name, gone => $name, back => $name }, "$name, before");
		$still->freeze;
		write_ok($left, { gone => undef, back => undef }, "$name: deletes");
		write_ok($left, { back => 'new', own => undef }, "$name: one is written again");
		alone_ok($left, $name) if $timeout < 1000;
		$still->thaw;
		pair_again($one, $two, $name);
		both_show($one, $two, { kept => $name, gone => undef, back => 'new', own => undef }, $name);
	}
	$_->kill9 for $one, $two;
}

# What was kept alive by touch on one side, while its old expiry passed on the other,
# is alive on both when they meet.
{
	my ($one, $two, $net) = pair_with_network();
	my $name = 'kept alive by touch';
	for my $w ($one, $two) {
		ok(all_say($w, qr/^STORED$/, map { "set $_ 1 2 5\r\nvalue" } named('alive_' . $w->name)), "$name: keys of " . $w->name);
	}
	my @all = (named('alive_A'), named('alive_B'));
	values_on_both($one, $two, { map { $_ => 'value' } @all }, "$name: on both");
	$net->mode('refuse');
	alone_ok($_, $name) for $one, $two;
	ok(all_say($one, qr/^TOUCHED$/, map { "touch $_ 1000" } @all), "$name: touched");
	wait_ok { !$two->stat('curr_items') } "$name: expired and cleared away on the other", 20;
	$net->mode('pass');
	pair_again($one, $two, $name);
	same_on_both($one, $two, \@all, "$name: the same on both");
	is(scalar(keys %{ $one->c->mget(@all) }), scalar @all, "$name: where it was touched it is");
	$_->kill9 for $one, $two;
}

# ---- crossed outages ---------------------------------------------------------------

# A down, B written, B down, A up, A written, B up. Down means stopped: both keep
# their memory, and never see each other's writes until the end. The newest of each
# key counts, as if nothing had happened.
for my $mutual (0, 1) {
	my ($one, $two) = pair(args => \@options, mutual => $mutual);
	for my $sides ([$one, $two], [$two, $one]) {
		my ($x, $y) = @$sides;
		my $name = sprintf 'crossed, stopped, %s first%s', $x->name, $mutual ? ', mutual' : '';
		my @kinds = qw(kept y_only x_only y_then_x y_del x_del y_set_x_del y_del_x_set);
		write_ok($x, { map { $_ => "old $name" } @kinds }, "$name: keys");
		both_show($one, $two, { map { $_ => "old $name" } @kinds }, "$name, before");
		$x->freeze;
		alone_ok($y, $name);
		write_ok($y, { y_only => "y $name", y_then_x => "y $name", y_del => undef, y_set_x_del => "y $name", y_del_x_set => undef }, "$name: the other is written");
		$y->freeze;
		$x->thaw;
		alone_ok($x, $name);
		write_ok($x, { x_only => "x $name", y_then_x => "x $name", x_del => undef, y_set_x_del => undef, y_del_x_set => "x $name" }, "$name: now this one");
		$y->thaw;
		pair_again($one, $two, $name);
		both_show($one, $two, {
			kept => "old $name", y_only => "y $name", x_only => "x $name", y_then_x => "x $name", y_del => undef, x_del => undef,
			y_set_x_del => undef, y_del_x_set => "x $name",
		}, $name);
	}
	$_->kill9 for $one, $two;
}

# Down means killed: what only one of them held is lost with it.
{
	my ($one, $two) = pair(args => \@options, mutual => 1);
	for my $sides ([$one, $two], [$two, $one]) {
		my ($x, $y) = @$sides;
		my $name = sprintf 'crossed, killed, %s first', $x->name;
		write_ok($x, { both => "old $name", mine => "old $name" }, "$name: keys");
		both_show($one, $two, { both => "old $name", mine => "old $name" }, "$name, before");
		$x->kill9;
		alone_ok($y, $name);
		write_ok($y, { theirs => "y $name", both => "y $name" }, "$name: the other is written");
		$y->kill9;
		ok($x->start, "$name: the first is up again");
		is($x->get('both1'), undef, "$name: and holds nothing");
		write_ok($x, { mine => "x $name", gone => undef }, "$name: it is written");
		ok($y->start, "$name: the other is up, too");
		pair_again($one, $two, $name);
		# Exactly what was written since the first came back.
		both_show($one, $two, { both => undef, theirs => undef, mine => "x $name", gone => undef }, $name);
	}

	# The same with the outages overlapping by one full copy: nothing is lost.
	for my $sides ([$one, $two], [$two, $one]) {
		my ($x, $y) = @$sides;
		my $name = sprintf 'one after the other, %s first', $x->name;
		write_ok($x, { kept => "old $name", over => "old $name", del => "old $name" }, "$name: keys");
		both_show($one, $two, { kept => "old $name", over => "old $name", del => "old $name" }, "$name, before");
		$x->kill9;
		write_ok($y, { theirs => "y $name", del => undef }, "$name: the other is written");
		ok($x->start, "$name: the first is up again, and filled before it serves");
		is($x->get('theirs1'), "y $name", "$name: with what it missed");
		$y->kill9;
		write_ok($x, { over => "x $name" }, "$name: it is written");
		ok($y->start, "$name: the other is up again");
		pair_again($one, $two, $name);
		both_show($one, $two, { kept => "old $name", over => "x $name", theirs => "y $name", del => undef }, $name);
	}

	# Stopped long ago, with old data, and the only one left when the other dies: what
	# it holds is what there is. It must not mix with what comes later.
	for my $sides ([$one, $two], [$two, $one]) {
		my ($x, $y) = @$sides;
		my $name = sprintf 'the old copy is the last, %s stopped', $x->name;
		write_ok($x, { kept => "old $name", over => "old $name" }, "$name: keys");
		both_show($one, $two, { kept => "old $name", over => "old $name" }, "$name, before");
		$x->freeze;
		alone_ok($y, $name);
		write_ok($y, { over => "y $name", new => "y $name" }, "$name: the other is written");
		$y->kill9;
		$x->thaw;
		alone_ok($x, $name);
		write_ok($x, { later => "x $name" }, "$name: now this one");
		ok($y->start, "$name: the other is up again, empty");
		pair_again($one, $two, $name);
		# Of the writes that only the dead one knew, those are here that it had sent
		# before it noticed that nobody reads; which ones is all or none per key.
		both_show($one, $two, { kept => "old $name", later => "x $name" }, $name);
		same_on_both($one, $two, [map { named($_) } qw(over new)], "$name: the rest is the same on both");
	}
	$_->kill9 for $one, $two;
}

# ---- a flush that comes later --------------------------------------------------------

# flush_all 1 on one side of a cut, which heals before or after it takes effect: what
# was written before that instant, on either side, is gone; what was written after
# it stays.
for my $when (qw(before after)) {
	my ($one, $two, $net) = pair_with_network();
	my $name = "delayed flush, healed $when";
	write_ok($one, { old => 'old', over => 'old' }, "$name: keys");
	both_show($one, $two, { old => 'old', over => 'old' }, "$name, before");
	$net->mode('refuse');
	alone_ok($_, $name) for $one, $two;
	is($two->c->cmd('flush_all 1'), 'OK', "$name: ordered");
	$net->mode('pass') if $when eq 'before';
	pair_again($one, $two, $name) if $when eq 'before';
	wait_ok { !defined $two->get('old1') } "$name: done there", 10;
	wait_ok { !defined $one->get('old1') } "$name: done here", 10 if $when eq 'before';
	write_ok($two, { over => 'new', own => 'new' }, "$name: written afterwards");
	write_ok($one, { far => 'new' }, "$name: on the other, too");
	$net->mode('pass');
	pair_again($one, $two, $name);
	both_show($one, $two, { old => undef, over => 'new', own => 'new', far => 'new' }, $name);
	$_->kill9 for $one, $two;
}

done_testing();
