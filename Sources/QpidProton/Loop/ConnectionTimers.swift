// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// The timers of a connection itself. Used on the event loop only.
final class ConnectionTimers {
    /// The longest delay of an expiry. With a delay, one check covers many messages with different times.
    private static let grain = TimeAmount.milliseconds(5)

    /// The time of the next run of Proton's idle timers, in milliseconds of the loop's clock; `.max` for never.
    @exclusivity(unchecked) private var tickTime = Int64.max
    private var tick: LoopTimer?
    private var close: LoopTimer?
    private var idleLook: LoopTimer?
    private var acknowledgements: AcknowledgementTimer?
    /// The time of the next expiry.
    private var expiry: (deadline: NIODeadline, timer: LoopTimer)?

    func cancel() {
        self.tick?.cancel()
        self.close?.cancel()
        self.idleLook?.cancel()
        self.acknowledgements?.cancel()
        self.acknowledgements = nil
        self.expiry?.timer.cancel()
        self.expiry = nil
    }

    /// Starts the checks that the peer's host acknowledges sent bytes.
    func watchAcknowledgements(of handler: ConnectionHandler) {
        self.acknowledgements = AcknowledgementTimer(of: handler)
    }

    /// Schedules Proton's idle timers at a time, in milliseconds of the loop's clock, unless they run earlier.
    @inline(__always)
    func tick(at time: Int64, for handler: ConnectionHandler) {
        if time < self.tickTime { self.setTick(at: time, for: handler) }
    }

    private func setTick(at time: Int64, for handler: ConnectionHandler) {
        self.tick?.cancel()
        self.tickTime = time
        self.tick = LoopTimer(of: handler, at: .uptimeNanoseconds(UInt64(time) * 1_000_000)) { [unowned self] in
            self.tickTime = .max
            self.tick = nil
        }
    }

    /// Limits the time of the close. A peer that does not answer or read the close must not hold the socket open
    /// forever.
    func limitClose(of handler: ConnectionHandler) {
        guard !handler.isDead, self.close == nil else { return }
        let timeout = handler.configuration.operationTimeout
        self.close = LoopTimer(of: handler, in: timeout) { [unowned handler] in
            let text = "the peer did not answer the close within \(timeout)"
            handler.die(AMQPError(scope: .connection, condition: .timeout, detail: text))
        }
    }

    /// Schedules a check of links with credit and without arrivals, at most once a second. A renewed window may not
    /// have woken their senders.
    @inline(__always)
    func lookAtIdleLinks(of handler: ConnectionHandler) {
        if handler.frames.renewals.mayOweIdleLinks, self.idleLook == nil { self.scheduleIdleLook(of: handler) }
    }

    private func scheduleIdleLook(of handler: ConnectionHandler) {
        self.idleLook = LoopTimer(of: handler, in: .nanoseconds(PeerSession.idlePause)) {
            [unowned self, frames = handler.frames] in
            self.idleLook = nil
            frames.lookAtIdleLinks()
        }
    }

    // MARK: Messages that expire

    /// Schedules a check of the messages with a start limit for this time, or earlier: see
    /// ``AMQPSendOptions/expiresAfter``.
    func expireMessages(of handler: ConnectionHandler, at deadline: NIODeadline) {
        if let expiry = self.expiry, expiry.deadline <= deadline { return }
        self.expiry?.timer.cancel()
        let timer = LoopTimer(of: handler, at: deadline) { [unowned self, unowned handler] in self.expire(for: handler)
        }
        self.expiry = (deadline, timer)
    }

    /// Fails the messages that have waited too long.
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
