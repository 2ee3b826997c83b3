/// How many more transfers the peer of a session takes now. Source: AMQP 1.0 §2.5.6.
///
/// Proton keeps this number unsigned: when a peer shrinks its window below what is on its way, as brokers do that run out
/// of memory, it wraps to 4 billion. Here ids are serial numbers (RFC 1982) and the difference has a sign.
struct RemoteWindow {
    /// The id that the next transfer to be framed will have.
    private(set) var nextOutgoingID: UInt32
    private let initialOutgoingID: UInt32
    /// The first id that the peer does not take: its next-incoming-id and its incoming-window together.
    private var limit: UInt32

    init(initialOutgoingID: UInt32, incomingWindow: UInt32) {
        self.initialOutgoingID = initialOutgoingID
        self.nextOutgoingID = initialOutgoingID
        self.limit = initialOutgoingID &+ Self.clamp(incomingWindow)
    }

    /// Transfers that may be framed now; 0 or less when the window is closed.
    var available: Int { Int(Int32(bitPattern: self.limit &- self.nextOutgoingID)) }

    mutating func sent(_ transfers: Int) {
        self.nextOutgoingID &+= UInt32(truncatingIfNeeded: transfers)
    }

    /// Takes what a begin or a flow of the peer says.
    ///
    /// - Parameter nextIncomingID: Nil while the peer has not seen the begin of this side.
    mutating func update(nextIncomingID: UInt32?, incomingWindow: UInt32) {
        self.limit = (nextIncomingID ?? self.initialOutgoingID) &+ Self.clamp(incomingWindow)
    }

    /// A window that is wider than half of the serial numbers cannot be told from a negative one.
    private static func clamp(_ window: UInt32) -> UInt32 { min(window, UInt32(Int32.max) / 2) }
}
