# SPDX-License-Identifier: MIT
"""What the benchmark runners share: peers, the machine in a line, tables.

Bad input and missing files end a runner with one line on stderr and exit
status 2, through fail().
"""

import os
import platform
import re
import subprocess
import sys

LIBDIRS = (
    "/usr/lib/%s-linux-gnu" % platform.machine(),
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)
# Name, soname, Debian package.
PEERS = (
    ("mimalloc", "libmimalloc.so.2", "libmimalloc2.0"),
    ("jemalloc", "libjemalloc.so.2", "libjemalloc2"),
    ("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
)
# jemalloc's thread state wants more static TLS than some loaders spare.
STATIC_TLS = "glibc.rtld.optional_static_tls=16384"


def fail(text):
    """One line, exit status 2."""
    print("bench: %s" % text, file=sys.stderr)
    sys.exit(2)


class Subject:
    """An allocator to be measured: a program and what is preloaded."""

    def __init__(self, name, program, preload=None, args=(), expect=None):
        self.name = name
        self.program = program
        self.preload = preload
        self.args = list(args)
        # The file that malloc must turn out to be in.
        self.expect = expect or preload

    def environment(self):
        env = dict(os.environ, LC_ALL="C")
        env.pop("APB_OPTIONS", None)
        env.pop("MALLOC_CONF", None)
        env.pop("LD_PRELOAD", None)
        if self.preload:
            env["LD_PRELOAD"] = self.preload
            env["GLIBC_TUNABLES"] = STATIC_TLS
        return env

    def run(self, args, timeout=600):
        """Run it; the words of its one line, the last checked and dropped."""
        command = [self.program] + self.args + args
        try:
            done = subprocess.run(
                command, env=self.environment(), timeout=timeout,
                capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired:
            fail("%s: no end of '%s' after %d s"
                 % (self.name, " ".join(args), timeout))
        except OSError as err:
            fail("%s: %s" % (self.program, err.strerror))
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            fail("%s: '%s' ended with status %d%s"
                 % (self.name, " ".join(args), done.returncode,
                    ": " + lines[-1] if lines else ""))
        words = done.stdout.split()
        if not words:
            fail("%s: '%s' printed nothing" % (self.name, " ".join(args)))
        origin = words.pop()
        if self.expect and \
                os.path.realpath(origin) != os.path.realpath(self.expect):
            fail("%s: malloc is not that of %s but of %s"
                 % (self.name, self.expect, origin))
        return words


def find_library(soname):
    for directory in LIBDIRS:
        path = os.path.join(directory, soname)
        if os.path.exists(path):
            return path
    return None


def peers(program, extra):
    """glibc, the Debian packages, and NAME=PATH pairs in @extra."""
    found = [Subject("glibc", program)]
    missing = []
    for name, soname, package in PEERS:
        path = find_library(soname)
        if path:
            found.append(Subject(name, program, preload=path))
        else:
            missing.append(package)
    if missing:
        fail("peers are missing: apt-get install -y " + " ".join(missing))
    for pair in extra.split():
        name, _, path = pair.partition("=")
        if not name or not path:
            fail("PEERS: 'name=/path.so' expected, not '%s'" % pair)
        if any(subject.name == name for subject in found):
            fail("PEERS: there is a %s already" % name)
        if not os.path.isfile(path):
            fail("PEERS: %s: no such file" % path)
        found.append(Subject(name, program, preload=os.path.abspath(path)))
    return found


def need(path, target):
    if not os.path.exists(path):
        fail("%s is missing: make %s" % (path, target))
    return path


def pin(cpu):
    """Run this process and its children on one CPU: @cpu, or the last."""
    allowed = os.sched_getaffinity(0)
    if cpu is None:
        cpu = max(allowed)
    elif cpu not in allowed:
        fail("CPU %d is not among those allowed: %s"
             % (cpu, " ".join(map(str, sorted(allowed)))))
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
        parts.append("pinned to CPU %d" % cpu)
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


def positive(text):
    """A type for argparse."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse(parser):
    """parse_args(), but what is wrong is said in one line."""
    parser.error = lambda message: fail(message)
    return parser.parse_args()
