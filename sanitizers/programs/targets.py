#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make san-fuzz: fuzz targets with apb, reset after each input, beside the
same targets on ASan's own malloc.

Each is a libFuzzer target with AddressSanitizer.  First each input is run
twice, and has to get the same addresses; then both fuzz from the same seeds,
interleaved, and what is compared is executions per second of CPU time.  Inputs
allocate more than 100 blocks.  The same targets with blocks that cost nothing,
and that ASan knows nothing of, tell how much any allocator could gain.

Exit status 0: deterministic, and a target at least BAR times as fast; 1: not;
2: something is missing.
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

import build
import recipes
import sources

BAR = 1.5
LEAST_BLOCKS = 100
SEEDS = 16
# A row each: kind of the target, and what is in its environment.
FORMS = (
    ("apb", "apb", {}),
    ("apb, reset for delete", "apb", {"TARGET_DELETE": "0"}),
    ("asan", "asan", {}),
    ("no cost", "bump", {}),
)
COMPARED = [form for form, _, _ in FORMS if form != "asan"]


def fail(text):
    print("san-fuzz: %s" % text, file=sys.stderr)
    sys.exit(2)


def arguments():
    parser = argparse.ArgumentParser(prog="sanitizers/programs/targets.py")
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=6000)
    parser.add_argument("names", nargs="*", metavar="PROGRAM")
    parser.error = fail
    args = parser.parse_args()
    known = [name for name, r in recipes.ALL.items() if r.target]
    for name in args.names:
        if name not in known:
            fail("no fuzz target '%s', but %s" % (name, " ".join(known)))
    if args.rounds < 1 or args.runs < 1:
        fail("--rounds and --runs are numbers from 1 up")
    args.names = args.names or known
    return args


# ---- inputs -----------------------------------------------------------------


def word(rng):
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz",
                               k=rng.randrange(1, 12)))


def json_value(rng, depth):
    kind = rng.randrange(6 if depth else 3)
    if kind == 0:
        return '"%s"' % word(rng)
    if kind == 1:
        return "%d" % rng.randrange(1, 100000)
    if kind == 2:
        return rng.choice(("true", "null", "-1.5"))
    parts = [json_value(rng, depth - 1) for _ in range(rng.randrange(2, 6))]
    if kind == 3:
        return "[%s]" % ",".join(parts)
    return "{%s}" % ",".join('"%s":%s' % (word(rng), part) for part in parts)


def json_text(rng):
    parts = [json_value(rng, 3) for _ in range(rng.randrange(40, 80))]
    return "[%s]" % ",\n".join(parts)


def lua_text(rng):
    lines = []
    for number in range(rng.randrange(10, 30)):
        name = word(rng)
        lines.append(rng.choice((
            "local %s = {%d, '%s', {x = %d}}" % (name + "x", number, name,
                                                 number),
            "local function %s1(a, b) return a .. b, {a, b} end" % name,
            "for i = 1, %d do t[#t + 1] = '%s' .. i end" % (number, name),
            "t.%s2 = function(x) return string.rep(x, %d) end" % (name,
                                                                  number))))
    return "\n".join(["local t = {}"] + lines) + "\n"


TEXTS = {"cJSON": json_text, "jansson": json_text, "lua": lua_text}


def seeds(folder, name):
    rng = random.Random(1)
    os.makedirs(folder)
    for number in range(SEEDS):
        with open(os.path.join(folder, "%02d" % number), "w",
                  encoding="ascii") as stream:
            stream.write(TEXTS[name](rng))
    return folder


# ---- running ----------------------------------------------------------------


class Wrong(Exception):
    """The target did not do what it should."""


def run(program, words, **settings):
    """(what it printed, CPU seconds)"""
    env = {name: value for name, value in os.environ.items()
           if name in ("PATH", "HOME", "TMPDIR")}
    env.update(LC_ALL="C", TARGET_COUNT="1",
               ASAN_SYMBOLIZER_PATH=shutil.which("llvm-symbolizer-19") or "",
               **settings)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([program, *words], env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          errors="replace")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise Wrong("%s: status %d\n%s" % (
            os.path.basename(program), done.returncode,
            "\n".join(done.stdout.splitlines()[-30:])))
    return done.stdout, (after.ru_utime + after.ru_stime - before.ru_utime -
                         before.ru_stime)


