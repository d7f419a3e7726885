#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bugs-reproduce: does a C program show what is planted?

For each bug that the corpus shows: the input that does, minimised, written as a
C program, compiled against the faulty allocator and run.  The same program is
then run with the allocator as it is, which it must not fail in.  Bugs that take
threads which really run (# Target: apb-threads) have no input.

Environment:
    BUG=NN             this bug only; or several: "03 17"
    BUGS_SECONDS=20    at most, to minimise

Exit status: 0 all have a program that shows them, 1 not.
"""

import os
import re
import resource
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import bugs
import engines
import plant
import proc
import reproducer
import triage

CHUNK = 20
# What else is linked of a planted allocator, and is out of date then.
PROGRAMS = [*plant.FUZZERS.values(), *plant.SHIM_FUZZERS.values(),
            plant.THREADS]
ROW = "%-32s %-26s %5s %4s %6s  %s"


def builds(name):
    folder = os.path.join(plant.OUT, name)
    return reproducer.builds(folder, folder + "/release/apb-replay")


def build(name):
    sources = plant.plant(name, PROGRAMS)
    targets = [path for build in builds(name)
               for path in (build.replay, build.library)]
    # make cannot see that others are to be linked than before
    for target in targets:
        engines.unlink(target)
    status, output = proc.make(
        "bug-targets", variables=[
            "BUGS=" + name, "BUG_TARGETS=" + " ".join(targets),
            "%s.changed=%s" % (name, " ".join(sources))])
    if proc.stopping():
        raise triage.Interrupted
    if status != 0:
        print(output[-2000:], file=sys.stderr)
        proc.usage("the build failed")


def failing(name):
    """An input of the corpus that shows it, or None."""
    inputs = engines.files(*engines.SEEDS)
    for build in builds(name):
        parts = len(inputs) // CHUNK + 1
        for first in range(parts):
            _status, output = proc.run(
                [build.replay, "--timeout", "3", *inputs[first::parts]],
                timeout=300)
            if match := re.search(r"^in (.*)$", output, re.M):
                return match[1]
            if proc.stopping():
                raise triage.Interrupted
    return None


def reproduce(name, seconds):
    """A row of the table, and whether the program shows the bug."""
    build(name)
    found = failing(name)
    if not found:
        return ROW % (name, "-", "", "", "", "no input of the corpus"), False
    folder = os.path.join(plant.OUT, name, "findings")
    shutil.rmtree(triage.path_of(folder), ignore_errors=True)
    store = triage.Store(folder, builds(name))
    finding = store.add(found, "corpus")
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    store.complete(finding, seconds)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken = end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime
    program = finding.path("program.c")
    verified = bool(finding.meta.get("verified"))
    words = finding.meta.get("how") or finding.meta.get("no_program") or "-"
    if verified:
        words = clean(program) or words
    return ROW % (
        name, finding.signature["oracle"], triage.operations(
            finding.path("input")), finding.operations(), "%.1f" % taken,
        ("" if verified else "NOT SHOWN: ") + words), verified


def clean(program):
    """What is said of the program if the allocator as it is fails in it."""
    for right in reproducer.builds():
        how = reproducer.shows(right, program)
        if how:
            return "SHOWN, BUT ALSO WITHOUT THE BUG (%s): %s" % (right.name,
                                                                  how)
    return ""


def main():
    seconds = proc.number("BUGS_SECONDS", 20, 10 ** 6)
    names = [name for name in bugs.choose_bugs()
             if not plant.target(name)]
    proc.catch_signals()
    os.makedirs(plant.path(plant.OUT), exist_ok=True)
    status, output = proc.make("triage-targets")
    if proc.stopping():
        proc.leave(1)
    if status != 0:
        print(output[-2000:], file=sys.stderr)
        proc.usage("the build failed")
    plant.say(ROW % ("bug", "oracle", "ops", "left", "cpu", "the C program"))
    shown = 0
    for name in names:
        try:
            row, verified = reproduce(name, seconds)
        except triage.Interrupted:
            plant.say("interrupted")
            proc.leave(1)
        plant.say(row)
        shown += verified
    plant.say("%d of %d planted bugs shown by a C program" % (shown,
                                                             len(names)))
    proc.leave(0 if shown == len(names) else 1)


if __name__ == "__main__":
    proc.run_main(main)
