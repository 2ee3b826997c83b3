# SPDX-License-Identifier: Apache-2.0

"""The measurements of the program `flow` of Benchmarks, whose lines are printed unchanged."""

import re

from Bench.contenders import FLOW
from Bench.processes import Children, Failure

LINE = re.compile(r"^(\S+) (\S+) (-?[\d.]+)(\S*?)(?: goal ([<>]=)([\d.]+)\S* (ok|short))?$")
SAMPLE = re.compile(r"^(\S+) sample ([\d.]+)s (\d+)$")


def priority(context, rounds, is_quick):
    seconds = 0.5 if is_quick else 3
    options = ["--rounds", rounds, "--seconds", seconds]
    return run(["priority", "--alarms-only", *options], rounds * (4 * seconds + 30) + 60)


def never_reads(context, rounds, is_quick):
    return run(["never-reads", "--bytes", 100_000_000 if is_quick else 5_000_000_000], 240)


def run(arguments, limit):
    with Children(limit) as children:
        child = children.start([FLOW, *arguments])
        # Code 1 means that a goal is short, which the lines report too.
        if not children.await_end([child], children.deadline):
            children.late([child])
        found = parse(child.read("out"))
        if child.code not in (0, 1) or not found["lines"]:
            raise Failure(f"{child.command}\nexited with {child.code}: {child.error or child.read('out').strip()}")
        return found | {"command": child.command, "cpu_seconds": child.cpu}


def parse(text):
    """Returns the figures and samples among the lines of a text."""
    lines, samples = [], []
    for line in text.splitlines():
        if found := SAMPLE.match(line):
            samples.append([float(found[2]), int(found[3])])
        elif found := LINE.match(line):
            scenario, figure, value, unit, relation, goal, verdict = found.groups()
            entry = {"scenario": scenario, "figure": figure, "value": float(value), "unit": unit, "line": line}
            if verdict:
                entry |= {"relation": relation, "goal": float(goal), "is_met": verdict == "ok"}
            lines.append(entry)
    return {"lines": lines, "samples": samples}
