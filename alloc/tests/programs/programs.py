#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Programs as tests: each is run without and with build/libapb-malloc.so
preloaded, and has to do the same, to the byte.

Usage: programs.py [--all] [--list] [--library FILE] [NAME...]

Without names: the quick set, programs that `make test` finds on any Debian;
with --all also those of `make test-programs`.  A line for each program, the
last one is "N passed, N failed"; exit status 1 if anything failed, 2 for bad
input.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time

import basics
import box
import more
import servers

SHOWN = 300


def usage(text):
    print("apb: " + text, file=sys.stderr)
    sys.exit(2)


def all_cases():
    """(function, whether it is in the quick set)"""
    return [(case, True) for case in basics.CASES] + \
        [(case, False) for case in more.CASES + servers.CASES]


def arguments(cases):
    parser = argparse.ArgumentParser(prog="programs.py")
    parser.error = usage
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--library", default=os.path.join(
        box.ROOT, "build", "libapb-malloc.so"))
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    names = [case.__name__ for case, _ in cases]
    for name in args.names:
        if name not in names:
            usage("no program '%s', but %s" % (name, " ".join(names)))
    args.library = os.path.realpath(args.library)
    if not os.path.exists(args.library):
        usage("%s is missing: make all" % args.library)
    return args


def excerpt(text, at):
    """@text around position @at."""
    begin = max(0, at - SHOWN // 2)
    return ("…" if begin else "") + text[begin:begin + SHOWN]


def compare(without, with_apb):
    """The first difference of two records."""
    for (what, a), (what_b, b) in zip(without, with_apb):
        box.expect(what == what_b, "runs '%s' instead of '%s'"
                   % (what_b, what))
        if a == b:
            continue
        a, b = repr(a), repr(b)
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y),
                  min(len(a), len(b)))
        raise box.Wrong("%s\nwithout: %s\nwith:    %s" % (
            what, excerpt(a, at), excerpt(b, at)))
    box.expect(len(without) == len(with_apb) > 0, "not all of it was run")


def run_case(case, library, folder):
    """What was seen, in words."""
    records = []
    for preload in (None, library):
        here = box.Box(folder, preload)
        try:
            case(here)
        except box.Wrong as error:
            raise box.Wrong("%s apb: %s" % (
                "with" if preload else "WITHOUT", error)) from error
        records.append(here.record)
    compare(*records)
    return "%d results the same" % len(records[0])


def main():
    cases = all_cases()
    args = arguments(cases)
    if args.list:
        for case, quick in cases:
            print("%-12s %s" % (case.__name__,
                                "make test" if quick else ""))
        return 0
    if args.names:
        chosen = [case for case, _ in cases if case.__name__ in args.names]
    else:
        chosen = [case for case, quick in cases if quick or args.all]
    passed = failed = 0
    top = tempfile.mkdtemp(prefix="apb-programs-")
    os.chmod(top, 0o755)
    try:
        for case in chosen:
            begin = time.monotonic()
            word, text, why = "ok", "", ""
            try:
                text = run_case(case, args.library,
                                os.path.join(top, case.__name__))
                passed += 1
            except box.Wrong as error:
                word, why = "FAIL", str(error)
                failed += 1
            except box.Missing as error:
                word, why = "FAIL", "%s is not installed" % error
                failed += 1
            print("%-4s %-20s%6.1f s  %s" % (
                word, case.__name__, time.monotonic() - begin, text))
            if why:
                print("     " + why.replace("\n", "\n     "))
            sys.stdout.flush()
    finally:
        shutil.rmtree(top, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
