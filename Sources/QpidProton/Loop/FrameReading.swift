// SPDX-License-Identifier: Apache-2.0

/// The part of a read that may go to Proton now.
struct FrameReading {
    /// The number of bytes before a frame that must wait for an answer, or that Proton must not see.
    var count: Int
    /// The error of that frame; `nil` if the frame has to wait, or there is none.
    var violation: AMQPError?
}

/// The parts of a peer's attach that Proton does not expose.
struct PeerAttach {
    /// The reason to refuse the link; `nil` for most links.
    var refusal: AMQPError?
    var capabilities = LinkCapabilities()
}
