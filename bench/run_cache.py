"""The cases of the benchmark: what a memory limit buys.

Owns: items held, miss ratios, what happens when sizes change, what memory is
used besides items.
Must not know: how results are shown.

None of this depends on speed, so two servers are measured at the same time, each
with a load generator of its own, on any core.
"""
import os
import resource
import socket
import subprocess
import threading
import time

from run_report import LIMIT, Row
from run_servers import ANYWHERE, HOST, Tool, load

MIB = 1 << 20


def side_by_side(run, names, memory, measure):
    """measure(server) for each of the servers, two at a time; results by name."""
    kinds = [k for k in run.kinds if k.name in names]
    results, errors = {}, []

    def work(kind):
        try:
            with kind(run.settings, ANYWHERE, memory) as server:
                results[kind.name] = measure(server)
        except (OSError, RuntimeError) as error:
            errors.append("%s: %s" % (kind.name, error))

    for at in range(0, len(kinds), 2):
        threads = [threading.Thread(target=work, args=(k,)) for k in kinds[at:at + 2]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise RuntimeError("; ".join(errors))
    return results


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

        def measure(server):
            r = load(run.settings, server, anywhere=True, fill=True, keys=keys, value_size=size,
                     width=50)
            return r["held"], r["server_rss"] / MIB

        run.progress(size)
        for name, values in side_by_side(run, ("this", "mc-t1", "redis"), memory,
                                         measure).items():
            row.add(name, values[0])
            rss.add(name, values[1])
        rows += [row, rss]
        run.check_time()
    return rows


# File, bits of a key number, values of this median, memory limits in MiB
TRACES = [("orm-busy.trace.xz", 32, 3500, (16, 32, 64)),
          ("scarab-recs.trace.xz", 64, 900, (16, 32, 64))]
# Of each trace, unless --long is asked for: a run is to end in ten minutes.
USUAL_REQUESTS = 1000000


def replay(run, path, bits, most, value_size, server):
    xz = subprocess.Popen(["xz", "-dc", path], stdout=subprocess.PIPE)
    tool = Tool(run.settings, "replay",
                {"host": HOST, "port": server.port, "bits": bits, "max": most,
                 "value-size": value_size, "server-pid": server.pid}, stdin=xz.stdout, anywhere=True)
    xz.stdout.close()
    try:
        return tool.result()
    finally:
        xz.wait()


def case_traces(run):
    """Miss ratios of access traces. Traces carry no sizes: a key's number says
    its value's."""
    rows = []
    most = {"quick": 200000, "usual": USUAL_REQUESTS}.get(run.settings.profile, 0)
    for name, bits, median, limits in TRACES:
        path = os.path.join(run.settings.data or "", name)
        if not run.settings.data or not os.path.exists(path):
            run.remark("trace %s is not there (--data), left out" % name)
            continue
        for memory in limits:
            row = Row("%s, -m %d" % (name.split(".")[0], memory), "miss ratio", better="less",
                      bars=[("mc-t1", 1.0)], note="values of %d bytes in the median, "
                      "lognormal with sigma 0.5%s" %
                      (median, "; the first %d requests" % most if most else ""))
            run.progress(row.case)
            size = "lognormal:%d,0.5" % median
            results = side_by_side(run, ("this", "mc-t1"), memory,
                                   lambda server: replay(run, path, bits, most, size, server))
            for server, r in results.items():
                row.add(server, r["miss_ratio"])
            rows.append(row)
            run.check_time()
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


# The same rate for all, so that as much expires between two requests.
TWITTER_MEMORY = 32
TWITTER_RATE = 50000
# Cluster, by how much its expiry times are divided: an hour passes in a few seconds
CLUSTERS = (("cluster14", 20000), ("cluster19", 8000), ("cluster29", 1000), ("cluster45", 400000),
            ("cluster52", 50000))


def case_twitter(run):
    """Production mixes; what a get misses is set, as an application would."""
    workloads = read_workloads()
    rows = []
    for name, haste in run.clusters or CLUSTERS:
        row = Row("twitter " + name, "miss ratio", "less", bars=[("mc-t1", 1.005)],
                  note="a million keys, -m %d, %d requests a second; expiry times divided by %d; "
                  "two runs of one server differ by up to half a per cent" %
                  (TWITTER_MEMORY, TWITTER_RATE, haste))
        ops = 100000 if run.quick else 400000

        def measure(server):
            r = load(run.settings, server, anywhere=True, keys=1000000, conns=8, depth=64, ops=ops,
                     rate=TWITTER_RATE, fill_misses=True, expiry_divisor=haste,
                     **workloads[name])
            return 1 - r["hit_ratio"]

        run.progress(name)
        results = side_by_side(run, ("this", "mc-t1"), TWITTER_MEMORY, measure)
        for server, value in results.items():
            row.add(server, value)
        rows.append(row)
        run.check_time()
    return rows


SHIFT_MEMORY = 64
SHIFT_STEPS = 24


def shift_steps(run, server, ops):
    """Hit ratios of successive steps with values of 2 KiB."""
    ratios = []
    for step in range(SHIFT_STEPS):
        r = load(run.settings, server, anywhere=True, keys=60000, conns=4, depth=8, ops=ops,
                 fill_misses=True, zipf=0.9, prefix="big:", value_size=2048, seed=100 + step,
                 unordered=True)
        ratios.append(r["hit_ratio"])
    return ratios


def case_shift(run):
    """Half-way all values become twenty times as large: how soon is the hit ratio
    what it is on a server that never saw the small ones?"""
    ops = 10000 if run.quick else 30000
    steps = Row("sizes shift, 100 bytes to 2 KiB", "thousand requests until within 3 %", "less",
                bars=[("mc-t1", 1.0)], figure=False,
                note="-m 64, Zipf 0.9; compared with a fresh server of the same kind, step by "
                     "step; one step more than there are: never")
    late = Row("sizes shift, 100 bytes to 2 KiB", "hit ratio at the end", bars=[("fresh", 0.97)],
               figure=False)

    def measure_fresh(server):
        return shift_steps(run, server, ops)

    def measure_shifted(server):
        load(run.settings, server, anywhere=True, keys=800000, conns=4, depth=8, ops=20 * ops + 800000,
             fill_misses=True, zipf=0.9, value_size=100, preload=True)
        return shift_steps(run, server, ops)

    run.progress("fresh")
    fresh = side_by_side(run, ("this", "mc-t1"), SHIFT_MEMORY, measure_fresh)
    run.progress("after small values")
    shifted = side_by_side(run, ("this", "mc-t1"), SHIFT_MEMORY, measure_shifted)
    for name in fresh:
        good = [s >= 0.97 * f for s, f in zip(shifted[name], fresh[name])]
        last_bad = max((i for i, ok in enumerate(good) if not ok), default=-1)
        steps.add(name, (last_bad + 2) * ops / 1000)
        late.add(name, shifted[name][-1])
    if "this" in fresh:
        late.add("fresh", fresh["this"][-1])
    return [steps, late]


IDLE_CONNECTIONS = 10000


def resident(pid):
    with open("/proc/%d/statm" % pid) as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def idle_connections(server, count):
    """Bytes of resident memory that one idle connection adds; each has asked once."""
    before = resident(server.pid)
    sockets = []
    try:
        for _ in range(count):
            s = socket.create_connection((HOST, server.port), timeout=10)
            sockets.append(s)
            s.sendall(b"get nothing\r\n")
            if s.recv(64) != b"END\r\n":
                raise RuntimeError("an idle connection was not answered")
        time.sleep(0.1)
        return (resident(server.pid) - before) / count
    finally:
        for s in sockets:
            s.close()


def allowed_connections():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(100, min(IDLE_CONNECTIONS, hard - 1000)) if hard > 0 else IDLE_CONNECTIONS


def case_memory(run):
    """What is used besides items."""
    count = allowed_connections()
    idle = Row("idle connection", "bytes", "less", bars=[(LIMIT, 1024)], figure=False,
               note="resident memory of the process, %d connections" % count)
    sums = Row("stats memory", "share of resident memory explained", bars=[(LIMIT, 0.98)],
               figure=False)
    over = Row("stats memory", "resident memory to its total", bars=[(LIMIT, 0.98)], figure=False)

    for kind in run.kinds:
        if kind.name not in ("this", "mc-t1"):
            continue
        run.progress("idle connections, " + kind.name)
        with kind(run.settings, ANYWHERE, 256) as server:
            idle.add(kind.name, idle_connections(server, count))
        if kind.name != "this":
            continue
        run.progress("stats memory")
        with kind(run.settings, ANYWHERE, 256) as server:
            load(run.settings, server, anywhere=True, keys=1000000, preload=True, duration=0)
            total = int(server.ask_stats(" memory")["sum"])
            used = resident(server.pid)
            sums.add("this", total / used)
            over.add("this", used / total)
    return [idle, sums, over]
