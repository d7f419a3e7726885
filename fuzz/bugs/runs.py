# SPDX-License-Identifier: MIT
"""A run: one process of an engine on one planted bug, until it finds
something or its time is over.

How long it took is measured from the start of the process to its end: what an
engine does before it fuzzes, AFL++'s dry run of the corpus for one, counts.
"""

import glob
import os
import re
import shutil
import signal
import subprocess
import time

import engines
import plant
import proc

GRACE_SECONDS = 120  # to replay the corpus, to end
MAX_LEN = 16384
HANG_MS = 10000
COMMITTED, EMPTY = "committed", "none"
EMPTY_INPUT = bytes(8)  # AFL++ wants one input: a header, no operation


class Run:
    """What all engines have in common."""

    engine = ""
    environment = {}

    def __init__(self, name, seed, seconds, corpus):
        self.name, self.seed, self.corpus = name, seed, corpus
        self.seconds = seconds
        self.folder = "%s/%s" % (plant.OUT, name)
        self.state = "%s/%s-%d" % (self.folder, self.engine, seed)
        shutil.rmtree(plant.path(self.state), ignore_errors=True)
        os.makedirs(plant.path(self.state))
        self.log = plant.path(self.state, "log")
        program, *options = plant.programs(name, (self.engine,))[self.engine]
        command = self.command(os.path.join(self.folder, program), options)
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = proc.spawn(
                command, proc.environment(**self.environment), stdout=log,
                stderr=subprocess.STDOUT)
        self.taken = 0.0
        self.killed = False

    def command(self, program, options):
        raise NotImplementedError

    def running(self):
        self.taken = time.monotonic() - self.started
        if self.process.poll() is not None:
            # what the engine has started may outlive it
            proc.signal_group(self.process, signal.SIGKILL)
            return False
        if self.taken > self.seconds + GRACE_SECONDS:
            self.kill()
        return not self.killed

    def kill(self):
        self.killed = True
        proc.signal_group(self.process, signal.SIGKILL)
        self.process.wait()

    def output(self):
        return plant.content(self.log).decode(errors="replace")

    def executions(self):
        output = self.output()
        counts = re.findall(r"^stat::number_of_executed_units:\s*(\d+)",
                            output, re.M) or \
            re.findall(r"^#(\d+)\t", output, re.M) or \
            re.findall(r"^(\d+) rounds, ", output, re.M) or ["0"]
        return int(counts[-1])

    def found_by(self):
        """The oracle, or None if nothing was found."""
        output = self.output()
        if finding := re.search(r"^FINDING: ([^:]+): (.*)", output, re.M):
            invariant = re.search(r": ([a-z]+\.[a-z0-9]+): \1 at ", finding[2])
            return finding[1] + (": " + invariant[1] if invariant else "")
        for pattern, words in (
                (r"runtime error: ([\w-]+ [\w-]+)", "UBSan: %s"),
                (r"ERROR: AddressSanitizer: ([\w-]+)", "ASan: %s"),
                (r"ThreadSanitizer: ([\w-]+(?: [a-z]+)*)", "TSan: %s"),
                (r"ERROR: libFuzzer: ([\w -]+)", "libFuzzer: %s")):
            if match := re.search(pattern, output):
                return words % match[1]
        return None

    def ended_well(self):
        """Of a run that found nothing: it went on to the end."""
        return not self.killed and self.process.returncode == 0

    def result(self):
        found = self.found_by()
        return {"bug": self.name, "engine": self.engine, "seed": self.seed,
                "corpus": self.corpus, "limit": self.seconds,
                "found": found, "seconds": round(self.taken, 2),
                "executions": self.executions(),
                "broken": not (found or self.ended_well()),
                "log": os.path.relpath(self.log, proc.ROOT)}


