// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import NIOCore

/// A connection to an AMQP 1.0 peer, opened with ``connect(to:configuration:logger:)-(String,_,_)`` or accepted by an
/// ``AMQPListener``.
///
/// Any task may call any method. The connection closes when its last reference is released. Messages that are unsent at
/// that time fail, as with ``close(_:)``.
///
/// Source: AMQP 1.0 §2.4.
public final class AMQPConnection: Sendable {
    /// The fields that the peer announced in its `open` frame.
    public let peer: AMQPPeer
    /// The login of this side; on a connection that a listener accepted, the login of the peer.
    public let identity: AMQPAuthenticatedIdentity?
    /// The settings of this connection.
    public let configuration: Configuration
    let parts: Parts

    var outbox: Outbox { self.parts.outbox }

    /// The parts of a connection's handler that tasks use.
    struct Parts: Sendable {
        let channel: any Channel
        let outbox: Outbox
        let node: SlotKey
        let opened: Reply<AMQPPeer>
        let ended: EndReply
        let closed: Reply<Void>
        let report: CloseReport
        let incoming: WaitingQueue<IncomingRequest>
        let identity: Reply<AMQPAuthenticatedIdentity?>

        init(_ handler: ConnectionHandler, _ channel: any Channel) {
            self.channel = channel
            self.outbox = handler.outbox
            self.node = handler.node
            self.opened = handler.opened
            self.ended = handler.ended
            self.closed = handler.closed
            self.report = handler.report
            self.incoming = handler.incoming
            self.identity = handler.identity
        }
    }

    init(_ parts: Parts, _ peer: AMQPPeer, _ configuration: Configuration) {
        self.parts = parts
        self.peer = peer
        self.configuration = configuration
        self.identity = (try? parts.identity.answer?.get()) ?? nil
    }

    deinit {
        self.outbox.post(.connection(.close(nil)))
    }

    // MARK: State

    /// The error that ended the connection; `nil` while it is open.
    public var error: AMQPError? { self.parts.ended.cause }

    /// The bytes that the connection's senders have accepted and that are not yet written to the socket.
    public var outgoingBytes: AMQPByteCount { AMQPByteCount(self.outbox.ledger(self.parts.node)?.used ?? 0) }
    /// The peak of ``outgoingBytes``.
    package var outgoingBytesPeak: Int { self.outbox.ledger(self.parts.node)?.peak ?? 0 }
    /// The local address of the socket, as text.
    public var localAddress: String? { self.parts.channel.localAddress?.description }
    /// The address of the peer's socket, as text.
    public var remoteAddress: String? { self.parts.channel.remoteAddress?.description }

    // MARK: Sessions

    /// Begins a session.
    ///
    /// Suspends until the peer has begun the session too. Cancellation abandons the session.
    ///
    /// The channel number of an ended session rests before another session uses it, because RabbitMQ 4.0 can lose a
    /// `begin` that arrives too soon. If every free number has rested for less than 20 ms, the call waits for the rest
    /// of that time.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the session.
    ///   - timeout: How long the peer may take to answer; `nil`, the default, for `operationTimeout`.
    /// - Throws: `AMQPError` if a setting is unusable, the peer refuses or does not answer in time, or the connection
    ///   ends.
    public func openSession(
        _ configuration: AMQPSession.Configuration = .init(),
        timeout: Duration? = nil
    ) async throws(AMQPError) -> AMQPSession {
        let opened = try await self.outbox.askAtOnce { .connection(.openSession(configuration, within: timeout, $0)) }
        do {
            try await opened.status.opened.value()
        } catch {
            if error.condition == .cancelled { self.outbox.post(.session(opened.status, .close(nil))) }
            throw error
        }
        return AMQPSession(opened, self)
    }

    /// Runs `body` with a new session and ends it, also if `body` throws or the task is cancelled.
    ///
    /// The end of the scope sends the messages that the session's senders have accepted, as `withConnection` does for
    /// all sessions.
    ///
    /// - Parameters:
    ///   - configuration: The settings of the session.
    ///   - timeout: How long the peer may take to answer the begin; `nil`, the default, for `operationTimeout`.
    ///   - limit: How long the end of the scope may take; 30 seconds by default.
    ///   - body: The closure that uses the session.
    /// - Throws: The same errors as `withConnection`.
    @discardableResult
    public func withSession<Result>(
        _ configuration: AMQPSession.Configuration = .init(),
        timeout: Duration? = nil,
        closingWithin limit: Duration = .seconds(30),
        _ body: (AMQPSession) async throws -> Result
    ) async throws -> Result {
        let session = try await self.openSession(configuration, timeout: timeout)
        return try await LifetimeScope.run(.session, within: limit) {
            try await body(session)
        } end: {
            session.error
        } close: {
            await self.endScope(session.closeRequest(stopsReceivers: false), within: limit)
        }
    }

    // MARK: Closing

    /// Suspends until either side has ended the connection. Cancellation ends only the wait.
    ///
    /// - Throws: `AMQPError` if an error ended the connection, or the task was cancelled.
    public func waitUntilClosed() async throws(AMQPError) {
        _ = try await self.parts.ended.value()
    }
}
