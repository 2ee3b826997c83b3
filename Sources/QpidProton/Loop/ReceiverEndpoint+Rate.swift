internal import NIOCore

// A rate limit of a receiver: it keeps credit back, so that what it does not want yet waits at the peer.

extension ReceiverEndpoint {
    /// Sets or takes away the rate limit, from now on.
    func setRate(_ limit: AMQPRateLimit?) {
        guard !self.isDone else { return }
        let now = self.handler.nanoseconds
        self.paceTimer?.cancel()
        self.paceTimer = nil
        if let limit, self.pace != nil {
            self.pace?.limiter.change(to: limit, now: now)
        } else {
            self.pace = limit.map { CreditPace($0, now: now) }
        }
        self.topUp()
    }

    /// The credit to grant now, as far as the limit allows. What is missing follows by itself.
    ///
    /// - Parameter limit: The most to grant for other reasons.
    func pacedTopUp(limit: Int) -> Int {
        guard self.state.window.wantsCredit else { return 0 }
        let now = self.handler.nanoseconds
        let credit = self.state.topUp(limit: min(limit, self.pace?.allowance(now) ?? .max))
        self.pace?.grant(credit)
        guard self.state.window.wantsCredit, self.paceTimer == nil, let next = self.pace?.limiter.nextTime(now: now)
        else { return credit }
        // A limit so low that its time cannot be told is looked at again.
        let time = min(max(next, now + 1_000_000), now + 3_600_000_000_000)
        self.paceTimer = self.handler.schedule(at: .uptimeNanoseconds(UInt64(clamping: time))) { [unowned self] in
            self.paceTimer = nil
            self.topUp()
        }
        return credit
    }
}
