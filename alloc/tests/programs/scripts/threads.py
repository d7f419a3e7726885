# SPDX-License-Identifier: MIT
"""CPython with several threads, children and extension modules."""

import concurrent.futures
import ctypes
import decimal
import hashlib
import json
import multiprocessing
import os
import queue
import re
import sqlite3
import subprocess
import threading
import zlib


def pipeline():
    todo, done = queue.Queue(50), queue.Queue()

    def work():
        while (item := todo.get()) is not None:
            done.put(hashlib.sha256(b"".join(item)).hexdigest())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(400):
        todo.put([str(i * j).encode() for j in range(60)])
    for _ in threads:
        todo.put(None)
    for thread in threads:
        thread.join()
    return hashlib.sha256("".join(sorted(
        done.get() for _ in range(400))).encode()).hexdigest()


def short_threads():
    found = []
    for i in range(300):
        thread = threading.Thread(
            target=lambda i=i: found.append(len([str(i)] * 1000)))
        thread.start()
        thread.join()
    return sum(found)


def square(number):
    return sum(len(str(i)) for i in range(number * 1000))


def children():
    with multiprocessing.get_context("fork").Pool(3) as pool:
        by_fork = pool.map(square, range(8))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        by_shell = list(pool.map(
            lambda i: subprocess.run(["echo", str(i)], capture_output=True,
                                     check=True).stdout, range(20)))
    return by_fork, b"".join(by_shell)


def extensions():
    db = sqlite3.connect(":memory:")
    db.execute("create table t(a integer primary key, b text)")
    db.executemany("insert into t(b) values(?)",
                   [("text %d" % (i * 7919 % 5003),) for i in range(5000)])
    rows = db.execute("select b, count(*) from t group by length(b), "
                      "substr(b, -1) order by 1").fetchall()
    packed = zlib.compress(json.dumps(rows).encode() * 50, 9)
    decimal.getcontext().prec = 2000
    array = (ctypes.c_double * 10000)(*range(10000))
    words = re.findall(r"(\w+) (\d+)", " ".join(row[0] for row in rows))
    return (len(rows), zlib.crc32(zlib.decompress(packed)),
            str(decimal.Decimal(2).sqrt())[-20:], sum(array), words[:3])


if __name__ == "__main__":
    print(pipeline())
    print(short_threads())
    print(children())
    print(extensions())
    pid = os.fork()
    if not pid:
        os._exit(5 if pipeline() else 6)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
