internal import DequeModule
internal import NIOCore

// A rate limit of a receiver: it keeps credit back, so that what it does not want yet waits at the peer.

extension ReceiverEndpoint {
    /// The limit, and what was taken off it for credit that is not used yet.
    struct Pacing {
        var limiter: RateLimiter
        var timer: Scheduled<Void>?
        /// The size that a message is expected to have: an average of those that came, weighted to the latest.
        private var expectedSize = 1_024
        /// Credit, in the order of its grants, with the size that was expected then.
        private var granted: Deque<(count: Int, size: Int)> = []

        init(_ limit: AMQPRateLimit, now: Int64) {
            self.limiter = RateLimiter(limit, now: now)
        }

        /// The credit that may be granted now. One message may be larger than what is there; what follows then waits longer.
        mutating func allowance(_ now: Int64) -> Int {
            let (messages, bytes) = self.limiter.available(now: now)
            return bytes > 0 ? min(messages, max(1, bytes / self.expectedSize)) : 0
        }

        mutating func grant(_ count: Int) {
            guard count > 0 else { return }
            self.limiter.take(messages: count, bytes: count * self.expectedSize)
            self.granted.append((count, self.expectedSize))
        }

        /// A message has come whole, or was aborted: its true size counts.
        mutating func complete(_ size: Int) {
            self.expectedSize = max(1, self.expectedSize + (size - self.expectedSize) / 8)
            guard let first = self.granted.first else { return }
            self.limiter.take(messages: 0, bytes: size - first.size)
            if first.count == 1 { self.granted.removeFirst() } else { self.granted[0].count -= 1 }
        }

        /// Credit has come back: the latest first.
        mutating func giveBack(_ credit: Int) {
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

    /// Sets or takes away the rate limit, from now on.
    func setRate(_ limit: AMQPRateLimit?) {
        guard !self.isDone else { return }
        let now = self.handler.nanoseconds
        self.pacing?.timer?.cancel()
        self.pacing?.timer = nil
        if let limit, self.pacing != nil {
            self.pacing?.limiter.change(to: limit, now: now)
        } else {
            self.pacing = limit.map { Pacing($0, now: now) }
        }
        self.topUp()
    }

    /// The credit to grant now, as far as the limit allows. What is missing follows by itself.
    ///
    /// - Parameter limit: The most to grant for other reasons.
    func pacedTopUp(limit: Int) -> Int {
        guard self.window.wantsCredit else { return 0 }
        let now = self.handler.nanoseconds
        let credit = self.window.topUp(limit: min(limit, self.pacing?.allowance(now) ?? .max))
        self.pacing?.grant(credit)
        guard self.window.wantsCredit, self.pacing?.timer == nil, let next = self.pacing?.limiter.nextTime(now: now)
        else { return credit }
        // A limit so low that its time cannot be told is looked at again.
        let time = min(max(next, now + 1_000_000), now + 3_600_000_000_000)
        self.pacing?.timer = self.handler.schedule(at: .uptimeNanoseconds(UInt64(clamping: time))) { [unowned self] in
            self.pacing?.timer = nil
            self.topUp()
        }
        return credit
    }
}
