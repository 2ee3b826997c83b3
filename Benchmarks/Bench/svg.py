# SPDX-License-Identifier: Apache-2.0

"""The parts of plots: SVG without scripts. The style sheet has the colours; labels and dashes show the same."""

import math
from html import escape

WIDTH = 400
ORDER = ("ours", "c-proactor", "c-engine", "cpp", "python")
DASHES = {"c-proactor": "7 4", "c-engine": "2 3", "cpp": "9 3 2 3", "python": "4 4"}


def series(label):
    """Returns the position of a label in the order, which variants share with their contender."""
    for index, name in enumerate(ORDER):
        if label == name or label.startswith(name + "-"):
            return index
    return len(ORDER)


def style(label):
    index = series(label)
    return f"s{index}"


def short(value):
    """Returns a short text for a number, such as 1.24 M, 512 k or 87."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def ticks(most, count=4):
    """Returns round numbers from 0 to at least `most`."""
    if most <= 0:
        return [0, 1]
    raw = most / count
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    return [step * index for index in range(math.ceil(most / step - 1e-9) + 1)]


def text(x, y, content, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(str(content))}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def frame(height, title, parts):
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}">'
    return head + "".join(parts) + "</svg>"


def spaced(places, gap, low, high):
    """Moves the positions of labels apart, in their order, within two bounds."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    floor = low
    for index in order:
        moved[index] = max(moved[index], floor)
        floor = moved[index] + gap
    ceiling = high
    for index in reversed(order):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


class Axes:
    """A plot of lines: the positions of data, and the marks of the axes."""

    def __init__(self, left, right, top, bottom):
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.parts = []

    def scale_x(self, least, most):
        self.x = lambda value: self.left + (value - least) / (most - least or 1) * (self.right - self.left)

    def scale_y(self, least, most):
        self.y = lambda value: self.bottom - (value - least) / (most - least or 1) * (self.bottom - self.top)

    def mark_x(self, value, label):
        self.parts.append(line(self.x(value), self.top, self.x(value), self.bottom, "grid"))
        self.parts.append(text(self.x(value), self.bottom + 16, label, "tick", "middle"))

    def mark_y(self, value, label):
        self.parts.append(line(self.left, self.y(value), self.right, self.y(value), "grid"))
        self.parts.append(text(self.left - 6, self.y(value) + 4, label, "tick", "end"))

    def names(self, x_name, y_name):
        self.parts.append(text((self.left + self.right) / 2, self.bottom + 34, x_name, "tick", "middle"))
        self.parts.append(text(4, self.top - 10, y_name, "tick"))

    def path(self, label, points, has_dots=False):
        places = [(self.x(x), self.y(y)) for x, y in points]
        route = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = DASHES.get(label)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{route}" class="line {style(label)}"{dashes}/>')
        if has_dots:
            for x, y in places:
                self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{style(label)}"/>')

    def labels(self, ends):
        """Adds names beside the ends of lines: (label, y)."""
        places = spaced([self.y(y) for _, y in ends], 15, self.top, self.bottom)
        for (label, y), place in zip(ends, places):
            self.parts.append(line(self.right + 2, self.y(y), self.right + 9, place, "leader"))
            self.parts.append(text(self.right + 12, place + 4, label, "own" if label == "ours" else ""))
