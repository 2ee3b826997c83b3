# SPDX-License-Identifier: Apache-2.0

"""The command line of dev/bench."""

import argparse
import json
import os
import resource
import signal
import sys

from Bench import brokers, contenders, goals, machine, picture, report, scenarios, table
from Bench.processes import Failure
from Bench.run import Context, Run

CERTIFICATES = ".build/bench-certs"


def options():
    parser = argparse.ArgumentParser(prog="dev/bench", add_help=False, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true")
    names = {"nargs": "+", "action": "extend", "default": [], "metavar": "NAME"}
    parser.add_argument("--scenario", choices=scenarios.SCENARIOS, **names)
    parser.add_argument("--contender", choices=contenders.ALL, **names)
    parser.add_argument("--program", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--out", default=".build/bench", metavar="DIR")
    parser.add_argument("--rounds", type=int, metavar="N")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--render", metavar="FILE")
    parser.add_argument("--picture", metavar="DIR")
    found = parser.parse_args()
    if found.rounds is None:
        found.rounds = 1 if found.quick else 5
    if found.rounds < 1:
        parser.error("--rounds takes 1 or more")
    return found


def show_list(cases):
    for name, (_, text) in scenarios.SCENARIOS.items():
        print(f"{name:12} {text}")
        for case in cases:
            if case.scenario == name:
                print(f"    {case.name:32} {', '.join(entry.label for entry in case.entries)}")


def measure(found, chosen, cases):
    """Runs all cases. Returns the contents of results.json; after a failure, it keeps the earlier measurements."""
    contenders.check(chosen.values())
    check_programs(cases)
    # Each idle connection needs a file descriptor.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = Context(chosen, found.rounds, found.quick)
    context.server_files = (f"{CERTIFICATES}/server.pem", f"{CERTIFICATES}/server.key")
    context.authority = f"{CERTIFICATES}/ca.pem"
    settings = {"quick": found.quick, "rounds": found.rounds, "scenarios": found.scenario or list(scenarios.SCENARIOS)}
    described = machine.describe()
    run = Run(context, cases)
    try:
        run.all()
    except BaseException:
        run.end_progress()
        save(found.out, {"options": settings, "machine": described, "is_complete": False} | run.results())
        raise
    run.end_progress()
    described["load_after"] = machine.load()
    return {"options": settings, "machine": described, "is_complete": True} | run.results()


def check_programs(cases):
    """Throws if a program that is not a contender does not exist."""
    needed = {brokers.PROGRAMS[entry.broker][1] for case in cases for entry in case.entries if entry.broker}
    if any(case.kind in scenarios.OF_FLOW for case in cases):
        needed |= {contenders.FLOW, f"{contenders.PEERS}/alarms"}
    for path in sorted(needed):
        if not os.path.exists(path):
            raise Failure(f"{path} does not exist: omit --no-build, or name other scenarios with --scenario")


def save(folder, results):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "results.json"), "w") as file:
        json.dump(results, file, indent=1)
        file.write("\n")


def show(folder, results):
    """Prints the figures and the table, and writes the report. Returns the figures."""
    figures = goals.collect(results)
    for figure in figures:
        print(figure)
    for line in table.lines(results):
        print(line)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "report.html")
    with open(path, "w") as file:
        file.write(report.page(results, figures))
    print(f"\nbench: {path}", file=sys.stderr)
    return figures


def main():
    found = options()
    # An end by a signal also ends the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if found.render:
        with open(found.render) as file:
            results = json.load(file)
    else:
        chosen = contenders.choose(found.contender or list(contenders.ALL), found.program)
        cases = list(scenarios.cases(found.scenario, chosen))
        if found.list:
            show_list(cases)
            return 0
        if not cases:
            raise Failure("there is nothing to measure: see --list")
        results = measure(found, chosen, cases)
        save(found.out, results)
    figures = show(found.out, results)
    if found.picture and not picture.save(found.picture, results):
        raise Failure("there is nothing to draw: measure the scenario throughput")
    short = [figure for figure in figures if figure.is_met is False]
    if found.check and short:
        print(f"bench: short of their goals: {len(short)}", file=sys.stderr)
        return 1
    return 0


try:
    sys.exit(main())
except Failure as failure:
    print(f"bench: {failure}", file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    sys.exit(130)
