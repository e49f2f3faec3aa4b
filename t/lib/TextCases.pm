package TextCases;

# Conversations in the classic text protocol, as a table: what is sent and what must
# come back. Played by t/protocol.t (alone and through a pair) and by t/diff.t
# (to another memcached as well).

use strict;
use warnings;

use Exporter qw(import);

our @EXPORT;
BEGIN {
	@EXPORT = qw(@text_cases v $S $END);
}

my $BADFMT = "CLIENT_ERROR bad command line format\r\n";
my $TOO_LARGE = "SERVER_ERROR object too large for cache\r\n";
my $NUMERIC = "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
my $DELTA = "CLIENT_ERROR invalid numeric delta argument\r\n";
my $EXPTIME = "CLIENT_ERROR invalid exptime argument\r\n";
my $CHUNK = "CLIENT_ERROR bad data chunk\r\n";
my $DELETE = "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n";
our $S = "STORED\r\n";
our $END = "END\r\n";

sub v { my ($key, $value, $flags) = @_; return "VALUE $key " . ($flags || 0) . ' ' . length($value) . "\r\n$value\r\n" }

my $k250 = 'K' x 250;
my $k251 = 'L' x 251;
my $day = 86400;

# [name, bytes sent, bytes expected]: string, or a pattern. Run in order.
our @text_cases = (
	# ---- storage and retrieval (1.4, 1.5)
	['get of nothing', "get none\r\n", $END],
	['gets of nothing', "gets none\r\n", $END],
	['set', "set a 0 0 3\r\nabc\r\nget a\r\n", $S . v('a', 'abc') . $END],
	['set with flags', "set a 123 0 3\r\nxyz\r\nget a\r\n", $S . v('a', 'xyz', 123) . $END],
	['largest flags', "set a 4294967295 0 1\r\nx\r\nget a\r\n", $S . v('a', 'x', 4294967295) . $END],
	['flags cut to 32 bits', "set a 4294967297 0 1\r\nx\r\nget a\r\n", $S . v('a', 'x', 1) . $END],
	['flags with a plus', "set a +7 0 1\r\nx\r\nget a\r\n", $S . v('a', 'x', 7) . $END],
	['empty value', "set e 0 0 0\r\n\r\nget e\r\n", $S . v('e', '') . $END],
	['value with line ends', "set l 0 0 10\r\na\r\nEND\r\nbc\r\nget l\r\n", $S . v('l', "a\r\nEND\r\nbc") . $END],
	['value with NUL and high bytes', "set l 0 0 4\r\n\0\xff\x80\x01\r\nget l\r\n", $S . v('l', "\0\xff\x80\x01") . $END],
	['odd bytes in a key', "set k\x01\xfe\t 0 0 1\r\n1\r\nget k\x01\xfe\t\r\n", $S . v("k\x01\xfe\t", '1') . $END],
	['key of 250', "set $k250 0 0 1\r\n1\r\nget $k250\r\n", $S . v($k250, '1') . $END],
	['several keys', "set a 1 0 1\r\n1\r\nset b 2 0 2\r\n22\r\nget a b none a\r\n", $S . $S . v('a', '1', 1) . v('b', '22', 2) . v('a', '1', 1) . $END],
	['line feed alone', "set a 0 0 1\n1\r\nget a\n", $S . v('a', '1') . $END],
	['spaces', "set  a   0 0  1 \r\n1\r\nget   a  \r\n", $S . v('a', '1') . $END],
	['leading zeros', "set a 007 000 0001\r\n1\r\nget a\r\n", $S . v('a', '1', 7) . $END],
	['length -0', "set e 0 0 -0\r\n\r\nget e\r\n", $S . v('e', '') . $END],
	['add of a new key', "delete n\r\nadd n 5 0 1\r\n1\r\nget n\r\n", qr/^(?:DELETED|NOT_FOUND)\r\nSTORED\r\nVALUE n 5 1\r\n1\r\nEND\r\n\z/],
	['add of an old key', "add n 6 0 1\r\n2\r\nget n\r\n", "NOT_STORED\r\n" . v('n', '1', 5) . $END],
	['replace of an old key', "replace n 6 0 2\r\n22\r\nget n\r\n", $S . v('n', '22', 6) . $END],
	['replace of nothing', "replace none 6 0 2\r\n22\r\nget none\r\n", "NOT_STORED\r\n$END"],
	['append', "append n 9 0 2\r\nzz\r\nget n\r\n", $S . v('n', '22zz', 6) . $END],
	['prepend', "prepend n 9 0 2\r\naa\r\nget n\r\n", $S . v('n', 'aa22zz', 6) . $END],
	['append of nothing', "append none 0 0 1\r\n1\r\n", "NOT_STORED\r\n"],
	['prepend of nothing', "prepend none 0 0 1\r\n1\r\n", "NOT_STORED\r\n"],
	['append of an empty value', "append n 0 0 0\r\n\r\nget n\r\n", $S . v('n', 'aa22zz', 6) . $END],
	['cas of nothing', "cas none 0 0 1 1\r\n1\r\n", "NOT_FOUND\r\n"],
	['cas with another unique', "cas n 0 0 1 1\r\n1\r\nget n\r\n", "EXISTS\r\n" . v('n', 'aa22zz', 6) . $END],
	['cas with unique 0', "cas n 0 0 1 0\r\n1\r\n", "EXISTS\r\n"],

	# ---- errors of storage
	['set without anything', "set\r\n", $BADFMT],
	['set, too few words', "set a\r\n", $BADFMT],
	['set, still too few', "set a 0 0\r\n", $BADFMT],
	['negative length: the data is read as commands', "set a 0 0 -1\r\nabcd\r\n", $BADFMT . "ERROR\r\n"],
	['length is no number', "set a 0 0 1x\r\nabcd\r\n", $BADFMT . "ERROR\r\n"],
	['length with a plus', "set a 0 0 +1\r\nabcd\r\n", $BADFMT . "ERROR\r\n"],
	['length above the limit', "set a 0 0 2147483646\r\nabcd\r\n", $BADFMT . "ERROR\r\n"],
	['length beyond 32 bits', "set a 0 0 4294967297\r\nabcd\r\n", $BADFMT . "ERROR\r\n"],
	['flags are no number', "set a x 0 4\r\nabcd\r\nget n\r\n", $BADFMT . v('n', 'aa22zz', 6) . $END],
	['negative flags', "set a -1 0 4\r\nabcd\r\n", $BADFMT],
	['exptime is no number', "set a 0 x 4\r\nabcd\r\n", $BADFMT],
	['cas unique is no number', "cas n 0 0 4 x\r\nabcd\r\n", $BADFMT],
	['cas unique beyond 64 bits', "cas n 0 0 4 18446744073709551616\r\nabcd\r\n", $BADFMT],
	['cas without unique', "cas n 0 0 4\r\nabcd\r\n", $BADFMT],
	['key of 251', "set $k251 0 0 4\r\nabcd\r\nget n\r\n", $BADFMT . v('n', 'aa22zz', 6) . $END],
	['key of 251 in a get', "get $k251\r\nversion\r\n", qr/^CLIENT_ERROR bad command line format\r\n(?:\r\n)?VERSION /],
	['bad data chunk', "set a 0 0 3\r\nabcdefgh\r\n", qr/^CLIENT_ERROR bad data chunk\r\n/],
	['bad data chunk leaves the old value', "get a\r\n", v('a', '1', 7) . $END],
	['data chunk too short', "set a 0 0 6\r\nabcd\r\nget n\r\n", qr/^CLIENT_ERROR bad data chunk\r\n/],
	['data ends in a line feed', "set a 0 0 4\r\nabcd\nx", qr/^CLIENT_ERROR bad data chunk\r\n/],
	['too large', "set a 0 0 2000000\r\n" . 'x' x 2000000 . "\r\nget a\r\n", $TOO_LARGE . $END],
	['too large for add: the old one stays', "add n 0 0 2000000\r\n" . 'x' x 2000000 . "\r\nget n\r\n", $TOO_LARGE . v('n', 'aa22zz', 6) . $END],
	['too large after append', "append n 0 0 1048570\r\n" . 'x' x 1048570 . "\r\nget n\r\n", qr/^(?:NOT_STORED|SERVER_ERROR object too large for cache|SERVER_ERROR out of memory storing object)\r\nVALUE n 6 6\r\naa22zz\r\nEND\r\n\z/],
	['a value of a megabyte less a KiB', "set big 3 0 1047552\r\n" . 'y' x 1047552 . "\r\nget big\r\n", $S . v('big', 'y' x 1047552, 3) . $END],
	['append to a large value', "append big 0 0 3\r\nzzz\r\nget big\r\n", $S . v('big', 'y' x 1047552 . 'zzz', 3) . $END],
	['prepend to a large value', "prepend big 0 0 3\r\naaa\r\nget big\r\n", $S . v('big', 'aaa' . 'y' x 1047552 . 'zzz', 3) . $END],
	['a large value cannot be counted', "incr big 1\r\n", $NUMERIC],
	['delete of a large value', "delete big\r\nget big\r\n", "DELETED\r\n$END"],
	(map { my $len = $_; ["a value of $len", "set size 1 0 $len\r\n" . 'q' x $len . "\r\nget size\r\n", $S . v('size', 'q' x $len, 1) . $END] }
		1, 10, 11, 100, 4095, 4096, 4097, 8192, 16000, 16383, 16384, 16385, 20000, 65535, 65536, 131072, 500_000, 524_288),

	# ---- expiry (1.3)
	['negative exptime is expired at once', "set x 0 -1 1\r\n1\r\nget x\r\n", $S . $END],
	['and replaces what was there', "set x 0 0 1\r\n1\r\nset x 0 -5 1\r\n2\r\nget x\r\n", $S . $S . $END],
	['an absolute time in the past', "set x 0 1262304000 1\r\n1\r\nget x\r\n", $S . $END],
	['an absolute time in the future', 'set x 0 ' . (time() + 9999) . " 1\r\n1\r\nget x\r\n", $S . v('x', '1') . $END],
	['thirty days', 'set x 0 ' . 30 * $day . " 1\r\n1\r\nget x\r\n", $S . v('x', '1') . $END],
	['thirty days and a second is 1970', 'set x 0 ' . (30 * $day + 1) . " 1\r\n1\r\nget x\r\n", $S . $END],
	['exptime with a plus', "set x 0 +100 1\r\n1\r\nget x\r\n", $S . v('x', '1') . $END],
	['exptime 2^31 is cut to a negative', "set x 0 2147483648 1\r\n1\r\nget x\r\n", $S . $END],
	['exptime 2^32 is cut to 0', "set x 0 4294967296 1\r\n1\r\nget x\r\n", $S . v('x', '1') . $END],
	['exptime beyond 64 bits', "set x 0 9223372036854775808 1\r\n1\r\n", $BADFMT],

	# ---- touch, gat (1.4, 1.6)
	['touch', "set t 4 0 1\r\n1\r\ntouch t 100\r\nget t\r\n", $S . "TOUCHED\r\n" . v('t', '1', 4) . $END],
	['touch of nothing', "touch none 100\r\n", "NOT_FOUND\r\n"],
	['touch into the past', "touch t -1\r\nget t\r\n", "TOUCHED\r\n$END"],
	['touch, bad number', "touch t x\r\n", $EXPTIME],
	['touch, too large', "touch t 2147483648\r\n", $EXPTIME],
	['touch, a plus', "touch t +1\r\n", $EXPTIME],
	['touch without time', "touch t\r\n", $BADFMT],
	['gat', "set t 4 0 1\r\n1\r\nset u 5 0 1\r\n2\r\ngat 100 t none u\r\n", $S . $S . v('t', '1', 4) . v('u', '2', 5) . $END],
	['gats', "gats 100 t\r\n", qr/^VALUE t 4 1 \d+\r\n1\r\nEND\r\n\z/],
	['gat into the past', "gat -1 t\r\nget t\r\n", v('t', '1', 4) . $END . $END],
	['gat, bad number', "gat x t\r\n", $EXPTIME],
	['gat without key', "gat 10\r\n", $BADFMT],
	['gats without anything', "gats\r\n", $BADFMT],

	# ---- delete (1.6)
	['delete', "set d 0 0 1\r\n1\r\ndelete d\r\nget d\r\ndelete d\r\n", $S . "DELETED\r\n$END" . "NOT_FOUND\r\n"],
	['delete with time 0', "set d 0 0 1\r\n1\r\ndelete d 0\r\n", $S . "DELETED\r\n"],
	['delete with another time', "set d 0 0 1\r\n1\r\ndelete d 10\r\n", $S . $DELETE],
	['delete without key', "delete\r\n", $BADFMT],
	['delete of a key of 251', "delete $k251\r\n", $BADFMT],

	# ---- incr, decr (1.6)
	['incr', "set i 3 0 1\r\n5\r\nincr i 1\r\nget i\r\n", $S . "6\r\n" . v('i', '6', 3) . $END],
	['incr to a longer number', "incr i 94\r\nget i\r\n", "100\r\n" . v('i', '100', 3) . $END],
	['decr pads to the old length', "decr i 1\r\nget i\r\n", "99\r\n" . v('i', '99 ', 3) . $END],
	['a padded number can be counted', "incr i 1\r\nget i\r\n", "100\r\n" . v('i', '100', 3) . $END],
	['decr stops at 0', "decr i 1000\r\nget i\r\n", "0\r\n" . v('i', '0  ', 3) . $END],
	['incr wraps', "set i 0 0 20\r\n18446744073709551615\r\nincr i 1\r\n", $S . "0\r\n"],
	['incr by 2^64-1', "set i 0 0 1\r\n0\r\nincr i 18446744073709551615\r\n", $S . "18446744073709551615\r\n"],
	['incr of nothing', "incr none 1\r\n", "NOT_FOUND\r\n"],
	['decr of nothing', "decr none 1\r\n", "NOT_FOUND\r\n"],
	['incr of letters', "set i 0 0 3\r\nabc\r\nincr i 1\r\n", $S . $NUMERIC],
	['incr of a negative', "set i 0 0 2\r\n-1\r\nincr i 1\r\n", $S . $NUMERIC],
	['incr of nothing at all', "set i 0 0 0\r\n\r\nincr i 1\r\n", $S . $NUMERIC],
	['incr of 21 digits', "set i 0 0 21\r\n100000000000000000000\r\nincr i 1\r\n", $S . $NUMERIC],
	['delta is no number', "set i 0 0 1\r\n1\r\nincr i x\r\n", $S . $DELTA],
	['delta is negative', "incr i -1\r\n", $DELTA],
	['delta beyond 64 bits', "incr i 18446744073709551616\r\n", $DELTA],
	['delta is looked at first', "incr none x\r\n", $DELTA],
	['incr without delta', "incr i\r\n", $BADFMT],
	['incr of a key of 251', "incr $k251 1\r\n", $BADFMT],

	# ---- noreply (1.2)
	['noreply', "set q 0 0 1 noreply\r\n1\r\nadd q 0 0 1 noreply\r\n2\r\nreplace q 8 0 1 noreply\r\n3\r\n"
		. "append q 0 0 1 noreply\r\n4\r\nprepend q 0 0 1 noreply\r\n2\r\nincr q 1 noreply\r\ndecr q 2 noreply\r\ntouch q 0 noreply\r\nget q\r\n",
		v('q', '233', 8) . $END],
	['delete noreply', "delete q noreply\r\nget q\r\n", $END],
	['errors under noreply', "set q x 0 1 noreply\r\n1\r\ntouch q x noreply\r\nincr q x noreply\r\ncas q 0 0 1 1 noreply\r\n1\r\n"
		. "delete $k251 noreply\r\nset $k251 0 0 1 noreply\r\n1\r\n", ''],
	['cas without unique, noreply', "cas q 0 0 1 noreply\r\n1\r\n", ''],
	['an unknown command under noreply', "bogus noreply\r\nnoreply\r\n", ''],
	['too few words under noreply', "set q noreply\r\n", $BADFMT],
	['bad length under noreply', "set q 0 0 -1 noreply\r\n", $BADFMT],
	['noreply not last', "set q 0 0 1 noreply x\r\n1\r\n", $S],
	['NOREPLY is not noreply', "set q 0 0 1 NOREPLY\r\n1\r\n", $S],
	['verbosity noreply', "verbosity 0 noreply\r\n", ''],
	['too large under noreply', "set q 0 0 2000000 noreply\r\n" . 'x' x 2000000 . "\r\nget q\r\n", $END],

	# ---- framing (1.1)
	['unknown', "bogus\r\n", "ERROR\r\n"],
	['unknown with words', "bogus a b c\r\n", "ERROR\r\n"],
	['empty lines', "\r\n", $BADFMT],
	['a line feed', "\n", $BADFMT],
	['short line', "a\r\n", $BADFMT],
	['upper case', "GET a\r\n", "ERROR\r\n"],
	['leading space', " get a\r\n", "ERROR\r\n"],
	['two spaces', "  \r\n", "ERROR\r\n"],
	['tab is no blank', "get\ta\r\n", "ERROR\r\n"],
	['get without key', "get\r\n", $BADFMT],
	['gets without key', "gets \r\n", $BADFMT],
	['get with very many keys', 'get ' . join(' ', map { "many$_" } 1 .. 1500) . "\r\n", $END],
	['gets with very many keys, some there', "set many7 0 0 1\r\n7\r\nget " . join(' ', map { "many$_" } 1 .. 1500) . "\r\n", $S . v('many7', '7') . $END],
	['version', "version\r\nversion x\r\n", qr/^VERSION \S+\r\nVERSION \S+\r\n\z/],
	['verbosity', "verbosity 0\r\n", "OK\r\n"],
	['verbosity, bad number', "verbosity x\r\n", $BADFMT],
	['verbosity without number', "verbosity\r\n", $BADFMT],
	['shutdown is not enabled', "shutdown\r\n", "SERVER_ERROR: shutdown not enabled\r\n"],
	['stats of the unknown', "stats bogus\r\n", qr/^(?:ERROR|END)\r\n\z/],
	['stats reset', "stats reset\r\n", "RESET\r\n"],

	# ---- flush_all (1.7)
	['flush_all', "set f 0 0 1\r\n1\r\nflush_all\r\nget f\r\n", $S . "OK\r\n$END"],
	['a write after it', "set f 0 0 1\r\n1\r\nget f\r\n", $S . v('f', '1') . $END],
	['flush_all 0', "flush_all 0\r\nget f\r\n", "OK\r\n$END"],
	['flush_all noreply', "set f 0 0 1\r\n1\r\nflush_all noreply\r\nget f\r\n", $S . $END],
	['flush_all 0 noreply', "set f 0 0 1\r\n1\r\nflush_all 0 noreply\r\nget f\r\n", $S . $END],
	['flush_all in the past', "set f 0 0 1\r\n1\r\nflush_all -1\r\nget f\r\n", $S . "OK\r\n$END"],
	['flush_all, bad number', "flush_all x\r\n", $EXPTIME],
	['flush_all, too large', "flush_all 4294967296\r\n", $EXPTIME],
	['a delayed flush hides nothing yet', "set f 0 0 1\r\n1\r\nflush_all 100\r\nget f\r\n", $S . "OK\r\n" . v('f', '1') . $END],
	['a newer flush replaces it', "flush_all\r\nset f 0 0 1\r\n1\r\nget f\r\n", "OK\r\n$S" . v('f', '1') . $END],
);

1;
