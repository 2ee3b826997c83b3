internal import NIOCore

/// One session as the peer sees it. It is used on the event loop alone.
///
/// Accesses that are not checked for overlapping are each one call of a plain value, which calls nothing back.
final class PeerSession {
    @exclusivity(unchecked) var window: RemoteWindow
    /// Called when the peer has changed its window.
    var onChange: (() -> Void)?
    /// Called when the peer has sent more than its window allows; `nil` when the session has ended.
    var onViolation: (() -> Void)?
    /// Called before Proton sees the end of a session that was not begun here: Proton cannot begin it afterwards.
    var onEarlyEnd: (() -> Void)?
    var isEndHeld = false
    /// The channel on which this side has ended the session.
    var endedChannel: UInt16?
    var isEndedByPeer = false
    /// The bytes that this side may hold besides those that it holds now.
    var freeBytes: () -> Int = { 0 }
    /// This side's incoming window; `nil` until the session is begun here.
    @exclusivity(unchecked) var incoming: IncomingWindow?
    /// The id that the next transfer of the peer has.
    @exclusivity(unchecked) var nextIncomingID: UInt32
    @exclusivity(unchecked) var isDue = false
    /// The links on which nothing arrives are to be looked at too.
    var isIdleLookDue = false
    /// Some of them were left out at the last look.
    var owesIdleLinks = false
    /// When they were looked at last.
    var idleLookTime = -PeerSession.idlePause
    var localChannel: UInt16?
    @exclusivity(unchecked) var links = PeerLinks()
    /// What the flows say of the links.
    var flows = LinkFlows()
    /// What this side's sender of a name has, for the answer to an echo.
    var senderState: ((String) -> FlowFrame.Sender?)?
    /// The first id of the peer that is behind the window that it was told last.
    @exclusivity(unchecked) var toldLimit: UInt32
    /// What the peer said of its own window.
    var outgoingWindow: (nextID: UInt32, window: UInt32)?
    var isEchoDue = false

    init(_ window: RemoteWindow, nextIncomingID: UInt32) {
        self.window = window
        self.nextIncomingID = nextIncomingID
        self.toldLimit = nextIncomingID
    }

    /// The transfers that the peer says it may still send; `nil` while it has said nothing.
    var remoteOutgoingWindow: Int? {
        self.outgoingWindow.map { Int($0.window) + Int(Int32(bitPattern: $0.nextID &- self.nextIncomingID)) }
    }

    /// The transfers that the peer may still send.
    var left: Int { Int(Int32(bitPattern: self.toldLimit &- self.nextIncomingID)) }

    /// How far the limit can be moved on that the peer was told, for a frame that is sent anyway.
    var smallGain: Int { self.incoming.map { $0.smallGain(left: self.left, free: self.freeBytes()) } ?? 0 }

    /// Moves the limit on for a frame that tells it. Returns what is told.
    func tell(_ gain: Int) -> UInt32 {
        self.toldLimit &+= UInt32(clamping: gain)
        self.incoming?.told(self.left)
        return UInt32(max(0, self.left))
    }
}
