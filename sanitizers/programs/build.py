# SPDX-License-Identifier: MIT
"""Compiles and links the programs: each object once, each program twice, with
apb and with the tool's own malloc."""

import concurrent.futures
import hashlib
import os

import recipes
import sources

CC = "clang-19"
CFLAGS = ["-O1", "-g", "-w", "-fsanitize=address", "-fno-omit-frame-pointer"]
LDFLAGS = ["-fsanitize=address", "-pthread"]
COMPILE_SECONDS = 900
TARGET = ["-fsanitize=fuzzer-no-link", "-O2"]
KINDS = ("apb", "asan")
# Of fuzz targets, and their sources; the last has blocks that cost nothing.
TARGET_KINDS = {"apb": ("-DTARGET_APB=1", ["target.c"]),
                "asan": ("-DTARGET_APB=0", ["target.c"]),
                "bump": ("-DTARGET_BUMP=1", ["target.c", "bump.c"])}


class Builder:
    def __init__(self, build, jobs):
        self.build = os.path.abspath(build)
        self.folder = os.path.join(self.build, "programs")
        self.sources = sources.Sources(os.path.join(self.folder, "sources"))
        self.jobs = jobs

    def allocator(self, kind):
        """What is linked besides."""
        if kind != "apb":
            return []
        return ["@" + os.path.join(self.build, "wrap.rsp"),
                os.path.join(self.build, "san-address/libapb-wrap.a"),
                os.path.join(self.build, "san-address/libapb.a")]

    def place(self, recipe, *words):
        return os.path.join(self.folder, recipe.name, *words)

    def tree(self, recipe, planted=False):
        tree = self.sources.get(recipe.package)
        made = self.place(recipe, "made")
        os.makedirs(made, exist_ok=True)
        for name, text in (recipe.prepare or {}).items():
            with open(os.path.join(made, name), "w", encoding="utf-8") as out:
                out.write(text)
        if planted:
            tree = sources.patched(
                tree, self.place(recipe, "planted"),
                os.path.join(recipes.PATCHES, recipe.bug.patch))
        return tree

    def flags(self, recipe, tree, more=()):
        return CFLAGS + [flag.format(tree=tree, made=self.place(recipe, "made"))
                         for flag in recipe.cflags] + list(more)

    def object(self, recipe, tree, source, more=()):
        """(command or None, object)"""
        path = source if os.path.isabs(source) else os.path.join(tree, source)
        plain = self.sources.tree(recipe.package)
        if tree != plain and not recipe.bug.everything and \
                os.path.samefile(path, os.path.join(plain, source)):
            tree, path = plain, os.path.join(plain, source)
        command = [CC, *self.flags(recipe, tree, more), "-c", path]
        with open(path, "rb") as stream:
            text = stream.read()
        header = os.path.join(os.path.dirname(path), "target.h")
        if os.path.exists(header):
            with open(header, "rb") as stream:
                text += stream.read()
        key = hashlib.sha256(repr((
            command, self.sources.version(recipe.package))).encode() + text)
        if tree != plain:
            with open(os.path.join(recipes.PATCHES, recipe.bug.patch),
                      "rb") as stream:
                key.update(stream.read())
        out = self.place(recipe, "objects", "%s-%s.o" % (
            os.path.basename(source)[:-2], key.hexdigest()[:16]))
        if os.path.exists(out):
            return None, out
        return command + ["-o", out + ".part"], out

    def compile(self, commands):
        def one(pair):
            command, out = pair
            sources.tool(command, COMPILE_SECONDS, "compiling " + command[-3])
            os.rename(out + ".part", out)
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for _ in pool.map(one, commands):
                pass

    def programs(self, recipe, planted=False):
        """{kind: folder with the programs}; with the bug: those that its test
        needs"""
        tree = self.tree(recipe, planted)
        os.makedirs(self.place(recipe, "objects"), exist_ok=True)
        wanted, links = {}, []
        for name, own in recipe.programs.items():
            if planted and not recipe.test(recipe.bug.test).runs(name):
                continue
            found = []
            for source in recipe.library + own:
                command, out = self.object(recipe, tree, source)
                found.append(out)
                if command:
                    wanted[out] = command
            links.append((name, found))
        self.compile([(command, out) for out, command in wanted.items()])
        folders = {}
        for kind in KINDS:
            folders[kind] = self.place(
                recipe, kind + ("-planted" if planted else ""))
            for name, found in links:
                self.link(recipe, kind, found,
                          os.path.join(folders[kind], name))
        return folders

    def targets(self, recipe):
        """{kind: fuzz target}"""
        tree = self.tree(recipe)
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz")
        ours = ["-I" + os.path.join(os.path.dirname(os.path.dirname(
            os.path.dirname(here))), "alloc/include")]
        os.makedirs(self.place(recipe, "objects"), exist_ok=True)
        wanted, found = {}, {}
        for kind, (define, own) in TARGET_KINDS.items():
            found[kind] = []
            own = [os.path.join(here, name) for name in [*own, recipe.target]]
            for source, more in [
                    *((name, TARGET) for name in recipe.target_library),
                    *((name, [*ours, define, *TARGET]) for name in own)]:
                command, out = self.object(recipe, tree, source, more)
                found[kind].append(out)
                if command:
                    wanted[out] = command
        self.compile([(command, out) for out, command in wanted.items()])
        programs = {}
        for kind in TARGET_KINDS:
            programs[kind] = self.place(recipe, "fuzz-" + kind)
            self.link(recipe, kind, found[kind], programs[kind],
                      ["-fsanitize=fuzzer"], wrap=False)
        return programs

    def link(self, recipe, kind, objects, out, more=(), wrap=True):
        allocator = self.allocator(kind)
        if not wrap:
            # libFuzzer's own blocks are not the program's
            allocator = allocator[-1:]
        command = [CC, *LDFLAGS, *more, "-o", out, *objects, *allocator,
                   *recipe.libs]
        done = out + ".linked"
        if os.path.exists(done) and all(
                os.path.getmtime(path.lstrip("@")) <= os.path.getmtime(done)
                for path in objects + allocator):
            with open(done, encoding="utf-8") as stream:
                if stream.read() == " ".join(command):
                    return
        os.makedirs(os.path.dirname(out), exist_ok=True)
        sources.tool(command, COMPILE_SECONDS, "linking " + out)
        with open(done, "w", encoding="utf-8") as stream:
            stream.write(" ".join(command))
