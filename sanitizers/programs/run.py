#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make san-programs: real programs in the build with AddressSanitizer.

Each is built from Debian's source package, linked to apb (its malloc wrapped)
and, beside it, to ASan's own malloc; its own tests are run; then a bug is
planted, an overflow by one byte, and both report it: kind, size and stacks have
to be as expected, and apb's the same as the tool's own.

Exit status 0: all passed and found; 1: not; 2: something is missing.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import time

import build
import recipes
import reports
import sources

TEST_SECONDS = 900
SHOWN = 12


def arguments():
    parser = argparse.ArgumentParser(prog="sanitizers/programs/run.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument("names", nargs="*", metavar="PROGRAM")
    parser.error = fail
    args = parser.parse_args()
    tested = [name for name, r in recipes.ALL.items() if r.tests]
    for name in args.names:
        if name not in recipes.ALL:
            fail("no program '%s', but %s"
                 % (name, " ".join(sorted(recipes.ALL))))
    args.names = args.names or tested
    return args


def fail(text):
    print("san-programs: %s" % text, file=sys.stderr)
    sys.exit(2)


def environment(test, places):
    """Leaks are looked for, too."""
    env = {name: value for name, value in os.environ.items()
           if name in ("PATH", "HOME", "TMPDIR")}
    env.update(LC_ALL="C", ASAN_OPTIONS="detect_leaks=1:exitcode=86",
               ASAN_SYMBOLIZER_PATH=shutil.which("llvm-symbolizer-19") or "")
    env.update((name, value.format(**places))
               for name, value in test.env.items())
    return env


def execute(builder, recipe, test, folder, tree):
    """(status, output, seconds of CPU time)"""
    work = builder.place(recipe, "work")
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    places = {"bin": folder, "tree": tree, "work": work}
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            [word.format(**places) for word in test.command],
            cwd=test.cwd.format(**places), env=environment(test, places),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=TEST_SECONDS, check=False,
            text=True, errors="replace")
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as err:
        status, output = "no end", str(err)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    return status, output, (end.ru_utime + end.ru_stime - begin.ru_utime -
                            begin.ru_stime)


def count(test, output):
    """What passed, by what the test prints; 0: nothing that we know of."""
    if test.whole and test.whole not in output:
        return 0
    if test.passed is None:
        return 1
    found = re.findall(test.passed, output, re.M)
    numbers = [int(text) for text in found if text.isdigit()]
    return sum(numbers) if numbers else len(found)


def run_tests(builder, recipe, folder, tree):
    """(what passed, seconds, [what did not])"""
    passed, seconds, bad = 0, 0.0, []
    for test in recipe.tests:
        status, output, took = execute(builder, recipe, test, folder, tree)
        seconds += took
        good = count(test, output)
        if status == 0 and good:
            passed += good
            continue
        bad.append("%s: status %s\n%s" % (
            test.name, status, "\n".join(output.splitlines()[-SHOWN:])))
    return passed, seconds, bad


def wrong(report, bug):
    """How it differs from what was planted; "" if it does not."""
    for name in ("kind", "access", "where"):
        if getattr(report, name) != getattr(bug, name):
            return "%s is %s, not %s" % (name, getattr(report, name),
                                         getattr(bug, name))
    if bug.at not in report.at[:3]:
        return "at %s, not %s" % (report.at[:3], bug.at)
    if bug.born not in report.born[:2]:
        return "allocated by %s, not %s" % (report.born[:2], bug.born)
    return ""


def plant(builder, recipe):
    """{kind: (report, what is wrong with it)}"""
    folders = builder.programs(recipe, planted=True)
    tree = builder.place(recipe, "planted")
    test = recipe.test(recipe.bug.test)
    found = {}
    for kind in build.KINDS:
        _, output, _ = execute(builder, recipe, test, folders[kind], tree)
        report = reports.Report(output)
        found[kind] = report, wrong(report, recipe.bug)
    return found


def one(builder, recipe):
    """A row of the table, and texts of what is wrong."""
    tree = builder.tree(recipe)
    folders = builder.programs(recipe)
    results, bad = {}, []
    for kind in build.KINDS:
        passed, seconds, failed = run_tests(builder, recipe, folders[kind],
                                            tree)
        results[kind] = passed, seconds
        bad += ["%s, %s: %s" % (recipe.name, kind, text) for text in failed]
    if results["apb"][0] != results["asan"][0]:
        bad.append("%s: %d passed with apb, %d without" % (
            recipe.name, results["apb"][0], results["asan"][0]))
    found = plant(builder, recipe)
    for kind, (report, text) in found.items():
        if text:
            bad.append("%s, planted bug, %s: %s\n%s" % (
                recipe.name, kind, text,
                "\n".join(report.text.splitlines()[:60])))
    differs = found["apb"][0].same(found["asan"][0])
    if differs:
        bad.append("%s, apb's report differs from ASan's: %s"
                   % (recipe.name, differs))
    bug = recipe.bug
    row = [recipe.name, builder.sources.version(recipe.package),
           "%d" % results["apb"][0], "%.1f" % results["apb"][1],
           "%.1f" % results["asan"][1],
           "%s, %s" % (bug.access, bug.where), "%s / %s" % (bug.at, bug.born),
           "same" if not found["apb"][1] and not differs else "NO"]
    return row, bad


HEAD = ["program", "version", "tests", "s, apb", "s, ASan", "planted bug",
        "at / allocated in", "reported"]


def table(rows):
    widths = [max(len(row[i]) for row in [HEAD] + rows)
              for i in range(len(HEAD))]
    for row in [HEAD] + rows:
        print("  ".join(cell.ljust(width)
                        for cell, width in zip(row, widths)).rstrip())


def main():
    args = arguments()
    builder = build.Builder(args.build, args.jobs)
    for path in builder.allocator("apb"):
        if not os.path.exists(path.lstrip("@")):
            fail("%s is missing: make san-programs" % path)
    rows, bad = [], []
    try:
        for name in args.names:
            recipe = recipes.ALL[name]
            begin = time.monotonic()
            if args.compile_only or not recipe.tests:
                builder.programs(recipe)
                continue
            row, texts = one(builder, recipe)
            rows.append(row)
            bad += texts
            print("%-4s %s, %.0f s" % ("FAIL" if texts else "ok", name,
                                       time.monotonic() - begin), flush=True)
    except sources.Failed as err:
        fail(str(err))
    for text in bad:
        print("FAILED: " + text.replace("\n", "\n    "))
    if rows:
        print()
        table(rows)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
