#!/usr/bin/perl
# What stands between clients and a pair in practice: nginx's memcached and memc
# modules, nutcracker (twemproxy) and HAProxy with a health check. Each has both
# nodes behind it and goes on when one of them is killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use HTTP::Tiny;
use MemcachedPair;
use Test::More;

# Debian puts nginx and haproxy there, which is not in everybody's path.
local $ENV{PATH} = "$ENV{PATH}:/usr/sbin:/usr/local/sbin";
my %path = map { $_ => find_program($_) } qw(nginx nutcracker haproxy);
plan skip_all => 'none of nginx, nutcracker and haproxy is installed' if !grep { defined } values %path;

my ($one, $two) = pair(args => ['-m', '64']);
my @servers = map { $_->addr . ':' . $_->port } $one, $two;
my $large = join ' ', 1 .. 150_000;

sub config_file
{
	my ($name, $text) = @_;
	my $file = tmp_dir() . "/$name";
	open my $fh, '>', $file or die "$file: $!";
	print $fh $text;
	close $fh;
	return $file;
}

# Start a program that stays in the foreground; wait until somebody answers.
sub proxied
{
	my ($name, $port, @command) = @_;
	my $log = tmp_dir() . "/$name.log";
	my $pid = spawn {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		exec { $command[0] } @command or return 127;
	};
	ok(wait_for { process_alive($pid) && eval { MemcachedPair::Client->new(addr => '127.0.0.1', port => $port, 2) } }, "$name runs") or diag slurp($log);
	return $pid;
}

# Ask through a new connection; undef when there is none, or no answer.
sub through
{
	my ($port, $ask) = @_;
	return scalar eval { $ask->(MemcachedPair::Client->new(addr => '127.0.0.1', port => $port, 5)) };
}

sub ended
{
	my ($pid) = @_;
	kill 'KILL', $pid;
	return reap($pid, 10);
}

sub restart_one
{
	$one->start(peer => $two->addr);
	wait_pair($one, $two);
	return;
}

