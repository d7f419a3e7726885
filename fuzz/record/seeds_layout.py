# SPDX-License-Identifier: MIT
"""Hand-made seeds of where blocks lie: classes, pools, arenas.

See seeds.py, which runs them.
"""
from encode import CLASSES, arena_blocks, class_size, pool_blocks


# ---- classes and pools ----------------------------------------------------

def one_class(s, cls):
    """A class filled beyond one pool, thinned, filled again, emptied."""
    size = class_size(cls)
    n = pool_blocks(size) + 3
    blocks = s.bulk(n, size)
    s.malloc_near(cls, 0)
    s.malloc_near(cls, -1)
    s.malloc_near(cls, 1)
    s.bulk_free(min(n // 2, 1024), stride=2)
    s.check()
    s.bulk(min(n // 3 + 1, 1024), size)
    s.usable(blocks[0])
    s.verify()
    s.free_all()
    s.settle()
    s.check()
    s.malloc_near(cls, 0)


def pool_states(s, size):
    """empty, used, full and back, once from each end."""
    n = pool_blocks(size)
    for backwards in (False, True):
        blocks = s.bulk(n - 1, size)
        for _ in range(3):          # over the edge between used and full
            blocks.append(s.malloc(size))
        s.free(blocks.pop())
        s.free(blocks.pop())
        blocks.append(s.malloc(size))
        s.settle()
        s.check()
        if backwards:
            blocks.reverse()
        for at in range(0, len(blocks), 64):
            s.free_each(blocks[at:at + 64])
            s.settle()
        s.check()
    s.trim()
    s.check()


def pools_of_many_classes(s):
    """Pools change hands: a class empties what another then takes."""
    for round_ in range(3):
        for cls in range(1 + round_, CLASSES + 1, 3):
            size = class_size(cls)
            s.bulk(min(pool_blocks(size) + 1, 200), size)
        s.settle()
        s.check()
        s.free_all()
        s.settle()
    s.check()
    s.trim()


# ---- memory retained -----------------------------------------------------

def large_loop(s):
    """Large blocks come and go: their mappings are cached, within bounds."""
    for cache in (0, 2, 1, 0):
        s.option(cache=cache)
        for size in (40000, 60000, 61440, 100000, 300000, 700000):
            blocks = [s.malloc(size) for _ in range(5)]
            s.free_each(blocks[:3])
            s.calloc(size - 4096)
            s.calloc(size)
            s.check()
            s.free_each(blocks[3:])
            b = s.malloc(size * 3 // 4)
            s.realloc(b, size)
            s.realloc(b, size + 50000)
            s.aligned(1 << 21, size)
            s.free_all()
            s.check()
    s.trim()
    s.check()


def time_passes(s):
    """What is not needed for a while is given back; what is, stays."""
    for delay in (0, 2, 1, 0):
        s.option(delay=delay)
        for time in (0, 1, 2):
            s.bulk(600, 3000)
            big = [s.malloc(200000) for _ in range(3)]
            s.free_each(big)
            s.bulk_free(590, stride=1)
            s.settle()
            s.passes(time)
            s.bulk(60, 3000)
            s.free(s.malloc(90000))
            s.passes(time)
            s.passes(time)
            s.bulk(20, 100)
            s.free(s.malloc(200000))
            s.check()
            s.free_all()
            s.settle()
            s.passes(2)
            s.malloc(500)
            s.check()
    s.trim()


def swells(s):
    """The same much again and again: the bound on what stays adapts."""
    for round_ in range(8):
        s.bulk(1000, 4096)
        s.calloc(1500000)
        s.free_all()
        s.settle()
        s.passes(round_ % 2)
        s.check()
    for _ in range(6):
        s.passes(1)
        s.free(s.malloc(40000))
        s.bulk(3, 9000)
    s.check()


# ---- arenas ---------------------------------------------------------------

def two_arenas(s, size):
    """An arena filled to the last block, a second one begun and left."""
    blocks = s.bulk(arena_blocks(size) + pool_blocks(size), size)
    s.check()
    s.bulk_free(pool_blocks(size), first=len(blocks) - 1)
    s.settle()
    s.check()
    s.bulk(2 * pool_blocks(size), size)
    s.free_all()
    s.settle()
    s.check()
    s.trim()
    s.check()


def every_nth(s, n, rest):
    """Of two arenas every n-th block goes, or (rest) all of the others."""
    size = 2048
    blocks = s.bulk(2 * arena_blocks(size), size)
    s.free_each(b for i, b in enumerate(blocks) if (i % n == 0) != rest)
    s.settle()
    s.check()
    s.bulk(100, size)
    s.bulk(100, 96)
    s.verify()
    s.trim()
    s.check()


def drain_from_the_fullest(s):
    """Arenas 90, 50 and 10 % full: new pools have to come from the first."""
    size = 1024
    per = arena_blocks(size)
    arenas = [s.bulk(per, size) for _ in range(3)]
    for blocks, keep in zip(arenas, (9, 5, 1)):
        # whole pools of 16 blocks, so that pools become free
        for at in range(0, per, 160):
            for b in blocks[at + 16 * keep:at + 160:3]:
                s.free(b)
    s.settle()
    s.check()
    for size in (32, 256, 640):
        s.bulk(pool_blocks(size) + 1, size)
        s.check()
    s.trim()
    for blocks in arenas:
        s.free_each([b for b in blocks[::7] if b in s.where])
    s.settle()
    s.check()


def whole_pools_go(s):
    """Pool by pool, from the middle arena of three."""
    size = 4096
    per = arena_blocks(size)
    arenas = [s.bulk(per, size) for _ in range(3)]
    for at in range(0, per, 16):
        s.free_each(arenas[1][at:at + 16])
        s.settle()
    s.check()
    s.free_each(arenas[0][::2])
    s.settle()
    s.bulk(40, 8192)
    s.check()


def spare_thrash(s, size):
    """Over the edge of an arena and back: one spare must absorb it."""
    s.bulk(arena_blocks(size), size)
    for _ in range(6):
        over = s.bulk(pool_blocks(size) + 1, size)
        s.settle()
        s.bulk_free(len(over), first=len(s.live) - len(over))
        s.settle()
        s.check()
    s.free_all()
    for _ in range(4):
        s.bulk(8, size)
        s.free_all()
        s.settle()
    s.check()


def purge_and_use_again(s):
    """Empty pools beyond the dirty limit are purged, then handed out."""
    for round_ in range(3):
        for size in (64, 1024, 8192, 32768):
            s.bulk(min(2 * arena_blocks(size), 1024), size)
        s.free_all()
        s.settle()
        s.check()
        for size in (48, 768, 5000, 20000):
            s.calloc(size)
            s.bulk(20, size)
        s.verify()
        if round_ == 1:
            s.trim()
    s.free_all()
    s.trim()
