#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Style check: format, licence lines, lengths, what may stand where.

Prints what is wrong, a line each; exit status 0 if nothing is, else 1.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TOP = {"Makefile", "README.md", "LICENSE", "alloc", "bench", "corpus", "fuzz",
       "sanitizers"}
NOT_OURS = {".git", "build", "__pycache__"}
MAX_LINES = 800
SPDX = "SPDX-License-Identifier: MIT"
# The allocator's own sources: a tool does not look at them.
OWN = re.compile(r"alloc/(?!tests|shim|python)\w+/\w+\.c$")
CONFLICT = re.compile(r"(<{7}|>{7}) ")
# Inputs are no text, and the licence is not under itself.
NO_SPDX = re.compile(r"LICENSE$|corpus/(seeds|regressions)/")


def sources():
    for base, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in NOT_OURS)
        # in a second working tree .git is a file
        for name in sorted(set(names) - NOT_OURS):
            yield os.path.relpath(os.path.join(base, name), ROOT)


def check_top():
    for name in sorted(os.listdir(ROOT)):
        if name not in TOP | NOT_OURS and not name.startswith("."):
            yield "%s: does not belong at the top of the tree" % name


def check_lines(path):
    if NO_SPDX.match(path):
        return
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            lines = file.read().split("\n")
    except UnicodeDecodeError:
        yield "%s: not UTF-8 text" % path
        return
    if not any(SPDX in line for line in lines[:3]):
        yield "%s:1: no line %s at the beginning" % (path, SPDX)
    if len(lines) - 1 > MAX_LINES:
        yield "%s: %d lines, at most %d" % (path, len(lines) - 1, MAX_LINES)
    for number, line in enumerate(lines, 1):
        if line.endswith((" ", "\t")) and not path.endswith(".patch"):
            yield "%s:%d: white space at the end" % (path, number)
        if CONFLICT.match(line):
            yield "%s:%d: a merge was not resolved" % (path, number)
        if not path.endswith((".c", ".cc")):
            continue
        if path.startswith("alloc/") and re.match(r"\s*#\s*if", line):
            yield "%s:%d: conditional outside a header" % (path, number)
        if re.match(r'\s*#\s*include\s*["<].*\.cc?[">]', line):
            yield "%s:%d: a .c file is included" % (path, number)


def check_own(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        includes = re.findall(r'^#include ["<](.*)[">]', file.read(), re.M)
    if includes[:1] != ["uninstrumented.h"]:
        yield "%s: does not include uninstrumented.h first" % path
    if includes[-1:] != ["instrumented.h"]:
        yield "%s: does not include instrumented.h last" % path


def check_format(paths):
    done = subprocess.run(
        ["clang-format-19", "--style=file", "--dry-run", "-Werror", *paths],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    wrong = [line for line in done.stderr.splitlines() if " error: " in line]
    if done.returncode and not wrong:
        yield done.stderr.strip()
    yield from wrong


def main():
    paths = list(sources())
    wrong = list(check_top())
    for path in paths:
        wrong += check_lines(path)
        if OWN.match(path):
            wrong += check_own(path)
    wrong += check_format([p for p in paths if p.endswith((".c", ".cc", ".h"))])
    for line in wrong:
        print(line)
    print("style: %d files, %d complaints" % (len(paths), len(wrong)))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
