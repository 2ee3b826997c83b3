# SPDX-License-Identifier: Apache-2.0

"""Compares the two files of a run of dev/chaos: see `dev/chaos --help`.

  chaos_compare.py FATES READ [--since NS]
  chaos_compare.py --self-test

FATES has a line for each submitted message: sender, number, fate, attempts, the time of its submission, and the time of
its fate. READ has a line for each message that another client read from the broker, in that order: sender and number. A
third column of 1 means that the broker had delivered the message before. Columns are separated by tabs, and lines that
begin with # are comments. --since NS counts as lost only messages that were submitted after that time, for a queue that
was deleted before.

The rules:
  each number of a sender has one fate, and the numbers have no gap
  lost        none: an accepted message is in READ
  unflagged   none: a message that is in READ twice has 2 attempts or more, or the broker had delivered it before
  too often   none: a message is not in READ more often than it was sent
  never sent  none: a message that was not sent is not in READ
  unknown     none: a message in READ was submitted
  disorder    none: the first arrivals of a sender have rising numbers
"""

import argparse
import json
import sys
from collections import Counter

FATES = ["accepted", "rejected", "released", "modified", "settled", "in-doubt", "not-sent", "aborted", "dropped", "expired"]
NEVER_SENT = {"not-sent", "dropped", "expired"}
MUST_BE_NONE = ["missing", "several", "lost", "unflagged", "too often", "never sent", "unknown", "disorder"]


def lines(path):
    with open(path) as file:
        for line in file:
            if not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


def compare(fates_lines, read_lines, since=0, ordered=True):
    """Returns the figures of a run, and an example of each violation."""
    fates, figures, examples = {}, Counter(), {}

    def violation(name, what):
        figures[name] += 1
        examples.setdefault(name, str(what))

    highest = {}
    for sender, number, fate, attempts, handed, *_ in fates_lines:
        key = (int(sender), int(number))
        if key in fates:
            violation("several", key)
        if fate not in FATES:
            violation("several", f"{key}: {fate}")
        fates[key] = (fate, int(attempts), int(handed))
        highest[key[0]] = max(highest.get(key[0], -1), key[1])
    for sender, last in highest.items():
        missing = last + 1 - sum(1 for key in fates if key[0] == sender)
        if missing:
            figures["missing"] += missing
            examples.setdefault("missing", f"sender {sender}: {missing} of {last + 1}")
    arrivals, redelivered, latest = Counter(), Counter(), {}
    for sender, number, *rest in read_lines:
        key = (int(sender), int(number))
        if key not in fates:
            violation("unknown", key)
            continue
        if rest and rest[0] == "1":
            redelivered[key] += 1
        elif ordered and not arrivals[key]:
            if key[1] < latest.get(key[0], -1):
                violation("disorder", f"{key} after {latest[key[0]]}")
            latest[key[0]] = max(latest.get(key[0], -1), key[1])
        arrivals[key] += 1
    for key, (fate, attempts, handed) in fates.items():
        figures[fate] += 1
        figures["flagged"] += attempts > 1
        count = arrivals[key]
        if fate == "accepted" and not count and handed >= since:
            violation("lost", key)
        if count and fate in NEVER_SENT and attempts < 1:
            violation("never sent", f"{key}: {fate}")
        # The broker delivered these again, so the message arrived there only once.
        sent = max(count - redelivered[key], min(count, 1))
        if sent > 1:
            figures["twice"] += 1
            if attempts < 2:
                violation("unflagged", key)
        if sent > max(attempts, 1):
            violation("too often", f"{key}: {sent} times with {attempts} attempts")
    figures["messages"] = len(fates)
    figures["read"] = sum(arrivals.values())
    figures["redelivered"] = sum(redelivered.values())
    return figures, examples


def violations(figures, examples):
    return [f"{figures[name]} {name}, for example {examples.get(name)}" for name in MUST_BE_NONE if figures[name]]


# The self-test --------------------------------------------------------------------------------------------------------

CASES = [
    # The lines of FATES, the lines of READ, and the expected violations.
    ("all well", ["0 0 accepted 1", "0 1 accepted 1"], ["0 0", "0 1"], []),
    ("twice and flagged", ["0 0 accepted 2", "0 1 accepted 1"], ["0 0", "0 0", "0 1"], []),
    ("a late double", ["0 0 accepted 2", "0 1 accepted 1"], ["0 0", "0 1", "0 0"], []),
    ("lost", ["0 0 accepted 1", "0 1 accepted 1"], ["0 1"], ["lost"]),
    ("in doubt may be missing", ["0 0 in-doubt 1", "0 1 rejected 1"], [], []),
    ("in doubt may be there", ["0 0 in-doubt 1"], ["0 0"], []),
    ("unflagged", ["0 0 accepted 1"], ["0 0", "0 0"], ["unflagged", "too often"]),
    ("too often", ["0 0 accepted 2"], ["0 0", "0 0", "0 0"], ["too often"]),
    ("never sent and there", ["0 0 not-sent 0"], ["0 0"], ["never sent"]),
    ("never sent", ["0 0 expired 0", "0 1 dropped 0"], [], []),
    ("unknown", ["0 0 accepted 1"], ["0 0", "0 7"], ["unknown"]),
    ("disorder", ["0 0 accepted 1", "0 1 accepted 1"], ["0 1", "0 0"], ["disorder"]),
    ("the order of each sender", ["0 0 accepted 1", "1 0 accepted 1", "0 1 accepted 1"], ["0 0", "0 1", "1 0"], []),
    ("a gap", ["0 0 accepted 1", "0 2 accepted 1"], ["0 0", "0 2"], ["missing"]),
    ("two fates", ["0 0 accepted 1", "0 0 released 1"], [], ["several"]),
    ("an unknown fate", ["0 0 forgotten 1"], [], ["several"]),
    ("delivered before", ["0 0 accepted 1"], ["0 0", "0 0 1"], []),
    ("delivered before, and lost", ["0 0 accepted 1", "0 1 accepted 1"], ["0 0", "0 0 1"], ["lost"]),
]


def self_test():
    for name, fates, read, expected in CASES:
        figures, examples = compare(
            [f"{line} 10 20".split(" ") for line in fates], [line.split(" ") for line in read])
        found = [name for name in MUST_BE_NONE if figures[name]]
        assert found == expected, f"{name}: found {found}, expected {expected}"
        assert len(violations(figures, examples)) == len(expected)
    figures, _ = compare([["0", "0", "accepted", "1", "10", "20"]], [], since=11)
    assert not figures["lost"], "messages before --since count as lost"
    print(f"{len(CASES) + 1} cases of chaos_compare passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fates", nargs="?")
    parser.add_argument("read", nargs="?")
    parser.add_argument("--since", type=int, default=0)
    parser.add_argument("--unordered", action="store_true", help="several consumers read the queue: do not check the order")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    if not options.read:
        parser.error("name two files, or --self-test")
    figures, examples = compare(lines(options.fates), lines(options.read), options.since, not options.unordered)
    print(json.dumps(dict(sorted(figures.items()))))
    for text in violations(figures, examples):
        print(f"violation: {text}")
    return 1 if violations(figures, examples) else 0


if __name__ == "__main__":
    sys.exit(main())
