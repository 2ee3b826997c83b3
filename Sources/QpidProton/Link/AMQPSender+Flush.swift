internal import NIOCore

extension AMQPSender {
    /// Closes the link after sending what has been accepted, as far as there is time.
    ///
    /// Nothing more is accepted from the call on. Suspends until everything is sent and settled or the time is over, and
    /// for the peer's answer to the close, `operationTimeout` at most. A task that is cancelled gives up the rest of the time.
    ///
    /// - Parameter flush: How long to go on sending.
    /// - Returns: What was not finished. Also when the peer or the connection ended meanwhile.
    @discardableResult
    public func close(flush: AMQPFlush) async -> AMQPUnfinished {
        let endpoint = self.endpoint
        let unfinished: AMQPUnfinished? = await self.mailbox.flush(for: flush.limit) { _, limit, done in
            endpoint.value.flush(for: limit) { done($0) }
        }
        try? await self.close()
        return unfinished
            ?? AMQPUnfinished(linkName: self.name, target: self.remoteTarget, unsent: [], unsettled: [])
    }
}

extension AMQPSession {
    /// Ends the session after sending what its senders have accepted, as far as there is time. As
    /// ``AMQPSender/close(flush:)``, for all senders at the same time.
    ///
    /// - Parameter flush: How long to go on sending.
    /// - Returns: The senders that did not finish, with what they did not.
    @discardableResult
    public func close(flush: AMQPFlush) async -> [AMQPUnfinished] {
        let endpoint = self.handle.endpoint
        let unfinished: [AMQPUnfinished]? = await self.mailbox.flush(for: flush.limit) { handler, limit, done in
            handler.flush(endpoint.value.senders, for: limit, done)
        }
        try? await self.close()
        return unfinished ?? []
    }
}

extension AMQPConnection {
    /// Closes the connection after sending what its senders have accepted, as far as there is time. As
    /// ``AMQPSender/close(flush:)``, for all senders at the same time.
    ///
    /// - Parameter flush: How long to go on sending.
    /// - Returns: The senders that did not finish, with what they did not.
    @discardableResult
    public func close(flush: AMQPFlush) async -> [AMQPUnfinished] {
        let unfinished: [AMQPUnfinished]? = await self.mailbox.flush(for: flush.limit) { handler, limit, done in
            handler.flush(handler.sessions.values.flatMap(\.senders), for: limit, done)
        }
        try? await self.close()
        return unfinished ?? []
    }
}

extension Mailbox {
    /// Runs a flush on the loop and waits for what it did not finish; nil when the connection is gone.
    ///
    /// Cancellation runs it once more, without time.
    fileprivate func flush<Rest: Sendable>(
        for limit: Duration,
        _ begin: @escaping @Sendable (ConnectionHandler, Duration, @escaping (Rest) -> Void) -> Void
    ) async -> Rest? {
        await self.answer { handler, reply in
            begin(handler, limit) { reply.resolve(.success($0)) }
        } onCancel: { handler in
            begin(handler, .zero) { _ in }
        }
    }
}
