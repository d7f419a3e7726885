# SPDX-License-Identifier: MIT
"""Hand-made seeds of what is called: realloc, calloc, aligned and sized calls,
settle, trim, options, bulk operations.

See seeds.py, which runs them.
"""
from encode import (CLASSES, SHAPE_BYTES, SHAPE_FEW, SHAPE_ONE, SLOTS,
                    class_size)

LARGE = 32768   # the largest size that comes from a pool
ARENA = 1 << 20
EDGES = (1, 15, 16, 17, 32, 33, 511, 512, 513, 640, 1023, 1024, 1025, 4095,
         4096, 4097, 8191, 8192, 8193, 16384, 32767, 32768)
LARGE_EDGES = (32769, 36864, 36865, 65536, 262144, ARENA - 1, ARENA,
               ARENA + 1, 2 * ARENA + 4096, 5 * ARENA)


# ---- realloc --------------------------------------------------------------

def realloc_across_classes(s):
    """Up and down through every class, to large and back."""
    b = s.malloc(1)
    sizes = [class_size(c) for c in range(1, CLASSES + 1)]
    for size in sizes:
        s.realloc(b, size)
        s.realloc(b, size + 1)
    for size in LARGE_EDGES:
        s.realloc(b, size)
    s.verify()
    for size in reversed(LARGE_EDGES):
        s.realloc(b, size)
    for size in reversed(sizes):
        s.realloc(b, size)
        s.realloc(b, size - 1)
    s.realloc(b, 0)
    s.free(b)
    s.check()


def realloc_many(s):
    """Several blocks that grow in turn, as buffers do, then shrink."""
    blocks = [s.malloc(8 + i) for i in range(12)]
    size = 16
    while size < 200000:
        for i, b in enumerate(blocks):
            s.realloc(b, size + 7 * i)
        size += size // 2
    s.verify()
    while size > 20:
        for i, b in enumerate(blocks):
            if i % 2:
                s.realloc(b, size - i)
            else:
                s.reallocarray(b, size)
        size //= 3
    s.check()


def realloc_of_nothing(s):
    """NULL, and zero bytes."""
    s.realloc(3, 40)
    s.reallocarray(3, 80)
    s.realloc(3, 0)
    s.realloc(3, 1)
    s.free(3)
    s.malloc(0)
    s.calloc(0)
    s.verify()


def large_grow(s):
    """In place while nothing is in the way; otherwise to another place."""
    a = s.malloc(40960)
    for pages in (11, 12, 20, 21, 64, 65, 255, 256, 257, 511, 512, 513):
        s.realloc(a, pages * 4096)
    b = s.malloc(65536)
    c = s.malloc(65536)
    for pages in (17, 32, 100, 256, 300, 600):
        s.realloc(b, pages * 4096)
        s.realloc(c, pages * 4096 - 1)
    s.verify()
    for pages in (599, 256, 255, 100, 33, 9):
        s.realloc(a, pages * 4096)
        s.realloc(b, pages * 4096 + 1)
    s.realloc(c, 32768)             # no longer large
    s.realloc(c, 32769)
    s.free(b)
    s.realloc(a, 3 * ARENA)
    s.check()
    s.free_all()


def large_edges(s):
    """Sizes at which a large block takes another page or another MiB."""
    for size in LARGE_EDGES:
        for off in (-4097, -4096, -1, 0, 1, 4096):
            if size + off > LARGE:
                s.malloc(size + off)
        s.check()
        s.usable(s.live[-1])
        s.free_all()
    blocks = s.bulk(40, 40960)
    s.free_each(blocks[::2])
    s.bulk(25, 36864)
    s.check()
    s.trim()


# ---- calloc, aligned, sized -----------------------------------------------

def calloc_after_dirty_free(s):
    """Zeroes have to be made where memory was used, and kept where not."""
    for size in EDGES + LARGE_EDGES[:6]:
        b = s.malloc(size)
        c = s.malloc(size)
        s.free(b)
        s.free(c)
        s.calloc(size, SHAPE_ONE)
        s.calloc(size, SHAPE_FEW)
        if size <= 4097:
            s.calloc(size, SHAPE_BYTES)
    s.verify()
    s.free_all()
    s.trim()                        # purged pages are scribbled over
    for size in EDGES:
        s.calloc(size)
    s.free_all()
    s.settle()
    for size in reversed(EDGES):
        s.calloc(size)
        b = s.calloc(size)
        s.realloc(b, size + 100)
    s.check()


def aligned_powers(s, free):
    """Every power of two, with sizes around it and around the classes."""
    for shift in range(23):
        align = 1 << shift
        sizes = {1, 16, 17, 100, 1000, 5000, 32768, 32769}
        if align <= 65536:
            sizes |= {align - 1, align, align + 1, 3 * align}
        elif align <= 1 << 20:
            sizes |= {align}
        for size in sorted(sizes):
            s.aligned(align, size)
        s.verify()
        if shift % 3 == 2:
            s.check()
            for b in list(s.live):
                s.free(b, free)
    s.free_all()
    s.check()


