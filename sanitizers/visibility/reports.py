# SPDX-License-Identifier: MIT
"""What a tool said, as fields.

parse() takes what a program printed under a tool and its exit status, and
gives a dictionary of strings.  A program of which nothing was said has none but
"exit".

  kind    what it is, in the tool's words; "crash"; "misuse": in apb's own
  access  read or write, and of how many bytes
  in      the program's functions at the top of the stack, innermost first
  thread  which did it: main, T1, T2 in the order in which they were made
  block   bytes of the block
  at      where: "0 after", "1 before", "3 inside" it
  born    the functions that made the block; born-by: the thread
  died    the functions that freed it; died-by: the thread
  other   the access that it races with: access, thread, functions
  leak    what is lost: bytes, blocks, direct or not, functions
  origin  of what is not initialised: born or died
  sizes   bytes and alignment of the block and those it is freed with
  more    how many reports came after this one
  exit    exit status, or signal
"""

import os
import re

# As many of the program's functions of each stack are compared.
DEPTH = 3
SOURCES = {name for name in os.listdir(os.path.dirname(
    os.path.abspath(__file__))) if name.endswith(".c")}

# "#1 0x55 in f file.c:1:2" of ASan, "#1 f file.c:1:2 (client+0x1)" of TSan,
# "by 0x55: f (file.c:1)" of valgrind.  There may be blanks in a file's path.
FRAME = re.compile(
    r"^\s*#\d+ (?:0x[0-9a-f]+ in )?(?P<fn>\S+) (?P<file>.+?):\d+(?::\d+)?"
    r"(?: \(.*)?$|"
    r"^\s*(?:at|by) 0x[0-9A-F]+: (?P<fn2>\S+) \((?P<file2>[^:()]+):\d+\)$")
ANY_FRAME = re.compile(r"^\s*(?:#\d+ \S|(?:at|by) 0x[0-9A-F]+: )")


def stack(lines):
    """The program's functions of the stack that @lines begin with: "f<g"."""
    names = []
    for line in lines:
        if not ANY_FRAME.match(line):
            break
        found = FRAME.match(line)
        if not found:
            continue
        name = found["fn"] or found["fn2"]
        if os.path.basename(found["file"] or found["file2"]) in SOURCES \
                and name != "main":
            names.append(name)
    return "<".join(names[:DEPTH])


def after(lines, pattern, start=0):
    """Where @pattern is found first: (number of the next line, match)."""
    for number in range(start, len(lines)):
        found = re.search(pattern, lines[number])
        if found:
            return number + 1, found
    return len(lines), None


def thread_name(text):
    text = text.strip()
    if text in ("main thread", "T0", "#1", "1"):
        return "main"
    found = re.search(r"T?(\d+)$", text)
    return "T%s" % found[1] if found else text


def put(fields, name, value):
    if value:
        fields[name] = value


def number(text):
    return text.replace(",", "")


# ---- ASan, LSan, MSan, TSan -------------------------------------------------


LOCATED = re.compile(
    r"is located (\d+) bytes (inside of|after|before|to the right of|"
    r"to the left of) (\d+)-byte region")
WHERE = {"inside of": "inside", "after": "after", "before": "before",
         "to the right of": "after", "to the left of": "before"}


def leaks(lines):
    found = []
    for i, line in enumerate(lines):
        m = re.match(r"(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) "
                     r"object\(s\) allocated from:", line)
        if m:
            found.append("%s/%s/%s/%s" % (m[2], m[3], m[1].lower(),
                                          stack(lines[i + 1:])))
    return ",".join(sorted(found))


def asan(lines, fields, kind):
    if any(re.search(r"ERROR: \w+Sanitizer: ", line) for line in lines):
        fields["kind"] = kind
    at, found = after(lines, r"^(READ|WRITE) of size (\d+) at \S+ thread (\w+)")
    if found:
        fields["access"] = "%s/%s" % (found[1].lower(), found[2])
        fields["thread"] = thread_name(found[3])
    else:
        at, found = after(lines, r"ERROR: \w+Sanitizer")
        found = found and re.search(r"in thread (T\d+)", found.string)
        if found:
            fields["thread"] = thread_name(found[1])
        while at < len(lines) and not ANY_FRAME.match(lines[at]):
            at += 1
    put(fields, "in", stack(lines[at:]))
    sizes = re.findall(r"(size|alignment) of the (?:de)?allocated type: +(\d+|"
                       r"default-aligned)", "\n".join(lines))
    put(fields, "sizes", "/".join(value for _, value in sizes))
    at, found = after(lines, LOCATED.pattern, at)
    if not found:
        return
    fields["at"] = "%s/%s" % (found[1], WHERE[found[2]])
    fields["block"] = found[3]
    for name, heading in (("died", r"^freed by thread (\w+)"),
                          ("born",
                           r"^(?:previously )?allocated by thread (\w+)")):
        where, found = after(lines, heading, at)
        if found:
            put(fields, name, stack(lines[where:]))
            fields[name + "-by"] = thread_name(found[1])


