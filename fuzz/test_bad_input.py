#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tests of what the programs and scripts do with bad values, with files that are
not what they should be and with names that a shell would split: one line, exit
status 2, and nothing lost.

apb-replay, apb-threads and libapb-malloc.so have to be built.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True

import proc
import triage

sys.path.insert(0, os.path.join(proc.ROOT, "fuzz/mutate"))

REPLAY, THREADS = "build/fuzz/apb-replay", "build/fuzz/apb-threads"
SHIM = os.path.join(proc.ROOT, "build/libapb-malloc.so")
SEED = "corpus/seeds/hand-large-loop"
SHORT = "corpus/seeds/hand-aligned-powers"
ZEROES = b"\0" * 16  # a header, and an operation


def run(*command, seconds=60, **env):
    return subprocess.run(
        command, cwd=proc.ROOT, env=proc.environment(**env),
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=seconds, check=False)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def file(self, name, data=ZEROES):
        proc.put(self.path(name), data)
        return self.path(name)

    def refused(self, *command, words="", lines=1, **env):
        done = run(*command, **env)
        self.assertEqual((done.returncode, done.stderr.count("\n")),
                         (2, lines), (command, done.stdout, done.stderr))
        self.assertIn(words, done.stderr)
        return done


class Programs(Folder):
    def test_numbers(self):
        path = self.file("input")
        for number in ("0", "-1", " 5", " -5", "+5", "5x", "", "4294967296",
                       "9" * 30):
            self.refused(REPLAY, "--timeout", number, path,
                         words="--timeout: not a number from 1 to ")
            self.refused(REPLAY, "--each-fault", "--jobs", number, path)
            self.refused(THREADS, "--ops", number, words="--ops: not a number")
        for call in ("5,", "5,lat", ",late", " 5", "-5"):
            self.refused(REPLAY, "--each-fault", "--call", call, path)

    def test_no_inputs(self):
        """What is empty is not what passes."""
        os.mkdir(self.path("empty"))
        for program in ([REPLAY], [REPLAY, "--each-fault"], [THREADS]):
            self.refused(*program, self.path("empty"), words="no inputs")
            self.refused(*program, self.path("none"), words="No such file")

    def test_output_is_a_link(self):
        """The link stays, and a device behind it."""
        os.symlink("elsewhere", self.path("link"))
        os.symlink("/dev/full", self.path("full"))
        emit = [REPLAY, "--emit-c", SHORT, "-o"]
        self.assertEqual(run(*emit, self.path("link")).returncode, 0)
        self.assertTrue(os.path.islink(self.path("link")))
        with open(self.path("elsewhere"), encoding="utf-8") as file:
            self.assertIn("int main(void)", file.read())
        self.refused(*emit, self.path("full"), words="No space left")
        self.assertTrue(os.path.islink(self.path("full")))
        self.assertFalse(os.path.isfile("/dev/full"))


