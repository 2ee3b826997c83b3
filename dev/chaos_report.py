# SPDX-License-Identifier: Apache-2.0

"""The results of dev/chaos: a line for the terminal, and a row of a Markdown table."""

import os

HEAD = """| Scenario | Faults | Messages | Losses | Replayed | Flagged | In doubt | Lost | Twice | Not flagged | Median | p99 | Memory |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
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
        losses = summary["losses"] + summary["linkLosses"]
        again = f", {figures['redelivered']:,} delivered again by the broker" if figures["redelivered"] else ""
        self.line = (
            f"{run.name}: {verdict}: {run.faults} faults, {figures['messages']:,} messages in {summary['seconds']:.0f} s, "
            f"{summary['losses']} losses, {summary['linkLosses']} of links, {summary['replayed']:,} replayed, "
            f"{figures['flagged']:,} flagged, {figures['in-doubt']:,} in doubt, {figures['lost']} lost, "
            f"{figures['twice']:,} twice, {figures['unflagged']} of them not flagged{again}"
            f"{fates}; {what} {milliseconds(median)}, {milliseconds(late)}; {peak:.0f} MiB{notes}")
        cells = [
            run.name, f"{run.faults:,}", f"{figures['messages']:,}", f"{losses:,}", f"{summary['replayed']:,}",
            f"{figures['flagged']:,}", f"{figures['in-doubt']:,}", f"{figures['lost']:,}", f"{figures['twice']:,}",
            f"{figures['unflagged']:,}", milliseconds(median), milliseconds(late), f"{peak:.0f} MiB"]
        self.cells = f"| {' | '.join(cells)} |\n"


def write(folder, names, row, path):
    """Writes the row of a run into its folder, and the table with the newest run of each scenario."""
    with open(f"{path}/row.md", "w") as file:
        file.write(row.cells)
    with open(f"{path}/line.txt", "w") as file:
        file.write(row.line + "\n")
    with open(f"{folder}/table.md", "w") as table:
        table.write(HEAD)
        for name in names:
            if os.path.exists(f"{folder}/{name}/row.md"):
                with open(f"{folder}/{name}/row.md") as file:
                    table.write(file.read())
