#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Findings, deduplicated: one folder each below build/findings, by signature.

The signature is what apb-replay says: the oracle, the operation, and of a
process that died the top functions of the allocator; of an allocator that is not
apb also its name, and apb-replay-any says the rest.  In a folder are

    inputs/SHA1     every input that was found to fail so
    input           the smallest of them
    seen            a line for each time: when, which input, who found it
    minimised       the input, shrunk
    program.c       the same as a C program
    report.txt      what apb-replay -v says of the shrunk input
    stack.txt       where it died
    meta.json       the signature; what is known of the files above

Every file is written whole and then renamed, `seen` grows by single writes:
whenever this is killed, nothing is lost, and what is missing is made by the
next `make triage`.  Files that lie in build/findings itself are inputs that
engines left and nobody has looked at yet.

`make triage` files those, makes what is missing and prints the table.  With
TRIAGE_SECONDS=n it shrinks each input for n seconds at most (30).
"""

import fcntl
import hashlib
import json
import os
import re
import shlex
import sys
import time

import proc
import reproducer

FINDINGS = "build/findings"
NOT_SHOWN = "not-reproduced"
REPLAY_SECONDS = 60
TIMEOUT_SECONDS = 20
SIGNATURE_KEYS = ("oracle", "op", "frames")
SIGNATURE = re.compile(r"^SIGNATURE: (.*?) \| (.*?) \| (.*)$", re.M)
SEEN = re.compile(r"(\d+\.?\d*) ([0-9a-f]{40}) (.*)")
RAW = re.compile(r"(crash|timeout|oom|leak|afl)-")
NAME_LENGTH = 70


def path_of(*parts):
    return os.path.join(proc.ROOT, *parts)


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def operations(path):
    """Number of records: 8 bytes each, behind a header of as many."""
    return max(0, os.path.getsize(path) // 8 - 1)


def name_of(signature):
    """The folder's name."""
    words = [signature.get("target", ""), signature["oracle"], signature["op"],
             *signature["frames"].split(" < ")[:1]]
    name = "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", word).strip("-")
                    for word in words if word)
    if len(name) <= NAME_LENGTH and " < " not in signature["frames"]:
        return name
    full = json.dumps(signature, sort_keys=True).encode()
    return "%s-%s" % (name[:NAME_LENGTH], hashlib.sha1(full).hexdigest()[:6])


class Interrupted(Exception):
    """Told to end while an input was looked at: it is where it was."""


class Replayed:
    """What the replay programs say of an input."""

    def __init__(self, path, builds):
        self.builds = []  # that show it to fail
        self.signatures = {}  # by build
        self.signature = None
        self.output = ""
        for build in builds:
            status, output = proc.run(
                [*build.command(), "-v", "--timeout", str(TIMEOUT_SECONDS),
                 path], timeout=REPLAY_SECONDS, env=build.environment())
            match = SIGNATURE.search(output)
            if status == 0 or not match:
                continue
            signature = dict(zip(SIGNATURE_KEYS, match.groups()))
            if build.target:
                signature["target"] = os.path.basename(build.target["name"])
                signature["frames"] = ""  # the harness's: it has no others
            self.builds.append(build)
            self.signatures[build] = signature
            # With sanitizers more is seen, and sooner.
            if not self.signature or build.name == "sanitizers":
                self.signature = signature
                self.output = output
        if proc.stopping():
            raise Interrupted

    def alike(self, signature):
        """The builds that say this, the quickest first."""
        return [build for build in self.builds
                if self.signatures[build] == signature]


