// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The rate limit of a sender. Used on the event loop only.
final class SendPacer {
    private unowned let sender: SenderEndpoint
    private var limiter: RateLimiter
    private var timer: LoopTimer?

    init(_ sender: SenderEndpoint, _ limit: AMQPRateLimit) {
        self.sender = sender
        self.limiter = RateLimiter(limit, now: sender.handler.nanoseconds)
    }

    /// Changes the limit from now on.
    func change(to limit: AMQPRateLimit) { self.limiter.change(to: limit, now: self.sender.handler.nanoseconds) }

    /// Hands slices to Proton within the limit. Returns their part of the turn.
    func send(_ lane: SendFeed.Lane, turn: Int, payload: Int, at now: Int64) -> Int {
        let sender = self.sender
        var used = 0
        while used < turn, let tokens = self.tokens(now, lane) {
            let limit = min(turn - used, tokens, sender.session.sliceLimit(payload: payload))
            guard let slice = lane.next(limit: limit) else { break }
            self.limiter.take(messages: slice.isFirst ? 1 : 0, bytes: slice.range.count)
            sender.send(slice, payload: payload)
            used += slice.range.count + 32
        }
        return used
    }

    /// Returns the most bytes of the next slice; `nil` if the limit allows no bytes now. In that case the lane resumes
    /// by itself later.
    private func tokens(_ now: Int64, _ lane: SendFeed.Lane) -> Int? {
        guard !lane.isEmpty else { return nil }
        let (messages, bytes) = self.limiter.available(now: now)
        if bytes > 0, messages > 0 || lane.isMidMessage { return max(bytes, RateLimiter.leastSlice) }
        self.pace(lane, now)
        return nil
    }

    private func pace(_ lane: SendFeed.Lane, _ now: Int64) {
        let next = self.limiter.nextTime(now: now, isMidMessage: lane.isMidMessage)
        self.sender.handler.sending.queue.setPaced(true, on: lane)
        self.timer?.cancel()
        // A limit may be so low that its time cannot be computed, so the timer checks again within an hour.
        let time = min(next, now + 3_600_000_000_000)
        self.timer = LoopTimer(of: self.sender.handler, at: .uptimeNanoseconds(UInt64(clamping: time))) {
            [unowned self] in
            self.release(lane)
        }
    }

    /// Resumes the lane.
    func release(_ lane: SendFeed.Lane) {
        self.stop()
        self.sender.handler.sending.queue.setPaced(false, on: lane)
        self.sender.noteCause()
    }

    func stop() {
        self.timer?.cancel()
        self.timer = nil
    }
}

extension SenderEndpoint {
    /// Sets or removes the rate limit from now on.
    func setRate(_ limit: AMQPRateLimit?) {
        guard let lane = self.lane else { return }
        if let limit, let pacer = self.pacer {
            pacer.change(to: limit)
            pacer.release(lane)
        } else {
            self.pacer?.release(lane)
            self.pacer = limit.map { SendPacer(self, $0) }
        }
    }
}
