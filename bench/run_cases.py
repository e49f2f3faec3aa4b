"""The cases of the benchmark.

Owns: what each case starts, loads and reads off. A case is a function that
takes the run and returns rows; its name in CASES is what --cases matches.
Must not know: how results are shown.
"""
import os
import subprocess
import threading
import time

from run_report import Row
from run_servers import HOST, KINDS, Echo, Ours, Tool, free_port, load, start_load

KEYS = 100000
MIB = 1 << 20


def rounds(run, row_names, kinds, measure, memory=1024):
    """Interleave: each round starts every kind of server once, and `measure`
    returns one figure per row."""
    for i in range(run.rounds):
        for kind in kinds:
            run.progress("round %d/%d %s" % (i + 1, run.rounds, kind.name))
            with kind(run.settings, run.settings.server_core, memory) as server:
                for row, value in zip(row_names, measure(server)):
                    row.add(server.name, value)
    return row_names


def throughput(run, case, bars, what="rps", unit="requests/s", servers=None, **options):
    kinds = [k for k in run.kinds if servers is None or k.name in servers]
    rows = [Row(case, unit, bars=bars),
            Row(case, "us/request", better="less", figure=False)]

    def measure(server):
        preload = server.checks_values and "get" in options.get("mix", "get")
        r = load(run.settings, server, keys=KEYS, preload=preload, warmup=run.seconds / 5,
                 duration=run.seconds, must_hit=preload, **options)
        return r[what], r["server_us_per_request"]

    return rounds(run, rows, kinds, measure)


def case_get(run):
    return throughput(run, "get, 50 connections", [("echo", 0.97), ("mc-t1", 1.12)], spin=True)


def case_set(run):
    return throughput(run, "set, 50 connections", [("echo", 0.97), ("mc-t1", 1.12)], spin=True,
                      mix="set")


def case_pipeline(run):
    return throughput(run, "get, pipeline 16", [("echo", 0.6), ("mc-t1", 5.0)], depth=16)


def case_multiget(run):
    return throughput(run, "get of 50 keys", [("mc-t1", 2.5)], what="kps", unit="keys/s",
                      width=50)


def case_latency(run):
    """One request at a time on one connection: the time of a round trip."""
    row = Row("get, 1 connection", "p50 us", better="less", figure=False)

    def measure(server):
        preload = server.checks_values
        r = load(run.settings, server, keys=KEYS, preload=preload, conns=1, spin=True,
                 duration=run.seconds / 2)
        return (r["p50_us"],)

    return rounds(run, [row], run.kinds, measure)


HELD = [("10", 10, 1.7), ("100", 100, 1.3), ("1000", 1000, 1.12),
        ("lognormal:100,1.0", 165, 1.25)]


def case_held(run):
    """How many items a memory limit holds, and what the process then uses."""
    memory = 128
    rows = []
    for size, mean, factor in HELD:
        row = Row("held, %s bytes" % size.replace(",1.0", ""), "items",
                  bars=[("mc-t1", factor)])
        rss = Row(row.case, "resident MiB", better="less", figure=False)
        keys = int(1.4 * memory * MIB / (14 + mean + 28))
        for kind in run.kinds:
            if kind.name not in ("this", "mc-t1", "redis"):
                continue
            run.progress("%s %s" % (size, kind.name))
            with kind(run.settings, run.settings.server_core, memory=memory) as server:
                r = load(run.settings, server, fill=True, keys=keys, value_size=size, width=50)
                row.add(server.name, r["held"])
                rss.add(server.name, r["server_rss"] / MIB)
        rows += [row, rss]
    return rows


