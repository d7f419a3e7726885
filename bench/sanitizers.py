#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-sanitizers: apb as it is under ASan beside ASan's own malloc.

The same programs, compiled with -fsanitize=address, call malloc() (ASan's) or
apb_malloc(); both keep freed blocks in a quarantine of the same number of
bytes.  In every round each workload is run with both, in turn.  Measured are
time and the peak of resident memory, shadow included; the bars: neither is
more than that of ASan's own.  bench/README.md tells more.

Exit status 0: measured, and within the bars; 1: not; 2: bad input.
"""

import argparse
import os
import random
import sys
import tempfile

import common
import inputs
import programs
import report
import suite as suites_module
from suite import RSS, TIME, Row, Subject, Suite

sys.path.append(os.path.join(common.ROOT, "sanitizers", "programs"))

import build  # pylint: disable=wrong-import-position
import recipes  # pylint: disable=wrong-import-position
import sources  # pylint: disable=wrong-import-position
import targets  # pylint: disable=wrong-import-position

QUARANTINE_MIB = 256
ONE_THREAD = (
    ("pair", "malloc + free of 64 B"),
    ("batch", "1,000 x 48 B, freed in order"),
    ("churn-512", "random churn, 1-512 B, 10,000 live"),
    ("churn-8K", "random churn, 1-8,192 B, 10,000 live"),
    ("realloc", "64 strings grow by 1-64 B up to 4 KiB; per realloc"),
    ("large", "4 live blocks of 64 KiB to 8 MiB, each page written"),
    ("burst", "10-50 MiB of 16-256 B, all freed, and again"),
    ("tree", "trees of 32,767 nodes built, walked, freed, by recursion"),
)
THREADS = (
    ("larson-2", "2 threads replace 16-512 B, successors inherit; 1,000 live"),
    ("xfer", "one thread allocates 64 B, another frees"),
)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/sanitizers.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=common.positive, default=5)
    parser.add_argument("--quarantine", type=common.positive, metavar="MIB",
                        default=QUARANTINE_MIB)
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--only", default="", metavar="ROW...")
    parser.add_argument("--quick", action="store_true")
    return common.parse(parser)


def settings(mib):
    """What both have in their environment; leaks are looked for by neither,
    as most programs here end with blocks they did not free."""
    return {"ASAN_OPTIONS": "quarantine_size_mb=%d:detect_leaks=0" % mib,
            "APB_OPTIONS": "quarantine=%dm" % mib}


class MicroRow(Row):
    """A workload of bench/alloc.c: nanoseconds per operation, of the median
    chunk, as a quarantine is slow by fits; or of bench/threads.c (@cpu None):
    seconds of CPU time, of all threads and chunks."""

    def __init__(self, suite, name, text, subjects, args, cpu):
        super().__init__(suite, name, text, subjects)
        self.words = (["--chunks", "2"] if args.quick else []) + [name]
        self.args = args
        self.cpu = cpu

    def measure(self, subject, last):
        out = os.path.join(self.args.scratch, "output")
        allowed = os.sched_getaffinity(0)
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})
        try:
            used = programs.launched(common.run(programs.launch_command(
                self.args.build, settings(self.args.quarantine),
                [subject.program, *self.words], out=out),
                common.environment()))
        finally:
            os.sched_setaffinity(0, allowed)
        if self.cpu is None:
            return {TIME: used[TIME], RSS: used[RSS]}
        fastest, middle, _ = common.read(out).split()
        return {TIME: float(middle), "time_fastest": float(fastest),
                RSS: used[RSS]}


def subjects(args, program):
    return [Subject(name, role, program=common.need(os.path.join(
        args.build, "bench", "san-%s-%s" % (program, form)),
        "bench-sanitizers"))
        for name, role, form in (("apb", "apb", "apb"),
                                 ("asan", "peer", "peer"))]


def micro_suite(args):
    cpu = common.choose_cpu(args.cpu)
    rows = [MicroRow("sanitizers", name, text, subjects(args, "alloc"), args,
                     cpu) for name, text in ONE_THREAD]
    return Suite("sanitizers", "workloads under ASan", "ns", rows,
                 (TIME, RSS), digits=1, notes=(
                     "CPU time of the median chunk of operations; peak "
                     "resident memory.",))


def threads_suite(args):
    rows = [MicroRow("san-threads", name, text, subjects(args, "threads"),
                     args, None) for name, text in THREADS]
    return Suite("san-threads", "threads under ASan", "s", rows, (TIME, RSS),
                 digits=2, notes=(
                     "CPU seconds, user + system, of all threads; peak "
                     "resident memory.",))


# Name, text, recipe, program of it.
PROGRAMS = (
    ("lua", "Lua: tables and strings", "lua", "lua"),
    ("json", "jansson's json_process: a document of %d MiB", "jansson",
     "bin/json_process"),
)


def document(path, mib):
    """A JSON text, always the same."""
    rng = random.Random(1)
    size = 0
    with open(path, "w", encoding="ascii") as stream:
        stream.write("[")
        while size < mib << 20:
            size += stream.write(targets.json_text(rng) + ",\n")
        stream.write("0]\n")
    return path


def programs_suite(args, wanted):
    """Real programs, linked to each; built if any of them is wanted."""
    rows = []
    mib = 2 if args.quick else 8
    builder = build.Builder(args.build, os.cpu_count())
    for name, text, recipe, program in PROGRAMS:
        if wanted and name not in wanted:
            continue
        try:
            folders = builder.programs(recipes.ALL[recipe])
        except sources.Failed as err:
            common.fail(str(err))
        found = [Subject(name, role, allocator=None,
                         program=os.path.join(folders[form], program),
                         settings=settings(args.quarantine))
                 for name, role, form in (("apb", "apb", "apb"),
                                          ("asan", "peer", "asan"))]
        command, stdin, env = [program], None, {}
        if name == "lua":
            command += [inputs.script("tables.lua"),
                        "50" if args.quick else "200"]
        else:
            text = text % mib
            command += ["--env"]
            env = {"JSON_SORT_KEYS": "1"}
            stdin = document(os.path.join(args.scratch, "document"), mib)
        rows.append(programs.ProgramRow("san-programs", name, text, found,
                                        args, command, settings=env,
                                        stdin=stdin))
    return Suite("san-programs", "programs under ASan", "s", rows, (TIME, RSS),
                 digits=3, notes=(
                     "Seconds, user + system; peak resident memory.",))


def restrict(suites, words):
    rows = [row.name for suite in suites for row in suite.rows]
    known = [name for name, *_ in ONE_THREAD + THREADS + PROGRAMS]
    for word in words:
        if word not in rows:
            common.fail("no row '%s', but %s" % (word, " ".join(known)))
    for suite in suites:
        suite.rows = [row for row in suite.rows
                      if not words or row.name in words]
    return [suite for suite in suites if suite.rows]


def verdict(suites):
    """A line for each bar; whether all hold."""
    held = True
    print()
    for metric, what in ((TIME, "time"), (RSS, "memory")):
        found = [(ratio, row.name) for suite in suites
                 for row in suite.rows
                 for ratio in report.ratios([row], metric).get("asan", [])]
        if not found:
            print("%s: not measured" % what)
            held = False
            continue
        mean = common.geomean([ratio for ratio, _ in found])
        over = ["%s %.2f" % (name, ratio) for ratio, name in found
                if ratio > 1]
        print("%s, apb / ASan's: geometric mean %.3f, %d of %d rows within "
              "1.0%s" % (what, mean, len(found) - len(over), len(found),
                         "; not: " + ", ".join(over) if over else ""))
        held = held and not over
    return held


def main():
    args = arguments()
    folder = os.path.join(args.build, "bench")
    common.need(os.path.join(folder, "launch"), "bench-sanitizers")
    machine = common.machine(common.choose_cpu(args.cpu))
    with tempfile.TemporaryDirectory(prefix="apb-bench-") as scratch:
        args.scratch = scratch
        wanted = args.only.split()
        suites = restrict([micro_suite(args), threads_suite(args),
                           programs_suite(args, wanted)], wanted)
        suites_module.measure(suites, args.rounds)
    print(machine)
    print("%d round%s, quarantine of %d MiB%s" % (
        args.rounds, "" if args.rounds == 1 else "s", args.quarantine,
        ", quick: small work" if args.quick else ""))
    report.tables(suites, args.rounds)
    paths = report.write_csv(folder, suites, machine,
                             "sanitizers-summary")
    bad = report.failures(suites)
    held = verdict(suites)
    print("written: %s" % ", ".join(paths))
    sys.exit(0 if held and not bad else 1)


if __name__ == "__main__":
    common.run_main(main)
