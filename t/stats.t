#!/usr/bin/perl
# Statistics: every field there, and true. A server with a past is compared with
# what the test did to it. Names: doc/protocol.txt section 5.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MemcachedPair;
use Test::More;

my $n = node(args => ['-m', '32', '-c', '500', '-I', '1m']);
$n->start;
my $c = $n->client;

# ---- all there, and well formed -------------------------------------------------

my @numbers = qw(
	pid uptime time pointer_size max_connections curr_connections total_connections rejected_connections
	cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired get_flushed
	delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval
	touch_hits touch_misses store_too_large store_no_memory auth_cmds auth_errors
	bytes_read bytes_written limit_maxbytes accepting_conns listen_disabled_num time_in_listen_disabled_us
	threads conn_yields hash_power_level hash_bytes hash_is_expanding slabs_moved
	bytes curr_items total_items slab_global_page_pool expired_unfetched evicted_unfetched evictions reclaimed
	crawler_reclaimed crawler_items_checked input_dropped uploads_dropped
);
my $s = $c->stats;
all_ok([grep { !defined $s->{$_} } @numbers, qw(version libevent rusage_user rusage_system)], 'every general field is there');
all_ok([grep { defined $s->{$_} && $s->{$_} !~ /^\d+$/ } @numbers], 'numbers are numbers');
like($s->{$_}, qr/^\d+\.\d{6}$/, "$_ has six digits behind the point") for qw(rusage_user rusage_system);
is($s->{pid}, $n->pid, 'pid');
is($s->{pointer_size}, length(pack 'P', 0) * 8, 'pointer_size');
cmp_ok(abs($s->{time} - time), '<=', 2, 'time');
cmp_ok($s->{uptime}, '>=', 1, 'uptime is never 0');
cmp_ok($s->{uptime}, '<', 30 * slow_factor(), 'nor large');
is($s->{max_connections}, 500, 'max_connections');
is($s->{limit_maxbytes}, 32 << 20, 'limit_maxbytes');
is($s->{accepting_conns}, 1, 'accepting_conns');
is($s->{threads}, 1, 'threads');
is($s->{version}, $c->cmd('version') =~ /^VERSION (\S+)/ ? $1 : '', 'version');
like($s->{libevent}, qr/\d/, 'libevent');
{
	$c->put("stats\r\n");
	my $text = $c->until_end;
	cmp_ok(length $text, '<', 4096, 'the list is shorter than 4096 bytes');
	my %count;
	$count{$_}++ for $text =~ /^STAT (\S+)/mg;
	all_ok([grep { $count{$_} > 1 } sort keys %count], 'no field twice');
	all_ok([grep { !/^STAT \S+ [^\r\n]+\r$/ } grep { !/^END/ } split /\n/, $text], 'every line is STAT name value');
}

# ---- counters: what was done, and nothing else ------------------------------------

# Do something; the counters that moved must be exactly these.
my @watched = qw(
	cmd_get cmd_set cmd_flush cmd_touch cmd_meta get_hits get_misses get_expired get_flushed
	delete_misses delete_hits incr_misses incr_hits decr_misses decr_hits cas_misses cas_hits cas_badval
	touch_hits touch_misses store_too_large store_no_memory curr_items total_items evictions
);
sub moves
{
	my ($send, $expected, $name) = @_;
	my $before = $c->stats;
	$c->talk($send);
	my $after = $c->stats;
	my @wrong;
	for my $field (@watched) {
		my $by = $after->{$field} - $before->{$field};
		my $want = $expected->{$field} || 0;
		push @wrong, "$field moved by $by, not $want" if $by != $want;
	}
	return all_ok(\@wrong, "counted: $name");
}

