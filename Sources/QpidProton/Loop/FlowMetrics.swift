// SPDX-License-Identifier: Apache-2.0

internal import CoreMetrics
internal import Synchronization

/// The metrics of one connection. Used on its event loop only.
///
/// Counts are plain integers here. The connection writes them to the series of ``MetricsHub`` at intervals, and at its
/// end.
final class FlowMetrics {
    private struct GroupKey: Hashable {
        let address: String
        let isSender: Bool
    }

    private let settings: AMQPMetrics
    private let shortest: Int64
    /// The connection's shares of the gauges: open connections, outgoing bytes, and bytes that the socket has not
    /// accepted.
    private var shares: (open: GaugeShare, outgoing: GaugeShare, socket: GaugeShare)?
    private var isOpen = false
    private var hasStopped = false
    private var groups: [GroupKey: LinkGroup] = [:]
    /// The senders by their ledgers, until all their bytes are written or lost.
    private var senders: [SlotKey: LinkMeter] = [:]

    init(_ settings: AMQPMetrics) {
        self.settings = settings
        self.shortest = settings.shortestBlock.nanoseconds
    }

    func start() {
        guard !self.hasStopped else { return }
        let (settings, hub) = (self.settings, self.settings.hub)
        self.shares = (
            hub.share(settings.series(.connections)), hub.share(settings.series(.outgoingBytes)),
            hub.share(settings.series(.socketBytes))
        )
    }

    /// Ends the gauges of the connection. The results of incomplete writes still count.
    func stop() {
        self.hasStopped = true
        for meter in self.senders.values { meter.updateDropped() }
        for group in self.groups.values {
            group.flush()
            group.endGauges()
        }
        self.shares?.open.end()
        self.shares?.outgoing.end()
        self.shares?.socket.end()
        self.shares = nil
    }

    // MARK: The connection

    func opened() {
        self.settings.counter(.connectionsOpened).increment()
        self.isOpen = true
        self.shares?.open.record(1)
    }

    /// Counts the end of the connection.
    func ended(_ error: AMQPError?) {
        self.isOpen = false
        self.shares?.open.record(0)
        if let error { self.settings.count(connectionError: error) }
    }

    // MARK: Links

    func meter(_ link: LinkEndpoint, to target: AMQPTarget, node: SlotKey) -> LinkMeter {
        let meter = LinkMeter(self.group(target.address, target.isDynamic, isSender: true), link.status)
        self.senders[node] = meter
        return meter
    }

    func meter(_ link: LinkEndpoint, from source: AMQPSource) -> LinkMeter {
        LinkMeter(self.group(source.address, source.isDynamic, isSender: false), link.status)
    }

    private func group(_ address: String?, _ isDynamic: Bool, isSender: Bool) -> LinkGroup {
        let address = self.settings.dimension(of: address, isDynamic: isDynamic)
        let key = GroupKey(address: address, isSender: isSender)
        if let group = self.groups[key] { return group }
        let group = LinkGroup(self.settings, address: address, role: isSender ? "sender" : "receiver")
        self.groups[key] = group
        return group
    }

    /// Counts the fate of a message that Proton has not received.
    func count(_ cause: AMQPError, of message: PendingMessage) { self.senders[message.node]?.fail(cause) }

    /// Counts bytes that the socket has accepted or lost. Call ``flushIfStopped()`` after the last of them.
    func written(_ message: InFlightBytes, isDone: Bool) {
        guard let meter = self.senders[message.node] else { return }
        if isDone { meter.write(message.bytes) }
        if message.settled != nil { meter.group.add(isDone ? .settled : .inDoubt) }
    }

    /// Counts the messages in doubt among bytes in Proton that are not written any more.
    func lost(_ handed: some Sequence<InFlightBytes>) {
        for handed in handed where handed.settled != nil { self.senders[handed.node]?.group.add(.inDoubt) }
        self.flushIfStopped()
    }

    func flushIfStopped() {
        guard self.hasStopped else { return }
        for group in self.groups.values { group.flush() }
    }

    /// Records the length of a block.
    func ended(_ block: BlockClock.Ended, on link: LinkEndpoint) {
        if block.duration >= self.shortest { link.meter?.group.recordBlock(block) }
    }

    // MARK: Writing

    /// Writes gauges and counters.
    func record(_ handler: ConnectionHandler, _ now: Int64) {
        self.shares?.open.record(self.isOpen ? 1 : 0)
        self.shares?.outgoing.record(handler.outbox.ledger(handler.node)?.used ?? 0)
        self.shares?.socket.record(handler.unwrittenBytes)
        for group in self.groups.values { group.levels = LinkGroup.Levels() }
        for session in handler.sessions.values {
            for link in session.links.values where !link.isDone { self.add(link, now) }
        }
        for (node, meter) in self.senders where meter.hasEnded {
            meter.updateDropped()
            // The end of the connection frees its ledgers before the bytes on their way.
            if handler.ended.answer == nil, handler.outbox.ledger(node) == nil { self.senders[node] = nil }
        }
        for group in self.groups.values {
            group.flush()
            group.recordLevels()
        }
    }

    private func add(_ link: LinkEndpoint, _ now: Int64) {
        guard let meter = link.meter, !meter.hasEnded else { return }
        meter.update(link, now)
        let figures = link.figures
        let credit = link.status.credit.load(ordering: .relaxed)
        meter.group.levels.links += 1
        meter.group.levels.bytes += figures.bytes.used.bytes
        meter.group.levels.messages += figures.messages
        meter.group.levels.credit += credit
        meter.group.levels.unsettled += figures.unsettled
    }
}
