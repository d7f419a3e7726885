#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Test of libapb-malloc.so and .a, and of APB_OPTIONS: a line for each check.

    test_shim.py [NAME...]      all, or the checks whose names contain a NAME

Runs the programs of alloc/tests/programs/, which `make shim-test-programs`
builds, in the ways they are built for.  Exit status 1 if a check fails.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import traceback
from xml.etree import ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import proc  # noqa: E402  (fuzz/ has to be in the path first)

BUILD = os.path.join(ROOT, "build")
# A folder with programs of which only those that are linked with the archive
# are run, NAME-archive.
ARCHIVES = os.environ.get("APB_SHIM_PROGRAMS")
PROGRAMS = os.path.join(ROOT, ARCHIVES or "build/programs")
OTHER_NEW = os.path.join(BUILD, "programs", "othernew.so")
SHIM = os.path.join(BUILD, "libapb-malloc.so")
LIBRARY = os.path.join(BUILD, "libapb.so")
SECONDS = 120
NOBODY = 65534

FAMILY = """malloc free calloc realloc reallocarray free_sized
    free_aligned_sized aligned_alloc memalign posix_memalign valloc pvalloc
    cfree malloc_usable_size malloc_trim malloc_stats malloc_info mallinfo
    mallinfo2 mallopt""".split()
# What [new.delete] lists, mangled: plain, array; sized, aligned, nothrow.
NEW = [form + rest for form in ("_Znwm", "_Znam")
       for rest in ("", "RKSt9nothrow_t", "St11align_val_t",
                    "St11align_val_tRKSt9nothrow_t")]
DELETE = [form + rest for form in ("_ZdlPv", "_ZdaPv")
          for rest in ("", "m", "RKSt9nothrow_t", "St11align_val_t",
                       "mSt11align_val_t", "St11align_val_tRKSt9nothrow_t")]
# Second names: what has to be at one address.
ALIASES = {
    "apb_malloc": ["malloc"],
    "apb_calloc": ["calloc"],
    "apb_free": ["free", "cfree", "_ZdlPv", "_ZdlPvSt11align_val_t"],
    "apb_free_sized": ["free_sized"],
    "apb_usable_size": ["malloc_usable_size"],
}


class Failed(Exception):
    """A check did not hold."""


def expect(condition, text, output=""):
    if not condition:
        raise Failed("\n".join([text] + output.splitlines()[-30:]))


# ---- running --------------------------------------------------------------


def environment(preload=None, options=None, **more):
    env = {name: value for name, value in os.environ.items()
           if name not in ("LD_PRELOAD", "APB_OPTIONS")}
    if preload:
        env["LD_PRELOAD"] = ":".join(map(proc.plain, preload.split(":")))
    if options is not None:
        env["APB_OPTIONS"] = options
    env.update(more)
    return env


def run(cmd, status=0, **how):
    """Run a command; its stdout and stderr."""
    pass_fds = how.pop("pass_fds", ())
    cwd = how.pop("cwd", None)
    done = subprocess.run(
        cmd, env=environment(**how), timeout=SECONDS, cwd=cwd,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace", check=False,
        pass_fds=pass_fds)
    expect(done.returncode == status, "%s: status %d, not %d" % (
        " ".join(cmd), done.returncode, status), done.stdout + done.stderr)
    return done.stdout, done.stderr


def program(name):
    path = os.path.join(PROGRAMS, name)
    if not os.path.exists(path):
        sys.exit("test_shim.py: no %s: make shim-test-programs" % path)
    return path


def ways(name):
    """The ways to run a program on apb: (words, command, environment)."""
    if not ARCHIVES:
        yield "preloaded", [program(name)], {"preload": SHIM}
    yield "archive", [program(name + "-archive")], {}
    if not ARCHIVES:
        yield "static", [program(name + "-static"), "static"], {}


STATS = re.compile(r"^apb: statistics of (\S+), process \d+, at exit\n"
                   r"Small block threshold = 32768, in 56 size classes\.\n",
                   re.M)


def with_other(env):
    """Other operators new behind those that are preloaded."""
    return ":".join(filter(None, [env.get("preload"), OTHER_NEW]))


