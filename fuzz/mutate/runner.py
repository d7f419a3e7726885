# SPDX-License-Identifier: MIT
"""Runs mutants: the original first, traced, to know which program and which
input can see which mutant; then each mutant against those alone, what kills
fast and often first.
"""

import glob
import json
import os
import resource
import shutil
import signal
import subprocess
import threading
import time

import build as building
from build import digest, proc, read

MAX_MUTANTS = 65536  # APB_MUTANTS_MAX
TRACE_SECONDS = 100
COMPARE_SECONDS = 0.5  # what takes longer comes after comparing objects
IDLE_SECONDS = 2
AWAKE = 20  # times as long it may take if it is awake
SLOWER_MS = 500  # CPU time more than four times the original's
START_SECONDS = 0.005  # of a process
QUICK_MOST = 1  # a program that takes longer is not for quick runs
REPLAY_FIRST = 24  # inputs
FUZZ_INPUTS = 48
EQUIVALENT = {"result": "equivalent", "by": "compiler", "how": "",
              "detail": "the same code"}


def wait(process, wall):
    """Its status; None if it takes longer, or nothing of its session moves for
    IDLE_SECONDS: a deadlock.  Time in which it is awake does not count, as it
    may be others that run: what it may use of the CPU has a limit of its own."""
    begin = moved = last = time.monotonic()
    left, ticks = wall, None
    while True:
        try:
            return process.wait(min(left, IDLE_SECONDS / 4))
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        awake, latest = session_ticks(process.pid)
        if not awake:
            left -= now - last
        if awake or latest != ticks:
            ticks, moved = latest, now
        last = now
        if left <= 0 or now - moved > IDLE_SECONDS or \
                now - begin > AWAKE * wall:
            return None


def session_ticks(session):
    """Whether one of the threads of the session's processes is not asleep; and
    what they have used of the CPU."""
    awake, used = False, []
    for path in glob.glob("/proc/[0-9]*/stat"):
        fields = fields_of(path)
        if not fields or int(fields[3]) != session:
            continue
        for task in glob.glob(path[:-4] + "task/*/stat"):
            fields = fields_of(task)
            awake |= bool(fields and fields[0] not in "SZX")
            used.append(fields and fields[11:13])
    return awake, used


