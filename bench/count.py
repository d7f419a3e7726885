#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-count: instructions, loads, branches and stores of the fast paths.

Stepped: bench/steps.c single-steps through pairs of malloc and free; the path
taken most often is looked up, instruction by instruction, in the disassembly
of the file it is in.  Run: callgrind's counts per call in a workload of
bench-alloc, the difference of a long and a short run, so that start-up cancels
out; it includes the slow paths.  Both are repeatable to the instruction.
"""

import argparse
import collections
import csv
import os
import re
import struct
import sys
import tempfile

import common
import micro

FUNCTIONS = ("malloc", "free")
COLUMNS = ("instr", "loads", "branches", "stores", "atomics")
WORKLOADS = {
    # Name: the function that calls, operations of the short and long run.
    "pair": ("run_pair", 20000, 60000),
    "batch": ("run_batch", 20000, 60000),
    "churn-512": ("run_churn", 20000, 60000),
}
EVENTS = ("Ir", "Dr", "Bc", "Dw")

LINE = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*([^#]*)")
# Read-only uses of a memory operand that stands first.
READERS = re.compile(r"(cmp|test|bt|jmp|call|push)$|u?comis|prefetch")
PREFIXES = ("lock", "rep", "repz", "repnz", "notrack", "bnd", "data16", "cs",
            "ds", "es", "ss", "fs", "gs")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/count.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--peers", default="", metavar="NAME=PATH...")
    parser.add_argument("--quick", action="store_true",
                        help="of the runs, that of pairs only")
    parser.add_argument("--show", action="store_true",
                        help="print the instructions too")
    return common.parse(parser)


class Disassembly:
    """Of files, made when it is first asked for."""

    def __init__(self):
        self.files = {}

    @staticmethod
    def load_address(path):
        """What the file's first loaded segment has for an address: 0 in a
        shared library, or where a program is linked to."""
        with open(path, "rb") as stream:
            head = stream.read(64)
            offset, = struct.unpack_from("<Q", head, 32)
            size, number = struct.unpack_from("<HH", head, 54)
            stream.seek(offset)
            table = stream.read(size * number)
        for i in range(number):
            kind, _, _, address = struct.unpack_from("<IIQQ", table, i * size)
            if kind == 1:
                return address
        raise common.Failed("%s: no loaded segment" % path)

    def of(self, path):
        """{address: (mnemonic, operands)}"""
        if path not in self.files:
            base = self.load_address(path)
            code = {}
            for line in common.run(
                    ["objdump", "-d", "-w", "-M", "intel",
                     "--no-show-raw-insn", path],
                    common.environment()).splitlines():
                match = LINE.match(line)
                if match:
                    code[int(match.group(1), 16) - base] = (
                        match.group(2), match.group(3).strip())
            self.files[path] = code
        return self.files[path]


def classify(mnemonic, operands):
    """(load, conditional branch, store, atomic) of one instruction; return
    and call count as neither load nor store."""
    atomic = 0
    while mnemonic in PREFIXES and operands:
        atomic |= int(mnemonic == "lock")
        mnemonic, _, operands = operands.partition(" ")
        operands = operands.strip()
    load = store = 0
    branch = int(mnemonic.startswith("j") and mnemonic != "jmp")
    if mnemonic.startswith("push"):
        store = 1
    elif mnemonic.startswith("pop") and not mnemonic.startswith("popcnt"):
        load = 1
    if "PTR" in operands and mnemonic not in ("lea", "nop", "nopw", "nopl"):
        first = operands.split(",")[0]
        if "PTR" not in first or READERS.match(mnemonic):
            load = 1
        elif mnemonic.startswith(("mov", "vmov", "set")):
            store = 1
        else:
            load = store = 1
        if mnemonic == "xchg":
            atomic = 1
    return load, branch, store, atomic


def stepped(subject, program, disassembly):
    """{function: [(mnemonic, operands)]} of the path taken most often"""
    output = common.run([program], common.environment(subject.settings))
    lines = output.splitlines()
    if not lines or os.path.realpath(lines[-1]) != \
            os.path.realpath(subject.expect):
        raise common.Failed("malloc is not that of %s" % subject.expect)
    calls = []
    for line in lines[:-1]:
        if line in FUNCTIONS:
            calls.append((line, []))
        else:
            calls[-1][1].append(line)
    paths = {}
    for name in FUNCTIONS:
        taken = collections.Counter(tuple(path) for which, path in calls
                                    if which == name)
        steps = []
        for step in taken.most_common(1)[0][0]:
            file, address = step.rsplit(" ", 1)
            code = disassembly.of(file)
            if int(address, 16) not in code:
                raise common.Failed("%s: no instruction at %s"
                                    % (file, address))
            steps.append(code[int(address, 16)])
        paths[name] = steps
    return paths


def counts_of(steps):
    """As COLUMNS; endbr64 and padding do nothing and do not count."""
    real = [step for step in steps
            if not step[0].startswith(("nop", "endbr64"))]
    sums = [sum(column) for column in zip(*[classify(*s) for s in real])]
    return [len(real)] + sums


def step_table(everyone, args, failed):
    """Print it; the lines of its CSV file."""
    disassembly = Disassembly()
    here = os.path.join(args.build, "bench")
    rows, records = [], []
    for subject in everyone:
        program = common.need(os.path.join(
            here, "steps-apb-so" if subject.role == "form" else
            "steps-peer"), "bench-build")
        try:
            paths = stepped(subject, program, disassembly)
        except common.Failed as err:
            failed.append("%s: %s" % (subject.name, err))
            continue
        counts = {name: counts_of(paths[name]) for name in FUNCTIONS}
        rows.append([subject.name] + [
            "/".join(map(str, counts[name][:4])) +
            (" +%d" % counts[name][4] if counts[name][4] else "")
            for name in FUNCTIONS] + [str(counts["malloc"][0] +
                                          counts["free"][0])])
        for name in FUNCTIONS:
            records.append([subject.name, name] + counts[name])
            if args.show:
                print("%s, %s:" % (subject.name, name))
                for mnemonic, operands in paths[name]:
                    print("  %-8s %s" % (mnemonic, operands))
    print("stepped, 64 B: instructions/loads/branches/stores (+ atomics) of "
          "the path taken most often")
    common.table(["", "malloc", "free", "instructions"], rows)
    return records


def callgrind(subject, workload, ops, caller):
    """{"malloc" or "free": costs per event} of the calls of @caller"""
    with tempfile.TemporaryDirectory(prefix="apb-bench-") as scratch:
        out = os.path.join(scratch, "out")
        common.run(["valgrind", "--tool=callgrind", "--cache-sim=yes",
                    "--branch-sim=yes", "--compress-strings=no",
                    "--compress-pos=no", "--callgrind-out-file=" + out,
                    subject.program, "--ops", str(ops), workload],
                   common.environment(subject.settings), timeout=120)
        text = common.read(out)
    events = re.search(r"^events: (.*)$", text, re.M)
    if not events:
        raise common.Failed("callgrind wrote no counts")
    index = [events.group(1).split().index(event) for event in EVENTS]
    costs = {"malloc": [0] * len(EVENTS), "free": [0] * len(EVENTS)}
    inside, callee, inclusive = False, "", False
    for line in text.splitlines():
        if line.startswith("fn="):
            inside = line[3:].strip() == caller
        elif line.startswith("cfn="):
            callee = line[4:]
        elif line.startswith("calls="):
            inclusive = True
        elif inclusive:
            inclusive = False
            if not inside:
                continue
            # Trailing zeroes are left out of the file.
            values = [int(word) for word in line.split()[1:]]
            values += [0] * (max(index) + 1 - len(values))
            kind = "free" if re.search("free|cfree|deallocate", callee) \
                else "malloc"
            for i, column in enumerate(index):
                costs[kind][i] += values[column]
    return costs


def per_call(subject, workload):
    caller, short, long = WORKLOADS[workload]
    low = callgrind(subject, workload, short, caller)
    high = callgrind(subject, workload, long, caller)
    return {kind: [(b - a) / (long - short)
                   for a, b in zip(low[kind], high[kind])]
            for kind in low}


def run_table(everyone, workload):
    """Print it; the names of those that do not run under valgrind."""
    rows, unable = [], []
    for subject in everyone:
        try:
            costs = per_call(subject, workload)
        except common.Failed:
            # Some reserve more address space than valgrind has.
            unable.append(subject.name)
            continue
        row = [subject.name]
        for kind in FUNCTIONS:
            row += ["%.2f" % value for value in costs[kind]]
        rows.append(row + ["%.2f" % (costs["malloc"][0] + costs["free"][0])])
    print()
    common.table(
        ["run, " + workload] + ["%s %s" % (kind, what) for kind in FUNCTIONS
                                for what in COLUMNS[:4]] + ["both instr"],
        rows)
    return unable


def main():
    args = arguments()
    program = common.need(os.path.join(args.build, "bench", "alloc-peer"),
                          "bench-build")
    everyone = micro.preloaded([common.apb(args.build)] +
                               common.peers(args.peers), program)
    # The archive's code is that of the shared library.
    everyone[1:1] = [form for form in micro.linked(args.build)
                     if form.name != "apb.a"]
    failed = []
    records = step_table(everyone, args, failed)
    unable = []
    for workload in list(WORKLOADS)[:1 if args.quick else None]:
        unable += run_table(everyone, workload)
    print("\ncallgrind counts the return as a load; stepping does not.")
    if unable:
        print("not under valgrind: %s" % " ".join(sorted(set(unable))))
    for line in failed:
        print("FAILED: %s" % line)
    path = os.path.join(args.build, "bench", "count.csv")
    with open(path, "w", encoding="utf-8", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["allocator", "function", *COLUMNS])
        out.writerows(records)
    print("written: %s" % path)
    ours = {s.name for s in everyone if s.role != "peer"}
    sys.exit(1 if ours & {line.partition(":")[0] for line in failed} or
             "apb" in unable else 0)


if __name__ == "__main__":
    common.run_main(main)
