internal import NIOCore

extension AMQPConnection {
    /// All limits of the connection, its sessions and links, how full they are, and what keeps the links from moving.
    ///
    /// Suspends until the connection's event loop has looked.
    ///
    /// - Throws: `AMQPError` when the connection is gone, or the task was cancelled.
    public func snapshot() async throws(AMQPError) -> AMQPConnectionSnapshot {
        try await self.mailbox.ask { $1.resolve(.success($0.snapshot)) }
    }

    /// The times in which something keeps links from moving: an event when it has lasted for a time, and one when it is over.
    ///
    /// Reading suspends until there is an event. The last 1,024 events wait for the task that reads them; older ones are dropped.
    /// A cancelled task gets no further event. The sequence ends with the connection.
    ///
    /// - Parameter after: Shorter times are left out; 1 ms at least. The event loop looks twice in this time.
    public func flowEvents(after: Duration = .milliseconds(10)) -> some AsyncSequence<AMQPFlowEvent, Never> & Sendable {
        self.flowEvents(after: after, of: nil)
    }

    func flowEvents(after: Duration, of link: String?) -> FlowEvents {
        let (stream, continuation) = AsyncStream.makeStream(
            of: AMQPFlowEvent.self,
            bufferingPolicy: .bufferingNewest(FlowEvents.limit)
        )
        self.mailbox.run(
            { $0.watch.subscribe(continuation, after: after, link: link) },
            otherwise: { _ in continuation.finish() }
        )
        return FlowEvents(stream: stream)
    }
}

extension AMQPSession {
    /// The limits of the session and its links; as ``AMQPConnection/snapshot()``.
    public func snapshot() async throws(AMQPError) -> AMQPSessionSnapshot {
        let endpoint = self.handle.endpoint
        return try await self.mailbox.ask { $1.resolve(.success(endpoint.value.snapshot)) }
    }
}

extension AMQPSender {
    /// The limits of the link, and what keeps it from moving; as ``AMQPConnection/snapshot()``.
    public func snapshot() async throws(AMQPError) -> AMQPLinkSnapshot {
        let endpoint = self.endpoint
        return try await self.mailbox.ask { $1.resolve(.success(endpoint.value.snapshot(at: $0.now))) }
    }

    /// The times in which something keeps this link from moving; as ``AMQPConnection/flowEvents(after:)``.
    public func flowEvents(after: Duration = .milliseconds(10)) -> some AsyncSequence<AMQPFlowEvent, Never> & Sendable {
        self.session.connection.flowEvents(after: after, of: self.name)
    }
}

extension AMQPReceiver {
    /// The limits of the link, and what keeps it from moving; as ``AMQPConnection/snapshot()``.
    public func snapshot() async throws(AMQPError) -> AMQPLinkSnapshot {
        let endpoint = self.endpoint
        return try await self.mailbox.ask { $1.resolve(.success(endpoint.value.snapshot(at: $0.now))) }
    }

    /// The times in which something keeps this link from moving; as ``AMQPConnection/flowEvents(after:)``.
    public func flowEvents(after: Duration = .milliseconds(10)) -> some AsyncSequence<AMQPFlowEvent, Never> & Sendable {
        self.session.connection.flowEvents(after: after, of: self.name)
    }
}