def everywhere(name):
    """A program that ends with 0 if all is well: with glibc's malloc, which
    shows that what it expects is right, and in all ways on apb, which has to
    have served it."""
    run([program(name)])
    for way, cmd, env in ways(name):
        _, err = run(cmd, options="stats=1", **env)
        names = [m[1] for m in STATS.finditer(err)]
        expect(os.path.basename(cmd[0]) in names,
               "%s, %s: no statistics of it at exit" % (name, way), err)


# ---- the library ----------------------------------------------------------


def symbols(path):
    out, _ = run(["nm", "--dynamic", "--defined-only", path])
    return {line.split()[2]: int(line.split()[0], 16)
            for line in out.splitlines()}


def check_exported():
    """The family, the operators and the interface; nothing else."""
    of_shim, of_library = symbols(SHIM), symbols(LIBRARY)
    wanted = set(FAMILY + NEW + DELETE) | set(of_library)
    expect(set(of_shim) == wanted, "exported, but not as wanted: %s" % (
        " ".join(sorted(set(of_shim) ^ wanted))))
    expect(len(of_library) > 10 and
           all(name.startswith("apb_") for name in of_library),
           "libapb.so exports what is not apb_*")


def check_no_hop():
    """malloc() is apb_malloc(), not a jump to it."""
    address = symbols(SHIM)
    for name, others in ALIASES.items():
        for other in others:
            expect(address[other] == address[name],
                   "%s is not where %s is" % (other, name))


def check_no_plt():
    """No call within the library goes by way of its own procedure linkage
    table, but those of operators that the program may have replaced: these
    are a jump."""
    out, _ = run(["objdump", "-d", "--no-show-raw-insn", SHIM])
    own = set(FAMILY) | set(symbols(LIBRARY))
    hops = [m[1] for m in re.finditer(r"<(\w+)@plt>", out) if m[1] in own]
    expect(not hops, "by way of the PLT: %s" % " ".join(hops))
    for name in ("_Znam", "_ZdaPv", "_ZdlPvm"):
        body = re.search(r"<%s>:\n(.*?)\n\n" % name, out, re.S)
        first = body[1].splitlines()[0]
        expect(re.search(r":\s+jmp\s", first),
               "%s is not a jump: %s" % (name, first))


def check_needed():
    """C programs must not be made to load a C++ library."""
    for path in (SHIM, LIBRARY):
        out, _ = run(["readelf", "-dW", path])
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", out)
        expect(needed == ["libc.so.6"], "%s needs %s" % (path, needed))
        expect("NODELETE" in out, "%s may be unloaded" % path)


# ---- programs -------------------------------------------------------------


def check_semantics():
    """The same output with glibc's malloc."""
    wanted, _ = run([program("semantics")])
    expect(len(wanted.splitlines()) > 80, "hardly any output", wanted)
    for way, cmd, env in ways("semantics"):
        out, _ = run(cmd, **env)
        different = ["%s, not: %s" % pair for pair in zip(
            out.splitlines(), wanted.splitlines()) if pair[0] != pair[1]]
        expect(out == wanted, "%s, %s" % (way, different[:5]), out)


def check_info():
    """malloc_info() is XML as glibc's, and adds up."""
    _way, cmd, env = next(ways("info"))
    out, err = run(cmd, **env)
    tree = ElementTree.fromstring(out)
    expect(tree.tag == "malloc" and tree.get("version") == "1", out)
    heap = tree.find("heap")
    expect(heap.get("nr") == "0", "no heap 0", out)
    sizes = [{k: int(v) for k, v in size.items()}
             for size in heap.find("sizes")]
    expect(sizes, "no sizes", out)
    for size in sizes:
        expect(size["from"] <= size["to"] and
               size["total"] == size["to"] * size["count"], str(size))
    of_208 = [size for size in sizes if size["to"] == 208]
    expect(of_208 and of_208[0]["count"] >= 10000, "10,000 are free", out)
    for place in (heap, tree):
        kinds = [(e.tag, e.get("type")) for e in place if e.get("type")]
        wanted = [("total", "fast"), ("total", "rest"), ("total", "mmap"),
                  ("system", "current"), ("system", "max"),
                  ("aspace", "total"), ("aspace", "mprotect")]
        if place is heap:
            wanted.remove(("total", "mmap"))
        expect(kinds == wanted, str(kinds))
    rest = heap.find("total[@type='rest']")
    expect(int(rest.get("count")) == sum(s["count"] for s in sizes) and
           int(rest.get("size")) >= sum(s["total"] for s in sizes),
           "the rest does not add up", out)
    expect("# bytes mapped  " in err, "malloc_stats() printed nothing", err)


