# SPDX-License-Identifier: MIT
"""The suites of small C programs: alloc (one thread) and threads."""

import os

import common
from suite import RSS, TIME, Row, Subject, Suite, subjects_of

ALLOC = (
    ("pair", "malloc + free of 64 B"),
    ("pair-sizes", "malloc + free of 16, 32, ... 512 B in turn"),
    ("pair-2nd", "pair, in a process with a second thread that sleeps"),
    ("batch", "1,000 x 48 B, freed in order"),
    ("batch-random", "1,000 x 48 B, freed in random order"),
    ("churn-512", "random churn, 1-512 B, 10,000 live"),
    ("churn-512-1M", "random churn, 1-512 B, 1,000,000 live"),
    ("churn-8K", "random churn, 1-8,192 B, 10,000 live"),
    ("realloc", "64 strings grow by 1-64 B up to 4 KiB; per realloc"),
    ("realloc-big", "arrays grow by a quarter, 64 KiB to 16 MiB; per realloc"),
    ("large", "4 live blocks of 64 KiB to 8 MiB, each page written"),
    ("burst", "10-50 MiB of 16-256 B, all freed, and again"),
)
THREADS = (
    ("xfer", "one thread allocates 64 B, another frees"),
    ("xfer-sizes", "the same, 16-512 B, and the receiver reads each"),
    ("larson-2", "2 threads replace 16-512 B, successors inherit; 1,000 live"),
    ("larson-8", "8 threads"),
    ("tasks", "a thread per task of 2,000 mallocs and frees; per malloc"),
)


class MicroRow(Row):
    """A workload of bench/alloc.c or bench/threads.c; pinned if @cpu is set."""

    def __init__(self, suite, name, text, subjects, quick, cpu):
        super().__init__(suite, name, text, subjects)
        self.args = (["--chunks", "2"] if quick else []) + [name]
        self.cpu = cpu

    def measure(self, subject, last):
        allowed = os.sched_getaffinity(0)
        if self.cpu is not None:
            os.sched_setaffinity(0, {self.cpu})
        try:
            words = common.run_micro(subject.program, self.args,
                                     subject.settings, subject.expect)
        finally:
            os.sched_setaffinity(0, allowed)
        return {TIME: float(words[0]), "time_median": float(words[1])}


def preloaded(allocators, program):
    found = subjects_of(allocators)
    for subject in found:
        subject.program = program
        subject.settings = subject.allocator.settings()
        subject.expect = subject.allocator.library
    return found


def linked(build):
    """apb called by its own names: archive, shared library, without checks."""
    here = os.path.join(build, "bench")
    archive = common.need(os.path.join(here, "alloc-apb-a"), "bench-build")
    program = common.need(os.path.join(here, "alloc-apb-so"), "bench-build")
    library = common.need(os.path.join(build, "libapb.so"), "all")
    found = [
        Subject("apb.a", "form", program=archive, settings={},
                expect=archive),
        Subject("apb.so", "form", program=program, settings={},
                expect=library),
    ]
    # In front of the library that the program is linked to.
    nochecks = common.need(os.path.join(build, "libapb-nochecks.so"),
                           "bench-build")
    found.append(Subject("nochecks", "form", program=program,
                         settings={"LD_PRELOAD": common.plain(nochecks)},
                         expect=nochecks))
    return found


def alloc_suite(args, allocators):
    program = common.need(os.path.join(args.build, "bench", "alloc-peer"),
                          "bench-build")
    cpu = common.choose_cpu(args.cpu)
    everyone = preloaded(allocators, program) + linked(args.build)
    rows = [MicroRow("alloc", name, text, everyone, args.quick, cpu)
            for name, text in ALLOC]
    return Suite(
        "alloc", "one thread", "ns", rows, (TIME,),
        notes=("CPU time of the fastest of several chunks of operations.",
               "apb.a, apb.so: apb_malloc(), linked to the archive, to the "
               "shared library; nochecks: without misuse checks."))


def threads_suite(args, allocators):
    program = common.need(os.path.join(args.build, "bench", "threads-peer"),
                          "bench-build")
    rows = [MicroRow("threads", name, text, preloaded(allocators, program),
                     args.quick, None) for name, text in THREADS]
    return Suite("threads", "several threads", "ns", rows, (TIME,),
                 notes=("Time on the wall clock of the fastest of several "
                        "chunks of operations.",))


class TraceRow(Row):
    """A recorded trace, replayed; @path is made by traces.py."""

    def __init__(self, name, text, subjects, path, steps, cpu):
        super().__init__("traces", name, text, subjects)
        self.args = ["--steps", str(steps), path]
        self.cpu = cpu

    def measure(self, subject, last):
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.cpu})
        try:
            words = common.run_micro(subject.program, self.args,
                                     subject.settings, subject.expect)
        finally:
            os.sched_setaffinity(0, allowed)
        return {TIME: float(words[0]), RSS: float(words[1])}
