# SPDX-License-Identifier: MIT
"""Hand-made seeds of several threads: frees from others, ends, takeovers.

See seeds.py, which runs them.
"""
from encode import (FROM, MAP, MISUSES, RANDOM, TIGHT, UNMAP, arena_blocks,
                    pool_blocks)

LARGE = 40000
ARENA = 1 << 20


def free_by(s, thread, blocks):
    s.on(thread)
    s.free_each(blocks)


def bulk_by(s, thread, n, size):
    s.on(thread)
    return s.bulk(n, size)


# ---- blocks that other threads free ---------------------------------------

def remote_free(s, size):
    """All of some pools, by another thread; their owner uses them again."""
    n = 2 * pool_blocks(size) + 3
    for _ in range(3):
        bulk_by(s, 0, n, size)
        s.on(1)
        s.free_all()
        s.check()
        s.on(0)
        s.bulk(n // 2, size)
        s.check()
        s.settle()
        s.free_all()
    s.on(1)
    s.bulk(3, size)
    s.settle()
    s.on(0)
    s.trim()
    s.check()


def remote_large(s):
    """Large blocks are nobody's: who frees one unmaps it."""
    for size in (LARGE, 3 * ARENA):
        blocks = [s.malloc(size) for _ in range(4)]
        s.on(1)
        s.realloc(blocks[0], size * 2)
        s.free(blocks[1])
        s.on(2)
        s.realloc(blocks[2], 100)
        s.free(blocks[0])
        s.on(0)
        s.free(blocks[2])
        s.check()
    s.thread_end(1)
    s.trim()
    s.check()


def remote_kinds(s):
    """Sized and aligned frees, realloc and usable size of another's block."""
    sizes = (1, 16, 100, 512, 513, 1024, 5000, 32768)
    blocks = [s.malloc(size) for size in sizes]
    more = [s.aligned(256, size) for size in sizes]
    rest = [s.calloc(size) for size in sizes]
    s.on(1)
    for b in blocks:
        s.usable(b)
        s.free(b, "free_sized")
    for b in more:
        s.free(b, "free_aligned_sized")
    for b, size in zip(rest, sizes):
        s.realloc(b, size + 1)
        s.realloc(b, size * 2 + 40)
    s.on(0)
    s.verify()
    for b, size in zip(rest, sizes):
        s.realloc(b, size)
    s.on(2)
    s.free_each(rest)
    s.check()


def producer_consumer(s, size):
    """One allocates, one frees, in chunks; now and then the first drains."""
    for round_ in range(24):
        s.on(0)
        blocks = s.bulk(40 + 7 * round_ % 50, size)
        s.on(1)
        s.free_each(blocks[:len(blocks) // 2])
        s.bulk_free(len(s.live) - 5)
        if round_ % 6 == 5:
            s.check()
    s.on(0)
    s.settle()
    s.trim()
    s.check()


def ping_pong(s):
    """Two threads free what the other made, one block at a time."""
    for size in (16, 48, 512, 2000, 20000):
        for i in range(60):
            s.on(i % 2)
            b = s.malloc(size)
            s.on(1 - i % 2)
            s.free(b)
        s.check()
    s.thread_end(1)
    s.check()


def sleeper(s, size):
    """The owner sleeps while others free its blocks, and each other's."""
    s.on(3)
    blocks = s.bulk(min(2 * arena_blocks(size), 4000), size)
    for t in (0, 1, 2):
        s.on(t)
        s.free_each(blocks[t::4])
        s.bulk(20, size)
        s.check()
    s.on(0)
    s.trim()
    s.check()
    s.settle()
    s.on(3)
    s.malloc(size)
    s.free_each(blocks[3::4])
    s.trim()
    s.check()


def ring(s, size):
    """Each frees what the one before it made; all have many classes."""
    n = s.threads
    made = [[] for _ in range(n)]
    for round_ in range(6):
        for t in range(n):
            s.on(t)
            made[t] += s.bulk(30, size + 16 * (round_ % 3))
            s.free_each(made[t - 1][:25])
            made[t - 1] = made[t - 1][25:]
        s.check()
        if round_ == 3:
            s.trim()
    for t in range(n):
        s.on((t + 3) % n)
        s.free_each(made[t])
        s.thread_end(t)
    s.check()
    s.on(0)
    s.trim()
    s.check()


# ---- ends and takeovers ---------------------------------------------------

def end_with_queue(s, size):
    """A thread ends while others hold frees for it, and after it got some."""
    for round_ in range(3):
        blocks = bulk_by(s, 1, 2 * pool_blocks(size) + 5, size)
        free_by(s, 0, blocks[::2])
        s.thread_end(1)
        s.check()
        free_by(s, 2, blocks[1::4])
        s.thread_end(2)
        s.check()
        free_by(s, 0, blocks[3::4])
        if round_ == 1:
            s.trim()
        s.check()
    s.settle()
    s.trim()
    s.check()


def end_flushes(s):
    """What a thread has freed of others' arrives when it ends."""
    sizes = (16, 32, 200, 1024, 4000, 32768)
    for owner in (1, 2):
        s.on(owner)
        blocks = [b for size in sizes for b in s.bulk(5, size)]
        free_by(s, 3, blocks)
        s.thread_end(3)
        s.check()
        s.on(owner)
        s.settle()
        s.check()
        for size in sizes:
            s.bulk(6, size)
        s.free_all()
    s.trim()
    s.check()


def takeover(s, size):
    """The next thread takes a heap over with its blocks and its queue."""
    blocks = bulk_by(s, 1, pool_blocks(size) + 2, size)
    free_by(s, 0, blocks[:4])
    s.thread_end(1)
    s.check()
    s.on(2)
    s.bulk(10, size)
    s.free_each(blocks[4:9])
    s.check()
    free_by(s, 0, blocks[9:])
    s.thread_end(2)
    s.on(1)
    s.bulk(5, size)
    s.on(2)
    s.bulk(5, size)
    s.check()
    s.free_all()
    s.thread_end(2)
    s.thread_end(1)
    s.check()
    s.trim()
    s.check()


def restart(s):
    """Short threads, one after the other and two at a time: no growth."""
    kept = []
    for i in range(60):
        t = 1 + i % 3
        s.on(t)
        blocks = s.bulk(12, 16 << i % 8)
        kept += blocks[:2]
        s.free_each(blocks[4:])
        s.free_each(kept[:1])
        kept = kept[1:]
        s.thread_end(t)
        if i % 10 == 9:
            s.check()
    s.on(0)
    s.trim()
    s.check()
    s.free_all()
    s.trim()
    s.check()


def nothing_but_ends(s):
    """Threads that end without a heap, or twice, or are the first."""
    for t in range(s.threads):
        s.thread_end(t)
        s.thread_end(t)
    b = bulk_by(s, 1, 3, 64)
    s.thread_end(0)
    free_by(s, 0, b)        # a heap for a free alone
    s.thread_end(0)
    s.thread_end(1)
    s.check()
    s.on(2)
    s.settle()
    s.trim()
    s.reset()
    s.check()
    s.thread_end(2)
    s.malloc(10)
    s.check()


def end_with_live_blocks(s, size):
    """Blocks outlive their thread; threads without a heap free them."""
    for t in (1, 2, 3):
        s.on(t)
        s.bulk(pool_blocks(size) // 2 + 1, size)
        s.thread_end(t)
    s.check()
    s.on(2)
    s.bulk_free(7, first=3, stride=2)
    s.on(1)
    s.realloc(s.live[0], size * 2)
    s.free(s.live[-1])
    s.verify()
    s.check()
    s.on(0)
    s.free_all()
    s.settle()
    s.check()
    s.trim()
    s.check()


# ---- memory given back, none to be had ------------------------------------

def trim_with_queues(s):
    """A trim empties all queues, whoever calls it."""
    for size in (32, 1024, 8192):
        n = min(arena_blocks(size), 2000)
        for t in (1, 2):
            s.on(t)
            s.bulk(n // 2, size)
        s.on(3)
        s.free_all()
        s.trim()
        s.check()
        s.on(0)
        s.trim()
        s.check()
        s.thread_end(1)
        s.trim()
        s.check()


def settle_everywhere(s):
    """Settling is each thread's own; arenas drain from all sides."""
    for size in (256, 4096, 32768):
        for t in range(s.threads):
            s.on(t)
            s.bulk(arena_blocks(size) // 3 % 700 + 2, size)
        for t in range(s.threads):
            s.on((t + 1) % s.threads)
            s.bulk_free(min(len(s.live) // 2, 1024), first=t, stride=3)
            s.settle()
            s.check()
        s.free_all()
        for t in range(s.threads):
            s.on(t)
            s.settle()
        s.check()


def no_memory_for_a_thread(s, mode, in_kernel):
    """Nothing can be mapped when a thread makes its first block."""
    for n in (1, 2, 3):
        s.on(0)
        blocks = s.bulk(30, 100)
        s.fault(mode, MAP, n, in_kernel)
        s.on(1)
        s.blind = True      # who knows which of them there are
        s.malloc(50, slot=200)
        s.malloc(50000, slot=201)
        s.on(2)
        s.calloc(20, slot=202)
        s.free(blocks[0])
        s.on(3)
        s.free(blocks[1])
        s.realloc(blocks[2], 300)
        s.on(0)
        s.fault_off()
        s.check()
        for t in (1, 2, 3):
            s.on(t)
            s.bulk(9, 64)
            s.bulk_free(30)
            s.thread_end(t)
        s.check()
        s.on(0)
        s.trim()
        s.reset()
        s.blind = False


def no_memory_for_batches(s, mode, in_kernel):
    """Frees of others' blocks while nothing can be mapped: none is lost."""
    for n in (1, 2, 4):
        for t in range(4):
            s.on(t)
            for size in (16, 64, 500, 3000):
                s.bulk(20, size)
        s.fault(mode, MAP, n, in_kernel)
        s.on(5)             # it has no heap yet
        for _ in range(5):
            s.bulk_free(8, stride=5)
        s.on(1)
        s.bulk_free(60, stride=3)
        s.fault_off()
        s.check()
        s.fault(mode, MAP | UNMAP, n, in_kernel)
        s.thread_end(5)
        s.thread_end(1)
        s.on(2)
        s.bulk_free(90, stride=7)
        s.trim()
        s.fault_off()
        s.check()
        s.on(0)
        s.free_all()
        s.trim()
        s.check()


def exhaust(s, size):
    """8 MiB for all threads: what one has free another cannot have at once."""
    s.blind = True
    for round_ in range(2):
        for t in (0, 1, 2, 3):
            s.on(t)
            s.bulk(3 * arena_blocks(size), size)
            s.malloc(LARGE)
        s.check()
        s.on(round_)
        s.bulk_free(800, stride=3)
        s.on(3)
        s.bulk(pool_blocks(size), size)
        s.malloc(16)
        s.malloc(LARGE)
        s.check()
        s.thread_end(1)
        s.on(2)
        s.malloc(LARGE)
        s.trim()
        s.malloc(LARGE)
        for _ in range(8 * arena_blocks(size) // 1024 + 3):
            s.bulk_free(1024)
        s.check()
    s.trim()


# ---- misuse, writes to freed blocks, reset --------------------------------

def misuse(s):
    """Reported to whoever does it, whoever owns the block."""
    s.on(1)
    blocks = s.bulk(40, 48) + s.bulk(20, 1000) + s.bulk(4, 20000)
    large = s.malloc(LARGE)
    for i, b in enumerate(blocks[::3]):
        s.on(i % 3)
        s.free(b)
        for t in (0, 1, 2):
            s.on(t)
            s.misuse("double-free", val=i + t)
    for i, kind in enumerate(MISUSES):
        for t in (0, 1, 2, 3):
            s.on(t)
            s.misuse(kind, slot=blocks[1 + 3 * i], val=4 * i + t)
            s.misuse(kind, slot=large, val=5 * t)
    s.thread_end(1)
    s.on(0)
    for i in range(8):
        s.misuse("double-free", val=i)
        s.misuse("interior", slot=blocks[4 + 3 * i], val=i)
    s.check()
    s.free_all()
    s.misuse("double-free")
    s.thread_end(0)
    s.misuse("double-free", val=2)
    s.check()


def scribble(s):
    """Freed blocks are written to while they wait in batches and queues."""
    for size in (16, 48, 512, 3000, 32768):
        s.on(1)
        blocks = s.bulk(40, size)
        free_by(s, 0, blocks[:12])
        for back in range(12):
            s.scribble(back, how=back, val=back)
        s.on(2)
        s.free_each(blocks[12:24])
        s.thread_end(2)
        for back in range(12):
            s.scribble(back, how=back + 1, val=200 + back)
        s.check()
        s.on(1)
        s.bulk(20, size)
        s.calloc(size)
        s.scribble(2, how=1)
        s.settle()
        s.check()
        s.on(0)
        s.free_all()
        s.trim()
        s.check()


def reset_at_work(s):
    """Everything is dropped while threads have heaps, batches and queues."""
    for round_ in range(4):
        for t in range(4):
            s.on(t)
            s.bulk(200, 16 << 2 * t)
            s.malloc(LARGE)
        s.on(round_)
        s.bulk_free(300, stride=3)
        if round_ == 2:
            s.thread_end(1)
        s.reset()
        s.check()
        s.bulk(10, 100)
    s.on(0)
    s.check()


def server(s):
    """Threads that take over the blocks of those that end, as servers do."""
    state = 5
    per = [[] for _ in range(s.threads)]
    for step in range(900):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        r = state >> 33
        t = r % s.threads
        s.on(t)
        mine = per[t]
        if len(mine) < 20 or r >> 3 & 1:
            mine.append(s.malloc(10 + (r >> 4) % 500))
        else:
            s.free(mine.pop((r >> 4) % len(mine)))
        if r >> 13 & 31 == 0:
            s.thread_end()
            per[t], per[t - 1] = per[t - 1], per[t]
        if step % 150 == 149:
            s.check()
    s.verify()


def add(seeds):
    """Into seeds: name -> (header, scenario, arguments)."""
    plain = {
        "remote-large": remote_large, "remote-kinds": remote_kinds,
        "ping-pong": ping_pong, "end-flushes": end_flushes,
        "restart": restart, "nothing-but-ends": nothing_but_ends,
        "trim-with-queues": trim_with_queues,
        "settle-everywhere": settle_everywhere, "misuse": misuse,
        "scribble": scribble, "reset-at-work": reset_at_work,
        "server": server,
    }
    made = {name: ({"threads": 4}, scenario, ())
            for name, scenario in plain.items()}
    for size in (16, 64, 512, 1024, 5000, 32768):
        made[f"remote-free-{size:05}"] = ({"threads": 2}, remote_free, (size,))
        made[f"end-with-queue-{size:05}"] = ({"threads": 4}, end_with_queue,
                                             (size,))
        made[f"takeover-{size:05}"] = ({"threads": 4}, takeover, (size,))
    for size in (48, 1024, 8192):
        made[f"producer-consumer-{size:05}"] = (
            {"threads": 2}, producer_consumer, (size,))
        made[f"sleeper-{size:05}"] = ({"threads": 4, "seed": 2}, sleeper,
                                      (size,))
        made[f"end-with-live-blocks-{size:05}"] = (
            {"threads": 4, "seed": 3}, end_with_live_blocks, (size,))
    for size in (16, 400, 2000):
        made[f"ring-{size:05}"] = ({"threads": 8, "seed": 6}, ring, (size,))
    for mode, name in ((FROM, "from"), (RANDOM, "random")):
        for in_kernel in (False, True):
            where = "kernel" if in_kernel else "layer"
            made[f"no-memory-at-start-{name}-{where}"] = (
                {"threads": 4}, no_memory_for_a_thread, (mode, in_kernel))
            made[f"no-memory-for-batches-{name}-{where}"] = (
                {"threads": 8}, no_memory_for_batches, (mode, in_kernel))
    for size in (512, 8192):
        made[f"exhaust-{size:05}"] = ({"threads": 4, "flags": TIGHT}, exhaust,
                                      (size,))
    for name in ("ring-00400", "server", "restart", "misuse",
                 "end-with-queue-00064", "takeover-01024"):
        header, scenario, args = made[name]
        made[name + "-locked"] = ({**header, "locked": True, "seed": 7},
                                  scenario, args)
    for name in ("ring-00016", "end-with-queue-00512", "sleeper-08192"):
        header, scenario, args = made[name]
        made[name + "-period-4-purge-at-once"] = (
            {**header, "small_period": True, "no_dirty": True}, scenario, args)
    for name in ("takeover-00064", "reset-at-work"):
        header, scenario, args = made[name]
        made[name + "-check-often"] = ({**header, "check_often": True},
                                       scenario, args)
    for name in ("server", "remote-kinds", "misuse"):
        header, scenario, args = made[name]
        made[name + "-junk"] = ({**header, "junk": True}, scenario, args)
    for name in ("server", "remote-free-01024"):
        header, scenario, args = made[name]
        made[name + "-real-kernel"] = ({**header, "real": True}, scenario,
                                       args)
    for name, seed in made.items():
        seeds["threads-" + name] = seed
