internal import NIOCore
internal import Synchronization

extension AMQPSender {
    /// The messages that were dropped for lack of room: see ``AMQPOverflow``.
    public var droppedMessages: Int { self.core.status.droppedMessages.load(ordering: .relaxed) }
    /// The bytes that the dropped messages had, as they count against the send limits.
    public var droppedBytes: Int { self.core.status.droppedBytes.load(ordering: .relaxed) }

    /// The work that makes room for a message that waits; nil where it waits for the peer.
    var roomMaker: (@Sendable (ConnectionHandler) -> Void)? {
        guard self.overflow == .dropOldest else { return nil }
        let endpoint = self.endpoint
        return { _ in endpoint.value.makeRoom() }
    }

    /// What becomes of a message that was refused; nil when it is to wait.
    func answer(to refusal: SendRefusal) throws(AMQPError) -> AMQPTransfer? {
        switch self.overflow {
        case .suspend, .dropOldest: return nil
        case .fail: throw refusal.error
        case .dropNewest:
            guard let reply = self.mailbox.answered(.dropped(refusal)) else { throw self.endedError }
            self.core.status.drop(1, bytes: refusal.bytes)
            return AMQPTransfer(reply)
        }
    }
}

extension LinkStatus {
    func drop(_ messages: Int, bytes: Int) {
        self.droppedMessages.add(messages, ordering: .relaxed)
        self.droppedBytes.add(bytes, ordering: .relaxed)
    }
}

extension AMQPError {
    static let droppedForNewer = AMQPError(
        .delivery,
        .dropped,
        "not sent: dropped, for a newer message needed the room"
    )

    static func dropped(_ refusal: SendRefusal) -> AMQPError {
        var error = AMQPError(.delivery, .dropped, "not sent: dropped, \(refusal.text)")
        error.blockedBy = refusal.blockedBy
        return error
    }
}
