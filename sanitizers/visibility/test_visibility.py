#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of the visibility table: reports are read as they are, a cell that is
worse is seen to be, and the quick part of the table holds."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import reports  # noqa: E402  (the path first)
import table    # noqa: E402

ASAN = """\
==9==ERROR: AddressSanitizer: heap-use-after-free on address 0x51 at pc 0x1
READ of size 4 at 0x51 thread T0
    #0 0x1 in read_4 /src/blocks.c:105:1
    #1 0x2 in use_dead /src/dead.c:11:2
    #2 0x3 in main /src/main.c:42:2

0x51 is located 100 bytes inside of 512-byte region [0x50,0x60)
freed by thread T2 here:
    #0 0x1 in free (/bin/client+0xd13d6) (BuildId: 77)
    #1 0x2 in give_back /src/blocks.c:77:2
    #2 0x3 in breaker /src/dead.c:64:2

previously allocated by thread T1 here:
    #0 0x1 in malloc (/bin/client+0xd166f) (BuildId: 77)
    #1 0x2 in by_malloc /src/blocks.c:20:12
    #2 0x3 in maker /src/dead.c:59:9

SUMMARY: AddressSanitizer: heap-use-after-free /src/blocks.c:105:1 in read_4
"""
ASAN_FIELDS = (
    "kind=heap-use-after-free access=read/4 thread=main in=read_4<use_dead "
    "at=100/inside block=512 died=give_back<breaker died-by=T2 "
    "born=by_malloc<maker born-by=T1 exit=1")

TSAN = """\
WARNING: ThreadSanitizer: data race (pid=9)
  Write of size 8 at 0x28 by main thread:
    #0 write_8 /src/blocks.c:108:1 (client+0xeaba9) (BuildId: 13)
    #1 race_write /src/race.c:52:2 (client+0xee135) (BuildId: 13)

  Previous read of size 4 at 0x28 by thread T1:
    #0 read_4 /src/blocks.c:108:1 (client+0xeaba9) (BuildId: 13)

  Location is heap block of size 24 at 0x20 allocated by main thread:
    #0 malloc <null> (client+0x64360) (BuildId: 13)
    #1 by_malloc /src/blocks.c:20:12 (client+0xea7c9) (BuildId: 13)

SUMMARY: ThreadSanitizer: data race /src/blocks.c:108:1 in write_8
"""
TSAN_FIELDS = (
    "kind=data-race access=write/8 thread=main in=write_8<race_write "
    "other=read/4/T1/read_4 block=24 at=8/inside born-by=main "
    "born=by_malloc exit=66")

MSAN = """\
==9==WARNING: MemorySanitizer: use-of-uninitialized-value
    #0 0x1 in read_1 /src/blocks.c:103:1
    #1 0x2 in tail /src/init.c:43:2

  Uninitialized value was created by a heap allocation
    #0 0x1 in realloc (/bin/client+0x72d4a) (BuildId: 87)
    #1 0x2 in resize /src/blocks.c:70:12

SUMMARY: MemorySanitizer: use-of-uninitialized-value /src/blocks.c:1 in read_1
"""
MSAN_FIELDS = ("kind=use-of-uninitialized-value in=read_1<tail origin=born "
               "born=resize exit=1")

LEAKS = """\
==9==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 48 byte(s) in 1 object(s) allocated from:
    #0 0x1 in malloc (/bin/client+0xd166f) (BuildId: 77)
    #1 0x2 in by_malloc /src/blocks.c:20:12
    #2 0x3 in chain /src/leak.c:48:11

Indirect leak of 96 byte(s) in 2 object(s) allocated from:
    #0 0x1 in malloc (/bin/client+0xd166f) (BuildId: 77)
    #1 0x2 in by_malloc /src/blocks.c:20:12

SUMMARY: LeakSanitizer: 144 byte(s) leaked in 3 allocation(s).
"""
LEAKS_FIELDS = ("kind=leak leak=48/1/direct/by_malloc<chain,"
                "96/2/indirect/by_malloc exit=23")

MEMCHECK = """\
==9== Invalid write of size 4
==9==    at 0x10D4D1: write_4 (blocks.c:107)
==9==    by 0x10D678: beside (bounds.c:9)
==9==    by 0x10F083: main (main.c:42)
==9==  Address 0x4d6fc8c is 1,012 bytes inside a block of size 1,013 free'd
==9==    at 0x484417B: free (in /usr/libexec/valgrind/vgpreload_memcheck.so)
==9==    by 0x10D450: give_back (blocks.c:77)
==9==  Block was alloc'd at
==9==    at 0x48417B4: malloc (in /usr/libexec/valgrind/vgpreload_memcheck.so)
==9==    by 0x10D371: by_malloc (blocks.c:20)
==9==
==9== 144 (48 direct, 96 indirect) bytes in 1 blocks are definitely lost in loss
==9==    at 0x48417B4: malloc (in /usr/libexec/valgrind/vgpreload_memcheck.so)
==9==    by 0x10D371: by_malloc (blocks.c:20)
==9==
"""
MEMCHECK_FIELDS = (
    "kind=invalid-access access=write/4 in=write_4<beside at=1012/inside "
    "block=1013 died=give_back born=by_malloc "
    "leak=48+96/1/definitely/by_malloc exit=99")

SAMPLES = (
    ("address", ASAN, 1, ASAN_FIELDS), ("thread", TSAN, 66, TSAN_FIELDS),
    ("memory", MSAN, 1, MSAN_FIELDS), ("leak", LEAKS, 23, LEAKS_FIELDS),
    ("valgrind", MEMCHECK, 99, MEMCHECK_FIELDS))


