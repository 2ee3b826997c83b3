// SPDX-License-Identifier: Apache-2.0

/// Decides the delay of each attempt: one immediate attempt in each window, then full jitter below a growing bound.
///
/// Times are durations since any fixed moment.
struct Backoff: Sendable {
    /// The settings of a back-off.
    struct Limits: Hashable, Sendable {
        /// The first bound of a delay; it doubles with each attempt.
        var first: Duration = .milliseconds(100)
        /// The highest bound of a delay.
        var longest: Duration = .seconds(30)
        /// How often an attempt may start at once.
        var window: Duration = .seconds(30)
        /// How long a connection or link must have been open until its next loss counts as the first.
        var stable: Duration = .seconds(30)
    }

    let limits: Limits
    /// The delayed attempts since the last stable time.
    private(set) var tries = 0
    private var lastAtOnce: Duration?

    init(_ limits: Limits = Limits()) {
        self.limits = limits
    }

    /// Returns the delay of the next attempt.
    mutating func delay(at now: Duration, using random: inout some RandomNumberGenerator) -> Duration {
        if self.lastAtOnce.map({ now - $0 >= self.limits.window }) ?? true {
            self.lastAtOnce = now
            return .zero
        }
        let bound = self.bound
        self.tries += 1
        return bound > .zero ? .nanoseconds(Int64.random(in: 0...bound.nanoseconds, using: &random)) : .zero
    }

    /// The bound of the next delay.
    var bound: Duration {
        let doublings = min(self.tries, 40)
        let (nanoseconds, overflows) = self.limits.first.nanoseconds.multipliedReportingOverflow(by: 1 << doublings)
        return overflows ? self.limits.longest : min(self.limits.longest, .nanoseconds(nanoseconds))
    }

    /// Records the end of a connection or link and the time at which it had opened.
    mutating func ended(openSince start: Duration, at now: Duration) {
        if now - start >= self.limits.stable { self.tries = 0 }
    }
}
