# SPDX-License-Identifier: Apache-2.0

"""The brokers that relay messages."""

import atexit
import functools
import os
import re
import subprocess

from Bench.contenders import PEERS
from Bench.processes import Failure, NotSupported

OURS = "Benchmarks/.build/release/broker"
PROTON = f"{PEERS}/broker"
RABBITMQ = "dev/rabbitmq"
INSTALLED = ".build-rabbitmq/4/complete"


def ours(children):
    """Starts our example broker, which prints its address on stderr."""
    broker = children.start([OURS, "--listen", "127.0.0.1:0"])
    return broker, children.port(broker)


def proton(children):
    """Starts Proton's example broker in C, which prints its address on stdout: stdbuf(1) makes it flush the line."""
    broker = children.start(["stdbuf", "-oL", PROTON, "127.0.0.1", "0"])
    return broker, children.port(broker, "out")


def control_rabbitmq(port, *words):
    """Runs dev/rabbitmq, and returns its output."""
    command = [RABBITMQ, "--version", "4", "--port", str(port), *words]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    if found.returncode != 0:
        raise Failure(f"{' '.join(command)}\nexited with {found.returncode}: {found.stderr.strip()}")
    return found.stdout


@functools.cache
def rabbitmq():
    """Returns the port of a RabbitMQ 4, which starts once and stops at the end of this program."""
    if not os.path.exists(INSTALLED):
        raise NotSupported("RabbitMQ 4 is not installed: run dev/rabbitmq install")
    port = int(re.search(r"amqp://127\.0\.0\.1:(\d+)", control_rabbitmq(0, "start", "--fresh")).group(1))
    atexit.register(control_rabbitmq, port, "stop")
    return port


PROGRAMS = {"ours": (ours, OURS), "c": (proton, PROTON)}


def start(name, children):
    """Starts a broker with empty queues. Returns it and its port."""
    return PROGRAMS[name][0](children)
