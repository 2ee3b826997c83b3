internal import NIOCore
internal import Synchronization

extension AMQPReceiver {
    /// Whether the receiver was paused with ``pause()`` and not resumed: no credit is granted.
    public var isPaused: Bool { self.core.status.isPaused.load(ordering: .relaxed) }

    /// Stops the peer: returns when no more messages can arrive.
    ///
    /// The peer is asked to give its credit back, and no credit is granted until ``resume()``. What arrives before its answer
    /// waits in the receiver and can be taken as ever; tasks that wait for a message go on waiting. With ``Window/manual``, credit
    /// that ``grant(credit:)`` grants meanwhile is kept until then. A second call waits for the same answer.
    ///
    /// Suspends until the peer has answered. A wait that is cancelled or fails leaves the receiver paused.
    ///
    /// - Throws: `AMQPError`: ``AMQPCondition/timeout`` when the peer does not answer within the connection's
    ///   `operationTimeout`, so that messages may still arrive for the credit that it has; `.cancelled`; or the error of the link.
    ///
    /// Source: AMQP 1.0 §2.6.10, stopping the transfers on a link; `pn_link_drain`.
    public func pause() async throws(AMQPError) {
        let endpoint = self.endpoint
        let _: Int = try await self.mailbox.ask { endpoint.value.pause($1) }
    }

    /// Grants credit again after ``pause()``. Does nothing when the receiver is not paused. Never suspends.
    public func resume() {
        let endpoint = self.endpoint
        self.mailbox.run { _ in endpoint.value.resume() }
    }

    /// Asks the peer to send the messages that it has for the credit there is, and to give the rest back.
    ///
    /// The messages arrive before the answer and are taken as ever. Behind it credit is granted again, unless the receiver is
    /// paused. Calls at the same time, ``pause()`` and the end of a ``receive(timeout:)`` share one answer.
    ///
    /// Suspends until the peer has answered. Cancellation ends the wait alone.
    ///
    /// - Parameter timeout: How long the peer has to answer.
    /// - Returns: The credit that came back: the messages that the peer could have sent and did not have. 0 where there
    ///   was no credit, as with ``Window/manual`` before a grant, or while the receiver is paused.
    /// - Throws: `AMQPError`: ``AMQPCondition/timeout`` when the peer does not answer in time; `.cancelled`; or the error of the
    ///   link.
    ///
    /// Source: AMQP 1.0 §2.6.7; `pn_link_drain`.
    @discardableResult
    public func drain(timeout: Duration) async throws(AMQPError) -> Int {
        let endpoint = self.endpoint
        return try await self.mailbox.ask { endpoint.value.drain($1, timeout: timeout) }
    }

    /// Closes the link in order: stops the peer, waits until the application has settled what it holds, and detaches.
    ///
    /// From the call on no task gets an unsettled message; messages that the sender had settled can still be taken. Once
    /// nothing more can arrive, the unsettled messages that no task has taken are released in order. On a queue with a single
    /// active consumer, the peer can then give the next consumer all remaining messages in order.
    ///
    /// Suspends until all messages are settled and the peer has answered the close, for the limit at most. A fortieth of the
    /// limit, one second at most, is reserved for the answer. With zero, the link closes at once, and the peer has
    /// `operationTimeout` to answer. Cancellation ends the remaining time: the link closes at once.
    ///
    /// - Parameter limit: How long the close may take.
    /// - Returns: The number of messages that may come again: those that the application had taken and not settled and, if the
    ///   peer did not answer the close, those settled after its last frame of this link. The number is also right when the
    ///   peer or the connection ended during the call or before it.
    @discardableResult
    public func close(settling limit: Duration) async -> Int {
        let steps = CloseSteps<Void>(
            what: "the detach",
            work: { [endpoint] in endpoint.value.stop(for: $1, $2) },
            close: { [endpoint] _ in endpoint.value.close(nil) },
            answered: self.core.status.detached
        )
        _ = await self.session.connection.close(steps, within: limit)
        return self.core.status.left(isConfirmed: self.isEndConfirmed)
    }

    /// Whether the peer has answered the end of the link, or of the connection: it has read all decisions then.
    private var isEndConfirmed: Bool {
        switch self.core.status.detached.answer {
        case .success?: return true
        case .failure(let error)? where error.origin == .peer: return true
        case .failure?, nil: break
        }
        if case .success? = self.session.connection.parts.closed.answer { return true }
        return false
    }

    /// Closes at once.
    var closeSteps: CloseSteps<Void> {
        let endpoint = self.endpoint
        return CloseSteps(
            what: "the detach",
            work: { _, _, done in done(()) },
            close: { _ in endpoint.value.close(nil) },
            answered: self.core.status.detached
        )
    }
}
