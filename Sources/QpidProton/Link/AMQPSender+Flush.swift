internal import NIOCore

extension AMQPSender {
    /// Closes the link after sending what has been accepted, as far as there is time.
    ///
    /// The sender accepts no message after the call. Suspends until everything is sent and settled and the peer has answered
    /// the close, for the limit of `flush` at most. A fortieth of the limit, one second at most, is reserved for the answer.
    /// With `.none`, the link closes at once, and the peer has `operationTimeout` to answer. Cancellation ends the remaining
    /// time: the link closes at once.
    ///
    /// - Parameter flush: How long the close may take.
    /// - Returns: The messages that were not sent or not settled, also when the peer or the connection ended during the call.
    ///   Messages that had failed before the call are not among them: their trackers hold the error.
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
    /// - Returns: The messages that were not sent or not settled, for each sender that has some.
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
    /// The socket is closed when the peer has answered, or at the limit without an answer.
    ///
    /// - Parameter flush: How long the close may take, including the peer's answer and the close of the socket.
    /// - Returns: The messages that were not sent or not settled, for each sender that has some.
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