class Reports(unittest.TestCase):
    def test_samples(self):
        for tool, text, status, fields in SAMPLES:
            with self.subTest(tool):
                self.assertEqual(reports.line_of(
                    reports.parse(tool, text, status)), fields)

    def test_blanks_in_paths(self):
        for tool, text, status, fields in SAMPLES:
            with self.subTest(tool):
                text = text.replace("/src/", "/my src/a b/")
                self.assertEqual(reports.line_of(
                    reports.parse(tool, text, status)), fields)

    def test_silence(self):
        for tool, *_ in SAMPLES:
            self.assertEqual(reports.parse(tool, "ready\n", 0),
                             table.SILENT)

    def test_crash(self):
        self.assertEqual(
            reports.line_of(reports.parse("thread", "", -11)),
            "kind=crash exit=signal-11")
        self.assertEqual(
            reports.parse("leak", "LeakSanitizer: CHECK failed: x\n", 23),
            {"kind": "crash", "exit": "23"})

    def test_older_words(self):
        """gcc 12's ASan."""
        text = ASAN.replace("100 bytes inside of",
                            "3 bytes to the right of")
        self.assertEqual(reports.parse("address-gcc", text, 1)["at"],
                         "3/after")


class Judgement(unittest.TestCase):
    """A report that says something else, or less, is worse."""

    def verdict(self, tool, text, status, wanted):
        return table.compare(reports.fields_of(wanted),
                             reports.parse(tool, text, status), False)[0]

    def test_as_it_is(self):
        for sample in SAMPLES:
            self.assertEqual(self.verdict(*sample), table.SAME)

    def test_each_line_counts(self):
        """Without any one of the lines that say something it is worse."""
        changes = 0
        for tool, text, status, wanted in SAMPLES:
            lines = text.splitlines(keepends=True)
            for i, line in enumerate(lines):
                if not re.search(r"0x1 in (free|malloc|realloc)|<null>|SUMMARY|"
                                 r"main|vgpreload|^\n$|==9==$", line):
                    less = "".join(lines[:i] + lines[i + 1:])
                    with self.subTest(tool=tool, line=line):
                        self.assertEqual(
                            self.verdict(tool, less, status, wanted),
                            table.WORSE)
                    changes += 1
        self.assertGreater(changes, 30)

    def test_each_number_and_name_counts(self):
        for sample in SAMPLES:
            tool, text, status, wanted = sample
            for old, new in (("read_", "rexd_"), ("by_malloc", "by_other"),
                             ("size 4", "size 2"), ("give_back", "take"),
                             ("512-byte", "511-byte"), ("100 bytes", "99 bytes"),
                             ("T2", "T1"), ("48", "47"), ("1,013", "1,014"),
                             ("heap-use-after-free", "use-after-poison"),
                             ("realloc", "realloc")):
                if old in text and old != new:
                    with self.subTest(tool=tool, change=new):
                        self.assertEqual(self.verdict(
                            tool, text.replace(old, new), status, wanted),
                            table.WORSE)

    def test_silence_is_worse(self):
        for tool, _, _, wanted in SAMPLES:
            self.assertEqual(self.verdict(tool, "", 0, wanted), table.WORSE)

    def test_exit_status_counts(self):
        for tool, text, _, wanted in SAMPLES:
            self.assertEqual(self.verdict(tool, text, 0, wanted), table.WORSE)

    def test_more_is_no_worse(self):
        self.assertEqual(self.verdict(
            "address", ASAN, 1, "kind=heap-use-after-free exit=1"), table.MORE)
        self.assertEqual(self.verdict("address", ASAN, 1, "-"), table.MORE)
        self.assertEqual(self.verdict("address", ASAN, 1, "kind=crash exit=1"),
                         table.MORE)

    def test_correct_programs_are_silent(self):
        said = reports.parse("address", ASAN, 1)
        self.assertEqual(table.compare(table.SILENT, said, True)[0],
                         table.WORSE)
        self.assertEqual(
            table.compare(table.SILENT, table.SILENT, True)[0], table.SAME)

    def test_plain_malloc_is_measured(self):
        """What plain malloc gives has to be what is expected."""
        cells = {("address", "dead-read-512"): {
            "plain": reports.parse("address", ASAN, 1), "apb": {}}}
        row = table.judge(cells)[0]
        self.assertEqual(row["verdict"], table.WRONG)
        self.assertIn("died-by", row["why"])


class Expectations(unittest.TestCase):
    def expected(self, text):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "leak.txt"), "w",
                      encoding="ascii") as file:
                file.write(text)
            return table.read_expected("leak", folder)

    def test_lines(self):
        self.assertEqual(
            self.expected("# c\n\na  -\nb kind=leak exit=23\nb apb exit=0\n"),
            {"a": {"plain": {"exit": "0"}},
             "b": {"plain": {"kind": "leak", "exit": "23"},
                   "apb": {"exit": "0"}}})

    def test_bad_lines(self):
        for text in ("a\n", "a kind\n", "a kind=\n", "a kind=x kind=y\n",
                     "a -\na -\n"):
            with self.assertRaises(table.Bad):
                self.expected(text)


def run(*arguments):
    return subprocess.run(
        [os.path.join(HERE, "visibility.py"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False)


class Quick(unittest.TestCase):
    def test_quick(self):
        done = run("--quick")
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertRegex(done.stdout, r"worse 0, wrong 0")

    def test_bad_arguments(self):
        for arguments in (["--tool", "lint"],
                          ["--tool", "address", "no-such-scene"]):
            done = run("--apb", *arguments)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)


if __name__ == "__main__":
    unittest.main()
