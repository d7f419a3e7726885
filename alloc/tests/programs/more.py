# SPDX-License-Identifier: MIT
"""The cases of `make test-programs` that are commands: they need packages of
their own, or more time."""

import glob
import os

from basics import HERE, PYTHON, PYTHON_SCRIPTS
from box import ROOT, expect

GIT = {
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "C", "GIT_COMMITTER_EMAIL": "c@example.org",
    "GIT_AUTHOR_DATE": "1000000000 +0000",
    "GIT_COMMITTER_DATE": "1000000000 +0000", "GIT_CONFIG_NOSYSTEM": "1",
}


def git(box):
    """A history with branches and merges, looked at, packed and copied."""
    def run(*args, **more):
        return box.run("git", "-C", "repo", *args, **GIT, **more)
    box.run("git", "init", "-q", "-b", "main", "repo", **GIT)
    run("config", "pack.threads", "2")
    run("config", "gc.auto", "0")
    for i in range(30):
        for j in range(8):
            lines = ["%d %d\n" % (k, (k * j) % (i + 3)) for k in range(300)]
            if (i + j) % 3:
                box.write("repo/d%d/f%d" % (j % 3, j), "".join(lines))
        run("add", "-A")
        run("commit", "-q", "--allow-empty", "-m", "change %d" % i)
        if i == 10:
            run("branch", "side")
    run("checkout", "-q", "side")
    box.write("repo/side", "text\n" * 100)
    run("add", "-A")
    run("commit", "-q", "-m", "on the side")
    run("checkout", "-q", "main")
    run("merge", "-q", "--no-edit", "side")
    run("log", "--stat", "-p", "-M", "--graph")
    run("blame", "d1/f1")
    run("grep", "-n", "--threads=2", "99 0")
    run("diff", "HEAD~20", "HEAD")
    run("gc", "-q", "--aggressive", "--prune=now")
    run("fsck", "--full", "--strict")
    run("repack", "-q", "-a", "-d", "-f", "--depth=20", "--window=20")
    run("verify-pack", "-s", *(os.path.relpath(path, box.path("repo"))
                               for path in glob.glob(box.path(
                                   "repo/.git/objects/pack/*.idx"))),
        strip=lambda text: len(text.splitlines()))
    run("bundle", "create", "-q", "../bundle", "--all")
    box.run("git", "clone", "-q", "bundle", "copy", **GIT)
    box.run("git", "-C", "copy", "rebase", "-q", "--root", **GIT)
    box.run("git", "-C", "copy", "rev-parse", "HEAD", "HEAD^{tree}", **GIT)
    run("archive", "--format=tar.gz", "-o", "../out.tar.gz", "HEAD")
    box.same_file("out.tar.gz")


def sqlite(box):
    with open(os.path.join(HERE, "scripts", "sqlite.sql"),
              encoding="utf-8") as file:
        text = file.read()
    box.run("sqlite3", "-batch", ":memory:", text=text)
    box.run("sqlite3", "-batch", "file.db", text=text)
    box.run("sqlite3", "file.db", ".dump", "pragma integrity_check")


def perl_modules(box):
    """The modules of the perl package, several in XS."""
    box.run("perl", os.path.join(HERE, "scripts", "modules.pl"))


def lua(box):
    box.run("lua5.4", os.path.join(HERE, "scripts", "lua.lua"))


def python_more(box):
    for name in ("records", "objects"):
        box.run(PYTHON, os.path.join(PYTHON_SCRIPTS, name + ".py"))


def apt_lists(box):
    """The solver over everything that could be installed."""
    options = ("-o", "Dir::Cache::pkgcache=", "-o", "Debug::NoLocking=1",
               "-o", "Dir::Cache::srcpkgcache=")
    box.run("apt-get", *options, "-s", "install", "build-essential",
            "libpython3.11-dev")
    box.run("apt-cache", *options, "search", "allocator")


def build(box):
    """This project, built by make with gcc and clang: the same libraries."""
    for compiler in ("gcc", "clang-19"):
        out = box.path("out-" + compiler)
        box.run("make", "-j2", "CC=" + compiler, "O=" + out, "all",
                cwd=ROOT, strip=lambda text: sorted(text.splitlines()))
        made = sorted(glob.glob(out + "/**/*.o", recursive=True))
        made += sorted(glob.glob(out + "/*.so"))
        expect(len(made) > 20, "make built %d files" % len(made))
        for path in made:
            box.same_file(os.path.relpath(path, box.folder))


CASES = (git, sqlite, perl_modules, lua, python_more, apt_lists, build)
