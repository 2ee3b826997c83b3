// SPDX-License-Identifier: Apache-2.0

/// The incoming window of a session: the transfers that the peer may send. Source: AMQP 1.0 §2.5.6.
///
/// The library advertises the window in transfers, but limits bytes. The window is the number of transfers of recent
/// size that fit into the free bytes. At first each transfer counts as a whole frame. The library never reduces an
/// advertised window. The library renews the window when the peer has used a quarter. Proton 0.37 would wait until the
/// window is used up, and a distant peer would stall for a round trip.
struct IncomingWindow {
    /// The least weight of a transfer, in bytes.
    static let leastTransfer = 64
    /// The part of Proton's window beyond the session's first window, so that Proton never renews by itself.
    static let disguise = 1 << 30

    /// The first window of the session, in transfers.
    let initial: UInt32
    let outgoingWindow: UInt32
    private let frameSize: Int
    /// The expected size of a transfer, times 16.
    private var expected: Int
    /// The number of transfers since the last renewal.
    private var arrived = 0
    /// The number of transfers after which to renew.
    private var quarter: Int

    /// Creates the window of a session that begins.
    ///
    /// - Parameters:
    ///   - capacity: The limit of buffered bytes.
    ///   - frameSize: The largest frame, in bytes.
    init(capacity: Int, frameSize: Int, outgoingWindow: UInt32) {
        self.initial = UInt32(clamping: min(capacity / frameSize, 1 << 28))
        self.outgoingWindow = outgoingWindow
        self.frameSize = frameSize
        self.expected = frameSize << 4
        self.quarter = max(1, Int(self.initial) / 4)
    }

    /// The window that the library sets in Proton, in transfers: see ``disguise``.
    var disguised: Int { Self.disguise + Int(self.initial) }

    /// Counts a transfer that has arrived. Returns whether to renew the window.
    mutating func arrive(_ frameBytes: Int) -> Bool {
        let difference = frameBytes << 4 - self.expected
        // The expected size grows faster than it shrinks.
        self.expected += difference / (difference > 0 ? 4 : 16)
        self.arrived += 1
        return self.arrived >= self.quarter
    }

    /// Returns the number of transfers that fit into the free bytes.
    private func transfers(_ free: Int) -> Int {
        let size = max(Self.leastTransfer, min(self.expected >> 4, self.frameSize))
        return min(max(0, free) / size, 1 << 28)
    }

    /// Returns the number of transfers by which the advertised limit can grow; `nil` if the gain is not worth a frame.
    ///
    /// - Parameters:
    ///   - left: The number of transfers that the peer may still send.
    ///   - free: The number of bytes that may still be buffered.
    func gain(left: Int, free: Int) -> Int? {
        let transfers = self.transfers(free)
        let gain = transfers - left
        // A quarter of a window that has shrunk is less than a quarter of the advertised window.
        return gain > 0 && (left <= 0 || gain >= min(self.quarter, max(1, transfers / 4))) ? gain : nil
    }

    /// Returns the same as ``gain(left:free:)``, for a frame that is sent anyway.
    func smallGain(left: Int, free: Int) -> Int { max(0, self.transfers(free) - left) }

    /// Records that a window of `left` transfers was advertised.
    mutating func told(_ left: Int) {
        self.arrived = 0
        self.quarter = max(1, left / 4)
    }
}
