#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Trees of tuples: grow, walk and drop many short-lived ones beside a big one
that stays, as a compiler or a solver does."""

import sys

DEPTH = 17


def grow(depth, value):
    if depth == 0:
        return (None, value, None)
    return (grow(depth - 1, 2 * value), value, grow(depth - 1, 2 * value + 1))


def count(tree):
    left, _value, right = tree
    return 1 + (count(left) if left else 0) + (count(right) if right else 0)


def main(scale):
    kept = grow(DEPTH, 1)
    total = 0
    for depth in range(4, DEPTH, 2):
        for _ in range(scale * 2 ** (DEPTH - depth)):
            total += count(grow(depth, depth))
    print(total, count(kept))


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
