#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Test of `make install`, and of what people build with apb elsewhere.

    test_install.py [-v] [Test.name...]

Installs into a temporary folder and compiles there programs that are not in
this tree, by pkg-config and by CMake, in release and for tools: each has a bug,
which is to be reported with both stacks.  And compiles apb's sources as anybody
may do, with nothing but -I and -fsanitize.
"""

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
SECONDS = 200
COMPILERS = ("gcc", "clang-19")

# Each function is in a report by its name.
PROGRAM = r"""
#include <apb/apb.h>
#include <apb/sanitize.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_OF_LINE __attribute__((noinline))

OUT_OF_LINE static char *make_it(size_t size)
{
	char *p = (char *)apb_malloc(size);

	if (!p)
		abort();
	memset(p, 1, size);
	return p;
}

OUT_OF_LINE static void give_it_back(char *p)
{
	apb_free(p);
	__asm__ volatile("" ::: "memory");
}

OUT_OF_LINE static int use_it(volatile char *p, size_t i)
{
	return p[i];
}

int main(int argc, char **argv)
{
	const char *bug = argc > 1 ? argv[1] : "none";
	char *p = make_it(13);
	int sum = use_it(p, 12);

	if (!strcmp(bug, "overflow"))
		sum += use_it(p, (size_t)(12 + argc - 1));
	give_it_back(p);
	if (!strcmp(bug, "use-after-free"))
		sum += use_it(p, 5);
	printf("sum %d, checked %d, tool %d\n", sum, apb_check(NULL), APB_SAN);
	return 0;
}
"""

CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(user C CXX)
find_package(apb 0.1 REQUIRED COMPONENTS address undefined)
add_executable(shared user.c)
target_link_libraries(shared PRIVATE apb::apb)
add_executable(static user.c)
target_link_libraries(static PRIVATE apb::static)
add_executable(malloc malloc.c)
target_link_libraries(malloc PRIVATE apb::malloc)
add_executable(address user.c)
target_link_libraries(address PRIVATE apb::apb_address)
add_executable(undefined user.cc)
target_link_libraries(undefined PRIVATE apb::apb_undefined)
add_executable(whole whole.c)
target_link_libraries(whole PRIVATE apb::apb_wrap_address)
add_executable(whole_cxx whole.cc)
target_link_libraries(whole_cxx PRIVATE apb::apb_wrap_address_cxx)
"""

# Of malloc's blocks: what it was compiled with is not said in it.
WHOLE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
#define MAKE() (new char[13])
#define GIVE_BACK(p) delete[] p
#else
#define MAKE() ((char *)malloc(13))
#define GIVE_BACK(p) free(p)
#endif

#define OUT_OF_LINE __attribute__((noinline))

OUT_OF_LINE static char *make_it(void)
{
	char *p = MAKE();

	memset(p, 1, 13);
	return p;
}

OUT_OF_LINE static void give_it_back(char *p)
{
	GIVE_BACK(p);
	__asm__ volatile("" ::: "memory");
}

OUT_OF_LINE static int use_it(volatile char *p, size_t i)
{
	return p[i];
}