def check_startup():
    """Allocation before main() and after it."""
    everywhere("startup")


def check_spawn():
    """fork(), vfork(), posix_spawn(), system(), popen()."""
    everywhere("spawn")


def check_fork_handlers():
    """Of a library that was initialised before: they allocate while the
    allocator is held still."""
    run([program("atfork")])
    run([program("atfork")], preload=SHIM)
    run([program("atfork-archive")])


def check_fork_locks():
    """Of a library whose handler waits for a lock with which another thread
    allocates: the allocator takes its own after that."""
    run([program("atlock")])
    run([program("atlock")], preload=SHIM)
    run([program("atlock-archive")])


def check_operators():
    """Every form of new and delete; the C++ library's are asked though another
    library's come before them."""
    everywhere("operators")
    _way, cmd, env = next(ways("operators"))
    run(cmd, **{**env, "preload": with_other(env)})


def check_replaced_operators():
    """Forms come down to those that the program replaced."""
    everywhere("replaced")


def check_cxx_exit():
    """Static objects, exceptions, exit."""
    everywhere("exit")


def check_dlopen():
    """Libraries come and go; libapb.so is one of them."""
    for name, preload in (("load", None), ("load", SHIM),
                          ("load-archive", None)):
        run([program(name), PROGRAMS, LIBRARY], preload=preload)


def check_closed_library():
    """One with libapb.a in it goes while a thread lives that has used it."""
    run([program("closes"), program("inside.so")])
    run([program("closes"), program("inside.so")], options="stats=1")


def check_no_cxx_library():
    """Without a C++ library operator new can but end the process, and says
    so; the form that returns NULL does."""
    way, cmd, env = next(ways("nocxx"))
    for which in ("plain", "aligned"):
        out, err = run([*cmd, which], status=-6, **env)
        expect(out == "so far\n", way, out)
        expect(err == "apb: out of memory in operator new, and no C++ library "
               "to throw std::bad_alloc\n", "%s: not told" % way, err)
    run([*cmd, "other"], **{**env, "preload": with_other(env)})


def check_limited():
    """With little address space (ulimit -v) most of it is the program's: of
    190 MB, 100 can be had in one block, and then in smaller ones."""
    script = """
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
big = libc.malloc(100 << 20)
assert big
libc.free(big)
libc.malloc_trim(0)
assert all([libc.malloc(10 << 20) for i in range(10)])
"""
    run(["sh", "-c", "ulimit -v 190000; exec /usr/bin/python3 -I -S -c \"$0\"",
         script], preload=SHIM)


# ---- options --------------------------------------------------------------


def check_option_errors():
    """A line on stderr for each that is wrong; the rest applies."""
    for way, cmd, env in ways("secure"):
        out, err = run(cmd, options="foo=1,stats,junk=2,,stats=1", **env)
        lines = err.splitlines()
        expect(lines[:3] == ["apb: APB_OPTIONS: unknown option 'foo'",
                             "apb: APB_OPTIONS: no name=value: 'stats'",
                             "apb: APB_OPTIONS: bad value: 'junk=2'"] and
               STATS.match("\n".join(lines[3:])), way, err)
        expect(out == "not secure\n", way, out)
        for good in ("", "stats=0", "settle_period=7,dirty_limit=1m",
                     "misuse=abort"):
            expect(run(cmd, options=good, **env)[1] == "", good)


