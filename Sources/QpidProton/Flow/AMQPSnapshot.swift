/// A limit in bytes, and how much of it is used.
public struct AMQPFill: Hashable, Sendable, CustomStringConvertible {
    /// The most that is admitted; nil for no limit of its own.
    public let limit: AMQPByteCount?
    /// The bytes now.
    public let used: AMQPByteCount
    /// The most bytes that there were.
    public let peak: AMQPByteCount

    init(limit: Int?, used: Int, peak: Int) {
        self.limit = limit.flatMap { $0 == .max ? nil : AMQPByteCount($0) }
        self.used = AMQPByteCount(used)
        self.peak = AMQPByteCount(peak)
    }

    /// The three numbers.
    public var description: String {
        "\(self.used) of \(self.limit.map { "\($0)" } ?? "any"), \(self.peak) at most"
    }
}

/// A connection at one moment: its limits, how full they are, and what its links wait for.
public struct AMQPConnectionSnapshot: Sendable {
    /// What its senders have accepted and the socket has not taken; see ``AMQPConnection/Configuration/sendLimit``.
    public let outgoing: AMQPFill
    /// What of it is on its way from Proton to the socket, with frames.
    public let socket: AMQPFill
    /// The budget that the connection shares for sending, with what all others hold of it; nil for none.
    public let sendBudget: AMQPFill?
    /// The budget that the connection shares for receiving, with what all others hold of it; nil for none.
    public let receiveBudget: AMQPFill?
    /// Whether the socket is not read, because what has come has no room.
    public let isReadingWithheld: Bool
    /// Its sessions.
    public let sessions: [AMQPSessionSnapshot]
    /// The links of all sessions.
    public var links: [AMQPLinkSnapshot] { self.sessions.flatMap(\.links) }
}

/// A session at one moment.
public struct AMQPSessionSnapshot: Sendable {
    /// What its senders have accepted and the socket has not taken; see ``AMQPSession/Configuration/sendLimit``.
    public let outgoing: AMQPFill
    /// What has come for it and waits within ``AMQPSession/Configuration/incomingCapacity``.
    public let incoming: AMQPFill
    /// Proton's own count of bytes, for comparison with other programs on Proton.
    ///
    /// It misleads: it falls when bytes are framed, and it never holds what waits for credit, for the peer's window or for the
    /// socket. Limit by ``outgoing``. Source: `pn_session_outgoing_bytes`.
    public let protonOutgoingBytes: AMQPByteCount
    /// The number of transfers that the peer accepts now, each of a frame at most.
    ///
    /// 0 until the peer has begun the session. Negative when the peer has shrunk its window below what is on its way; nothing is
    /// sent then. A window of more than 1,073,741,823 transfers counts as that number.
    /// Source: AMQP 1.0 §2.5.6, remote-incoming-window.
    public let remoteIncomingWindow: Int
    /// The number of transfers that the peer says it may still send; `nil` while it has said nothing. Many peers advertise a
    /// constant, and send more. Source: AMQP 1.0 §2.5.6, remote-outgoing-window.
    public let remoteOutgoingWindow: Int?
    /// The id of the next transfer to the peer, a serial number: 0 follows 4,294,967,295.
    /// Source: AMQP 1.0 §2.5.6, next-outgoing-id.
    public let nextOutgoingID: UInt32
    /// The id that the next transfer of the peer is expected to have; 0 until the peer has begun the session.
    /// Source: AMQP 1.0 §2.5.6, next-incoming-id.
    public let nextIncomingID: UInt32
    /// Its links.
    public let links: [AMQPLinkSnapshot]
}

/// A link at one moment.
public struct AMQPLinkSnapshot: Sendable {
    /// The name of the link.
    public let name: String
    /// The address of its target, on a sender, or of its source.
    public let address: String?
    /// Whether it is a sender.
    public let isSender: Bool
    /// On a sender what is accepted and not written to the socket, on a receiver what waits for the application.
    public let bytes: AMQPFill
    /// The messages that wait on this side: to be sent, or to be taken.
    public let messages: Int
    /// The messages that may be sent now: by this side on a sender, by the peer on a receiver.
    public let credit: Int
    /// The unsettled messages. On a sender, the peer has to settle them. On a receiver, the application has to, or with the settle
    /// mode `second` the sender.
    public let unsettled: Int
    /// What keeps the link from moving now; nil when it moves, or has nothing to move.
    public let blockedBy: AMQPBlockCause?
    /// Since how long.
    public let blockedFor: Duration
    /// The time that each cause has kept the link from moving since it was opened. The causes exclude each other: their sum is the
    /// time in which the link was blocked.
    public let blockedTimes: [AMQPBlockCause: Duration]
    /// The messages that were dropped for lack of room.
    public let droppedMessages: Int
}
