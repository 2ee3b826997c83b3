// SPDX-License-Identifier: Apache-2.0

/// A limit in bytes, and its use.
public struct AMQPFill: Hashable, Sendable, CustomStringConvertible {
    /// The limit in bytes; `nil` if there is no separate limit.
    public let limit: AMQPByteCount?
    /// The bytes in use now.
    public let used: AMQPByteCount
    /// The peak of the bytes in use.
    public let peak: AMQPByteCount

    init(limit: Int?, used: Int, peak: Int) {
        self.limit = limit.flatMap { $0 == .max ? nil : AMQPByteCount($0) }
        self.used = AMQPByteCount(used)
        self.peak = AMQPByteCount(peak)
    }

    /// The three numbers in one line.
    public var description: String {
        "\(self.used) of \(self.limit.map { "\($0)" } ?? "any"), \(self.peak) at most"
    }
}

/// A connection at one moment: its limits, their use, and the causes that block its links.
public struct AMQPConnectionSnapshot: Sendable {
    /// The bytes that its senders have accepted and that are not yet written to the socket; see
    /// ``AMQPConnection/Configuration/sendLimit``.
    public let outgoing: AMQPFill
    /// The part of `outgoing` that is on its way from Proton to the socket, with frames.
    public let socket: AMQPFill
    /// The shared budget for sending, with the use of all connections; `nil` for no budget.
    public let sendBudget: AMQPFill?
    /// The shared budget for receiving, with the use of all connections; `nil` for no budget.
    public let receiveBudget: AMQPFill?
    /// Whether the library withholds reading from the socket, because there is no room for received bytes.
    public let isReadingWithheld: Bool
    /// The sessions of the connection.
    public let sessions: [AMQPSessionSnapshot]
    /// The links of all sessions.
    public var links: [AMQPLinkSnapshot] { self.sessions.flatMap(\.links) }
}

/// A session at one moment.
public struct AMQPSessionSnapshot: Sendable {
    /// The bytes that its senders have accepted and that are not yet written to the socket; see
    /// ``AMQPSession/Configuration/sendLimit``.
    public let outgoing: AMQPFill
    /// The received bytes that wait within ``AMQPSession/Configuration/incomingCapacity``.
    public let incoming: AMQPFill
    /// Proton's own count of bytes, for comparison with other programs on Proton.
    ///
    /// The count misleads. It falls when bytes are framed, and never contains bytes that wait for credit, for the
    /// peer's window or for the socket. For limits use ``outgoing``.
    ///
    /// Source: `pn_session_outgoing_bytes`.
    public let protonOutgoingBytes: AMQPByteCount
    /// The number of transfers that the peer accepts now, each of one frame at most.
    ///
    /// The number is 0 until the peer has begun the session. It is negative if the peer has shrunk its window below the
    /// transfers on their way; this side then sends nothing. A window of more than 1,073,741,823 transfers counts as
    /// that number.
    ///
    /// Source: AMQP 1.0 §2.5.6, remote-incoming-window.
    public let remoteIncomingWindow: Int
    /// The number of further transfers that the peer has announced; `nil` before its first announcement.
    ///
    /// Many peers advertise a constant, and send more.
    ///
    /// Source: AMQP 1.0 §2.5.6, remote-outgoing-window.
    public let remoteOutgoingWindow: Int?
    /// The id of the next transfer to the peer, a serial number: 0 follows 4,294,967,295.
    ///
    /// Source: AMQP 1.0 §2.5.6, next-outgoing-id.
    public let nextOutgoingID: UInt32
    /// The expected id of the peer's next transfer; 0 until the peer has begun the session.
    ///
    /// Source: AMQP 1.0 §2.5.6, next-incoming-id.
    public let nextIncomingID: UInt32
    /// The links of the session.
    public let links: [AMQPLinkSnapshot]
}

/// A link at one moment.
public struct AMQPLinkSnapshot: Sendable {
    /// The name of the link.
    public let name: String
    /// The address of a sender's target or of a receiver's source.
    public let address: String?
    /// Whether the link is a sender.
    public let isSender: Bool
    /// On a sender, the accepted bytes that are not written to the socket. On a receiver, the bytes that wait for the
    /// application.
    public let bytes: AMQPFill
    /// The number of messages that wait on this side: to be sent, or for the application.
    public let messages: Int
    /// The number of messages that may be sent now: by this side on a sender, by the peer on a receiver.
    public let credit: Int
    /// The number of unsettled messages.
    ///
    /// On a sender, the peer must settle these messages. On a receiver, the application must decide about them; with
    /// the settle mode `second`, the sender must settle them too.
    public let unsettled: Int
    /// The cause that blocks the link now; `nil` if the link makes progress or has no messages.
    public let blockedBy: AMQPBlockCause?
    /// How long the current block has lasted.
    public let blockedFor: Duration
    /// How long each cause has blocked the link since it was opened.
    ///
    /// The causes exclude each other: their sum is the time in which the link was blocked.
    public let blockedTimes: [AMQPBlockCause: Duration]
    /// The number of messages that the sender has dropped for lack of room.
    public let droppedMessages: Int
}
