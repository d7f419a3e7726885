#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The hand-made seeds of the corpus: one for each boundary in the design.

    seeds.py DIR        write DIR/hand-*, remove those that are no longer made

The same bytes every time.  A seed is a scenario: a function that writes its
operations into a Seed; the lists at the end say which scenarios are run under
which headers.
"""
import os
import sys

sys.dont_write_bytecode = True

import seeds_calls as calls
import seeds_fault
import seeds_layout as layout
import seeds_threads
from encode import (CLASSES, HINTS, MISALIGN, NO_CLOCK, NONZERO, PURGE_ZEROES,
                    REUSE, TIGHT, Seed, class_size)


# ---- long ones ------------------------------------------------------------

class Random:
    """A small generator of our own: the same numbers in every version."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 +
                      1442695040888963407) % (1 << 64)
        return (self.state >> 33) % n


def churn(s, seed, ops, live, pick):
    """Random frees and allocations around a number of live blocks."""
    r = Random(seed)
    while len(s.meaning) < ops:
        if len(s.live) < live and (not s.live or r.below(5) < 3):
            size = pick(r)
            (s.malloc, s.calloc)[r.below(8) == 0](size)
        elif r.below(6) == 0 and s.live:
            s.realloc(s.live[r.below(len(s.live))], pick(r))
        elif s.live:
            s.free(s.live[r.below(len(s.live))])
        if r.below(400) == 0:
            (s.settle, s.trim, s.check)[r.below(3)]()
    s.check()


def small(r):
    return 1 + r.below(512)


def skewed(r):
    return 1 + r.below(1 << (4 + r.below(13)))


def few_classes(r):
    return (24, 56, 120, 504)[r.below(4)]


