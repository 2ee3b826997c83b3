/// How many more transfers the peer of a session takes now. Source: AMQP 1.0 §2.5.6.
///
/// Proton keeps this number unsigned: when a peer shrinks its window below what is on its way, as brokers do that run out
/// of memory, it wraps to 4 billion. Here it has a sign, and room for every window that a peer can name.
struct RemoteWindow {
    /// The id that the next transfer to be framed will have.
    private(set) var nextOutgoingID: UInt32
    private let initialOutgoingID: UInt32
    /// Transfers that may be framed now; 0 or less when the window is closed.
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

    /// Takes what a begin or a flow of the peer says.
    ///
    /// - Parameter nextIncomingID: Nil while the peer has not seen the begin of this side.
    mutating func update(nextIncomingID: UInt32?, incomingWindow: UInt32) {
        // Ids are serial numbers (RFC 1982), and fewer than half of them are on their way.
        let onTheWay = Int32(bitPattern: self.nextOutgoingID &- (nextIncomingID ?? self.initialOutgoingID))
        self.available = min(Int(incomingWindow) - Int(onTheWay), Int(UInt32.max))
    }
}
