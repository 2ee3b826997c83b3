# SPDX-License-Identifier: Apache-2.0

"""The plots of the report."""

import math
from html import escape

from Bench.svg import WIDTH, Axes, frame, line, series, short, style, text, ticks
from Bench.table import digits, spread

ROW = 22
LABEL, VALUE = 92, 68


def bars(title, groups, unit, names=None):
    """Returns horizontal bars of medians with whiskers from least to most: groups of (head, [(label, summary)])."""
    names = names or {}
    most = max(found["max"] for _, rows in groups for _, found in rows)
    places = [place for place in ticks(most) if place <= most]
    # A bold letter is about 7.4 units wide.
    left = max(LABEL, max(len(names.get(label, label)) for _, rows in groups for label, _ in rows) * 7.4 + 12)
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
            name = names.get(label, label)
            body.append(text(left - 8, middle + 4, name, "own" if series(label) == 0 else "", "end"))
            tip = f"{name}: {spread(found)} {unit}"
            place = f'x="{left:.1f}" y="{y + 4}" width="{max(end - left, 1):.1f}" height="{ROW - 8}"'
            body.append(f'<rect {place} rx="2" class="{style(label)}"><title>{escape(tip)}</title></rect>')
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


def logarithmic(axes, least, most):
    """Marks a y axis with 1, 2 and 5 times the powers of ten around two values; with only the powers if they are many."""
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


def place(percentile, microseconds):
    return -math.log10(1 - percentile / 100), max(microseconds, 0.1)


def curves(title, lines):
    """Returns latency by percentile: lines of (label, [[percentile, microseconds]])."""
    axes = Axes(46, WIDTH - 82, 26, 240)
    lines = [(label, [place(*point) for point in curve if point[0] < 100]) for label, curve in lines]
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
    """Returns costs by a count on a logarithmic axis: lines of (label, [(count, summary)])."""
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
    """Returns bytes over time against a limit, in MiB."""
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
