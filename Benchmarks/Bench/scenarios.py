# SPDX-License-Identifier: Apache-2.0

"""The cases of each scenario, and the programs that run in turn in each case."""

from dataclasses import dataclass, field

SIZES = {100: "100B", 1024: "1KiB", 10240: "10KiB", 1048576: "1MiB"}
CREDITS = (10, 100, 1000)
LINKS = (1, 10, 100, 1000)
# The way of receiving of our program in scenarios that do not compare ways of receiving.
SETTLE = ("--settle", "batch")
FROM = ("--from", "detached")
LOOP = ("--from", "loop")


@dataclass(frozen=True)
class Entry:
    """A program that runs in turn with others."""

    label: str
    contender: str
    # The additional arguments of our program.
    receiver: tuple = ()
    sender: tuple = ()
    # The broker of brokers.py between the two ends.
    broker: str | None = None


@dataclass(frozen=True)
class Case:
    scenario: str
    name: str
    # The function of measure.py.
    kind: str
    entries: tuple
    settings: dict = field(default_factory=dict)
    # The count of the warm-up, and of --quick, for a contender of pace 1.
    warm_up: int = 1000
    quick: int = 100
    # The duration of a measurement; None to keep the count of the warm-up.
    seconds: float | None = 1.5
    most: int = 10_000_000

    @property
    def title(self):
        return f"{self.scenario} {self.name}"


def entries(*names):
    return tuple(Entry("ours", "ours", SETTLE, FROM) if name == "ours" else Entry(name, name) for name in names)


def transfer(scenario, name, who, size=100, credit=1000, quick=2000, **other):
    """Returns a case with messages from a sender to a receiver."""
    fields = {key: other.pop(key) for key in ("seconds", "most") if key in other}
    warm_up = {100: 20_000, 1024: 20_000, 10240: 5_000, 1048576: 60}[size]
    quick = {100: quick, 1024: quick, 10240: 300, 1048576: 5}[size]
    settings = {"size": size, "credit": credit} | other
    return Case(scenario, name, "transfer", who, settings, warm_up, quick, **fields)


def throughput():
    for settlement in ("unsettled", "presettled"):
        for size, text in SIZES.items():
            for credit in CREDITS:
                names = ["ours", "c-proactor"]
                if credit == 1000:
                    names.append("c-engine")
                    if settlement == "unsettled" or size == 100:
                        names.append("cpp")
                    if settlement == "unsettled" and size in (100, 10240):
                        names.append("python")
                name = f"{settlement}-{text}-credit-{credit}"
                options = {"settled": True} if settlement == "presettled" else {}
                yield transfer("throughput", name, entries(*names), size, credit, **options)


def latency():
    on_loop = Entry("ours-loop", "ours", (*SETTLE, *LOOP), LOOP)
    who = (*entries("ours"), on_loop, *entries("c-proactor", "c-engine", "cpp", "python"))
    for depth in (1, 32):
        yield Case("latency", f"depth-{depth}", "latency", who, {"size": 100, "depth": depth}, 5000, 200)
    # Both ends on one core, which excludes the effects of other cores and their wake-ups.
    who = (*entries("ours"), on_loop, *entries("c-proactor"))
    settings = {"size": 100, "depth": 1, "one_core": True}
    yield Case("latency", "depth-1-one-core", "latency", who, settings, 5000, 200)


def receive():
    ways = [Entry(f"ours-{way}", "ours", ("--settle", way), FROM) for way in ("each", "batch", "workers")]
    yield transfer("receive", "unsettled-100B-credit-1000", (*ways, Entry("c-proactor", "c-proactor")))


def sent_from():
    ways = [Entry(f"ours-{place}", "ours", SETTLE, ("--from", place)) for place in ("detached", "main")]
    ways.append(Entry("ours-loop", "ours", (*SETTLE, *LOOP), LOOP))
    yield transfer("from", "unsettled-100B-credit-1000", (*ways, Entry("c-proactor", "c-proactor")))


