"""Results of a run: table, CSV, SVG, Markdown.

Owns: medians, ratios, spreads, verdicts, and how they look.
Must not know: how they were measured.
"""
import csv
import os
import platform
import shutil
import statistics
import subprocess

LIMIT = None  # in place of a server's name in a bar: compare with a number


class Row:
    """One figure of one case: a sample per server and round.

    unit     what is counted
    better   "more" or "less"
    bars     [(server, factor)]: `this` must be at least (at most) factor times it;
             [(LIMIT, number)]: at least (at most) the number
             a third member names what EXPLANATIONS says about missing it
    figure   whether it belongs into the plot
    """

    def __init__(self, case, unit, better="more", bars=(), note="", figure=True):
        self.case = case
        self.unit = unit
        self.better = better
        self.bars = list(bars)
        self.note = note
        self.figure = figure
        self.samples = {}

    def add(self, server, value):
        self.samples.setdefault(server, []).append(value)

    def median(self, server):
        values = self.samples.get(server)
        return statistics.median(values) if values else None

    def ratios(self, server):
        """this / server, round by round: rounds are interleaved, so what
        disturbed one side of a pair probably disturbed the other, too."""
        pairs = zip(self.samples.get("this", []), self.samples.get(server, []))
        return [a / b for a, b in pairs if b]

    def reached(self, bar):
        """What the bar is compared with: a ratio, or the figure itself; None
        when it was not measured."""
        if bar[0] is LIMIT:
            return self.median("this")
        ratios = self.ratios(bar[0])
        return statistics.median(ratios) if ratios else None

    def verdict(self, bar):
        got = self.reached(bar)
        if got is None:
            return None
        return got >= bar[1] if self.better == "more" else got <= bar[1]


def show(value):
    if value is None:
        return "-"
    if value and abs(value) < 1:
        return "%.4f" % value
    if abs(value) < 100:
        return "%.2f" % value
    return "{:,.0f}".format(value)


def show_range(values):
    return "%s - %s" % (show(min(values)), show(max(values))) if len(values) > 1 else ""


def show_ratio(ratios):
    if not ratios:
        return ""
    if len(ratios) == 1:
        return "%.3f" % ratios[0]
    return "%.3f (%.3f - %.3f)" % (statistics.median(ratios), min(ratios), max(ratios))


def show_bar(row, bar):
    sign = ">=" if row.better == "more" else "<="
    wanted = "%s %s" % (sign, show(bar[1])) if bar[0] is LIMIT else \
        "%s %.4g x %s" % (sign, bar[1], bar[0])
    got = row.reached(bar)
    if got is None:
        return wanted + ": not measured"
    shown = show(got) if bar[0] is LIMIT else "%.3f" % got
    return "%s: %s (%s)" % (wanted, "met" if row.verdict(bar) else "MISSED", shown)


def show_bars(row, server):
    """The bars that compare with this server; absolute ones stand with `this`."""
    return "; ".join(show_bar(row, b) for b in row.bars
                     if b[0] == server or (b[0] is LIMIT and server == "this"))


def missed(rows):
    return [(r, b) for r in rows for b in r.bars if r.verdict(b) is False]


EXPLANATIONS = "doc/performance.txt, section 6"


def show_why(row, bar):
    """Where to read about a missed bar."""
    if row.verdict(bar) is not False:
        return ""
    return "see \"%s\"" % bar[2] if len(bar) > 2 else "not explained"


def unmeasured(rows):
    return [(r, b) for r in rows for b in r.bars if r.verdict(b) is None]


HEAD = ["case", "unit", "server", "median", "spread", "this / it", "bar"]


def table(rows):
    """Lists of cells: one line for each case and server, `this` first."""
    lines = []
    for row in rows:
        servers = sorted(row.samples, key=lambda s: s != "this")
        for i, server in enumerate(servers):
            values = row.samples[server]
            ratio = "" if server == "this" else show_ratio(row.ratios(server))
            lines.append([row.case if i == 0 else "", row.unit if i == 0 else "", server,
                          show(row.median(server)), show_range(values), ratio,
                          show_bars(row, server)])
    return lines


def text_table(rows):
    lines = [HEAD] + table(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip()
                     for line in lines)


def write_csv(rows, path):
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["case", "unit", "better", "server", "round", "value"])
        for row in rows:
            for server, values in row.samples.items():
                for i, value in enumerate(values):
                    out.writerow([row.case, row.unit, row.better, server, i + 1, value])


