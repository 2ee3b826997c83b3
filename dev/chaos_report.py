"""The results of dev/chaos: a line for the terminal, and a row of a Markdown table."""

import os

HEAD = """| Scenario | Faults | Messages | Losses | Replayed | Flagged | Twice | Lost | In doubt | Median, p99 | Peak memory |
|---|---|---|---|---|---|---|---|---|---|---|
"""


class Row:
    """The figures of a run."""

    def __init__(self, run, summary, figures, median, late, peak):
        def milliseconds(value):
            return "-" if value is None else f"{value:,.0f} ms"

        other = {name: count for name, count in summary["fates"].items() if count and name not in ("accepted", "in-doubt")}
        fates = "".join(f", {count:,} {name}" for name, count in sorted(other.items()))
        notes = f"; {'; '.join(run.notes)}" if run.notes else ""
        verdict = "VIOLATED" if run.problems else "ok"
        what = "longest silence" if run.by_gap else "to the first settlement"
        self.line = (
            f"{run.name}: {verdict}: {run.faults} faults, {figures['messages']:,} messages in {summary['seconds']:.0f} s, "
            f"{summary['losses']} losses, {summary['linkLosses']} of links, {summary['replayed']:,} replayed, "
            f"{figures['flagged']:,} flagged, {figures['twice']:,} twice, {figures['lost']} lost, {figures['in-doubt']:,} in doubt"
            f"{fates}; {what} {milliseconds(median)}, {milliseconds(late)}; {peak:.0f} MiB{notes}")
        cells = [
            run.name, f"{run.faults:,}", f"{figures['messages']:,}", f"{summary['losses']:,}", f"{summary['replayed']:,}",
            f"{figures['flagged']:,}", f"{figures['twice']:,}", f"{figures['lost']:,}", f"{figures['in-doubt']:,}",
            f"{milliseconds(median)}, {milliseconds(late)}", f"{peak:.0f} MiB"]
        self.cells = f"| {' | '.join(cells)} |\n"


def append(path, row):
    is_new = not os.path.exists(path)
    with open(path, "a") as file:
        file.write((HEAD if is_new else "") + row.cells)
