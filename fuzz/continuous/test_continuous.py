#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of continuous fuzzing: bad values, the store, the status, a short form
of torture.py, and of the check of a build: that it sees what is wrong.

The targets have to be built.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import types
import unittest
import zipfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import build_check  # noqa: E402  (the folders have to be in the path first)
import contract     # noqa: E402
import durable      # noqa: E402
import page         # noqa: E402
import proc         # noqa: E402
import prune        # noqa: E402
import slots        # noqa: E402
import status       # noqa: E402
import store as stores  # noqa: E402
import torture      # noqa: E402

FOLDER = os.path.join(proc.ROOT, "build", "test continuous")
BUILD = os.path.join(proc.ROOT, "build")
CONFIG = "libfuzzer-release-long"


def fresh(name):
    folder = os.path.join(FOLDER, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def drive(*args, **env):
    """continuous.py, to its end."""
    values = {"SLOT_SECONDS": "2", "CONTINUOUS_SECONDS": "3", "JOBS": "1"}
    return subprocess.run(
        [sys.executable, os.path.join(HERE, "continuous.py"), "--build",
         BUILD, "--only", CONFIG, *args], env=proc.environment(
             **{**values, **env}), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False)


class Values(unittest.TestCase):
    """Bad ones: one line, status 2."""

    def check(self, text, *args, **env):
        done = drive(*args, **env)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(text, done.stderr)

    def test_numbers(self):
        for name in ("SLOT_SECONDS", "CONTINUOUS_SECONDS", "JOBS",
                     "CORPUS_MIB"):
            self.check("%s=x: must be a whole number" % name, **{name: "x"})

    def test_configuration(self):
        self.check("--only nothing: must be of", "--only", "nothing")

    def test_no_targets(self):
        self.check("not there", "--build", "/nowhere")

    def test_no_folder(self):
        """Where nothing can be written."""
        self.check("Not a directory", "--dir", "/dev/null/x")

    def test_two_drivers(self):
        folder = fresh("locked")
        store = stores.Store(folder)
        self.check("another one is running, process %d" % os.getpid(),
                   "--dir", folder)
        store.lock.close()

    def test_state_of_something_else(self):
        folder = fresh("garbage")
        durable.write(folder, "state.json", b"not JSON")
        self.check("Expecting value", "--dir", folder)
        self.assertEqual(durable.read(os.path.join(folder, "state.json")),
                         b"not JSON")


class FullDisk(unittest.TestCase):
    """A file system of its own without room: one line, nothing is lost."""

    def test_full(self):
        folder = fresh("full")
        script = ('mount -t tmpfs -o size=64m tmpfs "$0" && '
                  'head -c 40m /dev/zero >"$0/filler" && exec "$@" --dir "$0"')
        prefix = ["unshare", "-m"] if os.geteuid() == 0 else \
            ["unshare", "-rm"]
        if subprocess.run([*prefix, "mount", "-t", "tmpfs", "tmpfs", folder],
                          capture_output=True, check=False).returncode:
            self.skipTest("no mount namespaces here")
        done = subprocess.run(
            [*prefix, "sh", "-c", script, folder, sys.executable,
             os.path.join(HERE, "continuous.py"), "--build", BUILD, "--only",
             CONFIG], env=proc.environment(SLOT_SECONDS="60", JOBS="1"),
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60, check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn("MiB free: stopped, nothing is lost", done.stderr)


class Store(unittest.TestCase):
    def setUp(self):
        self.folder = fresh("store")
        self.store = stores.Store(self.folder)
        self.own = os.path.join(self.folder, "work", "w.1", "own")
        os.makedirs(self.own)

    def tearDown(self):
        self.store.lock.close()

    def put(self, name, data):
        with open(os.path.join(self.own, name), "wb") as file:
            file.write(data)

    def test_take(self):
        """A file that is being written waits for its end."""
        whole = b"x" * 100
        self.put(durable.digest(whole), whole[:50])
        self.put("id:000001", b"y")
        self.assertEqual(self.store.take(self.own, False), 1)
        self.put(durable.digest(whole), whole)
        self.put("id:000001", b"yz")
        self.assertEqual(self.store.take(self.own, False), 2)
        self.assertEqual(self.store.take(self.own, False), 0)
        self.assertEqual({durable.digest(d) for d in (whole, b"y", b"yz")},
                         set(durable.names(self.store.corpus())))

    def test_take_of_the_dead(self):
        """Of a worker that was killed everything is taken, cut short or not."""
        self.put("0" * 40, b"half")
        self.assertEqual(self.store.take(self.own, False), 0)
        self.assertEqual(self.store.take(self.own, True), 1)

    def test_advance(self):
        for data in (b"a", b"b", b"c"):
            self.put("id:" + data.decode(), data)
        self.store.take(self.own, True)
        keep = {durable.digest(b"b")}
        self.assertEqual(len(self.store.advance(keep)), 2)
        self.assertEqual(durable.names(self.store.corpus()), sorted(keep))
        self.assertEqual(
            durable.read(self.store.path("pruned.log")).decode().split(),
            sum((["2", key] for key in sorted(map(durable.digest,
                                                  (b"a", b"c")))), []))

    def test_killed_while_advancing(self):
        """Up to the rename of the link the old generation is in force."""
        self.put("id:a", b"a")
        self.store.take(self.own, True)
        os.makedirs(self.store.path("generations", "2"))
        durable.write(self.store.path("generations", "2"), "x", b"x")
        self.store.lock.close()
        self.store = stores.Store(self.folder)
        self.assertEqual(self.store.generation(), 1)
        self.assertEqual(self.store.inputs, {durable.digest(b"a")})
        self.assertEqual(os.listdir(self.store.path("generations")), ["1"])

    def test_park(self):
        self.put("id:a", b"a")
        self.store.take(self.own, True)
        key = durable.digest(b"a")
        self.assertTrue(self.store.park(key))
        self.assertFalse(self.store.park(durable.digest(b"other")))
        self.assertEqual((self.store.inputs, self.store.size), (set(), 0))
        self.store.lock.close()
        self.store = stores.Store(self.folder)
        self.assertEqual(self.store.parked, {key})
        self.store.unpark()
        self.assertEqual(durable.names(self.store.corpus()), [key])
        self.assertEqual(durable.names(self.store.path("parked")), [])

    def test_seed_that_is_gone(self):
        """It becomes an input like any other."""
        path = os.path.join(self.folder, "seed")
        with open(path, "wb") as file:
            file.write(b"seed")
        self.store.lay_seeds([path])
        self.assertEqual(self.store.inputs, set())
        self.store.lay_seeds([])
        self.assertEqual(self.store.inputs, {durable.digest(b"seed")})

    def test_findings(self):
        reason = "FINDING: overlap: op #%d malloc(%d), slot 7: 0x%x"
        for number in range(3):
            self.assertTrue(self.store.add_finding(
                "crash-%d" % number, reason % (number, number, number), "log",
                b"input"))
        self.assertFalse(self.store.add_finding("crash-0", "", "", b""))
        self.store.lock.close()
        self.store = stores.Store(self.folder)
        self.assertEqual(list(self.store.signatures.values()), [3])
        self.assertEqual(self.store.findings(),
                         ["crash-0", "crash-1", "crash-2"])

    def test_shrink(self):
        for size in (1, 10, 100):
            self.put("id:%d" % size, b"x" * size)
        self.store.take(self.own, True)
        small = prune.shrink(self.store, set(self.store.inputs), 50)
        self.assertEqual(small, {durable.digest(b"x" * n) for n in (1, 10)})


class Configurations(unittest.TestCase):
    def test_derive(self):
        by_name = {config.name: config for config in slots.CONFIGS}
        data = bytes(range(0x10, 0x20))
        self.assertEqual(slots.derive(data, by_name[CONFIG]), data)
        changed = slots.derive(data, by_name["libfuzzer-asan-real-kernel"])
        self.assertEqual((changed[1] & 7, changed[1] & ~7, changed[8:]),
                         (7, data[1] & ~7, data[8:]))
        changed = slots.derive(data, by_name["libfuzzer-asan-played-threads"])
        self.assertEqual(changed[2] >> 5, 3)
        self.assertIsNone(slots.derive(b"short", by_name[CONFIG]))


class Status(unittest.TestCase):
    def test_history_stays_small(self):
        folder = fresh("history")
        store = stores.Store(folder)
        state = {"seconds": 0, "executions": 0, "measured": None}
        many = "".join('{"seconds": %d}\n' % n for n in range(status.SAMPLES))
        durable.write(folder, "history.jsonl", many.encode())
        durable.append(os.path.join(folder, "history.jsonl"), [])
        status.sample(store, state)
        samples = status.history(store)
        self.assertEqual(len(samples), status.SAMPLES * 3 // 4 + 1)
        self.assertEqual(samples[0]["seconds"], 0)
        # a line that a kill cut short
        with open(os.path.join(folder, "history.jsonl"), "a",
                  encoding="utf-8") as file:
            file.write('{"seconds": 1')
        status.sample(store, state)
        self.assertEqual(len(status.history(store)),
                         status.SAMPLES * 3 // 4 + 2)
        store.lock.close()

    def test_plot(self):
        self.assertEqual(page.steps(0, 100, 4), [0, 50, 100])
        self.assertIn("not enough", page.plot([(0, 1)], "x"))
        svg = page.plot([(0, 0), (60, 5), (120, 7)], "a < b")
        self.assertIn("a &lt; b: 7", svg)
        points = re.search(r'polyline class="line" points="([^"]+)"', svg)[1]
        pairs = [tuple(map(float, p.split(","))) for p in points.split()]
        self.assertEqual(len(pairs), 3)
        for (x0, y0), (x1, y1) in zip(pairs, pairs[1:]):
            self.assertTrue(x1 > x0 and y1 < y0)


class ShortTorture(unittest.TestCase):
    """As torture.py, with one configuration, and then what it left."""

    def test_torture(self):
        folder = fresh("torture")
        target = "build/fuzz/apb-fuzz-release"
        planted = torture.plant(
            os.path.join(folder, "tree"), "*-large-align-ignored.patch",
            ("fuzz-release", "harness"), [target])
        options = types.SimpleNamespace(
            seconds=5, kills=3, slot=2, jobs=1, seed=1, only=CONFIG,
            dir=os.path.relpath(folder, proc.ROOT))
        said = []
        torture.torture(options, said.append, planted, BUILD)
        self.assertTrue(any("findings: " in line for line in said), said)
        # once more, undisturbed: what was parked is back, nothing fails
        root = os.path.join(folder, "state")
        done = drive("--dir", root)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(durable.names(os.path.join(root, "parked")), [])
        self.check_status(root)

    def check_status(self, root):
        told = json.loads(durable.read(os.path.join(root, "status.json")))
        for name, kind in (
                ("version", int), ("time", float), ("pid", int),
                ("phase", str), ("starts", int), ("first_start", float),
                ("seconds", float), ("executions", int), ("edges", int),
                ("edges_total", int), ("states", int), ("corpus", dict),
                ("slot", dict), ("workers", list), ("workers_ended", int),
                ("configurations", list), ("findings", list),
                ("signatures", dict)):
            self.assertIsInstance(told[name], kind, name)
        self.assertEqual(told["phase"], "ended")
        self.assertGreater(told["executions"], 0)
        self.assertGreater(told["edges"], 500)
        text = durable.read(os.path.join(root, "index.html")).decode()
        self.assertEqual(text.count("<figure>"), len(page.PLOTS))
        self.assertGreater(text.count("<polyline"), 2)
        self.assertFalse(re.search(r"(src|href|url)\s*[=(]", text))
        self.assertIn("FINDING: align", text)


SEEDS = os.path.join(proc.ROOT, "corpus", "seeds")


def features(inputs, folder):
    """{name: what it reaches}, of committed inputs, in one process."""
    for name in ("in", "out"):
        os.makedirs(os.path.join(folder, name))
    for name in inputs:
        shutil.copyfile(os.path.join(SEEDS, name),
                        os.path.join(folder, "in", name))
    folder = proc.plain(folder)
    control = os.path.join(folder, "control")
    subprocess.run(
        [os.path.join(proc.plain(BUILD), prune.RELEASE), "-merge=1", "-set_cover_merge=1",
         prune.MAX_LEN, "-merge_control_file=" + control,
         os.path.join(folder, "out"), os.path.join(folder, "in")],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
    lines = durable.read(control).decode().splitlines()
    names = [os.path.basename(line) for line in lines if line[0] == "/"]
    return {names[int(line.split()[1])]: frozenset(line.split()[2:])
            for line in lines if line.startswith("FT ")}


class SameFeatures(unittest.TestCase):
    """What an input reaches is its own affair: not that of the process's
    addresses, nor of what ran before.  Merges would lose features else."""

    def test_other_process(self):
        folder = fresh("features")
        inputs = sorted(durable.names(SEEDS))[::3]
        together = features(inputs, os.path.join(folder, "together"))
        self.assertEqual(sorted(together), inputs)
        for part in (inputs[::2], inputs[1::2]):
            alone = features(part, os.path.join(folder, part[0]))
            self.assertEqual(sorted(alone), part)
            for name, reached in alone.items():
                self.assertEqual(sorted(reached ^ together[name]), [], name)


class Uncovered(unittest.TestCase):
    """What torture.py says of the coverage that is left."""

    def test_pruned_by_others(self):
        lines = ["2 a", "3 b", "4 c", "5 d"]
        targets = [(0, "good"), (1, "good"), (2, "bad"), (3, "bad"),
                   (4, "good")]
        self.assertEqual(
            torture.pruned_by_others(lines, targets, "good"), {"b", "c"})

    def test_uncovered(self):
        folder = fresh("uncovered")
        data = {durable.digest(one): one for one in (
            durable.read(os.path.join(SEEDS, name))
            for name in sorted(durable.names(SEEDS))[:40])}
        inputs = sorted(data)
        for name, held in (("everything", inputs), ("state/seeds", []),
                           ("state/corpus", inputs[:20]),
                           ("state/parked", inputs[20:30])):
            os.makedirs(os.path.join(folder, name))
            for key in held:
                durable.write(os.path.join(folder, name), key, data[key],
                              lasting=False)

        def look(others):
            return torture.uncovered(
                os.path.join(folder, "state"),
                os.path.join(folder, "everything"), others, BUILD)

        more, total, which = look(set())
        self.assertGreater(total, 1000)
        self.assertTrue(0 < more < total, more)
        self.assertTrue(which and set(which) <= set(inputs[30:]), which)
        # but for what other targets left out
        self.assertEqual(look(set(inputs[30:])), (0, total, []))


TINY = r"""
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1 && data[0] == 'F')
		abort();
	if (size > 1 && data[0] == 'W')
		fclose(fopen("written", "w"));
	return 0;
}
"""


class FillIn(unittest.TestCase):
    """What only a maintainer knows: said, and then gone."""

    def test_fill_in(self):
        tree = fresh("fill-in")
        for folder in contract.FILES:
            shutil.copytree(os.path.join(proc.ROOT, folder),
                            os.path.join(tree, folder), symlinks=True)
        self.assertEqual(list(contract.check_files(tree)), [])
        self.assertEqual(contract.to_fill_in(tree), [
            "FILL-IN-HOMEPAGE of project.yaml",
            "FILL-IN-REPOSITORY of project.yaml",
            "FILL-IN-ADDRESS of project.yaml",
            "FILL-IN-REPOSITORY of Dockerfile"])
        for name in ("project.yaml", "Dockerfile"):
            path = os.path.join(tree, contract.OSS_FUZZ, name)
            text = durable.read(path).decode()
            durable.write(os.path.dirname(path), name, re.sub(
                r'(?m)^([^#].*)FILL-IN-[A-Z]+', r"\1https://a.test/apb",
                text).encode())
            if name == "project.yaml":  # and one place forgotten
                self.assertEqual(list(contract.check_files(tree)), [
                    "fuzz/oss-fuzz/Dockerfile: does not clone main_repo, "
                    "https://a.test/apb"])
        self.assertEqual(contract.to_fill_in(tree), [])
        self.assertEqual(list(contract.check_files(tree)), [])


class BuildCheck(unittest.TestCase):
    """Each of these builds is bad, and the check says so."""

    @classmethod
    def setUpClass(cls):
        cls.folder = fresh("check")
        cls.source = os.path.join(cls.folder, "tiny.c")
        with open(cls.source, "w", encoding="utf-8") as file:
            file.write(TINY)
        cls.tiny = cls.compile("tiny", "-fsanitize=fuzzer-no-link,address",
                               "-fsanitize=fuzzer")
        cls.bare = cls.compile("bare", "-fsanitize=address",
                               "-fsanitize=fuzzer")

    @classmethod
    def compile(cls, name, flags, link):
        program = os.path.join(cls.folder, name)
        subprocess.run(["clang-19", flags, "-c", "-o", program + ".o",
                        cls.source], check=True)
        subprocess.run(["clang++-19", "-fsanitize=address", link, "-o",
                        program, program + ".o"], check=True)
        return program

    def checker(self, program, sanitizer="address"):
        out = fresh("check/out")
        for folder in ("corpus/seeds", "corpus/regressions"):
            os.makedirs(os.path.join(out, "..", folder), exist_ok=True)
        with open(os.path.join(out, "../corpus/seeds/one"), "wb") as file:
            file.write(b"seed")
        shutil.rmtree(os.path.join(out, "../scratch"), ignore_errors=True)
        target = os.path.join(out, build_check.TARGET)
        shutil.copy2(program, target)
        with zipfile.ZipFile(target + "_seed_corpus.zip", "w") as archive:
            archive.writestr("one", b"seed")
        for suffix, text in ((".options", "[libfuzzer]\nmax_len = 8\n"),
                             (".dict", 'a="b"\n')):
            with open(target + suffix, "w", encoding="utf-8") as file:
                file.write(text)
        return build_check.Checker(
            out, os.path.join(out, "../scratch"), "libfuzzer", sanitizer,
            os.path.join(out, "../corpus"))

    def test_instrumentation(self):
        # as tiny as it is it has too few edges; without any it says so
        self.assertRegex(self.checker(self.tiny).check_engine(),
                         r"\d+ edges, at least 100")
        self.assertIn("instrument", self.checker(self.bare).check_engine())

    def test_sanitizer(self):
        self.assertRegex(self.checker(self.tiny).check_sanitizer(),
                         r"\d+ calls of asan, at least 1000")
        self.assertRegex(
            self.checker(os.path.join(BUILD, "fuzz/apb-fuzz-asan"))
            .check_sanitizer(), r"\d+ calls of ubsan, at most 200")
        self.assertIn("0 calls of msan",
                      self.checker(self.tiny, "memory").check_sanitizer())

    def test_targets(self):
        checker = self.checker(self.tiny)
        self.assertIsNone(checker.check_targets())
        shutil.copy2(checker.target, checker.target + "2")
        self.assertIn("apb_fuzzer2", checker.check_targets())

    def test_files(self):
        checker = self.checker(self.tiny)
        self.assertIsNone(checker.check_options())
        self.assertIsNone(checker.check_dictionary())
        self.assertIsNone(checker.check_seeds())
        for suffix, text, check, words in (
                (".options", "[libfuzer]\n", checker.check_options,
                 "unknown sections"),
                (".options", "[libfuzzer]\nmaxlen=1\n", checker.check_options,
                 "libFuzzer has no"),
                (".options", "maxlen=1\n", checker.check_options,
                 "no section headers"),
                (".dict", 'a="\\x0"\n', checker.check_dictionary, "line 1"),
                ("_seed_corpus.zip", "PK", checker.check_seeds,
                 "not a zip file")):
            with open(checker.target + suffix, "w", encoding="utf-8") as file:
                file.write(text)
            self.assertIn(words, check())

    def test_inputs(self):
        checker = self.checker(self.tiny)
        path = os.path.join(checker.seeds, "input")
        for data, failing in ((b"good", False), (b"Fail", True)):
            with open(path, "wb") as file:
                file.write(data)
            for check in (checker.check_seeds_pass, checker.check_reproduce,
                          checker.check_elsewhere):
                self.assertEqual(bool(check()), failing, check)

    def test_writes(self):
        checker = self.checker(self.tiny)
        with open(os.path.join(checker.seeds, "input"), "wb") as file:
            file.write(b"Write")
        said = "\n".join(checker.run())
        self.assertIn("files appeared where it ran: ['written']", said)

    def test_libraries(self):
        library = os.path.join(self.folder, "libfar.so")
        subprocess.run(["clang-19", "-shared", "-fPIC", "-o", library, "-x",
                        "c", "/dev/null"], check=True)
        far = self.compile("far", "-fsanitize=fuzzer-no-link,address",
                           "-fsanitize=fuzzer")
        self.assertIsNone(self.checker(far).check_libraries())
        subprocess.run(["clang++-19", "-fsanitize=address,fuzzer", "-o", far,
                        far + ".o", "-Wl,--no-as-needed", library], check=True)
        self.assertIn("libfar.so", self.checker(far).check_libraries())


if __name__ == "__main__":
    unittest.main()
