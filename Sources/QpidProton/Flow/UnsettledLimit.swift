// SPDX-License-Identifier: Apache-2.0

/// The limit of one receiver's unsettled messages, which also limits its credit.
struct UnsettledLimit {
    /// No limit, for a link on which the decision of this side settles a message.
    static let none = UnsettledLimit(.max)
    /// The smallest grant while the peer has credit, because each grant is a frame.
    static let leastGrant = 64

    /// The most unsettled messages; `.max` for no limit.
    let most: Int

    init(_ most: Int) {
        self.most = most
    }

    /// Returns the number of messages for which credit may still be granted.
    ///
    /// - Parameters:
    ///   - unsettled: The number of messages that have arrived and are not settled by both sides.
    ///   - outstanding: The peer's credit.
    func room(unsettled: Int, outstanding: Int) -> Int {
        self.most == .max ? .max : max(0, self.most - unsettled - outstanding)
    }

    /// Returns the most credit to grant now. The receiver grants a small rest only if the peer has no credit left.
    func credit(unsettled: Int, outstanding: Int) -> Int {
        let room = self.room(unsettled: unsettled, outstanding: outstanding)
        return outstanding == 0 || room >= min(Self.leastGrant, max(1, self.most / 4)) ? room : 0
    }
}
