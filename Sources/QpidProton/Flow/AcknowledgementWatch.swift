// SPDX-License-Identifier: Apache-2.0

/// The decision, from the kernel's figures, that sent bytes have stayed without an acknowledgement for too long.
///
/// The idle timeout does not notice a path that drops our large packets while the peer's empty frames arrive.
/// `TCP_USER_TIMEOUT` would also end the connection of a peer that acknowledges and does not read. This type does not.
///
/// A pure value without a clock. Times are durations since any fixed moment.
struct AcknowledgementWatch: Sendable {
    /// The time for which bytes may be retransmitted without an acknowledgement.
    let limit: Duration
    private var since: Duration?
    private var retransmits: UInt8 = 0

    init(limit: Duration) {
        self.limit = limit
    }

    /// The interval between two checks.
    var interval: Duration { max(.milliseconds(50), self.limit / 10) }

    /// Evaluates the figures of a check. Returns whether the connection is lost.
    ///
    /// - Parameters:
    ///   - unacknowledged: The number of sent segments without an acknowledgement; 0 while the peer's window is closed.
    ///   - retransmits: How often the first of these segments was sent again. An acknowledgement resets the count.
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