def aligned_realloc(s):
    """An aligned block may move to a plain one."""
    for shift in (5, 8, 12, 13, 16, 20, 21):
        a = s.aligned(1 << shift, 100)
        b = s.aligned(1 << shift, 40000)
        for size in (101, 112, 113, 5000, 50000, 100, 1):
            s.realloc(a, size)
            s.realloc(b, size)
        s.verify()
    s.bulk(30, 4096)
    s.check()
    s.free_all()


def aligned_beside_plain(s):
    """Aligned and plain blocks of the same classes, freed in turn."""
    for shift in (5, 6, 7, 9, 10, 12):
        align = 1 << shift
        plain = s.bulk(20, align)
        mixed = [s.aligned(align, align - i % 2) for i in range(20)]
        s.free_each(plain[::2] + mixed[1::2])
        s.settle()
        for size in (align, 2 * align, 3 * align):
            s.aligned(align, size)
        s.check()
    s.trim()


def sized_frees(s):
    for cls in range(1, CLASSES + 1):
        blocks = [s.malloc_near(cls, off) for off in (-1, 0, 1)]
        for b in blocks:
            s.free(b, "free_sized")
    for size in LARGE_EDGES:
        s.free(s.malloc(size), "free_sized")
        b = s.malloc(size)
        s.realloc(b, size + 4096)
        s.free(b, "free_sized")
    s.free(s.malloc(0), "free_sized")
    s.free(s.calloc(0), "free_sized")
    s.check()


def usable(s):
    """All of a block may be written, up to its neighbours."""
    for size in EDGES + LARGE_EDGES:
        blocks = [s.malloc(size) for _ in range(3)]
        for b in blocks:
            s.usable(b)
        s.verify()
        s.realloc(blocks[1], size + 1)
        s.usable(blocks[1])
        s.free_each(blocks[:2])
    s.verify()
    s.check()


# ---- settle, trim, options, bulk ------------------------------------------

def settle_and_trim_between(s):
    """After every few operations, at every stage."""
    sizes = (16, 24, 48, 100, 500, 512, 700, 2000, 9000, 30000, 50000)
    for step in range(60):
        size = sizes[step * 7 % len(sizes)]
        s.bulk(1 + step * 5 % 40, min(size, 32768))
        (s.settle, s.trim, s.check, s.verify)[step % 4]()
        if len(s.live) > 60:
            s.bulk_free(len(s.live) * 2 // 3, first=step, stride=1 + step % 9)
        (s.trim, s.settle)[step // 2 % 2]()
    s.free_all()
    s.trim()
    s.trim()
    s.check()


def options(s):
    """Settle period and dirty limit change while blocks live."""
    for period in range(3):
        for dirty in range(3):
            s.option(period=period, dirty=dirty)
            blocks = s.bulk(300, 64) + s.bulk(40, 2048)
            s.free_each(blocks[::5])
            s.bulk_free(100, stride=3)
            s.check()
            s.bulk(50, 8192)
            s.free_all()
            s.check()
    s.option(period=0, dirty=0)


def bulk_strides(s, size):
    """Every stride of bulk free, and what it left filled again."""
    for stride in range(1, 17):
        s.bulk(500 - len(s.live) % 100, size)
        s.bulk_free(250, first=stride * 11, stride=stride)
        s.bulk(60, size + 16)
        if stride % 4 == 0:
            s.settle()
            s.check()
    s.verify()
    s.free_all()


def last_in_first_out(s):
    """A list of frees as a stack: what goes last comes back first."""
    blocks = s.bulk(64, 64)
    for depth in (1, 2, 3, 31, 32, 33, 64):
        s.free_each(blocks[:depth])
        blocks[:depth] = [s.malloc(64) for _ in range(depth)]
    s.check()
    for _ in range(40):
        s.free(s.malloc(64))
    s.free_each(reversed(blocks))
    s.check()


def reset_at_work(s):
    """Everything is dropped while pools, large blocks and spares exist."""
    for size in (16, 512, 1024, 20000):
        s.bulk(300, size)
        s.malloc(3 * ARENA)
        s.aligned(ARENA, 100)
        s.bulk_free(150, stride=2)
        s.reset()
        s.check()
    s.bulk(10, 100)
    s.reset()
    s.reset()
    s.malloc(5)


def slots_run_out(s):
    """Every slot taken: allocations beyond do nothing."""
    s.bulk(SLOTS, 16)
    for _ in range(3):
        s.blind = True
        s.bulk(100, 48)
        s.malloc(100, slot=77)
        s.blind = False
    s.check()
    s.bulk_free(1024, stride=16)
    s.bulk(1000, 32)
    s.check()
    s.free_all()
