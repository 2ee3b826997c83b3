// SPDX-License-Identifier: Apache-2.0

/// The part of a read that Proton may read now.
struct FrameReading {
    /// The number of bytes before a frame that must wait for an answer, or that Proton must not see.
    var count: Int
    /// The error of this frame; `nil` if the frame only has to wait.
    var violation: AMQPError?
}

/// The parts of a peer's attach that Proton does not expose.
struct PeerAttach {
    /// The reason to refuse the link; `nil` for most links.
    var refusal: AMQPError?
    var capabilities = LinkCapabilities()
}
