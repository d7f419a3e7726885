# SPDX-License-Identifier: MIT
"""The programs: what is compiled, how they are tested, which bug is planted.

Paths in a recipe are below the unpacked source package.  A test is a command
in which {bin} is the folder of the programs, {tree} that of the sources and
{work} an empty one; @passed finds what passed, a match or a number each.
"""

import os


class Test:
    def __init__(self, name, command, passed, cwd="{work}", env=(), stdin=None,
                 whole=None):
        self.name = name
        self.command = command
        self.passed = passed
        self.cwd = cwd
        self.env = dict(env)
        self.stdin = stdin
        self.whole = whole  # what has to be in the output as well

    def runs(self, program):
        return any("{bin}/" + program in word.split() or "{bin}/*" in word
                   for word in self.command)


class Bug:
    """A patch, the test that runs into it, and what has to be reported: the
    kind, what was accessed, where, by which function, of whose block."""

    def __init__(self, patch, test, kind, access, where, at, born,
                 everything=False):
        self.patch = patch
        self.test = test
        self.kind = kind
        self.access = access
        self.where = where
        self.at = at
        self.born = born
        # sources include what is patched
        self.everything = everything


class Recipe:
    def __init__(self, name, package, library, programs, tests=(), bug=None,
                 cflags=(), prepare=None, libs=(), target=None,
                 target_library=(), more=None):
        self.name = name
        self.package = package
        self.library = library
        self.programs = programs  # {name: sources beside the library}
        self.tests = tests
        self.bug = bug
        self.cflags = list(cflags)
        self.prepare = prepare  # called with the tree, once
        self.libs = list(libs)
        self.target = target  # its file in fuzz/, and what it is linked with
        self.more = more  # what it does with TARGET_MORE=1, beyond parsing
        self.target_library = list(target_library) or library

    def test(self, name):
        return next(test for test in self.tests if test.name == name)


NOTHING = "/* all is on the command line */\n"

# ---- cJSON ------------------------------------------------------------------

UNITY = "tests/unity/src/unity.c"
UNITY_PASSED = r":PASS$"
# Each includes cJSON.c; the last three need what stands beside it.
CJSON_TESTS = (
    "parse_examples parse_number parse_hex4 parse_string parse_array "
    "parse_object parse_value print_string print_number print_array "
    "print_object print_value misc_tests parse_with_opts compare_tests "
    "cjson_add readme_examples minify_tests").split()
CJSON_UTILS = ["json_patch_tests", "old_utils_tests", "misc_utils_tests"]


def cjson():
    programs = {name: ["tests/%s.c" % name, UNITY] for name in CJSON_TESTS}
    programs.update({name: ["tests/%s.c" % name, UNITY, "cJSON_Utils.c"]
                     for name in CJSON_UTILS})
    return Recipe(
        "cJSON", "cjson", [], programs,
        [Test(name, ["{bin}/" + name], UNITY_PASSED, cwd="{tree}/tests")
         for name in programs],
        Bug("cjson.patch", "cjson_add", "heap-buffer-overflow",
            "WRITE of size 5", "0 bytes after 4-byte region", "cJSON_strdup",
            "cJSON_strdup", everything=True),
        cflags=["-I{tree}", "-DENABLE_LOCALES"], libs=["-lm"],
        target="cjson.c", target_library=["cJSON.c"], more="print")


# ---- expat ------------------------------------------------------------------

EXPAT = ["expat/lib/%s.c" % name for name in ("xmlparse", "xmlrole", "xmltok")]


def expat():
    return Recipe(
        "expat", "expat", EXPAT,
        {"runtests": ["expat/tests/%s.c" % name
                      for name in ("runtests", "chardata", "memcheck",
                                   "minicheck", "structdata")]},
        [Test("runtests", ["{bin}/runtests"],
              r"100%: Checks: (\d+), Failed: 0")],
        Bug("expat.patch", "runtests", "heap-buffer-overflow",
            "WRITE of size 6", "0 bytes after 5-byte region", "copyString",
            "copyString"),
        cflags=["-I{tree}/expat/lib", "-I{made}", "-DXML_NS", "-DXML_DTD",
                "-DXML_CONTEXT_BYTES=1024", "-DBYTEORDER=1234",
                "-DHAVE_GETRANDOM", "-DXML_DEV_URANDOM",
                "-DXML_ENABLE_VISIBILITY=0"],
        prepare={"expat_config.h": NOTHING},
        libs=["-lm"])


# ---- jansson ----------------------------------------------------------------

JANSSON = ["src/%s.c" % name for name in
           ("dump error hashtable hashtable_seed load memory pack_unpack "
            "strbuffer strconv utf value version").split()]
JANSSON_API = ("array chaos copy dump dump_callback equal fixed_size load "
               "load_callback loadb memory_funcs number object pack simple "
               "sprintf unpack version").split()
