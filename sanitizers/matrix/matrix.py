#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make matrix`: every combination of compiler, tool and layout; in each the
unit tests, and on each kernel with each set of options the corpus and a short
fuzz.

    matrix.py [--quick] [--only TEXT] [--build FLAVOUR] [--fuzz SECONDS]

--quick is what make test runs: a part of the corpus, a few columns of each row,
with what is built for other tests anyway.
--only takes the rows whose names contain the text, or one of several (with
commas between).  --build takes one flavour,
all columns: `make SAN=TOOL check`.  The table is printed and written to
build/matrix.txt, a line per cell to build/matrix.csv, what cells said to
build/matrix/; rows of earlier runs stay in it, so that it can be filled row by
row.  Exit status 1 if a cell failed.
"""

import argparse
import collections
import csv
import fcntl
import glob
import os
import re
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import engines  # noqa: E402  (fuzz/ has to be in the path first)
import proc     # noqa: E402

CELL_SECONDS = 1800
UNIT_SECONDS = 1200  # some take minutes under valgrind, and more if others run
QUICK_STEP = 8  # every so manieth input
QUICK_BYTES = 1024
OUT = "build/matrix"
TOOLS = ("none", "address", "undefined", "memory", "thread", "leak", "valgrind",
         "helgrind", "drd")
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=9",
            "--suppressions=sanitizers/harness.supp"]
VALGRIND_TOOLS = {
    "valgrind": ["--leak-check=no"],
    "helgrind": ["--tool=helgrind"],
    "drd": ["--tool=drd"],
}

# Where an input runs, and with which settings: name, arguments, APB_OPTIONS.
Column = collections.namedtuple("Column", "name kernel options args env")


def column(kernel, options, *args, env=""):
    return Column(kernel + (" " + options if options else ""), kernel,
                  options or "as is", args, env)


PRODUCTION = [
    column("simulated", "", "--kernel", "simulated"),
    column("simulated", "junk", "--kernel", "simulated", "--set", "junk"),
    column("simulated", "settle", "--kernel", "simulated", "--set", "settle"),
    column("simulated", "purge", "--kernel", "simulated", "--set", "purge"),
    column("simulated", "locks", "--kernel", "simulated", "--set", "locks"),
    column("real", "", "--kernel", "real"),
    column("real", "settle", "--kernel", "real", "--set", "settle"),
    column("real", "thp", "--kernel", "real", env="thp=always"),
]
TRACKING = [
    column("region", ""),
    column("region", "reuse", env="quarantine=0"),
    column("region", "settle", "--set", "settle", env="quarantine=64k"),
]
QUICK = ("simulated", "real", "region")


class Row:
    def __init__(self, tool, layout, compiler, flavour):
        self.tool, self.layout, self.compiler = tool, layout, compiler
        self.flavour = flavour
        self.name = "%s %s %s" % (compiler, tool, layout)
        self.files = self.name.replace(" ", "-")
        self.columns = [
            c for c in (TRACKING if layout == "tracking" else PRODUCTION)
            if c.kernel not in self.left_out()]

    def play(self, quick):
        return "build/%s%s/apb-play" % ("quick/" if quick else "", self.flavour)

    def unit_tests(self):
        """Those of the allocator's insides in the layout that it ships with;
        those of what tools see in the other one."""
        if self.layout == "production":
            return ["build/%s/unit/%s" % (self.flavour, os.path.basename(p)[:-2])
                    for p in sorted(glob.glob(
                        os.path.join(ROOT, "alloc/tests/test_*.c")))]
        return ["build/%s/tests/%s" % (self.flavour, name)
                for name in sorted(
                    os.path.basename(p)[:-2] for p in glob.glob(os.path.join(
                        ROOT, "sanitizers/tests/test_*.c")))
                if name not in self.left_out()]

    def left_out(self):
        """{unit test: reason}"""
        return {**LEFT_OUT.get(self.tool, {}),
                **LEFT_OUT.get(self.compiler + "-" + self.tool, {})}

    def wrap(self, cmd):
        if self.tool not in VALGRIND_TOOLS:
            return cmd
        return VALGRIND + VALGRIND_TOOLS[self.tool] + cmd


def rows():
    for tool in TOOLS:
        first = "gcc" if tool in VALGRIND_TOOLS else "clang"
        flavour = "valgrind" if tool in VALGRIND_TOOLS else tool
        for compiler in ("gcc", "clang"):
            if (tool, compiler) == ("memory", "gcc"):
                continue  # gcc does not have it
            suffix = "" if compiler == first else "-" + compiler
            if tool in ("helgrind", "drd") and compiler == "clang":
                continue  # they see the same calls
            if tool in ("none", "undefined"):
                yield Row(tool, "production", compiler, "san-%s%s"
                          % (tool, suffix))
                continue
            for layout in ("production", "tracking"):
                middle = "-production" if layout == "production" else ""
                if layout not in LEFT_OUT.get(tool, {}):
                    yield Row(tool, layout, compiler,
                              "san-%s%s%s" % (flavour, middle, suffix))


def quick_rows():
    """Flavours that make test has anyway; in tracking with one harness."""
    yield Row("none", "production", "gcc", "release")
    yield Row("address+undefined", "production", "clang", "test")
    yield Row("thread", "production", "clang", "tsan")
    yield Row("valgrind", "production", "gcc", "valgrind")
    for tool in ("address", "memory", "thread", "leak", "valgrind"):
        yield Row(tool, "tracking", "gcc" if tool == "valgrind" else "clang",
                  "san-" + tool)


# ---- what does not fit a tool -----------------------------------------------


def left_out():
    """{tool: {unit test or layout: reason}} out of left-out.txt."""
    found = collections.defaultdict(dict)
    path = os.path.join(ROOT, "sanitizers/matrix/left-out.txt")
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                tools, test, reason = line.split(None, 2)
                for tool in tools.split(","):
                    found[tool][test] = reason.strip()
    return found


LEFT_OUT = left_out()


# ---- cells ------------------------------------------------------------------


Cell = collections.namedtuple("Cell", "row column ok text seconds output")


def environment(extra=""):
    env = proc.environment()
    if extra:
        env["APB_OPTIONS"] = extra
    # The shadow of the largest blocks that there can be fits no machine.
    # What is leaked is the business of tests of their own.
    env["ASAN_OPTIONS"] = "detect_leaks=0:quarantine_size_mb=16:" \
        "max_allocation_size_mb=1024"
    # all is written twice of a block there
    env["MSAN_OPTIONS"] = "max_allocation_size_mb=256"
    # the same: helgrind keeps more than any other of each byte of a block
    env["APB_TOOL_OPTIONS"] = "max_allocation_size_mb=64"
    env["TSAN_OPTIONS"] = "halt_on_error=1"
    return env


def corpus(quick):
    inputs = engines.files(*engines.SEEDS)
    if not quick:
        return inputs
    inputs = [path for path in inputs if os.path.getsize(
        os.path.join(ROOT, path)) <= QUICK_BYTES]
    return inputs[::QUICK_STEP]


class Work:
    """A cell that is to be run: one command or, for unit tests, several."""

    def __init__(self, row, column):
        self.row, self.column = row, column
        self.todo = 0
        self.seconds = 0.0

    def cell(self, ok, text, output):
        return Cell(self.row, self.column, ok, text, self.seconds, output)


class Play(Work):
    def __init__(self, row, col, args):
        super().__init__(row, col.name)
        out = "%s/%s-%s.apb" % (OUT, row.files, col.name.replace(" ", "-"))
        self.jobs = [(row.wrap(
            [row.play(args.quick), *col.args, "--fuzz", str(args.fuzz),
             "--out", out, *corpus(args.quick)]),
                      environment(col.env), CELL_SECONDS)]
        self.fuzz = args.fuzz

    def ended(self, _, status, output):
        self.status, self.output = status, output

    def done(self):
        done = re.search(r"^(\d+) inputs, (\d+) changed ones, 0 findings$",
                         self.output, re.M)
        if self.status == 0 and done and int(done[1]) and (
                int(done[2]) or not self.fuzz):
            return self.cell(True, "%s+%s" % done.groups(), self.output)
        return self.cell(False, proc.ending(self.status), self.output)


class Units(Work):
    def __init__(self, row):
        super().__init__(row, "unit tests")
        left = row.left_out()
        self.names = [p for p in row.unit_tests()
                      if os.path.basename(p) not in left]
        self.skipped = len(row.unit_tests()) - len(self.names)
        env = environment()
        env["CMOCKA_MESSAGE_OUTPUT"] = "TAP"
        self.jobs = [(row.wrap([p]), env, UNIT_SECONDS) for p in self.names]
        self.passed = 0
        self.bad = []

    def ended(self, cmd, status, output):
        ok = len(re.findall(r"^ok \d+ ", output, re.M))
        self.passed += ok
        if status != 0 or not ok:
            self.bad.append("== %s: %s\n%s" % (
                os.path.basename(cmd[-1]), proc.ending(status), output))

    def done(self):
        text = "%d" % self.passed
        if self.skipped:
            text += " (-%d)" % self.skipped
        if self.bad:
            text = "%d bad of %d" % (len(self.bad), len(self.names))
        return self.cell(not self.bad and self.passed > 0, text,
                         "\n".join(self.bad))


def row_work(row, args):
    if not args.quick and row.unit_tests():
        yield Units(row)
    for col in row.columns:
        if not args.quick or col.name in QUICK:
            yield Play(row, col, args)


def run_cells(chosen, args, width):
    """The cells of these rows, as they are done."""
    jobs = []
    for row in chosen:
        for work in row_work(row, args):
            work.todo = len(work.jobs)
            jobs += [(work, job) for job in work.jobs]
    for index, status, output, seconds in proc.run_pool(
            [job for _, job in jobs], width):
        work, job = jobs[index]
        work.ended(job[0], status, output)
        work.seconds += seconds
        work.todo -= 1
        if not work.todo:
            yield work.done()


# ---- the table --------------------------------------------------------------


def table(chosen, cells):
    names = ["unit tests"] + [c.name for c in PRODUCTION + TRACKING]
    names = [n for n in names if any(c.column == n for c in cells)]
    lines = [["compiler", "tool", "layout", *names]]
    for row in chosen:
        line = [row.compiler, row.tool, row.layout]
        for name in names:
            found = [c for c in cells
                     if c.row.name == row.name and c.column == name]
            line.append(("" if found[0].ok else "FAIL ") + found[0].text
                        if found else "")
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(
        text.ljust(width) for text, width in zip(line, widths)).rstrip()
        for line in lines)


def earlier():
    """The cells of earlier runs."""
    path = os.path.join(ROOT, OUT + ".csv")
    if not os.path.exists(path):
        return []
    known = {row.name: row for row in rows()}
    with open(path, encoding="utf-8", newline="") as file:
        return [Cell(known[name], line["column"], line["result"] == "ok",
                     line["done"], float(line["seconds"]), None)
                for line in csv.DictReader(file)
                if (name := "%(compiler)s %(tool)s %(layout)s" % line) in known]


def with_earlier(cell):
    """What is known of all cells, by whomever they were run."""
    return [c for c in earlier() if (c.row.name, c.column) !=
            (cell.row.name, cell.column)] + [cell]


def keep(cells, quick, where):
    """Write all down, after each cell, so that what is done is not lost: also
    what others do who run other rows at the same time.  The table."""
    path = os.path.join(ROOT, where)
    with open(path + ".csv", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cells = cells if quick else with_earlier(cells[-1])
        with open(path + ".csv", "w", encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(["compiler", "tool", "layout", "column", "result",
                          "done", "seconds"])
            for c in cells:
                out.writerow([c.row.compiler, c.row.tool, c.row.layout,
                              c.column, "ok" if c.ok else "FAIL", c.text,
                              "%.1f" % c.seconds])
        names = {c.row.name for c in cells}
        text = table([row for row in (quick_rows if quick else rows)()
                      if row.name in names], cells)
        with open(path + ".txt", "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return text


def keep_output(cell):
    """What a cell said that failed, in a file."""
    path = os.path.join(ROOT, OUT, "%s-%s.log" % (
        cell.row.files, cell.column.replace(" ", "-")))
    if not cell.ok:
        with open(path, "w", encoding="utf-8") as file:
            file.write(cell.output)
    elif os.path.exists(path):
        os.unlink(path)


def build(chosen, args):
    targets = [row.play(args.quick) for row in chosen]
    if not args.quick:
        targets += [t for row in chosen for t in row.unit_tests()]
        targets.append("build/libapb.so")
    status, output = proc.make(*targets)
    if status != 0 or proc.stopping():
        wrong = [line for line in output.splitlines()
                 if not re.match(r"  [A-Z]+ ", line)]
        print("\n".join(wrong[-30:]))
        print("matrix: the build failed: " + proc.ending(status))
        proc.leave(1)


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--build", default="")
    parser.add_argument("--fuzz", type=float)
    args = parser.parse_args()
    chosen = [row for row in (quick_rows if args.quick else rows)()
              if any(text.strip() in row.name for text in args.only.split(","))
              and args.build in ("", row.flavour)]
    if not chosen:
        proc.usage("matrix: no row is named %s"
                   % (args.build or args.only))
    if args.fuzz is None:
        args.fuzz = 0.2 if args.quick else 5
    return args, chosen


def main():
    args, chosen = parse()
    proc.catch_signals()
    os.makedirs(os.path.join(ROOT, OUT), exist_ok=True)
    width = proc.number("JOBS", proc.NCPU, 256)
    build(chosen, args)
    cells = []
    text, where = "", OUT + ("-quick" if args.quick else "")
    for cell in run_cells(chosen, args, width):
        cells.append(cell)
        print("%-4s %-28s %-18s%7.1f s  %s" % (
            "ok" if cell.ok else "FAIL", cell.row.name, cell.column,
            cell.seconds, cell.text), flush=True)
        if not cell.ok:
            for line in cell.output.splitlines()[:12]:
                print("     " + line)
        keep_output(cell)
        text = keep(cells, args.quick, where)
    print("\n" + text)
    bad = sum(not c.ok for c in cells)
    print("\n%d cells, %d failed: %s.txt, %s.csv" % (
        len(cells), bad, where, where))
    proc.leave(1 if bad or proc.stopping() or not cells else 0)


if __name__ == "__main__":
    proc.run_main(main)
