#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Trees of tuples: built, walked and dropped, one of them kept all the time."""

import sys


def tree(depth):
    if depth == 0:
        return (None, None)
    return (tree(depth - 1), tree(depth - 1))


def count(node):
    left, right = node
    return 1 if left is None else 1 + count(left) + count(right)


def main():
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    kept = tree(15)
    total = 0
    for depth in (4, 8, 12, 14):
        for _ in range(max(1, scale * 400 >> depth)):
            total += count(tree(depth))
    print(total, count(kept))


if __name__ == "__main__":
    main()
