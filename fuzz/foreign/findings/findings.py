#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compile and run the programs that show findings in other allocators.

usage: findings.py [LIBRARY...]

A line for each program, with the libraries (all of them, or those named) in
which it shows its finding, and what it printed there.  `list` says where it has
to; exit status 1 if a program shows nothing where it should, or something where
it is not said to, 2 if a library or the compiler is missing.
"""

import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "bench"))

import common  # noqa: E402  (bench/ has to be in the path first)

BUILD = os.path.join(ROOT, "build", "foreign", "findings")
APB = os.path.join(ROOT, "build", "libapb-malloc.so")
SECONDS = 60


def fail(text):
    print("findings: " + text, file=sys.stderr)
    sys.exit(2)


def libraries(names):
    """Name to path; glibc's is empty, as nothing has to be preloaded."""
    known = {"glibc": ""}
    known.update((name, find(file)) for name, file, _package in common.PEERS)
    known["apb"] = APB if os.path.exists(APB) else None
    for name in names or known:
        if name not in known:
            fail("%s: not one of %s" % (name, ", ".join(known)))
        if known[name] is None:
            fail("%s: the library is missing" % name)
    return {name: known[name] for name in names or known}


def find(file):
    paths = [os.path.join(folder, file) for folder in common.LIBDIRS]
    return next(filter(os.path.exists, paths), None)


def expected():
    """Program to the libraries that it shows something in."""
    table = {}
    with open(os.path.join(HERE, "list"), encoding="ascii") as file:
        for line in file:
            words = line.partition("#")[0].split()
            if words:
                table[words[0]] = set(words[1:])
    return table


def compile_program(name):
    program = os.path.join(BUILD, name)
    # The compiler knows malloc(): it would drop a pair with free(), and
    # assume what it returns.
    done = subprocess.run(
        ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror",
         "-fno-builtin", "-pthread", "-o", program,
         os.path.join(HERE, name + ".c")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        fail("%s.c does not compile:\n%s" % (name, done.stderr))
    return program


def run(program, library):
    """Whether it shows its finding, and its words."""
    done = subprocess.run(
        [program], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        errors="replace", timeout=SECONDS, check=False,
        env=common.environment({"LD_PRELOAD": common.plain(library)}
                               if library else {}))
    words = done.stdout.strip()
    if done.returncode < 0:
        words = "signal %d" % -done.returncode
    return done.returncode == 1, words


def main():
    where = libraries(sys.argv[1:])
    table = expected()
    sources = {os.path.basename(path)[:-2]
               for path in glob.glob(os.path.join(HERE, "*.c"))}
    if sources != set(table):
        fail("list and programs differ: %s"
             % ", ".join(sorted(sources ^ set(table))))
    os.makedirs(BUILD, exist_ok=True)
    wrong = runs = 0
    for name in sorted(table):
        program = compile_program(name)
        for library, path in where.items():
            shows, words = run(program, path)
            runs += 1
            if shows:
                print("%-18s %-10s %s" % (name, library, words))
            if shows != (library in table[name]):
                wrong += 1
                print("WRONG: %s %s in %s: %s" % (
                    name, "shows" if shows else "shows nothing", library,
                    re.sub(r"\s+", " ", words)))
    print("%d programs, %d libraries, %d runs, %d wrong"
          % (len(table), len(where), runs, wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
