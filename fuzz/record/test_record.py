#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Test of the recorder and of what makes seeds: a line for each check.

    test_record.py [--build build]

Records programs whose calls are known (test_calls.c, real ones for the rules
that hold for all) and compares what the harness decodes.  Needs what `make
record-test-programs` builds.  Exit status 1 if a check fails.
"""
import argparse
import collections
import glob
import os
import shlex
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import seeds
from encode import SIZE_MAX, SLOTS, class_size
import launch
from launch import ROOT

BIG = (1 << 63) - 1 + 10
CLIPPED = (1 << 27) - 4096
SECONDS = 60

Op = collections.namedtuple("Op", "kind slot size n align stride thread",
                            defaults=(0,))


class Failed(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failed(text)


def same(got, want, what):
    if got != want:
        for i, (g, w) in enumerate(zip(got, want)):
            expect(g == w, f"{what}: number {i} is {g}, not {w}")
        raise Failed(f"{what}: {len(got)}, not {len(want)}: {got[-3:]}")


# ---- running and decoding -------------------------------------------------

class Tools:
    def __init__(self, build):
        self.lib = launch.plain(os.path.join(build, "libapb-record.so"))
        self.next = launch.plain(os.path.join(build, "record", "next.so"))
        self.calls = os.path.join(build, "record", "calls")
        self.dump = os.path.join(build, "record", "ops-dump")
        for path in (self.lib, self.next, self.calls, self.dump):
            if not os.path.exists(path):
                print(f"test_record.py: no {path}: make "
                      "record-test-programs", file=sys.stderr)
                sys.exit(2)

    def decode(self, *paths):
        """path -> (header, [Op])"""
        done = subprocess.run([self.dump, *paths], check=True,
                              stdout=subprocess.PIPE, encoding="utf-8")
        files = {}
        for line in done.stdout.splitlines():
            word = line.split()
            if word[0] == "header":
                path, *numbers = line.removeprefix("header ").rsplit(" ", 9)
                ops = []
                files[path] = (tuple(map(int, numbers)), ops)
            else:
                ops.append(Op(word[0], *map(int, word[1:7])))
        return files


class Place:
    """A folder to run programs in."""

    def __init__(self, tools, path):
        self.tools, self.path = tools, path

    def start(self, *command, preload=(), stdin=b"", **env):
        """Run; (status, stdout, stderr)."""
        env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C",
               "LD_PRELOAD": " ".join([self.tools.lib, *preload]), **env}
        done = subprocess.run(command, cwd=self.path, env=env, input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=SECONDS, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def calls(self, *args, stderr="", status=0, **env):
        """Run test_calls.c, which must end well and say this."""
        got = self.start(self.tools.calls, *map(str, args), **env)
        expect(got == (status, "", stderr),
               f"calls {args}: status, stdout, stderr are {got}")

    def files(self):
        return sorted(os.listdir(self.path))

    def ops(self, name="out"):
        expect(name in self.files(), f"no {name}, only {self.files()}")
        path = os.path.join(self.path, name)
        return self.tools.decode(path)[path][1]

    def only(self, *names):
        same(self.files(), sorted(names), "files")


def malloc(slot, size):
    return Op("malloc", slot, size, 0, 0, 0)


def free(slot, kind="free"):
    return Op(kind, slot, 0, 0, 0, 0)


def aligned(slot, align, size):
    return Op("aligned_alloc", slot, size, 0, align, 0)


def plain(n):
    return ([malloc(i, i + 1) for i in range(n)] + [free(i) for i in range(n)])


def follow_slots(ops, what):
    """The rules of fuzz/README.md: made where free, taken where live."""
    live = {}
    for i, op in enumerate(ops):
        if op.kind in ("malloc", "calloc", "aligned_alloc"):
            fails = op.size > 1 << 62 or op.size * max(op.n, 1) > SIZE_MAX
            if not fails:
                expect(op.slot not in live, f"{what}: op {i}: {op}: taken")
                live[op.slot] = op.size
        elif op.kind in ("realloc", "reallocarray"):
            expect(op.slot in live, f"{what}: op {i}: {op}: empty")
        else:
            expect(op.slot in live, f"{what}: op {i}: {op}: empty")
            del live[op.slot]
    return live


# ---- the calls ------------------------------------------------------------

def every_kind(p):
    p.calls("kinds", APB_RECORD_OUT="out")
    p.only("out")
    same(p.ops(), [
        malloc(0, 100),
        Op("calloc", 1, 77, 1, 0, 0),
        malloc(2, 30),
        free(1),
        malloc(1, 0),
        Op("realloc", 0, 5000, 0, 0, 0),
        Op("reallocarray", 0, 210, 1, 0, 0),
        aligned(3, 256, 512),
        aligned(4, 64, 10),
        aligned(5, 4096, 1),
        free(4),
        free(3),
        aligned(3, 4096, 9),
        aligned(4, 4096, 4096),
        malloc(6, SIZE_MAX),
        Op("calloc", 6, 3, SIZE_MAX // 3 + 1, 0, 0),
        Op("reallocarray", 0, 8, SIZE_MAX // 8 + 1, 0, 0),
        aligned(6, 24, 8),
        Op("realloc", 2, BIG, 0, 0, 0),
        free(2),
        free(1, "free_sized"),
        free(5, "free_aligned_sized"),
        Op("realloc", 0, CLIPPED, 0, 0, 0),
        free(0), free(4), free(3),
    ], "operations")


def nothing(p):
    p.calls("nothing", APB_RECORD_OUT="out")
    p.only()


def header(p):
    p.calls("plain", 1, APB_RECORD_OUT="out")
    with open(os.path.join(p.path, "out"), "rb") as f:
        data = f.read()
    expect(data[:8] == bytes([1, 0, 0, 0, 0, 0, 0, 0]), f"header {data[:8]}")
    expect(len(data) == 8 + 2 * 8, f"{len(data)} bytes")


def bounded(p):
    """The first N; written at once, so that what comes after is no matter."""
    p.calls("plain", 5, "kill", status=-9, APB_RECORD_OUT="out",
            APB_RECORD_MAX="7")
    p.only("out")
    same(p.ops(), plain(5)[:7], "operations")


def killed(p):
    p.calls("plain", 5, "kill", status=-9, APB_RECORD_OUT="out",
            APB_RECORD_MAX="11")
    p.only()


def window(p):
    # of sizes 1 to 5 the first two come before the window
    p.calls("plain", 5, APB_RECORD_OUT="out", APB_RECORD_WINDOW="2")
    want = [malloc(0, 3), malloc(1, 4), malloc(2, 5), free(0), free(1),
            free(2)]
    same(p.ops(), want, "operations")
    p.calls("plain", 5, APB_RECORD_OUT="out", APB_RECORD_WINDOW="2",
            APB_RECORD_MAX="4")
    same(p.ops(), want[:4], "operations")
    p.calls("plain", 5, APB_RECORD_OUT="out", APB_RECORD_WINDOW="0")
    same(p.ops(), plain(5), "operations")


def window_too_far(p):
    p.calls("plain", 5, APB_RECORD_OUT="out", APB_RECORD_WINDOW="10",
            stderr="apb-record: nothing recorded: all calls came before the "
            "window\n")
    p.only()


def out_of_slots(p):
    n = 17000
    status, _, stderr = p.start(p.tools.calls, "exhaust",
                                APB_RECORD_OUT="out", APB_RECORD_PROFILE="1",
                                APB_RECORD_MAX="100000")
    expect(status == 0, stderr)
    same(p.ops(), [malloc(i, 8) for i in range(SLOTS)] + [
        free(5), malloc(5, 9), Op("realloc", 6, 10, 0, 0, 0)], "operations")
    last = stderr.splitlines()[-1]
    want = (f"apb-record: recorded {SLOTS + 3} operations, 0 of them clipped; "
            f"left out: 0 before the window, {n - SLOTS + 1} without a slot, "
            "1 of blocks unknown, 0 that failed")
    expect(last == want, f"says: {last}")


# ---- processes and threads ------------------------------------------------

def endings(p):
    for how in ("return", "_exit", "quick_exit"):
        p.calls("plain", 3, how, APB_RECORD_OUT=how)
        same(p.ops(how), plain(3), how)


def threads(p):
    p.calls("threads", APB_RECORD_OUT="out", APB_RECORD_MAX="100000")
    ops = p.ops()
    left = follow_slots(ops, "threads")
    # the C library keeps a block of a thread's for the next thread
    expect(all(not 1000 <= size < 5000 for size in left.values()),
           f"still live: {left}")
    for t in range(1, 5):
        sizes = [op.size for op in ops if op.kind == "malloc" and
                 1000 * t <= op.size < 1000 * t + 1000]
        same(sizes, [1000 * t + i for i in range(400)], f"thread {t}")


def fork(p):
    parent = [malloc(0, 50), malloc(1, 51), free(1),
              Op("realloc", 0, 52, 0, 0, 0), free(0)]
    # what the parent made has no slot in the child
    forked = [malloc(0, 77), Op("realloc", 0, 78, 0, 0, 0), malloc(1, 79)]
    p.calls("fork", APB_RECORD_OUT="out")
    names = p.files()
    expect(len(names) == 2 and names[1].startswith("out."), str(names))
    same(p.ops("out"), parent, "parent")
    same(p.ops(names[1]), forked, "child")
    p.calls("fork", APB_RECORD_OUT="two-%p-%p")
    names = [n for n in p.files() if n.startswith("two-")]
    expect(len(names) == 2, str(names))
    pids = [int(n.split("-")[1]) for n in names]
    same(names, [f"two-{pid}-{pid}" for pid in pids], "names")
    same(sorted(map(p.ops, names)), sorted([parent, forked]), "both")


def fork_storm(p):
    p.calls("fork-storm", APB_RECORD_OUT="out")
    names = [n for n in p.files() if n != "out"]
    expect(len(names) == 100, f"{len(names)} files of children")
    for name in names:
        same(p.ops(name), [malloc(0, 33), free(0)], name)
    follow_slots(p.ops("out"), "parent")


def vfork(p):
    p.calls("vfork", APB_RECORD_OUT="out")
    p.only("out")
    same(p.ops(), [malloc(0, 10), free(0)], "operations")


def exec_(p):
    p.calls("exec", APB_RECORD_OUT="out")
    p.only("out")
    same(p.ops(), plain(3), "operations")


def pipeline(p):
    calls = shlex.quote(p.tools.calls)
    status, _, stderr = p.start(
        "/bin/sh", "-c", f"{calls} plain 2 | {calls} plain 3; {calls} plain 4",
        APB_RECORD_OUT="%p.ops")
    expect(status == 0 and not stderr, stderr)
    found = [p.ops(name) for name in p.files()]
    for n in (2, 3, 4):
        expect(found.count(plain(n)) == 1, f"no file of plain {n}")
    for ops in found:
        follow_slots(ops, "pipeline")


def reentry(p):
    """Allocations made while the recorder looks for malloc(), and by it."""
    p.calls("plain", 4, APB_RECORD_OUT="out", preload=[p.tools.next],
            stderr="next: reentered\n")
    same(p.ops(), plain(4), "operations")


# ---- the environment ------------------------------------------------------

def default_name(p):
    p.calls("plain", 1)
    names = p.files()
    expect(len(names) == 1 and names[0].startswith("apb-record.") and
           names[0][11:].isdigit(), str(names))


def directory_changes(p):
    p.calls("chdir", APB_RECORD_OUT="here")
    p.only("here")


def bad_values(p):
    def line(name, value, least, most, default):
        return (f"apb-record: {name}={value} is not a number from {least} to "
                f"{most}; {default} is used\n")

    for value in ("0", "x", "-1", "+5", " 5", "5x", "1048577",
                  "99999999999999999999999", ""):
        p.calls("plain", 1, APB_RECORD_OUT="out", APB_RECORD_MAX=value,
                stderr=line("APB_RECORD_MAX", value, 1, 1 << 20, 20000))
        same(p.ops(), plain(1), "operations")
    for name, most in (("WINDOW", (1 << 63) - 1), ("PROFILE", 1)):
        p.calls("plain", 1, APB_RECORD_OUT="out",
                **{f"APB_RECORD_{name}": "yes"},
                stderr=line(f"APB_RECORD_{name}", "yes", 0, most, 0))
        same(p.ops(), plain(1), "operations")
    os.remove(os.path.join(p.path, "out"))
    p.calls("plain", 1, APB_RECORD_OUT="", stderr="apb-record: "
            "APB_RECORD_OUT is empty; apb-record.%p is used\n")
    expect(p.files()[0].startswith("apb-record."), str(p.files()))


def cannot_write(p):
    p.calls("plain", 2, APB_RECORD_OUT="/no/such/folder",
            stderr="apb-record: cannot write /no/such/folder: No such file "
            "or directory\n")
    os.mkdir(os.path.join(p.path, "folder"))
    p.calls("plain", 2, APB_RECORD_OUT="folder", stderr="apb-record: cannot "
            f"write {os.path.realpath(p.path)}/folder: Is a directory\n")
    p.only("folder")


# ---- the profile ----------------------------------------------------------

def profile(p):
    """Of requests of 1 to 600 bytes, all of them freed."""
    n = 600
    status, _, stderr = p.start(p.tools.calls, "plain", str(n),
                                APB_RECORD_OUT="out", APB_RECORD_PROFILE="1",
                                APB_RECORD_MAX="10")
    lines = stderr.splitlines()
    expect(status == 0 and lines[0].startswith(
        "apb-record: what calls (pid "), stderr)
    same(lines[1], f"  malloc {n}, calloc 0, realloc 0, aligned 0, free {n}, "
         "free(NULL) 0, failed 0", "calls")
    sizes = {}
    for size in range(1, n + 1):
        cls = next(c for c in range(1, 57) if class_size(c) >= size)
        sizes.setdefault(str(class_size(cls)), []).append(size)
    sizes["<= 512"] = range(1, 513)
    sizes["> 512"] = range(513, n + 1)
    sizes["all"] = range(1, n + 1)
    want = [(name, len(s), f"{100 * len(s) / n:.1f}", sum(s),
             f"{100 * sum(s) / sum(sizes['all']):.1f}")
            for name, s in sizes.items()]
    got = []
    for line in lines[3:-1]:
        name, rest = line[:11].strip(), line[11:].split()
        got.append((name, int(rest[0]), rest[1], int(rest[3]), rest[4]))
    same(got, want, "rows")


def profile_kinds(p):
    _, _, stderr = p.start(p.tools.calls, "kinds", APB_RECORD_OUT="out",
                           APB_RECORD_PROFILE="1")
    same(stderr.splitlines()[1], "  malloc 3, calloc 2, realloc 7, aligned 6, "
         "free 8, free(NULL) 1, failed 5", "calls")
    expect("of them clipped" in stderr and "recorded 26 operations, 1 of them"
           in stderr, stderr.splitlines()[-1])


# ---- real programs, seeds -------------------------------------------------

def real_programs(p):
    script = "import re; print(sum(len(str(i)) for i in range(2000)))"
    for malloc_ in ("default", "malloc"):
        status, stdout, stderr = p.start(
            "/usr/bin/python3", "-c", script, PYTHONMALLOC=malloc_,
            APB_RECORD_OUT=malloc_, APB_RECORD_MAX="200000")
        expect((status, stdout, stderr) == (0, "6890\n", ""), stderr)
        ops = p.ops(malloc_)
        expect(len(ops) > 500, f"{len(ops)} operations")
        follow_slots(ops, malloc_)
    status, stdout, stderr = p.start(
        "/bin/sh", "-c", "seq 2000 | sort -rn --parallel=2 | tail -n 1",
        APB_RECORD_OUT="sh.%p")
    expect((status, stdout, stderr) == (0, "1\n", ""), stderr)
    names = [n for n in p.files() if n.startswith("sh.")]
    expect(len(names) >= 2, str(names))
    for name in names:
        follow_slots(p.ops(name), name)


def seeds_say_what_they_mean(p):
    """Every record of a hand-made seed decodes to what was meant."""
    made = seeds.all_seeds()
    for name, seed in made.items():
        with open(os.path.join(p.path, name), "wb") as f:
            f.write(seed.data)
    paths = {os.path.join(p.path, name): name for name in made}
    for path, (head, ops) in p.tools.decode(*paths).items():
        seed = made[paths[path]]
        same(head, (1, *seed.header), f"{paths[path]}: header")
        same([tuple(op) for op in ops], seed.meaning, paths[path])


def seeds_are_committed(p):
    """corpus/seeds/hand-* are what the script makes, byte for byte."""
    del p
    folder = os.path.join(ROOT, "corpus", "seeds")
    made = seeds.all_seeds()
    same(sorted(glob.glob("hand-*", root_dir=folder)), sorted(made), "seeds")
    for name, seed in made.items():
        with open(os.path.join(folder, name), "rb") as f:
            expect(f.read() == bytes(seed.data), f"{name} differs")


def seeds_recorded(p):
    """Recorded seeds keep the rules, and there are those of each program."""
    folder = os.path.join(ROOT, "corpus", "seeds")
    paths = glob.glob(os.path.join(folder, "rec-*"))
    for program in ("python3-start", "python3-json", "python3-list", "sqlite3",
                    "cc1", "git", "perl", "awk"):
        expect(any(f"/rec-{program}" in path for path in paths),
               f"no seed of {program}")
    for path, (_, ops) in p.tools.decode(*paths).items():
        expect(ops, f"{path} is empty")
        follow_slots(ops, os.path.basename(path))


CHECKS = [every_kind, nothing, header, bounded, killed, window,
          window_too_far, out_of_slots, endings, threads, fork, fork_storm,
          vfork, exec_, pipeline, reentry, default_name, directory_changes,
          bad_values, cannot_write, profile, profile_kinds, real_programs,
          seeds_say_what_they_mean, seeds_are_committed, seeds_recorded]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    tools = Tools(os.path.abspath(parser.parse_args().build))
    failed = 0
    for check in CHECKS:
        name = check.__name__.strip("_").replace("_", " ")
        with tempfile.TemporaryDirectory() as path:
            try:
                check(Place(tools, path))
                print(f"ok   {name}", flush=True)
            except (Failed, subprocess.SubprocessError) as why:
                failed += 1
                print(f"FAIL {name}: {why}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