def waves(s):
    """The live set swells and shrinks, each time of other sizes."""
    r = Random(4)
    for wave in range(24):
        size = 1 + r.below(1 << (5 + wave % 10))
        for _ in range(8):
            s.bulk(8 + r.below(120), min(size, 32768))
        s.bulk_free(min(1024, len(s.live) * 4 // 5), first=r.below(64),
                    stride=1 + r.below(16))
        for _ in range(40):
            s.malloc(skewed(r))
        s.free_each([s.live[i] for i in range(0, len(s.live), 9)][:40])
        if wave % 6 == 5:
            s.check()
    s.free_all()


# ---- which scenario under which header ------------------------------------

def mixture(s):
    """A little of everything, for headers."""
    s.bulk(40, 64)
    s.bulk(20, 3000)
    big = s.malloc(50000)
    s.aligned(1 << 16, 100)
    s.aligned(1 << 21, 5000)
    s.bulk_free(30, stride=2)
    s.calloc(200)
    s.realloc(big, 300000)
    s.settle()
    s.bulk(1024, 500)
    s.bulk(1024, 500)
    s.check()
    s.bulk_free(1024, first=3, stride=3)
    s.calloc(40000)
    s.realloc(big, 40000)
    s.trim()
    s.bulk(30, 30000)
    s.verify()
    s.check()
    s.free_all()
    s.malloc(1)
    s.trim()


PLAIN = {
    "pools-of-many-classes": layout.pools_of_many_classes,
    "drain-from-the-fullest": layout.drain_from_the_fullest,
    "whole-pools-go": layout.whole_pools_go,
    "purge-and-use-again": layout.purge_and_use_again,
    "large-loop": layout.large_loop,
    "time-passes": layout.time_passes,
    "swells": layout.swells,
    "realloc-across-classes": calls.realloc_across_classes,
    "realloc-many": calls.realloc_many,
    "realloc-of-nothing": calls.realloc_of_nothing,
    "large-grow": calls.large_grow,
    "large-edges": calls.large_edges,
    "calloc-after-dirty-free": calls.calloc_after_dirty_free,
    "aligned-realloc": calls.aligned_realloc,
    "aligned-beside-plain": calls.aligned_beside_plain,
    "sized-frees": calls.sized_frees,
    "usable": calls.usable,
    "settle-and-trim-between": calls.settle_and_trim_between,
    "options": calls.options,
    "last-in-first-out": calls.last_in_first_out,
    "reset-at-work": calls.reset_at_work,
    "slots-run-out": calls.slots_run_out,
    "long-small": lambda s: churn(s, 1, 4096, 400, small),
    "long-skewed": lambda s: churn(s, 2, 4096, 300, skewed),
    "long-few-classes": lambda s: churn(s, 3, 6000, 1500, few_classes),
    "long-waves": waves,
}

FLAG_NAMES = {HINTS: "hints", MISALIGN: "misalign", REUSE: "reuse",
              NONZERO: "nonzero", TIGHT: "tight"}


def with_sizes(seeds):
    """Scenarios that take a size, a class or a number."""
    for cls in range(1, CLASSES + 1):
        seeds[f"class-{class_size(cls):05}"] = ({}, layout.one_class, (cls,))
    for size in (16, 512, 1024, 8192, 32768):
        seeds[f"pool-states-{size:05}"] = ({}, layout.pool_states, (size,))
    for size in (512, 1024, 8192, 32768):
        seeds[f"two-arenas-{size:05}"] = ({}, layout.two_arenas, (size,))
        seeds[f"spare-thrash-{size:05}"] = ({}, layout.spare_thrash, (size,))
    for n in (2, 17):
        seeds[f"free-every-{n}"] = ({}, layout.every_nth, (n, False))
        seeds[f"free-all-but-every-{n}"] = ({}, layout.every_nth, (n, True))
    seeds["aligned-powers"] = ({}, calls.aligned_powers, ("free",))
    seeds["aligned-powers-sized"] = ({}, calls.aligned_powers,
                                     ("free_aligned_sized",))
    for size in (16, 480, 2000):
        seeds[f"bulk-strides-{size}"] = ({}, calls.bulk_strides, (size,))


def with_headers(seeds):
    """The simulated kernel's flags, and the other bits of the header."""
    for flags in range(32):
        name = "-".join(n for f, n in FLAG_NAMES.items() if flags & f)
        seeds[f"kernel-{name or 'plain'}"] = (
            {"flags": flags, "seed": flags}, mixture, ())
    for name in ("large-grow", "aligned-powers", "calloc-after-dirty-free",
                 "purge-and-use-again", "spare-thrash-08192"):
        scenario, args = seeds[name][1:]
        for flags in (HINTS, MISALIGN, REUSE | NONZERO):
            kernel = "-".join(n for f, n in FLAG_NAMES.items() if flags & f)
            seeds[f"{name}-{kernel}"] = ({"flags": flags, "seed": 7},
                                         scenario, args)
    for name in ("large-loop", "time-passes", "swells", "purge-and-use-again",
                 "calloc-after-dirty-free"):
        scenario, args = seeds[name][1:]
        for flags, kernel in ((NO_CLOCK, "no-clock"),
                              (PURGE_ZEROES, "purge-zeroes"),
                              (TIGHT | PURGE_ZEROES, "purge-zeroes-tight")):
            # with 8 MiB only, where no allocation needs more
            if not flags & TIGHT or name == "large-loop":
                seeds[f"{name}-{kernel}"] = ({"flags": flags, "seed": 9},
                                             scenario, args)
    for name in ("realloc-across-classes", "large-grow", "aligned-realloc",
                 "sized-frees", "settle-and-trim-between", "class-00016",
                 "class-00512", "class-32768", "reset-at-work"):
        scenario, args = seeds[name][1:]
        seeds[f"{name}-check-often"] = ({"check_often": True}, scenario, args)
    for name in ("two-arenas-01024", "free-every-2", "pool-states-00512",
                 "drain-from-the-fullest", "long-small", "long-skewed",
                 "bulk-strides-480", "last-in-first-out"):
        scenario, args = seeds[name][1:]
        seeds[f"{name}-period-4"] = ({"small_period": True}, scenario, args)
        seeds[f"{name}-purge-at-once"] = (
            {"small_period": True, "no_dirty": True}, scenario, args)
    for name in ("class-00048", "pool-states-00512", "realloc-across-classes",
                 "calloc-after-dirty-free", "aligned-realloc", "large-loop",
                 "long-skewed"):
        scenario, args = seeds[name][1:]
        seeds[f"{name}-junk"] = ({"junk": True}, scenario, args)
    for name in ("two-arenas-00512", "spare-thrash-32768", "large-grow",
                 "realloc-across-classes", "aligned-powers",
                 "calloc-after-dirty-free", "purge-and-use-again",
                 "settle-and-trim-between", "long-small", "long-skewed"):
        scenario, args = seeds[name][1:]
        seeds[f"{name}-real-kernel"] = ({"real": True}, scenario, args)


def all_seeds():
    """name -> Seed."""
    seeds = {name: ({}, scenario, ()) for name, scenario in PLAIN.items()}
    with_sizes(seeds)
    with_headers(seeds)
    seeds_fault.add(seeds)
    seeds_threads.add(seeds)
    made = {}
    for name, (header, scenario, args) in seeds.items():
        seed = Seed(**header)
        scenario(seed, *args)
        made["hand-" + name] = seed
    return made


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        print("usage: seeds.py DIR (an existing directory)", file=sys.stderr)
        return 2
    where = sys.argv[1]
    seeds = all_seeds()
    for name in os.listdir(where):
        if name.startswith("hand-") and name not in seeds:
            os.remove(os.path.join(where, name))
    for name, seed in seeds.items():
        path = os.path.join(where, name)
        with open(path + ".new", "wb") as f:
            f.write(seed.data)
        os.replace(path + ".new", path)
    print(f"{len(seeds)} hand-made seeds, "
          f"{sum(len(s.data) for s in seeds.values()) >> 10} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
