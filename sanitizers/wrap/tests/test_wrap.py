#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whole programs with their malloc wrapped: whole.c and whole.cc here."""

import os
import re
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "sanitizers", "programs"))

import reports  # pylint: disable=wrong-import-position

CXX_FLAVOURS = ("release", "san-address", "test")
FLAVOURS = CXX_FLAVOURS + ("san-memory", "san-thread", "san-valgrind")


def run(flavour, *words, more=""):
    """Without a bug asked for, all goes that goes without a tool."""
    options = "exitcode=86" + more
    if len(words) == 1:
        options += ":allocator_may_return_null=1"
    env = {tool + "_OPTIONS": options for tool in ("MSAN", "TSAN")}
    env["ASAN_OPTIONS"] = options + ":detect_leaks=1"
    done = subprocess.run(
        [os.path.join(ROOT, "build", flavour, words[0]), *words[1:]],
        env=dict(os.environ, **env),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


class Clean(unittest.TestCase):
    def check(self, program, flavours):
        for flavour in flavours:
            status, output = run(flavour, program)
            self.assertEqual((status, output), (0, ""), flavour)

    def test_c(self):
        self.check("wrap-whole", FLAVOURS)

    def test_cxx(self):
        self.check("wrap-whole-cxx", CXX_FLAVOURS)


class Bugs(unittest.TestCase):
    """As they would be reported of ASan's own malloc."""

    def report(self, *words):
        status, output = run("san-address", *words)
        self.assertEqual(status, 86, output)
        return reports.Report(output)

    def test_overflow(self):
        report = self.report("wrap-whole", "overflow")
        self.assertEqual((report.kind, report.access, report.where), (
            "heap-buffer-overflow", "WRITE of size 1",
            "0 bytes after 14-byte region"))
        self.assertEqual(report.at[0], "spoil")
        self.assertEqual(report.born[0], "make_text")

    def test_use_after_free(self):
        report = self.report("wrap-whole", "use-after-free")
        self.assertEqual((report.kind, report.access, report.where), (
            "heap-use-after-free", "WRITE of size 1",
            "0 bytes inside of 14-byte region"))
        self.assertEqual((report.at[0], report.born[0], report.died[0]),
                         ("spoil", "make_text", "drop"))

    def test_double_free(self):
        report = self.report("wrap-whole", "double-free")
        self.assertEqual(report.kind, "double-free")
        self.assertEqual((report.born[0], report.died[0]),
                         ("make_text", "drop"))

    def test_block_of_libc(self):
        """It is the tool's own, and so is the report."""
        report = self.report("wrap-whole", "libc-double-free")
        self.assertEqual(report.kind, "double-free")
        self.assertIn("realpath", report.born[0])

    def test_refused(self):
        for name, kind in (
                ("calloc", "calloc-overflow"),
                ("reallocarray", "reallocarray-overflow"),
                ("malloc", "allocation-size-too-big"),
                ("aligned", "invalid-aligned-alloc-alignment"),
                ("aligned-size", "invalid-aligned-alloc-alignment"),
                ("memalign", "invalid-allocation-alignment"),
                ("posix", "invalid-posix-memalign-alignment"),
                ("pvalloc", "pvalloc-overflow")):
            status, output = run("san-address", "wrap-whole",
                                 name + "-refused")
            self.assertEqual(status, 86, output)
            self.assertRegex(output, r"==ERROR: AddressSanitizer: .*\n"
                             r"    #0 0x\w+ in (apb|__wrap)_\w+ .*\n"
                             r"    #1 0x\w+ in ask_for_too_much .*\n")
            self.assertIn("SUMMARY: AddressSanitizer: %s " % kind, output)

    def test_refused_by_other_tools(self):
        """Their own malloc says it."""
        for flavour, tool, kind in (
                ("san-memory", "MemorySanitizer", "posix-memalign"),
                ("san-thread", "ThreadSanitizer", "aligned-alloc")):
            status, output = run(flavour, "wrap-whole", "%s-refused" % (
                kind.replace("-memalign", "").replace("-alloc", "")))
            self.assertEqual(status, 86, output)
            self.assertIn("SUMMARY: %s: invalid-%s-alignment " % (tool, kind),
                          output)
            self.assertIn(" ask_for_too_much ", output)

    def test_delete_of_another_size(self):
        status, output = run("san-address", "wrap-whole-cxx", "delete-size")
        self.assertEqual(status, 86, output)
        self.assertIn("new-delete-type-mismatch", output)
        self.assertIn("size of the deallocated type: 24 bytes", output)
        self.assertIn("delete_as", output)
        self.assertEqual((0, ""), run("san-address", "wrap-whole-cxx",
                                      "delete-size",
                                      more=":new_delete_type_mismatch=0"))

    def test_new(self):
        report = self.report("wrap-whole-cxx", "overflow")
        self.assertEqual((report.kind, report.where), (
            "heap-buffer-overflow", "0 bytes after 13-byte region"))
        self.assertRegex(report.at[0], "^spoil")
        self.assertTrue(any(re.match("make_array", name)
                            for name in report.born[:5]), report.born)


if __name__ == "__main__":
    unittest.main()
