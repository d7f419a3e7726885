#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Record real programs for the seed corpus.

    record_corpus.py [--lib build/libapb-record.so] DIR
                        write DIR/rec-PROGRAM-WHAT, replacing those there

Every program runs in a new folder with a small, fixed environment, so that
the same versions of the programs give (nearly) the same files.  From each
come short pieces, which an engine can work with, and a longer one.
"""
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from encode import HINTS, MISALIGN, NONZERO, OPCODE, REUSE
from launch import arguments, fixed_addresses

PACKAGES = {"python3": "python3", "sqlite3": "sqlite3", "gcc": "gcc",
            "git": "git", "perl": "perl", "awk": "mawk", "bash": "bash"}

# A section of a script between two blocks of sizes that nothing else has.
BEGIN, END = 31337, 31339
SECTION = f"""
import json, re
def begin(): return bytearray({BEGIN - 1})
def end(): return bytearray({END - 1})
"""

PYTHON_LIST = SECTION + """
begin()
numbers = [i for i in range(50)]
end()
"""

PYTHON_NUMBERS = SECTION + """
begin()
numbers = [1000 * i for i in range(50)]
end()
"""

PYTHON_JSON = SECTION + """
data = {"name": "apb", "sizes": [16 * i for i in range(20)],
        "nested": [{"id": i, "text": "x" * i, "half": i / 2, "on": i % 2 > 0}
                   for i in range(30)], "none": None, "u": "\\u00e9\\u20ac"}
begin()
again = json.loads(json.dumps(data, indent=1))
end()
assert again == data
"""

PYTHON_WORDS = SECTION + """
text = "the quick brown fox jumps over the lazy dog and runs away " * 6
begin()
count = {}
for word in re.findall(r"\\w+", text):
    count[word] = count.get(word, 0) + 1
    index = {k: [k.upper(), str(v), (v, k)] for k, v in count.items()}
end()
"""

SQL = """
CREATE TABLE block(id INTEGER PRIMARY KEY, name TEXT, size INT, data BLOB);
CREATE INDEX by_size ON block(size);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
INSERT INTO block SELECT i, 'block ' || i, i * 37 % 1000, zeroblob(i * 7) FROM n;
BEGIN;
UPDATE block SET size = size * 2 WHERE id % 3 = 0;
DELETE FROM block WHERE id % 5 = 1;
COMMIT;
SELECT size / 100, count(*), group_concat(name) FROM block GROUP BY 1 ORDER BY 2;
SELECT a.name FROM block a JOIN block b ON a.size = b.size AND a.id < b.id;
"""

C_FILE = """
struct list { struct list *next; unsigned long size; char name[16]; };
static unsigned long sum(const struct list *l, int (*keep)(unsigned long))
{
	unsigned long all = 0;

	for (; l; l = l->next)
		if (keep(l->size))
			all += l->size * 3 + (unsigned char)l->name[0];
	return all;
}
static int odd(unsigned long n) { return n & 1; }
static int big(unsigned long n) { return n > 1000; }
unsigned long both(const struct list *l)
{
	return sum(l, odd) ^ sum(l, big);
}
void sort(unsigned long *v, int n)
{
	for (int i = 1; i < n; i++)
		for (int j = i; j > 0 && v[j - 1] > v[j]; j--) {
			unsigned long t = v[j];

			v[j] = v[j - 1];
			v[j - 1] = t;
		}
}
"""

PERL = """
my %count; my @lines;
for my $i (1 .. 60) {
    my $line = join(" ", map { "w" . ($_ * $i % 17) } 1 .. 8);
    push @lines, $line;
    $count{$_}++ for split / /, $line;
}
my @by = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
my $text = join("\\n", @lines); $text =~ s/w(\\d)/<$1>/g;
print length($text), " @by[0..4]\\n";
"""

AWK = """
BEGIN {
    for (i = 1; i <= 150; i++) {
        key = "k" (i * 7 % 40)
        seen[key] = seen[key] "," i
        line = line sprintf("%04d ", i)
    }
    n = split(line, part, " ")
    for (i = n; i > 0; i--) { gsub(/0/, "zero", part[i]); back = back part[i] }
    for (key in seen) if (length(seen[key]) > 12) delete seen[key]
    print length(back), toupper(substr(back, 1, 20))
}
"""

BASH = """
declare -A seen; words=()
for i in {1..60}; do
    w="item$((i * 13 % 29))"; words+=("$w"); seen[$w]="${seen[$w]} $i"
