/// How much of a read may go to Proton now.
struct FrameReading {
    /// The bytes up to a frame that has to wait for an answer to those before it, or that Proton must not see.
    var count: Int
    /// What is wrong with that frame; `nil` if it has to wait.
    var violation: AMQPError?
}

/// A link that the peer has attached, as far as Proton does not show it.
struct PeerAttach {
    /// Why it is refused; `nil` for most.
    var refusal: AMQPError?
    var capabilities = LinkCapabilities()
}
