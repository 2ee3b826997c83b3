// SPDX-License-Identifier: Apache-2.0

/// The transfers that the peer of a session accepts now. Source: AMQP 1.0 §2.5.6.
///
/// Proton's number is unsigned. If a peer shrinks its window below the transfers on their way, as brokers without
/// memory do, Proton's number wraps to 4 billion. This number is signed, and has room for every window of a peer.
struct RemoteWindow {
    /// The id of the next transfer to frame.
    private(set) var nextOutgoingID: UInt32
    private let initialOutgoingID: UInt32
    /// The number of transfers that may be framed now; 0 or less if the window is closed.
    private(set) var available: Int

    init(initialOutgoingID: UInt32, incomingWindow: UInt32) {
        self.initialOutgoingID = initialOutgoingID
        self.nextOutgoingID = initialOutgoingID
        self.available = Int(incomingWindow)
    }

    mutating func sent(_ transfers: Int) {
        self.nextOutgoingID &+= UInt32(truncatingIfNeeded: transfers)
        self.available -= transfers
    }

    /// Applies a begin or a flow of the peer.
    ///
    /// - Parameter nextIncomingID: The peer's next-incoming-id; `nil` while the peer has not received the begin of this
    ///   side.
    mutating func update(nextIncomingID: UInt32?, incomingWindow: UInt32) {
        // Ids are serial numbers (RFC 1982), and fewer than half of them are on their way.
        let onTheWay = Int32(bitPattern: self.nextOutgoingID &- (nextIncomingID ?? self.initialOutgoingID))
        self.available = min(Int(incomingWindow) - Int(onTheWay), Int(UInt32.max))
    }
}
