# SPDX-License-Identifier: MIT
"""The quick cases: programs that every Debian has, or that the build needs."""

import glob
import os
import re

from box import ROOT, expect

HERE = os.path.join(ROOT, "alloc", "tests", "programs")
PYTHON = "/usr/bin/python3"
PYTHON_SCRIPTS = os.path.join(ROOT, "bench", "scripts", "python")
SOURCES = ("alloc/heap/heap.c", "alloc/debug/report.c", "alloc/arena/pool.c")
INCLUDES = ("-Ialloc/include", "-Ialloc")


def preload(box):
    """That LD_PRELOAD does what all other cases rely on: what the loader
    binds a program's and the C library's calls to."""
    box.run("bash", "-c", "exit 0", LD_DEBUG="bindings", LD_BIND_NOW="1",
            LD_DEBUG_OUTPUT=box.path("bindings"))
    text = "".join(open(path, encoding="utf-8").read()
                   for path in glob.glob(box.path("bindings.*")))
    found = set(re.findall(
        r" to (\S+) \[0\]: normal symbol `(malloc|free|calloc|realloc)'",
        text))
    expect({name for _, name in found} ==
           {"malloc", "free", "calloc", "realloc"}, "no calls of malloc")
    for file, name in found:
        expect((os.path.realpath(file) == box.library) == bool(box.library),
               "%s is that of %s" % (name, file))


def bash(box):
    box.run("bash", os.path.join(HERE, "scripts", "bash.sh"))
    box.run("dash", os.path.join(HERE, "scripts", "posix.sh"))


def perl(box):
    box.run("perl", os.path.join(HERE, "scripts", "perl.pl"))


def python(box):
    for name in ("trees", "strings"):
        box.run(PYTHON, os.path.join(PYTHON_SCRIPTS, name + ".py"))
    box.run(PYTHON, os.path.join(HERE, "scripts", "threads.py"))


def tools(box):
    """What scripts are made of, several of them with threads."""
    number = "BEGIN { for (i = 0; i < 200000; i++) " \
        "printf \"%d line %d of %x\\n\", (i * 7919) % 200003, i, i * i }"
    lines = box.run("awk", number)
    box.write("lines", lines)
    box.run("sort", "-n", "--parallel=2", "-S", "2M", "lines", "-o", "sorted")
    box.same_file("sorted")
    box.run("sed", "-n", r"s/^\([0-9]*\)3 line \([0-9]*\)7 .*/\2-\1/p",
            "lines")
    box.run("grep", "-c", "-E", "(a|b)+.*(1|2)+[0-9]{2}$", "lines")
    box.run("bash", "-c", "comm -12 <(sort lines | head -5000) "
            "<(sort -r lines | tail -4000) | md5sum; "
            "cut -d' ' -f3 lines | sort -u | wc -l; "
            "sed 's/7 line/ 7 lines/' lines | diff lines - | cksum")
    box.run("tar", "--mtime=@1", "--sort=name", "-czf", "lines.tar.gz",
            "lines", "sorted")
    box.same_file("lines.tar.gz")
    box.run("bash", "-c", "mkdir out && tar -xzf lines.tar.gz -C out && "
            "cmp lines out/lines && find out -type f -printf '%P %s\\n'")


def ldd(box):
    """It runs the loader in a mode of its own; the library is then named."""
    def strip(text):
        lines = [re.sub(r"\(0x[0-9a-f]+\)", "", line)
                 for line in text.splitlines()]
        return [line for line in lines
                if not box.library or
                os.path.basename(box.library) not in line]
    for program in ("/bin/bash", "/usr/bin/apt-get", PYTHON):
        box.run("ldd", program, strip=strip)


def dpkg(box):
    """List, build and unpack."""
    box.run("dpkg", "-l")
    box.run("dpkg-query", "-W", "-f", "${Package} ${Depends}\n")
    box.run("dpkg", "-S", "bin/bash")
    box.run("dpkg", "--compare-versions", "1.0~rc1-1", "lt", "1.0-1")
    box.write("pkg/DEBIAN/control", "\n".join((
        "Package: apb-example", "Version: 1.0-1", "Architecture: all",
        "Maintainer: nobody <nobody@example.org>",
        "Description: a package", " with nothing much in it.", "")))
    box.write("pkg/usr/share/doc/apb-example/text",
              "".join("line %d\n" % i for i in range(100000)))
    for kind in ("xz", "gzip", "none"):
        name = kind + ".deb"
        box.run("dpkg-deb", "--root-owner-group", "-Z" + kind, "--build",
                "pkg", name)
        box.same_file(name)
        box.run("dpkg-deb", "--info", name)
        box.run("dpkg-deb", "--contents", name)
        box.run("dpkg-deb", "--extract", name, "out-" + kind)
        box.same_file("out-%s/usr/share/doc/apb-example/text" % kind)


def apt(box):
    """The solver, over the installed packages; the cache is built each time.
    (apt_lists has all that could be installed.)"""
    options = ("-o", "Dir::Etc::SourceList=/dev/null",
               "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
               "-o", "Debug::NoLocking=1")
    box.run("apt-get", *options, "-s", "install", "bash", "make")
    box.run("apt-get", *options, "-s", "remove", "gcc")
    box.run("apt-get", *options, "check")
    box.run("apt-cache", *options, "policy", "bash", "libc6")
    box.run("apt-cache", *options, "depends", "--recurse", "--installed",
            "make")
    box.run("apt-config", "dump")


def compilers(box):
    """The same objects, to the byte; a program linked with -flto."""
    for compiler, name in (("gcc", "gcc"), ("clang-19", "clang")):
        for source in SOURCES:
            out = "%s-%s.o" % (name, os.path.basename(source))
            box.run(compiler, "-std=gnu11", "-O3", "-g", *INCLUDES, "-c",
                    source, "-o", box.path(out), cwd=ROOT)
            box.same_file(out)
    sources = [os.path.join(ROOT, path) for path in SOURCES]
    includes = ["-I" + os.path.join(ROOT, path[2:]) for path in INCLUDES]
    box.write("Makefile", "all: %s\n%%.o:\n\tgcc -O1 -flto %s -c -o $@ %s/$*.c\n"
              % (" ".join("%s.o" % path[:-2] for path in SOURCES),
                 " ".join(includes), ROOT))
    for path in SOURCES:
        os.makedirs(os.path.dirname(box.path(path)), exist_ok=True)
    box.run("make", "-r", "-j2", strip=lambda text: sorted(text.splitlines()))
    expect(len(glob.glob(box.path("alloc/*/*.o"))) == len(sources),
           "make made no objects")
    box.write("hello.c", "#include <stdio.h>\nint main(void)\n"
              "{\n\treturn printf(\"hello\\n\") != 6;\n}\n")
    box.run("gcc", "-O2", "-flto", "-o", "hello", "hello.c")
    box.run(box.path("hello"))


CASES = (preload, bash, perl, python, tools, ldd, dpkg, apt, compilers)
