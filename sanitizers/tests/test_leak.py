#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The leak check, on the programs bugs/leaks.c: blocks of apb and of a pool of
the program's own, under ASan and under LSan.  What leaks is reported as for
malloc's blocks, with the stack and the status; what one pointer leads to from
any place is not.
"""

import os
import re
import subprocess
import sys
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import proc  # noqa: E402  (fuzz/ has to be in the path first)

# Of each build: the tool's name, its status at exit.
BUILDS = {"san-address": ("AddressSanitizer", 1),
          "san-leak": ("LeakSanitizer", 23)}
FUZZ = "build/san-address/tests/leak_fuzz"
KINDS = ("apb", "pool")
LEAK = re.compile(r"^(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) "
                  r"object\(s\) allocated from:\n((?:    #.*\n)+)\n", re.M)
SUMMARY = re.compile(r"^SUMMARY: (\w+): (\d+) byte\(s\) leaked in (\d+) "
                     r"allocation\(s\)\.$", re.M)
# What is found, in order, and by the tool's own check after it.
LEAKS = {
    "direct": ([("Direct", 120, 3)], []),
    "indirect": ([("Direct", 48, 1), ("Indirect", 24, 1)], []),
    "cycle": ([("Indirect", 56, 1), ("Indirect", 48, 1)], []),
    "dead": ([("Direct", 33, 1)], []),
    "through": ([("Direct", 72, 1), ("Indirect", 25, 1)],
                [("Direct", 99, 1)]),
    "chain": ([("Direct", 32, 1), ("Indirect", 31968, 999)], []),
}
CLEAN = ("variable", "thread_local", "key", "mixed", "threads", "registers",
         "returned", "in_handlers", "coroutines", "own_stack", "other_exits",
         "first_ends", "leaves")
# Of coroutines, and of a first thread that has ended: the tool's own.
WARNING = re.compile(r"==\d+==(?:WARNING: ASan doesn't fully support |"
                     r"Running thread \d+ was not suspended).*\n")
SECONDS = 60
MANY_MS = 2000


def run(build, name, kind, **env):
    env = proc.environment(ASAN_SYMBOLIZER_PATH="/usr/bin/llvm-symbolizer-19",
                           LSAN_SYMBOLIZER_PATH="/usr/bin/llvm-symbolizer-19",
                           **env)
    done = subprocess.run(
        [os.path.join(ROOT, "build", build, "tests/leaks"), name, kind],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=SECONDS, check=False)
    return done.returncode, done.stdout


def reports(output):
    """[(tool, [(kind, bytes, blocks)], sums, [stacks])] of each report."""
    found = []
    for part in output.split("ERROR: LeakSanitizer: detected memory leaks")[1:]:
        leaks = LEAK.findall(part)
        summary = SUMMARY.search(part)
        found.append((summary[1], [(k, int(b), int(n))
                                   for k, b, n, _ in leaks],
                      (int(summary[2]), int(summary[3])),
                      [stack for *_, stack in leaks]))
    return found


class Programs(unittest.TestCase):
    @staticmethod
    def each(*names):
        for build in BUILDS:
            for kind in KINDS:
                for name in names:
                    yield build, name, kind

    def test_leaks(self):
        for build, name, kind in self.each(*LEAKS):
            tool, exitcode = BUILDS[build]
            status, output = run(build, name, kind)
            self.assertEqual(status, exitcode, output)
            found = reports(output)
            expected = [leaks for leaks in LEAKS[name] if leaks]
            self.assertEqual([leaks for _, leaks, *_ in found], expected,
                             output)
            for said, leaks, sums, _ in found:
                self.assertEqual(said, tool)
                self.assertEqual(sums, (sum(b for _, b, _ in leaks),
                                        sum(n for *_, n in leaks)))
            for stack in found[0][3]:
                self.assertRegex(stack, r"#\d+ 0x\w+ in (take|apb_malloc) .*\n"
                                 r"(?s:.*) in %s .*leaks\.c:\d+(?s:.*)"
                                 r" in main .*leaks\.c:\d+" % name)

    def test_none(self):
        for build, name, kind in self.each(*CLEAN):
            if (build, kind) == ("san-leak", "pool"):
                continue
            status, output = run(build, name, kind)
            output = WARNING.sub("", output)
            self.assertEqual((status, output), (0, ""),
                             "%s %s %s" % (build, name, kind))

    def test_children(self):
        for build, name, kind in self.each("forks"):
            status, output = run(build, name, kind)
            self.assertEqual(status, 0, output)
            self.assertIn("child: %d\n" % BUILDS[build][1], output)
            self.assertEqual([leaks for _, leaks, *_ in reports(output)],
                             [LEAKS["direct"][0]], output)
        for build, name, kind in self.each("forks_threads"):
            self.assertEqual(run(build, name, kind),
                             (0, "in the child: 0\nchild: 0\n"))

    def test_load(self):
        for build, name, kind in self.each("load"):
            self.assertEqual(run(build, name, kind), (0, "found: 0\n"))

    def test_many(self):
        for build, name, kind in self.each("many"):
            status, output = run(build, name, kind)
            found = re.findall(r"^found: (\d+) in (\d+) ms$", output, re.M)
            self.assertEqual((status, [n for n, _ in found]), (0, ["0", "1"]),
                             output)
            self.assertLess(int(found[0][1]), MANY_MS)

    def test_demand(self):
        for build, name, kind in self.each("demand"):
            status, output = run(build, name, kind)
            self.assertEqual(status, 0, output)
            self.assertIn("first: 3\nsecond: 3\n", output)
            self.assertEqual(len(reports(output)), 2)

    def test_no_ptrace(self):
        for build, name, kind in self.each("no_ptrace"):
            status, output = run(build, name, kind)
            self.assertEqual(status, 0, output)
            self.assertIn("alone: 3\nwith threads: 0\n", output)
            self.assertRegex(output, r"==\d+==%s: blocks of pools were not "
                             "checked for leaks: threads do not stop: "
                             "Operation not permitted\n" % BUILDS[build][0])


class Options(unittest.TestCase):
    """As the tool takes them."""

    def leaks(self, options, name="direct"):
        status, output = run("san-address", name, "apb", **options)
        return status, output, reports(output)

    def test_off(self):
        for options in ("detect_leaks=0", "leak_check_at_exit=no",
                        "exitcode=9:detect_leaks=false"):
            status, output, _ = self.leaks({"ASAN_OPTIONS": options})
            self.assertEqual((status, output), (0, ""), options)

    def test_exitcode(self):
        for options in ({"ASAN_OPTIONS": "exitcode=9"},
                        {"LSAN_OPTIONS": "x=1,exitcode='9'"},
                        {"ASAN_OPTIONS": "exitcode=8",
                         "LSAN_OPTIONS": "exitcode=9"}):
            status, output, found = self.leaks(options)
            self.assertEqual((status, len(found)), (9, 1), output)
        status, output, found = self.leaks({"ASAN_OPTIONS": "exitcode=0"})
        self.assertEqual((status, len(found)), (0, 1), output)

    def test_objects(self):
        _, output, _ = self.leaks({"LSAN_OPTIONS": "report_objects=1"})
        self.assertRegex(output, r"Objects leaked above:\n"
                         r"(0x\w+ \(40 bytes\)\n){3}\n")

    def test_max_leaks(self):
        status, output, found = self.leaks({"LSAN_OPTIONS": "max_leaks=1"},
                                           "indirect")
        self.assertEqual((status, [leaks for _, leaks, *_ in found]),
                         (1, [[("Direct", 48, 1)]]), output)
        self.assertIn("Omitting 1 more leak(s).\n", output)

    def test_suppressions(self):
        path = os.path.join(ROOT, "build/san-address/leaks.supp")
        for pattern, status in (("irec", 0), ("^direct$", 0), ("^d*ct$", 0),
                                ("leaks.c", 0), ("tests/leaks", 0),
                                ("^direc$", 1), ("irec*x", 1), ("^irec", 1)):
            with open(path, "w", encoding="utf-8") as file:
                file.write("# these\nleak:%s\n" % pattern)
            got, output, _ = self.leaks(
                {"LSAN_OPTIONS": "suppressions='%s'" % path})
            self.assertEqual(got, status, pattern + "\n" + output)
            if status == 0:
                self.assertRegex(output, r"Suppressions used:\n.*\n +3 +120 %s"
                                 % re.escape(pattern))


class Fuzzing(unittest.TestCase):
    """A target of libFuzzer that looks for leaks after each input."""

    def test_target(self):
        done = subprocess.run(
            [os.path.join(ROOT, FUZZ), "-runs=5000", "-seed=1",
             "-artifact_prefix=" + os.path.join(ROOT, "build/san-address/")],
            env=proc.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn("Direct leak of 21 byte(s) in 1 object(s)", done.stdout)
        self.assertIn("deadly signal", done.stdout)
        artifact = re.search(r"Test unit written to (.+)", done.stdout)[1]
        with open(artifact, "rb") as file:
            self.assertEqual(file.read()[:1], b"L")
        os.unlink(artifact)


if __name__ == "__main__":
    unittest.main()