int main(int argc, char **argv)
{
	const char *bug = argc > 1 ? argv[1] : "none";
	char *p = make_it(), *copy = strdup(bug);
	int sum = use_it(p, 12);

	if (!strcmp(copy, "overflow"))
		sum += use_it(p, 13);
	give_it_back(p);
	if (!strcmp(copy, "use-after-free"))
		sum += use_it(p, 5);
	free(copy);
	printf("sum %d\n", sum);
	return 0;
}
"""

MALLOC = r"""
#include <apb/apb.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	char *p = calloc(100, 1);

	printf("usable %zu\n", p ? apb_usable_size(p) : 0);
	free(p);
	return 0;
}
"""


def environment():
    env = dict(os.environ)
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "APB_OPTIONS",
                 "CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS"):
        env.pop(name, None)
    env["ASAN_SYMBOLIZER_PATH"] = "/usr/bin/llvm-symbolizer-19"
    return env


def run(cmd, cwd=ROOT, **more):
    """Exit status, and what it printed."""
    env = environment()
    env.update(more)
    done = subprocess.run(cmd, cwd=cwd, env=env, timeout=SECONDS, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout.decode(errors="replace")


def tree(top):
    """All that is below it, but for empty folders."""
    return sorted(os.path.relpath(os.path.join(base, name), top)
                  for base, _dirs, names in os.walk(top) for name in names)


class Case(unittest.TestCase):
    def must(self, cmd, cwd=ROOT, **more):
        status, output = run(cmd, cwd, **more)
        self.assertEqual(status, 0, "%s\n%s" % (" ".join(cmd), output[-4000:]))
        return output

    def temporary(self):
        folder = tempfile.mkdtemp(prefix="apb-install-")
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def reported(self, program, bug, kind, words, functions):
        """What the tool says of a bug: kind, and whose frames come in turn."""
        status, output = run([program, bug])
        self.assertNotEqual(status, 0, output)
        self.assertIn("AddressSanitizer: " + kind, output)
        # gcc 12's words for it
        said = output.replace("to the right of", "after")
        for text in words:
            self.assertIn(text, said)
        frames = r"[\s\S]*?".join(r" in %s\W" % f for f in functions)
        self.assertRegex(output, frames)

    def both_bugs(self, program, birth="apb_malloc"):
        self.reported(program, "overflow", "heap-buffer-overflow",
                      ["0 bytes after 13-byte region"],
                      ["use_it", birth, "make_it"])
        self.reported(program, "use-after-free", "heap-use-after-free",
                      ["5 bytes inside of 13-byte region"],
                      ["use_it", "give_it_back", birth, "make_it"])


class Files(Case):
    """Where what is put."""

    def test_into_a_prefix_and_away_again(self):
        top = self.temporary()
        self.must(["make", "install", "PREFIX=" + top])
        found = tree(top)
        tools = sorted(re.findall(r"lib/libapb-(\w+)\.a", "\n".join(found)))
        self.assertEqual(tools, ["address", "leak", "malloc", "memory",
                                 "thread", "undefined", "valgrind"])
        want = ["include/apb/apb.h", "include/apb/sanitize.h"]
        want += ["lib/cmake/apb/apbConfig%s.cmake" % s for s in ("", "Version")]
        want += ["lib/libapb%s" % s for s in (
            ".a", ".so", ".so.0", ".so.0.1.0", "-malloc.so", "-malloc.so.0",
            "-malloc.so.0.1.0")]
        want += ["lib/libapb-%s.a" % tool for tool in tools]
        tools.remove("malloc")
        want += ["lib/libapb-wrap-%s.a" % tool for tool in tools]
        want += ["lib/apb/wrap-new-%s.o" % tool for tool in tools]
        want += ["lib/apb/wrap.rsp"]
        want += ["lib/pkgconfig/apb%s.pc" % s
                 for s in ["", "-malloc", *("-" + tool for tool in tools),
                           *("-wrap-" + tool for tool in tools),
                           *("-wrap-%s-cxx" % tool for tool in tools)]]
        self.assertEqual(found, sorted(want))
        self.assertIn("soname: [libapb.so.0]", self.must(
            ["readelf", "-d", os.path.join(top, "lib/libapb.so")]))
        # what is there and not ours stays
        for path in ("include/apb/other.h", "lib/libother.a"):
            with open(os.path.join(top, path), "w", encoding="ascii"):
                pass
        self.must(["make", "uninstall", "PREFIX=" + top])
        self.assertEqual(tree(top), ["include/apb/other.h", "lib/libother.a"])

    def test_destdir_is_in_no_file(self):
        top = self.temporary()
        self.must(["make", "install", "DESTDIR=" + top, "PREFIX=/opt/x",
                   "libdir=/opt/lib64", "TOOLS=undefined"])
        self.assertEqual(sorted(os.listdir(top)), ["opt"])
        self.assertEqual(sorted(os.listdir(top + "/opt")), ["lib64", "x"])
        for path in tree(top):
            if path.endswith((".pc", ".cmake")):
                with open(os.path.join(top, path), encoding="utf-8") as file:
                    self.assertNotIn(top, file.read(), path)
        self.assertEqual(
            self.must(["pkg-config", "--variable=libdir", "apb"],
                      PKG_CONFIG_PATH=top + "/opt/lib64/pkgconfig").strip(),
            "/opt/lib64")
        self.must(["make", "uninstall", "DESTDIR=" + top, "PREFIX=/opt/x",
                   "libdir=/opt/lib64"])
        self.assertEqual(tree(top), [])

    def test_bad_values(self):
        for variables, line in (
                (["PREFIX=here"], "prefix=here: must be an absolute path"),
                (["PREFIX=/a b"], "prefix=/a b: must be an absolute path"),
                (["PREFIX=/a;b"], "apb: prefix=/a;b: neither"),
                (["TOOLS=adress"], "TOOLS=adress: must be some of"),
                (["PREFIX=/proc/none"], "apb: install: /proc/none"),
                (["SAN=adress"], "SAN=adress: must be one of"),
                (["SAN=address leak"], "SAN=address leak: must be one of"),
                (["SAN=memory", "CC=gcc"], "SAN=memory CC=gcc: only clang"),
                (["LAYOUT=flat"], "LAYOUT=flat: must be tracking or")):
            status, output = run(["make", "install", *variables])
            self.assertEqual(status, 2, output)
            lines = [text for text in output.splitlines()
                     if not re.match(r"  [A-Z]+ |make: \*\*\* \[", text)]
            self.assertEqual(len(lines), 1, output)
            self.assertIn(line, lines[0])

    def test_no_room(self):
        """What could not be written is named, and nothing half of it is left."""
        with tempfile.TemporaryDirectory() as top:
            self.must(["make", "all"])
            status, output = run(["sh", "-c", 'ulimit -f 200; exec "$@"', "sh",
                                  "make", "install", "TOOLS=", "PREFIX=/usr",
                                  "DESTDIR=" + top])
            self.assertEqual(status, 2, output)
            self.assertRegex(output, "(?m)^apb: install: %s/usr/lib/libapb"
                             r"\S+: File too large$" % re.escape(top))
            self.assertFalse([name for name in tree(top) if ".new-" in name])


class Installed(Case):
    """Programs elsewhere."""

    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="apb-install-")
        cls.addClassCleanup(shutil.rmtree, cls.top)
        status, output = run(["make", "install", "PREFIX=%s/usr" % cls.top])
        if status:
            raise AssertionError(output[-4000:])
        for name, text in (("user.c", PROGRAM), ("user.cc", PROGRAM),
                           ("whole.c", WHOLE), ("whole.cc", WHOLE),
                           ("malloc.c", MALLOC), ("CMakeLists.txt", CMAKE)):
            with open(os.path.join(cls.top, name), "w",
                      encoding="ascii") as file:
                file.write(text)
        cls.env = {"PKG_CONFIG_PATH": cls.top + "/usr/lib/pkgconfig",
                   "LD_LIBRARY_PATH": cls.top + "/usr/lib"}

    def compiled(self, compiler, package, source="user.c", *more):
        flags = self.must(["pkg-config", "--cflags", "--libs", *more, package],
                          **self.env).split()
        name = "%s-%s-%s" % (package, compiler, source)
        self.must([compiler, "-g", "-Wall", "-Wextra", "-Werror", source,
                   "-o", name, *flags], self.top)
        return os.path.join(self.top, name)

    def test_release(self):
        for compiler in COMPILERS:
            program = self.compiled(compiler, "apb")
            self.assertEqual(self.must([program], **self.env),
                             "sum 1, checked 0, tool 0\n")
        program = self.compiled("gcc", "apb-malloc", "malloc.c")
        self.assertEqual(self.must([program], **self.env), "usable 112\n")

    def test_each_tool(self):
        """What has no bug runs in silence: C of one, C++ of the other."""
        for tool in ("address", "leak", "memory", "thread", "undefined",
                     "valgrind"):
            c = "clang-19" if tool == "memory" else "gcc"
            for compiler, source in ((c, "user.c"), ("clang++-19", "user.cc")):
                with self.subTest(tool=tool, compiler=compiler):
                    program = self.compiled(compiler, "apb-" + tool, source)
                    self.assertEqual(
                        self.must([program]),
                        "sum 1, checked 0, tool %d\n" % (tool != "undefined"))

    def test_bugs(self):
        for compiler in COMPILERS:
            with self.subTest(compiler=compiler):
                self.both_bugs(self.compiled(compiler, "apb-address"))

    def test_whole_program(self):
        """One that calls malloc, or operator new, as apb's blocks."""
        for compiler in COMPILERS:
            with self.subTest(compiler=compiler):
                self.whole(self.compiled(compiler, "apb-wrap-address",
                                         "whole.c"), "apb_malloc")
        self.whole(self.compiled("clang++-19", "apb-wrap-address-cxx",
                                 "whole.cc"), r"operator new\[\]")

    def whole(self, program, birth):
        self.both_bugs(program, birth)
        self.assertEqual(self.must([program]), "sum 1\n")

    def test_cmake(self):
        build = os.path.join(self.top, "build")
        self.must(["cmake", "-S", self.top, "-B", build,
                   "-DCMAKE_PREFIX_PATH=%s/usr" % self.top,
                   "-DCMAKE_BUILD_TYPE=Debug"])
        self.must(["cmake", "--build", build])
        for name in ("shared", "static", "undefined"):
            self.assertEqual(self.must([os.path.join(build, name)]),
                             "sum 1, checked 0, tool 0\n")
        self.assertEqual(self.must([os.path.join(build, "malloc")]),
                         "usable 112\n")
        self.both_bugs(os.path.join(build, "address"))
        self.both_bugs(os.path.join(build, "whole"), "apb_malloc")
        self.both_bugs(os.path.join(build, "whole_cxx"), r"operator new\[\]")

    def test_cmake_without(self):
        """A tool that was not installed, a version that there is not."""
        for call, what in (
                ("find_package(apb REQUIRED COMPONENTS trees)",
                 "installed without trees"),
                ("find_package(apb 0.2 REQUIRED)", "version \"0.2\""),
                ("find_package(apb 1 REQUIRED)", "version \"1\"")):
            folder = self.temporary()
            with open(os.path.join(folder, "CMakeLists.txt"), "w",
                      encoding="ascii") as file:
                file.write("cmake_minimum_required(VERSION 3.13)\n"
                           "project(user C)\n" + call + "\n")
            status, output = run(
                ["cmake", "-S", folder, "-B", folder + "/build",
                 "-DCMAKE_PREFIX_PATH=%s/usr" % self.top])
            self.assertNotEqual(status, 0, output)
            self.assertIn(what, " ".join(output.split()))


