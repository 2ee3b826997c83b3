// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QpidProton
import Synchronization

/// The effect of a stalled link on another link, and of one direction on the other.
struct Neighbour: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "neighbour",
        abstract: "Measures the effect of a stalled link on its neighbour, and of a slow target on receiving.",
        discussion: """
            First a link sends 4 KiB messages at full speed, alone and beside a link whose target grants no more credit. Then \
            a link receives at full speed, alone and beside a link that sends to a target of 100 messages a second. The \
            variants run in turn. Rates are the medians of the rounds, and a ratio is the median of the rounds' ratios.
            """
    )

    @Option(help: "The rounds.")
    var rounds = 9

    @Option(help: ArgumentHelp("The seconds of each measurement.", valueName: "seconds"))
    var seconds = 1.0

    private static let size = 4_096
    private static let limit = AMQPSendLimit(high: .kibibytes(256))

    func run() async throws {
        Watchdog.start("neighbour", limit: .seconds(Double(self.rounds) * (4 * self.seconds + 10) + 30))
        var report = Report("neighbour")
        let peer = try await SinkPeer.start()
        var sending = Pairs()
        var receiving = Pairs()
        for round in 0..<self.rounds {
            for isBeside in round.isMultiple(of: 2) ? [false, true] : [true, false] {
                sending.add(try await self.send(isBeside, peer), isBeside: isBeside)
            }
            for isBeside in round.isMultiple(of: 2) ? [false, true] : [true, false] {
                receiving.add(try await self.receive(isBeside, peer), isBeside: isBeside)
            }
        }
        sending.show("sent", beside: "stalled", unit: "msg/s", &report)
        receiving.show("received", beside: "slow-target", unit: "msg/s", &report)
        try report.end()
    }

    /// Measures the rate of a link, alone or beside a stalled link of its session.
    private func send(_ isBeside: Bool, _ peer: SinkPeer) async throws -> Double {
        try await peer.withConnection { connection in
            let session = try await connection.openSession()
            var stalled: Load?
            if isBeside {
                stalled = try Load(try await session.openSender(to: .stalled, limit: Self.limit), size: Self.size)
            }
            let load = try Load(try await session.openSender(to: .fast), size: Self.size)
            try await Task.sleep(for: .milliseconds(300))
            let rate = try await load.messagesPerSecond(for: .seconds(self.seconds))
            await load.stop()
            await stalled?.stop()
            return rate
        }
    }

    /// Measures the rate of receiving, alone or beside a link that sends to a slow target.
    private func receive(_ isBeside: Bool, _ peer: SinkPeer) async throws -> Double {
        try await peer.withConnection { connection in
            let session = try await connection.openSession()
            var slow: Load?
            if isBeside {
                slow = try Load(try await session.openSender(to: .slow, limit: Self.limit), size: Self.size)
            }
            let receiver = try await session.openReceiver(from: Sink.Place.source.rawValue)
            let received = Counter()
            let task = Task.detached {
                while let batch = try? await receiver.nextBatch(max: 64), !batch.isEmpty {
                    received.add(batch.count)
                    batch.acceptAll()
                }
            }
            try await Task.sleep(for: .milliseconds(300))
            let rate = try await Rate.measure(for: .seconds(self.seconds)) { received.value }
            await slow?.stop()
            await receiver.close()
            await task.value
            return rate
        }
    }
}

/// A number that one task increases and another task reads.
private final class Counter: Sendable {
    private let count = Atomic(0)
    var value: Int { self.count.load(ordering: .relaxed) }
    func add(_ number: Int) { self.count.add(number, ordering: .relaxed) }
}
