#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench: apb beside its peers, all suites in one interleaved run.

bench/README.md says what the suites are.  Tables go to the terminal, every
value to build/bench/*.csv, plots to build/bench/*.png and *.svg.  Status 1 if
something could not be measured with apb.
"""

import argparse
import os
import sys
import tempfile

import common
import frag
import micro
import plots
import programs
import report
import suite as suites_module
import traces

SUITES = {
    "alloc": micro.alloc_suite,
    "threads": micro.threads_suite,
    "traces": traces.traces_suite,
    "programs": programs.programs_suite,
    "python": programs.python_suite,
    "frag": frag.frag_suite,
}


def arguments():
    parser = argparse.ArgumentParser(prog="bench/run.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=common.positive, default=5)
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--peers", default="", metavar="NAME=PATH...")
    parser.add_argument("--only", default="", metavar="NAME...",
                        help="rows or allocators: these and no others")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument("suites", nargs="+", metavar="SUITE")
    return common.parse(parser)


def restrict(suites, words):
    """Keep the rows and allocators that are named, if any is."""
    if not words:
        return suites
    rows = {row.name for suite in suites for row in suite.rows}
    names = {subject.name for suite in suites for row in suite.rows
             for subject in row.subjects}
    for word in words:
        if word not in rows | names:
            common.fail("no row or allocator '%s'; rows: %s; allocators: %s"
                        % (word, " ".join(sorted(rows)),
                           " ".join(sorted(names))))
    for suite in suites:
        if rows & set(words):
            suite.rows = [row for row in suite.rows if row.name in words]
        for row in suite.rows:
            if names & set(words):
                row.subjects = [subject for subject in row.subjects
                                if subject.name in words]
    return [suite for suite in suites if suite.rows]


def main():
    args = arguments()
    for name in args.suites:
        if name not in SUITES:
            common.fail("no suite '%s', but %s" % (name, " ".join(SUITES)))
    allocators = [common.apb(args.build)] + common.peers(args.peers)
    folder = os.path.join(args.build, "bench")
    machine = common.machine(common.choose_cpu(args.cpu))

    with tempfile.TemporaryDirectory(prefix="apb-bench-") as scratch:
        args.scratch = scratch
        suites = restrict([SUITES[name](args, allocators)
                           for name in args.suites], args.only.split())
        suites_module.measure(suites, args.rounds)

    print(machine)
    print("%d round%s%s" % (args.rounds, "" if args.rounds == 1 else "s",
                            ", quick: small work" if args.quick else ""))
    report.tables(suites, args.rounds)
    paths = report.write_csv(folder, suites, machine)
    if not args.no_plots:
        paths.append("%d plots, %s/*.png and *.svg"
                     % (len(plots.plot(folder, suites)), folder))
    print()
    bad = report.failures(suites)
    print("written: %s" % ", ".join(paths))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    common.run_main(main)
