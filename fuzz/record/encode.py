# SPDX-License-Identifier: MIT
"""Inputs of the harness, written from scripts: fuzz/README.md in reverse.

A Seed collects operations, and keeps the slots and the dense list of live
blocks as the harness will, so that a scenario can say "free the block that I
made there".  What every record is to mean is kept beside its bytes: the test
holds it against what the harness decodes.

That holds as long as no allocation fails; a scenario in which one may fail
has to live with frees that hit other blocks than it thinks, or to set `blind`:
then slots are not kept, and only bulk operations make sense.
"""
import struct

SLOTS = 16384
CLASSES = 56
BULK_MAX = 1024
BULK_BYTES = 2 << 20
BYTEWISE = 32768        # beyond, the exact mode is exact to the page
PTRDIFF_MAX = (1 << 63) - 1
SIZE_MAX = (1 << 64) - 1

# flags of the simulated kernel
HINTS, MISALIGN, REUSE, NONZERO, TIGHT = 1, 2, 4, 8, 16
PURGE_ZEROES, NO_CLOCK = 64, 128    # these stand in another byte
FEW = 256                           # and so does this, as another bit
FEW_BIT = 8
FLAGS_1 = PURGE_ZEROES | NO_CLOCK

# fault: which calls fail, and the mask of calls
ONCE, FROM, RANDOM = 1, 2, 3
MAP, UNMAP, PURGE, REMAP = 1, 2, 4, 8

# how many threads a header can have, and how it says so
THREADS = {1: 0, 2: 5, 4: 6, 8: 7}

MISUSES = ("double-free", "interior", "never-allocated", "unused-pool",
           "metadata", "foreign", "wrong-size", "wrong-align")

OPCODE = {
    "malloc": 0, "free": 5, "calloc": 10, "realloc": 11, "reallocarray": 14,
    "aligned_alloc": 15, "free_sized": 16, "free_aligned_sized": 17,
    "bulk_malloc": 18, "bulk_free": 20, "usable_size": 22, "verify": 23,
    "settle": 24, "trim": 25, "check": 26, "fault": 27, "misuse": 28,
    "scribble": 29, "option": 30, "reset": 31, "thread_end": 31,
}

MODE_BOUNDARY, MODE_UNIFORM, MODE_PAGE = 1, 2, 3
MODE_LARGE, MODE_HUGE, MODE_EXACT = 4, 5, 6
SHAPE_ONE, SHAPE_FEW, SHAPE_BYTES, SHAPE_OVERFLOW = 0, 1, 2, 3


def class_size(cls):
    """Bytes of a block of class 1 to 56."""
    if cls <= 32:
        return 16 * cls
    doubling, quarter = divmod(cls - 33, 4)
    return (512 << doubling) + (128 << doubling) * (quarter + 1)


def pool_size(size):
    """Bytes of a pool of blocks of `size` bytes."""
    return 16384 if size <= 1024 else 65536 if size <= 8192 else 131072


def pool_blocks(size):
    """Blocks of a pool at most: it may hold fewer, by its colour."""
    return pool_size(size) // size