my %new = (cmd_set => 1, curr_items => 1, total_items => 1);
my %again = (cmd_set => 1, total_items => 1);
moves("set a 0 0 1\r\n1\r\n", \%new, 'set');
moves("set a 0 0 1\r\n2\r\n", \%again, 'set again');
moves("add a 0 0 1\r\n2\r\n", { cmd_set => 1 }, 'add of an old key');
moves("add b 0 0 1\r\n2\r\n", \%new, 'add of a new key');
moves("replace none 0 0 1\r\n2\r\n", { cmd_set => 1 }, 'replace of nothing');
moves("replace b 0 0 1\r\n2\r\n", \%again, 'replace');
moves("append a 0 0 1\r\n3\r\n", \%again, 'append');
moves("prepend none 0 0 1\r\n3\r\n", { cmd_set => 1 }, 'prepend of nothing');
moves("get a\r\n", { cmd_get => 1, get_hits => 1 }, 'get');
moves("get a none b other\r\n", { cmd_get => 4, get_hits => 2, get_misses => 2 }, 'get of several keys');
moves("gets a\r\n", { cmd_get => 1, get_hits => 1 }, 'gets');
moves("touch a 100\r\n", { cmd_touch => 1, touch_hits => 1 }, 'touch');
moves("touch none 100\r\n", { cmd_touch => 1, touch_misses => 1 }, 'touch of nothing');
moves("gat 100 a none\r\n", { cmd_touch => 2, touch_hits => 1, touch_misses => 1 }, 'gat');
moves("incr a 1\r\n", { incr_hits => 1 }, 'incr in place');
moves("incr none 1\r\n", { incr_misses => 1 }, 'incr of nothing');
moves("decr a 1\r\n", { decr_hits => 1 }, 'decr');
moves("decr none 1\r\n", { decr_misses => 1 }, 'decr of nothing');
moves("cas none 0 0 1 5\r\n1\r\n", { cmd_set => 1, cas_misses => 1 }, 'cas of nothing');
my $unique = $c->gets('a')->{cas};
moves("cas a 0 0 1 " . ($unique + 1000) . "\r\n1\r\n", { cmd_set => 1, cas_badval => 1 }, 'cas with another unique');
moves("cas a 0 0 1 $unique\r\n1\r\n", { %again, cas_hits => 1 }, 'cas');
moves("delete a\r\n", { delete_hits => 1, curr_items => -1 }, 'delete');
moves("delete a\r\n", { delete_misses => 1 }, 'delete of nothing');
moves("set big 0 0 2000000\r\n" . 'x' x 2000000 . "\r\n", { store_too_large => 1 }, 'a value that is too large');
moves("set q 0 0 1 noreply\r\n1\r\n", \%new, 'noreply');
moves("bogus\r\nget\r\n", {}, 'nonsense');
{
	my $before = $c->stats;
	is($c->cmd('flush_all'), 'OK', 'flush_all');
	is($c->get('b'), undef, 'and a get');
	my $after = $c->stats;
	is($after->{cmd_flush} - $before->{cmd_flush}, 1, 'cmd_flush counts');
	is($after->{get_misses} - $before->{get_misses}, 1, 'the get is a miss');
}
{
	my $before = $c->stats;
	$c->set('brief', 'v', 0, 1);
	wait_for { !defined $c->get('brief') } 5;
	my $after = $c->stats;
	# Either a get found it dead, or the sweep was there first.
	cmp_ok($after->{get_expired} + $after->{crawler_reclaimed} + $after->{reclaimed},
		'>', $before->{get_expired} + $before->{crawler_reclaimed} + $before->{reclaimed}, 'an expired item is counted');
}

# ---- gauges --------------------------------------------------------------------

{
	my $before = $c->stats;
	my @more = map { $n->client } 1 .. 10;
	$_->cmd('version') for @more;
	my $during = $c->stats;
	is($during->{curr_connections} - $before->{curr_connections}, 10, 'curr_connections');
	is($during->{total_connections} - $before->{total_connections}, 10, 'total_connections');
	$_->close for @more;
	wait_ok { $c->stats->{curr_connections} == $before->{curr_connections} } 'curr_connections goes down';
}
{
	# What was flushed or has expired is still counted until it is swept away.
	wait_ok { $c->stats->{curr_items} == 0 } 'what is dead is gone in the end';
	my $before = $c->stats;
	my $value = 'x' x 1000;
	$c->put(join '', map { "set item$_ 0 0 1000\r\n$value\r\n" } 1 .. 1000);
	$c->line for 1 .. 1000;
	my $after = $c->stats;
	is($after->{curr_items} - $before->{curr_items}, 1000, 'curr_items');
	my $each = ($after->{bytes} - $before->{bytes}) / 1000;
	cmp_ok($each, '>', 1000, sprintf 'bytes: %.0f for an item with a value of 1000', $each);
	cmp_ok($each, '<', 1100, 'and little more');
	my $read = $after->{bytes_read} - $before->{bytes_read};
	my $sent = length join '', "stats\r\n", map { "set item$_ 0 0 1000\r\n$value\r\n" } 1 .. 1000;
	is($read, $sent, 'bytes_read is to the byte');
	cmp_ok($after->{bytes_written} - $before->{bytes_written}, '>=', 8 * 1000, 'bytes_written');
}