def counts(text):
    found = re.search(r"target: (\d+) inputs, (\d+) blocks", text)
    if not found:
        raise Wrong("the target counted nothing:\n" + text[-1000:])
    return int(found[1]), int(found[2])


def libfuzzer(runs, seed, corpus):
    return ["-seed=%d" % seed, "-runs=%d" % runs, "-max_len=8192",
            "-len_control=0", "-artifact_prefix=%s/" % corpus, corpus]


def deterministic(program, scratch, name, runs, settings):
    """Each input twice in a row, after whatever others there were: the same
    sizes at the same addresses, else the target aborts.  How many."""
    corpus = seeds(os.path.join(scratch, "twice"), name)
    text, _ = run(program, libfuzzer(runs, 1, corpus), TARGET_REPEAT="1",
                  **settings)
    shutil.rmtree(corpus)
    return counts(text)[0]


def fuzz(args, programs, scratch, name, more):
    """{form: [executions per CPU second]}, [blocks per input]"""
    speeds = {form: [] for form, _, _ in FORMS}
    blocks = []
    for number in range(args.rounds):
        first = number % len(FORMS)
        for form, kind, settings in FORMS[first:] + FORMS[:first]:
            corpus = seeds(os.path.join(scratch, "corpus"), name)
            text, seconds = run(programs[kind],
                                libfuzzer(args.runs, number + 1, corpus),
                                **settings, **more)
            inputs, made = counts(text)
            speeds[form].append(inputs / seconds)
            blocks.append(made / inputs)
            shutil.rmtree(corpus)
    return speeds, blocks


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return (values[middle] + values[~middle]) / 2


def one(args, programs, scratch, recipe, more):
    """A row for the table; whether the bar is held."""
    settings = {"TARGET_MORE": "1"} if more else {}
    title = "%s: parse%s" % (recipe.name, ", " + recipe.more if more else "")
    inputs = deterministic(programs["apb"], scratch, recipe.name,
                           max(1, args.runs // 10), settings)
    print("%s: %d inputs run twice, at the same addresses" % (title, inputs),
          flush=True)
    speeds, blocks = fuzz(args, programs, scratch, recipe.name, settings)
    middle = {form: median(values) for form, values in speeds.items()}
    row = [title, "%.0f" % min(blocks)]
    for form, _, _ in FORMS:
        row.append("%.0f" % middle[form])
    for form in COMPARED:
        row.append("%.2f" % (middle[form] / middle["asan"]))
    return row, (middle["apb"] / middle["asan"] >= BAR and
                 min(blocks) > LEAST_BLOCKS)


HEAD = ["target", "blocks", *("%s, /s" % form for form, _, _ in FORMS),
        *("%s / asan" % form for form in COMPARED)]


def table(rows):
    widths = [max(len(row[i]) for row in [HEAD] + rows)
              for i in range(len(HEAD))]
    for row in [HEAD] + rows:
        print("  ".join(cell.rjust(width) if i else cell.ljust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))))


def main():
    args = arguments()
    builder = build.Builder(args.build, args.jobs)
    library = builder.allocator("apb")[-1]
    if not os.path.exists(library):
        fail("%s is missing: make san-fuzz" % library)
    rows, held = [], []
    try:
        with tempfile.TemporaryDirectory(prefix="apb-fuzz-") as scratch:
            for name in args.names:
                recipe = recipes.ALL[name]
                programs = builder.targets(recipe)
                for more in (False, True) if recipe.more else (False,):
                    row, good = one(args, programs, scratch, recipe, more)
                    rows.append(row)
                    if good:
                        held.append(row[0])
    except sources.Failed as err:
        fail(str(err))
    except Wrong as err:
        print("FAILED: %s" % err)
        sys.exit(1)
    print("\n%d round%s of %d executions; medians, per second of CPU time; "
          "blocks per input" % (args.rounds, "" if args.rounds == 1 else "s",
                                args.runs))
    table(rows)
    print("at least %.1f x with more than %d blocks per input: %s"
          % (BAR, LEAST_BLOCKS, ", ".join(held) or "NONE"))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
