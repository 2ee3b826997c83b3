// SPDX-License-Identifier: Apache-2.0

/// Decides, from what the kernel reports, when bytes that were sent have been acknowledged by no one for too long.
///
/// A peer whose empty frames arrive is not silent for the idle timeout, though a path may drop our large packets.
/// `TCP_USER_TIMEOUT` would also end the connection of a peer that acknowledges and does not read: this does not.
///
/// A pure value without a clock: times are durations since any fixed moment.
struct AcknowledgementWatch: Sendable {
    /// How long bytes may be sent again and again without an acknowledgement.
    let limit: Duration
    private var since: Duration?
    private var retransmits: UInt8 = 0

    init(limit: Duration) {
        self.limit = limit
    }

    /// How often to look.
    var interval: Duration { max(.milliseconds(50), self.limit / 10) }

    /// Takes the figures of a look, and returns whether the connection is lost.
    ///
    /// - Parameters:
    ///   - unacknowledged: The segments that were sent and not acknowledged: none while the peer's window is closed.
    ///   - retransmits: How often the first of them was sent again: an acknowledgement resets the count.
    mutating func look(unacknowledged: UInt32, retransmits: UInt8, at now: Duration) -> Bool {
        let isStuck = unacknowledged > 0 && retransmits > 0
        if !isStuck || retransmits < self.retransmits { self.since = nil }
        self.retransmits = isStuck ? retransmits : 0
        guard isStuck else { return false }
        let since = self.since ?? now
        self.since = since
        return now - since >= self.limit
    }
}
