"""bench/results.svg: for each measure a bar of ours and of each peer, as multiples of ours, on a logarithmic scale;
and curves of growth. Its colours follow the reader's light or dark scheme."""

import math
from html import escape

from measurement import number

LEFT, WIDTH, RIGHT, BAR, GAP = 330, 430, 120, 12, 10
LEAST, MOST = 0.1, 100

STYLE = """
text { font: 11px system-ui, sans-serif; fill: #1f2328 } .what { font-weight: 600 } .small { fill: #59636e }
.ours { fill: #1a7f37 } .peer { fill: #9aa4af } .line { stroke: #d1d9e0 } .one { stroke: #59636e }
.curve { fill: none; stroke-width: 2 } .c0 { stroke: #1a7f37 } .c1 { stroke: #0969da } .c2 { stroke: #bc4c00 }
.f0 { fill: #1a7f37 } .f1 { fill: #0969da } .f2 { fill: #bc4c00 } .f3 { fill: #8250df } .c3 { stroke: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #9198a1 } .ours { fill: #3fb950 } .peer { fill: #59636e } .line { stroke: #30363d }
.one { stroke: #9198a1 } .c0 { stroke: #3fb950 } .c1 { stroke: #4493f8 } .c2 { stroke: #f0883e } .c3 { stroke: #ab7df8 }
.f0 { fill: #3fb950 } .f1 { fill: #4493f8 } .f2 { fill: #f0883e } .f3 { fill: #ab7df8 } }
"""


def svg(rows):
    """The picture: bars of what is claimed, and the curves."""
    measurements = list({id(row.measurement): row.measurement for row in rows}.values())
    claimed = {row.what for row in rows if row.claim}
    body, y = bars([each for each in measurements if each.what in claimed])
    curves, y = growth([each for each in measurements if each.part == "growth"], y)
    width = LEFT + WIDTH + RIGHT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" height="{y}" role="img">'
    title = "<title>Every measure of make bench beside its peers</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", *body, *curves, "</svg>"]) + "\n"


def place(multiple):
    """Where a multiple of ours lies on the scale."""
    share = math.log(min(max(multiple, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + WIDTH * share


def bars(measurements):
    lines, y = [], 34
    for measurement in measurements:
        lines.append(f'<text class="what" x="8" y="{y + 10}">{escape(measurement.what)}</text>')
        for name in measurement.values:
            y += BAR + 5
            multiple = measurement.median(name) / measurement.median(measurement.ours)
            kind = "ours" if name == measurement.ours else "peer"
            end = place(multiple)
            lines += [
                f'<text x="{LEFT - 6}" y="{y + 10}" text-anchor="end">{escape(name)}</text>',
                f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{end - LEFT:.1f}" height="{BAR}" rx="2"/>',
                f'<text class="small" x="{end + 5:.1f}" y="{y + 10}">{multiple:.3g} × · {median(measurement, name)}</text>',
            ]
        y += BAR + GAP
    scale = ['<text class="small" x="8" y="16">multiples of ours, logarithmic; less is better</text>']
    for power in range(-1, 3):
        x = place(10**power)
        kind = "one" if power == 0 else "line"
        scale += [
            f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="24" y2="{y}"/>',
            f'<text class="small" x="{x:.1f}" y="16" text-anchor="middle">{10.0**power:g} ×</text>',
        ]
    return scale + lines, y


def median(measurement, name):
    return escape(measurement.text(name).split(" (")[0])


def growth(measurements, top):
    """A panel for each measure whose values are named by a size: cost of one row or column, both axes logarithmic."""
    lines, height, panel = [], 150, 360
    if not measurements:
        return lines, top
    top += 24
    for at, (title, curves) in enumerate(panels(measurements).items()):
        left, y = 60 + (at % 2) * (panel + 70), top + (at // 2) * (height + 70)
        sizes = [size for curve in curves.values() for size, _ in curve]
        costs = [cost for curve in curves.values() for _, cost in curve]
        x_of = scale(min(sizes), max(sizes), left, left + panel)
        y_of = scale(min(costs), max(costs), y + height, y + 20)
        lines.append(f'<text class="what" x="{left}" y="{y}">{escape(title)}</text>')
        for size in sorted(set(sizes)):
            lines.append(f'<text class="small" x="{x_of(size):.0f}" y="{y + height + 16}" text-anchor="middle">{size:,}</text>')
        for cost in (min(costs), max(costs)):
            lines.append(f'<text class="small" x="{left - 6}" y="{y_of(cost) + 4:.0f}" text-anchor="end">{number(cost)}</text>')
            lines.append(f'<line class="line" x1="{left}" x2="{left + panel}" y1="{y_of(cost):.1f}" y2="{y_of(cost):.1f}"/>')
        for color, (name, curve) in enumerate(curves.items()):
            points = " ".join(f"{x_of(size):.1f},{y_of(cost):.1f}" for size, cost in curve)
            lines.append(f'<polyline class="curve c{color % 4}" points="{points}"/>')
            lines.append(f'<text class="f{color % 4}" x="{left + color * 115}" y="{y + height + 32}">{escape(name)}</text>')
    rows = (len(panels(measurements)) + 1) // 2
    return lines, top + rows * (height + 70)


def panels(measurements):
    """By title, then by name: points of size and median."""
    found = {}
    for measurement in measurements:
        title, _, size = measurement.what.rpartition(", ")
        things = int(size.split()[0].replace(",", ""))
        for name in measurement.values:
            curve = found.setdefault(f"{title} ({measurement.unit})", {}).setdefault(name, [])
            curve.append((things, measurement.median(name)))
    return found


def scale(least, most, start, end):
    """A logarithmic scale."""
    span = math.log(most / least) or 1
    return lambda value: start + (end - start) * math.log(value / least) / span
