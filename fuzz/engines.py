# SPDX-License-Identifier: MIT
"""The engines: how their workers are started, watched and ended.

A worker is one fuzzing process.  It knows the number of its executions, its
speed and coverage as of the last thing it said, and the inputs it found to
fail.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time

import proc

SEEDS = ["corpus/seeds", "corpus/regressions"]
CORPUS = "build/fuzz/corpus"
FINDINGS = "build/findings"
LOGS = "build/fuzz/logs"
AFL_IN = "build/fuzz/afl-in"
AFL_OUT = "build/fuzz/afl"
AFL_MUTATOR = "build/fuzz/apb-mutator.so"
AFL_SYNC_MINUTES = 1  # the least that it takes
AFL_ENVIRONMENT = {
    "AFL_SKIP_CPUFREQ": "1", "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
    "AFL_FORCE_UI": "1", "AFL_NO_AFFINITY": "1", "AFL_FAST_CAL": "1"}

# What libFuzzer's processes are, in turn: target, greatest length of an input
# (a record is 8 bytes), and whether long inputs are tried from the start.
# Short inputs give speed, long ones reach states that take many operations;
# the faster target gets them first.
LIBFUZZER_MIX = [("asan", 2048, False), ("release", 16384, True),
                 ("asan", 16384, True), ("release", 2048, False)]
AFL_MAX_LEN = 8192


def files(*folders):
    """All files below folders, sorted."""
    found = []
    for folder in folders:
        for base, _dirs, names in os.walk(os.path.join(proc.ROOT, folder)):
            found += [os.path.join(base, name) for name in names
                      if not name.startswith((".", "README"))]
    return sorted(os.path.relpath(path, proc.ROOT) for path in found)


def digest(path):
    with open(os.path.join(proc.ROOT, path), "rb") as file:
        return hashlib.sha1(file.read()).hexdigest()


def reason(output):
    """The line that says what went wrong, or nothing."""
    for line in output.splitlines():
        if match := re.search(r"(FINDING|ERROR|runtime error): .*", line):
            return match[0].strip()
    return ""


class Worker:
    """What all engines have in common."""

    covers = "edges"  # what cov counts

    def __init__(self, name, cmd, env, logs=LOGS):
        self.name = name
        self.execs = self.rate = self.cov = self.total = self.corpus = 0
        self.found = []  # failing inputs
        self.broken = False  # ended by itself, without one
        self.features = os.path.join(logs, name + ".features")
        unlink(self.features)
        self.log = os.path.join(logs, name + ".log")
        self.started = time.monotonic()
        self.process = proc.spawn(
            cmd, proc.environment(APB_FEATURES_OUT=self.features, **env),
            stdout=self.output(), stderr=subprocess.STDOUT)

    def output(self):
        """Where its output goes: the log."""
        return open(os.path.join(proc.ROOT, self.log), "wb")

    def running(self):
        return self.process.poll() is None

    def stop(self):
        proc.signal_group(self.process, signal.SIGINT)

    def kill(self):
        """Also what the worker itself may have left behind."""
        proc.signal_group(self.process, signal.SIGKILL)
        self.process.wait()

    def watch(self):
        """Learn what is new."""
        status = self.process.poll()
        self.poll()
        self.broken = status not in (None, 0) and not self.found

    def poll(self):
        raise NotImplementedError

    def estimate(self):
        """Executions by now."""
        return self.execs

    def reason(self):
        with open(os.path.join(proc.ROOT, self.log), "rb") as log:
            return reason(log.read().decode(errors="replace"))


class LibFuzzer(Worker):
    STATUS = re.compile(r"#(\d+)\s+\w+\s+(?:cov: (\d+) )?(?:ft: \d+ )?"
                        r"(?:corp: (\d+)/\S+ )?.*exec/s: (\d+)")
    TOTAL = re.compile(r"INFO: Loaded \d+ modules\s+\((\d+) ")
    DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
    WRITTEN = re.compile(r"Test unit written to (\S+)")

    def __init__(self, index):
        kind, length, long = LIBFUZZER_MIX[index % len(LIBFUZZER_MIX)]
        cmd = ["build/fuzz/apb-fuzz-" + kind,
               "-artifact_prefix=%s/" % FINDINGS, "-print_final_stats=1",
               "-max_len=%d" % length, "-timeout=10", "-reload=1",
               # The blocks under test are not LSan's: the harness counts.
               "-detect_leaks=0"]
        if long:
            cmd.append("-len_control=0")
        self.offset = 0
        self.rest = ""
        super().__init__("%s-%d" % (kind, index),
                         cmd + [CORPUS] + seed_folders(), {})

    def estimate(self):
        """libFuzzer tells them now and then only, with the mean speed."""
        return max(self.execs,
                   int(self.rate * (time.monotonic() - self.started)))

    def lines(self):
        """New whole lines of the log."""
        with open(os.path.join(proc.ROOT, self.log), "rb") as log:
            log.seek(self.offset)
            data = log.read()
        self.offset += len(data)
        *lines, self.rest = (self.rest + data.decode(errors="replace")) \
            .split("\n")
        return lines

    def poll(self):
        for line in self.lines():
            if match := self.STATUS.match(line):
                self.execs = int(match[1])
                self.cov = int(match[2] or self.cov)
                self.corpus = int(match[3] or self.corpus)
                self.rate = int(match[4])
            elif match := self.TOTAL.match(line):
                self.total = int(match[1])
            elif match := self.DONE.match(line):
                self.execs = int(match[1])
            elif match := self.WRITTEN.search(line):
                # Slow inputs are worth a look, but they are no failures.
                if not os.path.basename(match[1]).startswith("slow-unit-"):
                    self.found.append(match[1])


class Afl(Worker):
    """AFL++ tells its numbers once a minute; what it shows all the time is
    its status screen, which is read here."""

    covers = "edges and states"
    FIELD = r"%s : ([0-9.]+)([kMGT]?)"
    FACTOR = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[()][0B])|[\x0e\x0f]")
    findings = FINDINGS
    DENSITY = re.compile(r"map density : [0-9.]+% / ([0-9.]+)%")
    SCREENS = 16384

    def __init__(self, index):
        """The first one is the main instance: it also takes in what libFuzzer
        finds, and the secondary ones take in what it has."""
        self.out = "%s/%d" % (AFL_OUT, index)
        self.screen = ""
        role = ["-M", str(index), "-F", CORPUS] if index == 0 else \
            ["-S", str(index)]
        super().__init__("afl-%d" % index, [
            "afl-fuzz", "-i", AFL_IN, "-o", AFL_OUT, *role,
            "-t", "10000+", "-G", str(AFL_MAX_LEN), "--",
            "build/fuzz/apb-fuzz-afl"],
            {**AFL_ENVIRONMENT, "AFL_SYNC_TIME": str(AFL_SYNC_MINUTES),
             "AFL_CUSTOM_MUTATOR_LIBRARY": os.path.join(proc.ROOT,
                                                        AFL_MUTATOR)})
        os.set_blocking(self.process.stdout.fileno(), False)

    def output(self):
        return subprocess.PIPE

    def poll(self):
        while data := self.process.stdout.read(65536):
            self.screen += self.ESCAPE.sub("", data.decode(errors="replace"))
            self.screen = self.screen[-self.SCREENS:]
        self.execs = int(self.shown("total execs", self.execs))
        self.rate = self.execs / (time.monotonic() - self.started)
        self.corpus = int(self.shown("corpus count", self.corpus))
        if stats := self.stats():
            self.execs = max(self.execs, int(stats["execs_done"]))
            self.total = int(stats["total_edges"])
            self.cov = int(stats["edges_found"])
        if density := self.DENSITY.findall(self.screen):
            self.cov = round(float(density[-1]) / 100 * self.total)
        self.found = [keep(path, self.findings) for path in
                      files(self.out + "/crashes", self.out + "/hangs")]

    def shown(self, label, otherwise):
        """The number behind a label, as of the latest screen."""
        found = re.findall(self.FIELD % label, self.screen)
        if not found:
            return otherwise
        return float(found[-1][0]) * self.FACTOR[found[-1][1]]

    def kill(self):
        super().kill()
        self.poll()
        with open(os.path.join(proc.ROOT, self.log), "w",
                  encoding="utf-8") as log:
            log.write(self.screen)

    def stats(self):
        """fuzzer_stats; empty while there is none."""
        try:
            with open(os.path.join(proc.ROOT, self.out, "fuzzer_stats"),
                      encoding="utf-8") as file:
                rows = [line.split(":", 1) for line in file if ":" in line]
        except FileNotFoundError:
            return {}
        stats = {name.strip(): value.strip() for name, value in rows}
        return stats if "total_edges" in stats else {}


class Threads(Worker):
    """Threads that really run, under TSan.  Nothing guides them: they play the
    seeds that have threads, and random records, round after round.  What goes
    wrong is in the log; no input would show it again for certain."""

    ROUNDS = re.compile(r"(\d+) rounds, ")
    COUNTS = ["3", "4", "2", "8"]
    FORKS = ["0", "4"]
    OPS = "2000"

    def __init__(self, index):
        seeds = [path for path in files(SEEDS[0]) if "threads-" in path]
        super().__init__("threads-%d" % index, [
            "build/tsan/apb-threads", "--seconds", str(10 ** 8),
            "--seed", str(1 + index * 10 ** 6), "--ops", self.OPS,
            "--threads", self.COUNTS[index % len(self.COUNTS)],
            "--forks", self.FORKS[index % len(self.FORKS)],
            *(seeds if index % 4 >= 2 else [])],
            {"TSAN_OPTIONS": "halt_on_error=1"})

    def poll(self):
        with open(os.path.join(proc.ROOT, self.log), "rb") as log:
            found = self.ROUNDS.findall(log.read().decode(errors="replace"))
        self.execs = int(found[-1]) if found else 0
        self.rate = self.execs / (time.monotonic() - self.started)


ENGINES = {"libfuzzer": (LibFuzzer,), "afl": (Afl,),
           "both": (LibFuzzer, Afl), "threads": (Threads,)}


def start(engine, jobs):
    """So many workers, one of each kind at least, one after the other."""
    kinds = ENGINES[engine]
    for index in range(max(jobs, len(kinds))):
        yield kinds[index % len(kinds)](index // len(kinds))


def unlink(path):
    path = os.path.join(proc.ROOT, path)
    if os.path.exists(path):
        os.unlink(path)


def copy(path, folder, name):
    copied = os.path.join(folder, name)
    shutil.copyfile(os.path.join(proc.ROOT, path),
                    os.path.join(proc.ROOT, copied))
    return copied


def keep(path, folder):
    """A failing input of AFL++, whose folder the next run empties."""
    kind = os.path.basename(os.path.dirname(path))  # crashes or hangs
    return copy(path, folder, "afl-%s-%s" % (kind, digest(path)))


def seed_folders():
    return [folder for folder in SEEDS
            if os.path.isdir(os.path.join(proc.ROOT, folder))]


def prepare(engine):
    """Folders; for AFL++ also one that holds all inputs known."""
    for folder in (CORPUS, FINDINGS, LOGS):
        os.makedirs(os.path.join(proc.ROOT, folder), exist_ok=True)
    if Afl in ENGINES[engine]:
        Harvest().poll()  # of a run that was killed
        for folder in (AFL_IN, AFL_OUT):
            shutil.rmtree(os.path.join(proc.ROOT, folder), ignore_errors=True)
        os.makedirs(os.path.join(proc.ROOT, AFL_IN))
        for path in files(CORPUS, *SEEDS):
            copy(path, AFL_IN, digest(path))


def replay(program, inputs, seconds):
    """Replay inputs, on all cores: (what went wrong, output), ("", "") if
    nothing did."""
    parts = [inputs[i::proc.NCPU] for i in range(min(proc.NCPU, len(inputs)))]
    runs = proc.run_all([[program, *part] for part in parts], seconds)
    for status, output in runs:
        if status != 0:
            return "%s: %s" % (program, proc.ending(status)), output
    return "", ""


class Harvest:
    """Copies what AFL++ finds of new inputs into the shared corpus, where
    libFuzzer's processes find it while they run."""

    PERIOD = 5.0

    def __init__(self):
        self.known = {digest(path) for path in files(CORPUS, *SEEDS)}
        self.seen = set()
        self.next = 0.0

    def poll(self):
        """Everything that is new."""
        for path in files(AFL_OUT):
            name = os.path.basename(path)
            if path in self.seen or "/queue/" not in path or \
                    not name.startswith("id:"):
                continue
            self.seen.add(path)
            key = digest(path)
            if key not in self.known:
                self.known.add(key)
                copy(path, CORPUS, key)

    def now_and_then(self):
        if time.monotonic() >= self.next:
            self.poll()
            self.next = time.monotonic() + self.PERIOD
