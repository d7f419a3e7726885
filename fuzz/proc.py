# SPDX-License-Identifier: MIT
"""Child processes for the fuzzing driver and the test suite.

Every child is the leader of a session of its own, so that Ctrl-C reaches the
driver only, which then ends its children in an orderly way; and it is killed
by the kernel should the driver die without that (AFL++ then leaves a stopped
process behind).  SIGINT, SIGTERM and SIGHUP
set a flag that all waiting here looks at: see stopping().
"""

import atexit
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NCPU = len(os.sched_getaffinity(0))

_libc = ctypes.CDLL(None)
_parent = os.getppid()
_signals = 0


def _on_signal(_number, _frame):
    global _signals
    _signals += 1


def catch_signals():
    """From here on a signal makes stopping() true instead of ending us.

    What our children leave behind becomes ours, for reap().
    """
    pr_set_child_subreaper = 36
    _libc.prctl(pr_set_child_subreaper, 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)


def _status_of(pid):
    try:
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file
                        if ":\t" in line)
    except FileNotFoundError:
        return {}


def _parent_has(signals):
    """Whether SIGINT is among these signals of the parent's."""
    mask = int(_status_of(_parent).get(signals, "0"), 16)
    return bool(mask >> (signal.SIGINT - 1) & 1)


_MAKE = _status_of(_parent).get("Name") == "make"
# In the background of a script it is ignored.
_MAKE_CATCHES = _MAKE and not _parent_has("SigIgn")
_make_told = False


def _look_at_make():
    """A make that is sent SIGINT alone waits for us, and that it no longer
    catches that signal is all there is to see of it."""
    global _make_told, _signals
    if _MAKE_CATCHES and not _make_told and not _parent_has("SigCgt"):
        _make_told = True
        _signals += 1


def stopping():
    """Whether to end: a signal came, or who started us is gone."""
    _look_at_make()
    return _signals > 0 or os.getppid() != _parent


def rearm():
    """Forget a signal: what follows ends on the next one."""
    global _signals
    _signals = 0


