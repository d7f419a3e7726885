#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-count: instructions, loads, stores and branches of the fast paths.

Two ways, which must agree.  Read: the straight path through apb_malloc() and
apb_free() in the disassembly of build/libapb.so, with no conditional branch
taken.  Run: callgrind's counts per call in a benchmark workload, the
difference of a long and a short run, so that start-up cancels out; it includes
the amortised slow path, is repeatable to the instruction, and has the peers.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

import common

FUNCTIONS = ("apb_malloc", "apb_free")
WORKLOADS = {
    # Name: the function that calls, operations of the short and long run.
    "pair": ("run_pair", 20000, 60000),
    "batch": ("run_batch", 20000, 60000),
    "churn-512": ("run_churn", 20000, 60000),
}
EVENTS = ("Ir", "Dr", "Dw", "Bc")

LINE = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*([^#]*)")
SYMBOL = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
# Read-only uses of a memory operand that stands first.
READERS = ("cmp", "test", "bt", "jmp", "call", "push", "ucomis", "comis")
PADDING = ("nop", "endbr64", "data16", "xchg   ax,ax", "cs")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/count.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--peers", default="", metavar="NAME=PATH...")
    parser.add_argument("--show", action="store_true",
                        help="print the instructions too")
    return common.parse(parser)


def tool(command):
    """Standard output of @command, or the end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              check=False, env=dict(os.environ, LC_ALL="C"))
    except OSError as err:
        common.fail("%s: %s" % (command[0], err.strerror))
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        common.fail("%s: %s" % (command[0], lines[-1] if lines else
                                "status %d" % done.returncode))
    return done.stdout


def disassemble(path):
    """({address: (next address, mnemonic, operands)}, {symbol: address})"""
    code, symbols = {}, {}
    pending, last = None, None
    for line in tool(["objdump", "-d", "-w", "-M", "intel",
                      "--no-show-raw-insn", path]).splitlines():
        match = SYMBOL.match(line)
        if match:
            pending, last = match.group(1), None
            continue
        match = LINE.match(line)
        if not match:
            continue
        address = int(match.group(1), 16)
        if pending:
            symbols[pending] = address
            pending = None
        if last is not None:
            code[last] = (address,) + code[last][1:]
        code[address] = (None, match.group(2), match.group(3).strip())
        last = address
    return code, symbols


def fall_through(code, start, name):
    """The instructions from @start to ret, no conditional branch taken."""
    path, seen, address = [], set(), start
    while True:
        if address is None or address not in code:
            common.fail("%s: the straight path leaves the code" % name)
        if address in seen:
            common.fail("%s: the straight path is a loop" % name)
        seen.add(address)
        following, mnemonic, operands = code[address]
        if mnemonic == "jmp":
            target = re.match(r"([0-9a-f]+)\b", operands)
            path.append((address, mnemonic, operands))
            if not target or int(target.group(1), 16) not in code:
                return path
            address = int(target.group(1), 16)
            continue
        if not mnemonic.startswith(PADDING):
            path.append((address, mnemonic, operands))
        if mnemonic.startswith("ret"):
            return path
        address = following


def classify(mnemonic, operands):
    """(load, store, conditional branch, call) of one instruction"""
    load = store = 0
    branch = int(mnemonic.startswith("j") and mnemonic != "jmp")
    if mnemonic.startswith("push"):
        store = 1
    elif mnemonic.startswith("pop") and not mnemonic.startswith("popcnt"):
        load = 1
    if "PTR" in operands and mnemonic != "lea":
        first = operands.split(",")[0]
        if "PTR" not in first or mnemonic.startswith(READERS):
            load = 1
        elif mnemonic.startswith(("mov", "vmov", "set")):
            store = 1
        else:
            load = store = 1
    return load, store, branch, int(mnemonic == "call")


def read_paths(library, show):
    code, symbols = disassemble(library)
    counts, rows = {}, []
    for name in FUNCTIONS:
        if name not in symbols:
            common.fail("%s: no %s" % (library, name))
        path = fall_through(code, symbols[name], name)
        sums = [sum(column) for column in
                zip(*[classify(m, o) for _, m, o in path])]
        counts[name] = len(path)
        rows.append([name, str(len(path))] + [str(n) for n in sums])
        if show:
            print("%s:" % name)
            for address, mnemonic, operands in path:
                print("  %6x  %-8s %s" % (address, mnemonic, operands))
    common.table(["read, straight path", "instructions", "loads", "stores",
                  "branches", "calls"], rows)
    return counts


def callgrind(subject, workload, ops, caller):
    """{"malloc" or "free": costs per event} of the calls of @caller"""
    with tempfile.TemporaryDirectory(prefix="apb-bench-") as scratch:
        out = os.path.join(scratch, "out")
        command = ["valgrind", "--tool=callgrind", "--cache-sim=yes",
                   "--branch-sim=yes", "--compress-strings=no",
                   "--compress-pos=no", "--callgrind-out-file=" + out,
                   subject.program] + subject.args
        command += ["--ops", str(ops), workload]
        try:
            done = subprocess.run(command, env=subject.environment(),
                                  capture_output=True, text=True, check=False)
        except OSError as err:
            common.fail("%s: %s" % (command[0], err.strerror))
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            common.fail("%s under valgrind: %s"
                        % (subject.name, lines[-1] if lines else "failed"))
        text = common.read(out)
    events = re.search(r"^events: (.*)$", text, re.M)
    if not events:
        common.fail("%s: callgrind wrote no counts" % subject.name)
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
            kind = "free" if "free" in callee else "malloc"
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


def main():
    args = arguments()
    library = common.need(os.path.join(args.build, "libapb.so"), "all")
    here = os.path.join(args.build, "bench")
    shared = common.need(os.path.join(here, "alloc-apb-so"), "bench-count")
    other = common.need(os.path.join(here, "alloc-peer"), "bench-count")
    everyone = [common.Subject("apb", shared)]
    everyone += common.peers(other, args.peers)

    counts = read_paths(library, args.show)
    executed = {}
    for workload in WORKLOADS:
        rows = []
        for subject in everyone:
            costs = per_call(subject, workload)
            if subject.name == "apb" and workload == "pair":
                executed = {"apb_malloc": costs["malloc"][0],
                            "apb_free": costs["free"][0]}
            row = [subject.name]
            for kind in ("malloc", "free"):
                row += ["%.2f" % value for value in costs[kind]]
            row.append("%.2f" % (costs["malloc"][0] + costs["free"][0]))
            rows.append(row)
        print()
        common.table(
            ["run, " + workload] +
            ["%s %s" % (kind, what) for kind in ("malloc", "free")
             for what in ("instr", "loads", "stores", "branches")] +
            ["both instr"], rows)
    print("\ncallgrind counts the return as a load; reading does not.")
    for name in FUNCTIONS:
        # The slow path may add a little, but never take away.
        if not 0 <= executed[name] - counts[name] < 2:
            print("note: %s: %.2f instructions run in a pair, %d read: the "
                  "fast path is not the straight one"
                  % (name, executed[name], counts[name]))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