def arena_blocks(size):
    """Blocks of an arena at most; its first pool is not used for blocks."""
    return ((1 << 20) // pool_size(size) - 1) * pool_blocks(size)


def _size(size):
    """(mode, val, size) of a size: above 1 MiB it is rounded up to pages."""
    if BYTEWISE < size < BYTEWISE + (1 << 20):
        return MODE_LARGE, size - BYTEWISE, size
    if size > BYTEWISE:
        size = (size + 4095) & ~4095
    return MODE_EXACT, size << 5, size


def _bulk_size(size):
    """(mode, 16 bits) of a size of a bulk operation; None if it has none."""
    if size <= 32768:
        return MODE_UNIFORM, size
    for val in range(1 << 16):
        if val % 9 * 4096 + (val >> 8) % 33 - 16 == size:
            return MODE_PAGE, val
    return None


class Seed:
    def __init__(self, real=False, check_often=False, small_period=False,
                 no_dirty=False, flags=0, seed=0, threads=1, locked=False, junk=False):
        self.header = (int(real), int(check_often), int(small_period),
                       int(no_dirty), flags, seed, threads, int(junk))
        self.data = bytearray(struct.pack(
            "<BBBBI", 1,
            7 * real | 6 * junk | 16 * small_period | 32 * no_dirty | flags & FLAGS_1 |
            (FEW_BIT if flags & FEW else 0),
            flags & ~(FLAGS_1 | FEW) | THREADS[threads] << 5,
            31 * check_often | 0xe0 * locked, seed))
        self.meaning = []       # what each record is to decode to
        self.live = []          # the dense list, of slots
        self.where = {}         # slot -> its place in the list
        self.blind = False
        self.thread = 0         # that does what comes next
        self.threads = threads

    # -- slots, as the harness keeps them

    def _free_slot(self, start=0):
        """The free slot that the next block should use."""
        if self.blind:
            return start
        for i in range(SLOTS):
            slot = (start + i) % SLOTS
            if slot not in self.where:
                return slot
        raise ValueError("no slot is free")

    def _made(self, slot):
        if self.blind:
            return
        self.where[slot] = len(self.live)
        self.live.append(slot)

    def _gone(self, slot):
        if self.blind:
            return
        at = self.where.pop(slot)
        last = self.live.pop()
        if last != slot:
            self.live[at] = last
            self.where[last] = at

    # -- records

    def _put(self, kind, slot=0, arg=0, val=0, size=0, n=0, align=0,
             stride=0):
        self.data += struct.pack("<BBHI", OPCODE[kind] | self.thread << 5, arg,
                                 slot, val)
        self.meaning.append((kind, slot, size, n, align, stride, self.thread))

    def _make(self, kind, slot, **fields):
        if slot is None:
            slot = self._free_slot()
        if slot in self.where and not self.blind:
            raise ValueError(f"slot {slot} is taken")
        self._put(kind, slot, **fields)
        self._made(slot)
        return slot

    def malloc(self, size, slot=None):
        mode, val, size = _size(size)
        return self._make("malloc", slot, arg=mode, val=val, size=size)

    def malloc_near(self, cls, off, slot=None):
        """Of the size of a class, and off (-1, 0, 1), by the boundary mode."""
        val = next(v for v in range(1 << 16)
                   if v % CLASSES == cls - 1 and (v >> 8) % 3 == off + 1)
        return self._make("malloc", slot, arg=MODE_BOUNDARY, val=val,
                          size=class_size(cls) + off)

    def calloc(self, size, shape=SHAPE_ONE, slot=None):
        mode, val, size = _size(size)
        n, each = (size, 1) if shape == SHAPE_BYTES else (1, size)
        if shape == SHAPE_FEW:
            n = 1 + (val >> 16) % 16
            each = size // n
        return self._make("calloc", slot, arg=shape << 3 | mode, val=val,
                          size=each, n=n)

    def aligned(self, align, size, slot=None):
        shift = align.bit_length() - 1
        mode, val, size = _size(size)
        return self._make("aligned_alloc", slot, arg=shift << 3 | mode,
                          val=val, size=size, align=align)

    def bulk(self, n, size, start=0):
        """n blocks in as few operations as it takes; their slots."""
        if _bulk_size(size) is None:
            return [self.malloc(size) for _ in range(n)]
        mode, low = _bulk_size(size)
        made = []
        while n:
            some = min(n, BULK_MAX, max(1, BULK_BYTES // max(1, size)))
            long = some > 8
            self._put("bulk_malloc", start, mode | 0xc0 * long,
                      low | (some - 1) << 16, size=size, n=some)
            slot = start
            for _ in range(some):
                slot = self._free_slot(slot)
                self._made(slot)
                made.append(slot)
            n -= some
        return made

    def _resize(self, kind, slot, size, **fields):
        mode, val, size = _size(size)
        self._put(kind, slot, mode, val, size=size, **fields)
        if not self.live:       # that is how NULL is resized
            self._made(slot)

    def realloc(self, slot, size):
        self._resize("realloc", slot, size)

    def reallocarray(self, slot, size):
        self._resize("reallocarray", slot, size, n=1)

    def free(self, slot, how="free"):
        if slot not in self.where and not self.blind:
            raise ValueError(f"slot {slot} is empty")
        self._put(how, slot)
        self._gone(slot)

    def free_each(self, slots):
        for slot in slots:
            self.free(slot)

    def bulk_free(self, n, first=0, stride=1):
        """As the harness does it; nothing is left to say what went."""
        self._put("bulk_free", first, 0xc0 * (n > 8) | (stride - 1),
                  (n - 1) << 16, n=n, stride=stride)
        at = first % len(self.live) if self.live else 0
        for _ in range(min(n, len(self.live))):
            self._gone(self.live[at])
            if self.live:
                at = (at + stride) % len(self.live)

    def free_all(self):
        while self.live:
            self.bulk_free(min(len(self.live), BULK_MAX))

    def usable(self, slot):
        self._put("usable_size", slot)

    def verify(self):
        self._put("verify")

    def settle(self):
        self._put("settle")

    def trim(self):
        self._put("trim")

    def check(self):
        self._put("check")

    def reset(self):
        self._put("reset", arg=0xa5)
        self.live, self.where = [], {}

    # -- threads

    def on(self, thread):
        """What follows is done by this thread."""
        if not 0 <= thread < self.threads:
            raise ValueError(f"there is no thread {thread}")
        self.thread = thread

    def thread_end(self, thread=None):
        """Of this one or the one that is on, which stays on."""
        now = self.thread
        if thread is not None:
            self.on(thread)
        self._put("thread_end")
        self.thread = now

    # -- what must fail, or be reported

    def huge(self, kind, val, slot=0, shift=0):
        """malloc, calloc, ... of a size that no system has."""
        low = (val >> 2) % 4096
        size = (PTRDIFF_MAX - low, PTRDIFF_MAX + 1 + low, SIZE_MAX - low,
                1 << 29 + (val >> 2) % 35)[val & 3]
        fields = {"n": 1} if kind in ("calloc", "reallocarray") else {}
        if kind == "aligned_alloc":
            fields["align"] = 1 << shift
        self._put(kind, slot, shift << 3 | MODE_HUGE, val, size=size,
                  **fields)

    def overflow(self, kind, size, slot=0):
        """calloc or reallocarray of a product over SIZE_MAX."""
        mode, val, size = _size(size)
        each = max(2, size)
        self._put(kind, slot, SHAPE_OVERFLOW << 3 | mode, val,
                  size=each, n=SIZE_MAX // each + 1 + (val >> 24) % 2)

    def bad_align(self, which, size, slot=0):
        mode, val, size = _size(size)
        self._put("aligned_alloc", slot, (23 + which) << 3 | mode, val,
                  size=size, align=(0, 3, 24, 4097)[which])

    def misuse(self, kind, slot=0, val=0):
        self._put("misuse", slot, MISUSES.index(kind), val)

    def scribble(self, back=0, how=0, val=0):
        """Over the block freed last, or the one so many before it."""
        self._put("scribble", back, how, val)

    # -- the allocator's surroundings

    def fault(self, mode, calls=MAP, n=1, in_kernel=False):
        self._put("fault", 0, mode | calls << 2 | 0x40 * in_kernel, n - 1,
                  n=n)

    def fault_off(self):
        self._put("fault", 0, 0, 0, n=1)

    def option(self, period=None, dirty=None, cache=None, delay=None):
        """period: 0 automatic, 1: 1, 2: 64; dirty: automatic, 0, 64 KiB;
        cache: 1 MiB, 0, 64 KiB; delay: 500 ms, 0, 10 ms."""
        if period is not None:
            self._put("option", 0, 1, period)
        if dirty is not None:
            self._put("option", 0, 0, dirty)
        if cache is not None:
            self._put("option", 0, 0xc0, cache)
        if delay is not None:
            self._put("option", 0, 0xc1, delay)

    def passes(self, time):
        """0: 1 ms, 1: 500 ms, 2: 10 s."""
        self._put("option", 0, 0xc2, time)
