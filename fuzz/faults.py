#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make faults`: every input of the corpus with every call of the system that it
makes failing in turn.

From the environment: JOBS, and FAULTS: once (one call fails), from (all behind
it as well), sanitizers (one call, under ASan and UBSan), or all of these.  What
is done is noted in build/faults: ended early, it goes on from there, and a
program that has changed begins anew.  Exit status: 0 clean, 1 a finding, 2 bad
values or something missing.
"""

import os

import engines
import proc

DONE = "build/faults"
RELEASE, SANITIZERS = "build/fuzz/apb-replay", "build/test/apb-replay"
MODES = {
    "once": ("one call failing, release", RELEASE, []),
    "from": ("all calls from one on failing, release", RELEASE, ["--from"]),
    "sanitizers": ("one call failing, sanitizers", SANITIZERS, []),
}


def main():
    jobs = proc.number("JOBS", proc.NCPU, 256)
    which = os.environ.get("FAULTS", "once")
    if which not in (*MODES, "all"):
        proc.usage("FAULTS=%s: must be %s or all" % (which, ", ".join(MODES)))
    modes = list(MODES) if which == "all" else [which]
    proc.catch_signals()
    if proc.make(*{MODES[mode][1] for mode in modes}, show=True)[0] != 0:
        if proc.stopping():
            proc.leave(0)
        proc.usage("the build failed")
    os.makedirs(os.path.join(proc.ROOT, DONE), exist_ok=True)
    found = False
    for mode in modes:
        words, program, options = MODES[mode]
        print("apb: " + words, flush=True)
        status, _output = proc.run(
            [program, "--each-fault", "--jobs", str(jobs), "--done",
             "%s/%s" % (DONE, mode), *options, *engines.seed_folders()],
            show=True)
        if proc.stopping():
            print("apb: interrupted: the next make faults goes on from here")
            proc.leave(1 if found else 0)
        if status not in (0, 1):
            proc.usage("%s: %s" % (program, proc.ending(status)))
        found = found or status == 1
    proc.leave(1 if found else 0)


if __name__ == "__main__":
    proc.run_main(main)
