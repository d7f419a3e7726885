#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make fuzz`: build, replay the corpus, fuzz on all cores, say what came out.

From the environment: FUZZ_SECONDS, ENGINE (libfuzzer, afl, both or
threads), JOBS.  Fuzzing
ends when the time is over, at the first finding, or on SIGINT or SIGTERM, in
each case with a summary.  Exit status: 0 clean, 1 a finding, 2 bad values or
something missing.
"""

import os
import shlex
import sys
import time

import engines
import proc
import triage

BUILD_REPLAY = "build/test/apb-replay"
RELEASE_REPLAY = "build/fuzz/apb-replay"
COUNTING_TARGET = "build/fuzz/apb-fuzz-release"
FEATURES = "build/fuzz/features"
REPLAY_SECONDS = 300
STOP_SECONDS = 10
MINIMIZE_SECONDS = 60
WORDS_LINES = 60
TTY_PERIOD, PLAIN_PERIOD = 0.5, 5.0


def say(text):
    print("apb: " + text, flush=True)


def plural(count, word):
    return "%d %s%s" % (count, word, "" if count == 1 else "s")


def clock(seconds):
    seconds = max(0, round(seconds))
    if seconds >= 3600:
        return "%d:%02d:%02d" % (seconds // 3600, seconds // 60 % 60,
                                 seconds % 60)
    return "%d:%02d" % (seconds // 60, seconds % 60)


class StatusLine:
    """One line that is overwritten on a terminal, now and then a line else."""

    def __init__(self):
        self.tty = sys.stdout.isatty()
        self.next = 0.0
        self.width = 0

    def show(self, text):
        now = time.monotonic()
        if now < self.next:
            return
        self.next = now + (TTY_PERIOD if self.tty else PLAIN_PERIOD)
        if self.tty:
            room = os.get_terminal_size(sys.stdout.fileno()).columns - 1
            text = text[:room] if room > 0 else text
            print("\r" + text.ljust(self.width), end="", flush=True)
            self.width = len(text)
        else:
            say(text)

    def end(self):
        if self.width:
            print()
        self.width = 0


# ---- fuzzing ----------------------------------------------------------------


def read_features(path):
    try:
        with open(os.path.join(proc.ROOT, path), encoding="ascii") as file:
            return int(file.read() or 0)
    except (FileNotFoundError, ValueError):
        return 0


def known_inputs():
    return set(engines.files(engines.CORPUS))


def status_text(workers, left, found):
    widest = max(workers, key=lambda w: w.cov)
    return ("%s left | %s exec/s | %s executions | %s %d%s | states %d | "
            "corpus %d | findings %d") % (
                clock(left), format(round(sum(w.rate for w in workers)), ","),
                format(sum(w.estimate() for w in workers), ","),
                widest.covers, widest.cov,
                "/%d" % widest.total if widest.total else "",
                max(read_features(w.features) for w in workers),
                max(w.corpus for w in workers), found)


def watch(workers, deadline, harvest):
    """Until the time is over, a finding, or a signal."""
    line = StatusLine()
    while not proc.stopping():
        for worker in workers:
            worker.watch()
        harvest.now_and_then()
        found = sum(bool(w.found or w.broken) for w in workers)
        line.show(status_text(workers, deadline - time.monotonic(), found))
        if found or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    line.end()


def stop(workers):
    for worker in workers:
        worker.stop()
    patience = time.monotonic() + STOP_SECONDS
    while any(w.running() for w in workers) and time.monotonic() < patience:
        time.sleep(0.05)
    for worker in workers:
        worker.kill()
        worker.poll()


# ---- what came out ----------------------------------------------------------


def measure(workers):
    """Edges covered, of how many, and states, by corpus and new inputs.

    One run of one target over all inputs, so that the figures are those of
    the corpus, whatever the engine and however it was ended.  Where an input
    ends that run, they are those of the worker that came furthest.
    """
    engines.unlink(FEATURES)
    status, output = proc.run(
        [COUNTING_TARGET, "-runs=0", "-artifact_prefix=%s/" % engines.FINDINGS,
         engines.CORPUS, *engines.seed_folders()],
        timeout=60, env=proc.environment(APB_FEATURES_OUT=FEATURES))
    cov = total = 0
    for line in output.splitlines():
        if match := engines.LibFuzzer.STATUS.match(line):
            cov = int(match[2] or cov)
        elif match := engines.LibFuzzer.TOTAL.match(line):
            total = int(match[1])
    if status == 0:
        return cov, total, read_features(FEATURES)
    widest = max(workers, key=lambda w: w.cov)
    return (widest.cov, widest.total,
            max(read_features(w.features) for w in workers))


def summary(engine, workers, seconds, before, found):
    execs = sum(w.execs for w in workers)
    new = len(known_inputs() - before)
    cov, total, states = measure(workers)
    say("%d s of %s with JOBS=%d" % (round(seconds), engine, len(workers)))
    for label, text in (
            ("executions", "%s (%s/s)" % (format(execs, ","),
                                          format(round(execs / seconds), ","))),
            ("edges", "%d of %d" % (cov, total)),
            ("state features", str(states)),
            ("new inputs", "%d, in %s" % (new, engines.CORPUS)),
            ("findings", str(found))):
        print("  %-16s%s" % (label, text))
    sys.stdout.flush()


def tail(path, count):
    with open(os.path.join(proc.ROOT, path), "rb") as file:
        lines = file.read().decode(errors="replace").splitlines()
    return lines[-count:]


def words(output):
    """The operations, from apb-replay -v; both ends if they are many."""
    lines = output.splitlines()
    if len(lines) > WORDS_LINES:
        half = WORDS_LINES // 2
        lines[half:-half] = ["... %d lines ..." % (len(lines) - 2 * half)]
    for line in lines:
        print("  " + line)


def file_finding(store, path, origin, reason, fresh=True):
    """File a failing input, a @fresh one or one of the corpus; None if a
    signal came first, or there is none."""
    try:
        return store.add(path, "%s: %s" % (origin, reason), remove=fresh,
                         when=None if fresh else time.time())
    except (triage.Interrupted, FileNotFoundError):
        say("input: %s, make triage looks at it" % path)
        return None


def report(store, finding, origin, reason):
    """Everything that is to be said on a finding."""
    if finding.name == triage.NOT_SHOWN:
        found = os.path.relpath(finding.latest(), proc.ROOT)
        say("finding by %s: %s" % (origin, reason))
        say("input: " + found)
        say("apb-replay does not show it; the target that found it may:")
        print("  build/fuzz/apb-fuzz-%s %s"
              % ("release" if "release" in origin else "asan",
                 shlex.quote(found)))
        return
    try:
        store.complete(finding, MINIMIZE_SECONDS)
    except triage.Interrupted:
        proc.rearm()
        say("interrupted; make triage does the rest")
    small = os.path.join(finding.folder, "minimised"
                         if finding.has("minimised") else "input")
    output = triage.contents(finding.path("report.txt")).decode(
        errors="replace") if finding.has("report.txt") else ""
    say("finding by %s: %s" % (origin, engines.reason(output) or reason))
    say("%s, seen %s, in %s" % ("a new one" if finding.new else "known",
                                plural(finding.count, "time"),
                                finding.folder))
    say("minimised to %s: %s" % (plural(triage.operations(
        os.path.join(proc.ROOT, small)), "operation"), small))
    if finding.has("program.c"):
        say("as a C program, which %s: %s" % (
            "shows it" if finding.meta.get("verified") else
            "does not show it", os.path.join(finding.folder, "program.c")))
    say("replay it with:")
    print("  %s -v %s" % (finding.meta.get("replay", BUILD_REPLAY),
                          shlex.quote(small)))
    say("which says:")
    words(output)
    sys.stdout.flush()


def replay_corpus():
    """The committed inputs first: the first that fails, or None."""
    inputs = engines.files(*engines.SEEDS)
    if not inputs:
        proc.usage("corpus/seeds holds no inputs")
    start = time.monotonic()
    for program in (BUILD_REPLAY, RELEASE_REPLAY):
        wrong, output = engines.replay(program, inputs, REPLAY_SECONDS)
        if not wrong or proc.stopping():
            continue
        for path in inputs:
            if proc.run([program, path], timeout=60)[0] != 0:
                return path
        print(output[-4000:])
        proc.usage(wrong + " on the corpus, but on no input of it alone")
    say("%d inputs of the corpus replayed, with sanitizers and with release "
        "flags, %.1f s" % (len(inputs), time.monotonic() - start))
    return None


def interrupted():
    say("interrupted before fuzzing began")
    proc.leave(0)


def main():
    seconds = proc.number("FUZZ_SECONDS", 60, 10 ** 8)
    jobs = proc.number("JOBS", proc.NCPU, 1024)
    engine = os.environ.get("ENGINE", "libfuzzer")
    if engine not in engines.ENGINES:
        proc.usage("ENGINE=%s: must be libfuzzer, afl, both or threads"
                   % engine)

    proc.catch_signals()
    status, _output = proc.make("fuzz-targets", show=True)
    if proc.stopping():
        interrupted()
    if status != 0:
        proc.usage("the build failed")
    engines.prepare(engine)
    bad = replay_corpus()
    store = triage.Store()
    if bad:
        finding = file_finding(store, bad, "corpus", bad, fresh=False)
        if finding:
            report(store, finding, "replay of the corpus", "")
        proc.leave(1)
    if proc.stopping():
        interrupted()

    before = known_inputs()
    harvest = engines.Harvest()
    start = time.monotonic()
    workers = []
    try:
        for worker in engines.start(engine, jobs):
            workers.append(worker)
        watch(workers, start + seconds, harvest)
    finally:
        stop(workers)
    proc.rearm()
    harvest.poll()
    taken = max(0.001, time.monotonic() - start)
    findings = {path: w for w in workers for path in w.found}
    broken = [w for w in workers if w.broken]
    summary(engine, workers, taken, before, len(findings) + len(broken))
    for worker in broken:
        say("%s ended without an input; the end of %s:" % (worker.name,
                                                           worker.log))
        print("\n".join("  " + line for line in tail(worker.log, 20)))
    filed = {}
    for path, worker in findings.items():
        finding = file_finding(store, path, worker.name, worker.reason())
        if finding and finding.name not in filed:
            filed[finding.name] = finding, worker
    for finding, worker in filed.values():
        report(store, finding, worker.name, worker.reason())
    proc.leave(1 if findings or broken else 0)


if __name__ == "__main__":
    proc.run_main(main)
