# SPDX-License-Identifier: MIT
"""What was measured: tables on the terminal, CSV files."""

import csv
import os

import common
import frag
from suite import RSS, TIME

MIB = 2.0**20


def cell(value, metric, suite):
    if value is None:
        return "-"
    if metric == RSS:
        return "%.1f" % (value / MIB)
    if value >= 10000:
        return "%.0f" % value
    return "%.*f" % (suite.digits, value)


def names_of(suite, roles):
    found = []
    for row in suite.rows:
        for subject in row.subjects:
            if subject.role in roles and subject.name not in found:
                found.append(subject.name)
    return found


def ratio_text(value, best):
    if value is None or not best or not best[0] or best[0] <= 0:
        return "-"
    return "%.2f %s" % (value / best[0], best[1])


def comparison(suite, metric, title, pick):
    """apb and its peers, a row a line."""
    names = names_of(suite, ("apb", "peer"))
    lines = []
    for row in suite.rows:
        values = [row.get(name, metric, pick) for name in names]
        lines.append([row.name] + [cell(v, metric, suite) for v in values] +
                     [ratio_text(row.get("apb", metric, pick),
                                 row.best_peer(metric, pick))])
    common.table([title, *names, "apb / best"], lines)


def forms(suite, metric, title, pick):
    """apb beside its other forms, each to the best peer or the reference."""
    names = ["apb"] + names_of(suite, ("form",))
    if len(names) < 2:
        return
    other = suite.reference or "best peer"
    lines = []
    for row in suite.rows:
        base = row.best_peer(metric, pick)
        if suite.reference:
            base = (row.get(suite.reference, metric, pick), "")
        values = [row.get(name, metric, pick) for name in names]
        line = [row.name] + [cell(v, metric, suite) for v in values]
        if not suite.reference:
            line.append("%s %s" % (cell(base[0], metric, suite), base[1])
                        if base else "-")
        lines.append(line + [ratio_text(value, base).split()[0]
                             for name, value in zip(names, values)
                             if name != suite.reference])
    if suite.reference and len(suite.rows) > 1:
        mean = ["geometric mean"] + [""] * len(names)
        for name in names:
            if name != suite.reference:
                found = [row.get(name, metric, pick) /
                         row.get(suite.reference, metric, pick)
                         for row in suite.rows
                         if row.get(name, metric, pick) and
                         row.get(suite.reference, metric, pick)]
                mean.append("%.3f" % common.geomean(found) if found else "-")
        lines.append(mean)
    head = [title, *names] + ([] if suite.reference else [other])
    print()
    common.table(head + ["%s / %s" % (name, other.split()[0])
                         for name in names if name != suite.reference], lines)


def ratios(rows, metric, pick=common.median):
    """{peer: apb / peer, of each row that both have}"""
    found = {}
    for row in rows:
        own = row.get("apb", metric, pick)
        if not own or own <= 0:
            continue
        for subject in row.subjects:
            value = row.get(subject.name, metric, pick)
            if subject.role == "peer" and value and value > 0:
                found.setdefault(subject.name, []).append(own / value)
    return found


def summary_lines(suites, metric):
    """Geometric means of apb / peer: a line per suite, one over all rows."""
    used = [suite for suite in suites if metric in suite.metrics]
    groups = [(suite.name, suite.rows) for suite in used]
    if len(used) > 1:
        groups.append(("all %d rows" % sum(len(s.rows) for s in used),
                       [row for suite in used for row in suite.rows]))
    names = []
    for suite in used:
        names += [n for n in names_of(suite, ("peer",)) if n not in names]
    lines = []
    for title, rows in groups:
        found = ratios(rows, metric)
        lines.append([title] + ["%.3f" % common.geomean(found[name])
                                if name in found else "-" for name in names])
    return names, lines


def summary(suites):
    for metric, title in ((TIME, "time, apb / peer"),
                          (RSS, "memory, apb / peer")):
        names, lines = summary_lines(suites, metric)
        if lines:
            print()
            common.table([title, *names], lines)
    print("geometric means of the medians' ratios; below 1: apb is ahead")


def failures(suites):
    """Lines on what could not be measured; whether apb is among them."""
    ours = False
    for suite in suites:
        for row in suite.rows:
            for name, why in row.failed.items():
                print("FAILED: %s with %s: %s" % (row.name, name, why))
                ours = ours or any(subject.name == name and
                                   subject.role != "peer"
                                   for subject in row.subjects)
    return ours


def tables(suites, rounds):
    for suite in suites:
        print("\n== %s" % suite.title)
        if suite.name == "frag":
            frag.report(suite)
            continue
        for note in suite.notes:
            print(note)
        for row in suite.rows:
            print("  %-13s  %s" % (row.name, row.text))
        for metric in suite.metrics:
            what = "MiB" if metric == RSS else suite.unit
            for pick, how in ((common.median, "median"), (min, "minimum")):
                if how == "minimum" and (metric == RSS or rounds == 1):
                    continue
                title = "%s %s" % (how, what)
                print()
                comparison(suite, metric, title, pick)
                if how == "median":
                    forms(suite, metric, title, pick)
    if any(suite.metrics for suite in suites):
        summary(suites)


def write_csv(folder, suites, machine, total="summary"):
    """A file per suite, a line per value; and the summary, @total."""
    paths = []
    for suite in suites:
        path = os.path.join(folder, suite.name + ".csv")
        with open(path, "w", encoding="utf-8", newline="") as stream:
            stream.write("# %s\n" % machine)
            out = csv.writer(stream)
            out.writerow(["row", "allocator", "metric", "round", "value"])
            for row in suite.rows:
                for (name, metric), values in row.values.items():
                    for number, value in enumerate(values):
                        out.writerow([row.name, name, metric, number + 1,
                                      "%.6g" % value if metric != RSS
                                      else "%d" % value])
        paths.append(path)
    path = os.path.join(folder, total + ".csv")
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write("# %s\n" % machine)
        out = csv.writer(stream)
        out.writerow(["suite", "row", "metric", "allocator", "role", "median",
                      "minimum", "apb_ratio"])
        for suite in suites:
            for row in suite.rows:
                write_summary(out, suite, row)
    paths.append(path)
    return paths


def write_summary(out, suite, row):
    for subject in row.subjects:
        for metric in suite.metrics:
            value = row.get(subject.name, metric)
            own = row.get("apb", metric)
            if value is None:
                continue
            out.writerow([suite.name, row.name, metric, subject.name,
                          subject.role, "%.6g" % value,
                          "%.6g" % row.get(subject.name, metric, min),
                          "%.4f" % (own / value) if own and value > 0
                          else ""])
