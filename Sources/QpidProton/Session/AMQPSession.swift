// SPDX-License-Identifier: Apache-2.0

/// A session, whose links share its incoming and outgoing windows.
///
/// The session stays open until you close it or the connection ends. Releasing the last reference does not close it.
///
/// Source: AMQP 1.0 §2.5.
public final class AMQPSession: Sendable {
    /// The connection that the session is on.
    public let connection: AMQPConnection
    let status: SessionStatus
    private let node: SlotKey

    var outbox: Outbox { self.connection.outbox }

    init(_ opened: OpenedSession, _ connection: AMQPConnection) {
        self.status = opened.status
        self.node = opened.node
        self.connection = connection
    }

    /// The bytes that the session's senders have accepted and that are not yet written to the socket.
    ///
    /// This is not `pn_session_outgoing_bytes`, which falls when bytes are framed, long before they are written. For
    /// that count see ``AMQPSessionSnapshot/protonOutgoingBytes``.
    public var outgoingBytes: AMQPByteCount { AMQPByteCount(self.outbox.ledger(self.node)?.used ?? 0) }
    /// The peak of ``outgoingBytes``.
    package var outgoingBytesPeak: Int { self.outbox.ledger(self.node)?.peak ?? 0 }

    /// The error that ended the session; `nil` while it is open.
    public var error: AMQPError? { self.status.ended.cause }

    // MARK: Links

    /// Opens a sender to an address.
    ///
    /// Suspends until the peer has attached the link. Cancellation abandons the link.
    ///
    /// - Parameters:
    ///   - address: The name of the node; `nil` for the anonymous terminus, where each message names its own address in
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
        let opened = try await self.outbox.askAtOnce {
            .session(self.status, .openSender(configuration, within: timeout, $0))
        }
        let attachment = try await self.attachment(opened.status, giveUp: .sender(opened.status, .close(nil)))
        return AMQPSender(
            opened,
            attachment,
            self,
            settles: configuration.settleMode,
            keptLimit: configuration.keptLimit
        )
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
        let opened = try await self.outbox.askAtOnce {
            .session(self.status, .openReceiver(configuration, within: timeout, $0))
        }
        let attachment = try await self.attachment(opened.status, giveUp: .receiver(opened.status, .close(nil)))
        return AMQPReceiver(opened, attachment, self)
    }

    private func attachment(
        _ status: LinkStatus,
        giveUp: Command
    ) async throws(AMQPError) -> LinkStatus.Attachment {
        do {
            return try await status.attachment.value()
        } catch {
            if error.condition == .cancelled { self.outbox.post(giveUp) }
            throw error
        }
    }

    // MARK: Closing

    /// Suspends until either side has ended the session. Cancellation ends only the wait.
    ///
    /// - Throws: `AMQPError` if the session ended with an error, the peer closed the connection, or the task was
    ///   cancelled.
    public func waitUntilClosed() async throws(AMQPError) {
        _ = try await self.status.ended.value()
    }
}
