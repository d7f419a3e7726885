#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make fuzz TARGET=...`: fuzz an allocator that is not apb.

From the environment: TARGET (a name of TARGETS or the path of a library),
RULES, FUZZ_SECONDS, JOBS, ENGINE (libfuzzer or afl).  The corpus is replayed
first, each input in a process of its own, then fuzzed until the time is over,
at the first finding, or on SIGINT or SIGTERM.  Exit status: 0 clean, 1 a
finding, 2 bad values or something missing.
"""

import os
import re
import shlex
import shutil
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import engines  # noqa: E402  (fuzz/ has to be in the path first)
import fuzz     # noqa: E402
import proc     # noqa: E402
import reproducer  # noqa: E402
import triage   # noqa: E402

# Name and Debian package, None: needs none.
TARGETS = {"glibc": None, "mimalloc": "libmimalloc2.0",
           "jemalloc": "libjemalloc2", "tcmalloc": "libtcmalloc-minimal4",
           "tbbmalloc": "libtbbmalloc2", "scudo": "libclang-rt-19-dev"}
REPLAY = "build/fuzz/apb-replay-any"
ENGINES = {"libfuzzer": "build/fuzz/apb-fuzz-any",
           "afl": "build/fuzz/apb-fuzz-any-afl"}
REPLAY_SECONDS = 300
HALF = 4 << 20  # of a history: any_history.c

say = fuzz.say


class Target:
    """What is fuzzed, by which rules, and where its files are."""

    def __init__(self, name, rules):
        self.name = name
        self.rules = rules
        self.short = re.sub(r"[^A-Za-z0-9.]+", "-",
                            os.path.basename(name)).strip("-")
        self.folder = "build/foreign/fuzz-" + self.short
        self.corpus = self.folder + "/corpus"
        # failing inputs, until they are filed
        self.artifacts = self.folder + "/artifacts"

    def settings(self):
        return {"APB_TARGET": self.name, "APB_RULES": self.rules}

    def replay(self, *args):
        """A command as the user would type it."""
        rules = [] if self.rules == "glibc" else ["--rules", self.rules]
        return [REPLAY, "--target", self.name, *rules, *args]


class LibFuzzer(engines.LibFuzzer):
    """Guided by the states alone: the library has no counters."""

    LENGTHS = (1024, 8192)

    def __init__(self, index, target):
        self.offset = 0
        self.rest = ""
        self.history = "%s/history-%d" % (target.folder, index)
        engines.unlink(self.history)
        engines.Worker.__init__(
            self, "%s-%d" % (target.short, index),
            [ENGINES["libfuzzer"], "-artifact_prefix=%s/" % target.artifacts,
             "-print_final_stats=1",
             "-max_len=%d" % self.LENGTHS[index % 2], "-timeout=60",
             "-reload=1", "-len_control=%d" % (100 if index % 2 else 0),
             target.corpus, *engines.seed_folders()],
            {"APB_HISTORY": self.history, **target.settings()})


class Afl(engines.Afl):
    """The same target, persistent; what it learnt from earlier inputs makes
    it less than stable."""

    def __init__(self, index, target):
        self.out = "%s/afl/%d" % (target.folder, index)
        self.findings = target.artifacts
        self.screen = ""
        self.history = "%s/history-%d" % (target.folder, index)
        role = ["-M", str(index), "-d"] if index == 0 else ["-S", str(index)]
        engines.Worker.__init__(
            self, "%s-afl-%d" % (target.short, index),
            ["afl-fuzz", "-i", target.folder + "/afl-in",
             "-o", target.folder + "/afl", *role, "-t", "60000+",
             "-m", "none", "-G", "8192", "--", ENGINES["afl"]],
            {"APB_HISTORY": self.history, "APB_QUIET": "1",
             **engines.AFL_ENVIRONMENT, **target.settings()})
        os.set_blocking(self.process.stdout.fileno(), False)


WORKERS = {"libfuzzer": LibFuzzer, "afl": Afl}


# ---- a finding --------------------------------------------------------------


def history(path):
    """The inputs that a process ran, the latest last."""
    try:
        with open(os.path.join(proc.ROOT, path), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    _runs, now, *end = struct.unpack_from("<4Q", data)
    inputs = []
    for half in (1 - now, now):
        at = 32 + half * HALF
        stop = at + end[half]
        while at < stop:
            size = struct.unpack_from("<I", data, at)[0]
            inputs.append(data[at + 4:at + 4 + size])
            at += 4 + size
    return inputs


def write_history(folder, inputs):
    full = os.path.join(proc.ROOT, folder)
    shutil.rmtree(full, ignore_errors=True)
    os.makedirs(full)
    for number, data in enumerate(inputs):
        with open("%s/%06d" % (full, number), "wb") as file:
            file.write(data)


def replayed(target, *args):
    """Whether it fails, and what it says."""
    status, output = proc.run(target.replay(*args), timeout=REPLAY_SECONDS,
                              env=proc.environment(APB_QUIET="1"))
    return status not in (0, None), output


def with_history(target, worker):
    """The fewest of the latest inputs of a worker that fail together."""
    inputs = history(worker.history)
    folder = "%s/%s-history" % (engines.FINDINGS, target.short)
    count = 1
    while inputs:
        write_history(folder, inputs[-count:])
        failed, output = replayed(target, "--no-fork", folder)
        if failed:
            return folder, count, output
        if count >= len(inputs):
            break
        count = min(len(inputs), count * 4)
    return None, 0, ""


def report(target, store, path, worker):
    """File a finding and say all there is to say; @worker: None, it is of the
    committed corpus."""
    origin = "%s on %s" % (worker.name if worker else "the corpus", target.name)
    reason = worker.reason() if worker else ""
    failed, _output = replayed(target, path)
    folder, count, output = (None, 0, "") if failed or not worker else \
        with_history(target, worker)
    if not folder:
        finding = fuzz.file_finding(store, path, origin, reason, bool(worker))
        if finding and finding.name == triage.NOT_SHOWN:
            say("neither the input alone shows it nor the latest ones "
                "together: %s" % os.path.relpath(finding.latest(), proc.ROOT))
            if worker:
                print("\n".join("  " + line for line
                                in fuzz.tail(worker.log, 30)))
        elif finding:
            fuzz.report(store, finding, origin, reason)
        return
    engines.unlink(path)  # the last one of the folder
    say("finding by %s: %s" % (origin, reason))
    say("it takes the %s before it as well: %s" % (
        fuzz.plural(count - 1, "input"), folder))
    say("replay it with:")
    print("  " + shlex.join(target.replay("--no-fork", folder)))
    say("which says:")
    fuzz.words(output)
    sys.stdout.flush()


def file_left(target, store):
    """Findings of a run that was killed before it filed them."""
    for path in engines.files(target.artifacts):
        fuzz.file_finding(store, path, "left by a run on " + target.name, "")


# ---- fuzzing ----------------------------------------------------------------


def status_text(workers, left, found):
    return "%s left | %s exec/s | %s executions | corpus %d | findings %d" % (
        fuzz.clock(left), format(round(sum(w.rate for w in workers)), ","),
        format(sum(w.estimate() for w in workers), ","),
        max(w.corpus for w in workers), found)


def watch(workers, deadline):
    line = fuzz.StatusLine()
    while not proc.stopping():
        for worker in workers:
            worker.watch()
        found = sum(bool(w.found or w.broken) for w in workers)
        line.show(status_text(workers, deadline - time.monotonic(), found))
        if found or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    line.end()


def summary(target, workers, seconds, before, found):
    execs = sum(w.execs for w in workers)
    say("%d s of %s with JOBS=%d, RULES=%s" % (
        round(seconds), target.name, len(workers), target.rules))
    for label, text in (
            ("executions", "%s (%s/s)" % (format(execs, ","),
                                          format(round(execs / seconds), ","))),
            ("new inputs", "%d, in %s" % (
                len(set(engines.files(target.corpus)) - before),
                target.corpus)),
            ("findings", str(found))):
        print("  %-16s%s" % (label, text))
    sys.stdout.flush()


def prepare(target, engine):
    for folder in (target.corpus, target.artifacts, engines.LOGS):
        os.makedirs(os.path.join(proc.ROOT, folder), exist_ok=True)
    if engine != "afl":
        return
    for folder in ("afl-in", "afl"):
        shutil.rmtree(os.path.join(proc.ROOT, target.folder, folder),
                      ignore_errors=True)
    inputs = os.path.join(target.folder, "afl-in")
    os.makedirs(os.path.join(proc.ROOT, inputs))
    for path in engines.files(target.corpus, *engines.SEEDS):
        engines.copy(path, inputs, engines.digest(path))


def harvest(target):
    """Copy what AFL++ found of new inputs into the corpus."""
    known = {engines.digest(path)
             for path in engines.files(target.corpus, *engines.SEEDS)}
    for path in engines.files(target.folder + "/afl"):
        if "/queue/" not in path:
            continue
        key = engines.digest(path)
        if key not in known:
            known.add(key)
            engines.copy(path, target.corpus, key)


def replay_corpus(target):
    """The first input of the corpus that fails, or None."""
    inputs = engines.files(*engines.SEEDS)
    start = time.monotonic()
    failed, output = replayed(target, *inputs)
    if failed:
        found = re.findall(r"^in (.*)$", output, re.M)
        if not found:
            proc.usage("%s on the corpus: %s" % (REPLAY, output[-500:]))
        return found[0]
    say("%d inputs of the corpus replayed, %.1f s"
        % (len(inputs), time.monotonic() - start))
    return None


def choose():
    """The target and the rules, both known to be good; the functions that the
    library has are said."""
    name = os.environ.get("TARGET", "")
    target = Target(name, os.environ.get("RULES", "") or "glibc")
    if name not in TARGETS and "/" not in name:
        proc.usage("TARGET=%s: neither a path nor one of %s"
                   % (name, ", ".join(TARGETS)))
    return target


def install(target):
    package = TARGETS.get(target.name)
    if package and subprocess.call([".ci/setup", package], cwd=proc.ROOT):
        proc.leave(2)


def introduce(target):
    """What the library has; status 2 if it or the rules are no good."""
    status, output = proc.run(target.replay("--help"), timeout=60)
    if status != 0:
        sys.stderr.write(output)
        proc.leave(2)
    print("".join(line + "\n" for line in output.splitlines()
                  if line.startswith("apb: ")), end="", flush=True)


def main():
    seconds = proc.number("FUZZ_SECONDS", 60, 10 ** 8)
    jobs = proc.number("JOBS", proc.NCPU, 1024)
    engine = os.environ.get("ENGINE", "libfuzzer")
    if engine not in ENGINES:
        proc.usage("ENGINE=%s: must be libfuzzer or afl with TARGET" % engine)
    target = choose()

    proc.catch_signals()
    install(target)
    status, _output = proc.make(REPLAY, ENGINES[engine], show=True)
    if proc.stopping():
        fuzz.interrupted()
    if status != 0:
        proc.usage("the build failed")
    introduce(target)
    prepare(target, engine)
    store = triage.Store(builds=[reproducer.Foreign(target.name, target.rules)])
    file_left(target, store)
    bad = replay_corpus(target)
    if bad:
        say("finding by replay of the corpus")
        report(target, store, bad, None)
        proc.leave(1)

    before = set(engines.files(target.corpus))
    start = time.monotonic()
    workers = []
    try:
        for index in range(jobs):
            workers.append(WORKERS[engine](index, target))
        watch(workers, start + seconds)
    finally:
        fuzz.stop(workers)
    proc.rearm()
    if engine == "afl":
        harvest(target)
    found = [(path, w) for w in workers for path in w.found]
    broken = [w for w in workers if w.broken]
    summary(target, workers, max(0.001, time.monotonic() - start), before,
            len(found) + len(broken))
    for worker in broken:
        say("%s ended without an input; the end of %s:" % (worker.name,
                                                           worker.log))
        print("\n".join("  " + line for line in fuzz.tail(worker.log, 20)))
    for path, worker in found:
        report(target, store, path, worker)
    proc.leave(1 if found or broken else 0)


if __name__ == "__main__":
    proc.run_main(main)