NO_GNUPLOT = "no plot: gnuplot is not installed (Debian: gnuplot-nox)"
GNUPLOT = """set terminal svg size 960,480 dynamic background rgb 'white' font 'sans,12'
set output '%(svg)s'
set title 'Relative to memcached -t 1 (= 1); lines: spread of the rounds'
set style data histogram
set style histogram errorbars gap 1.5 lw 1
set style fill solid 0.8 noborder
set ytics 0.5
set grid y
set yrange [0:*]
set xtics rotate by -25
set key top left
set datafile missing '-'
plot %(plots)s
"""


def write_svg(rows, path):
    """Bars of all figures that memcached -t 1 has, too. Says why there is none."""
    rows = [r for r in rows if r.figure and r.better == "more" and r.median("mc-t1")]
    present = {s for r in rows for s in r.samples}
    servers = [s for s in ("this", "mc-t1", "mc-t2", "redis", "echo") if s in present]
    if not rows:
        return "no plot: nothing was compared with memcached"
    if not shutil.which("gnuplot"):
        return NO_GNUPLOT
    data = os.path.splitext(path)[0] + ".dat"
    with open(data, "w") as f:
        for row in rows:
            base = row.median("mc-t1")
            cells = ['"%s"' % row.case]
            for s in servers:
                v = row.samples.get(s)
                cells += ["%.4f %.4f %.4f" % (row.median(s) / base, min(v) / base, max(v) / base)
                          if v else "- - -"]
            f.write(" ".join(cells) + "\n")
    plots = ", ".join("'%s' using %d:%d:%d%s title '%s'" %
                      (data if i == 0 else "", 2 + 3 * i, 3 + 3 * i, 4 + 3 * i,
                       ":xtic(1)" if i == 0 else "", s) for i, s in enumerate(servers))
    done = subprocess.run(["gnuplot"], input=GNUPLOT % {"svg": path, "plots": plots}, text=True)
    os.unlink(data)
    return "" if done.returncode == 0 else "no plot: gnuplot failed"


def cpu_model():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def read_line(path):
    try:
        with open(path) as f:
            return f.readline().strip()
    except OSError:
        return "unknown"


def memory_gib():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def machine():
    return [("processor", "%s, %d cores" % (cpu_model(), os.cpu_count() or 0)),
            ("memory", "%.0f GiB" % memory_gib()),
            ("system", "%s %s" % (platform.system(), platform.release())),
            ("TCP congestion control", read_line("/proc/sys/net/ipv4/tcp_congestion_control"))]


PREAMBLE = """All servers run in turn, round after round, each in a fresh process pinned to one
core and the load generator to another. A figure is the median of the rounds, a
ratio the median of the ratios within a round; the spread is from the smallest to
the largest. *this* is the daemon of this tree, *mc-t1* and *mc-t2* are the
distribution's memcached with one and two threads, *echo* is a server that moves
the same bytes and has no cache: the limit. *us/request* is processor time of the
server; it counts also where the load generator is the slower side. Every reply
was checked byte for byte (but those of echo). bench/README says what each case is.
"""


def write_bars(f, rows):
    bars = [(r, b) for r in rows for b in r.bars]
    f.write("## Bars\n\n%d bars, %d missed, %d not measured.\n\n" %
            (len(bars), len(missed(rows)), len(unmeasured(rows))))
    if missed(rows):
        f.write("What profiles say about those that are missed is in %s, under the words given "
                "here.\n\n" % EXPLANATIONS)
    f.write("| case | unit | bar | why |\n|---|---|---|---|\n")
    for row, bar in sorted(bars, key=lambda rb: rb[0].verdict(rb[1]) is not False):
        f.write("| %s | %s | %s | %s |\n" % (row.case, row.unit, show_bar(row, bar),
                                            show_why(row, bar)))


def write_markdown(rows, path, facts, remarks, svg):
    """facts: pairs of machine, versions, command; svg: name of the plot or ''."""
    with open(path, "w") as f:
        f.write("# Benchmark\n\n" + PREAMBLE + "\n")
        for name, value in machine() + facts:
            f.write("- %s: %s\n" % (name, value))
        for remark in remarks:
            f.write("- %s\n" % remark)
        f.write("\n")
        if svg:
            f.write("![relative to memcached](%s)\n\n" % svg)
        write_bars(f, rows)
        f.write("\n## All figures\n\n| " + " | ".join(HEAD) + " |\n|" + "---|" * len(HEAD) + "\n")
        for line in table(rows):
            f.write("| " + " | ".join(line) + " |\n")
        notes = {r.case: r.note for r in rows if r.note}
        if notes:
            f.write("\n")
        for case, note in notes.items():
            f.write("- %s: %s\n" % (case, note))
