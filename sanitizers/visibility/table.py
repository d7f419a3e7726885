# SPDX-License-Identifier: MIT
"""The cells of the visibility table: what they have to be, and how they are
shown.

A cell is a dictionary of fields (reports.py).  apb's is no worse than plain
malloc's if it has all fields that that has, with the same values.
"""

import csv
import os

import reports

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
EXPECTED = os.path.join(HERE, "expected")
README = os.path.join(HERE, "README.md")
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
SILENT = {"exit": "0"}

SAME, MORE, WORSE, WRONG = "same", "more", "worse", "wrong"
# In the table, before what is reported.
MARK = {SAME: "", MORE: "+ ", WORSE: "**worse** ", WRONG: "**wrong** "}


class Bad(Exception):
    """A table of expectations is not as it has to be."""


# ---- expectations -----------------------------------------------------------


def read_expected(tool, folder=EXPECTED):
    """{scene: {allocator: fields}}"""
    path = os.path.join(folder, tool + ".txt")
    cells = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise Bad("%s: %s" % (path, error.strerror)) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        scene, _, rest = line.partition(" ")
        rest = rest.strip()
        allocator = "plain"
        if rest.startswith("apb "):
            allocator, rest = "apb", rest[4:].strip()
        cell = cells.setdefault(scene, {})
        if allocator in cell:
            raise Bad("%s:%d: %s a second time" % (path, number, scene))
        try:
            cell[allocator] = reports.fields_of(rest)
        except ValueError as error:
            raise Bad("%s:%d: %s" % (path, number, error)) from error
    return cells


