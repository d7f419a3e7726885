# SPDX-License-Identifier: MIT
"""What continuous fuzzing keeps: inputs and findings, and nothing of either is
lost when anything is killed.

    lock            held by the one driver
    corpus          symbolic link to the generation in force
    generations/N   inputs, each by the SHA-1 of what it holds
    seeds           the committed inputs, copied at each start
    parked          inputs on which the present targets fail, so that no worker
                    ends on them; they return when the targets have changed
    pruned.log      "N SHA-1": left out of generation N by a complete merge
    findings        inputs that fail, each with a .txt that says why
    filed.log       those of them that went through triage
    work            folders of workers and merges: what is found here at a start
                    is taken over, then removed

Invariants: only the driver writes outside work/.  An input leaves the
generation in force only into the next one, into parked/, or by a merge, which
is logged before its generation comes into force by one rename of the link.  A
worker's folder is removed after everything in it was taken over and synced.
"""

import os
import re
import shutil

import durable

FINDINGS_PER_SIGNATURE = 1000
PRUNED_LINES = 200000


def signature(reason):
    """Findings with the same one are taken to be the same: addresses and
    numbers do not count."""
    text = re.sub(r"0x[0-9a-f]+|\d+", "#", reason)
    match = re.match(r"FINDING: ([^:]+): op ## ([a-z_ ]+)", text)
    if match:
        return "%s %s" % (match[1], match[2].strip())
    return text[:100] or "unknown"


