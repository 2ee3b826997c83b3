# SPDX-License-Identifier: Apache-2.0

"""The sections of the report with plots."""

from html import escape

from Bench import markup, plots
from Bench.figures import median
from Bench.goals import HEADLINE
from Bench.scenarios import PAIRS
from Bench.svg import short

MIB = 1 << 20
SIZE_TEXTS = {"100B": "100 B", "1KiB": "1 KiB", "10KiB": "10 KiB", "1MiB": "1 MiB"}


def all(results):
    found = {}
    for case in results["cases"]:
        found.setdefault(case["scenario"], []).append(case)
    makers = (throughput, others, latency, priority, links, memory, codec, broker, rabbitmq, buffered)
    return [maker(found) for maker in makers]


def tiles(results):
    """Returns the four most important values, with those of C."""
    cases = {(case["scenario"], case["name"]): case for case in results["cases"]}
    wanted = (
        (("throughput", HEADLINE), "messages_per_second", "messages/s", "100 B, unsettled, credit 1000"),
        (("throughput", HEADLINE), "cpu_us_per_message", "µs of CPU", "a message of 100 B, both ends"),
        (("latency", "depth-1"), "p50_us", "µs", "round trip, median"),
        (("latency", "depth-1"), "p99_us", "µs", "round trip, 99th percentile"),
    )
    cells = []
    for place, key, unit, what in wanted:
        ours, plain = (median(cases[place], name, key) if place in cases else None for name in ("ours", "c-proactor"))
        if ours:
            beside = f"{ours / plain:.2f} × C ({short(plain)})" if plain else ""
            value = f'<span class="big">{short(ours)}</span> {unit}'
            cells.append(f"<li><div>{value}</div><div>{escape(what)}</div><div class=soft>{beside}</div></li>")
    return f'<ul class="tiles">{"".join(cells)}</ul>' if cells else ""


def section(head, words, figures):
    figures = [figure for figure in figures if figure]
    if not figures:
        return ""
    return markup.section(head, f"<p>{escape(words)}</p>", '<div class="plots">', *figures, "</div>")


def figure(head, svg, caption=""):
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{escape(head)}</h3>{svg}{below}</figure>"


def rows(case, key, scale=1.0):
    """Returns the labels and scaled summaries of the entries that have a value."""
    for entry in case["entries"]:
        found = entry["medians"].get(key)
        if found:
            yield entry["label"], {name: value * scale for name, value in found.items()}


def bars(head, cases, key, unit, scale=1.0, caption=""):
    """Returns a figure of bars: cases are (head of the group, case)."""
    groups = [(name, list(rows(case, key, scale))) for name, case in cases]
    groups = [group for group in groups if group[1]]
    return figure(head, plots.bars(head, groups, unit), caption) if groups else ""


def rate(is_in_bytes):
    """Returns the key, the unit and the scale of a rate."""
    return ("megabytes_per_second", "GB/s", 0.001) if is_in_bytes else ("messages_per_second", "messages/s")


def throughput(found):
    figures = []
    panels = {}
    for case in found.get("throughput", []):
        settlement, size, _, credit = case["name"].split("-")
        panels.setdefault((settlement, size), []).append((f"credit {credit}", case))
    for (settlement, size), cases in panels.items():
        figures.append(bars(f"{SIZE_TEXTS[size]}, {settlement}", cases, *rate(size == "1MiB")))
    words = (
        "One link, messages with one application property and a body of the size named. Unsettled: until all have been "
        "accepted and settled. Presettled: until all have arrived. The rate is that of the slower end."
    )
    return section("Throughput", words, figures)


def others(found):
    names = (("receive", "Ways to receive"), ("from", "Ways to send"), ("tls", "With TLS"))
    figures = []
    for scenario, head in names:
        for case in found.get(scenario, []):
            settlement, size, _, credit = case["name"].split("-")
            what = f"{SIZE_TEXTS[size]}, {settlement}, credit {credit}"
            figures.append(bars(head, [(what, case)], *rate(scenario == "tls")))
    connect = [("plain" if case["name"] == "plain" else "TLS", case) for case in found.get("connect", [])]
    figures.append(bars("Connections opened and closed", connect, "connections_per_second", "connections/s"))
    headline = [("", case) for case in found.get("throughput", []) if case["name"] == HEADLINE]
    caption = "100 B, unsettled, credit 1000: user and system time of sender and receiver together."
    figures.insert(0, bars("CPU of a message", headline, "cpu_us_per_message", "µs of CPU", caption=caption))
    words = (
        "Each, batch and workers are our receiver with a loop over deliveries, in batches and with 64 handlers; "
        "detached and main our sender on a detached task and on the main actor, loop both ends on their event loops."
    )
    return section("CPU, ways of use, connections", words, figures)