def _child():
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)
    # What a script's background job ignores would be ignored for good.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def environment(**more):
    """The environment of a child: readable sanitizer reports, no jobserver, and
    the allocator with its defaults."""
    env = dict(os.environ)
    env.pop("APB_OPTIONS", None)
    # Keep the variables given to make, drop its flags: the jobserver's
    # descriptors are not passed on.
    variables = env.pop("MAKEFLAGS", "").partition(" -- ")[2]
    if variables:
        env["MAKEFLAGS"] = " -- " + variables
    for name in ("MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        env.pop(name, None)
    env.setdefault("ASAN_SYMBOLIZER_PATH", "/usr/bin/llvm-symbolizer-19")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    env.update(more)
    return env


def spawn(cmd, env=None, **options):
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.Popen(
        cmd, start_new_session=True, cwd=ROOT, preexec_fn=_child,
        env=env or environment(), **options)


def signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _start(cmd, env, out):
    """A process and where its output is; or None and why there is none."""
    try:
        return spawn(cmd, env, stdout=out, stderr=subprocess.STDOUT), out
    except OSError as error:
        return None, "%s: %s" % (cmd[0], error.strerror)


def run_all(commands, timeout=None, env=None, show=False):
    """Run commands at the same time, to the end: [(exit status, output)].

    A status below 0 is minus a signal.  None: ended here, because of the
    timeout or a signal.  With @show the output is passed through instead.
    """
    deadline = time.monotonic() + timeout if timeout else None
    running = [_start(cmd, env, None if show else tempfile.TemporaryFile())
               for cmd in commands]
    ended = False
    while any(process and process.poll() is None for process, _ in running):
        time.sleep(0.02)
        if stopping() or (deadline and time.monotonic() > deadline):
            ended = True
            break
    return [_result(process, out, ended) for process, out in running]


def _result(process, out, ended):
    if not process:
        return 127, out
    ended = ended and process.poll() is None
    signal_group(process, signal.SIGKILL)  # also what it may have left behind
    process.wait()
    output = b""
    if out:
        with out:
            out.seek(0)
            output = out.read()
    return (None if ended else process.returncode,
            output.decode(errors="replace"))


def run_pool(jobs, width):
    """Run jobs (cmd, env, timeout), as many as @width at the same time; as they
    end: (number of the job, exit status, output, seconds).

    A signal ends them all; what has not been run is not told of.
    """
    waiting = list(enumerate(jobs))
    running = []
    while (waiting or running) and not stopping():
        while waiting and len(running) < width:
            index, (cmd, env, timeout) = waiting.pop(0)
            running.append((index, *_start(cmd, env, tempfile.TemporaryFile()),
                            time.monotonic(), timeout))
        time.sleep(0.02)
        for job in list(running):
            index, process, out, start, timeout = job
            seconds = time.monotonic() - start
            if process and process.poll() is None and seconds < timeout:
                continue
            running.remove(job)
            yield (index, *_result(process, out, True), seconds)
    for _, process, out, _, _ in running:
        _result(process, out, True)


def run(cmd, timeout=None, env=None, show=False):
    """Run one command as run_all() does: (exit status, output)."""
    return run_all([cmd], timeout, env, show)[0]


def ending(status):
    """A status of run() in words."""
    if status is None:
        return "did not end in time"
    return "signal %d" % -status if status < 0 else "status %d" % status


def make(*targets, show=False, variables=()):
    """Bring targets up to date: (exit status, output)."""
    return run(["make", "-j%d" % NCPU, "--keep-going", *variables, *targets],
               show=show)


def reap():
    """Wait for what killed children left behind, a second at most."""
    deadline = time.monotonic() + 1
    try:
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
    except ChildProcessError:
        pass


def leave(status):
    """End with @status, also when make runs us.

    make turns every failure into its own status 2.  Told to quit it ends with
    1, which is what a finding or a failed test is to be seen as; not in the
    background of a script, where it ignores that.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reap()
    if status == 1 and _MAKE and os.getppid() == _parent:
        os.kill(_parent, signal.SIGQUIT)
    sys.exit(status)


def usage(text):
    """A bad value from outside: one line, exit status 2."""
    print("apb: " + text, file=sys.stderr)
    leave(2)


DIGITS = 18  # of a number from outside, at most
SHOWN = 80  # of what is none


def whole(value, least, largest):
    """Whether a text is a whole number from @least to @largest, in digits."""
    return re.fullmatch("[0-9]{1,%d}" % DIGITS, value) and \
        least <= int(value) <= largest


def number(name, default, largest, least=1):
    """A whole number from @least to @largest out of the environment."""
    value = os.environ.get(name, str(default))
    if not whole(value, least, largest):
        usage("%s=%s: must be a whole number from %d to %d"
              % (name, value if len(value) <= SHOWN else
                 value[:SHOWN] + "...", least, largest))
    return int(value)


def run_main(main):
    """main() of a script: what the system refuses is one line, exit status 2."""
    try:
        main()
    except BrokenPipeError:  # nobody is listening any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        leave(2)
    except OSError as error:
        where = error.filename
        if isinstance(where, str) and os.path.isabs(where):
            where = os.path.relpath(where, ROOT) \
                if where.startswith(ROOT + "/") else where
        usage("%s%s" % ("%s: " % where if where else "", error.strerror))


# ---- names ------------------------------------------------------------------

PLAIN = re.compile(r"[\w@%+=,./-]*")
_links = {}  # by path


def put(path, data):
    """Whole, or not at all."""
    with open(path + ".tmp", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)


def plain(path):
    """A name of @path that neither a shell splits (libFuzzer's merge starts
    itself by one) nor LD_PRELOAD: its own, or that of a link to it."""
    if PLAIN.fullmatch(path):
        return path
    if path not in _links:
        base = tempfile.gettempdir()
        folder = tempfile.mkdtemp(
            prefix="apb-", dir=base if PLAIN.fullmatch(base) else "/tmp")
        atexit.register(shutil.rmtree, folder, True)
        os.chmod(folder, 0o755)  # servers give up root
        _links[path] = os.path.join(
            folder, re.sub(r"[^\w@%+=,.-]", "_", os.path.basename(path)) or "_")
        os.symlink(os.path.abspath(path), _links[path])
    return _links[path]
