#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-frag: memory given back after most small blocks were freed.

See bench/frag.c for what is done and measured.
"""

import argparse
import csv
import os
import sys

import common

ORDERS = ("in-order", "random")
COLUMNS = ("wanted", "full", "freed", "waited", "trimmed")


def arguments():
    parser = argparse.ArgumentParser(prog="bench/frag.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--wait", type=common.positive, metavar="SECONDS")
    parser.add_argument("--peers", default="", metavar="NAME=PATH...")
    return common.parse(parser)


def main():
    args = arguments()
    here = os.path.join(args.build, "bench")
    shared = common.need(os.path.join(here, "frag-apb-so"), "bench-frag")
    other = common.need(os.path.join(here, "frag-peer"), "bench-frag")
    everyone = [common.Subject("apb", shared, expect=os.path.join(
        args.build, "libapb.so"))]
    everyone += common.peers(other, args.peers)

    machine = common.machine()
    print(machine)
    print("resident MiB with 2,000,000 blocks of 16-128 B, after freeing all "
          "but a random 0.1 %,")
    print("and after the call that gives back what can be given back")
    records = []
    for order in ORDERS:
        rows = []
        for subject in everyone:
            words = subject.run(
                [order] + ([str(args.wait)] if args.wait else []))
            how = words.pop()
            mib = [int(word) / 2**20 for word in words]
            records.append([subject.name, order, how] + words)
            row = [subject.name] + ["%.1f" % mib[i] for i in range(3)]
            if args.wait:
                row.append("%.1f" % mib[3])
            row += ["%.1f" % mib[4] if how != "-" else "-", how]
            rows.append(row)
        head = ["freed " + order, "wanted", "full", "freed"]
        if args.wait:
            head.append("%d s later" % args.wait)
        print()
        common.table(head + ["trimmed", "by"], rows)

    path = os.path.join(here, "frag.csv")
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write("# %s\n" % machine)
        out = csv.writer(stream)
        out.writerow(["allocator", "order", "trim"] +
                     ["%s_bytes" % column for column in COLUMNS])
        out.writerows(records)
    print("\nin bytes: %s" % path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
