# SPDX-License-Identifier: MIT
"""Plots of what was measured, by gnuplot: PNG and SVG.

speed-SUITE and memory-SUITE: bars, each allocator's median divided by apb's;
rss-ROW: resident memory over time.
"""

import os
import shutil
import subprocess

import common
from suite import RSS, TIME

COLOURS = ("#1f4e9c", "#7f7f7f", "#2ca02c", "#d62728", "#ff7f0e", "#9467bd",
           "#8c564b", "#17becf", "#bcbd22", "#e377c2", "#1a9988", "#444444")
OUTPUTS = (("png", "pngcairo size %d,%d font 'Sans,10' noenhanced"),
           ("svg", "svg size %d,%d font 'Sans,12' noenhanced background '#ffffff'"))
MIB = 2.0**20
CLIP = 8.0


def gnuplot(script):
    try:
        done = subprocess.run(["gnuplot", "-"], input=script, text=True,
                              capture_output=True, check=False)
    except OSError as err:
        common.fail("gnuplot: %s" % err.strerror)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        common.fail("gnuplot: %s" % (lines[-1] if lines else "failed"))


def quote(text):
    return "'%s'" % text.replace("'", "''")


def draw(folder, name, size, body):
    paths = []
    for suffix, terminal in OUTPUTS:
        path = os.path.join(folder, "%s.%s" % (name, suffix))
        gnuplot("set terminal %s\nset output %s\n%s"
                % (terminal % size, quote(path), body))
        paths.append(path)
    return paths


def bars(folder, suite, metric):
    names = []
    for row in suite.rows:
        names += [s.name for s in row.subjects
                  if s.role != "form" and s.name not in names]
    lines = []
    for row in suite.rows:
        own = row.get("apb", metric)
        if not own or own <= 0:
            continue
        values = [row.get(name, metric) for name in names]
        lines.append(" ".join([quote(row.name)] + [
            "%.4f" % (value / own) if value and value > 0 else "NaN"
            for value in values]))
    if not lines or len(names) < 2:
        return []
    what = "peak resident memory" if metric == RSS else "time"
    body = [
        "set title %s" % quote("%s: %s, apb = 1; shorter is better (log)"
                               % (suite.title, what)),
        "$data << EOD", *[line.replace("'", '"') for line in lines], "EOD",
        "set style data histograms",
        "set style histogram clustered gap 1.5",
        "set style fill solid 0.9 noborder",
        "set logscale y 2", "set yrange [0.25:%g]" % CLIP,
        "set ytics (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8)",
        "set grid ytics lc rgb '#dddddd'",
        "set key outside right top", "set xtics rotate by -35",
        "set boxwidth 1 relative",
    ]
    clauses = ["$data using %d%s title %s lc rgb '%s'" % (
        column + 2, ":xtic(1)" if not column else "", quote(name),
        COLOURS[column % len(COLOURS)]) for column, name in enumerate(names)]
    body.append("plot " + ", ".join(clauses) + ", 1 lc rgb '#000000' notitle "
                "with lines")
    width = max(700, 60 + len(lines) * (len(names) * 11 + 20) + 160)
    return draw(folder, "%s-%s" % ("memory" if metric == RSS else "speed",
                                   suite.name), (width, 460), "\n".join(body))


def curves(folder, row):
    """Resident memory over time, as far as it was sampled in this run."""
    clauses = []
    for number, subject in enumerate(row.subjects):
        path = os.path.join(folder, "rss", "%s.%s" % (row.name, subject.name))
        if subject.name in row.failed or not common.read(path):
            continue
        clauses.append("%s using ($1/1000):($2/%g) with lines lw 2 lc rgb "
                       "'%s' title %s" % (quote(path), MIB,
                                          COLOURS[number % len(COLOURS)],
                                          quote(subject.name)))
    if not clauses:
        return []
    body = ["set title %s" % quote(row.name + ": " + row.text),
            "set xlabel 'seconds'", "set ylabel 'resident MiB'",
            "set yrange [0:*]", "set grid lc rgb '#dddddd'",
            "set key outside right top",
            "plot " + ", ".join(clauses)]
    return draw(folder, "rss-" + row.name, (900, 460), "\n".join(body))


def plot(folder, suites):
    """The paths of all plots."""
    if not shutil.which("gnuplot"):
        common.fail("missing: gnuplot (make bench-setup)")
    paths = []
    for suite in suites:
        for metric in (TIME, RSS):
            if metric in suite.metrics:
                paths += bars(folder, suite, metric)
        if suite.name in ("programs", "python", "frag"):
            for row in suite.rows:
                paths += curves(folder, row)
    return paths
