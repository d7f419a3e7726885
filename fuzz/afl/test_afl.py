#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of AFL++'s custom mutator, loaded as afl-fuzz loads it, and of AFL++
and libFuzzer side by side: each takes in what the other one finds.

The fuzzing targets have to be built.
"""

import ctypes
import os
import random
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import engines
import proc
import test_fuzz

HEADER = RECORD = 8
MOST = 4096


class Mutator:
    """The library, as afl-fuzz uses it."""

    def __init__(self, seed):
        self.lib = ctypes.CDLL(os.path.join(proc.ROOT, engines.AFL_MUTATOR))
        size, data = ctypes.c_size_t, ctypes.c_char_p
        out = ctypes.POINTER(ctypes.c_void_p)
        self.lib.afl_custom_init.restype = ctypes.c_void_p
        for name, result, *arguments in (
                ("fuzz", size, data, size, out, data, size, size),
                ("describe", data, size), ("fuzz_count", ctypes.c_uint, data,
                                           size),
                ("init_trim", ctypes.c_int, data, size),
                ("trim", size, out), ("post_trim", ctypes.c_int,
                                      ctypes.c_ubyte), ("deinit", None)):
            function = getattr(self.lib, "afl_custom_" + name)
            function.restype = result
            function.argtypes = [ctypes.c_void_p, *arguments]
        self.state = self.lib.afl_custom_init(None, seed)

    def __getattr__(self, name):
        function = getattr(self.lib, "afl_custom_" + name)
        return lambda *arguments: function(self.state, *arguments)

    def mutate(self, data, other=b"", most=MOST):
        out = ctypes.c_void_p()
        size = self.fuzz(data, len(data), ctypes.byref(out), other or None,
                         len(other), most)
        return ctypes.string_at(out, size)

    def trimmed(self, data, same):
        """Trim as AFL++ does: (what is left, number of tries)."""
        steps, step, tries = self.init_trim(data, len(data)), 0, 0
        while step < steps:
            out = ctypes.c_void_p()
            size = self.trim(ctypes.byref(out))
            tried = ctypes.string_at(out, size)
            tries += 1
            kept = same(tried)
            if kept:
                data = tried
            step = self.post_trim(kept)
        return data, tries


def records(data):
    return [data[i:i + RECORD] for i in range(HEADER, len(data), RECORD)]


def numbered(count):
    return bytes(HEADER) + b"".join(b"%08d" % i for i in range(count))


class Mutation(unittest.TestCase):
    def setUp(self):
        self.mutator = Mutator(1)
        self.addCleanup(self.mutator.deinit)

    def test_whole_operations(self):
        """Any input becomes a header and whole records, within bounds."""
        draw = random.Random(1)
        for _ in range(20000):
            data, other = (draw.randbytes(draw.choice((1, 7, 8, 9, 40, 900)))
                           for _ in range(2))
            most = draw.choice((16, 24, 200, MOST))
            changed = self.mutator.mutate(data, other, most)
            self.assertEqual(len(changed) % RECORD, 0)
            self.assertLessEqual(HEADER + RECORD, len(changed))
            self.assertLessEqual(len(changed), most)

    def test_seed_decides(self):
        data = numbered(50)
        results = []
        for seed in (1, 1, 2):
            mutator = Mutator(seed)
            results.append([mutator.mutate(data, data) for _ in range(100)])
            mutator.deinit()
        self.assertEqual(results[0], results[1])
        self.assertNotEqual(results[0], results[2])

    def test_variety(self):
        """Every change is made, and named; most records stay as they were."""
        data, other = numbered(50), bytes(8) + b"otherone" * 20
        seen, kept = set(), 0
        for _ in range(2000):
            changed = self.mutator.mutate(data, other)
            words = self.mutator.describe(200).decode()
            self.assertRegex(words, r"^ops(,[a-z]+\d*(@\d+(-\d+)?)?)*$")
            seen.update(re.findall(r",([a-z]+)", words))
            kept += len(set(records(changed)) & set(records(data)))
            if ",splice" in words and ",cross" not in words and \
                    words.count(",") == 1:
                self.assertIn(b"otherone", records(changed))
        self.assertEqual(seen, {
            "drop", "insert", "copy", "repeat", "swap", "kind", "thread",
            "arg", "slot", "val", "head", "splice", "cross"})
        self.assertGreater(kept / 2000, 25)

    def test_description_fits(self):
        for _ in range(200):
            self.mutator.mutate(numbered(30), numbered(9))
            for most in (0, 3, 10, 30):
                words = self.mutator.describe(most)
                self.assertLessEqual(len(words), most)
                self.assertFalse(words.endswith(b","))


class Trimming(unittest.TestCase):
    def setUp(self):
        self.mutator = Mutator(1)
        self.addCleanup(self.mutator.deinit)

    def test_leaves_what_matters(self):
        """Three operations of forty do it: the others go, whole."""
        data = numbered(40)
        wanted = [records(data)[i] for i in (3, 17, 39)]
        small, tries = self.mutator.trimmed(
            data, lambda d: all(r in records(d) for r in wanted))
        self.assertTrue(set(records(small)) <= set(records(data)))
        self.assertEqual(small[:HEADER], data[:HEADER])
        self.assertLess(len(records(small)), 8)
        self.assertLessEqual(tries, 64)

    def test_nothing_to_do(self):
        for data in (b"", b"abc", numbered(0), numbered(1)):
            self.assertEqual(self.mutator.trimmed(data, self.fail), (data, 0))

    def test_all_matters(self):
        data = numbered(40)
        self.assertEqual(self.mutator.trimmed(data, lambda d: d == data)[0],
                         data)


class SideBySide(unittest.TestCase):
    """make fuzz ENGINE=both, for some seconds, in a tree with little corpus."""

    SECONDS = 8
    SEEDS = ("hand-class-00016", "hand-large-grow", "hand-sized-frees")

    @classmethod
    def setUpClass(cls):
        cls.folder = proc.ROOT + "/build/test-both"
        test_fuzz.copy_tree(cls.folder, *cls.SEEDS)
        # what is built need not be built again
        build = cls.folder + "/build"
        os.makedirs(build + "/fuzz")
        for entry in os.scandir(proc.ROOT + "/build"):
            if entry.name not in ("fuzz", "findings", "bugs", "test-both"):
                os.symlink(entry.path, os.path.join(build, entry.name))
        for entry in os.scandir(proc.ROOT + "/build/fuzz"):
            if entry.is_file():
                shutil.copy2(entry.path, build + "/fuzz")

    def path(self, name):
        return os.path.join(self.folder, name)

    def names(self, folder):
        return [name for name in os.listdir(self.path(folder))
                if not name.startswith(".")]

    def test_both(self):
        done = subprocess.run(
            ["fuzz/fuzz.py"], cwd=self.folder, stdin=subprocess.DEVNULL,
            env=proc.environment(ENGINE="both", JOBS="1", FUZZ_SECONDS=str(
                self.SECONDS)),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=280, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        # one worker of each, however few JOBS there are
        self.assertRegex(done.stdout, r"\d+ s of both with JOBS=2")
        queue = engines.AFL_OUT + "/0/queue"
        fresh = [name for name in self.names(queue)
                 if name.startswith("id:") and ",orig:" not in name]
        self.assertTrue(any(",ops," in name for name in fresh),
                        "nothing new by the mutator")
        with open(self.path(engines.AFL_OUT + "/0/fuzzer_stats"),
                  encoding="utf-8") as file:
            stats = file.read()
        self.assertRegex(stats, "stability +: 100.00%")
        self.assertIn("-F " + engines.CORPUS, stats)
        # AFL++'s inputs are in the corpus, where libFuzzer has read them
        found = {engines.digest(self.path(os.path.join(queue, name)))
                 for name in fresh}
        self.assertLessEqual(found, set(self.names(engines.CORPUS)))
        with open(self.path(engines.LOGS + "/asan-0.log"),
                  encoding="utf-8", errors="replace") as file:
            self.assertIn("RELOAD", file.read())


if __name__ == "__main__":
    unittest.main()
