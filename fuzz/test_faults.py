#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of apb-replay --each-fault: every call of an input fails once, none is
left out, what is done is not done again, and a bug that only a failing call
shows is found and can be replayed.

apb-replay has to be built.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
FUZZ = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(FUZZ, "bugs"), os.path.join(FUZZ, "record")]

import encode
import plant
import proc

REPLAY = "build/fuzz/apb-replay"
LARGE = 40000
SUMMARY = re.compile(r"(\d+) of (\d+) inputs, (\d+) \(input, call\) pairs, "
                     r"(\d+) runs, (\d+) findings?, [\d.]+ s")


def each_fault(*arguments, program=REPLAY):
    return subprocess.run(
        [program, "--each-fault", *arguments], cwd=proc.ROOT,
        env=proc.environment(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False)


class EachFault(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def input(self, name, blocks):
        """Large blocks, each of them a mapping; freed at the end."""
        seed = encode.Seed(flags=encode.HINTS)
        for i in range(blocks):
            seed.malloc(LARGE + 10000 * i)
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(seed.data)
        return path

    def summary(self, *arguments):
        done = each_fault(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return [int(n) for n in SUMMARY.search(done.stdout).groups()]

    def counts(self, path):
        """The calls of an input: those that can be made to fail."""
        calls = []
        while True:
            done = each_fault("--call", str(len(calls) + 1), path)
            call = re.search(r"no finding, call \d+ \((\w+)\) failed",
                             done.stdout)[1]
            if call == "none":
                return calls
            calls.append(call)

    def test_every_call(self):
        """As many pairs as calls, and a run more for each purge."""
        small, more = self.input("a", 1), self.input("b", 3)
        calls = {path: self.counts(path) for path in (small, more)}
        # a map at least for each block more; and what is given back
        self.assertGreaterEqual(calls[more].count("map"),
                                calls[small].count("map") + 2)
        self.assertIn("unmap", calls[small])
        every = calls[small] + calls[more]
        counting = 2 * 2  # runs without a fault, of each
        self.assertEqual(
            self.summary(small, more),
            [2, 2, len(every), len(every) + every.count("purge") + counting,
             0])
        # those of the operations, not of the end
        pairs = self.summary("--from", small, more)[2]
        self.assertGreaterEqual(pairs, every.count("map"))
        self.assertLess(pairs, len(every))

    def test_done(self):
        """A second time there is nothing to do, and the numbers stay."""
        inputs = [self.input("a", 1), self.input("b", 2)]
        done = os.path.join(self.folder, "done")
        first = self.summary("--done", done, inputs[0])
        both = self.summary("--done", done, *inputs)
        self.assertEqual(both[:2], [2, 2])
        again = self.summary("--done", done, "--jobs", "2", *inputs)
        self.assertEqual(again, [2, 2, both[2], 0, 0])
        self.assertGreater(both[2], first[2])
        # other faults are something else
        self.assertGreater(self.summary("--done", done, "--from",
                                        *inputs)[3], 0)

    def test_bad_values(self):
        path = self.input("a", 1)
        for arguments in (["--call", "0", path], ["--call", "1,", path],
                          ["--jobs", "many", path], [path + "-missing"],
                          ["--done", "/no/such/folder/done", path]):
            done = each_fault(*arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n")),
                             (2, 1), done.stderr)
        self.assertEqual(each_fault().returncode, 2)

    def test_planted_bug(self):
        """Memory lost where a call fails: found, and the command that it
        prints shows it again."""
        name = next(name for name in plant.patches()
                    if name.endswith("-large-map-failure-leaks"))
        os.makedirs(plant.path(plant.OUT), exist_ok=True)
        plant.build({name: ["apb-replay"]})
        program = "%s/%s/apb-replay" % (plant.OUT, name)
        done = each_fault(self.input("a", 2), program=program)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("FINDING: ", done.stderr)
        again = re.search(r"\n  apb-replay --each-fault (--call .*)\n",
                          done.stderr)[1].split()
        once = each_fault(*again, program=program)
        self.assertEqual(once.returncode, 1)
        self.assertIn("FINDING: ", once.stderr)
        self.assertEqual(each_fault(*again).returncode, 0)


class Driver(unittest.TestCase):
    def test_bad_values(self):
        for name, value in (("FAULTS", "twice"), ("FAULTS", ""),
                            ("JOBS", "0")):
            done = subprocess.run(
                ["fuzz/faults.py"], cwd=proc.ROOT, capture_output=True,
                env=proc.environment(**{name: value}), text=True, timeout=20,
                stdin=subprocess.DEVNULL, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn("%s=%s: must be" % (name, value), done.stderr)


if __name__ == "__main__":
    unittest.main()
