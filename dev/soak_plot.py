# SPDX-License-Identifier: Apache-2.0

"""Plots the samples of dev/soak as soak.svg, and writes its figures as a row of a table, soak.md."""

import csv
import math
import sys
from pathlib import Path

WIDTH, PANEL, LEFT, RIGHT, TOP = 760, 120, 70, 12, 24
STYLE = """<style>
svg{background:#fff;font:11px sans-serif}text{fill:#333}.title{font-weight:bold}.axis{stroke:#bbb}
.a,.b{fill:none;stroke-width:1.3}.a{stroke:#1f5fa8}.b{stroke:#b3541e;stroke-dasharray:4 2}
</style>"""
MIB = 1 << 20
# A panel: its title, and for each of its lines the column, the divisor and the label.
PANELS = [
    ("memory, MiB", [("resident_bytes", MIB, "resident"), ("heap_bytes", MIB, "allocated")]),
    ("open descriptors, and connections and links that are alive", [("descriptors", 1, "descriptors"), ("objects", 1, "objects")]),
    ("budgets, MiB", [("send_budget_bytes", MIB, "accepted and not written"), ("receive_budget_bytes", MIB, "received and held")]),
    ("processor, % of one core", [("cpu_percent", 1, "processor")]),
]


def number(row, name):
    return float(row[name])


def panel(index, title, lines, rows, minutes):
    top = TOP + index * (PANEL + 40)
    most = max((number(row, name) / unit for name, unit, _ in lines for row in rows), default=1) or 1
    step = 10 ** math.floor(math.log10(most))
    most = next(step * factor for factor in (1, 1.5, 2, 3, 5, 10) if step * factor >= most)
    x = lambda value: LEFT + value / minutes * (WIDTH - LEFT - RIGHT)
    y = lambda value: top + PANEL - value / most * PANEL
    parts = [f'<text class="title" x="{LEFT}" y="{top - 6}">{title}</text>']
    for part in (0, 0.5, 1):
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(most * part):.1f}" y2="{y(most * part):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(most * part) + 4:.1f}" text-anchor="end">{most * part:g}</text>')
    for part in range(7):
        parts.append(f'<text x="{x(minutes * part / 6):.1f}" y="{top + PANEL + 14}" text-anchor="middle">{minutes * part / 6:.3g} min</text>')
    for kind, (name, unit, label), place in zip("ab", lines, (WIDTH - 330, WIDTH - 170)):
        points = " ".join(f"{x(number(row, 'seconds') / 60):.1f},{y(number(row, name) / unit):.1f}" for row in rows)
        parts.append(f'<polyline class="{kind}" points="{points}"/>')
        parts.append(f'<line class="{kind}" x1="{place}" x2="{place + 22}" y1="{top - 10}" y2="{top - 10}"/>')
        parts.append(f'<text x="{place + 27}" y="{top - 6}">{label}</text>')
    return "".join(parts)


def main():
    out, minutes, date = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    with open(out / "soak.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    length = max([number(row, "seconds") / 60 for row in rows], default=1)
    height = TOP + len(PANELS) * (PANEL + 40)
    body = "\n".join(panel(index, title, lines, rows, length) for index, (title, lines) in enumerate(PANELS))
    (out / "soak.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="A soak of {minutes} minutes">\n{STYLE}\n{body}\n</svg>\n'
    )
    figures = {}
    for line in (out / "soak.txt").read_text().splitlines():
        parts = line.split(" ", 2)
        if len(parts) == 3:
            figures[parts[1]] = parts[2].split(" goal ")[0]
    of = lambda name: figures.get(name, "-")
    left = ", ".join(f"{of(name + '-left')} {name}" for name in ("descriptors", "objects", "tasks"))
    (out / "soak.md").write_text(
        f"| {date} | {minutes} | {of('connections')}, {of('links')} links | {of('account')} | "
        f"{of('resident-mean')}, {of('resident-slope')} ± {of('resident-slope-error')} | "
        f"{of('heap-mean')}, {of('heap-slope')} ± {of('heap-slope-error')} | "
        f"{left}, {of('send-budget-left')} and {of('receive-budget-left')} in the budgets | {of('cpu')} |\n"
    )


main()
