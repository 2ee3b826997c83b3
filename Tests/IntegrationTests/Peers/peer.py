#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An AMQP 1.0 peer on Qpid Proton's Python binding, for interoperability tests.

  peer.py send URL ADDRESS       sends the messages of standard input, one per line
  peer.py receive URL ADDRESS    prints the messages from ADDRESS
  peer.py listen HOST:PORT       waits for a peer and its links: prints received messages, and sends
                                 standard input on the first link whose peer receives

The lines are in the canonical text that README.md defines. pn_data encodes and decodes the messages
section by section, because proton.Message drops the footer and all data sections but one.

`listen` first prints `listening PORT` on stderr; port 0 selects a free port. The last line on stderr is
a JSON object with the numbers of messages, of each outcome, and of aborted messages.

The peer ends when all messages are sent and settled, after --count messages, or when the other side
closes. It exits with 1 on any error and at --timeout.
"""
import argparse
import json
import sys

from proton import Delivery, Endpoint, Handler, SSLDomain
from proton.handlers import FlowController
from proton.reactor import Container

from canonical import decode_message, encode_message


class Peer(Handler):
    def __init__(self, options):
        super().__init__()
        self.options = options
        self.unsent = []
        self.goal = options.count
        self.count = 0
        self.partial = {}
        self.outcomes = {}
        self.is_begun = self.is_aborted = False
        self.error = self.listener = self.timer = None
        self.handlers = [FlowController(options.credit)]

    def read_messages(self):
        self.unsent = [encode_message(json.loads(line)) for line in sys.stdin]
        self.goal = len(self.unsent)
        if not self.goal:
            sys.exit("peer.py: no messages on standard input")

    def on_reactor_init(self, event):
        options, container = self.options, event.reactor
        self.timer = container.schedule(options.timeout, self)
        if options.command == "listen":
            self.listener = container.listen(options.url, ssl_domain=self.domain(SSLDomain.MODE_SERVER))
            # The binding has no public property for the port.
            port = self.listener._selectable._delegate.getsockname()[1]
            print("listening", port, file=sys.stderr, flush=True)
            return
        settings = {"max_frame_size": options.max_frame} if options.max_frame else {}
        connection = container.connect(
            options.url, reconnect=False, heartbeat=options.heartbeat, sasl_enabled=not options.no_sasl,
            ssl_domain=self.domain(SSLDomain.MODE_CLIENT), allowed_mechs=options.mechanism,
            allow_insecure_mechs=True, user=options.user, password=options.password, **settings)
        if options.command == "send":
            self.read_messages()
            container.create_sender(connection, options.address)
        else:
            container.create_receiver(connection, options.address)

    def domain(self, mode):
        if not (self.options.ca or self.options.cert):
            return None
        domain = SSLDomain(mode)
        if self.options.cert:
            domain.set_credentials(self.options.cert, self.options.key, None)
        if self.options.ca:
            domain.set_trusted_ca_db(self.options.ca)
            domain.set_peer_authentication(
                SSLDomain.VERIFY_PEER_NAME if mode == SSLDomain.MODE_CLIENT else SSLDomain.VERIFY_PEER,
                self.options.ca)
        return domain

    # The peer answers each open, begin and attach. A link has the requested termini.
    def on_connection_remote_open(self, event):
        if event.connection.state & Endpoint.LOCAL_UNINIT:
            event.connection.container = "peer.py"
            event.connection.open()

    def on_session_remote_open(self, event):
        if event.session.state & Endpoint.LOCAL_UNINIT:
            event.session.open()

    def on_link_remote_open(self, event):
        link = event.link
        if link.state & Endpoint.LOCAL_UNINIT:
            link.source.copy(link.remote_source)
            link.target.copy(link.remote_target)
            if link.is_sender:
                self.read_messages()
            link.open()

    def on_link_flow(self, event):
        link = event.link
        while link.is_sender and self.unsent and (link.credit > 0 or self.is_begun):
            if self.options.abort and not self.is_aborted:
                # Proton drops an abort before the first byte leaves. This event repeats after the first half has left.
                if not self.is_begun:
                    link.delivery(link.delivery_tag())
                    link.stream(self.unsent[0][: len(self.unsent[0]) // 2])
                    self.is_begun = True
                    return
                if link.session.outgoing_bytes:
                    return
                link.current.abort()
                self.is_begun, self.is_aborted = False, True
                self.outcomes["aborted"] = self.outcomes.get("aborted", 0) + 1
                continue
            self.is_aborted = False
            delivery = link.delivery(link.delivery_tag())
            link.stream(self.unsent.pop(0))
            link.advance()
            if self.options.settled:
                delivery.settle()
                self.settled(link, "presettled")

    def on_delivery(self, event):
        delivery, link = event.delivery, event.link
        if link.is_sender:
            if delivery.updated and delivery.remote_state:
                delivery.settle()
                self.settled(link, str(delivery.remote_state).lower())
        elif delivery.aborted:
            self.partial.pop(link.name, None)
            delivery.settle()
            self.outcomes["aborted"] = self.outcomes.get("aborted", 0) + 1
        elif delivery.readable:
            # Each piece of a message has a separate event.
            whole = self.partial.pop(link.name, b"") + (link.recv(delivery.pending) or b"")
            if delivery.partial:
                self.partial[link.name] = whole
                return
            print(decode_message(whole), flush=True)
            link.advance()
            delivery.update(Delivery.ACCEPTED)
            delivery.settle()
            self.settled(link, "accepted")

    def settled(self, link, outcome):
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        self.count += 1
        if self.count == self.goal:
            link.connection.close()
            self.end()

    def on_connection_remote_close(self, event):
        event.connection.close()
        condition = event.connection.remote_condition
        if condition:
            self.fail(f"connection closed: {condition}")
        elif self.goal is not None and self.count < self.goal:
            self.fail(f"connection closed after {self.count} of {self.goal} messages")
        self.end()

    def on_session_remote_close(self, event):
        event.session.close()
        if event.session.remote_condition:
            self.fail(f"session ended: {event.session.remote_condition}")
            event.connection.close()

    def on_link_remote_close(self, event):
        event.link.close()
        if event.link.remote_condition:
            self.fail(f"link detached: {event.link.remote_condition}")
            event.connection.close()

    on_link_remote_detach = on_link_remote_close

    def on_transport_error(self, event):
        if self.goal is None or self.count < self.goal:
            self.fail(f"transport: {event.transport.condition}")
        self.end()

    def on_timer_task(self, event):
        self.fail(f"timed out after {self.options.timeout} s with {self.count} messages")
        event.reactor.stop()

    def fail(self, error):
        self.error = self.error or error

    def end(self):
        self.timer.cancel()
        if self.listener:
            self.listener.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["send", "receive", "listen"])
    parser.add_argument("url", help="amqp://HOST:PORT, amqps://HOST:PORT or HOST:PORT")
    parser.add_argument("address", nargs="?", help="for send and receive")
    parser.add_argument("--count", type=int, help="end after this many received messages")
    parser.add_argument("--credit", type=int, default=100)
    parser.add_argument("--timeout", type=float, default=30, help="seconds; default 30")
    parser.add_argument("--settled", action="store_true", help="send settled")
    parser.add_argument("--abort", action="store_true", help="send half of each message first, and abort that")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--mechanism", help="the one SASL mechanism to allow")
    parser.add_argument("--no-sasl", action="store_true", help="open without a SASL layer")
    parser.add_argument("--ca", help="PEM file: verify the other side with it")
    parser.add_argument("--cert", help="PEM file: certificate to show")
    parser.add_argument("--key", help="PEM file: key of --cert")
    parser.add_argument("--heartbeat", type=float, help="idle timeout in seconds")
    parser.add_argument("--max-frame", type=int, help="bytes")
    options = parser.parse_args()
    if (options.command == "listen") == bool(options.address):
        parser.error("send and receive want URL ADDRESS, listen wants HOST:PORT")
    peer = Peer(options)
    Container(peer).run()
    print(json.dumps({"messages": peer.count, **peer.outcomes}), file=sys.stderr)
    if peer.error:
        sys.exit(f"peer.py: {peer.error}")


main()
