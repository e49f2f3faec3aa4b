"""The cases of the benchmark: two nodes.

Owns: what an attached peer costs, the first copy, how late the peer is.
Must not know: how results are shown.
"""
import socket
import statistics
import time

from run_cases import KEYS
from run_report import LIMIT, Row
from run_servers import COPY_SECONDS_MAX, HOST, Ours, free_port, load, start_load, warm_memory

MIB = 1 << 20


def wait_in_sync(server, items):
    end = time.monotonic() + COPY_SECONDS_MAX
    while time.monotonic() < end:
        stats = server.ask_stats()
        if int(stats.get("curr_items", 0)) >= items:
            return
        time.sleep(0.01)
    raise RuntimeError("the peer holds %s of %d items" % (stats.get("curr_items"), items))


def peer_pair(run, memory=1024):
    """A master on the server core and its peer on the peer's core, unstarted."""
    link = free_port()
    master = Ours(run.settings, run.settings.server_core, memory, ["-X", str(link)])
    peer = Ours(run.settings, run.settings.peer_core, memory, ["-x", HOST, "-X", str(link)])
    peer.start_seconds_max = COPY_SECONDS_MAX
    return master, peer


def measure_pair(run, with_peer):
    """(sets/s, gets/s, us per set, us per get) of a master with or without peer."""
    options = {"keys": KEYS, "spin": run.settings.peer_core != run.settings.load_core,
               "duration": run.seconds, "warmup": run.seconds / 5}
    master, peer = peer_pair(run)
    if not with_peer:
        master.extra = []
    with master:
        load(run.settings, master, keys=KEYS, preload=True, duration=0)
        if with_peer:
            peer.__enter__()
        try:
            if with_peer:
                wait_in_sync(peer, KEYS)
            s = load(run.settings, master, mix="set", **options)
            g = load(run.settings, master, mix="get", **options)
        finally:
            if with_peer:
                peer.__exit__()
    return s["rps"], g["rps"], s["server_us_per_request"], g["server_us_per_request"]


def case_peer(run):
    """What an attached peer costs. "alone" is this daemon without replication."""
    note = "*alone* is this daemon without a peer"
    shared = run.settings.peer_core == run.settings.load_core
    if shared:
        note += "; peer and load generator share a core, so requests/s suffer for want of " \
                "a third one, and the bar is put to us/request"
    rows = [Row("set, peer in sync", "requests/s", bars=[] if shared else [("alone", 0.90, "peer")],
                note=note),
            Row("get, peer in sync", "requests/s", bars=[] if shared else [("alone", 0.97, "peer")],
                note=note),
            Row("set, peer in sync", "us/request", "less", bars=[("alone", 1.11, "peer")],
                figure=False),
            Row("get, peer in sync", "us/request", "less", bars=[("alone", 1.03, "peer")],
                figure=False)]
    for i in range(run.rounds):
        if run.time_is_up(i, run.rounds):
            break
        for name, with_peer in (("this", True), ("alone", False)):
            run.progress("round %d/%d %s" % (i + 1, run.rounds, name))
            for row, value in zip(rows, measure_pair(run, with_peer)):
                row.add(name, value)
    return rows


