// SPDX-License-Identifier: Apache-2.0

/// The part of a read that may go to Proton now.
struct FrameReading {
    /// The bytes up to a frame that must wait for an answer, or that Proton must not see.
    var count: Int
    /// The error of that frame; `nil` if it has to wait.
    var violation: AMQPError?
}

/// A link of the peer, as far as Proton does not show it.
struct PeerAttach {
    /// The reason to refuse it; `nil` for most.
    var refusal: AMQPError?
    var capabilities = LinkCapabilities()
}