def wait_in_sync(server, items, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        stats = server.ask_stats()
        if int(stats.get("curr_items", 0)) >= items:
            return
        time.sleep(0.05)
    raise RuntimeError("the peer holds %s of %d items" % (stats.get("curr_items"), items))


def peer_pair(run, memory=1024):
    """A master on the server core and its peer on the peer's core, unstarted."""
    link = free_port()
    master = Ours(run.settings, run.settings.server_core, memory, ["-X", str(link)])
    peer = Ours(run.settings, run.settings.peer_core, memory, ["-x", HOST, "-X", str(link)])
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
            wait_in_sync(peer, KEYS)
        try:
            s = load(run.settings, master, mix="set", **options)
            g = load(run.settings, master, mix="get", **options)
        finally:
            if with_peer:
                peer.__exit__()
    return s["rps"], g["rps"], s["server_us_per_request"], g["server_us_per_request"]


def case_peer(run):
    """What an attached peer costs. "alone" is this daemon without replication."""
    note = "*alone* is this daemon without a peer"
    if run.settings.peer_core == run.settings.load_core:
        note += "; peer and load generator share a core, so requests/s suffer for want of " \
                "a third one: judge by us/request"
    rows = [Row("set, peer in sync", "requests/s", bars=[("alone", 0.90)], note=note),
            Row("get, peer in sync", "requests/s", bars=[("alone", 0.97)], note=note),
            Row("set, peer in sync", "us/request", "less", bars=[("alone", 1.11)], figure=False),
            Row("get, peer in sync", "us/request", "less", bars=[("alone", 1.03)], figure=False)]
    for i in range(run.rounds):
        for name, with_peer in (("this", True), ("alone", False)):
            run.progress("round %d/%d %s" % (i + 1, run.rounds, name))
            for row, value in zip(rows, measure_pair(run, with_peer)):
                row.add(name, value)
    return rows


def case_copy(run):
    """A new peer copies 2 million items while clients go on."""
    items = 200000 if run.quick else 2000000
    rows = [Row("full copy", "items/s", note="%d items of 100 bytes over loopback" % items),
            Row("full copy", "p99 us during it", "less", bars=[("idle", 1.5)], figure=False,
                note="open loop, 2,000 gets a second; *idle* is the same before the copy")]
    probe = {"keys": items, "conns": 10, "rate": 2000, "urgent": True}
    master, peer = peer_pair(run, memory=1024)
    with master:
        run.progress("filling")
        load(run.settings, master, keys=items, preload=True, duration=0)
        idle = load(run.settings, master, duration=run.seconds, **probe)
        run.progress("copying")
        clients = start_load(run.settings, master, duration=max(2, run.seconds), **probe)
        time.sleep(0.2)
        start = time.monotonic()
        with peer:
            wait_in_sync(peer, items)
            seconds = time.monotonic() - start
            during = clients.result()
    rows[0].add("this", items / seconds)
    rows[1].add("this", during["p99_us"])
    rows[1].add("idle", idle["p99_us"])
    return rows


TRACES = [("orm-busy.trace.xz", 32, (0.03, 0.10)), ("scarab-recs.trace.xz", 64, (0.01, 0.10))]
TRACE_MEMORY = 64


def trace_keys(path, bits, most):
    """How many different keys the part that is played has."""
    step = bits // 8
    data = subprocess.run(["xz", "-dc", path], stdout=subprocess.PIPE, check=True).stdout
    data = data[:most * step] if most else data
    return len({data[i:i + step] for i in range(0, len(data), step)})


def replay(run, path, bits, most, value_size, server):
    xz = subprocess.Popen(["xz", "-dc", path], stdout=subprocess.PIPE)
    tool = Tool(run.settings, "replay",
                {"host": HOST, "port": server.port, "bits": bits, "max": most,
                 "value-size": value_size, "server-pid": server.pid}, stdin=xz.stdout)
    xz.stdout.close()
    try:
        return tool.result()
    finally:
        xz.wait()


def case_traces(run):
    """Miss ratios. The memory limit stays, the sizes of values are scaled so
    that it holds the given part of all objects of the trace."""
    rows = []
    most = 200000 if run.quick else 0
    for name, bits, parts in TRACES:
        path = os.path.join(run.settings.data or "", name)
        if not run.settings.data or not os.path.exists(path):
            run.progress("no %s, left out" % name)
            continue
        keys = trace_keys(path, bits, most)
        for part in parts:
            mean = TRACE_MEMORY * MIB / (part * keys) - 60
            size = "lognormal:%d,0.5" % (mean / 1.133)
            row = Row("%s, %d %%" % (name.split(".")[0], round(100 * part)), "miss ratio",
                      better="less", bars=[("mc-t1", 1.0)],
                      note="values of %d bytes on average" % mean)
            for kind in run.kinds:
                if kind.name not in ("this", "mc-t1", "redis"):
                    continue
                run.progress("%s %s %s" % (name, part, kind.name))
                if kind.protocol != "text":
                    continue
                with kind(run.settings, run.settings.server_core, TRACE_MEMORY) as server:
                    r = replay(run, path, bits, most, size, server)
                    row.add(server.name, r["miss_ratio"])
            rows.append(row)
    return rows


def read_workloads():
    path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "twitter.def")
    found = {}
    with open(path) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, key, value, zipf, mix, expiry = line.split()
                found[name] = {"key_size": key, "value_size": "lognormal:%d,0.5" %
                               max(1, round(int(value) / 1.133)),
                               "zipf": zipf, "mix": mix, "expiry": expiry}
    return found