SKIP: {
	skip 'nginx is not installed', 1 if !$path{nginx};
	my $port = free_port();
	my $dir = tmp_dir();
	my ($memc) = grep { -e } glob '/usr/lib/nginx/modules/ngx_http_memc_module.so /usr/lib/*/nginx/modules/ngx_http_memc_module.so';
	my $load = $memc ? "load_module $memc;" : '';
	my $memc_location = $memc ? 'location /memc/ { set $memc_key $arg_key; set $memc_cmd $arg_cmd; set $memc_value $arg_value; set $memc_exptime $arg_exptime; memc_pass both; }' : '';
	my $paths = join ' ', map { "${_}_temp_path $dir/nginx-$_;" } qw(client_body proxy fastcgi uwsgi scgi);
	my $config = config_file('nginx.conf', <<"CONF");
$load
daemon off; master_process off; pid $dir/nginx.pid; error_log $dir/nginx-error.log;
events { worker_connections 64; }
http {
	access_log off; $paths
	client_max_body_size 2m; client_body_buffer_size 2m;
	upstream both { server $servers[0] max_fails=1 fail_timeout=1s; server $servers[1] max_fails=1 fail_timeout=1s; }
	server {
		listen 127.0.0.1:$port;
		location /cache/ { set \$memcached_key "\$uri"; memcached_pass both; memcached_next_upstream error timeout; memcached_connect_timeout 10s; }
		$memc_location
	}
}
CONF
	my $pid = proxied('nginx', $port, $path{nginx}, '-p', $dir, '-c', $config);
	my $http = HTTP::Tiny->new(timeout => 20);
	my $get = sub { my $r = $http->get("http://127.0.0.1:$port$_[0]"); return $r->{status} == 200 ? $r->{content} : $r->{status} };
	is($get->('/cache/page'), 404, 'nginx: a miss');
	for my $way ([$one, 'one'], [$two, 'two']) {
		my ($n, $name) = @$way;
		is($n->set('/cache/page', "a page from $name"), 'STORED', "nginx: a page put on $name");
		wait_ok { !grep { ($_->get('/cache/page') || '') ne "a page from $name" } $one, $two } 'nginx: both nodes have it';
		# The upstreams take turns: both are asked.
		is($get->('/cache/page'), "a page from $name", "nginx: request $_") for 1 .. 4;
	}
	$one->set('/cache/large', $large);
	wait_ok { ($two->get('/cache/large') || '') eq $large } 'nginx: a megabyte on both nodes';
	is($get->('/cache/large'), $large, 'nginx: whole') for 1 .. 2;
	if ($memc) {
		my $do = sub { my ($cmd, %o) = @_; return $get->("/memc/?cmd=$cmd&" . join '&', map { "$_=$o{$_}" } sort keys %o) };
		is($do->('set', key => 'm', value => 10, exptime => 1000) =~ /^(?:STORED\r\n|201)$/ ? 'stored' : 'not', 'stored', 'memc: set');
		wait_ok { !grep { ($_->get('m') || '') ne '10' } $one, $two } 'memc: on both nodes';
		like($do->('incr', key => 'm', value => 5), qr/^(?:15\r\n|201)$/, 'memc: incr');
		wait_ok { !grep { ($_->get('m') || '') ne '15' } $one, $two } 'memc: on both nodes';
		is($do->('get', key => 'm'), '15', 'memc: get') for 1 .. 2;
		like($do->('delete', key => 'm'), qr/^(?:DELETED\r\n|200)$/, 'memc: delete');
		wait_ok { !grep { defined $_->get('m') } $one, $two } 'memc: gone on both nodes';
		like($do->('version'), qr/^VERSION /, 'memc: version');
		like($do->('stats'), qr/STAT curr_items \d/, 'memc: stats');
		like($do->('flush_all'), qr/^OK/, 'memc: flush_all');
		wait_ok { !grep { defined $_->get('/cache/page') } $one, $two } 'memc: flushed on both nodes';
		wait_ok { $one->set('/cache/page', 'v') eq 'STORED' && ($two->get('/cache/page') || '') eq 'v' } 'memc: and it goes on';
	}
	my $page = $two->get('/cache/page');
	$one->kill9;
	is($get->('/cache/page'), $page, 'nginx: goes on when one node was killed') for 1 .. 4;
	restart_one();
	ended($pid);
}

# All commands of the text protocol through a proxy that understands them.
sub commands_through
{
	my ($name, $c, $check) = @_;
	is($c->set('k', 'value', 5, 1000), 'STORED', "$name: set");
	my $seen = $c->gets('k');
	is_deeply([@$seen{qw(flags value)}], [5, 'value'], "$name: gets");
	is($c->cmd("cas k 6 0 3 $seen->{cas}\r\nnew"), 'STORED', "$name: cas");
	is($c->cmd("cas k 6 0 5 $seen->{cas}\r\nnewer"), 'EXISTS', "$name: cas with the old unique");
	wait_ok { !grep { ($_->get('k') || '') ne 'new' } $one, $two } "$name: on both nodes";
	is($c->cmd("add k 0 0 1\r\nx"), 'NOT_STORED', "$name: add");
	is($c->cmd("replace none 0 0 1\r\nx"), 'NOT_STORED', "$name: replace");
	is($c->cmd("append k 0 0 2\r\n-b"), 'STORED', "$name: append");
	is($c->cmd("prepend k 0 0 2\r\na-"), 'STORED', "$name: prepend");
	wait_ok { !grep { ($_->get('k') || '') ne 'a-new-b' } $one, $two } "$name: on both nodes";
	is($c->cmd('touch k 1000'), 'TOUCHED', "$name: touch");
	is($c->set('n', 10), 'STORED', "$name: a number");
	is($c->cmd('incr n 15'), '25', "$name: incr");
	wait_ok { !grep { ($_->get('n') || '') ne '25' } $one, $two } "$name: on both nodes";
	is($c->cmd('decr n 5'), '20', "$name: decr");
	is($c->set('large', $large), 'STORED', "$name: a megabyte");
	wait_ok { !grep { ($_->get('large') || '') ne $large } $one, $two } "$name: on both nodes";
	is($c->get('large'), $large, "$name: read back");
	is($c->set("many$_", "v$_"), 'STORED', "$name: many$_") for 1 .. 20;
	wait_ok { !grep { 20 != keys %{ $_->c->mget(map { "many$_" } 1 .. 20) } } $one, $two } "$name: many on both nodes";
	is(scalar(keys %{ $c->mget(map { "many$_" } 1 .. 20) }), 20, "$name: gets of many");
	is($c->cmd('delete k'), 'DELETED', "$name: delete");
	is($c->cmd('delete k'), 'NOT_FOUND', "$name: and again");
	wait_ok { !grep { defined $_->get('k') } $one, $two } "$name: gone on both nodes";
	return;
}

