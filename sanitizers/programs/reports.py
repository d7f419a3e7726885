# SPDX-License-Identifier: MIT
"""What a report of AddressSanitizer says, taken apart."""

import re

FRAME = re.compile(r"^ +#\d+ 0x[0-9a-f]+ (?:in (\S+)(.*))?")
# Where a block is made or freed: the functions that do it, not their callers.
ALLOCATORS = re.compile(
    r"^(?:_+(?:interceptor|wrap|real|interceptor_trampoline)_)*"
    r"_*(?:apb_(?:core_|track_|own_)?)?"
    r"(?:malloc|calloc|realloc|reallocarray|free|strdup|strndup|aligned_alloc|"
    r"posix_memalign|free_sized)$")
OURS = re.compile(r"/(?:alloc/track|sanitizers/wrap)/\w+\.c:")


def frames(text, own=True):
    """Names of the functions of the first stack in @text; @own False: without
    those of the allocator at its top."""
    names, seen = [], False
    for line in text.splitlines():
        found = FRAME.match(line)
        if not found:
            if seen:
                break
            continue
        seen = True
        name, place = found[1] or "?", found[2] or ""
        if own or names or not (ALLOCATORS.match(name) or OURS.search(place)):
            names.append(name)
    return names


def stack_after(text, what):
    """The stack below the line that has @what; [] if there is none."""
    found = re.search(what + r".*\n", text)
    return frames(text[found.end():], own=False) if found else []


class Report:
    """@kind, @access ("WRITE of size 1"), @where ("0 bytes after 13-byte
    region"), @at: the stack of the error, @born and @died: of the block."""

    def __init__(self, text):
        self.text = text
        found = re.search(r"ERROR: AddressSanitizer: (?:attempting )?(\S+)",
                          text)
        self.kind = found[1] if found else None
        found = re.search(r"^(READ|WRITE) of size \d+", text, re.M)
        self.access = found[0] if found else None
        found = re.search(r"is located (\d+ bytes (?:\w+ )*\d+-byte region)",
                          text)
        self.where = found[1] if found else None
        error = re.search(r"ERROR: AddressSanitizer.*\n", text)
        self.at = frames(text[error.end():]) if error else []
        self.born = stack_after(text, r"allocated by thread T\d+.* here:")
        self.died = stack_after(text, r"\bfreed by thread T\d+.* here:")

    def same(self, other):
        """What differs from another report, in words; "" if nothing does."""
        for name in ("kind", "access", "where"):
            if getattr(self, name) != getattr(other, name):
                return "%s: %s, not %s" % (name, getattr(self, name),
                                           getattr(other, name))
        for name in ("at", "born", "died"):
            mine, its = getattr(self, name), getattr(other, name)
            if mine != its:
                return "stack %s: %s, not %s" % (
                    name, " < ".join(mine[:6]) or "none",
                    " < ".join(its[:6]) or "none")
        return ""
