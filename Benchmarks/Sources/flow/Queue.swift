// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Histogram
import NIOCore
import QpidProton
import Synchronization

/// The time that messages wait behind others of a busy sender, with a fixed and with an automatic limit.
struct Queue: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Measures the time of messages behind a full queue, with a fixed and an automatic send limit.",
        discussion: """
            Tasks send at full speed. The time of a message is the time from its send call to its settlement. The variants \
            run in turn, and a ratio is the median of the rounds' ratios.
            """
    )

    @Option(help: "The rounds.")
    var rounds = 5

    @Option(help: ArgumentHelp("The seconds of each measurement.", valueName: "seconds"))
    var seconds = 1.0

    /// One way to keep a sender busy.
    struct Load {
        let name: String
        let size: Int
        let credit: Int
        var producers = 1
        var isOnLoop = false
    }

    private static let loads = [
        Load(name: "detached", size: 100, credit: 1_000), Load(name: "loop", size: 100, credit: 1_000, isOnLoop: true),
        Load(name: "producers-50", size: 100, credit: 1_000, producers: 50),
        Load(name: "10-kib", size: 10_240, credit: 170),
    ]

    private static let ceiling = AMQPByteCount.mebibytes(1)

    /// The counts and times of the tasks of one measurement.
    private final class Seen: Sendable {
        let settled = Atomic(0)
        let isWarm = Atomic(false)
        let times = Mutex(Histogram<UInt64>(highestTrackableValue: 60_000_000_000))
    }

    private struct Figures {
        var rate: [Double] = []
        var median: [Double] = []
        var high: [Double] = []
    }

    func run() async throws {
        let time = Double(self.rounds * Self.loads.count) * (2 * self.seconds + 10)
        Watchdog.start("queue", limit: .seconds(time + 30))
        var report = Report("queue")
        for load in Self.loads { try await self.measure(load, &report) }
        try report.end()
    }

    private func measure(_ load: Load, _ report: inout Report) async throws {
        let peer = try await SinkPeer.start("--credit", "\(load.credit)")
        var figures: [Bool: Figures] = [:]
        for round in 0..<self.rounds {
            for isAutomatic in round.isMultiple(of: 2) ? [false, true] : [true, false] {
                let limit = isAutomatic ? AMQPSendLimit.automatic(upTo: Self.ceiling) : .init(high: Self.ceiling)
                let (rate, times) = try await self.send(load, limit, peer)
                figures[isAutomatic, default: Figures()].rate.append(rate)
                figures[isAutomatic]?.median.append(Double(times.valueAtPercentile(50)) / 1e6)
                figures[isAutomatic]?.high.append(Double(times.valueAtPercentile(99)) / 1e6)
            }
        }
        guard let fixed = figures[false], let automatic = figures[true] else { return }
        report.note("\(load.name)-fixed-rate", fixed.rate.median, "msg/s")
        report.note("\(load.name)-fixed-p50", fixed.median.median, "ms")
        report.note("\(load.name)-fixed-p99", fixed.high.median, "ms")
        report.note("\(load.name)-automatic-rate", automatic.rate.median, "msg/s")
        report.note("\(load.name)-automatic-p99", automatic.high.median, "ms")
        let ratios = zip(automatic.rate, fixed.rate).map { 100 * $0 / max($1, 1e-9) }
        report.atMost("\(load.name)-automatic-p50", automatic.median.median, 2.5, "ms")
        report.atLeast("\(load.name)-automatic-to-fixed", ratios.median, 97, "%")
    }

    /// Sends for a time. Returns the settled messages a second, and the times of some messages.
    private func send(
        _ load: Load,
        _ limit: AMQPSendLimit,
        _ peer: SinkPeer
    ) async throws -> (Double, Histogram<UInt64>) {
        try await peer.withConnection { connection in
            let session = try await connection.openSession(.init(sendLimit: .init(high: .mebibytes(4))))
            let sender = try await session.openSender(to: .bulk, limit: limit)
            let message = try AMQPMessage(body: ByteBuffer(repeating: 0x5a, count: load.size)).encoded()
            let seen = Seen()
            let work: @Sendable () async -> Void = {
                var count = 0
                while !Task.isCancelled {
                    count += 1
                    let start = ContinuousClock.now
                    guard let tracker = try? await sender.enqueue(encoded: message) else { return }
                    let isTimed = count.isMultiple(of: 64)
                    tracker.whenSettled { result in
                        guard case .success = result else { return }
                        seen.settled.add(1, ordering: .relaxed)
                        guard isTimed, seen.isWarm.load(ordering: .relaxed) else { return }
                        let time = (ContinuousClock.now - start) / .nanoseconds(1)
                        seen.times.withLock { _ = $0.record(UInt64(max(1, time))) }
                    }
                }
            }
            let tasks = (0..<load.producers).map { _ in
                load.isOnLoop
                    ? Task(executorPreference: connection.taskExecutor) { await work() }
                    : Task.detached { await work() }
            }
            try await Task.sleep(for: .milliseconds(300))
            seen.isWarm.store(true, ordering: .relaxed)
            let rate = try await Rate.measure(for: .seconds(self.seconds)) { seen.settled.load(ordering: .relaxed) }
            for task in tasks { task.cancel() }
            for task in tasks { await task.value }
            return (rate, seen.times.withLock { $0 })
        }
    }
}
