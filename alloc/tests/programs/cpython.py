#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""CPython's own test suite on apb: no failure that is not there without it.

Usage: cpython.py [--jobs N] [--form FORM]... [TEST...]

Runs the suite (package libpython3.11-testsuite), or the tests named, with

    plain     /usr/bin/python3, for comparison
    preload   /usr/bin/python3 with libapb-malloc.so preloaded and
              PYTHONMALLOC=malloc, so that every object is one of malloc()
    host      build/apb-python3

What fails in one of the last two and not in plain is repeated up to twice, as
some tests depend on the time; then the same is run without apb (preload: with
PYTHONMALLOC=malloc alone, host: with PYTHONMALLOC=pymalloc), to tell what
comes of the allocator from what comes of the way it is run.  What fails each
time, and only with apb, is a new failure: exit status 1.  Logs are in
build/programs; 2 is the exit status for bad input.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from xml.etree import ElementTree

from box import ROOT, child, kill, proc

PYTHON = "/usr/bin/python3"
LIBRARY = os.path.join(ROOT, "build", "libapb-malloc.so")
HOST = os.path.join(ROOT, "build", "apb-python3")
LOGS = os.path.join(ROOT, "build", "programs")
TIMEOUT = 300
REPEATS = 2

# A form: interpreter, what is set in the environment.  And beside each that
# is compared: the same without apb.
FORMS = {
    "plain": (PYTHON, {}),
    "preload": (PYTHON, {"LD_PRELOAD": proc.plain(LIBRARY),
                         "PYTHONMALLOC": "malloc"}),
    "host": (HOST, {}),
}
CONTROLS = {
    "preload": (PYTHON, {"PYTHONMALLOC": "malloc"}),
    "host": (HOST, {"PYTHONMALLOC": "pymalloc"}),
}

# Not run in any form, as they say nothing of an allocator:
# patterns of regrtest --ignore, and why.
IGNORED = {
    "*VSOCK*": "waits for a hypervisor",
}
# Expected to fail in a form, and why.
EXPECTED = {
    "preload": {},
    "host": dict.fromkeys(
        ("test.test_cmd_line.CmdLineTest.test_pythonmalloc",
         "test.test_cmd_line.CmdLineTest.test_xdev"),
        "asks for the name of the allocator, and CPython knows only its own"),
}


def usage(text):
    print("apb: " + text, file=sys.stderr)
    sys.exit(2)


def environment(more, home):
    return dict({
        "PATH": "/usr/local/sbin:/usr/sbin:/sbin:"
                "/usr/local/bin:/usr/bin:/bin",
        "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}, **more)


class Result:
    """What regrtest said: tests run, those that failed, and the files that
    did (a file that crashes has no list of tests)."""

    def __init__(self, log, xml):
        summary = re.search(r"^\d+ tests? failed:\n((?: {4}.*\n)+)", log, re.M)
        self.files = set(summary[1].split()) if summary else set()
        self.complete = "\nTests result: " in log
        self.number = 0
        self.failed = set()
        if os.path.exists(xml):
            for test in ElementTree.parse(xml).iter("testcase"):
                self.number += 1
                if any(child.tag in ("failure", "error") for child in test):
                    self.failed.add(test.get("name"))
        # That a subtest failed is not in the XML.
        self.failed.update(re.findall(
            r"^(?:FAIL|ERROR): \w+ \((test\.[\w.]+)\)", log, re.M))
        # A file of which no test is known to have failed stands for itself.
        for name in self.files:
            if not any(re.match(r"(test\.)?%s\b" % re.escape(name), test)
                       for test in self.failed):
                self.failed.add(name)

    def files_of(self, tests):
        """The files that @tests, of those that failed, are in."""
        found = {name for name in self.files for test in tests
                 if re.match(r"(test\.)?%s\b" % re.escape(name), test)}
        return sorted(found or self.files)


def progress(log):
    """The last "[n/m]" of a run, on a terminal."""
    if sys.stderr.isatty():
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - 4000))
            found = re.findall(rb"\[ *(\d+/\d+)", file.read())
        if found:
            print("\r\033[K%s" % found[-1].decode(), end="", file=sys.stderr,
                  flush=True)


