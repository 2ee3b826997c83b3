// SPDX-License-Identifier: Apache-2.0

/// Two token buckets, for messages and for bytes, on the caller's clock in nanoseconds.
///
/// The limiter computes tokens from one point in time and does not add them up in steps, so no rounding errors
/// accumulate. The bytes may go into debt by the size of one piece.
struct RateLimiter: Sendable {
    /// The smallest piece of a message in bytes, because each frame adds a cost.
    static let leastSlice = 4_096

    private struct Bucket {
        let rate: Double
        let capacity: Int
        /// The number of tokens worth a wait: the tokens of a millisecond, at least one.
        let step: Int
        /// The last time at which the bucket was full.
        var start: Int64
        /// The tokens used since the bucket was full.
        var taken = 0

        init(_ rate: Double, burst: Duration, least: Int, now: Int64) {
            func tokens(_ nanoseconds: Int64) -> Int {
                Int(min(rate * Double(max(0, nanoseconds)) / 1e9, 0x1p60))
            }
            self.rate = rate
            self.capacity = max(least, tokens(burst.nanoseconds))
            self.step = max(1, min(self.capacity, tokens(1_000_000)))
            self.start = now
        }

        private func earned(at now: Int64) -> Int {
            let (elapsed, isTooLong) = now.subtractingReportingOverflow(self.start)
            return Int(min(self.rate * Double(max(0, isTooLong ? .max : elapsed)) / 1e9, 0x1p60))
        }

        /// Returns the available tokens; below 0 in debt.
        func tokens(at now: Int64) -> Int {
            self.capacity - max(0, self.taken - self.earned(at: now))
        }

        mutating func refill(_ now: Int64) -> Int {
            // The fraction of a token beyond a full bucket stays, because a bucket of one token is full each time.
            if self.earned(at: now) > self.taken {
                self.start = now
                self.taken = 0
            }
            return self.tokens(at: now)
        }

        /// Returns the time at which a step is available.
        func nextTime(_ now: Int64) -> Int64 {
            let missing = self.taken + self.step - self.capacity
            guard missing > self.earned(at: now) else { return now }
            let wait = (Double(missing) * 1e9 / self.rate).rounded(.up)
            guard wait < 0x1p62, self.start < 1 << 61, now < .max else { return .max }
            // After months, a time in nanoseconds has more digits than a `Double`.
            var (time, more) = (max(now + 1, self.start + Int64(wait)), Int64(1))
            while self.earned(at: time) < missing, more < 1 << 20 {
                time += more
                more *= 2
            }
            return time
        }

        mutating func keep(_ tokens: Int) {
            self.taken = max(0, self.capacity - tokens)
        }
    }

    private var messages: Bucket?
    private var bytes: Bucket?

    /// Creates a limiter with full buckets.
    ///
    /// - Parameter now: The time at which both buckets are full.
    init(_ limit: AMQPRateLimit, now: Int64) {
        self.messages = limit.messagesPerSecond.map { Bucket($0, burst: limit.burst, least: 1, now: now) }
        self.bytes = limit.bytesPerSecond.map { Bucket($0, burst: limit.burst, least: 16_384, now: now) }
    }

    /// Returns the allowance now.
    mutating func available(now: Int64) -> (messages: Int, bytes: Int) {
        (max(0, self.messages?.refill(now) ?? .max), max(0, self.bytes?.refill(now) ?? .max))
    }

    /// Counts passed messages and bytes.
    mutating func take(messages: Int, bytes: Int) {
        self.messages?.taken += messages
        self.bytes?.taken += bytes
    }

    /// Returns the next time worth a check: when a message, or the bytes of a millisecond, may pass.
    ///
    /// - Parameter isMidMessage: Whether only the rest of a counted message waits to pass.
    func nextTime(now: Int64, isMidMessage: Bool = false) -> Int64 {
        max((isMidMessage ? nil : self.messages)?.nextTime(now) ?? now, self.bytes?.nextTime(now) ?? now)
    }

    /// Changes the limit. Unused tokens stay as far as there is room, and a debt stays too.
    mutating func change(to limit: AMQPRateLimit, now: Int64) {
        let old = self
        self = RateLimiter(limit, now: now)
        if let bucket = old.messages { self.messages?.keep(bucket.tokens(at: now)) }
        if let bucket = old.bytes { self.bytes?.keep(bucket.tokens(at: now)) }
    }
}
