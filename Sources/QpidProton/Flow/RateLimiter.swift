/// Two token buckets, of messages and of bytes, on a clock that the caller reads: nanoseconds from anywhere.
///
/// What has been earned is counted from one point in time on, and not added up in steps, so that no rounding adds up
/// either. The bytes may go into debt, by the size of one piece.
struct RateLimiter: Sendable {
    /// The pieces of messages that are not cut smaller, for a frame around each costs too.
    static let leastSlice = 4_096

    private struct Bucket {
        let rate: Double
        let capacity: Int
        /// What is worth waiting for: what comes in a millisecond, and one at least.
        let step: Int
        /// When the bucket was full last.
        var start: Int64
        /// What has been taken since.
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

        /// What can be taken; below 0 when more was taken than there was.
        func tokens(at now: Int64) -> Int {
            self.capacity - max(0, self.taken - self.earned(at: now))
        }

        mutating func refill(_ now: Int64) -> Int {
            // A part of a token beyond a full bucket is kept: where a bucket is as small as one, it is full each time.
            if self.earned(at: now) > self.taken {
                self.start = now
                self.taken = 0
            }
            return self.tokens(at: now)
        }

        /// When a step can be taken.
        func nextTime(_ now: Int64) -> Int64 {
            let missing = self.taken + self.step - self.capacity
            guard missing > self.earned(at: now) else { return now }
            let wait = (Double(missing) * 1e9 / self.rate).rounded(.up)
            guard wait < 0x1p62, self.start < 1 << 61, now < .max else { return .max }
            // After months a time in nanoseconds has more digits than the number in which it was reckoned.
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

    /// - Parameter now: The time at which both buckets are full.
    init(_ limit: AMQPRateLimit, now: Int64) {
        self.messages = limit.messagesPerSecond.map { Bucket($0, burst: limit.burst, least: 1, now: now) }
        self.bytes = limit.bytesPerSecond.map { Bucket($0, burst: limit.burst, least: 16_384, now: now) }
    }

    /// What may pass now.
    mutating func available(now: Int64) -> (messages: Int, bytes: Int) {
        (max(0, self.messages?.refill(now) ?? .max), max(0, self.bytes?.refill(now) ?? .max))
    }

    /// Counts what has passed.
    mutating func take(messages: Int, bytes: Int) {
        self.messages?.taken += messages
        self.bytes?.taken += bytes
    }

    /// When it is worth looking again: a message, or what comes in a millisecond, may pass then.
    ///
    /// - Parameter isMidMessage: What is to pass is the rest of a message that has been counted.
    func nextTime(now: Int64, isMidMessage: Bool = false) -> Int64 {
        max((isMidMessage ? nil : self.messages)?.nextTime(now) ?? now, self.bytes?.nextTime(now) ?? now)
    }

    /// Goes on with another limit. What is in the buckets is kept as far as there is room for it, and so is a debt.
    mutating func change(to limit: AMQPRateLimit, now: Int64) {
        let old = self
        self = RateLimiter(limit, now: now)
        if let bucket = old.messages { self.messages?.keep(bucket.tokens(at: now)) }
        if let bucket = old.bytes { self.bytes?.keep(bucket.tokens(at: now)) }
    }
}
