internal import NIOCore

/// A session: the links on it share its incoming and outgoing windows. Source: AMQP 1.0 §2.5.
public final class AMQPSession: Sendable {
    /// The connection that the session is on.
    public let connection: AMQPConnection
    let handle: SessionEndpoint.Handle

    var mailbox: Mailbox { self.connection.mailbox }

    init(_ handle: SessionEndpoint.Handle, _ connection: AMQPConnection) {
        self.handle = handle
        self.connection = connection
    }

    /// The bytes accepted on the session's senders and not yet written to the socket.
    ///
    /// Not `pn_session_outgoing_bytes`, which falls when bytes are framed, long before they are written.
    public var outgoingBytes: Int { self.mailbox.ledger(self.handle.node)?.used ?? 0 }
    /// The most that ``outgoingBytes`` has been.
    public var outgoingBytesPeak: Int { self.mailbox.ledger(self.handle.node)?.peak ?? 0 }
    /// Proton's own counter of bytes, for comparison with what other programs on Proton show.
    ///
    /// It misleads: it falls when bytes are put into frames, which are kept in a buffer that is not counted, and what waits
    /// here for credit, for the peer's window or for the socket was never in it. Limit by ``outgoingBytes``.
    /// Source: `pn_session_outgoing_bytes`.
    public var protonOutgoingBytes: Int { self.handle.protonBytes.value }

    /// Why the session is of no more use; nil while it is.
    public var error: AMQPError? {
        switch self.handle.ended.answer {
        case nil: nil
        case .failure(let error): error
        case .success: AMQPError(scope: .session, condition: .closed, detail: "the session was ended")
        }
    }

    // MARK: Links

    /// Opens a sender to an address.
    ///
    /// Suspends until the peer has attached the link. Cancellation gives the link up.
    ///
    /// - Parameter address: The name of the node; nil for the anonymous terminus, to which each message names its own in `to`.
    /// - Throws: `AMQPError` when the peer refuses the link, does not answer in time, or the session ends;
    ///   ``AMQPCondition/invalidArgument`` when the attach frame does not fit into the peer's max-frame-size (AMQP 1.0 §2.7.1).
    public func openSender(to address: String?) async throws(AMQPError) -> AMQPSender {
        try await self.openSender(.init(target: AMQPTarget(address: address)))
    }

    /// Opens a sender.
    ///
    /// Suspends until the peer has attached the link. Cancellation gives the link up.
    ///
    /// - Parameter configuration: What the link is opened with.
    /// - Throws: `AMQPError` when the peer refuses the link, does not answer in time, or the session ends;
    ///   ``AMQPCondition/invalidArgument`` when the attach frame does not fit into the peer's max-frame-size (AMQP 1.0 §2.7.1).
    public func openSender(_ configuration: AMQPSender.Configuration) async throws(AMQPError) -> AMQPSender {
        let session = self.handle.endpoint
        let handle = try await self.mailbox.ask { $0.openSender(on: session.value, configuration, $1) }
        let attachment = try await self.attachment(handle.status) { handle.endpoint.value.close(nil) }
        return AMQPSender(handle, attachment, self, settles: configuration.settleMode)
    }

    /// Opens a receiver from an address.
    ///
    /// Suspends until the peer has attached the link. Cancellation gives the link up.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - window: How much may be on its way to the application.
    /// - Throws: `AMQPError` when the peer refuses the link, does not answer in time, or the session ends;
    ///   ``AMQPCondition/invalidArgument`` when the attach frame does not fit into the peer's max-frame-size (AMQP 1.0 §2.7.1).
    public func openReceiver(
        from address: String,
        window: AMQPReceiver.Window = .automatic
    ) async throws(AMQPError) -> AMQPReceiver {
        try await self.openReceiver(.init(source: AMQPSource(address: address), window: window))
    }

