# SPDX-License-Identifier: Apache-2.0

"""Tests of processes that succeed, fail or never end, and of rounds in turn."""

import signal
import subprocess
import sys
import unittest
from unittest import mock

from Bench import brokers, measure, scenarios
from Bench.contenders import Contender
from Bench.processes import Children, Failure, NotSupported
from Bench.run import Context, Run


def python(code):
    return [sys.executable, "-c", code]


class ProcessesTest(unittest.TestCase):
    def test_report_and_cpu(self):
        with Children(20) as children:
            child = children.start(python("sum(range(10**6)); print('x'); print('{\"messages\": 3}')"))
            children.finish(child)
            self.assertEqual(child.report(), {"messages": 3})
            self.assertGreater(child.cpu, 0)

    def test_failure_tells_command_and_stderr(self):
        with Children(20) as children, self.assertRaisesRegex(Failure, r"(?s)-c.*exited with 1: went wrong"):
            children.finish(children.start(python("exit('went wrong')")))

    def test_not_supported(self):
        code = "import sys; print('x: --tls is not supported', file=sys.stderr); exit(3)"
        with Children(20) as children, self.assertRaisesRegex(NotSupported, "--tls is not supported"):
            children.port(children.start(python(code)))

    def test_port_and_end_of_input(self):
        with Children(20) as children:
            code = "import sys; print('listening 4711', file=sys.stderr, flush=True); sys.stdin.read()"
            child = children.start(python(code), has_input=True)
            self.assertEqual(children.port(child), 4711)
            child.end_input()
            children.finish(child)

    def test_late_process_is_killed(self):
        with Children(0.5) as children:
            child = children.start(python("import time; time.sleep(100)"))
            with self.assertRaisesRegex(Failure, "did not end"):
                children.finish(child)
        self.assertEqual(child.code, -signal.SIGKILL)


class BrokersTest(unittest.TestCase):
    def setUp(self):
        brokers.rabbitmq.cache_clear()

    def test_rabbitmq_is_left_out_where_it_is_not(self):
        missing = mock.patch.object(brokers, "INSTALLED", "/nonexistent")
        with missing, self.assertRaisesRegex(NotSupported, "dev/rabbitmq install"):
            brokers.rabbitmq()

    def test_rabbitmq_is_started_once_and_stopped(self):
        ran = []

        def run(command, **_):
            ran.append(command[4:])
            return subprocess.CompletedProcess(command, 0, "amqp://127.0.0.1:5700 amqps://localhost:5699\n", "")

        ends = []
        installed = mock.patch.object(brokers, "INSTALLED", "/")
        register = mock.patch("atexit.register", lambda *end: ends.append(end))
        with installed, mock.patch.object(subprocess, "run", run), register:
            self.assertEqual([brokers.rabbitmq(), brokers.rabbitmq()], [5700, 5700])
            ends[0][0](*ends[0][1:])
        self.assertEqual(ran, [["0", "start", "--fresh"], ["5700", "stop"]])
        self.assertEqual(len(ends), 1)
        brokers.rabbitmq.cache_clear()

    def test_rabbitmq_that_does_not_start(self):
        failed = subprocess.CompletedProcess([], 1, "", "rabbitmq: port 5700 is in use\n")
        installed = mock.patch.object(brokers, "INSTALLED", "/")
        with installed, mock.patch.object(subprocess, "run", lambda *_, **__: failed):
            with self.assertRaisesRegex(Failure, "is in use"):
                brokers.rabbitmq()


class RunTest(unittest.TestCase):
    def run_with(self, function, rounds):
        names = ("ours", "cpp", "python")
        contenders = {name: Contender(name, name, ("true",)) for name in names}
        case = scenarios.transfer("throughput", "one", scenarios.entries(*names))
        run = Run(Context(contenders, rounds, is_quick=False), [case])
        with mock.patch.object(measure, "transfer", function), mock.patch("sys.stderr"):
            run.all()
        return run

    def test_each_round_begins_with_another(self):
        order = []

        def transfer(context, case, entry, count):
            order.append((entry.label, count))
            return {"messages_per_second": 1e6, "cpu_us_per_message": 2.0}, {}

        run = self.run_with(transfer, 3)
        labels = [label for label, _ in order]
        self.assertEqual(labels[3:], ["ours", "cpp", "python", "cpp", "python", "ours", "python", "ours", "cpp"])
        # The warm-up has measured the number of messages in 1.5 s.
        self.assertEqual({count for _, count in order[3:]}, {1_500_000})
        self.assertEqual([len(entry["measurements"]) for entry in run.results()["cases"][0]["entries"]], [3, 3, 3])

    def test_who_refuses_is_left_out(self):
        def transfer(context, case, entry, count):
            if entry.label == "cpp":
                raise NotSupported("cpp: --settled is not supported")
            return {"messages_per_second": 1e6}, {}

        found = self.run_with(transfer, 1).results()
        self.assertEqual([entry["label"] for entry in found["cases"][0]["entries"]], ["ours", "python"])
        self.assertEqual(found["notes"], ["throughput one: cpp is skipped: cpp: --settled is not supported"])