def copy_once(run, items, value_size, memory, during):
    """Fill a master, let a new peer copy it; seconds from the peer's start to
    its holding everything, and the time a client's get takes before and meanwhile."""
    label = "%d items of %d bytes, " % (items, value_size)
    probe = {"keys": items, "value_size": value_size, "conns": 10, "rate": 2000, "urgent": True}
    master, peer = peer_pair(run, memory=memory)
    with master:
        run.progress(label + "filling")
        load(run.settings, master, keys=items, value_size=value_size, preload=True, duration=0)
        idle = load(run.settings, master, duration=during, **probe)
        run.progress(label + "copying")
        warm_memory(items * (value_size + 100) * 3 // 2 >> 20)
        clients = start_load(run.settings, master, duration=during, **probe)
        time.sleep(0.2)
        start = time.monotonic()
        with peer:
            wait_in_sync(peer, items)
            seconds = time.monotonic() - start
            busy = clients.result()
    return seconds, idle["p99_us"], busy["p99_us"]


def case_copy(run):
    """A new peer copies everything while clients go on."""
    items = 200000 if run.quick else 2000000
    big = 10000 if run.quick else 104858
    probe_note = "open loop, 2,000 gets a second; *idle* is the same before the copy"
    note = "%d %s over loopback, from the start of the peer's process to its holding all; " \
           "with two cores the peer shares one with the clients; memory is used once before, " \
           "because a virtual machine may get it page by page at first use"
    rows = [Row("full copy, small", "items/s", bars=[(LIMIT, 1e6, "copy")], figure=False,
                note=note % (items, "items of 100 bytes")),
            Row("full copy, small", "p99 us during it", "less", bars=[("idle", 1.5, "copy p99")],
                figure=False, note=probe_note),
            Row("full copy, large", "MB/s", bars=[(LIMIT, 800, "copy")], figure=False,
                note=note % (big, "values of 10 KiB")),
            Row("full copy, large", "p99 us during it", "less", bars=[("idle", 1.5, "copy p99")],
                figure=False, note=probe_note)]
    rounds = 1 if run.quick else 3
    for i in range(rounds):
        if run.time_is_up(i, rounds, least=1):
            break
        for at, count, size, memory in ((0, items, 100, 1024), (2, big, 10240, 1536)):
            seconds, idle, busy = copy_once(run, count, size, memory, 2)
            rows[at].add("this", count / seconds if at == 0 else count * size / seconds / 1e6)
            rows[at + 1].add("this", busy)
            rows[at + 1].add("idle", idle)
    return rows


class Line:
    """A connection on which one line or value is asked at a time."""

    def __init__(self, server):
        self.socket = socket.create_connection((HOST, server.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data, end=b"\r\n"):
        self.socket.sendall(data)
        got = b""
        while not got.endswith(end):
            piece = self.socket.recv(65536)
            if not piece:
                raise RuntimeError("the server hung up")
            got += piece
        return got


def lag_samples(master, peer, seconds):
    """Milliseconds from a set's answer at the master to its being read at the peer."""
    write, read = Line(master), Line(peer)
    samples = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = b"%012d" % len(samples)
        write.ask(b"set lag 0 0 12\r\n" + value + b"\r\n")
        start = time.monotonic()
        while value not in read.ask(b"get lag\r\n", b"END\r\n"):
            if time.monotonic() - start > 10:
                raise RuntimeError("a write did not reach the peer within 10 s")
        samples.append(1e3 * (time.monotonic() - start))
    return samples


def case_lag(run):
    """How late the peer is while clients write as fast as they can."""
    rows = [Row("replication lag, full write load", "p99 ms", "less", bars=[(LIMIT, 5)],
                figure=False, note="from a set's answer at one node to its being read at the "
                "other; includes the reader's round trip"),
            Row("replication lag, full write load", "p50 ms", "less", figure=False)]
    for i in range(run.few_rounds):
        if run.time_is_up(i, run.few_rounds):
            break
        run.progress("round %d/%d" % (i + 1, run.few_rounds))
        master, peer = peer_pair(run)
        with master, peer:
            load(run.settings, master, keys=KEYS, preload=True, duration=0)
            wait_in_sync(peer, KEYS)
            writers = start_load(run.settings, master, mix="set", keys=KEYS, nice=10,
                                 duration=2 * run.seconds + 0.5)
            time.sleep(0.3)
            samples = sorted(lag_samples(master, peer, 2 * run.seconds))
            writers.result()
        rows[0].add("this", samples[int(0.99 * (len(samples) - 1))])
        rows[1].add("this", statistics.median(samples))
    return rows
