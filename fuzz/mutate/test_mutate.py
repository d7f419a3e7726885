#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of `make mutate`, on a small source of its own: which mutants there
are, that their names last, what becomes of them, and that a run which is killed
is resumed."""

import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import apart        # noqa: E402  (the folder has to be in the path first)
import points       # noqa: E402  (the folder has to be in the path first)
import results      # noqa: E402
import runner       # noqa: E402
from build import proc  # noqa: E402

HERE = "fuzz/mutate/sample/"
OUT = os.path.join(proc.ROOT, "build/mutate-sample")
C = HERE + "sample.c:"
H = HERE + "sample.h:"
# What the sample's tests are too weak for.
ALIVE = {C + "sample_limited:arith:7f36593c:0": "2 * 100 is 100 + 2, nearly",
         C + "sample_limited:const:0410afd9:0": "so is 1 * 100",
         C + "sample_forever:delete:816e5c72:0": "no test has a loop",
         C + "sample_forever:const:80f75d2f:0": "the same"}
KILLED = [C + "sample_limited:cond:224fc300:0",
          C + "sample_sum:step:0238b2b9:0",
          C + "sample_sum:delete:2bcf3d9f:0",
          H + "sample_positive:rel:c185ad64:0"]
SAME_CODE = [C + "sample_forever:delete:cd8d7998:0",
             H + "sample_positive:rel:aac60f2d:0"]


def known_mutants():
    """As they were written down: {id: (line, old text, new text)}."""
    found = {}
    with open(os.path.join(proc.ROOT, HERE, "mutants.txt"),
              encoding="utf-8") as file:
        for line in file:
            if not line.startswith("#"):
                name, old, new = line.rstrip("\n").split("\t")
                name, number = name.split(" ")
                found[HERE + name] = int(number), old, new
    return found


def mutants_of(path, root=proc.ROOT):
    source = points.Source(path, ["-std=gnu11"], root)
    return {mutant.id: (point.line, source.squeezed(point.start, point.end),
                        mutant.text)
            for point in source.points for mutant in point.mutants}


class Mutants(unittest.TestCase):
    def test_all_of_them(self):
        """Nothing of a table, an assertion, a type, a label or sizeof."""
        found = {**mutants_of(HERE + "sample.c"), **mutants_of(HERE + "sample.h")}
        self.assertEqual(found, known_mutants())

    def test_names_last(self):
        """What is edited elsewhere, in the same function too, changes no
        name."""
        before = mutants_of(HERE + "sample.c")
        with open(os.path.join(proc.ROOT, HERE, "sample.c"),
                  encoding="utf-8") as file:
            text = file.read()
        text = text.replace("int sample_sum(", "int another(int n)\n{\n"
                            "\treturn n + 1;\n}\n\nint sample_sum(")
        text = text.replace("\tunsigned int i;\n", "\tunsigned int i;\n\n"
                            "\tif (!n)\n\t\treturn 0;\n")
        text = text.replace("sum += array[i]", "sum  +=\n\tarray[i]")
        with tempfile.TemporaryDirectory() as folder:
            os.makedirs(os.path.join(folder, HERE))
            shutil.copy(os.path.join(proc.ROOT, HERE, "sample.h"),
                        os.path.join(folder, HERE))
            with open(os.path.join(folder, HERE, "sample.c"), "w",
                      encoding="utf-8") as file:
                file.write(text)
            after = mutants_of(HERE + "sample.c", folder)
        self.assertLess(len(before), len(after))
        self.assertEqual(set(before) - set(after), set())


    def test_left_alone(self):
        """Hints, and the address of what a macro names."""
        text = ("#define THE_ONE one\nint one;\n"
                "void f(int *p)\n{\n\t__builtin_prefetch(p, 1);\n"
                "\t__atomic_signal_fence(__ATOMIC_RELEASE);\n\t*p = 3;\n}\n"
                "int *g(void)\n{\n\treturn &THE_ONE;\n}\n")
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "a.c"), "w",
                      encoding="utf-8") as file:
                file.write(text)
            found = mutants_of("a.c", folder)
        self.assertEqual({(line, new) for line, _old, new in found.values()},
                         {(7, ";"), (7, "(3 + 1)"), (7, "0"), (7, "(3 - 1)"),
                          (11, "(void *)0")})


class Waits(unittest.TestCase):
    def wait(self, *cmd):
        process = subprocess.Popen(cmd, start_new_session=True)
        begin = time.monotonic()
        try:
            return runner.wait(process, 60), time.monotonic() - begin
        finally:
            process.kill()
            process.wait()

    def test_deadlock(self):
        """Whoever only sleeps is not waited for long, though others' processes
        come and go."""
        others = [subprocess.Popen(["sh", "-c", "while sleep 0; do :; done"])
                  for _ in range(2)]
        try:
            status, took = self.wait("sleep", "60")
        finally:
            for process in others:
                process.kill()
                process.wait()
        self.assertIsNone(status)
        self.assertLess(took, 30)

    def test_busy(self):
        status, _took = self.wait(
            sys.executable, "-c", "import time\nend = time.monotonic() + 2.5\n"
            "while time.monotonic() < end:\n  pass")
        self.assertEqual(status, 0)

    def test_starved(self):
        """Whoever could run, but others do, has not taken longer than it may."""
        def busy(seconds, nice, clock):
            return subprocess.Popen(
                [sys.executable, "-c", "import os, time\n"
                 "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
                 "os.nice(%d)\nend = time.%s() + %s\n"
                 "while time.%s() < end:\n  pass" % (
                     nice, clock, seconds, clock)], start_new_session=True)
        others = [busy(2, 0, "monotonic") for _ in range(4)]
        time.sleep(0.5)
        one = busy(0.1, 19, "process_time")
        try:
            self.assertEqual(runner.wait(one, 0.6), 0)
        finally:
            for process in (*others, one):
                process.kill()
                process.wait()


class Order(unittest.TestCase):
    @staticmethod
    def odds(*known):
        class Known:
            latest = {id: {"result": "killed" if by else "survived",
                           "by": by and "unit " + by, "tried": tried}
                      for id, by, tried in known}
        return results.Odds(Known)

    def test_by_name(self):
        odds = self.odds()
        self.assertGreater(odds.of("alloc/map/map.c:f:rel:1:0", "test_map"),
                           odds.of("alloc/map/map.c:f:rel:1:0", "test_heap"))

    def test_by_what_it_did(self):
        """To mutants of the function, then of the file."""
        odds = self.odds(("a/b/b.c:f:rel:1:0", "test_x", ()),
                         ("a/b/b.c:g:rel:1:0", "test_y", ()),
                         ("a/b/b.c:g:rel:2:0", "", ("test_z",)))
        tests = ["test_x", "test_y", "test_z", "test_none"]

        def order(id):
            return sorted(tests, key=lambda name: -odds.of(id, name))
        self.assertEqual(order("a/b/b.c:f:rel:3:0"),
                         ["test_x", "test_y", "test_none", "test_z"])
        self.assertEqual(order("a/b/b.c:g:rel:3:0")[0], "test_y")
        before = odds.of("a/b/b.c:h:rel:1:0", "test_z")
        odds.note("a/b/b.c:h:rel:1:0", "test_z", True)
        self.assertGreater(odds.of("a/b/b.c:h:rel:2:0", "test_z"), before)


class Runs(unittest.TestCase):
    """In this order; the first one builds, the others go on with that."""

    def mutate(self, entries, status, **values):
        """What it says with a list of survivors."""
        listed = os.path.join(OUT, "list")
        os.makedirs(OUT, exist_ok=True)
        with open(listed, "w", encoding="utf-8") as file:
            file.writelines(entry + "\n" for entry in entries)
        done = subprocess.run(
            ["fuzz/mutate/mutate.py", "--sample", listed], cwd=proc.ROOT,
            env=proc.environment(**{"JOBS": "2", **values}), timeout=100,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stderr if status == 2 else done.stdout

    @staticmethod
    def results():
        with open(os.path.join(OUT, "results"), encoding="utf-8") as file:
            lines = [line for line in file if line.endswith("\n")]
        return [json.loads(line) for line in lines if line.strip()]

    def by_id(self):
        found = {}
        for entry in self.results():
            self.assertNotIn(entry["id"], found, "run twice")
            found[entry["id"]] = entry
        return found

    def test_1_some(self):
        """Only as many as are asked for, the same ones each time."""
        shutil.rmtree(OUT, ignore_errors=True)
        self.mutate([], 0, MUTATE_SAMPLE="4", SEED="3", MUTATE_LIMIT="3")
        some = self.by_id()
        self.assertEqual(len(some), 3)
        said = self.mutate([], 0, MUTATE_SAMPLE="4", SEED="3")
        self.assertEqual(len(self.by_id()), 4)
        self.assertLess(set(some), set(self.by_id()))
        self.assertIn("4 mutants, 3 of them known", said)
        self.assertIn("confidence", said)

    def test_2_resumed(self):
        """Killed in the middle, it goes on where it was; a line that was being
        written counts for nothing."""
        process = subprocess.Popen(
            ["fuzz/mutate/mutate.py", "--sample", OUT + "/list"],
            cwd=proc.ROOT, env=proc.environment(JOBS="1"),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(self.results()) < 9 and time.monotonic() < deadline:
            time.sleep(0.005)
        said = self.mutate([], 2)
        self.assertIn("is running already", said)
        process.kill()
        process.wait()
        before = self.by_id()
        self.assertGreaterEqual(len(before), 9)
        self.assertLess(len(before), len(known_mutants()))
        with open(os.path.join(OUT, "results"), "a", encoding="utf-8") as file:
            file.write('{"id": "%s", "resu' % next(iter(ALIVE)))
        self.mutate([], 1)
        after = self.all_results()
        for name, entry in before.items():
            self.assertEqual(after[name], entry)

    def all_results(self):
        found = self.by_id()
        self.assertEqual(set(found), set(known_mutants()))
        return found

    def test_3_what_became_of_them(self):
        found = self.all_results()
        what = collections.defaultdict(set)
        for name, entry in found.items():
            what[entry["result"]].add(name)
        self.assertEqual(what["survived"], set(ALIVE))
        for name in KILLED:
            self.assertEqual(found[name]["by"], "unit sample_test", name)
        for name in SAME_CODE:
            self.assertEqual(found[name]["result"], "equivalent", name)

    def test_4_told(self):
        """Each survivor with its line and both texts."""
        said = self.mutate([], 1)
        self.assertIn("%s10: %s\n    -APB_SAMPLE_MAX * 2\n"
                      "    +(APB_SAMPLE_MAX) + (2)\n" % (C, next(iter(ALIVE))),
                      said)
        self.assertIn("4 survivors not listed", said)

    def test_4_alive(self):
        """Those that survived, and no others."""
        said = self.mutate([], 1, MUTATE_ALIVE="1")
        self.assertIn("%d mutants, " % len(ALIVE), said)

    def test_5_listed(self):
        """One in the list is no failure; only some classes count for the
        score."""
        entries = ["%s equivalent %s" % entry for entry in ALIVE.items()]
        said = self.mutate(["# reasons", "", *entries], 0)
        self.assertIn("score 100.0 %, 0 survivors not listed, 0 listed but "
                      "open, 0 stale", said)
        entries[0] = entries[0].replace("equivalent", "open")
        said = self.mutate(entries, 0)
        self.assertNotIn("score 100.0 %", said)
        self.assertIn("0 survivors not listed, 1 listed but open", said)

    def test_6_stale(self):
        entries = ["%s speed %s" % entry for entry in ALIVE.items()]
        said = self.mutate([*entries, C + "gone:rel:00000000:0 speed it was"],
                           1)
        self.assertIn("stale: %sgone:rel:00000000:0: there is no such mutant"
                      % C, said)
        said = self.mutate([*entries, KILLED[0] + " speed wrongly"], 1)
        self.assertIn("stale: %s: killed by unit sample_test" % KILLED[0], said)

    def test_7_bad_values(self):
        """One line, status 2, nothing lost."""
        before = self.all_results()
        one = next(iter(ALIVE))
        for entries, values in (
                ([one + " wrong reason"], {}), ([one + " speed"], {}),
                ([one + " speed a", one + " speed b"], {}),
                ([], {"FILE": "alloc/none.c"}), ([], {"MUTATE_ID": "none"}), ([], {"MUTATE_LIMIT": "-1"}),
                ([], {"MUTATE_SAMPLE": "x"}), ([], {"JOBS": "0"})):
            said = self.mutate(entries, 2, **values)
            self.assertEqual(said.count("\n"), 1, said)
        self.assertEqual(self.all_results(), before)

    def test_8_quick(self):
        """A quick run does not spend its time on what the list excuses."""
        os.remove(os.path.join(OUT, "results"))
        entries = ["%s equivalent %s" % entry for entry in ALIVE.items()]
        said = self.mutate(entries, 0, MUTATE_QUICK="1", MUTATE_COMPARE="1",
                           MUTATE_ID="sample_limited")
        self.assertEqual(set(self.by_id()) & set(ALIVE), set())
        self.assertGreater(len(self.by_id()), 5)
        self.assertIn("score 100.0 %", said)
        row = next(line for line in said.splitlines()
                   if line.startswith("all "))
        # all, run, killed by unit tests
        self.assertEqual(row.split()[1], row.split()[2])
        listed = sum("sample_limited" in name for name in ALIVE)
        self.assertEqual(int(row.split()[9]), listed)


class Apart(unittest.TestCase):
    def test_where(self):
        """What has programs of its own to test it is a project of its own."""
        self.assertIsInstance(apart.of("alloc/shim"), apart.Shim)
        self.assertIsInstance(apart.of("alloc/shim/info.c"), apart.Shim)
        self.assertIsInstance(apart.of("alloc/python"), apart.Python)
        for path in "", "alloc", "alloc/os/os.c", "alloc/shimmer":
            self.assertIsNone(apart.of(path))
        for project in apart.Shim(), apart.Python():
            for path in (*project.sources(), *project.scripted,
                         project.script, project.listed):
                self.assertTrue(os.path.exists(
                    os.path.join(proc.ROOT, path)), path)

    def test_scripts_count(self):
        """What lived is tried again when the script that tests it changes."""
        project = apart.Shim()
        name = next(iter(project.checks))
        with tempfile.NamedTemporaryFile("w") as file:
            project.tests = lambda: {name: "Makefile"}
            project.scripted = [file.name]
            before = project.program(name)
            file.write("more")
            file.flush()
            self.assertNotEqual(project.program(name), before)


if __name__ == "__main__":
    unittest.main()