CLUSTERS = ("cluster11", "cluster14", "cluster19", "cluster45", "cluster52")


def case_twitter(run):
    """Production mixes; what a get misses is set, as an application would."""
    rows = []
    workloads = read_workloads()
    for name in CLUSTERS:
        pair = [Row("twitter " + name, "requests/s"),
                Row("twitter " + name, "miss ratio", "less", figure=False)]

        def measure(server):
            r = load(run.settings, server, keys=1000000, depth=4, fill_misses=True,
                     duration=2 * run.seconds, **workloads[name])
            return r["rps"], 1 - r["hit_ratio"]

        kinds = [k for k in run.kinds if k.name in ("this", "mc-t1", "mc-t2")]
        rows += rounds(run, pair, kinds, measure, memory=64)
    return rows


def probe_while(run, server, work):
    """The longest round trip that one quiet client sees while `work` runs."""
    probe = start_load(run.settings, server, conns=1, keys=1, rate=5000, poisson=True,
                       urgent=True, duration=2 * run.seconds, mix="get")
    thread = threading.Thread(target=work)
    thread.start()
    r = probe.result()
    thread.join()
    return r["max_us"] / 1000


def case_pauses(run):
    """The longest pause a client can see: nothing else, growth, expiry."""
    kinds = [k for k in run.kinds if k.name in ("this", "mc-t1", "echo")]
    note = "one client, 5,000 gets a second; includes what the machine itself adds, see echo"
    rows = [Row("pause, idle", "max ms", "less", figure=False, note=note),
            Row("pause, 2 million stores", "max ms", "less", figure=False, note=note),
            Row("pause, a million expire", "max ms", "less", figure=False, note=note)]
    items = 200000 if run.quick else 2000000

    def measure(server):
        def store(count, expiry=None):
            load(run.settings, server, keys=count, preload=server.checks_values, duration=0,
                 expiry=expiry, prefix="gone:" if expiry else "fill:", conns=1)

        yield probe_while(run, server, lambda: None)
        yield probe_while(run, server, lambda: store(items))
        store(items // 2, expiry=2)
        yield probe_while(run, server, lambda: None)

    return rounds(run, rows, kinds, measure)


CASES = {
    "get": case_get,
    "set": case_set,
    "pipeline": case_pipeline,
    "multiget": case_multiget,
    "latency": case_latency,
    "held": case_held,
    "peer": case_peer,
    "copy": case_copy,
    "traces": case_traces,
    "twitter": case_twitter,
    "pauses": case_pauses,
}
