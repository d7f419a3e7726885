#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bugs: does the harness find the bugs that are planted?

For each patch beside this file: the allocator with the patch, as the libFuzzer
target, fuzzed from the committed corpus until something is found; or, where the
patch has a line "# Target: apb-threads ...", as that program under TSan, with
these options.  A bug that is not found means that an oracle is missing.  The
unpatched allocator goes both ways, for a while: were it "found" as well, the
rest would say nothing.

Environment:
    BUG=NN             this bug only (and the control); or several: "03 17"
    BUGS_SECONDS=60    at most, for each
    BUGS_CORPUS=none   start from nothing instead of the corpus
    JOBS=n             processes at the same time

Exit status: 0 all found, 1 not, 2 a patch that does not apply, a failed build,
a bad option.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import engines
import proc

PATCHES = "fuzz/bugs"
OUT = "build/bugs"
NONE = "none"
NONE_THREADS = "none-threads"
CONTROLS = (NONE, NONE_THREADS)
NONE_SECONDS = 10
GRACE_SECONDS = 120  # to replay the corpus, to end
MAX_LEN = 16384
FUZZER, THREADS = "apb-fuzz-asan", "apb-threads"
COLUMNS = "%-34s %-32s %8s %12s"


def path(*parts):
    return os.path.join(proc.ROOT, *parts)


def say(text):
    print(text, flush=True)


# ---- what to do -------------------------------------------------------------

def patches():
    """Their names, NN-name, and the file of each."""
    return {name[:-len(".patch")]: os.path.join(PATCHES, name)
            for name in os.listdir(path(PATCHES)) if name.endswith(".patch")}


def command_of(name):
    """The program that has to find it, with its options."""
    if name in CONTROLS:
        return [FUZZER] if name == NONE else [THREADS, "--forks", "8"]
    text = content(path(patches()[name])).decode()
    found = re.search(r"^# Target: (.*)", text, re.M)
    return found[1].split() if found else [FUZZER]


def choose_bugs():
    """Those that BUG asks for, or all."""
    names = sorted(patches())
    chosen = set()
    for wanted in os.environ.get("BUG", "").split():
        matches = [name for name in names
                   if wanted.zfill(2) in (name, name.partition("-")[0])]
        if not matches:
            proc.usage("BUG=%s: there is no such patch in %s"
                       % (wanted, PATCHES))
        chosen.update(matches)
    return sorted(chosen) or names


def choose_seeds():
    which = os.environ.get("BUGS_CORPUS", "")
    if which not in ("", NONE):
        proc.usage("BUGS_CORPUS=%s: must be none or not be set" % which)
    seeds = [] if which else engines.seed_folders()
    if not which and not engines.files(*seeds):
        proc.usage("corpus/seeds holds no inputs")
    return seeds


# ---- planting ---------------------------------------------------------------

def tree(folder):
    """Every file below a folder, by its relative path."""
    return {os.path.relpath(os.path.join(base, name), folder)
            for base, _dirs, names in os.walk(folder) for name in names}


def content(name):
    with open(name, "rb") as file:
        return file.read()


def sync(source, target):
    """Make @target's sources those of @source; keep what has not changed, so
    that it is not compiled again."""
    new = tree(source)
    for name in tree(target) - new:
        if name.endswith((".c", ".h")):
            os.unlink(os.path.join(target, name))
    for name in new:
        old = os.path.join(target, name)
        if os.path.exists(old) and \
                content(old) == content(os.path.join(source, name)):
            continue
        os.makedirs(os.path.dirname(old), exist_ok=True)
        shutil.copyfile(os.path.join(source, name), old)


