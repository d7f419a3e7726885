#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make mutate`: the mutation score of the allocator.

Every mutant that was not run yet is run; what became of it is kept in
build/mutate/results.  From the environment:

  FILE=path             only of this file, or of the files below this folder
  MUTATE_ID=text        only those with this in their name
  MUTATE_ALIVE=1        only those that survived when they were run last
  MUTATE_SAMPLE=n       n of them at random, chosen by SEED
  MUTATE_LIMIT=n        run n at most
  MUTATE_SECONDS=n      start none after so many seconds
  MUTATE_FUZZ_SECONDS=n how long one that lives so far is fuzzed (2; 0: not)
  MUTATE_QUICK=n        only programs and inputs of n seconds of CPU in all,
                        the cheapest, and none of the mutants that the list
                        excuses; what lives goes on where that ended when this
                        is more, or not set
  MUTATE_COMPARE=1      compare code in a quick run, too
  JOBS=n                at the same time

Exit status: 0; 1 if one survives that is not in the list, or an entry of the
list is stale; 2 for what cannot be done.
"""

import os
import queue
import random
import sys
import threading
import time

import apart
import build as building
import results as keeping
import runner as running
from build import proc

MOST = 10 ** 9


def number(name, default, least=0):
    """What is set to nothing is not set."""
    if not os.environ.get(name):
        return int(default)
    return proc.number(name, default, MOST, least)


class Mutate:
    def __init__(self, project, listed):
        # all of them before what takes its time
        self.quick = number("MUTATE_QUICK", 0)
        fuzz_seconds = number("MUTATE_FUZZ_SECONDS", 2)
        self.jobs = number("JOBS", proc.NCPU, 1)
        self.seconds = number("MUTATE_SECONDS", 0)
        self.limit = number("MUTATE_LIMIT", 0)
        compare = number("MUTATE_COMPARE", not self.quick)
        self.alive = number("MUTATE_ALIVE", 0)
        self.size, self.seed = number("MUTATE_SAMPLE", 0), number("SEED", 1)
        self.only = os.environ.get("FILE", "").rstrip("/")
        if self.only and not any(self.below(path)
                                 for path in project.sources()):
            proc.usage("FILE=%s: nothing there is mutated" % self.only)
        self.build = building.Build(project, fuzz_seconds and not self.quick,
                                    self.jobs)
        self.witnesses = project.witnesses()
        self.digests = {s.path: building.digest(s.text)
                        for s in self.build.sources}
        self.results = keeping.Results(
            os.path.join(self.build.out, "results"))
        self.survivors = keeping.Survivors(
            os.path.join(building.ROOT, listed))
        self.all = {mutant.id: (source, point, mutant)
                    for source in self.build.sources
                    for point in source.points for mutant in point.mutants}
        self.runner = running.Runner(self.build, self.quick, compare,
                                     fuzz_seconds, keeping.Odds(self.results))

    def selected(self):
        """Ids; if they are a sample any first part of them is one, too."""
        ids = [i for i in self.all if self.below(self.all[i][0].path)]
        if not ids:
            proc.usage("FILE=%s: nothing there is mutated" % self.only)
        named = os.environ.get("MUTATE_ID", "")
        ids = [i for i in ids if named in i]
        if not ids:
            proc.usage("MUTATE_ID=%s: no mutant has such a name" % named)
        if self.alive:
            ids = [i for i in ids if self.results.latest.get(i, {}).get(
                "result") == keeping.SURVIVED]
        if self.size:
            ids = random.Random(self.seed).sample(
                ids, min(self.size, len(ids)))
        return ids

    def below(self, path):
        """Whether a file is what FILE asks for."""
        return not self.only or path == self.only or \
            path.startswith(self.only + "/")

    def known(self, id):
        return self.results.known(id, self.digests[self.all[id][0].path],
                                  self.witnesses)

    def settled(self, id):
        """Whether nothing more is to be known: in a quick run that is so of
        what the list excuses, most of which would take all of the time."""
        if self.quick and self.survivors.excused(id):
            return True
        entry = self.known(id)
        quick = entry.get("quick") if entry else 0
        return entry and (not quick or self.quick and quick >= self.quick)

    # ---- running ---------------------------------------------------------

    def run(self, ids):
        left = [i for i in ids if not self.settled(i)]
        print("mutate: %d mutants, %d of them known" % (
            len(ids), len(ids) - len(left)), flush=True)
        if self.limit:
            left = left[:self.limit]
        if not left:
            return
        self.build.prepare()
        self.build.forget_trees()
        self.build.compile()
        self.runner.trace()
        todo = queue.SimpleQueue()
        for i in left:
            todo.put(i)
        self.begin = time.monotonic()
        self.done = 0
        self.lock = threading.Lock()
        self.failure = None
        workers = [threading.Thread(target=self.work,
                                    args=(todo, str(n), len(left)))
                   for n in range(self.jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if self.failure:
            raise self.failure

    def work(self, todo, worker, total):
        try:
            while not proc.stopping() and not self.failure:
                if self.seconds and \
                        time.monotonic() - self.begin > self.seconds:
                    break
                self.one(todo.get_nowait(), worker, total)
        except queue.Empty:
            pass
        except Exception as error:  # of a thread: told by who waits for it
            self.failure = error

    def one(self, id, worker, total):
        source, point, mutant = self.all[id]
        begin = time.monotonic()
        old = self.results.latest.get(id, {})
        if old.get("source") != self.digests[source.path]:
            old = {"by": old.get("by")}
        entry = self.runner.judge(source, point, mutant, old, worker)
        if proc.stopping():
            return  # it may have been ended by what ends us
        entry.update(id=id, source=self.digests[source.path],
                     witnesses=self.witnesses, line=point.line,
                     seconds=round(time.monotonic() - begin, 3))
        with self.lock:
            self.results.add(entry)
            self.done += 1
            if self.done % 100 == 0:
                print("mutate: %d of %d, %d s" % (
                    self.done, total, time.monotonic() - self.begin),
                      flush=True)
            if entry["result"] == keeping.SURVIVED and \
                    id not in self.survivors.entries:
                self.show(id)

    # ---- telling ---------------------------------------------------------

    def show(self, id):
        source, point, mutant = self.all[id]
        print("survived: %s:%d: %s" % (source.path, point.line, id))
        print("    -%s" % source.squeezed(point.start, point.end)[:150])
        print("    +%s" % mutant.text[:150], flush=True)

    def report(self, ids):
        scores, total = {}, keeping.Score()
        for i in ids:
            path = self.all[i][0].path
            for score in (scores.setdefault(path, keeping.Score()), total):
                score.add(i, self.known(i), self.survivors, self.quick)
        columns = keeping.Score.COLUMNS
        form = "%-24s" + "%10s" * len(columns) + "%10s"
        print(form % ("", *columns, "score"))
        for path, score in sorted(scores.items()):
            print(form % (path, *score.count.values(), score.percent()))
        print(form % ("all", *total.count.values(), total.percent()))
        if total.count["run"] < len(self.all):
            print("mutate: a sample: the score is %s with 95 %% confidence, "
                  "if it was chosen at random" % total.interval())
        unlisted = [i for i in ids if (self.known(i) or {}).get("result") ==
                    keeping.SURVIVED and i not in self.survivors.entries]
        for i in unlisted:
            self.show(i)
        stale = list(self.survivors.stale(self.all, self.results))
        for i, why in stale:
            print("stale: %s: %s" % (i, why))
        print("mutate: %d of %d mutants run, score %s, %d survivors not "
              "listed, %d listed but open, %d stale entries" % (
                  total.count["run"], len(ids), total.percent(),
                  len(unlisted), total.open, len(stale)))
        return bool(unlisted or stale)


def main():
    proc.catch_signals()
    project = apart.of(os.environ.get("FILE", "")) or building.Project()
    listed = project.listed
    if sys.argv[1:]:
        if len(sys.argv) != 3 or sys.argv[1] != "--sample":
            proc.usage("mutate.py [--sample LIST]")
        project, listed = building.Sample(), sys.argv[2]
    try:
        mutate = Mutate(project, listed)
        ids = mutate.selected()
        mutate.run(ids)
    except (ValueError, building.Failed) as error:
        print("apb: mutate: %s" % error, file=sys.stderr)
        proc.leave(2)
    proc.leave(1 if mutate.report(ids) else 0)


if __name__ == "__main__":
    proc.run_main(main)
