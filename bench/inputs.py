# SPDX-License-Identifier: MIT
"""What the measured programs work on, made in a scratch folder, always the
same: a text, a git repository, sources to compile."""

import os
import random
import string
import subprocess

import common

SCRIPTS = os.path.join(common.HERE, "scripts")


def script(name):
    return os.path.join(SCRIPTS, name)


def text(path, lines):
    """Random words; the few frequent, the many rare, as in any text."""
    rng = random.Random(1)
    words = ["".join(rng.choices(string.ascii_lowercase,
                                 k=rng.randrange(2, 12)))
             for _ in range(20000)]
    with open(path, "w", encoding="ascii") as stream:
        for _ in range(lines):
            stream.write(" ".join(words[int(len(words) * rng.random() ** 2)]
                                  for _ in range(10)) + "\n")
    return path


def _commit(number, files, rng):
    """One commit of a fast-import stream; changes @files, path: lines."""
    message = "change %d" % number
    yield "commit refs/heads/main\n"
    yield "committer A U Thor <author@example.org> %d +0000\n" % (
        1600000000 + number * 3600)
    yield "data %d\n%s\n" % (len(message), message)
    paths = rng.sample(sorted(files), 6) if number else sorted(files)
    for path in paths:
        lines = files[path]
        if number:
            for _ in range(5):
                lines[rng.randrange(len(lines))] = "\tchange(%d, %d);" % (
                    number, rng.randrange(10**6))
            lines.insert(rng.randrange(len(lines)), "\tadded(%d);" % number)
        data = "\n".join(lines) + "\n"
        yield "M 100644 inline %s\ndata %d\n%s\n" % (path, len(data), data)


def repository(path, commits):
    """A git repository of 150 files and @commits commits."""
    rng = random.Random(1)
    files = {"dir%d/file%d.c" % (number % 12, number):
             ["\tcall(%d);" % rng.randrange(10**6)
              for _ in range(rng.randrange(40, 300))]
             for number in range(150)}
    env = common.environment({"GIT_CONFIG_GLOBAL": "/dev/null",
                              "GIT_CONFIG_SYSTEM": "/dev/null"})
    try:
        common.run(["git", "init", "-q", "-b", "main", path], env)
        stream = "".join(part for number in range(commits)
                         for part in _commit(number, files, rng))
        subprocess.run(["git", "-C", path, "fast-import", "--quiet"],
                       input=stream.encode("ascii"), env=env, check=True,
                       capture_output=True)
        common.run(["git", "-C", path, "reset", "-q", "--hard"], env)
        # what fast-import packed costs the first repack less than later ones
        common.run(["git", "-C", path, "repack", "-adfq"], env)
    except (common.Failed, subprocess.CalledProcessError) as err:
        common.fail("no git repository: %s" % err)
    return path


def sources(number):
    """The largest C files of the harness, and the flags to compile them."""
    folder = os.path.join(common.ROOT, "fuzz")
    files = [os.path.join(folder, name) for name in os.listdir(folder)
             if name.endswith(".c") and not name.startswith("target_")]
    files.sort(key=lambda path: (-os.path.getsize(path), path))
    flags = ["-std=gnu11", "-O2", "-w"] + [
        "-I" + os.path.join(common.ROOT, part)
        for part in ("alloc/include", "alloc", "fuzz")]
    return flags, files[:number]
