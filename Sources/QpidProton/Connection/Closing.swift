// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

// Every close of the same connection, session or link returns the same result: the unfinished work.
//
// If several closes run at the same time, the shortest limit applies to all of them.

extension AMQPSender {
    /// Closes the link at once, and suspends until the peer has answered.
    ///
    /// Unsent messages fail: the result lists them, and one logged warning counts them. ``close(within:)`` sends them
    /// first. The peer has the connection's `operationTimeout` to answer. A second call waits for the same answer.
    /// Cancellation ends only the wait: the link still closes.
    ///
    /// - Parameter error: The reason for the peer, if the link closes because of an error.
    /// - Returns: The unfinished work, and the reason if the close was not orderly.
    ///
    /// Source: AMQP 1.0 §2.6.4, `pn_link_close`.
    @discardableResult
    public func close(_ error: AMQPError? = nil) async -> AMQPCloseResult {
        await self.session.connection.close(self.closeRequest(error), within: .zero)
    }

    /// Sends the accepted messages, waits for their outcomes, and closes the link, within a limit.
    ///
    /// The sender accepts no message after the call. Suspends until all messages are sent and settled and the peer has
    /// answered the close, for at most the limit. A fortieth of the limit, one second at most, is reserved for the
    /// answer. With a limit of zero, it is the same as ``close(_:)``. Cancellation ends the remaining time: the link
    /// closes at once.
    ///
    /// - Parameter limit: How long the whole close may take.
    /// - Returns: The unfinished work, and the reason if the close was not orderly.
    @discardableResult
    public func close(within limit: Duration) async -> AMQPCloseResult {
        await self.session.connection.close(self.closeRequest(), within: limit)
    }

    /// Detaches the link so that its terminus survives, and suspends until the peer has answered. Otherwise the same as
    /// ``close(_:)``.
    ///
    /// Source: AMQP 1.0 §2.6.3, `pn_link_detach`.
    @discardableResult
    public func detach() async -> AMQPCloseResult {
        await self.session.connection.close(self.closeRequest(detaches: true), within: .zero)
    }

    func closeRequest(_ error: AMQPError? = nil, detaches: Bool = false) -> CloseRequest {
        let status = self.core.status
        return CloseRequest(
            target: .sender(status),
            error: error,
            detaches: detaches,
            report: status.report,
            answered: status.detached
        )
    }
}

extension AMQPReceiver {
    /// Closes the link at once, and suspends until the peer has answered.
    ///
    /// First releases the messages that no task has received. The peer has the connection's `operationTimeout` to
    /// answer. A second call waits for the same answer. Cancellation ends only the wait: the link still closes.
    ///
    /// - Parameter error: The reason for the peer, if the link closes because of an error.
    /// - Returns: The unfinished work, and the reason if the close was not orderly.
    ///
    /// Source: AMQP 1.0 §2.6.4, `pn_link_close`.
    @discardableResult
    public func close(_ error: AMQPError? = nil) async -> AMQPCloseResult {
        await self.session.connection.close(self.closeRequest(error), within: .zero)
    }

    /// Closes the link in order: stops the peer, waits until the application has settled its messages, and detaches.
    ///
    /// After the call no task receives an unsettled message; tasks can still receive messages that the peer sent
    /// settled. When no further message can arrive, the receiver releases the unsettled messages that no task has
    /// received, in order. On a queue with a single active consumer, the peer can then deliver all remaining messages
    /// to the next consumer in order.
    ///
    /// Suspends until all messages are settled and the peer has answered the close, for at most the limit. A fortieth
    /// of the limit, one second at most, is reserved for the answer. With a limit of zero, it is the same as
    /// ``close(_:)``. Cancellation ends the remaining time: the link closes at once.
    ///
    /// - Parameter limit: How long the whole close may take.
    /// - Returns: The unfinished work, and the reason if the close was not orderly. The counts are correct even if the
    ///   link or the connection ended before or during the call.
    @discardableResult
    public func close(within limit: Duration) async -> AMQPCloseResult {
        await self.session.connection.close(self.closeRequest(), within: limit)
    }

