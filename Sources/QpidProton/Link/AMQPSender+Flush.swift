internal import NIOCore

extension AMQPSender {
    /// Closes the link after sending what has been accepted, as far as there is time.
    ///
    /// Nothing more is accepted from the call on. Suspends until everything is sent and settled and the peer has answered the
    /// close, for the limit of `flush` at most. A fortieth of the limit, one second at most, is kept for the answer. With
    /// `.none` the peer has `operationTimeout` to answer. A task that is cancelled gives up the rest of the time.
    ///
    /// - Parameter flush: How long the close may take.
    /// - Returns: What was not finished. Also when the peer or the connection ended meanwhile. Messages that had failed before
    ///   the call are not in it: their transfers have the error.
    @discardableResult
    public func close(flush: AMQPFlush) async -> AMQPUnfinished {
        let result = await self.session.connection.close(self.closeSteps, within: flush.limit)
        return result?.rest
            ?? AMQPUnfinished(linkName: self.name, target: self.remoteTarget, unsent: [], unsettled: [])
    }

    var closeSteps: CloseSteps<AMQPUnfinished> {
        let endpoint = self.endpoint
        return CloseSteps(
            what: "the detach",
            work: { endpoint.value.flush(for: $1, $2) },
            close: { _ in endpoint.value.close(nil) },
            answered: self.core.status.detached
        )
    }
}

extension AMQPSession {
    /// Ends the session after sending what its senders have accepted, as far as there is time. As
    /// ``AMQPSender/close(flush:)``, for all senders at the same time.
    ///
    /// - Parameter flush: How long the close may take, with the peer's answer to the end.
    /// - Returns: The senders that did not finish, with what they did not.
    @discardableResult
    public func close(flush: AMQPFlush) async -> [AMQPUnfinished] {
        await self.connection.close(self.closeSteps, within: flush.limit)?.rest ?? []
    }

    var closeSteps: CloseSteps<[AMQPUnfinished]> {
        let endpoint = self.handle.endpoint
        return CloseSteps(
            what: "the end",
            work: { $0.flush(endpoint.value.senders, for: $1, $2) },
            close: { _ in endpoint.value.close(nil) },
            answered: self.handle.closed
        )
    }
}

extension AMQPConnection {
    /// Closes the connection after sending what its senders have accepted, as far as there is time. As
    /// ``AMQPSender/close(flush:)``, for all senders at the same time.
    ///
    /// The socket is closed when the peer has answered, and at the limit without an answer.
    ///
    /// - Parameter flush: How long the close may take, with the peer's answer and the end of the socket.
    /// - Returns: The senders that did not finish, with what they did not.
    @discardableResult
    public func close(flush: AMQPFlush) async -> [AMQPUnfinished] {
        await self.close(self.closeSteps, within: flush.limit)?.rest ?? []
    }

    var closeSteps: CloseSteps<[AMQPUnfinished]> {
        CloseSteps(
            what: "the close",
            work: { handler, limit, done in
                handler.flush(handler.sessions.values.flatMap(\.senders), for: limit, done)
            },
            close: { $0.close(nil) },
            answered: self.parts.closed,
            giveUp: { $0.die($1) }
        )
    }
}
