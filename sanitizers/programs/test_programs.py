#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of what runs the real programs, and of the fuzz targets' common part,
with one that needs nothing from elsewhere."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)

import recipes  # pylint: disable=wrong-import-position
import reports  # pylint: disable=wrong-import-position

REPORT = """\
==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1 at pc 0x2
WRITE of size 5 at 0x1 thread T0
    #0 0x1 in __asan_memcpy (/x+0x1)
    #1 0x2 in copy /src/copy.c:3:2

0x1 is located 0 bytes after 4-byte region [0x0,0x1)
allocated by thread T0 here:
    #0 0x3 in %s
    #1 0x4 in copy /src/copy.c:2:2
    #2 0x5 in main /src/copy.c:9:2
"""


def run(*command, **env):
    done = subprocess.run(command, env=dict(os.environ, **env), cwd=ROOT,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


class Reports(unittest.TestCase):
    def test_parts(self):
        report = reports.Report(REPORT % "malloc (/x+0x3)")
        self.assertEqual(report.kind, "heap-buffer-overflow")
        self.assertEqual(report.access, "WRITE of size 5")
        self.assertEqual(report.where, "0 bytes after 4-byte region")
        self.assertEqual(report.at, ["__asan_memcpy", "copy"])
        self.assertEqual(report.born, ["copy", "main"])
        self.assertEqual(report.died, [])

    def test_same(self):
        mine = reports.Report(REPORT % "apb_malloc /x/alloc/track/track.c:1:2")
        self.assertEqual(mine.same(reports.Report(REPORT % "malloc (/x)")), "")
        text = (REPORT % "malloc (/x)")
        for old, new in (("4-byte", "8-byte"), ("size 5", "size 4"),
                         ("heap-buffer", "stack-buffer"),
                         ("in copy /src/copy.c:2", "in other /src/copy.c:2"),
                         ("in copy /src/copy.c:3", "in other /src/copy.c:3")):
            self.assertNotEqual(
                mine.same(reports.Report(text.replace(old, new))), "", old)


class Recipes(unittest.TestCase):
    def test_bugs(self):
        """Each bug has its patch, each test of a bug runs some program."""
        for recipe in recipes.ALL.values():
            if not recipe.bug:
                continue
            self.assertTrue(os.path.exists(os.path.join(
                recipes.PATCHES, recipe.bug.patch)))
            test = recipe.test(recipe.bug.test)
            self.assertTrue(any(test.runs(name) for name in recipe.programs))


class BadInput(unittest.TestCase):
    def one_line(self, *command, **env):
        status, output = run(*command, **env)
        self.assertEqual(status, 2, output)
        self.assertEqual(len(output.splitlines()), 1, output)
        return output

    def test_names(self):
        for script in ("run.py", "targets.py"):
            self.assertIn("nothing-such", self.one_line(
                os.path.join(HERE, script), "nothing-such"))

    def test_no_library(self):
        with tempfile.TemporaryDirectory() as build:
            for script in ("run.py", "targets.py"):
                self.assertIn("is missing", self.one_line(
                    os.path.join(HERE, script), "--build", build))

    def test_no_network(self):
        with tempfile.TemporaryDirectory() as build:
            os.mkdir(os.path.join(build, "san-address"))
            for name in ("wrap.rsp", "san-address/libapb.a",
                         "san-address/libapb-wrap.a"):
                with open(os.path.join(build, name), "w", encoding="ascii"):
                    pass
            output = self.one_line(
                os.path.join(HERE, "run.py"), "--build", build, "zlib",
                DEBIAN_MIRROR="file:///nothing/such")
            self.assertIn("apt-get", output)


class Targets(unittest.TestCase):
    """The words of texts: libFuzzer, and apb_reset() after each input."""

    def fuzz(self, kind, **env):
        with tempfile.TemporaryDirectory() as corpus:
            for number in range(8):
                with open(os.path.join(corpus, "%d" % number), "w",
                          encoding="ascii") as stream:
                    stream.write(" ".join("w%dx%d" % (i * number, i)
                                          for i in range(150)))
            return run("build/san-address/words-" + kind, "-runs=500",
                       "-seed=1", "-len_control=0", "-max_len=4096",
                       "-artifact_prefix=%s/" % corpus, corpus,
                       TARGET_COUNT="1", **env)

    def test_deterministic(self):
        status, output = self.fuzz("apb", TARGET_REPEAT="1")
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"target: \d{3} inputs, \d{5,} blocks")

    def test_left_to_reset(self):
        status, output = self.fuzz("apb", TARGET_REPEAT="1", TARGET_DELETE="0")
        self.assertEqual(status, 0, output)

    def test_at_no_cost(self):
        """What is compared with: the same work, on an array."""
        status, output = self.fuzz("bump", TARGET_REPEAT="1")
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r"target: \d{3} inputs, \d{5,} blocks")

    def test_it_can_fail(self):
        """ASan's own malloc gives other addresses the second time."""
        status, output = self.fuzz("asan", TARGET_REPEAT="1")
        self.assertNotEqual(status, 0, output)
        self.assertIn("target: not deterministic", output)


if __name__ == "__main__":
    unittest.main()
