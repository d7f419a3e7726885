# SPDX-License-Identifier: MIT
"""Files that are there whole or not at all, whenever the process or the machine
is stopped: written under another name, synced, renamed, and the folder synced.
"""

import fcntl
import hashlib
import json
import os
import re
import select
import signal

TEMPORARY = ".tmp-"
KILL_SECONDS = 5


def digest(data):
    return hashlib.sha1(data).hexdigest()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def sync_folder(folder):
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(folder, files, lasting=True):
    """Put files, {name: content}, into a folder.  All are written before the
    first is synced: the rest then costs the file system next to nothing."""
    paths = {}
    for name, data in files.items():
        paths[name] = os.path.join(folder, TEMPORARY + name)
        with open(paths[name], "wb") as file:
            file.write(data)
    for path in paths.values() if lasting else ():
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    for name, path in paths.items():
        os.rename(path, os.path.join(folder, name))
    if lasting:
        sync_folder(folder)


def write(folder, name, data, lasting=True):
    write_all(folder, {name: data}, lasting)


def write_json(folder, name, value, lasting=True):
    write(folder, name, json.dumps(value, indent=1).encode() + b"\n", lasting)


def read_json(path, otherwise):
    try:
        return json.loads(read(path))
    except FileNotFoundError:
        return otherwise


def append(path, lines):
    """Lines at the end of a file; the last of a reader's may be cut short."""
    with open(path, "a", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())


def names(folder):
    """What is in a folder, but for what was being written."""
    try:
        return sorted(name for name in os.listdir(folder)
                      if not name.startswith("."))
    except FileNotFoundError:
        return []


def sweep(folder):
    """Drop what was being written when a process was killed."""
    for name in os.listdir(folder):
        if name.startswith(TEMPORARY):
            os.unlink(os.path.join(folder, name))


# ---- one at a time ----------------------------------------------------------


class Locked(Exception):
    """Another process has the lock; its argument: who."""


def lock(path):
    """Held until the process ends, in whatever way: then the kernel drops it."""
    file = open(path, "a+", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise Locked(file.read().strip() or "?") from None
    file.truncate(0)
    file.write("%d\n" % os.getpid())
    file.flush()
    return file


def kill_marked(mark):
    """Kill every process with @mark, "NAME=value", in its environment: what the
    last owner of the lock left behind, however deep; and wait for their end."""
    pattern = re.compile(rb"(?:^|\0)" + re.escape(mark.encode()) + rb"\0")
    killed = 0
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        if pid == os.getpid():
            continue
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if pattern.search(read("/proc/%d/environ" % pid)):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
                select.select([handle], [], [], KILL_SECONDS)
                killed += 1
        except OSError:
            pass
        finally:
            os.close(handle)
    return killed
