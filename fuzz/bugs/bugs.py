#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bugs: does the harness find the bugs that are planted?

For each patch beside this file: the allocator with the patch, as the target of
libFuzzer or of AFL++, fuzzed from the committed corpus until something is found;
or, where the patch has a line "# Target: apb-threads ...", as that program under
TSan, with these options.  A bug that is not found means that an oracle is
missing.  The unpatched allocator goes all ways, for a while: were it "found" as
well, the rest would say nothing.

Environment:
    BUG=NN             this bug only (and the control); or several: "03 17"
    ENGINE=libfuzzer   or afl, or both
    SEEDS=1            so many runs of each, with seeds 1, 2, ...
    BUGS_SECONDS=60    at most, for each run
    BUGS_CORPUS=none   start from nothing instead of the corpus
    BUGS_AGAIN=1       make the runs that have been made as well
    JOBS=n             processes at the same time

Results are kept in build/bugs/results.jsonl, and a run that has its result
there, of the same sources and inputs, is not made again.  `bugs.py --table`
runs nothing and puts what is known into the README.

Exit status: 0 all found (by AFL++: with four of five seeds), 1 not, 2 a patch
that does not apply, a failed build, a bad option.
"""

import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import engines
import plant
import proc
import results
import runs
from plant import say

NONE_SECONDS = 10
ROW = "%-34s %-9s %4s  %-32s %8s %12s"
WANTED = {"libfuzzer": ("libfuzzer", "threads"), "afl": ("afl",),
          "both": ("libfuzzer", "afl", "threads")}


def choose_bugs():
    """Those that BUG asks for, or all."""
    names = list(plant.patches())
    chosen = set()
    for wanted in os.environ.get("BUG", "").split():
        matches = [name for name in names
                   if wanted.zfill(2) in (name, name.partition("-")[0])]
        if not matches:
            proc.usage("BUG=%s: there is no such patch in %s"
                       % (wanted, plant.PATCHES))
        chosen.update(matches)
    return [name for name in names if name in chosen] or names


def choose_corpus():
    which = os.environ.get("BUGS_CORPUS", "")
    if which not in ("", runs.EMPTY):
        proc.usage("BUGS_CORPUS=%s: must be none or not be set" % which)
    if which:
        return runs.EMPTY
    if not engines.files(*engines.seed_folders()):
        proc.usage("corpus/seeds holds no inputs")
    return runs.COMMITTED


def choose_engines():
    which = os.environ.get("ENGINE", "libfuzzer")
    if which not in WANTED:
        proc.usage("ENGINE=%s: must be libfuzzer, afl or both" % which)
    return WANTED[which]


def fingerprints():
    return {runs.COMMITTED: plant.fingerprint(engines.seed_folders()),
            runs.EMPTY: plant.fingerprint([])}


class Task:
    """A run that is wanted."""

    def __init__(self, name, engine, seed, seconds, corpus):
        self.name, self.engine, self.seed = name, engine, seed
        self.control = name in plant.CONTROLS
        self.seconds = min(seconds, NONE_SECONDS) if self.control else seconds
        # threads play random records, whatever the corpus
        self.corpus = runs.COMMITTED if engine == "threads" else corpus
        self.result = None

    def known(self, known):
        self.result = known.get(self.name, self.engine, self.corpus,
                                self.seed, self.seconds)
        return self.result

    def start(self):
        return runs.ENGINES[self.engine](self.name, self.seed, self.seconds,
                                         self.corpus)


def tasks(names, wanted, seeds, seconds, corpus):
    """Engine after engine, all bugs with a seed before the next: what is ended
    early has seen each bug."""
    for engine in wanted:
        for seed in range(1, seeds + 1):
            for name in (*plant.CONTROLS, *names):
                if engine in plant.programs(name, wanted) and \
                        (seed == 1 or name not in plant.CONTROLS):
                    yield Task(name, engine, seed, seconds, corpus)


def row(result):
    return ROW % (
        result["bug"], result["engine"], result["seed"], result["found"] or
        ("- (broken: %s)" % result["log"] if result["broken"] else "-"),
        "%.1f" % result["seconds"], format(result["executions"], ","))


def run_tasks(wanted, known, jobs):
    """All of them; the rows come in order, each as soon as it can."""
    waiting, running, shown = [t for t in wanted if not t.result], [], 0
    while True:
        while waiting and len(running) < jobs:
            task = waiting.pop(0)
            running.append((task, task.start()))
        while shown < len(wanted) and wanted[shown].result:
            say(row(wanted[shown].result))
            shown += 1
        if not running:
            return
        time.sleep(0.02)
        left = []
        for task, run in running:
            if proc.stopping():
                run.kill()
            elif run.running():
                left.append((task, run))
            else:
                task.result = run.result()
                known.add(task.result)
        if proc.stopping():
            say("interrupted: the next make bugs goes on from here")
            proc.leave(1)
        running = left


def judge(wanted, known):
    """Whether all is found, said in a line for each engine."""
    missed = False
    for key in dict.fromkeys((t.engine, t.corpus) for t in wanted):
        names = dict.fromkeys(t.name for t in wanted if not t.control and
                              (t.engine, t.corpus) == key)
        if not names:
            continue
        say(results.summary(known, *key, names))
        unseen = [name for name in names
                  if not results.enough(key[0], known.of(name, *key))]
        if unseen:
            say("  not found (often enough): " + ", ".join(unseen))
            missed = True
    return not missed


def main():
    if sys.argv[1:] not in ([], ["--table"]):
        proc.usage("usage: bugs.py [--table]")
    if sys.argv[1:]:
        try:
            results.write_table(results.Results(fingerprints()),
                                list(plant.patches()))
        except ValueError as error:
            proc.usage(str(error))
        return
    seconds = proc.number("BUGS_SECONDS", 60, 10 ** 6)
    jobs = proc.number("JOBS", proc.NCPU, 1024)
    seeds = proc.number("SEEDS", 1, 1000)
    names = choose_bugs()
    corpus = choose_corpus()
    engines_wanted = choose_engines()
    proc.catch_signals()
    os.makedirs(plant.path(plant.OUT), exist_ok=True)
    plant.clean()
    known = results.Results(fingerprints())
    wanted = list(tasks(names, engines_wanted, seeds, seconds, corpus))
    for task in wanted:
        if not os.environ.get("BUGS_AGAIN"):
            task.known(known)
    missing = [task for task in wanted if not task.result]
    if missing:
        needed = {}
        for task in missing:
            program = plant.programs(task.name, (task.engine,))[task.engine][0]
            needed.setdefault(task.name, {})[program] = True
        plant.build(needed)
        runs.prepare(corpus)
        if len(missing) < len(wanted):
            say("%d of %d runs have been made before"
                % (len(wanted) - len(missing), len(wanted)))
    say(ROW % ("bug", "engine", "seed", "found by", "seconds", "executions"))
    run_tasks(wanted, known, jobs)
    found = judge(wanted, known)
    for task in wanted:
        if task.control and (task.result["found"] or task.result["broken"]):
            say("the allocator without a bug does not pass either (%s): the "
                "rest means nothing" % task.result["log"])
            proc.leave(1)
    proc.leave(0 if found else 1)


if __name__ == "__main__":
    proc.run_main(main)
