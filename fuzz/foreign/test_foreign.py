#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of the harness around other allocators: a library with faults of choice,
each of which has to be found by the oracle made for it, and a library that has
but a few functions; faults of the kernel; what a finding looks like."""

import concurrent.futures
import glob
import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]

import foreign  # noqa: E402  (fuzz/ has to be in the path first)
import proc     # noqa: E402
import reproducer  # noqa: E402
import triage   # noqa: E402

FAULTY = "build/foreign/libfaulty.so"
FEW = "build/foreign/libfew.so"
APB = "build/libapb-malloc.so"
INPUTS = "3000"

# Faults are named after the rules that they break.
FAULTS = """
    align align-16 align-asked align-zero aligned-einval aligned-enomem
    aligned-invalid aligned-size content errno-enomem errno-free
    errno-free-fault must-fail null-without-cause overflow overflow-enomem
    overlap page-align posix-memalign-einval posix-memalign-enomem
    posix-memalign-ptr posix-memalign-same pvalloc-size realloc-content
    realloc-enomem realloc-failed realloc-zero trim usable usable-changes
    usable-null usable-overlap zero zero-size""".split()


def setUpModule():
    status, output = proc.make("foreign-targets")
    assert status == 0, output


def environment(**more):
    """Without what an interactive user may have set."""
    env = proc.environment(**more)
    for name in ("APB_TARGET", "APB_RULES", "APB_HISTORY", "APB_QUIET"):
        env.pop(name, None)
    return env


def run(*args, fault="", seconds=120):
    """apb-replay-any on a library: (status, what it says)."""
    done = subprocess.run(
        [foreign.REPLAY, *args], cwd=proc.ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=seconds, check=False, errors="replace",
        env=environment(APB_FAULTY=fault))
    return done.returncode, done.stdout


def driver(**env):
    return subprocess.run(
        ["fuzz/foreign/foreign.py"], cwd=proc.ROOT, text=True,
        env=environment(**env), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        check=False)


def scratch(name):
    folder = os.path.join(proc.ROOT, "build", "test-foreign")
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, name)


def write_input(name, *records, header=bytes(8)):
    """Records: op, arg, slot, val."""
    path = scratch(name)
    with open(path, "wb") as file:
        file.write(header + b"".join(struct.pack("<BBHI", *r)
                                     for r in records))
    return path


def bench(fault):
    """Random inputs, in a folder of its own: a finding leaves a file."""
    folder = scratch("fault-" + fault)
    os.makedirs(folder, exist_ok=True)
    done = subprocess.run(
        [os.path.join(proc.ROOT, foreign.REPLAY), "--target",
         os.path.join(proc.ROOT, FAULTY), "--bench", INPUTS], cwd=folder,
        env=environment(APB_FAULTY=fault), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=120, check=False)
    return done.returncode, done.stdout


class Oracles(unittest.TestCase):
    def test_every_fault_is_found(self):
        """By its oracle, as the first thing that is found."""
        with concurrent.futures.ThreadPoolExecutor(proc.NCPU) as pool:
            for fault, (status, output) in zip(FAULTS, pool.map(bench, FAULTS)):
                with self.subTest(fault):
                    self.assertEqual(status, 1, output)
                    found = re.findall(r"FINDING: ([^:]+):", output)
                    self.assertEqual(found[:1], [fault], output)

    def test_every_rule_has_a_fault(self):
        with open(os.path.join(HERE, "rules.c"), encoding="ascii") as file:
            rules = re.findall(r"\[RULE_\w+\] = \{\s*\"([^\"]+)\"",
                               file.read())
        self.assertEqual(sorted(rules), sorted(FAULTS))

    def test_no_fault(self):
        for threads in ("1", "4"):
            status, output = run("--target", FAULTY, "--bench", "1000",
                                 "--threads", threads)
            self.assertEqual(status, 0, output)

    def test_crash(self):
        """In a child, by name."""
        path = write_input("crash", *[(18, 0xc0, 0, 1023 << 16)] * 2)
        status, output = run("--target", FAULTY, path, fault="crash")
        self.assertEqual(status, 1, output)
        self.assertIn("FINDING: signal SEGV", output)

    def test_levels(self):
        """A rule of the second level is not held against a library in the
        first one, nor one that is taken away."""
        for rules, status in (("glibc", 1), ("strict", 0), ("none", 0),
                              ("strict,+align-16", 1), ("glibc,-align-16", 0)):
            got, output = run("--target", FAULTY, "--rules", rules, "--bench",
                              "500", fault="align-16")
            self.assertEqual(got, status, rules + output)

    def tearDown(self):
        path = os.path.join(proc.ROOT, "bench-finding")
        if os.path.exists(path):
            os.unlink(path)


class Targets(unittest.TestCase):
    def test_missing_functions(self):
        status, output = run("--target", FEW, "--bench", "1000")
        self.assertEqual(status, 0, output)
        self.assertIn("has: malloc free realloc\n", output)
        self.assertRegex(output, "left out: calloc reallocarray aligned_alloc "
                                 ".* malloc_trim\n")

    def test_apb_is_clean(self):
        for threads in ("1", "8"):
            status, output = run("--target", APB, "--bench", "500",
                                 "--threads", threads)
            self.assertEqual(status, 0, output)

    def test_glibc_is_clean(self):
        for threads in ("1", "4"):
            status, output = run("--target", "glibc", "--bench", "500",
                                 "--threads", threads)
            self.assertEqual(status, 0, output)

    def test_known_deviation(self):
        """Held against it on request."""
        path = write_input("aligned", (15, 24 << 3, 0, 100))
        for rules, status in (("glibc", 0), ("glibc,known", 1)):
            got, output = run("--target", "glibc", "--rules", rules, path)
            self.assertEqual(got, status, output)
        self.assertIn("FINDING: aligned-invalid", output)

    def test_unknown(self):
        for args, text in (
                (("--target", "nomalloc"), "TARGET=nomalloc: neither"),
                (("--target", "/nowhere.so"), "/nowhere.so: cannot open"),
                (("--target", "/lib/x86_64-linux-gnu/libm.so.6"),
                 "has no malloc()"),
                (("--target", "glibc", "--rules", "foo"), "RULES=foo: must"),
                ((), "which allocator?")):
            status, output = run(*args)
            self.assertEqual(status, 2, output)
            self.assertIn(text, output)
            self.assertEqual(output.count("\n"), 1, output)


class Kernel(unittest.TestCase):
    """Calls of the kernel fail on demand, and what they fail is known."""

    FAIL_MAP = 2 | 1 << 2  # from the n-th on
    IN_KERNEL = 0x40
    MIB = 1 << 20

    def refused(self, target, where):
        path = write_input("fault", (27, self.FAIL_MAP | where, 0, 0),
                           (0, 6, 0, 8 * self.MIB << 5))
        status, output = run("--target", target, "-v", path)
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"malloc\(8388608\), slot 0 = NULL "
                                 r"\(error 12\)")

    def test_library(self):
        self.refused(FAULTY, 0)

    def test_address_space(self):
        self.refused(FAULTY, self.IN_KERNEL)
        self.refused("glibc", self.IN_KERNEL)

    def test_libc(self):
        self.refused("glibc", 0)


class Histories(unittest.TestCase):
    def test_inputs_are_kept(self):
        paths = [write_input("h%d" % i, (0, 0, i, 1), (5, 0, i, 1))
                 for i in range(3)]
        status, output = run("--target", FAULTY, "--history",
                             scratch("history"), "--no-fork", *paths)
        self.assertEqual(status, 0, output)
        wanted = []
        for path in paths:
            with open(path, "rb") as file:
                wanted.append(file.read())
        self.assertEqual(foreign.history(scratch("history")), wanted)


class Driver(unittest.TestCase):
    def test_bad_values(self):
        for env, text in (
                ({"TARGET": "nomalloc"}, "TARGET=nomalloc: neither"),
                ({"TARGET": "glibc", "RULES": "foo"}, "RULES=foo: must"),
                ({"TARGET": "glibc", "ENGINE": "threads"}, "ENGINE=threads"),
                ({"TARGET": "/nowhere.so"}, "/nowhere.so")):
            done = driver(**env)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(text, done.stdout)

    def filed(self):
        """Folders of the findings of the library with faults."""
        return glob.glob(os.path.join(proc.ROOT, triage.FINDINGS,
                                      "libfaulty-so-*"))

    def clean(self):
        for folder in self.filed():
            shutil.rmtree(folder)

    def test_finding(self):
        """Shrunk, in words, with a command that shows it again; in a folder,
        with a program.  So is what a killed run had found."""
        self.clean()
        self.addCleanup(self.clean)
        left = os.path.join(proc.ROOT, foreign.Target(FAULTY, "").artifacts,
                            "crash-left")
        os.makedirs(os.path.dirname(left), exist_ok=True)
        shutil.copyfile(write_input("left", (0, 6, 0, 1 << 5), (0, 6, 1, 1 << 5)), left)
        done = driver(TARGET=FAULTY, APB_FAULTY="align-16", FUZZ_SECONDS="30",
                      JOBS="1")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertFalse(os.path.exists(left))
        self.assertIn("libfaulty-so-align-16-malloc",
                      map(os.path.basename, self.filed()))
        self.clean()
        done = driver(TARGET=FAULTY, APB_FAULTY="overlap", FUZZ_SECONDS="30",
                      JOBS="1")
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("FINDING: overlap:", done.stdout)
        self.assertRegex(done.stdout, r"minimised to \d+ operations?: ")
        command = re.search(r"replay it with:\n  (.*)\n", done.stdout)[1]
        again = subprocess.run(
            shlex.split(command), cwd=proc.ROOT, timeout=60, check=False,
            env=environment(APB_FAULTY="overlap"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(again.returncode, 1)
        self.check_folder(done.stdout)

    def check_folder(self, said):
        folder, = self.filed()
        self.assertIn(os.path.relpath(folder, proc.ROOT), said)
        for name in ("input", "minimised", "report.txt", "stack.txt", "seen"):
            self.assertTrue(os.path.getsize(os.path.join(folder, name)), name)
        finding = triage.Finding(folder)
        self.assertTrue(finding.meta["verified"], finding.meta)
        self.assertEqual(finding.signature["target"], "libfaulty.so")
        # the next make triage finds nothing to do, and shows it in the table
        store = triage.Store()
        self.assertTrue(store.complete(finding))
        self.assertRegex(triage.table(store),
                         r"(?m)^libfaulty-so-overlap-\S+ .* verified$")

    def test_fuzzing(self):
        done = driver(TARGET="glibc", FUZZ_SECONDS="3", JOBS="1")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"executions +[1-9]")


class Programs(unittest.TestCase):
    """C programs: with the fault they fail, without it they do not."""

    FAULTS = ("errno-free-fault", "must-fail", "realloc-content",
              "realloc-failed", "zero")

    def program(self, folder, source, **env):
        """What becomes of it, with the library preloaded."""
        path = os.path.join(folder, "program")
        build = reproducer.Foreign(FAULTY)
        made = subprocess.run(
            build.compile(source, path), cwd=proc.ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60, check=False)
        self.assertEqual((made.returncode, made.stdout), (0, ""))
        return subprocess.run(
            [path], env=environment(LD_PRELOAD=proc.plain(build.preload()), **env),
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
            check=False).returncode

    def test_faults(self):
        with concurrent.futures.ThreadPoolExecutor(proc.NCPU) as pool:
            list(pool.map(bench, self.FAULTS))
        for fault in self.FAULTS:
            with self.subTest(fault):
                folder = scratch("fault-" + fault)
                found, small, source = (os.path.join(folder, name) for name in
                                        ("bench-finding", "small", "small.c"))
                status, output = run("--target", FAULTY, "--minimize", found,
                                     "-o", small, fault=fault)
                self.assertEqual(status, 0, output)
                status, output = run("--target", FAULTY, "--emit-c", small,
                                     "-o", source, fault=fault)
                self.assertEqual(status, 0, output)
                self.assertEqual(self.program(folder, source,
                                              APB_FAULTY=fault), -6)
                self.assertEqual(self.program(folder, source), 0)

    def test_threads(self):
        """Each call by the thread that made it; one of them ends."""
        path = write_input(
            "threads", *[(i % 3 << 5, 6, i, 100 << 5) for i in range(6)],
            (31 | 1 << 5, 0, 0, 0), *[(5, 0, i, 0) for i in range(4)],
            header=b"\1\0\xe0\0\4\0\0\0")
        status, output = run("--target", FAULTY, "--emit-c", path, "-o",
                             path + ".c")
        self.assertEqual(status, 0, output)
        with open(path + ".c", encoding="ascii") as file:
            text = file.read()
        self.assertEqual(set(re.findall(r"\tplay\((\d)", text)),
                         {"0", "1", "2"}, text)
        self.assertEqual(text.count("\tend_thread("), 1, text)
        self.assertEqual(self.program(scratch(""), path + ".c"), 0)

    def test_too_many(self):
        path = write_input("many", *[(18, 0xc0, 0, 1023 << 16)] * 12)
        status, output = run("--target", FAULTY, "--emit-c", path, "-o",
                             path + ".c")
        self.assertEqual(status, 2, output)
        self.assertIn("too many calls; minimize it first", output)


class Findings(unittest.TestCase):
    def test_programs_on_glibc(self):
        done = subprocess.run(
            ["fuzz/foreign/findings/findings.py", "glibc"], cwd=proc.ROOT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"(?m)^aligned-invalid +glibc ")
        self.assertRegex(done.stdout, r"1 libraries, \d+ runs, 0 wrong")


if __name__ == "__main__":
    unittest.main()
