#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make contract`: what OSS-Fuzz and ClusterFuzzLite do with fuzz/oss-fuzz/, and
what their build check looks at, without docker: 3 sanitizers x 2 engines.

    contract.py [--only SANITIZER-ENGINE,...] [--tree FOLDER] [--keep]

build.sh runs in a copy of the tree with the environment that the services set
(compilers of Debian in the place of theirs, and without -stdlib=libc++, which
Debian's libFuzzer is not built for).  What it leaves in $OUT is moved elsewhere,
made read-only, and run by a user who owns nothing.

Prints a line for each build, and what is wrong; also what a maintainer has to
fill in before a service can take it, which is not wrong here.  Exit status 0, 1,
or 2 if it could not be tried.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import proc           # noqa: E402  (the folders have to be in the path first)
import build_check    # noqa: E402

SANITIZERS = ("address", "undefined", "memory")
ENGINES = ("libfuzzer", "afl")
AFL_DRIVER = build_check.AFL_DRIVER
AFL_TOOLS = ("afl-fuzz", "afl-showmap")
BUILD_SECONDS = 600
FOLDER = "build/contract"
FILES = {"fuzz/oss-fuzz": ("project.yaml", "Dockerfile", "build.sh"),
         ".clusterfuzzlite": ("project.yaml", "Dockerfile", "build.sh")}
OSS_FUZZ = "fuzz/oss-fuzz"
FILL_IN = re.compile(r"FILL-IN-[A-Z]+")
YAML_KEYS = {"fuzz/oss-fuzz": ("homepage", "language", "primary_contact",
                               "main_repo", "sanitizers", "fuzzing_engines"),
             ".clusterfuzzlite": ("language",)}

# As in the services' base-builder image.
COMMON = ("-O1 -fno-omit-frame-pointer -gline-tables-only "
          "-DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION")
UNDEFINED = ("array-bounds,bool,builtin,enum,function,integer-divide-by-zero,"
             "null,object-size,return,returns-nonnull-attribute,shift,"
             "signed-integer-overflow,%sunreachable,vla-bound,vptr")
FLAGS = {
    "address": "-fsanitize=address -fsanitize-address-use-after-scope",
    "memory": "-fsanitize=memory -fsanitize-memory-track-origins",
    "undefined": "-fsanitize=%s -fno-sanitize-recover=%s" % (
        UNDEFINED % "unsigned-integer-overflow,", UNDEFINED % ""),
}
COVERAGE = "-fsanitize=fuzzer-no-link"


class Build:
    """One sanitizer with one engine."""

    def __init__(self, sanitizer, engine, tree, base):
        self.sanitizer, self.engine = sanitizer, engine
        self.name = "%s-%s" % (sanitizer, engine)
        self.base = os.path.join(base, self.name)
        self.src, self.out, self.work = (
            os.path.join(self.base, name) for name in ("src", "out", "work"))
        shutil.rmtree(self.base, ignore_errors=True)
        for folder in (self.src, self.out, self.work):
            os.makedirs(folder)
        # As the Dockerfiles do.
        shutil.copytree(tree, os.path.join(self.src, "apb"), symlinks=True,
                        ignore=lambda path, _names: (
                            ["build", ".git"] if path == tree else
                            ["__pycache__"]))
        shutil.copy2(os.path.join(tree, "fuzz/oss-fuzz/build.sh"), self.src)

    def environment(self):
        """All that build.sh is given."""
        afl = self.engine == "afl"
        library = os.path.join(self.base, "libFuzzingEngine.a")
        flags = " ".join([COMMON, FLAGS[self.sanitizer],
                          *([] if afl else [COVERAGE])])
        env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": self.work,
            "SRC": self.src, "OUT": self.out, "WORK": self.work,
            "SANITIZER": self.sanitizer, "FUZZING_ENGINE": self.engine,
            "ARCHITECTURE": "x86_64", "FUZZING_LANGUAGE": "c",
            "CC": "afl-clang-fast" if afl else "clang-19",
            "CXX": "afl-clang-fast++" if afl else "clang++-19",
            "CFLAGS": flags, "CXXFLAGS": flags,
            "LIB_FUZZING_ENGINE": library if afl else "-fsanitize=fuzzer",
        }
        env["CCC"] = env["CXX"]
        if afl:
            # What their script for this engine does.
            shutil.copyfile(AFL_DRIVER, library)
            for tool in AFL_TOOLS:
                shutil.copy2("/usr/bin/" + tool, self.out)
            env.update(AFL_QUIET="1", ASAN_OPTIONS=(
                "detect_leaks=0:symbolize=0:detect_odr_violation=0:"
                "abort_on_error=1"))
        return env

    def make(self):
        """None, or what went wrong."""
        status, output = proc.run(
            ["sh", "-c", 'cd "$SRC/apb" && exec bash -eux "$SRC/build.sh"'],
            timeout=BUILD_SECONDS, env=self.environment())
        if status != 0:
            return "build.sh: %s\n%s" % (proc.ending(status), output[-3000:])
        return None

    def move_out(self):
        """$OUT elsewhere, as their check has it, and nobody may write to it."""
        moved = os.path.join(self.base, "not-out")
        os.rename(self.out, moved)
        os.makedirs(self.out)
        for base, _folders, names in os.walk(moved):
            for name in names:
                path = os.path.join(base, name)
                os.chmod(path, os.stat(path).st_mode & ~0o222)
            os.chmod(base, 0o555)
        return moved

    def clean(self):
        for base, _folders, _names in os.walk(self.base):
            os.chmod(base, 0o755)
        shutil.rmtree(self.base, ignore_errors=True)


