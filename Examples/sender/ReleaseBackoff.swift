// SPDX-License-Identifier: Apache-2.0

import ExampleSupport
import QpidProton

/// Counts consecutive messages that the peer settles as `released` or `modified`.
///
/// A router answers so when the last consumer of an address has gone, at once and for every message.
struct ReleaseRun {
    /// How many messages in a row come back before the sender slows down.
    static let threshold = 10

    /// How long the peer may give every message back; nil for ever.
    private let limit: Duration?
    private var first: ContinuousClock.Instant?
    /// The messages that came back since the peer last decided otherwise.
    private(set) var count = 0
    /// Whether the peer gave every message back for the whole limit.
    private(set) var isOver = false

    init(limit: Duration?) {
        self.limit = limit
    }

    var isLong: Bool { self.count >= Self.threshold }

    /// Counts a message that came back.
    mutating func cameBack(at now: ContinuousClock.Instant) {
        let first = self.first ?? now
        self.first = first
        self.count += 1
        if let limit = self.limit, self.isLong, now - first >= limit { self.isOver = true }
    }

    /// The peer decided otherwise.
    mutating func reset() {
        guard self.count > 0 else { return }
        self.count = 0
        self.first = nil
    }
}

/// Slows a sender down while the peer gives every message back, and reports that on stderr.
///
/// It limits the rate of the link, and so holds back the messages too that the library has accepted already.
struct ReleaseBackoff {
    /// Messages a second, at first and at the lowest: one every 2 seconds.
    private static let rates = (highest: 64.0, lowest: 0.5)
    /// How soon the sender is fast again after the peer accepted a message.
    private static let interval: Duration = .milliseconds(100)
    /// Reports are no more frequent than this.
    private static let reportInterval: Duration = .seconds(30)

    let sender: any Outlet
    /// The rate limit of the options.
    let rateLimit: AMQPRateLimit?
    let tally: Tally

    /// Runs until the task is cancelled.
    ///
    /// - Throws: A failure when the peer has given back every message for the limit.
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

    /// Halves the rate with every message or so, until the peer decides otherwise.
    private func slowDown(_ clock: ContinuousClock) async throws {
        var rate = Self.rates.highest
        while true {
            // Senders whose messages were given back together do not return together.
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