# ---- stats items, slabs, conns, settings, sizes ------------------------------------

{
	my $items = $c->stats('items');
	my %class = map { /^items:(\d+):/ ? ($1 => 1) : () } keys %$items;
	cmp_ok(scalar keys %class, '>', 0, 'stats items lists classes');
	all_ok([grep { !/^items:\d+:\w+$/ } keys %$items], 'names are items:class:name');
	my @fields = qw(number age mem_requested evicted evicted_nonzero evicted_time outofmemory reclaimed expired_unfetched evicted_unfetched crawler_reclaimed crawler_items_checked);
	all_ok([map { my $id = $_; map { defined $items->{"items:$id:$_"} ? () : "items:$id:$_" } @fields } sort keys %class], 'every class has every field');
	# Both lists in one packet, so that nothing expires between them.
	my $text = $c->talk("stats\r\nstats items\r\n");
	my $general = { $text =~ /^STAT (\w+) (\S+)\r$/mg };
	my ($sum, $bytes) = (0, 0);
	$sum += $_ for $text =~ /^STAT items:\d+:number (\d+)/mg;
	$bytes += $_ for $text =~ /^STAT items:\d+:mem_requested (\d+)/mg;
	is($sum, $general->{curr_items}, 'the numbers add up to curr_items');
	is($bytes, $general->{bytes}, 'and mem_requested to bytes');

	my $slabs = $c->stats('slabs');
	my %slab = map { /^(\d+):/ ? ($1 => 1) : () } keys %$slabs;
	@fields = qw(chunk_size chunks_per_page total_pages total_chunks used_chunks free_chunks free_chunks_end get_hits cmd_set delete_hits incr_hits decr_hits cas_hits cas_badval touch_hits);
	all_ok([map { my $id = $_; map { defined $slabs->{"$id:$_"} ? () : "$id:$_" } @fields } sort keys %slab], 'every slab class has every field');
	all_ok([grep { $slabs->{"$_:used_chunks"} + $slabs->{"$_:free_chunks"} != $slabs->{"$_:total_chunks"} } sort keys %slab], 'used and free chunks are all chunks');
	is($slabs->{active_slabs}, scalar keys %slab, 'active_slabs');
	cmp_ok($slabs->{total_malloced}, '<=', 32 << 20, 'total_malloced keeps the promise of -m');
	cmp_ok($slabs->{total_malloced}, '>=', $general->{bytes}, 'and holds the items');
	all_ok([grep { !$slab{$_} } sort keys %class], 'every class of items is a slab class');
	my ($sets) = (0);
	$sets += $slabs->{"$_:cmd_set"} for keys %slab;
	cmp_ok($sets, '>=', 1000, 'cmd_set per class');
}
{
	my $conns = $c->stats('conns');
	my %id = map { /^(\d+):/ ? ($1 => 1) : () } keys %$conns;
	my @listeners = grep { ($conns->{"$_:state"} || '') eq 'conn_listening' } keys %id;
	my @clients = grep { defined $conns->{"$_:listen_addr"} } keys %id;
	cmp_ok(scalar @listeners, '>=', 1, 'stats conns shows the listener');
	cmp_ok(scalar @clients, '>=', 1, 'and clients');
	is($conns->{"$_:addr"}, 'tcp:127.0.0.1:' . $n->port, 'a listener has its own address') for @listeners[0 .. 0];
	is($conns->{"$_:listen_addr"}, 'tcp:127.0.0.1:' . $n->port, 'a client came in by it') for @clients[0 .. 0];
	like($conns->{"$_:addr"}, qr/^tcp:127\.0\.0\.1:\d+$/, 'and has an address') for @clients[0 .. 0];
	like($conns->{"$_:secs_since_last_cmd"}, qr/^\d+$/, 'and an age') for @clients[0 .. 0];
}
{
	my $settings = $c->stats('settings');
	my @fields = qw(maxbytes maxconns tcpport inter verbosity evictions domain_socket umask shutdown_command growth_factor chunk_size
		num_threads reqs_per_event cas_enabled tcp_backlog binding_protocol auth_enabled_sasl item_size_max maxconns_fast
		lru_crawler flush_enabled dump_enabled temp_lru idle_timeout memory_file client_flags_size);
	all_ok([grep { !defined $settings->{$_} } @fields], 'every setting is there');
	is($settings->{tcpport}, $n->port, 'tcpport');
	is($settings->{inter}, '127.0.0.1', 'inter');
	is($settings->{client_flags_size}, 4, 'client_flags_size');
	is($settings->{domain_socket}, 'NULL', 'domain_socket');
}
is($c->stats('sizes')->{sizes_status}, 'disabled', 'stats sizes');
is($c->cmd('stats bogus'), 'ERROR', 'an unknown list');
is($c->cmd('stats replication'), 'ERROR', 'without replication there is no such list');
is($c->stats->{replication}, 'OFF', 'and the role says so');

