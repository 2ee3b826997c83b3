# SPDX-License-Identifier: Apache-2.0

"""Reads all messages of a queue of RabbitMQ 4 with Proton's Python binding, for dev/chaos.

  chaos_read.py PORT QUEUE FILE [--idle SECONDS]

Writes a line for each message, in the order of the queue: sender and number, separated by a tab. Ends when no message
has arrived for some seconds, and prints the number of messages. Run it with Debian's /usr/bin/python3 and its package
python3-qpid-proton.
"""
import argparse
import sys

from proton.handlers import MessagingHandler
from proton.reactor import Container


class Reader(MessagingHandler):
    def __init__(self, options, file):
        super().__init__(prefetch=2000, auto_accept=True)
        self.options, self.file = options, file
        self.count, self.seen, self.error = 0, -1, None

    def on_start(self, event):
        url = f"amqp://127.0.0.1:{self.options.port}"
        self.connection = event.container.connect(
            url, reconnect=False, user="guest", password="guest", allow_insecure_mechs=True, allowed_mechs="PLAIN")
        event.container.create_receiver(self.connection, f"/queues/{self.options.queue}")
        event.container.schedule(self.options.idle, self)

    def on_message(self, event):
        sender, number, _ = event.message.body.split(" ", 2)
        self.file.write(f"{sender}\t{number}\n")
        self.count += 1

    def on_timer_task(self, event):
        if self.seen == self.count:
            self.connection.close()
            return
        self.seen = self.count
        event.container.schedule(self.options.idle, self)

    def fail(self, what, condition):
        self.error = f"{what}: {condition}"
        self.connection.close()

    def on_link_error(self, event):
        self.fail("link", event.link.remote_condition)

    def on_session_error(self, event):
        self.fail("session", event.session.remote_condition)

    def on_connection_error(self, event):
        self.fail("connection", event.connection.remote_condition)

    def on_transport_error(self, event):
        self.fail("transport", event.transport.condition)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("queue")
    parser.add_argument("file")
    parser.add_argument("--idle", type=float, default=2)
    options = parser.parse_args()
    with open(options.file, "w") as file:
        file.write("# sender\tnumber, as read from the broker\n")
        reader = Reader(options, file)
        Container(reader).run()
    if reader.error:
        sys.exit(f"chaos_read: {reader.error}")
    print(reader.count)


main()