class Store:
    def __init__(self, root):
        self.root = root
        for name in ("generations", "seeds", "parked", "findings", "work"):
            os.makedirs(self.path(name), exist_ok=True)
        self.lock = durable.lock(self.path("lock"))
        self.mark = "APB_CONTINUOUS=" + root
        self.killed = durable.kill_marked(self.mark)
        for name in ("", "seeds", "parked", "findings"):
            durable.sweep(self.path(name))
        self._generation()
        self.seen = {}  # files of workers: as they were when taken over
        self.seeds = set()  # until lay_seeds(): better one too many
        self.inputs = set(durable.names(self.corpus()))
        self.parked = set(durable.names(self.path("parked")))
        self.size = sum(os.path.getsize(os.path.join(self.corpus(), name))
                        for name in self.inputs)
        filed = self.path("filed.log")
        self.filed = set(durable.read(filed).decode().split("\n")
                         if os.path.exists(filed) else ())
        self.signatures = {}
        for name in durable.names(self.path("findings")):
            if name.endswith(".txt"):
                text = durable.read(self.path("findings", name))
                self._count(text.decode(errors="replace").split("\n")[0])

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    # ---- generations ----

    def _generation(self):
        """Bring one into force if there is none; drop all others."""
        if not os.path.islink(self.path("corpus")):
            os.makedirs(self.path("generations", "1"), exist_ok=True)
            self._link("1")
        current = os.readlink(self.path("corpus"))
        for name in os.listdir(self.path("generations")):
            if "generations/" + name != current:
                shutil.rmtree(self.path("generations", name))
        durable.sweep(self.corpus())

    def _link(self, name):
        temporary = self.path(durable.TEMPORARY + "corpus")
        os.symlink("generations/" + name, temporary)
        os.rename(temporary, self.path("corpus"))
        durable.sync_folder(self.root)

    def corpus(self):
        """The folder of the generation in force."""
        return os.path.realpath(self.path("corpus"))

    def generation(self):
        return int(os.path.basename(self.corpus()))

    def advance(self, kept):
        """The inputs @kept are all that is left; the others are logged."""
        old, name = self.corpus(), str(self.generation() + 1)
        new = self.path("generations", name)
        os.makedirs(new)
        for key in kept:
            os.link(os.path.join(old, key), os.path.join(new, key))
        durable.sync_folder(new)
        durable.sync_folder(self.path("generations"))
        dropped = sorted(self.inputs - kept)
        durable.append(self.path("pruned.log"),
                       ["%s %s" % (name, key) for key in dropped])
        self._link(name)
        shutil.rmtree(old)
        self.inputs = set(kept)
        self.size = sum(os.path.getsize(os.path.join(new, key))
                        for key in kept)
        self._trim_log()
        return dropped

    def _trim_log(self):
        path = self.path("pruned.log")
        lines = durable.read(path).splitlines(keepends=True)
        if len(lines) > PRUNED_LINES:
            durable.write(self.root, "pruned.log",
                          b"".join(lines[-PRUNED_LINES // 2:]))

    # ---- inputs ----

    def lay_seeds(self, paths):
        """The committed inputs, but for those that are parked.  One that is
        committed no longer is an input like any other."""
        keep = set()
        for path in paths:
            data = durable.read(path)
            key = durable.digest(data)
            keep.add(key)
            if key not in self.parked:
                with open(self.path("seeds", key), "wb") as file:
                    file.write(data)
        folder = self.path("seeds")
        gone = set(durable.names(folder)) - keep
        self.seeds -= gone
        self._add({name: durable.read(os.path.join(folder, name))
                   for name in gone})
        for name in gone | self.parked:
            if os.path.exists(os.path.join(folder, name)):
                os.unlink(os.path.join(folder, name))
        self.seeds = set(durable.names(folder))

    def take(self, folder, complete):
        """Take over the inputs in a folder that a worker writes to: how many
        are new.

        Of a worker that runs a file may be half written: one that is named by
        its digest can wait, any other is taken as often as it changes.
        """
        new, states = {}, {}
        for name in durable.names(folder):
            path = os.path.join(folder, name)
            try:
                stat = os.stat(path)
                state = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
                if self.seen.get(path) == state or name == "README.txt" or \
                        os.path.isdir(path):
                    continue
                data = durable.read(path)
            except FileNotFoundError:
                continue
            key = durable.digest(data)
            if not complete and re.fullmatch("[0-9a-f]{40}", name) and \
                    key != name:
                continue
            states[path] = state
            new[key] = data
        added = self._add(new)
        self.seen.update(states)
        return added

    def _add(self, inputs):
        """Those that are new, {digest: content}: how many."""
        new = {key: data for key, data in inputs.items()
               if data and not any(key in known for known in (
                   self.inputs, self.parked, self.seeds))}
        if new:
            durable.write_all(self.corpus(), new)
            self.inputs.update(new)
            self.size += sum(map(len, new.values()))
        return len(new)

    def park(self, key):
        """An input fails: out of the workers' way.  Whether it was in it."""
        parked = False
        for folder in (self.corpus(), self.path("seeds")):
            path = os.path.join(folder, key)
            if os.path.exists(path):
                durable.write(self.path("parked"), key, durable.read(path))
                os.unlink(path)
                parked = True
        self.seeds.discard(key)
        if key in self.inputs:
            self.inputs.discard(key)
            self.size -= os.path.getsize(self.path("parked", key))
        if parked:
            self.parked.add(key)
        return parked

    def unpark(self):
        """The targets are others now: each input gets another chance."""
        folder = self.path("parked")
        parked, self.parked = self.parked, set()
        self._add({key: durable.read(os.path.join(folder, key))
                   for key in parked})
        for key in parked:
            os.unlink(os.path.join(folder, key))

    # ---- findings ----

    def _count(self, reason):
        kind = signature(reason)
        self.signatures[kind] = self.signatures.get(kind, 0) + 1

    def has_finding(self, name):
        return os.path.exists(self.path("findings", name + ".txt"))

    def add_finding(self, name, reason, text, data):
        """A failing input, or, without @data, a report alone.  Whether it is
        new, and not one of very many of its kind."""
        if self.has_finding(name) or \
                self.signatures.get(signature(reason), 0) >= \
                FINDINGS_PER_SIGNATURE:
            return False
        folder = self.path("findings")
        if data is not None:
            durable.write(folder, name, data)
        durable.write(folder, name + ".txt",
                      (reason + "\n" + text).encode())
        self._count(reason)
        return True

    def note_filed(self, name):
        """It went through triage."""
        durable.append(self.path("filed.log"), [name])
        self.filed.add(name)

    def findings(self):
        """Their names."""
        found = durable.names(self.path("findings"))
        return [name[:-4] for name in found if name.endswith(".txt")]
