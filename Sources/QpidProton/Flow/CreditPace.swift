// SPDX-License-Identifier: Apache-2.0

internal import DequeModule

/// The credit that a rate limit leaves to a receiver: the limit minus unused credit.
struct CreditPace {
    var limiter: RateLimiter
    /// The expected size of a message in bytes: a moving average that favours recent messages.
    private var expectedSize = 1_024
    /// Unused credit in the order of its grants, with the size expected then.
    private var granted: Deque<(count: Int, size: Int)> = []

    init(_ limit: AMQPRateLimit, now: Int64) {
        self.limiter = RateLimiter(limit, now: now)
    }

    /// Returns the credit to grant now. One message may be larger than the remaining allowance. The next message then
    /// waits longer.
    mutating func allowance(_ now: Int64) -> Int {
        let (messages, bytes) = self.limiter.available(now: now)
        return bytes > 0 ? min(messages, max(1, bytes / self.expectedSize)) : 0
    }

    mutating func grant(_ count: Int) {
        guard count > 0 else { return }
        self.limiter.take(messages: count, bytes: count * self.expectedSize)
        self.granted.append((count, self.expectedSize))
    }

    /// Counts the true size of a message that is complete or aborted.
    mutating func complete(_ size: Int) {
        self.expectedSize = max(1, self.expectedSize + (size - self.expectedSize) / 8)
        guard let first = self.granted.first else { return }
        self.limiter.take(messages: 0, bytes: size - first.size)
        if first.count == 1 { self.granted.removeFirst() } else { self.granted[0].count -= 1 }
    }

    /// Restores the tokens of returned credit, the latest grants first.
    mutating func refund(_ credit: Int) {
        var rest = credit
        while rest > 0, let last = self.granted.last {
            let count = min(rest, last.count)
            self.limiter.take(messages: -count, bytes: -count * last.size)
            rest -= count
            if count == last.count {
                self.granted.removeLast()
            } else {
                self.granted[self.granted.count - 1].count -= count
            }
        }
    }
}
