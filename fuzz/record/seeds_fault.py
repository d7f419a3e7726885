# SPDX-License-Identifier: MIT
"""Hand-made seeds of what goes wrong: faults, misuse, huge sizes, no memory.

See seeds.py, which runs them.
"""
from encode import (FEW, FROM, HINTS, MAP, MISALIGN, MISUSES, NONZERO, ONCE, PURGE,
                    RANDOM, REMAP, REUSE, TIGHT, UNMAP,
                    arena_blocks, pool_blocks)

ARENA = 1 << 20
LARGE = 32784   # the smallest large size of 9 pages that bulk operations have
MODES = {"once": ONCE, "from": FROM, "random": RANDOM}
CALLS = {"map": MAP, "unmap": UNMAP, "purge": PURGE, "remap": REMAP,
         "any": MAP | UNMAP | PURGE | REMAP}


# ---- faults ---------------------------------------------------------------

def map_work(s):
    """Arenas and large blocks, aligned ones too."""
    s.bulk(20, LARGE)
    s.bulk(40, 32768)
    s.bulk(10, 8192)
    s.bulk(40, 600)
    s.aligned(1 << 21, 100)
    s.calloc(70000)


def unmap_work(s):
    """Large blocks go, arenas become empty, a trim."""
    s.bulk_free(8)
    s.bulk_free(12)
    s.free_all()
    s.settle()
    s.trim()


def purge_work(s):
    """Empty pools beside used ones."""
    s.bulk_free(160, stride=1)
    s.settle()
    s.bulk_free(100, first=3, stride=1)
    s.settle()
    s.trim()


def remap_work(s):
    """Large blocks grow, shrink, and are moved."""
    a, b = s.live[0], s.live[1]
    for size in (60000, 50000, ARENA + 5000, 90000):
        s.realloc(a, size)
        s.realloc(b, size + 10000)
    for size in range(60000, 200000, 10000):
        s.realloc(a, size)


BEFORE = {
    "map": lambda s: s.bulk(3, 100),
    "unmap": map_work,
    "purge": lambda s: (s.bulk(250, 4096), s.bulk(250, 1024)),
    "remap": lambda s: s.bulk(10, LARGE),
    "any": map_work,
}


def work(s, call):
    if call == "map":
        map_work(s)
    elif call == "unmap":
        unmap_work(s)
    elif call == "purge":
        purge_work(s)
    elif call == "remap":
        remap_work(s)
    else:
        remap_work(s)
        s.bulk(30, 32768)
        s.free_all()


def faults(s, mode, call, in_kernel, numbers):
    """The n-th call fails; all is sound afterwards."""
    if call == "purge":
        s.option(dirty=1)
    for n in numbers:
        BEFORE[call](s)
        s.fault(MODES[mode], CALLS[call], n, in_kernel)
        work(s, call)
        s.fault_off()
        s.check()
        s.bulk(20, 100)
        s.free_all()
        s.trim()
        s.check()


def realloc_fails(s, in_kernel):
    """No memory to move to: the block stays as it was."""
    sizes = (16, 512, 1024, 30000, 40000, 2 * ARENA)
    blocks = [s.malloc(size) for size in sizes]
    for n in (1, 2, 3):
        for b, size in zip(blocks, sizes):
            s.fault(FROM, MAP | REMAP, n, in_kernel)
            s.realloc(b, size * 3 + 1)
            s.realloc(b, 70000 + size)
            s.usable(b)
            s.fault_off()
            s.realloc(b, size)
    s.verify()
    s.check()


def faults_in_both_layers(s):
    for n in range(1, 9):
        s.fault(RANDOM, MAP | UNMAP, n)
        s.fault(RANDOM, PURGE | REMAP, n + 1, in_kernel=True)
        s.bulk(200, 4096)
        s.bulk(8, 65536)
        s.realloc(s.live[-1], 1 << 20)
        s.bulk_free(150, stride=2)
        s.settle()
        s.trim()
        s.fault_off()
        s.check()
    s.free_all()


