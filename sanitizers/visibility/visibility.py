#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make visibility`: the table of client bugs and tools, plain malloc beside apb.

  visibility.py                all cells, with build/visibility.{txt,csv,md}
  visibility.py --quick        apb alone: all scenes with ASan, some with others
  visibility.py PATTERN ...    scenes whose names match
  --tool TOOL                  of this tool only; may be given more than once
  --apb                        apb alone, compared with what is expected
  --expect                     write what plain malloc gives to expected/
  --readme                     write the table to README.md, too
  -v                           all fields

What plain malloc's cell has to be is in expected/TOOL.txt, a line for each
scene; there may be another one for apb, "NAME apb FIELDS", where it is to give
something else, with a comment that says why it is no worse.  apb's cell is
compared with plain malloc's as it was measured, or with what is expected where
that is not run.  Exit status 1 if a cell is not what it has to be.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))
sys.path.insert(0, HERE)

import proc     # noqa: E402  (the path first)
import reports  # noqa: E402
import table    # noqa: E402

SECONDS = 60
VALGRIND = ["valgrind", "-q", "--error-exitcode=99"]
# tool: (which executable, what it is run with)
TOOLS = {
    "address": ("address", []),
    "memory": ("memory", []),
    "thread": ("thread", []),
    "leak": ("leak", []),
    "valgrind": ("valgrind", VALGRIND + ["--leak-check=full",
                                         "--track-origins=yes"]),
    "helgrind": ("valgrind", VALGRIND + ["--tool=helgrind"]),
    "address-gcc": ("address-gcc", []),
}
ALLOCATORS = ("plain", "apb")
# Races are all that it looks for.
ONLY = {"helgrind": ["race-*", "ok-threads-*", "ok-forked", "dead-threads*",
                     "twice-threads", "leak-thread"]}
# What a tool has nothing to do with: out of memory, valgrind cannot go on, and
# it has no such options; the sizes of a delete are ASan's.
EXCEPT = {
    "valgrind": ["refused-no-memory", "ok-may-return-null",
                 "ok-sizes-not-compared"],
    "memory": ["ok-sizes-not-compared"],
    "thread": ["ok-sizes-not-compared"],
    "leak": ["ok-sizes-not-compared"],
}
# --quick: with other tools than ASan.
QUICK = {
    "memory": ["uninit-fresh-24", "uninit-recycled-512", "uninit-tail",
               "dead-read-24", "ok-zeroed", "ok-resized",
               "ok-threads-handed", "refused-calloc"],
    "thread": ["race-write-write", "race-use-free", "race-free-use",
               "dead-read-24", "ok-threads-recycled", "ok-threads-handed",
               "refused-malloc"],
    "leak": ["leak-24", "leak-cycle", "leak-chain", "ok-through-block",
             "ok-through-thread", "refused-no-memory"],
    "valgrind": ["over-write-13", "far-write-512", "dead-read-24", "twice-24",
                 "uninit-tail", "leak-cycle", "ok-through-block",
                 "refused-negative"],
    "helgrind": ["ok-threads-handed"],
    "address-gcc": ["over-write-13", "dead-threads", "twice-24"],
}


class Bad(Exception):
    """Something from outside is not as it has to be."""


def client(tool, allocator):
    return "build/visibility-%s-%s/client" % (TOOLS[tool][0], allocator)


def environment():
    """The tools with their defaults."""
    env = proc.environment()
    for name in list(env):
        if name.endswith("SAN_OPTIONS") or name == "VALGRIND_OPTS":
            del env[name]
    for tool in ("ASAN", "MSAN", "TSAN", "LSAN"):
        env[tool + "_SYMBOLIZER_PATH"] = "/usr/bin/llvm-symbolizer-19"
    return env


def run(tool, allocator, scene):
    """The fields of a cell."""
    command = TOOLS[tool][1] + [client(tool, allocator), scene]
    done = proc.run(command, timeout=SECONDS, env=environment())
    return reports.parse(tool, done[1], done[0])


def scenes(allocator):
    done = subprocess.run([client("address", allocator), "--list"], cwd=ROOT,
                          stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.split()


def choose(args, names):
    """All (tool, scene) that are asked for."""
    for pattern in args.patterns:
        if not fnmatch.filter(names, pattern):
            raise Bad("%s: no scene of that name" % pattern)
    if args.patterns:
        names = [name for name in names
                 if any(fnmatch.fnmatch(name, p) for p in args.patterns)]
    tools = args.tool or list(TOOLS)
    for tool in tools:
        if tool not in TOOLS:
            raise Bad("%s: must be one of %s" % (tool, " ".join(TOOLS)))
    for tool in tools:
        for name in names:
            if not any(fnmatch.fnmatch(name, p) for p in ONLY.get(tool, "*")):
                continue
            if name in EXCEPT.get(tool, ()):
                continue
            if not args.quick or name in QUICK.get(tool, names):
                yield tool, name


def measure(cells, allocators):
    """{(tool, scene): {allocator: fields}}"""
    found = {cell: {} for cell in cells}
    with concurrent.futures.ThreadPoolExecutor(proc.NCPU) as pool:
        running = {pool.submit(run, tool, allocator, scene):
                   (tool, scene, allocator)
                   for tool, scene in cells for allocator in allocators}
        for done in concurrent.futures.as_completed(running):
            tool, scene, allocator = running[done]
            found[tool, scene][allocator] = done.result()
    return found


def arguments():
    parser = argparse.ArgumentParser(
        description="client bugs, tools, plain malloc beside apb")
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("--tool", action="append")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--apb", action="store_true")
    parser.add_argument("--expect", action="store_true")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    return parser.parse_args()


def build(cells, allocators):
    targets = sorted({client(tool, allocator) for tool, _ in cells
                      for allocator in allocators} |
                     {client("address", allocators[0])})
    status, output = proc.make(*targets)
    if status != 0:
        raise Bad("make %s: %s\n%s" % (" ".join(targets), proc.ending(status),
                                       output[-3000:]))


def main():
    args = arguments()
    allocators = ("apb",) if args.quick or args.apb else ALLOCATORS
    if args.expect:
        allocators = ("plain",)
    build([(tool, None) for tool in args.tool or TOOLS if tool in TOOLS],
          allocators)
    cells = list(choose(args, scenes(allocators[0])))
    found = measure(cells, allocators)
    if args.expect:
        table.write_expected(found)
        return 0
    rows = table.judge(found)
    everything = not (args.patterns or args.tool or args.quick)
    bad = table.show(rows, args.verbose, everything)
    if args.readme and everything:
        table.write_readme(rows)
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Bad, table.Bad) as error:
        print("visibility: %s" % error, file=sys.stderr)
        sys.exit(2)
