/// Follows a message on its way: accepted by ``AMQPSender/enqueue(_:settled:options:)`` or ``AMQPSender/trySend(_:settled:options:)``.
///
/// Keep it to await the outcome, or drop it: the message is sent either way, unless its link ends first.
public struct AMQPTracker: Hashable, Sendable {
    let reply: OutcomeReply

    init(_ reply: OutcomeReply) {
        self.reply = reply
    }

    /// What became of the message, if that is known.
    ///
    /// A failure says that the outcome will never be known, or that the message was not sent.
    public var result: Result<AMQPOutcome, AMQPError>? { self.reply.answer }

    /// Suspends until the peer has settled the message.
    ///
    /// For a message that is sent settled, until it has been written to the socket. Cancellation ends the wait, not the
    /// message: call again to go on waiting.
    ///
    /// - Throws: `AMQPError` with the ``AMQPError/fate`` of the message when it was not sent, or when the link, session or
    ///   connection ended first; ``AMQPCondition/cancelled`` when the task was cancelled.
    ///
    /// Source: AMQP 1.0 §2.6.12.
    public func outcome() async throws(AMQPError) -> AMQPOutcome {
        try await self.reply.value()
    }

    /// Calls `body` once with what became of the message, at once if that is known.
    ///
    /// For those who keep many trackers, where a task for each would cost too much.
    ///
    /// - Parameter body: Called on the connection's event loop, so it must be short and must not block.
    public func whenSettled(_ body: @escaping @Sendable (Result<AMQPOutcome, AMQPError>) -> Void) {
        self.reply.whenResolved(body)
    }

    /// Whether two values are the same tracker.
    public static func == (left: Self, right: Self) -> Bool { left.reply == right.reply }

    /// Hashes the identity.
    public func hash(into hasher: inout Hasher) { hasher.combine(self.reply) }
}
