# SPDX-License-Identifier: MIT
"""What the runs came to: a file of results, one line each, so that a campaign
goes on where it was ended; and the tables made of them.

A result counts for the sources, the corpus and the patch that it was made with
only.  A run that found nothing is made again if it would be given more time.
"""

import json
import math
import os
import re

import plant
import proc
import runs

FILE = "build/bugs/results.jsonl"
README = "fuzz/bugs/README.md"
BEGIN, END = "<!-- table: bugs.py --table -->", "<!-- end of table -->"
COLUMNS = (("libfuzzer", runs.COMMITTED), ("afl", runs.COMMITTED),
           ("libfuzzer", runs.EMPTY), ("afl", runs.EMPTY))
ENGINE_NAMES = {"libfuzzer": "libFuzzer", "afl": "AFL++",
                "threads": "apb-threads"}
AFL_SHARE = 0.8  # of the seeds: four of five


class Results:
    """All that is known of these sources; adding writes it down."""

    def __init__(self, trees):
        """@trees: the fingerprint of the sources, by corpus."""
        self.trees = trees
        self.known = {}
        try:
            with open(plant.path(FILE), encoding="utf-8") as file:
                lines = file.read().split("\n")
        except FileNotFoundError:
            lines = []
        for line in lines:
            self.take(line)

    def take(self, line):
        """A line, unless it is of other sources or was not written whole."""
        try:
            result = json.loads(line)
            if result["tree"] == self.trees[result["corpus"]] and \
                    result["patch"] == plant.digest(result["bug"]):
                self.known[self.key(result)] = result
        except (ValueError, KeyError, TypeError):
            pass

    @staticmethod
    def key(result):
        return tuple(result[k] for k in ("bug", "engine", "corpus", "seed"))

    def get(self, bug, engine, corpus, seed, limit):
        """The result, if that run need not be made."""
        result = self.known.get((bug, engine, corpus, seed))
        if result and (result["found"] or (
                result["limit"] >= limit and not result["broken"])):
            return result
        return None

    def add(self, result):
        result["tree"] = self.trees[result["corpus"]]
        result["patch"] = plant.digest(result["bug"])
        self.known[self.key(result)] = result
        os.makedirs(os.path.dirname(plant.path(FILE)), exist_ok=True)
        with open(plant.path(FILE), "ab") as file:
            # behind a line that was cut short it begins with a new one
            file.write(b"\n" + json.dumps(result).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def of(self, bug, engine, corpus):
        return [r for _key, r in sorted(self.known.items())
                if (r["bug"], r["engine"], r["corpus"]) ==
                (bug, engine, corpus)]


# ---- figures ----------------------------------------------------------------


def times(results):
    """Sorted; what was not found took for ever."""
    return sorted(r["seconds"] if r["found"] else math.inf for r in results)


def quantile(values, share):
    """The least value that so many are not above."""
    return values[max(0, math.ceil(share * len(values)) - 1)]


def in_words(seconds):
    return "not found" if seconds == math.inf else "%.1f" % seconds


def enough(engine, results):
    """Whether an engine has found a bug often enough."""
    found = sum(bool(r["found"]) for r in results)
    share = AFL_SHARE if engine == "afl" else 1
    return bool(results) and found >= share * len(results)


def summary(known, engine, corpus, names):
    """One line for an engine, or nothing if it has not run."""
    by_bug = [known.of(name, engine, corpus) for name in names]
    by_bug = [results for results in by_bug if results]
    if not by_bug:
        return ""
    all_times = times([r for results in by_bug for r in results])
    runs_found = sum(t < math.inf for t in all_times)
    return ("%s%s: %d of %d bugs found%s; %d of %d runs; median %s s, 90th "
            "percentile %s s" % (
                ENGINE_NAMES[engine],
                ", from nothing" if corpus == runs.EMPTY else "",
                sum(enough(engine, results) for results in by_bug),
                len(by_bug),
                " in four of five seeds" if engine == "afl" else
                " in all seeds",
                runs_found, len(all_times), in_words(quantile(all_times, .5)),
                in_words(quantile(all_times, .9))))


# ---- the table --------------------------------------------------------------


def cell(engine, results):
    if not results:
        return "|"
    sorted_times = times(results)
    found = sum(t < math.inf for t in sorted_times)
    return "| %d/%d | %s | %s " % (
        found, len(results), in_words(quantile(sorted_times, .5)),
        in_words(sorted_times[-1]))


def oracle(results):
    """What most runs say."""
    names = [r["found"] for r in results if r["found"]]
    return max(sorted(set(names)), key=names.count) if names else ""


def bug_rows(known, names, columns):
    for name in names:
        results = {c: known.of(name, *c) for c in columns}
        first = next((r for r in results.values() if r), [])
        yield "| %s | %s %s|" % (
            name, oracle(first), "".join(
                cell(c[0], r) if r else "| | | " for c, r in results.items()))


def layer_rows(known, names, columns):
    """How many of a layer's bugs each engine has found often enough."""
    for layer in (*plant.LAYERS, ""):
        members = [name for name in names if plant.layer(name) == layer]
        if not members:
            continue
        cells = []
        for engine, corpus in columns:
            tried = [r for r in (known.of(m, engine, corpus) for m in members)
                     if r]
            cells.append("%d of %d" % (
                sum(enough(engine, r) for r in tried), len(tried))
                if tried else "")
        yield "| %s | %d | %s |" % (layer or "(none)", len(members),
                                    " | ".join(cells))


def heading(columns):
    return [", ".join([ENGINE_NAMES[e]] +
                      (["from nothing"] if c == runs.EMPTY else []))
            for e, c in columns]


def markdown(known, names):
    """Everything that is known, in Markdown."""
    columns = [c for c in COLUMNS if any(known.of(n, *c) for n in names)]
    threads = [n for n in names if known.of(n, "threads", runs.COMMITTED)]
    others = [n for n in names if any(known.of(n, *c) for c in columns)]
    lines = []
    for engine, corpus in (*columns, ("threads", runs.COMMITTED)):
        if text := summary(known, engine, corpus, names):
            lines.append("- " + text)
    if columns:
        lines += ["", "| layer | bugs | " + " | ".join(heading(columns)) +
                  " |", "| --- " * (2 + len(columns)) + "|"]
        lines += layer_rows(known, others, columns)
        lines += ["", "| bug | oracle | " + " | ".join(
            "%s: found | median s | longest s" % text
            for text in heading(columns)) + " |",
            "| --- " * (2 + 3 * len(columns)) + "|"]
        lines += bug_rows(known, others, columns)
    if threads:
        lines += ["", "| bug | oracle | apb-threads: found | median s | "
                  "longest s |", "| --- " * 5 + "|"]
        lines += bug_rows(known, threads, [("threads", runs.COMMITTED)])
    return "\n".join(lines)


def write_table(known, names):
    """Put the table into the README, in place of the one there, which stays if
    nothing is known."""
    text = plant.content(plant.path(README)).decode()
    pattern = re.compile(re.escape(BEGIN) + ".*" + re.escape(END), re.S)
    if not pattern.search(text):
        raise ValueError("%s has no line %s" % (README, BEGIN))
    lines = markdown(known, names)
    if not lines:
        raise ValueError("no results of these sources in %s" % FILE)
    table = "\n".join((BEGIN, lines, END))
    proc.put(plant.path(README),
             pattern.sub(lambda _match: table, text).encode())
