# SPDX-License-Identifier: MIT
"""Rows, subjects, and the loop that measures them interleaved.

A suite has rows; a row has subjects, each an allocator in one form; measuring
a row with a subject gives {metric: value}.  In every round every row is
measured with all of its subjects in turn, another one first each time.
"""

import sys
import time

import common

TIME, WALL, RSS = "time", "wall", "rss"


class Subject:
    """@role: "apb" (the one compared), "peer", or "form" (shown beside)."""

    def __init__(self, name, role, **how):
        self.name = name
        self.role = role
        self.__dict__.update(how)


def subjects_of(allocators):
    return [Subject(a.name, "apb" if a.own else "peer", allocator=a)
            for a in allocators]


class Row:
    """One workload.  Subclasses have measure(subject, last) -> {metric: value},
    @last in the last round, when memory over time is sampled too."""

    def __init__(self, suite, name, text, subjects):
        self.suite = suite
        self.name = name
        self.text = text
        self.subjects = subjects
        self.values = {}  # (subject's name, metric): a value of each round
        self.failed = {}  # subject's name: why

    def add(self, subject, values):
        for metric, value in values.items():
            self.values.setdefault((subject.name, metric), []).append(value)

    def get(self, name, metric, pick=common.median):
        """None: not measured."""
        values = self.values.get((name, metric))
        return pick(values) if values and name not in self.failed else None

    def best_peer(self, metric, pick=common.median):
        """(value, name)"""
        found = [(self.get(s.name, metric, pick), s.name)
                 for s in self.subjects if s.role == "peer"]
        found = [pair for pair in found if pair[0] is not None]
        return min(found) if found else None


class Suite:
    """@unit, @digits: of the times; @metrics: what has a table; @reference:
    what forms are compared with, if not the best peer."""

    def __init__(self, name, title, unit, rows, metrics, digits=2, notes=(),
                 reference=None):
        self.name = name
        self.title = title
        self.unit = unit
        self.rows = rows
        self.metrics = metrics
        self.digits = digits
        self.notes = notes
        self.reference = reference


class Progress:
    """A line on the terminal; into a file, a line now and then."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.begin = time.monotonic()
        self.said = self.begin

    def step(self, text):
        now = time.monotonic()
        left = ""
        if self.done:
            rest = (now - self.begin) / self.done * (self.total - self.done)
            left = ", %d:%02d left" % (rest // 60, rest % 60)
        line = "apb bench: %d/%d %s%s" % (self.done + 1, self.total, text,
                                          left)
        if sys.stderr.isatty():
            print("\r\033[K" + line, end="", file=sys.stderr, flush=True)
        elif now - self.said > 30 or not self.done:
            self.said = now
            print(line, file=sys.stderr, flush=True)
        self.done += 1

    def end(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def measure(suites, rounds):
    rows = [row for suite in suites for row in suite.rows]
    progress = Progress(rounds * sum(len(row.subjects) for row in rows))
    for number in range(rounds):
        for row in rows:
            first = number % len(row.subjects)
            for subject in row.subjects[first:] + row.subjects[:first]:
                progress.step("round %d %s %s %s" % (
                    number + 1, row.suite, row.name, subject.name))
                if subject.name in row.failed:
                    continue
                try:
                    row.add(subject, row.measure(subject,
                                                 number == rounds - 1))
                except common.Failed as err:
                    row.failed[subject.name] = str(err)
    progress.end()
