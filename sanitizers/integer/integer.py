#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make integer`: integers in alloc/ that wrap, or that a conversion changes,
though meant.txt does not say that it is meant.

    integer.py [--quick]

Runs the corpus on both kernels, a short fuzz, and the unit tests, with the
allocator compiled with clang's -fsanitize=integer,implicit-conversion,
nullability,undefined; a line for each place, and for each line of meant.txt that
means nothing.  --quick: the corpus alone.  Exit status 1 if there is any.
"""

import argparse
import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import engines  # noqa: E402  (fuzz/ has to be in the path first)
import proc     # noqa: E402

OUT = "build/integer"
MEANT = "sanitizers/integer/meant.txt"
SECONDS = 300
REPORT = re.compile(r"^(\S+?):(\d+):(\d+): runtime error: (.*)$", re.M)


def reports():
    """{place: what was told first}"""
    found = {}
    for path in sorted(glob.glob(os.path.join(ROOT, OUT, "report.*"))):
        with open(path, encoding="utf-8", errors="replace") as file:
            for name, line, col, text in REPORT.findall(file.read()):
                found.setdefault((name, int(line), int(col)), text)
        os.unlink(path)
    return found


def stale():
    """Lines of the list that excuse nothing: clang says nothing of them."""
    code = "".join(
        open(path, encoding="utf-8").read() for path in glob.glob(
            os.path.join(ROOT, "alloc/**/*.[ch]"), recursive=True))
    with open(os.path.join(ROOT, MEANT), encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = re.findall(r"\w+", line)
            if line.startswith("fun:") and not re.search(
                    r"\b%s\(" % words[1], code):
                yield number, "no function %s" % words[1]
            # a section is a glob: {this,that}
            elif line.startswith("[") and "|" in line:
                yield number, "no sanitizer has | in its name"


def programs(quick):
    play = [OUT + "/apb-play", "--fuzz", "0" if quick else "10"]
    inputs = engines.files(*engines.SEEDS)
    yield [*play, "--kernel", "simulated", *inputs]
    yield [*play, "--kernel", "real", *inputs]
    if quick:
        return
    for source in sorted(glob.glob(os.path.join(ROOT,
                                                "alloc/tests/test_*.c"))):
        yield ["%s/unit/%s" % (OUT, os.path.basename(source)[:-2])]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    proc.catch_signals()
    status, output = proc.make(
        OUT + "/apb-play" if args.quick else "integer-targets")
    if status != 0:
        print(output[-3000:])
        proc.leave(1)
    reports()
    bad = ran = 0
    # in files: some tests look at what stderr gets
    env = proc.environment(UBSAN_OPTIONS="log_path='%s'" % os.path.join(
        ROOT, OUT, "report"))
    for cmd in programs(args.quick):
        status, output = proc.run(cmd, SECONDS, env)
        if proc.stopping():
            proc.leave(1)
        ran += 1
        if status != 0:
            bad += 1
            print("%s: %s\n%s" % (cmd[0], proc.ending(status), output[-2000:]))
    found = reports()
    for (name, line, col), text in sorted(found.items()):
        print("%s:%d:%d: %s" % (name, line, col, text))
    useless = list(stale())
    for number, text in useless:
        print("%s:%d: %s" % (MEANT, number, text))
    print("%d programs, %d failed, %d places" % (ran, bad, len(found)))
    proc.leave(1 if found or bad or useless else 0)


if __name__ == "__main__":
    proc.run_main(main)
