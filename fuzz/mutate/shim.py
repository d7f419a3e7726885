# SPDX-License-Identifier: MIT
"""The malloc family (alloc/shim) as what is mutated: its own test programs, a
process each, are linked with all mutants of it, and alloc/tests/test_shim.py
says whether they do what they should.
"""

import glob
import os

import build as building
from build import digest, must, read

ROOT = building.ROOT
OBJECTS = "build/programs/alloc/tests/programs/"
# What test_shim.py checks, by a word of its name, and the programs of that.
CHECKS = {"semantics": ["semantics"], "info": ["info"],
          "operators": ["operators", "replaced"], "startup": ["startup"],
          "no cxx": ["nocxx"]}
CXX = ("operators", "replaced")
# Those of which the program, or a C++ library, may have its own.
NEW = ("new_plain", "new_next")


class Shim(building.Project):
    name = "shim"
    out = "build/mutate-shim"
    listed = "fuzz/mutate/survivors-shim.txt"
    flavour = "shim"
    libs = []
    harness = ["build/release/libapb.a"]
    fuzz_objects = []
    tool_objects = ["build/release/fuzz/mutate/select.o"]

    def sources(self):
        return sorted(glob.glob("alloc/shim/*.[ch]", root_dir=ROOT))

    def other(self):
        return sorted({*super().sources(), *super().other()})

    def tests(self):
        return {check: OBJECTS + programs[0] + ".o"
                for check, programs in CHECKS.items()}

    def helpers(self):
        """The operators that are C++, and the programs as they are."""
        programs = [p for found in CHECKS.values() for p in found]
        return ["build/shim/alloc/shim/new.o", "build/libapb-malloc.so",
                "build/programs/othernew.so",
                *["build/programs/" + p for p in programs],
                *[OBJECTS + p + ".o" for p in programs]]

    def inputs(self):
        return []

    def witnesses(self):
        paths = ["alloc/tests/test_shim.py"] + glob.glob(
            "alloc/tests/programs/*.*", root_dir=ROOT)
        return digest(*(part for path in sorted(paths)
                        for part in (path, read(path))))

    def command(self, form, name):
        return ["env", "APB_SHIM_PROGRAMS=%s/%s/programs" % (self.out, form),
                "alloc/tests/test_shim.py", name]

    def link(self, build):
        for form in ("run", "trace"):
            folder = "%s/%s/" % (build.out, form)
            os.makedirs(folder + "programs", exist_ok=True)
            objects = build.objects(form)
            apart = [o for o in objects
                     if os.path.basename(o)[:-2] in NEW]
            # as libapb-malloc.a is made
            must([build.compiler, "-r", "-nostdlib", "-o", folder + "one.o",
                  *[o for o in objects if o not in apart],
                  "-Wl,--whole-archive", *self.harness,
                  "-Wl,--no-whole-archive", "alloc/shim/names.ld"])
            must(["objcopy", "--wildcard", "--weaken-symbol=_Zd*",
                  folder + "one.o"])
            for program in (p for found in CHECKS.values() for p in found):
                made = folder + "programs/" + program
                must(["g++" if program in CXX else build.compiler, "-pthread",
                      "-rdynamic", "-o", made + "-archive", OBJECTS + program + ".o",
                      folder + "one.o", *apart, self.helpers()[0],
                      *self.tool_objects])
                if not os.path.islink(made):
                    os.symlink(os.path.join(ROOT, "build/programs", program),
                               made)