class Finding:
    """One folder."""

    def __init__(self, folder, new=False):
        self.folder = folder  # relative to proc.ROOT, or absolute
        self.name = os.path.basename(folder)
        self.new = new
        self.meta = self._read_meta()

    def path(self, name):
        return path_of(self.folder, name)

    def has(self, name):
        return os.path.exists(self.path(name))

    def _read_meta(self):
        """What something else wrote says nothing: it is made anew."""
        try:
            meta = json.loads(contents(self.path("meta.json")))
            signature = meta.get("signature", {})
            target = meta.get("target") or {"name": "", "rules": ""}
            if all(isinstance(signature.get(key, ""), str)
                   for key in SIGNATURE_KEYS) and \
                    target.keys() == {"name", "rules"}:
                return meta
        except (FileNotFoundError, ValueError, AttributeError):
            pass
        return {}

    def save(self, **changes):
        self.meta.update(changes)
        proc.put(self.path("meta.json"),
                 (json.dumps(self.meta, indent=1, sort_keys=True) + "\n").encode())

    @property
    def signature(self):
        return {"oracle": self.name, "op": "", "frames": "",
                **self.meta.get("signature", {})}

    def seen(self):
        """[(when, digest, origin)], oldest first.  Of an input that was kept
        when a kill came before its line: when it was kept."""
        try:
            lines = contents(self.path("seen")).decode(
                errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        rows = [(float(row[1]), row[2], row[3]) for line in lines if (
            row := SEEN.fullmatch(line))]
        known = {row[1] for row in rows}
        rows += [(os.path.getmtime(path), os.path.basename(path), "unknown")
                 for path in self.inputs()
                 if os.path.basename(path) not in known]
        return sorted(rows)

    @property
    def count(self):
        return len(self.seen())

    def inputs(self):
        """Of what was killed while it was written, nothing counts."""
        folder = self.path("inputs")
        return sorted((os.path.join(folder, name)
                       for name in os.listdir(folder)
                       if not name.endswith(".tmp")), key=os.path.getsize) \
            if os.path.isdir(folder) else []

    def latest(self):
        """The input that was seen last."""
        return self.path("inputs/" + self.seen()[-1][1])

    def smallest(self):
        """The input that is worked on; kept up to date as `input`."""
        inputs = self.inputs()
        if not inputs:
            return None
        if not self.has("input") or \
                operations(inputs[0]) < operations(self.path("input")):
            proc.put(self.path("input"), contents(inputs[0]))
        return self.path("input")

    def operations(self):
        for name in ("minimised", "input"):
            if self.has(name):
                return operations(self.path(name))
        return 0

    def note(self, source, when, origin):
        """Once more: keep the input and count it."""
        data = contents(source)
        digest = hashlib.sha1(data).hexdigest()
        os.makedirs(self.path("inputs"), exist_ok=True)
        if not self.has("inputs/" + digest):
            proc.put(self.path("inputs/" + digest), data)
        when = "%.3f" % when
        if any("%.3f" % row[0] == when and row[1] == digest
               for row in self.seen()):
            return  # we were killed before the original was removed
        line = "%s %s %s\n" % (when, digest, origin.replace("\n", " "))
        with open(self.path("seen"), "ab", buffering=0) as file:
            # Half a line, of a write that was cut short, stays one.
            if file.tell() and not contents(
                    self.path("seen")).endswith(b"\n"):
                line = "\n" + line
            file.write(line.encode())
            os.fsync(file.fileno())


class Store:
    """All findings below a folder."""

    def __init__(self, folder=FINDINGS, builds=None):
        self.folder = folder
        self.builds = [build for build in builds or reproducer.builds()
                       if build.exists()]
        os.makedirs(path_of(folder), exist_ok=True)

    def lock(self):
        """One at a time files and completes."""
        file = open(path_of(self.folder, ".lock"), "w", encoding="ascii")
        fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def add(self, path, origin, remove=False, when=None):
        """File the failing input @path, found by @origin (a word or two) at
        @when (None: when the file was written).

        Returns the Finding; where apb-replay does not show it to fail, it is
        kept in the folder not-reproduced.  @remove: the file may go then.
        """
        source = path_of(path)
        replayed = Replayed(source, self.builds)
        with self.lock():
            if replayed.signature:
                finding = self._folder(name_of(replayed.signature))
                target = replayed.builds[0].target
                if finding.meta.get("signature") != replayed.signature or \
                        finding.meta.get("target") != target:
                    finding.save(signature=replayed.signature, target=target)
            else:
                finding = self._folder(NOT_SHOWN)
            finding.note(source, when or os.path.getmtime(source), origin)
            finding.smallest()
        if remove:
            os.unlink(source)
        return finding

    def _folder(self, name):
        folder = os.path.join(self.folder, name)
        new = not os.path.exists(path_of(folder, "seen"))
        os.makedirs(path_of(folder), exist_ok=True)
        return Finding(folder, new)

    def raw(self):
        """Inputs that engines left, and nobody has filed."""
        return [os.path.join(self.folder, name)
                for name in sorted(os.listdir(path_of(self.folder)))
                if RAW.match(name) and
                os.path.isfile(path_of(self.folder, name))]

    def findings(self):
        found = [Finding(os.path.join(self.folder, name))
                 for name in sorted(os.listdir(path_of(self.folder)))
                 if os.path.isdir(path_of(self.folder, name))]
        return [finding for finding in found if finding.seen()]

    def builds_of(self, finding):
        """Those in which a finding is looked for: the target's own, if it is
        not apb, or none, where that is not to be had."""
        target = finding.meta.get("target")
        if not target:
            return self.builds
        build = reproducer.Foreign(**target)
        return [build] if build.exists() else []

    def complete(self, finding, seconds=30):
        """Make what is missing in a folder; returns whether it is all there.

        It is done anew when a smaller input has come since.  Raises
        Interrupted, as add() does, on a signal; what is done stays done.
        """
        with self.lock():
            small = finding.smallest()
            if finding.name == NOT_SHOWN or not small:
                return False
            of = hashlib.sha1(contents(small)).hexdigest()
            if not finding.meta.get("fixed") and \
                    finding.meta.get("of") == of and all(
                    finding.has(name) for name in
                    ("minimised", "report.txt", "stack.txt")) and (
                        finding.has("program.c") or
                        finding.meta.get("no_program")):
                return True
            builds = self.builds_of(finding)
            return bool(builds) and self._complete(finding, small, of, seconds,
                                                   builds)

    def _complete(self, finding, small, of, seconds, builds):
        wanted = finding.signature
        among = Replayed(small, builds).alike(wanted)
        if not among:
            # The allocator has been changed since.
            finding.save(fixed=True)
            return False
        self._minimise(finding, small, among, seconds)
        again = Replayed(finding.path("minimised"), builds)
        if not again.alike(wanted):
            proc.put(finding.path("minimised"), contents(small))
            again = Replayed(small, builds)
        proc.put(finding.path("report.txt"), again.output.encode())
        proc.put(finding.path("stack.txt"), stack(again.output).encode())
        changes = {"of": of, "fixed": False, "no_program": "", "how": "",
                   "verified": False,
                   "replay": shlex.join(
                       (again.alike(wanted) or among)[0].command())}
        try:
            program = reproducer.reproduce(
                finding.path("minimised"), finding.path("program.c"),
                again.builds or among)
            changes.update(verified=program.verified, how=program.how)
        except reproducer.Failed as failure:
            changes["no_program"] = str(failure)
        if proc.stopping():
            raise Interrupted
        finding.save(**changes)
        return True

    def _minimise(self, finding, small, among, seconds):
        """In a build in which it fails again: on the real kernel that may
        be chance."""
        for build in among:
            status, _output = proc.run(
                [*build.command(), "--minimize", small, "-o",
                 finding.path("minimised"), "--seconds", str(seconds),
                 "--timeout", str(TIMEOUT_SECONDS)],
                timeout=seconds + REPLAY_SECONDS, env=build.environment())
            if status == 0:
                return
        if not finding.has("minimised"):
            proc.put(finding.path("minimised"), contents(small))

    def file_all(self):
        """File what engines left; returns the findings, each once."""
        done = {}
        for path in self.raw():
            finding = self.add(path, "left in " + self.folder, remove=True)
            done.setdefault(finding.name, finding)
        return list(done.values())


def stack(output):
    """The part of a report that says where; there is none for an oracle."""
    lines = [line for line in output.splitlines()
             if re.match(r"\s+#\d+ ", line)]
    # a sanitizer's has lines of the source, ours has not
    lines = [line for line in lines if " in " in line] or lines
    if lines:
        return "\n".join(lines) + "\n"
    return ("An oracle told, when the call had come back: no stack in the "
            "allocator.\n")


# ---- the table --------------------------------------------------------------


def moment(when):
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))


