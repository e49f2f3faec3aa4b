"""The cases of the benchmark: pauses.

Owns: what is done to a server while one quiet client measures how long it has to
wait, and what the server itself says was its longest turn.
Must not know: how results are shown.
"""
import socket
import threading
import time

from run_cache import allowed_connections
from run_cases import rounds
from run_pair import Line
from run_report import LIMIT, Row
from run_servers import HOST, load, start_load

HUGE_BYTES = 100 * 1000 * 1000


def probe_while(run, server, work, seconds):
    """The longest round trip in ms that one quiet client sees while `work` runs."""
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
    return r["max_us"] / 1000


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
    if line.ask(b"set huge 0 0 %d\r\n" % HUGE_BYTES + value + b"\r\n") != b"STORED\r\n":
        raise RuntimeError("a value of 100 MB was refused")
    line.socket.sendall(b"get huge\r\n")
    left = HUGE_BYTES
    while left > 0:
        piece = line.socket.recv(1 << 20)
        if not piece:
            raise RuntimeError("the server hung up")
        left -= len(piece)
    line.socket.close()


def longest_turn(server):
    """In ms, and what took so long, from `stats latency`."""
    stats = server.ask_stats(" latency")
    return int(stats["worst_us"]) / 1000, stats["worst_cause"]


WORK = ("idle", "2 million stores", "sizes change", "a million expire", "flush_all",
        "10,000 connects", "100 MB value")


def case_pauses(run):
    """The longest pause a client can see: growth, pages that move, expiry, ..."""
    kinds = [k for k in run.kinds if k.name in ("this", "mc-t1", "echo")]
    note = "one client, 5,000 gets a second on a quiet connection; includes what the machine " \
           "itself adds, see idle and echo"
    rows = [Row("pause, " + name, "max ms", "less", figure=False, note=note,
                bars=[(LIMIT, 1.0)]) for name in WORK]
    turns = Row("stats latency", "longest turn, ms", "less", bars=[(LIMIT, 1.0)], figure=False)
    items = 200000 if run.quick else 2000000
    connections = allowed_connections()

    def measure(server):
        def store(count, prefix, size=100, expiry=None):
            load(run.settings, server, keys=count, preload=server.checks_values, duration=0,
                 expiry=expiry, prefix=prefix, conns=1, value_size=size)

        def probed(work, seconds):
            return probe_while(run, server, work, seconds)

        yield probed(lambda: None, 1)
        if not server.checks_values: # the echo server stores nothing
            return
        yield probed(lambda: store(items, "fill:"), 3)
        yield probed(lambda: store(items // 8, "big:", size=2048), 2)
        Line(server).ask(b"flush_all\r\n")
        store(items // 2, "gone:", expiry=2)
        yield probed(lambda: None, 4)
        store(items // 2, "more:")
        yield probed(lambda: Line(server).ask(b"flush_all\r\n"), 1)
        yield probed(lambda: connect_many(server, connections), 2)
        try:
            huge = probed(lambda: huge_value(server), 2)
        except RuntimeError as error:
            if server.name == "this":
                raise
            run.remark("%s: %s" % (server.name, error))
            return
        if server.name == "this":
            turn, cause = longest_turn(server)
            turns.add("this", turn)
            turns.note = "since the server's start; the longest was in: " + cause
        yield huge # last: nobody comes back for what is behind it

    rounds(run, rows, kinds, measure, memory=512, count=3 if run.settings.profile == "long" else 1)
    return rows + [turns]
