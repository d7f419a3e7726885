#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make bench-python: CPython on apb beside the same CPython on pymalloc.

Both are build/apb-python3: the same interpreter, once as it is and once with
PYTHONMALLOC=pymalloc.  (/usr/bin/python3 is another build of CPython and not
comparable.)  The scripts are in bench/scripts/python; a round runs each of
them under both, in turn, on one CPU.
"""

import argparse
import csv
import os
import subprocess
import sys

import common

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "scripts", "python")
WORKLOADS = (
    ("trees", "trees of tuples"),
    ("strings", "dicts of strings"),
    ("records", "JSON out and in"),
    ("objects", "small classes"),
)
MEMORY = "kept"
SUBJECTS = (("apb", None), ("pymalloc", "pymalloc"))


def arguments():
    parser = argparse.ArgumentParser(prog="bench/python.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=common.positive, default=7)
    parser.add_argument("--scale", type=common.positive, default=1)
    parser.add_argument("--cpu", type=int)
    return common.parse(parser)


def environment(choice):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("PYTHON", "APB_"))}
    env.pop("LD_PRELOAD", None)
    # The order of a set is not to differ between runs.
    env.update(PYTHONHASHSEED="0", LC_ALL="C.UTF-8")
    if choice:
        env["PYTHONMALLOC"] = choice
    return env


def run(python, choice, *args):
    """(output, CPU seconds, peak resident bytes)"""
    command = [python, "-S", *args]
    with subprocess.Popen(command, env=environment(choice),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        common.fail("%s ended with status %d"
                    % (" ".join(command), process.returncode))
    return output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def check_allocators(python):
    for name, choice in SUBJECTS:
        output, _, _ = run(python, choice, "-c",
                           "import apb; print(apb.allocator)")
        if output.strip() != ("None" if choice else name):
            common.fail("%s: allocator is %s, not %s"
                        % (python, output.strip(), name))


def progress(text):
    if sys.stderr.isatty():
        print("\r\033[K" + text, end="", file=sys.stderr, flush=True)


def measure(python, args):
    """{(workload, subject): [(seconds, bytes) of each round]}"""
    results = {}
    for round_nr in range(args.rounds):
        for workload, _ in WORKLOADS:
            script = os.path.join(SCRIPTS, workload + ".py")
            printed = set()
            # Neither is always first.
            for name, choice in SUBJECTS[::-1 if round_nr % 2 else 1]:
                progress("round %d of %d: %s, %s" % (
                    round_nr + 1, args.rounds, workload, name))
                output, seconds, peak = run(python, choice, script,
                                            str(args.scale))
                printed.add(output)
                results.setdefault((workload, name), []).append(
                    (seconds, peak))
            if len(printed) != 1:
                common.fail("%s prints different things" % script)
    progress("")
    return results


def report(results):
    rows = []
    product = [1.0, 1.0]
    for workload, text in WORKLOADS:
        row = ["%s: %s" % (workload, text)]
        for which, scale, form in ((0, 1, "%.3f"), (1, 2 ** 20, "%.1f")):
            apb, other = (common.median([r[which] for r in
                                         results[workload, name]])
                          for name, _ in SUBJECTS)
            product[which] *= apb / other
            row += [form % (apb / scale), form % (other / scale),
                    "%.3f" % (apb / other)]
        rows.append(row)
    mean = ["%.3f" % (value ** (1 / len(WORKLOADS))) for value in product]
    rows.append(["geometric mean", "", "", mean[0], "", "", mean[1]])
    common.table(["script", "apb s", "pymalloc s", "ratio", "apb MiB",
                  "pymalloc MiB", "ratio"], rows)


def report_memory(python):
    """Rows of the memory test: one run each, it hardly varies."""
    kept = {}
    for name, choice in SUBJECTS:
        script = os.path.join(SCRIPTS, MEMORY + ".py")
        kept[name] = [int(word) for word in
                      run(python, choice, script)[0].split()]
    head = ["resident MiB over the start", "all objects", "0.05 % kept",
            "1 s later"]
    common.table(head, [[name] + ["%.1f" % (value / 2 ** 20)
                                  for value in values]
                        for name, values in kept.items()])
    # Full sizes differ a little: what counts is what stays.
    back = 1 - kept["apb"][2] / kept["pymalloc"][2]
    print("apb gives back %.0f %% of what pymalloc keeps" % (100 * back))
    return kept


def save(path, machine, results, kept):
    with open(path, "w", encoding="utf-8", newline="") as stream:
        stream.write("# %s\n" % machine)
        out = csv.writer(stream)
        out.writerow(["script", "allocator", "round", "cpu_seconds",
                      "peak_bytes"])
        for (workload, name), values in results.items():
            for number, (seconds, peak) in enumerate(values):
                out.writerow([workload, name, number + 1, seconds, peak])
        for name, (full, freed, later) in kept.items():
            out.writerow([MEMORY + ", full", name, 1, "", full])
            out.writerow([MEMORY + ", freed", name, 1, "", freed])
            out.writerow([MEMORY + ", 1 s later", name, 1, "", later])


def main():
    args = arguments()
    python = os.path.abspath(common.need(
        os.path.join(args.build, "apb-python3"), "bench-python"))
    check_allocators(python)
    machine = common.machine(common.pin(args.cpu))
    results = measure(python, args)

    print(machine)
    print("CPU seconds and peak resident memory, medians of %d rounds"
          % args.rounds)
    report(results)
    print()
    kept = report_memory(python)

    folder = os.path.join(args.build, "bench")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "python.csv")
    save(path, machine, results, kept)
    print("\nevery round: %s" % path)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
