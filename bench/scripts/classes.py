#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Small classes: a queue of events between objects that come and go."""

import heapq
import sys


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)


class Event:
    def __init__(self, when, who, step):
        self.when = when
        self.who = who
        self.step = step

    def __lt__(self, other):
        return self.when < other.when


class Walker:
    def __init__(self, number):
        self.number = number
        self.at = Point(0.5, float(number))
        self.path = []

    def move(self, event):
        self.at = self.at + event.step
        self.path.append(self.at)
        if len(self.path) > 20:
            self.path = self.path[-5:]
        turn = float(event.when * 7919 % 13)
        return Event(event.when + 1 + self.number % 11, self,
                     Point(turn, 1.5))


def main():
    scale = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    walkers = [Walker(number) for number in range(scale * 50)]
    queue = [Event(walker.number % 17, walker, Point(1.0, 2.0))
             for walker in walkers]
    heapq.heapify(queue)
    for _ in range(scale * 3000):
        event = heapq.heappop(queue)
        heapq.heappush(queue, event.who.move(event))
    print(int(sum(walker.at.x + walker.at.y for walker in walkers)))


if __name__ == "__main__":
    main()
