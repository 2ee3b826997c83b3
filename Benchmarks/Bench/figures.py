# SPDX-License-Identifier: Apache-2.0

"""The figures of a run, with their goals."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    scenario: str
    name: str
    unit: str
    ours: float
    label: str = "ours"
    rival: float | None = None
    rival_label: str = ""
    # The ratio to the rival's value; the speed-up where less is better and the goal requires it.
    ratio: float | None = None
    relation: str = ""
    goal: float | None = None
    # Whether the goal is for the value itself, in its unit.
    is_absolute: bool = False
    # A line that another program printed.
    line: str = ""
    said_met: bool | None = None

    @property
    def is_met(self):
        if self.goal is None:
            return None
        if self.said_met is not None:
            return self.said_met
        value = self.ours if self.is_absolute else self.ratio
        return value >= self.goal if self.relation == ">=" else value <= self.goal

    @property
    def goal_text(self):
        if self.goal is None:
            return ""
        return f"{self.relation}{number(self.goal)}{self.unit if self.is_absolute else ''}"

    def __str__(self):
        if self.line:
            return self.line
        words = [self.scenario, self.name, self.label, number(self.ours) + self.unit]
        if self.rival is not None:
            words += [self.rival_label, number(self.rival) + self.unit, "ratio", f"{self.ratio:.3f}"]
        if self.goal is not None:
            words += ["goal", self.goal_text, "ok" if self.is_met else "short"]
        return " ".join(words)


def number(value):
    """Returns four significant digits, without an exponent."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}"


class Collector:
    def __init__(self, results):
        self.cases = results["cases"]
        self.figures = []

    def of(self, scenario):
        return [case for case in self.cases if case["scenario"] == scenario]

    def compare(self, case, name, key, unit, ours, rival, goal=None, inverse=False):
        """Adds a figure of ours with a rival's, if both were measured. The goal is (relation, value)."""
        ours_value, rival_value = median(case, ours, key), median(case, rival, key)
        if ours_value is None or rival_value is None:
            return
        self.add(case["scenario"], name, unit, (ours, ours_value), (rival, rival_value), goal, inverse)

    def add(self, scenario, name, unit, ours, rival, goal=None, inverse=False):
        (label, value), (rival_label, rival_value) = ours, rival
        over, under = (rival_value, value) if inverse else (value, rival_value)
        ratio = over / under if under else float("inf")
        relation, limit = goal or ("", None)
        values = (value, label, rival_value, rival_label, ratio)
        self.figures.append(Figure(scenario, name, unit, *values, relation, limit))

    def rivals(self, case, own="ours"):
        return [entry["label"] for entry in case["entries"] if entry["label"] != own]


def median(case, label, key):
    for entry in case["entries"]:
        if entry["label"] == label and key in entry.get("medians", {}):
            return entry["medians"][key]["median"]
    return None
