# SPDX-License-Identifier: MIT
"""The suite of traces: what real programs ask of malloc, recorded at bench
time with the harness's recorder, made ready by bench/trace.c, and replayed."""

import glob
import os

import common
import inputs
from micro import TraceRow, preloaded
from suite import RSS, TIME, Suite

MAX_OPS = 1 << 20


def commands(args):
    """(name, command, settings, stdin)"""
    text = inputs.text(os.path.join(args.scratch, "trace-text"), 4000)
    repository = inputs.repository(
        os.path.join(args.scratch, "trace-repository"), 40)
    _, files = inputs.sources(1)
    flags, _ = inputs.sources(1)
    return (
        ("sqlite3", ["sqlite3", "-batch", ":memory:"], {},
         inputs.script("queries.sql")),
        ("perl", ["perl", inputs.script("words.pl"), text],
         {"PERL_HASH_SEED": "0"}, None),
        ("git", ["git", "-C", repository, "log", "-p", "--stat", "-M"],
         {"GIT_PAGER": "cat", "GIT_CONFIG_GLOBAL": "/dev/null",
          "GIT_CONFIG_SYSTEM": "/dev/null"}, None),
        ("gcc", ["gcc", *flags, "-S", "-o", "trace.s", *files], {}, None),
        ("lua", ["lua5.4", inputs.script("tables.lua"), "10"], {}, None),
        ("gawk", ["gawk", "-f", inputs.script("fields.awk"), text], {}, None),
        ("python", ["/usr/bin/python3", inputs.script("jsons.py"), "5"],
         {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}, None),
    )


def record(args, name, command, settings, stdin):
    """The path of the trace and its number of steps."""
    build = os.path.abspath(args.build)
    pattern = os.path.join(args.scratch, "%s.%%p.rec" % name)
    words = [os.path.join(build, "bench", "launch"), "--out", "/dev/null",
             "--in", stdin or "/dev/null",
             "--set", "LD_PRELOAD=" + common.plain(os.path.join(
                 build, "bench", "libbench-record.so")),
             "--set", "APB_RECORD_OUT=" + pattern,
             "--set", "APB_RECORD_MAX=%d" % MAX_OPS]
    for pair in settings.items():
        words += ["--set", "%s=%s" % pair]
    try:
        common.run(words + ["--"] + command, common.environment(),
                   cwd=args.scratch)
    except common.Failed as err:
        common.fail("recording %s: %s" % (name, err))
    files = glob.glob(pattern.replace("%p", "*"))
    if not files:
        common.fail("recording %s: no file" % name)
    # Of a driver and what it runs: the one with the most to tell.
    recording = max(files, key=os.path.getsize)
    path = os.path.join(args.scratch, name + ".trace")
    steps, slots = common.run(
        [os.path.join(build, "bench", "trace"), recording, path],
        common.environment()).split()
    for file in files:
        os.unlink(file)
    return path, int(steps), int(slots)


def traces_suite(args, allocators):
    program = common.need(os.path.join(args.build, "bench", "replay-peer"),
                          "bench-build")
    common.need(os.path.join(args.build, "bench", "libbench-record.so"),
                "bench-build")
    everyone = preloaded(allocators, program)
    cpu = common.choose_cpu(args.cpu)
    rows = []
    for name, *how in commands(args):
        path, steps, slots = record(args, name, *how)
        rows.append(TraceRow(
            "t-" + name, "%s: %d calls, at most %d blocks live"
            % (name, steps, slots), everyone, path,
            500000 if args.quick else 3000000, cpu))
    return Suite("traces", "recorded traces", "ns", rows, (TIME, RSS),
                 notes=("CPU time per recorded call, of a whole replay; peak "
                        "resident memory above that before.",))
