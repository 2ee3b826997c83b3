# SPDX-License-Identifier: Apache-2.0

"""The scenarios of dev/chaos: see `dev/chaos --help`."""

import argparse
import os
import signal
import subprocess
import sys
import time

import chaos_compare
from chaos_parts import MIB, Account, Broker, Cluster, Dropping, Failure, Part, call, now, percentile, say, table_lines
from chaos_report import Row, write

FOLDER = ".build/chaos"
# Beyond the replay limits: memory for messages in flight and their trackers, and the allocator's reserve.
MEMORY_LIMIT = 128 * MIB
REPLAY_LIMIT = 4 * MIB
SENDERS = 4


class Run:
    """One run of a scenario: its parts, its faults and its account."""

    def __init__(self, name, options, broker, number):
        self.name, self.options, self.broker = name, options, broker
        self.seed = options.seed + number
        self.folder = f"{FOLDER}/{name}" + (f"-{number + 1}" if number else "")
        self.queue = f"chaos-{name}"
        self.parts, self.returns, self.faults = [], [], 0
        self.since, self.by_gap, self.notes, self.problems = 0, False, [], []
        self.shown = 0

    def times(self, full, quick):
        return self.options.times(full, quick)

    def start(self, *arguments):
        part = Part(self.options.program, *arguments)
        self.parts.append(part)
        return part

    def declare(self, *arguments, url=None):
        for action in ("delete", "declare"):
            call(self.options.program, "queue", action, "--url", url or self.broker.url, "--name", self.queue,
                 *(arguments if action == "declare" else ()))

    def load(self, *arguments, urls=None):
        urls = [word for url in urls or [self.broker.url] for word in ("--url", url)]
        load = self.start(
            "send", *urls, "--queue", self.queue, "--folder", self.folder, "--senders", SENDERS,
            "--replay-limit", REPLAY_LIMIT, *arguments)
        load.wait("started", 150)
        return load

    def proxy(self, *arguments):
        proxy = self.start("proxy", "--to", self.broker.port, "--seed", self.seed, *arguments)
        port = proxy.wait("listening", 20).split()[1]
        return proxy, f"amqp://guest:guest@127.0.0.1:{port}"

    def rest(self, seconds, load):
        """Lets the load run for some time, and prints its progress."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            if load.has_ended:
                return
            if time.monotonic() - self.shown > 10:
                self.shown = time.monotonic()
                say(f"{self.name}: {self.faults} faults, {load.progress[2]}")

    def finish(self, load, limit=180):
        if not load.has_ended:
            load.tell("stop")
        load.wait("finished", limit)
        load.end()

    def end(self):
        for part in reversed(self.parts):
            part.end(5)


# Scenarios: each injects faults under a load -------------------------------------------------------------------------


def proxy(run):
    count = run.options.count or run.times(1_000_000, 20_000)
    run.declare()
    broken, url = run.proxy("--least", 0.1, "--most", 2)
    load = run.load(
        "--count", count, *run.times((), ("--rate", 3000)), "--longest-delay", 0.2, "--idle-timeout", 4,
        "--poison-limit", 100, "--finish-within", 300, urls=[url])
    broken.tell("go")
    while not load.has_ended:
        run.faults = sum(line.startswith("fault") for line in broken.lines)
        run.rest(0.5, load)
    load.wait("finished", 1)
    run.faults = sum(line.startswith("fault") for line in broken.lines)
    kinds = [line.split()[1] for line in broken.lines if line.startswith("fault")]
    run.notes.append(", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))


def with_broker_faults(fault, full, quick, before=1.5, rate=1500, arguments=(), quick_arguments=(), stable=0):
    """Returns a scenario that injects a fault into the broker several times under a steady load.

    Before each fault the connection has been open for `stable` seconds."""
    def scenario(run):
        run.declare()
        # RabbitMQ 4.0 stores a queue on disk only some time after its declaration.
        run.broker.run("stop")
        run.broker.start()
        load = run.load("--rate", rate, *arguments, *run.times((), quick_arguments))
        for number in range(run.times(full, quick)):
            # The moments vary within the load.
            run.rest(before + (run.seed + number) * 0.37 % 1, load)
            while open_for(run) < stable and not load.has_ended:
                run.rest(0.5, load)
            fault(run, load, number)
            run.faults += 1
        run.rest(3, load)
        run.finish(load)
    return scenario


# Without this option, faults within 30 s lead to delays of up to 30 s.
SOON = ("--longest-delay", 1)


def killed(run, load, number):
    run.broker.kill()
    run.returns.append(run.broker.start())


def restarted(run, load, number):
    run.broker.run("stop")
    run.returns.append(run.broker.start())


def frozen(run, load, number):
    # Every other freeze is short and causes no loss.
    is_long = number % 2 == 0
    before, moment = len(moments(run, "lost")), now()
    run.broker.signal(signal.SIGSTOP)
    try:
        run.rest(run.times(22, 8) if is_long else 2, load)
    finally:
        run.returns.append(now())
        run.broker.thaw()
    check_silence(run, moments(run, "lost")[before:], moment, is_long, "a frozen broker")


def dropped(run, load, number):
    # A short drop of all packets and the loss of some packets cause no loss of the connection.
    part, seconds = ((1, run.times(22, 8)), (1, 2), (10, 5))[number % 3]
    is_long = number % 3 == 0
    before, moment = len(moments(run, "lost")), now()
    with Dropping(run.broker.port, part):
        run.rest(seconds, load)
    run.returns.append(now())
    check_silence(run, moments(run, "lost")[before:], moment, is_long, "a network that drops all packets")


def check_silence(run, found, moment, is_long, what):
    """Notes the time until the client has detected a silence, and checks its limit."""
    limit = run.times(20, 6)
    if is_long and not found:
        run.problems.append(f"{what} caused no loss")
    if is_long and found:
        took = (found[0] - moment) / 1e9
        run.notes.append(f"silence detected after {took:.1f} s")
        if took > limit:
            run.problems.append(f"silence was detected after {took:.1f} s, and not within {limit} s")


def moments(run, event):
    """Returns the times of an event of the client."""
    return [int(line[0]) for line in table_lines(f"{run.folder}/events.tsv") if line[1] == event]


def open_for(run):
    """Returns how long the client's connection has been open, in seconds; 0 without a connection."""
    opened = moments(run, "open")[-1]
    return (now() - opened) / 1e9 if opened > max(moments(run, "lost"), default=0) else 0


