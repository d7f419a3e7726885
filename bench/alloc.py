#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-alloc: single-threaded speed of apb and its peers, interleaved.

Every round starts one process per workload and allocator, each workload with
all allocators in turn, on one CPU.  A process reports its fastest chunk in
nanoseconds per operation; the table has the median and the minimum of these
over the rounds, and apb's ratio to the fastest peer.
"""

import argparse
import csv
import os
import sys

import common

WORKLOADS = (
    ("pair", "malloc + free of 64 B"),
    ("pair-sizes", "malloc + free of 16, 32, ... 512 B in turn"),
    ("batch", "1,000 x 48 B, freed in order"),
    ("batch-random", "1,000 x 48 B, freed in random order"),
    ("churn-512", "random churn, 1-512 B, 10,000 live"),
    ("churn-512-1M", "random churn, 1-512 B, 1,000,000 live"),
    ("churn-8K", "random churn, 1-8,192 B, 10,000 live"),
)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/alloc.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=common.positive, default=7)
    parser.add_argument("--cpu", type=int)
    parser.add_argument("--peers", default="", metavar="NAME=PATH...")
    parser.add_argument("--workloads", default="", metavar="NAME...")
    return common.parse(parser)


def subjects(args):
    here = os.path.join(args.build, "bench")
    static = common.need(os.path.join(here, "alloc-apb-a"), "bench-alloc")
    shared = common.need(os.path.join(here, "alloc-apb-so"), "bench-alloc")
    other = common.need(os.path.join(here, "alloc-peer"), "bench-alloc")
    library = os.path.join(args.build, "libapb.so")
    own = [
        common.Subject("apb.a", static, expect=static),
        common.Subject("apb.so", shared, expect=library),
        common.Subject("apb.so+lock", shared, args=["--second-thread"],
                       expect=library),
    ]
    return own, common.peers(other, args.peers)


def measure(args, everyone, names):
    """{(workload, allocator): [(fastest, median chunk) of each round]}"""
    results = {}
    total = args.rounds * len(names)
    for round_nr in range(args.rounds):
        for number, name in enumerate(names):
            if sys.stderr.isatty():
                print("\r\033[K%d/%d %s" % (
                    round_nr * len(names) + number + 1, total, name),
                    end="", file=sys.stderr, flush=True)
            # Nobody is always first.
            first = round_nr % len(everyone)
            for subject in everyone[first:] + everyone[:first]:
                words = subject.run([name])
                results.setdefault((name, subject.name), []).append(
                    (float(words[0]), float(words[1])))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return results


def report(title, pick, results, names, own, others):
    head = [title] + [s.name for s in own + others]
    head += [own[0].name + " / best", own[1].name + " / best"]
    rows = []
    for name in names:
        value = {s.name: pick([fastest for fastest, _ in
                               results[name, s.name]])
                 for s in own + others}
        best = min((value[s.name], s.name) for s in others)
        row = [name] + ["%.2f" % value[s.name] for s in own + others]
        row += ["%.2f %s" % (value[own[0].name] / best[0], best[1]),
                "%.2f %s" % (value[own[1].name] / best[0], best[1])]
        rows.append(row)
    common.table(head, rows)


def main():
    args = arguments()
    known = [name for name, _ in WORKLOADS]
    names = args.workloads.split() or known
    for name in names:
        if name not in known:
            common.fail("no workload '%s', but %s" % (name, " ".join(known)))
    own, others = subjects(args)
    machine = common.machine(common.pin(args.cpu))
    results = measure(args, own + others, names)

    print(machine)
    print("ns per operation, one malloc and one free; %d rounds" % args.rounds)
    for name, text in WORKLOADS:
        if name in names:
            print("  %-12s  %s" % (name, text))
    print("apb.so+lock: the process has a second thread, so apb takes its "
          "lock; not in the ratios.\n")
    report("median", common.median, results, names, own, others)
    print()
    report("minimum", min, results, names, own, others)

    path = os.path.join(args.build, "bench", "alloc.csv")
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write("# %s\n" % machine)
        out = csv.writer(stream)
        out.writerow(["workload", "allocator", "round", "ns_fastest_chunk",
                      "ns_median_chunk"])
        for (name, subject), values in results.items():
            for number, (fastest, middle) in enumerate(values):
                out.writerow([name, subject, number + 1, fastest, middle])
    print("\nevery round: %s" % path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
