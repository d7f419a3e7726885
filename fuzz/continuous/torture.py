#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Does continuous fuzzing survive SIGKILL?

    torture.py [--seconds N] [--kills N] [--slot N] [--jobs N] [--bug PATTERN]
               [--only NAME,...] [--dir FOLDER] [--seed N]

Runs continuous.py, kills it, its workers or all of them at random moments, and
starts it again; from a third of the kills on, up to two thirds, with targets
into which a bug is planted, so that there are findings.  A witness keeps a hard
link to every file that ever appears where inputs and failing inputs go.  At the
end each of these has to be kept as an input or a finding, or to have been left
out by a complete merge, and what all of them cover has to be covered by what
is left.

Exit status: 0 nothing was lost, 1 something was, 2 it could not be tried.
"""

import argparse
import collections
import glob
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import durable  # noqa: E402  (the folders have to be in the path first)
import proc     # noqa: E402
import prune    # noqa: E402

POLL_SECONDS = 0.02
FLAVOURS = ("afl", "fuzz-asan", "fuzz-release", "fuzz-msan", "harness",
            "harness-asan", "harness-msan", "release", "test", "tsan", "fuzz")
DRIVER_SECONDS = 600  # to start, to end: a merge may be first


class Lost(Exception):
    """What continuous fuzzing must not do."""


# ---- the targets with a bug -------------------------------------------------


def plant(folder, pattern, flavours, targets):
    """A copy of the tree with a bug, and its targets; gives back their folder.
    What the bug does not touch is not compiled again."""
    shutil.rmtree(folder, ignore_errors=True)
    skip = ["build", ".git", "corpus"]
    shutil.copytree(proc.ROOT, folder, ignore=lambda path, _names: (
        skip if path == proc.ROOT else ["__pycache__"]))
    for name in flavours:
        shutil.copytree(os.path.join(proc.ROOT, "build", name),
                        os.path.join(folder, "build", name))
    found = glob.glob(os.path.join(proc.ROOT, "fuzz/bugs", pattern))
    if len(found) != 1:
        proc.usage("--bug %s: %d patches" % (pattern, len(found)))
    for cmd in (["patch", "-p1", "-s", "-d", folder, "-i", found[0]],
                ["make", "-C", folder, *targets]):
        status, output = proc.run(cmd)
        if status != 0:
            print(output[-2000:])
            proc.usage("planting failed: " + " ".join(cmd))
    return os.path.join(folder, "build")


# ---- the witness ------------------------------------------------------------


class Witness(threading.Thread):
    """Holds on to whatever appears, so that nobody can lose it unseen."""

    def __init__(self, root, folder):
        super().__init__(daemon=True)
        self.root, self.folder = root, folder
        self.kept = {}  # (device, inode): (path, whether it fails)
        self.torn = []
        self.ended = False
        os.makedirs(folder)

    def places(self):
        """(folder, whether what is in it fails)"""
        yield os.path.realpath(os.path.join(self.root, "corpus")), False
        yield os.path.join(self.root, "findings"), True
        work = os.path.join(self.root, "work")
        for name in durable.names(work):
            base = os.path.join(work, name)
            yield os.path.join(base, "own"), False
            yield os.path.join(base, "own/default/queue"), False
            for part in ("artifacts", "own/default/crashes"):
                yield os.path.join(base, part), True

    def look(self):
        for folder, fails in self.places():
            for name in durable.names(folder):
                if name.endswith(".txt") or name.startswith("slow-unit-"):
                    continue
                self.keep(os.path.join(folder, name), fails)
        self.read_status()

    def keep(self, path, fails):
        try:
            stat = os.lstat(path)
            key = (stat.st_dev, stat.st_ino)
            if key in self.kept or not os.path.isfile(path):
                return
            os.link(path, os.path.join(self.folder, "%d" % stat.st_ino))
            self.kept[key] = (os.path.relpath(path, self.root), fails)
        except FileNotFoundError:
            pass  # gone before it was seen

    def read_status(self):
        """Whole at any moment."""
        try:
            json.loads(durable.read(os.path.join(self.root, "status.json")))
            page = durable.read(os.path.join(self.root, "index.html"))
            if not page.endswith(b"</html>\n"):
                self.torn.append("index.html")
        except FileNotFoundError:
            pass
        except ValueError:
            self.torn.append("status.json")

    def run(self):
        while not self.ended:
            self.look()
            time.sleep(POLL_SECONDS)

    def held(self):
        """(content, path, whether it fails) of each."""
        for (_device, inode), (path, fails) in self.kept.items():
            yield (durable.read(os.path.join(self.folder, str(inode))), path,
                   fails)


# ---- what is killed ---------------------------------------------------------


def marked(root):
    """All processes that work for the driver: {pid: its parent}."""
    mark = b"APB_CONTINUOUS=" + root.encode() + b"\0"
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if mark in durable.read("/proc/%s/environ" % pid):
                stat = durable.read("/proc/%s/stat" % pid)
                state, parent = stat.rpartition(b")")[2].split()[:2]
                if state != b"Z":
                    found[int(pid)] = int(parent)
        except OSError:
            pass
    return found


class Torture:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(options.seed)
        self.root = os.path.join(proc.ROOT, options.dir, "state")
        self.driver = None
        self.output = ""
        self.kills = collections.Counter()
        self.targets = []  # (generation, targets that came after it)

    def generation(self):
        """The one in force; 0: none."""
        try:
            return int(os.path.basename(os.readlink(
                os.path.join(self.root, "corpus"))))
        except FileNotFoundError:
            return 0

    def start(self, build):
        self.targets.append((self.generation(), build))
        cmd = [sys.executable, os.path.join(HERE, "continuous.py"), "--dir",
               self.root, "--build", build]
        if self.options.only:
            cmd += ["--only", self.options.only]
        with open(os.path.join(proc.ROOT, self.options.dir, "log"),
                  "ab") as log:
            self.driver = subprocess.Popen(
                cmd, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=proc.environment(
                    SLOT_SECONDS=str(self.options.slot),
                    CONTINUOUS_SECONDS="0", JOBS=str(self.options.jobs),
                    PRUNE_INPUTS="20"))

    def wait_for_driver(self):
        """It has come up, and taken over what there was."""
        deadline = time.monotonic() + DRIVER_SECONDS
        while time.monotonic() < deadline:
            if self.driver.poll() is not None:
                raise Lost("the driver ended: status %d"
                           % self.driver.returncode)
            told = self.status()
            if told.get("pid") == self.driver.pid:
                return told
            time.sleep(0.1)
        raise Lost("the driver does not come up")

    def wait_for_finding(self):
        """The planted bug has been found: after that anything may be lost."""
        deadline = time.monotonic() + DRIVER_SECONDS
        while not self.status().get("findings"):
            if time.monotonic() > deadline or proc.stopping():
                raise Lost("the planted bug is not found")
            time.sleep(0.1)

    def status(self):
        try:
            return json.loads(durable.read(
                os.path.join(self.root, "status.json")))
        except (FileNotFoundError, ValueError):
            return {}

    def orphans(self):
        """Workers of a driver that is no more."""
        parents = marked(self.root)
        return [pid for pid in parents
                if not self.descends(pid, parents)]

    def descends(self, pid, parents):
        for _ in range(20):
            pid = parents.get(pid, pid)
            if pid == self.driver.pid:
                return True
            if pid not in parents:
                return False
        return False

    def kill(self, build):
        """Something is killed; the driver, if it was, is started again."""
        before = self.status()
        victim = self.random.choice(("driver", "driver", "worker", "all"))
        pids = sorted(marked(self.root))
        if victim == "worker" and not pids:
            victim = "driver"
        if victim != "driver":
            for pid in pids if victim == "all" else \
                    [self.random.choice(pids)]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.kills[victim] += 1
        if victim == "worker":
            return victim
        self.restart(build)
        after = self.wait_for_driver()
        if before and (after["starts"] <= before["starts"] or
                       after["seconds"] < before["seconds"] - 3 or
                       after["executions"] < before["executions"]):
            raise Lost("it did not go on where it was: %r, then %r" % (
                {k: before[k] for k in ("starts", "seconds", "executions")},
                {k: after[k] for k in ("starts", "seconds", "executions")}))
        if orphans := self.orphans():
            time.sleep(1)
            if orphans := [p for p in orphans if p in self.orphans()]:
                raise Lost("orphans: %r" % orphans)
        return victim

    def restart(self, build):
        self.driver.kill()
        self.driver.wait()
        time.sleep(self.random.random())
        self.start(build)

    def end(self):
        if self.driver and self.driver.poll() is None:
            self.driver.send_signal(signal.SIGTERM)
            try:
                self.driver.wait(timeout=DRIVER_SECONDS)
            except subprocess.TimeoutExpired:
                self.driver.kill()
                raise Lost("the driver does not end") from None
        if left := marked(self.root):
            raise Lost("still running: %r" % left)


# ---- what must be there -----------------------------------------------------


def verify(root, witness, planted, say):
    """Everything that was seen is there, or was pruned with its coverage
    kept."""
    if witness.torn:
        raise Lost("not whole at some moment: %s" % sorted(set(witness.torn)))
    there = {}
    for name in ("corpus", "seeds", "parked", "findings"):
        folder = os.path.join(root, name)
        there[name] = {durable.digest(durable.read(os.path.join(folder, n)))
                       for n in durable.names(folder)
                       if not n.endswith(".txt")}
    pruned = {line.split()[1] for line in
              durable.read(os.path.join(root, "pruned.log")).decode()
              .splitlines()} if os.path.exists(
                  os.path.join(root, "pruned.log")) else set()
    seen, lost = collections.Counter(), []
    everything = os.path.join(os.path.dirname(root), "everything")
    shutil.rmtree(everything, ignore_errors=True)
    os.makedirs(everything)
    for data, path, fails in witness.held():
        key = durable.digest(data)
        if not data:
            continue
        if fails:
            kept = "findings" if key in there["findings"] else None
        else:
            kept = next((name for name in ("corpus", "seeds", "parked",
                                           "findings")
                         if key in there[name]), None) or \
                ("pruned" if key in pruned else None)
            durable.write(everything, key, data, lasting=False)
        seen[kept] += 1
        if not kept:
            lost.append(path)
    say("seen: %d files: %s" % (sum(seen.values()), ", ".join(
        "%d %s" % (number, name) for name, number in sorted(
            seen.items(), key=str))))
    if lost:
        raise Lost("%d lost: %s" % (len(lost), ", ".join(lost[:5])))
    if planted and not there["findings"]:
        raise Lost("a bug was planted, but there is no finding")
    if not any(there["corpus"]):
        raise Lost("there is no input")
    say("findings: %d inputs" % len(there["findings"]))
    return everything


def pruned_by_others(lines, targets, build):
    """Inputs that were left out while the targets were others than @build's:
    merges keep what counts for the targets there are.

    @lines: of pruned.log.  @targets: [(generation, targets from then on)]."""
    found = set()
    for line in lines:
        number, key = line.split()
        if [which for since, which in targets
                if since < int(number)][-1:] != [build]:
            found.add(key)
    return found


def uncovered(root, everything, others, build):
    """(features that nothing of what is left reaches nor of @others, of how
    many, the inputs that reach them)"""
    folder, everything, build = map(
        proc.plain, (os.path.dirname(root), everything, build))
    merged = os.path.join(folder, "merged")
    shutil.rmtree(merged, ignore_errors=True)
    os.makedirs(merged)
    for name in ("corpus", "seeds", "parked"):
        for key in durable.names(os.path.join(root, name)):
            shutil.copyfile(os.path.join(root, name, key),
                            os.path.join(merged, key))
    for key in others & set(durable.names(everything)):
        shutil.copyfile(os.path.join(everything, key),
                        os.path.join(merged, key))
    before = set(durable.names(merged))
    status, output = proc.run(
        [os.path.join(build, prune.RELEASE), "-merge=1", prune.MAX_LEN,
         "-artifact_prefix=%s/" % folder, merged, everything],
        timeout=600)
    found = re.search(r"MERGE-OUTER: (\d+) new files with (\d+) new features",
                      output)
    total = re.findall(r"ft: (\d+)", output)
    if status != 0 or not found:
        raise Lost("merging for coverage failed: %s" % output[-500:])
    return (int(found[2]), int(total[-1]) if total else 0,
            sorted(set(durable.names(merged)) - before))


# ---- all of it --------------------------------------------------------------


def torture(options, say, planted, build):
    folder = os.path.join(proc.ROOT, options.dir)
    run = Torture(options)
    witness = Witness(run.root, os.path.join(folder, "witness"))
    witness.start()
    started = time.monotonic()
    use = build
    try:
        run.start(build)
        run.wait_for_driver()
        moments = sorted(run.random.uniform(0, options.seconds)
                         for _ in range(options.kills))
        for number, moment in enumerate(moments):
            time.sleep(max(0, started + moment - time.monotonic()))
            if proc.stopping():
                break
            want = planted if options.kills <= 3 * number < \
                2 * options.kills else build
            if want != use:  # other targets: it has to be started again
                if use == planted:
                    run.wait_for_finding()
                run.restart(want)
                run.kills["driver"] += 1
                run.wait_for_driver()
                use, what = want, "driver, other targets"
            else:
                what = run.kill(use)
            told = run.status()
            say("%4d s: kill %d of %d: %s; %s executions, %d inputs, %d "
                "findings" % (time.monotonic() - started, number + 1,
                              options.kills, what,
                              format(told["executions"], ","),
                              told["corpus"]["inputs"],
                              len(told["findings"])))
        while time.monotonic() < started + options.seconds and \
                not proc.stopping():
            time.sleep(0.2)
        run.end()
    finally:
        if run.driver:
            run.driver.kill()
        durable.kill_marked("APB_CONTINUOUS=" + run.root)
        witness.ended = True
        witness.join()
    witness.look()
    say("%d s, killed: %s" % (time.monotonic() - started, ", ".join(
        "%d x %s" % (n, what) for what, n in sorted(run.kills.items()))))
    everything = verify(run.root, witness, planted, say)
    log = os.path.join(run.root, "pruned.log")
    others = pruned_by_others(durable.read(log).decode().splitlines(),
                              run.targets, build) \
        if os.path.exists(log) else set()
    more, total, which = uncovered(run.root, everything, others, build)
    say("coverage of all that was ever seen: %d features, %d of them no "
        "longer reached" % (total, more))
    if more:
        raise Lost("%d of %d features, which these reach: %s"
                   % (more, total, ", ".join(which[:5])))


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, default in (("seconds", 300), ("kills", 10), ("slot", 10),
                          ("jobs", 1), ("seed", int(time.time()))):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--bug", default="*-large-align-ignored.patch")
    parser.add_argument("--only", default="")
    parser.add_argument("--dir", default="build/torture")
    options = parser.parse_args()

    def say(text):
        print("torture: " + text, flush=True)

    proc.catch_signals()
    folder = os.path.join(proc.ROOT, options.dir)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    if proc.make("continuous-targets")[0] != 0:
        proc.usage("the build failed")
    planted = plant(os.path.join(folder, "tree"), options.bug, FLAVOURS,
                    ["continuous-targets"])
    say("seed %d, %d s, %d kills, turns of %d s" % (
        options.seed, options.seconds, options.kills, options.slot))
    try:
        torture(options, say, planted, os.path.join(proc.ROOT, "build"))
    except Lost as what:
        say("FAILED: %s" % what)
        proc.leave(1)
    say("nothing was lost")
    proc.leave(0)


if __name__ == "__main__":
    proc.run_main(main)
