// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

extension AMQPSender {
    /// The number of messages that the sender has dropped for lack of room: see ``AMQPOverflow``.
    public var droppedMessages: Int { self.core.status.droppedMessages.load(ordering: .relaxed) }
    /// The bytes of the dropped messages, as they count against the send limits.
    public var droppedBytes: AMQPByteCount { AMQPByteCount(self.core.status.droppedBytes.load(ordering: .relaxed)) }

    /// The command that makes room for a waiting message; `nil` if the message waits for the peer.
    var roomMaker: Command? {
        self.overflow == .dropOldest ? .sender(self.core.status, .makeRoom(isAgain: false)) : nil
    }

    /// Applies the overflow policy to a message for which a level has no room. Returns `nil` if the message waits.
    func overflow(_ level: SendRefusal.Level, _ bytes: Int) throws(AMQPError) -> AMQPTracker? {
        switch self.overflow {
        case .suspend, .dropOldest: return nil
        case .fail: throw self.outbox.refusal(level, bytes: bytes, self.node).error
        case .dropNewest:
            let refusal = self.outbox.refusal(level, bytes: bytes, self.node)
            // The message is counted first, because the connection reads the count when it ends.
            self.core.status.drop(1, bytes: refusal.bytes)
            guard let reply = self.outbox.answered(.dropped(refusal)) else {
                self.core.status.drop(-1, bytes: -refusal.bytes)
                throw self.endedError
            }
            return AMQPTracker(reply)
        }
    }
}

extension LinkStatus {
    func drop(_ messages: Int, bytes: Int) {
        self.droppedMessages.add(messages, ordering: .relaxed)
        self.droppedBytes.add(bytes, ordering: .relaxed)
    }
}
