# SPDX-License-Identifier: MIT
"""Pruning: libFuzzer's merge keeps the smallest inputs that reach what all of
them reach, and measuring what that is.

One merge for each way of looking at an input (release flags, sanitizers, the
real kernel), into the same folder, so that what counts for any is kept.  A
merge that was disturbed is given up as a whole: libFuzzer leaves out the input
it was at when it was killed.
"""

import os
import re
import shutil

import durable
import engines
import proc
import slots

MERGE_SECONDS = 1800
MEASURE_SECONDS = 300
RELEASE = "fuzz/apb-fuzz-release"
VIEWS = ((RELEASE, {}), ("fuzz/apb-fuzz-asan", {}),
         (RELEASE, {"APB_FUZZ_REAL": "1"}))
MAX_LEN = "-max_len=1048576"


class Disturbed(Exception):
    """The merge did not come to a good end; why."""


def failing_inputs(folder, output):
    """[(file, reason)] of the inputs that failed in a run with this output."""
    reasons, reason = {}, ""
    for line in output.splitlines():
        if match := engines.LibFuzzer.WRITTEN.search(line):
            reasons[os.path.basename(match[1])], reason = reason, ""
        else:
            reason = reason or engines.reason(line)
    return [(os.path.join(folder, name), reasons.get(name, ""))
            for name in durable.names(folder)
            if not name.startswith("slow-unit-")]


def sift(store, build):
    """[(file, reason)] of all inputs that fail, release flags.  One by one they
    would each end a worker that reads them."""
    if not os.path.exists(os.path.join(build, RELEASE)):
        return []
    root, build = proc.plain(store.root), proc.plain(build)
    base = os.path.join(root, "work", "sift")
    artifacts, kept = (os.path.join(base, name)
                       for name in ("artifacts", "kept"))
    for folder in (artifacts, kept):
        os.makedirs(folder)
    _status, output = slots.run_marked(
        store, [os.path.join(build, RELEASE), "-merge=1", MAX_LEN,
                "-timeout=25", "-artifact_prefix=%s/" % artifacts, kept,
                os.path.join(root, "seeds"), os.path.join(root, "corpus")],
        MERGE_SECONDS)
    return failing_inputs(artifacts, output)


def merge(store, build):
    """(inputs to keep, or None; [(file, reason)] of inputs that fail instead)
    """
    root, build = proc.plain(store.root), proc.plain(build)
    base = os.path.join(root, "work", "merge")
    shutil.rmtree(base, ignore_errors=True)
    kept, artifacts = (os.path.join(base, name)
                       for name in ("kept", "artifacts"))
    os.makedirs(artifacts)
    shutil.copytree(store.path("seeds"), kept)
    for target, env in VIEWS:
        if not os.path.exists(os.path.join(build, target)):
            continue
        status, output = slots.run_marked(
            store, [os.path.join(build, target), "-merge=1", MAX_LEN,
                    "-timeout=25", "-detect_leaks=0",
                    "-artifact_prefix=%s/" % artifacts, kept,
                    os.path.join(root, "corpus")], MERGE_SECONDS, **env)
        if failing := failing_inputs(artifacts, output):
            return None, failing
        if status != 0 or not re.search(
                r"^MERGE-OUTER: successful in 1 attempt", output, re.M):
            raise Disturbed("%s: status %s" % (target, status))
    return set(durable.names(kept)) & store.inputs, []


def shrink(store, kept, limit):
    """The smallest of the inputs, as many as the limit allows."""
    size = {key: os.path.getsize(os.path.join(store.corpus(), key))
            for key in kept}
    total, small = 0, set()
    for key in sorted(kept, key=size.get):
        total += size[key]
        if total > limit:
            break
        small.add(key)
    return small


def measure(store, build, folder):
    """(edges, of how many, states) that the inputs reach, or None: with release
    flags, as `make fuzz` counts them."""
    features = os.path.join(folder, "features")
    if os.path.exists(features):
        os.unlink(features)
    status, output = slots.run_marked(
        store, [os.path.join(build, RELEASE), "-runs=0", MAX_LEN,
                "-artifact_prefix=%s/" % folder, store.path("seeds"),
                store.corpus()],
        MEASURE_SECONDS, APB_FEATURES_OUT=features)
    if status != 0:
        return None
    edges = total = 0
    for line in output.splitlines():
        if match := engines.LibFuzzer.STATUS.match(line):
            edges = int(match[2] or edges)
        elif match := engines.LibFuzzer.TOTAL.match(line):
            total = int(match[1])
    return edges, total, int(durable.read(features))
