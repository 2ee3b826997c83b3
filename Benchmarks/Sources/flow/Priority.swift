import ArgumentParser
import QpidProton

/// The latency of urgent messages beside bulk.
struct Priority: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "priority",
        abstract: "Measures the latency of small urgent messages beside bulk on the same connection.",
        discussion: """
            Bulk is 1 MiB messages without end; 200 alarms of 100 bytes a second are on a session of their own with priority \
            9 (lanes), the same with equal priorities (equal), and on the link of the bulk (fifo). Then bulk alone, and bulk \
            beside a link with 1,000 messages and no credit. Rounds take turns; the figures are their medians. Latencies \
            are from the call that sends to the settlement.
            """
    )

    @Option(help: "The rounds.")
    var rounds = 3

    @Option(help: ArgumentHelp("The seconds of each measurement.", valueName: "seconds"))
    var seconds = 3.0

    @Option(help: ArgumentHelp("The send limit of the bulk's session, in bytes.", valueName: "bytes"))
    var limit = 4_194_304

    @Option(help: ArgumentHelp("The incoming capacity of the peer's sessions, in bytes.", valueName: "bytes"))
    var capacity = 67_108_864

    @Flag(help: "Leave out the link without credit.")
    var alarmsOnly = false

    private static let bulkSize = 1 << 20

    private enum Lanes: String, CaseIterable { case lanes, equal, fifo }

    private struct Round {
        let latency: Alarms.Latency
        let bulk: Double
    }

    func run() async throws {
        Watchdog.start("priority", limit: .seconds(Double(self.rounds) * (5 * self.seconds + 10) + 30))
        var report = Report("priority")
        let peer = try await SinkPeer.start(capacity: self.capacity)
        var rounds: [Lanes: [Round]] = [:]
        var bulks = Pairs()
        for number in 0..<self.rounds {
            // Each round begins with another one.
            for index in 0..<Lanes.allCases.count {
                let lanes = Lanes.allCases[(number + index) % Lanes.allCases.count]
                rounds[lanes, default: []].append(try await self.measure(lanes, peer))
            }
            guard !self.alarmsOnly else { continue }
            for hasIdleLink in number.isMultiple(of: 2) ? [false, true] : [true, false] {
                bulks.add(try await self.bulk(hasIdleLink, peer), isBeside: hasIdleLink)
            }
        }
        for lanes in Lanes.allCases { self.show(rounds[lanes] ?? [], lanes, report) }
        let p99 = { (lanes: Lanes) in (rounds[lanes] ?? []).map(\.latency.p99).median }
        report.note("p99-equal-to-lanes", p99(.equal) / p99(.lanes), "x")
        report.atLeast("p99-fifo-to-lanes", p99(.fifo) / p99(.lanes), 20, "x")
        if !self.alarmsOnly { bulks.show("bulk", beside: "creditless", unit: "MB/s", &report) }
        try report.end()
    }

    private func show(_ rounds: [Round], _ lanes: Lanes, _ report: Report) {
        let name = lanes.rawValue
        report.note("\(name)-alarms", Double(rounds.reduce(0) { $0 + $1.latency.count }))
        report.note("\(name)-p50", rounds.map(\.latency.p50).median, "ms")
        report.note("\(name)-p99", rounds.map(\.latency.p99).median, "ms")
        report.note("\(name)-p99.9", rounds.map(\.latency.p999).median, "ms")
        report.note("\(name)-max", rounds.map(\.latency.max).max() ?? 0, "ms")
        report.note("\(name)-bulk", rounds.map(\.bulk).median, "MB/s")
    }

    private var bulkSession: AMQPSession.Configuration { .init(sendLimit: .init(high: ByteCount(self.limit))) }

    private func measure(_ lanes: Lanes, _ peer: SinkPeer) async throws -> Round {
        try await peer.withConnection { connection in
            let session = try await connection.openSession(self.bulkSession)
            let bulk = try await session.openSender(to: .bulk, priority: lanes == .lanes ? 0 : 4)
            let alarms = lanes == .fifo ? bulk : try await self.alarmSender(lanes, connection)
            let load = try Load(bulk, size: Self.bulkSize)
            // The buffers of the sockets have to grow first.
            try await Task.sleep(for: .milliseconds(500))
            let seconds = self.seconds
            let rate = Task { try await load.megabytesPerSecond(for: .seconds(seconds)) }
            let latency = try await Alarms().send(on: alarms, for: .seconds(self.seconds))
            let round = Round(latency: latency, bulk: try await rate.value)
            await load.stop()
            return round
        }
    }

    private func alarmSender(_ lanes: Lanes, _ connection: AMQPConnection) async throws -> AMQPSender {
        try await connection.openSession().openSender(to: .fast, priority: lanes == .lanes ? 9 : 4)
    }

    private func bulk(_ hasIdleLink: Bool, _ peer: SinkPeer) async throws -> Double {
        try await peer.withConnection { connection in
            let session = try await connection.openSession(self.bulkSession)
            let bulk = try await session.openSender(to: .bulk)
            if hasIdleLink {
                let idle = try await session.openSender(to: .creditless, limit: .init(high: .mebibytes(1)))
                for _ in 0..<1_000 { try idle.trySend(AMQPMessage(body: "waits")) }
            }
            let load = try Load(bulk, size: Self.bulkSize)
            try await Task.sleep(for: .milliseconds(500))
            let rate = try await load.megabytesPerSecond(for: .seconds(self.seconds))
            await load.stop()
            return rate
        }
    }
}
