# SPDX-License-Identifier: MIT
"""C programs for findings: written by apb-replay --emit-c, compiled, run.

A program shows a finding if it ends by an assertion, a signal or a sanitizer's
report.  Which one does depends on where the bug is to be seen: so there are
several ways to try, the plainest first, and the first that shows it is kept.
"""

import os
import re
import tempfile

import proc

REPLAY_ANY = "build/fuzz/apb-replay-any"
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I", "alloc/include"]
SANITIZERS = ["-g", "-fsanitize=address,undefined",
              "-fno-sanitize-recover=all"]
EMIT_SECONDS = 60
HANG_SECONDS = 10
COMPILE_SECONDS = 60
RUN_SECONDS = 40


class Build:
    """A replay program, and the library that is in it."""

    target = None  # apb
    kernels = ("real", "scripted")

    def __init__(self, name, replay, compiler, library):
        self.name = name
        self.replay = replay
        self.compiler = compiler
        self.library = library

    def command(self):
        return [self.replay]

    def environment(self):
        """Of the replay program."""
        return None

    def compile(self, source, program):
        """The command that makes a program of @source."""
        return [*self.compiler, *WARNINGS, source, self.library, "-pthread",
                "-o", program]

    def preload(self):
        """What the program runs with."""
        return ""

    def words(self):
        """How the program is made and run."""
        return " ".join(self.compile("FILE.c", "FILE"))

    def exists(self):
        return all(os.path.exists(os.path.join(proc.ROOT, path))
                   for path in (self.replay, self.library))


class Foreign(Build):
    """An allocator that is not apb: programs run with it preloaded."""

    kernels = ("real",)

    def __init__(self, name, rules="glibc"):
        super().__init__("preloaded", REPLAY_ANY, ["gcc", "-g", "-O1"], "")
        self.target = {"name": name, "rules": rules}

    def command(self):
        rules = self.target["rules"]
        return [self.replay, "--target", self.target["name"],
                *([] if rules == "glibc" else ["--rules", rules])]

    def environment(self):
        return proc.environment(APB_QUIET="1")

    def compile(self, source, program):
        return [*self.compiler, "-std=gnu11", "-Wall", "-Wextra", "-Werror",
                "-fno-builtin", source, "-pthread", "-o", program]

    def preload(self):
        """Its path; the C library is there anyway."""
        if self.target["name"] == "glibc":
            return ""
        _status, output = proc.run([*self.command(), "--help"])
        path = re.search(r"^apb: target .*?: (.*)$", output, re.M)
        if not path:
            raise Failed(output.strip() or "no library")
        return os.path.join(proc.ROOT, path[1]) if "/" in path[1] else path[1]

    def words(self):
        library = self.preload()
        return super().words() + " && %s./FILE" % (
            "LD_PRELOAD=%s " % library if library else "")

    def exists(self):
        """And takes these rules."""
        return os.path.exists(os.path.join(proc.ROOT, self.replay)) and \
            proc.run([*self.command(), "--help"])[0] == 0


def builds(folder="build", release="build/fuzz/apb-replay"):
    """The release build and the one with sanitizers, below a folder."""
    return [Build("release", release, ["gcc", "-g"],
                  folder + "/release/libapb.a"),
            Build("sanitizers", folder + "/test/apb-replay",
                  ["clang-19", *SANITIZERS], folder + "/test/libapb.a")]


class Failed(Exception):
    """There is no program; the text says why."""


def emit(build, path, source, kernel):
    status, output = proc.run(
        [*build.command(), "--emit-c", path, "-o", source, "--kernel", kernel,
         "--timeout", str(HANG_SECONDS)], timeout=EMIT_SECONDS,
        env=build.environment())
    if status != 0:
        raise Failed(output.strip().splitlines()[-1] if output.strip()
                     else "apb-replay: " + proc.ending(status))


def says(output, status):
    """In a line, how a program ended that shows something."""
    for pattern in (r"Assertion `.*' failed", r"ERROR: \w+Sanitizer: [\w-]+",
                    r"runtime error: .*", r"apb: .*"):
        if match := re.search(pattern, output):
            return match[0]
    return proc.ending(status)


def shows(build, source):
    """What a program says that ends badly; None if it ends well."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "program")
        status, output = proc.run(build.compile(source, program),
                                  timeout=COMPILE_SECONDS)
        if status != 0:
            raise Failed("does not compile: " + output[:400])
        preload = build.preload()
        status, output = proc.run(
            [program], timeout=RUN_SECONDS, env=proc.environment(
                LD_PRELOAD=proc.plain(preload)) if preload else None)
    return None if status == 0 else says(output, status)


def write(path, text):
    """Whole or not at all."""
    proc.put(os.path.join(proc.ROOT, path), text.encode())


def read(path):
    with open(os.path.join(proc.ROOT, path), encoding="utf-8",
              errors="replace") as file:
        return file.read()


def stamp(source, text, program):
    """What was verified goes into the comment at the top."""
    write(program, read(source).replace(" * Verified: no\n", text, 1))


class Program:
    """A program that was written; @verified: it shows the finding."""

    def __init__(self, verified, how):
        self.verified = verified
        self.how = how


def reproduce(path, program, among):
    """Write the C program for the failing input @path to @program.

    @among: the builds in which the input fails, in order.  The program is of
    the first way that shows the finding, or else, not verified, of the first.
    Raises Failed if there is none at all.
    """
    kept, why = None, "no build shows the input to fail"
    for kernel in Build.kernels:
        for build in among:
            if kernel not in build.kernels:
                continue
            source = "%s.%s-%s.tmp.c" % (program, build.name, kernel)
            try:
                emit(build, path, source, kernel)
                how = shows(build, source)
                if how:
                    stamp(source, " * Verified, with the allocator in which "
                          "it was found: %s\n *   %s\n" % (
                              how.replace("*/", "* /"), build.words()), program)
                    return Program(True, "%s: %s" % (build.name, how))
                if not kept:
                    stamp(source, " * Verified: no, it ends with status 0 "
                          "though the input fails.\n", program)
                    kept = Program(False, "ends with status 0")
            except Failed as failure:
                why = str(failure)
            finally:
                if os.path.exists(os.path.join(proc.ROOT, source)):
                    os.unlink(os.path.join(proc.ROOT, source))
    if not kept:
        raise Failed(why)
    return kept
