# SPDX-License-Identifier: Apache-2.0

"""The common parts of dev/flow-check: the processes of a run, and its figures."""

import datetime
import json
import os
import re
import subprocess
import tempfile
import time

SENDER, RECEIVER, BROKER = ".build/release/sender", ".build/release/receiver", ".build/release/broker"
YARDSTICK, PROXY = ".build/peers/c-proactor", ".build/peers/delay-proxy"

RATE = 25_000_000  # bytes a second
DELAY = 25  # milliseconds, one way
# The bytes that frames and sections add to a small message of the sender.
OVERHEAD = 46
MIB = 1 << 20


class Failure(Exception):
    pass


class Children:
    """The processes of one run. The end of the run ends those that still run, and no other process."""

    def __init__(self, limit):
        self.deadline = time.monotonic() + limit
        self.folder = tempfile.TemporaryDirectory(prefix="flow-check-")
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        running = [process for process in self.processes if process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.folder.cleanup()

    def path(self, process, name):
        return os.path.join(self.folder.name, f"{process.number}-{name}")

    def start(self, *command, stdin=subprocess.DEVNULL, stdout=None, pass_fds=()):
        """Starts a process. Without `stdout`, a file receives its output."""
        number = len(self.processes)
        base = os.path.join(self.folder.name, str(number))
        with open(base + "-err", "wb") as errors, open(base + "-out", "wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=stdin,
                stdout=output if stdout is None else stdout,
                stderr=errors,
                pass_fds=pass_fds,
            )
        process.number = number
        process.name = os.path.basename(command[0])
        self.processes.append(process)
        return process

    def read(self, process, name):
        with open(self.path(process, name), errors="replace") as file:
            return file.read()

    def port(self, process):
        """Returns the port that a process prints on stderr when it listens."""
        while time.monotonic() < self.deadline:
            found = re.search(r"listening (?:on )?(?:\S*:)?(\d+)[\s;]", self.read(process, "err"))
            if found:
                return int(found.group(1))
            if process.poll() is not None:
                break
            time.sleep(0.01)
        raise Failure(f"{process.name} does not listen: {self.read(process, 'err').strip()}")

    def wait(self, process):
        """Waits for the end of a process and returns its exit code."""
        try:
            return process.wait(max(0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure(f"{process.name} did not end in time") from None

    def report(self, process, name="out"):
        """Waits until a process ends successfully, and returns its report."""
        if self.wait(process) != 0:
            raise Failure(f"{process.name} exited with {process.returncode}: {self.read(process, 'err').strip()}")
        return self.parse(process, name)

    def parse(self, process, name):
        # A line about a failure may follow the report.
        lines = [text for text in self.read(process, name).splitlines() if text.startswith("{")]
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            raise Failure(f"{process.name} printed no JSON: {self.read(process, 'err').strip()}") from None

    def proxy(self, port, delay=DELAY, rate=RATE, *options):
        process = self.start(PROXY, "127.0.0.1:0", f"127.0.0.1:{port}", "--delay", delay, "--rate", rate, *options)
        return process, self.port(process)


class Figures:
    def __init__(self, out):
        self.out = out
        self.rows = []
        self.is_short = False

    def add(self, scenario, figure, value, goal, is_ok, beside):
        verdict = "ok" if is_ok else "short"
        self.is_short |= not is_ok
        print(f"{scenario} {figure} {value} goal {goal} {verdict} ({beside})", flush=True)
        self.rows.append((scenario, figure, value, goal, verdict, beside))

    def save(self):
        if not self.out or not self.rows:
            return
        today = datetime.date.today().isoformat()
        is_new = not os.path.exists(self.out) or os.path.getsize(self.out) == 0
        with open(self.out, "a") as file:
            if is_new:
                file.write("| date | scenario | figure | value | goal | | beside it |\n|---|---|---|---|---|---|---|\n")
            for row in self.rows:
                file.write(f"| {today} | " + " | ".join(row) + " |\n")


def has_option(program, option):
    text = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30).stdout
    return re.search(rf"(?m)^\s+(\S+, )*{re.escape(option)}\b", text) is not None
