#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of the fuzzing driver: bad values, how it ends when it is told, and
what it says of a bug that is planted into a copy of the tree.

The targets have to be built.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import proc

SUMMARY = ("executions", "edges", "state features", "new inputs", "findings")
TARGETS = tuple(os.path.join(proc.ROOT, "build/fuzz/apb-fuzz-" + name)
                for name in ("asan", "release", "afl"))


def fuzzing():
    """Processes that run one of the targets of this tree."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink("/proc/%s/exe" % pid) in TARGETS:
                found.append(int(pid))
        except OSError:
            pass
    return found


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


class Values(unittest.TestCase):
    """Each bad value: one line, status 2, before anything is built."""

    def check(self, text, **values):
        done = subprocess.run(
            ["fuzz/fuzz.py"], cwd=proc.ROOT, env=proc.environment(**values),
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=20, check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(text, done.stderr)

    def test_seconds(self):
        for value in ("abc", "0", "-1", "1.5", "", " 5", "1e3", "\u0661",
                      "9" * 30):
            self.check("FUZZ_SECONDS=%s: must be a whole number" % value,
                       FUZZ_SECONDS=value)

    def test_jobs(self):
        for value in ("two", "0", "1025"):
            self.check("JOBS=%s: must be a whole number from 1 to 1024"
                       % value, JOBS=value)

    def test_engine(self):
        for value in ("foo", "", "AFL"):
            self.check("ENGINE=%s: must be libfuzzer, afl, both or "
                       "threads" % value,
                       ENGINE=value)


class Background(unittest.TestCase):
    """A script's background job ignores SIGINT, and so does make in it: nothing
    has interrupted it."""

    TRIED = """import sys
sys.path.insert(0, "fuzz")
import proc
proc.catch_signals()
print(proc._status_of(proc._parent)["Name"], proc.stopping())
"""

    def stopping(self, before):
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(self.TRIED)
            script.flush()
            # without a shell in between
            made = "tried:\n\t@%s %s\n" % (sys.executable, script.name)
            said = subprocess.run(
                ["sh", "-c", before + "exec make -s -f - tried"], input=made,
                cwd=proc.ROOT, text=True, capture_output=True, timeout=20,
                check=True).stdout.split()
        self.assertEqual(said[0], "make")
        return said[1] == "True"

    def test_ignored(self):
        self.assertFalse(self.stopping(""))
        self.assertFalse(self.stopping("trap '' INT; "))

    def test_children(self):
        """They do not ignore it: a make among them can be told to quit."""
        script = "import sys; sys.path.insert(0, 'fuzz'); import proc; " \
            "print(proc.run(['grep', 'SigIgn', '/proc/self/status'])[1])"
        said = subprocess.run(
            ["sh", "-c", "trap '' INT QUIT; exec \"$0\" -c \"$1\"",
             sys.executable, script], cwd=proc.ROOT, text=True,
            capture_output=True, timeout=20, check=True).stdout.split()
        ignored = int(said[1], 16)
        for number in (signal.SIGINT, signal.SIGQUIT):
            self.assertFalse(ignored >> (number - 1) & 1)


def tree(*parts):
    return os.path.join(proc.ROOT, *parts)


def copy_tree(folder, *corpus):
    """A copy of the sources with a corpus of a few inputs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(proc.ROOT, folder, ignore=lambda path, _names: (
        ["build", ".git", "corpus"] if path == proc.ROOT else
        ["__pycache__"]))
    seeds = os.path.join(folder, "corpus", "seeds")
    os.makedirs(seeds)
    for name in corpus:
        shutil.copy2(tree("corpus", "seeds", name), seeds)


class Ending(unittest.TestCase):
    """Told to end it does so soon, with the summary, and nothing stays."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tree("build", "test-ending")
        copy_tree(cls.folder, *sorted(os.listdir(tree("corpus/seeds")))[:3])
        os.symlink(tree("build"), os.path.join(cls.folder, "build"))

    def start(self, engine):
        self.assertEqual(fuzzing(), [], "another make fuzz is running here")
        driver = subprocess.Popen(
            ["fuzz/fuzz.py"], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=proc.environment(ENGINE=engine, JOBS="2",
                                 FUZZ_SECONDS="3600"))
        self.addCleanup(driver.stdout.close)
        self.addCleanup(driver.kill)
        self.assertTrue(wait_until(lambda: len(fuzzing()) >= 2, 60))
        time.sleep(2)
        return driver

    def ends(self, engine, number):
        driver = self.start(engine)
        driver.send_signal(number)
        output = driver.communicate(timeout=60)[0]
        self.assertEqual(driver.returncode, 0, output)
        for label in SUMMARY:
            self.assertRegex(output, r"(?m)^  %s +\d" % label)
        self.assertEqual(fuzzing(), [])

    def test_interrupt_libfuzzer(self):
        self.ends("libfuzzer", signal.SIGINT)

    def test_terminate_afl(self):
        self.ends("afl", signal.SIGTERM)

    def test_kill_libfuzzer(self):
        """Even then: the kernel ends the workers."""
        driver = self.start("libfuzzer")
        driver.kill()
        driver.wait()
        self.assertTrue(wait_until(lambda: not fuzzing(), 10))


class Finding(unittest.TestCase):
    """From a faulty allocator to the few operations that show it."""

    BUG = "fuzz/bugs/*-large-align-ignored.patch"
    MOST_OPERATIONS = 20

    @classmethod
    def setUpClass(cls):
        cls.folder = tree("build", "test-finding")
        copy_tree(cls.folder, "hand-class-00016")
        # What the bug does not touch need not be compiled again.
        for name in ("afl", "fuzz-asan", "fuzz-release", "harness",
                     "harness-asan", "release", "test"):
            shutil.copytree(tree("build", name),
                            os.path.join(cls.folder, "build", name))
        [patch] = glob.glob(tree(cls.BUG))
        subprocess.run(["patch", "-p1", "-s", "-i", patch],
                       cwd=cls.folder, check=True)

    def test_planted_bug(self):
        done = subprocess.run(
            ["make", "fuzz", "FUZZ_SECONDS=60"], cwd=self.folder,
            env=proc.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=300, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout, r"(?m)^apb: finding by ")
        small = re.search(r"(?m)^apb: minimised to (\d+) operations?: (\S+)$",
                          done.stdout)
        self.assertTrue(small, done.stdout)
        self.assertLessEqual(int(small[1]), self.MOST_OPERATIONS)
        command = re.search(r"(?m)^apb: replay it with:\n  (.*)$",
                            done.stdout)[1].split()
        self.assertEqual(command[-1], small[2])
        again = subprocess.run(command, cwd=self.folder, check=False,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, timeout=60)
        self.assertEqual(again.returncode, 1)
        # In words: the operations, and what is wrong.
        words = done.stdout.partition("which says:\n")[2]
        self.assertIn("aligned_alloc", words)
        self.assertIn("FINDING", words)
        # As a C program, and in the table.
        self.assertRegex(done.stdout, r"(?m)^apb: as a C program, which shows "
                         r"it: build/findings/align-aligned_alloc/program\.c$")
        table = subprocess.run(
            ["fuzz/triage.py"], cwd=self.folder, env=proc.environment(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=300, check=False)
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertRegex(table.stdout, r"(?m)^align-aligned_alloc +align +"
                         r"aligned_alloc +1 +\d+ .* verified$")


if __name__ == "__main__":
    unittest.main()