def plant(name):
    """A copy of alloc/ with the patch; returns the sources to compile."""
    scratch = path(OUT, "new")
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(path("alloc"), os.path.join(scratch, "alloc"),
                    ignore=shutil.ignore_patterns(
                        "tests", "shim", "python", ".*", "*.mk"))
    if name not in CONTROLS:
        patch = patches()[name]
        done = subprocess.run(
            ["patch", "-p1", "-s", "-f", "-F0", "-r-",
             "--no-backup-if-mismatch", "-d", scratch, "-i", path(patch)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            shutil.rmtree(scratch)
            proc.usage(patch + " does not apply to alloc/ any more")
    changed = {file for file in tree(scratch)
               if content(os.path.join(scratch, file)) != content(path(file))}
    if any(file.endswith(".h") for file in changed):
        changed = tree(scratch)
    sync(scratch, path(OUT, name))
    shutil.rmtree(scratch)
    sources = sorted(file for file in changed if file.endswith(".c"))
    note_sources(name, sources)
    return sources


def note_sources(name, sources):
    """make cannot see that a target is to be linked from other objects."""
    note = path(OUT, name, "sources")
    target = path(OUT, name, command_of(name)[0])
    text = " ".join(sources).encode()
    if os.path.exists(target) and \
            not (os.path.exists(note) and content(note) == text):
        os.unlink(target)
    with open(note, "wb") as file:
        file.write(text)


def clean():
    """Drop what is left of patches that are no more."""
    known = {*CONTROLS, *patches()}
    for name in os.listdir(path(OUT)):
        if name not in known:
            shutil.rmtree(path(OUT, name))


def build(names):
    changed = {name: plant(name) for name in names}
    say("building %d allocators, %d objects"
        % (len(names), sum(len(sources) for sources in changed.values())))
    status, output = proc.make("bug-targets", variables=[
        "BUGS=" + " ".join(names),
        "BUG_TARGETS=" + " ".join(
            "%s/%s/%s" % (OUT, name, command_of(name)[0]) for name in names),
        *("%s.changed=%s" % (name, " ".join(sources))
          for name, sources in changed.items())])
    if proc.stopping():
        proc.leave(1)
    if status != 0:
        errors = [line for line in output.splitlines()
                  if not re.match("  [A-Z]+ ", line)]
        print("\n".join(errors[:40]), file=sys.stderr)
        proc.usage("the build failed")


# ---- fuzzing ----------------------------------------------------------------

class Run:
    """One fuzzing process, until it finds something or its time is over."""

    def __init__(self, name, seconds, seeds):
        self.name = name
        self.seconds = seconds
        folder = os.path.join(OUT, name)
        self.log = path(folder, "log")
        corpus = os.path.join(folder, "corpus")
        shutil.rmtree(path(corpus), ignore_errors=True)
        os.makedirs(path(corpus))
        for file in os.listdir(path(folder)):
            if re.match("(crash|timeout|oom|slow-unit)-", file):
                os.unlink(path(folder, file))
        program, *options = command_of(name)
        command = [os.path.join(folder, program), *options]
        if program == THREADS:
            command += ["--seconds", str(seconds), "--ops", "2000"]
        else:
            command += ["-seed=1", "-max_total_time=%d" % seconds,
                        "-print_final_stats=1", "-timeout=10",
                        "-artifact_prefix=%s/" % folder,
                        "-max_len=%d" % MAX_LEN, "-detect_leaks=0",
                        corpus, *seeds]
        self.started = time.monotonic()
        with open(self.log, "wb") as log:
            self.process = proc.spawn(
                command,
                # nobody reads the stacks
                proc.environment(
                    ASAN_OPTIONS="symbolize=0",
                    TSAN_OPTIONS="symbolize=0:halt_on_error=1"),
                stdout=log, stderr=subprocess.STDOUT)
        self.taken = 0.0
        self.killed = False

    def running(self):
        self.taken = time.monotonic() - self.started
        if self.process.poll() is not None:
            return False
        if self.taken > self.seconds + GRACE_SECONDS:
            self.kill()
        return not self.killed

    def kill(self):
        self.killed = True
        proc.signal_group(self.process, signal.SIGKILL)
        self.process.wait()

    def output(self):
        return content(self.log).decode(errors="replace")

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

    def row(self):
        return COLUMNS % (
            self.name, self.found_by() or
            ("-" if self.ended_well() else "- (broken, see build/bugs)"),
            "%.1f" % self.taken, format(self.executions(), ","))


def fuzz(names, seconds, seeds, jobs):
    """All of them; the rows come in order, each as soon as it can."""
    waiting, running, done = list(names), [], {}
    shown = 0
    while waiting or running:
        while waiting and len(running) < jobs:
            name = waiting.pop(0)
            limit = min(seconds, NONE_SECONDS) if name in CONTROLS \
                else seconds
            running.append(Run(name, limit, seeds))
        time.sleep(0.05)
        for run in running:
            if proc.stopping():
                run.kill()
            if not run.running():
                done[run.name] = run
        running = [run for run in running if run.name not in done]
        if proc.stopping():
            say("interrupted")
            proc.leave(1)
        while shown < len(names) and names[shown] in done:
            say(done[names[shown]].row())
            shown += 1
    return done


def main():
    seconds = proc.number("BUGS_SECONDS", 60, 10 ** 6)
    jobs = proc.number("JOBS", proc.NCPU, 1024)
    names = [*CONTROLS, *choose_bugs()]
    seeds = choose_seeds()
    proc.catch_signals()
    os.makedirs(path(OUT), exist_ok=True)
    clean()
    build(names)
    say(COLUMNS % ("bug", "found by", "seconds", "executions"))
    runs = fuzz(names, seconds, seeds, jobs)
    controls = [runs.pop(name) for name in CONTROLS]
    missed = [name for name, run in runs.items() if not run.found_by()]
    say("%d of %d planted bugs found" % (len(runs) - len(missed), len(runs)))
    if missed:
        say("no oracle saw: " + ", ".join(missed))
    for control in controls:
        if control.found_by() or not control.ended_well():
            say("the allocator without a bug does not pass either (%s): the "
                "rest means nothing" % os.path.relpath(control.log, proc.ROOT))
            proc.leave(1)
    proc.leave(1 if missed else 0)


if __name__ == "__main__":
    main()
