#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of triage, minimising and C programs, with a bug that is planted: a
calloc that takes what the system maps for zeroes.

The programs of `make triage-targets` have to be built.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

import proc

sys.path.insert(0, os.path.join(proc.ROOT, "fuzz/bugs"))

import plant       # noqa: E402  (fuzz/bugs has to be in the path first)
import reproduce   # noqa: E402
import reproducer  # noqa: E402
import triage      # noqa: E402

BUG = "calloc-trusts-mmap"
FOLDER = "build/test-triage"
# One thread, simulated kernel, which never says "zero".
HEADER = b"\1\0\x08\0\5\5\5\5"
MALLOC, FREE, CALLOC = 0, 5, 10
SIGNATURE = {"oracle": "zero", "op": "calloc", "frames": ""}


def record(code, slot, size=0):
    """Size mode 6, exact."""
    return bytes((code, 6)) + slot.to_bytes(2, "little") + \
        (size << 5).to_bytes(4, "little")


def failing(mallocs):
    """An input that fails, after so many operations that do not matter."""
    data = HEADER + b"".join(record(MALLOC, slot, 100 + slot)
                             for slot in range(mallocs))
    data += b"".join(record(FREE, slot) for slot in range(0, mallocs, 2))
    return data + record(CALLOC, 500, 40960) + record(FREE, 500)


def put(name, data, when=None):
    path = os.path.join(proc.ROOT, FOLDER, name)
    proc.put(path, data)
    if when:
        os.utime(path, (when, when))
    return path


class Planted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = os.path.join(proc.ROOT, FOLDER)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        [cls.bug] = [name for name in plant.patches() if name.endswith(BUG)]
        os.makedirs(os.path.join(proc.ROOT, plant.OUT), exist_ok=True)
        reproduce.build(cls.bug)
        cls.builds = reproduce.builds(cls.bug)

    def store(self):
        """An empty one."""
        folder = os.path.join(FOLDER, self._testMethodName)
        return triage.Store(folder, self.builds)

    def fails(self, path):
        return triage.Replayed(path, self.builds).signature


class Store(Planted):
    def test_same_signature(self):
        """One folder; the smallest input is worked on, all are kept."""
        store = self.store()
        long, short = failing(30), failing(8)
        first = store.add(put("a", long, 1000), "one engine")
        self.assertTrue(first.new)
        self.assertEqual(first.signature, SIGNATURE)
        second = store.add(put("b", short, 3000), "another")
        third = store.add(put("a", long, 2000), "one engine")
        # the same file once more, as after a kill
        third = store.add(put("a", long, 2000), "one engine", remove=True)
        self.assertFalse(second.new or third.new)
        self.assertEqual({first.name, second.name, third.name},
                         {"zero-calloc"})
        self.assertEqual(third.count, 3)
        self.assertEqual(sorted(map(triage.contents, third.inputs())),
                         sorted((long, short)))
        self.assertEqual(triage.contents(third.path("input")), short)
        self.assertEqual([row[0] for row in third.seen()],
                         [1000, 2000, 3000])
        self.assertFalse(os.path.exists(os.path.join(FOLDER, "a")))

    def test_complete(self):
        """A small input of the same signature, a program that shows it."""
        store = self.store()
        finding = store.add(put("c", failing(30)), "test")
        self.assertTrue(store.complete(finding))
        self.assertEqual(self.fails(finding.path("minimised")), SIGNATURE)
        self.assertEqual(finding.operations(), 1)
        self.assertIn(b"FINDING: zero", triage.contents(
            finding.path("report.txt")))
        self.assertTrue(finding.has("stack.txt"))
        program = reproducer.read(finding.path("program.c"))
        self.assertIn("Verified, with the allocator in which it was found",
                      program)
        self.assertIn("p[0] = apb_calloc(1, ", program)
        self.assertTrue(reproducer.shows(self.builds[0],
                                         finding.path("program.c")))
        for right in reproducer.builds():
            self.assertIsNone(reproducer.shows(right,
                                               finding.path("program.c")))
        self.assertIn("zero-calloc", triage.table(store))
        self.assertIn("verified", triage.table(store))
        # all is there: nothing is done again
        before = os.stat(finding.path("program.c")).st_ino
        self.assertTrue(store.complete(triage.Finding(finding.folder)))
        self.assertEqual(os.stat(finding.path("program.c")).st_ino, before)

    def test_not_shown(self):
        """What apb-replay does not show is kept, too."""
        store = self.store()
        data = HEADER + record(MALLOC, 0, 100)
        finding = store.add(put("d", data), "test", remove=True)
        self.assertEqual(finding.name, triage.NOT_SHOWN)
        self.assertEqual(triage.contents(finding.latest()), data)
        self.assertFalse(store.complete(finding))

    def test_raw(self):
        """What engines left is filed, other files are not touched."""
        store = self.store()
        put(self._testMethodName + "/crash-1", failing(3))
        put(self._testMethodName + "/slow-unit-1", failing(3))
        [finding] = store.file_all()
        self.assertEqual(finding.name, "zero-calloc")
        self.assertEqual(store.raw(), [])
        self.assertTrue(os.path.exists(os.path.join(
            proc.ROOT, store.folder, "slow-unit-1")))

    def test_killed(self):
        """Whenever it is killed, each input is still there, and what is
        missing is made later."""
        store = self.store()
        inputs = [failing(count) for count in (20, 21, 22)]
        for number, data in enumerate(inputs):
            put("%s/crash-%d" % (self._testMethodName, number), data)
        script = ("import sys; sys.path[:0] = %r; import triage, reproduce\n"
                  "store = triage.Store(%r, reproduce.builds(%r))\n"
                  "store.file_all()\n"
                  "[store.complete(f) for f in store.findings()]\n"
                  % (["fuzz", "fuzz/bugs"], store.folder, self.bug))
        for seconds in (0.3, 0.5, 0.8, 1.2):
            with subprocess.Popen([sys.executable, "-c", script],
                                  cwd=proc.ROOT) as process:
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
            kept = [triage.contents(os.path.join(proc.ROOT, path))
                    for path in store.raw()]
            for finding in store.findings():
                kept += map(triage.contents, finding.inputs())
            self.assertLessEqual(set(inputs), set(kept))
        store.file_all()
        [finding] = store.findings()
        self.assertEqual(finding.count, 3)
        self.assertTrue(store.complete(finding))
        self.assertEqual(finding.operations(), 1)


class Minimize(Planted):
    def test_interrupted(self):
        """Killed, it leaves an input that fails alike."""
        small = os.path.join(proc.ROOT, FOLDER, "small")
        path = put("e", failing(300))
        with subprocess.Popen([self.builds[1].replay, "--minimize", path,
                               "-o", small], cwd=proc.ROOT,
                              stdout=subprocess.DEVNULL) as process:
            while not os.path.exists(small) and process.poll() is None:
                time.sleep(0.01)
            time.sleep(0.1)
            process.kill()
        self.assertEqual(triage.contents(path), failing(300))
        self.assertEqual(self.fails(small), SIGNATURE)

    def test_time(self):
        """It ends when its time is over, with what it has."""
        small = os.path.join(proc.ROOT, FOLDER, "in-time")
        begin = time.monotonic()
        status, output = proc.run(
            [self.builds[1].replay, "--minimize", put("f", failing(3000)),
             "-o", small, "--seconds", "1"], timeout=60)
        self.assertEqual(status, 0, output)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(self.fails(small), SIGNATURE)


if __name__ == "__main__":
    unittest.main()
