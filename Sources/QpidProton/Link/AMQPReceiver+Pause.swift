// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension AMQPReceiver {
    /// Whether the receiver is paused with ``pause()`` and grants no credit.
    public var isPaused: Bool { self.core.status.isPaused.load(ordering: .relaxed) }

    /// Stops the peer's sending, and returns when no further message can arrive.
    ///
    /// Asks the peer to return its credit, and grants no credit until ``resume()``. Messages that arrive before the
    /// answer wait in the receiver, and tasks can receive these messages as before. Waiting tasks continue to wait.
    /// With ``Window/manual``, the receiver withholds the credit of ``grant(credit:)`` until ``resume()``. A second
    /// call waits for the same answer.
    ///
    /// Suspends until the peer has answered. If the wait is cancelled or fails, the receiver stays paused.
    ///
    /// - Throws: `AMQPError`. ``AMQPCondition/timeout`` if the peer does not answer within the connection's
    ///   `operationTimeout`; messages may then still arrive for the peer's remaining credit. `.cancelled` if the task
    ///   was cancelled. Otherwise the error of the link.
    ///
    /// Source: AMQP 1.0 §2.6.10, stopping the transfers on a link; `pn_link_drain`.
    public func pause() async throws(AMQPError) {
        _ = try await self.outbox.ask { .receiver(self.core.status, .pause($0)) }
    }

    /// Grants credit again after ``pause()``. Does nothing if the receiver is not paused. Never suspends.
    public func resume() {
        self.outbox.post(.receiver(self.core.status, .resume))
    }

    /// Asks the peer to send its messages for the available credit, and to return the rest of the credit.
    ///
    /// The messages arrive before the answer, and tasks receive the messages as usual. After the answer the receiver
    /// grants credit again, unless it is paused. Concurrent calls, ``pause()`` and the end of a ``receive(timeout:)``
    /// share one answer.
    ///
    /// Suspends until the peer has answered. Cancellation ends only the wait.
    ///
    /// - Parameter timeout: How long the peer has to answer.
    /// - Returns: The returned credit: the number of further messages that the peer was allowed to send. The result is
    ///   0 if there was no credit, as with ``Window/manual`` before a grant, or while the receiver is paused.
    /// - Throws: `AMQPError`. ``AMQPCondition/timeout`` if the peer does not answer in time. `.cancelled` if the task
    ///   was cancelled. Otherwise the error of the link.
    ///
    /// Source: AMQP 1.0 §2.6.7; `pn_link_drain`.
    @discardableResult
    public func drain(timeout: Duration) async throws(AMQPError) -> Int {
        return try await self.outbox.ask { .receiver(self.core.status, .drain($0, within: timeout)) }
    }
}
