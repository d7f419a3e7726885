# SPDX-License-Identifier: MIT
"""The checks of a build in $OUT that the services make before they fuzz it
(their test_all and bad_build_check), and some of what else they rely on.

Thresholds are theirs.  Each check is a method check_*: it gives back what is
wrong, or nothing.
"""

import configparser
import os
import pwd
import re
import shutil
import struct
import zipfile

import proc

TARGET = "apb_fuzzer"
NAME = re.compile(r"[A-Za-z0-9_-]+")
RUN_SECONDS = 180
FUZZ_SECONDS = 12
EDGES_MIN = 100
RUNS = 4
OUT_BYTES = 1 << 30

# Calls into the run times, seen in the disassembly.
CALLS = {"asan": re.compile(r"call.*<__asan"),
         "msan": re.compile(r"call.*<__msan"),
         "dfsan": re.compile(r"call.*<__dfsan"),
         "tsan": re.compile(r"call.*<__tsan"),
         "ubsan": re.compile(r"call.*<__ubsan")}
LEAST = {"address": ("asan", 1000), "memory": ("msan", 1000),
         "undefined": ("ubsan", 168)}
MOST = {"address": {"msan": 3, "dfsan": 0, "tsan": 0, "ubsan": 200},
        "memory": {"asan": 0, "dfsan": 0, "tsan": 0, "ubsan": 200},
        "undefined": {"asan": 0, "msan": 3, "dfsan": 0, "tsan": 0}}
# Of Debian's toolchain, beside what the services' runner has: libstdc++.
LIBRARIES = re.compile(r"(ld-linux-x86-64|libc|libm|libpthread|libdl|librt|"
                       r"libgcc_s|libresolv|libstdc\+\+)\.so\.\d+")
SECTIONS = {"libfuzzer", "asan", "msan", "ubsan", "env", "AFL", "libafl"}
EM_X86_64 = 62
AFL_DRIVER = "/usr/lib/afl/libAFLDriver.a"
AFL_RUNTIME = "/usr/lib/afl/afl-compiler-rt-64.o"

SERVICE_ENVIRONMENT = {
    "ASAN_OPTIONS": "abort_on_error=1:alloc_dealloc_mismatch=0:"
                    "detect_odr_violation=0:detect_stack_use_after_return=0:"
                    "handle_abort=2:handle_segv=2:symbolize=0",
    "MSAN_OPTIONS": "print_stats=1:symbolize=0:exit_code=86",
    "UBSAN_OPTIONS": "print_stacktrace=1:print_summary=1:"
                     "silence_unsigned_overflow=1:symbolize=0",
    "AFL_NO_UI": "1", "AFL_SKIP_CPUFREQ": "1", "AFL_TRY_AFFINITY": "1",
    "AFL_FAST_CAL": "1", "AFL_FORKSRV_INIT_TMOUT": "30000",
    "AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES": "1",
}


