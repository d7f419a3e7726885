#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Dicts of strings: count words, index them by their letters, replace half of
them, as a log or text processor does."""

import random
import sys

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"


def words(rng, number):
    return ["".join(rng.choices(LETTERS, k=rng.randint(2, 14)))
            for _ in range(number)]


def count(lines):
    seen = {}
    for line in lines:
        for word in line.split(" "):
            word = word.strip(".,").upper()
            seen[word] = seen.get(word, 0) + 1
    return seen


def index(seen):
    table = {}
    for word, number in seen.items():
        key = word[:2] + ":" + word[-1:]
        table.setdefault(key, {})[word.lower() + "=" + str(number)] = number
    return table


def main(scale):
    rng = random.Random(1)
    vocabulary = words(rng, 40000)
    table = {}
    for turn in range(3 * scale):
        lines = [", ".join(rng.choices(vocabulary, k=12)) + "."
                 for _ in range(12000)]
        table = index(count(lines))
        for inner in table.values():
            for key in list(inner)[::2]:
                inner[key + "/" + str(turn)] = inner.pop(key)
    print(len(table), sum(sum(inner.values()) for inner in table.values()))


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
