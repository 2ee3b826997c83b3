/// What the two ends of a link share: ``AMQPSender`` and ``AMQPReceiver``. Source: AMQP 1.0 §2.6.
public protocol AMQPLink: Sendable {
    /// The name of the link.
    var name: String { get }
    /// The session that the link is on.
    var session: AMQPSession { get }
    /// The source as the peer sees it; the address of a dynamic source is here.
    var remoteSource: AMQPSource { get }
    /// The target as the peer sees it; the address of a dynamic target is here.
    var remoteTarget: AMQPTarget { get }
    /// The properties of the link that the peer told.
    var remoteProperties: AMQPMap { get }
    /// The extensions that the peer offers on the link.
    var remoteOfferedCapabilities: [AMQPSymbol] { get }
    /// The extensions that the peer would like to use on the link.
    var remoteDesiredCapabilities: [AMQPSymbol] { get }
    /// The largest message that the peer takes, in bytes; nil for no limit.
    var remoteMaxMessageSize: AMQPByteCount? { get }
    /// The messages that may be sent now.
    var credit: Int { get }
    /// The properties of the link in the peer's last flow of it.
    var flowProperties: AMQPMap { get }
    /// Why the link is of no more use; nil while it is.
    var error: AMQPError? { get }

    /// Closes the link at once, and suspends until the peer has answered.
    @discardableResult func close(_ error: AMQPError?) async -> AMQPCloseResult
    /// Finishes the work of the link and closes it, within a limit.
    @discardableResult func close(within limit: Duration) async -> AMQPCloseResult
    /// Detaches the link so that its terminus lives on, and suspends until the peer has answered.
    @discardableResult func detach() async -> AMQPCloseResult
    /// Suspends until the link is of no more use, on either side.
    func waitUntilClosed() async throws(AMQPError)
}

/// What a link's class has from its attach.
struct LinkCore: Sendable {
    let session: AMQPSession
    let status: LinkStatus
    let attachment: LinkStatus.Attachment

    /// Why the link has ended: the connection's end, where the link was closed in order before it.
    var error: AMQPError? {
        guard let error = self.status.endError else { return nil }
        guard error.scope == .link, error.condition == .closed else { return error }
        return self.session.connection.error ?? error
    }

    var maxMessageSize: AMQPByteCount? {
        self.attachment.maxMessageSize == 0 ? nil : AMQPByteCount(clamping: self.attachment.maxMessageSize)
    }
}
