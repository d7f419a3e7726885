# SPDX-License-Identifier: MIT
"""The configurations that take turns, and the workers that run them.

A worker has a folder of its own below work/.  What an engine writes there, the
driver takes over every second.  Nothing that an engine has written is deleted
or replaced by it: libFuzzer does not replace inputs by smaller ones, AFL++ does
not trim; pruning does both, later.
"""

import collections
import os
import random
import re
import shutil
import signal
import time

import durable
import engines
import proc

LOG_BYTES = 4 << 20  # a worker's log is cut beyond that
DERIVED = 200  # inputs whose header is changed for a configuration
KERNEL_JUNK, KERNEL_REAL = 6, 7
TAIL_LINES = 60

# engine; the target; threads that an input plays, kernel: what is put into the
# headers of the inputs to start from (None: they are left alone); long inputs
# from the start; more of the environment; more arguments.
Config = collections.namedtuple(
    "Config", "name engine target threads kernel long env args",
    defaults=(None, None, False, {}, ()))

CONFIGS = (
    Config("libfuzzer-asan", "libfuzzer", "fuzz/apb-fuzz-asan"),
    Config("libfuzzer-release-long", "libfuzzer", "fuzz/apb-fuzz-release",
           long=True),
    Config("afl-release", "afl", "fuzz/apb-fuzz-afl"),
    Config("threads-tsan", "threads", "tsan/apb-threads",
           args=("--threads", "4", "--forks", "4")),
    Config("libfuzzer-asan-played-threads", "libfuzzer", "fuzz/apb-fuzz-asan",
           threads=4),
    Config("libfuzzer-release-real-kernel", "libfuzzer",
           "fuzz/apb-fuzz-release", kernel=KERNEL_REAL,
           env={"APB_FUZZ_REAL": "1"}),
    Config("libfuzzer-msan", "libfuzzer", "fuzz/apb-fuzz-msan"),
    Config("libfuzzer-asan-junk", "libfuzzer", "fuzz/apb-fuzz-asan",
           kernel=KERNEL_JUNK),
    Config("libfuzzer-asan-real-kernel", "libfuzzer", "fuzz/apb-fuzz-asan",
           kernel=KERNEL_REAL, env={"APB_FUZZ_REAL": "1"}),
    Config("afl-played-threads", "afl", "fuzz/apb-fuzz-afl", threads=8),
    Config("threads-asan", "threads", "test/apb-threads",
           args=("--threads", "8", "--forks", "20")),
    Config("libfuzzer-asan-long", "libfuzzer", "fuzz/apb-fuzz-asan",
           long=True),
)

# The header of an input, see fuzz/README.md.
THREAD_BITS = {2: 0x20, 4: 0x60, 8: 0xe0}


def derive(data, config):
    """An input as it is, but for what its header says of the configuration."""
    head = bytearray(data[:8])
    if len(head) < 8:
        return None
    if config.kernel is not None:
        head[1] = head[1] & ~7 | config.kernel
    if config.threads is not None:
        head[2] = head[2] & 0x1f | THREAD_BITS[config.threads]
    return bytes(head) + data[8:]


class Folder:
    """Where a worker works: its inputs, failing inputs, and log."""

    def __init__(self, root, name):
        self.base = os.path.join(root, "work", name)
        self.own, self.artifacts, self.start = (
            os.path.join(self.base, part)
            for part in ("own", "artifacts", "start"))
        for folder in (self.own, self.artifacts, self.start):
            os.makedirs(folder)


class Watched:
    """What the driver wants of a worker beside what fuzz.py does."""

    def prepare(self, config, folder, store):
        self.config, self.folder = config, folder
        self.mark = dict([store.mark.split("=", 1)])
        self.seen = set()

    def output(self):
        return open(self.log, "ab")

    def cut_log(self):
        if os.path.getsize(self.log) > LOG_BYTES:
            os.truncate(self.log, 0)

    def ended(self):
        return self.process.poll() is not None

    def outcome(self):
        """How it ended: "", "killed", or what it says."""
        status = self.process.returncode
        if status in (0, None):
            return ""
        if status == -signal.SIGKILL:
            return "killed"
        return proc.ending(status)

    def text(self):
        """The end of the log."""
        return last_lines(self.log)


class LibFuzzer(Watched, engines.LibFuzzer):
    def __init__(self, config, folder, store, build, max_len=4096):
        self.prepare(config, folder, store)
        cmd = [os.path.join(build, config.target),
               "-artifact_prefix=%s/" % folder.artifacts,
               "-print_final_stats=1", "-timeout=25", "-detect_leaks=0",
               "-reduce_inputs=0", "-reload=0",
               "-max_len=%d" % (16384 if config.long else max_len)]
        if config.long:
            cmd.append("-len_control=0")
        if config.threads is not None or config.kernel is not None:
            self.derive(store)
        self.offset, self.rest = 0, ""
        engines.Worker.__init__(
            self, config.name,
            [*cmd, folder.own, folder.start, store.path("seeds"),
             store.corpus()], {**config.env, **self.mark}, folder.base)

    def derive(self, store):
        """Inputs of the configuration to start from: others, changed."""
        changed = [derive(durable.read(os.path.join(store.corpus(), key)),
                          self.config)
                   for key in random.sample(sorted(store.inputs), min(
                       DERIVED, len(store.inputs)))]
        durable.write_all(self.folder.start, {
            durable.digest(data): data for data in changed if data},
            lasting=False)

    def cut_log(self):
        super().cut_log()
        self.offset = min(self.offset, os.path.getsize(self.log))

    def inputs(self):
        return [self.folder.own]

    def failing(self):
        return [os.path.join(self.folder.artifacts, name)
                for name in durable.names(self.folder.artifacts)
                if not name.startswith("slow-unit-")]


