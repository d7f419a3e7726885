# SPDX-License-Identifier: MIT
"""The suites of whole programs: user + system seconds, and peak memory.

Each is started by bench/launch.c, with the allocator preloaded and
libbench-origin.so behind it, which ends every process whose malloc is another.
What a program prints must be the same with every allocator.
"""

import hashlib
import os
import shutil
import subprocess
import time

import common
import inputs
from suite import RSS, TIME, WALL, Row, Subject, Suite, subjects_of

PYTHON = "/usr/bin/python3"
SAMPLE_US = 5000


def launch_command(build, settings, command, sample=None, **paths):
    words = [os.path.join(build, "bench", "launch")]
    for name, value in settings.items():
        words += ["--set", "%s=%s" % (name, value)]
    for name, path in paths.items():
        words += ["--" + name, path]
    if sample:
        words += ["--sample", sample, "--every-us", str(SAMPLE_US)]
    return words + ["--"] + command


def launched(output):
    """What bench/launch.c printed, as metrics."""
    user, system, wall, rss = output.split()
    return {TIME: float(user) + float(system), WALL: float(wall),
            RSS: float(rss), "user": float(user), "sys": float(system)}


class ProgramRow(Row):
    """@command and @settings of it; its output is compared."""

    def __init__(self, suite, name, text, subjects, args, command, settings=(),
                 stdin=None, cwd=None):
        super().__init__(suite, name, text, subjects)
        self.build = os.path.abspath(args.build)
        self.scratch = args.scratch
        self.command = command
        self.own_settings = dict(settings)
        self.stdin = stdin or "/dev/null"
        self.cwd = cwd or args.scratch
        self.output = None

    def settings_of(self, subject):
        settings = dict(self.own_settings)
        if subject.allocator:
            settings.update(subject.allocator.settings(
                [os.path.join(self.build, "bench", "libbench-origin.so")]))
        settings.update(getattr(subject, "settings", {}))
        return settings

    def command_of(self, subject):
        return [getattr(subject, "program", self.command[0]),
                *self.command[1:]]

    def sample_path(self, subject):
        folder = os.path.join(self.build, "bench", "rss")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, "%s.%s" % (self.name, subject.name))

    def measure(self, subject, last):
        out = os.path.join(self.scratch, "output")
        result = launched(common.run(launch_command(
            self.build, self.settings_of(subject), self.command_of(subject),
            self.sample_path(subject) if last else None,
            **{"in": self.stdin, "out": out}), common.environment(),
            cwd=self.cwd))
        with open(out, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
        if self.output is None:
            self.output = digest
        elif digest != self.output:
            raise common.Failed("its output is not what it was")
        return result


class RedisRow(ProgramRow):
    """redis-server, driven by redis-benchmark; what the server used."""

    def __init__(self, text, subjects, args, requests):
        super().__init__("programs", "redis", text, subjects, args, [])
        self.requests = requests

    def client(self, socket, *words):
        common.run([words[0], "-s", socket, *words[1:]], common.environment(),
                   timeout=120)

    def measure(self, subject, last):
        socket = os.path.join(self.scratch, "redis.sock")
        server = subprocess.Popen(
            launch_command(
                self.build, self.settings_of(subject),
                ["redis-server", "--port", "0", "--unixsocket", socket,
                 "--save", "", "--appendonly", "no", "--daemonize", "no",
                 "--dir", self.scratch, "--loglevel", "warning"],
                self.sample_path(subject) if last else None,
                out="/dev/null"),
            env=common.environment(), stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)
        try:
            for _ in range(500):
                if os.path.exists(socket) or server.poll() is not None:
                    break
                time.sleep(0.01)
            self.client(socket, "redis-benchmark", "-q", "-n",
                        str(self.requests), "-r", "50000", "-P", "32", "-c",
                        "10", "-d", "200", "-t",
                        "set,get,incr,lpush,rpop,sadd,hset,zadd,mset")
            self.client(socket, "redis-cli", "shutdown", "nosave")
            output, _ = server.communicate(timeout=60)
            if server.returncode:
                raise common.Failed("status %d" % server.returncode)
        except (common.Failed, subprocess.TimeoutExpired) as err:
            server.terminate()
            server.communicate()
            raise common.Failed("redis-server: %s" % err) from None
        finally:
            if os.path.exists(socket):
                os.unlink(socket)
        return launched(output)


def need_programs(names):
    missing = [name for name in names if not shutil.which(name, path=common.PATH)]
    if missing:
        common.fail("missing: %s (make bench-setup)" % " ".join(missing))


def programs_suite(args, allocators):
    need_programs(("sqlite3", "gcc", "clang-19", "git", "perl", "lua5.4",
                   "gawk", "redis-server", "redis-benchmark"))
    everyone = subjects_of(allocators)
    scratch = args.scratch
    text = inputs.text(os.path.join(scratch, "text"),
                       5000 if args.quick else 30000)
    repository = inputs.repository(os.path.join(scratch, "repository"),
                                   60 if args.quick else 250)
    flags, files = inputs.sources(1 if args.quick else 4)
    no_config = {"GIT_CONFIG_GLOBAL": "/dev/null",
                 "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_PAGER": "cat"}

    def row(name, what, command, **more):
        return ProgramRow("programs", name, what, everyone, args, command,
                          **more)

    rows = [
        row("sqlite3", "SQL in memory", ["sqlite3", "-batch", ":memory:"],
            stdin=inputs.script("queries.sql")),
        row("gcc", "compile %d of our files, -O2" % len(files),
            ["gcc", *flags, "-c", *files]),
        row("clang", "the same with clang-19",
            ["clang-19", *flags, "-c", *files]),
        row("git-log", "git log -p --stat -M of a repository made here",
            ["git", "-C", repository, "log", "-p", "--stat", "-M"],
            settings=no_config),
        row("git-repack", "git repack -adfq, two threads",
            ["git", "-C", repository, "-c", "pack.threads=2", "repack",
             "-adfq"], settings=no_config),
        row("perl", "words of a text counted, sorted, changed",
            ["perl", inputs.script("words.pl"), text],
            settings={"PERL_HASH_SEED": "0"}),
        row("lua", "tables and strings",
            ["lua5.4", inputs.script("tables.lua"),
             "25" if args.quick else "150"]),
        row("gawk", "associative arrays",
            ["gawk", "-f", inputs.script("fields.awk"), text]),
        RedisRow("redis-server under redis-benchmark", everyone, args,
                 5000 if args.quick else 60000),
    ]
    return Suite("programs", "whole programs", "s", rows, (TIME, RSS),
                 digits=3, notes=(
                     "Seconds, user + system, of all processes of a command; "
                     "peak resident memory of the largest.",))


PYTHON_ROWS = (
    ("trees", "trees of tuples"),
    ("strings", "dicts of strings"),
    ("records", "JSON written and read"),
    ("objects", "small objects in a queue"),
)


def python_forms(args):
    """Python with its own allocator, and with ours inside.  The host is linked
    from the objects of libpython3.11.a, which /usr/bin/python3 is not: hence
    pymalloc in both."""
    host = common.need(os.path.join(args.build, "apb-python3"), "bench-build")
    plain = common.need(os.path.join(args.build, "python", "python3"),
                        "bench-build")
    forms = [
        Subject("pymalloc", "form", allocator=None,
                settings={"PYTHONMALLOC": "pymalloc"}),
        Subject("pymalloc.a", "form", allocator=None, program=plain,
                settings={"PYTHONMALLOC": "pymalloc"}),
        Subject("apb-python3", "form", allocator=None, program=host,
                settings={"PYTHONMALLOC": "default"})]
    check_host(forms[2], "apb")
    return forms


def check_host(form, expect):
    """The host says itself what serves its objects."""
    try:
        name = common.run(
            [form.program, "-c", "import apb; print(apb.allocator)"],
            common.environment(form.settings)).strip()
    except common.Failed as err:
        common.fail(str(err))
    if name != expect:
        common.fail("%s: the allocator is %s, not %s"
                    % (form.program, name, expect))


def python_suite(args, allocators):
    need_programs((PYTHON,))
    everyone = subjects_of(allocators) + python_forms(args)
    rows = [ProgramRow("python", "py-" + name, text, everyone, args,
                       [PYTHON, "-S",
                        inputs.script("python/%s.py" % name)],
                       settings={"PYTHONMALLOC": "malloc",
                                 "PYTHONHASHSEED": "0"})
            for name, text in PYTHON_ROWS]
    return Suite("python", "python3, PYTHONMALLOC=malloc", "s", rows,
                 (TIME, RSS), digits=3, reference="pymalloc.a", notes=(
                     "pymalloc: python3 with its own allocator, nothing "
                     "preloaded; apb-python3: apb inside, for objects and mem; "
                     "pymalloc.a: the same objects linked without it.",))
