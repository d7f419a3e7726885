#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What AddressSanitizer says of mistakes with blocks of a pool: the programs
bugs/pool.c, built by both compilers, bugs/free_fuzz.c under libFuzzer, and
example/bump.c.  The kind of error, the size, the offset and both stacks have to
be what they are for malloc's blocks, and how the process ends, too.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import proc  # noqa: E402  (fuzz/ has to be in the path first)

BUILDS = ("san-address", "san-address-gcc")
EXIT = 23
SYMBOLIZER = "llvm-symbolizer-19"

# Of each bug: kind in the first line, kind in the summary, place, stacks.
MAKER = r"allocated by thread T1 here:\n" \
        r"    #0 0x\w+ in take .*pool\.c:\d+.*\n" \
        r"    #1 0x\w+ in maker .*pool\.c:\d+"
FREED = r"freed by thread T2 here:\n" \
        r"    #0 0x\w+ in give .*pool\.c:\d+.*\n" \
        r"    #1 0x\w+ in dropper .*pool\.c:\d+(?s:.*)\n\n" \
        r"previously " + MAKER
BLOCK = r"13-byte region \[0x\w+0,0x\w+d\)"
AFTER = r"(?:after|to the right of) " + BLOCK
BEFORE = r"(?:before|to the left of) " + BLOCK
OVER = "heap-buffer-overflow"
NOT_MALLOCED = r"attempting free on address which was not malloc\(\)-ed: "
MISMATCH = "new-delete-type-mismatch"
BUGS = {
    "over": (OVER, OVER, "0 bytes " + AFTER, MAKER),
    "over_wide": (OVER, OVER, "0 bytes " + AFTER, MAKER),
    "over_memset": (OVER, OVER, "0 bytes " + AFTER, MAKER),
    "under": (OVER, OVER, "1 bytes " + BEFORE, MAKER),
    "after_free": ("heap-use-after-free", "heap-use-after-free",
                   "5 bytes inside of " + BLOCK, FREED),
    "after_reset": ("heap-use-after-free", "heap-use-after-free",
                    "5 bytes inside of " + BLOCK,
                    r"freed by thread T0 here:\n    #0 0x\w+ in after_reset "
                    r"(?s:.*)\n\npreviously " + MAKER),
    "twice": (r"attempting double-free on 0x\w+ in thread T0", "double-free",
              "0 bytes inside of " + BLOCK, FREED),
    "inside": (NOT_MALLOCED, "bad-free", "8 bytes inside of " + BLOCK, MAKER),
    "wild": (NOT_MALLOCED + "0x000012345678", "bad-free",
             "in no block that is known", ""),
    "by_size": (MISMATCH, MISMATCH, "0 bytes inside of " + BLOCK,
                MAKER),
    "by_alignment": (MISMATCH, MISMATCH, "0 bytes inside of " + BLOCK,
                     MAKER),
    "usable": (r"attempting to call malloc_usable_size\(\) for pointer which "
               "is not owned: ", "bad-malloc_usable_size",
               "0 bytes inside of " + BLOCK, MAKER),
    "by_libc": (NOT_MALLOCED, "bad-free", "0 bytes inside of " + BLOCK,
                MAKER),
}
SAID = {
    "by_size": r"  size of the allocated type:   13 bytes;\n"
               r"  size of the deallocated type: 14 bytes\.\n",
    "by_alignment": r"  alignment of the deallocated type: 4096 bytes\.\n",
}
# Reports that the layer makes; those of the tool go on only in programs that
# are compiled so.
OWN = ("twice", "by_size")
# What is asked of the second compiler, for the sake of time.
SOME = ("over_wide", "under", "after_free", "twice", "by_alignment", "by_libc")


