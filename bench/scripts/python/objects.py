#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Small classes: a simulation whose state is many small objects that come and
go: events in a heap, accounts with and without slots, exceptions."""

import heapq
import random
import sys


class Event:
    __slots__ = ("when", "source", "target", "amount")

    def __init__(self, when, source, target, amount):
        self.when = when
        self.source = source
        self.target = target
        self.amount = amount

    def __lt__(self, other):
        return self.when < other.when


class Account:
    def __init__(self, number):
        self.number = number
        self.balance = 100.0
        self.history = []

    def move(self, amount):
        if self.balance + amount < 0:
            raise ValueError((self.number, amount))
        self.balance += amount
        self.history.append((self.number, amount, self.balance))
        if len(self.history) > 6:
            del self.history[:4]


def run(rng, number, steps):
    accounts = [Account(i) for i in range(number)]
    queue = [Event(rng.random(), rng.choice(accounts), rng.choice(accounts),
                   rng.random() * 40) for _ in range(number)]
    heapq.heapify(queue)
    refused = 0
    for _ in range(steps):
        event = heapq.heappop(queue)
        try:
            event.source.move(-event.amount)
            event.target.move(event.amount)
        except ValueError:
            refused += 1
        heapq.heappush(queue, Event(event.when + rng.random(), event.target,
                                    rng.choice(accounts),
                                    rng.random() * 40))
    return refused, round(sum(account.balance for account in accounts))


def main(scale):
    rng = random.Random(3)
    for _ in range(scale):
        print(*run(rng, 40000, 150000))


main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