def msan(lines, fields, kind):
    fields["kind"] = kind
    at, _ = after(lines, r"WARNING: MemorySanitizer")
    put(fields, "in", stack(lines[at:]))
    _, found = after(lines, r"Uninitialized bytes in (\S+) at offset (\d+)")
    if found:
        fields["at"] = found[2] + "/inside"
    where, found = after(lines, r"Uninitialized value was created by a heap "
                         r"(allocation|deallocation)", at)
    if found:
        name = "born" if found[1] == "allocation" else "died"
        fields["origin"] = name
        put(fields, name, stack(lines[where:]))
        return
    where, found = after(lines, r"Memory was marked as uninitialized", at)
    if found:
        # The first function that is the allocator's says which.
        callers = [line for line in lines[where:where + 8]
                   if ANY_FRAME.match(line) and not FRAME.match(line)
                   or FRAME.match(line) and os.path.basename(
                       FRAME.match(line)["file"]) not in SOURCES]
        died = any(re.search(r"\w*(free|died|dies|reset)", line)
                   for line in callers[:8])
        name = "died" if died else "born"
        fields["origin"] = name
        put(fields, name, stack(lines[where:]))


def tsan(lines, fields, kind):
    fields["kind"] = kind
    start, _ = after(lines, r"WARNING: ThreadSanitizer")
    end, _ = after(lines, r"^SUMMARY: ThreadSanitizer", start)
    lines = lines[start:end]
    at, found = after(lines, r"^  (Read|Write|Atomic \w+) of size (\d+) at "
                      r"(0x[0-9a-f]+) by (main thread|thread T\d+)")
    address = 0
    if found:
        address = int(found[3], 16)
        fields["access"] = "%s/%s" % (found[1].lower(), found[2])
        fields["thread"] = thread_name(found[4])
        put(fields, "in", stack(lines[at:]))
    at, found = after(lines, r"^  Previous (\w+(?: \w+)?) of size (\d+) at "
                      r"0x[0-9a-f]+ by (main thread|thread T\d+)")
    if found:
        fields["other"] = "%s/%s/%s/%s" % (
            found[1].lower(), found[2], thread_name(found[3]),
            stack(lines[at:]))
    at, found = after(lines, r"Location is heap block of size (\d+) at "
                      r"(0x[0-9a-f]+) allocated by (main thread|thread T\d+)")
    if found:
        fields["block"] = found[1]
        fields["at"] = "%d/inside" % (address - int(found[2], 16))
        fields["born-by"] = thread_name(found[3])
        put(fields, "born", stack(lines[at:]))


KINDS = re.compile(r"^SUMMARY: (\w+)Sanitizer: (data race|[\w-]+)", re.M)
PARSERS = {"Address": asan, "Memory": msan, "Thread": tsan}
# What apb reports in all of them in AddressSanitizer's words.
FREES = ("double-free", "bad-free", "new-delete-type-mismatch",
         "bad-malloc_usable_size")
# What all of them report in the same words.
REFUSED = ("calloc-overflow", "reallocarray-overflow", "out-of-memory",
           "allocation-size-too-big", "invalid-aligned-alloc-alignment")


def crashed(lines, fields):
    """The tool, or the program, fell over it."""
    fields["kind"] = "crash"
    at, _ = after(lines, r"CHECK failed|DEADLYSIGNAL")
    while at < len(lines) and not ANY_FRAME.match(lines[at]):
        at += 1
    put(fields, "in", stack(lines[at:]))


def sanitizer(text, fields):
    lines = text.splitlines()
    kinds = KINDS.findall(text)
    if "detected memory leaks" in text:
        fields["kind"] = "leak"
        put(fields, "leak", leaks(lines))
    elif "DEADLYSIGNAL" in text or "CHECK failed" in text:
        crashed(lines, fields)
    elif kinds:
        tool, kind = kinds[0]
        if kind in FREES + REFUSED:
            asan(lines, fields, kind)
        elif tool in PARSERS and kind != "SEGV":
            PARSERS[tool](lines, fields, kind.replace(" ", "-"))
        else:
            crashed(lines, fields)
        if len(kinds) > 1:
            fields["more"] = str(len(kinds) - 1)


# ---- valgrind ---------------------------------------------------------------


def without_pid(text):
    """Only valgrind's lines, what comes before them cut off."""
    return [m[1] for m in re.finditer(r"^==\d+== ?(.*)$", text, re.M)]


ADDRESS = re.compile(
    r"Address 0x[0-9a-f]+ is ([\d,]+) bytes (inside|after|before) "
    r"(?:a|an unallocated|a recently re-allocated) block of size ([\d,]+) "
    r"(alloc'd|free'd)")