def fields_of(path):
    """Of a process or thread; None if it has ended meanwhile, as any other on
    the machine may at any time."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split() or None
    except OSError:
        return None


class Program:
    def __init__(self, name, cpu, wall, marks):
        self.name, self.cpu, self.wall = name, cpu, wall
        self.marks = marks  # a bit for each mutant

    def sees(self, number):
        return self.marks >> number & 1


class Runner:
    def __init__(self, build, quick, compare, fuzz_seconds, odds):
        self.build = build
        self.quick = quick
        self.compare = compare
        self.out = build.out
        self.fuzz_seconds = fuzz_seconds
        self.programs = []
        self.inputs = []
        self.stamps = {}  # of programs
        self.odds = odds
        self.lock = threading.Lock()

    # ---- a process -------------------------------------------------------

    def run(self, cmd, wall, env, worker="0"):
        """(None or how it failed, what it said)"""
        said = os.path.join(self.out, "said-%s" % worker)
        with open(said, "wb") as file:
            process = subprocess.Popen(
                cmd, cwd=building.ROOT, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=file, env=env,
                start_new_session=True)
            status = wait(process, wall)
            proc.signal_group(process, signal.SIGKILL)
            process.wait()
        with open(said, "rb") as file:
            file.seek(max(0, os.path.getsize(said) - 4000))
            text = file.read().decode(errors="replace")
        if status is None or -status in (signal.SIGPROF, signal.SIGXCPU,
                                         signal.SIGKILL):
            return "timeout", text
        return ("status %d" % status if status > 0 else
                "signal %d" % -status if status else None), text

    def environment(self, **more):
        return {"PATH": os.environ["PATH"], "CMOCKA_MESSAGE_OUTPUT": "TAP",
                **{name: str(value) for name, value in more.items()}}

    # ---- the original ----------------------------------------------------

    def trace(self):
        """What each program and input can see, as far as not known yet."""
        path = os.path.join(self.out, "trace.json")
        known = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
        base = digest(*(s.text for s in self.build.sources),
                      *(read(o) for o in self.build.project.harness +
                        self.build.project.helpers()),
                      str(sorted(self.build.without)),
                      str(self.build.numbers))
        fresh = {}
        for name in self.build.project.tests():
            program = self.build.project.program(name)
            stamp = digest(base, program)
            if name == "replay":
                stamp = digest(stamp, *map(read, self.build.project.inputs()))
            last = known.get(name, {})
            # of another version it would have to be found out
            if self.quick and last.get("cpu", 0) > QUICK_MOST and \
                    last.get("program") == program:
                continue
            if known.get(name, {}).get("stamp") != stamp:
                print("mutate: tracing %s" % name, flush=True)
                trace = self.trace_replay if name == "replay" else \
                    self.trace_unit
                known[name] = {"stamp": stamp, "program": program,
                               **trace(name)}
                if known[name].get("slow"):
                    print("mutate: %s takes too long for a quick run" % name)
                with open(path, "w", encoding="utf-8") as file:
                    json.dump(known, file)
            if known[name].get("slow"):
                continue
            fresh[name] = known[name]
            self.stamps[name] = stamp
        for name, entry in fresh.items():
            if entry["failed"]:
                print("mutate: %s fails without any mutant: not used" % name)
            elif name == "replay":
                self.inputs = [(path, seconds, int(marks, 16))
                               for path, seconds, marks in entry["inputs"]]
            else:
                self.programs.append(Program(name, entry["cpu"], entry["wall"],
                                             int(entry["marks"], 16)))

    def time(self, cmd):
        """CPU and wall seconds of the original, None if it fails."""
        begin, cpu = time.monotonic(), self.cpu()
        how, said = self.run(cmd, 300, self.environment())
        if how:
            print("mutate: %s: %s\n%s" % (cmd[1], how, said[-500:]))
            return None
        return self.cpu() - cpu, time.monotonic() - begin

    @staticmethod
    def cpu():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def marks_file(self):
        path = os.path.join(self.out, "marks")
        with open(path, "wb") as file:
            file.write(bytes(MAX_MUTANTS))
        return path

    def trace_unit(self, name):
        took = self.time(self.build.project.command("run", name))
        if not took:
            return {"failed": True}
        if self.quick and took[0] > QUICK_MOST:
            # what it sees is for a longer run to find out
            return {"failed": False, "cpu": took[0], "wall": took[1],
                    "slow": True, "stamp": None}
        path = self.marks_file()
        # one that takes too long has passed what it can see by then
        self.run(self.build.project.command("trace", name),
                 TRACE_SECONDS, self.environment(APB_MUTANT_MARKS=path))
        return {"failed": False, "cpu": took[0], "wall": took[1],
                "marks": "%x" % bits(read(path))}

    def trace_replay(self, name):
        inputs = os.path.join(self.out, "inputs")
        with open(inputs, "w", encoding="utf-8") as file:
            file.writelines(p + "\n" for p in self.build.project.inputs())
        if not self.time([self.out + "/driver-run", name, inputs]):
            return {"failed": True}
        output = subprocess.run(
            [self.out + "/driver-trace", name, inputs, "-"],
            cwd=building.ROOT, stdout=subprocess.PIPE, text=True, check=True,
            env=self.environment(APB_MUTANT_MARKS=self.marks_file())).stdout
        found = []
        for line in output.splitlines():
            path, seconds, *numbers = line.split()
            found.append((path, float(seconds),
                          "%x" % sum(1 << int(n) for n in numbers)))
        return {"failed": False,
                "inputs": sorted(found, key=lambda entry: entry[1])}

    # ---- a mutant --------------------------------------------------------

    def attempts(self, id, number, known):
        """Programs and lists of inputs that see it: (cost, name, argument,
        CPU seconds, wall seconds, key), in the order to try them."""
        found = [(p.cpu + p.wall / 10, p.name, None, p.cpu, p.wall, p.name)
                 for p in self.programs if p.sees(number)]
        inputs = [(path, seconds) for path, seconds, marks in self.inputs
                  if marks >> number & 1]
        for key, part in (("replay first", inputs[:REPLAY_FIRST]),
                          ("replay rest", inputs[REPLAY_FIRST:])):
            if part:
                cost = sum(seconds for _, seconds in part)
                found.append((cost, "replay", [path for path, _ in part], cost,
                              cost, key))
        first = known and known.split()[-1]
        with self.lock:
            return sorted(found, key=lambda a: (
                a[1] != first,
                (a[0] + START_SECONDS) / self.odds.of(id, a[1])))

    def attempt(self, number, attempt, worker):
        """None, or what killed it: (by, how, detail)."""
        _cost, name, inputs, cpu, wall, _key = attempt
        cmd = self.build.project.command("run", name)
        if inputs:
            cmd.append(os.path.join(self.out, "inputs-%s" % worker))
            with open(cmd[-1], "w", encoding="utf-8") as file:
                file.writelines(path + "\n" for path in inputs)
        how, said = self.run(
            cmd, 8 * wall + 8, self.environment(
                APB_MUTANT=number, APB_MUTANT_CPU=int(4000 * cpu) + SLOWER_MS), worker)
        if not how:
            return None
        by = "replay" if inputs else "unit " + name
        return by, how, detail(said)

    def fuzz(self, number, worker):
        """libFuzzer, from the fastest inputs that see it."""
        seeds = [path for path, _, marks in self.inputs
                 if marks >> number & 1][:FUZZ_INPUTS]
        if not seeds or not self.fuzz_seconds or self.quick:
            return None
        folder = os.path.join(self.out, "fuzz-in-%s" % worker)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        for path in seeds:
            os.symlink(os.path.join(building.ROOT, path),
                       os.path.join(folder, os.path.basename(path)))
        os.makedirs(os.path.join(self.out, "found"), exist_ok=True)
        artifact = os.path.join(self.out, "found", "%d" % number)
        how, said = self.run(
            [self.out + "/fuzzer", "-max_total_time=%d" % self.fuzz_seconds,
             "-seed=1", "-detect_leaks=0", "-max_len=2048", "-timeout=5",
             "-len_control=0", "-exact_artifact_path=" + artifact, folder],
            self.fuzz_seconds * 5 + 60,
            self.environment(APB_MUTANT=number,
                             APB_MUTANT_CPU=self.fuzz_seconds * 3000 + 30000),
            worker)
        return ("fuzz", how, detail(said)) if how else None

    def same_code(self, source, point, mutant, worker):
        return self.build.equivalent(source, point, mutant, worker)

    def judge(self, source, point, mutant, known, worker="0"):
        """Run it against everything: what results.py calls an entry; @known is
        the last one, of which it need not be tried again what it survived."""
        number = self.build.numbers[mutant.id]
        tried = dict(known.get("tried", {}))
        if mutant.id in self.build.without:
            return {"result": "invalid", "by": "compiler", "how": "",
                    "detail": self.build.without[mutant.id]}
        compared, spent = not self.compare, 0
        for attempt in self.attempts(mutant.id, number, known.get("by")):
            name, cpu, key = attempt[1], attempt[3], attempt[5]
            if tried.get(key) == self.stamps[name]:
                continue
            if self.quick and spent + cpu > self.quick:
                continue
            spent += cpu
            if attempt[0] > COMPARE_SECONDS and not compared:
                compared = True
                if self.same_code(source, point, mutant, worker):
                    return dict(EQUIVALENT)
            killed = self.attempt(number, attempt, worker)
            with self.lock:
                self.odds.note(mutant.id, name, bool(killed))
            if killed:
                return entry_of(killed)
            tried[key] = self.stamps[name]
        if not compared and self.same_code(source, point, mutant, worker):
            return dict(EQUIVALENT)
        if killed := self.fuzz(number, worker):
            return entry_of(killed)
        return {"result": "survived", "by": "", "how": "", "tried": tried,
                "quick": self.quick, "detail": "%d tried" % len(tried)}


def entry_of(killed):
    by, how, said = killed
    return {"result": "killed", "by": by, "how": how, "detail": said}


def bits(marks):
    """A number with bit n set where byte n is."""
    return int("".join("1" if byte else "0" for byte in reversed(marks)), 2)


def detail(said):
    """The line that says what went wrong."""
    lines = [line for line in said.splitlines() if line.strip()]
    for line in lines:
        if "FINDING" in line or line.startswith("failed:"):
            return line[:300]
    return lines[-1][:300] if lines else ""
