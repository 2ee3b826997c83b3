// SPDX-License-Identifier: Apache-2.0

/// The tracker of a message that ``AMQPSender/enqueue(_:settled:options:)`` or
/// ``AMQPSender/trySend(_:settled:options:)`` accepted.
///
/// Store the tracker to await the outcome, or drop it: the message is sent either way, unless its link ends first.
public struct AMQPTracker: Hashable, Sendable {
    let reply: OutcomeReply

    init(_ reply: OutcomeReply) {
        self.reply = reply
    }

    /// The outcome of the message, or the error in its place; `nil` until one of them arrives.
    ///
    /// A failure means that no outcome can arrive, or that the message was not sent.
    public var result: Result<AMQPOutcome, AMQPError>? { self.reply.answer }

    /// Suspends until the peer has settled the message.
    ///
    /// For a message that is sent settled, suspends until the socket has accepted its bytes. Cancellation ends only the
    /// wait and does not affect the message: call again to continue to wait.
    ///
    /// - Throws: `AMQPError` with the ``AMQPError/fate`` of the message if it was not sent, or if the link, session or
    ///   connection ended first. ``AMQPCondition/cancelled`` if the task was cancelled.
    ///
    /// Source: AMQP 1.0 §2.6.12.
    public func outcome() async throws(AMQPError) -> AMQPOutcome {
        try await self.reply.value()
    }

    /// Calls `body` once with the outcome of the message or the error in its place.
    ///
    /// Use this method for many trackers, where a task for each would cost too much.
    ///
    /// - Parameter body: The callback. It runs on the connection's event loop, so it must be short and must not block.
    ///   If the outcome has already arrived, the callback runs at once on the calling thread.
    public func whenSettled(_ body: @escaping @Sendable (Result<AMQPOutcome, AMQPError>) -> Void) {
        self.reply.whenResolved(body)
    }

    /// Returns whether two values are the same tracker.
    public static func == (left: Self, right: Self) -> Bool { left.reply == right.reply }

    /// Hashes the identity of the tracker.
    public func hash(into hasher: inout Hasher) { hasher.combine(self.reply) }
}

extension AMQPError {
    /// Returns the error of a task that was cancelled while it waited for the outcome.
    static func inDoubt(_ tracker: AMQPTracker) -> AMQPError {
        var error = AMQPError(condition: .cancelled, detail: "the task was cancelled").telling(.inDoubt)
        error.tracker = tracker
        return error
    }
}
