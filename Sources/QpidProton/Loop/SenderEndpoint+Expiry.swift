internal import Logging
internal import NIOCore

// Messages that must begin to be sent in time: see ``AMQPSendOptions/expiresAfter``.

/// The timer for the message that expires next. It is used on the event loop alone.
struct ExpiryTimer {
    /// How long messages may wait at most beyond their time, so that many with different times take few looks.
    static let grain = TimeAmount.milliseconds(5)

    private var next: (deadline: NIODeadline, timer: LoopTimer)?

    /// Looks at the messages at this time, or earlier.
    mutating func wake(_ handler: ConnectionHandler, at deadline: NIODeadline) {
        if let next = self.next, next.deadline <= deadline { return }
        self.cancel()
        let timer = handler.schedule(at: deadline) { [unowned handler] in handler.expire() }
        self.next = (deadline, timer)
    }

    mutating func cancel() {
        self.next?.timer.cancel()
        self.next = nil
    }
}

extension ConnectionHandler {
    /// Gives up the messages that have waited too long.
    fileprivate func expire() {
        self.expiry.cancel()
        let now = self.eventLoop.now
        let lanes = Set(self.choices.values.lazy.map(\.choice).filter { $0.expiry(at: now) != nil }.map(\.lane))
        if !lanes.isEmpty {
            for sender in self.sessions.values.flatMap(\.senders)
            where sender.lane.map({ lanes.contains($0.key) }) == true {
                sender.expire(at: now)
            }
        }
        guard let next = self.choices.values.compactMap(\.choice.deadline).min() else { return }
        self.expiry.wake(self, at: max(next, now + ExpiryTimer.grain))
    }
}

extension SenderEndpoint {
    fileprivate func expire(at now: NIODeadline) {
        guard let lane = self.lane else { return }
        let expired = self.handler.queue.removeAll(from: lane) { message in
            message.hasChoice && self.handler.choices[message.outcome.number]?.choice.expiry(at: now) != nil
        }
        guard !expired.isEmpty else { return }
        self.handler.outbox.release(expired.map { ($0.ledgerBytes + lane.dropParts(of: $0), $0.node) })
        self.handler.logger.info(
            "messages expired before they began to be sent",
            metadata: self.logMetadata([.messages: "\(expired.count)"])
        )
        for message in expired {
            guard let error = self.handler.takeChoice(of: message)?.expiry(at: now) else { continue }
            self.meter?.fail(error)
            message.fail(error)
        }
        // A drain may have waited for the messages.
        self.answerDrain()
        self.noteCause()
    }
}

extension SendChoice {
    /// The error of a message that has waited too long; nil while it has not.
    func expiry(at now: NIODeadline) -> AMQPError? {
        guard let deadline = self.deadline, let limit = self.options.expiresAfter, deadline <= now else { return nil }
        return .expired(after: limit)
    }
}
