// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QpidProton

/// The latency of urgent messages beside bulk.
struct Priority: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "priority",
        abstract: "Measures the latency of small urgent messages beside bulk on the same connection.",
        discussion: """
            Bulk is a stream of 1 MiB messages, as fast as the limits and the credit allow. 200 alarms of 100 bytes a second \
            use the same session: on a link with priority 9 (lanes), on a link with the priority of the bulk (equal), \
            and on the link of the bulk (fifo). A program on plain Proton-C sends both whenever it has credit (plain). \
            Then bulk runs alone, and beside a link with 1,000 messages and no credit. The variants run in turn, and \
            the figures are medians. Latencies are from the send call to the settlement. ./dev/peers compiles the program.
            """
    )

    @Option(help: "The rounds.")
    var rounds = 3

    @Option(help: ArgumentHelp("The seconds of each measurement.", valueName: "seconds"))
    var seconds = 3.0

    @Option(help: ArgumentHelp("The send limit of the bulk's session, in bytes.", valueName: "bytes"))
    var limit = 4_194_304

    @Option(help: ArgumentHelp("The incoming capacity of the peer's sessions, in bytes.", valueName: "bytes"))
    var capacity = AMQPSession.Configuration().incomingCapacity.bytes

    @Option(help: ArgumentHelp("The credit of the bulk; by default the credit of RabbitMQ 4.", valueName: "messages"))
    var credit = 170

    @Option(help: ArgumentHelp("The path of the program on plain Proton-C.", valueName: "file"))
    var plain = ".build/peers/alarms"

    @Flag(help: "Send the urgent messages of lanes and equal on a separate session.")
    var ownSession = false

    @Flag(help: "Omit the link without credit.")
    var alarmsOnly = false

    private static let bulkSize = 1 << 20

    private enum Lanes: String, CaseIterable { case lanes, equal, fifo, plain }

    private struct Round {
        let latency: Alarms.Latency
        let bulk: Double
    }

    func run() async throws {
        Watchdog.start("priority", limit: .seconds(Double(self.rounds) * (6 * self.seconds + 20) + 30))
        var report = Report("priority")
        let peer = try await SinkPeer.start("--capacity", "\(self.capacity)", "--credit", "\(self.credit)")
        var rounds: [Lanes: [Round]] = [:]
        var bulks = Pairs()
        for number in 0..<self.rounds {
            // Each round begins with another variant.
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
        report.note("p99-fifo-to-lanes", p99(.fifo) / p99(.lanes), "x")
        report.atLeast("p99-plain-to-lanes", p99(.plain) / p99(.lanes), 20, "x")
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

    private var bulkSession: AMQPSession.Configuration { .init(sendLimit: .init(high: AMQPByteCount(self.limit))) }

    private func measure(_ lanes: Lanes, _ peer: SinkPeer) async throws -> Round {
        if lanes == .plain { return try await self.measurePlain(peer) }
        return try await peer.withConnection { connection in
            let session = try await connection.openSession(self.bulkSession)
            let bulk = try await session.openSender(to: .bulk, priority: lanes == .lanes ? 0 : 4)
            let priority = lanes == .lanes ? 9 : 4
            let own = self.ownSession && lanes != .fifo ? try await connection.openSession() : session
            let alarms = lanes == .fifo ? bulk : try await own.openSender(to: .fast, priority: priority)
            let load = try Load(bulk, size: Self.bulkSize)
            // The socket buffers must grow first.
            try await Task.sleep(for: .milliseconds(500))
            let seconds = self.seconds
            let rate = Task { try await load.megabytesPerSecond(for: .seconds(seconds)) }
            let latency = try await Alarms().send(on: alarms, for: .seconds(self.seconds))
            let round = Round(latency: latency, bulk: try await rate.value)
            await load.stop()
            return round
        }
    }

    /// The output of the program on plain Proton-C.
    private struct Plain: Decodable {
        let alarms: UInt64
        let p50, p99, p999, max, bulk: Double
    }

    private func measurePlain(_ peer: SinkPeer) async throws -> Round {
        guard FileManager.default.isExecutableFile(atPath: self.plain) else {
            throw Failure("there is no program \(self.plain): run ./dev/peers, or name it with --plain")
        }
        let program = try ChildProcess(
            self.plain,
            ["127.0.0.1:\(peer.port)", "\(self.seconds)", "\(Alarms.perSecond)", "\(Self.bulkSize)"]
        )
        var last = ""
        for await line in program.lines { last = line }
        let plain = try JSONDecoder().decode(Plain.self, from: Data(last.utf8))
        let latency = Alarms.Latency(
            p50: plain.p50,
            p99: plain.p99,
            p999: plain.p999,
            max: plain.max,
            count: plain.alarms
        )
        return Round(latency: latency, bulk: plain.bulk)
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