def check_option_misuse():
    for way, cmd, env in ways("misuse"):
        out, err = run(cmd, options="misuse=return", **env)
        expect(out == "still here\n", way, out)
        expect(len(re.findall("^apb: double free: ", err, re.M)) == 1 and
               len(re.findall("^apb: pointer to no memory of", err, re.M)) ==
               1, way, err)
        for options in (None, "misuse=abort", "misuse=return,misuse=abort"):
            out, err = run(cmd, options=options, status=-6, **env)
            expect(out == "" and "double free" in err, way, err)


def check_option_stats():
    """At exit though stderr is closed by then (ls does that), and not into
    a file that got its number."""
    _, err = run(["ls", "/"], options="stats=1", preload=SHIM)
    expect(STATS.match(err), "ls prints none", err)
    with tempfile.NamedTemporaryFile("r") as file:
        out, _ = run(["sh", "-c", "exec perl -e 'close STDERR; open STDERR, "
                      "\">\", $ARGV[0]; print \"ok\\n\"' %s 2>&1"
                      % file.name], options="stats=1", preload=SHIM)
        expect(file.read() == "", "written to another file")
    expect(out.startswith("ok\n") and STATS.search(out), "perl prints none", out)


def check_option_early():
    """Options apply to what is allocated before the constructors, too: the
    program frees twice in one."""
    _, err = run([program("startup")], options="stats=1,foo=1", preload=SHIM)
    expect(err.startswith("apb: APB_OPTIONS: unknown option 'foo'\n"),
           "not told first", err)
    expect(err.count("unknown option") == 1, "told more than once", err)


def check_secure():
    """A set-user-ID program takes no options from its environment."""
    if os.geteuid() != 0:
        return "skipped: only root can make a set-user-ID program"
    folder = tempfile.mkdtemp()
    try:
        os.chmod(folder, 0o755)
        for name in ("secure-static", "secure-archive"):
            path = os.path.join(folder, name)
            shutil.copy(program(name), path)
            expect("unknown" in run([path], options="foo=1")[1], name)
            os.chown(path, NOBODY, NOBODY)
            os.chmod(path, 0o755 | stat.S_ISUID)
            out, err = run([path], options="foo=1,stats=1")
            if out == "not secure\n":
                return "skipped: no set-user-ID programs in " + folder
            expect((out, err) == ("secure\n", ""), name, out + err)
    finally:
        shutil.rmtree(folder)
    return None


# ---- real programs --------------------------------------------------------


def check_real_programs():
    """A few that every system has: the same output as without."""
    for cmd in (["sh", "-c", "echo $((6 * 7)) | sed s/4/5/ | sort"],
                ["bash", "-c", "a=(1 2 3); for i in ${a[@]}; do echo $i; done"],
                ["ls", "-laR", "/usr/include/linux"],
                ["perl", "-e", "print map { $_ * 2 } grep { $_ % 2 } 1..999"],
                ["/usr/bin/python3", "-c", "import json, decimal, re; "
                 "print(json.dumps([str(i) for i in range(9999)]))"],
                ["gcc", "-E", "-include", "stdio.h", "-xc", "/dev/null"],
                ["ldd", program("exit")]):
        plain = run(cmd)[0]
        out, err = run(cmd, preload=SHIM)
        if cmd[0] == "ldd":
            # addresses, and the library itself
            def names(text):
                return {line.split()[0] for line in text.splitlines()
                        if "libapb-malloc" not in line}
            expect(names(out) == names(plain), "ldd", out)
        else:
            expect(out == plain, "%s: other output" % cmd[0], out)
        expect("apb:" not in err, cmd[0], err)


def main():
    for name in () if ARCHIVES else ("secure", "load"):
        program(name)
    checks = {name[6:].replace("_", " "): function
              for name, function in globals().items()
              if name.startswith("check_")}
    wanted = sys.argv[1:]
    failed = 0
    for name, function in checks.items():
        if wanted and not any(word in name for word in wanted):
            continue
        try:
            remark = function()
            print("ok   %s%s" % (name, ": " + remark if remark else ""))
        except Failed as failure:
            failed += 1
            print("FAIL %s: %s" % (name, failure))
        except (OSError, subprocess.TimeoutExpired, ValueError, TypeError,
                KeyError, AttributeError, ElementTree.ParseError):
            failed += 1
            print("FAIL %s:" % name)
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
