internal import NIOCore

/// The timers of a connection itself. It is used on the event loop alone.
final class ConnectionTimers {
    /// How long messages may wait at most beyond their time, so that many with different times take few looks.
    private static let grain = TimeAmount.milliseconds(5)

    /// When Proton's idle timers are to run, in milliseconds of the loop's clock; `.max` for never.
    @exclusivity(unchecked) private var tickTime = Int64.max
    private var tick: LoopTimer?
    private var close: LoopTimer?
    private var idleLook: LoopTimer?
    /// When the next message expires.
    private var expiry: (deadline: NIODeadline, timer: LoopTimer)?

    func cancel() {
        self.tick?.cancel()
        self.close?.cancel()
        self.idleLook?.cancel()
        self.expiry?.timer.cancel()
        self.expiry = nil
    }

    /// Runs Proton's idle timers again at a time, in milliseconds of the loop's clock, unless they run before it anyway.
    @inline(__always)
    func tick(at time: Int64, for handler: ConnectionHandler) {
        if time < self.tickTime { self.setTick(at: time, for: handler) }
    }

    private func setTick(at time: Int64, for handler: ConnectionHandler) {
        self.tick?.cancel()
        self.tickTime = time
        self.tick = handler.schedule(at: .uptimeNanoseconds(UInt64(time) * 1_000_000)) { [unowned self] in
            self.tickTime = .max
            self.tick = nil
        }
    }

    /// A peer that does not answer the close, or does not read it, must not hold the socket for ever.
    func limitClose(of handler: ConnectionHandler) {
        guard !handler.isDead, self.close == nil else { return }
        let timeout = handler.configuration.operationTimeout
        self.close = handler.schedule(in: timeout) { [unowned handler] in
            let text = "the peer did not answer the close within \(timeout)"
            handler.die(AMQPError(scope: .connection, condition: .timeout, detail: text))
        }
    }

    /// Looks again at links that have credit and on which nothing arrives, once a second at most: a flow that told the window may
    /// not have woken their senders.
    @inline(__always)
    func lookAtIdleLinks(of handler: ConnectionHandler) {
        if handler.frames.renewals.mayOweIdleLinks, self.idleLook == nil { self.scheduleIdleLook(of: handler) }
    }

    private func scheduleIdleLook(of handler: ConnectionHandler) {
        self.idleLook = handler.schedule(in: .nanoseconds(PeerSession.idlePause)) {
            [unowned self, frames = handler.frames] in
            self.idleLook = nil
            frames.lookAtIdleLinks()
        }
    }

    // MARK: Messages that expire

    /// Looks at the messages that must begin to be sent in time at this time, or earlier: see
    /// ``AMQPSendOptions/expiresAfter``.
    func expireMessages(of handler: ConnectionHandler, at deadline: NIODeadline) {
        if let expiry = self.expiry, expiry.deadline <= deadline { return }
        self.expiry?.timer.cancel()
        let timer = handler.schedule(at: deadline) { [unowned self, unowned handler] in self.expire(for: handler) }
        self.expiry = (deadline, timer)
    }

    /// Gives up the messages that have waited too long.
    private func expire(for handler: ConnectionHandler) {
        self.expiry?.timer.cancel()
        self.expiry = nil
        let now = handler.eventLoop.now
        let lanes = handler.choices.expiredLanes(at: now)
        if !lanes.isEmpty {
            for sender in handler.sessions.values.flatMap(\.senders)
            where sender.lane.map({ lanes.contains($0.key) }) == true {
                sender.expire(at: now)
            }
        }
        guard let next = handler.choices.nextDeadline else { return }
        self.expireMessages(of: handler, at: max(next, now + Self.grain))
    }
}
