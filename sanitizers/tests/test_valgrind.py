#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The regressions under memcheck, helgrind and DRD, silent, in the build whose
blocks valgrind sees; and each of the tools does complain where it has to."""

import os
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
REPLAY = "build/san-valgrind/apb-replay"
# Threads that hand over to each other as these tools do not know it.
THREADS = "corpus/seeds/hand-threads-end-with-live-blocks-00048"
CLIENT = "build/visibility-valgrind-apb/client"


def valgrind(tool, *command):
    done = subprocess.run(
        ["valgrind", "-q", "--tool=" + tool, "--error-exitcode=9",
         "--suppressions=sanitizers/harness.supp", *command],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=200, check=False)
    return done.returncode, done.stdout


class Valgrind(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        subprocess.run(["make", "-s", REPLAY, CLIENT], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)

    def test_replay_is_silent(self):
        for tool in ("memcheck", "helgrind", "drd"):
            with self.subTest(tool=tool):
                status, output = valgrind(tool, REPLAY, "--no-fork",
                                          "corpus/regressions", THREADS)
                self.assertEqual(status, 0, output)
                self.assertNotIn("==", output)
                self.assertRegex(output, r"^[1-9]\d* inputs, 0 findings\n?$")

    def test_memcheck_names_a_dead_block(self):
        status, output = valgrind("memcheck", CLIENT, "dead-read-24")
        self.assertEqual(status, 9, output)
        self.assertIn("0 bytes inside a block of size 24 free'd", output)

    def test_helgrind_names_the_block(self):
        status, output = valgrind("helgrind", CLIENT, "race-aligned")
        self.assertEqual(status, 9, output)
        self.assertIn("64 bytes inside a block of size 200 alloc'd", output)
        self.assertIn("apb_aligned_alloc", output)

    def test_blocks_that_helgrind_lends(self):
        for scene in ("ok-reset", "ok-sized", "ok-resized", "ok-forked"):
            with self.subTest(scene=scene):
                status, output = valgrind("helgrind", CLIENT, scene)
                self.assertEqual((status, output), (0, ""))
        _, output = valgrind("helgrind", CLIENT, "sized-100-as-101")
        self.assertIn("new-delete-type-mismatch", output)
        self.assertRegex(output, r"allocated type: +100 bytes")

    def test_races_are_seen(self):
        for tool in ("helgrind", "drd"):
            with self.subTest(tool=tool):
                status, output = valgrind(tool, CLIENT, "race-write-write")
                self.assertEqual(status, 9, output)


if __name__ == "__main__":
    unittest.main()
