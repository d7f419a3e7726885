#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make corpus`: merge what fuzzing found into corpus/seeds/fuzz-*.

Kept is the smallest set, found greedily from the smallest input up, that
reaches each edge and each state that the seeds made by hand, the recorded
ones and the regressions do not.  An input that fails is refused: it is a
finding, and belongs into corpus/regressions once its cause is mended.
"""

import os
import re
import shutil

import engines
import proc

MERGED = "build/fuzz/merged"
PREFIX = "fuzz-"
MERGE_SECONDS = 1800


def is_fuzzed(path):
    return os.path.basename(path).startswith(PREFIX)


def merge(given, candidates):
    """The candidates that add something to the inputs given."""
    shutil.rmtree(os.path.join(proc.ROOT, MERGED), ignore_errors=True)
    folders = [MERGED + "/" + name for name in ("kept", "candidates")]
    for folder, paths in zip(folders, (given, candidates)):
        os.makedirs(os.path.join(proc.ROOT, folder))
        for path in paths:
            engines.copy(path, folder, engines.digest(path))
    before = {engines.digest(path) for path in given}
    status, output = proc.run(
        ["build/fuzz/apb-fuzz-release", "-merge=1", "-max_len=1048576",
         "-artifact_prefix=%s/" % engines.FINDINGS, *folders],
        timeout=MERGE_SECONDS)
    if status != 0:
        print("\n".join(output.splitlines()[-20:]))
        proc.usage("merging failed, status %s" % status)
    summary = re.findall(r"MERGE-OUTER: (\d+ new files.*)", output)
    if summary:
        print("apb: merge: " + summary[-1])
    return [path for path in engines.files(folders[0])
            if os.path.basename(path) not in before]


def sound(path):
    """Whether it passes; what does not is set aside."""
    if proc.run(["build/test/apb-replay", path], timeout=60)[0] == 0:
        return True
    kept = engines.copy(path, engines.FINDINGS,
                        "corpus-" + os.path.basename(path))
    print("apb: refused, it fails: " + kept)
    return False


def main():
    proc.catch_signals()
    if proc.make("fuzz-targets", show=True)[0] != 0:
        proc.usage("the build failed")
    engines.prepare("libfuzzer")
    engines.Harvest().poll()
    committed = engines.files(*engines.SEEDS)
    old = [path for path in committed if is_fuzzed(path)]
    given = [path for path in committed if not is_fuzzed(path)]
    chosen = merge(given, old + engines.files(engines.CORPUS))
    passed = [path for path in chosen if sound(path)]
    if proc.stopping():
        proc.leave(2)
    known = {engines.digest(path) for path in old}
    for path in old:
        engines.unlink(path)
    for path in passed:
        engines.copy(path, engines.SEEDS[0],
                     PREFIX + os.path.basename(path)[:16])
    size = sum(os.path.getsize(os.path.join(proc.ROOT, path))
               for path in engines.files(*engines.SEEDS))
    print("apb: corpus/seeds/%s*: %d inputs, %d of them new, %d dropped; the "
          "whole corpus: %d KiB" % (
              PREFIX, len(passed),
              sum(os.path.basename(path) not in known for path in passed),
              len(known - {os.path.basename(path) for path in passed}),
              size // 1024))
    proc.leave(0 if passed == chosen else 1)


if __name__ == "__main__":
    proc.run_main(main)
