// SPDX-License-Identifier: Apache-2.0

/// The credit of a link on which this side sends. Source: AMQP 1.0 §2.6.7.
enum LinkCredit {
    /// Returns the remaining credit in Proton's count, with its sign.
    ///
    /// Proton counts in 32 bits, so the rest of a grant of 2³² − 1 looks like revoked credit. The peer's last grant
    /// distinguishes the two.
    ///
    /// - Parameter granted: The link-credit in the peer's last flow.
    static func left(_ left: UInt32, of granted: UInt32) -> Int {
        let used = granted &- left
        return Int(granted) - (used <= granted ? Int(used) : Int(Int32(bitPattern: used)))
    }
}
