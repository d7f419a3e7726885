# SPDX-License-Identifier: MIT
"""Planting: patched copies of alloc/, and the programs built from them.

A patch opens with comment lines.  "# Layer: ..." says what part of the
allocator it is about; "# Target: shim" that the targets with the shim's malloc
family have to find it; "# Target: PROGRAM OPTION ..." that a program of its own
has to.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

import engines
import proc

PATCHES = "fuzz/bugs"
OUT = "build/bugs"
NONE = "none"
NONE_THREADS = "none-threads"
CONTROLS = (NONE, NONE_THREADS)
THREADS = "apb-threads"
FUZZERS = {"libfuzzer": "apb-fuzz-asan", "afl": "apb-fuzz-afl"}
SHIM = ["shim"]
SHIM_FUZZERS = {"libfuzzer": "apb-fuzz-shim-asan", "afl": "apb-fuzz-shim-afl"}
LAYERS = ("classes", "pools", "bins", "arenas", "map", "large", "realloc",
          "calloc", "alignment", "statistics", "OS failure", "purge", "misuse",
          "threads", "fork", "shim")


def path(*parts):
    return os.path.join(proc.ROOT, *parts)


def say(text):
    print(text, flush=True)


def content(name):
    with open(name, "rb") as file:
        return file.read()


# ---- what there is ----------------------------------------------------------


def by_number(name):
    """The key that patches are sorted by: their numbers."""
    number = re.match(r"\d+", name)
    return int(number[0]) if number else 0, name


def patches():
    """Their names, NN-name, in this order, and the file of each."""
    return {name[:-len(".patch")]: os.path.join(PATCHES, name)
            for name in sorted(os.listdir(path(PATCHES)), key=by_number)
            if name.endswith(".patch")}


def header(name, key):
    """What a patch says of itself behind "# Key: ", or ""."""
    if name in CONTROLS:
        return THREADS + " --forks 8" if (name, key) == \
            (NONE_THREADS, "Target") else ""
    comments = content(path(patches()[name])).decode().partition("\n--- ")[0]
    found = re.search(r"^# %s: (.*)" % key, comments, re.M)
    return found[1] if found else ""


def layer(name):
    return header(name, "Layer")


def target(name):
    """What has to find it instead of the fuzzing targets, or []."""
    return header(name, "Target").split()


def programs(name, wanted):
    """By engine: the command that has to find it, of the engines wanted."""
    own = target(name)
    if own and own != SHIM:
        return {"threads": own} if "threads" in wanted else {}
    return {engine: [program] for engine, program in
            (SHIM_FUZZERS if own else FUZZERS).items()
            if engine in wanted}


def tree(folder):
    """Every file below a folder, by its relative path."""
    return {os.path.relpath(os.path.join(base, name), folder)
            for base, _dirs, names in os.walk(folder) for name in names}


def fingerprint(seeds):
    """Of what a result depends on beside the patch: sources and inputs."""
    sum_ = hashlib.sha1()
    sources = [os.path.join("alloc", name) for name in tree(path("alloc"))
               if not name.startswith(("tests", "python"))]
    sources += [os.path.join("fuzz", name) for name in os.listdir(path("fuzz"))]
    for name in sorted(sources):
        if name.endswith((".c", ".h")):
            sum_.update(name.encode() + content(path(name)))
    for name in engines.files(*seeds):
        sum_.update(name.encode() + content(path(name)))
    return sum_.hexdigest()[:12]


def digest(name):
    """Of a bug: its change, whatever the comments say."""
    if name in CONTROLS:
        return name
    diff = content(path(patches()[name])).partition(b"\n--- ")[2]
    return hashlib.sha1(diff + header(name, "Target").encode()).hexdigest()[:12]


# ---- planting ---------------------------------------------------------------


def sync(source, folder):
    """Make @folder's sources those of @source; keep what has not changed, so
    that it is not compiled again."""
    new = tree(source)
    for name in tree(folder) - new:
        if name.endswith((".c", ".h")):
            os.unlink(os.path.join(folder, name))
    for name in new:
        old = os.path.join(folder, name)
        if os.path.exists(old) and \
                content(old) == content(os.path.join(source, name)):
            continue
        os.makedirs(os.path.dirname(old), exist_ok=True)
        shutil.copyfile(os.path.join(source, name), old)


def plant(name, built):
    """A copy of alloc/ with the patch; returns the sources to compile."""
    if proc.stopping():
        proc.leave(1)
    scratch = path(OUT, "new")
    shutil.rmtree(scratch, ignore_errors=True)
    unused = ["tests", "python", ".*", "*.mk"]
    if target(name) != SHIM:
        unused.append("shim")
    shutil.copytree(path("alloc"), os.path.join(scratch, "alloc"),
                    ignore=shutil.ignore_patterns(*unused))
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
    note_sources(name, sources, built)
    return sources


def note_sources(name, sources, built):
    """make cannot see that a target is to be linked from other objects."""
    note = path(OUT, name, "sources")
    text = " ".join(sources).encode()
    known = os.path.exists(note) and content(note) == text
    for program in built:
        if not known and os.path.exists(path(OUT, name, program)):
            os.unlink(path(OUT, name, program))
    with open(note, "wb") as file:
        file.write(text)


def clean():
    """Drop what is left of patches that are no more."""
    known = {*CONTROLS, *patches()}
    for name in os.listdir(path(OUT)):
        if name not in known and os.path.exists(path(OUT, name, "sources")):
            shutil.rmtree(path(OUT, name))


def build(wanted):
    """The programs wanted: {name: [program, ...]}."""
    changed = {name: plant(name, sorted({*FUZZERS.values(), *SHIM_FUZZERS.values(),
                                 THREADS, *built}))
               for name, built in wanted.items()}
    say("building %d allocators, %d objects"
        % (len(wanted), sum(len(wanted[name]) * len(sources)
                            for name, sources in changed.items())))
    status, output = proc.make("bug-targets", variables=[
        "BUGS=" + " ".join(wanted),
        "BUG_TARGETS=" + " ".join(
            "%s/%s/%s" % (OUT, name, program)
            for name, built in wanted.items() for program in built),
        *("%s.changed=%s" % (name, " ".join(sources))
          for name, sources in changed.items())])
    if proc.stopping():
        proc.leave(1)
    if status != 0:
        errors = [line for line in output.splitlines()
                  if not re.match("  [A-Z]+ ", line)]
        print("\n".join(errors[:40]), file=sys.stderr)
        proc.usage("the build failed")