    /// Detaches the link so that its terminus survives, and suspends until the peer has answered. Otherwise the same as
    /// ``close(_:)``.
    ///
    /// Source: AMQP 1.0 §2.6.3, `pn_link_detach`.
    @discardableResult
    public func detach() async -> AMQPCloseResult {
        await self.session.connection.close(self.closeRequest(detaches: true), within: .zero)
    }

    func closeRequest(_ error: AMQPError? = nil, detaches: Bool = false) -> CloseRequest {
        let status = self.core.status
        let ended = CloseReport.Receiver(
            linkName: self.name,
            address: self.remoteSource.address,
            settlements: self.settlements
        )
        return CloseRequest(
            target: .receiver(status, ended),
            error: error,
            detaches: detaches,
            report: status.report,
            answered: status.detached
        )
    }
}

extension AMQPSession {
    /// Ends the session with its links at once, and suspends until the peer has answered.
    ///
    /// Unsent messages fail: the result lists them, and one logged warning per link counts them. ``close(within:)``
    /// sends them first. The peer has the connection's `operationTimeout` to answer. A second call waits for the same
    /// answer. Cancellation ends only the wait: the session still ends.
    ///
    /// - Parameter error: The reason for the peer, if the session ends because of an error.
    /// - Returns: The unfinished work of its links, and the reason if the close was not orderly.
    ///
    /// Source: AMQP 1.0 §2.5.3, `pn_session_close`.
    @discardableResult
    public func close(_ error: AMQPError? = nil) async -> AMQPCloseResult {
        await self.connection.close(self.closeRequest(error), within: .zero)
    }

    /// Finishes the work of all links, and ends the session, within a limit.
    ///
    /// First the receivers stop as in ``AMQPReceiver/close(within:)``: the application can settle the messages that it
    /// holds, and its senders work as before. Then the senders send the messages that they have accepted, as in
    /// ``AMQPSender/close(within:)``.
    ///
    /// - Parameter limit: How long the whole close may take, including the peer's answer to the end.
    /// - Returns: The unfinished work of the links, and the reason if the close was not orderly.
    @discardableResult
    public func close(within limit: Duration) async -> AMQPCloseResult {
        await self.connection.close(self.closeRequest(), within: limit)
    }

    func closeRequest(_ error: AMQPError? = nil, stopsReceivers: Bool = true) -> CloseRequest {
        CloseRequest(
            target: .session(self.status),
            error: error,
            stopsReceivers: stopsReceivers,
            report: self.status.report,
            answered: self.status.closed
        )
    }
}

extension AMQPConnection {
    /// Closes the connection with its sessions and links at once, and suspends until the socket is closed.
    ///
    /// Unsent messages fail: the result lists them, and one logged warning per link counts them. ``close(within:)``
    /// sends them first. The peer has `operationTimeout` to answer. Any task may call this method, more than once: all
    /// calls wait for the same end. Cancellation ends only the wait: the connection still closes.
    ///
    /// - Parameter error: The reason for the peer, if the connection closes because of an error.
    /// - Returns: The unfinished work of its links, and the reason if the close was not orderly.
    ///
    /// Source: AMQP 1.0 §2.4.3, `pn_connection_close`.
    @discardableResult
    public func close(_ error: AMQPError? = nil) async -> AMQPCloseResult {
        await self.close(self.closeRequest(error), within: .zero)
    }

    /// Finishes the work of all links, and closes the connection, within a limit.
    ///
    /// First the receivers stop as in ``AMQPReceiver/close(within:)``: the application can settle the messages that it
    /// holds, and its senders work as before. Then the senders send the messages that they have accepted, as in
    /// ``AMQPSender/close(within:)``. The socket closes when the peer has answered, or at the limit without an answer.
    ///
    /// - Parameter limit: How long the whole close may take, including the peer's answer and the close of the socket.
    /// - Returns: The unfinished work of the links, and the reason if the close was not orderly.
    @discardableResult
    public func close(within limit: Duration) async -> AMQPCloseResult {
        await self.close(self.closeRequest(), within: limit)
    }

    func closeRequest(_ error: AMQPError? = nil, stopsReceivers: Bool = true) -> CloseRequest {
        CloseRequest(
            target: .connection,
            error: error,
            stopsReceivers: stopsReceivers,
            report: self.parts.report,
            answered: self.parts.closed
        )
    }
}
