# SPDX-License-Identifier: MIT
"""Where a program is run: a temporary folder, a clean environment, with or
without the allocator preloaded, and a record of all that can be seen of it.

A case is a function that is given a Box; it runs its programs through it, once
without the allocator and once with it, in a folder of the same name.  Then the
two records have to be equal.
"""

import contextlib
import ctypes
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__)))))
sys.path.insert(0, os.path.join(ROOT, "fuzz"))

import proc  # noqa: E402  (fuzz/ has to be in the path first)

SECONDS = 300
SHOWN = 1500
_libc = ctypes.CDLL(None)


class Wrong(Exception):
    """What a case found."""


class Missing(Exception):
    """A program is not installed."""


def expect(condition, text):
    if not condition:
        raise Wrong(text)


def child():
    """In a new process: signals as a shell in the foreground leaves them,
    whoever started us; and it ends when we are killed."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    pr_set_pdeathsig = 1
    _libc.prctl(pr_set_pdeathsig, signal.SIGKILL)


def kill(process):
    """@process and all it started in its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ended(status):
    return "signal %d" % -status if status < 0 else "status %d" % status


class Box:
    def __init__(self, folder, library=None):
        self.folder = folder
        self.library = library
        self.record = []
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
        # Servers give up root.
        os.chmod(folder, 0o755)
        self.env = {
            "PATH": "/usr/local/sbin:/usr/sbin:/sbin:"
                    "/usr/local/bin:/usr/bin:/bin",
            "HOME": folder, "TMPDIR": folder, "LC_ALL": "C.UTF-8",
            "TZ": "UTC", "SOURCE_DATE_EPOCH": "1000000000",
            # CPython's objects are to be malloc's.
            "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    # ---- files and notes ------------------------------------------------

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def note(self, what, value):
        """To be the same with and without the allocator."""
        self.record.append((what, value))

    def same_file(self, name):
        with open(self.path(name), "rb") as file:
            self.note(name, hashlib.sha256(file.read()).hexdigest())

    # ---- programs that end ----------------------------------------------

    def environment(self, more):
        env = dict(self.env, **more)
        if self.library:
            env["LD_PRELOAD"] = proc.plain(self.library)
        return env

    def run(self, *cmd, text="", status=0, cwd=None, strip=None, **env):
        """Run @cmd; it has to end with @status.  Returns its output.

        @strip is a function that takes out of the output what differs from
        one run to the next.
        """
        if not shutil.which(cmd[0], path=self.env["PATH"]):
            raise Missing(cmd[0])
        what = " ".join(cmd)
        process = subprocess.Popen(
            cmd, cwd=cwd or self.folder, env=self.environment(env),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
            preexec_fn=child)
        try:
            out, err = process.communicate(text.encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise Wrong("%s: no end after %d s" % (what, SECONDS)) from None
        finally:
            kill(process)
        out, err = (data.decode(errors="backslashreplace")
                    for data in (out, err))
        expect(process.returncode == status, "%s: %s%s" % (
            what, ended(process.returncode), "\n" + (err or out)[-SHOWN:]))
        self.note(what, (strip(out) if strip else out,
                         strip(err) if strip else err))
        return out

    # ---- servers --------------------------------------------------------

    @contextlib.contextmanager
    def server(self, *cmd, ready, stop=signal.SIGTERM, **env):
        """Start a server, wait until ready() does not raise OSError; at the
        end send it @stop (None: it was told otherwise): status 0."""
        if not shutil.which(cmd[0], path=self.env["PATH"]):
            raise Missing(cmd[0])
        log = self.path("server.log")
        with open(log, "wb") as file:
            process = subprocess.Popen(
                cmd, cwd=self.folder, env=self.environment(env),
                stdin=subprocess.DEVNULL, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=child)
        try:
            self._wait_ready(process, ready)
            self.check_loaded(process.pid)
            yield process
            if stop:
                process.send_signal(stop)
            try:
                status = process.wait(30)
            except subprocess.TimeoutExpired:
                raise Wrong("%s: does not stop" % cmd[0]) from None
            expect(status == 0, "%s: %s" % (cmd[0], ended(status)))
        except (Wrong, OSError, EOFError) as error:
            with open(log, encoding="utf-8", errors="replace") as file:
                raise Wrong("%s: %s (%s)\n%s" % (
                    cmd[0], error, "was running" if process.poll() is None
                    else ended(process.returncode),
                    file.read()[-SHOWN:])) from error
        finally:
            kill(process)

    @staticmethod
    def _wait_ready(process, ready):
        deadline = time.monotonic() + 30
        while True:
            try:
                return ready()
            except OSError as error:
                expect(process.poll() is None, "ended before it was ready")
                expect(time.monotonic() < deadline, "not ready: %s" % error)
                time.sleep(0.05)

    def check_loaded(self, pid):
        """The allocator is in the process, or is not, as it should be."""
        with open("/proc/%d/maps" % pid, encoding="utf-8") as file:
            maps = file.read()
        if self.library:
            expect(self.library in maps, "%s is not in process %d" % (
                self.library, pid))
        else:
            expect("libapb" not in maps, "apb is in process %d" % pid)


def workers(pid):
    """The children of a process."""
    with open("/proc/%d/task/%d/children" % (pid, pid),
              encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def connect(path):
    """A connection to a server at a Unix socket, as a buffered file."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(path)
        return sock.makefile("rwb")
