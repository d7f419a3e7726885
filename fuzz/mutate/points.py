# SPDX-License-Identifier: MIT
"""Where a C source can be mutated, and how: by libclang's syntax tree.

A point is an expression or a statement in a function's body, with the mutants
that take its place.  Points nest.  What is no code that runs is left alone:
declarations' types, static initialisers, case labels, sizeof, static
assertions, strings, and what stands in a macro's definition; a macro that is a
constant, and arguments of one that is not, are mutated where they are used.
"""

import ctypes
import hashlib
import os
import re

from clang import cindex
from clang.cindex import CursorKind as K
from clang.cindex import StorageClass, TypeKind

LIBRARY = "/usr/lib/x86_64-linux-gnu/libclang-19.so.1"

BINARY = {
    "+": ("arith", ["-"]), "-": ("arith", ["+"]), "*": ("arith", ["+"]),
    "/": ("arith", ["*"]), "%": ("arith", ["*"]),
    "<": ("rel", ["<=", ">="]), "<=": ("rel", ["<", ">"]),
    ">": ("rel", [">=", "<="]), ">=": ("rel", [">", "<"]),
    "==": ("rel", ["!="]), "!=": ("rel", ["=="]),
    "<<": ("shift", [">>"]), ">>": ("shift", ["<<"]),
    "&": ("bit", ["|"]), "|": ("bit", ["&"]), "^": ("bit", ["|"]),
}
ASSIGN = {
    "+=": "-=", "-=": "+=", "*=": "+=", "/=": "*=", "%=": "*=", "<<=": ">>=",
    ">>=": "<<=", "&=": "|=", "|=": "&=", "^=": "|=",
}
# libclang's numbers
UNARY = {1: "x++", 2: "x--", 3: "++x", 4: "--x", 8: "-", 9: "~", 10: "!"}
CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*$|U?INT\d+_C\(\w+\)$|true$|false$")
NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]+|\d+)[uUlL]*$")
MACRO = re.compile(r"[A-Z][A-Z0-9_]*\b(\(\w+\))?")
# What makes no code, or none that can be told from none.
HINT = re.compile(r"\(void\)|\w*atomic_signal_fence\b|__builtin_prefetch\b")
WORD = re.compile(r"\w")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
EFFECTS = (K.CALL_EXPR, K.COMPOUND_ASSIGNMENT_OPERATOR, K.StmtExpr)
# What is looked up by the compiler, not computed.
UNEVALUATED = (K.CXX_UNARY_EXPR, K.STATIC_ASSERT, K.STRING_LITERAL,
               K.TYPE_REF, K.STRUCT_DECL, K.UNION_DECL, K.ENUM_DECL,
               K.TYPEDEF_DECL)
POINTERS = (TypeKind.POINTER, TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY)


class Mutant:
    """@text in the place of its point's; @same: it may be computed beside the
    original, to see whether they differ."""

    def __init__(self, op, text, same=False):
        self.op, self.text, self.same = op, text, same
        self.id = None


class Point:
    def __init__(self, start, end, kind):
        self.start, self.end, self.kind = start, end, kind
        self.boolean = False  # wanted as 0 or 1
        self.function = self.context = self.line = None
        self.mutants = []


