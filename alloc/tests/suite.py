#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make test`: runs everything that is checked, a line for each step;
`make test-stress`, with the argument "stress": the tests with threads at full
length.

A step is a function that gives back the number of things that passed and a
text for each that failed; a unit test program counts its tests, every other
step counts as one.  What does not exist fails.  The last line is
"N passed, N failed"; exit status 1 if anything failed.
"""

import glob
import os
import re
import shutil
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import engines  # noqa: E402  (fuzz/ has to be in the path first)
import proc     # noqa: E402

UNIT_TEST_SECONDS = 120
STRESS_SECONDS = 1800
PROGRAMS_SECONDS = 300
REPLAY_SECONDS = 300
VALGRIND_SECONDS = 60
VALGRIND_MAX_SIZE = 4096
VALGRIND_BATCH = 16
THREADS_SECONDS = 120
LIBFUZZER_SECONDS = 10
AFL_SECONDS = 15
SHOWN_LINES = 30


class Failed(Exception):
    """A check did not hold."""


def expect(condition, text, output=""):
    if not condition:
        lines = output.splitlines()[-SHOWN_LINES:]
        raise Failed("\n".join([text] + lines))


def runs(cmd, seconds, **env):
    """Run a command that has to end with status 0; its output."""
    status, output = proc.run(cmd, timeout=seconds,
                              env=proc.environment(**env))
    expect(status == 0, "%s: %s" % (cmd[0], proc.ending(status)), output)
    return output


# ---- building ---------------------------------------------------------------


DONE = re.compile(r"  (CC|LD|AR|CP) ")


def build(*targets, variables=()):
    status, output = proc.make(*targets, variables=variables)
    if status != 0:
        output = "\n".join(line for line in output.splitlines()
                           if not DONE.match(line))
    expect(status == 0, "make %s: %s" % (
        " ".join((*variables, *targets)), proc.ending(status)), output)
    return output


def build_all():
    build("test-targets")


def build_again():
    """A second make finds everything up to date."""
    done = [line for line in build("test-targets").splitlines()
            if DONE.match(line)]
    expect(not done, "rebuilt though up to date:", "\n".join(done))


def build_with(compiler):
    """The whole, without sanitizers, with -Werror, with this compiler."""
    out = "build/with-" + compiler
    build("all", out + "/fuzz/apb-replay",
          variables=("CC=" + compiler, "O=" + out))


def exported_names():
    """What a program that links libapb.so gets: the interface."""
    output = runs(["nm", "--dynamic", "--defined-only", "build/libapb.so"], 20)
    names = [line.split()[-1] for line in output.splitlines()]
    foreign = [name for name in names if not name.startswith("apb_")]
    expect(names and not foreign, "exported: %s" % (foreign or "nothing"))
    return "%d names" % len(names)


def compiled_of(patch):
    """The files to compile for it: what it changes, and where headers go."""
    with open(patch, encoding="utf-8") as file:
        names = re.findall(r"^\+\+\+ b/(\S+)", file.read(), re.M)
    return sorted({"alloc/api/api.c" if name.endswith(".h") else name
                   for name in names})


def planted_bugs():
    """make bugs takes longer than there is time; that the patches apply, and
    what comes of them compiles, is seen soon."""
    patches = sorted(glob.glob(os.path.join(ROOT, "fuzz/bugs/*.patch")) +
                     glob.glob(os.path.join(ROOT, "fuzz/explore/bugs/*.patch")))
    expect(patches, "missing: fuzz/bugs/*.patch")
    with tempfile.TemporaryDirectory() as tree:
        shutil.copytree(os.path.join(ROOT, "alloc"),
                        os.path.join(tree, "alloc"),
                        ignore=shutil.ignore_patterns("tests"))
        folders = [os.path.join(tree, "alloc/include"),
                   os.path.join(tree, "alloc"), os.path.join(ROOT, "fuzz"),
                   os.path.join(ROOT, "sanitizers")]
        for patch in patches:
            apply = ["patch", "-d", tree, "-p1", "-s", "-f", "-F0",
                     "--no-backup-if-mismatch", "-i", patch]
            runs(apply, 20)
            runs(["clang-19", "-fsyntax-only", "-std=gnu11", "-Wall", "-Wextra",
                  "-Werror", "-DAPB_TRACK=0", *["-I" + f for f in folders],
                  *[os.path.join(tree, name) for name in compiled_of(patch)]],
                 60)
            runs([*apply, "-R"], 20)
    return "%d patches" % len(patches)


# ---- unit tests -------------------------------------------------------------


def unit_test(program, seconds=UNIT_TEST_SECONDS, **env):
    """A cmocka program: every test of its plan counts."""
    status, output = proc.run(
        [program], timeout=seconds,
        env=proc.environment(CMOCKA_MESSAGE_OUTPUT="TAP", **env))
    lines = output.splitlines()
    planned = sum(int(m[1]) for line in lines
                  if (m := re.match(r"1\.\.(\d+)", line)))
    passed = sum(bool(re.match(r"ok \d+ ", line)) for line in lines)
    skipped = sum(bool(re.match(r"not ok \d+ # SKIP", line))
                  for line in lines)
    bad = [line for line in lines if re.match(r"not ok \d+ - ", line)]
    # What says why comes as comments and on stderr.
    why = "\n".join(line for line in lines
                    if not re.match(r"ok \d+ ", line))[-2000:]
    if not planned:
        return 0, ["no tests; %s\n%s" % (proc.ending(status), why)], ""
    for _ in range(planned - passed - skipped - len(bad)):
        bad.append("a test did not end")
    if status != 0 and not bad:
        bad.append("all tests passed, but: " + proc.ending(status))
    if bad:
        bad[-1] += "\n" + why
    return passed, bad, "%d test%s%s" % (
        planned, "" if planned == 1 else "s",
        ", %d skipped" % skipped if skipped else "")


FLAVOURS = {"test": "sanitizers", "release": "release", "tsan": "TSan"}
SAN_FLAVOURS = {"san-address": "ASan", "san-address-gcc": "ASan of gcc"}


def unit_test_steps():
    """With sanitizers and release flags; what has threads under TSan too."""
    sources = sorted(glob.glob(os.path.join(ROOT, "alloc/tests/test_*.c")))
    for source in sources:
        name = os.path.basename(source)[:-2]
        for flavour in FLAVOURS if has_threads(source) else ("test", "release"):
            program = "build/%s/unit/%s" % (flavour, name)
            yield ("%s, %s" % (name, FLAVOURS[flavour]),
                   lambda program=program: unit_test(program))
    if not sources:
        yield "unit tests", missing("alloc/tests/test_*.c")


def sanitizer_test_steps():
    """The layer that tells the tools, and what apb tells by it."""
    for source in sorted(glob.glob(
            os.path.join(ROOT, "sanitizers/tests/test_*.c"))):
        name = os.path.basename(source)[:-2]
        for flavour in SAN_FLAVOURS if name == "test_glue" else \
                ("san-address",):
            program = "build/%s/tests/%s" % (flavour, name)
            yield ("%s, %s" % (name, SAN_FLAVOURS[flavour]),
                   lambda program=program: unit_test(program))


def has_threads(source):
    """As build.mk says it."""
    with open(source, encoding="utf-8") as file:
        return "stresslib.h" in file.read()


def stress_steps():
    yield "build", lambda: build("unit-tests") and None
    for source in sorted(glob.glob(os.path.join(ROOT,
                                                "alloc/tests/test_*.c"))):
        if not has_threads(source):
            continue
        name = os.path.basename(source)[:-2]
        for flavour, what in FLAVOURS.items():
            program = "build/%s/unit/%s" % (flavour, name)
            yield ("%s, %s" % (name, what),
                   lambda program=program: unit_test(
                       program, STRESS_SECONDS, APB_TEST_FULL="1"))


def script_steps():
    """Tests of the tools: programs of their own."""
    for folder in ("alloc", "bench", "fuzz", "sanitizers"):
        for script in sorted(glob.glob(
                os.path.join(ROOT, folder, "**/test_*.py"), recursive=True)):
            path = os.path.relpath(script, ROOT)
            yield path, lambda path=path: runs([path], 300) and None


def programs():
    """The quick set of the programs that are run with apb preloaded."""
    status, output = proc.run(["alloc/tests/programs/programs.py"],
                              timeout=PROGRAMS_SECONDS)
    done = re.search(r"^(\d+) passed, (\d+) failed$", output, re.M)
    if not done or (status != 0 and done[2] == "0"):
        return 0, ["%s\n%s" % (proc.ending(status), output[-2000:])], ""
    bad = re.findall(r"^FAIL (.*(?:\n {5}.*)*)", output, re.M)
    return int(done[1]), bad, "%s programs" % done[1]


def missing(what):
    def fail():
        raise Failed("missing: " + what)
    return fail


# ---- corpus -----------------------------------------------------------------


def corpus():
    inputs = engines.files(*engines.SEEDS)
    expect(inputs, "the corpus is empty")
    return inputs


def replay(program):
    inputs = corpus()
    wrong, output = engines.replay(program, inputs, REPLAY_SECONDS)
    expect(not wrong, wrong, output)
    return "%d inputs" % len(inputs)


def replay_valgrind():
    """The small inputs, as many as fit into the time."""
    size = {path: os.path.getsize(os.path.join(ROOT, path))
            for path in corpus()}
    inputs = [p for p in sorted(size, key=size.get)
              if size[p] <= VALGRIND_MAX_SIZE]
    # Spread over all sizes, should the time end early.
    batches = [inputs[i::max(1, len(inputs) // VALGRIND_BATCH)]
               for i in range(max(1, len(inputs) // VALGRIND_BATCH))]
    expect(batches[0], "no input of %d bytes or less" % VALGRIND_MAX_SIZE)
    start = time.monotonic()
    done = 0
    for batch in batches:
        if done and time.monotonic() - start > VALGRIND_SECONDS:
            break
        runs(["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=no",
              "build/valgrind/apb-replay", "--no-fork", *batch], 300)
        done += len(batch)
    return "%d of %d inputs" % (done, len(size))


def matrix():
    """Corpus and a short fuzz under each tool, on each kernel."""
    output = runs(["sanitizers/matrix/matrix.py", "--quick"], 300)
    return output.splitlines()[-1].partition(":")[0]


# ---- fuzzing ----------------------------------------------------------------


def fuzz(engine, seconds, jobs):
    output = runs(["fuzz/fuzz.py"], seconds + REPLAY_SECONDS, ENGINE=engine,
                  FUZZ_SECONDS=str(seconds), JOBS=str(jobs))
    found = re.search(r"executions +([\d,]+) \(([\d,]+)/s\)", output)
    expect(found and int(found[1].replace(",", "")) > 0,
           "nothing was executed", output)
    return "%s executions/s" % found[2]


def fuzz_libfuzzer():
    """Two processes: one target with sanitizers, one with release flags."""
    speed = fuzz("libfuzzer", LIBFUZZER_SECONDS, 2)
    for name in ("asan-0", "release-1"):
        with open(os.path.join(ROOT, engines.LOGS, name + ".log"),
                  encoding="utf-8", errors="replace") as log:
            done = engines.LibFuzzer.DONE.search(log.read())
        expect(done and int(done[1]) > 0, "%s executed nothing" % name)
    return speed


def afl_stability():
    with open(os.path.join(ROOT, engines.AFL_OUT, "0/fuzzer_stats"),
              encoding="utf-8") as file:
        stats = file.read()
    expect(re.search(r"^execs_done +: [1-9]", stats, re.M),
           "AFL++ executed nothing", stats)
    found = re.search(r"^stability +: ([\d.]+)%$", stats, re.M)
    expect(found, "AFL++ reports no stability", stats)
    return found[1]


def fuzz_afl():
    """Stability has to be 100.00 %."""
    speed = fuzz("afl", AFL_SECONDS, 1)
    seen = afl_stability()
    expect(seen == "100.00", "stability is not 100.00 %%: %s %%" % seen)
    return "%s, stability %s %%" % (speed, seen)


# ---- threads that really run ------------------------------------------------


def threads(flavour, *options):
    """A fixed number of operations; TSan, or an oracle, has nothing to say."""
    seeds = [path for path in corpus() if "threads-" in path]
    expect(seeds, "no seed has threads")
    operations = 0
    for inputs in ([], seeds):
        output = runs(["build/%s/apb-threads" % flavour, *options, *inputs],
                      THREADS_SECONDS, TSAN_OPTIONS="halt_on_error=1")
        operations += int(re.findall(r"(\d+) operations", output)[-1])
    return "%s operations" % format(operations, ",")


# ---- all of it --------------------------------------------------------------


def steps():
    yield "build", build_all
    yield "build again: nothing to do", build_again
    for compiler in ("gcc", "clang-19"):
        yield ("build with %s, -Werror" % compiler,
               lambda compiler=compiler: build_with(compiler))
    yield "names exported", exported_names
    yield "planted bugs apply, and compile", planted_bugs
    yield "style", lambda: runs(["alloc/tests/style.py"], 60) and None
    yield from unit_test_steps()
    yield from sanitizer_test_steps()
    yield from script_steps()
    yield "programs, the quick set", programs
    yield ("replay, sanitizers",
           lambda: replay("build/test/apb-replay"))
    yield "replay, release", lambda: replay("build/fuzz/apb-replay")
    yield "replay, valgrind", replay_valgrind
    yield "matrix, a quick row of each tool", matrix
    yield "integers that wrap or change", lambda: runs(
        ["sanitizers/integer/integer.py", "--quick"], 120).splitlines()[-1]
    yield "threads, TSan", lambda: threads(
        "tsan", "--rounds", "4", "--ops", "10000")
    yield "threads, sanitizers", lambda: threads(
        "test", "--rounds", "4", "--ops", "10000", "--forks", "20")
    yield "threads, release", lambda: threads(
        "fuzz", "--rounds", "20", "--ops", "10000", "--forks", "20")
    yield "make fuzz, libFuzzer", fuzz_libfuzzer
    yield "make fuzz, AFL++", fuzz_afl


def run_step(function):
    """(passed, [text of each failure], remark)"""
    try:
        result = function()
    except Failed as failure:
        return 0, [str(failure)], ""
    if isinstance(result, tuple):
        return result
    return 1, [], result or ""


def main():
    proc.catch_signals()
    start = time.monotonic()
    total_passed = total_failed = 0
    which = {(): steps, ("stress",): stress_steps}.get(tuple(sys.argv[1:]))
    if not which:
        print("usage: suite.py [stress]", file=sys.stderr)
        sys.exit(2)
    for name, function in which():
        begin = time.monotonic()
        passed, bad, remark = run_step(function)
        if proc.stopping():
            print("interrupted")
            total_failed += 1
            break
        print("%-4s %-34s%6.1f s  %s" % (
            "FAIL" if bad else "ok", name, time.monotonic() - begin, remark),
            flush=True)
        for text in bad:
            print("     " + text.replace("\n", "\n     "), flush=True)
        total_passed += passed
        total_failed += len(bad)
    print("%d s" % (time.monotonic() - start))
    print("%d passed, %d failed" % (total_passed, total_failed))
    proc.leave(1 if total_failed else 0)


if __name__ == "__main__":
    main()
