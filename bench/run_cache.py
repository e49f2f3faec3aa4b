"""The cases of the benchmark: what a memory limit buys.

Owns: items held, miss ratios, what happens when sizes change, what memory is
used besides items.
Must not know: how results are shown.

None of this depends on speed, so several servers are measured at the same time, each
with a load generator of its own, on any core.
"""
import collections
import concurrent.futures
import os
import resource
import socket
import subprocess
import time

from run_report import LIMIT, Row
from run_servers import ANYWHERE, HOST, Tool, load

MIB = 1 << 20


# Servers at the same time. A load generator and its server wait for each other much
# of the time, and leave the cores to others.
AT_ONCE = 6
# measure(server) is called on a fresh server of that name and returns a list; its
# members are added to the rows.
Job = collections.namedtuple("Job", "label server memory measure rows", defaults=((),))


def at_once(run, jobs, most=AT_ONCE):
    """What each job measured, in their order; None where there is no such server."""
    kinds = {k.name: k for k in run.kinds}

    def work(job):
        if job.server not in kinds:
            return None
        run.progress("%s %s" % (job.label, job.server))
        try:
            with kinds[job.server](run.settings, ANYWHERE, job.memory) as server:
                return job.measure(server)
        except (OSError, RuntimeError) as error:
            raise RuntimeError("%s, %s: %s" % (job.label, job.server, error))

    with concurrent.futures.ThreadPoolExecutor(most) as pool:
        results = list(pool.map(work, jobs))
    for job, values in zip(jobs, results):
        for row, value in zip(job.rows, values or ()):
            row.add(job.server, value)
    return results


HELD = [("10", 10, 1.7), ("100", 100, 1.3), ("1000", 1000, 1.12),
        ("lognormal:100,1.0", 165, 1.25)]
HELD_SERVERS = ("this", "mc-t1", "redis")


def case_held(run):
    """How many items a memory limit holds, and what the process then uses."""
    memory = 128
    rows, jobs = [], []
    for size, mean, factor in HELD:
        row = Row("held, %s bytes" % size.replace(",1.0", ""), "items",
                  bars=[("mc-t1", factor)])
        rss = Row(row.case, "resident MiB", better="less", figure=False)
        keys = int(1.4 * memory * MIB / (14 + mean + 28))

        def measure(server, keys=keys, size=size):
            r = load(run.settings, server, anywhere=True, fill=True, keys=keys, value_size=size,
                     width=50)
            return [r["held"], r["server_rss"] / MIB]

        rows += [row, rss]
        jobs += [Job(size, name, memory, measure, (row, rss))
                 for name in HELD_SERVERS]
    at_once(run, jobs, len(HELD_SERVERS))
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


def trace_jobs(run, path, bits, median, limits, most):
    """The jobs of one trace, and their rows."""
    note = "values of %d bytes in the median, lognormal with sigma 0.5" % median
    if most:
        note += "; the first %d requests" % most
    rows, jobs = [], []

    def measure(server):
        return [replay(run, path, bits, most, "lognormal:%d,0.5" % median, server)["miss_ratio"]]

    for memory in limits:
        row = Row("%s, -m %d" % (os.path.basename(path).split(".")[0], memory), "miss ratio",
                  better="less", bars=[("mc-t1", 1.0)], note=note)
        rows.append(row)
        jobs += [Job(row.case, name, memory, measure, (row,)) for name in ("this", "mc-t1")]
    return rows, jobs


def case_traces(run):
    """Miss ratios of access traces. Traces carry no sizes: a key's number says
    its value's."""
    rows = []
    most = {"quick": 200000, "usual": USUAL_REQUESTS}.get(run.settings.profile, 0)
    for i, (name, bits, median, limits) in enumerate(TRACES):
        path = os.path.join(run.settings.data or "", name)
        if not run.settings.data or not os.path.exists(path):
            run.remark("trace %s is not there (--data), left out" % name)
            continue
        if run.time_is_up(i, len(TRACES), "traces", len(TRACES)):
            break
        of_trace, jobs = trace_jobs(run, path, bits, median, limits, most)
        at_once(run, jobs)
        rows += of_trace
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
TWITTER_AT_ONCE = 2 # more would not keep the rate on two cores
TWITTER_LATE = 1.05 # so many times as long as it should take
# Cluster, by how much its expiry times are divided: an hour passes in a few seconds
CLUSTERS = (("cluster14", 20000), ("cluster19", 8000), ("cluster29", 1000), ("cluster45", 400000),
            ("cluster52", 50000))


def twitter_jobs(run, name, workload, haste):
    row = Row("twitter " + name, "miss ratio", "less", bars=[("mc-t1", 1.005, "expiry")],
              note="a million keys, -m %d, %d requests a second; expiry times divided by %d; "
              "two runs of one server differ by up to half a per cent" %
              (TWITTER_MEMORY, TWITTER_RATE, haste))
    ops = 100000 if run.quick else 400000

    def measure(server):
        r = load(run.settings, server, anywhere=True, keys=1000000, conns=8, depth=64, ops=ops,
                 rate=TWITTER_RATE, fill_misses=True, expiry_divisor=haste, **workload)
        if r["seconds"] > TWITTER_LATE * ops / TWITTER_RATE:
            run.remark("%s, %s: %.1f s instead of %.1f, so that more expired" %
                       (row.case, server.name, r["seconds"], ops / TWITTER_RATE))
        return [1 - r["hit_ratio"]]

    return [Job(row.case, server, TWITTER_MEMORY, measure, (row,)) for server in ("this", "mc-t1")]


def case_twitter(run):
    """Production mixes; what a get misses is set, as an application would."""
    workloads = read_workloads()
    clusters = run.clusters or CLUSTERS
    rows = []
    for i, (name, haste) in enumerate(clusters):
        if run.time_is_up(i, len(clusters), "workloads", len(clusters)):
            break
        jobs = twitter_jobs(run, name, workloads[name], haste)
        at_once(run, jobs, TWITTER_AT_ONCE)
        rows += jobs[0].rows
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

    def measure_shifted(server):
        load(run.settings, server, anywhere=True, keys=800000, conns=4, depth=8, ops=20 * ops + 800000,
             fill_misses=True, zipf=0.9, value_size=100, preload=True)
        return shift_steps(run, server, ops)

    def measure_fresh(server):
        return shift_steps(run, server, ops)

    names = ("this", "mc-t1")
    results = at_once(run, [Job("after small values", n, SHIFT_MEMORY, measure_shifted)
                            for n in names] +
                      [Job("fresh", n, SHIFT_MEMORY, measure_fresh) for n in names])
    shifted, fresh = ({n: r for n, r in zip(names, part) if r} for part in (results[:2], results[2:]))
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
