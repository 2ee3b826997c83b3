"""The brokers that messages go through. RabbitMQ finds its place here: a function that starts it, and PROGRAMS."""

from Bench.contenders import PEERS

OURS = ".build/release/broker"
PROTON = f"{PEERS}/broker"


def ours(children):
    """Our example broker, which says on stderr where it listens."""
    broker = children.start([OURS, "--listen", "127.0.0.1:0"])
    return broker, children.port(broker)


def proton(children):
    """Proton's example broker in C, which says it on stdout: stdbuf(1) has it flushed."""
    broker = children.start(["stdbuf", "-oL", PROTON, "127.0.0.1", "0"])
    return broker, children.port(broker, "out")


PROGRAMS = {"ours": (ours, OURS), "c": (proton, PROTON)}


def start(name, children):
    """Starts a broker with empty queues. Returns it and its port."""
    return PROGRAMS[name][0](children)
