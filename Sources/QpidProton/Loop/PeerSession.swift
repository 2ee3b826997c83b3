// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// One session from the peer's point of view. Used on the event loop only.
///
/// Exclusivity checks are off where each access is a single call on a plain value that never re-enters this type.
final class PeerSession {
    @exclusivity(unchecked) var window: RemoteWindow
    /// Called when the peer has changed its window.
    var onChange: (() -> Void)?
    /// Called when the peer has exceeded its window; `nil` once the session has ended.
    var onViolation: (() -> Void)?
    /// Called before Proton reads the end of a session that this side has not begun, because Proton cannot begin the
    /// session afterwards.
    var onEarlyEnd: (() -> Void)?
    var isEndHeld = false
    /// The channel on which this side has ended the session.
    var endedChannel: UInt16?
    var isEndedByPeer = false
    /// The number of bytes that may still be buffered.
    var freeBytes: () -> Int = { 0 }
    /// This side's incoming window; `nil` until this side begins the session.
    @exclusivity(unchecked) var incoming: IncomingWindow?
    /// The id of the peer's next transfer.
    @exclusivity(unchecked) var nextIncomingID: UInt32
    @exclusivity(unchecked) var isDue = false
    /// Whether links without arrivals are checked too.
    var isIdleLookDue = false
    /// Whether the last check left links without arrivals out.
    var owesIdleLinks = false
    /// The time of the last check of links without arrivals, in nanoseconds.
    var idleLookTime = -PeerSession.idlePause
    var localChannel: UInt16?
    @exclusivity(unchecked) var links = PeerLinks()
    /// The figures of the links in flows.
    var flows = LinkFlows()
    /// The state of this side's sender with a name, for the answer to an echo.
    var senderState: ((String) -> FlowFrame.Sender?)?
    /// The first id of the peer after the last advertised window.
    @exclusivity(unchecked) var toldLimit: UInt32
    /// The peer's fields about its own window.
    var outgoingWindow: (nextID: UInt32, window: UInt32)?
    var isEchoDue = false

    init(_ window: RemoteWindow, nextIncomingID: UInt32) {
        self.window = window
        self.nextIncomingID = nextIncomingID
        self.toldLimit = nextIncomingID
    }

    /// The peer's own count of the transfers that it may still send; `nil` if its flows carry no count.
    var remoteOutgoingWindow: Int? {
        self.outgoingWindow.map { Int($0.window) + Int(Int32(bitPattern: $0.nextID &- self.nextIncomingID)) }
    }

    /// The number of transfers that the peer may still send.
    var left: Int { Int(Int32(bitPattern: self.toldLimit &- self.nextIncomingID)) }

    /// The number of transfers by which the advertised limit can grow, for a frame that is sent anyway.
    var smallGain: Int { self.incoming.map { $0.smallGain(left: self.left, free: self.freeBytes()) } ?? 0 }

    /// Moves the limit for a frame that advertises it. Returns the window.
    func tell(_ gain: Int) -> UInt32 {
        self.toldLimit &+= UInt32(clamping: gain)
        self.incoming?.told(self.left)
        return UInt32(max(0, self.left))
    }
}
