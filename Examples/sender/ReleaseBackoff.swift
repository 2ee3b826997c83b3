// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton

/// Counts consecutive messages that the peer settles as `released` or `modified`.
///
/// A router releases every message at once when the last consumer of an address has closed.
struct ReleaseRun {
    /// How many consecutive messages return before the sender slows down.
    static let threshold = 10

    /// How long the peer may return every message; `nil` for no limit.
    private let limit: Duration?
    private var first: ContinuousClock.Instant?
    /// The consecutive messages that the peer has returned so far.
    private(set) var count = 0
    /// Whether the peer returned every message for the whole limit.
    private(set) var isOver = false

    init(limit: Duration?) {
        self.limit = limit
    }

    var isLong: Bool { self.count >= Self.threshold }

    /// Counts a returned message.
    mutating func cameBack(at now: ContinuousClock.Instant) {
        let first = self.first ?? now
        self.first = first
        self.count += 1
        if let limit = self.limit, self.isLong, now - first >= limit { self.isOver = true }
    }

    /// Resets the count after another outcome.
    mutating func reset() {
        guard self.count > 0 else { return }
        self.count = 0
        self.first = nil
    }
}

/// Slows a sender down while the peer returns every message, and reports that on stderr.
///
/// A rate limit of the link withholds accepted messages too.
struct ReleaseBackoff {
    /// The highest and the lowest rate in messages per second. The lowest one sends a message every 2 seconds.
    private static let rates = (highest: 64.0, lowest: 0.5)
    /// How soon the sender resumes full speed after the peer accepted a message.
    private static let interval: Duration = .milliseconds(100)
    /// The least time between two reports.
    private static let reportInterval: Duration = .seconds(30)

    let sender: any Outlet
    /// The rate limit of the options.
    let rateLimit: AMQPRateLimit?
    let tally: Tally

    /// Runs until the task is cancelled.
    ///
    /// - Throws: A failure if the peer has returned every message until the limit.
    func run() async throws {
        let clock = ContinuousClock()
        var lastReport: ContinuousClock.Instant?
        for await _ in self.tally.releases {
            guard self.tally.releaseRun.isLong else { continue }
            let isReported = lastReport.map { clock.now - $0 >= Self.reportInterval } ?? true
            if isReported {
                lastReport = clock.now
                Console.error("sender: the peer releases every message: sending slowly until it accepts one")
            }
            try await self.slowDown(clock)
            try self.sender.link?.setRateLimit(self.rateLimit)
            if isReported, !Task.isCancelled { Console.error("sender: the peer accepts messages again") }
        }
    }

    /// Halves the rate about once per message, until the peer settles one with another outcome.
    private func slowDown(_ clock: ContinuousClock) async throws {
        var rate = Self.rates.highest
        while true {
            // The jitter spreads senders whose messages returned together.
            let next = min(rate * .random(in: 1...1.5), self.rateLimit?.messagesPerSecond ?? .infinity)
            var limit = self.rateLimit ?? AMQPRateLimit()
            limit.messagesPerSecond = next
            limit.burst = .zero
            try self.sender.link?.setRateLimit(limit)
            let end = clock.now + .seconds(1 / next)
            repeat {
                try await clock.sleep(for: Self.interval)
                let run = self.tally.releaseRun
                if run.isOver { throw Failure(Self.text(run.count)) }
                guard run.isLong else { return }
            } while clock.now < end
            rate = max(rate / 2, Self.rates.lowest)
        }
    }

    private static func text(_ count: Int) -> String {
        "the peer released the last \(Units.count(count)) messages and accepted none: the address may have no consumer"
    }
}
