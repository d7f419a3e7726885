#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""JSON: records written as text, read again, changed, written again."""

import json
import random
import sys


def record(rng, number):
    return {
        "id": number,
        "name": "user-%d" % rng.randrange(10**6),
        "mail": "user%d@example.org" % number,
        "tags": ["tag%d" % rng.randrange(500) for _ in range(6)],
        "score": rng.random(),
        "address": {"street": "Street %d" % rng.randrange(1000),
                    "city": "City", "lines": [None, True, number * 3]},
    }


def main():
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rng = random.Random(1)
    records = [record(rng, number) for number in range(scale * 60)]
    size = 0
    for turn in range(6):
        text = json.dumps(records)
        size += len(text)
        records = json.loads(text)
        for entry in records:
            entry["tags"].append("turn%d" % turn)
    print(size)


if __name__ == "__main__":
    main()