def faults_while_reset(s):
    """A reset that cannot unmap all it wants to."""
    for mode, n, in_kernel in (
            (ONCE, 1, False), (ONCE, 1, True), (ONCE, 2, False),
            (ONCE, 2, True), (ONCE, 5, False), (ONCE, 5, True),
            (FROM, 1, True), (FROM, 3, True)):
        s.bulk(100, 1024)
        s.bulk(5, 40960)
        s.fault(mode, UNMAP, n, in_kernel)
        s.reset()
        s.check()
        s.bulk(30, 64)
    s.trim()


# ---- misuse ---------------------------------------------------------------

def misuse(s, kind):
    """Of blocks of every sort, by each function, at many places."""
    large = [s.malloc(40000), s.aligned(1 << 21, 100)]
    small = s.bulk(30, 48) + s.bulk(20, 1000) + s.bulk(6, 20000)
    odd = [s.aligned(4096, 10), s.malloc(0), s.malloc(32768)]
    # the lists' last frees are those that a double free can be made of
    for i, b in enumerate(small[::5] + large[:1] + odd[:2]):
        s.free(b)
        for entry in range(4):
            s.misuse(kind, slot=i, val=(i * 7 + entry) << 2 | entry)
        s.misuse(kind, slot=b, val=i)
    for b in small[1:4] + large[1:] + odd[2:]:
        for place in (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 100,
                      1023, 4095, 65535):
            s.misuse(kind, slot=b, val=place << 2 | place % 4)
    b = s.malloc(50000)
    for place in range(1, 8):
        s.misuse(kind, slot=b, val=place << 2)
    s.settle()
    for i in range(8):
        s.misuse(kind, slot=i * 5, val=i * 1021)
    s.verify()
    s.check()
    s.free_all()
    s.settle()
    for i in range(16):
        s.misuse(kind, slot=i, val=i * 4099)
    s.trim()
    for i in range(4):
        s.misuse(kind, val=i * 77)


def misuse_and_reuse(s):
    """A double free is known until the block is handed out again."""
    for size in (16, 64, 512, 2048, 32768, 40000):
        blocks = [s.malloc(size) for _ in range(4)]
        for b in blocks[:3]:
            s.free(b)
            s.misuse("double-free", val=0)
        s.settle()
        s.misuse("double-free", val=1)
        s.malloc(size)
        s.misuse("double-free", val=2)
        s.trim()
        s.misuse("double-free", val=3)
    s.check()
    s.free_all()
    s.misuse("double-free", val=0)
    s.settle()
    s.misuse("unused-pool", val=4)
    s.misuse("double-free", val=0)
    s.trim()
    s.misuse("double-free", val=0)


