# SPDX-License-Identifier: Apache-2.0

"""The parts of the scenarios of dev/chaos: processes, a broker, a cluster, and the account of a run."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from bisect import bisect_right

MIB = 1 << 20


class Failure(Exception):
    pass


def say(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


def now():
    return time.monotonic_ns()


def call(*command, check=True):
    """Runs a command to its end, and returns its output. A Ctrl-C at the terminal does not reach the command."""
    done = subprocess.run(
        [str(part) for part in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True)
    if check and done.returncode:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise Failure(f"{' '.join(map(str, command[:4]))} ended with {done.returncode}: {' '.join(words)}")
    return done.stdout


class Part:
    """A process of the program chaos. It ends with its standard input, and at the latest with the run."""

    def __init__(self, program, *arguments, output=None):
        self.name = arguments[0]
        self.lines, self.changed = [], threading.Condition()
        self.process = subprocess.Popen(
            [str(part) for part in (program, *arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=output or subprocess.PIPE, text=True, start_new_session=True)
        self.errors = []
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=lambda: self.errors.extend(self.process.stderr or []), daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                # Only the last line of progress matters.
                if self.lines and self.lines[-1].startswith("progress") and line.startswith("progress"):
                    self.lines.pop()
                self.lines.append(line.strip())
                self.changed.notify_all()
        with self.changed:
            self.lines.append("end of the output")
            self.changed.notify_all()

    def tell(self, command):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failure(f"{self.name} has ended: {error}; {''.join(self.errors)[-500:]}") from error

    def wait(self, head, limit):
        """Waits for a line that begins with `head`, and returns the line."""
        def found():
            return next((line for line in self.lines if line.startswith((head, "end of the output"))), None)

        with self.changed:
            self.changed.wait_for(found, limit)
            line = found()
        if line is None or not line.startswith(head):
            raise Failure(f"{self.name} printed no '{head}' within {limit:.0f} s: {''.join(self.errors)[-500:]}")
        return line

    @property
    def has_ended(self):
        """Whether the process has finished or failed."""
        return self.process.poll() is not None or "finished" in self.lines

    @property
    def progress(self):
        """The number of submitted messages, the losses, and a text for both."""
        with self.changed:
            line = next((line for line in reversed(self.lines) if line.startswith("progress")), "progress 0 0 -")
        _, handed, losses, text = line.split(" ", 3)
        return int(handed), int(losses), text

    def end(self, limit=20):
        if self.process.poll() is not None:
            return
        for step in (self.process.stdin.close, self.process.terminate, self.process.kill):
            try:
                step()
                self.process.wait(limit)
                return
            except (OSError, subprocess.TimeoutExpired):
                continue


class Dropping:
    """Drops one of `part` packets from and to a port in the kernel. The network namespace belongs to this run alone."""

    def __init__(self, port, part):
        chance = f"numgen random mod {part} 0 " if part > 1 else ""
        self.commands = ["add table inet chaos", "add chain inet chaos output { type filter hook output priority 0; }"]
        self.commands += [f"add rule inet chaos output tcp {side} {port} {chance}drop" for side in ("dport", "sport")]

    def __enter__(self):
        call("/usr/sbin/nft", "\n".join(self.commands))

    def __exit__(self, *_):
        call("/usr/sbin/nft", "delete table inet chaos")


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return True
    except OSError:
        return False


class Broker:
    """A RabbitMQ 4 of dev/rabbitmq."""

    def __init__(self, port):
        self.port = port
        self.url = f"amqp://guest:guest@127.0.0.1:{port}"

    def run(self, *action, check=True):
        return call("dev/rabbitmq", "--port", self.port, *action, check=check)

    def ctl(self, *arguments):
        return self.run("ctl", "-q", *arguments)

    @property
    def pid(self):
        found = re.search(r" pid (\d+)", self.run("status", check=False))
        return int(found[1]) if found else None

    def kill(self):
        self.run("stop", "--kill")

    def start(self):
        """Starts the broker, and returns the time at which it listened."""
        starting = subprocess.Popen(
            ["dev/rabbitmq", "--port", str(self.port), "start"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True)
        back = None
        while starting.poll() is None:
            if back is None and answers(self.port):
                back = now()
            time.sleep(0.01)
        if starting.returncode:
            raise Failure(f"the broker does not start: {starting.stderr.read().decode()[-300:]}")
        return back or now()

    def signal(self, number):
        pid = self.pid
        if not pid:
            raise Failure("the broker does not run")
        try:
            os.kill(pid, number)
        except PermissionError:
            call("sudo", "kill", f"-{number}", pid)

    def thaw(self):
        if self.pid:
            self.signal(signal.SIGCONT)

    def depth(self, queue):
        for line in self.ctl("list_queues", "name", "messages").splitlines():
            name, _, count = line.partition("\t")
            if name == queue:
                return int(count)
        return None

    def drained(self, queue, limit=20):
        """Waits until the broker reports an empty queue: its figures are delayed."""
        end = time.monotonic() + limit
        while (depth := self.depth(queue)) != 0 and time.monotonic() < end:
            time.sleep(1)
        return depth


class Cluster:
    """Three brokers of dev/rabbitmq cluster."""

    def __init__(self, port):
        self.port = port
        self.brokers = [Broker(port + 2 * index) for index in range(3)]

    def run(self, *action, check=True):
        return call("dev/rabbitmq", "--port", self.port, "cluster", *action, check=check)

    def state(self, queue, beside=None):
        """Returns the broker that leads a queue, and the number of online members, from a broker other than `beside`."""
        asked = next(broker for broker in self.brokers if broker is not beside)
        for line in asked.ctl("list_queues", "name", "leader", "online").splitlines():
            name, leader, online = (line.split("\t") + ["", ""])[:3]
            if name == queue:
                leaders = [broker for broker in self.brokers if f"rabbit-{broker.port}@" in leader]
                return (leaders or [None])[0], online.count("rabbit-")
        return None, 0

    def wait_for_all(self, queue, limit=90):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            leader, online = self.state(queue)
            if leader and online == 3:
                return leader
            time.sleep(0.5)
        raise Failure(f"the queue {queue} has no leader and three members within {limit} s")


# The account of a run -------------------------------------------------------------------------------------------------


def table_lines(path):
    with open(path) as file:
        for line in file:
            if not line.startswith("#"):
                yield line.rstrip("\n").split("\t")


class Account:
    """The files that a load wrote."""

    def __init__(self, folder):
        self.folder = folder
        with open(f"{folder}/summary.json") as file:
            self.summary = json.load(file)
        self.settled = sorted(int(line[5]) for line in table_lines(f"{folder}/fates.tsv") if line[2] == "accepted")
        self.events = [(int(line[0]), *line[1:]) for line in table_lines(f"{folder}/events.tsv")]

    @property
    def reconnections(self):
        """The times at which connections opened, without the first."""
        return [event[0] for event in self.events if event[1] == "open"][1:]

    def first_after(self, moment):
        """Returns the milliseconds from a time to the next settlement."""
        index = bisect_right(self.settled, moment)
        return (self.settled[index] - moment) / 1e6 if index < len(self.settled) else None

    def longest_gap(self, moment, seconds=15):
        """Returns the longest time without a settlement, in milliseconds, after a time."""
        end = moment + int(seconds * 1e9)
        times = [time for time in self.settled if moment - 1_000_000_000 < time < end]
        return max(((after - before) / 1e6 for before, after in zip(times, times[1:]) if after > moment), default=None)


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))] if values else None