JANSSON_CONFIG = """\
#ifndef JANSSON_CONFIG_H
#define JANSSON_CONFIG_H
#define JSON_INLINE inline
#define JSON_INTEGER_IS_LONG_LONG 1
#define JSON_HAVE_LOCALECONV 1
#define JSON_HAVE_ATOMIC_BUILTINS 1
#define JSON_HAVE_SYNC_BUILTINS 1
#define JSON_PARSER_MAX_DEPTH 2048
#endif
"""


def jansson():
    programs = {"suites/api/test_" + name:
                ["test/suites/api/test_%s.c" % name] for name in JANSSON_API}
    programs["bin/json_process"] = ["test/bin/json_process.c"]
    return Recipe(
        "jansson", "jansson", JANSSON, programs,
        # The names that a shared library exports are not tested: there is none.
        [Test("run-suites",
              ["sh", "-c", 'cp -r {bin}/* . && exec sh {tree}/test/run-suites '
               'encoding-flags invalid invalid-unicode valid'],
              r"\.\.\. ok$", env={"top_srcdir": "{tree}", "VERBOSE": "1",
                                  "top_builddir": "{work}"},
              whole="4 test suites passed")] +
        [Test("test_" + name, ["{bin}/suites/api/test_" + name], None)
         for name in JANSSON_API],
        Bug("jansson.patch", "test_simple", "heap-buffer-overflow",
            "WRITE of size 1", "0 bytes after 3-byte region", "jsonp_strndup",
            "jsonp_strndup"),
        cflags=["-I{made}", "-I{tree}/src", "-DHAVE_STDINT_H",
                "-DHAVE_UNISTD_H", "-DHAVE_FCNTL_H", "-DHAVE_SCHED_H",
                "-DHAVE_SYS_STAT_H", "-DHAVE_SYS_TIME_H",
                "-DHAVE_SYS_TYPES_H", "-DHAVE_OPEN", "-DHAVE_CLOSE",
                "-DHAVE_READ", "-DHAVE_GETTIMEOFDAY", "-DHAVE_GETPID",
                "-DHAVE_ATOMIC_BUILTINS", "-DHAVE_SYNC_BUILTINS",
                "-DHAVE_SCHED_YIELD", "-DHAVE_LOCALE_H",
                "-DHAVE_SETLOCALE", "-DHAVE_ENDIAN_H", "-DHAVE_SYS_PARAM_H"],
        prepare={"jansson_config.h": JANSSON_CONFIG,
                 "jansson_private_config.h": NOTHING},
        target="jansson.c")


# ---- zlib -------------------------------------------------------------------

ZLIB = [name + ".c" for name in
        ("adler32 compress crc32 deflate gzclose gzlib gzread gzwrite infback "
         "inffast inflate inftrees trees uncompr zutil").split()]


def zlib():
    return Recipe(
        "zlib", "zlib", ZLIB,
        {name: ["test/%s.c" % name]
         for name in ("example", "infcover", "minigzip")},
        [Test("example", ["{bin}/example"], r"^(?:\w+\(\)|uncompress|large_in|"
              r"inflate|after)[^:]*: \S+", whole="inflate with dictionary"),
         # passes a version that starts before a string, to see it refused
         Test("infcover", ["{bin}/infcover"], r"^(?!inflate init).+: .+",
              env={"ASAN_OPTIONS": "detect_leaks=1:report_globals=0"}),
         Test("minigzip", ["sh", "-c", "{bin}/minigzip <{tree}/deflate.c >z && "
                           "{bin}/minigzip -d <z | cmp - {tree}/deflate.c"],
              None)],
        Bug("zlib.patch", "example", "heap-buffer-overflow",
            "WRITE of size 7", "0 bytes after 6-byte region", "gz_open",
            "gz_open"),
        cflags=["-I{tree}", "-DHAVE_HIDDEN", "-D_LARGEFILE64_SOURCE=1",
                "-DZ_HAVE_UNISTD_H"])


# ---- lua: no tests in its package; measured, and fuzzed ---------------------

LUA = ["src/%s.c" % name for name in
       ("lapi lauxlib lbaselib lcode lcorolib lctype ldblib ldebug ldo ldump "
        "lfunc lgc linit liolib llex lmathlib lmem loadlib lobject lopcodes "
        "loslib lparser lstate lstring lstrlib ltable ltablib ltm lundump "
        "lutf8lib lvm lzio").split()]


def lua():
    return Recipe("lua", "lua5.4", LUA, {"lua": ["src/lua.c"]},
                  # the same order of hash tables in each process
                  cflags=["-I{tree}/src", "-I{made}", "-DLUA_COMPAT_5_3",
                          "-DLUA_USE_POSIX", "-Dluai_makeseed(L)=1u"],
                  libs=["-lm"], target="lua.c", more="run",
                  prepare={"lua5.4-deb-multiarch.h":
                           '#define DEB_HOST_MULTIARCH "none"\n'})


ALL = {recipe.name: recipe for recipe in (cjson(), expat(), jansson(), zlib(),
                                          lua())}
PATCHES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "patches")
