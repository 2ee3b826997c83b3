# SPDX-License-Identifier: Apache-2.0

"""One measurement of each kind: the processes, their arguments, and the values from their output."""

import os

from Bench import brokers
from Bench.processes import Children, Failure

MIB = 1 << 20


def transfer(context, case, entry, count):
    """Measures a receiver and a sender of the same contender. With a broker, both connect to it."""
    settings = case.settings
    command = context.contenders[entry.contender].command
    receiving = ["--credit", settings["credit"], "--count", count, *entry.receiver]
    sending = ["--count", count, "--size", settings["size"], *entry.sender]
    if settings.get("settled"):
        sending.append("--settled")
    if settings.get("links"):
        sending += ["--links", settings["links"]]
    if settings.get("tls"):
        receiving += ["--tls", *context.server_files]
        sending += ["--tls", context.authority]
    with Children(context.limit) as children:
        if entry.broker:
            server, port = brokers.start(entry.broker, children)
            place = ["--port", port, "--address", "bench"]
            receiver = children.start([*command, "receiver", "--connect", *place, *receiving])
            sender = children.start([*command, "sender", *place, *sending])
        else:
            receiver = children.start([*command, "receiver", "--port", 0, *receiving])
            port = children.port(receiver)
            sender = children.start([*command, "sender", "--port", port, *sending])
        children.finish(receiver, sender)
        if entry.broker:
            children.stop(server)
        values = both_ends(sender, receiver, count)
        # The slower end counts: a presettled message has arrived only when the receiver has it.
        seconds = max(report(end, "seconds") for end in (sender, receiver))
        values["messages_per_second"] = count / max(seconds, 1e-9)
        values["megabytes_per_second"] = values["messages_per_second"] * settings["size"] / 1e6
        return values, reports(sender, receiver)


def latency(context, case, entry, count):
    settings = case.settings
    command = context.contenders[entry.contender].command
    if settings.get("one_core"):
        command = ("taskset", "--cpu-list", str(min(os.sched_getaffinity(0))), *command)
    with Children(context.limit) as children:
        receiving = ["--credit", 1000, "--count", count, *entry.receiver]
        receiver = children.start([*command, "receiver", "--port", 0, *receiving])
        port = children.port(receiver)
        sending = ["--count", count, "--size", settings["size"], "--depth", settings["depth"]]
        sender = children.start([*command, "latency", "--port", port, *sending, *entry.sender])
        children.finish(receiver, sender)
        values = both_ends(sender, receiver, count)
        percentiles = report(sender, "percentiles_us")
        for key in ("50", "90", "99", "99.9", "max"):
            values[f"p{key}_us" if key != "max" else "max_us"] = percentiles[key]
        values["messages_per_second"] = count / max(report(sender, "seconds"), 1e-9)
        return values, reports(sender, receiver)


def connect(context, case, entry, count):
    command = context.contenders[entry.contender].command
    listening, connecting = [], []
    if case.settings.get("tls"):
        listening, connecting = ["--tls", *context.server_files], ["--tls", context.authority]
    with Children(context.limit) as children:
        listener = children.start([*command, "listen", "--port", 0, *listening], has_input=True)
        port = children.port(listener)
        client = children.start([*command, "connect", "--port", port, "--count", count, *connecting])
        children.finish(client)
        listener.end_input()
        children.finish(listener)
        if report(client, "connections") != count:
            raise Failure(f"{client.command}\nopened {report(client, 'connections')} of {count} connections")
        values = {"connections_per_second": report(client, "connections_per_second")} | resources(client, listener)
        values["cpu_us_per_connection"] = (client.cpu + listener.cpu) / count * 1e6
        return values, reports(client, listener)


def idle(context, case, entry, count):
    command = context.contenders[entry.contender].command
    with Children(context.limit) as children:
        listener = children.start([*command, "listen", "--port", 0, "--expect", count], has_input=True)
        port = children.port(listener)
        client = children.start([*command, "idle", "--port", port, "--count", count], has_input=True)
        for child in (client, listener):
            children.until(child, child.report)
        for child in (client, listener):
            child.end_input()
            children.finish(child)
        values = resources(client, listener)
        for name, child in (("connector", client), ("listener", listener)):
            growth = report(child, "resident_bytes_after") - report(child, "resident_bytes_before")
            values[f"{name}_bytes_each"] = growth / count
        return values, reports(client, listener)


def codec(context, case, entry, count):
    command = context.contenders[entry.contender].command
    with Children(context.limit) as children:
        child = children.start([*command, "codec", case.settings["message"], "--count", count])
        children.finish(child)
        values = {key: report(child, key) for key in ("encode_ns", "decode_ns", "read_ns", "encoded_bytes")}
        values |= {"sender_cpu_seconds": child.cpu, "sender_peak_bytes": child.report().get("peak_resident_bytes")}
        return values, {"sender": child.report() | {"command": child.command}}


def beside(context, case, entry, count):
    """Measures two links of one session with RabbitMQ, or one of them alone. The time is fixed, not the count."""
    command = context.contenders[entry.contender].command
    port = brokers.rabbitmq()
    seconds, fill = (0.2, 1000) if context.is_quick else (case.settings["seconds"], case.settings["fill"])
    with Children(context.limit) as children:
        words = ["beside", case.name, "--port", port, "--seconds", seconds, "--fill", fill, *entry.sender]
        child = children.start([*command, *words])
        children.finish(child)
        values = {f"{name}_per_second": rate for name, rate in report(child, "rates").items()}
        values |= {"sender_cpu_seconds": child.cpu, "sender_peak_bytes": child.report().get("peak_resident_bytes")}
        return values, {"sender": child.report() | {"command": child.command}}


def report(child, key):
    """Returns a value that the process must have printed."""
    found = child.report()
    if found is None or key not in found:
        raise Failure(f"{child.command}\nprinted no {key}: {found or child.error or 'nothing'}")
    return found[key]


def resources(sender, receiver):
    values = {}
    for name, child in (("sender", sender), ("receiver", receiver)):
        values[f"{name}_cpu_seconds"] = child.cpu
        values[f"{name}_peak_bytes"] = (child.report() or {}).get("peak_resident_bytes")
    return values


def both_ends(sender, receiver, count):
    """Returns CPU and memory of both ends, if both have handled all messages."""
    for child in (sender, receiver):
        if report(child, "messages") != count:
            raise Failure(f"{child.command}\nhandled {report(child, 'messages')} of {count} messages")
    values = resources(sender, receiver)
    values["cpu_us_per_message"] = (sender.cpu + receiver.cpu) / count * 1e6
    return values


def reports(sender, receiver):
    """Returns the output of the processes, for results.json."""
    ends = (("sender", sender), ("receiver", receiver))
    return {name: (child.report() or {}) | {"command": child.command} for name, child in ends}
