# SPDX-License-Identifier: MIT
"""What is built to run mutants: the allocator with all of them in it, in three
forms (to run, to trace, to fuzz), linked with everything that can kill one; and
for a single mutant its objects, to compare them with the original's.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import points
import schema

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import proc  # noqa: E402  (fuzz/ has to be in the path first)

ROOT = proc.ROOT
ERROR = re.compile(r"^([^\s:]+):(\d+):\d+: (?:fatal )?error: (.*)", re.M)
CLANG = "clang-19"
NUMBERS = 128


class Failed(Exception):
    """What should build does not, or what should pass does not."""


def command(cmd, cwd=ROOT):
    done = subprocess.run(cmd, cwd=cwd, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    return done.returncode, done.stdout


def must(cmd, cwd=ROOT):
    status, output = command(cmd, cwd)
    if status:
        raise Failed("%s: status %d\n%s" % (cmd[0], status, output[-2000:]))
    return output


def digest(*parts):
    h = hashlib.sha1()
    for part in parts:
        h.update(part if isinstance(part, bytes) else part.encode())
        h.update(b"\0")
    return h.hexdigest()[:16]


def read(path):
    with open(os.path.join(ROOT, path), "rb") as file:
        return file.read()


class Project:
    """The allocator, its unit tests and its corpus."""

    name = "apb"
    out = "build/mutate"
    listed = "fuzz/mutate/survivors.txt"
    flavour = "release"
    includes = ["-Ialloc/include", "-Ialloc"]
    libs = ["-lcmocka"]
    harness = ["build/release/libharness.a"]
    fuzz_objects = ["build/harness/fuzz/target_libfuzzer.o",
                    "build/harness/libharness.a"]
    tool_objects = ["build/release/fuzz/mutate/driver.o",
                    "build/release/fuzz/mutate/select.o"]

    def sources(self):
        """What is mutated, and what goes with it."""
        found = glob.glob("alloc/*/*.[ch]", root_dir=ROOT) + \
            glob.glob("alloc/*.h", root_dir=ROOT)
        return sorted(path for path in found if path.split("/")[1] not in
                      ("tests", "shim", "python", "track"))

    def other(self):
        """What is copied beside them."""
        return sorted(glob.glob("alloc/include/apb/*.h", root_dir=ROOT) +
                      glob.glob("alloc/track/*.h", root_dir=ROOT))

    def tests(self):
        """Programs to be linked in: objects by name."""
        found = {os.path.basename(path)[:-2]: "build/release/" + path[:-2] + ".o"
                 for path in glob.glob("alloc/tests/test_*.c", root_dir=ROOT)}
        found["replay"] = "build/release/fuzz/mutate/replay.o"
        return dict(sorted(found.items()))

    def helpers(self):
        """Objects that all of them need."""
        return ["build/release/%s.o" % path[:-2] for path in sorted(
            glob.glob("alloc/tests/*.c", root_dir=ROOT))
            if not os.path.basename(path).startswith("test_")]

    def inputs(self):
        return sorted(path for folder in ("seeds", "regressions")
                      for path in glob.glob("corpus/%s/*" % folder,
                                            root_dir=ROOT)
                      if not path.endswith(".md"))

    def witnesses(self):
        """The digest of what decides whether a mutant lives."""
        paths = glob.glob("alloc/tests/*.[ch]", root_dir=ROOT) + \
            glob.glob("fuzz/*.[ch]", root_dir=ROOT) + self.inputs()
        return digest(*(part for path in sorted(paths)
                        for part in (path, read(path))))

    def program(self, name):
        """The digest of what the test @name does."""
        return digest(read(self.tests()[name]))

    def command(self, form, name):
        """The program @name with all mutants in it."""
        return ["%s/driver-%s" % (self.out, form), name]

    def link(self, build):
        """All of tests() into one program, for each form."""
        unit = build.unit_objects()
        for form in ("run", "trace"):
            must([build.compiler, "-pthread", "-o",
                  "%s/driver-%s" % (build.out, form), *self.tool_objects,
                  *unit, *self.helpers(), *build.objects(form),
                  *self.harness, *self.libs])


class Sample(Project):
    """A small source of its own, for the tests of this."""

    name = "sample"
    out = "build/mutate-sample"
    includes = []
    libs = []
    harness = []
    fuzz_objects = []

    def sources(self):
        return ["fuzz/mutate/sample/sample.c", "fuzz/mutate/sample/sample.h"]

    def other(self):
        return []

    def tests(self):
        return {"sample_test":
                "build/release/fuzz/mutate/sample/sample_test.o"}

    def helpers(self):
        return []

    def inputs(self):
        return []

    def witnesses(self):
        return digest(read("fuzz/mutate/sample/sample_test.c"))


class Build:
    def __init__(self, project, fuzzed=True, jobs=1):
        self.project = project
        self.jobs = jobs
        self.fuzzed = fuzzed and project.fuzz_objects
        self.out = os.path.join(ROOT, project.out)
        os.makedirs(self.out, exist_ok=True)
        self.without = {}  # what the compiler says of a mutant, by id
        self.compiled = {}  # digests of what objects were made of
        self.dependents = {}  # .c files by what they include
        self.flags = None
        args = ["-std=gnu11", "-DNDEBUG",
                *["-I" + os.path.join(ROOT, i[2:]) for i in project.includes]]
        self.sources = [points.Source(path, args, ROOT)
                        for path in project.sources()]
        self.numbers = {}

    # ---- objects ---------------------------------------------------------

    def prepare(self):
        """What make builds: tests, harness; and the flags it uses."""
        wanted = [*self.project.tests().values(), *self.project.helpers(),
                  *self.project.harness, *self.project.fuzz_objects,
                  *self.project.tool_objects]
        status, output = proc.make(*wanted)
        if status:
            raise Failed("make: %s\n%s" % (proc.ending(status), output[-2000:]))
        words = read("build/%s/flags" % self.project.flavour).decode().split()
        self.compiler = words[0]
        drop = ("-W", "-I", "-g", "-l", "-O")
        self.flags = [w for w in words[1:] if not w.startswith(drop)] + \
            self.project.includes
        self.schema_flags = ["-w", "-O1", "-include",
                             os.path.join(ROOT, "fuzz/mutate/schema.h")]

    def forms(self):
        """Compilers and flags by the name of the form."""
        # what is undefined ends the mutant, as it would end the tests
        undefined = ["-fsanitize=shift,bounds,builtin,"
                     "signed-integer-overflow",
                     "-fsanitize-undefined-trap-on-error"]
        forms = {"run": [self.compiler, *self.flags, *undefined],
                 "trace": [self.compiler, *self.flags]}
        if self.fuzzed:
            coverage = ["-fsanitize=fuzzer-no-link", "-fno-sanitize-coverage="
                        "trace-cmp,trace-div,trace-gep"]
            forms["fuzz"] = [CLANG, *self.flags, *coverage]
        return forms

    def write(self, form):
        """All sources with their mutants, for a form; where each one is."""
        lines, first = {}, 1
        for source in self.sources:
            writer = schema.Writer(source, first, form == "trace",
                                   self.without)
            text = writer.write()
            self._put("%s/%s" % (form, source.path), text)
            lines[source.path] = {line: number for line, number
                                  in writer.lines.items()}
            self.numbers.update(writer.numbers)
            # with room, so that some more in a file change no other's numbers
            first = (writer.next // NUMBERS + 2) * NUMBERS
        for path in self.project.other():
            self._put("%s/%s" % (form, path), read(path).decode())
        return lines

    def _put(self, path, text):
        path = os.path.join(self.out, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def compile_form(self, form):
        """Whether all of it compiles; if not, mutants were left out."""
        lines = self.write(form)
        ids = {number: id for id, number in self.numbers.items()}
        cwd = os.path.join(self.out, form)
        flags = [*self.forms()[form], *self.schema_flags]
        headers = [read(os.path.join(cwd, s.path)) for s in self.sources
                   if s.path.endswith(".h")]
        bad, todo = {}, []
        for source in self.sources:
            if not source.path.endswith(".c"):
                continue
            made = os.path.join(cwd, source.path[:-2])
            stamp = digest(*flags, *headers, read("fuzz/mutate/schema.h"),
                           read(os.path.join(cwd, source.path)))
            if self.compiled.get(made) == stamp and os.path.exists(made + ".o"):
                continue
            self.compiled.pop(made, None)
            todo.append((source, made, stamp))

        def compile_one(one):
            source, made, _stamp = one
            return command([*flags, "-MMD", "-c", source.path, "-o",
                            made + ".o"], cwd)
        with ThreadPoolExecutor(self.jobs) as pool:
            done = list(pool.map(compile_one, todo))
        for (source, made, stamp), (status, output) in zip(todo, done):
            if not status:
                self.compiled[made] = stamp
                continue
            found = [(path, int(line), text) for path, line, text
                     in ERROR.findall(output)]
            # a compiler may name the line where the whole choice begins
            known = {ids[lines[path][min(n for n in lines[path] if n >= line)]]:
                     text for path, line, text in found
                     if line <= max(lines.get(path, [0]))}
            if not known:
                raise Failed("%s, %s: %s" % (source.path, form, output[:2000]))
            bad.update(known)
        self.without.update(bad)
        return not bad

    def compile(self):
        """All forms, without the mutants that do not compile; what is known
        from the last time need not be found out again."""
        path = os.path.join(self.out, "compiled.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.compiled, self.without = json.load(file)
        while not all([self.compile_form(form) for form in self.forms()]):
            pass
        with open(path, "w", encoding="utf-8") as file:
            json.dump([self.compiled, self.without], file)
        for source in self.sources:
            if source.path.endswith(".c"):
                path = os.path.join(self.out, "run", source.path[:-2] + ".d")
                with open(path, encoding="utf-8") as file:
                    words = file.read().replace("\\\n", " ").split()[1:]
                for word in words:
                    self.dependents.setdefault(word, set()).add(source.path)
        self.link()

    def objects(self, form):
        return [os.path.join(self.out, form, s.path[:-2] + ".o")
                for s in self.sources if s.path.endswith(".c")]

    def unit_objects(self):
        """The tests, each with a main() of its own name, and their table."""
        tests = self.project.tests()
        declared = "".join("int %s_main(int argc, char **argv);\n" % name
                           for name in tests)
        entries = "".join('\t{"%s", %s_main},\n' % (name, name)
                          for name in tests)
        self._put("table.c", '#include "mutate/driver.h"\n%sconst struct '
                  "mutate_test mutate_tests[] = {\n%s\t{0}};\n" % (
                      declared, entries))
        must([self.compiler, "-Ifuzz", "-c", self.out + "/table.c", "-o",
              self.out + "/table.o"])
        os.makedirs(self.out + "/unit", exist_ok=True)
        for name, path in tests.items():
            must(["objcopy", "--redefine-sym", "main=%s_main" % name, path,
                  "%s/unit/%s.o" % (self.out, name)])
        return [self.out + "/table.o"] + [
            "%s/unit/%s.o" % (self.out, name) for name in tests]

    def link(self):
        self.project.link(self)
        if self.fuzzed:
            must([CLANG, "-pthread", "-fsanitize=fuzzer", "-o",
                  self.out + "/fuzzer", self.project.tool_objects[1],
                  self.project.fuzz_objects[0], *self.objects("fuzz"),
                  *self.project.fuzz_objects[1:]])

    # ---- one mutant, by itself -------------------------------------------

    def mutated(self, source, point, mutant):
        """The source's text with @mutant in it."""
        text = mutant.text if point.kind == "stmt" else "(%s)" % mutant.text
        return source.text[:point.start] + text + source.text[point.end:]

    def single_flags(self):
        """With these a mutant's object is compared with the original's."""
        return [[self.compiler, *self.flags, "-w", "-O2"],
                [CLANG, *self.flags, "-w", "-O2"]]

    def tree(self, name):
        """A folder with the original sources."""
        if not os.path.isdir(os.path.join(self.out, name)):
            for source in self.sources:
                self._put("%s/%s" % (name, source.path), source.text)
            for path in self.project.other():
                self._put("%s/%s" % (name, path), read(path).decode())
        return os.path.join(self.out, name)

    def forget_trees(self):
        for path in glob.glob(self.out + "/single-*"):
            shutil.rmtree(path)

    def object(self, tree, path, flags):
        # of the same name each time, should the compiler write it down
        status, output = command([*flags, "-c", path, "-o", "one.o"], tree)
        if status:
            raise Failed("%s: %s" % (path, output[:2000]))
        with open(os.path.join(tree, "one.o"), "rb") as file:
            return hashlib.sha1(file.read()).digest()

    def equivalent(self, source, point, mutant, worker="0"):
        """Whether some compiler makes the very same code of it."""
        tree = self.tree("single-%s" % worker)
        paths = sorted(self.dependents.get(source.path, ()))
        originals = self.__dict__.setdefault("originals", {})
        for n, flags in enumerate(self.single_flags()):
            for path in paths:
                if (n, path) not in originals:
                    originals[n, path] = self.object(tree, path, flags)
            self._put("single-%s/%s" % (worker, source.path),
                      self.mutated(source, point, mutant))
            try:
                if all(self.object(tree, path, flags) == originals[n, path]
                       for path in paths):
                    return True
            finally:
                self._put("single-%s/%s" % (worker, source.path), source.text)
        return False
