# SPDX-License-Identifier: Apache-2.0

"""The figures of each scenario, and the goals of some figures."""

from Bench.figures import Collector, Figure, median
from Bench.scenarios import PAIRS

HEADLINE = "unsettled-100B-credit-1000"
# The goals of the headline's rate relative to each rival's.
RATES = {"c-proactor": (">=", 1.0), "cpp": (">=", 2.0), "python": (">=", 20.0)}


def collect(results):
    """Returns all figures of a run, in the order of its scenarios."""
    collector = Collector(results)
    plain = (throughput, latency, receive, sent_from, connect, tls, idle, links, codec)
    for function in (*plain, broker, rabbitmq, taken_over):
        function(collector)
    return collector.figures


def throughput(found):
    for case in found.of("throughput"):
        name, size = case["name"], case["settings"]["size"]
        key, unit = ("megabytes_per_second", "MB/s") if size >= 1 << 20 else ("messages_per_second", "msg/s")
        for rival in found.rivals(case):
            goal = RATES.get(rival) if name == HEADLINE else None
            if size == 1 << 20 and rival == "c-proactor":
                goal = (">=", 1.0)
            if name == "presettled-100B-credit-1000" and rival == "c-engine":
                goal = (">=", 0.8)
            found.compare(case, name, key, unit, "ours", rival, goal)
        for rival in found.rivals(case):
            goal = ("<=", 1.2) if name == HEADLINE and rival == "c-proactor" else None
            found.compare(case, f"{name}-cpu-per-message", "cpu_us_per_message", "us", "ours", rival, goal)


def latency(found):
    for case in found.of("latency"):
        for key in ("p50", "p90", "p99", "p99.9", "max"):
            is_one_core = case["settings"].get("one_core")
            goal = ("<=", 1.2) if key in ("p50", "p99") and case["settings"]["depth"] == 1 else None
            on_loop = goal
            if is_one_core:
                goal, on_loop = (("<=", 2.4), ("<=", 1.6)) if key == "p50" else (None, None)
            name = f"{case['name']}-{key}"
            for rival in found.rivals(case):
                if rival != "ours-loop":
                    is_goal = rival == "c-proactor"
                    found.compare(case, name, f"{key}_us", "us", "ours", rival, goal if is_goal else None)
            found.compare(case, f"{name}-loop", f"{key}_us", "us", "ours-loop", "c-proactor", on_loop)


def receive(found):
    for case in found.of("receive"):
        for way in ("ours-each", "ours-batch", "ours-workers"):
            found.compare(case, way[5:], "messages_per_second", "msg/s", way, "c-proactor")
            found.compare(case, f"{way[5:]}-cpu-per-message", "cpu_us_per_message", "us", way, "c-proactor")


def sent_from(found):
    for case in found.of("from"):
        for place in ("ours-main", "ours-loop"):
            goal = (">=", 0.9) if place == "ours-main" else None
            found.compare(case, place[5:], "messages_per_second", "msg/s", place, "ours-detached", goal)
        found.compare(case, "loop", "messages_per_second", "msg/s", "ours-loop", "c-proactor")
        for place in ("ours-detached", "ours-main", "ours-loop"):
            name = f"{place[5:]}-cpu-per-message"
            found.compare(case, name, "cpu_us_per_message", "us", place, "c-proactor")


def connect(found):
    for case in found.of("connect"):
        for rival in found.rivals(case):
            found.compare(case, case["name"], "connections_per_second", "/s", "ours", rival)
        for rival in found.rivals(case):
            found.compare(case, f"{case['name']}-cpu-each", "cpu_us_per_connection", "us", "ours", rival)


def tls(found):
    for case in found.of("tls"):
        for rival in found.rivals(case):
            goal = (">=", 0.9) if rival == "c-proactor" else None
            found.compare(case, case["name"], "megabytes_per_second", "MB/s", "ours", rival, goal)
            found.compare(case, f"{case['name']}-cpu-per-message", "cpu_us_per_message", "us", "ours", rival)


def idle(found):
    for case in found.of("idle"):
        for end in ("connector", "listener"):
            key = f"{end}_bytes_each"
            ours = median(case, "ours", key)
            if ours is not None:
                goal = {"relation": "<=", "goal": 64.0, "is_absolute": True}
                found.figures.append(Figure("idle", f"{end}-each", "KiB", ours / 1024, **goal))
            for rival in found.rivals(case):
                value = median(case, rival, key)
                if ours is not None and value is not None:
                    found.add("idle", f"{end}-each", "KiB", ("ours", ours / 1024), (rival, value / 1024))


def links(found):
    """Adds the cost of a message with many links, relative to the cost with one link of the same program."""
    cases = {case["settings"]["links"]: case for case in found.of("links")}
    for label in ("ours", "c-proactor"):
        one = median(cases[1], label, "cpu_us_per_message") if 1 in cases else None
        for count in sorted(cases):
            value = median(cases[count], label, "cpu_us_per_message")
            if count > 1 and one is not None and value is not None:
                goal = ("<=", 1.2) if label == "ours" else None
                name = f"cpu-per-message-{count}-to-1"
                found.add("links", name, "us", (label, value), (f"{label}-1-link", one), goal)
    for count in sorted(cases):
        found.compare(cases[count], f"{count}", "messages_per_second", "msg/s", "ours", "c-proactor")


def codec(found):
    """Adds the speed-up: the goal is a ratio of speeds."""
    for case in found.of("codec"):
        for way in ("encode", "decode", "read"):
            goal = (">=", 2.0)
            found.compare(case, f"{case['name']}-{way}", f"{way}_ns", "ns", "ours", "c-proactor", goal, inverse=True)
        found.compare(case, f"{case['name']}-size", "encoded_bytes", "B", "ours", "c-proactor")


def broker(found):
    plain = "c-proactor-through-c"
    for case in found.of("broker"):
        for label in found.rivals(case, plain):
            found.compare(case, case["name"], "messages_per_second", "msg/s", label, plain)


def rabbitmq(found):
    """Adds the rate of a link beside another link, relative to its rate alone."""
    for case in found.of("rabbitmq"):
        for link in PAIRS[case["name"]]:
            key = f"{link}_per_second"
            found.compare(case, f"{case['name']}-{link}", key, "msg/s", "together", f"{link}-alone")


def taken_over(found):
    """Adds the lines of the program `flow` unchanged."""
    for scenario in ("priority", "buffered"):
        for case in found.of(scenario):
            for line in case["entries"][0]["said"]["lines"]:
                figure = Figure(
                    line["scenario"],
                    line["figure"],
                    line["unit"],
                    line["value"],
                    relation=line.get("relation", ""),
                    goal=line.get("goal"),
                    is_absolute=True,
                    line=line["line"],
                    said_met=line.get("is_met"),
                )
                found.figures.append(figure)