class LibFuzzer(Run):
    engine = "libfuzzer"
    # nobody reads the stacks
    environment = {"ASAN_OPTIONS": "symbolize=0"}

    def command(self, program, options):
        seeds = engines.seed_folders() if self.corpus == COMMITTED else []
        corpus = self.state + "/corpus"
        os.makedirs(plant.path(corpus))
        return [program, "-seed=%d" % self.seed,
                "-max_total_time=%d" % self.seconds, "-print_final_stats=1",
                "-timeout=%d" % (HANG_MS // 1000),
                "-artifact_prefix=%s/" % self.state,
                "-max_len=%d" % MAX_LEN, "-detect_leaks=0", corpus, *seeds]


class Threads(Run):
    engine = "threads"
    environment = {"TSAN_OPTIONS": "symbolize=0:halt_on_error=1"}

    def command(self, program, options):
        # a round has the seed of the one before it, plus 1
        return [program, *options, "--seconds", str(self.seconds), "--ops",
                "2000", "--seed", str(1 + (self.seed - 1) * 10 ** 5)]


class Afl(Run):
    engine = "afl"
    # the first crash ends it, in the fuzzing as well as among the seeds
    environment = {**engines.AFL_ENVIRONMENT, "AFL_NO_UI": "1",
                   "AFL_BENCH_UNTIL_CRASH": "1", "AFL_EXIT_ON_SEED_ISSUES": "1",
                   "AFL_NO_CRASH_README": "1"}
    environment.pop("AFL_FORCE_UI")
    SEED = re.compile(r"Test case '.*,orig:(\S+)' results in a "
                      r"(crash|timeout)")
    # in what the target does before the first input
    START = re.compile(r"Fork server crashed with (signal \d+)")
    AGAIN_SECONDS = 5

    def command(self, program, options):
        self.program = program
        return ["afl-fuzz", "-i", inputs_folder(self.corpus), "-o",
                self.state + "/out", "-s", str(self.seed), "-t", str(HANG_MS),
                "-G", str(MAX_LEN), "-V", str(self.seconds), "--", program]

    def files(self, kind):
        return glob.glob(plant.path(self.state, "out/default", kind, "id*"))

    def running(self):
        # it goes on after a hang
        if self.process.poll() is None and self.files("hangs"):
            self.kill()
        return super().running()

    def executions(self):
        stats = plant.path(self.state, "out/default/fuzzer_stats")
        if os.path.exists(stats):
            text = plant.content(stats).decode()
            return int(re.search(r"^execs_done +: (\d+)", text, re.M)[1])
        return self.output().count("Attempting dry run")

    def failing(self):
        """The input that fails and how AFL++ calls that, or None."""
        if seed := self.SEED.search(self.output()):
            return inputs_folder(self.corpus) + "/" + seed[1], seed[2]
        for kind, how in (("crashes", "crash"), ("hangs", "timeout")):
            for name in self.files(kind):
                return name, how
        return None

    def result(self):
        """AFL++ drops what its target says: the input says it once more."""
        if failing := self.failing():
            with open(self.log, "ab") as log, \
                    open(plant.path(failing[0]), "rb") as data:
                again = proc.spawn([self.program], stdin=data, stdout=log,
                                   stderr=subprocess.STDOUT)
                try:
                    again.wait(self.AGAIN_SECONDS)
                except subprocess.TimeoutExpired:
                    proc.signal_group(again, signal.SIGKILL)
                    again.wait()
        return super().result()

    def found_by(self):
        if failing := self.failing():
            return super().found_by() or "AFL++: " + failing[1]
        start = self.START.search(self.output())
        return start and "AFL++: %s at the start" % start[1]


def inputs_folder(corpus):
    return "%s/afl-%s" % (plant.OUT, corpus)


def prepare(corpus):
    """The folder of inputs that AFL++ begins with, the shortest first: it
    takes the last name first."""
    folder = inputs_folder(corpus)
    shutil.rmtree(plant.path(folder), ignore_errors=True)
    os.makedirs(plant.path(folder))
    if corpus == EMPTY:
        with open(plant.path(folder, "empty"), "wb") as file:
            file.write(EMPTY_INPUT)
        return
    names = sorted(engines.files(*engines.seed_folders()), reverse=True,
                   key=lambda name: os.path.getsize(plant.path(name)))
    for i, name in enumerate(names):
        engines.copy(name, folder, "%05d" % i)


ENGINES = {cls.engine: cls for cls in (LibFuzzer, Afl, Threads)}
