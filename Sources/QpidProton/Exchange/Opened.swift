// SPDX-License-Identifier: Apache-2.0

internal import Synchronization

/// The state of a session for tasks. The loop writes it.
final class SessionStatus: Sendable {
    /// The key among the sessions of its connection.
    let key: SlotKey
    let opened = Reply<Void>()
    let ended = EndReply()
    /// The answer to waiting closes, once both sides have ended the session, or the connection has ended.
    let closed = Reply<Void>()
    /// The unfinished work of the links of a closed session.
    let report = CloseReport()
    /// The last figures of an ended session.
    let lastSnapshot = Mutex<AMQPSessionSnapshot?>(nil)

    init(key: SlotKey) { self.key = key }
}

/// The keys of a link: of its session on the connection, and of the link on the session.
struct LinkKey: Hashable, Sendable {
    let session: SlotKey
    let link: SlotKey
}

/// The parts that tasks need to use a session.
struct OpenedSession: Sendable {
    let status: SessionStatus
    /// The ledger of the session.
    let node: SlotKey
}

/// The parts that tasks need to send on a link.
struct OpenedSender: Sendable {
    let status: LinkStatus
    let lane: SlotKey
    /// The ledger of the sender.
    let node: SlotKey
    let overflow: AMQPOverflow
}

/// The parts that tasks need to receive on a link.
struct OpenedReceiver: Sendable {
    let status: LinkStatus
    let inbox: Inbox
}

/// A sender of this side that answers a receiver of the peer, and its session.
struct AcceptedSender: Sendable {
    let sender: OpenedSender
    let session: OpenedSession
}

/// A receiver of this side that answers a sender of the peer, and its session.
struct AcceptedReceiver: Sendable {
    let receiver: OpenedReceiver
    let session: OpenedSession
}

/// A request of the peer that waits for the application's decision.
enum IncomingRequest: Sendable {
    case session(SessionStatus)
    /// This side is the sender.
    case sender(LinkStatus, AMQPAttach)
    /// This side is the receiver.
    case receiver(LinkStatus, AMQPAttach)
}
