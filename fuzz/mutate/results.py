# SPDX-License-Identifier: MIT
"""What became of mutants: the results file, the list of survivors, the score.

The results file has a line of JSON for each mutant that was run, written as
soon as that is known, so that a run that is killed loses nothing but what it
was at.
"""

import fcntl
import json
import math
import os

KILLED, SURVIVED = "killed", "survived"
EQUIVALENT, INVALID = "equivalent", "invalid"
# Of the list's classes: what cannot be told apart by what the program does.
EXCUSED = ("equivalent", "speed")
CLASSES = EXCUSED + ("open",)


class Results:
    def __init__(self, path):
        self.path = path
        self.latest = {}  # by id
        self.file = open(path, "a+", encoding="utf-8")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError("it is running already: %s" % path) from None
        self.file.seek(0)
        text = self.file.read()
        # a line that is cut off was being written when a run was killed
        end = text.rfind("\n") + 1
        self.file.truncate(len(text[:end].encode()))
        for number, line in enumerate(text[:end].splitlines(), 1):
            try:
                entry = json.loads(line)
                self.latest[entry["id"]] = entry
            except (ValueError, KeyError, TypeError):
                raise ValueError("%s:%d: not a result" % (path, number)) \
                    from None

    def add(self, entry):
        self.latest[entry["id"]] = entry
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def known(self, id, source, witnesses):
        """What is known of a mutant of a source that has not changed since;
        that it lived only if nothing has that could kill it."""
        entry = self.latest.get(id)
        if not entry or entry["source"] != source:
            return None
        if entry["result"] == SURVIVED and entry["witnesses"] != witnesses:
            return None
        return entry


class Odds:
    """How likely a program kills a mutant: from what it did to others of the
    function, of the file, and, before there are any, from its name."""

    AKIN, OTHER = 0.3, 0.03
    FUNCTION, FILE = 2, 5  # as many mutants as what is known beforehand counts

    def __init__(self, results):
        self.tries, self.kills = {}, {}
        for id, entry in results.latest.items():
            for name in {key.split()[0] for key in entry.get("tried", ())}:
                self.note(id, name, False)
            if entry["result"] == KILLED and entry["by"] != "fuzz":
                self.note(id, entry["by"].split()[-1], True)

    @staticmethod
    def places(id):
        file, function = id.split(":")[:2]
        return file, file + ":" + function

    def note(self, id, name, killed):
        for place in self.places(id):
            key = place, name
            self.tries[key] = self.tries.get(key, 0) + 1
            self.kills[key] = self.kills.get(key, 0) + killed

    def of(self, id, name):
        file, function = self.places(id)
        share = self.AKIN if akin(file, name) else self.OTHER
        for place, weight in (file, self.FILE), (function, self.FUNCTION):
            key = place, name
            share = (self.kills.get(key, 0) + share * weight) / (
                self.tries.get(key, 0) + weight)
        return share


def akin(source, program):
    """Whether a test's name has the file's in it, or its folder's."""
    words = source.rpartition(".")[0].split("/")[1:]
    return any(word in program.split("_") for word in words)


class Survivors:
    """The list: id, class and reason on a line; comments start with #."""

    def __init__(self, path):
        self.entries = {}
        if not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip() or line.startswith("#"):
                    continue
                words = line.split(None, 2)
                if len(words) < 3 or words[1] not in CLASSES:
                    raise ValueError("%s:%d: not an id, one of %s, and a "
                                     "reason" % (path, number,
                                                 ", ".join(CLASSES)))
                if words[0] in self.entries:
                    raise ValueError("%s:%d: listed twice: %s" % (
                        path, number, words[0]))
                self.entries[words[0]] = words[1], words[2].strip()

    def excused(self, id):
        return id in self.entries and self.entries[id][0] in EXCUSED

    def stale(self, ids, results):
        """Entries for nothing: (id, why)."""
        for id in self.entries:
            entry = results.latest.get(id)
            if id not in ids:
                yield id, "there is no such mutant"
            elif entry and entry["result"] == KILLED:
                yield id, "killed by " + entry["by"]
            elif entry and entry["result"] in (EQUIVALENT, INVALID):
                yield id, entry["result"] + " by compilation"


class Score:
    """Counts over some mutants."""

    COLUMNS = ("all", "run", "unit", "replay", "fuzz", "timeout", "invalid",
               "same code", "listed", "alive")

    def __init__(self):
        self.count = dict.fromkeys(self.COLUMNS, 0)
        self.open = 0  # in the list, but neither equivalent nor speed

    def add(self, id, entry, survivors, quick=0):
        """In a @quick run what is excused counts as if it had been run."""
        self.count["all"] += 1
        if not entry and quick and survivors.excused(id):
            self.count["run"] += 1
            self.count["listed"] += 1
        if not entry:
            return
        self.count["run"] += 1
        if entry["result"] == KILLED:
            self.count["timeout" if entry["how"] == "timeout" else
                       entry["by"].split()[0]] += 1
        elif entry["result"] == EQUIVALENT:
            self.count["same code"] += 1
        elif entry["result"] == INVALID:
            self.count["invalid"] += 1
        elif survivors.excused(id):
            self.count["listed"] += 1
        else:
            self.count["alive"] += 1
            self.open += id in survivors.entries

    def killed(self):
        return sum(self.count[c] for c in ("unit", "replay", "fuzz", "timeout"))

    def counted(self):
        return self.killed() + self.count["alive"]

    def percent(self):
        return "%.1f %%" % (100 * self.killed() / self.counted()) \
            if self.counted() else "-"

    def interval(self):
        """Wilson's, 95 %, of the share in what this is a sample of."""
        n, z = self.counted(), 1.96
        if not n:
            return "-"
        p = self.killed() / n
        middle = (p + z * z / 2 / n) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(
            p * (1 - p) / n + z * z / 4 / n / n)
        return "%.1f to %.1f %%" % (100 * max(0.0, middle - half),
                                    100 * min(1.0, middle + half))
