# SPDX-License-Identifier: Apache-2.0

"""The counts and comparisons of dev/gates: see `dev/gates --help`."""

import argparse
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from Bench import gates_where, machine
from Bench.gates_count import C_CASES, CASES, COUNTS, allocations, c_count, count, messages, prepare, versions
from Bench.processes import Failure

FILE = "Benchmarks/Gates/figures.tsv"
# The allowed difference of a figure: counts repeat, but the optimizer can react to a small change.
TOLERANCES = {"allocations": "2%", "bytes": "5%", "instructions": "5%"}


@dataclass
class Gate:
    """A committed figure, for one message. The tolerance is in percent."""

    name: str
    value: float
    tolerance: str

    @property
    def margin(self):
        # The file stores two decimals.
        return max(self.value * float(self.tolerance.rstrip("%")) / 100, 0.02)

    def verdict(self, measured):
        if measured > self.value + self.margin:
            return "over"
        return "under" if measured < self.value - self.margin else "ok"

    def line(self, measured):
        ratio = f"{measured / self.value:.3f}" if self.value else "-"
        values = f"measured {number(measured)} committed {number(self.value)}"
        return f"{self.name} {values} ratio {ratio} {self.verdict(measured)}"


def number(value):
    return f"{value:.0f}" if value >= 1000 else f"{value:.2f}"


# The file ------------------------------------------------------------------------------------------------------------


def parse(text):
    """Returns the versions that the figures were taken with, and the figures by name."""
    taken = re.search(r"(?m)^# taken with (.*)$", text)
    rows = [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
    return taken.group(1) if taken else "", {row[0]: Gate(row[0], float(row[1]), row[2]) for row in rows}


def render(taken, gates):
    head = [
        "# What the library may do for one message: see dev/gates --help. Written by dev/gates --update.",
        "# Instructions are counted on the CPU that valgrind presents, which is the same on every CPU with AVX2.",
        f"# taken with {taken}",
        "# figure\tvalue\ttolerance",
    ]
    places = {name: place for place, name in enumerate(all_names())}
    rows = sorted(gates.values(), key=lambda gate: places.get(gate.name, len(places)))
    return "\n".join(head + [f"{gate.name}\t{number(gate.value)}\t{gate.tolerance}" for gate in rows]) + "\n"


def all_names():
    return [f"{case}.{kind}" for kind in COUNTS for case in CASES]


# The command line ----------------------------------------------------------------------------------------------------


def options():
    parser = argparse.ArgumentParser(prog="dev/gates", add_help=False, allow_abbrev=False)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--where", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--c", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def chosen(names):
    found = [name for name in all_names() if not names or any(part in name for part in names)]
    if not found:
        raise Failure(f"no figure's name contains {' or '.join(names)}: see --list")
    return found


def binding(versions):
    """Returns the versions that the figures depend on, except swift-nio: a change of its costs must fail the gate."""
    return [part for part in versions.split(", ") if not part.startswith("swift-nio ")]


def compare(names, gates, is_binding, measured):
    """Prints a line per figure. Returns whether all binding figures are within their tolerance."""
    wrong = {"over": [], "under": []}
    for name in names:
        gate = gates.get(name)
        if gate is None:
            print(f"{name} measured {number(measured[name])} not committed")
            wrong["under"].append(name)
            continue
        print(gate.line(measured[name]))
        if (verdict := gate.verdict(measured[name])) != "ok":
            wrong[verdict].append(name)
    if wrong["over"]:
        tell(f"over: {', '.join(wrong['over'])}: find the cause ('dev/gates --where' prints the allocating stacks),")
        tell("or, if the change is worth its cost, run 'dev/gates --update' and state the reason in the commit")
    if wrong["under"]:
        tell(f"better than committed, or new: {', '.join(wrong['under'])}: run 'dev/gates --update' to keep the gain")
    return not is_binding or not any(wrong.values())


def compare_with_c(measured):
    """Prints the ratio of the instructions to those of C on Proton's proactor, which is not binding."""
    for name, (case, _, _) in C_CASES.items():
        ours = measured.get(f"{case}.instructions")
        if ours is None:
            continue
        theirs = c_count(name)
        print(f"{case}.instructions measured {number(ours)} {name} {number(theirs)} ratio {ours / theirs:.2f}")


def tell(text):
    print(f"gates: {text}", file=sys.stderr)


def update(gates, names, measured):
    for name in names:
        tolerance = gates[name].tolerance if name in gates else TOLERANCES[name.split(".")[1]]
        gates[name] = Gate(name, measured[name], tolerance)
    with open(FILE, "w") as file:
        file.write(render(versions(), gates))
    tell(f"{len(names)} figures written to {FILE}: state the reason in the commit")


def main():
    found = options()
    taken, gates = parse(machine.text(FILE))
    if found.list:
        print(machine.text(FILE), end="")
        return 0
    names = chosen(found.names)
    prepare()
    if found.where:
        for case in dict.fromkeys(name.split(".")[0] for name in names):
            few = messages(case, "allocations")
            texts = [allocations(case, times * few, where=True) for times in (1, 2)]
            print("\n".join(gates_where.lines(case, *texts, few)))
        return 0
    present = versions()
    is_binding = binding(taken) == binding(present)
    if found.update and found.names and not is_binding:
        raise Failure(f"the other figures were taken with {taken}, and this is {present}: update them all")
    # Several at a time: the counts do not depend on other processes.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        measured = dict(zip(names, pool.map(count, names)))
    if found.update:
        update(gates, names, measured)
        return 0
    is_kept = compare(names, gates, is_binding, measured)
    if found.c:
        compare_with_c(measured)
    if taken != present:
        tell(f"the figures were taken with {taken}, and this is {present}")
    if not is_binding:
        tell("the figures are not binding here")
    return 0 if is_kept else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        tell(failure)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
