"""The cases of the benchmark: how fast.

Owns: throughput and round trips; `rounds`, with which all cases interleave; the
list of all cases. A case is a function that takes the run and returns rows;
its name in CASES is what --cases matches.
Must not know: how results are shown.
"""
from run_report import Row
from run_servers import OursUdp, Rival1Udp, load

KEYS = 100000
UDP_TIMEOUT_SECONDS = 5 # a server that waits for its core is not taken for a lost datagram


def rounds(run, rows, kinds, measure, memory=1024):
    """Interleave: each round starts every kind of server once, and `measure`
    returns one figure per row."""
    count = run.rounds if any(r.bars for r in rows) else run.few_rounds
    for i in range(count):
        if run.time_is_up(i, count):
            break
        for kind in kinds:
            run.progress("round %d/%d %s" % (i + 1, count, kind.name))
            with kind(run.settings, run.settings.server_core, memory) as server:
                for row, value in zip(rows, measure(server)):
                    row.add(server.name, value)
    return rows


def throughput(run, case, bars, what="rps", unit="requests/s", protocol=None, kinds=None,
               **options):
    rows = [Row(case, unit, bars=bars),
            Row(case, "us/request", better="less", figure=False)]
    kinds = kinds or [k for k in run.kinds
                      if not protocol or (k.protocol == "text" and k.checks_values)]

    def measure(server):
        preload = server.checks_values and "get" in options.get("mix", "get")
        r = load(run.settings, server, protocol=protocol or server.protocol, keys=KEYS,
                 preload=preload, warmup=run.seconds / 5, duration=run.seconds,
                 must_hit=preload, **options)
        if r["lost"]:
            run.remark("%s, %s: %d requests lost by UDP" % (case, server.name, r["lost"]))
        return r[what], r["server_us_per_request"]

    return rounds(run, rows, kinds, measure)


def case_get(run):
    return throughput(run, "get, 50 connections", [("echo", 0.97, "plain"), ("mc-t1", 1.12, "plain")],
                      spin=True)


def case_set(run):
    return throughput(run, "set, 50 connections", [("echo", 0.97, "plain"), ("mc-t1", 1.12, "plain")],
                      spin=True, mix="set")


def case_pipeline(run):
    return throughput(run, "get, pipeline 16", [("echo", 0.6), ("mc-t1", 5.0)], depth=16)


def case_multiget(run):
    return throughput(run, "get of 50 keys", [("mc-t1", 2.5)], what="kps", unit="keys/s",
                      width=50)


def case_meta(run):
    """The same gets, pipelined, in the meta protocol."""
    return throughput(run, "mg, pipeline 16", [], depth=16, protocol="meta")


def case_udp(run):
    """The gets of the first case, in datagrams."""
    kinds = [k for k in (OursUdp, Rival1Udp) if k.name in run.settings.servers]
    return throughput(run, "get by UDP, 50 sockets", [], spin=True, kinds=kinds,
                      udp_timeout=UDP_TIMEOUT_SECONDS)


def case_latency(run):
    """One request at a time on one connection: the time of a round trip."""
    row = Row("get, 1 connection", "p50 us", better="less", figure=False)

    def measure(server):
        preload = server.checks_values
        r = load(run.settings, server, keys=KEYS, preload=preload, conns=1, spin=True,
                 duration=run.seconds / 2)
        return (r["p50_us"],)

    return rounds(run, [row], run.kinds, measure)


def all_cases():
    import run_cache
    import run_pair
    import run_pauses
    return {
        "get": case_get,
        "set": case_set,
        "pipeline": case_pipeline,
        "multiget": case_multiget,
        "meta": case_meta,
        "udp": case_udp,
        "peer": run_pair.case_peer,
        "copy": run_pair.case_copy,
        "lag": run_pair.case_lag,
        "held": run_cache.case_held,
        "shift": run_cache.case_shift,
        "pauses": run_pauses.case_pauses,
        "memory": run_cache.case_memory,
        "traces": run_cache.case_traces,
        "twitter": run_cache.case_twitter,
        "latency": case_latency,
    }
