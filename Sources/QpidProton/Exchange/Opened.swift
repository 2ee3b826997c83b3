internal import Synchronization

/// What tasks see of a session. The loop writes it.
final class SessionStatus: Sendable {
    /// Among the sessions of its connection.
    let key: SlotKey
    let opened = Reply<Void>()
    let ended = EndReply()
    /// Both sides have ended, or the connection is gone.
    let closed = Reply<Void>()
    /// What its links leave unfinished when it is closed.
    let report = CloseReport()
    /// The figures of the session when it ended.
    let lastSnapshot = Mutex<AMQPSessionSnapshot?>(nil)

    init(key: SlotKey) { self.key = key }
}

/// The place of a link: its session on the connection, and its own on the session.
struct LinkKey: Hashable, Sendable {
    let session: SlotKey
    let link: SlotKey
}

/// What tasks need to use a session.
struct OpenedSession: Sendable {
    let status: SessionStatus
    /// Its ledger.
    let node: SlotKey
}

/// What tasks need to send on a link.
struct OpenedSender: Sendable {
    let status: LinkStatus
    let lane: SlotKey
    /// Its ledger.
    let node: SlotKey
    let overflow: AMQPOverflow
}

/// What tasks need to receive on a link.
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
    /// This side would be the sender.
    case sender(LinkStatus, AMQPAttach)
    /// This side would be the receiver.
    case receiver(LinkStatus, AMQPAttach)
}
