/// The incoming window of a session: how many transfers the peer may send. Source: AMQP 1.0 §2.5.6.
///
/// It is told in transfers and bounds bytes: as many transfers as fit into what is free, by the size that they had lately. At
/// first each counts for a whole frame. What was told is never taken back. The peer is told again when it has used a quarter:
/// Proton 0.37 would wait until the window is used up, and a peer far away would stand still for a round trip.
struct IncomingWindow {
    /// What the smallest transfer counts for.
    static let leastTransfer = 64
    /// What Proton is made to believe on top of the window that a session begins with, so that it never renews by itself.
    static let disguise = 1 << 30

    /// The window that the session begins with, in transfers.
    let initial: UInt32
    let outgoingWindow: UInt32
    private let frameSize: Int
    /// What a transfer is expected to have, times 16.
    private var expected: Int
    /// The transfers since the peer was told.
    private var arrived = 0
    /// After how many it is to be told again.
    private var quarter: Int

    /// - Parameters:
    ///   - capacity: The bytes that may be held.
    ///   - frameSize: The largest frame.
    init(capacity: Int, frameSize: Int, outgoingWindow: UInt32) {
        self.initial = UInt32(clamping: min(capacity / frameSize, 1 << 28))
        self.outgoingWindow = outgoingWindow
        self.frameSize = frameSize
        self.expected = frameSize << 4
        self.quarter = max(1, Int(self.initial) / 4)
    }

    /// The window that Proton is given, in transfers, so that its begin carries the initial one: see ``disguise``.
    var disguised: Int { Self.disguise + Int(self.initial) }

    /// A transfer has come. Returns whether the peer is to be told again.
    mutating func arrive(_ frameBytes: Int) -> Bool {
        let difference = frameBytes << 4 - self.expected
        // Grows faster than it shrinks.
        self.expected += difference / (difference > 0 ? 4 : 16)
        self.arrived += 1
        return self.arrived >= self.quarter
    }

    /// The number of transfers that fit into the free bytes.
    private func transfers(_ free: Int) -> Int {
        let size = max(Self.leastTransfer, min(self.expected >> 4, self.frameSize))
        return min(max(0, free) / size, 1 << 28)
    }

    /// How far the limit can be moved on that the peer was told, if that is worth a frame.
    ///
    /// - Parameters:
    ///   - left: The transfers that the peer may still send.
    ///   - free: The bytes that may be held besides those that are held now.
    func gain(left: Int, free: Int) -> Int? {
        let transfers = self.transfers(free)
        let gain = transfers - left
        // A quarter of a window that has become small is less than one of what was told.
        return gain > 0 && (left <= 0 || gain >= min(self.quarter, max(1, transfers / 4))) ? gain : nil
    }

    /// As ``gain(left:free:)``, for a frame that is sent anyway.
    func smallGain(left: Int, free: Int) -> Int { max(0, self.transfers(free) - left) }

    /// The peer has been told that it may send that many transfers.
    mutating func told(_ left: Int) {
        self.arrived = 0
        self.quarter = max(1, left / 4)
    }
}