def scribble(s):
    """Freed blocks are written to: free ones of every state and size."""
    for size in (16, 32, 48, 512, 1024, 4096, 32768):
        blocks = s.bulk(12, size)
        s.free_each(blocks[:6])
        for back in range(6):
            s.scribble(back, how=back, val=back * 77)
        s.misuse("double-free")
        s.bulk(3, size)
        s.calloc(size)
        s.scribble(5, how=1)
        s.free_each(blocks[6:10])
        s.settle()
        for back in range(10):
            s.scribble(back, how=back + 1, val=255)
        s.check()
        s.bulk(8, size)
        s.verify()
    s.free_all()
    s.settle()
    for back in range(0, 60, 3):
        s.scribble(back, how=back // 3, val=back)
    s.check()
    for size in (16, 48, 1000, 30000):
        s.calloc(size)
        s.bulk(20, size)
    s.verify()
    s.trim()
    s.scribble(0, how=2)
    s.check()


# ---- sizes that no system has ---------------------------------------------

def huge_sizes(s):
    """Around PTRDIFF_MAX and SIZE_MAX, by every function."""
    keep = s.malloc(100)
    big = s.malloc(100000)
    for form in range(3):
        for off in (0, 1, 2, 15, 16, 4095):
            val = off << 2 | form
            for kind in ("malloc", "calloc"):
                s.huge(kind, val, slot=40)
            for kind in ("realloc", "reallocarray"):
                s.huge(kind, val, slot=keep)
                s.huge(kind, val, slot=big)
            for shift in (0, 4, 12, 20, 22):
                s.huge("aligned_alloc", val, slot=40, shift=shift)
        s.check()
    s.verify()


def powers_of_two(s):
    """Every power of two from 512 MiB up; those that exist are freed."""
    for shift in range(35):
        s.huge("malloc", shift << 2 | 3, slot=shift)
        s.huge("aligned_alloc", shift << 2 | 3, slot=100 + shift,
               shift=min(shift, 22))
        # unknown here is which of them there are
        s.bulk_free(2)
    s.check()


def products(s):
    """calloc and reallocarray of a product over SIZE_MAX."""
    keep = s.malloc(64)
    for size in (0, 1, 2, 3, 16, 4096, 65535, 65536, 1 << 24,
                 (1 << 27) - 4096):
        s.overflow("calloc", size, slot=9)
        s.overflow("reallocarray", size, slot=keep)
    s.verify()
    s.usable(keep)
    s.check()


def invalid_alignments(s):
    for which in range(4):
        for size in (0, 1, 16, 4096, 40000):
            s.bad_align(which, size)
            s.malloc(size)
    s.check()


# ---- no memory ------------------------------------------------------------

def exhaust_small(s, size):
    """8 MiB of blocks until none is left, some freed, again."""
    s.blind = True
    for round_ in range(3):
        s.bulk(8 * arena_blocks(size), size)
        s.check()
        s.malloc(16)
        s.malloc(40000)
        s.bulk_free(min(1024, arena_blocks(size)), first=round_, stride=3)
        s.calloc(200)
        s.settle()
        s.malloc(40000)
        s.check()
    for _ in range(8 * arena_blocks(size) // 1024 + 4):
        s.bulk_free(1024)
    s.trim()
    s.check()


def exhaust_large(s):
    s.blind = True
    for size in (ARENA, 3 * ARENA, 40960, 9 * ARENA):
        for i in range(9):
            s.malloc(size, slot=i)
        s.check()
        s.realloc(0, size * 2)
        s.realloc(1, size // 2)
        s.aligned(1 << 21, 5000)
        s.malloc(size // 2)
        s.verify()
        for _ in range(30):
            s.bulk_free(2)
    s.trim()
    s.check()


def settle_finds_memory(s, size, others):
    """No arena to be had, but unsettled frees of another class make a pool."""
    s.blind = True
    s.option(period=2)
    for other in others:
        s.bulk(8 * arena_blocks(size), size)
        s.bulk_free(60)         # less than the period, more than a pool
        s.fault(FROM, MAP, 1)
        s.bulk(5, other)
        s.malloc(40000)
        s.bulk(pool_blocks(other), other)
        s.fault_off()
        s.check()
        for _ in range(8 * arena_blocks(size) // 1024 + 2):
            s.bulk_free(1024)


def few_mappings(s, size):
    """No more mappings: not for a map, nor for what would make two of one."""
    s.blind = True
    for more in (0, 8192, ARENA):
        for i in range(40):
            s.malloc(size + more, slot=i)
        s.check()
        for i in range(0, 40, 3):
            s.realloc(i, (size + more) // 2)
            s.realloc(i + 1, (size + more) * 2)
        s.bulk_free(20, stride=1)
        s.bulk(10, 32768)
        s.bulk(10, 600)
        s.aligned(1 << 21, 5000)
        s.bulk_free(8, stride=1)
        s.trim()
        s.check()
        for _ in range(8):
            s.bulk_free(8)
        s.settle()
        s.check()
        s.bulk_free(1024)


# ---- names ----------------------------------------------------------------

FAULT_HEADERS = {
    "layer": ({"seed": 3}, False),
    "kernel": ({"seed": 4}, True),
    "misalign": ({"flags": MISALIGN | NONZERO, "seed": 5}, False),
}
# Short seeds are easier to work with: some numbers each.
FAULT_NUMBERS = {"1": (1, 2), "3": (3, 4), "5": (5, 7), "9": (9, 12, 16)}


def add(seeds):
    """Into seeds: name -> (header, scenario, arguments)."""
    for mode in MODES:
        for call in CALLS:
            for where, (header, in_kernel) in FAULT_HEADERS.items():
                for first, numbers in FAULT_NUMBERS.items():
                    if call == "remap" and mode != "once" and first == "9":
                        continue    # disarmed before there are so many
                    seeds[f"fault-{mode}-{call}-{where}-{first}"] = (
                        header, faults, (mode, call, in_kernel, numbers))
    for call in ("map", "unmap", "remap"):
        seeds[f"fault-once-{call}-real-kernel"] = (
            {"real": True}, faults, ("once", call, False, (1, 2, 3)))
    seeds["fault-realloc-layer"] = ({}, realloc_fails, (False,))
    seeds["fault-realloc-kernel"] = ({"flags": HINTS}, realloc_fails, (True,))
    seeds["fault-both-layers"] = ({"seed": 11}, faults_in_both_layers, ())
    seeds["fault-reset"] = ({}, faults_while_reset, ())
    for kind in MISUSES:
        seeds[f"misuse-{kind}"] = ({}, misuse, (kind,))
    seeds["misuse-interior-real-kernel"] = ({"real": True}, misuse,
                                            ("interior",))
    seeds["misuse-foreign-real-kernel"] = ({"real": True}, misuse,
                                           ("foreign",))
    seeds["misuse-and-reuse"] = ({}, misuse_and_reuse, ())
    seeds["misuse-and-reuse-purge-at-once"] = (
        {"small_period": True, "no_dirty": True, "flags": REUSE},
        misuse_and_reuse, ())
    seeds["scribble"] = ({}, scribble, ())
    seeds["scribble-period-4"] = ({"small_period": True}, scribble, ())
    seeds["scribble-purge-at-once"] = (
        {"no_dirty": True, "flags": REUSE}, scribble, ())
    seeds["huge-sizes"] = ({}, huge_sizes, ())
    seeds["huge-powers-of-two"] = ({}, powers_of_two, ())
    seeds["huge-products"] = ({}, products, ())
    seeds["invalid-alignments"] = ({}, invalid_alignments, ())
    for size in (512, 8192, 32768):
        seeds[f"exhaust-{size:05}"] = ({"flags": TIGHT}, exhaust_small,
                                       (size,))
    seeds["exhaust-00512-misalign"] = (
        {"flags": TIGHT | MISALIGN | REUSE, "seed": 2}, exhaust_small,
        (512,))
    seeds["exhaust-large"] = ({"flags": TIGHT}, exhaust_large, ())
    seeds["exhaust-large-hints"] = (
        {"flags": TIGHT | HINTS | NONZERO, "seed": 9}, exhaust_large, ())
    for size in (40000, 600):
        for flags, kernel in ((0, ""), (HINTS | REUSE, "-hints-reuse"),
                              (MISALIGN, "-misalign")):
            seeds[f"few-mappings-{size:05}{kernel}"] = (
                {"flags": FEW | flags, "seed": size}, few_mappings, (size,))
    for size, others in ((512, (16, 100, 1024)), (2048, (1500, 5000, 8000)),
                         (20000, (10240, 32768))):
        seeds[f"settle-finds-memory-{size:05}"] = (
            {"flags": TIGHT}, settle_finds_memory, (size, others))
