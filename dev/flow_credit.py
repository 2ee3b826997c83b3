# SPDX-License-Identifier: Apache-2.0

"""The measurements of dev/flow-check for the automatic window."""

import signal
import statistics
import time

from flow_run import BROKER, MIB, OVERHEAD, RECEIVER, SENDER, Children, Failure

# A line of 1 Gbit/s.
LINE = 125_000_000
# The bytes of the session and the sender: more than any window needs.
AMPLE = "256M"
SIZES = {"100B": 100, "10KiB": 10 << 10, "1MiB": MIB}
FIXED = [4**power for power in range(9)]


def settings(window, handler):
    return ["--window", window, "--json", *(["--handler-delay", handler] if handler else [])]


def rate_of(window, trip, size, handler, seconds):
    """Returns the messages a second of a receiver with this window, from its first message on."""
    with Children(seconds + 30) as children:
        listen = ["--listen", "amqp://127.0.0.1:0/line", "--capacity", AMPLE]
        receiver = children.start(RECEIVER, *listen, *settings(window, handler))
        port = children.port(receiver)
        if trip:
            _, port = children.proxy(port, trip / 2, LINE, "--connections", 1)
        url = f"amqp://127.0.0.1:{port}/line"
        sender = children.start(SENDER, url, "--count", 10**9, "--size", size, "--limit", AMPLE)
        time.sleep(seconds)
        if sender.poll() is not None or receiver.poll() is not None:
            raise Failure(f"an end was early: {children.read(sender, 'err')} {children.read(receiver, 'err')}")
        receiver.send_signal(signal.SIGINT)
        children.wait(receiver)
        report = children.parse(receiver, "out")
        # On a busy machine, no message may have arrived.
        return report["messages"] / report["seconds"] if report["messages"] > 1 else 0


def fixed_windows(trip, size, handler):
    """Returns four windows around the size that the line, the handler and the processor can use."""
    rates = [(LINE if trip else 8 * LINE) / (size + OVERHEAD), 300_000] + ([900 / handler] if handler else [])
    needed = min(rates) * (max(trip, 1) + handler) / 1000
    first = sum(window < needed for window in FIXED) - 1
    return FIXED[max(0, first) :][:4] if first < 5 else FIXED[-4:]


def tuning_cell(options, figures, trip, name, handler):
    size = SIZES[name]
    fixed = fixed_windows(trip, size, handler)
    rates = {window: [] for window in ["auto", *fixed]}
    for number in range(options.rounds):
        for window in list(rates) if number % 2 == 0 else reversed(rates):
            rates[window].append(rate_of(window, trip, size, handler, options.seconds / 2))
    medians = {window: statistics.median(values) for window, values in rates.items()}
    best = max(fixed, key=medians.get)
    if medians[best] == 0:
        raise Failure(f"no messages arrived in {options.seconds / 2} s: the machine is too busy")
    part = medians["auto"] / medians[best]
    others = ", ".join(f"{window}: {medians[window]:.0f}" for window in fixed)
    beside = f"of window {best}; auto {medians['auto']:.0f} messages/s, {others}"
    figures.add("tuning", f"{trip}ms-{name}-{handler}ms", f"{part:.3f}", "0.90", part >= 0.9, beside)


def tuning(options, figures):
    cells = [(trip, name, handler) for trip in (0, 5, 50) for name in SIZES for handler in (0, 1, 10)]
    cells = [cell for cell in cells if options.cells.search("{}ms-{}-{}ms".format(*cell))]
    if not cells:
        raise Failure(f"--cells {options.cells.pattern} matches no cell")
    for cell in cells:
        tuning_cell(options, figures, *cell)


def shares(count, handler, is_filled):
    """Returns the number of messages that each of four receivers of one queue received."""
    with Children(120) as children:
        broker = children.start(BROKER, "--listen", "127.0.0.1:0")
        url = f"amqp://127.0.0.1:{children.port(broker)}/queue"
        send = [SENDER, url, "--count", count, "--json"]
        if is_filled:
            children.report(children.start(*send))
        receive = [RECEIVER, url, "--idle-timeout", 2, *settings("auto", handler)]
        receivers = [children.start(*receive) for _ in range(4)]
        if not is_filled:
            time.sleep(0.5)
            children.report(children.start(*send))
        counts = [children.report(receiver)["messages"] for receiver in receivers]
        if sum(counts) != count:
            raise Failure(f"{sum(counts)} of {count} messages arrived")
        return counts


def sharing(options, figures):
    for name, is_filled in (("filled", True), ("live", False)):
        for handler, count in ((0, 3_000_000), (5, 4_000)):
            rounds = [shares(count, handler, is_filled) for _ in range(options.rounds)]
            spreads = [(max(counts) - min(counts)) * len(counts) / count for counts in rounds]
            worst = max(spreads)
            counts = "; ".join(" ".join(map(str, sorted(counts))) for counts in rounds)
            beside = f"the worst of {len(rounds)} rounds; messages of each: {counts}"
            figures.add("sharing", f"{name}-{handler}ms", f"{worst:.3f}", "0.25", worst <= 0.25, beside)
