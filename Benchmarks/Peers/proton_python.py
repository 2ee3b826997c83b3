#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's contender on Proton's Python binding, in the style of its users: MessagingHandler with prefetch, the
library accepts messages, and on_sendable sends as many as the credit allows."""
import argparse
import json
import os
import resource
import sys
import threading
import time

from proton import Message, SSLDomain, int32, symbol, timestamp, ulong
from proton.handlers import MessagingHandler
from proton.reactor import AtLeastOnce, AtMostOnce, Container

NAME = "python"
USAGE = """\
proton_python.py receiver --port PORT --credit N --count COUNT [--connect] [--address NAME] [--tls CERT KEY | CA]
proton_python.py sender   --port PORT --count COUNT --size BYTES [--settled] [--links N] [--address NAME] [--tls CA]
proton_python.py latency  --port PORT --count COUNT --size BYTES --depth D [--links N] [--address NAME] [--tls CA]
proton_python.py connect  --port PORT --count COUNT [--tls CA]
proton_python.py idle     --port PORT --count COUNT
proton_python.py listen   --port PORT [--tls CERT KEY] [--expect COUNT]
proton_python.py codec    message|map --count COUNT

The commands of `c-proactor --help`. Exits with 1 if a connection ends early or the call is wrong, and with 3 if it does
not support the request."""


# The command line and the report --------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"{USAGE}\n\n{NAME}: {message}", file=sys.stderr)
        sys.exit(1)


def within(least, most):
    def number(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text} is not within {least} and {most}")
        return int(text)

    return number


def read_options(arguments):
    if "--help" in arguments or "-h" in arguments:
        print(USAGE)
        sys.exit(0)
    command = arguments[0] if arguments else ""
    is_sender = command in ("sender", "latency")
    is_listening = command == "listen" or (command == "receiver" and "--connect" not in arguments)
    for option, owner in (("--settle", "receiver"), ("--from", "sender")):
        if option in arguments and command == owner:
            print(f"{NAME}: {option} is not supported", file=sys.stderr)
            sys.exit(3)
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("command", choices=("receiver", "sender", "latency", "connect", "idle", "listen", "codec"))
    if command == "codec":
        parser.add_argument("codec", choices=("message", "map"))
    else:
        parser.add_argument("--port", type=within(0 if is_listening else 1, 65535), required=True)
    if command == "listen":
        parser.add_argument("--expect", dest="count", type=within(1, 10**6), default=0)
    else:
        parser.add_argument("--count", type=within(1, 1 << 40), required=True)
    if command == "receiver":
        parser.add_argument("--credit", type=within(1, 10**6), required=True)
        parser.add_argument("--connect", action="store_true")
    if is_sender:
        parser.add_argument("--size", type=within(0, 1 << 30), required=True)
        parser.add_argument("--links", type=within(1, 30000), default=1)
    if is_sender or command == "receiver":
        parser.add_argument("--address")
    if command == "sender":
        parser.add_argument("--settled", action="store_true")
    if command == "latency":
        parser.add_argument("--depth", type=within(1, 10**6), required=True)
    if command in ("receiver", "sender", "latency", "connect", "listen"):
        parser.add_argument("--tls", nargs=2 if is_listening else 1)
    options = parser.parse_args(arguments)
    options.settled = getattr(options, "settled", False)
    options.tls = getattr(options, "tls", None)
    return options


def complain(reason):
    print(f"{NAME}: {reason}", file=sys.stderr, flush=True)


def status_bytes(name):
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith(name + ":")), 0)


def report(**fields):
    used = resource.getrusage(resource.RUSAGE_SELF)
    fields["cpu_seconds"] = round(used.ru_utime + used.ru_stime, 3)
    fields["peak_resident_bytes"] = status_bytes("VmHWM")
    print(json.dumps(fields, separators=(",", ":")), flush=True)


def report_messages(messages, body_bytes, seconds, latencies=None):
    rate = 1 / max(seconds, 1e-9)
    fields = {}
    if latencies is not None:
        latencies.sort()

        def percentile(percent):
            # The same rank as in common.c.
            rank = -int(-(percent / 100 * len(latencies) - 1e-6) // 1)
            return round(latencies[min(max(rank, 1), len(latencies)) - 1] / 1000, 3)

        fields["percentiles_us"] = {f"{part:g}": percentile(part) for part in (50, 90, 99, 99.9)}
        fields["percentiles_us"]["max"] = percentile(100)
        curve = [round(100 * (1 - 2 ** (-index / 3)), 5) for index in range(39)] + [100]
        fields["curve_us"] = [[percent, percentile(percent)] for percent in curve]
    report(
        messages=messages,
        seconds=round(seconds, 6),
        messages_per_second=round(messages * rate, 1),
        megabytes_per_second=round(body_bytes / 1e6 * rate, 3),
        **fields,
    )


# Connections ----------------------------------------------------------------------------------------------------------


class Peer(MessagingHandler):
    """The common parts of the commands: connecting, listening and failing."""

    def __init__(self, options, prefetch=0):
        super().__init__(prefetch=prefetch)
        self.options = options
        self.failed = self.finished = False
        self.listener = self.domain = None
        if options.tls and len(options.tls) == 1:
            self.domain = SSLDomain(SSLDomain.MODE_CLIENT)
            self.domain.set_trusted_ca_db(options.tls[0])
            self.domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        elif options.tls:
            self.domain = SSLDomain(SSLDomain.MODE_SERVER)
            self.domain.set_credentials(*options.tls, None)

    def connect(self, container):
        # The name in the certificate: Proton compares only names, not addresses.
        return container.connect(
            f"{'amqps' if self.domain else 'amqp'}://127.0.0.1:{self.options.port}",
            reconnect=False,
            allowed_mechs="ANONYMOUS",
            ssl_domain=self.domain,
            virtual_host="localhost",
        )

    def listen(self, container):
        self.listener = container.listen(f"127.0.0.1:{self.options.port}", ssl_domain=self.domain)
        # The binding has no public access to the port.
        port = self.listener._selectable._delegate.getsockname()[1]
        print("listening", port, file=sys.stderr, flush=True)

    def stop_listening(self):
        if self.listener:
            self.listener.close()
        self.listener = None

    def address(self, index):
        if not self.options.address:
            return f"bench-{index}"
        return self.options.address if self.options.links == 1 else f"{self.options.address}-{index}"

    def fail(self, reason):
        if not self.failed and not self.finished:
            self.failed = True
            complain(reason)
            self.stop_listening()

    def finish(self, connection):
        self.finished = True
        connection.close()

    def on_transport_error(self, event):
        self.fail(f"connection lost: {event.transport.condition.description}")

    def on_connection_error(self, event):
        self.fail(f"connection closed: {event.connection.remote_condition}")

    def on_link_error(self, event):
        self.fail(f"link detached: {event.link.remote_condition}")
        event.connection.close()

    def on_connection_closing(self, event):
        self.fail("the connection or its link was closed early")
        event.connection.close()

    on_link_closing = on_connection_closing

    def on_disconnected(self, event):
        self.fail("the connection was closed early")


class Receiver(Peer):
    def __init__(self, options):
        super().__init__(options, prefetch=options.credit)
        options.links = 1
        self.received = self.body_bytes = self.first = self.last = 0

    def on_start(self, event):
        if self.options.connect:
            event.container.create_receiver(self.connect(event.container), self.address(0))
        else:
            self.listen(event.container)

    def on_connection_opening(self, event):
        self.stop_listening()

    def on_transport_closed(self, event):
        # on_disconnected is not called for a connection that was never opened.
        self.fail("the connection was closed early")

    def on_link_opening(self, event):
        event.link.target.address = event.link.remote_target.address

    def on_message(self, event):
        if self.finished:
            return
        if self.received == 0:
            self.first = time.perf_counter()
        message = event.message
        if not message.properties["sent"]:
            raise ValueError("a message without its property")
        self.body_bytes += len(message.body)
        self.received += 1
        if self.received == self.options.count:
            self.accept(event.delivery)  # before the connection is closed
            self.last = time.perf_counter()
            self.finish(event.connection)

    def report(self):
        report_messages(self.received, self.body_bytes, self.last - self.first)


class Sender(Peer):
    def __init__(self, options):
        super().__init__(options)
        self.body = b"x" * options.size
        self.message = Message(inferred=True)  # the body is a data section
        self.depth = getattr(options, "depth", None)
        self.latencies = [0] * options.count if self.depth else None
        self.sent = self.done = self.first = self.last = self.turn = 0
        self.senders = []

    def on_start(self, event):
        connection = self.connect(event.container)
        mode = AtMostOnce() if self.options.settled else AtLeastOnce()
        for index in range(self.options.links):
            self.senders.append(event.container.create_sender(connection, self.address(index), options=mode))

    def on_sendable(self, event):
        self.send()

    def send(self):
        count, message, senders = self.options.count, self.message, self.senders
        while self.sent < count and senders[self.turn].credit:
            if self.depth:
                if self.sent - self.done >= self.depth:
                    return
                self.latencies[self.sent] = time.perf_counter_ns()
            if self.sent == 0:
                self.first = time.perf_counter()
            message.properties = {"sent": timestamp(int(time.time() * 1000))}
            message.body = self.body
            if self.depth:
                senders[self.turn].send(message, tag=str(self.sent))
            else:
                senders[self.turn].send(message)
            self.sent += 1
            self.turn = (self.turn + 1) % len(senders)

    def on_accepted(self, event):
        if self.depth:
            number = int(event.delivery.tag)
            self.latencies[number] = time.perf_counter_ns() - self.latencies[number]
        self.done += 1
        if self.done == self.options.count:
            self.last = time.perf_counter()
            self.finish(event.connection)
        elif self.depth:
            self.send()

    def on_rejected(self, event):
        self.fail("a message was not accepted")
        event.connection.close()

    on_released = on_rejected

    def on_connection_closing(self, event):
        if self.finished or not self.options.settled or self.sent < self.options.count:
            super().on_connection_closing(event)
            return
        self.done = self.sent
        self.last = time.perf_counter()  # the binding does not report when the last message is written
        self.finish(event.connection)

    on_link_closing = on_connection_closing

    def report(self):
        report_messages(self.done, self.done * self.options.size, self.last - self.first, self.latencies)


class Connections(Peer):
    """The commands connect, idle and listen."""

    def __init__(self, options):
        super().__init__(options)
        self.started = self.open = self.closed = 0
        self.reported = False

    def on_start(self, event):
        self.before = status_bytes("VmRSS")
        self.first = time.perf_counter()
        if self.options.command != "connect":
            threading.Thread(target=self.wait_and_exit, daemon=True).start()
        if self.options.command == "listen":
            self.listen(event.container)
        else:
            self.connect_next(event.container)

    def connect_next(self, container):
        self.started += 1
        self.connect(container)

    def on_connection_opened(self, event):
        self.open += 1
        command, count = self.options.command, self.options.count
        if command == "connect":
            event.connection.close()
        elif command == "idle" and self.open < count:
            self.connect_next(event.container)
        elif self.open == count and not self.reported:
            self.reported = True
            report(
                connections=self.open,
                resident_bytes_before=self.before,
                resident_bytes_after=status_bytes("VmRSS"),
            )

    def on_connection_closing(self, event):
        pass  # the handler below counts it

    def on_connection_closed(self, event):
        self.open -= 1
        if self.options.command == "connect":
            self.closed += 1
            if self.closed == self.options.count:
                self.finished = True
                self.last = time.perf_counter()
            else:
                self.connect_next(event.container)

    def on_transport_error(self, event):
        if self.options.command != "listen":
            super().on_transport_error(event)
            os._exit(1)

    def on_disconnected(self, event):
        is_whole = event.connection.state & event.connection.REMOTE_CLOSED
        if not is_whole and self.options.command != "listen":
            super().on_disconnected(event)
            os._exit(1)

    def wait_and_exit(self):
        sys.stdin.read()
        is_short = self.options.count > 0 and not self.reported
        if is_short:
            complain("standard input ended before all connections were open")
        # The held connections are not closed in order.
        os._exit(1 if is_short else 0)

    def report(self):
        seconds = self.last - self.first
        rate = round(self.closed / max(seconds, 1e-9), 1)
        report(connections=self.closed, seconds=round(seconds, 6), connections_per_second=rate)


# The codec ------------------------------------------------------------------------------------------------------------


def make_message():
    properties = {f"string-{index}": "sixteen letters!" for index in range(5)}
    properties.update({f"int-{index}": int32(1000000 + index) for index in range(3)})
    properties.update({"double-0": 3.14159, "bool-0": True})
    return Message(
        inferred=True,  # the body is a data section
        id=ulong(1234567890123),
        user_id=b"benchmark",
        address="bench-0",
        subject="measurement",
        reply_to="bench-replies",
        correlation_id="correlation-0001",
        content_type=symbol("application/octet-stream"),
        creation_time=1700000000,  # in seconds
        properties=properties,
        body=b"x" * 1024,
    )


def make_map():
    def value(index):
        return (int32(1000000 + index), "sixteen letters!", index + 0.5, index % 8 == 3)[index % 4]

    return Message(body={f"key-{index:02}": value(index) for index in range(100)})


def read_everything(message):
    return (
        message.id, message.user_id, message.address, message.subject, message.reply_to, message.correlation_id,
        message.content_type, message.creation_time, message.properties, message.body,
    )  # fmt: skip


def run_codec(options):
    message = make_message() if options.codec == "message" else make_map()
    start = time.perf_counter_ns()
    for _ in range(options.count):
        encoded = message.encode()
    middle = time.perf_counter_ns()
    decoded = Message()
    for _ in range(options.count):
        decoded.decode(encoded)
    third = time.perf_counter_ns()
    for _ in range(options.count):
        decoded.decode(encoded)
        fields = read_everything(decoded)
    end = time.perf_counter_ns()
    if fields[-2:] != (message.properties, message.body):
        complain("the decoded message differs from the encoded one")
        return 1
    report(
        encode_ns=round((middle - start) / options.count, 1),
        decode_ns=round((third - middle) / options.count, 1),
        read_ns=round((end - third) / options.count, 1),
        encoded_bytes=len(encoded),
    )
    return 0


def main():
    options = read_options(sys.argv[1:])
    if options.command == "codec":
        return run_codec(options)
    kinds = {"receiver": Receiver, "sender": Sender, "latency": Sender}
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peer = kinds.get(options.command, Connections)(options)
    try:
        Container(peer).run()
    except (OSError, ValueError) as error:
        peer.fail(error)
    if peer.failed:
        return 1
    peer.report()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
