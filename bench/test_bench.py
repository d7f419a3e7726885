#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of what the benchmarks compute, and of how they take bad input.

Nothing is measured: neither peers nor programs are needed.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import common  # pylint: disable=wrong-import-position
import count  # pylint: disable=wrong-import-position
import report  # pylint: disable=wrong-import-position
import sanitizers  # pylint: disable=wrong-import-position
import suite  # pylint: disable=wrong-import-position


class Figures(unittest.TestCase):
    def test_median(self):
        self.assertEqual(common.median([3, 1, 2]), 2)
        self.assertEqual(common.median([4, 1, 2, 3]), 2.5)

    def test_geomean(self):
        self.assertAlmostEqual(common.geomean([0.5, 2, 1]), 1)
        self.assertAlmostEqual(common.geomean([2, 8]), 4)


class FakeRow(suite.Row):
    """Allocator n needs n ns; the second fails in round 2."""

    def __init__(self, name):
        subjects = [suite.Subject("apb", "apb", ns=2),
                    suite.Subject("one", "peer", ns=4),
                    suite.Subject("two", "peer", ns=1),
                    suite.Subject("apb.a", "form", ns=1)]
        super().__init__("fake", name, name, subjects)
        self.order = []

    def measure(self, subject, last):
        self.order.append(subject.name)
        if subject.name == "two" and self.order.count("two") == 2:
            raise common.Failed("broken")
        return {suite.TIME: subject.ns * 1.0}


class Loop(unittest.TestCase):
    def setUp(self):
        self.rows = [FakeRow("a"), FakeRow("b")]
        self.suite = suite.Suite("fake", "fake", "ns", self.rows,
                                 (suite.TIME,))
        stderr, sys.stderr = sys.stderr, open(os.devnull, "w",
                                              encoding="ascii")
        try:
            suite.measure([self.suite], 3)
        finally:
            sys.stderr.close()
            sys.stderr = stderr

    def test_interleaved(self):
        """Another one is first in each round; what failed is left out."""
        self.assertEqual(self.rows[0].order, [
            "apb", "one", "two", "apb.a",
            "one", "two", "apb.a", "apb",
            "apb.a", "apb", "one"])

    def test_values(self):
        row = self.rows[1]
        self.assertEqual(row.get("apb", suite.TIME), 2)
        self.assertIsNone(row.get("two", suite.TIME))
        self.assertIsNone(row.get("apb", suite.RSS))
        self.assertEqual(row.best_peer(suite.TIME), (4, "one"))

    def test_summary(self):
        names, lines = report.summary_lines([self.suite], suite.TIME)
        self.assertEqual(names, ["one", "two"])
        self.assertEqual(lines, [["fake", "0.500", "-"]])

    def test_csv(self):
        with tempfile.TemporaryDirectory() as folder:
            report.write_csv(folder, [self.suite], "machine: none")
            values = common.read(os.path.join(folder, "fake.csv"))
            summary = common.read(os.path.join(folder, "summary.csv"))
        self.assertEqual(values.count("\na,apb,time,"), 3)
        self.assertIn("\nfake,a,time,one,peer,4,4,0.5000", summary)
        self.assertNotIn(",two,", summary)


class Instructions(unittest.TestCase):
    """(load, conditional branch, store, atomic)"""

    def test_classes(self):
        for text, expect in (
                ("mov rax,QWORD PTR [rdi+8]", (1, 0, 0, 0)),
                ("mov QWORD PTR [rdi+8],rax", (0, 0, 1, 0)),
                ("add DWORD PTR [rdi],1", (1, 0, 1, 0)),
                ("cmp QWORD PTR [rdi],rax", (1, 0, 0, 0)),
                ("cmp rax,QWORD PTR [rdi]", (1, 0, 0, 0)),
                ("lea rax,[rdi+8]", (0, 0, 0, 0)),
                ("mov rax,QWORD PTR fs:[rax]", (1, 0, 0, 0)),
                ("push rbx", (0, 0, 1, 0)),
                ("pop rbx", (1, 0, 0, 0)),
                ("ret", (0, 0, 0, 0)),
                ("jne 1234 <free+0x10>", (0, 1, 0, 0)),
                ("jmp 1234 <free+0x10>", (0, 0, 0, 0)),
                ("jmp QWORD PTR [rip+0x10]", (1, 0, 0, 0)),
                ("lock cmpxchg QWORD PTR [rdi],rdx", (1, 0, 1, 1)),
                ("xchg QWORD PTR [rdi],rdx", (1, 0, 1, 1)),
                ("nop WORD PTR cs:[rax+rax*1+0x0]", (0, 0, 0, 0)),
                ("movzx eax,BYTE PTR [rdx+rax*1]", (1, 0, 0, 0))):
            mnemonic, _, operands = text.partition(" ")
            self.assertEqual(count.classify(mnemonic, operands), expect, text)

    def test_padding_is_free(self):
        steps = [("endbr64", ""), ("nopl", "0x0(%rax)"),
                 ("mov", "rax,QWORD PTR [rdi]"), ("ret", "")]
        self.assertEqual(count.counts_of(steps), [2, 1, 0, 0, 0])


class Bars(unittest.TestCase):
    """What make bench-sanitizers holds apb to: no row over ASan's malloc."""

    def verdict(self, *ratios):
        rows = []
        for number, (time, memory) in enumerate(ratios):
            row = suite.Row("fake", "row%d" % number, "", [
                suite.Subject("apb", "apb"), suite.Subject("asan", "peer")])
            row.add(row.subjects[0], {suite.TIME: time, suite.RSS: memory})
            row.add(row.subjects[1], {suite.TIME: 1.0, suite.RSS: 1.0})
            rows.append(row)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            held = sanitizers.verdict([suite.Suite(
                "fake", "fake", "ns", rows, (suite.TIME, suite.RSS))])
        return held, out.getvalue()

    def test_held(self):
        held, text = self.verdict((0.5, 1.0), (1.0, 0.9))
        self.assertTrue(held)
        self.assertIn("2 of 2 rows within 1.0\n", text)

    def test_not_held(self):
        for ratios in (((0.5, 1.01), (0.5, 0.5)), ((0.5, 0.5), (1.2, 0.5))):
            held, text = self.verdict(*ratios)
            self.assertFalse(held)
            self.assertIn("1 of 2 rows within 1.0; not: row", text)

    def test_not_measured(self):
        self.assertFalse(self.verdict()[0])


class BadInput(unittest.TestCase):
    def refused(self, *args, script="run.py"):
        done = subprocess.run(
            [os.path.join(common.HERE, script), "--build", "/nonexistent",
             *args], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("bench: "), done.stderr)
        return done.stderr

    def test_refused(self):
        self.assertIn("no suite 'nothing'", self.refused("nothing"))
        self.assertIn("--rounds", self.refused("--rounds", "0", "alloc"))
        self.assertIn("make bench", self.refused("alloc"))
        self.assertIn("required", self.refused())
        self.assertIn("--quarantine", self.refused(
            "--quarantine", "no", script="sanitizers.py"))
        self.assertIn("make bench-sanitizers",
                      self.refused(script="sanitizers.py"))


if __name__ == "__main__":
    unittest.main()
