#!/usr/bin/perl
# Java's spymemcached against a pair, text and binary.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use ClientScript;
use MemcachedPair;
use Test::More;

my $jar = '/usr/share/java/spymemcached.jar';
my $java = find_program('java');
plan skip_all => 'java is not installed' if !defined $java;
plan skip_all => 'libspymemcached-java is not installed' if !-e $jar;
# A runtime alone cannot run a source file.
plan skip_all => 'no Java compiler is installed' if !defined find_program('javac');

my $source = tmp_dir() . '/PairClient.java';
open my $fh, '>', $source or die $!;
print $fh <<'JAVA';
import java.net.InetSocketAddress;
import java.util.*;
import java.util.concurrent.Callable;
import net.spy.memcached.*;

public class PairClient {
	static void check(boolean good, String name) {
		System.out.println((good ? "ok " : "not ok ") + name);
	}

	static boolean soon(Callable<Boolean> f) throws Exception {
		for (int i = 0; i < 1000; i++) {
			if (f.call())
				return true;
			Thread.sleep(10);
		}
		return false;
	}

	static MemcachedClient client(boolean binary, String host, String port) throws Exception {
		ConnectionFactoryBuilder b = new ConnectionFactoryBuilder();
		b.setProtocol(binary ? ConnectionFactoryBuilder.Protocol.BINARY : ConnectionFactoryBuilder.Protocol.TEXT);
		b.setOpTimeout(20000);
		b.setUseNagleAlgorithm(false);
		return new MemcachedClient(b.build(), Arrays.asList(new InetSocketAddress(host, Integer.parseInt(port))));
	}

	static void play(boolean binary, String name, MemcachedClient x, MemcachedClient y) throws Exception {
		check(x.set("java", 1000, "value").get(), name + "set");
		check(soon(() -> "value".equals(y.get("java"))), name + "get on the other");
		char[] chars = new char[1000000];
		for (int i = 0; i < chars.length; i++)
			chars[i] = (char) ('a' + i * 7919 % 26);
		byte[] large = new String(chars).getBytes("UTF-8");
		for (int i = 0; i < large.length; i++)
			large[i] ^= (byte) (i * 31 >> 3);
		check(x.set("large", 0, large).get(), name + "set of a megabyte");
		check(soon(() -> Arrays.equals(large, (byte[]) y.get("large"))), name + "the same on the other");
		List<String> keys = new ArrayList<>();
		for (int i = 0; i < 100; i++) {
			keys.add("j" + i);
			x.set("j" + i, 0, "v" + i);
		}
		check(soon(() -> y.getBulk(keys).size() == 100), name + "getBulk on the other");
		CASValue<Object> seen = y.gets("j1");
		check(y.cas("j1", seen.getCas(), "new") == CASResponse.OK, name + "cas with the unique seen there");
		check(y.cas("j1", seen.getCas(), "newer") == CASResponse.EXISTS, name + "cas with the old one");
		check(soon(() -> "new".equals(x.get("j1"))), name + "and back");
		check(!x.add("j1", 0, "v").get() && !x.replace("none", 0, "v").get(), name + "add, replace refused");
		x.set("n", 0, "10").get();
		check(x.incr("n", 5) == 15 && x.decr("n", 1) == 14, name + "incr, decr");
		check(soon(() -> "14".equals(y.get("n"))), name + "on the other");
		check(x.incr("none", 1) == -1, name + "incr of no key");
		check(x.incr("fresh", 1, 7) == 7 && x.incr("fresh", 1, 7) == 8, name + "incr that creates");
		check(soon(() -> "8".equals(((String) y.get("fresh")))) && y.delete("fresh").get(), name + "on the other");
		check(x.append("j2", "-b").get() && x.prepend("j2", "a-").get(), name + "append, prepend");
		check(soon(() -> "a-v2-b".equals(y.get("j2"))), name + "on the other");
		check(x.touch("j2", 1).get() && soon(() -> y.get("j2") == null), name + "touch");
		if (binary) {
			check("v3".equals(y.getAndTouch("j3", 1).getValue()), name + "getAndTouch");
			check(soon(() -> x.get("j3") == null), name + "gone where it came from");
		}
		check(x.delete("java").get() && soon(() -> y.get("java") == null), name + "delete");
		check(x.getStats().values().iterator().next().containsKey("curr_items"), name + "getStats");
		check(x.getVersions().size() == 1, name + "getVersions");
		check(x.flush().get() && soon(() -> y.get("j4") == null), name + "flush");
	}

	public static void main(String[] args) throws Exception {
		System.setProperty("net.spy.log.LoggerImpl", "net.spy.memcached.compat.log.SunLogger");
		java.util.logging.Logger.getLogger("net.spy.memcached").setLevel(java.util.logging.Level.SEVERE);
		boolean binary = args[0].equals("binary");
		MemcachedClient a = client(binary, args[1], args[2]), b = client(binary, args[3], args[4]);
		play(binary, "a to b: ", a, b);
		play(binary, "b to a: ", b, a);
		a.shutdown();
		b.shutdown();
		System.exit(0);
	}
}
JAVA
close $fh;

my ($one, $two) = pair(args => ['-m', '64']);
my @where = map { ($_->addr, $_->port) } $one, $two;
# A small heap and the quick compiler: it runs for a second.
my @command = ($java, '-Xmx256m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', $jar, $source);
run_checks('spymemcached, text', undef, @command, 'text', @where);
run_checks('spymemcached, binary', undef, @command, 'binary', @where);

done_testing();
