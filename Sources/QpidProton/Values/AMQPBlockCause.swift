// SPDX-License-Identifier: Apache-2.0

/// The cause that blocks a link.
///
/// A refusal lists the outermost cause first: the full limit, and then the reason why that limit stays full. See
/// ``AMQPError/blockedBy``.
public enum AMQPBlockCause: String, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// The send limit of the link is full.
    case linkLimit
    /// The send limit of the session is full.
    case sessionLimit
    /// The send limit of the connection is full.
    case connectionLimit
    /// The ``AMQPClient/Sender/Configuration/replayLimit`` of a client's sender is full: too many bytes are not
    /// settled.
    case replayLimit
    /// The ``AMQPMemoryBudget`` is full.
    case memoryBudget
    /// A streamed message of the link has not ended: see ``AMQPSender/stream(_:length:settled:options:body:)``.
    case stream
    /// The peer granted no credit. Source: AMQP 1.0 §2.6.7.
    case credit
    /// The limit of unsettled messages is reached, and the peer has to settle some.
    ///
    /// See ``AMQPSender/Configuration/unsettledLimit`` and ``AMQPReceiver/Configuration/unsettledLimit``.
    case unsettled
    /// The peer closed the window of the session. Source: AMQP 1.0 §2.5.6.
    case remoteWindow
    /// The rate limit of this side allows no further message now.
    case rate
    /// The socket accepts no more bytes: the peer does not read, or reads too slowly.
    case socket
    /// Messages that the application has not received or not settled fill the receiver's window.
    case application
    /// There are no messages to send, or the peer sends none.
    case messages
    /// The link, the session or the connection has ended.
    case closed

    /// The cause in words.
    public var description: String {
        switch self {
        case .linkLimit: "the link's send limit is full"
        case .sessionLimit: "the session's send limit is full"
        case .connectionLimit: "the connection's send limit is full"
        case .replayLimit: "the sender's replay limit is full"
        case .memoryBudget: "the memory budget is full"
        case .stream: "a streamed message has not ended"
        case .credit: "the peer granted no credit"
        case .unsettled: "the peer has not settled enough messages"
        case .remoteWindow: "the peer closed the session's window"
        case .rate: "the rate limit allows no more now"
        case .socket: "the socket accepts no more bytes"
        case .application: "the application has not settled enough messages"
        case .messages: "there are no messages"
        case .closed: "it is closed"
        }
    }
}
