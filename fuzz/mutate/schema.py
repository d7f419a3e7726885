# SPDX-License-Identifier: MIT
"""Mutant schemata: a source with all of its mutants in it.

Each point becomes a choice by the number of the mutant that runs.  There is a
second form, to trace: it runs the original and marks the mutants that would
have made a difference, or at least were passed.  A replacement stands on a line
of its own, so that what the compiler says of it can be told of the mutant.
"""


class Writer:
    def __init__(self, source, first, trace, without=()):
        self.source, self.trace = source, trace
        self.without = without  # ids of mutants that do not compile
        self.next = first
        self.numbers = {}  # of mutants, by id
        self.out = []
        self.line = 1
        self.lines = {}  # number of a mutant by line

    def write(self):
        """The text."""
        points = self.source.points
        at = self.pieces(0, len(self.source.text), points, 0)
        assert at == len(points)
        return "".join(self.out)

    def put(self, text):
        self.line += text.count("\n")
        self.out.append(text)

    def pieces(self, start, end, points, i):
        """The text from @start to @end with points from @i on in it."""
        while i < len(points) and points[i].start < end:
            point = points[i]
            self.put(self.source.text[start:point.start])
            start = point.end
            i = self.point(points, i)
        self.put(self.source.text[start:end])
        return i

    def point(self, points, i):
        point = points[i]
        mutants = []
        for mutant in point.mutants:
            self.numbers[mutant.id] = self.next
            if mutant.id not in self.without:
                mutants.append((self.next, mutant))
            self.next += 1

        def inner():
            return self.pieces(point.start, point.end, points, i + 1)

        if not mutants:
            return inner()
        write = {("stmt", False): self.statement,
                 ("stmt", True): self.trace_statement,
                 ("expr", False): self.expression,
                 ("expr", True): self.trace_expression}[point.kind, self.trace]
        return write(point, mutants, inner)

    def mine(self, number, text):
        """Text that stands on a mutant's own line."""
        self.put("\n")
        self.lines[self.line] = number
        self.put(text + "\n")

    def statement(self, _point, mutants, inner):
        (number, _mutant), = mutants
        self.put("{ if (__builtin_expect(apb_mutant != %du, 1)) {" % number)
        i = inner()
        self.put("} }")
        return i

    def expression(self, point, mutants, inner):
        # one comparison as long as none of them runs
        last = mutants[-1][0]
        self.put("(__builtin_expect(apb_mutant - %du <= %du, 0) ? (" % (
            mutants[0][0], last - mutants[0][0]))
        for number, mutant in mutants[:-1]:
            self.put("apb_mutant == %du ? (" % number)
            self.mine(number, mutant.text)
            self.put(") : ")
        self.put("(")
        self.mine(last, mutants[-1][1].text)
        self.put(")) : %s(" % ("!!" if point.boolean else ""))
        i = inner()
        self.put("))")
        return i

    def trace_statement(self, _point, mutants, inner):
        self.put("{ apb_mutant_mark(%du); {" % mutants[0][0])
        i = inner()
        self.put("} }")
        return i

    def trace_expression(self, point, mutants, inner):
        passed = "".join("apb_mutant_mark(%du), " % n for n, m in mutants
                         if not m.same)
        compared = [(n, m) for n, m in mutants if m.same]
        self.put("(" + passed)
        self.put("({ __auto_type apb_was = " if compared else "(")
        self.put("%s(" % ("!!" if point.boolean else ""))
        i = inner()
        self.put(")")
        for number, mutant in compared:
            self.put("; if (apb_was != (")
            self.mine(number, mutant.text)
            self.put(")) apb_mutant_mark(%du)" % number)
        self.put("; apb_was; }))" if compared else "))")
        return i