def write_expected(found):
    """Plain malloc's cells as they are; lines for apb and comments stay."""
    for tool in sorted({tool for tool, _ in found}):
        path = os.path.join(EXPECTED, tool + ".txt")
        lines = ["# SPDX-License-Identifier: MIT",
                 "# What %s says of each scene; see ../table.py." % tool]
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                lines = file.read().splitlines()
        for (of_tool, scene), cells in found.items():
            if of_tool != tool:
                continue
            line = "%-26s %s" % (scene, reports.line_of(cells["plain"]))
            old = [i for i, text in enumerate(lines)
                   if text.split()[:1] == [scene]
                   and text.split()[1:2] != ["apb"]]
            if old:
                lines[old[0]] = line
            else:
                lines.append(line)
        os.makedirs(EXPECTED, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")


# ---- judgement --------------------------------------------------------------


def differing(wanted, got):
    """The names of the fields of @wanted that @got does not have the same."""
    return [name for name in wanted if got.get(name) != wanted[name]]


def compare(wanted, got, correct):
    """(verdict, what of it) of apb's cell; @wanted is plain malloc's."""
    if got.get("exit") == "timeout":
        return WORSE, "did not end in time"
    if correct or (wanted == SILENT and got.get("kind") == "crash"):
        bad = [name for name in set(wanted) | set(got)
               if wanted.get(name) != got.get(name)]
        return (WORSE, " ".join(sorted(bad))) if bad else (SAME, "")
    if wanted == SILENT:
        return (SAME, "") if got == SILENT else (MORE, "")
    if wanted.get("kind") == "crash":
        # No report of the tool: that it is seen at all is what there is.
        if "kind" not in got:
            return WORSE, "kind"
        return (SAME, "") if got["kind"] == "crash" else (MORE, "")
    bad = differing(wanted, got)
    if bad:
        return WORSE, " ".join(bad)
    return (MORE if set(got) > set(wanted) else SAME), ""


def judge(found):
    """A row, a dictionary, for each (tool, scene) that was measured."""
    expected = {tool: read_expected(tool)
                for tool in sorted({tool for tool, _ in found})}
    rows = []
    for (tool, scene), cells in found.items():
        wanted = expected[tool].get(scene, {}).get("plain")
        if wanted is None:
            raise Bad("expected/%s.txt: nothing of %s" % (tool, scene))
        row = {"tool": tool, "scene": scene, "plain": wanted,
               "apb": cells.get("apb"), "verdict": SAME, "why": ""}
        plain = cells.get("plain")
        if plain is not None and plain != wanted:
            row.update(plain=plain, verdict=WRONG, why="plain: " + " ".join(
                name for name in {**wanted, **plain}
                if wanted.get(name) != plain.get(name)))
        elif row["apb"] is not None:
            aim = expected[tool][scene].get("apb", wanted)
            row["verdict"], row["why"] = compare(
                aim, row["apb"], scene.startswith("ok-"))
        rows.append(row)
    return rows


# ---- what is shown ----------------------------------------------------------


def word(fields):
    """A cell in a word or two."""
    if fields is None:
        return ""
    if fields == SILENT:
        return "-"
    return fields.get("kind", "exit " + fields["exit"])


def cell(row):
    plain, apb = word(row["plain"]), word(row["apb"])
    if row["verdict"] == SAME:
        return plain
    if row["verdict"] == MORE:
        return "+ " + (apb if apb != plain else plain)
    return "**%s** %s / %s" % (row["verdict"], plain, apb)


def grid(rows):
    """(tools, {scene: {tool: row}}), in the order of @rows."""
    tools, scenes = [], {}
    for row in rows:
        if row["tool"] not in tools:
            tools.append(row["tool"])
        scenes.setdefault(row["scene"], {})[row["tool"]] = row
    return tools, scenes


def markdown(rows):
    tools, scenes = grid(rows)
    lines = ["| program | " + " | ".join(tools) + " |",
             "| --- |" + " --- |" * len(tools)]
    for scene, of_tool in scenes.items():
        lines.append("| %s | %s |" % (scene, " | ".join(
            cell(of_tool[tool]) if tool in of_tool else ""
            for tool in tools)))
    return "\n".join(lines) + "\n"


def counts(rows):
    """A line of totals."""
    said = [row for row in rows if row["plain"] != SILENT]
    return ("%d cells, %d with a report of plain malloc's: apb's %s" % (
        len(rows), len(said), ", ".join(
            "%s %d" % (verdict, sum(row["verdict"] == verdict
                                    for row in rows))
            for verdict in (SAME, MORE, WORSE, WRONG))))


def text(rows, verbose):
    lines = []
    for row in rows:
        if verbose or row["verdict"] in (WORSE, WRONG):
            lines.append("%-5s %s, %s: %s" % (
                row["verdict"], row["scene"], row["tool"],
                row["why"] or word(row["apb"] or row["plain"])))
            for name in ("plain", "apb"):
                if row[name] is not None:
                    lines.append("      %-5s %s" % (
                        name, reports.line_of(row[name])))
    return "\n".join(lines + [counts(rows)]) + "\n"


def write(name, content):
    with open(os.path.join(ROOT, "build", name), "w",
              encoding="utf-8") as file:
        file.write(content)


def show(rows, verbose, everything):
    """Print it; write the files if it is all there is.  Whether any is bad."""
    print(text(rows, verbose), end="")
    if everything:
        write("visibility.txt", text(rows, True))
        write("visibility.md", markdown(rows))
        with open(os.path.join(ROOT, "build/visibility.csv"), "w",
                  encoding="utf-8", newline="") as file:
            out = csv.writer(file)
            out.writerow(["program", "tool", "verdict", "why", "plain", "apb"])
            for row in rows:
                out.writerow([row["scene"], row["tool"], row["verdict"],
                              row["why"], reports.line_of(row["plain"]),
                              reports.line_of(row["apb"] or {})])
    return any(row["verdict"] in (WORSE, WRONG) for row in rows)


def write_readme(rows):
    with open(README, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Bad("README.md: no place for the table")
    with open(README, "w", encoding="utf-8") as file:
        file.write(before + BEGIN + "\n" + counts(rows) + ".\n\n" +
                   markdown(rows) + "\n" + END + after)