class Afl(Watched, engines.Worker):
    """Its numbers are those of plot_data, every five seconds."""

    FIELDS = (11, 12, 3)  # executions, edges, inputs

    def __init__(self, config, folder, store, build, _max_len=None):
        self.prepare(config, folder, store)
        for base in (store.path("seeds"), store.corpus()):
            for name in durable.names(base):
                data = durable.read(os.path.join(base, name))
                data = derive(data, config) or data
                with open(os.path.join(folder.start, name), "wb") as file:
                    file.write(data)
        engines.Worker.__init__(self, config.name, [
            "afl-fuzz", "-i", folder.start, "-o", folder.own, "-t", "10000+",
            "-G", str(engines.AFL_MAX_LEN), "--",
            os.path.join(build, config.target)], {
                "AFL_NO_UI": "1", "AFL_DISABLE_TRIM": "1",
                "AFL_SKIP_CPUFREQ": "1", "AFL_NO_AFFINITY": "1",
                "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
                "AFL_FAST_CAL": "1", "AFL_CUSTOM_MUTATOR_LIBRARY":
                os.path.join(proc.ROOT, engines.AFL_MUTATOR),
                **config.env, **self.mark}, folder.base)

    def poll(self):
        out = os.path.join(self.folder.own, "default")
        try:
            lines = durable.read(os.path.join(out, "plot_data")).splitlines()
            values = lines[-1].decode().split(",")
            self.execs, self.cov, self.corpus = (
                int(values[field]) for field in self.FIELDS)
        except (FileNotFoundError, IndexError, ValueError):
            pass
        try:
            stats = durable.read(os.path.join(out, "fuzzer_stats")).decode()
            done = re.search(r"^execs_done +: (\d+)", stats, re.M)
            self.execs = max(self.execs, int(done[1]) if done else 0)
        except FileNotFoundError:
            pass
        self.rate = self.execs / (time.monotonic() - self.started)

    def inputs(self):
        return [os.path.join(self.folder.own, "default", "queue")]

    def failing(self):
        out = os.path.join(self.folder.own, "default")
        return [os.path.join(out, kind, name) for kind in ("crashes", "hangs")
                for name in durable.names(os.path.join(out, kind))
                if name.startswith("id:")]


class Threads(Watched, engines.Threads):
    """Threads that really run: no inputs, only reports."""

    def __init__(self, config, folder, store, build, _max_len=None):
        self.prepare(config, folder, store)
        engines.Worker.__init__(self, config.name, [
            os.path.join(build, config.target), "--seconds", str(10 ** 8),
            "--seed", str(random.randrange(1, 10 ** 9)), "--ops", "2000",
            *config.args], {"TSAN_OPTIONS": "halt_on_error=1", **config.env,
                            **self.mark}, folder.base)

    def inputs(self):
        return []

    def failing(self):
        return []


KINDS = {"libfuzzer": LibFuzzer, "afl": Afl, "threads": Threads}


def start(config, store, build, name):
    folder = Folder(store.root, name)
    return KINDS[config.engine](config, folder, store, build)


def leftovers(store):
    """What workers and merges that were killed have left: (folders of inputs,
    [(file, configuration)] of failing ones)."""
    inputs, failing = [], []
    work = store.path("work")
    for name in durable.names(work):
        base = os.path.join(work, name)
        inputs += [os.path.join(base, "own"),
                   os.path.join(base, "own", "default", "queue")]
        for part in ("artifacts", "own/default/crashes", "own/default/hangs"):
            failing += [(os.path.join(base, part, file), name.split(".")[0])
                        for file in durable.names(os.path.join(base, part))
                        if not file.startswith(("slow-unit-", "README"))]
    return inputs, failing


def left_log(store, path):
    """What the log beside a failing input that was left behind says: (reason,
    text)."""
    base = os.path.join(store.path("work"), os.path.relpath(
        path, store.path("work")).split(os.sep)[0])
    for name in durable.names(base):
        if name.endswith(".log"):
            text = last_lines(os.path.join(base, name))
            return engines.reason(text), text
    return "", ""


def last_lines(path):
    lines = durable.read(path)[-65536:].decode(errors="replace").splitlines()
    return "\n".join(lines[-TAIL_LINES:]) + "\n"


def discard(store):
    """Everything in work/ was taken over."""
    for name in os.listdir(store.path("work")):
        shutil.rmtree(store.path("work", name))
    store.seen.clear()


def log_reason(worker):
    """What a worker that ended without an input says went wrong."""
    text = worker.text()
    for line in text.splitlines():
        if match := re.search(r"(WARNING: ThreadSanitizer|FINDING|ERROR|"
                              r"runtime error): .*", line):
            return match[0].strip(), text
    return "", text


def run_marked(store, cmd, timeout, **env):
    """A helper process, which is ended with the driver."""
    return proc.run(cmd, timeout=timeout, env=proc.environment(
        **dict([store.mark.split("=", 1)]), **env))


