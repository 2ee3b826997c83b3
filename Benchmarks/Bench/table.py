# SPDX-License-Identifier: Apache-2.0

"""Rates with CPU and memory: rows for the text table and for the report."""

# For each kind: the key, the head of its column, the unit.
COLUMNS = {
    "transfer": (("messages_per_second", "messages/s"), ("megabytes_per_second", "MB/s")),
    "latency": (("p50_us", "p50 µs"), ("p99_us", "p99 µs"), ("p99.9_us", "p99.9 µs")),
    "connect": (("connections_per_second", "connections/s"),),
    "idle": (("connector_bytes_each", "connector, bytes each"), ("listener_bytes_each", "listener, bytes each")),
    "beside": (
        ("classic_per_second", "classic/s"),
        ("quorum_per_second", "quorum/s"),
        ("receiver_per_second", "receiver/s"),
        ("sender_per_second", "sender/s"),
    ),
    "codec": (
        ("encode_ns", "encode ns"),
        ("decode_ns", "decode ns"),
        ("read_ns", "decode and read ns"),
        ("encoded_bytes", "bytes"),
    ),
}


def digits(value):
    """Returns a number with about four significant digits."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(found, scale=1.0):
    """Returns the median, with least and most if they differ."""
    if not found:
        return "–"
    median, least, most = (digits(found[key] * scale) for key in ("median", "min", "max"))
    return median if least == most else f"{median} ({least}–{most})"


def value(found, key):
    """Returns a value with its spread, unless the adjacent column shows the spread."""
    return digits(found["median"]) if found and key == "megabytes_per_second" else spread(found)


def resources(entry):
    """Returns the CPU of a message or connection at both ends, and the CPU seconds and peak memory of each process."""
    medians = entry["medians"]
    each = medians.get("cpu_us_per_message") or medians.get("cpu_us_per_connection")
    ends = ("sender", "receiver")
    seconds = [digits((medians.get(f"{end}_cpu_seconds") or {}).get("median")) for end in ends]
    peaks = [medians.get(f"{end}_peak_bytes") for end in ends]
    peaks = [digits(peak["max"] / (1 << 20)) if peak else "–" for peak in peaks]
    return [digits(each["median"]) if each else "–", " + ".join(seconds), " + ".join(peaks)]


HEADS = ["CPU µs each", "CPU s at each end", "peak MiB at each end"]


def of_kind(cases):
    """Returns heads and rows of the cases of one scenario, which are of one kind."""
    columns = COLUMNS[cases[0]["kind"]]
    heads = ["case", "program", *(head for _, head in columns), *HEADS, "count"]
    rows = []
    for case in cases:
        for entry in case["entries"]:
            values = [value(entry["medians"].get(key), key) for key, _ in columns]
            name = case["name"].replace("-", " ")
            rows.append([name, entry["label"], *values, *resources(entry), digits(entry["count"])])
    return heads, rows


def by_scenario(results):
    """Returns the cases of each scenario with own measurements."""
    found = {}
    for case in results["cases"]:
        if case["kind"] in COLUMNS:
            found.setdefault(case["scenario"], []).append(case)
    return found


def lines(results):
    """Returns the lines of the text table."""
    for scenario, cases in by_scenario(results).items():
        heads, rows = of_kind(cases)
        widths = [max(len(row[index]) for row in [heads, *rows]) for index in range(len(heads))]
        yield ""
        yield scenario
        for row in [heads, ["-" * width for width in widths], *rows]:
            cells = [cell.rjust(width) for cell, width in zip(row, widths)]
            cells[:2] = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
            yield "  " + "  ".join(cells).rstrip()
    if results["notes"]:
        yield ""
        yield from (f"note: {note}" for note in results["notes"])