def sources(tool):
    """What README.md says a build of one's own consists of."""
    folders = ["alloc/*/*.c"] + (["sanitizers/glue/*.c"] if tool else [])
    left_out = ("alloc/tests/", "alloc/shim/", "alloc/python/") + (
        () if tool else ("alloc/track/",))
    return sorted(path for folder in folders
                  for path in glob.glob(folder, root_dir=ROOT)
                  if not path.startswith(left_out))


class OwnBuild(Case):
    """apb's sources, -I, and the tool's own flag: nothing else."""

    def own(self, compiler, tool, *flags):
        folder = self.temporary()
        with open(os.path.join(folder, "user.c"), "w",
                  encoding="ascii") as file:
            file.write(PROGRAM)
        program = os.path.join(folder, "user")
        self.must([compiler, *flags, "-Ialloc/include", "-Ialloc",
                   "-Isanitizers", folder + "/user.c", *sources(tool),
                   "-o", program])
        return program

    def test_without_a_tool(self):
        self.assertIn("checked 0, tool 0", self.must([self.own("gcc", False)]))

    def test_under_asan(self):
        for compiler in COMPILERS:
            with self.subTest(compiler=compiler):
                self.both_bugs(self.own(compiler, True, "-fsanitize=address"))

    def test_under_msan(self):
        self.assertIn("checked 0, tool 1", self.must(
            [self.own("clang-19", True, "-fsanitize=memory")]))

    def test_under_tsan_of_gcc(self):
        """apb's sources apart: gcc cannot be told in them."""
        include = ["-Ialloc/include", "-Ialloc", "-Isanitizers"]
        folder = self.temporary()
        user, apart = os.path.join(folder, "user"), os.path.join(folder, "apb.o")
        with open(user + ".c", "w", encoding="ascii") as file:
            file.write(PROGRAM)
        status, said = run(["gcc", "-fsanitize=thread", "-fsyntax-only",
                            *include, sources(True)[0]], ROOT)
        self.assertNotEqual(status, 0)
        self.assertIn("apb's own sources want -fno-sanitize=thread "
                      "-DAPB_SAN_THREAD=1", said)
        self.must(["gcc", "-fno-sanitize=thread", "-DAPB_SAN_THREAD=1", "-r",
                   *include, *sources(True), "-o", apart])
        self.must(["gcc", "-fsanitize=thread", *include, user + ".c", apart,
                   "-o", user])
        self.assertIn("checked 0, tool 1", self.must([user]))


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(unittest.main())
