#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a Python list of 50 numbers asks malloc() for.

    list_profile.py [--lib build/libapb-record.so]

Runs an interpreter that builds such a list and one that does not, with
CPython's own allocator for small objects and without it, and prints what
each run asks for in all, and what the list makes of it: the difference.
"""
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from launch import arguments, fixed_addresses

SCRIPT = """
import sys
if sys.argv[1] == "list":
    numbers = [1000 * i for i in range(50)]
"""
ROW = re.compile(r"^ {2} *(\S.*?) +(\d+) +[\d.]+ % +(\d+) +[\d.]+ %")


def profile(lib, what, malloc):
    """class -> (requests, bytes), as the recorder prints them."""
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONHASHSEED": "0",
           "PYTHONMALLOC": malloc, "LD_PRELOAD": lib,
           "APB_RECORD_PROFILE": "1", "APB_RECORD_MAX": "1"}
    with tempfile.TemporaryDirectory() as work:
        done = subprocess.run(
            ["/usr/bin/python3", "-s", "-S", "-c", SCRIPT, what], cwd=work,
            env=env, stderr=subprocess.PIPE, check=False,
            preexec_fn=fixed_addresses)
    text = done.stderr.decode()
    rows = {m[1]: (int(m[2]), int(m[3]))
            for m in map(ROW.match, text.splitlines()) if m}
    if done.returncode or "all" not in rows:
        raise SystemExit(f"list_profile.py: no profile from python3: {text}")
    return rows


def table(title, rows):
    count, size = rows.get("all", (0, 0))
    print(f"{title}: {count} requests, {size} bytes")
    if not count:
        return
    print(f"  {'class':>9} {'requests':>9} {'share':>8} {'bytes':>10} "
          f"{'share':>8}")
    for name, (n, b) in rows.items():
        print(f"  {name:>9} {n:9} {n / count:8.1%} {b:10} "
              f"{b / size if size else 0:8.1%}")


def main():
    lib = arguments(__doc__).lib
    for malloc, words in (("malloc", "PYTHONMALLOC=malloc"),
                          ("default", "CPython's own allocator")):
        bare, full = (profile(lib, what, malloc) for what in ("none", "list"))
        sums = ("<= 512", "> 512", "all")
        table(f"{words}, the interpreter alone",
              {name: bare[name] for name in sums})
        delta = {}
        for name, (n, b) in full.items():
            n0, b0 = bare.get(name, (0, 0))
            if (n, b) != (n0, b0) or name in sums:
                delta[name] = (n - n0, b - b0)
        table(f"{words}, the list itself", delta)
    return 0


if __name__ == "__main__":
    sys.exit(main())