    /// Opens a receiver.
    ///
    /// Suspends until the peer has attached the link. Cancellation gives the link up.
    ///
    /// - Parameter configuration: What the link is opened with.
    /// - Throws: `AMQPError` when the peer refuses the link, does not answer in time, or the session ends;
    ///   ``AMQPCondition/invalidArgument`` when the attach frame does not fit into the peer's max-frame-size (AMQP 1.0 §2.7.1).
    public func openReceiver(_ configuration: AMQPReceiver.Configuration) async throws(AMQPError) -> AMQPReceiver {
        let session = self.handle.endpoint
        let handle = try await self.mailbox.ask { $0.openReceiver(on: session.value, configuration, $1) }
        let attachment = try await self.attachment(handle.status) { handle.endpoint.value.close(nil) }
        return AMQPReceiver(handle, attachment, self)
    }

    private func attachment(
        _ status: LinkStatus,
        giveUp: @escaping @Sendable () -> Void
    ) async throws(AMQPError) -> LinkStatus.Attachment {
        do {
            return try await status.attachment.value()
        } catch {
            if error.condition == .cancelled { self.mailbox.run { _ in giveUp() } }
            throw error
        }
    }

    // MARK: Closing

    /// Ends the session with its links, and suspends until the peer has answered.
    ///
    /// Messages that were not sent are given up: their trackers fail, and a warning of the logger counts them for each link.
    /// ``close(flush:)`` sends them first. A second call waits for the same answer. Cancellation ends the wait; the session
    /// ends all the same.
    ///
    /// - Parameter error: What to tell the peer, if the session ends for an error.
    /// - Throws: `AMQPError` when the peer ends with an error, does not answer in time, or the connection is lost.
    public func close(_ error: AMQPError? = nil) async throws(AMQPError) {
        let endpoint = self.handle.endpoint
        self.mailbox.run { _ in endpoint.value.close(error) }
        try await self.connection.answer(to: "the end", self.handle.closed)
    }

    /// Suspends until the session is of no more use, on either side.
    ///
    /// - Throws: `AMQPError` when an error ended it.
    public func waitUntilClosed() async throws(AMQPError) {
        try await self.handle.ended.value()
    }

    /// Runs `body` with a new sender and closes it, also when `body` throws or the task is cancelled.
    ///
    /// The end of the scope sends what the sender has accepted, as
    /// ``AMQPConnection/withConnection(to:configuration:logger:flush:_:)`` does for all senders.
    ///
    /// - Parameters:
    ///   - configuration: What the link is opened with.
    ///   - flush: How long the end of the scope may take; 30 seconds by default.
    ///   - body: What to do with the sender.
    /// - Throws: As ``AMQPConnection/withConnection(to:configuration:logger:flush:_:)``.
    @discardableResult
    public func withSender<Result>(
        _ configuration: AMQPSender.Configuration,
        flush: AMQPFlush = .for(.seconds(30)),
        _ body: (AMQPSender) async throws -> Result
    ) async throws -> Result {
        let sender = try await self.openSender(configuration)
        return try await Scope.run(.link) {
            try await body(sender)
        } close: {
            await self.connection.endScope(sender.closeSteps, flush) { [$0] }
        }
    }

    /// Runs `body` with a new receiver and closes it, also when `body` throws or the task is cancelled.
    ///
    /// The end of the scope waits for the peer's answer to the close, `operationTimeout` at most, and one second at most when
    /// the task is cancelled.
    ///
    /// - Parameters:
    ///   - configuration: What the link is opened with.
    ///   - body: What to do with the receiver.
    /// - Throws: The error of `body`. If it threw none, the error of the close.
    @discardableResult
    public func withReceiver<Result>(
        _ configuration: AMQPReceiver.Configuration,
        _ body: (AMQPReceiver) async throws -> Result
    ) async throws -> Result {
        let receiver = try await self.openReceiver(configuration)
        return try await Scope.run(.link) {
            try await body(receiver)
        } close: {
            await self.connection.endScope(receiver.closeSteps, .none) { _ in [] }
        }
    }
}
