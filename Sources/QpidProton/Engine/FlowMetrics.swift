internal import CoreMetrics

/// The metrics of one connection. It is used on its event loop alone.
final class FlowMetrics {
    /// The metrics of one link.
    private final class Link {
        let bytes: Gauge
        let messages: Gauge
        let credit: Gauge
        let unsettled: Gauge
        var counters: [AMQPBlockCause: (counter: Counter, counted: Int64)] = [:]
        var timers: [AMQPBlockCause: CoreMetrics.Timer] = [:]
        let dimensions: [(String, String)]

        init(_ settings: AMQPMetrics, _ dimensions: [(String, String)]) {
            func gauge(_ name: String) -> Gauge {
                Gauge(label: settings.name(name), dimensions: dimensions, factory: settings.usedFactory)
            }
            self.bytes = gauge("amqp.link.bytes")
            self.messages = gauge("amqp.link.messages")
            self.credit = gauge("amqp.link.credit")
            self.unsettled = gauge("amqp.link.unsettled")
            self.dimensions = dimensions
        }

        func destroy() {
            for gauge in [self.bytes, self.messages, self.credit, self.unsettled] { gauge.destroy() }
            for counter in self.counters.values { counter.counter.destroy() }
            for timer in self.timers.values { timer.destroy() }
        }
    }

    private let settings: AMQPMetrics
    private let shortest: Int64
    private let outgoing: Gauge
    private let socket: Gauge
    private var links: [UInt64: Link] = [:]

    init(_ settings: AMQPMetrics) {
        self.settings = settings
        self.shortest = settings.shortestBlock.nanoseconds
        func gauge(_ name: String) -> Gauge {
            Gauge(label: settings.name(name), dimensions: settings.dimensions, factory: settings.usedFactory)
        }
        self.outgoing = gauge("amqp.connection.outgoing_bytes")
        self.socket = gauge("amqp.connection.socket_bytes")
    }

    func destroy() {
        self.outgoing.destroy()
        self.socket.destroy()
        for link in self.links.values { link.destroy() }
        self.links = [:]
    }

    /// Writes gauges and counters.
    func record(_ handler: ConnectionHandler, _ now: Int64) {
        self.outgoing.record(handler.mailbox.ledger(handler.node)?.used ?? 0)
        self.socket.record(handler.unwrittenBytes)
        var seen: Set<UInt64> = []
        for session in handler.sessions.values {
            for endpoint in session.links.values where !endpoint.isDone {
                seen.insert(endpoint.number)
                self.record(endpoint, now)
            }
        }
        for (id, link) in self.links where !seen.contains(id) {
            link.destroy()
            self.links[id] = nil
        }
    }

    private func record(_ endpoint: LinkEndpoint, _ now: Int64) {
        let snapshot = endpoint.snapshot(at: now)
        let link = self.link(endpoint)
        link.bytes.record(snapshot.bytes.used)
        link.messages.record(snapshot.messages)
        link.credit.record(snapshot.credit)
        link.unsettled.record(snapshot.unsettled)
        for (cause, duration) in snapshot.blockedTimes {
            var entry = link.counters[cause] ?? (self.counter(cause, link), 0)
            entry.counter.increment(by: max(0, duration.nanoseconds - entry.counted))
            entry.counted = duration.nanoseconds
            link.counters[cause] = entry
        }
    }

    /// Records the length of a block.
    func ended(_ block: BlockClock.Ended, on endpoint: LinkEndpoint) {
        guard block.duration >= self.shortest else { return }
        let link = self.link(endpoint)
        let timer =
            link.timers[block.cause]
            ?? CoreMetrics.Timer(
                label: self.settings.name("amqp.link.blocked"),
                dimensions: link.dimensions + [("cause", block.cause.rawValue)],
                factory: self.settings.usedFactory
            )
        link.timers[block.cause] = timer
        timer.recordNanoseconds(block.duration)
    }

    private func counter(_ cause: AMQPBlockCause, _ link: Link) -> Counter {
        Counter(
            label: self.settings.name("amqp.link.blocked_nanoseconds"),
            dimensions: link.dimensions + [("cause", cause.rawValue)],
            factory: self.settings.usedFactory
        )
    }

    private func link(_ endpoint: LinkEndpoint) -> Link {
        let id = endpoint.number
        if let link = self.links[id] { return link }
        let role = endpoint is SenderEndpoint ? "sender" : "receiver"
        let link = Link(
            self.settings,
            self.settings.dimensions + [("link", endpoint.status.name), ("role", role)]
        )
        self.links[id] = link
        return link
    }
}

extension AMQPMetrics {
    fileprivate var usedFactory: any MetricsFactory { self.factory ?? MetricsSystem.factory }
}
