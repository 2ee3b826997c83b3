internal import Synchronization

// What the peer tells of the session. Read at any time and from any task, without a wait.

extension AMQPSession {
    /// The transfers that the peer takes now, each of which fills a frame at most.
    ///
    /// 0 until the peer has begun the session. Negative when the peer has shrunk its window below what is on its way already;
    /// nothing is sent then. A window of more than 1,073,741,823 transfers counts as that.
    /// Source: AMQP 1.0 §2.5.6, remote-incoming-window.
    public var remoteIncomingWindow: Int { self.handle.status.remoteIncomingWindow.load(ordering: .relaxed) }

    /// The transfers that the peer says it may still send; nil while it has said nothing. Many peers tell a number that
    /// never changes, and send more.
    ///
    /// Source: AMQP 1.0 §2.5.6, remote-outgoing-window.
    public var remoteOutgoingWindow: Int? {
        let window = self.handle.status.remoteOutgoingWindow.load(ordering: .relaxed)
        return window == .min ? nil : window
    }

    /// The id of the next transfer to the peer: a serial number, behind 4,294,967,295 comes 0.
    ///
    /// Source: AMQP 1.0 §2.5.6, next-outgoing-id.
    public var nextOutgoingID: UInt32 { self.handle.status.nextOutgoingID.load(ordering: .relaxed) }

    /// The id that the next transfer of the peer is expected to have; 0 until the peer has begun the session.
    ///
    /// Source: AMQP 1.0 §2.5.6, next-incoming-id.
    public var nextIncomingID: UInt32 { self.handle.status.nextIncomingID.load(ordering: .relaxed) }

    /// How often the peer has asked for the state of the session or of a link in it. Each question is answered.
    ///
    /// Source: AMQP 1.0 §2.7.4, echo.
    public var echoesSeen: Int { self.handle.status.echoesSeen.load(ordering: .relaxed) }
}