class Source:
    """Points of a file, in @points, outer ones before inner ones."""

    def __init__(self, path, args, root="."):
        self.path = path
        self.full = os.path.join(root, path)
        with open(self.full, encoding="utf-8") as file:
            self.text = file.read()
        if len(self.text.encode()) != len(self.text):
            raise ValueError("%s: not ASCII" % path)
        self.points = []
        self.seen = {}
        self._parse(args)

    # ---- libclang ------------------------------------------------------

    def _parse(self, args):
        if not cindex.Config.loaded:
            cindex.Config.set_library_file(LIBRARY)
        self.lib = cindex.conf.lib
        name, unsaved = self.full, []
        if name.endswith(".h"):
            name += ".c"
            unsaved = [(name, '#include "%s"\n' % os.path.abspath(self.full))]
        tu = cindex.TranslationUnit.from_source(name, args, unsaved)
        errors = [d for d in tu.diagnostics if d.severity >= 3]
        if errors:
            raise ValueError("%s: %s" % (self.path, errors[0]))
        wanted = os.path.abspath(self.full)
        for cursor in tu.cursor.get_children():
            if (cursor.kind == K.FUNCTION_DECL and cursor.is_definition()
                    and cursor.location.file
                    and os.path.abspath(cursor.location.file.name) == wanted):
                self.function = cursor.spelling
                self.bool_result = \
                    cursor.result_type.get_canonical().kind == TypeKind.BOOL
                self.tu_file = self._where(cursor.extent.start)[0]
                for child in cursor.get_children():
                    if child.kind == K.COMPOUND_STMT:
                        self.statement(child)
        self._number()

    def _where(self, location, call="clang_getFileLocation"):
        file, line, column, offset = (ctypes.c_void_p(), ctypes.c_uint(),
                                      ctypes.c_uint(), ctypes.c_uint())
        getattr(self.lib, call)(
            location, ctypes.byref(file), ctypes.byref(line),
            ctypes.byref(column), ctypes.byref(offset))
        return file.value, offset.value

    def span(self, cursor):
        """Offsets in the file, of the use if it is in a macro."""
        file, start = self._where(cursor.extent.start)
        file_end, end = self._where(cursor.extent.end)
        if file != self.tu_file or file_end != self.tu_file:
            return None
        # of a macro in a macro's argument libclang knows the start only
        if not self.plain(cursor, "end"):
            name = MACRO.match(self.text, end)
            if name and not WORD.match(self.text[end - 1]):
                end = name.end()
        return (start, end) if end > start else None

    def plain(self, cursor, side="start"):
        """Whether it starts in the file's own text, or a macro's argument."""
        place = getattr(cursor.extent, side)
        return self._where(place) == \
            self._where(place, "clang_getSpellingLocation")

    def squeezed(self, start, end):
        return " ".join(COMMENT.sub(" ", self.text[start:end]).split())

    def pure(self, cursor):
        text = self.text[slice(*self.span(cursor))]
        if "atomic" in text or "++" in text or "--" in text:
            return False
        return not any(
            c.kind in EFFECTS or (c.kind == K.UNARY_OPERATOR and
                                  "++" in c.spelling)
            for c in cursor.walk_preorder())

    # ---- points --------------------------------------------------------

    def point(self, span, kind):
        """The point there; one for all that is said of it."""
        text = self.text[slice(*span)]
        if text.count("(") != text.count(")"):
            return None
        key = (*span, kind)
        if key not in self.seen:
            point = self.seen[key] = Point(*span, kind)
            point.function = self.function
            point.context = self.context
            point.line = self.text.count("\n", 0, span[0]) + 1
            self.points.append(point)
        return self.seen[key]

    def add(self, span, op, text, same=False, kind="expr"):
        point = self.point(span, kind) if span else None
        if point and all(m.text != text for m in point.mutants):
            point.mutants.append(Mutant(op, text, same))
        return point

    def _number(self):
        """Ids that stay when something else is edited."""
        self.points = [p for p in self.points if p.mutants]
        self.points.sort(key=lambda p: (p.start, -p.end, p.kind != "stmt"))
        counts = {}
        for point in self.points:
            old = self.squeezed(point.start, point.end)
            for mutant in point.mutants:
                what = "\0".join((point.context, old, mutant.text))
                key = "%s:%s:%s:%s" % (
                    self.path, point.function, mutant.op,
                    hashlib.sha1(what.encode()).hexdigest()[:8])
                mutant.id = "%s:%d" % (key, counts.get(key, 0))
                counts[key] = counts.get(key, 0) + 1

    # ---- statements ----------------------------------------------------

    def statement(self, cursor):
        span = self.span(cursor)
        if not span:
            return
        children = list(cursor.get_children())
        if not self.plain(cursor) and cursor.kind != K.CALL_EXPR:
            self.simple(cursor, span)
            return
        walk = {
            K.COMPOUND_STMT: self.compound, K.IF_STMT: self.branch,
            K.WHILE_STMT: self.loop_while, K.DO_STMT: self.loop_do,
            K.FOR_STMT: self.loop_for, K.SWITCH_STMT: self.switch,
            K.DECL_STMT: self.declaration, K.RETURN_STMT: self.result,
        }.get(cursor.kind)
        if walk:
            self.context = self.squeezed(*span)
            walk(cursor, children, span)
        elif cursor.kind in (K.CASE_STMT, K.DEFAULT_STMT, K.LABEL_STMT):
            self.statement(children[-1])
        elif cursor.kind != K.NULL_STMT:
            self.simple(cursor, span)

    def compound(self, _cursor, children, _span):
        for child in children:
            self.statement(child)

    def simple(self, cursor, span):
        """A statement that can be left out."""
        self.context = self.squeezed(*span)
        text = self.text[span[0]:span[1]]
        end = re.compile(r"\s*;").match(self.text, span[1])
        if end and not HINT.match(text):
            op = "call" if cursor.kind == K.CALL_EXPR else "delete"
            self.add((span[0], end.end()), op, ";", kind="stmt")
        self.expression(cursor)

    def branch(self, _cursor, children, _span):
        self.condition(children[0])
        for child in children[1:]:
            self.statement(child)

    def loop_while(self, _cursor, children, _span):
        self.condition(children[0], loop=True)
        self.statement(children[-1])

    def loop_do(self, _cursor, children, _span):
        self.statement(children[0])
        self.condition(children[-1], loop=True)

    def loop_for(self, _cursor, children, span):
        """libclang does not say which of the three parts are missing."""
        ends, depth = [], 0
        for at in range(*span):
            depth += {"(": 1, ")": -1}.get(self.text[at], 0)
            if depth == 1 and self.text[at] == ";":
                ends.append(at)
            if depth == 0 and self.text[at] == ")":
                break
        for child in children[:-1]:
            where = self.span(child)
            if not where:
                continue
            self.context = self.squeezed(*where)
            if ends[0] < where[0] < ends[1]:
                self.condition(child, loop=True)
            elif child.kind == K.DECL_STMT:
                self.declaration(child, list(child.get_children()), where)
            else:
                self.expression(child)
        self.statement(children[-1])

    def switch(self, _cursor, children, _span):
        self.context = self.squeezed(*self.span(children[0]))
        self.expression(children[0])
        self.statement(children[-1])

    def declaration(self, _cursor, children, _span):
        for variable in children:
            if variable.kind != K.VAR_DECL or \
                    variable.storage_class == StorageClass.STATIC:
                continue
            where = self.span(variable)
            if where and "=" in self.text[slice(*where)]:
                self.context = self.squeezed(*where)
                self.expression(list(variable.get_children())[-1])

    def result(self, _cursor, children, span):
        if not children:
            self.simple(_cursor, span)
            return
        value = children[0]
        where = self.span(value)
        text = self.text[slice(*where)] if where else ""
        if where and not NUMBER.match(text) and not CONSTANT.match(text):
            kind = value.type.get_canonical().kind
            if kind in POINTERS:
                if text != "NULL":
                    self.add(where, "return", "(void *)0")
            elif self.bool_result:
                self.add(where, "return", "!(%s)" % self.squeezed(*where))
            elif kind != TypeKind.RECORD:
                self.add(where, "return", "0")
                self.add(where, "return", "(%s) + 1" % self.squeezed(*where))
        self.expression(value)

    def condition(self, cursor, loop=False):
        span = self.span(cursor)
        if not span:
            return
        self.context = self.squeezed(*span)
        if not loop:  # for ever would be too long
            self.add(span, "cond", "1", True)
        point = self.add(span, "cond", "0", True)
        if point:
            point.boolean = True
        self.expression(cursor)

    # ---- expressions ---------------------------------------------------

    def expression(self, cursor):
        if cursor.kind in UNEVALUATED:
            return
        span = self.span(cursor)
        if not span:
            return
        if self.constant(cursor, span):
            return
        children = list(cursor.get_children())
        if self.address(cursor):
            return
        if cursor.kind == K.BINARY_OPERATOR:
            self.binary(cursor, children, span)
        elif cursor.kind == K.COMPOUND_ASSIGNMENT_OPERATOR:
            self.assignment(children, span)
        elif cursor.kind == K.UNARY_OPERATOR and self.plain(cursor):
            self.unary(cursor, children, span)
        elif cursor.kind == K.CONDITIONAL_OPERATOR and \
                self.between(children[0], children[1]) == "?":
            self.condition(children[0])
        elif cursor.kind == K.CALL_EXPR and \
                cursor.spelling in ("__builtin_expect", "__builtin_prefetch"):
            children = children[:2]  # the others are hints
        elif cursor.kind == K.StmtExpr and self.plain(cursor):
            self.statement(children[0])
            return
        for child in children:
            self.expression(child)

    def address(self, cursor):
        """Whether it is the address of what a macro names."""
        text = self.text[slice(*self.span(cursor))]
        return text.startswith("&") and CONSTANT.match(text[1:])

    def between(self, left, right):
        """What stands between two operands."""
        left, right = self.span(left), self.span(right)
        if not left or not right or left[1] > right[0]:
            return None
        return self.squeezed(left[1], right[0])

    def constant(self, cursor, span):
        text = self.text[slice(*span)]
        number = NUMBER.match(text)
        if cursor.kind == K.CHARACTER_LITERAL and self.plain(cursor):
            self.add(span, "const", "(%s + 1)" % text)
        elif number:
            self.number(number, span)
        elif not CONSTANT.match(text):
            return False
        elif self.plain(cursor):
            if self.enumerator(cursor):
                self.add(span, "const", "(%s + 1)" % text)
        elif text in ("true", "false"):
            self.add(span, "const", "0" if text == "true" else "1")
        elif cursor.type.get_canonical().kind not in POINTERS:
            self.add(span, "const", "(%s + 1)" % text)
            # the system's are names for something, not amounts
            if text.startswith("APB_") or "#define %s " % text in self.text:
                self.add(span, "const", "(%s - 1)" % text)
                self.add(span, "const", "0")
        return True

    def number(self, number, span):
        text, value = number[0], int(number[2], 0)
        if number[1]:
            self.add(span, "const", "0")
            self.add(span, "const", text[1:])
            return
        self.add(span, "const", "(%s + 1)" % text)
        if value:
            self.add(span, "const", "0")
        if value > 1:
            self.add(span, "const", "(%s - 1)" % text)

    @staticmethod
    def enumerator(cursor):
        return any(c.kind == K.DECL_REF_EXPR and c.referenced and
                   c.referenced.kind == K.ENUM_CONSTANT_DECL
                   for c in cursor.walk_preorder())

    def binary(self, cursor, children, span):
        op = self.between(*children)
        if op not in BINARY and op not in ("&&", "||"):
            return
        a, b = ("(%s)" % self.squeezed(*self.span(c)) for c in children)
        if op not in BINARY:
            self.add(span, "logic", "%s %s %s" % (
                a, "||" if op == "&&" else "&&", b))
            self.add(span, "logic", "!!" + a, self.pure(cursor))
            self.add(span, "logic", "!!" + b)
            return
        pointers = [c.type.get_canonical().kind in POINTERS for c in children]
        if pointers[1] and BINARY[op][0] == "arith":
            return
        pure = self.pure(cursor)
        for other in BINARY[op][1]:
            self.add(span, BINARY[op][0], "%s %s %s" % (a, other, b), pure)

    def assignment(self, children, span):
        op = self.between(*children)
        if op in ASSIGN:
            self.add(span, "assign", "%s %s (%s)" % (
                self.squeezed(*self.span(children[0])), ASSIGN[op],
                self.squeezed(*self.span(children[1]))))

    def unary(self, cursor, children, span):
        text = self.squeezed(*span)
        op = UNARY.get(self.lib.clang_getCursorUnaryOperatorKind(cursor))
        operand = self.span(children[0])
        if not op or not operand:
            return
        operand = self.squeezed(*operand)
        if op in ("x++", "x--"):
            self.add(span, "step", operand + ("--" if op == "x++" else "++"))
        elif op in ("++x", "--x"):
            self.add(span, "step", ("--" if op == "++x" else "++") + operand)
        elif not text.startswith(op):
            return
        elif op != "!":
            self.add(span, "unary", operand, self.pure(cursor))
        elif operand[0] != "!":
            self.add(span, "unary", "!!" + operand, self.pure(cursor))
