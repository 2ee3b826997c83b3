/// The credit of a link on which this side sends. Source: AMQP 1.0 §2.6.7.
enum LinkCredit {
    /// Proton's count of the credit that is left, with its sign.
    ///
    /// Proton counts in 32 bits: what is left of a grant of 2³² − 1 looks there like what a peer has taken back. The peer's
    /// last grant tells the two apart.
    ///
    /// - Parameter granted: The link-credit in the peer's last flow.
    static func left(_ left: UInt32, of granted: UInt32) -> Int {
        let used = granted &- left
        return Int(granted) - (used <= granted ? Int(used) : Int(Int32(bitPattern: used)))
    }
}
