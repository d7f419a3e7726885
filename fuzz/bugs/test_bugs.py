#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of make bugs: results that are kept and taken up again, the figures and
the table made of them, the patches' headers, and one bug with both engines.

The fuzzing targets have to be built.
"""

import json
import math
import os
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import bugs
import engines
import plant
import proc
import results
import runs

TREES = {runs.COMMITTED: "tree", runs.EMPTY: "bare"}
BUG, OTHER = "21-trim-keeps-spare", "44-large-align-ignored"


def result(bug=BUG, engine="libfuzzer", seed=1, seconds=1.0, found="align",
           corpus=runs.COMMITTED, limit=60, broken=False):
    return {"bug": bug, "engine": engine, "corpus": corpus, "seed": seed,
            "seconds": seconds, "found": found, "limit": limit,
            "broken": broken, "executions": 7, "log": "log"}


class Kept(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = os.path.join(folder.name, "results")
        self.readme = os.path.join(folder.name, "README")
        for name, value in (("FILE", self.file), ("README", self.readme)):
            patch = mock.patch.object(results, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def known(self, *given, trees=None):
        known = results.Results(trees or TREES)
        for each in given:
            known.add(each)
        return known


class Results(Kept):
    def get(self, known, **more):
        wanted = {"bug": BUG, "engine": "libfuzzer", "corpus": runs.COMMITTED,
                  "seed": 1, "limit": 60, **more}
        return known.get(*wanted.values())

    def test_taken_up_again(self):
        self.known(result(), result(seed=2, found=None))
        known = self.known()
        self.assertEqual(self.get(known)["seconds"], 1.0)
        self.assertTrue(self.get(known, seed=2))
        for other in ({"seed": 3}, {"bug": OTHER}, {"engine": "afl"},
                      {"corpus": runs.EMPTY}):
            self.assertIsNone(self.get(known, **other))

    def test_made_again(self):
        """With more patience, or if it was broken; not if it was found."""
        known = self.known(result(), result(seed=2, found=None),
                           result(seed=3, found=None, broken=True))
        self.assertTrue(self.get(known, limit=100))
        self.assertIsNone(self.get(known, seed=2, limit=100))
        self.assertIsNone(self.get(known, seed=3))

    def test_other_sources(self):
        self.known(result())
        self.assertIsNone(self.get(self.known(
            trees={**TREES, runs.COMMITTED: "changed"})))
        with mock.patch.object(plant, "digest", lambda _name: "changed"):
            self.assertIsNone(self.get(self.known()))

    def test_cut_short(self):
        """What a kill left of a line harms no other."""
        self.known(result())
        with open(self.file, "a", encoding="utf-8") as file:
            file.write(json.dumps(result(seed=2))[:40])
        self.known(result(seed=3))
        known = self.known()
        self.assertTrue(self.get(known))
        self.assertIsNone(self.get(known, seed=2))
        self.assertTrue(self.get(known, seed=3))

    def test_tasks(self):
        """All bugs with a seed before the next; the control once."""
        wanted = list(bugs.tasks([BUG, OTHER], bugs.WANTED["both"], 2, 60,
                                 runs.COMMITTED))
        self.assertEqual([(t.engine, t.seed, t.name) for t in wanted
                          if t.engine == "afl"], [
            ("afl", 1, plant.NONE), ("afl", 1, BUG), ("afl", 1, OTHER),
            ("afl", 2, BUG), ("afl", 2, OTHER)])
        self.assertEqual([t.name for t in wanted if t.engine == "threads"],
                         [plant.NONE_THREADS])
        known = self.known(result(engine="afl"))
        self.assertEqual([t for t in wanted if t.known(known)],
                         [t for t in wanted if t.engine == "afl" and
                          t.name == BUG and t.seed == 1])


class Figures(Kept):
    def test_quantiles(self):
        values = [1, 2, 3, 4, 5, 6, 7, 8, 9, math.inf]
        self.assertEqual(results.quantile(values, .5), 5)
        self.assertEqual(results.quantile(values, .9), 9)
        self.assertEqual(results.quantile(values, 1), math.inf)
        self.assertEqual(results.quantile([3], .5), 3)

    def test_enough(self):
        """libFuzzer has to find it with each seed, AFL++ with four of five."""
        four = [result(found=None), *(result() for _ in range(4))]
        self.assertFalse(results.enough("libfuzzer", four))
        self.assertTrue(results.enough("afl", four))
        self.assertFalse(results.enough("afl", four[:4]))
        self.assertFalse(results.enough("afl", []))

    def test_no_results(self):
        """Then the table stays as it is."""
        old = "before\n%s\nold\n%s\nbehind\n" % (results.BEGIN, results.END)
        with open(self.readme, "w", encoding="utf-8") as file:
            file.write(old)
        with self.assertRaises(ValueError):
            results.write_table(self.known(), sorted(plant.patches()))
        with open(self.readme, encoding="utf-8") as file:
            self.assertEqual(file.read(), old)

    def test_order(self):
        self.assertEqual(sorted(["100-a", "20-b", "none", "99-c"],
                                key=plant.by_number),
                         ["none", "20-b", "99-c", "100-a"])

    def test_table(self):
        known = self.known(
            *(result(seed=s, seconds=s) for s in (1, 2, 3)),
            result(engine="afl", seconds=4.5), result(
                OTHER, engine="afl", seconds=60, found=None))
        with open(self.readme, "w", encoding="utf-8") as file:
            file.write("before\n%s\nold\n%s\nbehind\n"
                       % (results.BEGIN, results.END))
        for _ in range(2):  # the second time it replaces what it wrote
            results.write_table(known, sorted(plant.patches()))
        with open(self.readme, encoding="utf-8") as file:
            text = file.read()
        self.assertRegex(text, r"(?s)\Abefore\n.*\nbehind\n\Z")
        self.assertNotIn("old", text)
        self.assertEqual(text.count(results.BEGIN), 1)
        for line in (
                "- libFuzzer: 1 of 1 bugs found in all seeds; 3 of 3 runs; "
                "median 2.0 s, 90th percentile 3.0 s",
                "- AFL++: 1 of 2 bugs found in four of five seeds; 1 of 2 "
                "runs; median 4.5 s, 90th percentile not found s",
                "| %s | align | 3/3 | 2.0 | 3.0 | 1/1 | 4.5 | 4.5 |" % BUG,
                "| %s |  | | | | 0/1 | not found | not found |" % OTHER,
                "| %s | 1 | 1 of 1 | 1 of 1 |" % plant.layer(BUG),
                "| %s | 1 |  | 0 of 1 |" % plant.layer(OTHER)):
            self.assertIn("\n%s\n" % line, text)

    def test_no_place_for_it(self):
        with open(self.readme, "w", encoding="utf-8") as file:
            file.write("nothing\n")
        with self.assertRaises(ValueError):
            results.write_table(self.known(), [])


class Patches(unittest.TestCase):
    def test_layers(self):
        """Each says what it is about, and every layer has some."""
        layers = [plant.layer(name) for name in plant.patches()]
        self.assertEqual(set(layers), set(plant.LAYERS))

    def test_header(self):
        """One that changes a header is built from what the flavour has: it has
        no part of the tracking builds."""
        name = "61-free-block-holds-link"
        program = "%s/%s/apb-fuzz-asan" % (plant.OUT, name)
        os.makedirs(plant.path(plant.OUT), exist_ok=True)
        sources = plant.plant(name, ["apb-fuzz-asan"])
        self.assertIn("alloc/arena/pool.c", sources)
        if os.path.exists(plant.path(program)):
            os.unlink(plant.path(program))
        status, said = proc.run(
            ["make", "-n", "bug-targets", "BUGS=" + name,
             "BUG_TARGETS=" + program,
             "%s.changed=%s" % (name, " ".join(sources))], timeout=60)
        self.assertEqual(status, 0, said)
        self.assertIn("alloc/arena/pool.fuzz-asan.o", said)
        self.assertNotIn("alloc/track", said)


class Engines(Kept):
    def test_both(self):
        """A bug that is seen at once, with both; and taken up again."""
        os.makedirs(plant.path(plant.OUT), exist_ok=True)
        plant.build({BUG: list(plant.FUZZERS.values())})
        runs.prepare(runs.COMMITTED)
        wanted = [bugs.Task(BUG, engine, 1, 60, runs.COMMITTED)
                  for engine in plant.FUZZERS]
        known = self.known()
        bugs.run_tasks(wanted, known, 1)
        for task in wanted:
            self.assertEqual(task.result["found"], "leak-mapping")
            self.assertLess(task.result["seconds"], 60)
        with mock.patch.object(bugs.Task, "start", side_effect=AssertionError):
            for task in wanted:
                task.result = None
                self.assertTrue(task.known(self.known()))
            bugs.run_tasks(wanted, self.known(), 1)


class Shim(unittest.TestCase):
    def test_corpus(self):
        """The malloc family without a bug: nothing is found."""
        os.makedirs(os.path.join(proc.ROOT, "build/findings"), exist_ok=True)
        status, output = proc.run(
            ["build/fuzz/apb-fuzz-shim-asan", "-runs=0", "-max_len=65536",
             "-artifact_prefix=build/findings/", *engines.seed_folders()],
            timeout=300)
        self.assertEqual(status, 0, output[-2000:])
        self.assertRegex(output, "#[0-9]+\tDONE")


class Values(unittest.TestCase):
    def test_bad(self):
        for name, value in (("ENGINE", "threads"), ("SEEDS", "0"),
                            ("BUG", "none"), ("BUGS_CORPUS", "all"),
                            ("BUGS_SECONDS", "1m"), ("JOBS", "x")):
            status, output = proc.run(
                ["fuzz/bugs/bugs.py"], timeout=20,
                env=proc.environment(**{"ENGINE": "libfuzzer", name: value}))
            self.assertEqual((status, output.count("\n")), (2, 1), output)
            self.assertIn("%s=%s" % (name, value), output)


if __name__ == "__main__":
    unittest.main()
