// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import Synchronization

extension AMQPConnection {
    /// Returns the limits of the connection, its sessions and links, the use of each limit, and the causes that block
    /// links.
    ///
    /// Suspends until the connection's event loop has collected the figures.
    ///
    /// - Throws: `AMQPError` if the connection has ended, or the task was cancelled.
    public func snapshot() async throws(AMQPError) -> AMQPConnectionSnapshot {
        try await self.outbox.ask { .connection(.snapshot($0)) }
    }

    /// Returns a sequence of flow events: one when a link has been blocked for a time, and one when that block ends.
    ///
    /// Reading suspends until there is an event. The sequence buffers the last 1,024 unread events and drops older
    /// ones. A cancelled task receives no further event. The sequence ends with the connection.
    ///
    /// - Parameter after: The shortest block to report: 10 ms by default, at least 1 ms. The event loop checks for
    ///   blocks twice in this time.
    public func flowEvents(after: Duration = .milliseconds(10)) -> some AsyncSequence<AMQPFlowEvent, Never> & Sendable {
        self.flowEvents(after: after, of: nil)
    }

    func flowEvents(after: Duration, of link: String?) -> FlowEvents {
        let (stream, continuation) = AsyncStream.makeStream(
            of: AMQPFlowEvent.self,
            bufferingPolicy: .bufferingNewest(FlowEvents.limit)
        )
        let isPosted = self.outbox.post(.connection(.observeFlow(continuation, after: after, link: link)))
        if !isPosted { continuation.finish() }
        return FlowEvents(stream: stream)
    }
}

extension AMQPSession {
    /// Returns the limits of the session and its links; see ``AMQPConnection/snapshot()``.
    ///
    /// After the end of the session it returns the last figures of the session and its links.
    ///
    /// - Throws: `AMQPError` if the connection has ended and the session has no last figures, or the task was
    ///   cancelled.
    public func snapshot() async throws(AMQPError) -> AMQPSessionSnapshot {
        do {
            return try await self.outbox.ask { .session(self.status, .snapshot($0)) }
        } catch {
            guard error.condition != .cancelled, let last = self.status.lastSnapshot.withLock({ $0 }) else {
                throw error
            }
            return last
        }
    }
}

extension AMQPSender {
    /// Returns the limits of the link, and the cause that blocks it; see ``AMQPConnection/snapshot()``.
    ///
    /// After the end of the link it returns the last figures.
    ///
    /// - Throws: `AMQPError` if the connection has ended and the link has no last figures, or the task was cancelled.
    public func snapshot() async throws(AMQPError) -> AMQPLinkSnapshot {
        try await self.core.snapshot { .sender(self.core.status, .snapshot($0)) }
    }

    /// Returns the events of this link's blocks; see ``AMQPConnection/flowEvents(after:)``.
    public func flowEvents(after: Duration = .milliseconds(10)) -> some AsyncSequence<AMQPFlowEvent, Never> & Sendable {
        self.session.connection.flowEvents(after: after, of: self.name)
    }
}

extension AMQPReceiver {
    /// Returns the limits of the link, and the cause that blocks it; see ``AMQPConnection/snapshot()``.
    ///
    /// After the end of the link it returns the last figures.
    ///
    /// - Throws: `AMQPError` if the connection has ended and the link has no last figures, or the task was cancelled.
    public func snapshot() async throws(AMQPError) -> AMQPLinkSnapshot {
        try await self.core.snapshot { .receiver(self.core.status, .snapshot($0)) }
    }

    /// Returns the events of this link's blocks; see ``AMQPConnection/flowEvents(after:)``.
    public func flowEvents(after: Duration = .milliseconds(10)) -> some AsyncSequence<AMQPFlowEvent, Never> & Sendable {
        self.session.connection.flowEvents(after: after, of: self.name)
    }
}

extension LinkCore {
    /// Returns the current figures of the link; if the link has ended, its last figures.
    fileprivate func snapshot(
        _ command: (Reply<AMQPLinkSnapshot>) -> Command
    ) async throws(AMQPError) -> AMQPLinkSnapshot {
        do {
            return try await self.session.outbox.ask(command)
        } catch {
            guard error.condition != .cancelled, let last = self.status.lastSnapshot.withLock({ $0 }) else {
                throw error
            }
            return last
        }
    }
}
