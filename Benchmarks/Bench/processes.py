# SPDX-License-Identifier: Apache-2.0

"""The processes of one measurement. The program starts and watches them, and ends them by their ids."""

import json
import os
import re
import select
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

NOT_SUPPORTED = 3


class Failure(Exception):
    """Ends the run."""


class NotSupported(Exception):
    """A contender does not support a case, so its cell is skipped."""


@dataclass
class Child:
    process: subprocess.Popen
    command: str
    base: str
    watch: int
    code: int | None = None
    # The CPU seconds of user and system, from the kernel.
    cpu: float = 0.0

    def read(self, name):
        with open(f"{self.base}-{name}", errors="replace") as file:
            return file.read()

    @property
    def error(self):
        return self.read("err").strip()

    def report(self):
        """Returns the line of JSON that the process has printed; None if there is no line yet."""
        for line in reversed(self.read("out").split("\n")[:-1]):
            if line.startswith("{"):
                try:
                    return json.loads(line)
                except ValueError:
                    raise Failure(f"{self.command}\nprinted a line that is not JSON: {line}") from None
        return None

    def end_input(self):
        self.process.stdin.close()


class Children:
    """The processes of a measurement. The end kills those that still run, and no other process."""

    def __init__(self, limit):
        self.limit = limit
        self.deadline = time.monotonic() + limit
        self.folder = tempfile.TemporaryDirectory(prefix="bench-")
        self.all = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.all:
            self.kill(child)
            if child.process.stdin:
                child.process.stdin.close()
            os.close(child.watch)
        self.folder.cleanup()

    def start(self, command, has_input=False):
        base = os.path.join(self.folder.name, str(len(self.all)))
        words = [str(word) for word in command]
        # timeout(1) limits the process even if this program is killed. It also keeps this program's memory out of the
        # process's peak: the kernel includes the memory before exec, and timeout is small.
        bound = ["timeout", "--kill-after=1", str(int(self.limit) + 2)]
        with open(base + "-err", "wb") as errors, open(base + "-out", "wb") as output:
            process = subprocess.Popen(
                bound + words,
                stdin=subprocess.PIPE if has_input else subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        child = Child(process, shlex.join(words), base, os.pidfd_open(process.pid))
        self.all.append(child)
        return child

    def kill(self, child):
        if child.code is not None:
            return
        # timeout(1) leads a separate process group that contains only the program.
        for target in (os.killpg, os.kill):
            try:
                target(child.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.reap(child)

    def reap(self, child):
        _, status, usage = os.wait4(child.process.pid, 0)
        child.cpu = usage.ru_utime + usage.ru_stime
        child.code = child.process.returncode = os.waitstatus_to_exitcode(status)

    def await_end(self, children, deadline):
        """Waits until one of the processes has ended, and returns it; None at the deadline."""
        poll = select.poll()
        for child in children:
            poll.register(child.watch, select.POLLIN)
        ready = poll.poll(max(0, deadline - time.monotonic()) * 1000)
        for child in children:
            if any(child.watch == watch for watch, _ in ready):
                self.reap(child)
                return child
        return None

    def check(self, child):
        """Throws if a process failed."""
        if child.code == NOT_SUPPORTED:
            raise NotSupported(child.error.split("\n")[-1])
        if child.code != 0:
            raise Failure(f"{child.command}\nexited with {child.code}: {child.error or 'nothing on stderr'}")

    def finish(self, *children):
        """Waits until all processes have ended successfully."""
        left = list(children)
        while left:
            child = self.await_end(left, self.deadline)
            if not child:
                self.late(left)
            left.remove(child)
            if child.code not in (0, NOT_SUPPORTED) and self.await_end(left, time.monotonic() + 1):
                # The other process may have printed the cause.
                texts = [f"{one.command}\nexited with {one.code}: {one.error}" for one in children if one.code]
                raise Failure("\n".join(texts))
            self.check(child)

    def late(self, children):
        texts = [f"{child.command}\ndid not end within {self.limit:.0f} s: {child.error}" for child in children]
        raise Failure("\n".join(texts))

    def until(self, child, ask):
        """Waits for the first result of `ask` that is not None. The process must not end before."""
        while time.monotonic() < self.deadline:
            ended = self.await_end([child], time.monotonic() + 0.01)
            answer = ask()
            if answer is not None:
                return answer
            if ended:
                self.check(child)
                raise Failure(f"{child.command}\nended before it printed the expected line: {child.error}")
        return self.late([child])

    def port(self, child, name="err"):
        """Returns the port that a process prints when it listens."""

        def ask():
            found = re.search(r"listening (?:on )?(?:\S*:)?(\d+)\b", child.read(name))
            return int(found.group(1)) if found else None

        return self.until(child, ask)

    def stop(self, child):
        """Ends a process that does not end by itself, and ignores its exit code."""
        if child.code is None:
            child.process.send_signal(signal.SIGTERM)
            if not self.await_end([child], min(self.deadline, time.monotonic() + 5)):
                self.kill(child)