SKIP: {
	skip 'nutcracker is not installed', 1 if !$path{nutcracker};
	my ($port, $stats) = map { free_port() } 1 .. 2;
	my $config = config_file('nutcracker.yml', <<"CONF");
pair:
  listen: 127.0.0.1:$port
  hash: fnv1a_64
  distribution: ketama
  timeout: 10000
  auto_eject_hosts: true
  server_failure_limit: 1
  server_retry_timeout: 60000
  servers:
   - $servers[0]:1
   - $servers[1]:1
CONF
	my $pid = proxied('nutcracker', $port, $path{nutcracker}, '-c', $config, '-s', $stats, '-a', '127.0.0.1', '-m', 16384);
	my $c = MemcachedPair::Client->new(addr => '127.0.0.1', port => $port);
	commands_through('nutcracker', $c);
	$one->kill9;
	# The requests that find the node gone may be refused; then it is ejected, and
	# whatever was on it is on the other.
	my $many = sub { scalar keys %{ $_[0]->mget(map { "many$_" } 1 .. 20) } };
	wait_ok { my $count = through($port, $many); $count && $count == 20 }
	'nutcracker: every key is read after one node was killed';
	$c = MemcachedPair::Client->new(addr => '127.0.0.1', port => $port);
	is(scalar(grep { $c->set("many$_", 'w') eq 'STORED' } 1 .. 20), 20, 'nutcracker: and written');
	restart_one();
	ended($pid);
}

SKIP: {
	skip 'haproxy is not installed', 1 if !$path{haproxy};
	for my $probe (['version', '^VERSION\ '], ['mn', '^MN']) {
		my ($command, $answer) = @$probe;
		my $port = free_port();
		my $config = config_file("haproxy-$command.cfg", <<"CONF");
global
	maxconn 100
defaults
	mode tcp
	timeout connect 10s
	timeout client 60s
	timeout server 60s
frontend clients
	bind 127.0.0.1:$port
	default_backend pair
backend pair
	option tcp-check
	option redispatch
	tcp-check connect
	tcp-check send $command\\r\\n
	tcp-check expect rstring $answer
	default-server check inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions
	server one $servers[0]
	server two $servers[1] backup
CONF
		my $name = "haproxy, checked by $command";
		my $pid = proxied($name, $port, $path{haproxy}, '-db', '-q', '-f', $config);
		my $value = sub { my ($key) = @_; my $v = through($port, sub { $_[0]->get($key) }); return defined $v ? $v : '' };
		wait_ok { through($port, sub { $_[0]->cmd('version') =~ /^VERSION/ }) } "$name: serves";
		commands_through($name, MemcachedPair::Client->new(addr => '127.0.0.1', port => $port));
		$one->kill9;
		wait_ok { $value->('many7') eq 'v7' } "$name: the other node serves when one was killed";
		is(through($port, sub { $_[0]->set('after', 'v') }), 'STORED', "$name: and takes writes");
		restart_one();
		wait_ok { $value->('after') eq 'v' } "$name: and so does the first, back again";
		ended($pid);
	}
}

done_testing();
