# SPDX-License-Identifier: MIT
"""What is tested by programs of its own, not by unit tests: the malloc family
(alloc/shim) and CPython's host (alloc/python).  The programs are linked with all
mutants, and the script that tests them runs them as it does any others.
"""

import glob
import os

import build as building
from build import digest, must, read

ROOT = building.ROOT


class Apart(building.Project):
    folder = None  # of the sources
    script = None
    scripted = ()  # files that say what it tests
    libs = []
    fuzz_objects = []
    tool_objects = ["build/release/fuzz/mutate/select.o"]

    def sources(self):
        return sorted(glob.glob(self.folder + "/*.[ch]", root_dir=ROOT))

    def other(self):
        return sorted({*super().sources(), *super().other()})

    def inputs(self):
        return []

    def witnesses(self):
        paths = [self.script, *self.scripted]
        return digest(*(part for path in sorted(paths)
                        for part in (path, read(path))))

    def program(self, name):
        return digest(super().program(name), self.witnesses())


class Shim(Apart):
    name = "shim"
    out = "build/mutate-shim"
    listed = "fuzz/mutate/survivors-shim.txt"
    flavour = "shim"
    folder = "alloc/shim"
    harness = ["build/release/libapb.a"]
    script = "alloc/tests/test_shim.py"
    scripted = glob.glob("alloc/tests/programs/*.*", root_dir=ROOT)
    compiled = "build/programs/alloc/tests/programs/"
    # What the script checks, by a word of its name, and the programs of that.
    checks = {"semantics": ["semantics"], "info": ["info"],
              "operators": ["operators", "replaced"], "startup": ["startup"],
              "no cxx": ["nocxx"]}
    cxx = ("operators", "replaced")
    # Those of which the program, or a C++ library, may have its own.
    new = ("new_plain", "new_next")

    def programs(self):
        return [p for found in self.checks.values() for p in found]

    def tests(self):
        return {check: self.compiled + programs[0] + ".o"
                for check, programs in self.checks.items()}

    def helpers(self):
        """The operators that are C++, and the programs as they are."""
        return ["build/shim/alloc/shim/new.o", "build/libapb-malloc.so",
                "build/programs/othernew.so",
                *["build/programs/" + p for p in self.programs()],
                *[self.compiled + p + ".o" for p in self.programs()]]

    def command(self, form, name):
        return ["env", "APB_SHIM_PROGRAMS=%s/%s/programs" % (self.out, form),
                self.script, name]

    def link(self, build):
        for form in ("run", "trace"):
            folder = "%s/%s/" % (build.out, form)
            os.makedirs(folder + "programs", exist_ok=True)
            objects = build.objects(form)
            alone = [o for o in objects
                     if os.path.basename(o)[:-2] in self.new]
            # as libapb-malloc.a is made
            must([build.compiler, "-r", "-nostdlib", "-o", folder + "one.o",
                  *[o for o in objects if o not in alone],
                  "-Wl,--whole-archive", *self.harness,
                  "-Wl,--no-whole-archive", "alloc/shim/names.ld"])
            must(["objcopy", "--wildcard", "--weaken-symbol=_Zd*",
                  folder + "one.o"])
            for program in self.programs():
                made = folder + "programs/" + program
                must(["g++" if program in self.cxx else build.compiler,
                      "-pthread", "-rdynamic", "-o", made + "-archive",
                      self.compiled + program + ".o", folder + "one.o",
                      *alone, self.helpers()[0], *self.tool_objects])
                if not os.path.islink(made):
                    os.symlink(os.path.join(ROOT, "build/programs", program),
                               made)


class Python(Apart):
    name = "python"
    out = "build/mutate-python"
    listed = "fuzz/mutate/survivors-python.txt"
    flavour = "python"
    folder = "alloc/python"
    includes = [*building.Project.includes, "-I/usr/include/python3.11"]
    # as build/apb-python3 is linked
    parts = ["build/python/obmalloc.o", "build/python/libpython.a"]
    libs = [parts[0], "-Wl,--whole-archive", parts[1],
            "-Wl,--no-whole-archive", "-lexpat", "-lz", "-lm"]
    harness = ["build/libapb.a"]
    script = "alloc/python/test_host.py"
    # Those of the script's classes that are about the host.
    checks = ("Functions", "Choice", "Module", "AsPython")

    def tests(self):
        return {check: "build/python/alloc/python/module.o"
                for check in self.checks}

    def helpers(self):
        return self.parts

    def command(self, form, name):
        return ["env", "APB_PYTHON=%s/%s/apb-python3" % (self.out, form),
                self.script, "-f", name]

    def link(self, build):
        for form in ("run", "trace"):
            must([build.compiler, "-pthread", "-no-pie",
                  "-Wl,--export-dynamic", "-o",
                  "%s/%s/apb-python3" % (build.out, form),
                  *build.objects(form), *self.tool_objects, *self.harness,
                  *self.libs])


def of(path):
    """The project whose sources are at @path, or None: not one of these."""
    for project in (Shim, Python):
        if (path + "/").startswith(project.folder + "/"):
            return project()
    return None
