// SPDX-License-Identifier: Apache-2.0

internal import CoreMetrics
internal import DequeModule
internal import Synchronization

/// The metrics of one connection's links with the same address and role. Used on its event loop only.
final class LinkGroup {
    /// The current values of its links, in the order of the gauges.
    struct Levels {
        var links = 0
        var bytes = 0
        var messages = 0
        var credit = 0
        var unsettled = 0
    }

    let settings: AMQPMetrics
    let address: (String, String)
    let role: (String, String)
    var levels = Levels()
    @exclusivity(unchecked) private var counts = Array(repeating: 0, count: LinkCount.allCases.count)
    private var counters: [Counter?] = Array(repeating: nil, count: LinkCount.allCases.count)
    private var blocked: [AMQPBlockCause: Int64] = [:]
    private var gauges: [GaugeShare] = []
    private lazy var outcomeTimer = self.settings.hub.timer(self.settings.series(.outcomeTime, [self.address]))

    init(_ settings: AMQPMetrics, address: String, role: String) {
        self.settings = settings
        self.address = ("address", address)
        self.role = ("role", role)
    }

    func add(_ count: LinkCount, _ number: Int = 1) { self.counts[count.rawValue] += number }

    func addBlocked(_ nanoseconds: Int64, _ cause: AMQPBlockCause) {
        if nanoseconds > 0 { self.blocked[cause, default: 0] += nanoseconds }
    }

    func recordOutcome(after nanoseconds: Int64) { self.outcomeTimer.recordNanoseconds(max(0, nanoseconds)) }

    /// Records the length of a block.
    func recordBlock(_ block: BlockClock.Ended) {
        let dimensions = [self.address, self.role, ("cause", block.cause.rawValue)]
        self.settings.hub.timer(self.settings.series(.blocked, dimensions)).recordNanoseconds(block.duration)
    }

    /// Writes the counters.
    func flush() {
        for count in LinkCount.allCases where self.counts[count.rawValue] > 0 {
            let counter = self.counters[count.rawValue] ?? self.makeCounter(count)
            self.counters[count.rawValue] = counter
            counter.increment(by: self.counts[count.rawValue])
            self.counts[count.rawValue] = 0
        }
        for (cause, time) in self.blocked {
            let dimensions = [self.address, self.role, ("cause", cause.rawValue)]
            self.settings.counter(.blockedNanoseconds, dimensions).increment(by: time)
        }
        self.blocked = [:]
    }

    private func makeCounter(_ count: LinkCount) -> Counter {
        self.settings.counter(count.name, [self.address] + (count.outcome.map { [("outcome", $0)] } ?? []))
    }

    /// Writes the gauges while there are links.
    func recordLevels() {
        guard self.levels.links > 0 else { return self.endGauges() }
        if self.gauges.isEmpty {
            self.gauges = [MetricName.linkBytes, .linkMessages, .linkCredit, .linkUnsettled].map {
                self.settings.hub.share(self.settings.series($0, [self.address, self.role]))
            }
        }
        let values = [self.levels.bytes, self.levels.messages, self.levels.credit, self.levels.unsettled]
        for (gauge, value) in zip(self.gauges, values) { gauge.record(value) }
    }

    func endGauges() {
        for gauge in self.gauges { gauge.end() }
        self.gauges = []
    }
}

/// The measurements of one link. Used on its event loop only.
final class LinkMeter {
    let group: LinkGroup
    private let status: LinkStatus
    private(set) var hasEnded = false
    /// The values already reported to the group.
    private var blocked: [AMQPBlockCause: Int64] = [:]
    private var dropped = 0
    // For a sender: the bytes handed to Proton, the written bytes, and the ends of unwritten messages among the handed
    // bytes.
    private var handed = 0
    private var written = 0
    @exclusivity(unchecked) private var ends: Deque<Int> = []
    @exclusivity(unchecked) private var times = SendTimes()

    init(_ group: LinkGroup, _ status: LinkStatus) {
        self.group = group
        self.status = status
    }

    // MARK: Sending

    /// Counts a piece of the message with this number that Proton has received.
    func handOver(_ slice: SendQueue<SenderEndpoint>.Slice, number: Int, at now: Int64) {
        self.handed += slice.ledgerBytes
        if slice.isFirst, !slice.message.isSettled { self.times.begin(number, at: now) }
        if slice.isLast { self.ends.append(self.handed) }
    }

    /// Counts bytes that the socket has accepted.
    func write(_ bytes: Int) {
        self.written += bytes
        self.group.add(.bytesSent, bytes)
        while let end = self.ends.first, end <= self.written {
            self.ends.removeFirst()
            self.group.add(.messagesSent)
        }
    }

    /// Counts the peer's outcome of a delivery that this side has not settled yet.
    func outcome(_ answer: OutcomeBlock.Answer, number: Int, at now: Int64) {
        self.group.add(LinkCount(answer))
        if let time = self.times.end(number) { self.group.recordOutcome(after: now - time) }
    }

    /// Counts a message that receives no outcome.
    func fail(_ cause: AMQPError) { self.group.add(LinkCount(.failure(cause))) }

    /// Counts the unfinished messages of an ended link.
    func fail(unsent: Int, inDoubt: Int) {
        self.group.add(.notSent, unsent)
        self.group.add(.inDoubt, inDoubt)
    }

    // MARK: Receiving

    func receive(_ bytes: Int) {
        self.group.add(.messagesReceived)
        self.group.add(.bytesReceived, bytes)
    }

    func decide(_ outcome: AMQPOutcome) { self.group.add(LinkCount(deciding: outcome)) }

    /// The function that counts lost decisions, from any thread.
    var lost: @Sendable (Int) -> Void {
        { [settings = self.group.settings, address = self.group.address] count in
            settings.counter(.settlementsLost, [address]).increment(by: count)
        }
    }

    // MARK: The life of the link

    func open() { self.group.settings.counter(.linksOpened, [self.group.role]).increment() }

    /// Adds the times of blocks and the dropped messages to the group.
    func update(_ link: LinkEndpoint, _ now: Int64) {
        for (cause, duration) in link.blocks.totals(at: now) {
            self.group.addBlocked(duration.nanoseconds - self.blocked[cause, default: 0], cause)
            self.blocked[cause] = duration.nanoseconds
        }
        self.updateDropped()
    }

    func updateDropped() {
        let dropped = self.status.droppedMessages.load(ordering: .relaxed)
        self.group.add(.dropped, dropped - self.dropped)
        self.dropped = dropped
    }

    /// Counts the end of the link. Bytes in Proton may still be written and counted.
    func end(_ error: AMQPError?, _ link: LinkEndpoint) {
        guard !self.hasEnded else { return }
        self.hasEnded = true
        let condition = ("condition", error?.condition.dimension ?? "none")
        self.group.settings.counter(.linksEnded, [self.group.role, condition]).increment()
        self.update(link, link.handler.now)
        self.group.flush()
    }
}