def closed(run, load, number):
    run.broker.ctl("close_all_connections", "maintenance")


def alarmed(run, load, number):
    run.broker.ctl("set_vm_memory_high_watermark", "0")
    try:
        run.rest(2, load)
    finally:
        run.returns.append(now())
        run.broker.ctl("set_vm_memory_high_watermark", "absolute", "2GB")


def deleted(run, load, number):
    arguments = ("--url", run.broker.url, "--name", run.queue)
    call(run.options.program, "queue", "delete", *arguments)
    run.rest(1, load)
    run.returns.append(now())
    call(run.options.program, "queue", "declare", *arguments)
    # The deletion removed the earlier messages.
    run.since = now()


def consumer(run):
    run.declare()
    load = run.load("--rate", 1500)
    path = f"{run.folder}/read.tsv"
    with open(path, "w") as file:
        file.write("# sender\tnumber\twhether it was delivered before, as handled by the consumers\n")

    def consume():
        return run.start("consume", "--url", run.broker.url, "--queue", run.queue, "--file", path)

    for _ in range(run.times(10, 2)):
        part = consume()
        size = os.path.getsize(path)
        while os.path.getsize(path) < size + 4000 and not load.has_ended:
            run.rest(0.2, load)
        run.rest(0.7, load)
        part.process.kill()
        part.process.wait()
        run.faults += 1
    last = consume()
    run.rest(1, load)
    run.finish(load)
    end = time.monotonic() + 60
    size = -1
    while size != (size := os.path.getsize(path)) and time.monotonic() < end:
        time.sleep(2)
    last.end()
    run.is_read = True


def cluster(run):
    group = Cluster(run.options.port + 10)
    run.cluster = group
    say("cluster: starting three brokers")
    group.run("start", "--fresh")
    run.broker = group.brokers[0]
    run.declare()
    group.wait_for_all(run.queue)
    run.by_gap = True
    load = run.load("--rate", 1000, *SOON, urls=[broker.url for broker in group.brokers])
    for number in range(run.times(20, 2)):
        run.rest(1.5 + (run.seed + number) * 0.37 % 1, load)
        leader = group.wait_for_all(run.queue)
        leader.kill()
        run.returns.append(now())
        run.faults += 1
        run.rest(1.5, load)
        leader.start()
    group.wait_for_all(run.queue)
    run.rest(3, load)
    run.finish(load)


