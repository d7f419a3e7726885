# SPDX-License-Identifier: MIT
"""Running programs under the recorder, for the scripts here."""
import argparse
import ctypes
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "fuzz"))

from proc import plain  # noqa: E402  (fuzz/ has to be in the path first)


def fixed_addresses():
    """Programs that hash by address should do the same every time."""
    addr_no_randomize = 0x0040000
    ctypes.CDLL(None).personality(addr_no_randomize)


def arguments(doc, *names):
    """The command line: --lib, and the names of a script's own arguments."""
    parser = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    parser.add_argument("--lib", default=os.path.join(
        ROOT, "build", "libapb-record.so"), help="default: %(default)s")
    for name in names:
        parser.add_argument(name)
    args = parser.parse_args()
    args.lib = os.path.abspath(args.lib)
    if not os.path.exists(args.lib):
        print(f"{parser.prog}: no {args.lib}: make record", file=sys.stderr)
        sys.exit(2)
    args.lib = plain(args.lib)
    return args
