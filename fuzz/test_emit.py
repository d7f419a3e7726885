#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of apb-replay --emit-c: programs compile without a warning, and end
well with an allocator that is right.  (That they fail with one that is not:
test_triage.py.)

apb-replay and libapb.a have to be built.
"""

import os
import random
import re
import shutil
import unittest

import proc
import reproducer

REPLAY = "build/fuzz/apb-replay"
LIBRARY = "build/release/libapb.a"
FOLDER = "build/test-emit"
KINDS = ("malloc", "free", "calloc", "realloc", "reallocarray",
         "aligned_alloc", "free_sized", "free_aligned_sized", "bulk malloc",
         "bulk free", "usable_size", "verify", "settle", "trim", "check",
         "fault", "misuse", "scribble", "option", "reset", "thread end")
# Byte 1: 6 is junk; byte 2: 0xa0 two threads, 2 misaligned mappings; byte 3:
# locks are taken.
HEADERS = (b"\1\0\0\0", b"\1\6\0\xe0", b"\1\0\xa2\0")
MODES = ([], ["--kernel", "scripted"], ["--plain"])
COMPILERS = ("gcc", "clang-19")


def write(name, data):
    path = os.path.join(FOLDER, name)
    with open(os.path.join(proc.ROOT, path), "wb") as file:
        file.write(data)
    return path


def random_input(seed, header):
    """Records that are mostly light, as the format has it for a small arg."""
    source = random.Random(seed)
    data = bytearray(header + source.randbytes(4))
    for _ in range(150):
        data += bytes((source.randrange(256), source.randrange(64)))
        data += source.randbytes(6)
    # What random bytes seldom are: a reset, a thread's end.
    data += b"\x1f\xa5" + bytes(6) + b"\x3f\0" + bytes(6)
    return bytes(data)


class Emit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = os.path.join(proc.ROOT, FOLDER)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        cls.inputs = [write("input-%d" % i, random_input(i, header))
                      for i, header in enumerate(HEADERS)]

    def test_inputs_have_every_kind(self):
        status, words = proc.run([REPLAY, "-v", *self.inputs], timeout=60)
        self.assertEqual(status, 0, words)
        for kind in KINDS:
            self.assertRegex(words, r"(?m)^#\d+ (thread \d: )?%s"
                             % re.escape(kind))

    def test_programs_pass(self):
        """Every input in every mode, with both compilers."""
        programs, compile_all = [], []
        for path in self.inputs:
            for mode in MODES:
                name = "%s%s" % (path, "".join(mode))
                status, output = proc.run(
                    [REPLAY, "--emit-c", path, "-o", name + ".c", *mode],
                    timeout=60)
                self.assertEqual(status, 0, output)
                for compiler in COMPILERS:
                    program = "%s-%s" % (name, compiler)
                    programs.append([program])
                    compile_all.append(
                        [compiler, *reproducer.WARNINGS, "-O1", name + ".c",
                         *([] if "--plain" in mode else [LIBRARY]),
                         "-pthread", "-o", program])
        for commands in (compile_all, programs):
            for first in range(0, len(commands), proc.NCPU):
                some = commands[first:first + proc.NCPU]
                for command, done in zip(some, proc.run_all(some, 120)):
                    self.assertEqual(done, (0, ""), command)

    def test_refused_only_there(self):
        """A realloc that the simulated kernel refused, and the real one does
        not: the block goes on where it is then."""
        seed = "corpus/seeds/hand-few-mappings-40000-misalign"
        source, program = FOLDER + "/few.c", FOLDER + "/few"
        for command in ([REPLAY, "--emit-c", seed, "-o", source],
                        ["gcc", *reproducer.WARNINGS, source, LIBRARY,
                         "-pthread", "-o", program], [program]):
            self.assertEqual(proc.run(command, 60), (0, ""), command)

    def test_plain_knows_nothing_of_apb(self):
        for path in self.inputs:
            proc.run([REPLAY, "--emit-c", path, "-o", path + ".c", "--plain"],
                     timeout=60)
            program = reproducer.read(path + ".c")
            self.assertIn("p[0] = ", program)
            self.assertNotRegex(program.partition("*/")[2], "apb")

    def test_loops(self):
        """A bulk operation is a loop, however many blocks it has."""
        path = write("bulk", b"\1\0\0\0\0\0\0\0"
                     b"\x12\xc2\0\0\x30\0\xff\3" b"\x14\xc0\0\0\0\0\xff\3")
        proc.run([REPLAY, "--emit-c", path, "-o", path + ".c"], timeout=60)
        program = reproducer.read(path + ".c")
        self.assertIn("for (int k = 0; k <= 1023; k++) {\n"
                      "\t\tp[k] = apb_malloc(48);\n", program)
        self.assertLess(program.count("apb_free("), 24)

    def test_bad_values(self):
        for command, text in (
                (["--emit-c", "missing", "-o", FOLDER + "/x.c"],
                 "missing: No such file"),
                (["--emit-c", self.inputs[0], "-o", "/nowhere/x.c"],
                 "/nowhere/x.c: No such file"),
                (["--emit-c", self.inputs[0], "-o", FOLDER + "/x.c",
                  "--kernel", "foo"], "--kernel: must be real or scripted"),
                (["--emit-c", self.inputs[0]], "usage:")):
            status, output = proc.run([REPLAY, *command], timeout=60)
            self.assertEqual(status, 2, output)
            self.assertIn(text, output)


if __name__ == "__main__":
    unittest.main()