def losses_thousand(run):
    count = run.times(1000, 50)
    run.declare()
    broken, url = run.proxy("--least", 0.04, "--most", 0.14, "--fault", "cut", "--fault", "reset", "--fault", "halfClose")
    load = run.load("--rate", 400, "--longest-delay", 0.02, "--poison-limit", 100, urls=[url])
    for name, goal in (("before", 20), ("half", 20 + count // 2), ("after", 20 + count)):
        broken.tell("go")
        while load.progress[1] < goal and not load.has_ended:
            run.rest(0.5, load)
        broken.tell("pause")
        broken.wait("pause", 10)
        load.tell(f"measure {name}")
        load.wait(f"measure {name}", 60)
    run.faults = sum(line.startswith("fault") for line in broken.lines)
    run.finish(load)
    before, half, after = (Account(run.folder).summary["measured"][name] for name in ("before", "half", "after"))
    for name, limit in (("sockets", 0), ("descriptors", 0), ("threads", 0), ("tasks", 10), ("allocated", MIB // 2), ("resident", 8 * MIB)):
        run.notes.append(
            f"{name} {before[name]:,} before, {half[name]:,} after {count // 2:,} and {after[name]:,} after {count:,} losses")
        # A pool may start its last thread late. A leak of threads continues in the second half.
        start, losses = (half, count // 2) if name == "threads" else (before, count)
        if after[name] - start[name] > limit:
            run.problems.append(f"{name} rose by {after[name] - start[name]:,} in {losses} losses")


SCENARIOS = {
    "proxy": proxy,
    "losses": losses_thousand,
    "kill": with_broker_faults(killed, 10, 2, arguments=SOON),
    "outage": with_broker_faults(killed, 4, 0, stable=31, rate=500),
    "freeze": with_broker_faults(frozen, 6, 2, quick_arguments=("--idle-timeout", 4)),
    "drop": with_broker_faults(dropped, 6, 3, quick_arguments=("--idle-timeout", 4)),
    "restart": with_broker_faults(restarted, 5, 1, arguments=SOON),
    "close": with_broker_faults(closed, 10, 2, before=0.7, arguments=SOON),
    "alarm": with_broker_faults(alarmed, 5, 1),
    "delete": with_broker_faults(deleted, 5, 1),
    "consumer": consumer,
    "cluster": cluster,
}


# A run and its verdict ------------------------------------------------------------------------------------------------


def read_back(run):
    path = f"{run.folder}/read.tsv"
    if not getattr(run, "is_read", False):
        say(f"{run.name}: another client reads the queue")
        call("/usr/bin/python3", "dev/chaos_read.py", run.broker.port, run.queue, path)
    depth = run.broker.drained(run.queue)
    if depth != 0:
        run.problems.append(f"{depth} messages are left in the queue after it was read")
    return path


def judge(run, path):
    account = Account(run.folder)
    summary = account.summary
    figures, examples = chaos_compare.compare(
        table_lines(f"{run.folder}/fates.tsv"), table_lines(path), run.since, ordered=run.name != "consumer")
    run.problems += chaos_compare.violations(figures, examples)
    if summary["open"]:
        run.problems.append(f"{summary['open']} messages have no fate")
    if summary["wrongSums"] or not summary["sums"]:
        run.problems.append(f"{summary['wrongSums']} of {summary['sums']} sums of the fates are wrong")
    told = {name: count for name, count in summary["fates"].items() if count}
    written = {name: figures[name] for name in chaos_compare.FATES if figures[name]}
    if told != written or sum(told.values()) != summary["handedOver"]:
        run.problems.append(f"the client reports {told} of {summary['handedOver']}, and the file has {written}")
    if summary["ledgerPeak"] > SENDERS * REPLAY_LIMIT or summary["ledgerAtEnd"]:
        run.problems.append(f"the replay ledgers held {summary['ledgerPeak']} B, and {summary['ledgerAtEnd']} B at the end")
    growth = summary["residentPeak"] - summary["residentAtStart"]
    if growth > SENDERS * REPLAY_LIMIT + MEMORY_LIMIT:
        run.problems.append(f"resident memory rose by {growth / MIB:.0f} MiB")
    if run.by_gap:
        times = [account.longest_gap(moment) for moment in run.returns]
    else:
        times = [account.first_after(moment) for moment in run.returns or account.reconnections]
    times = [value for value in times if value is not None]
    return Row(run, summary, figures, percentile(times, 0.5), percentile(times, 0.99), summary["residentPeak"] / MIB)


def carry_out(name, options, broker, number):
    run = Run(name, options, broker, number)
    os.makedirs(run.folder, exist_ok=True)
    for old in os.listdir(run.folder):
        os.remove(f"{run.folder}/{old}")
    say(f"{name}: seed {run.seed}")
    try:
        try:
            SCENARIOS[name](run)
        finally:
            run.end()
        row = judge(run, read_back(run))
    except Failure as error:
        print(f"{name}: FAILED: {error} (seed {run.seed}, files in {run.folder})", flush=True)
        return False
    finally:
        if group := getattr(run, "cluster", None):
            group.run("stop", "--kill", check=False)
    print(row.line, flush=True)
    write(FOLDER, SCENARIOS, row, run.folder)
    for problem in run.problems:
        print(f"  violation: {problem} (seed {run.seed}, files in {run.folder})", flush=True)
    return not run.problems


def cost(options, broker):
    """Measures the processor time of a message with and without a client on a healthy connection, in turn."""
    rounds, count, all_figures = options.times(10, 2), options.times(100_000, 20_000), []
    queue = ("--url", broker.url, "--name", "chaos-cost")
    for number in range(rounds):
        figures = {}
        for plain in ([], ["--plain"])[:: 1 if number % 2 else -1]:
            for action in ("delete", "declare"):
                call(options.program, "queue", action, *queue)
            printed = call(
                options.program, "cost", "--url", broker.url, "--queue", "chaos-cost", "--count", count, *plain).split()
            figures[bool(plain)] = float(printed[1]) / count * 1e6
        all_figures.append((figures[False], figures[True]))
        say(f"cost: {figures[False]:.2f} µs of the processor a message with a client, {figures[True]:.2f} µs without")
    call(options.program, "queue", "delete", *queue)
    ratios = [100 * (client / plain - 1) for client, plain in all_figures]
    client, plain = (percentile(column, 0.5) for column in zip(*all_figures))
    print(f"cost: {client:.2f} µs of the processor a message with a client and {plain:.2f} µs without: "
          f"{percentile(ratios, 0.5):.1f} % more (medians of {rounds} pairs of {count:,} messages; the pairs differ from "
          f"{min(ratios):.1f} to {max(ratios):.1f} %)", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(prog="dev/chaos")
    parser.add_argument("minutes", nargs="?", type=float)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--scenario", action="append", choices=[*SCENARIOS, "cost"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int)
    parser.add_argument("--port", type=int, default=5740)
    parser.add_argument("--program", required=True)
    options = parser.parse_args()
    options.times = lambda full, quick: quick if options.quick else full
    # The scenario with the client's default delays takes minutes.
    names = options.scenario or [
        name for name in SCENARIOS if name != "drop" and not (options.quick and name == "outage")]
    os.makedirs(FOLDER, exist_ok=True)
    broker = Broker(options.port)
    was_running = broker.pid is not None
    start, failed, number = time.monotonic(), [], 0
    try:
        if names != ["cluster"]:
            broker.run("start")
        while True:
            for name in names:
                done = cost(options, broker) if name == "cost" else carry_out(name, options, broker, number)
                if not done:
                    failed.append(name)
            number += 1
            if time.monotonic() - start >= (options.minutes or 0) * 60:
                break
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    finally:
        if not was_running:
            broker.run("stop", check=False)
    seconds = time.monotonic() - start
    print(f"{'FAILED: ' + ', '.join(failed) if failed else 'all scenarios passed'}, {seconds:.0f} s; the table is in {FOLDER}/table.md")
    return 1 if failed else 0


if __name__ == "__main__":
    # SIGTERM ends the parts like a Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        sys.exit(main())
    except (Failure, subprocess.SubprocessError) as error:
        sys.exit(f"chaos: {error}")
