#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-fuzz: how fast inputs of 64 operations are executed, on one CPU.

Three things are measured: apb-replay --bench, which runs random inputs in a
loop (interleaved rounds, the sanitizer and the release build in turn); the
libFuzzer targets at work, which mutate and collect coverage too; and AFL++ at
work, with the stability that it reports.
"""

import argparse
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile

import common

HEADER, RECORD, OPS = 8, 8, 64
SIZE = HEADER + OPS * RECORD
SEEDS = 32
AFL_ENVIRONMENT = {
    "AFL_SKIP_CPUFREQ": "1",
    "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
    "AFL_NO_AFFINITY": "1",
    "AFL_NO_UI": "1",
}


def arguments():
    parser = argparse.ArgumentParser(prog="bench/fuzz.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--corpus", default="corpus/seeds",
                        help="AFL++ starts from these inputs as well")
    parser.add_argument("--rounds", type=common.positive, default=7)
    parser.add_argument("--inputs", type=common.positive, default=20000)
    parser.add_argument("--seconds", type=common.positive, default=20,
                        help="of each engine")
    parser.add_argument("--cpu", type=int)
    return common.parse(parser)


def execute(command, scratch, what, **env):
    """What @command, run in @scratch, printed, and its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        done = subprocess.run(
            command, cwd=scratch, env=dict(os.environ, LC_ALL="C", **env),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", check=False)
    except OSError as err:
        common.fail("%s: %s" % (command[0], err.strerror))
    if done.returncode:
        lines = done.stdout.strip().splitlines()
        telling = [line for line in lines
                   if re.search(r"FINDING|ERROR|error", line)]
        print("bench: %s ended with status %d: %s"
              % (what, done.returncode,
                 (telling or lines or ["no output"])[0]), file=sys.stderr)
        # What the harness finds is no bad input, but no measurement either.
        sys.exit(1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, (after.ru_utime + after.ru_stime -
                         before.ru_utime - before.ru_stime)


def number(pattern, text, what):
    match = re.search(pattern, text)
    if not match:
        common.fail("%s did not say how fast it was" % what)
    return float(match.group(1))


def replay(args, programs, scratch):
    """{name: [executions per second, per CPU second, of each round]}"""
    speeds = {name: [] for name in programs}
    for _ in range(args.rounds):
        for name, program in programs.items():
            text, seconds = execute([program, "--bench", str(args.inputs)],
                                    scratch, name)
            speeds[name].append((number(r"([\d.]+) executions/s", text, name),
                                 args.inputs / seconds))
    return speeds


def seeds(folder):
    """Random inputs of 64 operations in the simulated kernel."""
    rng = random.Random(1)
    os.mkdir(folder)
    for i in range(SEEDS):
        header = bytes((1, 0, rng.randrange(32), 0)) + rng.randbytes(4)
        with open(os.path.join(folder, "random-%02d" % i), "wb") as stream:
            stream.write(header + rng.randbytes(SIZE - HEADER))


def libfuzzer(args, program, scratch, what):
    corpus = os.path.join(scratch, what)
    seeds(corpus)
    text, seconds = execute(
        [program, "-max_len=%d" % SIZE, "-len_control=0", "-seed=1",
         "-max_total_time=%d" % args.seconds, "-detect_leaks=0",
         "-print_final_stats=1", corpus], scratch, what)
    total = number(r"stat::number_of_executed_units:\s*(\d+)", text, what)
    return (number(r"stat::average_exec_per_sec:\s*(\d+)", text, what),
            total / seconds)


def afl(args, program, scratch):
    inputs = os.path.join(scratch, "afl-in")
    seeds(inputs)
    if os.path.isdir(args.corpus):
        for name in sorted(os.listdir(args.corpus)):
            path = os.path.join(args.corpus, name)
            if os.path.isfile(path) and not name.startswith((".", "README")):
                shutil.copy(path, os.path.join(inputs, "corpus-" + name))
    out = os.path.join(scratch, "afl-out")
    text, _ = execute(
        ["afl-fuzz", "-V", str(args.seconds), "-i", inputs, "-o", out,
         "-t", "10000+", "--", program], scratch, "afl-fuzz",
        **AFL_ENVIRONMENT)
    stats = common.read(os.path.join(out, "default", "fuzzer_stats"))
    if not stats:
        lines = [line for line in text.splitlines() if "[-]" in line]
        common.fail("afl-fuzz: %s" % (lines or ["no fuzzer_stats"])[0])
    return (number(r"execs_per_sec\s*:\s*([\d.]+)", stats, "afl-fuzz"),
            re.search(r"stability\s*:\s*(\S+)", stats).group(1))


def main():
    args = arguments()
    fuzz = os.path.abspath(os.path.join(args.build, "fuzz"))
    bench = os.path.abspath(os.path.join(args.build, "bench"))
    args.corpus = os.path.abspath(args.corpus)
    programs = {
        "apb-replay, ASan+UBSan": os.path.join(bench, "apb-replay-asan"),
        "apb-replay, release": os.path.join(bench, "apb-replay-release"),
    }
    engines = {
        "libFuzzer, ASan+UBSan": os.path.join(fuzz, "apb-fuzz-asan"),
        "libFuzzer, release": os.path.join(fuzz, "apb-fuzz-release"),
    }
    afl_target = os.path.join(fuzz, "apb-fuzz-afl")
    for path in [*programs.values(), *engines.values(), afl_target]:
        common.need(path, "bench-fuzz")
    machine = common.machine(common.pin(args.cpu))

    with tempfile.TemporaryDirectory(prefix="apb-bench-") as scratch:
        speeds = replay(args, programs, scratch)
        for name, program in engines.items():
            speeds[name] = [libfuzzer(args, program, scratch, name)]
        speed, stability = afl(args, afl_target, scratch)
    print(machine)
    print("inputs of up to %d operations; %d rounds of %d; %d s per engine\n"
          % (OPS, args.rounds, args.inputs, args.seconds))
    rows = []
    for name, values in speeds.items():
        row = [name]
        for column in zip(*values):
            row += ["%.0f" % common.median(column), "%.0f" % max(column)]
        rows.append(row)
    common.table(["executions", "per second", "best", "per CPU second",
                  "best"], rows)
    print("\nAFL++: %.0f executions/s with the corpus, stability %s"
          % (speed, stability))


if __name__ == "__main__":
    common.run_main(main)