done
text="${words[*]}"; text="${text//item/it-}"
f() { local x=$1; [ "$x" -gt 0 ] && f $((x - 1)); }; f 20
printf '%s\\n' "${#text}" "${!seen[@]}" | { read -r a; echo "$a"; }
"""


class Recorder:
    def __init__(self, lib, where, work):
        self.lib, self.where, self.work = lib, where, work
        self.made = []
        self.env = {"PATH": "/usr/bin:/bin", "HOME": work, "LC_ALL": "C",
                    "TZ": "UTC", "GIT_CONFIG_NOSYSTEM": "1",
                    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
                    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
                    "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1",
                    "PERL_HASH_SEED": "0"}

    def run(self, command, stdin=b"", **env):
        done = subprocess.run(
            command, cwd=self.work, env={**self.env, **env}, input=stdin,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            preexec_fn=fixed_addresses)
        if done.returncode or b"apb-record:" in done.stderr:
            raise SystemExit(f"record_corpus.py: {command[0]} failed: "
                             f"{done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def record(self, command, limit, window=0, **more):
        """The file of a program, as bytes."""
        out = os.path.join(self.work, "out")
        self.run(command, APB_RECORD_OUT=out, APB_RECORD_MAX=str(limit),
                 APB_RECORD_WINDOW=str(window), LD_PRELOAD=self.lib, **more)
        with open(out, "rb") as f:
            data = f.read()
        os.remove(out)
        return data

    def save(self, name, data):
        """Under a header of its own: the kernel differs from seed to seed."""
        flags = (0, HINTS, MISALIGN, REUSE, NONZERO, HINTS | REUSE,
                 MISALIGN | NONZERO)
        n = len(self.made)
        head = struct.pack("<BBBBI", 1, 16 * (n % 3 == 2) + 32 * (n % 4 == 3),
                           flags[n % len(flags)], 0, n)
        name = "rec-" + name
        with open(os.path.join(self.where, name), "wb") as f:
            f.write(head + data[8:])
        self.made.append((name, len(data)))

    def pieces(self, name, command, long, places=(), **more):
        """Pieces of a recording: 512 operations from the start, the `long`
        first ones, and 512 from each of places, which are shares of all."""
        whole = self.record(command, 1 << 20, **more)
        count = (len(whole) - 8) // 8
        for n in (512, long):
            if n < count:
                self.save(f"{name}-first-{n}", whole[:8 + 8 * n])
        if count <= long:
            self.save(f"{name}-all", whole)
        for place in places:
            skip = int(count * place)
            self.save(f"{name}-from-{skip}",
                      self.record(command, 512, skip, **more))

    def section(self, name, script, limit):
        """What a Python script does between begin() and end()."""
        command = ["/usr/bin/python3", "-s", "-S", "-c", script]
        window = 0
        while True:
            data = self.record(command, 1 << 20, window,
                               PYTHONMALLOC="malloc")
            at = find(data, BEGIN)
            if at == 0:
                break
            # calls left out make the window come too early, never too late;
            # the block itself is left out when every slot is taken
            window += at or 5000
            if len(data) == 8:
                raise SystemExit(f"record_corpus.py: {name}: no section")
        last = find(data, END)
        if last is None:
            raise SystemExit(f"record_corpus.py: {name}: no end of section")
        self.save(name, data[:8 + 8 * min(last + 1, limit)])


def find(data, size):
    """Number of the first operation that makes a block of this size."""
    for i in range(8, len(data), 8):
        op, arg, _, val = struct.unpack_from("<BBHI", data, i)
        if op in (OPCODE["malloc"], OPCODE["calloc"]) and val >> 5 == size:
            return (i - 8) // 8
    return None


def python(r):
    start = ["/usr/bin/python3", "-s", "-S", "-c", "pass"]
    r.pieces("python3-start", start, 4096, (.7,))
    # CPython without its own allocator: every object is a call
    r.pieces("python3-objects-start", start, 4096, (.2, .4, .6),
             PYTHONMALLOC="malloc")
    r.section("python3-list-of-50", PYTHON_LIST, 4096)
    r.section("python3-list-of-50-numbers", PYTHON_NUMBERS, 4096)
    r.section("python3-json-round-trip", PYTHON_JSON, 4096)
    r.section("python3-words", PYTHON_WORDS, 4096)


def sqlite(r):
    command = ["/usr/bin/sqlite3", "-batch", "-init", "/dev/null", ":memory:",
               SQL]
    r.pieces("sqlite3", command, 4096, (.3, .6))


def compiler(r):
    cc1 = subprocess.run(["gcc", "-print-prog-name=cc1"], check=True,
                         stdout=subprocess.PIPE).stdout.decode().strip()
    with open(os.path.join(r.work, "small.c"), "w") as f:
        f.write(C_FILE)
    command = [cc1, "-quiet", "-O2", "small.c", "-o", "small.s"]
    r.pieces("cc1", command, 4096, (.2, .4, .6, .8))


def git(r):
    r.run(["git", "init", "-q", "-b", "main", "."])
    for n in range(12):
        with open(os.path.join(r.work, f"file{n}.txt"), "w") as f:
            f.writelines(f"line {i} of {n}\n" for i in range(20))
        if n % 4 == 3:
            r.run(["git", "add", "."])
            r.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit",
                   "-q", "-m", f"change {n}"])
    with open(os.path.join(r.work, "file3.txt"), "a") as f:
        f.write("more\n")
    r.pieces("git-status", ["git", "status"], 4096, (.5,))
    r.pieces("git-log", ["git", "--no-pager", "log", "--stat", "-p"], 4096,
             (.4, .8))
    r.pieces("git-diff", ["git", "--no-pager", "diff", "HEAD~2"], 4096)


def scripts(r):
    r.pieces("perl", ["/usr/bin/perl", "-e", PERL], 4096, (.5,))
    r.pieces("awk", ["/usr/bin/awk", AWK], 4096, (.5,))
    r.pieces("bash", ["/bin/bash", "-c", BASH], 4096, (.5, .8))


def main():
    args = arguments(__doc__, "dir")
    missing = [p for program, p in PACKAGES.items()
               if not shutil.which(program, path="/usr/bin:/bin")]
    if missing:
        print("record_corpus.py: programs are missing; as root: apt-get "
              "install -y " + " ".join(missing), file=sys.stderr)
        return 2
    if not os.path.isdir(args.dir):
        print(f"record_corpus.py: no folder {args.dir}", file=sys.stderr)
        return 2
    for name in os.listdir(args.dir):
        if name.startswith("rec-"):
            os.remove(os.path.join(args.dir, name))
    with tempfile.TemporaryDirectory() as work:
        r = Recorder(args.lib, args.dir, work)
        for part in (python, sqlite, compiler, scripts, git):
            part(r)
    for name, size in r.made:
        print(f"{name:36}{(size - 8) // 8:6} operations")
    print(f"{len(r.made)} recorded seeds, "
          f"{sum(size for _, size in r.made) >> 10} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
