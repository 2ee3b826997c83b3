# SPDX-License-Identifier: Apache-2.0

"""The measurements of dev/flow-check: see `dev/flow-check --help`."""

import argparse
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

from flow_credit import sharing, tuning
from flow_run import DELAY, MIB, OVERHEAD, RATE, RECEIVER, SENDER, YARDSTICK, Children, Failure, Figures, has_option

BDP = RATE * 2 * DELAY // 1000
LARGE = 256 << 20


# The line -------------------------------------------------------------------------------------------------------------


def serve_once(work):
    """Listens for one connection and handles it in a thread. Returns the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with listener:
            connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            work(connection)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def line(options, figures):
    with Children(60) as children:
        proxy, port = children.proxy(serve_once(echo), DELAY, RATE, "--connections", 1)
        trips = []
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(21):
                before = time.perf_counter()
                connection.sendall(b"x" * 100)
                connection.recv(100)
                trips.append((time.perf_counter() - before) * 1000)
        children.report(proxy)
        median = statistics.median(trips)
        least = 2 * DELAY
        beside = f"ms for 2 x {DELAY} ms; from {min(trips):.2f} to {max(trips):.2f}"
        is_ok = least <= median <= least + 1
        figures.add("line", "round-trip", f"{median:.2f}", f"{least} to {least + 1}", is_ok, beside)

        received = []

        def drain(connection):
            first, count = None, 0
            while data := connection.recv(1 << 18):
                first = first or time.perf_counter()
                count += len(data)
            received.append(count / (time.perf_counter() - first))
            connection.sendall(b"x")

        proxy, port = children.proxy(serve_once(drain), 100, 20_000_000, "--connections", 1)
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            for _ in range(1000):
                connection.sendall(b"x" * 50_000)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        children.report(proxy)
        part = received[0] / 20_000_000
        beside = "of 20 MB/s, 50 MB with a round trip of 200 ms"
        figures.add("line", "rate", f"{part:.4f}", "0.99 to 1.01", 0.99 <= part <= 1.01, beside)


# The delay ------------------------------------------------------------------------------------------------------------


def capacity():
    """Returns the option that limits the session to twice the bytes on the line, if the receiver supports it."""
    return ["--incoming-capacity", 2 * BDP] if has_option(RECEIVER, "--incoming-capacity") else []


def over_the_line(is_ours, count, size, credit, limit):
    """Sends messages over the line. Returns the reached part of its rate, and the receiver's peak memory."""
    with Children(limit) as children:
        if is_ours:
            settings = ["--credit", credit, *capacity(), "--timeout", limit, "--json"]
            receiver = children.start(RECEIVER, "--listen", "amqp://127.0.0.1:0/line", *settings)
        else:
            receiver = children.start(YARDSTICK, "receiver", "--port", 0, "--count", count, "--credit", credit)
        proxy, port = children.proxy(children.port(receiver), DELAY, RATE, "--connections", 1)
        if is_ours:
            url = f"amqp://127.0.0.1:{port}/line"
            sender = children.start(SENDER, url, "--count", count, "--size", size, "--timeout", limit, "--json")
        else:
            sender = children.start(YARDSTICK, "sender", "--port", port, "--count", count, "--size", size)
        children.report(sender)
        report = children.report(receiver)
        if report["messages"] != count:
            raise Failure(f"{report['messages']} of {count} messages arrived")
        part = children.report(proxy)["to_target"]["middle_bytes_per_second"] / RATE
        return part, report.get("resident_bytes_peak", report.get("peak_resident_bytes"))


def delay(options, figures, scenario, figure, count, size, credit):
    parts = {True: [], False: []}
    resident = {True: 0, False: 0}
    # Enough time for a tenth of the line's rate, and for a busy machine.
    limit = 30 + count * (size + OVERHEAD) / RATE * 15
    for number in range(options.rounds):
        for is_ours in (True, False) if number % 2 == 0 else (False, True):
            part, peak = over_the_line(is_ours, count, size, credit, limit)
            parts[is_ours].append(part)
            resident[is_ours] = max(resident[is_ours], peak)
    ours, plain = statistics.median(parts[True]), statistics.median(parts[False])

    def every(is_ours):
        return " ".join(f"{part:.3f}" for part in parts[is_ours])

    bound = capacity()[-1] if capacity() else "the default"
    beside = (
        f"of the line; C {plain:.3f}; credit {credit}, session capacity {bound}, C without one; "
        f"rounds {every(True)}, C {every(False)}; "
        f"resident at the receiver {resident[True] // MIB} MiB, C {resident[False] // MIB} MiB"
    )
    figures.add(scenario, figure, f"{ours:.3f}", "0.95", ours >= 0.95, beside)


