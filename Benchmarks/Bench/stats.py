# SPDX-License-Identifier: Apache-2.0

"""Medians, spreads, and merged curves of several rounds."""

import math
import statistics


def summary(values):
    """Returns the median, least and most of the values; None without values."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summaries(rows):
    """Returns the summary of each key of some rows."""
    keys = dict.fromkeys(key for row in rows for key in row)
    found = {key: summary([row.get(key) for row in rows]) for key in keys}
    return {key: value for key, value in found.items() if value}


def two_digits(number):
    """Returns a rounded count with two digits, not above the number, at least 1."""
    number = max(1, int(number))
    unit = 10 ** max(0, len(str(number)) - 2)
    return number // unit * unit


def at_percentile(curve, percentile):
    """Returns the value at a percentile of a rising curve of [percentile, value]."""
    for place, value in curve:
        if place >= percentile - 1e-9:
            return value
    return curve[-1][1]


def merge_curves(curves, count):
    """Returns the medians of several curves, at even steps of log10(1 / (1 - p)), up to 99.99 and the resolution of the
    count."""
    curves = [sorted(curve) for curve in curves if curve]
    if not curves:
        return []
    steps = int(10 * math.log10(min(max(count, 10), 10_000)))
    percentiles = [100 * (1 - 10 ** (-step / 10)) for step in range(steps + 1)]
    return [
        [round(percentile, 6), statistics.median(at_percentile(curve, percentile) for curve in curves)]
        for percentile in percentiles
    ]