def run(program, *args, cwd=None, **options):
    """Status and output of a program, under these options of its tool."""
    words = {"exitcode": EXIT, "detect_leaks": 0, "symbolize": 1}
    words.update(options)
    text = ":".join("%s=%s" % word for word in words.items())
    env = dict(os.environ, ASAN_OPTIONS=text, MSAN_OPTIONS=text)
    for tool in ("ASAN", "MSAN"):
        env.setdefault(tool + "_SYMBOLIZER_PATH", "/usr/bin/" + SYMBOLIZER)
    done = subprocess.run(
        [os.path.join(ROOT, program), *args], env=env, cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        timeout=60, text=True, errors="replace")
    return done.returncode, done.stdout


class Reports(unittest.TestCase):
    def matches(self, pattern, text):
        self.assertTrue(re.search(pattern, text),
                        "no %s in:\n%s" % (pattern, text))

    def check(self, name, text):
        kind, summary, place, stacks = BUGS[name]
        self.matches(r"==\d+==ERROR: AddressSanitizer: " + kind, text)
        self.matches(r"SUMMARY: AddressSanitizer: %s .*in " % summary, text)
        self.matches(place, text)
        self.matches(stacks, text)
        self.matches(SAID.get(name, ""), text)
        # who made the mistake
        self.matches(r"    #\d 0x\w+ in %s .*pool\.c:\d+" % name, text)
        if "T1" in stacks:
            self.matches(r"Thread T1 created by T0 here:\n(?s:.*)"
                         r" in_thread .*pool\.c", text)

    def test_bugs(self):
        for build in BUILDS:
            for name in BUGS if build == BUILDS[0] else SOME:
                with self.subTest(build=build, bug=name):
                    status, text = run("build/%s/tests/pool" % build, name)
                    self.assertEqual(status, EXIT, text)
                    self.check(name, text)
                    self.assertEqual(text.count("ERROR: "), 1, text)
                    self.matches(r"==\d+==ABORTING\n$", text)

    def test_no_bug(self):
        for build in BUILDS:
            status, text = run("build/%s/tests/pool" % build, "gone")
            self.assertEqual((status, text), (0, "went on\n"))

    def test_recovery(self):
        """With halt_on_error=0 a bad free is reported and not done."""
        for build in BUILDS:
            for name in OWN:
                with self.subTest(build=build, bug=name):
                    status, text = run("build/%s/tests/pool" % build, name,
                                       halt_on_error=0)
                    self.assertEqual(status, 0, text)
                    self.check(name, text)
                    self.matches(r"\nwent on\n$", text)
                    self.assertNotIn("ABORTING", text)

    def test_together(self):
        """Reports of several threads at once are told one after the other."""
        for build, tool, end, code in (
                ("san-address", "AddressSanitizer", r"went on\n", 0),
                ("san-memory", "MemorySanitizer",
                 r"MemorySanitizer: 15 warnings reported\.\n", EXIT)):
            status, text = run("build/%s/tests/pool" % build, "together",
                               halt_on_error=0)
            self.assertEqual(status, code, text)
            kinds = re.findall(r"ERROR: %s: (attempting \S+)" % tool, text)
            self.assertEqual((kinds.count("attempting double-free"),
                              kinds.count("attempting free"), len(kinds)),
                             (5, 10, 15), text)
            self.assertNotIn("WARNING", text)
            report = (r"={65}\n==\d+==ERROR: (?:(?!ERROR: )(?s:.))*?"
                      r"SUMMARY: %s: (?:double|bad)-free .*\n" % tool)
            self.assertTrue(re.fullmatch("(?:%s){15}%s" % (report, end),
                                         text), text)

    def test_abort(self):
        for build in BUILDS:
            status, text = run("build/%s/tests/pool" % build, "twice",
                               abort_on_error=1)
            self.assertEqual(status, -6, text)
            self.check("twice", text)

    def test_log(self):
        """The whole report goes to where the tool's reports go."""
        for build in BUILDS:
            for name, halt in (("over", 1), ("twice", 0)):
                with self.subTest(build=build, bug=name, halt=halt), \
                        tempfile.TemporaryDirectory() as folder:
                    status, text = run(
                        "build/%s/tests/pool" % build, name,
                        halt_on_error=halt,
                        log_path=os.path.join(folder, "log"))
                    self.assertEqual(status, EXIT if halt else 0)
                    self.assertNotIn("T1", text)
                    logs = os.listdir(folder)
                    self.assertEqual(len(logs), 1, text)
                    with open(os.path.join(folder, logs[0]),
                              encoding="utf-8") as log:
                        self.check(name, log.read())

    def test_libfuzzer(self):
        """It sees a bad free as a crash, and keeps the input."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "input")
            with open(path, "w", encoding="utf-8") as file:
                file.write("AB")
            status, text = run("build/san-address/tests/free_fuzz",
                               "-runs=1", folder, cwd=folder)
            self.assertNotEqual(status, 0, text)
            self.matches("attempting double-free", text)
            crashes = [name for name in os.listdir(folder)
                       if name.startswith("crash-")]
            self.assertEqual(len(crashes), 1, text)
            with open(os.path.join(folder, crashes[0]),
                      encoding="utf-8") as file:
                self.assertEqual(file.read(), "AB")

    def test_example(self):
        status, text = run("build/san-address/tests/bump")
        self.assertEqual((status, text), (0, "Hello, world\n"))
        for bug, kind in (("overflow", OVER), ("reset", "heap-use-after-free")):
            status, text = run("build/san-address/tests/bump", bug)
            self.assertEqual(status, EXIT, text)
            self.matches(kind, text)
            self.matches(r"not wild: it is at a block of bump\.\n"
                         r"0x.* 13-byte region", text)
            self.matches(r"allocated by thread T0 here:\n(?s:.*) main .*bump\.c",
                         text)

    def test_example_tools(self):
        """The other tools see into it as well."""
        valgrind = ["valgrind", "-q", "--error-exitcode=%d" % EXIT]
        for tool, wrap, bug, said in (
                ("memory", (), "uninitialised", r"use-of-uninitialized-value(?s:.*)"
                 r"heap allocation(?s:.*) in bump_alloc .*bump\.c"),
                ("memory", (), "reset", r"use-of-uninitialized-value(?s:.*)"
                 r"heap deallocation(?s:.*) in bump_reset .*bump\.c"),
                ("thread", (), "reset", r"heap-use-after-free(?s:.*)"
                 r"Previous write(?s:.*) bump_reset .*bump\.c"),
                ("valgrind", valgrind, "overflow", r"Invalid write of size 1"
                 r"(?s:.*)0 bytes after a block of size 13 alloc'd(?s:.*)"
                 r": bump_alloc"),
                ("valgrind", valgrind, "uninitialised", "depends on uninit"),
                ("valgrind", valgrind, "reset", r"Invalid read(?s:.*)0 bytes "
                 r"inside a block of size 13 free'd(?s:.*): bump_reset"
                 r"(?s:.*)alloc'd(?s:.*): bump_alloc")):
            for name in (bug, "") if bug == "reset" else (bug,):
                with self.subTest(tool=tool, bug=name):
                    env = dict(os.environ, TSAN_OPTIONS="exitcode=%d" % EXIT,
                               MSAN_OPTIONS="exitcode=%d" % EXIT)
                    done = subprocess.run(
                        [*wrap, "build/san-%s/tests/bump" % tool,
                         *filter(None, [name])], cwd=ROOT, env=env,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                        check=False, timeout=60, text=True, errors="replace")
                    if name:
                        self.assertEqual(done.returncode, EXIT, done.stdout)
                        self.matches(said, done.stdout)
                    else:
                        self.assertEqual(done.stdout, "Hello, world\n")


if __name__ == "__main__":
    status, output = proc.make("san-tests")
    if status != 0:
        print(output)
        sys.exit("make san-tests: " + proc.ending(status))
    unittest.main()
