#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Build 500,000 small objects, keep a random 0.05 % of them, free the others.

Prints resident bytes above those at the start: with all objects, right after
they were freed, and a second later (in which a few objects are made).
"""

import gc
import random
import time

NR = 500000
KEPT = NR // 2000


class Small:
    def __init__(self, number):
        self.number = number
        self.name = "object %d" % number
        self.pair = (number, str(number))


def resident():
    with open("/proc/self/smaps_rollup", encoding="ascii") as stream:
        for line in stream:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise OSError("no Rss")


def main():
    rng = random.Random(1)
    keep = sorted(rng.sample(range(NR), KEPT))
    resident()
    base = resident()
    objects = [Small(number) for number in range(NR)]
    full = resident() - base
    kept = [objects[number] for number in keep]
    del objects
    gc.collect()
    freed = resident() - base
    for _ in range(10):
        time.sleep(0.1)
        scrap = [Small(number) for number in range(10)]
        del scrap
    print(full, freed, resident() - base, len(kept))


if __name__ == "__main__":
    main()