def program_text(finding):
    if finding.name == NOT_SHOWN:
        return "none"
    if finding.meta.get("fixed"):
        return "no longer fails"
    if finding.meta.get("verified"):
        return "verified"
    if finding.has("program.c"):
        return "not verified"
    return "none" if "of" in finding.meta else "to be done"


HEADINGS = ("signature", "oracle", "operation", "count", "ops", "first seen",
            "last seen", "C program")
NUMBERS = ("count", "ops")


def table(store):
    """A row for each finding, and the top functions below it."""
    rows, frames = [HEADINGS], [""]
    for finding in store.findings():
        seen = finding.seen()
        signature = finding.signature
        rows.append((
            finding.name, signature["oracle"], signature["op"],
            str(len(seen)), str(finding.operations()), moment(seen[0][0]),
            moment(seen[-1][0]), program_text(finding)))
        frames.append(signature["frames"])
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row, functions in zip(rows, frames):
        lines.append("  ".join(
            text.rjust(width) if heading in NUMBERS else text.ljust(width)
            for heading, text, width in zip(HEADINGS, row, widths)).rstrip())
        if functions:
            lines.append("    in " + functions)
    return "\n".join(lines)


def main():
    seconds = proc.number("TRIAGE_SECONDS", 30, 10 ** 6)
    proc.catch_signals()
    status, output = proc.make("triage-targets")
    if proc.stopping():
        proc.leave(1)
    if status != 0:
        print(output[-2000:], file=sys.stderr)
        proc.usage("the build failed")
    store = Store()
    if any(finding.meta.get("target") for finding in store.findings()):
        proc.make(reproducer.REPLAY_ANY)
    try:
        store.file_all()
        for finding in store.findings():
            store.complete(finding, seconds)
    except Interrupted:
        print("interrupted")
        proc.leave(1)
    if not store.findings():
        print("no findings in " + FINDINGS)
    else:
        print(table(store))
    proc.leave(0)


if __name__ == "__main__":
    proc.run_main(main)
