public import NIOCore

/// How long a close goes on sending accepted messages.
public enum AMQPFlush: Hashable, Sendable {
    /// Sends no more: the messages that wait are given up.
    case none
    /// Sends until everything is sent and settled. This is the limit of the whole close, with the peer's answer to it.
    case `for`(Duration)

    var limit: Duration {
        switch self {
        case .none: .zero
        case .for(let limit): max(.zero, limit)
        }
    }
}

/// What one sender had not finished when it was closed.
public struct AMQPUnfinished: Sendable {
    /// A message that was accepted and not sent.
    public struct Unsent: Sendable {
        /// The encoded message: see ``AMQPMessage/init(decoding:limits:)`` and ``AMQPSender/enqueue(encoded:settled:options:)``.
        public let payload: ByteBuffer
        /// The delivery-tag and message-format that were chosen for it.
        public let options: AMQPSendOptions
        /// Its tracker, which has failed.
        public let tracker: AMQPTracker
    }

    /// The name of the link.
    public let linkName: String
    /// The target of the link.
    public let target: AMQPTarget
    /// The messages that the peer has not got, in order. One that had begun to leave was aborted, and is the first.
    public let unsent: [Unsent]
    /// The trackers of the messages that were sent, and of which the peer has not said what became of them.
    ///
    /// They have failed with the fate ``AMQPError/Fate/inDoubt``: the peer may have got them.
    public let unsettled: [AMQPTracker]

    /// Whether everything was sent and settled.
    public var isEmpty: Bool { self.unsent.isEmpty && self.unsettled.isEmpty }
}