# ---- evictions ---------------------------------------------------------------------

{
	my $small = node(args => ['-m', '4']);
	$small->start;
	my $k = $small->client(30);
	my $value = 'x' x 1000;
	$k->put(join('', map { "set e$_ 0 0 1000 noreply\r\n$value\r\n" } 1 .. 10_000)) or fail('loading');
	my $g = $k->stats;
	cmp_ok($g->{evictions}, '>', 5000, 'evictions');
	is($g->{evictions} + $g->{curr_items}, 10_000, 'evicted and held are all that were stored');
	cmp_ok($g->{bytes}, '<=', 4 << 20, 'within -m');
	my $items = $k->stats('items');
	my $evicted = 0;
	$evicted += $items->{$_} for grep { /:evicted$/ } keys %$items;
	is($evicted, $g->{evictions}, 'per class, too');
	is($g->{total_items}, 10_000, 'total_items');
	$small->kill9;
}

# ---- reset ---------------------------------------------------------------------------

{
	my $items = $c->stats->{curr_items};
	is($c->cmd('stats reset'), 'RESET', 'stats reset');
	my $g = $c->stats;
	my @zero = grep { !/^(?:curr_items|total_connections)$/ } @watched;
	all_ok([map { $g->{$_} ? "$_ is $g->{$_}" : () } @zero, 'total_connections'], 'counters are 0');
	is($g->{curr_items}, $items, 'gauges stay');
	cmp_ok($g->{curr_connections}, '>=', 1, 'curr_connections stays');
	cmp_ok($g->{uptime}, '>=', 1, 'so does uptime');
	my $slabs = $c->stats('slabs');
	all_ok([grep { /^\d+:cmd_set$/ && $slabs->{$_} } keys %$slabs], 'per class as well');
}
$n->kill9;

# ---- replication ---------------------------------------------------------------------

{
	my ($one, $two) = pair();
	is($one->stat('replication'), 'MASTER', 'replication MASTER');
	is($two->stat('replication'), 'SLAVE', 'replication SLAVE');
	for my $x ($one, $two) {
		my $g = $x->stats;
		like($g->{repcached_version} || '', qr/^\d/, $x->name . ': repcached_version');
		like($g->{repcached_qi_free} || '', qr/^\d+$/, $x->name . ': repcached_qi_free');
		my $r = $x->stats('replication');
		cmp_ok(scalar keys %$r, '>', 15, $x->name . ': stats replication says a lot');
		all_ok([grep { !defined $r->{$_} || $r->{$_} eq '' } keys %$r], $x->name . ': every field has a value');
		all_ok([grep { /^repl_/ && defined $r->{$_} && $r->{$_} ne $g->{$_} && $g->{$_} !~ /^\d+$/ } keys %$g], $x->name . ': the flat fields say the same');
	}
	$one->set("r$_", 'v') for 1 .. 100;
	MemcachedPair::wait_pair($one, $two);
	my ($r1, $r2) = map { $_->stats('replication') } $one, $two;
	my ($sent) = grep { /items?_sent$|sent_items?$/ } keys %$r1;
	my ($received) = grep { /items?_received$|received_items?$|applied/ } keys %$r2;
	ok($sent && $received, 'items sent and received are counted') or diag join ' ', sort keys %$r1;
	cmp_ok($r1->{ $sent || '' } || 0, '>=', 100, 'sent');
	cmp_ok($r2->{ $received || '' } || 0, '>=', 100, 'received');
	is($two->stat('curr_items'), $one->stat('curr_items'), 'curr_items is the same');
	my $settings = $one->stats('settings');
	is($settings->{repl_port}, $one->link_port, 'stats settings: repl_port');
	$two->kill9;
	wait_ok { $one->role eq 'MASTER' } 'alone it is MASTER';
	$one->kill9;
}

done_testing();