def check_files(tree):
    """What is wrong with the files that services read, apart from a build."""
    for folder, names in FILES.items():
        for name in names:
            path = os.path.join(tree, folder, name)
            if not os.path.isfile(path):
                yield "%s/%s: not there" % (folder, name)
                return
        with open(os.path.join(tree, folder, "project.yaml"),
                  encoding="utf-8") as file:
            lines = [line.rstrip("\n") for line in file]
        keys = {line.split(":")[0] for line in lines if ":" in line and
                not line.startswith((" ", "#", "-"))}
        for key in YAML_KEYS[folder]:
            if key not in keys:
                yield "%s/project.yaml: no %s" % (folder, key)
        if folder == "fuzz/oss-fuzz":
            listed = {line.strip("- ") for line in lines
                      if line.strip().startswith("-")}
            for value in (*SANITIZERS, *ENGINES):
                if value not in listed:
                    yield "%s/project.yaml: no %s" % (folder, value)
        with open(os.path.join(tree, folder, "Dockerfile"),
                  encoding="utf-8") as file:
            text = file.read()
        for wanted in ("FROM gcr.io/oss-fuzz-base/base-builder",
                       "WORKDIR $SRC/apb", "fuzz/oss-fuzz/build.sh"):
            if wanted not in text:
                yield "%s/Dockerfile: no %s" % (folder, wanted)
        repository = re.search(r'^main_repo: "?([^"\n]+)',
                               "\n".join(lines), re.M)
        if repository and repository[1] not in text:
            yield "%s/Dockerfile: does not clone main_repo, %s" % (
                folder, repository[1])
    first, second = (os.path.join(tree, folder, "build.sh")
                     for folder in FILES)
    if os.path.realpath(first) != os.path.realpath(second):
        yield "build.sh is there twice"


def to_fill_in(tree):
    """What only a maintainer knows and is not there yet."""
    found = []
    for name in FILES[OSS_FUZZ]:
        with open(os.path.join(tree, OSS_FUZZ, name),
                  encoding="utf-8") as file:
            lines = [line for line in file if not line.startswith("#")]
        found += ["%s of %s" % (word, name)
                  for word in FILL_IN.findall("".join(lines))]
    return found


def check(build):
    """(seconds, [what is wrong])"""
    start = time.monotonic()
    wrong = build.make()
    if wrong:
        return time.monotonic() - start, [wrong]
    built = time.monotonic() - start
    checker = build_check.Checker(
        build.move_out(), os.path.join(build.base, "scratch"), build.engine,
        build.sanitizer, os.path.join(build.src, "apb", "corpus"))
    return built, list(checker.run())


def parse():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--only", default="")
    parser.add_argument("--tree", default=proc.ROOT)
    parser.add_argument("--keep", action="store_true",
                        help="leave build/contract as it is in the end")
    options = parser.parse_args()
    combinations = [(s, e) for e in ENGINES for s in SANITIZERS]
    chosen = options.only.split(",") if options.only else \
        ["%s-%s" % pair for pair in combinations]
    for name in chosen:
        if tuple(name.split("-")) not in combinations:
            proc.usage("--only %s: must be of %s" % (name, " ".join(
                "%s-%s" % pair for pair in combinations)))
    options.pairs = [pair for pair in combinations
                     if "%s-%s" % pair in chosen]
    if not os.path.isfile(os.path.join(options.tree, "Makefile")):
        proc.usage("--tree %s: no tree" % options.tree)
    options.tree = os.path.abspath(options.tree)
    for path in (AFL_DRIVER, *("/usr/bin/" + tool for tool in AFL_TOOLS)):
        if not os.path.exists(path):
            proc.usage("%s is missing: of Debian's package afl++" % path)
    return options


def main():
    options = parse()
    proc.catch_signals()
    base = os.path.join(proc.ROOT, FOLDER)
    failed = False
    for wrong in check_files(options.tree):
        print("apb: " + wrong)
        failed = True
    if left := to_fill_in(options.tree):
        print("apb: %s: no service takes it before these are filled in: %s"
              % (OSS_FUZZ, ", ".join(left)))
    try:
        print("%-12s%-12s%-8s%8s%8s" % ("sanitizer", "engine", "result",
                                        "build s", "check s"))
        for sanitizer, engine in options.pairs:
            start = time.monotonic()
            build = Build(sanitizer, engine, options.tree, base)
            built, wrong = check(build)
            if proc.stopping():
                proc.usage("interrupted")
            print("%-12s%-12s%-8s%8.1f%8.1f" % (
                sanitizer, engine, "BAD" if wrong else "ok", built,
                time.monotonic() - start - built), flush=True)
            for text in wrong:
                print("  " + text.replace("\n", "\n  "), flush=True)
            failed |= bool(wrong)
            if not options.keep:
                build.clean()
    except (OSError, subprocess.SubprocessError) as error:
        proc.usage("make contract: %s" % error)
    proc.leave(1 if failed else 0)


if __name__ == "__main__":
    proc.run_main(main)
