internal import NIOCore

extension SenderEndpoint {
    /// Sets or takes away the rate limit, from now on.
    func setRate(_ limit: AMQPRateLimit?) {
        guard let lane = self.lane else { return }
        let now = self.handler.nanoseconds
        if let limit, self.limiter != nil {
            self.limiter?.change(to: limit, now: now)
        } else {
            self.limiter = limit.map { RateLimiter($0, now: now) }
        }
        self.unpace(lane)
    }

    /// The most bytes of the next slice; nil when the rate limit allows none now. The lane then moves on by itself later.
    fileprivate func tokens(_ now: Int64, _ lane: SendQueue<SenderEndpoint>.Lane) -> Int? {
        guard !lane.isEmpty, let (messages, bytes) = self.limiter?.available(now: now) else { return nil }
        if bytes > 0, messages > 0 || lane.isMidMessage { return max(bytes, RateLimiter.leastSlice) }
        self.pace(lane, now)
        return nil
    }

    private func pace(_ lane: SendQueue<SenderEndpoint>.Lane, _ now: Int64) {
        guard let next = self.limiter?.nextTime(now: now, isMidMessage: lane.isMidMessage) else { return }
        self.handler.queue.setPaced(true, on: lane)
        self.paceTimer?.cancel()
        // A limit so low that its time cannot be told is looked at again.
        let time = min(next, now + 3_600_000_000_000)
        self.paceTimer = self.handler.schedule(at: .uptimeNanoseconds(UInt64(clamping: time))) {
            self.unpace(lane)
        }
    }

    private func unpace(_ lane: SendQueue<SenderEndpoint>.Lane) {
        self.paceTimer?.cancel()
        self.paceTimer = nil
        self.handler.queue.setPaced(false, on: lane)
        self.noteCause()
    }
}

extension ConnectionHandler {
    /// Hands slices of a lane with a rate limit to Proton, as far as that allows. Returns what they took of the turn.
    func feedLimited(_ lane: SendQueue<SenderEndpoint>.Lane, turn: Int, payload: Int) -> Int {
        let sender = lane.link
        let now = self.now
        var used = 0
        while used < turn, let tokens = sender.tokens(now, lane) {
            let limit = min(turn - used, tokens, sender.session.sliceLimit(payload: payload))
            guard let slice = lane.next(limit: limit) else { break }
            sender.limiter?.take(messages: slice.isFirst ? 1 : 0, bytes: slice.range.count)
            sender.send(slice, payload: payload)
            used += slice.range.count + 32
        }
        return used
    }
}