class Checker:
    def __init__(self, out, scratch, engine, sanitizer, corpus):
        self.out, self.engine, self.sanitizer = out, engine, sanitizer
        self.corpus = corpus
        self.target = os.path.join(out, TARGET)
        self.scratch = scratch
        self.home = os.path.join(scratch, "home")  # the only place to write to
        self.seeds = os.path.join(scratch, "seeds")
        for folder in (self.home, self.seeds):
            os.makedirs(folder)
        self.nobody = self.use_nobody()

    def use_nobody(self):
        """Whether root can run things as a user who may write nowhere else."""
        if os.geteuid() != 0 or not shutil.which("setpriv"):
            return []
        user = pwd.getpwnam("nobody")
        prefix = ["setpriv", "--reuid=%d" % user.pw_uid,
                  "--regid=%d" % user.pw_gid, "--clear-groups"]
        if proc.run([*prefix, "test", "-r", self.target])[0] != 0:
            return []  # our own folders are closed to others
        os.chown(self.home, user.pw_uid, user.pw_gid)
        return prefix

    def execute(self, *cmd, cwd=None, seconds=RUN_SECONDS, more=()):
        """Run something as the services' runner would: (status, output)."""
        env = {"PATH": self.out + ":/usr/bin:/bin", "HOME": self.home,
               "TMPDIR": self.home, **SERVICE_ENVIRONMENT, **dict(more)}
        return proc.run([*self.nobody, "env", "-i", "-C", cwd or self.home,
                         *("%s=%s" % item for item in env.items()), *cmd],
                        timeout=seconds)

    def options(self):
        """Arguments out of the file of options, as their runner reads it."""
        parser = configparser.ConfigParser()
        parser.read(self.target + ".options")
        if not parser.has_section("libfuzzer"):
            return []
        return ["-%s=%s" % item for item in parser["libfuzzer"].items()]

    def run(self):
        before = self.snapshot()
        checks = [getattr(self, name) for name in dir(self)
                  if name.startswith("check_")]
        checks.sort(key=lambda check: check.__code__.co_firstlineno)
        for check in checks:
            if proc.stopping():
                return
            wrong = check()
            if wrong:
                yield "%s: %s" % (check.__name__[6:].replace("_", " "), wrong)
                if check == self.check_targets:
                    return
        if self.snapshot() != before:
            yield "writes: something wrote to $OUT"
        left = sorted(set(os.listdir(self.home)) -
                      {"afl-in", "afl-out", "moved", ".cache"})
        if left:
            yield "writes: files appeared where it ran: %s" % left

    def snapshot(self):
        return {name: (os.stat(os.path.join(self.out, name)).st_size,
                       os.stat(os.path.join(self.out, name)).st_mtime_ns)
                for name in os.listdir(self.out)}

    # ---- what is there ----

    def check_targets(self):
        """Exactly the target is found, as their list of targets finds it."""
        found = []
        for name in sorted(os.listdir(self.out)):
            path = os.path.join(self.out, name)
            if name.startswith("afl-") or not os.access(path, os.X_OK):
                continue
            with open(path, "rb") as file:
                content = file.read()
            if b"LLVMFuzzerTestOneInput" in content and \
                    content.startswith(b"\x7fELF"):
                found.append(name)
                if not NAME.fullmatch(name):
                    return "a name they do not run: %s" % name
        if found != [TARGET]:
            return "targets in $OUT: %s" % (found or "none")
        return None

    def check_size(self):
        size = sum(stat[0] for stat in self.snapshot().values())
        return "$OUT has %d MiB" % (size >> 20) if size > OUT_BYTES else None

    def check_architecture(self):
        with open(self.target, "rb") as file:
            head = file.read(20)
        machine = struct.unpack_from("<H", head, 18)[0]
        if head[4] != 2 or machine != EM_X86_64:
            return "not for x86_64: machine %d" % machine
        return None

    def check_libraries(self):
        status, output = proc.run(["readelf", "-dW", self.target])
        if status != 0:
            return "readelf: %s" % proc.ending(status)
        bad = [name for name in re.findall(r"NEEDED.*\[(.*?)\]", output)
               if not LIBRARIES.fullmatch(name)]
        paths = re.findall(r"(?:RPATH|RUNPATH).*\[(.*?)\]", output)
        if bad or paths:
            return "needs what the runner has not: %s" % (bad + paths)
        return None

    def check_sanitizer(self):
        """Enough calls of the right run time, next to none of any other."""
        if self.engine != "libfuzzer" and self.sanitizer == "undefined":
            least = None  # as theirs: not to be told apart
        else:
            least = LEAST[self.sanitizer]
        status, output = proc.run(["objdump", "-d", "--no-show-raw-insn",
                                   self.target], timeout=RUN_SECONDS)
        if status != 0:
            return "objdump: %s" % proc.ending(status)
        calls = dict.fromkeys(CALLS, 0)
        for line in output.splitlines():
            if "call" in line and "<__" in line:
                for name, pattern in CALLS.items():
                    calls[name] += bool(pattern.search(line))
        if least and calls[least[0]] < least[1]:
            return "%d calls of %s, at least %d" % (
                calls[least[0]], least[0], least[1])
        for name, most in MOST[self.sanitizer].items():
            if self.engine == "afl":
                if self.sanitizer == "undefined":
                    break
                most += self.of_driver(name)
            if calls[name] > most:
                return "%d calls of %s, at most %d" % (calls[name], name, most)
        return None

    def of_driver(self, name):
        """Calls in what is AFL++'s own, which is ready for any sanitizer."""
        _status, output = proc.run(["objdump", "-dr", AFL_DRIVER, AFL_RUNTIME])
        return len(re.findall(r"R_X86_64_P\S+\s+__%s" % name, output))

    # ---- the files beside it ----

    def check_seeds(self):
        path = self.target + "_seed_corpus.zip"
        wanted = sum(not name.startswith((".", "README"))
                     for folder in ("seeds", "regressions")
                     for name in os.listdir(os.path.join(self.corpus, folder)))
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                if archive.testzip() or any("/" in name for name in names):
                    return "%s is damaged, or has folders" % path
                if len(names) != wanted or len(set(names)) != wanted:
                    return "%d inputs, not %d" % (len(names), wanted)
                archive.extractall(self.seeds)
        except (OSError, zipfile.BadZipFile) as error:
            return str(error)
        return None

    def check_options(self):
        """Known sections; for libFuzzer, options that it has."""
        parser = configparser.ConfigParser()
        try:
            with open(self.target + ".options", encoding="utf-8") as file:
                parser.read_file(file)
        except (OSError, configparser.Error) as error:
            return str(error)
        unknown = set(parser.sections()) - SECTIONS
        if unknown:
            return "unknown sections: %s" % sorted(unknown)
        if self.engine != "libfuzzer":
            return None
        _status, output = self.execute(self.target, "-help=1")
        known = set(re.findall(r"^ ([a-z_]+)\s", output, re.M))
        bad = set(parser["libfuzzer"]) - known
        return "libFuzzer has no %s" % sorted(bad) if bad else None

    def check_dictionary(self):
        path = self.target + ".dict"
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except (OSError, UnicodeDecodeError) as error:
            return str(error)
        wanted = sum(bool(line) and not line.startswith("#") for line in lines)
        for number, line in enumerate(lines, 1):
            if line and not line.startswith("#") and not re.fullmatch(
                    r'[\w@]*=?"(?:[^"\\]|\\x[0-9a-f]{2}|\\["\\])+"', line):
                return "line %d: %s" % (number, line)
        if self.engine != "libfuzzer":
            return None
        status, output = self.execute(self.target, "-runs=1", "-dict=" + path)
        found = re.search(r"^Dictionary: (\d+) entries", output, re.M)
        if status != 0 or not found or int(found[1]) != wanted:
            return "%d entries, libFuzzer: %s" % (
                wanted, found[0] if found else output[-300:])
        return None

    # ---- what it does ----

    def check_engine(self):
        """It runs under the engine, which sees enough of its edges."""
        return getattr(self, self.engine + "_runs")()

    def libfuzzer_runs(self):
        status, output = self.execute(self.target, "-seed=1337",
                                      "-runs=%d" % RUNS)
        if "no interesting inputs were found" in output:
            return "no coverage instrumentation"
        found = re.search(r"INFO: Loaded \d+ module.*\(.*(?:counters|guards)\):"
                          r"\s+(\d+)", output)
        if status != 0 or not found:
            return "%s\n%s" % (proc.ending(status), output[-1000:])
        if int(found[1]) < EDGES_MIN:
            return "%s edges, at least %d" % (found[1], EDGES_MIN)
        status, output = self.execute(
            self.target, "-rss_limit_mb=2560", "-timeout=25", "-seed=1337",
            "-runs=%d" % RUNS, *self.options())
        if "Done %d runs" % RUNS not in output:
            return "does not end well: %s\n%s" % (proc.ending(status),
                                                  output[-1000:])
        return None

    def afl_runs(self):
        status, output = self.execute(
            "afl-showmap", "-C", "-i", self.seeds, "-o", "/dev/null",
            "-t", "5000", "-m", "none", "--", self.target)
        found = re.search(r"coverage of (\d+) edges were achieved", output)
        if status != 0 or not found or int(found[1]) < EDGES_MIN:
            return "afl-showmap: %s\n%s" % (proc.ending(status), output[-800:])
        inputs = os.path.join(self.home, "afl-in")
        status, output = self.execute(
            "sh", "-c", 'mkdir "$0" && echo input >"$0/input" && exec timeout '
            '--preserve-status -s INT "$@"', inputs, str(FUZZ_SECONDS),
            "afl-fuzz", "-t", "5000+", "-m", "none", "-i", inputs, "-o",
            os.path.join(self.home, "afl-out"), "-x", self.target + ".dict",
            "--", self.target)
        if "All set and ready to roll" not in output:
            return "afl-fuzz: %s\n%s" % (proc.ending(status), output[-1500:])
        if re.search("target binary (crashed|terminated)", output):
            return "ends at once: " + output[-800:]
        done = re.search(r"^execs_done +: (\d+)", self.stats(), re.M)
        if not done or int(done[1]) < RUNS:
            return "afl-fuzz executed nothing"
        return None

    def stats(self):
        try:
            with open(os.path.join(self.home, "afl-out/default/fuzzer_stats"),
                      encoding="utf-8") as file:
                return file.read()
        except OSError:
            return ""

    def check_seeds_pass(self):
        """No input of the seed corpus fails."""
        if self.engine == "libfuzzer":
            status, output = self.execute(
                self.target, "-rss_limit_mb=2560", "-timeout=25", "-runs=0",
                self.seeds, *self.options())
        else:
            status, output = self.execute(self.target, *self.some_seeds(None))
        if status != 0:
            return "%s\n%s" % (proc.ending(status), output[-1500:])
        return None

    def some_seeds(self, number):
        return [os.path.join(self.seeds, name)
                for name in sorted(os.listdir(self.seeds))[:number]]

    def check_reproduce(self):
        """A single input, many times, as their reproduction does."""
        for path in self.some_seeds(3):
            args = ["-runs=100", path] if self.engine == "libfuzzer" else \
                [path]
            status, output = self.execute(self.target, *args)
            if status != 0:
                return "%s: %s\n%s" % (os.path.basename(path),
                                       proc.ending(status), output[-800:])
        return None

    def check_elsewhere(self):
        """From another folder, and copied to another one."""
        [path] = self.some_seeds(1)
        moved = os.path.join(self.home, "moved")
        shutil.copy2(self.target, moved)
        os.chmod(moved, 0o755)
        for target, cwd in ((self.target, "/"), (self.target, self.out),
                            (moved, "/")):
            args = ["-runs=1", path] if self.engine == "libfuzzer" else [path]
            status, output = self.execute(target, *args, cwd=cwd)
            if status != 0:
                return "in %s: %s\n%s" % (cwd, proc.ending(status),
                                          output[-800:])
        return None
