# SPDX-License-Identifier: MIT
"""The suite frag: memory given back after nearly all of it was freed.

bench/frag.c for C, scripts/python/kept.py for Python.  One run each; what is measured
hardly varies.
"""

import os

import common
import inputs
from programs import (PYTHON, ProgramRow, launch_command, launched,
                      python_forms)
from suite import Row, Suite, subjects_of

MIB = 2.0**20


class FragRow(Row):
    """@order: how bench/frag.c frees."""

    columns = ("wanted", "full", "freed", "1 s later", "trimmed")

    def __init__(self, args, subjects, order):
        super().__init__("frag", "frag-" + order, "2,000,000 blocks of 16-128 "
                         "B, all but a random 0.1 %% freed, %s"
                         % ("in order" if order == "in-order" else
                            "in random order"), subjects)
        self.program = common.need(
            os.path.join(args.build, "bench", "frag-peer"), "bench-build")
        self.folder = os.path.join(os.path.abspath(args.build), "bench", "rss")
        self.order = order
        self.how = {}

    def measure(self, subject, last):
        if any(name == subject.name for name, _ in self.values):
            return {}
        os.makedirs(self.folder, exist_ok=True)
        allocator = subject.allocator
        words = common.run_micro(
            self.program,
            [self.order, os.path.join(self.folder, "%s.%s"
                                      % (self.name, subject.name))],
            allocator.settings(), allocator.library)
        self.how[subject.name] = words.pop()
        return dict(zip(self.columns, map(float, words)))


class KeepRow(ProgramRow):
    """scripts/python/kept.py, which prints what stayed."""

    columns = ("full", "freed", "1 s later")

    def __init__(self, args, subjects):
        super().__init__("frag", "py-kept", "python3: 500,000 small objects, "
                         "0.05 % kept", subjects, args,
                         [PYTHON, "-S", inputs.script("python/kept.py")],
                         {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"})

    def measure(self, subject, last):
        if any(name == subject.name for name, _ in self.values):
            return {}
        out = os.path.join(self.scratch, "output")
        launched(common.run(launch_command(
            self.build, self.settings_of(subject), self.command_of(subject),
            self.sample_path(subject), out=out), common.environment()))
        words = common.read(out).split()
        if len(words) != 3:
            raise common.Failed("kept.py did not print what it should")
        return dict(zip(self.columns, map(float, words)))


def frag_suite(args, allocators):
    everyone = subjects_of(allocators)
    rows = [FragRow(args, everyone, "in-order"),
            FragRow(args, everyone, "random"),
            KeepRow(args, everyone + python_forms(args))]
    return Suite("frag", "memory given back", "MiB", rows, ())


def report(suite):
    """Its tables: an allocator a line."""
    print("resident MiB above that at the start; nothing asks for memory to "
          "be given back before the last column.")
    for row in suite.rows:
        lines = []
        for subject in row.subjects:
            line = [subject.name]
            for column in row.columns:
                value = row.get(subject.name, column)
                line.append("-" if value is None else "%.1f" % (value / MIB))
            if isinstance(row, FragRow):
                line.append(row.how.get(subject.name, "-"))
            lines.append(line)
        print("\n%s" % row.text)
        common.table([row.name, *row.columns] +
                     (["by"] if isinstance(row, FragRow) else []), lines)
        own, other = (row.get(name, row.columns[-1])
                      for name in ("apb-python3", "pymalloc.a"))
        if own and other:
            print("apb-python3 gives back %.0f %% of what pymalloc keeps"
                  % (100 * (1 - own / other)))
