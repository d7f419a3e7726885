#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of the explorer: its unit tests, scenarios, planted bugs, files."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import proc

EXPLORE = "build/explore/apb-explore"
BUGS = "build/explore/bugs"
SECONDS = 120
# Of which all schedules are soon gone through.
QUICK = ("refill", "batch", "end", "trim", "takeover-two", "help-trim",
         "check-new", "check-heapless", "large-3", "stop-3")


def run(*command):
    done = subprocess.run(command, cwd=proc.ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=SECONDS, check=False)
    return done.returncode, done.stdout


class Explorer(unittest.TestCase):
    def test_units(self):
        status, output = run("build/explore/test-explore")
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"PASSED  \] [1-9]\d+ test")

    def test_scenarios(self):
        status, output = run(EXPLORE, "--seconds", "60", *QUICK)
        self.assertEqual(status, 0, output)
        rows = dict(re.findall(r"^([a-z0-9-]+) +\d +(\d+) .* ok$", output,
                               re.M))
        self.assertEqual(set(rows), set(QUICK))
        for name, schedules in rows.items():
            self.assertGreater(int(schedules), 1, name)
        self.assertIn("0 not finished, 0 findings", output)

    def test_not_finished_is_said(self):
        status, output = run(EXPLORE, "--seconds", "0.2", "refill-3-most")
        self.assertEqual(status, 0, output)
        self.assertIn("1 not finished", output)

    def classes(self, *options):
        status, output = run(EXPLORE, "--seconds", "60", *options)
        self.assertEqual(status, 0, output)
        self.assertIn("0 not finished", output)
        return int(re.search(r"(?:, |of )(\d+) (?:schedules \(up|classes)",
                             output)[1])

    def test_bounds(self):
        """A search without reduction meets the classes that there are, all of
        them once it may make threads wait often enough."""
        there = self.classes("bound")
        met = [self.classes("--bound", str(n), "bound") for n in range(3)]
        self.assertEqual(met, sorted(met))
        self.assertLess(met[0], there)
        self.assertEqual(met[-1], there)
        status, output = run(EXPLORE, "--plain", "--seconds", "0.2", "refill")
        self.assertEqual(status, 0, output)
        self.assertIn("1 not finished", output)

    def test_list(self):
        status, output = run(EXPLORE, "--list")
        self.assertEqual(status, 0)
        names = re.findall(r"^([a-z0-9-]+) +[23] threads: ", output, re.M)
        self.assertGreaterEqual(len(names), 40)
        self.assertEqual(len(names), len(set(names)))

    def bad(self, words, *options):
        status, output = run(EXPLORE, *options)
        self.assertEqual(status, 2, output)
        self.assertRegex(output, words)

    def test_bad_arguments(self):
        self.bad("no scenario nonsense", "nonsense")
        self.bad("--seconds: not a number", "--seconds", "x")
        self.bad("no file is named", "--input")
        self.bad("No such file", "--replay", "/nonexistent")
        self.bad("No such file", "--input", "/nonexistent")
        self.bad("usage", "--nonsense")

    def test_bad_schedules(self):
        head = "apb-explore schedule 1\n"
        for text, words in (
                ("", "does not begin with"),
                (head, "names neither"),
                (head + "scenario nonsense\n", "no scenario nonsense"),
                (head + "scenario refill\nrun 9 1\n", ":3: neither"),
                (head + "scenario refill\nrun 1 1 1\n", ":3: neither"),
                (head + "scenario refill\nscenario end\n", ":3: neither"),
                (head + "input 0g\n", ":2: neither")):
            with tempfile.NamedTemporaryFile("w") as file:
                file.write(text)
                file.flush()
                self.bad(words, "--replay", file.name)


class Bugs(unittest.TestCase):
    """bugs.py compiles them and replays what was found, too."""

    def test_found(self):
        status, output = run("fuzz/explore/bugs.py", "post-relaxed",
                             "drain-in-two-steps")
        self.assertEqual(status, 0, output)
        self.assertIn("2 of 2 planted ordering bugs found", output)
        self.assertRegex(output, r"post-relaxed +refill +race")

    def test_words(self):
        """A schedule is told in words, and by names."""
        run("fuzz/explore/bugs.py", "drain-in-two-steps")
        folder = BUGS + "/drain-in-two-steps"
        status, output = run(folder + "/apb-explore", "--replay",
                             folder + "/refill.schedule")
        self.assertEqual(status, 1, output)
        self.assertRegex(output, r"post remote\.c:\d+ +compare_exchange "
                                 r"release +heap \w+'s queue")
        self.assertIn("thread 1 (the one before could go on)", output)
        self.assertRegex(output, r"FINDING: check: pool\.conservation")

    def test_in_an_input(self):
        """Found in an input at random, and shrunk."""
        run("fuzz/explore/bugs.py", "drain-in-two-steps")
        seed = "corpus/seeds/hand-threads-remote-free-32768"
        with tempfile.TemporaryDirectory() as out:
            status, output = run(
                BUGS + "/drain-in-two-steps/apb-explore", "--quiet",
                "--input", "--random", "300", "--out", out, seed)
            self.assertEqual(status, 1, output)
            kept = re.search(r"shrunk to (\d+) records\n  schedule: (\S+),",
                             output)
            self.assertLessEqual(int(kept[1]), 25)
            status, output = run(EXPLORE, "--quiet", "--replay", kept[2])
            self.assertEqual(status, 0, output)


class Inputs(unittest.TestCase):
    def test_seeds(self):
        names = ("hand-threads-end-flushes", "hand-threads-nothing-but-ends")
        status, output = run(EXPLORE, "--quiet", "--input", "--random", "20",
                             *("corpus/seeds/" + name for name in names))
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"2 inputs, 40 schedules, .* 0 findings")

    def test_schedule_at_the_end(self):
        """Bytes behind the records are a schedule."""
        status, output = run(EXPLORE, "--quiet", "--input",
                             "corpus/seeds/hand-threads-end-flushes")
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"1 inputs, 1 schedules, .* 0 findings")


if __name__ == "__main__":
    status, output = proc.make("explore-targets")
    if status != 0:
        sys.exit(output)
    unittest.main()