ERRORS = (
    (r"Invalid (read|write) of size (\d+)", "invalid-access"),
    (r"(Invalid free\(\))", "invalid-free"),
    (r"(Mismatched free\(\))", "mismatched-free"),
    (r"(Conditional jump or move depends on uninit)", "uninitialised"),
    (r"(Use of uninitialised value)", "uninitialised"),
    (r"(Syscall param .* points to uninit)", "uninitialised-syscall"),
    (r"(Syscall param .* points to unaddressable)", "unaddressable-syscall"),
    (r"(Source and destination overlap)", "overlap"),
    (r"Possible data race during (read|write) of size (\d+) .* by "
     r"thread #(\d+)", "data-race"),
    (r"(Argument '\w+' of function \w+ has a fishy)", "fishy-size"),
    (r"(Process terminating with default action)", "crash"),
)


def lost(lines):
    found = []
    for i, line in enumerate(lines):
        m = re.match(r"([\d,]+)(?: \(([\d,]+) direct, ([\d,]+) indirect\))? "
                     r"bytes in ([\d,]+) blocks are (definitely|possibly|"
                     r"indirectly) lost", line)
        if m:
            found.append("%s/%s/%s/%s" % (
                number(m[2] or m[1]) + ("+" + number(m[3]) if m[3] else ""),
                number(m[4]), m[5], stack(lines[i + 1:])))
    return ",".join(sorted(found))


def valgrind_error(lines, fields, found, kind):
    """One error: the lines of its paragraph, the first is its heading."""
    fields["kind"] = kind
    if kind in ("invalid-access", "data-race"):
        fields["access"] = "%s/%s" % (found[1], found[2])
    if kind == "data-race":
        fields["thread"] = thread_name("#" + found[3])
        at, _ = after(lines, r"Locks held")
        put(fields, "in", stack(lines[at:]))
        at, found = after(lines, r"conflicts with a previous (\w+) of size "
                          r"(\d+) by thread #(\d+)")
        if found:
            where, _ = after(lines, r"Locks held", at)
            fields["other"] = "%s/%s/%s/%s" % (
                found[1], found[2], thread_name("#" + found[3]),
                stack(lines[where:]))
    else:
        put(fields, "in", stack(lines[1:]))
    at, found = after(lines, ADDRESS.pattern)
    if found:
        fields["at"] = "%s/%s" % (number(found[1]), found[2])
        fields["block"] = number(found[3])
        put(fields, "born" if found[4] == "alloc'd" else "died",
            stack(lines[at:]))
        at, found = after(lines, r"Block was alloc'd at", at)
        if found:
            put(fields, "born", stack(lines[at:]))
        _, found = after(lines, r"Block was alloc'd by thread #(\d+)")
        if found:
            fields["born-by"] = thread_name("#" + found[1])
    at, found = after(lines, r"Uninitialised value was created by (.*)")
    if found:
        fields["origin"] = {"a heap allocation": "born"}.get(
            found[1], found[1].replace(" ", "-"))
        put(fields, "born", stack(lines[at:]))


def valgrind(text, fields):
    lines = without_pid(text)
    starts = []
    for i, line in enumerate(lines):
        for pattern, kind in ERRORS:
            found = re.match(pattern, line.strip())
            if found:
                starts.append((i, found, kind))
    if starts:
        first, found, kind = starts[0]
        end = starts[1][0] if len(starts) > 1 else len(lines)
        blank = next((i for i in range(first, end) if lines[i] == ""
                      and kind != "data-race"), end)
        valgrind_error(lines[first:blank], fields, found, kind)
        if len(starts) > 1:
            fields["more"] = str(len(starts) - 1)
    what = lost(lines)
    if what:
        fields.setdefault("kind", "leak")
        fields["leak"] = what


# ---- all --------------------------------------------------------------------


def parse(tool, text, status):
    """The fields of what @tool made a program print."""
    fields = {}
    if tool in ("valgrind", "helgrind"):
        valgrind(text, fields)
    else:
        sanitizer(text, fields)
    if status == -6 and re.search(r"^apb: .*, in apb_\w+\(\)$", text, re.M):
        # The allocator's own word: it is always looking.
        fields.setdefault("kind", "misuse")
    if status is None:
        fields["exit"] = "timeout"
    elif status < 0:
        fields.setdefault("kind", "crash")
        fields["exit"] = "signal-%d" % -status
    else:
        fields["exit"] = str(status)
    return fields


def line_of(fields):
    """As it is in a table of expectations; what is not worth a word, "-"."""
    if fields == {"exit": "0"}:
        return "-"
    return " ".join("%s=%s" % item for item in fields.items())


def fields_of(line):
    """The opposite; ValueError if it is no such line."""
    if line == "-":
        return {"exit": "0"}
    fields = {}
    if not line:
        raise ValueError("no fields")
    for word in line.split():
        name, equals, value = word.partition("=")
        if not equals or not value or name in fields:
            raise ValueError("%s: no field" % word)
        fields[name] = value
    return fields