def suite(form, name, tests, jobs):
    """Run @tests (none: all) and wait for the end."""
    python, more = form
    log, xml = (os.path.join(LOGS, "cpython-%s.%s" % (name, ending))
                for ending in ("log", "xml"))
    if os.path.exists(xml):
        os.remove(xml)
    home = tempfile.mkdtemp(prefix="apb-cpython-")
    command = [python, "-m", "test", "-j%d" % jobs, "--timeout",
               str(TIMEOUT), "-W", "--junit-xml", xml]
    for pattern in IGNORED:
        command += ["--ignore", pattern]
    try:
        with open(log, "wb") as out:
            process = subprocess.Popen(
                command + tests, cwd=home, env=environment(more, home),
                stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=child)
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    progress(log)
            finally:
                kill(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    with open(log, encoding="utf-8", errors="replace") as file:
        result = Result(file.read(), xml)
    if not result.complete or not result.number:
        print("apb: the suite did not end, see %s" % log, file=sys.stderr)
        sys.exit(1)
    return result


def indented(names, reasons=None):
    for name in sorted(names):
        reason = reasons and reasons.get(name)
        print("         %s%s" % (name, ": " + reason if reason else ""))


def compare(form, plain, tests, jobs):
    """Run one form; whether nothing new fails in it."""
    begin = time.monotonic()
    first = suite(FORMS[form], form, tests, jobs)
    expected = EXPECTED[form]
    known = {test for test in first.failed if test in expected}
    new = first.failed - plain.failed - known
    flaky = set()
    for turn in range(REPEATS):
        if not new:
            break
        again = suite(FORMS[form], "%s-again-%d" % (form, turn + 1),
                      first.files_of(new), jobs)
        flaky |= new - again.failed
        new &= again.failed
    without = set()
    if new:
        control = suite(CONTROLS[form], form + "-without",
                        first.files_of(new), jobs)
        without = new & control.failed
        new -= without
    print("%-4s %-8s %6d s  %d tests, %d failures: %d in plain too, %d new"
          % ("FAIL" if new else "ok", form, time.monotonic() - begin,
             first.number, len(first.failed),
             len(first.failed & plain.failed), len(new)))
    for text, names in (("NEW", new),
                        ("expected", known),
                        ("not of the allocator: the same without it", without),
                        ("passed when repeated", flaky)):
        if names:
            print("     %s:" % text)
            indented(names, expected)
    sys.stdout.flush()
    return not new


def jobs_number(text):
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def arguments():
    parser = argparse.ArgumentParser(prog="cpython.py")
    parser.error = usage
    parser.add_argument("--jobs", type=jobs_number,
                        default=len(os.sched_getaffinity(0)))
    parser.add_argument("--form", action="append", choices=sorted(CONTROLS))
    parser.add_argument("tests", nargs="*")
    args = parser.parse_args()
    for path in (LIBRARY, HOST):
        if not os.path.exists(path):
            usage("%s is missing: make all python" % path)
    if subprocess.run([PYTHON, "-c", "import test.test_dict, _testcapi"],
                      stderr=subprocess.DEVNULL, check=False).returncode:
        usage("no test suite: apt-get install -y libpython3.11-testsuite")
    known = subprocess.run([PYTHON, "-m", "test", "--list-tests"],
                           capture_output=True, text=True,
                           check=True).stdout.split()
    for name in args.tests:
        if name not in known:
            usage("no test '%s' in the suite" % name)
    return args


def main():
    args = arguments()
    os.makedirs(LOGS, exist_ok=True)
    begin = time.monotonic()
    plain = suite(FORMS["plain"], "plain", args.tests, args.jobs)
    print("     %-8s %6d s  %d tests, %d failures:" % (
        "plain", time.monotonic() - begin, plain.number, len(plain.failed)))
    indented(plain.failed)
    for pattern, reason in IGNORED.items():
        print("     not run: %s, which %s" % (pattern, reason))
    sys.stdout.flush()
    forms = args.form or sorted(CONTROLS)
    good = [compare(form, plain, args.tests, args.jobs) for form in forms]
    print("%d passed, %d failed" % (good.count(True), good.count(False)))
    return 0 if all(good) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
