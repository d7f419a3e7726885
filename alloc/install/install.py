#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`make install` and `make uninstall`: puts files where they belong.

The directories are those that the files will be found in; --destdir, which is
put before each of them, is in none of the files.  Each file is written beside
its place and then renamed: programs that use the library go on with what they
have.  Exit status 2, and one line, if something is wrong.
"""

import argparse
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TOOLS = {
    "address": "AddressSanitizer", "leak": "LeakSanitizer",
    "memory": "MemorySanitizer", "thread": "ThreadSanitizer",
    "undefined": "UndefinedBehaviorSanitizer", "valgrind": "valgrind"}
DIRECTORIES = ("prefix", "bindir", "libdir", "includedir", "pkgconfigdir",
               "cmakedir")
HEADERS = ("apb.h", "sanitize.h")
SHARED = ("apb", "apb-malloc")


def fail(text):
    print("apb: " + text, file=sys.stderr)
    sys.exit(2)


# ---- what the files say -----------------------------------------------------


def below(path, top, name):
    """A path by way of a variable, if it is below what that stands for."""
    return name + path[len(top):] if (path + "/").startswith(
        top.rstrip("/") + "/") else path


def pc(args, name, what, cflags, libs, private=""):
    prefix = args.prefix
    lines = [
        "# SPDX-License-Identifier: MIT",
        "prefix=" + prefix,
        "libdir=" + below(args.libdir, prefix, "${prefix}"),
        "includedir=" + below(args.includedir, prefix, "${prefix}"),
        "",
        "Name: " + name,
        "Description: " + what,
        "Version: " + args.version,
        "Cflags: " + " ".join(["-I${includedir}", *cflags]),
        "Libs: " + " ".join(["-L${libdir}", *libs]),
    ]
    if private:
        lines.append("Libs.private: " + private)
    return "\n".join(lines) + "\n"


def pkgconfig(args):
    yield "apb.pc", pc(
        args, "apb", "arena-pool-block memory allocator",
        [], ["-lapb"], "-pthread")
    yield "apb-malloc.pc", pc(
        args, "apb-malloc", "apb in the place of malloc and operator new",
        [], ["-lapb-malloc"], "-pthread")
    for tool, _library, cflags, link in args.tools:
        yield "apb-%s.pc" % tool, pc(
            args, "apb-" + tool, "apb, its blocks seen by " + TOOLS[tool],
            [*cflags.split(), "-pthread"],
            [*link.split(), "-pthread", "-lapb-" + tool])
        for suffix, first, what in (
                ("", [], "a whole program's malloc"),
                ("-cxx", ["${libdir}/apb/wrap-new-%s.o" % tool],
                 "a whole program's malloc and operator new")):
            yield "apb-wrap-%s%s.pc" % (tool, suffix), pc(
                args, "apb-wrap-%s%s" % (tool, suffix),
                "apb as %s, seen by %s" % (what, TOOLS[tool]),
                [*cflags.split(), "-pthread"],
                [*link.split(), "-pthread", *first,
                 "@${libdir}/apb/wrap.rsp",
                 "-lapb-wrap-" + tool, "-lapb-" + tool])


def cmake(args):
    """From where the package is to the rest: so the tree can be moved."""
    with open(os.path.join(ROOT, "alloc/install/apbConfig.cmake.in"),
              encoding="utf-8") as file:
        text = file.read()
    tools = "\n".join('apb_tool(%s "%s" "%s")' % (
        tool, ";".join(cflags.split()), link)
        for tool, _library, cflags, link in args.tools)
    for name, value in (
            ("libdir", os.path.relpath(args.libdir, args.cmakedir)),
            ("includedir", os.path.relpath(args.includedir, args.cmakedir)),
            ("soversion", args.soversion), ("version", args.version),
            ("tools", tools)):
        text = text.replace("@%s@" % name, value)
    yield "apbConfig.cmake", text
    with open(os.path.join(ROOT, "alloc/install/apbConfigVersion.cmake.in"),
              encoding="utf-8") as file:
        yield "apbConfigVersion.cmake", file.read().replace(
            "@version@", args.version)


# ---- files ------------------------------------------------------------------


class File:
    def __init__(self, path, mode, content):
        self.path, self.mode, self.content = path, mode, content

    def write(self, path):
        with open(path, "wb") as file:
            file.write(self.content())
        os.chmod(path, self.mode)


class Link:
    def __init__(self, path, to):
        self.path, self.to = path, to

    def write(self, path):
        os.symlink(self.to, path)


def copy(source):
    def content():
        with open(source, "rb") as file:
            return file.read()
    return content


def entries(args):
    """All that is installed, in the order in which it is."""
    header = os.path.join(ROOT, "alloc/include/apb")
    for name in HEADERS:
        yield File(os.path.join(args.includedir, "apb", name), 0o644,
                   copy(os.path.join(header, name)))
    for name in SHARED:
        library = "lib" + name
        yield File(os.path.join(args.libdir, library + ".a"), 0o644,
                   copy(os.path.join(args.build, library + ".a")))
        real = "%s.so.%s" % (library, args.version)
        soname = "%s.so.%s" % (library, args.soversion)
        yield File(os.path.join(args.libdir, real), 0o755,
                   copy(os.path.join(args.build, library + ".so")))
        yield Link(os.path.join(args.libdir, soname), real)
        yield Link(os.path.join(args.libdir, library + ".so"), soname)
    for tool, library, _cflags, _link in args.tools:
        yield File(os.path.join(args.libdir, "libapb-%s.a" % tool), 0o644,
                   copy(library))
        made = os.path.dirname(library)
        yield File(os.path.join(args.libdir, "libapb-wrap-%s.a" % tool), 0o644,
                   copy(os.path.join(made, "libapb-wrap.a")))
        yield File(os.path.join(args.libdir, "apb", "wrap-new-%s.o" % tool),
                   0o644, copy(os.path.join(made, "wrap-new.o")))
    if args.tools:
        yield File(os.path.join(args.libdir, "apb", "wrap.rsp"), 0o644,
                   copy(os.path.join(args.build, "wrap.rsp")))
    for name, text in pkgconfig(args):
        yield File(os.path.join(args.pkgconfigdir, name), 0o644, text.encode)
    for name, text in cmake(args):
        yield File(os.path.join(args.cmakedir, name), 0o644, text.encode)
    if args.python:
        yield File(os.path.join(args.bindir, "apb-python3"), 0o755,
                   copy(os.path.join(args.build, "apb-python3")))


def place(args, path):
    return args.destdir + path if args.destdir else path


def install(args):
    for entry in entries(args):
        path = place(args, entry.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        new = "%s.new-%d" % (path, os.getpid())
        try:
            entry.write(new)
            os.rename(new, path)
        except OSError as error:
            if os.path.lexists(new):
                os.unlink(new)
            error.filename = error.filename or path  # a write has none
            raise
        print("  INSTALL  " + path)


def uninstall(args):
    """Whatever was chosen when it was installed: all that there can be."""
    args.python = True
    args.tools = [(tool, "", "", "") for tool in TOOLS]
    for entry in entries(args):
        path = place(args, entry.path)
        if os.path.lexists(path):
            os.unlink(path)
            print("  REMOVE   " + path)
    for path in (os.path.join(args.includedir, "apb"),
                 os.path.join(args.libdir, "apb"), args.cmakedir):
        try:
            os.rmdir(place(args, path))
        except OSError:
            pass  # not empty, or not there


# ---- main -------------------------------------------------------------------


def check(args):
    for name in DIRECTORIES:
        path = getattr(args, name)
        if not os.path.isabs(path):
            fail("%s=%s: must be an absolute path" % (name, path))
        if re.search(r"[\s;\"'$#\\]", path):
            fail("%s=%s: neither pkg-config nor CMake can have that in a path"
                 % (name, path))
        setattr(args, name, os.path.normpath(path))


def main():
    parser = argparse.ArgumentParser()
    for name in DIRECTORIES + ("build", "version", "soversion"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--destdir", default="")
    parser.add_argument("--python", action="store_true")
    parser.add_argument("--tool", dest="tools", action="append", default=[],
                        metavar="NAME:LIBRARY:CFLAGS:LINK",
                        type=lambda text: text.split(":"))
    parser.add_argument("action", choices=("install", "uninstall"))
    args = parser.parse_args()
    check(args)
    try:
        {"install": install, "uninstall": uninstall}[args.action](args)
    except OSError as error:
        fail("%s: %s: %s" % (args.action, error.filename, error.strerror))


if __name__ == "__main__":
    main()
