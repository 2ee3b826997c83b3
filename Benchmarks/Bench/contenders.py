# SPDX-License-Identifier: Apache-2.0

"""The contenders and the paths of their programs."""

import os
import shlex
from dataclasses import dataclass

from Bench.processes import Failure


@dataclass(frozen=True)
class Contender:
    name: str
    title: str
    command: tuple
    # The approximate speed relative to the fastest contender, by which the warm-up is shorter.
    pace: float = 1.0


PEERS = ".build/peers"
# Debian's Python, which has python3-qpid-proton.
PYTHON = "/usr/bin/python3"

ALL = {
    contender.name: contender
    for contender in (
        Contender("ours", "swift-qpid-proton", ("Benchmarks/.build/release/bench-peer",)),
        Contender("c-proactor", "C on pn_proactor, tuned", (f"{PEERS}/c-proactor",)),
        Contender("c-engine", "C on pn_connection_driver, no message encoding", (f"{PEERS}/c-engine",)),
        Contender("cpp", "Proton C++ (messaging_handler)", (f"{PEERS}/cpp",), 0.3),
        Contender("python", "Proton Python (MessagingHandler)", (PYTHON, "Benchmarks/Peers/proton_python.py"), 0.04),
    )
}

FLOW = "Benchmarks/.build/release/flow"


def choose(names, programs):
    """Returns the named contenders, some with another program: `NAME=COMMAND`."""
    chosen = {name: ALL[name] for name in ALL if name in names}
    for text in programs:
        name, separator, command = text.partition("=")
        if name not in ALL or not separator:
            raise Failure(f"--program takes NAME=COMMAND, with a NAME of {', '.join(ALL)}: {text}")
        if name in chosen:
            chosen[name] = Contender(name, ALL[name].title, tuple(shlex.split(command)), ALL[name].pace)
    return chosen


def check(contenders):
    """Throws if a program does not exist."""
    for contender in contenders:
        for path in contender.command:
            if "/" in path and not os.path.exists(path):
                raise Failure(f"{path} does not exist: omit --no-build, or name contenders with --contender")
