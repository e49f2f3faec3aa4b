"""The cases of the benchmark: pauses.

Owns: what is done to a server while one quiet client measures how long it has to
wait, and what the server itself says was its longest turn.
Must not know: how results are shown.
"""
import socket
import threading
import time

from run_cache import allowed_connections
from run_pair import Line
from run_report import LIMIT, Row
from run_servers import HOST, load, start_load, warm_memory

HUGE_BYTES = 100 * 1000 * 1000
HUGE_WHEN_FULL = "100 MB value, full cache"
# How much longer than it should storing may take before the items expire.
EXPIRY_SPARE = 1.5


def probe_while(run, server, work, seconds):
    """What one quiet client sees while `work` runs, in ms: the longest round trip, and
    the 99.9th percentile."""
    probe = start_load(run.settings, server, conns=1, keys=1, rate=5000, poisson=True,
                       urgent=True, duration=seconds, mix="get", prefix="quiet:")
    errors = []

    def guarded():
        try:
            work()
        except (OSError, RuntimeError) as error:
            errors.append(str(error))

    thread = threading.Thread(target=guarded)
    thread.start()
    r = probe.result()
    thread.join()
    if errors:
        raise RuntimeError(errors[0])
    return r["max_us"] / 1000, r["p999_us"] / 1000


def connect_many(server, count):
    sockets = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection((HOST, server.port), timeout=10))
    finally:
        for s in sockets:
            s.close()


def huge_value(server):
    line = Line(server)
    value = b"v" * HUGE_BYTES
    answer = line.ask(b"set huge 0 0 %d\r\n" % HUGE_BYTES + value + b"\r\n")
    if answer != b"STORED\r\n":
        raise RuntimeError("a value of 100 MB was refused: " + answer.decode().strip())
    line.socket.sendall(b"get huge\r\n")
    left = HUGE_BYTES
    while left > 0:
        piece = line.socket.recv(1 << 20)
        if not piece:
            raise RuntimeError("the server hung up")
        left -= len(piece)
    line.socket.close()


def list_all_keys(server):
    """A walk over the whole cache."""
    line = Line(server)
    line.socket.sendall(b"lru_crawler metadump all\r\n")
    end = b""
    while not end.endswith(b"END\r\n"):
        piece = line.socket.recv(1 << 20)
        if not piece:
            raise RuntimeError("the server hung up")
        end = (end + piece)[-5:]
        if end.endswith(b"ERROR\r\n"):
            raise RuntimeError("a list of all keys was refused")
    line.socket.close()


class Pauses:
    """One server after the other is treated the same."""

    MEMORY = 512

    def __init__(self, run):
        self.run = run
        self.items = 100000 if run.quick else 1000000
        self.connections = allowed_connections()
        self.turns = [Row("longest turn", "ms of processor time", "less",
                          bars=[(LIMIT, 1.0, "pauses")], figure=False),
                      Row("longest turn", "ms", "less", figure=False)]

    def server(self, kind):
        extra = {"extra": ["-o", "turn_cpu"]} if kind.name == "this" else {}
        warm_memory(self.MEMORY)
        return kind(self.run.settings, self.run.settings.server_core, self.MEMORY, **extra)

    def note_longest_turn(self, server):
        """What `stats latency` says of everything until now."""
        stats = server.ask_stats(" latency")
        for row, name in zip(self.turns, ("worst_cpu", "worst")):
            row.add("this", int(stats[name + "_us"]) / 1000)
            row.note = "before the large value; what it was at: " + stats[name + "_cause"]

    def probed(self, server, work, seconds):
        return probe_while(self.run, server, work, seconds)

    def store(self, server, count, prefix, size=100, expiry=None):
        start = time.monotonic()
        load(self.run.settings, server, keys=count, preload=server.checks_values, duration=0,
             expiry=expiry, prefix=prefix, conns=1, value_size=size)
        return time.monotonic() - start

    def empty(self, server):
        """What is measured on a server that holds nothing."""
        yield "idle", self.probed(server, lambda: None, 1)
        if server.checks_values: # the echo server stores nothing
            yield "100 MB value", self.probed(server, lambda: huge_value(server), 2)

    def expire(self, server, count):
        """All in the same second, soon after they have been stored."""
        took = self.store(server, count // 10, "warm:")
        at = int(time.time() + EXPIRY_SPARE * 10 * took) + 2
        self.store(server, count, "gone:", expiry=at)
        return self.probed(server, lambda: None, max(0, at - time.time()) + 3)

    def filled(self, server):
        """What is measured while it fills, and when it is full."""
        items = self.items
        yield "%s stores" % million(items), self.probed(
            server, lambda: self.store(server, items, "fill:"), 3)
        yield "list of all keys", self.probed(server, lambda: list_all_keys(server), 2)
        yield "sizes change", self.probed(
            server, lambda: self.store(server, items // 5, "big:", size=2048), 2)
        Line(server).ask(b"flush_all\r\n")
        yield "%s expire at once" % million(items), self.expire(server, items)
        self.store(server, items // 2, "more:")
        yield "flush_all", self.probed(server, lambda: Line(server).ask(b"flush_all\r\n"), 1)
        yield "%d connects" % self.connections, self.probed(
            server, lambda: connect_many(server, self.connections), 2)
        if server.name == "this":
            self.note_longest_turn(server)
        try:
            yield HUGE_WHEN_FULL, self.probed(server, lambda: huge_value(server), 2)
        except RuntimeError as error:
            if server.name == "this":
                raise
            self.run.remark("%s, %s: %s" % (server.name, HUGE_WHEN_FULL, error))

    def all(self, kind):
        with self.server(kind) as server:
            yield from self.empty(server)
        if kind.checks_values:
            with self.server(kind) as server:
                yield from self.filled(server)


def million(count):
    return "%g million" % (count / 1e6)


def case_pauses(run):
    """The longest pause a client can see: growth, pages that move, expiry, ..."""
    kinds = [k for k in run.kinds if k.name in ("this", "mc-t1", "echo")]
    note = "round trips of one client, 5,000 gets a second on a quiet connection; includes what " \
           "the machine itself adds, see idle and echo"
    pauses = Pauses(run)
    rows = {}
    count = 1 if run.quick else 3
    for i in range(count):
        if run.time_is_up(i, count):
            break
        for kind in kinds:
            if i > 0 and kind.name != "this" and run.settings.profile != "long":
                continue # what the others need is known well enough; ours has a bar
            for name, figures in pauses.all(kind):
                run.progress("round %d/%d %s: %s" % (i + 1, count, kind.name, name))
                if name not in rows:
                    case = "pause, " + name
                    rows[name] = (Row(case, "max ms", "less", figure=False, note=note),
                                  Row(case, "p99.9 ms", "less", figure=False))
                for row, value in zip(rows[name], figures):
                    row.add(kind.name, value)
    return [row for pair in rows.values() for row in pair] + pauses.turns
