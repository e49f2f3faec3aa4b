"""Results of a run: table, CSV, SVG, Markdown.

Owns: medians, ratios, spreads, and how they look.
Must not know: how they were measured.
"""
import csv
import os
import platform
import shutil
import statistics
import subprocess


class Row:
    """One figure of one case: a sample per server and round.

    unit     what is counted
    better   "more" or "less"
    bars     [(server, factor)]: `this` must be at least (at most) factor times it
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

    def verdict(self, bar):
        server, factor = bar
        ratios = self.ratios(server)
        if not ratios:
            return None
        ratio = statistics.median(ratios)
        return ratio >= factor if self.better == "more" else ratio <= factor


def show(value):
    if value is None:
        return "-"
    if value and abs(value) < 1:
        return "%.4f" % value
    if abs(value) < 100:
        return "%.2f" % value
    return "{:,.0f}".format(value)


def show_ratio(ratios):
    if not ratios:
        return "-"
    return "%.2f (%.2f-%.2f)" % (statistics.median(ratios), min(ratios), max(ratios))


def show_bars(row):
    words = []
    for bar in row.bars:
        verdict = row.verdict(bar)
        sign = ">=" if row.better == "more" else "<="
        state = {True: "met", False: "MISSED", None: "not measured"}[verdict]
        words.append("%s %.2f x %s: %s" % (sign, bar[1], bar[0], state))
    return "; ".join(words)


def compared(rows):
    names = []
    for row in rows:
        names += [s for s in row.samples if s not in names and s != "this"]
    return names


def table(rows):
    """Lists of cells, heading first."""
    others = compared(rows)
    head = ["case", "unit", "this"] + others + ["this/" + s for s in others] + ["bar"]
    lines = [head]
    for row in rows:
        cells = [row.case, row.unit, show(row.median("this"))]
        cells += [show(row.median(s)) for s in others]
        cells += [show_ratio(row.ratios(s)) for s in others]
        lines.append(cells + [show_bars(row)])
    return lines


def text_table(rows):
    lines = table(rows)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    out = []
    for line in lines:
        cells = [c.ljust(w) if i < 2 else c.rjust(w)
                 for i, (c, w) in enumerate(zip(line[:-1], widths))]
        out.append(("  ".join(cells) + "  " + line[-1]).rstrip())
    return "\n".join(out)


def write_csv(rows, path):
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["case", "unit", "better", "server", "round", "value"])
        for row in rows:
            for server, values in row.samples.items():
                for i, value in enumerate(values):
                    out.writerow([row.case, row.unit, row.better, server, i + 1, value])


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
    """Bars of all figures that memcached -t 1 has, too. False without gnuplot."""
    rows = [r for r in rows if r.figure and r.better == "more" and r.median("mc-t1")]
    servers = [s for s in ["this"] + compared(rows) if any(s in r.samples for r in rows)]
    if not rows or not shutil.which("gnuplot"):
        return False
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
    return done.returncode == 0


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


def machine():
    return [("processor", "%s, %d cores" % (cpu_model(), os.cpu_count() or 0)),
            ("system", "%s %s" % (platform.system(), platform.release())),
            ("TCP congestion control", read_line("/proc/sys/net/ipv4/tcp_congestion_control"))]


PREAMBLE = """All servers run in turn, round after round, each pinned to one core and the load
generator to another. A figure is the median of the rounds; a ratio is the
median of the ratios within a round, with the smallest and the largest behind
it. *echo* is a server that moves the same bytes and has no cache: the limit.
*us/request* is processor time of the server; it counts also where the load
generator is the slower side. Every reply was checked byte for byte.
"""


def write_markdown(rows, path, command, versions, has_svg):
    lines = table(rows)
    with open(path, "w") as f:
        f.write("# Benchmark\n\n" + PREAMBLE + "\n")
        for name, value in machine() + versions:
            f.write("- %s: %s\n" % (name, value))
        f.write("- command: `%s`\n\n" % command)
        f.write("| " + " | ".join(lines[0]) + " |\n|" + "---|" * len(lines[0]) + "\n")
        for line in lines[1:]:
            f.write("| " + " | ".join(line) + " |\n")
        notes = [(r.case, r.note) for r in rows if r.note]
        if notes:
            f.write("\n")
        for case, note in dict(notes).items():
            f.write("- %s: %s\n" % (case, note))
        if has_svg:
            f.write("\n![relative to memcached](bench.svg)\n")
