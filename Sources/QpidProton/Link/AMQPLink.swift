// SPDX-License-Identifier: Apache-2.0

/// The common interface of both ends of a link: ``AMQPSender`` and ``AMQPReceiver``. Source: AMQP 1.0 §2.6.
public protocol AMQPLink: Sendable {
    /// The name of the link.
    var name: String { get }
    /// The session that the link is on.
    var session: AMQPSession { get }
    /// The source as the peer announced it, with the address of a dynamic source.
    var remoteSource: AMQPSource { get }
    /// The target as the peer announced it, with the address of a dynamic target.
    var remoteTarget: AMQPTarget { get }
    /// The properties of the link that the peer announced.
    var remoteProperties: AMQPMap { get }
    /// The extensions that the peer offers on the link.
    var remoteOfferedCapabilities: [AMQPSymbol] { get }
    /// The extensions that the peer would like to use on the link.
    var remoteDesiredCapabilities: [AMQPSymbol] { get }
    /// The largest message that the peer accepts, in bytes; `nil` for no limit.
    var remoteMaxMessageSize: AMQPByteCount? { get }
    /// The number of messages that may be sent now.
    var credit: Int { get }
    /// The link properties in the peer's last flow of the link.
    var flowProperties: AMQPMap { get }
    /// The error that ended the link; `nil` while it is open.
    var error: AMQPError? { get }

    /// Closes the link at once, and suspends until the peer has answered.
    @discardableResult func close(_ error: AMQPError?) async -> AMQPCloseResult
    /// Finishes the work of the link and closes it, within a limit.
    @discardableResult func close(within limit: Duration) async -> AMQPCloseResult
    /// Detaches the link so that its terminus survives, and suspends until the peer has answered.
    @discardableResult func detach() async -> AMQPCloseResult
    /// Suspends until either side has ended the link.
    func waitUntilClosed() async throws(AMQPError)
}

/// The common parts of a sender and a receiver.
struct LinkCore: Sendable {
    let session: AMQPSession
    let status: LinkStatus
    let attachment: LinkStatus.Attachment

    /// The error that ended the link. If the link closed without an error, it is the error that ended the connection.
    var error: AMQPError? {
        guard let error = self.status.endError else { return nil }
        guard error.scope == .link, error.condition == .closed else { return error }
        return self.session.connection.error ?? error
    }

    var maxMessageSize: AMQPByteCount? {
        self.attachment.maxMessageSize == 0 ? nil : AMQPByteCount(clamping: self.attachment.maxMessageSize)
    }
}