class EachFault(Folder):
    def each_fault(self, *arguments):
        done = run(REPLAY, "--each-fault", *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def test_done_damaged(self):
        """Lines that are not whole do not hide the others."""
        one, other = self.file("one"), self.file("other", ZEROES + b"\5" * 8)
        done = self.file("done", b"garbage\n")
        self.each_fault("--done", done, one)
        with open(done, "a", encoding="ascii") as file:
            file.write("0123456789abcdef 1")  # no room for the rest
        self.each_fault("--done", done, other)
        self.assertIn(" 0 runs, ", self.each_fault("--done", done, one))
        self.refused(REPLAY, "--each-fault", "--done", self.folder, one)

    def test_killed(self):
        """What it has started does not go on."""
        with subprocess.Popen(
                [REPLAY, "--each-fault", "--jobs", "2", SEED, SEED],
                cwd=proc.ROOT, stdout=subprocess.DEVNULL) as process:
            started = set()
            patience = time.monotonic() + 20
            while len(started) < 4 and time.monotonic() < patience:
                started |= set(descendants(process.pid))
                time.sleep(0.01)
            process.kill()
        self.assertGreaterEqual(len(started), 4)
        patience = time.monotonic() + 20
        while any(map(lives, started)) and time.monotonic() < patience:
            time.sleep(0.01)
        self.assertEqual([pid for pid in started if lives(pid)], [])

    def test_no_place_for_output(self):
        """Words that are lost are not taken for success."""
        for option in ([], ["-v"], ["--each-fault"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run(
                    [REPLAY, *option, SEED], cwd=proc.ROOT, text=True,
                    stdout=full, stderr=subprocess.PIPE, check=False)
            self.assertEqual((done.returncode, done.stderr), (
                2, "apb-replay: standard output: No space left on device\n"))

    def test_worker_killed(self):
        with subprocess.Popen(
                [REPLAY, "--each-fault", SEED], cwd=proc.ROOT, text=True,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            while not (started := descendants(process.pid)):
                time.sleep(0.01)
            os.kill(started[0], signal.SIGKILL)
            _out, err = process.communicate()
        self.assertEqual(process.returncode, 2)
        self.assertEqual(err, "apb-replay: a worker was ended: Killed\n")


def descendants(pid):
    """Children and theirs, the oldest first."""
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid),
                  encoding="ascii") as file:
            children = list(map(int, file.read().split()))
    except FileNotFoundError:
        return []
    return children + [other for child in children
                       for other in descendants(child)]


def lives(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Threads(unittest.TestCase):
    def test_second_signal(self):
        """The first one waits for the end of the round."""
        with subprocess.Popen([THREADS, "--ops", "1000000000"], cwd=proc.ROOT,
                              stdout=subprocess.DEVNULL) as process:
            patience = time.monotonic() + 20
            while process.poll() is None and time.monotonic() < patience:
                time.sleep(0.2)
                process.send_signal(signal.SIGTERM)
            self.assertEqual(process.poll(), -signal.SIGTERM)


class Scripts(Folder):
    def test_numbers(self):
        huge = "9" * 5000
        for script, name, value in (
                ("fuzz/fuzz.py", "JOBS", huge),
                ("fuzz/fuzz.py", "FUZZ_SECONDS", "abc"),
                ("fuzz/faults.py", "JOBS", "\u00b2"),
                ("fuzz/bugs/bugs.py", "SEEDS", "-1"),
                ("fuzz/mutate/mutate.py", "MUTATE_SAMPLE", "\u00b2"),
                ("fuzz/mutate/mutate.py", "MUTATE_LIMIT", huge),
                ("fuzz/mutate/mutate.py", "FILE", "nosuch")):
            self.refused(script, words=name + "=", **{name: value})

    def test_make(self):
        """What goes to a program by way of make."""
        for target, name, value in (
                ("explore-fuzz", "FUZZ_SECONDS", "abc"),
                ("explore-fuzz", "FUZZ_SECONDS", "")):
            done = run("make", "-s", target, "%s=%s" % (name, value))
            self.assertEqual(done.returncode, 2)
            self.assertIn("apb: %s=%s: must be" % (name, value), done.stderr)

    def test_refused_by_the_system(self):
        """One line, not a stack."""
        for code, words in (
                ("open('/no/such')", "/no/such: No such file"),
                ("open(proc.ROOT + '/fuzz', 'w')", "apb: fuzz: Is a dir"),
                ("open('/dev/full', 'w').write('x' * 99999)",
                 "apb: No space left")):
            self.refused(sys.executable, "-c",
                         "import sys; sys.path[0] = 'fuzz'; import proc\n"
                         "proc.run_main(lambda: %s)" % code, words=words)

    def test_results_damaged(self):
        import results
        path = self.file("results", b'{"id": "a"}\n[]\n')
        with self.assertRaisesRegex(ValueError, "results:2: not a result"):
            results.Results(path)


class Findings(Folder):
    DIGEST = "a" * 40

    def finding(self, seen, meta=None):
        """A folder as a kill, or somebody else, has left it."""
        os.makedirs(self.path("lost/inputs"), exist_ok=True)
        self.file("lost/inputs/" + self.DIGEST)
        if seen is not None:
            self.file("lost/seen", seen)
        if meta is not None:
            self.file("lost/meta.json", meta)
        return triage.Store(self.folder, [])

    def test_seen(self):
        """Each input counts, whatever its line became."""
        for seen in (None, b"", b"garbage\n", b"x y z\n", b"12.5 aaa",
                     b"\xff\xfe", b"1.5 %s here\n" % self.DIGEST.encode()):
            store = self.finding(seen)
            [found] = store.findings()
            self.assertEqual([row[1] for row in found.seen()], [self.DIGEST])
            self.assertIn("lost", triage.table(store))

    def test_meta(self):
        for meta in (b"", b"[1]", b"3", b'{"signature": 3}',
                     b'{"signature": {"oracle": 1}}', b'{"target": {"a": 1}}',
                     b'{"target": 5}', b'{"signature": {"oracle": "x"}}'):
            store = self.finding(b"", meta)
            [found] = store.findings()
            self.assertEqual(found.signature["op"], "")
            store.builds_of(found)
            self.assertIn("lost", triage.table(store))


class Names(Folder):
    def test_preloaded(self):
        """LD_PRELOAD is split at blanks and colons."""
        for name in ("a b", "a:b", "a\u00e4 $ORIGIN"):
            os.mkdir(self.path(name))
            library = self.path(name, "libapb-malloc.so")
            shutil.copyfile(SHIM, library)
            done = run("/bin/true", LD_PRELOAD=proc.plain(library),
                       APB_OPTIONS="stats=1")
            self.assertIn("apb: statistics of true", done.stderr)
        self.assertEqual(proc.plain(REPLAY), REPLAY)


if __name__ == "__main__":
    unittest.main()
