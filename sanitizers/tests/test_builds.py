#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is compiled for a tool, and how: apb's own code is not instrumented where
the program's blocks are what is looked at, or its hidden locks (api/hide.h)
make races of what they guard, in every program that has threads.
"""

import os
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import proc  # noqa: E402  (fuzz/ has to be in the path first)

SOURCE = "alloc/heap/thread"


class Thread(unittest.TestCase):
    def test_not_instrumented(self):
        for compiler, flavour in (("clang-19", "san-thread"),
                                  ("gcc", "san-thread-gcc")):
            path = "build/%s/%s.o" % (flavour, SOURCE)
            status, output = proc.make(path)
            self.assertEqual(status, 0, output)
            names = subprocess.run(
                ["nm", os.path.join(ROOT, path)], text=True, check=True,
                stdout=subprocess.PIPE).stdout
            for name in ("__tsan_read", "__tsan_write", "__tsan_atomic"):
                self.assertNotIn(name, names, compiler)

    def test_gcc_by_itself(self):
        """Who compiles the sources himself is told what gcc wants."""
        command = ["gcc", "-fsyntax-only", "-Ialloc/include", "-Ialloc",
                   "-Isanitizers", SOURCE + ".c"]
        for flags, said in ((["-fsanitize=thread"], "-fno-sanitize=thread"),
                            (["-DAPB_SAN_THREAD=1"], "")):
            done = subprocess.run(command + flags, cwd=ROOT, text=True,
                                  stderr=subprocess.PIPE, check=False)
            self.assertEqual(done.returncode, 1 if said else 0, done.stderr)
            self.assertIn(said, done.stderr)


if __name__ == "__main__":
    unittest.main()
