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
}
