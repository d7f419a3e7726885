#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make explore-bugs: is every planted ordering bug found?

Each patch in bugs/ beside this file says which scenario shows it (a line
"# Scenario: NAME").  apb-explore with the bug goes through that scenario's
schedules until something is found, and shrinks it.  The schedule is then
replayed: with the bug it must show the same, without it nothing.

Arguments: names of patches (all).  Environment: EXPLORE_SECONDS=60 at most,
for each.  Exit status: 0 all found, 1 not, 2 a failed build or a bad name.
"""

import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import proc

PATCHES = "fuzz/explore/bugs"
OUT = "build/explore/bugs"
PLAIN = "build/explore/apb-explore"
COLUMNS = "%-22s %-14s %-10s %8s %6s %6s %8s"
GRACE_SECONDS = 60


def scenario(name):
    with open(os.path.join(proc.ROOT, PATCHES, name + ".patch"),
              encoding="utf-8") as file:
        return re.search(r"^# Scenario: (\S+)", file.read(), re.M)[1]


def run(program, *options, seconds):
    done = subprocess.run(
        [os.path.join(proc.ROOT, program), *options], cwd=proc.ROOT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
        timeout=seconds + GRACE_SECONDS)
    return done.returncode, done.stdout


def replayed(program, schedule):
    """The oracle that it shows, or None."""
    status, output = run(program, "--quiet", "--replay", schedule, seconds=10)
    found = re.search(r"^FINDING: ([^:]+):", output, re.M)
    if status == 0 and "nothing found" in output:
        return None
    return found[1] if status == 1 and found else output


def try_bug(name, seconds):
    """None, or what is wrong; prints a row."""
    program = "%s/%s/apb-explore" % (OUT, name)
    start = time.monotonic()
    status, output = run(program, "--quiet", "--seconds", str(seconds),
                         "--out", "%s/%s" % (OUT, name), scenario(name),
                         seconds=seconds)
    taken = time.monotonic() - start
    found = re.search(r"^FINDING: ([^:]+):", output, re.M)
    kept = re.search(r"schedule: (\S+), (\d+) accesses, (\d+) preemptions",
                     output)
    runs = re.search(r"^%s +\d +\d+ +(\d+)" % scenario(name), output, re.M)
    if status != 1 or not found or not kept or not runs:
        print(COLUMNS % (name, scenario(name), "-", "", "", "",
                         "%.1f" % taken), flush=True)
        return "not found\n" + output
    print(COLUMNS % (name, scenario(name), found[1], runs[1], kept[2],
                     kept[3], "%.1f" % taken), flush=True)
    if (oracle := replayed(program, kept[1])) != found[1]:
        return "its schedule shows %s, not %s" % (oracle, found[1])
    if oracle := replayed(PLAIN, kept[1]):
        return "its schedule shows %s without the bug" % oracle
    return None


def main():
    seconds = proc.number("EXPLORE_SECONDS", 60, 10 ** 6)
    known = sorted(name[:-len(".patch")]
                   for name in os.listdir(os.path.join(proc.ROOT, PATCHES))
                   if name.endswith(".patch"))
    names = sys.argv[1:] or known
    if unknown := set(names) - set(known):
        proc.usage("%s: there is no such patch in %s"
                   % (" ".join(sorted(unknown)), PATCHES))
    status, output = proc.make(PLAIN, *("%s/%s/apb-explore" % (OUT, name)
                                        for name in names))
    if status != 0:
        print(output, file=sys.stderr)
        proc.usage("the build failed")
    print(COLUMNS % ("bug", "scenario", "found by", "runs", "acc.", "preem.",
                     "seconds"), flush=True)
    wrong = {name: why for name in names if (why := try_bug(name, seconds))}
    print("%d of %d planted ordering bugs found"
          % (len(names) - len(wrong), len(names)))
    for name, why in wrong.items():
        print("%s: %s" % (name, why))
    proc.leave(1 if wrong else 0)


if __name__ == "__main__":
    proc.run_main(main)
