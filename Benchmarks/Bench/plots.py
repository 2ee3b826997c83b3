"""Plots as SVG without a script. Colours are the style sheet's; labels, dashes and marks say the same."""

import math
from html import escape

from Bench.table import digits, spread

WIDTH = 400
ROW = 22
LABEL, VALUE = 92, 68
ORDER = ("ours", "c-proactor", "c-engine", "cpp", "python")
DASHES = {"c-proactor": "7 4", "c-engine": "2 3", "cpp": "9 3 2 3", "python": "4 4"}


def series(label):
    """The place of a label in the order: its variants share it with the contender."""
    for index, name in enumerate(ORDER):
        if label == name or label.startswith(name + "-"):
            return index
    return len(ORDER)


def style(label):
    index = series(label)
    return f"s{index}"


def short(value):
    """1.24 M, 512 k, 87."""
    for limit, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def ticks(most, count=4):
    """Round numbers from 0 up to what holds the most."""
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


def bars(title, groups, unit):
    """Horizontal bars of medians with whiskers from least to most: groups of (head, [(label, summary)])."""
    most = max(found["max"] for _, rows in groups for _, found in rows)
    places = [place for place in ticks(most) if place <= most]
    # A bold letter is about 7.4 wide.
    left = max(LABEL, max(len(label) for _, rows in groups for label, _ in rows) * 7.4 + 12)
    right = WIDTH - VALUE
    scale = (right - left) / (most or 1)
    parts, y = [], 4
    body = []
    for head, rows in groups:
        if head:
            y += 16
            body.append(text(left, y, head, "head"))
            y += 4
        for label, found in rows:
            middle = y + ROW / 2
            end = left + found["median"] * scale
            body.append(text(left - 8, middle + 4, label, "own" if series(label) == 0 else "", "end"))
            tip = f"{label}: {spread(found)} {unit}"
            body.append(f'<rect x="{left}" y="{y + 4}" width="{max(end - left, 1):.1f}" height="{ROW - 8}" rx="2" class="{style(label)}">')
            body.append(f"<title>{escape(tip)}</title></rect>")
            low, high = left + found["min"] * scale, left + found["max"] * scale
            if high - low > 0.5:
                body.append(line(low, middle, high, middle, "whisker"))
                body.extend(line(x, middle - 4, x, middle + 4, "whisker") for x in (low, high))
            body.append(text(max(end, high) + 6, middle + 4, short(found["median"]), "value"))
            y += ROW
        y += 6
    for place in places:
        x = left + place * scale
        parts.append(line(x, 4, x, y, "grid"))
        parts.append(text(x, y + 14, short(place), "tick", "middle"))
    parts.append(text((left + right) / 2, y + 32, unit, "tick", "middle"))
    return frame(y + 38, title, parts + body)


def spaced(places, gap, low, high):
    """Moves the places of labels apart, in their order, and keeps them between two ends."""
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
    """A plot of lines: places of data in it, with the marks of its axes."""

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
        """Names beside the ends of lines: (label, y)."""
        places = spaced([self.y(y) for _, y in ends], 15, self.top, self.bottom)
        for (label, y), place in zip(ends, places):
            self.parts.append(line(self.right + 2, self.y(y), self.right + 9, place, "leader"))
            self.parts.append(text(self.right + 12, place + 4, label, "own" if label == "ours" else ""))


def logarithmic(axes, least, most):
    """A y axis of 1, 2 and 5 times the powers of ten around two values; of the powers alone where they are many."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)
    places = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    low = max(place for place in places if place <= least * 1.0001)
    high = min(place for place in places if place >= most * 0.9999)
    axes.scale_y(math.log10(low), math.log10(high))
    places = [place for place in places if low <= place <= high]
    if len(places) > 11:
        places = [place for place in places if f"{place:e}".startswith("1")]
    for place in places:
        axes.mark_y(math.log10(place), short(place))


def curves(title, lines):
    """Latency by percentile: lines of (label, [[percentile, microseconds]])."""
    axes = Axes(46, WIDTH - 82, 26, 240)
    lines = [(label, [(-math.log10(1 - p / 100), max(us, 0.1)) for p, us in curve if p < 100]) for label, curve in lines]
    most = max(x for _, points in lines for x, _ in points)
    axes.scale_x(0, most)
    values = [y for _, points in lines for _, y in points]
    logarithmic(axes, min(values), max(values))
    for power in range(0, int(most + 1e-9) + 1):
        axes.mark_x(power, "0 %" if power == 0 else f"{100 * (1 - 10.0**-power):.6g} %")
    axes.names("percentile", "µs")
    for label, points in lines:
        axes.path(label, [(x, math.log10(y)) for x, y in points])
    axes.labels([(label, math.log10(points[-1][1])) for label, points in lines])
    return frame(280, title, axes.parts)


def by_count(title, lines, x_name, y_name):
    """Costs by a count on a logarithmic axis: lines of (label, [(count, summary)])."""
    axes = Axes(46, WIDTH - 82, 26, 240)
    counts = sorted({count for _, points in lines for count, _ in points})
    axes.scale_x(math.log10(counts[0]) - 0.1, math.log10(counts[-1]) + 0.1)
    places = ticks(max(found["max"] for _, points in lines for _, found in points))
    axes.scale_y(0, places[-1])
    for place in places:
        axes.mark_y(place, short(place))
    for count in counts:
        axes.mark_x(math.log10(count), digits(count))
    axes.names(x_name, y_name)
    for label, points in lines:
        for count, found in points:
            x = axes.x(math.log10(count))
            axes.parts.append(line(x, axes.y(found["min"]), x, axes.y(found["max"]), "whisker"))
        axes.path(label, [(math.log10(count), found["median"]) for count, found in points], has_dots=True)
    axes.labels([(label, points[-1][1]["median"]) for label, points in lines])
    return frame(280, title, axes.parts)


def over_time(title, samples, limit, label):
    """Bytes over time against a limit, in MiB."""
    axes = Axes(46, WIDTH - 82, 26, 240)
    mib = 1 << 20
    axes.scale_x(0, max(samples[-1][0], 1e-3))
    places = ticks(max(limit, max(used for _, used in samples)) / mib * 1.1)
    axes.scale_y(0, places[-1])
    for place in places:
        axes.mark_y(place, short(place))
    for place in ticks(samples[-1][0]):
        if place <= samples[-1][0]:
            axes.mark_x(place, short(place))
    axes.names("seconds", "MiB")
    axes.path(label, [(second, used / mib) for second, used in samples])
    axes.parts.append(line(axes.left, axes.y(limit / mib), axes.right, axes.y(limit / mib), "limit"))
    axes.labels([(label, samples[-1][1] / mib), ("limit", limit / mib)])
    return frame(280, title, axes.parts)