def connect():
    who = entries("ours", "c-proactor", "cpp", "python")
    yield Case("connect", "plain", "connect", who, {}, 200, 10, most=20_000)
    yield Case("connect", "tls", "connect", who, {"tls": True}, 100, 5, most=10_000)


def tls():
    yield transfer("tls", "unsettled-10KiB-credit-1000", entries("ours", "c-proactor", "cpp"), 10240, tls=True)


def idle():
    # The count is the subject, so it is not adjusted to a time.
    who = entries("ours", "c-proactor", "cpp")
    yield Case("idle", "1000-connections", "idle", who, {}, 1000, 50, seconds=None)


def links():
    # Longer runs, so that opening the links is a small part.
    for count in LINKS:
        yield transfer("links", f"{count}", entries("ours", "c-proactor"), links=count, seconds=2.0)


def codec():
    for name in ("message", "map"):
        yield Case("codec", name, "codec", entries("ours", "c-proactor"), {"message": name}, 5000, 200, seconds=1.0)


def broker():
    who = (
        Entry("ours-through-ours", "ours", SETTLE, FROM, "ours"),
        Entry("ours-through-c", "ours", SETTLE, FROM, "c"),
        Entry("c-proactor-through-ours", "c-proactor", broker="ours"),
        Entry("c-proactor-through-c", "c-proactor", broker="c"),
    )
    # No large messages: Proton's example broker loses the beginning of a message in several transfers.
    for size, credit in ((100, 1000), (1024, 100)):
        yield transfer("broker", f"unsettled-{SIZES[size]}-credit-{credit}", who, size, credit, most=500_000)


# The names of the two links of each pair.
PAIRS = {"two-senders": ("classic", "quorum"), "receive-and-send": ("receiver", "sender")}


def rabbitmq():
    # The queue holds more messages than are received in the time.
    settings = {"seconds": 3.0, "fill": 400_000}
    for name, links in PAIRS.items():
        alone = [Entry(f"{link}-alone", "ours", sender=("--only", link)) for link in links]
        yield Case("rabbitmq", name, "beside", (*alone, Entry("together", "ours")), settings, 1, 1, seconds=None)


def priority():
    yield Case("priority", "alarms", "priority", (Entry("ours", "ours"),), seconds=None)


def buffered():
    yield Case("buffered", "never-reads", "never_reads", (Entry("ours", "ours"),), seconds=None)


SCENARIOS = {
    "throughput": (throughput, "unsettled and presettled, four sizes, credit 10, 100 and 1000"),
    "latency": (latency, "from the call that sends to the settlement, 1 and 32 messages at a time"),
    "receive": (receive, "our receiver with a loop over deliveries, in batches, with 64 handlers"),
    "from": (sent_from, "our sender on a detached task, on the main actor; both ends on their connections' event loops"),
    "connect": (connect, "opening and closing connections, plain and TLS"),
    "tls": (tls, "throughput of 10 KiB messages with TLS"),
    "idle": (idle, "memory of each of 1,000 idle connections"),
    "links": (links, "cost of a message with 1, 10, 100 and 1000 links"),
    "codec": (codec, "encoding and decoding without a network"),
    "broker": (broker, "through our example broker and Proton's"),
    "rabbitmq": (rabbitmq, "two links of a session with RabbitMQ 4, each beside its rate alone; see dev/rabbitmq"),
    "priority": (priority, "urgent messages beside bulk: what `flow priority --alarms-only` prints"),
    "buffered": (buffered, "a peer that never reads: what `flow never-reads` prints"),
}
# These scenarios repeat their measurements themselves.
OF_FLOW = ("priority", "never_reads")


def cases(names, contenders):
    """Returns the cases of scenarios, with the entries of the chosen contenders."""
    for name in names or SCENARIOS:
        for case in SCENARIOS[name][0]():
            left = tuple(entry for entry in case.entries if entry.contender in contenders)
            if left:
                yield Case(**{**vars(case), "entries": left})