def latency(found):
    figures = []
    for case in found.get("latency", []):
        lines = [(entry["label"], entry["curve_us"]) for entry in case["entries"] if entry.get("curve_us")]
        depth = case["settings"]["depth"]
        head = f"{depth} message{'s' if depth > 1 else ''} at a time"
        if case["settings"].get("one_core"):
            head += ", both ends on one core"
        if lines:
            figures.append(figure(head, plots.curves(head, lines)))
        else:
            figures.append(bars(head, [("99th percentile", case)], "p99_us", "µs"))
    words = "From the call that sends a message of 100 B to its settlement. Both axes are logarithmic; lower is better."
    return section("Latency", words, figures)


def priority(found):
    """Returns the medians that the program printed, by the place of the urgent messages."""
    figures = []
    names = {"lanes": "ours-lanes", "equal": "ours-equal", "fifo": "ours-fifo", "plain": "plain C"}
    for case in found.get("priority", []):
        values = {line["figure"]: line["value"] for line in case["entries"][0]["said"]["lines"]}
        for key, head in (("p50", "Median"), ("p99", "99th percentile")):
            told = [(label, values[f"{name}-{key}"]) for name, label in names.items() if f"{name}-{key}" in values]
            groups = [("", [(label, dict.fromkeys(("median", "min", "max"), value)) for label, value in told])]
            if told:
                figures.append(figure(head, plots.bars(head, groups, "ms, less is better")))
    words = (
        "200 messages of 100 B a second while messages of 1 MiB saturate the connection: with a higher priority "
        "(lanes), with the same (equal), on the very link of the bulk (fifo), and from a plain program on Proton-C."
    )
    return section("Urgent messages beside bulk", words, figures)


def links(found):
    lines = {}
    for case in found.get("links", []):
        for label, summary in rows(case, "cpu_us_per_message"):
            lines.setdefault(label, []).append((case["settings"]["links"], summary))
    if not lines:
        return ""
    head = "CPU of a message by the number of links"
    plot = plots.by_count(head, list(lines.items()), "links of the connection", "µs of CPU, both ends")
    rates = [(f"{case['name']} link{'s' if case['name'] != '1' else ''}", case) for case in found["links"]]
    words = "Messages of 100 B go to the links in turn, unsettled, with credit 1000 for each link."
    by_rate = bars("Rate by the number of links", rates, *rate(False))
    return section("Many links", words, [figure(head, plot), by_rate])


def memory(found):
    figures = []
    for case in found.get("idle", []):
        for end in ("connector", "listener"):
            head = f"Memory of an idle connection, {end}"
            figures.append(bars(head, [("", case)], f"{end}_bytes_each", "KiB", 1 / 1024))
    for case in found.get("throughput", []):
        if case["name"] == HEADLINE:
            for end in ("sender", "receiver"):
                caption = "100 B, unsettled, credit 1000: the peak of resident memory, as the program reports it."
                figures.append(bars(f"Peak memory, {end}", [("", case)], f"{end}_peak_bytes", "MiB", 1 / MIB, caption))
    words = "The growth of resident memory with all idle connections open, divided by their number."
    return section("Memory", words, figures)


def codec(found):
    figures = []
    heads = {"message": "A message with properties and 1 KiB", "map": "A map of 100 entries"}
    for case in found.get("codec", []):
        groups = [(way, list(rows(case, f"{way}_ns", 1 / 1000))) for way in ("encode", "decode", "read")]
        figures.append(figure(heads[case["name"]], plots.bars(heads[case["name"]], groups, "µs, less is better")))
    return section("Codec alone", "No network: encoding; decoding; decoding and reading every value into the language's own types.", figures)


def broker(found):
    cases = [(case["name"].replace("-", " "), case) for case in found.get("broker", [])]
    figures = [bars("Rate from sender to receiver", cases, "messages_per_second", "messages/s")] if cases else []
    words = "Our example broker and Proton's, each with both programs."
    return section("Through a broker", words, figures)


def rabbitmq(found):
    figures = []
    for case in found.get("rabbitmq", []):
        groups = []
        for link in PAIRS[case["name"]]:
            told = list(rows(case, f"{link}_per_second"))
            groups.append((link, [(label.replace(f"{link}-", ""), summary) for label, summary in told]))
        head = case["name"].replace("-", " ")
        figures.append(figure(head, plots.bars(head, groups, "messages/s")))
    words = (
        "Two links of one session: senders to a classic and to a quorum queue; a receiver from a full queue and a "
        "sender in batches of 10,000. Each link alone, and both together."
    )
    return section("RabbitMQ 4", words, figures)


def buffered(found):
    """Returns the section, if the program printed samples."""
    for case in found.get("buffered", []):
        said = case["entries"][0]["said"]
        limit = next((line["goal"] for line in said["lines"] if line["figure"] == "ledger-peak"), None)
        if said["samples"] and limit:
            head = "Bytes buffered for a peer that never reads"
            plot = plots.over_time(head, said["samples"], limit * MIB, "buffered")
            words = "The bytes that the session holds while gigabytes are offered to a peer that does not read its socket."
            return section("Bounded memory", words, [figure(head, plot)])
    return ""
