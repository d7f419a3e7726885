#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Dicts of strings: words counted, grouped by prefix, renamed, dropped."""

import random
import sys


def main():
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rng = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randrange(3, 24)))
             for _ in range(scale * 300)]
    total = 0
    for turn in range(4):
        counts, groups = {}, {}
        for number in range(scale * 1500):
            word = words[number * number % len(words)] + str(number % 7)
            counts[word] = counts.get(word, 0) + 1
        for word in counts:
            groups.setdefault(word[:3], []).append(word.upper())
        names = {"%s-%d" % (word, turn): {"name": word, "count": str(n)}
                 for word, n in counts.items()}
        total += len(names) + max(len(group) for group in groups.values())
    print(total)


if __name__ == "__main__":
    main()
