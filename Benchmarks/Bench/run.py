# SPDX-License-Identifier: Apache-2.0

"""The rounds: the order of the programs, the number of messages, and the remaining time."""

import sys
import time
from dataclasses import dataclass, field

from Bench import flow, measure, scenarios, stats
from Bench.processes import Failure, NotSupported


@dataclass
class Context:
    contenders: dict
    rounds: int
    is_quick: bool
    server_files: tuple = ()
    authority: str = ""
    # Seconds until a process is killed. A measurement lasts at most 4 s; a busy machine may need more.
    limit: float = 60


@dataclass
class Series:
    """The measurements of one entry of a case."""

    case: scenarios.Case
    entry: scenarios.Entry
    count: int
    rows: list = field(default_factory=list)
    seconds: float = 2.0
    is_left_out: bool = False
    # The output of a program that repeats its measurements itself.
    said: dict | None = None


class Run:
    def __init__(self, context, cases):
        self.context = context
        self.cases = list(cases)
        self.notes = []
        turns = [(case, entry) for case in self.cases for entry in case.entries]
        self.series = [Series(case, entry, self.first_count(case, entry)) for case, entry in turns]
        self.started = time.monotonic()

    def first_count(self, case, entry):
        count = case.quick if self.context.is_quick else case.warm_up
        if case.seconds is None:
            return count
        return max(1, int(count * self.context.contenders[entry.contender].pace))

    def of(self, case):
        return [series for series in self.series if series.case is case and not series.is_left_out]

    def all(self):
        """Runs the warm-up, then the rounds, then the programs that repeat their measurements themselves."""
        turns = [case for case in self.cases if case.kind not in scenarios.OF_FLOW]
        if not self.context.is_quick:
            for number, case in enumerate(turns):
                left = (len(turns) - number) / max(1, len(turns)) + self.context.rounds
                for series in self.of(case):
                    self.progress("warm-up", series, self.total(turns) * left)
                    self.measure(series, None)
        for round in range(1, self.context.rounds + 1):
            for number, case in enumerate(turns):
                left = self.total(turns[number:]) + self.total(turns) * (self.context.rounds - round)
                in_turn = self.of(case)
                # Each round begins with another program.
                first = (round - 1) % max(1, len(in_turn))
                for series in in_turn[first:] + in_turn[:first]:
                    self.progress(f"round {round} of {self.context.rounds}", series, left)
                    self.measure(series, round)
                    left -= series.seconds
        for case in self.cases:
            if case.kind in scenarios.OF_FLOW:
                for series in self.of(case):
                    self.progress("its own rounds", series, 0)
                    series.said = getattr(flow, case.kind)(self.context, self.context.rounds, self.context.is_quick)

    def total(self, cases):
        return sum(series.seconds for case in cases for series in self.of(case))

    def measure(self, series, round):
        """Runs one measurement. The warm-up has no round, and determines the count of the others."""
        function = getattr(measure, series.case.kind)
        began = time.monotonic()
        try:
            values, ends = function(self.context, series.case, series.entry, series.count)
        except NotSupported as refusal:
            series.is_left_out = True
            self.notes.append(f"{series.case.title}: {series.entry.label} is skipped: {refusal}")
            return
        except Failure as failure:
            raise Failure(f"{series.case.title}: {series.entry.label} failed:\n{failure}") from None
        series.seconds = time.monotonic() - began
        if round is None:
            self.fit(series, values)
        else:
            series.rows.append({"round": round, "count": series.count, "values": values, "ends": ends})

    def fit(self, series, values):
        """Sets the count so that the next measurements last about as long as the case requires."""
        case = series.case
        if case.seconds is None:
            return
        if case.kind == "codec":
            rate = 1e9 / max(values["encode_ns"] + values["decode_ns"] + values["read_ns"], 1)
        else:
            rate = values.get("messages_per_second") or values.get("connections_per_second")
        # A briefly busy machine must not shorten all rounds, so the CPU time determines the possible rate.
        possible = 1e6 / values["cpu_us_per_message"] if values.get("cpu_us_per_message") else rate
        count = case.seconds * min(max(rate, possible), 4 * rate)
        # The count is at least the warm-up's, unless the program would then need more than 4 s.
        count = min(max(count, min(series.count, 4 * rate)), case.most)
        series.count = max(stats.two_digits(count), case.settings.get("links", 1))
        series.seconds = case.seconds + 0.2

    def progress(self, what, series, left):
        minutes, seconds = divmod(round(max(left, 0)), 60)
        time_left = f", {minutes}:{seconds:02} left" if left else ""
        text = f"{what}: {series.case.title}: {series.entry.label}{time_left}"
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def end_progress(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def results(self):
        """Returns the measurements for results.json."""
        cases = []
        for case in self.cases:
            entries = [self.entry(series) for series in self.of(case) if series.rows or series.said]
            if entries:
                names = {"scenario": case.scenario, "name": case.name, "kind": case.kind}
                cases.append(names | {"settings": case.settings, "entries": entries})
        return {"cases": cases, "notes": self.notes, "seconds": round(time.monotonic() - self.started, 1)}

    def entry(self, series):
        names = {"label": series.entry.label, "contender": series.entry.contender}
        if series.said:
            return names | {"said": series.said}
        summaries = stats.summaries([row["values"] for row in series.rows])
        found = names | {"count": series.count, "medians": summaries, "measurements": series.rows}
        if series.case.kind == "latency":
            curves = [row["ends"]["sender"].get("curve_us") for row in series.rows]
            found["curve_us"] = stats.merge_curves(curves, series.count)
        return found
