# SPDX-License-Identifier: MIT
"""Source packages of Debian, fetched by apt, unpacked below build/.

apt is given a configuration, lists and a cache of its own, with nothing in them
but the sources: what the machine's own apt has is neither needed nor touched,
and no right is needed but to write below build/.
"""

import glob
import os
import shutil
import subprocess

MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_SECONDS = 300
SOURCE_SECONDS = 600


class Failed(Exception):
    """One line on what is wrong with the input or the machine."""


def tool(command, seconds, what, **more):
    """Run a command quietly; Failed has its last words."""
    try:
        done = subprocess.run(command, timeout=seconds, check=False, text=True,
                              errors="replace", stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, **more)
    except FileNotFoundError:
        raise Failed("%s is not installed" % command[0]) from None
    except subprocess.TimeoutExpired:
        raise Failed("%s: no end after %d s" % (what, seconds)) from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines()
                 if line.startswith(("E:", "Err"))] or \
                done.stdout.strip().splitlines() or ["no output"]
        raise Failed("%s: %s" % (what, lines[-1]))
    return done.stdout


class Sources:
    """Unpacked source packages, by name, in @folder."""

    def __init__(self, folder):
        self.folder = os.path.abspath(folder)
        self.apt_folder = os.path.join(self.folder, "apt")
        self.updated = False

    def apt(self, seconds, what, *words):
        base = self.apt_folder
        options = {
            "Dir::Etc::sourcelist": os.path.join(base, "debian.sources"),
            "Dir::Etc::sourceparts": "-",
            "Dir::State": os.path.join(base, "state"),
            "Dir::State::lists": os.path.join(base, "lists"),
            "Dir::State::status": os.path.join(base, "status"),
            "Dir::Cache": os.path.join(base, "cache"),
            "APT::Sandbox::User": "root",
            "Acquire::Retries": "3",
        }
        command = ["apt-get", "-q"]
        for name, value in options.items():
            command += ["-o", "%s=%s" % (name, value)]
        return tool(command + list(words), seconds, what,
                    cwd=os.path.join(base, "packages"))

    def update(self):
        """The list of source packages, once; that of the run before will do
        as long as what is in it can still be fetched."""
        for name in ("state", "lists/partial", "cache/archives/partial",
                     "packages"):
            os.makedirs(os.path.join(self.apt_folder, name), exist_ok=True)
        with open(os.path.join(self.apt_folder, "status"), "a",
                  encoding="ascii"):
            pass
        with open(os.path.join(self.apt_folder, "debian.sources"), "w",
                  encoding="ascii") as stream:
            stream.write("Types: deb-src\nURIs: %s\nSuites: %s\n"
                         "Components: main\nSigned-By: %s\n"
                         % (MIRROR, SUITE, KEYRING))
        if not self.updated:
            self.apt(LISTS_SECONDS, "apt-get update", "update")
            self.updated = True

    def tree(self, package):
        return os.path.join(self.folder, package)

    def version(self, package):
        with open(os.path.join(self.tree(package), ".version"),
                  encoding="utf-8") as stream:
            return stream.read().strip()

    def get(self, package):
        """The folder of its sources, Debian's patches applied."""
        tree = self.tree(package)
        if os.path.exists(os.path.join(tree, ".version")):
            return tree
        self.update()
        packages = os.path.join(self.apt_folder, "packages")
        for path in glob.glob(os.path.join(packages, package + "_*")):
            os.unlink(path)
        self.apt(SOURCE_SECONDS, "apt-get source " + package,
                 "source", "--download-only", package)
        found = glob.glob(os.path.join(packages, package + "_*.dsc"))
        if len(found) != 1:
            raise Failed("apt-get source %s: %d packages"
                         % (package, len(found)))
        # apt has checked what it fetched against the signed lists
        shutil.rmtree(tree, ignore_errors=True)
        tool(["dpkg-source", "--no-check", "-x", found[0], tree],
             SOURCE_SECONDS, "dpkg-source " + package)
        version = os.path.basename(found[0])[len(package) + 1:-len(".dsc")]
        with open(os.path.join(tree, ".version"), "w",
                  encoding="utf-8") as stream:
            stream.write(version + "\n")
        return tree


def patched(tree, copy, patch):
    """A copy of @tree with @patch; what it does not change is the same file."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(tree, copy, copy_function=os.link, symlinks=True)
    tool(["patch", "-p1", "-s", "-f", "-F0", "-i", patch], 60,
         "patch " + os.path.basename(patch), cwd=copy)
    return copy
