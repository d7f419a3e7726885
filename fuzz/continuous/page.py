# SPDX-License-Identifier: MIT
"""The status page: one HTML file with nothing outside it, plots as SVG."""

import html
import math
import time

WIDTH, HEIGHT = 560, 190
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 26
SHOWN_FINDINGS = 200

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto;
  max-width: 1180px; padding: 0 1em; color: #222; background: #fff }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin: 1.6em 0 .4em }
table { border-collapse: collapse } th, td { padding: .15em .9em .15em 0;
  text-align: left; vertical-align: top } td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums }
tr + tr td { border-top: 1px solid #8883 } code { font-size: .92em }
.plots { display: flex; flex-wrap: wrap; gap: 1em }
figure { margin: 0 } figcaption { font-weight: 600 }
.axis { stroke: #888; stroke-width: 1; fill: none }
.grid { stroke: #8883; stroke-width: 1 }
.line { stroke: #2463b5; stroke-width: 1.8; fill: none }
.dot { fill: #2463b5 }
text { font-size: 11px; fill: #666 }
.bad { color: #b3261e; font-weight: 600 } .good { color: #1b7f3b }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #17191c }
  .line { stroke: #7fb2ff } .dot { fill: #7fb2ff } text { fill: #aaa }
  .bad { color: #ff8a80 } .good { color: #7ad394 } }
"""

PLOTS = (("edges", "Coverage: edges of the allocator"),
         ("states", "Features: states of the allocator"),
         ("executions", "Executions"), ("rate", "Executions per second"),
         ("signatures", "Findings: kinds"), ("inputs", "Inputs in the corpus"))


def number(value):
    if value is None:
        return "–"
    if isinstance(value, float):
        value = round(value)
    return format(value, ",")


def short(value):
    """A number on an axis."""
    for limit, factor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"),
                                (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return "%.4g%s" % (value / factor, unit)
    return "%.4g" % value


def duration(seconds):
    seconds = int(seconds)
    days, hours = divmod(seconds // 3600, 24)
    return "%s%d:%02d:%02d" % ("%d d " % days if days else "", hours,
                               seconds // 60 % 60, seconds % 60)


def steps(low, high, wanted):
    """Round numbers from @low to @high, about as many as are wanted."""
    span = (high - low) or 1
    raw = span / wanted
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * f for f in (1, 2, 5, 10) if power * f >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def plot(points, title):
    """A line through (seconds, value), in SVG."""
    if len(points) < 2:
        return ("<figure><figcaption>%s</figcaption><p>not enough samples "
                "yet</p></figure>" % html.escape(title))
    xs, ys = [x for x, _y in points], [y for _x, y in points]
    x0, x1 = min(xs), max(max(xs), min(xs) + 1)
    y0, y1 = min(ys), max(ys)
    margin = (y1 - y0) * 0.06 or max(1, abs(y1) * 0.05)
    y0, y1 = max(0, y0 - margin), y1 + margin

    def at(x, y):
        return (LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (y - y0) / (y1 - y0) *
                (HEIGHT - TOP - BOTTOM))

    parts = []
    for y in steps(y0, y1, 4):
        _x, py = at(x0, y)
        parts.append('<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>'
                     '<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (
                         LEFT, WIDTH - RIGHT, py, py, LEFT - 6, py + 4,
                         short(y)))
    unit, word = next((u, w) for u, w in (
        (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
        if x1 - x0 >= 2 * u or u == 1)
    for x in steps(x0 / unit, x1 / unit, 5):
        px, _y = at(x * unit, y0)
        parts.append('<text x="%.1f" y="%d" text-anchor="middle">%s %s</text>'
                     % (px, HEIGHT - 8, short(x), word))
    line = " ".join("%.1f,%.1f" % at(x, y) for x, y in points)
    last = at(*points[-1])
    return ('<figure><figcaption>%s: %s</figcaption><svg width="%d" height="%d"'
            ' viewBox="0 0 %d %d" role="img">%s<path class="axis" d="M%d %dV%dH'
            '%d"/><polyline class="line" points="%s"/><circle class="dot" '
            'cx="%.1f" cy="%.1f" r="3"/></svg></figure>' % (
                html.escape(title), number(points[-1][1]), WIDTH, HEIGHT,
                WIDTH, HEIGHT, "".join(parts), LEFT, TOP, HEIGHT - BOTTOM,
                WIDTH - RIGHT, line, last[0], last[1]))


def series(samples, name):
    """Over the seconds of fuzzing."""
    if name != "rate":
        return [(s["seconds"], s[name]) for s in samples
                if s.get(name) is not None]
    points = []
    for old, new in zip(samples, samples[1:]):
        if new["seconds"] - old["seconds"] > 0.5:
            points.append((new["seconds"], max(
                0, new["executions"] - old["executions"]) /
                (new["seconds"] - old["seconds"])))
    return points


def table(head, rows):
    """Columns whose head ends in # hold numbers."""
    def cells(tag, row):
        return "".join("<%s%s>%s</%s>" % (
            tag, ' class="n"' if name.endswith("#") else "", cell, tag)
            for name, cell in zip(head, row))
    return "<table><tr>%s</tr>%s</table>" % (
        cells("th", [html.escape(name.rstrip("#")) for name in head]),
        "".join("<tr>%s</tr>" % cells("td", row) for row in rows))


def clock(seconds):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def overview(told):
    corpus = told["corpus"]
    rows = [
        ("now", html.escape(told["phase"])),
        ("as of", clock(told["time"])),
        ("since", "%s, %d starts" % (clock(told["first_start"]),
                                     told["starts"])),
        ("fuzzed for", duration(told["seconds"])),
        ("executions", number(told["executions"])),
        ("edges, states", "%s of %s, %s" % (
            number(told["edges"]), number(told["edges_total"]),
            number(told["states"]))),
        ("corpus", "%s inputs, %s KiB, generation %d, pruned %d times, "
         "%d parked" % (number(corpus["inputs"]),
                        number(corpus["bytes"] // 1024),
                        corpus["generation"], corpus["prunes"],
                        corpus["parked"])),
        ("findings", '<span class="%s">%d of %d kinds</span>' % (
            "bad" if told["findings"] else "good", len(told["findings"]),
            len(told["signatures"]))),
    ]
    return table(("", ""), rows)


def workers(told):
    rows = [(html.escape(w["name"]), number(w["executions"]),
             number(w["per_second"])) for w in told["workers"]]
    text = "<p>turn %d, %s of %s s</p>" % (
        told["slot"]["index"] + 1, number(told["slot"]["spent"]),
        number(told["slot"]["seconds"]))
    return text + table(("worker", "executions#", "per second#"), rows)


def configurations(told):
    rows = [(html.escape(c["name"]), *(number(c.get(key, 0)) for key in (
        "slots", "seconds", "executions", "new_inputs", "findings", "ended")))
        for c in told["configurations"]]
    return table(("configuration", "turns#", "seconds#", "executions#",
                  "new inputs#", "findings#", "ended early#"), rows)


def findings(told):
    if not told["findings"]:
        return "<p>none</p>"
    shown = told["findings"][-SHOWN_FINDINGS:][::-1]
    rows = [(clock(f["time"]), "<code>findings/%s%s</code>" % (
        html.escape(f["name"]), "" if f["input"] else ".txt"),
        html.escape(f["reason"])) for f in shown]
    return table(("found", "file", "reason"), rows)


def render(told, samples, title):
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="refresh" content="30">'
        "<title>%s: continuous fuzzing</title><style>%s</style></head><body>"
        % (html.escape(title), STYLE),
        "<h1>%s: continuous fuzzing</h1>" % html.escape(title),
        overview(told), '<h2>Over time</h2><div class="plots">',
        *(plot(series(samples, name), text) for name, text in PLOTS),
        "</div><h2>Running</h2>", workers(told),
        "<h2>Configurations</h2>", configurations(told),
        "<h2>Findings</h2>", findings(told), "</body></html>\n"]
    return "\n".join(parts)
