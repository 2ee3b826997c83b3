# SPDX-License-Identifier: Apache-2.0

"""The counts of dev/gates: allocations and instructions of the program `gates`, for one message."""

import json
import os
import platform
import re
import subprocess
import tempfile

from Bench import machine
from Bench.processes import Failure

SOURCE = "Benchmarks/Gates/allocations.c"
PROGRAM = "Benchmarks/.build/release/gates"
FOLDER = ".build/gates"
LIBRARY = f"{FOLDER}/allocations.so"
# Valgrind 3.19 cannot read the debugging data of Swift 6.3.
STRIPPED = f"{FOLDER}/gates"

SENDING = ("send-each", "send-enqueue", "send-settled", "send-try", "send-batch", "send-links", "send-large")
SENDING += ("send-stream",)
RECEIVING = ("receive-each", "receive-alone", "receive-batch", "receive-links", "receive-large", "receive-stream")
CODEC = ("encode-message", "decode-message", "read-message", "encode-map", "decode-map", "read-map")
CASES = SENDING + RECEIVING + ("connect",) + CODEC
# The messages of the smaller of two runs. Counting allocations does not slow down the program; callgrind does.
COUNTS = {"allocations": 12_800, "bytes": 12_800, "instructions": 3_200}
# The number of connections, each of which costs as much as a hundred messages.
FEWER = {"connect": 10}

# Random hash seeds would change the order of entries, and therefore the counts.
ENVIRONMENT = {"SWIFT_DETERMINISTIC_HASHING": "1", "LC_ALL": "C"}


def versions():
    """Returns the versions that the counts depend on besides the library."""
    try:
        with open("Benchmarks/Package.resolved") as file:
            pins = {pin["identity"]: pin["state"].get("version", "?") for pin in json.load(file)["pins"]}
    except OSError:
        pins = {}
    avx2 = " with AVX2" if re.search(r"(?m)^flags\s*:.*\bavx2\b", machine.text("/proc/cpuinfo")) else ""
    swift = machine.first(r"Swift version (\S+)", machine.output("swift", "--version"))
    library = " ".join(platform.libc_ver())
    return ", ".join(
        [f"Swift {swift}", f"swift-nio {pins.get('swift-nio', '?')}", f"Proton {machine.proton()}"]
        + [library, machine.output("valgrind", "--version").strip(), platform.machine() + avx2]
    )


def prepare():
    if not os.path.exists(PROGRAM):
        raise Failure(f"{PROGRAM} does not exist: omit --no-build")
    os.makedirs(FOLDER, exist_ok=True)
    command("gcc", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-o", LIBRARY, SOURCE)
    command("strip", "-o", STRIPPED, PROGRAM)


def command(*arguments, **variables):
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        env=os.environ | ENVIRONMENT | variables,
    )
    if done.returncode != 0:
        raise Failure(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stderr


def allocations(case, count, *, where=False):
    """Returns the text that the counting library writes."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as file:
        variables = {"LD_PRELOAD": os.path.abspath(LIBRARY), "ALLOCATIONS": file.name}
        if where:
            variables["ALLOCATIONS_WHERE"] = "1"
        command(PROGRAM, case, "--count", str(count), **variables)
        return file.read()


def instructions(case, count):
    told = command(
        *("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"),
        *(STRIPPED, case, "--count", str(count)),
    )
    found = re.search(r"Collected\s*:\s*(\d+)", told)
    if not found:
        raise Failure(f"callgrind printed no count of {case}:\n{told.strip()}")
    return int(found.group(1))


# C, for comparison -----------------------------------------------------------------------------------------------

C_PROGRAM = ".build/peers/c-proactor"
# For each figure of C: the side that is counted, and the number of unsettled messages at a time.
C_CASES = {
    "c-send": ("send-enqueue", "sender", 1000),
    "c-receive": ("receive-each", "receiver", 1000),
    "c-send-alone": ("send-each", "sender", 1),
    "c-receive-alone": ("receive-alone", "receiver", 1),
}
C_COUNT = 4_000


def c_instructions(side, depth, messages):
    """Returns the instructions of one side of C on Proton's proactor, over loopback."""
    counted = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", C_PROGRAM)
    plain = ("timeout", "120", C_PROGRAM)
    receiver, sender = (counted, plain) if side == "receiver" else (plain, counted)
    receiving = [*receiver, "receiver", "--port", "0", "--credit", "1000", "--count", str(messages)]
    with subprocess.Popen(receiving, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as listening:
        try:
            port = next(found.group(1) for line in listening.stderr if (found := re.match(r"listening (\d+)", line)))
            what = ["latency", "--depth", "1"] if depth == 1 else ["sender"]
            told = command(*sender, *what, "--port", port, "--size", "100", "--count", str(messages))
            told = listening.communicate(timeout=120)[1] if side == "receiver" else told
        finally:
            if listening.poll() is None:
                listening.kill()
    found = re.search(r"Collected\s*:\s*(\d+)", told)
    if not found:
        raise Failure(f"callgrind printed no count of {C_PROGRAM}:\n{told.strip()}")
    return int(found.group(1))


def c_count(name):
    """Returns the instructions of a message in C, from the difference of two runs."""
    _, side, depth = C_CASES[name]
    counts = [c_instructions(side, depth, times * C_COUNT) for times in (1, 3)]
    return (counts[1] - counts[0]) / (2 * C_COUNT)


def messages(case, kind):
    """Returns the number of messages of the smaller run, a multiple of 64."""
    return COUNTS[kind] // FEWER.get(case, 1) // 64 * 64


def count(name):
    """Returns a figure, from the difference of two runs."""
    case, kind = name.split(".")
    few = messages(case, kind)
    if kind == "instructions":
        counts = [instructions(case, few), instructions(case, 2 * few)]
    else:
        totals = [machine.first(r"total (\d+ \d+)", allocations(case, times * few)).split() for times in (1, 2)]
        counts = [int(total[kind == "bytes"]) for total in totals]
    return (counts[1] - counts[0]) / few
