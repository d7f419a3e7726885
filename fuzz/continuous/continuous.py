#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make fuzz-continuous`: fuzzing for days on one machine.

Configurations (engine, sanitizer, kernel, threads, junk) take turns, each for
SLOT_SECONDS, JOBS at a time, until CONTINUOUS_SECONDS have passed (0: until it
is told to end).  It may be killed at any moment, and goes on where it was.
README.md beside this file tells how.

    continuous.py [--dir FOLDER] [--build FOLDER] [--only NAME,...] [--quiet]

Exit status: 0; 1 if it found something; 2 bad values, something missing, or a
file system that refuses to be written to.
"""

import argparse
import hashlib
import os
import random
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import durable  # noqa: E402  (the folders have to be in the path first)
import engines  # noqa: E402
import proc     # noqa: E402
import prune    # noqa: E402
import slots    # noqa: E402
import status   # noqa: E402
import store as stores  # noqa: E402
import triage   # noqa: E402

TICK = 0.5
STATUS_SECONDS = 2
SAMPLE_SECONDS = 30
STOP_SECONDS = 10
RESTART_SECONDS = 1  # after a worker that ended at once
FREE_BYTES = 32 << 20
CORPUS_BYTES = 256 << 20
PRUNE_GROWTH = 1.5
PRUNE_INPUTS = 300
PRUNE_SLOTS = 24
FILED_AT_ONCE = 20  # findings that go through triage after one turn
TRIAGE_SECONDS = 20


class Full(Exception):
    """The file system has no room left."""


class Driver:
    def __init__(self, store, options, report):
        self.store, self.options, self.report = store, options, report
        self.workers, self.again = [], {}
        self.count = 0  # workers started
        self.phase = "starting"
        self.done = self.new_findings = 0
        self.ticked = self.written = self.sampled = 0.0
        self.state = durable.read_json(store.path("state.json"), None) or {
            "version": 1, "slot": 0, "spent": 0.0, "starts": 0,
            "first_start": time.time(), "seconds": 0.0, "executions": 0,
            "prunes": 0, "since_prune": 0, "pruned_to": 0, "disturbed": 0,
            "ended": 0, "targets": "", "configurations": {}, "measured": None}
        self.state["starts"] += 1

    # ---- start ----

    def recover(self):
        """Take over what the last driver did not come to."""
        targets = self.identity()
        others = targets != self.state["targets"]
        if others:
            self.store.unpark()
            self.state["targets"] = targets
        self.store.lay_seeds([os.path.join(proc.ROOT, path) for path in
                              engines.files(*engines.SEEDS)])
        inputs, failing = slots.leftovers(self.store)
        taken = sum(self.store.take(folder, True) for folder in inputs)
        for path, config in failing:
            self.finding(path, config, *slots.left_log(self.store, path),
                         park=not others)
        slots.discard(self.store)
        if self.state["starts"] > 1:
            self.report("resumed: start %d, %d inputs and %d failing ones "
                        "taken over, %d processes ended" % (
                            self.state["starts"], taken, len(failing),
                            self.store.killed))
        if others:
            for path, reason in prune.sift(self.store, self.options.build):
                self.finding(path, "corpus", reason, "")
            slots.discard(self.store)

    def identity(self):
        """Which targets these are."""
        hashed = hashlib.sha1()
        for config in self.options.configs:
            hashed.update(durable.read(
                os.path.join(self.options.build, config.target)))
        return hashed.hexdigest()

    # ---- findings ----

    def finding(self, path, config, reason, text, park=True):
        """An input that fails: kept, and, if it was in a worker's way, parked.
        Whether it was."""
        try:
            data = durable.read(path)
        except FileNotFoundError:
            return False
        key = durable.digest(data)
        kind = {"crashes": "crash", "hangs": "hang"}.get(  # AFL++'s
            os.path.basename(os.path.dirname(path)),
            os.path.basename(path).split("-")[0])
        name = "%s-%s-%s" % (kind, config, key[:16])
        if self.store.add_finding(name, reason or kind, text, data):
            self.new_findings += 1
            self.report("finding by %s: %s: findings/%s" % (
                config, reason or kind, name))
        return park and self.store.park(key)

    def look(self, worker, told=False):
        """The failing inputs of a worker, and why it ended if it did, other
        than because it was told to.  Whether any was parked."""
        parked = False
        for path in worker.failing():
            if path in worker.seen:
                continue
            worker.seen.add(path)
            parked |= self.finding(path, worker.config.name, worker.reason(),
                                   worker.text())
        outcome = not told and worker.ended() and worker.outcome()
        if outcome and outcome != "killed" and not worker.seen and \
                worker.config.engine != "afl":
            reason, text = slots.log_reason(worker)
            if reason:
                name = "log-%s-%s" % (worker.config.name, durable.digest(
                    stores.signature(reason).encode())[:16])
                if self.store.add_finding(name, reason, text, None):
                    self.new_findings += 1
                    self.report("finding by %s: %s: findings/%s.txt" % (
                        worker.config.name, reason, name))
            else:
                self.report("%s ended: %s: %s" % (
                    worker.config.name, outcome,
                    (text.strip().splitlines() or ["no output"])[-1]))
        return parked

    # ---- workers ----

    def start(self, config):
        self.count += 1
        worker = slots.start(config, self.store, self.options.build,
                             "%s.%d" % (config.name, self.count))
        worker.told = 0
        return worker

    def account(self, worker):
        """Add what a worker has done since it was last asked."""
        total = max(worker.execs, 0)
        more = max(0, total - worker.told)
        worker.told = max(total, worker.told)
        self.state["executions"] += more
        self.of(worker.config)["executions"] += more

    def of(self, config):
        return self.state["configurations"].setdefault(
            config.name, dict(status.NOTHING_YET))

    def take(self, worker, complete=False):
        new = sum(self.store.take(folder, complete)
                  for folder in worker.inputs())
        self.of(worker.config)["new_inputs"] += new

    def tend(self, index):
        """Look after one worker; start it anew if it has ended."""
        worker = self.workers[index]
        worker.poll()
        worker.cut_log()
        self.account(worker)
        self.take(worker, worker.ended())
        before = self.new_findings
        parked = self.look(worker)
        self.of(worker.config)["findings"] += self.new_findings - before
        if not worker.ended():
            return
        worker.kill()  # what it may have left behind
        if index not in self.again:
            self.state["ended"] += 1
            self.of(worker.config)["ended"] += 1
            self.again[index] = time.monotonic() + (
                0 if parked else RESTART_SECONDS)
        if time.monotonic() >= self.again[index]:
            del self.again[index]
            self.workers[index] = self.start(worker.config)

    def stop(self):
        for worker in self.workers:
            worker.stop()
        patience = time.monotonic() + STOP_SECONDS
        while any(w.running() for w in self.workers) and \
                time.monotonic() < patience:
            time.sleep(0.05)
        for worker in self.workers:
            worker.kill()
            worker.poll()
            self.account(worker)
            self.take(worker, True)
            self.look(worker, told=True)
        self.workers, self.again = [], {}

    # ---- slots ----

    def pass_time(self):
        """Account for the time since the last call."""
        now = time.monotonic()
        passed = min(now - self.ticked, 10.0) if self.ticked else 0.0
        self.ticked = now
        self.state["seconds"] += passed
        self.done += passed
        return passed

    def over(self):
        limit = self.options.seconds
        return proc.stopping() or (limit and self.done >= limit)

    def slot(self):
        """The workers of one turn; False if it did not run to its end."""
        configs = self.options.configs
        turn = [configs[(self.state["slot"] + k) % len(configs)]
                for k in range(self.options.jobs)]
        if self.state["spent"] < self.options.slot:
            self.workers = [self.start(config) for config in turn]
        self.phase = "fuzzing"
        while not self.over() and self.state["spent"] < self.options.slot:
            time.sleep(TICK)
            for index in range(len(self.workers)):
                self.tend(index)
            passed = self.pass_time()
            self.state["spent"] += passed
            for config in turn:
                self.of(config)["seconds"] += passed
            self.room()
            self.show()
        ended = self.state["spent"] >= self.options.slot
        self.stop()
        self.save()
        slots.discard(self.store)
        if ended:
            for config in turn:
                self.of(config)["slots"] += 1
            self.state["slot"] = (self.state["slot"] + len(turn)) % \
                len(configs)
            self.state["spent"] = 0.0
            self.state["since_prune"] += 1
        return ended

    def room(self):
        stat = os.statvfs(self.store.root)
        if stat.f_bavail * stat.f_frsize < self.options.free:
            raise Full("less than %d MiB free: stopped, nothing is lost"
                       % (self.options.free >> 20))

    # ---- between slots ----

    def due(self):
        number = len(self.store.inputs)
        return (number > self.state["pruned_to"] * PRUNE_GROWTH +
                self.options.prune_inputs or
                self.store.size > self.options.corpus_bytes or
                (self.state["since_prune"] >= PRUNE_SLOTS and
                 number > self.state["pruned_to"]))

    def enter(self, phase):
        self.phase = phase
        self.show(True)

    def prune(self):
        self.enter("pruning")
        try:
            kept, failing = prune.merge(self.store, self.options.build)
        except prune.Disturbed as why:
            self.state["disturbed"] += 1
            self.report("merge given up: %s" % why)
            slots.discard(self.store)
            return
        for path, reason in failing:
            self.finding(path, "merge", reason, "")
        if kept is not None:
            before = len(self.store.inputs)
            small = prune.shrink(self.store, kept, self.options.corpus_bytes)
            if len(small) < len(kept):
                self.report("the corpus is over its limit: %d inputs dropped"
                            % (len(kept) - len(small)))
            self.store.advance(small)
            self.state.update(pruned_to=len(small), since_prune=0)
            self.state["prunes"] += 1
            self.report("pruned: %d of %d inputs kept" % (len(small), before))
        slots.discard(self.store)

    def measure(self):
        self.enter("measuring")
        folder = self.store.path("work", "measure")
        os.makedirs(folder, exist_ok=True)
        if found := prune.measure(self.store, self.options.build, folder):
            self.state["measured"] = dict(
                zip(("edges", "edges_total", "states"), found))
        slots.discard(self.store)

    def file(self):
        """Findings with an input go through triage: not those of targets from
        elsewhere, which these programs would not show."""
        if not self.options.triage:
            return
        self.enter("triage")
        waiting = [name for name in self.store.findings()
                   if name not in self.store.filed and
                   os.path.exists(self.store.path("findings", name))]
        try:
            filing = triage.Store() if waiting else None
            for name in waiting[:FILED_AT_ONCE]:
                found = filing.add(self.store.path("findings", name),
                                   "continuous, " + name.split("-", 1)[1])
                self.store.note_filed(name)
                if found and found.new:
                    filing.complete(found, TRIAGE_SECONDS)
                    self.report("%s is %s" % (name, os.path.join(
                        triage.FINDINGS, found.name)))
        except triage.Interrupted:
            pass  # the next one goes on

    # ---- what is said ----

    def save(self):
        durable.write_json(self.store.root, "state.json", self.state)

    def show(self, force=False):
        now = time.monotonic()
        if force or now >= self.sampled:
            self.sampled = now + min(SAMPLE_SECONDS, self.options.slot)
            status.sample(self.store, self.state)
        if force or now >= self.written:
            self.written = now + STATUS_SECONDS
            self.save()
            status.write(self.store, self.state, self.workers,
                         self.options, self.phase)

    def run(self):
        self.ticked = time.monotonic()
        self.recover()
        self.measure()
        try:
            while not self.over():
                if self.slot() and not self.over():
                    self.file()
                    if self.due():
                        self.prune()
                    self.measure()
                    self.pass_time()
            self.enter("ended")
        finally:
            for worker in self.workers:
                worker.kill()


# ---- from outside -----------------------------------------------------------


def duration(name, default, largest):
    """Like proc.number(), but 0 is allowed: no end."""
    if os.environ.get(name) == "0":
        return 0
    return proc.number(name, default, largest)


def parse():
    parser = argparse.ArgumentParser(
        prog="continuous.py", allow_abbrev=False,
        description="Fuzz for days; see fuzz/continuous/README.md.")
    parser.add_argument("--dir", default="build/continuous",
                        help="where everything is kept")
    parser.add_argument("--build", help="where the targets are; not built")
    parser.add_argument("--only", help="these configurations")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    options.slot = proc.number("SLOT_SECONDS", 300, 10 ** 6)
    options.seconds = duration("CONTINUOUS_SECONDS", 10 ** 9, 10 ** 9)
    options.jobs = proc.number("JOBS", proc.NCPU, 1024)
    options.free = FREE_BYTES
    options.corpus_bytes = proc.number(
        "CORPUS_MIB", CORPUS_BYTES >> 20, 10 ** 6) << 20
    options.prune_inputs = proc.number("PRUNE_INPUTS", PRUNE_INPUTS, 10 ** 6)
    options.configs = list(slots.CONFIGS)
    if options.only:
        by_name = {config.name: config for config in slots.CONFIGS}
        for name in options.only.split(","):
            if name not in by_name:
                proc.usage("--only %s: must be of %s" % (
                    name, " ".join(by_name)))
        options.configs = [by_name[name] for name in options.only.split(",")]
    return options


def say(text):
    print("apb: %s %s" % (time.strftime("%H:%M:%S"), text), flush=True)


def build_targets(options):
    options.triage = not options.build
    if options.build:
        options.build = os.path.join(proc.ROOT, options.build)
    else:
        made, _output = proc.make("continuous-targets", show=True)
        if proc.stopping():
            proc.leave(0)
        if made != 0:
            proc.usage("the build failed")
        options.build = os.path.join(proc.ROOT, "build")
    for config in options.configs:
        target = os.path.join(options.build, config.target)
        if not os.path.exists(target):
            proc.usage("%s: not there" % os.path.relpath(target, proc.ROOT))


def main():
    options = parse()
    proc.catch_signals()
    build_targets(options)
    root = os.path.join(proc.ROOT, options.dir)
    random.seed()
    driver = None
    try:
        os.makedirs(root, exist_ok=True)
        store = stores.Store(root)
        driver = Driver(store, options,
                        (lambda text: None) if options.quiet else say)
        driver.run()
    except durable.Locked as who:
        proc.usage("%s: another one is running, process %s" % (
            options.dir, who))
    except Full as why:
        proc.usage("%s: %s" % (options.dir, why))
    except OSError as error:
        proc.usage("%s: %s" % (error.filename or options.dir, error.strerror))
    except ValueError as error:  # a file of ours that something else wrote
        proc.usage("%s: %s" % (options.dir, error))
    driver.report("ended: %d findings, %d new; %d inputs; see %s" % (
        len(store.findings()), driver.new_findings, len(store.inputs),
        os.path.relpath(os.path.join(root, "index.html"), proc.ROOT)))
    proc.leave(1 if driver.new_findings else 0)


if __name__ == "__main__":
    proc.run_main(main)
