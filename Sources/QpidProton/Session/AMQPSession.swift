internal import NIOCore

/// A session: its links share the incoming and outgoing windows.
///
/// The session stays open until you close it or the connection ends. The release of the last reference does not close it.
///
/// Source: AMQP 1.0 §2.5.
public final class AMQPSession: Sendable {
    /// The connection that the session is on.
    public let connection: AMQPConnection
    let handle: SessionEndpoint.Handle

    var outbox: Outbox { self.connection.outbox }

    init(_ handle: SessionEndpoint.Handle, _ connection: AMQPConnection) {
        self.handle = handle
        self.connection = connection
    }

    /// The bytes that the session's senders have accepted and that are not yet written to the socket.
    ///
    /// This is not `pn_session_outgoing_bytes`, which falls when bytes are framed, long before they are written. For
    /// that count see ``AMQPSessionSnapshot/protonOutgoingBytes``.
    public var outgoingBytes: AMQPByteCount { AMQPByteCount(self.outbox.ledger(self.handle.node)?.used ?? 0) }
    /// The most that ``outgoingBytes`` has been.
    package var outgoingBytesPeak: Int { self.outbox.ledger(self.handle.node)?.peak ?? 0 }

    /// The error that ended the session; `nil` while it is open.
    public var error: AMQPError? { self.handle.ended.cause }

    // MARK: Links

    /// Opens a sender to an address.
    ///
    /// Suspends until the peer has attached the link. Cancellation abandons the link.
    ///
    /// - Parameters:
    ///   - address: The name of the node; `nil` for the anonymous terminus, to which each message names its own in
    ///     `to`.
    ///   - timeout: How long the peer may take to answer; `nil`, the default, for the connection's `operationTimeout`.
    /// - Throws: `AMQPError` if the peer refuses the link or does not answer in time, or if the session ends.
    ///   ``AMQPCondition/invalidArgument`` if the attach frame does not fit into the peer's max-frame-size (AMQP 1.0
    ///   §2.7.1).
    public func openSender(to address: String?, timeout: Duration? = nil) async throws(AMQPError) -> AMQPSender {
        try await self.openSender(.init(target: AMQPTarget(address: address)), timeout: timeout)
    }

    /// Opens a sender.
    ///
    /// Suspends until the peer has attached the link. Cancellation abandons the link.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the link.
    ///   - timeout: How long the peer may take to answer; `nil`, the default, for the connection's `operationTimeout`.
    /// - Throws: `AMQPError` if the peer refuses the link or does not answer in time, or if the session ends.
    ///   ``AMQPCondition/invalidArgument`` if the attach frame does not fit into the peer's max-frame-size (AMQP 1.0
    ///   §2.7.1).
    public func openSender(
        _ configuration: AMQPSender.Configuration,
        timeout: Duration? = nil
    ) async throws(AMQPError) -> AMQPSender {
        let session = self.handle.endpoint
        let handle = try await self.outbox.askAtOnce {
            $0.openSender(on: session.value, configuration, within: timeout, $1)
        }
        let attachment = try await self.attachment(handle.status) { handle.endpoint.value.close(nil) }
        return AMQPSender(handle, attachment, self, settles: configuration.settleMode)
    }

    /// Opens a receiver from an address.
    ///
    /// Suspends until the peer has attached the link. Cancellation abandons the link.
    ///
    /// - Parameters:
    ///   - address: The name of the node.
    ///   - window: How many messages or bytes may be on their way to the application.
    ///   - timeout: How long the peer may take to answer; `nil`, the default, for the connection's `operationTimeout`.
    /// - Throws: `AMQPError` if the peer refuses the link or does not answer in time, or if the session ends.
    ///   ``AMQPCondition/invalidArgument`` if the attach frame does not fit into the peer's max-frame-size (AMQP 1.0
    ///   §2.7.1).
    public func openReceiver(
        from address: String,
        window: AMQPReceiver.Window = .automatic,
        timeout: Duration? = nil
    ) async throws(AMQPError) -> AMQPReceiver {
        try await self.openReceiver(.init(source: AMQPSource(address: address), window: window), timeout: timeout)
    }

    /// Opens a receiver.
    ///
    /// Suspends until the peer has attached the link. Cancellation abandons the link.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the link.
    ///   - timeout: How long the peer may take to answer; `nil`, the default, for the connection's `operationTimeout`.
    /// - Throws: `AMQPError` if the peer refuses the link or does not answer in time, or if the session ends.
    ///   ``AMQPCondition/invalidArgument`` if the attach frame does not fit into the peer's max-frame-size (AMQP 1.0
    ///   §2.7.1).
    public func openReceiver(
        _ configuration: AMQPReceiver.Configuration,
        timeout: Duration? = nil
    ) async throws(AMQPError) -> AMQPReceiver {
        let session = self.handle.endpoint
        let handle = try await self.outbox.askAtOnce {
            $0.openReceiver(on: session.value, configuration, within: timeout, $1)
        }
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
            if error.condition == .cancelled { self.outbox.run { _ in giveUp() } }
            throw error
        }
    }

    // MARK: Closing

    /// Suspends until either side has ended the session. Cancellation ends only the wait.
    ///
    /// - Throws: `AMQPError` if an error or the peer's end of the connection ended the session, or the task was cancelled.
    public func waitUntilClosed() async throws(AMQPError) {
        _ = try await self.handle.ended.value()
    }
}
