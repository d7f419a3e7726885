#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""JSON: write and read nested records, as a service between two others does."""

import json
import random
import sys


def record(rng, number):
    return {
        "id": number,
        "name": "item-%d" % rng.randrange(10 ** 9),
        "price": rng.random() * 1000,
        "tags": ["t%d" % rng.randrange(1000) for _ in range(5)],
        "flags": [True, None, False],
        "where": {"x": rng.random(), "y": rng.random(),
                  "near": list(range(number % 8))},
    }


def main(scale):
    rng = random.Random(2)
    total = 0
    for _ in range(2 * scale):
        batch = [record(rng, number) for number in range(12000)]
        text = json.dumps(batch, indent=1)
        lines = [json.dumps(one, sort_keys=True) for one in batch]
        back = json.loads(text)
        assert back == batch
        for line in lines:
            total += len(json.loads(line)["tags"])
        total += len(text)
    print(total)


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