def delay_small(options, figures):
    for size in (100, 1000):
        count = int(options.seconds * RATE / (size + OVERHEAD))
        delay(options, figures, "delay-small", f"{size}-bytes", count, size, 2 * BDP // (size + OVERHEAD))


def delay_large(options, figures):
    delay(options, figures, "delay-large", "256-MiB", 1, LARGE, 1)


# The stream -----------------------------------------------------------------------------------------------------------


def stream_once(size, limit, cut_after=None):
    """Streams `size` bytes. Returns the results of both sides, and whether the output equals the input."""
    with Children(limit) as children:
        pipe = subprocess.PIPE
        started = time.monotonic()
        settings = ["--stream", "-", "--timeout", 30, "--json"]
        receiver = children.start(RECEIVER, "--listen", "amqp://127.0.0.1:0/line", *settings, stdout=pipe)
        digest = children.start("sha256sum", stdin=receiver.stdout)
        receiver.stdout.close()
        port = children.port(receiver)
        if cut_after:
            _, port = children.proxy(port, 0, 10_000_000_000, "--connections", 1, "--cut-after", cut_after)
        zeros = open("/dev/zero", "rb")
        cipher = ["openssl", "enc", "-aes-128-ctr", "-K", "0" * 32, "-iv", "0" * 32]
        source = children.start(*cipher, stdin=zeros, stdout=pipe)
        zeros.close()
        head = children.start("head", "-c", size, stdin=source.stdout, stdout=pipe)
        source.stdout.close()
        expected = children.start("sha256sum", stdin=pipe)
        copy = expected.stdin.fileno()
        tee = children.start("tee", f"/dev/fd/{copy}", stdin=head.stdout, stdout=pipe, pass_fds=[copy])
        head.stdout.close()
        expected.stdin.close()
        sender = children.start(SENDER, f"amqp://127.0.0.1:{port}/line", *settings, stdin=tee.stdout)
        tee.stdout.close()
        codes = [children.wait(sender), children.wait(receiver)]
        seconds = time.monotonic() - started
        if not cut_after:
            # A failed run has no figures.
            children.report(sender)
            children.report(receiver, "err")
            children.wait(expected)
        children.wait(digest)
        result = {
            "codes": codes,
            "seconds": seconds,
            "sender": children.parse(sender, "out"),
            "receiver": children.parse(receiver, "err"),
            "text": children.read(receiver, "err"),
        }
        if not cut_after:
            result["is_equal"] = children.read(expected, "out").split()[0] == children.read(digest, "out").split()[0]
        return result


def stream(options, figures):
    if not (has_option(SENDER, "--stream") and has_option(RECEIVER, "--stream")):
        if options.scenarios:
            raise Failure("the sender and the receiver have no --stream")
        print("flow-check: stream is skipped: the sender and the receiver have no --stream", file=sys.stderr)
        return
    small = stream_once(MIB, 60)
    whole = stream_once(options.size, 60 + options.size / (20 * MIB))
    beside = f"{options.size} bytes in {whole['seconds']:.1f} s"
    for side in ("sender", "receiver"):
        growth = (whole[side]["resident_bytes_peak"] - small[side]["resident_bytes_peak"]) / MIB
        figures.add("stream", f"{side}-growth", f"{growth:.1f}", "16", growth < 16, f"MiB; {beside}")
    is_equal = small["is_equal"] and whole["is_equal"]
    figures.add("stream", "sha-256", "equal" if is_equal else "differs", "equal", is_equal, beside)

    size = min(options.size, 1 << 30)
    cut = stream_once(size, 120, cut_after=size // 2)
    messages = cut["receiver"]["messages"]
    is_told = re.search(r"abort|lost|closed", cut["text"], re.IGNORECASE) is not None
    is_ok = 0 not in cut["codes"] and is_told and messages == 0
    said = [text for text in cut["text"].splitlines() if text.startswith("receiver: ") and "listening" not in text]
    codes = " and ".join(str(code) for code in cut["codes"])
    beside = f"messages complete after {size // 2} of {size} bytes; exit codes {codes}; {' '.join(said)}"
    figures.add("stream", "cut", str(messages), "0", is_ok, beside.replace("|", "/"))


SCENARIOS = {"line": line, "delay-small": delay_small, "delay-large": delay_large, "stream": stream}
SCENARIOS |= {"tuning": tuning, "sharing": sharing}


def pattern(text):
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def main():
    parser = argparse.ArgumentParser(prog="dev/flow-check", usage="see dev/flow-check --help", add_help=False)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--size", type=int, default=8 << 30)
    parser.add_argument("--cells", default="", type=pattern)
    parser.add_argument("--out")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    options = parser.parse_args()
    for name in options.scenarios:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario {name}; there are {', '.join(SCENARIOS)}")
    if options.rounds < 1 or options.seconds <= 0 or options.size < 2 * MIB:
        parser.error("--rounds takes 1 or more, --seconds more than 0, --size 2 MiB or more")
    # The exit ends the children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures = Figures(options.out)
    is_failed = False
    for name in options.scenarios or SCENARIOS:
        try:
            SCENARIOS[name](options, figures)
        except (Failure, OSError) as failure:
            print(f"flow-check: {name}: {failure}", file=sys.stderr)
            is_failed = True
    figures.save()
    return 1 if is_failed or figures.is_short else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
