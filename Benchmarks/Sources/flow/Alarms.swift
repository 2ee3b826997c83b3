// SPDX-License-Identifier: Apache-2.0

import Histogram
import NIOCore
import QpidProton
import Synchronization

/// Small messages at an even rate, and the time from the send call to the settlement.
final class Alarms: Sendable {
    static let size = 100
    static let perSecond = 200

    private let latencies = Mutex(Histogram<UInt64>(highestTrackableValue: 60_000_000_000))

    /// The percentiles of the time, in milliseconds.
    struct Latency {
        let p50, p99, p999, max: Double
        let count: UInt64
    }

    /// Sends on a link for a time, and waits until all messages are settled.
    func send(on sender: AMQPSender, for duration: Duration) async throws -> Latency {
        let message = try AMQPMessage(body: ByteBuffer(repeating: 0x21, count: Self.size)).encoded()
        let clock = ContinuousClock()
        let start = clock.now
        let count = Int(duration / .seconds(1) * Double(Self.perSecond))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<count {
                try await clock.sleep(until: start + .seconds(Double(index) / Double(Self.perSecond)))
                // Each message has its own task, so that a wait for room does not delay the next message.
                group.addTask {
                    let begin = ContinuousClock.now
                    let transfer = try await sender.enqueue(encoded: message)
                    transfer.whenSettled { _ in self.note(ContinuousClock.now - begin) }
                    _ = try await transfer.outcome()
                }
            }
            try await group.waitForAll()
        }
        return self.latency
    }

    private func note(_ duration: Duration) {
        _ = self.latencies.withLock { $0.record(UInt64(Swift.max(0, duration / .nanoseconds(1)))) }
    }

    private var latency: Latency {
        let histogram = self.latencies.withLock { $0 }
        let milliseconds = { Double(histogram.valueAtPercentile($0)) / 1e6 }
        return Latency(
            p50: milliseconds(50),
            p99: milliseconds(99),
            p999: milliseconds(99.9),
            max: milliseconds(100),
            count: histogram.totalCount
        )
    }
}
