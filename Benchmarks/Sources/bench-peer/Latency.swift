// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DequeModule
import Foundation
import Histogram
import QpidProton

struct Latency: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "latency",
        abstract: "Measures the time from the call that sends to the settlement."
    )

    @Option var port: Int
    @Option var count: Int
    @Option var size: Int
    @Option var depth: Int
    @Option var address = "bench-0"
    @Option var from = Origin.detached
    @OptionGroup var tls: TLSOptions

    mutating func validate() throws {
        guard self.count > 0, self.size >= 0, self.depth > 0 else {
            throw ValidationError("--count and --depth take 1 or more, --size 0 or more")
        }
    }

    private typealias Times = Histogram<UInt64>

    func run() async throws {
        let connection = try await Peer.connect(self.port, self.tls)
        let sender = try await connection.openSession(Peer.session).openSender(to: self.address)
        let (count, size, depth) = (self.count, self.size, self.depth)
        let (times, duration) = try await self.from.run(connection) {
            try await Self.measure(sender, count, size, depth)
        }
        await connection.close()
        var usage = Usage()
        usage.setRate(count, size: size, duration)
        let value = { (percentile: Double) in Double(times.valueAtPercentile(percentile)) / 1e3 }
        usage.percentilesUs = [
            "50": value(50), "90": value(90), "99": value(99), "99.9": value(99.9), "max": Double(times.max) / 1e3,
        ]
        // Ten points per decade: 90 %, 99 %, and so on.
        usage.curveUs = (0...40).map { step in
            let percentile = 100 * (1 - pow(10, -Double(step) / 10))
            return [percentile, value(percentile)]
        }
        try usage.print()
    }

    private static func measure(
        _ sender: AMQPSender,
        _ count: Int,
        _ size: Int,
        _ depth: Int
    ) async throws -> (Times, Duration) {
        var times = Times(highestTrackableValue: 60_000_000_000)
        var message = AMQPMessage(body: Send.body(size))
        let clock = ContinuousClock()
        let start = clock.now
        var outstanding: Deque<(begin: ContinuousClock.Instant, transfer: AMQPTracker)> = []
        for number in 0..<(count + depth) {
            if number >= depth || number >= count, let first = outstanding.popFirst() {
                guard try await first.transfer.outcome() == .accepted else {
                    throw Failure("a message was not accepted")
                }
                times.record(UInt64(max(0, (clock.now - first.begin) / .nanoseconds(1))))
            }
            guard number < count else { continue }
            message.applicationProperties["sent"] = .timestamp(.now())
            let begin = clock.now
            outstanding.append((begin, try await sender.enqueue(message)))
        }
        return (times, clock.now - start)
    }
}
