# SPDX-License-Identifier: MIT
"""What the benchmark runners share: allocators, the machine in a line, tables.

Bad input and missing files end a runner with one line on stderr and exit
status 2, through fail().
"""

import math
import os
import platform
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.append(os.path.join(ROOT, "fuzz"))

from proc import plain  # noqa: E402  (fuzz/ has to be in the path first)

LIBDIRS = (
    "/usr/lib/%s-linux-gnu" % platform.machine(),
    "/lib/%s-linux-gnu" % platform.machine(),
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/lib/llvm-19/lib/clang/19/lib/linux",
)
LIBC = "libc.so.6"
# Name, soname, Debian package.
PEERS = (
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    ("tbbmalloc", "libtbbmalloc_proxy.so.2", "libtbbmalloc2"),
    ("scudo", "libclang_rt.scudo_standalone-%s.so" % platform.machine(),
     "libclang-rt-19-dev"),
)
# Where Debian's programs are.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# jemalloc's thread state wants more static TLS than some loaders spare.
STATIC_TLS = "glibc.rtld.optional_static_tls=16384"
UNSET = ("APB_OPTIONS", "MALLOC_CONF", "LD_PRELOAD", "SCUDO_OPTIONS",
         "GLIBC_TUNABLES", "PYTHONMALLOC", "PYTHONPATH", "PYTHONHOME")


class Failed(Exception):
    """A program did not do what it was started for."""


def fail(text):
    """One line, exit status 2."""
    print("bench: %s" % text, file=sys.stderr)
    sys.exit(2)


class Allocator:
    """A name and the library that has its malloc."""

    def __init__(self, name, library, own=False):
        self.name = name
        self.library = library
        self.own = own

    def settings(self, behind=()):
        """What a measured program has in its environment."""
        return {"LD_PRELOAD": ":".join(map(plain, [self.library, *behind])),
                "GLIBC_TUNABLES": STATIC_TLS,
                "APB_BENCH_EXPECT": self.library}


def environment(settings=()):
    env = dict(os.environ, LC_ALL="C", PATH=PATH)
    for name in UNSET:
        env.pop(name, None)
    env.update(settings)
    return env


def run(command, env, timeout=600, cwd=None):
    """Standard output of @command; Failed says why there is none."""
    try:
        done = subprocess.run(
            command, env=env, timeout=timeout, cwd=cwd, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace")
    except subprocess.TimeoutExpired:
        raise Failed("no end of '%s' after %d s"
                     % (command[0], timeout)) from None
    except OSError as err:
        raise Failed("%s: %s" % (command[0], err.strerror)) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise Failed("'%s' ended with status %d%s" % (
            " ".join([os.path.basename(command[0])] + command[1:]),
            done.returncode, ": " + lines[-1] if lines else ""))
    return done.stdout


def run_micro(program, args, settings, expect):
    """Run one of the programs here; its words, less the origin of malloc."""
    words = run([program, *args], environment(settings)).split()
    if not words:
        raise Failed("'%s' printed nothing" % os.path.basename(program))
    origin = words.pop()
    if os.path.realpath(origin) != os.path.realpath(expect):
        raise Failed("malloc is not that of %s but of %s" % (expect, origin))
    return words


def find_library(soname):
    for directory in LIBDIRS:
        path = os.path.join(directory, soname)
        if os.path.exists(path):
            return path
    return None


def peers(extra):
    """glibc, the Debian packages, and NAME=PATH pairs in @extra."""
    found, missing = [], []
    libc = find_library(LIBC)
    if not libc:
        fail("no %s in %s" % (LIBC, " ".join(LIBDIRS)))
    found.append(Allocator("glibc", libc))
    for name, soname, package in PEERS:
        path = find_library(soname)
        if path:
            found.append(Allocator(name, path))
        else:
            missing.append(package)
    if missing:
        fail("peers are missing: apt-get install -y " + " ".join(missing))
    for pair in extra.split():
        name, _, path = pair.partition("=")
        if not name or not path:
            fail("PEERS: 'name=/path.so' expected, not '%s'" % pair)
        if name == "apb" or any(peer.name == name for peer in found):
            fail("PEERS: there is a %s already" % name)
        if not os.path.isfile(path):
            fail("PEERS: %s: no such file" % path)
        found.append(Allocator(name, os.path.abspath(path)))
    return found


def apb(build):
    return Allocator("apb", need(os.path.join(build, "libapb-malloc.so"),
                                 "bench"), own=True)


def need(path, target):
    """The absolute path of a file that `make @target` makes."""
    if not os.path.exists(path):
        fail("%s is missing: make %s" % (path, target))
    return os.path.abspath(path)


def choose_cpu(cpu):
    """The CPU for what has one thread: @cpu, or the last."""
    allowed = os.sched_getaffinity(0)
    if cpu is None:
        return max(allowed)
    if cpu not in allowed:
        fail("CPU %d is not among those allowed: %s"
             % (cpu, " ".join(map(str, sorted(allowed)))))
    return cpu


def pin(cpu):
    """Run this process and its children on one CPU: @cpu, or the last."""
    cpu = choose_cpu(cpu)
    os.sched_setaffinity(0, {cpu})
    return cpu


def read(path):
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def machine(cpu=None):
    """The machine in a line."""
    model = re.search(r"^model name\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M)
    huge = re.search(r"\[(\w+)\]",
                     read("/sys/kernel/mm/transparent_hugepage/enabled"))
    parts = [
        model.group(1) if model else platform.machine(),
        "%d CPUs" % (os.cpu_count() or 1),
        "Linux " + platform.release(),
        " ".join(platform.libc_ver()),
        "huge pages " + (huge.group(1) if huge else "unknown"),
    ]
    if cpu is not None:
        parts.append("one thread: on CPU %d" % cpu)
    parts.append("load %.2f" % os.getloadavg()[0])
    return "machine: " + ", ".join(parts)


def table(head, rows):
    """Columns: the first to the left, the others to the right."""
    lines = [head] + rows
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for number, line in enumerate(lines):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width)
                  for cell, width in zip(line[1:], widths[1:])]
        print("  ".join(cells).rstrip())
        if number == 0:
            print("-" * (sum(widths) + 2 * (len(widths) - 1)))


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    if len(values) % 2:
        return values[middle]
    return (values[middle - 1] + values[middle]) / 2


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def positive(text):
    """A type for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def run_main(main):
    """main() of a runner: what the system refuses is one line."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as err:
        fail("%s%s" % ("%s: " % err.filename if err.filename else "",
                       err.strerror))


def parse(parser):
    """parse_args(), but what is wrong is said in one line."""
    parser.error = lambda message: fail(message)
    return parser.parse_args()
